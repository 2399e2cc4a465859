//! The rules, driven with fake time: what comes in on the left, what is concluded on the right.
//!
//! A [`World`] is the loop without I/O. [`World::check`] gives it an input and compares what was concluded;
//! [`World::after`] lets time pass as the loop would, from one deadline to the next.

mod access;
mod asks;
mod clocks;
mod digests;
mod ends;
mod fallback;
mod histories;
mod limits;
mod lost;
mod model;
mod outbox;
mod people;
mod presses;
mod reaction;
pub(crate) mod review;
mod rounds;
mod server;
mod silences;
mod spawn;
mod status;
mod storm;

use std::collections::BTreeMap;

use ao_slots::{
    ChannelName, ErrorKind, Launch, PrNumber, SessionId,
    agent::{Ask, Decision},
    fact::{Activity, RuntimeState, Source, WorkFacts},
    notifier::{ChannelHandle, ChannelKind, NotifierCapabilities, Reached},
    runtime::RuntimeHandle,
    scm::PrRef,
    workspace::WorkspaceInfo,
};

use super::*;
use crate::{
    config::{
        policy::{DigestEvery, Policy},
        trigger::Trigger,
    },
    event::{Actor, Failure, Outcome, Settled, Text, digest},
    state::{Lane, Session},
};

pub(crate) const SECOND: u64 = 1_000;
pub(crate) const MINUTE: u64 = 60 * SECOND;

/// The loop without I/O. Channels take everything at once, unless a test holds one back.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) now: Now,
    pub(crate) events: Vec<Event>,
    /// Channel effects are left for the test to settle.
    pub(crate) holds_channels: bool,
}

pub(crate) fn ana() -> Actor {
    Actor { name: "ana".into(), via: "cli".into() }
}

pub(crate) fn app(n: u32) -> SessionId {
    format!("app-{n}").parse().unwrap()
}

pub(crate) fn desk() -> ChannelName {
    "desktop".parse().unwrap()
}

pub(crate) fn desktop() -> NotifierCapabilities {
    NotifierCapabilities {
        buttons: true,
        edits: true,
        volatile: true,
        title_limit: 60,
        body_limit: 200,
        ..NotifierCapabilities::plain(ChannelKind::Desktop)
    }
}

pub(crate) fn failure(kind: ErrorKind) -> Failure {
    Failure { kind, ..Failure::permanent("it broke") }
}

/// What an agent with a clean tree and two commits has made.
pub(crate) fn work(commits: u32, changed_files: u32) -> WorkFacts {
    let fingerprint = format!("{commits}/{changed_files}");
    let head = "8a1b77e".into();
    WorkFacts { head, commits, changed_files, files: commits, fingerprint, ..WorkFacts::default() }
}

pub(crate) fn question(text: &str) -> Ask {
    let options = vec!["Items only".into(), "Items and shipping".into()];
    Ask::Question { text: text.into(), options, many: false }
}

pub(crate) fn permission(command: &str) -> Ask {
    Ask::Permission {
        verb: "run".into(),
        subject: command.into(),
        place: None,
        reason: None,
        careful: vec![],
    }
}

pub(crate) fn asked(key: &str, ask: Ask) -> Told {
    let (turn, tool) = (Some("t1".into()), "AskUserQuestion".into());
    Told::Asked { key: key.into(), turn, tool, ask, full: None, answerable: true }
}

pub(crate) fn turn_started(turn: &str) -> Told {
    Told::TurnStarted { turn: Some(turn.into()), digest: None }
}

pub(crate) fn turn_ended(turn: &str) -> Told {
    let last_words = Some(Text::short("That is it."));
    Told::TurnEnded { turn: Some(turn.into()), last_words, background: false }
}

pub(crate) fn started() -> Told {
    Told::Started { native_id: Some("c-1".into()), transcript: None, version: None }
}

/// What a plugin brings when all goes well: an agent that signals and got its prompt with the launch.
pub(crate) fn usual(effect: &Effect) -> Outcome {
    match effect {
        Effect::FetchIssue => Outcome::Issue {
            title: Text::short("Coupon is applied twice"),
            prompt: Text::short("Fix the coupon."),
            digest: digest("Fix the coupon."),
            branch: None,
        },
        Effect::CreateWorkspace { branch, path, .. } => Outcome::Workspace(WorkspaceInfo {
            path: path.into(),
            branch: branch.clone(),
            base_commit: "3f9c2d1".into(),
            branch_created: true,
            notes: vec![],
        }),
        Effect::RestoreWorkspace => Outcome::Workspace(WorkspaceInfo {
            path: "/worktrees/my-app/app-1".into(),
            branch: "ao/41".into(),
            base_commit: "3f9c2d1".into(),
            branch_created: false,
            notes: vec![],
        }),
        Effect::PostCreate => Outcome::PostCreate {
            failed: None,
            last_line: Text::default(),
            lines: 0,
            commands: vec![],
        },
        Effect::CreateRuntime { launch, resume } => Outcome::Runtime {
            handle: handle(*launch),
            native_id: Some("c-1".into()),
            transcript: None,
            signals: true,
            prompted: !resume,
            resumed: *resume,
            resumable: true,
            program: Some("claude".into()),
        },
        Effect::DestroyWorkspace { .. } => Outcome::Removed(Default::default()),
        Effect::SendNotification { .. } => {
            let handle = Some(ChannelHandle("7".into()));
            Outcome::Sent { handle, reached: Reached::Delivered }
        }
        Effect::MergePr { .. } => Outcome::Merged { commit: "c01dbee".into() },
        Effect::OpenPr { .. } | Effect::ReopenPr => Outcome::PrOpened(pr()),
        Effect::TypeMessage { .. }
        | Effect::HandOverMessage { .. }
        | Effect::DecideRequest { .. }
        | Effect::RerunChecks { .. }
        | Effect::CloseIssue
        | Effect::DestroyRuntime { .. }
        | Effect::UpdateNotification { .. }
        | Effect::ResolveNotification { .. } => Outcome::Done,
    }
}

/// The pull request that the sessions of these tests have.
pub(crate) fn pr() -> PrRef {
    PrRef { repo: "acme/my-app".into(), number: PrNumber(57), node: None }
}

pub(crate) fn handle(launch: Launch) -> RuntimeHandle {
    RuntimeHandle { session: app(1), launch, id: format!("%{launch}"), server: None, process: None }
}

impl World {
    /// A server that serves and has looked at everything, with the projects `my-app` and `api`.
    pub(crate) fn new() -> Self {
        let mut policy = Policy::with_projects(&["my-app", "api"]);
        // Reminders and digests have tests of their own.
        policy.push.repeat_ms = vec![];
        policy.push.digest.every = DigestEvery::Off;
        Self::with(policy)
    }

    pub(crate) fn with(policy: Policy) -> Self {
        let wall = "2026-11-21T14:00:00Z".parse().unwrap();
        let state = State { last_at: wall, ..State::default() };
        let now = Now { wall, awake: 1_000_000 };
        let mut world = Self { state, now, events: vec![], holds_channels: false };
        world.start("boot-1");
        world.configure(policy, [(desk(), desktop())].into());
        world.give(Input::Swept { sessions: 0 }).unwrap();
        // What comes up from here on was not found by that look.
        world.now.awake += 1;
        world
    }

    pub(crate) fn start(&mut self, boot: &str) {
        self.start_after(boot, None);
    }

    /// After a server that gave its last sign of life then.
    pub(crate) fn start_after(&mut self, boot: &str, alive: Option<jiff::Timestamp>) {
        let input = Input::Started {
            instance: "01JD0000000000000000000000".parse().unwrap(),
            boot: boot.into(),
            monotonic_ms: 5_000,
            version: "0.1.0".into(),
            pid: 7,
            alive,
            zone: Some("Europe/Berlin".into()),
        };
        self.give(input).unwrap();
    }

    pub(crate) fn configure(
        &mut self,
        policy: Policy,
        channels: BTreeMap<ChannelName, NotifierCapabilities>,
    ) {
        let hash = format!("{:?}", self.state.last_seq);
        self.give(Input::Config { hash, policy: Box::new(policy), channels }).unwrap();
    }

    /// Gives an input, and what follows from what channels make of it.
    pub(crate) fn give(&mut self, input: Input) -> Result<Answered, Refusal> {
        let (events, answered) = step(&mut self.state, &input, self.now)?;
        self.events.extend(events);
        if !self.holds_channels {
            while let Some((seq, effect)) = self.channel_effect() {
                let result = Ok(usual(&effect));
                let (events, _) =
                    step(&mut self.state, &Input::Effect { intent: seq, result }, self.now)?;
                self.events.extend(events);
            }
        }
        self.indices_are_true();
        Ok(answered)
    }

    /// What is kept while the state changes is what would be derived from it anew.
    #[track_caller]
    pub(crate) fn indices_are_true(&self) {
        let mut anew = self.state.clone();
        anew.reindex();
        assert_eq!(anew.open, self.state.open, "the index of open incidents is stale");
        assert_eq!(anew.alike, self.state.alike, "the index of causes is stale");
        assert_eq!(anew.dues, self.state.dues, "a deadline is stale");
    }

    pub(crate) fn channel_effect(&self) -> Option<(Seq, Effect)> {
        let mut intents = self.state.intents.iter();
        let (seq, intent) = intents.find(|(_, i)| matches!(i.lane, Lane::Channel(_)))?;
        Some((*seq, intent.effect.clone()))
    }

    /// What a session's lane is busy with.
    pub(crate) fn effect(&self, n: u32) -> Option<Effect> {
        self.state.intent_on(&Lane::Session(app(n))).map(|(_, intent)| intent.effect.clone())
    }

    /// Settles what a session's lane is busy with.
    #[track_caller]
    pub(crate) fn settle(&mut self, n: u32, result: Result<Outcome, Failure>) {
        let lane = Lane::Session(app(n));
        let seq = self.state.intent_on(&lane).expect("the lane is busy").0;
        self.give(Input::Effect { intent: seq, result }).unwrap();
    }

    #[track_caller]
    pub(crate) fn succeed(&mut self, n: u32) {
        let effect = self.effect(n).expect("the lane is busy");
        self.settle(n, Ok(usual(&effect)));
    }

    #[track_caller]
    pub(crate) fn fail(&mut self, n: u32, kind: ErrorKind) {
        self.settle(n, Err(failure(kind)));
    }

    pub(crate) fn session(&self, n: u32) -> &Session {
        &self.state.sessions[&app(n)]
    }

    #[track_caller]
    pub(crate) fn spawn(&mut self, issue: &str) -> SessionId {
        self.give(spawn_of(issue)).unwrap().session.expect("a session")
    }

    pub(crate) fn tell(&mut self, n: u32, told: impl Into<Vec<Told>>) -> Answered {
        let launch = self.session(n).launch;
        let (session, told) = (app(n), told.into());
        let source = Source::Hook;
        self.give(Input::Signals { session, launch, source, started: None, told }).unwrap()
    }

    pub(crate) fn see(&mut self, n: u32, state: RuntimeState) {
        self.give(seen(self, n, state, false)).unwrap();
    }

    /// The runtime's server died, and these with it.
    pub(crate) fn lose(&mut self, who: impl IntoIterator<Item = u32>) {
        let seen = who.into_iter().map(|n| RuntimeSeen {
            session: app(n),
            launch: self.session(n).launch,
            state: RuntimeState::Missing,
            process: None,
            tail: None,
            server_lost: true,
            output: None,
        });
        let seen = seen.collect();
        self.give(Input::Runtime { seen }).unwrap();
    }

    /// Its restore succeeds, and it is told to go on.
    pub(crate) fn comes_back(&mut self, n: u32) {
        self.succeed(n);
        self.tell(n, [started()]);
        self.succeed(n);
    }

    pub(crate) fn look(&mut self, n: u32, work: WorkFacts) {
        self.give(Input::Work { session: app(n), work }).unwrap();
    }

    /// Spawns a session and brings it to where its first turn runs.
    #[track_caller]
    pub(crate) fn working(issue: &str) -> Self {
        let mut world = Self::new();
        world.add_working(issue);
        world
    }

    #[track_caller]
    pub(crate) fn add_working(&mut self, issue: &str) -> u32 {
        let n = self.spawn(issue).number();
        while self.effect(n).is_some() {
            self.succeed(n);
        }
        self.tell(n, [started(), turn_started("t1")]);
        n
    }

    /// The same, with an agent that tells nothing by itself.
    #[track_caller]
    pub(crate) fn quiet(issue: &str) -> Self {
        let mut world = Self::new();
        world.spawn(issue);
        while let Some(effect) = world.effect(1) {
            let mut outcome = usual(&effect);
            if let Outcome::Runtime { signals, native_id, .. } = &mut outcome {
                (*signals, *native_id) = (false, None);
            }
            world.settle(1, Ok(outcome));
        }
        world
    }

    /// The runtime says when the session last wrote to its terminal.
    pub(crate) fn wrote(&mut self, n: u32, output: jiff::Timestamp) {
        let Input::Runtime { mut seen } = seen(self, n, RuntimeState::Alive, false) else { return };
        seen[0].output = Some(output);
        self.give(Input::Runtime { seen }).unwrap();
    }

    /// The same, with the first turn ended.
    pub(crate) fn idle(issue: &str) -> Self {
        let mut world = Self::working(issue);
        world.tell(1, [turn_ended("t1")]);
        world
    }

    /// Lets time pass as the loop does: from deadline to deadline, each with one tick.
    #[track_caller]
    pub(crate) fn pass(&mut self, ms: u64) {
        let end = self.now.awake + ms;
        loop {
            let (awake, wall) = self.state.next_due();
            let by_wall = wall.map(|at| {
                let wait = at.duration_since(self.now.wall).as_millis();
                self.now.awake.saturating_add(u64::try_from(wait).unwrap_or(0))
            });
            let next = [awake, by_wall].into_iter().flatten().min().unwrap_or(end).min(end);
            let step = next.saturating_sub(self.now.awake);
            self.now.awake += step;
            self.now.wall += jiff::SignedDuration::from_millis(i64::try_from(step).unwrap());
            self.tick();
            if self.now.awake >= end {
                return;
            }
        }
    }

    /// One tick; what was due is not due any more.
    #[track_caller]
    pub(crate) fn tick(&mut self) {
        self.give(Input::Tick).unwrap();
        let due = self.state.due(self.now);
        assert!(due.is_empty(), "still due after a tick, the loop would spin: {due:?}");
    }

    /// Gives an input and compares what is concluded from it.
    #[track_caller]
    pub(crate) fn check(&mut self, input: Input, expected: &[&str]) {
        let from = self.events.len();
        let session = self.give(input);
        session.unwrap();
        self.concluded(from, expected);
    }

    /// Tells signals and compares.
    #[track_caller]
    pub(crate) fn hears(&mut self, n: u32, told: impl Into<Vec<Told>>, expected: &[&str]) {
        let from = self.events.len();
        self.tell(n, told);
        self.concluded(from, expected);
    }

    /// Settles the session's effect and compares.
    #[track_caller]
    pub(crate) fn brings(&mut self, n: u32, result: Result<Outcome, Failure>, expected: &[&str]) {
        let from = self.events.len();
        self.settle(n, result);
        self.concluded(from, expected);
    }

    /// Lets time pass and compares.
    #[track_caller]
    pub(crate) fn after(&mut self, ms: u64, expected: &[&str]) {
        let from = self.events.len();
        self.pass(ms);
        self.concluded(from, expected);
    }

    #[track_caller]
    pub(crate) fn concluded(&self, from: usize, expected: &[&str]) {
        let found: Vec<String> = self.events[from..].iter().filter_map(line).collect();
        assert_eq!(found, expected);
    }

    /// A message as it is to be seen now on a desktop.
    pub(crate) fn message(
        &self,
        told: &crate::state::Notification,
        channel: &ChannelName,
    ) -> ao_slots::notifier::Message {
        message(&self.state, self.now, told, channel)
    }

    /// Titles of all messages that called a human.
    pub(crate) fn pushes(&self) -> Vec<&str> {
        let pushes = self.events.iter().filter_map(|event| match &event.kind {
            Kind::NotificationOpened(e) => Some(e.title.as_str()),
            _ => None,
        });
        pushes.collect()
    }

    #[track_caller]
    pub(crate) fn refused(&mut self, input: Input, message: &str) {
        let before = self.state.last_seq;
        let refusal = self.give(input).expect_err("it should be refused");
        assert_eq!(refusal.message, message);
        assert_eq!(self.state.last_seq, before, "a refusal changes nothing");
    }
}

pub(crate) fn message(
    state: &State,
    now: Now,
    told: &crate::state::Notification,
    channel: &ChannelName,
) -> ao_slots::notifier::Message {
    let (can, seen) = (desktop(), crate::words::Seen::default());
    let words =
        crate::words::Words { state, now, zone: None, channel: Some(&can), text: &|_| None, seen };
    words.message(told, channel)
}

pub(crate) fn spawn_of(issue: &str) -> Input {
    Input::Spawn(Box::new(Spawn {
        project: "my-app".parse().unwrap(),
        issue: Some(issue.into()),
        title: Text::default(),
        prompt: Text::default(),
        digest: String::new(),
        env_names: vec![],
        agent: None,
        branch: None,
        force: false,
        by: ana(),
    }))
}

pub(crate) fn spawn_prompt(prompt: &str) -> Input {
    let Input::Spawn(mut spawn) = spawn_of("") else { unreachable!() };
    spawn.issue = None;
    spawn.title = Text::short(prompt);
    spawn.prompt = Text::short(prompt);
    spawn.digest = digest(prompt);
    Input::Spawn(spawn)
}

pub(crate) fn seen(world: &World, n: u32, state: RuntimeState, server_lost: bool) -> Input {
    let launch = world.session(n).launch;
    let tail = Some(Text::short("ENOSPC: no space left on device"));
    let session = app(n);
    let seen =
        RuntimeSeen { session, launch, state, process: None, tail, server_lost, output: None };
    Input::Runtime { seen: vec![seen] }
}

pub(crate) fn kill(n: u32) -> Input {
    Input::Kill { session: app(n), force: false, by: ana() }
}

pub(crate) fn restore(n: u32) -> Input {
    Input::Restore { session: app(n), fresh: false, env_names: None, by: ana() }
}

pub(crate) fn done(n: u32) -> Input {
    Input::Done { session: app(n), by: ana() }
}

pub(crate) fn send(n: u32, text: &str) -> Input {
    Input::Send { session: app(n), text: Text::short(text), digest: digest(text), by: ana() }
}

pub(crate) fn decision(n: u32, decision: Decision) -> Input {
    Input::Decide { session: app(n), request: None, decision, full: None, by: ana() }
}

pub(crate) fn answer(n: u32, text: &str) -> Input {
    decision(n, Decision::Answer { text: text.into() })
}

/// What was concluded, in short. What came in, and what channels did, is left out.
fn line(event: &Event) -> Option<String> {
    let how = |how: &Settled| match how {
        Settled::ByItself => "by itself".to_owned(),
        Settled::Handled => "by ao".into(),
        Settled::By(actor) => format!("by {actor}"),
        Settled::Over => "over".into(),
    };
    Some(match &event.kind {
        Kind::EffectIntended(e) => match &e.effect {
            Effect::FetchIssue => "do fetch".into(),
            Effect::CreateWorkspace { .. } => "do workspace".into(),
            Effect::RestoreWorkspace => "do restore-workspace".into(),
            Effect::PostCreate => "do post-create".into(),
            Effect::CreateRuntime { launch, resume: false } => format!("do launch {launch}"),
            Effect::CreateRuntime { launch, resume: true } => format!("do resume {launch}"),
            Effect::TypeMessage { message } => format!("do type {message}"),
            Effect::HandOverMessage { message, .. } => format!("do hand over {message}"),
            Effect::DecideRequest { request } => format!("do decide {request}"),
            Effect::DestroyRuntime { launch } => format!("do end {launch}"),
            Effect::MergePr { head, .. } => format!("do merge {head}"),
            Effect::RerunChecks { head } => format!("do rerun {head}"),
            Effect::OpenPr { .. } => "do open-pr".into(),
            Effect::ReopenPr => "do reopen-pr".into(),
            Effect::CloseIssue => "do close-issue".into(),
            Effect::DestroyWorkspace { removal } => format!("do remove {removal:?}"),
            Effect::SendNotification { .. }
            | Effect::UpdateNotification { .. }
            | Effect::ResolveNotification { .. } => return None,
        },
        Kind::StatusChanged(e) => format!("is {}", e.to.as_str()),
        Kind::SessionEnded(e) => format!("over {:?}", e.how),
        Kind::SpawnFailed(e) => format!("spawn fails at {}", e.step),
        Kind::SessionReady(_) => "ready".into(),
        Kind::RestoreDecided(_) => format!("restores {}", event.session.as_ref()?),
        Kind::RestoreSettled(e) => if e.ok { "restored" } else { "not restored" }.into(),
        Kind::MessageQueued(e) => format!("queues {}", e.message),
        Kind::AttemptFailed(e) => format!("nothing came of {}", e.message),
        Kind::MergeDecided(e) => format!("merges {}", e.head),
        Kind::MessageWithdrawn(e) => format!("withdraws {}", e.message),
        Kind::IncidentOpened(e) => match &e.detail {
            Some(detail) => format!("opens {} ({detail})", e.trigger),
            None => format!("opens {}", e.trigger),
        },
        Kind::IncidentChanged(e) => format!("changes {}", e.incident),
        Kind::IncidentCleared(e) => format!("clears {} {}", e.incident, how(&e.how)),
        Kind::IncidentReopened(e) => format!("reopens {}", e.incident),
        Kind::IncidentResolved(e) => format!("resolves {} {}", e.incident, how(&e.how)),
        Kind::NotificationOpened(e) => format!("push: {}", e.title),
        Kind::NotificationJoined(e) => format!("joins {} to {}", e.incident, e.notification),
        Kind::NotificationChanged(e) if e.settled => format!("settles {}", e.notification),
        Kind::NotificationChanged(e) => format!("edits {}", e.notification),
        Kind::DeliveryHeld(e) => {
            format!("keeps {} from {}: {:?}", e.notification, e.channel, e.why)
        }
        Kind::NotificationEscalated(e) => format!("raises {} ({})", e.notification, e.step),
        Kind::NotificationHeld(e) => format!("holds {}: {}", e.incident, e.title),
        Kind::DeliveryAdded(e) => format!("adds {} to {}", e.channel, e.notification),
        Kind::DeliveryDropped(e) => format!("drops {}: {}", e.notification, e.reason),
        Kind::RoundCompleted(e) => format!("round of {}", e.sessions.len()),
        _ => return None,
    })
}
