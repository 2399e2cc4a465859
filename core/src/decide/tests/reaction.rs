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
    event::{Over, PrAct},
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
    let behind = || PrFacts { mergeable: Mergeable::Behind, ..green("a") };
    let passed: [(&str, PrFacts, PrFacts); 6] = [
        ("it holds its base", behind(), green("a")),
        ("it is not all that lacks", behind(), PrFacts { review: Review::Pending, ..behind() }),
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

const HINT: &str = "Look at the fixture.";

/// A human was told, and the agent is still at the turn of the last try.
fn tried_in_vain() -> World {
    let mut w = followed();
    for head in ["a", "b", "c"] {
        scm(&mut w, red(head));
        prepares(&mut w, 1, &[]);
        takes(&mut w, 1);
    }
    w
}

fn takes_hint(w: &mut World) {
    w.tell(1, [Told::TurnStarted { turn: Some("t2".into()), digest: Some(digest(HINT)) }]);
    while w.effect(1).is_some() {
        w.succeed(1);
    }
}

#[test]
fn a_humans_hint_after_failed_tries_is_what_the_agent_is_told() {
    let mut w = tried_in_vain();
    w.pass(2 * MINUTE);
    assert_eq!((told(&w).len(), about_prs(&w).len()), (2, 1), "ao stopped, a human was told");
    w.tell(1, [turn_ended("t-pr")]);
    w.give(send(1, HINT)).unwrap();
    assert!(w.session(1).next_message().is_some_and(|message| message.by.is_some()));
    takes_hint(&mut w);
    assert_eq!(told(&w).len(), 2, "the hint alone, not the old log besides");
    // What comes of it is one try, and its log goes to the agent as ever.
    scm(&mut w, red("d"));
    prepares(&mut w, 1, &[]);
    assert_eq!((told(&w).len(), w.session(1).failed_attempts()), (3, 1));
}

#[test]
fn a_hint_of_which_nothing_comes_does_not_keep_the_log_back() {
    let mut w = tried_in_vain();
    w.tell(1, [turn_ended("t-pr")]);
    w.give(send(1, HINT)).unwrap();
    takes_hint(&mut w);
    w.tell(1, [turn_ended("t2")]);
    w.pass(121 * SECOND);
    assert_eq!(told(&w).last().map(String::as_str), Some("ci-failed: c unit"));
    // Words that no failure went before say nothing of it.
    let mut w = followed();
    scm(&mut w, red("a"));
    w.give(send(1, "Update the changelog too.")).unwrap();
    prepares(&mut w, 1, &[]);
    assert_eq!(told(&w), ["ci-failed: a unit"]);
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
    let release = |digest: &str| Input::Release { incident, digest: digest.into(), by: ana() };
    let shown = |w: &World| w.session(1).follow.briefs[&Trigger::ChangesRequested].digest.clone();
    let read = shown(&w);
    w.give(release(&read)).unwrap();
    assert_eq!(told(&w).len(), 1);
    // S26: what was changed after he looked is held again.
    scm(&mut w, PrFacts { discussion: "2".into(), ..talk });
    prepares(&mut w, 1, &["eve"]);
    assert_eq!(told(&w).len(), 1);
    w.refused(release(&read), "more was written since; read it again");
    let read = shown(&w);
    w.give(release(&read)).unwrap();
    assert_eq!(told(&w).len(), 2);
    w.refused(release(&read), &format!("nothing of {incident} waits for a release"));
}

#[test]
fn a_draft_is_made_ready_by_opening_it_again() {
    for (state, draft, opens) in [
        (PrState::Open, false, false),
        (PrState::Open, true, false),
        (PrState::Draft, true, false),
        (PrState::Draft, false, true),
        (PrState::Closed, false, true),
    ] {
        let mut w = followed();
        w.tell(1, [turn_ended("t1")]);
        scm(&mut w, PrFacts { state, ..green("a") });
        let open = Input::OpenPr { session: app(1), title: None, body: None, draft, base: None };
        if opens {
            w.give(open).unwrap();
            assert!(matches!(w.effect(1), Some(Effect::OpenPr { .. })), "{state:?} {draft}");
        } else {
            w.refused(open, "app-1 has pull request #57 already");
        }
    }
    let mut w = followed();
    scm(&mut w, PrFacts { state: PrState::Draft, ..green("a") });
    let merge =
        Input::Merge { session: app(1), head: None, method: Some(MergeMethod::Squash), by: ana() };
    let refusal = w.give(merge).unwrap_err();
    assert_eq!(refusal.remedy.as_deref(), Some("make it ready: ao pr create app-1"));
}

#[test]
fn a_merge_is_done_once_at_the_head_that_was_shown() {
    let mut w = followed();
    w.tell(1, [turn_ended("t1")]);
    scm(&mut w, green("a"));
    let merge = |head: &str| Input::Merge {
        session: app(1),
        head: Some(head.into()),
        method: Some(MergeMethod::Rebase),
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
        Some(Effect::MergePr { head: "a".into(), method: Some(MergeMethod::Rebase) })
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
    let (_, summary) = crate::words::all_complete(&w.state, &[app(1)]);
    assert!(format!("{summary:?}").contains("#41 merged as c01dbee"), "{summary:?}");
}

#[test]
fn a_merge_goes_as_somebody_says_else_as_the_project_else_as_the_repository_allows() {
    use MergeMethod::{Rebase, Squash};
    for (said, project, expected) in [
        (None, None, None),
        (None, Some(Rebase), Some(Rebase)),
        (Some(Squash), Some(Rebase), Some(Squash)),
        (Some(Squash), None, Some(Squash)),
    ] {
        for alone in [false, true] {
            let mut w = with(Trigger::ApprovedAndGreen, |reaction| {
                if alone {
                    (reaction.auto, reaction.action) = (true, ReactionAction::AutoMerge);
                }
            });
            w.give(Input::Link { session: app(1), pr: pr(), by: None }).unwrap();
            let mut policy = (*w.state.policy).clone();
            policy.projects.values_mut().for_each(|of| of.merge_method = project);
            w.configure(policy, [(desk(), desktop())].into());
            w.tell(1, [turn_ended("t1")]);
            scm(&mut w, green("a"));
            let expected = if alone { project } else { expected };
            match alone {
                true => w.pass(MINUTE),
                false => {
                    let (session, head) = (app(1), Some("a".to_owned()));
                    w.give(Input::Merge { session, head, method: said, by: ana() }).unwrap();
                }
            }
            assert_eq!(
                w.effect(1),
                Some(Effect::MergePr { head: "a".into(), method: expected }),
                "{said:?} {project:?} {alone}"
            );
        }
    }
}

#[test]
fn what_came_of_a_merge_is_booked_on_that_merge_alone() {
    for ends_well in [true, false] {
        let mut w = followed();
        w.tell(1, [turn_ended("t1")]);
        let merge = |head: &str| {
            let (session, head) = (app(1), Some(head.to_owned()));
            Input::Merge { session, head, method: Some(MergeMethod::Squash), by: ana() }
        };
        for head in ["a", "b"] {
            scm(&mut w, green(head));
            w.give(merge(head)).unwrap();
        }
        match ends_well {
            true => w.succeed(1),
            false => w.fail(1, ErrorKind::Refused),
        }
        let wanted = w.session(1).follow.merge.as_ref().unwrap();
        assert!(wanted.head == "b" && wanted.waits(), "{wanted:?}");
        let doing = Effect::MergePr { head: "b".into(), method: Some(MergeMethod::Squash) };
        assert_eq!(w.effect(1), Some(doing));
    }
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
        Some(Effect::MergePr { head: "a".into(), method: None }),
        "it merges by itself"
    );
    assert!(about_prs(&w).is_empty(), "and nobody is asked: {:?}", w.pushes());
    // Refused, a human is asked.
    w.fail(1, ErrorKind::Refused);
    w.pass(MINUTE);
    assert_eq!(about_prs(&w).len(), 1, "{:?}", w.pushes());

    let passed_on = || {
        let mut w = with(Trigger::ApprovedAndGreen, alone);
        w.give(Input::Link { session: app(1), pr: pr(), by: None }).unwrap();
        scm(&mut w, red("a"));
        prepares(&mut w, 1, &[]);
        takes(&mut w, 1);
        w.tell(1, [turn_ended("t-pr")]);
        w
    };
    let mut w = passed_on();
    scm(&mut w, PrFacts { review: Review::Approved, ..green("b") });
    w.pass(MINUTE);
    assert_eq!(w.effect(1), None, "a log was passed on, and nobody has looked");
    assert_eq!(about_prs(&w).len(), 1, "a human is asked: {:?}", w.pushes());
    // The next pull request of the same work is no other one.
    let second = PrRef { number: PrNumber(58), ..pr() };
    w.give(Input::Link { session: app(1), pr: second, by: None }).unwrap();
    scm(&mut w, PrFacts { number: PrNumber(58), review: Review::Approved, ..green("b") });
    w.pass(MINUTE);
    assert_eq!(w.effect(1), None, "it has the same words in it");
    // Nor for another session that goes on with it, or with its branch.
    let n = w.add_working("44");
    w.give(kill(1)).unwrap();
    while w.effect(1).is_some() {
        w.succeed(1);
    }
    let follows = |w: &World, n: u32| w.state.sessions[&app(n)].follow.clone();
    let other = PrRef { number: PrNumber(60), ..pr() };
    w.give(Input::Link { session: app(n), pr: other, by: None }).unwrap();
    assert!(!follows(&w, n).is_tainted("b"));
    let theirs = follows(&w, 1).pr.unwrap();
    w.give(Input::Link { session: app(n), pr: theirs, by: Some(ana()) }).unwrap();
    assert!(follows(&w, n).is_tainted("b"));
    let branch = w.state.sessions[&app(1)].works_on().unwrap().to_owned();
    let Input::Spawn(mut goes_on) = spawn_prompt("Go on") else { unreachable!() };
    (goes_on.branch, goes_on.force) = (Some(branch), true);
    w.give(Input::Spawn(goes_on)).unwrap();
    assert!(follows(&w, n + 1).is_tainted("b"));

    // Words to the agent are no look at what it made; an approval is one at the head that it is given to, and no other.
    let approved = |head: &str| {
        let mut pr = PrFacts { review: Review::Approved, ..green(head) };
        pr.details.approved_by = vec!["ben".into()];
        pr.details.head_approved = head == "c";
        pr
    };
    let mut w = passed_on();
    w.give(send(1, "Name it better.")).unwrap();
    while w.effect(1).is_some() {
        w.succeed(1);
    }
    w.tell(1, [turn_started("t2"), turn_ended("t2")]);
    let merges = |w: &World| matches!(w.effect(1), Some(Effect::MergePr { .. }));
    scm(&mut w, approved("b"));
    w.pass(MINUTE);
    assert!(!merges(&w), "the approval is of the head before");
    scm(&mut w, green("c"));
    w.pass(MINUTE);
    assert!(!merges(&w));
    let before = w.clone();
    scm(&mut w, approved("c"));
    w.pass(MINUTE);
    assert!(merges(&w), "{:?}", w.effect(1));
    // So is the wish to merge it, also when it was refused.
    let mut w = before;
    let (session, head) = (app(1), Some("c".to_owned()));
    w.give(Input::Merge { session, head, method: Some(MergeMethod::Squash), by: ana() }).unwrap();
    w.fail(1, ErrorKind::Refused);
    scm(&mut w, green("d"));
    w.pass(MINUTE);
    assert!(!merges(&w), "another head, with the same words in it");
}

#[test]
fn another_pull_request_forgets_neither_the_tries_nor_whose_words_went_to_the_agent() {
    for opened in [true, false] {
        let mut w = followed();
        for head in ["a", "b"] {
            scm(&mut w, red(head));
            prepares(&mut w, 1, &[]);
            takes(&mut w, 1);
            w.tell(1, [turn_ended("t-pr")]);
        }
        scm(&mut w, PrFacts { state: PrState::Closed, ..red("b") });
        // By itself, as the second one of its branch, or by `ao pr create`.
        let second = PrRef { number: PrNumber(58), ..pr() };
        match opened {
            true => {
                let (session, base) = (app(1), None);
                while w.effect(1).is_some() {
                    w.succeed(1);
                }
                let open = Input::OpenPr { session, title: None, body: None, draft: false, base };
                w.give(open).unwrap();
                w.settle(1, Ok(Outcome::PrOpened(second)));
            }
            false => {
                w.give(Input::Link { session: app(1), pr: second, by: None }).unwrap();
            }
        }
        // The end of the first is none of the second.
        assert_eq!((w.session(1).pr(), w.session(1).heads.len()), (None, 0));
        w.pass(20 * SECOND);
        let closed = w.state.open_incident(&Subject::Session(app(1)), Trigger::PrClosed, None);
        assert!(closed.is_none(), "{closed:?}");
        assert!(w.session(1).follow.tainted.is_some());
        scm(&mut w, PrFacts { number: PrNumber(58), ..red("c") });
        assert_eq!(w.session(1).failed_attempts(), 2, "it is a human's now");
    }
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
    // What was asked about the first one is no answer about the second.
    scm(&mut w, red("a"));
    assert_eq!(w.session(1).pr(), None);
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

/// A session that works, of a project whose pull requests open by themselves.
fn opening() -> World {
    let mut policy = Policy::with_projects(&["my-app"]);
    for project in policy.projects.values_mut() {
        let settings = serde_json::json!({"autoOpen": true});
        project.scm =
            Some(crate::config::policy::PluginChoice { plugin: "local".into(), settings });
    }
    let mut w = World::with(policy);
    w.add_working("41");
    w
}

#[test]
fn a_pull_request_is_opened_by_itself_where_that_is_wanted() {
    let mut w = opening();
    w.look(1, work(1, 0));
    assert_eq!(w.effect(1), None, "not while a turn runs");
    w.tell(1, [turn_ended("t1")]);
    w.look(1, work(1, 2));
    assert_eq!(w.effect(1), None, "nor with changes that are not committed");
    w.look(1, work(2, 0));
    assert!(matches!(w.effect(1), Some(Effect::OpenPr { .. })));
    // What passes is tried again, a few times; and whoever is told that it looks finished hears why it has none.
    let mut down = w.clone();
    down.fail(1, ErrorKind::Transient);
    assert_eq!(down.effect(1), None);
    for _ in 0..6 {
        down.pass(320 * SECOND);
        down.fail(1, ErrorKind::InDoubt);
        if down.effect(1).is_some() {
            down.fail(1, ErrorKind::InDoubt);
        }
    }
    down.pass(20 * MINUTE);
    assert_eq!(down.effect(1), None);
    let mut newest = down.state.notifications.values().rev();
    let told = newest.find(|told| told.incident.is_some()).unwrap();
    let said = format!("{:?}", down.message(told, &desk()).body);
    assert!(said.contains("Its pull request could not be opened: it broke."), "{said}");
    // Refused, it is tried again once there is another commit.
    w.fail(1, ErrorKind::Refused);
    w.look(1, work(2, 0));
    assert_eq!(w.effect(1), None);
    w.pass(10 * MINUTE);
    assert_eq!(w.effect(1), None);
    let more = WorkFacts { head: "c01dbee".into(), ..work(3, 0) };
    w.look(1, more);
    assert!(matches!(w.effect(1), Some(Effect::OpenPr { .. })));
    w.succeed(1);
    assert_eq!(w.session(1).follow.pr, Some(pr()));
    assert_eq!(w.effect(1), None);
}

fn done_by_itself(action: ReactionAction) -> impl Fn(&mut Reaction) {
    move |reaction| (reaction.auto, reaction.action) = (true, action)
}

#[test]
fn an_agent_is_started_again_by_itself_once_in_a_while() {
    let mut w = with(Trigger::AgentExited, done_by_itself(ReactionAction::Restart));
    let exits = |w: &World| seen(w, 1, RuntimeState::Exited { code: Some(1) }, false);
    w.check(exits(&w.clone()), &["is errored", "opens agent-exited"]);
    w.after(2 * SECOND, &["restores app-1", "is spawning", "do resume 2"]);
    w.comes_back(1);
    w.pass(20 * SECOND);
    assert_eq!(w.pushes(), [""; 0], "nobody was bothered");
    let handled = w
        .events
        .iter()
        .any(|event| matches!(&event.kind, Kind::IncidentResolved(e) if e.how == Settled::Handled));
    assert!(handled, "the digest tells of it");
    // So soon after it what ended the agent would do it again: a human hears of it.
    w.give(exits(&w.clone())).unwrap();
    w.pass(5 * SECOND);
    assert_eq!(w.pushes(), ["app-1 stopped: exited with code 1"]);
    let incident = w.state.open.values().next().unwrap();
    let told = &w.state.notifications[&w.state.incidents[incident].notification.unwrap()];
    let message = w.message(told, &desk());
    let tried = "Tried: ao started it again.";
    assert!(format!("{:?}", message.body).contains(tried), "{:?}", message.body);
    // Later it is tried once more.
    w.give(restore(1)).unwrap();
    w.succeed(1);
    w.tell(1, [started()]);
    w.pass(31 * MINUTE);
    w.tell(1, [turn_started("t9")]);
    w.give(exits(&w.clone())).unwrap();
    w.after(2 * SECOND, &["restores app-1", "is spawning", "do resume 4"]);
    // One that fails is a human's.
    w.fail(1, ErrorKind::Permanent);
    w.pass(5 * SECOND);
    assert_eq!(w.pushes().last(), Some(&"app-1 stopped: it could not be restored"));
}

#[test]
fn what_hangs_or_cannot_go_on_is_started_again_where_that_is_wanted() {
    let restarts = done_by_itself(ReactionAction::Restart);
    let mut w = with(Trigger::AgentStuck, &restarts);
    w.after(
        10 * MINUTE + 2 * SECOND,
        &["opens agent-stuck", "is stuck", "restores app-1", "is spawning", "do end 1"],
    );
    let mut w = with(Trigger::AgentErrored, &restarts);
    let told = Told::Failed {
        kind: ao_slots::fact::AgentErrorKind::ProviderDown,
        text: Text::short("overloaded"),
    };
    w.tell(1, [told]);
    w.after(2 * SECOND, &["restores app-1", "is spawning", "do end 1"]);
    // What is not known to run or not is left alone: there is never a second one.
    let mut w = with(Trigger::AgentStuck, &restarts);
    w.see(1, RuntimeState::Unknown);
    w.pass(11 * MINUTE);
    assert_eq!(w.effect(1), None);
    assert_eq!(w.pushes().len(), 1, "{:?}", w.pushes());
}

#[test]
fn a_human_who_is_at_it_is_not_interrupted() {
    for taken in [true, false] {
        let types = |sessions| Input::Presence { sessions, page: false };
        let mut w = with(Trigger::AgentExited, done_by_itself(ReactionAction::Kill));
        w.see(1, RuntimeState::Exited { code: Some(1) });
        let incident = *w.state.open.values().next().unwrap();
        match taken {
            true => w.give(Input::Acknowledge { incident, by: ana() }).unwrap(),
            false => w.give(types([app(1)].into())).unwrap(),
        };
        w.pass(MINUTE);
        assert!(!w.session(1).is_over() && w.session(1).intent == crate::state::Want::Run);
        if !taken {
            w.give(types(Default::default())).unwrap();
            assert_eq!(w.session(1).intent, crate::state::Want::Kill(Actor::ao()));
        }
    }
}

#[test]
fn a_session_is_ended_by_itself_as_a_human_would() {
    let mut w = with(Trigger::PrClosed, done_by_itself(ReactionAction::Kill));
    w.give(Input::Link { session: app(1), pr: pr(), by: None }).unwrap();
    w.tell(1, [turn_ended("t1")]);
    w.look(1, work(2, 1));
    scm(&mut w, PrFacts { state: PrState::Closed, ..green("a") });
    w.after(16 * SECOND, &["is cleanup", "do end 1", "clears i-1 by ao"]);
    w.succeed(1);
    assert_eq!(w.session(1).over.map(|(how, _)| how), Some(Over::Killed));
    // What is not safe stays, as for a human.
    let removal = ao_slots::workspace::Removal::IfSafe;
    assert_eq!(w.effect(1), Some(Effect::DestroyWorkspace { removal }));
    w.fail(1, ErrorKind::Refused);
    assert!(!w.session(1).workspace_gone);
    assert_eq!(about_prs(&w), [""; 0], "nobody was bothered");
    // Without `auto` a human is asked.
    let mut w = with(Trigger::PrClosed, |reaction| reaction.action = ReactionAction::Kill);
    w.give(Input::Link { session: app(1), pr: pr(), by: None }).unwrap();
    scm(&mut w, PrFacts { state: PrState::Closed, ..green("a") });
    w.pass(MINUTE);
    assert_eq!((w.effect(1), about_prs(&w).len()), (None, 1));
}

#[test]
fn nothing_means_nothing_and_is_explained() {
    let nothing = |reaction: &mut Reaction| reaction.action = ReactionAction::Nothing;
    let mut w = with(Trigger::CiFailed, nothing);
    w.give(Input::Link { session: app(1), pr: pr(), by: None }).unwrap();
    scm(&mut w, red("a"));
    prepares(&mut w, 1, &[]);
    w.pass(10 * 60 * MINUTE);
    assert!(told(&w).is_empty() && about_prs(&w).is_empty());
    let id = *w.state.open.values().next().unwrap();
    let about = crate::why::About::Incident(id);
    let zone = jiff::tz::TimeZone::UTC;
    let why = crate::why::explain(&w.state, &about, &BTreeMap::new(), 0, w.now, &zone).unwrap();
    let says = "Nobody is told: the configuration says so (reactions.ci-failed.action: none).";
    assert!(why.headline.ends_with(says), "{}", why.headline);

    let mut w = with(Trigger::AgentStuck, nothing);
    w.pass(60 * MINUTE);
    assert_eq!(w.session(1).status, crate::state::Status::Stuck);
    assert_eq!(w.pushes(), ["app-1 works for 30 min and has no commit yet"; 0]);

    let mut w = with(Trigger::AllComplete, nothing);
    w.give(kill(1)).unwrap();
    while w.effect(1).is_some() {
        w.succeed(1);
    }
    assert!(w.state.rounds.is_empty() && w.pushes().is_empty(), "{:?}", w.pushes());
}

fn sole(w: &World) -> ao_slots::IncidentId {
    *w.state.open.values().next().expect("an incident stands")
}

fn retry(w: &World) -> Input {
    Input::Retry { incident: sole(w), by: ana() }
}

/// The agent begins a turn with what it was told, and brings another head that fails too.
fn tries(w: &mut World, head: &str) {
    takes(w, 1);
    w.tell(1, [Told::Alive]);
    scm(w, red(head));
    prepares(w, 1, &[]);
    w.pass(2 * MINUTE);
}

#[test]
fn a_human_has_the_agent_try_once_more_and_hears_of_it_if_that_fails() {
    let mut w = followed();
    scm(&mut w, red("a"));
    prepares(&mut w, 1, &[]);
    tries(&mut w, "b");
    tries(&mut w, "c");
    let titles = ["PR #57 still fails after 2 tries by app-1: unit"];
    assert_eq!((about_prs(&w), told(&w).len()), (titles.to_vec(), 2), "it was not told of c");
    w.give(retry(&w)).unwrap();
    assert_eq!(told(&w).last().unwrap(), "ci-failed: c unit");
    let incident = sole(&w);
    w.refused(retry(&w), "app-1 was asked once more by ana; nothing was done twice");
    let shown = |w: &World| {
        let told = w.state.incidents[&incident].notification.unwrap();
        w.message(&w.state.notifications[&told], &desk())
    };
    let short = "Sent to app-1 once more, asked by ana. You hear of it if that does not help.";
    assert_eq!((shown(&w).short.as_str(), shown(&w).buttons.len()), (short, 0));
    w.pass(2 * MINUTE);
    assert_eq!(about_prs(&w).len(), 1, "it is at it");
    // One attempt more, no matter how it is seen.
    tries(&mut w, "d");
    let again = "PR #57 still fails after 3 tries by app-1: unit";
    assert_eq!(about_prs(&w), [titles[0], again]);
    assert_eq!(told(&w).len(), 3, "and it is not told of d");
    w.indices_are_true();
    // A server that died in between knows it all.
    w.give(retry(&w)).unwrap();
    w.start("boot-1");
    w.give(Input::Swept { sessions: 1 }).unwrap();
    assert_eq!(told(&w).len(), 4);
    scm(&mut w, PrFacts { state: PrState::Draft, ..green("e") });
    w.pass(MINUTE);
    assert_eq!(about_prs(&w).len(), 2);
    w.refused(
        Input::Retry { incident, by: ana() },
        &format!("nothing of {incident} can be sent once more"),
    );
}

#[test]
fn comments_are_sent_again_and_told_again_after_their_time() {
    let mut w = followed();
    let talk = PrFacts { human_threads: 2, discussion: "1".into(), ..green("a") };
    scm(&mut w, talk.clone());
    prepares(&mut w, 1, &[]);
    takes(&mut w, 1);
    let alive = |w: &mut World, minutes: u64| {
        for _ in 0..minutes {
            w.tell(1, [Told::Alive]);
            w.pass(MINUTE);
        }
    };
    alive(&mut w, 32);
    assert_eq!(about_prs(&w).len(), 1);
    w.give(retry(&w)).unwrap();
    assert_eq!(told(&w).len(), 2, "the same words again");
    takes(&mut w, 1);
    alive(&mut w, 28);
    assert_eq!(about_prs(&w).len(), 1, "it has its time");
    alive(&mut w, 4);
    assert_eq!(about_prs(&w).len(), 2);
    // Who took it meanwhile is not called.
    w.give(retry(&w)).unwrap();
    w.give(Input::Acknowledge { incident: sole(&w), by: ana() }).unwrap();
    alive(&mut w, 40);
    assert_eq!(about_prs(&w).len(), 2);
}

#[test]
fn what_cannot_go_to_the_agent_is_not_sent_again() {
    let mut w = with(Trigger::CiFailed, |reaction| reaction.action = ReactionAction::Notify);
    w.give(Input::Link { session: app(1), pr: pr(), by: None }).unwrap();
    scm(&mut w, red("a"));
    w.pass(2 * MINUTE);
    assert_eq!(about_prs(&w).len(), 1);
    let (incident, input) = (sole(&w), retry(&w));
    w.refused(input, &format!("nothing of {incident} can be sent once more"));
    // Nor while its checks run: what comes of them is not known.
    let mut w = followed();
    scm(&mut w, red("a"));
    scm(&mut w, PrFacts { checks: Checks::Pending, ..red("a") });
    let (incident, input) = (sole(&w), retry(&w));
    w.refused(input, &format!("nothing of {incident} can be sent once more"));
}

fn acts(act: PrAct) -> Input {
    Input::ActOnPr { session: app(1), act, by: ana() }
}

#[test]
fn checks_are_run_again_at_the_head_that_was_shown() {
    let mut w = followed();
    w.tell(1, [turn_ended("t1")]);
    scm(&mut w, red("a"));
    w.refused(
        acts(PrAct::Rerun { head: "0ld".into() }),
        "the checks of pull request #57 were not run again: its head was 0ld when this was offered, and is a now",
    );
    w.give(acts(PrAct::Rerun { head: "a".into() })).unwrap();
    w.give(acts(PrAct::Rerun { head: "a".into() })).unwrap();
    assert_eq!(w.effect(1), Some(Effect::RerunChecks { head: "a".into() }));
    w.succeed(1);
    assert_eq!((w.effect(1), &w.session(1).follow.asked), (None, &None));
}

#[test]
fn a_pull_request_is_opened_for_whoever_asks_and_what_failed_is_said() {
    let mut policy = Policy::with_projects(&["my-app"]);
    for project in policy.projects.values_mut() {
        project.scm = Some(crate::config::policy::PluginChoice::of("local"));
    }
    let mut w = World::with(policy);
    w.add_working("41");
    // It says that it is done, and has none: that is for a human to see, at once.
    w.tell(1, [Told::Completed { text: None }, turn_ended("t1")]);
    w.look(1, work(3, 0));
    assert_eq!(w.effect(1), None, "it does not simply end");
    w.pass(20 * SECOND);
    assert_eq!(w.pushes(), ["app-1 looks finished: 3 commits, no PR"]);
    let shown = |w: &World| {
        let told = w.state.notifications.values().next().unwrap();
        w.message(told, &desk())
    };
    let labels: Vec<_> = shown(&w).buttons.into_iter().map(|button| button.label).collect();
    assert_eq!(labels, ["Open PR", "Done", "Send a message…", "Open"]);
    w.give(acts(PrAct::Open)).unwrap();
    assert_eq!(shown(&w).short, "Opening a PR… asked by ana.");
    let revision = w.state.notifications.values().next().unwrap().revision;
    w.fail(1, ErrorKind::Refused);
    let told = w.state.notifications.values().next().unwrap();
    assert!(told.revision > revision, "who looks at it sees that");
    assert_eq!(shown(&w).short, "No PR was opened: it broke.");
    w.give(acts(PrAct::Open)).unwrap();
    w.succeed(1);
    assert_eq!(w.session(1).follow.pr, Some(pr()));
    w.refused(acts(PrAct::Open), "app-1 has pull request #57 already");
    // It is followed to its end, whatever the agent says.
    scm(&mut w, PrFacts { checks: Checks::Pending, ..green("8a1b77e") });
    w.pass(MINUTE);
    assert_eq!(w.effect(1), None);
    assert!(w.state.notifications.values().next().unwrap().settled);
    // Closed without a merge it is not done either, until the issue is.
    w.refused(acts(PrAct::Reopen), "pull request #57 is not closed");
    scm(&mut w, PrFacts { state: PrState::Closed, ..green("8a1b77e") });
    w.pass(MINUTE);
    assert_eq!(about_prs(&w), ["PR #57 was closed without a merge"]);
    w.give(acts(PrAct::Reopen)).unwrap();
    assert_eq!(w.effect(1), Some(Effect::ReopenPr));
    w.succeed(1);
    scm(&mut w, PrFacts { checks: Checks::Pending, ..green("8a1b77e") });
    w.pass(MINUTE);
    assert!(w.state.open.is_empty(), "{:?}", w.state.open);
}
