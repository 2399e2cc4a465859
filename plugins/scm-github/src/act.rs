//! What changes a pull request, or looks at one for somebody who waits. Each begins with where it is now: its repository
//! may have another name, and somebody may have been faster.

use ao_github::{Errand, Method, owner_and_name, repo_path, segment};
use ao_sdk::digest;
use ao_slots::{
    ErrorKind, PluginError, PrNumber,
    call::Answer,
    scm::{CheckState, CreatePr, GiveReview, MergeMethod, PrRef, PrView, Verdict},
    text::{cut, one_line, plain},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Hub, TEXT_CAP, capped,
    graph::{Actor, Context, Oid, Page, Rollup, contexts, login, newest},
    observe::View,
};

/// The most of a diff that is told, in bytes.
const DIFF_CAP: usize = 1 << 20;
/// The most pages of checks.
const PAGES: usize = 20;
/// The vendor's own limits of a title and a text, in characters.
const TITLE: usize = 256;
const BODY: usize = 65_000;

const WHERE: &str = "id number state isDraft headRefOid mergeCommit { oid }
  repository { nameWithOwner squashMergeAllowed mergeCommitAllowed rebaseMergeAllowed }";

/// What to do where a repository does not want it merged like that: «Squash merges are not allowed on this repository.»
const OTHERWISE: &str =
    "ao pr merge --squash, --merge or --rebase, or set the project's `mergeMethod`";

/// Where a pull request is now.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Place {
    id: String,
    number: u64,
    state: String,
    head_ref_oid: String,
    merge_commit: Option<Oid>,
    repository: Home,
    status_check_rollup: Option<Rollup>,
}

/// Its repository, and how that lets pull requests be merged.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Home {
    name_with_owner: String,
    squash_merge_allowed: bool,
    merge_commit_allowed: bool,
    rebase_merge_allowed: bool,
}

impl Home {
    /// The first way that it allows.
    fn method(&self) -> MergeMethod {
        match self {
            Self { squash_merge_allowed: true, .. } => MergeMethod::Squash,
            Self { merge_commit_allowed: true, .. } => MergeMethod::Merge,
            Self { rebase_merge_allowed: true, .. } => MergeMethod::Rebase,
            // It tells why not.
            _ => MergeMethod::Squash,
        }
    }
}

/// The same, read.
#[derive(Debug)]
pub(crate) struct Located {
    pub(crate) id: String,
    pub(crate) repo: String,
    number: u64,
    state: String,
    head: String,
    merged_as: Option<String>,
    /// How its repository wants it merged.
    method: MergeMethod,
}

impl Located {
    fn path(&self) -> Result<String, PluginError> {
        Ok(format!("{}/pulls/{}", repo_path(&self.repo)?, self.number))
    }
}

/// What a human is told beside the facts.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Words {
    id: String,
    number: u64,
    body: String,
    head_ref_name: String,
    author: Option<Actor>,
}

impl Hub {
    async fn place(&self, errand: Errand, pr: &PrRef, more: &str) -> Result<Place, PluginError> {
        let mut value = self.one(errand, pr, &format!("{WHERE} {more}")).await?;
        Place::deserialize(value.take()).map_err(|error| {
            PluginError::transient(format!("cannot look at #{}", pr.number.0), error)
        })
    }

    pub(crate) async fn locate(&self, errand: Errand, pr: &PrRef) -> Result<Located, PluginError> {
        Ok(self.place(errand, pr, "").await?.into())
    }

    /// The id of one.
    pub(crate) async fn id(&self, errand: Errand, pr: &PrRef) -> Result<String, PluginError> {
        match &pr.node {
            Some(node) => Ok(node.clone()),
            None => Ok(self.locate(errand, pr).await?.id),
        }
    }

    /// Fields of one pull request; all of them, or an error.
    async fn one(&self, errand: Errand, pr: &PrRef, fields: &str) -> Result<Value, PluginError> {
        let (document, variables) = match &pr.node {
            Some(node) => (
                format!(
                    "query($id: ID!) {{ rateLimit {{ cost }} pr: node(id: $id) {{ ... on PullRequest {{ {fields} }} }} }}"
                ),
                json!({"id": node}),
            ),
            None => {
                let (owner, name) = owner_and_name(&pr.repo)?;
                let number = pr.number.0;
                (
                    format!(
                        "query($owner: String!, $name: String!) {{ rateLimit {{ cost }} pr: repository(owner: $owner, name: $name) {{ pullRequest(number: {number}) {{ {fields} }} }} }}"
                    ),
                    json!({"owner": owner, "name": name}),
                )
            }
        };
        let mut graph = self.github.graphql(errand, &document, &variables).await?;
        let what = || format!("cannot look at #{} of {}", pr.number.0, one_line(&pr.repo));
        if let Some(error) = graph.errors.first() {
            let cause = cut(&one_line(&error.message), 300);
            return Err(match error.kind.as_str() {
                "NOT_FOUND" => PluginError::new(ErrorKind::NotFound, what(), cause),
                "FORBIDDEN" => PluginError::permanent(what(), cause),
                _ => PluginError::transient(what(), cause),
            });
        }
        let mut value = graph.data["pr"].take();
        if pr.node.is_none() {
            value = value["pullRequest"].take();
        }
        if value["number"].as_u64().is_some_and(|number| number != pr.number.0) {
            return Err(PluginError::new(ErrorKind::NotFound, what(), "its id is of another one"));
        }
        Ok(value)
    }

    /// Where it is, and the checks of its head that count.
    pub(crate) async fn checks(
        &self,
        errand: Errand,
        pr: &PrRef,
    ) -> Result<(Located, Vec<Context>), PluginError> {
        let (mut all, mut after, mut head) = (Vec::new(), None::<String>, None::<String>);
        let what = || format!("cannot read the checks of #{}", pr.number.0);
        for _ in 0..PAGES {
            let more = contexts(pr.number.0, after.as_deref());
            let mut place = self.place(errand, pr, &more).await?;
            // Pages of two heads are no list.
            if head.as_ref().is_some_and(|head| *head != place.head_ref_oid) {
                return Err(PluginError::transient(what(), "its head moved meanwhile"));
            }
            let page: Option<Page<Context>> =
                place.status_check_rollup.take().and_then(|rollup| rollup.contexts);
            after = page.as_ref().and_then(Page::next);
            if let Some(page) = page {
                let nodes = page.nodes();
                all.extend(
                    nodes.ok_or_else(|| PluginError::transient(what(), "a part is missing"))?,
                );
            }
            if after.is_none() {
                return Ok((place.into(), newest(all)));
            }
            head = Some(place.head_ref_oid);
        }
        Err(PluginError::transient(what(), "it has more pages than are read"))
    }

    /// The facts of one.
    async fn view(&self, errand: Errand, pr: &PrRef) -> Result<View, PluginError> {
        let what = || format!("cannot look at #{} of {}", pr.number.0, one_line(&pr.repo));
        match self.look(errand, std::slice::from_ref(pr)).await?.pop() {
            Some(Answer::Yes(view)) => Ok(view),
            Some(Answer::No) => Err(PluginError::new(ErrorKind::NotFound, what(), "")),
            Some(Answer::Unknown(why)) => Err(PluginError::transient(what(), why)),
            None => Err(PluginError::transient(what(), "no answer")),
        }
    }

    pub(crate) async fn shown(&self, errand: Errand, pr: &PrRef) -> Result<PrView, PluginError> {
        let fields = "id number body headRefName author { __typename login }";
        let words = self.one(errand, pr, fields).await?;
        let words = Words::deserialize(words).map_err(|error| {
            PluginError::transient(format!("cannot look at #{}", pr.number.0), error)
        })?;
        let view = self.view(errand, pr).await?;
        let threads = self.discussion(errand, &view.pr).await?;
        Ok(PrView { threads, ..words.with(view) })
    }

    /// The open ones of a repository, or all, without their threads: those are asked for one by one.
    pub(crate) async fn listed(
        &self,
        errand: Errand,
        repo: &str,
        all: bool,
    ) -> Result<Vec<PrView>, PluginError> {
        let (owner, name) = owner_and_name(repo)?;
        let states = if all { "" } else { "states: [OPEN], " };
        let document = format!(
            "query($owner: String!, $name: String!) {{ rateLimit {{ cost }} repository(owner: $owner, name: $name) {{
  nameWithOwner pullRequests({states}first: 100, orderBy: {{field: CREATED_AT, direction: DESC}}) {{
    pageInfo {{ hasNextPage endCursor }} nodes {{ id number body headRefName author {{ __typename login }} }} }} }} }}"
        );
        let variables = json!({"owner": owner, "name": name});
        let mut graph = self.github.graphql(errand, &document, &variables).await?;
        let what = || format!("cannot list the pull requests of {}", one_line(repo));
        if let Some(error) = graph.errors.first() {
            let cause = cut(&one_line(&error.message), 300);
            return Err(match error.kind.as_str() {
                "NOT_FOUND" => PluginError::new(ErrorKind::NotFound, what(), cause),
                _ => PluginError::transient(what(), cause),
            });
        }
        let home = &mut graph.data["repository"];
        let name = home["nameWithOwner"].as_str().unwrap_or(repo).to_owned();
        let page = Page::<Words>::deserialize(home["pullRequests"].take()).ok();
        let words = page.and_then(Page::nodes);
        let words = words.ok_or_else(|| PluginError::transient(what(), "a part is missing"))?;
        let pr = |words: &Words| PrRef {
            repo: name.clone(),
            number: PrNumber(words.number),
            node: Some(words.id.clone()),
        };
        let prs: Vec<PrRef> = words.iter().map(pr).collect();
        let views = self.look(errand, &prs).await?;
        let mut list = Vec::with_capacity(prs.len());
        for (words, view) in words.into_iter().zip(views) {
            match view {
                Answer::Yes(view) => list.push(words.with(view)),
                Answer::No => {}
                Answer::Unknown(why) => return Err(PluginError::transient(what(), why)),
            }
        }
        Ok(list)
    }

    pub(crate) async fn changes(&self, errand: Errand, pr: &PrRef) -> Result<String, PluginError> {
        let path = self.locate(errand, pr).await?.path()?;
        let diff = self.github.text(errand, &path, "application/vnd.github.diff").await?;
        Ok(capped(&diff, DIFF_CAP))
    }

    /// The one with the call's mark, else the open one of the branch, else a new one. A draft that is no longer wanted as
    /// one is made ready.
    pub(crate) async fn open(
        &self,
        errand: Errand,
        key: &str,
        request: &CreatePr,
    ) -> Result<PrRef, PluginError> {
        let mark = format!("<!-- ao:{} -->", digest(key, 16));
        if let Some(known) = self.opened(errand, &mark, request).await? {
            return self.as_wanted(errand, known, request).await;
        }
        let body = cut(&plain(&request.body), BODY);
        let body = json!({
            "title": cut(&one_line(&request.title), TITLE),
            "body": format!("{body}\n\n{mark}").trim_start(),
            "head": request.head,
            "base": request.base,
            "draft": request.draft,
        });
        let path = format!("{}/pulls", repo_path(&request.repo)?);
        let made = self.github.rest(errand, Method::POST, &path, Some(&body)).await;
        match made {
            Ok(answer) => reference(&answer.body).ok_or_else(|| {
                PluginError::in_doubt("cannot read which pull request was opened", "")
            }),
            // Somebody was faster, or an earlier attempt went through after all.
            Err(error) if error.cause.contains("already exists") => {
                let known = self.opened(errand, &mark, request).await?;
                let known = known.ok_or(PluginError { kind: ErrorKind::Transient, ..error })?;
                self.as_wanted(errand, known, request).await
            }
            Err(error)
                if error.kind == ErrorKind::Permanent && error.cause.contains("No commits") =>
            {
                Err(PluginError { kind: ErrorKind::Refused, ..error }
                    .with_remedy("commit and push the work first"))
            }
            Err(error) => Err(error),
        }
    }

    /// One that is there already, and whether it is a draft.
    async fn opened(
        &self,
        errand: Errand,
        mark: &str,
        request: &CreatePr,
    ) -> Result<Option<(PrRef, bool)>, PluginError> {
        let (owner, _) = owner_and_name(&request.repo)?;
        let head = match request.head.contains(':') {
            true => request.head.clone(),
            false => format!("{owner}:{}", request.head),
        };
        let path = format!(
            "{}/pulls?head={}&state=all&sort=created&direction=desc&per_page=50",
            repo_path(&request.repo)?,
            segment(&head)
        );
        let answer = self.github.rest(errand, Method::GET, &path, None).await?;
        let Some(all) = answer.body.as_array() else {
            let what = format!("cannot see the pull requests of `{}`", one_line(&head));
            return Err(PluginError::transient(what, "the answer is no list"));
        };
        let is_marked = |one: &&Value| one["body"].as_str().is_some_and(|body| body.contains(mark));
        let is_open = |one: &&Value| one["state"] == "open" && one["base"]["ref"] == request.base;
        let known = all.iter().find(is_marked).or_else(|| all.iter().find(is_open));
        let is_draft = |one: &Value| one["state"] == "open" && one["draft"] == true;
        Ok(known.and_then(|one| Some((reference(one)?, is_draft(one)))))
    }

    /// One that is there already, made ready where it is a draft and none was asked for. REST cannot.
    async fn as_wanted(
        &self,
        errand: Errand,
        (pr, is_draft): (PrRef, bool),
        request: &CreatePr,
    ) -> Result<PrRef, PluginError> {
        if is_draft && !request.draft {
            let document = "mutation($id: ID!) {
  markPullRequestReadyForReview(input: {pullRequestId: $id}) { clientMutationId } }";
            let graph = self.github.graphql(errand, document, &json!({"id": pr.node})).await?;
            graph.done(&format!("#{} is a draft still", pr.number.0))?;
        }
        Ok(pr)
    }

    pub(crate) async fn merged(
        &self,
        errand: Errand,
        pr: &PrRef,
        expected: &str,
        method: Option<MergeMethod>,
    ) -> Result<String, PluginError> {
        let located = self.locate(errand, pr).await?;
        if let Some(commit) = settled(&located, expected)? {
            return Ok(commit);
        }
        let method = word(method.unwrap_or(located.method));
        let body = json!({"sha": expected, "merge_method": method});
        let path = format!("{}/merge", located.path()?);
        match self.github.rest(errand, Method::PUT, &path, Some(&body)).await {
            Ok(answer) => match answer.body["sha"].as_str() {
                Some(sha) => Ok(sha.to_owned()),
                None => Err(PluginError::in_doubt("cannot read which commit merged it", "")),
            },
            Err(error) if error.kind == ErrorKind::Refused => {
                // It says the same of what somebody has merged meanwhile.
                let now = self.locate(errand, pr).await?;
                if let Some(commit) = settled(&now, expected)? {
                    return Ok(commit);
                }
                let passes = error.cause.contains("Base branch was modified");
                let kind = if passes { ErrorKind::Transient } else { ErrorKind::Refused };
                let what = format!("#{} was not merged", pr.number.0);
                let error = PluginError { kind, what, ..error };
                Err(match error.cause.contains("erges are not allowed") {
                    true => error.with_remedy(OTHERWISE),
                    false => error,
                })
            }
            Err(error) => Err(error),
        }
    }

    /// Closes it, or opens it again.
    pub(crate) async fn set_open(
        &self,
        errand: Errand,
        pr: &PrRef,
        open: bool,
    ) -> Result<(), PluginError> {
        let located = self.locate(errand, pr).await?;
        match located.state.as_str() {
            "MERGED" => {
                let what = format!(
                    "#{} cannot be {}",
                    pr.number.0,
                    if open { "reopened" } else { "closed" }
                );
                return Err(PluginError::new(ErrorKind::Refused, what, "it is merged"));
            }
            state if (state == "OPEN") == open => return Ok(()),
            _ => {}
        }
        let body = json!({"state": if open { "open" } else { "closed" }});
        let path = located.path()?;
        self.github.rest(errand, Method::PATCH, &path, Some(&body)).await.map(drop)
    }

    pub(crate) async fn reviewed(
        &self,
        errand: Errand,
        pr: &PrRef,
        review: &GiveReview,
    ) -> Result<(), PluginError> {
        let located = self.locate(errand, pr).await?;
        let head = review.head.as_deref().unwrap_or(&located.head);
        if head != located.head {
            let what = format!("#{} was not reviewed", pr.number.0);
            return Err(PluginError::new(ErrorKind::Refused, what, "its head moved"));
        }
        let event = match review.verdict {
            Verdict::Approve => "APPROVE",
            Verdict::RequestChanges => "REQUEST_CHANGES",
            Verdict::Comment => "COMMENT",
        };
        let mut body = json!({"commit_id": head, "event": event});
        let text = cut(&plain(&review.text), BODY);
        match &review.at {
            Some((path, line)) => {
                body["comments"] =
                    json!([{"path": path, "line": line, "side": "RIGHT", "body": text}]);
            }
            None => body["body"] = json!(text),
        }
        let path = format!("{}/reviews", located.path()?);
        self.github.rest(errand, Method::POST, &path, Some(&body)).await.map(drop)
    }

    pub(crate) async fn run_again(
        &self,
        errand: Errand,
        pr: &PrRef,
        check: Option<&str>,
    ) -> Result<(), PluginError> {
        let (located, contexts) = self.checks(errand, pr).await?;
        let repo = repo_path(&located.repo)?;
        let (mut paths, mut others) = (std::collections::BTreeSet::new(), None);
        for context in &contexts {
            let wanted = match check {
                Some(name) => one_line(context.name()) == name,
                None => context.state() == CheckState::Failed,
            };
            if !wanted {
                continue;
            }
            match (context.id(), context.run()) {
                (_, Some(run)) if check.is_none() => {
                    paths.insert(format!("{repo}/actions/runs/{run}/rerun-failed-jobs"));
                }
                (Some(id), Some(_)) => {
                    paths.insert(format!("{repo}/actions/jobs/{id}/rerun"));
                }
                (Some(id), None) => {
                    paths.insert(format!("{repo}/check-runs/{id}/rerequest"));
                }
                (None, _) => others = Some(one_line(context.name())),
            }
        }
        if paths.is_empty() {
            let number = pr.number.0;
            return Err(match (others, check) {
                (Some(name), _) => PluginError::unsupported(format!(
                    "`{name}` is a commit status, which GitHub cannot have run again"
                )),
                (None, Some(name)) => {
                    let what = format!("#{number} has no check `{}`", one_line(name));
                    PluginError::new(ErrorKind::NotFound, what, "")
                }
                (None, None) => {
                    let what = format!("no check of #{number} has failed");
                    PluginError::new(ErrorKind::NotFound, what, "")
                }
            });
        }
        for path in paths {
            match self.github.rest(errand, Method::POST, &path, None).await {
                // It runs already, which is what was wanted.
                Err(error) if error.cause.contains("already running") => {}
                answer => drop(answer?),
            }
        }
        Ok(())
    }
}

impl From<Place> for Located {
    fn from(place: Place) -> Self {
        Self {
            id: place.id,
            method: place.repository.method(),
            repo: place.repository.name_with_owner,
            number: place.number,
            state: place.state,
            head: place.head_ref_oid,
            merged_as: place.merge_commit.map(|commit| commit.oid),
        }
    }
}

impl Words {
    fn with(self, view: View) -> PrView {
        PrView {
            pr: view.pr,
            facts: view.facts,
            body: capped(&plain(&self.body), TEXT_CAP),
            branch: one_line(&self.head_ref_name),
            author: self.author.as_ref().map(|author| login(Some(author))),
            checks: view.checks,
            threads: Vec::new(),
        }
    }
}

/// The commit where it is merged at the expected head, none where it may be merged at it; else a refusal.
fn settled(located: &Located, expected: &str) -> Result<Option<String>, PluginError> {
    let refused = |cause: &str| {
        let what = format!("#{} was not merged", located.number);
        Err(PluginError::new(ErrorKind::Refused, what, cause))
    };
    let is_expected = located.head == expected;
    match (located.state.as_str(), &located.merged_as) {
        ("MERGED", Some(commit)) if is_expected => Ok(Some(commit.clone())),
        ("MERGED", None) if is_expected => {
            Err(PluginError::in_doubt("it is merged", "GitHub does not say as which commit"))
        }
        ("MERGED", _) => refused("it is merged already, at another head"),
        ("CLOSED", _) => refused("it is closed"),
        _ if !is_expected => refused("its head moved"),
        _ => Ok(None),
    }
}

fn word(method: MergeMethod) -> &'static str {
    match method {
        MergeMethod::Merge => "merge",
        MergeMethod::Squash => "squash",
        MergeMethod::Rebase => "rebase",
    }
}

/// A pull request of REST.
fn reference(one: &Value) -> Option<PrRef> {
    Some(PrRef {
        repo: one["base"]["repo"]["full_name"].as_str()?.to_owned(),
        number: PrNumber(one["number"].as_u64()?),
        node: Some(one["node_id"].as_str()?.to_owned()),
    })
}
