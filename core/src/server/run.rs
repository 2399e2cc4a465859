//! Starting, the loop, and ending.
//!
//! The loop commits in batches: what waits is decided and applied in order to a working copy, written at
//! once, synced once, and only then shown and performed. A slow disk makes batches larger, not the loop slower.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{Arc, RwLock},
    time::Duration,
};

use ao_slots::{PluginError, Seq, plugin::BuildContext};
use jiff::{SignedDuration, Timestamp};
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    task::JoinHandle,
};

use super::{
    clock::Clock,
    handle::{Handle, Served, Submission},
    lane::Shell,
    sweep,
};
use crate::{
    blob::Blobs,
    config::{Live, policy::Policy},
    decide::{self, Answered, Input, Refusal, RefusalKind},
    disk::{DirLock, Disk, LockError},
    event::{Event, Kind, Text},
    journal::{
        Durability, Identity, Journal, JournalError, Limits, Line, Reader, Recovery, Snapshot,
    },
    registry::Registry,
    state::{Now, State},
};

/// Inputs that one batch takes.
const MOST_INPUTS: usize = 256;
/// Inputs that may wait before senders do.
const QUEUE: usize = 4_096;
/// Events that a slow reader may lag behind before it is told to look anew.
const BUS: usize = 8_192;
/// A snapshot is written after that many events.
const SNAPSHOT_EVERY: u64 = 20_000;
/// The clocks may drift apart by that much between two looks before it counts as a jump.
const JUMP: SignedDuration = SignedDuration::from_secs(5);
/// A due rule is looked at again no sooner than that: a rule that stays due must not spin.
const LEAST_WAIT: Duration = Duration::from_millis(20);
/// How often a journal that refused an append is tried again.
const PROBE_EVERY: Duration = Duration::from_secs(5);

/// What a server is made of.
pub struct Options {
    /// The file system.
    pub disk: Arc<dyn Disk>,
    /// Sizes of the journal.
    pub limits: Limits,
    /// When appends are durable.
    pub durability: Durability,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// The kernel's boot id, e.g. `/proc/sys/kernel/random/boot_id`.
    pub boot: String,
    /// The program's version.
    pub version: String,
    /// The plugins that can be chosen.
    pub registry: Registry,
    /// What plugins may know. Its `data_dir` and `run_dir` are the server's; its `instance` is replaced by the
    /// data directory's own.
    pub context: BuildContext,
    /// The policy to begin with, as it is recorded.
    pub policy: Policy,
    /// The same with the values of all variables: from it plugins are built and agents started.
    pub live: Live,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another server has the data directory.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The journal cannot be used.
    #[error("the journal cannot be used")]
    Journal(#[from] JournalError),
    /// The data directory cannot be used.
    #[error("could not use `{path}`")]
    Folder {
        /// Which folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A plugin that the policy chose cannot be built.
    #[error("the configuration cannot be used: {0}")]
    Plugin(PluginError),
    /// The first events could not be recorded.
    #[error("the start could not be recorded: {0}")]
    Refused(Refusal),
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    handle: Handle,
    stopped: watch::Receiver<bool>,
    tasks: Vec<JoinHandle<()>>,
    main: JoinHandle<()>,
}

impl Server {
    /// Takes the data directory, recovers the state, builds the plugins and begins to serve. Agents that run
    /// are found again by the first sweep.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let Options {
            disk,
            limits,
            durability,
            clock,
            boot,
            version,
            registry,
            mut context,
            policy,
            live,
        } = options;
        let root = context.data_dir.clone();
        let lock = DirLock::take(&context.run_dir)?;
        let (opening_disk, opening_root, opening_boot) = (disk.clone(), root.clone(), boot.clone());
        let opened = tokio::task::spawn_blocking(move || {
            open(opening_disk, &opening_root, limits, &opening_boot)
        });
        let opened = opened.await.unwrap_or_else(|panic| Err(opening_failed(&root, &panic)))?;
        let Opened { journal, state, gaps, instance } = opened;
        context.instance = instance.clone();

        let blobs = Blobs::open(disk.clone(), &root)
            .map_err(|source| StartError::Folder { path: root.join("blobs"), source })?;
        let plugins = registry.build(&live, &context).map_err(StartError::Plugin)?;
        let (inputs, waiting) = mpsc::channel(QUEUE);
        let (bus, _) = broadcast::channel(BUS);
        let (stop, stopped) = watch::channel(false);
        let reader = journal.reader();
        let served = Arc::new(Served {
            state: RwLock::new(state.clone()),
            inputs,
            bus,
            data_dir: root.clone(),
            blobs,
        });
        let shell = Arc::new(Shell::new(
            served.clone(),
            registry,
            context,
            plugins,
            live,
            clock.clone(),
            reader.clone(),
            disk.clone(),
            stop,
        ));
        let handle = Handle { served: served.clone(), shell: shell.clone() };

        let main = Loop {
            journal: Some(journal),
            durability,
            working: state,
            waiting,
            own: VecDeque::new(),
            handle: handle.clone(),
            clock: clock.clone(),
            reader,
            disk,
            failing: false,
            probed: None,
            last_look: None,
            snapshot_at: 0,
            boot: boot.clone(),
            stopped: stopped.clone(),
            _lock: lock,
        };
        let main = tokio::spawn(main.run());

        let refused = StartError::Refused;
        let started = Input::Started {
            instance,
            boot,
            monotonic_ms: clock.monotonic_ms(),
            version,
            pid: std::process::id().cast_signed(),
        };
        handle.submit(started).await.map_err(refused)?;
        for gap in gaps {
            handle.submit(Input::Gap { from: gap.0, to: gap.1 }).await.map_err(refused)?;
        }
        shell.record_policy(&handle, policy).await.map_err(refused)?;
        let doubted: Vec<Seq> = handle
            .state()
            .intents
            .iter()
            .filter(|(_, i)| i.doubt.is_some())
            .map(|(seq, _)| *seq)
            .collect();
        for seq in doubted {
            shell.settle(&handle, seq);
        }
        let tasks = vec![
            tokio::spawn(sweep::run(handle.clone(), stopped.clone())),
            tokio::spawn(sweep::look_at_work(handle.clone(), stopped.clone())),
            tokio::spawn(super::lane::receive(handle.clone(), stopped.clone())),
        ];
        Ok(Self { handle, stopped, tasks, main })
    }

    /// How clients talk to it.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits until it has ended, in good order.
    pub async fn wait(mut self) {
        // An error means that the loop is gone: the same.
        let _ = self.stopped.wait_for(|stopped| *stopped).await;
        for task in &self.tasks {
            task.abort();
        }
        let _ = self.main.await;
    }
}

struct Opened {
    journal: Journal,
    state: State,
    gaps: Vec<(u64, u64)>,
    instance: ao_slots::InstanceId,
}

fn opening_failed(root: &std::path::Path, panic: &tokio::task::JoinError) -> StartError {
    StartError::Folder { path: root.to_owned(), source: std::io::Error::other(panic.to_string()) }
}

fn open(
    disk: Arc<dyn Disk>,
    root: &std::path::Path,
    limits: Limits,
    boot: &str,
) -> Result<Opened, StartError> {
    let mut recovery = Recovery::start(disk, root, limits)?;
    let mut state = State::default();
    if let Some(snapshot) = recovery.snapshot() {
        match serde_json::from_slice::<State>(&snapshot.state) {
            Ok(read) if read.hash() == snapshot.state_hash => state = read,
            // Written by another version: everything is read from the events instead.
            _ => recovery = recovery.without_snapshot()?,
        }
    }
    state.reindex();
    while let Some((seq, json)) = recovery.next()? {
        match Event::decode(json) {
            Ok(event) => state.replay(&event),
            Err(error) => {
                tracing::error!(%error, seq, "an event cannot be understood; it is kept and passed over");
                state.last_seq = Seq(seq);
            }
        }
    }
    state.reindex();
    let instance = match recovery.instance().or_else(|| state.instance.clone()) {
        Some(instance) => instance,
        None => {
            ulid::Ulid::generate().to_string().parse().map_err(|error: ao_slots::IdError| {
                StartError::Folder { path: root.to_owned(), source: std::io::Error::other(error) }
            })?
        }
    };
    let identity = Identity { instance: instance.clone(), boot: boot.to_owned() };
    let (journal, report) = recovery.finish(identity)?;
    state.last_seq = state.last_seq.max(Seq(journal.last()));
    let known: Vec<_> = state.server.gaps.clone();
    let gaps = report
        .gaps
        .iter()
        .map(|gap| (gap.from, gap.to))
        .filter(|gap| !known.contains(gap))
        .collect();
    Ok(Opened { journal, state, gaps, instance })
}

struct Loop {
    /// Away only while an append runs on its own thread.
    journal: Option<Journal>,
    durability: Durability,
    /// What will be shown once it is durable.
    working: State,
    waiting: mpsc::Receiver<Submission>,
    /// What the loop has to tell itself: jumps of the clock, inputs that were put aside.
    own: VecDeque<Input>,
    handle: Handle,
    clock: Arc<dyn Clock>,
    reader: Reader,
    disk: Arc<dyn Disk>,
    /// The last append was refused.
    failing: bool,
    /// When it was last looked whether it would be again.
    probed: Option<tokio::time::Instant>,
    last_look: Option<(Timestamp, u64)>,
    snapshot_at: u64,
    boot: String,
    stopped: watch::Receiver<bool>,
    // Given back when the loop ends.
    _lock: DirLock,
}

type Waiter = (oneshot::Sender<Result<Answered, Refusal>>, Result<Answered, Refusal>);

impl Loop {
    async fn run(mut self) {
        self.snapshot_at = self.working.last_seq.0;
        loop {
            let batch = self.next_batch().await;
            if self.failing && !self.probe().await {
                refuse(batch);
                if *self.stopped.borrow() {
                    return;
                }
                continue;
            }
            let (events, waiters) = self.step(batch);
            match self.append(&events).await {
                Ok(()) => self.release(events, waiters),
                Err(error) => self.fall_back(&error, waiters).await,
            }
            if *self.stopped.borrow() && self.waiting.is_empty() {
                self.snapshot(true).await;
                return;
            }
            self.snapshot(false).await;
        }
    }

    fn now(&self) -> Now {
        // Until the start is recorded the offset is that of another boot.
        if self.working.boot != self.boot {
            return Now { wall: self.clock.wall(), awake: self.working.awake };
        }
        let monotonic = i64::try_from(self.clock.monotonic_ms()).unwrap_or(i64::MAX);
        let awake = u64::try_from(monotonic.saturating_add(self.working.offset_ms)).unwrap_or(0);
        Now { wall: self.clock.wall(), awake: awake.max(self.working.awake) }
    }

    /// Waits for something to do: an input, a deadline, or the end.
    async fn next_batch(&mut self) -> Vec<Submission> {
        let mut batch: Vec<Submission> =
            self.own.drain(..).map(|input| Submission { input, reply: None }).collect();
        if batch.is_empty() {
            let wait = self.until_due();
            tokio::select! {
                // Cancel safe: a receive that is dropped has taken nothing.
                first = self.waiting.recv() => batch.extend(first),
                () = tokio::time::sleep(wait) => {}
                // Cancel safe: only looks.
                _ = self.stopped.changed() => {}
            }
        }
        while batch.len() < MOST_INPUTS {
            match self.waiting.try_recv() {
                Ok(more) => batch.push(more),
                Err(_) => break,
            }
        }
        self.notice_jump(&mut batch);
        batch.push(Submission { input: Input::Tick, reply: None });
        batch
    }

    fn until_due(&self) -> Duration {
        let now = self.now();
        let (awake, wall) = self.working.next_due();
        let by_awake = awake.map(|at| Duration::from_millis(at.saturating_sub(now.awake)));
        let by_wall = wall
            .map(|at| Duration::try_from(at.duration_since(now.wall)).unwrap_or(Duration::ZERO));
        // A set wall clock moves deadlines by wall, so it is looked at now and then.
        let wait = [by_awake, by_wall, Some(Duration::from_secs(60))]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or_default();
        let wait = if self.failing { wait.min(PROBE_EVERY) } else { wait };
        wait.max(LEAST_WAIT)
    }

    /// After a sleep or a set clock everything is looked at before any limit is judged.
    fn notice_jump(&mut self, batch: &mut Vec<Submission>) {
        let (wall, monotonic) = (self.clock.wall(), self.clock.monotonic_ms());
        if let Some((wall_before, monotonic_before)) = self.last_look.replace((wall, monotonic)) {
            let passed = SignedDuration::from_millis(
                i64::try_from(monotonic.saturating_sub(monotonic_before)).unwrap_or(i64::MAX),
            );
            let ahead = wall.duration_since(wall_before) - passed;
            if ahead.abs() > JUMP {
                let ahead_ms = i64::try_from(ahead.as_millis()).unwrap_or(i64::MAX);
                batch.insert(0, Submission { input: Input::ClockJumped { ahead_ms }, reply: None });
            }
        }
    }

    /// Decides and applies a batch, in order, to the working copy.
    fn step(&mut self, batch: Vec<Submission>) -> (Vec<Event>, Vec<Waiter>) {
        let mut events = vec![];
        let mut waiters = vec![];
        for Submission { input, reply } in batch {
            let now = self.now();
            let working = &mut self.working;
            let stepped = catch_unwind(AssertUnwindSafe(|| decide::step(working, &input, now)));
            let answer = match stepped {
                Ok(Ok((new, answered))) => {
                    events.extend(new);
                    Ok(answered)
                }
                Ok(Err(refusal)) => Err(refusal),
                Err(panic) => {
                    self.working = self.handle.state().clone();
                    for event in &events {
                        self.working.apply(event);
                    }
                    Err(self.quarantine(&input, &panic))
                }
            };
            waiters.extend(reply.map(|reply| (reply, answer)));
        }
        (events, waiters)
    }

    /// Puts an input aside that no rule can take; it is never tried again by this version.
    fn quarantine(&mut self, input: &Input, panic: &(dyn std::any::Any + Send)) -> Refusal {
        let message = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        tracing::error!(message, "an input broke a rule and was put aside");
        let name = format!("{}.json", ulid::Ulid::generate());
        let path = self.handle.data_dir().join("quarantine").join(&name);
        let json = serde_json::to_vec(input).unwrap_or_default();
        let made = self.disk.create_dir(&self.handle.data_dir().join("quarantine"));
        if let Err(error) = made.and_then(|()| crate::disk::replace(&*self.disk, &path, &json)) {
            tracing::error!(%error, "it could not be kept");
        }
        if !matches!(input, Input::Quarantined { .. } | Input::Tick) {
            self.own.push_back(Input::Quarantined {
                file: name.clone(),
                message: Text::short(message),
            });
        }
        Refusal::new(
            RefusalKind::Invalid,
            format!("ao cannot take this and has put it aside as quarantine/{name}"),
        )
        .with_remedy("ao doctor --report")
    }

    async fn append(&mut self, events: &[Event]) -> Result<(), JournalError> {
        if events.is_empty() {
            return Ok(());
        }
        let Some(mut journal) = self.journal.take() else {
            return Err(JournalError::EmergencySpent { from: self.working.last_seq.0 });
        };
        let mut lines = Vec::with_capacity(events.len());
        for event in events {
            let json = event.encode().unwrap_or_default();
            lines.push(Line { seq: event.seq.0, json });
        }
        // A batch that holds an intent must be durable before the effect.
        let acts = events.iter().any(|event| matches!(event.kind, Kind::EffectIntended(_)));
        let durability = if acts { Durability::Commit } else { self.durability };
        let written = tokio::task::spawn_blocking(move || {
            let result = journal.append(&lines, durability).or_else(|error| {
                // The kept space is for what a full disk must not silence.
                if error.is_disk_full() {
                    journal.append_emergency(&lines).map(|()| None).map_err(|_| error)
                } else {
                    Err(error)
                }
            });
            (journal, result)
        });
        match written.await {
            Ok((journal, result)) => {
                self.journal = Some(journal);
                if let Some(tampered) = result? {
                    let path = tampered.path.to_string_lossy().into_owned();
                    tracing::error!(
                        path,
                        what = tampered.what,
                        "the journal was changed by another"
                    );
                    self.own.push_back(Input::Tampered { path, kept: None });
                }
                Ok(())
            }
            // The thread panicked and took the journal with it: nothing can be recorded any more.
            Err(_) => Err(JournalError::EmergencySpent { from: self.working.last_seq.0 }),
        }
    }

    /// Everything is durable: show it, answer, act. Waits for nobody.
    fn release(&mut self, events: Vec<Event>, waiters: Vec<Waiter>) {
        {
            let mut shown =
                self.handle.served.state.write().unwrap_or_else(std::sync::PoisonError::into_inner);
            for event in &events {
                shown.apply(event);
            }
        }
        for (reply, answer) in waiters {
            // Who no longer waits needs no answer.
            let _ = reply.send(answer);
        }
        for event in events {
            let event = Arc::new(event);
            self.handle.shell.released(&self.handle, &event);
            // No reader is no error.
            let _ = self.handle.served.bus.send(event);
        }
    }

    /// The append left nothing: neither does the working copy.
    async fn fall_back(&mut self, error: &JournalError, waiters: Vec<Waiter>) {
        if !self.failing {
            tracing::error!(error = %chain(error), "events could not be recorded; agents go on, ao waits for the disk");
        }
        self.failing = true;
        self.probed = Some(tokio::time::Instant::now());
        self.working = self.handle.state().clone();
        for (reply, _) in waiters {
            let _ = reply.send(Err(unavailable()));
        }
        tokio::time::sleep(LEAST_WAIT).await;
    }

    /// Whether the journal takes appends again: looked at no more often than every 5 s.
    async fn probe(&mut self) -> bool {
        if self.probed.is_some_and(|at| at.elapsed() < PROBE_EVERY) {
            return false;
        }
        self.probed = Some(tokio::time::Instant::now());
        let Some(mut journal) = self.journal.take() else { return false };
        let probed = tokio::task::spawn_blocking(move || {
            let result = journal.probe();
            (journal, result)
        });
        let Ok((journal, result)) = probed.await else { return false };
        self.journal = Some(journal);
        self.failing = result.is_err();
        if !self.failing {
            tracing::info!("events can be recorded again");
        }
        !self.failing
    }

    /// Writes a snapshot when enough has happened since the last one, or at the end.
    async fn snapshot(&mut self, last: bool) {
        let seq = self.working.last_seq.0;
        if seq == self.snapshot_at
            || (!last && seq - self.snapshot_at < SNAPSHOT_EVERY)
            || self.failing
        {
            return;
        }
        if self.durability == Durability::Batch
            && let Some(journal) = &mut self.journal
            && journal.sync().is_err()
        {
            return;
        }
        self.snapshot_at = seq;
        let (state, reader) = (self.working.clone(), self.reader.clone());
        let retention = state.policy.retention;
        let written = tokio::task::spawn_blocking(move || {
            let snapshot = Snapshot {
                seq,
                state_hash: state.hash(),
                state: serde_json::to_vec(&state).unwrap_or_default(),
            };
            reader.write_snapshot(&snapshot)?;
            reader.compact()?;
            let retention = crate::journal::Retention {
                age: Duration::from_millis(retention.age_ms),
                bytes: retention.size_bytes,
            };
            reader.retain(retention, std::time::SystemTime::now())
        });
        if last {
            match written.await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    tracing::warn!(error = %chain(&error), "no snapshot: the next start reads more")
                }
                Err(error) => tracing::warn!(%error, "no snapshot: the next start reads more"),
            }
        }
    }
}

/// Nothing can be recorded: who asked is told so at once, and repeats it.
fn refuse(batch: Vec<Submission>) {
    for reply in batch.into_iter().filter_map(|submission| submission.reply) {
        let _ = reply.send(Err(unavailable()));
    }
}

fn unavailable() -> Refusal {
    Refusal::new(RefusalKind::Unavailable, "the journal cannot be written now; nothing was changed")
        .with_remedy("free space on the disk of the data directory; ao tries again by itself")
}

/// An error with its causes: `a: b: c`.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
