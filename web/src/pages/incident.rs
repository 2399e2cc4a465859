//! `/i/142`: what is wanted and its buttons on top, the story below. Here a push leads.

use std::sync::Arc;

use ao_core::{
    decide,
    slots::{
        IncidentId,
        notifier::{Block, Message},
    },
    state::{Incident, State},
    why::{About, Why},
    words::{Seen, Words},
};
use askama::Template;
use axum::{
    extract::{Path, State as Extract},
    http::StatusCode,
    response::Response,
};

use super::{
    Looker, Number,
    attention::{Reader, task},
    part::{Acts, Back, Long, Sign, When, body, heading, outside},
    shell::{self, Place, Shell},
    text_of,
};
use crate::{Api, Problem, api::why::explained, view};

/// The page.
#[derive(Debug, Template)]
#[template(path = "incident.html")]
pub(crate) struct Page {
    shell: Shell,
    live: String,
    sign: Sign,
    title: String,
    since: When,
    /// The session, and what it is about.
    session: Option<(String, String)>,
    note: Option<Note>,
    body: Vec<Block>,
    details: Vec<Block>,
    acts: Option<Acts>,
    command: Option<String>,
    link: Option<String>,
    why: Evidence,
    told: Vec<(When, String, String)>,
    meta: String,
}

/// What came of an act, and the words that it came with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Note {
    pub(crate) says: String,
    pub(crate) remedy: Option<String>,
    /// Words that went nowhere.
    pub(crate) draft: String,
    /// Where they can go all the same, seen from the root.
    pub(crate) send_to: Option<String>,
    pub(crate) key: String,
}

/// Why it is so.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    pub(crate) headline: String,
    pub(crate) lines: Vec<(When, String, String)>,
    pub(crate) not_the_case: String,
}

impl Evidence {
    pub(crate) fn of(why: Why, reader: Reader<'_>) -> Self {
        let line = |line: ao_core::why::Line| {
            let at = When::at(line.at, reader.now, reader.zone, "%H:%M:%S");
            let by = if line.by.is_empty() { String::new() } else { format!(" · {}", line.by) };
            (at, line.text, format!("{}{by}", line.seq))
        };
        Self {
            headline: why.headline,
            lines: why.lines.into_iter().map(line).collect(),
            not_the_case: why.not_the_case,
        }
    }
}

pub(crate) async fn show(
    Extract(api): Extract<Arc<Api>>,
    looker: Looker,
    Path(Number(id)): Path<Number>,
) -> Result<Response, Problem> {
    page(&api, looker, id, "../", StatusCode::OK, None).await
}

/// The page of an incident, `root` away from the root.
pub(crate) async fn page(
    api: &Arc<Api>,
    looker: Looker,
    id: IncidentId,
    root: &'static str,
    status: StatusCode,
    note: Option<Note>,
) -> Result<Response, Problem> {
    let handle = &api.handle;
    decide::incident(&handle.state(), id)?;
    let why = explained(api, &About::Incident(id)).await?;
    let now = handle.now();
    let page = {
        let state = handle.state();
        let incident = decide::incident(&state, id)?;
        let reader = Reader { now, zone: handle.zone(), text: &text_of(handle) };
        Page::of(&state, incident, why, reader, looker, root, note)
    };
    Ok(shell::answer(status, page.render()))
}

impl Page {
    pub(crate) fn of(
        state: &State,
        incident: &Incident,
        why: Why,
        reader: Reader<'_>,
        looker: Looker,
        root: &'static str,
        note: Option<Note>,
    ) -> Self {
        let words = Words {
            state,
            now: reader.now,
            zone: Some(reader.zone.clone()),
            channel: None,
            text: reader.text,
            seen: Seen::default(),
        };
        let mut message = words.card(incident);
        let body = body(&mut message);
        let title = heading(&message.title, &body);
        let acts = looker
            .acts
            .then(|| Acts::about(root, incident, &mut message, &looker.key, Back::Incident))
            .flatten()
            .map(|acts| acts.asking_at_once("answer"));
        let Message { mark, details, command, link, meta, session, since, .. } = message;
        let session = session.and_then(|id| {
            let row = view::row(state, state.sessions.get(&id)?, reader.zone);
            Some((id.to_string(), task(&row)))
        });
        let topic = session.as_ref().map(|(id, _)| format!(" s:{id}")).unwrap_or_default();
        let messages = incident.messages().filter_map(|id| state.notifications.get(&id));
        let told = messages.map(|message| {
            let told = ao_core::why::told(message);
            let told = told.strip_prefix("told: ").unwrap_or(&told);
            (
                When::at(message.opened.at, reader.now, reader.zone, "%H:%M:%S"),
                told.to_owned(),
                message.id.to_string(),
            )
        });
        let told = told.collect();
        Self {
            shell: looker.shell(root, title.clone(), Place::Elsewhere, state, reader.now),
            live: format!("i:{}{topic}", incident.id.0),
            sign: mark.into(),
            title,
            since: When::ago(since, reader.now, reader.zone),
            session,
            note,
            body,
            details,
            acts,
            command,
            link: outside(link),
            why: Evidence::of(why, reader),
            told,
            meta: meta.join(" · "),
        }
    }
}
