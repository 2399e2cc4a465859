//! What git says of pull requests: one process for all, and a few more for those whose head or base has moved.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use ao_sdk::git::{Git, GitError, Ref, Repo, read_small};
use ao_slots::{
    ErrorKind, PluginError, PrNumber,
    call::Answer,
    fact::{Mergeable, PrComment, PrDetails, PrFacts},
    scm::{PrRef, PrView, Thread},
    text,
};
use jiff::Timestamp;

use crate::{
    House, away,
    book::{Changes, Check, Merge, Pull, PullStage, open_key, pull_key, put, reviews_of},
    check,
    merge::{Merged, Scratch, merge_trees, tree_of},
    review::{Review, Reviews, discussion},
};

/// Most unresolved comments that the facts carry.
const COMMENTS: usize = 5;
/// Most files in conflict that are named.
const CONFLICTS: usize = 50;

/// Branches and the commits of pull requests, by full name.
#[derive(Debug)]
pub(crate) struct Refs(BTreeMap<String, Ref>);

impl Refs {
    pub(crate) fn branch(&self, name: &str) -> Option<&String> {
        Some(&self.0.get(&format!("refs/heads/{name}"))?.oid)
    }

    /// The branch that another one stands for.
    pub(crate) fn meant_by(&self, name: &str) -> Option<&str> {
        let meant = self.0.get(&format!("refs/heads/{name}"))?.symref.as_ref()?;
        Some(meant.strip_prefix("refs/heads/").unwrap_or(meant))
    }

    /// The last head that had something to merge (`head`), and the base at that time (`base`).
    pub(crate) fn pin(&self, number: u64, what: &str) -> Option<&String> {
        Some(&self.0.get(&pin(number, what))?.oid)
    }

    /// The largest number that this repository has seen, also by another data directory.
    pub(crate) fn largest(&self) -> u64 {
        // Anybody can write such a ref: one far off must not use the numbers up.
        let number = |name: &String| {
            name.strip_prefix("refs/ao/pull/")?.split('/').next()?.parse::<u32>().ok()
        };
        self.0.keys().filter_map(number).max().unwrap_or(0).into()
    }
}

pub(crate) fn pin(number: u64, what: &str) -> String {
    format!("refs/ao/pull/{number}/{what}")
}

/// How a head stands to a base.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sight {
    head: String,
    base: String,
    /// It has commits that the base lacks.
    is_ahead: bool,
    /// It changed something, and a merge would change nothing.
    is_in: bool,
    /// Nobody has merged it by hand.
    is_judged: bool,
    mergeable: Mergeable,
    conflicts: Vec<String>,
    /// Files, lines added, lines removed.
    changes: (u32, u32, u32),
}

impl Sight {
    /// Whether somebody may have merged it by hand, and it is not known that nobody has.
    fn is_to_judge(&self) -> bool {
        (!self.is_ahead || self.is_in) && !self.is_judged
    }
}

/// What several looks of one sweep share, once one of them needs it.
#[derive(Debug)]
struct Opened {
    repo: Repo,
    scratch: Option<Scratch>,
}

/// All there is to know of one.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) number: u64,
    pub(crate) pull: Pull,
    /// Empty where its commits are gone.
    pub(crate) head: String,
    /// None when its base is gone.
    pub(crate) sight: Option<Sight>,
    pub(crate) reviews: Reviews,
    pub(crate) checks: BTreeMap<String, Check>,
}

impl Seen {
    /// The head, where it is to be known.
    pub(crate) fn known_head(&self) -> Result<&str, PluginError> {
        let is_known = !self.head.is_empty();
        is_known.then_some(&*self.head).ok_or_else(|| no_commits(self.number, &self.pull))
    }
}

impl House {
    /// Where the refs stand.
    pub(crate) async fn refs(&self, git: &Git) -> Result<Refs, PluginError> {
        // A folder that is gone would read as a git that is not installed.
        let known = self.common().clone().filter(|common| common.is_dir());
        let common = match known {
            Some(common) => common,
            None => self.open(git).await?.common,
        };
        let listed = git.on(&common, None).refs(&["refs/heads", "refs/ao/pull"]).await;
        *self.common() = listed.is_ok().then_some(common);
        let listed = listed.map_err(|error| away(error.into()))?;
        Ok(Refs(listed.into_iter().map(|found| (found.name.clone(), found)).collect()))
    }

    /// Looks at pull requests; what has to follow from it is done: commits kept, checks begun and ended, a merge by hand
    /// recorded.
    pub(crate) async fn look(
        self: &Arc<Self>,
        git: &Git,
        numbers: &[u64],
    ) -> Result<Vec<Answer<Seen>>, PluginError> {
        self.recover(git).await?;
        let refs = self.refs(git).await?;
        let mut opened = None;
        let mut seen = Vec::with_capacity(numbers.len());
        for number in numbers {
            seen.push(match self.look_at(git, &refs, &mut opened, *number).await {
                Ok(Some(seen)) => Answer::Yes(seen),
                Ok(None) => Answer::No,
                Err(error) => Answer::Unknown(error.to_string()),
            });
        }
        self.watch(&seen);
        Ok(seen)
    }

    /// Looks at one that has to be there.
    pub(crate) async fn look_at_one(
        self: &Arc<Self>,
        git: &Git,
        number: u64,
    ) -> Result<Seen, PluginError> {
        self.recover(git).await?;
        let refs = self.refs(git).await?;
        let seen = self.look_at(git, &refs, &mut None, number).await?;
        seen.ok_or_else(|| not_found(number))
    }

    async fn look_at(
        self: &Arc<Self>,
        git: &Git,
        refs: &Refs,
        opened: &mut Option<Opened>,
        number: u64,
    ) -> Result<Option<Seen>, PluginError> {
        let Some(mut pull) = self.book.pull(number).await? else { return Ok(None) };
        let head = head_of(number, &pull, refs);
        let base = base_of(number, &pull, refs);
        let sight = match head.as_ref().zip(base.as_ref()) {
            Some((head, base)) => match self.sight(git, opened, number, head, base).await {
                // Of what has ended the record is enough: its commits may be gone.
                Err(error) if !pull.is_open() && error.kind == ErrorKind::Permanent => None,
                sight => Some(sight?),
            },
            None => None,
        };
        if let Some(head) = head.as_ref().filter(|_| pull.is_open()) {
            let is_ahead = sight.as_ref().is_none_or(|sight| sight.is_ahead);
            let to_judge = sight.as_ref().is_some_and(Sight::is_to_judge);
            let is_kept = refs.pin(number, "head") == Some(head);
            if pull.merging.is_some() && base.is_some()
                || to_judge
                || is_ahead && (!is_kept || self.is_wanting(number, head).await?)
            {
                pull = self.follow(git, number, head, base.as_ref(), sight.as_ref()).await?;
            }
        }
        let merged = pull.merged.as_ref().map(|merged| merged.head.clone());
        let head = merged.or(head).unwrap_or_default();
        let reviews = self.book.all::<Review>(&reviews_of(number)).await?;
        let reviews = Reviews(reviews.into_values().collect());
        let checks = self.book.checks(number, &head).await?;
        Ok(Some(Seen { number, pull, head, sight, reviews, checks }))
    }

    /// Does what follows from where an open one's head is seen. Where it has moved meanwhile, the next look does.
    async fn follow(
        self: &Arc<Self>,
        git: &Git,
        number: u64,
        head: &str,
        base: Option<&String>,
        sight: Option<&Sight>,
    ) -> Result<Pull, PluginError> {
        let _change = self.book.hold(git.until()).await?;
        let Some(mut pull) = self.book.pull(number).await? else { return Err(not_found(number)) };
        let refs = self.refs(git).await?;
        if !pull.is_open()
            || head_of(number, &pull, &refs).is_none_or(|now| now != head)
            || base_of(number, &pull, &refs).as_ref() != base
        {
            return Ok(pull);
        }
        let repo = self.open(git).await?;
        if let (Some(merge), Some(base)) = (pull.merging.clone(), base) {
            if contains(&repo, base, &merge.commit).await? {
                return self.merged(number, pull, merge).await;
            }
            pull.merging = None;
            self.write_pull(number, &pull).await?;
        }
        if let Some(sight) = sight.filter(|sight| sight.is_to_judge()) {
            if let Some(commit) = by_hand(&repo, &refs, number, sight).await? {
                let head = refs.pin(number, "head").cloned().unwrap_or_default();
                let merge = Merge { commit, head, at: Timestamp::now() };
                return self.merged(number, pull, merge).await;
            }
            if let Some(sight) = self.sights().get_mut(&number).filter(|known| *known == sight) {
                sight.is_judged = true;
            }
        }
        if sight.is_none_or(|sight| sight.is_ahead) {
            self.keep(&repo, &refs, number, head, base).await?;
            self.want(number, head, &pull.base, &[]).await?;
        }
        Ok(pull)
    }

    /// Keeps a head, and the base that it goes into, from being collected.
    pub(crate) async fn keep(
        &self,
        repo: &Repo,
        refs: &Refs,
        number: u64,
        head: &str,
        base: Option<&String>,
    ) -> Result<(), PluginError> {
        let pins = [("head", Some(head)), ("base", base.map(String::as_str))];
        let moved = |(what, oid): (&str, Option<&str>)| {
            let oid = oid.filter(|oid| refs.pin(number, what).is_none_or(|kept| kept != oid))?;
            Some(format!("update {} {oid}", pin(number, what)))
        };
        let lines: Vec<String> = pins.into_iter().filter_map(moved).collect();
        if !lines.is_empty() {
            repo.transact(&lines).await?;
        }
        Ok(())
    }

    /// Records a merge that has happened. The caller holds the book.
    pub(crate) async fn merged(
        &self,
        number: u64,
        mut pull: Pull,
        merge: Merge,
    ) -> Result<Pull, PluginError> {
        pull.stage = PullStage::Merged;
        pull.merging = None;
        pull.merged = Some(merge);
        self.end(number, &pull).await?;
        Ok(pull)
    }

    /// Records one that is no longer open, and ends its checks. The caller holds the book.
    pub(crate) async fn end(&self, number: u64, pull: &Pull) -> Result<(), PluginError> {
        let mut changes = Changes::new();
        self.cancel_others(number, None, &mut changes).await?;
        let merged = pull.merged.as_ref().map(|merged| &*merged.head);
        self.forget_all_but_last(number, merged, &mut changes).await?;
        put(&mut changes, pull_key(number), pull)?;
        changes.insert(open_key(&pull.branch), None);
        self.book.write(changes.clone()).await?;
        self.cancel(&changes);
        Ok(())
    }

    /// How a head stands to a base: looked up again only when one of them has moved.
    async fn sight(
        &self,
        git: &Git,
        opened: &mut Option<Opened>,
        number: u64,
        head: &str,
        base: &str,
    ) -> Result<Sight, PluginError> {
        let known = self.sights().get(&number).cloned();
        if let Some(sight) = known.filter(|sight| sight.head == head && sight.base == base) {
            return Ok(sight);
        }
        let Opened { repo, scratch } = match opened {
            Some(opened) => opened,
            none => {
                let repo = self.open(git).await?;
                none.insert(Opened { scratch: Scratch::beside(&repo), repo })
            }
        };
        let git = &repo.git;
        let mut sight = Sight {
            head: head.to_owned(),
            base: base.to_owned(),
            is_ahead: true,
            is_in: false,
            is_judged: false,
            mergeable: Mergeable::Unknown,
            conflicts: Vec::new(),
            changes: (0, 0, 0),
        };
        match merge_base(git, base, head).await? {
            Some(common) if common == head => sight.is_ahead = false,
            None => sight.changes = git.changes(base, head).await?,
            Some(_) => {
                sight.changes = git.changes(base, head).await?;
                match merge_trees(git, base, head, None, scratch.as_ref()).await? {
                    Merged::Clean(tree) => {
                        sight.mergeable = Mergeable::Yes;
                        sight.is_in = sight.changes.0 > 0 && tree == tree_of(git, base).await?;
                    }
                    Merged::Conflicting(mut files) => {
                        files.truncate(CONFLICTS);
                        sight.mergeable = Mergeable::Conflicting;
                        sight.conflicts = files;
                    }
                }
            }
        }
        self.sights().insert(number, sight.clone());
        Ok(sight)
    }

    /// What a rule or a human is told.
    pub(crate) fn facts(&self, seen: &Seen, threads: &[Thread]) -> PrFacts {
        let Seen { number, pull, head, sight, reviews, .. } = seen;
        let runs = self.runs(*number, &seen.checks);
        let check::Roll { checks, failing, pending, passed, failure } = check::roll(&runs);
        let (review, approved_by) = reviews.roll(head, self.settings.required_approvals);
        let unresolved = threads.iter().filter(|thread| !thread.resolved);
        let (open, remarks) = reviews.open();
        let (files, added, removed) = sight.as_ref().map_or((0, 0, 0), |sight| sight.changes);
        let of_open = sight.as_ref().filter(|_| pull.is_open());
        PrFacts {
            number: PrNumber(*number),
            title: pull.title.clone(),
            head: head.clone(),
            state: pull.state(),
            checks,
            failing,
            pending,
            review,
            human_threads: count(open),
            remarks: count(remarks.len()),
            remark_ids: remarks,
            bot_threads: 0,
            mergeable: of_open.map_or(Mergeable::Unknown, |sight| sight.mergeable),
            discussion: discussion(threads),
            details: Box::new(PrDetails {
                base: Some(pull.base.clone()),
                added,
                removed,
                files,
                passed,
                checks: count(runs.len()),
                failure,
                head_approved: !approved_by.is_empty(),
                approved_by,
                threads: count(threads.len()),
                comments: unresolved.take(COMMENTS).filter_map(comment).collect(),
                conflicts: of_open.map(|sight| sight.conflicts.clone()).unwrap_or_default(),
                ..PrDetails::default()
            }),
        }
    }

    pub(crate) fn view(&self, seen: &Seen) -> PrView {
        let threads = seen.reviews.threads(&seen.head);
        PrView {
            pr: self.reference(seen.number),
            facts: self.facts(seen, &threads),
            body: seen.pull.body.clone(),
            branch: seen.pull.branch.clone(),
            author: seen.pull.author.clone(),
            checks: self.runs(seen.number, &seen.checks),
            threads,
        }
    }

    pub(crate) fn reference(&self, number: u64) -> PrRef {
        PrRef { repo: self.repo(), number: PrNumber(number), node: None }
    }

    /// Notes where the branches stand that these go from and into.
    fn watch(&self, seen: &[Answer<Seen>]) {
        let Some(common) = self.common().clone() else { return };
        let file = |branch: &String| common.join("refs/heads").join(branch);
        let mut watched = self.watched();
        for answer in seen {
            let Answer::Yes(seen) = answer else { continue };
            let head = file(&seen.pull.branch);
            if !seen.pull.is_open() {
                watched.remove(&head);
                continue;
            }
            watched.insert(head, (seen.head.clone(), Some(seen.number)));
            if let Some(sight) = &seen.sight {
                watched.insert(file(&seen.pull.base), (sight.base.clone(), None));
            }
        }
    }

    /// The number of a pull request whose branch has moved, once for each move; none within is a base's move.
    pub(crate) fn moved(&self) -> Option<(Option<u64>, String)> {
        self.watched().iter_mut().find_map(|(file, (known, number))| {
            // Packed, it has no file, and has not moved.
            let now = tip(file).filter(|now| now != known)?;
            known.clone_from(&now);
            Some((*number, now))
        })
    }
}

/// A branch's file, as long as it is one; of one that stands for another, that other's tells.
fn tip(file: &Path) -> Option<String> {
    let text = String::from_utf8(read_small(file).ok()?).ok()?;
    Some(text.trim_end().to_owned()).filter(|text| !text.starts_with("ref:"))
}

/// Files of branches: what they hold, and whose head it is.
pub(crate) type Watched = BTreeMap<PathBuf, (String, Option<u64>)>;

fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn comment(thread: &Thread) -> Option<PrComment> {
    let first = thread.comments.first()?;
    let place = |path: &String| match thread.line {
        Some(line) => format!("{path}:{line}"),
        None => path.clone(),
    };
    Some(PrComment {
        by: first.author.clone(),
        place: thread.path.as_ref().map(place),
        text: text::cut(&first.text, 2_000),
    })
}

/// Where its branch is, else where it was.
pub(crate) fn head_of(number: u64, pull: &Pull, refs: &Refs) -> Option<String> {
    let (branch, kept) = (refs.branch(&pull.branch), refs.pin(number, "head"));
    let head = match (&pull.merged, pull.is_open()) {
        (Some(merged), _) => Some(&merged.head),
        (None, true) => branch.or(kept),
        (None, false) => kept.or(branch),
    };
    head.cloned()
}

fn no_commits(number: u64, pull: &Pull) -> PluginError {
    let cause = format!("the branch `{}` is gone", text::one_line(&pull.branch));
    PluginError::permanent(format!("the commits of #{number} are not known"), cause)
}

/// What it goes into; of one that has ended, what it was meant for then.
fn base_of(number: u64, pull: &Pull, refs: &Refs) -> Option<String> {
    let branch = refs.branch(&pull.base);
    let kept = refs.pin(number, "base");
    if pull.is_open() { branch.cloned() } else { kept.or(branch).cloned() }
}

pub(crate) fn not_found(number: u64) -> PluginError {
    PluginError::new(ErrorKind::NotFound, format!("there is no pull request #{number}"), "")
}

/// The best common commit; none when the histories have none.
pub(crate) async fn merge_base(
    git: &Git,
    base: &str,
    head: &str,
) -> Result<Option<String>, GitError> {
    let output = git.cmd("merge-base").args(["--end-of-options", base, head]).output().await?;
    if output.code == Some(1) {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&output.succeeded("merge-base")?).trim_end().to_owned()))
}

/// Whether a commit of ours is part of a base; one that is not there any more is not.
pub(crate) async fn contains(repo: &Repo, base: &str, commit: &str) -> Result<bool, GitError> {
    match repo.contains(base, commit).await {
        Err(GitError::Failed { .. }) => Ok(false),
        answer => answer,
    }
}

/// The commit by which somebody has put all of it into the base: the last kept head, or the base itself. Only what had
/// something to merge can have been merged; a branch that was put back to its base was not.
async fn by_hand(
    repo: &Repo,
    refs: &Refs,
    number: u64,
    sight: &Sight,
) -> Result<Option<String>, GitError> {
    let Sight { head, base, .. } = sight;
    let Some(kept) = refs.pin(number, "head") else { return Ok(None) };
    if !sight.is_ahead {
        return Ok(is_all_in(repo, base, kept).await?.then(|| kept.clone()));
    }
    let Some(before) = refs.pin(number, "base").filter(|before| *before != base && kept == head)
    else {
        return Ok(None);
    };
    let scratch = Scratch::beside(repo);
    let had_something = match merge_trees(&repo.git, before, head, None, scratch.as_ref()).await? {
        Merged::Clean(tree) => tree != tree_of(&repo.git, before).await?,
        Merged::Conflicting(_) => true,
    };
    Ok(had_something.then(|| base.clone()))
}

/// Whether each commit of a head is in the base, by itself or by what it changes.
async fn is_all_in(repo: &Repo, base: &str, head: &str) -> Result<bool, GitError> {
    let listed = repo.git.cmd("cherry").args(["--end-of-options", base, head]).run().await?;
    Ok(!listed.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"+")))
}
