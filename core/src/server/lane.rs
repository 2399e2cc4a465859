//! Lanes: effects performed one at a time a session and a channel, each with a deadline of the host's own.
//!
//! An effect arrives here only after its intent is durable. What becomes of it goes back to the loop as an
//! input. One that nobody knows the end of is settled by looking (decision record 003).

mod agent;
mod notify;
mod place;

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use ao_slots::{
    Call, ChannelName, ErrorKind, PluginError, ProjectId, RequestId, Seq, SessionId,
    plugin::BuildContext, runtime::RuntimeHandle,
};
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
};

use super::{
    clock::Clock,
    handle::{Handle, Served},
};
use crate::{
    config::{
        Live,
        policy::{Policy, ProjectPolicy},
    },
    decide::{Input, Refusal, RefusalKind},
    disk::Disk,
    event::{Effect, Event, Failure, Kind, Outcome},
    journal::Reader,
    registry::{Plugins, ProjectPlugins, Registry},
    state::{Lane, Now, Session, State},
};

pub(super) use agent::content_hash;
pub(super) use notify::receive;

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

/// What performs effects: the plugins and everything that is not state.
pub(super) struct Shell {
    served: Arc<Served>,
    registry: Registry,
    context: BuildContext,
    plugins: RwLock<Arc<Plugins>>,
    live: RwLock<Arc<Live>>,
    clock: Arc<dyn Clock>,
    reader: Reader,
    disk: Arc<dyn Disk>,
    stop: watch::Sender<bool>,
    running: Mutex<HashMap<Lane, (Seq, AbortHandle)>>,
    waiters: Mutex<HashMap<RequestId, mpsc::Sender<HandOver>>>,
    tokens: Mutex<HashMap<SessionId, String>>,
    /// `ao`'s own files of each session: path → content's hash.
    pub(super) guarded: Mutex<BTreeMap<PathBuf, (SessionId, String)>>,
    /// Sessions whose workspace is to be looked at soon.
    pub(super) looks: mpsc::UnboundedSender<SessionId>,
    pub(super) looks_wanted: Mutex<Option<mpsc::UnboundedReceiver<SessionId>>>,
    /// How far each transcript was read.
    pub(super) read: Mutex<HashMap<SessionId, super::sweep::Transcript>>,
    /// One resume or spawn of a repository at a time is the workspace plugin's matter; this bounds all.
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
        Self {
            served,
            registry,
            context,
            plugins: RwLock::new(Arc::new(plugins)),
            live: RwLock::new(Arc::new(live)),
            clock,
            reader,
            disk,
            stop,
            running: Mutex::default(),
            waiters: Mutex::default(),
            tokens: Mutex::default(),
            guarded: Mutex::default(),
            looks,
            looks_wanted: Mutex::new(Some(looks_wanted)),
            read: Mutex::default(),
            spawns: tokio::sync::Semaphore::new(4),
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

    pub(super) async fn events(&self, after: Seq, limit: usize) -> Result<Vec<Event>, Refusal> {
        let reader = self.reader.clone();
        let last = after.0.saturating_add(limit as u64);
        let read = tokio::task::spawn_blocking(move || {
            let mut events = vec![];
            let mut lines = reader.read(after.0 + 1..=last)?;
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

    /// Builds another policy's plugins, then lets it rule. A failed build changes nothing.
    pub(super) async fn apply_policy(
        &self,
        handle: &Handle,
        policy: Policy,
        live: Live,
    ) -> Result<(), PluginError> {
        let plugins = self.registry.build(&live, &self.context)?;
        *self.plugins.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(plugins);
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(live);
        let refused = |refusal: Refusal| {
            PluginError::transient("the configuration could not be recorded", refusal)
        };
        self.record_policy(handle, policy).await.map_err(refused)
    }

    pub(super) async fn record_policy(
        &self,
        handle: &Handle,
        policy: Policy,
    ) -> Result<(), Refusal> {
        let hash = policy_hash(&policy);
        let channels = self.plugins().channel_capabilities();
        handle.submit(Input::Config { hash, policy: Box::new(policy), channels }).await?;
        Ok(())
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
            Kind::KillRequested(_) => {
                if let Some(session) = &event.session {
                    self.interrupt(session);
                }
            }
            Kind::TurnEnded(_)
            | Kind::SessionReady(_)
            | Kind::CompletionClaimed(_)
            | Kind::RuntimeObserved(_) => {
                if let Some(session) = &event.session {
                    // The looker ends with the server.
                    let _ = self.looks.send(session.clone());
                }
            }
            Kind::SessionEnded(_) => {
                if let Some(session) = &event.session {
                    lock(&self.read).remove(session);
                    lock(&self.guarded).retain(|_, (owner, _)| owner != session);
                }
            }
            _ => {}
        }
    }

    /// Ends what a session's lane is doing: a kill must not wait for it.
    fn interrupt(&self, session: &SessionId) {
        if let Some((_, running)) = lock(&self.running).get(&Lane::Session(session.clone())) {
            running.abort();
        }
    }

    fn lane_of(&self, seq: Seq) -> Option<Lane> {
        self.state().intents.get(&seq).map(|intent| intent.lane.clone())
    }

    fn perform(self: &Arc<Self>, handle: &Handle, seq: Seq, effect: &Effect) {
        let Some(lane) = self.lane_of(seq) else { return };
        let (shell, effect, owner) = (self.clone(), effect.clone(), lane.clone());
        self.start(handle, seq, lane, async move {
            match tokio::time::timeout(
                shell.limit(&effect) + GRACE,
                shell.effect(seq, &owner, &effect),
            )
            .await
            {
                Ok(result) => result,
                Err(_) => Err(PluginError::in_doubt("no answer in time", "").into()),
            }
        });
    }

    /// Finds out what became of an effect in doubt.
    pub(super) fn settle(self: &Arc<Self>, handle: &Handle, seq: Seq) {
        let Some((lane, effect)) =
            self.state().intents.get(&seq).map(|i| (i.lane.clone(), i.effect.clone()))
        else {
            return;
        };
        let (shell, owner) = (self.clone(), lane.clone());
        self.start(handle, seq, lane, async move { shell.look(seq, &owner, &effect).await });
    }

    /// Runs an effect's future on its lane, and tells the loop what became of it, whatever that is.
    fn start(
        self: &Arc<Self>,
        handle: &Handle,
        seq: Seq,
        lane: Lane,
        work: impl Future<Output = Result<Outcome, Failure>> + Send + 'static,
    ) {
        let (shell, handle, key) = (self.clone(), handle.clone(), lane.clone());
        let task = tokio::spawn(work);
        lock(&self.running).insert(lane, (seq, task.abort_handle()));
        tokio::spawn(async move {
            let result = match task.await {
                Ok(result) => result,
                Err(error) if error.is_cancelled() => {
                    Err(PluginError::in_doubt("interrupted", "").into())
                }
                Err(error) => Err(PluginError::in_doubt("the plugin panicked", error).into()),
            };
            {
                let mut running = lock(&shell.running);
                if running.get(&key).is_some_and(|(mine, _)| *mine == seq) {
                    running.remove(&key);
                }
            }
            shell.report(&handle, seq, result).await;
        });
    }

    /// An outcome is told until it is recorded: nothing may be done twice because a disk was full.
    async fn report(&self, handle: &Handle, seq: Seq, result: Result<Outcome, Failure>) {
        loop {
            let input = Input::Effect { intent: seq, result: result.clone() };
            match handle.submit(input).await {
                Err(refusal)
                    if refusal.kind == RefusalKind::Unavailable && !*self.stop.borrow() =>
                {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                _ => return,
            }
        }
    }

    fn limit(&self, effect: &Effect) -> Duration {
        let limits = self.state().policy.lifecycle.limits;
        let ms = match effect {
            Effect::FetchIssue => limits.scm_ms,
            Effect::CreateWorkspace { .. } | Effect::RestoreWorkspace => {
                limits.worktree_ms + limits.fetch_ms
            }
            Effect::DestroyWorkspace { .. } => limits.worktree_ms,
            Effect::PostCreate => limits.post_create_ms,
            Effect::CreateRuntime { .. } | Effect::DestroyRuntime { .. } => {
                limits.runtime_create_ms
            }
            Effect::TypeMessage { .. } | Effect::DecideRequest { .. } => limits.prompt_confirm_ms,
            Effect::SendNotification { .. }
            | Effect::UpdateNotification { .. }
            | Effect::ResolveNotification { .. } => limits.notify_ms,
        };
        Duration::from_millis(ms)
    }

    fn call(&self, key: String, effect: &Effect) -> Call {
        Call::new(key, self.limit(effect))
    }

    fn key(&self, seq: Seq) -> String {
        format!("{}-{}", self.context.instance, seq.0)
    }

    async fn effect(&self, seq: Seq, lane: &Lane, effect: &Effect) -> Result<Outcome, Failure> {
        match lane {
            Lane::Channel(channel) => self.notify(channel, effect).await,
            Lane::Session(id) => {
                let work = self.work(id)?;
                let call = self.call(self.key(seq), effect);
                match effect {
                    Effect::FetchIssue => self.fetch_issue(&work, &call).await,
                    Effect::CreateWorkspace { branch, path, base } => {
                        let _permit = self.spawns.acquire().await;
                        self.create_workspace(&work, &call, branch, path, base).await
                    }
                    Effect::RestoreWorkspace => self.restore_workspace(&work, &call).await,
                    Effect::PostCreate => self.post_create(&work, &call).await,
                    Effect::DestroyWorkspace { removal } => {
                        self.destroy_workspace(&work, &call, *removal).await
                    }
                    Effect::CreateRuntime { launch, resume } => {
                        self.create_runtime(&work, &call, *launch, *resume).await
                    }
                    Effect::DestroyRuntime { launch } => {
                        self.destroy_runtime(&work, &call, *launch).await
                    }
                    Effect::TypeMessage { message } => {
                        self.type_message(&work, &call, *message).await
                    }
                    Effect::DecideRequest { request } => {
                        self.decide_request(&work, &call, *request).await
                    }
                    Effect::SendNotification { .. }
                    | Effect::UpdateNotification { .. }
                    | Effect::ResolveNotification { .. } => {
                        Err(no_such("channel effects have a channel's lane"))
                    }
                }
            }
        }
    }

    /// The table of effects in doubt: what is looked for, and what follows. Effects whose plugin call adopts
    /// what an earlier one made are simply called again.
    async fn look(&self, seq: Seq, lane: &Lane, effect: &Effect) -> Result<Outcome, Failure> {
        match (lane, effect) {
            (Lane::Channel(channel), Effect::SendNotification { .. }) => {
                self.find_notification(channel, effect).await
            }
            (Lane::Session(id), Effect::TypeMessage { message }) => {
                let work = self.work(id)?;
                self.look_for_message(&work, *message).await
            }
            (Lane::Session(id), Effect::PostCreate) => {
                // Half-run set-up commands leave a workspace that nobody knows: it is made anew.
                let work = self.work(id)?;
                self.remake_workspace(&work, &self.call(self.key(seq), effect)).await?;
                self.effect(seq, lane, effect).await
            }
            _ => {
                for wait in [0, 1, 2, 4, 8, 15, 30] {
                    tokio::time::sleep(Duration::from_secs(wait)).await;
                    let tried = tokio::time::timeout(
                        self.limit(effect) + GRACE,
                        self.effect(seq, lane, effect),
                    )
                    .await;
                    match tried {
                        Ok(Err(failure)) if failure.kind == ErrorKind::InDoubt => {}
                        Ok(result) => return result,
                        Err(_) => {}
                    }
                }
                Err(PluginError::in_doubt("it cannot be told what became of it", "").into())
            }
        }
    }

    /// A session with its project and plugins, as they are now.
    fn work(&self, id: &SessionId) -> Result<Work, Failure> {
        let state = self.state();
        let session =
            state.sessions.get(id).ok_or_else(|| no_such("the session is unknown"))?.clone();
        drop(state);
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner).clone();
        let project = live.projects.get(&session.project);
        let project =
            project.ok_or_else(|| no_such("its project is no longer configured"))?.clone();
        let plugins = self.plugins();
        let mut plugins = plugins
            .projects
            .get(&session.project)
            .ok_or_else(|| no_such("its project is no longer configured"))?
            .clone();
        if session.agent != project.agent.plugin {
            plugins.agent = self.registry.agent(&session.agent, &self.context)?;
        }
        Ok(Work { session, project, plugins })
    }

    pub(super) fn work_of(&self, id: &SessionId) -> Option<Work> {
        self.work(id).ok()
    }

    /// The agent plugin by name: of a session's project, or built with its defaults.
    pub(super) fn agent_named(
        &self,
        name: &str,
    ) -> Result<Arc<dyn ao_slots::agent::Agent>, PluginError> {
        self.registry.agent(name, &self.context)
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
        Ok(work.plugins.runtime.capture(&call, handle, lines).await?.lines)
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
        work.plugins.terminal.open(&Call::new("open", Duration::from_secs(5)), &request).await
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

    pub(super) fn add_waiter(&self, request: RequestId, waiter: mpsc::Sender<HandOver>) {
        lock(&self.waiters).insert(request, waiter);
    }

    pub(super) fn remove_waiter(&self, request: RequestId, waiter: &mpsc::Sender<HandOver>) {
        let mut waiters = lock(&self.waiters);
        if waiters.get(&request).is_some_and(|known| known.same_channel(waiter)) {
            waiters.remove(&request);
        }
    }

    fn waiter(&self, request: RequestId) -> Option<mpsc::Sender<HandOver>> {
        lock(&self.waiters).get(&request).filter(|waiter| !waiter.is_closed()).cloned()
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

/// What an effect on a session works with.
#[derive(Debug, Clone)]
pub(super) struct Work {
    pub(super) session: Session,
    pub(super) project: ProjectPolicy,
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

fn no_such(why: &str) -> Failure {
    PluginError::permanent(why, "").into()
}

/// SHA-256 of a policy's canonical JSON.
pub(super) fn policy_hash(policy: &Policy) -> String {
    use sha2::{Digest, Sha256};
    let json = serde_json::to_vec(policy).unwrap_or_default();
    Sha256::digest(&json).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Names a channel in an error.
fn no_channel(channel: &ChannelName) -> PluginError {
    PluginError::permanent(format!("there is no channel `{channel}`"), "it is no longer configured")
}
