//! R22, R23: any mix of what happens in the scenarios. Whatever it is, what truly needs a human reaches one in time,
//! nothing buzzes that nobody needs, and no message comes twice to one channel.

use ao_core::{config::trigger::Trigger, decide::Input, state::Status};
use ao_slots::{
    SessionId,
    fact::{AgentErrorKind, Checks, Priority::*, RuntimeState},
    notifier::ChannelKind,
};
use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    test_runner::{Config, RngSeed, TestRunner},
};

use super::{
    channels::{Mood, carried_by},
    people::Habit,
    sim::{HOUR, MINUTE, SECOND, Sim, permission, question},
};

/// One thing that happens; agents are named by small numbers.
#[derive(Debug, Clone)]
enum Move {
    Passes(u64),
    Asks(usize),
    /// Quicker than any settle time.
    AsksAndIsAnswered(usize, u64),
    Exits(usize),
    Fails(usize),
    ShowsDialog(usize),
    TurnEnds(usize),
    TurnBegins(usize),
    Ci(usize, Checks),
    /// All agents lose their runtime's server.
    TmuxDies,
    ServerIsAway(u64),
    MachineSleeps(u64),
    ClockIsSet(i64),
    Channel(&'static str, Mood),
    Human(Habit),
    Disk(u64),
}

fn moves() -> impl Strategy<Value = Move> {
    let agent = || 0..4_usize;
    let mood = select(vec![
        Mood::Well,
        Mood::Well,
        Mood::Well,
        Mood::Down,
        Mood::Slow(3_000),
        Mood::Busy(30_000),
        Mood::Mute,
    ]);
    let habit = select(vec![Habit::Prompt, Habit::Takes, Habit::Late, Habit::Snoozes]);
    prop_oneof![
        8 => select(vec![100, SECOND, 5 * SECOND, 20 * SECOND, MINUTE, 4 * MINUTE])
            .prop_map(Move::Passes),
        4 => agent().prop_map(Move::Asks),
        2 => (agent(), 0..1_900_u64).prop_map(|(n, ms)| Move::AsksAndIsAnswered(n, ms)),
        3 => agent().prop_map(Move::Exits),
        2 => agent().prop_map(Move::Fails),
        2 => agent().prop_map(Move::ShowsDialog),
        2 => agent().prop_map(Move::TurnEnds),
        2 => agent().prop_map(Move::TurnBegins),
        2 => (agent(), select(vec![Checks::Failing, Checks::Passing, Checks::Pending]))
            .prop_map(|(n, checks)| Move::Ci(n, checks)),
        1 => Just(Move::TmuxDies),
        1 => (SECOND..5 * MINUTE).prop_map(Move::ServerIsAway),
        1 => (MINUTE..9 * HOUR).prop_map(Move::MachineSleeps),
        1 => select(vec![-3_600_000, 3_600_000, 40_000_000]).prop_map(Move::ClockIsSet),
        2 => (select(vec!["slack", "phone", "desktop"]), mood)
            .prop_map(|(name, mood)| Move::Channel(name, mood)),
        1 => habit.prop_map(Move::Human),
        1 => select(vec![500 << 20, 50_u64 << 30]).prop_map(Move::Disk),
    ]
}

/// What truly needs a human of a session, whatever else it is at, ends when it is at something else.
const OF_AN_AGENT: [Trigger; 3] =
    [Trigger::AgentNeedsInput, Trigger::AgentExited, Trigger::AgentErrored];

impl Sim {
    fn happens(&mut self, agents: &[SessionId], what: Move) {
        let at_work = |sim: &Self, n: usize| {
            let id = &agents[n];
            let runs = sim.state.sessions[id].status != Status::Spawning;
            Some(id.clone()).filter(|_| runs && sim.is_at_work(id))
        };
        match what {
            Move::Passes(time) => self.pass(time),
            Move::Asks(n) => {
                if let Some(app) = at_work(self, n) {
                    self.asks(&app, if n == 0 { question() } else { permission() });
                    self.need(&app, Trigger::AgentNeedsInput, Urgent);
                }
            }
            Move::AsksAndIsAnswered(n, quick) => {
                if let Some(app) = at_work(self, n) {
                    self.asks(&app, permission());
                    self.pass(quick);
                    self.goes_on(&app);
                }
            }
            Move::Exits(n) => {
                let app = &agents[n];
                // What ends again while it is brought back is a loss that goes on.
                let stays = self.state.sessions[app].restore.is_none();
                if stays && self.agents[app].runtime == RuntimeState::Alive {
                    self.over_all(app);
                    self.exits(app, 1);
                    self.need(app, Trigger::AgentExited, Urgent);
                }
            }
            Move::Fails(n) => {
                if let Some(app) = at_work(self, n) {
                    self.fails(&app, AgentErrorKind::Login, "Please run /login");
                    self.need(&app, Trigger::AgentErrored, Urgent);
                }
            }
            Move::ShowsDialog(n) => {
                if let Some(app) = at_work(self, n) {
                    self.shows_dialog(&app, "A new version is available");
                    self.need(&app, Trigger::AgentNeedsInput, Urgent);
                }
            }
            Move::TurnEnds(n) => {
                if let Some(app) = at_work(self, n) {
                    self.ends_turn(&app);
                }
            }
            Move::TurnBegins(n) => {
                let app = &agents[n];
                if self.agents[app].runtime == RuntimeState::Alive {
                    self.begins_turn(app, None);
                    self.over_all(app);
                }
            }
            Move::Ci(n, checks) => self.ci(&agents[n], checks),
            Move::TmuxDies => {
                let alive = |id: &&SessionId| self.agents[*id].runtime == RuntimeState::Alive;
                let lost: Vec<SessionId> = agents.iter().filter(alive).cloned().collect();
                lost.iter().for_each(|app| self.over_all(app));
                self.tmux_dies(&lost);
            }
            Move::ServerIsAway(time) => {
                self.server_dies();
                self.pass(time);
                self.server_starts();
            }
            Move::MachineSleeps(time) => self.machine_sleeps(time),
            Move::ClockIsSet(by) => {
                // A wait by a clock that is set back is void: nobody knows what it meant.
                if by < 0 {
                    self.channels.forget_rests();
                }
                self.clock_jumps(by);
            }
            Move::Channel(name, mood) => self.channels.is(name, mood),
            Move::Human(habit) => self.people.ana().habit = habit,
            Move::Disk(free) => {
                let _ = self.give(Input::Disk { free, failing: false });
            }
        }
    }

    fn over_all(&mut self, app: &SessionId) {
        self.judge.over(app, &OF_AN_AGENT, self.now);
    }
}

/// A team with everything, mail as the last resort.
fn office(seed: u64) -> Sim {
    let mut sim = Sim::begin(seed, "2026-11-17T14:00:00Z", |policy| {
        carried_by(policy, &["desktop", "slack", "phone", "mail"]);
    });
    sim.channels.add("mail", ChannelKind::Mail, &[("ana", "mail")]);
    sim.configure();
    // What is no need of an agent may be told; whether it should is the corpus's part.
    let others = Trigger::ALL.iter().filter(|trigger| !OF_AN_AGENT.contains(trigger));
    sim.judge.allowed.extend(others);
    // All channels but the last may be down at once: each is waited for.
    sim.judge.at_least = 30 * SECOND;
    sim
}

/// Always the same mixes, so that a change that has nothing to do with them does not stop at one; `AO_NOISE_MIXES` asks
/// for so many new ones, or those of `PROPTEST_RNG_SEED`.
fn mixes() -> Config {
    let number = |name| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let asked = number("AO_NOISE_MIXES").and_then(|n| u32::try_from(n).ok());
    let rng_seed = match (asked, number("PROPTEST_RNG_SEED")) {
        (None, _) => RngSeed::Fixed(23),
        (Some(_), Some(seed)) => RngSeed::Fixed(seed),
        (Some(_), None) => RngSeed::Random,
    };
    Config {
        rng_seed,
        failure_persistence: None,
        max_shrink_iters: 2_048,
        ..Config::with_cases(asked.unwrap_or(100))
    }
}

#[test]
fn r23_any_mix_of_what_happens() {
    let strategy = (any::<u64>(), vec(moves(), 0..50));
    TestRunner::new(mixes())
        .run(&strategy, |(seed, story)| {
            let mut sim = office(seed);
            let agents = sim.agents(4);
            for what in story {
                sim.happens(&agents, what);
            }
            for name in ["desktop", "slack", "phone"] {
                sim.channels.is(name, Mood::Well);
            }
            sim.people.ana().habit = Habit::Prompt;
            sim.pass(30 * MINUTE);
            let figures = sim.judge.figures(sim.now.awake);
            prop_assert_eq!(figures.missed, Vec::<String>::new(), "missed");
            prop_assert_eq!(figures.false_alarms, Vec::<String>::new(), "false alarms");
            prop_assert_eq!(figures.doubled, Vec::<String>::new(), "doubled");
            // A failing channel becomes more urgent with what waits for it, and is told anew.
            let again = |line: &&String| !line.contains("channel-failing");
            prop_assert_eq!(figures.after_ack.iter().find(again), None, "after it was taken");
            prop_assert_eq!(figures.hasty, 0, "requests to a channel that asked for rest");
            Ok(())
        })
        .unwrap();
}
