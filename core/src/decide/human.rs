//! What a human asks for: taken, or refused with the remedy.

use std::path::Path;

use ao_slots::{
    IncidentId, ProjectId, SessionId,
    agent::{Ask, Decision},
    fact::{Activity, PrState, RuntimeState},
    text::{self, shell_word},
};

use super::{
    Answered, Decider, Input, Refusal, RefusalKind, Spawn,
    reaction::{can_be_told_again, is_followed, is_held, owner},
    schedule::set_up,
    silence::ends_in_sight,
};
use crate::{
    config::{check::nearest, policy::Closed, trigger::Trigger},
    event::{
        BriefReleased, CleanupRequested, DoneMarked, Effect, IncidentAcknowledged, IncidentSnoozed,
        KillRequested, MergeRequested, MessageRequested, Over, PrAct, PrActRequested, PrLinked,
        RequestDecided, RestoreRequested, RetryRequested, SessionRequested, Subject, TokenSpent,
    },
    state::{Brief, Incident, Request, Session, State, Step, Want},
    words,
};

impl Decider<'_> {
    pub(super) fn human(&mut self, input: &Input) -> Result<Answered, Refusal> {
        match input {
            Input::Spawn(spawn) => self.spawn(spawn),
            Input::Decide { session, request, decision, full, by } => {
                let known = self.known(session)?;
                let request = open_request(known, *request, decision, self.now.awake)?;
                let event = RequestDecided {
                    request: request.id,
                    decision: decision.clone(),
                    full: full.clone(),
                    by: by.clone(),
                };
                let (id, because) = (request.id, [request.opened.seq]);
                self.about(session, event).because(&because);
                Ok(Answered {
                    session: Some(session.clone()),
                    request: Some(id),
                    ..Answered::default()
                })
            }
            Input::Press { pressed, acts, by } => self.press(pressed, Ok(acts), by),
            Input::PressCard { incident, button, acts } => self.press_card(*incident, button, acts),
            Input::PressFailed { pressed, failure, by } => self.press(pressed, Err(failure), by),
            Input::TestPressed { token, by } => {
                self.usable(token)?;
                self.push(TokenSpent { token: token.clone(), by: by.clone() });
                Ok(Answered::default())
            }
            Input::Send { session, text, digest, by } => {
                let known = self.alive_session(session)?;
                if text.is_empty() {
                    return Err(Refusal::new(RefusalKind::Invalid, "the message is empty"));
                }
                let note = if known.has_ended() {
                    Some(format!("{session} does not run; the message waits until it is restored"))
                } else if known.open_requests().next().is_some() {
                    Some(format!("{session} waits for an answer; the message comes after that"))
                } else {
                    None
                };
                let message = self.next_message();
                let event = MessageRequested {
                    message,
                    text: text.clone(),
                    digest: digest.clone(),
                    by: by.clone(),
                };
                self.about(session, event);
                Ok(Answered {
                    session: Some(session.clone()),
                    message: Some(message),
                    note,
                    ..Answered::default()
                })
            }
            Input::Link { session, pr, by } => {
                let known = self.alive_session(session)?;
                if let Some(owner) = owner(self.state, session, pr) {
                    let message = format!("pull request {} is {owner}'s", pr.number);
                    return Err(Refusal::new(RefusalKind::Conflict, message)
                        .with_remedy(format!("ao session show {owner}")));
                }
                if known.follow.pr.as_ref() != Some(pr) {
                    self.about(session, PrLinked { pr: pr.clone(), by: by.clone() });
                }
                Ok(self.meant(session))
            }
            Input::Merge { session, head, method, by } => {
                let known = self.alive_session(session)?;
                let head = mergeable(known, head.as_deref())?;
                let wanted = known.follow.merge.as_ref();
                if !wanted.is_some_and(|merge| merge.head == head && merge.waits()) {
                    self.about(session, MergeRequested { head, method: *method, by: by.clone() });
                }
                Ok(self.meant(session))
            }
            Input::Retry { incident, by } => {
                let found = self::incident(self.state, *incident)?;
                let refuse = |message: String| {
                    Refusal::new(RefusalKind::Conflict, message)
                        .with_remedy(format!("ao why {incident}"))
                };
                let Subject::Session(id) = &found.subject else {
                    return Err(refuse(format!("{incident} is about no session")));
                };
                let known = self.alive_session(id)?;
                if let Some((other, when)) = found.again.as_ref().filter(|_| found.is_open()) {
                    let message =
                        format!("{id} was asked once more by {other}; nothing was done twice");
                    return Err(refuse(message).at(Some(when.at)));
                }
                let trigger = found.trigger;
                if !found.is_open() || !can_be_told_again(self.state, known, trigger) {
                    return Err(refuse(format!("nothing of {incident} can be sent once more")));
                }
                let event = RetryRequested { incident: *incident, trigger, by: by.clone() };
                self.about(id, event).because(&[found.stands.seq]);
                Ok(self.meant(id))
            }
            Input::ActOnPr { session, act, by } => {
                let known = self.alive_session(session)?;
                may_be_done(known, act)?;
                let asked = known.follow.asked.as_ref();
                if !asked.is_some_and(|asked| asked.act == *act && asked.failure.is_none()) {
                    self.about(session, PrActRequested { act: act.clone(), by: by.clone() });
                }
                Ok(self.meant(session))
            }
            Input::OpenPr { session, title, body, draft, base } => {
                let known = self.alive_session(session)?;
                // Opened again without `draft`, a draft is made ready.
                let is_draft = known.pr().is_some_and(|pr| pr.state == PrState::Draft);
                if *draft || !is_draft {
                    may_be_done(known, &PrAct::Open)?;
                }
                if known.busy.is_some() || known.step != Step::Ready {
                    let message = format!("{session} is busy; nothing was done");
                    return Err(Refusal::new(RefusalKind::Conflict, message)
                        .with_remedy("try again in a moment"));
                }
                let (title, body, base) = (title.clone(), body.clone(), base.clone());
                let effect = Effect::OpenPr { title, body, draft: *draft, base };
                self.intend(session, effect, "open-pull-request", &[]);
                Ok(self.meant(session))
            }
            Input::Release { incident, digest, by } => {
                let (id, trigger, brief) = held(self.state, *incident)?;
                self.alive_session(id)?;
                if brief.digest != *digest {
                    let message = "more was written since; read it again";
                    return Err(Refusal::new(RefusalKind::Conflict, message)
                        .with_remedy(format!("ao release {incident}")));
                }
                let because = [brief.since.seq];
                let event = BriefReleased { trigger, key: brief.key.clone(), by: by.clone() };
                self.about(id, event).because(&because);
                Ok(self.meant(id))
            }
            Input::Kill { session, force, by } => {
                let known = self.known(session)?;
                // Killing what is over is a success: the wish holds.
                if known.is_over() {
                    let status = known.status.as_str().replace('_', " ");
                    let note = Some(format!("{session} is already over ({status})"));
                    return Ok(Answered { note, ..self.meant(session) });
                }
                let dying = matches!(known.intent, Want::Kill(_));
                if !dying || *force && !known.forced {
                    self.about(session, KillRequested { by: by.clone(), force: *force });
                }
                Ok(self.meant(session))
            }
            Input::Done { session, by } => {
                let known = self.alive_session(session)?;
                if let Some(work) = known.work().filter(|work| !work.is_clean()) {
                    let files =
                        ao_slots::text::count(work.changed_files.into(), "file is", "files are");
                    return Err(Refusal::new(
                        RefusalKind::Conflict,
                        format!("{session}: {files} not committed"),
                    )
                    .with_remedy(format!(
                        "ao send {session} \"Commit your work.\"   or: ao session kill {session}"
                    )));
                }
                if known.intent == Want::Run {
                    self.about(session, DoneMarked { by: by.clone() });
                }
                Ok(self.meant(session))
            }
            Input::Restore { session, fresh, env_names, by } => {
                let known = self.known(session)?;
                restorable(self.state, known)?;
                self.about(
                    session,
                    RestoreRequested {
                        by: by.clone(),
                        fresh: *fresh,
                        env_names: env_names.clone(),
                    },
                );
                Ok(self.meant(session))
            }
            Input::Cleanup { session, force, by } => {
                let known = self.known(session)?;
                if !known.is_over() {
                    return Err(Refusal::new(
                        RefusalKind::Conflict,
                        format!("{session} is not over"),
                    )
                    .with_remedy(format!("ao session kill {session}")));
                }
                if known.workspace.is_some() && !known.workspace_gone && known.cleanup.is_none() {
                    self.about(session, CleanupRequested { by: by.clone(), force: *force });
                }
                Ok(self.meant(session))
            }
            Input::Acknowledge { incident, by } => {
                let known = self::incident(self.state, *incident)?;
                if let Some((how, _)) = &known.resolved {
                    return Err(Refusal::new(
                        RefusalKind::Conflict,
                        format!("{incident} is settled: {}", words::how(how)),
                    ));
                }
                if known.acknowledged.is_none() {
                    self.push(IncidentAcknowledged { incident: *incident, by: by.clone() });
                }
                Ok(Answered::default())
            }
            Input::GrantAccess { grant, hash } => self.grant_access(grant, hash),
            Input::RevokeAccess { access, by } => self.revoke_access(*access, by),
            Input::DigestNow { by } => self.digest_now(by),
            Input::SilenceAdd { matchers, until, comment, by } => {
                self.add_silence(matchers, *until, comment, by)
            }
            Input::SilenceEnd { silence, by } => self.end_silence(*silence, by),
            Input::Snooze { incident, until, by } => {
                let known = self::incident(self.state, *incident)?;
                if known.resolved.is_some() {
                    return Err(Refusal::new(
                        RefusalKind::Conflict,
                        format!("{incident} is settled"),
                    ));
                }
                ends_in_sight("snooze", *until, self.now.wall)?;
                self.push(IncidentSnoozed { incident: *incident, until: *until, by: by.clone() });
                Ok(Answered::default())
            }
            _ => Ok(Answered::default()),
        }
    }

    fn meant(&self, session: &SessionId) -> Answered {
        Answered { session: Some(session.clone()), ..Answered::default() }
    }

    fn known(&self, id: &SessionId) -> Result<&'_ Session, Refusal> {
        session(self.state, id)
    }

    fn alive_session(&self, id: &SessionId) -> Result<&'_ Session, Refusal> {
        let session = self.known(id)?;
        if session.is_over() || matches!(session.intent, Want::Kill(_)) {
            return Err(Refusal::new(
                RefusalKind::Conflict,
                format!("{id} is over ({})", session.status.as_str()),
            )
            .with_remedy(format!("ao session restore {id}")));
        }
        Ok(session)
    }

    fn spawn(&mut self, spawn: &Spawn) -> Result<Answered, Refusal> {
        let Some(project) = self.state.policy.projects.get(&spawn.project) else {
            let known: Vec<_> =
                self.state.policy.projects.keys().map(ToString::to_string).collect();
            let known = if known.is_empty() { "none yet".into() } else { known.join(", ") };
            let message = format!("there is no project {} (known: {known})", spawn.project);
            return Err(Refusal::new(RefusalKind::NotFound, message).with_remedy("ao init"));
        };
        if let Some(closed) = &project.closed {
            return Err(closed_refusal(&spawn.project, closed));
        }
        if self.state.server.disk_low.is_some() {
            let free = ao_slots::text::size(self.state.server.disk_free.unwrap_or(0));
            return Err(Refusal::new(
                RefusalKind::Conflict,
                format!("the disk is nearly full: {free} free"),
            )
            .with_remedy("ao session cleanup"));
        }
        if spawn.issue.is_none() && spawn.prompt.is_empty() {
            return Err(Refusal::new(
                RefusalKind::Invalid,
                "neither an issue nor a prompt was given",
            ));
        }
        let works_on = |session: &&Session| {
            !session.is_over() && session.project == spawn.project && session.issue == spawn.issue
        };
        if let Some(issue) = spawn.issue.as_ref().filter(|_| !spawn.force)
            && let Some(other) = self.state.sessions.values().find(works_on)
        {
            return Err(Refusal::new(
                RefusalKind::Conflict,
                format!("{} works on #{issue}", other.id),
            )
            .with_remedy(format!(
                "ao session attach {}   or: ao spawn {} {issue} --force",
                other.id, spawn.project
            )));
        }
        let at_work = |session: &&Session| {
            let on = spawn.branch.as_deref();
            session.project == spawn.project
                && session.keeps_branch()
                && branch_of(self.state, session) == on
        };
        if let Some(branch) = &spawn.branch
            && let Some(other) = self.state.sessions.values().find(at_work)
        {
            return Err(branch_taken(other, branch));
        }
        let prefix = &project.session_prefix;
        let given = self.state.given.sessions.get(prefix.as_str()).copied().unwrap_or(0);
        // The place of a new workspace may be one that another session has taken over.
        let used = |id: &SessionId| {
            let place = Path::new(spawn.project.as_str()).join(id.as_str());
            let mut made = self.state.sessions.values().filter(|session| !session.workspace_gone);
            made.any(|session| session.workspace.as_ref().is_some_and(|w| w.path.ends_with(&place)))
        };
        let mut id = SessionId::compose(prefix, given + 1);
        while used(&id) {
            id = SessionId::compose(prefix, id.number() + 1);
        }
        let draft = self.push(SessionRequested {
            by: spawn.by.clone(),
            issue: spawn.issue.clone(),
            title: spawn.title.clone(),
            prompt: spawn.prompt.clone(),
            digest: spawn.digest.clone(),
            env_names: spawn.env_names.clone(),
            agent: spawn.agent.clone(),
            branch: spawn.branch.clone(),
        });
        draft.session = Some(id.clone());
        draft.project = Some(spawn.project.clone());
        Ok(self.meant(&id))
    }
}

/// The branch that a session works on, as far as it is known.
fn branch_of<'s>(state: &'s State, session: &'s Session) -> Option<&'s str> {
    let now = session.work().and_then(|work| work.branch.as_deref());
    let made = session.workspace.as_ref().map(|made| made.branch.as_str());
    let running = session.busy.and_then(|seq| state.intents.get(&seq));
    let making = running.and_then(|intent| match &intent.effect {
        Effect::CreateWorkspace { branch, .. } => Some(branch.as_str()),
        _ => None,
    });
    now.or(made).or(making).or(session.branch.as_deref())
}

/// Two sessions never work on one branch: how a human goes on with it in place of a new one.
pub(crate) fn branch_taken(other: &Session, branch: &str) -> Refusal {
    let (id, branch) = (&other.id, ao_slots::text::one_line(branch));
    let (message, verb) = match other.is_over() {
        false => (format!("{id} works on {branch}"), "attach"),
        true => (format!("{id} is over, and keeps its workspace on {branch}"), "restore"),
    };
    Refusal::new(RefusalKind::Conflict, message).with_remedy(format!("ao session {verb} {id}"))
}

/// Whether something can be done about a session's pull request as it is now.
fn may_be_done(session: &Session, act: &PrAct) -> Result<(), Refusal> {
    let id = &session.id;
    let refuse = |message: String| {
        Refusal::new(RefusalKind::Conflict, message).with_remedy(format!("ao pr show {id}"))
    };
    let pr = session.follow.pr.as_ref();
    if *act == PrAct::Open {
        return match pr.filter(|_| is_followed(session)) {
            Some(pr) => Err(refuse(format!("{id} has pull request {} already", pr.number))),
            None => Ok(()),
        };
    }
    let (Some(pr), Some(facts)) = (pr, session.pr()) else {
        return Err(refuse(format!("{id} has no pull request")));
    };
    match act {
        PrAct::Rerun { head } if *head != facts.head => {
            let [wanted, now] = [head, &facts.head].map(|head| text::cut(head, 7));
            Err(refuse(format!(
                "the checks of pull request {} were not run again: its head was {wanted} when this was offered, and is {now} now",
                pr.number
            )))
        }
        PrAct::Reopen if facts.state != PrState::Closed => {
            Err(refuse(format!("pull request {} is not closed", pr.number)))
        }
        _ => Ok(()),
    }
}

/// The head at which a session's pull request may be merged.
fn mergeable(session: &Session, wanted: Option<&str>) -> Result<String, Refusal> {
    let id = &session.id;
    let refuse = |message: String| {
        Refusal::new(RefusalKind::Conflict, message).with_remedy(format!("ao pr show {id}"))
    };
    let (Some(pr), Some(_)) = (session.pr(), &session.follow.pr) else {
        return Err(refuse(format!("{id} has no pull request")));
    };
    let (number, head) = (pr.number, pr.head.chars().take(7).collect::<String>());
    match pr.state {
        PrState::Open => {}
        PrState::Draft => {
            let message = format!("pull request {number} is a draft");
            return Err(Refusal::new(RefusalKind::Conflict, message)
                .with_remedy(format!("make it ready: ao pr create {id}")));
        }
        PrState::Merged => return Err(refuse(format!("pull request {number} is merged already"))),
        PrState::Closed | PrState::None => {
            return Err(refuse(format!("pull request {number} is closed")));
        }
    }
    if let Some(wanted) = wanted.filter(|wanted| *wanted != pr.head) {
        let wanted: String = wanted.chars().take(7).collect();
        let message = format!(
            "pull request {number} was not merged: its head was {wanted} when this was offered, and is {head} now"
        );
        return Err(refuse(message));
    }
    Ok(pr.head.clone())
}

/// Why a project takes no new session, and what opens it.
fn closed_refusal(project: &ProjectId, closed: &Closed) -> Refusal {
    match closed {
        Closed::Gone => {
            let message = format!(
                "{project} takes no new session: no configuration file names it any more; the sessions it has go on"
            );
            Refusal::new(RefusalKind::Conflict, message).with_remedy("ao config ls")
        }
        Closed::Untrusted { file, keys } => {
            let message = format!(
                "{project} starts nothing before you trust what it runs: {}",
                keys.join(", ")
            );
            Refusal::new(RefusalKind::Unconfirmed, message)
                .with_remedy(format!("ao config trust {}", file.display()))
        }
    }
}

/// The session, or a refusal that names the nearest known one.
pub fn session<'s>(state: &'s State, id: &SessionId) -> Result<&'s Session, Refusal> {
    let none = || unknown("session", id, state.sessions.keys()).with_remedy("ao status");
    state.sessions.get(id).ok_or_else(none)
}

/// The incident, or a refusal that names the nearest known one.
pub fn incident(state: &State, id: IncidentId) -> Result<&Incident, Refusal> {
    let none = || unknown("incident", &id, state.incidents.keys()).with_remedy("ao notify log");
    state.incidents.get(&id).ok_or_else(none)
}

/// What an incident keeps from an agent until a human has read it: whose session it is, which trouble, and the words.
pub fn held(state: &State, incident: IncidentId) -> Result<(&SessionId, Trigger, &Brief), Refusal> {
    let none = || {
        let message = format!("nothing of {incident} waits for a release");
        Refusal::new(RefusalKind::Conflict, message).with_remedy(format!("ao why {incident}"))
    };
    let found = state.incidents.get(&incident).filter(|found| found.resolved.is_none());
    let found = found.ok_or_else(none)?;
    let Subject::Session(id) = &found.subject else { return Err(none()) };
    let session = state.sessions.get(id).filter(|session| is_held(session, found.trigger));
    let brief = session.and_then(|session| session.follow.briefs.get(&found.trigger));
    Ok((id, found.trigger, brief.ok_or_else(none)?))
}

fn unknown<'s, I: ToString + 's>(
    what: &str,
    id: &I,
    known: impl Iterator<Item = &'s I>,
) -> Refusal {
    let (id, known) = (id.to_string(), known.map(|id| id.to_string()).collect::<Vec<_>>());
    let near = nearest(&id, known.iter().rev().map(String::as_str));
    let hint = near.map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
    Refusal::new(RefusalKind::NotFound, format!("there is no {what} {id}{hint}"))
}

/// The request that a decision is meant for. A decision never goes to any other, whatever is open now.
fn open_request<'s>(
    session: &'s Session,
    wanted: Option<ao_slots::RequestId>,
    decision: &Decision,
    awake: u64,
) -> Result<&'s Request, Refusal> {
    let id = &session.id;
    let late = |request: Option<&Request>| {
        let decided = request.and_then(|request| request.decided.as_ref());
        let ended = request.and_then(|request| request.ended.as_ref());
        let (tail, at) = match (decided, ended.map(|(how, when)| (how.as_str(), when.at))) {
            (Some(d), _) => (format!("; {} answered it", d.by), Some(d.when.at)),
            (None, Some(("in-terminal", at))) => {
                ("; it was answered in its terminal".into(), Some(at))
            }
            (None, Some(("restarted", _))) => ("; it ended or was restarted since".into(), None),
            (None, Some(("over", _))) => ("; the session is over".into(), None),
            (None, Some(_)) => ("; it went on since".into(), None),
            (None, None) => (String::new(), None),
        };
        Refusal::new(RefusalKind::Conflict, format!("{id} asks nothing now{tail}"))
            .at(at)
            .with_remedy(format!("ao send {id} \"…\" (a message, not an answer)"))
    };
    let fits = |request: &&Request| {
        matches!(
            (&request.ask, decision),
            (Ask::Permission { .. }, Decision::Approve | Decision::Deny { .. })
                | (Ask::Question { .. }, Decision::Answer { .. } | Decision::Deny { .. })
        )
    };
    let request = match wanted {
        Some(wanted) => match session.requests.get(&wanted) {
            Some(request) if request.ended.is_none() => request,
            other => return Err(late(other)),
        },
        None => {
            let undecided = |r: &&Request| fits(r) && r.decided.is_none();
            let waiting: Vec<&Request> = session.open_requests().filter(undecided).collect();
            match waiting.as_slice() {
                [one] => *one,
                [] => {
                    let mut open = session.open_requests();
                    let decided = session.open_requests().find(fits);
                    decided
                        .or_else(|| open.next())
                        .ok_or_else(|| late(session.requests.values().next_back()))?
                }
                // Nobody guesses which of them was meant.
                [first, ..] => {
                    let ids: Vec<_> = waiting.iter().map(|r| r.id.to_string()).collect();
                    let message =
                        format!("{id} waits for {} answers: {}", ids.len(), ids.join(", "));
                    return Err(Refusal::new(RefusalKind::Conflict, message)
                        .with_remedy(decide_command(id, first)));
                }
            }
        }
    };
    if !fits(&request) {
        let command = decide_command(id, request);
        let verb = match request.ask {
            Ask::Permission { .. } => format!("it wants a permission: {command}"),
            Ask::Question { .. } => format!("it asks a question: {command}"),
        };
        return Err(Refusal::new(RefusalKind::Conflict, format!("{id} does not wait for that"))
            .with_remedy(verb));
    }
    match &request.decided {
        // One that could not be handed over, or was not confirmed in time, may be decided anew.
        Some(decided)
            if !matches!(decided.handed, Some(Err(_)))
                && request.doubted_at().is_none_or(|at| awake < at) =>
        {
            let message =
                format!("{id} is already answered, by {}; nothing was done twice", decided.by);
            Err(Refusal::new(RefusalKind::Conflict, message).with_remedy(format!("ao why {id}")))
        }
        _ => Ok(request),
    }
}

/// The command that decides exactly this request.
fn decide_command(session: &SessionId, request: &Request) -> String {
    let id = request.id;
    match request.ask {
        Ask::Permission { .. } => {
            format!("ao approve {session} {id}   or: ao deny {session} {id}")
        }
        Ask::Question { .. } => format!("ao answer {session} --request {id} \"…\""),
    }
}

/// A human was told that it has not got its task: nothing is lost by starting it anew.
fn lacks_its_task(state: &State, session: &Session) -> bool {
    let subject = Subject::Session(session.id.clone());
    let told = state.open_incident(&subject, Trigger::PromptUndelivered, None);
    told.is_some_and(Incident::is_open) && session.undelivered().is_some_and(|m| m.first)
}

/// It runs and cannot go on.
pub(super) fn hangs(state: &State, session: &Session) -> bool {
    let silent = matches!(
        session.activity.value,
        Activity::Errored { .. } | Activity::Exited | Activity::NoSignal
    );
    set_up(session)
        && (state.is_stuck(session)
            || session.runtime_state.value == RuntimeState::Unknown
            || silent
            || lacks_its_task(state, session))
}

/// Whether a session can be started again: it has ended, it is over, or it runs and cannot go on.
fn restorable(state: &State, session: &Session) -> Result<(), Refusal> {
    let id = &session.id;
    let conflict = |message: String| Refusal::new(RefusalKind::Conflict, message);
    if session.restore.is_some() {
        return Err(conflict(format!("{id} is being restored")));
    }
    let anew = |on: &str| match &session.issue {
        Some(issue) => format!("ao spawn {} {issue}{on}", session.project),
        None => format!("ao spawn {}{on} --prompt \"…\"", session.project),
    };
    // What could not be undone may hold work: a new session goes on with it.
    let never_started = || {
        let kept = session.workspace.as_ref().filter(|_| !session.workspace_gone);
        let on = kept.map(|made| format!(" --branch {}", shell_word(&made.branch)));
        conflict(format!("{id} was never started")).with_remedy(anew(&on.unwrap_or_default()))
    };
    match session.over {
        Some((Over::Merged, _)) => {
            return Err(conflict(format!("{id} is merged")).with_remedy(anew("")));
        }
        Some((Over::Failed, _)) => return Err(never_started()),
        _ if session.launch.0 == 0 => return Err(never_started()),
        _ => {}
    }
    if session.over.is_none() && session.intent != Want::Run {
        return Err(conflict(format!("{id} is still being ended; try again in a moment")));
    }
    if !session.has_ended() && session.over.is_none() && !hangs(state, session) {
        return Err(conflict(format!("{id} runs; restoring would end what it does"))
            .with_remedy(format!("ao session attach {id}   or: ao session kill {id}")));
    }
    if session.busy.is_some() || session.cleanup.is_some() {
        return Err(conflict(format!("{id} is still at work on its end; try again in a moment")));
    }
    Ok(())
}
