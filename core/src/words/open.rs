//! What an incident's message says while it is open: one function a kind.

mod asks;
mod ends;
mod outside;
mod review;
mod server;
mod silence;

use ao_slots::{
    notifier::{Block, Button},
    text::cut,
};

use super::{
    Card, Words,
    phrase::{clean_line, form, text_button},
};
use crate::{
    config::trigger::Trigger,
    event::Subject,
    state::{Incident, Session},
};

pub(super) use outside::forge;
pub(super) use review::{jobs, page};

fn text(words: impl Into<String>) -> Block {
    Block::Text(words.into())
}

fn send_button(session: &Session) -> Button {
    text_button("send", "Send a message…", form(&session.id, "Message to", "Send it"))
}

impl Words<'_> {
    /// What an open incident says, before any human has acted.
    pub(super) fn open(&self, incident: &Incident) -> Card {
        let session = match &incident.subject {
            Subject::Session(id) => self.state.sessions.get(id),
            _ => None,
        };
        match (incident.trigger, session) {
            (Trigger::AgentNeedsInput, Some(session)) => self.needs_input(incident, session),
            (Trigger::AgentExited, Some(session)) => self.exited(session),
            (Trigger::AgentErrored, Some(session)) => self.errored(session),
            (Trigger::AgentStuck, Some(session)) if incident.detail.is_some() => {
                self.no_signal(session)
            }
            (Trigger::AgentStuck, Some(session)) => self.stuck(incident, session),
            (Trigger::AgentIdle, Some(session)) => self.idle(incident, session),
            (Trigger::AgentIdleNoPr, Some(session)) => self.idle_no_pr(incident, session),
            (Trigger::AgentFinished, Some(session)) => self.finished(session),
            (Trigger::RateLimited, Some(session)) => self.rate_limited(session),
            (Trigger::PromptUndelivered, Some(session)) => self.undelivered(session),
            (Trigger::RuntimeLost, _) => self.runtime_lost(incident),
            (Trigger::DiskLow, _) => self.disk_low(),
            (Trigger::ConfigRefused, _) => self.config_refused(),
            (Trigger::Tampered, _) => self.tampered(incident),
            (Trigger::ServerWasAway, _) => self.was_away(incident),
            (Trigger::ScmUnavailable, _) => self.scm_away(incident),
            (Trigger::ChannelFailing, _) => self.channel_failing(incident),
            (Trigger::BudgetExceeded, Some(session)) => self.overspent(session),
            (trigger, Some(session)) if trigger.is_of_a_pr() && session.pr.is_some() => {
                self.pr_card(incident, session)
            }
            // About a session that is no longer kept: named, never hidden.
            (trigger, _) => Card {
                title: format!("{} needs you: {trigger}", incident.subject),
                command: Some(match session {
                    Some(session) => format!("ao why {}", session.id),
                    None => format!("ao why {}", incident.id),
                }),
                ..Card::default()
            },
        }
    }
}

pub(super) fn file_name(path: &str) -> String {
    let path = clean_line(path);
    cut(path.rsplit('/').next().unwrap_or(&path), 60)
}
