//! Who calls, and what that one may do: decided here and nowhere else. Each door says who its callers are.

mod unix;
mod web;

use std::sync::Arc;

use ao_core::{
    config::policy::Role,
    event::Actor,
    server::Handle,
    slots::{AccessId, SessionId},
    state::Access,
};
use axum::http::{HeaderMap, request::Parts};

pub use self::unix::{Peer, SessionKey, session_key};
pub(crate) use self::{
    unix::admit,
    web::{Entrance, admit_web, given_by},
};
use crate::{Api, Code, Problem};

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// A person, or a program that acts for one.
    Human(Visitor),
    /// An agent; the session where it is known.
    Agent(Option<SessionId>),
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visitor {
    /// Under what its acts stand in the journal.
    pub actor: Actor,
    /// What it may do.
    pub role: Role,
    /// By what it comes in; none = by the private socket.
    pub access: Option<AccessId>,
}

impl Visitor {
    /// Whoever has this machine's account.
    pub(crate) fn local() -> Self {
        Self { actor: actor(), role: Role::Admin, access: None }
    }
}

impl From<Access> for Visitor {
    fn from(access: Access) -> Self {
        let actor = Actor { name: access.person, via: "web".into() };
        Self { actor, role: access.role, access: Some(access.id) }
    }
}

/// What somebody wants to do, in kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Read.
    Look,
    /// Answer, approve, merge: whatever is about sessions and what they need.
    Act,
    /// Change what `ao` itself does, and for whom.
    Own,
}

impl Right {
    /// The least role that has it.
    fn role(self) -> Role {
        match self {
            Self::Look => Role::Viewer,
            Self::Act => Role::Member,
            Self::Own => Role::Admin,
        }
    }
}

impl Caller {
    /// A human who may do this, or a refusal in words.
    pub fn may(&self, right: Right, verb: &str) -> Result<&Visitor, Problem> {
        match self {
            Self::Human(visitor) if visitor.role >= right.role() => Ok(visitor),
            Self::Human(_) => {
                let role = right.role().as_str();
                let what = format!("only people with the role {role} can {verb}");
                Err(Problem::new(Code::Forbidden, what))
            }
            Self::Agent(_) => Err(Problem::new(
                Code::Forbidden,
                format!("an agent may not {verb}: that is a human's"),
            )
            .with_remedy("run it in a terminal outside the session")),
        }
    }

    /// A human who may act; none = an agent, about whom other rules say what it may.
    pub(crate) fn acts(&self, verb: &str) -> Result<Option<&Visitor>, Problem> {
        match self {
            Self::Human(_) => self.may(Right::Act, verb).map(Some),
            Self::Agent(_) => Ok(None),
        }
    }

    /// Whether it may see this session.
    pub fn may_see(&self, session: &SessionId) -> bool {
        match self {
            Self::Human(_) => true,
            Self::Agent(own) => own.as_ref() == Some(session),
        }
    }
}

/// A caller that may look.
pub(crate) struct Looks;

/// A caller that may act.
pub(crate) struct Human {
    pub(crate) by: Actor,
    /// The server. An act that carries a key (`x-ao-act`) is done once through it, however often it is repeated.
    pub(crate) handle: Handle,
}

/// A caller that may change what `ao` itself does.
pub(crate) struct Owner {
    pub(crate) by: Actor,
    /// As a [`Human`]'s.
    pub(crate) handle: Handle,
}

impl axum::extract::FromRequestParts<Arc<Api>> for Looks {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &Arc<Api>) -> Result<Self, Problem> {
        visitor(parts, Right::Look).map(|_| Self)
    }
}

impl axum::extract::FromRequestParts<Arc<Api>> for Human {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let Visitor { actor, access, .. } = visitor(parts, Right::Act)?;
        Ok(Self { by: actor, handle: keyed(api, &parts.headers, access)? })
    }
}

impl axum::extract::FromRequestParts<Arc<Api>> for Owner {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let Visitor { actor, access, .. } = visitor(parts, Right::Own)?;
        Ok(Self { by: actor, handle: keyed(api, &parts.headers, access)? })
    }
}

/// The human who asks, if this is within what he may.
fn visitor(parts: &Parts, right: Right) -> Result<Visitor, Problem> {
    let caller = parts.extensions.get::<Caller>().cloned().unwrap_or(Caller::Agent(None));
    let verb = parts.uri.path().rsplit('/').next().unwrap_or_default();
    let verb = match (parts.method.as_str(), verb) {
        ("GET", what) => format!("read {what}"),
        (_, "sessions") => "spawn a session".to_owned(),
        (_, what) => what.to_owned(),
    };
    caller.may(right, &verb).cloned()
}

/// The server, for an act that is done once if it carries a key (`x-ao-act`), however often it is repeated. Of those who
/// come in by the web each has keys of its own.
pub(crate) fn keyed(
    api: &Api,
    headers: &HeaderMap,
    access: Option<AccessId>,
) -> Result<Handle, Problem> {
    match (headers.get("x-ao-act").map(|key| key.to_str()), access) {
        (None, _) => Ok(api.handle.clone()),
        (Some(Ok(key)), None) if is_key(key) => Ok(api.handle.once(key)),
        (Some(Ok(key)), Some(access)) if is_key(key) => {
            Ok(api.handle.once(&format!("{access}.{key}")))
        }
        (Some(_), _) => Err(Problem::new(Code::Invalid, "`x-ao-act` is no key")),
    }
}

fn is_key(text: &str) -> bool {
    (8..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

pub(crate) fn visible(caller: &Caller, id: &SessionId) -> Result<(), Problem> {
    if caller.may_see(id) {
        return Ok(());
    }
    Err(Problem::new(
        Code::Forbidden,
        format!("an agent may look at its own session only, not at {id}"),
    ))
}

pub(crate) fn own(caller: &Caller) -> Result<Option<&SessionId>, Problem> {
    match caller {
        Caller::Human(_) => Ok(None),
        Caller::Agent(Some(own)) => Ok(Some(own)),
        Caller::Agent(None) => {
            Err(Problem::new(Code::Forbidden, "which session asks is not known"))
        }
    }
}

/// The name under which this user's acts stand in the journal.
pub fn actor() -> Actor {
    let uid = nix::unistd::Uid::current();
    let user = nix::unistd::User::from_uid(uid).ok().flatten();
    Actor { name: user.map_or_else(|| format!("uid {uid}"), |user| user.name), via: "cli".into() }
}
