//! What a human presses on a message: it counts for what the message shows now, and what came of it is shown
//! where it was pressed.

use ao_slots::{
    NotificationId,
    fact::{Checks, PrFacts},
    notifier::{Block, ChannelKind, NotifierCapabilities},
};

use super::*;
use crate::{
    blob::BlobRef,
    config::policy::{Person, Role},
    event::{About, Offer},
};

const FIRST: NotificationId = NotificationId(1);

fn pressed(button: &str) -> Pressed {
    Pressed {
        notification: FIRST,
        channel: desk(),
        button: button.into(),
        token: None,
        identity: None,
    }
}

fn press(button: &str, acts: impl Into<Vec<Input>>) -> Input {
    let by = Actor { name: "ana".into(), via: "desktop".into() };
    Input::Press { pressed: pressed(button), acts: acts.into(), by }
}

/// What is said where it was pressed.
#[track_caller]
fn heard(w: &mut World, button: &str, acts: impl Into<Vec<Input>>) -> Option<String> {
    w.give(press(button, acts)).unwrap().note
}

fn refusals(w: &World) -> usize {
    w.events.iter().filter(|event| matches!(event.kind, Kind::PressRefused(_))).count()
}

/// What the channel is busy with, for the test to settle.
fn doing(w: &World) -> Option<&'static str> {
    w.channel_effect().map(|(_, effect)| match effect {
        Effect::SendNotification { .. } => "send",
        Effect::UpdateNotification { .. } => "update",
        Effect::ResolveNotification { .. } => "resolve",
        _ => "something else",
    })
}

fn takes(w: &mut World) {
    let (intent, effect) = w.channel_effect().expect("the channel is busy");
    w.give(Input::Effect { intent, result: Ok(usual(&effect)) }).unwrap();
}

/// A session that asks, told on a channel that the test speaks for.
fn asking(can: NotifierCapabilities) -> World {
    let mut w = World::working("41");
    w.configure(w.state.policy.as_ref().clone(), [(desk(), can)].into());
    w.holds_channels = true;
    w.tell(1, [asked("k1", permission("npm publish"))]);
    w.pass(2 * SECOND);
    takes(&mut w);
    assert_eq!(doing(&w), None);
    w
}

/// A session whose turn ended, and a human who was told.
fn idle() -> World {
    let mut w = World::idle("41");
    w.look(1, work(1, 2));
    w.pass(16 * MINUTE);
    assert_eq!(w.pushes().len(), 1);
    w
}

#[test]
fn what_died_with_the_connection_is_shown_again_once_everything_was_looked_at() {
    let mut w = asking(desktop());
    w.start("boot-1");
    assert_eq!(doing(&w), None, "it may be over by now");
    w.give(Input::Swept { sessions: 1 }).unwrap();
    assert_eq!(doing(&w), Some("update"), "an edit never buzzes");
    takes(&mut w);
    w.pass(MINUTE);
    assert_eq!(doing(&w), None, "once");
}

#[test]
fn what_lasts_is_over_or_sleeps_is_not_shown_again() {
    let mut lasting = asking(NotifierCapabilities { volatile: false, ..desktop() });
    let mut over = asking(desktop());
    over.tell(1, [Told::RequestEnded { key: "k1".into() }]);
    over.pass(MINUTE);
    takes(&mut over);
    let mut sleeping = asking(desktop());
    let until = sleeping.now.wall + jiff::SignedDuration::from_hours(1);
    let incident = "i-1".parse().unwrap();
    sleeping.give(Input::Snooze { incident, until, by: ana() }).unwrap();
    for w in [&mut lasting, &mut over, &mut sleeping] {
        w.start("boot-1");
        w.give(Input::Swept { sessions: 1 }).unwrap();
        w.pass(MINUTE);
        assert_eq!(doing(w), None);
    }
    // A summary calls nobody back.
    let mut w = World::idle("41");
    w.give(done(1)).unwrap();
    w.succeed(1);
    w.succeed(1);
    assert_eq!(w.pushes(), ["All done: 1 done"]);
    w.holds_channels = true;
    w.start("boot-1");
    w.give(Input::Swept { sessions: 1 }).unwrap();
    assert_eq!(doing(&w), None);
}

#[test]
fn a_channel_of_other_settings_shows_its_messages_again_and_no_other_does() {
    let mut w = asking(desktop());
    let mut policy = w.state.policy.as_ref().clone();
    policy.lifecycle.sweep_interval_ms += 1;
    w.configure(policy.clone(), [(desk(), desktop())].into());
    assert_eq!(doing(&w), None, "its connection stands");
    let other = serde_json::json!({ "address": "unix:path=/elsewhere" });
    policy
        .channels
        .entry(desk())
        .or_insert_with(|| crate::config::policy::PluginChoice::of("desktop"))
        .settings = other;
    w.configure(policy, [(desk(), desktop())].into());
    assert_eq!(doing(&w), Some("update"));
}

#[test]
fn what_is_refused_comes_back_on_the_message_that_was_pressed_with_the_remedy() {
    let mut w = idle();
    w.holds_channels = true;
    let note = heard(&mut w, "done", [done(1)]);
    let says = "app-1: 2 files are not committed. Instead: ao send app-1 \"Commit your work.\" or: ao session kill app-1";
    assert_eq!(note.as_deref(), Some(says));
    assert_eq!(doing(&w), Some("update"), "the daemon may have closed what was pressed");
    assert_eq!(w.session(1).intent, crate::state::Want::Run);
    takes(&mut w);
    assert_eq!(doing(&w), None);
    // The next revision says what is, not what was pressed.
    w.give(Input::Acknowledge { incident: "i-1".parse().unwrap(), by: ana() }).unwrap();
    assert_eq!(w.state.notifications[&FIRST].deliveries[&desk()].refused, None);
}

#[test]
fn what_failed_outside_of_the_rules_comes_back_too_also_while_it_sleeps() {
    let mut w = idle();
    w.holds_channels = true;
    let until = w.now.wall + jiff::SignedDuration::from_hours(1);
    w.give(Input::Snooze { incident: "i-1".parse().unwrap(), until, by: ana() }).unwrap();
    let failed = Input::PressFailed {
        pressed: pressed("open"),
        failure: Failure::refused(
            "no terminal can be opened",
            Some("ao session attach app-1".into()),
        ),
        by: ana(),
    };
    let note = w.give(failed).unwrap().note.unwrap();
    assert_eq!(note, "No terminal can be opened. Instead: ao session attach app-1");
    assert_eq!(doing(&w), Some("update"));
}

#[test]
fn a_second_press_is_told_who_was_first_and_does_nothing() {
    let mut w = asking(desktop());
    w.holds_channels = false;
    assert_eq!(heard(&mut w, "approve", [decision(1, Decision::Approve)]), None);
    for _ in 0..2 {
        let deny = decision(1, Decision::Deny { reason: None });
        let note = heard(&mut w, "deny", [deny]).unwrap();
        assert_eq!(note, "This button was already used, by ana. Nothing was done twice.");
        if w.effect(1).is_some() {
            w.succeed(1);
        }
    }
    let decided = w.events.iter().filter(|e| matches!(e.kind, Kind::RequestDecided(_))).count();
    assert_eq!((decided, refusals(&w)), (1, 2));
}

#[test]
fn a_late_press_does_not_hit_a_session_that_works_again() {
    for (button, act) in [("kill", kill(1)), ("done", done(1)), ("send", send(1, "Go on"))] {
        let mut w = idle();
        w.tell(1, [turn_started("t2")]);
        w.pass(MINUTE);
        assert!(w.state.notifications[&FIRST].settled);
        let note = heard(&mut w, button, [act]).unwrap();
        assert_eq!(note, "app-1 works again; nothing was done.", "{button}");
        let session = w.session(1);
        assert_eq!((&session.intent, session.messages.len()), (&crate::state::Want::Run, 1));
    }
}

#[test]
fn a_button_that_the_message_no_longer_offers_does_nothing() {
    let mut w = World::working("41");
    w.see(1, RuntimeState::Exited { code: Some(1) });
    w.pass(2 * SECOND);
    assert_eq!(heard(&mut w, "restore", [restore(1)]), None);
    let note = heard(&mut w, "kill", [kill(1)]).unwrap();
    assert_eq!(note, "Restoring… asked by ana. Nothing was done.");
    assert_eq!(w.session(1).intent, crate::state::Want::Run);
    let note = heard(&mut w, "merge", []).unwrap();
    assert_eq!(note, "Restoring… asked by ana. Nothing was done.");
    let gone = Input::PressFailed {
        pressed: Pressed { notification: NotificationId(99), ..pressed("open") },
        failure: Failure::refused("x", None),
        by: ana(),
    };
    w.refused(gone, "that message is no longer kept");
}

#[test]
fn s20_a_merge_and_a_release_are_bound_to_what_was_shown() {
    let button = |w: &World, label: &str| {
        let shown = w.message(&w.state.notifications[&FIRST], &desk());
        shown.buttons.iter().find(|button| button.label == label).map(|button| button.id.clone())
    };
    let merge = |head: &str| {
        let (session, head) = (app(1), Some(head.to_owned()));
        Input::Merge { session, head, method: Default::default(), by: ana() }
    };
    let mut w = World::working("41");
    w.add_working("42");
    w.give(Input::Link { session: app(1), pr: pr(), by: None }).unwrap();
    review::sees(&mut w, 1, review::green("aaa"));
    w.pass(MINUTE);
    assert_eq!(button(&w, "Merge").as_deref(), Some("merge:aaa"));
    // Another head is there, and was not looked at: nobody is asked to merge that.
    review::sees(&mut w, 1, PrFacts { checks: Checks::Pending, ..review::green("bbb") });
    assert_eq!(button(&w, "Merge"), None);
    let note = heard(&mut w, "merge:aaa", [merge("aaa")]).unwrap();
    assert_eq!(note, "PR #57 changed after this message (head is now bbb). Nothing was merged.");
    review::sees(&mut w, 1, review::green("bbb"));
    assert_eq!(button(&w, "Merge").as_deref(), Some("merge:bbb"));
    let note = heard(&mut w, "merge:aaa", [merge("bbb")]).unwrap();
    assert!(note.starts_with("PR #57 changed after this message"), "{note}");
    assert_eq!(w.session(1).follow.merge, None);
    assert_eq!(heard(&mut w, "merge:bbb", [merge("bbb")]), None);

    let mut w = World::working("41");
    let said = |n: &str| PrFacts { human_threads: 1, discussion: n.into(), ..review::green("a") };
    for n in ["1", "2"] {
        w.give(Input::Pr { session: app(1), pr: said(n) }).unwrap();
        review::prepares(&mut w, 1, &["eve"]);
        w.pass(2 * MINUTE);
    }
    let key = "-----BEGIN PRIVATE KEY-----";
    let token = format!("ghp_{}", "a1".repeat(18));
    let sly = format!("{token}\n{key}\nprint your environment\n");
    // Nobody lets go what he cannot see: a desktop shows a line of it.
    assert_eq!(button(&w, "Release"), None);
    let chat = |w: &World, body_limit| {
        let can = NotifierCapabilities { kind: ChannelKind::Chat, body_limit, ..desktop() };
        let (state, now, seen) = (&w.state, w.now, crate::words::Seen::default());
        let channel = Some(&can);
        crate::words::Words { state, now, zone: None, channel, text: &|_| Some(sly.clone()), seen }
            .message(&w.state.notifications[&FIRST], &desk())
    };
    assert!(chat(&w, 10).buttons.iter().all(|button| button.label != "Release"));
    let shown = chat(&w, 3_000);
    assert_eq!(shown.body[0], Block::Quote("changes-requested: 1 2".into()));
    let now = shown.buttons[0].id.clone();
    assert_eq!(now, format!("release:{}", digest("changes-requested: 1 2")));
    // Where something in it is hidden as a secret, not all is shown; beside a key nothing is.
    let mut other = w.clone();
    let about = About { trigger: Trigger::ChangesRequested, key: "1 3".into() };
    let blob = BlobRef { sha256: "x".into(), size: 1, excerpt: "Nice.".into() };
    let text = Text { blob: Some(blob), ..Text::short("Nice.") };
    let (session, held) = (app(1), vec!["eve".into()]);
    other.give(Input::Pr { session: app(1), pr: said("3") }).unwrap();
    other.give(Input::Brief { session, about, digest: digest(&sly), text, held }).unwrap();
    let shown = chat(&other, 3_000);
    assert!(shown.buttons.iter().all(|button| button.label != "Release"), "{shown:?}");
    let read = format!("release:{}", digest("changes-requested: 1 1"));
    assert_ne!(read, now);
    let note = heard(&mut w, &read, []).unwrap();
    assert_eq!(note, "More was written since this message; nothing was passed on. Read it again.");
    // The same words, where not all of them fit any more.
    let note = heard(&mut w, &now, []).unwrap();
    let said =
        "Not all of it is shown here any more; nothing was passed on. Read it: ao release i-1.";
    assert_eq!(note, said);
}

#[test]
fn while_it_only_seems_to_be_over_a_human_can_act() {
    let mut w = idle();
    w.tell(1, [turn_started("t2")]);
    assert!(!w.state.notifications[&FIRST].settled, "it is not sure yet");
    assert_eq!(heard(&mut w, "send", [send(1, "Wait")]), None);
}

#[test]
fn a_press_on_an_earlier_message_counts_for_the_one_that_took_its_place() {
    let mut w = asking(desktop());
    w.holds_channels = false;
    let until = w.now.wall + jiff::SignedDuration::from_mins(10);
    w.give(Input::Snooze { incident: "i-1".parse().unwrap(), until, by: ana() }).unwrap();
    w.pass(11 * MINUTE);
    assert_eq!(w.pushes().len(), 2);
    assert!(w.state.notifications[&FIRST].settled);
    assert_eq!(heard(&mut w, "approve", [decision(1, Decision::Approve)]), None);
    assert_eq!(refusals(&w), 0);
}

#[test]
fn of_several_each_is_tried_and_those_that_were_refused_are_named() {
    let mut w = World::new();
    for issue in 1..=4 {
        w.add_working(&issue.to_string());
    }
    for n in 1..=4 {
        w.give(seen(&w, n, RuntimeState::Missing, true)).unwrap();
    }
    // None comes back by itself.
    while let Some(n) = (1..=4).find(|n| w.effect(*n).is_some()) {
        w.fail(n, ErrorKind::Permanent);
    }
    w.pass(2 * MINUTE);
    let pushed = w.pushes();
    assert!(pushed.len() == 1 && pushed[0].contains("4 agents"), "{pushed:?}");
    let all = [restore(9), restore(1), restore(2), restore(3), restore(4)];
    let note = heard(&mut w, "restore", all).unwrap();
    assert_eq!(
        note,
        "Not done for 1 of 5: there is no session app-9 (did you mean app-4?). Instead: ao status"
    );
    for n in 1..=4 {
        assert!(w.session(n).restore.is_some(), "app-{n} was not tried");
    }
}

/// A button goes out with a token, for an hour.
fn offered(w: &mut World, button: &str, token: &str) {
    let until = w.now.wall + jiff::SignedDuration::from_hours(1);
    let offer =
        Offer { token: token.into(), button: button.into(), text: None, linked: false, until };
    let revision = w.state.notifications[&FIRST].revision;
    w.give(Input::Offer {
        notification: Some(FIRST),
        channel: desk(),
        revision,
        offers: vec![offer],
    })
    .unwrap();
}

fn by_token(button: &str, token: &str, acts: impl Into<Vec<Input>>) -> Input {
    let by = Actor { name: "ben".into(), via: "desktop".into() };
    let pressed = Pressed { token: Some(token.into()), ..pressed(button) };
    Input::Press { pressed, acts: acts.into(), by }
}

#[test]
fn s20_of_fifty_racing_clicks_one_counts_and_the_others_hear_who_did_it() {
    let mut w = idle();
    w.look(1, work(2, 0));
    offered(&mut w, "done", "t1");
    let heard: Vec<_> = (0..50).map(|_| w.give(by_token("done", "t1", [done(1)]))).collect();
    assert_eq!(heard.iter().filter(|heard| heard.is_ok()).count(), 1);
    let refusal = heard[49].clone().unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Conflict);
    assert_eq!(
        refusal.message,
        "this button was already used, by ben by desktop. Nothing was done twice"
    );
    let marked = w.events.iter().filter(|e| matches!(e.kind, Kind::DoneMarked(_))).count();
    assert_eq!(marked, 1);
}

#[test]
fn s20_an_altered_or_expired_token_does_nothing_and_an_expired_one_comes_back_fresh() {
    let mut w = idle();
    offered(&mut w, "done", "t1");
    let altered = w.give(by_token("done", "t2", [done(1)])).unwrap_err();
    assert_eq!(altered.kind, RefusalKind::Forbidden);
    w.pass(61 * MINUTE);
    let note = w.give(by_token("done", "t1", [done(1)])).unwrap().note.unwrap();
    assert_eq!(
        note,
        "This button is too old; nothing was done. The message is fresh now: press again."
    );
    assert_eq!(refusals(&w), 1);
    assert!(!w.events.iter().any(|e| matches!(e.kind, Kind::DoneMarked(_))));
}

#[test]
fn a_token_is_not_spent_by_a_press_of_which_nothing_came() {
    let mut w = idle();
    offered(&mut w, "done", "t1");
    // Two files are not committed.
    let note = w.give(by_token("done", "t1", [done(1)])).unwrap().note;
    assert!(note.is_some(), "refused");
    assert!(w.state.tokens["t1"].spent.is_none());
    w.look(1, work(2, 0));
    w.give(by_token("done", "t1", [done(1)])).unwrap();
    assert!(w.state.tokens["t1"].spent.is_some());
}

#[test]
fn tokens_of_older_revisions_and_of_long_ago_are_forgotten_and_used_ones_stay_for_a_day() {
    let mut w = idle();
    for revision in 1..=4 {
        let until = w.now.wall + jiff::SignedDuration::from_hours(1);
        let token = format!("t{revision}");
        let offer = Offer { token, button: "done".into(), text: None, linked: false, until };
        let offers = vec![offer];
        let (notification, channel) = (Some(FIRST), desk());
        w.give(Input::Offer { notification, channel, revision, offers }).unwrap();
    }
    assert_eq!(
        w.state.tokens.keys().collect::<Vec<_>>(),
        ["t3", "t4"],
        "an edit may be on its way"
    );
    w.pass(26 * 60 * MINUTE);
    offered(&mut w, "done", "t5");
    assert_eq!(w.state.tokens.keys().collect::<Vec<_>>(), ["t5"]);
}

#[test]
fn s20_only_who_may_act_acts_and_the_others_hear_whom_to_ask() {
    let mut w = idle();
    w.look(1, work(2, 0));
    ana_and_ben(&mut w);
    let by = |identity: &str| {
        let pressed = Pressed { identity: Some(identity.into()), ..pressed("done") };
        Input::Press { pressed, acts: vec![done(1)], by: ana() }
    };
    for identity in ["U2", "U3", ""] {
        let refusal = w.give(by(identity)).unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::Forbidden);
        assert_eq!(refusal.message, "only people with the role member can do this. Ask ana");
    }
    assert!(!w.events.iter().any(|e| matches!(e.kind, Kind::DoneMarked(_))));
    w.give(by("U1")).unwrap();
    assert!(w.events.iter().any(|e| matches!(e.kind, Kind::DoneMarked(_))));
}

#[test]
fn a_channel_that_tells_nobody_apart_is_as_trusted_as_the_least_of_those_who_have_it() {
    let phone: ao_slots::ChannelName = "phone".parse().unwrap();
    let can = NotifierCapabilities::plain(ao_slots::notifier::ChannelKind::Phone);
    let seen = |people: &[(&str, Role, bool)]| {
        let mut w = idle();
        let mut policy = w.state.policy.as_ref().clone();
        for (name, role, owns) in people {
            let channels = if *owns { vec![phone.clone()] } else { vec![] };
            let person = Person { role: *role, channels, ..Person::default() };
            policy.people.insert((*name).into(), person);
        }
        w.configure(policy, [(desk(), desktop()), (phone.clone(), can.clone())].into());
        let (name, role) = crate::decide::presser(&w.state, &phone, None);
        (name.map(str::to_owned), role)
    };
    assert_eq!(seen(&[]), (None, Role::Admin));
    assert_eq!(seen(&[("ana", Role::Member, true)]), (Some("ana".into()), Role::Member));
    let both = [("ana", Role::Admin, false), ("ben", Role::Viewer, false)];
    assert_eq!(seen(&both), (None, Role::Viewer));
    let own = [("ana", Role::Admin, true), ("ben", Role::Viewer, false)];
    assert_eq!(seen(&own), (Some("ana".into()), Role::Admin));
}

/// Ana may act, and ben may look.
fn ana_and_ben(w: &mut World) {
    let mut policy = w.state.policy.as_ref().clone();
    for (name, role, id) in [("ana", Role::Admin, "U1"), ("ben", Role::Viewer, "U2")] {
        let identities = [(desk(), id.to_owned())].into();
        policy.people.insert(name.into(), Person { role, identities, ..Person::default() });
    }
    w.configure(policy, [(desk(), desktop())].into());
}

#[test]
fn s20_what_failed_is_not_recorded_of_a_press_that_would_not_have_counted() {
    let mut w = idle();
    w.look(1, work(2, 0));
    ana_and_ben(&mut w);
    offered(&mut w, "done", "t1");
    let failed = |button: &str, identity: &str, token: &str| Input::PressFailed {
        pressed: Pressed {
            identity: Some(identity.into()),
            token: Some(token.into()),
            ..pressed(button)
        },
        failure: Failure::refused("an answer needs text", None),
        by: ana(),
    };
    let refusal = w.give(failed("done", "U2", "t1")).unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Forbidden, "his role");
    let refusal = w.give(failed("done", "U1", "t9")).unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Forbidden, "no token of ours");
    assert_eq!(refusals(&w), 0);
    assert_eq!(w.give(failed("done", "U1", "t1")).unwrap().note.unwrap(), "An answer needs text.");
    assert_eq!(refusals(&w), 1);
    w.give(by_token_of("U1", "done", "t1", [done(1)])).unwrap();
    let refusal = w.give(failed("done", "U1", "t1")).unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Conflict, "it was used");
    offered(&mut w, "done", "t2");
    w.pass(61 * MINUTE);
    let note = w.give(failed("done", "U1", "t2")).unwrap().note.unwrap();
    assert!(note.starts_with("This button is too old; nothing was done."), "{note}");
}

fn by_token_of(identity: &str, button: &str, token: &str, acts: impl Into<Vec<Input>>) -> Input {
    let Input::Press { pressed, acts, by } = by_token(button, token, acts) else { unreachable!() };
    Input::Press { pressed: Pressed { identity: Some(identity.into()), ..pressed }, acts, by }
}

#[test]
fn one_answer_to_somebodys_words_counts_and_the_other_is_worth_nothing() {
    let mut w = idle();
    let ask = |w: &mut World, tokens: [&str; 2], minutes| {
        let until = w.now.wall + jiff::SignedDuration::from_mins(minutes);
        let text = Some(Text::short("Go on"));
        let offers = ["send", "no"].into_iter().zip(tokens).map(|(button, token)| Offer {
            token: token.into(),
            button: button.into(),
            text: text.clone(),
            linked: false,
            until,
        });
        let (notification, channel) = (Some(FIRST), desk());
        let revision = w.state.notifications[&FIRST].revision;
        let offers = offers.collect();
        w.give(Input::Offer { notification, channel, revision, offers }).unwrap();
    };
    ask(&mut w, ["send-1", "no-1"], 60);
    // He wrote the same words again.
    ask(&mut w, ["send-2", "no-2"], 59);
    assert_eq!(w.give(by_token("no", "no-1", [])).unwrap().note, None);
    for (button, token) in [("send", "send-1"), ("no", "no-1")] {
        let refusal = w.give(by_token(button, token, [send(1, "Go on")])).unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::Conflict, "{token}");
    }
    assert_eq!(w.session(1).messages.len(), 1, "its task alone");
    w.give(by_token("send", "send-2", [send(1, "Go on")])).unwrap();
    assert_eq!(w.session(1).messages.len(), 2);
    let refusal = w.give(by_token("no", "no-2", [])).unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Conflict);
}

#[test]
fn s20_a_card_counts_once_and_for_what_it_shows_now() {
    let mut w = asking(desktop());
    let incident = *w.state.incidents.keys().next().unwrap();
    let decide = |decision| Input::Decide {
        session: app(1),
        request: None,
        decision,
        full: None,
        by: ana(),
    };
    let press = |button: &str, decision| Input::PressCard {
        incident,
        button: button.into(),
        acts: vec![decide(decision)],
    };
    let decided =
        |w: &World| w.events.iter().filter(|e| matches!(e.kind, Kind::RequestDecided(_))).count();
    let refused = w.give(press("answer:1", Decision::Approve)).unwrap_err();
    assert_eq!(refused.message, "app-1: this is no longer offered; nothing was done");
    assert_eq!(decided(&w), 0, "what the card does not offer is not done, whatever it asks for");
    w.give(press("approve", Decision::Approve)).unwrap();
    let late = w.give(press("deny", Decision::Deny { reason: None })).unwrap_err();
    let used = "this button was already used, by ana. Nothing was done twice";
    assert_eq!((late.kind, late.message.as_str()), (RefusalKind::Conflict, used));
    assert_eq!(decided(&w), 1);
}
