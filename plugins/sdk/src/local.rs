//! Programs and files of this machine, each within a deadline.

use std::{
    io,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, SystemTime},
};

use ao_slots::{
    Call, PluginError,
    runtime::{ExecOutput, FileAnswer, FileRequest, FileStamp},
};
use nix::{sys::signal::Signal, unistd::Pid};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::Command,
    time::{Instant, timeout, timeout_at},
};

/// The most that is kept of a stream or read from a file, in bytes.
const MOST: usize = 1024 * 1024;

/// Two changes of a file within that time may carry the same stamp: of the clocks of file systems in use the
/// coarsest tick.
const COARSE: Duration = Duration::from_secs(2);

/// How long output may still come when its program has ended and something else holds the pipe.
const LATE_OUTPUT: Duration = Duration::from_millis(200);

/// When the call must have ended in good order: a tenth of its limit before the host loses patience.
pub fn deadline(call: &Call) -> Instant {
    const LONGEST: Duration = Duration::from_hours(24);
    Instant::now() + (call.limit() / 10 * 9).min(LONGEST)
}

/// Where a program lies on this `PATH`; its bare name where it lies nowhere. The standard library copies the
/// whole address space to start a bare name with another `PATH` than its own.
pub fn program(name: &str, path: &str) -> PathBuf {
    let is_program = |file: &PathBuf| {
        file.is_absolute()
            && file.metadata().is_ok_and(|meta| meta.is_file() && meta.mode() & 0o111 != 0)
    };
    let found = std::env::split_paths(path).map(|dir| dir.join(name)).find(is_program);
    found.unwrap_or_else(|| name.into())
}

/// Runs a program to its end with this standard input. At the deadline, or when the future is dropped, its
/// process group is killed; the error is then [`io::ErrorKind::TimedOut`].
pub async fn run(mut command: Command, stdin: &[u8], deadline: Instant) -> io::Result<ExecOutput> {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.process_group(0).kill_on_drop(true).spawn()?;
    let mut group = Group(child.id().and_then(|pid| i32::try_from(pid).ok()));
    let (input, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let mut output = ExecOutput { code: None, stdout: Vec::new(), stderr: Vec::new() };
    let status = {
        let streams = async {
            tokio::join!(
                feed(input, stdin),
                keep(stdout, &mut output.stdout),
                keep(stderr, &mut output.stderr)
            );
        };
        tokio::pin!(streams);
        let end = async {
            let mut wait = std::pin::pin!(child.wait());
            tokio::select! {
                status = &mut wait => {
                    let _ = timeout(LATE_OUTPUT, &mut streams).await;
                    status
                }
                () = &mut streams => wait.await,
            }
        };
        timeout_at(deadline, end).await.map_err(|_| io::ErrorKind::TimedOut)??
    };
    group.0 = None;
    output.code = status.code();
    Ok(output)
}

/// Reads regular files of this machine, each from the byte asked for.
pub async fn read(
    files: &[FileRequest],
    deadline: Instant,
) -> Result<Vec<FileAnswer>, PluginError> {
    let what = || format!("could not read {} files", files.len());
    let asked = files.to_vec();
    let read = tokio::task::spawn_blocking(move || {
        let read =
            |file| read_one(file).unwrap_or_else(|error| FileAnswer::Failed(error.to_string()));
        asked.iter().map(read).collect()
    });
    match timeout_at(deadline, read).await {
        Ok(Ok(answers)) => Ok(answers),
        Ok(Err(error)) => Err(PluginError::transient(what(), error)),
        Err(_) => Err(PluginError::transient(what(), "the disk did not answer in time")),
    }
}

fn read_one(request: &FileRequest) -> io::Result<FileAnswer> {
    let path = Path::new(&request.path);
    if !path.is_absolute() {
        return Err(io::Error::other("the path is not absolute"));
    }
    match stat(path) {
        Ok(stamp) if request.seen == Some(stamp) => return Ok(FileAnswer::Unchanged),
        Err(error) if is_absent(&error) => return Ok(FileAnswer::Absent),
        _ => {}
    }
    // Without O_NONBLOCK a FIFO in the place of the file would hold the thread for ever.
    let flags = nix::fcntl::OFlag::O_NONBLOCK.bits();
    let file = match std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if is_absent(&error) => return Ok(FileAnswer::Absent),
        opened => opened?,
    };
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let stamp = stamp(&meta);
    let most = usize::try_from(meta.len().saturating_sub(request.from)).unwrap_or(MOST).min(MOST);
    let mut bytes = vec![0; most];
    let mut filled = 0;
    while filled < most {
        match file.read_at(&mut bytes[filled..], request.from + filled as u64)? {
            0 => break,
            more => filled += more,
        }
    }
    bytes.truncate(filled);
    Ok(FileAnswer::Read { bytes, stamp: settled(stamp, SystemTime::now()) })
}

/// The stamp, unless another change could still get the same one.
fn settled(stamp: FileStamp, now: SystemTime) -> Option<FileStamp> {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_nanos();
    let age = now.saturating_sub(u128::try_from(stamp.changed_ns).unwrap_or(0));
    (age > COARSE.as_nanos()).then_some(stamp)
}

fn stat(path: &Path) -> io::Result<FileStamp> {
    Ok(stamp(&std::fs::metadata(path)?))
}

fn stamp(meta: &std::fs::Metadata) -> FileStamp {
    let changed_ns = meta.ctime().saturating_mul(1_000_000_000).saturating_add(meta.ctime_nsec());
    FileStamp { changed_ns, size: meta.len() }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Writes the input and closes it. A program that does not read it is no error.
async fn feed(input: Option<impl AsyncWriteExt + Unpin>, bytes: &[u8]) {
    if let Some(mut input) = input {
        let _ = input.write_all(bytes).await;
    }
}

/// Keeps the first [`MOST`] bytes and reads the rest away, so that the program can go on.
async fn keep(stream: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut stream) = stream else { return };
    let mut chunk = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = stream.read(&mut chunk).await {
        let room = MOST - kept.len();
        kept.extend_from_slice(&chunk[..read.min(room)]);
    }
}

/// A process group, killed on drop.
struct Group(Option<i32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = nix::sys::signal::killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use ao_slots::{Launch, process::ProcessId, runtime::RuntimeHandle};

    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    #[tokio::test]
    async fn r11_output_is_capped_and_the_program_still_ends() {
        let flood = sh("head -c 3000000 /dev/zero; echo done >&2; exit 7");
        let output = run(flood, b"", soon()).await.unwrap();
        assert_eq!((output.stdout.len(), output.code), (MOST, Some(7)));
        assert_eq!(output.stderr, b"done\n");
    }

    #[tokio::test]
    async fn r11_a_program_that_does_not_end_is_killed_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}; wait", pid.display());
        let late = run(sh(&script), b"", Instant::now() + Duration::from_millis(700)).await;
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
        // Where the machine was too slow to even start the child there is nothing to look for.
        if let Some(pid) = std::fs::read_to_string(pid).ok().and_then(|p| p.trim().parse().ok()) {
            for _ in 0..1_000 {
                if ProcessId::of(pid).is_none() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            panic!("the child outlived the call");
        }
    }

    #[tokio::test]
    async fn a_child_in_the_background_does_not_hold_the_answer() {
        let script = "sleep 1000 2>/dev/null & echo $!";
        let output = run(sh(script), b"", soon()).await.unwrap();
        let pid: i32 = std::str::from_utf8(&output.stdout).unwrap().trim().parse().unwrap();
        let child = ProcessId::of(pid).expect("the child runs");
        assert!(child.signal(Signal::SIGKILL));
    }

    #[test]
    fn a_program_is_looked_up_as_the_shell_does() {
        let dir = tempfile::tempdir().unwrap();
        let [first, second] = ["first", "second"].map(|name| dir.path().join(name));
        for folder in [&first, &second] {
            std::fs::create_dir(folder).unwrap();
            std::fs::write(folder.join("tool"), "").unwrap();
        }
        let runs = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(second.join("tool"), runs).unwrap();
        let path = format!("relative:{}:{}", first.display(), second.display());
        assert_eq!(program("tool", &path), second.join("tool"));
        assert_eq!(program("other", &path), Path::new("other"));
    }

    #[tokio::test]
    async fn files_are_read_from_an_offset_and_other_things_refused() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(at("file"), "hello").unwrap();
        nix::unistd::mkfifo(at("fifo").as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let ask = |path: String, from| FileRequest {
            handle: RuntimeHandle {
                session: "app-1".parse().unwrap(),
                launch: Launch(1),
                id: String::new(),
                server: None,
                process: None,
            },
            path,
            from,
            seen: None,
        };
        let asked = [
            ask(at("file"), 3),
            ask(at("absent"), 0),
            ask(at("file"), 99),
            ask(at("file/x"), 0),
            ask(at("fifo"), 0),
            ask("relative".to_owned(), 0),
        ];
        let text = |text: &str| FileAnswer::Read { bytes: text.into(), stamp: None };
        let answers = read(&asked, soon()).await.unwrap();
        assert_eq!(answers[..4], [text("lo"), FileAnswer::Absent, text(""), FileAnswer::Absent]);
        assert!(answers[4..].iter().all(|answer| matches!(answer, FileAnswer::Failed(_))));
    }

    #[test]
    fn a_file_is_read_again_when_it_may_have_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "hello").unwrap();
        let now = stat(&path).unwrap();
        let later = Duration::from_nanos(now.changed_ns as u64) + COARSE;
        let at = |time| settled(now, SystemTime::UNIX_EPOCH + time);
        assert_eq!(at(later), None, "another change may come and look the same");
        assert_eq!(at(later + Duration::from_millis(1)), Some(now));
    }
}
