//! The status table row by row, and the edges of the observable machine.

use ao_slots::{
    PrNumber,
    fact::{AgentErrorKind, Checks, Mergeable, PrFacts, PrState, Priority, Review},
};

use super::*;
use crate::state::{Status, Zone};

fn pr(state: PrState, checks: Checks, mergeable: Mergeable, review: Review) -> PrFacts {
    PrFacts {
        number: PrNumber(57),
        title: "Dark mode".into(),
        head: "3f9c2d1".into(),
        state,
        checks,
        failing: vec![],
        pending: 0,
        review,
        human_threads: 0,
        remarks: 0,
        remark_ids: vec![],
        bot_threads: 0,
        mergeable,
        discussion: String::new(),
        details: Default::default(),
    }
}

fn open_pr() -> PrFacts {
    pr(PrState::Open, Checks::Pending, Mergeable::Unknown, Review::None)
}

fn has(w: &mut World, pr: PrFacts) {
    w.give(Input::Pr { session: app(1), pr }).unwrap();
}

fn observes(activity: Activity) -> Told {
    Told::Observed { activity }
}

fn fails() -> Told {
    Told::Failed { kind: AgentErrorKind::Login, text: Text::short("expired") }
}

/// Each fact of the table, from the last row to the first: with all before it standing, it alone decides.
#[test]
fn the_first_row_that_matches_wins() {
    type Row = (Status, fn(&mut World));
    let rows: [Row; 11] = [
        (Status::Working, |_| {}),
        (Status::Idle, |w| {
            w.tell(1, [turn_ended("t1")]);
        }),
        (Status::PrOpen, |w| has(w, open_pr())),
        (Status::Stuck, |w| {
            w.tell(1, [turn_started("t2")]);
            w.pass(10 * MINUTE);
        }),
        (Status::Unknown, |w| w.see(1, RuntimeState::Unknown)),
        (Status::RateLimited, |w| {
            w.tell(1, [Told::RateLimited { until: None }]);
        }),
        (Status::Errored, |w| {
            w.tell(1, [fails()]);
        }),
        (Status::NeedsInput, |w| {
            w.tell(1, [asked("k1", question("A?"))]);
        }),
        (Status::Blocked, |w| {
            w.tell(1, [asked("k2", permission("ls"))]);
        }),
        (Status::Errored, |w| w.see(1, RuntimeState::Exited { code: Some(1) })),
        (Status::Cleanup, |w| {
            w.give(kill(1)).unwrap();
        }),
    ];
    let mut w = World::working("41");
    for (status, fact) in rows {
        fact(&mut w);
        assert_eq!(w.session(1).status, status);
    }
    while w.effect(1).is_some() {
        w.succeed(1);
    }
    assert_eq!(w.session(1).status, Status::Killed);
}

#[test]
fn while_it_is_set_up_only_an_end_or_a_dialog_shows() {
    let launched = || {
        let mut w = World::new();
        w.spawn("41");
        while w.effect(1).is_some() {
            w.succeed(1);
        }
        w
    };
    type Row = (Status, fn(&mut World));
    let rows: [Row; 6] = [
        (Status::Spawning, |_| {}),
        (Status::Spawning, |w| {
            w.tell(1, [Told::RateLimited { until: None }]);
        }),
        (Status::Blocked, |w| {
            w.tell(1, [Told::Setup { text: Text::short("Trust?") }]);
        }),
        (Status::NeedsInput, |w| {
            w.tell(1, [asked("k1", question("A?"))]);
        }),
        (Status::Errored, |w| w.see(1, RuntimeState::Exited { code: Some(127) })),
        (Status::Errored, |w| w.see(1, RuntimeState::Missing)),
    ];
    for (status, fact) in rows {
        let mut w = launched();
        fact(&mut w);
        assert_eq!(w.session(1).status, status);
    }
}

#[test]
fn the_rows_of_the_pull_request() {
    use Checks::{Failing, None as NoChecks, Passing, Pending, Unknown as UnknownChecks};
    use Mergeable::{Conflicting, Unknown, Yes};
    use Review::{Approved, ChangesRequested, None as NoReview, Pending as Asked};
    for (state, checks, mergeable, review, status) in [
        (PrState::None, Failing, Conflicting, ChangesRequested, Status::Working),
        (PrState::Draft, Failing, Conflicting, ChangesRequested, Status::Draft),
        (PrState::Closed, Failing, Conflicting, ChangesRequested, Status::PrClosed),
        (PrState::Open, Failing, Conflicting, ChangesRequested, Status::CiFailed),
        (PrState::Open, Pending, Conflicting, ChangesRequested, Status::Conflicting),
        (PrState::Open, Passing, Yes, ChangesRequested, Status::ChangesRequested),
        (PrState::Open, Passing, Yes, Approved, Status::Mergeable),
        (PrState::Open, NoChecks, Yes, NoReview, Status::Mergeable),
        (PrState::Open, Pending, Yes, Approved, Status::Approved),
        (PrState::Open, Passing, Unknown, Approved, Status::Approved),
        (PrState::Open, UnknownChecks, Yes, Approved, Status::Approved),
        (PrState::Open, Passing, Yes, Asked, Status::ReviewPending),
        (PrState::Open, Pending, Unknown, NoReview, Status::PrOpen),
        (PrState::Open, UnknownChecks, Yes, NoReview, Status::PrOpen),
    ] {
        let mut w = World::working("41");
        has(&mut w, pr(state, checks, mergeable, review));
        assert_eq!(w.session(1).status, status, "{state:?} {checks:?} {mergeable:?} {review:?}");
    }
}

#[test]
fn a_zone_is_the_worse_of_status_and_open_incidents() {
    for (status, zone) in [
        (Status::Merged, Zone::Grey),
        (Status::Done, Zone::Grey),
        (Status::Killed, Zone::Grey),
        (Status::NotStarted, Zone::Grey),
        (Status::Cleanup, Zone::Grey),
        (Status::Spawning, Zone::Green),
        (Status::Blocked, Zone::Red),
        (Status::NeedsInput, Zone::Red),
        (Status::Errored, Zone::Red),
        (Status::RateLimited, Zone::Yellow),
        (Status::Unknown, Zone::Red),
        (Status::Stuck, Zone::Red),
        (Status::PrClosed, Zone::Orange),
        (Status::CiFailed, Zone::Yellow),
        (Status::Conflicting, Zone::Yellow),
        (Status::ChangesRequested, Zone::Yellow),
        (Status::Mergeable, Zone::Orange),
        (Status::Approved, Zone::Orange),
        (Status::ReviewPending, Zone::Green),
        (Status::PrOpen, Zone::Green),
        (Status::Draft, Zone::Green),
        (Status::Idle, Zone::Green),
        (Status::Working, Zone::Green),
    ] {
        assert_eq!(status.zone(), zone, "{status:?}");
    }
    assert_eq!(Status::ALL.len(), 23);
    let mut w = World::idle("41");
    w.look(1, work(2, 0));
    assert_eq!(w.state.zone_of(w.session(1)), Zone::Green);
    w.pass(5 * MINUTE);
    assert_eq!(w.state.zone_of(w.session(1)), Zone::from(Priority::Action), "it looks finished");
    w.give(kill(1)).unwrap();
    w.succeed(1);
    assert_eq!(w.state.zone_of(w.session(1)), Zone::Grey);
}

/// The observable machine: each edge from what stands, by what comes in, to what is seen.
#[test]
fn the_edges_of_the_observable_machine() {
    type Edge = (&'static str, fn(&mut World), &'static str);
    let edges: Vec<Edge> = vec![
        (
            "spawning → working",
            |w| {
                w.add_working("41");
            },
            "working",
        ),
        ("working → pr_open", |w| has(w, open_pr()), "pr_open"),
        (
            "pr_open → ci_failed",
            |w| {
                has(w, pr(PrState::Open, Checks::Failing, Mergeable::Unknown, Review::None));
            },
            "ci_failed",
        ),
        (
            "ci_failed → review_pending, when the checks pass",
            |w| {
                has(w, pr(PrState::Open, Checks::Passing, Mergeable::Unknown, Review::Pending));
            },
            "review_pending",
        ),
        (
            "review_pending → changes_requested",
            |w| {
                let wanted = Review::ChangesRequested;
                has(w, pr(PrState::Open, Checks::Passing, Mergeable::Unknown, wanted));
            },
            "changes_requested",
        ),
        (
            "changes_requested → approved",
            |w| {
                has(w, pr(PrState::Open, Checks::Passing, Mergeable::Unknown, Review::Approved));
            },
            "approved",
        ),
        (
            "approved, green, no conflict → mergeable",
            |w| {
                has(w, pr(PrState::Open, Checks::Passing, Mergeable::Yes, Review::Approved));
            },
            "mergeable",
        ),
        (
            "from anywhere: needs_input",
            |w| {
                w.tell(1, [asked("k1", question("A?"))]);
            },
            "needs_input",
        ),
        (
            "and back to where the facts are",
            |w| {
                w.tell(1, [Told::RequestEnded { key: "k1".into() }]);
            },
            "mergeable",
        ),
        ("from anywhere: stuck", |w| w.pass(10 * MINUTE), "stuck"),
        (
            "from anywhere: errored",
            |w| {
                w.tell(1, [fails()]);
            },
            "errored",
        ),
        (
            "errored → where the facts are, by the next turn",
            |w| {
                w.tell(1, [turn_started("t2")]);
            },
            "mergeable",
        ),
        (
            "mergeable → conflicting",
            |w| {
                has(
                    w,
                    pr(PrState::Open, Checks::Passing, Mergeable::Conflicting, Review::Approved),
                );
            },
            "conflicting",
        ),
        (
            "a PR that goes away → working",
            |w| {
                has(w, pr(PrState::None, Checks::None, Mergeable::Unknown, Review::None));
            },
            "working",
        ),
        (
            "working → idle",
            |w| {
                w.tell(1, [turn_ended("t2")]);
            },
            "idle",
        ),
        (
            "idle → blocked",
            |w| {
                w.tell(1, [observes(Activity::Blocked)]);
            },
            "blocked",
        ),
        (
            "blocked → working",
            |w| {
                w.tell(1, [observes(Activity::Active)]);
            },
            "working",
        ),
        (
            "a closed PR ends nothing",
            |w| {
                has(w, pr(PrState::Closed, Checks::None, Mergeable::Unknown, Review::None));
            },
            "pr_closed",
        ),
        (
            "merged → the agent is ended, then the workspace",
            |w| {
                has(w, pr(PrState::Merged, Checks::Passing, Mergeable::Yes, Review::Approved));
                w.succeed(1);
            },
            "cleanup",
        ),
        ("cleanup → merged", |w| w.succeed(1), "merged"),
    ];
    let mut w = World::new();
    for (edge, input, status) in edges {
        let from = w.events.len();
        input(&mut w);
        assert_eq!(w.session(1).status.as_str(), status, "{edge}");
        // Each change is an event with from, to and cause.
        for event in &w.events[from..] {
            if matches!(event.kind, Kind::StatusChanged(_)) {
                assert!(!event.because.is_empty(), "{edge}");
                assert_eq!(event.rule.as_deref(), Some("status-table"), "{edge}");
            }
        }
    }
    let changes: Vec<_> = w
        .events
        .iter()
        .filter_map(|event| match &event.kind {
            Kind::StatusChanged(e) => Some((e.from, e.to)),
            _ => None,
        })
        .collect();
    assert!(changes.windows(2).all(|pair| pair[0].1 == pair[1].0), "no change is left out");
}
