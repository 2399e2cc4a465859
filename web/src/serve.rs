//! Sockets: the private one that serves the whole API, and the loopback one that only says "alive".

use std::{future::Future, io, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::Request,
    http::header,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::{TcpListener, UnixListener};

use crate::{Api, Code, Problem, api_router, caller::Peer};

/// How long requests under way may still take once the server stops.
const DRAIN: Duration = Duration::from_secs(3);

/// Serves the API on the unix socket until `shutdown` completes, then lets what runs come to its end for at
/// most 3 s. Waiting hooks and followers are told at once.
pub async fn serve_unix(
    listener: UnixListener,
    api: Arc<Api>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (told, stopping) = tokio::sync::oneshot::channel();
    let closer = api.clone();
    let shutdown = async move {
        shutdown.await;
        closer.close();
        let _ = told.send(());
    };
    let service = api_router(api).into_make_service_with_connect_info::<Peer>();
    let serving = axum::serve(listener, service).with_graceful_shutdown(shutdown);
    let drained = async {
        if stopping.await.is_err() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        served = serving => served,
        () = drained => Ok(()),
    }
}

/// Serves `GET /api/health` on the loopback address until `shutdown` completes; nothing else is there.
pub async fn serve_tcp_health(
    listener: TcpListener,
    version: &'static str,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let port = listener.local_addr()?.port();
    let router = Router::new()
        .route("/api/health", get(move || async move { Json(crate::view::Health::new(version)) }))
        .fallback(|| async { Problem::new(Code::NotFound, "there is nothing here") })
        .layer(middleware::from_fn(move |request: Request, next: Next| {
            host_is_ours(port, request, next)
        }));
    axum::serve(listener, router).with_graceful_shutdown(shutdown).await
}

/// A page of another site that resolves its name to this machine is refused: only our own names pass.
async fn host_is_ours(port: u16, request: Request, next: Next) -> Response {
    let host =
        request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.strip_suffix(&format!(":{port}")).unwrap_or(host);
    if matches!(name, "localhost" | "127.0.0.1" | "[::1]") {
        return next.run(request).await;
    }
    Problem::new(Code::Forbidden, "this host name is not served").into_response()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn get(port: u16, path: &str, host: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        reply
    }

    #[tokio::test]
    async fn only_health_is_served_on_tcp_and_only_under_our_own_names() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server =
            tokio::spawn(serve_tcp_health(listener, "1.2.3", async { drop(stopped.await) }));
        let ours = format!("localhost:{port}");
        assert!(get(port, "/api/health", &ours).await.contains("\"version\":\"1.2.3\""));
        assert!(get(port, "/api/status", &ours).await.starts_with("HTTP/1.1 404"));
        assert!(get(port, "/api/health", "evil.example").await.starts_with("HTTP/1.1 403"));
        stop.send(()).unwrap();
        server.await.unwrap().unwrap();
    }
}
