//! From judged files to the policy: layers over built-in defaults.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use ao_slots::{ChannelName, ProjectId, SessionPrefix};
use serde_json::Value;

use super::{
    World,
    file::{
        Config, EscalateAfter, LifecycleEntry, PluginEntry, Project, ReactionEntry, RetentionEntry,
        Threshold,
    },
    layer::{Layer, View, base, default_channels, shared},
    paths,
    policy::{
        Closed, Lifecycle, PluginChoice, Policy, ProjectPolicy, Reaction, ReactionAction,
        Retention, Rules,
    },
    push,
    trigger::Trigger,
    units::{Bytes, Dollars, Millis},
};

/// Builds the policy. The files were judged: what is not valid is not there.
pub(super) fn build(
    layers: &[Layer<'_>],
    prefixes: &BTreeMap<ProjectId, SessionPrefix>,
    world: &World,
    form: View,
) -> Policy {
    let (data_dir, worktree_dir) = folders(layers, world);
    let users = || layers.iter().filter(|layer| layer.is_users());
    let port = users().find_map(|layer| form(layer).config.port);
    let top = shared(layers.iter().map(form));
    let bases: Vec<Config> = layers.iter().map(|layer| base(layers, layer, form)).collect();

    let (mut channels, mut digests) = (BTreeMap::new(), BTreeMap::new());
    for layer in layers {
        for (name, entry) in &form(layer).config.notifiers {
            if let Ok(key) = name.parse::<ChannelName>() {
                if let Some(digest) = entry.digest {
                    digests.entry(key.clone()).or_insert(digest);
                }
                channels.entry(key).or_insert_with(|| choice(&entry.entry, name));
            }
        }
    }
    // A name without settings of its own is a channel of that plugin.
    for name in bases.iter().chain([&top]).flat_map(default_channels) {
        if let Ok(key) = name.parse::<ChannelName>() {
            channels.entry(key).or_insert_with(|| PluginChoice::of(&name));
        }
    }

    let mut projects = BTreeMap::new();
    for (layer, base) in layers.iter().zip(&bases) {
        let own = (!layer.is_users()).then_some(layer);
        let named =
            own.into_iter().chain(users()).flat_map(|layer| form(layer).config.notifiers.keys());
        let sees: BTreeSet<ChannelName> = named.filter_map(|name| name.parse().ok()).collect();
        for (id, said) in &form(layer).config.projects {
            let Ok(id) = id.parse::<ProjectId>() else { continue };
            let Some(prefix) = prefixes.get(&id) else { continue };
            let mut made = project(layer, base, &id, prefix.clone(), said, world);
            made.rules = rules(base, &said.reactions, sees.clone(), &channels);
            projects.insert(id, made);
        }
    }
    let known = |name: &str| name.parse().ok().filter(|name| channels.contains_key(name));
    let mut people = BTreeMap::new();
    for (name, said) in users().flat_map(|layer| &form(layer).config.people) {
        people.entry(name.clone()).or_insert_with(|| push::person(said, &known));
    }
    let address = |layer| push::public_address(form(layer).config.public_url.as_deref()?);
    Policy {
        data_dir,
        worktree_dir,
        port: port.unwrap_or(Policy::default().port),
        projects,
        public_url: layers.iter().find_map(address),
        people,
        push: push::push(&top.notifications, digests, &known),
        rules: rules(&top, &BTreeMap::new(), channels.keys().cloned().collect(), &channels),
        channels,
        lifecycle: lifecycle(&top.lifecycle),
        retention: retention(&top.retention),
    }
}

/// Where data and workspaces lie: named on the command line or in the environment, else in the user's files.
pub(super) fn folders(layers: &[Layer<'_>], world: &World) -> (PathBuf, PathBuf) {
    let users = |key: fn(&Config) -> &Option<String>| {
        layers.iter().filter(|layer| layer.is_users()).find_map(|layer| {
            let path = key(&layer.live.config).as_deref()?;
            paths::absolute(path, layer.source.folder(), &world.home).ok()
        })
    };
    let standard = world.home.join(".agent-orchestrator");
    let data_dir = world.data_dir.clone().or_else(|| users(|config| &config.data_dir));
    let data_dir = data_dir.unwrap_or_else(|| standard.clone());
    let worktree_dir = users(|config| &config.worktree_dir).unwrap_or_else(|| {
        if data_dir == standard {
            world.home.join(".worktrees")
        } else {
            data_dir.join("worktrees")
        }
    });
    (data_dir, worktree_dir)
}

fn project(
    layer: &Layer<'_>,
    base: &Config,
    id: &ProjectId,
    prefix: SessionPrefix,
    said: &Project,
    world: &World,
) -> ProjectPolicy {
    let folder = layer.source.folder();
    let absolute = |path: &str| paths::absolute(path, folder, &world.home).ok();
    let within = |path: &str| paths::within(path).ok();
    let relative = |paths: &[String]| {
        paths.iter().filter_map(|path| Some(within(path)?.to_string_lossy().into_owned())).collect()
    };
    let built_in = ProjectPolicy::new(id, prefix, absolute(&said.path).unwrap_or_default());
    let pick =
        |own: &Option<PluginEntry>, default: &Option<PluginEntry>, built_in: &PluginChoice| {
            let entry = own.as_ref().or(default.as_ref());
            entry.map_or_else(|| built_in.clone(), |entry| choice(entry, &built_in.plugin))
        };
    let defaults = &base.defaults;
    let scm = said.scm.as_ref().filter(|_| world.catalog.fills("scm"));
    ProjectPolicy {
        name: said.name.clone().unwrap_or(built_in.name),
        repo: said.repo.clone(),
        subdir: said.subdir.as_deref().and_then(within),
        default_branch: said.default_branch.clone(),
        agent: pick(&said.agent, &defaults.agent, &built_in.agent),
        runtime: pick(&said.runtime, &defaults.runtime, &built_in.runtime),
        workspace: pick(&said.workspace, &defaults.workspace, &built_in.workspace),
        terminal: pick(&said.terminal, &defaults.terminal, &built_in.terminal),
        tracker: said.tracker.as_ref().map(|entry| choice(entry, "")),
        scm: scm.map(|entry| choice(entry, "")),
        symlinks: relative(&said.symlinks),
        post_create: said.post_create.clone(),
        env: said.env.clone(),
        agent_config: said.agent_config.clone(),
        agent_rules: said.agent_rules.clone(),
        agent_rules_file: said.agent_rules_file.as_deref().and_then(absolute),
        submodules: said.submodules,
        sparse: relative(&said.worktree.sparse),
        required_approvals: said.required_approvals,
        merge_method: said.merge_method,
        path: built_in.path,
        session_prefix: built_in.session_prefix,
        rules: built_in.rules,
        closed: untrusted(layer, id),
    }
}

/// What the agent is and runs is never filled in by a default in place of what waits for a first trust.
fn untrusted(layer: &Layer<'_>, id: &ProjectId) -> Option<Closed> {
    let pending = layer.pending.as_ref()?;
    let runs = |key: &str| {
        let own = key.strip_prefix("projects.").and_then(|key| key.strip_prefix(id.as_str()));
        match own.and_then(|key| key.strip_prefix('.')) {
            Some(key) => {
                key == "agent"
                    || key == "postCreate"
                    || key.starts_with("agentConfig.")
                    || key.ends_with(".command")
            }
            None => {
                key == "defaults.agent" || key.starts_with("defaults.") && key.ends_with(".command")
            }
        }
    };
    let keys = pending.items.iter().filter(|item| item.first && runs(&item.key));
    let keys: Vec<String> = keys.map(|item| item.key.clone()).collect();
    (!keys.is_empty()).then(|| Closed::Untrusted { file: pending.file.clone(), keys })
}

fn choice(entry: &PluginEntry, otherwise: &str) -> PluginChoice {
    PluginChoice {
        plugin: entry.plugin.clone().unwrap_or_else(|| otherwise.to_owned()),
        settings: ordered(Value::Object(entry.settings.clone())),
    }
}

/// The same value with the keys of its maps in order: equal settings give equal text.
fn ordered(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let map: BTreeMap<String, Value> =
                map.into_iter().map(|(k, v)| (k, ordered(v))).collect();
            map.into_iter().collect::<serde_json::Map<_, _>>().into()
        }
        Value::Array(items) => items.into_iter().map(ordered).collect(),
        value => value,
    }
}

/// Reactions and routing: `own` before what the base says. `sees` = the channels of these files.
fn rules(
    base: &Config,
    own: &BTreeMap<Trigger, ReactionEntry>,
    mut sees: BTreeSet<ChannelName>,
    channels: &BTreeMap<ChannelName, PluginChoice>,
) -> Rules {
    let configured = |names: &[String]| {
        let mut named: Vec<ChannelName> = Vec::new();
        for name in names.iter().filter_map(|name| name.parse().ok()) {
            if channels.contains_key(&name) && !named.contains(&name) {
                named.push(name);
            }
        }
        named
    };
    let fallback = configured(&default_channels(base));
    sees.extend(fallback.iter().cloned());
    let said = |trigger: &Trigger| {
        let below = base.reactions.get(trigger).cloned().unwrap_or_default();
        own.get(trigger).cloned().unwrap_or_default().over(below)
    };
    let reactions = Trigger::ALL.iter().map(|t| (*t, reaction(*t, &said(t)))).collect();
    let routing = base.notifications.routing.as_ref().map(|routing| {
        let class = |names: &[String]| {
            let named = configured(names);
            if named.is_empty() { fallback.clone() } else { named }
        };
        routing.classes().into_iter().map(|(priority, _, names)| (priority, class(names))).collect()
    });
    Rules { reactions, routing, channels: sees.into_iter().collect(), fallback }
}

fn reaction(trigger: Trigger, said: &ReactionEntry) -> Reaction {
    let row = trigger.default_reaction();
    let merges = trigger == Trigger::ApprovedAndGreen && said.auto == Some(true);
    let action = if merges { ReactionAction::AutoMerge } else { row.action };
    let duration = |said: Option<Millis>, row: Option<u64>| said.map(|Millis(said)| said).or(row);
    let (time, size, amount) = match said.threshold {
        Some(Threshold::For(time)) => (Some(time), None, None),
        Some(Threshold::Below(size)) => (None, Some(size), None),
        Some(Threshold::Over(amount)) => (None, None, Some(amount)),
        None => (None, None, None),
    };
    let threshold_ms = duration(time, row.threshold_ms);
    let (tries, wait) = match said.escalate_after {
        Some(EscalateAfter::Tries(tries)) => (Some(tries), None),
        Some(EscalateAfter::For(wait)) => (None, Some(wait)),
        None => (None, None),
    };
    Reaction {
        auto: said.auto.unwrap_or(row.auto),
        action: said.action.unwrap_or(action),
        message: said.message.clone(),
        retries: tries.or(said.retries).unwrap_or(row.retries),
        escalate_after_ms: duration(wait, row.escalate_after_ms),
        threshold_ms,
        // A command is given no less time than silence without one.
        command_threshold_ms: duration(
            said.command_threshold,
            row.command_threshold_ms.map(|row| row.max(threshold_ms.unwrap_or(0))),
        ),
        threshold_micros: amount.map(|Dollars(micros)| micros).or(row.threshold_micros),
        threshold_bytes: size.map(|Bytes(size)| size).or(row.threshold_bytes),
        priority: said.priority.unwrap_or(row.priority),
        include_summary: said.include_summary.unwrap_or(row.include_summary),
    }
}

fn lifecycle(said: &LifecycleEntry) -> Lifecycle {
    let mut made = Lifecycle::default();
    let set = |value: &mut u64, said: Option<Millis>| {
        if let Some(Millis(said)) = said {
            *value = said;
        }
    };
    set(&mut made.sweep_interval_ms, said.sweep_interval);
    set(&mut made.scm_interval_ms, said.scm_interval);
    set(&mut made.restore_again_after_ms, said.restore_again_after);
    set(&mut made.ask_for_ms, said.ask_for);
    set(&mut made.merge_grace_ms, said.merge_grace);
    made.auto_cleanup_on_merge = said.auto_cleanup_on_merge.unwrap_or(made.auto_cleanup_on_merge);
    made.spawns_at_once = said.spawns_at_once.unwrap_or(made.spawns_at_once);
    made.restores_at_once = said.restores_at_once.unwrap_or(made.restores_at_once);
    set(&mut made.settle.urgent_ms, said.settle.urgent);
    set(&mut made.settle.action_ms, said.settle.action);
    set(&mut made.settle.warning_ms, said.settle.warning);
    set(&mut made.settle.info_ms, said.settle.info);
    set(&mut made.limits.fetch_ms, said.limits.fetch);
    set(&mut made.limits.worktree_ms, said.limits.worktree);
    set(&mut made.limits.post_create_ms, said.limits.post_create);
    set(&mut made.limits.runtime_create_ms, said.limits.runtime_create);
    set(&mut made.limits.prompt_confirm_ms, said.limits.prompt_confirm);
    set(&mut made.limits.scm_ms, said.limits.scm);
    set(&mut made.limits.merge_ms, said.limits.merge);
    set(&mut made.limits.notify_ms, said.limits.notify);
    made
}

fn retention(said: &RetentionEntry) -> Retention {
    let built_in = Retention::default();
    Retention {
        age_ms: said.age.map_or(built_in.age_ms, |Millis(age)| age),
        size_bytes: said.size.map_or(built_in.size_bytes, |Bytes(size)| size),
    }
}
