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
         \x20   agentConfig: {config}\n\
         \x20   tracker: {{plugin: plain, path: ./issues}}  # 41.md or 41-a-title.md is issue 41\n"
    );
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
             tracker: {plugin: plain, path: ./issues}  # 41.md or 41-a-title.md is issue 41\n"
        );
        assert_eq!(text.lines().count(), 10);
        let loaded = read_back(&starter());
        assert_eq!((loaded.warnings, loaded.pending), (vec![], vec![]));
        let project = &loaded.policy.projects[&starter().project];
        assert_eq!(project.path, Path::new("/home/ana/my-app"));
        assert_eq!(project.tracker.as_ref().map(|tracker| tracker.plugin.as_str()), Some("plain"));
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
