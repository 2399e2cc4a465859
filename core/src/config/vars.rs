//! `${NAME}` in texts: expanded after parsing, so that a value can never become a key, a list or a tag.
//!
//! Two documents come out. In one every variable has its value: from it plugins are built and agents are
//! started. In the other texts that may hold secrets stay as they were written: that one is journalled.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    error::{Place, Report},
    file,
    tree::Node,
};

/// Expands all variables of a document: `(with values, with references where secrets may be)`.
pub(super) fn expand(
    report: &mut Report<'_>,
    node: Node,
    env: &BTreeMap<String, String>,
) -> (Node, Node) {
    let mut live = node.clone();
    let mut canonical = node;
    live.each_text(&mut Vec::new(), &mut |_, at, text| {
        if text.contains('$') {
            match value(text, env) {
                Ok(value) => *text = value,
                Err(wrong) => tell(report, at, &wrong),
            }
        }
    });
    canonical.each_text(&mut Vec::new(), &mut |path, _, text| {
        if !keeps_references(path)
            && let Ok(value) = value(text, env)
        {
            *text = value;
        }
    });
    (live, canonical)
}

/// A text with the values of its variables; none when one is not set.
pub(super) fn expanded(text: &str, env: &BTreeMap<String, String>) -> Option<String> {
    value(text, env).ok()
}

/// The values of the variables that a document names.
pub(super) fn values(node: &Node, env: &BTreeMap<String, String>) -> Vec<String> {
    let mut found = BTreeSet::new();
    node.clone().each_text(&mut Vec::new(), &mut |_, _, text| {
        found.extend(names(text).into_iter().filter_map(|name| env.get(name)).cloned());
    });
    found.into_iter().collect()
}

/// The names of the variables in a text; those of a text that is wrong up to where it is wrong.
pub(super) fn names(text: &str) -> Vec<&str> {
    let pieces = pieces(text).map_while(Result::ok);
    pieces
        .filter_map(|piece| if let Piece::Name(name) = piece { Some(name) } else { None })
        .collect()
}

/// A text that stands for itself: each `$` doubled.
pub(super) fn escape(text: &str) -> String {
    text.replace('$', "$$")
}

/// Texts that may hold a secret and that no decision reads: settings of plugins, variables, and what goes
/// into the agent's command line.
pub(super) fn keeps_references(path: &[String]) -> bool {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["notifiers", _, key, ..] => !file::OF_CHANNELS.contains(key),
        ["defaults", _, key, ..] => *key != "plugin" && path[1] != "notifiers",
        ["notifications", "heartbeat", "url"] => true,
        ["projects", _, "env" | "postCreate", ..] => true,
        ["projects", _, "agentConfig", key, ..] => !matches!(*key, "permissions" | "input"),
        [
            "projects",
            _,
            "runtime" | "agent" | "workspace" | "terminal" | "tracker" | "scm",
            key,
            ..,
        ] => *key != "plugin",
        _ => false,
    }
}

/// A stretch of a text.
enum Piece<'t> {
    Text(&'t str),
    Name(&'t str),
}

/// What is wrong with a variable: the text as it stands there, and how.
struct Wrong<'t> {
    shown: &'t str,
    message: String,
    label: &'static str,
    help: Option<String>,
}

fn pieces(text: &str) -> impl Iterator<Item = Result<Piece<'_>, Wrong<'_>>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let dollar = rest.find("$$").into_iter().chain(rest.find("${")).min().unwrap_or(rest.len());
        if dollar > 0 {
            let (plain, tail) = rest.split_at(dollar);
            rest = tail;
            return Some(Ok(Piece::Text(plain)));
        }
        if let Some(tail) = rest.strip_prefix("$$") {
            rest = tail;
            return Some(Ok(Piece::Text("$")));
        }
        let inner = &rest[2..];
        let Some(end) = inner.find('}') else {
            let shown = std::mem::take(&mut rest);
            return Some(Err(Wrong {
                shown,
                message: "a variable has no end".into(),
                label: "`}` is missing",
                help: Some("write `$${` for the text itself".into()),
            }));
        };
        let (name, shown) = (&inner[..end], &rest[..end + 3]);
        rest = &rest[end + 3..];
        Some(if is_name(name) { Ok(Piece::Name(name)) } else { Err(misnamed(name, shown)) })
    })
}

fn misnamed<'t>(name: &str, shown: &'t str) -> Wrong<'t> {
    let (message, label) = if name.contains("${") {
        ("a variable within a variable is not read", "only `${NAME}` is")
    } else {
        ("this is not the name of a variable", "letters, digits and `_`, first no digit")
    };
    let help = Some("a text that holds `${` is written with `$${`".to_owned());
    Wrong { shown, message: message.into(), label, help }
}

/// Whether this is a variable's name.
pub(super) fn is_name(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && name.bytes().next().is_some_and(|b| !b.is_ascii_digit())
}

fn value<'t>(text: &'t str, env: &BTreeMap<String, String>) -> Result<String, Wrong<'t>> {
    let mut out = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece? {
            Piece::Text(text) => out.push_str(text),
            Piece::Name(name) => match env.get(name) {
                Some(value) => out.push_str(value),
                None => {
                    let at = text.find(&format!("${{{name}}}")).unwrap_or(0);
                    return Err(Wrong {
                        shown: text.get(at..at + name.len() + 3).unwrap_or(text),
                        message: format!("the variable `{name}` is not set"),
                        label: "",
                        help: Some(format!(
                            "set it where `ao` is started, or write `$${{{name}}}` for the text itself"
                        )),
                    });
                }
            },
        }
    }
    Ok(out)
}

fn tell(report: &mut Report<'_>, at: &Place, wrong: &Wrong<'_>) {
    let written = report.text().get(at.clone()).unwrap_or_default();
    let found = written.find(wrong.shown).map(|start| at.start + start);
    let at = found.map_or(at.clone(), |start| start..start + wrong.shown.len());
    report.add(&at, wrong.message.as_str(), wrong.label, wrong.help.clone());
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Value, json};

    use super::*;
    use crate::config::tree;

    fn expanded(text: &str) -> Result<(Value, Value), Vec<String>> {
        let env = [
            ("HOME", "/home/ana"),
            ("TOKEN", "s3cret"),
            ("TRICK", "a: b\n- *anchor !!tag ${HOME} # no"),
            ("EMPTY", ""),
        ];
        let env = env.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        let mut report = Report::new(Path::new("f.yaml"), text);
        let node = tree::parse(&mut report).unwrap();
        let (live, canonical) = expand(&mut report, node, &env);
        if report.is_empty() {
            return Ok((live.to_json(), canonical.to_json()));
        }
        Err(report.into_errors().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn s33_variables_are_expanded_after_parsing_in_texts_only() {
        let (live, canonical) = expanded(
            "dataDir: ${HOME}/x\n\"${HOME}\": 1\nprojects:\n  a:\n    path: a$HOME$$b$${HOME}$\n    \
             env: {A: \"${TRICK}\", B: \"x${EMPTY}y\"}\n    agentConfig: {model: \"${TOKEN}\", permissions: \"${EMPTY}\"}\n\
             notifiers:\n  hook: {plugin: \"${EMPTY}\", url: \"https://x/${TOKEN}\"}\n",
        )
        .unwrap();
        let text = "a$HOME$b${HOME}$";
        assert_eq!(
            live,
            json!({
                "dataDir": "/home/ana/x",
                "${HOME}": 1,
                "projects": {"a": {"path": text,
                    "env": {"A": "a: b\n- *anchor !!tag ${HOME} # no", "B": "xy"},
                    "agentConfig": {"model": "s3cret", "permissions": ""}}},
                "notifiers": {"hook": {"plugin": "", "url": "https://x/s3cret"}},
            })
        );
        assert_eq!(
            canonical,
            json!({
                "dataDir": "/home/ana/x",
                "${HOME}": 1,
                "projects": {"a": {"path": text, "env": {"A": "${TRICK}", "B": "x${EMPTY}y"},
                    "agentConfig": {"model": "${TOKEN}", "permissions": ""}}},
                "notifiers": {"hook": {"plugin": "", "url": "https://x/${TOKEN}"}},
            })
        );
    }

    #[test]
    fn s33_undefined_and_nested_variables_are_errors_at_their_place() {
        for (text, wanted) in [
            ("a: x ${NOPE} y\n", "f.yaml:1:6: the variable `NOPE` is not set"),
            ("a: \"é ${NOPE}\"\n", "f.yaml:1:7: the variable `NOPE` is not set"),
            (
                "a: ${${HOME}}\n",
                "f.yaml:1:4: a variable within a variable is not read (only `${NAME}` is)",
            ),
            ("a: ${HOME\n", "f.yaml:1:4: a variable has no end (`}` is missing)"),
            (
                "a: ${HOME:-x}\n",
                "f.yaml:1:4: this is not the name of a variable (letters, digits and `_`, first no digit)",
            ),
            (
                "a: ${}\n",
                "f.yaml:1:4: this is not the name of a variable (letters, digits and `_`, first no digit)",
            ),
            ("a: [\"${HOME}\", {b: \"${NO}\"}]\n", "f.yaml:1:21: the variable `NO` is not set"),
        ] {
            assert_eq!(expanded(text).unwrap_err(), [wanted], "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn r28_any_text_expands_or_is_refused_and_an_escaped_one_stands_for_itself(text in "[${}A-Z_ é]{0,20}|\\PC{0,20}") {
            let env = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
            let _ = value(&text, &env);
            let _ = names(&text);
            let back = value(&escape(&text), &env).map_err(|wrong| wrong.message);
            proptest::prop_assert_eq!(back, Ok(text));
        }
    }
}
