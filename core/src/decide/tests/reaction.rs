//! What `ao` does by itself about a pull request.

use ao_slots::{
    fact::{Checks, Mergeable, PrFacts, PrState, Review},
    scm::MergeMethod,
};

use super::{
    review::{about_prs, green, prepares, takes},
    *,
};
use crate::{
    config::policy::{Reaction, ReactionAction},
    state::Fate,
};

fn with(trigger: Trigger, change: impl Fn(&mut Reaction)) -> World {
    let mut policy = Policy::with_projects(&["my-app"]);
    policy.push.repeat_ms = vec![];
    policy.push.digest.every = DigestEvery::Off;
    for project in policy.projects.values_mut() {
        change(project.rules.reactions.get_mut(&trigger).unwrap());
    }
    let mut w = World::with(policy);
    w.add_working("41");
    w
}

/// A session that works, with an open pull request.
fn followed() -> World {
    let mut w = World::working("41");
    w.give(Input::Link { session: app(1), pr: pr(), by: None }).unwrap();
    w
}

fn red(head: &str) -> PrFacts {
    PrFacts { checks: Checks::Failing, failing: vec!["unit".into()], ..green(head) }
}

fn scm(w: &mut World, pr: PrFacts) {
    w.give(Input::Pr { session: app(1), pr }).unwrap();
}

/// Messages about the pull request that were queued.
fn told(w: &World) -> Vec<String> {
    let queued = w.events.iter().filter_map(|event| match &event.kind {
        Kind::MessageQueued(e) => e.about.as_ref().map(|_| e.text.excerpt.clone()),
        _ => None,
    });
    queued.collect()
}

#[test]
fn r17_an_agent_is_told_once_of_each_failure_as_it_stands() {
    let mut w = followed();
    scm(&mut w, red("a"));
    assert!(told(&w).is_empty(), "not before it is known what to say");
    prepares(&mut w, 1, &[]);
    assert_eq!(told(&w), ["ci-failed: a unit"]);
    // Seen again, and again after a server that died.
    scm(&mut w, PrFacts { checks: Checks::Pending, ..red("a") });
    scm(&mut w, red("a"));
    w.start("boot-1");
    w.give(Input::Swept { sessions: 1 }).unwrap();
    prepares(&mut w, 1, &[]);
    takes(&mut w, 1);
    scm(&mut w, PrFacts { checks: Checks::Unknown, ..red("a") });
    scm(&mut w, red("a"));
    w.tell(1, [Told::Alive]);
    // The first was withdrawn while the checks ran again, and is told anew.
    assert_eq!(told(&w), ["ci-failed: a unit", "ci-failed: a unit"]);
    let confirmed = w
        .session(1)
        .messages
        .values()
        .filter(|m| matches!(m.fate, Fate::Confirmed { .. }) && m.about.is_some());
    assert_eq!(confirmed.count(), 1, "the agent had it once");
    // Another head that fails is another message.
    scm(&mut w, red("b"));
    prepares(&mut w, 1, &[]);
    assert_eq!(told(&w).len(), 3);
}

#[test]
fn what_the_agent_was_told_and_saw_to_was_handled() {
    for takes_it in [true, false] {
        let mut w = followed();
        scm(&mut w, red("a"));
        prepares(&mut w, 1, &[]);
        if takes_it {
            takes(&mut w, 1);
        }
        let from = w.events.len();
        scm(&mut w, PrFacts { state: PrState::Draft, ..green("b") });
        let cleared = w.events[from..].iter().find_map(|event| match &event.kind {
            Kind::IncidentCleared(e) => Some(e.how.clone()),
            _ => None,
        });
        let how = if takes_it { Settled::Handled } else { Settled::ByItself };
        assert_eq!(cleared, Some(how));
    }
}

#[test]
fn a_message_about_what_has_passed_is_withdrawn() {
    let passed: [(&str, PrFacts, PrFacts); 4] = [
        ("another head", red("a"), red("b")),
        ("it passes", red("a"), green("a")),
        (
            "no conflict any more",
            PrFacts { mergeable: Mergeable::Conflicting, ..green("a") },
            green("a"),
        ),
        (
            "more was said",
            PrFacts { human_threads: 1, discussion: "1".into(), ..green("a") },
            PrFacts { human_threads: 2, discussion: "2".into(), ..green("a") },
        ),
    ];
    for (what, before, after) in passed {
        let mut w = followed();
        scm(&mut w, before);
        prepares(&mut w, 1, &[]);
        let message = w.session(1).next_message().unwrap().id;
        scm(&mut w, after);
        let fate = &w.session(1).messages[&message].fate;
        assert!(matches!(fate, Fate::Withdrawn { .. }), "{what}: {fate:?}");
    }
    // What is not known has not passed.
    let mut w = followed();
    scm(&mut w, red("a"));
    prepares(&mut w, 1, &[]);
    scm(&mut w, PrFacts { checks: Checks::Unknown, ..red("a") });
    assert!(w.session(1).next_message().is_some());
}

#[test]
fn r17_only_a_confirmed_message_makes_an_attempt() {
    let mut w = followed();
    for head in ["a", "b", "c", "d"] {
        scm(&mut w, red(head));
        prepares(&mut w, 1, &[]);
        w.pass(10 * SECOND);
    }
    assert_eq!(w.session(1).failed_attempts(), 0, "the agent has had none of it");
    takes(&mut w, 1);
    scm(&mut w, red("e"));
    assert_eq!(w.session(1).failed_attempts(), 1);
}

#[test]
fn two_turns_without_a_commit_are_two_attempts() {
    let mut w = with(Trigger::CiFailed, |reaction| reaction.retries = 5);
    w.give(Input::Link { session: app(1), pr: pr(), by: None }).unwrap();
    scm(&mut w, red("a"));
    prepares(&mut w, 1, &[]);
    for turn in ["t2", "t3"] {
        takes(&mut w, 1);
        while w.effect(1).is_some() {
            w.succeed(1);
        }
        w.tell(1, [turn_started(turn)]);
        w.tell(1, [turn_ended(turn)]);
        w.pass(121 * SECOND);
    }
    w.pass(5 * MINUTE);
    let idle = w.events.iter().filter(|e| matches!(e.kind, Kind::AttemptFailed(_))).count();
    assert_eq!((idle, told(&w).len()), (2, 2), "it is not asked a third time");
    assert_eq!(about_prs(&w).len(), 1, "a human hears of it: {:?}", w.pushes());
}

#[test]
fn a_check_that_passed_on_the_same_head_is_run_again_first() {
    let mut w = followed();
    w.tell(1, [turn_ended("t1")]);
    scm(&mut w, green("a"));
    let from = w.events.len();
    scm(&mut w, red("a"));
    prepares(&mut w, 1, &[]);
    assert_eq!(w.effect(1), Some(Effect::RerunChecks { head: "a".into() }));
    w.succeed(1);
    scm(&mut w, PrFacts { checks: Checks::Pending, ..green("a") });
    scm(&mut w, green("a"));
    assert!(told(&w).is_empty(), "nobody was bothered");
    // Once for each head.
    scm(&mut w, red("a"));
    prepares(&mut w, 1, &[]);
    assert_eq!(told(&w), ["ci-failed: a unit"]);
    let reruns = w.events[from..].iter().filter(|event| {
        matches!(&event.kind, Kind::EffectIntended(e) if matches!(e.effect, Effect::RerunChecks { .. }))
    });
    assert_eq!(reruns.count(), 1);
}

#[test]
fn s25_words_of_strangers_wait_for_a_human() {
    let mut w = followed();
    let talk = PrFacts { human_threads: 1, discussion: "1".into(), ..green("a") };
    scm(&mut w, talk.clone());
    prepares(&mut w, 1, &["eve"]);
    assert!(told(&w).is_empty());
    w.pass(2 * MINUTE);
    assert_eq!(about_prs(&w).len(), 1, "a human is asked at once: {:?}", w.pushes());
    let incident = *w.state.open.values().next().unwrap();
    w.give(Input::Release { incident, by: ana() }).unwrap();
    assert_eq!(told(&w).len(), 1);
    // S26: what was changed after he looked is held again.
    scm(&mut w, PrFacts { discussion: "2".into(), ..talk });
    prepares(&mut w, 1, &["eve"]);
    assert_eq!(told(&w).len(), 1);
    let again = w.give(Input::Release { incident, by: ana() });
    assert!(again.is_ok(), "{again:?}");
    assert_eq!(told(&w).len(), 2);
    w.refused(
        Input::Release { incident, by: ana() },
        &format!("nothing of {incident} waits for a release"),
    );
}

#[test]
fn a_merge_is_done_once_at_the_head_that_was_shown() {
    let mut w = followed();
    w.tell(1, [turn_ended("t1")]);
    scm(&mut w, green("a"));
    let merge = |head: &str| Input::Merge {
        session: app(1),
        head: Some(head.into()),
        method: MergeMethod::Rebase,
        by: ana(),
    };
    w.refused(
        merge("0ld"),
        "pull request #57 was not merged: its head was 0ld when this was offered, and is a now",
    );
    w.give(merge("a")).unwrap();
    w.give(merge("a")).unwrap();
    assert_eq!(
        w.effect(1),
        Some(Effect::MergePr { head: "a".into(), method: MergeMethod::Rebase })
    );
    w.succeed(1);
    assert_eq!(w.effect(1), None, "it is done");
    scm(&mut w, PrFacts { state: PrState::Merged, ..green("a") });
    let merges = w.events.iter().filter(|event| {
        matches!(&event.kind, Kind::EffectIntended(e) if matches!(e.effect, Effect::MergePr { .. }))
    });
    assert_eq!(merges.count(), 1);
    while w.effect(1).is_some() {
        w.succeed(1);
    }
    assert!(w.session(1).is_over());
}

#[test]
fn m6_nothing_merges_by_itself_after_words_of_others_unless_a_human_looked() {
    let alone = |reaction: &mut Reaction| {
        (reaction.auto, reaction.action) = (true, ReactionAction::AutoMerge);
    };
    let mut w = with(Trigger::ApprovedAndGreen, alone);
    w.give(Input::Link { session: app(1), pr: pr(), by: None }).unwrap();
    w.tell(1, [turn_ended("t1")]);
    scm(&mut w, green("a"));
    w.pass(MINUTE);
    assert_eq!(
        w.effect(1),
        Some(Effect::MergePr { head: "a".into(), method: MergeMethod::Squash }),
        "it merges by itself"
    );
    assert!(about_prs(&w).is_empty(), "and nobody is asked: {:?}", w.pushes());
    // Refused, a human is asked.
    w.fail(1, ErrorKind::Refused);
    w.pass(MINUTE);
    assert_eq!(about_prs(&w).len(), 1, "{:?}", w.pushes());

    let mut w = with(Trigger::ApprovedAndGreen, alone);
    w.give(Input::Link { session: app(1), pr: pr(), by: None }).unwrap();
    scm(&mut w, red("a"));
    prepares(&mut w, 1, &[]);
    takes(&mut w, 1);
    w.tell(1, [turn_ended("t-pr")]);
    scm(&mut w, PrFacts { review: Review::Approved, ..green("b") });
    w.pass(MINUTE);
    assert_eq!(w.effect(1), None, "a log was passed on, and nobody has looked");
    assert_eq!(about_prs(&w).len(), 1, "a human is asked: {:?}", w.pushes());
}

#[test]
fn a_pull_request_has_one_owner() {
    let mut w = followed();
    w.add_working("42");
    w.give(Input::Link { session: app(2), pr: pr(), by: None }).unwrap();
    assert_eq!(w.session(2).follow.pr, None);
    let claim = |n| Input::Link { session: app(n), pr: pr(), by: Some(ana()) };
    w.refused(claim(2), "pull request #57 is app-1's");
    let other = PrRef { number: PrNumber(58), ..pr() };
    w.give(Input::Link { session: app(1), pr: other, by: Some(ana()) }).unwrap();
    w.give(claim(2)).unwrap();
    assert_eq!(w.session(2).follow.pr, Some(pr()));
}

#[test]
fn a_merged_session_goes_on_for_its_grace_and_keeps_its_workspace_if_wanted() {
    let mut policy = Policy::with_projects(&["my-app"]);
    policy.lifecycle.merge_grace_ms = 10 * MINUTE;
    policy.lifecycle.auto_cleanup_on_merge = false;
    let mut w = World::with(policy);
    w.add_working("41");
    w.give(Input::Link { session: app(1), pr: pr(), by: None }).unwrap();
    w.tell(1, [turn_ended("t1")]);
    scm(&mut w, PrFacts { state: PrState::Merged, ..green("a") });
    w.pass(9 * MINUTE);
    assert_eq!(w.effect(1), None);
    w.pass(2 * MINUTE);
    w.succeed(1);
    assert!(w.session(1).is_over());
    assert_eq!((w.effect(1), w.session(1).cleanup), (None, None), "its workspace stays");
}

#[test]
fn a_pull_request_is_opened_by_itself_where_that_is_wanted() {
    let mut policy = Policy::with_projects(&["my-app"]);
    for project in policy.projects.values_mut() {
        let settings = serde_json::json!({"autoOpen": true});
        project.scm =
            Some(crate::config::policy::PluginChoice { plugin: "local".into(), settings });
    }
    let mut w = World::with(policy);
    w.add_working("41");
    w.look(1, work(1, 0));
    assert_eq!(w.effect(1), None, "not while a turn runs");
    w.tell(1, [turn_ended("t1")]);
    w.look(1, work(1, 2));
    assert_eq!(w.effect(1), None, "nor with changes that are not committed");
    w.look(1, work(2, 0));
    assert!(matches!(w.effect(1), Some(Effect::OpenPr { .. })));
    // Refused, it is tried again once there is another commit.
    w.fail(1, ErrorKind::Refused);
    w.look(1, work(2, 0));
    assert_eq!(w.effect(1), None);
    let more = WorkFacts { head: "c01dbee".into(), ..work(3, 0) };
    w.look(1, more);
    assert!(matches!(w.effect(1), Some(Effect::OpenPr { .. })));
    w.succeed(1);
    assert_eq!(w.session(1).follow.pr, Some(pr()));
    assert_eq!(w.effect(1), None);
}
