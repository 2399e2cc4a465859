//! What is on the pages, and in which order.

use askama::Template as _;

use super::*;
use crate::pages::shell;

/// The lines that say something, whatever the style sheet is called.
fn lines(html: &str) -> String {
    let html = html.replace(shell::STYLE.as_str(), "ui/style.css");
    html.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

#[test]
fn attention_zones_and_order() {
    for (name, stage) in [("attention-0", Stage::new()), ("attention-3", Stage::three())] {
        insta::assert_snapshot!(name, lines(&stage.attention(true).render().unwrap()));
    }
    // What wants a human stands above what does not, and the longest wait first.
    let html = Stage::two_hundred().attention(true).render().unwrap();
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
        .map(|(name, stage)| (name, stage.attention(true).render().unwrap()))
    {
        keep(&format!("attention-{name}"), &html);
    }
}

/// Puts a page into a folder, for whoever wants to look at it: `AO_PAGES=/tmp/pages`.
fn keep(name: &str, html: &str) {
    let Some(folder) = std::env::var_os("AO_PAGES").map(std::path::PathBuf::from) else { return };
    std::fs::create_dir_all(folder.join("ui")).unwrap();
    std::fs::write(folder.join(shell::STYLE.as_str()), shell::SHEET).unwrap();
    std::fs::write(folder.join(format!("{name}.html")), html).unwrap();
}

#[test]
fn a_viewer_has_no_buttons() {
    let html = Stage::three().attention(false).render().unwrap();
    assert!(html.contains("app-3 asks"));
    assert!(!html.contains("i/142/act") && !html.contains("popovertarget"), "{html}");
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
    let html = stage.attention(true).render().unwrap();
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
    let html = Stage::two_hundred().attention(true).render().unwrap();
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
