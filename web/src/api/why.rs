//! Explanations.

use std::sync::Arc;

use ao_core::{
    decide,
    slots::{IncidentId, NotificationId, Seq, SessionId},
    why::{self, About, Why},
};
use axum::{
    Extension, Json, Router,
    extract::{Path, State},
    routing::get,
};

use super::{Api, Reply};
use crate::{
    Code, Problem,
    caller::{Caller, Right, visible},
    view,
};

pub(super) fn routes() -> Router<Arc<Api>> {
    Router::new().route("/api/why/{subject}", get(explain))
}

/// Most events that one explanation looks at.
const MOST_EVIDENCE: usize = 96;

async fn explain(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(subject): Path<String>,
) -> Reply<view::WhyDoc> {
    let about: About = subject.parse().map_err(|_| {
        Problem::new(
            Code::Invalid,
            format!(
                "`{}` is no session, incident or notification",
                ao_core::slots::text::cut(&subject, 60)
            ),
        )
    })?;
    match &about {
        About::Session(id) => {
            visible(&caller, id)?;
            decide::session(&api.handle.state(), id)?;
        }
        About::Incident(id) => {
            caller.may(Right::Look, "ask why")?;
            decide::incident(&api.handle.state(), *id)?;
        }
        About::Notification(_) => {
            caller.may(Right::Look, "ask why")?;
        }
    }
    Ok(Json(view::WhyDoc { schema: "ao.why/1".into(), why: explained(&api, &about).await? }))
}

/// The explanation, for whoever may have it.
pub(crate) async fn explained(api: &Api, about: &About) -> Result<Why, Problem> {
    let none =
        || Problem::new(Code::NotFound, format!("there is no {about}")).with_remedy("ao status");
    let roots = why::roots(&api.handle.state(), about).ok_or_else(none)?;
    let first = first_of(api, about);
    // Newest first, so that a long chain loses its oldest part. What lies before the session's own beginning
    // (settings, starts) explains nothing about it.
    let mut wanted: std::collections::BTreeSet<Seq> = roots.into_iter().collect();
    let mut found = std::collections::BTreeMap::new();
    let mut looked = 0;
    while let Some(seq) = wanted.pop_last() {
        if looked >= MOST_EVIDENCE {
            break;
        }
        looked += 1;
        let page = api.handle.events(Seq(seq.0 - 1), 1).await?;
        let Some(event) = page.into_iter().find(|event| event.seq == seq) else { continue };
        wanted.extend(event.because.iter().filter(|cause| cause.0 > 0 && **cause >= first));
        wanted.retain(|seq| !found.contains_key(seq));
        found.insert(seq, event);
    }
    let now = api.handle.now();
    let zone = api.handle.zone().clone();
    why::explain(&api.handle.state(), about, &found, looked, now, &zone).ok_or_else(none)
}

/// The first event that can have to do with it.
fn first_of(api: &Api, about: &About) -> Seq {
    let state = api.handle.state();
    let session = |id: &SessionId| state.sessions.get(id).map(|session| session.created.seq);
    let incident = |id: &IncidentId| {
        let incident = state.incidents.get(id)?;
        incident.sessions.iter().filter_map(session).min()
    };
    let notification =
        |id: &NotificationId| state.notifications.get(id)?.covers.iter().filter_map(incident).min();
    match about {
        About::Session(id) => session(id),
        About::Incident(id) => incident(id),
        About::Notification(id) => notification(id),
    }
    .unwrap_or(Seq(1))
}
