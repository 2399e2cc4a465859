//! The plugin against a real receiver on this machine.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use ao_conformance::{
    context::{self, INSTANCE},
    notifier::{self as suite, FarEnd, Mood, Shown, call, message},
};
use ao_slots::{ErrorKind, notifier::Block};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap as Headers, Response as HttpResponse},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;

fn build(settings: &Value) -> Result<Arc<dyn Notifier>, PluginError> {
    (registration().build)(settings, &context::nowhere())
}

/// A receiver that remembers ids, as the standard asks for.
#[derive(Debug)]
struct Inbox {
    mood: Mood,
    /// Answered in place of 204.
    answer: Option<HttpResponse<Body>>,
    /// Every request, repetitions included.
    requests: Vec<(Headers, Bytes)>,
    /// The messages that are open, by their id, or the request's where there is none.
    open: Vec<(String, Shown)>,
    buzzes: usize,
}

impl Inbox {
    fn take(&mut self, headers: Headers, body: Bytes) {
        let id = headers["webhook-id"].clone();
        let again = self.requests.iter().any(|(earlier, _)| earlier["webhook-id"] == id);
        let json: Value = serde_json::from_slice(&body).unwrap();
        self.requests.push((headers, body));
        if again {
            return;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let message = &json["message"];
        let shown = Shown { title: text(&message["title"]), body: text(&message["short"]) };
        let name = text(&message["id"]);
        match json["type"].as_str().unwrap() {
            "notification.posted" => {
                let shown = Shown { title: String::new(), body: text(&json["text"]) };
                self.open.push((id.to_str().unwrap().to_owned(), shown));
                self.buzzes += 1;
            }
            "notification.sent" => {
                self.open.push((name, shown));
                self.buzzes += usize::from(message["quiet"] == json!(false));
            }
            "notification.updated" => {
                self.open
                    .iter_mut()
                    .filter(|open| open.0 == name)
                    .for_each(|open| open.1 = shown.clone());
            }
            "notification.resolved" => self.open.retain(|open| open.0 != name),
            other => panic!("an unknown type {other}"),
        }
    }
}

/// A receiver at an address of its own, and the plugin that posts there.
struct Receiver {
    inbox: Arc<Mutex<Inbox>>,
    address: SocketAddr,
    server: Mutex<Option<Server>>,
    notifier: Arc<dyn Notifier>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let inbox = Arc::new(Mutex::new(Inbox {
            mood: Mood::Well,
            answer: None,
            requests: Vec::new(),
            open: Vec::new(),
            buzzes: 0,
        }));
        let notifier = build(&json!({
            "url": format!("http://{address}/hook?key=hush"),
            "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "allowPrivate": true,
            "headers": {"authorization": "Bearer hush"},
        }));
        let server = Mutex::new(Some(serve(listener, inbox.clone())));
        Self { inbox, address, server, notifier: notifier.unwrap() }
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap()
    }

    /// Sends while the receiver answers this.
    async fn send_into(
        &self,
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: Body,
    ) -> PluginError {
        let answer = HttpResponse::builder().status(status);
        let answer =
            headers.into_iter().fold(answer, |answer, (name, value)| answer.header(name, value));
        self.inbox().answer = Some(answer.body(body).unwrap());
        self.notifier.send(&call("k"), &message(1)).await.unwrap_err()
    }
}

/// A running receiver; dropped, it takes nothing more.
struct Server {
    stop: tokio::sync::oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

fn serve(listener: TcpListener, inbox: Arc<Mutex<Inbox>>) -> Server {
    let router = Router::new().fallback(answer).with_state(inbox);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let task = tokio::spawn(async move {
        let server = axum::serve(listener, router);
        server.with_graceful_shutdown(async { drop(stopped.await) }).await.unwrap();
    });
    Server { stop, task }
}

async fn answer(
    State(inbox): State<Arc<Mutex<Inbox>>>,
    headers: Headers,
    body: Bytes,
) -> HttpResponse<Body> {
    let mood = inbox.lock().unwrap().mood;
    let respond = |status: u16| HttpResponse::builder().status(status).body(Body::empty()).unwrap();
    match mood {
        Mood::Well | Mood::Away => {
            let mut inbox = inbox.lock().unwrap();
            if let Some(answer) = inbox.answer.take() {
                return answer;
            }
            inbox.take(headers, body);
            respond(204)
        }
        Mood::Silent => std::future::pending().await,
        Mood::Busy | Mood::Refusing => {
            inbox.lock().unwrap().requests.push((headers, body));
            respond(if mood == Mood::Busy { 503 } else { 404 })
        }
    }
}

#[async_trait]
impl FarEnd for Receiver {
    fn notifier(&self) -> Arc<dyn Notifier> {
        self.notifier.clone()
    }

    async fn set(&self, mood: Mood) -> bool {
        self.inbox().mood = mood;
        let running = self.server.lock().unwrap().take();
        let server = match running {
            Some(server) if mood == Mood::Away => {
                // Ends the connections that are kept open as well.
                let _ = server.stop.send(());
                server.task.await.unwrap();
                None
            }
            None if mood != Mood::Away => {
                let listener = TcpListener::bind(self.address).await.unwrap();
                Some(serve(listener, self.inbox.clone()))
            }
            running => running,
        };
        *self.server.lock().unwrap() = server;
        true
    }

    async fn shown(&self) -> Vec<Shown> {
        self.inbox().open.iter().map(|open| open.1.clone()).collect()
    }

    async fn tries(&self) -> usize {
        self.inbox().requests.len()
    }

    async fn buzzes(&self) -> usize {
        self.inbox().buzzes
    }

    async fn press(&self, _: &str) {
        panic!("a webhook has no buttons");
    }
}

#[tokio::test]
async fn the_contract_holds() {
    suite::all(Receiver::start).await;
}

#[tokio::test]
async fn a_request_is_signed_over_its_id_its_time_and_its_raw_body() {
    let receiver = Receiver::start().await;
    receiver.notifier.send(&call("I-17"), &message(1)).await.unwrap();
    let inbox = receiver.inbox();
    let (headers, body) = &inbox.requests[0];
    assert_eq!(headers["webhook-id"], "I-17");
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(headers["authorization"], "Bearer hush");
    let timestamp: i64 = headers["webhook-timestamp"].to_str().unwrap().parse().unwrap();
    assert!((Timestamp::now().as_second() - timestamp).abs() < 300);
    let key = BASE64_STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("I-17.{timestamp}.").as_bytes());
    mac.update(body);
    let signature = headers["webhook-signature"].to_str().unwrap().strip_prefix("v1,").unwrap();
    mac.verify_slice(&BASE64_STANDARD.decode(signature).unwrap()).unwrap();
}

#[test]
fn the_signature_is_that_of_the_standards_own_example() {
    let secret =
        json!({"url": "https://a.example", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"});
    let settings: Settings = plugin::settings(NAME, &secret).unwrap();
    let key = settings.target().unwrap().key.unwrap();
    assert_eq!(
        sign(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#),
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    );
}

#[tokio::test]
async fn the_body_says_all_but_the_buttons_tokens() {
    let receiver = Receiver::start().await;
    let notifier = &receiver.notifier;
    let mut text = message(1);
    text.details = vec![Block::Text("Its screen:".into()), Block::Code("> 1".into())];
    text.emergency = true;
    for button in &mut text.buttons {
        button.id = "hush".into();
        button.link = Some("https://ao.example/a/hush".into());
    }
    let handle = notifier.send(&call("k1"), &text).await.unwrap().handle.unwrap();
    notifier.resolve(&call("k2"), &handle, &message(1)).await.unwrap();
    notifier.post(&call("k3"), "a line").await.unwrap();
    let inbox = receiver.inbox();
    let bodies: Vec<Value> =
        inbox.requests.iter().map(|(_, body)| serde_json::from_slice(body).unwrap()).collect();
    let mut sent = bodies[0].clone();
    assert!(sent["at"].as_str().unwrap().parse::<Timestamp>().is_ok());
    sent["at"] = Value::Null;
    assert_eq!(
        sent,
        json!({
            "version": 1, "type": "notification.sent", "at": null, "instance": INSTANCE,
            "message": {
                "id": "n-1", "revision": 1, "incident": "i-1", "kind": "agent-needs-input",
                "priority": "urgent", "mark": "need", "sign": "▲",
                "title": "app-3 asks question 1: Coupon on shipping?",
                "short": "1 Items only · 2 Items and shipping. Waits since 14:28.",
                "body": [
                    {"quote": "Should a coupon also apply to shipping?"},
                    {"text": "Tried: nothing, only you can answer."},
                ],
                "details": [{"text": "Its screen:"}, {"code": "> 1"}],
                "buttons": [
                    {"label": "Items only", "style": "plain"},
                    {"label": "Items and shipping", "style": "plain"},
                ],
                "command": "ao answer app-3 \"…\"", "meta": ["my-app", "app-3", "i-1"],
                "session": "app-3", "project": "my-app", "since": "1970-01-01T00:00:00Z",
                "quiet": false, "emergency": true, "mayRepeat": false,
            },
        })
    );
    assert_eq!(
        (&bodies[1]["type"], &bodies[1]["message"]["id"]),
        (&json!("notification.resolved"), &json!("n-1"))
    );
    assert_eq!(
        (&bodies[2]["type"], &bodies[2]["text"]),
        (&json!("notification.posted"), &json!("a line"))
    );
}

#[tokio::test]
async fn each_answer_is_the_failure_that_it_means() {
    let receiver = Receiver::start().await;
    for status in [408, 425, 429, 500, 502, 503, 504] {
        let error = receiver.send_into(status, vec![], Body::from("later\nplease")).await;
        assert_eq!((error.kind, error.retry_after_ms), (ErrorKind::Transient, None), "{status}");
        assert!(error.cause.starts_with(&status.to_string()), "{error:?}");
        assert!(error.cause.ends_with("later please"), "{error:?}");
    }
    for (status, remedy) in
        [(400, "log"), (401, "secret"), (403, "secret"), (404, "url"), (410, "url"), (422, "log")]
    {
        let error = receiver.send_into(status, vec![], Body::empty()).await;
        assert_eq!(error.kind, ErrorKind::Permanent, "{status}");
        assert!(error.remedy.unwrap().contains(remedy), "{status}");
    }
    let wait = vec![("retry-after", "30".to_owned())];
    let error = receiver.send_into(429, wait, Body::empty()).await;
    assert_eq!(error.retry_after_ms, Some(30_000));
}

#[tokio::test]
async fn s16_a_redirect_is_not_followed() {
    let receiver = Receiver::start().await;
    let inside = Receiver::start().await;
    for status in [301, 302, 303, 307, 308] {
        let to = vec![("location", format!("http://{}/", inside.address))];
        let error = receiver.send_into(status, to, Body::empty()).await;
        assert_eq!(error.kind, ErrorKind::Permanent, "{status}");
        assert!(error.remedy.unwrap().contains(&inside.address.to_string()));
    }
    assert_eq!(inside.tries().await, 0);
}

#[tokio::test]
async fn s16_without_allow_private_nothing_reaches_this_machine() {
    let receiver = Receiver::start().await;
    let port = receiver.address.port();
    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "169.254.169.254",
        "10.0.0.1",
        "192.168.0.1",
        "[fd00::1]",
        "[fe80::1]",
    ] {
        let error = build(&json!({"url": format!("http://{host}:{port}/")})).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Permanent, "{host}");
        assert!(error.remedy.unwrap().contains("allowPrivate"), "{host}");
    }
    let notifier = build(&json!({"url": format!("http://localhost:{port}/")})).unwrap();
    let error = notifier.send(&call("k"), &message(1)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Permanent, "{error:?}");
    assert!(error.remedy.unwrap().contains("allowPrivate"));
    assert_eq!(receiver.tries().await, 0);
    let notifier =
        build(&json!({"url": format!("http://localhost:{port}/"), "allowPrivate": true}));
    notifier.unwrap().send(&call("k"), &message(1)).await.unwrap();
    assert_eq!(receiver.tries().await, 1);
}

#[tokio::test]
async fn a_request_that_was_written_and_not_answered_is_in_doubt() {
    let receiver = Receiver::start().await;
    receiver.set(Mood::Silent).await;
    let call = Call::new("k", Duration::from_millis(500));
    let error = receiver.notifier.send(&call, &message(1)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::InDoubt, "{error:?}");
    // The connection ends without an answer.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let notifier = build(&json!({"url": url, "allowPrivate": true})).unwrap();
    let hangs_up = async {
        use tokio::io::AsyncReadExt as _;
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_exact(&mut [0; 100]).await.unwrap();
    };
    let (call, text) = (self::call("k"), message(1));
    let (error, ()) = tokio::join!(notifier.send(&call, &text), hangs_up);
    assert_eq!(error.unwrap_err().kind, ErrorKind::InDoubt);
}

#[tokio::test]
async fn a_receiver_that_proves_no_name_is_told_nothing() {
    let receiver = Receiver::start().await;
    let url = format!("https://{}/", receiver.address);
    let notifier = build(&json!({"url": url, "allowPrivate": true})).unwrap();
    let error = notifier.send(&call("k"), &message(1)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Transient, "{error:?}");
    assert!(!error.cause.is_empty());
    assert_eq!(receiver.tries().await, 0);
}

#[tokio::test]
async fn r11_an_endless_answer_is_read_no_further_than_its_beginning() {
    let receiver = Receiver::start().await;
    let spam = std::iter::repeat_with(|| Ok::<_, std::convert::Infallible>("spam ".repeat(1000)));
    let error = receiver.send_into(500, vec![], Body::from_stream(tokio_stream::iter(spam))).await;
    assert_eq!(error.kind, ErrorKind::Transient);
    assert!(error.cause.chars().count() < 260, "{}", error.cause.len());
}

#[tokio::test]
async fn s32_no_error_and_no_debug_output_holds_a_secret() {
    let receiver = Receiver::start().await;
    let mut texts = vec![format!("{:?}", receiver.notifier)];
    for status in [302, 404, 500] {
        texts.push(format!("{:?}", receiver.send_into(status, vec![], Body::empty()).await));
    }
    receiver.set(Mood::Away).await;
    texts.push(format!("{:?}", receiver.notifier.send(&call("k"), &message(1)).await.unwrap_err()));
    let settings = json!({"url": "https://u:hush@a.example/hush", "secret": "hush", "headers": {"x-key": "hush"}});
    let settings: Settings = plugin::settings(NAME, &settings).unwrap();
    texts.push(format!("{settings:?}"));
    for text in texts {
        assert!(!text.contains("hush") && !text.contains("MfKQ"), "{text}");
    }
}

#[test]
fn settings_are_checked_by_text_alone() {
    for (settings, problem) in [
        (json!({}), "missing field `url`"),
        (json!({"url": "hooks.example"}), "relative URL"),
        (json!({"url": "file:///etc/passwd"}), "neither https:// nor http://"),
        (json!({"url": "gopher://a.example/"}), "neither https:// nor http://"),
        (json!({"url": "https://a.example", "secret": ""}), "empty"),
        (json!({"url": "https://a.example", "secret": "whsec_"}), "empty"),
        (json!({"url": "https://a.example", "secret": "whsec_*"}), "not base64"),
        (json!({"url": "https://a.example", "headers": {"a b": "c"}}), "not the name of a header"),
        (json!({"url": "https://a.example", "headers": {"x": "a\r\nb: c"}}), "line break"),
        (json!({"url": "https://a.example", "headers": {"Webhook-Id": "x"}}), "set by ao"),
        (json!({"url": "https://a.example", "sekret": "x"}), "unknown field `sekret`"),
    ] {
        let error = (registration().check)(&settings).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Permanent, "{settings}");
        assert!(error.cause.contains(problem), "{settings}: {error:?}");
    }
    let good = json!({"url": "https://a.example/x", "secret": "s", "headers": {"x-team": "a"}});
    assert_eq!((registration().check)(&good), Ok(()));
}
