//! Programs and files of this machine, each within a deadline.

use std::{
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use ao_slots::{Call, PluginError, call::ErrorKind, runtime::ExecOutput};
use nix::{sys::signal::Signal, unistd::Pid};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::Command,
    time::{Instant, timeout, timeout_at},
};

/// The most that is kept of a stream or read from a file, in bytes.
const MOST: usize = 1024 * 1024;

/// How long output may still come when its program has ended and something else holds the pipe.
const LATE_OUTPUT: Duration = Duration::from_millis(200);

/// When the call must have ended in good order: a tenth of its limit before the host loses patience.
pub(crate) fn deadline(call: &Call) -> Instant {
    const LONGEST: Duration = Duration::from_hours(24);
    Instant::now() + (call.limit() / 10 * 9).min(LONGEST)
}

/// Runs a program to its end with this standard input. At the deadline, or when the future is dropped, its
/// process group is killed; the error is then [`io::ErrorKind::TimedOut`].
pub(crate) async fn run(
    mut command: Command,
    stdin: &[u8],
    deadline: Instant,
) -> io::Result<ExecOutput> {
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

/// Reads at most 1 MiB of a regular file from byte `from` on.
pub(crate) async fn read(path: &str, from: u64, deadline: Instant) -> Result<Vec<u8>, PluginError> {
    let what = || format!("could not read `{}`", ao_slots::text::one_line(path));
    let path = PathBuf::from(path);
    if !path.is_absolute() {
        return Err(PluginError::permanent(what(), "the path is not absolute"));
    }
    let read = tokio::task::spawn_blocking(move || {
        // Without O_NONBLOCK a FIFO in the place of the file would hold the thread for ever.
        let flags = nix::fcntl::OFlag::O_NONBLOCK.bits();
        let file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let mut bytes = vec![0; MOST];
        let mut filled = 0;
        while filled < MOST {
            match file.read_at(&mut bytes[filled..], from + filled as u64)? {
                0 => break,
                more => filled += more,
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    });
    match timeout_at(deadline, read).await {
        Ok(Ok(Ok(bytes))) => Ok(bytes),
        Ok(Ok(Err(error))) => {
            let kind = match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ErrorKind::NotFound,
                _ => ErrorKind::Permanent,
            };
            Err(PluginError::new(kind, what(), error))
        }
        Ok(Err(error)) => Err(PluginError::transient(what(), error)),
        Err(_) => Err(PluginError::transient(what(), "the disk did not answer in time")),
    }
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
    use ao_slots::process::ProcessId;

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

    #[tokio::test]
    async fn files_are_read_from_an_offset_and_other_things_refused() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(at("file"), "hello").unwrap();
        nix::unistd::mkfifo(at("fifo").as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(read(&at("file"), 3, soon()).await.unwrap(), b"lo");
        assert_eq!(read(&at("file"), 99, soon()).await.unwrap(), b"");
        for (path, kind) in [
            (at("absent"), ErrorKind::NotFound),
            (at("file/x"), ErrorKind::NotFound),
            (at("fifo"), ErrorKind::Permanent),
            ("relative".to_owned(), ErrorKind::Permanent),
        ] {
            assert_eq!(read(&path, 0, soon()).await.unwrap_err().kind, kind, "{path}");
        }
    }
}
