//! Agents in which nothing moves, or after which nothing followed.

use ao_slots::{
    fact::Activity,
    notifier::{Block, Button, ButtonStyle},
    text::{count, cut, duration, length, thousands},
};

use super::{
    super::phrase::{
        LABEL, button, capital, clean_line, commits, done_button, kill_button, open_button,
        primary, restore_running_button, sentence, some,
    },
    super::{Card, Words},
    send_button, text,
};
use crate::{
    config::trigger::Trigger,
    state::{Incident, Session},
};

impl Words<'_> {
    pub(in crate::words) fn stuck(&self, incident: &Incident, session: &Session) -> Card {
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
                // A spinner is output: where the agent tells by itself and no command runs, it is not looked at.
                let nothing = match session.signals {
                    true => "no file change, no word of it, no command running",
                    false => "no file change, no output",
                };
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
                text(match self.seen.cpu {
                    Some(cpu) => format!("The process is alive, {cpu} % CPU."),
                    None => "The process is alive.".into(),
                }),
                self.brought_back(session).unwrap_or_else(|| {
                    text("Tried: nothing; ao never types into a running command.")
                }),
            ],
            short,
            buttons: vec![
                send_button(session),
                restore_running_button(),
                open_button(),
                button("snooze-30m", "Snooze 30 min"),
                kill_button(session),
            ],
            command: Some(format!("ao session attach {id}")),
        }
    }

    pub(in crate::words) fn no_signal(&self, session: &Session) -> Card {
        let id = &session.id;
        let (since, short) = match session.activity.value {
            Activity::NoSignal => {
                (session.activity.since.at, "Its hooks are silent; the process is alive.")
            }
            _ => (session.runtime_state.since.at, "Its runtime does not answer."),
        };
        let cause = match (&session.activity.value, session.signalled) {
            (Activity::NoSignal, false) => {
                "It has told nothing since its start: its hooks may be switched off, or wait for a dialog.".into()
            }
            (Activity::NoSignal, true) => {
                format!("Its hooks told of it{}; why they stopped is unknown.", self.until(session.progress.at))
            }
            _ => format!("Why the {} runtime does not answer is unknown.", session.runtime),
        };
        Card {
            title: format!("{id} cannot be observed{}", self.since(since)),
            short: short.into(),
            body: vec![text(short), text(cause), text("What it does now is unknown.")],
            buttons: vec![
                Button { style: ButtonStyle::Primary, ..open_button() },
                restore_running_button(),
                kill_button(session),
            ],
            command: Some(format!("ao session attach {id}")),
        }
    }

    pub(in crate::words) fn idle(&self, incident: &Incident, session: &Session) -> Card {
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
            buttons: match self.lacks_pr(session) {
                true => vec![
                    primary("ask-pr", "Ask for a PR"),
                    send_button(session),
                    done_button(session),
                    open_button(),
                ],
                false => vec![
                    Button { style: ButtonStyle::Primary, ..send_button(session) },
                    done_button(session),
                    open_button(),
                ],
            },
            command: Some(format!("ao send {id} \"…\"")),
        }
    }

    /// There are commits, an scm to open a pull request for them, and none.
    fn lacks_pr(&self, session: &Session) -> bool {
        let project = self.state.policy.projects.get(&session.project);
        project.is_some_and(|project| project.scm.is_some())
            && session.follow.pr.is_none()
            && session.work().is_some_and(|work| work.commits > 0)
    }

    /// `3 commits, 5 files, not pushed, no PR.`
    pub(in crate::words) fn made(&self, session: &Session) -> String {
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

    pub(in crate::words) fn last_words(&self, session: &Session) -> Option<Block> {
        let words = self.whole(session.last_words.as_ref()?);
        (!words.is_empty())
            .then(|| text(format!("Its last words: \"{}\"", cut(&clean_line(&words), 300))))
    }

    pub(in crate::words) fn idle_no_pr(&self, incident: &Incident, session: &Session) -> Card {
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
            buttons: [send_button(session), open_button()]
                .into_iter()
                .chain(
                    self.has_scm(session)
                        .then(|| Button { more: true, ..button("ack", "No PR needed") }),
                )
                .collect(),
            command: Some(format!("ao send {id} \"…\"")),
        }
    }

    pub(in crate::words) fn finished(&self, session: &Session) -> Card {
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
        let unopened = session.follow.unopened.as_ref();
        let head = session.work().map(|work| &work.head);
        body.extend(unopened.filter(|one| head == Some(&one.head)).map(|one| {
            let why = cut(&sentence(&one.tried.failure.message), 200);
            text(format!("Its pull request could not be opened: {why}."))
        }));
        body.extend(self.last_words(session));
        Card {
            title: format!("{id} looks finished: {made}{no_pr}"),
            short: match session.claimed.is_some() {
                true => "Tree clean, checks not run. It says that it is done.",
                false => "Tree clean, checks not run. It did not say it is done.",
            }
            .into(),
            body,
            buttons: match self.lacks_pr(session) {
                true => vec![
                    primary("pr-open", "Open PR"),
                    done_button(session),
                    send_button(session),
                    open_button(),
                ],
                false => vec![
                    Button { style: ButtonStyle::Primary, ..done_button(session) },
                    send_button(session),
                    open_button(),
                ],
            },
            command: Some(match self.lacks_pr(session) {
                true => format!("ao pr create {id}"),
                false => format!("ao session done {id}"),
            }),
        }
    }

    pub(in crate::words) fn rate_limited(&self, session: &Session) -> Card {
        let id = &session.id;
        let until = match session.activity.value {
            Activity::RateLimited { until } => until,
            _ => None,
        };
        let (short, says) = match until {
            Some(until) => {
                let left =
                    u64::try_from(until.duration_since(self.now.wall).as_secs()).unwrap_or(0);
                let at = self.at(until);
                let at = if at.is_empty() { " later".into() } else { at };
                (
                    "It resumes by itself. Nothing to do.",
                    format!("The provider says: resets{at} (in {}).", duration(left)),
                )
            }
            None => (
                "Nobody knows until when. A message makes it try again.",
                "The provider does not say until when.".into(),
            ),
        };
        let named = until.map(|until| self.until(until)).unwrap_or_default();
        let label = Some(format!("Snooze{named}"));
        let label = label.filter(|label| !named.is_empty() && length(label) <= LABEL);
        let label = label.as_deref().unwrap_or("Snooze until reset");
        let snooze = match until {
            Some(until) => button(&format!("snooze:{until}"), label),
            None => button("snooze-1h", "Snooze 1 h"),
        };
        Card {
            title: format!("{id} waits for quota{named}"),
            short: short.into(),
            body: vec![text(says)],
            buttons: vec![open_button(), snooze],
            command: Some(format!("ao why {id}")),
        }
    }
}
