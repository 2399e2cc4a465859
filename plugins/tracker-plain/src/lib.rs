//! Issues as Markdown files in a folder: `<id>.md` or `<number>-<words>.md`.
//!
//! Needs no program and no service. The front matter's keys `title`, `status` (`open` or `closed`), `labels` and
//! `branch` are read; every other key is the user's and stays as it is, byte for byte.

mod document;
mod folder;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use ao_slots::{
    Call, ErrorKind, PluginError,
    plugin::{Registration, settings},
    text,
    tracker::{Issue, IssueChange, IssueFilter, Tracker, blockers},
};
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    document::Document,
    folder::{Content, FILE_CAP, Folder},
};

/// Its name in the config.
pub const NAME: &str = "plain";

/// The most of a text that an issue carries, in bytes.
const BODY_CAP: usize = 64 << 10;
/// How often a change is tried when the file changes at the same time.
const TRIES: u32 = 3;

/// The plugin.
pub fn registration() -> Registration<dyn Tracker> {
    Registration {
        name: NAME,
        about: "Markdown files in a folder",
        schema: || schemars::schema_for!(Settings),
        check: |value| checked(value).map(|_| ()),
        build: |value, _| Ok(Arc::new(Plain { path: checked(value)?.path })),
    }
}

/// Where the issues are.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Settings {
    /// The folder, from the configuration's own or from `~/`. It is made with the first issue.
    #[schemars(extend("format" = "path"))]
    pub path: PathBuf,
}

fn checked(value: &Value) -> Result<Settings, PluginError> {
    let settings: Settings = settings(NAME, value)?;
    if settings.path.is_absolute() {
        return Ok(settings);
    }
    let what = format!("the settings of `{NAME}` are not valid");
    Err(PluginError::permanent(
        what,
        format!("`path` is not absolute: {}", settings.path.display()),
    ))
}

#[derive(Debug)]
struct Plain {
    path: PathBuf,
}

#[async_trait]
impl Tracker for Plain {
    async fn get(&self, call: &Call, id: &str) -> Result<Issue, PluginError> {
        let id = id.to_owned();
        self.reading(call, move |path| Ok(find(path, &id)?.issue())).await
    }

    async fn list(&self, call: &Call, filter: &IssueFilter) -> Result<Vec<Issue>, PluginError> {
        if filter.assignee.is_some() {
            return Err(nobody());
        }
        let filter = filter.clone();
        self.reading(call, move |path| {
            let issues = all(path)?.into_iter().map(|found| found.issue());
            let wanted = |issue: &Issue| {
                (issue.open || filter.closed)
                    && filter.labels.iter().all(|label| issue.labels.contains(label))
            };
            Ok(issues.filter(wanted).collect())
        })
        .await
    }

    async fn create(
        &self,
        call: &Call,
        title: &str,
        body: &str,
        labels: &[String],
    ) -> Result<Issue, PluginError> {
        let new = New {
            title: text::one_line(title),
            body: body.to_owned(),
            labels: labels.to_vec(),
            key: call.key.clone(),
        };
        self.writing(call, move |path, until| create(path, &new, until)).await
    }

    async fn update(
        &self,
        call: &Call,
        id: &str,
        change: &IssueChange,
    ) -> Result<Issue, PluginError> {
        if change.assignees.is_some() {
            return Err(nobody());
        }
        let (id, change) = (id.to_owned(), change.clone());
        self.writing(call, move |path, until| update(path, &id, &change, until)).await
    }

    fn url(&self, _: &str) -> Option<String> {
        None // a file has no address that a browser elsewhere could open
    }
}

fn nobody() -> PluginError {
    PluginError::unsupported("issues in files are assigned to nobody")
}

impl Plain {
    /// Runs what only looks, away from the threads that serve others.
    async fn reading<T: Send + 'static>(
        &self,
        call: &Call,
        work: impl FnOnce(&Path) -> Result<T, PluginError> + Send + 'static,
    ) -> Result<T, PluginError> {
        let path = self.path.clone();
        let work = tokio::task::spawn_blocking(move || work(&path));
        match tokio::time::timeout(call.limit(), work).await {
            Ok(done) => {
                done.map_err(|error| PluginError::transient("reading issues failed", error))?
            }
            Err(_) => Err(PluginError::transient("the disk did not answer in time", "")),
        }
    }

    /// Runs a change. Dropped or late it still ends by itself, whole or not at all.
    async fn writing(
        &self,
        call: &Call,
        work: impl FnOnce(&Path, Instant) -> Result<Issue, PluginError> + Send + 'static,
    ) -> Result<Issue, PluginError> {
        let path = self.path.clone();
        // Whoever waits for another's change gives up in time to say that nothing happened.
        let reserve = (call.limit() / 10).min(Duration::from_secs(1));
        let until = Instant::now() + (call.limit() - reserve);
        let work = tokio::task::spawn_blocking(move || work(&path, until));
        match tokio::time::timeout(call.limit(), work).await {
            Ok(done) => {
                done.map_err(|error| PluginError::in_doubt("changing issues failed", error))?
            }
            Err(_) => Err(PluginError::in_doubt("the disk did not answer in time", "")),
        }
    }
}

/// An issue and the file that it is in.
#[derive(Debug)]
struct Found {
    id: String,
    name: String,
    document: Document,
    content: Content,
}

impl Found {
    fn read(folder: &Folder, id: String, name: String) -> Result<Option<Self>, PluginError> {
        let content = folder.read(&name).map_err(|error| folder.failed(&name, error))?;
        let Some(content) = content else { return Ok(None) };
        let source = String::from_utf8_lossy(&content.bytes).into_owned();
        let document = Document::parse(source).map_err(|cause| {
            let what = format!("the issue in {} cannot be read", folder.path_of(&name));
            PluginError::permanent(what, cause).with_remedy("correct the lines between the `---`")
        })?;
        Ok(Some(Self { id, name, document, content }))
    }

    fn issue(&self) -> Issue {
        let document = &self.document;
        let title = match document.title.as_str() {
            "" => self.name.trim_end_matches(".md").replace('-', " "),
            title => text::cut(title, 300),
        };
        Issue {
            id: self.id.clone(),
            title,
            body: cut_body(document.body(), self.content.beyond, &self.name),
            open: document.open,
            labels: document.labels.clone(),
            url: None,
            branch: document.branch.clone(),
            author: None,
            assignees: Vec::new(),
            blocked_by: blockers(&document.body()),
        }
    }
}

/// At most [`BODY_CAP`] bytes, and where the rest is.
fn cut_body(mut body: String, beyond: u64, name: &str) -> String {
    if body.len() <= BODY_CAP && beyond == 0 {
        return body;
    }
    let note = |missing: u64| format!("\n\n… {} more in {name}", text::size(missing));
    let mut room = BODY_CAP - note(u64::MAX).len();
    while !body.is_char_boundary(room.min(body.len())) {
        room -= 1;
    }
    let whole = body.len() as u64;
    body.truncate(room);
    let missing = whole - body.len() as u64 + beyond;
    body.push_str(&note(missing));
    body
}

/// The id that a file's name gives: its digits before a hyphen, else the whole name without `.md`.
fn id_of(name: &str) -> Option<String> {
    let stem = name.strip_suffix(".md")?;
    if !is_id(stem) || stem.eq_ignore_ascii_case("readme") {
        return None;
    }
    let digits = stem.find(|c: char| !c.is_ascii_digit()).unwrap_or(stem.len());
    let numbered = digits > 0 && (digits == stem.len() || stem[digits..].starts_with('-'));
    Some(if numbered { stem[..digits].to_owned() } else { stem.to_owned() })
}

fn is_id(id: &str) -> bool {
    (1..=120).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        && id.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
}

/// Numbers by size, then words by letters.
fn order(id: &str) -> (bool, usize, &str) {
    match id.bytes().all(|b| b.is_ascii_digit()) {
        true => (false, id.trim_start_matches('0').len(), id.trim_start_matches('0')),
        false => (true, 0, id),
    }
}

/// Every issue in the tracker's order.
fn all(path: &Path) -> Result<Vec<Found>, PluginError> {
    let Some(folder) = Folder::open(path)? else { return Ok(Vec::new()) };
    let mut issues = Vec::new();
    for name in folder.names()? {
        if let Some(id) = id_of(&name) {
            issues.extend(Found::read(&folder, id, name)?);
        }
    }
    issues.sort_by(|a, b| order(&a.id).cmp(&order(&b.id)).then_with(|| a.name.cmp(&b.name)));
    if let Some(pair) = issues.windows(2).find(|pair| pair[0].id == pair[1].id) {
        return Err(twice(&pair[0].id, &pair[0].name, &pair[1].name));
    }
    Ok(issues)
}

fn twice(id: &str, one: &str, other: &str) -> PluginError {
    PluginError::permanent(format!("two files are issue {id}"), format!("{one} and {other}"))
        .with_remedy("rename one of them")
}

fn find(path: &Path, id: &str) -> Result<Found, PluginError> {
    if !is_id(id) {
        let what = format!("`{}` is no issue's id", text::cut(&text::one_line(id), 60));
        return Err(PluginError::permanent(what, "letters, digits, `-` and `_`"));
    }
    let missing = || {
        PluginError::new(ErrorKind::NotFound, format!("no issue {id} in {}", path.display()), "")
    };
    let folder = Folder::open(path)?.ok_or_else(missing)?;
    let mut names: Vec<String> =
        folder.names()?.into_iter().filter(|name| id_of(name).as_deref() == Some(id)).collect();
    names.sort();
    match names.as_slice() {
        [name] => Found::read(&folder, id.to_owned(), name.clone())?.ok_or_else(missing),
        [one, other, ..] => Err(twice(id, one, other)),
        [] => Err(missing()),
    }
}

/// An issue to be made.
#[derive(Debug)]
struct New {
    title: String,
    body: String,
    labels: Vec<String>,
    key: String,
}

fn create(path: &Path, new: &New, until: Instant) -> Result<Issue, PluginError> {
    if new.title.is_empty() {
        return Err(PluginError::permanent("an issue needs a title", ""));
    }
    let text = Document::compose(&new.title, &new.body, &new.labels, &new.key);
    check_size(&text)?;
    let folder = Folder::make(path)?;
    folder.lock(until)?;
    let issues = all(path)?;
    if let Some(made) = issues.iter().find(|found| found.document.key.as_ref() == Some(&new.key)) {
        return Ok(made.issue());
    }
    let mut number =
        issues.iter().filter_map(|found| found.id.parse::<u64>().ok()).max().unwrap_or(0);
    loop {
        number += 1;
        let words = text::slug(&new.title, 40);
        let name =
            if words.is_empty() { format!("{number}.md") } else { format!("{number}-{words}.md") };
        // A link or a pipe may have the number without being an issue.
        let taken = folder.names()?.iter().any(|name| id_of(name) == Some(number.to_string()));
        if taken {
            continue;
        }
        return match folder.add(&name, &text) {
            Ok(()) => Ok(find(path, &number.to_string())?.issue()),
            Err(error) => Err(folder.failed(&name, error)),
        };
    }
}

fn update(
    path: &Path,
    id: &str,
    change: &IssueChange,
    until: Instant,
) -> Result<Issue, PluginError> {
    find(path, id)?; // what does not exist is not worth a lock
    let folder = Folder::make(path)?;
    folder.lock(until)?;
    for _ in 0..TRIES {
        let found = find(path, id)?;
        let refused = |cause: String| {
            let what = format!("the issue in {} is not changed", folder.path_of(&found.name));
            PluginError::permanent(what, cause).with_remedy("change it by hand")
        };
        let mut change = change.clone();
        // A text that was cut for reading is not written back over the whole one.
        change.body = change.body.filter(|body| *body != found.issue().body);
        let Some(text) = found.document.changed(&change).map_err(refused)? else {
            return Ok(found.issue());
        };
        if std::str::from_utf8(&found.content.bytes).is_err() {
            return Err(refused("it is not UTF-8".into()));
        }
        if found.content.beyond > 0 {
            return Err(refused(format!("it is larger than {}", text::size(FILE_CAP))));
        }
        check_size(&text)?;
        match folder.replace(&found.name, &found.content, &text) {
            Ok(true) => return Ok(find(path, id)?.issue()),
            Ok(false) => {}
            Err(error) => return Err(folder.failed(&found.name, error)),
        }
    }
    Err(PluginError::transient(format!("the issue {id} changes all the time"), ""))
}

fn check_size(text: &str) -> Result<(), PluginError> {
    if text.len() as u64 <= FILE_CAP {
        return Ok(());
    }
    let (size, cap) = (text::size(text.len() as u64), text::size(FILE_CAP));
    Err(PluginError::permanent("the issue is too large", format!("{size}, at most {cap}")))
}

#[cfg(test)]
mod tests;
