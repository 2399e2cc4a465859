//! `ao hook <agent> <event>`: called by an agent's own hook system, often, and while the agent waits.
//!
//! It reports within milliseconds: no runtime, no argument parser, no TLS is touched on this path. A hook
//! must never break the agent: whatever goes wrong, it exits with 0 and prints nothing. When the server is
//! away the event is put into the spool, where the server finds it. When the server answers that a human
//! decides, this same process stays and asks again until the decision is there.

use std::{
    ffi::OsString,
    fs,
    io::{self, Read, Write},
    os::unix::{
        fs::{DirBuilderExt, OpenOptionsExt},
        net::UnixStream,
        process::parent_id,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use nix::unistd::Uid;
use serde::{Deserialize, Serialize};

/// Most bytes of one event. A larger one is cut, which its agent plugin reads as unreadable and drops.
const MOST: u64 = 64 * 1024;
/// Most bytes in the spool. What is already there is older and goes first; the newest is refused.
const SPOOL: u64 = 16 << 20;
/// How long one report may take before it is put into the spool.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long whoever waits leaves it to a human's `ao restart` to start the server: that one brings the human's
/// environment.
pub(crate) const RESTART: Duration = Duration::from_millis(800);
/// How long a hook that had to start the server waits for it.
const START: Duration = Duration::from_secs(2);

/// Whose hook this is, from the environment that the agent was started with.
struct Hook {
    agent: String,
    event: String,
    session: String,
    launch: u32,
    token: String,
    socket: PathBuf,
    data_dir: PathBuf,
    ask_for: Duration,
    payload: Vec<u8>,
    /// When it was started, in microseconds of the monotonic clock.
    started: u64,
}

/// An event that waits for the server.
#[derive(Serialize)]
struct Spooled<'a> {
    agent: &'a str,
    event: &'a str,
    session: &'a str,
    launch: u32,
    token: &'a str,
    payload: &'a str,
    started: u64,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Answer {
    stdout: Option<String>,
    wait: Option<String>,
}

/// What became of one request to the server.
enum Heard {
    Answer(Answer),
    /// The server took it and wants no more of it, or refused it for good.
    Nothing,
    /// Nobody answered: the same request may be made again.
    Away,
}

/// Runs the hook with the words after `ao hook`.
pub(crate) fn run(args: &[OsString]) {
    let Some(hook) = Hook::from_environment(args) else { return };
    match hook.post(None, Instant::now() + PATIENCE) {
        Heard::Answer(answer) => hook.follow(answer),
        Heard::Nothing => {}
        Heard::Away => hook.spool_and_wake(),
    }
}

impl Hook {
    fn from_environment(args: &[OsString]) -> Option<Self> {
        let started = monotonic();
        let [agent, event, ..] = args else { return None };
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let session = variable("AO_SESSION")?;
        let launch = variable("AO_LAUNCH")?.parse().ok()?;
        let token = variable("AO_TOKEN")?;
        let socket = PathBuf::from(variable("AO_SOCKET")?);
        let data_dir = variable("AO_DATA_DIR").map(PathBuf::from);
        let data_dir = data_dir.or_else(|| Some(socket.parent()?.parent()?.to_owned()))?;
        let ask_for = variable("AO_ASK_FOR").and_then(|text| text.parse().ok()).unwrap_or(86_400);
        let mut payload = Vec::new();
        io::stdin().lock().take(MOST).read_to_end(&mut payload).ok()?;
        let plain = |word: &OsString| word.to_str().filter(|text| is_word(text)).map(str::to_owned);
        Some(Self {
            agent: plain(agent)?,
            event: plain(event)?,
            session: Some(session).filter(|text| is_word(text))?,
            launch,
            token: Some(token).filter(|text| is_word(text))?,
            socket,
            data_dir,
            ask_for: Duration::from_secs(ask_for),
            payload,
            started,
        })
    }

    /// Prints what was answered, or stays until a human has decided.
    fn follow(&self, answer: Answer) {
        print(answer.stdout.as_deref());
        let Some(request) = answer.wait else { return };
        let end = Instant::now() + self.ask_for;
        let parent = parent_id();
        let mut pause = Duration::from_millis(200);
        while Instant::now() < end && parent_id() == parent {
            match self.post(Some((&request, parent)), end) {
                Heard::Answer(answer) => return print(answer.stdout.as_deref()),
                Heard::Nothing => return,
                // The request is in the journal: a server that comes back knows it, and whether it has ended.
                // Reporting the event again could ask a second time what was answered meanwhile.
                Heard::Away => {}
            }
            if pause >= RESTART {
                self.wake();
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }

    /// Reports the event, or with `waiting` waits for the decision on that request while the parent lives.
    fn post(&self, waiting: Option<(&str, u32)>, until: Instant) -> Heard {
        let Self { agent, event, .. } = self;
        let path = match waiting {
            None => format!("/api/hooks/{agent}/{event}"),
            Some((request, _)) => format!("/api/hooks/{agent}/{event}/wait/{request}"),
        };
        let parent = waiting.map(|(_, parent)| parent);
        self.exchange(&path, parent, until).unwrap_or(Heard::Away)
    }

    fn exchange(&self, path: &str, parent: Option<u32>, until: Instant) -> io::Result<Heard> {
        let mut stream = UnixStream::connect(&self.socket)?;
        if serves_as(&stream)? != Uid::current().as_raw() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        stream.set_write_timeout(Some(PATIENCE))?;
        // Short reads, so that a waiting hook notices when its parent is gone.
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: ao\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nx-ao-session: {}\r\nx-ao-launch: {}\r\nx-ao-started: {}\r\n\
             authorization: Bearer {}\r\n\r\n",
            self.payload.len(),
            self.session,
            self.launch,
            self.started,
            self.token,
        );
        // In one piece: a server that refuses by the head alone must not meet the body half sent.
        stream.write_all(&[head.as_bytes(), &self.payload].concat())?;
        let mut reply = Vec::new();
        let mut piece = [0; 4096];
        loop {
            match stream.read(&mut piece) {
                Ok(0) => break,
                Ok(n) => reply.extend_from_slice(&piece[..n]),
                Err(error) if is_pause(&error) => {
                    if parent.is_some_and(|parent| parent_id() != parent) {
                        return Ok(Heard::Nothing);
                    }
                    if Instant::now() >= until {
                        return Ok(if parent.is_some() { Heard::Nothing } else { Heard::Away });
                    }
                }
                // It refused without reading on, and the connection was reset behind its answer.
                Err(error) => {
                    return match read_reply(&reply) {
                        Heard::Away => Err(error),
                        heard => Ok(heard),
                    };
                }
            }
            if reply.len() > 1 << 20 {
                return Ok(Heard::Nothing);
            }
        }
        Ok(read_reply(&reply))
    }

    /// Keeps the event for the server and starts it; then gives it the time to come up, since the event may
    /// be one that a human has to decide.
    fn spool_and_wake(&self) {
        let spool = self.data_dir.join("run/spool");
        let failing = spooled(&spool).any(|(age, _)| age > Duration::from_secs(10));
        let Some(file) = self.spool(&spool) else { return };
        if !self.wake() || failing {
            return;
        }
        let until = Instant::now() + START;
        while Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
            match self.post(None, until) {
                Heard::Away => {}
                Heard::Nothing => {
                    let _ = fs::remove_file(&file);
                    return;
                }
                Heard::Answer(answer) => {
                    // The server has it now. If it read the spooled copy too, that one says nothing new.
                    let _ = fs::remove_file(&file);
                    return self.follow(answer);
                }
            }
        }
    }

    fn spool(&self, spool: &Path) -> Option<PathBuf> {
        let event = Spooled {
            agent: &self.agent,
            event: &self.event,
            session: &self.session,
            launch: self.launch,
            token: &self.token,
            payload: &String::from_utf8_lossy(&self.payload),
            started: self.started,
        };
        keep(spool, &event)
    }

    fn wake(&self) -> bool {
        wake(&self.data_dir, &self.socket)
    }
}

/// Puts what an agent told where the next server finds it: `<dataDir>/run/spool/<milliseconds>-<pid>.json`. None
/// when it cannot be kept, also because too much is there.
pub(crate) fn keep(spool: &Path, told: &impl Serialize) -> Option<PathBuf> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(spool).ok()?;
    let json = serde_json::to_vec(told).ok()?;
    let held: u64 = spooled(spool).map(|(_, size)| size).sum();
    if held + json.len() as u64 > SPOOL {
        return None;
    }
    let at = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_millis();
    let name = format!("{at:015}-{}.json", std::process::id());
    let (tmp, file) = (spool.join(format!(".{name}")), spool.join(name));
    let mut out =
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&tmp).ok()?;
    out.write_all(&json).ok()?;
    fs::rename(&tmp, &file).ok()?;
    Some(file)
}

/// Starts the server for an agent, where nobody said that it shall rest. Returns whether that was tried.
pub(crate) fn wake(data_dir: &Path, socket: &Path) -> bool {
    if crate::paths::stopped(data_dir).exists() || UnixStream::connect(socket).is_ok() {
        return false;
    }
    let Ok(program) = std::env::current_exe() else { return false };
    let kept = std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_kept));
    Command::new(program)
        .args(["start", "--foreground", "--detached"])
        .current_dir("/")
        .env_clear()
        .envs(kept)
        .env("AO_DATA_DIR", data_dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .is_ok()
}

/// What a server that is started from an agent's hook may inherit: where things lie, no key of the agent's.
fn is_kept(name: &str) -> bool {
    matches!(
        name,
        "PATH" | "HOME" | "USER" | "LOGNAME" | "SHELL" | "LANG" | "TZ" | "DBUS_SESSION_BUS_ADDRESS"
    ) || name.starts_with("LC_")
        || name.starts_with("XDG_")
}

/// The monotonic clock: hooks race, and a wall clock may be set between two of them.
fn monotonic() -> u64 {
    let clock = nix::time::ClockId::CLOCK_MONOTONIC;
    // The call cannot fail for a clock that every supported kernel has; 0 would only say "the oldest".
    clock.now().map_or(0, |time| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
        seconds * 1_000_000 + u64::try_from(time.tv_nsec()).unwrap_or(0) / 1_000
    })
}

/// Age and size of what is in the spool.
fn spooled(spool: &Path) -> impl Iterator<Item = (Duration, u64)> {
    fs::read_dir(spool).into_iter().flatten().flatten().filter_map(|entry| {
        let meta = entry.metadata().ok()?;
        Some((meta.modified().ok()?.elapsed().unwrap_or_default(), meta.len()))
    })
}

/// What may stand in a path or a header as it is.
fn is_word(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && !text.contains("..")
}

/// The user of the process that listens there: another's gets neither the token nor the event.
fn serves_as(stream: &UnixStream) -> io::Result<u32> {
    #[cfg(target_os = "linux")]
    {
        use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
        Ok(getsockopt(stream, PeerCredentials)?.uid())
    }
    #[cfg(not(target_os = "linux"))]
    {
        Ok(nix::unistd::getpeereid(stream)?.0.as_raw())
    }
}

fn is_pause(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

/// Reads a whole HTTP/1.1 reply with a plain body, as the server gives them to `connection: close`.
fn read_reply(reply: &[u8]) -> Heard {
    let Some(end) = reply.windows(4).position(|w| w == b"\r\n\r\n") else { return Heard::Away };
    let status = std::str::from_utf8(&reply[..end])
        .ok()
        .and_then(|head| head.split_ascii_whitespace().nth(1))
        .and_then(|code| code.parse::<u16>().ok());
    match status {
        Some(200..=299) => match serde_json::from_slice(&reply[end + 4..]) {
            Ok(answer) => Heard::Answer(answer),
            Err(_) => Heard::Nothing,
        },
        // The journal cannot take it now, or the server is going away.
        Some(500..=599) | None => Heard::Away,
        Some(_) => Heard::Nothing,
    }
}

fn print(stdout: Option<&str>) {
    if let Some(text) = stdout {
        let mut out = io::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixListener, thread};

    use super::*;

    fn hook(dir: &Path) -> Hook {
        Hook {
            agent: "claude-code".into(),
            event: "PermissionRequest".into(),
            session: "app-1".into(),
            launch: 2,
            token: "t0".into(),
            socket: dir.join("run/ao.sock"),
            data_dir: dir.to_owned(),
            ask_for: Duration::from_secs(20),
            payload: br#"{"a":1}"#.to_vec(),
            started: 7,
        }
    }

    /// A server that gives these replies, one a connection, and returns what it was asked.
    fn serve(dir: &Path, replies: &'static [&'static str]) -> thread::JoinHandle<Vec<String>> {
        fs::create_dir_all(dir.join("run")).unwrap();
        let listener = UnixListener::bind(dir.join("run/ao.sock")).unwrap();
        thread::spawn(move || {
            let mut asked = vec![];
            for reply in replies {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = Vec::new();
                let mut piece = [0; 1024];
                while !request.ends_with(br#"{"a":1}"#) {
                    match stream.read(&mut piece).unwrap() {
                        0 => break,
                        n => request.extend_from_slice(&piece[..n]),
                    }
                }
                asked.push(String::from_utf8(request).unwrap());
                stream.write_all(reply.as_bytes()).unwrap();
            }
            asked
        })
    }

    #[test]
    fn s8_a_hook_knows_whose_server_it_talks_to() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("ao.sock");
        let _server = UnixListener::bind(&socket).unwrap();
        let stream = UnixStream::connect(&socket).unwrap();
        assert_eq!(serves_as(&stream).unwrap(), Uid::current().as_raw());
    }

    #[test]
    fn a_report_carries_its_session_and_reads_the_answer() {
        let dir = tempfile::tempdir().unwrap();
        let server = serve(
            dir.path(),
            &["HTTP/1.1 200 OK\r\ncontent-length: 31\r\n\r\n{\"stdout\":\"hi\",\"wait\":null}"],
        );
        let heard = hook(dir.path()).post(None, Instant::now() + PATIENCE);
        assert!(
            matches!(heard, Heard::Answer(Answer { stdout: Some(text), wait: None }) if text == "hi")
        );
        let asked = server.join().unwrap().remove(0);
        assert!(asked.starts_with("POST /api/hooks/claude-code/PermissionRequest HTTP/1.1\r\n"));
        for header in [
            "x-ao-session: app-1\r\n",
            "x-ao-launch: 2\r\n",
            "x-ao-started: 7\r\n",
            "authorization: Bearer t0\r\n",
        ] {
            assert!(asked.contains(header), "{asked}");
        }
    }

    #[test]
    fn a_waiting_hook_asks_again_for_the_same_request_when_the_server_was_away() {
        let dir = tempfile::tempdir().unwrap();
        // The connection breaks without a word: nothing is started at once, and then comes the decision.
        let server = serve(dir.path(), &["", "HTTP/1.1 200 OK\r\n\r\n{}"]);
        hook(dir.path()).follow(Answer { stdout: None, wait: Some("r-7".into()) });
        let asked: Vec<_> = server
            .join()
            .unwrap()
            .iter()
            .map(|a| a.lines().next().unwrap_or_default().to_owned())
            .collect();
        let wait = "POST /api/hooks/claude-code/PermissionRequest/wait/r-7 HTTP/1.1";
        assert_eq!(asked, [wait, wait]);
    }

    #[test]
    fn a_refused_report_is_not_repeated_and_a_full_journal_is() {
        assert!(matches!(read_reply(b"HTTP/1.1 403 Forbidden\r\n\r\n{}"), Heard::Nothing));
        assert!(matches!(read_reply(b"HTTP/1.1 507 No\r\n\r\n{}"), Heard::Away));
        assert!(matches!(read_reply(b"HTTP/1.1 200 OK\r\n\r\n"), Heard::Nothing));
        assert!(matches!(read_reply(b""), Heard::Away));
    }

    #[test]
    fn what_nobody_takes_lies_privately_in_the_spool_until_that_is_full() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let hook = hook(dir.path());
        let spool = dir.path().join("run/spool");
        let file = hook.spool(&spool).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        assert_eq!(
            (json["session"].as_str(), json["payload"].as_str()),
            (Some("app-1"), Some("{\"a\":1}"))
        );
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(spool.join("000-0.json"), vec![b' '; usize::try_from(SPOOL).unwrap()]).unwrap();
        assert_eq!(hook.spool(&spool), None);
    }

    #[test]
    fn s12_words_that_could_reach_a_path_or_a_header_are_refused() {
        for bad in ["", "a/b", "a b", "a\r\nx: y", "..", "a..b", "ä"] {
            assert!(!is_word(bad), "{bad:?}");
        }
        assert!(is_word("claude-code") && is_word("PermissionRequest"));
    }
}
