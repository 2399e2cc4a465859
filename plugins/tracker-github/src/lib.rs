//! Issues of a repository on GitHub or on an Enterprise server, over REST (API version 2022-11-28).
//!
//! An issue or a comment that `ao` makes ends with a hidden line, `<!-- ao:… -->`, a digest of the call's key: it is how
//! a call that may have happened finds what it made. The digest tells nobody a key, so nobody can write the line of a
//! call to come. What waits for what is what the text names ([`blockers`]), GitHub's own dependencies, and sub-issues.

use std::sync::Arc;

use ao_github::{Access, Answer, Errand, Github, Method, owner_and_name, segment};
use ao_slots::{
    Call, ErrorKind, PluginError,
    plugin::{Registration, settings},
    text,
    tracker::{Issue, IssueChange, IssueFilter, Tracker, blockers},
};
use async_trait::async_trait;
use futures_util::future::try_join_all;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Its name in the config.
pub const NAME: &str = "github";

/// The most of a text that an issue carries, in bytes.
const BODY_CAP: usize = 64 << 10;
/// What GitHub takes as a text, in characters; our hidden line fits beside it.
const BODY_LIMIT: usize = 65_536 - 60;
/// What GitHub takes as a title, in characters.
const TITLE_LIMIT: usize = 256;
/// Issues a page, the most there is.
const PAGE: usize = 100;
/// How many pages a list has at most: the newest thousand.
const PAGES: usize = 10;
/// Of how many issues what they wait for is asked at once.
const AT_ONCE: usize = 8;

/// The plugin.
pub fn registration() -> Registration<dyn Tracker> {
    Registration {
        name: NAME,
        about: "issues of a repository on GitHub",
        schema: || schemars::schema_for!(Settings),
        check: |value| checked(value).map(|_| ()),
        build: |value, context| {
            let Settings { repo, token, url, app } = checked(value)?;
            let github = Github::build(&Access { token, url, app }, context)?;
            Ok(Arc::new(Issues { github, repo }))
        },
    }
}

/// Which repository, and who asks.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Settings {
    /// The repository, e.g. `acme/my-app`. Default: the project's `repo`.
    #[serde(default)]
    pub repo: Option<String>,
    /// A token. Default: `GH_TOKEN` or `GITHUB_TOKEN`, else that of `gh auth login`.
    #[serde(default)]
    pub token: Option<ao_sdk::Secret>,
    /// The REST address of an Enterprise server, e.g. `https://github.example.com/api/v3`. Default: github.com.
    #[serde(default)]
    pub url: Option<String>,
    /// A GitHub App to ask as, instead of a token.
    #[serde(default)]
    pub app: Option<ao_github::App>,
}

fn checked(value: &Value) -> Result<Settings, PluginError> {
    let mut settings: Settings = settings(NAME, value)?;
    if let Some(repo) = &settings.repo {
        let (owner, name) = owner_and_name(repo)?;
        settings.repo = Some(format!("{owner}/{name}"));
    }
    Access { token: settings.token.clone(), url: settings.url.clone(), app: settings.app.clone() }
        .check(NAME)?;
    Ok(settings)
}

#[derive(Debug)]
struct Issues {
    github: Arc<Github>,
    repo: Option<String>,
}

/// What of an issue's JSON is read; schema `issue`.
#[derive(Debug, Deserialize)]
struct Json {
    number: u64,
    title: String,
    body: Option<String>,
    state: String,
    html_url: String,
    repository_url: String,
    comments: u64,
    user: Option<Person>,
    labels: Vec<Label>,
    assignees: Option<Vec<Person>>,
    pull_request: Option<Value>,
    sub_issues_summary: Option<Parts>,
    issue_dependencies_summary: Option<Dependencies>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Label {
    Name(String),
    Full { name: Option<String> },
}

impl Label {
    fn name(&self) -> Option<String> {
        match self {
            Self::Name(name) => Some(text::one_line(name)),
            Self::Full { name } => name.as_ref().map(|name| text::one_line(name)),
        }
    }
}

#[derive(Debug, Deserialize)]
struct Person {
    login: String,
}

#[derive(Debug, Deserialize)]
struct Parts {
    total: u64,
}

#[derive(Debug, Deserialize)]
struct Dependencies {
    total_blocked_by: u64,
}

#[async_trait]
impl Tracker for Issues {
    async fn get(&self, call: &Call, id: &str) -> Result<Issue, PluginError> {
        let errand = Errand::urgent(call);
        let (json, _) = self.find(errand, number(id)?).await?;
        self.issue(errand, json).await
    }

    async fn list(&self, call: &Call, filter: &IssueFilter) -> Result<Vec<Issue>, PluginError> {
        let errand = Errand::urgent(call);
        let mut query =
            format!("issues?state={}&per_page={PAGE}", if filter.closed { "all" } else { "open" });
        // A comma separates labels there, so one with a comma cannot be asked for: it is looked for here.
        let asked: Vec<_> =
            filter.labels.iter().filter(|l| !l.contains(',')).map(|l| segment(l)).collect();
        if !asked.is_empty() {
            query.push_str(&format!("&labels={}", asked.join("%2C")));
        }
        if let Some(login) = &filter.assignee {
            query.push_str(&format!("&assignee={}", segment(login)));
        }
        let mut issues = Vec::new();
        let mut next = Some(self.path(&query)?);
        for _ in 0..PAGES {
            let Some(path) = next else { break };
            let answer = self.github.rest(errand, Method::GET, &path, None).await?;
            next = answer.next();
            let list: Vec<Json> = read(answer)?;
            let wanted = |json: &Json| {
                let labels: Vec<String> = json.labels.iter().filter_map(Label::name).collect();
                json.pull_request.is_none() && filter.labels.iter().all(|label| has(&labels, label))
            };
            let mut list: Vec<Json> = list.into_iter().filter(wanted).collect();
            while !list.is_empty() {
                let some = list.drain(..list.len().min(AT_ONCE));
                issues.extend(try_join_all(some.map(|json| self.issue(errand, json))).await?);
            }
        }
        Ok(issues)
    }

    async fn create(
        &self,
        call: &Call,
        title: &str,
        body: &str,
        labels: &[String],
    ) -> Result<Issue, PluginError> {
        let title = title_of(title)?;
        let line = hidden(&call.key);
        let errand = Errand::urgent(call);
        let recent = format!("issues?state=all&sort=created&direction=desc&per_page={PAGE}");
        let answer = self.github.rest(errand, Method::GET, &self.path(&recent)?, None).await?;
        let ours = |json: &Json| {
            json.pull_request.is_none()
                && json.body.as_deref().is_some_and(|body| body.ends_with(&line))
        };
        // Somebody may have copied it, hidden line and all: the first is ours.
        let made = read::<Vec<Json>>(answer)?.into_iter().filter(ours).min_by_key(|j| j.number);
        let issue = match made {
            Some(made) => self.issue(errand, made).await?,
            None => {
                let body = with_line(body, &line);
                let body = json!({"title": title, "body": body, "labels": labels});
                let path = self.path("issues")?;
                let answer = self.github.rest(errand, Method::POST, &path, Some(&body)).await?;
                self.written(errand, answer).await?
            }
        };
        kept(issue, Some(labels), None)
    }

    async fn update(
        &self,
        call: &Call,
        id: &str,
        change: &IssueChange,
    ) -> Result<Issue, PluginError> {
        let number = number(id)?;
        let errand = Errand::urgent(call);
        let (before, line) = self.find(errand, number).await?;
        let is = self.issue(errand, before).await?;
        let mut body = serde_json::Map::new();
        if let Some(title) = &change.title {
            let title = title_of(title)?;
            if title != is.title {
                body.insert("title".into(), json!(title));
            }
        }
        if let Some(text) = change.body.as_ref().filter(|text| **text != is.body) {
            body.insert("body".into(), json!(with_line(text, &line)));
        }
        if let Some(open) = change.open.filter(|open| *open != is.open) {
            body.insert("state".into(), json!(if open { "open" } else { "closed" }));
        }
        if let Some(labels) = change.labels.as_ref().filter(|of| !same(of, &is.labels)) {
            body.insert("labels".into(), json!(labels));
        }
        if let Some(people) = change.assignees.as_ref().filter(|of| !same(of, &is.assignees)) {
            // Whom it cannot assign GitHub passes over in silence.
            for login in people.iter().filter(|login| !is.assignees.contains(login)) {
                self.may_be_assigned(errand, login).await?;
            }
            body.insert("assignees".into(), json!(people));
        }
        if body.is_empty() {
            return Ok(is);
        }
        let path = self.path(&format!("issues/{number}"))?;
        let labels = body.contains_key("labels").then_some(change.labels.as_deref()).flatten();
        let people =
            body.contains_key("assignees").then_some(change.assignees.as_deref()).flatten();
        let answer = self.github.rest(errand, Method::PATCH, &path, Some(&body.into())).await?;
        kept(self.written(errand, answer).await?, labels, people)
    }

    async fn is_completed(&self, call: &Call, id: &str) -> Result<bool, PluginError> {
        let (json, _) = self.find(Errand::background(call), number(id)?).await?;
        Ok(json.state != "open")
    }

    /// That somebody is a member or a collaborator does not tell. A token that may not ask knows nobody.
    async fn is_trusted(&self, call: &Call, issue: &Issue) -> Result<bool, PluginError> {
        let Some(author) = &issue.author else { return Ok(false) };
        let path = self.path(&format!("collaborators/{}/permission", segment(author)))?;
        match self.github.rest(Errand::urgent(call), Method::GET, &path, None).await {
            Ok(answer) => Ok(matches!(answer.body["permission"].as_str(), Some("admin" | "write"))),
            Err(error) if error.is_transient() => Err(error),
            Err(_) => Ok(false),
        }
    }

    async fn comment(&self, call: &Call, id: &str, words: &str) -> Result<(), PluginError> {
        let number = number(id)?;
        let line = hidden(&call.key);
        let errand = Errand::urgent(call);
        let (issue, _) = self.find(errand, number).await?;
        // The oldest come first: ours is on one of the last two pages, if it is there.
        let last = usize::try_from(issue.comments).unwrap_or(usize::MAX).div_ceil(PAGE).max(1);
        for page in last.saturating_sub(1).max(1)..=last {
            let path = format!("issues/{number}/comments?per_page={PAGE}&page={page}");
            let path = self.path(&path)?;
            let answer = self.github.rest(errand, Method::GET, &path, None).await?;
            let said = read::<Vec<Value>>(answer)?;
            let ours = |one: &Value| one["body"].as_str().is_some_and(|b| b.ends_with(&line));
            if said.iter().any(ours) {
                return Ok(());
            }
        }
        let path = self.path(&format!("issues/{number}/comments"))?;
        let body = json!({"body": with_line(words, &line)});
        self.github.rest(errand, Method::POST, &path, Some(&body)).await.map(|_| ())
    }

    fn url(&self, id: &str) -> Option<String> {
        let number = number(id).ok()?;
        Some(format!("https://{}/{}/issues/{number}", self.github.host(), self.repo.as_ref()?))
    }
}

impl Issues {
    /// The path of something of the repository.
    fn path(&self, rest: &str) -> Result<String, PluginError> {
        match &self.repo {
            Some(repo) => Ok(format!("/repos/{repo}/{rest}")),
            None => {
                Err(PluginError::permanent("cannot reach the issues", "no repository is named")
                    .with_remedy(
                        "set `repo: owner/name` of the project in agent-orchestrator.yaml",
                    ))
            }
        }
    }

    /// One issue, and its hidden line or nothing.
    async fn find(&self, errand: Errand, number: u64) -> Result<(Json, String), PluginError> {
        let path = self.path(&format!("issues/{number}"))?;
        let json: Json = read(self.github.rest(errand, Method::GET, &path, None).await?)?;
        let missing = |cause: String| {
            PluginError::new(ErrorKind::NotFound, format!("there is no issue {number}"), cause)
        };
        if json.pull_request.is_some() {
            return Err(missing(format!("#{number} is a pull request")));
        }
        // An issue that was moved is found where it is now, perhaps under the same number; a repository that was renamed is
        // found too.
        if json.number != number || !self.is_here(errand, &json).await? {
            return Err(missing(format!("it was moved to {}", text::one_line(&json.html_url))));
        }
        let line = json.body.as_deref().and_then(line_of).unwrap_or_default().to_owned();
        Ok((json, line))
    }

    /// Whether an issue is one of this repository, whatever that is called by now.
    async fn is_here(&self, errand: Errand, json: &Json) -> Result<bool, PluginError> {
        let name = self.repo.as_deref().unwrap_or_default();
        let place = json.repository_url.to_lowercase();
        if place.ends_with(&format!("/repos/{}", name.to_lowercase())) {
            return Ok(true);
        }
        let path = format!("/repos/{name}");
        let repo = self.github.rest(errand, Method::GET, &path, None).await?.body;
        let now = repo["full_name"].as_str().unwrap_or_default().to_lowercase();
        Ok(place.ends_with(&format!("/repos/{now}")))
    }

    async fn may_be_assigned(&self, errand: Errand, login: &str) -> Result<(), PluginError> {
        let path = self.path(&format!("assignees/{}", segment(login)))?;
        match self.github.rest(errand, Method::GET, &path, None).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind == ErrorKind::NotFound => {
                let login = text::cut(&text::one_line(login), 60);
                let what = format!("`{login}` cannot be assigned");
                Err(PluginError::permanent(what, "GitHub assigns nobody without access")
                    .with_remedy("give them access to the repository, or name another"))
            }
            Err(error) => Err(error),
        }
    }

    /// What a change has made of an issue. It has happened, whatever fails from here on.
    async fn written(&self, errand: Errand, answer: Answer) -> Result<Issue, PluginError> {
        let issue = async { self.issue(errand, read(answer)?).await }.await;
        issue.map_err(|error| PluginError { kind: ErrorKind::InDoubt, ..error })
    }

    /// An issue as the contract has it, its texts harmless and bounded.
    async fn issue(&self, errand: Errand, json: Json) -> Result<Issue, PluginError> {
        let whole = json.body.unwrap_or_default();
        let body =
            text::plain(line_of(&whole).map_or(&*whole, |line| &whole[..whole.len() - line.len()]));
        let mut blocked_by = blockers(&body);
        let dependencies =
            json.issue_dependencies_summary.is_some_and(|of| of.total_blocked_by > 0);
        let parts = json.sub_issues_summary.is_some_and(|of| of.total > 0);
        for (there, list) in [(dependencies, "dependencies/blocked_by"), (parts, "sub_issues")] {
            if there {
                let path = format!("issues/{}/{list}?per_page={PAGE}", json.number);
                let path = self.path(&path)?;
                let answer = self.github.rest(errand, Method::GET, &path, None).await?;
                for other in read::<Vec<Json>>(answer)? {
                    let id = other.number.to_string();
                    // One of another repository is none of this tracker's.
                    if other.repository_url == json.repository_url && !blocked_by.contains(&id) {
                        blocked_by.push(id);
                    }
                }
            }
        }
        Ok(Issue {
            id: json.number.to_string(),
            title: text::cut(&text::one_line(&json.title), 300),
            body: cut_body(body, &json.html_url),
            open: json.state == "open",
            labels: json.labels.iter().filter_map(Label::name).collect(),
            url: Some(text::one_line(&json.html_url)),
            branch: None,
            author: json.user.map(|user| text::one_line(&user.login)),
            assignees: json.assignees.into_iter().flatten().map(|one| one.login).collect(),
            blocked_by,
        })
    }
}

/// An answer's JSON as what it should be.
fn read<T: serde::de::DeserializeOwned>(answer: Answer) -> Result<T, PluginError> {
    serde_json::from_value(answer.body)
        .map_err(|error| PluginError::transient("GitHub's answer cannot be read", error))
}

/// The number that an id is.
fn number(id: &str) -> Result<u64, PluginError> {
    let digits = !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()) && !id.starts_with('0');
    digits.then(|| id.parse().ok()).flatten().ok_or_else(|| {
        let what = format!("`{}` is no issue's id", text::cut(&text::one_line(id), 60));
        PluginError::permanent(what, "on GitHub it is a number")
    })
}

fn title_of(title: &str) -> Result<String, PluginError> {
    let title = text::cut(&text::one_line(title), TITLE_LIMIT);
    if title.trim().is_empty() {
        return Err(PluginError::permanent("an issue needs a title", ""));
    }
    Ok(title)
}

/// The hidden line of a call's key, with what parts it from the text.
fn hidden(key: &str) -> String {
    let digest = Sha256::digest(format!("ao issue {key}"));
    let digest: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("\n\n<!-- ao:{digest} -->")
}

/// The hidden line that a text ends with.
fn line_of(body: &str) -> Option<&str> {
    let line = &body[body.rfind("\n\n<!-- ao:")?..];
    let digest = line.strip_prefix("\n\n<!-- ao:")?.strip_suffix(" -->")?;
    (digest.len() == 32 && digest.bytes().all(|b| b.is_ascii_hexdigit())).then_some(line)
}

/// A text that GitHub takes, with a hidden line.
fn with_line(body: &str, line: &str) -> String {
    let body = match body.char_indices().nth(BODY_LIMIT) {
        Some((end, _)) => &body[..end],
        None => body,
    };
    format!("{body}{line}")
}

/// At most [`BODY_CAP`] bytes, and where the rest is.
fn cut_body(mut body: String, url: &str) -> String {
    if body.len() > BODY_CAP {
        let note = format!("\n\n… the rest is at {}", text::one_line(url));
        body.truncate(body.floor_char_boundary(BODY_CAP.saturating_sub(note.len())));
        body.push_str(&note);
    }
    body
}

/// GitHub knows labels and people however they are spelled.
fn has(all: &[String], one: &str) -> bool {
    all.iter().any(|known| known.eq_ignore_ascii_case(text::one_line(one).trim()))
}

/// The issue, if it has what was asked for: what somebody may not set GitHub passes over in silence.
fn kept(
    issue: Issue,
    labels: Option<&[String]>,
    people: Option<&[String]>,
) -> Result<Issue, PluginError> {
    let lacks = |asked: Option<&[String]>, all: &[String]| {
        asked.is_some_and(|asked| asked.iter().any(|one| !has(all, one)))
            // What was to go has gone.
            || asked.is_some_and(|asked| all.iter().any(|one| !has(asked, one)))
    };
    let what = match (lacks(labels, &issue.labels), lacks(people, &issue.assignees)) {
        (false, false) => return Ok(issue),
        (true, false) => "labels",
        (false, true) => "assignees",
        (true, true) => "labels and assignees",
    };
    let what = format!("the {what} of issue {} are not what they should be", issue.id);
    Err(PluginError::permanent(what, "GitHub leaves them as they are for who may not set them")
        .with_remedy("give the token's account the role Triage or Write in the repository"))
}

/// The same, in whatever order.
fn same(wanted: &[String], known: &[String]) -> bool {
    wanted.len() == known.len() && wanted.iter().all(|one| known.contains(one))
}

#[cfg(test)]
mod tests;
