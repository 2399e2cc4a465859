//! What every call into a plugin carries, and how it fails.

use std::{fmt, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Carried by every call: how long it may take, and what makes a repetition harmless.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// How long the plugin may take, in milliseconds, from the moment it is called. It ends in good order
    /// within it; the host gives it 1 s more, then drops the call and treats it as in doubt.
    pub limit_ms: u64,
    /// The idempotency key: `<instance>-<seq of the intent>`. Two calls with one key are one act.
    pub key: String,
    /// The fencing number of the lease under which the call is made; 0 where there are no leases.
    pub fence: u64,
}

impl Call {
    /// A call with this key and limit, without a lease.
    pub fn new(key: impl Into<String>, limit: Duration) -> Self {
        Self {
            limit_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
            key: key.into(),
            fence: 0,
        }
    }

    /// How long the plugin may take.
    pub fn limit(&self) -> Duration {
        Duration::from_millis(self.limit_ms)
    }
}

/// How long to wait after so many failures in a row: `first`, doubled with each more, at most `most`, in the unit of both.
pub fn back_off(first: u64, failures: u32, most: u64) -> u64 {
    first.saturating_mul(1 << failures.saturating_sub(1).min(32)).min(most)
}

/// What may be concluded from a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// It surely did not happen, and may work later: try again with back-off.
    Transient,
    /// It surely did not happen, and will not by repeating.
    Permanent,
    /// It may have happened: settle by looking, never by repeating.
    InDoubt,
    /// What it was about does not exist.
    NotFound,
    /// Refused to protect work: dirty, unpushed, moved.
    Refused,
    /// Something is missing on this machine.
    Missing,
    /// The plugin cannot do this at all.
    Unsupported,
}

/// A plugin's failure: what failed, why, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PluginError {
    /// What may be concluded.
    pub kind: ErrorKind,
    /// What failed, with the name of the thing: lower case, no full stop.
    pub what: String,
    /// The cause, verbatim where it comes from outside; empty when `what` says it all.
    pub cause: String,
    /// The remedy as a command or a place, where one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// How long the other side asks to be left alone, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl PluginError {
    /// An error of this kind.
    pub fn new(kind: ErrorKind, what: impl Into<String>, cause: impl fmt::Display) -> Self {
        Self {
            kind,
            what: what.into(),
            cause: cause.to_string(),
            remedy: None,
            retry_after_ms: None,
        }
    }

    /// It did not happen and may work later.
    pub fn transient(what: impl Into<String>, cause: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Transient, what, cause)
    }

    /// It did not happen and will not.
    pub fn permanent(what: impl Into<String>, cause: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Permanent, what, cause)
    }

    /// It may have happened.
    pub fn in_doubt(what: impl Into<String>, cause: impl fmt::Display) -> Self {
        Self::new(ErrorKind::InDoubt, what, cause)
    }

    /// The plugin cannot do `what`.
    pub fn unsupported(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, what, "")
    }

    /// The same error with a remedy.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// The same error with the time that the other side asked for.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after_ms = Some(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Whether trying again may help.
    pub fn is_transient(&self) -> bool {
        self.kind == ErrorKind::Transient
    }
}

impl fmt::Display for PluginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if !self.cause.is_empty() {
            write!(f, ": {}", self.cause)?;
        }
        Ok(())
    }
}

impl std::error::Error for PluginError {}

/// The answer to a probe: yes, no, or unknown with the reason. Unknown never counts as no.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Answer<T> {
    /// It is there, and this is what it is.
    Yes(T),
    /// It surely is not there.
    No,
    /// Nothing can be said.
    Unknown(String),
}
