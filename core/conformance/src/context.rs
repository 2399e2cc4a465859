//! What a plugin is built in, for tests.

use std::{collections::BTreeMap, path::Path};

use ao_slots::{InstanceId, plugin::BuildContext};

/// The data directory's identity.
pub const INSTANCE: &str = "0123456789ABCDEFGHJKMNPQRS";

/// Folders that are not there, no environment.
pub fn nowhere() -> BuildContext {
    within(Path::new("/nonexistent"))
}

/// Folders in this one, which are not made; no environment.
pub fn within(root: &Path) -> BuildContext {
    #[expect(clippy::unwrap_used, reason = "the id is a literal")]
    let instance = InstanceId::try_from(INSTANCE.to_owned()).unwrap();
    BuildContext {
        data_dir: root.join("data"),
        run_dir: root.join("data/run"),
        instance,
        ao: root.join("data/run/ao"),
        home: root.join("home"),
        env: BTreeMap::new(),
    }
}

/// As [`within`], for a plugin that runs git: none of this machine's settings but those of `root`'s `gitconfig`,
/// and what a hook of git's would leave behind.
pub fn with_git(root: &Path) -> BuildContext {
    let env = [
        ("PATH", std::env::var("PATH").unwrap_or_default()),
        ("GIT_CONFIG_GLOBAL", root.join("gitconfig").display().to_string()),
        ("GIT_CONFIG_NOSYSTEM", "1".to_owned()),
        ("GIT_DIR", "/nowhere".to_owned()),
    ];
    BuildContext { env: env.map(|(name, value)| (name.to_owned(), value)).into(), ..within(root) }
}
