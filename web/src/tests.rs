//! The router over a real server without plugins and projects.

mod pages;
pub(crate) mod prs;

use std::{
    path::PathBuf,
    sync::{Arc, LazyLock},
    time::Duration,
};

use ao_core::{
    config::policy::{PluginChoice, Policy},
    decide::Input,
    disk::RealDisk,
    event::Text,
    journal::{Durability, Limits},
    registry::Registry,
    server::{Options, Server, SystemClock},
    slots::{
        Call, ChannelName, PluginError, Seq,
        call::Answer,
        fact::Priority,
        notifier::{
            ChannelHandle, ChannelKind, HttpAnswer, HttpRequest, IncomingAction, Message, Notifier,
            NotifierCapabilities, Reached, Receipt,
        },
        plugin::{BuildContext, Plugin, Registration},
    },
    state::{ChannelState, Moment, State},
};
use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{Request, Response, StatusCode},
};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use crate::{
    Api, Configs, Problem, api_router,
    caller::Peer,
    configs::{ConfigFile, ConfigReport},
    view,
};

/// No configuration at all.
#[derive(Debug)]
struct NoConfigs;

#[async_trait::async_trait]
impl Configs for NoConfigs {
    async fn list(&self) -> Result<Vec<ConfigFile>, Problem> {
        Ok(vec![])
    }
    async fn register(&self, _: PathBuf) -> Result<ConfigReport, Problem> {
        Ok(ConfigReport::default())
    }
    async fn trust(&self, _: PathBuf, _: String) -> Result<ConfigReport, Problem> {
        Ok(ConfigReport::default())
    }
    async fn forget(&self, _: PathBuf) -> Result<ConfigReport, Problem> {
        Ok(ConfigReport::default())
    }
    async fn reload(&self) -> Result<ConfigReport, Problem> {
        Ok(ConfigReport::default())
    }
    async fn check(&self, _: Option<PathBuf>) -> Result<ConfigReport, Problem> {
        Ok(ConfigReport::default())
    }
}

/// A channel whose messages only carry links; with `TAKES` it takes requests of a provider too.
#[derive(Debug)]
struct Mail<const TAKES: bool>;

#[async_trait::async_trait]
impl<const TAKES: bool> Notifier for Mail<TAKES> {
    fn capabilities(&self) -> NotifierCapabilities {
        NotifierCapabilities::plain(ChannelKind::Mail)
    }
    /// What it gives back is where the first button leads.
    async fn send(&self, _: &Call, message: &Message) -> Result<Receipt, PluginError> {
        let link = message.buttons.iter().find_map(|button| button.link.clone());
        Ok(Receipt { handle: link.map(ChannelHandle), reached: Reached::Accepted })
    }
    async fn update(
        &self,
        _: &Call,
        _: &ChannelHandle,
        _: &Message,
    ) -> Result<Receipt, PluginError> {
        Err(PluginError::unsupported("update"))
    }
    async fn resolve(&self, _: &Call, _: &ChannelHandle, _: &Message) -> Result<(), PluginError> {
        Err(PluginError::unsupported("resolve"))
    }
    async fn post(&self, _: &Call, _: &str) -> Result<Receipt, PluginError> {
        Err(PluginError::unsupported("post"))
    }
    async fn http(&self, _: HttpRequest) -> Option<HttpAnswer> {
        TAKES.then_some(HttpAnswer { status: 202, body: None })
    }
    async fn find(&self, _: &Call, _: &str) -> Result<Answer<ChannelHandle>, PluginError> {
        Ok(Answer::Unknown("nobody looks".into()))
    }
    async fn receive(&self) -> Result<IncomingAction, PluginError> {
        std::future::pending().await
    }
}

fn registration<const TAKES: bool>(name: &'static str) -> Plugin {
    Plugin::Notifier(Registration {
        name,
        about: "",
        schema: || schemars::json_schema!({}),
        check: |_| Ok(()),
        build: |_, _| Ok(Arc::new(Mail::<TAKES>)),
    })
}

pub(crate) struct House {
    pub(crate) api: Arc<Api>,
    _dir: tempfile::TempDir,
}

impl House {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// With the channels `mail` and `hook`, of which only the latter takes requests, and an address of its own.
    pub(crate) async fn reachable(address: &str) -> Self {
        Self::with(|policy| {
            policy.public_url = Some(address.to_owned());
            for name in ["mail", "hook"] {
                policy.channels.insert(name.parse().unwrap(), PluginChoice::of(name));
            }
        })
        .await
    }

    /// The link of a test's button, and by what [`ao_core::server::Handle::until_pressed`] knows it.
    pub(crate) async fn link(&self) -> (String, String) {
        let mail = "mail".parse().unwrap();
        let sent = self.api.handle.test_channel(&mail, "x", Priority::Info).await;
        let (receipt, hash) = sent.unwrap();
        (receipt.handle.unwrap().0, hash.unwrap())
    }

    async fn with(change: impl FnOnce(&mut Policy)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().to_owned();
        let mut policy = Policy { data_dir: data_dir.clone(), ..Policy::default() };
        policy.channels.clear();
        change(&mut policy);
        let options = Options {
            disk: Arc::new(RealDisk),
            limits: Limits::default(),
            durability: Durability::Commit,
            clock: Arc::new(SystemClock),
            boot: "boot".into(),
            version: "1.2.3".into(),
            zone: jiff::tz::TimeZone::UTC,
            registry: Registry::new([
                registration::<false>("mail"),
                registration::<true>("hook"),
                Plugin::Runtime(ao_runtime_process::registration()),
                Plugin::Agent(ao_agent_custom::registration()),
                Plugin::Workspace(ao_workspace_worktree::registration()),
                Plugin::Terminal(ao_terminal_none::registration()),
                prs::registration(),
            ]),
            context: BuildContext {
                run_dir: data_dir.join("run"),
                ao: data_dir.join("run/ao"),
                home: data_dir.clone(),
                data_dir,
                instance: "01JD0000000000000000000000".parse().unwrap(),
                env: Default::default(),
            },
            live: policy.clone().into(),
            policy,
            refused: false,
        };
        let server = Server::start(options).await.unwrap();
        Self { api: Api::new(server.handle(), Arc::new(NoConfigs), vec![], "1.2.3"), _dir: dir }
    }

    fn router(&self) -> Router {
        api_router(self.api.clone())
    }

    /// One event.
    pub(crate) async fn happen(&self, text: &str) {
        let input = Input::ConfigRefused {
            file: "/x.yaml".into(),
            reason: Text::short(text),
            untrusted: false,
        };
        self.api.handle.submit(input).await.unwrap();
    }

    async fn until(&self, holds: impl Fn(&ao_core::state::State) -> bool) {
        let mut news = self.api.handle.subscribe();
        let wait = async {
            while !holds(&self.api.handle.state()) {
                news.recv().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap();
    }

    pub(crate) async fn ask(&self, request: Request<Body>, peer: Peer) -> (StatusCode, Value) {
        let response = self.send(request, peer).await;
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    pub(crate) async fn send(&self, mut request: Request<Body>, peer: Peer) -> Response<Body> {
        request.extensions_mut().insert(ConnectInfo(peer));
        self.router().oneshot(request).await.unwrap()
    }
}

/// A process of this user that is no agent. The test's own could be one, since who tests may well be an agent, and
/// what it starts is the server's own: this one is nobody's child, and ends with the test's end of its pipe.
pub(crate) fn me() -> Peer {
    static HUMAN: LazyLock<(i32, std::process::ChildStdin)> = LazyLock::new(|| {
        let mut shell = std::process::Command::new("/bin/sh")
            .args(["-c", "exec 3<&0; cat <&3 >/dev/null 2>&1 & echo $!"])
            .env_clear()
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let pipe = shell.stdin.take().unwrap();
        let told = shell.wait_with_output().unwrap().stdout;
        (String::from_utf8(told).unwrap().trim().parse().unwrap(), pipe)
    });
    Peer { uid: Some(nix::unistd::Uid::current().as_raw()), pid: Some(HUMAN.0) }
}

pub(crate) fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

fn post(path: &str, body: &str) -> Request<Body> {
    Request::post(path)
        .header("content-type", "application/json")
        .body(Body::from(body.to_owned()))
        .unwrap()
}

fn with_token(mut request: Request<Body>, session: &str) -> Request<Body> {
    let headers = request.headers_mut();
    headers.insert("authorization", "Bearer guessed".parse().unwrap());
    headers.insert("x-ao-session", session.parse().unwrap());
    headers.insert("x-ao-launch", "1".parse().unwrap());
    request
}

#[tokio::test]
async fn s8_another_users_process_is_refused_whatever_it_asks() {
    let house = House::new().await;
    let mine = nix::unistd::Uid::current().as_raw();
    for uid in [Some(mine + 1), Some(u32::MAX), None] {
        let (status, problem) = house.ask(get("/api/health"), Peer { uid, pid: None }).await;
        assert_eq!(
            (status, problem["code"].as_str()),
            (StatusCode::FORBIDDEN, Some("forbidden")),
            "{uid:?}"
        );
    }
    let unknown = Peer { pid: None, ..me() };
    let (status, problem) = house.ask(post("/api/server/stop", "{}"), unknown).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "who is not known has the lesser right: {problem}");
    let (status, health) = house.ask(get("/api/health"), me()).await;
    assert_eq!((status, health["version"].as_str()), (StatusCode::OK, Some("1.2.3")));
}

#[tokio::test]
async fn s12_ids_that_are_none_do_not_pass_the_door() {
    let house = House::new().await;
    for bad in ["..%2F..%2Fx-1", "a;rm-1", "app%00-1", "app", "app-01", "%D0%B0pp-1"] {
        let (status, problem) = house.ask(get(&format!("/api/sessions/{bad}")), me()).await;
        let code = problem["code"].as_str();
        assert_eq!((status, code), (StatusCode::BAD_REQUEST, Some("invalid")), "{bad}");
    }
    let (status, problem) = house.ask(get("/api/sessions/app-1"), me()).await;
    assert_eq!((status, problem["code"].as_str()), (StatusCode::NOT_FOUND, Some("not-found")));
    let (status, problem) = house.ask(get("/api/no/such"), me()).await;
    assert_eq!((status, problem["code"].as_str()), (StatusCode::NOT_FOUND, Some("not-found")));
}

/// A process with `AO_SESSION` in its environment; it ends with the test.
struct Agent(std::process::Child);

impl Agent {
    fn of(session: &str) -> Self {
        let child =
            std::process::Command::new("sleep").arg("120").env("AO_SESSION", session).spawn();
        let agent = Self(child.unwrap());
        // Until the program has replaced the copy, the environment is the test's own.
        let environ = format!("/proc/{}/environ", agent.0.id());
        let until = std::time::Instant::now() + Duration::from_secs(30);
        while !String::from_utf8_lossy(&std::fs::read(&environ).unwrap())
            .contains(&format!("AO_SESSION={session}"))
        {
            assert!(std::time::Instant::now() < until, "the process did not start");
            std::thread::sleep(Duration::from_millis(2));
        }
        agent
    }

    fn peer(&self) -> Peer {
        Peer { pid: i32::try_from(self.0.id()).ok(), ..me() }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn s23_an_agent_decides_nothing_and_a_guessed_token_opens_nothing() {
    let house = House::new().await;
    let agent = Agent::of("app-1");
    for (path, body) in [
        ("/api/sessions", r#"{"project":"my-app","prompt":"x"}"#),
        ("/api/sessions/app-1/approve", "{}"),
        ("/api/sessions/app-1/answer", r#"{"text":"1"}"#),
        ("/api/sessions/app-1/kill", "{}"),
        ("/api/config/trust", r#"{"file":"/x","hash":"y"}"#),
        ("/api/incidents/i-1/ack", "{}"),
        ("/api/server/stop", r#"{"reason":"x"}"#),
        ("/api/present", ""),
    ] {
        let (status, problem) = house.ask(post(path, body), agent.peer()).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
        assert!(
            problem["title"].as_str().unwrap().starts_with("an agent may not"),
            "{path}: {problem}"
        );
        let (status, _) = house.ask(with_token(post(path, body), "app-1"), me()).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
    }
    for path in
        ["/api/sessions/app-2", "/api/events", "/api/incidents", "/api/config", "/api/why/app-2"]
    {
        let (status, _) = house.ask(get(path), agent.peer()).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
    }
    let (status, list) = house.ask(get("/api/sessions"), agent.peer()).await;
    assert_eq!((status, list["sessions"].as_array().map(Vec::len)), (StatusCode::OK, Some(0)));
    for request in [
        with_token(post("/api/hooks/claude-code/Stop", "{}"), "app-1"),
        post("/api/hooks/claude-code/Stop", "{}"),
    ] {
        let (status, _) = house.ask(request, me()).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
    }
}

#[tokio::test]
async fn a_payload_beyond_its_bound_is_refused_before_it_is_read() {
    let house = House::new().await;
    let big = "x".repeat(64 * 1024 + 1);
    let (status, _) = house.ask(post("/api/hooks/custom/Stop", &big), me()).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    // Whoever refused it, the answer is a problem document: a client that cannot read it would ask again.
    for (request, refused) in [
        (post("/api/sessions", "not json"), StatusCode::BAD_REQUEST),
        (post("/api/sessions", &"[".repeat(60_000)), StatusCode::UNPROCESSABLE_ENTITY),
        (post("/api/report", &big), StatusCode::PAYLOAD_TOO_LARGE),
        (post("/api/report?wait=maybe", "{}"), StatusCode::BAD_REQUEST),
        (get("/api/server/stop"), StatusCode::METHOD_NOT_ALLOWED),
    ] {
        let path = request.uri().to_string();
        let (status, problem) = house.ask(request, me()).await;
        assert_eq!((status, problem["code"].as_str()), (refused, Some("invalid")), "{path}");
    }
}

/// Reads events of a stream until the one with this number.
async fn read_until(body: &mut Body, last: Seq) -> Vec<u64> {
    let (mut text, mut seqs) = (String::new(), vec![]);
    while seqs.last() != Some(&last.0) {
        let frame = tokio::time::timeout(Duration::from_secs(30), body.frame())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        while let Some((message, rest)) = text.split_once("\n\n") {
            let id = message.lines().find_map(|line| line.strip_prefix("id: "));
            seqs.extend(id.map(|id| id.parse::<Seq>().unwrap().0));
            text = rest.to_owned();
        }
    }
    seqs
}

#[tokio::test]
async fn a_follower_gets_every_event_once_and_goes_on_where_it_broke_off() {
    let house = House::new().await;
    let first = house.api.handle.state().last_seq;
    for n in 0..5 {
        house.happen(&format!("stored {n}")).await;
    }
    let stored = house.api.handle.state().last_seq;
    let mut body =
        house.send(get(&format!("/api/events?follow=1&after={first}")), me()).await.into_body();
    assert_eq!(read_until(&mut body, stored).await, (first.0 + 1..=stored.0).collect::<Vec<_>>());
    for n in 0..200 {
        house.happen(&format!("live {n}")).await;
    }
    let live = house.api.handle.state().last_seq;
    assert_eq!(read_until(&mut body, live).await, (stored.0 + 1..=live.0).collect::<Vec<_>>());
    drop(body);
    let mut again = get("/api/events?follow=1");
    again.headers_mut().insert("last-event-id", Seq(stored.0 + 3).to_string().parse().unwrap());
    let mut body = house.send(again, me()).await.into_body();
    assert_eq!(read_until(&mut body, live).await, (stored.0 + 4..=live.0).collect::<Vec<_>>());
    // The server goes away: the stream ends, and so does whoever reads it.
    house.api.close();
    let ended = tokio::time::timeout(Duration::from_secs(30), async {
        while let Some(frame) = body.frame().await {
            frame.unwrap();
        }
    });
    ended.await.unwrap();
}

#[tokio::test]
async fn a_page_of_events_is_the_newest_or_what_follows_a_place() {
    let house = House::new().await;
    for n in 0..10 {
        house.happen(&format!("event {n}")).await;
    }
    let last = house.api.handle.state().last_seq.0;
    let seqs = |page: &Value| -> Vec<u64> {
        let events = page["events"].as_array().unwrap();
        events
            .iter()
            .map(|event| event["seq"].as_str().unwrap().parse::<Seq>().unwrap().0)
            .collect()
    };
    let (_, page) = house.ask(get("/api/events?limit=3"), me()).await;
    assert_eq!(seqs(&page), [last - 2, last - 1, last]);
    let (_, page) = house.ask(get("/api/events?limit=2&after=e2"), me()).await;
    assert_eq!(seqs(&page), [3, 4]);
    let (_, page) = house.ask(get("/api/events?session=app-1"), me()).await;
    assert!(seqs(&page).is_empty());
}

#[tokio::test]
async fn why_an_incident_stands_is_told_from_its_events() {
    let house = House::new().await;
    house.happen("Line 12: `notifer` is not a setting").await;
    let (_, list) = house.ask(get("/api/incidents"), me()).await;
    let id = list["incidents"][0]["id"].as_str().unwrap().to_owned();
    let (status, doc) = house.ask(get(&format!("/api/why/{id}")), me()).await;
    assert_eq!(status, StatusCode::OK, "{doc}");
    let lines: Vec<_> = doc["why"]["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["text"].as_str().unwrap())
        .collect();
    assert!(lines.iter().any(|line| line.starts_with("settings not used: /x.yaml")), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("counts as: config-refused")), "{lines:?}");
}

#[tokio::test]
async fn a_silence_is_begun_listed_and_ended_by_a_human() {
    let house = House::new().await;
    let body = r#"{"matchers": {"session": "app-*"}, "until": "2999-01-01T00:00:00Z"}"#;
    let (status, problem) = house.ask(post("/api/silences", body), me()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "nobody is silent that long: {problem}");
    let until = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(2);
    let body =
        format!(r#"{{"matchers": {{"session": "app-*"}}, "until": "{until}", "comment": "test"}}"#);
    let (status, _) = house.ask(with_token(post("/api/silences", &body), "app-1"), me()).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let (status, taken) = house.ask(post("/api/silences", &body), me()).await;
    assert_eq!((status, taken["silence"].as_str()), (StatusCode::OK, Some("s-1")));
    let (_, list) = house.ask(get("/api/silences"), me()).await;
    assert_eq!(
        (&list["silences"][0]["comment"], &list["silences"][0]["active"]),
        (&"test".into(), &true.into())
    );
    let (status, _) = house.ask(post("/api/silences/s-1/end", "{}"), me()).await;
    assert_eq!(status, StatusCode::OK);
    let (_, list) = house.ask(get("/api/silences"), me()).await;
    assert_eq!(list["silences"], Value::Array(vec![]));
    let (_, list) = house.ask(get("/api/silences?all=true"), me()).await;
    assert_eq!(list["silences"][0]["active"], false);
    // Where no channel gets a digest, it is said.
    let (status, problem) = house.ask(post("/api/digest", "{}"), me()).await;
    assert_eq!((status, problem["code"].as_str()), (StatusCode::CONFLICT, Some("conflict")));
    assert_eq!(problem["title"], "no channel gets a digest: each gets everything at once");
    assert_eq!(problem["remedy"], "ao notify channels");
}

#[test]
fn what_a_look_found_says_nothing_of_since_when() {
    let name: ChannelName = "desk".parse().unwrap();
    let channels = [(name.clone(), PluginChoice::of("desktop"))].into();
    let mut state = State::default();
    state.policy = Arc::new(Policy { channels, ..Policy::default() });
    let at = "2026-11-21T14:02:00Z".parse().unwrap();
    let since = Some(Moment { at, awake: 0, seq: Seq(1) });
    state.channels.insert(name.clone(), ChannelState { since, ..ChannelState::default() });
    let list = |unable| view::channels(&state, &unable).channels.remove(0);
    assert_eq!(list([].into()).since, Some(at));
    let away = PluginError::transient("cannot reach the desktop", "away");
    let looked = list([(name.clone(), away)].into());
    assert_eq!((looked.since, looked.error.is_some()), (None, true));
}
