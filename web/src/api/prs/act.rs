//! What a human does with a pull request.

pub(super) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/prs/{pr}/rerun", post(rerun))
        .route("/api/prs/{pr}/close", post(close))
        .route("/api/prs/{pr}/reopen", post(reopen))
        .route("/api/prs/{pr}/review", post(review))
        .route("/api/prs/{pr}/merge", post(merge))
        .route("/api/sessions/{id}/pr", post(create))
        .route("/api/sessions/{id}/claim-pr", post(claim))
}

use std::{future::Future, sync::Arc, time::Duration};

use ao_core::{
    decide::{self, Input},
    event::{Effect, Event, Kind, Outcome},
    slots::{
        PrNumber, Seq, SessionId,
        fact::{PrFacts, PrState},
        scm::{GiveReview, MergeMethod, PrRef, Verdict},
        text::short_commit,
    },
    state::{Session, State as Known},
};
use axum::{
    Extension, Json, Router,
    extract::{Path, State},
    http::HeaderMap,
    routing::post,
};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use super::{
    ChangedDoc, WAIT,
    find::{Found, find, limit, scm_of},
};
use crate::{
    Api, Code, Problem,
    api::Reply,
    caller::{Caller, Human, keyed, own},
};

/// How long a session may be busy with something else before it is refused.
const REST: Duration = Duration::from_secs(10);
/// Events read at once.
const PAGE: usize = 512;

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct RerunBody {
    check: Option<String>,
}

async fn rerun(
    State(api): State<Arc<Api>>,
    _: Human,
    Path(name): Path<String>,
    Json(body): Json<RerunBody>,
) -> Reply<ChangedDoc> {
    let found = find(&api.handle, None, &name)?;
    let call = found.call("rerun");
    let asked = found.scm.rerun(&call, &found.pr, body.check.as_deref());
    found.ask(asked).await?;
    found.look(&api.handle);
    Ok(Json(found.changed()))
}

async fn close(
    State(api): State<Arc<Api>>,
    _: Human,
    Path(name): Path<String>,
) -> Reply<ChangedDoc> {
    let found = find(&api.handle, None, &name)?;
    found.ask(found.scm.close(&found.call("close"), &found.pr)).await?;
    found.look(&api.handle);
    Ok(Json(found.changed()))
}

async fn reopen(
    State(api): State<Arc<Api>>,
    _: Human,
    Path(name): Path<String>,
) -> Reply<ChangedDoc> {
    let found = find(&api.handle, None, &name)?;
    found.ask(found.scm.reopen(&found.call("reopen"), &found.pr)).await?;
    found.look(&api.handle);
    Ok(Json(found.changed()))
}

/// A review.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReviewBody {
    /// The head that was looked at.
    pub head: String,
    /// The decision.
    pub verdict: Verdict,
    /// The words; may be empty with an approval.
    #[serde(default)]
    pub text: String,
    /// The file and the line, from 1.
    #[serde(default)]
    pub at: Option<(String, u32)>,
}

async fn review(
    State(api): State<Arc<Api>>,
    Human { by, .. }: Human,
    Path(name): Path<String>,
    Json(body): Json<ReviewBody>,
) -> Reply<ChangedDoc> {
    let found = find(&api.handle, None, &name)?;
    let ReviewBody { head, verdict, text, at } = body;
    if text.trim().is_empty() && (verdict != Verdict::Approve || at.is_some()) {
        return Err(Problem::new(Code::Invalid, "a review that is no approval needs words")
            .with_remedy("say them with -m"));
    }
    let given = GiveReview { head: Some(head), verdict, text, at, by: by.name };
    found.ask(found.scm.review(&found.call("review"), &found.pr, &given)).await?;
    found.look(&api.handle);
    Ok(Json(found.changed()))
}

/// A merge.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MergeBody {
    /// The head that was shown; another is refused.
    pub head: String,
    /// How; none = as the project says, else as the repository allows.
    #[serde(default)]
    pub method: Option<MergeMethod>,
}

async fn merge(
    State(api): State<Arc<Api>>,
    Human { by, handle }: Human,
    Path(name): Path<String>,
    Json(body): Json<MergeBody>,
) -> Reply<ChangedDoc> {
    let MergeBody { head, method } = body;
    let found = find(&api.handle, None, &name)?;
    let commit = match &found.session {
        Some(session) => {
            let seen = || {
                let state = api.handle.state();
                let pr = state.sessions.get(session).and_then(Session::pr);
                pr.is_some_and(|pr| pr.head == head)
            };
            // What the caller was shown may be newer than the last look.
            if !seen() {
                let _ = tokio::time::timeout(REST, api.handle.look_at_prs(Some(session))).await;
            }
            let mut live = api.handle.subscribe();
            let (session, wanted) = (session.clone(), Some(head.clone()));
            let input = Input::Merge { session: session.clone(), head: wanted, method, by };
            handle.submit(input).await?;
            let merged = merged(&api, &mut live, &session, &head).await;
            merged.map_err(|problem| found.named(problem))?
        }
        None => {
            let limit = api.handle.state().policy.lifecycle.limits.merge_ms;
            let found = Found { limit: Duration::from_millis(limit).min(WAIT), ..found.clone() };
            let project = || api.handle.state().policy.projects.get(&found.project)?.merge_method;
            let method = method.or_else(project);
            let call = found.call("merge");
            let commit = found.ask(found.scm.merge(&call, &found.pr, &head, method)).await?;
            // The base of others has moved.
            let handle = api.handle.clone();
            tokio::spawn(async move { handle.look_at_prs(None).await });
            commit
        }
    };
    Ok(Json(ChangedDoc { commit: Some(commit), ..found.changed() }))
}

/// The commit that a wanted merge brought, or why it brought none.
async fn merged(
    api: &Api,
    live: &mut broadcast::Receiver<Arc<Event>>,
    session: &SessionId,
    head: &str,
) -> Result<String, Problem> {
    let outcome = || {
        let state = api.handle.state();
        let merge = state.sessions.get(session).and_then(|session| session.follow.merge.as_ref());
        match merge.filter(|merge| merge.head == head) {
            None => Some(Err(odd())),
            Some(merge) => match (&merge.commit, &merge.failure) {
                (Some(commit), _) => Some(Ok(commit.clone())),
                (None, Some(failure)) => Some(Err(failure.clone().into())),
                (None, None) => None,
            },
        }
    };
    let search = async {
        loop {
            if let Some(outcome) = outcome() {
                return outcome;
            }
            if matches!(live.recv().await, Err(broadcast::error::RecvError::Closed)) {
                return Err(Problem::new(Code::Unavailable, "the server is stopping"));
            }
        }
    };
    in_time(api, session, search).await
}

fn odd() -> Problem {
    Problem::new(Code::Failed, "the scm brought something else than was asked for")
        .with_remedy("ao doctor --report")
}

/// A pull request to open.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CreateBody {
    /// One line; none = from the task.
    pub title: Option<String>,
    /// Its text.
    pub body: Option<String>,
    /// Not ready for review.
    pub draft: bool,
    /// What it goes into; none = the project's default branch.
    pub base: Option<String>,
}

async fn create(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(session): Path<SessionId>,
    headers: HeaderMap,
    Json(body): Json<CreateBody>,
) -> Reply<ChangedDoc> {
    own(&caller)?;
    let access = caller.acts("open a pull request")?.and_then(|visitor| visitor.access);
    if !caller.may_see(&session) {
        let what =
            format!("an agent may open a pull request of its own session only, not {session}'s");
        return Err(Problem::new(Code::Forbidden, what));
    }
    let handle = keyed(&api, &headers, access)?;
    let project = decide::session(&api.handle.state(), &session)?.project.clone();
    let (scm, _) = scm_of(&api.handle, &project)?;
    let (mut live, after) = (api.handle.subscribe(), api.handle.state().last_seq);
    at_rest(&api, &mut live, &session).await;
    let text = |text: Option<String>| {
        text.filter(|text| !text.trim().is_empty()).map(|text| api.handle.put_verbatim(&text))
    };
    let CreateBody { title, body, draft, base } = body;
    let input = Input::OpenPr {
        session: session.clone(),
        title: text(title),
        body: text(body),
        draft,
        base: base.filter(|base| !base.is_empty()),
    };
    let after = handle.submit(input).await?.after.unwrap_or(after);
    let opens = |effect: &Effect| matches!(effect, Effect::OpenPr { .. });
    let outcome = until(&api, &mut live, after, &session, opens).await?;
    let Outcome::PrOpened(pr) = outcome else { return Err(odd()) };
    let found = Found { project, session: Some(session), scm, pr, limit: limit(&api.handle) };
    // It is open, whatever the scm says next.
    let url = found.show().await.ok().and_then(|view| view.facts.details.url.clone());
    Ok(Json(ChangedDoc { url, ..found.changed() }))
}

/// Waits a while until a session does nothing else.
async fn at_rest(api: &Api, live: &mut broadcast::Receiver<Arc<Event>>, session: &SessionId) {
    let busy = || {
        let state = api.handle.state();
        state.sessions.get(session).is_some_and(|session| session.busy.is_some())
    };
    let rests = async {
        while busy() && !matches!(live.recv().await, Err(broadcast::error::RecvError::Closed)) {}
    };
    let _ = tokio::time::timeout(REST, rests).await;
}

/// What became of the first effect of a session after `after` that is wanted.
async fn until(
    api: &Api,
    live: &mut broadcast::Receiver<Arc<Event>>,
    after: Seq,
    session: &SessionId,
    wanted: impl Fn(&Effect) -> bool,
) -> Result<Outcome, Problem> {
    let search = async {
        let (mut last, mut intent) = (after, None);
        loop {
            let page = api.handle.events(last, PAGE).await?;
            let more = page.len() == PAGE;
            for event in page {
                last = event.seq;
                match event.kind {
                    Kind::EffectIntended(e)
                        if event.session.as_ref() == Some(session) && wanted(&e.effect) =>
                    {
                        intent = Some(event.seq);
                    }
                    Kind::EffectSucceeded(e) if Some(e.intent) == intent => return Ok(e.outcome),
                    Kind::EffectFailed(e) if Some(e.intent) == intent => {
                        return Err(e.failure.into());
                    }
                    _ => {}
                }
            }
            if !more && matches!(live.recv().await, Err(broadcast::error::RecvError::Closed)) {
                return Err(Problem::new(Code::Unavailable, "the server is stopping"));
            }
        }
    };
    in_time(api, session, search).await
}

/// What comes of a wait; whoever waits too long is told where to look.
async fn in_time<T>(
    api: &Api,
    session: &SessionId,
    search: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    let late = |_| {
        Problem::new(Code::InDoubt, format!("{session}: it is not done yet, and may still be"))
            .with_remedy(format!("ao why {session}"))
    };
    tokio::select! {
        found = tokio::time::timeout(WAIT, search) => found.map_err(late)?,
        () = api.closing() => Err(Problem::new(Code::Unavailable, "the server is stopping")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClaimBody {
    number: PrNumber,
}

/// A human gives a session any pull request. An agent takes for its own session the one that its commit is in: opened by
/// another tool, or under another branch than `ao` looks for.
async fn claim(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(session): Path<SessionId>,
    headers: HeaderMap,
    Json(body): Json<ClaimBody>,
) -> Reply<ChangedDoc> {
    let by_agent = own(&caller)?.is_some();
    let visitor = caller.acts("claim a pull request")?;
    if !caller.may_see(&session) {
        let what =
            format!("an agent may claim a pull request for its own session only, not {session}'s");
        return Err(Problem::new(Code::Forbidden, what));
    }
    let handle = keyed(&api, &headers, visitor.and_then(|visitor| visitor.access))?;
    let project = decide::session(&api.handle.state(), &session)?.project.clone();
    let (scm, repo) = scm_of(&api.handle, &project)?;
    let pr = PrRef { repo, number: body.number, node: None };
    let mut found =
        Found { project, session: Some(session.clone()), scm, pr, limit: limit(&api.handle) };
    // As its scm names it, and only if it is there.
    let seen = found.show().await?;
    found.pr = seen.pr;
    if by_agent {
        api.handle.look(&session).await;
        claimable(&api.handle.state(), &session, &seen.facts)?;
    }
    let by = visitor.map(|visitor| visitor.actor.clone());
    handle.submit(Input::Link { session: session.clone(), pr: found.pr.clone(), by }).await?;
    if by_agent {
        // What an agent says takes the place of nothing.
        let number = found.pr.number;
        let has =
            decide::session(&api.handle.state(), &session)?.follow.pr.as_ref().map(|pr| pr.number);
        match has {
            Some(has) if has == number => {}
            Some(has) => return Err(conflict(format!("{session} has pull request {has} already"))),
            None => return Err(conflict(format!("pull request {number} is another session's"))),
        }
    }
    found.look(&api.handle);
    Ok(Json(ChangedDoc { url: seen.facts.details.url.clone(), ..found.changed() }))
}

/// Whether an agent may take it for its session: it is open, at the commit that its workspace is at.
fn claimable(state: &Known, id: &SessionId, facts: &PrFacts) -> Result<(), Problem> {
    let number = facts.number;
    if !matches!(facts.state, PrState::Open | PrState::Draft) {
        return Err(conflict(format!("pull request {number} is not open")));
    }
    let head = decide::session(state, id)?.work().map(|work| work.head.as_str());
    if head != Some(&*facts.head) {
        let is = short_commit(&facts.head);
        let what = format!("pull request {number} is at {is}, which is not {id}'s commit");
        return Err(conflict(what).with_remedy("push the branch first; a human may claim any"));
    }
    Ok(())
}

pub(super) fn conflict(what: String) -> Problem {
    Problem::new(Code::Conflict, what)
}
