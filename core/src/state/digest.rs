//! What the next digest will tell, as it comes up.

use ao_slots::{IncidentId, SessionId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Incident, Moment, State};
use crate::{
    config::policy::DigestEvery,
    event::{DeliveryHeld, Event, Held, Kind, NotificationHeld, Settled},
};

/// Rows of a part that are named; of the others the number is told.
pub const ROWS: usize = 25;

/// What is told of one kind: how many, and the first of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Part<T> {
    /// How many there were.
    pub count: u64,
    /// The first of them, at most [`ROWS`].
    pub first: Vec<T>,
}

impl<T> Default for Part<T> {
    fn default() -> Self {
        Self { count: 0, first: vec![] }
    }
}

impl<T> Part<T> {
    fn add(&mut self, row: T) {
        self.count += 1;
        if self.first.len() < ROWS {
            self.first.push(row);
        }
    }
}

/// What came up since the last digest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Account {
    /// When the first of it came up; none = nothing did.
    pub since: Option<Moment>,
    /// When the digest before was made.
    pub last: Option<Timestamp>,
    /// A human wants it now.
    pub asked: bool,
    /// Sessions that came to their end.
    pub finished: Part<SessionId>,
    /// What `ao` handled by itself, without a word.
    pub handled: Part<IncidentId>,
    /// What is not urgent: titles.
    pub told: Part<String>,
    /// What quiet hours held back.
    pub quiet: Part<String>,
    /// What was over the day's budget.
    pub budget: Part<String>,
    /// What a silence held back.
    pub silenced: Part<String>,
}

/// One account for each rhythm.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Digests {
    /// For channels with an hourly digest.
    pub hourly: Account,
    /// For channels with a daily one.
    pub daily: Account,
}

impl Digests {
    /// Nothing came up, and none was made.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The account of a rhythm; none where there is no digest.
    pub fn of(&self, every: DigestEvery) -> Option<&Account> {
        match every {
            DigestEvery::Off => None,
            DigestEvery::Hourly => Some(&self.hourly),
            DigestEvery::Daily => Some(&self.daily),
        }
    }

    fn each(&mut self, when: Moment, add: impl Fn(&mut Account)) {
        for account in [&mut self.hourly, &mut self.daily] {
            account.since.get_or_insert(when);
            add(account);
        }
    }
}

impl State {
    /// Keeps in mind what the next digest tells, before the event changes anything else; says whether it did.
    pub(super) fn account(&mut self, event: &Event, when: Moment) -> bool {
        match &event.kind {
            Kind::SessionEnded(_) => {
                let Some(id) = &event.session else { return false };
                self.digests.each(when, |account| account.finished.add(id.clone()));
            }
            Kind::IncidentResolved(e) if e.how == Settled::Handled => {
                let untold = |incident: &Incident| incident.notification.is_none();
                if !self.incidents.get(&e.incident).is_some_and(untold) {
                    return false;
                }
                self.digests.each(when, |account| account.handled.add(e.incident));
            }
            Kind::NotificationHeld(NotificationHeld { why, title, .. }) => {
                self.digests.each(when, |account| match why {
                    Held::Silence { .. } => account.silenced.add(title.clone()),
                    _ => account.told.add(title.clone()),
                });
            }
            Kind::DeliveryHeld(DeliveryHeld { notification, why, .. })
                if matches!(why, Held::Quiet | Held::Budget) =>
            {
                let Some(told) = self.notifications.get(notification) else { return false };
                // Once a message, on however many channels.
                let known = |hold: &super::Hold| hold.why == *why;
                if told.deliveries.values().any(|d| d.held.as_ref().is_some_and(known)) {
                    return false;
                }
                let title = told.title.clone();
                self.digests.each(when, |account| match why {
                    Held::Quiet => account.quiet.add(title.clone()),
                    _ => account.budget.add(title.clone()),
                });
            }
            Kind::DigestRequested(_) => {
                self.digests.hourly.asked = true;
                self.digests.daily.asked = true;
            }
            Kind::DigestCompleted(e) => {
                let last = Some(when.at);
                let made = match e.every {
                    DigestEvery::Off => return false,
                    DigestEvery::Hourly => &mut self.digests.hourly,
                    DigestEvery::Daily => &mut self.digests.daily,
                };
                *made = Account { last, ..Account::default() };
            }
            _ => return false,
        }
        true
    }
}
