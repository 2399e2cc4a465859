//! The one way in which git is called.
//!
//! argv only, no terminal, no prompt, a deadline, capped output. What a repository's own configuration names
//! is never executed: see [`Config`].

mod config;
mod lock;
mod refs;
mod repo;

use std::{
    ffi::{OsStr, OsString},
    io,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use ao_slots::{PluginError, plugin::BuildContext, text};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::Command,
    time::{Instant, timeout_at},
};

pub use self::{
    config::Config,
    lock::{Held, Locks, RepoLock},
    refs::{Ref, is_branch},
    repo::{Base, Entry, Repo, leads_to, no_commit, normal, read_small},
};
use crate::{group::Group, local};

/// Settings that hold for every call and for every git that git starts itself.
const FIXED: [&str; 8] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "protocol.ext.allow=never",
    "gc.auto=0",
    "maintenance.auto=false",
    "submodule.recurse=false",
    "status.showUntrackedFiles=all",
    "core.safecrlf=false",
];
/// Standard output kept of a call; a call that may need more says so.
const OUT_CAP: usize = 4 << 20;
const ERR_CAP: usize = 16 << 10;

/// Variables that git and the user's filter programs may see. No other `GIT_*` one: `GIT_DIR` and its kind
/// would lead the call elsewhere.
const PASSED: [&str; 14] = [
    "PATH",
    "USER",
    "LOGNAME",
    "LANG",
    "TZ",
    "TMPDIR",
    "SSH_AUTH_SOCK",
    "GNUPGHOME",
    "GPG_AGENT_INFO",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_SYSTEM",
    "GIT_CONFIG_NOSYSTEM",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
];

/// Where and how git runs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Git {
    program: PathBuf,
    env: Arc<Vec<(OsString, OsString)>>,
    until: Instant,
    dir: PathBuf,
    place: Vec<OsString>,
    config: Arc<Config>,
    lock: Option<Arc<Held>>,
}

impl Git {
    /// Git with the user's environment, as data.
    pub fn environment(context: &BuildContext) -> Arc<Vec<(OsString, OsString)>> {
        let passed = |name: &str| {
            PASSED.contains(&name)
                || name.starts_with("XDG_")
                || name.to_ascii_lowercase().ends_with("_proxy")
        };
        let mut env: Vec<(OsString, OsString)> = context
            .env
            .iter()
            .filter(|(name, _)| passed(name))
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        if !context.env.contains_key("PATH") {
            env.push(("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into()));
        }
        env.push(("HOME".into(), context.home.clone().into()));
        for (name, value) in [
            ("LC_ALL", "C"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_ASKPASS", ""),
            ("GIT_OPTIONAL_LOCKS", "0"),
        ] {
            env.push((name.into(), value.into()));
        }
        Arc::new(env)
    }

    /// Git in `dir` with a deadline. A tenth of the limit, at most 2 s, is kept for ending in good order.
    pub fn new(env: Arc<Vec<(OsString, OsString)>>, dir: &Path, limit: Duration) -> Self {
        let reserve = (limit / 10).min(Duration::from_secs(2));
        let path = env.iter().find(|(name, _)| name == "PATH");
        let path = path.map(|(_, value)| value.to_string_lossy()).unwrap_or_default();
        Self {
            program: local::program("git", &path),
            env,
            until: Instant::now() + (limit - reserve),
            dir: dir.to_owned(),
            place: Vec::new(),
            config: Arc::default(),
            lock: None,
        }
    }

    /// The same while the repository is locked; its processes keep the lock until they have ended.
    pub fn holding(&self, lock: &Arc<Held>) -> Self {
        Self { lock: Some(lock.clone()), ..self.clone() }
    }

    /// The moment at which every call has ended.
    pub fn until(&self) -> Instant {
        self.until
    }

    /// The same, ending after `limit` at the latest.
    pub fn within(&self, limit: Duration) -> Self {
        Self { until: self.until.min(Instant::now() + limit), ..self.clone() }
    }

    /// The same in another folder, where git looks for the repository by itself.
    pub fn at(&self, dir: &Path) -> Self {
        Self { dir: dir.to_owned(), place: Vec::new(), config: Arc::default(), ..self.clone() }
    }

    /// The same on exactly this repository: nothing that lies in a folder leads it elsewhere.
    pub fn on(&self, git_dir: &Path, work_tree: Option<&Path>) -> Self {
        let option = |name: &str, path: &Path| {
            let mut option = OsString::from(name);
            option.push(path);
            option
        };
        let mut place = vec![option("--git-dir=", git_dir)];
        place.extend(work_tree.map(|path| option("--work-tree=", path)));
        let dir = work_tree.unwrap_or(git_dir).to_owned();
        Self { dir, place, config: Arc::default(), ..self.clone() }
    }

    /// The same with everything switched off that the repository's own configuration would execute.
    pub async fn guarded(&self) -> Result<Self, GitError> {
        let listed = self.cmd("config").args(["--list", "--show-scope", "-z"]).run().await?;
        Ok(Self { config: Arc::new(Config::parse(&listed)), ..self.clone() })
    }

    /// Whether the user's environment sets a variable.
    pub fn has_env(&self, name: &str) -> bool {
        self.env.iter().any(|(known, _)| known == name)
    }

    /// The configuration; empty unless [`Git::guarded`].
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Refs that match the patterns of `for-each-ref`, by name.
    pub async fn refs(&self, patterns: &[&str]) -> Result<Vec<Ref>, GitError> {
        let format = "--format=%(refname) %(objectname) %(symref)";
        let call = self.cmd("for-each-ref").args([format, "--end-of-options"]).args(patterns);
        Ok(refs::parse_refs(&call.cap(64 << 20).run().await?))
    }

    /// What a commit changes since it left another one's history: files, lines added, lines removed. Object names only.
    pub async fn changes(&self, base: &str, head: &str) -> Result<(u32, u32, u32), GitError> {
        let run = async |range: String| {
            let args =
                ["--shortstat", "--no-ext-diff", "--no-textconv", "--ignore-submodules=dirty"];
            self.cmd("diff").args(args).args(["--end-of-options", &range, "--"]).line().await
        };
        let text = match run(format!("{base}...{head}")).await {
            // Histories without a common commit.
            Err(GitError::Failed { message, .. }) if message.contains("no merge base") => {
                run(format!("{base}..{head}")).await?
            }
            text => text?,
        };
        Ok(parse_shortstat(&text))
    }

    /// A call of a subcommand.
    pub fn cmd(&self, subcommand: &'static str) -> GitCall<'_> {
        GitCall {
            git: self,
            what: subcommand,
            settings: Vec::new(),
            args: vec![subcommand.into()],
            env: Vec::new(),
            stdin: Vec::new(),
            cap: OUT_CAP,
        }
    }
}

/// One call, being put together.
#[derive(Debug)]
#[must_use]
pub struct GitCall<'a> {
    git: &'a Git,
    what: &'static str,
    settings: Vec<String>,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    stdin: Vec<u8>,
    cap: usize,
}

/// How a call ended.
#[derive(Debug)]
pub struct Output {
    /// None when a signal ended it.
    pub code: Option<i32>,
    /// At most as much as was asked for.
    pub stdout: Vec<u8>,
    cut: bool,
    stderr: Vec<u8>,
}

impl Output {
    /// Standard output, perhaps cut, when the exit code is 0.
    pub fn succeeded(self, what: &'static str) -> Result<Vec<u8>, GitError> {
        if self.code == Some(0) { Ok(self.stdout) } else { Err(GitError::failed(what, self)) }
    }
}

impl GitCall<'_> {
    /// One argument more.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// More arguments.
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// A setting for this call, `key=value`: it counts whatever the configuration says.
    pub fn set(mut self, setting: impl Into<String>) -> Self {
        self.settings.push(setting.into());
        self
    }

    /// A variable more.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// What it reads from standard input.
    pub fn stdin(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.stdin = text.into();
        self
    }

    /// Keeps up to `bytes` of standard output.
    pub fn cap(mut self, bytes: usize) -> Self {
        self.cap = bytes;
        self
    }

    /// Runs it; any exit code is an answer.
    pub async fn output(self) -> Result<Output, GitError> {
        let stdin = match &self.git.lock {
            _ if !self.stdin.is_empty() => Stdio::piped(),
            Some(lock) => lock.stdin(),
            None => Stdio::null(),
        };
        let mut command = Command::new(&self.git.program);
        for setting in FIXED.into_iter().chain(self.settings.iter().map(String::as_str)) {
            command.args(["-c", setting]);
        }
        command
            .args(&self.git.place)
            .args(&self.args)
            .env_clear()
            .envs(self.git.env.iter().map(|(name, value)| (name, value)))
            .envs(self.git.config.overrides())
            .envs(self.env)
            .current_dir(&self.git.dir)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut group =
            Group::spawn(&mut command, self.git.lock.clone()).map_err(GitError::NotStarted)?;
        let Some(leader) = group.leader() else {
            return Err(GitError::NotStarted(io::ErrorKind::NotFound.into()));
        };
        let (stdin, stdout, stderr) =
            (leader.stdin.take(), leader.stdout.take(), leader.stderr.take());
        let feed = async {
            if let Some(mut pipe) = stdin {
                let _closed_early = pipe.write_all(&self.stdin).await;
            }
        };
        // Waiting goes on beside reading: what the leader leaves running holds the pipes open.
        let work = async {
            tokio::join!(feed, read(stdout, self.cap), read(stderr, ERR_CAP), group.wait())
        };
        match timeout_at(self.git.until, work).await {
            Ok((_, (stdout, cut), (stderr, _), status)) => {
                let code = status.map_err(GitError::NotStarted)?.code();
                Ok(Output { code, stdout, cut, stderr })
            }
            Err(_) => {
                group.stop().await;
                Err(GitError::TimedOut(self.what))
            }
        }
    }

    /// Runs it; anything but exit code 0 is an error.
    pub async fn run(self) -> Result<Vec<u8>, GitError> {
        let what = self.what;
        let output = self.output().await?;
        match output {
            Output { cut: true, .. } => {
                Err(GitError::Failed { what, message: "it wrote more than can be read".to_owned() })
            }
            output => output.succeeded(what),
        }
    }

    /// Runs it and returns its one line.
    pub async fn line(self) -> Result<String, GitError> {
        Ok(String::from_utf8_lossy(&self.run().await?).trim_end().to_owned())
    }

    /// Runs a question: 0 is yes, 1 is no.
    pub async fn holds(self) -> Result<bool, GitError> {
        let what = self.what;
        let output = self.output().await?;
        match output.code {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => Err(GitError::failed(what, output)),
        }
    }
}

/// ` 3 files changed, 10 insertions(+), 2 deletions(-)`: files, added, removed.
fn parse_shortstat(text: &str) -> (u32, u32, u32) {
    let number = |word: &str| {
        text.split(',')
            .find(|part| part.contains(word))
            .and_then(|part| part.split_ascii_whitespace().next()?.parse().ok())
            .unwrap_or(0)
    };
    (number("file"), number("insertion"), number("deletion"))
}

async fn read(from: Option<impl AsyncRead + Unpin>, cap: usize) -> (Vec<u8>, bool) {
    let Some(mut from) = from else { return (Vec::new(), false) };
    let mut kept = Vec::new();
    let mut cut = false;
    let mut buffer = vec![0; 16 << 10];
    // Past the cap it still reads, so that the writer ends by itself.
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let room = (cap - kept.len()).min(count);
        kept.extend_from_slice(&buffer[..room]);
        cut |= room < count;
    }
    (kept, cut)
}

/// Why a call of git gave no answer.
#[derive(Debug)]
pub enum GitError {
    /// It could not be started.
    NotStarted(io::Error),
    /// It was ended at the deadline.
    TimedOut(&'static str),
    /// It ended with an error.
    Failed {
        /// The subcommand.
        what: &'static str,
        /// What it wrote to standard error, cleaned.
        message: String,
    },
}

impl GitError {
    fn failed(what: &'static str, output: Output) -> Self {
        let stderr = text::redact(&text::plain(&String::from_utf8_lossy(&output.stderr)));
        let message = text::cut(stderr.trim(), 600);
        let message = match output.code {
            Some(code) if message.is_empty() => format!("exit code {code}"),
            None if message.is_empty() => "ended by a signal".to_owned(),
            _ => message,
        };
        Self::Failed { what, message }
    }

    /// The remedy that git names for a repository of another owner.
    pub fn other_owner(&self) -> Option<String> {
        let Self::Failed { message, .. } = self else { return None };
        message.contains("dubious ownership").then(|| {
            let folder = message.split('\'').nth(1).unwrap_or("<repository>");
            format!("git config --global --add safe.directory '{folder}'")
        })
    }
}

impl From<GitError> for PluginError {
    fn from(error: GitError) -> Self {
        let owner = error.other_owner();
        match error {
            GitError::NotStarted(cause) if cause.kind() == io::ErrorKind::NotFound => {
                Self::new(ao_slots::ErrorKind::Missing, "git could not be started", cause)
                    .with_remedy("install git, e.g. sudo apt install git")
            }
            GitError::NotStarted(cause) => Self::transient("git could not be started", cause),
            GitError::TimedOut(what) => {
                Self::in_doubt(format!("git {what} did not end in time"), "it was stopped")
            }
            GitError::Failed { what, message } => {
                let busy = ["File exists", "cannot lock ref", "could not lock", "No space left"];
                let kind = match () {
                    () if message.contains("not a git repository") => ao_slots::ErrorKind::NotFound,
                    () if busy.iter().any(|sign| message.contains(sign)) => {
                        ao_slots::ErrorKind::Transient
                    }
                    () => ao_slots::ErrorKind::Permanent,
                };
                let error = Self::new(kind, format!("git {what} failed"), message);
                match owner {
                    Some(remedy) => error.with_remedy(remedy),
                    None => error,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_statistic_leaves_out_what_is_zero() {
        for (text, expected) in [
            ("", (0, 0, 0)),
            (" 1 file changed, 1 insertion(+)", (1, 1, 0)),
            (" 3 files changed, 10 insertions(+), 2 deletions(-)", (3, 10, 2)),
            (" 1 file changed, 4 deletions(-)", (1, 0, 4)),
        ] {
            assert_eq!(parse_shortstat(text), expected);
        }
    }
}
