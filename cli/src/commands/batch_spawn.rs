//! `ao batch-spawn`.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use ao_core::{
    server::SpawnCall,
    slots::{ProjectId, Seq, SessionId, notifier::Mark},
};
use ao_web::view::{EventView, Taken};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    client_env, register,
    spawn::{End, Step, Story, look_at_issue},
    stopped, until_interrupted,
};
use crate::{
    client::Client,
    cx::Cx,
    fail::{Exit, Fail},
    out,
};

/// Start an agent on each of several issues
///
/// Examples:
///   ao batch-spawn my-app 42 43 44 45 46
///   ao batch-spawn my-app 42 43 --agent custom
///
/// An issue that a session works on already is skipped. One by somebody who may not write to the
/// repository is shown first.
///
/// Exit codes: 1 nothing was started, 8 nothing was: an issue of a stranger was not confirmed,
/// 9 some were skipped or failed; each item's result is printed.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Cmd {
    /// The project
    project: ProjectId,
    /// The issues
    #[arg(required = true)]
    issues: Vec<String>,
    /// Another agent than the project's
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Also for issues that a session works on
    #[arg(long, help_heading = "Safety")]
    force: bool,
}

/// One issue on its way.
struct Item {
    issue: String,
    session: Option<SessionId>,
    story: Story,
    state: State,
    bar: Option<ProgressBar>,
}

#[derive(Debug, Clone, PartialEq)]
enum State {
    Starting,
    Started(String),
    Skipped(String),
    Failed(String),
}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        let client = cx.client();
        register(cx, client, Some(&self.project)).await?;
        super::doctor::tell_of_disk(cx, client, &self.project).await?;
        let begun = Instant::now();
        let mut issues: Vec<String> =
            self.issues.iter().map(|issue| issue.trim_start_matches('#').to_owned()).collect();
        let mut seen = std::collections::BTreeSet::new();
        issues.retain(|issue| seen.insert(issue.clone()));
        // Before any is started, so that what is asked is asked at once. What fails here fails this issue alone.
        let mut looked = vec![];
        for issue in issues {
            let read = match look_at_issue(cx, client, &self.project, &issue).await {
                Err(fail) if matches!(fail.exit, Exit::NotConfirmed | Exit::Server) => {
                    return Err(fail);
                }
                read => read,
            };
            looked.push((issue, read));
        }
        let mut first: Option<Seq> = None;
        let mut items: Vec<Item> = vec![];
        // What the rest of the batch rests on as well.
        let mut off: Option<Fail> = None;
        for (issue, read) in looked {
            let mut item = Item {
                issue,
                session: None,
                story: Story::default(),
                state: State::Starting,
                bar: None,
            };
            if let Some(fail) = &off {
                item.state = State::Failed(fail.what.clone());
                items.push(item);
                continue;
            }
            let spawned = match read {
                Ok(read) => self.spawn(cx, client, &item.issue, read).await,
                Err(fail) => {
                    item.state = State::Failed(fail.what);
                    items.push(item);
                    continue;
                }
            };
            match spawned {
                Ok(taken) => {
                    first = Some(first.map_or(taken.after, |first| first.min(taken.after)));
                    item.session = taken.session;
                }
                Err(fail) if fail.exit == Exit::Refused => item.state = State::Skipped(fail.what),
                Err(fail) => {
                    let all = [Exit::Server, Exit::NotFound, Exit::NotConfirmed];
                    let all = all.contains(&fail.exit);
                    // Nothing has come of any yet: it is said once.
                    if all && items.is_empty() {
                        return Err(fail);
                    }
                    item.state = State::Failed(fail.what.clone());
                    off = all.then_some(fail);
                }
            }
            items.push(item);
        }
        if let Some(after) = first {
            let goes_on = || "The sessions go on starting; `ao status` shows them.".to_owned();
            let followed = follow(cx, client, &self.project, after, &mut items);
            // Whatever cut it short, what became of each until then is printed.
            if let Err(fail) = until_interrupted(followed, goes_on).await {
                let cause = fail.cause.map(|cause| format!(": {cause}")).unwrap_or_default();
                cx.warn(&format!("{}{cause}", fail.what));
            }
        }
        Ok(self.sum_up(cx, &items, begun.elapsed()))
    }

    async fn spawn(
        &self,
        cx: &Cx,
        client: Client<'_>,
        issue: &str,
        read: Option<String>,
    ) -> Result<Taken, Fail> {
        let call = SpawnCall {
            project: self.project.clone(),
            issue: Some(issue.to_owned()),
            read,
            prompt: None,
            agent: self.agent.clone(),
            branch: None,
            force: self.force,
            env: client_env(cx),
        };
        client.act("/api/sessions", &call).await
    }

    fn sum_up(&self, cx: &Cx, items: &[Item], took: Duration) -> u8 {
        let number = |wanted: fn(&State) -> bool| {
            items.iter().filter(|item| wanted(&item.state)).count() as u64
        };
        let started = number(|state| matches!(state, State::Started(_)));
        let starting = number(|state| *state == State::Starting);
        let skipped = number(|state| matches!(state, State::Skipped(_)));
        let failed = number(|state| matches!(state, State::Failed(_)));
        if cx.global.json {
            let items: Vec<_> = items.iter().map(Item::json).collect();
            out::json(
                &serde_json::json!({ "schema": "ao.batch/1", "items": items, "tookMs": took.as_millis() as u64 }),
            );
        } else {
            for item in items {
                out::say(&item.line(cx));
            }
            let mut parts = vec![format!("{started} started")];
            parts.extend((starting > 0).then(|| format!("{starting} being set up")));
            parts.extend((skipped > 0).then(|| format!("{skipped} skipped")));
            parts.extend((failed > 0).then(|| format!("{failed} failed")));
            out::say(&format!(
                "{} in {}",
                parts.join(", "),
                ao_core::slots::text::duration(took.as_secs())
            ));
        }
        match started + starting {
            0 => Exit::Failed as u8,
            _ if starting + skipped + failed > 0 => Exit::Partly as u8,
            _ => 0,
        }
    }
}

impl Item {
    fn id(&self) -> String {
        self.session.as_ref().map_or_else(|| "–".to_owned(), ToString::to_string)
    }

    fn task(&self) -> String {
        self.story.title.clone().unwrap_or_else(|| format!("#{}", self.issue))
    }

    fn words(&self, cx: &Cx) -> String {
        match &self.state {
            State::Starting => "is being set up".to_owned(),
            State::Started(words) => words.clone(),
            State::Skipped(why) => format!("skipped: {why} (--force)"),
            State::Failed(why) => {
                let words = match &self.session {
                    // The command may be long; what is to be pasted is not cut.
                    Some(id) if why.starts_with("postCreate") => {
                        format!("postCreate failed: ao logs {id} --step postCreate")
                    }
                    Some(id) => format!("{why}: ao why {id}"),
                    None => why.clone(),
                };
                format!("{} {words}", cx.style.painted_mark(Mark::Failed))
            }
        }
    }

    fn line(&self, cx: &Cx) -> String {
        let style = &cx.style;
        let task = 30.min(style.width / 3);
        let id = style.text(&self.id());
        let words = style.cut(&self.words(cx), style.width.saturating_sub(task + 12));
        format!("  {} {} {words}", out::pad(&id, 8), out::pad(&style.cut(&self.task(), task), task))
    }

    fn json(&self) -> serde_json::Value {
        let (state, why) = match &self.state {
            State::Starting => ("starting", None),
            State::Started(_) => ("started", None),
            State::Skipped(why) => ("skipped", Some(why)),
            State::Failed(why) => ("failed", Some(why)),
        };
        serde_json::json!({ "issue": self.issue, "session": self.session, "state": state, "why": why })
    }

    /// Reads an event; true when the item came to its end.
    fn read(&mut self, event: &EventView) -> Option<f64> {
        let step = self.story.read(event)?;
        let share = match &step {
            Step::Begins { name: "task", .. } => 0.1,
            Step::Begins { name: "workspace", .. } => 0.25,
            Step::Begins { name: "postCreate", .. } => 0.5,
            Step::Begins { .. } => 0.75,
            Step::Ended { name: "prompt", .. } => 0.95,
            Step::Ended { .. } => return None,
            Step::Over(_) => 1.0,
        };
        if let Some(bar) = &self.bar {
            bar.set_message(match &step {
                Step::Begins { words, .. } => words.clone(),
                _ => String::new(),
            });
        }
        if let Step::Over(end) = step {
            self.state = match end {
                End::Ready => State::Started("working".into()),
                End::Asks => State::Started("asks you something".into()),
                End::Undelivered => State::Failed("it has not got its task".into()),
                End::Failed { step, failure } => {
                    let why = ao_core::slots::text::one_line(&failure.message);
                    State::Failed(match why.starts_with(&step) {
                        true => why,
                        false => format!("{step} failed: {why}"),
                    })
                }
                End::Ended => State::Failed("the agent ended".into()),
                End::Killed => State::Failed("it was ended".into()),
            };
        }
        Some(share)
    }
}

/// Shows all of them until each is settled.
async fn follow(
    cx: &Cx,
    client: Client<'_>,
    project: &ProjectId,
    after: Seq,
    items: &mut [Item],
) -> Result<(), Fail> {
    let bars = MultiProgress::with_draw_target(match cx.err.terminal && !cx.global.json {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    });
    let style = ProgressStyle::with_template("  {prefix} {bar:12} {wide_msg} {elapsed:>4}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    let style =
        if cx.err.ascii { style.progress_chars("##-") } else { style.progress_chars("██ ") };
    for item in items.iter_mut().filter(|item| item.session.is_some()) {
        let bar = bars.add(ProgressBar::new(100)).with_style(style.clone());
        bar.set_prefix(out::pad(&item.id(), 8));
        item.bar = Some(bar);
    }
    let mut of: BTreeMap<SessionId, usize> = BTreeMap::new();
    for (at, item) in items.iter().enumerate() {
        of.extend(item.session.clone().map(|id| (id, at)));
    }
    let mut events = client.follow(format!("project={project}"), after);
    let mut told = Ok(());
    while items.iter().any(|item| item.state == State::Starting) {
        let Some(event) = events.next().await else {
            told = Err(stopped("the rest is being set up"));
            break;
        };
        let Some(at) = event.session.as_ref().and_then(|id| of.get(id)).copied() else { continue };
        let item = &mut items[at];
        if item.state != State::Starting {
            continue;
        }
        if let Some(share) = item.read(&event)
            && let Some(bar) = &item.bar
        {
            bar.set_position((share * 100.0) as u64);
        }
    }
    for item in items.iter() {
        if let Some(bar) = &item.bar {
            bar.finish_and_clear();
        }
    }
    let _ = bars.clear();
    told
}
