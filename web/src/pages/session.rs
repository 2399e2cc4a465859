//! `/s/app-3`: what it needs, why it is as it is, what is known of it and what happened.

use std::sync::Arc;

use ao_core::{
    decide,
    event::{Event, Subject},
    slots::{SessionId, notifier::Block, text::one_line},
    state::{Incident, Session, State},
    why::{About, Why, source},
    words::{Seen, Words, acts_on},
};
use askama::Template;
use axum::{
    extract::{Path, State as Extract},
    http::{StatusCode, Uri},
    response::{IntoResponse, Redirect, Response},
};

use super::{
    Looker,
    attention::{Reader, task},
    incident::{Evidence, Note},
    part::{Acts, Back, Card, Long, Sign, When, body, heading},
    shell::{self, Place, Shell},
    text_of,
    timeline::{self, Row, Timeline},
};
use crate::{
    Api, Problem,
    api::why::explained,
    summary,
    view::{self, FactView, SessionDoc},
};

/// The page.
#[derive(Debug, Template)]
#[template(path = "session.html")]
pub(crate) struct Page {
    shell: Shell,
    id: String,
    sign: Sign,
    task: String,
    meta: String,
    note: Option<Note>,
    cards: Vec<Card>,
    /// What it is at, where no card says it.
    state: Option<String>,
    why: Evidence,
    facts: Vec<Known>,
    messages: Vec<(String, When, String)>,
    last_words: Option<Block>,
    tail: Option<Block>,
    prompt: Option<Block>,
    acts: Option<Acts>,
    timeline: Timeline,
}

pub(crate) async fn show(
    Extract(api): Extract<Arc<Api>>,
    looker: Looker,
    Path(id): Path<SessionId>,
    uri: Uri,
) -> Result<Response, Problem> {
    if uri.path().starts_with("/sessions/") {
        return Ok(Redirect::permanent(&format!("../s/{id}")).into_response());
    }
    page(&api, looker, id, "../", StatusCode::OK, None).await
}

/// The page of a session, `root` away from the root.
pub(crate) async fn page(
    api: &Arc<Api>,
    looker: Looker,
    id: SessionId,
    root: &'static str,
    status: StatusCode,
    note: Option<Note>,
) -> Result<Response, Problem> {
    let handle = &api.handle;
    let first = decide::session(&handle.state(), &id)?.created.seq;
    let why = explained(api, &About::Session(id.clone())).await?;
    let (events, older) = timeline::events(handle, &id, first).await?;
    let now = handle.now();
    let page = {
        let state = handle.state();
        let session = decide::session(&state, &id)?;
        let reader = Reader { now, zone: handle.zone(), text: &text_of(handle) };
        let story = Story { why, events: &events, older };
        Page::of(&state, session, story, reader, looker, root, note)
    };
    Ok(shell::answer(status, page.render()))
}

/// What the journal tells of it.
pub(crate) struct Story<'a> {
    pub(crate) why: Why,
    pub(crate) events: &'a [Event],
    pub(crate) older: bool,
}

impl Page {
    pub(crate) fn of(
        state: &State,
        session: &Session,
        story: Story<'_>,
        reader: Reader<'_>,
        looker: Looker,
        root: &'static str,
        note: Option<Note>,
    ) -> Self {
        let Reader { now, zone, text } = reader;
        let doc = view::session(state, session, zone, text);
        let row = &doc.session;
        let cards = cards(state, session, |_| true, reader, &looker, root);
        let id = session.id.to_string();
        let acts = looker.acts.then(|| {
            let action = format!("{root}s/{id}/act");
            let buttons = acts_on(session);
            Acts::new(action, format!("s-{id}"), id.clone(), buttons, &looker.key, Back::Session)
        });
        let waiting = doc.messages.iter().filter(|m| matches!(&*m.fate, "waiting" | "undelivered"));
        let waiting = waiting.map(|message| {
            let fate = match &*message.fate {
                "waiting" => "waits for the agent".to_owned(),
                _ => {
                    format!("not delivered: {}", message.detail.as_deref().unwrap_or("unknown why"))
                }
            };
            (one_line(&message.text), When::ago(message.queued, now, zone), fate)
        });
        let quote = |words: &Option<String>| {
            words.clone().filter(|words| !words.trim().is_empty()).map(Block::Quote)
        };
        Self {
            sign: row.zone.into(),
            task: task(row),
            meta: meta(&doc, now.wall),
            state: cards.is_empty().then(|| ao_core::words::capital(&row.words)),
            cards,
            note,
            why: Evidence::of(story.why, reader),
            facts: facts(&doc, reader),
            messages: waiting.collect(),
            last_words: quote(&doc.last_words),
            tail: doc.tail.clone().filter(|tail| !tail.trim().is_empty()).map(Block::Code),
            prompt: quote(&Some(doc.prompt.clone())),
            acts: acts.flatten().map(|acts| acts.asking_at_once("send")),
            timeline: Timeline::of(story.events, story.older, now, zone),
            shell: looker.shell(root, id.clone(), Place::Elsewhere, state, now),
            id,
        }
    }
}

/// The cards of those of its incidents that are not over and are wanted, the most urgent first.
pub(crate) fn cards(
    state: &State,
    session: &Session,
    wanted: impl Fn(&Incident) -> bool,
    reader: Reader<'_>,
    looker: &Looker,
    root: &str,
) -> Vec<Card> {
    let Reader { now, zone, text } = reader;
    let words =
        Words { state, now, zone: Some(zone.clone()), channel: None, text, seen: Seen::default() };
    let subject = Subject::Session(session.id.clone());
    let open = state.incidents_of(&subject).filter(|incident| incident.resolved.is_none());
    let mut open: Vec<_> = open.filter(|incident| wanted(incident)).collect();
    open.sort_by_key(|incident| (std::cmp::Reverse(incident.priority), incident.opened.seq));
    let card = |incident| {
        let mut message = words.card(incident);
        let body = body(&mut message);
        let title = heading(&message.title, &body);
        let key = &looker.key;
        let acts =
            looker.acts.then(|| Acts::about(root, incident, &mut message, key, Back::Session));
        Card {
            sign: message.mark.into(),
            dom: incident.id.to_string(),
            incident: Some(incident.id),
            live: format!("s:{}", session.id),
            href: format!("i/{}", incident.id.0),
            title,
            since: When::ago(message.since, now, zone),
            task: String::new(),
            body,
            folds: false,
            acts: acts.flatten(),
            command: message.command,
            meta: message.meta.join(" · "),
        }
    };
    open.into_iter().map(card).collect()
}

/// `my-app · claude-code · 1 h 12 min · $1.84 · asked you once`.
fn meta(doc: &SessionDoc, now: jiff::Timestamp) -> String {
    let until = doc.session.over.unwrap_or(now);
    let lasted = u64::try_from(until.duration_since(doc.created).as_secs()).unwrap_or(0);
    let mut parts = vec![
        doc.session.project.to_string(),
        doc.session.agent.clone(),
        ao_core::slots::text::duration(lasted),
    ];
    parts.extend(doc.usage.cost_micros.map(|micros| format!("${:.2}", micros as f64 / 1e6)));
    parts.push(match doc.asked {
        0 => "never asked you".into(),
        1 => "asked you once".into(),
        n => format!("asked you {n} times"),
    });
    parts.join(" · ")
}

/// A line of the facts.
#[derive(Debug)]
struct Known {
    name: &'static str,
    value: String,
    since: Option<When>,
    /// Where more of it is shown, seen from the root.
    href: Option<String>,
}

/// What is known, by whom and since when.
fn facts(doc: &SessionDoc, reader: Reader<'_>) -> Vec<Known> {
    let when = |at| Some(When::at(at, reader.now, reader.zone, "%H:%M"));
    let fact = |fact: &FactView| {
        let state = fact.value.get("state").and_then(|state| state.as_str()).unwrap_or_default();
        let state = match fact.value.get("code") {
            Some(serde_json::Value::Number(code)) => format!("{state} with code {code}"),
            _ => state.replace('_', " "),
        };
        format!("{state} ({})", source(fact.source))
    };
    let known = |name, value, since| Known { name, value, since, href: None };
    let mut facts = vec![
        known("Runtime", fact(&doc.runtime), when(doc.runtime.since)),
        known("Activity", fact(&doc.activity), when(doc.activity.since)),
    ];
    facts.push(match &doc.pr {
        Some(pr) => Known {
            href: Some(format!("pr/{}/{}", doc.session.project, pr.number.0)),
            ..known("Pull request", format!("{} {}", pr.number, one_line(&pr.title)), None)
        },
        None => known("Pull request", "none".to_owned(), None),
    });
    facts.extend(doc.branch.clone().map(|branch| known("Branch", branch, None)));
    facts.push(known("Work", ao_core::words::capital(&summary::work(doc.work.as_ref())), None));
    facts.extend(match (&doc.workspace, doc.workspace_gone) {
        (Some(_), true) => Some(known("Workspace", "removed".to_owned(), None)),
        (Some(path), false) => Some(known("Workspace", path.display().to_string(), None)),
        (None, _) => None,
    });
    facts.push(known("Begun", format!("by {}", doc.by), when(doc.created)));
    if let Some((step, failure)) = &doc.failed {
        facts.push(known("Failed", format!("{step}: {}", one_line(&failure.message)), None));
    }
    if let Some(kept) = &doc.workspace_kept {
        facts.push(known("Kept", one_line(&kept.message), None));
    }
    facts
}
