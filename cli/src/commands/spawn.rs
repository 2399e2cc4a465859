//! `ao spawn`.

use std::{collections::BTreeMap, time::Duration};

use ao_core::{
    event::{Effect, EffectFailed, EffectIntended, EffectSucceeded, Failure, Outcome, SpawnFailed},
    server::SpawnCall,
    slots::{
        ProjectId, Seq, SessionId,
        notifier::Mark,
        text::{count, one_line, plain},
    },
};
use ao_web::view::{EventView, IssueDoc, SessionDoc, StatusDoc, Taken};

use super::{client_env, confirmed, data, register, stopped, until_interrupted, usage};
use crate::{
    client::Client,
    cx::Cx,
    fail::{Exit, Fail},
    out::{self, Tone},
    progress::Steps,
};

/// Start an agent on an issue or a prompt
///
/// Examples:
///   ao spawn my-app 41
///   ao spawn my-app --prompt "Fix the flaky login test"
///   ao spawn my-app 41 --agent custom --force
///   ao spawn my-app --branch ao/41-coupon --prompt "Go on with it"
///
/// An issue by somebody who may not write to the repository is shown first.
///
/// Exit codes: 1 it was not started (what it made is removed), 4 there is no such branch,
/// 5 a session works on that issue or branch, 7 the agent or tmux is missing,
/// 8 an issue of a stranger was not confirmed, 10 the agent has not confirmed its task.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Cmd {
    /// The project
    project: ProjectId,
    /// The issue
    issue: Option<String>,
    /// What the agent is told, in place of an issue
    #[arg(long, short, value_name = "TEXT", conflicts_with = "issue")]
    prompt: Option<String>,
    /// Another agent than the project's
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Go on with this branch: what it holds is kept, an orphaned workspace on it is taken over
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,
    /// Also when a session works on that issue
    #[arg(long, help_heading = "Safety")]
    force: bool,
    /// Do not wait until the agent works
    #[arg(long, help_heading = "Output")]
    no_wait: bool,
}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        if self.issue.is_none()
            && self.prompt.as_ref().is_none_or(|prompt| prompt.trim().is_empty())
        {
            return Err(usage("neither an issue nor a prompt was given").remedy(format!(
                "ao spawn {} 41   or: ao spawn {} --prompt \"…\"",
                self.project, self.project
            )));
        }
        super::answer::no_ellipsis(self.prompt.as_deref().unwrap_or_default())?;
        let client = cx.client();
        register(cx, client, Some(&self.project)).await?;
        super::doctor::tell_of_disk(cx, client, &self.project).await?;
        let issue = self.issue.as_ref().map(|issue| issue.trim_start_matches('#'));
        let read = match issue {
            Some(issue) => look_at_issue(cx, client, &self.project, issue).await?,
            None => None,
        };
        let call = SpawnCall {
            project: self.project.clone(),
            issue: issue.map(str::to_owned),
            read,
            prompt: self.prompt.clone(),
            agent: self.agent.clone(),
            branch: self.branch.clone(),
            force: self.force,
            env: client_env(cx),
        };
        let taken: Taken = client.act("/api/sessions", &call).await?;
        let id = taken
            .session
            .clone()
            .ok_or_else(|| Fail::new(Exit::Failed, "the server named no session"))?;
        if self.no_wait {
            if cx.global.json {
                out::json(&taken)
            } else {
                out::say(id.as_str())
            }
            return Ok(0);
        }
        let goes_on = || format!("{id} goes on starting; `ao session kill {id}` stops it.");
        let watched = watch(cx, client, &id, taken.after);
        let (story, end) = until_interrupted(watched, goes_on).await?;
        self.finish(cx, client, &id, &story, end).await
    }

    /// The last words.
    async fn finish(
        &self,
        cx: &Cx,
        client: Client<'_>,
        id: &SessionId,
        story: &Story,
        end: End,
    ) -> Result<u8, Fail> {
        let doc = read(client, id).await?;
        if cx.global.json {
            out::json(&doc);
        }
        match end {
            End::Ready => {
                if !cx.global.json {
                    let called = match reachable(client).await {
                        true => "You will be called when it needs you. ",
                        false => {
                            let none = "No channel: run ao status to look.";
                            out::note(&cx.err.paint(Tone::Muted, none));
                            ""
                        }
                    };
                    out::say(&format!("Working. {called}Look in: ao session attach {id}"));
                    cx.hint_once(
                        "terminal",
                        "You can close this terminal. ao and the agent go on.",
                    );
                }
                Ok(0)
            }
            End::Asks => {
                if !cx.global.json {
                    let next =
                        doc.session.next.clone().unwrap_or_else(|| format!("ao session show {id}"));
                    out::say(&cx.style.text(&format!("{id} {}. Next: {next}", doc.session.words)));
                }
                Ok(0)
            }
            End::Failed { step, failure } => Err(self.not_started(&doc, story, &step, failure)),
            End::Ended => Err(Fail::new(Exit::Failed, format!("{id}: {}", doc.session.words))
                .remedy(format!("ao logs {id}"))),
            End::Undelivered => Err(Fail::new(
                Exit::InDoubt,
                format!("{id} has not got its task: the agent did not confirm it"),
            )
            .remedy(format!("ao session attach {id}"))),
            End::Killed => {
                Err(Fail::new(Exit::Failed, format!("{id} was ended while it was set up"))
                    .remedy(format!("ao why {id}")))
            }
        }
    }

    /// What failed, what was undone, where it is written, what to do.
    fn not_started(&self, doc: &SessionDoc, story: &Story, step: &str, failure: Failure) -> Fail {
        let id = &doc.session.id;
        let exit = exit_of(&failure);
        let mut fail = match failure.message.starts_with(step) {
            true => Fail::new(exit, format!("{id} was not started: {}", failure.message)),
            false => {
                Fail::new(exit, format!("{id} was not started: {step}")).because(failure.message)
            }
        };
        let undone = format!("{}; the number {id} is not used again", story.undone(doc));
        fail.more.push(("undone", undone));
        if step != "postCreate" {
            return fail.remedy(failure.remedy.unwrap_or_else(|| format!("ao why {id}")));
        }
        fail.more.push(("log", format!("ao logs {id} --step postCreate")));
        let task = self.issue.as_deref().unwrap_or("--prompt \"…\"");
        let force = if self.force { " --force" } else { "" };
        let again = format!("ao spawn {} {task}{force}", self.project);
        fail.remedy(format!("correct what it names, then: {again}"))
    }
}

/// Says what an issue waits for, and shows a stranger's words and asks whether they may go to an agent. Returns the
/// digest of what a human said yes to.
pub(super) async fn look_at_issue(
    cx: &Cx,
    client: Client<'_>,
    project: &ProjectId,
    issue: &str,
) -> Result<Option<String>, Fail> {
    let path = format!("/api/projects/{project}/issues/{}", super::pr::segment(issue));
    let doc: IssueDoc = match client.get(&path).await {
        Ok(doc) => doc,
        // A missing issue or tracker is told by the set-up; that an agent may not spawn, by the spawn.
        Err(fail) if matches!(fail.exit, Exit::NotFound | Exit::Refused) => return Ok(None),
        Err(fail) => return Err(fail),
    };
    if !doc.waits_for.is_empty() {
        let ids: Vec<String> = doc.waits_for.iter().map(|id| format!("#{id}")).collect();
        cx.warn(&format!("issue {issue} waits for {}, not closed yet", ids.join(", ")));
    }
    let Some(what) = strangers(&doc) else { return Ok(None) };
    if !cx.global.json {
        out::say(&plain(&doc.text));
    }
    if cx.global.yes {
        return Ok(Some(doc.digest));
    }
    if !cx.asks() {
        return Err(Fail::new(Exit::NotConfirmed, what).remedy("read it, then add --yes"));
    }
    match cx.ask(&format!("{what}. Give it to an agent?"), false, "--yes")? {
        true => Ok(Some(doc.digest)),
        false => Err(Fail::new(Exit::NotConfirmed, format!("no agent was started on #{issue}"))),
    }
}

/// Whose words they are, where that is nobody known to be one who may write to the repository.
fn strangers(doc: &IssueDoc) -> Option<String> {
    let by = doc.issue.author.as_deref().map_or_else(|| "nobody known".to_owned(), one_line);
    let title = one_line(&doc.issue.title);
    let who = match doc.trusted {
        Some(true) => return None,
        Some(false) => "who may not write to the repository",
        None => "and the tracker does not say whether they may write to the repository",
    };
    Some(format!("#{} “{title}” is by {by}, {who}", doc.issue.id))
}

/// How a set-up came to its end.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum End {
    /// The agent works.
    Ready,
    /// It asks or shows a dialog before its first turn.
    Asks,
    /// It was undone.
    Failed { step: String, failure: Failure },
    /// The agent ended while it was set up.
    Ended,
    /// The agent never confirmed its task.
    Undelivered,
    /// A human ended it.
    Killed,
}

/// Reads a set-up from its events.
#[derive(Debug, Default)]
pub(crate) struct Story {
    effects: BTreeMap<Seq, (Effect, jiff::Timestamp)>,
    failed: Option<(String, Failure)>,
    launched: Option<jiff::Timestamp>,
    /// The workspace was removed again; and its branch with it.
    removed: Option<bool>,
    /// Which agent is started, and in what.
    agent: String,
    /// What the agent is to do, once it is known.
    pub(crate) title: Option<String>,
}

/// What one event adds to the story.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// Something begins.
    Begins { name: &'static str, words: String },
    /// Something ended; `says` is what it said itself.
    Ended {
        mark: Mark,
        name: &'static str,
        words: String,
        says: Option<String>,
        took: Option<Duration>,
    },
    /// That was all.
    Over(End),
}

impl Story {
    pub(crate) fn read(&mut self, event: &EventView) -> Option<Step> {
        match event.kind.as_str() {
            "session.requested" => {
                let requested = data::<ao_core::event::SessionRequested>(event)?;
                let title = one_line(&requested.title.excerpt);
                self.title = Some(match requested.issue {
                    Some(issue) => format!("#{issue} {title}").trim_end().to_owned(),
                    None => title,
                });
                None
            }
            "effect.intended" => {
                let effect = data::<EffectIntended>(event)?.effect;
                let (name, words) = (name(&effect)?, begins(&effect)?);
                self.effects.insert(event.seq, (effect, event.at));
                Some(Step::Begins { name, words })
            }
            "effect.succeeded" => {
                let EffectSucceeded { intent, outcome } = data(event)?;
                if let Outcome::Removed(removed) = &outcome {
                    self.removed = Some(removed.branch_removed);
                }
                let (effect, begun) = self.effects.remove(&intent)?;
                if matches!(effect, Effect::CreateRuntime { .. }) {
                    self.launched = Some(event.at);
                }
                if let (Outcome::Issue { title, .. }, Some(known)) = (&outcome, &mut self.title) {
                    let issue = known.split(' ').next().unwrap_or_default().to_owned();
                    *known = format!("{issue} {}", one_line(&title.excerpt));
                }
                self.ended(&effect, &outcome, span(begun, event.at))
            }
            "effect.failed" => {
                let EffectFailed { intent, failure, .. } = data(event)?;
                let (effect, begun) = self.effects.remove(&intent)?;
                let name = name(&effect)?;
                let words = one_line(&failure.message);
                let took = span(begun, event.at);
                Some(Step::Ended { mark: Mark::Failed, name, words, says: None, took })
            }
            "message.confirmed" | "turn.started" => {
                confirmed(event)?;
                let took = self.launched.take().and_then(|at| span(at, event.at));
                let words = "delivered, confirmed by the agent".to_owned();
                Some(Step::Ended { mark: Mark::Settled, name: "prompt", words, says: None, took })
            }
            "session.ready" => Some(Step::Over(End::Ready)),
            "request.opened" => Some(Step::Over(End::Asks)),
            "status.changed" => match data::<ao_core::event::StatusChanged>(event)?.to {
                ao_core::state::Status::Blocked | ao_core::state::Status::NeedsInput => {
                    Some(Step::Over(End::Asks))
                }
                ao_core::state::Status::Errored => Some(Step::Over(End::Ended)),
                _ => None,
            },
            "incident.opened" => {
                let opened = data::<ao_core::event::IncidentOpened>(event)?;
                let undelivered =
                    opened.trigger == ao_core::config::trigger::Trigger::PromptUndelivered;
                undelivered.then_some(Step::Over(End::Undelivered))
            }
            "spawn.failed" => {
                let SpawnFailed { step, failure } = data(event)?;
                self.failed = Some((step, failure));
                None
            }
            "session.ended" => Some(Step::Over(match self.failed.take() {
                Some((step, failure)) => End::Failed { step, failure },
                None => End::Killed,
            })),
            _ => None,
        }
    }

    fn ended(&self, effect: &Effect, outcome: &Outcome, took: Option<Duration>) -> Option<Step> {
        let name = name(effect)?;
        let mut says = None;
        let (mark, words) = match outcome {
            Outcome::Issue { title, .. } => (Mark::Settled, one_line(&title.excerpt)),
            Outcome::Workspace(info) => {
                (Mark::Settled, format!("{} on branch {}", short(&info.path), info.branch))
            }
            Outcome::PostCreate { failed: None, commands, .. } => match commands.is_empty() {
                true => return None,
                false => (Mark::Settled, commands.join(", ")),
            },
            Outcome::PostCreate { failed: Some((command, _)), last_line, lines, .. } => {
                let of = count(*lines, "line", "lines");
                let last = format!("{} (last 1 of {of})", one_line(&last_line.excerpt));
                says = (*lines > 0).then_some(last);
                (Mark::Failed, command.clone())
            }
            Outcome::Runtime { .. } => (Mark::Settled, self.agent.clone()),
            Outcome::Done
            | Outcome::Removed(_)
            | Outcome::Merged { .. }
            | Outcome::PrOpened(_)
            | Outcome::Sent { .. } => (Mark::Settled, String::new()),
        };
        Some(Step::Ended { mark, name, words, says, took })
    }

    /// What became of what a failed set-up had made.
    fn undone(&self, doc: &SessionDoc) -> &'static str {
        match (self.removed, &doc.workspace) {
            (Some(true), _) => "workspace and empty branch removed",
            (Some(false), _) => "workspace removed, its branch stays",
            (None, Some(_)) if !doc.workspace_gone => "nothing, its workspace stays",
            (None, _) => "nothing was made yet",
        }
    }
}

fn span(from: jiff::Timestamp, to: jiff::Timestamp) -> Option<Duration> {
    Duration::try_from(to.duration_since(from)).ok()
}

/// What an effect of the set-up is called; none for others.
fn name(effect: &Effect) -> Option<&'static str> {
    Some(match effect {
        Effect::FetchIssue => "task",
        Effect::CreateWorkspace { .. } | Effect::RestoreWorkspace => "workspace",
        Effect::PostCreate => "postCreate",
        Effect::CreateRuntime { .. } => "agent",
        _ => return None,
    })
}

fn begins(effect: &Effect) -> Option<String> {
    Some(match effect {
        Effect::FetchIssue => "reading the task".into(),
        Effect::CreateWorkspace { branch, .. } => {
            format!("making the workspace on branch {branch}")
        }
        Effect::RestoreWorkspace => "making the workspace again".into(),
        Effect::PostCreate => "running the set-up commands".into(),
        Effect::CreateRuntime { .. } => "starting the agent".into(),
        _ => return None,
    })
}

/// The last two parts of a path.
fn short(path: &std::path::Path) -> String {
    let parts: Vec<_> =
        path.components().rev().take(2).map(|part| part.as_os_str().to_string_lossy()).collect();
    parts.into_iter().rev().collect::<Vec<_>>().join("/")
}

/// Shows the steps until the set-up is over.
async fn watch(
    cx: &Cx,
    client: Client<'_>,
    id: &SessionId,
    after: Seq,
) -> Result<(Story, End), Fail> {
    let doc = read(client, id).await?;
    let agent = match doc.runtime_name.as_str() {
        "process" => format!("{} as a plain process", doc.session.agent),
        runtime => format!("{} in {runtime}", doc.session.agent),
    };
    let mut story = Story { agent, ..Story::default() };
    let mut steps = Steps::new(cx);
    let mut events = client.follow(format!("session={id}"), after);
    let mut head_shown = false;
    while let Some(event) = events.next().await {
        let step = story.read(&event);
        if let (false, Some(title)) = (head_shown, &story.title) {
            head_shown = true;
            steps.line(&format!(
                "{}  {}",
                cx.err.paint(Tone::Accent, id.as_str()),
                cx.err.text(title)
            ));
        }
        match step {
            Some(Step::Begins { words, .. }) => steps.begin(&words),
            Some(Step::Ended { mark, name, words, says, took }) => {
                let took = took.unwrap_or_else(|| steps.running());
                steps.end(mark, name, &words, Some(took));
                if let Some(says) = says {
                    let room = cx.err.width.saturating_sub(6);
                    steps.line(&format!("      {}", cx.err.cut(&says, room)));
                }
            }
            Some(Step::Over(end)) => return Ok((story, end)),
            None => {}
        }
    }
    Err(stopped(format!("{id} is being set up")))
}

fn exit_of(failure: &Failure) -> Exit {
    use ao_core::slots::ErrorKind;
    match failure.kind {
        ErrorKind::Missing => Exit::Missing,
        ErrorKind::NotFound => Exit::NotFound,
        ErrorKind::Refused => Exit::Refused,
        _ => Exit::Failed,
    }
}

async fn read(client: Client<'_>, id: &SessionId) -> Result<SessionDoc, Fail> {
    client.get(&format!("/api/sessions/{id}")).await
}

/// Whether some channel could take a message now. Nobody is promised a call where that is not known.
async fn reachable(client: Client<'_>) -> bool {
    client.get::<StatusDoc>("/api/status").await.is_ok_and(|status| status.reachable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seq: u64, second: u64, kind: &str, data: serde_json::Value) -> EventView {
        serde_json::from_value(serde_json::json!({
            "schema": "ao.event/1", "seq": format!("e{seq}"), "at": format!("2026-11-21T14:28:{second:02}Z"), "class": "obs",
            "kind": kind, "session": "app-3", "project": "my-app", "because": [], "rule": null,
            "told": {"mark": null, "label": "", "text": ""}, "data": data,
        }))
        .unwrap()
    }

    #[test]
    fn a_set_up_reads_as_steps_with_their_times() {
        let mut story = Story::default();
        let text = |text: &str| serde_json::json!({ "excerpt": text });
        let requested = serde_json::json!({
            "by": {"name": "ana", "via": "cli"}, "issue": "41", "title": text(""), "prompt": text(""), "digest": "",
            "env_names": [], "agent": null, "branch": null,
        });
        assert_eq!(story.read(&event(1, 0, "session.requested", requested)), None);
        assert_eq!(story.title.as_deref(), Some("#41"));
        let intended = serde_json::json!({ "effect": { "do": "fetch-issue" } });
        assert_eq!(
            story.read(&event(2, 0, "effect.intended", intended)),
            Some(Step::Begins { name: "task", words: "reading the task".into() })
        );
        let outcome = serde_json::json!({
            "intent": "e2",
            "outcome": { "got": "issue", "title": text("Coupon is applied twice"), "prompt": text("x"), "digest": "", "branch": null },
        });
        let step = story.read(&event(3, 2, "effect.succeeded", outcome));
        assert_eq!(
            step,
            Some(Step::Ended {
                mark: Mark::Settled,
                name: "task",
                words: "Coupon is applied twice".into(),
                says: None,
                took: Some(Duration::from_secs(2))
            })
        );
        assert_eq!(story.title.as_deref(), Some("#41 Coupon is applied twice"));
        let turn = |confirms| serde_json::json!({ "launch": 1, "turn": "t", "confirms": confirms });
        assert_eq!(story.read(&event(4, 3, "turn.started", turn(None))), None);
        assert!(matches!(
            story.read(&event(5, 3, "turn.started", turn(Some("m-1")))),
            Some(Step::Ended { mark: Mark::Settled, name: "prompt", .. })
        ));
        assert_eq!(
            story.read(&event(6, 3, "session.ready", serde_json::json!({}))),
            Some(Step::Over(End::Ready))
        );
    }

    #[test]
    fn a_set_up_that_was_undone_names_the_step_and_the_cause() {
        let mut story = Story::default();
        let failed = serde_json::json!({ "step": "postCreate", "failure": { "kind": "permanent", "message": "npm ci exited with 1" } });
        assert_eq!(story.read(&event(1, 0, "spawn.failed", failed)), None);
        let step = story.read(&event(
            2,
            1,
            "session.ended",
            serde_json::json!({ "how": "failed", "by": null }),
        ));
        assert!(matches!(step, Some(Step::Over(End::Failed { step, .. })) if step == "postCreate"));
    }
}
