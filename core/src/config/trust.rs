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
    paths,
    policy::DEFAULT_AGENT,
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

/// One key that waits for trust. Values are shown whole and exactly, what is hidden or controls a terminal escaped:
/// a human judges by them. Only values of variables and of keys that name a secret are left out.
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
    /// Nothing of its project, for a key outside projects of its file, was ever trusted.
    pub first: bool,
}

/// Takes back what waits for trust: `current` keeps only what may count now. `users` are the user's own files: what
/// they say is not replaced, not even by a default.
pub(super) fn hold(
    report: &Report<'_>,
    current: &mut Node,
    trusted: Option<&Node>,
    users: &[&Node],
) -> Vec<TrustItem> {
    let newlines = report.text().match_indices('\n').map(|(at, _)| at).collect();
    let mut held = Held { newlines, users, root: trusted, items: Vec::new() };
    held.map(current, trusted, &mut Vec::new());
    held.items
}

struct Held<'n> {
    /// Where the lines of the file end.
    newlines: Vec<usize>,
    users: &'n [&'n Node],
    /// The whole of what was trusted last.
    root: Option<&'n Node>,
    items: Vec<TrustItem>,
}

impl Held<'_> {
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
            } else if allowed(path, &entry.node, old.map(|old| &old.node))
                || (old.is_none() && self.is_default(path, &entry.node))
            {
                kept.push(entry);
            } else {
                self.item(path, &entry.at, old.map(|old| &old.node), Some(&entry.node));
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
                self.item(path, at, Some(&old.node), None);
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

    fn item(&mut self, path: &[String], at: &Place, old: Option<&Node>, new: Option<&Node>) {
        let line = self.newlines.partition_point(|newline| *newline < at.start) + 1;
        let first = match (self.root, path) {
            (Some(root), [projects, id, ..]) if projects == "projects" => {
                root.find(&["projects", id]).is_none()
            }
            (root, _) => root.is_none(),
        };
        let shown = |value: Option<&Node>, other| value.map(|node| show(path, node, other));
        let (old, new) = (shown(old, None), shown(new, old));
        self.items.push(TrustItem { key: exact(&path.join(".")), line, old, new, first });
    }

    /// Whether a value says what would hold without it: it asks for nothing.
    fn is_default(&self, path: &[String], node: &Node) -> bool {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let users_say = |path: &[&str]| self.users.iter().any(|user| user.find(path).is_some());
        let named = |entry: &str, plugin: &str| match node.to_json() {
            Value::String(name) => name == plugin,
            Value::Object(said) => {
                let name = said.get("plugin").map_or(Some(entry), Value::as_str);
                name == Some(plugin) && said.keys().all(|key| key == "plugin")
            }
            _ => false,
        };
        match path.as_slice() {
            ["defaults", "agent"] | ["projects", _, "agent"] => {
                named("", DEFAULT_AGENT) && !users_say(&["defaults", "agent"])
            }
            ["defaults", "notifiers"] => {
                node.to_json() == serde_json::json!(["desktop"])
                    && !users_say(&["defaults", "notifiers"])
            }
            ["notifiers", name] => *name == "desktop" && named(name, "desktop"),
            ["notifications"] => is_empty(node) && !users_say(&["notifications"]),
            [.., "reactions", "approved-and-green"] => false,
            _ => is_empty(node),
        }
    }
}

/// Whether it says nothing: no text, no entry, no yes.
fn is_empty(node: &Node) -> bool {
    match node.to_json() {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// Whether a key runs programs, widens rights, sends text elsewhere, or reads the environment.
fn waits(path: &[String], node: &Node) -> bool {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["notifiers", _]
        | ["notifications" | "publicUrl"]
        | ["defaults", "agent" | "notifiers"] => true,
        [
            "projects",
            _,
            "agent" | "env" | "symlinks" | "postCreate" | "agentRulesFile" | "submodules",
        ] => true,
        ["projects", _, "agentConfig", _] => true,
        [.., "command"] => true,
        ["projects", _, "tracker" | "scm", "url"] => true,
        // They are run.
        ["projects", _, "scm", "checks"] => true,
        ["projects", _, "tracker" | "scm", "path"] => {
            node.to_json().as_str().is_none_or(|path| path != "." && paths::within(path).is_err())
        }
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

/// A value as a human judges it. Of variables the names alone, with those that differ from `other` marked.
fn show(path: &[String], node: &Node, other: Option<&Node>) -> String {
    if let ([_, _, key], Yaml::Map(entries)) = (path, &node.value)
        && key == "env"
    {
        let differs = |entry: &Entry| {
            let old = other.and_then(|map| map.entry(&entry.key));
            old.is_some_and(|old| old.node.to_json() != entry.node.to_json())
        };
        let name = |entry: &Entry| {
            format!("{}{}", exact(&entry.key), if differs(entry) { " (changed)" } else { "" })
        };
        let names: Vec<String> = entries.iter().map(name).collect();
        return format!("{} (values are not shown)", names.join(", "));
    }
    let mut value = node.to_json();
    hide(&mut value);
    match value {
        Value::String(text) => exact(&text),
        value => exact(&value.to_string()),
    }
}

/// Hides what is written in plain text under a key that names a secret.
fn hide(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(said) if is_plain_secret(key, said) => {
                        "[hidden]".clone_into(said);
                    }
                    value => hide(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(hide),
        _ => {}
    }
}

/// Whether a text holds a secret itself, where it should name the variable that does.
pub(super) fn is_plain_secret(key: &str, said: &str) -> bool {
    text::names_secret(key) && !said.is_empty() && vars::names(said).is_empty()
}

/// Every character as it is, but those that a reader would not see.
fn exact(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut alone = [0; 4];
    for c in value.chars() {
        if c.is_control() || text::plain(c.encode_utf8(&mut alone)).is_empty() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
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
        let report = Report::new(Path::new("f.yaml"), current);
        let items = hold(&report, &mut node, trusted.as_ref(), &[]);
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
                "projects.a.env 6 – → API_KEY (values are not shown)",
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

    #[test]
    fn what_is_asked_for_is_shown_whole_and_exactly() {
        let old = "projects:\n  a:\n    path: .\n    env: {A: one, B: two}\n    postCreate: [x]\n";
        let long = "y".repeat(600);
        let now = format!(
            "projects:\n  a:\n    path: .\n    env: {{A: other, B: two, C: three}}\n    \
             postCreate: [\"API_KEY=abcdefghij curl {long}\", \"a\u{202e}b\\nc\"]\n\
             notifiers: {{\"h\\e[2J\": {{plugin: webhook, url: x, secret: hunter22, headers: {{token: \"${{T}}\"}}}}}}\n"
        );
        let (_, items) = held(&now, old);
        assert_eq!(
            items,
            [
                "projects.a.env 4 A, B (values are not shown) → A (changed), B, C (values are not shown)".to_owned(),
                format!(
                    "projects.a.postCreate 5 [\"x\"] → [\"API_KEY=abcdefghij curl {long}\",\"a\\u{{202e}}b\\nc\"]"
                ),
                "notifiers.h\\u{1b}[2J 6 – → {\"plugin\":\"webhook\",\"url\":\"x\",\"secret\":\"[hidden]\",\"headers\":{\"token\":\"${T}\"}}".to_owned(),
            ]
        );
    }

    #[test]
    fn a_value_that_is_the_default_anyway_asks_for_nothing() {
        let said = "defaults: {agent: claude-code, notifiers: [desktop]}\nprojects:\n  a:\n    path: .\n    \
            agent: {plugin: claude-code}\n    postCreate: []\n    env: {}\n    symlinks: []\n    submodules: false\n    \
            agentConfig: {permissions: skip, args: [], command: []}\n    tracker: {plugin: plain, path: ./issues}\n\
            notifiers: {desktop: {plugin: desktop}}\nnotifications:\n";
        assert_eq!(held(said, "").1, [""; 0]);
        // Another value was trusted, or is the user's own word: then it is a change.
        let trusted = "projects:\n  a:\n    path: .\n    agent: custom\n    postCreate: [x]\n    agentConfig: {permissions: ask}\n";
        let keys =
            |items: Vec<TrustItem>| items.into_iter().map(|item| item.key).collect::<Vec<_>>();
        let hold = |trusted: Option<&Node>, users: &[&Node]| {
            keys(hold(&Report::new(Path::new("f.yaml"), said), &mut read(said), trusted, users))
        };
        let changed =
            ["projects.a.agent", "projects.a.postCreate", "projects.a.agentConfig.permissions"];
        assert_eq!(hold(Some(&read(trusted)), &[]), changed);
        let users = read(
            "defaults: {agent: custom, notifiers: []}\nnotifications: {routing: {urgent: []}}\n",
        );
        let own = ["defaults.agent", "defaults.notifiers", "projects.a.agent", "notifications"];
        assert_eq!(hold(None, &[&users]), own);
    }

    #[test]
    fn s29_a_folder_of_issues_outside_the_repository_waits() {
        for (path, waits) in
            [("issues", false), (".", false), ("../x", true), ("~/x", true), ("/x", true)]
        {
            let text =
                format!("projects: {{a: {{path: ., tracker: {{plugin: plain, path: {path}}}}}}}\n");
            assert_eq!(!held(&text, "").1.is_empty(), waits, "{path}");
        }
    }

    #[test]
    fn s29_checks_that_are_run_wait() {
        let text = "projects: {a: {path: ., scm: {plugin: local, parallel: 2, checks: [{name: unit, run: curl x}]}}}\n";
        let (counts, items) = held(text, "");
        assert_eq!(counts["projects"]["a"]["scm"], json!({"plugin": "local", "parallel": 2}));
        let waits = "projects.a.scm.checks 1 – → [{\"name\":\"unit\",\"run\":\"curl x\"}]";
        assert_eq!(items, [waits]);
    }

    #[test]
    fn what_was_never_trusted_is_told_apart() {
        let text = "projects: {a: {path: ., agent: custom}, b: {path: b, agent: custom}}\n";
        let trusted = read("projects: {a: {path: .}}\n");
        let first = |trusted: Option<&Node>| {
            let items =
                hold(&Report::new(Path::new("f.yaml"), text), &mut read(text), trusted, &[]);
            items.into_iter().map(|item| item.first).collect::<Vec<_>>()
        };
        assert_eq!((first(None), first(Some(&trusted))), (vec![true, true], vec![false, true]));
    }
}
