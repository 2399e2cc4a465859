//! A team's chat, from the push to the agent: through the real server, with a real agent, and the vendor played strictly.

use std::fs;

use ao_fakes::slack::{ANA, APP_TOKEN, BEN, BOT_TOKEN, CHANNEL, Message, OPS, Outcome, Slack};
use serde_json::json;

use crate::house::{House, until};

struct Chat {
    house: House,
    slack: Slack,
}

impl Chat {
    /// An agent asks, and the chat shows it. Only ana may do something there.
    async fn asked() -> Self {
        let chat = Self::asked_on(&[("chat", CHANNEL)]).await;
        until("the question in the chat", || chat.card());
        chat
    }

    /// On these channels of one app.
    async fn asked_on(channels: &[(&str, &str)]) -> Self {
        let (house, slack) = (House::new(), Slack::start().await);
        let user = house.path("home/.config/ao");
        fs::create_dir_all(&user).unwrap();
        // Whom it knows, a repository's file does not say.
        let (mut notifiers, mut identities) = (String::new(), Vec::new());
        for (name, channel) in channels {
            notifiers.push_str(&format!(
                "  {name}: {{plugin: slack, botToken: {BOT_TOKEN}, appToken: {APP_TOKEN}, channel: {channel}, \
                 apiUrl: \"{}\"}}\n",
                slack.api_url()
            ));
            identities.push(format!("{name}: {ANA}"));
        }
        let identities = identities.join(", ");
        let people = format!("  ana: {{role: admin, identities: {{{identities}}}}}\n");
        fs::write(user.join("config.yaml"), format!("notifiers:\n{notifiers}people:\n{people}"))
            .unwrap();
        house.configure_as(&format!(
            "projects:\n  my-app:\n    path: .\n    defaultBranch: main\n    sessionPrefix: app\n    agent: custom\n    \
             agentConfig: {{command: [\"{}\", \"{{prompt}}\"]}}\ndefaults: {{notifiers: [{}]}}\n\
             lifecycle: {{sweepInterval: 200ms, settle: {{urgent: 50ms}}}}\n",
            house.path("agent.sh").display(),
            channels.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "),
        ));
        house.ao(&["spawn", "my-app", "--prompt", "ask me something"]).success();
        Self { house, slack }
    }

    /// The one card that there is.
    fn card(&self) -> Option<Message> {
        let cards: Vec<_> =
            self.slack.messages().into_iter().filter(|message| message.thread.is_none()).collect();
        assert!(cards.len() <= 1, "{cards:#?}");
        cards.into_iter().next()
    }

    fn answer(&self) -> Option<String> {
        let text = fs::read_to_string(self.house.path("data/worktrees/my-app/app-1/answer.txt"));
        text.ok().filter(|text| !text.is_empty())
    }
}

/// Who is not known may look; who is known presses once, and the card says who did it.
#[tokio::test(flavor = "multi_thread")]
async fn s20_a_stranger_presses_nothing_and_a_person_answers_the_agent_from_the_chat() {
    let chat = Chat::asked().await;
    let card = chat.card().unwrap();
    assert_eq!(card.title, "▲ app-1 asks: Items only, or shipping too?");
    chat.slack.connected(2).await;
    assert_eq!(chat.slack.press(BEN, &card.ts, "Items only").await, Outcome::Taken);
    let told = until("an answer for him alone", || chat.slack.ephemerals().pop());
    assert_eq!(told.user, BEN);
    assert!(
        told.lines.concat().contains("Only people with the role member can do this. Ask ana."),
        "{told:?}"
    );
    assert_eq!(chat.answer(), None);
    assert_eq!(chat.slack.press(ANA, &card.ts, "Items and shipping").await, Outcome::Taken);
    assert_eq!(until("the answer", || chat.answer()), "Items and shipping\n");
    let settled =
        until("the settled card", || chat.card().filter(|card| card.title.starts_with('✓')));
    assert!(settled.lines.concat().contains("ana answered \"Items and shipping\""), "{settled:#?}");
    assert_eq!(chat.slack.buzzes(), 1, "an edit calls nobody");
}

/// Words in the thread of a question are its answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_reply_in_the_thread_of_a_question_is_its_answer() {
    let chat = Chat::asked().await;
    let card = chat.card().unwrap();
    chat.slack.connected(2).await;
    chat.slack.reply(ANA, &card.ts, "Only on Sundays, please", json!({})).await;
    assert_eq!(until("the answer", || chat.answer()), "Only on Sundays, please\n");
}

/// Slack gives an act to any connection of the app, whichever channel it belongs to.
#[tokio::test(flavor = "multi_thread")]
async fn two_channels_of_one_app_lose_no_press_and_no_reply() {
    let chat = Chat::asked_on(&[("chat", CHANNEL), ("ops", OPS)]).await;
    let card = until("the question in both", || {
        let cards = chat.slack.messages();
        let here = cards.iter().find(|card| card.channel == OPS).cloned();
        here.filter(|_| cards.iter().any(|card| card.channel == CHANNEL))
    });
    chat.slack.connected(4).await;
    // Each connection has its turn.
    for turn in 1..=8 {
        let outcome = match turn {
            1..=4 => chat.slack.press(BEN, &card.ts, "Items only").await,
            _ => chat.slack.reply(BEN, &card.ts, "Items only", json!({})).await,
        };
        assert_eq!(outcome, Outcome::Taken);
        let told =
            until("an answer for him alone", || chat.slack.ephemerals().get(turn - 1).cloned());
        let told = told.lines.concat();
        assert!(told.contains("Only people with the role member can do this."), "{turn}: {told}");
    }
    assert_eq!(chat.slack.press(ANA, &card.ts, "Items and shipping").await, Outcome::Taken);
    assert_eq!(until("the answer", || chat.answer()), "Items and shipping\n");
}
