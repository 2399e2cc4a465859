//! One issue as text: YAML front matter between `---` lines, then Markdown.
//!
//! A change replaces the lines of one key, the title's heading or the body; every other byte stays. After a change of
//! the front matter it is read again: unless exactly the wanted key changed, the change is refused.

use std::ops::Range;

use ao_slots::{text, tracker::IssueChange};
use serde_yaml::{Mapping, Value};

/// The front matter's key for the key of the call that made the issue.
const KEY: &str = "ao-key";

/// An issue's text, read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Document {
    source: String,
    /// The lines between the `---` lines.
    front: Option<Range<usize>>,
    /// The first heading, when it is the title: its line.
    heading: Option<Range<usize>>,
    /// Where the body begins.
    body_at: usize,
    /// One line; empty when the text has none.
    pub(crate) title: String,
    /// Not closed.
    pub(crate) open: bool,
    /// Cleaned, none empty.
    pub(crate) labels: Vec<String>,
    /// The branch that the issue asks for.
    pub(crate) branch: Option<String>,
    /// The key of the call that made it.
    pub(crate) key: Option<String>,
}

impl Document {
    /// Reads a file's text. The error is a cause in words.
    pub(crate) fn parse(source: String) -> Result<Self, String> {
        let (front, after) = match front_matter(&source) {
            Some((front, after)) => (Some(front), after),
            None => (None, 0),
        };
        let map = match &front {
            // After an empty line, so that errors name the line of the file.
            Some(front) => mapping(&format!("\n{}", &source[front.clone()]))?,
            None => Mapping::new(),
        };
        let one = |key: &str| scalar(map.get(key)).map_err(|()| format!("`{key}` is not a text"));
        let open = match one("status")?.as_deref().map(str::to_lowercase).as_deref() {
            None | Some("open") => true,
            Some("closed") => false,
            Some(other) => {
                return Err(format!(
                    "status `{}` is neither open nor closed",
                    text::one_line(other)
                ));
            }
        };
        let mut document = Self {
            title: text::one_line(&one("title")?.unwrap_or_default()),
            open,
            labels: labels(map.get("labels"))?,
            branch: one("branch")?.map(|branch| text::one_line(&branch)).filter(|b| !b.is_empty()),
            key: one(KEY)?,
            heading: None,
            body_at: after,
            front,
            source,
        };
        if document.title.is_empty()
            && let Some(line) = heading(&document.source, after)
        {
            let words = document.source[line.clone()].trim_start_matches('#');
            document.title = text::one_line(words);
            // Further down it belongs to the text as well.
            if document.source[after..line.start].trim().is_empty() {
                document.body_at = line.end;
            }
            document.heading = Some(line);
        }
        Ok(document)
    }

    /// A new issue's text.
    pub(crate) fn compose(title: &str, body: &str, labels: &[String], key: &str) -> String {
        let mut front = format!("title: {}\nstatus: open\n", quoted(&text::one_line(title)));
        let labels = flow(labels);
        if labels != "[]" {
            front.push_str(&format!("labels: {labels}\n"));
        }
        front.push_str(&format!("{KEY}: {}\n", quoted(key)));
        format!("---\n{front}---\n\n{}\n", body.trim_end())
    }

    /// The text below title and front matter, made harmless.
    pub(crate) fn body(&self) -> String {
        let body = text::plain(&self.source[self.body_at..]);
        body.trim_start_matches('\n').trim_end().to_owned()
    }

    /// The text with the change made; none when it is so already.
    pub(crate) fn changed(&self, change: &IssueChange) -> Result<Option<String>, String> {
        let mut now = self.clone();
        if let Some(title) = change.title.as_deref().map(text::one_line)
            && title != self.title
        {
            if title.is_empty() {
                return Err("an issue needs a title".into());
            }
            match now.heading.clone() {
                Some(line) => {
                    let level = now.source[line.clone()].len()
                        - now.source[line.clone()].trim_start_matches('#').len();
                    let end = newline(&now.source[line.clone()]);
                    let heading = format!("{} {title}{end}", "#".repeat(level));
                    now = now.with(line, &heading)?;
                }
                None => now = now.set("title", &quoted(&title))?,
            }
        }
        if let Some(open) = change.open.filter(|open| *open != self.open) {
            now = now.set("status", if open { "open" } else { "closed" })?;
        }
        if let Some(labels) = &change.labels {
            let wanted = clean(labels);
            if wanted != self.labels {
                now = now.set("labels", &flow(labels))?;
            }
        }
        if let Some(body) = &change.body
            && body.trim_end() != self.body()
        {
            let end = newline(&now.source);
            let end = if end.is_empty() { "\n" } else { end };
            let body = format!("{end}{}{end}", body.trim_end());
            let all = now.body_at..now.source.len();
            now = now.with(all, &body)?;
        }
        Ok((now.source != self.source).then_some(now.source))
    }

    fn with(&self, place: Range<usize>, text: &str) -> Result<Self, String> {
        let mut source = self.source.clone();
        source.replace_range(place, text);
        Self::parse(source)
    }

    /// Sets one key of the front matter, which is made where there is none.
    fn set(&self, key: &str, value: &str) -> Result<Self, String> {
        let Some(front) = self.front.clone() else {
            let end = if newline(&self.source) == "\r\n" { "\r\n" } else { "\n" };
            return self.with(0..0, &format!("---{end}{key}: {value}{end}---{end}"));
        };
        let old = &self.source[front.clone()];
        let (place, end) = match lines_of(old, key) {
            Some(place) => (place.clone(), newline(&old[place])),
            None => (old.len()..old.len(), newline(&self.source)),
        };
        let mut new = old.to_owned();
        new.replace_range(place, &format!("{key}: {value}{end}"));

        let unusual = |_| "its front matter is too unusual to be changed by a program".to_owned();
        let (mut before, mut after) = (mapping(old)?, mapping(&new).map_err(unusual)?);
        before.remove(key);
        let is_set = after.remove(key) == serde_yaml::from_str(value).ok();
        if !is_set || before != after {
            return Err(unusual(String::new()));
        }
        self.with(front, &new)
    }
}

/// The lines between two `---` lines at the very start, and where what follows begins.
fn front_matter(source: &str) -> Option<(Range<usize>, usize)> {
    let first = source.split_inclusive('\n').next()?;
    if first.trim_start_matches('\u{feff}').trim_end() != "---" {
        return None;
    }
    let start = first.len();
    let mut at = start;
    for line in source[start..].split_inclusive('\n') {
        if matches!(line.trim_end(), "---" | "...") {
            return Some((start..at, at + line.len()));
        }
        at += line.len();
    }
    None
}

fn mapping(front: &str) -> Result<Mapping, String> {
    match serde_yaml::from_str(front) {
        Ok(Value::Mapping(map)) => Ok(map),
        Ok(Value::Null) => Ok(Mapping::new()),
        Ok(_) => Err("its front matter is no list of keys".into()),
        Err(error) => Err(format!("its front matter is no YAML: {error}")),
    }
}

fn scalar(value: Option<&Value>) -> Result<Option<String>, ()> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(Value::Bool(yes)) => Ok(Some(yes.to_string())),
        Some(_) => Err(()),
    }
}

fn labels(value: Option<&Value>) -> Result<Vec<String>, String> {
    let wrong = |()| "`labels` is not a list of texts".to_owned();
    let labels = match value {
        Some(Value::Sequence(items)) => {
            let items: Result<Vec<_>, ()> = items.iter().map(|item| scalar(Some(item))).collect();
            items.map_err(wrong)?.into_iter().flatten().collect()
        }
        value => scalar(value).map_err(wrong)?.into_iter().collect::<Vec<_>>(),
    };
    Ok(clean(&labels))
}

fn clean(labels: &[String]) -> Vec<String> {
    labels.iter().map(|label| text::one_line(label)).filter(|label| !label.is_empty()).collect()
}

/// The first heading that is in no block of code.
fn heading(source: &str, from: usize) -> Option<Range<usize>> {
    let mut at = from;
    let mut fence: Option<&str> = None;
    for line in source[from..].split_inclusive('\n') {
        let mark = ["```", "~~~"].into_iter().find(|mark| line.trim_start().starts_with(mark));
        match (fence, mark) {
            (None, Some(mark)) => fence = Some(mark),
            (Some(open), Some(mark)) if open == mark => fence = None,
            _ => {}
        }
        let words = line.trim_start_matches('#');
        let level = line.len() - words.len();
        if fence.is_none() && (1..=6).contains(&level) && words.starts_with([' ', '\t']) {
            return Some(at..at + line.len());
        }
        at += line.len();
    }
    None
}

/// Whether a line of the front matter begins this key, bare or in quotes.
fn is_key(line: &str, key: &str) -> bool {
    let bare = line.strip_prefix(['"', '\'']).unwrap_or(line);
    let rest = bare.strip_prefix(key).unwrap_or_default();
    rest.trim_start_matches(['"', '\'']).trim_start().starts_with(':')
}

/// The lines of a key's value: its own, and those that go on below it, which are indented or begin an item.
fn lines_of(front: &str, key: &str) -> Option<Range<usize>> {
    let mut at = 0;
    let mut found: Option<Range<usize>> = None;
    for line in front.split_inclusive('\n') {
        let next = at + line.len();
        match &mut found {
            None if is_key(line, key) => found = Some(at..next),
            None => {}
            Some(place)
                if line.starts_with([' ', '\t', '-', ']', '}']) && !line.trim().is_empty() =>
            {
                place.end = next;
            }
            Some(_) if line.trim().is_empty() || line.starts_with('#') => {}
            Some(_) => break,
        }
        at = next;
    }
    found
}

/// How the first line ends.
fn newline(text: &str) -> &'static str {
    match text.split_inclusive('\n').next() {
        Some(line) if line.ends_with("\r\n") => "\r\n",
        Some(line) if line.ends_with('\n') => "\n",
        _ => "",
    }
}

/// A JSON string is a double-quoted YAML one.
fn quoted(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}

/// A list on one line; what could read as something else is in quotes.
fn flow(labels: &[String]) -> String {
    let plain = |label: &str| {
        let words = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
        label.starts_with(|c: char| c.is_ascii_alphabetic())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
            && !words.contains(&label.to_lowercase().as_str())
    };
    let item = |label: String| if plain(&label) { label } else { quoted(&label) };
    format!("[{}]", clean(labels).into_iter().map(item).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &str) -> Document {
        Document::parse(source.to_owned()).unwrap()
    }

    fn change(source: &str, change: IssueChange) -> String {
        read(source).changed(&change).unwrap().unwrap_or_else(|| source.to_owned())
    }

    fn title(text: &str) -> IssueChange {
        IssueChange { title: Some(text.into()), ..IssueChange::default() }
    }

    fn open(open: bool) -> IssueChange {
        IssueChange { open: Some(open), ..IssueChange::default() }
    }

    fn labelled(labels: &[&str]) -> IssueChange {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        IssueChange { labels: Some(labels), ..IssueChange::default() }
    }

    #[test]
    fn a_title_stands_in_front_or_in_the_first_heading() {
        for (source, title, body) in [
            ("---\ntitle: A b\n---\n\ntext\n", "A b", "text"),
            ("---\ntitle: 404\n---\ntext", "404", "text"),
            ("# A b\n\ntext\n", "A b", "text"),
            ("---\nstatus: open\n---\n## A *b*\r\n\r\ntext", "A *b*", "text"),
            ("intro\n\n# A b\ntext", "A b", "intro\n\n# A b\ntext"),
            ("```\n# no\n```\n# A b\n", "A b", "```\n# no\n```\n# A b"),
            ("text", "", "text"),
            ("---\nno end", "", "---\nno end"),
            ("\u{feff}---\ntitle: \"x\\ty\"\n---\n", "x y", ""),
            ("---\n---\n#hash\n", "", "#hash"),
            ("", "", ""),
        ] {
            let document = read(source);
            assert_eq!(
                (document.title.as_str(), document.body().as_str()),
                (title, body),
                "{source:?}"
            );
        }
    }

    #[test]
    fn the_known_keys_are_read() {
        let document = read(
            "---\ntitle: T\nstatus: Closed\nlabels:\n- bug\n- 'a b'\n- 7\nbranch: fix/x\nao-key: k-1\n---\n",
        );
        assert!(!document.open);
        assert_eq!(document.labels, ["bug", "a b", "7"]);
        assert_eq!(document.branch.as_deref(), Some("fix/x"));
        assert_eq!(document.key.as_deref(), Some("k-1"));
        assert_eq!(read("---\nlabels: one\n---\n").labels, ["one"]);
    }

    #[test]
    fn what_cannot_be_read_is_an_error_with_its_cause() {
        for (source, cause) in [
            ("---\nstatus: done\n---\n", "neither open nor closed"),
            ("---\nstatus: [a]\n---\n", "`status` is not a text"),
            ("---\nlabels: {a: b}\n---\n", "`labels` is not a list"),
            ("---\n- a\n---\n", "no list of keys"),
            ("---\na: 1\nb: ]\n---\n", "no YAML"),
            ("---\na: 1\nb: ]\n---\n", "line 3"),
            ("---\nstatus: open\nstatus: closed\n---\n", "duplicate"),
        ] {
            let error = Document::parse(source.to_owned()).unwrap_err();
            assert!(error.contains(cause), "{source:?}: {error}");
        }
    }

    #[test]
    fn a_change_touches_its_own_lines_only() {
        for (before, with, after) in [
            (
                "---\n# mine\nstatus:  open  # why\ncustom: [1,\n  2]\n\n---\n\nbody  \n\n",
                open(false),
                "---\n# mine\nstatus: closed\ncustom: [1,\n  2]\n\n---\n\nbody  \n\n",
            ),
            (
                "---\nlabels:\n  - a\n  - b\n\n# note\nx: y\n---\nbody",
                labelled(&["c", "d e", "no"]),
                "---\nlabels: [c, \"d e\", \"no\"]\n\n# note\nx: y\n---\nbody",
            ),
            (
                "---\nlabels:\n- a\nx: |\n  status: open\n  more\n---\n",
                open(false),
                "---\nlabels:\n- a\nx: |\n  status: open\n  more\nstatus: closed\n---\n",
            ),
            (
                "---\r\ntitle: a\r\nx: 1\r\n---\r\nb\r\n",
                title("n: \"q\""),
                "---\r\ntitle: \"n: \\\"q\\\"\"\r\nx: 1\r\n---\r\nb\r\n",
            ),
            ("# Old title\n\nbody\n", title("New"), "# New\n\nbody\n"),
            ("# T\n\nbody\n", open(false), "---\nstatus: closed\n---\n# T\n\nbody\n"),
            ("---\n\"status\": closed\n---\n", open(true), "---\nstatus: open\n---\n"),
            ("body", title("T"), "---\ntitle: \"T\"\n---\nbody"),
            (
                "---\nx: 1\n---\n# T\nold\n",
                IssueChange { body: Some("new\n".into()), ..IssueChange::default() },
                "---\nx: 1\n---\n# T\n\nnew\n",
            ),
        ] {
            assert_eq!(change(before, with), after, "{before:?}");
        }
    }

    #[test]
    fn a_change_to_what_it_already_is_changes_nothing() {
        let source = "---\ntitle:   T\nstatus: open\nlabels: [ a , b ]\n---\n\n\nbody\r\n\r\n";
        let document = read(source);
        let same = IssueChange {
            title: Some("T".into()),
            body: Some(document.body()),
            open: Some(true),
            labels: Some(document.labels.clone()),
            ..IssueChange::default()
        };
        assert_eq!(document.changed(&same).unwrap(), None);
        assert_eq!(document.changed(&IssueChange::default()).unwrap(), None);
    }

    #[test]
    fn an_unusual_front_matter_is_refused_rather_than_spoiled() {
        for source in ["---\n{status: open, x: 1}\n---\n", "---\nstatus: &a open\nx: *a\n---\n"] {
            let error = read(source).changed(&open(false)).unwrap_err();
            assert!(error.contains("unusual"), "{source:?}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_composed_is_read_back(
            title in "\\PC{1,60}", body in "(\\PC|\n){0,80}", labels in proptest::collection::vec("\\PC{0,12}", 0..4), key in "\\PC{1,30}",
        ) {
            proptest::prop_assume!(!text::one_line(&title).is_empty());
            let document = Document::parse(Document::compose(&title, &body, &labels, &key)).unwrap();
            proptest::prop_assert_eq!(&document.title, &text::one_line(&title));
            proptest::prop_assert_eq!(&document.labels, &clean(&labels));
            proptest::prop_assert_eq!(document.key.as_deref(), Some(key.as_str()));
            let plain = text::plain(&body);
            proptest::prop_assert_eq!(document.body(), plain.trim_start_matches('\n').trim_end());
        }

        #[test]
        fn a_change_keeps_every_other_key_and_the_body(
            values in proptest::collection::vec("\\PC{0,20}", 1..5), body in "(\\PC|\n|\r){0,60}", close: bool,
        ) {
            let keys: String = values.iter().enumerate().map(|(n, v)| format!("k{n}: {}\n", quoted(v))).collect();
            let source = format!("---\n{keys}status: open\n---\n{body}");
            let Ok(document) = Document::parse(source.clone()) else { return Ok(()) };
            let change = IssueChange { open: Some(!close), labels: Some(vec!["x".into()]), ..IssueChange::default() };
            let after = document.changed(&change).unwrap().unwrap();
            proptest::prop_assert!(after.starts_with(&format!("---\n{keys}status: ")), "{:?}", after);
            let tail = format!("---\n{body}");
            proptest::prop_assert!(after.ends_with(&tail), "{:?}", after);
        }
    }
}
