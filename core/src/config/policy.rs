//! The policy: what a configuration comes to, as the decisions read it.
//!
//! Plain data, ordered, serialisable: it is part of the state and is journalled with `config.applied`. Two
//! equal configurations give equal JSON. Durations are milliseconds, sizes bytes.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use ao_slots::{
    ChannelName, ProjectId, SessionPrefix,
    agent::AgentConfig,
    fact::Priority,
    notifier::ChannelKind,
    scm::{EVERY_MS, MergeMethod},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use super::push::{
    Day, Digest, DigestEvery, ESCALATION_LOOPS, EscalateTo, EscalationStep, Heartbeat, Hours,
    Person, Push, QuietHours, Role, Template, Templates, zone,
};
use super::trigger::Trigger;
use crate::blob::sha256;

/// The agent of a project that names none.
pub(super) const DEFAULT_AGENT: &str = "claude-code";

/// Everything that the configuration decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Policy {
    /// Where all state lies, absolute.
    pub data_dir: PathBuf,
    /// Workspaces lie in `<worktreeDir>/<project>/<session>`, absolute.
    pub worktree_dir: PathBuf,
    /// The TCP port on the loopback address.
    pub port: u16,
    /// The projects.
    pub projects: BTreeMap<ProjectId, ProjectPolicy>,
    /// The channels, also those that are named without settings of their own (`desktop`).
    pub channels: BTreeMap<ChannelName, PluginChoice>,
    /// The address under which a phone reaches the server, without a `/` at its end; none = no such links.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_url: Option<String>,
    /// Who is told and may answer; empty = a single user, who has every channel.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub people: BTreeMap<String, Person>,
    /// When and how often the channels are used.
    #[serde(skip_serializing_if = "Push::is_default")]
    pub push: Push,
    /// What holds for incidents that belong to no project.
    pub rules: Rules,
    /// How often is looked, how long is waited.
    pub lifecycle: Lifecycle,
    /// How long closed journal segments are kept.
    pub retention: Retention,
}

impl Default for Policy {
    /// The built-in defaults, without a project and without folders.
    fn default() -> Self {
        let desktop = "desktop";
        Self {
            data_dir: PathBuf::new(),
            worktree_dir: PathBuf::new(),
            port: 3000,
            projects: BTreeMap::new(),
            channels: desktop
                .parse()
                .into_iter()
                .map(|name| (name, PluginChoice::of(desktop)))
                .collect(),
            public_url: None,
            people: BTreeMap::new(),
            push: Push::default(),
            rules: Rules::default(),
            lifecycle: Lifecycle::default(),
            retention: Retention::default(),
        }
    }
}

impl Policy {
    /// SHA-256 of its canonical JSON, lower hex: equal when nothing changed.
    pub fn hash(&self) -> String {
        sha256(&serde_json::to_vec(self).unwrap_or_default())
    }

    /// The rules for a project's incidents; those of the server for none and for a project that is unknown.
    pub fn rules(&self, project: Option<&ProjectId>) -> &Rules {
        project.and_then(|id| self.projects.get(id)).map_or(&self.rules, |project| &project.rules)
    }

    /// When a person is told; none or one who is not configured = the single user.
    pub fn hours(&self, person: Option<&str>) -> Hours {
        let own = person.and_then(|name| self.people.get(name)).map(|person| &person.hours);
        own.map_or_else(|| self.push.hours.clone(), |own| own.over(&self.push.hours))
    }

    /// The configured answer to `trigger`.
    pub fn reaction(&self, project: Option<&ProjectId>, trigger: Trigger) -> &Reaction {
        self.rules(project).reaction(trigger)
    }

    /// A policy with the built-in defaults and these projects, for tests: `my-app` gets the prefix `app`, the
    /// path `/repo/my-app` and the default branch `main`.
    pub fn with_projects(ids: &[&str]) -> Self {
        let mut policy =
            Self { data_dir: "/data".into(), worktree_dir: "/worktrees".into(), ..Self::default() };
        for id in ids {
            let Ok(project) = id.parse::<ProjectId>() else { continue };
            let prefix = super::prefix::derive(&project, |_| false);
            let mut made = ProjectPolicy::new(&project, prefix, format!("/repo/{id}").into());
            made.default_branch = Some("main".into());
            policy.projects.insert(project, made);
        }
        policy
    }
}

/// One project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProjectPolicy {
    /// What people call it.
    pub name: String,
    /// The repository at its forge, e.g. `acme/my-app`; none = from `origin`, else local.
    #[serde(default)]
    pub repo: Option<String>,
    /// The repository on this machine, absolute.
    pub path: PathBuf,
    /// The part of a monorepo that the agent and the checks work in, relative to the workspace.
    #[serde(default)]
    pub subdir: Option<PathBuf>,
    /// What work starts from; none = from the remote, else `main`.
    #[serde(default)]
    pub default_branch: Option<String>,
    /// The first part of its sessions' ids.
    pub session_prefix: SessionPrefix,
    /// The coding tool.
    pub agent: PluginChoice,
    /// Where sessions execute.
    pub runtime: PluginChoice,
    /// How the code is copied.
    pub workspace: PluginChoice,
    /// How a human looks in.
    pub terminal: PluginChoice,
    /// Issues; none = by the repository: its forge, else local files.
    #[serde(default)]
    pub tracker: Option<PluginChoice>,
    /// Pull requests; none = by the repository: its forge, else none.
    #[serde(default)]
    pub scm: Option<PluginChoice>,
    /// Paths to link from the main checkout, relative to the repository's root and within it.
    #[serde(default)]
    pub symlinks: Vec<String>,
    /// Shell commands that set up a new workspace.
    #[serde(default)]
    pub post_create: Vec<String>,
    /// Variables for the agent and the set-up commands.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// What the agent plugin reads.
    #[serde(default)]
    pub agent_config: AgentConfig,
    /// Standing rules for the agent.
    #[serde(default)]
    pub agent_rules: Option<String>,
    /// A file with more of them, absolute.
    #[serde(default)]
    pub agent_rules_file: Option<PathBuf>,
    /// Initialise submodules in new workspaces.
    #[serde(default)]
    pub submodules: bool,
    /// Sparse checkout patterns; empty = everything.
    #[serde(default)]
    pub sparse: Vec<String>,
    /// How many approvals a pull request needs; 0 = green is enough. One change request always blocks.
    #[serde(default)]
    pub required_approvals: u32,
    /// How pull requests are merged, unless somebody says how; none = as the repository allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge_method: Option<MergeMethod>,
    /// Reactions and routing for this project's incidents.
    #[serde(default)]
    pub rules: Rules,
    /// Why no new session starts in it; those that are there go on. None = it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Closed>,
}

/// Why a project takes no new session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "kebab-case")]
pub enum Closed {
    /// No file configures it any more; it stays for its sessions.
    Gone,
    /// What its agent is or runs waits for a human's trust, and was never trusted before.
    Untrusted {
        /// The file.
        file: PathBuf,
        /// The keys that wait.
        keys: Vec<String>,
    },
}

impl ProjectPolicy {
    /// Whether its sessions come to a pull request, so that one which has none lacks it. Who writes `autoOpen: false` says
    /// that none is missed: one is opened when somebody wants it. Who leaves it out does not say so.
    pub fn expects_prs(&self) -> bool {
        self.scm.as_ref().is_some_and(|scm| scm.settings["autoOpen"] != false)
    }

    /// A project with nothing but a path configured.
    pub fn new(id: &ProjectId, session_prefix: SessionPrefix, path: PathBuf) -> Self {
        Self {
            name: id.to_string(),
            repo: None,
            path,
            subdir: None,
            default_branch: None,
            session_prefix,
            agent: PluginChoice::of(DEFAULT_AGENT),
            runtime: PluginChoice::of("tmux"),
            workspace: PluginChoice::of("worktree"),
            terminal: PluginChoice::of("auto"),
            tracker: None,
            scm: None,
            symlinks: Vec::new(),
            post_create: Vec::new(),
            env: BTreeMap::new(),
            agent_config: AgentConfig::default(),
            agent_rules: None,
            agent_rules_file: None,
            submodules: false,
            sparse: Vec::new(),
            required_approvals: 0,
            merge_method: None,
            rules: Rules::default(),
            closed: None,
        }
    }
}

/// A plugin and its settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginChoice {
    /// Its name within its slot, e.g. `tmux`.
    pub plugin: String,
    /// Its own settings: a JSON object with ordered keys.
    #[serde(default)]
    pub settings: Value,
}

impl PluginChoice {
    /// A plugin with its default settings.
    pub fn of(plugin: &str) -> Self {
        Self { plugin: plugin.to_owned(), settings: Value::Object(serde_json::Map::new()) }
    }
}

/// What happens about incidents, and who is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rules {
    /// The answer to each trigger. A trigger that is missing (written by an older version) has its default.
    pub reactions: BTreeMap<Trigger, Reaction>,
    /// `notifications.routing`, complete, in order of preference; none = by the kind of channel.
    pub routing: Option<BTreeMap<Priority, Vec<ChannelName>>>,
    /// The channels that may carry these incidents: candidates of the routing by kind.
    pub channels: Vec<ChannelName>,
    /// `defaults.notifiers`: where a class goes that would be left without a channel.
    pub fallback: Vec<ChannelName>,
}

impl Default for Rules {
    fn default() -> Self {
        let desktop: Vec<ChannelName> = "desktop".parse().into_iter().collect();
        Self {
            reactions: Trigger::ALL.iter().map(|t| (*t, t.default_reaction())).collect(),
            routing: None,
            channels: desktop.clone(),
            fallback: desktop,
        }
    }
}

impl Rules {
    /// The answer to `trigger`.
    pub fn reaction(&self, trigger: Trigger) -> &Reaction {
        self.reactions.get(&trigger).unwrap_or(Reaction::built_in(trigger))
    }

    /// The channels that the configuration names for a class; none = route by the kind of channel, and to
    /// `fallback` when that finds no channel.
    pub fn named(&self, priority: Priority) -> Option<&[ChannelName]> {
        let routing = self.routing.as_ref()?;
        Some(routing.get(&priority).map_or(&self.fallback, |channels| channels))
    }

    /// The channels for a class, and whether they reach a human: those that the configuration names, else by the
    /// kind of channel (none = one that cannot carry anything); a class that would reach nobody goes to the fallback.
    pub fn route(
        &self,
        class: Priority,
        kind: impl Fn(&ChannelName) -> Option<ChannelKind>,
    ) -> (Vec<ChannelName>, bool) {
        let wanted = |kind: ChannelKind| match kind {
            ChannelKind::Webhook => true,
            ChannelKind::Chat => class >= Priority::Warning,
            ChannelKind::Desktop => class >= Priority::Action,
            ChannelKind::Phone => class >= Priority::Urgent,
            ChannelKind::Mail => false,
        };
        let known = |name: &&ChannelName| kind(name).is_some();
        let named = self.named(class);
        let mut channels: Vec<ChannelName> = match named {
            Some(named) => named.iter().filter(known).cloned().collect(),
            None => {
                let by_kind = self.channels.iter().filter(|name| kind(name).is_some_and(wanted));
                by_kind.cloned().collect()
            }
        };
        // What a configuration names is its own choice, as long as it names somebody.
        let mut reaches = match named {
            Some(_) => !channels.is_empty(),
            None => channels.iter().any(|name| kind(name) != Some(ChannelKind::Webhook)),
        };
        if !reaches {
            let before = channels.len();
            channels.extend(self.fallback.iter().filter(known).cloned());
            reaches = channels.len() > before;
        }
        let mut once = BTreeSet::new();
        channels.retain(|name| once.insert(name.clone()));
        (channels, reaches)
    }
}

/// What `ao` can do about an incident by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "kebab-case")]
pub enum ReactionAction {
    /// Nothing but tell a human.
    #[default]
    Notify,
    /// Send what is wrong to the agent.
    SendToAgent,
    /// Merge the pull request.
    AutoMerge,
    /// Bring back what was lost: sessions, or `ao`'s own files.
    Restore,
    /// Try again with back-off.
    Retry,
    /// Pause the session; it goes on when the cause has passed.
    Pause,
    /// End the agent and start it again, in the same conversation.
    Restart,
    /// End the session, as a human's kill does.
    Kill,
    /// Nothing at all: nobody is told either.
    #[serde(rename = "none")]
    Nothing,
}

impl ReactionAction {
    /// Something is done, which `auto` allows without a human.
    pub fn is_done(self) -> bool {
        !matches!(self, Self::Notify | Self::Nothing)
    }

    /// Its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Notify => "notify",
            Self::SendToAgent => "send-to-agent",
            Self::AutoMerge => "auto-merge",
            Self::Restore => "restore",
            Self::Retry => "retry",
            Self::Pause => "pause",
            Self::Restart => "restart",
            Self::Kill => "kill",
            Self::Nothing => "none",
        }
    }
}

/// The configured answer to a trigger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Reaction {
    /// Act without a human first. False = a human is told at once.
    pub auto: bool,
    /// What is done.
    pub action: ReactionAction,
    /// Replaces the text that goes to the agent; none = `ao`'s own.
    pub message: Option<String>,
    /// Attempts before a human is told; 0 = no limit by count.
    pub retries: u32,
    /// How long the automatic answer may take before a human is told; none = no limit by time.
    pub escalate_after_ms: Option<u64>,
    /// How long the state lasts before it counts as an incident.
    pub threshold_ms: Option<u64>,
    /// `agent-stuck`: the threshold while a command runs.
    pub command_threshold_ms: Option<u64>,
    /// `disk-low`: free bytes below which it counts.
    pub threshold_bytes: Option<u64>,
    /// `budget-exceeded`: what a session may cost, in millionths of a dollar; none = no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold_micros: Option<u64>,
    /// How urgent it is for a human.
    pub priority: Priority,
    /// `all-complete`: with a line for each session.
    pub include_summary: bool,
}

impl Reaction {
    /// Whether a pull request is merged without a human.
    pub fn merges(&self) -> bool {
        self.auto && self.action == ReactionAction::AutoMerge
    }

    /// The default of `trigger`, computed once.
    fn built_in(trigger: Trigger) -> &'static Self {
        static TABLE: std::sync::LazyLock<BTreeMap<Trigger, Reaction>> =
            std::sync::LazyLock::new(|| Rules::default().reactions);
        static NOTHING: std::sync::LazyLock<Reaction> = std::sync::LazyLock::new(Reaction::default);
        TABLE.get(&trigger).unwrap_or(&NOTHING)
    }
}

/// How often is looked and how long is waited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Lifecycle {
    /// Between two sweeps over runtimes and workspaces.
    pub sweep_interval_ms: u64,
    /// Between two sweeps over the scm.
    pub scm_interval_ms: u64,
    /// Spawns that run at one time.
    pub spawns_at_once: u32,
    /// Sessions that are brought back at one time after their runtime was lost.
    pub restores_at_once: u32,
    /// A session is brought back by itself at most once in that long.
    pub restore_again_after_ms: u64,
    /// How long a permission or a question waits for a human.
    pub ask_for_ms: u64,
    /// Removes the workspace of a session whose pull request was merged, where that loses nothing.
    #[serde(skip_serializing_if = "is_true")]
    pub auto_cleanup_on_merge: bool,
    /// How long after its merge a session goes on.
    #[serde(skip_serializing_if = "is_zero")]
    pub merge_grace_ms: u64,
    /// How long an incident must last before its first push.
    pub settle: Settle,
    /// How long one effect may take.
    pub limits: Limits,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self {
            sweep_interval_ms: 5_000,
            scm_interval_ms: EVERY_MS,
            spawns_at_once: 4,
            restores_at_once: 2,
            restore_again_after_ms: 30 * 60_000,
            ask_for_ms: 24 * 3_600_000,
            auto_cleanup_on_merge: true,
            merge_grace_ms: 0,
            settle: Settle::default(),
            limits: Limits::default(),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_true(value: &bool) -> bool {
    *value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_a_minute(value: &u64) -> bool {
    *value == 60_000
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// Settle times: what resolves within them is never pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settle {
    /// Of an urgent incident.
    pub urgent_ms: u64,
    /// Of one that a human decides.
    pub action_ms: u64,
    /// Of one that goes not well.
    pub warning_ms: u64,
    /// Of what is only told.
    pub info_ms: u64,
}

impl Default for Settle {
    fn default() -> Self {
        Self { urgent_ms: 2_000, action_ms: 15_000, warning_ms: 60_000, info_ms: 0 }
    }
}

impl Settle {
    /// The settle time of a class.
    pub fn of(&self, priority: Priority) -> u64 {
        match priority {
            Priority::Urgent => self.urgent_ms,
            Priority::Action => self.action_ms,
            Priority::Warning => self.warning_ms,
            Priority::Info => self.info_ms,
        }
    }
}

/// How long one effect may take. The host gives each 1 s more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// Fetching the base.
    pub fetch_ms: u64,
    /// Making a workspace.
    pub worktree_ms: u64,
    /// The set-up commands.
    pub post_create_ms: u64,
    /// Making a runtime.
    pub runtime_create_ms: u64,
    /// Until the agent confirms a prompt.
    pub prompt_confirm_ms: u64,
    /// One call to the scm or the tracker.
    pub scm_ms: u64,
    /// Merging a pull request.
    #[serde(skip_serializing_if = "is_a_minute")]
    pub merge_ms: u64,
    /// One call to a channel.
    pub notify_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fetch_ms: 30_000,
            worktree_ms: 600_000,
            post_create_ms: 1_800_000,
            runtime_create_ms: 30_000,
            prompt_confirm_ms: 60_000,
            scm_ms: 10_000,
            merge_ms: 60_000,
            notify_ms: 5_000,
        }
    }
}

/// How long closed journal segments are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Retention {
    /// At most that old.
    pub age_ms: u64,
    /// At most that much in all.
    pub size_bytes: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { age_ms: 90 * 86_400_000, size_bytes: 2 << 30 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_reads_back_what_it_wrote() {
        let policy = Policy::with_projects(&["my-app", "api"]);
        let json = serde_json::to_string(&policy).unwrap();
        assert_eq!(serde_json::from_str::<Policy>(&json).unwrap(), policy);
        let prefixes: Vec<_> =
            policy.projects.values().map(|p| p.session_prefix.to_string()).collect();
        assert_eq!(prefixes, ["api", "app"]);
    }

    #[test]
    fn a_policy_of_an_older_version_gets_the_defaults_of_what_it_lacks() {
        let policy: Policy = serde_json::from_str(r#"{"rules":{"reactions":{}}}"#).unwrap();
        let reaction = policy.reaction(None, Trigger::AgentStuck);
        assert_eq!(*reaction, Trigger::AgentStuck.default_reaction());
        assert_eq!(policy.lifecycle, Lifecycle::default());
    }

    #[test]
    fn a_class_that_the_routing_leaves_out_goes_to_the_fallback() {
        let mut rules = Rules::default();
        assert_eq!(rules.named(Priority::Urgent), None);
        let phone: ChannelName = "phone".parse().unwrap();
        rules.routing = Some([(Priority::Urgent, vec![phone.clone()])].into());
        assert_eq!(rules.named(Priority::Urgent).unwrap(), [phone]);
        assert_eq!(rules.named(Priority::Info).unwrap(), rules.fallback);
    }
}
