//! Who may come in by the web.

use std::sync::Arc;

use ao_core::{decide::Grant, event::AccessKind, slots::AccessId};
use axum::{
    Json, Router,
    extract::{Path, Query, State},
    routing::{get, post},
};

use super::{Api, ListQuery, Reply};
use crate::{caller::Owner, view};

pub(super) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/access", get(list).post(create))
        .route("/api/access/{id}/revoke", post(revoke))
}

async fn list(
    State(api): State<Arc<Api>>,
    _: Owner,
    Query(query): Query<ListQuery>,
) -> Json<view::AccessList> {
    let now = api.handle.now();
    Json(view::accesses(&api.handle.state(), now, query.all))
}

/// A token for a program. It may do what its maker may, or less: only an admin makes any.
async fn create(
    Owner { by, handle }: Owner,
    Json(body): Json<view::TokenBody>,
) -> Reply<view::TokenDoc> {
    let view::TokenBody { name, role, until } = body;
    let (kind, person) = (AccessKind::Token, by.name.clone());
    let (access, token) = handle.grant(Grant { kind, name, person, role, until, by }).await?;
    Ok(Json(view::TokenDoc { schema: "ao.token/1".into(), access, token }))
}

async fn revoke(
    State(api): State<Arc<Api>>,
    Owner { by, handle }: Owner,
    Path(id): Path<AccessId>,
) -> Reply<view::Taken> {
    let after = api.last();
    super::taken(handle.revoke(id, by).await, after)
}
