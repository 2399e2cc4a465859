//! A server on fakes, on a disk and by clocks of the test's choice.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use ao_core::{
    config::{
        policy::{DigestEvery, PluginChoice, Policy},
        trigger::Trigger,
    },
    decide::{Answered, Refusal},
    disk::{Disk, DiskFile, Entry, Open, RealDisk, testing::CrashDisk},
    event::{Actor, Event},
    journal::{Durability, Limits, Recovery},
    server::{
        Clock, Handle, HookAnswer, HookCall, Options, Server, SpawnCall, StartError, SystemClock,
    },
    state::{Incident, Session, State, Step},
};
use ao_slots::{
    Seq, SessionId,
    agent::{AgentRequest, Ask, Signal},
    notifier::{Button, IncomingAction, Message, Press},
    plugin::BuildContext,
};
use jiff::{SignedDuration, Timestamp};

use crate::fakes::{Fakes, registry};

/// How long anything may take before a test gives up on it. Machines are slow, and never that slow.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server and its world.
#[derive(Debug)]
pub(crate) struct House {
    /// The data directory; with a disk in memory only its name and its lock.
    root: tempfile::TempDir,
    pub(crate) fakes: Fakes,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) policy: Policy,
    pub(crate) limits: Limits,
    pub(crate) durability: Durability,
    server: Option<Server>,
}

/// Short times, one project, one channel.
pub(crate) fn policy() -> Policy {
    let mut policy = Policy::with_projects(&["my-app"]);
    policy.lifecycle.sweep_interval_ms = 100;
    // Whoever is told is told once, and at once.
    policy.push.repeat_ms = vec![];
    policy.push.digest.every = DigestEvery::Off;
    policy.lifecycle.settle.urgent_ms = 50;
    policy.lifecycle.settle.action_ms = 50;
    policy.lifecycle.settle.warning_ms = 50;
    channels(&mut policy, &["desktop"]);
    policy.projects.values_mut().for_each(|p| p.post_create = vec!["make ready".into()]);
    let finished = reaction(&mut policy, Trigger::AgentFinished);
    finished.threshold_ms = Some(200);
    policy
}

/// Sends everything through these channels.
pub(crate) fn channels(policy: &mut Policy, names: &[&str]) {
    let name = |name: &&str| name.parse().unwrap();
    policy.channels = names.iter().map(|plugin| (name(plugin), PluginChoice::of(plugin))).collect();
    for rules in policy.projects.values_mut().map(|p| &mut p.rules).chain([&mut policy.rules]) {
        rules.channels = names.iter().map(name).collect();
        rules.fallback = names.iter().map(name).collect();
    }
}

/// The project's answer to a trigger.
pub(crate) fn reaction(
    policy: &mut Policy,
    trigger: Trigger,
) -> &mut ao_core::config::policy::Reaction {
    let project = policy.projects.values_mut().next().unwrap();
    project.rules.reactions.get_mut(&trigger).unwrap()
}

impl Drop for House {
    fn drop(&mut self) {
        self.fakes.hall.close();
    }
}

/// Somebody before a screen.
pub(crate) fn pressed_by_ana(press: Press) -> IncomingAction {
    IncomingAction { press, text: None, who: "ana".into(), identity: None, reply_to: None }
}

impl House {
    /// What comes back when this button of a message is pressed.
    #[track_caller]
    pub(crate) fn token(&self, message: &Message, button: &str) -> String {
        let handle = self.handle();
        let is = |b: &&Button| handle.offered(&b.id).is_some_and(|(_, t)| t.button == button);
        match message.buttons.iter().find(is) {
            Some(offered) => offered.id.clone(),
            None => panic!("{button} is not offered: {message:?}"),
        }
    }

    /// A house on the real disk.
    pub(crate) async fn open() -> Self {
        Self::with(|_| {}).await
    }

    /// A house with some of it changed before it is opened.
    pub(crate) async fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut house = Self::closed(change);
        house.start().await.unwrap();
        house
    }

    pub(crate) fn closed(change: impl FnOnce(&mut Self)) -> Self {
        let root = tempfile::tempdir().unwrap();
        let mut house = Self {
            fakes: Fakes::register(&root.path().join("run")),
            root,
            disk: Arc::new(RealDisk),
            clock: Arc::new(SystemClock),
            policy: policy(),
            limits: Limits::default(),
            durability: Durability::Commit,
            server: None,
        };
        change(&mut house);
        house
    }

    /// Puts all data on a disk in memory.
    pub(crate) fn on(&mut self, disk: CrashDisk) {
        self.disk = Arc::new(Mounted { disk, at: self.root.path().to_owned() });
    }

    pub(crate) fn data_dir(&self) -> &Path {
        self.root.path()
    }

    pub(crate) async fn start(&mut self) -> Result<(), StartError> {
        let context = BuildContext {
            data_dir: self.data_dir().to_owned(),
            run_dir: self.root.path().join("run"),
            instance: "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap(),
            ao: "/bin/true".into(),
            home: self.root.path().to_owned(),
            env: BTreeMap::new(),
        };
        let server = Server::start(Options {
            disk: self.disk.clone(),
            limits: self.limits,
            durability: self.durability,
            clock: self.clock.clone(),
            boot: "boot".into(),
            version: "test".into(),
            zone: jiff::tz::TimeZone::UTC,
            registry: registry(),
            context,
            policy: self.policy.clone(),
            live: self.policy.clone().into(),
            refused: false,
        })
        .await?;
        self.server = Some(server);
        Ok(())
    }

    pub(crate) fn handle(&self) -> Handle {
        self.server.as_ref().unwrap().handle()
    }

    /// Ends the server in good order.
    pub(crate) async fn stop(&mut self) {
        let server = self.server.take().unwrap();
        server.handle().stop("test").await;
        server.wait().await;
    }

    /// Ends the server as a SIGKILL does.
    pub(crate) async fn kill(&mut self) {
        self.server.take().unwrap().abort().await;
    }

    pub(crate) async fn spawn(&self, prompt: &str) -> Result<SessionId, Refusal> {
        let answered: Answered = self.handle().spawn(spawn_call(prompt), ana()).await?;
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

    /// The same, said again as a real hook does until it was taken.
    pub(crate) async fn tell_until_taken(&self, session: &SessionId, signals: &[Signal]) {
        self.patiently("the hook is taken", async || self.tell(session, signals).await.ok()).await;
    }

    pub(crate) fn call(&self, session: &SessionId, signals: &[Signal]) -> HookCall {
        let path = self.data_dir().join("secrets/token").join(session.as_str());
        let token = ao_core::disk::read(&*self.disk, &path).unwrap_or_default();
        HookCall {
            agent: "claude-code".into(),
            event: "Tell".into(),
            session: session.clone(),
            launch: self.session(session).launch,
            token: String::from_utf8(token).unwrap(),
            payload: serde_json::to_vec(signals).unwrap(),
            started: None,
            waits: true,
        }
    }

    pub(crate) fn session(&self, id: &SessionId) -> Session {
        self.handle().state().sessions[id].clone()
    }

    /// Spawns and answers as an agent that starts and takes its prompt.
    pub(crate) async fn working(&self, prompt: &str) -> SessionId {
        let session = self.spawn(prompt).await.unwrap();
        self.begins(&session, prompt).await;
        session
    }

    /// The agent of a session that was spawned starts and takes its prompt.
    pub(crate) async fn begins(&self, session: &SessionId, prompt: &str) {
        self.until("the agent runs", |state| state.sessions[session].handle.is_some()).await;
        let started = Signal::Started {
            native_id: Some(format!("native-{session}")),
            transcript: None,
            version: None,
        };
        let turn = Signal::TurnStarted { turn: Some("t1".into()), prompt: Some(prompt.into()) };
        self.tell_until_taken(session, &[started, turn]).await;
        self.until("set up", |state| state.sessions[session].step == Step::Ready).await;
    }

    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&State) -> bool) {
        let handle = self.handle();
        let began = tokio::time::Instant::now();
        while began.elapsed() < PATIENCE {
            if holds(&handle.state()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never came true: {what}; journal:\n{}", self.log().await.join("\n"));
    }

    /// Asks until there is an answer.
    pub(crate) async fn patiently<T>(&self, what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
        let began = tokio::time::Instant::now();
        while began.elapsed() < PATIENCE {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("never: {what}; journal:\n{}", self.log().await.join("\n"));
    }

    /// All stored events.
    pub(crate) async fn events(&self) -> Vec<Event> {
        let mut events: Vec<Event> = vec![];
        loop {
            let after = events.last().map_or(Seq(0), |event| event.seq);
            let more = self.handle().events(after, 1_000).await.unwrap_or_default();
            if more.is_empty() {
                return events;
            }
            events.extend(more);
        }
    }

    /// The journal, a line an event, for a failing test's message.
    pub(crate) async fn log(&self) -> Vec<String> {
        let json = |event: &Event| String::from_utf8(event.encode().unwrap()).unwrap();
        self.events().await.iter().map(json).collect()
    }

    /// How often an event of this kind was recorded.
    pub(crate) async fn count(&self, kind: &str) -> usize {
        self.events().await.iter().filter(|event| event.kind.name() == kind).count()
    }

    /// The messages as the human sees them, once it holds.
    pub(crate) async fn until_pushed(
        &self,
        what: &str,
        holds: impl Fn(&[Message]) -> bool,
    ) -> Vec<Message> {
        self.patiently(what, async || {
            let messages = self.fakes.channel.messages();
            holds(&messages).then_some(messages)
        })
        .await
    }

    /// What is served is what the journal has.
    pub(crate) async fn is_rebuilt(&self) {
        let handle = self.handle();
        let (hash, last) = {
            let state = handle.state();
            (state.hash(), state.last_seq)
        };
        let mut rebuilt = State::default();
        for event in self.events().await.iter().filter(|event| event.seq <= last) {
            rebuilt.apply(event);
        }
        assert_eq!(rebuilt.hash(), hash, "after event {last}");
    }

    /// Two whole sweeps have ended from now on.
    pub(crate) async fn swept(&self) {
        let before = self.fakes.rig.calls("runtime.probe", "");
        self.patiently("two sweeps", async || {
            (self.fakes.rig.calls("runtime.probe", "") > before + 2).then_some(())
        })
        .await;
    }
}

/// A disk in memory whose folder `/data` has another name.
#[derive(Debug)]
struct Mounted {
    disk: CrashDisk,
    at: PathBuf,
}

impl Mounted {
    fn path(&self, path: &Path) -> PathBuf {
        Path::new("/data").join(path.strip_prefix(&self.at).unwrap())
    }
}

impl Disk for Mounted {
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn DiskFile>> {
        self.disk.open(&self.path(path), how)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.disk.list(&self.path(dir))
    }
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir(&self.path(dir))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(&self.path(from), &self.path(to))
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(&self.path(path))
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(&self.path(dir))
    }
    fn free(&self, dir: &Path) -> io::Result<u64> {
        self.disk.free(&self.path(dir))
    }
}

pub(crate) fn spawn_call(prompt: &str) -> SpawnCall {
    SpawnCall {
        project: "my-app".parse().unwrap(),
        issue: None,
        read: None,
        prompt: Some(prompt.into()),
        agent: None,
        branch: None,
        force: false,
        env: BTreeMap::from([("PATH".into(), "/bin".into())]),
    }
}

/// The state that a server would find on this disk, every event read anew.
pub(crate) fn replayed(disk: Arc<dyn Disk>, data_dir: &Path) -> State {
    let recovery = Recovery::start(disk, data_dir, Limits::default()).unwrap();
    let mut recovery = recovery.without_snapshot("test".into()).unwrap();
    let mut state = State::default();
    while let Some((_, json)) = recovery.next().unwrap() {
        state.apply(&Event::decode(json).unwrap());
    }
    state
}

/// The open incidents of a trigger.
pub(crate) fn open(state: &State, trigger: Trigger) -> Vec<Incident> {
    let meant = |incident: &&Incident| incident.trigger == trigger && incident.is_open();
    state.incidents.values().filter(meant).cloned().collect()
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

/// The answer to [`question`] has reached the agent.
pub(crate) fn answered(text: &str) -> Signal {
    Signal::ToolEnded { id: None, tool: "Ask".into(), request: Some(format!("q-{text}")) }
}

pub(crate) fn turn_ended(turn: &str) -> Signal {
    Signal::TurnEnded { turn: Some(turn.into()), last_words: None, background: false }
}

pub(crate) fn turn_started(turn: &str) -> Signal {
    Signal::TurnStarted { turn: Some(turn.into()), prompt: None }
}

/// The machine's clocks, moved at will; counts how often anybody looks.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    wall_ms: AtomicI64,
    awake_ms: AtomicU64,
    looks: AtomicU64,
}

impl Moved {
    /// Sets the wall clock forth or back.
    pub(crate) fn set_wall(&self, by_ms: i64) {
        self.wall_ms.fetch_add(by_ms, Ordering::SeqCst);
    }

    /// Time passes, and the machine is awake.
    pub(crate) fn pass(&self, ms: u64) {
        self.awake_ms.fetch_add(ms, Ordering::SeqCst);
        self.set_wall(ms.cast_signed());
    }

    pub(crate) fn looks(&self) -> u64 {
        self.looks.load(Ordering::SeqCst)
    }
}

impl Clock for Moved {
    fn wall(&self) -> Timestamp {
        let by = SignedDuration::from_millis(self.wall_ms.load(Ordering::SeqCst));
        SystemClock.wall().saturating_add(by).unwrap()
    }

    fn monotonic_ms(&self) -> u64 {
        self.looks.fetch_add(1, Ordering::SeqCst);
        SystemClock.monotonic_ms() + self.awake_ms.load(Ordering::SeqCst)
    }
}
