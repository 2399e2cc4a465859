//! What `ao` does about a pull request by itself: one look at it, and reactions that are held.

pub(super) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/incidents/{id}/release", get(held).post(release))
        .route("/api/incidents/{id}/retry", post(retry))
        .route("/api/review-check", post(check))
}

use std::sync::Arc;

use ao_core::{
    config::{
        policy::{ProjectPolicy, ReactionAction},
        trigger::Trigger,
    },
    decide::{self, Input},
    event::{Effect, Kind, Subject},
    server::Handle,
    slots::{
        Call, IncidentId, ProjectId, SessionId,
        fact::{Mergeable, PrFacts, Review},
        scm::PrRef,
        text::{count, one_line},
    },
    state::{Attempt, Fact, Session, State as Known},
    why,
};
use axum::{
    Json, Router,
    extract::{Path, State},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::{
    Goes, Looked, ReviewCheckDoc, Trouble, WAIT,
    find::{limit, scm_of, within},
};
use crate::{
    Api, Code, Problem,
    api::Reply,
    caller::{Human, Looks},
    view,
};

/// What waits for a human before an agent gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldDoc {
    /// `ao.held/1`.
    pub schema: String,
    /// The session whose agent would get it.
    pub session: SessionId,
    /// Whose words are in it who may not write to the repository.
    pub by: Vec<String>,
    /// The message, as the agent would get it.
    pub text: String,
    /// Its digest: what releases it, and nothing else.
    pub digest: String,
}

async fn held(
    State(api): State<Arc<Api>>,
    _: Looks,
    Path(incident): Path<IncidentId>,
) -> Reply<HeldDoc> {
    let state = api.handle.state();
    let (session, _, brief) = decide::held(&state, incident)?;
    // The beginning alone is not what would be passed on.
    let text = match &brief.text.blob {
        Some(blob) => api.handle.text(blob).ok_or_else(|| {
            Problem::new(Code::Failed, "what was written can no longer be read")
                .with_remedy(format!("ao why {incident}"))
        })?,
        None => brief.text.excerpt.clone(),
    };
    Ok(Json(HeldDoc {
        schema: "ao.held/1".into(),
        session: session.clone(),
        by: brief.held.clone(),
        text,
        digest: brief.digest.clone(),
    }))
}

/// What a human has read, and lets go.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReleaseBody {
    /// The digest of it.
    pub digest: String,
}

async fn release(
    State(api): State<Arc<Api>>,
    Human { by, handle }: Human,
    Path(incident): Path<IncidentId>,
    Json(ReleaseBody { digest }): Json<ReleaseBody>,
) -> Reply<view::Taken> {
    api.submit(&handle, Input::Release { incident, digest, by }).await
}

async fn retry(
    State(api): State<Arc<Api>>,
    Human { by, handle }: Human,
    Path(incident): Path<IncidentId>,
) -> Reply<view::Taken> {
    api.submit(&handle, Input::Retry { incident, by }).await
}

/// A round to make.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CheckBody {
    /// Only of this project.
    pub project: Option<ProjectId>,
    /// Only look.
    pub dry_run: bool,
}

async fn check(
    State(api): State<Arc<Api>>,
    _: Human,
    Json(CheckBody { project, dry_run }): Json<CheckBody>,
) -> Reply<ReviewCheckDoc> {
    let handle = &api.handle;
    if let Some(project) = &project {
        scm_of(handle, project)?;
    }
    let before = handle.state().last_seq;
    let mut seen = std::collections::BTreeMap::new();
    match dry_run {
        true => seen = observe(handle, project.as_ref()).await,
        false => {
            let late = |_| {
                Problem::new(Code::InDoubt, "the round goes on; an scm does not answer")
                    .with_remedy("ao status")
            };
            tokio::time::timeout(WAIT, handle.look_at_prs(None)).await.map_err(late)?;
        }
    }
    let mut done = match dry_run {
        true => vec![],
        false => handle.events(before, 10_000).await?,
    };
    done.retain(|event| {
        matches!(
            &event.kind,
            Kind::PrLinked(_) | Kind::MessageQueued(_) | Kind::MergeDecided(_) | Kind::MessageWithdrawn(_)
        ) || matches!(
            &event.kind,
            Kind::EffectIntended(e) if matches!(e.effect, Effect::RerunChecks { .. } | Effect::MergePr { .. })
        )
    });
    let state = handle.state();
    let mut sessions = vec![];
    for session in followed(&state, project.as_ref()) {
        let mut session = session.clone();
        let away = state.scm_away.get(&session.project);
        let mut unknown = away.filter(|_| !dry_run).map(|(failure, _)| failure.message.clone());
        match seen.remove(&session.id) {
            Some(Ok(facts)) => {
                let at = session.pr.as_ref().map_or(session.created, |fact| fact.since);
                let source = ao_core::slots::fact::Source::Scm;
                session.pr = Some(Fact { value: facts, source, since: at });
            }
            Some(Err(why)) => unknown = Some(why),
            None => {}
        }
        let own = done.iter().filter(|event| event.session.as_ref() == Some(&session.id));
        sessions.push(Looked {
            troubles: troubles(&state, &session),
            facts: session.pr().cloned(),
            unknown,
            done: own.map(|event| why::describe(event).line()).collect(),
            project: session.project,
            session: session.id,
        });
    }
    Ok(Json(ReviewCheckDoc { schema: "ao.review-check/1".into(), dry_run, sessions }))
}

/// Sessions that are not over, of projects with an scm.
fn followed<'s>(
    state: &'s Known,
    project: Option<&'s ProjectId>,
) -> impl Iterator<Item = &'s Session> {
    state.sessions.values().filter(move |session| {
        let scm = |project: &ProjectPolicy| project.scm.is_some();
        !session.is_over()
            && project.is_none_or(|project| session.project == *project)
            && state.policy.projects.get(&session.project).is_some_and(scm)
    })
}

/// What pull requests are now, without anything that follows from it.
async fn observe(
    handle: &Handle,
    project: Option<&ProjectId>,
) -> std::collections::BTreeMap<SessionId, Result<PrFacts, String>> {
    let mut by_project: std::collections::BTreeMap<ProjectId, Vec<(SessionId, PrRef)>> =
        Default::default();
    for session in followed(&handle.state(), project) {
        if let Some(pr) = session.follow.pr.clone() {
            by_project.entry(session.project.clone()).or_default().push((session.id.clone(), pr));
        }
    }
    let mut asked = JoinSet::new();
    for (project, sessions) in by_project {
        let Some((scm, _)) = handle.scm(&project) else { continue };
        let limit = limit(handle);
        asked.spawn(async move {
            let prs: Vec<PrRef> = sessions.iter().map(|(_, pr)| pr.clone()).collect();
            let call = Call::new(format!("look-{project}"), limit);
            let answers = within(limit, scm.observe(&call, &prs)).await;
            let of = |at: usize| match &answers {
                Ok(answers) => match answers.get(at) {
                    Some(ao_core::slots::call::Answer::Yes(facts)) => Ok(facts.clone()),
                    Some(ao_core::slots::call::Answer::No) => Err("it is not there".to_owned()),
                    Some(ao_core::slots::call::Answer::Unknown(why)) => Err(one_line(why)),
                    None => Err("the scm did not answer".to_owned()),
                },
                Err(error) => Err(one_line(&error.to_string())),
            };
            let each = sessions.iter().enumerate().map(|(at, (id, _))| (id.clone(), of(at)));
            each.collect::<Vec<_>>()
        });
    }
    let mut seen = std::collections::BTreeMap::new();
    while let Some(answers) = asked.join_next().await {
        seen.extend(answers.unwrap_or_default());
    }
    seen
}

/// What is wrong with a session's pull request as it stands, and what becomes of it.
fn troubles(state: &Known, session: &Session) -> Vec<Trouble> {
    let Some(pr) = session.pr() else { return vec![] };
    let told = [
        Trigger::CiFailed,
        Trigger::MergeConflicts,
        Trigger::ChangesRequested,
        Trigger::BugbotComments,
    ];
    let each = told.into_iter().filter_map(|trigger| {
        let key = session.brief_key(trigger)?;
        let reaction = state.policy.reaction(Some(&session.project), trigger);
        let follow = &session.follow;
        let has_it = |a: &Attempt| a.trigger == trigger && a.key == key && a.confirmed.is_some();
        let knows = follow.attempts.iter().any(has_it);
        let brief = follow.briefs.get(&trigger).filter(|brief| brief.key == key);
        let held = brief.is_some_and(|brief| !brief.held.is_empty() && brief.released.is_none());
        let goes = match reaction.action {
            _ if knows => Goes::Told,
            ReactionAction::SendToAgent if reaction.auto && held => Goes::Held,
            ReactionAction::SendToAgent if reaction.auto => Goes::ToAgent,
            ReactionAction::Nothing => Goes::ToNobody,
            _ => Goes::ToHuman,
        };
        let subject = Subject::Session(session.id.clone());
        let incident = state.open_incident(&subject, trigger, None).map(|incident| incident.id);
        Some(Trouble { trigger, words: words(trigger, pr), goes, incident })
    });
    each.collect()
}

fn words(trigger: Trigger, pr: &PrFacts) -> String {
    let listed =
        |names: &[String]| names.iter().map(|name| one_line(name)).collect::<Vec<_>>().join(", ");
    match trigger {
        Trigger::CiFailed if pr.failing.is_empty() => "its checks fail".to_owned(),
        Trigger::CiFailed => format!("{} fails", listed(&pr.failing)),
        Trigger::MergeConflicts if pr.mergeable == Mergeable::Behind => {
            "its branch must be updated".to_owned()
        }
        Trigger::MergeConflicts if pr.details.conflicts.is_empty() => "it conflicts".to_owned(),
        Trigger::MergeConflicts => format!("it conflicts in {}", listed(&pr.details.conflicts)),
        Trigger::ChangesRequested
            if pr.human_threads + pr.remarks == 0 && pr.review == Review::ChangesRequested =>
        {
            "changes are requested".to_owned()
        }
        Trigger::ChangesRequested => {
            let open = pr.human_threads + pr.remarks;
            format!("{} open", count(open.into(), "review comment", "review comments"))
        }
        _ => format!("{} open", count(pr.bot_threads.into(), "bot comment", "bot comments")),
    }
}
