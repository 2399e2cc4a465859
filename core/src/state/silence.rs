//! Silences as the state keeps them.

use ao_slots::{IncidentId, ProjectId, SessionId, SilenceId, fact::Priority};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Incident, Moment};
use crate::{
    config::trigger::Trigger,
    event::{Actor, Subject},
};

/// What a silence is about: all that is named must match. One that names nothing is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Matchers {
    /// The session's id, or a pattern of it: `*` stands for any characters, `?` for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectId>,
    /// The trigger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Trigger>,
    /// At most that urgent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// This one incident.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incident: Option<IncidentId>,
}

impl Matchers {
    /// All about one session.
    pub fn session(id: &SessionId) -> Self {
        Self { session: Some(id.to_string()), ..Self::default() }
    }

    /// Whether an incident is meant. Of one about several sessions all must match.
    pub fn match_incident(&self, incident: &Incident) -> bool {
        let sessions = match &incident.subject {
            Subject::Session(id) => std::slice::from_ref(id),
            _ => &incident.sessions[..],
        };
        let session = |pattern: &String| {
            !sessions.is_empty() && sessions.iter().all(|id| glob(pattern, id.as_str()))
        };
        self.session.as_ref().is_none_or(session)
            && self.project.as_ref().is_none_or(|id| incident.project.as_ref() == Some(id))
            && self.trigger.is_none_or(|trigger| incident.trigger == trigger)
            && self.priority.is_none_or(|most| incident.priority <= most)
            && self.incident.is_none_or(|id| incident.id == id)
    }
}

/// What a human does not want to hear of for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Silence {
    /// Its id.
    pub id: SilenceId,
    /// What it is about.
    pub matchers: Matchers,
    /// Until when.
    pub until: Timestamp,
    /// Who wants it.
    pub by: Actor,
    /// Why, in his words; may be empty.
    #[serde(default)]
    pub comment: String,
    /// Since when.
    pub since: Moment,
    /// Who ended it before its time, and when.
    #[serde(default)]
    pub ended: Option<(Actor, Moment)>,
    /// How many incidents it has held back.
    #[serde(default)]
    pub held: u32,
}

impl Silence {
    /// Whether it holds at `now`.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.ended.is_none() && now < self.until
    }
}

/// `*` = any characters, `?` = one; all else stands for itself.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where the last star stands, and how much of the text it takes so far.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(one) if *one == '?' || *one == text[t] => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (p, t) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_ids_only() {
        for (pattern, yes, no) in [
            ("app-3", &["app-3"][..], &["app-30", "xapp-3", "app-"][..]),
            ("app-*", &["app-3", "app-30", "app-"], &["api-3", "xapp-3"]),
            ("*-3", &["app-3", "a-b-3"], &["app-33", "app-31"]),
            ("a*p-*3", &["app-3", "aXp-13"], &["app-31"]),
            ("app-?", &["app-3"], &["app-", "app-30"]),
            ("**", &["", "app-3"], &[]),
        ] {
            assert!(yes.iter().all(|text| glob(pattern, text)), "{pattern}");
            assert!(!no.iter().any(|text| glob(pattern, text)), "{pattern}");
        }
    }
}
