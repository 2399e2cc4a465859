//! What comes of one cause is told once, and what another explains is not told while that stands.

use ao_slots::fact::{AgentErrorKind, PrFacts, PrState, Priority};

use super::{
    fallback::{channel, with_channels},
    review::{about_prs, green, sees},
    *,
};
use crate::{event::Failure, words};

/// So many agents at work, `app-1` and on.
fn agents(n: u32) -> World {
    let mut w = World::new();
    for issue in 1..=n {
        w.add_working(&issue.to_string());
    }
    w
}

/// They end with this code, all in one look of the runtime.
fn end(w: &mut World, who: impl IntoIterator<Item = u32>, code: i32) {
    for n in who {
        w.see(n, RuntimeState::Exited { code: Some(code) });
    }
}

fn newest(w: &World) -> ao_slots::notifier::Message {
    let told = w.state.notifications.values().next_back().unwrap();
    w.message(told, &desk())
}

fn buzzes(w: &World) -> usize {
    w.pushes().len()
}

fn told_open(w: &World) -> usize {
    w.state.notifications.values().filter(|told| !told.settled).count()
}

#[test]
fn n4_twenty_that_fail_at_once_are_one_push_that_names_all() {
    for gap_ms in [0, 50, 100] {
        let mut w = agents(20);
        for n in 1..=20 {
            end(&mut w, [n], 1);
            w.pass(gap_ms);
        }
        w.pass(10 * MINUTE);
        assert_eq!(w.pushes(), ["20 agents stopped: exited with code 1"], "{gap_ms} ms apart");
        let message = newest(&w);
        assert!(message.short.starts_with("app-1…20. "), "{message:?}");
        assert_eq!(message.priority, Priority::Urgent);
    }
}

#[test]
fn n4_two_of_a_kind_are_two_and_the_third_folds_them() {
    let mut w = agents(4);
    end(&mut w, [1], 1);
    w.pass(10 * SECOND);
    end(&mut w, [2], 1);
    w.pass(10 * SECOND);
    assert_eq!(buzzes(&w), 2);
    let from = w.events.len();
    end(&mut w, [3], 1);
    w.pass(2 * SECOND);
    let lines: Vec<_> = w.events[from..].iter().filter_map(line).collect();
    for wanted in ["settles n-1", "settles n-2", "push: 3 agents stopped: exited with code 1"] {
        assert!(lines.iter().any(|line| line == wanted), "{wanted}: {lines:?}");
    }
    assert_eq!(told_open(&w), 1, "one message of it is on each screen");
    // One that comes within half a minute joins without a call.
    w.pass(20 * SECOND);
    end(&mut w, [4], 7);
    w.after(2 * SECOND, &["joins i-4 to n-3"]);
    assert_eq!(newest(&w).title, "4 agents stopped at once");
    w.pass(10 * MINUTE);
    assert_eq!(buzzes(&w), 3);
}

#[test]
fn n4_who_comes_later_than_half_a_minute_after_the_last_is_told_alone() {
    let mut w = agents(5);
    end(&mut w, 1..=3, 1);
    w.pass(29 * SECOND);
    end(&mut w, [4], 1);
    w.pass(31 * SECOND);
    end(&mut w, [5], 1);
    w.pass(2 * SECOND);
    let expected = ["3 agents stopped: exited with code 1", "app-5 stopped: exited with code 1"];
    assert_eq!(w.pushes(), expected);
}

#[test]
fn n4_what_waits_for_an_answer_of_its_own_never_folds() {
    let mut w = agents(6);
    for n in 1..=3 {
        w.tell(n, [asked("k1", question("Which?"))]);
    }
    for n in 4..=6 {
        w.tell(n, [asked("k1", permission("make"))]);
    }
    w.pass(MINUTE);
    assert_eq!(buzzes(&w), 6);
}

#[test]
fn n4_each_kind_folds_by_what_it_has_in_common() {
    let text = |text: &str| Text::short(text);
    type Tell = fn(&mut World, u32);
    let login: Tell = |w, n| {
        let kind = AgentErrorKind::Login;
        w.tell(n, [Told::Failed { kind, text: Text::short("401") }]);
    };
    let setup: Tell = |w, n| {
        w.tell(n, [Told::Setup { text: Text::short("Do you trust this folder?") }]);
    };
    let silent: Tell = |w, n| {
        w.tell(n, [Told::NoSignal]);
    };
    let red: Tell = |w, n| {
        let mut pr = green(&format!("{n}aaaaaa"));
        (pr.checks, pr.failing) = (ao_slots::fact::Checks::Failing, vec!["unit".into()]);
        sees(w, n, pr);
    };
    for (tell, title) in [
        (login, "4 agents cannot go on: login to the model provider expired"),
        (setup, "4 agents wait for a set-up question of claude-code"),
        (silent, "4 agents cannot be observed"),
        (red, "4 PRs fail: unit"),
    ] {
        let mut policy = Policy::with_projects(&["my-app"]);
        for project in policy.projects.values_mut() {
            let reaction = project.rules.reactions.get_mut(&Trigger::CiFailed).unwrap();
            reaction.auto = false;
        }
        let mut w = World::with(policy);
        for issue in 1..=4 {
            w.add_working(&issue.to_string());
        }
        (1..=4).for_each(|n| tell(&mut w, n));
        w.pass(2 * MINUTE);
        assert_eq!(w.pushes(), [title]);
    }
    // Errors of other words have other causes.
    let mut w = agents(4);
    for (n, words) in (1..=4).zip(["a", "b", "c", "d"]) {
        w.tell(n, [Told::Failed { kind: AgentErrorKind::Reported, text: text(words) }]);
    }
    w.pass(MINUTE);
    assert_eq!(buzzes(&w), 4);
}

#[test]
fn n4_it_is_settled_when_all_are_and_names_who_is_left_until_then() {
    let mut w = agents(3);
    end(&mut w, 1..=3, 1);
    w.pass(2 * SECOND);
    for n in 1..=2 {
        w.give(restore(n)).unwrap();
        w.comes_back(n);
    }
    w.pass(MINUTE);
    assert_eq!(newest(&w).title, "1 of 3 agents stopped: exited with code 1");
    assert_eq!(told_open(&w), 1);
    w.give(restore(3)).unwrap();
    assert_eq!(newest(&w).short, "Restoring: 2 of 3, asked by ana.");
    w.comes_back(3);
    w.pass(MINUTE);
    assert_eq!(newest(&w).title, "3 agents work again");
    assert_eq!((buzzes(&w), told_open(&w)), (1, 0));
    assert!(newest(&w).buttons.is_empty());
}

#[test]
fn n4_a_press_acts_on_each_that_still_needs_it() {
    let mut w = agents(4);
    end(&mut w, 1..=4, 1);
    w.pass(2 * SECOND);
    w.give(restore(2)).unwrap();
    w.comes_back(2);
    w.pass(MINUTE);
    let told = w.state.notifications.values().next_back().unwrap();
    let parts = words::acted_on(&w.state, told, &desk());
    let names: Vec<String> = parts.iter().map(|part| part.subject.to_string()).collect();
    assert_eq!(names, ["app-1", "app-3", "app-4"]);
    let button = newest(&w).buttons.into_iter().next().unwrap();
    assert_eq!(button.label, "Restore 3");
    assert_eq!(words::too_late(&w.state, told, w.now, None, &desk(), "restore"), None);
    assert!(words::too_late(&w.state, told, w.now, None, &desk(), "kill").is_some());
}

#[test]
fn n4_who_is_being_restored_takes_no_button_from_the_others() {
    for lost in [true, false] {
        let mut w = agents(3);
        if lost {
            w.lose(1..=3);
            for n in (1..=3).cycle().take(12) {
                if w.effect(n).is_some() {
                    w.fail(n, ErrorKind::Permanent);
                }
            }
        } else {
            end(&mut w, 1..=3, 1);
        }
        w.pass(2 * SECOND);
        w.give(restore(2)).unwrap();
        let message = newest(&w);
        let labels: Vec<_> = message.buttons.iter().map(|button| button.label.as_str()).collect();
        assert_eq!(labels.first(), Some(&"Restore 2"), "{}", message.title);
        let told = w.state.notifications.values().next_back().unwrap();
        assert_eq!(words::too_late(&w.state, told, w.now, None, &desk(), "restore"), None);
        let about: Vec<SessionId> = (1..=3).map(app).collect();
        assert_eq!(words::to_restore(&w.state, &about), [app(1), app(3)]);
        for n in [1, 3] {
            w.give(restore(n)).unwrap();
        }
        assert_eq!(newest(&w).short, "Restoring: 0 of 3, asked by ana.");
        assert_eq!(words::to_restore(&w.state, &about), about);
    }
}

#[test]
fn n4_each_channel_names_those_that_it_may_carry() {
    let kinds = [("team-a", ChannelKind::Chat), ("team-b", ChannelKind::Chat)];
    let (mut policy, channels) = with_channels(&kinds);
    for (project, name) in [("my-app", "team-a"), ("api", "team-b")] {
        let rules = &mut policy.projects.get_mut(&project.parse().unwrap()).unwrap().rules;
        rules.routing = Some([(Priority::Urgent, vec![channel(name)])].into());
    }
    let mut w = World::with(policy.clone());
    w.configure(policy, channels);
    let mut add = |project: &str, issue: &str| {
        let Input::Spawn(mut spawn) = spawn_of(issue) else { unreachable!() };
        spawn.project = project.parse().unwrap();
        let id = w.give(Input::Spawn(spawn)).unwrap().session.unwrap();
        while let Some((seq, intent)) = w.state.intent_on(&Lane::Session(id.clone())) {
            let input = Input::Effect { intent: seq, result: Ok(usual(&intent.effect)) };
            w.give(input).unwrap();
        }
        id
    };
    let ids: Vec<SessionId> = [("my-app", "1"), ("my-app", "2"), ("api", "3"), ("api", "4")]
        .map(|(p, i)| add(p, i))
        .into();
    for id in &ids {
        let seen = RuntimeSeen {
            session: id.clone(),
            launch: w.state.sessions[id].launch,
            state: RuntimeState::Exited { code: Some(1) },
            process: None,
            tail: None,
            server_lost: false,
            output: None,
        };
        w.give(Input::Runtime { seen: vec![seen] }).unwrap();
    }
    w.pass(2 * SECOND);
    assert_eq!(buzzes(&w), 1);
    let told = w.state.notifications.values().next_back().unwrap();
    let on = |name: &str| w.message(told, &channel(name)).title;
    assert_eq!(on("team-a"), "2 agents stopped: exited with code 1");
    assert!(told.covers_on(&channel("team-b")).len() == 2 && told.covers.len() == 4);
}

fn no_quota(w: &mut World, n: u32, minutes: i64) {
    let until = Some(w.now.wall + jiff::SignedDuration::from_mins(minutes));
    w.tell(n, [Told::RateLimited { until }]);
}

#[test]
fn n4_an_account_without_quota_is_one_message_however_late_a_session_meets_it() {
    let mut w = agents(5);
    no_quota(&mut w, 1, 180);
    w.pass(2 * MINUTE);
    assert_eq!(w.pushes(), ["app-1 waits for quota"]);
    for n in 2..=5 {
        w.pass(5 * MINUTE);
        no_quota(&mut w, n, 150);
    }
    w.pass(2 * MINUTE);
    assert_eq!(buzzes(&w), 1);
    assert_eq!(newest(&w).title, "5 sessions wait for quota");
    w.pass(200 * MINUTE);
    let still = w.state.incidents.values().filter(|i| i.trigger == Trigger::RateLimited);
    assert_eq!(still.filter(|i| i.resolved.is_none()).count(), 0);
    let settled = w.state.notifications.values().next().unwrap();
    assert!(settled.settled);
    assert_eq!(w.message(settled, &desk()).title, "Quota is back: 5 sessions resumed");
}

#[test]
fn n5_without_quota_a_silent_agent_of_that_account_is_no_news() {
    let mut w = agents(2);
    no_quota(&mut w, 1, 180);
    w.pass(MINUTE);
    assert_eq!(buzzes(&w), 1);
    w.pass(15 * MINUTE);
    let stuck = w.state.open_incident(&Subject::Session(app(2)), Trigger::AgentStuck, None);
    assert!(stuck.is_some_and(|stuck| stuck.is_open() && stuck.notification.is_none()));
    // Its question is heard all the same.
    w.tell(2, [asked("k1", question("Which?"))]);
    w.pass(2 * SECOND);
    assert_eq!(w.pushes()[1..], ["app-2 asks: Which?"]);
    // What outlives the cause is told then.
    w.tell(2, [Told::RequestEnded { key: "k1".into() }, turn_started("t2")]);
    w.pass(15 * MINUTE);
    assert_eq!(buzzes(&w), 2);
    w.tell(1, [turn_started("t2")]);
    w.pass(MINUTE);
    assert_eq!(w.pushes()[2..], ["app-2 is stuck: no progress for 10 min"]);
}

fn scm(w: &mut World, project: &str, away: bool) {
    let failure =
        away.then(|| Failure { kind: ErrorKind::Transient, ..Failure::permanent("HTTP 502") });
    w.give(Input::Scm { project: project.parse().unwrap(), failure }).unwrap();
}

/// So many minutes in which every agent moves.
fn go_on(w: &mut World, minutes: u64) {
    for _ in 0..minutes {
        for n in 1..=w.state.sessions.len() {
            w.tell(u32::try_from(n).unwrap(), [Told::Alive]);
        }
        w.pass(MINUTE);
    }
}

#[test]
fn r12_a_forge_that_is_down_for_ten_minutes_is_one_push_and_one_edit() {
    let mut w = agents(20);
    for n in 1..=20 {
        sees(&mut w, n, green(&format!("{n}aaaaaa")));
        // Red as the forge goes down; left to the agent in any case.
        let mut pr = green(&format!("{n}aaaaaa"));
        pr.mergeable = ao_slots::fact::Mergeable::Conflicting;
        sees(&mut w, n, pr);
    }
    assert_eq!(buzzes(&w), 0);
    for project in ["my-app", "api"] {
        scm(&mut w, project, true);
    }
    go_on(&mut w, 4);
    w.pass(MINUTE - 1);
    assert_eq!(buzzes(&w), 0);
    w.pass(1);
    assert_eq!(w.pushes(), ["Scm has not answered for 5 min"]);
    // Longer than the limit of what it explains.
    go_on(&mut w, 11);
    assert_eq!(buzzes(&w), 1, "nothing that the forge tells of is told while it is away");
    for project in ["my-app", "api"] {
        scm(&mut w, project, false);
    }
    for n in 1..=20 {
        sees(&mut w, n, PrFacts { state: PrState::Draft, ..green(&format!("{n}aaaaaa")) });
    }
    w.pass(MINUTE);
    assert_eq!((buzzes(&w), told_open(&w)), (1, 0));
    assert_eq!(newest(&w).title, "Scm answers again");
}

#[test]
fn n5_what_outlives_the_forges_absence_is_told_after_it() {
    let mut w = agents(1);
    scm(&mut w, "my-app", true);
    scm(&mut w, "my-app", true);
    sees(&mut w, 1, green("aaaaaaa"));
    w.pass(3 * MINUTE);
    assert_eq!(about_prs(&w), [""; 0], "green as of before");
    scm(&mut w, "my-app", false);
    w.after(14_999, &[]);
    w.pass(1);
    assert_eq!(about_prs(&w), ["PR #57 is ready to merge: Dark mode"]);
}

#[test]
fn a_failing_channel_is_told_by_another_one() {
    let kinds = [("team", ChannelKind::Chat), ("desktop", ChannelKind::Desktop)];
    let tried = |failure| Input::Tried { channel: channel("team"), failure };
    let mut w = World::with_team(&kinds);
    w.holds_channels = false;
    w.give(tried(Some(failure(ErrorKind::Permanent)))).unwrap();
    w.after(14_999, &[]);
    w.after(1, &["push: team takes no messages"]);
    assert_eq!(w.goes_to(), "desktop");
    w.give(tried(None)).unwrap();
    w.pass(15 * SECOND);
    assert_eq!(newest(&w).title, "team works again");
    // Where there is no other, nobody can be told.
    let mut w = World::working("41");
    w.give(Input::Tried { channel: desk(), failure: Some(failure(ErrorKind::Permanent)) }).unwrap();
    w.pass(MINUTE);
    assert_eq!(buzzes(&w), 0);
}

#[test]
fn a_failing_channel_is_urgent_when_urgent_ones_wait_for_it() {
    let kinds = [("team", ChannelKind::Chat), ("desktop", ChannelKind::Desktop)];
    let mut w = World::with_team(&kinds);
    w.tell(1, [asked("k1", question("A?"))]);
    w.pass(2 * SECOND);
    w.channel_takes("desktop");
    for _ in 0..3 {
        w.channel_fails("team", ErrorKind::Transient);
        w.pass(10 * SECOND);
    }
    let told = w.state.notifications.values().next_back().unwrap();
    assert_eq!((told.title.as_str(), told.priority), ("team takes no messages", Priority::Urgent));
    assert_eq!(told.deliveries.keys().collect::<Vec<_>>(), [&desk()]);
}

#[test]
fn what_a_session_may_cost_is_told_once() {
    let mut policy = Policy::with_projects(&["my-app"]);
    for project in policy.projects.values_mut() {
        let reaction = project.rules.reactions.get_mut(&Trigger::BudgetExceeded).unwrap();
        reaction.threshold_micros = Some(10_000_000);
    }
    let mut w = World::with(policy);
    w.add_working("41");
    let spend = |w: &mut World, micros, offset| {
        let usage = ao_slots::agent::Usage { cost_micros: Some(micros), ..Default::default() };
        w.tell(1, [Told::Usage { usage, offset }]);
        w.pass(15 * SECOND);
    };
    spend(&mut w, 9_999_999, 1);
    assert_eq!(buzzes(&w), 0);
    spend(&mut w, 10_200_000, 2);
    spend(&mut w, 11_000_000, 3);
    assert_eq!(w.pushes(), ["app-1 has spent $10.20 of $10.00"]);
}

#[test]
fn who_comes_after_a_message_that_no_channel_took_is_told_by_another() {
    let mut w = agents(4);
    w.holds_channels = true;
    end(&mut w, 1..=3, 1);
    w.pass(2 * SECOND);
    let (intent, _) = w.channel_effect().unwrap();
    w.give(Input::Effect { intent, result: Err(failure(ErrorKind::Refused)) }).unwrap();
    w.pass(10 * SECOND);
    let first = w.state.notifications.values().next().unwrap();
    assert_eq!(first.deliveries[&desk()].progress, crate::state::Progress::Dropped);
    w.holds_channels = false;
    end(&mut w, [4], 1);
    w.pass(2 * SECOND);
    assert_eq!(newest(&w).title, "4 agents stopped: exited with code 1");
    let sent = w.state.notifications.values().next_back().unwrap().deliveries[&desk()].sent;
    assert!(sent.is_some());
}
