//! Programs and files of this machine, each within a deadline.

use std::{
    collections::BTreeSet,
    io,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Mutex, MutexGuard, PoisonError},
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
    sync::oneshot,
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

/// Files that are being read, also by reads that nobody waits for any more.
static READING: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// A read that hangs holds a thread until its disk answers, and a process has but some hundred.
const MOST_READS: usize = 64;

/// Reads regular files of this machine, each from the byte asked for. One whose disk has not answered an earlier
/// read is not read again before it has.
pub async fn read(
    files: &[FileRequest],
    deadline: Instant,
) -> Result<Vec<FileAnswer>, PluginError> {
    read_by(files, deadline, read_one).await
}

async fn read_by(
    files: &[FileRequest],
    deadline: Instant,
    read: impl Fn(&FileRequest) -> io::Result<FileAnswer> + Send + 'static,
) -> Result<Vec<FileAnswer>, PluginError> {
    let what = || format!("could not read {} files", files.len());
    let asked = files.to_vec();
    let (done, answers) = oneshot::channel();
    tokio::task::spawn_blocking(move || {
        let alone = |file: &FileRequest| {
            let _reading = Reading::begin(&file.path)?;
            read(file)
        };
        // Past the deadline nobody waits for the rest.
        let wanted = asked.iter().take_while(|_| !done.is_closed());
        let answers: Vec<_> = wanted
            .map(|file| alone(file).unwrap_or_else(|e| FileAnswer::Failed(e.to_string())))
            .collect();
        let _ = done.send(answers);
    });
    match timeout_at(deadline, answers).await {
        Ok(Ok(answers)) => Ok(answers),
        Ok(Err(error)) => Err(PluginError::transient(what(), error)),
        Err(_) => Err(PluginError::transient(what(), "the disk did not answer in time")),
    }
}

/// A file that is being read, until this is dropped.
struct Reading<'f>(&'f str);

impl<'f> Reading<'f> {
    fn begin(path: &'f str) -> io::Result<Self> {
        let mut reading = reading();
        if reading.len() >= MOST_READS || !reading.insert(path.to_owned()) {
            return Err(io::Error::other("the disk has not answered an earlier read"));
        }
        Ok(Self(path))
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        reading().remove(self.0);
    }
}

fn reading() -> MutexGuard<'static, BTreeSet<String>> {
    READING.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Removes a folder and what is in it, read-only folders too; one that is not there is no error.
pub async fn remove_folder(folder: PathBuf) -> io::Result<()> {
    let removed = tokio::task::spawn_blocking(move || match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            make_writable(folder.clone());
            std::fs::remove_dir_all(&folder)
        }
        result => result,
    });
    match removed.await.map_err(io::Error::other)? {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Some tools make their folders read-only.
fn make_writable(folder: PathBuf) {
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        let _denied = std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700));
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let is_folder =
            |entry: &std::fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
        folders.extend(entries.filter(is_folder).map(|entry| entry.path()));
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
        nix::unistd::mkfifo(&pid, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let script = format!("sleep 1000 & echo $! > {}; wait", pid.display());
        let running = tokio::spawn(async move { run(sh(&script), b"", soon()).await });
        // Its child runs by the time that it says which.
        let told = tokio::task::spawn_blocking(|| std::fs::read_to_string(pid)).await.unwrap();
        let child = ProcessId::of(told.unwrap().trim().parse().unwrap()).expect("the child runs");
        running.abort();
        assert!(running.await.unwrap_err().is_cancelled());
        while child.is_alive() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn r11_a_program_is_given_up_at_its_deadline() {
        let late = run(sh("sleep 1000"), b"", Instant::now()).await;
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
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

    fn ask(path: String, from: u64) -> FileRequest {
        let handle = RuntimeHandle {
            session: "app-1".parse().unwrap(),
            launch: Launch(1),
            id: String::new(),
            server: None,
            process: None,
        };
        FileRequest { handle, path, from, seen: None }
    }

    #[tokio::test]
    async fn r11_a_file_whose_disk_hangs_holds_one_thread_and_no_other_file() {
        let dir = tempfile::tempdir().unwrap();
        let [hung, later, well] = ["hung", "later", "well"].map(|name| dir.path().join(name));
        let [hung, later, well] = [hung, later, well].map(|path| path.to_str().unwrap().to_owned());
        std::fs::write(&well, "well").unwrap();
        let (begun, mut begins) = tokio::sync::mpsc::unbounded_channel();
        let (answers, answer) = std::sync::mpsc::channel::<()>();
        let answer = Mutex::new(answer);
        let disk = move |file: &FileRequest| {
            begun.send(file.path.clone()).unwrap();
            answer.lock().unwrap().recv().map_err(io::Error::other)?;
            Ok(FileAnswer::Absent)
        };
        let asked = [ask(hung.clone(), 0), ask(later.clone(), 0)];
        let first = tokio::spawn(async move { read_by(&asked, soon(), disk).await });
        assert_eq!(begins.recv().await.as_deref(), Some(&*hung));
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());

        let both = [ask(hung.clone(), 0), ask(well, 0)];
        let answered = read(&both, soon()).await.unwrap();
        assert!(matches!(&answered[0], FileAnswer::Failed(why) if why.contains("earlier read")));
        assert_eq!(answered[1], FileAnswer::Read { bytes: b"well".into(), stamp: None });

        // It answers after all: what nobody waits for any more is left, and the file is read again.
        answers.send(()).unwrap();
        assert_eq!(begins.recv().await, None, "`later` was not begun");
        assert_eq!(read(&both[..1], soon()).await.unwrap(), [FileAnswer::Absent]);
    }

    #[tokio::test]
    async fn files_are_read_from_an_offset_and_other_things_refused() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(at("file"), "hello").unwrap();
        nix::unistd::mkfifo(at("fifo").as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
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
