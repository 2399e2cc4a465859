//! The private socket, which serves the whole API.

use std::{future::Future, io, sync::Arc, time::Duration};

use tokio::net::UnixListener;

use crate::{Api, api_router, caller::Peer};

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
