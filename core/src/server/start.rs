//! Starting on a data directory, and ending: in good order, or as the death of the process would.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, RwLock},
    time::{Duration, Instant},
};

use ao_slots::{IdError, InstanceId, PluginError, Seq, plugin::BuildContext};
use jiff::{Timestamp, tz::TimeZone};
use tokio::{
    sync::{broadcast, mpsc, watch},
    task::JoinHandle,
};

use super::{
    alive,
    clock::Clock,
    handle::{Handle, Served},
    lane::{self, Ruling, Shell},
    look, projection,
    run::{Loop, fold, unpack},
    scm, spool, sweep,
};
use crate::{
    blob::Blobs,
    config::{Live, policy::Policy},
    decide::{Input, Refusal},
    disk::{DirLock, Disk, LockError},
    journal::{Durability, Identity, Journal, JournalError, Limits, Recovery},
    registry::{Plugins, Registry},
    state::State,
};

/// Inputs that may wait before senders do.
const QUEUE: usize = 4_096;
/// Events that a slow reader may lag behind before it is told to look anew.
const BUS: usize = 8_192;
/// How long what waits in the spool may hold up the start.
const SPOOL: Duration = Duration::from_secs(2);
/// How long the end may take once it was asked for: a disk that hangs does not keep the process.
const END: Duration = Duration::from_secs(2);

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
    /// The zone in which humans read times.
    pub zone: TimeZone,
    /// The plugins that can be chosen.
    pub registry: Registry,
    /// What plugins may know. Its `data_dir` and `run_dir` are the server's; its `instance` is replaced by the
    /// data directory's own.
    pub context: BuildContext,
    /// The policy to begin with, as it is recorded.
    pub policy: Policy,
    /// The same with the values of all variables: from it plugins are built and agents started.
    pub live: Live,
    /// A file could not be used: what was applied last rules on, where there is such, and `policy` decides only
    /// where things lie.
    pub refused: bool,
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
    /// The snapshot cannot be used, and the events that it stands for were dropped by retention.
    #[error(
        "the snapshot `{path}` cannot be used ({why}), and the events before {first}, which it stands for, are no \
         longer kept. Nothing was changed. Start the version of ao that wrote it, or put a copy from a backup in \
         its place; to go on without all that happened before event {first}, move the file away"
    )]
    Snapshot {
        /// The file, which is kept.
        path: PathBuf,
        /// Why.
        why: String,
        /// The first event that is kept.
        first: u64,
    },
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
            zone,
            registry,
            mut context,
            policy,
            live,
            refused,
        } = options;
        let zone_name = zone.iana_name().map(str::to_owned);
        let root = context.data_dir.clone();
        let lock = DirLock::take(&context.data_dir.join("run"))?;
        let (opening_disk, opening_root, opening_boot) = (disk.clone(), root.clone(), boot.clone());
        let opened = tokio::task::spawn_blocking(move || {
            open(opening_disk, &opening_root, limits, &opening_boot)
        });
        let opened = opened.await.unwrap_or_else(|panic| Err(opening_failed(&root, &panic)))?;
        let Opened { journal, state, gaps, instance, alive } = opened;
        context.instance = instance.clone();

        let blobs = Blobs::open(disk.clone(), &root)
            .map_err(|source| StartError::Folder { path: root.join("blobs"), source })?;
        let ruling = if refused && !state.policy_hash.is_empty() {
            let Policy { data_dir, worktree_dir, port, .. } = policy;
            let last = Policy { data_dir, worktree_dir, port, ..(*state.policy).clone() };
            Ruling::again(&registry, &Plugins::default(), &context, last)
        } else {
            let past = lane::still_needed(&state, &policy);
            Ruling::new(&registry, &Plugins::default(), &context, past, policy, live)
                .map_err(StartError::Plugin)?
        };
        let Ruling { policy, live, plugins } = ruling;
        let (inputs, waiting) = mpsc::channel(QUEUE);
        let (bus, _) = broadcast::channel(BUS);
        let (stop, stopped) = watch::channel(false);
        let reader = journal.reader();
        let served = Arc::new(Served {
            state: RwLock::new(state.clone()),
            inputs,
            bus,
            data_dir: root.clone(),
            zone,
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
        let handle = Handle { served, shell, act: None };
        let main = Loop::new(
            journal,
            durability,
            state,
            waiting,
            handle.clone(),
            clock.clone(),
            reader,
            disk,
            boot.clone(),
            stopped.clone(),
            lock,
        );
        let mut server = Self { handle, stopped, tasks: vec![], main: tokio::spawn(main.run()) };
        let started = Input::Started {
            instance,
            boot,
            monotonic_ms: clock.monotonic_ms(),
            version,
            pid: std::process::id().cast_signed(),
            alive,
            zone: zone_name,
        };
        match server.begin(started, gaps, policy).await {
            Ok(()) => Ok(server),
            Err(refusal) => {
                server.abort().await;
                Err(StartError::Refused(refusal))
            }
        }
    }

    /// Records the start, then looks at what an earlier server left open, and at everything else.
    async fn begin(
        &mut self,
        started: Input,
        gaps: Vec<(u64, u64)>,
        policy: Policy,
    ) -> Result<(), Refusal> {
        let handle = &self.handle;
        handle.submit(started).await?;
        for (from, to) in gaps {
            handle.submit(Input::Gap { from, to }).await?;
        }
        handle.shell.record_policy(handle, policy).await?;
        let shell = handle.shell.clone();
        tokio::task::spawn_blocking(move || shell.forget_ended());
        let doubted: Vec<Seq> = {
            let state = handle.state();
            state.intents.iter().filter(|(_, i)| i.doubt.is_some()).map(|(seq, _)| *seq).collect()
        };
        for seq in doubted {
            handle.shell.settle(handle, seq);
        }
        // What agents told while nobody listened comes before what they tell now: the end of a turn that is
        // not known to have begun says nothing. A long spool is left to the sweep.
        spool::drain(handle, Some(Instant::now() + SPOOL)).await;
        let stopped = || self.stopped.clone();
        self.tasks = vec![
            tokio::spawn(sweep::run(handle.clone(), stopped())),
            tokio::spawn(look::run(handle.clone(), stopped())),
            tokio::spawn(scm::run(handle.clone(), stopped())),
            tokio::spawn(lane::receive(handle.clone(), stopped())),
            tokio::spawn(projection::run(handle.clone(), stopped())),
            tokio::spawn(alive::run(handle.clone(), stopped())),
        ];
        Ok(())
    }

    /// How clients talk to it.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits until it has ended, in good order. What was under way is in doubt at the next start.
    pub async fn wait(mut self) {
        // An error means that the loop is gone: the same.
        let _ = self.stopped.wait_for(|stopped| *stopped).await;
        for task in &self.tasks {
            task.abort();
        }
        self.handle.shell.halt();
        if tokio::time::timeout(END, &mut self.main).await.is_err() {
            tracing::error!("the disk does not answer; the next start reads more");
            self.main.abort();
        }
        // What the last inputs began.
        self.handle.shell.halt();
    }

    /// Ends at once and says nothing, as if the process had been killed: for tests.
    #[doc(hidden)]
    pub async fn abort(self) {
        self.main.abort();
        for task in &self.tasks {
            task.abort();
        }
        self.handle.shell.halt();
        // An error is what was asked for.
        let _ = self.main.await;
        self.handle.shell.halt();
    }
}

struct Opened {
    journal: Journal,
    state: State,
    gaps: Vec<(u64, u64)>,
    instance: InstanceId,
    alive: Option<Timestamp>,
}

fn opening_failed(root: &Path, panic: &tokio::task::JoinError) -> StartError {
    StartError::Folder { path: root.to_owned(), source: std::io::Error::other(panic.to_string()) }
}

fn open(
    disk: Arc<dyn Disk>,
    root: &Path,
    limits: Limits,
    boot: &str,
) -> Result<Opened, StartError> {
    let alive = alive::last(&*disk, root);
    let mut recovery = Recovery::start(disk, root, limits)?;
    let mut state = State::default();
    if let Some(snapshot) = recovery.snapshot() {
        match unpack(snapshot) {
            Ok((read, same)) if same || recovery.first_kept() > 1 => state = read,
            // While all events are kept they tell it better than a snapshot of another version.
            Ok(_) => recovery = recovery.without_snapshot("another version wrote it".into())?,
            Err(why) => recovery = recovery.without_snapshot(why)?,
        }
    }
    // Without those events the state would be but half.
    if let (Some(why), first @ 2..) = (recovery.unusable_snapshot(), recovery.first_kept()) {
        let (path, why) = (root.join("snapshot.json"), why.to_owned());
        return Err(StartError::Snapshot { path, why, first });
    }
    while let Some((seq, json)) = recovery.next()? {
        fold(&mut state, seq, json);
    }
    state.reindex();
    let instance = match recovery.instance().or_else(|| state.instance.clone()) {
        Some(instance) => instance,
        None => ulid::Ulid::generate().to_string().parse().map_err(|error: IdError| {
            StartError::Folder { path: root.to_owned(), source: std::io::Error::other(error) }
        })?,
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
    Ok(Opened { journal, state, gaps, instance, alive })
}
