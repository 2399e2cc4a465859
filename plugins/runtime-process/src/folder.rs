//! The folder of one launch: what is known of its process outlives `ao`, since the process itself writes it.
//!
//! | file | written by | holds |
//! |---|---|---|
//! | `out` | the agent | its output; whoever has it as output holds a lock on it (flock(2)) |
//! | `in` | `ao` | a FIFO, the agent's input |
//! | `stat` | the launcher | its line of `/proc/<pid>/stat`: the label that finds the process again |
//! | `exit` | the launcher | the exit code as a shell tells it |
//! | `cwd` | `ao` | a link to the working directory |

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use ao_slots::{process::Stat, text};
use jiff::Timestamp;
use nix::{fcntl::OFlag, sys::stat::Mode, unistd::mkfifo};

/// Runs the agent below it and writes down who it was and how it ended. `$1` is the folder, the rest the
/// command. The text is fixed, and everything else reaches it as arguments.
///
/// The inner shell becomes the agent, so that `stat` names the agent itself. The traps keep the outer one alive
/// when a signal for all of the group arrives; they are not inherited.
pub(crate) const LAUNCHER: &str = r#"
trap : HUP INT TERM
dir=$1
shift
"$0" -c '
    line=$$
    [ -r "/proc/$$/stat" ] && read -r line <"/proc/$$/stat"
    printf "%s\n" "$line" >"$0/stat"
    exec "$@"
' "$dir" "$@"
code=$?
printf "%s\n" "$code" >"$dir/exit.new" && mv "$dir/exit.new" "$dir/exit"
"#;

/// The capacity that is asked for the input, in bytes: as much as an unprivileged process may have.
pub(crate) const INPUT_CAPACITY: usize = 1024 * 1024;

/// The folder of one launch.
#[derive(Debug, Clone)]
pub(crate) struct Folder(PathBuf);

/// What a folder tells.
#[derive(Debug)]
pub(crate) enum Found {
    /// No process was ever started for it.
    Nothing,
    /// One is being started this moment.
    Starting,
    /// One was started, and this is it.
    Started(Stat),
}

/// The two ends that a new process gets.
#[derive(Debug)]
pub(crate) struct Ends {
    pub(crate) input: Option<File>,
    pub(crate) output: File,
}

impl Folder {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn cwd(&self) -> PathBuf {
        self.0.join("cwd")
    }

    /// Looks without changing anything.
    pub(crate) fn look(&self) -> io::Result<Found> {
        // First the lock, then the label: a launcher writes its label while it holds the lock.
        let output = match OpenOptions::new().read(true).open(self.0.join("out")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            output => output?,
        };
        let held = match output.try_lock_shared() {
            Ok(()) => false,
            Err(TryLockError::WouldBlock) => true,
            Err(TryLockError::Error(error)) => return Err(error),
        };
        Ok(match self.stat()? {
            Some(stat) => Found::Started(stat),
            None if held => Found::Starting,
            None => Found::Nothing,
        })
    }

    /// Makes the folder ready for a process, and keeps others from doing the same until the ends are closed
    /// everywhere. None where that was done before: then [`Folder::look`] tells more.
    pub(crate) fn prepare(&self, cwd: &Path, stdin: Option<&str>) -> io::Result<Option<Ends>> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        let open =
            OpenOptions::new().append(true).create(true).mode(0o600).open(self.0.join("out"));
        let output = open?;
        match output.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        if self.stat()?.is_some() {
            return Ok(None);
        }
        let _ = fs::remove_file(self.cwd());
        std::os::unix::fs::symlink(cwd, self.cwd())?;
        let input = stdin.map(|text| self.make_input(text)).transpose()?;
        Ok(Some(Ends { input, output }))
    }

    /// A FIFO that is open for reading and writing, so that it never ends, with the first text in it.
    fn make_input(&self, text: &str) -> io::Result<File> {
        let path = self.0.join("in");
        let _ = fs::remove_file(&path);
        mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR)?;
        let input = OpenOptions::new().read(true).write(true).open(&path)?;
        #[cfg(target_os = "linux")]
        {
            let size = nix::libc::c_int::try_from(INPUT_CAPACITY).unwrap_or(nix::libc::c_int::MAX);
            // Where the user has too many large pipes it stays at 64 KiB.
            let _ = nix::fcntl::fcntl(&input, nix::fcntl::FcntlArg::F_SETPIPE_SZ(size));
        }
        let text = line(text);
        if !text.is_empty() {
            let mut writer = self.open_input()?;
            let written = writer.write(text.as_bytes()).or_else(|error| match error.kind() {
                io::ErrorKind::WouldBlock => Ok(0),
                _ => Err(error),
            })?;
            if written < text.len() {
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it does not fit a pipe"));
            }
        }
        Ok(input)
    }

    /// The writing end of the input; an error where nobody reads.
    pub(crate) fn open_input(&self) -> io::Result<File> {
        let flags = OFlag::O_NONBLOCK.bits();
        OpenOptions::new().write(true).custom_flags(flags).open(self.0.join("in"))
    }

    /// The agent's process as it was started; none before that.
    pub(crate) fn stat(&self) -> io::Result<Option<Stat>> {
        let text = self.text("stat")?;
        // The end of the line is written last.
        Ok(text.and_then(|text| Stat::parse(text.strip_suffix('\n')?)))
    }

    /// How it ended: none while it runs or when its launcher was killed before it could tell.
    ///
    /// A shell says 128 + n where signal n ended the process; so codes above 128 are read as a signal's.
    pub(crate) fn exit(&self) -> io::Result<Option<Option<i32>>> {
        let code = self.text("exit")?.and_then(|text| text.trim_end().parse::<i32>().ok());
        Ok(code.map(|code| (0..=128).contains(&code).then_some(code)))
    }

    fn text(&self, name: &str) -> io::Result<Option<String>> {
        match fs::read_to_string(self.0.join(name)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The last `keep` bytes of output as lines, cleaned; none where the folder is gone.
    pub(crate) fn tail(&self, keep: u64, lines: usize) -> io::Result<Option<Vec<String>>> {
        let mut output = match File::open(self.0.join("out")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            output => output?,
        };
        let start = output.metadata()?.len().saturating_sub(keep);
        output.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        output.take(keep).read_to_end(&mut bytes)?;
        let whole = String::from_utf8_lossy(&bytes);
        // What the cut left of a line is no line.
        let whole =
            if start > 0 { whole.split_once('\n').map_or("", |(_, rest)| rest) } else { &whole };
        let whole = text::plain(whole);
        let all: Vec<&str> = whole.trim_end_matches('\n').lines().collect();
        let skip = all.len().saturating_sub(lines);
        Ok(Some(all[skip..].iter().map(|line| line.trim_end().to_owned()).collect()))
    }

    /// When the agent last wrote. Frees the disk of all but the last `keep` bytes once there are twice as many:
    /// the file keeps its length and the agent its place in it, so nothing that it writes meanwhile is lost.
    pub(crate) fn trim(&self, keep: u64) -> io::Result<Option<Timestamp>> {
        let output = OpenOptions::new().append(true).open(self.0.join("out"))?;
        let about = output.metadata()?;
        if about.blocks() * 512 > keep.saturating_mul(2) {
            free(&output, about.len().saturating_sub(keep))?;
        }
        let written = about.modified().ok().and_then(|at| Timestamp::try_from(at).ok());
        Ok(written.filter(|_| about.len() > 0))
    }

    /// Forgets the launch.
    pub(crate) fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}

/// Text for an agent's input: cleaned, and a whole line. Nothing stays nothing.
pub(crate) fn line(text: &str) -> String {
    let mut text = text::plain(text);
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// Gives back the disk below `end`. A file system without holes loses the whole output instead.
fn free(output: &File, end: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use nix::fcntl::{FallocateFlags, fallocate};
        let mode = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        if let Ok(end) = i64::try_from(end)
            && fallocate(output, mode, 0, end).is_ok()
        {
            return Ok(());
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = end;
    output.set_len(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path().join("app-1~1"));
        (dir, folder)
    }

    #[test]
    fn only_one_of_two_may_start_a_process() {
        let (_dir, folder) = folder();
        assert!(matches!(folder.look().unwrap(), Found::Nothing));
        let ends = folder.prepare(Path::new("/"), None).unwrap().expect("nobody else is there");
        assert!(folder.prepare(Path::new("/"), None).unwrap().is_none());
        assert!(matches!(folder.look().unwrap(), Found::Starting));
        // The first one crashed before it started anything.
        drop(ends);
        assert!(matches!(folder.look().unwrap(), Found::Nothing));
        let ends = folder.prepare(Path::new("/"), Some("")).unwrap().expect("it is free again");
        // A label that is half written is none.
        fs::write(folder.0.join("stat"), "7 (sh) S 1 7 7 0 -1").unwrap();
        assert!(matches!(folder.look().unwrap(), Found::Starting));
        let stat = "7 (sh) S 1 7 7 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 12345 1 2\n";
        fs::write(folder.0.join("stat"), stat).unwrap();
        assert!(matches!(folder.look().unwrap(), Found::Started(stat) if stat.id.start == 12345));
        drop(ends);
        assert!(matches!(folder.look().unwrap(), Found::Started(_)));
        assert!(folder.prepare(Path::new("/"), None).unwrap().is_none());
    }

    #[test]
    fn exit_codes_are_told_from_signals() {
        let (_dir, folder) = folder();
        folder.prepare(Path::new("/"), None).unwrap();
        assert_eq!(folder.exit().unwrap(), None);
        for (text, code) in
            [("0\n", Some(0)), ("3\n", Some(3)), ("137\n", None), ("128\n", Some(128))]
        {
            fs::write(folder.0.join("exit"), text).unwrap();
            assert_eq!(folder.exit().unwrap(), Some(code), "{text}");
        }
    }

    #[test]
    fn r11_old_output_is_given_back_and_nothing_new_is_lost() {
        let (_dir, folder) = folder();
        let mut agent = folder.prepare(Path::new("/"), None).unwrap().unwrap().output;
        assert_eq!(folder.trim(64 * 1024).unwrap(), None, "it has not written yet");
        let words = "0123456789abcde\n".repeat(1024 * 1024 / 16);
        for _ in 0..4 {
            agent.write_all(words.as_bytes()).unwrap();
        }
        agent.write_all(b"last words\n").unwrap();
        agent.sync_all().unwrap();
        assert!(folder.trim(64 * 1024).unwrap().is_some());
        let about = fs::metadata(folder.0.join("out")).unwrap();
        assert!(about.blocks() * 512 <= 2 * 64 * 1024, "{} blocks are left", about.blocks());
        agent.write_all(b"and more\n").unwrap();
        let tail = folder.tail(64 * 1024, 3).unwrap().unwrap();
        assert_eq!(tail, ["0123456789abcde", "last words", "and more"]);
        let all = folder.tail(64 * 1024, usize::MAX).unwrap().unwrap();
        assert!(all.len() > 4000 && all.iter().all(|line| line.len() <= 15), "a line was cut");
    }

    #[test]
    fn s40_output_is_shown_as_text() {
        let (_dir, folder) = folder();
        let mut agent = folder.prepare(Path::new("/"), None).unwrap().unwrap().output;
        agent.write_all(b"\x1b[31mred\x1b[0m\x1b]52;c;ZXZp\x07 \xff\r\n50%\r100%\n\n").unwrap();
        assert_eq!(folder.tail(1024, 10).unwrap().unwrap(), ["red \u{fffd}", "50%", "100%"]);
        folder.remove().unwrap();
        folder.remove().unwrap();
        assert_eq!(folder.tail(1024, 10).unwrap(), None);
    }
}
