//! The tmux server and the one way to talk to it: a client process per command list.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use ao_sdk::local;
use ao_slots::{
    PluginError,
    call::ErrorKind,
    process::{ProcessId, Signal},
    text,
};
use tokio::{process::Command, time::Instant};

/// Why a command list gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// tmux is not installed.
    NotInstalled(String),
    /// There is no server: surely nothing happened.
    NoServer,
    /// The server refused, in these words: surely nothing happened.
    Refused(String),
    /// The server ended in the middle: what was asked of it is gone with it, or it never began.
    Ended(String),
    /// No answer: it may have happened.
    Silent(String),
}

impl Fault {
    /// Why nothing is known; none when it is known that there is no server.
    pub(crate) fn unknown(&self) -> Option<&str> {
        match self {
            Self::NoServer => None,
            Self::NotInstalled(why) | Self::Refused(why) | Self::Ended(why) | Self::Silent(why) => {
                Some(why)
            }
        }
    }

    /// The error of a call that wanted `what` and changes nothing when repeated.
    pub(crate) fn into_error(self, what: String) -> PluginError {
        match self {
            Self::NotInstalled(cause) => PluginError::new(ErrorKind::Missing, what, cause)
                .with_remedy("sudo apt install tmux"),
            Self::NoServer => {
                PluginError::new(ErrorKind::NotFound, what, "its tmux server does not run")
            }
            Self::Refused(cause) | Self::Ended(cause) | Self::Silent(cause) => {
                PluginError::transient(what, cause)
            }
        }
    }

    /// The error of a call that acts: without an answer it may have happened.
    pub(crate) fn into_error_of_act(self, what: String) -> PluginError {
        match self {
            Self::Ended(cause) | Self::Silent(cause) => PluginError::in_doubt(what, cause),
            other => other.into_error(what),
        }
    }
}

/// Talks to the server at one socket.
#[derive(Debug)]
pub(crate) struct Server {
    socket: PathBuf,
    env: BTreeMap<&'static str, String>,
}

impl Server {
    /// `path` and `home` are all that the server and what it starts inherit.
    pub(crate) fn new(socket: PathBuf, path: &str, home: &Path) -> Self {
        let env = BTreeMap::from([
            ("PATH", path.to_owned()),
            ("HOME", home.to_string_lossy().into_owned()),
            ("TERM", "screen-256color".to_owned()),
            // With `C` the formats print `_` for what is not ASCII.
            ("LC_ALL", "C.UTF-8".to_owned()),
        ]);
        Self { socket, env }
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// A command with the environment that the server has, and nothing else of ours.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(&self.env);
        command
    }

    /// Runs a command list, its words as [`word`] made them, and returns what it printed.
    ///
    /// A server that lives but lost its socket file is told to make it anew, once; see SIGUSR1 in tmux(1).
    pub(crate) async fn run(
        &self,
        words: &[String],
        stdin: &[u8],
        deadline: Instant,
    ) -> Result<String, Fault> {
        match self.run_once(words, stdin, deadline).await {
            Err(Fault::NoServer) => match self.find_process() {
                None => Err(Fault::NoServer),
                Some(server) => {
                    self.revive(server, deadline).await;
                    match self.run_once(words, stdin, deadline).await {
                        Err(Fault::NoServer) if server.is_alive() => {
                            let pid = server.pid;
                            let cause = format!("tmux server {pid} runs but its socket is gone");
                            Err(Fault::Silent(cause))
                        }
                        answer => answer,
                    }
                }
            },
            answer => answer,
        }
    }

    async fn run_once(
        &self,
        words: &[String],
        stdin: &[u8],
        deadline: Instant,
    ) -> Result<String, Fault> {
        let path = self.env.get("PATH").map_or("", String::as_str);
        let mut command = self.command(local::program("tmux", path));
        command.current_dir("/").args(["-u", "-f", "/dev/null", "-S"]).arg(&self.socket);
        command.args(words);
        match local::run(command, stdin, deadline).await {
            Ok(output) if output.code == Some(0) => {
                Ok(String::from_utf8_lossy(&output.stdout).into_owned())
            }
            Ok(output) => Err(classify(&String::from_utf8_lossy(&output.stderr))),
            Err(error) => Err(match error.kind() {
                io::ErrorKind::NotFound => Fault::NotInstalled("tmux is not on PATH".to_owned()),
                io::ErrorKind::TimedOut => {
                    Fault::Silent("the tmux server did not answer in time".to_owned())
                }
                _ => Fault::Refused(error.to_string()),
            }),
        }
    }

    /// The server of this socket by its command line: it keeps that of the client which started it.
    pub(crate) fn find_process(&self) -> Option<ProcessId> {
        let socket = self.socket.as_os_str().as_encoded_bytes();
        let numbers = std::fs::read_dir("/proc").ok()?;
        numbers
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
            .find(|pid| {
                let read = |name: &str| std::fs::read(format!("/proc/{pid}/{name}"));
                read("comm").is_ok_and(|name| name == b"tmux: server\n")
                    && read("cmdline").is_ok_and(|line| {
                        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
                        words.windows(2).any(|pair| pair == [b"-S", socket])
                    })
            })
            .and_then(ProcessId::of)
    }

    async fn revive(&self, server: ProcessId, deadline: Instant) {
        const PATIENCE: Duration = Duration::from_secs(2);
        let until = deadline.min(Instant::now() + PATIENCE);
        let inode = |path: &Path| {
            std::fs::symlink_metadata(path).ok().map(|m| std::os::unix::fs::MetadataExt::ino(&m))
        };
        let before = inode(&self.socket);
        if !server.signal(Signal::SIGUSR1) {
            return;
        }
        while Instant::now() < until && inode(&self.socket) == before {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// What a failed client says, in the words of tmux 3.2a to 3.6.
fn classify(stderr: &str) -> Fault {
    let said = text::one_line(stderr);
    let refused = ["(No such file or directory)", "(Connection refused)"];
    if said.starts_with("no server running on ")
        || (said.starts_with("error connecting to ") && refused.iter().any(|e| said.ends_with(e)))
    {
        return Fault::NoServer;
    }
    if said.is_empty() || said.contains("lost server") || said.contains("server exited") {
        return Fault::Ended(format!("the tmux server ended while it was asked: {said}"));
    }
    Fault::Refused(said)
}

/// A word of a command list that means itself: tmux takes a `;` at the end of a word for the end of a
/// command, and `\;` there for a plain `;`.
pub(crate) fn word(text: impl Into<String>) -> String {
    let mut text = text.into();
    if text.ends_with(';') {
        text.insert(text.len() - 1, '\\');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r17_each_version_says_in_its_own_words_that_there_is_no_server() {
        for (said, fault) in [
            ("no server running on /run/ao/tmux.sock\n", Fault::NoServer),
            ("error connecting to /run/t.sock (No such file or directory)\n", Fault::NoServer),
            ("error connecting to /run/t.sock (Connection refused)", Fault::NoServer),
        ] {
            assert_eq!(classify(said), fault, "{said}");
        }
        for said in ["lost server", "server exited unexpectedly", "[server exited]", ""] {
            assert!(matches!(classify(said), Fault::Ended(_)), "{said}");
        }
        for said in [
            "error connecting to /run/t.sock (Permission denied)",
            "error connecting to /run/t.sock (File name too long)",
            "can't find pane: %3",
            "duplicate session: app-3~1",
        ] {
            assert_eq!(classify(said), Fault::Refused(said.to_owned()));
        }
    }

    #[test]
    fn s14_no_word_ends_a_command() {
        for (text, expected) in
            [(";", r"\;"), ("a;", r"a\;"), (r"a\;", r"a\\;"), ("a;b", "a;b"), ("", "")]
        {
            assert_eq!(word(text), expected);
        }
    }
}
