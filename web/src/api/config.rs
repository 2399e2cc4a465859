//! The configuration files, and the plugins that can be chosen.

use std::sync::Arc;

use ao_core::registry::PluginInfo;
use axum::{
    Json, Router,
    extract::State,
    routing::{get, post},
};

use super::{Api, Reply};
use crate::{
    Code, Problem,
    caller::{Looks, Owner},
    configs::{CheckBody, ConfigFile, ConfigReport, FileBody, TrustBody},
};

pub(super) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/plugins", get(plugins))
        .route("/api/config", get(config))
        .route("/api/config/check", post(config_check))
        .route("/api/config/register", post(config_register))
        .route("/api/config/trust", post(config_trust))
        .route("/api/config/forget", post(config_forget))
        .route("/api/config/reload", post(config_reload))
}

async fn plugins(State(api): State<Arc<Api>>, _: Looks) -> Json<Vec<PluginInfo>> {
    Json(api.plugins.clone())
}

async fn config(State(api): State<Arc<Api>>, _: Looks) -> Reply<Vec<ConfigFile>> {
    Ok(Json(api.configs.list().await?))
}

async fn config_check(
    State(api): State<Arc<Api>>,
    _: Owner,
    Json(body): Json<CheckBody>,
) -> Reply<ConfigReport> {
    Ok(Json(api.configs.check(body.file).await?))
}

async fn config_register(
    State(api): State<Arc<Api>>,
    _: Owner,
    Json(body): Json<FileBody>,
) -> Reply<ConfigReport> {
    if !body.file.is_absolute() {
        return Err(Problem::new(
            Code::Invalid,
            "a configuration file is named by its absolute path",
        ));
    }
    Ok(Json(api.configs.register(body.file).await?))
}

async fn config_trust(
    State(api): State<Arc<Api>>,
    _: Owner,
    Json(body): Json<TrustBody>,
) -> Reply<ConfigReport> {
    Ok(Json(api.configs.trust(body.file, body.hash).await?))
}

async fn config_forget(
    State(api): State<Arc<Api>>,
    _: Owner,
    Json(body): Json<FileBody>,
) -> Reply<ConfigReport> {
    Ok(Json(api.configs.forget(body.file).await?))
}

async fn config_reload(State(api): State<Arc<Api>>, _: Owner) -> Reply<ConfigReport> {
    Ok(Json(api.configs.reload().await?))
}
