//! What a message says about several incidents of one cause: one title, all of them by name, and buttons that act on
//! each that still needs it.

use ao_slots::{
    SessionId,
    fact::Activity,
    notifier::{Block, Button, Mark},
    text::{count, cut, thousands},
};
use jiff::Timestamp;

use super::{
    Card, Stage, Words,
    open::{forge, jobs},
    phrase::{button, clean_line, confirmed, primary, ranges},
    session_of, to_restore,
};
use crate::{
    config::trigger::Trigger,
    decide::{
        NO_SIGNAL,
        review::{BEHIND, PENDING},
    },
    event::{Settled, Subject},
    state::{Incident, Notification, Session},
};

/// Restoring mends it.
fn restores(trigger: Trigger) -> bool {
    matches!(trigger, Trigger::AgentExited | Trigger::AgentErrored)
}

impl Words<'_> {
    /// `20 agents stopped: exited with code 1`, of `all` of them those that still need it.
    pub(super) fn storm_title(&self, open: &[&Incident], all: usize) -> String {
        let Some(first) = open.first() else { return String::new() };
        let n = open.len() as u64;
        let who = |one: &str, many: &str| match open.len() == all {
            true => count(n, one, many),
            false => format!("{} of {}", thousands(n), count(all as u64, one, many)),
        };
        let agents = || who("agent", "agents");
        let one = n == 1;
        let verb =
            |singular: &'static str, plural: &'static str| if one { singular } else { plural };
        let same = |tail: fn(&str) -> Option<String>| {
            // What became of a restore is no part of the cause.
            let touched = |i: &Incident| {
                let session = session_of(i).and_then(|id| self.state.sessions.get(&id));
                session.is_some_and(|s| s.restore.is_some() || s.failed_restore().is_some())
            };
            let rest: Vec<_> = open.iter().filter(|i| !touched(i)).collect();
            let of = if rest.is_empty() { open.iter().collect() } else { rest };
            let tails: Vec<_> = of.iter().map(|i| tail(&self.open(i).title)).collect();
            tails
                .first()
                .cloned()
                .flatten()
                .filter(|first| tails.iter().all(|t| t.as_ref() == Some(first)))
        };
        let tail: fn(&str) -> Option<String> =
            |title| title.split_once(": ").map(|(_, tail)| tail.to_owned());
        match first.trigger {
            Trigger::AgentExited => match same(tail) {
                Some(how) => format!("{} stopped: {how}", agents()),
                None => format!("{} stopped at once", agents()),
            },
            Trigger::AgentErrored => match same(tail) {
                Some(why) => format!("{} cannot go on: {why}", agents()),
                None => format!("{} cannot go on", agents()),
            },
            Trigger::AgentStuck if first.detail.as_deref() == Some(NO_SIGNAL) => {
                format!("{} cannot be observed", agents())
            }
            Trigger::AgentStuck => {
                format!("{} {} stuck: nothing moves", agents(), verb("is", "are"))
            }
            Trigger::AgentNeedsInput => {
                let agent = clean_line(first.common.as_deref().unwrap_or_default());
                format!("{} {} for a set-up question of {agent}", agents(), verb("waits", "wait"))
            }
            Trigger::PromptUndelivered => {
                format!(
                    "{} {} not got what {} told",
                    agents(),
                    verb("has", "have"),
                    verb("it was", "they were")
                )
            }
            Trigger::RateLimited => {
                let until = self.quota_back(open).map(|at| self.until(at)).unwrap_or_default();
                format!("{} {} for quota{until}", who("session", "sessions"), verb("waits", "wait"))
            }
            Trigger::CiFailed if first.detail.as_deref() == Some(PENDING) => {
                format!("{} {} for checks that do not end", who("PR", "PRs"), verb("waits", "wait"))
            }
            Trigger::CiFailed => {
                let failing = session_of(first).and_then(|id| self.state.sessions.get(&id)?.pr());
                let names = failing.map(|pr| jobs(&pr.failing)).filter(|names| !names.is_empty());
                let what = names.map(|names| format!(": {names}")).unwrap_or_default();
                format!("{} {}{what}", who("PR", "PRs"), verb("fails", "fail"))
            }
            Trigger::MergeConflicts => {
                let session = session_of(first).and_then(|id| self.state.sessions.get(&id));
                let base = session.and_then(|session| Some(self.base(session, session.pr()?)));
                let base = base.unwrap_or_else(|| "the base".into());
                match first.detail.as_deref() {
                    Some(BEHIND) => {
                        format!("{} {} {base}", who("PR", "PRs"), verb("lacks", "lack"))
                    }
                    _ => format!(
                        "{} {} with {base}",
                        who("PR", "PRs"),
                        verb("conflicts", "conflict")
                    ),
                }
            }
            // One thing to know, whoever waits for it.
            Trigger::ScmUnavailable => self.open(first).title,
            _ => format!("{}: {}", agents(), self.open(first).title),
        }
    }

    /// When quota is back for all of them; none where nobody said.
    fn quota_back(&self, open: &[&Incident]) -> Option<Timestamp> {
        let until = |incident: &&Incident| match self
            .state
            .sessions
            .get(&session_of(incident)?)?
            .activity
            .value
        {
            Activity::RateLimited { until } => until,
            _ => None,
        };
        open.iter().filter_map(until).max()
    }

    fn sessions_of(&self, incidents: &[&Incident]) -> Vec<SessionId> {
        incidents.iter().filter_map(|incident| session_of(incident)).collect()
    }

    /// All of them by name: `app-1…12, api-3`, projects for what is about those.
    fn names(&self, incidents: &[&Incident]) -> String {
        let sessions = self.sessions_of(incidents);
        if !sessions.is_empty() {
            return ranges(&sessions);
        }
        let names = incidents.iter().map(|incident| clean_line(&incident.subject.to_string()));
        names.collect::<Vec<_>>().join(", ")
    }

    /// The message, open or settled.
    pub(super) fn storm(&self, all: &[&Incident], notification: &Notification) -> (Mark, Card) {
        let mine = |i: &Incident| i.notification == Some(notification.id);
        let open: Vec<&Incident> =
            all.iter().copied().filter(|i| i.resolved.is_none() && mine(i)).collect();
        if open.is_empty() || notification.settled {
            return self.storm_settled(all);
        }
        let first = open[0];
        let sessions = self.sessions_of(&open);
        let names = self.names(&open);
        let time = self.seconds(all.iter().map(|i| i.stands.at).min().unwrap_or(first.stands.at));
        let mut body = vec![text(match time.is_empty() {
            true => "One cause.".to_owned(),
            false => format!("Since {time}, one cause."),
        })];
        body.push(text(match open.len() == all.len() {
            true => names.clone(),
            false => format!("Still {names}; of {}", self.names(all)),
        }));
        let known: Vec<&Session> =
            sessions.iter().filter_map(|id| self.state.sessions.get(id)).collect();
        let unknown: Vec<SessionId> =
            known.iter().filter(|s| s.work.is_none()).map(|s| s.id.clone()).collect();
        let safe = match unknown.is_empty() {
            true => "Work is safe: no workspace was touched.".to_owned(),
            false => format!("Unsaved work of {} is not known.", ranges(&unknown)),
        };
        let short = match first.trigger {
            Trigger::RateLimited => {
                let until = self.quota_back(&open);
                body.push(text(match until {
                    Some(at) => format!(
                        "The provider says: resets{} (in {}).",
                        self.or_later(at),
                        self.left(at)
                    ),
                    None => "The provider does not say until when.".into(),
                }));
                match until {
                    Some(_) => "They resume by themselves. Nothing to do.".to_owned(),
                    None => "Nobody knows until when. A message makes one try again.".into(),
                }
            }
            Trigger::ScmUnavailable => {
                // What one of them says holds for all.
                body.extend(self.open(first).body);
                format!("{}. Agents go on.", cut(&names, 200))
            }
            trigger if restores(trigger) => {
                body.push(text(safe.clone()));
                let safe = if unknown.is_empty() { "Work is safe.".to_owned() } else { safe };
                format!("{}. {safe}", cut(&names, 200))
            }
            _ => format!("{}.", cut(&names, 300)),
        };
        if restores(first.trigger) {
            body.extend(self.being_restored(&sessions));
            body.extend(self.not_restored(&sessions));
        }
        let title = self.storm_title(&open, all.len());
        if let Stage::Doing(words) = self.storm_stage(&open, all.len()) {
            let body = vec![text(words.clone())];
            // What is being restored is not what it was.
            let title = notification.title.clone();
            return (self.mark(first), Card { title, short: words, body, ..Card::default() });
        }
        let command = match (first.trigger, &sessions[..]) {
            (trigger, [one]) if restores(trigger) => format!("ao session restore {one}"),
            _ => "ao status".into(),
        };
        let buttons = self.storm_buttons(&open);
        (self.mark(first), Card { title, short, body, buttons, command: Some(command) })
    }

    /// How far a human's restore of these, of `all` that the cause ended, has come.
    pub(super) fn storm_stage(&self, open: &[&Incident], all: usize) -> Stage {
        let restored = open.first().is_some_and(|first| restores(first.trigger));
        match self.all_restored_by(&self.sessions_of(open)).filter(|_| restored) {
            Some(by) => {
                let back = all - open.len();
                Stage::Doing(format!("Restoring: {back} of {all}, asked by {by}."))
            }
            None => Stage::Open,
        }
    }

    /// What one press sensibly does for all of them.
    fn storm_buttons(&self, open: &[&Incident]) -> Vec<Button> {
        let n = to_restore(self.state, &self.sessions_of(open)).len() as u64;
        let Some(first) = open.first() else { return vec![] };
        let mut buttons = vec![];
        if restores(first.trigger) {
            let label = if n == 1 { "Restore".into() } else { format!("Restore {}", thousands(n)) };
            let question =
                format!("Restore {}? Each goes on where it can.", count(n, "agent", "agents"));
            buttons.push(confirmed(primary("restore", &label), question, &label, "Not now"));
        }
        let until = self.quota_back(open).filter(|_| first.trigger == Trigger::RateLimited);
        buttons.push(match until {
            Some(until) => {
                let named = self.until(until);
                let label = if named.is_empty() {
                    "Snooze until reset".into()
                } else {
                    format!("Snooze{named}")
                };
                button(&format!("snooze:{until}"), &label)
            }
            None => button("snooze-1h", "Snooze 1 h"),
        });
        buttons
    }

    fn storm_settled(&self, all: &[&Incident]) -> (Mark, Card) {
        let Some(first) = all.first() else { return (Mark::Settled, Card::default()) };
        let n = all.len() as u64;
        let ended = |incident: &&Incident| {
            incident.resolved.as_ref().or(incident.cleared.as_ref()).map(|(_, when)| *when)
        };
        let last = all.iter().filter_map(ended).max_by_key(|when| when.seq);
        let at = last.map(|when| self.at(when.at)).unwrap_or_default();
        // Ended, not mended: by a kill, or with its session.
        let over = |incident: &&Incident| {
            session_of(incident)
                .and_then(|id| self.state.sessions.get(&id))
                .is_none_or(Session::is_over)
                || matches!(incident.resolved, Some((Settled::Over, _)))
        };
        let about_sessions = matches!(first.subject, Subject::Session(_));
        let lost: Vec<&Incident> =
            all.iter().copied().filter(|i| about_sessions && over(i)).collect();
        let by = all.iter().find_map(|incident| match &incident.resolved {
            Some((Settled::By(by), _)) => Some(format!("by {by}{at}")),
            _ => None,
        });
        let by = by.unwrap_or_else(|| at.trim().to_owned());
        let (mark, title) = match (first.trigger, lost.len() as u64) {
            (Trigger::RateLimited, _) => (
                Mark::Settled,
                format!("Quota is back: {} resumed{at}", count(n, "session", "sessions")),
            ),
            (Trigger::ScmUnavailable, _) => {
                let name = forge(first.common.as_deref().unwrap_or("scm"));
                (Mark::Settled, format!("{name} answers again"))
            }
            (Trigger::CiFailed, 0) => (Mark::Settled, format!("{} pass", count(n, "PR", "PRs"))),
            (Trigger::MergeConflicts, 0) => {
                (Mark::Settled, format!("{} merge cleanly again", count(n, "PR", "PRs")))
            }
            (_, 0) => (Mark::Settled, format!("{} work again", count(n, "agent", "agents"))),
            (_, k) if k == n => {
                (Mark::Settled, format!("All {} are ended", count(n, "session", "sessions")))
            }
            (_, k) => {
                let names = self.names(&lost);
                (
                    Mark::Failed,
                    format!("{} of {} work again; {names} not", thousands(n - k), thousands(n)),
                )
            }
        };
        let body = if by.is_empty() || title.ends_with(&at) && !at.is_empty() {
            vec![]
        } else {
            vec![text(by)]
        };
        (mark, Card { title, body, ..Card::default() })
    }

    fn or_later(&self, at: Timestamp) -> String {
        match self.at(at) {
            at if at.is_empty() => " later".into(),
            at => at,
        }
    }

    fn left(&self, at: Timestamp) -> String {
        let left = at.duration_since(self.now.wall).as_secs();
        ao_slots::text::duration(u64::try_from(left).unwrap_or(0))
    }
}

fn text(words: impl Into<String>) -> Block {
    Block::Text(words.into())
}
