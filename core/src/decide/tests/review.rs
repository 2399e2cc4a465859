//! What a pull request needs, and when a human hears of it.

use ao_slots::{
    PrNumber,
    fact::{Checks, Mergeable, PrFacts, PrState, Review},
};

use super::*;
use crate::{config::policy::ReactionAction, decide::review::PENDING, event::About, state::Fate};

/// A pull request at this head that can be merged.
pub(crate) fn green(head: &str) -> PrFacts {
    PrFacts {
        number: PrNumber(57),
        title: "Dark mode".into(),
        head: head.into(),
        state: PrState::Open,
        checks: Checks::Passing,
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
    }
}

fn checks(head: &str, checks: Checks) -> PrFacts {
    let failing = if checks == Checks::Failing { vec!["unit".into()] } else { vec![] };
    PrFacts { checks, failing, ..green(head) }
}

/// The scm is asked, what the agent is to be told is prepared, and the agent begins a turn with it.
pub(crate) fn sees(w: &mut World, n: u32, pr: PrFacts) {
    w.give(Input::Pr { session: app(n), pr }).unwrap();
    prepares(w, n, &[]);
    takes(w, n);
}

/// What the agent is to be told is prepared, with words of these strangers in it.
pub(crate) fn prepares(w: &mut World, n: u32, held: &[&str]) {
    for trigger in crate::decide::reaction::TOLD {
        let Some(key) = crate::decide::reaction::wanted_brief(&w.state, w.session(n), trigger)
        else {
            continue;
        };
        let text = format!("{trigger}: {key}");
        w.give(Input::Brief {
            session: app(n),
            about: About { trigger, key },
            digest: digest(&text),
            text: Text::short(&text),
            held: held.iter().map(ToString::to_string).collect(),
        })
        .unwrap();
    }
}

/// The agent begins a turn with what it was told about its pull request.
pub(super) fn takes(w: &mut World, n: u32) {
    let waits = w.session(n).messages.values().filter(|m| m.fate == Fate::Waiting);
    let about: Vec<_> = waits.filter(|m| m.about.is_some()).map(|m| m.digest.clone()).collect();
    for digest in about {
        w.tell(n, [Told::TurnStarted { turn: Some("t-pr".into()), digest: Some(digest) }]);
    }
}

/// Titles of messages about pull requests: that a round only waits for a merge is told beside them.
pub(super) fn about_prs(w: &World) -> Vec<&str> {
    w.pushes().into_iter().filter(|title| title.starts_with("PR ")).collect()
}

fn with(trigger: Trigger, change: impl Fn(&mut crate::config::policy::Reaction)) -> World {
    let mut policy = Policy::with_projects(&["my-app"]);
    for project in policy.projects.values_mut() {
        change(project.rules.reactions.get_mut(&trigger).unwrap());
    }
    let mut w = World::with(policy);
    w.add_working("41");
    w
}

#[test]
fn a_failing_check_is_left_to_the_agent_for_two_attempts() {
    use Checks::{Failing, Passing, Pending, Unknown};
    // What the scm says, and whether a human hears of it within ten minutes.
    type Story<'a> = (&'a str, &'a [(&'a str, Checks)], bool);
    let stories: [Story<'_>; 8] = [
        ("one failure", &[("a", Failing)], false),
        ("seen often", &[("a", Failing), ("a", Pending), ("a", Failing), ("a", Failing)], false),
        ("one attempt", &[("a", Failing), ("b", Pending), ("b", Failing)], false),
        (
            "two attempts",
            &[("a", Failing), ("b", Pending), ("b", Failing), ("c", Unknown), ("c", Failing)],
            true,
        ),
        ("two attempts, no word between", &[("a", Failing), ("b", Failing), ("c", Failing)], true),
        ("it passes in the end", &[("a", Failing), ("b", Failing), ("c", Passing)], false),
        (
            "a flapping check of one head",
            &[("a", Failing), ("a", Passing), ("a", Failing), ("a", Passing), ("a", Failing)],
            false,
        ),
        (
            "it flaps between attempts, which are not forgotten",
            &[("a", Failing), ("b", Failing), ("b", Passing), ("b", Failing), ("c", Failing)],
            true,
        ),
    ];
    for (what, story, heard) in stories {
        let mut w = World::working("41");
        for (head, state) in story {
            sees(&mut w, 1, checks(head, *state));
            w.tell(1, [Told::Alive]);
            w.pass(10 * SECOND);
        }
        let opened = |event: &&Event| matches!(&event.kind, Kind::IncidentOpened(e) if e.trigger == Trigger::CiFailed);
        assert_eq!(w.events.iter().filter(opened).count(), 1, "{what}: one episode");
        for _ in 0..8 {
            w.tell(1, [Told::Alive]);
            w.pass(MINUTE);
        }
        let told: Vec<_> = w.pushes().into_iter().filter(|title| title.contains("fails")).collect();
        let expected: &[&str] =
            if heard { &["PR #57 still fails after 2 tries by app-1: unit"] } else { &[] };
        assert_eq!(told, expected, "{what}");
    }
}

#[test]
fn r17_failed_attempts_are_counted_until_it_passes_for_long_enough_or_a_human_steps_in() {
    let twice = || {
        let mut w = World::working("41");
        for head in ["a", "b"] {
            sees(&mut w, 1, checks(head, Checks::Failing));
        }
        assert_eq!(w.session(1).failed_attempts(), 1);
        w
    };
    // Another head passed, for long enough.
    let mut w = twice();
    sees(&mut w, 1, PrFacts { state: PrState::Draft, ..checks("c", Checks::Passing) });
    w.pass(15 * SECOND);
    sees(&mut w, 1, checks("d", Checks::Failing));
    assert_eq!(w.session(1).failed_attempts(), 0);
    // The same head passes and fails by turns.
    let mut w = twice();
    for state in [Checks::Passing, Checks::Failing, Checks::Passing] {
        sees(&mut w, 1, PrFacts { state: PrState::Draft, ..checks("b", state) });
        w.pass(10 * SECOND);
    }
    sees(&mut w, 1, checks("b", Checks::Failing));
    assert_eq!(w.session(1).failed_attempts(), 1);
    // Another check has had no try that failed.
    sees(&mut w, 1, PrFacts { failing: vec!["lint".into()], ..checks("e", Checks::Failing) });
    assert_eq!(w.session(1).failed_attempts(), 0);
    // A human steps in: what failed before says nothing of what he tries.
    let mut w = twice();
    w.give(send(1, "Look at the fixture.")).unwrap();
    assert_eq!(w.session(1).failed_attempts(), 0);
}

#[test]
fn facts_of_an_older_head_move_nothing() {
    let mut w = World::working("41");
    sees(&mut w, 1, checks("a", Checks::Failing));
    sees(&mut w, 1, checks("b", Checks::Pending));
    let seq = w.state.last_seq;
    sees(&mut w, 1, checks("a", Checks::Failing));
    sees(&mut w, 1, checks("a", Checks::Passing));
    assert_eq!(w.state.last_seq, seq, "an answer that was overtaken");
    // A branch that was set back is known by the workspace; an end is final.
    let head = "a".into();
    w.look(1, WorkFacts { head, fingerprint: "back".into(), ..WorkFacts::default() });
    sees(&mut w, 1, checks("a", Checks::Passing));
    assert_eq!(w.session(1).pr().unwrap().head, "a");
    sees(&mut w, 1, PrFacts { state: PrState::Closed, ..green("b") });
    assert_eq!(w.session(1).pr().unwrap().state, PrState::Closed);
}

#[test]
fn what_is_configured_decides_when_a_human_hears() {
    let red = || checks("a", Checks::Failing);
    let talk = || PrFacts { review: Review::ChangesRequested, human_threads: 2, ..green("a") };
    let bots = || PrFacts { bot_threads: 3, ..green("a") };
    let clash = || PrFacts { mergeable: Mergeable::Conflicting, ..green("a") };
    type Case = (Trigger, fn() -> PrFacts, Option<u64>, &'static str);
    let behind = || PrFacts { mergeable: Mergeable::Behind, ..green("a") };
    let remark = || PrFacts { remarks: 1, ..green("a") };
    let kinds: [Case; 6] = [
        (Trigger::CiFailed, red, None, "PR #57 fails: unit"),
        (Trigger::ChangesRequested, talk, Some(30), "PR #57: 2 review comments open"),
        (Trigger::BugbotComments, bots, Some(30), "PR #57: 3 bot comments open"),
        (Trigger::MergeConflicts, clash, Some(15), "PR #57 conflicts with main"),
        (Trigger::MergeConflicts, behind, Some(15), "PR #57 is ready but for main"),
        (Trigger::ChangesRequested, remark, Some(30), "PR #57: 1 review comment open"),
    ];
    let about = |w: &World, title: &str| w.pushes().iter().filter(|t| t.starts_with(title)).count();
    let alive = |w: &mut World, minutes: u64| {
        for _ in 0..minutes {
            w.tell(1, [Told::Alive]);
            w.pass(MINUTE);
        }
    };
    for (trigger, facts, minutes, title) in kinds {
        // Told at once, which is after the settle time.
        let told: [fn(&mut crate::config::policy::Reaction); 2] =
            [|r| r.auto = false, |r| r.action = ReactionAction::Notify];
        for change in told {
            let mut w = with(trigger, change);
            sees(&mut w, 1, facts());
            w.pass(59_999);
            assert_eq!(about(&w, title), 0);
            w.pass(1);
            assert_eq!(about(&w, title), 1, "{trigger}: {:?}", w.pushes());
        }
        // Left to the agent for as long as the table says.
        let mut w = World::working("41");
        sees(&mut w, 1, facts());
        let Some(minutes) = minutes else {
            alive(&mut w, 120);
            assert_eq!(about(&w, "PR"), 0, "{trigger}");
            continue;
        };
        alive(&mut w, minutes - 1);
        assert_eq!(about(&w, "PR"), 0, "{trigger}");
        alive(&mut w, 1);
        assert_eq!(about(&w, title), 1, "{trigger}: {:?}", w.pushes());
        // And quiet once it is done.
        sees(&mut w, 1, PrFacts { state: PrState::Draft, ..green("a") });
        w.pass(MINUTE);
        let mut told = w.state.notifications.values().filter(|told| told.incident.is_some());
        assert!(told.all(|told| told.settled), "{trigger}");
    }
}

#[test]
fn a_merge_is_offered_for_one_head_and_only_while_nothing_is_in_its_way() {
    let offered = |w: &World| {
        let subject = Subject::Session(app(1));
        let open = w.state.open_incident(&subject, Trigger::ApprovedAndGreen, None);
        open.filter(|open| open.is_open()).and_then(|open| open.detail.clone())
    };
    let head = Some("a".to_owned());
    let table = [
        ("green", green("a"), true),
        ("no checks at all", checks("a", Checks::None), true),
        ("approved", PrFacts { review: Review::Approved, ..green("a") }, true),
        ("a draft", PrFacts { state: PrState::Draft, ..green("a") }, false),
        ("running", checks("a", Checks::Pending), false),
        ("red", checks("a", Checks::Failing), false),
        ("asked for a review", PrFacts { review: Review::Pending, ..green("a") }, false),
        ("an open comment", PrFacts { human_threads: 1, ..green("a") }, false),
        ("an open comment of a bot", PrFacts { bot_threads: 1, ..green("a") }, false),
        ("in conflict", PrFacts { mergeable: Mergeable::Conflicting, ..green("a") }, false),
        ("kept back by the rules", PrFacts { mergeable: Mergeable::Blocked, ..green("a") }, false),
        ("behind its base", PrFacts { mergeable: Mergeable::Behind, ..green("a") }, false),
        ("a remark on its way to the agent", PrFacts { remarks: 1, ..green("a") }, false),
        ("not known to merge", PrFacts { mergeable: Mergeable::Unknown, ..green("a") }, false),
    ];
    for (what, facts, offers) in table {
        let mut w = World::working("41");
        sees(&mut w, 1, facts);
        assert_eq!(offered(&w).is_some(), offers, "{what}");
    }
    let mut w = World::working("41");
    sees(&mut w, 1, green("a"));
    w.after(15 * SECOND, &["push: PR #57 is ready to merge: Dark mode"]);
    // Not known again yet, of that very head: it stands.
    sees(&mut w, 1, PrFacts { mergeable: Mergeable::Unknown, ..green("a") });
    assert_eq!(offered(&w), head);
    // Another head is another matter.
    sees(&mut w, 1, PrFacts { mergeable: Mergeable::Unknown, ..green("b") });
    assert_eq!(offered(&w), None);
    sees(&mut w, 1, green("b"));
    assert_eq!(offered(&w).as_deref(), Some("b"));
    let told = w.state.notifications.values().next_back().unwrap();
    let merge = w.message(told, &desk()).buttons.into_iter().next().unwrap();
    assert!(merge.confirm.unwrap().question.contains("Head b"));
}

#[test]
fn approvals_that_are_required_are_waited_for() {
    let mut policy = Policy::with_projects(&["my-app"]);
    policy.projects.values_mut().for_each(|project| project.required_approvals = 1);
    let mut w = World::with(policy);
    w.add_working("41");
    sees(&mut w, 1, green("a"));
    w.pass(MINUTE);
    assert_eq!(about_prs(&w), [""; 0]);
    sees(&mut w, 1, PrFacts { review: Review::Approved, ..green("a") });
    w.pass(15 * SECOND);
    assert_eq!(about_prs(&w), ["PR #57 is ready to merge: Dark mode"]);
}

#[test]
fn a_merge_that_is_left_to_ao_is_told_while_nothing_limits_it() {
    let mut w = with(Trigger::ApprovedAndGreen, |reaction| {
        (reaction.auto, reaction.action) = (true, ReactionAction::AutoMerge);
        reaction.escalate_after_ms = Some(5 * MINUTE);
    });
    sees(&mut w, 1, green("a"));
    w.pass(5 * MINUTE - 1);
    assert_eq!(about_prs(&w), [""; 0]);
    w.pass(1);
    assert_eq!(about_prs(&w), ["PR #57 is ready to merge: Dark mode"]);
}

#[test]
fn a_closed_pull_request_is_one_need_and_not_two() {
    let mut w = World::working("41");
    sees(&mut w, 1, checks("a", Checks::Pending));
    w.tell(1, [turn_ended("t1")]);
    w.look(1, work(3, 1));
    sees(&mut w, 1, PrFacts { state: PrState::Closed, ..green("a") });
    w.pass(60 * MINUTE);
    assert_eq!(w.pushes(), ["PR #57 was closed without a merge"]);
    sees(&mut w, 1, checks("a", Checks::Pending));
    w.pass(15 * SECOND);
    let told = w.state.notifications.values().next().unwrap();
    assert_eq!(w.message(told, &desk()).title, "PR #57 is open again");
}

#[test]
fn what_was_put_off_for_less_than_it_is_left_to_the_agent_is_told_then() {
    let mut w = with(Trigger::CiFailed, |ci| ci.escalate_after_ms = Some(30 * MINUTE));
    sees(&mut w, 1, checks("a", Checks::Failing));
    let incident = w.state.incidents.values().find(|i| i.trigger == Trigger::CiFailed).unwrap();
    let wanted = crate::decide::schedule::wanted_at(&w.state, incident).unwrap();
    assert!(wanted > w.now.awake + 5 * MINUTE, "the agent has that long");
    let (incident, until) = (incident.id, w.now.wall + jiff::SignedDuration::from_mins(1));
    w.give(Input::Snooze { incident, until, by: ana() }).unwrap();
    // Each tick on the way leaves nothing due.
    w.pass(2 * MINUTE);
    assert_eq!(about_prs(&w).len(), 1);
    assert_eq!(w.state.incidents[&incident].snoozed, None);
}

/// What a human was told of pull requests, and what is open of checks.
fn told_of_checks(w: &World) -> (Vec<&str>, Option<Option<&str>>) {
    let subject = Subject::Session(app(1));
    let open = w.state.open_incident(&subject, Trigger::CiFailed, None);
    (about_prs(w), open.filter(|open| open.is_open()).map(|open| open.detail.as_deref()))
}

/// So long no agent says a word.
fn hours(w: &mut World, minutes: u64) {
    for _ in 0..minutes {
        w.tell(1, [Told::Alive]);
        w.pass(MINUTE);
    }
}

#[test]
fn checks_that_do_not_end_are_told_once_and_what_comes_of_them_anew() {
    let pending = |head: &str| PrFacts { pending: 1, ..checks(head, Checks::Pending) };
    let hung = "PR #57: checks have not ended for 2 h";
    let mut w = World::working("41");
    sees(&mut w, 1, pending("a"));
    hours(&mut w, 60);
    // Another head begins anew; what is not known for a while does not.
    sees(&mut w, 1, pending("b"));
    hours(&mut w, 90);
    sees(&mut w, 1, checks("b", Checks::Unknown));
    hours(&mut w, 10);
    sees(&mut w, 1, pending("b"));
    hours(&mut w, 19);
    assert_eq!(told_of_checks(&w), (vec![], None));
    hours(&mut w, 3);
    assert_eq!(told_of_checks(&w), (vec![hung], Some(Some(PENDING))));
    // Nothing of it goes to the agent, which can do nothing.
    prepares(&mut w, 1, &[]);
    assert!(w.session(1).follow.attempts.is_empty());
    w.start("boot-2");
    w.give(Input::Swept { sessions: 1 }).unwrap();
    sees(&mut w, 1, checks("b", Checks::Unknown));
    hours(&mut w, 300);
    assert_eq!(told_of_checks(&w), (vec![hung], Some(Some(PENDING))), "once");

    // Another head: nothing is known of it yet.
    let mut other = w.clone();
    sees(&mut other, 1, pending("c"));
    hours(&mut other, 1);
    assert_eq!(told_of_checks(&other), (vec![hung], None));
    hours(&mut other, 121);
    assert_eq!(told_of_checks(&other), (vec![hung, hung], Some(Some(PENDING))));

    // It ended after all: the agent has what fails, and who heard of the one hears of the other.
    hours(&mut w, 1);
    for head in ["b", "c", "d"] {
        w.give(Input::Pr { session: app(1), pr: checks(head, Checks::Failing) }).unwrap();
        w.pass(20 * SECOND);
        prepares(&mut w, 1, &[]);
        takes(&mut w, 1);
    }
    hours(&mut w, 2);
    let red = "PR #57 still fails after 2 tries by app-1: unit";
    assert_eq!(told_of_checks(&w), (vec![hung, red], Some(None)));
    assert_eq!(w.session(1).failed_attempts(), 2);
    // The next head hangs: of its failed attempts none is forgotten, though this is not told as a failure.
    sees(&mut w, 1, pending("e"));
    hours(&mut w, 122);
    assert_eq!(told_of_checks(&w).1, Some(Some(PENDING)));
    sees(&mut w, 1, pending("f"));
    hours(&mut w, 2);
    assert_eq!((told_of_checks(&w).1, w.session(1).tries()), (None, 2));
}

#[test]
fn who_wants_nothing_of_checks_hears_nothing_of_those_that_do_not_end() {
    for (change, heard) in [
        ((|r| r.action = ReactionAction::Nothing) as fn(&mut crate::config::policy::Reaction), 0),
        (|r| r.threshold_ms = Some(10 * MINUTE), 1),
        (|r| r.action = ReactionAction::Notify, 0),
    ] {
        let mut w = with(Trigger::CiFailed, change);
        sees(&mut w, 1, checks("a", Checks::Pending));
        hours(&mut w, 30);
        assert_eq!(about_prs(&w).len(), heard);
    }
}
