//! Incidents, and what keeps them quiet.

use ao_core::{
    event::Settled,
    slots::{
        IncidentId, NotificationId, ProjectId, RequestId, SessionId, SilenceId, fact::Priority,
    },
    state::{Incident, Matchers, Now, Silence, State},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// An incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IncidentView {
    /// `ao.incident/1`.
    pub schema: String,
    /// Its id.
    pub id: IncidentId,
    /// What it is about.
    pub subject: String,
    /// Its project.
    pub project: Option<ProjectId>,
    /// Why.
    pub trigger: String,
    /// A finer kind.
    pub detail: Option<String>,
    /// How urgent.
    pub priority: Priority,
    /// What is the matter.
    pub title: String,
    /// Sessions it names.
    pub sessions: Vec<SessionId>,
    /// The request behind it.
    pub request: Option<RequestId>,
    /// Since when.
    pub opened: Timestamp,
    /// Its cause is gone since.
    pub cleared: Option<Timestamp>,
    /// It is over since.
    pub resolved: Option<Timestamp>,
    /// How it ended.
    pub how: Option<String>,
    /// Who took it.
    pub acknowledged: Option<String>,
    /// Quiet until.
    pub snoozed: Option<Timestamp>,
    /// The message that tells of it.
    pub notification: Option<NotificationId>,
}

/// A list of incidents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IncidentList {
    /// `ao.incidents/1`.
    pub schema: String,
    /// Newest last.
    pub incidents: Vec<IncidentView>,
}

/// A silence to begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SilenceBody {
    /// What it is about.
    pub matchers: Matchers,
    /// Until when.
    pub until: Timestamp,
    /// Why; may be empty.
    #[serde(default)]
    pub comment: String,
}

/// A silence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SilenceView {
    /// Its id.
    pub id: SilenceId,
    /// What it is about.
    pub matchers: Matchers,
    /// Until when.
    pub until: Timestamp,
    /// Who wants it.
    pub by: String,
    /// Why; may be empty.
    pub comment: String,
    /// Since when.
    pub since: Timestamp,
    /// It holds.
    pub active: bool,
    /// How many incidents it has held back.
    pub held: u32,
}

/// A list of silences.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SilenceList {
    /// `ao.silences/1`.
    pub schema: String,
    /// The newest first.
    pub silences: Vec<SilenceView>,
}

/// Builds an incident's document.
pub fn incident(state: &State, incident: &Incident) -> IncidentView {
    let ended = incident.resolved.as_ref().or(incident.cleared.as_ref());
    IncidentView {
        schema: "ao.incident/1".into(),
        id: incident.id,
        subject: incident.subject.to_string(),
        project: incident.project.clone(),
        trigger: incident.trigger.to_string(),
        detail: incident.detail.clone(),
        priority: incident.priority,
        title: ao_core::words::known_as(state, incident),
        sessions: incident.sessions.clone(),
        request: incident.request,
        opened: incident.opened.at,
        cleared: incident.cleared.as_ref().map(|(_, when)| when.at),
        resolved: incident.resolved.as_ref().map(|(_, when)| when.at),
        how: ended.map(|(how, _)| how_words(how)),
        acknowledged: incident.acknowledged.as_ref().map(|(by, _)| by.to_string()),
        snoozed: incident.snoozed,
        notification: incident.notification,
    }
}

pub(super) fn how_words(how: &Settled) -> String {
    match how {
        Settled::ByItself => "by itself".into(),
        Settled::Handled => "by ao".into(),
        Settled::By(actor) => format!("by {actor}"),
        Settled::Over => "the session is over".into(),
    }
}

/// Builds the list of silences, the newest first; those that are over only with `all`.
pub fn silences(state: &State, now: Now, all: bool) -> SilenceList {
    let view = |silence: &Silence| SilenceView {
        id: silence.id,
        matchers: silence.matchers.clone(),
        until: silence.until,
        by: silence.by.to_string(),
        comment: silence.comment.clone(),
        since: silence.since.at,
        active: silence.is_active(now.wall),
        held: silence.held,
    };
    let silences = state.silences.values().rev().map(view).filter(|silence| all || silence.active);
    SilenceList { schema: "ao.silences/1".into(), silences: silences.collect() }
}
