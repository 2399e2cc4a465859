//! The sweep: looks at everything now and then, and is alone sufficient. Hooks only make it look sooner.
//!
//! One probe a runtime for all its sessions, transcripts read on from where they were, status files read. No
//! process is started per session; a workspace is looked at when something may have changed in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ao_slots::{
    Call, SessionId,
    agent::{Dialog, LaunchRequest},
    call::Answer,
    fact::{Activity, RuntimeState, Source},
    process::ProcessId,
    runtime::{ProbeState, Runtime, RuntimeHandle, RuntimeProbe},
};
use tokio::{sync::watch, task::JoinSet};

use super::{
    handle::Handle,
    hooks::told,
    lane::{Work, lock, within},
};
use crate::{
    decide::{Input, RefusalKind, RuntimeSeen, Told},
    event::{Text, digest},
    state::{Session, Step},
};

/// One probe of a runtime may take that long.
const PROBE: Duration = Duration::from_secs(4);
/// A transcript is read at most that far a sweep.
const STRETCH: usize = 1 << 20;
/// An agent that should signal and has not for that long after its launch is looked at on its screen.
const QUIET_LAUNCH_MS: u64 = 15_000;
/// … and for that long, cannot be observed.
const NO_SIGNAL_MS: u64 = 60_000;
/// Sessions of one runtime whose files are read at one time.
const READS_AT_ONCE: usize = 8;
/// How often free space is measured.
const DISK_EVERY: u64 = 6;

/// How far a session's transcript was read.
#[derive(Debug, Clone, Default)]
pub(super) struct Transcript {
    path: PathBuf,
    offset: u64,
    /// Read to its end at least once.
    pub(super) caught_up: bool,
    /// What the status file said last.
    status: Option<u64>,
    /// Where a process's status file lies, if it has one.
    status_file: Option<(ProcessId, Option<PathBuf>)>,
}

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
    super::spool::drain(handle).await;
    let live: Vec<SessionId> = {
        let state = handle.state();
        let live = state.sessions.values().filter(|s| !s.is_over() && s.handle.is_some());
        live.map(|s| s.id.clone()).collect()
    };
    let mut by_runtime: BTreeMap<String, Vec<(Work, RuntimeHandle)>> = BTreeMap::new();
    for work in live.iter().filter_map(|id| handle.shell.work_of(id)) {
        let Some(at) = work.session.handle.clone() else { continue };
        let chosen = &work.project.runtime;
        let runtime = if chosen.plugin == work.session.runtime {
            format!("{} {}", chosen.plugin, chosen.settings)
        } else {
            work.session.runtime.clone()
        };
        by_runtime.entry(runtime).or_default().push((work, at));
    }
    let mut parts = JoinSet::new();
    for works in by_runtime.into_values() {
        parts.spawn(look_at_runtime(handle.clone(), works, whole.clone()));
    }
    let guarding = handle.clone();
    parts.spawn(async move { super::guard::look(&guarding).await });
    if count.is_multiple_of(DISK_EVERY) {
        let measuring = handle.clone();
        parts.spawn(async move { measure_disk(&measuring).await });
    }
    finish(parts).await;
    u32::try_from(live.len()).unwrap_or(u32::MAX)
}

/// Waits for all parts; one that a plugin breaks ends alone.
async fn finish(mut parts: JoinSet<()>) {
    while let Some(ended) = parts.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a plugin broke a part of the sweep");
        }
    }
}

async fn look_at_runtime(
    handle: Handle,
    works: Vec<(Work, RuntimeHandle)>,
    whole: Arc<AtomicBool>,
) {
    // Files are read through the runtime: one that does not answer is not asked once more for each session.
    if !probe(&handle, &works, &whole).await {
        return;
    }
    let mut reading = JoinSet::new();
    for (work, _) in works {
        if reading.len() >= READS_AT_ONCE
            && let Some(Err(error)) = reading.join_next().await
        {
            tracing::error!(%error, "a plugin broke a part of the sweep");
        }
        let handle = handle.clone();
        reading.spawn(async move { read_signs(&handle, &work).await });
    }
    finish(reading).await;
}

/// One answer for all sessions of a runtime; says whether there was one. No answer is unknown for each, never
/// missing, and the first time the sweep is not whole.
async fn probe(handle: &Handle, works: &[(Work, RuntimeHandle)], whole: &AtomicBool) -> bool {
    let Some((first, _)) = works.first() else { return true };
    let runtime: &Arc<dyn Runtime> = &first.plugins.runtime;
    let handles: Vec<RuntimeHandle> = works.iter().map(|(_, at)| at.clone()).collect();
    let call = Call::new("probe", PROBE);
    let asked = within(PROBE, runtime.probe(&call, &handles)).await;
    let answered = asked.is_ok();
    let probes = match asked {
        Ok(probes) if probes.len() == handles.len() => probes,
        Ok(_) => unknown(&handles, "the runtime answered for other sessions"),
        Err(error) => unknown(&handles, &error.to_string()),
    };
    let mut seen = vec![];
    for ((work, at), probe) in works.iter().zip(probes) {
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

/// The transcript's new lines, the status file, and the screen where nothing else speaks.
async fn read_signs(handle: &Handle, work: &Work) {
    let session = &work.session;
    let mut known = lock(&handle.shell.read).get(&session.id).cloned().unwrap_or_default();
    let mut signs = read_transcript(handle, work, &mut known).await;
    signs.extend(read_status(handle, work, &mut known).await);
    signs.extend(look_at_silence(handle, work).await);
    signs.extend(look_for_questions(work).await);
    if !signs.is_empty() {
        let (id, launch) = (session.id.clone(), session.launch);
        let input = Input::Signals { session: id, launch, source: Source::Transcript, told: signs };
        // What the journal could not take is read again.
        if handle.submit(input).await.is_err_and(|refusal| refusal.kind == RefusalKind::Unavailable)
        {
            return;
        }
    }
    if !handle.state().sessions.get(&session.id).is_none_or(Session::is_over) {
        lock(&handle.shell.read).insert(session.id.clone(), known);
    }
}

async fn read_transcript(handle: &Handle, work: &Work, known: &mut Transcript) -> Vec<Told> {
    let session = &work.session;
    let (Some(path), Some(at)) = (session.transcript.as_ref(), session.handle.as_ref()) else {
        return vec![];
    };
    if known.path.as_os_str() != path.as_str() {
        // An earlier server got that far; what came since is the past by now.
        *known = Transcript {
            path: path.into(),
            offset: session.transcript_offset,
            ..Transcript::default()
        };
    }
    let mut found = vec![];
    let call = Call::new("transcript", Duration::from_secs(4));
    let first = !known.caught_up;
    loop {
        let reading = work.plugins.runtime.read(&call, at, path, known.offset);
        let Ok(bytes) = within(call.limit(), reading).await else { break };
        let read = work.plugins.agent.introspect(&bytes);
        if read.consumed == 0 {
            break;
        }
        known.offset += read.consumed;
        found.extend(read.user_texts.iter().map(|text| Told::TextSeen { digest: digest(text) }));
        for signal in read.signals {
            match told(handle, signal) {
                Told::Usage { usage, .. } => {
                    found.push(Told::Usage { usage, offset: known.offset })
                }
                // The past of a conversation says nothing about what the agent does now.
                other if !first => found.push(other),
                _ => {}
            }
        }
        found.push(Told::Alive);
        if bytes.len() < STRETCH {
            break;
        }
    }
    known.caught_up = true;
    found
}

async fn read_status(handle: &Handle, work: &Work, known: &mut Transcript) -> Vec<Told> {
    let session = &work.session;
    let process = session.handle.as_ref().and_then(|at| at.process);
    let (Some(process), Some(at)) = (process, session.handle.as_ref()) else { return vec![] };
    if session.runtime_state.value != RuntimeState::Alive {
        return vec![];
    }
    let path = match &known.status_file {
        Some((asked, path)) if *asked == process => path.clone(),
        _ => {
            let Ok(request) = request_of(handle, work).await else { return vec![] };
            let path = work.plugins.agent.status_file(&request, process);
            known.status_file = Some((process, path.clone()));
            path
        }
    };
    let Some(path) = path else { return vec![] };
    let call = Call::new("status", Duration::from_secs(2));
    let path = path.to_string_lossy();
    let reading = work.plugins.runtime.read(&call, at, &path, 0);
    let Ok(bytes) = within(call.limit(), reading).await else { return vec![] };
    let Some(signal) = work.plugins.agent.read_status(&bytes) else { return vec![] };
    // Two equal looks one sweep apart: hooks race with the file, and it must not win by being early.
    let now = hash(&bytes);
    if known.status.replace(now) == Some(now) { vec![told(handle, signal)] } else { vec![] }
}

fn hash(bytes: &[u8]) -> u64 {
    u64::from(crc32c::crc32c(bytes))
}

async fn request_of(handle: &Handle, work: &Work) -> Result<LaunchRequest, ao_slots::PluginError> {
    handle.shell.launch_request(work, work.session.launch, false).await
}

/// An agent that should have signalled and did not: a dialog, or nobody knows.
async fn look_at_silence(handle: &Handle, work: &Work) -> Vec<Told> {
    let session = &work.session;
    let waits = session.signals && !session.signalled && session.step == Step::Launching;
    let (Some(launched), Some(at), true) = (session.launched, session.handle.as_ref(), waits)
    else {
        return vec![];
    };
    let silent = handle.now().awake.saturating_sub(launched.awake);
    if silent < QUIET_LAUNCH_MS || !work.plugins.runtime.capabilities().screen {
        return vec![];
    }
    let call = Call::new("silence", Duration::from_secs(2));
    let capture = work.plugins.runtime.capture(&call, at, 60);
    let Ok(screen) = within(call.limit(), capture).await else { return vec![] };
    match work.plugins.agent.match_dialog(&screen) {
        Dialog::Setup { text } => vec![Told::Setup { text: handle.put_text(&text) }],
        _ if silent >= NO_SIGNAL_MS && session.activity.value != Activity::NoSignal => {
            vec![Told::NoSignal]
        }
        _ => vec![],
    }
}

/// The project's own expressions for what looks like a question, where it has any: a look at the screen that
/// can only raise a suspicion.
async fn look_for_questions(work: &Work) -> Vec<Told> {
    let session = &work.session;
    let quiet = session.suspected.is_none() && session.open_requests().next().is_none();
    let (Some(at), true) = (session.handle.as_ref(), quiet && session.step == Step::Ready) else {
        return vec![];
    };
    if work.project.agent_config.suspect.is_empty()
        || session.runtime_state.value != RuntimeState::Alive
    {
        return vec![];
    }
    let call = Call::new("suspect", Duration::from_secs(2));
    let Ok(screen) = work.plugins.runtime.capture(&call, at, 60).await else { return vec![] };
    let found = work.plugins.agent.suspect(&work.project.agent_config, &screen);
    found.map(|line| Told::Suspected { text: Text::short(&line) }).into_iter().collect()
}

async fn measure_disk(handle: &Handle) {
    let shell = handle.shell.clone();
    let measured =
        tokio::task::spawn_blocking(move || shell.disk().free(&shell.context().data_dir)).await;
    if let Ok(Ok(free)) = measured {
        let _ = handle.submit(Input::Disk { free, failing: false }).await;
    }
}

/// Looks into workspaces when something may have changed there: after a turn, an exit, a claim, and now and
/// then while an agent works without other signs. At most two at a time.
pub(super) async fn look_at_work(handle: Handle, mut stopped: watch::Receiver<bool>) {
    let Some(mut wanted) = lock(&handle.shell.looks_wanted).take() else { return };
    let permits = Arc::new(tokio::sync::Semaphore::new(2));
    loop {
        let mut sessions = BTreeSet::new();
        tokio::select! {
            // Cancel safe, all three.
            Some(id) = wanted.recv() => { sessions.insert(id); }
            () = tokio::time::sleep(Duration::from_secs(5)) => sessions.extend(overdue(&handle)),
            _ = stopped.changed() => return,
        }
        while let Ok(id) = wanted.try_recv() {
            sessions.insert(id);
        }
        for id in sessions {
            let (handle, permits) = (handle.clone(), permits.clone());
            let Ok(permit) = permits.acquire_owned().await else { return };
            tokio::spawn(async move {
                look(&handle, &id).await;
                drop(permit);
            });
        }
    }
}

async fn look(handle: &Handle, id: &SessionId) {
    let Some(work) = handle.shell.work_of(id).filter(|work| !work.session.is_over()) else {
        return;
    };
    let Ok(place) = work.workspace() else { return };
    let call = Call::new("look", Duration::from_secs(30));
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
/// the shortest limit.
fn overdue(handle: &Handle) -> Vec<SessionId> {
    let now = handle.now().awake;
    let state = handle.state();
    let wants = |session: &&Session| {
        let rules = state.policy.rules(Some(&session.project));
        let stuck = rules
            .reaction(crate::config::trigger::Trigger::AgentStuck)
            .threshold_ms
            .unwrap_or(600_000);
        let pause = (stuck / 4).clamp(1_000, 120_000);
        let looked = session.work_looked.map_or(0, |when| when.awake);
        !session.is_over()
            && session.step == Step::Ready
            && session.workspace.is_some()
            && session.runtime_state.value == RuntimeState::Alive
            && session.activity.value == Activity::Active
            && now.saturating_sub(session.progress.awake) > pause
            && now.saturating_sub(looked) > pause
    };
    state.sessions.values().filter(wants).map(|session| session.id.clone()).collect()
}
