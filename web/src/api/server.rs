//! The server itself.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use serde::Deserialize;

use super::Api;
use crate::{
    caller::{Human, Owner},
    view,
};

pub(super) fn open() -> Router<Arc<Api>> {
    Router::new().route("/api/health", get(health))
}

pub(super) fn routes() -> Router<Arc<Api>> {
    Router::new().route("/api/present", post(present)).route("/api/server/stop", post(stop))
}

async fn health(State(api): State<Arc<Api>>) -> Json<view::Health> {
    Json(view::Health::new(api.version))
}

/// A page that shows all sessions is before a human now.
async fn present(Human { handle, .. }: Human) -> StatusCode {
    handle.page_is_open();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
struct StopBody {
    reason: String,
}

async fn stop(
    State(api): State<Arc<Api>>,
    Owner { by, handle }: Owner,
    Json(body): Json<StopBody>,
) -> Json<view::Health> {
    let reason = format!("{} by {by}", ao_core::slots::text::slug(&body.reason, 20));
    // The answer goes out first.
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(20)).await;
        handle.stop(&reason).await;
    });
    Json(view::Health::new(api.version))
}
