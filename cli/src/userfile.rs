//! Adding a channel to the user's own file, with all else in it as it was written.

use std::{io::Write as _, path::Path};

use serde_json::{Map, Value};

/// Why a file is not changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Untouched {
    /// A channel of that name is there.
    Exists,
    /// It is written in a way that only a human can go on with.
    Unclear,
}

/// A file with one more channel under `notifiers`. `text` is valid YAML.
pub(crate) fn with_channel(
    text: &str,
    name: &str,
    settings: &Map<String, Value>,
) -> Result<String, Untouched> {
    // With their ends, which stay as they are; what is added ends as the first one does.
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let end = if lines.first().is_some_and(|line| line.ends_with("\r\n")) { "\r\n" } else { "\n" };
    let entry = |indent: &str| entry(indent, name, settings).replace('\n', end);
    let is_key = |line: &&str| {
        line.trim_end().trim_end_matches(|c: char| c != ':').trim_end() == "notifiers:"
    };
    let Some(at) = lines.iter().position(|line| is_key(line) && line.starts_with("notifiers"))
    else {
        if lines.iter().any(|line| line.trim_start_matches(['"', '\'']).starts_with("notifiers")) {
            return Err(Untouched::Unclear);
        }
        let gap = if text.is_empty() || text.ends_with('\n') { "" } else { end };
        return Ok(format!("{text}{gap}notifiers:{end}{}", entry("  ")));
    };
    // What stands behind the key on its line may be a comment and nothing else.
    let rest = lines[at].trim_start_matches("notifiers:").trim();
    if !rest.is_empty() && !rest.starts_with('#') {
        return Err(Untouched::Unclear);
    }
    let below = lines[at + 1..].iter().take_while(|line| {
        line.trim().is_empty() || line.starts_with(' ') || line.trim_start().starts_with('#')
    });
    let below: Vec<&&str> = below.collect();
    let children = |line: &&&&str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    let indent = below
        .iter()
        .find(children)
        .map_or("  ", |line| &line[..line.len() - line.trim_start().len()]);
    let named = |line: &&&str| {
        let key = line.strip_prefix(indent).unwrap_or_default();
        let key = key.split(':').next().unwrap_or_default();
        key.trim_matches(['"', '\'']) == name
    };
    if below.iter().any(named) {
        return Err(Untouched::Exists);
    }
    let (before, after) = (lines[..=at].concat(), lines[at + 1..].concat());
    let gap = if before.ends_with('\n') { "" } else { end };
    Ok(format!("{before}{gap}{}{after}", entry(indent)))
}

/// The lines of a channel. Texts are written as JSON, which is YAML.
pub(crate) fn entry(indent: &str, name: &str, settings: &Map<String, Value>) -> String {
    let mut out = format!("{indent}{name}:\n");
    for (key, value) in settings {
        out.push_str(&format!("{indent}{indent}{key}: {value}\n"));
    }
    out
}

/// Puts a text in place of a file, through one beside it, with the rights that the file had.
pub(crate) fn write(path: &Path, text: &str) -> std::io::Result<()> {
    // The file behind a link is changed, not the link.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let beside = path.with_extension("yaml.tmp");
    let mut file = std::fs::File::create(&beside)?;
    file.write_all(text.as_bytes())?;
    if let Ok(before) = std::fs::metadata(&path) {
        file.set_permissions(before.permissions())?;
    }
    // A power cut leaves the one or the other, whole.
    file.sync_all()?;
    std::fs::rename(&beside, &path)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings() -> Map<String, Value> {
        let Value::Object(map) = json!({"plugin": "slack", "channel": "#agents"}) else { panic!() };
        map
    }

    #[test]
    fn a_channel_is_added_and_all_else_stays_as_it_was() {
        let slack = "  slack:\n    plugin: \"slack\"\n    channel: \"#agents\"\n";
        for (before, after) in [
            ("", format!("notifiers:\n{slack}")),
            ("port: 4000  # mine", format!("port: 4000  # mine\nnotifiers:\n{slack}")),
            (
                "# top\nnotifiers: # these\n  desk: desktop\n\nport: 1\n",
                format!("# top\nnotifiers: # these\n{slack}  desk: desktop\n\nport: 1\n"),
            ),
            ("notifiers:\n", format!("notifiers:\n{slack}")),
            ("notifiers:", format!("notifiers:\n{slack}")),
            ("notifiers:\n  desk: desktop", format!("notifiers:\n{slack}  desk: desktop")),
            (
                "port: 1\r\nnotifiers:\r\n  desk: desktop\r\n",
                format!("port: 1\nnotifiers:\n{slack}  desk: desktop\n").replace('\n', "\r\n"),
            ),
            ("port: 1\r\n", format!("port: 1\nnotifiers:\n{slack}").replace('\n', "\r\n")),
            (
                "notifiers:\n    # four\n    desk: desktop\n",
                "notifiers:\n    slack:\n        plugin: \"slack\"\n        channel: \"#agents\"\n    # four\n    desk: desktop\n"
                    .to_owned(),
            ),
        ] {
            assert_eq!(with_channel(before, "slack", &settings()).unwrap(), after, "{before}");
        }
        for (text, wanted) in [
            ("notifiers: {desk: desktop}\n", Untouched::Unclear),
            ("\"notifiers\":\n  desk: desktop\n", Untouched::Unclear),
            ("notifiers:\n  \"slack\":\n    plugin: x\n", Untouched::Exists),
            ("notifiers:\n  slack: {plugin: slack}\n", Untouched::Exists),
        ] {
            assert_eq!(with_channel(text, "slack", &settings()), Err(wanted), "{text}");
        }
        // A channel within another is none.
        let within = "notifiers:\n  desk:\n    slack: 1\n";
        assert!(with_channel(within, "slack", &settings()).is_ok());
    }
}
