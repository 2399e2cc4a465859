//! The configuration: files in, one [`Policy`] out.
//!
//! ```text
//! text ─ tree ─ check ─ trust ─ vars ─► layer (one file, with places)
//! layers ─ judge (all files together) ─ resolve (over the defaults) ─► Policy
//! ```
//! All of it is pure: the environment, the home folder and the plugins come in as data, and a load that fails
//! changes nothing. What is wrong is told with file, line and column, as much of it at once as can be seen.

mod catalog;
pub(crate) mod check;
mod error;
mod file;
mod judge;
mod keep;
mod layer;
mod paths;
pub mod policy;
mod prefix;
mod push;
mod resolve;
mod source;
mod starter;
mod tree;
pub mod trigger;
mod trust;
mod units;
mod vars;

use std::{collections::BTreeMap, fmt, ops::Deref, path::PathBuf};

pub use catalog::Catalog;
pub use error::ConfigError;
pub use file::config_schema;
pub use layer::needs_trust;
pub use source::{FILE_NAME, Registered, Role, SourceFile, find, in_repository};
pub use starter::{Forge, Starter, starter_file};
pub use trust::{Pending, TrustItem};

use layer::Layer;
use policy::Policy;

/// What a configuration is read against. The core itself looks at none of it.
#[derive(Clone, Default)]
pub struct World {
    /// The user's home folder, absolute.
    pub home: PathBuf,
    /// The environment that variables are taken from.
    pub env: BTreeMap<String, String>,
    /// The data directory of `--data-dir` or `AO_DATA_DIR`, absolute: goes before what files say.
    pub data_dir: Option<PathBuf>,
    /// The plugins that may be named.
    pub catalog: Catalog,
}

impl fmt::Debug for World {
    /// Without the environment's values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { home, data_dir, .. } = self;
        f.debug_struct("World")
            .field("home", home)
            .field("data_dir", data_dir)
            .finish_non_exhaustive()
    }
}

/// A policy with the values of all variables, secrets among them: it can be read, not printed or stored.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Live(Policy);

impl From<Policy> for Live {
    /// A policy that was made without variables.
    fn from(policy: Policy) -> Self {
        Self(policy)
    }
}

impl Deref for Live {
    type Target = Policy;
    fn deref(&self) -> &Policy {
        &self.0
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Live([hidden])")
    }
}

/// A configuration that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// What is journalled and decided by. Texts that may hold secrets (settings of plugins, `env`,
    /// `postCreate`, the agent's arguments and model) stand in it as they were written: `${NAME}`, `$$`.
    pub policy: Policy,
    /// The same with the values of all variables: from it plugins are built and agents started.
    pub live: Live,
    /// What is not as it seems: shown, and nothing more.
    pub warnings: Vec<ConfigError>,
    /// The files of which something waits for a human's trust.
    pub pending: Vec<Pending>,
    /// SHA-256 of `policy`, lower hex: equal when nothing changed.
    pub hash: String,
}

impl Loaded {
    /// Lets `choose` fill in what the files left open, alike in both forms. It writes the texts that it puts in as it
    /// is given: in one of the forms `$` begins a variable.
    pub fn adjust(&mut self, choose: impl Fn(&mut Policy, fn(&str) -> String)) {
        choose(&mut self.policy, vars::escape);
        choose(&mut self.live.0, str::to_owned);
        self.hash = self.policy.hash();
    }
}

/// Loads the union of `files`: those named by `--config`, the user's, and the registered ones in their order.
///
/// # Errors
/// All that is wrong with any of them, in the order of the files. Nothing was changed; who called goes on
/// with what was loaded before.
pub fn load(files: &[SourceFile], world: &World) -> Result<Loaded, Vec<ConfigError>> {
    let layers = read(files, world)?;
    let (prefixes, found) = judge::judge(&layers, world);
    let warnings = found.settle()?;
    let policy = resolve::build(&layers, &prefixes, world, |layer| &layer.canonical);
    let live = Live(resolve::build(&layers, &prefixes, world, |layer| &layer.live));
    let hash = policy.hash();
    let pending = layers.into_iter().filter_map(|layer| layer.pending).collect();
    Ok(Loaded { policy, live, warnings, pending, hash })
}

/// Where data and workspaces lie, by the user's files alone: how a client finds its server.
///
/// # Errors
/// As [`load`], as far as keys and these two values go; registered files among `files` are not read.
pub fn folders(
    files: &[SourceFile],
    world: &World,
) -> Result<(PathBuf, PathBuf), Vec<ConfigError>> {
    let mut layers = Vec::new();
    let mut errors = Vec::new();
    for role in [Role::Given, Role::User] {
        for file in files.iter().filter(|file| file.role == role) {
            match Layer::places(file, world) {
                Ok(layer) => layers.push(layer),
                Err(wrong) => errors.extend(wrong),
            }
        }
    }
    if errors.is_empty() { Ok(resolve::folders(&layers, world)) } else { Err(errors) }
}

/// Reads every file by itself; the one that goes first before the rest.
fn read<'a>(files: &'a [SourceFile], world: &World) -> Result<Vec<Layer<'a>>, Vec<ConfigError>> {
    let mut layers = Vec::new();
    let mut errors = Vec::new();
    for role in [Role::Given, Role::User, Role::Registered] {
        for file in files.iter().filter(|file| file.role == role) {
            match Layer::read(file, world, &layers) {
                Ok(layer) => layers.push(layer),
                Err(wrong) => errors.extend(wrong),
            }
        }
    }
    if errors.is_empty() { Ok(layers) } else { Err(errors) }
}

#[cfg(test)]
mod tests;
