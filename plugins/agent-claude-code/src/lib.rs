//! Drives Claude Code through its hooks, transcript and screen.
//!
//! Needs the `claude` program, tried with 2.1.329, and a runtime with a screen. Everything of `ao` lies in the
//! session's own folder: hooks come in by `--settings <file>`, beside those of the user and the repository.
//! What was observed of the program, and how, is written in `corpus/2.1.329`; the tests replay all of it.

mod ask;
mod careful;
mod check;
mod hook;
mod launch;
mod screen;
mod transcript;

#[cfg(test)]
mod replay;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use ao_slots::{
    Call, PluginError,
    agent::{
        Agent, AgentCapabilities, AgentCheck, AgentConfig, AgentRequest, Decision, Dialog,
        HookReport, InputMode, Introspection, LaunchPlan, LaunchRequest, Signal,
    },
    fact::Activity,
    plugin::{self, BuildContext, Registration},
    process::ProcessId,
    runtime::{Key, Screen},
};
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The plugin's name in the config.
pub const NAME: &str = "claude-code";

/// How the core finds this plugin.
pub fn registration() -> Registration<dyn Agent> {
    Registration {
        name: NAME,
        about: "Drives Claude Code through its hooks, transcript and screen",
        schema: || schemars::schema_for!(Settings),
        check: |value| plugin::settings::<Settings>(NAME, value).map(|_| ()),
        build: |value, context| {
            let Settings {} = plugin::settings(NAME, value)?;
            Ok(Arc::new(ClaudeCode::new(context)))
        },
    }
}

/// The settings of the plugin: none. What differs by project is its `agentConfig`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {}

/// The agent.
#[derive(Debug)]
pub struct ClaudeCode {
    home: PathBuf,
}

impl ClaudeCode {
    fn new(context: &BuildContext) -> Self {
        Self { home: context.home.clone() }
    }
}

#[async_trait]
impl Agent for ClaudeCode {
    fn capabilities(&self, config: &AgentConfig) -> AgentCapabilities {
        AgentCapabilities {
            answerable: vec![hook::PERMISSION_REQUEST.into()],
            takes_messages: vec![hook::STOP.into()],
            resume: true,
            input: config.input.unwrap_or(InputMode::Paste),
            screen: true,
            free_answers: true,
        }
    }

    fn env_names(&self) -> Vec<String> {
        launch::ENV_NAMES.iter().map(|name| (*name).to_owned()).collect()
    }

    fn plan_launch(&self, request: &LaunchRequest) -> Result<LaunchPlan, PluginError> {
        launch::plan(request)
    }

    fn reduce_hook(&self, event: &str, payload: &[u8]) -> Result<HookReport, PluginError> {
        hook::reduce(event, payload).map(|signals| HookReport { signals })
    }

    fn hook_reply(
        &self,
        event: &str,
        payload: &[u8],
        decision: &Decision,
    ) -> Result<String, PluginError> {
        ask::reply(event, payload, decision)
    }

    fn message_reply(&self, event: &str, payload: &[u8], text: &str) -> Option<String> {
        hook::message_reply(event, payload, text)
    }

    fn introspect(&self, bytes: &[u8], carry: &str) -> Introspection {
        transcript::introspect(bytes, carry)
    }

    fn status_file(&self, request: &LaunchRequest, process: ProcessId) -> Option<PathBuf> {
        let folder = launch::config_dir(&request.env, &request.home);
        Some(folder.join("sessions").join(format!("{}.json", process.pid)))
    }

    fn read_status(&self, bytes: &[u8]) -> Option<Signal> {
        read_status(bytes)
    }

    fn match_dialog(&self, screen: &Screen) -> Dialog {
        screen::match_dialog(screen)
    }

    fn as_message(&self, text: &str) -> String {
        launch::as_message(text)
    }

    fn is_draft_of(&self, draft: &str, text: &str) -> bool {
        screen::is_draft_of(draft, text)
    }

    fn answer_keys(
        &self,
        request: &AgentRequest,
        decision: &Decision,
        screen: &Screen,
    ) -> Option<Vec<Key>> {
        screen::answer_keys(request, decision, screen)
    }

    async fn check(
        &self,
        call: &Call,
        env: &BTreeMap<String, String>,
        repo: Option<&Path>,
    ) -> Result<AgentCheck, PluginError> {
        check::check(call, env, &self.home, repo).await
    }
}

/// `sessions/<pid>.json` of a running Claude Code: `busy`, `idle`, `shell` or `waiting`, and for what it waits.
///
/// It also says `idle` after a turn that failed and after one that a human interrupted: no hook tells the latter.
/// `shell` (the turn is over, a command goes on in the background) says less than the `Stop` hook did.
fn read_status(bytes: &[u8]) -> Option<Signal> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Status {
        status: String,
        waiting_for: Option<String>,
    }
    let status: Status = serde_json::from_slice(bytes).ok()?;
    let activity = match (status.status.as_str(), status.waiting_for.as_deref()) {
        ("busy", _) => Activity::Active,
        ("idle", _) => Activity::Idle,
        ("waiting", Some("input needed")) => Activity::WaitingInput,
        // A permission, or a dialog that only a human may touch.
        ("waiting", _) => Activity::Blocked,
        _ => return None,
    };
    Some(Signal::Observed { activity })
}
