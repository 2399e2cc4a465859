//! What is on the pages, and in which order.

use askama::Template as _;

use ao_core::slots::fact::PrComment;

use super::*;
use crate::pages::shell;

/// The lines that say something, whatever the style sheet is called and whether the scripts were built.
fn lines(html: &str) -> String {
    let html = html.replace(shell::STYLE.as_str(), "ui/style.css");
    let says = |line: &&str| !line.is_empty() && !line.starts_with("<script ");
    html.lines().map(str::trim_end).filter(says).collect::<Vec<_>>().join("\n")
}

#[test]
fn attention_zones_and_order() {
    for (name, stage) in [("attention-0", Stage::new()), ("attention-3", Stage::three())] {
        insta::assert_snapshot!(name, lines(&stage.attention().render().unwrap()));
    }
    // What wants a human stands above what does not, and the longest wait first.
    let html = Stage::two_hundred().attention().render().unwrap();
    let place = |text: &str| html.find(text).unwrap_or_else(|| panic!("{text}"));
    let order = [
        "id=\"z-need\"",
        "id=\"app-185\"",
        "id=\"app-2\"",
        "id=\"app-1\"",
        "id=\"z-decide\"",
        "id=\"app-183\"",
        "id=\"app-3\"",
        "id=\"z-slow\"",
        "id=\"q-working\"",
        "id=\"q-over\"",
    ];
    let places: Vec<_> = order.iter().map(|text| place(text)).collect();
    assert!(places.is_sorted(), "{places:?}");
    assert!(html.contains("(40) Attention · ao"));
    for (name, html) in [("0", Stage::new()), ("3", Stage::three()), ("200", Stage::two_hundred())]
        .map(|(name, stage)| (name, stage.attention().render().unwrap()))
    {
        keep(&format!("attention-{name}"), &html);
    }
}

#[test]
fn an_incidents_page_tells_the_wish_first_and_then_the_story() {
    let mut stage = Stage::new();
    stage.question(3, 4);
    stage.ready(1, 22);
    stage.permission(7, 2, &format!("cat <<EOF\n{}EOF", "line\n".repeat(40)));
    for (number, name) in [(142, "question"), (143, "ready"), (144, "permission")] {
        let html = stage.incident_page(number).render().unwrap();
        keep(&format!("i/{name}"), &html);
        if name == "question" {
            insta::assert_snapshot!("incident-question", lines(&html));
        }
        let place = |text: &str| html.find(text).unwrap_or_else(|| panic!("{name}: {text}"));
        assert!(
            place("<h1") < place("/act\"") && place("/act\"") < place("id=\"h-why\""),
            "{name}"
        );
    }
    // Both choices have a button, so what is asked for beside them is words.
    let html = stage.incident_page(142).render().unwrap();
    assert!(!html.contains("type=\"radio\"") && html.contains("name=\"text\""), "{html}");
}

#[test]
fn a_sessions_page_tells_what_it_needs_and_what_is_known() {
    let mut stage = Stage::new();
    let asking = stage.question(3, 4);
    let works = stage.session(5, "VAT rounding", 12, |_, _| {});
    let over = stage.merged(6, 40);
    for (id, name, says) in [
        (&asking, "asking", "Should a coupon also apply to shipping?"),
        (&works, "working", "Works; 3 commits"),
        (&over, "over", "Merged"),
    ] {
        let html = stage.session_page(id).render().unwrap();
        keep(&format!("s/{name}"), &html);
        assert!(html.contains(says), "{name}: {html}");
        assert_eq!(html.contains("Kill…"), name != "over", "{name}");
    }
}

#[test]
fn a_pull_requests_page_says_where_it_stands() {
    let mut stage = Stage::new();
    let ready = stage.ready(1, 22);
    let html = stage.pr_page(&ready).render().unwrap();
    keep("pr/my-app/ready", &html);
    for says in ["#57 Dark mode", "6 of 6 pass", "approved by ben", "none open", "Merge #57"] {
        assert!(html.contains(says), "{says}: {html}");
    }
    let hostile = "\"><script>alert(1)</script>";
    let red = stage.with_pr(4, hostile, 31, Status::CiFailed, |pr| {
        pr.checks = Checks::Failing;
        pr.failing = vec![hostile.into()];
        pr.human_threads = 2;
        pr.mergeable = Mergeable::Conflicting;
        pr.details.url = Some("javascript:alert(1)".into());
        pr.details.conflicts = vec![hostile.into()];
        pr.details.comments = vec![PrComment {
            by: hostile.into(),
            place: Some("src/theme.ts:88".into()),
            text: format!("{hostile}\nUse the theme helper here"),
        }];
    });
    let html = stage.pr_page(&red).render().unwrap();
    keep("pr/my-app/red", &html);
    assert!(html.contains("Use the theme helper here") && html.contains("2 open"), "{html}");
    // S41, also in an address.
    assert!(!html.contains("<script>alert") && !html.contains("javascript:"), "{html}");
    assert!(stage.session_page(&red).render().unwrap().contains("href=\"../pr/my-app/60\""));
}

#[test]
fn s40_screen_and_words_are_inert() {
    let mut stage = Stage::new();
    let bad = "\u{1b}]52;c;Zm9v\u{7}\u{1b}[2J</pre><script>alert(1)</script>\u{202e}";
    let id = stage.stopped(4, 3);
    let session = stage.state.sessions.get_mut(&id).unwrap();
    session.tail = Some(Text::short(&ao_core::slots::text::plain(bad)));
    session.last_words = Some(Text::short(&ao_core::slots::text::plain(bad)));
    for html in
        [stage.session_page(&id).render().unwrap(), stage.incident_page(142).render().unwrap()]
    {
        assert!(html.contains("&#60;script&#62;alert(1)"));
        for bad in ["\u{1b}", "<script>alert", "\u{202e}", "\u{7}"] {
            assert!(!html.contains(bad), "{bad:?}");
        }
    }
}

/// Puts a page into a folder, for whoever wants to look at it: `AO_PAGES=/tmp/pages`.
fn keep(name: &str, html: &str) {
    let Some(folder) = std::env::var_os("AO_PAGES").map(std::path::PathBuf::from) else { return };
    for part in ["ui", "i", "s", "pr/my-app"] {
        std::fs::create_dir_all(folder.join(part)).unwrap();
    }
    std::fs::write(folder.join(shell::STYLE.as_str()), shell::SHEET).unwrap();
    std::fs::write(folder.join(format!("{name}.html")), html).unwrap();
}

#[test]
fn nobody_approves_what_is_folded() {
    let mut stage = Stage::new();
    let long = format!("cat <<EOF\n{}EOF", "line\n".repeat(40));
    let id = stage.permission(7, 2, &long);
    let html = stage.attention().render().unwrap();
    assert!(!html.contains("Approve once") && html.contains("value=\"deny\""), "{html}");
    assert!(html.contains("href=\"i/142\">Read all of it</a>"), "{html}");
    let shown = format!("<pre>{}</pre>", long.replace('<', "&#60;"));
    for html in
        [stage.incident_page(142).render().unwrap(), stage.session_page(&id).render().unwrap()]
    {
        assert!(html.contains("Approve once") && html.contains(&shown), "{html}");
    }
    let mut short = Stage::new();
    short.permission(7, 2, "npm publish --dry-run");
    assert!(short.attention().render().unwrap().contains("Approve once"));
}

#[test]
fn a_viewer_has_no_buttons() {
    let mut stage = Stage::three();
    stage.acts = false;
    for html in [
        stage.attention().render().unwrap(),
        stage.incident_page(142).render().unwrap(),
        stage.session_page(&"app-3".parse().unwrap()).render().unwrap(),
    ] {
        assert!(html.contains("app-3 asks"));
        assert!(!html.contains("/act\"") && !html.contains("popover"), "{html}");
    }
}

#[test]
fn s41_hostile_titles_are_text() {
    let hostile = "\"><img src=x onerror=alert(1)></a><script>x</script>\u{202e}gpj";
    let mut stage = Stage::new();
    stage.session(1, hostile, 3, |session, _| {
        session.issue = Some(hostile.into());
        session.agent = hostile.into();
    });
    stage.permission(2, 3, hostile);
    stage.with_pr(3, hostile, 3, Status::CiFailed, |pr| pr.failing = vec![hostile.into()]);
    let since = stage.ago(3);
    stage.incident(&"app-3".parse().unwrap(), "ci-failed", "warning", since);
    let html = stage.attention().render().unwrap();
    assert!(html.contains("&#60;img src=x onerror"), "it is shown, as text");
    for bad in ["<img", "<script>", "onerror=alert(1)>", "\u{202e}"] {
        assert!(!html.contains(bad), "{bad}");
    }
}

/// Every template escapes: what would switch that off is in none.
#[test]
fn no_template_trusts_text() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
                continue;
            }
            let text = std::fs::read_to_string(&entry).unwrap();
            for trusts in
                ["|safe", "| safe", "|escape(", "| escape(", "style=", " onclick", "<script>"]
            {
                assert!(!text.contains(trusts), "{}: {trusts}", entry.display());
            }
        }
    }
}

#[test]
fn two_hundred_sessions_are_a_light_page() {
    let html = Stage::two_hundred().attention().render().unwrap();
    let (page, sheet) = (packed(html.as_bytes()), packed(shell::SHEET.as_bytes()));
    println!("200 sessions: {} bytes, {page} packed; sheet {sheet}", html.len());
    assert!(page <= 40 * 1024, "{page}");
    assert!(sheet <= 12 * 1024, "{sheet}");
}

/// As a browser would get it.
fn packed(bytes: &[u8]) -> usize {
    use std::io::Write as _;
    let mut packer = flate2::write::GzEncoder::new(vec![], flate2::Compression::new(6));
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap().len()
}
