//! The terminal slot: how a human looks in.

use std::{collections::BTreeMap, fmt};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Call, PluginError, SessionId, call::Answer, runtime::AttachInfo};

/// What to open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenRequest {
    /// The session.
    pub session: SessionId,
    /// How its runtime is attached to.
    pub attach: AttachInfo,
    /// The environment of the client that asks (`DISPLAY`, `WAYLAND_DISPLAY`, `TERM_PROGRAM`, `TMUX`, `PATH` …).
    pub env: BTreeMap<String, String>,
    /// The asking client sits at a terminal and can itself run a command in it.
    pub foreground: bool,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Opened {
    /// A window shows it.
    Window,
    /// The asking client runs this in its own terminal.
    RunHere(Vec<String>),
    /// Nothing was opened; this is what a human can type.
    Hint(String),
}

/// Puts a human in front of a session.
///
/// # Idempotency
/// Opening what is open brings it to front or opens a second view; it never disturbs the agent.
/// # Cancel safety
/// A dropped call may have opened the window; nothing else changes.
/// # Deadline
/// Within `call.limit()`; never waits for the human to close it.
/// # Errors
/// No terminal program is `Missing` with what to install; a session without a screen is `Unsupported`.
#[async_trait]
pub trait Terminal: fmt::Debug + Send + Sync {
    /// Shows one session.
    async fn open(&self, call: &Call, request: &OpenRequest) -> Result<Opened, PluginError>;

    /// Shows many, in one window where the terminal can.
    async fn open_all(
        &self,
        call: &Call,
        requests: &[OpenRequest],
    ) -> Result<Vec<Opened>, PluginError>;

    /// Whether a view of the session is open.
    async fn is_open(&self, call: &Call, session: &SessionId) -> Result<Answer<()>, PluginError>;
}
