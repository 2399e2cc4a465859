//! The configuration as the API offers it. Reading files and the environment is the composition root's; it
//! gives the router something that does.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use ao_core::config::{ConfigError, Pending, TrustItem};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::Problem;

/// A configuration file, by its absolute path.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileBody {
    /// Where it lies.
    pub file: PathBuf,
}

/// What is to be checked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckBody {
    /// A file beside those that the server was told of.
    #[serde(default)]
    pub file: Option<PathBuf>,
}

/// A file that a human trusts.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustBody {
    /// Where it lies.
    pub file: PathBuf,
    /// What identifies the content that the human saw.
    pub hash: String,
}

/// One configuration file that the server was told of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigFile {
    /// Where it lies.
    pub path: PathBuf,
    /// How it came to be read: `user`, `given` or `registered`.
    pub role: String,
    /// It was registered, and is not there any more.
    #[serde(default)]
    pub gone: bool,
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
    /// What is wrong with what the files say, also in values that wait for trust.
    pub errors: Vec<ConfigError>,
    /// What is wrong with values that were trusted before and stand in for what a file says now: to trust it mends
    /// them. The configuration is in use when this and `errors` are empty.
    pub stale: Vec<ConfigError>,
    /// What is not as it seems.
    pub warnings: Vec<ConfigError>,
    /// Files whose keys wait for trust, and the difference to what was trusted last.
    pub untrusted: Vec<Untrusted>,
    /// Something changed by this call.
    pub changed: bool,
    /// Nothing new is in use: what is wrong with one file keeps all of them from it.
    pub held: bool,
}

/// A file that waits for a human's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Untrusted {
    /// Where it lies.
    pub path: PathBuf,
    /// What identifies the content that would be trusted.
    pub hash: String,
    /// The keys that wait, with what counts until then and what is asked for.
    pub items: Vec<TrustItem>,
}

impl ConfigReport {
    /// All that keeps the files from being used as they count now or as they stand.
    pub fn wrong(&self) -> Vec<ConfigError> {
        self.errors.iter().chain(&self.stale).cloned().collect()
    }

    /// The same for one file: what is wrong with it, and where all are kept from being used, with any.
    pub fn against(&self, file: &Path) -> Vec<ConfigError> {
        let mut wrong = self.wrong();
        wrong.retain(|error| self.held || error.file == file);
        wrong
    }
}

impl From<Pending> for Untrusted {
    fn from(pending: Pending) -> Self {
        Self { path: pending.file, hash: pending.hash, items: pending.items }
    }
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
