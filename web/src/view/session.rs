//! One session, whole.

use std::path::PathBuf;

use ao_core::{
    event::{Failure, Over},
    slots::{
        Launch, MessageId, RequestId, Seq,
        agent::{Ask, Decision, LONGER, Usage},
        fact::{PrFacts, Source, WorkFacts},
    },
    state::{Fact, Fate, Request, Session, State, Step},
};
use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{IncidentView, Row, incident::incident, row};

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
