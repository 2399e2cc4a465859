//! Pull requests, checks and reviews over any git repository, without a forge.
//!
//! What is known lies in the host's journal (see `book`); the repository holds refs alone, `refs/ao/pull/<n>/head` and
//! `…/base`, so that no commit of a pull request is collected. Drives the `git` program (2.40 or newer).

mod base;
mod book;
mod check;
mod look;
mod merge;
mod output;
mod review;
mod settings;
mod stray;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ao_sdk::{
    digest,
    git::{Git, Locks, Repo, is_branch},
    local::deadline,
};
use ao_slots::{
    Call, ErrorKind, PluginError, PrNumber,
    call::Answer,
    fact::PrFacts,
    plugin::{BuildContext, Registration, settings},
    scm::{
        BranchRef, CreatePr, GiveReview, MergeMethod, PrRef, PrView, Records, Scm, ScmHint, Thread,
        Verdict,
    },
    text,
};
use async_trait::async_trait;
use jiff::Timestamp;
use tokio::{
    sync::{OnceCell, Semaphore, mpsc},
    time::timeout_at,
};

pub use crate::settings::{CheckSetting, Limit, Settings};
use crate::{
    book::{Book, Changes, Pull, PullStage, open_key, pull_key, put, reviews_of},
    check::Live,
    look::{Seen, Sight, Watched, head_of, merge_base, not_found, pin},
    merge::symbolic,
    review::Review,
};

/// Its name in the config.
pub const NAME: &str = "local";

/// The most of a text that is kept, in bytes.
const TEXT_CAP: usize = 64 << 10;
/// The most of a diff that is told, in bytes.
const DIFF_CAP: usize = 1 << 20;
/// Most bytes of a file whose lines are counted.
const FILE_CAP: usize = 16 << 20;
/// Most pull requests in a list.
const LISTED: usize = 100;
/// How long a merge may take: in a large checkout most of it is writing files.
const MERGE: Duration = Duration::from_secs(600);
/// How often branches are looked at for a move between two sweeps of the host. No process is started for it.
const WATCH: Duration = Duration::from_secs(1);

/// The plugin.
pub fn registration() -> Registration<dyn Scm> {
    Registration {
        name: NAME,
        about: "pull requests, checks and reviews without a forge",
        schema: || schemars::schema_for!(Settings),
        check: |value| settings::<Settings>(NAME, value)?.validated().map(|_| ()),
        build: |value, context| {
            let settings = settings::<Settings>(NAME, value)?.validated()?;
            Ok(Arc::new(Local(Arc::new(House::new(settings, context)))))
        },
    }
}

/// The pull requests of one repository.
#[derive(Debug)]
struct Local(Arc<House>);

impl Drop for Local {
    fn drop(&mut self) {
        // Runs know the house too; without this they would go on.
        self.0.live().clear();
    }
}

/// What calls and runs share.
#[derive(Debug)]
struct House {
    settings: Settings,
    data: PathBuf,
    /// Tells the repository's logs from another's.
    slug: String,
    git_env: Arc<Vec<(OsString, OsString)>>,
    /// What checks see beside their own variables.
    env: BTreeMap<String, String>,
    book: Book,
    locks: Locks,
    recovered: OnceCell<()>,
    common: Mutex<Option<PathBuf>>,
    sights: Mutex<BTreeMap<u64, Sight>>,
    watched: Mutex<Watched>,
    live: Mutex<BTreeMap<String, Live>>,
    slots: Semaphore,
    hints: (mpsc::Sender<ScmHint>, tokio::sync::Mutex<mpsc::Receiver<ScmHint>>),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl House {
    fn new(settings: Settings, context: &BuildContext) -> Self {
        let path = settings.path.clone().unwrap_or_default();
        let digest = digest(path.as_os_str().as_encoded_bytes(), 4);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let (sender, receiver) = mpsc::channel(64);
        Self {
            data: context.data_dir.clone(),
            slug: format!("{}-{digest}", text::slug(&name, 40)),
            git_env: Git::environment(context),
            env: check_env(context),
            book: Book::default(),
            locks: Locks::default(),
            recovered: OnceCell::new(),
            common: Mutex::default(),
            sights: Mutex::default(),
            watched: Mutex::default(),
            live: Mutex::default(),
            slots: Semaphore::new(settings.parallel.get().min(1_000) as usize),
            hints: (sender, tokio::sync::Mutex::new(receiver)),
            settings,
        }
    }

    fn common(&self) -> MutexGuard<'_, Option<PathBuf>> {
        lock(&self.common)
    }

    fn sights(&self) -> MutexGuard<'_, BTreeMap<u64, Sight>> {
        lock(&self.sights)
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        lock(&self.watched)
    }

    fn live(&self) -> MutexGuard<'_, BTreeMap<String, Live>> {
        lock(&self.live)
    }

    fn path(&self) -> Result<&Path, PluginError> {
        self.settings.path.as_deref().ok_or_else(|| {
            PluginError::permanent("the repository of the pull requests is not known", "")
                .with_remedy("set `path:` of the project's `scm:`")
        })
    }

    /// How it is spelled; there is only this one.
    fn repo(&self) -> String {
        self.settings.path.as_deref().unwrap_or("".as_ref()).display().to_string()
    }

    async fn open(&self, git: &Git) -> Result<Repo, PluginError> {
        Repo::open(git, self.path()?).await.map_err(away)
    }

    fn git(&self, limit: Duration) -> Git {
        Git::new(self.git_env.clone(), Path::new("/"), limit)
    }

    async fn create(
        self: &Arc<Self>,
        call: &Call,
        request: &CreatePr,
    ) -> Result<PrRef, PluginError> {
        let title = text::cut(&text::one_line(&request.title), 256);
        let (branch, into) = (&request.head, &request.base);
        let refused = |cause: String| {
            let what = format!("no pull request for `{}`", text::one_line(branch));
            PluginError::new(ErrorKind::Refused, what, text::one_line(&cause))
        };
        if title.is_empty() {
            return Err(refused("it needs a title".to_owned()));
        }
        let git = self.git(call.limit());
        self.recover(&git).await?;
        let _change = self.book.hold(git.until()).await?;
        let pulls = self.book.pulls().await?;
        if let Some(number) = pulls.iter().find(|(_, pull)| pull.key == call.key).map(|(n, _)| *n) {
            return Ok(self.reference(number));
        }
        let open = pulls.iter().find(|(_, pull)| pull.is_open() && pull.branch == *branch);
        if let Some((number, pull)) = open {
            if pull.draft && !request.draft {
                self.write_pull(*number, &Pull { draft: false, ..pull.clone() }).await?;
            }
            return Ok(self.reference(*number));
        }
        for name in [branch, into] {
            if !is_branch(name) {
                return Err(refused(format!("`{}` is no name for a branch", name.escape_debug())));
            }
        }
        let mut refs = self.refs(&git).await?;
        let absent = |name: &str| refused(format!("the branch `{name}` does not exist"));
        let head = &refs.branch(branch).cloned().ok_or_else(|| absent(branch))?;
        let base = &refs.branch(into).cloned().ok_or_else(|| {
            absent(into).with_remedy("name the base, or set `defaultBranch:` of the project")
        })?;
        if let Some(meant) = refs.meant_by(into) {
            return Err(refused(symbolic(into, meant)).with_remedy(format!("--base {meant}")));
        }
        let repo = self.open(&git).await?;
        match merge_base(&repo.git, base, head).await? {
            None => return Err(refused(format!("it has no history in common with `{into}`"))),
            Some(common) if common == *head => {
                return Err(refused(format!("it has no commit that `{into}` lacks"))
                    .with_remedy("commit the work first"));
            }
            Some(_) => {}
        }
        let args = ["--max-count=1", "--no-commit-header", "--format=%an", "--end-of-options"];
        let author = repo.git.cmd("rev-list").args(args).arg(head).line().await?;
        let last = pulls.keys().last().copied().unwrap_or(0);
        let number = loop {
            let number = last.max(refs.largest()) + 1;
            let pins = [("head", head), ("base", base)];
            let lines = pins.map(|(what, oid)| format!("create {} {oid}", pin(number, what)));
            match repo.transact(&lines).await {
                Ok(()) => break number,
                Err(error) => {
                    refs = self.refs(&git).await?;
                    if refs.largest() < number {
                        return Err(error.into());
                    }
                    // Another project of this repository was faster.
                }
            }
        };
        let pull = Pull {
            key: call.key.clone(),
            title,
            body: words(&request.body),
            branch: branch.clone(),
            base: into.clone(),
            draft: request.draft,
            stage: PullStage::Open,
            author: Some(text::cut(&text::one_line(&author), 100)).filter(|name| !name.is_empty()),
            opened: Timestamp::now(),
            merging: None,
            merged: None,
        };
        self.write_pull(number, &pull).await?;
        self.want(number, head, into, &[]).await?;
        Ok(self.reference(number))
    }

    /// Writes one that is open. The caller holds the book.
    async fn write_pull(&self, number: u64, pull: &Pull) -> Result<(), PluginError> {
        let mut changes = Changes::new();
        put(&mut changes, pull_key(number), pull)?;
        put(&mut changes, open_key(&pull.branch), &number)?;
        self.book.write(changes).await
    }

    async fn close(self: &Arc<Self>, call: &Call, number: u64) -> Result<(), PluginError> {
        let git = self.git(call.limit());
        self.recover(&git).await?;
        let _change = self.book.hold(git.until()).await?;
        let pull = self.book.pull(number).await?.ok_or_else(|| not_found(number))?;
        match pull.stage {
            PullStage::Closed => Ok(()),
            PullStage::Merged => Err(PluginError::new(
                ErrorKind::Refused,
                format!("#{number} is not closed"),
                "it is merged",
            )),
            PullStage::Open => self.end(number, &Pull { stage: PullStage::Closed, ..pull }).await,
        }
    }

    async fn reopen(self: &Arc<Self>, call: &Call, number: u64) -> Result<(), PluginError> {
        let refused = |cause: String| {
            let what = format!("#{number} is not opened again");
            PluginError::new(ErrorKind::Refused, what, text::one_line(&cause))
        };
        let git = self.git(call.limit());
        self.recover(&git).await?;
        let _change = self.book.hold(git.until()).await?;
        let pull = self.book.pull(number).await?.ok_or_else(|| not_found(number))?;
        match pull.stage {
            PullStage::Open => return Ok(()),
            PullStage::Merged => return Err(refused("it is merged".to_owned())),
            PullStage::Closed => {}
        }
        if let Some(other) = self.book.open().await?.get(&pull.branch) {
            return Err(refused(format!("#{other} is open for `{}`", pull.branch)));
        }
        let refs = self.refs(&git).await?;
        let Some(head) = refs.branch(&pull.branch) else {
            let error = refused(format!("the branch `{}` is gone", pull.branch));
            let branch = text::shell_word(&pull.branch);
            return Err(match refs.pin(number, "head") {
                Some(kept) => error.with_remedy(format!("git branch {branch} {kept}")),
                None => error,
            });
        };
        let pull = Pull { stage: PullStage::Open, merging: None, ..pull };
        self.write_pull(number, &pull).await?;
        self.want(number, head, &pull.base, &[]).await
    }

    async fn review(
        self: &Arc<Self>,
        call: &Call,
        number: u64,
        given: &GiveReview,
    ) -> Result<(), PluginError> {
        let refused = |cause: &str| {
            PluginError::new(ErrorKind::Refused, format!("#{number} is not reviewed"), cause)
        };
        let git = self.git(call.limit());
        let seen = self.look_at_one(&git, number).await?;
        let head = seen.known_head()?;
        let (text, by) = (words(&given.text), text::cut(&text::one_line(&given.by), 100));
        if by.is_empty() {
            return Err(refused("nobody gives the review"));
        }
        if text.trim().is_empty() && (given.verdict != Verdict::Approve || given.at.is_some()) {
            return Err(refused("it says nothing").with_remedy("-m \"what is to change\""));
        }
        let _change = self.book.hold(git.until()).await?;
        let known = self.book.all::<Review>(&reviews_of(number)).await?;
        if known.values().any(|review| review.key == call.key) {
            return Ok(());
        }
        let pull = self.book.pull(number).await?.ok_or_else(|| not_found(number))?;
        if !pull.is_open() {
            return Err(not_open(number, &pull, format!("#{number} is not reviewed")));
        }
        if given.head.as_ref().is_some_and(|given| given != head) {
            return Err(refused("its head has moved since it was looked at")
                .with_remedy(format!("look again: ao pr diff {number}")));
        }
        if let Some((path, line)) = &given.at
            && let Some(why) = self.lacks(&git, head, path, *line).await?
        {
            return Err(refused(&why).with_remedy(format!("ao pr diff {number}")));
        }
        let (path, line) = given.at.clone().unzip();
        let path = path.map(|path| text::cut(&text::one_line(&path), 400));
        let review = Review {
            key: call.key.clone(),
            head: head.to_owned(),
            verdict: given.verdict,
            text,
            path: path.filter(|path| !path.is_empty()),
            line: line.filter(|line| *line > 0),
            by,
            at: Timestamp::now(),
        };
        let mut changes = Changes::new();
        // Their keys are in the order in which they were given.
        put(&mut changes, format!("{}{:06}", reviews_of(number), known.len() + 1), &review)?;
        self.book.write(changes).await
    }

    /// Why nobody can speak of this line of a commit's file; none where it is there. Line 0 is the whole file.
    async fn lacks(
        &self,
        git: &Git,
        head: &str,
        path: &str,
        line: u32,
    ) -> Result<Option<String>, PluginError> {
        let shown = text::cut(&text::one_line(path), 400);
        let absent = || Ok(Some(format!("`{shown}` is no file of its head")));
        if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return absent();
        }
        let repo = self.open(git).await?;
        let literal = format!(":(literal){path}");
        let call = repo.git.cmd("ls-tree").args(["-z", "--full-tree", head, "--", &literal]);
        let listed = String::from_utf8_lossy(&call.run().await?).into_owned();
        // `<mode> <type> <object>\t<path>`: a folder and a submodule are listed, too.
        let Some((_, object)) = listed.split('\t').next().and_then(|it| it.split_once(" blob "))
        else {
            return absent();
        };
        let call = repo.git.cmd("cat-file").args(["blob", object]).cap(FILE_CAP);
        let bytes = call.output().await?.succeeded("cat-file")?;
        let lines = bytes.split_inclusive(|byte| *byte == b'\n').count() as u64;
        // Of a file that is larger, the rest is not counted.
        let is_there = u64::from(line) <= lines || bytes.len() == FILE_CAP;
        let has = || format!("`{shown}` has {}", text::count(lines, "line", "lines"));
        Ok((!is_there).then(has))
    }

    async fn rerun(
        self: &Arc<Self>,
        call: &Call,
        number: u64,
        check: Option<&str>,
    ) -> Result<(), PluginError> {
        let git = self.git(call.limit());
        let seen = self.look_at_one(&git, number).await?;
        if !seen.pull.is_open() {
            let what = format!("no check of #{number} runs again");
            return Err(not_open(number, &seen.pull, what));
        }
        let failed = |name: &&String| {
            seen.checks.get(*name).is_some_and(|check| check.stage == book::CheckStage::Failed)
        };
        let names = self.settings.checks.iter().map(|setting| &setting.name);
        let again: Vec<String> = match check {
            None => names.filter(failed).cloned().collect(),
            Some(check) => names.filter(|name| *name == check).cloned().collect(),
        };
        if let (Some(check), []) = (check, &again[..]) {
            return Err(no_check(number, check));
        }
        let _change = self.book.hold(git.until()).await?;
        let pull = self.book.pull(number).await?.ok_or_else(|| not_found(number))?;
        let now = head_of(number, &pull, &self.refs(&git).await?);
        if !pull.is_open() || now.as_ref() != Some(&seen.head) {
            let what = format!("no check of #{number} runs again");
            return Err(PluginError::transient(what, "its head has just moved"));
        }
        self.want(number, &seen.head, &pull.base, &again).await
    }

    async fn diff(self: &Arc<Self>, call: &Call, number: u64) -> Result<String, PluginError> {
        let git = self.git(call.limit());
        let seen = self.look_at_one(&git, number).await?;
        let refs = self.refs(&git).await?;
        let base = match seen.pull.is_open() {
            true => refs.branch(&seen.pull.base).or(refs.pin(number, "base")),
            false => refs.pin(number, "base"),
        };
        let base = base.ok_or_else(|| {
            let cause = format!("the branch `{}` is gone", seen.pull.base);
            PluginError::permanent(format!("cannot compare #{number} with its base"), cause)
        })?;
        let repo = self.open(&git).await?;
        let range = format!("{base}...{}", seen.known_head()?);
        let args =
            ["--no-ext-diff", "--no-textconv", "--no-color", "--end-of-options", &range, "--"];
        let call = repo.git.cmd("diff").args(args).cap(DIFF_CAP);
        let bytes = call.output().await?.succeeded("diff")?;
        let mut diff = text::plain(&String::from_utf8_lossy(&bytes));
        if bytes.len() == DIFF_CAP {
            let more = format!("\n… it goes on: git diff {range}\n");
            let room = DIFF_CAP - more.len();
            diff.truncate((0..=room).rev().find(|at| diff.is_char_boundary(*at)).unwrap_or(0));
            diff.push_str(&more);
        }
        Ok(diff)
    }
}

/// What a check may see of the server's environment: no secret, nothing that is about `ao`, git or a terminal.
fn check_env(context: &BuildContext) -> BTreeMap<String, String> {
    let stays = |name: &str| {
        !text::names_secret(name)
            && !["AO_", "GIT_", "TMUX"].iter().any(|prefix| name.starts_with(prefix))
    };
    let mut env = context.env.clone();
    env.retain(|name, _| stays(name));
    env.entry("PATH".into()).or_insert_with(|| "/usr/local/bin:/usr/bin:/bin".into());
    env.insert("HOME".into(), context.home.display().to_string());
    env.insert("TERM".into(), "dumb".into());
    env.insert("CI".into(), "true".into());
    env
}

/// Somebody's words, harmless and not too many.
fn words(text: &str) -> String {
    let mut text = text::plain(text);
    if text.len() > TEXT_CAP {
        let room = TEXT_CAP - "…".len();
        text.truncate((0..=room).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0));
        text.push('…');
    }
    text
}

fn not_open(number: u64, pull: &Pull, what: String) -> PluginError {
    let refused = |cause| PluginError::new(ErrorKind::Refused, what, cause);
    match pull.stage {
        PullStage::Merged => refused("it is merged"),
        _ => refused("it is closed").with_remedy(format!("ao pr reopen {number}")),
    }
}

fn no_check(number: u64, check: &str) -> PluginError {
    let what = format!("#{number} has no check `{}`", text::one_line(check));
    PluginError::new(ErrorKind::NotFound, what, "")
}

/// A repository that is not there now says nothing of its pull requests.
fn away(error: PluginError) -> PluginError {
    match error.kind {
        ErrorKind::NotFound => PluginError { kind: ErrorKind::Transient, ..error },
        _ => error,
    }
}

/// Looking changes nothing, so a look that did not end may be repeated.
fn looking(mut error: PluginError) -> PluginError {
    if error.kind == ErrorKind::InDoubt {
        error.kind = ErrorKind::Transient;
    }
    error
}

#[async_trait]
impl Scm for Local {
    fn keep(&self, records: Arc<dyn Records>) {
        self.0.book.keep(records);
    }

    async fn changed(&self) -> ScmHint {
        let house = &self.0;
        let mut hints = house.hints.1.lock().await;
        loop {
            tokio::select! {
                Some(hint) = hints.recv() => return hint,
                () = tokio::time::sleep(WATCH) => {}
            }
            let watching = house.clone();
            let moved = tokio::task::spawn_blocking(move || watching.moved()).await;
            if let Ok(Some((number, at))) = moved {
                return ScmHint { repo: house.repo(), pr: number.map(PrNumber), delivery: at };
            }
        }
    }

    async fn detect(
        &self,
        _: &Call,
        branches: &[BranchRef],
    ) -> Result<Vec<Answer<PrRef>>, PluginError> {
        let open = self.0.book.open().await?;
        let found = |branch: &BranchRef| match open.get(&branch.branch) {
            Some(number) => Answer::Yes(self.0.reference(*number)),
            None => Answer::No,
        };
        Ok(branches.iter().map(found).collect())
    }

    async fn observe(
        &self,
        call: &Call,
        prs: &[PrRef],
    ) -> Result<Vec<Answer<PrFacts>>, PluginError> {
        if prs.is_empty() {
            return Ok(Vec::new());
        }
        let numbers: Vec<u64> = prs.iter().map(|pr| pr.number.0).collect();
        let git = self.0.git(call.limit());
        let seen = self.0.look(&git, &numbers).await.map_err(looking)?;
        let facts = |answer: Answer<Seen>| match answer {
            Answer::Yes(seen) => match seen.pull.is_open().then(|| seen.known_head()) {
                Some(Err(error)) => Answer::Unknown(error.to_string()),
                _ => Answer::Yes(self.0.facts(&seen, &seen.reviews.threads(&seen.head))),
            },
            Answer::No => Answer::No,
            Answer::Unknown(why) => Answer::Unknown(why),
        };
        Ok(seen.into_iter().map(facts).collect())
    }

    async fn list(&self, call: &Call, _: &str, all: bool) -> Result<Vec<PrView>, PluginError> {
        let mut numbers: Vec<u64> = match all {
            true => self.0.book.pulls().await?.into_keys().collect(),
            false => self.0.book.open().await?.into_values().collect(),
        };
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        numbers.truncate(LISTED);
        let git = self.0.git(call.limit());
        let seen = self.0.look(&git, &numbers).await.map_err(looking)?;
        let view = |answer: Answer<Seen>| match answer {
            Answer::Yes(seen) => Some(Ok(self.0.view(&seen))),
            Answer::No => None,
            Answer::Unknown(why) => {
                Some(Err(PluginError::transient("cannot list the pull requests", why)))
            }
        };
        seen.into_iter().filter_map(view).collect()
    }

    async fn show(&self, call: &Call, pr: &PrRef) -> Result<PrView, PluginError> {
        let git = self.0.git(call.limit());
        let seen = self.0.look_at_one(&git, pr.number.0).await.map_err(looking)?;
        Ok(self.0.view(&seen))
    }

    async fn diff(&self, call: &Call, pr: &PrRef) -> Result<String, PluginError> {
        self.0.diff(call, pr.number.0).await.map_err(looking)
    }

    async fn create(&self, call: &Call, request: &CreatePr) -> Result<PrRef, PluginError> {
        self.0.create(call, request).await
    }

    async fn merge(
        &self,
        call: &Call,
        pr: &PrRef,
        expected_head: &str,
        method: Option<MergeMethod>,
    ) -> Result<String, PluginError> {
        // A merge that is cut off could leave half of it in a human's checkout: it goes on without its caller.
        let (house, head, number) = (self.0.clone(), expected_head.to_owned(), pr.number.0);
        // Nobody forbids any.
        let method = method.unwrap_or(MergeMethod::Squash);
        let work =
            tokio::spawn(
                async move { house.merge(&house.git(MERGE), number, &head, method).await },
            );
        let in_doubt = |cause: String| {
            PluginError::in_doubt(format!("the merge of {} did not end in time", pr.number), cause)
        };
        match timeout_at(deadline(call), work).await {
            Ok(Ok(done)) => done,
            Ok(Err(error)) => Err(in_doubt(error.to_string())),
            Err(_) => Err(in_doubt("it goes on".to_owned())),
        }
    }

    async fn close(&self, call: &Call, pr: &PrRef) -> Result<(), PluginError> {
        self.0.close(call, pr.number.0).await
    }

    async fn reopen(&self, call: &Call, pr: &PrRef) -> Result<(), PluginError> {
        self.0.reopen(call, pr.number.0).await
    }

    async fn review(
        &self,
        call: &Call,
        pr: &PrRef,
        review: &GiveReview,
    ) -> Result<(), PluginError> {
        self.0.review(call, pr.number.0, review).await
    }

    async fn rerun(&self, call: &Call, pr: &PrRef, check: Option<&str>) -> Result<(), PluginError> {
        self.0.rerun(call, pr.number.0, check).await
    }

    async fn failing_check_log(
        &self,
        call: &Call,
        pr: &PrRef,
        check: &str,
    ) -> Result<String, PluginError> {
        let number = pr.number.0;
        let seen = self.0.look_at_one(&self.0.git(call.limit()), number).await.map_err(looking)?;
        let found = seen.checks.get(check).ok_or_else(|| no_check(number, check))?;
        let path = self.0.log(number, &found.mark);
        match output::read(&path) {
            Ok(log) => Ok(output::excerpt(&log)),
            // What was never started left its reason alone.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                found.summary.clone().ok_or_else(|| {
                    let what = format!("the check `{check}` of #{number} has written nothing yet");
                    PluginError::new(ErrorKind::NotFound, what, "")
                })
            }
            Err(error) => {
                Err(PluginError::permanent(format!("cannot read {}", path.display()), error))
            }
        }
    }

    async fn threads(&self, call: &Call, pr: &PrRef) -> Result<Vec<Thread>, PluginError> {
        let number = pr.number.0;
        let git = self.0.git(call.limit());
        let seen = self.0.look_at_one(&git, number).await.map_err(looking)?;
        Ok(seen.reviews.threads(&seen.head))
    }

    fn verify_webhook(&self, _: &[(String, String)], _: &[u8]) -> Result<(), PluginError> {
        Err(PluginError::unsupported("a repository without a forge sends no webhooks"))
    }

    fn parse_webhook(
        &self,
        _: &[(String, String)],
        _: &[u8],
    ) -> Result<Option<ScmHint>, PluginError> {
        Err(PluginError::unsupported("a repository without a forge sends no webhooks"))
    }
}
