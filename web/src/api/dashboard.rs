//! The way in for a browser: only who sits in front of this machine is given one.

use std::{net::SocketAddr, sync::Arc};

use axum::{Extension, Json, Router, extract::State, routing::post};
use serde::{Deserialize, Serialize};

use super::{Api, Reply};
use crate::{
    Code, Problem,
    caller::{Caller, Right},
    pages::Wanted,
    ticket::{GOOD, Ticket},
    view,
};

pub(super) fn routes() -> Router<Arc<Api>> {
    Router::new().route("/api/dashboard", post(dashboard))
}

/// Which page a browser is to see.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DashboardBody {
    /// A session, an incident, or a pull request as `my-app#57`; none = all that needs somebody.
    pub page: Option<String>,
    /// For another device, which finds the server at `publicUrl`.
    pub away: bool,
}

async fn dashboard(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Json(body): Json<DashboardBody>,
) -> Reply<view::TicketDoc> {
    let visitor = caller.may(Right::Look, "open the dashboard")?.clone();
    let wanted = match &body.page {
        None => Wanted::Attention,
        Some(name) => name.parse::<Wanted>()?,
    };
    let address = api.bound().await.map_err(|why| {
        Problem::new(Code::Missing, "the dashboard is not served")
            .because(why)
            .with_remedy("another `port:` in ~/.config/ao/config.yaml, then: ao restart")
    })?;
    let base = match body.away {
        true => api.handle.state().policy.public_url.clone().ok_or_else(nowhere)?,
        false => base(address),
    };
    let word = api.tickets.issue(Ticket { visitor, wanted, away: body.away }).map_err(|error| {
        Problem::new(Code::Failed, "no ticket could be made").because(error.to_string())
    })?;
    let until = api.handle.now().wall.saturating_add(GOOD).unwrap_or(jiff::Timestamp::MAX);
    let url = format!("{base}/sign-in/{word}");
    Ok(Json(view::TicketDoc { schema: "ao.ticket/1".into(), base, url, until }))
}

fn nowhere() -> Problem {
    Problem::new(Code::Config, "there is no `publicUrl`, by which another device would find ao")
        .with_remedy("publicUrl: https://… in ~/.config/ao/config.yaml, or: ssh -L")
}

/// Our own name for a browser on this machine. Cookies know no port (RFC 6265, 8.5): what an agent serves at
/// `127.0.0.1:5000` would be sent a cookie of `127.0.0.1`. Browsers look `*.localhost` up by themselves (RFC 6761, 6.3);
/// Safari alone asks the machine, which does not know it on macOS.
fn base(address: SocketAddr) -> String {
    let host = if cfg!(target_os = "macos") { "127.0.0.1" } else { "ao.localhost" };
    format!("http://{host}:{}", address.port())
}
