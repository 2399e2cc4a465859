//! The ground truth of a run, and what came of it: who needed to know what by when, and what buzzed.
//!
//! The terms are those of the noise metric. A *need* is an incident that truly needs a human, as the scenario
//! labels it. A *push* is one fan-out of a message that buzzes: its channels count once on each device, edits and
//! quiet messages not at all. A push is *false* when no need that it names is open when it is decided. A need is
//! *missed* when no push has named it (all its sessions) within its time, unless it was over before that.

use std::collections::{BTreeMap, BTreeSet};

use ao_core::{
    config::trigger::Trigger,
    state::{Incident, Now, Status},
};
use ao_slots::{ChannelName, IncidentId, NotificationId, SessionId, fact::Priority};

use super::sim::{HOUR, SECOND};

/// Something that truly needs a human.
#[derive(Debug, Clone)]
pub(crate) struct Need {
    /// Who has to know.
    pub(crate) person: &'static str,
    /// Whose; none = `ao` itself.
    pub(crate) sessions: BTreeSet<SessionId>,
    /// What it may be called.
    pub(crate) causes: Vec<Trigger>,
    pub(crate) class: Priority,
    /// Since when, in awake milliseconds.
    pub(crate) from: u64,
    /// How long it may take to reach the person.
    pub(crate) within: u64,
    /// Nobody serves.
    adjourned: bool,
    /// Sessions that still need somebody.
    left: BTreeSet<SessionId>,
    /// When nobody was needed any more.
    over: Option<u64>,
    /// Sessions that the person has been told of.
    named: BTreeSet<SessionId>,
    /// When the person had been told of all.
    met: Option<u64>,
}

/// A message as it came to a screen.
#[derive(Debug)]
pub(crate) struct Show {
    pub(crate) at: Now,
    /// When the request began, in awake milliseconds.
    pub(crate) decided: u64,
    pub(crate) notification: NotificationId,
    pub(crate) channel: ChannelName,
    pub(crate) title: String,
    pub(crate) kind: String,
    /// A new message, no edit.
    pub(crate) sends: bool,
    /// It says that it may be a repetition: the one before it is in doubt, and the channel cannot tell.
    pub(crate) again: bool,
    /// Whose devices buzzed.
    pub(crate) buzzes: BTreeSet<(&'static str, &'static str)>,
    pub(crate) readers: BTreeSet<&'static str>,
    pub(crate) covers: Vec<Incident>,
}

#[derive(Debug, Default)]
pub(crate) struct Judge {
    pub(crate) needs: Vec<Need>,
    pub(crate) shows: Vec<Show>,
    /// Observations that were journalled.
    pub(crate) observed: u64,
    /// Requests to a channel that had asked to be left alone.
    pub(crate) hasty: u64,
    /// Pushes of a router that pushes each transition.
    naive: u64,
    clicks: u64,
    stale: u64,
    /// Who has reacted to what already.
    pub(crate) taken: BTreeSet<(&'static str, IncidentId)>,
    acked: BTreeMap<IncidentId, u64>,
    /// What may be told though nobody needs it, by the scenario's own words.
    pub(crate) allowed: BTreeSet<Trigger>,
    /// Nobody serves since then.
    away_since: Option<u64>,
    /// How long each need may take at least: where any channel may fail at any time.
    pub(crate) at_least: u64,
}

/// What one run came to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    pub(crate) needs: u64,
    /// Fan-outs.
    pub(crate) pushes: u64,
    /// Of the loudest device, for each need of its owner; none where nobody needed to know anything.
    pub(crate) noise: Option<f64>,
    pub(crate) false_alarms: Vec<String>,
    pub(crate) urgent: u64,
    pub(crate) false_urgent: u64,
    pub(crate) missed: Vec<String>,
    /// The same message on the same channel twice.
    pub(crate) doubled: Vec<String>,
    /// Pushes of an incident that somebody had taken.
    pub(crate) after_ack: Vec<String>,
    /// By class, in milliseconds.
    pub(crate) to_human: Vec<(Priority, u64)>,
    pub(crate) naive: u64,
    pub(crate) observed: u64,
    pub(crate) hasty: u64,
    pub(crate) clicks: u64,
    pub(crate) stale: u64,
}

impl Need {
    fn is_named_by(&self, incident: &Incident) -> bool {
        let about = |id: &SessionId| incident.sessions.contains(id);
        self.causes.contains(&incident.trigger)
            && (self.sessions.is_empty() || self.sessions.iter().any(about))
    }

    fn is_open_at(&self, at: u64) -> bool {
        self.from <= at && self.over.is_none_or(|over| at <= over)
    }

    fn deadline(&self) -> u64 {
        self.from + self.within
    }

    fn end(&mut self, at: u64) {
        self.over.get_or_insert(at);
    }
}

/// How long a need of a class may take to reach somebody.
fn time_for(class: Priority) -> u64 {
    match class {
        Priority::Urgent => 5 * SECOND,
        Priority::Action => 30 * SECOND,
        Priority::Warning => 90 * SECOND,
        Priority::Info => 26 * HOUR,
    }
}

impl Judge {
    /// Somebody has to know of this from now on.
    pub(crate) fn need(
        &mut self,
        sessions: &[SessionId],
        causes: &[Trigger],
        class: Priority,
        now: Now,
    ) -> &mut Need {
        let sessions: BTreeSet<SessionId> = sessions.iter().cloned().collect();
        self.needs.push(Need {
            person: "ana",
            left: sessions.clone(),
            sessions,
            causes: causes.to_vec(),
            class,
            from: now.awake,
            within: time_for(class).max(self.at_least),
            adjourned: false,
            over: None,
            named: BTreeSet::new(),
            met: None,
        });
        self.needs.last_mut().unwrap()
    }

    /// Nobody is needed for this session's causes any more.
    pub(crate) fn over(&mut self, session: &SessionId, causes: &[Trigger], now: Now) {
        let about = |need: &&mut Need| need.causes.iter().any(|cause| causes.contains(cause));
        for need in self.needs.iter_mut().filter(about) {
            if need.left.remove(session) && need.left.is_empty() {
                need.end(now.awake);
            }
        }
    }

    /// Nobody is needed for this session any more.
    pub(crate) fn over_all(&mut self, session: &SessionId, now: Now) {
        self.over(session, Trigger::ALL, now);
    }

    /// What concerned `ao` itself is over.
    pub(crate) fn over_ao(&mut self, cause: Trigger, now: Now) {
        let about = |need: &&mut Need| need.sessions.is_empty() && need.causes.contains(&cause);
        self.needs.iter_mut().filter(about).for_each(|need| need.end(now.awake));
    }

    /// Nobody can tell anything for now.
    pub(crate) fn adjourn(&mut self, now: Now) {
        self.away_since = Some(now.awake);
        self.needs.iter_mut().filter(|need| need.met.is_none()).for_each(|need| {
            need.adjourned = true;
        });
    }

    /// What was not told yet can be from now on: the server is back, or everything has to be looked at again.
    pub(crate) fn postpone(&mut self, now: Now) {
        // What ended while nobody served is known when that has been told.
        if let Some(since) = self.away_since.take() {
            let unseen = |need: &&mut Need| need.over.is_some_and(|over| over >= since);
            for need in self.needs.iter_mut().filter(unseen) {
                need.over = Some(now.awake + 100);
            }
        }
        for need in self.needs.iter_mut().filter(|need| need.met.is_none()) {
            need.adjourned = false;
            need.from = need.from.max(now.awake);
        }
    }

    pub(crate) fn acked(&mut self, incident: IncidentId, now: Now) {
        self.acked.entry(incident).or_insert(now.awake);
    }

    pub(crate) fn clicked(&mut self, stale: bool) {
        self.clicks += 1;
        self.stale += u64::from(stale);
    }

    /// What a router that knows nothing but transitions pushes: every new status but those of work going well.
    pub(crate) fn transition(&mut self, to: Status) {
        let quiet = matches!(
            to,
            Status::Spawning
                | Status::Working
                | Status::Cleanup
                | Status::NotStarted
                | Status::Draft
                | Status::PrOpen
                | Status::ReviewPending
        );
        self.naive += u64::from(!quiet);
    }

    pub(crate) fn shown(&mut self, show: Show) {
        let told = |need: &&mut Need| {
            need.met.is_none() && need.from <= show.at.awake && show.readers.contains(need.person)
        };
        for need in self.needs.iter_mut().filter(told) {
            for incident in show.covers.iter().filter(|incident| incident.resolved.is_none()) {
                if need.is_named_by(incident) {
                    need.named.extend(incident.sessions.iter().cloned());
                    if need.sessions.is_subset(&need.named) {
                        need.met = Some(show.at.awake);
                    }
                }
            }
        }
        self.shows.push(show);
    }

    fn is_false(&self, show: &Show) -> bool {
        let serves = |incident: &Incident| {
            let open = |need: &&Need| need.is_open_at(show.decided);
            self.allowed.contains(&incident.trigger)
                || self.needs.iter().filter(open).any(|need| need.is_named_by(incident))
        };
        !show.covers.iter().any(serves) && !show.covers.is_empty()
    }

    /// What it came to by the end.
    pub(crate) fn figures(&self, end: u64) -> Figures {
        let mut figures = Figures {
            needs: self.needs.len() as u64,
            naive: self.naive,
            observed: self.observed,
            hasty: self.hasty,
            clicks: self.clicks,
            stale: self.stale,
            ..Figures::default()
        };
        // The nth time that a message buzzes on its channels is one fan-out.
        let mut rounds: BTreeMap<(NotificationId, &ChannelName), u64> = BTreeMap::new();
        let mut fans: BTreeSet<(NotificationId, u64)> = BTreeSet::new();
        let mut devices: BTreeMap<(&str, &str), BTreeSet<(NotificationId, u64)>> = BTreeMap::new();
        for show in self.shows.iter().filter(|show| show.sends) {
            let round = rounds.entry((show.notification, &show.channel)).or_default();
            *round += 1;
            if *round > 1 && !show.again {
                figures.doubled.push(show.to_string());
            }
            for device in &show.buzzes {
                devices.entry(*device).or_default().insert((show.notification, *round));
            }
            let first = !show.buzzes.is_empty() && fans.insert((show.notification, *round));
            if !first {
                continue;
            }
            let urgent = show.covers.iter().any(|i| i.priority == Priority::Urgent);
            figures.urgent += u64::from(urgent);
            if self.is_false(show) {
                figures.false_urgent += u64::from(urgent);
                figures.false_alarms.push(show.to_string());
            }
            let taken = |i: &Incident| self.acked.get(&i.id).is_some_and(|at| *at < show.decided);
            if !show.covers.is_empty() && show.covers.iter().all(taken) {
                figures.after_ack.push(show.to_string());
            }
        }
        figures.pushes = fans.len() as u64;
        let of_owner = |(person, _): &(&str, &str)| {
            self.needs.iter().filter(|need| need.person == *person).count()
        };
        let loud = devices.iter().map(|(device, fans)| (fans.len(), of_owner(device)));
        #[expect(clippy::cast_precision_loss, reason = "small counts")]
        let loud = loud.filter(|(_, needs)| *needs > 0).map(|(n, needs)| n as f64 / needs as f64);
        figures.noise = (!self.needs.is_empty()).then(|| loud.fold(0.0, f64::max));
        for need in &self.needs {
            match need.met {
                Some(met) => {
                    figures.to_human.push((need.class, met - need.from));
                    let late = met > need.deadline() && need.is_open_at(need.deadline());
                    if late {
                        let by = met - need.deadline();
                        figures.missed.push(format!("{need} {by} ms late"));
                    }
                }
                None if need.deadline() < end
                    && !need.adjourned
                    && need.is_open_at(need.deadline()) =>
                {
                    figures.missed.push(need.to_string());
                }
                None => {}
            }
        }
        figures
    }
}

impl std::fmt::Display for Need {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let untold: Vec<&str> =
            self.sessions.difference(&self.named).map(|id| id.as_str()).collect();
        write!(f, "{} of {} at {} ms", self.causes[0], untold.join(" "), self.from)
    }
}

impl std::fmt::Display for Show {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { at, notification, channel, title, kind, .. } = self;
        write!(f, "{} {notification} {channel} {kind}: {title}", at.awake)
    }
}
