//! Agents that ask, end, hang and idle, one at a time.

use ao_core::{config::trigger::Trigger, decide::Told, event::Text};
use ao_slots::{
    SessionId,
    fact::{AgentErrorKind, PrState, Priority::*, RuntimeState},
};

use super::super::{
    people::Habit,
    sim::{HOUR, MINUTE, SECOND, Sim, permission, question, started, work},
};

pub(super) fn question_is_asked(s: &mut Sim) {
    let app = s.agent();
    s.asks(&app, question());
    s.need(&app, Trigger::AgentNeedsInput, Urgent);
    s.pass(30 * MINUTE);
}

pub(super) fn question_after_question(s: &mut Sim) {
    let app = s.agent();
    for _ in 0..5 {
        let wait = s.some(6 * MINUTE..12 * MINUTE);
        s.pass(wait);
        s.asks(&app, if wait.is_multiple_of(2) { question() } else { permission() });
        s.need(&app, Trigger::AgentNeedsInput, Urgent);
    }
    s.pass(30 * MINUTE);
}

/// Somebody sits in front of it and is quicker than the settle time.
pub(super) fn answered_in_the_terminal(s: &mut Sim) {
    let app = s.agent();
    for _ in 0..10 {
        s.asks(&app, permission());
        let quick = s.some(200..1_900);
        s.pass(quick);
        s.goes_on(&app);
        s.pass(MINUTE);
    }
    s.pass(10 * MINUTE);
}

/// The agent asks for a permission and takes it back: a hook of the user's own decided.
pub(super) fn permission_is_withdrawn(s: &mut Sim) {
    let app = s.agent();
    for _ in 0..20 {
        s.asks(&app, permission());
        let key = s.agents[&app].asks.clone().unwrap();
        let quick = s.some(50..1_500);
        s.pass(quick);
        s.tell(&app, [Told::RequestEnded { key }]);
        s.wakes(&app);
        s.pass(20 * SECOND);
    }
    s.pass(10 * MINUTE);
}

/// One agent's turn ends and the next follows; another one waits for an answer.
pub(super) fn idle_against_blocked(s: &mut Sim) {
    let agents = s.agents(2);
    let (idle, blocked) = (&agents[0], &agents[1]);
    for _ in 0..4 {
        s.ends_turn(idle);
        let wait = s.some(2 * MINUTE..14 * MINUTE);
        s.pass(wait);
        s.begins_turn(idle, None);
        s.pass(5 * MINUTE);
    }
    s.asks(blocked, question());
    s.need(blocked, Trigger::AgentNeedsInput, Urgent);
    s.pass(30 * MINUTE);
}

/// A turn ended, no pull request, and nothing follows.
pub(super) fn idle_for_long(s: &mut Sim) {
    let app = s.spawn();
    s.pass(10 * MINUTE);
    s.ends_turn(&app);
    s.need_in(15 * MINUTE, &app, Trigger::AgentIdle, Warning);
    s.pass(HOUR);
}

/// Subagents end, their parent goes on.
pub(super) fn subagents_end(s: &mut Sim) {
    let app = s.agent();
    for _ in 0..12 {
        let wait = s.some(10 * SECOND..2 * MINUTE);
        s.pass(wait);
        let turn = s.state.sessions[&app].turn.clone();
        s.tell(&app, [Told::TurnEnded { turn, last_words: None, background: true }]);
    }
    s.pass(5 * MINUTE);
}

pub(super) fn crash(s: &mut Sim) {
    let app = s.agent();
    s.exits(&app, 1);
    s.need(&app, Trigger::AgentExited, Urgent);
    s.pass(30 * MINUTE);
}

/// Whoever sees it crash brings it back at once: `ao session restore` in the next terminal.
pub(super) fn crash_restored_at_once(s: &mut Sim) {
    let app = s.agent();
    s.pass(MINUTE);
    s.exits(&app, 1);
    let quick = s.some(100..1_000);
    s.pass(quick);
    let by = super::super::sim::ana();
    let session = app.clone();
    s.give(ao_core::decide::Input::Restore { session, fresh: false, env_names: None, by });
    s.pass(20 * MINUTE);
}

/// It crashes, is brought back, crashes again: each time somebody has to act.
pub(super) fn crash_loop(s: &mut Sim) {
    let app = s.agent();
    for _ in 0..3 {
        s.pass(2 * MINUTE);
        s.exits(&app, 137);
        s.need(&app, Trigger::AgentExited, Urgent);
        s.pass(12 * MINUTE);
    }
    s.pass(10 * MINUTE);
}

pub(super) fn login_has_expired(s: &mut Sim) {
    let app = s.agent();
    s.fails(&app, AgentErrorKind::Login, "Please run /login");
    s.need(&app, Trigger::AgentErrored, Urgent);
    s.pass(30 * MINUTE);
}

/// The provider fails for a second, and the agent's own retry works.
pub(super) fn provider_hiccups(s: &mut Sim) {
    let app = s.agent();
    for _ in 0..6 {
        s.fails(&app, AgentErrorKind::ProviderDown, "overloaded");
        let quick = s.some(300..1_800);
        s.pass(quick);
        s.begins_turn(&app, None);
        s.pass(2 * MINUTE);
    }
    s.pass(5 * MINUTE);
}

pub(super) fn update_dialog(s: &mut Sim) {
    let app = s.agent();
    s.shows_dialog(&app, "A new version is available");
    s.need(&app, Trigger::AgentNeedsInput, Urgent);
    s.pass(30 * MINUTE);
}

/// Its screen looks like a question; there is no hook that would tell.
pub(super) fn screen_looks_like_a_question(s: &mut Sim) {
    let app = s.agent();
    s.hangs(&app);
    s.tell(&app, [Told::Suspected { text: Text::short("Proceed? (y/n)") }]);
    s.need(&app, Trigger::AgentNeedsInput, Urgent);
    let wait = s.some(3 * MINUTE..8 * MINUTE);
    s.pass(wait);
    s.begins_turn(&app, None);
    s.over(&app, Trigger::AgentNeedsInput);
    s.pass(10 * MINUTE);
}

/// Nothing moves in a turn for ten minutes.
pub(super) fn hangs(s: &mut Sim) {
    let app = s.agent();
    // Its last tool ends by itself.
    s.hangs(&app);
    s.tell(&app, [Told::ToolEnded { request: None }]);
    let since = s.state.sessions[&app].progress.awake;
    s.need_in(since + 10 * MINUTE - s.now.awake, &app, Trigger::AgentStuck, Urgent);
    s.pass(HOUR);
}

fn long_command(s: &mut Sim, app: &SessionId) {
    s.hangs(app);
    let command = Some(Text::short("cargo build --release"));
    s.tell(app, [Told::ToolStarted { tool: "Bash".into(), command }]);
}

/// A command of twenty minutes is no stuck agent.
pub(super) fn command_takes_long(s: &mut Sim) {
    let app = s.agent();
    for _ in 0..3 {
        long_command(s, &app);
        let wait = s.some(12 * MINUTE..28 * MINUTE);
        s.pass(wait);
        s.wakes(&app);
        s.pass(3 * MINUTE);
    }
}

/// One of an hour without a line of output is.
pub(super) fn command_hangs(s: &mut Sim) {
    let app = s.agent();
    long_command(s, &app);
    s.need_in(30 * MINUTE, &app, Trigger::AgentStuck, Urgent);
    s.pass(HOUR);
}

/// Busy for half an hour, and no pull request.
pub(super) fn busy_without_a_pull_request(s: &mut Sim) {
    let app = s.spawn();
    let busy = s.state.sessions[&app].busy_since.unwrap().awake;
    s.need_in(busy + 30 * MINUTE - s.now.awake, &app, Trigger::AgentIdleNoPr, Warning);
    s.pass(HOUR);
}

/// The work is there, and nobody says that it is done.
pub(super) fn finished_without_a_claim(s: &mut Sim) {
    let app = s.spawn();
    s.pass(10 * MINUTE);
    s.ends_turn(&app);
    s.look(&app, work(2, 0));
    s.need_in(5 * MINUTE, &app, Trigger::AgentFinished, Action);
    s.pass(HOUR);
}

/// A project without a forge: what an agent claims ends its session there.
pub(super) fn without_forge(s: &mut Sim) {
    s.policy.projects.values_mut().for_each(|project| project.scm = None);
    s.configure();
}

/// The agent says so and the evidence is there: nobody is needed, and the round is told quietly.
pub(super) fn finished_with_a_claim(s: &mut Sim) {
    without_forge(s);
    let app = s.spawn();
    s.pass(10 * MINUTE);
    s.claims_done(&app);
    s.ends_turn(&app);
    s.look(&app, work(2, 0));
    s.pass(HOUR);
}

/// It claims to be done, and there is no pull request.
pub(super) fn finished_without_a_pull_request(s: &mut Sim) {
    let app = s.spawn();
    s.pass(10 * MINUTE);
    s.claims_done(&app);
    s.ends_turn(&app);
    s.need(&app, Trigger::AgentFinished, Action);
    s.look(&app, work(2, 0));
    s.pass(HOUR);
}

/// It exits in good order with its work done.
pub(super) fn leaves_in_good_order(s: &mut Sim) {
    without_forge(s);
    let app = s.spawn();
    s.pass(10 * MINUTE);
    s.claims_done(&app);
    s.tell(&app, [Told::Exited]);
    s.pass(SECOND);
    s.exits(&app, 0);
    s.look(&app, work(2, 0));
    s.pass(20 * MINUTE);
}

/// The agent never takes its task.
pub(super) fn prompt_gets_lost(s: &mut Sim) {
    let asked = s.ask_for_session();
    s.loses_prompts = true;
    s.pass(10 * SECOND);
    let launched = s.state.sessions[&asked].launched.unwrap().awake;
    let wait = launched + MINUTE - s.now.awake;
    s.need_in(wait, &asked, Trigger::PromptUndelivered, Urgent);
    s.pass(30 * SECOND);
    s.loses_prompts = false;
    s.pass(10 * MINUTE);
    s.pushes(&asked);
    s.pass(HOUR);
}

/// Every hook is told a thousand times.
pub(super) fn everything_a_thousand_times(s: &mut Sim) {
    let app = s.agent();
    s.asks(&app, question());
    s.need(&app, Trigger::AgentNeedsInput, Urgent);
    let (key, turn) = (s.agents[&app].asks.clone().unwrap(), s.state.sessions[&app].turn.clone());
    for _ in 0..1_000 {
        let (key, turn) = (key.clone(), turn.clone());
        let tool = "AskUserQuestion".into();
        let ask = question();
        s.tell(&app, [Told::Asked { key, turn, tool, ask, full: None, answerable: true }]);
        s.pass(3);
    }
    s.pass(30 * MINUTE);
    for _ in 0..1_000 {
        s.ends(std::slice::from_ref(&app), RuntimeState::Alive, false);
    }
    s.pass(MINUTE);
}

/// Hooks overtake each other: what is over stays over.
pub(super) fn hooks_out_of_order(s: &mut Sim) {
    let app = s.agent();
    for n in 0..12_u64 {
        let turn = s.state.sessions[&app].turn.clone();
        let (key, tool) = (format!("late{n}"), "Bash".to_owned());
        let ask = permission();
        let asked = Told::Asked { key: key.clone(), turn, tool, ask, full: None, answerable: true };
        let at = 1_000 + n * 10;
        // Its end is told first.
        s.tell_started(&app, at + 5, Told::ToolEnded { request: Some(key) });
        let late = s.some(10..3_000);
        s.pass(late);
        s.tell_started(&app, at, asked);
        s.pass(20 * SECOND);
    }
    s.pass(10 * MINUTE);
}

/// Somebody works in the terminal all day: each stop is seen at once.
pub(super) fn human_at_the_keyboard(s: &mut Sim) {
    let app = s.agent();
    for _ in 0..15 {
        s.ends_turn(&app);
        let wait = s.some(5 * SECOND..10 * MINUTE);
        s.pass(wait);
        s.begins_turn(&app, None);
        let wait = s.some(MINUTE..5 * MINUTE);
        s.pass(wait);
        s.asks(&app, permission());
        let quick = s.some(300..1_800);
        s.pass(quick);
        s.goes_on(&app);
    }
}

/// Ana says at once that she has it, and acts in her own time.
pub(super) fn taken_at_once(s: &mut Sim) {
    s.people.ana().habit = Habit::Takes;
    let apps = s.agents(2);
    s.asks(&apps[0], question());
    s.need(&apps[0], Trigger::AgentNeedsInput, Urgent);
    s.pass(20 * MINUTE);
    s.exits(&apps[1], 1);
    s.need(&apps[1], Trigger::AgentExited, Urgent);
    s.pass(HOUR);
}

/// A draft is opened, worked on for hours, and closed by its own agent's mistake.
pub(super) fn pull_request_is_closed(s: &mut Sim) {
    let app = s.agent();
    s.pass(40 * MINUTE);
    s.pr(&app, |pr| pr.state = PrState::Closed);
    s.need(&app, Trigger::PrClosed, Action);
    s.tell(&app, [started()]);
    s.pass(HOUR);
}
