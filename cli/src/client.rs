//! The server as a command sees it: one request a call over the private socket; started when it is away.

use std::{
    fs,
    os::unix::{
        fs::{OpenOptionsExt, PermissionsExt},
        process::CommandExt,
    },
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use ao_core::slots::Seq;
use ao_web::{
    MOST_BODY, MOST_HOOK, Problem,
    configs::{ConfigReport, FileBody},
    view,
};
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use nix::fcntl::OFlag;
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::UnixStream;

use crate::{
    cx::Cx,
    fail::{Exit, Fail},
    paths,
};

/// How long a server may take to come up.
const START: Duration = Duration::from_secs(15);
/// How long an answer may take; long waits have requests of their own.
const PATIENCE: Duration = Duration::from_secs(70);

/// How long between two looks for a server that went away.
const GLANCE: Duration = Duration::from_millis(100);
/// Before something is asked for again, of a server that went away or cannot take it now.
const AGAIN: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(400), Duration::from_secs(1)];

/// Talks to the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client<'a> {
    cx: &'a Cx,
    /// A server that is away is started.
    starts: bool,
}

impl<'a> Client<'a> {
    pub(crate) fn new(cx: &'a Cx) -> Self {
        Self { cx, starts: true }
    }

    /// The same, but for a server that runs: none is started.
    pub(crate) fn that_runs(self) -> Self {
        Self { starts: false, ..self }
    }

    /// Reads a document. A server that goes away before it has answered is asked again.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Fail> {
        self.exchange(PATIENCE, &AGAIN, "GET", path, Vec::new(), &[]).await
    }

    /// Asks for an act.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Fail> {
        self.exchange(PATIENCE, &[], "POST", path, written(body, MOST_BODY)?, &[]).await
    }

    /// Asks for an act that must be done once. A server that goes away before it has answered may have done it:
    /// it is asked again, and knows the key.
    pub(crate) async fn act<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Fail> {
        let key = [("x-ao-act", ulid::Ulid::generate().to_string())];
        self.exchange(PATIENCE, &AGAIN, "POST", path, written(body, MOST_BODY)?, &key).await
    }

    /// Speaks for a session, with its own token.
    pub(crate) async fn post_as<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        headers: &[(&str, String)],
        limit: Duration,
    ) -> Result<T, Fail> {
        self.exchange(limit, &[], "POST", path, written(body, MOST_HOOK)?, headers).await
    }

    /// The events after `after`, of what `filter` names.
    pub(crate) fn follow(&self, filter: impl Into<String>, after: Seq) -> Events<'a> {
        Events { client: self.that_runs(), filter: filter.into(), last: after, stream: None }
    }

    /// The events, until this server ends.
    pub(crate) async fn stream(&self, query: &str) -> Result<Follow, Fail> {
        let mut sender = self.connect().await?;
        // All of it, however long ago it broke off.
        let path = format!("/api/events?follow=1&lag=replay&{query}");
        let asked =
            async { refused(send(&mut sender, "GET", &path, Vec::new(), &[]).await?).await };
        let response = tokio::time::timeout(PATIENCE, asked).await;
        let body = response.map_err(|_| silent(PATIENCE))??.into_body();
        Ok(Follow { body, buffer: Vec::new() })
    }

    /// Tells the server of the file that this folder belongs to, so that its projects can be used.
    pub(crate) async fn register_here(&self) -> Result<Option<ConfigReport>, Fail> {
        let file = self.cx.global.config.clone().or_else(|| self.cx.file_here());
        let Some(file) = file else { return Ok(None) };
        let body = written(&FileBody { file }, MOST_BODY)?;
        // The same however often it is done.
        Ok(Some(self.exchange(PATIENCE, &AGAIN, "POST", "/api/config/register", body, &[]).await?))
    }

    /// Whether a server serves, without starting one.
    pub(crate) async fn is_up(&self) -> bool {
        dial(&self.cx.socket()).await.is_ok()
    }

    /// One request and its whole answer, within the limit; asked for again after each of these waits while the
    /// server goes away before it has answered, or cannot take it now.
    async fn exchange<T: DeserializeOwned>(
        &self,
        limit: Duration,
        again: &[Duration],
        method: &str,
        path: &str,
        body: Vec<u8>,
        headers: &[(&str, String)],
    ) -> Result<T, Fail> {
        let mut again = again.iter();
        loop {
            let mut sender = self.connect().await?;
            let asked =
                async { read(send(&mut sender, method, path, body.clone(), headers).await?).await };
            match (tokio::time::timeout(limit, asked).await, again.next()) {
                (Ok(Err(fail)), Some(wait)) if fail.exit == Exit::Server => {
                    tokio::time::sleep(*wait).await;
                }
                (Ok(answer), _) => return answer,
                (Err(_), _) => return Err(silent(limit)),
            }
        }
    }

    /// A connection; the server is started when there is none.
    async fn connect(&self) -> Result<http1::SendRequest<Full<Bytes>>, Fail> {
        let stream = match dial(&self.cx.socket()).await {
            Ok(stream) => stream,
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                return Err(away(self.cx, &error));
            }
            Err(_) if self.cx.env.contains_key("AO_SESSION") => {
                return Err(Fail::new(Exit::Server, "the server is away")
                    .remedy("start it outside the session: ao start"));
            }
            Err(_) if self.cx.was_stopped() => {
                return Err(
                    Fail::new(Exit::Server, "the server was stopped meanwhile").remedy("ao start")
                );
            }
            Err(error) if !self.starts => return Err(away(self.cx, &error)),
            Err(_) => {
                start(self.cx).await?;
                dial(&self.cx.socket()).await.map_err(|error| away(self.cx, &error))?
            }
        };
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| away(self.cx, &error))?;
        crate::ssh::renew(self.cx);
        // The connection lives as long as the answer is read; its error comes out there too.
        tokio::spawn(connection);
        Ok(sender)
    }
}

fn silent(limit: Duration) -> Fail {
    let limit = ao_core::slots::text::duration(limit.as_secs());
    Fail::new(Exit::Server, format!("the server did not answer within {limit}")).remedy("ao doctor")
}

/// A body; one that the server would not take is refused before it is sent.
fn written(body: &impl Serialize, most: usize) -> Result<Vec<u8>, Fail> {
    let body = serde_json::to_vec(body)
        .map_err(|error| Fail::new(Exit::Failed, "the request cannot be written").because(error))?;
    if body.len() > most {
        let what = format!("the text is too long: {} KiB", body.len().div_ceil(1024));
        return Err(Fail::new(Exit::Usage, what)
            .because(format!("{} KiB is the most that the server takes", most / 1024))
            .remedy("write it to a file, and name that"));
    }
    Ok(body)
}

fn away(cx: &Cx, error: &dyn std::error::Error) -> Fail {
    Fail::new(Exit::Server, format!("the server at {} cannot be reached", cx.socket().display()))
        .because(crate::fail::chain(error))
        .remedy("ao restart   or, to see why: ao doctor")
}

async fn send(
    sender: &mut http1::SendRequest<Full<Bytes>>,
    method: &str,
    path: &str,
    body: Vec<u8>,
    headers: &[(&str, String)],
) -> Result<hyper::Response<Incoming>, Fail> {
    let mut request = Request::builder().method(method).uri(path).header("host", "ao");
    if !body.is_empty() {
        request = request.header("content-type", "application/json");
    }
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let request = request.body(Full::new(Bytes::from(body)));
    let request = request
        .map_err(|error| Fail::new(Exit::Usage, "that cannot be asked for").because(error))?;
    let lost = |error: hyper::Error| {
        Fail::new(Exit::Server, "the server went away before it answered")
            .because(crate::fail::chain(&error))
            .remedy("ao status")
    };
    sender.send_request(request).await.map_err(lost)
}

/// The response, or the problem that it carries.
async fn refused(response: hyper::Response<Incoming>) -> Result<hyper::Response<Incoming>, Fail> {
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status();
    let body = response.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    Err(match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) => problem.into(),
        Err(_) => unexpected(status),
    })
}

fn unexpected(status: StatusCode) -> Fail {
    // What the caller did wrong does not come right by asking again.
    let exit = if status.is_client_error() { Exit::Failed } else { Exit::Server };
    Fail::new(exit, format!("the server answered {status}"))
        .remedy("it may be older than this program: ao restart")
}

async fn read<T: DeserializeOwned>(response: hyper::Response<Incoming>) -> Result<T, Fail> {
    let response = refused(response).await?;
    let status = response.status();
    let body = response.into_body().collect().await;
    let body = body
        .map_err(|error| Fail::new(Exit::Server, "the answer broke off").because(error))?
        .to_bytes();
    serde_json::from_slice(&body).map_err(|error| unexpected(status).because(error))
}

/// Events, also past the end of the server that told the first of them: the next one knows as much. A server is
/// waited for, never started: it may have been stopped on purpose.
#[derive(Debug)]
pub(crate) struct Events<'a> {
    client: Client<'a>,
    filter: String,
    last: Seq,
    stream: Option<Follow>,
}

impl Events<'_> {
    /// The next event; none while the server rests because somebody stopped it. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<view::EventView> {
        loop {
            if let Some(stream) = &mut self.stream {
                if let Some(event) = stream.next().await {
                    self.last = event.seq;
                    return Some(event);
                }
                self.stream = None;
                tokio::time::sleep(GLANCE).await;
            }
            let query = format!("{}&after={}", self.filter, self.last);
            match self.client.stream(&query).await {
                Ok(stream) => self.stream = Some(stream),
                Err(_) if paths::stopped(&self.client.cx.data_dir).exists() => return None,
                Err(_) => tokio::time::sleep(GLANCE).await,
            }
        }
    }
}

/// A stream of events.
#[derive(Debug)]
pub(crate) struct Follow {
    body: Incoming,
    buffer: Vec<u8>,
}

impl Follow {
    /// The next event; none when the stream ended. Cancel safe: what was read stays in the buffer.
    pub(crate) async fn next(&mut self) -> Option<view::EventView> {
        loop {
            while let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let message: Vec<u8> = self.buffer.drain(..end + 2).collect();
                if let Some(event) = read_event(&message) {
                    return Some(event);
                }
            }
            let frame = self.body.frame().await?.ok()?;
            if let Ok(data) = frame.into_data() {
                self.buffer.extend_from_slice(&data);
            }
        }
    }
}

/// One message of the stream; none for a comment or another kind.
fn read_event(message: &[u8]) -> Option<view::EventView> {
    let text = std::str::from_utf8(message).ok()?;
    let data: String =
        text.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim_start).collect();
    serde_json::from_str(&data).ok()
}

/// Makes the folders that a server needs, private.
pub(crate) fn make_folders(cx: &Cx) -> Result<(), Fail> {
    let refused = |dir: &Path, error: std::io::Error, remedy: &str| {
        Fail::new(Exit::Server, format!("{} cannot be used", dir.display()))
            .because(error)
            .remedy(remedy)
    };
    let (run, logs) = (cx.data_dir.join("run"), cx.data_dir.join("logs"));
    for dir in [&cx.data_dir, &run, &logs] {
        paths::make_own(dir).map_err(|error| {
            refused(dir, error, "choose another with --data-dir or AO_DATA_DIR")
        })?;
    }
    if cx.run_dir != run {
        let remedy = "remove it, or choose a shorter --data-dir: its sockets then lie within it";
        paths::make_short(&cx.run_dir).map_err(|error| refused(&cx.run_dir, error, remedy))?;
    }
    Ok(())
}

/// A connection to this user's own server. Nothing is said to anybody else's.
async fn dial(socket: &Path) -> std::io::Result<UnixStream> {
    let stream = UnixStream::connect(socket).await?;
    let (server, us) = (stream.peer_cred()?.uid(), nix::unistd::Uid::current().as_raw());
    owned_by(server, us)?;
    Ok(stream)
}

fn owned_by(server: u32, us: u32) -> std::io::Result<()> {
    if server == us {
        return Ok(());
    }
    let why = format!("user {server} serves there, and this is user {us}; nothing was sent");
    Err(std::io::Error::new(std::io::ErrorKind::PermissionDenied, why))
}

/// Starts the server as a process of its own and waits until it serves.
pub(crate) async fn start(cx: &Cx) -> Result<(), Fail> {
    make_folders(cx)?;
    let log = cx.data_dir.join("logs/start.log");
    let mut scoped = scope(cx);
    let mut child = spawn_server(cx, &log, scoped)?;
    let until = Instant::now() + START;
    let mut pause = Duration::from_millis(2);
    let mut lost = 0;
    loop {
        if dial(&cx.socket()).await.is_ok() {
            return Ok(());
        }
        let ended = child.try_wait().ok().flatten();
        let lost_race =
            ended.is_some_and(|status| status.code() == Some(i32::from(Exit::Failed as u8)));
        if lost_race && Instant::now() < until && lost < 3 {
            // Another start was faster and serves soon, unless it ended meanwhile.
            if !someone_starts(cx) {
                lost += 1;
                child = spawn_server(cx, &log, scoped)?;
            }
        } else if ended.is_some() && scoped && Instant::now() < until {
            // It may be systemd that failed: it is asked for nothing any more.
            scoped = false;
            child = spawn_server(cx, &log, scoped)?;
        } else if ended.is_some() || Instant::now() >= until {
            let last = last_lines(&log, 5);
            let fail = Fail::new(Exit::Server, "the server could not be started");
            let fail = if last.is_empty() { fail } else { fail.because(last.join("\n  ")) };
            return Err(fail.remedy("ao start --foreground shows all of it"));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Whether the process that the lock names lives.
fn someone_starts(cx: &Cx) -> bool {
    let owner = fs::read_to_string(cx.data_dir.join("run/lock")).unwrap_or_default();
    let owner = owner.trim().parse().ok().and_then(ao_core::slots::process::ProcessId::of);
    owner.is_some_and(|process| process.is_alive())
}

fn spawn_server(cx: &Cx, log: &Path, scoped: bool) -> Result<Child, Fail> {
    let failed = |error: std::io::Error| {
        Fail::new(Exit::Server, "the server could not be started").because(error)
    };
    let program = std::env::current_exe().map_err(failed)?;
    let mut options = fs::OpenOptions::new();
    options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(OFlag::O_NOFOLLOW.bits());
    let out = options.open(log).map_err(failed)?;
    // It may be an older one.
    out.set_permissions(fs::Permissions::from_mode(0o600)).map_err(failed)?;
    let err = out.try_clone().map_err(failed)?;
    // In a scope of its own the server outlives the log-in session that it was started from.
    let mut command = match scoped {
        true => {
            let mut command = Command::new("systemd-run");
            command.args(["--user", "--scope", "--quiet", "--collect", "--"]).arg(program);
            command
        }
        false => Command::new(program),
    };
    command.args(["start", "--foreground", "--detached", "--data-dir"]).arg(&cx.data_dir);
    if let Some(config) = &cx.global.config {
        command.arg("--config").arg(config);
    }
    for name in [
        "AO_SESSION",
        "AO_LAUNCH",
        "AO_TOKEN",
        "AO_SOCKET",
        "AO_PROJECT",
        "AO_ISSUE",
        "AO_ASK_FOR",
        "TMUX",
        "TMUX_PANE",
    ] {
        command.env_remove(name);
    }
    if !cx.env.contains_key(HEAPS.0) {
        command.env(HEAPS.0, HEAPS.1);
    }
    command
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .process_group(0)
        .spawn()
        .map_err(failed)
}

/// glibc gives each thread that allocates a heap of its own, up to eight a processor, and keeps in each what was
/// freed there (mallopt(3), `M_ARENA_MAX`): with one for all a server with many sessions takes less.
pub(crate) const HEAPS: (&str, &str) = ("MALLOC_ARENA_MAX", "1");

/// Whether a user's systemd runs here.
pub(crate) fn user_systemd(cx: &Cx) -> bool {
    let socket = cx.env.get("XDG_RUNTIME_DIR").map(|dir| Path::new(dir).join("systemd/private"));
    socket.is_some_and(|socket| socket.exists())
}

/// Whether it can be asked for a scope.
fn scope(cx: &Cx) -> bool {
    let program = |dir: &Path| dir.join("systemd-run").is_file();
    user_systemd(cx)
        && cx
            .env
            .get("PATH")
            .is_some_and(|path| std::env::split_paths(path).any(|dir| program(&dir)))
}

/// The last lines of a log that say something.
pub(crate) fn last_lines(file: &Path, count: usize) -> Vec<String> {
    let text = fs::read(file).unwrap_or_default();
    let text = ao_core::slots::text::plain(&String::from_utf8_lossy(&text));
    let lines: Vec<_> =
        text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
    let from = lines.len().saturating_sub(count);
    lines.into_iter().skip(from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn s8_only_a_server_of_this_user_is_talked_to() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("ao.sock");
        let _server = tokio::net::UnixListener::bind(&socket).unwrap();
        dial(&socket).await.unwrap();
        let error = owned_by(1_001, 1_000).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
        assert!(error.to_string().starts_with("user 1001 serves there"), "{error}");
    }

    #[tokio::test]
    async fn a_command_starts_no_server_that_was_stopped_while_it_ran() {
        let dir = tempfile::tempdir().unwrap();
        let cx = crate::cx::tests::cx(dir.path());
        fs::create_dir_all(dir.path().join("run")).unwrap();
        fs::write(paths::stopped(dir.path()), "").unwrap();
        let fail = cx.client().get::<view::Health>("/api/health").await.unwrap_err();
        assert_eq!(fail.what, "the server was stopped meanwhile");
        assert!(!dir.path().join("logs").exists(), "nothing was started");
        // One that begins at rest ends it.
        assert!(!crate::cx::tests::cx(dir.path()).was_stopped());
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_in_the_middle_holds_nobody_up() {
        use tokio::io::AsyncWriteExt;
        let dir = tempfile::tempdir().unwrap();
        let cx = crate::cx::tests::cx(dir.path());
        fs::create_dir_all(&cx.run_dir).unwrap();
        let server = tokio::net::UnixListener::bind(cx.socket()).unwrap();
        let client = cx.client();
        let (asked, answered) = tokio::join!(
            client.post_as::<()>("/api/report", &(), &[], Duration::from_millis(300)),
            async {
                let (mut stream, _) = server.accept().await.unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{").await.unwrap();
                stream
            },
        );
        let fail = asked.unwrap_err();
        assert!(fail.exit == Exit::Server && fail.what.contains("did not answer"), "{fail:?}");
        drop(answered);
    }

    #[test]
    fn a_message_of_the_stream_is_read_and_comments_are_not() {
        let json = r#"{"schema":"ao.event/1","seq":"e7","at":"2026-11-21T14:28:03Z","class":"dec","kind":"session.ready","session":"app-3","project":null,"because":[],"rule":null,"told":{"mark":null,"label":"set up","text":""},"data":{}}"#;
        let event = read_event(format!("id: e7\ndata: {json}\n\n").as_bytes()).unwrap();
        assert_eq!((event.seq.0, event.kind.as_str()), (7, "session.ready"));
        assert_eq!(read_event(b":\n\n"), None);
        assert_eq!(read_event(b"event: resync\ndata: e9\n\n"), None);
    }
}
