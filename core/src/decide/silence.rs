//! Silences: what a human does not want to hear of for a while. What matches is kept in mind, counted, and told when
//! the silence ends and it still stands.

use jiff::{SignedDuration, Timestamp};

use super::{Answered, Decider, Refusal, RefusalKind, schedule::is_due};
use crate::{
    event::{Actor, Held, NotificationHeld, SilenceAdded, SilenceEnded},
    state::{Due, Incident, Matchers, Now, Silence, State},
    words,
};

/// A silence or a snooze lasts no longer than that: who forgets one would never be called again.
const MOST_DAYS: i64 = 366;

/// Refuses an end of a wait that has passed, or that is not in sight.
pub(super) fn ends_in_sight(what: &str, until: Timestamp, now: Timestamp) -> Result<(), Refusal> {
    if until <= now {
        return Err(Refusal::new(RefusalKind::Invalid, "that time has passed"));
    }
    if until.duration_since(now) > SignedDuration::from_hours(24 * MOST_DAYS) {
        let why = format!("a {what} lasts {MOST_DAYS} days at most");
        return Err(Refusal::new(RefusalKind::Invalid, why));
    }
    Ok(())
}

/// The silence that an incident falls under now; of several the one that ends last.
pub(crate) fn silence_of<'s>(
    state: &'s State,
    incident: &Incident,
    now: Now,
) -> Option<&'s Silence> {
    let active = state.silences.values().filter(|silence| silence.is_active(now.wall));
    active.filter(|silence| silence.matchers.match_incident(incident)).max_by_key(|s| s.until)
}

/// When the last silence of an incident ends, or ended; none where there was none.
pub(crate) fn silent_to(state: &State, incident: &Incident) -> Option<Timestamp> {
    let about = state.silences.values().filter(|s| s.matchers.match_incident(incident));
    about.map(|s| s.ended.as_ref().map_or(s.until, |(_, when)| when.at)).max()
}

/// When an incident that is due is looked at again because a silence holds it back; none where none does.
pub(super) fn silent_until(state: &State, incident: &Incident, due: Due) -> Option<Due> {
    let (Held::Silence { silence }, _) = incident.held.as_ref()? else { return None };
    let silence = state.silences.get(silence).filter(|silence| silence.ended.is_none())?;
    match due {
        Due::Wall(at) => Some(Due::Wall(at.max(silence.until))),
        // Other settings may have it settle later than it was held back.
        Due::Awake(at) => (state.awake >= at).then_some(Due::Wall(silence.until)),
    }
}

impl Decider<'_> {
    pub(super) fn add_silence(
        &mut self,
        matchers: &Matchers,
        until: Timestamp,
        comment: &str,
        by: &Actor,
    ) -> Result<Answered, Refusal> {
        if *matchers == Matchers::default() {
            let why = "a silence needs something to match";
            let remedy = "ao silence add session=app-3 for 2h";
            return Err(Refusal::new(RefusalKind::Invalid, why).with_remedy(remedy));
        }
        ends_in_sight("silence", until, self.now.wall)?;
        let silence = self.next_silence();
        let comment = ao_slots::text::cut(&ao_slots::text::plain(comment), 200);
        let (matchers, by) = (matchers.clone(), by.clone());
        self.push(SilenceAdded { silence, matchers, until, by, comment });
        Ok(Answered { silence: Some(silence), ..Answered::default() })
    }

    pub(super) fn end_silence(
        &mut self,
        id: ao_slots::SilenceId,
        by: &Actor,
    ) -> Result<Answered, Refusal> {
        let none = || {
            Refusal::new(RefusalKind::NotFound, format!("there is no silence {id}"))
                .with_remedy("ao silence ls")
        };
        let silence = self.state.silences.get(&id).ok_or_else(none)?;
        // Ending what is over is a success: the wish holds.
        if silence.is_active(self.now.wall) {
            let because = [silence.since.seq];
            self.push(SilenceEnded { silence: id, by: by.clone() }).because(&because);
        }
        Ok(Answered { silence: Some(id), ..Answered::default() })
    }

    /// Whether a silence keeps an incident from being told now. Which one is recorded once.
    pub(super) fn is_silenced(&mut self, incident: &Incident) -> bool {
        let Some(silence) = silence_of(self.state, incident, self.now) else { return false };
        let why = Held::Silence { silence: silence.id };
        if is_due(self.state, incident, self.now)
            && incident.held.as_ref().is_none_or(|(held, _)| *held != why)
        {
            let because = [silence.since.seq, incident.stands.seq];
            self.hold(incident, why, "silence", &because);
        }
        true
    }

    /// Records that a human is not called for an incident though it is due.
    pub(super) fn hold(
        &mut self,
        incident: &Incident,
        why: Held,
        rule: &'static str,
        because: &[ao_slots::Seq],
    ) {
        let title = words::title(self.state, incident);
        let event = NotificationHeld { incident: incident.id, title, why };
        self.tag(incident, event).rule(rule).because(because);
    }
}
