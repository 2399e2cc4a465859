//! Agents that ended, cannot go on, did not come back or did not get what they were told.

use ao_slots::{
    SessionId,
    fact::{Activity, AgentErrorKind, RuntimeState},
    notifier::{Block, Button, ButtonStyle},
    text::{count, cut, thousands},
};

use super::{
    super::phrase::{
        button, capital, clean_line, confirmed, in_seconds, in_title, kill_button, last_lines,
        open_button, primary, ranges, restore_button, sentence, verbatim, work_is_safe,
    },
    super::{Card, Words, to_restore},
    send_button, text,
};
use crate::{
    config::trigger::Trigger,
    event::Subject,
    state::{Fate, Incident, Moment, Session},
};

impl Words<'_> {
    pub(in crate::words) fn exited(&self, session: &Session) -> Card {
        let id = &session.id;
        let ended = session.runtime_state.since.at;
        let restore_failed = session.failed_restore();
        let how = match (&session.runtime_state.value, restore_failed) {
            _ if session.restore.is_some() => "it is being restored".to_owned(),
            (_, Some(_)) => "it could not be restored".to_owned(),
            (RuntimeState::Exited { code: Some(0) }, _) => {
                "ended by itself, the task looks unfinished".into()
            }
            (RuntimeState::Exited { code: Some(code) }, _) => format!("exited with code {code}"),
            (RuntimeState::Exited { code: None }, _) => "ended by a signal".into(),
            (RuntimeState::Missing, _) => "its process is gone".into(),
            (RuntimeState::Starting | RuntimeState::Alive | RuntimeState::Unknown, _) => {
                "it said good-bye".into()
            }
        };
        let safe = work_is_safe(session);
        let tail = session.tail.as_ref().map(|tail| self.whole(tail)).unwrap_or_default();
        let mut body = vec![];
        if restore_failed.is_none() {
            let when = self.seconds(ended);
            let when = if when.is_empty() { when } else { format!(" ({when})") };
            let ago = self.age(ended);
            body.push(text(format!(
                "{} exited {ago} ago{when}, the task is unfinished.",
                session.agent
            )));
        }
        let lines = last_lines(&tail, 6);
        if !lines.is_empty() {
            body.push(Block::Code(lines));
        }
        if !tail.is_empty() {
            body.push(text(format!("Its last 50 lines: ao logs {id}")));
        }
        body.extend(self.brought_back(session));
        body.push(text(safe.clone()));
        body.push(text(self.restoring(session)));
        if session.work().is_none() {
            // Not knowing what became of the work comes first.
            let unknown = body.remove(body.len() - 2);
            body.insert(0, unknown);
        }
        let cause = clean_line(&last_lines(&tail, 1));
        let cause = if cause.is_empty() { cause } else { format!("\"{}\". ", cut(&cause, 120)) };
        Card {
            title: format!("{id} stopped: {how}"),
            short: format!("{cause}{safe}"),
            body,
            buttons: vec![restore_button(), open_button(), kill_button(session)],
            command: Some(format!("ao session restore {id}")),
        }
    }

    /// What was tried already: `ao` started it again lately.
    pub(in crate::words) fn brought_back(&self, session: &Session) -> Option<Block> {
        let pause = self.state.policy.lifecycle.restore_again_after_ms;
        let lately = |when: &&Moment| when.awake.saturating_add(pause) > self.now.awake;
        let last = session.restores.last().filter(lately)?;
        Some(text(format!("Tried: ao started it again{}.", self.at(last.at))))
    }

    pub(in crate::words) fn restoring(&self, session: &Session) -> &'static str {
        match session.resumable && session.native_id.is_some() {
            true => "Restoring keeps the conversation.",
            false => "Restoring starts anew in the same workspace.",
        }
    }

    pub(in crate::words) fn errored(&self, session: &Session) -> Card {
        let id = &session.id;
        let words =
            session.activity_text.as_ref().map(|words| self.whole(words)).unwrap_or_default();
        let kind = match session.activity.value {
            Activity::Errored { kind } => kind,
            _ => AgentErrorKind::Reported,
        };
        let program = session.program.as_ref().unwrap_or(&session.agent);
        let (what, remedy) = match kind {
            AgentErrorKind::Login => (
                "login to the model provider expired".to_owned(),
                format!("Log in once with \"{program}\", then Restore."),
            ),
            AgentErrorKind::Billing => (
                "the model provider wants payment".into(),
                "Settle the account with the provider, then Restore.".into(),
            ),
            AgentErrorKind::RequestRefused => (
                "the model provider refused the request".into(),
                "Send it a message that asks in another way, or Restore.".into(),
            ),
            AgentErrorKind::ProviderDown => (
                "the model provider does not answer".into(),
                "Restore when the provider answers again.".into(),
            ),
            AgentErrorKind::Reported if words.is_empty() => {
                ("it reported an error".into(), "Open it to see what it says.".into())
            }
            AgentErrorKind::Reported => {
                (in_title(words.lines().next().unwrap_or_default()), work_is_safe(session))
            }
        };
        let mut body = vec![];
        if !words.is_empty() {
            body.push(Block::Code(verbatim(&words)));
        }
        if kind != AgentErrorKind::Reported || words.is_empty() {
            body.push(text(remedy.clone()));
        }
        body.extend(self.brought_back(session));
        body.push(text(work_is_safe(session)));
        let mut buttons = vec![restore_button()];
        if matches!(kind, AgentErrorKind::RequestRefused | AgentErrorKind::Reported) {
            buttons.push(send_button(session));
        }
        buttons.push(open_button());
        Card {
            title: format!("{id} cannot go on: {what}"),
            short: remedy,
            body,
            buttons,
            command: Some(format!("ao session restore {id}")),
        }
    }

    pub(in crate::words) fn undelivered(&self, session: &Session) -> Card {
        let id = &session.id;
        let message = session.undelivered();
        let what = if message.is_none_or(|m| m.first) { "its task" } else { "your message" };
        let tries = message.map_or(1, |m| m.tries.max(1));
        let reaction =
            self.state.policy.reaction(Some(&session.project), Trigger::PromptUndelivered);
        let within = in_seconds(reaction.escalate_after_ms.unwrap_or(60_000));
        let how = match message.map(|m| (&m.fate, m.first, m.tries)) {
            Some((Fate::Undelivered { failure }, ..)) => {
                format!("{}.", capital(&sentence(&failure.message)))
            }
            Some((_, true, 0 | 1)) => {
                "The task went in with the launch; the agent never confirmed it.".into()
            }
            _ => "The text was handed over; the agent never confirmed it.".into(),
        };
        let mut body = vec![text(how)];
        if let Some(words) = message.map(|m| self.whole(&m.text)).filter(|words| !words.is_empty())
        {
            body.push(Block::Quote(cut(&words, 300)));
        }
        let screen = last_lines(self.seen.screen.as_deref().unwrap_or_default(), 5);
        if !screen.is_empty() {
            body.push(text("Its screen:"));
            body.push(Block::Code(screen));
        }
        let again = match message.is_none_or(|m| m.first) {
            true => "Start the agent anew with its task?",
            false => "The agent may have it already. Send it once more?",
        };
        let again = confirmed(button("again", "Try again"), again.into(), "Try again", "Not now");
        let open = Button { style: ButtonStyle::Primary, ..open_button() };
        let kill = kill_button(session);
        Card {
            title: format!(
                "{id} has not got {what}: {} in {within}",
                count(tries.into(), "try", "tries")
            ),
            short: "Nothing was sent twice.".into(),
            body,
            buttons: vec![open, again, kill],
            command: Some(format!("ao session attach {id}")),
        }
    }

    pub(in crate::words) fn runtime_lost(&self, incident: &Incident) -> Card {
        let Subject::Runtime(name) = &incident.subject else { return Card::default() };
        let (missing, all) = (&incident.sessions, self.lost_in(incident));
        let n = missing.len() as u64;
        let who = match missing.as_slice() {
            [one] if all.len() == 1 => one.to_string(),
            _ if all.len() == missing.len() => count(n, "agent", "agents"),
            _ => format!("{} of {}", thousands(n), count(all.len() as u64, "agent", "agents")),
        };
        let unknown: Vec<SessionId> =
            missing.iter().filter(|id| self.work_is_unknown(id)).cloned().collect();
        let (safe, untouched) = match unknown.is_empty() {
            true => ("Work is safe.".to_owned(), "Work is safe: no workspace was touched.".into()),
            false => {
                let unknown = format!("Unsaved work of {} is not known.", ranges(&unknown));
                (unknown.clone(), format!("{unknown} No workspace was touched."))
            }
        };
        let names = match missing.as_slice() {
            [_] if all.len() == 1 => String::new(),
            _ => format!("{}. ", cut(&ranges(missing), 160)),
        };
        let time = self.seconds(incident.opened.at);
        let mut body = vec![text(match time.is_empty() {
            true => "One cause.".into(),
            false => format!("Since {time}, one cause."),
        })];
        if all.len() > 1 {
            body.push(text(ranges(&all)));
        }
        body.push(text(untouched));
        let back = all.len() - missing.len().min(all.len());
        body.push(text(format!("Tried: {back} of {} brought back.", thousands(all.len() as u64))));
        body.extend(self.being_restored(missing));
        body.extend(self.not_restored(missing));
        let n = to_restore(self.state, missing).len() as u64;
        let label = if n == 1 { "Restore".into() } else { format!("Restore {}", thousands(n)) };
        let question =
            format!("Restore {}? Each goes on where it can.", count(n, "agent", "agents"));
        Card {
            title: format!("{who} did not come back: the {name} server died"),
            short: format!("{names}{safe}"),
            body,
            buttons: vec![confirmed(primary("restore", &label), question, &label, "Not now")],
            command: Some(match missing.as_slice() {
                [one] => format!("ao session restore {one}"),
                _ => "ao status".into(),
            }),
        }
    }

    /// Which of them a human has restored already, where that is not known of yet.
    pub(in crate::words) fn being_restored(&self, sessions: &[SessionId]) -> Option<Block> {
        let by = |id: &SessionId| self.state.sessions.get(id)?.restore.as_ref()?.by.clone();
        let asked: Vec<SessionId> =
            sessions.iter().filter(|id| by(id).is_some()).cloned().collect();
        let mut names: Vec<String> = asked.iter().filter_map(by).map(|by| by.to_string()).collect();
        names.sort();
        names.dedup();
        (!asked.is_empty())
            .then(|| text(format!("Restoring {}, asked by {}.", ranges(&asked), names.join(", "))))
    }

    /// Why restoring one of them failed, a line each.
    pub(in crate::words) fn not_restored(&self, sessions: &[SessionId]) -> Vec<Block> {
        let why = |id: &SessionId| {
            let failure = self.state.sessions.get(id)?.failed_restore()?;
            Some(text(format!("{id}: {}.", sentence(&failure.message))))
        };
        sessions.iter().filter_map(why).collect()
    }

    pub(in crate::words) fn work_is_unknown(&self, id: &SessionId) -> bool {
        self.state.sessions.get(id).is_none_or(|session| session.work.is_none())
    }

    /// All sessions that the runtime's death ended: those that are missing, and those that came back since.
    pub(in crate::words) fn lost_in(&self, incident: &Incident) -> Vec<SessionId> {
        let back = self.state.sessions.values().filter(|session| {
            // Who came back from an earlier loss of the same runtime has no part in this one.
            session.restored.is_some_and(|when| when.seq > incident.stands.seq)
                && incident.subject == Subject::Runtime(session.runtime.clone())
        });
        let mut all: Vec<SessionId> =
            back.map(|s| s.id.clone()).chain(incident.sessions.iter().cloned()).collect();
        all.sort();
        all.dedup();
        all
    }
}
