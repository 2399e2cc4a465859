//! What a check writes: kept at both ends, and cut down to what a reader or an agent needs.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use ao_slots::text;
use nix::fcntl::OFlag;

/// What is kept of the beginning, and of the end.
const HEAD: usize = 2 << 20;
const TAIL: usize = 1 << 20;
/// More than that is written by a program that has gone wild: it is ended.
pub(crate) const MOST: u64 = 256 << 20;
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
pub(crate) fn error_line(log: &str) -> Option<String> {
    let line = log.lines().find(|line| speaks_of_error(line))?;
    Some(text::cut(&text::one_line(&text::redact(line)), 200)).filter(|line| !line.is_empty())
}

/// At most 64 KiB: some lines before the first error, what follows it, and always the end.
pub(crate) fn excerpt(log: &str) -> String {
    const BEFORE: usize = 20;
    const ALL: usize = 60 << 10;
    const END: usize = 16 << 10;
    let clean = text::redact(&text::plain(log));
    if clean.len() <= ALL {
        return clean;
    }
    let lines: Vec<&str> = clean.lines().collect();
    // The first line may be the command itself.
    let said = usize::from(clean.starts_with("$ "));
    let error =
        lines[said..].iter().position(|line| speaks_of_error(line)).map_or(0, |at| said + at);
    let end_at = lines.len() - fitting(lines.iter().rev(), END);
    let from = error.saturating_sub(BEFORE).min(end_at);
    // A few very long lines before it must not push the error out.
    let near = lines[from..error.max(from)].iter().map(|line| line.len() + 1).sum::<usize>();
    let from = if near > END { error.min(end_at) } else { from };
    let until = from + fitting(lines[from..end_at].iter(), ALL - END);
    let mut out = String::new();
    let gap = |out: &mut String, count: usize| {
        if count > 0 {
            out.push_str(&format!("… {} left out …\n", text::count(count as u64, "line", "lines")));
        }
    };
    gap(&mut out, from);
    // One line alone may be longer than all that there is room for.
    if until == from && from < end_at {
        out.push_str(head_of(lines[from], ALL - END));
        out.push_str("…\n");
    }
    lines[from..until].iter().for_each(|line| push_line(&mut out, line));
    gap(&mut out, end_at - until);
    lines[end_at..].iter().for_each(|line| push_line(&mut out, line));
    out
}

fn push_line(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}

/// How many of these lines fit.
fn fitting<'l>(lines: impl Iterator<Item = &'l &'l str>, room: usize) -> usize {
    let mut used = 0;
    lines
        .take_while(|line| {
            used += line.len() + 1;
            used <= room
        })
        .count()
}

fn head_of(line: &str, room: usize) -> &str {
    let end = (0..=room.min(line.len())).rev().find(|at| line.is_char_boundary(*at));
    &line[..end.unwrap_or(0)]
}

/// Says `error`, `failed`, `panicked`, but not `0 errors`.
fn speaks_of_error(line: &str) -> bool {
    let line = line.to_lowercase();
    let hit = ["error", "fail", "panic", "fatal", "exception", "not ok"]
        .iter()
        .any(|word| line.contains(word));
    // `10 failed` ends like `0 failed`.
    let none = |word: &&str| {
        line.find(word)
            .is_some_and(|at| !line[..at].ends_with(|before: char| before.is_ascii_digit()))
    };
    hit && !["0 error", "0 fail", "no error", "no fail"].iter().any(none)
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
    fn an_excerpt_has_the_error_and_the_end() {
        let noise = "compiling a crate of this name\n".repeat(10_000);
        let log =
            format!("{noise}warning: 0 errors so far\nerror: \x1b[31mno such thing\n{noise}exit");
        let cut = excerpt(&log);
        assert!(cut.len() <= 64 << 10, "{}", cut.len());
        assert!(cut.contains("\nerror: no such thing\n") && cut.ends_with("exit\n"));
        assert_eq!(cut.matches("left out").count(), 2);
        assert_eq!(error_line(&log).as_deref(), Some("error: no such thing"));
        assert_eq!(excerpt("short\n"), "short\n");
        assert_eq!(error_line("all well\n"), None);
        assert_eq!(error_line("0 failed\n10 failed\n").as_deref(), Some("10 failed"));
        let line = format!("{}error {}", "ä".repeat(50_000), "x".repeat(100_000));
        assert!(excerpt(&format!("$ fail\n{log}")).contains("\nerror: no such thing\n"));
        for log in [line.clone(), format!("{line}\nerror: b"), format!("{noise}{line}\n{noise}")] {
            let cut = excerpt(&log);
            assert!(!cut.is_empty() && cut.len() <= 64 << 10, "{}", cut.len());
        }
    }
}
