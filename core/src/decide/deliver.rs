//! Who is told, and the order in which a channel's messages go out.

use std::collections::BTreeMap;

use ao_slots::{ChannelName, ErrorKind, IncidentId, ProjectId, fact::Priority};

use jiff::{SignedDuration, Timestamp};

use super::{Decider, schedule::retry_wait, silence::silent_to};
use crate::{
    config::{policy::ReactionAction, trigger::Trigger},
    event::{
        Call, DeliveryDropped, Effect, EffectIntended, Failure, NotificationOpened, RoundCompleted,
    },
    state::{ChannelState, Delivery, Incident, Intent, Lane, Notification, Progress, Round, State},
    words,
};

/// A message that could not be sent for that long is given up.
const TTL_MS: u64 = 24 * 3_600_000;

/// A send in doubt that many times is not repeated where each repetition is one more message: a receiver that is
/// only slow has got them all.
const DOUBTS: u32 = 2;

/// A channel that failed that often in a row is failing, not stumbling.
const FAILING: u32 = 3;

impl Decider<'_> {
    /// What follows for the messages that a channel has to carry: another channel for what it does not take, then
    /// the next one of its own.
    pub(super) fn channel(&mut self, name: &ChannelName) {
        let Some(channel) = self.state.channels.get(name) else { return };
        for notification in channel.waiting.iter().filter_map(|id| self.state.notifications.get(id))
        {
            self.fall_back(notification);
        }
        self.send_next(name, channel);
    }

    /// One at a time, the most urgent first.
    fn send_next(&mut self, name: &ChannelName, channel: &ChannelState) {
        let rest = rest_of(self.state, name, channel);
        if channel.intent.is_some() || rest.is_some_and(|until| until > self.now.wall) {
            return;
        }
        let mut waiting: Vec<&Notification> =
            channel.waiting.iter().filter_map(|id| self.state.notifications.get(id)).collect();
        let tries = |n: &Notification| n.deliveries.get(name).map_or(0, |delivery| delivery.tries);
        waiting.sort_by_key(|n| (std::cmp::Reverse(n.priority), tries(n), n.id));
        for notification in waiting {
            let Some(delivery) = notification.deliveries.get(name) else { continue };
            let Some(rests) = rests_until(self.state, name, notification, delivery) else {
                continue;
            };
            if rests.is_some_and(|until| until > self.now.wall) {
                continue;
            }
            match self.next_step(name, channel, notification, delivery) {
                Next::Act(Effect::SendNotification { .. })
                    if self.after_quiet(name) || self.keep_back(name, notification) =>
                {
                    return;
                }
                Next::Act(effect) => {
                    let because = [notification.revised.seq];
                    let draft =
                        self.push(EffectIntended { effect }).rule("outbox").because(&because);
                    draft.project.clone_from(&notification.project);
                    return;
                }
                Next::Drop(reason) => {
                    let because = [notification.opened.seq];
                    let event = DeliveryDropped {
                        notification: notification.id,
                        channel: name.clone(),
                        reason: reason.to_owned(),
                    };
                    self.push(event).rule("outbox").because(&because);
                }
            }
        }
    }

    /// When a message that failed may be tried again, and when anything on its channel.
    pub(super) fn rests(
        &self,
        intent: &Intent,
        failure: &Failure,
    ) -> (Option<Timestamp>, Option<Timestamp>) {
        let (Lane::Channel(name), Some(id)) = (&intent.lane, intent.effect.notification()) else {
            return (None, None);
        };
        let message = self.state.notifications.get(&id);
        let tried = message.and_then(|n| n.deliveries.get(name)).map_or(0, |d| d.tries);
        let failed = self.state.channels.get(name).map_or(0, |channel| channel.failures);
        let after = |before: u32, most: u32| {
            let tries = before.saturating_add(1).min(most);
            let wait = retry_wait(tries, failure.retry_after_ms, id.0);
            self.now.wall.saturating_add(wait).unwrap_or(self.now.wall)
        };
        // A channel that is down rests as a whole, but never so long that an urgent message would have to wait
        // for minutes; a message that alone is refused does not hold up the others.
        let down = failure.kind == ErrorKind::Transient || failure.retry_after_ms.is_some();
        (Some(after(tried, u32::MAX)), down.then(|| after(failed, 5)))
    }

    fn next_step(
        &self,
        name: &ChannelName,
        channel: &ChannelState,
        notification: &Notification,
        delivery: &Delivery,
    ) -> Next {
        let (id, revision) = (notification.id, notification.revision);
        // By awake time: a machine that slept has not tried. What was silenced is tried from the end of that on.
        let age = self.now.awake.saturating_sub(notification.opened.awake);
        let silent = called_for(self.state, notification, &notification.covers)
            .filter_map(|incident| silent_to(self.state, incident))
            .max();
        let silent = silent.map_or(i128::MAX, |end| self.now.wall.duration_since(end).as_millis());
        let too_old = age > TTL_MS && silent > i128::from(TTL_MS);
        let never = is_refused(delivery);
        // Where the receiver knows the key, a repetition is shown once.
        let idempotent = channel.capabilities.as_ref().is_some_and(|can| can.idempotent);
        match delivery.progress {
            Progress::Dropped => Next::Drop("it was given up"),
            Progress::Queued | Progress::Again if notification.settled => {
                Next::Drop("it was settled before it was sent")
            }
            Progress::Queued | Progress::Again if is_taken(self.state, notification) => {
                Next::Drop("somebody has taken it, or wants to hear of it later")
            }
            Progress::Queued | Progress::Again if never => Next::Drop("the channel refused it"),
            Progress::Queued | Progress::Again if too_old => {
                Next::Drop("it could not be sent for 24 h")
            }
            Progress::Again if notification.priority < Priority::Action && !idempotent => {
                Next::Drop("whether it was sent is unknown, and it is not urgent")
            }
            Progress::Again if delivery.doubts >= DOUBTS && !idempotent => {
                Next::Drop("it was sent twice, and whether it arrived is unknown")
            }
            Progress::Queued | Progress::Again => Next::Act(Effect::SendNotification {
                notification: id,
                channel: name.clone(),
                revision,
                again: delivery.progress == Progress::Again && !idempotent,
            }),
            Progress::Sent => {
                let edits = channel.capabilities.as_ref().is_some_and(|can| can.edits);
                if !edits || delivery.handle.is_none() || never || delivery.tries > 8 {
                    return Next::Drop("it cannot be changed on this channel");
                }
                let channel = name.clone();
                Next::Act(if notification.settled || delivery.superseded.is_some() {
                    Effect::ResolveNotification { notification: id, channel, revision }
                } else {
                    Effect::UpdateNotification { notification: id, channel, revision }
                })
            }
        }
    }

    pub(super) fn complete_round(&mut self, project: &ProjectId, round: &Round) {
        let sessions: Vec<_> = round.sessions.iter().cloned().collect();
        let because: Vec<_> = sessions
            .iter()
            .filter_map(|id| self.state.sessions.get(id))
            .map(|session| session.status_since.seq)
            .take(16)
            .collect();
        let (title, summary) = words::all_complete(self.state, &sessions);
        let draft = self.push(RoundCompleted { sessions }).rule("round-over").because(&because);
        draft.project = Some(project.clone());
        let reaction = self.state.policy.reaction(Some(project), Trigger::AllComplete);
        if reaction.action == ReactionAction::Nothing {
            return;
        }
        let channels = self.route(Some(project), Priority::Info, Trigger::AllComplete);
        let notification = self.next_notification();
        let event = NotificationOpened {
            notification,
            incident: None,
            covers: vec![],
            channels,
            parts: BTreeMap::new(),
            title,
            summary: Some(summary),
            call: Call::default(),
        };
        let draft = self.push(event).rule("all-complete").because(&because);
        draft.project = Some(project.clone());
    }
}

enum Next {
    Act(Effect),
    Drop(&'static str),
}

/// It calls for nobody any more, though it stands: somebody has taken it, or put it off. At the end of a snooze
/// another message tells of it.
pub(super) fn is_taken(state: &State, notification: &Notification) -> bool {
    let covered = notification.covers.iter().filter_map(|id| state.incidents.get(id));
    let open = covered.filter(|incident| incident.resolved.is_none()).count() > 0;
    open && called_for(state, notification, &notification.covers).next().is_none()
}

/// Those of a message's incidents for which it calls still.
fn called_for<'s>(
    state: &'s State,
    notification: &'s Notification,
    covers: &'s [IncidentId],
) -> impl Iterator<Item = &'s Incident> {
    let covered = covers.iter().filter_map(|id| state.incidents.get(id));
    covered.filter(|i| i.resolved.is_none() && !i.is_off(notification))
}

/// Until when nobody wants to hear of anything that a message calls for on a channel; none = somebody may.
pub(super) fn silenced_until(
    state: &State,
    name: &ChannelName,
    notification: &Notification,
) -> Option<Timestamp> {
    let called = called_for(state, notification, notification.covers_on(name));
    called.map(|incident| silent_to(state, incident)).min()?
}

/// The channel will not take it, however often it is asked.
pub(super) fn is_refused(delivery: &Delivery) -> bool {
    let never =
        [ErrorKind::Permanent, ErrorKind::Unsupported, ErrorKind::NotFound, ErrorKind::Refused];
    delivery.error.as_ref().is_some_and(|error| never.contains(&error.kind))
}

/// It takes nothing any more, as far as one can tell: it failed several times in a row, or by what repeating does
/// not change.
pub(crate) fn is_failing(channel: &ChannelState) -> bool {
    let lasting =
        |kind| matches!(kind, ErrorKind::Permanent | ErrorKind::Refused | ErrorKind::Missing);
    channel.error.as_ref().is_some_and(|error| channel.failures >= FAILING || lasting(error.kind))
}

/// Until when a delivery rests by what is known, `Some(None)` = it does not; none = until something happens. Its
/// channel may rest for longer, see [`rest_of`].
pub(super) fn rests_until(
    state: &State,
    name: &ChannelName,
    notification: &Notification,
    delivery: &Delivery,
) -> Option<Option<Timestamp>> {
    let waits = match delivery.progress {
        Progress::Dropped => return None,
        _ if notification.settled || delivery.superseded.is_some() => None,
        Progress::Queued | Progress::Again if state.is_held(notification) => return None,
        // Not before it is known whether it still holds, and whether a human wants to hear of it now.
        Progress::Sent if delivery.shown == 0 && delivery.refused.is_none() => {
            if state.unswept_since.is_some() {
                return None;
            }
            let covered = notification.covers.iter().filter_map(|id| state.incidents.get(id));
            let open = covered.filter(|incident| incident.resolved.is_none());
            let quiet = |incident: &Incident| incident.snoozed.max(silent_to(state, incident));
            open.map(quiet).min()?
        }
        // Until quiet hours are over, or a human has gone away.
        Progress::Queued | Progress::Again => {
            let held = match &delivery.held {
                Some(hold) => Some(hold.until?),
                None => None,
            };
            held.max(silenced_until(state, name, notification))
        }
        Progress::Sent => None,
    };
    Some(waits.max(delivery.not_before))
}

/// Until when a channel takes no request: as long as its account rests, and for the pace that its provider allows.
pub(super) fn rest_of(
    state: &State,
    name: &ChannelName,
    channel: &ChannelState,
) -> Option<Timestamp> {
    let pace = channel.capabilities.as_ref().map_or(0, |can| can.pace_ms);
    let paced = channel
        .requested
        .filter(|_| pace > 0)
        .map(|last| last.saturating_add(SignedDuration::from_millis(pace.into())).unwrap_or(last));
    state.account_rests(name).max(paced)
}
