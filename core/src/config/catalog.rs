//! The plugins that a configuration may name, and what their settings may hold.

use std::{collections::BTreeMap, path::Path};

use ao_slots::{
    PluginError,
    plugin::{Plugin, Registration},
};
use serde_json::Value;

use super::{
    check,
    error::Report,
    file, paths,
    tree::{Entry, Node, Yaml},
};

/// What is known of the plugins: handed in by who lists them, since the core names none.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// None = any plugin with any settings is taken as it is.
    slots: Option<BTreeMap<&'static str, BTreeMap<String, Known>>>,
}

/// Which of the two forms of a document is checked, and where relative paths in it start.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form<'p> {
    /// With the values of variables, so that plugins can judge their settings.
    Live { folder: &'p Path, home: &'p Path },
    /// With references to them; `$` in these paths is doubled.
    Recorded { folder: &'p Path, home: &'p Path },
}

#[derive(Debug, Clone)]
struct Known {
    schema: Value,
    check: fn(&Value) -> Result<(), PluginError>,
}

impl Catalog {
    /// The catalog of these plugins: all others are unknown.
    pub fn new(plugins: impl IntoIterator<Item = Plugin>) -> Self {
        let mut slots: BTreeMap<&'static str, BTreeMap<String, Known>> = BTreeMap::new();
        for plugin in plugins {
            let (slot, name, known) = match plugin {
                Plugin::Runtime(of) => ("runtime", of.name, known(&of)),
                Plugin::Agent(of) => ("agent", of.name, known(&of)),
                Plugin::Workspace(of) => ("workspace", of.name, known(&of)),
                Plugin::Tracker(of) => ("tracker", of.name, known(&of)),
                Plugin::Scm(of) => ("scm", of.name, known(&of)),
                Plugin::Notifier(of) => ("notifier", of.name, known(&of)),
                Plugin::Terminal(of) => ("terminal", of.name, known(&of)),
            };
            slots.entry(slot).or_default().insert(name.to_owned(), known);
        }
        Self { slots: Some(slots) }
    }

    /// Refuses nothing: for callers that want to know only where the data lies.
    pub fn anything() -> Self {
        Self::default()
    }

    /// Whether a plugin is known; always, where anything is.
    pub(super) fn knows(&self, slot: &str, name: &str) -> bool {
        self.slots.is_none() || self.find(slot, name).is_some()
    }

    /// Whether any plugin fills a slot; where none does, what a file names there waits for a later version.
    pub(super) fn fills(&self, slot: &str) -> bool {
        self.slots.is_none() || self.names(slot).next().is_some()
    }

    /// The names of a slot's plugins.
    pub(super) fn names(&self, slot: &str) -> impl Iterator<Item = &str> {
        let plugins = self.slots.iter().filter_map(move |slots| slots.get(slot));
        plugins.flat_map(|plugins| plugins.keys()).map(String::as_str)
    }

    /// Checks settings by what text can tell.
    pub(super) fn check_settings(
        &self,
        slot: &str,
        name: &str,
        settings: &Value,
    ) -> Result<(), PluginError> {
        self.find(slot, name).map_or(Ok(()), |known| (known.check)(settings))
    }

    fn find(&self, slot: &str, name: &str) -> Option<&Known> {
        self.slots.as_ref()?.get(slot)?.get(name)
    }

    /// Checks every plugin that a file names, with the keys of its settings brought to their canonical
    /// spelling and their paths made absolute.
    pub(super) fn check(&self, report: &mut Report<'_>, node: &mut Node, form: Form<'_>) {
        each_plugin(node, |slot, entry| {
            let named =
                matches!(entry.node.value, Yaml::Text(_)) || entry.node.entry("plugin").is_some();
            if !named && slot != "notifier" {
                let message = format!("`{}` has no `plugin`", entry.key);
                report.add(&entry.at, message, "add `plugin: …` here", None);
                return;
            }
            let named = match &entry.node.value {
                Yaml::Text(name) => Some((name.clone(), entry.node.at.clone())),
                _ => match entry.node.entry("plugin").map(|plugin| &plugin.node) {
                    Some(Node { value: Yaml::Text(name), at }) => Some((name.clone(), at.clone())),
                    _ => None,
                },
            };
            let (name, at) = named.unwrap_or_else(|| (entry.key.clone(), entry.at.clone()));
            if !self.fills(slot) {
                return;
            }
            if !self.knows(slot, &name) {
                let label = check::nearest(&name, self.names(slot))
                    .map_or_else(String::new, |near| format!("did you mean `{near}`?"));
                let known = self.names(slot).collect::<Vec<_>>().join(", ");
                report.add(
                    &at,
                    format!("unknown {slot} `{}` (known: {known})", report.shown(&name)),
                    label,
                    None,
                );
            } else if let Some(known) = self.find(slot, &name) {
                let ours =
                    if slot == "notifier" { file::OF_CHANNELS.as_slice() } else { &["plugin"] };
                settings(report, known, entry, &name, ours, form);
            }
        });
    }
}

fn known<T: ?Sized>(registration: &Registration<T>) -> Known {
    let mut schema = (registration.schema)().to_value();
    file::tidy(&mut schema);
    Known { schema, check: registration.check }
}

/// Checks one plugin's settings: the entry without `ours`, the keys that are not the plugin's.
fn settings(
    report: &mut Report<'_>,
    known: &Known,
    entry: &mut Entry,
    name: &str,
    ours: &[&str],
    form: Form<'_>,
) {
    let mut kept = Vec::new();
    let mut node = match &mut entry.node.value {
        Yaml::Map(entries) => {
            let settings;
            (kept, settings) = std::mem::take(entries)
                .into_iter()
                .partition(|entry| ours.contains(&entry.key.as_str()));
            Node { at: entry.at.clone(), value: Yaml::Map(settings) }
        }
        _ => Node { at: entry.node.at.clone(), value: Yaml::Map(Vec::new()) },
    };
    let mut found = Report::like(report);
    check::check_as(&mut found, &known.schema, &mut node, &format!("`{}`", entry.key));
    resolve_paths(&mut found, &known.schema, &mut node, form);
    if matches!(form, Form::Live { .. })
        && found.is_empty()
        && let Err(error) = (known.check)(&node.to_json())
    {
        let message = format!("the settings of `{name}` are not valid");
        let cause = if error.cause.is_empty() { error.what } else { error.cause };
        found.add(&node.at, message, ao_slots::text::one_line(&cause), error.remedy);
    }
    report.take(found);
    if let (Yaml::Map(entries), Yaml::Map(checked)) = (&mut entry.node.value, node.value) {
        *entries = kept.into_iter().chain(checked).collect();
    }
}

/// Settings whose schema says `format: path` start from the file's folder or from `~/`, as all paths do.
fn resolve_paths(report: &mut Report<'_>, schema: &Value, node: &mut Node, form: Form<'_>) {
    let (folder, home) = match form {
        Form::Live { folder, home } | Form::Recorded { folder, home } => (folder, home),
    };
    let Yaml::Map(entries) = &mut node.value else { return };
    for entry in entries.iter_mut().filter(|e| schema["properties"][&e.key]["format"] == "path") {
        let Yaml::Text(path) = &mut entry.node.value else { continue };
        // Where it starts is for the variable to say.
        if matches!(form, Form::Recorded { .. }) && path.starts_with("${") {
            continue;
        }
        match paths::absolute(path, folder, home) {
            Ok(absolute) => *path = absolute.to_string_lossy().into_owned(),
            Err(rule) => {
                report.add(&entry.node.at, format!("`{}` is not a path", entry.key), rule, None);
            }
        }
    }
}

/// Calls `each` for every place of a file where a plugin is named, with its slot.
fn each_plugin(node: &mut Node, mut each: impl FnMut(&'static str, &mut Entry)) {
    const SLOTS: [&str; 6] = ["runtime", "agent", "workspace", "terminal", "tracker", "scm"];
    let mut in_map = |map: &mut Node| {
        let Yaml::Map(entries) = &mut map.value else { return };
        for entry in entries {
            if let Some(slot) = SLOTS.iter().find(|slot| **slot == entry.key) {
                each(slot, entry);
            }
        }
    };
    let Yaml::Map(entries) = &mut node.value else { return };
    for entry in entries.iter_mut() {
        match (entry.key.as_str(), &mut entry.node.value) {
            ("defaults", _) => in_map(&mut entry.node),
            ("projects", Yaml::Map(projects)) => {
                projects.iter_mut().for_each(|project| in_map(&mut project.node));
            }
            _ => {}
        }
    }
    for entry in entries.iter_mut().filter(|entry| entry.key == "notifiers") {
        let Yaml::Map(channels) = &mut entry.node.value else { continue };
        channels.iter_mut().for_each(|channel| each("notifier", channel));
    }
}
