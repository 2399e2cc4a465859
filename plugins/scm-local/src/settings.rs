//! The settings.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    path::{Component, PathBuf},
    time::Duration,
};

use ao_slots::{PluginError, text};
use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

use crate::NAME;

/// How long a check may take that says nothing of it.
const LIMIT: Duration = Duration::from_mins(30);
/// The longest that one may ask for.
const LONGEST: Duration = Duration::from_hours(24);

/// The settings of `scm: {plugin: local, …}`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Settings {
    /// The repository, absolute. Default: the project's.
    pub path: Option<PathBuf>,
    /// The folder in it that the checks run in. Default: the project's `subdir`.
    pub subdir: Option<PathBuf>,
    /// Commands that must pass on each head.
    pub checks: Vec<CheckSetting>,
    /// Approvals of the present head that a pull request needs. Default: the project's.
    pub required_approvals: u32,
    /// Checks that run at one time. Default: 2.
    pub parallel: NonZeroU32,
    /// Open a pull request when a turn ends with a clean tree and commits ahead of the base.
    pub auto_open: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            path: None,
            subdir: None,
            checks: Vec::new(),
            required_approvals: 0,
            parallel: NonZeroU32::MIN.saturating_add(1),
            auto_open: false,
        }
    }
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckSetting {
    /// What it is called.
    pub name: String,
    /// A shell command. Exit code 0 is a pass.
    pub run: String,
    /// How long it may take, at most 24h. Default: 30m.
    #[serde(default)]
    pub timeout: Option<Limit>,
    /// Variables for it.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

impl CheckSetting {
    /// How long it may take.
    pub(crate) fn limit(&self) -> Duration {
        self.timeout.map_or(LIMIT, |limit| limit.0)
    }
}

/// A duration, written `90s`, `10m`, `1h 30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(pub Duration);

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let said = String::deserialize(deserializer)?;
        let wrong =
            || de::Error::custom(format!("`{said}` is no duration of 1s to 24h, e.g. `10m`"));
        let parsed = said.parse::<SignedDuration>().map_err(|_| wrong())?;
        let limit = Duration::try_from(parsed).map_err(|_| wrong())?;
        if (Duration::from_secs(1)..=LONGEST).contains(&limit) {
            Ok(Self(limit))
        } else {
            Err(wrong())
        }
    }
}

impl JsonSchema for Limit {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Limit".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "duration", "examples": ["10m"]})
    }
}

impl Settings {
    /// Checks what text can tell.
    pub(crate) fn validated(self) -> Result<Self, PluginError> {
        let wrong = |cause: String| {
            Err(PluginError::permanent(format!("the settings of `{NAME}` are not valid"), cause))
        };
        if self.path.as_ref().is_some_and(|path| !path.is_absolute()) {
            return wrong("`path` is not absolute".to_owned());
        }
        let is_within = |path: &PathBuf| {
            path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
        };
        if !self.subdir.iter().all(is_within) {
            return wrong("`subdir` leads out of the repository".to_owned());
        }
        let mut names = BTreeSet::new();
        for check in &self.checks {
            let name = &check.name;
            if name.is_empty() || name.len() > 100 || *name != text::one_line(name) {
                return wrong(format!("`{}` is no name for a check", name.escape_debug()));
            }
            if !names.insert(name) {
                return wrong(format!("two checks are called `{name}`"));
            }
            if check.run.trim().is_empty() || check.run.contains('\0') {
                return wrong(format!("the check `{name}` runs nothing"));
            }
            let is_name = |name: &String| !name.is_empty() && !name.contains(['=', '\0']);
            if !check.env.iter().all(|(name, value)| is_name(name) && !value.contains('\0')) {
                return wrong(format!(
                    "a variable of the check `{name}` has no valid name or value"
                ));
            }
        }
        Ok(self)
    }
}
