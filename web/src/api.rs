//! The routes of the API. Each part knows its own; here is what they share.

mod access;
mod config;
mod dashboard;
mod incidents;
mod notifications;
mod projects;
pub mod prs;
mod screen;
mod server;
mod sessions;
pub(crate) mod why;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ao_core::{
    decide::{Answered, Input, Refusal},
    registry::PluginInfo,
    server::Handle,
    slots::Seq,
};
use axum::{
    Json, Router,
    body::Body,
    extract::DefaultBodyLimit,
    http::{HeaderValue, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use tokio::sync::watch;
use tower_http::{catch_panic::CatchPanicLayer, timeout::TimeoutLayer};

pub use self::{dashboard::DashboardBody, screen::OpenBody};
use crate::{
    Code, Configs, Problem, caller,
    error::PROBLEM,
    events::{self, Hub},
    hooks, pages,
    ticket::Tickets,
    view,
};

/// Most bytes of a request's body.
pub const MOST_BODY: usize = 1 << 20;
/// Most bytes of a hook's payload, and of a report.
pub const MOST_HOOK: usize = 64 * 1024;
/// How long a request may take. Waiting hooks and followers are no such requests.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) type Reply<T> = Result<Json<T>, Problem>;

/// What the handlers share.
#[derive(Debug)]
pub struct Api {
    /// The server.
    pub handle: Handle,
    /// The configuration files.
    pub configs: Arc<dyn Configs>,
    /// The plugins that can be chosen.
    pub plugins: Vec<PluginInfo>,
    /// The program's version.
    pub version: &'static str,
    /// The events, for all who follow them.
    pub(crate) hub: Arc<Hub>,
    /// Browsers that are about to be let in.
    pub(crate) tickets: Tickets,
    /// Where the port is served, or why it is not; none = that is not known yet.
    bound: watch::Sender<Option<Result<SocketAddr, String>>>,
    closing: watch::Sender<bool>,
}

impl Api {
    /// What the router needs.
    pub fn new(
        handle: Handle,
        configs: Arc<dyn Configs>,
        plugins: Vec<PluginInfo>,
        version: &'static str,
    ) -> Arc<Self> {
        let (closing, closes) = watch::channel(false);
        let hub = Hub::start(&handle, closes);
        let (bound, tickets) = (watch::channel(None).0, Tickets::default());
        Arc::new(Self { handle, configs, plugins, version, hub, tickets, bound, closing })
    }

    /// Says where the port is served, or why it is not.
    pub fn bind(&self, bound: Result<SocketAddr, String>) {
        self.bound.send_replace(Some(bound));
    }

    /// Where the port is served, or why it is not.
    pub(crate) async fn bound(&self) -> Result<SocketAddr, String> {
        let mut bound = self.bound.subscribe();
        // The sender lives as long as `self`.
        let bound = bound.wait_for(Option::is_some).await.ok().and_then(|bound| bound.clone());
        bound.unwrap_or_else(|| Err("the server is stopping".into()))
    }

    /// Tells waiting hooks and followers that the server goes away.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Completes once [`Api::close`] was called.
    pub(crate) async fn closing(&self) {
        let mut closing = self.closes();
        // The sender lives as long as `self`.
        let _ = closing.wait_for(|closing| *closing).await;
    }

    /// Whether [`Api::close`] was called, and word of it.
    pub(crate) fn closes(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }

    fn last(&self) -> Seq {
        self.handle.state().last_seq
    }

    pub(crate) async fn submit(&self, handle: &Handle, input: Input) -> Reply<view::Taken> {
        let after = self.last();
        taken(handle.submit(input).await, after)
    }
}

fn taken(answer: Result<Answered, Refusal>, after: Seq) -> Reply<view::Taken> {
    Ok(Json(view::Taken::new(answer?, after)))
}

/// What whoever is let in may ask for, by whichever door: a door puts in front of it who that is.
pub(crate) fn routes() -> Router<Arc<Api>> {
    let verbs = Router::new()
        .merge(access::routes())
        .merge(config::routes())
        .merge(incidents::routes())
        .merge(notifications::routes())
        .merge(projects::routes())
        .merge(prs::routes())
        .merge(screen::routes())
        .merge(server::routes())
        .merge(sessions::routes())
        .merge(why::routes())
        .layer(DefaultBodyLimit::max(MOST_BODY))
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, PATIENCE));
    dressed(verbs.route("/api/events", get(events::list)))
}

/// What is for this machine's own programs: agents and their hooks, and whoever sits in front of it.
fn local() -> Router<Arc<Api>> {
    let told = Router::new()
        .route("/api/hooks/{agent}/{event}", post(hooks::hook))
        .route("/api/hooks/{agent}/{event}/wait/{request}", post(hooks::wait))
        .route("/api/report", post(hooks::report))
        .layer(DefaultBodyLimit::max(MOST_HOOK));
    dressed(told.merge(dashboard::routes()).merge(screen::local()))
}

/// What anybody may ask for.
pub(crate) fn open() -> Router<Arc<Api>> {
    server::open()
}

/// Whatever goes wrong is said in a problem document.
fn dressed(router: Router<Arc<Api>>) -> Router<Arc<Api>> {
    router.layer(CatchPanicLayer::custom(panicked)).layer(middleware::map_response(worded))
}

/// The API over `api`, for the unix socket. Each request carries its peer as `ConnectInfo<caller::Peer>`.
pub fn api_router(api: Arc<Api>) -> Router {
    routes()
        .merge(local())
        .merge(open())
        .merge(pages::routes())
        .merge(pages::things())
        .fallback(|| async { Problem::new(Code::NotFound, "there is no such path") })
        .layer(middleware::from_fn_with_state(api.clone(), caller::admit))
        .layer(middleware::from_fn(pages::readable))
        .with_state(api)
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> Response<Body> {
    tracing::error!("a request handler panicked");
    Problem::new(Code::Failed, "ao failed at this request")
        .with_remedy("ao doctor --report")
        .into_response()
}

/// What is refused before a handler sees it (a body, a path, a method) or not answered in time, as a problem document.
async fn worded(response: Response<Body>) -> Response<Body> {
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let ours =
        kind.is_some_and(|kind| kind == PROBLEM.as_bytes() || kind.starts_with(b"text/html"));
    if ours || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let text = axum::body::to_bytes(response.into_body(), 4096).await.unwrap_or_default();
    let (code, title) = match status {
        StatusCode::GATEWAY_TIMEOUT => (Code::InDoubt, "it is not done yet, and may still be"),
        _ => (Code::Invalid, "the request could not be read"),
    };
    let mut problem = Problem::new(code, title).because(String::from_utf8_lossy(&text));
    problem.status = status.as_u16();
    problem.into_response()
}

#[derive(Deserialize)]
struct ListQuery {
    #[serde(default, deserialize_with = "events::flag")]
    all: bool,
}
