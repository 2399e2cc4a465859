//! Rules that a history of a pull request (`core/tests/it/histories`) has brought up.

use ao_slots::{
    fact::{Checks, PrFacts, PrState, Review, WorkFacts},
    scm::PrRef,
};

use super::{
    review::{about_prs, green, prepares, sees, takes},
    *,
};
use crate::{
    config::policy::ReactionAction,
    event::Failure,
    state::{Fate, Status},
};

fn checks(head: &str, failing: &[&str]) -> PrFacts {
    let checks = if failing.is_empty() { Checks::Pending } else { Checks::Failing };
    PrFacts { checks, failing: failing.iter().map(ToString::to_string).collect(), ..green(head) }
}

fn scm(w: &mut World, pr: PrFacts) {
    w.give(Input::Pr { session: app(1), pr }).unwrap();
}

fn talk(said: &str) -> PrFacts {
    PrFacts { human_threads: 1, discussion: said.into(), ..green("a") }
}

/// What lies in the workspace: this commit, and nothing beside it.
fn has(w: &mut World, head: &str) {
    let (head, fingerprint) = (head.to_owned(), head.to_owned());
    w.look(1, WorkFacts { head, commits: 1, fingerprint, ..WorkFacts::default() });
}

/// A session whose turn has ended at this head of its pull request.
fn rests_at(head: &str) -> World {
    let mut w = World::working("41");
    w.give(Input::Link { session: app(1), pr: pr(), by: None }).unwrap();
    scm(&mut w, checks(head, &[]));
    w.tell(1, [turn_ended("t1")]);
    has(&mut w, head);
    w
}

fn told(w: &World) -> Vec<&str> {
    let queued = w.events.iter().filter_map(|event| match &event.kind {
        Kind::MessageQueued(e) => e.about.as_ref().map(|_| e.text.excerpt.as_str()),
        _ => None,
    });
    queued.collect()
}

fn tries_that_failed(w: &World) -> usize {
    w.events.iter().filter(|event| matches!(event.kind, Kind::AttemptFailed(_))).count()
}

/// The agent has taken what waits, and its turn is over.
fn takes_in_vain(w: &mut World, turn: &str) {
    while w.effect(1).is_some() {
        w.succeed(1);
    }
    takes(w, 1);
    w.tell(1, [turn_started(turn), turn_ended(turn)]);
}

#[test]
fn r17_tries_are_counted_by_what_failed_last_while_checks_run() {
    for (failures, tries) in [(["unit", "lint", "docs"], 0), (["unit", "unit", "unit"], 2)] {
        let mut w = World::working("41");
        for (head, failing) in ["a", "b", "c"].into_iter().zip(failures) {
            sees(&mut w, 1, checks(head, &[failing]));
            assert_eq!(w.session(1).heads.last().unwrap().red.as_ref().unwrap().0, [failing]);
        }
        assert_eq!(w.session(1).failed_attempts(), tries);
        scm(&mut w, checks("d", &[]));
        assert_eq!(w.session(1).failed_attempts(), tries, "{failures:?}");
        w.pass(2 * MINUTE);
        assert_eq!(about_prs(&w).len(), usize::from(tries == 2), "{:?}", w.pushes());
    }
}

#[test]
fn a_try_that_brought_nothing_is_not_waited_for_without_end() {
    // Where nobody could look, where the turn brought nothing, and where it brought what is not pushed.
    for (looked, minutes) in [(None, 10), (Some("a"), 2), (Some("b"), 10)] {
        let mut w = rests_at("a");
        sees(&mut w, 1, checks("a", &["unit"]));
        takes_in_vain(&mut w, "t2");
        if let Some(head) = looked {
            has(&mut w, head);
        }
        w.pass(minutes * MINUTE - 1);
        assert_eq!((tries_that_failed(&w), told(&w).len()), (0, 1), "{looked:?}");
        w.pass(1);
        assert_eq!((tries_that_failed(&w), told(&w).len()), (1, 2), "asked again: {looked:?}");
    }
}

#[test]
fn what_is_told_of_a_head_waits_until_it_is_known_what_the_turn_brought() {
    let queued = || {
        let mut w = rests_at("a");
        w.tell(1, [turn_started("t2")]);
        scm(&mut w, checks("a", &["unit"]));
        prepares(&mut w, 1, &[]);
        let handed = w.tell(1, [Told::TakesMessage { turn: Some("t2".into()) }]);
        assert_eq!(handed.message, None, "it may just have pushed");
        w.tell(1, [turn_ended("t2")]);
        assert_eq!(w.effect(1), None);
        w
    };
    let types = |w: &World| matches!(w.effect(1), Some(Effect::TypeMessage { .. }));
    let mut w = queued();
    has(&mut w, "a");
    assert!(types(&w), "it has brought nothing");

    let mut w = queued();
    has(&mut w, "b");
    w.pass(30 * SECOND);
    assert_eq!(w.effect(1), None);
    let message = w.session(1).next_message().unwrap().id;
    scm(&mut w, checks("b", &[]));
    assert!(matches!(w.session(1).messages[&message].fate, Fate::Withdrawn { .. }));
    assert_eq!(w.effect(1), None, "withdrawn before it is typed");

    // What is not pushed does not keep it for ever.
    let mut w = queued();
    has(&mut w, "b");
    w.pass(2 * MINUTE);
    assert!(types(&w));
}

#[test]
fn a_branch_is_set_back_where_the_scm_goes_on_saying_so() {
    let mut w = World::working("41");
    scm(&mut w, checks("a", &[]));
    scm(&mut w, checks("b", &[]));
    has(&mut w, "b");
    scm(&mut w, green("a"));
    assert_eq!(w.session(1).pr().unwrap().head, "b", "an answer that was overtaken");
    w.pass(2 * MINUTE);
    scm(&mut w, green("a"));
    assert_eq!(w.session(1).pr().unwrap().head, "a");
}

#[test]
fn nothing_merges_by_itself_while_the_scm_does_not_answer() {
    let mut policy = Policy::with_projects(&["my-app"]);
    for project in policy.projects.values_mut() {
        let reaction = project.rules.reactions.get_mut(&Trigger::ApprovedAndGreen).unwrap();
        (reaction.auto, reaction.action) = (true, ReactionAction::AutoMerge);
    }
    let mut w = World::with(policy);
    w.add_working("41");
    w.give(Input::Link { session: app(1), pr: pr(), by: None }).unwrap();
    w.tell(1, [turn_ended("t1")]);
    scm(&mut w, green("a"));
    let away = |failure| Input::Scm { project: "my-app".parse().unwrap(), failure };
    w.give(away(Some(Failure::permanent("HTTP 502")))).unwrap();
    w.pass(10 * MINUTE);
    assert_eq!(w.effect(1), None);
    w.give(away(None)).unwrap();
    w.pass(SECOND);
    assert!(matches!(w.effect(1), Some(Effect::MergePr { .. })));
}

#[test]
fn what_waits_for_somebody_is_not_called_mergeable() {
    let rows = [
        (0, green("a"), Status::Mergeable),
        (0, talk("1"), Status::ChangesRequested),
        (1, green("a"), Status::ReviewPending),
        (1, PrFacts { review: Review::Approved, ..green("a") }, Status::Mergeable),
        (0, PrFacts { bot_threads: 1, ..green("a") }, Status::PrOpen),
        // A person has seen what the bot says.
        (1, PrFacts { bot_threads: 1, review: Review::Approved, ..green("a") }, Status::Mergeable),
    ];
    for (approvals, facts, status) in rows {
        let mut policy = Policy::with_projects(&["my-app"]);
        policy.projects.values_mut().for_each(|project| project.required_approvals = approvals);
        let mut w = World::with(policy);
        w.add_working("41");
        scm(&mut w, facts.clone());
        assert_eq!(w.session(1).status, status, "{approvals} {facts:?}");
        let subject = Subject::Session(app(1));
        let offered = w.state.open_incident(&subject, Trigger::ApprovedAndGreen, None).is_some();
        assert_eq!(offered, status == Status::Mergeable, "what it is called is what is offered");
    }
}

#[test]
fn whoever_goes_on_talking_about_one_head_talks_to_a_human() {
    let mut w = World::working("41");
    for said in ["1", "2", "3"] {
        sees(&mut w, 1, talk(said));
    }
    w.pass(2 * MINUTE);
    assert!(about_prs(&w).is_empty(), "the agent is at it: {:?}", w.pushes());
    sees(&mut w, 1, talk("4"));
    assert_eq!(told(&w).len(), 3);
    w.pass(SECOND);
    assert_eq!(about_prs(&w), ["PR #57: 1 review comment open after 3 messages to app-1"]);
    // He steps in; or the code changes.
    w.give(send(1, "Do as they say.")).unwrap();
    sees(&mut w, 1, talk("5"));
    assert_eq!(told(&w).len(), 5, "what was withheld too");
    sees(&mut w, 1, PrFacts { head: "b".into(), ..talk("6") });
    assert_eq!(told(&w).len(), 6);
}

#[test]
fn checks_that_were_asked_to_run_again_are_waited_for_whatever_else_is_said() {
    let mut w = rests_at("a");
    scm(&mut w, green("a"));
    scm(&mut w, checks("a", &["unit"]));
    prepares(&mut w, 1, &[]);
    w.succeed(1);
    // They do not run yet, and somebody comments.
    scm(&mut w, PrFacts { title: "Dark mode, again".into(), ..checks("a", &["unit"]) });
    prepares(&mut w, 1, &[]);
    assert!(told(&w).is_empty(), "{:?}", told(&w));
    scm(&mut w, checks("a", &[]));
    scm(&mut w, checks("a", &["unit"]));
    prepares(&mut w, 1, &[]);
    assert_eq!(told(&w), ["ci-failed: a unit"]);
}

#[test]
fn the_same_number_in_another_repository_is_another_pull_request() {
    let mut w = rests_at("a");
    let other = PrRef { repo: "ben/my-app".into(), ..pr() };
    w.give(Input::Link { session: app(1), pr: other, by: Some(ana()) }).unwrap();
    assert_eq!((w.session(1).pr(), w.session(1).heads.len()), (None, 0));
    // Renamed, it is the same.
    let known = PrRef { node: Some("PR_1".into()), ..pr() };
    w.give(Input::Link { session: app(1), pr: known.clone(), by: Some(ana()) }).unwrap();
    scm(&mut w, PrFacts { state: PrState::Open, ..green("a") });
    let renamed = PrRef { repo: "acme/shop".into(), ..known };
    w.give(Input::Link { session: app(1), pr: renamed, by: Some(ana()) }).unwrap();
    assert_eq!(w.session(1).pr(), Some(&green("a")));
}
