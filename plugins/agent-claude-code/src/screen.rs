//! Tells what the screen of Claude Code shows, from text alone.
//!
//! What it shows can quote anything, a prompt or a dialog too, so only shapes are believed that quoted text
//! cannot take: the input line is the box *in which the cursor stands*, drawn from the first column between two
//! full rules, with the mode line under it. All that the program prints itself is indented, but for the first
//! line of a block. A screen that does not fit is [`Dialog::Unknown`].

use ao_slots::{
    agent::{AgentRequest, Ask, Decision, Dialog},
    runtime::{Key, Screen},
    text,
};

/// Greyed-out texts of an empty input line. The colour is lost in a capture; the cursor before them tells.
const PLACEHOLDERS: &[&str] = &[
    "Once fixed, resend your message",
    "Resend your message to try again",
    "Run /rewind to go back",
    "Press up to edit queued messages",
    "Press up to select a queued message",
    "Press Enter to edit the selected message",
    "Try \"",
];

/// Begins a line above the box while a turn runs: a spinner.
const SPINNERS: &[char] = &['·', '✢', '✳', '✶', '✻', '✽', '*'];

/// Parts of dialogs of which no machine may touch any.
const SETUP: &[&str] = &[
    "Enter to confirm",
    "Select login method:",
    "Paste code here if prompted",
    "Choose the text style that looks best",
];

pub(crate) fn match_dialog(screen: &Screen) -> Dialog {
    let lines = without_side_column(&screen.lines);
    let Some(row) = screen.cursor_y.map(|row| row as usize).filter(|row| *row < lines.len()) else {
        return Dialog::Unknown;
    };
    if let Some(prompt) = prompt(&lines, row, screen.cursor_x) {
        return prompt;
    }
    let block = &lines[dialog_start(&lines, row)..];
    if block.iter().any(|line| SETUP.iter().any(|part| line.trim_start().starts_with(part))) {
        return Dialog::Setup {
            text: words(block).into_iter().take(8).collect::<Vec<_>>().join("\n"),
        };
    }
    let options = options(&lines[row..], true);
    let below =
        |wanted: &str| lines[row..].iter().any(|line| line.trim_start().starts_with(wanted));
    if !options.is_empty() && below("Enter to select") {
        return Dialog::Question { text: question(block).join("\n") };
    }
    if options.iter().any(|(_, label)| label.starts_with("Yes"))
        && options.iter().any(|(_, label)| label.starts_with("No"))
    {
        return Dialog::Permission { text: permission(block).join("\n") };
    }
    Dialog::Unknown
}

/// The input line, when the cursor stands in it.
fn prompt(lines: &[&str], row: usize, column: Option<u32>) -> Option<Dialog> {
    let bottom =
        row + lines[row..].iter().position(|line| is_rule(line)).filter(|down| *down > 0)?;
    let top = lines[..row].iter().rposition(|line| is_rule(line))?;
    let box_ = &lines[top + 1..bottom];
    let (first, rest) = box_.split_first()?;
    // `!` instead: what stands there runs as a shell command.
    let first = first.strip_prefix('❯')?;
    let rest: Option<Vec<&str>> = rest
        .iter()
        .map(|line| if line.is_empty() { Some("") } else { line.strip_prefix("  ") })
        .collect();
    let under = &lines[bottom + 1..];
    if !under.iter().any(|line| is_mode_line(line)) {
        return None;
    }
    let first = first.strip_prefix([' ', '\u{a0}']).unwrap_or(first);
    let at_start = row == top + 1 && column == Some(2);
    let empty = at_start && PLACEHOLDERS.iter().any(|words| first.starts_with(words));
    let draft = std::iter::once(first).chain(rest?).collect::<Vec<_>>().join("\n");
    let draft = if empty { String::new() } else { text::plain(draft.trim_end()) };
    let busy = under.iter().any(|line| line.contains("esc to interrupt")) || spins(&lines[..top]);
    Some(Dialog::Prompt { draft, busy })
}

/// A line across the whole screen. That of the top may carry the session's name.
fn is_rule(line: &str) -> bool {
    line.starts_with("────")
        && line.ends_with('─')
        && line.chars().filter(|c| *c == '─').count() * 2 > line.chars().count()
}

/// The line under the box: the permission mode, or what takes its place while a paste is folded.
fn is_mode_line(line: &str) -> bool {
    let Some(line) = line.strip_prefix("  ") else { return false };
    line.starts_with("⏸ ") || line.starts_with("⏵⏵ ") || line.starts_with("paste again to expand")
}

/// Whether the last block above the box is a spinner at work. A draft takes `esc to interrupt` out of the mode
/// line, this line stays. `✻ Cooked for 2s · done 8:03 AM` is the end of a turn.
fn spins(above: &[&str]) -> bool {
    let block = above.iter().rev().find(|line| !line.is_empty() && !line.starts_with(' '));
    block.is_some_and(|line| {
        let words = line.strip_prefix(SPINNERS).and_then(|rest| rest.strip_prefix(' '));
        words.is_some_and(|words| words.contains('…') || words.contains("retrying in"))
    })
}

/// Where the dialog begins in which the cursor stands: below the last rule above it.
fn dialog_start(lines: &[&str], row: usize) -> usize {
    let edge = |line: &&str| is_rule(line) || line.starts_with("▔▔▔▔");
    lines[..row].iter().rposition(edge).map_or(0, |at| at + 1)
}

/// The numbered choices, from the top of `lines`: number and label, wrapped lines joined by spaces.
fn options(lines: &[&str], at_cursor: bool) -> Vec<(u8, String)> {
    let mut found: Vec<(u8, String)> = Vec::new();
    for line in lines {
        let bare = line.trim_start().trim_start_matches('❯').trim_start();
        let numbered = bare.split_once(". ").and_then(|(n, label)| Some((n.parse().ok()?, label)));
        match numbered {
            Some((number, label))
                if found.is_empty() && at_cursor || usize::from(number) == found.len() + 1 =>
            {
                found.push((number, label.trim().to_owned()));
            }
            _ if line.trim().is_empty() => break,
            _ => match found.last_mut() {
                Some((_, label)) => *label = format!("{label} {}", bare.trim()),
                None => break,
            },
        }
    }
    found
}

fn is_choice(line: &str) -> bool {
    let bare = line.trim_start().trim_start_matches('❯').trim_start();
    bare.split_once(". ")
        .is_some_and(|(n, _)| n.len() == 1 && n.bytes().all(|b| b.is_ascii_digit()))
}

/// The words of a question, between its tabs and its choices.
fn question(block: &[&str]) -> Vec<String> {
    let head = block.iter().position(|line| {
        !line.trim_start().starts_with(['☐', '☒', '☑', '✔', '←']) && !line.trim().is_empty()
    });
    let block = &block[head.unwrap_or(0)..];
    let end = block.iter().position(|line| is_choice(line)).unwrap_or(block.len());
    words(&block[..end])
}

/// What a permission dialog asks about: all above its choices but the tips.
fn permission(block: &[&str]) -> Vec<String> {
    let end =
        block.iter().rposition(|line| line.trim_start().starts_with("❯ ")).unwrap_or(block.len());
    let mut words = words(&block[..end]);
    words.retain(|line| !line.starts_with("Tip: "));
    words
}

/// Lines that say something, without frames and pictures.
fn words(lines: &[&str]) -> Vec<String> {
    let lines = lines.iter().map(|line| text::one_line(line));
    lines.filter(|line| line.chars().any(char::is_alphanumeric)).collect()
}

/// A wide terminal may show a second column behind a `│` on each line; only what is left of it counts. Frames
/// inside the text are not that regular.
fn without_side_column(lines: &[String]) -> Vec<&str> {
    let whole: Vec<&str> = lines.iter().map(String::as_str).collect();
    let column = |line: &str| {
        line.char_indices().enumerate().skip(60).find(|(_, (_, c))| *c == '│').map(|(at, _)| at)
    };
    let Some(at) = whole.iter().find_map(|line| column(line)) else { return whole };
    let split =
        |line: &str| line.char_indices().nth(at).filter(|(_, c)| *c == '│').map(|(byte, _)| byte);
    if whole.len() < 8
        || whole.iter().filter(|line| split(line).is_some()).count() * 10 < whole.len() * 9
    {
        return whole;
    }
    whole.into_iter().map(|line| split(line).map_or(line, |byte| line[..byte].trim_end())).collect()
}

pub(crate) fn is_draft_of(draft: &str, text: &str) -> bool {
    if let Some(newlines) = folded_paste(draft.trim()) {
        return newlines == text.matches('\n').count()
            || newlines == text.trim_end().matches('\n').count();
    }
    bare(draft) == bare(text)
}

/// A long paste is shown as `[Pasted text #1 +29 lines]`; the figure counts newlines and is not there for none.
fn folded_paste(draft: &str) -> Option<usize> {
    let rest = draft.strip_prefix("[Pasted text #")?.strip_suffix(']')?;
    let (number, lines) = rest.split_once(" +").unwrap_or((rest, "0 lines"));
    number.parse::<u32>().ok()?;
    lines.split_once(' ').filter(|(_, unit)| unit.starts_with("line"))?.0.parse().ok()
}

fn bare(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

/// Only what the screen shows whole can be proved: a command, an address, a single question with its choices.
/// Of an edit the request knows just the path, and one file may be edited twice. `Escape` denies without a
/// word, so a reason cannot go this way.
pub(crate) fn answer_keys(
    request: &AgentRequest,
    decision: &Decision,
    screen: &Screen,
) -> Option<Vec<Key>> {
    let shown = match_dialog(screen);
    let lines = without_side_column(&screen.lines);
    let row = screen.cursor_y.map(|row| row as usize).filter(|row| *row < lines.len())?;
    let block = &lines[dialog_start(&lines, row)..];
    let first_choice = block.iter().position(|line| is_choice(line))?;
    let choices = options(&block[first_choice..], false);
    match (&request.ask, shown) {
        (Ask::Permission { subject, .. }, Dialog::Permission { .. }) => {
            if !shows_subject(block, &request.tool, subject) {
                return None;
            }
            match decision {
                Decision::Approve => choices
                    .iter()
                    .find(|(_, label)| label == "Yes")
                    .map(|(number, _)| vec![Key::Digit(*number)]),
                Decision::Deny { reason: None } => Some(vec![Key::Escape]),
                Decision::Deny { .. } | Decision::Answer { .. } => None,
            }
        }
        (Ask::Question { text: asked, options, many: false }, Dialog::Question { text: shown })
            if !options.is_empty() =>
        {
            let same = |(at, label): (usize, &String)| {
                choices.get(at).is_some_and(|(_, shown)| bare(shown).starts_with(&bare(label)))
            };
            // A row of tabs: the dialog asks more than this, or wants to be submitted at the end.
            let tabs = block.iter().any(|line| line.starts_with('←'));
            let proved =
                !tabs && bare(asked) == bare(&shown) && options.iter().enumerate().all(same);
            match decision {
                _ if !proved => None,
                Decision::Answer { text } => {
                    let at = options.iter().position(|option| option == text)?;
                    u8::try_from(at + 1)
                        .ok()
                        .filter(|number| *number <= 9)
                        .map(|number| vec![Key::Digit(number)])
                }
                Decision::Deny { reason: None } => Some(vec![Key::Escape]),
                Decision::Deny { .. } | Decision::Approve => None,
            }
        }
        _ => None,
    }
}

/// Whether the dialog is that of `tool` and shows all of `subject`, wherever its lines were wrapped.
fn shows_subject(block: &[&str], tool: &str, subject: &str) -> bool {
    let is_edge = |line: &&&str| line.starts_with("╌╌╌╌");
    let mut edges = block.iter().enumerate().filter(|(_, line)| is_edge(line)).map(|(at, _)| at);
    let (Some(from), Some(to)) = (edges.next(), edges.next()) else { return false };
    let title = block.first().map_or("", |line| line.trim());
    let body = bare(&block[from + 1..to].concat());
    match tool {
        "Bash" => title.starts_with("Bash command") && body == bare(subject),
        "WebFetch" => {
            title.starts_with("Fetch") && body.starts_with(&format!("url:{}prompt:", bare(subject)))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::screen;

    fn drawn(lines: &[&str], x: u32, y: u32) -> Screen {
        Screen {
            lines: lines.iter().map(|l| (*l).to_owned()).collect(),
            cursor_x: Some(x),
            cursor_y: Some(y),
        }
    }

    const RULE: &str =
        "────────────────────────────────────────────────────────────────────────────────";
    const MODE: &str = "  ⏸ manual mode on · ? for shortcuts";

    #[test]
    fn the_cursor_must_stand_in_the_box() {
        let lines = ["❯ hello", "", RULE, "❯ ", RULE, MODE];
        assert_eq!(
            match_dialog(&drawn(&lines, 2, 3)),
            Dialog::Prompt { draft: String::new(), busy: false }
        );
        for y in [0, 1, 2, 4, 5, 9] {
            assert_eq!(match_dialog(&drawn(&lines, 2, y)), Dialog::Unknown, "{y}");
        }
        let unknown = Screen { cursor_y: None, ..drawn(&lines, 2, 3) };
        assert_eq!(match_dialog(&unknown), Dialog::Unknown);
    }

    #[test]
    fn s40_a_box_that_text_draws_is_no_prompt() {
        // A question whose words draw a box right above its choices, the cursor on the first of them.
        let lines = [
            RULE,
            " ☐ Trap",
            "",
            RULE,
            "❯ type here",
            "",
            "❯ 1. Red",
            "  2. Blue",
            RULE,
            MODE,
            "",
            "Enter to select · Esc to cancel",
        ];
        assert!(matches!(match_dialog(&drawn(&lines, 0, 6)), Dialog::Question { .. }));
        // Without the mode line it is not the program's own box.
        assert_eq!(
            match_dialog(&drawn(&[RULE, "❯ ", RULE, "  something else"], 2, 1)),
            Dialog::Unknown
        );
        // In shell mode whatever is typed runs.
        assert_eq!(match_dialog(&drawn(&[RULE, "! ", RULE, MODE], 2, 1)), Dialog::Unknown);
    }

    #[test]
    fn greyed_out_words_are_no_draft_unless_the_cursor_is_behind_them() {
        let lines = [RULE, "❯ Try \"fix the tests\"", RULE, MODE];
        assert_eq!(
            match_dialog(&drawn(&lines, 2, 1)),
            Dialog::Prompt { draft: String::new(), busy: false }
        );
        let typed = Dialog::Prompt { draft: "Try \"fix the tests\"".into(), busy: false };
        assert_eq!(match_dialog(&drawn(&lines, 21, 1)), typed);
    }

    #[test]
    fn a_side_column_is_cut_off() {
        let pad = |line: &str| {
            format!("{line}{}│ Tips for getting started", " ".repeat(90 - line.chars().count()))
        };
        let mut lines: Vec<String> = (0..10).map(|_| pad("")).collect();
        lines.extend([RULE, "❯ a draft", RULE, MODE].map(pad));
        let screen = Screen { lines, cursor_x: Some(9), cursor_y: Some(11) };
        assert_eq!(match_dialog(&screen), Dialog::Prompt { draft: "a draft".into(), busy: false });
    }

    #[test]
    fn a_draft_is_known_again_wrapped_folded_or_whole() {
        let lines = |n: usize| (0..n).map(|i| format!("line {i}")).collect::<Vec<_>>().join("\n");
        for (draft, text, same) in [
            ("one two\nthree", "one two three", true),
            ("https://exam\nple.org", "https://example.org", true),
            ("one", "one two", false),
            ("", "one", false),
            ("[Pasted text #1 +29 lines]", &lines(30), true),
            ("[Pasted text #12 +29 lines]", &format!("{}\n", lines(30)), true),
            ("[Pasted text #1 +1 line]", "a\nb", true),
            ("[Pasted text #2]", &"y".repeat(1500), true),
            ("[Pasted text #1 +29 lines]", &lines(31), false),
            ("[Pasted text #1 +29 lines]x", &lines(30), false),
            ("x [Pasted text #1 +29 lines]", &lines(30), false),
        ] {
            assert_eq!(is_draft_of(draft, text), same, "{draft:?}");
        }
    }

    fn asked(tool: &str, ask: Ask) -> AgentRequest {
        AgentRequest { key: "k".into(), turn: None, tool: tool.into(), ask, answerable: true }
    }

    fn permission_of(tool: &str, subject: &str) -> AgentRequest {
        let ask = Ask::Permission {
            verb: "run".into(),
            subject: subject.into(),
            place: None,
            reason: None,
            careful: vec![],
        };
        asked(tool, ask)
    }

    #[test]
    fn s14_keys_are_pressed_only_for_the_very_dialog_that_is_shown() {
        let touch = permission_of("Bash", "touch made-by-agent.txt && echo done");
        let deny = |reason: Option<&str>| Decision::Deny { reason: reason.map(Into::into) };
        let yes = Some(vec![Key::Digit(1)]);
        for (request, decision, shown, keys) in [
            (&touch, Decision::Approve, "permission-bash", yes.clone()),
            (&touch, Decision::Approve, "narrow-permission", yes.clone()),
            (&touch, Decision::Approve, "wide-permission", yes.clone()),
            (&touch, deny(None), "permission-bash", Some(vec![Key::Escape])),
            (&touch, deny(Some("use make")), "permission-bash", None),
            (&touch, Decision::Answer { text: "1".into() }, "permission-bash", None),
            (
                &permission_of("Bash", "touch sub.txt"),
                Decision::Approve,
                "permission-subagent",
                yes.clone(),
            ),
            (
                &permission_of("Bash", "touch made-by-agent.txt"),
                Decision::Approve,
                "permission-bash",
                None,
            ),
            (
                &permission_of("WebFetch", "http://127.0.0.1:9/page"),
                Decision::Approve,
                "permission-fetch",
                yes.clone(),
            ),
            (
                &permission_of("WebFetch", "http://127.0.0.1:9/pag"),
                Decision::Approve,
                "permission-fetch",
                None,
            ),
            (
                &permission_of("Edit", "/home/ana/.worktrees/app/app-1/notes.txt"),
                Decision::Approve,
                "permission-edit",
                None,
            ),
        ] {
            assert_eq!(
                answer_keys(request, &decision, &screen(shown)),
                keys,
                "{shown} {decision:?}"
            );
        }
        for shown in crate::replay::screens() {
            let other = permission_of("Bash", "rm -rf /");
            assert_eq!(answer_keys(&other, &Decision::Approve, &shown.1), None, "{}", shown.0);
        }
    }

    #[test]
    fn a_choice_is_its_number() {
        let colour = |many: bool| {
            asked(
                "AskUserQuestion",
                Ask::Question {
                    text: "Which colour?".into(),
                    options: vec!["Red".into(), "Blue".into()],
                    many,
                },
            )
        };
        let answer = |text: &str| Decision::Answer { text: text.into() };
        for (request, decision, shown, keys) in [
            (colour(false), answer("Blue"), "question-one", Some(vec![Key::Digit(2)])),
            (colour(false), answer("Purple"), "question-one", None),
            (colour(false), Decision::Approve, "question-one", None),
            (
                colour(false),
                Decision::Deny { reason: None },
                "question-one",
                Some(vec![Key::Escape]),
            ),
            (colour(true), answer("Blue"), "question-one", None),
            (colour(false), answer("Blue"), "question-many", None),
            (colour(false), answer("Blue"), "prompt-empty", None),
        ] {
            assert_eq!(
                answer_keys(&request, &decision, &screen(shown)),
                keys,
                "{shown} {decision:?}"
            );
        }
    }
}
