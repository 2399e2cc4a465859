//! A phone by ntfy, from the push to the agent: through the real server, with a real agent, and the vendor's server
//! played strictly.

use std::{fs, time::Instant};

use ao_fakes::ntfy::{Options, Server};

use crate::house::{House, until};

pub(crate) const TOPIC: &str = "topic-0123456789abcdef0123456789";
pub(crate) const REPLY: &str = "reply-0123456789abcdef0123456789";

/// A phone that hears of all, and a server that waits for little.
pub(crate) fn configured(server: &str) -> String {
    format!(
        r#"defaults: {{notifiers: [phone]}}
notifications: {{routing: {{urgent: [phone], action: [phone], warning: [phone]}}}}
notifiers:
  phone: {{plugin: ntfy, server: "{server}", topic: {TOPIC}, replyTopic: {REPLY}}}
lifecycle:
  sweepInterval: 200ms
  scmInterval: 300ms
  settle: {{urgent: 100ms, action: 100ms, warning: 300ms}}
"#
    )
}

struct Phone {
    house: House,
    server: Server,
}

impl Phone {
    /// A house whose only channel is a phone.
    fn new() -> Self {
        let (house, server) = (House::new(), Server::start(Options::default()).unwrap());
        let agent = house.path("agent.sh");
        house.configure_as(&format!(
            "projects:\n  my-app:\n    path: .\n    defaultBranch: main\n    sessionPrefix: app\n    agent: custom\n    \
             agentConfig: {{command: [\"{}\", \"{{prompt}}\"]}}\n\
             notifiers:\n  phone: {{plugin: ntfy, server: \"{}\", topic: {TOPIC}, replyTopic: {REPLY}}}\n\
             defaults: {{notifiers: [phone]}}\n\
             lifecycle: {{sweepInterval: 200ms, settle: {{urgent: 50ms}}}}\n",
            agent.display(),
            server.url(),
        ));
        Self { house, server }
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
