//! Untrusted text: made harmless, shortened visibly, cleared of secrets.
//!
//! Pure functions that every crate uses for what comes from agents, issues, logs and terminals.

use unicode_segmentation::UnicodeSegmentation;

/// Removes what could act on a terminal, a message or a reader: escape sequences (CSI, OSC, DCS, also the
/// 8-bit ones), control characters but newline and tab, bidirectional overrides, zero-width and tag
/// characters. `\r\n` and a lone `\r` become a newline.
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\x1b' => skip_escape(&mut chars),
            '\u{9b}' => skip_csi(&mut chars),
            '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}' => skip_string(&mut chars),
            '\r' => {
                if chars.peek() != Some(&'\n') {
                    out.push('\n');
                }
            }
            '\n' | '\t' => out.push(c),
            c if c.is_control() || is_hidden(c) => {}
            c => out.push(c),
        }
    }
    out
}

/// [`plain`] on one line: runs of white space become one space, ends are trimmed.
pub fn one_line(text: &str) -> String {
    plain(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
        | '\u{00ad}' | '\u{180e}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn skip_escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match chars.peek() {
        Some('[') => {
            chars.next();
            skip_csi(chars);
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            chars.next();
            skip_string(chars);
        }
        // nF sequences: intermediates 0x20–0x2F, then one final byte (ECMA-35).
        Some(' '..='/') => {
            while chars.next_if(|c| matches!(c, ' '..='/')).is_some() {}
            chars.next_if(|c| matches!(c, '0'..='~'));
        }
        Some('0'..='~') => {
            chars.next();
        }
        _ => {}
    }
}

/// Parameters and intermediates up to the final byte 0x40–0x7E (ECMA-48). A newline ends a broken one.
fn skip_csi(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    while chars.next_if(|c| matches!(c, ' '..='?')).is_some() {}
    chars.next_if(|c| matches!(c, '@'..='~'));
}

/// Up to BEL or ST. An unfinished one swallows the rest of its line only.
fn skip_string(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    while let Some(&c) = chars.peek() {
        match c {
            '\n' => return,
            '\x07' | '\u{9c}' => {
                chars.next();
                return;
            }
            '\x1b' => {
                chars.next();
                chars.next_if_eq(&'\\');
                return;
            }
            _ => {
                chars.next();
            }
        }
    }
}

/// At most `limit` graphemes, `…` included where something was cut; cut at a word where one is near.
pub fn cut(text: &str, limit: usize) -> String {
    let graphemes: Vec<&str> = text.graphemes(true).take(limit + 1).collect();
    if graphemes.len() <= limit {
        return text.to_owned();
    }
    let Some(keep) = limit.checked_sub(1) else { return String::new() };
    let word = graphemes[..keep].iter().rposition(|g| g.chars().all(char::is_whitespace));
    let end = word.filter(|at| *at * 4 >= keep * 3).unwrap_or(keep);
    let mut out: String = graphemes[..end].concat();
    out.truncate(out.trim_end().len());
    out.push('…');
    out
}

/// At most `limit` graphemes of verbatim text, and how much is missing: `… +340 characters`.
pub fn cut_counted(text: &str, limit: usize) -> String {
    let count = text.graphemes(true).count();
    if count <= limit {
        return text.to_owned();
    }
    let kept: String = text.graphemes(true).take(limit).collect();
    format!("{}… +{} characters", kept.trim_end(), count - limit)
}

/// A path or branch of at most `limit` graphemes, cut in the middle.
pub fn cut_middle(text: &str, limit: usize) -> String {
    let graphemes: Vec<&str> = text.graphemes(true).collect();
    if graphemes.len() <= limit || limit < 3 {
        return cut(text, limit);
    }
    let tail = (limit - 1) * 2 / 3;
    let head = limit - 1 - tail;
    format!("{}…{}", graphemes[..head].concat(), graphemes[graphemes.len() - tail..].concat())
}

/// Replaces what looks like a secret by `[hidden]`: tokens of known shape, PEM blocks, JSON web tokens,
/// passwords in addresses and in `NAME=value` pairs whose name says so.
pub fn redact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_pem = false;
    for (at, line) in text.split('\n').enumerate() {
        if at > 0 {
            out.push('\n');
        }
        if in_pem {
            in_pem = !line.contains("-----END ");
            continue;
        }
        if let Some(start) = line.find("-----BEGIN ").filter(|_| line.contains("PRIVATE KEY")) {
            out.push_str(&line[..start]);
            out.push_str(HIDDEN);
            in_pem = !line.contains("-----END ");
            continue;
        }
        redact_line(line, &mut out);
    }
    out
}

const HIDDEN: &str = "[hidden]";

/// Prefixes of tokens as their vendors publish them, with the least number of characters that follow.
const TOKENS: &[(&str, usize)] = &[
    ("ghp_", 20),
    ("gho_", 20),
    ("ghu_", 20),
    ("ghs_", 20),
    ("ghr_", 20),
    ("github_pat_", 20),
    ("glpat-", 16),
    ("xoxb-", 10),
    ("xoxa-", 10),
    ("xoxp-", 10),
    ("xoxr-", 10),
    ("xoxs-", 10),
    ("xapp-", 10),
    ("sk-", 16),
    ("AKIA", 16),
    ("ASIA", 16),
    ("npm_", 20),
    ("lin_api_", 16),
    ("tk_", 24),
    ("AIza", 30),
    ("whsec_", 16),
];

fn redact_line(line: &str, out: &mut String) {
    let is_token =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '+' | '/' | '=' | '~');
    let mut rest = line;
    let mut after_secret_name = false;
    while !rest.is_empty() {
        let run = rest.find(|c: char| !is_token(c)).unwrap_or(rest.len());
        if run == 0 {
            let c = rest.chars().next().unwrap_or_default();
            // `https://user:password@host`
            if let Some(tail) = rest.strip_prefix("://") {
                out.push_str("://");
                let authority =
                    tail.find(|c: char| c == '/' || c.is_whitespace()).unwrap_or(tail.len());
                if let Some(at) = tail[..authority].rfind('@') {
                    out.push_str(HIDDEN);
                    rest = &tail[at..];
                } else {
                    rest = tail;
                }
                after_secret_name = false;
                continue;
            }
            if !matches!(c, ' ' | ':' | '"' | '\'' | '\t') {
                after_secret_name = false;
            }
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let (word, tail) = rest.split_at(run);
        redact_word(word, &mut after_secret_name, out);
        rest = tail;
    }
}

fn redact_word(word: &str, after_secret_name: &mut bool, out: &mut String) {
    if let Some((name, value)) = word.split_once('=')
        && names_secret(name)
        && !value.is_empty()
    {
        out.push_str(name);
        out.push('=');
        out.push_str(HIDDEN);
        *after_secret_name = false;
        return;
    }
    let bearer = word.eq_ignore_ascii_case("bearer") || word.eq_ignore_ascii_case("basic");
    if std::mem::take(after_secret_name) && word.len() >= 6 && !bearer {
        out.push_str(HIDDEN);
        return;
    }
    *after_secret_name = bearer || names_secret(word.trim_end_matches('='));
    match token_in(word) {
        Some((at, end)) => {
            out.push_str(&word[..at]);
            out.push_str(HIDDEN);
            out.push_str(&word[end..]);
        }
        None => out.push_str(word),
    }
}

/// Whether a name says that its value is secret, e.g. `API_KEY`, `db_password`, `--token`.
fn names_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let name = name.trim_start_matches('-');
    [
        "password",
        "passwd",
        "secret",
        "api_key",
        "apikey",
        "api-key",
        "access_key",
        "private_key",
        "auth_token",
        "access_token",
        "authorization",
    ]
    .iter()
    .any(|word| name.ends_with(word))
        || name == "token"
        || name.ends_with("_token")
        || name.ends_with("-token")
}

fn token_in(word: &str) -> Option<(usize, usize)> {
    for (prefix, least) in TOKENS {
        for (at, _) in word.match_indices(prefix) {
            let before = word[..at].chars().next_back();
            if before.is_some_and(|c| c.is_ascii_alphanumeric()) {
                continue;
            }
            let tail = &word[at + prefix.len()..];
            let length = tail
                .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-')))
                .unwrap_or(tail.len());
            if length >= *least {
                return Some((at, at + prefix.len() + length));
            }
        }
    }
    // A JSON web token: three base64url parts, the first two of which begin with `{"`.
    let at = word.find("eyJ")?;
    let parts: Vec<&str> = word[at..].splitn(3, '.').collect();
    let jwt = parts.len() == 3
        && parts[1].starts_with("eyJ")
        && parts[0].len() >= 10
        && parts[2].len() >= 10;
    jwt.then_some((at, word.len()))
}

/// The part of a name that may stand in a branch, a ref or a path: lower-case ASCII letters and digits with
/// single hyphens between, at most `limit` bytes. Everything else is a separator. May be empty.
pub fn slug(text: &str, limit: usize) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            out.push(c.to_ascii_lowercase());
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
    }
    out.truncate(limit);
    out.truncate(out.trim_end_matches('-').len());
    out
}

/// `1 session`, `2 sessions`.
pub fn count(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", thousands(n), if n == 1 { one } else { many })
}

/// `1,000`.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, c) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// A duration in prose: `40 s`, `12 min`, `1 h 12 min`, `3 d 4 h`.
pub fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => match seconds % 3600 / 60 {
            0 => format!("{} h", seconds / 3600),
            minutes => format!("{} h {minutes} min", seconds / 3600),
        },
        _ => match seconds % 86_400 / 3600 {
            0 => format!("{} d", seconds / 86_400),
            hours => format!("{} d {hours} h", seconds / 86_400),
        },
    }
}

/// A duration in a table: `40s`, `12m`, `1h12m`, `3d`.
pub fn duration_short(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..172_800 => match seconds % 3600 / 60 {
            0 => format!("{}h", seconds / 3600),
            minutes => format!("{}h{minutes:02}m", seconds / 3600),
        },
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A size: `310 MiB`, `41 GiB`, `900 B`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if value < 9.95 {
        format!("{value:.1} {}", UNITS[unit])
    } else {
        format!("{value:.0} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s40_escape_sequences_are_inert_and_text_survives() {
        for (from, to) in [
            ("a\x1b[31mred\x1b[0m", "ared"),
            ("\x1b]52;c;ZXZpbA==\x07after", "after"),
            ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
            ("\x1b]0;title\x07x", "x"),
            ("\x1bP$q\"p\x1b\\x", "x"),
            ("\u{9b}31mx", "x"),
            ("a\u{202e}b\u{200b}c\u{e0041}", "abc"),
            ("a\r\nb\rc", "a\nb\nc"),
            ("unfinished \x1b]52;c;AAAA\nnext line", "unfinished \nnext line"),
            ("bell\x07 null\0", "bell null"),
            ("日本 👩‍👩‍👧 é", "日本 👩‍👩‍👧 é"),
        ] {
            assert_eq!(plain(from), to, "{from:?}");
        }
    }

    #[test]
    fn s32_secrets_are_hidden_and_other_text_is_kept() {
        for (from, to) in [
            ("token ghp_abcdefghijklmnopqrstuvwxyz0123 end", "token [hidden] end"),
            ("https://ana:pa55@host/x", "https://[hidden]@host/x"),
            ("API_KEY=abcdef", "API_KEY=[hidden]"),
            ("Authorization: Bearer abc.def.ghi", "Authorization: Bearer [hidden]"),
            ("password: hunter22", "password: [hidden]"),
            ("aws AKIAIOSFODNN7EXAMPLE.", "aws [hidden]."),
            ("x eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJSMeKKF", "x [hidden]"),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nafter",
                "[hidden]\n\n\nafter",
            ),
            ("the risk-free task-list sk-short", "the risk-free task-list sk-short"),
            ("npm test failed in src/token.ts", "npm test failed in src/token.ts"),
            ("https://host/path@2", "https://host/path@2"),
        ] {
            assert_eq!(redact(from), to, "{from:?}");
        }
    }

    #[test]
    fn cuts_are_visible_and_never_split_a_grapheme() {
        assert_eq!(cut("short", 10), "short");
        assert_eq!(cut("one two three four", 15), "one two three…");
        assert_eq!(cut("👩‍👩‍👧👩‍👩‍👧👩‍👩‍👧", 2), "👩‍👩‍👧…");
        assert_eq!(cut_counted("abcdef", 4), "abcd… +2 characters");
        assert_eq!(cut_middle("src/components/cart/cart.test.ts", 16), "src/c…rt.test.ts");
        assert_eq!(cut("x", 0), "");
    }

    #[test]
    fn s13_slugs_hold_nothing_that_git_or_a_shell_could_read() {
        for (from, to) in [
            ("Coupon is applied twice", "coupon-is-applied-twice"),
            ("$(touch P) `x`; --upload-pack=x", "touch-p-x-upload-pack-x"),
            ("a\u{3000}b@{1}.lock", "a-b-1-lock"),
            ("🎉", ""),
        ] {
            assert_eq!(slug(from, 40), to);
        }
        assert!(slug(&"ab ".repeat(100), 40).len() <= 40);
    }

    #[test]
    fn numbers_carry_their_unit_and_plural() {
        assert_eq!(count(1, "session", "sessions"), "1 session");
        assert_eq!(count(1000, "session", "sessions"), "1,000 sessions");
        assert_eq!(
            [duration(40), duration(720), duration(4320), duration(3600)],
            ["40 s", "12 min", "1 h 12 min", "1 h"]
        );
        assert_eq!([duration_short(40), duration_short(4320)], ["40s", "1h12m"]);
        assert_eq!(
            [size(900), size(325_058_560), size(1_258_291)],
            ["900 B", "310 MiB", "1.2 MiB"]
        );
    }

    proptest::proptest! {
        #[test]
        fn s40_plain_leaves_no_control_character(text in ".*") {
            let out = plain(&text);
            proptest::prop_assert!(out.chars().all(|c| !c.is_control() || c == '\n' || c == '\t'));
            proptest::prop_assert_eq!(plain(&out), out.clone());
        }
    }
}
