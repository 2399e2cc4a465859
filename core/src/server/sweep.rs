//! The sweep: looks at everything now and then, and is alone sufficient. Hooks only make it look sooner.
//!
//! One probe a runtime for all its sessions, transcripts read on from where they were, status files read. No
//! process is started per session; a workspace is looked at when something may have changed in it.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ao_slots::{
    Call, SessionId,
    agent::Dialog,
    fact::RuntimeState,
    runtime::{ProbeState, RuntimeHandle, RuntimeProbe},
};
use jiff::{SignedDuration, Timestamp};
use tokio::{sync::watch, task::JoinSet};

use super::{
    guard,
    handle::Handle,
    lane::{Work, lock, within},
    signs::{self, Running},
    spool,
};
use crate::{
    decide::{Input, RuntimeSeen},
    event::Text,
};

/// Who typed in a session's terminal that lately is there.
const TYPES: SignedDuration = SignedDuration::from_mins(2);
/// Who had a page open that lately sees it.
const SEES: SignedDuration = SignedDuration::from_secs(30);
/// One probe of a runtime may take that long.
const PROBE: Duration = Duration::from_secs(4);
/// How often free space is measured.
const DISK_EVERY: u64 = 6;

/// Sweeps until the server ends.
pub(super) async fn run(handle: Handle, mut stopped: watch::Receiver<bool>) {
    let mut count = 0_u64;
    let shell = handle.shell.clone();
    if let Err(error) = tokio::task::spawn_blocking(move || shell.watch_again()).await {
        tracing::error!(%error, "files of earlier launches are not watched");
    }
    loop {
        let before = handle.state().unswept_since;
        let whole = Arc::new(AtomicBool::new(true));
        let sessions = sweep(&handle, count, &whole).await;
        count += 1;
        // Lets the loop look at the clocks: what was seen before a sleep says nothing about now.
        let _ = handle.submit(Input::Tick).await;
        if handle.state().unswept_since == before && whole.load(Ordering::Relaxed) {
            // Refused only when the journal is: the next sweep tells it again.
            let _ = handle.submit(Input::Swept { sessions }).await;
        }
        let every = handle.state().policy.lifecycle.sweep_interval_ms.max(100);
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(every)) => {}
            // Cancel safe: only looks.
            _ = stopped.changed() => return,
        }
    }
}

async fn sweep(handle: &Handle, count: u64, whole: &Arc<AtomicBool>) -> u32 {
    // What agents told while nobody listened comes before what is seen now.
    spool::drain(handle, None).await;
    let live: Vec<SessionId> = {
        let state = handle.state();
        let live = state.sessions.values().filter(|s| !s.is_over() && s.handle.is_some());
        live.map(|s| s.id.clone()).collect()
    };
    let mut groups: Vec<Vec<Running>> = vec![];
    for work in live.iter().filter_map(|id| handle.shell.work_of(id)) {
        let Some(at) = work.session.handle.clone() else { continue };
        let running = Running { work, at, output: None };
        match groups.iter_mut().find(|group| share_runtime(&group[0].work, &running.work)) {
            Some(group) => group.push(running),
            None => groups.push(vec![running]),
        }
    }
    let mut parts = JoinSet::new();
    for group in groups {
        parts.spawn(look_at_runtime(handle.clone(), group, whole.clone()));
    }
    let guarding = handle.clone();
    parts.spawn(async move { guard::look(&guarding).await });
    if count.is_multiple_of(DISK_EVERY) {
        let measuring = handle.clone();
        parts.spawn(async move { measure_disk(&measuring).await });
    }
    while let Some(ended) = parts.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a plugin broke a part of the sweep");
        }
    }
    tell_presence(handle, &live).await;
    u32::try_from(live.len()).unwrap_or(u32::MAX)
}

/// Tells where humans are, where that is news.
async fn tell_presence(handle: &Handle, live: &[SessionId]) {
    let now = handle.now().wall;
    // A clock that was set back leaves times that are yet to come: they say as little as those long ago.
    let lately = |at: &Timestamp, limit| now.duration_since(*at).abs() < limit;
    let (sessions, page) = {
        let (typed, page) = &mut *lock(&handle.shell.seen_typing);
        typed.retain(|id, at| live.contains(id) && lately(at, TYPES));
        (typed.keys().cloned().collect::<BTreeSet<_>>(), page.is_some_and(|at| lately(&at, SEES)))
    };
    let news = {
        let known = &handle.state().present;
        known.page.is_some() != page || !known.sessions.keys().eq(sessions.iter())
    };
    if news {
        // Refused only when the journal is: the next sweep tells it again.
        let _ = handle.submit(Input::Presence { sessions, page }).await;
    }
}

/// Whether one probe can answer for both. A session stays where it was started, whatever its project says now.
fn share_runtime(one: &Work, other: &Work) -> bool {
    let chosen = |work: &Work| {
        let runtime = &work.project.runtime;
        (runtime.plugin == work.session.runtime).then(|| runtime.settings.clone())
    };
    let same_project = Arc::ptr_eq(&one.project, &other.project);
    one.session.runtime == other.session.runtime && (same_project || chosen(one) == chosen(other))
}

async fn look_at_runtime(handle: Handle, mut group: Vec<Running>, whole: Arc<AtomicBool>) {
    // Files are read through the runtime: one that does not answer is not asked once more for each session.
    if probe(&handle, &mut group, &whole).await {
        signs::read(&handle, &group).await;
    }
}

/// One answer for all sessions of a runtime; says whether there was one. No answer is unknown for each, never
/// missing, and the first time the sweep is not whole.
async fn probe(handle: &Handle, group: &mut [Running], whole: &AtomicBool) -> bool {
    let Some(first) = group.first() else { return true };
    let handles: Vec<RuntimeHandle> = group.iter().map(|running| running.at.clone()).collect();
    let call = Call::new("probe", PROBE);
    let asked = within(PROBE, first.work.plugins.runtime.probe(&call, &handles)).await;
    let answered = asked.is_ok();
    let probes = match asked {
        Ok(probes) if probes.len() == handles.len() => probes,
        Ok(_) => unknown(&handles, "the runtime answered for other sessions"),
        Err(error) => unknown(&handles, &error.to_string()),
    };
    let mut seen = vec![];
    for (running, probe) in group.iter_mut().zip(probes) {
        running.output = probe.last_output;
        if let Some(typed) = probe.last_input {
            lock(&handle.shell.seen_typing).0.insert(running.work.session.id.clone(), typed);
        }
        let Running { work, at, output } = &*running;
        // A spinner that is redrawn says nothing about the agent behind it: one that signals tells itself.
        let redraws = work.session.signals && work.plugins.runtime.capabilities().screen;
        let state = match &probe.state {
            ProbeState::Alive => RuntimeState::Alive,
            ProbeState::Exited(code) => RuntimeState::Exited { code: *code },
            ProbeState::Missing => RuntimeState::Missing,
            ProbeState::Unknown(why) => {
                tracing::debug!(session = %work.session.id, why, "a session's runtime is unknown");
                RuntimeState::Unknown
            }
        };
        // One probe without an answer is nothing yet: unknown is said after two.
        if state == RuntimeState::Unknown {
            if lock(&handle.shell.unanswered).insert(work.session.id.clone()) {
                whole.store(false, Ordering::Relaxed);
                continue;
            }
        } else {
            lock(&handle.shell.unanswered).remove(&work.session.id);
        }
        let ended = matches!(state, RuntimeState::Exited { .. } | RuntimeState::Missing);
        let news = work.session.runtime_state.value != state;
        let tail = if ended && news { tail_of(work, at).await } else { None };
        // The runtime's own server is gone: the agents did not end by themselves.
        let server_lost = ended && at.server.is_some_and(|server| !server.is_alive());
        seen.push(RuntimeSeen {
            session: work.session.id.clone(),
            launch: work.session.launch,
            state,
            process: probe.process,
            tail,
            server_lost,
            output: output.filter(|_| !redraws),
        });
    }
    // Refused only when the journal is: the next sweep sees it again.
    let _ = handle.submit(Input::Runtime { seen }).await;
    answered
}

fn unknown(handles: &[RuntimeHandle], why: &str) -> Vec<RuntimeProbe> {
    let one = |_| RuntimeProbe {
        state: ProbeState::Unknown(why.to_owned()),
        last_output: None,
        last_input: None,
        process: None,
    };
    handles.iter().map(one).collect()
}

async fn tail_of(work: &Work, handle: &RuntimeHandle) -> Option<Text> {
    let call = Call::new("tail", Duration::from_secs(2));
    let screen =
        within(call.limit(), work.plugins.runtime.capture(&call, handle, 20)).await.ok()?;
    // An input line or a dialog is no last word, and neither are rules and frames.
    if work.plugins.agent.match_dialog(&screen) != Dialog::Unknown {
        return None;
    }
    let says = |line: &&String| line.chars().any(char::is_alphanumeric);
    let lines: Vec<_> = screen.lines.iter().filter(says).map(String::as_str).collect();
    let tail = lines[lines.len().saturating_sub(6)..].join("\n");
    (!tail.is_empty()).then(|| Text::short(&tail))
}

async fn measure_disk(handle: &Handle) {
    let shell = handle.shell.clone();
    let measured =
        tokio::task::spawn_blocking(move || shell.disk().free(&shell.context().data_dir)).await;
    if let Ok(Ok(free)) = measured {
        let _ = handle.submit(Input::Disk { free, failing: false }).await;
    }
}
