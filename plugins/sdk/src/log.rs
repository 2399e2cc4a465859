//! What a program wrote, cut down to what a reader or an agent needs: its first error and its end.

use std::fmt::Write as _;

use ao_slots::text::{count, plain};

/// The most of a line, in bytes.
const LINE: usize = 2_000;
/// How many lines in front of the error are kept.
const BEFORE: usize = 20;

/// At most `most` bytes of a log, harmless: from a little before its first line that speaks of an error, and always its
/// end. What is left out is counted.
pub fn around_error(log: &str, most: usize) -> String {
    let log = plain(log);
    let lines: Vec<&str> = log.lines().map(|line| start(line, LINE)).collect();
    if lines.iter().map(|line| line.len() + 1).sum::<usize>() <= most {
        return lines.iter().map(|line| format!("{line}\n")).collect();
    }
    // Room for the words about what is left out.
    let room = most.saturating_sub(120);
    let (from, front) = match error_line(lines.iter().copied()) {
        Some(error) => (error.saturating_sub(BEFORE), room / 4 * 3),
        None => (0, 0),
    };
    let to = from + fitting(lines[from..].iter(), front);
    let tail = lines.len() - fitting(lines[to..].iter().rev(), room - front);
    let mut out = String::new();
    let mut tell = |skipped: usize, lines: &[&str]| {
        if skipped > 0 {
            // Writing to a string does not fail.
            let _ = writeln!(out, "… {} left out", count(skipped as u64, "line", "lines"));
        }
        lines.iter().for_each(|line| out.extend([line, "\n"]));
    };
    tell(from, &lines[from..to]);
    tell(tail - to, &lines[tail..]);
    out
}

/// How many of these lines have room.
fn fitting<'l>(lines: impl Iterator<Item = &'l &'l str>, room: usize) -> usize {
    let mut used = 0;
    let fits = |line: &&&str| {
        used += line.len() + 1;
        used <= room
    };
    lines.take_while(fits).count()
}

/// The first line that speaks of an error, else the first that GitHub marks as one.
pub fn error_line<'l>(lines: impl Iterator<Item = &'l str> + Clone) -> Option<usize> {
    let marked = || lines.clone().position(|line| line.starts_with("##[error]"));
    lines.clone().position(speaks_of_error).or_else(marked)
}

/// Says `error`, `failed`, `panicked`, but not `0 errors`, nor `thiserror`.
fn speaks_of_error(line: &str) -> bool {
    const WORDS: [&str; 9] =
        ["error", "fail", "panic", "fatal", "exception", "traceback", "not ok", "✗", "✘"];
    const NONE: [&str; 4] = ["0 ", "no ", "0 tests ", "without "];
    // A command, and a line of GitHub's own.
    if line.starts_with("$ ") || line.starts_with("##[") {
        return false;
    }
    // Byte by byte, so that both have their places alike.
    let lower = line.to_ascii_lowercase();
    WORDS.iter().flat_map(|word| lower.match_indices(word)).any(|(at, word)| {
        let (before, rest) = (&lower[..at], &lower[at + word.len()..]);
        // Another word's end, unless it is written as `TypeError`.
        let goes_on = before.ends_with(|c: char| c.is_ascii_lowercase())
            && line[at..].starts_with(|c: char| c.is_ascii_lowercase());
        // `0 failed`, but `10 failed`; `errors: 0`.
        let is_none = NONE.iter().any(|none| {
            before
                .strip_suffix(none)
                .is_some_and(|more| !more.ends_with(|c: char| c.is_ascii_digit()))
        }) || ["s: 0", "ed: 0", "ures: 0"].iter().any(|none| rest.starts_with(none));
        !goes_on && !is_none
    })
}

/// At most so many bytes, cut where a character ends.
fn start(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_speaks_of_an_error_or_does_not() {
        for line in [
            "error: no such thing",
            "error[E0308]: mismatched types",
            "TypeError: x is no function",
            "test x ... FAILED",
            "10 failed, 3 passed",
            "thread 'main' panicked at src/main.rs",
            "Traceback (most recent call last):",
            "not ok 3 - adds",
            "  ✗ adds",
            "0 errors, 2 failures",
        ] {
            assert!(speaks_of_error(line), "{line}");
        }
        for line in [
            "Compiling thiserror v2.0.1",
            "test result: ok. 5 passed; 0 failed",
            "no errors",
            "errors: 0, failures: 0",
            "$ cargo test || echo failed",
            "##[group]Run fail",
            "all well",
        ] {
            assert!(!speaks_of_error(line), "{line}");
        }
        assert_eq!(error_line(["a", "##[error]exit 1"].into_iter()), Some(1));
        assert_eq!(error_line(["a", "b"].into_iter()), None);
    }

    #[test]
    fn a_log_keeps_its_error_and_its_end_and_counts_the_rest() {
        const MOST: usize = 48 << 10;
        let noise = "compiling\n".repeat(20_000);
        let log =
            format!("$ fail\n{noise}result: 0 failed\nerror: \x1b[31mno `;`\n{noise}the end\n");
        let told = around_error(&log, MOST);
        assert!(told.len() <= MOST && told.len() > MOST / 2, "{}", told.len());
        assert!(told.ends_with("the end\n"), "{told}");
        let before = told.lines().position(|line| line == "error: no `;`");
        assert_eq!(before, Some(BEFORE + 1));
        assert_eq!(told.lines().filter(|line| line.contains("lines left out")).count(), 2);
        assert_eq!(around_error("short\n", MOST), "short\n");
        // Without an error its end says most.
        let told = around_error(&format!("{noise}exit"), MOST);
        assert!(told.ends_with("exit\n") && told.len() > MOST / 2, "{}", told.len());
        let long = format!("{}error {}", "ä".repeat(50_000), "x".repeat(100_000));
        for log in [long.clone(), format!("{long}\nerror: b"), format!("{noise}{long}\n{noise}")] {
            let told = around_error(&log, MOST);
            assert!(!told.is_empty() && told.len() <= MOST, "{}", told.len());
        }
    }

    proptest::proptest! {
        #[test]
        fn no_log_is_longer_than_asked_for(log in "(.{0,80}\n){0,200}", most in 200usize..4_000) {
            proptest::prop_assert!(around_error(&log, most).len() <= most);
        }
    }
}
