//! What is due when: derived from facts and policy, the same functions that the rules judge by.

use ao_slots::{
    Seq,
    call::back_off,
    fact::{Activity, PrState, Priority, RuntimeState},
};
use jiff::SignedDuration;

use super::reaction::{
    done_alone, done_alone_at, is_held, is_in_place, is_talked_out, merges_alone, waits_for_push,
};
use super::{
    cause::muted_by,
    deliver::{rest_of, rests_until},
    ending::{closes_at, end_again_at, grace_ends, has_scm},
    escalate::follows_at,
    fallback::falls_back_at,
    lifecycle::{next_to_type, quota_back_at, retry_at},
    outside::others,
    review::{PENDING, will_hang_at},
    silence::silent_until,
};
use crate::{
    config::{policy::ReactionAction, trigger::Trigger},
    event::{Held, Settled, Subject},
    state::{
        ChannelState, Due, Fate, Focus, Incident, Moment, Now, QueuedMessage, Session, State, Step,
        Want,
    },
};

/// Detail of the incident that tells of an agent that cannot be observed.
pub(crate) const NO_SIGNAL: &str = "no-signal";

/// The stuck limit of a policy that names none.
const STUCK_MS: u64 = 600_000;

pub(crate) const DAY_MS: u64 = 86_400_000;

/// How long an agent that ended in good order, or said good-bye, is waited for: a look at its workspace may
/// find that the work is done, and the process may end as it said.
const GOOD_BYE_MS: u64 = 15_000;

/// A limit on a session: from `at` on (awake milliseconds) it is an incident.
pub(crate) struct Limit {
    pub(crate) trigger: Trigger,
    pub(crate) detail: Option<&'static str>,
    pub(crate) at: u64,
    pub(crate) because: Vec<Seq>,
}

/// The limits that the session's present facts put it under.
pub(crate) fn limits(state: &State, session: &Session) -> Vec<Limit> {
    if session.is_over() || session.intent != Want::Run {
        return vec![];
    }
    let rules = state.policy.rules(Some(&session.project));
    let (runtime, activity) = (&session.runtime_state, &session.activity);
    let ready = session.step == Step::Ready;
    let alive = runtime.value == RuntimeState::Alive;
    let active = ready && alive && activity.value == Activity::Active;
    let asks = session.open_requests().next().is_some();
    // One that was opened and not looked at yet is open.
    let pr_open = match session.pr() {
        Some(pr) => matches!(pr.state, PrState::Open | PrState::Draft),
        None => session.follow.pr.is_some(),
    };

    let mut limits = vec![];
    let mut limit = |trigger: Trigger, since: Moment, wait: u64, because: Vec<Seq>| {
        let at = since.awake.saturating_add(wait);
        limits.push(Limit { trigger, detail: None, at, because });
    };
    let threshold = |trigger: Trigger| rules.reaction(trigger).threshold_ms.unwrap_or(0);

    if active && !asks {
        let because = vec![session.progress.seq, activity.since.seq];
        limit(Trigger::AgentStuck, session.progress, stuck_after(state, session), because);
    }
    if let Some(busy) = session.busy_since.filter(|_| active && !pr_open) {
        let shows = session.work().is_some_and(|work| work.commits > 0);
        // One that is stuck is told of as that.
        if (has_scm(state, session) || !shows) && !state.is_stuck(session) {
            let wait = threshold(Trigger::AgentIdleNoPr);
            limit(Trigger::AgentIdleNoPr, busy, wait, vec![busy.seq]);
        }
    }
    // An end in good order: of the turn, or of the process.
    let exited = (runtime.value == RuntimeState::Exited { code: Some(0) }
        && session.restore.is_none())
    .then_some(runtime.since);
    let turned = session.turn_ended.filter(|_| alive && activity.value == Activity::Idle);
    if let Some(ended) = exited.or(turned) {
        let looked = session.work_looked.is_some_and(|when| when.seq > ended.seq);
        let made = session.work().is_some_and(|work| work.is_clean() && work.commits > 0);
        let mut because = vec![ended.seq];
        because.extend(session.work_looked.map(|when| when.seq));
        let quiet = ready && !pr_open && session.next_message().is_none();
        let finished = looked && made && quiet;
        match (finished, exited.is_some()) {
            (true, _) => {
                // What it says itself, and what does not end it, need not be waited for.
                let says = session.claimed.is_some() && has_scm(state, session);
                let wait = if says { 0 } else { threshold(Trigger::AgentFinished) };
                limit(Trigger::AgentFinished, ended, wait, because);
            }
            (false, true) if set_up(session) => {
                let wait = if looked { 0 } else { GOOD_BYE_MS };
                limit(Trigger::AgentExited, ended, wait, because);
            }
            (false, false) if quiet => {
                limit(Trigger::AgentIdle, ended, threshold(Trigger::AgentIdle), because);
            }
            _ => {}
        }
    }
    if activity.value == Activity::Exited && !session.has_ended() && set_up(session) {
        limit(Trigger::AgentExited, activity.since, GOOD_BYE_MS, vec![activity.since.seq]);
    }
    if let Activity::RateLimited { until } = activity.value {
        let since = activity.since;
        let wait = threshold(Trigger::RateLimited);
        // Known to last longer than is put up with: no use in waiting to say so.
        let long = until
            .is_some_and(|until| until.duration_since(since.at).as_millis() > i128::from(wait));
        limit(Trigger::RateLimited, since, if long { 0 } else { wait }, vec![since.seq]);
    }
    if let (Some(message), Some(launched), true) =
        (expected(session), session.launched, alive && session.suspected.is_none())
    {
        let tried = message.tried.unwrap_or(launched);
        let moments = [Some(tried), Some(launched), session.turn_ended];
        let since = moments.into_iter().flatten().max_by_key(|when| when.awake).unwrap_or(tried);
        let wait = rules.reaction(Trigger::PromptUndelivered).escalate_after_ms.unwrap_or(60_000);
        let because = vec![message.queued.seq, launched.seq];
        limit(Trigger::PromptUndelivered, since, wait, because);
    }
    if ready && runtime.value == RuntimeState::Unknown && activity.value != Activity::NoSignal {
        let wait = rules.reaction(Trigger::AgentStuck).threshold_ms.unwrap_or(STUCK_MS);
        let at = runtime.since.awake.saturating_add(wait);
        let because = vec![runtime.since.seq];
        limits.push(Limit { trigger: Trigger::AgentStuck, detail: Some(NO_SIGNAL), at, because });
    }
    limits
}

/// How long nothing may move in a turn, in milliseconds; longer while a command runs.
pub(super) fn stuck_after(state: &State, session: &Session) -> u64 {
    let stuck = state.policy.reaction(Some(&session.project), Trigger::AgentStuck);
    let of_a_command = stuck.command_threshold_ms.filter(|_| session.tool.is_some());
    of_a_command.or(stuck.threshold_ms).unwrap_or(STUCK_MS)
}

/// The agent was started: from here on its end concerns a human.
pub(super) fn set_up(session: &Session) -> bool {
    matches!(session.step, Step::Launching | Step::Prompting | Step::Ready)
}

/// The message that the agent should have confirmed by now: its task, or one that was tried. One that waits
/// for the end of a turn, a dialog or a quota is not late.
fn expected(session: &Session) -> Option<&QueuedMessage> {
    session.messages.values().find(|message| {
        let due = match session.activity.value {
            Activity::Starting | Activity::Idle => message.first || message.tried.is_some(),
            Activity::Active => message.first,
            Activity::WaitingInput
            | Activity::Blocked
            | Activity::RateLimited { .. }
            | Activity::Errored { .. }
            | Activity::Exited
            | Activity::NoSignal => false,
        };
        message.fate == Fate::Waiting && due
    })
}

/// How long the absence of a cause must last before an incident is over, in awake milliseconds. What a human
/// did, or a session's end, is final at once.
pub(crate) fn resolves_at(state: &State, incident: &Incident) -> Option<u64> {
    let (how, when) = incident.cleared.as_ref()?;
    Some(match how {
        Settled::By(_) | Settled::Over => when.awake,
        Settled::ByItself | Settled::Handled => {
            let settle = state.policy.lifecycle.settle.of(incident.priority).min(15_000);
            when.awake.saturating_add(settle)
        }
    })
}

/// When an incident has lasted long enough to be pushed, in awake milliseconds. A cause that comes and goes
/// within the settle time is never pushed. What a look at everything brought up counts from its end, so that
/// all of a class is told at once; that `ao` was away goes with the most urgent of it.
pub(crate) fn settles_at(state: &State, incident: &Incident) -> u64 {
    let settle = &state.policy.lifecycle.settle;
    match state.looked {
        Some((since, until))
            if incident.stands.seq >= since.seq && incident.stands.awake <= until.awake =>
        {
            let priority = match incident.trigger {
                Trigger::ServerWasAway => Priority::Urgent,
                _ => incident.priority,
            };
            until.awake.saturating_add(settle.of(priority))
        }
        _ => incident.stands.awake.saturating_add(settle.of(incident.priority)),
    }
}

/// Whether a human is to hear of it now.
pub(super) fn is_due(state: &State, incident: &Incident, now: Now) -> bool {
    let due = match told_at(state, incident) {
        Some(Due::Wall(at)) => now.wall >= at,
        Some(Due::Awake(at)) => now.awake >= at,
        None => false,
    };
    due && state.unswept_since.is_none() && muted_by(state, incident).is_none()
}

/// When a human is to hear of it, were nothing in its way; none = he has, or need not.
fn told_at(state: &State, incident: &Incident) -> Option<Due> {
    let wanted = wanted_at(state, incident)?;
    match (incident.notification, incident.snoozed) {
        // A human wanted to hear of it later: from then on he is wanted.
        (_, Some(until)) => Some(Due::Wall(until)),
        (None, None) => (!in_digest(incident) && !incident.is_taken())
            .then(|| Due::Awake(settles_at(state, incident).max(wanted))),
        // The agent was told once more, and that failed too.
        (Some(_), None) if let Some((_, when)) = &incident.again => {
            let taken = incident.acknowledged.as_ref();
            let taken = taken.is_some_and(|(_, taken)| taken.seq > when.seq);
            (!taken).then(|| Due::Awake(settles_at(state, incident).max(wanted)))
        }
        // It has become more urgent than what was sent.
        (Some(id), None) => {
            let shown = state.notifications.get(&id)?;
            (incident.priority > shown.priority).then_some(Due::Awake(0))
        }
    }
}

/// From when on a human is wanted, in awake milliseconds; none while `ao` or the agent is at it, with no limit in
/// sight. What a human is to hear of settles first in any case.
pub(crate) fn wanted_at(state: &State, incident: &Incident) -> Option<u64> {
    if !incident.is_open() {
        return None;
    }
    let reaction = state.policy.reaction(incident.project.as_ref(), incident.trigger);
    if reaction.action == ReactionAction::Nothing || done_alone(state, incident).is_some() {
        return None;
    }
    match incident.trigger {
        Trigger::ChannelFailing => match &incident.subject {
            Subject::Channel(name) if others(state, name).is_empty() => None,
            _ => Some(0),
        },
        // Somebody is at it already, and hears of it only when that did not work.
        Trigger::AgentExited | Trigger::AgentErrored | Trigger::AgentStuck
            if incident.notification.is_none() && is_being_restored(state, incident) =>
        {
            None
        }
        // What is brought back is told only when that did not work.
        Trigger::RuntimeLost => incident.detail.is_some().then_some(0),
        trigger if trigger.is_of_a_pr() || trigger == Trigger::ScmUnavailable => {
            let told = matches!(reaction.action, ReactionAction::Notify | ReactionAction::Kill);
            // Nobody can be told to see to checks that do not end.
            let hung = trigger == Trigger::CiFailed && incident.detail.as_deref() == Some(PENDING);
            if !reaction.auto || told || hung {
                return Some(0);
            }
            let session = match &incident.subject {
                Subject::Session(id) => state.sessions.get(id),
                _ => None,
            };
            let tried = session.is_some_and(|session| match trigger {
                Trigger::CiFailed => {
                    let tried = session.failed_attempts();
                    reaction.retries > 0 && tried >= reaction.retries || is_in_place(session)
                }
                Trigger::ApprovedAndGreen => !merges_alone(state, session, incident),
                trigger => is_talked_out(session, trigger),
            });
            // What strangers say waits for a human to let it through.
            if tried || session.is_some_and(|session| is_held(session, trigger)) {
                return Some(0);
            }
            let waits = reaction.escalate_after_ms;
            let since = incident.again.as_ref().map_or(incident.opened, |(_, when)| *when);
            waits.map(|wait| since.awake.saturating_add(wait))
        }
        _ => Some(0),
    }
}

fn is_being_restored(state: &State, incident: &Incident) -> bool {
    let Subject::Session(id) = &incident.subject else { return false };
    state.sessions.get(id).is_some_and(|session| session.restore.is_some())
}

/// The digest tells of it, as long as it does not become more urgent.
fn in_digest(incident: &Incident) -> bool {
    incident.priority == Priority::Info && matches!(incident.held, Some((Held::Digest, _)))
}

/// Whether it had to wait for the last look at everything, or was brought up by it.
pub(super) fn waited_for_the_look(state: &State, incident: &Incident) -> bool {
    let Some((_, until)) = state.looked else { return false };
    match (incident.notification, incident.snoozed) {
        (_, Some(later)) => later <= until.at,
        (None, None) => incident.stands.awake <= until.awake,
        (Some(_), None) => incident.changed.is_some_and(|when| when.awake <= until.awake),
    }
}

/// Back-off after a failed send: 1 s doubling to 5 min, or what the provider asked for if that is longer, at
/// most a day. The tenth by which it differs from case to case is taken from `salt`, so that a replay gives the same.
pub(crate) fn retry_wait(tries: u32, asked_ms: Option<u64>, salt: u64) -> SignedDuration {
    let base = back_off(1_000, tries, 300_000);
    let jitter = base / 100 * (salt.wrapping_mul(2_654_435_761) % 10);
    SignedDuration::from_millis(
        i64::try_from((base + jitter).max(asked_ms.unwrap_or(0).min(DAY_MS))).unwrap_or(i64::MAX),
    )
}

/// Deadlines of a focus. One that has led to its conclusion is no deadline any more.
pub(crate) fn dues(state: &State, focus: &Focus) -> Vec<Due> {
    match focus {
        Focus::Session(id) => {
            state.sessions.get(id).map(|session| session_dues(state, session)).unwrap_or_default()
        }
        Focus::Incident(id) => state
            .incidents
            .get(id)
            .map(|incident| incident_dues(state, incident))
            .unwrap_or_default(),
        Focus::Channel(name) => {
            state.channels.get(name).map(|c| channel_dues(state, name, c)).unwrap_or_default()
        }
        Focus::Runtime(name) => super::lost::dues(state, name),
        Focus::Server => super::digest::dues(state),
        Focus::Project(_) => vec![],
    }
}

fn session_dues(state: &State, session: &Session) -> Vec<Due> {
    if session.is_over() {
        return closes_at(session).map(Due::Awake).into_iter().collect();
    }
    let mut dues = vec![];
    if state.unswept_since.is_none() {
        let subject = Subject::Session(session.id.clone());
        let open =
            |trigger| state.open_incident(&subject, trigger, None).is_some_and(Incident::is_open);
        let limits = limits(state, session);
        dues.extend(limits.iter().filter(|l| !open(l.trigger)).map(|l| Due::Awake(l.at)));
        dues.extend(will_hang_at(state, session).map(Due::Awake));
    }
    let typed = next_to_type(state, session);
    let typed = typed.and_then(|m| retry_at(m).max(waits_for_push(session, m)));
    dues.extend(typed.map(Due::Awake));
    dues.extend(end_again_at(state, session).map(Due::Awake));
    dues.extend(super::reaction::dues(state, session));
    // What the lane is busy with ends first, and is followed by another look.
    let grace = grace_ends(state, session).filter(|at| session.busy.is_none() && *at > state.awake);
    dues.extend(grace.map(Due::Awake));
    dues.extend(quota_back_at(state, session).map(Due::Wall));
    dues
}

fn incident_dues(state: &State, incident: &Incident) -> Vec<Due> {
    if incident.resolved.is_some() {
        return vec![];
    }
    if let Some(at) = resolves_at(state, incident) {
        return vec![Due::Awake(at)];
    }
    if let Some(at) = done_alone_at(state, incident) {
        return vec![Due::Awake(at)];
    }
    if state.unswept_since.is_some()
        || wanted_at(state, incident).is_none()
        || muted_by(state, incident).is_some()
    {
        return vec![];
    }
    let doubt = doubted_at(state, incident).map(Due::Awake);
    let told = told_at(state, incident).and_then(|due| {
        let news = incident.notification.is_some()
            && incident.snoozed.is_none()
            && incident.again.is_none();
        // What is more urgent than what was sent is told at once, and needs no deadline.
        silent_until(state, incident, due).or((!news).then_some(due))
    });
    let follows = follows_at(state, incident).map(Due::Wall);
    told.into_iter().chain(doubt).chain(follows).collect()
}

/// When an incident's message has to say that the agent has not confirmed what a human decided; none where it
/// says so.
pub(super) fn doubted_at(state: &State, incident: &Incident) -> Option<u64> {
    let Subject::Session(session) = &incident.subject else { return None };
    let at = state.sessions.get(session)?.requests.get(&incident.request?)?.doubted_at()?;
    let shown = state.notifications.get(&incident.notification?)?;
    (!shown.settled && shown.revised.awake < at).then_some(at)
}

/// The first moment at which a waiting delivery may go on. One that may now does so at once and needs none.
fn channel_dues(state: &State, name: &ao_slots::ChannelName, channel: &ChannelState) -> Vec<Due> {
    let waiting = || channel.waiting.iter().filter_map(|id| state.notifications.get(id));
    let rest = rest_of(state, name, channel);
    let other = waiting().filter_map(|notification| falls_back_at(state, notification)).min();
    let first = waiting().filter(|_| channel.intent.is_none()).filter_map(|notification| {
        rests_until(state, name, notification, notification.deliveries.get(name)?)?.max(rest)
    });
    other.map(Due::Awake).into_iter().chain(first.min().map(Due::Wall)).collect()
}
