//! What an incident's message says while it is open: one function a kind.

use ao_slots::{
    SessionId,
    agent::Ask,
    fact::{Activity, AgentErrorKind, RuntimeState},
    notifier::{Block, Button, ButtonStyle},
    text::{count, cut, duration, size, thousands},
};

use super::{
    Card, Words,
    phrase::{
        button, capital, clean_line, commits, confirmed, done_button, for_ms, in_seconds, in_title,
        kill_button, last_lines, open_button, primary, ranges, restore_button,
        restore_running_button, some, text_button, verbatim, work_is_safe,
    },
};
use crate::{
    config::trigger::Trigger,
    event::{Subject, Text},
    state::{Fate, Incident, Request, Session},
};

fn text(words: impl Into<String>) -> Block {
    Block::Text(words.into())
}

fn send_button() -> Button {
    text_button("send", "Send a message…")
}

impl Words<'_> {
    /// What an open incident says, before any human has acted.
    pub(super) fn open(&self, incident: &Incident) -> Card {
        let session = match &incident.subject {
            Subject::Session(id) => self.state.sessions.get(id),
            _ => None,
        };
        match (incident.trigger, session) {
            (Trigger::AgentNeedsInput, Some(session)) => self.needs_input(incident, session),
            (Trigger::AgentExited, Some(session)) => self.exited(session),
            (Trigger::AgentErrored, Some(session)) => self.errored(session),
            (Trigger::AgentStuck, Some(session)) if incident.detail.is_some() => {
                self.no_signal(session)
            }
            (Trigger::AgentStuck, Some(session)) => self.stuck(incident, session),
            (Trigger::AgentIdle, Some(session)) => self.idle(incident, session),
            (Trigger::AgentIdleNoPr, Some(session)) => self.idle_no_pr(incident, session),
            (Trigger::AgentFinished, Some(session)) => self.finished(session),
            (Trigger::RateLimited, Some(session)) => self.rate_limited(incident, session),
            (Trigger::PromptUndelivered, Some(session)) => self.undelivered(session),
            (Trigger::RuntimeLost, _) => self.runtime_lost(incident),
            (Trigger::DiskLow, _) => self.disk_low(),
            (Trigger::ConfigRefused, _) => self.config_refused(),
            (Trigger::Tampered, _) => self.tampered(incident),
            (Trigger::ServerWasAway, _) => self.was_away(incident),
            // Of a later stage, or about a session that is no longer kept: named, never hidden.
            (trigger, _) => Card {
                title: format!("{} needs you: {trigger}", incident.subject),
                command: Some(match session {
                    Some(session) => format!("ao why {}", session.id),
                    None => format!("ao why {}", incident.id),
                }),
                ..Card::default()
            },
        }
    }

    fn needs_input(&self, incident: &Incident, session: &Session) -> Card {
        match incident.request.and_then(|id| session.requests.get(&id)) {
            Some(request) => match &request.ask {
                Ask::Question { .. } => self.question(session, request),
                Ask::Permission { .. } => self.permission(session, request),
            },
            None => {
                match (incident.detail.as_deref(), &session.activity_text, &session.suspected) {
                    (Some("setup"), Some(dialog), _) => self.setup(session, dialog),
                    (Some("suspected"), _, Some((line, when))) => {
                        let (id, line) = (&session.id, self.whole(line));
                        let seen = self.at(when.at);
                        Card {
                            title: format!("{id} seems to ask: {}", in_title(&line)),
                            short: format!("Seen on its screen{seen}; it told nothing itself."),
                            body: vec![
                                Block::Quote(verbatim(&line)),
                                text("Only its screen looks so; it told nothing itself."),
                                text("Tried: nothing; ao types nothing while this is unclear."),
                            ],
                            ..self.in_terminal(session)
                        }
                    }
                    (detail, ..) => {
                        let (asks, what) = match detail {
                            Some("question") => ("asks something", "Its question is open"),
                            _ => ("waits for a permission", "Its dialog is open"),
                        };
                        let since = self.since(session.activity.since.at);
                        let id = &session.id;
                        Card {
                            title: format!("{id} {asks} in its terminal"),
                            short: format!("{what}{since}. Answer it there."),
                            body: vec![
                                text(format!("{what}{since}.")),
                                text("Tried: nothing, only you can answer."),
                            ],
                            ..self.in_terminal(session)
                        }
                    }
                }
            }
        }
    }

    /// What only a look into the terminal can settle.
    fn in_terminal(&self, session: &Session) -> Card {
        Card {
            buttons: vec![
                Button { style: ButtonStyle::Primary, ..open_button() },
                kill_button(session),
            ],
            command: Some(format!("ao session attach {}", session.id)),
            ..Card::default()
        }
    }

    fn question(&self, session: &Session, request: &Request) -> Card {
        let Ask::Question { text: question, options, many } = &request.ask else {
            return Card::default();
        };
        let id = &session.id;
        let whole = self.request_text(request, question);
        let options: Vec<String> = options.iter().map(|option| clean_line(option)).collect();
        let numbered: Vec<String> =
            options.iter().zip(1..).map(|(option, n)| format!("{n} {option}")).collect();
        let since = self.since(request.opened.at);
        let waits = format!("Waits{since}.");
        let mut body = vec![Block::Quote(verbatim(&whole))];
        if !numbered.is_empty() {
            body.push(Block::List(numbered.clone()));
        }
        let stopped = match session
            .usage
            .summary
            .as_deref()
            .map(clean_line)
            .filter(|line| !line.is_empty())
        {
            Some(summary) => format!("It stopped at \"{}\" and waits", cut(&summary, 80)),
            None => "It waits".into(),
        };
        let more = if *many { " Several may be chosen." } else { "" };
        let age = self.age(request.opened.at);
        body.push(text(format!(
            "{stopped}{since} ({age}).{more} Tried: nothing, only you can answer."
        )));
        let mut buttons: Vec<Button> = match many {
            true => vec![],
            false => (1..)
                .zip(&options)
                .take(2)
                .map(|(n, o)| button(&format!("answer:{n}"), o))
                .collect(),
        };
        buttons.push(text_button("answer", "Answer…"));
        buttons.push(open_button());
        Card {
            title: format!("{id} asks: {}", in_title(&whole)),
            short: if numbered.is_empty() {
                waits
            } else {
                format!("{}. {waits}", numbered.join(" · "))
            },
            body,
            buttons,
            command: Some(format!("ao answer {id} \"…\"")),
        }
    }

    /// The whole of what is asked: its blob, where the event holds only the beginning.
    fn request_text(&self, request: &Request, beginning: &str) -> String {
        self.whole(&Text { excerpt: beginning.to_owned(), blob: request.full.clone() })
    }

    fn permission(&self, session: &Session, request: &Request) -> Card {
        let Ask::Permission { verb, subject, place, reason, careful } = &request.ask else {
            return Card::default();
        };
        let id = &session.id;
        let whole = self.request_text(request, subject);
        let place = place.as_deref().map(|place| format!("in {}", clean_line(place)));
        let mut body = vec![Block::Code(verbatim(&whole))];
        body.extend(place.clone().map(Block::Text));
        if let Some(reason) = reason.as_deref().map(clean_line).filter(|reason| !reason.is_empty())
        {
            body.push(text(format!("The agent says: \"{}\"", cut(&reason, 300))));
        }
        if !careful.is_empty() {
            let why: Vec<String> = careful.iter().map(|why| clean_line(why)).collect();
            body.push(text(format!("Careful: {}.", why.join("; "))));
        }
        body.push(text(format!("Not on the allowed list of {}.", session.project)));
        let approve = match careful.is_empty() {
            true => primary("approve", "Approve once"),
            false => {
                let question = format!("Let {id} {} this once?", clean_line(verb));
                confirmed(button("approve", "Approve once"), question, "Approve once", "Not now")
            }
        };
        let short = [Some(cut(&clean_line(&whole), 120)), place]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" ");
        Card {
            title: format!("{id} wants to {}: {}", clean_line(verb), in_title(&whole)),
            short,
            body,
            buttons: vec![
                approve,
                button("deny", "Deny"),
                text_button("deny-reason", "Deny with reason…"),
                open_button(),
            ],
            command: Some(format!("ao approve {id}")),
        }
    }

    fn setup(&self, session: &Session, dialog: &Text) -> Card {
        let screen = self.whole(dialog);
        let asks = screen
            .lines()
            .find(|line| line.contains('?'))
            .or_else(|| screen.lines().next())
            .unwrap_or_default();
        Card {
            title: format!("{} waits for a set-up question of {}", session.id, session.agent),
            short: format!("\"{}\" Answer it in the terminal.", cut(&clean_line(asks), 120)),
            body: vec![Block::Code(last_lines(&screen, 8)), text("ao presses nothing here.")],
            ..self.in_terminal(session)
        }
    }

    fn exited(&self, session: &Session) -> Card {
        let id = &session.id;
        let ended = session.runtime_state.since.at;
        let restore_failed = session.failure.as_ref().filter(|(step, _)| step == "restore");
        let how = match (&session.runtime_state.value, restore_failed) {
            _ if session.restore.is_some() => "it is being restored".to_owned(),
            (_, Some(_)) => "it could not be restored".to_owned(),
            (RuntimeState::Exited { code: Some(0) }, _) => {
                "ended by itself, the task looks unfinished".into()
            }
            (RuntimeState::Exited { code: Some(code) }, _) => format!("exited with code {code}"),
            (RuntimeState::Exited { code: None }, _) => "ended by a signal".into(),
            (RuntimeState::Missing, _) => "its process is gone".into(),
            (RuntimeState::Starting | RuntimeState::Alive | RuntimeState::Unknown, _) => {
                "it said good-bye".into()
            }
        };
        let safe = work_is_safe(session);
        let tail = session.tail.as_ref().map(|tail| self.whole(tail)).unwrap_or_default();
        let mut body = vec![];
        if restore_failed.is_none() {
            let when = self.seconds(ended);
            let when = if when.is_empty() { when } else { format!(" ({when})") };
            let ago = self.age(ended);
            body.push(text(format!(
                "{} exited {ago} ago{when}, the task is unfinished.",
                session.agent
            )));
        }
        let lines = last_lines(&tail, 6);
        if !lines.is_empty() {
            body.push(Block::Code(lines));
        }
        body.push(text(safe.clone()));
        body.push(text(self.restoring(session)));
        if session.work().is_none() {
            // Not knowing what became of the work comes first.
            let unknown = body.remove(body.len() - 2);
            body.insert(0, unknown);
        }
        let cause = clean_line(&last_lines(&tail, 1));
        let cause = if cause.is_empty() { cause } else { format!("\"{}\". ", cut(&cause, 120)) };
        Card {
            title: format!("{id} stopped: {how}"),
            short: format!("{cause}{safe}"),
            body,
            buttons: vec![restore_button(), open_button(), kill_button(session)],
            command: Some(format!("ao session restore {id}")),
        }
    }

    fn restoring(&self, session: &Session) -> &'static str {
        match session.resumable && session.native_id.is_some() {
            true => "Restoring keeps the conversation.",
            false => "Restoring starts anew in the same workspace.",
        }
    }

    fn errored(&self, session: &Session) -> Card {
        let id = &session.id;
        let words =
            session.activity_text.as_ref().map(|words| self.whole(words)).unwrap_or_default();
        let kind = match session.activity.value {
            Activity::Errored { kind } => kind,
            _ => AgentErrorKind::Reported,
        };
        let agent = &session.agent;
        let (what, remedy) = match kind {
            AgentErrorKind::Login => (
                "login to the model provider expired".to_owned(),
                format!("Log in once with {agent}, then Restore."),
            ),
            AgentErrorKind::Billing => (
                "the model provider wants payment".into(),
                "Settle the account with the provider, then Restore.".into(),
            ),
            AgentErrorKind::RequestRefused => (
                "the model provider refused the request".into(),
                "Send it a message that asks in another way, or Restore.".into(),
            ),
            AgentErrorKind::ProviderDown => (
                "the model provider does not answer".into(),
                "Restore when the provider answers again.".into(),
            ),
            AgentErrorKind::Reported if words.is_empty() => {
                ("it reported an error".into(), "Open it to see what it says.".into())
            }
            AgentErrorKind::Reported => {
                (in_title(words.lines().next().unwrap_or_default()), work_is_safe(session))
            }
        };
        let mut body = vec![];
        if !words.is_empty() {
            body.push(Block::Code(verbatim(&words)));
        }
        if kind != AgentErrorKind::Reported || words.is_empty() {
            body.push(text(remedy.clone()));
        }
        body.push(text(work_is_safe(session)));
        let mut buttons = vec![restore_button()];
        if matches!(kind, AgentErrorKind::RequestRefused | AgentErrorKind::Reported) {
            buttons.push(send_button());
        }
        buttons.push(open_button());
        Card {
            title: format!("{id} cannot go on: {what}"),
            short: remedy,
            body,
            buttons,
            command: Some(format!("ao session restore {id}")),
        }
    }

    fn stuck(&self, incident: &Incident, session: &Session) -> Card {
        let id = &session.id;
        let reaction = self.state.policy.reaction(Some(&session.project), Trigger::AgentStuck);
        let since = self.since(session.progress.at);
        let (title, short) = match &session.tool {
            Some(tool) => {
                let least = reaction.command_threshold_ms.or(reaction.threshold_ms);
                let lasted = self.lasted(incident.opened, tool.since, least);
                let what = match &tool.command {
                    Some(command) => format!("\"{}\"", cut(&clean_line(&self.whole(command)), 80)),
                    None => clean_line(&tool.tool),
                };
                (format!("{id} is stuck: {what} runs for {lasted}"), format!("No output{since}."))
            }
            None => {
                let lasted = self.lasted(incident.opened, session.progress, reaction.threshold_ms);
                let nothing = "no file change, no output, no command running";
                let short = match since.is_empty() {
                    true => format!("{}.", capital(nothing)),
                    false => {
                        format!("{}: {nothing}.", since.trim_start().replacen("since", "Since", 1))
                    }
                };
                (format!("{id} is stuck: no progress for {lasted}"), short)
            }
        };
        Card {
            title,
            body: vec![
                text(short.clone()),
                text("The process is alive."),
                text("Tried: nothing; ao never types into a running command."),
            ],
            short,
            buttons: vec![
                send_button(),
                restore_running_button(),
                open_button(),
                button("snooze-30m", "Snooze 30 min"),
                kill_button(session),
            ],
            command: Some(format!("ao session attach {id}")),
        }
    }

    fn no_signal(&self, session: &Session) -> Card {
        let id = &session.id;
        let (since, short) = match session.activity.value {
            Activity::NoSignal => {
                (session.activity.since.at, "Its hooks are silent; the process is alive.")
            }
            _ => (session.runtime_state.since.at, "Its runtime does not answer."),
        };
        Card {
            title: format!("{id} cannot be observed{}", self.since(since)),
            short: short.into(),
            body: vec![text(short), text("What it does now is unknown.")],
            buttons: vec![
                Button { style: ButtonStyle::Primary, ..open_button() },
                restore_running_button(),
                kill_button(session),
            ],
            command: Some(format!("ao session attach {id}")),
        }
    }

    fn idle(&self, incident: &Incident, session: &Session) -> Card {
        let id = &session.id;
        let least =
            self.state.policy.reaction(Some(&session.project), Trigger::AgentIdle).threshold_ms;
        let ended = session.turn_ended.unwrap_or(session.activity.since);
        let lasted = self.lasted(incident.opened, ended, least);
        let branch =
            session.workspace.as_ref().map(|made| format!(" on {}", clean_line(&made.branch)));
        let made = match session.work() {
            Some(work) => {
                let files = some(work.files.into(), "file", "files");
                format!(
                    "{}{}, {files}, checks not run",
                    commits(work.commits),
                    branch.unwrap_or_default()
                )
            }
            None => "What it made is not known yet.".into(),
        };
        let mut body = vec![text(capital(&made))];
        body.extend(self.last_words(session));
        Card {
            title: format!("{id} ended its turn {lasted} ago; nothing followed"),
            short: self.made(session),
            body,
            buttons: vec![
                Button { style: ButtonStyle::Primary, ..send_button() },
                done_button(session),
                open_button(),
            ],
            command: Some(format!("ao send {id} \"…\"")),
        }
    }

    /// `3 commits, 5 files, not pushed, no PR.`
    fn made(&self, session: &Session) -> String {
        let Some(work) = session.work() else { return "What it made is not known yet.".into() };
        let mut parts = vec![commits(work.commits)];
        if work.commits > 0 {
            parts.push(some(work.files.into(), "file", "files"));
            parts.push(if work.pushed { "pushed" } else { "not pushed" }.into());
        }
        if work.changed_files > 0 {
            parts.push(format!(
                "{} not committed",
                count(work.changed_files.into(), "changed file", "changed files")
            ));
        }
        if self.has_scm(session) {
            parts.push("no PR".into());
        }
        format!("{}.", capital(&parts.join(", ")))
    }

    fn last_words(&self, session: &Session) -> Option<Block> {
        let words = self.whole(session.last_words.as_ref()?);
        (!words.is_empty())
            .then(|| text(format!("Its last words: \"{}\"", cut(&clean_line(&words), 300))))
    }

    fn idle_no_pr(&self, incident: &Incident, session: &Session) -> Card {
        let id = &session.id;
        let least =
            self.state.policy.reaction(Some(&session.project), Trigger::AgentIdleNoPr).threshold_ms;
        let lasted =
            self.lasted(incident.opened, session.busy_since.unwrap_or(incident.opened), least);
        let missing = if self.has_scm(session) { "PR" } else { "commit" };
        let made = session
            .work()
            .map_or_else(|| "what it made is not known yet".into(), |work| commits(work.commits));
        let changed = session
            .work
            .as_ref()
            .map(|work| self.time(work.since.at))
            .filter(|time| !time.is_empty());
        let changed = changed.map(|time| format!(", last change {time}")).unwrap_or_default();
        let short = format!("{}{changed}.", capital(&made));
        Card {
            title: format!("{id} works for {lasted} and has no {missing} yet"),
            body: vec![text(short.clone()), text("Tried: nothing.")],
            short,
            buttons: vec![send_button(), open_button()],
            command: Some(format!("ao send {id} \"…\"")),
        }
    }

    fn finished(&self, session: &Session) -> Card {
        let id = &session.id;
        let (made, diff) = match session.work() {
            Some(work) => {
                let diff = format!(
                    "{}, +{} −{} in {}",
                    commits(work.commits),
                    thousands(work.added.into()),
                    thousands(work.removed.into()),
                    some(work.files.into(), "file", "files")
                );
                (commits(work.commits), diff)
            }
            None => ("its commits are unknown".into(), "Its commits are unknown".into()),
        };
        let no_pr = if self.has_scm(session) { ", no PR" } else { "" };
        let mut body = vec![text(capital(&diff)), text("Checks: not run.")];
        body.extend(self.last_words(session));
        Card {
            title: format!("{id} looks finished: {made}{no_pr}"),
            short: "Tree clean, checks not run. It did not say it is done.".into(),
            body,
            buttons: vec![
                Button { style: ButtonStyle::Primary, ..done_button(session) },
                send_button(),
                open_button(),
            ],
            command: Some(format!("ao session done {id}")),
        }
    }

    fn rate_limited(&self, incident: &Incident, session: &Session) -> Card {
        let until = match session.activity.value {
            Activity::RateLimited { until } => until,
            _ => None,
        };
        let named = if incident.sessions.len() > 1 {
            &incident.sessions
        } else {
            &vec![session.id.clone()]
        };
        let many = named.len() > 1;
        let who = match many {
            true => format!("{} wait", count(named.len() as u64, "session", "sessions")),
            false => format!("{} waits", session.id),
        };
        let mut body = vec![];
        if many {
            body.push(text(ranges(named)));
        }
        body.push(text(match until {
            Some(until) => {
                let left =
                    u64::try_from(until.duration_since(self.now.wall).as_secs()).unwrap_or(0);
                let at = self.at(until);
                let at = if at.is_empty() { " later".into() } else { at };
                format!("The provider says: resets{at} (in {}).", duration(left))
            }
            None => "The provider does not say until when.".into(),
        }));
        let short = match (until, many) {
            (Some(_), true) => "They resume by themselves. Nothing to do.",
            (Some(_), false) => "It resumes by itself. Nothing to do.",
            (None, true) => "Nobody knows until when. A message makes each try again.",
            (None, false) => "Nobody knows until when. A message makes it try again.",
        };
        let until = until.map(|until| self.until(until)).unwrap_or_default();
        Card {
            title: format!("{who} for quota{until}"),
            short: short.into(),
            body,
            buttons: vec![open_button(), button("snooze-1h", "Snooze 1 h")],
            command: Some(format!("ao why {}", session.id)),
        }
    }

    fn undelivered(&self, session: &Session) -> Card {
        let id = &session.id;
        let message = session
            .messages
            .values()
            .find(|m| matches!(m.fate, Fate::Undelivered { .. }))
            .or_else(|| session.messages.values().find(|m| m.fate == Fate::Waiting));
        let what = if message.is_none_or(|m| m.first) { "its task" } else { "your message" };
        let tries = message.map_or(1, |m| m.tries.max(1));
        let reaction =
            self.state.policy.reaction(Some(&session.project), Trigger::PromptUndelivered);
        let within = in_seconds(reaction.escalate_after_ms.unwrap_or(60_000));
        let how = match message.map(|m| (&m.fate, m.first, m.tries)) {
            Some((Fate::Undelivered { failure }, ..)) => {
                format!("{}.", capital(&super::phrase::sentence(&failure.message)))
            }
            Some((_, true, 0 | 1)) => {
                "The task went in with the launch; the agent never confirmed it.".into()
            }
            _ => "The text was handed over; the agent never confirmed it.".into(),
        };
        let mut body = vec![text(how)];
        if let Some(words) = message.map(|m| self.whole(&m.text)).filter(|words| !words.is_empty())
        {
            body.push(Block::Quote(cut(&words, 300)));
        }
        Card {
            title: format!(
                "{id} has not got {what}: {} in {within}",
                count(tries.into(), "try", "tries")
            ),
            short: "Nothing was sent twice.".into(),
            body,
            ..self.in_terminal(session)
        }
    }

    fn runtime_lost(&self, incident: &Incident) -> Card {
        let Subject::Runtime(name) = &incident.subject else { return Card::default() };
        let (missing, all) = (&incident.sessions, self.lost_in(incident));
        let n = missing.len() as u64;
        let who = match missing.as_slice() {
            [one] if all.len() == 1 => one.to_string(),
            _ if all.len() == missing.len() => count(n, "agent", "agents"),
            _ => format!("{} of {}", thousands(n), count(all.len() as u64, "agent", "agents")),
        };
        let unknown: Vec<SessionId> =
            missing.iter().filter(|id| self.work_is_unknown(id)).cloned().collect();
        let (safe, untouched) = match unknown.is_empty() {
            true => ("Work is safe.".to_owned(), "Work is safe: no workspace was touched.".into()),
            false => {
                let unknown = format!("Unsaved work of {} is not known.", ranges(&unknown));
                (unknown.clone(), format!("{unknown} No workspace was touched."))
            }
        };
        let names = match missing.as_slice() {
            [_] if all.len() == 1 => String::new(),
            _ => format!("{}. ", cut(&ranges(missing), 160)),
        };
        let time = self.seconds(incident.opened.at);
        let mut body = vec![text(match time.is_empty() {
            true => "One cause.".into(),
            false => format!("Since {time}, one cause."),
        })];
        if all.len() > 1 {
            body.push(text(ranges(&all)));
        }
        body.push(text(untouched));
        let back = all.len() - missing.len().min(all.len());
        body.push(text(format!("Tried: {back} of {} brought back.", thousands(all.len() as u64))));
        for id in missing {
            let failure = self.state.sessions.get(id).and_then(|session| session.failure.as_ref());
            if let Some((step, failure)) = failure
                && step == "restore"
            {
                body.push(text(format!("{id}: {}.", super::phrase::sentence(&failure.message))));
            }
        }
        let label = if n == 1 { "Restore".into() } else { format!("Restore {}", thousands(n)) };
        let question =
            format!("Restore {}? Each goes on where it can.", count(n, "agent", "agents"));
        Card {
            title: format!("{who} did not come back: the {name} server died"),
            short: format!("{names}{safe}"),
            body,
            buttons: vec![confirmed(primary("restore", &label), question, &label, "Not now")],
            command: Some(match missing.as_slice() {
                [one] => format!("ao session restore {one}"),
                _ => "ao status".into(),
            }),
        }
    }

    fn work_is_unknown(&self, id: &SessionId) -> bool {
        self.state.sessions.get(id).is_none_or(|session| session.work.is_none())
    }

    /// All sessions that the runtime's death ended: those that are missing, and those that came back since.
    pub(super) fn lost_in(&self, incident: &Incident) -> Vec<SessionId> {
        let back = self.state.sessions.values().filter(|session| {
            session.restored.is_some_and(|when| when.seq > incident.opened.seq)
                && incident.subject == Subject::Runtime(session.runtime.clone())
        });
        let mut all: Vec<SessionId> =
            back.map(|s| s.id.clone()).chain(incident.sessions.iter().cloned()).collect();
        all.sort();
        all.dedup();
        all
    }

    fn disk_low(&self) -> Card {
        let server = &self.state.server;
        let free = size(server.disk_free.unwrap_or(0));
        let short = match server.disk_failing {
            true => "Nothing can be recorded until there is space; agents go on.",
            false => "New sessions are refused; agents go on.",
        };
        let full = if server.disk_failing { "full" } else { "nearly full" };
        Card {
            title: format!("The disk is {full}: {free} free"),
            short: short.into(),
            body: vec![
                text(short),
                text("Workspaces of sessions that are over can go: ao session cleanup"),
            ],
            buttons: vec![],
            command: Some("ao session cleanup".into()),
        }
    }

    fn config_refused(&self) -> Card {
        let refused = &self.state.server.refused;
        let Some((file, (reason, _))) = refused.first_key_value() else { return Card::default() };
        let name = file_name(file);
        let title = match refused.len() {
            1 => format!("{name} was changed and is not used"),
            n => format!(
                "{} were changed and are not used",
                count(n as u64, "configuration file", "configuration files")
            ),
        };
        let reasons: Vec<Block> = refused
            .iter()
            .flat_map(|(file, (reason, _))| {
                [text(clean_line(file)), Block::Code(verbatim(&self.whole(reason)))]
            })
            .collect();
        let whole = self.whole(reason);
        let first = super::phrase::sentence(whole.lines().next().unwrap_or_default());
        let trust = whole.contains("trust");
        let mut body = reasons;
        body.push(text("The earlier settings go on."));
        Card {
            title,
            short: format!("{}. The earlier settings go on.", capital(&first)),
            body,
            buttons: vec![],
            command: Some(if trust { "ao config trust" } else { "ao config check" }.into()),
        }
    }

    fn tampered(&self, incident: &Incident) -> Card {
        let Some((path, kept, when)) = &self.state.server.tampered else { return Card::default() };
        let name = file_name(path);
        let (short, tried) = match kept {
            Some(kept) => (
                "ao restored its own version and kept the changed one.",
                format!(
                    "Tried: ao restored its own version; the changed one is kept as {}.",
                    clean_line(kept)
                ),
            ),
            None => (
                "ao goes on with what it knows.",
                "Tried: nothing; ao goes on with what it knows.".to_owned(),
            ),
        };
        let when = self.seconds(when.at);
        let at = if when.is_empty() { when } else { format!(" at {when}") };
        Card {
            title: format!("ao's own file {name} was changed by another program"),
            short: short.into(),
            body: vec![
                Block::Code(clean_line(path)),
                text(format!("Changed{at}; by whom is unknown.")),
                text(tried),
            ],
            buttons: vec![primary("ack", "Acknowledge")],
            command: Some(format!("ao ack {}", incident.id)),
        }
    }

    fn was_away(&self, incident: &Incident) -> Card {
        let server = &self.state.server;
        if incident.detail.as_deref() == Some(crate::decide::PUT_ASIDE) {
            let n = server.untold_quarantined().len().max(1) as u64;
            let what = match n {
                1 => "an input that it could not take".to_owned(),
                n => format!("{} that it could not take", count(n, "input", "inputs")),
            };
            let mut body =
                vec![text("What came in is kept in the folder quarantine; agents go on.")];
            body.push(Block::List(
                server.untold_quarantined().iter().map(|file| clean_line(file)).collect(),
            ));
            return Card {
                title: format!("ao put aside {what}"),
                body,
                command: Some("ao doctor --report".into()),
                ..Card::default()
            };
        }
        let away = server.away_ms.unwrap_or(0);
        let lost: u64 = server
            .untold_gaps()
            .iter()
            .map(|(from, to)| to.saturating_sub(*from).saturating_add(1))
            .sum();
        let unread = format!("{} could not be read", count(lost, "event", "events"));
        let reaction = self.state.policy.reaction(None, Trigger::ServerWasAway);
        let missed = away > reaction.threshold_ms.unwrap_or(60_000);
        let title = match (missed, lost) {
            (true, 0) => format!("ao was away for {} and is back; nothing was lost", for_ms(away)),
            (true, _) => format!("ao was away for {} and is back; {unread}", for_ms(away)),
            (false, _) => format!("ao goes on; {unread}"),
        };
        let back = server.started.map_or(incident.opened.at, |when| when.at);
        let gone = back.checked_sub(jiff::SignedDuration::from_millis(
            i64::try_from(away).unwrap_or(i64::MAX),
        ));
        let span = match (gone, self.zone.is_some()) {
            (Ok(gone), true) => format!("{}–{}, cause unknown.", self.time(gone), self.time(back)),
            _ => "Cause unknown.".into(),
        };
        let mut body = vec![text("Agents went on.")];
        if missed {
            body.insert(0, text(span));
        }
        if lost > 0 {
            let parts: Vec<String> =
                server.untold_gaps().iter().map(|(from, to)| format!("e{from} to e{to}")).collect();
            body.push(text(format!(
                "Unreadable: {}. A copy is kept in the folder quarantine.",
                parts.join(", ")
            )));
        }
        Card {
            title,
            body,
            command: Some(if lost > 0 { "ao events verify" } else { "ao status" }.into()),
            ..Card::default()
        }
    }
}

pub(super) fn file_name(path: &str) -> String {
    let path = clean_line(path);
    cut(path.rsplit('/').next().unwrap_or(&path), 60)
}
