//! The loopback port: what a browser, a phone, a mail or a provider reaches, also through a tunnel or a proxy. Each
//! request passes, in this order: limits on connections, headers, body and time; the host name; the origin of whatever
//! says one or changes something; a token or a cookie, where one is needed; how often it comes.
//!
//! | path | does |
//! |---|---|
//! | `GET /api/health` | says that it is alive |
//! | `GET /a/<token>` | shows what a button would do; changes nothing, whoever fetches it |
//! | `POST /a/<token>` | presses it |
//! | `POST /api/channels/<channel>/provider` | a provider's own request; its plugin knows whether it is genuine |
//! | `/sign-in…` | lets a browser in, see [`sign_in`] |
//! | the pages, and what else is under `/api` | for who is let in |
//! | `POST /api/webhooks/<scm>` | a forge says what moved; its plugin knows whether it is genuine |

mod guard;
mod often;
mod peer;
mod slow;

use std::{future::Future, io, sync::Arc, time::Duration};

use ao_core::slots::{ChannelName, ErrorKind, notifier::HttpRequest};
use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use jiff::Timestamp;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::{net::TcpListener, sync::Semaphore};
use tower::{ServiceExt, limit::GlobalConcurrencyLimitLayer};
use tower_http::{
    catch_panic::CatchPanicLayer, compression::CompressionLayer, limit::RequestBodyLimitLayer,
    timeout::TimeoutLayer,
};

pub(crate) use self::{guard::Via, often::Strangers, peer::Ends};
use self::{
    guard::{harmless, ours},
    often::{each_not_too_often, not_too_often},
    slow::Patient,
};
use crate::{
    Api, Code, Problem, api,
    caller::{Entrance, admit_web},
    pages::{self, press, sign_in},
};

/// Connections at one time; what comes beyond them is closed. Each browser with pages that move has one.
const CONNECTIONS: usize = 2_048;
/// Most bytes that the kernel keeps for a client which does not read, where it would keep megabytes; it books twice as
/// many (socket(7), `SO_SNDBUF`).
const UNREAD: usize = 64 * 1024;
/// How long a client may read nothing of what is there for it.
const STUCK: Duration = Duration::from_secs(30);
/// How long a client may take for its headers.
const HEADERS: Duration = Duration::from_secs(10);
/// Most bytes of a request's headers.
const MOST_HEADERS: usize = 32 * 1024;
/// Most bytes of a body: a provider's event, or the words of an answer.
const MOST_BODY: usize = 256 * 1024;
/// Most bytes of a forge's webhook: GitHub sends none above 25 MB (Webhook events and payloads, "Payload cap").
const MOST_WEBHOOK: usize = 25 << 20;
/// Webhooks that are read at one time: with their size they bound what strangers make `ao` keep in memory.
const WEBHOOKS: usize = 4;
/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long requests under way may still take once the server stops.
const DRAIN: Duration = Duration::from_secs(3);

/// Serves on the loopback address until `shutdown` completes.
pub async fn serve_tcp(
    listener: TcpListener,
    api: Arc<Api>,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let at = listener.local_addr()?;
    api.bind(Ok(at));
    let router = router(api.clone(), at.port());
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADERS).max_buf_size(MOST_HEADERS);
    let (places, graceful) = (Arc::new(Semaphore::new(CONNECTIONS)), GracefulShutdown::new());
    tokio::pin!(shutdown);
    loop {
        let (stream, from) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                // Too many open files, or a client that is gone already.
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            () = &mut shutdown => break,
        };
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        if let Err(error) = setsockopt(&stream, sockopt::SndBuf, &UNREAD) {
            tracing::debug!(%error, "a connection keeps more than it should for who does not read");
        }
        let stream = TokioIo::new(Patient::new(stream, STUCK));
        let ends = Ends { from, at };
        let service = router.clone().map_request(move |mut request: Request<_>| {
            request.extensions_mut().insert(ends);
            request
        });
        let service = TowerToHyperService::new(service);
        let served = graceful.watch(http.serve_connection(stream, service));
        tokio::spawn(async move {
            let _place = place;
            // A client that breaks off, or takes too long, is its own matter.
            let _ = served.await;
        });
    }
    // Followers and waiting hooks would keep their connections.
    api.close();
    let _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
    Ok(())
}

fn router(api: Arc<Api>, port: u16) -> Router {
    let slow = TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, PATIENCE);
    let anybody = Router::new()
        .merge(api::open())
        .merge(sign_in::routes())
        .route("/a/{token}", get(press::show).post(press::press))
        .merge(pages::things())
        .fallback(|| async { Problem::new(Code::NotFound, "there is nothing here") })
        .method_not_allowed_fallback(|| async { StatusCode::METHOD_NOT_ALLOWED });
    let providers = Router::new().route("/api/channels/{channel}/provider", post(provider));
    let forges = Router::new()
        .route("/api/webhooks/{scm}", post(webhook))
        .layer(DefaultBodyLimit::disable())
        .layer(RequestBodyLimitLayer::new(MOST_WEBHOOK))
        .layer(GlobalConcurrencyLimitLayer::new(WEBHOOKS))
        .route_layer(middleware::from_fn_with_state(api.clone(), is_awaited));
    // Whoever is to be let in is known before anything of his is read; the API has its own limits of time.
    let entrance = Entrance { api: api.clone(), strangers: Strangers::new() };
    let known = api::routes().merge(pages::routes().layer(slow));
    let known = each_not_too_often(known)
        .route_layer(middleware::from_fn_with_state(entrance, admit_web))
        .layer(RequestBodyLimitLayer::new(MOST_BODY));
    let small = not_too_often(anybody)
        .merge(not_too_often(providers))
        .layer(RequestBodyLimitLayer::new(MOST_BODY));
    small
        .merge(not_too_often(forges))
        .layer(slow)
        .merge(known)
        .with_state(api.clone())
        .layer(CatchPanicLayer::new())
        .layer(middleware::from_fn_with_state((api, port), ours))
        .layer(middleware::from_fn(pages::readable))
        // A stream of events stays as it is: what is gathered to be packed comes late.
        .layer(CompressionLayer::new())
        .layer(middleware::from_fn(harmless))
}

/// Hands a provider's request to the channel's plugin, unread: only it can tell whether it is genuine.
async fn provider(
    State(api): State<Arc<Api>>,
    Path(channel): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let nothing = || Problem::new(Code::NotFound, "there is nothing here").into_response();
    let Ok(channel) = channel.parse::<ChannelName>() else { return nothing() };
    let Some(notifier) = api.handle.plugins().channels.get(&channel).cloned() else {
        return nothing();
    };
    let headers = headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
    let request =
        HttpRequest { headers: headers.collect(), body: body.to_vec(), at: Timestamp::now() };
    let Some(answer) = notifier.http(request).await else { return nothing() };
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match answer.body {
        Some(body) => (status, [(header::CONTENT_TYPE, "application/json")], body).into_response(),
        None => status.into_response(),
    }
}

/// Where no project has such an scm, nothing of a webhook is read.
async fn is_awaited(
    State(api): State<Arc<Api>>,
    Path(scm): Path<String>,
    request: Request,
    next: Next,
) -> Response {
    if api.handle.has_scm(&scm) {
        next.run(request).await
    } else {
        Problem::new(Code::NotFound, "no project has this scm").into_response()
    }
}

/// Has `ao` look at what a forge says has moved. Nothing it says is taken over. The forge shows its user the answer,
/// so it says what is wrong.
async fn webhook(
    State(api): State<Arc<Api>>,
    Path(scm): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let text = |(name, value): (&HeaderName, &HeaderValue)| {
        Some((name.to_string(), value.to_str().ok()?.to_owned()))
    };
    let headers: Vec<(String, String)> = headers.iter().filter_map(text).collect();
    match api.handle.webhook(&scm, &headers, &body) {
        Ok(_) => StatusCode::ACCEPTED.into_response(),
        Err(error) => {
            tracing::debug!(scm, %error, "a webhook was refused");
            let status = match error.kind {
                ErrorKind::Refused => StatusCode::UNAUTHORIZED,
                ErrorKind::Missing | ErrorKind::Unsupported => StatusCode::NOT_FOUND,
                _ => StatusCode::BAD_REQUEST,
            };
            let remedy = error.remedy.iter().map(|remedy| format!("; {remedy}"));
            (status, format!("{error}{}", remedy.collect::<String>())).into_response()
        }
    }
}

#[cfg(test)]
mod tests;
