//! A process's identity, and the tree of what it started.
//!
//! A process number alone is reused, a number with its start time is not. Everything here reads `/proc`
//! (proc(5)); where there is none, only single processes can be looked at.

use std::collections::HashSet;

use nix::{errno::Errno, sys::signal::kill, unistd::Pid};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use nix::sys::signal::Signal;

use crate::runtime::RuntimeMetrics;

/// A process that can be told from a later one with the same number.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct ProcessId {
    /// The process number.
    pub pid: i32,
    /// Its start in clock ticks since boot: field 22 of `/proc/<pid>/stat` (proc(5)). 0 where the system
    /// does not tell; then only the number is compared.
    pub start: u64,
}

impl ProcessId {
    /// The process that has this number now; none when there is no such process or it is a zombie.
    pub fn of(pid: i32) -> Option<Self> {
        if cfg!(not(target_os = "linux")) {
            let there = pid > 1 && kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH);
            return there.then_some(Self { pid, start: 0 });
        }
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Stat::parse(&stat).filter(|stat| stat.living).map(|stat| stat.id)
    }

    /// Whether the process with this number ended and its parent has not yet asked how. Known on Linux only.
    pub fn is_zombie(pid: i32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok();
        stat.and_then(|stat| Stat::parse(&stat)).is_some_and(|stat| !stat.living)
    }

    /// Whether this very process still runs.
    pub fn is_alive(self) -> bool {
        Self::of(self.pid).is_some_and(|now| self.start == 0 || now.start == self.start)
    }

    /// Sends a signal to this very process; false when it is gone or may not be signalled.
    pub fn signal(self, signal: Signal) -> bool {
        self.pid > 1 && self.is_alive() && kill(Pid::from_raw(self.pid), signal).is_ok()
    }
}

/// The parts of `/proc/<pid>/stat` that tell processes and their relations apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// The process.
    pub id: ProcessId,
    /// It is no zombie.
    pub living: bool,
    /// The number of its parent.
    pub parent: i32,
    /// The number of its kernel session's leader, see setsid(2).
    pub session: i32,
    cpu_ticks: u64,
}

impl Stat {
    /// Reads the file's one line. The second field is the command in parentheses and may itself hold spaces
    /// and parentheses, so the fields are counted from the last `)`.
    pub fn parse(line: &str) -> Option<Self> {
        let (head, tail) = line.rsplit_once(')')?;
        let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            id: ProcessId {
                pid: head.split_ascii_whitespace().next()?.parse().ok()?,
                start: number(22)?,
            },
            living: !matches!(*fields.first()?, "Z" | "X"),
            parent: fields.get(1)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            cpu_ticks: number(14)? + number(15)?,
        })
    }
}

/// What `root` started and what still runs of it: root itself, its descendants, and every process of its
/// kernel session, which also holds those that lost their parent. Only a process that left the session on
/// purpose (a daemon, perhaps shared with others) is not part of it.
///
/// `session` is the number of that kernel session; none when root is its leader.
pub fn tree(root: ProcessId, session: Option<i32>) -> Vec<ProcessId> {
    members(&all(), &HashSet::from([root]), root, session.unwrap_or(root.pid))
        .iter()
        .map(|s| s.id)
        .collect()
}

/// CPU time and memory of a [`tree`]; none when nothing of it runs.
pub fn usage(root: ProcessId, session: Option<i32>) -> Option<RuntimeMetrics> {
    // USER_HZ, the unit of the times in `stat`, is 100 on every architecture that Rust supports on Linux.
    const MS_PER_TICK: u64 = 10;
    let members = members(&all(), &HashSet::from([root]), root, session.unwrap_or(root.pid));
    (!members.is_empty()).then(|| RuntimeMetrics {
        cpu_ms: members.iter().map(|stat| stat.cpu_ticks * MS_PER_TICK).sum(),
        rss_bytes: members.iter().filter_map(|stat| resident(stat.id.pid)).sum(),
        processes: u32::try_from(members.len()).unwrap_or(u32::MAX),
    })
}

/// Whether some process of this machine runs exactly this command, or its tail: `env -u X program …`
/// becomes `program …`. At least two words must agree.
pub fn runs(argv: &[String]) -> bool {
    numbers().any(|pid| {
        let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else { return false };
        is_tail(argv, &line)
    })
}

fn is_tail(argv: &[String], cmdline: &[u8]) -> bool {
    let words: Vec<&[u8]> =
        cmdline.strip_suffix(b"\0").unwrap_or_default().split(|byte| *byte == 0).collect();
    (2..=argv.len()).contains(&words.len())
        && argv[argv.len() - words.len()..].iter().map(String::as_bytes).eq(words)
}

/// The end of a [`tree`], asked for first and forced later. It forgets nobody whom it once saw, so a child
/// whose parent dies first is ended too.
///
/// It only takes steps; the caller waits between them and knows when patience ends.
#[derive(Debug)]
pub struct Ending {
    root: ProcessId,
    session: i32,
    known: HashSet<ProcessId>,
    asked: HashSet<ProcessId>,
}

impl Ending {
    /// The end of `root`'s tree. `session` as in [`tree`].
    pub fn of(root: ProcessId, session: Option<i32>) -> Self {
        Self {
            root,
            session: session.unwrap_or(root.pid),
            known: HashSet::from([root]),
            asked: HashSet::new(),
        }
    }

    /// Signals what runs and returns how many processes that were; 0 means that all are gone. Each is asked
    /// once (SIGTERM, SIGHUP for shells, SIGCONT so that a stopped one hears it); with `force` it is killed.
    pub fn step(&mut self, force: bool) -> usize {
        if cfg!(not(target_os = "linux")) {
            self.signal(self.root, force);
            return usize::from(self.root.is_alive());
        }
        let members = members(&all(), &self.known, self.root, self.session);
        for stat in &members {
            self.known.insert(stat.id);
            self.signal(stat.id, force);
        }
        members.len()
    }

    fn signal(&mut self, process: ProcessId, force: bool) {
        if force {
            process.signal(Signal::SIGKILL);
        } else if self.asked.insert(process) {
            for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGCONT] {
                process.signal(signal);
            }
        }
    }
}

/// Of `all`, the living ones that are in `known`, descend from one of these or are in the kernel session.
fn members(all: &[Stat], known: &HashSet<ProcessId>, root: ProcessId, session: i32) -> Vec<Stat> {
    let is_known =
        |id: ProcessId| known.contains(&id) || known.contains(&ProcessId { start: 0, ..id });
    // The number of a session is not given away while it has members. So it is root's own unless its leader
    // is younger than root; of a session without a leader, older members cannot be root's.
    let leader = all.iter().find(|stat| stat.id.pid == session).map(|stat| stat.id);
    let in_session = |stat: &Stat| {
        stat.session == session
            && session > 1
            && match leader {
                Some(leader) => leader.start <= root.start,
                None => stat.id.start >= root.start,
            }
    };
    let me = i32::try_from(std::process::id()).unwrap_or(0);
    let mut found: Vec<Stat> = Vec::new();
    let mut numbers = HashSet::new();
    loop {
        let before = found.len();
        for stat in all.iter().filter(|stat| stat.living && stat.id.pid > 1 && stat.id.pid != me) {
            let belongs = is_known(stat.id) || numbers.contains(&stat.parent) || in_session(stat);
            if belongs && numbers.insert(stat.id.pid) {
                found.push(*stat);
            }
        }
        if found.len() == before {
            return found;
        }
    }
}

fn all() -> Vec<Stat> {
    numbers()
        .filter_map(|pid| Stat::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?))
        .collect()
}

/// The numbers of all processes of this machine.
fn numbers() -> impl Iterator<Item = i32> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Resident memory in bytes: `VmRSS` of `/proc/<pid>/status`, which is in KiB whatever the page size.
fn resident(pid: i32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_ascii_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::process::CommandExt,
        process::{Child, Command, Stdio},
        time::Duration,
    };

    use super::*;

    #[test]
    fn a_command_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b) S 1 7 6 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 12345 1 2";
        assert_eq!(
            Stat::parse(stat),
            Some(Stat {
                id: ProcessId { pid: 7, start: 12345 },
                living: true,
                parent: 1,
                session: 6,
                cpu_ticks: 3
            })
        );
        assert_eq!(Stat::parse("garbage"), None);
        assert_eq!(Stat::parse("7 (x) S 1"), None);
    }

    #[test]
    fn r20_a_reused_number_is_another_process() {
        let me = ProcessId::of(std::process::id().cast_signed()).unwrap();
        assert!(me.is_alive());
        let other = ProcessId { start: me.start + 1, ..me };
        assert!(!other.is_alive());
        assert!(!other.signal(Signal::SIGKILL), "a foreign process was signalled");
    }

    #[test]
    fn a_tree_is_root_its_descendants_and_its_kernel_session() {
        let stat = |pid, parent, session, start| Stat {
            id: ProcessId { pid, start },
            living: true,
            parent,
            session,
            cpu_ticks: 0,
        };
        let root = ProcessId { pid: 10, start: 5 };
        let check = |all: &[Stat], session, expected: &[i32]| {
            let found = members(all, &HashSet::from([root]), root, session);
            let mut found: Vec<i32> = found.iter().map(|s| s.id.pid).collect();
            found.sort_unstable();
            assert_eq!(found, expected);
        };
        // Children are found in any order, also those in a session of their own.
        check(
            &[stat(30, 20, 20, 7), stat(10, 2, 10, 5), stat(20, 10, 20, 6), stat(40, 2, 2, 6)],
            10,
            &[10, 20, 30],
        );
        // Root is gone: its orphans are known by the session, an older process is not one of them.
        check(&[stat(20, 1, 10, 6), stat(21, 1, 10, 4), stat(22, 1, 9, 6)], 10, &[20]);
        // The numbers went to another process: nothing of it is ours.
        check(&[stat(10, 1, 10, 9), stat(20, 10, 10, 9)], 10, &[]);
        // Root is not the leader: the launcher above it belongs to it.
        check(&[stat(8, 1, 8, 4), stat(10, 8, 8, 5), stat(11, 8, 8, 6)], 8, &[8, 10, 11]);
        // A zombie is gone.
        check(&[Stat { living: false, ..stat(10, 1, 10, 5) }], 10, &[]);
    }

    #[test]
    fn a_command_is_recognised_by_its_tail() {
        let argv = ["env", "-u", "TMUX", "tmux", "attach"].map(str::to_owned);
        assert!(is_tail(&argv, b"tmux\0attach\0"));
        assert!(is_tail(&argv, b"env\0-u\0TMUX\0tmux\0attach\0"));
        for other in [&b"tmux\0"[..], b"attach\0", b"", b"tmux\0attach\0-r\0", b"tmux\0list\0"] {
            assert!(!is_tail(&argv, other));
        }
        let argv = ["sleep", "97531.25"].map(str::to_owned);
        assert!(!runs(&argv));
        let child = Family::spawn(Command::new(&argv[0]).arg(&argv[1]));
        until(|| runs(&argv));
        drop(child);
    }

    #[test]
    fn r18_the_end_of_a_tree_takes_the_deaf_and_the_orphans_with_it() {
        // A shell that ignores SIGTERM and SIGHUP, with a child that inherits this and one whose parent is gone.
        let script = "trap '' TERM HUP; sleep 1000 & (sleep 1000 & ); echo ready; wait";
        let mut family = Family::spawn(
            Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).process_group(0),
        );
        let mut ready = String::new();
        let out = family.0.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut ready).unwrap();
        let root = ProcessId::of(family.0.id().cast_signed()).unwrap();
        until(|| tree(root, None).len() >= 2);
        let cost = usage(root, None).unwrap();
        assert!(cost.processes >= 2 && cost.rss_bytes > 100_000, "{cost:?}");

        let mut ending = Ending::of(root, None);
        let asked = ending.step(false);
        assert!(asked >= 2);
        std::thread::sleep(Duration::from_millis(50));
        assert!(root.is_alive(), "the test needs a process that ignores SIGTERM");
        until(|| ending.step(true) == 0);
        assert!(!root.is_alive());
        assert_eq!(usage(root, None), None);
    }

    /// Kills the process group that a test started, whatever becomes of the test.
    struct Family(Child);

    impl Family {
        fn spawn(command: &mut Command) -> Self {
            Self(command.spawn().unwrap())
        }
    }

    impl Drop for Family {
        fn drop(&mut self) {
            let group = Pid::from_raw(-self.0.id().cast_signed());
            let _ = kill(group, Signal::SIGKILL);
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn until(mut done: impl FnMut() -> bool) {
        for _ in 0..2_000 {
            if done() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("it did not happen within 20 s");
    }
}
