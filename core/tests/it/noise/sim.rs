//! The world around the rules: a loop without I/O by virtual clocks, agents, an scm, and a record of it all.
//!
//! Only [`step`] decides. The simulator does what a server does around it: it gives inputs, ticks when
//! something is due, performs effects with drawn latencies, sweeps after a start or a jump of the clock. What agents
//! and people do is drawn from the seed, so a run can be repeated.
//!
//! Its clock is awake time. A cause begins when a hook tells it or the sweep sees it: what the sweep's interval
//! adds is measured with the whole program.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use ao_core::{
    config::{policy::Policy, trigger::Trigger},
    decide::{Answered, Input, RuntimeSeen, Spawn, Told, step},
    event::{Actor, Class, Effect, Event, Failure, Kind, Outcome, Text, digest},
    state::{Lane, Now, State, Step},
};
use ao_slots::{
    ErrorKind, Launch, MessageId, PrNumber, Seq, SessionId,
    agent::Ask,
    fact::{
        AgentErrorKind, Checks, Mergeable, PrFacts, PrState, Priority, Review, RuntimeState,
        Source, WorkFacts,
    },
    runtime::RuntimeHandle,
    workspace::WorkspaceInfo,
};
use jiff::{SignedDuration, Timestamp};

use super::{
    chance::Chance,
    channels::{Channels, policy},
    forge::Forge,
    judge::{Judge, Need},
    people::People,
};

pub(crate) const SECOND: u64 = 1_000;
pub(crate) const MINUTE: u64 = 60 * SECOND;
pub(crate) const HOUR: u64 = 60 * MINUTE;

type Act = Box<dyn FnOnce(&mut Sim)>;

/// What an agent does between its signals.
#[derive(Debug)]
pub(crate) struct Agent {
    /// What the runtime would say of it.
    pub(crate) runtime: RuntimeState,
    /// The runtime's own server died with it.
    pub(crate) lost: bool,
    /// The key of what it waits for.
    pub(crate) asks: Option<String>,
    /// A turn runs and moves.
    moves: bool,
    /// Counts turns and launches: what was planned for an earlier one does not happen.
    epoch: u32,
    /// How its next starts end.
    pub(crate) restores: Result<(), ErrorKind>,
    /// Its pull request, as the scm has it.
    pub(crate) pr: PrFacts,
    /// Its workspace holds what is not committed.
    pub(crate) dirty: bool,
    /// Its workspace is gone.
    pub(crate) removed: bool,
    /// What was typed into its terminal.
    typed: BTreeSet<MessageId>,
}

/// Everything that happens in one run of one scenario.
pub(crate) struct Sim {
    pub(crate) state: State,
    pub(crate) now: Now,
    pub(crate) chance: Chance,
    pub(crate) agents: BTreeMap<SessionId, Agent>,
    pub(crate) channels: Channels,
    pub(crate) people: People,
    pub(crate) judge: Judge,
    pub(crate) events: Vec<Event>,
    pub(crate) policy: Policy,
    agenda: BTreeMap<(u64, u64), Act>,
    planned: u64,
    /// False while the server is down.
    serves: bool,
    spool: Vec<Input>,
    pub(crate) keys: u64,
    /// Servers so far.
    pub(crate) boots: u64,
    /// Prompts do not arrive.
    pub(crate) loses_prompts: bool,
    /// Where pull requests stand; none where a scenario tells of them itself. With it, the script says when a turn ends.
    pub(crate) forge: Option<Forge>,
    /// What agents got and what was done at the forge, each with its awake time.
    pub(crate) deeds: Vec<(u64, String)>,
}

fn ms(ms: u64) -> SignedDuration {
    SignedDuration::from_millis(i64::try_from(ms).unwrap())
}

pub(crate) fn ana() -> Actor {
    Actor { name: "ana".into(), via: "cli".into() }
}

pub(crate) fn question() -> Ask {
    let options = vec!["Items only".into(), "Items and shipping".into()];
    Ask::Question { text: "Does the coupon cover shipping?".into(), options, many: false }
}

pub(crate) fn permission() -> Ask {
    Ask::Permission {
        verb: "run".into(),
        subject: "npm publish".into(),
        place: None,
        reason: None,
        careful: vec![],
    }
}

pub(crate) fn work(commits: u32, changed_files: u32) -> WorkFacts {
    let fingerprint = format!("{commits}/{changed_files}");
    let head = "8a1b77e".into();
    WorkFacts { head, commits, changed_files, files: commits, fingerprint, ..WorkFacts::default() }
}

impl Sim {
    /// A server that has looked at everything, on a Tuesday afternoon.
    pub(crate) fn new(seed: u64) -> Self {
        Self::begin(seed, "2026-11-17T14:00:00Z", |_| {})
    }

    /// One that begins at another time, with another configuration.
    pub(crate) fn begin(seed: u64, wall: &str, configure: impl FnOnce(&mut Policy)) -> Self {
        let wall: Timestamp = wall.parse().unwrap();
        let mut state = State::default();
        state.last_at = wall;
        let mut policy = policy();
        configure(&mut policy);
        let mut sim = Self {
            state,
            now: Now { wall, awake: 1_000_000 },
            chance: Chance::new(seed),
            agents: BTreeMap::new(),
            channels: Channels::new(),
            people: People::default(),
            judge: Judge::default(),
            events: vec![],
            policy,
            agenda: BTreeMap::new(),
            planned: 0,
            serves: false,
            spool: vec![],
            keys: 0,
            boots: 0,
            loses_prompts: false,
            forge: None,
            deeds: vec![],
        };
        sim.server_starts();
        sim.pass(5 * SECOND);
        sim
    }

    // ---- ground truth

    /// From now on somebody has to know this of a session.
    pub(crate) fn need(&mut self, id: &SessionId, cause: Trigger, class: Priority) {
        self.need_of(std::slice::from_ref(id), cause, class);
    }

    /// The same of several sessions, for one cause; of `ao` itself for none.
    pub(crate) fn need_of(
        &mut self,
        ids: &[SessionId],
        cause: Trigger,
        class: Priority,
    ) -> &mut Need {
        let well = self.channels.are_well();
        let need = self.judge.need(ids, &[cause], class, self.now);
        if !well {
            // Another channel carries it.
            need.within = need.within.max(15 * SECOND);
        }
        need
    }

    /// The same from a limit on, unless it is over before.
    pub(crate) fn need_in(&mut self, wait: u64, id: &SessionId, cause: Trigger, class: Priority) {
        let id = id.clone();
        self.after(wait, move |sim| sim.need(&id, cause, class));
    }

    /// The same from a wall time on.
    pub(crate) fn need_at(&mut self, wall: &str, id: &SessionId, cause: Trigger, class: Priority) {
        let wait = self.until(wall);
        self.need_in(wait, id, cause, class);
    }

    /// Milliseconds until a wall time that is to come.
    pub(crate) fn until(&self, wall: &str) -> u64 {
        let wall: Timestamp = wall.parse().unwrap();
        u64::try_from(wall.duration_since(self.now.wall).as_millis()).unwrap()
    }

    /// Nobody has to act on it any more.
    pub(crate) fn over(&mut self, id: &SessionId, cause: Trigger) {
        self.judge.over(id, &[cause], self.now);
    }

    /// Another configuration rules from now on, at another wall time.
    pub(crate) fn moves_to(&mut self, wall: &str, configure: impl FnOnce(&mut Policy)) {
        configure(&mut self.policy);
        self.configure();
        let ahead = wall.parse::<Timestamp>().unwrap().duration_since(self.now.wall);
        self.clock_jumps(i64::try_from(ahead.as_millis()).unwrap());
        self.pass(5 * SECOND);
    }

    // ---- time

    /// A drawn time in milliseconds.
    pub(crate) fn some(&mut self, range: Range<u64>) -> u64 {
        self.chance.of(range)
    }

    /// Plans something.
    pub(crate) fn after(&mut self, wait: u64, act: impl FnOnce(&mut Self) + 'static) {
        self.planned += 1;
        self.agenda.insert((self.now.awake + wait, self.planned), Box::new(act));
    }

    /// Plans what this server does: it does not outlive it.
    pub(crate) fn meanwhile(&mut self, wait: u64, act: impl FnOnce(&mut Self) + 'static) {
        let boot = self.boots;
        self.after(wait, move |sim| {
            if sim.boots == boot {
                act(sim);
            }
        });
    }

    /// Lets time pass: what is planned happens, and the loop ticks when something is due.
    pub(crate) fn pass(&mut self, wait: u64) {
        let end = self.now.awake + wait;
        loop {
            let planned = self.agenda.first_key_value().map(|((at, _), _)| *at);
            let next = [planned, self.due_at()].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else {
                return self.forward(end);
            };
            self.forward(next);
            if planned.is_some_and(|at| at <= self.now.awake) {
                let (_, act) = self.agenda.pop_first().unwrap();
                act(self);
            }
            self.tick();
        }
    }

    fn forward(&mut self, to: u64) {
        let passed = to.saturating_sub(self.now.awake);
        self.now = Now { wall: self.now.wall + ms(passed), awake: self.now.awake + passed };
    }

    /// When the loop has to look next.
    fn due_at(&self) -> Option<u64> {
        let (awake, wall) = self.state.next_due();
        let by_wall = wall.map(|at| {
            let wait = at.duration_since(self.now.wall).as_millis();
            self.now.awake + u64::try_from(wait).unwrap_or(0)
        });
        let due = [awake, by_wall].into_iter().flatten().min();
        due.filter(|_| self.serves).map(|at| at.max(self.now.awake))
    }

    fn tick(&mut self) {
        if self.due_at().is_some_and(|at| at <= self.now.awake) {
            self.give(Input::Tick);
            let due = self.state.due(self.now);
            assert!(due.is_empty(), "still due after a tick, the loop would spin: {due:?}");
        }
    }

    /// The lid is closed for so long.
    pub(crate) fn machine_sleeps(&mut self, time: u64) {
        self.clock_jumps(i64::try_from(time).unwrap());
    }

    /// The wall clock is set, or went on while the machine slept.
    pub(crate) fn clock_jumps(&mut self, ahead_ms: i64) {
        self.now.wall += SignedDuration::from_millis(ahead_ms);
        self.give(Input::ClockJumped { ahead_ms });
        self.judge.postpone(self.now);
        self.sweeps_soon();
    }

    // ---- the server

    /// It is killed: nothing is told, and what it did is in doubt.
    pub(crate) fn server_dies(&mut self) {
        self.serves = false;
        self.judge.adjourn(self.now);
    }

    /// It is killed and starts again at once, with nothing but its journal. Of what was under way some was done.
    pub(crate) fn server_is_replaced(&mut self) {
        self.server_dies();
        let under_way: Vec<(SessionId, Effect)> = self
            .state
            .intents
            .values()
            .filter_map(|intent| match &intent.lane {
                Lane::Session(id) => Some((id.clone(), intent.effect.clone())),
                Lane::Channel(_) => None,
            })
            .collect();
        for (id, effect) in under_way {
            if self.chance.of(0..2) == 1 {
                match &effect {
                    Effect::TypeMessage { message } if self.agents[&id].typed.contains(message) => {
                    }
                    Effect::TypeMessage { .. } => self.follows(&id, &effect),
                    _ => drop(self.at_forge(&id, &effect)),
                }
            }
        }
        self.state = State::default();
        self.events.iter().for_each(|event| self.state.replay(event));
        self.state.reindex();
        self.serves_since(Some(self.now.wall));
        let agents: Vec<SessionId> = self.agents.keys().cloned().collect();
        for id in agents {
            let wait = self.some(200..2_000);
            self.meanwhile(wait, move |sim| sim.looks(&id));
        }
    }

    pub(crate) fn server_starts(&mut self) {
        self.serves_since(None);
    }

    /// The journal, as it is written, tells what stands.
    pub(crate) fn journal_tells_all(&self) -> bool {
        let mut state = State::default();
        for event in &self.events {
            state.replay(&Event::decode(&event.encode().unwrap()).unwrap());
        }
        state.hash() == self.state.hash()
    }

    /// It starts; the one before it was alive then, where that is known.
    fn serves_since(&mut self, alive: Option<Timestamp>) {
        self.serves = true;
        self.judge.postpone(self.now);
        let open: Vec<(Seq, Effect)> =
            self.state.intents.iter().map(|(seq, i)| (*seq, i.effect.clone())).collect();
        self.boots += 1;
        self.give(Input::Started {
            instance: "01JD0000000000000000000000".parse().unwrap(),
            boot: "boot-1".into(),
            monotonic_ms: self.now.awake,
            version: "0.1.0".into(),
            pid: i32::try_from(self.boots).unwrap(),
            alive,
            zone: Some("UTC".into()),
        });
        self.configure();
        for input in std::mem::take(&mut self.spool) {
            self.give(input);
        }
        for (seq, effect) in open {
            self.meanwhile(100, move |sim| sim.settle_doubt(seq, effect));
        }
        self.sweeps_soon();
    }

    /// The policy of this run rules from now on.
    pub(crate) fn configure(&mut self) {
        let policy = Box::new(self.policy.clone());
        let channels = self.channels.capabilities();
        self.give(Input::Config { hash: policy.hash(), policy, channels });
    }

    fn sweeps_soon(&mut self) {
        let wait = self.some(200..2_000);
        self.after(wait, Self::sweep);
    }

    /// One look at everything.
    fn sweep(&mut self) {
        let runs = self.state.sessions.values().filter(|s| !s.is_over() && s.handle.is_some());
        let seen: Vec<RuntimeSeen> = runs
            .filter_map(|session| {
                let agent = self.agents.get(&session.id)?;
                Some(seen(&session.id, session.launch, agent))
            })
            .collect();
        let sessions = u32::try_from(seen.len()).unwrap();
        self.give(Input::Runtime { seen });
        self.give(Input::Swept { sessions });
    }

    /// Gives an input; what agents tell while nobody serves waits in the spool.
    pub(crate) fn give(&mut self, input: Input) -> Option<Answered> {
        if !self.serves {
            if let Input::Signals { .. } = input {
                self.spool.push(input);
            }
            return None;
        }
        let (events, answered) = step(&mut self.state, &input, self.now).ok()?;
        for event in events {
            self.happened(event);
        }
        Some(answered)
    }

    fn happened(&mut self, event: Event) {
        if event.kind.class() == Class::Obs {
            self.judge.observed += 1;
        }
        match &event.kind {
            Kind::StatusChanged(e) => self.judge.transition(e.to),
            Kind::EffectIntended(e) => {
                let (seq, effect) = (event.seq, e.effect.clone());
                self.meanwhile(0, move |sim| sim.perform(seq, effect));
            }
            _ => {}
        }
        self.events.push(event);
    }

    // ---- effects

    fn perform(&mut self, intent: Seq, effect: Effect) {
        if !self.serves {
            return;
        }
        if let Some(Lane::Channel(_)) = self.state.intents.get(&intent).map(|i| &i.lane) {
            return self.deliver(intent, effect);
        }
        let Some(session) = self.session_of(intent) else { return };
        let wait = match &effect {
            Effect::CreateWorkspace { .. } | Effect::CreateRuntime { .. } => self.some(50..800),
            _ => self.some(5..200),
        };
        self.meanwhile(wait, move |sim| sim.performed(intent, &session, effect));
    }

    fn session_of(&self, intent: Seq) -> Option<SessionId> {
        match &self.state.intents.get(&intent)?.lane {
            Lane::Session(id) => Some(id.clone()),
            Lane::Channel(_) => None,
        }
    }

    /// Tells what became of an effect, unless it was settled otherwise.
    pub(crate) fn outcome(&mut self, intent: Seq, result: Result<Outcome, Failure>) {
        self.give(Input::Effect { intent, result });
    }

    /// A new server looks for what the one before it left.
    fn settle_doubt(&mut self, intent: Seq, effect: Effect) {
        if self.state.intents.contains_key(&intent) {
            let typed = match (&effect, self.session_of(intent)) {
                (Effect::TypeMessage { message }, Some(id)) => {
                    self.agents[&id].typed.contains(message)
                }
                _ => false,
            };
            match effect.notification() {
                Some(_) => self.look_for(intent, effect),
                None if typed => {
                    self.meanwhile(500, move |sim| sim.outcome(intent, Ok(Outcome::Done)));
                }
                None => self.perform(intent, effect),
            }
        }
    }

    fn performed(&mut self, intent: Seq, session: &SessionId, effect: Effect) {
        if !self.serves || !self.state.intents.contains_key(&intent) {
            return;
        }
        if let (Effect::TypeMessage { .. }, true) = (&effect, self.forge.is_some()) {
            // It is done when the turn has begun.
            self.follows(session, &effect);
            return self.meanwhile(500, move |sim| sim.outcome(intent, Ok(Outcome::Done)));
        }
        let launched = matches!(effect, Effect::CreateRuntime { .. });
        let result = match self.agents.get(session).map(|agent| agent.restores) {
            Some(Err(kind)) if launched => {
                Err(Failure { kind, ..Failure::permanent("it does not start") })
            }
            _ => {
                let known = self.at_forge(session, &effect);
                known.unwrap_or_else(|| Ok(self.usual(session, &effect)))
            }
        };
        let ok = result.is_ok();
        self.outcome(intent, result);
        if ok {
            self.follows(session, &effect);
        }
    }

    /// What the world makes of an effect that succeeded.
    fn follows(&mut self, session: &SessionId, effect: &Effect) {
        let id = session.clone();
        match effect {
            Effect::CreateRuntime { resume, .. } => {
                let resumed = *resume;
                let agent = self.agents.entry(id.clone()).or_insert_with(Agent::new);
                (agent.runtime, agent.lost, agent.asks) = (RuntimeState::Alive, false, None);
                agent.epoch += 1;
                let epoch = agent.epoch;
                let wait = self.some(300..1_500);
                self.after(wait, move |sim| {
                    if sim.agents[&id].epoch == epoch {
                        sim.tell(&id, [started()]);
                        sim.restored(&id);
                        if !resumed && !sim.loses_prompts {
                            sim.begins_turn(&id, None);
                        }
                    }
                });
            }
            Effect::TypeMessage { message } => {
                let typed = self.state.sessions[session].messages.get(message).cloned();
                let digest = typed.as_ref().map(|message| message.digest.clone());
                if let (Some(typed), Some(agent)) = (typed, self.agents.get_mut(session)) {
                    agent.typed.insert(typed.id);
                    self.note(format!("{id} is told: {}", typed.text.excerpt));
                }
                let wait = self.some(50..400);
                self.after(wait, move |sim| {
                    sim.begins_turn(&id, digest);
                    sim.over(&id, Trigger::PromptUndelivered);
                    if sim.forge.is_some() {
                        return;
                    }
                    let work = sim.some(2 * MINUTE..6 * MINUTE);
                    let epoch = sim.agents[&id].epoch;
                    sim.after(work, move |sim| {
                        if sim.agents[&id].epoch == epoch && sim.agents[&id].moves {
                            sim.ends_turn(&id);
                        }
                    });
                });
            }
            Effect::DecideRequest { .. } => {
                let wait = self.some(100..900);
                self.after(wait, move |sim| sim.goes_on(&id));
            }
            Effect::DestroyRuntime { .. } => {
                if let Some(agent) = self.agents.get_mut(session) {
                    (agent.runtime, agent.moves) = (RuntimeState::Missing, false);
                    agent.epoch += 1;
                }
            }
            _ => {}
        }
    }

    fn usual(&self, session: &SessionId, effect: &Effect) -> Outcome {
        let info = |path: String, branch: String, made| WorkspaceInfo {
            path: path.into(),
            branch,
            base_commit: "3f9c2d1".into(),
            branch_created: made,
            notes: vec![],
        };
        match effect {
            Effect::FetchIssue => Outcome::Issue {
                title: Text::short("Coupon is applied twice"),
                prompt: Text::short("Fix the coupon."),
                digest: digest("Fix the coupon."),
                branch: None,
            },
            Effect::CreateWorkspace { branch, path, .. } => {
                Outcome::Workspace(info(path.clone(), branch.clone(), true))
            }
            Effect::RestoreWorkspace => {
                Outcome::Workspace(info(format!("/worktrees/{session}"), "ao/41".into(), false))
            }
            Effect::PostCreate => Outcome::PostCreate {
                failed: None,
                last_line: Text::default(),
                lines: 0,
                commands: vec![],
            },
            Effect::CreateRuntime { launch, resume } => Outcome::Runtime {
                handle: RuntimeHandle {
                    session: session.clone(),
                    launch: *launch,
                    id: format!("%{}", session.number()),
                    server: None,
                    process: None,
                },
                native_id: Some(format!("c-{session}")),
                transcript: None,
                signals: true,
                prompted: !resume,
                resumed: *resume,
                resumable: true,
                program: Some("claude".into()),
            },
            Effect::DestroyWorkspace { .. } => Outcome::Removed(Default::default()),
            _ => Outcome::Done,
        }
    }

    // ---- agents

    /// Asks for a session and comes back when its first turn runs.
    pub(crate) fn spawn(&mut self) -> SessionId {
        self.spawns(1).remove(0)
    }

    /// The same for several at once.
    pub(crate) fn spawns(&mut self, count: usize) -> Vec<SessionId> {
        let asked: Vec<SessionId> = (0..count).map(|_| self.ask_for_session()).collect();
        let works = |sim: &Self| {
            let session = |id| sim.state.sessions.get(id);
            asked.iter().all(|id| session(id).is_some_and(|s| s.step == Step::Ready))
        };
        for _ in 0..200 {
            if works(self) {
                return asked;
            }
            self.pass(500);
        }
        panic!("the sessions are never set up");
    }

    pub(crate) fn ask_for_session(&mut self) -> SessionId {
        self.keys += 1;
        let prompt = format!("Do task {}", self.keys);
        let input = Input::Spawn(Box::new(Spawn {
            project: "my-app".parse().unwrap(),
            issue: None,
            title: Text::short(&prompt),
            digest: digest(&prompt),
            prompt: Text::short(&prompt),
            env_names: vec![],
            agent: None,
            branch: None,
            force: false,
            by: ana(),
        }));
        self.give(input).and_then(|answered| answered.session).expect("a session")
    }

    /// Agents at work that have a draft pull request, so that nothing but what a scenario does needs a human.
    pub(crate) fn agents(&mut self, count: usize) -> Vec<SessionId> {
        let agents = self.spawns(count);
        for id in &agents {
            let wait = self.some(MINUTE..5 * MINUTE);
            let id = id.clone();
            self.after(wait, move |sim| {
                sim.pr(&id, |pr| (pr.state, pr.checks) = (PrState::Draft, Checks::Pending));
            });
        }
        self.pass(5 * MINUTE);
        agents
    }

    pub(crate) fn agent(&mut self) -> SessionId {
        self.agents(1).remove(0)
    }

    /// Tells something by a hook.
    pub(crate) fn tell(&mut self, id: &SessionId, told: impl Into<Vec<Told>>) {
        let Some(session) = self.state.sessions.get(id) else { return };
        let (session, launch, told) = (id.clone(), session.launch, told.into());
        let source = Source::Hook;
        self.give(Input::Signals { session, launch, source, started: None, told });
    }

    /// The same by a hook that was started then.
    pub(crate) fn tell_started(&mut self, id: &SessionId, at: u64, told: Told) {
        let (session, launch) = (id.clone(), self.state.sessions[id].launch);
        let (source, started, told) = (Source::Hook, Some(at), vec![told]);
        self.give(Input::Signals { session, launch, source, started, told });
    }

    /// A turn begins, and moves until it ends or stops to.
    pub(crate) fn begins_turn(&mut self, id: &SessionId, digest: Option<String>) {
        let Some(agent) = self.agents.get_mut(id) else { return };
        if agent.runtime != RuntimeState::Alive {
            return;
        }
        agent.epoch += 1;
        (agent.moves, agent.asks) = (true, None);
        let (epoch, turn) = (agent.epoch, Some(format!("t{}", agent.epoch)));
        self.tell(id, [Told::TurnStarted { turn, digest }]);
        self.moves(id.clone(), epoch);
    }

    /// Uses a tool every now and then.
    fn moves(&mut self, id: SessionId, epoch: u32) {
        let (wait, takes) = (self.some(40 * SECOND..150 * SECOND), self.some(SECOND..30 * SECOND));
        self.after(wait, move |sim| {
            let agent = &sim.agents[&id];
            if agent.epoch != epoch || !agent.moves {
                return;
            }
            let command = Some(Text::short("cargo test"));
            sim.tell(&id, [Told::ToolStarted { tool: "Bash".into(), command }]);
            let same = id.clone();
            sim.after(takes, move |sim| {
                if sim.agents[&same].epoch == epoch && sim.agents[&same].moves {
                    sim.tell(&same, [Told::ToolEnded { request: None }]);
                }
            });
            sim.moves(id, epoch);
        });
    }

    pub(crate) fn ends_turn(&mut self, id: &SessionId) {
        let agent = self.agents.get_mut(id).unwrap();
        agent.moves = false;
        let turn = Some(format!("t{}", agent.epoch));
        let last_words = Some(Text::short("That is it."));
        self.tell(id, [Told::TurnEnded { turn, last_words, background: false }]);
    }

    /// Its turn runs on, and nothing moves any more.
    pub(crate) fn hangs(&mut self, id: &SessionId) {
        self.agents.get_mut(id).unwrap().moves = false;
    }

    /// A turn runs and moves, and nothing is asked.
    pub(crate) fn is_at_work(&self, id: &SessionId) -> bool {
        let agent = &self.agents[id];
        agent.runtime == RuntimeState::Alive && agent.moves && agent.asks.is_none()
    }

    /// It moves again.
    pub(crate) fn wakes(&mut self, id: &SessionId) {
        let agent = self.agents.get_mut(id).unwrap();
        agent.epoch += 1;
        agent.moves = true;
        let epoch = agent.epoch;
        self.tell(id, [Told::ToolEnded { request: None }]);
        self.moves(id.clone(), epoch);
    }

    /// Asks, and waits.
    pub(crate) fn asks(&mut self, id: &SessionId, ask: Ask) {
        self.keys += 1;
        let key = format!("k{}", self.keys);
        let agent = self.agents.get_mut(id).unwrap();
        (agent.moves, agent.asks) = (false, Some(key.clone()));
        let (turn, tool) = (Some(format!("t{}", agent.epoch)), "AskUserQuestion".into());
        self.tell(id, [Told::Asked { key, turn, tool, ask, full: None, answerable: true }]);
    }

    /// It has its answer, from wherever, and goes on.
    pub(crate) fn goes_on(&mut self, id: &SessionId) {
        let agent = self.agents.get_mut(id).unwrap();
        let Some(key) = agent.asks.take() else { return };
        if agent.runtime != RuntimeState::Alive {
            return;
        }
        agent.moves = true;
        let epoch = agent.epoch;
        self.tell(id, [Told::ToolEnded { request: Some(key) }]);
        self.judge.over(id, &[Trigger::AgentNeedsInput], self.now);
        self.moves(id.clone(), epoch);
    }

    /// It cannot go on, and says so.
    pub(crate) fn fails(&mut self, id: &SessionId, kind: AgentErrorKind, text: &str) {
        self.hangs(id);
        self.tell(id, [Told::Failed { kind, text: Text::short(text) }]);
    }

    /// A dialog stands on its screen that no button answers.
    pub(crate) fn shows_dialog(&mut self, id: &SessionId, text: &str) {
        self.hangs(id);
        self.tell(id, [Told::Setup { text: Text::short(text) }]);
    }

    /// Somebody answered that dialog in the terminal.
    pub(crate) fn leaves_dialog(&mut self, id: &SessionId) {
        self.begins_turn(id, None);
        self.judge.over(id, &[Trigger::AgentNeedsInput], self.now);
    }

    /// Its process ends, and the sweep sees it.
    pub(crate) fn exits(&mut self, id: &SessionId, code: i32) {
        self.ends(std::slice::from_ref(id), RuntimeState::Exited { code: Some(code) }, false);
    }

    /// The runtime's own server dies, and these with it.
    pub(crate) fn tmux_dies(&mut self, ids: &[SessionId]) {
        self.ends(ids, RuntimeState::Missing, true);
    }

    /// The runtime says so of these.
    pub(crate) fn ends(&mut self, ids: &[SessionId], state: RuntimeState, lost: bool) {
        let ended = state != RuntimeState::Alive && state != RuntimeState::Unknown;
        for id in ids {
            let agent = self.agents.get_mut(id).unwrap();
            (agent.runtime, agent.lost) = (state, lost);
            if ended {
                agent.moves = false;
                agent.epoch += 1;
            }
        }
        let launch = |id: &SessionId| self.state.sessions[id].launch;
        let seen = ids.iter().map(|id| seen(id, launch(id), &self.agents[id])).collect();
        self.give(Input::Runtime { seen });
    }

    /// The agent runs again.
    fn restored(&mut self, id: &SessionId) {
        let repaired = [
            Trigger::AgentExited,
            Trigger::AgentErrored,
            Trigger::AgentStuck,
            Trigger::RuntimeLost,
        ];
        self.judge.over(id, &repaired, self.now);
    }

    pub(crate) fn claims_done(&mut self, id: &SessionId) {
        self.tell(id, [Told::Completed { text: None }]);
    }

    pub(crate) fn look(&mut self, id: &SessionId, work: WorkFacts) {
        self.give(Input::Work { session: id.clone(), work });
    }
}

impl Agent {
    fn new() -> Self {
        Self {
            runtime: RuntimeState::Alive,
            lost: false,
            asks: None,
            moves: false,
            epoch: 0,
            restores: Ok(()),
            pr: PrFacts {
                number: PrNumber(1),
                title: "Dark mode".into(),
                head: "3f9c2d1".into(),
                state: PrState::None,
                checks: Checks::None,
                failing: vec![],
                pending: 0,
                review: Review::None,
                human_threads: 0,
                remarks: 0,
                remark_ids: vec![],
                bot_threads: 0,
                mergeable: Mergeable::Yes,
                discussion: String::new(),
                details: Default::default(),
            },
            dirty: false,
            removed: false,
            typed: BTreeSet::new(),
        }
    }
}

pub(crate) fn started() -> Told {
    Told::Started { native_id: None, transcript: None, version: None }
}

fn seen(session: &SessionId, launch: Launch, agent: &Agent) -> RuntimeSeen {
    RuntimeSeen {
        session: session.clone(),
        launch,
        state: agent.runtime,
        process: None,
        tail: None,
        server_lost: agent.lost,
        output: None,
    }
}
