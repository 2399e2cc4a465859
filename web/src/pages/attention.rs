//! `/`: what wants a human, the most urgent first; what goes well is counted and folded.

use std::sync::Arc;

use ao_core::{
    blob::BlobRef,
    slots::{
        notifier::{Action, Block},
        text::{count, duration, one_line, thousands},
    },
    state::{Incident, Now, State, Zone},
    words::{Seen, Words},
};
use askama::Template;
use axum::{extract::State as Extract, http::StatusCode, response::Response};
use jiff::tz::TimeZone;

use super::{
    Looker,
    part::{Acts, Back, Card, Long, Sign, When, body, heading},
    shell::{self, Place, Shell},
    text_of,
};
use crate::{
    Api, assets,
    view::{self, Row, StatusDoc},
};

/// The page.
#[derive(Debug, Template)]
#[template(path = "attention.html")]
pub(crate) struct Attention {
    shell: Shell,
    at: When,
    counts: String,
    zones: Vec<ZoneOf>,
    quiet: Vec<Quiet>,
    nothing: Nothing,
}

/// A zone whose cards are shown.
#[derive(Debug)]
struct ZoneOf {
    sign: Sign,
    cards: Vec<Card>,
}

/// Sessions that want nothing.
#[derive(Debug)]
struct Quiet {
    sign: Sign,
    label: &'static str,
    open: bool,
    rows: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    id: String,
    task: String,
    says: String,
    since: When,
}

/// What is said where nothing wants a human.
#[derive(Debug)]
struct Nothing {
    said: String,
    beside: String,
    command: Option<String>,
}

/// When and where it is read.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) now: Now,
    pub(crate) zone: &'a TimeZone,
    pub(crate) text: &'a dyn Fn(&BlobRef) -> Option<String>,
}

/// Serves it.
pub(crate) async fn show(Extract(api): Extract<Arc<Api>>, looker: Looker) -> Response {
    let handle = &api.handle;
    // The clock reads the state too, and a lock that is held twice waits for a writer between.
    let (now, unable) = (handle.now(), handle.unable_channels());
    let page = {
        let state = handle.state();
        let doc = view::status(&state, now, handle.zone(), api.version, None, false, &unable);
        let reader = Reader { now, zone: handle.zone(), text: &text_of(handle) };
        Attention::of(&state, &doc, reader, &looker, assets::script())
    };
    shell::answer(StatusCode::OK, page.render())
}

impl Attention {
    pub(crate) fn of(
        state: &State,
        doc: &StatusDoc,
        reader: Reader<'_>,
        looker: &Looker,
        script: Option<&'static str>,
    ) -> Self {
        let Reader { now, zone, text } = reader;
        let words = Words {
            state,
            now,
            zone: Some(zone.clone()),
            channel: None,
            text,
            seen: Seen::default(),
        };
        let of_session = |row: &Row| match row.incident.and_then(|id| state.incidents.get(&id)) {
            Some(incident) => of_incident(&words, incident, row.zone, Some(row), reader, looker),
            None => of_row(row, reader),
        };
        let mut wanting: Vec<_> = doc
            .sessions
            .iter()
            .filter(|row| row.zone >= Zone::Yellow)
            .map(|row| (row.zone, row.since, of_session(row)))
            .collect();
        wanting.extend(doc.notices.iter().filter_map(|notice| {
            let incident = state.incidents.get(&notice.id)?;
            let card = of_incident(&words, incident, notice.zone, None, reader, looker);
            Some((notice.zone, notice.since, card))
        }));
        // By time alone: nothing moves because its words change.
        wanting.sort_by_key(|(zone, since, _)| (std::cmp::Reverse(*zone), *since));
        let mut zones: Vec<ZoneOf> = vec![];
        for (zone, _, card) in wanting {
            let sign = Sign::from(zone);
            match zones.last_mut() {
                Some(last) if last.sign == sign => last.cards.push(card),
                _ => zones.push(ZoneOf { sign, cards: vec![card] }),
            }
        }
        let line = |row: &Row| Line {
            id: row.id.to_string(),
            task: task(row),
            says: row.words.clone(),
            since: When::ago(row.over.unwrap_or(row.since), now, zone),
        };
        let calm = zones.is_empty();
        let list = |zone, label, open| {
            let rows: Vec<_> =
                doc.sessions.iter().filter(|row| row.zone == zone).map(line).collect();
            (!rows.is_empty()).then(|| Quiet { sign: Sign::from(zone), label, open, rows })
        };
        let quiet = [list(Zone::Green, "Working", calm), list(Zone::Grey, "Finished today", false)];
        let title = match doc.want_you {
            0 => "Attention".to_owned(),
            n => format!("({n}) Attention"),
        };
        Self {
            shell: Shell {
                root: "",
                title,
                place: Place::Attention,
                wanted: doc.want_you,
                who: looker.name.clone(),
                can_leave: looker.by_cookie,
                script,
                seq: Some(state.last_seq),
            },
            at: When::at(now.wall, now, zone, "%H:%M:%S"),
            counts: counts(doc, now),
            zones,
            quiet: quiet.into_iter().flatten().collect(),
            nothing: nothing(doc, now),
        }
    }
}

fn of_incident(
    words: &Words<'_>,
    incident: &Incident,
    zone: Zone,
    row: Option<&Row>,
    reader: Reader<'_>,
    looker: &Looker,
) -> Card {
    let mut message = words.card(incident);
    let body = match incident.request {
        // By all of it a human decides.
        Some(_) => body(&mut message),
        None => vec![Block::Text(message.short.clone())],
    };
    let title = heading(&message.title, &body);
    if let Some(until) = incident.snoozed.filter(|until| *until > reader.now.wall) {
        let until = ao_core::words::local_time(until, reader.now, reader.zone, "%H:%M");
        message.meta.push(format!("quiet until {until}"));
    }
    // Others' words are let through where they stand whole, and here stands their beginning.
    let is_held = message.buttons.iter().any(|button| button.action == Action::Release);
    let key = &looker.key;
    let number = incident.id.0;
    let acts = looker.acts.then(|| Acts::about("", incident, &mut message, key, Back::Attention));
    let is_folded = |block: &Block| matches!(block, Block::Code(text) if Long::of(text).is_some());
    let acts = acts.flatten().map(|acts| match is_held || body.iter().any(is_folded) {
        true => acts.read_first(format!("i/{number}")),
        false => acts,
    });
    let sign = match Sign::from(message.mark) {
        // That it did not work stands in its words.
        sign if sign.class == "failed" => sign,
        _ => Sign::from(zone),
    };
    Card {
        sign,
        dom: row.map_or_else(|| incident.id.to_string(), |row| row.id.to_string()),
        incident: Some(incident.id),
        live: row.map_or_else(|| format!("i:{number}"), |row| format!("s:{}", row.id)),
        href: row.map_or_else(|| format!("i/{number}"), |row| format!("s/{}", row.id)),
        title,
        since: When::ago(message.since, reader.now, reader.zone),
        task: row.map(task).unwrap_or_default(),
        body,
        folds: true,
        acts,
        command: message.command,
        meta: message.meta.join(" · "),
    }
}

/// One that nobody was called for yet.
fn of_row(row: &Row, reader: Reader<'_>) -> Card {
    Card {
        sign: Sign::from(row.zone),
        dom: row.id.to_string(),
        incident: None,
        live: format!("s:{}", row.id),
        href: format!("s/{}", row.id),
        title: format!("{} {}", row.id, row.words),
        since: When::ago(row.since, reader.now, reader.zone),
        task: task(row),
        body: vec![],
        folds: true,
        acts: None,
        command: row.next.clone(),
        meta: format!("{} · {}", row.project, row.agent),
    }
}

/// `#41 Coupon is applied twice`.
pub(crate) fn task(row: &Row) -> String {
    match &row.issue {
        Some(issue) => format!("#{} {}", one_line(issue), row.title),
        None => row.title.clone(),
    }
}

fn counts(doc: &StatusDoc, now: Now) -> String {
    let live = doc.sessions.iter().filter(|row| row.over.is_none()).count() as u64;
    let mut parts = vec![];
    if live > 0 {
        let projects = count(doc.projects.into(), "project", "projects");
        parts.push(format!("{} in {projects}", count(live, "session", "sessions")));
    }
    match doc.want_you {
        0 => {}
        1 => parts.push("1 wants you".into()),
        n => parts.push(format!("{} want you", thousands(n.into()))),
    }
    parts.extend(doc.last_push.map(|at| format!("last push {} ago", ago(at, now))));
    if !doc.reachable {
        parts.push("no channel reaches you".into());
    }
    parts.join(" · ")
}

fn ago(at: jiff::Timestamp, now: Now) -> String {
    duration(u64::try_from(now.wall.duration_since(at).as_secs()).unwrap_or(0))
}

fn nothing(doc: &StatusDoc, now: Now) -> Nothing {
    let works = doc.sessions.iter().filter(|row| row.zone == Zone::Green).count() as u64;
    let live = doc.sessions.iter().any(|row| row.over.is_none());
    let command = (!live).then(|| match &doc.any_project {
        Some(project) => format!("ao spawn {project} --prompt \"…\""),
        None => "ao init".to_owned(),
    });
    Nothing {
        said: match (live, works) {
            (false, _) => "No sessions.".to_owned(),
            (true, 0) => "Nothing needs you.".to_owned(),
            (true, 1) => "Nothing needs you. 1 agent works.".to_owned(),
            (true, n) => format!("Nothing needs you. {} agents work.", thousands(n)),
        },
        beside: match doc.last_push {
            Some(at) => format!("The last push was {} ago.", ago(at, now)),
            None => "No push yet.".to_owned(),
        },
        command,
    }
}
