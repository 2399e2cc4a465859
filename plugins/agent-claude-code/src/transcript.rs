//! Reads `projects/<folder>/<conversation>.jsonl`, whole lines at a time.
//!
//! The transcript is read seconds after its hooks, so it tells only what cannot be overtaken by them: texts that
//! arrived, a turn that a human interrupted (no hook says so), when a quota is back, figures. It opens no turn
//! and ends no tool: by then the same command may be asked for again.

use std::collections::HashMap;

use ao_slots::{
    agent::{Introspection, Signal, Usage},
    text,
};
use jiff::{Timestamp, civil, tz::TimeZone};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{hook, launch};

/// Characters of the last text that make the summary.
const SUMMARY: usize = 200;

/// Begins the text that a `Stop` hook handed over.
const HANDED_OVER: &str = "Stop hook feedback:\n";
/// Begins the line that an interrupted turn leaves.
const INTERRUPTED: &str = "[Request interrupted by user";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    is_sidechain: bool,
    #[serde(default)]
    is_meta: bool,
    #[serde(default)]
    is_compact_summary: bool,
    #[serde(default)]
    is_api_error_message: bool,
    session_id: Option<String>,
    prompt_id: Option<String>,
    timestamp: Option<Timestamp>,
    origin: Option<Origin>,
    message: Option<Message>,
    attachment: Option<Attachment>,
    error: Option<Value>,
    #[serde(rename = "totalCostUSD")]
    total_cost_usd: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Origin {
    kind: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Message {
    id: Option<String>,
    #[serde(default)]
    content: Value,
    usage: Option<Tokens>,
}

#[derive(Debug, Deserialize)]
struct Attachment {
    #[serde(rename = "type")]
    kind: Option<String>,
    prompt: Option<Value>,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Tokens {
    #[serde(default)]
    input_tokens: Option<u64>,
    #[serde(default)]
    cache_creation_input_tokens: Option<u64>,
    #[serde(default)]
    cache_read_input_tokens: Option<u64>,
    #[serde(default)]
    output_tokens: Option<u64>,
}

impl Tokens {
    /// What came since.
    fn since(self, before: Self) -> Self {
        let more = |now: Option<u64>, before: Option<u64>| {
            now.map(|now| now.saturating_sub(before.unwrap_or(0)))
        };
        Self {
            input_tokens: more(self.input_tokens, before.input_tokens),
            cache_creation_input_tokens: more(
                self.cache_creation_input_tokens,
                before.cache_creation_input_tokens,
            ),
            cache_read_input_tokens: more(
                self.cache_read_input_tokens,
                before.cache_read_input_tokens,
            ),
            output_tokens: more(self.output_tokens, before.output_tokens),
        }
    }
}

impl Message {
    /// Its texts, joined by newlines; tool calls and results are none.
    fn text(&self) -> String {
        match &self.content {
            Value::String(text) => text.clone(),
            Value::Array(blocks) => {
                let texts = blocks.iter().filter(|block| block["type"] == "text");
                texts.filter_map(|block| block["text"].as_str()).collect::<Vec<_>>().join("\n")
            }
            _ => String::new(),
        }
    }
}

pub(crate) fn introspect(bytes: &[u8], carry: &str) -> Introspection {
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let mut reader = Reader { counted: serde_json::from_str(carry).ok(), ..Reader::default() };
    for line in bytes[..whole].split(|byte| *byte == b'\n') {
        // What was sent to the model makes nine tenths of a file and says nothing here.
        if line.is_empty() || line.starts_with(b"{\"type\":\"api-") {
            continue;
        }
        // A line that cannot be read is of a kind that is not known.
        if let Ok(line) = serde_json::from_slice::<Line>(line) {
            reader.read(&line);
        }
    }
    let signals = reader.signals();
    let carry = reader.counted.and_then(|counted| serde_json::to_string(&counted).ok());
    Introspection {
        consumed: whole as u64,
        signals,
        user_texts: reader.user_texts,
        carry: carry.unwrap_or_default(),
    }
}

#[derive(Debug, Default)]
struct Reader {
    alive: bool,
    /// What the end of the stretch says about the turn, unless it went on.
    last: Option<Signal>,
    user_texts: Vec<String>,
    usage: Usage,
    /// By message: each of its content blocks is a line that repeats the figures.
    tokens: HashMap<String, Tokens>,
    /// The last message of the stretch before, and at the end of this one: it may go on in the next.
    counted: Option<(String, Tokens)>,
    last_message: Option<String>,
}

impl Reader {
    fn read(&mut self, line: &Line) {
        if line.is_sidechain {
            return;
        }
        if line.session_id.is_some() {
            self.usage.native_id.clone_from(&line.session_id);
        }
        match line.kind.as_str() {
            "user" => self.user(line),
            "assistant" => self.assistant(line),
            "attachment" => self.queued(line),
            "system" => self.alive = true,
            "cost-state" => {
                // Rounded to whole millionths; a negative or absurd figure saturates.
                self.usage.cost_micros = line.total_cost_usd.map(|usd| (usd * 1e6).round() as u64);
            }
            _ => {}
        }
    }

    fn user(&mut self, line: &Line) {
        let Some(message) = &line.message else { return };
        let text = message.text();
        self.alive = true;
        self.last = text.starts_with(INTERRUPTED).then(|| Signal::TurnEnded {
            turn: line.prompt_id.clone(),
            last_words: None,
            background: false,
        });
        let typed = line.origin.as_ref().and_then(|origin| origin.kind.as_deref()) == Some("human");
        if line.is_compact_summary {
        } else if let Some(handed_over) = text.strip_prefix(HANDED_OVER).filter(|_| line.is_meta) {
            self.user_texts.push(handed_over.to_owned());
        } else if typed && !line.is_meta && !text.is_empty() {
            self.user_texts.push(launch::submitted(&text));
        }
    }

    /// A message that was queued while a turn ran and read within it.
    fn queued(&mut self, line: &Line) {
        let Some(attachment) =
            line.attachment.as_ref().filter(|a| a.kind.as_deref() == Some("queued_command"))
        else {
            return;
        };
        if let Some(Value::String(prompt)) = &attachment.prompt {
            self.user_texts.push(launch::submitted(prompt));
        }
    }

    fn assistant(&mut self, line: &Line) {
        let Some(message) = &line.message else { return };
        let words = message.text();
        self.alive = true;
        self.last = None;
        if line.is_api_error_message {
            if line.error.as_ref().and_then(Value::as_str) == Some("rate_limit") {
                let until = line.timestamp.and_then(|said| resets(&words, said));
                self.last = until.map(|until| Signal::RateLimited { until: Some(until) });
            }
            return;
        }
        if let (Some(id), Some(tokens)) = (&message.id, message.usage) {
            self.tokens.insert(id.clone(), tokens);
            self.last_message = Some(id.clone());
        }
        if let Some(summary) = hook::words_of(&words, SUMMARY) {
            self.usage.summary = Some(summary);
        }
    }

    fn signals(&mut self) -> Vec<Signal> {
        let mut signals: Vec<Signal> =
            self.last.take().or(self.alive.then_some(Signal::Alive)).into_iter().collect();
        let last = self.last_message.take();
        let last = last.and_then(|id| self.tokens.get(&id).copied().map(|tokens| (id, tokens)));
        if let Some((id, before)) = &self.counted
            && let Some(tokens) = self.tokens.get_mut(id)
        {
            *tokens = tokens.since(*before);
        }
        self.counted = last.or(self.counted.take());
        let sum = |of: fn(&Tokens) -> [Option<u64>; 3]| {
            let figures = self.tokens.values().flat_map(of).flatten();
            figures.reduce(u64::saturating_add)
        };
        self.usage.input_tokens =
            sum(|t| [t.input_tokens, t.cache_creation_input_tokens, t.cache_read_input_tokens]);
        self.usage.output_tokens = sum(|t| [t.output_tokens, None, None]);
        if self.usage != Usage::default() {
            signals.push(Signal::Usage(std::mem::take(&mut self.usage)));
        }
        signals
    }
}

/// When a quota is back, from words like `You've hit your session limit · resets 3:05pm (Europe/Berlin)` or
/// `resets Nov 25, 3pm (UTC)`, said at `said`; or, of older versions, `…limit reached|1755806400`.
fn resets(words: &str, said: Timestamp) -> Option<Timestamp> {
    let line = text::one_line(words);
    if let Some((_, seconds)) = line.rsplit_once('|')
        && let Ok(seconds) = seconds.trim().parse()
    {
        return Timestamp::from_second(seconds).ok();
    }
    let (_, rest) = line.split_once("resets ")?;
    let (when, zone) = rest.split_once(" (")?;
    let zone = TimeZone::get(zone.split_once(')')?.0).ok()?;
    let said = said.to_zoned(zone.clone());
    let mut parts = when.split(", ").collect::<Vec<_>>();
    let time = clock(parts.pop()?)?;
    let date = match parts.as_slice() {
        [] => said.date(),
        [day] => day_of(day, said.year())?,
        [day, year] => day_of(day, year.parse().ok()?)?,
        _ => return None,
    };
    let at = date.to_datetime(time).to_zoned(zone).ok()?;
    // A bare clock time that is over is tomorrow's; a day that is over is next year's.
    let at = match parts.len() {
        0 if at < said => at.tomorrow().ok()?,
        1 if at < said => at.checked_add(jiff::Span::new().years(1)).ok()?,
        _ => at,
    };
    Some(at.timestamp())
}

/// `3pm`, `11:05am`.
fn clock(text: &str) -> Option<civil::Time> {
    let (digits, add) = match text.strip_suffix("pm") {
        Some(digits) => (digits, 12),
        None => (text.strip_suffix("am")?, 0),
    };
    let (hour, minute) = digits.trim().split_once(':').unwrap_or((digits.trim(), "0"));
    let hour: i8 = hour.parse().ok().filter(|hour| (1..=12).contains(hour))?;
    civil::Time::new(hour % 12 + add, minute.parse().ok()?, 0, 0).ok()
}

/// `Nov 25`.
fn day_of(text: &str, year: i16) -> Option<civil::Date> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (month, day) = text.trim().split_once(' ')?;
    let month = i8::try_from(MONTHS.iter().position(|name| *name == month)?).ok()? + 1;
    civil::Date::new(year, month, day.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_are_read_and_the_rest_comes_again() {
        let line = r#"{"type":"user","origin":{"kind":"human"},"message":{"content":"héllo"},"sessionId":"s"}"#;
        let text = format!("{line}\n{line}");
        let half = introspect(text.as_bytes(), "");
        assert_eq!(half.consumed as usize, line.len() + 1);
        assert_eq!(half.user_texts, ["héllo"]);
        assert_eq!(introspect(line.as_bytes(), ""), Introspection::default());
        assert_eq!(introspect(b"", ""), Introspection::default());
    }

    #[test]
    fn lines_of_unknown_kinds_are_passed_over() {
        let text = "garbage\n{\"type\":7}\n[]\n{\"type\":\"new-kind\",\"x\":1}\n\u{0}\n{}\n";
        let read = introspect(text.as_bytes(), "");
        assert_eq!((read.consumed as usize, read.signals.len()), (text.len(), 0));
    }

    #[test]
    fn blocks_of_one_message_count_once_and_cached_tokens_are_read_ones() {
        let block = r#"{"type":"assistant","message":{"id":"m1","content":[{"type":"text","text":"a"}],"usage":{"input_tokens":1,"cache_read_input_tokens":10,"cache_creation_input_tokens":100,"output_tokens":7}}}"#;
        let other = block.replace("m1", "m2");
        let side = block.replace("m1", "m3").replacen('{', "{\"isSidechain\":true,", 1);
        let read = introspect(format!("{block}\n{block}\n{other}\n{side}\n").as_bytes(), "");
        let Some(Signal::Usage(usage)) = read.signals.last() else { panic!("{read:?}") };
        assert_eq!((usage.input_tokens, usage.output_tokens), (Some(222), Some(14)));
    }

    #[test]
    fn a_message_that_is_read_in_two_stretches_counts_once() {
        let block = |id: &str, output: u64| {
            format!(
                r#"{{"type":"assistant","message":{{"id":"{id}","content":[],"usage":{{"input_tokens":10,"output_tokens":{output}}}}}}}"#
            )
        };
        let result = r#"{"type":"user","message":{"content":[{"type":"tool_result"}]}}"#;
        // Tools may end before the message that called them does.
        let lines = [block("m1", 7), block("m2", 1), result.into(), block("m2", 5), block("m3", 2)];
        let whole = format!("{}\n", lines.join("\n"));
        let sums = |bytes: &[u8], carry: &str| {
            let read = introspect(bytes, carry);
            let Some(Signal::Usage(usage)) = read.signals.last() else { return (0, 0, read.carry) };
            (usage.input_tokens.unwrap_or(0), usage.output_tokens.unwrap_or(0), read.carry)
        };
        let (input, output, _) = sums(whole.as_bytes(), "");
        assert_eq!((input, output), (30, 14));
        let (mut input, mut output, mut carry) = (0, 0, String::new());
        for line in &lines {
            let read = sums(format!("{line}\n").as_bytes(), &carry);
            (input, output, carry) = (input + read.0, output + read.1, read.2);
        }
        assert_eq!((input, output), (30, 14));
    }

    #[test]
    fn the_summary_is_the_first_200_characters_on_one_line() {
        let words = format!("done:\\n\\n{}", "word ".repeat(100));
        let line = format!(
            r#"{{"type":"assistant","message":{{"content":[{{"type":"text","text":"{words}"}}]}}}}"#
        );
        let read = introspect(format!("{line}\n").as_bytes(), "");
        let Some(Signal::Usage(usage)) = read.signals.last() else { panic!("{read:?}") };
        let summary = usage.summary.as_deref().unwrap();
        assert!(
            summary.starts_with("done: word")
                && summary.chars().count() <= 200
                && summary.ends_with('…')
        );
    }

    #[test]
    fn quotas_come_back_when_the_words_say() {
        let said: Timestamp = "2026-11-21T13:30:00Z".parse().unwrap();
        for (words, expected) in [
            ("You've hit your session limit · resets 3:05pm (UTC)", Some("2026-11-21T15:05:00Z")),
            (
                "You've hit your session limit · resets 3pm (Europe/Berlin)",
                Some("2026-11-21T14:00:00Z"),
            ),
            ("You've hit your limit · resets 1pm (UTC) · /upgrade", Some("2026-11-22T13:00:00Z")),
            ("You've hit your weekly limit · resets 12am (UTC)", Some("2026-11-22T00:00:00Z")),
            (
                "You've hit your weekly limit · resets Nov 25, 3pm (UTC)",
                Some("2026-11-25T15:00:00Z"),
            ),
            ("You've hit your limit · resets Jan 2, 2027, 3pm (UTC)", Some("2027-01-02T15:00:00Z")),
            ("You've hit your limit · resets Jan 2, 3pm (UTC)", Some("2027-01-02T15:00:00Z")),
            ("Claude AI usage limit reached|1755806400", Some("2025-08-21T20:00:00Z")),
            ("API Error: Request rejected (429) · limit reached", None),
            ("resets 3pm", None),
            ("resets 99pm (UTC)", None),
            ("resets 3pm (Nowhere/At All)", None),
        ] {
            assert_eq!(resets(words, said), expected.map(|at| at.parse().unwrap()), "{words}");
        }
    }

    #[test]
    fn a_quota_counts_only_while_nothing_followed() {
        let limit = r#"{"type":"assistant","isApiErrorMessage":true,"error":"rate_limit","timestamp":"2026-11-21T13:30:00Z","message":{"content":[{"type":"text","text":"You've hit your limit · resets 3pm (UTC)"}]}}"#;
        let after = r#"{"type":"user","origin":{"kind":"human"},"message":{"content":"go on"}}"#;
        let until = Some("2026-11-21T15:00:00Z".parse().unwrap());
        assert_eq!(
            introspect(format!("{limit}\n").as_bytes(), "").signals,
            [Signal::RateLimited { until }]
        );
        assert_eq!(
            introspect(format!("{limit}\n{after}\n").as_bytes(), "").signals,
            [Signal::Alive]
        );
    }
}
