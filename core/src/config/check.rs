//! Keys and types of a document against its JSON schema: the other spelling is brought to the canonical one,
//! and what is not known is refused, with the nearest that is.

use std::collections::HashSet;

use serde_json::Value;

use super::{
    error::{Place, Report},
    tree::{Entry, Node, Yaml},
    units::{Bytes, Clock, Millis},
};

/// Checks `node` and brings its keys to the canonical spelling.
pub(super) fn check(report: &mut Report<'_>, root: &Value, node: &mut Node) {
    check_as(report, root, node, "the file");
}

/// The same for a part of a document, called `name` in messages.
pub(super) fn check_as(report: &mut Report<'_>, root: &Value, node: &mut Node, name: &str) {
    let at = node.at.clone();
    Checker { report, root }.node(node, root, &at, name);
}

/// Whether two keys are one: camelCase and kebab-case of the same words.
pub(super) fn same(one: &str, other: &str) -> bool {
    one == other || kebab(one) == kebab(other)
}

/// The nearest of `known`, if one is near enough to be meant.
pub(crate) fn nearest<'k>(text: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let plain = |text: &str| text.replace(['-', '_', ' '], "").to_lowercase();
    let wanted = plain(text);
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&wanted, &plain(name)), name))
        .filter(|(distance, name)| *distance <= (name.len() / 3).clamp(1, 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

fn kebab(key: &str) -> String {
    let mut out = String::with_capacity(key.len() + 4);
    for c in key.chars() {
        if c.is_ascii_uppercase() {
            out.push('-');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

struct Checker<'r, 'a> {
    report: &'r mut Report<'a>,
    /// Where references point into.
    root: &'r Value,
}

impl<'r> Checker<'r, '_> {
    /// `at` is marked when the node as a whole is wrong: its key. `name` is what messages call it.
    fn node(&mut self, node: &mut Node, schema: &'r Value, at: &Place, name: &str) {
        let choices = self.choices(schema);
        if node.value == Yaml::Null && !self.fill(node, &choices) {
            let message = format!("{name} has no value");
            self.report.add(at, message, "remove the key or give it a value", None);
            return;
        }
        let fitting = choices.iter().copied().find(|choice| accepts(choice, &node.value));
        match (&mut node.value, fitting) {
            _ if choices.is_empty() => {}
            (Yaml::Map(entries), Some(choice)) => self.map(entries, choice, at, name),
            (Yaml::List(items), Some(choice)) => {
                for item in items {
                    let at = item.at.clone();
                    self.node(item, &choice["items"], &at, &format!("each of {name}"));
                }
            }
            (Yaml::Number(number), Some(choice)) => {
                let value = number.as_f64().unwrap_or_default();
                let below = choice["minimum"].as_f64().is_some_and(|least| value < least);
                let above = choice["maximum"].as_f64().is_some_and(|most| value > most);
                if below || above {
                    let message = format!("{name} takes {}", expected(&choices));
                    self.report.add(&node.at, message, "out of range", None);
                }
            }
            // A text with a variable is judged when its value is known.
            (Yaml::Text(text), Some(_)) if text.contains("${") => {}
            (Yaml::Text(text), Some(_)) => Self::text(self.report, text, &node.at, &choices, name),
            (_, Some(_)) => {}
            (_, None) => self.wrong_type(node, &choices, at, name),
        }
    }

    /// The schemas of which one must fit, references followed. Empty = anything goes.
    fn choices(&self, schema: &'r Value) -> Vec<&'r Value> {
        if let Some(reference) = schema["$ref"].as_str() {
            let target = reference.strip_prefix('#').and_then(|at| self.root.pointer(at));
            return target.map(|target| self.choices(target)).unwrap_or_default();
        }
        let several = schema["anyOf"].as_array().or(schema["oneOf"].as_array());
        match several {
            Some(several) => several.iter().flat_map(|one| self.choices(one)).collect(),
            None if schema["type"].is_string() || !words(schema).is_empty() => vec![schema],
            None => Vec::new(),
        }
    }

    /// A map or list with nothing in it is empty, as when all below it is commented out.
    fn fill(&self, node: &mut Node, choices: &[&Value]) -> bool {
        for choice in choices {
            match choice["type"].as_str() {
                Some("object") => node.value = Yaml::Map(Vec::new()),
                Some("array") => node.value = Yaml::List(Vec::new()),
                _ => continue,
            }
            return true;
        }
        choices.is_empty()
    }

    fn map(&mut self, entries: &mut [Entry], schema: &'r Value, at: &Place, name: &str) {
        let properties = schema["properties"].as_object();
        let others = &schema["additionalProperties"];
        for entry in entries.iter_mut() {
            let known = properties.into_iter().flatten().find(|(key, _)| same(key, &entry.key));
            if let Some((canonical, property)) = known {
                entry.key.clone_from(canonical);
                self.node(&mut entry.node, property, &entry.at, &format!("`{canonical}`"));
            } else if *others == Value::Bool(false) {
                self.unknown(entry, schema);
            } else if others.is_object() {
                let name = format!("`{}`", entry.key);
                self.node(&mut entry.node, others, &entry.at, &name);
            }
        }
        let mut seen = HashSet::new();
        for entry in entries.iter() {
            if !seen.insert(entry.key.as_str()) {
                let message = format!("`{}` is set twice", entry.key);
                let help =
                    "it stands above in the other spelling; remove one of the two".to_owned();
                self.report.add(&entry.at, message, "the second one", Some(help));
            }
        }
        for key in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !entries.iter().any(|entry| entry.key == key) {
                let message = format!("{name} has no `{key}`");
                self.report.add(at, message, format!("add `{key}: …` here"), None);
            }
        }
    }

    /// A key that nobody reads.
    fn unknown(&mut self, entry: &Entry, schema: &'r Value) {
        if self.report.is_full() {
            return;
        }
        let noun = schema["x-noun"].as_str().unwrap_or("setting");
        let message = format!("`{}` is not a {noun}", entry.key);
        let properties = schema["properties"].as_object();
        let known = || properties.into_iter().flatten().map(|(key, _)| key.as_str());
        if let Some(near) = nearest(&entry.key, known()) {
            let list =
                self.choices(&schema["properties"][near]).iter().any(|c| c["type"] == "array");
            let label = match &entry.node.value {
                Yaml::Text(value) if list => {
                    let value = self.report.shown(value);
                    format!("did you mean `{near}`? It takes a list: {near}: [{value}]")
                }
                _ => format!("did you mean `{near}`?"),
            };
            self.report.add(&entry.at, message, label, None);
        } else if let Some(place) = self.elsewhere(&entry.key, self.root, &mut Vec::new()) {
            self.report.add(&entry.at, message, format!("it belongs under {place}"), None);
        } else {
            let help = format!("known here: {}", known().collect::<Vec<_>>().join(", "));
            self.report.add(&entry.at, message, format!("no such {noun} here"), Some(help));
        }
    }

    /// Where a key that is unknown here would be known, e.g. `` `projects.<id>` ``.
    fn elsewhere(&self, key: &str, schema: &'r Value, path: &mut Vec<&'r str>) -> Option<String> {
        for choice in self.choices(schema) {
            let properties = choice["properties"].as_object();
            let triggers = choice["x-noun"].is_string();
            for (name, _) in properties.into_iter().flatten() {
                if same(name, key) {
                    let place = path.join(".");
                    return Some(if place.is_empty() {
                        "no other key".into()
                    } else {
                        format!("`{place}`")
                    });
                }
            }
            for (name, property) in properties.into_iter().flatten() {
                path.push(if triggers { "<trigger>" } else { name });
                let found = self.elsewhere(key, property, path);
                path.pop();
                if found.is_some() {
                    return found;
                }
                if triggers {
                    break;
                }
            }
            if choice["additionalProperties"].is_object() {
                path.push("<id>");
                let found = self.elsewhere(key, &choice["additionalProperties"], path);
                path.pop();
                if found.is_some() {
                    return found;
                }
            }
        }
        None
    }

    /// A text where a text may stand: one of a few words, a duration, a size, or any.
    fn text(
        report: &mut Report<'_>,
        text: &mut String,
        at: &Place,
        choices: &[&Value],
        name: &str,
    ) {
        let words: Vec<&str> = choices.iter().flat_map(|choice| words(choice)).collect();
        if !words.is_empty() {
            if let Some(word) = words.iter().find(|word| same(word, text)) {
                (*word).clone_into(text);
                return;
            }
            let label = match nearest(text, words.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => String::new(),
            };
            let shown = report.shown(text);
            let help = format!("{name} takes {}", expected(choices));
            report.add(at, format!("{name} does not know `{shown}`"), label, Some(help));
            return;
        }
        let fits = |choice: &&Value| match choice["format"].as_str() {
            Some("ao-duration") => text.parse::<Millis>().is_ok(),
            Some("ao-size") => text.parse::<Bytes>().is_ok(),
            Some("ao-time") => text.parse::<Clock>().is_ok(),
            _ => choice["type"] != "integer",
        };
        if !choices.iter().any(fits) {
            let shown = report.shown(text);
            let message = format!("{name} takes {}", expected(choices));
            report.add(at, message, format!("`{shown}` is none"), None);
        }
    }

    fn wrong_type(&mut self, node: &Node, choices: &[&Value], at: &Place, name: &str) {
        let wants = |kind: &str| choices.iter().any(|choice| choice["type"] == kind);
        let unit = choices.iter().find_map(|choice| choice["format"].as_str());
        let json = node.to_json();
        let help = match &node.value {
            Yaml::Number(_) if unit == Some("ao-duration") => {
                Some("a duration needs a unit, e.g. `30s`, `10m`".to_owned())
            }
            Yaml::Number(_) if unit == Some("ao-size") => {
                Some("a size needs a unit, e.g. `1GiB`".to_owned())
            }
            Yaml::Number(_) if unit == Some("ao-time") => {
                Some("a time of day has minutes and stands in quotes, e.g. \"08:00\"".to_owned())
            }
            Yaml::Number(_) | Yaml::Bool(_) if wants("string") => {
                Some(format!("put it in quotes: \"{json}\""))
            }
            Yaml::Text(text) if text.contains("${") => {
                Some("variables are read in texts only".to_owned())
            }
            Yaml::Text(text) if wants("array") => {
                Some(format!("write a list: [{}]", self.report.shown(text)))
            }
            Yaml::Text(_) if wants("boolean") => {
                Some("write `true` or `false`, without quotes".to_owned())
            }
            Yaml::Text(text) if text.parse::<i64>().is_ok() => {
                Some(format!("write {} without quotes", self.report.shown(text)))
            }
            _ => None,
        };
        let message = format!("{name} takes {}, not {}", expected(choices), kind(&node.value));
        // Maps and lists have no place of their own that shows well.
        let at = if matches!(node.value, Yaml::Map(_) | Yaml::List(_)) { at } else { &node.at };
        self.report.add(at, message, "", help);
    }
}

/// The words that an enumeration allows.
fn words(schema: &Value) -> Vec<&str> {
    let several = schema["enum"].as_array().into_iter().flatten();
    several.chain(schema.get("const")).filter_map(Value::as_str).collect()
}

fn accepts(schema: &Value, value: &Yaml) -> bool {
    match (schema["type"].as_str(), value) {
        (Some("string"), Yaml::Text(_))
        | (Some("boolean"), Yaml::Bool(_))
        | (Some("number"), Yaml::Number(_))
        | (Some("array"), Yaml::List(_))
        | (Some("object"), Yaml::Map(_)) => true,
        (Some("integer"), Yaml::Number(number)) => number.is_i64() || number.is_u64(),
        (None, Yaml::Text(_)) => true,
        _ => false,
    }
}

/// What fits, in words.
fn expected(choices: &[&Value]) -> String {
    let words: Vec<String> =
        choices.iter().flat_map(|c| words(c)).map(|w| format!("`{w}`")).collect();
    let mut kinds: Vec<String> = Vec::new();
    if !words.is_empty() {
        kinds.push(format!("one of {}", words.join(", ")));
    }
    for choice in choices.iter().filter(|choice| self::words(choice).is_empty()) {
        let kind = match (choice["type"].as_str(), choice["format"].as_str()) {
            (Some("string"), Some("ao-duration")) => "a duration such as `10m`".to_owned(),
            (Some("string"), Some("ao-size")) => "a size such as `1GiB`".to_owned(),
            (Some("string"), Some("ao-dollars")) => "an amount such as `$10`".to_owned(),
            (Some("string"), Some("ao-time")) => "a time of day such as `22:00`".to_owned(),
            (Some("string"), _) => "text".to_owned(),
            (Some("integer"), _) => {
                match (choice["minimum"].as_u64(), choice["maximum"].as_u64()) {
                    (Some(least), Some(most)) => format!("a whole number from {least} to {most}"),
                    (Some(least), None) if least > 0 => {
                        format!("a whole number of at least {least}")
                    }
                    _ => "a whole number".to_owned(),
                }
            }
            (Some("number"), _) => "a number".to_owned(),
            (Some("boolean"), _) => "`true` or `false`".to_owned(),
            (Some("array"), _) => "a list".to_owned(),
            (Some("object"), _) => "a map of settings".to_owned(),
            _ => continue,
        };
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds.join(" or ")
}

/// What stands there, in words.
fn kind(value: &Yaml) -> &'static str {
    match value {
        Yaml::Null => "nothing",
        Yaml::Bool(_) => "`true` or `false`",
        Yaml::Number(number) if number.is_f64() => "a fraction",
        Yaml::Number(_) => "a number",
        Yaml::Text(_) => "text",
        Yaml::List(_) => "a list",
        Yaml::Map(_) => "a map",
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{file::config_schema, tree};

    /// Errors as `line:column message | label | help`, and the document as it was understood.
    fn checked(text: &str) -> (Vec<String>, Value) {
        let mut report = Report::new(Path::new("agent-orchestrator.yaml"), text);
        let mut node = tree::parse(&mut report).unwrap();
        check(&mut report, &config_schema(), &mut node);
        let errors = report.into_errors().into_iter().map(|error| {
            let help = error.help.map(|help| format!(" | {help}")).unwrap_or_default();
            format!("{}:{} {} | {}{help}", error.line, error.column, error.message, error.label)
        });
        (errors.collect(), node.to_json())
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place_and_what_was_meant() {
        for (text, wanted) in [
            (
                "defaults:\n  agent: claude-code\n  notifer: slack\n",
                "3:3 `notifer` is not a setting | did you mean `notifiers`? It takes a list: notifiers: [slack]",
            ),
            ("prot: 3000\n", "1:1 `prot` is not a setting | did you mean `port`?"),
            ("data_dir: x\n", "1:1 `data_dir` is not a setting | did you mean `dataDir`?"),
            (
                "agentRules: be brief\n",
                "1:1 `agentRules` is not a setting | it belongs under `projects.<id>`",
            ),
            (
                "projects:\n  a:\n    path: .\n    retries: 2\n",
                "4:5 `retries` is not a setting | it belongs under `projects.<id>.reactions.<trigger>`",
            ),
            (
                "retention:\n  zebra: 1\n",
                "2:3 `zebra` is not a setting | no such setting here | known here: age, size",
            ),
            (
                "reactions:\n  ci-fail: {auto: true}\n",
                "2:3 `ci-fail` is not a trigger | did you mean `ci-failed`?",
            ),
            (
                "reactions:\n  agent-stuck: {priority: urgnt}\n",
                "2:27 `priority` does not know `urgnt` | did you mean `urgent`? | `priority` takes one of `urgent`, `high`, `action`, `warning`, `info`",
            ),
            (
                "reactions:\n  agent-stuck: {threshold: 10}\n",
                "2:28 `threshold` takes a duration such as `10m` or a size such as `1GiB` or an amount such as `$10`, not a number |  | a duration needs a unit, e.g. `30s`, `10m`",
            ),
            (
                "reactions:\n  ci-failed: {escalate-after: 0}\n",
                "2:31 `escalate-after` takes a whole number of at least 1 or a duration such as `10m` | out of range",
            ),
            (
                "reactions:\n  ci-failed: {escalate-after: \"2\"}\n",
                "2:31 `escalate-after` takes a whole number of at least 1 or a duration such as `10m` | `2` is none",
            ),
            (
                "lifecycle:\n  sweepInterval: 5x\n",
                "2:18 `sweepInterval` takes a duration such as `10m` | `5x` is none",
            ),
            ("port: 0\n", "1:7 `port` takes a whole number from 1 to 65535 | out of range"),
            (
                "port: 3000.5\n",
                "1:7 `port` takes a whole number from 1 to 65535, not a fraction | ",
            ),
            (
                "port: \"3000\"\n",
                "1:7 `port` takes a whole number from 1 to 65535, not text |  | write 3000 without quotes",
            ),
            (
                "port: ${PORT}\n",
                "1:7 `port` takes a whole number from 1 to 65535, not text |  | variables are read in texts only",
            ),
            ("port:\n", "1:1 `port` has no value | remove the key or give it a value"),
            (
                "projects:\n  a: {path: ., submodules: yes}\n",
                "2:28 `submodules` takes `true` or `false`, not text |  | write `true` or `false`, without quotes",
            ),
            (
                "projects:\n  a:\n    path: .\n    env:\n      PORT: 3000\n",
                "5:13 `PORT` takes text, not a number |  | put it in quotes: \"3000\"",
            ),
            (
                "projects:\n  a: {path: ., symlinks: node_modules}\n",
                "2:26 `symlinks` takes a list, not text |  | write a list: [node_modules]",
            ),
            (
                "projects:\n  a: {path: ., symlinks: [1]}\n",
                "2:27 each of `symlinks` takes text, not a number |  | put it in quotes: \"1\"",
            ),
            (
                "projects:\n  a: {path: ., agentConfig: {permissions: skipp}}\n",
                "2:43 `permissions` does not know `skipp` | did you mean `skip`? | `permissions` takes one of `skip`, `accept-edits`, `ask`, `plan`",
            ),
            ("projects:\n  a:\n    name: A\n", "2:3 `a` has no `path` | add `path: …` here"),
            ("projects:\n  a:\n", "2:3 `a` has no `path` | add `path: …` here"),
            ("projects: [a]\n", "1:1 `projects` takes a map of settings, not a list | "),
            ("- a\n", "1:1 the file takes a map of settings, not a list | "),
            (
                "data-dir: a\ndataDir: b\n",
                "2:1 `dataDir` is set twice | the second one | it stands above in the other spelling; remove one of the two",
            ),
            (
                "reactions:\n  ciFailed: {escalateAfter: 1m, escalate-after: 2m}\n  ci-failed: {}\n",
                "2:33 `escalate-after` is set twice | the second one | it stands above in the other spelling; remove one of the two\n3:3 `ci-failed` is set twice | the second one | it stands above in the other spelling; remove one of the two",
            ),
            (
                "prot: 1\nlifecyle: {}\nport: x\n",
                "1:1 `prot` is not a setting | did you mean `port`?\n2:1 `lifecyle` is not a setting | did you mean `lifecycle`?\n3:7 `port` takes a whole number from 1 to 65535, not text | ",
            ),
        ] {
            assert_eq!(checked(text).0.join("\n"), wanted, "{text}");
        }
    }

    #[test]
    fn both_spellings_are_understood_and_free_names_are_left_alone() {
        let (errors, json) = checked(
            "data-dir: x\ndefaults:\nreactions:\n  ciFailed: {escalateAfter: 1m, action: sendToAgent}\n\
             notifiers:\n  my-hook: {plugin: webhook, someKey: 1, some-other: {a: ~}}\n\
             projects:\n  my-app: {path: ., env: {dataDir: y}, required-approvals: 1}\n",
        );
        assert_eq!(errors, [""; 0]);
        let wanted = serde_json::json!({
            "dataDir": "x",
            "defaults": {},
            "reactions": {"ci-failed": {"escalate-after": "1m", "action": "send-to-agent"}},
            "notifiers": {"my-hook": {"plugin": "webhook", "someKey": 1, "some-other": {"a": null}}},
            "projects": {"my-app": {"path": ".", "env": {"dataDir": "y"}, "requiredApprovals": 1}},
        });
        assert_eq!(json, wanted);
    }
}
