//! The private socket's callers.
//!
//! A caller on the unix socket is a process of this user: any other is refused. It is an *agent* when it
//! carries a session's token, has `AO_SESSION` in its environment, or runs below a live session or below the
//! server itself, which starts nothing for a human; else it is a *human*. This stops accidents and ordinary prompt injection, not hostile code of the same user.

use ao_core::{
    server::Handle,
    slots::{
        SessionId,
        process::{ProcessId, Stat},
    },
};
use axum::{
    extract::{Request, connect_info::Connected},
    http::{HeaderMap, header},
    middleware::Next,
    response::{IntoResponse, Response},
    serve::IncomingStream,
};
use tokio::net::UnixListener;

use super::{Caller, Visitor};
use crate::{Code, Problem};

/// The process at the other end of a connection, as the kernel tells it (unix(7), `SO_PEERCRED`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its user; none when the kernel does not tell.
    pub uid: Option<u32>,
    /// Its number; none when the kernel does not tell.
    pub pid: Option<i32>,
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        let credentials = stream.io().peer_cred().ok();
        Self { uid: credentials.map(|c| c.uid()), pid: credentials.and_then(|c| c.pid()) }
    }
}

/// Tells whether the process is an agent's. One that cannot be looked at has the lesser right.
fn caller_of(peer: Peer, handle: &Handle) -> Caller {
    let Some(pid) = peer.pid else { return Caller::Agent(None) };
    match session_in_environment(pid) {
        Ok(Some(text)) => return Caller::Agent(text.parse().ok()),
        Ok(None) => {}
        Err(()) => return Caller::Agent(None),
    }
    let line = ancestors(pid);
    let state = handle.state();
    let below = state.sessions.values().filter(|session| !session.is_over()).find(|session| {
        let process = session.handle.as_ref().and_then(|handle| handle.process);
        process.is_some_and(|root| {
            line.iter().any(|stat| stat.id == root || stat.session == root.pid && same_boot(root))
        })
    });
    match below {
        Some(session) => Caller::Agent(Some(session.id.clone())),
        None if is_below(&line, std::process::id()) => Caller::Agent(None),
        None => Caller::Human(Visitor::local()),
    }
}

/// Whether a process, the first of `line`, was started by `server` or by what that started.
fn is_below(line: &[Stat], server: u32) -> bool {
    line.iter().skip(1).any(|stat| u32::try_from(stat.id.pid) == Ok(server))
}

/// The leader of a kernel session keeps its number while the session has members.
fn same_boot(root: ProcessId) -> bool {
    root.pid > 1 && ProcessId::of(root.pid).is_none_or(|now| now.start == root.start)
}

/// `AO_SESSION` in the environment that the process was started with; an error when that cannot be read.
fn session_in_environment(pid: i32) -> Result<Option<String>, ()> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).map_err(|_| ())?;
    let value =
        environment.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(b"AO_SESSION="));
    Ok(value
        .filter(|value| !value.is_empty())
        .map(|value| String::from_utf8_lossy(value).into_owned()))
}

/// The process and those above it, at most 64.
fn ancestors(pid: i32) -> Vec<Stat> {
    let mut line: Vec<Stat> = vec![];
    let mut next = pid;
    while next > 1 && line.len() < 64 {
        let Ok(text) = std::fs::read_to_string(format!("/proc/{next}/stat")) else { break };
        let Some(stat) = Stat::parse(&text) else { break };
        next = stat.parent;
        line.push(stat);
    }
    line
}

/// A session and the token that its own agent was given, as a request carries them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionKey {
    /// Whose.
    pub session: SessionId,
    /// Which start of it.
    pub launch: ao_core::slots::Launch,
    /// Its private token.
    pub token: String,
}

/// Reads the session's key from the headers; none when there is none, a problem when it is malformed.
pub fn session_key(headers: &HeaderMap) -> Result<Option<SessionKey>, Problem> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(token) =
        text(header::AUTHORIZATION.as_str()).and_then(|value| value.strip_prefix("Bearer "))
    else {
        return Ok(None);
    };
    let session = text("x-ao-session").unwrap_or_default().parse::<SessionId>();
    let session = session.map_err(|error| Problem::new(Code::Invalid, error.to_string()))?;
    let launch =
        text("x-ao-launch").and_then(|value| value.parse().ok()).map(ao_core::slots::Launch);
    let launch =
        launch.ok_or_else(|| Problem::new(Code::Invalid, "`x-ao-launch` is not a number"))?;
    Ok(Some(SessionKey { session, launch, token: token.to_owned() }))
}

/// Lets this user's processes in and tells the handlers who calls; everyone else is refused (S8).
pub(crate) async fn admit(
    axum::extract::State(api): axum::extract::State<std::sync::Arc<crate::Api>>,
    mut request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<axum::extract::ConnectInfo<Peer>>().map(|info| info.0);
    let uid = nix::unistd::Uid::current().as_raw();
    let Some(peer) = peer.filter(|peer| peer.uid == Some(uid)) else {
        return Problem::new(Code::Forbidden, "this socket serves its own user only")
            .into_response();
    };
    let caller = match session_key(request.headers()) {
        // A key that is none opens nothing: least of all another session.
        Ok(Some(key)) if !api.handle.is_session_token(&key.session, &key.token) => {
            return Problem::new(Code::Forbidden, format!("this is not {}'s token", key.session))
                .into_response();
        }
        Ok(Some(key)) => Caller::Agent(Some(key.session)),
        Ok(None) => caller_of(peer, &api.handle),
        Err(problem) => return problem.into_response(),
    };
    request.extensions_mut().insert(caller);
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_is_known_by_the_session_in_its_environment() {
        let mut child = Command::new("sleep").arg("60").env("AO_SESSION", "app-3").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        // The environment is the parent's until the program has replaced the copy.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        let mut found = session_in_environment(pid);
        while found != Ok(Some("app-3".into())) && std::time::Instant::now() < deadline {
            std::thread::sleep(std::time::Duration::from_millis(5));
            found = session_in_environment(pid);
        }
        let line = ancestors(pid);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found, Ok(Some("app-3".into())));
        assert!(
            line.iter().any(|stat| stat.id.pid == i32::try_from(std::process::id()).unwrap()),
            "{line:?}"
        );
        assert_eq!(session_in_environment(0), Err(()));
        let ours = std::process::id();
        assert!(is_below(&line, ours), "a child of the server");
        assert!(!is_below(&ancestors(i32::try_from(ours).unwrap()), ours), "not its own child");
    }

    #[test]
    fn s12_what_the_server_itself_started_is_no_human() {
        // Set-up commands that took `AO_SESSION` out of their environment.
        let mut child = Command::new("sleep").arg("60").env_remove("AO_SESSION").spawn().unwrap();
        let line = ancestors(i32::try_from(child.id()).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(is_below(&line, std::process::id()), "{line:?}");
        assert!(!is_below(&line, child.id()), "{line:?}");
    }

    #[test]
    fn s12_a_key_with_a_session_that_is_none_is_refused() {
        let headers = |session: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("authorization", "Bearer t".parse().unwrap());
            headers.insert("x-ao-session", session.parse().unwrap());
            headers.insert("x-ao-launch", "3".parse().unwrap());
            headers
        };
        let key = session_key(&headers("app-1")).unwrap().unwrap();
        assert_eq!((key.session.as_str(), key.launch.0, key.token.as_str()), ("app-1", 3, "t"));
        for bad in ["", "../../x-1", "a;rm-1", "app"] {
            assert_eq!(session_key(&headers(bad)).unwrap_err().status, 400, "{bad}");
        }
        assert_eq!(session_key(&HeaderMap::new()), Ok(None));
    }
}
