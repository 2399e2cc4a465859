//! The one list of built-in plugins. A new one is a line here.

use ao_core::config::policy::{PluginChoice, Policy};
use ao_slots::plugin::Plugin;

/// All built-in plugins, by slot.
pub fn all() -> Vec<Plugin> {
    vec![
        Plugin::Runtime(ao_runtime_tmux::registration()),
        Plugin::Runtime(ao_runtime_process::registration()),
        Plugin::Agent(ao_agent_claude_code::registration()),
        Plugin::Agent(ao_agent_custom::registration()),
        Plugin::Workspace(ao_workspace_worktree::registration()),
        Plugin::Tracker(ao_tracker_plain::registration()),
        Plugin::Notifier(ao_notifier_desktop::registration()),
        Plugin::Notifier(ao_notifier_webhook::registration()),
        Plugin::Terminal(ao_terminal_auto::registration()),
        Plugin::Terminal(ao_terminal_tmux_attach::registration()),
        Plugin::Terminal(ao_terminal_none::registration()),
    ]
}

/// Chooses what a configuration left open by what the repository is: where there is no forge, issues are
/// Markdown files in `issues/` beside the code.
pub fn infer(policy: &mut Policy) {
    for project in policy.projects.values_mut() {
        let issues = project.path.join("issues");
        project.tracker.get_or_insert_with(|| PluginChoice {
            plugin: ao_tracker_plain::NAME.to_owned(),
            settings: serde_json::json!({ "path": issues }),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plugin_works_without_settings_or_says_what_it_needs() {
        let empty = serde_json::Value::Object(serde_json::Map::new());
        let mut names = std::collections::BTreeSet::new();
        for plugin in all() {
            let (slot, name, about, checked, schema) = match plugin {
                Plugin::Runtime(r) => ("runtime", r.name, r.about, (r.check)(&empty), (r.schema)()),
                Plugin::Agent(r) => ("agent", r.name, r.about, (r.check)(&empty), (r.schema)()),
                Plugin::Workspace(r) => {
                    ("workspace", r.name, r.about, (r.check)(&empty), (r.schema)())
                }
                Plugin::Tracker(r) => ("tracker", r.name, r.about, (r.check)(&empty), (r.schema)()),
                Plugin::Scm(r) => ("scm", r.name, r.about, (r.check)(&empty), (r.schema)()),
                Plugin::Notifier(r) => {
                    ("notifier", r.name, r.about, (r.check)(&empty), (r.schema)())
                }
                Plugin::Terminal(r) => {
                    ("terminal", r.name, r.about, (r.check)(&empty), (r.schema)())
                }
            };
            assert!(names.insert((slot, name)), "{slot} `{name}` is listed twice");
            assert!(!about.is_empty() && schema.as_value().is_object(), "{slot} `{name}`");
            // These need to be told a place: an address, a folder.
            let needs_a_place = matches!(name, "webhook" | "plain");
            assert_eq!(checked.is_err(), needs_a_place, "{slot} `{name}`: {checked:?}");
        }
    }
}
