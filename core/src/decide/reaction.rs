//! What `ao` does by itself about a pull request: tells the agent, runs a flaky check again, merges. And what it does
//! about an agent, where the configuration says so: starts it again, ends its session.
//!
//! Each rule reads what stands. A message is about one trouble at one moment ([`Session::brief_key`]); when that has
//! passed before the agent had it, it is withdrawn. What failed is counted by what fails, until the checks have passed for
//! the settle time or a human steps in.

use ao_slots::{
    SessionId,
    fact::{Activity, Checks, Mergeable, PrFacts, PrState, RuntimeState},
    scm::PrRef,
};

use super::{Decider, cause::muted_by, human::hangs, schedule::settles_at};
use crate::{
    config::{
        policy::{Reaction, ReactionAction},
        trigger::Trigger,
    },
    event::{
        About, AttemptFailed, Effect, KillDecided, MergeDecided, MessageQueued, MessageWithdrawn,
        RestoreDecided, Subject,
    },
    state::{Attempt, Brief, Due, Fate, Incident, QueuedMessage, Session, State, Step, Want},
};

/// The troubles that an agent is told of.
pub(crate) const TOLD: [Trigger; 4] = [
    Trigger::CiFailed,
    Trigger::MergeConflicts,
    Trigger::ChangesRequested,
    Trigger::BugbotComments,
];

/// How long after its turn an agent's push may still be unknown, in awake milliseconds: the longest pause between two
/// looks at a pull request whose agent was just at work, twice.
const PUSH_SEEN_MS: u64 = 120_000;

/// How long an agent's commit may stay unpushed, or what it did unseen, in awake milliseconds: it is asked again then.
const UNPUSHED_MS: u64 = 600_000;

/// Messages about comments that an agent gets at one head. Whoever goes on talking after that, itself perhaps, talks to a
/// human.
pub(crate) const TALKS: usize = 3;

/// How long checks that run again may stay as they were, in awake milliseconds.
const RERUN_SEEN_MS: u64 = 600_000;

/// Whether this trouble goes to the agent.
fn goes_to_agent(reaction: &Reaction) -> bool {
    reaction.auto && reaction.action == ReactionAction::SendToAgent
}

/// The brief on which a trouble's message waits, and that has to be prepared for it: by its key.
pub(crate) fn wanted_brief(state: &State, session: &Session, trigger: Trigger) -> Option<String> {
    let reaction = state.policy.reaction(Some(&session.project), trigger);
    let key = session.brief_key(trigger).filter(|_| goes_to_agent(reaction) && follows(session))?;
    let known = session.follow.briefs.get(&trigger).is_some_and(|brief| brief.key == key);
    (!known).then_some(key)
}

/// It is set up, and nobody has ended it.
fn follows(session: &Session) -> bool {
    !session.is_over() && session.intent == Want::Run && session.step == Step::Ready
}

/// Its words are held until a human releases them.
pub(crate) fn is_held(session: &Session, trigger: Trigger) -> bool {
    let brief = session.follow.briefs.get(&trigger);
    brief.is_some_and(|brief| {
        !brief.held.is_empty()
            && brief.released.is_none()
            && session.brief_key(trigger).as_ref() == Some(&brief.key)
    })
}

/// Two tries in a row at the same failure brought nothing at all: a third one would not either.
pub(super) fn is_in_place(session: &Session) -> bool {
    let mut tries = session.follow.attempts.iter().rev();
    let idle = |attempt: Option<&Attempt>| {
        attempt
            .filter(|attempt| attempt.trigger == Trigger::CiFailed && attempt.idle)
            .filter(|attempt| !attempt.again)
            .map(|attempt| attempt.failing.clone())
    };
    idle(tries.next()).is_some_and(|last| idle(tries.next()) == Some(last))
}

/// What people said at no line is on its way to the agent, or is with it: a merge waits for the end of that turn. Nobody
/// can resolve it, so it keeps nothing back where it does not go there.
pub(super) fn remarks_wait(state: &State, session: &Session) -> bool {
    let trigger = Trigger::ChangesRequested;
    session.open_remarks() > 0
        && goes_to_agent(state.policy.reaction(Some(&session.project), trigger))
        && follows(session)
        && !session.has_ended()
        && !is_held(session, trigger)
        && !is_talked_out(session, trigger)
}

/// More was said about one head than the agent is told: a change of its code would have helped by now.
pub(crate) fn is_talked_out(session: &Session, trigger: Trigger) -> bool {
    let comments = matches!(trigger, Trigger::ChangesRequested | Trigger::BugbotComments);
    let (Some(pr), Some(key)) = (session.pr(), session.brief_key(trigger)) else { return false };
    let attempts = session.follow.attempts.iter().filter(|attempt| attempt.trigger == trigger);
    let told: Vec<&Attempt> =
        attempts.filter(|a| a.head == pr.head && !a.passed && !a.again).collect();
    comments && told.len() >= TALKS && !told.iter().any(|attempt| attempt.key == key)
}

/// What it says is about a head.
pub(super) fn is_of_a_head(message: &QueuedMessage) -> bool {
    let about = message.about.as_ref().map(|about| about.trigger);
    matches!(about, Some(Trigger::CiFailed | Trigger::MergeConflicts))
}

/// Until when a message about a head waits, in awake milliseconds: a turn has ended since it was queued, and may have
/// brought another head that was not seen yet.
pub(super) fn waits_for_push(session: &Session, message: &QueuedMessage) -> Option<u64> {
    let ended = session.turn_ended.filter(|ended| ended.seq > message.queued.seq)?;
    let (work, pr) = (session.work()?, session.pr()?);
    let looked = session.work_looked.is_some_and(|when| when.seq > ended.seq);
    let same = looked && (work.head == pr.head || work.head.is_empty());
    (is_of_a_head(message) && !same).then(|| ended.awake.saturating_add(PUSH_SEEN_MS))
}

/// The merge that the configuration wants is not refused: nobody has to be asked.
pub(super) fn merges_alone(state: &State, session: &Session, incident: &Incident) -> bool {
    let reaction = state.policy.reaction(Some(&session.project), Trigger::ApprovedAndGreen);
    let refused = session.follow.merge.as_ref().is_some_and(|merge| {
        merge.failure.is_some() && incident.detail.as_deref() == Some(&merge.head)
    });
    let head = incident.detail.as_deref().unwrap_or_default();
    reaction.merges() && !session.follow.is_tainted(head) && !refused
}

/// The trouble that a message is about has passed. What is not known has not.
fn has_passed(session: &Session, about: &About) -> bool {
    let Some(pr) = session.pr() else { return true };
    let unknown = match about.trigger {
        Trigger::CiFailed => pr.checks == Checks::Unknown,
        Trigger::MergeConflicts => pr.mergeable == Mergeable::Unknown,
        _ => false,
    };
    let same_head = about.key.starts_with(&pr.head);
    !(unknown && same_head) && session.brief_key(about.trigger).as_ref() != Some(&about.key)
}

/// Checks failed on a head on which they had passed: they are run again once before anybody is bothered. Says until
/// when their answer is waited for.
enum Flaky {
    /// They have to be run again.
    Now,
    /// They run, until this awake time at most.
    Until(u64),
    /// They fail for good.
    No,
}

fn flaky(session: &Session, pr: &PrFacts) -> Flaky {
    match &session.follow.rerun {
        Some((head, when)) if *head == pr.head => match session.follow.reran {
            true => Flaky::No,
            false => Flaky::Until(when.awake.saturating_add(RERUN_SEEN_MS)),
        },
        _ if session.follow.green.as_ref() == Some(&pr.head) => Flaky::Now,
        _ => Flaky::No,
    }
}

/// Whether a human can have the agent told of a trouble once more: it goes to the agent as it stands, and nothing holds it.
pub(crate) fn can_be_told_again(state: &State, session: &Session, trigger: Trigger) -> bool {
    let reaction = state.policy.reaction(Some(&session.project), trigger);
    TOLD.contains(&trigger)
        && goes_to_agent(reaction)
        && follows(session)
        && session.brief_key(trigger).is_some()
        && !is_held(session, trigger)
}

/// The incident about a trouble that is left to the agent, as long as another try is of use.
fn left_to_agent<'s>(
    state: &'s State,
    session: &Session,
    trigger: Trigger,
) -> Option<&'s Incident> {
    let reaction = state.policy.reaction(Some(&session.project), trigger);
    let subject = Subject::Session(session.id.clone());
    let incident = state.open_incident(&subject, trigger, None)?;
    let spent = match trigger {
        Trigger::CiFailed => {
            reaction.retries > 0 && session.failed_attempts() >= reaction.retries
                || is_in_place(session)
        }
        trigger => is_talked_out(session, trigger),
    };
    (goes_to_agent(reaction) && incident.is_open() && !spent).then_some(incident)
}

/// The head whose checks have to be run again before the agent is bothered.
fn to_rerun(state: &State, session: &Session) -> Option<String> {
    let pr = session.pr().filter(|pr| pr.checks == Checks::Failing)?;
    left_to_agent(state, session, Trigger::CiFailed)?;
    matches!(flaky(session, pr), Flaky::Now).then(|| pr.head.clone())
}

/// What the agent is to be told of a trouble.
struct Telling<'s> {
    incident: &'s Incident,
    brief: &'s Brief,
    /// Not before this awake time.
    from: u64,
}

fn telling<'s>(state: &'s State, session: &'s Session, trigger: Trigger) -> Option<Telling<'s>> {
    let pr = session.pr()?;
    let incident = left_to_agent(state, session, trigger)?;
    let key = session.brief_key(trigger)?;
    let brief = session.follow.briefs.get(&trigger).filter(|brief| brief.key == key)?;
    let told = session.follow.attempts.iter().any(|attempt| {
        let same = attempt.trigger == trigger && attempt.key == key && !attempt.again;
        same && !(attempt.idle && trigger == Trigger::CiFailed)
    });
    let from = match flaky(session, pr) {
        _ if trigger != Trigger::CiFailed => 0,
        Flaky::Now => return None,
        Flaky::Until(at) => at,
        Flaky::No => 0,
    };
    (!told && !is_held(session, trigger)).then_some(Telling { incident, brief, from })
}

/// When the turn after an attempt counts as one that brought nothing.
fn idle_at(session: &Session, attempt: &Attempt) -> Option<u64> {
    let pr = session.pr()?;
    let ended = session.turn_ended.filter(|_| session.activity.value == Activity::Idle)?;
    let confirmed = attempt.confirmed.filter(|confirmed| confirmed.seq < ended.seq)?;
    let stands = attempt.failed.is_none()
        && !attempt.again
        && attempt.trigger == Trigger::CiFailed
        && attempt.head == pr.head
        && pr.checks == Checks::Failing;
    let looked = session.work_looked.is_some_and(|when| when.seq > ended.seq);
    let wait = match session.work() {
        None => PUSH_SEEN_MS,
        Some(work) if looked && (work.head == pr.head || work.head.is_empty()) => PUSH_SEEN_MS,
        Some(_) => UNPUSHED_MS,
    };
    stands.then(|| ended.awake.max(confirmed.awake).saturating_add(wait))
}

/// When the rules about a session's pull request are to be looked at again.
pub(super) fn dues(state: &State, session: &Session) -> Vec<Due> {
    if !follows(session) {
        return vec![];
    }
    let idle = session.follow.attempts.iter().filter_map(|attempt| idle_at(session, attempt));
    let told = TOLD.iter().filter_map(|trigger| Some(telling(state, session, *trigger)?.from));
    let judges = state.unswept_since.is_none();
    let offered = auto_merge(state, session).filter(|_| judges);
    let merge = offered.map(|incident| settles_at(state, incident));
    // What may be told at once is told when what it rests on comes in.
    let told = told.filter(|from| *from > 0);
    let opens = opens_at(state, session).filter(|at| *at > 0);
    idle.chain(told).chain(merge).chain(opens).map(Due::Awake).collect()
}

/// The offer that the configuration takes once it has settled, and while the scm answers.
fn auto_merge<'s>(state: &'s State, session: &Session) -> Option<&'s Incident> {
    let subject = Subject::Session(session.id.clone());
    let offered = state.open_incident(&subject, Trigger::ApprovedAndGreen, None)?;
    let head = offered.detail.as_deref().filter(|_| offered.is_open())?;
    let wanted = session.follow.merge.as_ref().is_some_and(|merge| merge.head == head);
    let away = state.scm_away.contains_key(&session.project);
    (!wanted && !away && merges_alone(state, session, offered)).then_some(offered)
}

/// What the configuration has `ao` do about the session of an incident: nobody hears of it then. Not where a human is
/// at it; and an agent is started again once in a while only, since what ended it may do it once more.
pub(super) fn done_alone(state: &State, incident: &Incident) -> Option<ReactionAction> {
    let Subject::Session(id) = &incident.subject else { return None };
    let session = state.sessions.get(id)?;
    let reaction = state.policy.reaction(Some(&session.project), incident.trigger);
    let may = match reaction.action {
        ReactionAction::Kill => true,
        ReactionAction::Restart => {
            let pause = state.policy.lifecycle.restore_again_after_ms;
            let again = session.restores.last().map(|when| when.awake.saturating_add(pause));
            (session.has_ended() || hangs(state, session))
                && session.runtime_state.value != RuntimeState::Unknown
                && again.is_none_or(|at| at <= incident.stands.awake)
        }
        _ => false,
    };
    let lives = !session.is_over() && session.intent == Want::Run && session.restore.is_none();
    let taken =
        incident.acknowledged.is_some() || incident.snoozed.is_some() || state.present.types_in(id);
    let alone = reaction.auto && may && lives && !taken && incident.is_open();
    (alone && muted_by(state, incident).is_none()).then_some(reaction.action)
}

/// When that is done, in awake milliseconds: once the incident has lasted, and nothing else is being done.
pub(super) fn done_alone_at(state: &State, incident: &Incident) -> Option<u64> {
    done_alone(state, incident)?;
    let Subject::Session(id) = &incident.subject else { return None };
    let free = state.sessions.get(id)?.busy.is_none() && state.unswept_since.is_none();
    free.then(|| settles_at(state, incident))
}

/// When a pull request is opened by itself, in awake milliseconds. One that was refused is tried again once there is
/// another commit.
fn opens_at(state: &State, session: &Session) -> Option<u64> {
    let project = state.policy.projects.get(&session.project);
    let scm = project.and_then(|project| project.scm.as_ref());
    let wanted = scm.is_some_and(|scm| scm.settings["autoOpen"] == true);
    let ended = session.turn_ended.filter(|_| wanted && session.busy.is_none())?;
    let idle = session.activity.value == Activity::Idle && session.follow.pr.is_none();
    // What lies there must have been looked at after the turn.
    let looked = session.work_looked.is_some_and(|when| when.seq > ended.seq);
    let work =
        session.work().filter(|work| idle && looked && work.is_clean() && work.commits > 0)?;
    match session.follow.unopened.as_ref().filter(|one| one.head == work.head) {
        Some(unopened) => unopened.tried.again_at(),
        None => Some(0),
    }
}

impl Decider<'_> {
    /// Does about an incident what the configuration says, without a human.
    pub(super) fn act_alone(&mut self, incident: &Incident) -> bool {
        let due = done_alone_at(self.state, incident).is_some_and(|at| self.now.awake >= at);
        let action = done_alone(self.state, incident).filter(|_| due);
        let (Some(action), Subject::Session(id)) = (action, &incident.subject) else {
            return false;
        };
        let cause = incident.trigger;
        let draft = match action {
            ReactionAction::Kill => self.about(id, KillDecided { cause }).rule("kill-by-itself"),
            _ => self.about(id, RestoreDecided { cause }).rule("restart-by-itself"),
        };
        draft.because(&[incident.stands.seq]);
        true
    }

    /// What follows for a session's pull request.
    pub(super) fn react(&mut self, session: &Session) {
        if !follows(session) {
            return;
        }
        let rules: [fn(&mut Self, &Session); 5] =
            [Self::act_on_pr, Self::open_pr, Self::merge, Self::count_idle, Self::tell_agent];
        for rule in rules {
            rule(self, session);
            if !self.drafts.is_empty() {
                return;
            }
        }
    }

    /// A message about what has passed is no use to the agent.
    pub(super) fn withdraw_passed(&mut self, session: &Session) {
        if !follows(session) {
            return;
        }
        let busy = session.busy.and_then(|seq| self.state.intents.get(&seq));
        for message in session.messages.values().filter(|m| m.fate == Fate::Waiting) {
            let typed = busy.is_some_and(|intent| match &intent.effect {
                Effect::TypeMessage { message: typed }
                | Effect::HandOverMessage { message: typed, .. } => *typed == message.id,
                _ => false,
            });
            let passed = message.about.as_ref().is_some_and(|about| has_passed(session, about));
            if passed && !typed {
                let reason = "what it is about has passed".to_owned();
                let because: Vec<_> = session.pr.iter().map(|fact| fact.since.seq).collect();
                self.about(&session.id, MessageWithdrawn { message: message.id, reason })
                    .rule("trouble-passed")
                    .because(&because);
            }
        }
    }

    /// What a human asked for, as soon as nothing else is being done.
    fn act_on_pr(&mut self, session: &Session) {
        let asked = session.follow.asked.as_ref().filter(|asked| asked.failure.is_none());
        if let Some(asked) = asked.filter(|_| session.busy.is_none()) {
            self.intend(&session.id, asked.act.effect(), "asked-for", &[asked.when.seq]);
        }
    }

    /// A turn that ended with a clean tree and commits ahead of base: its pull request is opened, where the scm's
    /// `autoOpen` says so.
    fn open_pr(&mut self, session: &Session) {
        if opens_at(self.state, session).is_some_and(|at| self.now.awake >= at) {
            let effect = Effect::OpenPr { title: None, body: None, draft: false, base: None };
            let because: Vec<_> = session.turn_ended.iter().map(|when| when.seq).collect();
            self.intend(&session.id, effect, "auto-open", &because);
        }
    }

    /// A merge that a human or the configuration wants. Another head than the wanted one is refused where it is done.
    fn merge(&mut self, session: &Session) {
        if let Some(merge) = session.follow.merge.as_ref().filter(|merge| merge.waits()) {
            if session.busy.is_none() {
                let project = self.state.policy.projects.get(&session.project);
                let method = merge.method.or_else(|| project?.merge_method);
                let effect = Effect::MergePr { head: merge.head.clone(), method };
                self.intend(&session.id, effect, "merge", &[merge.when.seq]);
            }
            return;
        }
        if let Some(offered) = auto_merge(self.state, session)
            && self.judges()
            && self.now.awake >= settles_at(self.state, offered)
            && let Some(head) = &offered.detail
        {
            self.about(&session.id, MergeDecided { head: head.clone() })
                .rule("auto-merge")
                .because(&[offered.stands.seq]);
        }
    }

    /// A turn that brought no other head is an attempt that failed.
    fn count_idle(&mut self, session: &Session) {
        for attempt in &session.follow.attempts {
            if idle_at(session, attempt).is_some_and(|at| self.now.awake >= at) {
                let because: Vec<_> = session.turn_ended.iter().map(|when| when.seq).collect();
                self.about(&session.id, AttemptFailed { message: attempt.message })
                    .rule("no-new-commit")
                    .because(&because);
            }
        }
    }

    /// Sends what is wrong to the agent: once for each trouble as it stands.
    fn tell_agent(&mut self, session: &Session) {
        for trigger in TOLD {
            if trigger == Trigger::CiFailed
                && let Some(head) = to_rerun(self.state, session)
            {
                if session.busy.is_none() {
                    let effect = Effect::RerunChecks { head };
                    let because: Vec<_> = session.pr.iter().map(|fact| fact.since.seq).collect();
                    return self.intend(&session.id, effect, "flaky-checks", &because);
                }
                continue;
            }
            let Some(told) = telling(self.state, session, trigger) else { continue };
            if self.now.awake < told.from {
                continue;
            }
            let event = MessageQueued {
                message: self.next_message(),
                text: told.brief.text.clone(),
                digest: told.brief.digest.clone(),
                first: false,
                incident: Some(told.incident.id),
                about: Some(About { trigger, key: told.brief.key.clone() }),
            };
            let because = [told.incident.opened.seq, told.brief.since.seq];
            self.about(&session.id, event).rule("tell-agent").because(&because);
            return;
        }
    }
}

/// Its pull request is known, and not at its end.
pub(crate) fn is_followed(session: &Session) -> bool {
    let ended =
        session.pr().is_some_and(|pr| matches!(pr.state, PrState::Merged | PrState::Closed));
    session.follow.pr.is_some() && !ended
}

/// The other session whose pull request this is: there is one at most.
pub(super) fn owner(state: &State, session: &SessionId, pr: &PrRef) -> Option<SessionId> {
    let mut others =
        state.sessions.values().filter(|other| other.id != *session && !other.is_over());
    others.find(|other| other.follow.is_of(pr)).map(|other| other.id.clone())
}
