//! Runs the configured commands on a clean worktree of a head.
//!
//! A run is recorded as queued before anything is done for it, and carries a mark that names its worktree, its log and,
//! by a variable, its processes. So whoever finds a record under way that nobody runs can end what is left of it.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ao_sdk::{git::Git, group::Group, local::remove_folder};
use ao_slots::{
    PluginError, PrNumber,
    process::ProcessId,
    scm::{CheckRun, CheckState, ScmHint},
    text,
};
use jiff::Timestamp;
use serde_json::Value;
use tokio::{
    io::AsyncReadExt,
    net::unix::pipe::Receiver,
    process::Command,
    sync::oneshot,
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    House,
    book::{Changes, Check, CheckStage, checks_of, put},
    output::{self, Log},
    settings::CheckSetting,
    stray,
};

/// How long git may take to make or remove a worktree.
const CHECKOUT: Duration = Duration::from_secs(600);
/// How long the result of a run waits between two tries to record it.
const AGAIN: Duration = Duration::from_secs(5);

/// Checks of earlier heads that are remembered of a pull request.
const EARLIER: usize = 100;
/// How long output may still come when its command has ended.
const LATE_OUTPUT: Duration = Duration::from_secs(1);

/// A run that this process has under way. Dropped, it is cancelled.
#[derive(Debug)]
pub(crate) struct Live {
    mark: String,
    _cancel: oneshot::Sender<()>,
}

/// One run to do.
#[derive(Debug, Clone)]
struct Job {
    number: u64,
    head: String,
    base: String,
    setting: CheckSetting,
    check: Check,
}

impl Job {
    fn key(&self) -> String {
        format!("{}{}", checks_of(self.number, &self.head), self.setting.name)
    }
}

/// How a run ended by itself or by its limits.
#[derive(Debug)]
struct Ended {
    passed: bool,
    exit: Option<i32>,
    summary: Option<String>,
}

impl Ended {
    fn failed(summary: String) -> Self {
        Self { passed: false, exit: None, summary: Some(summary) }
    }
}

/// What the checks of a head come to.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Roll {
    pub(crate) checks: ao_slots::fact::Checks,
    pub(crate) failing: Vec<String>,
    pub(crate) pending: u32,
    pub(crate) passed: u32,
    pub(crate) failure: Option<String>,
}

impl House {
    /// Has the checks of this head run, unless they have or do; those of other heads end. The caller holds the book.
    pub(crate) async fn want(
        self: &Arc<Self>,
        number: u64,
        head: &str,
        base: &str,
        again: &[String],
    ) -> Result<(), PluginError> {
        let mut changes = Changes::new();
        self.cancel_others(number, Some(head), &mut changes).await?;
        let known = self.book.checks(number, head).await?;
        let mut jobs = Vec::new();
        for setting in &self.settings.checks {
            let before = known.get(&setting.name);
            let stands = before.is_some_and(|check| match check.stage {
                CheckStage::Passed | CheckStage::Failed => !again.contains(&setting.name),
                CheckStage::Queued | CheckStage::Running => {
                    self.is_live(&check.mark) && !again.contains(&setting.name)
                }
                CheckStage::Cancelled => false,
            });
            if !stands {
                let check = Check::queued(before, mark(number));
                let (head, base) = (head.to_owned(), base.to_owned());
                let job = Job { number, head, base, setting: setting.clone(), check };
                put(&mut changes, job.key(), &job.check)?;
                jobs.push(job);
            }
        }
        self.forget(number, head, &mut changes).await?;
        let dropped: Vec<String> = changes.keys().cloned().collect();
        self.book.write(changes).await?;
        let mut live = self.live();
        live.retain(|key, _| !dropped.contains(key));
        for job in jobs {
            let (cancel, cancelled) = oneshot::channel();
            live.insert(job.key(), Live { mark: job.check.mark.clone(), _cancel: cancel });
            tokio::spawn(self.clone().run(job, cancelled));
        }
        Ok(())
    }

    /// Lets go of the oldest checks of earlier heads.
    async fn forget(
        &self,
        number: u64,
        head: &str,
        changes: &mut Changes,
    ) -> Result<(), PluginError> {
        let of_head = checks_of(number, head);
        let all = self.book.all::<Check>(&format!("check/{number}/")).await?;
        let mut earlier: Vec<(Option<Timestamp>, String)> = all
            .into_iter()
            .filter(|(key, check)| !key.starts_with(&of_head) && !check.is_under_way())
            .map(|(key, check)| (check.ended, key))
            .collect();
        earlier.sort();
        let over = earlier.len().saturating_sub(EARLIER);
        changes.extend(earlier.drain(..over).map(|(_, key)| (key, None)));
        Ok(())
    }

    /// Whether [`House::want`] would do anything.
    pub(crate) async fn is_wanting(&self, number: u64, head: &str) -> Result<bool, PluginError> {
        let all = self.book.all::<Check>(&format!("check/{number}/")).await?;
        let of_head = checks_of(number, head);
        let stray =
            all.iter().any(|(key, check)| check.is_under_way() && !key.starts_with(&of_head));
        let missing = |setting: &CheckSetting| {
            all.get(&format!("{of_head}{}", setting.name)).is_none_or(|check| match check.stage {
                CheckStage::Cancelled => true,
                CheckStage::Queued | CheckStage::Running => !self.is_live(&check.mark),
                CheckStage::Passed | CheckStage::Failed => false,
            })
        };
        Ok(stray || self.settings.checks.iter().any(missing))
    }

    /// Lets go of the checks of one that has ended, but for those of its last head.
    pub(crate) async fn forget_all_but_last(
        &self,
        number: u64,
        merged: Option<&str>,
        changes: &mut Changes,
    ) -> Result<(), PluginError> {
        let all = self.book.all::<Check>(&format!("check/{number}/")).await?;
        let newest = || {
            let (key, _) = all
                .iter()
                .max_by_key(|(_, check)| (check.is_under_way(), check.ended.or(check.started)))?;
            key.split('/').nth(2)
        };
        let Some(last) = merged.or_else(newest) else { return Ok(()) };
        let of_last = checks_of(number, last);
        changes.extend(
            all.keys().filter(|key| !key.starts_with(&of_last)).map(|key| (key.clone(), None)),
        );
        Ok(())
    }

    /// Records that what is under way for other heads than this one ends; without one, for all.
    pub(crate) async fn cancel_others(
        &self,
        number: u64,
        head: Option<&str>,
        changes: &mut Changes,
    ) -> Result<(), PluginError> {
        let of_head = head.map(|head| checks_of(number, head));
        for (key, check) in self.book.all::<Check>(&format!("check/{number}/")).await? {
            let stays = of_head.as_ref().is_some_and(|of_head| key.starts_with(of_head));
            if check.is_under_way() && !stays {
                put(changes, key, &check.cancelled())?;
            }
        }
        Ok(())
    }

    /// Ends what was recorded as cancelled.
    pub(crate) fn cancel(&self, changes: &Changes) {
        self.live().retain(|key, _| !changes.contains_key(key));
    }

    fn is_live(&self, mark: &str) -> bool {
        self.live().values().any(|live| live.mark == mark)
    }

    /// Ends what a server that is gone left under way, once; it is wanted again where its head still counts.
    pub(crate) async fn recover(self: &Arc<Self>, git: &Git) -> Result<(), PluginError> {
        let recovered = self.recovered.get_or_try_init(async || {
            let _change = self.book.hold(git.until()).await?;
            let mut changes = Changes::new();
            let mut left: BTreeMap<String, Option<ProcessId>> = self.left_places().collect();
            for (key, value) in self.book.all::<Value>("check/").await? {
                // One that cannot be read is the trouble of its pull request alone.
                let Ok(check) = serde_json::from_value::<Check>(value) else { continue };
                if check.is_under_way() && !self.is_live(&check.mark) {
                    put(&mut changes, key, &check.cancelled())?;
                    left.insert(check.mark, check.process);
                }
            }
            let marks: Vec<String> = left.keys().cloned().collect();
            let mut ending = JoinSet::new();
            for (mark, leader) in left {
                ending.spawn(async move { stray::end(&mark, leader).await });
            }
            timeout_at(git.until(), ending.join_all()).await.map_err(|_| {
                let what = "the checks of an earlier server are still being ended";
                PluginError::transient(what, "they do not go")
            })?;
            self.book.write(changes).await?;
            // Nobody waits for files.
            let house = self.clone();
            tokio::spawn(async move {
                for mark in marks {
                    house.clear(&mark).await;
                }
            });
            Ok(())
        });
        recovered.await.copied()
    }

    async fn run(self: Arc<Self>, mut job: Job, mut cancelled: oneshot::Receiver<()>) {
        let work = async {
            let Ok(_slot) = self.slots.acquire().await else { return };
            let ended = self.execute(&mut job).await;
            // Also of a check that passed: its folder goes, and nothing may go on in it.
            stray::end(&job.check.mark, None).await;
            self.clear(&job.check.mark).await;
            let stage = if ended.passed { CheckStage::Passed } else { CheckStage::Failed };
            let Ended { exit, summary, .. } = ended;
            let ended = Some(Timestamp::now());
            job.check = Check { stage, process: None, exit, ended, summary, ..job.check.clone() };
            // A run whose result cannot be recorded has none yet.
            while self.note(&job).await.is_err() {
                tokio::time::sleep(AGAIN).await;
            }
        };
        let done = tokio::select! {
            () = work => true,
            _ = &mut cancelled => false,
        };
        if !done {
            stray::end(&job.check.mark, job.check.process).await;
            self.clear(&job.check.mark).await;
            return;
        }
        {
            let mut live = self.live();
            let key = job.key();
            if live.get(&key).is_some_and(|live| live.mark == job.check.mark) {
                live.remove(&key);
            }
        }
        // The host's next sweep sees it too.
        let _full = self.hints.0.try_send(ScmHint {
            repo: self.repo(),
            pr: Some(PrNumber(job.number)),
            delivery: job.check.mark,
        });
    }

    /// Records how far a run has come, unless another one took its place.
    async fn note(&self, job: &Job) -> Result<(), PluginError> {
        let _change = self.book.hold(Instant::now() + CHECKOUT).await?;
        let known = self.book.checks(job.number, &job.head).await?;
        let is_ours = |known: &Check| known.mark == job.check.mark && known.is_under_way();
        if !known.get(&job.setting.name).is_some_and(is_ours) {
            return Ok(());
        }
        let mut changes = Changes::new();
        put(&mut changes, job.key(), &job.check)?;
        self.book.write(changes).await
    }

    async fn execute(&self, job: &mut Job) -> Ended {
        job.check.started = Some(Timestamp::now());
        job.check.stage = CheckStage::Running;
        if let Err(error) = self.check_out(job).await {
            return Ended::failed(text::one_line(&format!("could not be started: {error}")));
        }
        match self.command(job).await {
            Ok(ended) => ended,
            Err(error) => Ended::failed(format!("could not be started: {error}")),
        }
    }

    /// Makes the worktree. One at a time in a repository, whoever else makes or removes some.
    async fn check_out(&self, job: &Job) -> Result<(), PluginError> {
        let git = self.git(CHECKOUT);
        let mut repo = self.open(&git).await?;
        let _held = repo.hold(&self.locks).await?;
        let place = self.place(&job.check.mark);
        if let Some(folder) = place.parent() {
            use std::os::unix::fs::DirBuilderExt;
            let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(|cause| {
                PluginError::transient(format!("cannot make {}", folder.display()), cause)
            })?;
        }
        let args = ["add", "--quiet", "--detach", "--lock", "--reason", "ao check"];
        let call = repo.git.cmd("worktree").args(args).arg("--end-of-options");
        // A check sees all of the commit, whatever part a human has checked out.
        let call = call.set("core.sparseCheckout=false");
        call.arg(&place).arg(&job.head).run().await?;
        Ok(())
    }

    async fn command(&self, job: &mut Job) -> io::Result<Ended> {
        let setting = job.setting.clone();
        let needed = self.book.checks(job.number, &job.head).await.unwrap_or_default();
        let needed: Vec<PathBuf> =
            needed.values().map(|check| self.log(job.number, &check.mark)).collect();
        let mut log = Log::create(&self.log(job.number, &job.check.mark), &needed)?;
        log.write(format!("$ {}\n", text::one_line(&text::redact(&setting.run))).as_bytes());
        let place = self
            .place(&job.check.mark)
            .join(self.settings.subdir.as_deref().unwrap_or("".as_ref()));
        // The commit may have a link there.
        let (place, top) = (place.canonicalize()?, self.place(&job.check.mark).canonicalize()?);
        if !place.starts_with(top) {
            return Err(io::Error::other("`subdir` leads out of the worktree"));
        }
        let own = [
            ("AO_CHECK", setting.name.as_str()),
            ("AO_PR", &job.number.to_string()),
            ("AO_HEAD", &job.head),
            ("AO_BASE", &job.base),
            (stray::MARK, &job.check.mark),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        // One pipe for both, so that the log has the lines in their order.
        let (reader, writer) = io::pipe()?;
        let mut output = Receiver::from_owned_fd(reader.into())?;
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", &setting.run])
            .current_dir(place)
            .env_clear()
            .envs(&self.env)
            .envs(&setting.env)
            .envs(own)
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer);
        let mut group = Group::spawn(&mut command, None)?;
        drop(command); // our own ends of the pipe
        let pid =
            group.leader().and_then(|leader| leader.id()).and_then(|pid| i32::try_from(pid).ok());
        job.check.process = pid.and_then(ProcessId::of);
        // Without the record it runs all the same: its mark is known.
        let _again_later = self.note(job).await;
        let flood = async {
            let mut buffer = vec![0; 16 << 10];
            while let Ok(count @ 1..) = output.read(&mut buffer).await {
                log.write(&buffer[..count]);
                if log.written > output::MOST {
                    return true;
                }
            }
            false
        };
        let work = async {
            let (mut flood, mut is_open) = (std::pin::pin!(flood), true);
            loop {
                tokio::select! {
                    status = group.wait() => {
                        if is_open {
                            // What was written last is still in the pipe; a daemon may hold it open.
                            let _held = timeout(LATE_OUTPUT, &mut flood).await;
                        }
                        return Some(status);
                    }
                    is_wild = &mut flood, if is_open => {
                        if is_wild {
                            return None;
                        }
                        is_open = false;
                    }
                }
            }
        };
        let ended = timeout(setting.limit(), work).await;
        let reason = match ended {
            Ok(Some(status)) => {
                let exit = status?.code();
                log.finish(None);
                return Ok(self.verdict(job, exit));
            }
            Ok(None) => format!("it wrote more than {}", text::size(output::MOST)),
            Err(_) => format!("it took longer than {}", text::duration(setting.limit().as_secs())),
        };
        group.stop().await;
        log.finish(Some(&format!("… ended: {reason}")));
        Ok(Ended::failed(reason))
    }

    fn verdict(&self, job: &Job, exit: Option<i32>) -> Ended {
        if exit == Some(0) {
            return Ended { passed: true, exit, summary: None };
        }
        let how = exit.map_or("ended by a signal".to_owned(), |code| format!("exit code {code}"));
        let log = output::read(&self.log(job.number, &job.check.mark)).unwrap_or_default();
        // Its first line is the command.
        let said = log.split_once('\n').and_then(|(_, log)| output::error_line(log));
        Ended { passed: false, exit, summary: Some(said.unwrap_or(how)) }
    }

    /// Removes a run's worktree. What cannot be removed now is a folder of our own; the next start tries again.
    async fn clear(&self, mark: &str) {
        let place = self.place(mark);
        let removed = async {
            let git = self.git(CHECKOUT);
            let mut repo = self.open(&git).await?;
            // Whoever makes it has ended, once nobody holds the repository; files go while others may.
            drop(self.locks.hold(&repo.common, git.until()).await?);
            repo.refresh().await?;
            if repo.entry(&place).is_none() && !place.exists() {
                return Ok(());
            }
            let what = || format!("cannot remove {}", place.display());
            let removed = remove_folder(place.clone()).await;
            removed.map_err(|cause| PluginError::transient(what(), cause))?;
            let _held = repo.hold(&self.locks).await?;
            if repo.entry(&place).is_some() {
                let args = ["remove", "--force", "--force", "--end-of-options"];
                repo.git.cmd("worktree").args(args).arg(&place).run().await?;
            }
            Ok::<_, PluginError>(())
        };
        let _stays = removed.await;
    }

    /// The worktrees of all runs.
    pub(crate) fn places(&self) -> PathBuf {
        self.data.join("checks").join(&self.slug)
    }

    fn place(&self, mark: &str) -> PathBuf {
        self.places().join(mark)
    }

    /// The marks of worktrees that servers left which are gone.
    fn left_places(&self) -> impl Iterator<Item = (String, Option<ProcessId>)> {
        let entries = std::fs::read_dir(self.places()).into_iter().flatten().flatten();
        let marks = entries.filter_map(|entry| entry.file_name().into_string().ok());
        marks.filter(|mark| !mark.ends_with(&server())).map(|mark| (mark, None))
    }

    pub(crate) fn log(&self, number: u64, mark: &str) -> PathBuf {
        let folder = self.data.join("logs/checks").join(&self.slug).join(number.to_string());
        folder.join(format!("{mark}.log"))
    }

    /// The configured checks as they stand.
    pub(crate) fn runs(&self, number: u64, known: &BTreeMap<String, Check>) -> Vec<CheckRun> {
        let run = |setting: &CheckSetting| {
            let check = known.get(&setting.name);
            let took = check.and_then(|check| Some(check.ended?.duration_since(check.started?)));
            CheckRun {
                name: setting.name.clone(),
                state: check.map_or(CheckState::Queued, Check::state),
                required: true,
                summary: check.and_then(|check| check.summary.clone()),
                url: check
                    .filter(|check| check.started.is_some())
                    .map(|check| self.log(number, &check.mark).display().to_string()),
                took_ms: took.and_then(|took| u64::try_from(took.as_millis()).ok()),
            }
        };
        self.settings.checks.iter().map(run).collect()
    }
}

/// What these checks come to.
pub(crate) fn roll(runs: &[CheckRun]) -> Roll {
    use ao_slots::fact::Checks;
    let with = |state| runs.iter().filter(move |run| run.state == state);
    let passed = with(CheckState::Passed).count();
    let mut failing: Vec<String> = with(CheckState::Failed).map(|run| run.name.clone()).collect();
    failing.sort();
    let pending = with(CheckState::Queued).chain(with(CheckState::Running)).count();
    let checks = match (passed, failing.len()) {
        (_, 1..) => Checks::Failing,
        _ if pending > 0 => Checks::Pending,
        (0, _) => Checks::None,
        _ => Checks::Passing,
    };
    let failure = failing.first().and_then(|first| runs.iter().find(|run| run.name == *first));
    Roll {
        checks,
        passed: u32::try_from(passed).unwrap_or(u32::MAX),
        pending: u32::try_from(pending).unwrap_or(u32::MAX),
        failure: failure.and_then(|run| run.summary.clone()),
        failing,
    }
}

/// A name that no other run of this machine has; it ends with the name of this process.
fn mark(number: u64) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{number}-{:x}-{count:x}{}", Timestamp::now().as_nanosecond(), server())
}

fn server() -> String {
    let me = i32::try_from(std::process::id()).ok().and_then(ProcessId::of);
    me.map_or_else(|| "-0".to_owned(), |me| format!("-{:x}.{:x}", me.pid, me.start))
}
