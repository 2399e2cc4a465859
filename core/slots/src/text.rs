//! Untrusted text: made harmless, shortened visibly, cleared of secrets.
//!
//! Pure functions that every crate uses for what comes from agents, issues, logs and terminals.

use unicode_segmentation::UnicodeSegmentation;

/// Removes what could act on a terminal, a message or a reader: escape sequences (CSI, OSC, DCS, also the
/// 8-bit ones), control characters but newline and tab, bidirectional marks, and characters that cannot be
/// seen: fillers, tags, variation selectors and zero-width ones, but for those that join an emoji or the
/// letters of a script that needs them. `\r\n` and a lone `\r` become a newline.
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
            '\u{2028}' | '\u{2029}' => out.push('\n'),
            c if c.is_control() || is_hidden(c) => {}
            // Part of an emoji: how it is shown, and what it is joined with.
            '\u{fe0f}' => {
                if out.ends_with(is_emoji) || chars.peek() == Some(&'\u{20e3}') {
                    out.push(c);
                }
            }
            '\u{200d}' => {
                let before = out.trim_end_matches('\u{fe0f}').ends_with(is_emoji);
                if before && chars.peek().is_some_and(|next| is_emoji(*next)) {
                    out.push(c);
                }
            }
            // Within words of scripts whose letters join.
            '\u{200c}' => {
                if out.ends_with(|before: char| !before.is_ascii() && before.is_alphabetic()) {
                    out.push(c);
                }
            }
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
        '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0e}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Symbols that are shown as pictures, and the modifiers of skin.
fn is_emoji(c: char) -> bool {
    matches!(c,
        '\u{a9}' | '\u{ae}' | '\u{203c}' | '\u{2049}' | '\u{2122}' | '\u{2139}' | '\u{2190}'..='\u{21ff}'
        | '\u{2300}'..='\u{23ff}' | '\u{2460}'..='\u{24ff}' | '\u{25a0}'..='\u{27bf}' | '\u{2934}' | '\u{2935}'
        | '\u{2b00}'..='\u{2bff}' | '\u{3030}' | '\u{303d}' | '\u{3297}' | '\u{3299}'
        | '\u{1f000}'..='\u{1faff}')
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

/// The first seven letters of a commit's name, wherever it comes from.
pub fn short_commit(name: &str) -> String {
    one_line(&redact(&plain(name))).chars().take(7).collect()
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

/// How many characters a reader sees.
pub fn length(text: &str) -> usize {
    text.graphemes(true).count()
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

/// Replaces what looks like a secret by `[hidden]`: tokens of known shape, PEM blocks, JSON web tokens, the base64 of
/// one of these, passwords in addresses and in `NAME=value` pairs whose name says so.
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

/// The same of a text by which a human decides: hides tokens of known shape, JSON web tokens and the lines of a
/// private key, and nothing for what stands beside it. Else `https://$(rm -r .)@host` could pass as a password.
pub fn redact_tokens(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_pem = false;
    for line in text.split_inclusive('\n') {
        in_pem |= line.contains("-----BEGIN ") && line.contains("PRIVATE KEY");
        if in_pem {
            hide_key(line, &mut out);
        } else {
            hide_tokens(line, &mut out);
        }
        in_pem &= !line.contains("-----END ");
    }
    out
}

/// The shortest base64 that can stand for a token, in characters.
const LEAST_BASE64: usize = 20;

/// What stands where something was taken out.
pub const HIDDEN: &str = "[hidden]";

/// What the secret of an access begins with; 32 hexadecimal digits follow.
pub const ACCESS: &str = "aok_";

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
    (ACCESS, 32),
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
    match encodes_secret(word) {
        true => out.push_str(HIDDEN),
        false => hide_tokens(word, out),
    }
}

/// Whether a run of base64 in a word, of either alphabet, stands for a secret. Each character is looked at once.
fn encodes_secret(word: &str) -> bool {
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '-' | '_');
    word.split(|c| !is_base64(c)).filter(|run| run.len() >= LEAST_BASE64).any(|run| {
        let (mut bytes, mut bits, mut held) = (Vec::with_capacity(run.len()), 0_u32, 0);
        for byte in run.bytes() {
            let sextet = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' | b'-' => 62,
                _ => 63,
            };
            (bits, held) = (bits << 6 | u32::from(sextet), held + 6);
            if held >= 8 {
                held -= 8;
                bytes.push((bits >> held) as u8);
                bits &= (1 << held) - 1;
            }
        }
        let meant = String::from_utf8_lossy(&bytes);
        let mut shown = String::with_capacity(meant.len());
        hide_tokens(&meant, &mut shown);
        shown != meant || meant.contains("-----BEGIN ") && meant.contains("PRIVATE KEY")
    })
}

/// Looks at each run of characters once: hostile text must not cost the square of its length.
fn hide_tokens(text: &str, out: &mut String) {
    let (mut kept, mut from) = (0, 0);
    while let Some(start) = text[from..].find(is_part).map(|at| from + at) {
        from = start + run_of(&text[start..], is_part);
        if let Some((at, end)) = token_in(text, start, from) {
            out.push_str(&text[kept..at]);
            out.push_str(HIDDEN);
            (kept, from) = (end, end);
        }
    }
    out.push_str(&text[kept..]);
}

/// Hides the long runs of base64 in a line of a key.
fn hide_key(mut line: &str, out: &mut String) {
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    while let Some(at) = line.find(is_base64) {
        let run = run_of(&line[at..], is_base64);
        out.push_str(&line[..at]);
        out.push_str(if run >= 40 { HIDDEN } else { &line[at..at + run] });
        line = &line[at + run..];
    }
    out.push_str(line);
}

/// Bytes of the characters at the beginning that are `like` that.
fn run_of(text: &str, like: impl Fn(char) -> bool) -> usize {
    text.find(|c| !like(c)).unwrap_or(text.len())
}

/// Whether a name says that its value is secret, e.g. `API_KEY`, `db_password`, `--token`.
pub fn names_secret(name: &str) -> bool {
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

/// What tokens are made of.
fn is_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

/// The first token that begins in this run of [`is_part`], and where it ends.
fn token_in(text: &str, start: usize, end: usize) -> Option<(usize, usize)> {
    let web_end = web_token_after(&text[end..]).map(|length| end + length);
    (start..end).find_map(|at| {
        let rest = &text[at..end];
        let begins = !text[..at].ends_with(|c: char| c.is_ascii_alphanumeric());
        let known = |(prefix, least): &(&str, usize)| {
            rest.strip_prefix(prefix).is_some_and(|after| after.len() >= *least)
        };
        if begins && TOKENS.iter().any(known) {
            return Some((at, end));
        }
        web_end.filter(|_| rest.starts_with("eyJ") && rest.len() >= 10).map(|end| (at, end))
    })
}

/// What follows the first part of a JSON web token: three base64url parts, the first two of which begin with
/// `{"`.
fn web_token_after(text: &str) -> Option<usize> {
    let second = text.strip_prefix('.').filter(|second| second.starts_with("eyJ"))?;
    let length = run_of(second, is_part);
    let last = run_of(second[length..].strip_prefix('.')?, is_part);
    (last >= 10).then_some(1 + length + 1 + last)
}

/// A word of a command line as a human pastes it into a shell: quoted where it has to be.
pub fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./%@:,+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
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
    fn s40_what_cannot_be_seen_is_taken_away() {
        let hidden = [
            '\u{e0100}',
            '\u{e01ef}',
            '\u{e0041}',
            '\u{3164}',
            '\u{061c}',
            '\u{115f}',
            '\u{1160}',
            '\u{ffa0}',
            '\u{034f}',
            '\u{fe00}',
            '\u{fe0e}',
            '\u{fe0f}',
            '\u{200c}',
            '\u{200d}',
            '\u{200b}',
            '\u{2066}',
            '\u{206a}',
            '\u{feff}',
        ];
        for c in hidden {
            assert_eq!(plain(&format!("r{c}m{c}")), "rm", "U+{:04X}", c as u32);
        }
        for kept in [
            "\u{1f469}\u{1f3fd}\u{200d}\u{1f4bb} \u{2764}\u{fe0f}\u{200d}\u{1f525}",
            "1\u{fe0f}\u{20e3} \u{1f3f3}\u{fe0f}\u{200d}\u{1f308} \u{26a0}\u{fe0f}",
            "می\u{200c}خواهم",
        ] {
            assert_eq!(plain(kept), kept);
        }
        // Beside an emoji only once, and only between two of them.
        assert_eq!(plain("\u{26a0}\u{fe0f}\u{fe0f}\u{200d}x"), "\u{26a0}\u{fe0f}x");
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
            ("ghp_abcdefghijklmnopqrstuvwxyz0123/glpat-abcdefghijklmnopqrst", "[hidden]/[hidden]"),
            ("bot xoxb-2345-67890-abcdef,", "bot [hidden],"),
            // `ghp_abcdefghijklmnopqrstuvwxyz0123`, `ana:xoxb-2345-67890-abcdef`, the beginning of a key
            ("is Z2hwX2FiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6MDEyMw== so", "is [hidden] so"),
            ("data=YW5hOnhveGItMjM0NS02Nzg5MC1hYmNkZWY", "[hidden]"),
            ("LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCk1JSUU=", "[hidden]"),
            (
                "c3JjL2NvbXBvbmVudHMvY2FydC9jYXJ0LnRlc3QudHM=",
                "c3JjL2NvbXBvbmVudHMvY2FydC9jYXJ0LnRlc3QudHM=",
            ),
            ("src/components/cart/cart.test.ts", "src/components/cart/cart.test.ts"),
            ("the risk-free task-list sk-short", "the risk-free task-list sk-short"),
            ("npm test failed in src/token.ts", "npm test failed in src/token.ts"),
            ("https://host/path@2", "https://host/path@2"),
        ] {
            assert_eq!(redact(from), to, "{from:?}");
        }
    }

    #[test]
    fn s32_a_secret_that_a_colour_or_a_hidden_character_splits_is_one() {
        for split in ["\u{1b}[31m", "\u{1b}]0;x\u{7}", "\u{200b}", "\u{202e}"] {
            let text = format!("token ghp_abcdefghij{split}klmnopqrstuvwxyz0123 end");
            assert_eq!(redact(&plain(&text)), "token [hidden] end", "{split:?}");
        }
    }

    #[test]
    fn what_a_human_decides_on_is_hidden_only_where_it_has_the_shape_of_a_secret() {
        for same in [
            "curl https://$(rm${IFS}-rf${IFS}.)@h/ ; exec -a token ./evil_script.sh",
            "API_KEY=$(./evil) run --password ./evil.sh; token: ./evil.sh",
            "echo '-----BEGIN PRIVATE KEY-----'; rm -rf . # -----END \n./evil.sh",
            "echo eyJhbGciOiJI.eyJzdWIiOiIx./../../evil.sh",
            "sk-short eyJ eyJ. eyJa.eyJ ghp_",
        ] {
            assert_eq!(redact_tokens(same), same);
        }
        let key = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ";
        for (from, to) in [
            ("a ghp_abcdefghijklmnopqrstuvwxyz0123;rm b", "a [hidden];rm b"),
            (
                "x AKIAIOSFODNN7EXAMPLE sk-abcdefghijklmnopqrst/ghp_abcdefghijklmnopqrstuvwxyz0123",
                "x [hidden] [hidden]/[hidden]",
            ),
            ("x aok_0123456789abcdef0123456789abcdef y", "x [hidden] y"),
            ("x eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJSMeKKF; rm", "x [hidden]; rm"),
            (
                &format!(
                    "-----BEGIN PRIVATE KEY-----\n{key}\n{key}\nrm x\n-----END PRIVATE KEY-----\n{key}"
                ),
                &format!(
                    "-----BEGIN PRIVATE KEY-----\n[hidden]\n[hidden]\nrm x\n-----END PRIVATE KEY-----\n{key}"
                ),
            ),
        ] {
            assert_eq!(redact_tokens(from), to);
        }
    }

    #[test]
    fn tokens_are_found_wherever_they_begin_and_nothing_else_is() {
        let token = "ghp_abcdefghijklmnopqrstuvwxyz0123";
        let key = "AKIAIOSFODNN7EXAMPLE";
        let web = "eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJSMeKKF";
        for (from, to) in [
            (format!("x_{token}"), "x_[hidden]"),
            (format!("x{token}"), "x{token}"),
            (format!("é{token}é{key}"), "é[hidden]é[hidden]"),
            (format!("sk-{key}"), "[hidden]"),
            (format!("{key}.{key}_{token}.{web}"), "[hidden].[hidden].[hidden]"),
            (format!("abc{web}.{web}"), "abc[hidden].[hidden]"),
            (format!("eyJ-{web}"), "[hidden]"),
            (format!("tk_{web}"), "tk_[hidden]"),
            (format!("a.{web}.b eyJhbGciOiJI.eyJ.SflKxwRJSM"), "a.[hidden].b [hidden]"),
            ("eyJhbGciOiJI.eyJzdWIi.short.eyJzdWIi.eyJzdWIi".to_owned(), "{}"),
            ("eyJhbGciOiJI.eyJé.SflKxwRJSM eyJhbGciOiJI.é".to_owned(), "{}"),
            ("eyJhbGciOiJI. eyJhbGciOiJI.eyJ eyJhbGciOiJI.eyJ.".to_owned(), "{}"),
        ] {
            let to = to.replace("{token}", token).replace("{}", &from);
            assert_eq!(redact_tokens(&from), to, "{from}");
        }
    }

    /// Each of them took minutes while its square was looked at.
    #[test]
    fn a_hostile_mebibyte_is_looked_at_once() {
        for part in ["eyJ", "sk-", "_ghp_", "AKIAIOSFODNN7EXAMPLE "] {
            let text = part.repeat((1 << 20) / part.len());
            let hidden =
                [redact(&text), redact_tokens(&text)].map(|text| text.matches(HIDDEN).count());
            let tokens = match part {
                "sk-" | "_ghp_" => 1,
                "AKIAIOSFODNN7EXAMPLE " => text.len() / part.len(),
                _ => 0,
            };
            assert_eq!(hidden, [tokens; 2], "{part}");
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
