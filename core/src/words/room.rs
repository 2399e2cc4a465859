//! What a channel has room for beside the card, and what it must not show.

use ao_slots::{
    agent::Ask,
    notifier::{Action, Block, Button, ChannelKind},
    text::length,
};

use super::{
    Card, Words,
    phrase::{VERBATIM, asked_for, button, last_lines},
    session_of,
};
use crate::{
    config::trigger::Trigger,
    state::{Incident, Session},
};

/// Said where something is left out.
const HINT: &str = "Not all is said here: others could read it.";

/// What kind of card it is.
#[derive(Clone, Copy)]
pub(super) struct Shown {
    /// About more than one need.
    pub(super) several: bool,
    /// Of one cause.
    pub(super) storm: bool,
    /// Nothing more is wanted.
    pub(super) over: bool,
}

/// Lines of a log that a thread shows.
const LOG: usize = 50;

impl Words<'_> {
    fn is_kind(&self, kind: ChannelKind) -> bool {
        self.channel.is_some_and(|channel| channel.kind == kind)
    }

    /// What is sent passes through a machine that others can read.
    pub(super) fn is_public(&self) -> bool {
        self.channel.is_some_and(|channel| channel.public)
    }

    /// What else can be done about one need, where a channel has an overflow menu: the rare things behind it.
    pub(super) fn more(&self, buttons: &mut Vec<Button>, incident: &Incident) {
        // Who takes it hears no further call; on a phone it stands where there is room.
        let take = incident.acknowledged.is_none().then(|| button("ack", "I take it"));
        if self.is_kind(ChannelKind::Phone) {
            let kills = buttons.iter().position(|button| button.action == Action::Kill);
            let at = kills.unwrap_or(buttons.len());
            buttons.splice(at..at, take);
            return;
        }
        if !self.is_kind(ChannelKind::Chat) {
            return;
        }
        buttons.extend(take.map(|take| Button { more: true, ..take }));
        for rare in buttons.iter_mut() {
            rare.more = matches!(rare.action, Action::Kill | Action::Snooze);
        }
        let mut add = |id: &str, label: &str| {
            if !buttons.iter().any(|known| known.id == id) {
                buttons.push(Button { more: true, ..button(id, label) });
            }
        };
        add("snooze-1h", "Snooze 1 h");
        add("snooze-morning", "Snooze until 09:00");
        if let Some(session) = session_of(incident) {
            let label = format!("Silence this for {session}");
            // A long name is the session's, which the message names.
            let fits = length(&label) <= super::phrase::LABEL;
            add("silence", if fits { &label } else { "Silence this" });
        }
        // What destroys stands last.
        buttons.sort_by_key(|button| (button.more, button.more && button.action == Action::Kill));
    }

    /// What is of use to whoever looks closer, where there is a place for it: the whole of what is cut above, the
    /// screen, the end of the log.
    pub(super) fn details(&self, incident: &Incident) -> Vec<Block> {
        let room = |c: &ao_slots::notifier::NotifierCapabilities| {
            (c.threads || c.kind == ChannelKind::Mail) && !c.public
        };
        let session = session_of(incident).and_then(|id| self.state.sessions.get(&id));
        let Some(session) = session.filter(|_| self.channel.is_some_and(room)) else {
            return vec![];
        };
        let log = |screen: &str| {
            let lines = last_lines(screen, LOG);
            (!lines.is_empty()).then_some(Block::Code(lines))
        };
        // So much of it stands above.
        let shown = self.channel.map_or(VERBATIM, |can| VERBATIM.min(can.body_limit as usize));
        let asked = self.asked_whole(incident, session).filter(|whole| length(whole) > shown);
        let words = session.activity_text.as_ref().map(|words| self.whole(words));
        let words = words.filter(|words| length(words) > shown);
        let shown = match incident.trigger {
            Trigger::AgentExited => session.tail.as_ref().and_then(|tail| log(&self.whole(tail))),
            Trigger::AgentNeedsInput if incident.request.is_none() => {
                session.activity_text.as_ref().and_then(|screen| log(&self.whole(screen)))
            }
            Trigger::AgentErrored => words.map(Block::Code),
            _ => self.seen.screen.as_deref().and_then(log),
        };
        asked.map(Block::Code).into_iter().chain(shown).collect()
    }

    /// The whole of what an agent asks.
    fn asked_whole(&self, incident: &Incident, session: &Session) -> Option<String> {
        let request = session.requests.get(&incident.request?)?;
        let (Ask::Question { text, .. } | Ask::Permission { subject: text, .. }) = &request.ask;
        let whole = request.full.as_ref().and_then(|blob| (self.text)(blob));
        Some(asked_for(whole.as_deref().unwrap_or(text)))
    }

    /// Leaves out what strangers must not read: code, commands, paths, what agents and logs say. What is asked of a
    /// human in plain words stays, and so do the numbers.
    pub(super) fn hide(&self, card: &mut Card, incident: &Incident, shown: Shown) {
        let Shown { several, storm, over } = shown;
        let session = session_of(incident).and_then(|id| self.state.sessions.get(&id));
        let request = session.and_then(|s| s.requests.get(&incident.request?));
        let who = incident.subject.to_string();
        let verb = |verb: &str| match verb {
            "run" => "run a command".to_owned(),
            "edit" => "edit a file".into(),
            "open" => "open a page".into(),
            _ => "do something that needs a permission".into(),
        };
        let (title, plain) = match (incident.trigger, request.map(|request| &request.ask)) {
            (_, Some(Ask::Permission { verb: wants, .. })) => {
                // Nobody approves what he cannot see.
                card.buttons.retain(|button| button.action != Action::Approve);
                (Some(format!("{who} wants to {}", verb(wants))), false)
            }
            (_, Some(Ask::Question { .. })) => (None, true),
            (Trigger::AgentNeedsInput, _) if incident.detail.as_deref() == Some("suspected") => {
                (Some(format!("{who} seems to ask something")), false)
            }
            (Trigger::AgentErrored, _) => (
                Some(match several {
                    true => {
                        card.title.split_once(": ").map_or(&*card.title, |(who, _)| who).to_owned()
                    }
                    false => format!("{who} cannot go on"),
                }),
                false,
            ),
            (Trigger::AgentStuck, _) if session.is_some_and(|s| s.tool.is_some()) && !several => {
                (Some(format!("{who} is stuck: a command runs too long")), true)
            }
            (Trigger::Tampered, _) => {
                (Some("A file of ao's own was changed by another".into()), false)
            }
            (
                Trigger::AgentStuck
                | Trigger::AgentIdle
                | Trigger::AgentIdleNoPr
                | Trigger::AgentFinished
                | Trigger::RuntimeLost
                | Trigger::RateLimited
                | Trigger::PromptUndelivered
                | Trigger::DiskLow
                | Trigger::ServerWasAway
                | Trigger::ApprovedAndGreen
                | Trigger::BudgetExceeded
                | Trigger::AllComplete,
                _,
            ) => (None, true),
            _ => (None, false),
        };
        // What is settled says who did what: never what it was about.
        if over || several && !storm {
            let title = card.title.split_once(": ").map_or(&*card.title, |(what, _)| what);
            if request.is_some() || !plain || several {
                card.title = title.to_owned();
            }
            card.body.clear();
            card.short = if over { String::new() } else { HINT.to_owned() };
            return;
        }
        if let Some(title) = title {
            card.title = title;
        }
        let since = self.since(self.began(incident));
        // What is being done says no more than that.
        if (!plain || card.short.is_empty()) && !card.buttons.is_empty() {
            card.short = match since.trim_start().strip_prefix("since") {
                Some(since) => format!("Since{since}. {HINT}"),
                None => HINT.to_owned(),
            };
        }
        if card.short.is_empty() {
            card.short = HINT.to_owned();
        }
        card.body = vec![Block::Text(card.short.clone())];
        let about =
            session.map_or_else(|| incident.id.to_string(), |session| session.id.to_string());
        card.command = Some(match several {
            true => "ao status".into(),
            false => format!("ao why {about}"),
        });
    }
}
