//! What a message says that covers several incidents: all that had to wait until `ao` had looked at everything.

use ao_slots::{
    SessionId,
    fact::Priority,
    notifier::{Block, Mark},
    text::{count, cut, thousands},
};

use super::{
    Card, Stage, Words,
    phrase::{in_title, ranges},
    session_of,
};
use crate::{
    config::trigger::Trigger,
    state::{Incident, Notification},
};

/// Incidents with a line of their own; of the others the sessions are named.
const LINES: usize = 25;

/// What of several incidents needs a human: that `ao` was away is news beside it, unless it is all there is.
pub(crate) fn needs(incidents: &[Incident]) -> impl Iterator<Item = &Incident> {
    let is_news = |incident: &Incident| incident.trigger == Trigger::ServerWasAway;
    // What it was news beside of may be over before it could be said.
    let all_news = incidents.iter().all(|i| is_news(i) || i.resolved.is_some())
        && incidents.iter().any(|i| is_news(i) && i.resolved.is_none());
    let alone = incidents.len() == 1;
    incidents.iter().filter(move |incident| alone || is_news(incident) == all_news)
}

impl Words<'_> {
    /// `3 need you: app-3 asks: Which?`, of `all` of them those that are open, the most urgent first.
    pub(super) fn several_title(&self, open: &[&Incident], all: usize) -> String {
        let Some(first) = open.first() else { return String::new() };
        let n = open.len() as u64;
        let one = n == 1;
        let who = match open.len() == all {
            true => thousands(n),
            false => format!("{} of {}", thousands(n), thousands(all as u64)),
        };
        let what = match (first.priority, one) {
            (Priority::Urgent, true) => "needs you",
            (Priority::Urgent, false) => "need you",
            (Priority::Action, true) => "waits for your decision",
            (Priority::Action, false) => "wait for your decision",
            (Priority::Warning, true) => "does not go well",
            (Priority::Warning, false) => "do not go well",
            (Priority::Info, _) => "to know",
        };
        format!("{who} {what}: {}", self.open(first).title)
    }

    /// A list with a line an incident. It has no buttons: each would act on one of them alone.
    pub(super) fn several(
        &self,
        incidents: &[&Incident],
        notification: &Notification,
    ) -> (Mark, Card) {
        let mine = |i: &Incident| i.messages().any(|id| id == notification.id);
        let open: Vec<&Incident> =
            incidents.iter().copied().filter(|i| i.resolved.is_none() && mine(i)).collect();
        let mut lines: Vec<String> = incidents
            .iter()
            .take(LINES)
            .map(|incident| in_title(&self.line_of(incident, notification)))
            .collect();
        let rest = &incidents[incidents.len().min(LINES)..];
        if !rest.is_empty() {
            let sessions: Vec<SessionId> = rest.iter().filter_map(|i| session_of(i)).collect();
            lines.push(format!("and {} more: {}", thousands(rest.len() as u64), ranges(&sessions)));
        }
        let Some(first) = open.first() else {
            let title = format!("All {} are settled", thousands(incidents.len() as u64));
            let body = vec![Block::List(lines)];
            return (Mark::Settled, Card { title, body, ..Card::default() });
        };
        let also: Vec<String> = open[1..].iter().take(LINES).map(|i| self.open(i).title).collect();
        let short = match also.is_empty() {
            true => String::new(),
            false => cut(&format!("Also: {}", also.join(" · ")), 300),
        };
        let why = match notification.call.held {
            true => "Quiet hours held them back.",
            false => "In one message: ao had to look at everything again first.",
        };
        let card = Card {
            title: self.several_title(&open, incidents.len()),
            short,
            body: vec![Block::List(lines), Block::Text(why.into())],
            buttons: vec![],
            command: Some("ao status".into()),
        };
        (self.mark(first), card)
    }

    fn line_of(&self, incident: &Incident, notification: &Notification) -> String {
        if incident.resolved.is_some() {
            let (mark, card) = self.settled(incident);
            let mark = if mark == Mark::Failed { "✗" } else { "✓" };
            return format!("{mark} {}", card.title);
        }
        let title = self.open(incident).title;
        if incident.messages().all(|id| id != notification.id) {
            return format!("{title} · a newer message tells of it");
        }
        if incident.cleared.is_some() {
            return format!("{title} · it seems to be over");
        }
        match self.stage(incident) {
            Stage::Open => match self.since(self.began(incident)) {
                since if since.is_empty() => title,
                since => format!("{title} ·{since}"),
            },
            Stage::Doing(words) => format!("{title} · {words}"),
            Stage::Failed(words) | Stage::Doubted(words) => format!("✗ {title} · {words}"),
        }
    }

    /// Says beside what needs a human that `ao` was away.
    pub(super) fn add_absence(&self, card: &mut Card, absence: &Incident) {
        let said = self.was_away(absence);
        let span = said.body.iter().find_map(|block| match block {
            Block::Text(text) => Some(text.clone()),
            _ => None,
        });
        card.body.push(Block::Text(format!("{}.", said.title)));
        card.body.extend(span.map(Block::Text));
        card.body.extend(said.body.into_iter().filter(|block| matches!(block, Block::List(_))));
    }

    /// What an absence made late: the urgent ones that were told with it and still stand.
    pub(super) fn late(&self, absence: &Incident) -> Vec<&Incident> {
        let told = absence.notification.and_then(|id| self.state.notifications.get(&id));
        let covered = told.into_iter().flat_map(|told| &told.covers);
        let urgent = |i: &&Incident| {
            i.priority == Priority::Urgent && i.id != absence.id && i.resolved.is_none()
        };
        covered.filter_map(|id| self.state.incidents.get(id)).filter(urgent).collect()
    }

    /// `1 message is late`; nothing where none is.
    pub(super) fn late_words(&self, absence: &Incident) -> Option<String> {
        let late = self.late(absence).len() as u64;
        (late > 0).then(|| count(late, "message is late", "messages are late"))
    }
}
