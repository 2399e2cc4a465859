//! What is due when: derived from facts and policy, the same functions that the rules judge by.

use ao_slots::{
    Seq,
    fact::{Activity, PrState, RuntimeState},
};
use jiff::SignedDuration;

use super::lifecycle::retry_at;
use crate::{
    config::trigger::Trigger,
    event::{Settled, Subject},
    state::{ChannelState, Due, Fate, Focus, Incident, Progress, Session, State, Step, Want},
};

/// A limit on a session: from `at` on (awake milliseconds) it is an incident.
pub(crate) struct Limit {
    pub(crate) trigger: Trigger,
    pub(crate) at: u64,
    pub(crate) because: Vec<Seq>,
}

/// The limits that the session's present facts put it under.
pub(crate) fn limits(state: &State, session: &Session) -> Vec<Limit> {
    let rules = state.policy.rules(Some(&session.project));
    let threshold = |trigger: Trigger| rules.reaction(trigger).threshold_ms.unwrap_or(0);
    let mut limits = vec![];
    let mut limit = |trigger, at, because: Vec<Seq>| limits.push(Limit { trigger, at, because });
    if session.is_over() || session.intent != Want::Run || session.restore.is_some() {
        return limits;
    }
    let alive = session.runtime_state.value == RuntimeState::Alive;
    let asks = session.open_requests().next().is_some();
    let pr_open = session.pr().is_some_and(|pr| matches!(pr.state, PrState::Open | PrState::Draft));
    let ready = session.step == Step::Ready;

    if ready && alive && session.activity.value == Activity::Active && !asks {
        let reaction = rules.reaction(Trigger::AgentStuck);
        let wait = match &session.tool {
            Some(_) => reaction.command_threshold_ms.or(reaction.threshold_ms),
            None => reaction.threshold_ms,
        };
        let since = session.progress;
        limit(
            Trigger::AgentStuck,
            since.awake + wait.unwrap_or(600_000),
            vec![since.seq, session.activity.since.seq],
        );
    }
    if let (true, true, false, Some(busy)) = (ready, alive, pr_open, session.busy_since) {
        let has_scm = state
            .policy
            .projects
            .get(&session.project)
            .is_some_and(|project| project.scm.is_some());
        let shows = session.work().is_some_and(|work| work.commits > 0);
        if session.activity.value == Activity::Active && (has_scm || !shows) {
            let at = busy.awake + threshold(Trigger::AgentIdleNoPr);
            limit(Trigger::AgentIdleNoPr, at, vec![busy.seq]);
        }
    }
    let ended = match (&session.runtime_state.value, session.turn_ended) {
        (RuntimeState::Exited { code: Some(0) }, _) => Some(session.runtime_state.since),
        (RuntimeState::Alive, Some(when)) if session.activity.value == Activity::Idle => Some(when),
        _ => None,
    };
    if let Some(ended) = ended.filter(|_| ready && !pr_open && session.next_message().is_none()) {
        let looked = session.work_looked.is_some_and(|when| when.seq > ended.seq);
        let finished =
            looked && session.work().is_some_and(|work| work.is_clean() && work.commits > 0);
        let mut because = vec![ended.seq];
        because.extend(session.work_looked.map(|when| when.seq));
        if finished {
            limit(Trigger::AgentFinished, ended.awake + threshold(Trigger::AgentFinished), because);
        } else if alive {
            limit(Trigger::AgentIdle, ended.awake + threshold(Trigger::AgentIdle), because);
        }
    }
    if let Activity::RateLimited { until } = session.activity.value {
        let since = session.activity.since;
        let wait = threshold(Trigger::RateLimited);
        // Known to last longer than is put up with: no use in waiting to say so.
        let long = until
            .is_some_and(|until| until.duration_since(since.at).as_millis() > i128::from(wait));
        limit(
            Trigger::RateLimited,
            if long { since.awake } else { since.awake + wait },
            vec![since.seq],
        );
    }
    let waits = session
        .messages
        .values()
        .find(|m| m.fate == Fate::Waiting && (m.first || m.tried.is_some()));
    let dialog = matches!(session.activity.value, Activity::Blocked | Activity::WaitingInput);
    if let (Some(message), Some(launched), false, true) = (waits, session.launched, dialog, alive) {
        let since = message.tried.unwrap_or(launched).awake.max(launched.awake);
        let wait = rules.reaction(Trigger::PromptUndelivered).escalate_after_ms.unwrap_or(60_000);
        limit(Trigger::PromptUndelivered, since + wait, vec![message.queued.seq, launched.seq]);
    }
    limits
}

/// How long the absence of a cause must last before an incident is over, in awake milliseconds. What a human
/// did, or a session's end, is final at once.
pub(crate) fn resolves_at(state: &State, incident: &Incident) -> Option<u64> {
    let (how, when) = incident.cleared.as_ref()?;
    Some(match how {
        Settled::By(_) | Settled::Over => when.awake,
        Settled::ByItself | Settled::Handled => {
            when.awake + state.policy.lifecycle.settle.of(incident.priority).min(15_000)
        }
    })
}

/// When an incident has lasted long enough to be pushed, in awake milliseconds.
pub(crate) fn settles_at(state: &State, incident: &Incident) -> u64 {
    incident.opened.awake + state.policy.lifecycle.settle.of(incident.priority)
}

/// Back-off after a failed send: 1 s doubling to 5 min, or what the provider asked for if that is longer. The
/// tenth by which it differs from case to case is taken from `salt`, so that a replay gives the same.
pub(crate) fn retry_wait(tries: u32, asked_ms: Option<u64>, salt: u64) -> SignedDuration {
    let base = 1_000_u64.saturating_mul(1 << tries.saturating_sub(1).min(9)).min(300_000);
    let jitter = base / 100 * (salt.wrapping_mul(2_654_435_761) % 10);
    SignedDuration::from_millis(
        i64::try_from((base + jitter).max(asked_ms.unwrap_or(0))).unwrap_or(i64::MAX),
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
        Focus::Server => vec![],
    }
}

fn session_dues(state: &State, session: &Session) -> Vec<Due> {
    if session.is_over() {
        return vec![];
    }
    let mut dues = vec![];
    if state.unswept_since.is_none() {
        let subject = Subject::Session(session.id.clone());
        let open =
            |trigger| state.open_incident(&subject, trigger, None).is_some_and(Incident::is_open);
        dues.extend(
            limits(state, session).iter().filter(|l| !open(l.trigger)).map(|l| Due::Awake(l.at)),
        );
    }
    if session.busy.is_none() {
        let retry = session
            .next_message()
            .and_then(|m| m.tried.map(|tried| retry_at(tried.awake, m.tries)));
        dues.extend(retry.filter(|_| session.activity.value == Activity::Idle).map(Due::Awake));
        if matches!(session.intent, Want::Kill(_)) {
            dues.push(Due::Awake(session.step_since.awake + 5_000));
        }
    }
    dues
}

fn incident_dues(state: &State, incident: &Incident) -> Vec<Due> {
    if incident.resolved.is_some() {
        return vec![];
    }
    if let Some(at) = resolves_at(state, incident) {
        return vec![Due::Awake(at)];
    }
    if incident.notification.is_some()
        || state.unswept_since.is_some()
        || !super::incident::wants_human(incident)
    {
        return vec![];
    }
    match incident.snoozed {
        Some(until) => vec![Due::Wall(until), Due::Awake(settles_at(state, incident))],
        None => vec![Due::Awake(settles_at(state, incident))],
    }
}

fn channel_dues(state: &State, name: &ao_slots::ChannelName, channel: &ChannelState) -> Vec<Due> {
    if channel.intent.is_some() || channel.waiting.is_empty() {
        return vec![];
    }
    if let Some(until) = channel.not_before {
        return vec![Due::Wall(until)];
    }
    let deliveries =
        channel.waiting.iter().filter_map(|id| state.notifications.get(id)?.deliveries.get(name));
    deliveries
        .filter(|delivery| delivery.progress != Progress::Dropped)
        .filter_map(|delivery| delivery.not_before.map(Due::Wall))
        .collect()
}
