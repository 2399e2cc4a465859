//! What a session is at: the rows of `ao status`, and what `ao why` begins with.

use ao_slots::{
    agent::{Ask, Decision},
    fact::{Activity, RuntimeState},
    text::{count, cut},
};
use serde::{Deserialize, Serialize};

use super::{
    Words,
    phrase::{asked_in_title, clean_line, commits, in_title},
};
use crate::{
    config::trigger::Trigger,
    decide::review::PENDING,
    event::{Over, Subject},
    state::{Request, Session, Status, Step, Want, Zone},
};

/// What `ao why` begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reason {
    /// Why the status is what it is.
    pub sentence: String,
    /// What could be suspected and is not so, each with its evidence.
    pub not_the_case: String,
}

impl Words<'_> {
    /// What a session is at, and the command that helps. Says nothing that changes by time alone.
    pub(super) fn one_line(&self, session: &Session) -> (String, String) {
        let id = &session.id;
        let why = || format!("ao why {id}");
        let attach = || format!("ao session attach {id}");
        let message = || format!("ao send {id} \"…\"");
        match session.status {
            Status::NeedsInput | Status::Blocked => match asked_for(session) {
                // One that could not be handed over is still asked.
                Some(Request { decided: Some(decided), .. })
                    if !matches!(decided.handed, Some(Err(_))) =>
                {
                    let did = match decided.decision {
                        Decision::Approve => "approved",
                        Decision::Deny { .. } => "denied",
                        Decision::Answer { .. } => "answered",
                    };
                    (format!("{did}{}, not confirmed", self.at(decided.when.at)), attach())
                }
                Some(request) => match &request.ask {
                    Ask::Question { text, options, .. } => {
                        let answer = if options.is_empty() { "\"…\"" } else { "1" };
                        (
                            format!("asks: \"{}\"", asked_in_title(text)),
                            format!("ao answer {id} {answer}"),
                        )
                    }
                    Ask::Permission { verb, subject, .. } => (
                        format!("wants to {}: {}", clean_line(verb), asked_in_title(subject)),
                        format!("ao approve {id} {}", request.id),
                    ),
                },
                None if session.status == Status::NeedsInput => {
                    ("asks something in its terminal".into(), attach())
                }
                None if session.activity_text.is_some() => {
                    (format!("waits for a set-up question of {}", session.agent), attach())
                }
                None => ("waits for a permission in its terminal".into(), attach()),
            },
            Status::Errored => {
                let safe = match session.work() {
                    Some(_) => "work is safe",
                    None => "its work is not looked at yet",
                };
                (
                    format!("{}; {safe}", self.how_it_ended(session)),
                    format!("ao session restore {id}"),
                )
            }
            Status::RateLimited => match session.activity.value {
                Activity::RateLimited { until: Some(_) } => {
                    ("waits for quota, resumes by itself".into(), why())
                }
                _ => ("waits for quota; a message makes it try again".into(), message()),
            },
            Status::Unknown => ("cannot be observed".into(), attach()),
            Status::Stuck => match &session.tool {
                Some(tool) => {
                    let command = tool.command.as_ref().map(|command| clean_line(&command.excerpt));
                    let what = command.unwrap_or_else(|| clean_line(&tool.tool));
                    (format!("is stuck: \"{}\" goes on too long", cut(&what, 80)), attach())
                }
                None => ("is stuck: nothing moves".into(), attach()),
            },
            Status::Idle | Status::Working if session.suspected.is_some() => {
                let line = session
                    .suspected
                    .as_ref()
                    .map(|(line, _)| in_title(&line.excerpt))
                    .unwrap_or_default();
                (format!("seems to ask: \"{line}\""), attach())
            }
            Status::Idle | Status::Working if self.is_open(session, Trigger::PromptUndelivered) => {
                ("has not got its task".into(), attach())
            }
            Status::Idle => match self.is_open(session, Trigger::AgentFinished) {
                true => {
                    let made = session.work().map_or(0, |work| work.commits);
                    (format!("looks finished: {}", commits(made)), format!("ao session done {id}"))
                }
                false => (format!("its turn ended; {}", self.made_so_far(session)), message()),
            },
            Status::Working => match self.is_open(session, Trigger::AgentIdleNoPr) {
                true => ("works for long and has nothing to show yet".into(), why()),
                false => (format!("works; {}", self.made_so_far(session)), why()),
            },
            Status::Spawning if self.is_open(session, Trigger::PromptUndelivered) => {
                ("has not got its task".into(), attach())
            }
            Status::Spawning => (step(session).into(), why()),
            Status::NotStarted => match &session.failure {
                Some((step, failure)) => (
                    format!("was not started: {}", cut(&clean_line(&failure.message), 120)),
                    format!("ao logs {id} --step {step}"),
                ),
                None => ("was not started".into(), why()),
            },
            Status::Cleanup => match session.over {
                Some(_) => ("its workspace is being removed".into(), why()),
                None => ("is being killed".into(), why()),
            },
            Status::Merged | Status::Done | Status::Killed => {
                let kept =
                    match (&session.workspace_kept, session.workspace_gone, &session.workspace) {
                        (Some(_), ..) => "; its workspace is kept",
                        _ => "",
                    };
                (format!("{}{kept}", session.status.as_str()), why())
            }
            Status::PrClosed
            | Status::CiFailed
            | Status::Conflicting
            | Status::ChangesRequested
            | Status::Mergeable
            | Status::Approved
            | Status::ReviewPending
            | Status::PrOpen
            | Status::Draft => {
                let number = session.pr().map(|pr| pr.number.to_string()).unwrap_or_default();
                let checks = self.checks_since(session);
                (format!("PR {number} {}{checks}", pr_words(session.status)), why())
            }
        }
    }

    /// Why a session's status is what it is, and what it is not.
    pub(super) fn reason(&self, session: &Session) -> Reason {
        let id = &session.id;
        let zone = match (self.state.zone_of(session), session.status) {
            (Zone::Red, _) => "needs you",
            (Zone::Orange, _) => "waits for your decision",
            (Zone::Yellow, _) => "does not go well",
            (Zone::Green, Status::Idle) => "rests",
            (Zone::Green, _) => "works",
            (Zone::Grey, _) if !session.is_over() => "is being ended",
            (Zone::Grey, _) => "is over",
        };
        let sentence = match &session.restore {
            Some(restore) => {
                let who = restore.by.as_ref().map_or("ao".into(), ToString::to_string);
                format!("{id} is being restored{} by {who}.", self.since(restore.since.at))
            }
            None => format!("{id} {zone} because {}.", self.because(session)),
        };
        Reason { sentence, not_the_case: self.not_the_case(session) }
    }

    fn because(&self, session: &Session) -> String {
        let since = self.at(session.status_since.at);
        match session.status {
            Status::NeedsInput | Status::Blocked => match asked_for(session) {
                Some(request) => {
                    let what = match request.ask {
                        Ask::Question { .. } => "it asked a question",
                        Ask::Permission { .. } => "it asked for a permission",
                    };
                    let done = match &request.decided {
                        None => "nobody answered yet".to_owned(),
                        Some(decided) => {
                            format!("{} decided it, but the agent has not confirmed", decided.by)
                        }
                    };
                    format!("{what}{} and {done}", self.at(request.opened.at))
                }
                None if session.status == Status::NeedsInput => format!(
                    "it asks something in its terminal{}",
                    self.since(session.activity.since.at)
                ),
                None => format!(
                    "a dialog is open in its terminal{}",
                    self.since(session.activity.since.at)
                ),
            },
            Status::Errored => match (session.has_ended(), &session.activity_text) {
                (false, Some(words)) => {
                    let words = cut(&clean_line(&words.excerpt), 100);
                    format!("it cannot go on{}: {words}", self.since(session.activity.since.at))
                }
                _ => match self.how_it_ended(session) {
                    how if how.starts_with("its ") => format!("{how}{since}"),
                    how => format!("it {how}{since}"),
                },
            },
            Status::RateLimited => match session.activity.value {
                Activity::RateLimited { until: Some(until) } => {
                    format!("the model's provider refuses{}", self.until(until))
                }
                _ => {
                    format!("the model's provider refuses{}", self.since(session.activity.since.at))
                }
            },
            Status::Unknown => match session.activity.value {
                Activity::NoSignal => {
                    format!("its hooks are silent{}", self.since(session.activity.since.at))
                }
                _ => format!(
                    "its runtime does not answer{}",
                    self.since(session.runtime_state.since.at)
                ),
            },
            Status::Stuck => {
                format!("its turn runs and nothing moved{}", self.since(session.progress.at))
            }
            Status::Idle | Status::Working | Status::Spawning
                if self.is_open(session, Trigger::PromptUndelivered) =>
            {
                let since = session.launched.map(|when| self.since(when.at)).unwrap_or_default();
                format!("it has not confirmed what it was told{since}")
            }
            Status::Idle | Status::Working if session.suspected.is_some() => {
                let seen = session.suspected.as_ref().map(|(_, seen)| self.since(seen.at));
                format!("its screen looks like a question{}", seen.unwrap_or_default())
            }
            Status::Idle => match session.turn_ended {
                Some(ended) => {
                    let ended = self.at(ended.at);
                    match self.is_open(session, Trigger::AgentFinished) {
                        true => format!(
                            "its turn ended{ended}, its work looks finished and it did not say so"
                        ),
                        false if self.is_open(session, Trigger::AgentIdle) => {
                            format!("its turn ended{ended} and nothing followed")
                        }
                        false => format!("its turn ended{ended}"),
                    }
                }
                None => format!(
                    "it waits for its first message{}",
                    self.since(session.activity.since.at)
                ),
            },
            Status::Working => {
                format!("its turn runs; the last movement was{}", self.at(session.progress.at))
            }
            Status::Spawning => {
                let since = self.since(session.step_since.at);
                format!("{}{since}", step(session))
            }
            Status::Cleanup => match (&session.over, &session.intent) {
                (Some(_), _) => "its workspace is being removed".into(),
                (None, Want::Kill(by)) => format!("{by} asked for it{since}"),
                (None, _) => format!("somebody asked for it{since}"),
            },
            Status::NotStarted => match &session.failure {
                Some((step, failure)) => {
                    format!(
                        "its set-up failed at {step}{since}: {}",
                        super::phrase::sentence(&failure.message)
                    )
                }
                None => format!("its set-up failed{since}"),
            },
            Status::Merged | Status::Done | Status::Killed => {
                let at = session.over.map(|(_, when)| self.at(when.at)).unwrap_or_default();
                let how = match session.over {
                    Some((Over::Merged, _)) => "its pull request was merged",
                    Some((Over::Killed, _)) => "it was killed",
                    Some((Over::Failed, _)) => "its set-up failed",
                    Some((Over::Done, _)) if session.intent != Want::Run => "it was marked as done",
                    Some((Over::Done, _)) => "its work is there and it said so",
                    None => "its pull request was merged",
                };
                format!("{how}{at}")
            }
            status => {
                let number = session.pr().map(|pr| pr.number.to_string()).unwrap_or_default();
                let since = self.since(session.status_since.at);
                format!("PR {number} {}{since}{}", pr_words(status), self.checks_since(session))
            }
        }
    }

    /// `; its checks run since 14:02`, or that they do not end.
    fn checks_since(&self, session: &Session) -> String {
        let Some((_, when)) = &session.follow.pending else { return String::new() };
        if session.status == Status::PrClosed {
            return String::new();
        }
        let since = self.since(when.at);
        let subject = Subject::Session(session.id.clone());
        let open = self.state.open_incident(&subject, Trigger::CiFailed, None);
        let hung = open.is_some_and(|open| open.detail.as_deref() == Some(PENDING));
        format!("; its checks {}{since}", if hung { "have not ended" } else { "run" })
    }

    fn not_the_case(&self, session: &Session) -> String {
        if session.is_over() {
            return String::new();
        }
        let mut not = vec![];
        if !matches!(session.status, Status::Stuck) {
            let moved = self.time(session.progress.at);
            not.push(match moved.is_empty() {
                true => "not stuck".to_owned(),
                false => format!("not stuck (last movement {moved})"),
            });
        }
        if !matches!(session.status, Status::Blocked) {
            not.push("not blocked (no permission is open)".into());
        }
        if !matches!(session.status, Status::NeedsInput) {
            not.push("not waiting for an answer (no question is open)".into());
        }
        if session.runtime_state.value == RuntimeState::Alive {
            not.push(format!(
                "not ended (its process runs{})",
                self.since(session.runtime_state.since.at)
            ));
        }
        match not.is_empty() {
            true => String::new(),
            false => format!("Not the case: it is {}.", not.join(", ")),
        }
    }

    fn how_it_ended(&self, session: &Session) -> String {
        match (&session.runtime_state.value, &session.activity.value) {
            (RuntimeState::Exited { code: Some(code) }, _) => format!("exited with code {code}"),
            (RuntimeState::Exited { code: None }, _) => "was ended by a signal".into(),
            (RuntimeState::Missing, _) => "its process is gone".into(),
            (_, Activity::Errored { .. }) => match &session.activity_text {
                Some(words) => format!("cannot go on: {}", cut(&clean_line(&words.excerpt), 100)),
                None => "cannot go on".into(),
            },
            _ => "said good-bye".into(),
        }
    }

    fn made_so_far(&self, session: &Session) -> String {
        let Some(work) = session.work() else { return "nothing seen of its work yet".into() };
        let mut parts = vec![commits(work.commits)];
        if work.changed_files > 0 {
            parts.push(count(work.changed_files.into(), "changed file", "changed files"));
        }
        parts.join(", ")
    }

    fn is_open(&self, session: &Session, trigger: Trigger) -> bool {
        let subject = Subject::Session(session.id.clone());
        self.state.open_incident(&subject, trigger, None).is_some_and(|incident| incident.is_open())
    }
}

/// The open request that a human should see first: one that nobody has decided.
fn asked_for(session: &Session) -> Option<&Request> {
    session
        .open_requests()
        .find(|request| request.decided.is_none())
        .or_else(|| session.open_requests().next())
}

fn step(session: &Session) -> &'static str {
    match (session.step, session.restore.is_some()) {
        (_, true) => "is being restored",
        (Step::Fetching, _) => "its issue is being read",
        (Step::MakingWorkspace, _) => "its workspace is being made",
        (Step::PostCreate, _) => "its set-up commands run",
        (Step::CreatingRuntime, _) => "its agent is being started",
        (Step::Launching, _) => "its agent has started and is silent",
        (Step::Prompting, _) => "it gets its task",
        (Step::Undoing, _) => "its set-up failed and is being undone",
        (Step::Ready | Step::Over, _) => "it is set up",
    }
}

fn pr_words(status: Status) -> &'static str {
    match status {
        Status::PrClosed => "was closed without a merge",
        Status::CiFailed => "has failing checks",
        Status::Conflicting => "conflicts with its base",
        Status::ChangesRequested => "has requested changes",
        Status::Mergeable => "is ready to merge",
        Status::Approved => "is approved",
        Status::ReviewPending => "waits for a review",
        Status::Draft => "is a draft",
        _ => "is open",
    }
}
