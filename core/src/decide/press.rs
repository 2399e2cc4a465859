//! What a human pressed on a message: it counts once, and for what the message shows now.

use ao_slots::NotificationId;

use super::{Answered, Decider, Input, Pressed, Refusal, RefusalKind};
use crate::{
    event::{Actor, Failure, PressRefused, Subject, TokenSpent},
    state::{Notification, Token},
    words,
};

impl<'a> Decider<'a> {
    /// A press counts for what the message shows now: one that comes late must not hit what works again. Its token is
    /// spent by the first press of which something comes.
    pub(super) fn press(
        &mut self,
        pressed: &Pressed,
        acts: &[Input],
        by: &Actor,
    ) -> Result<Answered, Refusal> {
        let message = self.message_of(pressed.notification)?;
        let token = pressed.token.as_ref().map(|hash| self.usable(hash)).transpose()?;
        if let Some(token) = token
            && token.until <= self.now.wall
        {
            let old = "this button is too old. The message is fresh now: press again";
            return self.press_refused(pressed, Failure::refused(old, None), by);
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
        let (mut answered, mut refused) = (Answered::default(), vec![]);
        for act in acts {
            match self.human(act) {
                Ok(taken) => answered = taken,
                Err(refusal) => refused.push(refusal),
            }
        }
        if let Some(token) = pressed.token.clone().filter(|_| refused.len() < acts.len()) {
            let because = [message.revised.seq];
            self.push(TokenSpent { token, by: by.clone() }).because(&because);
        }
        let failure = match (&refused[..], acts.len()) {
            ([], _) => return Ok(answered),
            ([one], 1) => one.clone().into(),
            (some, all) => {
                let each: Vec<_> = some.iter().map(|refusal| refusal.message.clone()).collect();
                let which = format!("not done for {} of {all}: {}", some.len(), each.join("; "));
                Failure::refused(which, some.iter().find_map(|refusal| refusal.remedy.clone()))
            }
        };
        self.press_refused(pressed, failure, by)
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

    pub(super) fn press_refused(
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
