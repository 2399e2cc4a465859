//! Messages to humans, and the channels they go by.

use std::{sync::Arc, time::Duration};

use ao_core::slots::{ChannelName, fact::Priority};
use axum::{
    Json, Router,
    extract::{Path, Query, State},
    routing::{get, post},
};
use jiff::Timestamp;
use serde::Deserialize;

use super::{Api, Reply};
use crate::{
    Code, Problem,
    caller::{Human, Looks},
    view,
};

pub(super) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/notifications", get(notifications))
        .route("/api/notifications/test", post(test))
        .route("/api/notifications/test/{token}", get(test_pressed))
        .route("/api/channels", get(channels))
}

#[derive(Deserialize)]
struct NotificationQuery {
    since: Option<Timestamp>,
}

async fn notifications(
    State(api): State<Arc<Api>>,
    _: Looks,
    Query(query): Query<NotificationQuery>,
) -> Json<view::NotificationList> {
    let state = api.handle.state();
    let shown = state
        .notifications
        .values()
        .rev()
        .filter(|n| query.since.is_none_or(|since| n.opened.at >= since));
    let notifications = shown.map(|n| view::notification(&state, n)).collect();
    Json(view::NotificationList { schema: "ao.notifications/1".into(), notifications })
}

#[derive(Deserialize)]
struct TestBody {
    channel: ChannelName,
    text: Option<String>,
    #[serde(default = "action")]
    priority: Priority,
}

fn action() -> Priority {
    Priority::Action
}

async fn test(
    State(api): State<Arc<Api>>,
    _: Human,
    Json(body): Json<TestBody>,
) -> Reply<view::TestDoc> {
    {
        let state = api.handle.state();
        if !state.policy.channels.contains_key(&body.channel) {
            let known: Vec<_> = state.policy.channels.keys().map(ToString::to_string).collect();
            return Err(Problem::new(
                Code::NotFound,
                format!("there is no channel {} (known: {})", body.channel, known.join(", ")),
            )
            .with_remedy("ao notify channels"));
        }
    }
    let text = body
        .text
        .unwrap_or_else(|| "This is a test from ao. Messages like this one reach you here.".into());
    let begun = std::time::Instant::now();
    let (receipt, token) = api.handle.test_channel(&body.channel, &text, body.priority).await?;
    let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(Json(view::TestDoc {
        schema: "ao.test/1".into(),
        channel: body.channel,
        reached: receipt.reached,
        took_ms,
        token,
    }))
}

/// How long one wait for a press may take: shorter than a request.
const PRESS: Duration = Duration::from_secs(20);

/// Who pressed the button of a test; waits a while for it.
async fn test_pressed(
    State(api): State<Arc<Api>>,
    _: Looks,
    Path(token): Path<String>,
) -> Json<view::PressDoc> {
    let by = tokio::select! {
        by = api.handle.until_pressed(&token, PRESS) => by,
        () = api.closing() => None,
    };
    let by = by.map(|by| by.to_string());
    Json(view::PressDoc { schema: "ao.press/1".into(), by })
}

async fn channels(State(api): State<Arc<Api>>, _: Looks) -> Json<view::ChannelList> {
    api.handle.look_at_channels().await;
    Json(view::channels(&api.handle.state(), &api.handle.unable_channels()))
}
