//! One file on its way to the policy: parsed, checked, held back where it is not trusted, expanded.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::{
    World,
    catalog::Form,
    check,
    error::{ConfigError, Report},
    file::{self, Config},
    policy::Policy,
    source::{Role, SourceFile},
    tree::{self, Node, Yaml},
    trust::{self, Pending, TrustItem},
    vars,
};

/// A file that is well-formed by itself.
#[derive(Debug)]
pub(super) struct Layer<'a> {
    pub(super) source: &'a SourceFile,
    /// The values of its variables.
    hidden: Vec<String>,
    /// The document with values, for places.
    pub(super) node: Node,
    /// With the values of variables.
    pub(super) live: Document,
    /// With references where secrets may be.
    pub(super) canonical: Document,
    /// What waits for trust and is left out above.
    pub(super) pending: Option<Pending>,
}

/// What a file says, typed and as it was written.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) config: Config,
    pub(super) json: Value,
}

impl<'a> Layer<'a> {
    /// Reads one file, after those in `before`. All errors that can be seen at once are told at once.
    pub(super) fn read(
        source: &'a SourceFile,
        world: &World,
        before: &[Layer<'_>],
    ) -> Result<Self, Vec<ConfigError>> {
        let mut report = Report::new(&source.path, &source.text);
        let Some(node) = parse(&mut report) else { return Err(report.into_errors()) };
        Self::of(source, world, before, report, node)
    }

    /// Of one file only where the data lies: the rest may need variables that are not looked for there yet.
    pub(super) fn places(source: &'a SourceFile, world: &World) -> Result<Self, Vec<ConfigError>> {
        let mut report = Report::new(&source.path, &source.text);
        let Some(mut node) = parse(&mut report) else { return Err(report.into_errors()) };
        if let Yaml::Map(entries) = &mut node.value {
            entries.retain(|entry| matches!(entry.key.as_str(), "dataDir" | "worktreeDir"));
        }
        Self::of(source, world, &[], report, node)
    }

    fn of(
        source: &'a SourceFile,
        world: &World,
        before: &[Layer<'_>],
        mut report: Report<'a>,
        mut node: Node,
    ) -> Result<Self, Vec<ConfigError>> {
        let users = before.iter().filter(|layer| layer.is_users()).map(|layer| &layer.node);
        let items = hold(&report, source, &mut node, &users.collect::<Vec<_>>());
        let mut hidden = vars::values(&node, &world.env);
        // The home folder is in every path that is told, and no secret.
        hidden.retain(|value| *value != world.home.to_string_lossy());
        let (mut live, mut canonical) = vars::expand(&mut report, node, &world.env);
        report.hide(&hidden);
        let (folder, home) = (source.folder(), world.home.as_path());
        world.catalog.check(&mut report, &mut live, Form::Live { folder, home });
        let escaped = |path: &Path| PathBuf::from(vars::escape(&path.to_string_lossy()));
        let (folder, home) = (&escaped(folder), &escaped(home));
        let recorded = Form::Recorded { folder, home };
        world.catalog.check(&mut Report::like(&report), &mut canonical, recorded);
        if !report.is_empty() {
            return Err(report.into_errors());
        }
        let typed = Document::new(&mut report, &live);
        let references = Document::new(&mut Report::like(&report), &canonical);
        match (typed, references) {
            (Some(typed), Some(references)) => {
                let pending = (!items.is_empty()).then(|| Pending {
                    file: source.path.clone(),
                    hash: source.hash(),
                    items,
                });
                Ok(Self { source, hidden, node: live, live: typed, canonical: references, pending })
            }
            (_, _) => Err(report.into_errors()),
        }
    }

    /// An empty report on it, which tells no value of a variable.
    pub(super) fn report(&self) -> Report<'a> {
        let mut report = Report::new(&self.source.path, &self.source.text);
        report.hide(&self.hidden);
        report
    }

    /// Whether `dataDir`, `worktreeDir`, `port` and `people` count in it.
    pub(super) fn is_users(&self) -> bool {
        self.source.role != Role::Registered
    }
}

impl Document {
    fn new(report: &mut Report<'_>, node: &Node) -> Option<Self> {
        let json = node.to_json();
        match serde_path_to_error::deserialize::<_, Config>(json.clone()) {
            Ok(config) => Some(Self { config, json }),
            Err(error) => {
                use serde_path_to_error::Segment;
                let segments = error.path().iter().filter_map(|segment| match segment {
                    Segment::Map { key } => Some(key.clone()),
                    Segment::Seq { index } => Some(index.to_string()),
                    Segment::Enum { .. } | Segment::Unknown => None,
                });
                let segments: Vec<String> = segments.collect();
                let path: Vec<&str> = segments.iter().map(String::as_str).collect();
                let key = segments.last().map_or("the file", String::as_str);
                let cause = ao_slots::text::one_line(&error.inner().to_string());
                report.add(&node.place(&path), format!("`{key}` is not valid: {cause}"), "", None);
                None
            }
        }
    }
}

/// Parses a text and brings its keys to the canonical spelling; none when it has errors.
fn parse(report: &mut Report<'_>) -> Option<Node> {
    let mut node = tree::parse(report)?;
    check::check(report, file::schema(), &mut node);
    report.is_empty().then_some(node)
}

fn hold(
    report: &Report<'_>,
    source: &SourceFile,
    node: &mut Node,
    users: &[&Node],
) -> Vec<TrustItem> {
    if !source.needs_trust() {
        return Vec::new();
    }
    // What was trusted was valid then. Where it no longer is, nothing of it stays.
    let trusted = source.trusted.as_deref();
    let trusted = trusted.and_then(|text| parse(&mut Report::new(&source.path, text)));
    trust::hold(report, node, trusted.as_ref(), users)
}

/// What would change if a human trusted this file; none when nothing waits or the file cannot be read.
pub fn needs_trust(source: &SourceFile) -> Option<Pending> {
    let mut report = Report::new(&source.path, &source.text);
    let mut node = parse(&mut report)?;
    let items = hold(&report, source, &mut node, &[]);
    (!items.is_empty()).then(|| Pending { file: source.path.clone(), hash: source.hash(), items })
}

/// A part of a document that several files may say, merged: what `upper` says goes before what `lower` says,
/// down to `depth` maps.
pub(super) fn merge(lower: &mut Value, upper: &Value, depth: usize) {
    match (lower, upper) {
        (Value::Object(lower), Value::Object(upper)) if depth > 0 => {
            for (key, value) in upper {
                match lower.get_mut(key) {
                    Some(below) => merge(below, value, depth - 1),
                    None => {
                        lower.insert(key.clone(), value.clone());
                    }
                }
            }
        }
        (lower, upper) => *lower = upper.clone(),
    }
}

/// The parts that files share, and how deep they are merged.
const SHARED: [(&str, usize); 5] =
    [("defaults", 1), ("notifications", 2), ("reactions", 2), ("lifecycle", 2), ("retention", 1)];

/// The shared parts of these documents, the first before the rest.
pub(super) fn shared<'d>(documents: impl DoubleEndedIterator<Item = &'d Document>) -> Config {
    let mut merged = Value::Object(serde_json::Map::new());
    for document in documents.rev() {
        for (part, depth) in SHARED {
            if let Some(said) = document.json.get(part) {
                let only = Value::Object([(part.to_owned(), said.clone())].into_iter().collect());
                merge(&mut merged, &only, depth + 1);
            }
        }
    }
    // Each part was read as this type before, and merging puts no value where another type stood.
    Config::deserialize(merged).unwrap_or_default()
}

/// Which of the two forms of a file is read.
pub(super) type View = for<'l> fn(&'l Layer<'_>) -> &'l Document;

/// The shared parts as they hold for the projects of one file: its own before the user's.
pub(super) fn base(layers: &[Layer<'_>], layer: &Layer<'_>, form: View) -> Config {
    let own = (!layer.is_users()).then_some(layer);
    shared(own.into_iter().chain(layers.iter().filter(|layer| layer.is_users())).map(form))
}

/// `defaults.notifiers`, as text.
pub(super) fn default_channels(base: &Config) -> Vec<String> {
    let built_in = || Policy::default().channels.keys().map(ToString::to_string).collect();
    base.defaults.notifiers.clone().unwrap_or_else(built_in)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_an_upper_file_says_goes_before_and_the_rest_stays() {
        let mut lower = json!({"a": {"x": {"p": 1, "q": 1}, "y": 1}, "l": [1, 2]});
        merge(&mut lower, &json!({"a": {"x": {"p": 2}}, "l": [3], "n": 1}), 2);
        assert_eq!(lower, json!({"a": {"x": {"p": 2}, "y": 1}, "l": [3], "n": 1}));
    }
}
