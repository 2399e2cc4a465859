//! Whose name one asks in: the token of the settings, else that of the environment, else the one that `gh` keeps.

use std::collections::BTreeMap;

use ao_sdk::{Secret, digest, local};
use ao_slots::{ErrorKind, PluginError, plugin::BuildContext};
use tokio::{process::Command, time::Instant};

use crate::{Access, App};

pub(crate) const REMEDY: &str =
    "run `gh auth login`, or set GITHUB_TOKEN, or `token:` in the settings";
/// What to do where a token may not see or do something.
pub const RIGHTS: &str = "use a classic token with `repo`, `gh auth login`, or an App that may read contents, pull \
    requests, issues, checks, commit statuses and actions: a fine-grained token sees no checks";

/// Where the token comes from.
#[derive(Debug)]
pub(crate) struct Source {
    given: Option<Secret>,
    pub(crate) app: Option<App>,
    pub(crate) env: BTreeMap<String, String>,
}

impl Source {
    /// A variable for github.com is shown to no other host, as `gh` has it.
    pub(crate) fn new(access: &Access, host: &str, context: &BuildContext) -> Self {
        let public = host == "github.com" || host.ends_with(".ghe.com");
        let names = match public {
            true => ["GH_TOKEN", "GITHUB_TOKEN"],
            false => ["GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN"],
        };
        let known = |name: &&str| context.env.get(*name).filter(|token| is_one(token));
        let given = access.token.clone().or_else(|| names.iter().find_map(known).map(Secret::new));
        Self { given, app: access.app.clone(), env: context.env.clone() }
    }

    /// Tells it from others, and tells nothing of it.
    pub(crate) fn name(&self) -> String {
        match (&self.app, &self.given) {
            (Some(app), _) => app.name(),
            (None, Some(token)) => digest(token.reveal(), 16),
            (None, None) => "gh".to_owned(),
        }
    }

    pub(crate) async fn token(&self, host: &str, until: Instant) -> Result<Secret, PluginError> {
        if let Some(token) = &self.given {
            return Ok(token.clone());
        }
        let missing = |cause: String| {
            let what = format!("there is no token for {host}");
            PluginError::new(ErrorKind::Missing, what, cause).with_remedy(REMEDY)
        };
        let path = self.env.get("PATH").map_or("", String::as_str);
        let mut command = Command::new(local::program("gh", path));
        command.env_clear().envs(&self.env).args(["auth", "token", "--hostname", host]);
        let output = match local::run(command, b"", until).await {
            Ok(output) => output,
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                return Err(PluginError::transient("`gh auth token` did not end in time", ""));
            }
            Err(error) => return Err(missing(format!("`gh` does not run: {error}"))),
        };
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        match output.code {
            Some(0) if is_one(&text) => Ok(Secret::new(text)),
            _ => Err(missing("`gh auth token` has none".to_owned())),
        }
    }
}

/// A token is a word that a header can hold.
pub(crate) fn is_one(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}
