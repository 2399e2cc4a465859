//! Who may come in by the web.

use ao_slots::AccessId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Moment;
use crate::{
    config::policy::Role,
    event::{AccessKind, Actor},
};

/// A browser or a program that may come in by the web, for as long as it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Its id.
    pub id: AccessId,
    /// Which of them.
    pub kind: AccessKind,
    /// By what its owner knows it.
    pub name: String,
    /// SHA-256 of its secret, lower hex.
    pub hash: String,
    /// Whose acts its acts are.
    pub person: String,
    /// What it may do.
    pub role: Role,
    /// Worth nothing after this; none = until it is revoked.
    #[serde(default)]
    pub until: Option<Timestamp>,
    /// Since when.
    pub since: Moment,
    /// Who let it in.
    pub by: Actor,
    /// Who took it back, and when.
    #[serde(default)]
    pub revoked: Option<(Actor, Moment)>,
}

impl Access {
    /// Whether it lets anybody in.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && self.until.is_none_or(|until| until > now)
    }

    /// When it ends, or ended.
    pub fn ended(&self) -> Option<Timestamp> {
        self.revoked.as_ref().map(|(_, when)| when.at).or(self.until)
    }
}
