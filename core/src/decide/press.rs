//! What a human pressed on a message: it counts once, and for what the message shows now.

use ao_slots::{
    ChannelName, IncidentId, NotificationId,
    notifier::{ChannelKind, OPEN},
};

use super::{Answered, Decider, Input, Pressed, Refusal, RefusalKind};
use crate::{
    config::policy::{Person, Role},
    event::{Actor, Failure, PressRefused, Subject, TokenSpent},
    state::{Notification, State, Token},
    words,
};

/// Who acted on a channel: the person's name, where it is known, and what they may do. Without people in the
/// configuration everybody who can act is the one user. An account that nobody named may only look.
pub(crate) fn presser<'s>(
    state: &'s State,
    channel: &ChannelName,
    identity: Option<&str>,
) -> (Option<&'s str>, Role) {
    let people = &state.policy.people;
    if people.is_empty() {
        return (None, Role::Admin);
    }
    if let Some(identity) = identity {
        let is = |(_, person): &(_, &Person)| {
            person.identities.get(channel).is_some_and(|known| known == identity)
        };
        let known = people.iter().find(is);
        return known.map_or((None, Role::Viewer), |(name, person)| (Some(name), person.role));
    }
    // A channel that tells nobody apart is as trusted as the least of those who have it.
    let own = |(_, person): &(_, &Person)| person.channels.contains(channel);
    let mut have: Vec<_> = people.iter().filter(own).collect();
    if have.is_empty() {
        have = people.iter().filter(|(_, person)| person.channels.is_empty()).collect();
    }
    let can = state.channels.get(channel).and_then(|known| known.capabilities.as_ref());
    match have[..] {
        // Whoever sits before the screen of this machine has it anyway.
        _ if can.is_some_and(|can| can.kind == ChannelKind::Desktop) && have.len() != 1 => {
            (None, Role::Admin)
        }
        [(name, person)] => (Some(name), person.role),
        _ => (None, have.iter().map(|(_, p)| p.role).min().unwrap_or(Role::Viewer)),
    }
}

/// A press changes something, and not everybody may.
pub(crate) fn may(
    state: &State,
    channel: &ChannelName,
    identity: Option<&str>,
) -> Result<(), Refusal> {
    let (_, role) = presser(state, channel, identity);
    if role >= Role::Member {
        return Ok(());
    }
    let may = |role| state.policy.people.iter().find(move |(_, p)| p.role >= role);
    let ask = may(Role::Admin).or_else(|| may(Role::Member));
    let ask = ask.map(|(name, _)| format!(". Ask {name}")).unwrap_or_default();
    let role = Role::Member.as_str();
    let why = format!("only people with the role {role} can do this{ask}");
    Err(Refusal::new(RefusalKind::Forbidden, why))
}

/// The token, and those that were offered beside it for the same words: one answer to them counts.
fn offered_with(state: &State, hash: &str) -> Vec<String> {
    let Some(token) = state.tokens.get(hash) else { return vec![] };
    let one = |token: &Token| (token.notification, token.channel.clone(), token.until);
    let beside = |(other, known): &(&String, &Token)| {
        let same = token.text.is_some() && known.text == token.text && one(known) == one(token);
        *other == hash || same && known.spent.is_none()
    };
    state.tokens.iter().filter(beside).map(|(hash, _)| hash.clone()).collect()
}

/// What was refused of so many acts, as one failure.
fn of_several(refused: &[Refusal], all: usize) -> Option<Failure> {
    match (refused, all) {
        ([], _) => None,
        ([one], 1) => Some(one.clone().into()),
        (some, all) => {
            let each: Vec<_> = some.iter().map(|refusal| refusal.message.clone()).collect();
            let which = format!("not done for {} of {all}: {}", some.len(), each.join("; "));
            let remedy = some.iter().find_map(|refusal| refusal.remedy.clone());
            Some(Failure::refused(which, remedy))
        }
    }
}

impl<'a> Decider<'a> {
    /// A press counts for what the message shows now: one that comes late must not hit what works again. Its token is
    /// spent by the first press of which something comes. What of it failed before the rules were asked is recorded
    /// only where the press would have counted.
    pub(super) fn press(
        &mut self,
        pressed: &Pressed,
        tried: Result<&[Input], &Failure>,
        by: &Actor,
    ) -> Result<Answered, Refusal> {
        let message = self.message_of(pressed.notification)?;
        if let (Err(failure), OPEN) = (tried, pressed.button.as_str()) {
            // Looking closer changes nothing: anybody may, at any time.
            return self.press_refused(pressed, failure.clone(), by);
        }
        may(self.state, &pressed.channel, pressed.identity.as_deref())?;
        let token = pressed.token.as_ref().map(|hash| self.usable(hash)).transpose()?;
        if let Some(token) = token
            && token.until <= self.now.wall
        {
            let old = Failure::refused(words::EXPIRED, None);
            return self.press_refused(pressed, old, by);
        }
        // What is bound to somebody's words is offered to him alone, beside the message.
        let beside = token.is_some_and(|token| token.text.is_some());
        let (channel, button) = (&pressed.channel, &pressed.button);
        if !beside
            && let Some(late) =
                words::too_late(self.state, message, self.now, None, channel, button)
        {
            return self.press_refused(pressed, Failure::refused(late, None), by);
        }
        let acts = match tried {
            Ok(acts) => acts,
            Err(failure) => return self.press_refused(pressed, failure.clone(), by),
        };
        let (answered, refused) = self.each(acts);
        // `No` asks for nothing, and is an answer all the same.
        if refused.len() < acts.len() || beside && acts.is_empty() {
            let because = [message.revised.seq];
            let hash = pressed.token.as_deref();
            for token in hash.map(|hash| offered_with(self.state, hash)).unwrap_or_default() {
                self.push(TokenSpent { token, by: by.clone() }).because(&because);
            }
        }
        match of_several(&refused, acts.len()) {
            Some(failure) => self.press_refused(pressed, failure, by),
            None => Ok(answered),
        }
    }

    /// As a press on a message, by whoever sees the incident on a page: it counts for what the card shows now, so that of
    /// many that race one counts. What is refused is told to whoever pressed and changes nothing.
    pub(super) fn press_card(
        &mut self,
        incident: IncidentId,
        button: &str,
        acts: &[Input],
    ) -> Result<Answered, Refusal> {
        let incident = super::incident(self.state, incident)?;
        if let Some(late) = words::card_too_late(self.state, incident, self.now, None, button) {
            return Err(Refusal::new(RefusalKind::Conflict, late));
        }
        let (answered, refused) = self.each(acts);
        match (of_several(&refused, acts.len()), refused.len() < acts.len()) {
            (None, _) => Ok(answered),
            (Some(some), true) => Ok(Answered { note: Some(words::refusal(&some)), ..answered }),
            (Some(all), false) => Err(refused
                .into_iter()
                .next()
                .unwrap_or_else(|| Refusal::new(RefusalKind::Conflict, all.message))),
        }
    }

    /// Does each of them by itself: what the last that was taken answers, and what was refused.
    fn each(&mut self, acts: &[Input]) -> (Answered, Vec<Refusal>) {
        let (mut answered, mut refused) = (Answered::default(), vec![]);
        for act in acts {
            match self.human(act) {
                Ok(taken) => answered = taken,
                Err(refusal) => refused.push(refusal),
            }
        }
        (answered, refused)
    }

    /// The token of this hash, if nobody has used it.
    pub(super) fn usable(&self, hash: &str) -> Result<&'a Token, Refusal> {
        let Some(token) = self.state.tokens.get(hash) else {
            let why = "this button is not known here; nothing was done";
            return Err(Refusal::new(RefusalKind::Forbidden, why).with_remedy("ao status"));
        };
        match &token.spent {
            None => Ok(token),
            Some((by, _)) => {
                let why = format!("this button was already used, by {by}. Nothing was done twice");
                Err(Refusal::new(RefusalKind::Conflict, why))
            }
        }
    }

    fn press_refused(
        &mut self,
        pressed: &Pressed,
        failure: Failure,
        by: &Actor,
    ) -> Result<Answered, Refusal> {
        let message = self.message_of(pressed.notification)?;
        let because = [message.revised.seq];
        let incident = message.incident.and_then(|id| self.state.incidents.get(&id));
        let session = incident.and_then(|incident| match &incident.subject {
            Subject::Session(id) => Some(id.clone()),
            _ => None,
        });
        let note = words::refusal(&failure);
        let Pressed { notification, channel, button, .. } = pressed.clone();
        let draft =
            self.push(PressRefused { notification, channel, button, by: by.clone(), failure });
        draft.because(&because);
        draft.session.clone_from(&session);
        draft.project.clone_from(&message.project);
        Ok(Answered { session, note: Some(note), ..Answered::default() })
    }

    fn message_of(&self, id: NotificationId) -> Result<&'a Notification, Refusal> {
        self.state.notifications.get(&id).ok_or_else(|| {
            let why = "that message is no longer kept";
            Refusal::new(RefusalKind::NotFound, why).with_remedy("ao status")
        })
    }
}
