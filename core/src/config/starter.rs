//! The file that `ao init` writes: short, commented, and all that a repository needs.

use ao_slots::{ProjectId, SessionPrefix, agent::Permissions};

use super::vars;

/// What `ao init` found out and asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Starter {
    /// The project's id.
    pub project: ProjectId,
    /// Where the repository lies, as it is to be written: `.` where the file lies in it.
    pub path: String,
    /// The folder in it that the agent works in; none = all of it.
    pub subdir: Option<String>,
    /// The prefix of its sessions.
    pub prefix: SessionPrefix,
    /// What work starts from.
    pub default_branch: String,
    /// The agent, e.g. `claude-code`.
    pub agent: String,
    /// What it may do without asking.
    pub permissions: Permissions,
    /// The command of an agent that is any command; empty for others.
    pub command: Vec<String>,
    /// Where its sessions execute, where that is not the default.
    pub runtime: Option<String>,
    /// A webhook that calls the human.
    pub webhook: Option<String>,
    /// Where issues and pull requests are.
    pub forge: Forge,
}

/// Where issues and pull requests are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forge {
    /// On GitHub, in this repository: `acme/my-app`.
    Github(String),
    /// In the repository itself.
    Here {
        /// `ao` can keep pull requests here.
        prs: bool,
        /// What must pass on each of them.
        check: Option<String>,
        /// What that could be, where nobody said it.
        example: String,
    },
}

/// The text of the file.
pub fn starter_file(starter: &Starter) -> String {
    let Starter { project, path, prefix, default_branch, agent, permissions, .. } = starter;
    let (permissions, about) = match permissions {
        Permissions::Skip => ("skip", "runs commands without asking; or accept-edits, ask, plan"),
        Permissions::AcceptEdits => ("accept-edits", "asks before commands; or skip, ask, plan"),
        Permissions::Ask => ("ask", "asks before commands and edits; or skip, accept-edits, plan"),
        Permissions::Plan => ("plan", "only plans; or skip, accept-edits, ask"),
    };
    let [path, branch, agent] = [path, default_branch, agent].map(|text| scalar(text));
    let [project_key, shown_prefix] = [project.as_str(), prefix.as_str()].map(scalar);
    let config = match starter.command.as_slice() {
        [] => format!("{{permissions: {permissions}}}  # {about}"),
        words => {
            let words: Vec<_> = words.iter().map(|word| scalar(word)).collect();
            format!(
                "{{command: [{}]}}  # any program; {{prompt}} is what it is told",
                words.join(", ")
            )
        }
    };
    let subdir = starter.subdir.iter().map(|dir| format!("    subdir: {}\n", scalar(dir)));
    let subdir: String = subdir.collect();
    let mut text = format!(
        "# What ao works on. All keys with their defaults: agent-orchestrator.yaml.example\n\
         # Check it: ao config check\n\
         projects:\n\
         \x20 {project_key}:\n\
         \x20   path: {path}\n{subdir}\
         \x20   defaultBranch: {branch}\n\
         \x20   sessionPrefix: {shown_prefix}  # sessions are {prefix}-1, {prefix}-2 …\n\
         \x20   agent: {agent}\n\
         \x20   agentConfig: {config}\n"
    );
    match &starter.forge {
        Forge::Github(repo) => {
            let repo = scalar(repo);
            text.push_str(&format!("    repo: {repo}  # issues and pull requests are there\n"));
        }
        Forge::Here { prs, check, example } => {
            text.push_str(
                "    tracker: {plugin: plain, path: ./issues}  # 41.md or 41-a-title.md is issue 41\n",
            );
            if *prs {
                let (mark, run) = match check {
                    Some(run) => ("", scalar(run)),
                    None => ("# ", scalar(example)),
                };
                text.push_str(&format!(
                    "    scm:  # pull requests, reviews and checks without a forge\n\
                     \x20     plugin: local\n\
                     \x20     autoOpen: true  # a turn that ends with commits opens one; false: ao pr create does\n\
                     \x20     {mark}checks: [{{name: test, run: {run}}}]  # what must pass on each\n"
                ));
            }
        }
    }
    if let Some(runtime) = &starter.runtime {
        text.push_str(&format!("    runtime: {}  # tmux shows their terminals\n", scalar(runtime)));
    }
    if let Some(url) = &starter.webhook {
        text.push_str(&format!("notifiers:\n  hook: {{plugin: webhook, url: {}}}\n", scalar(url)));
    }
    text
}

/// A text as a YAML scalar that every reader takes for this very text.
fn scalar(text: &str) -> String {
    let text = vars::escape(text);
    let plain =
        text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/'))
            && text.bytes().any(|b| b.is_ascii_alphabetic())
            && text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'/');
    let reserved = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    if text == "." || (plain && !reserved.contains(&text.to_ascii_lowercase().as_str())) {
        return text;
    }
    // JSON's quoting is YAML's double quoting.
    serde_json::Value::String(text).to_string()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::config::{Catalog, Loaded, Role, SourceFile, World, load};

    fn starter() -> Starter {
        Starter {
            project: "my-app".parse().unwrap(),
            path: ".".into(),
            subdir: None,
            prefix: "app".parse().unwrap(),
            default_branch: "main".into(),
            agent: "claude-code".into(),
            permissions: Permissions::Skip,
            command: vec![],
            runtime: None,
            webhook: None,
            forge: Forge::Here { prs: true, check: None, example: "make test".into() },
        }
    }

    fn read_back(starter: &Starter) -> Loaded {
        let text = starter_file(starter);
        let file = SourceFile {
            path: "/home/ana/my-app/agent-orchestrator.yaml".into(),
            trusted: Some(text.clone()),
            text,
            role: Role::Registered,
            in_repository: true,
        };
        let world =
            World { home: "/home/ana".into(), catalog: Catalog::anything(), ..World::default() };
        load(&[file], &world).unwrap()
    }

    #[test]
    fn the_file_is_short_explains_itself_and_reads_back() {
        let text = starter_file(&starter());
        assert_eq!(
            text,
            "# What ao works on. All keys with their defaults: agent-orchestrator.yaml.example\n\
             # Check it: ao config check\n\
             projects:\n  my-app:\n    path: .\n    defaultBranch: main\n    \
             sessionPrefix: app  # sessions are app-1, app-2 …\n    agent: claude-code\n    \
             agentConfig: {permissions: skip}  # runs commands without asking; or accept-edits, ask, plan\n    \
             tracker: {plugin: plain, path: ./issues}  # 41.md or 41-a-title.md is issue 41\n    \
             scm:  # pull requests, reviews and checks without a forge\n      plugin: local\n      \
             autoOpen: true  # a turn that ends with commits opens one; false: ao pr create does\n      \
             # checks: [{name: test, run: \"make test\"}]  # what must pass on each\n"
        );
        let loaded = read_back(&starter());
        assert_eq!((loaded.warnings, loaded.pending), (vec![], vec![]));
        let project = &loaded.policy.projects[&starter().project];
        assert_eq!(project.path, Path::new("/home/ana/my-app"));
        assert_eq!(project.tracker.as_ref().map(|tracker| tracker.plugin.as_str()), Some("plain"));
        let scm = project.scm.as_ref().unwrap();
        assert_eq!(scm.plugin, "local");
        assert_eq!(scm.settings, serde_json::json!({"autoOpen": true}), "no check is guessed");
    }

    #[test]
    fn where_issues_and_pull_requests_are_is_written() {
        let project = |forge: Forge| {
            let loaded = read_back(&Starter { forge, ..starter() });
            assert_eq!((loaded.warnings, loaded.pending), (vec![], vec![]));
            loaded.live.projects[&starter().project].clone()
        };
        let github = project(Forge::Github("acme/my-app".into()));
        assert_eq!(github.repo.as_deref(), Some("acme/my-app"));
        assert_eq!((github.tracker, github.scm), (None, None), "they follow from it");
        let run = "cargo test -- --skip 'a: b' # all".to_owned();
        let here = |prs, check| project(Forge::Here { prs, check, example: "npm test".into() }).scm;
        let checks = &here(true, Some(run.clone())).unwrap().settings["checks"];
        assert_eq!(*checks, serde_json::json!([{"name": "test", "run": run}]));
        assert_eq!(here(false, None), None);
    }

    #[test]
    fn what_is_not_the_default_is_written_too() {
        let command = ["sh", "-c", "exec \"$HOME/agent\" \"$1\"", "agent", "{prompt}"];
        let wanted = Starter {
            agent: "custom".into(),
            command: command.map(str::to_owned).to_vec(),
            runtime: Some("process".into()),
            webhook: Some("https://hooks.example.com/T$1?a={b}&c=#d".into()),
            ..starter()
        };
        let loaded = read_back(&wanted);
        assert_eq!((loaded.warnings, loaded.pending), (vec![], vec![]));
        let project = &loaded.live.projects[&wanted.project];
        assert_eq!(project.agent_config.command, command);
        assert_eq!(project.runtime.plugin, "process");
        let hook = &loaded.live.channels[&"hook".parse().unwrap()];
        assert_eq!(hook.settings["url"], wanted.webhook.unwrap());
    }

    proptest! {
        #[test]
        fn whatever_a_repository_is_called_reads_back(
            id in "[A-Za-z0-9][A-Za-z0-9_-]{0,12}",
            path in "[ -~é\t]{1,20}",
            permissions in prop::sample::select(vec![Permissions::Skip, Permissions::AcceptEdits, Permissions::Ask, Permissions::Plan]),
        ) {
            let wanted = Starter { project: id.parse().unwrap(), path: format!("/{path}"), permissions, ..starter() };
            let loaded = read_back(&wanted);
            let project = &loaded.live.projects[&wanted.project];
            prop_assert_eq!(project.agent_config.permissions, permissions);
            let plain = crate::config::paths::absolute(&wanted.path, Path::new("/"), Path::new("/")).unwrap();
            prop_assert_eq!(&project.path, &plain);
        }
    }
}
