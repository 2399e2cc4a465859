//! Plugins that live in memory and misbehave on command.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use ao_conformance::{notifier::fake::Channel, runtime::fake::FakeRuntime, scm::fake::Vendor};
use ao_core::registry::Registry;
use ao_slots::{
    Call, ErrorKind, Launch, PluginError, SessionId,
    agent::{
        Agent, AgentCapabilities, AgentCheck, AgentConfig, AgentRequest, Decision, Dialog,
        HookReport, InputMode, Introspection, LaunchPlan, LaunchRequest, PlannedFile,
        PromptDelivery, Signal, Usage,
    },
    call::Answer,
    fact::WorkFacts,
    notifier::{
        ChannelHandle, ChannelKind, IncomingAction, Message, Notifier, NotifierCapabilities,
        Reached, Receipt,
    },
    plugin::{BuildContext, Plugin, Registration},
    process::ProcessId,
    runtime::{
        AttachInfo, CreateRuntime, ExecOutput, FileAnswer, FileRequest, Key, Reach, Runtime,
        RuntimeCapabilities, RuntimeHandle, RuntimeMetrics, RuntimeProbe, Screen,
    },
    scm::Scm,
    terminal::{OpenRequest, Opened, Terminal},
    workspace::{
        CreateWorkspace, FoundWorkspace, PostCreate, PostCreateDone, Removal, Removed, RepoInfo,
        Workspace, WorkspaceHandle, WorkspaceInfo,
    },
};
use serde_json::Value;

/// How a call goes.
#[derive(Debug, Clone)]
pub(crate) enum Mood {
    /// It never returns, and does nothing.
    Hangs,
    /// It does what it should, and never returns.
    DoesAndHangs,
    /// It does what it should after that long.
    Slow(Duration),
    /// It panics.
    Panics,
    /// It fails.
    Fails(PluginError),
}

/// Makes calls go wrong, and counts them.
#[derive(Debug, Default)]
pub(crate) struct Rig {
    moods: Mutex<Vec<(String, String, Mood, u32)>>,
    calls: Mutex<BTreeMap<(String, String), u32>>,
    /// The plugin whose next build waits until the other end is gone.
    held: Mutex<Option<(String, mpsc::Receiver<()>)>>,
}

impl Rig {
    /// Lets the next `times` calls of `op` for `who` (empty = anyone) go like that.
    pub(crate) fn set(&self, op: &str, who: &str, mood: Mood, times: u32) {
        self.moods.lock().unwrap().push((op.into(), who.into(), mood, times));
    }

    /// All goes well again. Calls that hang go on hanging.
    pub(crate) fn heal(&self) {
        self.moods.lock().unwrap().clear();
    }

    /// Lets the next build of this plugin wait until what is returned is dropped.
    pub(crate) fn hold_build(&self, plugin: &str) -> mpsc::Sender<()> {
        let (release, held) = mpsc::channel();
        *self.held.lock().unwrap() = Some((plugin.into(), held));
        release
    }

    fn build(&self, plugin: &str) {
        self.count(&format!("{plugin}.build"), "");
        let held = self.held.lock().unwrap().take_if(|(held, _)| held == plugin);
        if let Some((_, held)) = held {
            let _ = held.recv();
        }
    }

    fn count(&self, op: &str, who: &str) {
        *self.calls.lock().unwrap().entry((op.into(), who.into())).or_default() += 1;
    }

    /// How often `op` was called for `who`.
    pub(crate) fn calls(&self, op: &str, who: &str) -> u32 {
        self.calls.lock().unwrap().get(&(op.into(), who.into())).copied().unwrap_or(0)
    }

    async fn call<T>(
        &self,
        op: &str,
        who: &str,
        work: impl Future<Output = Result<T, PluginError>>,
    ) -> Result<T, PluginError> {
        self.count(op, who);
        let mood = {
            let mut moods = self.moods.lock().unwrap();
            let meant = |(o, w, _, times): &&mut (String, String, Mood, u32)| {
                o == op && (w.is_empty() || w == who) && *times > 0
            };
            moods.iter_mut().find(meant).map(|(_, _, mood, times)| {
                *times -= 1;
                mood.clone()
            })
        };
        match mood {
            None => work.await,
            Some(Mood::Hangs) => std::future::pending().await,
            Some(Mood::DoesAndHangs) => {
                let _ = work.await;
                std::future::pending().await
            }
            Some(Mood::Slow(wait)) => {
                tokio::time::sleep(wait).await;
                work.await
            }
            Some(Mood::Panics) => panic!("{op} for {who} panics, as the test wants"),
            Some(Mood::Fails(error)) => Err(error),
        }
    }
}

/// The fakes of one server: they outlive it, as the world does.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fakes {
    pub(crate) rig: Arc<Rig>,
    /// What the rigged runtime does its work with.
    pub(crate) runtime: FakeRuntime,
    /// The same for the runtime `process`.
    pub(crate) other_runtime: FakeRuntime,
    pub(crate) hall: Arc<Hall>,
    /// A channel that edits, finds and knows keys.
    pub(crate) channel: Arc<Channel>,
    /// Whether a look at that channel finds that it can do none of it, and whether one has.
    pub(crate) finds_old: Arc<AtomicBool>,
    is_old: Arc<AtomicBool>,
    /// A channel that can do nothing of that.
    pub(crate) letters: Arc<Letters>,
    pub(crate) workspace: Arc<Desk>,
}

static FAKES: LazyLock<Mutex<HashMap<PathBuf, Fakes>>> = LazyLock::new(Mutex::default);

impl Fakes {
    /// Plugins are built by plain functions, which find their fakes by the server's run folder.
    pub(crate) fn register(run_dir: &Path) -> Self {
        let fakes = Self::default();
        FAKES.lock().unwrap().insert(run_dir.to_owned(), fakes.clone());
        fakes
    }

    /// The runtime's own server dies with all agents in it.
    pub(crate) fn lose_runtime(&self) {
        self.hall.end();
        self.runtime.lose_all();
    }
}

fn fakes(context: &BuildContext) -> Fakes {
    FAKES.lock().unwrap()[&context.run_dir].clone()
}

fn registration<T: ?Sized>(
    name: &'static str,
    build: fn(&Value, &BuildContext) -> Result<Arc<T>, PluginError>,
) -> Registration<T> {
    Registration {
        name,
        about: "",
        schema: || schemars::json_schema!({}),
        check: |_| Ok(()),
        build,
    }
}

/// The vendor of this name, whose pull requests lie in memory.
pub(crate) fn vendor(name: &str) -> Arc<Vendor> {
    static VENDORS: LazyLock<Mutex<BTreeMap<String, Arc<Vendor>>>> = LazyLock::new(Mutex::default);
    VENDORS.lock().unwrap().entry(name.to_owned()).or_default().clone()
}

pub(crate) fn registry() -> Registry {
    Registry::new([
        Plugin::Runtime(registration::<dyn Runtime>("tmux", |_, c| {
            Rigged::build(c, "runtime", |rigged| Arc::new(rigged))
        })),
        Plugin::Runtime(registration::<dyn Runtime>("process", |_, c| {
            Rigged::build(c, "process", |rigged| Arc::new(rigged))
        })),
        Plugin::Agent(registration::<dyn Agent>("claude-code", |_, _| Ok(Arc::new(Teller)))),
        Plugin::Workspace(registration::<dyn Workspace>("worktree", |_, c| {
            Rigged::build(c, "workspace", |rigged| Arc::new(rigged))
        })),
        Plugin::Terminal(registration::<dyn Terminal>("auto", |_, c| {
            Rigged::build(c, "terminal", |rigged| Arc::new(rigged))
        })),
        Plugin::Notifier(registration::<dyn Notifier>("desktop", |_, c| {
            Rigged::build(c, "channel", |rigged| Arc::new(rigged))
        })),
        Plugin::Notifier(registration::<dyn Notifier>("letters", |_, c| Ok(fakes(c).letters))),
        Plugin::Scm(registration::<dyn Scm>("vendor", |settings, _| {
            Ok(vendor(settings["name"].as_str().unwrap_or_default()))
        })),
    ])
}

/// The fakes behind the rig.
#[derive(Debug)]
struct Rigged {
    fakes: Fakes,
    /// The plugin's name: another runtime, with its own moods and processes.
    name: &'static str,
}

impl Rigged {
    fn build<T: ?Sized>(
        context: &BuildContext,
        name: &'static str,
        slot: fn(Self) -> Arc<T>,
    ) -> Result<Arc<T>, PluginError> {
        let fakes = fakes(context);
        fakes.rig.build(name);
        Ok(slot(Self { fakes, name }))
    }

    fn runtime(&self) -> &FakeRuntime {
        if self.name == "process" { &self.fakes.other_runtime } else { &self.fakes.runtime }
    }

    async fn rig<T>(
        &self,
        op: &str,
        who: &str,
        work: impl Future<Output = Result<T, PluginError>>,
    ) -> Result<T, PluginError> {
        self.fakes.rig.call(&format!("{}.{op}", self.name), who, work).await
    }
}

/// The process that a runtime's server would be.
#[derive(Debug, Default)]
pub(crate) struct Hall(Mutex<(Option<Child>, bool)>);

impl Hall {
    fn process(&self) -> Option<ProcessId> {
        let (child, closed) = &mut *self.0.lock().unwrap();
        if child.is_none() && !*closed {
            let mut sleep = Command::new("sleep");
            sleep.arg("600").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            *child = Some(sleep.spawn().unwrap());
        }
        ProcessId::of(child.as_ref()?.id().cast_signed())
    }

    fn end(&self) {
        let child = self.0.lock().unwrap().0.take();
        if let Some(mut child) = child {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// For good: whatever still runs starts no other.
    pub(crate) fn close(&self) {
        self.0.lock().unwrap().1 = true;
        self.end();
    }
}

#[async_trait::async_trait]
impl Runtime for Rigged {
    fn capabilities(&self) -> RuntimeCapabilities {
        self.runtime().capabilities()
    }
    async fn create(
        &self,
        call: &Call,
        request: &CreateRuntime,
    ) -> Result<RuntimeHandle, PluginError> {
        let made = self.runtime().create(call, request);
        let handle = self.rig("create", request.session.as_str(), made).await?;
        Ok(RuntimeHandle { server: self.fakes.hall.process(), ..handle })
    }
    async fn adopt(
        &self,
        call: &Call,
        session: &SessionId,
        launch: Launch,
    ) -> Result<Answer<RuntimeHandle>, PluginError> {
        let found = self.runtime().adopt(call, session, launch);
        let server = self.fakes.hall.process();
        Ok(match self.rig("adopt", session.as_str(), found).await? {
            Answer::Yes(handle) => Answer::Yes(RuntimeHandle { server, ..handle }),
            other => other,
        })
    }
    async fn destroy(&self, call: &Call, handle: &RuntimeHandle) -> Result<(), PluginError> {
        let gone = self.runtime().destroy(call, handle);
        self.rig("destroy", handle.session.as_str(), gone).await
    }
    async fn type_text(
        &self,
        call: &Call,
        handle: &RuntimeHandle,
        text: &str,
    ) -> Result<(), PluginError> {
        let typed = self.runtime().type_text(call, handle, text);
        self.rig("type", handle.session.as_str(), typed).await
    }
    async fn press(
        &self,
        call: &Call,
        handle: &RuntimeHandle,
        keys: &[Key],
    ) -> Result<(), PluginError> {
        self.runtime().press(call, handle, keys).await
    }
    async fn capture(
        &self,
        call: &Call,
        handle: &RuntimeHandle,
        lines: u32,
    ) -> Result<Screen, PluginError> {
        let screen = self.runtime().capture(call, handle, lines);
        self.rig("capture", handle.session.as_str(), screen).await
    }
    async fn probe(
        &self,
        call: &Call,
        handles: &[RuntimeHandle],
    ) -> Result<Vec<RuntimeProbe>, PluginError> {
        let probes = self.runtime().probe(call, handles);
        self.rig("probe", "", probes).await
    }
    async fn read(
        &self,
        call: &Call,
        files: &[FileRequest],
    ) -> Result<Vec<FileAnswer>, PluginError> {
        self.runtime().read(call, files).await
    }
    async fn exec(
        &self,
        call: &Call,
        handle: &RuntimeHandle,
        argv: &[String],
    ) -> Result<ExecOutput, PluginError> {
        self.runtime().exec(call, handle, argv).await
    }
    fn attach_info(&self, handle: &RuntimeHandle) -> AttachInfo {
        self.runtime().attach_info(handle)
    }
    async fn metrics(
        &self,
        call: &Call,
        handle: &RuntimeHandle,
    ) -> Result<RuntimeMetrics, PluginError> {
        self.runtime().metrics(call, handle).await
    }
    fn reach(&self) -> Reach {
        self.runtime().reach()
    }
}

#[async_trait::async_trait]
impl Notifier for Rigged {
    fn capabilities(&self) -> NotifierCapabilities {
        let can = self.fakes.channel.capabilities();
        match self.fakes.is_old.load(Ordering::SeqCst) {
            true => NotifierCapabilities { edits: false, idempotent: false, finds: false, ..can },
            false => can,
        }
    }
    async fn send(&self, call: &Call, message: &Message) -> Result<Receipt, PluginError> {
        let sent = self.fakes.channel.send(call, message);
        self.rig("send", "", sent).await
    }
    async fn update(
        &self,
        call: &Call,
        handle: &ChannelHandle,
        message: &Message,
    ) -> Result<Receipt, PluginError> {
        let updated = self.fakes.channel.update(call, handle, message);
        self.rig("update", "", updated).await
    }
    async fn resolve(
        &self,
        call: &Call,
        handle: &ChannelHandle,
        message: &Message,
    ) -> Result<(), PluginError> {
        let resolved = self.fakes.channel.resolve(call, handle, message);
        self.rig("resolve", "", resolved).await
    }
    async fn post(&self, call: &Call, text: &str) -> Result<Receipt, PluginError> {
        self.fakes.channel.post(call, text).await
    }
    async fn find(&self, call: &Call, key: &str) -> Result<Answer<ChannelHandle>, PluginError> {
        let found = self.fakes.channel.find(call, key);
        self.rig("find", "", found).await
    }
    async fn check(&self, _: &Call) -> Result<(), PluginError> {
        self.rig("check", "", async {
            let found = self.fakes.finds_old.load(Ordering::SeqCst);
            self.fakes.is_old.store(found, Ordering::SeqCst);
            Ok(())
        })
        .await
    }
    async fn receive(&self) -> Result<IncomingAction, PluginError> {
        self.rig("receive", "", self.fakes.channel.receive()).await
    }
    fn taken(&self, _: &IncomingAction, recorded: bool) {
        self.fakes.rig.count("channel.taken", if recorded { "recorded" } else { "lost" });
    }
}

#[async_trait::async_trait]
impl Workspace for Rigged {
    async fn inspect(&self, call: &Call, repo: &Path) -> Result<RepoInfo, PluginError> {
        self.fakes.workspace.inspect(call, repo).await
    }
    async fn create(
        &self,
        call: &Call,
        request: &CreateWorkspace,
    ) -> Result<WorkspaceInfo, PluginError> {
        let made = self.fakes.workspace.create(call, request);
        self.rig("create", request.session.as_str(), made).await
    }
    async fn find(
        &self,
        call: &Call,
        handle: &WorkspaceHandle,
    ) -> Result<Answer<WorkspaceInfo>, PluginError> {
        self.fakes.workspace.find(call, handle).await
    }
    async fn restore(
        &self,
        call: &Call,
        handle: &WorkspaceHandle,
    ) -> Result<WorkspaceInfo, PluginError> {
        let restored = self.fakes.workspace.restore(call, handle);
        self.rig("restore", handle.session.as_str(), restored).await
    }
    async fn probe(
        &self,
        call: &Call,
        handle: &WorkspaceHandle,
    ) -> Result<Answer<WorkFacts>, PluginError> {
        let facts = self.fakes.workspace.probe(call, handle);
        self.rig("probe", handle.session.as_str(), facts).await
    }
    async fn destroy(
        &self,
        call: &Call,
        handle: &WorkspaceHandle,
        removal: Removal,
    ) -> Result<Removed, PluginError> {
        let removed = self.fakes.workspace.destroy(call, handle, removal);
        self.rig("destroy", handle.session.as_str(), removed).await
    }
    async fn list(
        &self,
        call: &Call,
        repo: &Path,
        root: &Path,
    ) -> Result<Vec<FoundWorkspace>, PluginError> {
        self.fakes.workspace.list(call, repo, root).await
    }
    async fn post_create(
        &self,
        call: &Call,
        request: &PostCreate,
    ) -> Result<PostCreateDone, PluginError> {
        let done = self.fakes.workspace.post_create(call, request);
        let session = request.path.file_name().unwrap_or_default().to_string_lossy();
        self.rig("setup", &session, done).await
    }
}

/// A channel that only sends: it cannot find, edit, or tell a repetition. It keeps what it took.
#[derive(Debug, Default)]
pub(crate) struct Letters {
    pub(crate) rig: Rig,
    taken: Mutex<Vec<(String, Message)>>,
    /// When each send was begun, and for which session.
    pub(crate) begun: Mutex<Vec<(Option<SessionId>, Instant)>>,
    /// More than one send was under way at a time.
    pub(crate) crossed: AtomicU64,
    under_way: AtomicU64,
}

impl Letters {
    /// Every letter that was taken: its key and what it said.
    pub(crate) fn taken(&self) -> Vec<(String, Message)> {
        self.taken.lock().unwrap().clone()
    }
}

#[async_trait::async_trait]
impl Notifier for Letters {
    fn capabilities(&self) -> NotifierCapabilities {
        NotifierCapabilities {
            title_limit: 90,
            body_limit: 1_200,
            ..NotifierCapabilities::plain(ChannelKind::Chat)
        }
    }
    async fn send(&self, call: &Call, message: &Message) -> Result<Receipt, PluginError> {
        struct Leaves<'a>(&'a AtomicU64);
        impl Drop for Leaves<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        self.begun.lock().unwrap().push((message.session.clone(), Instant::now()));
        if self.under_way.fetch_add(1, Ordering::SeqCst) > 0 {
            self.crossed.fetch_add(1, Ordering::SeqCst);
        }
        let _leaves = Leaves(&self.under_way);
        let take = async {
            tokio::task::yield_now().await;
            self.taken.lock().unwrap().push((call.key.clone(), message.clone()));
            Ok(Receipt { handle: None, reached: Reached::Accepted })
        };
        self.rig.call("send", "", take).await
    }
    async fn update(
        &self,
        _: &Call,
        _: &ChannelHandle,
        _: &Message,
    ) -> Result<Receipt, PluginError> {
        Err(PluginError::unsupported("update"))
    }
    async fn resolve(&self, _: &Call, _: &ChannelHandle, _: &Message) -> Result<(), PluginError> {
        Err(PluginError::unsupported("resolve"))
    }
    async fn post(&self, _: &Call, _: &str) -> Result<Receipt, PluginError> {
        Err(PluginError::unsupported("post"))
    }
    async fn find(&self, _: &Call, _: &str) -> Result<Answer<ChannelHandle>, PluginError> {
        Ok(Answer::Unknown("letters are not found again".into()))
    }
    async fn receive(&self) -> Result<IncomingAction, PluginError> {
        std::future::pending().await
    }
}

/// An agent whose hooks are the signals themselves.
#[derive(Debug)]
struct Teller;

#[async_trait::async_trait]
impl Agent for Teller {
    fn capabilities(&self, config: &AgentConfig) -> AgentCapabilities {
        let screen = config.model.as_deref() == Some("screen");
        AgentCapabilities {
            answerable: vec!["Tell".into()],
            takes_messages: vec!["Stop".into()],
            resume: config.model.as_deref() != Some("forgets"),
            input: if screen { InputMode::Paste } else { InputMode::Stdin },
            screen,
            free_answers: true,
        }
    }
    fn env_names(&self) -> Vec<String> {
        vec![]
    }
    fn plan_launch(&self, request: &LaunchRequest) -> Result<LaunchPlan, PluginError> {
        Ok(LaunchPlan {
            argv: vec!["sh".into()],
            env: BTreeMap::new(),
            files: vec![PlannedFile {
                path: request.agent_dir.join("settings.json"),
                content: format!("{{ \"session\": \"{}\" }}", request.session),
                guarded: true,
            }],
            prompt: PromptDelivery::Argument,
            native_id: None,
            transcript: None,
            signals: true,
            resumes: request.resume.is_some(),
        })
    }
    fn reduce_hook(&self, _: &str, payload: &[u8]) -> Result<HookReport, PluginError> {
        let signals = serde_json::from_slice(payload)
            .map_err(|e| PluginError::permanent("bad payload", e))?;
        Ok(HookReport { signals })
    }
    fn hook_reply(&self, _: &str, _: &[u8], decision: &Decision) -> Result<String, PluginError> {
        serde_json::to_string(decision).map_err(|e| PluginError::permanent("bad decision", e))
    }
    fn message_reply(&self, event: &str, _: &[u8], text: &str) -> Option<String> {
        (event == "Stop").then(|| format!("go on: {text}"))
    }
    /// A line is a token.
    fn introspect(&self, bytes: &[u8], _: &str) -> Introspection {
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        let usage = Usage { output_tokens: Some(lines), ..Usage::default() };
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at as u64 + 1);
        Introspection {
            consumed: whole,
            signals: vec![Signal::Usage(usage)],
            ..Introspection::default()
        }
    }
    fn status_file(&self, _: &LaunchRequest, _: ProcessId) -> Option<PathBuf> {
        None
    }
    fn read_status(&self, _: &[u8]) -> Option<Signal> {
        None
    }
    /// The last line says what the screen shows: `prompt` with a draft behind it, `busy` or `dialog`.
    fn match_dialog(&self, screen: &Screen) -> Dialog {
        let last = screen.lines.last().map_or("", String::as_str);
        match last.split_once(' ').unwrap_or((last, "")) {
            ("prompt", draft) => Dialog::Prompt { draft: draft.into(), busy: false },
            ("busy", _) => Dialog::Prompt { draft: String::new(), busy: true },
            ("dialog", _) => Dialog::Setup { text: "May it?".into() },
            _ => Dialog::Unknown,
        }
    }
    fn answer_keys(&self, _: &AgentRequest, _: &Decision, _: &Screen) -> Option<Vec<Key>> {
        None
    }
    async fn check(
        &self,
        _: &Call,
        _: &BTreeMap<String, String>,
        _: Option<&Path>,
    ) -> Result<AgentCheck, PluginError> {
        Err(PluginError::unsupported("check"))
    }
}

/// Workspaces that only exist as entries of a list.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    made: Mutex<BTreeMap<PathBuf, WorkFacts>>,
    /// What was asked to be made.
    pub(crate) asked: Mutex<Vec<CreateWorkspace>>,
}

impl Desk {
    /// What lies in the session's workspace from now on.
    pub(crate) fn set(&self, session: &SessionId, facts: WorkFacts) {
        let mut made = self.made.lock().unwrap();
        let path = made.keys().find(|path| path.ends_with(session.as_str())).cloned().unwrap();
        made.insert(path, facts);
    }

    pub(crate) fn has(&self, session: &SessionId) -> bool {
        self.made.lock().unwrap().keys().any(|path| path.ends_with(session.as_str()))
    }
}

#[async_trait::async_trait]
impl Workspace for Desk {
    async fn inspect(&self, _: &Call, _: &Path) -> Result<RepoInfo, PluginError> {
        Err(PluginError::unsupported("inspect"))
    }
    async fn create(
        &self,
        _: &Call,
        request: &CreateWorkspace,
    ) -> Result<WorkspaceInfo, PluginError> {
        self.asked.lock().unwrap().push(request.clone());
        self.made.lock().unwrap().entry(request.path.clone()).or_default();
        Ok(WorkspaceInfo {
            path: request.path.clone(),
            branch: request.branch.clone(),
            base_commit: "base".into(),
            branch_created: true,
            notes: vec![],
        })
    }
    async fn find(
        &self,
        _: &Call,
        _: &WorkspaceHandle,
    ) -> Result<Answer<WorkspaceInfo>, PluginError> {
        Ok(Answer::Unknown("not looked".into()))
    }
    async fn restore(
        &self,
        _: &Call,
        handle: &WorkspaceHandle,
    ) -> Result<WorkspaceInfo, PluginError> {
        self.made.lock().unwrap().entry(handle.path.clone()).or_default();
        Ok(WorkspaceInfo {
            path: handle.path.clone(),
            branch: handle.branch.clone(),
            base_commit: "base".into(),
            branch_created: false,
            notes: vec![],
        })
    }
    async fn probe(
        &self,
        _: &Call,
        handle: &WorkspaceHandle,
    ) -> Result<Answer<WorkFacts>, PluginError> {
        let made = self.made.lock().unwrap();
        Ok(made.get(&handle.path).map_or(Answer::No, |facts| Answer::Yes(facts.clone())))
    }
    async fn destroy(
        &self,
        _: &Call,
        handle: &WorkspaceHandle,
        removal: Removal,
    ) -> Result<Removed, PluginError> {
        let mut made = self.made.lock().unwrap();
        if made.get(&handle.path).is_some_and(|f| !f.is_clean() && removal == Removal::IfSafe) {
            return Err(PluginError::new(ErrorKind::Refused, "2 changed files would be lost", ""));
        }
        made.remove(&handle.path);
        Ok(Removed::default())
    }
    async fn list(&self, _: &Call, _: &Path, _: &Path) -> Result<Vec<FoundWorkspace>, PluginError> {
        let made = self.made.lock().unwrap();
        let found = made.iter().map(|(path, facts)| FoundWorkspace {
            path: path.clone(),
            branch: facts.branch.clone(),
            head: facts.head.clone(),
            locked: true,
        });
        Ok(found.collect())
    }
    async fn post_create(&self, _: &Call, _: &PostCreate) -> Result<PostCreateDone, PluginError> {
        Ok(PostCreateDone { failed: None, last_line: String::new(), lines: 0 })
    }
}

#[async_trait::async_trait]
impl Terminal for Rigged {
    async fn open(&self, _: &Call, request: &OpenRequest) -> Result<Opened, PluginError> {
        let hint = async { Ok(Opened::Hint("nothing to see".into())) };
        self.rig("open", request.session.as_str(), hint).await
    }
    async fn open_all(
        &self,
        _: &Call,
        requests: &[OpenRequest],
    ) -> Result<Vec<Opened>, PluginError> {
        Ok(requests.iter().map(|_| Opened::Hint(String::new())).collect())
    }
    async fn is_open(&self, _: &Call, _: &SessionId) -> Result<Answer<()>, PluginError> {
        Ok(Answer::No)
    }
}
