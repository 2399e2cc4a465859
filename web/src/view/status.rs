//! The zones: all sessions in a line each.

use std::{collections::BTreeMap, path::PathBuf};

use ao_core::{
    slots::{ChannelName, IncidentId, PluginError, ProjectId, SessionId},
    state::{Incident, Now, Session, State, Status, Zone},
};
use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};

use super::millis;
use crate::summary;

/// All that `ao status` shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusDoc {
    /// `ao.status/1`.
    pub schema: String,
    /// When it was looked.
    pub at: Timestamp,
    /// The server's version.
    pub version: String,
    /// How long it serves.
    pub up_ms: u64,
    /// Projects with a session that is not over.
    pub projects: u32,
    /// A project to spawn in, where one is configured.
    pub any_project: Option<ProjectId>,
    /// How many things want a human: what is red or orange.
    pub want_you: u32,
    /// When the last message to a human was sent.
    pub last_push: Option<Timestamp>,
    /// Some channel can reach a human.
    pub reachable: bool,
    /// Since when the settings in use are in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings_since: Option<Timestamp>,
    /// What concerns no single session.
    pub notices: Vec<Notice>,
    /// Sessions: the ones that are not over, and those that ended in the last 24 h.
    pub sessions: Vec<Row>,
}

/// An incident that concerns no single session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// The incident.
    pub id: IncidentId,
    /// Where it is shown.
    pub zone: Zone,
    /// What is the matter.
    pub words: String,
    /// Since when.
    pub since: Timestamp,
    /// What to do.
    pub next: String,
}

/// One session in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Its id.
    pub id: SessionId,
    /// Its project.
    pub project: ProjectId,
    /// Its issue; none for a prompt.
    pub issue: Option<String>,
    /// What it is about.
    pub title: String,
    /// The agent plugin.
    pub agent: String,
    /// Its status.
    pub status: Status,
    /// Where it is shown.
    pub zone: Zone,
    /// Its state in one line.
    pub words: String,
    /// Since when that is so.
    pub since: Timestamp,
    /// What a human would likely do next, as a command.
    pub next: Option<String>,
    /// The most urgent open incident.
    pub incident: Option<IncidentId>,
    /// Its workspace, while that is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<PathBuf>,
    /// When it ended.
    pub over: Option<Timestamp>,
}

/// A list of sessions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionList {
    /// `ao.sessions/1`.
    pub schema: String,
    /// In the order of their ids.
    pub sessions: Vec<Row>,
}

/// Builds the status document.
pub fn status(
    state: &State,
    now: Now,
    zone: &TimeZone,
    version: &str,
    only: Option<&SessionId>,
    all: bool,
    unable: &BTreeMap<ChannelName, PluginError>,
) -> StatusDoc {
    let recent = |session: &&Session| match &session.over {
        Some((_, when)) => all || now.wall.duration_since(when.at).as_hours() < 24,
        None => true,
    };
    let sessions: Vec<Row> = state
        .sessions
        .values()
        .filter(|session| only.is_none_or(|id| session.id == *id))
        .filter(recent)
        .map(|session| row(state, session, zone))
        .collect();
    let notices: Vec<Notice> = if only.is_none() { notices(state, now) } else { vec![] };
    let projects: std::collections::BTreeSet<_> =
        sessions.iter().filter(|row| row.over.is_none()).map(|row| &row.project).collect();
    let projects = u32::try_from(projects.len()).unwrap_or(u32::MAX);
    let sent =
        state.notifications.values().flat_map(|n| n.deliveries.values()).filter_map(|d| d.sent);
    StatusDoc {
        schema: "ao.status/1".into(),
        at: now.wall,
        version: version.to_owned(),
        up_ms: state.server.started.map_or(0, |since| millis(now.wall, since.at)),
        projects,
        any_project: state.policy.projects.keys().next().cloned(),
        want_you: match only {
            None => wanted(state, now),
            Some(_) => sessions.iter().map(|row| wants(row.zone)).sum::<u32>(),
        },
        last_push: sent.map(|when| when.at).max(),
        reachable: state
            .channels
            .iter()
            // What is known of a channel outlives its place in the configuration.
            .filter(|(name, _)| state.policy.channels.contains_key(*name))
            .filter(|(name, _)| !unable.contains_key(*name))
            .any(|(_, channel)| channel.capabilities.is_some() && channel.failures == 0),
        settings_since: state.policy_since.map(|when| when.at),
        notices,
        sessions,
    }
}

fn wants(zone: Zone) -> u32 {
    u32::from(zone >= Zone::Orange)
}

/// How many things want a human.
pub(crate) fn wanted(state: &State, now: Now) -> u32 {
    let sessions = state.sessions.values().map(|session| wants(state.zone_of(session)));
    let notices = notices(state, now).into_iter().map(|notice| wants(notice.zone));
    sessions.chain(notices).sum()
}

fn notices(state: &State, now: Now) -> Vec<Notice> {
    let about_all = |incident: &&Incident| {
        incident.is_open()
            && incident.snoozed.is_none_or(|until| until <= now.wall)
            && !matches!(incident.subject, ao_core::event::Subject::Session(_))
    };
    let view = |incident: &Incident| Notice {
        id: incident.id,
        zone: Zone::from(incident.priority),
        words: ao_core::words::title(state, incident),
        since: incident.opened.at,
        next: format!("ao why {}", incident.id),
    };
    state.incidents.values().filter(about_all).map(view).collect()
}

/// Builds a session's line in a list.
pub fn row(state: &State, session: &Session, zone: &TimeZone) -> Row {
    let subject = ao_core::event::Subject::Session(session.id.clone());
    let open = state.incidents_of(&subject).filter(|i| i.is_open()).max_by_key(|i| i.priority);
    let (words, next) = ao_core::words::one_line(state, session, zone);
    let zone = state.zone_of(session);
    // What works or is over wants nothing of a human.
    let next = Some(next).filter(|_| zone > Zone::Green);
    let workspace = session.workspace.as_ref().filter(|_| !session.workspace_gone);
    Row {
        id: session.id.clone(),
        project: session.project.clone(),
        issue: session.issue.clone(),
        title: ao_core::slots::text::one_line(&session.title.excerpt),
        agent: session.agent.clone(),
        status: session.status,
        zone,
        words,
        since: summary::since(session, open),
        next,
        incident: open.map(|incident| incident.id),
        workspace: workspace.map(|made| made.path.clone()),
        over: session.over.as_ref().map(|(_, when)| when.at),
    }
}
