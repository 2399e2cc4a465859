//! When the hooks were started that told the present facts.
//!
//! Hooks are processes: they race, and one that found no server arrives with the spool, late. What an older hook
//! tells must not undo what a newer one told of the same thing. The times are those of one launch's machine, in
//! microseconds of its monotonic clock.

use serde::{Deserialize, Serialize};

use super::apply::trim_front;
use crate::event::Kind;

/// Ends of requests that are remembered, for a hook that tells of the request only after its end.
const KEEP_ENDED: usize = 8;

/// Each thing that hooks tell of, with the newest hook that told it; 0 = none did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Heard {
    /// Which conversation it is.
    pub started: u64,
    /// That a turn began or ended.
    pub turn: u64,
    /// What the agent does.
    pub activity: u64,
    /// Which tool runs.
    pub tool: u64,
    /// Ends of requests that nobody had told of: the agent's own key, and when.
    pub ended: Vec<(String, u64)>,
}

impl Heard {
    /// No hook has said when it was started.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// A request with this key, told by a hook started at `at`, has ended already.
    pub fn has_ended(&self, key: &str, at: u64) -> bool {
        at < self.turn || self.ended.iter().any(|(known, end)| known == key && at < *end)
    }

    pub(super) fn note(&mut self, kind: &Kind, at: u64) {
        let newest = |mark: &mut u64| *mark = at.max(*mark);
        match kind {
            Kind::AgentStarted(_) => newest(&mut self.started),
            Kind::TurnStarted(_) | Kind::TurnEnded(_) => {
                newest(&mut self.turn);
                newest(&mut self.activity);
            }
            Kind::ActivityObserved(_) | Kind::RequestOpened(_) | Kind::RequestEnded(_) => {
                newest(&mut self.activity);
            }
            Kind::ToolStarted(_) => newest(&mut self.tool),
            Kind::ToolEnded(e) => {
                newest(&mut self.tool);
                self.ended.extend(e.request.clone().map(|key| (key, at)));
                trim_front(&mut self.ended, KEEP_ENDED);
            }
            _ => {}
        }
    }
}
