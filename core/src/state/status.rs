//! The status of a session: computed from facts by one table, first match wins, and never stored as truth.

use ao_slots::fact::{Activity, Checks, Mergeable, PrState, Priority, Review, RuntimeState};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Session, State, Step, Want};
use crate::{
    config::trigger::Trigger,
    decide::review::is_ready,
    event::{Over, Subject},
};

/// What a session is at, in one word.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    Default,
)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Its pull request was merged.
    Merged,
    /// Done.
    Done,
    /// Ended by a human.
    Killed,
    /// Never started: its set-up failed and was undone.
    NotStarted,
    /// Its workspace is being removed.
    Cleanup,
    /// Its set-up is not finished.
    #[default]
    Spawning,
    /// It waits for a permission, or shows a dialog.
    Blocked,
    /// It asked a question.
    NeedsInput,
    /// The agent ended or cannot go on.
    Errored,
    /// The provider refuses for now.
    RateLimited,
    /// What it does is unknown.
    Unknown,
    /// A turn runs and nothing moves.
    Stuck,
    /// Its pull request was closed without a merge.
    PrClosed,
    /// A required check failed.
    CiFailed,
    /// Its pull request conflicts with the base.
    Conflicting,
    /// A reviewer wants changes.
    ChangesRequested,
    /// Approved, green, without a conflict.
    Mergeable,
    /// Approved.
    Approved,
    /// Waits for a review.
    ReviewPending,
    /// Has an open pull request.
    PrOpen,
    /// Has a draft pull request.
    Draft,
    /// Its turn ended.
    Idle,
    /// A turn runs.
    Working,
}

impl Status {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 23] = [
        Self::Merged,
        Self::Done,
        Self::Killed,
        Self::NotStarted,
        Self::Cleanup,
        Self::Spawning,
        Self::Blocked,
        Self::NeedsInput,
        Self::Errored,
        Self::RateLimited,
        Self::Unknown,
        Self::Stuck,
        Self::PrClosed,
        Self::CiFailed,
        Self::Conflicting,
        Self::ChangesRequested,
        Self::Mergeable,
        Self::Approved,
        Self::ReviewPending,
        Self::PrOpen,
        Self::Draft,
        Self::Idle,
        Self::Working,
    ];

    /// Its name, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Merged => "merged",
            Self::Done => "done",
            Self::Killed => "killed",
            Self::NotStarted => "not_started",
            Self::Cleanup => "cleanup",
            Self::Spawning => "spawning",
            Self::Blocked => "blocked",
            Self::NeedsInput => "needs_input",
            Self::Errored => "errored",
            Self::RateLimited => "rate_limited",
            Self::Unknown => "unknown",
            Self::Stuck => "stuck",
            Self::PrClosed => "pr_closed",
            Self::CiFailed => "ci_failed",
            Self::Conflicting => "conflicting",
            Self::ChangesRequested => "changes_requested",
            Self::Mergeable => "mergeable",
            Self::Approved => "approved",
            Self::ReviewPending => "review_pending",
            Self::PrOpen => "pr_open",
            Self::Draft => "draft",
            Self::Idle => "idle",
            Self::Working => "working",
        }
    }

    /// The zone that this status alone gives.
    pub fn zone(self) -> Zone {
        match self {
            Self::Blocked | Self::NeedsInput | Self::Errored | Self::Unknown | Self::Stuck => {
                Zone::Red
            }
            Self::Mergeable | Self::Approved | Self::PrClosed => Zone::Orange,
            Self::CiFailed | Self::Conflicting | Self::ChangesRequested | Self::RateLimited => {
                Zone::Yellow
            }
            Self::Merged | Self::Done | Self::Killed | Self::NotStarted | Self::Cleanup => {
                Zone::Grey
            }
            Self::Spawning
            | Self::ReviewPending
            | Self::PrOpen
            | Self::Draft
            | Self::Idle
            | Self::Working => Zone::Green,
        }
    }
}

/// Where a session is shown: how much it wants a human.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Zone {
    /// `○` finished.
    Grey,
    /// `●` working.
    Green,
    /// `■` not going well.
    Yellow,
    /// `◆` decide.
    Orange,
    /// `▲` needs you.
    Red,
}

impl From<Priority> for Zone {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::Urgent => Self::Red,
            Priority::Action => Self::Orange,
            Priority::Warning => Self::Yellow,
            Priority::Info => Self::Green,
        }
    }
}

impl Session {
    /// The status table. Each row names the facts that it reads; `stuck` is given, since it is judged by time, and so are
    /// the approvals that the configuration asks for.
    pub fn derive_status(&self, stuck: bool, required_approvals: u32) -> Status {
        // 1 · over: how it ended, and whether its workspace is still being removed.
        if let Some((how, _)) = &self.over {
            return match how {
                _ if self.cleanup.is_some() => Status::Cleanup,
                Over::Merged => Status::Merged,
                Over::Done => Status::Done,
                Over::Killed => Status::Killed,
                Over::Failed => Status::NotStarted,
            };
        }
        // A kill that has not come to its end yet.
        if matches!(self.intent, Want::Kill(_)) {
            return Status::Cleanup;
        }
        // 3 before 2: an agent that ended while it was being set up has ended.
        let ended = self.has_ended() && !self.was_ended_by_us();
        if ended
            && self.restore.is_none()
            && self.step >= Step::Launching
            && self.step <= Step::Ready
        {
            return Status::Errored;
        }
        // 4, 5 before 2: a dialog at the start is what the human has to see.
        match self.activity.value {
            Activity::Blocked => return Status::Blocked,
            Activity::WaitingInput => return Status::NeedsInput,
            _ => {}
        }
        // 2 · set-up unfinished.
        if self.step != Step::Ready {
            return Status::Spawning;
        }
        // 6 to 8 · what the agent says of itself; no probe answered; no signal.
        match self.activity.value {
            Activity::Errored { .. } | Activity::Exited => return Status::Errored,
            Activity::RateLimited { .. } => return Status::RateLimited,
            Activity::NoSignal => return Status::Unknown,
            _ => {}
        }
        if self.runtime_state.value == RuntimeState::Unknown {
            return Status::Unknown;
        }
        // 9 · a turn runs and nothing moves.
        if stuck {
            return Status::Stuck;
        }
        // 10 · the pull request.
        if let Some(status) = self.pr_status(required_approvals) {
            return status;
        }
        // 11, 12 · between two turns, or in one.
        if matches!(self.activity.value, Activity::Idle) { Status::Idle } else { Status::Working }
    }

    fn pr_status(&self, required_approvals: u32) -> Option<Status> {
        let pr = self.pr()?;
        Some(match pr.state {
            PrState::None => return None,
            PrState::Closed => Status::PrClosed,
            PrState::Merged => Status::Merged,
            PrState::Draft => Status::Draft,
            PrState::Open => match (pr.checks, pr.mergeable, pr.review) {
                (Checks::Failing, ..) => Status::CiFailed,
                (_, Mergeable::Conflicting, _) => Status::Conflicting,
                (_, _, Review::ChangesRequested) => Status::ChangesRequested,
                _ if pr.human_threads > 0 || self.open_remarks() > 0 => Status::ChangesRequested,
                _ if is_ready(pr, required_approvals, false) => Status::Mergeable,
                (_, _, Review::Approved) => Status::Approved,
                (_, _, Review::Pending) => Status::ReviewPending,
                (_, _, Review::None) if required_approvals > 0 => Status::ReviewPending,
                _ => Status::PrOpen,
            },
        })
    }
}

impl State {
    /// The zone of a session: the worse of its open incidents and its status.
    pub fn zone_of(&self, session: &Session) -> Zone {
        let by_status = session.status.zone();
        if session.is_over() {
            return by_status;
        }
        self.incidents_of(&Subject::Session(session.id.clone()))
            .filter(|incident| incident.is_open())
            .map(|incident| Zone::from(incident.priority))
            .fold(by_status, Zone::max)
    }

    /// Whether the stuck limit has passed: an open incident says so.
    pub fn is_stuck(&self, session: &Session) -> bool {
        self.open_incident(&Subject::Session(session.id.clone()), Trigger::AgentStuck, None)
            .is_some_and(|incident| incident.is_open() && incident.detail.is_none())
    }
}
