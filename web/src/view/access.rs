//! Who may come in by the web.

use ao_core::{
    config::policy::Role,
    event::AccessKind,
    slots::AccessId,
    state::{Access, Now, State},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A token to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenBody {
    /// By what its owner will know it.
    pub name: String,
    /// What it may do.
    #[serde(default)]
    pub role: Role,
    /// Worth nothing after this; none = until it is revoked.
    #[serde(default)]
    pub until: Option<Timestamp>,
}

/// A token, told this once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenDoc {
    /// `ao.token/1`.
    pub schema: String,
    /// By what it is revoked.
    pub access: AccessId,
    /// What a program sends as `Authorization: Bearer <token>`.
    pub token: String,
}

/// What comes in by the web.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessView {
    /// Its id.
    pub id: AccessId,
    /// A browser or a token.
    pub kind: AccessKind,
    /// By what its owner knows it.
    pub name: String,
    /// Whose acts its acts are.
    pub person: String,
    /// What it may do.
    pub role: Role,
    /// Since when.
    pub since: Timestamp,
    /// When it ends, or ended; none = when it is revoked.
    pub until: Option<Timestamp>,
    /// Who let it in.
    pub by: String,
    /// Who took it back.
    pub revoked: Option<String>,
    /// It lets somebody in.
    pub active: bool,
}

/// What comes in by the web.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessList {
    /// `ao.access/1`.
    pub schema: String,
    /// The newest first.
    pub access: Vec<AccessView>,
}

/// Builds the list of what comes in by the web, the newest first; what is over only with `all`.
pub fn accesses(state: &State, now: Now, all: bool) -> AccessList {
    let view = |access: &Access| AccessView {
        id: access.id,
        kind: access.kind,
        name: access.name.clone(),
        person: access.person.clone(),
        role: access.role,
        since: access.since.at,
        until: access.ended(),
        by: access.by.to_string(),
        revoked: access.revoked.as_ref().map(|(by, _)| by.to_string()),
        active: access.holds(now.wall),
    };
    let access = state.access.values().rev().map(view).filter(|access| all || access.active);
    AccessList { schema: "ao.access/1".into(), access: access.collect() }
}
