//! A session in one line: what is the matter, since when, and the command that a human likely wants next.

use ao_core::{
    config::trigger::Trigger,
    event::Over,
    slots::{
        agent::Ask,
        fact::{Activity, RuntimeState, WorkFacts},
        text::{count, cut, duration, one_line},
    },
    state::{Incident, Now, Session, State, Status, Step},
};
use jiff::{Timestamp, tz::TimeZone};

/// The line and its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// What is the matter, lower case, without the session's name.
    pub words: String,
    /// Since when.
    pub since: Timestamp,
    /// What a human would likely do next.
    pub next: Option<String>,
}

/// Sums a session up. `open` is its most urgent open incident.
pub fn of(state: &State, session: &Session, open: Option<&Incident>, now: Now) -> Summary {
    let id = &session.id;
    let since = session.status_since.at;
    let say =
        |words: String, since: Timestamp, next: Option<String>| Summary { words, since, next };
    let plain = |words: &str| say(words.to_owned(), since, None);
    let attach = || Some(format!("ao session attach {id}"));
    let restore = || Some(format!("ao session restore {id}"));
    match session.status {
        Status::Merged => plain("merged"),
        Status::Done => plain("done"),
        Status::Killed => plain("killed"),
        Status::NotStarted => {
            let why = session
                .failure
                .as_ref()
                .map(|(step, failure)| format!("{step}: {}", failure.message));
            say(
                format!("was not started: {}", one_line(&why.unwrap_or_default())),
                since,
                Some(format!("ao why {id}")),
            )
        }
        Status::Cleanup => plain(if session.over.is_some() {
            "its workspace is being removed"
        } else {
            "is being ended"
        }),
        Status::Spawning => say(step(session), session.step_since.at, None),
        Status::Blocked | Status::NeedsInput => match session
            .open_requests()
            .find(|r| r.decided.is_none())
        {
            Some(request) => match &request.ask {
                Ask::Question { text, .. } => {
                    let text = cut(&one_line(text), 160);
                    say(
                        format!("asks: \"{text}\""),
                        request.opened.at,
                        Some(format!("ao answer {id} \"…\"")),
                    )
                }
                Ask::Permission { verb, subject, .. } => {
                    let subject = cut(&one_line(subject), 160);
                    say(
                        format!("wants to {verb}: {subject}"),
                        request.opened.at,
                        Some(format!("ao approve {id}")),
                    )
                }
            },
            None if session.open_requests().next().is_some() => {
                plain("got its answer; the agent has not confirmed it yet")
            }
            None => {
                let text =
                    session.activity_text.as_ref().map(|text| cut(&one_line(&text.excerpt), 120));
                let what = match (text, session.status) {
                    (Some(text), _) => {
                        format!("waits for a set-up question of {}: \"{text}\"", session.agent)
                    }
                    (None, Status::Blocked) => "a dialog is open in its terminal".to_owned(),
                    (None, _) => "waits for an answer in its terminal".to_owned(),
                };
                say(what, since, attach())
            }
        },
        Status::Errored => match (&session.runtime_state.value, &session.activity.value) {
            (RuntimeState::Exited { code }, _) => {
                let how = match code {
                    Some(0) => "ended by itself, the task looks unfinished".to_owned(),
                    Some(code) => format!("exited with code {code}"),
                    None => "was ended by a signal".to_owned(),
                };
                say(
                    format!("{how}; {}", safety(session.work())),
                    session.runtime_state.since.at,
                    restore(),
                )
            }
            (RuntimeState::Missing, _) => say(
                format!("its agent is gone; {}", safety(session.work())),
                session.runtime_state.since.at,
                restore(),
            ),
            _ => {
                let text =
                    session.activity_text.as_ref().map(|text| cut(&one_line(&text.excerpt), 160));
                say(
                    format!(
                        "cannot go on: {}",
                        text.unwrap_or_else(|| "it did not say why".into())
                    ),
                    since,
                    restore(),
                )
            }
        },
        Status::RateLimited => match session.activity.value {
            Activity::RateLimited { until: Some(until) } => {
                let until = until.to_zoned(TimeZone::system()).strftime("%H:%M").to_string();
                say(format!("waits for quota until {until}"), since, None)
            }
            _ => plain("waits for quota"),
        },
        Status::Unknown if session.activity.value == Activity::NoSignal => {
            say("cannot be observed: its hooks are silent".into(), since, attach())
        }
        Status::Unknown => {
            say("cannot be observed: its runtime does not answer".into(), since, attach())
        }
        Status::Stuck => {
            let moved = session.progress.at;
            let words = match &session.tool {
                Some(tool) => {
                    let what = tool
                        .command
                        .as_ref()
                        .map_or(tool.tool.as_str(), |command| command.excerpt.as_str());
                    format!(
                        "is stuck: \"{}\" runs for {}",
                        cut(&one_line(what), 60),
                        ago(now, tool.since.at)
                    )
                }
                None => format!("is stuck: no progress for {}", ago(now, moved)),
            };
            say(words, moved, attach())
        }
        Status::PrClosed => {
            pr(session, "was closed without a merge", since, Some(format!("ao why {id}")))
        }
        Status::CiFailed => {
            let failing = session.pr().map(|pr| pr.failing.join(", ")).unwrap_or_default();
            pr(session, &format!("{failing} fails"), since, Some(format!("ao why {id}")))
        }
        Status::Conflicting => {
            pr(session, "conflicts with its base", since, Some(format!("ao why {id}")))
        }
        Status::ChangesRequested => {
            pr(session, "has requested changes", since, Some(format!("ao why {id}")))
        }
        Status::Mergeable => {
            pr(session, "is ready to merge", since, Some(format!("ao session show {id}")))
        }
        Status::Approved => pr(session, "is approved", since, None),
        Status::ReviewPending => pr(session, "waits for a review", since, None),
        Status::PrOpen => pr(session, "is open", since, None),
        Status::Draft => pr(session, "is a draft", since, None),
        Status::Idle | Status::Working => going(state, session, open, now),
    }
}

/// A session between two turns or in one: what its open incident says, else what it does.
fn going(state: &State, session: &Session, open: Option<&Incident>, now: Now) -> Summary {
    let id = &session.id;
    let since = session.status_since.at;
    let why = || Some(format!("ao why {id}"));
    if let Some(incident) = open {
        let since = incident.opened.at;
        return match incident.trigger {
            Trigger::AgentFinished => Summary {
                words: format!("looks finished: {}", work(session.work())),
                since,
                next: Some(format!("ao session done {id}")),
            },
            Trigger::AgentIdle => {
                let ended = session.turn_ended.map_or(since, |when| when.at);
                let words = format!("ended its turn {} ago; nothing followed", ago(now, ended));
                Summary { words, since: ended, next: Some(format!("ao send {id} \"…\"")) }
            }
            Trigger::PromptUndelivered => Summary {
                words: "has not got its task".into(),
                since,
                next: Some(format!("ao session attach {id}")),
            },
            Trigger::AgentNeedsInput => Summary {
                words: match &session.suspected {
                    Some((text, _)) => {
                        format!("may ask: \"{}\"", cut(&one_line(&text.excerpt), 120))
                    }
                    None => "waits for you in its terminal".into(),
                },
                since,
                next: Some(format!("ao session attach {id}")),
            },
            _ => {
                let title = ao_core::words::title(state, incident);
                let words = title.strip_prefix(&format!("{id} ")).unwrap_or(&title).to_owned();
                Summary { words, since, next: why() }
            }
        };
    }
    if session.status == Status::Idle {
        return Summary {
            words: format!("its turn ended: {}", work(session.work())),
            since,
            next: None,
        };
    }
    let words = match &session.tool {
        Some(tool) => {
            let what = tool
                .command
                .as_ref()
                .map_or(tool.tool.as_str(), |command| command.excerpt.as_str());
            format!("runs {}", cut(&one_line(what), 60))
        }
        None if session.restore.is_some() => "is being restored".to_owned(),
        None => "working".to_owned(),
    };
    Summary { words, since, next: None }
}

fn pr(session: &Session, words: &str, since: Timestamp, next: Option<String>) -> Summary {
    let number = session
        .pr()
        .map(|pr| format!("PR {}", pr.number))
        .unwrap_or_else(|| "its pull request".into());
    Summary { words: format!("{number} {words}"), since, next }
}

fn step(session: &Session) -> String {
    if session.restore.is_some() {
        return "is being restored".to_owned();
    }
    match session.step {
        Step::Fetching => "reading the issue",
        Step::MakingWorkspace => "making the workspace",
        Step::PostCreate => "running the set-up commands",
        Step::CreatingRuntime | Step::Launching => "starting the agent",
        Step::Prompting => "giving the agent its task",
        Step::Ready => "set up",
        Step::Undoing => "undoing what was made",
        Step::Over => match session.over {
            Some((Over::Failed, _)) => "was not started",
            _ => "over",
        },
    }
    .to_owned()
}

/// One clause on what became of the work.
pub fn safety(facts: Option<&WorkFacts>) -> String {
    match facts {
        None => "its work was not looked at yet".to_owned(),
        Some(work) if work.commits == 0 && work.changed_files == 0 => "no work yet".to_owned(),
        Some(_) => format!("work is safe: {}", work(facts)),
    }
}

/// `3 commits, 2 changed files`.
pub fn work(work: Option<&WorkFacts>) -> String {
    let Some(work) = work else { return "its work was not looked at yet".to_owned() };
    let commits = count(work.commits.into(), "commit", "commits");
    if work.is_clean() {
        return format!("{commits}, tree clean");
    }
    format!("{commits}, {}", count(work.changed_files.into(), "changed file", "changed files"))
}

fn ago(now: Now, at: Timestamp) -> String {
    duration(u64::try_from(now.wall.duration_since(at).as_secs()).unwrap_or(0))
}
