//! What there is on the service: repositories with their commits, pull requests, reviews, checks and issues. Names
//! follow the vendor's; node ids begin with the vendor's prefixes.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

/// Who does something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// A person, by login.
    Person(String),
    /// An app, by its slug: `coderabbitai`.
    Bot(String),
}

impl By {
    /// A person.
    pub fn person(login: &str) -> Self {
        Self::Person(login.to_owned())
    }

    /// An app.
    pub fn bot(slug: &str) -> Self {
        Self::Bot(slug.to_owned())
    }

    /// The login as GraphQL gives it: without `[bot]`.
    pub fn login(&self) -> &str {
        match self {
            Self::Person(login) | Self::Bot(login) => login,
        }
    }

    /// The login as REST gives it.
    pub fn rest_login(&self) -> String {
        match self {
            Self::Person(login) => login.clone(),
            Self::Bot(slug) => format!("{slug}[bot]"),
        }
    }

    /// A number that stays.
    pub(super) fn id(&self) -> u64 {
        let seed = u64::from(matches!(self, Self::Bot(_)));
        self.login().bytes().fold(7 + seed, |sum, byte| (sum * 31 + u64::from(byte)) % 90_000_000)
    }
}

/// A repository.
#[derive(Debug)]
pub struct Repo {
    /// Its number, which a new name does not change.
    pub id: u64,
    /// `acme`.
    pub owner: String,
    /// `app`.
    pub name: String,
    /// Names that still lead to it.
    pub former: Vec<String>,
    /// What it is a fork of.
    pub parent: Option<u64>,
    /// Branches and their heads.
    pub branches: BTreeMap<String, String>,
    /// Rules by branch.
    pub rules: BTreeMap<String, Rule>,
    /// May pull requests be told to merge by themselves?
    pub auto_merge: bool,
    /// The methods by which it merges: `MERGE`, `SQUASH`, `REBASE`.
    pub methods: Vec<&'static str>,
    /// What the token's owner may do: `ADMIN`, `MAINTAIN`, `WRITE`, `TRIAGE`, `READ`.
    pub permission: &'static str,
    pub(super) numbers: u64,
}

impl Repo {
    /// `acme/app`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }
}

/// What must be before something is merged into a branch.
#[derive(Debug, Clone, Default)]
pub struct Rule {
    /// Checks that must pass.
    pub checks: Vec<String>,
    /// Approvals by those who may write.
    pub approvals: u64,
    /// Every thread must be resolved.
    pub conversations: bool,
    /// The branch must hold its base.
    pub strict: bool,
    /// It is a ruleset's, which the classic protection of a branch does not tell.
    pub ruleset: bool,
}

/// A commit.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Its object name.
    pub sha: String,
    /// What it says.
    pub message: String,
    /// When.
    pub at: Timestamp,
    pub(super) parent: Option<String>,
}

/// What an app checks of a commit at once; of `github-actions` a run of a workflow, of the same number.
#[derive(Debug, Clone)]
pub struct Suite {
    /// Its number.
    pub id: u64,
    /// The repository's number.
    pub repo: u64,
    /// What it checks.
    pub sha: String,
    /// Whose.
    pub app: String,
    /// The workflow's name.
    pub workflow: String,
    /// What began it: `pull_request`, `push`.
    pub event: String,
}

/// A check run, by an app.
#[derive(Debug, Clone)]
pub struct Check {
    /// Its number, also that of its job.
    pub id: u64,
    /// The repository's number.
    pub repo: u64,
    /// What it checks.
    pub sha: String,
    /// `test (ubuntu)`.
    pub name: String,
    /// Whose: `github-actions` has jobs and logs, no other.
    pub app: String,
    /// The suite that it is a part of.
    pub suite: u64,
    /// `QUEUED`, `IN_PROGRESS`, `COMPLETED`.
    pub status: &'static str,
    /// `SUCCESS`, `FAILURE`, …; none until it is completed.
    pub conclusion: Option<&'static str>,
    /// What it says of itself.
    pub title: Option<String>,
    /// More of that.
    pub summary: Option<String>,
    /// What it marked: path, line, level, words.
    pub annotations: Vec<(String, u64, &'static str, String)>,
    /// The job's steps: name, conclusion.
    pub steps: Vec<(String, &'static str)>,
    /// The job's log.
    pub log: String,
    /// From 1.
    pub attempt: u64,
    /// Of its attempts in this suite, the last.
    pub latest: bool,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub completed: Option<Timestamp>,
}

/// A commit status, of the older kind.
#[derive(Debug, Clone)]
pub struct Status {
    /// Its number.
    pub id: u64,
    /// The repository's number.
    pub repo: u64,
    /// Of what.
    pub sha: String,
    /// `ci/legacy`.
    pub context: String,
    /// `SUCCESS`, `PENDING`, `FAILURE`, `ERROR`.
    pub state: &'static str,
    /// What it says.
    pub description: String,
    /// When.
    pub at: Timestamp,
}

/// An issue or a pull request: GitHub numbers them together.
#[derive(Debug, Clone)]
pub struct Issue {
    /// Its number beyond all repositories.
    pub id: u64,
    /// The repository's number.
    pub repo: u64,
    /// Its number in the repository.
    pub number: u64,
    /// One line.
    pub title: String,
    /// The text.
    pub body: String,
    /// By whom.
    pub by: By,
    /// Not closed.
    pub open: bool,
    /// Who closed it.
    pub closed_by: Option<By>,
    /// Why it was closed: `COMPLETED`, `NOT_PLANNED`.
    pub reason: Option<&'static str>,
    /// Its labels.
    pub labels: Vec<String>,
    /// Who shall do it.
    pub assignees: Vec<String>,
    /// Issues that are a part of it, by number.
    pub parts: Vec<u64>,
    /// Issues that must be closed before, by number.
    pub blocked_by: Vec<u64>,
    /// When it was made.
    pub created: Timestamp,
    /// When it changed.
    pub updated: Timestamp,
    /// When it was closed.
    pub closed: Option<Timestamp>,
    /// What makes it a pull request.
    pub pull: Option<Pull>,
}

/// What makes an issue a pull request.
#[derive(Debug, Clone)]
pub struct Pull {
    /// The repository of its head; none when that was deleted.
    pub head_repo: Option<u64>,
    /// The branch with the work.
    pub head: String,
    /// Its head commit.
    pub sha: String,
    /// The branch it goes into.
    pub base: String,
    /// Not ready.
    pub draft: bool,
    /// Cannot be merged without a human.
    pub conflicting: bool,
    /// What it says is not known yet, so many times.
    pub unknown: u32,
    /// The commit that merged it, and who did.
    pub merged: Option<(String, By)>,
    /// Merges by itself, by this method.
    pub auto_merge: Option<&'static str>,
    /// Who was asked to review.
    pub requested: Vec<String>,
    /// Lines added, lines removed.
    pub lines: (u64, u64),
    /// Files changed.
    pub files: Vec<String>,
    /// What it changes.
    pub diff: String,
}

/// A review.
#[derive(Debug, Clone)]
pub struct Review {
    /// Its number.
    pub id: u64,
    /// Of what.
    pub pr: (u64, u64),
    /// By whom.
    pub by: By,
    /// `APPROVED`, `CHANGES_REQUESTED`, `COMMENTED`, `DISMISSED`; `PENDING` as long as it is written on, which nobody
    /// else sees.
    pub state: &'static str,
    /// The words.
    pub body: String,
    /// What was looked at.
    pub sha: String,
    /// When.
    pub at: Timestamp,
}

/// A thread at a line.
#[derive(Debug, Clone)]
pub struct Thread {
    /// Its number.
    pub id: u64,
    /// Of what.
    pub pr: (u64, u64),
    /// The file.
    pub path: String,
    /// The line; none when it is outdated.
    pub line: Option<u64>,
    /// The line it was written at.
    pub original: u64,
    /// Settled, by whom.
    pub resolved: Option<By>,
    /// The code has changed since.
    pub outdated: bool,
}

/// A comment: in a conversation, or in a thread.
#[derive(Debug, Clone)]
pub struct Comment {
    /// Its number.
    pub id: u64,
    /// Of what.
    pub on: (u64, u64),
    /// The thread it stands in.
    pub thread: Option<u64>,
    /// The review that it is a part of: each comment in a thread is one's.
    pub review: Option<u64>,
    /// By whom.
    pub by: By,
    /// The words.
    pub body: String,
    /// Hidden by somebody.
    pub minimized: bool,
    /// When.
    pub at: Timestamp,
}

/// What has a number of its own, which grows with each.
pub(super) trait Numbered {
    /// It.
    fn number(&self) -> u64;
}

macro_rules! numbered {
    ($($kind:ty),*) => { $(impl Numbered for $kind {
        fn number(&self) -> u64 {
            self.id
        }
    })* };
}

numbered!(Check, Status, Suite, Review, Thread, Comment);

/// The one of this number.
pub(super) fn found<T: Numbered>(all: &[T], number: u64) -> Option<&T> {
    all.binary_search_by_key(&number, T::number).ok().map(|at| &all[at])
}

/// Everything.
#[derive(Debug)]
pub(super) struct World {
    pub(super) viewer: By,
    pub(super) repos: Vec<Repo>,
    pub(super) commits: BTreeMap<String, Commit>,
    pub(super) suites: Vec<Suite>,
    pub(super) checks: Vec<Check>,
    pub(super) statuses: Vec<Status>,
    /// Where the checks and the statuses of a commit are.
    of_commit: BTreeMap<String, (Vec<usize>, Vec<usize>)>,
    pub(super) issues: BTreeMap<(u64, u64), Issue>,
    /// Where issues that were moved are now.
    pub(super) moved: BTreeMap<(u64, u64), (u64, u64)>,
    pub(super) reviews: Vec<Review>,
    pub(super) threads: Vec<Thread>,
    pub(super) comments: Vec<Comment>,
    pub(super) associations: BTreeMap<String, &'static str>,
    pub(super) permissions: BTreeMap<String, &'static str>,
    pub(super) frozen: bool,
    next: u64,
    clock: Timestamp,
}

/// A refusal of an act, in the vendor's words: status, message, whether it is one of a validation.
#[derive(Debug)]
pub(super) struct Refused(pub(super) u16, pub(super) String);

impl World {
    pub(super) fn new() -> Self {
        Self {
            viewer: By::person("ana"),
            repos: Vec::new(),
            commits: BTreeMap::new(),
            suites: Vec::new(),
            checks: Vec::new(),
            statuses: Vec::new(),
            of_commit: BTreeMap::new(),
            issues: BTreeMap::new(),
            moved: BTreeMap::new(),
            reviews: Vec::new(),
            threads: Vec::new(),
            comments: Vec::new(),
            associations: BTreeMap::from([
                ("ana".to_owned(), "OWNER"),
                ("ben".to_owned(), "MEMBER"),
                ("eve".to_owned(), "NONE"),
            ]),
            permissions: BTreeMap::from([("ana".to_owned(), "ADMIN"), ("ben".to_owned(), "WRITE")]),
            frozen: false,
            next: 1000,
            // A fixed day: what is asserted of times is the same whenever a test runs.
            clock: Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_795_000_000),
        }
    }

    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// What time it is.
    pub(super) fn clock(&self) -> Timestamp {
        self.clock
    }

    pub(super) fn pass(&mut self, seconds: i64) {
        self.clock += SignedDuration::from_secs(seconds);
    }

    /// The time of a change: a second after the last, unless time stands.
    pub(super) fn now(&mut self) -> Timestamp {
        if !self.frozen {
            self.clock += SignedDuration::from_secs(1);
        }
        self.clock
    }

    /// The repository of this name or a former one.
    pub(super) fn repo(&self, name: &str) -> Option<&Repo> {
        let is = |known: &String| known.eq_ignore_ascii_case(name);
        self.repos
            .iter()
            .find(|repo| is(&repo.full_name()))
            .or_else(|| self.repos.iter().find(|repo| repo.former.iter().any(is)))
    }

    pub(super) fn repo_id(&self, name: &str) -> u64 {
        match self.repo(name) {
            Some(repo) => repo.id,
            None => panic!("the fake has no repository {name}"),
        }
    }

    pub(super) fn repo_at(&self, id: u64) -> &Repo {
        match self.repos.iter().find(|repo| repo.id == id) {
            Some(repo) => repo,
            None => panic!("the fake has no repository {id}"),
        }
    }

    pub(super) fn repo_mut(&mut self, id: u64) -> &mut Repo {
        match self.repos.iter_mut().find(|repo| repo.id == id) {
            Some(repo) => repo,
            None => panic!("the fake has no repository {id}"),
        }
    }

    pub(super) fn add_repo(&mut self, name: &str, parent: Option<u64>) -> u64 {
        let (owner, short) = name.split_once('/').unwrap_or((name, name));
        let id = self.number();
        let mut branches = BTreeMap::new();
        match parent.map(|parent| self.repo_at(parent).branches["main"].clone()) {
            Some(sha) => branches.insert("main".to_owned(), sha),
            None => branches.insert("main".to_owned(), self.commit("begin", None)),
        };
        self.repos.push(Repo {
            id,
            owner: owner.to_owned(),
            name: short.to_owned(),
            former: Vec::new(),
            parent,
            branches,
            rules: BTreeMap::new(),
            auto_merge: true,
            methods: vec!["MERGE", "SQUASH", "REBASE"],
            permission: "ADMIN",
            numbers: 0,
        });
        id
    }

    pub(super) fn commit(&mut self, message: &str, parent: Option<String>) -> String {
        use sha2::Digest as _;
        let (id, at) = (self.number(), self.now());
        let digest = sha2::Sha256::digest(format!("commit {id}"));
        let sha: String = digest.iter().take(20).map(|byte| format!("{byte:02x}")).collect();
        let commit = Commit { sha: sha.clone(), message: message.to_owned(), at, parent };
        self.commits.insert(sha.clone(), commit);
        sha
    }

    /// Puts a branch on a commit; the pull requests from it follow, and those into it must be looked at again.
    pub(super) fn set_branch(&mut self, repo: u64, branch: &str, sha: &str) {
        self.repo_mut(repo).branches.insert(branch.to_owned(), sha.to_owned());
        let at = self.now();
        for issue in self.issues.values_mut().filter(|issue| issue.open) {
            let Some(pull) = &mut issue.pull else { continue };
            if pull.head_repo == Some(repo) && pull.head == branch {
                pull.sha = sha.to_owned();
                pull.unknown = pull.unknown.max(1);
                issue.updated = at;
            } else if issue.repo == repo && pull.base == branch {
                // A moved base is no update of the pull request: only its mergeability is computed anew.
                pull.unknown = pull.unknown.max(1);
            }
        }
    }

    pub(super) fn add_issue(&mut self, repo: u64, title: &str, body: &str, by: By) -> u64 {
        let (id, at) = (self.number(), self.now());
        let home = self.repo_mut(repo);
        home.numbers += 1;
        let number = home.numbers;
        let issue = Issue {
            id,
            repo,
            number,
            title: title.to_owned(),
            body: body.to_owned(),
            by,
            open: true,
            closed_by: None,
            reason: None,
            labels: Vec::new(),
            assignees: Vec::new(),
            parts: Vec::new(),
            blocked_by: Vec::new(),
            created: at,
            updated: at,
            closed: None,
            pull: None,
        };
        self.issues.insert((repo, number), issue);
        number
    }

    /// Opens a pull request; the words of a refusal are the vendor's.
    pub(super) fn add_pull(
        &mut self,
        repo: u64,
        (head_repo, head): (u64, &str),
        base: &str,
        (title, body, draft): (&str, &str, bool),
        by: By,
    ) -> Result<u64, Refused> {
        let Some(sha) = self.repo_at(head_repo).branches.get(head).cloned() else {
            return Err(Refused(422, "head: invalid".into()));
        };
        let Some(base_sha) = self.repo_at(repo).branches.get(base) else {
            return Err(Refused(422, "base: invalid".into()));
        };
        if sha == *base_sha {
            return Err(Refused(422, format!("No commits between {base} and {head}")));
        }
        let same = |issue: &&Issue| {
            let pull = issue.pull.as_ref();
            issue.open
                && issue.repo == repo
                && pull.is_some_and(|p| {
                    p.head_repo == Some(head_repo) && p.head == head && p.base == base
                })
        };
        if self.issues.values().any(|issue| same(&issue)) {
            let owner = &self.repo_at(head_repo).owner;
            return Err(Refused(422, format!("A pull request already exists for {owner}:{head}.")));
        }
        let number = self.add_issue(repo, title, body, by);
        self.issue_mut(repo, number).pull = Some(Pull {
            head_repo: Some(head_repo),
            head: head.to_owned(),
            sha,
            base: base.to_owned(),
            draft,
            conflicting: false,
            unknown: 1,
            merged: None,
            auto_merge: None,
            requested: Vec::new(),
            lines: (10, 2),
            files: vec!["src/main.rs".to_owned()],
            diff: "diff --git a/src/main.rs b/src/main.rs\n--- a/src/main.rs\n+++ b/src/main.rs\n@@ -1 +1 @@\n-a\n+b\n"
                .to_owned(),
        });
        Ok(number)
    }

    pub(super) fn issue(&self, repo: u64, number: u64) -> Option<&Issue> {
        self.issues.get(&(repo, number))
    }

    pub(super) fn issue_mut(&mut self, repo: u64, number: u64) -> &mut Issue {
        match self.issues.get_mut(&(repo, number)) {
            Some(issue) => issue,
            None => panic!("the fake has no #{number}"),
        }
    }

    /// A pull request, or none when the number is an issue's.
    pub(super) fn pull(&self, repo: u64, number: u64) -> Option<(&Issue, &Pull)> {
        let issue = self.issue(repo, number)?;
        issue.pull.as_ref().map(|pull| (issue, pull))
    }

    pub(super) fn pull_mut(&mut self, repo: u64, number: u64) -> &mut Pull {
        match &mut self.issue_mut(repo, number).pull {
            Some(pull) => pull,
            None => panic!("#{number} is no pull request"),
        }
    }

    /// Says that it changed just now.
    pub(super) fn touch(&mut self, repo: u64, number: u64) {
        let at = self.now();
        self.issue_mut(repo, number).updated = at;
    }

    pub(super) fn set_open(&mut self, repo: u64, number: u64, open: bool, by: By) {
        let at = self.now();
        let issue = self.issue_mut(repo, number);
        if issue.open == open {
            return;
        }
        issue.open = open;
        issue.updated = at;
        issue.closed = (!open).then_some(at);
        issue.closed_by = (!open).then_some(by);
        issue.reason = (!open && issue.pull.is_none()).then_some("COMPLETED");
        if let Some(pull) = &mut issue.pull {
            pull.auto_merge = None;
        }
    }

    pub(super) fn add_comment(&mut self, on: (u64, u64), by: By, body: &str) -> u64 {
        self.comment(on, (None, None), by, body)
    }

    fn comment(
        &mut self,
        on: (u64, u64),
        (thread, review): (Option<u64>, Option<u64>),
        by: By,
        body: &str,
    ) -> u64 {
        let (id, at) = (self.number(), self.now());
        let body = body.to_owned();
        self.comments.push(Comment { id, on, thread, review, by, body, minimized: false, at });
        if !self.is_pending(review) {
            self.issue_mut(on.0, on.1).updated = at;
        }
        id
    }

    /// Says something in a thread: as a part of a review, else of one of its own without words.
    pub(super) fn add_reply(&mut self, thread: u64, review: Option<u64>, by: By, body: &str) {
        let Some(pr) = found(&self.threads, thread).map(|thread| thread.pr) else { return };
        let review = review.unwrap_or_else(|| self.add_review(pr, by.clone(), "COMMENTED", ""));
        self.comment(pr, (Some(thread), Some(review)), by, body);
    }

    pub(super) fn is_pending(&self, review: Option<u64>) -> bool {
        let review = review.and_then(|id| found(&self.reviews, id));
        review.is_some_and(|review| review.state == "PENDING")
    }

    /// Whether the viewer sees it: what is half written only its author does.
    pub(super) fn sees_review(&self, review: &Review) -> bool {
        review.state != "PENDING" || review.by == self.viewer
    }

    pub(super) fn sees_comment(&self, comment: &Comment) -> bool {
        !self.is_pending(comment.review) || comment.by == self.viewer
    }

    pub(super) fn sees_thread(&self, thread: &Thread) -> bool {
        let mut of = self.comments.iter().filter(|comment| comment.thread == Some(thread.id));
        of.any(|comment| self.sees_comment(comment))
    }

    pub(super) fn add_review(
        &mut self,
        pr: (u64, u64),
        by: By,
        state: &'static str,
        body: &str,
    ) -> u64 {
        let (id, at) = (self.number(), self.now());
        let sha = self.pull_mut(pr.0, pr.1).sha.clone();
        self.reviews.push(Review { id, pr, by, state, body: body.to_owned(), sha, at });
        self.reviewed(id);
        id
    }

    /// What a review that is not half written does to its pull request.
    pub(super) fn reviewed(&mut self, id: u64) {
        let Some(Review { pr, by, state, .. }) = found(&self.reviews, id).cloned() else { return };
        if state == "PENDING" {
            return;
        }
        let at = self.now();
        self.pull_mut(pr.0, pr.1).requested.retain(|login| login != by.login());
        self.issue_mut(pr.0, pr.1).updated = at;
    }

    pub(super) fn add_thread(
        &mut self,
        pr: (u64, u64),
        by: By,
        (path, line): (&str, u64),
        review: Option<u64>,
        body: &str,
    ) -> u64 {
        let id = self.number();
        self.threads.push(Thread {
            id,
            pr,
            path: path.to_owned(),
            line: Some(line),
            original: line,
            resolved: None,
            outdated: false,
        });
        self.add_reply(id, review, by, body);
        id
    }

    /// The review of a node id.
    pub(super) fn review(&self, node: &str) -> Option<&Review> {
        found(&self.reviews, node.strip_prefix("PRR_")?.parse().ok()?)
    }

    pub(super) fn association(&self, by: &By) -> &'static str {
        self.associations.get(by.login()).copied().unwrap_or("NONE")
    }

    /// May they push? An app may, when somebody installed it with that right; ours do not.
    pub(super) fn may_push(&self, by: &By) -> bool {
        let given = self.permissions.get(by.login()).copied();
        matches!(by, By::Person(_)) && matches!(given, Some("ADMIN" | "MAINTAIN" | "WRITE"))
    }

    /// May the viewer label and assign? An app may, with the right to issues.
    pub(super) fn may_label(&self) -> bool {
        let given = self.permissions.get(self.viewer.login()).copied();
        matches!(self.viewer, By::Bot(_))
            || matches!(given, Some("ADMIN" | "MAINTAIN" | "WRITE" | "TRIAGE"))
    }

    /// The last attempt at each check of a commit in each suite.
    pub(super) fn checks_of(&self, repo: u64, sha: &str) -> Vec<&Check> {
        let here = self.of_commit.get(sha).map(|(checks, _)| checks.as_slice()).unwrap_or_default();
        let here = here.iter().map(|at| &self.checks[*at]);
        here.filter(|check| check.repo == repo && check.latest).collect()
    }

    /// The last status of each context of a commit.
    pub(super) fn statuses_of(&self, repo: u64, sha: &str) -> Vec<&Status> {
        let mut last: BTreeMap<&str, &Status> = BTreeMap::new();
        let here = self.of_commit.get(sha).map(|(_, of)| of.as_slice()).unwrap_or_default();
        let here = here.iter().map(|at| &self.statuses[*at]);
        for status in here.filter(|status| status.repo == repo) {
            last.insert(&status.context, status);
        }
        last.into_values().collect()
    }

    /// `SUCCESS`, `PENDING`, `FAILURE`, `ERROR`; none where nothing was checked.
    pub(super) fn rollup(&self, repo: u64, sha: &str) -> Option<&'static str> {
        let checks = self.checks_of(repo, sha).into_iter().map(verdict);
        let all: Vec<_> =
            checks.chain(self.statuses_of(repo, sha).into_iter().map(|s| s.state)).collect();
        (!all.is_empty()).then(|| {
            let worst = ["ERROR", "FAILURE", "PENDING"];
            worst.into_iter().find(|state| all.contains(state)).unwrap_or("SUCCESS")
        })
    }

    pub(super) fn rule(&self, repo: u64, base: &str) -> Rule {
        self.repo_at(repo).rules.get(base).cloned().unwrap_or_default()
    }

    /// The last of each writer's or everybody's reviews that says yes or no.
    pub(super) fn opinions(&self, pr: (u64, u64), writers: bool) -> Vec<&Review> {
        let mut last: BTreeMap<&str, &Review> = BTreeMap::new();
        for review in self.reviews.iter().filter(|review| review.pr == pr) {
            if matches!(review.state, "APPROVED" | "CHANGES_REQUESTED" | "DISMISSED")
                && (!writers || self.may_push(&review.by))
            {
                last.insert(review.by.login(), review);
            }
        }
        let mut last: Vec<_> = last.into_values().filter(|r| r.state != "DISMISSED").collect();
        last.sort_by_key(|review| review.id);
        last
    }

    /// `APPROVED`, `CHANGES_REQUESTED`, `REVIEW_REQUIRED`; none where no rule demands a review.
    pub(super) fn decision(&self, issue: &Issue, pull: &Pull) -> Option<&'static str> {
        let needed = self.rule(issue.repo, &pull.base).approvals;
        let opinions = self.opinions((issue.repo, issue.number), true);
        let count = |state| opinions.iter().filter(|review| review.state == state).count() as u64;
        match () {
            () if needed == 0 => None,
            () if count("CHANGES_REQUESTED") > 0 => Some("CHANGES_REQUESTED"),
            () if count("APPROVED") >= needed => Some("APPROVED"),
            () => Some("REVIEW_REQUIRED"),
        }
    }

    /// Why the rules do not let it be merged now, in the vendor's words.
    pub(super) fn blocked(&self, issue: &Issue, pull: &Pull) -> Option<String> {
        let rule = self.rule(issue.repo, &pull.base);
        match self.decision(issue, pull) {
            Some("CHANGES_REQUESTED") => {
                return Some("Changes were requested by a reviewer with write access.".into());
            }
            Some("REVIEW_REQUIRED") => {
                let (n, s) = (rule.approvals, if rule.approvals == 1 { "" } else { "s" });
                let is = if n == 1 { "is" } else { "are" };
                return Some(format!(
                    "At least {n} approving review{s} {is} required by reviewers with write access."
                ));
            }
            _ => {}
        }
        let (checks, statuses) =
            (self.checks_of(issue.repo, &pull.sha), self.statuses_of(issue.repo, &pull.sha));
        for name in &rule.checks {
            // A rule takes the newest run of a name, whatever the roll-up keeps beside it.
            let newest = checks.iter().filter(|check| check.name == *name).max_by_key(|c| c.id);
            let of_check = newest.map(|check| verdict(check)).into_iter();
            let of_status = statuses.iter().filter(|s| s.context == *name).map(|s| s.state);
            let state: Vec<_> = of_check.chain(of_status).collect();
            if state.is_empty() {
                return Some(format!("Required status check \"{name}\" is expected."));
            }
            if state.contains(&"PENDING") {
                return Some(format!("Required status check \"{name}\" is in progress."));
            }
            if state.iter().any(|state| *state != "SUCCESS") {
                return Some(format!("Required status check \"{name}\" is failing."));
            }
        }
        let open =
            |thread: &&Thread| thread.pr == (issue.repo, issue.number) && thread.resolved.is_none();
        (rule.conversations && self.threads.iter().any(|thread| open(&thread))).then(|| {
            "A conversation must be resolved before this pull request can be merged.".into()
        })
    }

    /// Whether a rule demands that the head holds its base, and it does not.
    fn is_late(&self, issue: &Issue, pull: &Pull) -> bool {
        self.rule(issue.repo, &pull.base).strict && self.is_behind(issue, pull)
    }

    fn is_behind(&self, issue: &Issue, pull: &Pull) -> bool {
        let base = self.repo_at(issue.repo).branches.get(&pull.base);
        let mut next = Some(&pull.sha);
        while let Some(sha) = next {
            if Some(sha) == base {
                return false;
            }
            next = self.commits.get(sha).and_then(|commit| commit.parent.as_ref());
        }
        base.is_some()
    }

    /// GraphQL's `MergeStateStatus`.
    pub(super) fn merge_state(&self, issue: &Issue, pull: &Pull) -> &'static str {
        let failing =
            matches!(self.rollup(issue.repo, &pull.sha), Some("FAILURE" | "ERROR" | "PENDING"));
        match () {
            () if pull.unknown > 0 || !issue.open => "UNKNOWN",
            () if pull.conflicting => "DIRTY",
            () if pull.draft => "DRAFT",
            () if self.blocked(issue, pull).is_some() => "BLOCKED",
            () if self.is_late(issue, pull) => "BEHIND",
            () if failing => "UNSTABLE",
            () => "CLEAN",
        }
    }

    /// Merges; the words of a refusal are the vendor's.
    pub(super) fn merge(
        &mut self,
        repo: u64,
        number: u64,
        expected: Option<&str>,
        method: &'static str,
        by: By,
    ) -> Result<String, Refused> {
        let Some((issue, pull)) = self.pull(repo, number) else {
            return Err(Refused(404, "Not Found".into()));
        };
        let no = |words: &str| Err(Refused(405, words.to_owned()));
        if pull.merged.is_some() || !issue.open || pull.conflicting {
            return no("Pull Request is not mergeable");
        }
        if pull.draft {
            return no("Pull Request is still a draft");
        }
        if expected.is_some_and(|expected| expected != pull.sha) {
            let words = "Head branch was modified. Review and try the merge again.";
            return Err(Refused(409, words.into()));
        }
        if !self.repo_at(repo).methods.contains(&method) {
            return no(match method {
                "SQUASH" => "Squash merges are not allowed on this repository.",
                "REBASE" => "Rebase merges are not allowed on this repository.",
                _ => "Merge commits are not allowed on this repository.",
            });
        }
        if let Some(why) = self.blocked(issue, pull) {
            return no(&why);
        }
        if self.is_late(issue, pull) {
            return no("Head branch is out of date");
        }
        let (title, base) = (issue.title.clone(), pull.base.clone());
        let parent = self.repo_at(repo).branches.get(&base).cloned();
        let sha = self.commit(&title, parent);
        let pull = self.pull_mut(repo, number);
        pull.merged = Some((sha.clone(), by.clone()));
        self.set_open(repo, number, false, by);
        self.set_branch(repo, &base, &sha);
        Ok(sha)
    }

    /// Merges what was told to merge by itself and now may.
    pub(super) fn settle(&mut self) {
        let ready: Vec<_> = self
            .issues
            .values()
            .filter_map(|issue| issue.pull.as_ref().map(|pull| (issue, pull)))
            .filter_map(|(issue, pull)| {
                let may = issue.open && !pull.conflicting && !pull.draft;
                let may = may && self.blocked(issue, pull).is_none() && !self.is_late(issue, pull);
                let method = pull.auto_merge.filter(|_| may)?;
                Some((issue.repo, issue.number, method))
            })
            .collect();
        for (repo, number, method) in ready {
            let by = self.viewer.clone();
            // What became impossible meanwhile stays as it is.
            let _ = self.merge(repo, number, None, method, by);
        }
    }

    /// Begins a suite of a commit beside those there are.
    pub(super) fn add_suite(
        &mut self,
        repo: u64,
        sha: &str,
        app: &str,
        (workflow, event): (&str, &str),
    ) -> u64 {
        let id = self.number();
        let [sha, app, workflow, event] = [sha, app, workflow, event].map(str::to_owned);
        self.suites.push(Suite { id, repo, sha, app, workflow, event });
        id
    }

    /// The newest suite of an app on a commit; its first where there is none.
    pub(super) fn suite_of(&mut self, repo: u64, sha: &str, app: &str) -> u64 {
        let is = |suite: &&Suite| suite.repo == repo && suite.sha == sha && suite.app == app;
        let known = self.suites.iter().rfind(is).map(|suite| suite.id);
        known.unwrap_or_else(|| self.add_suite(repo, sha, app, ("ci", "pull_request")))
    }

    /// Begins or ends a check of a suite; one that has ended already begins anew.
    pub(super) fn add_check(
        &mut self,
        suite: u64,
        name: &str,
        conclusion: Option<&'static str>,
    ) -> u64 {
        let at = self.now();
        let Some(Suite { repo, sha, app, .. }) = found(&self.suites, suite).cloned() else {
            panic!("the fake has no suite {suite}");
        };
        let here = &self.of_commit.entry(sha.clone()).or_default().0;
        let is = |at: &&usize| {
            let check = &self.checks[**at];
            check.suite == suite && check.name == name
        };
        let known = here.iter().rfind(is).copied();
        let mut attempt = 1;
        if let Some(check) = known.map(|at| &mut self.checks[at]) {
            if check.conclusion.is_none() {
                check.finish(conclusion, at);
                return check.id;
            }
            check.latest = false;
            attempt = check.attempt + 1;
        }
        let id = self.number();
        let mut check = Check {
            id,
            repo,
            sha: sha.clone(),
            name: name.to_owned(),
            app,
            suite,
            status: "IN_PROGRESS",
            conclusion: None,
            title: None,
            summary: None,
            annotations: Vec::new(),
            steps: Vec::new(),
            log: String::new(),
            attempt,
            latest: true,
            started: at,
            completed: None,
        };
        check.finish(conclusion, at);
        self.of_commit.entry(sha).or_default().0.push(self.checks.len());
        self.checks.push(check);
        id
    }

    pub(super) fn add_status(&mut self, status: Status) {
        self.of_commit.entry(status.sha.clone()).or_default().1.push(self.statuses.len());
        self.statuses.push(status);
    }
}

impl Check {
    fn finish(&mut self, conclusion: Option<&'static str>, at: Timestamp) {
        if let Some(conclusion) = conclusion {
            self.status = "COMPLETED";
            self.conclusion = Some(conclusion);
            self.completed = Some(at);
        }
    }

    pub(super) fn is_actions(&self) -> bool {
        self.app == "github-actions"
    }
}

/// A check's verdict as a status says it.
pub(super) fn verdict(check: &Check) -> &'static str {
    match check.conclusion {
        None => "PENDING",
        Some("SUCCESS" | "NEUTRAL" | "SKIPPED") => "SUCCESS",
        Some(_) => "FAILURE",
    }
}
