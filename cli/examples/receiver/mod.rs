//! A receiver on the loopback address that keeps what arrives, for the demo and the benchmarks.

#![allow(
    dead_code,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "tools for trying ao: each uses a part, and a failure is its message"
)]

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use axum::{Router, extract::State, http::HeaderMap, routing::post};
use serde_json::Value;

/// One request that arrived.
#[derive(Debug, Clone)]
pub(crate) struct Push {
    /// When.
    pub(crate) at: Instant,
    /// Its idempotency id.
    pub(crate) id: String,
    /// Its body.
    pub(crate) body: Value,
}

impl Push {
    /// A text of the message, e.g. `title`.
    pub(crate) fn message(&self, key: &str) -> &str {
        self.body["message"][key].as_str().unwrap_or_default()
    }

    /// A new message that is not shown quietly.
    pub(crate) fn buzzes(&self) -> bool {
        self.body["type"] == "notification.sent" && self.body["message"]["quiet"] != true
    }
}

/// Listens until it is dropped.
#[derive(Debug)]
pub(crate) struct Receiver {
    /// The port on the loopback address.
    pub(crate) port: u16,
    pushes: Arc<Mutex<Vec<Push>>>,
    runtime: tokio::runtime::Runtime,
}

impl Receiver {
    /// Listens on a free port.
    pub(crate) fn start() -> Self {
        let pushes = Arc::<Mutex<Vec<Push>>>::default();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let listener =
            runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let router = Router::new().route("/", post(take)).with_state(pushes.clone());
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { port, pushes, runtime }
    }

    /// Lets something else wait in the background, until the receiver is dropped.
    pub(crate) fn also(&self, task: impl Future<Output = std::io::Result<()>> + Send + 'static) {
        self.runtime.spawn(task);
    }

    /// Does something where what waits in the background goes on.
    pub(crate) fn wait<T>(&self, task: impl Future<Output = T>) -> T {
        self.runtime.block_on(task)
    }

    /// The new messages of this kind that are not shown quietly.
    pub(crate) fn of_kind(&self, kind: &str) -> Vec<Push> {
        let pushes = self.pushes().into_iter();
        pushes.filter(|push| push.buzzes() && push.message("kind") == kind).collect()
    }

    /// When the first new message of this kind about this session arrived, of what came after the first `after`.
    pub(crate) fn called(&self, kind: &str, session: &str, after: usize) -> Option<Instant> {
        let pushes = self.pushes.lock().unwrap();
        let is_new = |push: &&Push| push.buzzes() && push.message("kind") == kind;
        let about = |push: &&Push| is_new(push) && push.message("session") == session;
        pushes.get(after..)?.iter().find(about).map(|push| push.at)
    }

    /// How many arrived.
    pub(crate) fn count(&self) -> usize {
        self.pushes.lock().unwrap().len()
    }

    /// Everything that arrived, in order.
    pub(crate) fn pushes(&self) -> Vec<Push> {
        self.pushes.lock().unwrap().clone()
    }
}

async fn take(
    State(pushes): State<Arc<Mutex<Vec<Push>>>>,
    headers: HeaderMap,
    body: axum::Json<Value>,
) {
    let at = Instant::now();
    let id =
        headers.get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
    pushes.lock().unwrap().push(Push { at, id, body: body.0 });
}
