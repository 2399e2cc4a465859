//! The documents of the API: what `--json` prints and what the CLI reads.
//!
//! Names and types are a promise within `/1`: fields are added, never renamed or retyped. Ids are strings,
//! times RFC 3339 in UTC, durations milliseconds.

use std::{collections::BTreeMap, path::PathBuf};

use ao_core::{
    config::policy::{DigestEvery, PluginChoice},
    decide::Answered,
    event::{Class, Failure, Held, Over, Settled},
    slots::{
        ChannelName, IncidentId, Launch, MessageId, NotificationId, PluginError, ProjectId,
        RequestId, Seq, SessionId, SilenceId,
        agent::{Ask, Decision, LONGER, Usage},
        fact::{PrFacts, Priority, Source, WorkFacts},
        notifier::{ChannelKind, Mark, NotifierCapabilities, Reached},
        tracker::Issue,
    },
    state::{
        Delivery, Fact, Fate, Hold, Incident, Matchers, Moment, Notification, Now, Progress,
        Request, Session, Silence, State, Status, Step, Zone,
    },
    why::{Described, Why},
};
use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::summary;

/// Says that the server serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// `ao.health/1`.
    pub schema: String,
    /// The program's version.
    pub version: String,
    /// Its process.
    pub pid: u32,
}

impl Health {
    /// This process.
    pub fn new(version: &str) -> Self {
        Self { schema: "ao.health/1".into(), version: version.to_owned(), pid: std::process::id() }
    }
}

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

/// A fact with its source and time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FactView {
    /// What.
    pub value: Value,
    /// Who says so.
    pub source: Source,
    /// Since when.
    pub since: Timestamp,
    /// The event.
    pub seq: Seq,
}

impl FactView {
    fn of<T: Serialize>(fact: &Fact<T>) -> Self {
        Self {
            value: serde_json::to_value(&fact.value).unwrap_or_default(),
            source: fact.source,
            since: fact.since.at,
            seq: fact.since.seq,
        }
    }
}

/// Everything about one session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionDoc {
    /// `ao.session/1`.
    pub schema: String,
    /// As in a list.
    pub session: Row,
    /// The first event about it.
    pub first: Seq,
    /// When it was asked for, and by whom.
    pub created: Timestamp,
    /// Who asked for it.
    pub by: String,
    /// What the agent was told first, cut.
    pub prompt: String,
    /// The runtime plugin.
    pub runtime_name: String,
    /// The step of setting up, restoring or ending it.
    pub step: Step,
    /// Since when.
    pub step_since: Timestamp,
    /// Which start of the agent is the present one.
    pub launch: Launch,
    /// The running agent as its runtime knows it, e.g. the pane.
    pub handle: Option<String>,
    /// The branch.
    pub branch: Option<String>,
    /// The workspace.
    pub workspace: Option<PathBuf>,
    /// It was removed.
    pub workspace_gone: bool,
    /// Why it could not be removed.
    pub workspace_kept: Option<Failure>,
    /// What lies in it.
    pub work: Option<WorkFacts>,
    /// Whether the process runs.
    pub runtime: FactView,
    /// What the agent does.
    pub activity: FactView,
    /// In its own words.
    pub activity_text: Option<String>,
    /// The pull request.
    pub pr: Option<PrFacts>,
    /// What the conversation has used.
    pub usage: Usage,
    /// How often a human was called for it.
    pub asked: u32,
    /// What the agent waits for, and waited for last.
    pub requests: Vec<RequestView>,
    /// Messages for it, the last few.
    pub messages: Vec<MessageView>,
    /// Its incidents that are not settled.
    pub incidents: Vec<IncidentView>,
    /// What the agent said last.
    pub last_words: Option<String>,
    /// The last lines of an ended agent's screen.
    pub tail: Option<String>,
    /// It is being brought back.
    pub restoring: bool,
    /// The step that failed, and why.
    pub failed: Option<(String, Failure)>,
    /// How it ended.
    pub over: Option<Over>,
}

/// Something that an agent waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestView {
    /// Its id.
    pub id: RequestId,
    /// What is asked.
    pub ask: Ask,
    /// The whole text, where `ask` holds only its beginning.
    pub full: Option<String>,
    /// All of what is asked is here: in `full`, else in `ask`.
    #[serde(default)]
    pub whole: bool,
    /// Since when.
    pub opened: Timestamp,
    /// What a human decided.
    pub decision: Option<Decision>,
    /// Who.
    pub by: Option<String>,
    /// When.
    pub decided: Option<Timestamp>,
    /// Why the decision could not be handed over.
    pub failed: Option<Failure>,
    /// The decision was handed over.
    pub handed: bool,
    /// How it ended; none while it is open.
    pub ended: Option<String>,
}

/// A message for an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageView {
    /// Its id.
    pub id: MessageId,
    /// The text, cut.
    pub text: String,
    /// What became of it: `waiting`, `confirmed`, `withdrawn`, `undelivered`.
    pub fate: String,
    /// Evidence or reason.
    pub detail: Option<String>,
    /// Since when it waits.
    pub queued: Timestamp,
    /// How often handing it over was tried.
    pub tries: u32,
}

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

/// A message to a human.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NotificationView {
    /// Its id.
    pub id: NotificationId,
    /// The incident; none for a summary.
    pub incident: Option<IncidentId>,
    /// The mark before its title.
    pub mark: Mark,
    /// The title.
    pub title: String,
    /// How urgent.
    pub priority: Priority,
    /// Its project.
    pub project: Option<ProjectId>,
    /// When it was opened.
    pub opened: Timestamp,
    /// When what it tells of ended; none while it is open.
    pub settled: Option<Timestamp>,
    /// How it ended, in words: `by ana`, `by itself`.
    pub how: Option<String>,
    /// Who took it, of several the last who did; none = nobody yet.
    #[serde(default)]
    pub acknowledged: Option<AckView>,
    /// Each channel's part.
    pub deliveries: Vec<DeliveryView>,
}

/// Who took a need, where and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AckView {
    /// Who.
    pub by: String,
    /// By which channel, or `cli`.
    pub via: String,
    /// When.
    pub at: Timestamp,
}

/// One channel's part of a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryView {
    /// The channel.
    pub channel: ChannelName,
    /// How far it is.
    pub progress: Progress,
    /// How far it is known to have come.
    pub reached: Option<Reached>,
    /// From the message's opening until the provider took it.
    pub took_ms: Option<u64>,
    /// Failed tries.
    pub tries: u32,
    /// The last error.
    pub error: Option<String>,
    /// What keeps it back, or kept it from going out for good; none = nothing does.
    #[serde(default)]
    pub held: Option<HoldView>,
}

/// What keeps a message from a channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HoldView {
    /// What.
    pub why: Held,
    /// Until when; none = until that is over, or for good.
    pub until: Option<Timestamp>,
}

/// A list of messages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NotificationList {
    /// `ao.notifications/1`.
    pub schema: String,
    /// Newest first.
    pub notifications: Vec<NotificationView>,
}

/// One channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelView {
    /// Its name.
    pub name: ChannelName,
    /// Its plugin.
    pub plugin: String,
    /// What kind it is; none when its plugin was never built.
    pub kind: Option<ChannelKind>,
    /// Since when it takes messages, or fails; none = it was never tried.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// The last error, while it fails.
    pub error: Option<String>,
    /// The remedy.
    pub remedy: Option<String>,
    /// Nothing goes out before this.
    pub not_before: Option<Timestamp>,
    /// Messages that have something to do.
    pub waiting: u32,
    /// What it can do; none when its plugin was never built.
    #[serde(default)]
    pub capabilities: Option<NotifierCapabilities>,
    /// The people it belongs to; none named = the single user.
    #[serde(default)]
    pub people: Vec<String>,
    /// How often it carries a digest.
    #[serde(default)]
    pub digest: DigestEvery,
}

/// A list of channels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelList {
    /// `ao.channels/1`.
    pub schema: String,
    /// By name.
    pub channels: Vec<ChannelView>,
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

/// What a test message came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TestDoc {
    /// `ao.test/1`.
    pub schema: String,
    /// The channel.
    pub channel: ChannelName,
    /// How far it came.
    pub reached: Reached,
    /// How long that took.
    pub took_ms: u64,
    /// By what its button is known, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// Whether the button of a test was pressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PressDoc {
    /// `ao.press/1`.
    pub schema: String,
    /// By whom; none = not yet.
    pub by: Option<String>,
}

/// `ao.issue/1`: an issue, and what keeps an agent from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IssueDoc {
    /// `ao.issue/1`.
    pub schema: String,
    /// The issue; all its text is untrusted.
    pub issue: Issue,
    /// Its author may write to the repository.
    pub trusted: bool,
    /// Issues that are open and must be closed before.
    pub waits_for: Vec<String>,
}

/// A project.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProjectView {
    /// Its id.
    pub id: ProjectId,
    /// What people call it.
    pub name: String,
    /// The repository.
    pub path: PathBuf,
    /// The first part of its sessions' ids.
    pub session_prefix: String,
    /// Its plugins: agent, runtime, workspace, terminal, tracker, scm.
    pub agent: String,
    /// Where sessions execute.
    pub runtime: String,
    /// Issues; none = by the repository.
    pub tracker: Option<String>,
    /// Sessions that are not over.
    pub sessions: u32,
}

/// A list of projects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProjectList {
    /// `ao.projects/1`.
    pub schema: String,
    /// By id.
    pub projects: Vec<ProjectView>,
}

/// An event with its words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventView {
    /// `ao.event/1`.
    pub schema: String,
    /// Its place.
    pub seq: Seq,
    /// When.
    pub at: Timestamp,
    /// What kind of statement it makes.
    pub class: Class,
    /// What it says, e.g. `request.opened`.
    pub kind: String,
    /// The session.
    pub session: Option<SessionId>,
    /// The project.
    pub project: Option<ProjectId>,
    /// Direct causes.
    pub because: Vec<Seq>,
    /// The rule that concluded it.
    pub rule: Option<String>,
    /// The same in words.
    pub told: Described,
    /// The event's own data, as the journal holds it.
    pub data: Value,
}

/// Some events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventPage {
    /// `ao.events/1`.
    pub schema: String,
    /// In order.
    pub events: Vec<EventView>,
    /// The newest event there is.
    pub last: Seq,
}

impl EventPage {
    pub(crate) fn new(events: Vec<EventView>, last: Seq) -> Self {
        Self { schema: "ao.events/1".into(), events, last }
    }
}

/// An explanation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WhyDoc {
    /// `ao.why/1`.
    pub schema: String,
    /// The explanation.
    pub why: Why,
}

/// An act was taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Taken {
    /// `ao.taken/1`.
    pub schema: String,
    /// The session that was made or meant.
    pub session: Option<SessionId>,
    /// The message that was queued.
    pub message: Option<MessageId>,
    /// The request that was decided.
    pub request: Option<RequestId>,
    /// The silence that was made or ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence: Option<SilenceId>,
    /// Something a human should know.
    pub note: Option<String>,
    /// The newest event before the act: what follows from it comes after.
    pub after: Seq,
}

impl Taken {
    pub(crate) fn new(answered: Answered, after: Seq) -> Self {
        let Answered { session, message, request, silence, note, after: before } = answered;
        let after = before.unwrap_or(after);
        Self { schema: "ao.taken/1".into(), session, message, request, silence, note, after }
    }
}

/// Lines of a screen or a log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lines {
    /// `ao.lines/1`.
    pub schema: String,
    /// From top to bottom.
    pub lines: Vec<String>,
    /// Lines before them that were left out, where that is known.
    pub omitted: u64,
}

/// How to get in front of a running agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttachDoc {
    /// `ao.attach/1`.
    pub schema: String,
    /// The command; none when there is nothing to show.
    pub argv: Option<Vec<String>>,
    /// The same as a line for a shell.
    pub command: Option<String>,
    /// A name for a window.
    pub title: String,
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
    let wants = |zone: Zone| u32::from(zone >= Zone::Orange);
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
        want_you: sessions.iter().map(|row| wants(row.zone)).sum::<u32>()
            + notices.iter().map(|notice| wants(notice.zone)).sum::<u32>(),
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

/// Builds a session's whole document. `full` reads a text that was put away.
pub fn session(
    state: &State,
    session: &Session,
    zone: &TimeZone,
    full: &dyn Fn(&ao_core::blob::BlobRef) -> Option<String>,
) -> SessionDoc {
    let subject = ao_core::event::Subject::Session(session.id.clone());
    SessionDoc {
        schema: "ao.session/1".into(),
        session: row(state, session, zone),
        first: session.created.seq,
        created: session.created.at,
        by: session.by.to_string(),
        prompt: session.prompt.excerpt.clone(),
        runtime_name: session.runtime.clone(),
        step: session.step,
        step_since: session.step_since.at,
        launch: session.launch,
        handle: session.handle.as_ref().map(|handle| handle.id.clone()),
        branch: session
            .work()
            .and_then(|w| w.branch.clone())
            .or(session.workspace.as_ref().map(|w| w.branch.clone())),
        workspace: session.workspace.as_ref().map(|workspace| workspace.path.clone()),
        workspace_gone: session.workspace_gone,
        workspace_kept: session.workspace_kept.clone(),
        work: session.work().cloned(),
        runtime: FactView::of(&session.runtime_state),
        activity: FactView::of(&session.activity),
        activity_text: session.activity_text.as_ref().map(|text| text.excerpt.clone()),
        pr: session.pr().cloned(),
        usage: session.usage.clone(),
        asked: session.asked,
        requests: session.requests.values().map(|r| request(r, full)).collect(),
        messages: session.messages.values().map(message).collect(),
        incidents: state.incidents_of(&subject).map(|i| incident(state, i)).collect(),
        last_words: session.last_words.as_ref().map(|text| text.excerpt.clone()),
        tail: session.tail.as_ref().map(|text| text.excerpt.clone()),
        restoring: session.restore.is_some(),
        failed: session.failure.clone(),
        over: session.over.as_ref().map(|(how, _)| *how),
    }
}

fn request(
    request: &Request,
    full: &dyn Fn(&ao_core::blob::BlobRef) -> Option<String>,
) -> RequestView {
    let decided = request.decided.as_ref();
    let full_text = request.full.as_ref().and_then(full);
    let longer = match &request.ask {
        Ask::Permission { careful, .. } => careful.iter().any(|why| why == LONGER),
        Ask::Question { .. } => false,
    };
    RequestView {
        id: request.id,
        ask: request.ask.clone(),
        whole: !longer && (full_text.is_some() || request.full.is_none()),
        full: full_text,
        opened: request.opened.at,
        decision: decided.map(|d| d.decision.clone()),
        by: decided.map(|d| d.by.to_string()),
        decided: decided.map(|d| d.when.at),
        failed: decided.and_then(|d| d.handed.as_ref()?.as_ref().err().cloned()),
        handed: decided.is_some_and(|d| matches!(d.handed, Some(Ok(_)))),
        ended: request.ended.as_ref().map(|(how, _)| how.clone()),
    }
}

fn message(message: &ao_core::state::QueuedMessage) -> MessageView {
    let (fate, detail) = match &message.fate {
        Fate::Waiting => ("waiting", None),
        Fate::Confirmed { evidence, .. } => ("confirmed", Some(evidence.clone())),
        Fate::Withdrawn { reason } => ("withdrawn", Some(reason.clone())),
        Fate::Undelivered { failure } => ("undelivered", Some(failure.message.clone())),
    };
    MessageView {
        id: message.id,
        text: message.text.excerpt.clone(),
        fate: fate.to_owned(),
        detail,
        queued: message.queued.at,
        tries: message.tries,
    }
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

fn how_words(how: &Settled) -> String {
    match how {
        Settled::ByItself => "by itself".into(),
        Settled::Handled => "by ao".into(),
        Settled::By(actor) => format!("by {actor}"),
        Settled::Over => "the session is over".into(),
    }
}

/// Builds a message's document.
pub fn notification(state: &State, notification: &Notification) -> NotificationView {
    let covered = notification.covers.iter().filter_map(|id| state.incidents.get(id));
    let ends: Vec<Option<&(Settled, Moment)>> = covered.map(|i| i.resolved.as_ref()).collect();
    let open = ends.iter().any(Option::is_none);
    // Of several the last.
    let ended = ends.iter().flatten().filter(|_| !open).max_by_key(|(_, when)| when.seq);
    let delivery = |(channel, delivery): (&ChannelName, &Delivery)| DeliveryView {
        channel: channel.clone(),
        progress: delivery.progress,
        reached: delivery.reached,
        took_ms: delivery.sent.map(|sent| millis(sent.at, notification.opened.at)),
        tries: delivery.tries,
        error: delivery.error.as_ref().map(|error| error.message.clone()),
        held: hold(state, notification, delivery),
    };
    let taken = notification.covers.iter().filter_map(|id| {
        state.incidents.get(id).and_then(|incident| incident.acknowledged.as_ref())
    });
    let taken = taken.max_by_key(|(_, when)| when.seq);
    NotificationView {
        id: notification.id,
        incident: notification.incident,
        mark: match (open, ended) {
            (true, _) => ao_core::why::mark_of(Zone::from(notification.priority)),
            (false, Some(_)) => Mark::Settled,
            (false, None) => Mark::Finished,
        },
        title: notification.title.clone(),
        priority: notification.priority,
        project: notification.project.clone(),
        opened: notification.opened.at,
        settled: ended.map(|(_, when)| when.at),
        how: ended.map(|(how, _)| how_words(how)),
        acknowledged: taken.map(|(by, when)| AckView {
            by: by.name.clone(),
            via: by.via.clone(),
            at: when.at,
        }),
        deliveries: notification.deliveries.iter().map(delivery).collect(),
    }
}

/// What keeps a message from a channel that it has not gone out on.
fn hold(state: &State, notification: &Notification, delivery: &Delivery) -> Option<HoldView> {
    if delivery.progress == Progress::Sent {
        return None;
    }
    let holds = |hold: &&Hold| hold.until.is_none_or(|until| until > state.last_at);
    if let Some(hold) = delivery.held.as_ref().filter(holds).filter(|_| delivery.error.is_none()) {
        return Some(HoldView { why: hold.why.clone(), until: hold.until });
    }
    let waits = delivery.progress != Progress::Dropped && delivery.superseded.is_none();
    let open = notification.covers.iter().filter_map(|id| state.incidents.get(id));
    let mut open = open.filter(|incident| waits && incident.resolved.is_none());
    open.find_map(|incident| {
        let about = |silence: &&Silence| {
            silence.is_active(state.last_at) && silence.matchers.match_incident(incident)
        };
        let silence = state.silences.values().filter(about).max_by_key(|silence| silence.until)?;
        let why = Held::Silence { silence: silence.id };
        Some(HoldView { why, until: Some(silence.until) })
    })
}

/// Builds the list of channels.
///
/// A channel that could not send is told of with its own error, else with what a look found (`unable`).
pub fn channels(state: &State, unable: &BTreeMap<ChannelName, PluginError>) -> ChannelList {
    let people = &state.policy.people;
    let view = |(name, choice): (&ChannelName, &PluginChoice)| {
        let known = state.channels.get(name);
        let failing =
            known.filter(|channel| channel.failures > 0).and_then(|channel| channel.error.as_ref());
        let looked = unable.get(name).filter(|_| failing.is_none());
        ChannelView {
            name: name.clone(),
            plugin: choice.plugin.clone(),
            kind: known.and_then(|channel| channel.capabilities.as_ref()).map(|can| can.kind),
            // What a look found says nothing of when it began.
            since: known
                .filter(|_| looked.is_none())
                .and_then(|channel| channel.since)
                .map(|since| since.at),
            error: failing
                .map(|error| error.message.clone())
                .or_else(|| looked.map(ToString::to_string)),
            remedy: failing
                .map_or_else(|| looked.and_then(|e| e.remedy.clone()), |e| e.remedy.clone()),
            not_before: known.and_then(|channel| channel.not_before),
            waiting: known
                .map_or(0, |channel| u32::try_from(channel.waiting.len()).unwrap_or(u32::MAX)),
            capabilities: known.and_then(|channel| channel.capabilities.clone()),
            people: people
                .iter()
                .filter(|(_, person)| person.channels.is_empty() || person.channels.contains(name))
                .map(|(person, _)| person.clone())
                .collect(),
            digest: state.policy.push.digest_of(name),
        }
    };
    ChannelList {
        schema: "ao.channels/1".into(),
        channels: state.policy.channels.iter().map(view).collect(),
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

/// Builds the list of projects.
pub fn projects(state: &State) -> ProjectList {
    let open = |id: &ProjectId| {
        state.sessions.values().filter(|s| !s.is_over() && s.project == *id).count()
    };
    let projects = state.policy.projects.iter().map(|(id, project)| ProjectView {
        id: id.clone(),
        name: project.name.clone(),
        path: project.path.clone(),
        session_prefix: project.session_prefix.to_string(),
        agent: project.agent.plugin.clone(),
        runtime: project.runtime.plugin.clone(),
        tracker: project.tracker.as_ref().map(|tracker| tracker.plugin.clone()),
        sessions: u32::try_from(open(id)).unwrap_or(u32::MAX),
    });
    ProjectList { schema: "ao.projects/1".into(), projects: projects.collect() }
}

fn millis(later: Timestamp, earlier: Timestamp) -> u64 {
    u64::try_from(later.duration_since(earlier).as_millis()).unwrap_or(0)
}
