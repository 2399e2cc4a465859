//! The plugin against a real mail server on this machine.

mod far;

use ao_conformance::{
    context::{self, INSTANCE},
    notifier::{self as suite, Mood, call, message},
};
use ao_slots::{
    ErrorKind, IncidentId,
    fact::Priority,
    notifier::{Block, Button, ButtonStyle},
};
use serde_json::{Value, json};

use self::far::{MailServer, Parsed};
use super::*;

fn build(settings: &Value) -> Result<Arc<dyn Notifier>, PluginError> {
    (registration().build)(settings, &context::nowhere())
}

fn button(label: &str, link: &str) -> Button {
    Button { link: Some(link.to_owned()), ..suite::plain_button("token-of-the-button", label) }
}

/// As the core asks with an address that can be reached.
fn question() -> Message {
    Message {
        buttons: vec![
            button("Items only", "https://ao.example/c/a1"),
            button("Items and shipping", "https://ao.example/c/a2"),
            Button { more: true, ..button("Snooze 1 h", "https://ao.example/c/a3") },
            Button {
                more: true,
                style: ButtonStyle::Danger,
                ..button("Kill…", "https://ao.example/c/a4")
            },
            suite::plain_button("token-without-a-page", "Open"),
        ],
        link: Some("https://ao.example/s/app-3#i-1".to_owned()),
        details: vec![Block::Text("Its screen:".into()), Block::Code("> 1\n  2".into())],
        ..message(1)
    }
}

#[tokio::test]
async fn the_contract_holds() {
    suite::all(async || MailServer::start("none")).await;
}

#[tokio::test]
async fn r32_a_mail_sent_again_is_the_same_mail_in_the_thread_of_its_incident() {
    let server = MailServer::start("none");
    for _ in 0..2 {
        server.notifier.send(&call("ABC-17"), &question()).await.unwrap();
    }
    server.notifier.send(&call("ABC-18"), &Message { revision: 2, ..question() }).await.unwrap();
    let other = Message { incident: Some(IncidentId(2)), ..question() };
    server.notifier.send(&call("ABC-19"), &other).await.unwrap();
    let mails = server.mails();
    let of = |name: &str| mails.iter().map(|mail| mail.header(name)).collect::<Vec<_>>();
    let ids = ["ABC-17", "ABC-17", "ABC-18", "ABC-19"].map(|key| format!("<{key}.ao@example.org>"));
    assert_eq!(of("message-id"), ids);
    let threads = [1, 1, 1, 2]
        .map(|incident| format!("<i-{incident}.{}.ao@example.org>", INSTANCE.to_lowercase()));
    assert_eq!(of("references"), threads);
    assert_eq!(of("in-reply-to"), threads);
    assert_eq!((&mails[0].text, &mails[0].html), (&mails[1].text, &mails[1].html));
}

#[tokio::test]
async fn the_headers_say_who_what_and_that_a_machine_wrote_it() {
    let server = MailServer::start("none");
    server.notifier.send(&call("k"), &question()).await.unwrap();
    server.notifier.post(&call("l"), "A line.").await.unwrap();
    let quiet = Message { quiet: true, project: None, ..question() };
    server.notifier.send(&call("m"), &quiet).await.unwrap();
    let mails = server.mails();
    for (name, value) in [
        ("from", "\"ao (my-app)\" <ao@example.org>"),
        ("to", "ana@example.org, Ben <ben@example.org>"),
        ("reply-to", "team@example.org"),
        ("subject", "app-3 asks question 1: Coupon on shipping? · my-app"),
        ("list-id", "<my-app.ao.example.org>"),
        ("auto-submitted", "auto-generated"),
        ("x-auto-response-suppress", "All"),
        ("importance", "high"),
    ] {
        assert_eq!(mails[0].header(name), value, "{name}");
    }
    assert_eq!(
        (mails[1].header("from"), mails[1].header("subject")),
        ("ao <ao@example.org>", "A line.")
    );
    assert!(mails[1].headers.iter().all(|(name, _)| name != "References" && name != "Importance"));
    assert_eq!(mails[2].header("importance"), "low");
    let said = server.said();
    assert_eq!(
        said[..3],
        ["MAIL ao@example.org", "RCPT ana@example.org", "RCPT ben@example.org"].map(str::to_owned)
    );
}

/// The words of the text part but for what only it has: links that a human reads, and the signs of quotes and lists.
fn words(mail: &Parsed) -> Vec<&str> {
    let lines = mail.text.lines().filter(|line| !line.starts_with("http") && *line != "-- ");
    let bare = lines.map(|line| {
        let line = line.strip_prefix("> ").or_else(|| line.strip_prefix("- ")).unwrap_or(line);
        line.trim()
    });
    bare.flat_map(str::split_whitespace).collect()
}

fn says_the_same(mail: &Parsed) {
    // Only the text part has a colon after a label.
    let bare = |word: &str| word.trim_end_matches(':').to_owned();
    let plain: Vec<String> = words(mail).into_iter().map(bare).collect();
    let html: Vec<String> = mail.words.iter().map(|word| bare(word)).collect();
    assert_eq!(plain, html, "{}", mail.header("subject"));
}

#[test]
fn golden_each_kind_of_message_as_a_reader_gets_it() {
    let server = MailServer::start("none");
    for (kind, messages) in suite::book(ChannelKind::Mail) {
        let made: Vec<Page> = messages.iter().map(|(_, message)| Page::of(message)).collect();
        let parsed = server.parse(&made.iter().map(|page| compose("k", page)).collect::<Vec<_>>());
        let mut pages = String::new();
        for ((what, _), mail) in messages.iter().zip(&parsed) {
            says_the_same(mail);
            assert!(mail.html.len() <= 18 * 1024, "{what}: {} bytes", mail.html.len());
            let (subject, hidden, text) = (mail.header("subject"), &mail.hidden, &mail.text);
            pages.push_str(&format!("── {what}\n{subject}\n({hidden})\n\n{text}"));
        }
        insta::assert_snapshot!(kind, pages);
    }
}

/// Mails of each make.
fn samples() -> Vec<(&'static str, Message)> {
    let permission = Message {
        title: "app-3 wants to run: npm publish --dry-run".into(),
        short: "npm publish --dry-run in packages/core".into(),
        body: vec![
            Block::Code("npm publish --dry-run --access public".into()),
            Block::Text("in packages/core".into()),
            Block::Text("The agent says: \"check the package contents\"".into()),
            Block::Text("Careful: it sends data to the network.".into()),
            Block::Text("Not on the allowed list of my-app.".into()),
        ],
        buttons: vec![
            button("Approve once", "https://ao.example/c/b1"),
            button("Deny", "https://ao.example/c/b2"),
            button("Deny with reason…", "https://ao.example/c/b3"),
            button("Open", "https://ao.example/s/app-3#i-1"),
        ],
        command: Some("ao approve app-3 r-7".into()),
        meta: ["my-app", "app-3", "#41", "claude-code", "i-1"].map(str::to_owned).into(),
        details: vec![],
        ..question()
    };
    let storm = Message {
        title: "4 of 20 agents did not come back: the tmux server died".into(),
        short: "api-4, api-9, app-2…3. Work is safe.".into(),
        body: vec![
            Block::Text("Since 14:31:07, one cause.".into()),
            Block::Text("api-1…10, app-1…10".into()),
            Block::Text("Work is safe: no workspace was touched.".into()),
            Block::Text("Tried: 16 of 20 brought back.".into()),
            Block::Text("api-4: its worktree is gone.".into()),
            Block::Text("api-9: claude-code exited with code 1.".into()),
            Block::Text("app-2: claude-code exited with code 1.".into()),
            Block::Text("app-3: it did not start within 30 s.".into()),
        ],
        buttons: vec![
            Button {
                style: ButtonStyle::Primary,
                ..button("Restore 4", "https://ao.example/c/d1")
            },
            button("Open", "https://ao.example/incidents/i-9"),
            Button { more: true, ..button("Snooze 1 h", "https://ao.example/c/d2") },
        ],
        command: Some("ao session restore --all-lost".into()),
        meta: ["my-app", "api", "i-9"].map(str::to_owned).into(),
        details: vec![
            Block::Text("What tmux said last".into()),
            Block::Code("server exited unexpectedly\nlost server".into()),
        ],
        session: None,
        ..question()
    };
    let rows = |rows: &[&str]| Block::List(rows.iter().map(|row| (*row).to_owned()).collect());
    let digest = Message {
        kind: "digest".into(),
        incident: None,
        priority: Priority::Info,
        mark: ao_slots::notifier::Mark::Finished,
        title: "12 finished, 1 wants you, 3 handled without you · Fri 08:00".into(),
        short: "app-3 asks: Should a coupon also apply to shipping?".into(),
        body: vec![
            Block::Text("Wants you".into()),
            rows(&["app-3 asks: Should a coupon also apply to shipping? · since 07:28"]),
            Block::Text("Finished".into()),
            rows(&[
                "#41 merged as c01dbee · 1 h 12 min · $1.84 · asked you once",
                "#42 merged as 8a1b77e · 40 min · $0.91 · never asked you",
                "#44 Dark mode, PR #57 merged · 2 h 4 min · $3.20 · asked you twice",
                "and 9 more",
            ]),
            Block::Text("Handled without you".into()),
            rows(&[
                "PR #55: unit failed, app-1 corrected it at the first try",
                "PR #56 conflicted with main, app-5 rebased it",
                "api-2 waited for quota from 02:10 to 05:00",
            ]),
            Block::Text("Next digest Sat 08:00.".into()),
        ],
        buttons: vec![button("Open", "https://ao.example/attention")],
        command: Some("ao status".into()),
        meta: vec!["my-app".into()],
        details: vec![],
        session: None,
        ..question()
    };
    vec![("question", question()), ("permission", permission), ("storm", storm), ("digest", digest)]
}

#[tokio::test]
async fn both_parts_say_the_same_in_the_same_order() {
    let server = MailServer::start("none");
    for (name, message) in samples() {
        server.notifier.send(&call(name), &message).await.unwrap();
        let mail = server.mails().pop().unwrap();
        says_the_same(&mail);
        assert_eq!(mail.hidden, message.short, "{name}");
        insta::assert_snapshot!(format!("{name}.txt"), mail.text);
        insta::assert_snapshot!(format!("{name}.html"), mail.html);
    }
}

/// The page and the mail of a message whose every text that is not `ao`'s own is this one.
fn hostile(text: &str) -> (Page, Vec<u8>) {
    let text = text.to_owned();
    let block = |at: usize| match at % 4 {
        0 => Block::Quote(text.clone()),
        1 => Block::Code(text.clone()),
        2 => Block::Text(text.clone()),
        _ => Block::List(vec![text.clone(); 3]),
    };
    let message = Message {
        title: text.clone(),
        short: text.clone(),
        body: (0..5).map(block).collect(),
        details: (0..4).map(block).collect(),
        buttons: vec![button(&text, "https://ao.example/c/a1"); 4],
        command: Some(text.clone()),
        meta: vec![text.clone()],
        ..question()
    };
    let page = Page::of(&message);
    let mail = compose(&text, &page);
    (page, mail)
}

fn compose(key: &str, page: &Page) -> Vec<u8> {
    let letterhead = Letterhead {
        from: "ao@example.org".parse().unwrap(),
        to: vec!["ana@example.org".parse().unwrap()],
        reply_to: None,
        instance: INSTANCE.to_lowercase(),
    };
    letterhead.compose(key, Timestamp::UNIX_EPOCH, page).unwrap().bytes
}

#[test]
fn s15_no_text_makes_a_header_a_tag_or_a_link_and_every_mail_stays_small() {
    use proptest::{
        strategy::{Strategy as _, ValueTree as _},
        test_runner::TestRunner,
    };
    let mut texts: Vec<String> = [
        "app-3 asks\r\nBcc: eve@evil.example\r\n\r\n<script>alert(1)</script>",
        "\r\n.\r\nMAIL FROM:<eve@evil.example>",
        "=?utf-8?q?=0D=0ABcc:_eve=40evil.example?=",
        "a =?utf-8?b?PHNjcmlwdD4=?= =?utf-8?b?PHNjcmlwdD4=?=",
        "</td></tr></table><a href=https://evil.example>Merge</a><!-- <style> {{ title }}",
        "<!channel> @everyone -- &lt;b&gt; \u{202e}txt.exe\u{2066} \u{5e9}\u{5dc}\u{5d5}\u{5dd} \0\u{7}\u{1b}[31m",
    ]
    .map(str::to_owned)
    .into();
    texts.extend([
        "x".repeat(30_000),
        "\"'&<>".repeat(1_000),
        "why? ".repeat(1_500),
        format!("e{}", "\u{301}".repeat(5_000)),
        "👩‍👩‍👧".repeat(1_500),
        "error: no space\n".repeat(1_500),
        ". Tried: ".repeat(5_000),
    ]);
    let (mut runner, any) =
        (TestRunner::deterministic(), "(\\PC|[\r\n\t<>&\"'=?:;,@\\\\ \u{202e}\u{1b}]){0,400}");
    let any = proptest::string::string_regex(any).unwrap();
    texts.extend((0..60).map(|_| any.new_tree(&mut runner).unwrap().current()));
    let (pages, mails): (Vec<Page>, Vec<Vec<u8>>) = texts.iter().map(|text| hostile(text)).unzip();
    let parsed = MailServer::start("none").parse(&mails);
    assert_eq!(parsed.len(), texts.len());
    let names = |mail: &Parsed| mail.headers.iter().map(|h| h.0.clone()).collect::<Vec<_>>();
    let usual = "From Subject Date Message-ID To In-Reply-To References List-Id Auto-Submitted \
                 X-Auto-Response-Suppress Importance MIME-Version Content-Type";
    for ((text, page), mail) in texts.iter().zip(&pages).zip(&parsed) {
        let start: String = text.chars().take(80).collect();
        assert_eq!(names(mail).join(" "), usual, "{start:?}");
        assert_eq!(mail.header("to"), "ana@example.org", "{start:?}");
        // What keeps a mailbox from decoding twice cannot be seen.
        let subject = mail.header("subject").replace('\u{2060}', "");
        assert_eq!(subject, page.subject.trim_start(), "{start:?}");
        assert!(ao_slots::text::length(&page.subject) <= 70, "{start:?}");
        assert!(mail.html.len() <= 18 * 1024, "{} bytes of {start:?}", mail.html.len());
        assert!(!mail.tags.iter().any(|tag| tag == "script" || tag == "img"), "{start:?}");
        let known = |link: &String| link.starts_with("https://ao.example/");
        assert!(mail.links.iter().all(known), "{start:?}: {:?}", mail.links);
        let odd = |c: char| c.is_control() && c != '\n' || ('\u{202a}'..='\u{202e}').contains(&c);
        assert!(!mail.text.contains(odd) && !mail.html.contains(odd), "{start:?}");
    }
}

#[test]
fn what_is_too_long_is_cut_where_it_matters_least_and_can_be_seen() {
    let question = format!("Which of these? {}", "one or two ".repeat(400));
    let log: Vec<String> = (1..=2_000).map(|n| format!("line {n} of the log")).collect();
    let page = Page::of(&Message {
        body: vec![Block::Quote(question.clone()), Block::Code(log.join("\n"))],
        details: vec![Block::Code(log.join("\n")), Block::Text("The end.".into())],
        ..self::question()
    });
    let text = page.text();
    assert!(text.contains(question.trim_end()), "a question is cut last");
    assert!(
        text.contains("    line 1 of the log\n") && text.contains("    line 2000 of the log\n")
    );
    assert!(text.contains("    … +") && text.contains(" lines\n"), "{text}");
    assert!(text.contains("ao answer app-3"), "the line by which one acts stays");
    // Of what several people said the first sentence stays.
    let long = |who: &str| Block::Quote(format!("{who} asks why? {}", "words ".repeat(4_000)));
    let page = Page::of(&Message {
        body: vec![long("Ana"), long("Ben"), long("Cem")],
        ..self::question()
    });
    for said in ["> Ana asks why? words", "> Ben asks why?", "> Cem asks why?"] {
        assert!(page.text().contains(said), "{said}: {}", page.text());
    }
    assert!(page.html().unwrap().len() <= 18 * 1024);
    assert!(text.contains("Details\n\n… +2 more"), "what is left out is counted");

    let entries = |n: usize| (1..=n).map(|n| format!("#{n} merged · 1 h 12 min · $1.84")).collect();
    let digest = Message {
        kind: "digest".into(),
        body: vec![Block::Text("Finished".into()), Block::List(entries(2_000))],
        ..self::question()
    };
    let page = Page::of(&digest);
    let size = page.html().unwrap().len();
    assert!((50 * 1024..=60 * 1024).contains(&size), "{size} bytes");
    assert!(page.text().lines().any(|line| line.starts_with("- and ") && line.ends_with(" more")));
}

#[tokio::test]
async fn s19_a_mail_leads_to_pages_alone_and_carries_no_token() {
    let server = MailServer::start("none");
    let hostile =
        ["javascript:alert(1)", "data:text/html,x", "ftp://x", "https://x/\"><script>", "//x"];
    let mut text = question();
    text.buttons.extend(hostile.iter().map(|link| button("Merge", link)));
    server.notifier.send(&call("k"), &text).await.unwrap();
    let link = Some("javascript:alert(1)".to_owned());
    server.notifier.send(&call("l"), &Message { link, ..question() }).await.unwrap();
    let mails = server.mails();
    let pages = ["a1", "a2", "a3", "a4"].map(|token| format!("https://ao.example/c/{token}"));
    assert_eq!(mails[0].links[0], "https://ao.example/s/app-3#i-1");
    assert_eq!(mails[0].links[1..], pages);
    assert_eq!(mails[1].links, pages);
    for mail in &mails {
        for text in [&mail.text, &mail.html] {
            assert!(!text.contains("token-") && !text.contains("javascript:"), "{text}");
        }
        let known = "a body br div h1 head html meta span style table td title tr";
        let odd = mail.tags.iter().find(|tag| !known.split(' ').any(|known| known == *tag));
        assert_eq!(odd, None, "a mail is made of text, tables and links");
    }
}

#[tokio::test]
async fn it_is_encrypted_and_logged_in_or_not_sent_at_all() {
    for tls in ["starttls", "tls"] {
        let server = MailServer::start(tls);
        server.notifier.send(&call("k"), &question()).await.unwrap();
        server.notifier.check(&call("c")).await.unwrap();
        assert_eq!(server.mails().len(), 1, "{tls}");

        // A certificate that nothing vouches for, or for another name.
        let mut settings = server.settings();
        settings["smtp"].as_object_mut().unwrap().remove("caFile");
        let error = build(&settings).unwrap().send(&call("l"), &question()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Permanent, "{tls}: {error:?}");
        assert!(error.remedy.as_ref().unwrap().contains("caFile"), "{tls}: {error:?}");

        let mut settings = server.settings();
        settings["smtp"]["password"] = json!("wrong");
        let error = build(&settings).unwrap().check(&call("m")).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Permanent, "{tls}: {error:?}");
        assert!(error.cause.starts_with("535"), "{tls}: {error:?}");
        assert!(error.remedy.as_ref().unwrap().contains("app password"), "{tls}: {error:?}");
        assert_eq!(server.mails().len(), 1, "{tls}");
    }
    // The two kinds taken for each other, and a server that does not encrypt.
    for (has, asked, remedy) in [
        ("none", "tls", "starttls"),
        ("none", "starttls", "tls: tls"),
        ("starttls", "tls", "starttls"),
    ] {
        let server = MailServer::start(has);
        let mut settings = server.settings();
        settings["smtp"]["tls"] = json!(asked);
        let error = build(&settings).unwrap().send(&call("k"), &question()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Permanent, "{has} {asked}: {error:?}");
        assert!(error.remedy.as_ref().unwrap().contains(remedy), "{has} {asked}: {error:?}");
        assert!(server.mails().is_empty());
    }
    let server = MailServer::start("starttls");
    let mut settings = server.settings();
    settings["smtp"]["tls"] = json!("none");
    let error = build(&settings).unwrap().send(&call("k"), &question()).await.unwrap_err();
    assert!(error.remedy.as_ref().unwrap().contains("starttls"), "{error:?}");
}

#[tokio::test]
async fn each_answer_is_the_failure_that_it_means() {
    let server = MailServer::start("none");
    for (at, answer, kind, remedy) in [
        ("MAIL", "530 5.7.0 Must issue a STARTTLS command first", ErrorKind::Permanent, "starttls"),
        ("MAIL", "530 5.7.0 Authentication required", ErrorKind::Permanent, "password"),
        ("MAIL", "553 5.7.1 Sender address rejected", ErrorKind::Permanent, "`from`"),
        ("MAIL", "421 4.3.2 Service not available", ErrorKind::Transient, ""),
        ("RCPT", "550 5.1.1 no such user", ErrorKind::Permanent, "`to`"),
        ("RCPT", "552 5.2.2 over quota", ErrorKind::Permanent, "empty"),
        ("RCPT", "451 4.7.1 try later", ErrorKind::Transient, ""),
        ("DATA", "552 5.3.4 Message too big for system", ErrorKind::Permanent, "size"),
        ("DATA", "554 5.7.1 rejected as spam", ErrorKind::Permanent, "mail server says"),
        ("DATA", "452 4.3.1 Insufficient system storage", ErrorKind::Transient, ""),
        ("DATA", "DROP", ErrorKind::InDoubt, ""),
    ] {
        server.answer(&json!({ at: answer }));
        let error = server.notifier.send(&call("k"), &question()).await.unwrap_err();
        assert_eq!(error.kind, kind, "{answer}: {error:?}");
        assert_eq!(error.remedy.is_some(), !remedy.is_empty(), "{answer}: {error:?}");
        assert!(error.remedy.as_deref().unwrap_or("").contains(remedy), "{answer}: {error:?}");
        let code = answer.split(' ').next().unwrap_or_default();
        assert!(error.cause.starts_with(code) || answer == "DROP", "{error:?}");
    }
    server.answer(&json!({"RCPT": "450 4.2.0 Greylisted for 2 minutes"}));
    let error = server.notifier.send(&call("k"), &question()).await.unwrap_err();
    assert_eq!((error.kind, error.retry_after_ms), (ErrorKind::Transient, Some(120_000)));
    assert!(error.what.contains("ana@example.org"), "{error:?}");
}

#[tokio::test]
async fn what_was_written_and_not_answered_is_in_doubt_and_nothing_else_is() {
    let server = MailServer::start("none");
    server.set_mood(Mood::Silent);
    let call = Call::new("k", std::time::Duration::from_millis(700));
    let error = server.notifier.send(&call, &question()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::InDoubt, "{error:?}");
    assert_eq!(server.mails().len(), 1);
    // One that accepts the connection and never greets.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut settings = server.settings();
    settings["smtp"]["port"] = json!(listener.local_addr().unwrap().port());
    let error = build(&settings).unwrap().send(&call, &question()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Transient, "{error:?}");
}

#[tokio::test]
async fn s32_no_error_and_no_debug_output_holds_a_secret() {
    let server = MailServer::start("starttls");
    let mut texts = vec![format!("{:?}", server.notifier)];
    let plain = "AGFuYQBodXNoLWh1c2g="; // base64 of \0ana\0hush-hush
    for echo in ["hush-hush", "aHVzaC1odXNo", plain] {
        server.answer(&json!({"AUTH": format!("535 5.7.8 {echo} is wrong")}));
        let error = server.notifier.send(&call("k"), &question()).await.unwrap_err();
        assert!(error.cause.contains("[hidden] is wrong"), "{error:?}");
        texts.push(format!("{error:?}"));
    }
    server.set_mood(Mood::Away);
    texts.push(format!("{:?}", server.notifier.send(&call("k"), &question()).await));
    let settings: Settings = plugin::settings(NAME, &server.settings()).unwrap();
    texts.push(format!("{settings:?}"));
    let url = json!({"url": "smtps://ana:hush-hush@mail.example.org", "from": "a@b.example", "to": "c@d.example"});
    texts.push(format!("{:?}", plugin::settings::<Settings>(NAME, &url).unwrap()));
    for wrong in [
        "smtp://ana:hush-hush@",
        "http://ana:hush-hush@a.example",
        "smtp://ana:hush-hush@a.example/x",
        "ana:hush-hush",
    ] {
        let url = json!({"url": wrong, "from": "a@b.example", "to": "c@d.example"});
        texts.push(format!("{:?}", (registration().check)(&url).unwrap_err()));
    }
    for text in texts {
        assert!(
            !text.contains("hush") && !text.contains("aHVzaC") && !text.contains(plain),
            "{text}"
        );
    }
}

#[test]
fn settings_are_checked_by_text_alone() {
    let with = |key: &str, value: Value| {
        let mut settings = json!({"smtp": {"host": "mail.example.org"}, "from": "ao@example.org", "to": "ana@example.org"});
        settings[key] = value;
        settings
    };
    for (settings, problem) in [
        (json!({}), "missing field `from`"),
        (json!({"from": "a@b.example", "to": "c@d.example"}), "neither `smtp` nor `url`"),
        (with("url", json!("smtps://a.example")), "`smtp` is there as well"),
        (with("to", json!([])), "1 to 50 addresses"),
        (with("to", json!(7)), "neither an address nor a list"),
        (with("to", json!(["ana"])), "ana: "),
        (with("to", json!("ana@example.org\r\nBcc: x@y.example")), "ana@example.org Bcc"),
        (with("from", json!("änä@example.org")), "ASCII"),
        (with("from", json!("a@bücher.example")), "ASCII"),
        (with("smtp", json!({"host": ""})), "not the name of a machine"),
        (with("smtp", json!({"host": "a b"})), "not the name of a machine"),
        (with("smtp", json!({"host": "a.example", "port": 0})), "0 is no port"),
        (with("smtp", json!({"host": "a.example", "tls": "none"})), "another machine"),
        (with("smtp", json!({"host": "localhost.evil.example", "tls": "none"})), "another machine"),
        (with("smtp", json!({"host": "a.example", "tls": "ssl"})), "unknown variant `ssl`"),
        (with("smtp", json!({"host": "a.example", "username": "a"})), "only the `username`"),
        (with("smtp", json!({"host": "a.example", "password": "a"})), "only the `password`"),
        (with("smtp", json!({"host": "a.example", "username": "a", "password": ""})), "empty"),
        (with("sekret", json!("x")), "unknown field `sekret`"),
    ] {
        let error = (registration().check)(&settings).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Permanent, "{settings}");
        assert!(error.cause.contains(problem), "{settings}: {error:?}");
    }
    for settings in [
        with("to", json!(["ana@example.org", "Ben <ben@example.org>"])),
        with("smtp", json!({"host": "127.0.0.1", "tls": "none"})),
        with("smtp", json!({"host": "::1", "tls": "none", "port": 2525})),
    ] {
        assert_eq!((registration().check)(&settings), Ok(()), "{settings}");
    }
    let mut plain = with("smtp", json!({"host": "relay.lan", "tls": "none"}));
    plain["allowPlain"] = json!(true);
    assert_eq!((registration().check)(&plain), Ok(()));
}

#[test]
fn a_url_says_the_same_as_the_settings() {
    let target = |url: &str| {
        let settings = json!({"url": url, "from": "a@b.example", "to": "c@d.example"});
        let endpoint =
            plugin::settings::<Settings>(NAME, &settings).unwrap().target().unwrap().endpoint;
        let login = endpoint.login.map(|(name, word)| (name, word.reveal().to_owned()));
        (endpoint.host, endpoint.port, endpoint.tls, login)
    };
    let login = Some(("ana@example.org".to_owned(), "a:b/c".to_owned()));
    assert_eq!(
        target("smtps://ana%40example.org:a%3Ab%2Fc@mail.example.org"),
        ("mail.example.org".to_owned(), 465, Tls::Tls, login)
    );
    assert_eq!(
        target("smtp://mail.example.org:2525/"),
        ("mail.example.org".to_owned(), 2525, Tls::Starttls, None)
    );
    assert_eq!(target("smtps://[::1]").0, "::1");
}

#[test]
fn a_mail_says_why_it_came_and_how_to_get_less_of_it() {
    let text = |message: Message| Page::of(&message).text();
    let warning = text(Message { priority: Priority::Warning, ..question() });
    assert!(warning.contains("messages of the class warning go to this address"), "{warning}");
    assert!(warning.contains("Less of it: ao silence add session=app-3 for 2h"), "{warning}");
    let storm = text(Message { session: None, ..question() });
    assert!(storm.contains("ao silence add incident=i-1 for 2h"), "{storm}");
    let test = text(Message { session: None, incident: None, ..question() });
    assert!(!test.contains("ao silence"), "{test}");
}
