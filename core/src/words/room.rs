//! What a channel has room for beside the card, and what it must not show.

use ao_slots::{
    agent::Ask,
    notifier::{Action, Block, Button, ChannelKind},
    text::length,
};

use super::{
    Card, Stage, Told, Words, first_words,
    phrase::{VERBATIM, asked_for, button, last_lines},
    session_of,
};
use crate::{
    config::trigger::Trigger,
    state::{Incident, Notification, Session},
};

/// Said where something is left out.
const HINT: &str = "Not all is said here: others could read it.";

/// What a card is about.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Shown {
    /// One need.
    One,
    /// Several of one cause.
    Storm,
    /// Several.
    List,
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
        let taken = incident.acknowledged.is_some()
            || buttons.iter().any(|button| button.action == Action::Ack);
        let take = (!taken).then(|| button("ack", "I take it"));
        if self.is_kind(ChannelKind::Phone) {
            let rare = |button: &Button| button.more || button.action == Action::Kill;
            let at = buttons.iter().position(rare).unwrap_or(buttons.len());
            buttons.splice(at..at, take);
            return;
        }
        if !self.is_kind(ChannelKind::Chat) {
            return;
        }
        for rare in buttons.iter_mut() {
            rare.more |= matches!(rare.action, Action::Kill | Action::Snooze);
        }
        buttons.extend(take.map(|take| Button { more: true, ..take }));
        let snoozes = buttons.iter().any(|button| button.action == Action::Snooze);
        let mut add = |id: &str, label: &str| {
            if !buttons.iter().any(|known| known.id == id) {
                buttons.push(Button { more: true, ..button(id, label) });
            }
        };
        if !snoozes {
            add("snooze-1h", "Snooze 1 h");
        }
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
    pub(super) fn hide(&self, card: &mut Card, incident: &Incident, shown: Shown, told: &Told) {
        let several = shown != Shown::One;
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
                    true => own_part(&card.title),
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
                | Trigger::ScmUnavailable
                | Trigger::ServerWasAway
                | Trigger::ApprovedAndGreen
                | Trigger::BudgetExceeded
                | Trigger::AllComplete,
                _,
            ) => (None, true),
            _ => (None, false),
        };
        card.title = match (told, title) {
            (Told::Settled, _) if incident.trigger == Trigger::Tampered => {
                "The change of ao's own file was seen".into()
            }
            // What is settled says who did what: never what it was about.
            (Told::Settled, _) if request.is_some_and(|request| request.decided.is_some()) => {
                own_part(&card.title)
            }
            (Told::Settled, _) => std::mem::take(&mut card.title),
            _ if shown == Shown::List => own_part(&card.title),
            (_, Some(title)) => title,
            (_, None) => std::mem::take(&mut card.title),
        };
        card.short = match told {
            Told::Settled => String::new(),
            // No more than that it passes is said first.
            Told::Passed => card.body.first().map(first_words).unwrap_or_default(),
            Told::Stage(Stage::Doing(words) | Stage::Doubted(words)) => words.clone(),
            Told::Stage(Stage::Failed(_)) => format!("It did not work. {HINT}"),
            Told::Stage(Stage::Open) if shown == Shown::List => HINT.to_owned(),
            Told::Stage(Stage::Open) if plain && card.short.is_empty() => {
                card.body.first().map(first_words).unwrap_or_default()
            }
            Told::Stage(Stage::Open) if plain => std::mem::take(&mut card.short),
            Told::Stage(Stage::Open) => {
                let since = self.since(self.began(incident));
                match since.trim_start().strip_prefix("since") {
                    Some(since) => format!("Since{since}. {HINT}"),
                    None => HINT.to_owned(),
                }
            }
        };
        card.body.clear();
        if !card.short.is_empty() {
            card.body.push(Block::Text(card.short.clone()));
        }
        if card.command.is_none() && !matches!(told, Told::Stage(_)) {
            return;
        }
        let about =
            session.map_or_else(|| incident.id.to_string(), |session| session.id.to_string());
        card.command = Some(match several {
            true => "ao status".into(),
            false => format!("ao why {about}"),
        });
    }
}

/// Of a title what `ao` says itself: what others said stands behind the colon.
fn own_part(title: &str) -> String {
    title.split_once(": ").map_or(title, |(own, _)| own).to_owned()
}

/// The same of what is about no need: its title counts, the rest names.
pub(super) fn hide_summary(card: &mut Card, notification: &Notification) {
    let Some(summary) = &notification.summary else {
        card.title = own_part(&card.title);
        return;
    };
    if !summary.short.is_empty() || !summary.parts.is_empty() {
        card.short = HINT.to_owned();
        card.body = vec![Block::Text(card.short.clone())];
    }
}
