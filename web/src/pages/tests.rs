//! What the pages say, over states that are played without a server.

mod looks;
mod sheet;

use std::sync::Arc;

use ao_core::{
    config::policy::{PluginChoice, Policy},
    event::{Event, Over, Text},
    slots::{
        IncidentId, PrNumber, RequestId, Seq, SessionId,
        agent::Ask,
        fact::{
            Activity, Checks, Mergeable, PrDetails, PrFacts, PrState, Review, RuntimeState, Source,
            WorkFacts,
        },
        notifier::{ChannelKind, NotifierCapabilities},
    },
    state::{ChannelState, Fact, Moment, Now, Request, Session, State, Status},
    why::{self, Why},
};
use jiff::{SignedDuration, Timestamp, tz};

use super::{
    Looker,
    attention::{Attention, Reader},
    incident, pr, session,
};
use crate::view;

/// The journal of a demo, for a session as the rules make it.
const DEMO: &str = include_str!("../../../core/tests/golden/demo-1.jsonl");

/// A state of a moment in the afternoon.
pub(super) struct Stage {
    pub(super) state: State,
    now: Now,
    like: Session,
    /// Whoever looks may act.
    pub(super) acts: bool,
}

impl Stage {
    /// Nothing has happened.
    pub(super) fn new() -> Self {
        let mut played = State::default();
        let events = DEMO.lines().map(|line| Event::decode(line.as_bytes()).unwrap());
        for event in events.take_while(|event| event.seq < Seq(101)) {
            played.apply(&event);
        }
        let like = played.sessions[&"shop-5".parse::<SessionId>().unwrap()].clone();
        let at: Timestamp = "2026-11-22T13:32:07Z".parse().unwrap();
        let mut state = State::default();
        (state.last_at, state.last_seq) = (at, Seq(4_800));
        let mut policy = Policy::with_projects(&["my-app"]);
        policy.channels = [("desktop".parse().unwrap(), PluginChoice::of("desktop"))].into();
        state.policy = Arc::new(policy);
        let can = NotifierCapabilities::plain(ChannelKind::Desktop);
        let channel = ChannelState { capabilities: Some(can), ..ChannelState::default() };
        state.channels.insert("desktop".parse().unwrap(), channel);
        Self { state, now: Now { wall: at, awake: 90_000_000 }, like, acts: true }
    }

    fn ago(&self, minutes: u64) -> Moment {
        let back = SignedDuration::from_mins(i64::try_from(minutes).unwrap());
        let at = self.now.wall - back;
        Moment { at, awake: self.now.awake - minutes * 60_000, seq: Seq(4_000 - minutes) }
    }

    /// A session that works since so many minutes; then it becomes what the change makes of it.
    pub(super) fn session(
        &mut self,
        number: u32,
        title: &str,
        minutes: u64,
        change: impl FnOnce(&mut Session, Moment),
    ) -> SessionId {
        let since = self.ago(minutes);
        let id: SessionId = format!("app-{number}").parse().unwrap();
        let work = WorkFacts { commits: 3, changed_files: 2, ..WorkFacts::default() };
        let mut session = Session {
            id: id.clone(),
            project: "my-app".parse().unwrap(),
            issue: Some((number + 38).to_string()),
            title: Text::short(title),
            agent: "claude-code".into(),
            created: self.ago(minutes + 72),
            status: Status::Working,
            status_since: since,
            progress: since,
            work: Some(Fact { value: work, source: Source::Workspace, since }),
            ..self.like.clone()
        };
        session.usage.cost_micros = Some(1_840_000);
        change(&mut session, since);
        self.state.sessions.insert(id.clone(), session);
        id
    }

    /// An incident about it.
    pub(super) fn incident(
        &mut self,
        id: &SessionId,
        trigger: &str,
        priority: &str,
        since: Moment,
    ) {
        let session = &self.state.sessions[id];
        let request = session.requests.keys().next().map(ToString::to_string);
        let detail = session.pr().map(|pr| pr.head.clone());
        let number = self.state.incidents.len() + 142;
        let event = serde_json::json!({
            "seq": self.state.last_seq.0 + 1, "at": since.at, "awake": since.awake, "class": "dec",
            "kind": "incident.opened", "v": 1, "session": id, "project": "my-app", "rule": "x",
            "data": {
                "incident": format!("i-{number}"), "subject": {"session": id}, "trigger": trigger,
                "priority": priority, "request": request, "detail": detail, "sessions": [id],
            },
        });
        let at = self.state.last_at;
        self.state.apply(&Event::decode(event.to_string().as_bytes()).unwrap());
        self.state.last_at = at;
    }

    fn asks(
        &mut self,
        number: u32,
        title: &str,
        minutes: u64,
        status: Status,
        ask: Ask,
    ) -> SessionId {
        let request = RequestId(u64::from(number));
        let id = self.session(number, title, minutes, |session, since| {
            session.status = status;
            session.activity.value = Activity::WaitingInput;
            session.requests = [(request, open(request, ask, since))].into();
        });
        let since = self.ago(minutes);
        self.incident(&id, "agent-needs-input", "urgent", since);
        id
    }

    pub(super) fn question(&mut self, number: u32, minutes: u64) -> SessionId {
        let ask = Ask::Question {
            text: "Should a coupon also apply to shipping?".into(),
            options: vec!["Items only".into(), "Items and shipping".into()],
            many: false,
        };
        self.asks(number, "Coupon is applied twice", minutes, Status::NeedsInput, ask)
    }

    pub(super) fn permission(&mut self, number: u32, minutes: u64, command: &str) -> SessionId {
        let ask = Ask::Permission {
            verb: "run".into(),
            subject: command.into(),
            place: Some("packages/core".into()),
            reason: Some("check the package contents".into()),
            careful: vec!["it sends data to the network".into()],
        };
        self.asks(number, "Retry on 429", minutes, Status::Blocked, ask)
    }

    pub(super) fn stopped(&mut self, number: u32, minutes: u64) -> SessionId {
        let id = self.session(number, "Retry on 429", minutes, |session, since| {
            session.status = Status::Errored;
            session.runtime_state = Fact {
                value: RuntimeState::Exited { code: Some(1) },
                source: Source::Runtime,
                since,
            };
            session.tail = Some(Text::short("ENOSPC: no space left on device"));
        });
        let since = self.ago(minutes);
        self.incident(&id, "agent-exited", "urgent", since);
        id
    }

    /// One with a pull request.
    pub(super) fn with_pr(
        &mut self,
        number: u32,
        title: &str,
        minutes: u64,
        status: Status,
        change: impl FnOnce(&mut PrFacts),
    ) -> SessionId {
        let mut pr = PrFacts {
            number: PrNumber(56 + u64::from(number)),
            title: title.into(),
            head: "3f9c2d1aa0b1c2d3e4f5061728394a5b6c7d8e9f".into(),
            state: PrState::Open,
            checks: Checks::Passing,
            failing: vec![],
            pending: 0,
            review: Review::Approved,
            human_threads: 0,
            remarks: 0,
            remark_ids: vec![],
            bot_threads: 0,
            mergeable: Mergeable::Yes,
            discussion: String::new(),
            details: Box::new(PrDetails {
                added: 48,
                removed: 12,
                files: 5,
                passed: 6,
                checks: 6,
                approved_by: vec!["ben".into()],
                ..PrDetails::default()
            }),
        };
        change(&mut pr);
        self.session(number, title, minutes, |session, since| {
            session.status = status;
            session.pr = Some(Fact { value: pr, source: Source::Scm, since });
        })
    }

    pub(super) fn ready(&mut self, number: u32, minutes: u64) -> SessionId {
        let id = self.with_pr(number, "Dark mode", minutes, Status::Mergeable, |_| {});
        let since = self.ago(minutes);
        self.incident(&id, "approved-and-green", "action", since);
        id
    }

    pub(super) fn failing(&mut self, number: u32, minutes: u64) -> SessionId {
        let id = self.with_pr(number, "Pagination", minutes, Status::CiFailed, |pr| {
            pr.checks = Checks::Failing;
            pr.failing = vec!["unit".into()];
            pr.details.failure = Some("2 of 418 tests".into());
        });
        let since = self.ago(minutes);
        self.incident(&id, "ci-failed", "warning", since);
        id
    }

    pub(super) fn merged(&mut self, number: u32, minutes: u64) -> SessionId {
        self.session(number, "Add VAT", minutes, |session, since| {
            session.status = Status::Merged;
            session.over = Some((Over::Merged, since));
        })
    }

    /// The three of a usual day.
    pub(super) fn three() -> Self {
        let mut stage = Self::new();
        stage.question(3, 4);
        stage.ready(1, 22);
        stage.session(5, "VAT rounding", 12, |_, _| {});
        stage
    }

    /// A busy one.
    pub(super) fn two_hundred() -> Self {
        let mut stage = Self::new();
        let titles =
            ["Sort the list", "Flaky login test", "Export as CSV", "Search is slow on large carts"];
        for number in 1..=200_u32 {
            let minutes = u64::from(number);
            match number % 20 {
                1 => stage.question(number, minutes),
                2 => stage.stopped(number, minutes),
                3 => stage.ready(number, minutes),
                4 => stage.failing(number, minutes),
                5 => stage.permission(number, minutes, "npm publish --dry-run"),
                6 | 7 => stage.merged(number, minutes),
                n => stage.session(number, titles[n as usize % 4], minutes, |_, _| {}),
            };
        }
        stage
    }

    pub(super) fn attention(&self) -> Attention {
        let zone = tz::TimeZone::fixed(tz::offset(1));
        let reader = Reader { now: self.now, zone: &zone, text: &|_| None };
        let looker = looker(self.acts);
        let doc =
            view::status(&self.state, self.now, &zone, "1.2.3", None, false, &Default::default());
        Attention::of(&self.state, &doc, reader, &looker, None)
    }
}

impl Stage {
    fn read<T>(&self, page: impl FnOnce(Reader<'_>, Looker) -> T) -> T {
        let zone = tz::TimeZone::fixed(tz::offset(1));
        let reader = Reader { now: self.now, zone: &zone, text: &|_| None };
        page(reader, looker(self.acts))
    }

    fn why(&self, about: &str) -> Why {
        let zone = tz::TimeZone::fixed(tz::offset(1));
        let about = about.parse().unwrap();
        why::explain(&self.state, &about, &[].into(), 0, self.now, &zone).unwrap()
    }

    pub(super) fn incident_page(&self, number: u64) -> incident::Page {
        let incident = &self.state.incidents[&IncidentId(number)];
        let why = self.why(&format!("i-{number}"));
        self.read(|reader, looker| {
            incident::Page::of(&self.state, incident, why, reader, looker, "../", None)
        })
    }

    pub(super) fn pr_page(&self, id: &SessionId) -> pr::Page {
        self.read(|reader, looker| {
            pr::Page::of(&self.state, &self.state.sessions[id], reader, looker)
        })
        .unwrap()
    }

    pub(super) fn session_page(&self, id: &SessionId) -> session::Page {
        let session = &self.state.sessions[id];
        let mine = |line: &str| {
            let event = Event::decode(line.as_bytes()).unwrap();
            (event.session.as_ref()?.as_str() == "shop-5").then_some(event)
        };
        let mut events: Vec<_> = DEMO.lines().filter_map(mine).collect();
        events.reverse();
        let story = session::Story { why: self.why(id.as_str()), events: &events, older: true };
        self.read(|reader, looker| {
            session::Page::of(&self.state, session, story, reader, looker, "../", None)
        })
    }
}

fn looker(acts: bool) -> Looker {
    Looker { name: "ana".into(), acts, by_cookie: true, key: "key-of-the-page".into() }
}

fn open(id: RequestId, ask: Ask, opened: Moment) -> Request {
    Request {
        id,
        launch: ao_core::slots::Launch(1),
        key: "k".into(),
        turn: None,
        tool: "Bash".into(),
        ask,
        full: None,
        answerable: true,
        opened,
        hook: None,
        decided: None,
        ended: None,
    }
}
