//! What a configuration file may hold: every key, with its meaning and default. The JSON schema, the checks
//! of keys and types and `ao help config` all come from these types.

use std::{borrow::Cow, collections::BTreeMap, sync::LazyLock};

use ao_slots::{agent::AgentConfig, fact::Priority, scm::MergeMethod};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value};

use super::{
    policy::ReactionAction,
    push::{
        DigestEntry, DigestEvery, EscalationEntry, HeartbeatEntry, PersonEntry, QuietHoursEntry,
        TemplateEntry,
    },
    trigger::Trigger,
    units::{Bytes, Dollars, Millis},
};

/// The configuration of `ao`: `agent-orchestrator.yaml`, or the user's `~/.config/ao/config.yaml`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Config {
    /// Where all state lies. Default: `~/.agent-orchestrator`. Counts in the user's file or with `--config`.
    pub(super) data_dir: Option<String>,
    /// Where workspaces lie: `<worktreeDir>/<project>/<session>`. Default: `~/.worktrees`, for any other dataDir `<dataDir>/worktrees`. Counts in the user's file or with `--config`.
    pub(super) worktree_dir: Option<String>,
    /// The TCP port on the loopback address. Default: 3000. Counts in the user's file or with `--config`.
    #[schemars(range(min = 1))]
    pub(super) port: Option<u16>,
    /// The address under which a phone reaches the server, e.g. `https://ao.example.org`. Default: no such links.
    pub(super) public_url: Option<String>,
    /// Who is told and may answer, by name; a single user needs none. Counts in the user's file or with `--config`.
    pub(super) people: BTreeMap<String, PersonEntry>,
    /// What a project gets that says nothing else.
    pub(super) defaults: Defaults,
    /// The repositories that agents work in, by an id of your choice, e.g. `my-app`.
    pub(super) projects: BTreeMap<String, Project>,
    /// The channels that messages go to, by a name of your choice, e.g. `team-slack`.
    pub(super) notifiers: BTreeMap<String, ChannelEntry>,
    /// Who is told what.
    pub(super) notifications: Notifications,
    /// What happens about each trigger, for all projects.
    #[schemars(schema_with = "reactions_schema")]
    pub(super) reactions: BTreeMap<Trigger, ReactionEntry>,
    /// How often is looked and how long is waited.
    pub(super) lifecycle: LifecycleEntry,
    /// How long the journal explains what happened.
    pub(super) retention: RetentionEntry,
}

/// What a project gets that says nothing else.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Defaults {
    /// Where sessions execute. Default: `tmux`.
    pub(super) runtime: Option<PluginEntry>,
    /// The coding tool. Default: `claude-code`.
    pub(super) agent: Option<PluginEntry>,
    /// How the code is copied. Default: `worktree`.
    pub(super) workspace: Option<PluginEntry>,
    /// The channels for what no routing sends elsewhere. Default: `[desktop]`.
    pub(super) notifiers: Option<Vec<String>>,
    /// How a human looks in. Default: `auto`.
    pub(super) terminal: Option<PluginEntry>,
}

/// One project. Only `path` must be there.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Project {
    /// What people call it. Default: its id.
    pub(super) name: Option<String>,
    /// The repository at its forge, e.g. `acme/my-app`. Default: from the remote `origin`, else local.
    pub(super) repo: Option<String>,
    /// The repository on this machine; relative to this file's folder, or from `~/`.
    pub(super) path: String,
    /// The folder within the repository that the agent works in. Default: all of it.
    pub(super) subdir: Option<String>,
    /// What work starts from. Default: from the remote, else `main`.
    pub(super) default_branch: Option<String>,
    /// The first part of its sessions' ids, e.g. `app` for `app-1`. Default: the last part of the id.
    pub(super) session_prefix: Option<String>,
    /// The coding tool. Default: `defaults.agent`.
    pub(super) agent: Option<PluginEntry>,
    /// Where sessions execute. Default: `defaults.runtime`.
    pub(super) runtime: Option<PluginEntry>,
    /// How the code is copied. Default: `defaults.workspace`.
    pub(super) workspace: Option<PluginEntry>,
    /// How a human looks in. Default: `defaults.terminal`.
    pub(super) terminal: Option<PluginEntry>,
    /// Issues. Default: by the repository: its forge, else local files.
    pub(super) tracker: Option<PluginEntry>,
    /// Pull requests, checks and reviews. Default: by the repository.
    pub(super) scm: Option<PluginEntry>,
    /// Paths to link from the main checkout into each workspace, e.g. `node_modules`. Default: none.
    #[serde(default)]
    pub(super) symlinks: Vec<String>,
    /// Shell commands that set up a new workspace, e.g. `npm ci`. Default: none.
    #[serde(default)]
    pub(super) post_create: Vec<String>,
    /// Variables for the agent and the set-up commands. Default: none.
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
    /// What the agent gets to know.
    #[serde(default)]
    pub(super) agent_config: AgentConfig,
    /// Standing rules for the agent. Default: none.
    pub(super) agent_rules: Option<String>,
    /// A file with more of them. Default: none.
    pub(super) agent_rules_file: Option<String>,
    /// Initialise submodules in new workspaces. Default: false.
    #[serde(default)]
    pub(super) submodules: bool,
    /// How workspaces are made of a huge repository.
    #[serde(default)]
    pub(super) worktree: Worktree,
    /// What happens about each trigger, for this project.
    #[serde(default)]
    #[schemars(schema_with = "reactions_schema")]
    pub(super) reactions: BTreeMap<Trigger, ReactionEntry>,
    /// How many approvals a pull request needs; with 0 green checks are enough. Default: 0.
    #[serde(default)]
    pub(super) required_approvals: u32,
    /// How pull requests are merged: squash, merge or rebase. Default: the first of these that the repository allows.
    pub(super) merge_method: Option<MergeMethod>,
}

/// How workspaces are made of a huge repository.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Worktree {
    /// The folders to check out. Default: everything.
    pub(super) sparse: Vec<String>,
}

/// Who is told what.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Notifications {
    /// The channels of each class. Default: by the kind of channel.
    pub(super) routing: Option<RoutingEntry>,
    /// Who is told first, and who next, by name. Default: who spawned the session, then by name.
    pub(super) order: Vec<String>,
    /// An IANA time zone, e.g. `Europe/Berlin`. Default: the machine's.
    pub(super) timezone: Option<String>,
    /// When nobody is told. Default: never.
    pub(super) quiet_hours: Option<QuietHoursEntry>,
    /// What follows when nobody reacts. Default: after 10m the phone, after 20m the next person.
    pub(super) escalation: Option<Vec<EscalationEntry>>,
    /// Messages a day before the rest waits for the digest; urgent ones always go out. Default: any number.
    pub(super) budget: Option<u32>,
    /// Reminders of what nobody reacted to: how long each comes after the message before it. Default: 30m, 2h, 8h.
    pub(super) repeat: Option<Vec<Millis>>,
    /// The roll-up of what is not urgent.
    pub(super) digest: DigestEntry,
    /// A dead man's switch. Default: none.
    pub(super) heartbeat: Option<HeartbeatEntry>,
    /// Your own words for messages: by channel, kind of channel (desktop, chat, phone, mail, webhook) or `default`, and by trigger or `default`. Default: ao's own.
    pub(super) templates: BTreeMap<String, BTreeMap<String, TemplateEntry>>,
}

/// The channels of each class; a class that is left out goes to `defaults.notifiers`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct RoutingEntry {
    /// A human is needed now.
    pub(super) urgent: Vec<String>,
    /// A human decides.
    pub(super) action: Vec<String>,
    /// Not going well.
    pub(super) warning: Vec<String>,
    /// Good to know.
    pub(super) info: Vec<String>,
}

impl RoutingEntry {
    pub(super) fn classes(&self) -> [(Priority, &'static str, &[String]); 4] {
        [
            (Priority::Urgent, "urgent", &self.urgent),
            (Priority::Action, "action", &self.action),
            (Priority::Warning, "warning", &self.warning),
            (Priority::Info, "info", &self.info),
        ]
    }
}

/// What happens about a trigger.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(super) struct ReactionEntry {
    /// Act without a human first; false = tell a human at once.
    pub(super) auto: Option<bool>,
    /// What is done.
    pub(super) action: Option<ReactionAction>,
    /// The text that goes to the agent in place of `ao`'s own.
    pub(super) message: Option<String>,
    /// Attempts before a human is told.
    pub(super) retries: Option<u32>,
    /// How long the automatic answer may take before a human is told; a number = so many attempts, as `retries`.
    pub(super) escalate_after: Option<EscalateAfter>,
    /// How long it lasts before it counts; for `disk-low` the free space below which it counts,
    /// for `budget-exceeded` what a session may cost.
    pub(super) threshold: Option<Threshold>,
    /// `agent-stuck`: how long it lasts while a command runs.
    pub(super) command_threshold: Option<Millis>,
    /// How urgent it is for a human: urgent (or high), action, warning, info.
    #[schemars(schema_with = "priority_schema")]
    pub(super) priority: Option<Priority>,
    /// `all-complete`: with a line for each session.
    pub(super) include_summary: Option<bool>,
}

impl ReactionEntry {
    /// What this says, and where it says nothing what `below` says.
    pub(super) fn over(self, mut below: Self) -> Self {
        // A number of attempts has two spellings: the nearer one counts.
        match (self.retries, self.escalate_after) {
            (None, Some(EscalateAfter::Tries(_))) => below.retries = None,
            (Some(_), None) if matches!(below.escalate_after, Some(EscalateAfter::Tries(_))) => {
                below.escalate_after = None;
            }
            _ => {}
        }
        Self {
            auto: self.auto.or(below.auto),
            action: self.action.or(below.action),
            message: self.message.or(below.message),
            retries: self.retries.or(below.retries),
            escalate_after: self.escalate_after.or(below.escalate_after),
            threshold: self.threshold.or(below.threshold),
            command_threshold: self.command_threshold.or(below.command_threshold),
            priority: self.priority.or(below.priority),
            include_summary: self.include_summary.or(below.include_summary),
        }
    }
}

/// So many attempts, or a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "it takes a number of attempts or a duration such as `10m`")]
pub(super) enum EscalateAfter {
    Tries(#[schemars(range(min = 1))] u32),
    For(Millis),
}

/// A duration, for `disk-low` a size, for `budget-exceeded` an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) enum Threshold {
    For(Millis),
    Below(Bytes),
    Over(Dollars),
}

impl TryFrom<String> for Threshold {
    type Error = super::units::UnitError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.trim().starts_with('$') {
            return text.parse().map(Self::Over);
        }
        let size = text.parse().map(Self::Below);
        size.or_else(|_| text.parse().map(Self::For))
    }
}

impl JsonSchema for Threshold {
    fn schema_name() -> Cow<'static, str> {
        "Threshold".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let duration = generator.subschema_for::<Millis>();
        let size = generator.subschema_for::<Bytes>();
        let amount = generator.subschema_for::<Dollars>();
        json_schema!({"anyOf": [duration, size, amount]})
    }
}

/// How often is looked and how long is waited.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct LifecycleEntry {
    /// Between two looks at runtimes and workspaces. Default: 5s.
    pub(super) sweep_interval: Option<Millis>,
    /// Between two looks at the scm. Default: 30s.
    pub(super) scm_interval: Option<Millis>,
    /// Spawns that run at one time. Default: 4.
    #[schemars(range(min = 1))]
    pub(super) spawns_at_once: Option<u32>,
    /// Sessions that are brought back at one time after their runtime was lost. Default: 2.
    #[schemars(range(min = 1))]
    pub(super) restores_at_once: Option<u32>,
    /// A session is brought back by itself at most once in that long. Default: 30m.
    pub(super) restore_again_after: Option<Millis>,
    /// How long a permission or a question waits for a human. Default: 24h.
    pub(super) ask_for: Option<Millis>,
    /// Remove the workspace of a session whose pull request was merged, where that loses nothing. Default: true.
    pub(super) auto_cleanup_on_merge: Option<bool>,
    /// How long after its merge a session goes on. Default: 0s.
    pub(super) merge_grace: Option<Millis>,
    /// How long an incident must last before its first message.
    pub(super) settle: SettleEntry,
    /// How long one step may take.
    pub(super) limits: LimitsEntry,
}

/// How long an incident must last before its first message.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct SettleEntry {
    /// Default: 2s.
    pub(super) urgent: Option<Millis>,
    /// Default: 15s.
    pub(super) action: Option<Millis>,
    /// Default: 60s.
    pub(super) warning: Option<Millis>,
    /// Default: 0s.
    pub(super) info: Option<Millis>,
}

/// How long one step may take.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct LimitsEntry {
    /// Fetching the default branch. Default: 30s.
    pub(super) fetch: Option<Millis>,
    /// Making a workspace. Default: 10m.
    pub(super) worktree: Option<Millis>,
    /// The set-up commands. Default: 30m.
    pub(super) post_create: Option<Millis>,
    /// Making a runtime. Default: 30s.
    pub(super) runtime_create: Option<Millis>,
    /// Until the agent confirms a prompt. Default: 60s.
    pub(super) prompt_confirm: Option<Millis>,
    /// One call to the scm or the tracker. Default: 10s.
    pub(super) scm: Option<Millis>,
    /// Merging a pull request. Default: 60s.
    pub(super) merge: Option<Millis>,
    /// One call to a channel. Default: 5s.
    pub(super) notify: Option<Millis>,
}

/// How long the journal explains what happened.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct RetentionEntry {
    /// At most that old. Default: 90d.
    pub(super) age: Option<Millis>,
    /// At most that much. Default: 2GiB.
    pub(super) size: Option<Bytes>,
}

/// A plugin's name, or a map of it and its settings.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct PluginEntry {
    /// None = the plugin that would be taken anyway.
    pub(super) plugin: Option<String>,
    pub(super) settings: Map<String, Value>,
}

impl<'de> Deserialize<'de> for PluginEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(name) => Ok(Self { plugin: Some(name), settings: Map::new() }),
            Value::Object(mut settings) => match settings.shift_remove("plugin") {
                None => Ok(Self { plugin: None, settings }),
                Some(Value::String(name)) => Ok(Self { plugin: Some(name), settings }),
                Some(_) => Err(de::Error::custom("`plugin` takes a plugin's name")),
            },
            _ => Err(de::Error::custom("it takes a plugin's name, or a map with `plugin`")),
        }
    }
}

impl JsonSchema for PluginEntry {
    fn schema_name() -> Cow<'static, str> {
        "Plugin".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A plugin's name, or a map with `plugin` and its settings.",
            "anyOf": [
                {"type": "string"},
                {
                    "type": "object",
                    "properties": {"plugin": {"type": "string", "description": "The plugin's name."}},
                    "additionalProperties": true
                }
            ]
        })
    }
}

/// A channel: a plugin's name, or a map of it, its settings and what `ao` itself reads.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ChannelEntry {
    pub(super) entry: PluginEntry,
    /// None = as `notifications.digest` says.
    pub(super) digest: Option<DigestEvery>,
}

/// The keys of a channel that are not its plugin's.
pub(super) const OF_CHANNELS: [&str; 2] = ["plugin", "digest"];

impl<'de> Deserialize<'de> for ChannelEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut entry = PluginEntry::deserialize(deserializer)?;
        let digest = entry.settings.shift_remove("digest").map(DigestEvery::deserialize);
        let digest = digest.transpose().map_err(de::Error::custom)?;
        Ok(Self { entry, digest })
    }
}

impl JsonSchema for ChannelEntry {
    fn schema_name() -> Cow<'static, str> {
        "Channel".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = PluginEntry::json_schema(generator);
        let mut digest = generator.subschema_for::<DigestEvery>();
        digest.insert(
            "description".into(),
            "Where it has another rhythm than `notifications.digest`.".into(),
        );
        if let Some(part) = schema.pointer_mut("/anyOf/1/properties").and_then(Value::as_object_mut)
        {
            part.insert("digest".into(), digest.to_value());
        }
        schema
    }
}

fn priority_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"enum": ["urgent", "high", "action", "warning", "info"]})
}

/// The triggers as keys, each with its own line of explanation.
fn reactions_schema(generator: &mut SchemaGenerator) -> Schema {
    let entry = generator.subschema_for::<ReactionEntry>();
    let docs = SchemaGenerator::default().into_root_schema_for::<Trigger>();
    let docs = docs.as_value()["oneOf"].as_array().cloned().unwrap_or_default();
    let properties: Map<String, Value> = Trigger::ALL
        .iter()
        .map(|trigger| {
            let mut schema = entry.as_value().clone();
            let doc = docs.iter().find(|doc| doc["const"] == trigger.as_str());
            if let (Some(schema), Some(doc)) = (schema.as_object_mut(), doc) {
                schema.insert("description".into(), doc["description"].clone());
            }
            (trigger.to_string(), schema)
        })
        .collect();
    json_schema!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "x-noun": "trigger"
    })
}

/// The JSON schema of a configuration file, for editors and for `ao config schema`.
pub fn config_schema() -> Value {
    schema().clone()
}

/// The schema, made once.
pub(super) fn schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
        let mut schema = SchemaGenerator::default().into_root_schema_for::<Config>().to_value();
        tidy(&mut schema);
        schema
    });
    &SCHEMA
}

/// Removes what a type says but a file may not: `null` in place of a value that is left out, and the defaults
/// of the types, which are not those of the product.
pub(super) fn tidy(schema: &mut Value) {
    let Value::Object(parts) = schema else { return };
    parts.shift_remove("default");
    if let Some(Value::Array(types)) = parts.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            parts.insert("type".into(), only);
        }
    }
    for kind in ["anyOf", "oneOf"] {
        let Some(Value::Array(choices)) = parts.get_mut(kind) else { continue };
        choices.retain(|choice| choice["type"] != "null");
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            parts.shift_remove(kind);
            for (key, value) in only {
                parts.entry(key).or_insert(value);
            }
        }
    }
    for (key, part) in parts {
        match (key.as_str(), part) {
            ("properties" | "$defs", Value::Object(named)) => named.values_mut().for_each(tidy),
            ("anyOf" | "oneOf" | "allOf", Value::Array(choices)) => {
                choices.iter_mut().for_each(tidy)
            }
            ("items" | "additionalProperties", part) => tidy(part),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_explains_every_key_and_closes_every_map() {
        fn walk(schema: &Value, path: &str, seen: &mut usize) {
            if let Some(properties) = schema["properties"].as_object() {
                let open = path.ends_with("Plugin");
                assert_eq!(schema["additionalProperties"], Value::Bool(open), "{path}");
                for (key, value) in properties {
                    *seen += 1;
                    let described = value["description"].is_string()
                        || value["anyOf"].is_array()
                        || value["enum"].is_array();
                    assert!(described, "{path}.{key} has no description: {value}");
                    walk(value, &format!("{path}.{key}"), seen);
                }
            }
        }
        let schema = config_schema();
        let mut seen = 0;
        let text = schema.to_string();
        assert!(!text.contains("null") && !text.contains("\"default\":"), "{text}");
        walk(&schema, "", &mut seen);
        for (name, part) in schema["$defs"].as_object().unwrap() {
            walk(part, name, &mut seen);
        }
        assert!(seen > 90, "{seen} keys");
    }
}
