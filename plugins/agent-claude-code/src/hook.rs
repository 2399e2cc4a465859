//! Hook events, reduced to signals.
//!
//! Payloads are those of 2.1.329 (captured in `corpus`); events that could not be made to happen there follow
//! the schema that the program itself carries. Two things that it does *not* tell by a hook: that a human
//! answered "No" or pressed Escape (no event at all, the turn is just over; the status file and the transcript
//! say so), and that a tool was denied (no `PostToolUse`).

use std::path::PathBuf;

use ao_slots::{
    PluginError,
    agent::Signal,
    fact::{Activity, AgentErrorKind},
    text,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{ask, launch};

/// The event whose process waits for a human.
pub(crate) const PERMISSION_REQUEST: &str = "PermissionRequest";
/// The event that can hand over a message.
pub(crate) const STOP: &str = "Stop";

/// The events that are asked for. Those of subagents' beginnings and ends say nothing that matters here.
pub(crate) const EVENTS: &[&str] = &[
    "SessionStart",
    "UserPromptSubmit",
    "PreToolUse",
    PERMISSION_REQUEST,
    "PermissionDenied",
    "PostToolUse",
    "PostToolUseFailure",
    "Notification",
    "Elicitation",
    "ElicitationResult",
    STOP,
    "StopFailure",
    "SessionEnd",
];

/// The longest message of a failure, in bytes.
const LONGEST_MESSAGE: usize = 1024;

/// What Claude Code writes to a hook's standard input. `agent_id` is there only inside subagents.
#[derive(Debug, Deserialize)]
pub(crate) struct Payload {
    hook_event_name: Option<String>,
    session_id: Option<String>,
    transcript_path: Option<PathBuf>,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) prompt_id: Option<String>,
    pub(crate) agent_id: Option<String>,
    source: Option<String>,
    prompt: Option<String>,
    pub(crate) tool_name: Option<String>,
    #[serde(default)]
    pub(crate) tool_input: Value,
    tool_use_id: Option<String>,
    reason: Option<String>,
    message: Option<String>,
    notification_type: Option<String>,
    error: Option<Value>,
    error_type: Option<String>,
    last_assistant_message: Option<String>,
    background_tasks: Option<Vec<Value>>,
    session_crons: Option<Vec<Value>>,
    stop_hook_active: Option<bool>,
    mcp_server_name: Option<String>,
    elicitation_id: Option<String>,
}

impl Payload {
    pub(crate) fn read(event: &str, payload: &[u8]) -> Result<Self, PluginError> {
        let wrong = |cause: String| {
            PluginError::permanent(
                format!("the `{event}` hook of Claude Code could not be read"),
                cause,
            )
        };
        let read: Self =
            serde_json::from_slice(payload).map_err(|error| wrong(error.to_string()))?;
        match read.hook_event_name.as_deref() {
            Some(name) if name == event => Ok(read),
            Some(name) => {
                Err(wrong(format!("it says that it is `{}`", text::cut(&text::one_line(name), 60))))
            }
            None => Err(wrong("it does not say which event it is".into())),
        }
    }

    pub(crate) fn tool(&self) -> &str {
        self.tool_name.as_deref().unwrap_or_default()
    }
}

pub(crate) fn reduce(event: &str, payload: &[u8]) -> Result<Vec<Signal>, PluginError> {
    let payload = Payload::read(event, payload)?;
    if payload.agent_id.is_some() {
        return Ok(of_subagent(event, &payload));
    }
    Ok(match event {
        // After a compaction the same conversation goes on, perhaps in the middle of a turn.
        "SessionStart" if payload.source.as_deref() == Some("compact") => vec![Signal::Alive],
        "SessionStart" => vec![Signal::Started {
            native_id: payload.session_id,
            transcript: payload.transcript_path,
            version: None,
        }],
        "UserPromptSubmit" => vec![Signal::TurnStarted {
            turn: payload.prompt_id,
            prompt: payload.prompt.as_deref().map(launch::submitted),
        }],
        "PreToolUse" => tool_started(&payload),
        PERMISSION_REQUEST => vec![Signal::Asked(ask::request(&payload))],
        "PostToolUse" | "PostToolUseFailure" | "PermissionDenied" => vec![Signal::ToolEnded {
            id: payload.tool_use_id.clone(),
            tool: payload.tool().to_owned(),
            request: Some(ask::key(&payload)),
        }],
        "Elicitation" => vec![Signal::Asked(ask::elicitation(
            payload.mcp_server_name.as_deref(),
            payload.elicitation_id.as_deref(),
            payload.message.as_deref(),
        ))],
        "ElicitationResult" => vec![Signal::RequestEnded {
            request: ask::elicitation_key(
                payload.mcp_server_name.as_deref(),
                payload.elicitation_id.as_deref(),
            ),
        }],
        "Notification" => notification(&payload),
        STOP => vec![Signal::TurnEnded {
            turn: payload.prompt_id,
            last_words: payload
                .last_assistant_message
                .as_deref()
                .and_then(|words| words_of(words, 300)),
            background: [payload.background_tasks, payload.session_crons]
                .into_iter()
                .flatten()
                .any(|tasks| !tasks.is_empty()),
        }],
        "StopFailure" => vec![failure(&payload)],
        "SessionEnd" => match payload.reason {
            // The same process goes on with another conversation.
            Some(reason) if reason == "clear" || reason == "resume" => vec![],
            reason => vec![Signal::Exited { reason: reason.unwrap_or_else(|| "other".into()) }],
        },
        _ => vec![],
    })
}

/// A subagent works in the background and says nothing about the main turn. But its permission dialog opens
/// on the one screen there is, so the human is asked all the same.
fn of_subagent(event: &str, payload: &Payload) -> Vec<Signal> {
    match event {
        PERMISSION_REQUEST => vec![Signal::Asked(ask::request(payload))],
        "PostToolUse" | "PostToolUseFailure" | "PermissionDenied" => {
            vec![Signal::RequestEnded { request: ask::key(payload) }]
        }
        _ => vec![],
    }
}

/// A question is told here already, under the key that its `PermissionRequest` has too.
fn tool_started(payload: &Payload) -> Vec<Signal> {
    let command = payload.tool_input["command"].as_str().and_then(|command| words_of(command, 200));
    let started = Signal::ToolStarted {
        id: payload.tool_use_id.clone(),
        tool: payload.tool().to_owned(),
        command,
    };
    if ask::is_question(payload.tool()) {
        vec![started, Signal::Asked(ask::request(payload))]
    } else {
        vec![started]
    }
}

/// Notifications come seconds after what they tell of, so they begin nothing that a hook has told already.
fn notification(payload: &Payload) -> Vec<Signal> {
    match payload.notification_type.as_deref() {
        Some("idle_prompt") => vec![Signal::Observed { activity: Activity::Idle }],
        Some(
            "permission_prompt"
            | "elicitation_dialog"
            | "elicitation_url_dialog"
            | "elicitation_complete",
        )
        | Some(
            "elicitation_response"
            | "agent_completed"
            | "auth_success"
            | "computer_use_enter"
            | "computer_use_exit",
        ) => vec![],
        // `agent_needs_input` and whatever comes later: a dialog of which nothing else is known.
        _ => words_of(payload.message.as_deref().unwrap_or_default(), 200)
            .map(|text| Signal::Suspected { text })
            .into_iter()
            .collect(),
    }
}

fn failure(payload: &Payload) -> Signal {
    let error = payload
        .error
        .as_ref()
        .and_then(Value::as_str)
        .or(payload.error_type.as_deref())
        .unwrap_or("unknown");
    let message = payload.last_assistant_message.as_deref().unwrap_or(error);
    failed(error, message)
}

/// The kinds of error that 2.1.329 names, as facts.
fn failed(error: &str, message: &str) -> Signal {
    let kind = match error {
        "rate_limit" => return Signal::RateLimited { until: None },
        "authentication_failed"
        | "oauth_org_not_allowed"
        | "verification_required"
        | "cloud_credential_error" => AgentErrorKind::Login,
        "billing_error" | "account_on_hold" => AgentErrorKind::Billing,
        "invalid_request" | "model_not_found" | "max_output_tokens" => {
            AgentErrorKind::RequestRefused
        }
        "server_error" | "overloaded" => AgentErrorKind::ProviderDown,
        _ => AgentErrorKind::Reported,
    };
    Signal::Failed { kind, message: ask::at_most(&text::plain(message), LONGEST_MESSAGE) }
}

/// The first `limit` characters on one line; none when there is nothing to see.
pub(crate) fn words_of(words: &str, limit: usize) -> Option<String> {
    // A first cut in bytes, so that megabytes are not walked through for a line.
    let end = words.floor_char_boundary(limit * 64);
    let line = text::cut(&text::one_line(&words[..end]), limit);
    (!line.is_empty()).then_some(line)
}

/// `Stop` hands a message over by refusing to stop. Claude Code lets only a few refusals in a row pass and then
/// drops what they say, so a turn that was prolonged already gets none: the message is typed when it is idle.
pub(crate) fn message_reply(event: &str, payload: &[u8], message: &str) -> Option<String> {
    let payload = Payload::read(event, payload).ok()?;
    let may = event == STOP && payload.agent_id.is_none() && payload.stop_hook_active != Some(true);
    may.then(|| json!({ "decision": "block", "reason": message }).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(payload: Value, expected: &str) {
        let event = payload["hook_event_name"].as_str().unwrap().to_owned();
        let signals = reduce(&event, payload.to_string().as_bytes()).unwrap();
        assert_eq!(serde_json::to_string(&signals).unwrap(), expected);
    }

    #[test]
    fn events_that_could_not_be_captured_follow_the_schema() {
        check(
            json!({ "hook_event_name": "PermissionDenied", "prompt_id": "p", "tool_name": "Bash",
                "tool_input": { "command": "x" }, "tool_use_id": "t", "reason": "no" }),
            r#"[{"signal":"tool-ended","id":"t","tool":"Bash","request":"p/Bash/d4067eec961d25fc"}]"#,
        );
        check(
            json!({ "hook_event_name": "Elicitation", "mcp_server_name": "jira", "elicitation_id": "7", "message": "Which board?" }),
            r#"[{"signal":"asked","key":"elicitation/jira/7","turn":null,"tool":"jira","ask":{"kind":"question","text":"Which board?","options":[],"many":false},"answerable":false}]"#,
        );
        check(
            json!({ "hook_event_name": "ElicitationResult", "mcp_server_name": "jira", "elicitation_id": "7", "action": "accept" }),
            r#"[{"signal":"request-ended","request":"elicitation/jira/7"}]"#,
        );
        check(
            json!({ "hook_event_name": "Notification", "notification_type": "agent_needs_input", "message": "Teammate setup needs your input" }),
            r#"[{"signal":"suspected","text":"Teammate setup needs your input"}]"#,
        );
        check(
            json!({ "hook_event_name": "Notification", "notification_type": "auth_success", "message": "hello" }),
            "[]",
        );
        check(
            json!({ "hook_event_name": "SessionEnd", "reason": "logout" }),
            r#"[{"signal":"exited","reason":"logout"}]"#,
        );
        check(json!({ "hook_event_name": "SessionEnd", "reason": "resume" }), "[]");
        check(json!({ "hook_event_name": "SomethingNew", "x": 1 }), "[]");
    }

    #[test]
    fn kinds_of_failure_have_their_remedies() {
        for (error, kind) in [
            ("cloud_credential_error", AgentErrorKind::Login),
            ("account_on_hold", AgentErrorKind::Billing),
            ("model_not_found", AgentErrorKind::RequestRefused),
            ("overloaded", AgentErrorKind::ProviderDown),
            ("something_new", AgentErrorKind::Reported),
        ] {
            assert_eq!(failed(error, "words"), Signal::Failed { kind, message: "words".into() });
        }
    }

    #[test]
    fn what_cannot_be_read_is_an_error_and_never_a_turns_end() {
        for payload in [
            "",
            "{",
            "[]",
            "null",
            "{}",
            r#"{"hook_event_name":"Stop","prompt_id":7}"#,
            r#"{"hook_event_name":"PreToolUse"}"#,
        ] {
            let error = reduce("Stop", payload.as_bytes()).unwrap_err();
            assert!(!error.is_transient(), "{payload}");
        }
    }

    #[test]
    fn s40_words_lose_what_could_act_on_a_terminal() {
        let payload = json!({ "hook_event_name": "Stop", "last_assistant_message": "done \u{1b}]52;c;ZXZpbA==\u{7}\u{202e}now" });
        let signals = reduce("Stop", payload.to_string().as_bytes()).unwrap();
        assert_eq!(
            signals,
            [Signal::TurnEnded {
                turn: None,
                last_words: Some("done now".into()),
                background: false
            }]
        );
    }

    #[test]
    fn a_message_is_handed_over_once_a_turn() {
        let stop = |active: bool| {
            json!({ "hook_event_name": "Stop", "stop_hook_active": active }).to_string()
        };
        assert_eq!(
            message_reply("Stop", stop(false).as_bytes(), "say \"hi\"\nnow").unwrap(),
            r#"{"decision":"block","reason":"say \"hi\"\nnow"}"#
        );
        assert_eq!(message_reply("Stop", stop(true).as_bytes(), "hi"), None);
        assert_eq!(message_reply("PreToolUse", br#"{"hook_event_name":"PreToolUse"}"#, "hi"), None);
        assert_eq!(message_reply("Stop", b"{", "hi"), None);
    }
}
