//! A phone by ntfy, from the push to the agent: through the real server, with a real agent, and the vendor's server
//! played strictly.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    time::Instant,
};

use ao_fakes::ntfy::{Options, Server};

use crate::house::{House, until};

const TOPIC: &str = "topic-0123456789abcdef0123456789";
const REPLY: &str = "reply-0123456789abcdef0123456789";

struct Phone {
    house: House,
    server: Server,
    port: u16,
}

impl Phone {
    /// A house whose only channel is a phone.
    fn new() -> Self {
        let (house, server) = (House::new(), Server::start(Options::default()).unwrap());
        // Free now; where another takes it before the server does, the test says so.
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let agent = house.path("agent.sh");
        let user = house.path("home/.config/ao");
        fs::create_dir_all(&user).unwrap();
        fs::write(user.join("config.yaml"), format!("port: {port}\n")).unwrap();
        house.configure_as(&format!(
            "projects:\n  my-app:\n    path: .\n    defaultBranch: main\n    sessionPrefix: app\n    agent: custom\n    \
             agentConfig: {{command: [\"{}\", \"{{prompt}}\"]}}\n\
             notifiers:\n  phone: {{plugin: ntfy, server: \"{}\", topic: {TOPIC}, replyTopic: {REPLY}}}\n\
             defaults: {{notifiers: [phone]}}\n\
             lifecycle: {{sweepInterval: 200ms, settle: {{urgent: 50ms}}}}\n",
            agent.display(),
            server.url(),
        ));
        Self { house, server, port }
    }

    /// An agent asks, and the phone shows it with its choices.
    fn asked() -> Self {
        let phone = Self::new();
        phone.house.ao(&["spawn", "my-app", "--prompt", "ask me something"]).success();
        until("the question on the phone", || {
            let shown = phone.server.phone(TOPIC);
            shown.iter().any(|note| note.buttons.len() >= 2).then_some(())
        });
        phone
    }

    fn answer(&self) -> Option<String> {
        let text = fs::read_to_string(self.house.path("data/worktrees/my-app/app-1/answer.txt"));
        text.ok().filter(|text| !text.is_empty())
    }

    fn decisions(&self) -> usize {
        let events = self.house.events();
        events.iter().filter(|event| event["kind"] == "request.decided").count()
    }

    /// The status and the text of what the loopback port answers.
    fn http(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let (port, length) = (self.port, body.len());
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: localhost:{port}\r\nconnection: close\r\n{headers}\
             content-length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        let status = reply.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        (status, reply)
    }
}

/// The server is killed after the question went out, and the human taps before it is back: the agent gets the answer,
/// once, however often he taps.
#[test]
fn s20_a_tap_while_the_server_is_dead_answers_the_agent_once() {
    let phone = Phone::asked();
    phone.house.kill_server();
    for _ in 0..3 {
        phone.server.press(TOPIC, "Items and shipping");
    }
    // Any command wakes it.
    phone.house.ao(&["status"]).success();
    assert_eq!(until("the answer", || phone.answer()), "Items and shipping\n");
    assert_eq!(phone.decisions(), 1);
    until("the settled message", || {
        phone.server.phone(TOPIC).iter().all(|note| note.buttons.is_empty()).then_some(())
    });
}

/// What anybody else writes to the reply topic presses nothing.
#[test]
fn s20_a_guessed_or_altered_token_does_nothing() {
    let phone = Phone::asked();
    let token = phone.server.last(TOPIC)["actions"][1]["body"].as_str().unwrap().to_owned();
    let altered: String = token.chars().rev().collect();
    for text in [&altered, "answer:2", "approve", "", "\u{1b}[31m", &"a".repeat(4_000)] {
        phone.server.write(REPLY, text);
    }
    let begun = Instant::now();
    phone.server.press(TOPIC, "Items only");
    assert_eq!(until("the answer", || phone.answer()), "Items only\n");
    println!("tap to answered agent: {} ms", begun.elapsed().as_millis());
    assert_eq!(phone.decisions(), 1);
}

/// The page behind a mail's button: whoever fetches it does nothing by that, and a press counts once.
#[test]
fn s19_a_page_that_is_fetched_does_nothing_and_a_press_on_it_counts_once() {
    let phone = Phone::asked();
    let token = phone.server.last(TOPIC)["actions"][1]["body"].as_str().unwrap().to_owned();
    let path = format!("/a/{token}");
    for _ in 0..3 {
        let (status, page) = phone.http("GET", &path, "", "");
        assert_eq!(status, 200, "{page}");
        assert!(page.contains("app-1 asks: Items only, or shipping too?"), "{page}");
        assert!(page.contains("Items and shipping") && page.contains("method=\"post\""), "{page}");
        assert!(page.contains("content-security-policy: default-src 'none'"), "{page}");
        assert!(!page.contains("<script"), "{page}");
    }
    assert_eq!((phone.answer(), phone.decisions()), (None, 0), "a look is no press");
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    let (status, _) = phone.http("POST", &path, &format!("{form}origin: http://evil.com\r\n"), "");
    assert_eq!((status, phone.decisions()), (403, 0));
    let ours = format!("{form}origin: http://localhost:{}\r\n", phone.port);
    let (status, page) = phone.http("POST", &path, &ours, "");
    assert_eq!(status, 200, "{page}");
    assert_eq!(until("the answer", || phone.answer()), "Items and shipping\n");
    let (status, page) = phone.http("POST", &path, &ours, "");
    assert_eq!(status, 410, "{page}");
    assert!(page.contains("This button was already used, by "), "{page}");
    assert_eq!(phone.decisions(), 1);
}

/// Fifty clicks at one time: one counts, and each of the others hears who it was.
#[test]
fn s20_of_fifty_racing_clicks_one_counts() {
    let phone = Phone::asked();
    let token = phone.server.last(TOPIC)["actions"][0]["body"].as_str().unwrap().to_owned();
    let (path, phone) = (format!("/a/{token}"), &phone);
    let ours = format!(
        "content-type: application/x-www-form-urlencoded\r\norigin: http://localhost:{}\r\n",
        phone.port
    );
    let clicks: Vec<(u16, String)> = std::thread::scope(|scope| {
        let click = || phone.http("POST", &path, &ours, "");
        let racing: Vec<_> = (0..50).map(|_| scope.spawn(click)).collect();
        racing.into_iter().map(|click| click.join().unwrap()).collect()
    });
    let (counted, late): (Vec<_>, Vec<_>) = clicks.iter().partition(|(status, _)| *status == 200);
    assert_eq!(counted.len(), 1, "{clicks:#?}");
    for (status, page) in late {
        assert!(matches!(status, 409 | 410), "{page}");
        assert!(page.to_lowercase().contains("this button was already used, by "), "{page}");
    }
    assert_eq!(until("the answer", || phone.answer()), "Items only\n");
    assert_eq!(phone.decisions(), 1);
}
