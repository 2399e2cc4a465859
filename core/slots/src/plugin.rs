//! How a plugin is registered: `(slot, name, settings schema, factory)`.

use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc};

use schemars::Schema;
use serde_json::Value;

use crate::{
    InstanceId, PluginError, agent::Agent, notifier::Notifier, runtime::Runtime, scm::Scm,
    terminal::Terminal, tracker::Tracker, workspace::Workspace,
};

/// What a factory may know of the house it is built in.
#[derive(Debug, Clone)]
pub struct BuildContext {
    /// The data directory, absolute.
    pub data_dir: PathBuf,
    /// Where sockets lie: `<dataDir>/run`, or a shorter private folder where that path is too long.
    pub run_dir: PathBuf,
    /// The data directory's identity; goes into every label.
    pub instance: InstanceId,
    /// The link to the `ao` program that hooks and panes run: `<dataDir>/run/ao`.
    pub ao: PathBuf,
    /// The user's home folder.
    pub home: PathBuf,
    /// The environment variables that a plugin may read, as data: the plugin reads none by itself.
    pub env: BTreeMap<String, String>,
}

/// One plugin of slot `T`.
pub struct Registration<T: ?Sized> {
    /// Its name in the config, e.g. `tmux`.
    pub name: &'static str,
    /// One line for `ao plugin ls`.
    pub about: &'static str,
    /// The JSON schema of its settings.
    pub schema: fn() -> Schema,
    /// *Resolve*: checks the settings by what text can tell; looks at nothing.
    pub check: fn(&Value) -> Result<(), PluginError>,
    /// *Build*: makes the plugin. May look at the world, starts nothing.
    pub build: fn(&Value, &BuildContext) -> Result<Arc<T>, PluginError>,
}

impl<T: ?Sized> Clone for Registration<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T: ?Sized> Copy for Registration<T> {}

impl<T: ?Sized> fmt::Debug for Registration<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A plugin of any slot, as `plugins/bundled` lists them.
#[derive(Debug, Clone, Copy)]
pub enum Plugin {
    /// Where a session executes.
    Runtime(Registration<dyn Runtime>),
    /// The coding tool.
    Agent(Registration<dyn Agent>),
    /// Isolated code copy.
    Workspace(Registration<dyn Workspace>),
    /// Issues.
    Tracker(Registration<dyn Tracker>),
    /// Pull requests, checks, reviews.
    Scm(Registration<dyn Scm>),
    /// The primary interface.
    Notifier(Registration<dyn Notifier>),
    /// How a human looks in.
    Terminal(Registration<dyn Terminal>),
}

/// Reads a plugin's settings; `null` reads as `{}`. The error names the plugin and the key.
pub fn settings<S: serde::de::DeserializeOwned>(
    plugin: &str,
    value: &Value,
) -> Result<S, PluginError> {
    let value = if value.is_null() { Value::Object(serde_json::Map::new()) } else { value.clone() };
    serde_json::from_value(value).map_err(|error| {
        PluginError::permanent(format!("the settings of `{plugin}` are not valid"), error)
    })
}
