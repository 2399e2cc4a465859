//! A server on fakes: an agent that tells what the test says, a runtime, a workspace and a channel in memory.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use ao_conformance::{notifier::fake::Channel, runtime::fake::FakeRuntime};
use ao_core::{
    config::{
        policy::{PluginChoice, Policy},
        trigger::Trigger,
    },
    decide::{Answered, Refusal},
    disk::{Disk, RealDisk},
    event::Actor,
    journal::{Durability, Limits},
    registry::Registry,
    server::{Handle, HookAnswer, HookCall, Options, Server, SpawnCall, StartError, SystemClock},
    state::State,
};
use ao_slots::{
    Call, PluginError, SessionId,
    agent::{
        Agent, AgentCapabilities, AgentCheck, AgentConfig, AgentRequest, Ask, Decision, Dialog,
        HookReport, InputMode, Introspection, LaunchPlan, LaunchRequest, PromptDelivery, Signal,
    },
    call::Answer,
    fact::WorkFacts,
    notifier::{Message, Notifier},
    plugin::{BuildContext, Plugin, Registration},
    process::ProcessId,
    runtime::{Key, Runtime, Screen},
    terminal::{OpenRequest, Opened, Terminal},
    workspace::{
        CreateWorkspace, FoundWorkspace, PostCreate, PostCreateDone, Removal, Removed, RepoInfo,
        Workspace, WorkspaceHandle, WorkspaceInfo,
    },
};
use serde_json::Value;

/// The fakes of one server, found by its data directory: factories are plain functions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fakes {
    pub(crate) runtime: FakeRuntime,
    pub(crate) channel: Arc<Channel>,
    pub(crate) workspace: Arc<Desk>,
}

static FAKES: LazyLock<Mutex<HashMap<PathBuf, Fakes>>> = LazyLock::new(Mutex::default);

fn fakes(context: &BuildContext) -> Fakes {
    FAKES.lock().unwrap().get(&context.data_dir).cloned().unwrap_or_default()
}

fn ok(_: &Value) -> Result<(), PluginError> {
    Ok(())
}

fn registration<T: ?Sized>(
    name: &'static str,
    build: fn(&Value, &BuildContext) -> Result<Arc<T>, PluginError>,
) -> Registration<T> {
    Registration { name, about: "", schema: || schemars::json_schema!({}), check: ok, build }
}

fn registry() -> Registry {
    Registry::new([
        Plugin::Runtime(registration::<dyn Runtime>("tmux", |_, c| Ok(Arc::new(fakes(c).runtime)))),
        Plugin::Agent(registration::<dyn Agent>("claude-code", |_, _| Ok(Arc::new(Teller)))),
        Plugin::Workspace(registration::<dyn Workspace>("worktree", |_, c| Ok(fakes(c).workspace))),
        Plugin::Terminal(registration::<dyn Terminal>("auto", |_, _| Ok(Arc::new(Blind)))),
        Plugin::Notifier(registration::<dyn Notifier>("desktop", |_, c| Ok(fakes(c).channel))),
    ])
}

/// A running server and its fakes.
#[derive(Debug)]
pub(crate) struct House {
    pub(crate) root: tempfile::TempDir,
    pub(crate) fakes: Fakes,
    pub(crate) disk: Arc<dyn Disk>,
    server: Option<Server>,
}

pub(crate) fn policy() -> Policy {
    let mut policy = Policy::with_projects(&["my-app"]);
    policy.lifecycle.sweep_interval_ms = 100;
    policy.lifecycle.settle.urgent_ms = 50;
    policy.lifecycle.settle.action_ms = 50;
    policy.lifecycle.settle.warning_ms = 50;
    policy.channels = BTreeMap::from([("desktop".parse().unwrap(), PluginChoice::of("desktop"))]);
    let project = policy.projects.values_mut().next().unwrap();
    let finished = project.rules.reactions.get_mut(&Trigger::AgentFinished).unwrap();
    finished.threshold_ms = Some(200);
    policy
}

impl House {
    pub(crate) async fn open() -> Self {
        Self::open_on(Arc::new(RealDisk)).await
    }

    pub(crate) async fn open_on(disk: Arc<dyn Disk>) -> Self {
        let root = tempfile::tempdir().unwrap();
        let fakes = Fakes::default();
        FAKES.lock().unwrap().insert(root.path().to_owned(), fakes.clone());
        let mut house = Self { root, fakes, disk, server: None };
        house.start().await.unwrap();
        house
    }

    pub(crate) async fn start(&mut self) -> Result<(), StartError> {
        let root = self.root.path();
        let context = BuildContext {
            data_dir: root.to_owned(),
            run_dir: root.join("run"),
            instance: "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap(),
            ao: "/bin/true".into(),
            home: root.to_owned(),
            env: BTreeMap::new(),
        };
        let server = Server::start(Options {
            disk: self.disk.clone(),
            limits: Limits::default(),
            durability: Durability::Commit,
            clock: Arc::new(SystemClock),
            boot: "boot".into(),
            version: "test".into(),
            registry: registry(),
            context,
            policy: policy(),
            live: policy().into(),
        })
        .await?;
        self.server = Some(server);
        Ok(())
    }

    pub(crate) fn handle(&self) -> Handle {
        self.server.as_ref().unwrap().handle()
    }

    pub(crate) async fn stop(&mut self) {
        let server = self.server.take().unwrap();
        server.handle().stop("test").await;
        server.wait().await;
    }

    pub(crate) async fn spawn(&self, prompt: &str) -> Result<SessionId, Refusal> {
        let call = SpawnCall {
            project: "my-app".parse().unwrap(),
            issue: None,
            prompt: Some(prompt.into()),
            agent: None,
            branch: None,
            force: false,
            env: BTreeMap::from([("PATH".into(), "/bin".into())]),
        };
        let answered: Answered = self.handle().spawn(call, ana()).await?;
        Ok(answered.session.unwrap())
    }

    /// The agent of a session tells something through its hook.
    pub(crate) async fn tell(
        &self,
        session: &SessionId,
        signals: &[Signal],
    ) -> Result<HookAnswer, Refusal> {
        self.handle().hook(self.call(session, signals)).await
    }

    pub(crate) fn call(&self, session: &SessionId, signals: &[Signal]) -> HookCall {
        let token =
            std::fs::read_to_string(self.root.path().join("secrets/token").join(session.as_str()));
        HookCall {
            agent: "claude-code".into(),
            event: "Tell".into(),
            session: session.clone(),
            launch: self.handle().state().sessions[session].launch,
            token: token.unwrap_or_default(),
            payload: serde_json::to_vec(signals).unwrap(),
        }
    }

    /// Spawns and answers as an agent that starts and takes its prompt.
    pub(crate) async fn working(&self, prompt: &str) -> SessionId {
        let session = self.spawn(prompt).await.unwrap();
        self.until("the agent runs", |state| state.sessions[&session].handle.is_some()).await;
        let started =
            Signal::Started { native_id: Some("n-1".into()), transcript: None, version: None };
        let turn = Signal::TurnStarted { turn: Some("t1".into()), prompt: Some(prompt.into()) };
        self.tell(&session, &[started, turn]).await.unwrap();
        self.until("set up", |state| state.sessions[&session].step == ao_core::state::Step::Ready)
            .await;
        session
    }

    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&State) -> bool) {
        let handle = self.handle();
        for _ in 0..500 {
            if holds(&handle.state()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("never came true: {what}; sessions: {:#?}", handle.state().sessions);
    }

    /// The journal, a line an event, for a failing test's message.
    pub(crate) async fn log(&self) -> Vec<String> {
        let events = self.handle().events(ao_slots::Seq(0), 1_000).await.unwrap_or_default();
        events.iter().map(|event| String::from_utf8(event.encode().unwrap()).unwrap()).collect()
    }

    /// The messages as the human sees them.
    pub(crate) async fn until_pushed(
        &self,
        what: &str,
        holds: impl Fn(&[Message]) -> bool,
    ) -> Vec<Message> {
        for _ in 0..500 {
            let messages = self.fakes.channel.messages();
            if holds(&messages) {
                return messages;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let lines: Vec<String> = self.log().await;
        panic!(
            "never pushed: {what}; pushed: {:#?}; journal:\n{}",
            self.fakes.channel.messages(),
            lines.join("\n")
        );
    }
}

pub(crate) fn ana() -> Actor {
    Actor { name: "ana".into(), via: "cli".into() }
}

pub(crate) fn question(text: &str) -> Signal {
    Signal::Asked(AgentRequest {
        key: format!("q-{text}"),
        turn: Some("t1".into()),
        tool: "Ask".into(),
        ask: Ask::Question {
            text: text.into(),
            options: vec!["yes".into(), "no".into()],
            many: false,
        },
        answerable: true,
    })
}

/// An agent whose hooks are the signals themselves.
#[derive(Debug)]
struct Teller;

#[async_trait::async_trait]
impl Agent for Teller {
    fn capabilities(&self, _: &AgentConfig) -> AgentCapabilities {
        AgentCapabilities {
            answerable: vec!["Tell".into()],
            takes_messages: vec![],
            resume: true,
            input: InputMode::Stdin,
            screen: false,
            free_answers: true,
        }
    }
    fn env_names(&self) -> Vec<String> {
        vec![]
    }
    fn plan_launch(&self, request: &LaunchRequest) -> Result<LaunchPlan, PluginError> {
        Ok(LaunchPlan {
            argv: vec!["teller".into()],
            env: BTreeMap::new(),
            files: vec![],
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
    fn message_reply(&self, _: &str, _: &[u8], _: &str) -> Option<String> {
        None
    }
    fn introspect(&self, _: &[u8]) -> Introspection {
        Introspection::default()
    }
    fn status_file(&self, _: &LaunchRequest, _: ProcessId) -> Option<PathBuf> {
        None
    }
    fn read_status(&self, _: &[u8]) -> Option<Signal> {
        None
    }
    fn match_dialog(&self, _: &Screen) -> Dialog {
        Dialog::Unknown
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
        Ok(self
            .made
            .lock()
            .unwrap()
            .get(&handle.path)
            .map_or(Answer::No, |facts| Answer::Yes(facts.clone())))
    }
    async fn destroy(
        &self,
        _: &Call,
        handle: &WorkspaceHandle,
        removal: Removal,
    ) -> Result<Removed, PluginError> {
        let mut made = self.made.lock().unwrap();
        if made.get(&handle.path).is_some_and(|f| !f.is_clean() && removal == Removal::IfSafe) {
            return Err(PluginError::new(
                ao_slots::ErrorKind::Refused,
                "2 changed files would be lost",
                "",
            ));
        }
        made.remove(&handle.path);
        Ok(Removed::default())
    }
    async fn list(&self, _: &Call, _: &Path, _: &Path) -> Result<Vec<FoundWorkspace>, PluginError> {
        Ok(vec![])
    }
    async fn post_create(&self, _: &Call, _: &PostCreate) -> Result<PostCreateDone, PluginError> {
        Ok(PostCreateDone { failed: None, last_line: String::new(), lines: 0 })
    }
}

#[derive(Debug)]
struct Blind;

#[async_trait::async_trait]
impl Terminal for Blind {
    async fn open(&self, _: &Call, _: &OpenRequest) -> Result<Opened, PluginError> {
        Ok(Opened::Hint("nothing to see".into()))
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
