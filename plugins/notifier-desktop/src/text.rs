//! What a notification says: pure text, cut to what a desktop shows.

use ao_sdk::body::{self, Part, Rank, Room, fit};
use ao_slots::{
    notifier::{Button, ButtonStyle, Confirm, Message, OPEN},
    text::{cut, one_line},
};

/// Most characters of a title; the first 40 must do on small screens.
pub(crate) const TITLE: usize = 60;
/// Most characters of a body.
pub(crate) const BODY: usize = 200;
/// Most lines of a body.
const LINES: usize = 4;
const ROOM: Room = Room { characters: BODY, bytes: usize::MAX, lines: LINES };
/// Most buttons; the click on the notification itself is one more.
const BUTTONS: usize = 3;
/// Most characters of a button.
const LABEL: usize = 24;

/// What the desktop's daemon can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Abilities {
    /// Buttons.
    pub(crate) actions: bool,
    /// `<b>` in a body is bold, so that text must be escaped.
    pub(crate) markup: bool,
}

/// The words of one notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Words {
    pub(crate) title: String,
    /// Escaped where the daemon reads markup.
    pub(crate) body: String,
    /// The buttons to offer, with the labels to show.
    pub(crate) buttons: Vec<(String, String)>,
    /// A click on the notification itself opens something.
    pub(crate) click: bool,
}

/// A message as this daemon can show it.
pub(crate) fn words(message: &Message, abilities: Abilities) -> Words {
    let (title, mut parts) = body::parts(message, TITLE);
    let buttons = if abilities.actions { buttons(&message.buttons) } else { Vec::new() };
    if buttons.is_empty() {
        parts.extend(message.command.iter().map(|command| Part(Rank::Kept, one_line(command))));
    }
    Words {
        title,
        body: escape(&fit(parts, ROOM), abilities),
        click: abilities.actions && opens(message),
        buttons,
    }
}

/// A plain line, as `ao`'s own notification.
pub(crate) fn line(text: &str, abilities: Abilities) -> Words {
    let parts = vec![Part(Rank::Verbatim, body::lines(text))];
    Words {
        title: "ao".to_owned(),
        body: escape(&fit(parts, ROOM), abilities),
        buttons: Vec::new(),
        click: false,
    }
}

/// The question that stands in the notification's place before a button acts.
pub(crate) fn question(message: &Message, confirm: &Confirm, abilities: Abilities) -> Words {
    let full = one_line(&confirm.question);
    let title = cut(&full, TITLE);
    let mut parts = vec![Part(Rank::Why, one_line(&message.title))];
    if title != full {
        parts.insert(0, Part(Rank::Verbatim, full));
    }
    Words {
        title,
        body: escape(&fit(parts, ROOM), abilities),
        buttons: vec![
            (YES.to_owned(), cut(&one_line(&confirm.yes), LABEL)),
            (NO.to_owned(), cut(&one_line(&confirm.no), LABEL)),
        ],
        click: false,
    }
}

/// The action that does what was asked about.
pub(crate) const YES: &str = "yes";
/// The action that brings the message back.
pub(crate) const NO: &str = "no";

/// What is asked before this button acts. What destroys is asked about in any case.
pub(crate) fn confirmation(button: &Button) -> Option<Confirm> {
    let asked = || Confirm {
        question: format!("{}?", button.label),
        yes: button.label.clone(),
        no: "Not now".to_owned(),
    };
    button.confirm.clone().or_else(|| (button.style == ButtonStyle::Danger).then(asked))
}

/// The first buttons that need no text. What one would type is typed where `Open` leads, so it takes the place of
/// the first that needs some; it yields where there are more, a click does the same. What destroys is offered only
/// where nothing else is.
fn buttons(all: &[Button]) -> Vec<(String, String)> {
    let mut usable: Vec<&Button> = all.iter().collect();
    let place = |of: &dyn Fn(&Button) -> bool| all.iter().position(of);
    if let (Some(typed), Some(open)) =
        (place(&|button| button.form.is_some()), place(&|button| button.id == OPEN))
        && typed < open
    {
        usable.swap(typed, open);
    }
    usable.retain(|button| button.form.is_none());
    if usable.iter().any(|button| button.style != ButtonStyle::Danger) {
        usable.retain(|button| button.style != ButtonStyle::Danger);
    }
    if usable.len() > BUTTONS {
        usable.retain(|button| button.id != OPEN);
    }
    let label = |button: &Button| cut(&one_line(&button.label), LABEL);
    usable.into_iter().take(BUTTONS).map(|button| (button.id.clone(), label(button))).collect()
}

fn opens(message: &Message) -> bool {
    message.session.is_some() || message.buttons.iter().any(|button| button.id == OPEN)
}

fn escape(text: &str, abilities: Abilities) -> String {
    if !abilities.markup {
        return text.to_owned();
    }
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use ao_conformance::notifier::{book, message, plain_button, text_button};
    use ao_slots::{
        notifier::{Block, ChannelKind, Mark},
        text::length,
    };

    use super::*;

    const ALL: Abilities = Abilities { actions: true, markup: true };
    const PLAIN: Abilities = Abilities { actions: false, markup: false };

    fn with(title: &str, short: &str) -> Message {
        Message { title: title.into(), short: short.into(), ..message(1) }
    }

    fn body(blocks: Vec<Block>) -> String {
        let text = Message { body: blocks, short: String::new(), command: None, ..message(1) };
        words(&text, PLAIN).body
    }

    #[test]
    fn what_fits_is_shown_as_it_is() {
        let text =
            with("app-3 stopped: exited with code 1", "\"ENOSPC: no space left on device\".");
        let shown = words(&text, ALL);
        assert_eq!(shown.title, "app-3 stopped: exited with code 1");
        assert_eq!(shown.body, "\"ENOSPC: no space left on device\".");
        assert_eq!(
            words(&text, PLAIN).body,
            "\"ENOSPC: no space left on device\".\nao answer app-3 \"…\"",
            "without buttons the last line is the command"
        );
    }

    #[test]
    fn a_question_that_is_too_long_for_the_title_goes_on_in_the_body() {
        let asks = "app-3 asks: Should a coupon also apply to the shipping costs of orders abroad? \
                    They differ by country.";
        let shown = words(&with(asks, &"Waits since 14:28 and so on. ".repeat(9)), PLAIN);
        assert_eq!(shown.title, "app-3 asks: Should a coupon also apply to the shipping…");
        let lines: Vec<&str> = shown.body.lines().collect();
        assert!(lines[0].starts_with("…costs of orders abroad?"), "{lines:?}");
        assert_eq!(lines.last(), Some(&"ao answer app-3 \"…\""));
        assert!(lines[1].ends_with('…'), "the why is cut first: {lines:?}");
    }

    #[test]
    fn a_body_is_cut_in_the_order_log_tried_why_verbatim() {
        let log = "compiling\nerror: expected `;`\na\nb\nc\nd".to_owned();
        assert_eq!(body(vec![Block::Code(log.clone())]), "error: expected `;`…\nb\nc\nd");
        let tried = Block::List(vec!["14:02 log sent".into(), "14:14 log sent".into(), "x".into()]);
        let why = Block::Text("It stopped at \"pricing rules\" and waits since 14:28.".into());
        assert_eq!(
            body(vec![Block::Quote("Which one?".into()), why.clone(), tried.clone()]),
            "Which one?\nIt stopped at \"pricing rules\" and waits since 14:28.\n14:02 log sent · and 2 more"
        );
        assert_eq!(
            body(vec![Block::Quote("Which one?".into()), Block::Code(log), tried, why]),
            "Which one?\nerror: expected `;` …\n14:02 log sent · and 2 more\nIt stopped at \"pricing rules\" and waits since 14:28."
        );
        let long = format!("Which one? {}", "and so on ".repeat(40));
        assert!(body(vec![Block::Quote(long)]).contains("… +"));
    }

    #[test]
    fn the_last_buttons_yield_and_those_that_want_text_are_left_out() {
        let mut text = message(1);
        text.buttons = vec![
            plain_button("a", "Approve once"),
            plain_button("b", "Deny"),
            text_button("c", "Deny with reason…"),
            plain_button(OPEN, "Open"),
        ];
        let labels = |text: &Message| {
            words(text, ALL).buttons.into_iter().map(|button| button.1).collect::<Vec<_>>()
        };
        assert_eq!(labels(&text), ["Approve once", "Deny", "Open"]);
        text.buttons.push(plain_button("d", "Snooze 1 h\x1b[31m of a rather long name"));
        assert_eq!(labels(&text), ["Approve once", "Deny", "Snooze 1 h of a rather…"]);
        assert!(words(&text, PLAIN).buttons.is_empty() && !words(&text, PLAIN).click);
        assert!(words(&text, ALL).click);
    }

    #[test]
    fn open_stands_where_one_would_type_and_what_destroys_stands_alone_or_not_at_all() {
        let typed = |id: &str| text_button(id, "Send a message…");
        let kill = || Button { style: ButtonStyle::Danger, ..plain_button("kill", "Kill…") };
        let [open, done] = [(OPEN, "Open"), ("done", "Done")].map(|(id, l)| plain_button(id, l));
        let [restore, snooze] =
            [("restore", "Restore"), ("snooze-30m", "Snooze")].map(|(id, l)| plain_button(id, l));
        for (offered, shown) in [
            (vec![typed("send"), done.clone(), open.clone()], vec![OPEN, "done"]),
            (vec![done.clone(), typed("send"), open.clone()], vec!["done", OPEN]),
            (vec![done.clone(), open.clone(), typed("send")], vec!["done", OPEN]),
            (
                vec![typed("send"), restore.clone(), open.clone(), snooze, kill()],
                vec![OPEN, "restore", "snooze-30m"],
            ),
            (vec![restore, open.clone(), kill()], vec!["restore", OPEN]),
            (vec![open, kill()], vec![OPEN]),
            (vec![kill()], vec!["kill"]),
        ] {
            let text = Message { buttons: offered, ..message(1) };
            let ids: Vec<_> = words(&text, ALL).buttons.into_iter().map(|b| b.0).collect();
            assert_eq!(ids, shown);
        }
    }

    #[test]
    fn s15_text_is_escaped_where_markup_is_read_and_only_there() {
        let text =
            with("<i>T</i>", "<b>bold</b> & <a href=\"http://x\">merge</a>\x1b]8;;http://evil\x07");
        assert_eq!(
            words(&text, ALL).body,
            "&lt;b&gt;bold&lt;/b&gt; &amp; &lt;a href=\"http://x\"&gt;merge&lt;/a&gt;"
        );
        let plain = words(&text, Abilities { markup: false, ..ALL });
        assert_eq!(plain.body, "<b>bold</b> & <a href=\"http://x\">merge</a>");
        assert_eq!(plain.title, "<i>T</i>", "titles never hold markup");
    }

    #[test]
    fn what_destroys_is_asked_about_in_any_case() {
        let kill = Button { style: ButtonStyle::Danger, ..plain_button("k", "Kill app-3") };
        let asked = confirmation(&kill).unwrap();
        assert_eq!((asked.question.as_str(), asked.no.as_str()), ("Kill app-3?", "Not now"));
        assert_eq!(confirmation(&plain_button("a", "Approve once")), None);
        let shown = question(&message(1), &asked, ALL);
        assert_eq!(shown.title, "Kill app-3?");
        assert_eq!(shown.buttons[1], (NO.to_owned(), "Not now".to_owned()));
    }

    #[test]
    fn a_repetition_is_said_to_be_one() {
        let text = Message { may_repeat: true, ..with("app-3 asks", "Which one?") };
        assert_eq!(words(&text, ALL).body, "Which one?\nThis may be a repetition.");
    }

    /// What a person sees of a message on a desktop with buttons.
    fn page(message: &Message) -> String {
        let shown = words(message, Abilities { markup: false, ..ALL });
        assert!(length(&shown.title) <= TITLE && length(&shown.body) <= BODY, "{shown:?}");
        assert!(shown.body.lines().count() <= LINES && shown.buttons.len() <= BUTTONS, "{shown:?}");
        let indent =
            |text: &str| text.lines().map(|line| format!("  {line}\n")).collect::<String>();
        let mut page = format!("{}\n{}", shown.title, indent(&shown.body));
        for (id, label) in &shown.buttons {
            let button = message.buttons.iter().find(|button| button.id == *id).unwrap();
            page.push_str(&format!("  [{label}]"));
            if let Some(confirm) = confirmation(button) {
                let asks = question(message, &confirm, ALL);
                let answers: Vec<_> = asks.buttons.iter().map(|(_, l)| format!("[{l}]")).collect();
                page.push_str(&format!(" ? {} {}", asks.title, answers.join("")));
            }
            page.push('\n');
        }
        if shown.click { page + "  (a click opens it)\n" } else { page }
    }

    #[test]
    fn golden_each_kind_of_message_on_a_desktop() {
        for (kind, messages) in book(ChannelKind::Desktop) {
            let mut pages = String::new();
            for (what, message) in messages {
                let over = matches!(message.mark, Mark::Settled | Mark::Failed);
                let shown = match over && message.buttons.is_empty() {
                    true => "(taken from the screen)\n".to_owned(),
                    false => page(&message),
                };
                pages.push_str(&format!("── {what}\n{shown}\n"));
            }
            insta::assert_snapshot!(kind, pages);
        }
    }

    proptest::proptest! {
        #[test]
        fn limits_hold_and_the_last_line_stays(
            title in ".{0,300}", short in "(?s).{0,400}", quote in ".{0,600}", log in "(?s).{0,600}",
            entries in proptest::collection::vec(".{0,80}", 0..8), may_repeat: bool,
        ) {
            for short in [short, String::new()] {
                let blocks = vec![
                    Block::Quote(quote.clone()), Block::Code(log.clone()),
                    Block::List(entries.clone()), Block::Text(quote.clone()),
                ];
                let text = Message {
                    title: title.clone(), short, body: blocks, may_repeat, ..message(1)
                };
                let shown = words(&text, PLAIN);
                proptest::prop_assert!(length(&shown.title) <= TITLE);
                proptest::prop_assert!(length(&shown.body) <= BODY, "{} {:?}", length(&shown.body), shown.body);
                proptest::prop_assert!(shown.body.lines().count() <= LINES, "{:?}", shown.body);
                proptest::prop_assert_eq!(shown.body.lines().last(), Some("ao answer app-3 \"…\""));
            }
        }
    }
}
