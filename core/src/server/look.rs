//! Looks into workspaces: commits, changed files, and whether the issue is closed.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use ao_slots::{
    Call, SessionId,
    call::Answer,
    fact::{Activity, RuntimeState},
};
use tokio::sync::watch;

use super::{
    handle::Handle,
    lane::{lock, within},
};
use crate::{
    config::trigger::Trigger,
    decide::Input,
    state::{Session, Step},
};

/// One look may take that long.
const LOOK: Duration = Duration::from_secs(30);
/// How often it is asked whose workspace has to be looked at though nothing told so. The first time at once.
const EVERY: Duration = Duration::from_secs(5);
/// How soon a look is taken again that told nothing, in awake milliseconds.
const AGAIN_MS: u64 = 60_000;

/// Looks when something may have changed there: after a turn, an exit, a claim, and now and
/// then while an agent works without other signs. At most two at a time.
pub(super) async fn run(handle: Handle, mut stopped: watch::Receiver<bool>) {
    let Some(mut wanted) = lock(&handle.shell.looks_wanted).take() else { return };
    let permits = Arc::new(tokio::sync::Semaphore::new(2));
    let mut rounds = tokio::time::interval(EVERY);
    let mut tried = HashMap::new();
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let mut sessions = BTreeSet::new();
        tokio::select! {
            // Cancel safe, all three.
            Some(id) = wanted.recv() => { sessions.insert(id); }
            _ = rounds.tick() => sessions.extend(overdue(&handle, &mut tried)),
            _ = stopped.changed() => return,
        }
        while let Ok(id) = wanted.try_recv() {
            sessions.insert(id);
        }
        for id in sessions {
            tried.insert(id.clone(), handle.now().awake);
            let (handle, permits) = (handle.clone(), permits.clone());
            let Ok(permit) = permits.acquire_owned().await else { return };
            tokio::spawn(async move {
                look(&handle, &id, LOOK).await;
                drop(permit);
            });
        }
    }
}

/// Looks into one workspace for at most that long.
pub(super) async fn look(handle: &Handle, id: &SessionId, limit: Duration) {
    let Some(work) = handle.shell.work_of(id).filter(|work| !work.session.is_over()) else {
        return;
    };
    let Ok(place) = work.workspace() else { return };
    let call = Call::new("look", limit);
    match within(call.limit(), work.plugins.workspace.probe(&call, &place)).await {
        Ok(Answer::Yes(facts)) => {
            let _ = handle.submit(Input::Work { session: id.clone(), work: facts }).await;
        }
        Ok(Answer::No) => tracing::warn!(session = %id, "its workspace is not there"),
        Ok(Answer::Unknown(why)) => {
            tracing::debug!(session = %id, why, "its workspace cannot be looked at")
        }
        Err(error) => tracing::debug!(session = %id, %error, "its workspace cannot be looked at"),
    }
    if let (Some(issue), Some(tracker)) = (&work.session.issue, &work.plugins.tracker)
        && let Ok(completed) = within(call.limit(), tracker.is_completed(&call, issue)).await
    {
        let _ = handle.submit(Input::Issue { session: id.clone(), completed }).await;
    }
}

/// Sessions whose limits would soon be judged by an old look: without signals of movement for a quarter of
/// the shortest limit. And those whose last turn, or whose process, has ended since they were looked at: that look
/// failed, or ended with an earlier server.
fn overdue(handle: &Handle, tried: &mut HashMap<SessionId, u64>) -> Vec<SessionId> {
    let now = handle.now().awake;
    let state = handle.state();
    tried.retain(|id, at| {
        let lives = state.sessions.get(id).is_some_and(|session| !session.is_over());
        lives && now.saturating_sub(*at) < AGAIN_MS
    });
    let wants = |session: &&Session| {
        let rules = state.policy.rules(Some(&session.project));
        let stuck = rules.reaction(Trigger::AgentStuck).threshold_ms.unwrap_or(600_000);
        let pause = (stuck / 4).clamp(1_000, 120_000);
        let looked = session.work_looked.map_or(0, |when| when.awake);
        let works = session.runtime_state.value == RuntimeState::Alive
            && session.activity.value == Activity::Active
            && now.saturating_sub(session.progress.awake) > pause
            && now.saturating_sub(looked) > pause;
        let runtime = &session.runtime_state;
        let exited = session.has_ended().then_some(runtime.since.seq);
        let ended = exited.max(session.turn_ended.map(|when| when.seq));
        let seen = session.work_looked.map(|when| when.seq);
        let unseen = ended.is_some() && seen < ended && !tried.contains_key(&session.id);
        !session.is_over()
            && session.step == Step::Ready
            && session.workspace.is_some()
            && (works || unseen)
    };
    state.sessions.values().filter(wants).map(|session| session.id.clone()).collect()
}
