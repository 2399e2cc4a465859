//! The plugin against the strict fake of Slack.

use std::collections::BTreeMap;

use ao_conformance::{
    context,
    notifier::{self as suite, FarEnd, Mood as Suite, Shown, message, plain_button, text_button},
};
use ao_fakes::slack::{
    ANA, APP_TOKEN, BEN, BOT_TOKEN, CHANNEL, EVE, Mood, OLD, Outcome, SIGNING_SECRET,
    Slack as Fake, Submitted,
};
use ao_slots::notifier::{Action, Block, ButtonStyle, Confirm, Form, Mark, OPEN, Press};

use super::*;

fn build(settings: &Value) -> Result<Arc<dyn Notifier>, PluginError> {
    (registration().build)(settings, &context::nowhere())
}

fn call(key: &str) -> Call {
    Call::new(key, Duration::from_secs(30))
}

type Came = Result<IncomingAction, PluginError>;

/// The fake and the channel there.
struct House {
    fake: Arc<Fake>,
    notifier: Arc<dyn Notifier>,
    server: AsyncMutex<Option<(JoinSet<()>, mpsc::UnboundedReceiver<Came>)>>,
    /// What whoever pressed sees.
    pressed: AsyncMutex<JoinSet<Outcome>>,
}

impl House {
    /// By Socket Mode.
    async fn new() -> Self {
        Self::with(json!({"appToken": APP_TOKEN, "channel": CHANNEL})).await
    }

    async fn with(mut settings: Value) -> Self {
        let fake = Fake::start().await;
        settings["botToken"] = BOT_TOKEN.into();
        settings["apiUrl"] = fake.api_url().into();
        Self::at(fake, &settings)
    }

    fn at(fake: Fake, settings: &Value) -> Self {
        let (notifier, fake) = (build(settings).unwrap(), Arc::new(fake));
        Self { notifier, fake, server: AsyncMutex::default(), pressed: AsyncMutex::default() }
    }

    /// By Socket Mode, with its connections open.
    async fn listening() -> Self {
        let house = Self::new().await;
        house.listen().await;
        house
    }

    async fn listen(&self) {
        *self.server.lock().await = None;
        // Of a plugin that is gone.
        self.fake.until(|fake| fake.sockets() == 0).await;
        self.serve().await;
        self.fake.connected(2).await;
        self.nothing_more().await;
    }

    /// Records at once whatever comes, as the server does.
    async fn serve(&self) {
        let (out, came) = mpsc::unbounded_channel();
        let notifier = self.notifier.clone();
        let mut server = JoinSet::new();
        server.spawn(async move {
            loop {
                let received = notifier.receive().await;
                if let Ok(action) = &received {
                    notifier.taken(action, true);
                }
                let _ = out.send(received);
            }
        });
        *self.server.lock().await = Some((server, came));
    }

    async fn next(&self) -> Came {
        match &mut *self.server.lock().await {
            Some((_, came)) => came.recv().await.unwrap(),
            None => self.notifier.receive().await,
        }
    }

    async fn sent(&self, key: &str, message: &Message) -> String {
        let receipt = self.notifier.send(&call(key), message).await.unwrap();
        receipt.handle.unwrap().0.split_once(':').unwrap().1.to_owned()
    }

    async fn received(&self) -> IncomingAction {
        tokio::time::timeout(Duration::from_secs(30), self.next()).await.unwrap().unwrap()
    }

    async fn nothing_more(&self) {
        let more = tokio::time::timeout(Duration::from_millis(50), self.next()).await;
        assert!(more.is_err(), "{more:?}");
    }
}

#[async_trait]
impl FarEnd for House {
    fn notifier(&self) -> Arc<dyn Notifier> {
        self.notifier.clone()
    }

    async fn set(&self, mood: Suite) -> bool {
        self.fake
            .behave(match mood {
                Suite::Well => Mood::Well,
                Suite::Silent => Mood::Silent,
                Suite::Away => Mood::Away,
                // The rest that is asked for must be over when it is well again.
                Suite::Busy => Mood::Busy(0),
                Suite::Refusing => Mood::Refusing("channel_not_found"),
            })
            .await;
        true
    }

    async fn shown(&self) -> Vec<Shown> {
        let open = self.fake.messages().into_iter().filter(|one| !one.title.starts_with('✓'));
        open.map(|one| Shown { title: one.title, body: one.lines.join("\n") }).collect()
    }

    async fn tries(&self) -> usize {
        self.fake.calls("chat.postMessage")
    }

    async fn buzzes(&self) -> usize {
        self.fake.buzzes()
    }

    async fn press(&self, label: &str) {
        self.fake.connected(1).await;
        let newest = self.fake.messages().pop().unwrap();
        let (fake, label) = (self.fake.clone(), label.to_owned());
        self.pressed.lock().await.spawn(async move { fake.press(ANA, &newest.ts, &label).await });
    }

    async fn acknowledged(&self) -> bool {
        self.pressed.lock().await.join_next().await.unwrap().unwrap() == Outcome::Taken
    }
}

#[tokio::test]
async fn the_contract_holds() {
    suite::all(House::new).await;
}

/// The question of the running example.
fn question() -> Message {
    Message {
        title: "app-3 asks: Should a coupon also apply to shipping?".to_owned(),
        body: vec![
            Block::Quote("Should a coupon also apply to shipping?".to_owned()),
            Block::List(vec!["1 Items only".to_owned(), "2 Items and shipping".to_owned()]),
            Block::Text(
                "It stopped at \"pricing rules\" and waits since 14:28 (4 min). \
                 Tried: nothing, only you can answer."
                    .to_owned(),
            ),
        ],
        buttons: vec![
            plain_button("tok-1", "Items only"),
            plain_button("tok-2", "Items and shipping"),
            text_button("tok-3", "Answer…"),
            Button { action: Action::Open, ..plain_button(OPEN, "Open") },
            Button { action: Action::Snooze, more: true, ..plain_button("tok-4", "Snooze 1 h") },
            Button {
                action: Action::Kill,
                more: true,
                style: ButtonStyle::Danger,
                confirm: Some(Confirm {
                    question: "Kill app-3? 2 changed files are not committed; the workspace stays."
                        .to_owned(),
                    yes: "Kill app-3".to_owned(),
                    no: "Keep it".to_owned(),
                }),
                ..plain_button("tok-5", "Kill…")
            },
        ],
        meta: ["my-app", "app-3", "#41", "claude-code", "i-142"].map(str::to_owned).to_vec(),
        link: Some("https://ao.example.org/s/app-3".to_owned()),
        ..message(1)
    }
}

fn drawn(card: &Card) -> String {
    let blocks = serde_json::to_value(&card.blocks).unwrap();
    assert_eq!(ao_fakes::slack::problems(&blocks), Vec::<String>::new());
    format!(
        "{}\n(notification: {})\n",
        ao_fakes::slack::drawing(&blocks),
        card.text.replace('\n', " / ")
    )
}

#[test]
fn golden_the_card_is_the_one_that_was_designed() {
    let settled = Message {
        mark: Mark::Settled,
        title: "app-3 got its answer".to_owned(),
        short: "ana answered \"Items and shipping\" at 14:31; the agent confirmed it.".to_owned(),
        body: vec![
            Block::Quote("Should a coupon also apply to shipping?".to_owned()),
            Block::Text(
                "ana answered \"Items and shipping\" at 14:31, 3 min after it asked. \
                 The agent confirmed it at 14:31:09."
                    .to_owned(),
            ),
        ],
        buttons: vec![],
        command: None,
        meta: ["my-app", "app-3", "#41", "i-142", "took you 3 min 12 s"]
            .map(str::to_owned)
            .to_vec(),
        ..question()
    };
    let merge = Message {
        mark: Mark::Decide,
        title: "PR #57 is ready to merge: Dark mode".to_owned(),
        short: "+48 −12, 6 of 6 checks, approved by ben.".to_owned(),
        body: vec![
            Block::Text(
                "+48 −12 in 5 files · 6 of 6 checks pass · approved by ben 3 min ago".to_owned(),
            ),
            Block::Text("Head 3f9c2d1 into main, squash".to_owned()),
        ],
        buttons: vec![Button {
            action: Action::Merge,
            style: ButtonStyle::Primary,
            confirm: Some(Confirm {
                question: "Merge #57 into main? Squash of 3f9c2d1, 6 of 6 checks pass.".to_owned(),
                yes: "Merge #57".to_owned(),
                no: "Not now".to_owned(),
            }),
            ..plain_button("tok-1", "Merge")
        }],
        command: Some("ao pr merge my-app#57".to_owned()),
        ..question()
    };
    let ran = Message {
        title: "app-3 wants to run: npm publish --dry-run".to_owned(),
        short: "npm publish --dry-run in packages/core".to_owned(),
        body: vec![
            Block::Code("npm publish --dry-run".to_owned()),
            Block::Text("in packages/core".to_owned()),
        ],
        may_repeat: true,
        mention: Some("U0ANA0001".to_owned()),
        link: None,
        ..question()
    };
    let mut pages = String::new();
    for (what, card) in [
        ("a question", card::card(&question(), true)),
        ("the same, settled", card::card(&settled, false)),
        ("a merge", card::card(&merge, true)),
        ("a permission, no link, perhaps a repetition, calls ana", card::card(&ran, true)),
        ("a question by an incoming webhook", card::links(&question())),
    ] {
        pages.push_str(&format!("── {what}\n{}\n", drawn(&card)));
    }
    insta::assert_snapshot!("cards", pages);
    insta::assert_snapshot!(
        "blocks",
        serde_json::to_string_pretty(&card::card(&question(), true).blocks).unwrap()
    );
}

#[test]
fn golden_each_kind_of_message_in_slack() {
    for (kind, messages) in suite::book(ChannelKind::Chat) {
        let mut pages = String::new();
        for (what, message) in messages {
            pages.push_str(&format!("── {what}\n{}\n", drawn(&card::card(&message, true))));
        }
        insta::assert_snapshot!(kind, pages);
    }
}

#[tokio::test]
async fn s15_hostile_text_calls_nobody_leads_nowhere_and_is_shown_as_it_is() {
    let house = House::listening().await;
    let hostile = "<!channel> <@U0BEN0001> <http://x|merge> @everyone *b* _i_ ~s~ `c` ```x``` :tada: &amp; <b>";
    let message = Message {
        title: hostile.to_owned(),
        short: hostile.to_owned(),
        body: vec![
            Block::Quote(hostile.to_owned()),
            Block::Code(hostile.to_owned()),
            Block::Text(hostile.to_owned()),
            Block::List(vec![hostile.to_owned()]),
        ],
        details: vec![Block::Code(hostile.to_owned())],
        meta: vec!["<!here>".to_owned()],
        command: Some("ao answer <@U0BEN0001>".to_owned()),
        mention: Some("<!channel>".to_owned()),
        buttons: vec![plain_button("tok-1", "<!here>"), text_button("tok-2", "<!here> 2")],
        ..message(1)
    };
    let ts = house.sent("k", &message).await;
    house.notifier.post(&call("l"), hostile).await.unwrap();
    house.fake.press(ANA, &ts, "<!here>").await;
    let pressed = house.received().await;
    house.notifier.answer(&call("m"), &pressed, hostile, &[]).await.unwrap();
    house.fake.until(|fake| fake.messages().len() == 3).await;
    let said = house.fake.messages();
    assert_eq!(said.len(), 3);
    for one in &said {
        assert_eq!(one.active, Vec::<String>::new(), "{one:?}");
        assert!(!one.fallback.contains('«'), "{}", one.fallback);
        // Neither emoji nor markup is made of it.
        let text = one.blocks.to_string();
        assert!(!text.contains("mrkdwn") && !text.contains("\"emoji\":true"), "{text}");
    }
    assert_eq!(said[0].lines.iter().filter(|line| line.contains(hostile)).count(), 3);
    assert!(said[1].lines[0].contains(hostile) && said[2].lines[0].contains(hostile));
    assert_eq!(house.fake.ephemerals()[0].lines, [hostile]);
    assert_eq!(house.fake.buzzes(), 0);
    let sent = house.fake.last("chat.postMessage").unwrap();
    assert_eq!((&sent["unfurl_links"], &sent["unfurl_media"]), (&json!(false), &json!(false)));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig {
        cases: 64, failure_persistence: None, ..Default::default()
    })]

    #[test]
    fn whatever_it_says_slack_takes_the_card(
        title in ".{0,300}", text in "(?s).{0,1500}", lines in proptest::collection::vec(".{0,250}", 0..30),
        labels in proptest::collection::vec(".{0,60}", 0..14), settled: bool, prompt in "(?s).{0,4000}",
    ) {
        let body = vec![
            Block::Quote(text.clone()), Block::List(lines.clone()), Block::Code(text.clone()),
            Block::Text(text.clone()), Block::List(lines.clone()), Block::Quote(title.clone()), Block::Text(String::new()),
        ];
        let button = |(at, label): (usize, &String)| Button {
            style: [ButtonStyle::Plain, ButtonStyle::Danger][at % 2], more: at % 3 == 0,
            form: (at % 4 != 1).then(|| Form {
                title: label.clone(), prompt: prompt.clone(), options: lines.clone(), submit: label.clone(),
                required: true,
            }),
            ..plain_button(&format!("tok-{at}"), label)
        };
        let message = Message {
            mark: if settled { Mark::Settled } else { Mark::Slow },
            buttons: labels.iter().enumerate().map(button).collect(),
            command: Some(text.clone()), meta: vec![title.clone(), text.clone()], short: text.clone(),
            details: body.clone(), body, title, ..message(1)
        };
        for card in [card::card(&message, true), card::links(&message)] {
            let blocks = serde_json::to_value(&card.blocks).unwrap();
            proptest::prop_assert_eq!(ao_fakes::slack::problems(&blocks), Vec::<String>::new());
            proptest::prop_assert!(!card.text.contains('<') && card.blocks.len() <= 9);
            let sound = ao_fakes::slack::metadata_problem(&content(&card, "key")["metadata"]);
            proptest::prop_assert_eq!(sound, None);
        }
        let details = serde_json::to_value(card::details(&message.details)).unwrap();
        proptest::prop_assert_eq!(ao_fakes::slack::problems(&details), Vec::<String>::new());
    }
}

#[test]
fn what_buttons_ask_for_is_kept_as_far_as_slack_takes_it() {
    let asks = |prompt: usize, options: usize| {
        let form = |at: usize| Button {
            form: Some(Form {
                title: format!("Answer {at}"),
                prompt: "\"".repeat(prompt),
                options: vec!["o".repeat(options); 8],
                submit: "Send".to_owned(),
                required: true,
            }),
            ..plain_button(&format!("tok-{at}"), &format!("Answer {at}"))
        };
        let message = Message { buttons: (0..9).map(form).collect(), ..question() };
        let metadata = serde_json::to_value(metadata(&card::card(&message, true), "key")).unwrap();
        assert_eq!(ao_fakes::slack::metadata_problem(&metadata), None);
        let asks = metadata["event_payload"]["asks"].as_str().unwrap_or("{}").to_owned();
        let asks: BTreeMap<String, Ask> = serde_json::from_str(&asks).unwrap();
        assert!(asks.is_empty() || asks.len() == 9);
        asks.into_values().next().map(|ask| match ask {
            Ask::Form(form) => (form.prompt.len(), form.options.len()),
            Ask::Confirm(_) => (0, 0),
        })
    };
    assert_eq!(asks(100, 20), Some((100, 8)));
    assert_eq!(asks(100, 300), Some((100, 0)));
    assert_eq!(asks(2_000, 300), Some((0, 0)));
}

#[test]
fn what_may_be_approved_unseen_is_shown_whole() {
    let command = format!("rm {}", "x ".repeat(598));
    assert_eq!(command.len(), card::BODY - 1);
    let card =
        card::card(&Message { body: vec![Block::Code(command.clone())], ..question() }, true);
    let blocks = serde_json::to_value(&card.blocks).unwrap();
    assert!(blocks.to_string().contains(command.trim_end()), "{blocks}");
}

#[tokio::test]
async fn the_one_person_is_called_once() {
    let house = House::new().await;
    let called = Message { mention: Some(ANA.to_owned()), ..question() };
    let quiet = Message { quiet: true, ..called.clone() };
    house.sent("a", &quiet).await;
    assert_eq!(house.fake.buzzes(), 0);
    let receipt = house.notifier.send(&call("b"), &called).await.unwrap();
    assert_eq!(house.fake.buzzes(), 1);
    assert_eq!(house.fake.messages()[1].active[0], format!("@{ANA}"));
    house.notifier.update(&call("c"), &receipt.handle.unwrap(), &called).await.unwrap();
    assert_eq!(
        house.fake.messages()[1].active.iter().filter(|one| one.starts_with('@')).count(),
        0
    );
    for id in ["here", "U1\n<!here>", "<@U1>", "", "C0AGENTS1", "u0ana0001"] {
        assert!(!card::is_user(id), "{id}");
    }
}

#[tokio::test]
async fn a_press_names_its_token_its_presser_and_where_to_answer() {
    let mut house = House::listening().await;
    let ts = house.sent("k", &question()).await;
    assert_eq!(house.fake.press(ANA, &ts, "Items and shipping").await, Outcome::Taken);
    let action = house.received().await;
    assert_eq!(action.press, Press::Button("tok-2".to_owned()));
    // Nobody waits for the nicer name: it is there the next time.
    assert_eq!(
        (action.who.as_str(), action.identity.as_deref(), &action.text),
        ("ana.a", Some(ANA), &None)
    );
    house.introduced(ANA, &ts, "ana").await;
    let no = plain_button("tok-9", "No");
    let buttons = [plain_button("tok-8", "Send"), no];
    house.notifier.answer(&call("l"), &action, "Send this to app-3?", &buttons).await.unwrap();
    let whispered = house.fake.ephemerals().pop().unwrap();
    assert_eq!(
        (whispered.user.as_str(), whispered.channel.as_str(), &whispered.thread),
        (ANA, CHANNEL, &None)
    );
    assert_eq!(whispered.lines, ["Send this to app-3?", "[Send] [No]"]);
    // Without a display name it is the real one; a pressed question goes away.
    house.fake.press(BEN, &whispered.ts, "Send").await;
    let action = house.received().await;
    assert_eq!(action.press, Press::Button("tok-8".to_owned()));
    house.fake.until(|fake| fake.ephemerals().is_empty()).await;
    house.introduced(BEN, &ts, "Ben Braun").await;
    assert_eq!(house.fake.calls("users.info"), 2);
    // Who cannot be looked up is what Slack calls him.
    house.fake.grant(&["chat:write"]);
    house.notifier = House::again(&house.fake);
    house.listen().await;
    let looked_up = house.fake.calls("users.info");
    for _ in 0..3 {
        house.fake.press(BEN, &ts, "Items only").await;
        assert_eq!(house.received().await.who, "ben.b");
        house.fake.until(|fake| fake.calls("users.info") == looked_up + 1).await;
    }
    house.nothing_more().await;
}

/// What was pressed is with the server before anything is asked of Slack.
#[tokio::test]
async fn a_press_waits_for_no_look_up() {
    let house = House::new().await;
    let ts = house.sent("k", &question()).await;
    let no = [plain_button("tok-9", "No")];
    let asked = IncomingAction {
        press: Press::Button("tok-1".to_owned()),
        text: None,
        who: "ana".to_owned(),
        identity: Some(ANA.to_owned()),
        reply_to: Some(json!({"channel": CHANNEL, "user": ANA}).to_string()),
    };
    house.notifier.answer(&call("l"), &asked, "Send this to app-3?", &no).await.unwrap();
    let whispered = house.fake.ephemerals().pop().unwrap();
    for (ts, label, token) in [(&whispered.ts, "No", "tok-9"), (&ts, "Snooze 1 h", "tok-4")] {
        let slack = for_test(&house.fake);
        let me = slack.app.me(Duration::from_secs(5)).await.unwrap();
        let before = house.fake.all_calls();
        slack.app.interaction(me, house.fake.press_payload(ANA, ts, label).unwrap()).unwrap();
        let action = slack.incoming.lock().await.recv().await.unwrap().unwrap();
        assert_eq!(action.press, Press::Button(token.to_owned()));
        assert_eq!(action.who, "ana.a");
        assert_eq!(house.fake.all_calls(), before, "{label}");
    }
}

impl House {
    /// Presses until the presser is called like this.
    async fn introduced(&self, user: &str, ts: &str, name: &str) {
        for _ in 0..1_000 {
            self.fake.press(user, ts, "Items only").await;
            if self.received().await.who == name {
                return;
            }
        }
        panic!("{user} is never called {name}");
    }

    /// The plugin anew, as after a restart.
    fn again(fake: &Fake) -> Arc<dyn Notifier> {
        build(&json!({
            "botToken": BOT_TOKEN, "appToken": APP_TOKEN, "channel": CHANNEL, "apiUrl": fake.api_url(),
        }))
        .unwrap()
    }
}

#[tokio::test]
async fn answer_opens_a_dialog_also_after_a_restart() {
    let mut house = House::listening().await;
    let ts = house.sent("k", &question()).await;
    house.notifier = House::again(&house.fake);
    house.listen().await;
    house.fake.press(ANA, &ts, "Answer…").await;
    house.fake.until(|fake| !fake.modals().is_empty()).await;
    let view = house.fake.modals()[0].view.clone();
    let text = |pointer: &str| view.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
    assert_eq!(
        ["/title/text", "/submit/text", "/close/text", "/blocks/0/text/text"].map(text),
        ["Answer app-3", "Send answer", "Not now", "Should a coupon also apply to shipping?"]
            .map(str::to_owned)
    );
    let options = view.pointer("/blocks/1/element/options").and_then(Value::as_array).unwrap();
    assert_eq!(options.len(), 2);
    let corrected = house.fake.submit(ANA, None, " ").await;
    assert_eq!(
        corrected,
        Submitted::Corrected(
            [("words".to_owned(), "Choose one, or write something.".to_owned())].into()
        )
    );
    house.nothing_more().await;
    assert_eq!(house.fake.submit(ANA, Some(1), "").await, Submitted::Closed);
    let action = house.received().await;
    assert_eq!(action.press, Press::Button("tok-3".to_owned()));
    assert_eq!(action.text.as_deref(), Some("Items and shipping"));
    assert_eq!((action.who.as_str(), action.identity.as_deref()), ("ana.a", Some(ANA)));
    // Words win over a choice.
    house.fake.press(ANA, &ts, "Answer…").await;
    house.fake.until(|fake| !fake.modals().is_empty()).await;
    assert_eq!(
        house.fake.submit(ANA, Some(0), "Only <books> & \"maps\"\nplease").await,
        Submitted::Closed
    );
    let action = house.received().await;
    assert_eq!(action.text.as_deref(), Some("Only <books> & \"maps\"\nplease"));
    house.nothing_more().await;
}

#[tokio::test]
async fn words_that_are_not_needed_may_be_left_out() {
    let house = House::listening().await;
    let mut deny = text_button("tok-1", "Deny with reason…");
    if let Some(form) = &mut deny.form {
        (form.required, form.options) = (false, vec![]);
    }
    let ts = house.sent("k", &Message { buttons: vec![deny], ..question() }).await;
    house.fake.press(ANA, &ts, "Deny with reason…").await;
    house.fake.until(|fake| !fake.modals().is_empty()).await;
    assert_eq!(house.fake.submit(ANA, None, "").await, Submitted::Closed);
    let action = house.received().await;
    assert_eq!((action.press, action.text), (Press::Button("tok-1".to_owned()), None));
}

#[tokio::test]
async fn an_entry_of_the_menu_asks_first_where_it_should() {
    let house = House::listening().await;
    let ts = house.sent("k", &question()).await;
    house.fake.press(ANA, &ts, "Snooze 1 h").await;
    assert_eq!(house.received().await.press, Press::Button("tok-4".to_owned()));
    house.fake.press(ANA, &ts, "Kill…").await;
    house.fake.until(|fake| !fake.modals().is_empty()).await;
    let view = house.fake.modals()[0].view.clone();
    assert!(view.to_string().contains("Kill app-3? 2 changed files"), "{view}");
    house.nothing_more().await;
    assert_eq!(house.fake.submit(ANA, None, "").await, Submitted::Closed);
    assert_eq!(house.received().await.press, Press::Button("tok-5".to_owned()));
    // What its question was may be unknown by now: it asks all the same.
    let handle = ChannelHandle(format!("{CHANNEL}:{ts}"));
    let old = house.fake.press_payload(ANA, &ts, "Kill…").unwrap();
    let fewer = Message { buttons: vec![plain_button("tok-6", "Kill")], ..question() };
    house.notifier.update(&call("m"), &handle, &fewer).await.unwrap();
    for lost in [false, true] {
        if lost {
            house.fake.grant(&["chat:write"]);
        }
        let mut old = old.clone();
        old["actions"][0]["action_ts"] = format!("{lost}").into();
        old["trigger_id"] =
            house.fake.press_payload(ANA, &ts, "Kill").unwrap()["trigger_id"].clone();
        assert_eq!(house.fake.interact(old).await, Outcome::Taken);
        house.fake.until(|fake| !fake.modals().is_empty()).await;
        house.nothing_more().await;
        assert_eq!(house.fake.submit(ANA, None, "").await, Submitted::Closed);
        assert_eq!(house.received().await.press, Press::Button("tok-5".to_owned()));
    }
}

/// What the server has not recorded Slack is not told to be taken: it shows an error, and what it sends again is taken.
#[tokio::test]
async fn nothing_is_acknowledged_before_it_is_recorded() {
    let house = House::new().await;
    let ts = house.sent("k", &question()).await;
    let slack = for_test(&house.fake);
    let me = slack.app.me(Duration::from_secs(5)).await.unwrap();
    let due = |wait| tokio::time::Instant::now() + wait;
    let (soon, late) = (Duration::from_millis(50), Duration::from_secs(30));
    let press = house.fake.press_payload(ANA, &ts, "Items only").unwrap();
    let first = slack.app.interaction(me, press.clone()).unwrap();
    let action = slack.receive().await.unwrap();
    // Nobody has written it down in time: one press all the same, however often it comes.
    assert_eq!(first.answer(due(soon)).await.unwrap_err(), incoming::NotTaken);
    let again = slack.app.interaction(me, press.clone()).unwrap();
    let more = tokio::time::timeout(Duration::from_millis(50), slack.receive()).await;
    assert!(more.is_err(), "{more:?}");
    slack.taken(&action, true);
    assert_eq!(again.answer(due(late)).await, Ok(None));
    // Nobody could.
    let press = house.fake.press_payload(ANA, &ts, "Items and shipping").unwrap();
    let refused = slack.app.interaction(me, press.clone()).unwrap();
    let action = slack.receive().await.unwrap();
    slack.taken(&action, false);
    assert_eq!(refused.answer(due(late)).await.unwrap_err(), incoming::NotTaken);
    let again = slack.app.interaction(me, press).unwrap();
    assert_eq!(slack.receive().await.unwrap(), action);
    slack.taken(&action, true);
    assert_eq!(again.answer(due(late)).await, Ok(None));
}

/// A server that is killed with a press in its hands has not acknowledged it: the next one gets it.
#[tokio::test]
async fn what_a_crash_takes_along_comes_again() {
    let house = House::new().await;
    let ts = house.sent("k", &question()).await;
    let pressed = house.fake.press(ANA, &ts, "Items only");
    let crash = async {
        let killed = House::again(&house.fake);
        let lost = killed.receive().await.unwrap();
        drop(killed);
        let next = House::again(&house.fake);
        let again = next.receive().await.unwrap();
        assert_eq!(again, lost);
        next.taken(&again, true);
        // Its connections live as long as it.
        next
    };
    assert_eq!(tokio::join!(pressed, crash).0, Outcome::Taken);
}

#[tokio::test]
async fn a_choice_without_words_can_be_seen() {
    let house = House::listening().await;
    let mut answer = text_button("tok-1", "Answer…");
    if let Some(form) = &mut answer.form {
        form.options = vec![String::new(), " \n".to_owned(), "Yes".to_owned()];
    }
    let ts = house.sent("k", &Message { buttons: vec![answer], ..question() }).await;
    house.fake.press(ANA, &ts, "Answer…").await;
    house.fake.until(|fake| !fake.modals().is_empty()).await;
    assert_eq!(house.fake.submit(ANA, Some(2), "").await, Submitted::Closed);
    assert_eq!(house.received().await.text.as_deref(), Some("Yes"));
}

#[tokio::test]
async fn a_dialog_that_does_not_open_is_told_to_who_pressed() {
    let house = House::listening().await;
    let ts = house.sent("k", &question()).await;
    let payload = house.fake.press_payload(ANA, &ts, "Answer…").unwrap();
    let mut late = payload.clone();
    late["trigger_id"] = "gone".into();
    let slack = for_test(&house.fake);
    let app = &slack.app;
    app.interaction(app.me(Duration::from_secs(5)).await.unwrap(), late).unwrap();
    house.fake.until(|fake| !fake.ephemerals().is_empty()).await;
    assert_eq!(
        house.fake.ephemerals()[0].lines,
        ["The dialog did not open (invalid_trigger_id). Press again."]
    );
}

fn for_test(fake: &Fake) -> Slack {
    let url = url::Url::parse(&fake.api_url()).unwrap();
    let (bot, app) = (Secret::new(BOT_TOKEN), Secret::new(APP_TOKEN));
    let api = Api::new(&url, &bot, Some(&app), CHANNEL).unwrap();
    Slack::new(api, &bot, CHANNEL.to_owned(), Clicks::Socket(app))
}

#[tokio::test]
async fn a_reply_under_a_card_is_an_answer_and_other_talk_is_not() {
    let house = House::listening().await;
    let ts = house.sent("k", &question()).await;
    let said = "<@U0BEN0001> says &lt;items&gt; &amp; <https://a.example/x|maps>";
    house.fake.reply(ANA, &ts, said, json!({})).await;
    let action = house.received().await;
    assert_eq!(action.press, Press::Reply(ChannelHandle(format!("{CHANNEL}:{ts}"))));
    assert_eq!(action.text.as_deref(), Some("@U0BEN0001 says <items> & https://a.example/x"));
    assert_eq!((action.who.as_str(), action.identity.as_deref()), ("ana", Some(ANA)));
    house.notifier.answer(&call("l"), &action, "Sent.", &[]).await.unwrap();
    assert_eq!(house.fake.ephemerals()[0].thread.as_deref(), Some(ts.as_str()));
    // With a file too, whose event tells no workspace.
    let file = json!({"subtype": "file_share", "files": [{"id": "F1"}], "team": null});
    house.fake.reply(BEN, &ts, "as in this picture", file.clone()).await;
    let action = house.received().await;
    assert_eq!(action.text.as_deref(), Some("as in this picture"));
    assert_eq!((action.who.as_str(), action.identity.as_deref()), ("Ben Braun", Some(BEN)));
    for other in [
        json!({"subtype": "file_share", "text": ""}),
        json!({"bot_id": "B0AO00001"}),
        json!({"subtype": "message_changed"}),
        json!({"subtype": "message_deleted"}),
        json!({"user": ao_fakes::slack::BOT}),
        json!({"parent_user_id": BEN}),
        json!({"thread_ts": ""}),
        json!({"type": "reaction_added"}),
        json!({"text": "  "}),
    ] {
        assert_eq!(house.fake.reply(ANA, &ts, "x", other).await, Outcome::Taken);
    }
    house.nothing_more().await;
}

#[tokio::test]
async fn s20_somebody_of_another_workspace_can_press_nothing() {
    let house = House::listening().await;
    let ts = house.sent("k", &question()).await;
    assert_eq!(house.fake.press(EVE, &ts, "Items only").await, Outcome::Taken);
    assert_eq!(house.fake.reply(EVE, &ts, "Items only", json!({})).await, Outcome::Taken);
    house.fake.until(|fake| fake.ephemerals().len() == 2).await;
    assert_eq!(
        house.fake.ephemerals()[0].lines,
        ["Only people of the workspace acme can do this."]
    );
    // Where Slack does not tell, it is looked up; where that is of no use, nobody is let in.
    house.fake.reply(EVE, &ts, "Items only", json!({"team": null})).await;
    house.fake.until(|fake| fake.ephemerals().len() == 3).await;
    house.fake.grant(&["chat:write"]);
    house.fake.reply(BEN, &ts, "Items only", json!({"team": null})).await;
    house.fake.until(|fake| fake.ephemerals().len() == 4).await;
    house.nothing_more().await;
}

#[tokio::test]
async fn s20_what_comes_twice_is_taken_once() {
    let house = House::listening().await;
    house.fake.double();
    let ts = house.sent("k", &question()).await;
    house.fake.press(ANA, &ts, "Items only").await;
    house.fake.reply(ANA, &ts, "yes", json!({})).await;
    assert_eq!(house.received().await.press, Press::Button("tok-1".to_owned()));
    assert!(matches!(house.received().await.press, Press::Reply(_)));
    house.nothing_more().await;
    // Pressed again, it is another press: what that is worth is for the server to say.
    house.fake.press(ANA, &ts, "Items only").await;
    assert_eq!(house.received().await.press, Press::Button("tok-1".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_socket_is_cut_50_times_and_no_press_is_lost_or_doubled() {
    let house = House::listening().await;
    house.fake.double();
    let buttons = vec![plain_button("tok-1", "Items only")];
    let ts = house.sent("k", &Message { buttons, ..question() }).await;
    let (mut taken, mut shown) = (0, 0);
    let done = tokio::sync::Notify::new();
    let receiving = async {
        let mut count = 0;
        loop {
            tokio::select! {
                biased;
                received = house.next() => match received {
                    Ok(_) => count += 1,
                    Err(error) => panic!("{error:?}"),
                },
                () = done.notified() => break,
            }
        }
        // What was acknowledged last may be on its way still.
        while tokio::time::timeout(Duration::from_secs(1), house.next()).await.is_ok() {
            count += 1;
        }
        count
    };
    let pressing = async {
        for round in 0..50 {
            house.fake.connected(1).await;
            let pressed = house.fake.press(ANA, &ts, "Items only");
            let cutting = async {
                // Before, between and after delivery and acknowledgement.
                for _ in 0..round % 7 {
                    tokio::task::yield_now().await;
                }
                house.fake.connected(1).await;
                assert!(house.fake.cut());
            };
            match tokio::join!(pressed, cutting).0 {
                Outcome::Taken => taken += 1,
                Outcome::Error => shown += 1,
            }
        }
        done.notify_one();
    };
    let (received, ()) = tokio::join!(receiving, pressing);
    println!("50 cuts: {taken} presses taken, {shown} with an error shown, {received} received");
    assert!(
        (taken..=taken + shown).contains(&received),
        "{taken} taken, {shown} failed, {received} received"
    );
    assert_eq!(taken + shown, 50);
    assert!(taken >= 25, "{taken} presses taken");
    house.fake.connected(2).await;
}

#[tokio::test]
async fn a_connection_that_slack_ends_is_replaced_before() {
    let house = House::listening().await;
    let ts = house.sent("k", &question()).await;
    for reason in ["warning", "refresh_requested"] {
        let before = house.fake.calls("apps.connections.open");
        assert!(house.fake.end(reason));
        house
            .fake
            .until(|fake| fake.calls("apps.connections.open") > before && fake.sockets() > 2)
            .await;
        house.fake.press(ANA, &ts, "Items only").await;
        assert_eq!(house.received().await.press, Press::Button("tok-1".to_owned()));
        assert!(house.fake.cut());
        house.fake.until(|fake| fake.sockets() == 2).await;
    }
}

#[tokio::test]
async fn while_one_connection_is_open_the_end_of_another_is_no_news() {
    let house = House::listening().await;
    let ts = house.sent("k", &question()).await;
    for reason in ["too_many_websockets", "link_disabled", "too_many_websockets"] {
        let before = house.fake.calls("apps.connections.open");
        assert!(house.fake.end(reason));
        house.fake.until(|fake| fake.sockets() == 1).await;
        house.fake.press(ANA, &ts, "Items only").await;
        assert_eq!(house.received().await.press, Press::Button("tok-1".to_owned()));
        house.fake.until(|fake| fake.calls("apps.connections.open") > before).await;
        house.fake.connected(2).await;
    }
    house.nothing_more().await;
}

#[test]
fn the_pauses_between_attempts_grow() {
    let mut pause = socket::Pause::new();
    let pauses: Vec<_> = (0..9).map(|_| pause.next().as_millis()).collect();
    assert_eq!(pauses, [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
}

#[tokio::test]
async fn an_app_token_that_is_revoked_is_told_once() {
    let fake = Fake::start().await;
    let notifier = build(&json!({
        "botToken": BOT_TOKEN, "appToken": "xapp-1-other", "channel": CHANNEL, "apiUrl": fake.api_url(),
    }))
    .unwrap();
    let error = notifier.receive().await.unwrap_err();
    assert_eq!((error.kind, error.cause.as_str()), (ErrorKind::Permanent, "invalid_auth"));
    assert_eq!(error.remedy.as_deref(), Some("ao notify setup slack"));
    let more = tokio::time::timeout(Duration::from_millis(50), notifier.receive()).await;
    assert!(more.is_err(), "{more:?}");
}

/// A request of Slack's, sent at this time.
fn request(body: &[u8], at: Timestamp) -> HttpRequest {
    HttpRequest { headers: Fake::signed(body, at), body: body.to_vec(), at }
}

#[tokio::test]
async fn s21_only_slacks_own_fresh_requests_are_taken_and_each_once() {
    let house = House::with(json!({"signingSecret": SIGNING_SECRET, "channel": CHANNEL})).await;
    house.serve().await;
    let ts = house.sent("k", &question()).await;
    let status = async |request: HttpRequest| house.notifier.http(request).await.unwrap().status;
    let form = || Fake::form(&house.fake.press_payload(ANA, &ts, "Items only").unwrap());
    let now = Timestamp::now();
    let later = |seconds: i64| Timestamp::from_second(now.as_second() + seconds).unwrap();
    for age in [301, -301] {
        let old = HttpRequest { at: later(age), ..request(&form(), now) };
        assert_eq!(status(old).await, 401, "{age}");
    }
    for name in ["x-slack-signature", "x-slack-request-timestamp"] {
        let mut missing = request(&form(), now);
        missing.headers.retain(|(key, _)| key != name);
        assert_eq!(status(missing).await, 401, "{name}");
        let mut twice = request(&form(), now);
        let again = twice.headers.iter().find(|(key, _)| key == name).unwrap().clone();
        twice.headers.push(again);
        assert_eq!(status(twice).await, 401, "{name}");
    }
    let set = |request: &mut HttpRequest, name: &str, value: &[u8]| {
        request.headers.iter_mut().find(|(key, _)| key == name).unwrap().1 = value.to_vec();
    };
    let good = request(&form(), now);
    let signature = String::from_utf8(good.headers[2].1.clone()).unwrap();
    for wrong in [
        String::new(),
        "v0=".to_owned(),
        signature.replace("v0=", "v1="),
        signature.to_uppercase().replace("V0=", "v0="),
        format!("{signature}00"),
        format!("v0={}", "0".repeat(64)),
        format!("v0={}", "é".repeat(32)),
    ] {
        let mut bad = good.clone();
        set(&mut bad, "x-slack-signature", wrong.as_bytes());
        assert_eq!(status(bad).await, 401, "{wrong}");
    }
    let mut moved = good.clone();
    set(&mut moved, "x-slack-request-timestamp", (now.as_second() + 1).to_string().as_bytes());
    assert_eq!(status(moved).await, 401);
    // The same fields, written in another way.
    let mut other = good.clone();
    other.body = String::from_utf8(other.body).unwrap().replace("%22", "\"").into_bytes();
    assert_eq!(status(other).await, 401);
    house.nothing_more().await;
    for edge in [300, -300] {
        let aged = HttpRequest { at: later(edge), ..request(&form(), now) };
        assert_eq!(status(aged).await, 200, "{edge}");
        assert_eq!(house.received().await.press, Press::Button("tok-1".to_owned()));
    }
    assert_eq!(status(good.clone()).await, 200);
    assert_eq!(house.received().await.identity.as_deref(), Some(ANA));
    assert_eq!(status(good).await, 401, "a replay");
    house.nothing_more().await;
    // By Socket Mode there is no such door.
    assert_eq!(House::new().await.notifier.http(request(&form(), now)).await, None);
}

#[test]
fn s21_the_signature_is_that_of_the_vendors_own_example() {
    let body = b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    assert_eq!(
        ao_fakes::slack::sign("8f742231b10e8888abcd99yyyzzz85a5", "1531420618", body),
        "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
    );
}

#[tokio::test]
async fn by_http_an_address_is_confirmed_a_dialog_corrected_and_an_event_sent_again_taken_once() {
    let house = House::with(json!({"signingSecret": SIGNING_SECRET, "channel": CHANNEL})).await;
    house.serve().await;
    let ts = house.sent("k", &question()).await;
    let now = Timestamp::now();
    let ask = async |body: Vec<u8>, at: i64| {
        let at = Timestamp::from_second(now.as_second() + at).unwrap();
        house.notifier.http(request(&body, at)).await.unwrap()
    };
    let challenge = json!({"type": "url_verification", "token": "x", "challenge": "3eZbrw1a"});
    let answer = ask(challenge.to_string().into_bytes(), 0).await;
    assert_eq!(
        (answer.status, answer.body.as_deref()),
        (200, Some("{\"challenge\":\"3eZbrw1a\"}"))
    );
    assert_eq!(ask(b"{\"type\":".to_vec(), 0).await.status, 400);
    assert_eq!(ask(b"payload=%7B".to_vec(), 0).await.status, 400);
    assert_eq!(ask("[".repeat(100_000).into_bytes(), 0).await.status, 400);
    let press = house.fake.press_payload(ANA, &ts, "Answer…").unwrap();
    assert_eq!(ask(Fake::form(&press), 0).await.status, 200);
    house.fake.until(|fake| !fake.modals().is_empty()).await;
    let (_, empty) = house.fake.submission(ANA, None, "").unwrap();
    let answer = ask(Fake::form(&empty), 0).await;
    assert!(answer.body.unwrap().contains("Choose one, or write something."));
    let (_, filled) = house.fake.submission(ANA, None, "Items only").unwrap();
    assert_eq!(ask(Fake::form(&filled), 0).await, HttpAnswer { status: 200, body: None });
    assert_eq!(house.received().await.text.as_deref(), Some("Items only"));
    let event = house.fake.reply_payload(ANA, &ts, "yes", json!({}));
    for attempt in 0..3 {
        assert_eq!(ask(event.to_string().into_bytes(), attempt).await.status, 200);
    }
    assert!(matches!(house.received().await.press, Press::Reply(_)));
    house.nothing_more().await;
    // What it cannot take it does not confirm: Slack says so to the one who pressed.
    house.fake.behave(Mood::Away).await;
    let fresh = build(&json!({
        "botToken": BOT_TOKEN, "signingSecret": SIGNING_SECRET, "channel": CHANNEL, "apiUrl": house.fake.api_url(),
    })).unwrap();
    assert_eq!(fresh.http(request(&Fake::form(&press), now)).await.unwrap().status, 503);
}

#[tokio::test]
async fn each_refusal_is_the_failure_that_it_means_and_says_what_to_do() {
    let house = House::new().await;
    let handle = house.notifier.send(&call("k"), &question()).await.unwrap().handle.unwrap();
    for (code, kind, remedy) in [
        (
            "channel_not_found",
            ErrorKind::Permanent,
            "/invite @ao in C0AGENTS1, then: ao notify test",
        ),
        ("not_in_channel", ErrorKind::Permanent, "/invite @ao in C0AGENTS1, then: ao notify test"),
        ("is_archived", ErrorKind::Permanent, "unarchive"),
        ("invalid_auth", ErrorKind::Permanent, "ao notify setup slack"),
        ("token_revoked", ErrorKind::Permanent, "ao notify setup slack"),
        ("account_inactive", ErrorKind::Permanent, "ao notify setup slack"),
        ("missing_scope", ErrorKind::Permanent, "add the scope"),
        ("restricted_action_read_only_channel", ErrorKind::Permanent, "ask an administrator"),
        ("msg_too_long", ErrorKind::Permanent, "ao doctor --report"),
        ("something_new", ErrorKind::Permanent, "ao doctor --report"),
        ("ratelimited", ErrorKind::Transient, ""),
        ("service_unavailable", ErrorKind::Transient, ""),
        ("fatal_error", ErrorKind::InDoubt, ""),
        ("internal_error", ErrorKind::InDoubt, ""),
    ] {
        house.fake.behave(Mood::Refusing(code)).await;
        let error = house.notifier.send(&call("l"), &question()).await.unwrap_err();
        assert_eq!((error.kind, error.cause.as_str()), (kind, code), "{error:?}");
        assert!(error.remedy.as_deref().unwrap_or_default().starts_with(remedy), "{error:?}");
        assert_eq!(error.remedy.is_some(), kind == ErrorKind::Permanent, "{error:?}");
        // An edit can be repeated without harm.
        let error = house.notifier.update(&call("m"), &handle, &question()).await.unwrap_err();
        let expected = if kind == ErrorKind::InDoubt { ErrorKind::Transient } else { kind };
        assert_eq!(error.kind, expected, "{error:?}");
    }
    for (status, sent, edited) in [
        (500, ErrorKind::InDoubt, ErrorKind::Transient),
        (502, ErrorKind::InDoubt, ErrorKind::Transient),
        (504, ErrorKind::InDoubt, ErrorKind::Transient),
        (503, ErrorKind::Transient, ErrorKind::Transient),
        (302, ErrorKind::Permanent, ErrorKind::Permanent),
        (404, ErrorKind::Permanent, ErrorKind::Permanent),
        // A page of HTML instead of an answer.
        (200, ErrorKind::InDoubt, ErrorKind::Transient),
    ] {
        house.fake.behave(Mood::Broken(status)).await;
        let send = house.notifier.send(&call("l"), &question()).await.unwrap_err();
        let edit = house.notifier.update(&call("m"), &handle, &question()).await.unwrap_err();
        assert_eq!((send.kind, edit.kind), (sent, edited), "{status}: {send:?} {edit:?}");
        let found = house.notifier.find(&call("n"), "k").await.unwrap();
        assert!(matches!(found, Answer::Unknown(_)), "{status}: {found:?}");
    }
    house.fake.behave(Mood::Busy(30)).await;
    let error = house.notifier.send(&call("l"), &question()).await.unwrap_err();
    assert_eq!((error.kind, error.retry_after_ms), (ErrorKind::Transient, Some(30_000)));
    house.fake.behave(Mood::Well).await;
    let gone = ChannelHandle(format!("{CHANNEL}:1.000000"));
    for handle in [gone, ChannelHandle("n-7".to_owned())] {
        let error = house.notifier.update(&call("l"), &handle, &question()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound, "{error:?}");
    }
}

#[tokio::test]
async fn while_slack_asks_to_be_left_alone_nothing_of_its_own_is_asked() {
    let house = House::new().await;
    let app = for_test(&house.fake).app;
    house.fake.behave(Mood::Busy(30)).await;
    let body = json!({"channel": CHANNEL, "text": "x"});
    for _ in 0..5 {
        app.api.aside("chat.postMessage", &body, Duration::from_secs(5)).await;
    }
    assert_eq!((house.fake.calls("chat.postMessage"), house.fake.early()), (1, 0));
    // Nor what the server asks for; it hears how long.
    let slack = for_test(&house.fake);
    for _ in 0..3 {
        let error = slack.send(&call("k"), &question()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Transient, "{error:?}");
        assert!((1..=30_000).contains(&error.retry_after_ms.unwrap()), "{error:?}");
        assert!(matches!(slack.find(&call("l"), "k").await.unwrap(), Answer::Unknown(_)));
    }
    assert_eq!(house.fake.calls("chat.postMessage"), 2);
    assert_eq!(house.fake.calls("auth.test"), 1);
}

#[tokio::test]
async fn how_long_slack_wants_to_be_left_alone_is_read_in_each_of_its_ways() {
    let house = House::new().await;
    let soon = Timestamp::now() + jiff::SignedDuration::from_secs(60);
    let date = soon.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    for (wait, body) in [
        ("60", "{\"ok\":false,\"error\":\"ratelimited\"}"),
        ("60", "<html>slow down</html>"),
        ("60", ""),
        (date.as_str(), "{\"ok\":false,\"error\":\"ratelimited\"}"),
    ] {
        house.fake.behave(Mood::Limited(wait.to_owned(), body)).await;
        let error = for_test(&house.fake).send(&call("k"), &question()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Transient, "{wait} {body}: {error:?}");
        let wait = error.retry_after_ms.unwrap_or_default();
        assert!((30_000..=60_000).contains(&wait), "{body}: {error:?}");
    }
}

#[tokio::test]
async fn details_stand_in_the_thread_and_their_failure_changes_nothing() {
    let house = House::new().await;
    let log = vec![Block::Text("Its whole log".to_owned()), Block::Code("line\n".repeat(900))];
    let receipt =
        house.notifier.send(&call("k"), &Message { details: log.clone(), ..question() }).await;
    // It is no part of the send, and not in the same second.
    assert_eq!(house.fake.messages().len(), 1);
    house.fake.until(|fake| fake.messages().len() == 2).await;
    let said = house.fake.messages();
    assert_eq!(said[1].thread.as_ref(), Some(&said[0].ts));
    assert!(
        said[1].lines[0].starts_with("Its whole log") && said[1].lines[1].contains("characters")
    );
    assert_eq!(receipt.unwrap().handle, Some(ChannelHandle(format!("{CHANNEL}:{}", said[0].ts))));
    assert!(house.fake.last("chat.postMessage").unwrap().get("reply_broadcast").is_none());
    // Slack takes one message a second: those of two cards do not come at once.
    for key in ["k-2", "k-3"] {
        house
            .notifier
            .send(&call(key), &Message { details: log.clone(), ..question() })
            .await
            .unwrap();
    }
    house.fake.until(|fake| fake.messages().len() == 6).await;
    let said = house.fake.messages();
    assert!(said[5].thread.is_some() && said[4].thread.is_some());
    assert!(said[5].at.duration_since(said[4].at) >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_send_in_doubt_is_found_by_its_key_and_by_nobody_elses() {
    let house = House::new().await;
    let ts = house.sent("k-1", &question()).await;
    for at in 0..250 {
        house.notifier.post(&call(&format!("other-{at}")), "a line").await.unwrap();
    }
    let yes = Answer::Yes(ChannelHandle(format!("{CHANNEL}:{ts}")));
    assert_eq!(house.notifier.find(&call("x"), "k-1").await.unwrap(), yes, "on the second page");
    assert_eq!(house.notifier.find(&call("x"), "k-2").await.unwrap(), Answer::No);
    // A scope of its own is not needed; without the history there is no answer.
    house.fake.grant(&["chat:write"]);
    assert!(matches!(house.notifier.find(&call("x"), "k-1").await.unwrap(), Answer::Unknown(_)));
}

#[tokio::test]
async fn a_channel_is_known_by_its_name_too() {
    let house = House::with(json!({"appToken": APP_TOKEN, "channel": "#agents"})).await;
    // Before the first message only who may list channels knows which it is.
    let unknown = house.notifier.find(&call("x"), "k").await.unwrap();
    assert!(matches!(&unknown, Answer::Unknown(why) if why.contains("#agents")), "{unknown:?}");
    let ts = house.sent("k", &question()).await;
    let yes = Answer::Yes(ChannelHandle(format!("{CHANNEL}:{ts}")));
    assert_eq!(house.notifier.find(&call("x"), "k").await.unwrap(), yes);
    let house = House { notifier: build(&json!({
        "botToken": BOT_TOKEN, "appToken": APP_TOKEN, "channel": "agents", "apiUrl": house.fake.api_url(),
    })).unwrap(), ..house };
    house.fake.grant(&["chat:write", "channels:history", "channels:read"]);
    assert_eq!(house.notifier.find(&call("x"), "k").await.unwrap(), yes);
}

#[tokio::test]
async fn check_looks_at_token_socket_and_channel_and_sends_nothing() {
    let house = House::new().await;
    house.notifier.check(&call("x")).await.unwrap();
    assert_eq!(house.fake.messages(), []);
    for (settings, code) in [
        (
            json!({"botToken": "xoxb-other", "appToken": APP_TOKEN, "channel": CHANNEL}),
            "invalid_auth",
        ),
        (
            json!({"botToken": BOT_TOKEN, "appToken": "xapp-other", "channel": CHANNEL}),
            "invalid_auth",
        ),
        (
            json!({"botToken": BOT_TOKEN, "appToken": APP_TOKEN, "channel": "C0NOWHERE"}),
            "channel_not_found",
        ),
        (
            json!({"botToken": BOT_TOKEN, "appToken": APP_TOKEN, "channel": ao_fakes::slack::ELSEWHERE}),
            "not_in_channel",
        ),
    ] {
        let mut settings = settings;
        settings["apiUrl"] = house.fake.api_url().into();
        let error = build(&settings).unwrap().check(&call("x")).await.unwrap_err();
        assert_eq!((error.kind, error.cause.as_str()), (ErrorKind::Permanent, code));
        assert!(error.remedy.is_some(), "{error:?}");
    }
}

#[tokio::test]
async fn setup_looks_at_each_thing_at_once() {
    let fake = Fake::start().await;
    let url = fake.api_url();
    let (api, bot, app) = (Some(url.as_str()), Secret::new(BOT_TOKEN), Secret::new(APP_TOKEN));
    setup::check_app_token(api, &app).await.unwrap();
    let workspace = setup::check_bot_token(api, &bot).await.unwrap();
    assert_eq!((workspace.name.as_str(), workspace.bot.as_str()), ("acme", "ao"));
    // Mixed up, misspelt, of another app.
    for (token, cause) in
        [(&app, "begins with `xoxb-`"), (&Secret::new("xoxb-1-other"), "invalid_auth")]
    {
        let error = setup::check_bot_token(api, token).await.unwrap_err();
        assert!(error.cause.contains(cause) && error.remedy.is_some(), "{error:?}");
    }
    let error = setup::check_app_token(api, &bot).await.unwrap_err();
    assert!(error.cause.contains("begins with `xapp-`"), "{error:?}");
    let by_id = setup::check_channel(api, &bot, CHANNEL).await.unwrap().unwrap();
    assert_eq!(by_id.id, CHANNEL);
    assert_eq!(setup::check_channel(api, &bot, "#agents").await.unwrap(), None);
    fake.grant(&["chat:write", "channels:history", "channels:read"]);
    let by_name = setup::check_channel(api, &bot, "#agents").await.unwrap().unwrap();
    assert_eq!((by_name.id.as_str(), by_name.name.as_str()), (CHANNEL, "agents"));
    for (channel, code) in [
        ("#elsewhere", "not_in_channel"),
        ("#nowhere", "channel_not_found"),
        ("C0NOWHERE", "channel_not_found"),
    ] {
        let error = setup::check_channel(api, &bot, channel).await.unwrap_err();
        assert_eq!((error.kind, error.cause.as_str()), (ErrorKind::Permanent, code));
        assert!(error.remedy.unwrap().contains("/invite @ao"), "{channel}");
    }
    fake.grant(&["chat:write"]);
    let error = setup::check_channel(api, &bot, CHANNEL).await.unwrap_err();
    assert!(error.remedy.unwrap().contains("channels:history"));
    fake.behave(Mood::Away).await;
    assert_eq!(setup::check_bot_token(api, &bot).await.unwrap_err().kind, ErrorKind::Transient);
}

#[test]
fn the_manifest_asks_for_no_more_than_is_used() {
    insta::assert_snapshot!("manifest", setup::manifest(false));
    let direct: Value = serde_json::from_str(&setup::manifest(true)).unwrap();
    let scopes = direct.pointer("/oauth_config/scopes/bot").unwrap().to_string();
    assert!(scopes.contains("im:write") && scopes.contains("im:history"), "{scopes}");
    let home = json!({"messages_tab_enabled": true, "messages_tab_read_only_enabled": false});
    assert_eq!(direct.pointer("/features/app_home"), Some(&home), "or nobody can answer there");
}

#[tokio::test]
async fn an_incoming_webhook_sends_links_and_says_that_it_can_do_no_more() {
    let fake = Fake::start().await;
    let notifier =
        build(&json!({"webhook": fake.webhook_url(), "channel": "#agents", "allowPrivate": true}))
            .unwrap();
    let can = notifier.capabilities();
    assert!(
        !can.buttons && !can.edits && !can.replies && !can.finds && can.least == Priority::Action
    );
    notifier.send(&call("k"), &question()).await.unwrap();
    notifier.post(&call("l"), "a line").await.unwrap();
    let said = fake.messages();
    assert!(
        said[0].lines.iter().any(|line| line == "Open <https://ao.example.org/s/app-3>"),
        "{said:?}"
    );
    assert!(!said[0].blocks.to_string().contains("tok-"), "{said:?}");
    assert_eq!(said[1].lines, ["a line"]);
    for (code, kind) in [
        ("no_service", ErrorKind::Permanent),
        ("channel_is_archived", ErrorKind::Permanent),
        ("action_prohibited", ErrorKind::Permanent),
        ("rate_limited", ErrorKind::Transient),
    ] {
        fake.behave(Mood::Refusing(code)).await;
        let error = notifier.send(&call("k"), &question()).await.unwrap_err();
        assert_eq!(error.kind, kind, "{error:?}");
    }
    fake.behave(Mood::Busy(7)).await;
    let error = notifier.send(&call("k"), &question()).await.unwrap_err();
    assert_eq!((error.kind, error.retry_after_ms), (ErrorKind::Transient, Some(7_000)));
}

#[tokio::test]
async fn s16_an_incoming_webhook_leads_to_no_private_address_unless_it_is_meant_to() {
    let fake = Fake::start().await;
    let at = fake.webhook_url();
    for private in [
        "https://127.0.0.1/services/x",
        "https://0x7f.1/services/x",
        "https://[::1]/services/x",
        "https://[::ffff:10.0.0.1]/services/x",
        "https://169.254.169.254/services/x",
        "https://10.0.0.1/services/x",
        &at.replacen("http:", "https:", 1),
    ] {
        let error = (registration().check)(&json!({"webhook": private})).unwrap_err();
        assert_eq!(error.remedy.as_deref(), Some(ao_sdk::http::REMEDY), "{private}: {error:?}");
    }
    // A name is known for what it is once it is looked up.
    let named = at.replacen("http:", "https:", 1).replacen("127.0.0.1", "localhost", 1);
    let notifier = build(&json!({"webhook": named})).unwrap();
    let error = notifier.send(&call("k"), &question()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Permanent, "{error:?}");
    assert_eq!(error.remedy.as_deref(), Some(ao_sdk::http::REMEDY));
    assert_eq!(fake.all_calls(), 0);
    let notifier = build(&json!({"webhook": at, "allowPrivate": true})).unwrap();
    notifier.send(&call("k"), &question()).await.unwrap();
}

#[tokio::test]
async fn s32_no_secret_is_in_an_error_in_debug_output_or_in_the_account() {
    let fake = Fake::start().await;
    let mut texts = Vec::new();
    for settings in [
        json!({"botToken": BOT_TOKEN, "appToken": APP_TOKEN, "channel": CHANNEL, "apiUrl": fake.api_url()}),
        json!({"webhook": fake.webhook_url(), "allowPrivate": true}),
    ] {
        let parsed: Settings = plugin::settings(NAME, &settings).unwrap();
        texts.push(format!("{parsed:?}"));
        let notifier = build(&settings).unwrap();
        texts.push(format!("{notifier:?} {:?}", notifier.capabilities()));
        for mood in [
            Mood::Refusing("invalid_auth"),
            Mood::Broken(500),
            Mood::Broken(404),
            Mood::Busy(1),
            Mood::Silent,
            Mood::Away,
        ] {
            fake.behave(mood).await;
            let short = Call::new("k", Duration::from_millis(300));
            texts.push(format!("{:?}", notifier.send(&short, &question()).await.unwrap_err()));
            texts.push(format!("{:?}", notifier.check(&short).await));
            texts.push(format!("{:?}", notifier.find(&short, "k").await));
        }
        fake.behave(Mood::Well).await;
    }
    for settings in [
        json!({"botToken": "hush", "appToken": "hush", "channel": "#a"}),
        json!({"botToken": "xoxb-1-hush", "appToken": "xoxb-hush", "channel": "#a"}),
        json!({"webhook": "http://hooks.example.org/hush"}),
        json!({"webhook": "hush"}),
    ] {
        texts.push(format!("{:?}", (registration().check)(&settings).unwrap_err()));
    }
    for text in texts {
        let text = text.replace("Bad gateway at hush", "");
        assert!(!text.contains("hush"), "{text}");
    }
}

#[test]
fn settings_are_checked_by_text_alone() {
    for (settings, what, remedy) in [
        (json!({}), "`botToken`", "ao notify setup slack"),
        (json!({"botToken": "xoxb-1"}), "`channel`", "#agents"),
        (json!({"botToken": "xoxb-1", "channel": "#"}), "`channel`", "#agents"),
        (json!({"botToken": "xoxb-1", "channel": "the agents"}), "`channel`", "#agents"),
        (
            json!({"botToken": "xoxb-1", "channel": "#agents"}),
            "`appToken`",
            "ao notify setup slack",
        ),
        (
            json!({"appToken": "xapp-1", "channel": "#agents"}),
            "`botToken`",
            "ao notify setup slack",
        ),
        (
            json!({"botToken": "xoxp-1", "appToken": "xapp-1", "channel": "#a"}),
            "`botToken`",
            "setup",
        ),
        (
            json!({"botToken": "xoxb-1", "appToken": "xoxb-1", "channel": "#a"}),
            "`appToken`",
            "setup",
        ),
        (
            json!({"botToken": "xoxb-1\r\nx: y", "appToken": "xapp-1", "channel": "#a"}),
            "`botToken`",
            "setup",
        ),
        (
            json!({"botToken": "xoxb-1", "appToken": "xapp-1", "signingSecret": "s", "channel": "#a"}),
            "`signingSecret`",
            "Socket Mode",
        ),
        (
            json!({"botToken": "xoxb-1", "signingSecret": " ", "channel": "#a"}),
            "`signingSecret`",
            "setup",
        ),
        (
            json!({"botToken": "xoxb-1", "webhook": "https://a.example/"}),
            "`webhook`",
            "remove `webhook`",
        ),
        (json!({"webhook": "http://a.example/"}), "`webhook`", "https://"),
        (json!({"webhook": "file:///etc/passwd"}), "`webhook`", "https://"),
        (
            json!({"botToken": "xoxb-1", "appToken": "xapp-1", "channel": "#a", "apiUrl": "http://a.example"}),
            "`apiUrl`",
            "https://",
        ),
        (
            json!({"botToken": "xoxb-1", "appToken": "xapp-1", "channel": "#a", "apiUrl": "http://10.0.0.1"}),
            "`apiUrl`",
            "https://",
        ),
    ] {
        let error = (registration().check)(&settings).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Permanent, "{settings}");
        assert!(error.what.contains(what), "{settings}: {error:?}");
        assert!(error.remedy.clone().unwrap_or_default().contains(remedy), "{settings}: {error:?}");
    }
    let error = (registration().check)(&json!({"botTokn": "x"})).unwrap_err();
    assert!(error.cause.contains("unknown field `botTokn`"), "{error:?}");
    for good in [
        json!({"botToken": "xoxb-1-a", "appToken": "xapp-1-a", "channel": "#agents"}),
        json!({"botToken": "xoxb-1-a", "signingSecret": "s", "channel": OLD}),
        json!({"botToken": "xoxb-1-a", "signingSecret": "s", "channel": "#a", "apiUrl": "http://[::1]:1/api"}),
        json!({"webhook": "https://hooks.slack.com/services/T/B/x", "channel": "#agents"}),
    ] {
        assert_eq!((registration().check)(&good), Ok(()), "{good}");
    }
}

#[test]
fn what_was_said_is_read_without_markup() {
    for (from, to) in [
        ("a &lt;b&gt; &amp;amp; c", "a <b> &amp; c"),
        ("<@U1> <#C1|agents> <!here>", "@U1 agents !here"),
        ("<https://a.example|b> <mailto:a@b.example|a>", "https://a.example a"),
        ("a < b", "a < b"),
        ("  x\n", "x"),
    ] {
        assert_eq!(incoming::legible(from), to);
    }
}
