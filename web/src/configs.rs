//! The configuration as the API offers it. Reading files and the environment is the composition root's; it
//! gives the router something that does.

use std::{fmt, path::PathBuf};

use ao_core::config::ConfigError;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::Problem;

/// One configuration file that the server was told of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigFile {
    /// Where it lies.
    pub path: PathBuf,
    /// How it came to be read: `user`, `given` or `registered`.
    pub role: String,
    /// Its projects.
    pub projects: Vec<String>,
    /// Some of its keys wait for a human's trust.
    pub needs_trust: bool,
    /// Why it is not used; empty = it is.
    pub errors: Vec<ConfigError>,
}

/// What became of a look at the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigReport {
    /// What is wrong; empty = the configuration is in use.
    pub errors: Vec<ConfigError>,
    /// What is not as it seems.
    pub warnings: Vec<ConfigError>,
    /// Files whose keys wait for trust, and the difference to what was trusted last.
    pub untrusted: Vec<Untrusted>,
    /// Something changed by this call.
    pub changed: bool,
}

/// A file that waits for a human's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Untrusted {
    /// Where it lies.
    pub path: PathBuf,
    /// What identifies the content that would be trusted.
    pub hash: String,
    /// The keys that wait, e.g. `projects.my-app.postCreate`.
    pub keys: Vec<String>,
}

/// Reads, trusts and applies configuration files.
#[async_trait]
pub trait Configs: fmt::Debug + Send + Sync {
    /// The files that count.
    async fn list(&self) -> Result<Vec<ConfigFile>, Problem>;
    /// Adds a file and applies what follows.
    async fn register(&self, file: PathBuf) -> Result<ConfigReport, Problem>;
    /// Trusts the content with this hash and applies what follows.
    async fn trust(&self, file: PathBuf, hash: String) -> Result<ConfigReport, Problem>;
    /// Takes a file out and applies what follows.
    async fn forget(&self, file: PathBuf) -> Result<ConfigReport, Problem>;
    /// Reads all files again and applies them.
    async fn reload(&self) -> Result<ConfigReport, Problem>;
    /// Checks all files and this one; applies nothing.
    async fn check(&self, file: Option<PathBuf>) -> Result<ConfigReport, Problem>;
}
