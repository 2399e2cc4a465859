//! The pages. Each builds what it shows while it holds the state, lets go of it, and is written then.

pub(crate) mod act;
pub(crate) mod attention;
pub(crate) mod incident;
pub(crate) mod part;
pub(crate) mod pr;
pub(crate) mod press;
pub(crate) mod session;
pub(crate) mod shell;
pub(crate) mod sign_in;
#[cfg(test)]
mod tests;
mod timeline;
mod wanted;

use std::sync::{
    Arc, LazyLock,
    atomic::{AtomicU64, Ordering},
};

use ao_core::{
    event::Failure,
    server::Handle,
    slots::IncidentId,
    state::{Now, State},
    words,
};
use axum::{
    Router,
    extract::{FromRequestParts, Request},
    http::{Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use jiff::Timestamp;
use serde::Deserialize;

use self::shell::{Place, ProblemPage, Shell};
pub(crate) use self::wanted::Wanted;
use crate::{
    Api, Problem, assets,
    caller::{Caller, Right},
    error::PROBLEM,
    view,
};

/// The pages for whoever was let in. A door decides who that is.
pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/", get(attention::show))
        .route("/i/{incident}", get(incident::show))
        .route("/i/{incident}/act", post(act::on_incident))
        .route("/pr/{project}/{number}", get(pr::show))
        .route("/s/{session}", get(session::show))
        .route("/sessions/{session}", get(session::show))
        .route("/s/{session}/act", post(act::on_session))
        .route("/sign-out", post(sign_in::sign_out))
}

/// What pages are made of: anybody may have it.
pub(crate) fn things() -> Router<Arc<Api>> {
    Router::new()
        .route(&format!("/{}", *shell::STYLE), get(shell::style))
        .route("/ui/{name}", get(assets::serve))
}

/// Who looks, and with what rights.
#[derive(Debug, Clone)]
pub(crate) struct Looker {
    /// His name.
    pub(crate) name: String,
    /// He may act.
    pub(crate) acts: bool,
    /// He came with a cookie, which he can give up.
    pub(crate) by_cookie: bool,
    /// The key under which what this page's forms ask for is done once.
    pub(crate) key: String,
}

impl FromRequestParts<Arc<Api>> for Looker {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &Arc<Api>) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Caller>().cloned().unwrap_or(Caller::Agent(None));
        let visitor = caller.may(Right::Look, "look at the pages")?;
        Ok(Self {
            name: visitor.actor.name.clone(),
            acts: caller.may(Right::Act, "act").is_ok(),
            by_cookie: visitor.access.is_some(),
            key: key(),
        })
    }
}

impl Looker {
    /// The frame of a page for him.
    fn shell(
        self,
        root: &'static str,
        title: String,
        place: Place,
        state: &State,
        now: Now,
    ) -> Shell {
        Shell {
            root,
            title,
            place,
            wanted: view::wanted(state, now),
            who: self.name,
            can_leave: self.by_cookie,
            script: assets::script(),
            seq: Some(state.last_seq),
        }
    }
}

/// A key that no other page has. It tells what is repeated from what is new; it protects nothing.
fn key() -> String {
    static BEGUN: LazyLock<i128> = LazyLock::new(|| Timestamp::now().as_nanosecond());
    static MADE: AtomicU64 = AtomicU64::new(0);
    format!("{:x}-{:x}", *BEGUN, MADE.fetch_add(1, Ordering::Relaxed))
}

/// An incident as an address names it: `/i/142`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Number(pub(crate) IncidentId);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let id = format!("i-{text}").parse().map_err(serde::de::Error::custom)?;
        Ok(Self(id))
    }
}

/// A text that was put away, for [`Words::text`](ao_core::words::Words::text).
fn text_of(handle: &Handle) -> impl Fn(&ao_core::blob::BlobRef) -> Option<String> + '_ {
    |blob| handle.text(blob)
}

/// A problem is a page for whoever reads pages, and a document for everybody else.
pub(crate) async fn readable(request: Request, next: Next) -> Response {
    let accepts = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let reads = accepts.is_some_and(|accept| accept.contains("text/html"));
    let path = request.uri().path();
    let wanted = reads && !path.starts_with("/api/");
    let depth = path.matches('/').count().saturating_sub(1);
    let is_get = request.method() == Method::GET;
    let response = next.run(request).await;
    let ours = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == PROBLEM);
    if !wanted || !ours {
        return response;
    }
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), 64 * 1024).await.unwrap_or_default();
    let Ok(problem) = serde_json::from_slice::<Problem>(&body) else {
        return status.into_response();
    };
    // What was sent from further down than we have pages was sent from nowhere.
    let root = ["", "../", "../../", "../../../"].get(depth).copied().unwrap_or("/");
    problem_page(problem, root, is_get)
}

fn problem_page(problem: Problem, root: &'static str, asked: bool) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::BAD_REQUEST);
    let title = words::refusal(&Failure::refused(problem.title, None));
    let title = title.trim_end_matches('.').to_owned();
    let page = ProblemPage {
        shell: Shell {
            root,
            title: title.clone(),
            place: Place::Elsewhere,
            wanted: 0,
            who: String::new(),
            can_leave: false,
            script: None,
            seq: None,
        },
        title,
        cause: problem.detail,
        remedy: problem.remedy,
        again: asked && status.is_server_error(),
    };
    shell::answer(status, askama::Template::render(&page))
}
