//! `/pr/my-app/57`: where a pull request stands, in a line each, and what can be done about it.

use std::sync::Arc;

use ao_core::{
    slots::{
        PrNumber, ProjectId,
        fact::{Checks, Mergeable, PrFacts, PrState, Review},
        notifier::Block,
        text::{count, cut, one_line, plain, short_commit},
    },
    state::{Session, State},
};
use askama::Template;
use axum::{
    extract::{Path, State as Extract},
    http::StatusCode,
    response::Response,
};

use super::{
    Looker,
    attention::Reader,
    part::{Card, Long, Sign, When, outside},
    session,
    shell::{self, Place, Shell},
    text_of,
};
use crate::{Api, Code, Problem};

/// Comments and files that are shown.
const NAMED: usize = 5;

/// The page.
#[derive(Debug, Template)]
#[template(path = "pr.html")]
pub(crate) struct Page {
    shell: Shell,
    live: String,
    title: String,
    stands: (Sign, &'static str),
    size: String,
    session: String,
    /// Checks, review, conflict, threads.
    lines: Vec<(Sign, &'static str, String)>,
    comments: Vec<(String, Block)>,
    cards: Vec<Card>,
    link: Option<String>,
    /// When this was so, and why it may not be so any more.
    seen: When,
    away: Option<String>,
}

pub(crate) async fn show(
    Extract(api): Extract<Arc<Api>>,
    looker: Looker,
    Path((project, number)): Path<(ProjectId, PrNumber)>,
) -> Result<Response, Problem> {
    let handle = &api.handle;
    let now = handle.now();
    let page = {
        let state = handle.state();
        // The newest session that has it: another may have had it before.
        let has =
            |s: &&Session| s.project == project && s.pr().is_some_and(|pr| pr.number == number);
        let session = state.sessions.values().filter(has).max_by_key(|s| s.created.seq);
        let none = || {
            let what = format!("no session of {project} has PR {number}");
            Problem::new(Code::NotFound, what).with_remedy(format!("ao pr show {project}{number}"))
        };
        let session = session.ok_or_else(none)?;
        let reader = Reader { now, zone: handle.zone(), text: &text_of(handle) };
        Page::of(&state, session, reader, looker).ok_or_else(none)?
    };
    Ok(shell::answer(StatusCode::OK, page.render()))
}

impl Page {
    /// None where the session has no pull request.
    pub(crate) fn of(
        state: &State,
        session: &Session,
        reader: Reader<'_>,
        looker: Looker,
    ) -> Option<Self> {
        let root = "../../";
        let fact = session.pr.as_ref()?;
        let pr = &fact.value;
        let about = |incident: &ao_core::state::Incident| incident.trigger.is_of_a_pr();
        let cards = session::cards(state, session, about, reader, &looker, root);
        let details = &pr.details;
        let project = state.policy.projects.get(&session.project);
        let by_default = || project.and_then(|project| project.default_branch.as_deref());
        let base = details.base.as_deref().or_else(by_default).map(one_line);
        let head = short_commit(&pr.head);
        let size = match details.files {
            0 => format!("head {head}"),
            files => format!(
                "+{} −{} in {} · head {head}",
                details.added,
                details.removed,
                count(files.into(), "file", "files"),
            ),
        };
        let into = base.as_ref().map(|base| format!(" into {base}")).unwrap_or_default();
        let comments = details.comments.iter().take(NAMED).map(|comment| {
            let place = comment.place.as_deref().map(one_line).unwrap_or_default();
            let who = match place.is_empty() {
                true => one_line(&comment.by),
                false => format!("{} · {place}", one_line(&comment.by)),
            };
            (cut(&who, 200), Block::Quote(plain(&comment.text)))
        });
        let title = format!("{} {}", pr.number, one_line(&pr.title));
        Some(Self {
            live: format!("s:{}", session.id),
            stands: stands(pr.state),
            size: format!("{size}{into}"),
            session: session.id.to_string(),
            lines: lines(pr, base.as_deref().unwrap_or("its base")),
            comments: comments.collect(),
            cards,
            link: outside(details.url.clone()),
            seen: When::ago(fact.since.at, reader.now, reader.zone),
            away: state
                .scm_away
                .get(&session.project)
                .map(|(failure, _)| one_line(&failure.message)),
            shell: looker.shell(root, title.clone(), Place::Elsewhere, state, reader.now),
            title,
        })
    }
}

fn sign(class: &'static str) -> Sign {
    Sign { class }
}

fn stands(state: PrState) -> (Sign, &'static str) {
    match state {
        PrState::None | PrState::Open => (sign("working"), "Open"),
        PrState::Draft => (sign("over"), "Draft"),
        PrState::Merged => (sign("settled"), "Merged"),
        PrState::Closed => (sign("failed"), "Closed"),
    }
}

/// Checks, review, conflict and threads, each with its sign. What no scm told is said to be unknown.
fn lines(pr: &PrFacts, base: &str) -> Vec<(Sign, &'static str, String)> {
    let details = &pr.details;
    let failing = cut(&one_line(&pr.failing.join(", ")), 200);
    let checks = match (pr.checks, details.checks) {
        (Checks::Passing, 0) => (sign("settled"), "all pass".to_owned()),
        (Checks::Passing, all) => (sign("settled"), format!("{} of {all} pass", details.passed)),
        (Checks::Failing, _) => {
            let says = details.failure.as_deref().map(one_line).filter(|says| !says.is_empty());
            let says = says.map(|says| format!(": {}", cut(&says, 200))).unwrap_or_default();
            (sign("failed"), format!("{failing} fails{says}"))
        }
        (Checks::Pending, _) => (sign("working"), "not all have ended".to_owned()),
        (Checks::None, _) => (sign("over"), "none".to_owned()),
        (Checks::Unknown, _) => (sign("slow"), "not known: the scm did not answer".to_owned()),
    };
    let by = cut(&one_line(&details.approved_by.join(", ")), 200);
    let review = match (pr.review, by.is_empty()) {
        (Review::Approved, false) => (sign("settled"), format!("approved by {by}")),
        (Review::Approved, true) => (sign("settled"), "approved".to_owned()),
        (Review::ChangesRequested, _) => (sign("slow"), "changes are requested".to_owned()),
        (Review::Pending, _) => (sign("working"), "waits for a review".to_owned()),
        (Review::None, _) => (sign("over"), "nobody is asked".to_owned()),
    };
    let conflicts = details.conflicts.iter().take(NAMED).map(|file| one_line(file));
    let conflicts = conflicts.collect::<Vec<_>>().join(", ");
    let conflict = match pr.mergeable {
        Mergeable::Yes => (sign("settled"), format!("merges cleanly into {base}")),
        Mergeable::Blocked => (sign("slow"), format!("the rules of {base} do not let it in yet")),
        Mergeable::Behind => (sign("slow"), format!("{base} has moved: update the branch")),
        Mergeable::Conflicting if conflicts.is_empty() => {
            (sign("failed"), format!("conflicts with {base}"))
        }
        Mergeable::Conflicting => (sign("failed"), format!("conflicts with {base}: {conflicts}")),
        Mergeable::Unknown => (sign("slow"), "not known yet".to_owned()),
    };
    let open = u64::from(pr.human_threads + pr.remarks);
    let of_bots = u64::from(pr.bot_threads);
    let threads = match (open, of_bots) {
        (0, 0) => (sign("settled"), "none open".to_owned()),
        (0, bots) => (sign("slow"), format!("{bots} of review bots open")),
        (people, 0) => (sign("slow"), format!("{people} open")),
        (people, bots) => (sign("slow"), format!("{people} open, and {bots} of review bots")),
    };
    [("Checks", checks), ("Review", review), ("Merge", conflict), ("Comments", threads)]
        .map(|(name, (sign, says))| (sign, name, says))
        .into()
}
