//! The plugin against a fake of the channel.

use ao_conformance::{
    context,
    notifier::{self as suite, FarEnd, Mood, Shown, book, call, message, plain_button},
};
use ao_fakes::discord::{self as fake};
use ao_slots::{
    notifier::{Block, Button, Mark},
    text::length,
};
use serde_json::{Value, json};

use super::*;

/// A bucket that nobody empties.
const WIDE: (u32, Duration) = (1000, Duration::from_secs(1));

fn build(settings: &Value) -> Result<Arc<dyn Notifier>, PluginError> {
    (registration().build)(settings, &context::nowhere())
}

struct Channel {
    server: fake::Server,
    notifier: Arc<dyn Notifier>,
}

impl Channel {
    fn start(bucket: (u32, Duration)) -> Self {
        let server = fake::Server::start(bucket).unwrap();
        let notifier = build(&json!({"url": server.url(), "allowPrivate": true})).unwrap();
        Self { server, notifier }
    }

    async fn send(&self, message: &Message) -> fake::Post {
        self.notifier.send(&call("k"), message).await.unwrap();
        self.server.posts().pop().unwrap()
    }

    async fn refused(&self, mood: fake::Mood) -> PluginError {
        // A rest that was asked for is kept; a new one has not heard of it.
        let fresh = build(&json!({"url": self.server.url(), "allowPrivate": true})).unwrap();
        self.server.behave(mood);
        fresh.send(&call("k"), &message(1)).await.unwrap_err()
    }
}

#[async_trait]
impl FarEnd for Channel {
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
            // The rest that is asked for must be over when it is well again.
            Mood::Busy => fake::Mood::Busy(0.0, false),
            Mood::Refusing => fake::Mood::Refusing(404, 10015),
        });
        true
    }

    async fn shown(&self) -> Vec<Shown> {
        let open = |post: &fake::Post| !post.content.starts_with('✓');
        let posts = self.server.posts().into_iter().filter(open);
        posts
            .map(|p| Shown { title: p.content, body: format!("{}\n{}", p.body, p.footer) })
            .collect()
    }

    async fn tries(&self) -> usize {
        self.server.tries()
    }

    async fn buzzes(&self) -> usize {
        self.server.buzzes()
    }

    async fn press(&self, _: &str) {
        panic!("a webhook has no buttons");
    }
}

#[tokio::test]
async fn the_contract_holds() {
    suite::all(async || Channel::start(WIDE)).await;
}

#[tokio::test]
async fn a_message_has_its_facts_its_links_and_its_command() {
    let channel = Channel::start(WIDE);
    let with = |button: Button, link: &str| Button { link: Some(link.to_owned()), ..button };
    let text = Message {
        link: Some("https://ao.example/s/app-3".into()),
        mention: Some("80351110224678912".into()),
        buttons: vec![
            with(plain_button("one", "Items [only]"), "https://ao.example/a/1"),
            plain_button("two", "Items and shipping"),
            with(plain_button("three", "Bad"), "https://ao.example/<@1>"),
        ],
        ..message(1)
    };
    let post = channel.send(&text).await;
    assert_eq!(post.content, "▲ app-3 asks question 1: Coupon on shipping?");
    assert_eq!(
        post.body,
        "Should a coupon also apply to shipping?\nTried: nothing, only you can answer.\nItems [only]"
    );
    assert_eq!(post.footer, "my-app · app-3 · i-1 · or: ao answer app-3 \"…\"");
    assert_eq!(post.called, ["80351110224678912"]);
    assert_eq!(post.links, ["https://ao.example/s/app-3", "https://ao.example/a/1"]);
    assert!(!post.silent);
    // Edited, it calls nobody anew and keeps its place.
    let handle = channel.notifier.send(&call("k2"), &text).await.unwrap().handle.unwrap();
    let title = "app-3 got its answer".to_owned();
    let settled =
        Message { mark: Mark::Settled, title, buttons: vec![], link: None, quiet: true, ..text };
    channel.notifier.resolve(&call("k2-r2"), &handle, &settled).await.unwrap();
    let post = channel.server.posts().pop().unwrap();
    assert_eq!((post.content.as_str(), post.edited), ("✓ app-3 got its answer", true));
    assert_eq!(channel.server.posts().len(), 2);
}

#[tokio::test]
async fn s15_text_of_others_mentions_nobody_draws_nothing_and_leads_nowhere() {
    let channel = Channel::start(WIDE);
    let hostile = [
        "@everyone @here <@80351110224678912> <@&1> <#2> <:x:3> <t:1> </merge:4>",
        "[Merge](https://evil.example) <https://evil.example|merge> https://evil.example/x",
        "**b** *i* __u__ ~~s~~ ||spoiler|| `code` \\* \\@everyone \\",
        "# heading\n- item\n* item\n> quote\n>>> quote\n-# small\n1. one\n``` block",
    ];
    for text in hostile {
        let blocks =
            vec![Block::Text(text.into()), Block::Quote(text.into()), Block::Code(text.into())];
        let sent = Message {
            title: text.into(),
            body: blocks,
            meta: vec![text.into()],
            mention: Some("1> @everyone <@2".into()),
            ..message(1)
        };
        let post = channel.send(&sent).await;
        let line = ao_slots::text::one_line(text);
        let title: String = line.chars().take(60).collect();
        assert!(post.content.starts_with(&format!("▲ {title}")), "{post:?}");
        assert!(post.body.contains(&line), "{line}\n{post:?}");
        assert_eq!((&post.called, &post.links), (&vec![], &vec![]), "{text}");
        assert!(!post.content.contains("[markup]"), "{post:?}");
    }
    channel
        .notifier
        .post(&call("p"), "@everyone: <@80351110224678912> https://evil.example")
        .await
        .unwrap();
    let post = channel.server.posts().pop().unwrap();
    assert_eq!((post.called.len(), post.links.len(), post.silent), (0, 0, true));
}

#[tokio::test]
async fn an_empty_bucket_is_not_asked_before_it_is_full_again() {
    let channel = Channel::start((2, Duration::from_secs(3600)));
    for key in ["a", "b"] {
        channel.notifier.send(&call(key), &message(1)).await.unwrap();
    }
    for _ in 0..5 {
        let error = channel.notifier.send(&call("c"), &message(1)).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Transient);
        assert!(error.retry_after_ms.is_some_and(|wait| wait > 3_000_000), "{error:?}");
    }
    assert_eq!(channel.server.tries(), 2, "no request while the bucket is empty");
}

#[tokio::test]
async fn during_a_rest_that_was_asked_for_nothing_is_asked() {
    let channel = Channel::start(WIDE);
    channel.server.behave(fake::Mood::Busy(64.57, true));
    let error = channel.notifier.send(&call("k"), &message(1)).await.unwrap_err();
    // The header says whole seconds, the body the fraction: whichever is later holds.
    assert_eq!(error.retry_after_ms, Some(65_000));
    channel.server.behave(fake::Mood::Well);
    for _ in 0..5 {
        let error = channel.notifier.send(&call("k"), &message(1)).await.unwrap_err();
        assert!(error.retry_after_ms.is_some_and(|wait| wait > 60_000), "{error:?}");
    }
    assert_eq!(channel.server.tries(), 1);
}

#[tokio::test]
async fn each_refusal_is_the_failure_that_it_means() {
    let channel = Channel::start(WIDE);
    for (mood, expected) in [
        (fake::Mood::Busy(1.25, false), Some(2_000)),
        (fake::Mood::Refusing(500, 0), None),
        (fake::Mood::Page(503, None), None),
        (fake::Mood::Page(429, Some("120".into())), Some(120_000)),
    ] {
        let error = channel.refused(mood.clone()).await;
        assert_eq!(
            (error.kind, error.retry_after_ms),
            (ErrorKind::Transient, expected),
            "{mood:?}"
        );
    }
    for (mood, remedy) in [
        (fake::Mood::Refusing(404, 10015), "webhook is gone"),
        (fake::Mood::Refusing(401, 50027), "webhook is gone"),
        (fake::Mood::Refusing(403, 50013), "let the webhook write"),
        (fake::Mood::Refusing(404, 10003), "thread is gone"),
        (fake::Mood::Refusing(400, 220_001), "text channel"),
        (fake::Mood::Refusing(400, 50035), "doctor"),
        (fake::Mood::Page(302, None), "redirects"),
        (fake::Mood::Page(200, None), "something else answers"),
    ] {
        let error = channel.refused(mood.clone()).await;
        assert_eq!(error.kind, ErrorKind::Permanent, "{mood:?}");
        assert!(error.remedy.as_deref().unwrap().contains(remedy), "{error:?}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_leaves_a_send_in_doubt() {
    let channel = Channel::start(WIDE);
    let error = channel.refused(fake::Mood::Half).await;
    assert_eq!((error.kind, channel.server.posts().len()), (ErrorKind::InDoubt, 1), "{error:?}");
}

#[tokio::test]
async fn too_many_edits_of_one_message_do_not_rest_the_channel() {
    let channel = Channel::start(WIDE);
    let handle = channel.notifier.send(&call("k"), &message(1)).await.unwrap().handle.unwrap();
    for status in [400, 429] {
        channel.server.behave(fake::Mood::Refusing(status, 30046));
        let error = channel.notifier.update(&call("k-r2"), &handle, &message(1)).await.unwrap_err();
        assert_eq!((error.kind, error.retry_after_ms), (ErrorKind::Unsupported, None), "{status}");
        channel.server.behave(fake::Mood::Well);
        channel.notifier.send(&call("l"), &message(2)).await.unwrap();
    }
}

#[tokio::test]
async fn a_thread_that_the_address_names_is_written_to() {
    let server = fake::Server::start(WIDE).unwrap();
    let with = |thread: &str| json!({"url": format!("{}?thread_id={thread}", server.url()), "allowPrivate": true});
    let notifier = build(&with(fake::THREAD)).unwrap();
    notifier.check(&call("look")).await.unwrap();
    let handle = notifier.send(&call("k"), &message(1)).await.unwrap().handle.unwrap();
    notifier.update(&call("k-r2"), &handle, &message(1)).await.unwrap();
    notifier.post(&call("p"), "A line.").await.unwrap();
    let posts = server.posts();
    assert!(posts[0].edited && posts.len() == 2, "{posts:?}");
    assert!(posts.iter().all(|post| post.thread.as_deref() == Some(fake::THREAD)), "{posts:?}");
    let error = build(&with("1")).unwrap().send(&call("k"), &message(1)).await.unwrap_err();
    assert!(error.remedy.unwrap().contains("thread_id"));
    let error = (registration().check)(&with("a&b")).unwrap_err();
    assert!(error.cause.contains("thread_id"), "{error:?}");
}

#[tokio::test]
async fn a_message_that_was_deleted_is_not_found() {
    let channel = Channel::start(WIDE);
    let handle = channel.notifier.send(&call("k"), &message(1)).await.unwrap().handle.unwrap();
    channel.server.clear();
    let error = channel.notifier.update(&call("k-r2"), &handle, &message(1)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
}

#[tokio::test]
async fn a_look_sends_nothing() {
    let channel = Channel::start(WIDE);
    channel.notifier.check(&call("look")).await.unwrap();
    assert_eq!(channel.server.tries(), 0);
    let gone = channel.server.url().replace("/2237", "/9999");
    let notifier = build(&json!({"url": gone, "allowPrivate": true})).unwrap();
    let error = notifier.check(&call("look")).await.unwrap_err();
    assert!(error.remedy.unwrap().contains("webhook is gone"));
}

#[tokio::test]
async fn s32_no_error_and_no_debug_output_holds_the_address() {
    let channel = Channel::start(WIDE);
    let mut texts =
        vec![format!("{:?}", channel.notifier), channel.notifier.capabilities().account];
    for status in [302, 404, 500] {
        texts.push(format!("{:?}", channel.refused(fake::Mood::Page(status, None)).await));
    }
    channel.server.away();
    texts.push(format!("{:?}", channel.notifier.send(&call("k"), &message(1)).await.unwrap_err()));
    let settings = json!({"url": channel.server.url()});
    texts.push(format!("{:?}", plugin::settings::<Settings>(NAME, &settings).unwrap()));
    texts.push(format!("{:?}", (registration().check)(&settings).unwrap_err()));
    for text in texts {
        assert!(!text.contains(channel.server.token()), "{text}");
    }
}

#[test]
fn settings_are_checked_by_text_alone() {
    let good = "https://discord.com/api/webhooks/223704706495545344/abc-DEF_1";
    for (url, problem) in [
        ("", "relative URL"),
        ("http://discord.com/api/webhooks/1/a", "https"),
        ("https://discord.com/channels/1/2", "not that of a webhook"),
        ("https://discord.com/api/webhooks/x/abc", "not that of a webhook"),
        ("https://discord.com/api/webhooks/1/a%20b", "not that of a webhook"),
        ("https://discord.com/api/webhooks/1/abc/slack", "another service"),
        ("https://169.254.169.254/api/webhooks/1/a", "not a public address"),
        ("https://[::1]/api/webhooks/1/a", "not a public address"),
    ] {
        let error = (registration().check)(&json!({"url": url})).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Permanent, "{url}");
        assert!(error.cause.contains(problem), "{url}: {error:?}");
    }
    let error = (registration().check)(&json!({"url": good, "uri": ""})).unwrap_err();
    assert!(error.cause.contains("unknown field"));
    for url in [good, "https://discord.com/api/v9/webhooks/1/a?wait=false"] {
        let settings: Settings = plugin::settings(NAME, &json!({"url": url})).unwrap();
        let target = settings.target().unwrap();
        assert!(target.url.as_str().starts_with("https://discord.com/api/v10/webhooks/"));
        assert_eq!(target.url.query(), None);
    }
}

#[tokio::test]
async fn golden_each_kind_of_message_in_a_channel() {
    let channel = Channel::start(WIDE);
    for (kind, messages) in book(ChannelKind::Chat) {
        let mut pages = String::new();
        for (what, message) in messages {
            let post = channel.send(&message).await;
            let body: String = post.body.lines().map(|line| format!("  {line}\n")).collect();
            let silent = if post.silent { " (silent)" } else { "" };
            let page = format!("{}{silent}\n{body}  {}\n", post.content, post.footer);
            pages.push_str(&format!("── {what}\n{page}\n"));
        }
        insta::assert_snapshot!(kind, pages);
    }
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(48))]
    #[test]
    fn limits_hold_whatever_the_text(
        title in "\\PC{0,300}", quote in "(?s).{0,3000}", log in "(?s).{0,3000}",
        many in "(\\*|_|👩‍👩‍👧|é|\n|`){0,2500}", links in 0usize..8,
    ) {
        let button = Button { link: Some(format!("https://a.example/{}", "x".repeat(490))), ..plain_button("b", &many) };
        let text = Message {
            title: title.clone(),
            body: vec![Block::Quote(quote.clone()), Block::Code(log.clone()), Block::Text(many.clone()), Block::List(vec![many.clone(); 3])],
            link: Some(format!("https://a.example/{}", "x".repeat(490))),
            mention: Some("80351110224678912".into()),
            meta: vec![quote, log],
            buttons: vec![button; links],
            ..message(1)
        };
        let post = text::post(&text, false);
        let units = |text: &str| text.encode_utf16().count();
        let embed = &post.embeds[0];
        proptest::prop_assert!(units(&post.content) <= 2000);
        proptest::prop_assert!(!embed.description.is_empty());
        proptest::prop_assert!(units(&embed.description) <= 4096, "{}", units(&embed.description));
        proptest::prop_assert!(length(&embed.footer.as_ref().unwrap().text) <= 300);
    }
}
