//! Which keys of a repository's file count only when a human trusts them.
//!
//! A file in a repository is what others may have written. Keys that run programs, widen rights or send text
//! elsewhere wait for a human's word, by the content's hash; until then the values that were trusted last
//! stay, and one notice shows the difference.

use std::path::PathBuf;

use ao_slots::text;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    error::{Place, Report},
    tree::{Entry, Node, Yaml},
    vars,
};

/// A file that holds keys which wait for trust.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pending {
    /// The file.
    pub file: PathBuf,
    /// The hash of the content that would be trusted.
    pub hash: String,
    /// What would change.
    pub items: Vec<TrustItem>,
}

/// One key that waits for trust. Values are shown on one line, without secrets, cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrustItem {
    /// The key, e.g. `projects.my-app.postCreate`.
    pub key: String,
    /// The line in the file, from 1; that of the map around it for a key that was removed.
    pub line: usize,
    /// What counts until then; none = nothing of this file.
    pub old: Option<String>,
    /// What the file says; none = it says nothing any more.
    pub new: Option<String>,
}

/// Takes back what waits for trust: `current` keeps only what may count now.
pub(super) fn hold(
    report: &Report<'_>,
    current: &mut Node,
    trusted: Option<&Node>,
) -> Vec<TrustItem> {
    let newlines = report.text().match_indices('\n').map(|(at, _)| at).collect();
    let mut held = Held { newlines, items: Vec::new() };
    held.map(current, trusted, &mut Vec::new());
    held.items
}

struct Held {
    /// Where the lines of the file end.
    newlines: Vec<usize>,
    items: Vec<TrustItem>,
}

impl Held {
    fn map(&mut self, current: &mut Node, trusted: Option<&Node>, path: &mut Vec<String>) {
        let at = current.at.clone();
        let Yaml::Map(entries) = &mut current.value else { return };
        let mut kept = Vec::with_capacity(entries.len());
        for mut entry in std::mem::take(entries) {
            path.push(entry.key.clone());
            let old = trusted.and_then(|map| map.entry(&entry.key));
            if !waits(path, &entry.node) {
                let had_path = entry.node.entry("path").is_some();
                self.map(&mut entry.node, old.map(|old| &old.node), path);
                // A project whose place is not trusted yet does not exist yet.
                let lost = path.len() == 2 && path[0] == "projects" && had_path;
                if !(lost && entry.node.entry("path").is_none()) {
                    kept.push(entry);
                }
            } else if allowed(path, &entry.node, old.map(|old| &old.node)) {
                kept.push(entry);
            } else {
                let shown = old.map(|old| show(&old.node));
                self.item(path, &entry.at, shown, Some(show(&entry.node)));
                kept.extend(old.map(|old| moved(old, &entry.at)));
            }
            path.pop();
        }
        *entries = kept;
        self.removed(entries, &at, trusted, path);
    }

    /// What was trusted and is gone from the file: it stays as long as nobody says otherwise.
    fn removed(
        &mut self,
        entries: &mut Vec<Entry>,
        at: &Place,
        trusted: Option<&Node>,
        path: &mut Vec<String>,
    ) {
        // A project that is not named any more takes all its keys with it.
        if path.len() == 1 && path[0] == "projects" {
            return;
        }
        for old in trusted.into_iter().flat_map(Node::entries) {
            if entries.iter().any(|entry| entry.key == old.key) {
                continue;
            }
            path.push(old.key.clone());
            if waits(path, &old.node) {
                self.item(path, at, Some(show(&old.node)), None);
                entries.push(moved(old, at));
            } else if let Yaml::Map(_) = old.node.value {
                let mut rest = Node { at: at.clone(), value: Yaml::Map(Vec::new()) };
                self.map(&mut rest, Some(&old.node), path);
                if !rest.entries().is_empty() {
                    entries.push(Entry { key: old.key.clone(), at: at.clone(), node: rest });
                }
            }
            path.pop();
        }
    }

    fn item(&mut self, path: &[String], at: &Place, old: Option<String>, new: Option<String>) {
        let line = self.newlines.partition_point(|newline| *newline < at.start) + 1;
        self.items.push(TrustItem { key: path.join("."), line, old, new });
    }
}

/// Whether a key runs programs, widens rights, sends text elsewhere, or reads the environment.
fn waits(path: &[String], node: &Node) -> bool {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["notifiers", _] | ["notifications"] | ["defaults", "agent" | "notifiers"] => true,
        [
            "projects",
            _,
            "agent" | "env" | "symlinks" | "postCreate" | "agentRulesFile" | "submodules",
        ] => true,
        ["projects", _, "agentConfig", _] => true,
        [.., "command"] => true,
        ["projects", _, "tracker" | "scm", "url"] => true,
        [.., "reactions", "approved-and-green"] => {
            let says = |key| node.entry(key).map(|entry| entry.node.to_json());
            says("auto") == Some(true.into()) || says("action").is_some_and(|it| it != "notify")
        }
        _ => !matches!(node.value, Yaml::Map(_)) && reads_environment(node),
    }
}

/// Whether a text in it names a variable other than `ao`'s own.
fn reads_environment(node: &Node) -> bool {
    let mut found = false;
    node.clone().each_text(&mut Vec::new(), &mut |_, _, text| {
        found |= vars::names(text).iter().any(|name| !name.starts_with("AO_"));
    });
    found
}

/// Whether a key that waits may count at once: it is what was trusted, or it takes rights away.
fn allowed(path: &[String], new: &Node, old: Option<&Node>) -> bool {
    if old.is_some_and(|old| old.to_json() == new.to_json()) {
        return true;
    }
    let rights = |value: &Value| match value.as_str() {
        Some("skip") => Some(3),
        Some("accept-edits") => Some(2),
        Some("ask") => Some(1),
        Some("plan") => Some(0),
        _ => None,
    };
    let is_permissions = path.iter().skip(2).map(String::as_str).eq(["agentConfig", "permissions"]);
    let before = old.map_or(Some(3), |old| rights(&old.to_json()));
    is_permissions && rights(&new.to_json()).zip(before).is_some_and(|(new, before)| new <= before)
}

/// An old entry in a new document: what is wrong with it is told at the key that it stands in for.
fn moved(old: &Entry, at: &Place) -> Entry {
    fn place(node: &mut Node, at: &Place) {
        node.at = at.clone();
        match &mut node.value {
            Yaml::List(items) => items.iter_mut().for_each(|item| place(item, at)),
            Yaml::Map(entries) => {
                for entry in entries {
                    entry.at = at.clone();
                    place(&mut entry.node, at);
                }
            }
            Yaml::Null | Yaml::Bool(_) | Yaml::Number(_) | Yaml::Text(_) => {}
        }
    }
    let mut entry = old.clone();
    entry.at = at.clone();
    place(&mut entry.node, at);
    entry
}

fn show(node: &Node) -> String {
    let value = match node.to_json() {
        Value::String(text) => text,
        value => value.to_string(),
    };
    text::cut_counted(&text::redact(&text::one_line(&value)), 200)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::config::{check, file::config_schema, tree};

    fn read(text: &str) -> Node {
        let mut report = Report::new(Path::new("f.yaml"), text);
        let mut node = tree::parse(&mut report).unwrap();
        check::check(&mut report, &config_schema(), &mut node);
        assert_eq!(report.into_errors(), []);
        node
    }

    /// What counts, and `key line old → new` of what waits.
    fn held(current: &str, trusted: &str) -> (Value, Vec<String>) {
        let mut node = read(current);
        let trusted = (!trusted.is_empty()).then(|| read(trusted));
        let items = hold(&Report::new(Path::new("f.yaml"), current), &mut node, trusted.as_ref());
        let shown = |value: Option<String>| value.unwrap_or("–".into());
        let items = items.into_iter().map(|item| {
            format!("{} {} {} → {}", item.key, item.line, shown(item.old), shown(item.new))
        });
        (node.to_json(), items.collect())
    }

    const FULL: &str = "defaults: {runtime: tmux, agent: custom, notifiers: [hook]}\n\
        projects:\n  a:\n    path: .\n    postCreate: [npm ci]\n    env: {API_KEY: abcdefgh}\n    \
        agentConfig: {permissions: ask, args: [--x]}\n    tracker: {plugin: plain, url: \"http://x\", folder: y}\n    \
        symlinks: [b]\n    submodules: true\n    agentRules: be brief\n    runtime: {plugin: process, command: [x]}\n\
        notifiers:\n  hook: {plugin: webhook, url: \"${HOOK}\"}\n\
        notifications: {routing: {urgent: [hook]}}\n\
        reactions:\n  ci-failed: {retries: 5}\n  approved-and-green: {auto: true}\n";

    #[test]
    fn what_runs_widens_or_sends_waits_for_a_human() {
        let (counts, items) = held(FULL, "");
        assert_eq!(
            counts,
            json!({
                "defaults": {"runtime": "tmux"},
                // Fewer rights than the default count at once.
                "projects": {"a": {"path": ".", "agentConfig": {"permissions": "ask"},
                    "tracker": {"plugin": "plain", "folder": "y"}, "agentRules": "be brief",
                    "runtime": {"plugin": "process"}}},
                "notifiers": {},
                "reactions": {"ci-failed": {"retries": 5}},
            })
        );
        assert_eq!(
            items,
            [
                "defaults.agent 1 – → custom",
                "defaults.notifiers 1 – → [\"hook\"]",
                "projects.a.postCreate 5 – → [\"npm ci\"]",
                "projects.a.env 6 – → {\"API_KEY\":\"[hidden]\"}",
                "projects.a.agentConfig.args 7 – → [\"--x\"]",
                "projects.a.tracker.url 8 – → http://x",
                "projects.a.symlinks 9 – → [\"b\"]",
                "projects.a.submodules 10 – → true",
                "projects.a.runtime.command 12 – → [\"x\"]",
                "notifiers.hook 14 – → {\"plugin\":\"webhook\",\"url\":\"${HOOK}\"}",
                "notifications 15 – → {\"routing\":{\"urgent\":[\"hook\"]}}",
                "reactions.approved-and-green 18 – → {\"auto\":true}",
            ]
        );
        assert_eq!(held(FULL, FULL), (read(FULL).to_json(), vec![]));
    }

    #[test]
    fn until_then_the_values_that_were_trusted_stay() {
        let before = "projects:\n  a:\n    path: .\n    postCreate: [npm ci]\n    agentConfig: {permissions: ask}\n";
        for (now, wanted, waiting) in [
            (
                "projects:\n  a:\n    path: sub\n    postCreate: [curl x]\n    agentConfig: {permissions: plan}\n",
                json!({"a": {"path": "sub", "postCreate": ["npm ci"], "agentConfig": {"permissions": "plan"}}}),
                vec!["projects.a.postCreate 4 [\"npm ci\"] → [\"curl x\"]"],
            ),
            (
                "projects:\n  a:\n    path: .\n    postCreate: [npm ci]\n    agentConfig: {permissions: skip}\n",
                json!({"a": {"path": ".", "postCreate": ["npm ci"], "agentConfig": {"permissions": "ask"}}}),
                vec!["projects.a.agentConfig.permissions 5 ask → skip"],
            ),
            // To leave a key out may widen rights as well.
            (
                "projects:\n  a:\n    path: .\n",
                json!({"a": {"path": ".", "postCreate": ["npm ci"], "agentConfig": {"permissions": "ask"}}}),
                vec![
                    "projects.a.postCreate 3 [\"npm ci\"] → –",
                    "projects.a.agentConfig.permissions 3 ask → –",
                ],
            ),
            // Another project, and one whose place hangs on the environment.
            (
                "projects:\n  b: {path: x}\n  c: {path: \"${HOME}/c\"}\n  d: {path: \"${AO_X}/d\"}\n",
                json!({"b": {"path": "x"}, "d": {"path": "${AO_X}/d"}}),
                vec!["projects.c.path 3 – → ${HOME}/c"],
            ),
        ] {
            let (counts, items) = held(now, before);
            assert_eq!(counts["projects"], wanted, "{now}");
            assert_eq!(items, waiting, "{now}");
        }
    }
}
