//! GitHub: its GraphQL and REST APIs over repositories in memory, and hands to change them.
//!
//! Every GraphQL document is validated against the schema of `@octokit/graphql-schema`, every REST request and answer
//! against the description of `@octokit/openapi`; `scripts/github-excerpt` cuts from both what is used here. Requests
//! are counted by «Rate limits for the REST API» and «Rate limits and query limits for the GraphQL API»: GraphQL by the
//! declared size of its connections, a 304 not at all, both with their secondary limits. What the excerpt has not, or
//! the fake has no answer to, is refused: a field with an error of the type `FAKE`, a route with 501.
//!
//! People: [`TOKEN`] is that of `ana`, who owns everything; `ben` is a member who may write; whoever else is nobody. A new pull
//! request, a moved head and a moved base have `mergeable: UNKNOWN` at the first look, as they do there.

mod graph;
mod hooks;
mod openapi;
mod rest;
#[cfg(test)]
mod tests;
mod world;

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::{Request as Incoming, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use url::form_urlencoded;

use self::{
    graph::{Left, Query},
    openapi::Operation,
    rest::{Asked, Reply},
    world::World,
};
pub use self::{
    hooks::Delivery,
    world::{By, Check, Comment, Commit, Issue, Pull, Repo, Review, Rule, Status, Suite, Thread},
};
use crate::host::Host;

/// The token of `ana`.
pub const TOKEN: &str = "ghp_AcmeHush0000000000000000000000000000";

/// How long the primary limits' window is.
const WINDOW: u64 = 3600;
/// What may be spent in one, of either kind.
const LIMIT: u64 = 5000;
/// The secondary limits of a minute: points of REST, points of GraphQL, what is made.
const MINUTE: [u64; 3] = [900, 2000, 80];
/// How many requests may be under way at once.
const AT_ONCE: u64 = 100;

/// How it behaves to whoever asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mood {
    /// As it should.
    Well,
    /// Takes what comes and never answers.
    Silent,
    /// Answers after so long.
    Slow(Duration),
    /// Answers this status with a JSON message.
    Status(u16),
    /// Answers this status with a page of HTML, as a proxy does.
    Html(u16),
    /// Answers the first half of what it should.
    Truncated,
    /// 403 for a secondary limit, with a `Retry-After` of so many seconds or none.
    Secondary(Option<u64>),
    /// 429, with a `Retry-After` of so many seconds.
    TooMany(u64),
    /// 200 for a limit of GraphQL, which answers neither what was asked nor how much is left.
    Limited,
    /// 200 for a secondary limit of GraphQL, with a message and a `Retry-After` of so many seconds or none.
    SecondaryOk(Option<u64>),
    /// GraphQL runs out of time, with 502, where more than so many nodes are asked for.
    Heavy(u64),
    /// GraphQL answers without this field or alias of the root, and says that something went wrong.
    Partial(String),
    /// What it should do it does; then it cuts the connection without an answer.
    Cut,
}

/// What was spent so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spent {
    /// GraphQL, in points.
    pub points: u64,
    /// Requests to GraphQL.
    pub graphql: u64,
    /// Requests to REST that count.
    pub rest: u64,
    /// Requests to REST that were answered 304, which do not count.
    pub not_modified: u64,
}

/// One request as it came, and what came of it.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`.
    pub method: String,
    /// Path and query, without the prefix of an Enterprise server.
    pub path: String,
    /// Its JSON; null where there is none.
    pub body: Value,
    /// The answer's status; 0 for none.
    pub status: u16,
    /// What it cost of its primary limit.
    pub cost: u64,
}

/// The service. Gone when it is dropped.
#[derive(Debug)]
pub struct GitHub {
    host: Host,
    far: Arc<Mutex<Far>>,
}

#[derive(Debug)]
struct Far {
    world: World,
    mood: Mood,
    /// How the next requests are met before the mood.
    moods: VecDeque<Mood>,
    spent: Spent,
    requests: Vec<Request>,
    /// Of REST and of GraphQL: what is left, and when it is whole again, in seconds since 1970.
    left: [(u64, u64); 2],
    /// When how much was spent of which secondary limit.
    minute: VecDeque<(Instant, usize, u64)>,
    under_way: u64,
    secondary: bool,
    app: Option<Registered>,
    /// The tokens of its installation, and until when each is good, in seconds since 1970.
    issued: BTreeMap<String, u64>,
}

/// An App.
#[derive(Debug)]
struct Registered {
    id: String,
    installation: u64,
    key: Vec<u8>,
    /// How long its tokens are good, in seconds.
    good_for: u64,
}

impl GitHub {
    /// Starts one without a repository.
    pub fn start() -> io::Result<Self> {
        let reset = now() + WINDOW;
        let far = Arc::new(Mutex::new(Far {
            world: World::new(),
            mood: Mood::Well,
            moods: VecDeque::new(),
            spent: Spent::default(),
            requests: Vec::new(),
            left: [(LIMIT, reset); 2],
            minute: VecDeque::new(),
            under_way: 0,
            secondary: true,
            app: None,
            issued: BTreeMap::new(),
        }));
        let router = Router::new().fallback(serve).with_state(far.clone());
        Ok(Self { host: Host::start(router)?, far })
    }

    /// Where it is as `api.github.com` is: REST at the root, GraphQL at `/graphql`.
    pub fn url(&self) -> String {
        format!("http://{}", self.host.address())
    }

    /// Where it is as an Enterprise server is: REST here, GraphQL at `/api/graphql`.
    pub fn enterprise_url(&self) -> String {
        format!("{}/api/v3", self.url())
    }

    /// Behaves like this from now on.
    pub fn behave(&self, mood: Mood) {
        self.far().mood = mood;
    }

    /// Meets the next `count` requests like this.
    pub fn behave_next(&self, count: usize, mood: Mood) {
        self.far().moods.extend(std::iter::repeat_n(mood, count));
    }

    /// Cuts every connection; nobody listens there any more.
    pub fn away(&self) {
        self.host.away();
    }

    /// Is there again, with what it has kept.
    pub fn back(&self) -> io::Result<()> {
        self.host.back()
    }

    /// What is left of `core` or `graphql` until it is whole again, in so many seconds.
    pub fn drain(&self, resource: &str, remaining: u64, seconds: u64) {
        self.far().left[usize::from(resource == "graphql")] = (remaining, now() + seconds);
    }

    /// Forgets the secondary limits, for those who test an hour in a second.
    pub fn without_secondary_limits(&self) {
        self.far().secondary = false;
    }

    /// What was spent so far.
    pub fn spent(&self) -> Spent {
        self.far().spent
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.far().requests.clone()
    }

    /// Stops the clock: whatever changes from now on has one time, as within one second there.
    pub fn freeze(&self) {
        self.far().world.frozen = true;
    }

    /// Lets time pass.
    pub fn pass(&self, seconds: i64) {
        self.far().world.pass(seconds);
    }

    /// Registers an App with an installation and a public key, DER of PKCS#1; its tokens are good for so many seconds.
    pub fn app(&self, id: &str, installation: u64, key: &[u8], good_for: u64) {
        let (id, key) = (id.to_owned(), key.to_vec());
        self.far().app = Some(Registered { id, installation, key, good_for });
    }

    /// Makes a repository with one commit on `main`.
    pub fn repository(&self, name: &str) -> u64 {
        self.far().world.add_repo(name, None)
    }

    /// Makes a fork.
    pub fn fork(&self, of: &str, name: &str) -> u64 {
        let mut far = self.far();
        let parent = far.world.repo_id(of);
        far.world.add_repo(name, Some(parent))
    }

    /// Gives a repository another name; the former one leads to it.
    pub fn rename(&self, from: &str, to: &str) {
        let mut far = self.far();
        let id = far.world.repo_id(from);
        let repo = far.world.repo_mut(id);
        repo.former.push(repo.full_name());
        let (owner, name) = to.split_once('/').unwrap_or((to, to));
        (repo.owner, repo.name) = (owner.to_owned(), name.to_owned());
    }

    /// Changes a repository.
    pub fn change_repo(&self, name: &str, change: impl FnOnce(&mut Repo)) {
        let mut far = self.far();
        let id = far.world.repo_id(name);
        change(far.world.repo_mut(id));
    }

    /// A commit on a branch, which is made from `main` where it is not there; returns its name. Pull requests follow.
    pub fn push(&self, repo: &str, branch: &str) -> String {
        let mut far = self.far();
        let world = &mut far.world;
        let id = world.repo_id(repo);
        let branches = &world.repo_at(id).branches;
        let parent = branches.get(branch).or(branches.get("main")).cloned();
        let sha = world.commit(&format!("work on {branch}"), parent);
        world.set_branch(id, branch, &sha);
        sha
    }

    /// A commit instead of those on a branch.
    pub fn force_push(&self, repo: &str, branch: &str) -> String {
        let mut far = self.far();
        let world = &mut far.world;
        let id = world.repo_id(repo);
        let parent = world.repo_at(id).branches.get("main").cloned();
        let sha = world.commit(&format!("work on {branch}, again"), parent);
        world.set_branch(id, branch, &sha);
        sha
    }

    /// Removes a branch.
    pub fn delete_branch(&self, repo: &str, branch: &str) {
        let mut far = self.far();
        let id = far.world.repo_id(repo);
        far.world.repo_mut(id).branches.remove(branch);
    }

    /// The head of a branch.
    pub fn head(&self, repo: &str, branch: &str) -> Option<String> {
        self.far().world.repo(repo)?.branches.get(branch).cloned()
    }

    /// `ana` opens a pull request from a branch into `main`; returns its number.
    ///
    /// # Panics
    /// If the service would refuse it.
    pub fn open(&self, repo: &str, branch: &str) -> u64 {
        self.open_from(repo, repo, branch, By::person("ana"))
    }

    /// Somebody opens a pull request from a branch of another repository.
    ///
    /// # Panics
    /// If the service would refuse it.
    pub fn open_from(&self, repo: &str, from: &str, branch: &str, by: By) -> u64 {
        let mut far = self.far();
        let world = &mut far.world;
        let (id, head) = (world.repo_id(repo), world.repo_id(from));
        let title = format!("Work on {branch}");
        world
            .add_pull(id, (head, branch), "main", (&title, "", false), by)
            .unwrap_or_else(|refused| panic!("cannot open a pull request: {refused:?}"))
    }

    /// Changes an issue or a pull request.
    pub fn change(&self, repo: &str, number: u64, change: impl FnOnce(&mut Issue)) {
        self.at(repo, number, |world, at| {
            change(world.issue_mut(at.0, at.1));
            world.touch(at.0, at.1);
        });
    }

    /// Changes what makes an issue a pull request.
    pub fn change_pull(&self, repo: &str, number: u64, change: impl FnOnce(&mut Pull)) {
        self.at(repo, number, |world, at| {
            change(world.pull_mut(at.0, at.1));
            world.touch(at.0, at.1);
        });
    }

    /// Says that it is not known whether a pull request merges, so many times.
    pub fn unknown_mergeable(&self, repo: &str, number: u64, times: u32) {
        self.at(repo, number, |world, at| world.pull_mut(at.0, at.1).unknown = times);
    }

    /// An issue or a pull request as it is now.
    pub fn issue_at(&self, repo: &str, number: u64) -> Option<Issue> {
        let far = self.far();
        let id = far.world.repo(repo)?.id;
        far.world.issue(id, number).cloned()
    }

    /// Somebody closes it.
    pub fn close(&self, repo: &str, number: u64, by: By) {
        self.at(repo, number, |world, at| world.set_open(at.0, at.1, false, by));
    }

    /// Opens it again.
    pub fn reopen(&self, repo: &str, number: u64) {
        let by = By::person("ana");
        self.at(repo, number, |world, at| world.set_open(at.0, at.1, true, by));
    }

    /// Somebody merges it, whatever the rules say.
    ///
    /// # Panics
    /// If it cannot be merged.
    pub fn merge(&self, repo: &str, number: u64, by: By) -> String {
        self.at(repo, number, |world, at| {
            let base = world.pull_mut(at.0, at.1).base.clone();
            let rule = world.repo_mut(at.0).rules.remove(&base);
            let merged = world.merge(at.0, at.1, None, "MERGE", by);
            if let Some(rule) = rule {
                world.repo_mut(at.0).rules.insert(base, rule);
            }
            merged.unwrap_or_else(|refused| panic!("cannot merge #{number}: {refused:?}"))
        })
    }

    /// Gives a review: `APPROVED`, `CHANGES_REQUESTED`, `COMMENTED`. Returns its node id.
    pub fn review(
        &self,
        repo: &str,
        number: u64,
        by: By,
        state: &'static str,
        body: &str,
    ) -> String {
        let id = self.at(repo, number, |world, at| world.add_review(at, by, state, body));
        format!("PRR_{id}")
    }

    /// Begins a review that is not given yet: its author alone sees it. Returns its node id.
    pub fn draft(&self, repo: &str, number: u64, by: By, body: &str) -> String {
        self.review(repo, number, by, "PENDING", body)
    }

    /// A comment of a review that is not given yet: in a thread, else at the first line of `src/a.rs`. Returns the
    /// thread.
    ///
    /// # Panics
    /// If there is no such review.
    pub fn draft_comment(&self, review: &str, thread: Option<&str>, body: &str) -> String {
        let mut far = self.far();
        let world = &mut far.world;
        let Some(Review { id, pr, by, .. }) = world.review(review).cloned() else {
            panic!("the fake has no review {review}");
        };
        match thread {
            Some(thread) => {
                let number = thread.trim_start_matches("PRRT_").parse().unwrap_or_default();
                world.add_reply(number, Some(id), by, body);
                thread.to_owned()
            }
            None => format!("PRRT_{}", world.add_thread(pr, by, ("src/a.rs", 1), Some(id), body)),
        }
    }

    /// Gives a review that was begun.
    pub fn submit(&self, review: &str, state: &'static str) {
        let mut far = self.far();
        let id = far.world.review(review).map(|review| review.id);
        if let Some(found) = far.world.reviews.iter_mut().find(|known| Some(known.id) == id) {
            found.state = state;
        }
        far.world.reviewed(id.unwrap_or_default());
    }

    /// Hides every comment of a thread, as spam is.
    pub fn hide(&self, thread: &str) {
        let mut far = self.far();
        let comments = far.world.comments.iter_mut();
        for comment in comments {
            let of = comment.thread.map(|id| format!("PRRT_{id}"));
            comment.minimized |= of.as_deref() == Some(thread);
        }
    }

    /// Dismisses a review.
    pub fn dismiss(&self, review: &str) {
        let mut far = self.far();
        let found =
            far.world.reviews.iter_mut().find(|known| format!("PRR_{}", known.id) == review);
        if let Some(review) = found {
            review.state = "DISMISSED";
            let (repo, number) = review.pr;
            far.world.touch(repo, number);
        }
    }

    /// Asks somebody for a review.
    pub fn request_review(&self, repo: &str, number: u64, login: &str) {
        self.change_pull(repo, number, |pull| pull.requested.push(login.to_owned()));
    }

    /// Begins a thread at a line; returns its node id.
    pub fn thread(
        &self,
        repo: &str,
        number: u64,
        by: By,
        path: &str,
        line: u64,
        body: &str,
    ) -> String {
        let id =
            self.at(repo, number, |world, at| world.add_thread(at, by, (path, line), None, body));
        format!("PRRT_{id}")
    }

    /// Goes on in a thread.
    pub fn reply(&self, thread: &str, by: By, body: &str) {
        let mut far = self.far();
        let found = far.world.threads.iter().find(|known| format!("PRRT_{}", known.id) == thread);
        if let Some(id) = found.map(|thread| thread.id) {
            far.world.add_reply(id, None, by, body);
        }
    }

    /// Edits what a thread begins with in place, which leaves the pull request's own date as it is.
    pub fn reword(&self, thread: &str, body: &str) {
        let mut far = self.far();
        let at = far.world.now();
        if let Some(review) =
            far.world.reviews.iter_mut().find(|one| format!("PRR_{}", one.id) == thread)
        {
            body.clone_into(&mut review.body);
        }
        let of = |id: u64| format!("PRRT_{id}") == thread;
        let mut comments = far.world.comments.iter_mut();
        if let Some(first) = comments.find(|comment| comment.thread.is_some_and(of)) {
            body.clone_into(&mut first.body);
            first.at = at;
        }
    }

    /// Changes a thread: resolved, outdated.
    pub fn change_thread(&self, thread: &str, change: impl FnOnce(&mut Thread)) {
        let mut far = self.far();
        let found =
            far.world.threads.iter_mut().find(|known| format!("PRRT_{}", known.id) == thread);
        if let Some(thread) = found {
            change(thread);
            let (repo, number) = thread.pr;
            far.world.touch(repo, number);
        }
    }

    /// Says something below an issue or a pull request.
    pub fn comment(&self, repo: &str, number: u64, by: By, body: &str) -> u64 {
        self.at(repo, number, |world, at| world.add_comment(at, by, body))
    }

    /// What was said below an issue or a pull request, and in its threads.
    pub fn comments(&self, repo: &str, number: u64) -> Vec<Comment> {
        self.at(repo, number, |world, at| {
            world.comments.iter().filter(|comment| comment.on == at).cloned().collect()
        })
    }

    /// The reviews of a pull request.
    pub fn reviews(&self, repo: &str, number: u64) -> Vec<Review> {
        self.at(repo, number, |world, at| {
            world.reviews.iter().filter(|review| review.pr == at).cloned().collect()
        })
    }

    /// A check of a commit by `github-actions`, with a job and a log: begins with none, ends with a conclusion
    /// (`SUCCESS`, `FAILURE`, `CANCELLED`, `TIMED_OUT`, `SKIPPED`, `NEUTRAL` …), and begins anew after it has ended.
    /// Returns its number.
    pub fn check(
        &self,
        repo: &str,
        sha: &str,
        name: &str,
        conclusion: Option<&'static str>,
    ) -> u64 {
        self.check_by(repo, sha, name, "github-actions", conclusion)
    }

    /// The same by another app, which has no jobs.
    pub fn check_by(
        &self,
        repo: &str,
        sha: &str,
        name: &str,
        app: &str,
        conclusion: Option<&'static str>,
    ) -> u64 {
        let mut far = self.far();
        let id = far.world.repo_id(repo);
        let suite = far.world.suite_of(id, sha, app);
        let check = far.world.add_check(suite, name, conclusion);
        far.world.settle();
        check
    }

    /// A run of a workflow of `github-actions` on a commit, beside those there are: what is checked from now on is a part
    /// of it. Returns its number.
    pub fn run(&self, repo: &str, sha: &str, workflow: &str, event: &str) -> u64 {
        let mut far = self.far();
        let id = far.world.repo_id(repo);
        far.world.add_suite(id, sha, "github-actions", (workflow, event))
    }

    /// A check of a run, as [`check`](Self::check).
    pub fn check_in(&self, run: u64, name: &str, conclusion: Option<&'static str>) -> u64 {
        let mut far = self.far();
        let check = far.world.add_check(run, name, conclusion);
        far.world.settle();
        check
    }

    /// Changes a check: its log, steps, annotations, title.
    ///
    /// # Panics
    /// If there is none.
    pub fn change_check(&self, id: u64, change: impl FnOnce(&mut Check)) {
        let mut far = self.far();
        match far.world.checks.iter_mut().find(|check| check.id == id) {
            Some(check) => change(check),
            None => panic!("the fake has no check {id}"),
        }
    }

    /// A commit status: `SUCCESS`, `PENDING`, `FAILURE`, `ERROR`.
    pub fn status(
        &self,
        repo: &str,
        sha: &str,
        context: &str,
        state: &'static str,
        description: &str,
    ) {
        let mut far = self.far();
        let world = &mut far.world;
        let (id, at, repo) = (world.number(), world.now(), world.repo_id(repo));
        let (sha, context) = (sha.to_owned(), context.to_owned());
        let description = description.to_owned();
        world.add_status(Status { id, repo, sha, context, state, description, at });
        world.settle();
    }

    /// Sets the rule of a branch.
    pub fn require(&self, repo: &str, branch: &str, checks: &[&str], approvals: u64) {
        let checks = checks.iter().map(|&name| name.to_owned()).collect();
        self.rule(repo, branch, Rule { checks, approvals, ..Rule::default() });
    }

    /// Sets the rule of a branch.
    pub fn rule(&self, repo: &str, branch: &str, rule: Rule) {
        self.change_repo(repo, |repo| {
            repo.rules.insert(branch.to_owned(), rule);
        });
    }

    /// What somebody may do in every repository: `ADMIN`, `MAINTAIN`, `WRITE`, `TRIAGE`, `READ`. What they are to it says
    /// nothing of that.
    pub fn permit(&self, login: &str, permission: &'static str) {
        self.far().world.permissions.insert(login.to_owned(), permission);
    }

    /// What somebody is to every repository: `OWNER`, `MEMBER`, `COLLABORATOR`, `CONTRIBUTOR`, `NONE`.
    pub fn associate(&self, login: &str, association: &'static str) {
        self.far().world.associations.insert(login.to_owned(), association);
    }

    /// Whose token it is from now on, e.g. an app's.
    pub fn act_as(&self, by: By) {
        self.far().world.viewer = by;
    }

    /// `ana` makes an issue; returns its number.
    pub fn issue(&self, repo: &str, title: &str, body: &str) -> u64 {
        let mut far = self.far();
        let id = far.world.repo_id(repo);
        far.world.add_issue(id, title, body, By::person("ana"))
    }

    /// Moves an issue to another repository; its former place leads to it. Returns its number there.
    pub fn transfer(&self, repo: &str, number: u64, to: &str) -> u64 {
        self.at(repo, number, |world, at| {
            let (to, issue) = (world.repo_id(to), world.issue_mut(at.0, at.1).clone());
            let new = world.add_issue(to, &issue.title, &issue.body, issue.by.clone());
            world.issues.insert((to, new), Issue { repo: to, number: new, ..issue });
            world.issues.remove(&at);
            world.moved.insert(at, (to, new));
            new
        })
    }

    /// Every issue of a repository that is no pull request.
    pub fn issues(&self, repo: &str) -> Vec<Issue> {
        let far = self.far();
        let id = far.world.repo_id(repo);
        let of = |issue: &&Issue| issue.repo == id && issue.pull.is_none();
        far.world.issues.values().filter(of).cloned().collect()
    }

    /// The node id of an issue or a pull request.
    pub fn node(&self, repo: &str, number: u64) -> String {
        self.at(repo, number, |world, at| graph::issue_id(world.issue_mut(at.0, at.1)))
    }

    /// What a webhook of the repository sends: one of the events of `vendor/github/webhooks.json`, e.g. `push` or
    /// `pull_request.synchronize`, about this pull request or issue, signed with the secret.
    pub fn delivery(&self, event: &str, repo: &str, number: u64, secret: &str) -> Delivery {
        self.at(repo, number, |world, at| hooks::delivery(world, event, at, secret))
    }

    fn at<T>(&self, repo: &str, number: u64, act: impl FnOnce(&mut World, (u64, u64)) -> T) -> T {
        let mut far = self.far();
        let id = far.world.repo_id(repo);
        let done = act(&mut far.world, (id, number));
        far.world.settle();
        done
    }

    fn far(&self) -> MutexGuard<'_, Far> {
        lock(&self.far)
    }
}

fn lock(far: &Mutex<Far>) -> MutexGuard<'_, Far> {
    far.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Seconds since 1970.
fn now() -> u64 {
    u64::try_from(Timestamp::now().as_second()).unwrap_or_default()
}

/// A request is under way as long as this lives.
struct UnderWay(Arc<Mutex<Far>>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        lock(&self.0).under_way -= 1;
    }
}

async fn serve(State(far): State<Arc<Mutex<Far>>>, request: Incoming) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 4 << 20).await.unwrap_or_default();
    let (mood, at_once) = {
        let mut far = lock(&far);
        far.under_way += 1;
        let mood = far.moods.pop_front().unwrap_or_else(|| far.mood.clone());
        (mood, far.under_way)
    };
    let _under_way = UnderWay(far.clone());
    match mood {
        Mood::Silent => std::future::pending().await,
        Mood::Slow(wait) => tokio::time::sleep(wait).await,
        _ => {}
    }
    let uri = &parts.uri;
    let whole = uri.path_and_query().map_or(uri.path(), |whole| whole.as_str());
    let path = whole
        .strip_prefix("/api/v3")
        .or(whole.strip_prefix("/api").filter(|rest| rest.starts_with("/graphql")));
    let path = path.unwrap_or(whole);
    let host = parts.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let prefix = if whole.starts_with("/api/v3") { "/api/v3" } else { "" };
    let asked = Whole {
        method: &parts.method,
        path,
        headers: &parts.headers,
        body: &body,
        url: format!("http://{host}{prefix}"),
        at_once,
    };
    let answer = lock(&far).answer(&asked, &mood);
    if mood == Mood::Cut {
        // A body that fails ends the connection.
        let broken = tokio_stream::iter([Err::<Vec<u8>, _>(io::Error::other("cut"))]);
        return Response::new(Body::from_stream(broken));
    }
    answer.written()
}

/// A request as it came.
struct Whole<'a> {
    method: &'a Method,
    path: &'a str,
    headers: &'a HeaderMap,
    body: &'a [u8],
    url: String,
    at_once: u64,
}

/// An answer before it is written.
#[derive(Debug)]
struct Written {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// What it costs of the primary limit.
    cost: u64,
}

impl Written {
    fn json(status: u16, value: &Value) -> Self {
        let headers = vec![("content-type", "application/json; charset=utf-8".to_owned())];
        Self { status, headers, body: value.to_string().into_bytes(), cost: 0 }
    }

    fn refusal(status: u16, message: &str) -> Self {
        Self::json(status, &rest::refusal(message, None))
    }

    fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.to_string()));
        self
    }

    fn written(self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_GATEWAY);
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
        response
    }
}

impl Far {
    fn answer(&mut self, asked: &Whole<'_>, mood: &Mood) -> Written {
        let graphql = asked.path == "/graphql";
        let log_only = asked.path.starts_with("/_logs/");
        let body = serde_json::from_slice(asked.body).unwrap_or(Value::Null);
        let mut answer = match mood {
            Mood::Status(status) => Written::refusal(*status, "Something went wrong"),
            Mood::Html(status) => {
                let page = "<!DOCTYPE html><html><title>Unicorn! &middot; GitHub</title></html>";
                let mut answer = Written::refusal(*status, "").with("content-type", "text/html");
                answer.body = page.as_bytes().to_vec();
                answer
            }
            Mood::Secondary(wait) => secondary(403, *wait),
            Mood::TooMany(wait) => secondary(429, Some(*wait)),
            Mood::Limited if graphql => {
                let words = "API rate limit already exceeded for user ID 1.";
                let error =
                    json!({"type": "RATE_LIMIT", "code": "graphql_rate_limit", "message": words});
                Written::json(200, &json!({"errors": [error]}))
            }
            Mood::SecondaryOk(wait) if graphql => secondary(200, *wait),
            _ if log_only => self.log(asked),
            _ if asked.path.starts_with("/app/") => self.installed(asked),
            _ => match self.admit(asked, &body, graphql) {
                Some(refused) => refused,
                None if graphql => self.graphql(asked, &body, mood),
                None => self.rest(asked, &body),
            },
        };
        if *mood == Mood::Truncated {
            answer.body.truncate(answer.body.len() / 2);
        }
        if !log_only {
            answer = self.counted(answer, graphql);
        }
        self.requests.push(Request {
            method: asked.method.to_string(),
            path: asked.path.to_owned(),
            body,
            status: if *mood == Mood::Cut { 0 } else { answer.status },
            cost: answer.cost,
        });
        answer
    }

    /// Who may not even ask: nobody known, without a name, too often, or with nothing left.
    fn admit(&mut self, asked: &Whole<'_>, body: &Value, graphql: bool) -> Option<Written> {
        let header = |name: &str| asked.headers.get(name).and_then(|value| value.to_str().ok());
        if header("user-agent").is_none_or(str::is_empty) {
            let words = "Request forbidden by administrative rules. Please make sure your request has a User-Agent header";
            return Some(Written::refusal(403, words));
        }
        let token = header("authorization").and_then(|given| {
            given
                .strip_prefix("Bearer ")
                .or(given.strip_prefix("bearer "))
                .or(given.strip_prefix("token "))
        });
        match token {
            Some(TOKEN) => {}
            Some(token) if self.issued.get(token).is_some_and(|until| *until > now()) => {}
            Some(_) => return Some(Written::refusal(401, "Bad credentials")),
            None => return Some(Written::refusal(401, "Requires authentication")),
        }
        let (left, reset) = &mut self.left[usize::from(graphql)];
        if *reset <= now() {
            (*left, *reset) = (LIMIT, now() + WINDOW);
        }
        let free = asked.path == "/rate_limit";
        if *left == 0 && !free {
            let words = "API rate limit exceeded for user ID 1. If you reach out to GitHub Support for help, please include the request ID.";
            return Some(match graphql {
                true => Written::json(200, &graph::errors(&[("RATE_LIMITED", words.to_owned())])),
                false => Written::refusal(403, words),
            });
        }
        let writes = if graphql {
            body["query"].as_str().is_some_and(|query| query.trim_start().starts_with("mutation"))
        } else {
            asked.method != Method::GET
        };
        self.minute.retain(|(at, ..)| at.elapsed() < Duration::from_secs(60));
        self.minute.push_back((Instant::now(), usize::from(graphql), if writes { 5 } else { 1 }));
        if writes && matches!(*asked.method, Method::POST) && !graphql {
            self.minute.push_back((Instant::now(), 2, 1));
        }
        let over = (0..3).any(|kind| {
            let spent = self.minute.iter().filter(|(_, of, _)| *of == kind);
            spent.map(|(.., points)| points).sum::<u64>() > MINUTE[kind]
        });
        let over = self.secondary && (over || asked.at_once > AT_ONCE);
        over.then(|| secondary(403, Some(60)))
    }

    fn graphql(&mut self, asked: &Whole<'_>, body: &Value, mood: &Mood) -> Written {
        if asked.method != Method::POST {
            return Written::refusal(404, "Not Found");
        }
        let query = match Query::read(body) {
            Ok(query) => query,
            // A request that is not even one costs a point.
            Err(errors) => {
                return Written { cost: 1, ..Written::json(200, &errors) };
            }
        };
        if matches!(mood, Mood::Heavy(most) if query.weight > *most) {
            let words = "We couldn't respond to your request in time. Sorry about that.";
            return Written { cost: query.cost, ..Written::refusal(502, words) };
        }
        let (left, reset) = self.left[1];
        let remaining = left.saturating_sub(query.cost);
        let url = asked.url.strip_suffix("/api/v3").unwrap_or(&asked.url);
        let mut answer = query.run(&mut self.world, url, Left { limit: LIMIT, remaining, reset });
        if let Mood::Partial(name) = mood {
            graph::lose(&mut answer, name);
        }
        Written { cost: query.cost, ..Written::json(200, &answer) }
    }

    fn rest(&mut self, asked: &Whole<'_>, body: &Value) -> Written {
        let (path, query) = asked.path.split_once('?').unwrap_or((asked.path, ""));
        let query: Vec<(String, String)> =
            form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        // What a former name leads to.
        let by_id = path.strip_prefix("/repositories/").and_then(|rest| {
            let (id, rest) = rest.split_once('/').map_or((rest, ""), |(id, rest)| (id, rest));
            let repo = self.world.repos.iter().find(|repo| Some(repo.id) == id.parse().ok())?;
            Some(format!("/repos/{}/{rest}", repo.full_name()).trim_end_matches('/').to_owned())
        });
        let path = by_id.as_deref().unwrap_or(path);
        let method = asked.method.as_str();
        let Some(operation) = Operation::find(method, path) else {
            return Written::refusal(501, &format!("the fake has no {method} {path}"));
        };
        if let [owner, name, ..] = operation.path.as_slice() {
            let full = format!("{owner}/{name}");
            let moved =
                self.world.repo(&full).filter(|r| !r.full_name().eq_ignore_ascii_case(&full));
            if let Some(repo) = moved {
                let rest = path.splitn(5, '/').nth(4).map(|rest| format!("/{rest}"));
                let to =
                    format!("{}/repositories/{}{}", asked.url, repo.id, rest.unwrap_or_default());
                let status = if asked.method == Method::GET { 301 } else { 307 };
                let body =
                    json!({"message": "Moved Permanently", "url": to, "documentation_url": "-"});
                return Written { cost: 1, ..Written::json(status, &body).with("location", to) };
            }
        }
        if let Some(to) = self.moved(&operation) {
            let to = format!("{}/repositories/{}/issues/{}", asked.url, to.0, to.1);
            let body = json!({"message": "Moved Permanently", "url": to, "documentation_url": "-"});
            return Written { cost: 1, ..Written::json(301, &body).with("location", to) };
        }
        let given = (!asked.body.is_empty()).then_some(body);
        if !asked.body.is_empty() && body.is_null() {
            return Written { cost: 1, ..Written::refusal(400, "Problems parsing JSON") };
        }
        if let Err(why) = operation.check_query(&query).and(operation.check_body(given)) {
            return Written {
                cost: 1,
                ..Written::refusal(422, &format!("Invalid request.\n\n{why}"))
            };
        }
        let accept =
            asked.headers.get("accept").and_then(|value| value.to_str().ok()).unwrap_or("");
        let request = Asked {
            operation: &operation,
            query: &query,
            body,
            diff: accept.contains("diff"),
            url: &asked.url,
            limits: self.limits(),
        };
        let reply = request.answer(&mut self.world);
        let cost = u64::from(path != "/rate_limit");
        Written { cost, ..self.replied(asked, &operation, &query, reply) }
    }

    /// Where the issue is now that a request names at its former place.
    fn moved(&self, operation: &Operation) -> Option<(u64, u64)> {
        let [owner, name, number] = operation.path.as_slice() else { return None };
        let is_issue = operation.name.ends_with("/issues/{issue_number}");
        let repo = self.world.repo(&format!("{owner}/{name}")).filter(|_| is_issue)?;
        self.world.moved.get(&(repo.id, number.parse().ok()?)).copied()
    }

    /// An answer held to the description, with its links and its tag.
    fn replied(
        &self,
        asked: &Whole<'_>,
        operation: &Operation,
        query: &[(String, String)],
        reply: Reply,
    ) -> Written {
        let (status, value, last) = match reply {
            Reply::Json(status @ 300.., value) => return Written::json(status, &value),
            Reply::Json(status, value) => (status, value, 1),
            Reply::Page(value, last) => (200, value, last),
            Reply::Empty => {
                return Written { body: Vec::new(), ..Written::json(204, &Value::Null) };
            }
            Reply::Text(text) => {
                let answer = Written::json(200, &Value::Null).with("content-type", "text/plain");
                return Written { body: text.into_bytes(), ..answer };
            }
            Reply::Elsewhere(status, to) => {
                return Written {
                    body: Vec::new(),
                    ..Written::json(status, &Value::Null).with("location", to)
                };
            }
        };
        let whole = match operation.answer(status, value) {
            Ok(whole) => whole,
            Err(why) => return Written::refusal(501, &format!("the fake is wrong: {why}")),
        };
        let mut answer = Written::json(status, &whole);
        if let Some(links) = links(asked, query, last) {
            answer = answer.with("link", links);
        }
        if asked.method != Method::GET {
            return answer;
        }
        let digest = Sha256::digest(&answer.body);
        let tag: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let tag = format!("W/\"{tag}\"");
        let header = |name: &str| asked.headers.get(name).and_then(|value| value.to_str().ok());
        let changed = whole["updated_at"].as_str().and_then(|at| at.parse::<Timestamp>().ok());
        let changed = changed.and_then(|at| {
            jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&at).ok()
        });
        let known = match header("if-none-match") {
            Some(known) => known == tag,
            None => changed.is_some() && header("if-modified-since") == changed.as_deref(),
        };
        if let Some(changed) = changed {
            answer = answer.with("last-modified", changed);
        }
        answer = answer.with("etag", tag).with("cache-control", "private, max-age=60, s-maxage=60");
        if known {
            answer.status = 304;
            answer.body = Vec::new();
        }
        answer
    }

    /// The answer of `GET /rate_limit`.
    fn limits(&self) -> Value {
        let of = |(left, reset): (u64, u64)| json!({"limit": LIMIT, "remaining": left, "reset": reset, "used": LIMIT - left});
        let [core, graphql] = self.left.map(of);
        json!({
            "resources": {"core": core, "graphql": graphql, "search": {"limit": 30, "remaining": 30, "reset": now() + 60, "used": 0}},
            "rate": core,
        })
    }

    /// A token of an App's installation, for a JSON web token that the App has signed.
    fn installed(&mut self, asked: &Whole<'_>) -> Written {
        let no = |words: &str| Written::refusal(401, words);
        let Some(operation) = Operation::find(asked.method.as_str(), asked.path) else {
            return Written::refusal(501, &format!("the fake has no {}", asked.path));
        };
        let given = asked.headers.get("authorization").and_then(|given| given.to_str().ok());
        let Some(token) = given.and_then(|given| given.strip_prefix("Bearer ")) else {
            return no("Requires authentication");
        };
        let Some(app) = &self.app else { return no("Integration not found") };
        let claims = match claims(token, &app.key) {
            Some(claims) => claims,
            None => return no("A JSON web token could not be decoded"),
        };
        let time = |name: &str| claims[name].as_u64().unwrap_or_default();
        if claims["iss"] != *app.id {
            return no("'Issuer' claim ('iss') must be an Integer");
        }
        if time("exp") <= now() || time("iat") > now() {
            return no(
                "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires",
            );
        }
        if time("exp") > now() + 600 {
            return no("'Expiration time' claim ('exp') is too far in the future");
        }
        if operation.path.first().and_then(|id| id.parse().ok()) != Some(app.installation) {
            return Written::refusal(404, "Not Found");
        }
        let until = now() + app.good_for;
        let token = format!("ghs_{:036}", self.world.number());
        self.issued.insert(token.clone(), until);
        let at = Timestamp::from_second(i64::try_from(until).unwrap_or_default());
        let answer = json!({"token": token, "expires_at": at.unwrap_or_default().to_string()});
        match operation.answer(201, answer) {
            Ok(answer) => Written::json(201, &answer),
            Err(why) => Written::refusal(501, &format!("the fake is wrong: {why}")),
        }
    }

    fn log(&self, asked: &Whole<'_>) -> Written {
        let (id, signed) =
            asked.path.trim_start_matches("/_logs/").split_once('?').unwrap_or_default();
        // The storage refuses whoever shows it a token beside the signature.
        let shown = asked.headers.contains_key("authorization");
        match id.parse().ok().and_then(|id| rest::log(&self.world, id)) {
            Some(log) if signed == "sig=hush" && !shown => {
                let answer = Written::json(200, &Value::Null).with("content-type", "text/plain");
                Written { body: log.into_bytes(), ..answer }
            }
            _ => Written::refusal(403, "Server failed to authenticate the request."),
        }
    }

    /// Counts an answer, and says what is left.
    fn counted(&mut self, mut answer: Written, graphql: bool) -> Written {
        if graphql {
            self.spent.graphql += 1;
            self.spent.points += answer.cost;
        } else if answer.status == 304 {
            answer.cost = 0;
            self.spent.not_modified += 1;
        } else {
            self.spent.rest += answer.cost;
        }
        let (left, reset) = &mut self.left[usize::from(graphql)];
        *left = left.saturating_sub(answer.cost);
        let (left, reset) = (*left, *reset);
        let date = jiff::fmt::rfc2822::DateTimePrinter::new();
        let date = date.timestamp_to_rfc9110_string(&self.world.clock()).unwrap_or_default();
        answer
            .with("date", date)
            .with("x-ratelimit-limit", LIMIT)
            .with("x-ratelimit-remaining", left)
            .with("x-ratelimit-used", LIMIT - left)
            .with("x-ratelimit-reset", reset)
            .with("x-ratelimit-resource", if graphql { "graphql" } else { "core" })
            .with("x-github-request-id", "AC3E:1:2:3:4")
    }
}

/// The claims of a JSON web token that this key has signed by RS256.
fn claims(token: &str, key: &[u8]) -> Option<Value> {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
    use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    let (text, signature) = token.rsplit_once('.')?;
    let (head, claims) = text.split_once('.')?;
    let json =
        |part: &str| -> Option<Value> { serde_json::from_slice(&BASE64.decode(part).ok()?).ok() };
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key);
    key.verify(text.as_bytes(), &BASE64.decode(signature).ok()?).ok()?;
    (json(head)?["alg"] == "RS256").then(|| json(claims)).flatten()
}

fn secondary(status: u16, wait: Option<u64>) -> Written {
    let words =
        "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.";
    let answer = Written::refusal(status, words);
    match wait {
        Some(wait) => answer.with("retry-after", wait),
        None => answer,
    }
}

/// The `Link` header of a page, RFC 8288.
fn links(asked: &Whole<'_>, query: &[(String, String)], last: u64) -> Option<String> {
    let page = query.iter().find(|(name, _)| name == "page");
    let page = page.and_then(|(_, page)| page.parse::<u64>().ok()).unwrap_or(1);
    let path = asked.path.split('?').next().unwrap_or_default();
    let to = |page: u64, rel: &str| {
        let rest = query.iter().filter(|(name, _)| name != "page");
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(rest)
            .append_pair("page", &page.to_string())
            .finish();
        format!("<{}{path}?{query}>; rel=\"{rel}\"", asked.url)
    };
    let mut all = Vec::new();
    if page > 1 {
        all.push(to(page - 1, "prev"));
    }
    if page < last {
        all.extend([to(page + 1, "next"), to(last, "last")]);
    }
    (!all.is_empty()).then(|| all.join(", "))
}
