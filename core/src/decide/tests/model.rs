//! R22: whatever comes in, in whatever order, what must always hold does.

use std::{collections::BTreeSet, sync::LazyLock};

use ao_slots::{
    IncidentId, MessageId, NotificationId, PrNumber, RequestId, SilenceId,
    agent::Usage,
    fact::{AgentErrorKind, Checks, Mergeable, PrFacts, PrState, Priority, Review},
};
use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    test_runner::{Config, TestRunner},
};

use super::*;
use crate::{event::Over, state::Matchers};

/// One thing that happens. Sessions, intents and ids are named by small numbers that may fit nothing.
#[derive(Debug, Clone)]
enum Happens {
    /// Time passes by both clocks, or by one.
    Passes { awake: u64, wall: i64 },
    /// As it is.
    Input(Input),
    /// The `n`th effect under way comes to an end that fits it.
    Ends { nth: usize, result: Result<(), ErrorKind> },
    /// The agent of session `n` tells something, in its present launch.
    Tells { n: u32, source: Source, started: Option<u64>, told: Vec<Told> },
    /// The runtime says something of session `n` in its present launch.
    Seen { n: u32, state: RuntimeState, server_lost: bool },
}

fn small_text() -> impl Strategy<Value = Text> {
    select(vec!["", "Which?", "x\u{1b}[31m", "token ghp_abcdefghijklmnopqrstuvwxyz0123"])
        .prop_map(Text::short)
}

fn session() -> impl Strategy<Value = SessionId> {
    (1..4_u32).prop_map(app)
}

fn kinds() -> impl Strategy<Value = ErrorKind> {
    select(vec![
        ErrorKind::Transient,
        ErrorKind::Permanent,
        ErrorKind::InDoubt,
        ErrorKind::NotFound,
        ErrorKind::Refused,
        ErrorKind::Missing,
        ErrorKind::Unsupported,
    ])
}

fn activity() -> impl Strategy<Value = Activity> {
    select(vec![
        Activity::Starting,
        Activity::Active,
        Activity::Idle,
        Activity::WaitingInput,
        Activity::Blocked,
        Activity::RateLimited { until: None },
        Activity::RateLimited { until: "2026-11-21T15:00:00Z".parse().ok() },
        Activity::Errored { kind: AgentErrorKind::Login },
        Activity::Exited,
        Activity::NoSignal,
    ])
}

fn runtime() -> impl Strategy<Value = RuntimeState> {
    select(vec![
        RuntimeState::Starting,
        RuntimeState::Alive,
        RuntimeState::Alive,
        RuntimeState::Exited { code: Some(0) },
        RuntimeState::Exited { code: Some(1) },
        RuntimeState::Exited { code: None },
        RuntimeState::Missing,
        RuntimeState::Unknown,
    ])
}

fn source() -> impl Strategy<Value = Source> {
    select(vec![Source::Hook, Source::Transcript, Source::Screen])
}

fn key() -> impl Strategy<Value = String> {
    select(vec!["k1", "k2", "k3"]).prop_map(str::to_owned)
}

fn turn() -> impl Strategy<Value = Option<String>> {
    select(vec![None, Some("t1"), Some("t2")]).prop_map(|turn| turn.map(str::to_owned))
}

fn told() -> impl Strategy<Value = Told> {
    let digests = select(vec!["Fix the coupon.", "Go on", "something else"]);
    let ask = select(vec![permission("npm publish"), question("Which?")]);
    prop_oneof![
        3 => Just(started()),
        4 => (turn(), proptest::option::of(digests.clone())).prop_map(|(turn, text)| {
            Told::TurnStarted { turn, digest: text.map(digest) }
        }),
        4 => (turn(), any::<bool>()).prop_map(|(turn, background)| Told::TurnEnded {
            turn,
            last_words: None,
            background,
        }),
        2 => turn().prop_map(|turn| Told::TakesMessage { turn }),
        1 => digests.prop_map(|text| Told::TextSeen { digest: digest(text) }),
        1 => proptest::option::of(small_text())
            .prop_map(|command| Told::ToolStarted { tool: "Bash".into(), command }),
        2 => proptest::option::of(key()).prop_map(|request| Told::ToolEnded { request }),
        3 => (key(), turn(), ask, any::<bool>()).prop_map(|(key, turn, ask, answerable)| {
            Told::Asked { key, turn, tool: "Bash".into(), ask, full: None, answerable }
        }),
        2 => key().prop_map(|key| Told::RequestEnded { key }),
        1 => Just(Told::RateLimited { until: "2026-11-21T14:30:00Z".parse().ok() }),
        1 => small_text()
            .prop_map(|text| Told::Failed { kind: AgentErrorKind::ProviderDown, text }),
        1 => small_text().prop_map(|text| Told::Setup { text }),
        1 => Just(Told::Exited),
        2 => Just(Told::Alive),
        1 => Just(Told::NoSignal),
        1 => small_text().prop_map(|text| Told::Suspected { text }),
        2 => Just(Told::Completed { text: None }),
        2 => activity().prop_map(|activity| Told::Observed { activity }),
        1 => (0..3_u64).prop_map(|offset| Told::Usage {
            usage: Usage { cost_micros: Some(offset), ..Usage::default() },
            offset,
        }),
    ]
}

fn work_facts() -> impl Strategy<Value = WorkFacts> {
    (0..3_u32, 0..2_u32).prop_map(|(commits, changed)| work(commits, changed))
}

fn pr_facts() -> impl Strategy<Value = PrFacts> {
    let state = select(vec![
        PrState::None,
        PrState::Draft,
        PrState::Open,
        PrState::Merged,
        PrState::Closed,
    ]);
    let checks = select(vec![Checks::None, Checks::Passing, Checks::Failing]);
    let mergeable = select(vec![
        Mergeable::Yes,
        Mergeable::Blocked,
        Mergeable::Behind,
        Mergeable::Conflicting,
        Mergeable::Unknown,
    ]);
    (state, checks, mergeable, 0..2_u32).prop_map(|(state, checks, mergeable, remarks)| PrFacts {
        number: PrNumber(57),
        title: "Dark mode".into(),
        head: "3f9c2d1".into(),
        state,
        checks,
        failing: vec![],
        pending: 0,
        review: Review::None,
        human_threads: 0,
        remarks,
        remark_ids: vec![],
        bot_threads: 0,
        mergeable,
        discussion: String::new(),
        details: Default::default(),
    })
}

fn decisions() -> impl Strategy<Value = Decision> {
    prop_oneof![
        Just(Decision::Approve),
        Just(Decision::Deny { reason: None }),
        Just(Decision::Answer { text: "Items only".into() }),
    ]
}

/// The defaults, as a short policy: what is left out of it has its default.
fn sane() -> Policy {
    let mut policy = Policy::with_projects(&["my-app"]);
    policy.rules.reactions.clear();
    for project in policy.projects.values_mut() {
        project.rules.reactions.clear();
    }
    policy
}

fn policies() -> impl Strategy<Value = Policy> {
    select(vec![0, 1, 2, 3]).prop_map(|which| {
        let mut policy = Policy::with_projects(&["my-app"]);
        match which {
            0 => {}
            // Thresholds without any sense.
            1 => {
                let project = policy.projects.values_mut().next().unwrap();
                for reaction in project.rules.reactions.values_mut() {
                    reaction.threshold_ms = Some(u64::MAX);
                    reaction.escalate_after_ms = Some(0);
                    reaction.priority = Priority::Info;
                }
                policy.lifecycle.restores_at_once = 0;
                policy.lifecycle.restore_again_after_ms = u64::MAX;
                policy.lifecycle.settle.urgent_ms = u64::MAX;
            }
            2 => policy.projects.clear(),
            // Nothing is urgent, and the digest tells of it.
            _ => {
                let project = policy.projects.values_mut().next().unwrap();
                for reaction in project.rules.reactions.values_mut() {
                    reaction.priority = Priority::Info;
                }
            }
        }
        policy
    })
}

fn inputs() -> impl Strategy<Value = Input> {
    let by = ana;
    let request = proptest::option::of((0..4_u64).prop_map(RequestId));
    let incident = (0..6_u64).prop_map(IncidentId);
    let minutes = -60..600_i64;
    prop_oneof![
        6 => Just(Input::Tick),
        4 => select(vec!["41", "42"]).prop_map(spawn_of),
        1 => Just(spawn_prompt("Fix it")),
        3 => Just(Input::Swept { sessions: 3 }),
        1 => select(vec!["boot-1", "boot-2"]).prop_map(|boot| Input::Started {
            instance: "01JD0000000000000000000000".parse().unwrap(),
            boot: boot.into(),
            monotonic_ms: 5_000,
            version: "0.1.0".into(),
            pid: 7,
            alive: None,
            zone: None,
        }),
        1 => Just(Input::Stopping { reason: "stop".into() }),
        1 => (-100_000..100_000_i64).prop_map(|ahead_ms| Input::ClockJumped { ahead_ms }),
        1 => policies().prop_map(|policy| Input::Config {
            hash: format!("{}-{}", policy.projects.len(), policy.lifecycle.restores_at_once),
            policy: Box::new(policy),
            channels: [(desk(), desktop())].into(),
        }),
        1 => (small_text(), any::<bool>()).prop_map(|(reason, untrusted)| Input::ConfigRefused { file: "a.yaml".into(), reason, untrusted }),
        1 => Just(Input::ConfigAccepted { file: "a.yaml".into() }),
        1 => (select(vec![0, 1 << 20, 5 << 30]), any::<bool>())
            .prop_map(|(free, failing)| Input::Disk { free, failing }),
        1 => Just(Input::Tampered { path: "/data/run/ao".into(), kept: None }),
        1 => Just(Input::Gap { from: 3, to: 4 }),
        1 => small_text().prop_map(|message| Input::Quarantined { file: "x".into(), message }),
        3 => (session(), work_facts()).prop_map(|(session, work)| Input::Work { session, work }),
        2 => (session(), pr_facts()).prop_map(|(session, pr)| Input::Pr { session, pr }),
        1 => (session(), any::<bool>())
            .prop_map(|(session, completed)| Input::Issue { session, completed }),
        // Of any launch, also of none that ever was.
        1 => (session(), 0..4_u32, source(), vec(told(), 0..3)).prop_map(
            |(session, launch, source, told)| {
                let launch = Launch(launch);
                Input::Signals { session, launch, source, started: None, told }
            }
        ),
        // Ends of effects that do not fit, or that never were.
        1 => (0..300_u64, outcomes()).prop_map(|(seq, outcome)| {
            Input::Effect { intent: Seq(seq), result: Ok(outcome) }
        }),
        2 => (session(), request, decisions()).prop_map(move |(session, request, decision)| {
            Input::Decide { session, request, decision, full: None, by: by() }
        }),
        2 => session().prop_map(|session| {
            let text = "Go on";
            Input::Send { session, text: Text::short(text), digest: digest(text), by: ana() }
        }),
        2 => (session(), 0..4_u32).prop_map(|(session, key)| {
            let text = "Go on";
            let (text, digest) = (Text::short(text), digest(text));
            let act = Box::new(Input::Send { session, text, digest, by: ana() });
            Input::Once { key: format!("k{key}"), act }
        }),
        2 => (session(), any::<bool>())
            .prop_map(|(session, force)| Input::Kill { session, force, by: ana() }),
        1 => session().prop_map(|session| Input::Done { session, by: ana() }),
        3 => (session(), any::<bool>())
            .prop_map(|(session, fresh)| Input::Restore { session, fresh, env_names: None, by: ana() }),
        1 => (session(), any::<bool>())
            .prop_map(|(session, force)| Input::Cleanup { session, force, by: ana() }),
        1 => incident.clone().prop_map(|incident| Input::Acknowledge { incident, by: ana() }),
        1 => (incident, minutes).prop_map(|(incident, minutes)| {
            let start: jiff::Timestamp = "2026-11-21T14:00:00Z".parse().unwrap();
            let until = start + jiff::SignedDuration::from_mins(minutes);
            Input::Snooze { incident, until, by: ana() }
        }),
        1 => (session(), 1..40_i64, any::<bool>()).prop_map(|(session, minutes, all)| {
            let start: jiff::Timestamp = "2026-11-21T14:00:00Z".parse().unwrap();
            let until = start + jiff::SignedDuration::from_mins(minutes);
            let matchers = match all {
                true => Matchers { priority: Some(Priority::Action), ..Matchers::default() },
                false => Matchers::session(&session),
            };
            Input::SilenceAdd { matchers, until, comment: String::new(), by: ana() }
        }),
        1 => (1..4_u64).prop_map(|n| Input::SilenceEnd { silence: SilenceId(n), by: ana() }),
        1 => (1..4_u64, session()).prop_map(|(n, session)| Input::Press {
            pressed: Pressed {
                notification: NotificationId(n),
                channel: desk(),
                button: "kill".into(),
                token: None,
                identity: None,
            },
            acts: vec![Input::Kill { session, force: false, by: ana() }],
            by: ana(),
        }),
    ]
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Done),
        Just(usual(&Effect::FetchIssue)),
        Just(usual(&Effect::RestoreWorkspace)),
        Just(usual(&Effect::PostCreate)),
        Just(usual(&Effect::CreateRuntime { launch: Launch(9), resume: false })),
        Just(Outcome::Sent { handle: None, reached: Reached::Seen }),
    ]
}

fn happens() -> impl Strategy<Value = Happens> {
    let ms =
        select(vec![0, 1, 500, 2_000, 15_000, 60_000, 700_000, 2_000_000, u64::from(u32::MAX)]);
    let skew = select(vec![0, 0, 0, 0, -3_600_000, 3_600_000, 315_360_000_000]);
    let result = prop_oneof![4 => Just(Ok(())), 1 => kinds().prop_map(Err)];
    prop_oneof![
        3 => (ms, skew).prop_map(|(awake, skew)| {
            Happens::Passes { awake, wall: i64::try_from(awake).unwrap() + skew }
        }),
        8 => (0..4_usize, result).prop_map(|(nth, result)| Happens::Ends { nth, result }),
        8 => inputs().prop_map(Happens::Input),
        6 => (1..4_u32, source(), proptest::option::of(0..40_u64), vec(told(), 1..3))
            .prop_map(|(n, source, started, told)| Happens::Tells { n, source, started, told }),
        2 => (1..4_u32, runtime(), any::<bool>())
            .prop_map(|(n, state, server_lost)| Happens::Seen { n, state, server_lost }),
    ]
}

/// Attempts, as they must never shrink: launches, restores, tries of a message, calls of a human.
fn attempts(state: &State) -> BTreeMap<(SessionId, Option<MessageId>), (u32, u32)> {
    let mut attempts = BTreeMap::new();
    for (id, session) in &state.sessions {
        attempts.insert((id.clone(), None), (session.launch.0, session.asked));
        for message in session.messages.values() {
            attempts.insert((id.clone(), Some(message.id)), (message.tries, 0));
        }
    }
    attempts
}

#[derive(Debug)]
struct Run {
    state: State,
    now: Now,
    events: Vec<Event>,
}

impl Run {
    fn new() -> Self {
        static BEGUN: LazyLock<World> = LazyLock::new(|| World::with(sane()));
        let World { state, now, events, .. } = BEGUN.clone();
        Self { state, now, events }
    }

    /// Gives the input; what must hold after each.
    fn give(&mut self, input: &Input) {
        let before = attempts(&self.state);
        let seq = self.state.last_seq;
        let Ok((events, _)) = step(&mut self.state, input, self.now) else {
            assert_eq!(self.state.last_seq, seq, "a refusal changes nothing");
            return;
        };
        for (key, after) in attempts(&self.state) {
            let was = before.get(&key).copied().unwrap_or_default();
            assert!(after.0 >= was.0 && after.1 >= was.1, "{key:?}: {was:?} became {after:?}");
        }
        if matches!(input, Input::Swept { .. }) && *self.state.policy == sane() {
            one_message_a_channel(&events);
        }
        self.events.extend(events);
    }

    fn happen(&mut self, what: Happens) {
        match what {
            Happens::Passes { awake, wall } => {
                self.now.awake += awake;
                let ahead_ms = wall - i64::try_from(awake).unwrap();
                let wall = jiff::SignedDuration::from_millis(wall);
                self.now.wall = self.now.wall.saturating_add(wall).unwrap_or(self.now.wall);
                // The loop notices.
                if ahead_ms != 0 {
                    self.give(&Input::ClockJumped { ahead_ms });
                }
                self.give(&Input::Tick);
                self.a_tick_leaves_nothing_due();
            }
            Happens::Input(input) => self.give(&input),
            Happens::Ends { nth, result } => {
                let Some((seq, intent)) = self.state.intents.iter().nth(nth) else { return };
                let result = match result {
                    Ok(()) => Ok(usual(&intent.effect)),
                    Err(kind) => Err(failure(kind)),
                };
                self.give(&Input::Effect { intent: *seq, result });
            }
            Happens::Tells { n, source, started, told } => {
                let Some(session) = self.state.sessions.get(&app(n)) else { return };
                let launch = session.launch;
                self.give(&Input::Signals { session: app(n), launch, source, started, told });
            }
            Happens::Seen { n, state, server_lost } => {
                let Some(session) = self.state.sessions.get(&app(n)) else { return };
                let launch = session.launch;
                let session = app(n);
                let seen = RuntimeSeen {
                    session,
                    launch,
                    state,
                    process: None,
                    tail: None,
                    server_lost,
                    output: None,
                };
                self.give(&Input::Runtime { seen: vec![seen] });
            }
        }
    }

    fn a_tick_leaves_nothing_due(&mut self) {
        let due = self.state.due(self.now);
        assert!(due.is_empty(), "still due after a tick: {due:?}");
        let seq = self.state.last_seq;
        self.give(&Input::Tick);
        assert_eq!(self.state.last_seq, seq, "a second tick at the same time adds nothing");
    }

    /// What must hold of the whole.
    fn check(&mut self) {
        self.give(&Input::Tick);
        self.a_tick_leaves_nothing_due();
        self.it_comes_to_rest();
        self.each_event_is_well_made();
        self.what_is_over_does_not_act();
        // The dearest look, at one story of four.
        if self.events.len().is_multiple_of(4) {
            self.it_can_be_told_anew();
        }
        for incident in self.state.incidents.values() {
            crate::words::title(&self.state, incident);
        }
        for notification in self.state.notifications.values() {
            for channel in notification.deliveries.keys() {
                let message = message(&self.state, self.now, notification, channel);
                assert!(!message.title.is_empty(), "{notification:?}");
                let meta = message.meta.join(" ");
                // Ids in a row are named by the first and the last.
                let within = |word: &str, id: &IncidentId| {
                    let run = word.trim_end_matches(',').strip_prefix("i-");
                    let (first, last) = run.map(|run| run.split_once('…').unwrap_or((run, run)))?;
                    Some((first.parse().ok()?..=last.parse().ok()?).contains(&id.0))
                };
                let names =
                    |id: &IncidentId| meta.split(' ').any(|word| within(word, id) == Some(true));
                let covers = notification.covers_on(channel);
                let known = |id: &&IncidentId| self.state.incidents.contains_key(id);
                assert!(covers.iter().filter(known).all(names), "it names what it covers: {meta}");
            }
        }
    }

    /// From here on all goes well: effects succeed, everything is looked at, an hour passes. Then nothing
    /// waits for something that nobody does, and whatever needs a human has called one.
    fn it_comes_to_rest(&mut self) {
        if *self.state.policy != sane() {
            self.give(&Input::Config {
                hash: "sane".into(),
                policy: Box::new(sane()),
                channels: [(desk(), desktop())].into(),
            });
        }
        // Nobody wants quiet any more, however long he did.
        for silence in self.state.silences.keys().copied().collect::<Vec<_>>() {
            self.give(&Input::SilenceEnd { silence, by: ana() });
        }
        self.give(&Input::Disk { free: 5 << 30, failing: false });
        self.give(&Input::Swept { sessions: 3 });
        for minutes in [1, 1, 5, 10, 20, 20, 1, 1, 1] {
            self.all_effects_succeed();
            self.now.awake += minutes * MINUTE;
            let minutes = jiff::SignedDuration::from_mins(i64::try_from(minutes).unwrap());
            self.now.wall = self.now.wall.saturating_add(minutes).unwrap();
            self.give(&Input::Tick);
        }
        self.all_effects_succeed();
        for session in self.state.sessions.values() {
            self.is_at_rest(session);
        }
        for incident in self.state.incidents.values().filter(|i| i.resolved.is_none()) {
            let who = match &incident.subject {
                Subject::Session(id) => self.state.sessions.get(id),
                _ => None,
            };
            assert!(who.is_none_or(|s| !s.is_over()), "about what is over: {incident:?}");
            let young = incident.stands.awake + 2 * MINUTE > self.now.awake;
            let told = incident.notification.is_some()
                || incident.snoozed.is_some()
                || incident.held.is_some()
                || incident.is_taken();
            // Nobody hears of what is being repaired, and of what another incident explains.
            let wanted = super::super::schedule::wanted_at(&self.state, incident);
            let quiet = wanted.is_none_or(|at| at + 2 * MINUTE > self.now.awake)
                || super::super::cause::muted_by(&self.state, incident).is_some();
            assert!(told || young || quiet, "{incident:?}");
        }
        for (name, channel) in &self.state.channels {
            assert!(channel.waiting.is_empty(), "{name} has not sent {:?}", channel.waiting);
        }
    }

    fn all_effects_succeed(&mut self) {
        for _ in 0..200 {
            let Some((seq, intent)) = self.state.intents.iter().next() else { return };
            let input = Input::Effect { intent: *seq, result: Ok(usual(&intent.effect)) };
            self.give(&input);
        }
        panic!("effects for ever: {:?}", self.state.intents);
    }

    fn is_at_rest(&self, session: &Session) {
        let id = &session.id;
        if session.is_over() {
            assert!(session.cleanup.is_none(), "{id} is never cleaned up");
            return;
        }
        assert_eq!(session.intent, crate::state::Want::Run, "{id} is not ended");
        let about_it = |incident: &crate::state::Incident| {
            incident.is_open() && incident.sessions.contains(id)
        };
        let told = self.state.incidents.values().any(about_it);
        let red = session.status.zone() == crate::state::Zone::Red;
        assert!(told || !red, "{id} is {:?} and nobody is told", session.status);
        // Who gives no sign after a launch is found by the sweep.
        let silent = session.signals && !session.signalled;
        let set_up = session.step == crate::state::Step::Ready;
        assert!(told || set_up || silent, "{id} is stuck at {:?}", session.step);
        let lost = session
            .messages
            .values()
            .any(|m| matches!(m.fate, crate::state::Fate::Undelivered { .. }));
        assert!(told || !lost || session.has_ended(), "{id}: a message is lost in silence");
    }

    fn each_event_is_well_made(&self) {
        for (at, event) in self.events.iter().enumerate() {
            assert_eq!(event.seq.0, at as u64 + 1, "places have no holes");
            assert!(event.because.len() <= 16);
            assert!(event.because.iter().all(|cause| *cause < event.seq));
            if let Kind::NotificationOpened(e) = &event.kind {
                let names = e.incident.is_some() && e.incident == e.covers.first().copied();
                let covered = |part: &Vec<IncidentId>| part.iter().all(|id| e.covers.contains(id));
                assert!(e.parts.values().all(covered), "{e:?}");
                let summary = e.incident.is_none() && e.summary.is_some();
                assert!(names || summary, "a message names what it covers: {e:?}");
            }
        }
    }

    /// After the end there is nothing but cleaning up, until a human asks for a restore.
    fn what_is_over_does_not_act(&self) {
        let mut over: BTreeSet<&SessionId> = BTreeSet::new();
        for event in &self.events {
            let Some(id) = &event.session else { continue };
            match &event.kind {
                Kind::SessionEnded(e)
                    if matches!(e.how, Over::Killed | Over::Merged | Over::Done | Over::Failed) =>
                {
                    assert!(over.insert(id), "{id} ends twice");
                }
                Kind::RestoreRequested(_) => {
                    over.remove(id);
                }
                Kind::EffectIntended(e) if over.contains(id) => {
                    assert!(matches!(e.effect, Effect::DestroyWorkspace { .. }), "{id}: {e:?}");
                }
                Kind::RestoreDecided(_) | Kind::MessageQueued(_) | Kind::NotificationOpened(_) => {
                    assert!(!over.contains(id), "{id} acts after its end: {event:?}");
                }
                _ => {}
            }
        }
    }

    /// The same events give the same state: at once, by way of the journal, and by way of a snapshot.
    fn it_can_be_told_anew(&self) {
        let wall = "2026-11-21T14:00:00Z".parse().unwrap();
        let mut told = State { last_at: wall, ..State::default() };
        for event in &self.events {
            let line = event.encode().unwrap();
            let read = Event::decode(&line).unwrap();
            assert_eq!(read, *event);
            told.replay(&read);
        }
        assert_eq!(told.hash(), self.state.hash(), "the journal tells another story");
        let json = serde_json::to_vec(&self.state).unwrap();
        let mut read: State = serde_json::from_slice(&json).unwrap();
        read.reindex();
        assert_eq!(read.open, self.state.open, "the index of open incidents is stale");
        assert_eq!(read.dues, self.state.dues, "a deadline is stale");
        assert_eq!(read.hash(), self.state.hash());
    }
}

/// What had to wait for a look at everything is told in one message a channel.
fn one_message_a_channel(events: &[Event]) {
    let mut called = BTreeSet::new();
    for event in events {
        if let Kind::NotificationOpened(e) = &event.kind
            && e.incident.is_some()
        {
            assert!(e.channels.iter().all(|name| called.insert(name.clone())), "{events:?}");
        }
    }
}

/// Sequences in all; `AO_SEQUENCES` asks for another number.
fn sequences(part: u32) -> Config {
    let asked = std::env::var("AO_SEQUENCES").ok().and_then(|n| n.parse::<u32>().ok());
    Config {
        failure_persistence: None,
        max_shrink_iters: 4_096,
        ..Config::with_cases(asked.unwrap_or(10_000) / part)
    }
}

fn run(part: u32, strategy: impl Strategy<Value = Vec<Happens>>) {
    let mut runner = TestRunner::new(sequences(part));
    let test = |story: Vec<Happens>| {
        let mut run = Run::new();
        for what in story {
            run.happen(what);
        }
        run.check();
        Ok(())
    };
    runner.run(&strategy, test).unwrap();
}

#[test]
fn r22_anything_in_any_order() {
    run(2, vec(happens(), 0..longest()));
}

/// Sessions that are set up and work, so that the middle of their lives is reached.
#[test]
fn r22_anything_that_happens_to_working_agents() {
    let set_up = || {
        let started = |n| Happens::Tells {
            n,
            source: Source::Hook,
            started: Some(20),
            told: vec![started(), turn_started("t1")],
        };
        let spawn = |issue| Happens::Input(spawn_of(issue));
        let end = || Happens::Ends { nth: 0, result: Ok(()) };
        let mut story = vec![spawn("41"), spawn("42")];
        story.extend((0..8).map(|_| end()));
        story.extend([started(1), started(2)]);
        story
    };
    let strategy = vec(happens(), 0..longest()).prop_map(move |rest| [set_up(), rest].concat());
    run(2, strategy);
}

/// What is left to the digest or to an agent, and put off by a human: what follows from either when its time has come.
#[test]
fn r22_anything_that_happens_to_what_was_put_off() {
    let set_up = |(calm, minutes): (bool, i64)| {
        let spawn = Happens::Input(spawn_of("41"));
        let end = || Happens::Ends { nth: 0, result: Ok(()) };
        let tells = |told| Happens::Tells { n: 1, source: Source::Hook, started: Some(20), told };
        let red = PrFacts { checks: Checks::Failing, ..review::green("3f9c2d1") };
        let mut policy = Policy::with_projects(&["my-app"]);
        let project = policy.projects.values_mut().next().unwrap();
        for reaction in project.rules.reactions.values_mut() {
            match calm {
                true => reaction.priority = Priority::Info,
                false => reaction.escalate_after_ms = Some(30 * MINUTE),
            }
        }
        let config = Input::Config {
            hash: format!("{calm}"),
            policy: Box::new(policy),
            channels: [(desk(), desktop())].into(),
        };
        let mut story = vec![Happens::Input(config), spawn];
        story.extend((0..4).map(|_| end()));
        story.push(tells(vec![started(), turn_started("t1"), asked("k1", question("Which?"))]));
        story.push(Happens::Input(Input::Pr { session: app(1), pr: red }));
        story.push(Happens::Passes { awake: 120_000, wall: 120_000 });
        let start: jiff::Timestamp = "2026-11-21T14:00:00Z".parse().unwrap();
        let until = start + jiff::SignedDuration::from_mins(minutes);
        story.extend(
            (1..4).map(|n| {
                Happens::Input(Input::Snooze { incident: IncidentId(n), until, by: ana() })
            }),
        );
        story.push(Happens::Passes { awake: 700_000, wall: 700_000 });
        story
    };
    let strategy = (any::<bool>(), 3..20_i64, vec(happens(), 0..longest()))
        .prop_map(move |(calm, minutes, rest)| [set_up((calm, minutes)), rest].concat());
    run(5, strategy);
}

fn longest() -> usize {
    std::env::var("AO_LONGEST").ok().and_then(|n| n.parse().ok()).unwrap_or(12)
}
