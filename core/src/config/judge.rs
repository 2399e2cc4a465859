//! What only a look at all files together can tell: ids met twice, channels that nobody configured, values
//! out of range, keys that do nothing where they stand.

mod push;

use std::collections::{BTreeMap, HashMap};

use ao_slots::{ChannelName, ProjectId, SessionPrefix};
use serde_json::Value;

use super::{
    World, check,
    error::{ConfigError, Place, Report},
    file::{EscalateAfter, Project, ReactionEntry, Threshold},
    layer::{Layer, base, default_channels},
    paths,
    policy::ReactionAction,
    prefix,
    source::Role,
    trigger::Trigger,
    trust,
    units::{Bytes, Dollars, Millis},
    vars,
};
use crate::words::brief;

/// What was found, per file.
pub(super) struct Findings<'a> {
    errors: Vec<Report<'a>>,
    warnings: Vec<Report<'a>>,
}

impl Findings<'_> {
    /// The warnings, or the errors where there are some.
    pub(super) fn settle(self) -> Result<Vec<ConfigError>, Vec<ConfigError>> {
        let all = |reports: Vec<Report<'_>>| -> Vec<ConfigError> {
            reports.into_iter().flat_map(Report::into_errors).collect()
        };
        let errors = all(self.errors);
        if errors.is_empty() { Ok(all(self.warnings)) } else { Err(errors) }
    }
}

/// Judges all files, the one that goes first before the rest. Also gives every project its prefix.
pub(super) fn judge<'a>(
    layers: &[Layer<'a>],
    world: &World,
) -> (BTreeMap<ProjectId, SessionPrefix>, Findings<'a>) {
    let reports = || layers.iter().map(Layer::report).collect();
    let mut judge =
        Judge { layers, world, found: Findings { errors: reports(), warnings: reports() } };
    for (at, layer) in layers.iter().enumerate() {
        judge.places(at);
        judge.lifecycle(at);
        judge.channels(at);
        judge.push(at);
        judge.secrets(at);
        judge.reactions(at, &[], &layer.live.config.reactions);
        for (id, project) in &layer.live.config.projects {
            judge.project(at, id, project);
            judge.reactions(at, &["projects", id], &project.reactions);
        }
    }
    let prefixes = judge.prefixes();
    (prefixes, judge.found)
}

struct Judge<'l, 'a> {
    layers: &'l [Layer<'a>],
    world: &'l World,
    found: Findings<'a>,
}

impl<'l> Judge<'l, '_> {
    fn error(&mut self, at: usize, place: &Place, message: String, label: impl Into<String>) {
        self.found.errors[at].add(place, message, label, None);
    }

    fn place(&self, at: usize, path: &[&str]) -> Place {
        self.layers[at].node.place(path)
    }

    fn file(&self, at: usize) -> std::path::Display<'l> {
        self.layers[at].source.path.display()
    }

    /// What may only stand in the user's file, and the paths of the data.
    fn places(&mut self, at: usize) {
        let layer = &self.layers[at];
        let config = &layer.live.config;
        for (key, path) in [("dataDir", &config.data_dir), ("worktreeDir", &config.worktree_dir)] {
            let Some(path) = path else { continue };
            if let Err(wrong) = paths::absolute(path, layer.source.folder(), &self.world.home) {
                let place = self.place(at, &[key]);
                self.error(at, &place, format!("`{key}` is not a path: {wrong}"), "");
            }
        }
        if layer.source.role == Role::Registered {
            let keys = ["dataDir", "worktreeDir", "port", "people"];
            let said: Vec<&str> =
                keys.into_iter().filter(|key| layer.node.entry(key).is_some()).collect();
            if let Some(first) = said.first() {
                let place = layer.node.key_place(&[first]);
                let keys = said.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
                let one = if said.len() == 1 { "is" } else { "are" };
                let help = "put it into ~/.config/ao/config.yaml, or name this file with --config";
                self.found.warnings[at].add(
                    &place,
                    format!("{keys} {one} not used from this file"),
                    "counts only in the user's own file",
                    Some(help.to_owned()),
                );
            }
        }
    }

    fn project(&mut self, at: usize, id: &str, project: &Project) {
        let layers = self.layers;
        let here = ["projects", id];
        let in_project = |rest: &[&str]| {
            let path: Vec<&str> = here.iter().chain(rest).copied().collect();
            layers[at].node.place(&path)
        };
        let key = layers[at].node.key_place(&here);
        if let Err(error) = id.parse::<ProjectId>() {
            self.error(at, &key, format!("`{id}` cannot be a project's id"), error.rule);
        }
        let earlier =
            layers[..at].iter().position(|layer| layer.live.config.projects.contains_key(id));
        if let Some(earlier) = earlier {
            let label = format!("also in {}", self.file(earlier));
            let help = format!("rename one, or: ao config forget {}", self.file(at));
            self.found.errors[at].add(
                &key,
                format!("project `{id}` is configured twice"),
                label,
                Some(help),
            );
        }
        let folder = layers[at].source.folder();
        let absolute = |text: &str| paths::absolute(text, folder, &self.world.home).err();
        let within = |text: &str| paths::within(text).err();
        let report = layers[at].report();
        let mut wrong: Vec<(Place, String, &str)> = Vec::new();
        let mut look = |rest: &[&str], text: &str, refused: Option<&'static str>| {
            if let Some(rule) = refused {
                let shown = report.shown(text);
                wrong.push((in_project(rest), format!("`{}` cannot be `{shown}`", rest[0]), rule));
            }
        };
        look(&["path"], &project.path, absolute(&project.path));
        if let Some(file) = &project.agent_rules_file {
            look(&["agentRulesFile"], file, absolute(file));
        }
        if let Some(folder) = &project.subdir {
            look(&["subdir"], folder, within(folder));
        }
        for (index, path) in project.symlinks.iter().enumerate() {
            look(&["symlinks", &index.to_string()], path, within(path));
        }
        for (index, path) in project.worktree.sparse.iter().enumerate() {
            look(&["worktree", "sparse", &index.to_string()], path, within(path));
        }
        if let Some(branch) = &project.default_branch {
            let refused = (!paths::is_branch(branch)).then_some("git takes no such branch name");
            look(&["defaultBranch"], branch, refused);
        }
        for name in project.env.keys() {
            let refused = match name.as_str() {
                name if !vars::is_name(name) => {
                    Some("a name has letters, digits and `_`, first no digit")
                }
                name if name.starts_with("AO_") => Some("names that begin with `AO_` are ao's own"),
                _ => None,
            };
            look(&["env", name], name, refused);
        }
        if project.repo.as_deref().is_some_and(paths::has_credentials) {
            let rule = "leave credentials to git's credential helper";
            wrong.push((
                in_project(&["repo"]),
                "`repo` holds a password or token".to_owned(),
                rule,
            ));
        }
        for (place, message, rule) in wrong {
            self.error(at, &place, message, rule);
        }
        if project.scm.is_some() && !self.world.catalog.fills("scm") {
            self.without_effect(at, &["projects", id, "scm"], "scm");
        }
    }

    /// Secrets that stand in the file itself: what is recorded of a configuration holds texts as they were written.
    fn secrets(&mut self, at: usize) {
        let layer = &self.layers[at];
        let mut found = Vec::new();
        let written = &layer.canonical.json;
        layer.node.clone().each_text(&mut Vec::new(), &mut |path, place, _| {
            let step = |value: &'l Value, key: &String| match value {
                Value::Array(items) => items.get(key.parse::<usize>().ok()?),
                value => value.get(key),
            };
            let said = path.iter().try_fold(written, step).and_then(Value::as_str);
            let plain =
                path.last().zip(said).is_some_and(|(key, said)| trust::is_plain_secret(key, said));
            if plain && vars::keeps_references(path) {
                found.push((place.clone(), path.join(".")));
            }
        });
        for (place, key) in found {
            let help = "write `${NAME}`, and set NAME where ao is started".to_owned();
            self.found.warnings[at].add(
                &place,
                format!("`{key}` is written in plain text"),
                "it stands in ao's journal too",
                Some(help),
            );
        }
    }

    /// Says of a key that it is taken and changes nothing yet.
    fn without_effect(&mut self, at: usize, path: &[&str], name: &str) {
        let place = self.layers[at].node.key_place(path);
        let message = format!("`{name}` has no effect in this version");
        self.found.warnings[at].add(&place, message, "not used", None);
    }

    /// Gives every project its prefix: the configured ones first, then the derived ones in the order of the
    /// files.
    fn prefixes(&mut self) -> BTreeMap<ProjectId, SessionPrefix> {
        let mut given = BTreeMap::new();
        let mut taken: HashMap<String, (usize, &str)> = HashMap::new();
        for configured in [true, false] {
            for (at, layer) in self.layers.iter().enumerate() {
                let ids =
                    layer.node.find(&["projects"]).into_iter().flat_map(|node| node.entries());
                for entry in ids {
                    let id = entry.key.as_str();
                    let Some(project) = layer.live.config.projects.get(id) else { continue };
                    let Ok(key) = id.parse::<ProjectId>() else { continue };
                    let twice =
                        self.layers[..at].iter().any(|l| l.live.config.projects.contains_key(id));
                    if project.session_prefix.is_some() != configured || twice {
                        continue;
                    }
                    let path = ["projects", id, "sessionPrefix"];
                    let place = layer.node.place(if configured { &path } else { &path[..2] });
                    let prefix = match &project.session_prefix {
                        Some(text) => text.parse::<SessionPrefix>(),
                        None => Ok(prefix::derive(&key, |p| taken.contains_key(&p.to_lowercase()))),
                    };
                    match prefix {
                        Err(error) => {
                            let text = project.session_prefix.as_deref().unwrap_or_default();
                            let shown = self.found.errors[at].shown(text);
                            self.error(
                                at,
                                &place,
                                format!("`sessionPrefix` cannot be `{shown}`"),
                                error.rule,
                            );
                        }
                        Ok(prefix) => {
                            let folded = prefix.as_str().to_lowercase();
                            if let Some((other, whose)) = taken.get(&folded) {
                                let label = format!("`{whose}` in {} has it", self.file(*other));
                                let help = format!("give `{id}` another: sessionPrefix: …");
                                let message = format!("the session prefix `{prefix}` is taken");
                                self.found.errors[at].add(&place, message, label, Some(help));
                            } else {
                                taken.insert(folded, (at, id));
                                given.insert(key, prefix);
                            }
                        }
                    }
                }
            }
        }
        given
    }

    /// Channels: their names, one of a name, and names that stand for none.
    fn channels(&mut self, at: usize) {
        let layers = self.layers;
        let config = &layers[at].live.config;
        for (name, entry) in &config.notifiers {
            let place = layers[at].node.key_place(&["notifiers", name]);
            if let Err(error) = name.parse::<ChannelName>() {
                self.error(at, &place, format!("`{name}` cannot be a channel's name"), error.rule);
            }
            let other = layers[..at].iter().position(|layer| {
                layer.live.config.notifiers.get(name).is_some_and(|other| other != entry)
            });
            if let Some(other) = other {
                let label = format!("otherwise in {}", self.file(other));
                self.error(at, &place, format!("channel `{name}` is configured twice"), label);
            }
        }
        for (index, name) in config.defaults.notifiers.iter().flatten().enumerate() {
            if self.is_configured(name) {
                continue;
            }
            let place = self.place(at, &["defaults", "notifiers", &index.to_string()]);
            if !self.world.catalog.knows("notifier", name) || name.parse::<ChannelName>().is_err() {
                let label = self.nearest_channel(name);
                self.error(at, &place, format!("`{name}` is not a channel"), label);
                continue;
            }
            let empty = serde_json::Value::Object(serde_json::Map::new());
            if let Err(error) = self.world.catalog.check_settings("notifier", name, &empty) {
                let cause = if error.cause.is_empty() { error.what } else { error.cause };
                let message = format!(
                    "channel `{name}` needs settings: {}",
                    ao_slots::text::one_line(&cause)
                );
                self.error(at, &place, message, format!("configure it under `notifiers.{name}`"));
            }
        }
        for (_, class, names) in
            config.notifications.routing.iter().flat_map(|routing| routing.classes())
        {
            for (index, name) in names.iter().enumerate() {
                if !self.is_configured(name) && !self.is_default(name) {
                    let path = ["notifications", "routing", class, &index.to_string()];
                    let place = self.place(at, &path);
                    let label = self.nearest_channel(name);
                    let message = format!("`{name}` is not a channel; `{class}` goes without it");
                    self.found.warnings[at].add(&place, message, label, None);
                }
            }
        }
    }

    fn is_configured(&self, name: &str) -> bool {
        self.layers.iter().any(|layer| layer.live.config.notifiers.contains_key(name))
    }

    /// Named in `defaults.notifiers`, so that it exists without settings of its own.
    fn is_default(&self, name: &str) -> bool {
        let bases = self.layers.iter().map(|layer| base(self.layers, layer, |layer| &layer.live));
        bases.flat_map(|base| default_channels(&base)).any(|default| default == name)
    }

    fn nearest_channel(&self, name: &str) -> String {
        let channels = self.layers.iter().flat_map(|layer| layer.live.config.notifiers.keys());
        let known = channels.map(String::as_str).chain(self.world.catalog.names("notifier"));
        match check::nearest(name, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("add it under `notifiers.{}`", ao_slots::text::cut(name, 40)),
        }
    }

    /// Times that would keep the server busy or give nothing any time, and values that another file decides.
    fn lifecycle(&mut self, at: usize) {
        let config = &self.layers[at].live.config.lifecycle;
        let limits = &config.limits;
        let checks: [(&[&str], Option<Millis>, u64); 11] = [
            (&["sweepInterval"], config.sweep_interval, 100),
            (&["scmInterval"], config.scm_interval, 100),
            (&["askFor"], config.ask_for, 1),
            (&["limits", "fetch"], limits.fetch, 1),
            (&["limits", "worktree"], limits.worktree, 1),
            (&["limits", "postCreate"], limits.post_create, 1),
            (&["limits", "runtimeCreate"], limits.runtime_create, 1),
            (&["limits", "promptConfirm"], limits.prompt_confirm, 1),
            (&["limits", "scm"], limits.scm, 1),
            (&["limits", "merge"], limits.merge, 1),
            (&["limits", "notify"], limits.notify, 1),
        ];
        for (path, value, least) in checks {
            if value.is_some_and(|value| value.0 < least) {
                let key = path[path.len() - 1];
                let path: Vec<&str> = ["lifecycle"].iter().chain(path).copied().collect();
                let place = self.place(at, &path);
                self.error(
                    at,
                    &place,
                    format!("`{key}` is too short"),
                    format!("at least {}", Millis(least)),
                );
            }
        }
        if self.layers[at].source.role == Role::Registered {
            for part in ["lifecycle", "retention", "notifications", "publicUrl"] {
                self.decided_elsewhere(at, &mut vec![part]);
            }
        }
    }

    /// One server has one sweep, and one rhythm of messages: of two registered files that differ the first counts.
    fn decided_elsewhere(&mut self, at: usize, path: &mut Vec<&'l str>) {
        let layers = self.layers;
        // Each project has the routing of its own file.
        if path.as_slice() == ["notifications", "routing"] {
            return;
        }
        let Some(node) = layers[at].node.find(path) else { return };
        if !node.entries().is_empty() {
            for entry in node.entries() {
                path.push(&entry.key);
                self.decided_elsewhere(at, path);
                path.pop();
            }
            return;
        }
        let registered = |layer: &&Layer<'_>| layer.source.role == Role::Registered;
        let other = layers[..at]
            .iter()
            .filter(registered)
            .find_map(|layer| Some((layer, layer.node.find(path)?)));
        if let Some((layer, said)) = other.filter(|(_, said)| said.value != node.value) {
            let label = format!("{} says {}", layer.source.path.display(), said.to_json());
            let place = self.place(at, path);
            let message = format!("`{}` is decided by another file", path.join("."));
            self.found.warnings[at].add(&place, message, label, None);
        }
    }

    /// Reactions that cannot be, and keys that do nothing for their trigger.
    fn reactions(
        &mut self,
        at: usize,
        parent: &[&str],
        reactions: &BTreeMap<Trigger, ReactionEntry>,
    ) {
        for (trigger, entry) in reactions {
            let node = &self.layers[at].node;
            let place = |key: &str| {
                let path = ["reactions", trigger.as_str(), key];
                let path: Vec<&str> = parent.iter().chain(&path).copied().collect();
                (node.place(&path), node.key_place(&path))
            };
            if let Some(action) = entry.action.filter(|action| !trigger.actions().contains(action))
            {
                let allowed: Vec<&str> =
                    trigger.actions().iter().map(|action| action.as_str()).collect();
                let message = format!("`{trigger}` cannot do `{}`", action.as_str());
                let label = format!("it can: {}", allowed.join(", "));
                self.error(at, &place("action").0, message, label);
            }
            let wanted = match (trigger, entry.threshold) {
                (_, None)
                | (Trigger::DiskLow, Some(Threshold::Below(_)))
                | (Trigger::BudgetExceeded, Some(Threshold::Over(_))) => None,
                (Trigger::DiskLow, _) => Some("a size such as `1GiB`"),
                (Trigger::BudgetExceeded, _) => Some("an amount such as `$10`"),
                (_, Some(Threshold::For(_))) => None,
                (_, Some(Threshold::Below(_) | Threshold::Over(_))) => {
                    Some("a duration such as `10m`")
                }
            };
            if let Some(wanted) = wanted {
                let message = format!("the threshold of `{trigger}` is {wanted}");
                self.error(at, &place("threshold").0, message, "");
            }
            let tries = matches!(entry.escalate_after, Some(EscalateAfter::Tries(_)));
            if tries && !reads(*trigger, "retries", entry.action) {
                if reads(*trigger, "escalate-after", entry.action) {
                    let message =
                        format!("`escalate-after` of `{trigger}` is a duration such as `10m`");
                    self.error(
                        at,
                        &place("escalate-after").0,
                        message,
                        "its attempts are not counted",
                    );
                }
            } else if tries && entry.retries.is_some() {
                let message = "`retries` and a number in `escalate-after` say the same".to_owned();
                self.error(at, &place("escalate-after").0, message, "remove one of the two");
            }
            if let Some(wrong) = entry.message.as_deref().and_then(|text| brief::check(text).err())
            {
                let line = match wrong.line {
                    0 | 1 => String::new(),
                    line => format!(" in its line {line}"),
                };
                let message = format!("the message of `{trigger}` is wrong{line}");
                self.error(at, &place("message").0, message, wrong.what);
            }
            let row = trigger.default_reaction();
            let duration = |said: Option<Millis>, row| said.map(|Millis(said)| Some(said) != row);
            let threshold = entry.threshold.map(|said| match said {
                Threshold::For(Millis(time)) => Some(time) != row.threshold_ms,
                Threshold::Below(Bytes(size)) => Some(size) != row.threshold_bytes,
                Threshold::Over(Dollars(micros)) => Some(micros) != row.threshold_micros,
            });
            let escalates = entry.escalate_after.map(|said| match said {
                EscalateAfter::Tries(tries) => tries != row.retries,
                EscalateAfter::For(Millis(time)) => Some(time) != row.escalate_after_ms,
            });
            // What is said, and whether it is another word than the default's.
            for (key, said) in [
                ("auto", entry.auto.map(|said| said != row.auto)),
                ("action", entry.action.map(|said| said != row.action)),
                ("message", entry.message.as_ref().map(|_| true)),
                ("retries", entry.retries.map(|said| said != row.retries)),
                ("escalate-after", escalates),
                ("threshold", threshold),
                ("command-threshold", duration(entry.command_threshold, row.command_threshold_ms)),
                ("priority", entry.priority.map(|said| said != row.priority)),
                ("include-summary", entry.include_summary.map(|said| said != row.include_summary)),
            ] {
                let Some(another) = said else { continue };
                if !reads(*trigger, key, entry.action) {
                    let message = format!("`{key}` does nothing for `{trigger}`");
                    self.found.warnings[at].add(&place(key).1, message, "not used", None);
                } else if another && !has_effect(*trigger, key, entry.action) {
                    let path = ["reactions", trigger.as_str(), key];
                    let path: Vec<&str> = parent.iter().chain(&path).copied().collect();
                    self.without_effect(at, &path, &format!("{trigger}.{key}"));
                } else if another && !parent.is_empty() && is_servers(*trigger, key) {
                    let message = format!("`{trigger}.{key}` is not used in a project");
                    let help =
                        "it holds for the whole server: write it under `reactions` of the file";
                    let place = place(key).1;
                    self.found.warnings[at].add(&place, message, "not used", Some(help.to_owned()));
                }
            }
            let (verb, done) = match entry.action {
                Some(ReactionAction::AutoMerge) => ("merge", "merged"),
                Some(ReactionAction::Restart) => ("restart", "restarted"),
                Some(ReactionAction::Kill) => ("kill", "killed"),
                _ => continue,
            };
            if !entry.auto.unwrap_or(row.auto) {
                let help = format!("to {verb} without a human add `auto: true`");
                let message = format!("nothing is {done}: `auto` is not `true`");
                self.found.warnings[at].add(
                    &place("action").0,
                    message,
                    "a human is asked",
                    Some(help),
                );
            }
        }
    }
}

/// Whether a trigger's answer hangs on a key.
fn reads(trigger: Trigger, key: &str, action: Option<ReactionAction>) -> bool {
    let row = trigger.default_reaction();
    match key {
        "auto" => {
            let done = action.is_some_and(ReactionAction::is_done) || row.action.is_done();
            done || trigger == Trigger::ApprovedAndGreen
        }
        "message" => row.action == ReactionAction::SendToAgent,
        "retries" => row.retries > 0,
        "escalate-after" => !matches!(row.action, ReactionAction::Notify | ReactionAction::Pause),
        "threshold" => {
            row.threshold_ms.is_some()
                || row.threshold_bytes.is_some()
                || trigger == Trigger::BudgetExceeded
        }
        "command-threshold" => row.command_threshold_ms.is_some(),
        "include-summary" => row.include_summary,
        _ => true,
    }
}

/// Whether this version acts by a key that its trigger's answer hangs on. What is said of an answer that cannot be
/// changed yet is read and kept for later versions.
fn has_effect(trigger: Trigger, key: &str, action: Option<ReactionAction>) -> bool {
    use Trigger::{
        AllComplete, BudgetExceeded, PromptUndelivered, RuntimeLost, ScmUnavailable, Tampered,
    };
    let everywhere =
        [ReactionAction::Restart, ReactionAction::Kill, ReactionAction::Nothing].map(Some);
    match trigger {
        _ if matches!(key, "auto" | "action") && everywhere.contains(&action) => true,
        ScmUnavailable => !matches!(key, "auto" | "action"),
        BudgetExceeded => !matches!(key, "auto" | "action"),
        // A summary is told of as what it is.
        AllComplete => key != "priority",
        Tampered => key == "priority",
        RuntimeLost => key != "retries",
        PromptUndelivered => !matches!(key, "auto" | "action"),
        _ => true,
    }
}

/// Whether a key is read for the whole server, since what it is about belongs to no project.
fn is_servers(trigger: Trigger, key: &str) -> bool {
    match trigger {
        Trigger::DiskLow
        | Trigger::ConfigRefused
        | Trigger::ServerWasAway
        | Trigger::Tampered
        | Trigger::ChannelFailing => true,
        Trigger::RuntimeLost => matches!(key, "escalate-after" | "threshold" | "priority"),
        _ => false,
    }
}
