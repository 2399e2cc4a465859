//! What a check writes: kept at both ends, and cut down to what a reader or an agent needs.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use ao_sdk::log::{self, around_error};
use ao_slots::text;
use nix::fcntl::OFlag;

/// What is kept of the beginning, and of the end.
const HEAD: usize = 2 << 20;
const TAIL: usize = 1 << 20;
/// More than that is written by a program that has gone wild: it is ended.
pub(crate) const MOST: u64 = 256 << 20;
/// The most that is told of one, in bytes.
const TOLD: usize = 60 << 10;
/// How many logs of a pull request are kept.
const LOGS: usize = 20;

/// A log that is being written.
#[derive(Debug)]
pub(crate) struct Log {
    file: File,
    room: usize,
    tail: VecDeque<u8>,
    /// All that was written, kept or not.
    pub(crate) written: u64,
}

impl Log {
    /// A new file, readable by its owner alone. Older ones beside it beyond the newest go, but for what is needed.
    pub(crate) fn create(path: &Path, needed: &[PathBuf]) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            prune(folder, needed);
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let file = options.custom_flags(OFlag::O_NOFOLLOW.bits()).open(path)?;
        Ok(Self { file, room: HEAD, tail: VecDeque::new(), written: 0 })
    }

    /// A full disk stops no check.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.written += bytes.len() as u64;
        let (head, rest) = bytes.split_at(bytes.len().min(self.room));
        let _full = self.file.write_all(head);
        self.room -= head.len();
        self.tail.extend(rest);
        let over = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..over);
    }

    /// A line of our own, and the end.
    pub(crate) fn finish(mut self, line: Option<&str>) {
        let kept = (HEAD - self.room + self.tail.len()) as u64;
        if self.written > kept {
            let left_out = text::size(self.written - kept);
            let _full = self.file.write_all(format!("\n… {left_out} left out …\n").as_bytes());
        }
        let _full = self.file.write_all(self.tail.make_contiguous());
        if let Some(line) = line {
            let _full = self.file.write_all(format!("\n{line}\n").as_bytes());
        }
    }
}

fn prune(folder: &Path, needed: &[PathBuf]) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let aged =
        |entry: std::fs::DirEntry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()));
    let mut logs: Vec<_> = entries.filter_map(aged).collect();
    logs.sort();
    let over = (logs.len() + 1).saturating_sub(LOGS);
    for (_, path) in logs.iter().filter(|(_, path)| !needed.contains(path)).take(over) {
        let _gone = std::fs::remove_file(path);
    }
}

/// A kept log.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let mut bytes = Vec::new();
    file.take((HEAD + TAIL + (4 << 10)) as u64).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The first line that speaks of an error, harmless and without secrets; none where no line does.
pub(crate) fn error_line(text: &str) -> Option<String> {
    let line = text.lines().nth(log::error_line(text.lines())?)?;
    Some(text::cut(&text::one_line(&text::redact(&text::plain(line))), 200))
        .filter(|line| !line.is_empty())
}

/// What a reader needs of it, without secrets.
pub(crate) fn excerpt(log: &str) -> String {
    around_error(&text::redact(&text::plain(log)), TOLD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_keeps_its_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("7/log");
        let mut log = Log::create(&path, &[]).unwrap();
        log.write(b"first\n");
        for _ in 0..100 {
            log.write(&[b'x'; 64 << 10]);
        }
        log.write(b"\nlast");
        log.finish(Some("ended after 5 s"));
        let text = read(&path).unwrap();
        assert!(text.starts_with("first\n") && text.ends_with("\nlast\nended after 5 s\n"));
        assert!(text.contains("MiB left out …\n"));
        assert!(text.len() < HEAD + TAIL + 200, "{}", text.len());
        assert!(Log::create(&path, &[]).is_err(), "a log is never written twice");
    }

    #[test]
    fn old_logs_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = |number: usize| folder.path().join(number.to_string());
        let needed: Vec<_> = (0..3).map(path).collect();
        for number in 0..LOGS + 5 {
            Log::create(&path(number), &needed).unwrap().finish(None);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), LOGS);
        assert!(needed.iter().all(|path| path.exists()));
        assert!(!path(3).exists() && path(LOGS + 4).exists());
    }

    #[test]
    fn what_is_told_of_a_log_has_no_secret() {
        let log = "$ fail\nwarning: 0 errors so far\nerror: \x1b[31mtoken=ghp_0123456789abcdefghijklmnopqrstuvwxyz\n";
        let told = "error: token=[hidden]";
        assert_eq!(excerpt(log), format!("$ fail\nwarning: 0 errors so far\n{told}\n"));
        assert_eq!(error_line(log).as_deref(), Some(told));
        assert_eq!(error_line("all well\n"), None);
    }
}
