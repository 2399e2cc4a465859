//! Lanes: effects performed one at a time a session and a channel, each with a deadline of the host's own.
//!
//! An effect arrives here only after its intent is durable. What becomes of it goes back to the loop as an
//! input. One that nobody knows the end of is settled by looking (decision record 003).

mod agent;
mod effect;
mod notify;
mod place;
mod press;
mod pull;
mod seen;

use std::{
    collections::{BTreeMap, HashMap},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    task::Poll,
    time::Duration,
};

use ao_slots::{
    Call, ChannelName, ErrorKind, Launch, PluginError, ProjectId, RequestId, Seq, SessionId,
    agent::Agent,
    fact::{PrState, RuntimeState},
    plugin::BuildContext,
    runtime::{Runtime, RuntimeHandle},
    scm::Scm,
};
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use super::{
    clock::Clock,
    guard::Guarded,
    handle::{Handle, Served},
    scm::{Kept, Poke},
};
use crate::{
    config::{
        Live,
        policy::{Heartbeat, Policy, ProjectPolicy},
    },
    decide::{Input, Refusal, RefusalKind},
    disk::Disk,
    event::{Event, Failure, Kind, Outcome},
    journal::Reader,
    registry::{Plugins, ProjectPlugins, Registry},
    state::{Lane, Now, Session, State},
};

pub use notify::token_hash;
pub(super) use press::{press, press_card, pressable, receive};

/// The host's own deadline is later than the plugin's by that much.
const GRACE: Duration = Duration::from_secs(1);

/// Variables that every agent gets from the client that spawned it (architecture, Agents, Environment).
const ALLOWED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "TZ",
    "TERM",
    "COLORTERM",
    "SSH_AUTH_SOCK",
    "GPG_TTY",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
];

/// A human's decision handed to a waiting hook.
#[derive(Debug)]
pub(super) struct HandOver {
    pub(super) decision: ao_slots::agent::Decision,
    /// Told when the waiter has it.
    pub(super) taken: tokio::sync::oneshot::Sender<()>,
}

/// A hook that waits for a request to be decided. It stops waiting when this is dropped.
struct Waiter {
    session: SessionId,
    launch: Launch,
    over: mpsc::Sender<HandOver>,
}

/// What performs effects: the plugins and everything that is not state.
pub(super) struct Shell {
    served: Arc<Served>,
    registry: Registry,
    context: BuildContext,
    plugins: RwLock<Arc<Plugins>>,
    projects: RwLock<Arc<Projects>>,
    /// Who is pinged as long as this server works.
    pub(super) heartbeat: Mutex<Option<Heartbeat>>,
    clock: Arc<dyn Clock>,
    reader: Reader,
    disk: Arc<dyn Disk>,
    stop: watch::Sender<bool>,
    lanes: Mutex<HashMap<Lane, effect::Running>>,
    waiters: Mutex<HashMap<RequestId, Waiter>>,
    tokens: Mutex<HashMap<SessionId, String>>,
    /// What the last look at each channel found, and who looks now.
    looked: Mutex<BTreeMap<ChannelName, notify::Looked>>,
    looking: tokio::sync::Mutex<()>,
    /// `ao`'s own files of each session.
    pub(super) guarded: Mutex<BTreeMap<PathBuf, Guarded>>,
    /// Sessions that the last probe told nothing of.
    pub(super) unanswered: Mutex<std::collections::BTreeSet<SessionId>>,
    /// When a human typed last, by session, and when a page that shows all of them was last open.
    pub(super) seen_typing: Mutex<(BTreeMap<SessionId, Timestamp>, Option<Timestamp>)>,
    /// Sessions whose workspace is to be looked at soon.
    pub(super) looks: mpsc::UnboundedSender<SessionId>,
    pub(super) looks_wanted: Mutex<Option<mpsc::UnboundedReceiver<SessionId>>>,
    /// Why to look at pull requests sooner.
    pub(super) pokes: mpsc::UnboundedSender<Poke>,
    pub(super) pokes_wanted: Mutex<Option<mpsc::UnboundedReceiver<Poke>>>,
    /// Webhooks that were taken, the oldest first.
    pub(super) deliveries: Mutex<std::collections::VecDeque<String>>,
    /// The scms that know where to keep what they know, and that are listened to; by address.
    scms: Mutex<Vec<(Arc<dyn Scm>, tokio::task::AbortHandle)>>,
    /// What was read of each session's files.
    pub(super) signs: Mutex<HashMap<SessionId, super::signs::Known>>,
    /// Built for sessions that have another agent or runtime than their project by now.
    others: Mutex<Others>,
    /// Repositories that were looked at and in which agents can work.
    fit: Mutex<std::collections::BTreeSet<PathBuf>>,
    /// Workspaces made at one time; one at a time a repository is the workspace plugin's matter.
    spawns: tokio::sync::Semaphore,
}

impl std::fmt::Debug for Shell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shell").field("data_dir", &self.context.data_dir).finish_non_exhaustive()
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// 128 random bits, in hex: nobody guesses it.
pub fn random_token() -> std::io::Result<String> {
    let mut random = [0_u8; 16];
    let mut source = std::fs::File::open("/dev/urandom")?;
    std::io::Read::read_exact(&mut source, &mut random)?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl Shell {
    #[expect(clippy::too_many_arguments, reason = "called once, by the start")]
    pub(super) fn new(
        served: Arc<Served>,
        registry: Registry,
        context: BuildContext,
        plugins: Plugins,
        live: Live,
        clock: Arc<dyn Clock>,
        reader: Reader,
        disk: Arc<dyn Disk>,
        stop: watch::Sender<bool>,
    ) -> Self {
        let (looks, looks_wanted) = mpsc::unbounded_channel();
        let (pokes, pokes_wanted) = mpsc::unbounded_channel();
        let spawns = live.lifecycle.spawns_at_once.max(1) as usize;
        Self {
            served,
            registry,
            context,
            plugins: RwLock::new(Arc::new(plugins)),
            projects: RwLock::new(Arc::new(projects_of(&live))),
            heartbeat: Mutex::new(live.push.heartbeat.clone()),
            clock,
            reader,
            disk,
            stop,
            lanes: Mutex::default(),
            waiters: Mutex::default(),
            tokens: Mutex::default(),
            looked: Mutex::default(),
            looking: tokio::sync::Mutex::default(),
            guarded: Mutex::default(),
            unanswered: Mutex::default(),
            seen_typing: Mutex::default(),
            looks,
            looks_wanted: Mutex::new(Some(looks_wanted)),
            pokes,
            pokes_wanted: Mutex::new(Some(pokes_wanted)),
            deliveries: Mutex::default(),
            scms: Mutex::default(),
            signs: Mutex::default(),
            others: Mutex::default(),
            fit: Mutex::default(),
            spawns: tokio::sync::Semaphore::new(spawns),
        }
    }

    pub(super) fn state(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.served.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Now {
        let state = self.state();
        let monotonic = i64::try_from(self.clock.monotonic_ms()).unwrap_or(i64::MAX);
        let awake = u64::try_from(monotonic.saturating_add(state.offset_ms)).unwrap_or(0);
        Now { wall: self.clock.wall(), awake: awake.max(state.awake) }
    }

    pub(super) fn plugins(&self) -> Arc<Plugins> {
        self.plugins.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn context(&self) -> &BuildContext {
        &self.context
    }

    pub(super) fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    pub(super) fn first_kept(&self) -> Seq {
        Seq(*self.reader.range().start())
    }

    pub(super) async fn events(&self, after: Seq, limit: usize) -> Result<Vec<Event>, Refusal> {
        let reader = self.reader.clone();
        let Some(first) = after.0.checked_add(1) else { return Ok(vec![]) };
        let last = after.0.saturating_add(limit as u64);
        let read = tokio::task::spawn_blocking(move || {
            let mut events = vec![];
            let mut lines = reader.read(first..=last)?;
            while let Some((_, json)) = lines.next()? {
                events.extend(Event::decode(json).ok());
            }
            Ok::<_, crate::journal::JournalError>(events)
        });
        let failed = |error: String| {
            Refusal::new(RefusalKind::Unavailable, error).with_remedy("ao events verify")
        };
        match read.await {
            Ok(Ok(events)) => Ok(events),
            Ok(Err(error)) => Err(failed(super::run::chain(&error))),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// Builds another policy's plugins, then lets it rule. A failed build changes nothing, and what sessions
    /// still need of the policy before stays.
    pub(super) async fn apply_policy(
        &self,
        handle: &Handle,
        policy: Policy,
        live: Live,
    ) -> Result<(), PluginError> {
        // A plugin may look at the world while it is built: nobody waits for that.
        let past = still_needed(&self.state(), &policy);
        let before = self.plugins();
        let Ruling { policy, live, plugins } =
            Ruling::new(&self.registry, &before, &self.context, past, policy, live)?;
        // In place before it is recorded: what follows from it may be performed at once.
        let projects = Arc::new(projects_of(&live));
        let before = (swap(&self.plugins, Arc::new(plugins)), swap(&self.projects, projects));
        let heartbeat = live.push.heartbeat.clone();
        self.record_policy(handle, policy).await.map_err(|refusal| {
            swap(&self.plugins, before.0);
            swap(&self.projects, before.1);
            PluginError::transient("the configuration could not be recorded", refusal)
        })?;
        *lock(&self.heartbeat) = heartbeat;
        Ok(())
    }

    pub(super) async fn record_policy(
        &self,
        handle: &Handle,
        policy: Policy,
    ) -> Result<(), Refusal> {
        let hash = policy.hash();
        let channels = self.plugins().channel_capabilities();
        handle.submit(Input::Config { hash, policy: Box::new(policy), channels }).await?;
        Ok(())
    }

    /// Resolves when the server is about to end.
    pub(super) async fn stopping(&self) {
        // An error means that it has ended: the same.
        let _ = self.stop.subscribe().wait_for(|stopped| *stopped).await;
    }

    pub(super) async fn stop(&self, reason: &str) {
        let (reply, done) = tokio::sync::oneshot::channel();
        let input = Input::Stopping { reason: reason.to_owned() };
        let sent =
            self.served.inputs.send(super::handle::Submission { input, reply: Some(reply) }).await;
        if sent.is_ok() {
            // A journal that cannot be written does not keep the server from ending.
            let _ = tokio::time::timeout(Duration::from_secs(2), done).await;
        }
        self.stop.send_replace(true);
    }

    /// Called for each event once it is durable.
    pub(super) fn released(self: &Arc<Self>, handle: &Handle, event: &Event) {
        match &event.kind {
            Kind::EffectIntended(e) => self.perform(handle, event.seq, &e.effect),
            Kind::EffectDoubted(e) => self.settle(handle, e.intent),
            Kind::KillRequested(_) | Kind::KillDecided(_) => {
                if let Some(session) = &event.session {
                    self.interrupt(session);
                }
            }
            Kind::TurnEnded(_) | Kind::CompletionClaimed(_) => {
                self.look_at_work(event);
                self.look_at_pr(event);
            }
            Kind::SessionReady(_) | Kind::PrLinked(_) => self.look_at_pr(event),
            Kind::EffectSucceeded(e)
                if matches!(e.outcome, Outcome::Merged { .. } | Outcome::PrOpened(_)) =>
            {
                // What is merged moves the base of others.
                let _ = self.pokes.send(Poke::All);
            }
            // By whomever: nobody may have told.
            Kind::PrObserved(e) if e.pr.state == PrState::Merged => {
                if let Some(session) = &event.session {
                    let _ = self.pokes.send(Poke::Beside(session.clone()));
                }
            }
            Kind::RuntimeObserved(e)
                if matches!(e.state, RuntimeState::Exited { .. } | RuntimeState::Missing) =>
            {
                self.look_at_work(event);
            }
            Kind::SessionEnded(_) => {
                if let Some(session) = &event.session {
                    lock(&self.signs).remove(session);
                    lock(&self.unanswered).remove(session);
                    self.unwatch(session);
                    let (shell, session) = (self.clone(), session.clone());
                    tokio::task::spawn_blocking(move || shell.forget_starts(&session));
                }
            }
            _ => {}
        }
        if let Some(session) = &event.session {
            self.end_waiting(session);
        }
    }

    fn look_at_work(&self, event: &Event) {
        if let Some(session) = &event.session {
            // The looker ends with the server.
            let _ = self.looks.send(session.clone());
        }
    }

    fn look_at_pr(&self, event: &Event) {
        if let Some(session) = &event.session {
            // Whoever follows pull requests ends with the server.
            let _ = self.pokes.send(Poke::Session(session.clone()));
        }
    }

    /// The scm of a session's project, which knows where to keep what it knows, and is listened to.
    pub(super) fn scm(&self, handle: &Handle, work: &Work) -> Option<Arc<dyn Scm>> {
        let scm = work.plugins.scm.clone()?;
        let plugin = work.project.scm.as_ref()?.plugin.clone();
        Some(self.introduced(handle, &work.session.project, plugin, scm))
    }

    /// The scm of a project, likewise.
    pub(super) fn scm_of(&self, handle: &Handle, project: &ProjectId) -> Option<Arc<dyn Scm>> {
        let scm = self.plugins().projects.get(project)?.scm.clone()?;
        let projects = self.projects.read().unwrap_or_else(PoisonError::into_inner).clone();
        let plugin = projects.get(project)?.scm.as_ref()?.plugin.clone();
        Some(self.introduced(handle, project, plugin, scm))
    }

    fn introduced(
        &self,
        handle: &Handle,
        project: &ProjectId,
        plugin: String,
        scm: Arc<dyn Scm>,
    ) -> Arc<dyn Scm> {
        let mut known = lock(&self.scms);
        if known.iter().any(|(known, _)| Arc::ptr_eq(known, &scm)) {
            return scm;
        }
        scm.keep(Arc::new(Kept { handle: handle.clone(), project: project.clone(), plugin }));
        let (told, pokes) = (scm.clone(), self.pokes.clone());
        let mut stopped = self.stop.subscribe();
        let listens = tokio::spawn(async move {
            loop {
                tokio::select! {
                    hint = told.changed() => drop(pokes.send(Poke::Hint(hint))),
                    _ = stopped.changed() => return,
                }
            }
        });
        // One that the configuration replaced is listened to no more.
        let plugins = self.plugins();
        known.retain(|(known, listens)| {
            let mut used = plugins.projects.values().filter_map(|plugins| plugins.scm.as_ref());
            let used = used.any(|scm| Arc::ptr_eq(scm, known));
            if !used {
                listens.abort();
            }
            used
        });
        known.push((scm.clone(), listens.abort_handle()));
        scm
    }

    /// A session with its project and plugins, as they are now.
    fn work(&self, id: &SessionId) -> Result<Work, Failure> {
        let state = self.state();
        let session =
            state.sessions.get(id).ok_or_else(|| no_such("the session is unknown"))?.clone();
        drop(state);
        let projects = self.projects.read().unwrap_or_else(PoisonError::into_inner).clone();
        let project = projects.get(&session.project);
        let project =
            project.ok_or_else(|| no_such("its project is no longer configured"))?.clone();
        let plugins = self.plugins();
        let mut plugins = plugins
            .projects
            .get(&session.project)
            .ok_or_else(|| no_such("its project is no longer configured"))?
            .clone();
        if session.agent != project.agent.plugin {
            plugins.agent = self.agent_named(&session.agent)?;
        }
        // A session stays where it was started, whatever the configuration says by now.
        if session.runtime != project.runtime.plugin {
            let build = || self.registry.runtime(&session.runtime, &self.context);
            plugins.runtime = kept(&mut lock(&self.others).runtimes, &session.runtime, build)?;
        }
        Ok(Work { session, project, plugins })
    }

    pub(super) fn work_of(&self, id: &SessionId) -> Option<Work> {
        self.work(id).ok()
    }

    /// The agent plugin by name, with its default settings.
    pub(super) fn agent_named(&self, name: &str) -> Result<Arc<dyn Agent>, PluginError> {
        kept(&mut lock(&self.others).agents, name, || self.registry.agent(name, &self.context))
    }

    pub(super) async fn screen(
        &self,
        session: &SessionId,
        lines: u32,
    ) -> Result<Vec<String>, PluginError> {
        let unknown = |failure: Failure| PluginError::new(failure.kind, failure.message, "");
        let work = self.work(session).map_err(unknown)?;
        let call = Call::new("screen", Duration::from_secs(5));
        let none = || {
            PluginError::new(
                ErrorKind::NotFound,
                format!("{session} has no screen"),
                "it does not run",
            )
        };
        let handle = work.session.handle.as_ref().ok_or_else(none)?;
        let capture = work.plugins.runtime.capture(&call, handle, lines);
        Ok(within(call.limit(), capture).await?.lines)
    }

    pub(super) async fn open(
        &self,
        session: &SessionId,
        env: BTreeMap<String, String>,
        foreground: bool,
    ) -> Result<ao_slots::terminal::Opened, PluginError> {
        let unknown = |failure: Failure| PluginError::new(failure.kind, failure.message, "");
        let work = self.work(session).map_err(unknown)?;
        let handle = work.handle()?;
        let env = if env.is_empty() { self.context.env.clone() } else { env };
        let request = ao_slots::terminal::OpenRequest {
            session: session.clone(),
            attach: work.plugins.runtime.attach_info(handle),
            env,
            foreground,
        };
        let call = Call::new("open", Duration::from_secs(5));
        within(call.limit(), work.plugins.terminal.open(&call, &request)).await
    }

    pub(super) fn allowed_env(
        &self,
        project: &ProjectId,
        agent: Option<&str>,
        env: &BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        let plugins = self.plugins();
        let named = match agent {
            Some(name) => self.agent_named(name).map(|agent| agent.env_names()).unwrap_or_default(),
            None => plugins.projects.get(project).map(|p| p.agent.env_names()).unwrap_or_default(),
        };
        let allowed = |name: &str| {
            ALLOWED.contains(&name)
                || name.starts_with("LC_")
                || name.starts_with("XDG_")
                || named.iter().any(|pattern| match pattern.strip_suffix('*') {
                    Some(prefix) => name.starts_with(prefix),
                    None => pattern == name,
                })
        };
        env.iter()
            .filter(|(name, _)| allowed(name) && !name.starts_with("AO_"))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    /// Registers who waits for this request, in the place of one whose connection broke. `None` is received
    /// when the request ends undecided, at once where it has ended before.
    pub(super) fn add_waiter(
        &self,
        session: &SessionId,
        launch: Launch,
        request: RequestId,
        over: mpsc::Sender<HandOver>,
    ) {
        let waiter = Waiter { session: session.clone(), launch, over };
        lock(&self.waiters).insert(request, waiter);
        self.end_waiting(session);
    }

    pub(super) fn remove_waiter(&self, request: RequestId, over: &mpsc::WeakSender<HandOver>) {
        let mut waiters = lock(&self.waiters);
        let same =
            |waiter: &Waiter| over.upgrade().is_some_and(|over| over.same_channel(&waiter.over));
        if waiters.get(&request).is_some_and(same) {
            waiters.remove(&request);
        }
    }

    /// Lets those of a session go whose request is over.
    fn end_waiting(&self, session: &SessionId) {
        let mut waiters = lock(&self.waiters);
        if !waiters.values().any(|waiter| waiter.session == *session) {
            return;
        }
        let state = self.state();
        let known = state.sessions.get(session);
        waiters.retain(|request, waiter| {
            waiter.session != *session
                || known.filter(|known| known.launch == waiter.launch).is_some_and(|known| {
                    known.requests.get(request).is_some_and(|request| request.ended.is_none())
                })
        });
    }

    fn waiter(&self, request: RequestId) -> Option<mpsc::Sender<HandOver>> {
        let waiters = lock(&self.waiters);
        waiters.get(&request).map(|waiter| &waiter.over).filter(|over| !over.is_closed()).cloned()
    }

    /// A session's private folder: `<dataDir>/agents/<session>`.
    pub(super) fn agent_dir(&self, session: &SessionId) -> PathBuf {
        self.context.data_dir.join("agents").join(session.as_str())
    }

    fn secret(&self, what: &str, session: &SessionId) -> PathBuf {
        self.context.data_dir.join("secrets").join(what).join(session.as_str())
    }

    /// Writes a private file whole or not at all, making its folder.
    pub(super) fn write_private(&self, path: &Path, content: &[u8]) -> Result<(), PluginError> {
        let failed =
            |error| PluginError::transient(format!("could not write `{}`", path.display()), error);
        if let Some(dir) = path.parent() {
            self.disk.create_dir(dir).map_err(failed)?;
        }
        crate::disk::replace(&*self.disk, path, content).map_err(failed)
    }
}

/// A policy that is to rule, in both its forms, with its plugins.
pub(super) struct Ruling {
    pub(super) policy: Policy,
    pub(super) live: Live,
    pub(super) plugins: Plugins,
}

impl Ruling {
    /// `policy`, and of the one before what is [`still_needed`].
    pub(super) fn new(
        registry: &Registry,
        before: &Plugins,
        context: &BuildContext,
        past: Policy,
        policy: Policy,
        live: Live,
    ) -> Result<Self, PluginError> {
        let plugins = registry.build(&live, before, context)?;
        let mut ruling = Self { policy, live, plugins };
        let past = Self::again(registry, before, context, past);
        ruling.policy.take(past.policy);
        ruling.live.take(past.live);
        ruling.plugins.take(past.plugins);
        Ok(ruling)
    }

    /// One that was recorded, with the values that variables have now. What cannot be built any more is told
    /// where it is needed.
    pub(super) fn again(
        registry: &Registry,
        before: &Plugins,
        context: &BuildContext,
        policy: Policy,
    ) -> Self {
        let live = policy.revived(&context.env);
        let (plugins, errors) = registry.build_what_can_be(&live, before, context);
        for error in errors {
            tracing::warn!(%error, "a part of the configuration before cannot be used any more");
        }
        Self { policy, live, plugins }
    }
}

/// What sessions still need of the policy that ruled, under the one that is to rule.
pub(super) fn still_needed(state: &State, policy: &Policy) -> Policy {
    state.policy.outlives(policy, &state.needed_projects())
}

/// The projects with the values of all variables, shared by every effect and look.
type Projects = BTreeMap<ProjectId, Arc<ProjectPolicy>>;

fn projects_of(live: &Live) -> Projects {
    live.projects.iter().map(|(id, project)| (id.clone(), Arc::new(project.clone()))).collect()
}

/// What an effect on a session works with.
#[derive(Debug, Clone)]
pub(super) struct Work {
    pub(super) session: Session,
    pub(super) project: Arc<ProjectPolicy>,
    pub(super) plugins: ProjectPlugins,
}

impl Work {
    fn handle(&self) -> Result<&RuntimeHandle, PluginError> {
        self.session.handle.as_ref().ok_or_else(|| {
            PluginError::new(
                ErrorKind::NotFound,
                format!("{} does not run", self.session.id),
                "it has no runtime",
            )
        })
    }

    /// Where the agent works: the workspace, or the configured part of it.
    fn cwd(&self) -> Result<PathBuf, PluginError> {
        let workspace = self.session.workspace.as_ref().ok_or_else(|| {
            PluginError::new(
                ErrorKind::NotFound,
                format!("{} has no workspace", self.session.id),
                "",
            )
        })?;
        Ok(match &self.project.subdir {
            Some(subdir) => workspace.path.join(subdir),
            None => workspace.path.clone(),
        })
    }
}

/// Plugins by name, with their default settings. A plugin may count what it does, so there is one of each.
#[derive(Default)]
struct Others {
    agents: HashMap<String, Arc<dyn Agent>>,
    runtimes: HashMap<String, Arc<dyn Runtime>>,
}

fn kept<T: ?Sized>(
    known: &mut HashMap<String, Arc<T>>,
    name: &str,
    build: impl FnOnce() -> Result<Arc<T>, PluginError>,
) -> Result<Arc<T>, PluginError> {
    if let Some(known) = known.get(name) {
        return Ok(known.clone());
    }
    let built = build()?;
    known.insert(name.to_owned(), built.clone());
    Ok(built)
}

fn swap<T>(place: &RwLock<Arc<T>>, new: Arc<T>) -> Arc<T> {
    std::mem::replace(&mut *place.write().unwrap_or_else(PoisonError::into_inner), new)
}

/// What a plugin answers within its limit and a second more. One that panics, or never answers, is in doubt:
/// it must not hold up what called it.
pub(super) async fn within<T, E: From<PluginError>>(
    limit: Duration,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let mut call = std::pin::pin!(call);
    let caught = std::future::poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(cx)));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(answer)) => Poll::Ready(answer),
            Err(panic) => {
                let words = super::run::words_of(&*panic);
                Poll::Ready(Err(PluginError::in_doubt("the plugin panicked", words).into()))
            }
        }
    });
    let late = |_| Err(PluginError::in_doubt("no answer in time", "").into());
    tokio::time::timeout(limit + GRACE, caught).await.unwrap_or_else(late)
}

fn no_such(why: &str) -> Failure {
    PluginError::permanent(why, "").into()
}

/// Names a channel in an error.
fn no_channel(channel: &ChannelName) -> PluginError {
    PluginError::permanent(format!("there is no channel `{channel}`"), "it is no longer configured")
}
