//! The plugin against a fake of the server with a phone.

use std::{collections::BTreeSet, time::Duration};

use ao_conformance::{
    context,
    notifier::{
        self as suite, FarEnd, Mood, Shown, book, call, message, plain_button, text_button,
    },
};
use ao_fakes::ntfy::{self as fake, Options};
use ao_slots::{
    call::Answer,
    fact::Priority,
    notifier::{Action, Button, ButtonStyle, Confirm, Mark, OPEN},
};
use serde_json::{Value, json};

use super::*;

const TOPIC: &str = "ao-00112233445566778899aabbccddeeff";
const REPLY: &str = "ao-ffeeddccbbaa99887766554433221100";

fn build(settings: &Value) -> Result<Arc<dyn Notifier>, PluginError> {
    (registration().build)(settings, &context::nowhere())
}

/// A server, a phone that listens to the topic, and the plugin.
struct Phone {
    server: fake::Server,
    notifier: Arc<dyn Notifier>,
}

impl Phone {
    async fn start(options: Options) -> Self {
        Self::with(options, json!({})).await
    }

    async fn with(options: Options, more: Value) -> Self {
        let server = fake::Server::start(options).unwrap();
        let notifier = build(&settings(&server, more)).unwrap();
        // As the server does when it begins.
        let _ = notifier.check(&call("look")).await;
        Self { server, notifier }
    }

    fn notes(&self) -> Vec<fake::Note> {
        self.server.phone(TOPIC)
    }

    async fn refused(&self, mood: fake::Mood) -> PluginError {
        self.server.behave(mood);
        self.notifier.send(&call("k"), &message(1)).await.unwrap_err()
    }

    /// The next press that comes back.
    async fn pressed(&self) -> String {
        next(&*self.notifier).await
    }
}

fn settings(server: &fake::Server, more: Value) -> Value {
    let mut settings = json!({"server": server.url(), "topic": TOPIC, "replyTopic": REPLY});
    let all = settings.as_object_mut().unwrap();
    all.extend(more.as_object().unwrap().clone());
    settings
}

async fn next(notifier: &dyn Notifier) -> String {
    let wait = tokio::time::timeout(Duration::from_secs(30), notifier.receive());
    match wait.await.expect("no press comes").unwrap().press {
        Press::Button(token) => token,
        other => panic!("{other:?}"),
    }
}

fn old() -> Options {
    Options { updates: false, ..Options::default() }
}

/// A server with access control, where anybody may write to the reply topic.
fn guarded() -> Options {
    let open = BTreeSet::from([REPLY.to_owned()]);
    Options { token: Some("tk_hush".into()), open, ..Options::default() }
}

#[async_trait]
impl FarEnd for Phone {
    fn notifier(&self) -> Arc<dyn Notifier> {
        self.notifier.clone()
    }

    async fn set(&self, mood: Mood) -> bool {
        if mood == Mood::Away {
            self.server.away();
        } else {
            self.server.back().unwrap();
        }
        self.server.behave(match mood {
            Mood::Well | Mood::Away => fake::Mood::Well,
            Mood::Silent => fake::Mood::Silent,
            Mood::Busy => fake::Mood::Refusing(42901, None),
            Mood::Refusing => fake::Mood::Refusing(40301, None),
        });
        true
    }

    async fn shown(&self) -> Vec<Shown> {
        self.notes().into_iter().map(|n| Shown { title: n.title, body: n.body }).collect()
    }

    async fn tries(&self) -> usize {
        self.server.tries()
    }

    async fn buzzes(&self) -> usize {
        self.server.buzzes(TOPIC)
    }

    async fn press(&self, label: &str) {
        assert_eq!(self.server.press(TOPIC, label), Some(200));
    }
}

#[tokio::test]
async fn the_contract_holds_on_a_new_server() {
    suite::all(async || Phone::start(Options::default()).await).await;
}

#[tokio::test]
async fn the_contract_holds_on_an_old_server() {
    suite::all(async || {
        let phone = Phone::start(old()).await;
        let can = phone.notifier.capabilities();
        assert!(!can.edits && !can.idempotent && !can.finds, "{can:?}");
        phone
    })
    .await;
}

#[tokio::test]
async fn the_contract_holds_on_a_server_with_access_control() {
    suite::all(async || Phone::with(guarded(), json!({"token": "tk_hush"})).await).await;
}

#[tokio::test]
async fn a_message_is_published_as_ntfy_wants_it() {
    let phone = Phone::start(Options::default()).await;
    let link = Some("https://ao.example/s/app-3".to_owned());
    phone.notifier.send(&call("I-n1-phone"), &Message { link, ..message(1) }).await.unwrap();
    let mut sent = phone.server.last(TOPIC);
    for field in ["id", "time", "expires"] {
        sent[field].take();
    }
    let url = format!("{}/{REPLY}", phone.server.url());
    let action = |label: &str, token: &str| json!({"action": "http", "label": label, "url": url, "method": "POST", "headers": {}, "body": token, "clear": true});
    assert_eq!(
        sent,
        json!({
            "id": null, "time": null, "expires": null, "event": "message",
            "sequence_id": "I-n1-phone", "topic": TOPIC, "priority": 4,
            "title": "app-3 asks question 1: Coupon on shipping?",
            "message": "1 Items only · 2 Items and shipping. Waits since 14:28.",
            "click": "https://ao.example/s/app-3",
            "actions": [action("Items only", "one"), action("Items and shipping", "two")],
        })
    );
}

/// ntfy takes orders in JSON, in headers and in the text of a plain publication (Markdown, tags, a mail, a call, an
/// attachment, a delay): no text of a message becomes one, and none is drawn.
#[tokio::test]
async fn s15_hostile_text_is_shown_as_it_is_and_orders_nothing() {
    let phone = Phone::start(Options::default()).await;
    let hostile = "*b* [x](http://x) :tada: <b>&amp;\",\"email\":\"a@b.c";
    let text = format!("{hostile}\r\nX-Email: a@b.c\r\nPriority: 5\u{1b}[31m\u{202e}\u{7}");
    let label = "go, url=http://x; clear";
    let message = Message {
        title: text.clone(),
        short: text.clone(),
        body: vec![ao_slots::notifier::Block::Text(text.clone())],
        buttons: vec![
            button("one", Action::Ack),
            Button { label: label.into(), ..button("two", Action::Ack) },
        ],
        ..message(1)
    };
    phone.notifier.send(&call("I-n1-phone"), &message).await.unwrap();
    let sent = phone.server.last(TOPIC);
    let fields: Vec<_> = sent.as_object().unwrap().keys().map(String::as_str).collect();
    let plain = [
        "actions",
        "event",
        "expires",
        "id",
        "message",
        "priority",
        "sequence_id",
        "time",
        "title",
        "topic",
    ];
    let mut sorted = fields.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, plain, "{sent:#}");
    for field in ["title", "message"] {
        let shown = sent[field].as_str().unwrap();
        assert!(shown.contains(hostile), "{field}: {shown}");
        let stays = |c: char| c == '\n' && field == "message" || !c.is_control() && c != '\u{202e}';
        assert!(shown.chars().all(stays), "{field}: {shown:?}");
    }
    assert_eq!(sent["priority"], 4);
    let url = format!("{}/{REPLY}", phone.server.url());
    assert_eq!(
        (&sent["actions"][1]["label"], &sent["actions"][1]["url"]),
        (&json!(label), &json!(url))
    );
    phone.notifier.post(&call("l"), &text).await.unwrap();
    let posted = phone.server.last(TOPIC);
    assert!(posted["message"].as_str().unwrap().starts_with(hostile), "{posted:#}");
    assert!(posted.get("email").is_none() && posted.get("tags").is_none(), "{posted:#}");
}

#[tokio::test]
async fn urgency_is_heard_and_an_edit_is_not() {
    let phone = Phone::start(Options::default()).await;
    for (change, priority) in [
        (Message { emergency: true, ..message(1) }, 5),
        (message(1), 4),
        (Message { priority: Priority::Action, ..message(1) }, 3),
        (Message { priority: Priority::Warning, ..message(1) }, 2),
        (Message { priority: Priority::Info, ..message(1) }, 2),
        (Message { quiet: true, emergency: true, ..message(1) }, 2),
    ] {
        let handle = phone.notifier.send(&call("k"), &change).await.unwrap().handle.unwrap();
        assert_eq!(phone.notes()[0].priority, priority);
        phone.notifier.update(&call("k-r2"), &handle, &change).await.unwrap();
        assert_eq!((phone.notes().len(), phone.notes()[0].priority), (1, 2));
    }
}

#[tokio::test]
async fn a_settled_message_loses_its_buttons_and_leaves_the_drawer() {
    let phone = Phone::start(Options::default()).await;
    let handle = phone.notifier.send(&call("k"), &message(1)).await.unwrap().handle.unwrap();
    let title = "app-3 got its answer".to_owned();
    let settled = Message { buttons: vec![], mark: Mark::Settled, title, ..message(1) };
    phone.notifier.update(&call("k-r2"), &handle, &settled).await.unwrap();
    let note = phone.notes().remove(0);
    assert_eq!((note.title.as_str(), note.buttons.len()), ("✓ app-3 got its answer", 0));
    phone.notifier.resolve(&call("k-r3"), &handle, &settled).await.unwrap();
    assert_eq!(phone.notes(), []);
    assert_eq!(phone.server.last(TOPIC)["event"], "message_clear");
    assert_eq!(phone.server.buzzes(TOPIC), 1);
}

#[tokio::test]
async fn an_old_server_is_known_by_its_first_answer_and_edits_say_why_not() {
    let server = fake::Server::start(old()).unwrap();
    let notifier = build(&settings(&server, json!({}))).unwrap();
    assert!(notifier.capabilities().edits, "nothing is known yet");
    assert_eq!(notifier.send(&call("k"), &message(1)).await.unwrap().handle, None);
    assert!(!notifier.capabilities().edits);
    let handle = ChannelHandle("k".into());
    let error = notifier.update(&call("k-r2"), &handle, &message(1)).await.unwrap_err();
    assert_eq!((error.kind, error.cause.as_str()), (ErrorKind::Unsupported, setup::TOO_OLD));
    assert_eq!(server.phone(TOPIC).len(), 1, "no second message in place of an edit");
    // As setup writes it, without a look.
    let notifier = build(&settings(&server, json!({"edits": false}))).unwrap();
    assert!(!notifier.capabilities().edits);
}

/// After a crash the next process knows nothing of the server: what is not known is not promised, and the question
/// whether a message is there finds it out.
#[tokio::test]
async fn that_a_send_may_be_repeated_is_told_once_it_is_known() {
    for (options, new) in [(Options::default(), true), (old(), false)] {
        let server = fake::Server::start(options).unwrap();
        let build = || build(&settings(&server, json!({}))).unwrap();
        let first = build();
        assert!(!first.capabilities().idempotent && !first.capabilities().finds);
        first.send(&call("k"), &message(1)).await.unwrap();
        assert_eq!((first.capabilities().idempotent, first.capabilities().finds), (new, new));
        let next = build();
        let found = next.find(&call("k"), "k").await.unwrap();
        assert_eq!(matches!(found, Answer::Yes(_)), new, "{found:?}");
        assert_eq!((next.capabilities().idempotent, next.capabilities().edits), (new, new));
    }
}

#[tokio::test]
async fn a_look_publishes_nothing_and_tells_what_the_server_can() {
    for (options, edits) in [(Options::default(), true), (old(), false)] {
        let server = fake::Server::start(options).unwrap();
        let found = setup::probe(&settings(&server, json!({})), &call("look")).await.unwrap();
        assert_eq!(found, setup::Found { edits, public: false });
        assert_eq!((server.texts(TOPIC).len(), server.texts(REPLY).len()), (0, 0));
    }
    let server = fake::Server::start(guarded()).unwrap();
    let error = setup::probe(&settings(&server, json!({})), &call("look")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Permanent);
    assert!(error.remedy.unwrap().contains("ntfy access"));
    let wrong = settings(&server, json!({"token": "tk_wrong"}));
    let error = setup::probe(&wrong, &call("look")).await.unwrap_err();
    assert!(error.remedy.unwrap().contains("check `token`"));
    server.away();
    let error = setup::probe(&wrong, &call("look")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Transient);
}

#[tokio::test]
async fn s20_a_press_names_its_token_and_nothing_else_comes_back() {
    let phone = Phone::with(Options::default(), json!({"person": "ana"})).await;
    phone.notifier.send(&call("k"), &message(1)).await.unwrap();
    for garbage in ["hello world", "<script>", "é", &"x".repeat(41), "ao read nothing", ""] {
        phone.server.write(REPLY, garbage);
    }
    assert_eq!(phone.server.press(TOPIC, "Items and shipping"), Some(200));
    assert_eq!(phone.notes(), [], "the phone has taken it away");
    let action = phone.notifier.receive().await.unwrap();
    assert_eq!(action.press, Press::Button("two".into()));
    assert_eq!((action.who.as_str(), action.identity, action.text), ("ana", None, None));
}

#[tokio::test]
async fn s20_what_was_pressed_while_nobody_listened_is_read_once() {
    let server = fake::Server::start(Options::default()).unwrap();
    let first = build(&settings(&server, json!({}))).unwrap();
    first.send(&call("k"), &message(1)).await.unwrap();
    server.press(TOPIC, "Items only");
    assert_eq!(next(&*first).await, "one", "pressed before it listened");
    // The bookmark comes some seconds after the press.
    while !server.texts(REPLY).iter().any(|text| text.starts_with("ao read ")) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(first);
    server.press(TOPIC, "Items and shipping");
    server.write(REPLY, "three");
    let second = build(&settings(&server, json!({}))).unwrap();
    assert_eq!([next(&*second).await, next(&*second).await], ["two", "three"]);
    server.write(REPLY, "four");
    assert_eq!(next(&*second).await, "four", "and nothing of before");
}

#[tokio::test]
async fn s20_a_flood_on_the_reply_topic_is_cut_off() {
    let phone = Phone::start(Options::default()).await;
    for n in 0..200 {
        phone.server.write(REPLY, &format!("guess-{n}"));
    }
    for n in 0..60 {
        assert_eq!(phone.pressed().await, format!("guess-{n}"));
    }
    let more = tokio::time::timeout(Duration::from_millis(300), phone.notifier.receive()).await;
    assert!(more.is_err(), "{more:?}");
    let error = trouble(&phone).await;
    assert!(error.what.starts_with("presses were dropped"), "{error:?}");
}

#[tokio::test]
async fn what_is_read_again_after_a_restart_drops_no_press_of_now() {
    let server = fake::Server::start(Options::default()).unwrap();
    // A server that was killed again and again wrote no bookmark.
    for minute in (1..=70).rev() {
        server.wrote(REPLY, &format!("used-{minute}"), Duration::from_secs(minute * 60));
    }
    server.write(REPLY, "now");
    let notifier = build(&settings(&server, json!({}))).unwrap();
    for minute in (1..60).rev() {
        assert_eq!(next(&*notifier).await, format!("used-{minute}"));
    }
    assert_eq!(next(&*notifier).await, "now");
}

#[tokio::test]
async fn a_cut_connection_is_made_again_and_loses_no_press() {
    let phone = Phone::start(Options::default()).await;
    for n in 0..3 {
        let before = phone.server.subscriptions();
        phone.server.write(REPLY, &format!("before-{n}"));
        assert_eq!(phone.pressed().await, format!("before-{n}"));
        while phone.server.subscriptions() == before && n == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        phone.server.away();
        // The server keeps it, as if it had come just before it went.
        phone.server.write(REPLY, &format!("between-{n}"));
        phone.server.back().unwrap();
        assert_eq!(phone.pressed().await, format!("between-{n}"));
    }
}

#[tokio::test]
async fn the_first_press_after_a_long_cut_is_read() {
    let phone = Phone::start(Options::default()).await;
    let first = tokio::time::timeout(Duration::from_millis(1), phone.notifier.receive()).await;
    assert!(first.is_err(), "{first:?}");
    while phone.server.subscriptions() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    phone.server.away();
    phone.server.wrote(REPLY, "while-it-slept", Duration::from_secs(30 * 60));
    phone.server.back().unwrap();
    assert_eq!(phone.pressed().await, "while-it-slept");
}

/// The first look that fails.
async fn trouble(phone: &Phone) -> PluginError {
    let listens = phone.notifier.receive();
    let told = async {
        loop {
            if let Err(error) = phone.notifier.check(&call("look")).await {
                return error;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let told = async {
        tokio::select! {
            error = told => error,
            press = listens => panic!("{press:?}"),
        }
    };
    tokio::time::timeout(Duration::from_secs(30), told).await.expect("nothing is told")
}

#[tokio::test]
async fn a_stream_that_ends_at_once_is_a_failure() {
    let phone = Phone::start(Options::default()).await;
    phone.server.behave(fake::Mood::Hasty);
    let error = trouble(&phone).await;
    assert!(error.what.contains("no button works"), "{error:?}");
    assert!(error.what.contains("as soon as it began"), "{error:?}");
}

#[tokio::test]
async fn a_bookmark_that_cannot_be_written_is_told_and_holds_up_no_press() {
    // `ao` may read there and not write.
    let phone = Phone::start(Options { read_only: Some(REPLY.into()), ..Options::default() }).await;
    phone.server.write(REPLY, "one");
    assert_eq!(phone.pressed().await, "one");
    let error = trouble(&phone).await;
    assert!(error.what.starts_with("what was pressed is read again"), "{error:?}");
    phone.server.write(REPLY, "two");
    assert_eq!(phone.pressed().await, "two");
}

#[tokio::test]
async fn an_answer_that_breaks_off_leaves_a_send_in_doubt() {
    let phone = Phone::start(Options::default()).await;
    let error = phone.refused(fake::Mood::Half).await;
    assert_eq!((error.kind, phone.notes().len()), (ErrorKind::InDoubt, 1), "{error:?}");
}

#[tokio::test]
async fn that_no_press_can_come_is_told_by_a_look() {
    // The phone has no token, and nobody else may write to the reply topic.
    let closed = Options { open: BTreeSet::new(), ..guarded() };
    let server = fake::Server::start(closed.clone()).unwrap();
    let notifier = build(&settings(&server, json!({"token": "tk_hush"}))).unwrap();
    for _ in 0..2 {
        let error = notifier.check(&call("look")).await.unwrap_err();
        assert!(error.what.contains("no button works"), "{error:?}");
        assert!(error.remedy.unwrap().contains("write-only"));
    }
    // A token of its own travels with the message.
    let more = json!({"token": "tk_hush", "replyToken": "tk_reply"});
    let phone = Phone::with(closed, more).await;
    phone.notifier.check(&call("look")).await.unwrap();
    phone.notifier.send(&call("k"), &message(1)).await.unwrap();
    let sent = phone.server.last(TOPIC);
    assert_eq!(sent["actions"][0]["headers"]["Authorization"], "Bearer tk_reply");
    assert!(!sent.to_string().contains("tk_hush"), "s32: {sent}");
}

fn button(id: &str, action: Action) -> Button {
    Button { action, ..plain_button(id, id) }
}

/// The tokens of the buttons that a phone gets by a server of this kind.
fn offered(buttons: Vec<Button>, more: Value) -> Vec<String> {
    let mut settings = json!({"topic": TOPIC, "replyTopic": REPLY});
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let settings: Settings = plugin::settings(NAME, &settings).unwrap();
    let target = settings.target().unwrap();
    let message = Message { buttons, ..message(1) };
    text::publish(&message, &target).actions.into_iter().map(|action| action.label).collect()
}

#[test]
fn s20_a_public_server_gets_no_button_that_could_do_harm() {
    let confirm = Confirm { question: "Merge?".into(), yes: "Merge".into(), no: "No".into() };
    let asks = |id: &str, action| Button { confirm: Some(confirm.clone()), ..button(id, action) };
    let more = |id: &str, action| Button { more: true, ..button(id, action) };
    let own = json!({"server": "https://ntfy.example.org"});
    let public = json!({});
    let allowed = json!({"allowPublic": true});
    let signed_in = json!({"token": "tk_1"});
    for (buttons, at_home, in_public) in [
        (
            vec![button("Approve once", Action::Approve), button("Deny", Action::Deny)],
            vec!["Approve once", "Deny"],
            vec!["Deny"],
        ),
        (
            vec![asks("Merge", Action::Merge), button("Not now", Action::Snooze)],
            vec!["Merge", "Not now"],
            vec!["Not now"],
        ),
        (
            vec![
                button("Restore", Action::Restore),
                button("Open", Action::Open),
                Button { style: ButtonStyle::Danger, ..button("Kill", Action::Kill) },
                asks("Done", Action::Done),
                more("Snooze", Action::Snooze),
                more("Silence", Action::Silence),
                button("Ack", Action::Ack),
            ],
            vec!["Restore", "Ack", "Snooze"],
            vec!["Ack", "Snooze"],
        ),
        (
            vec![button("Silence", Action::Silence), button("Ack", Action::Ack)],
            vec!["Silence", "Ack"],
            vec!["Ack"],
        ),
        (
            vec![
                plain_button("Items only", "Items only"),
                text_button("Answer…", "Answer…"),
                plain_button(OPEN, "and shipping"),
                button("It works", Action::Test),
                more("Snooze", Action::Snooze),
            ],
            vec!["Items only", "and shipping", "It works"],
            vec!["Items only", "and shipping", "It works"],
        ),
    ] {
        assert_eq!(offered(buttons.clone(), own.clone()), at_home);
        assert_eq!(offered(buttons.clone(), allowed.clone()), at_home);
        // Who runs the server reads what passes, whoever signs in there.
        assert_eq!(offered(buttons.clone(), signed_in.clone()), in_public);
        assert_eq!(offered(buttons, public.clone()), in_public);
    }
    let no_reply: Settings = plugin::settings(NAME, &json!({"topic": TOPIC})).unwrap();
    let target = no_reply.target().unwrap();
    assert!(text::publish(&message(1), &target).actions.is_empty());
}

#[tokio::test]
async fn each_refusal_is_the_failure_that_it_means() {
    let phone = Phone::start(Options::default()).await;
    for (code, wait, expected) in [
        (42901, None, Some(5_000)),
        (42901, Some("7"), Some(7_000)),
        (42908, None, Some(3_600_000)),
        (42909, None, Some(600_000)),
        (50001, None, None),
        (50701, None, None),
    ] {
        let error = phone.refused(fake::Mood::Refusing(code, wait.map(str::to_owned))).await;
        assert_eq!((error.kind, error.retry_after_ms), (ErrorKind::Transient, expected), "{code}");
        assert!(error.cause.starts_with(&code.to_string()), "{error:?}");
    }
    for (code, remedy) in [
        (40009, "topic"),
        (40018, "doctor"),
        (40101, "token"),
        (40301, "ntfy access"),
        (40401, "server"),
        (41301, "message-size-limit"),
    ] {
        let error = phone.refused(fake::Mood::Refusing(code, None)).await;
        assert_eq!(error.kind, ErrorKind::Permanent, "{code}");
        assert!(error.remedy.unwrap().contains(remedy), "{code}");
    }
    let error = phone.refused(fake::Mood::Page(502)).await;
    assert_eq!(error.kind, ErrorKind::Transient);
    assert!(error.cause.contains("Welcome to the hotel"), "{error:?}");
    for status in [200, 302] {
        let error = phone.refused(fake::Mood::Page(status)).await;
        assert_eq!(error.kind, ErrorKind::Permanent, "{status}: {error:?}");
        assert!(error.remedy.unwrap().contains("server"), "{status}");
    }
}

#[tokio::test]
async fn a_send_in_doubt_is_found_by_its_key() {
    let phone = Phone::start(Options::default()).await;
    let key = "01ARZ-n-17-a channel with spaces, and a name that is longer than any sequence id";
    let handle = phone.notifier.send(&call(key), &message(1)).await.unwrap().handle.unwrap();
    assert_eq!(handle.0.len(), 32, "its digest in place of a key that no server takes");
    let found = phone.notifier.find(&call("look"), key).await.unwrap();
    assert_eq!(found, Answer::Yes(handle));
    let none = Options { caches: false, ..Options::default() };
    let phone = Phone::start(none).await;
    phone.notifier.send(&call("k"), &message(1)).await.unwrap();
    let found = phone.notifier.find(&call("look"), "k").await.unwrap();
    assert!(matches!(found, Answer::Unknown(_)), "a server that keeps nothing denies nothing");
}

#[test]
fn s16_only_a_server_that_can_be_nowhere_else_may_be_private() {
    let host = |server: &str, allow: bool| {
        let settings = json!({"server": server, "topic": TOPIC, "allowPrivate": allow});
        let settings: Settings = plugin::settings(NAME, &settings).unwrap();
        settings.target().map(|target| target.allow_private)
    };
    for near in [
        "http://localhost:2586",
        "http://127.0.0.1",
        "http://[::1]:80",
        "http://192.168.1.5:2586",
        "http://10.0.0.2",
        "https://[fd00::5]",
        "http://ntfy",
        "https://nas.local",
        "https://ntfy.home.arpa",
    ] {
        assert_eq!(host(near, false), Ok(true), "{near}");
    }
    // A name of the internet is looked up, and what it leads to must be public.
    assert_eq!(host("https://ntfy.example.org", false), Ok(false));
    assert_eq!(host("https://ntfy.example.org", true), Ok(true));
    for refused in [
        "http://169.254.169.254",
        "http://2852039166",
        "http://[fe80::1]",
        "http://100.64.0.1",
        "http://0.0.0.0",
        "http://[fd00:ec2::254]",
    ] {
        assert!(host(refused, false).unwrap_err().remedy.unwrap().contains("allowPrivate"));
    }
    for plain in ["http://ntfy.sh", "http://metadata.google.internal"] {
        assert!(host(plain, false).unwrap_err().cause.contains("https"), "{plain}");
    }
    assert_eq!(host("https://metadata.google.internal", false), Ok(false));
}

#[tokio::test]
async fn s32_no_error_and_no_debug_output_holds_a_secret() {
    let more = json!({"token": "tk_hush", "topic": "hush-topic", "replyTopic": "hush-reply", "replyToken": "tk_hush2"});
    let phone = Phone::with(Options::default(), more.clone()).await;
    let mut texts = vec![format!("{:?}", phone.notifier), phone.notifier.capabilities().account];
    for code in [40301, 42901, 50001] {
        texts.push(format!("{:?}", phone.refused(fake::Mood::Refusing(code, None)).await));
    }
    phone.server.away();
    texts.push(format!("{:?}", phone.notifier.send(&call("k"), &message(1)).await.unwrap_err()));
    texts.push(format!("{:?}", phone.notifier.check(&call("k")).await.unwrap_err()));
    let settings: Settings = plugin::settings(NAME, &more).unwrap();
    texts.push(format!("{settings:?}"));
    for text in texts {
        assert!(!text.contains("hush"), "{text}");
    }
}

#[test]
fn f16_topics_of_one_server_and_visitor_rest_together_and_others_do_not() {
    let account = |more: Value| {
        let mut settings = json!({"topic": "not-easily-guessed"});
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        plugin::settings::<Settings>(NAME, &settings).unwrap().target().unwrap().account
    };
    let mine = account(json!({"server": "https://n.example"}));
    assert_eq!(mine, account(json!({"server": "https://N.example:443/", "topic": "another-one"})));
    assert_ne!(mine, account(json!({"server": "https://n.example:8443"})));
    assert_ne!(mine, account(json!({"server": "https://m.example"})));
    assert_ne!(mine, account(json!({"server": "https://n.example", "token": "tk_a"})));
}

#[test]
fn settings_are_checked_by_text_alone() {
    for (settings, problem) in [
        (json!({}), "missing field `topic`"),
        (json!({"topic": "ao"}), "guessed"),
        (json!({"topic": "a b", "server": "https://n.example"}), "letters, digits"),
        (json!({"topic": "x".repeat(65), "server": "https://n.example"}), "64"),
        (json!({"topic": "docs", "server": "https://n.example"}), "keeps this name"),
        (json!({"topic": TOPIC, "replyTopic": "ao"}), "guessed"),
        (json!({"topic": TOPIC, "replyTopic": TOPIC}), "same as `topic`"),
        (json!({"topic": TOPIC, "server": "ntfy.sh"}), "relative URL"),
        (json!({"topic": TOPIC, "server": "ftp://n.example"}), "neither https"),
        (json!({"topic": TOPIC, "server": "http://n.example"}), "without https"),
        (json!({"topic": TOPIC, "server": "https://n.example/ntfy"}), "more than a scheme"),
        (json!({"topic": TOPIC, "server": "https://u:p@n.example"}), "more than a scheme"),
        (json!({"topic": TOPIC, "token": "a\nb"}), "line break"),
        (json!({"topic": TOPIC, "username": "ana"}), "a name and a password"),
        (json!({"topic": TOPIC, "username": "a", "password": "b", "token": "c"}), "user as well"),
        (json!({"topic": TOPIC, "token": "a", "replyToken": "a"}), "same as `token`"),
        (json!({"topic": TOPIC, "tokens": "a"}), "unknown field `tokens`"),
    ] {
        let error = (registration().check)(&settings).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Permanent, "{settings}");
        assert!(error.cause.contains(problem), "{settings}: {error:?}");
    }
    for good in [
        json!({"topic": TOPIC}),
        json!({"topic": "ao", "server": "https://n.example"}),
        json!({"topic": "ao", "token": "tk_1"}),
        json!({"topic": "ao", "username": "ana", "password": "x"}),
    ] {
        assert_eq!((registration().check)(&good), Ok(()), "{good}");
    }
}

/// A message as its owner sees it on the lock screen.
fn page(message: &Message, target: &settings::Target) -> String {
    let shown = text::publish(message, target);
    let body: String = shown.message.lines().map(|line| format!("  {line}\n")).collect();
    let buttons: String = shown.actions.iter().map(|a| format!("  [{}]\n", a.label)).collect();
    let click = shown.click.map(|link| format!("  (a tap opens {link})\n")).unwrap_or_default();
    format!("{} ({})\n{body}{buttons}{click}", shown.title, shown.priority)
}

#[test]
fn golden_each_kind_of_message_on_a_phone() {
    let settings =
        json!({"server": "https://ntfy.example.org", "topic": TOPIC, "replyTopic": REPLY});
    let settings: Settings = plugin::settings(NAME, &settings).unwrap();
    let target = settings.target().unwrap();
    for (kind, messages) in book(ChannelKind::Phone) {
        let mut pages = String::new();
        for (what, message) in messages {
            pages.push_str(&format!("── {what}\n{}\n", page(&message, &target)));
        }
        insta::assert_snapshot!(kind, pages);
    }
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(64))]
    #[test]
    fn limits_hold_in_characters_and_bytes_and_the_last_line_stays(
        title in "\\PC{0,300}", short in "(?s).{0,600}", quote in "\\PC{0,900}", log in "(?s).{0,900}",
        many in "(👩‍👩‍👧|é|Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤|\"|\\\\){0,400}", label in "\\PC{1,80}", may_repeat: bool, over: bool,
    ) {
        use ao_slots::{notifier::Block, text::length};
        let settings = json!({"server": "https://ntfy.example.org", "topic": TOPIC, "replyTopic": REPLY, "replyToken": "tk_0123456789012345678901234567"});
        let settings: Settings = plugin::settings(NAME, &settings).unwrap();
        let target = settings.target().unwrap();
        for (short, title) in [(short, title), (String::new(), many.clone()), (many.clone(), many.clone())] {
            let text = Message {
                title: title.clone(), short, may_repeat,
                mark: if over { Mark::Settled } else { Mark::Need },
                body: vec![Block::Quote(quote.clone()), Block::Code(log.clone()), Block::Text(many.clone())],
                buttons: vec![plain_button(&"t".repeat(40), &label), plain_button("b", &many), plain_button("c", "c")],
                ..message(1)
            };
            let shown = text::publish(&text, &target);
            proptest::prop_assert!(length(&shown.title) <= text::TITLE && shown.title.len() <= 1024);
            proptest::prop_assert!(length(&shown.message) <= text::BODY && shown.message.len() <= 4096);
            proptest::prop_assert_eq!(shown.message.lines().last(), Some("At your machine: ao answer app-3 \"…\""));
            let whole = ao_slots::text::one_line(&title);
            let said = shown.title.trim_start_matches("✓ ").trim_end_matches('…');
            proptest::prop_assert!(whole.starts_with(said.trim_end()) , "{:?} of {:?}", said, whole);
            proptest::prop_assert!(serde_json::to_vec(&shown).unwrap().len() <= 8192);
        }
    }
}
