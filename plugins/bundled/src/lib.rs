//! The one list of built-in plugins. A new one is a line here.

use std::path::Path;

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
        Plugin::Tracker(ao_tracker_github::registration()),
        Plugin::Scm(ao_scm_local::registration()),
        Plugin::Scm(ao_scm_github::registration()),
        Plugin::Notifier(ao_notifier_desktop::registration()),
        Plugin::Notifier(ao_notifier_slack::registration()),
        Plugin::Notifier(ao_notifier_webhook::registration()),
        Plugin::Notifier(ao_notifier_email::registration()),
        Plugin::Notifier(ao_notifier_ntfy::registration()),
        Plugin::Notifier(ao_notifier_discord::registration()),
        Plugin::Terminal(ao_terminal_auto::registration()),
        Plugin::Terminal(ao_terminal_tmux_attach::registration()),
        Plugin::Terminal(ao_terminal_none::registration()),
    ]
}

/// Chooses what a configuration left open by what the project says of its repository: issues and pull requests are on
/// GitHub where `repo` is; else issues are Markdown files in `issues/` beside the code, and `ao` keeps the pull requests
/// that somebody opens. The remote `origin` chooses nothing: an agent can change it, and a token would go where it leads.
pub fn infer(policy: &mut Policy, written: fn(&str) -> String) {
    for project in policy.projects.values_mut() {
        let github = project.repo.as_deref().and_then(on_github).map(|repo| written(&repo));
        project.scm.get_or_insert_with(|| match &github {
            Some(_) => PluginChoice::of(ao_scm_github::NAME),
            // Nobody has asked for pull requests: none is missed.
            None => PluginChoice {
                plugin: ao_scm_local::NAME.to_owned(),
                settings: serde_json::json!({ "autoOpen": false }),
            },
        });
        let tracker = project.tracker.get_or_insert_with(|| match &github {
            Some(_) => PluginChoice {
                plugin: ao_tracker_github::NAME.to_owned(),
                settings: serde_json::json!({}),
            },
            None => PluginChoice {
                plugin: ao_tracker_plain::NAME.to_owned(),
                settings: serde_json::json!({
                    "path": written(&project.path.join("issues").to_string_lossy()),
                }),
            },
        });
        if let (ao_tracker_github::NAME, Some(repo)) = (tracker.plugin.as_str(), github)
            && let Some(settings) = tracker.settings.as_object_mut()
        {
            settings.entry("repo").or_insert_with(|| repo.into());
        }
        if let Some(scm) = project.scm.as_mut().filter(|scm| scm.plugin == ao_scm_local::NAME)
            && let Some(said) = scm.settings.as_object_mut()
        {
            let path = |path: &Path| written(&path.to_string_lossy()).into();
            said.entry("path").or_insert_with(|| path(&project.path));
            if let Some(subdir) = &project.subdir {
                said.entry("subdir").or_insert_with(|| path(subdir));
            }
            said.entry("requiredApprovals").or_insert(project.required_approvals.into());
        }
        if let Some(scm) = project.scm.as_mut().filter(|scm| scm.plugin == ao_scm_github::NAME)
            && let Some(said) = scm.settings.as_object_mut()
            && project.required_approvals > 0
        {
            said.entry("requiredApprovals").or_insert(project.required_approvals.into());
        }
    }
}

/// The `owner/name` of a repository on GitHub: as such, or as the address of one on github.com.
pub fn on_github(repo: &str) -> Option<String> {
    let named = ao_github::repo_of(repo)?;
    named.host.is_none_or(|host| host == "github.com").then_some(named.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_was_found_out_is_no_variable() {
        use ao_core::config::{Catalog, Role, SourceFile, World, load};
        let file = SourceFile {
            path: "/src/agent-orchestrator.yaml".into(),
            text: "projects: {app: {path: \"/src/a$${HOME}b\"}}\n".into(),
            role: Role::Given,
            in_repository: false,
            trusted: None,
        };
        let catalog = Catalog::new(all());
        let mut loaded =
            load(&[file], &World { home: "/h".into(), catalog, ..World::default() }).unwrap();
        loaded.adjust(infer);
        let path = |policy: &Policy| {
            let tracker = policy.projects.values().next().unwrap().tracker.clone();
            tracker.unwrap().settings["path"].as_str().unwrap().to_owned()
        };
        // What is journalled is read again, with the variables of that time.
        assert_eq!(path(&loaded.policy), "/src/a$${HOME}b/issues");
        assert_eq!(path(&loaded.live), "/src/a${HOME}b/issues");
    }

    #[test]
    fn pull_requests_without_a_forge_are_of_the_project() {
        use ao_core::config::{Catalog, Role, SourceFile, World, load};
        let text = "projects:\n  app:\n    path: /src/app\n    subdir: web\n    requiredApprovals: 2\n    \
            scm: {plugin: local, checks: [{name: unit, run: make}]}\n  other:\n    path: /src/$${other}\n    \
            scm: {plugin: local, requiredApprovals: 1, path: /src/mirror}\n";
        let file = SourceFile {
            path: "/etc/agent-orchestrator.yaml".into(),
            text: text.into(),
            role: Role::Given,
            in_repository: false,
            trusted: None,
        };
        let catalog = Catalog::new(all());
        let mut loaded =
            load(&[file], &World { home: "/h".into(), catalog, ..World::default() }).unwrap();
        loaded.adjust(infer);
        let scm = |id: &str| loaded.live.projects[&id.parse().unwrap()].scm.clone().unwrap();
        let check = serde_json::json!({"name": "unit", "run": "make"});
        assert_eq!(scm("app").plugin, "local");
        assert_eq!(
            scm("app").settings,
            serde_json::json!({"checks": [check], "path": "/src/app", "subdir": "web", "requiredApprovals": 2})
        );
        let own = serde_json::json!({"path": "/src/mirror", "requiredApprovals": 1});
        assert_eq!(scm("other").settings, own);
        for id in ["app", "other"] {
            (ao_scm_local::registration().check)(&scm(id).settings).unwrap();
        }
    }

    #[test]
    fn approvals_that_a_project_asks_for_are_waited_for_wherever_its_pull_requests_are() {
        use ao_core::config::policy::ProjectPolicy;
        for (settings, required, expected) in [
            (None, 0, serde_json::json!({})),
            (None, 2, serde_json::json!({"requiredApprovals": 2})),
            (
                Some(serde_json::json!({"url": "https://git.example/api/v3"})),
                2,
                serde_json::json!({"url": "https://git.example/api/v3", "requiredApprovals": 2}),
            ),
            (
                Some(serde_json::json!({"requiredApprovals": 1})),
                2,
                serde_json::json!({"requiredApprovals": 1}),
            ),
        ] {
            let id: ao_slots::ProjectId = "app".parse().unwrap();
            let mut project = ProjectPolicy::new(&id, "app".parse().unwrap(), "/src/app".into());
            project.repo = Some("acme/app".to_owned());
            project.required_approvals = required;
            let plugin = ao_scm_github::NAME.to_owned();
            project.scm = settings.map(|settings| PluginChoice { plugin, settings });
            let mut policy = Policy::default();
            policy.projects.insert(id.clone(), project);
            infer(&mut policy, str::to_owned);
            let scm = policy.projects[&id].scm.clone().unwrap();
            assert_eq!((scm.plugin.as_str(), &scm.settings), (ao_scm_github::NAME, &expected));
            (ao_scm_github::registration().check)(&scm.settings).unwrap();
        }
    }

    #[test]
    fn issues_and_pull_requests_are_where_the_repository_is() {
        use ao_core::config::policy::ProjectPolicy;
        let tracker = |repo: Option<&str>, said: Option<PluginChoice>| {
            let id: ao_slots::ProjectId = "app".parse().unwrap();
            let mut project = ProjectPolicy::new(&id, "app".parse().unwrap(), "/src/app".into());
            (project.repo, project.tracker) = (repo.map(str::to_owned), said);
            let mut policy = Policy::default();
            policy.projects.insert(id.clone(), project);
            infer(&mut policy, str::to_owned);
            let project = &policy.projects[&id];
            let (tracker, scm) = (project.tracker.clone().unwrap(), project.scm.clone().unwrap());
            let here = repo.and_then(on_github).is_none();
            assert_eq!(scm.plugin, if here { "local" } else { "github" }, "{repo:?}");
            assert_eq!(project.expects_prs(), !here, "{repo:?}");
            let check = match here {
                true => ao_scm_local::registration().check,
                false => ao_scm_github::registration().check,
            };
            check(&scm.settings).unwrap();
            (tracker.plugin, tracker.settings)
        };
        let github = |settings| Some(PluginChoice { plugin: "github".into(), settings });
        let on = |repo: &str| ("github".to_owned(), serde_json::json!({ "repo": repo }));
        for repo in [
            "acme/app",
            "https://github.com/acme/app",
            "git@github.com:acme/app.git",
            "ssh://git@github.com/acme/app/",
        ] {
            assert_eq!(tracker(Some(repo), None), on("acme/app"), "{repo}");
        }
        for repo in [
            None,
            Some("https://git.example/acme/app"),
            Some("git@git.example:acme/app"),
            Some("/srv/app.git"),
        ] {
            assert_eq!(tracker(repo, None).0, "plain", "{repo:?}");
        }
        assert_eq!(tracker(Some("acme/app"), github(serde_json::json!({}))), on("acme/app"));
        let own = serde_json::json!({"repo": "acme/tasks"});
        assert_eq!(tracker(Some("acme/app"), github(own)), on("acme/tasks"));
    }

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
            // These need to be told a place: an address, a topic, a folder.
            let needs_a_place =
                matches!(name, "webhook" | "email" | "slack" | "ntfy" | "discord" | "plain");
            assert_eq!(checked.is_err(), needs_a_place, "{slot} `{name}`: {checked:?}");
        }
    }
}
