//! The small pieces that every sentence is made of: times, counts, names, quotes.

use std::collections::BTreeSet;

use ao_slots::{
    SessionId,
    agent::HIDES,
    notifier::{Action, Button, ButtonStyle, Confirm, Form, OPEN},
    text::{HIDDEN, count, cut, cut_counted, duration, one_line, plain, redact, redact_tokens},
};
use jiff::{Timestamp, tz::TimeZone};

use super::Words;
use crate::{
    event::{Settled, Text},
    state::{Moment, Now, Session},
};

/// Characters of verbatim text in a body. Channels cut further by their own limits.
pub(super) const VERBATIM: usize = 3_000;
/// Characters of a button.
pub(super) const LABEL: usize = 24;
/// Characters of somebody's words in a title.
const IN_TITLE: usize = 200;

/// Untrusted text, harmless and without secrets.
pub(super) fn clean(text: &str) -> String {
    redact(&plain(text)).trim().to_owned()
}

/// The same on one line.
pub(super) fn clean_line(text: &str) -> String {
    one_line(&redact(&plain(text)))
}

/// What a human decides on, harmless: nothing but tokens may be hidden in it.
pub(super) fn asked_for(text: &str) -> String {
    redact_tokens(&plain(text)).trim().to_owned()
}

/// Somebody's words in a title.
pub(super) fn in_title(text: &str) -> String {
    cut(&clean_line(text), IN_TITLE)
}

/// What a human decides on, in a title.
pub(super) fn asked_in_title(text: &str) -> String {
    cut(&one_line(&asked_for(text)), IN_TITLE)
}

/// Verbatim text in a body.
pub(super) fn verbatim(text: &str) -> String {
    cut_counted(&clean(text), VERBATIM)
}

/// Why a text holds what is hidden; none when nothing is.
pub(super) fn hides(text: &str) -> Option<&'static str> {
    text.contains(HIDDEN).then_some(HIDES)
}

/// A cause as the end of a sentence: on one line, without its full stop.
pub(super) fn sentence(text: &str) -> String {
    cut(&clean_line(text), IN_TITLE).trim_end_matches('.').to_owned()
}

/// The last lines that say something.
pub(super) fn last_lines(text: &str, most: usize) -> String {
    let text = clean(text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let from = lines.len().saturating_sub(most);
    lines[from..].iter().map(|line| cut(line.trim_end(), IN_TITLE)).collect::<Vec<_>>().join("\n")
}

/// Sessions with nothing left out: `api-4, app-1…12`.
pub(super) fn ranges(sessions: &[SessionId]) -> String {
    runs(sessions.iter().map(|id| (id.prefix(), id.number().into())))
}

/// The same of ids by their letters and number.
pub(super) fn runs<'a>(ids: impl Iterator<Item = (&'a str, u64)>) -> String {
    let ids: BTreeSet<(&str, u64)> = ids.collect();
    let mut runs: Vec<(&str, u64, u64)> = vec![];
    for (prefix, number) in ids {
        match runs.last_mut() {
            Some((known, _, last)) if *known == prefix && Some(number) == last.checked_add(1) => {
                *last = number;
            }
            _ => runs.push((prefix, number, number)),
        }
    }
    let run = |(prefix, first, last): &(&str, u64, u64)| match first == last {
        true => format!("{prefix}-{first}"),
        false => format!("{prefix}-{first}…{last}"),
    };
    runs.iter().map(run).collect::<Vec<_>>().join(", ")
}

/// `3 commits`, `no commits`.
pub(super) fn some(n: u64, one: &str, many: &str) -> String {
    if n == 0 { format!("no {many}") } else { count(n, one, many) }
}

/// `$1.84`.
pub(super) fn dollars(micros: u64) -> String {
    let cents = micros.saturating_add(5_000) / 10_000;
    format!("${}.{:02}", ao_slots::text::thousands(cents / 100), cents % 100)
}

/// How often a human was called: `asked you once`.
pub(super) fn asked(times: u32) -> String {
    match times {
        0 => "never asked you".into(),
        1 => "asked you once".into(),
        2 => "asked you twice".into(),
        n => format!("asked you {} times", ao_slots::text::thousands(n.into())),
    }
}

/// The first letter in upper case.
pub fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// A duration of awake milliseconds in prose.
pub(super) fn for_ms(ms: u64) -> String {
    duration(ms / 1_000)
}

/// A short duration of milliseconds, `60 s` rather than `1 min`.
pub(super) fn in_seconds(ms: u64) -> String {
    if ms < 120_000 { format!("{} s", ms / 1_000) } else { for_ms(ms) }
}

pub(super) fn button(id: &str, label: &str) -> Button {
    let label = cut(label, LABEL);
    Button {
        id: id.to_owned(),
        action: action_of(id),
        label,
        style: ButtonStyle::Plain,
        confirm: None,
        form: None,
        more: false,
        link: None,
    }
}

/// The verb of a button, whatever its argument is.
fn action_of(id: &str) -> Action {
    match id.split([':', '-']).next().unwrap_or_default() {
        "open" => Action::Open,
        "ack" => Action::Ack,
        "snooze" => Action::Snooze,
        "silence" => Action::Silence,
        "answer" => Action::Answer,
        "approve" => Action::Approve,
        "deny" => Action::Deny,
        "again" | "rerun" => Action::Again,
        "pr" => Action::Pr,
        "restore" => Action::Restore,
        "done" => Action::Done,
        "kill" => Action::Kill,
        "merge" => Action::Merge,
        "release" => Action::Release,
        "test" => Action::Test,
        _ => Action::Send,
    }
}

pub(super) fn primary(id: &str, label: &str) -> Button {
    Button { style: ButtonStyle::Primary, ..button(id, label) }
}

pub(super) fn open_button() -> Button {
    button(OPEN, "Open")
}

pub(super) fn text_button(id: &str, label: &str, form: Form) -> Button {
    Button { form: Some(form), ..button(id, label) }
}

/// Asks for words to a session.
pub(super) fn form(session: &SessionId, verb: &str, submit: &str) -> Form {
    Form {
        title: cut(&format!("{verb} {session}"), LABEL),
        prompt: String::new(),
        options: vec![],
        submit: submit.to_owned(),
        required: true,
    }
}

pub(super) fn confirmed(button: Button, question: String, yes: &str, no: &str) -> Button {
    let confirm = Confirm { question, yes: cut(yes, LABEL), no: no.to_owned() };
    Button { confirm: Some(confirm), ..button }
}

pub(super) fn restore_button() -> Button {
    primary("restore", "Restore")
}

/// Restoring what still runs stops it, so it is asked first.
pub(super) fn restore_running_button() -> Button {
    let question = "Stops the running command, keeps the conversation.".into();
    confirmed(button("restore", "Restore"), question, "Restore", "Leave it")
}

pub(super) fn kill_button(session: &Session) -> Button {
    let id = &session.id;
    let question = match session.work() {
        Some(work) if work.changed_files > 0 => {
            let files = count(work.changed_files.into(), "changed file is", "changed files are");
            format!("Kill {id}? {files} not committed; the workspace stays.")
        }
        Some(work) if work.commits > 0 => {
            format!("Kill {id}? Its branch with {} stays.", commits(work.commits))
        }
        Some(_) => format!("Kill {id}? It has changed nothing."),
        None => format!("Kill {id}? A workspace with unsaved work stays."),
    };
    let kill = Button { style: ButtonStyle::Danger, ..button("kill", "Kill…") };
    confirmed(kill, question, &format!("Kill {id}"), "Keep it")
}

pub(super) fn done_button(session: &Session) -> Button {
    let question = format!("Mark {} as done? The agent is ended, its branch stays.", session.id);
    confirmed(button("done", "Done"), question, "Mark as done", "Not yet")
}

pub(super) fn commits(n: u32) -> String {
    some(n.into(), "commit", "commits")
}

/// What became of the work, in one sentence.
pub(super) fn work_is_safe(session: &Session) -> String {
    let Some(work) = session.work() else {
        return "What became of the work is not known yet.".into();
    };
    let mut parts = vec![];
    if work.commits > 0 {
        parts.push(commits(work.commits));
    }
    if work.changed_files > 0 {
        parts.push(count(work.changed_files.into(), "changed file", "changed files"));
    }
    match parts.is_empty() {
        true => "No work is lost: nothing was changed.".into(),
        false => format!("Work is safe: {}.", parts.join(", ")),
    }
}

/// A time as a reader in `zone` tells it at `now`: the day where it is another, the year where it is another.
pub fn local_time(at: Timestamp, now: Now, zone: &TimeZone, clock: &str) -> String {
    let (at, now) = (at.to_zoned(zone.clone()), now.wall.to_zoned(zone.clone()));
    let day = match (at.date() == now.date(), at.year() == now.year()) {
        (true, _) => "",
        (false, true) => "%a %-d %b ",
        (false, false) => "%-d %b %Y ",
    };
    at.strftime(&format!("{day}{clock}")).to_string()
}

/// How an incident ended.
pub(crate) fn how(how: &Settled) -> String {
    match how {
        Settled::ByItself => "it went away by itself".into(),
        Settled::Handled => "ao handled it".into(),
        Settled::By(actor) => format!("by {actor}"),
        Settled::Over => "the session is over".into(),
    }
}

impl Words<'_> {
    /// `14:28`, on another day `Fri 20 Nov 14:28`; nothing without a zone.
    pub(super) fn time(&self, at: Timestamp) -> String {
        self.formatted(at, "%H:%M")
    }

    /// `14:28:03`.
    pub(super) fn seconds(&self, at: Timestamp) -> String {
        self.formatted(at, "%H:%M:%S")
    }

    fn formatted(&self, at: Timestamp, clock: &str) -> String {
        let local = |zone: &TimeZone| local_time(at, self.now, zone, clock);
        self.zone.as_ref().map(local).unwrap_or_default()
    }

    /// ` at 14:28`, or nothing without a zone.
    pub(super) fn at(&self, at: Timestamp) -> String {
        self.with("at", self.time(at))
    }

    /// ` 14:40:02`.
    pub(super) fn at_seconds(&self, at: Timestamp) -> String {
        self.with("", self.seconds(at))
    }

    /// ` since 14:28`.
    pub(super) fn since(&self, at: Timestamp) -> String {
        self.with("since", self.time(at))
    }

    /// ` until 17:00`.
    pub(super) fn until(&self, at: Timestamp) -> String {
        self.with("until", self.time(at))
    }

    pub(super) fn with(&self, word: &str, time: String) -> String {
        match (time.is_empty(), word) {
            (true, _) => time,
            (false, "") => format!(" {time}"),
            // `Sun 22 Nov 14:00`.
            (false, "at") if time.contains(' ') => format!(" on {time}"),
            (false, word) => format!(" {word} {time}"),
        }
    }

    /// `4 min`: how long ago that was, by wall; nothing for a time to come.
    pub(super) fn age(&self, at: Timestamp) -> String {
        duration(u64::try_from(self.now.wall.duration_since(at).as_secs()).unwrap_or(0))
    }

    /// How long something had lasted when the incident was opened.
    pub(super) fn lasted(&self, opened: Moment, since: Moment, least_ms: Option<u64>) -> String {
        for_ms(opened.awake.saturating_sub(since.awake).max(least_ms.unwrap_or(0)))
    }

    /// A text's whole where it can be read, else its beginning; harmless.
    pub(super) fn whole(&self, text: &Text) -> String {
        let whole = text.blob.as_ref().and_then(|blob| (self.text)(blob));
        clean(&whole.unwrap_or_else(|| text.excerpt.clone()))
    }

    /// Whether the session's project has pull requests to speak of.
    pub(super) fn has_scm(&self, session: &Session) -> bool {
        session.pr.is_some()
            || self.state.policy.projects.get(&session.project).is_some_and(|p| p.expects_prs())
    }
}
