//! Follows pull requests: finds them by their branches, looks at all of an scm in few requests, and prepares what
//! agents are told of them.
//!
//! A hint (a webhook, a push, a human) only makes it look sooner; what nobody tells is seen by the next look, at the
//! latest after five minutes, or as soon as what the vendor allows lasts until it is whole again. No answer, or half of
//! one, moves nothing.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use ao_slots::{
    Call, ErrorKind, PluginError, ProjectId, SessionId,
    call::{Answer, back_off},
    fact::{Activity, Checks, Mergeable, PrFacts},
    scm::{BranchRef, PrRef, QUIET_MS, Quota, Records, Scm, ScmHint, Thread},
};
use async_trait::async_trait;
use tokio::{
    sync::{oneshot, watch},
    task::{Id, JoinSet},
};

use super::{
    handle::Handle,
    lane::{Work, lock, random_token, within},
};
use crate::{
    config::{policy::PluginChoice, trigger::Trigger},
    decide::{
        Input,
        reaction::{TOLD, is_followed, wanted_brief},
    },
    event::{About, digest},
    state::{Session, Step, Want},
    words::brief::{self, Told},
};

/// How long after something moved it is looked at often, in awake milliseconds.
const BUSY_MS: u64 = 600_000;
/// Logs that are read for one message.
const LOGS: usize = 3;
/// Briefs that are written at one time with one scm.
const BRIEFS: usize = 4;
/// The longest pause before a brief's facts are asked for again.
const MINUTE_MS: u64 = 60_000;
/// How often a brief's facts are asked for before it is written without them.
const PATIENCE: u32 = 3;

/// Why to look sooner.
#[derive(Debug)]
pub(super) enum Poke {
    /// At this session's pull request.
    Session(SessionId),
    /// At the others in the repository of this session's, whose base it moved.
    Beside(SessionId),
    /// At what an scm's hint names.
    Hint(ScmHint),
    /// At everything.
    All,
    /// At these or at everything, and somebody waits for it.
    Ask(Option<SessionId>, oneshot::Sender<()>),
}

/// A session whose pull request is followed, or looked for.
struct Watched {
    session: SessionId,
    repo: String,
    branch: String,
    pr: Option<PrRef>,
}

/// The sessions of one scm and its settings, whatever their projects.
struct Group {
    scm: Arc<dyn Scm>,
    choice: PluginChoice,
    projects: BTreeSet<ProjectId>,
    watched: Vec<Watched>,
    /// Somebody wants to know of all of them, or they are new.
    poked: bool,
}

/// What is to be told to one agent, by what it is about.
struct Wish {
    session: SessionId,
    trigger: Trigger,
    key: String,
}

/// What is under way, each beside the others: an scm that hangs keeps nobody else from being looked at.
struct Task {
    choice: PluginChoice,
    /// Of a look that was due by its pace: the scm, and what was left to spend before.
    before: Option<(Arc<dyn Scm>, Vec<Quota>)>,
    /// Sessions that are looked at; none = a brief is written.
    looks: Vec<SessionId>,
    /// The brief that is written.
    writes: Option<(SessionId, Trigger)>,
    /// Which task it is, counted from the first.
    number: u64,
}

/// Why not to ask for a while.
#[derive(Debug, Clone, Copy, Default)]
struct Rest {
    /// Failures in a row.
    failures: u32,
    /// Until then, in awake milliseconds.
    until: u64,
}

impl Rest {
    /// One more failure: 2 s, doubled each time, at most `most`, and no shorter than the other side asks for.
    fn add(&mut self, asked_ms: Option<u64>, most: u64, now: u64) {
        self.failures = self.failures.saturating_add(1);
        let wait = back_off(2_000, self.failures, most);
        self.until = now.saturating_add(wait.max(asked_ms.unwrap_or(0)));
    }
}

/// What is known beside the state: nothing that a restart may not forget.
#[derive(Default)]
struct Looks {
    /// When each session was looked at, in awake milliseconds.
    at: HashMap<SessionId, u64>,
    /// How long each scm is left alone, by its settings.
    rests: Vec<(PluginChoice, Rest)>,
    /// How long each scm wants between two looks that nobody asked for, in milliseconds, so that its limit lasts.
    slow: Vec<(PluginChoice, u64)>,
    /// How often each brief's facts could not be read.
    tries: HashMap<(SessionId, Trigger), Rest>,
    tasks: HashMap<Id, Task>,
    /// Tasks that were begun.
    begun: u64,
    /// Who waits for looks.
    asked: Vec<Ask>,
}

/// Somebody waits until these were looked at, and their agents prepared for. What others' scms do is not awaited.
struct Ask {
    done: oneshot::Sender<()>,
    /// The session that it is about; none = all.
    about: Option<SessionId>,
    /// Whose look, by a task that was begun after so many others, is still awaited; none = that is not known yet.
    looks: Option<HashSet<SessionId>>,
    after: u64,
}

/// Follows pull requests until the server ends.
pub(super) async fn run(handle: Handle, mut stopped: watch::Receiver<bool>) {
    let Some(mut pokes) = lock(&handle.shell.pokes_wanted).take() else { return };
    let (mut looks, mut work) = (Looks::default(), JoinSet::new());
    loop {
        looks.begin(&handle, &mut work);
        looks.answer();
        let every = handle.state().policy.lifecycle.scm_interval_ms.clamp(100, QUIET_MS);
        // Several sessions' paces are told apart in steps of a tenth of the shortest.
        let step = Duration::from_millis((every / 10).max(100));
        tokio::select! {
            // Cancel safe, all four.
            Some(poke) = pokes.recv() => looks.forget(&handle, poke),
            Some(ended) = work.join_next_with_id() => {
                let (id, failure) = match ended {
                    Ok((id, failure)) => (id, failure),
                    Err(error) => {
                        tracing::error!(%error, "an scm plugin broke its round");
                        (error.id(), Some(PluginError::in_doubt("the plugin broke", "")))
                    }
                };
                looks.end(&handle, id, failure);
            }
            () = tokio::time::sleep(step) => {}
            _ = stopped.changed() => return,
        }
        while let Ok(poke) = pokes.try_recv() {
            looks.forget(&handle, poke);
        }
    }
}

impl Looks {
    /// Begins what is due and not under way.
    fn begin(&mut self, handle: &Handle, work: &mut JoinSet<Option<PluginError>>) {
        let now = handle.now().awake;
        self.rests.retain(|(_, rest)| rest.until.saturating_add(QUIET_MS) > now);
        for group in self.groups(handle, now) {
            self.begun += 1;
            let number = self.begun;
            let looks = group.watched.iter().map(|watched| watched.session.clone()).collect();
            // A look that a poke brought is of few sessions: it tells nothing of what the others cost.
            let before = (!group.poked).then(|| (group.scm.clone(), quota_of(&*group.scm)));
            let task = Task { choice: group.choice.clone(), before, looks, writes: None, number };
            let handle = handle.clone();
            self.tasks.insert(work.spawn(async move { follow(&handle, group).await }).id(), task);
        }
        for (wish, of) in self.wishes(handle, now) {
            let Some(choice) = of.project.scm.clone() else { continue };
            let enough = {
                let tries = self.tries.get(&(wish.session.clone(), wish.trigger));
                tries.is_some_and(|tries| tries.failures + 1 >= PATIENCE)
            };
            let writes = Some((wish.session.clone(), wish.trigger));
            self.begun += 1;
            let number = self.begun;
            let task = Task { choice, before: None, looks: vec![], writes, number };
            let handle = handle.clone();
            let brief = async move { prepare(&handle, &of, wish, enough).await.err() };
            self.tasks.insert(work.spawn(brief).id(), task);
        }
    }

    /// Tells whoever waits for no look and no brief any more.
    fn answer(&mut self) {
        let tasks = &self.tasks;
        let writes = |ask: &Ask| {
            let mine = |session| ask.about.as_ref().is_none_or(|about| about == session);
            tasks.values().any(|task| task.writes.as_ref().is_some_and(|(id, _)| mine(id)))
        };
        let over =
            |ask: &mut Ask| ask.looks.as_ref().is_some_and(HashSet::is_empty) && !writes(ask);
        for ask in self.asked.extract_if(.., over) {
            let _ = ask.done.send(());
        }
    }

    fn end(&mut self, handle: &Handle, id: Id, failure: Option<PluginError>) {
        let Some(task) = self.tasks.remove(&id) else { return };
        for ask in self.asked.iter_mut().filter(|ask| task.number > ask.after) {
            if let Some(looks) = &mut ask.looks {
                looks.retain(|session| !task.looks.contains(session));
            }
        }
        let now = handle.now().awake;
        let asked = failure.as_ref().and_then(|error| error.retry_after_ms);
        if let Some(write) = task.writes {
            match &failure {
                Some(_) => self.tries.entry(write).or_default().add(asked, MINUTE_MS, now),
                None => drop(self.tries.remove(&write)),
            }
            // What a brief is made of has a limit of its own: the looks go on.
            return;
        }
        match failure {
            Some(_) => {
                // What was not seen is due as it was.
                for session in &task.looks {
                    self.at.remove(session);
                }
                self.rest(task.choice, asked, now, handle);
            }
            None => {
                // What was asked for meanwhile holds: another request had that answer.
                self.rests.retain(|(choice, rest)| *choice != task.choice || rest.until > now);
                let Some((scm, before)) = task.before else { return };
                self.slow.retain(|(choice, _)| *choice != task.choice);
                let wall = u64::try_from(handle.now().wall.as_second()).unwrap_or(0);
                let pause = lasts(&before, &quota_of(&*scm), wall);
                if pause > 0 {
                    self.slow.push((task.choice, pause));
                }
            }
        }
    }

    fn slow(&self, choice: &PluginChoice) -> u64 {
        let known = self.slow.iter().find(|(slow, _)| slow == choice);
        known.map_or(0, |(_, pause)| *pause)
    }

    fn rest(&mut self, choice: PluginChoice, asked: Option<u64>, now: u64, handle: &Handle) {
        let most = handle.state().policy.lifecycle.scm_interval_ms.clamp(100, QUIET_MS);
        let at = self.rests.iter().position(|(resting, _)| *resting == choice);
        let at = at.unwrap_or_else(|| {
            self.rests.push((choice, Rest::default()));
            self.rests.len() - 1
        });
        self.rests[at].1.add(asked, most, now);
    }

    fn rests(&self, choice: &PluginChoice, now: u64) -> bool {
        self.rests.iter().any(|(resting, rest)| resting == choice && rest.until > now)
    }

    /// Lets what a poke names be looked at now.
    fn forget(&mut self, handle: &Handle, poke: Poke) {
        match poke {
            Poke::All => self.at.clear(),
            Poke::Ask(about, done) => {
                match &about {
                    Some(session) => drop(self.at.remove(session)),
                    None => self.at.clear(),
                }
                self.asked.push(Ask { done, about, looks: None, after: self.begun });
            }
            Poke::Session(id) => drop(self.at.remove(&id)),
            Poke::Beside(merged) => {
                let state = handle.state();
                let merged = state.sessions.get(&merged).and_then(|known| known.follow.pr.as_ref());
                let Some(merged) = merged else { return };
                self.at.retain(|id, _| {
                    let pr = state.sessions.get(id).and_then(|known| known.follow.pr.as_ref());
                    pr.is_none_or(|pr| {
                        pr.number == merged.number || !pr.repo.eq_ignore_ascii_case(&merged.repo)
                    })
                });
            }
            Poke::Hint(hint) => {
                let state = handle.state();
                self.at.retain(|id, _| {
                    let session = state.sessions.get(id);
                    session.is_some_and(|session| {
                        let project = state.policy.projects.get(&session.project);
                        let repo = project.and_then(|project| project.repo.as_deref());
                        !concerns(&hint, session, repo)
                    })
                });
            }
        }
    }

    /// What is due, by scm; of one that is being asked, or rests, nothing.
    fn groups(&mut self, handle: &Handle, now: u64) -> Vec<Group> {
        let (wanted, due): (HashSet<SessionId>, Vec<SessionId>) = {
            let state = handle.state();
            let every = state.policy.lifecycle.scm_interval_ms;
            let known =
                |id: &SessionId| state.sessions.get(id).is_some_and(|session| !session.is_over());
            self.at.retain(|id, _| known(id));
            let scm = |session: &Session| {
                let project = state.policy.projects.get(&session.project)?;
                project.scm.as_ref()
            };
            let wanted = state.sessions.values().filter(|session| {
                !session.is_over()
                    && session.intent == Want::Run
                    && session.step == Step::Ready
                    && session.works_on().is_some()
                    && scm(session).is_some()
            });
            let wanted: Vec<&Session> = wanted.collect();
            let late = |session: &&&Session| {
                let every = every.max(scm(session).map_or(0, |scm| self.slow(scm)));
                let at = self.at.get(&session.id);
                at.is_none_or(|at| now.saturating_sub(*at) >= pace(session, every, now))
            };
            let due = wanted.iter().filter(late).map(|session| session.id.clone()).collect();
            (wanted.iter().map(|session| session.id.clone()).collect(), due)
        };
        let (mut awaited, mut resting) = (HashSet::new(), HashSet::new());
        let mut groups: Vec<Group> = vec![];
        for work in due.iter().filter_map(|id| handle.shell.work_of(id)) {
            let (Some(choice), Some(scm)) = (&work.project.scm, handle.shell.scm(handle, &work))
            else {
                continue;
            };
            if self.rests(choice, now) {
                resting.insert(work.session.id.clone());
                continue;
            }
            awaited.insert(work.session.id.clone());
            let busy = |task: &Task| task.choice == *choice && task.writes.is_none();
            if self.tasks.values().any(busy) {
                continue;
            }
            let Some(branch) = work.session.works_on().map(str::to_owned) else { continue };
            // At its end nothing follows but a reopening, which its hint or the slow pace shows.
            let watched = Watched {
                session: work.session.id.clone(),
                repo: repo_of(&work),
                branch,
                pr: work.session.follow.pr.clone().filter(|_| is_followed(&work.session)),
            };
            // In step with the others, so that one request asks for all.
            let every =
                handle.state().policy.lifecycle.scm_interval_ms.max(self.slow(choice)).max(1);
            let poked = self.at.insert(watched.session.clone(), now - now % every).is_none();
            let known = groups.iter_mut().find(|group| group.choice == *choice);
            match known {
                Some(group) => {
                    group.projects.insert(work.session.project.clone());
                    group.watched.push(watched);
                    group.poked &= poked;
                }
                None => groups.push(Group {
                    scm,
                    choice: choice.clone(),
                    projects: BTreeSet::from([work.session.project.clone()]),
                    watched: vec![watched],
                    poked,
                }),
            }
        }
        for ask in &mut self.asked {
            let mine = |id: &&SessionId| ask.about.as_ref().is_none_or(|about| about == *id);
            match &mut ask.looks {
                // Who has ended is not looked at any more, and who rests not for so long that nobody waits for it.
                Some(looks) => looks.retain(|id| wanted.contains(id) && !resting.contains(id)),
                None => ask.looks = Some(awaited.iter().filter(mine).cloned().collect()),
            }
        }
        groups
    }

    /// What is to be written for agents now: a few at a time of each scm.
    fn wishes(&mut self, handle: &Handle, now: u64) -> Vec<(Wish, Work)> {
        let wanted: Vec<Wish> = {
            let state = handle.state();
            let live = state.sessions.values().filter(|session| session.pr.is_some());
            let each = live.flat_map(|session| {
                let wish = |trigger: Trigger| {
                    let key = wanted_brief(&state, session, trigger)?;
                    Some(Wish { session: session.id.clone(), trigger, key })
                };
                TOLD.into_iter().filter_map(wish).collect::<Vec<_>>()
            });
            each.collect()
        };
        self.tries.retain(|(id, trigger), _| {
            wanted.iter().any(|wish| wish.session == *id && wish.trigger == *trigger)
        });
        let mut begun: Vec<(Wish, Work)> = vec![];
        for wish in wanted {
            let name = (wish.session.clone(), wish.trigger);
            let waits = self.tries.get(&name).is_some_and(|tries| tries.until > now);
            if waits || self.tasks.values().any(|task| task.writes.as_ref() == Some(&name)) {
                continue;
            }
            let Some(work) = handle.shell.work_of(&wish.session) else { continue };
            let Some(choice) = &work.project.scm else { continue };
            let writes = |task: &&Task| task.choice == *choice && task.writes.is_some();
            let under_way = self.tasks.values().filter(writes).count();
            let more = begun.iter().filter(|(_, work)| work.project.scm.as_ref() == Some(choice));
            if self.rests(choice, now) || under_way + more.count() >= BRIEFS {
                continue;
            }
            begun.push((wish, work));
        }
        begun
    }
}

/// How long a session's pull request may go unseen, in milliseconds.
fn pace(session: &Session, every: u64, now: u64) -> u64 {
    let moves = session.activity.value == Activity::Active
        || now.saturating_sub(session.progress.awake) < BUSY_MS
        || session.pr.as_ref().is_some_and(|pr| now.saturating_sub(pr.since.awake) < BUSY_MS);
    let waits = session.pr().is_some_and(|pr| {
        matches!(pr.checks, Checks::Pending | Checks::Unknown) || pr.mergeable == Mergeable::Unknown
    });
    if moves || waits { every } else { QUIET_MS.max(every) }
}

/// Whether a hint may be about a session, whose project's repository is `repo` as it is configured: a branch that moved may
/// have a new pull request, or be the base of others.
fn concerns(hint: &ScmHint, session: &Session, repo: Option<&str>) -> bool {
    match &session.follow.pr {
        Some(pr) => {
            hint.pr.is_none_or(|number| number == pr.number)
                && pr.repo.eq_ignore_ascii_case(&hint.repo)
        }
        // It may be configured by its address.
        None => repo
            .is_none_or(|repo| repo.to_ascii_lowercase().contains(&hint.repo.to_ascii_lowercase())),
    }
}

/// How long to wait before the next look, in milliseconds, if each costs what the last one did: what nobody waits for may
/// spend what is free of each limit by the time that it is whole again. `now` in seconds since 1970.
fn lasts(before: &[Quota], after: &[Quota], now: u64) -> u64 {
    let pauses = after.iter().map(|quota| {
        let before = before.iter().find(|before| before.name == quota.name);
        let before = before.map_or(0, |before| before.spent);
        // A window of its own begins at nothing.
        let cost = quota.spent.checked_sub(before).unwrap_or(quota.spent);
        let left_ms = quota.resets_at.saturating_sub(now).saturating_mul(1_000);
        let each = left_ms.saturating_mul(cost).checked_div(quota.free()).unwrap_or(left_ms);
        if cost == 0 { 0 } else { each.min(left_ms) }
    });
    pauses.max().unwrap_or(0)
}

/// Looks at a group, and tells whether its scm answers.
async fn follow(handle: &Handle, group: Group) -> Option<PluginError> {
    let failure = look(handle, &group).await.err();
    for project in group.projects {
        let failure = failure.clone().map(Into::into);
        // Refused only when the journal is: the next round tells it again.
        let _ = handle.submit(Input::Scm { project, failure }).await;
    }
    failure
}

/// What an scm says that it may still ask. A panic of it ends nobody else's looks.
fn quota_of(scm: &dyn Scm) -> Vec<Quota> {
    catch_unwind(AssertUnwindSafe(|| scm.quota())).unwrap_or_default()
}

/// The repository as its scm names it.
pub(super) fn repo_of(work: &Work) -> String {
    let path = || work.project.path.to_string_lossy().into_owned();
    work.project.repo.clone().unwrap_or_else(path)
}

/// One look at a group: what has no pull request yet is looked for, then all are asked at once.
async fn look(handle: &Handle, group: &Group) -> Result<(), PluginError> {
    let limit = Duration::from_millis(handle.state().policy.lifecycle.limits.scm_ms);
    let mut known: Vec<(SessionId, PrRef)> = vec![];
    let mut lost: Vec<&Watched> = vec![];
    for watched in &group.watched {
        match &watched.pr {
            Some(pr) => known.push((watched.session.clone(), pr.clone())),
            None => lost.push(watched),
        }
    }
    // What could not be looked for keeps nobody from seeing what is known.
    let found = find(handle, group, &lost, limit).await;
    known.extend(found.iter().flatten().cloned());
    let found = found.map(drop);
    if known.is_empty() {
        return found;
    }
    let prs: Vec<PrRef> = known.iter().map(|(_, pr)| pr.clone()).collect();
    let call = Call::new("observe", limit);
    let answers = within(limit, group.scm.observe(&call, &prs)).await?;
    if answers.len() != prs.len() {
        return Err(PluginError::transient("the scm answered for other pull requests", ""));
    }
    for ((session, _), answer) in known.into_iter().zip(answers) {
        match answer {
            Answer::Yes(pr) => {
                // Refused only when the journal is: the next look sees it again.
                let _ = handle.submit(Input::Pr { session, pr }).await;
            }
            Answer::No => tracing::warn!(%session, "its pull request is not there any more"),
            Answer::Unknown(why) => tracing::debug!(%session, why, "its pull request is unknown"),
        }
    }
    found
}

/// Looks for the pull requests of branches, and links what it finds.
async fn find(
    handle: &Handle,
    group: &Group,
    lost: &[&Watched],
    limit: Duration,
) -> Result<Vec<(SessionId, PrRef)>, PluginError> {
    let mut found = vec![];
    if lost.is_empty() {
        return Ok(found);
    }
    let branch = |watched: &&Watched| BranchRef {
        repo: watched.repo.clone(),
        branch: watched.branch.clone(),
    };
    let branches: Vec<BranchRef> = lost.iter().map(branch).collect();
    let call = Call::new("detect", limit);
    let answers = within(limit, group.scm.detect(&call, &branches)).await?;
    for (watched, answer) in lost.iter().zip(answers) {
        let Answer::Yes(pr) = answer else { continue };
        let session = watched.session.clone();
        let link = Input::Link { session: session.clone(), pr: pr.clone(), by: None };
        let _ = handle.submit(link).await;
        let linked = |session: &Session| session.follow.pr.as_ref() == Some(&pr);
        // Another session's is not taken from it.
        if handle.state().sessions.get(&session).is_some_and(linked) {
            found.push((session, pr));
        }
    }
    Ok(found)
}

/// Reads what an agent is to be told, and puts it away.
async fn prepare(
    handle: &Handle,
    work: &Work,
    wish: Wish,
    enough: bool,
) -> Result<(), PluginError> {
    let Wish { session, trigger, key } = wish;
    let written = write(handle, work, trigger, enough).await.inspect_err(|error| {
        tracing::debug!(%session, %error, "what to tell the agent could not be read");
    })?;
    let away = |refusal| PluginError::transient("a text could not be put away", refusal);
    let text = handle.put_exact(&written.text).await.map_err(away)?;
    let about = About { trigger, key };
    let digest = digest(&written.text);
    let brief = Input::Brief { session, about, text, digest, held: written.held };
    handle.submit(brief).await.map(drop).map_err(away)
}

struct Written {
    text: String,
    held: Vec<String>,
}

/// The message about one trouble. What cannot be read is asked for again, unless it was asked often enough.
async fn write(
    handle: &Handle,
    work: &Work,
    trigger: Trigger,
    enough: bool,
) -> Result<Written, PluginError> {
    let none = || PluginError::permanent("there is nothing to tell", "");
    let pr = work.session.pr().ok_or_else(none)?;
    let base = pr.details.base.clone().or_else(|| work.project.default_branch.clone());
    let base = base.unwrap_or_else(|| "main".to_owned());
    let scm = handle.shell.scm(handle, work).ok_or_else(none)?;
    let at = work.session.follow.pr.as_ref().ok_or_else(none)?;
    let limit = Duration::from_millis(handle.state().policy.lifecycle.limits.scm_ms);
    let fence = random_token()
        .map_err(|error| PluginError::transient("nothing random was to be had", error))?;
    let fence = fence.as_str();
    let mut held = vec![];
    let text = match trigger {
        Trigger::CiFailed => {
            let logs = logs_of(&*scm, limit, at, pr, enough).await?;
            let flaky = work.session.follow.green.as_ref() == Some(&pr.head);
            brief::checks(pr, &Told { fence, logs: &logs, flaky, ..Told::default() })
        }
        Trigger::ChangesRequested | Trigger::BugbotComments => {
            let bots = trigger == Trigger::BugbotComments;
            let call = Call::new("threads", limit);
            let threads = within(limit, scm.threads(&call, at)).await?;
            let open = |thread: &&Thread| !thread.resolved && thread.is_bots() == bots;
            let threads: Vec<&Thread> = threads.iter().filter(open).collect();
            let strangers = threads.iter().flat_map(|thread| &thread.comments);
            let strangers: BTreeSet<String> = strangers
                .filter(|comment| !comment.trusted)
                .map(|comment| ao_slots::text::cut(&comment.author, 60))
                .collect();
            held.extend(strangers);
            brief::comments(pr, &Told { fence, threads: &threads, bots, ..Told::default() })
        }
        _ if pr.mergeable == Mergeable::Behind => brief::behind(pr, &base),
        _ => brief::conflict(pr, &base),
    };
    let reaction = handle.state().policy.reaction(Some(&work.session.project), trigger).clone();
    let text = match &reaction.message {
        Some(template) => match brief::by_template(template, &text, pr, &base) {
            Ok(text) => text,
            Err(error) => {
                // It was tried when it was loaded; what only these facts break does not keep the agent from them.
                tracing::warn!(%trigger, %error, "the configured message cannot be written");
                text
            }
        },
        None => text,
    };
    Ok(Written { text, held })
}

async fn logs_of(
    scm: &dyn Scm,
    limit: Duration,
    at: &PrRef,
    pr: &PrFacts,
    enough: bool,
) -> Result<Vec<(String, Result<String, String>)>, PluginError> {
    let mut logs = vec![];
    for check in &pr.failing {
        if logs.len() >= LOGS {
            logs.push((check.clone(), Ok(String::new())));
            continue;
        }
        let call = Call::new("log", limit);
        match within(limit, scm.failing_check_log(&call, at, check)).await {
            Ok(log) => logs.push((check.clone(), Ok(log))),
            // Also what did not answer in time may do so the next time.
            Err(error) if passes(&error) && !enough => return Err(error),
            Err(error) => logs.push((check.clone(), Err(error.to_string()))),
        }
    }
    Ok(logs)
}

fn passes(error: &PluginError) -> bool {
    error.is_transient() || error.kind == ErrorKind::InDoubt
}

/// What an scm without a service knows, in the journal.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) handle: Handle,
    pub(super) project: ProjectId,
    pub(super) plugin: String,
}

#[async_trait]
impl Records for Kept {
    async fn read(&self, prefix: &str) -> Result<BTreeMap<String, serde_json::Value>, PluginError> {
        let state = self.handle.state();
        let kept = state.records.get(&self.project).and_then(|kept| kept.get(&self.plugin));
        let from = kept.into_iter().flat_map(|kept| kept.range(prefix.to_owned()..));
        let mine = from.take_while(|(key, _)| key.starts_with(prefix));
        Ok(mine.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    async fn write(
        &self,
        values: BTreeMap<String, Option<serde_json::Value>>,
    ) -> Result<(), PluginError> {
        let (project, plugin) = (self.project.clone(), self.plugin.clone());
        let written = self.handle.submit(Input::Record { project, plugin, values }).await;
        written
            .map(drop)
            .map_err(|refusal| PluginError::transient("the journal took nothing", refusal.message))
    }
}

/// Deliveries that are remembered: those of three days, in which a vendor may send one again, as far as they fit.
const DELIVERIES: usize = 10_000;

/// What came of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It made `ao` look.
    Looked,
    /// It was heard before.
    Again,
    /// It concerns no pull request.
    Nothing,
}

impl Handle {
    /// A project's scm, and its repository as that names it; none where it has no scm.
    pub fn scm(&self, project: &ProjectId) -> Option<(Arc<dyn Scm>, String)> {
        let scm = self.shell.scm_of(self, project)?;
        let state = self.state();
        let project = state.policy.projects.get(project)?;
        let path = || project.path.to_string_lossy().into_owned();
        Some((scm, project.repo.clone().unwrap_or_else(path)))
    }

    /// Looks at the pull request of a session, or at all of them, now; ends when what was seen is recorded and agents have
    /// been prepared for.
    pub async fn look_at_prs(&self, about: Option<&SessionId>) {
        let (asked, done) = oneshot::channel();
        // Whoever follows pull requests ends with the server, and so does the wait.
        let _ = self.shell.pokes.send(Poke::Ask(about.cloned(), asked));
        let _ = done.await;
    }

    /// Looks at one session's pull request soon.
    pub fn look_at_pr(&self, session: &SessionId) {
        let _ = self.shell.pokes.send(Poke::Session(session.clone()));
    }

    /// The scms of this plugin, each once however many projects it is for.
    fn scms(&self, plugin: &str) -> Vec<Arc<dyn Scm>> {
        let state = self.state();
        let mine =
            state.policy.projects.iter().filter(|(_, project)| {
                project.scm.as_ref().is_some_and(|scm| scm.plugin == plugin)
            });
        let mut scms: Vec<Arc<dyn Scm>> = vec![];
        for scm in mine.filter_map(|(id, _)| self.shell.scm_of(self, id)) {
            if !scms.iter().any(|known| Arc::ptr_eq(known, &scm)) {
                scms.push(scm);
            }
        }
        scms
    }

    /// Whether a project has this plugin for its scm.
    pub fn has_scm(&self, plugin: &str) -> bool {
        !self.scms(plugin).is_empty()
    }

    /// Takes a webhook for the scms of this plugin. It changes nothing by itself: it makes `ao` look.
    ///
    /// # Errors
    /// `Missing` where no project has such an scm, `Refused` where it is not signed with the secret of any,
    /// `Permanent` where what is signed does not read.
    pub fn webhook(
        &self,
        plugin: &str,
        headers: &[(String, String)],
        body: &[u8],
    ) -> Result<Heard, PluginError> {
        let mut refused = PluginError::new(
            ErrorKind::Missing,
            "the webhook is not taken",
            format!("no project has the scm {plugin}"),
        );
        for scm in self.scms(plugin) {
            if let Err(error) = scm.verify_webhook(headers, body) {
                refused = error;
                continue;
            }
            let Some(hint) = scm.parse_webhook(headers, body)? else { return Ok(Heard::Nothing) };
            {
                let mut seen = lock(&self.shell.deliveries);
                if seen.contains(&hint.delivery) {
                    return Ok(Heard::Again);
                }
                seen.push_back(hint.delivery.clone());
                if seen.len() > DELIVERIES {
                    seen.pop_front();
                }
            }
            let _ = self.shell.pokes.send(Poke::Hint(hint));
            return Ok(Heard::Looked);
        }
        Err(refused)
    }
}

#[cfg(test)]
mod tests {
    use ao_slots::{
        fact::{Mergeable::Unknown, PrState},
        scm::EVERY_MS,
    };

    use super::*;
    use crate::decide::tests::{World, app, pr, review::green};

    #[test]
    fn what_moves_or_waits_is_looked_at_often_and_the_rest_each_five_minutes() {
        let mut w = World::working("41");
        w.give(Input::Pr { session: app(1), pr: green("a") }).unwrap();
        let mut quiet = w.session(1).clone();
        quiet.activity.value = Activity::Idle;
        let long_ago = quiet.pr.as_ref().unwrap().since.awake.max(quiet.progress.awake);
        let now = long_ago + BUSY_MS;
        let with = |change: &dyn Fn(&mut Session)| {
            let mut session = quiet.clone();
            change(&mut session);
            session
        };
        let facts = |change: &dyn Fn(&mut PrFacts)| {
            with(&|session| change(&mut session.pr.as_mut().unwrap().value))
        };
        let table: [(&str, Session, u64); 10] = [
            ("nothing moves", quiet.clone(), QUIET_MS),
            ("no pull request", with(&|session| session.pr = None), QUIET_MS),
            ("merged", facts(&|pr| pr.state = PrState::Merged), QUIET_MS),
            ("it fails", facts(&|pr| pr.checks = Checks::Failing), QUIET_MS),
            ("the agent works", with(&|s| s.activity.value = Activity::Active), EVERY_MS),
            ("it moved", with(&|s| s.progress.awake = now - BUSY_MS + 1), EVERY_MS),
            ("the facts moved", with(&|s| s.pr.as_mut().unwrap().since.awake += 1), EVERY_MS),
            ("checks run", facts(&|pr| pr.checks = Checks::Pending), EVERY_MS),
            ("checks are not known", facts(&|pr| pr.checks = Checks::Unknown), EVERY_MS),
            ("a conflict is not known", facts(&|pr| pr.mergeable = Unknown), EVERY_MS),
        ];
        for (what, session, expected) in table {
            assert_eq!(pace(&session, EVERY_MS, now), expected, "{what}");
            // Where the limit has to last, no look comes sooner.
            assert_eq!(pace(&session, 2 * QUIET_MS, now), 2 * QUIET_MS, "{what}");
        }
    }

    #[test]
    fn s22_a_hint_of_another_repository_makes_nobody_look() {
        let mut w = World::working("41");
        let bare = w.session(1).clone();
        w.give(Input::Link { session: app(1), pr: pr(), by: None }).unwrap();
        let linked = w.session(1).clone();
        let hint = |repo: &str, number: Option<u64>| ScmHint {
            repo: repo.into(),
            pr: number.map(ao_slots::PrNumber),
            delivery: "1".into(),
        };
        let own = "acme/my-app";
        for (session, configured, hint, expected) in [
            (&linked, Some(own), hint(own, Some(57)), true),
            (&linked, Some(own), hint("Acme/My-App", None), true),
            (&linked, Some(own), hint(own, Some(58)), false),
            (&linked, Some(own), hint("eve/my-app", Some(57)), false),
            (&bare, Some(own), hint(own, Some(58)), true),
            (&bare, Some("https://github.com/Acme/my-app.git"), hint(own, None), true),
            (&bare, Some(own), hint("eve/app", None), false),
            (&bare, Some(own), hint("eve/app", Some(1)), false),
            // Kept here, its own path is its name.
            (&bare, None, hint("/src/app", Some(1)), true),
        ] {
            assert_eq!(concerns(&hint, session, configured), expected, "{configured:?} {hint:?}");
        }
    }

    #[test]
    fn looks_come_as_seldom_as_what_is_left_lasts() {
        let quota = |remaining, spent, resets_at| Quota {
            name: "graphql".into(),
            account: "ana".into(),
            limit: 5_000,
            remaining,
            resets_at,
            spent,
        };
        for (remaining, cost, seconds, expected) in [
            // All of an hour: a look of four points each 3.6 s would do.
            (5_000, 4, 3_600, 3_600),
            // A hundred points above what is kept for humans, for half an hour.
            (1_100, 1, 1_800, 18_000),
            (1_100, 10, 1_800, 180_000),
            (1_001, 1, 1_800, 1_800_000),
            // None: until it is whole.
            (1_000, 1, 1_800, 1_800_000),
            (900, 1, 1_800, 1_800_000),
            (0, 1, 60, 60_000),
            // What costs nothing waits for nothing, nor does what is whole again.
            (0, 0, 1_800, 0),
            (0, 3, 0, 0),
        ] {
            let before = [quota(remaining + cost, 7, 10_000 + seconds)];
            let after = [quota(remaining, 7 + cost, 10_000 + seconds)];
            assert_eq!(lasts(&before, &after, 10_000), expected, "{remaining} {cost} {seconds}");
        }
        // A new window, and a limit that has not been heard of before.
        assert_eq!(lasts(&[quota(10, 900, 10)], &[quota(1_100, 2, 11_000)], 10_000), 20_000);
        assert_eq!(lasts(&[], &[quota(1_100, 2, 11_000)], 10_000), 20_000);
        assert_eq!(lasts(&[], &[], 10_000), 0);
    }
}
