//! The project's own set-up commands, run once in a new workspace, their output kept.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    process::Stdio,
    time::Duration,
};

use ao_sdk::group::Group;
use ao_slots::{
    ErrorKind, PluginError, text,
    workspace::{PostCreate, PostCreateDone},
};
use nix::fcntl::OFlag;
use tokio::{
    io::AsyncReadExt,
    net::unix::pipe::Receiver,
    process::Command,
    time::{Instant, timeout_at},
};

/// What is kept of the output.
const LOG_CAP: usize = 8 << 20;
/// What is kept of a line, to tell the last one.
const LINE_CAP: usize = 4 << 10;
const RECENT: usize = 16;

/// Runs the commands one after another until one fails. Nothing that they started is left running.
pub(crate) async fn run(
    request: &PostCreate,
    limit: Duration,
) -> Result<PostCreateDone, PluginError> {
    let reserve = (limit / 10).min(Duration::from_secs(2));
    let until = Instant::now() + (limit - reserve);
    if !request.path.is_dir() {
        let what = format!("no workspace at {}", request.path.display());
        return Err(PluginError::new(ErrorKind::NotFound, what, ""));
    }
    let mut log = Log::open(&request.log).map_err(|cause| {
        PluginError::permanent(format!("cannot write {}", request.log.display()), cause)
    })?;
    let mut failed = None;
    for line in &request.commands {
        log.command(line);
        let code = one(request, line, &mut log, until).await?;
        if code != Some(0) {
            failed = Some((line.clone(), code));
            break;
        }
    }
    Ok(log.done(failed))
}

async fn one(
    request: &PostCreate,
    line: &str,
    log: &mut Log,
    until: Instant,
) -> Result<Option<i32>, PluginError> {
    let not_started = |cause: io::Error| {
        PluginError::new(ErrorKind::Missing, format!("`{line}` could not be started"), cause)
    };
    // One pipe for both, so that the log has the lines in their order.
    let (reader, writer) = io::pipe().map_err(not_started)?;
    let mut output = Receiver::from_owned_fd(reader.into()).map_err(not_started)?;
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", line])
        .current_dir(&request.path)
        .env_clear()
        .envs(&request.env)
        .stdin(Stdio::null())
        .stdout(writer.try_clone().map_err(not_started)?)
        .stderr(writer);
    let mut group = Group::spawn(&mut command, None).map_err(not_started)?;
    drop(command); // our own ends of the pipe
    let copy = async {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(count @ 1..) = output.read(&mut buffer).await {
            log.write(&buffer[..count]);
        }
    };
    let work = async { tokio::join!(group.wait(), copy) };
    match timeout_at(until, work).await {
        Ok((status, ())) => Ok(status.map_err(not_started)?.code()),
        Err(_) => {
            group.stop().await;
            Err(PluginError::in_doubt(format!("`{line}` did not end in time"), "it was stopped")
                .with_remedy(format!("see {}", request.log.display())))
        }
    }
}

/// The log file, and what is told of it.
#[derive(Debug)]
struct Log {
    file: File,
    room: usize,
    lines: u64,
    line: Vec<u8>,
    /// The last lines, newest last: cleaned, one of them may turn out to say nothing.
    recent: VecDeque<Vec<u8>>,
}

impl Log {
    fn open(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let file =
            options.custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits()).open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Self { file, room: LOG_CAP, lines: 0, line: Vec::new(), recent: VecDeque::new() })
    }

    fn command(&mut self, line: &str) {
        self.keep(format!("$ {line}\n").as_bytes());
    }

    fn write(&mut self, bytes: &[u8]) {
        self.keep(bytes);
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LINE_CAP.saturating_sub(self.line.len()).min(part.len());
            self.line.extend_from_slice(&part[..room]);
            if part.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    /// A full disk stops neither the command nor the answer.
    fn keep(&mut self, bytes: &[u8]) {
        if self.room == 0 {
            return;
        }
        let kept = bytes.len().min(self.room);
        let _full = self.file.write_all(&bytes[..kept]);
        self.room -= kept;
        if self.room == 0 {
            let _full = self.file.write_all("\n… the log ends here, at 8 MiB\n".as_bytes());
        }
    }

    fn end_line(&mut self) {
        self.lines += 1;
        let line = std::mem::take(&mut self.line);
        if line.iter().any(|byte| !byte.is_ascii_whitespace()) {
            while self.recent.len() >= RECENT {
                self.recent.pop_front();
            }
            self.recent.push_back(line);
        }
    }

    fn done(mut self, failed: Option<(String, Option<i32>)>) -> PostCreateDone {
        if !self.line.is_empty() {
            self.end_line();
        }
        let clean = |line: &Vec<u8>| {
            text::one_line(&text::redact(&text::plain(&String::from_utf8_lossy(line))))
        };
        let last = self.recent.iter().rev().map(clean).find(|line| !line.is_empty());
        let last_line = text::cut(&last.unwrap_or_default(), 200);
        PostCreateDone { failed, last_line, lines: self.lines }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn request(folder: &Path, commands: &[&str]) -> PostCreate {
        PostCreate {
            path: folder.to_owned(),
            commands: commands.iter().map(|line| (*line).to_owned()).collect(),
            env: BTreeMap::from([
                ("PATH".into(), "/usr/bin:/bin".into()),
                ("A".into(), "b".into()),
            ]),
            log: folder.join("logs/setup.log"),
        }
    }

    #[tokio::test]
    async fn output_is_kept_and_the_last_line_told() {
        let folder = tempfile::tempdir().unwrap();
        let commands =
            ["echo one; echo two >&2", "printf '\\033[31mA=%s\\033[0m %s\\n\\n' \"$A\" $HOME"];
        let request = request(folder.path(), &commands);
        let done = run(&request, Duration::from_secs(60)).await.unwrap();
        let expected = PostCreateDone { failed: None, last_line: "A=b".into(), lines: 4 };
        assert_eq!(done, expected);
        let log = fs::read_to_string(&request.log).unwrap();
        assert!(log.starts_with("$ echo one; echo two >&2\none\ntwo\n$ printf"), "{log}");
        assert_eq!(fs::metadata(&request.log).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn the_first_failure_ends_it() {
        let folder = tempfile::tempdir().unwrap();
        let stopped = request(folder.path(), &["exit 3", "touch later"]);
        let done = run(&stopped, Duration::from_secs(60)).await;
        assert_eq!(done.unwrap().failed, Some(("exit 3".into(), Some(3))));
        assert!(!folder.path().join("later").exists());
        let done = run(&request(folder.path(), &["kill -9 $$"]), Duration::from_secs(60)).await;
        assert_eq!(done.unwrap().failed, Some(("kill -9 $$".into(), None)));
    }

    #[tokio::test]
    async fn a_flood_is_cut_and_yet_counted() {
        let folder = tempfile::tempdir().unwrap();
        let request = request(folder.path(), &["yes 0123456789abcdef | head -n 700000; echo end"]);
        let done = run(&request, Duration::from_secs(120)).await.unwrap();
        assert_eq!((done.lines, done.last_line.as_str()), (700_001, "end"));
        let size = fs::metadata(&request.log).unwrap().len();
        assert!((8 << 20..(8 << 20) + 100).contains(&size), "{size}");
    }

    #[tokio::test]
    async fn s28_a_planted_log_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("target");
        fs::write(&target, "mine").unwrap();
        let mut request = request(folder.path(), &["echo x"]);
        request.log = folder.path().join("log");
        std::os::unix::fs::symlink(&target, &request.log).unwrap();
        assert!(run(&request, Duration::from_secs(60)).await.is_err());
        fs::remove_file(&request.log).unwrap();
        nix::unistd::mkfifo(&request.log, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(run(&request, Duration::from_secs(60)).await.is_err());
        assert_eq!(fs::read_to_string(target).unwrap(), "mine");
    }
}
