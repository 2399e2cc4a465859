//! What a session's pull request needs: checks, reviews, conflicts, a merge.
//!
//! Facts are those of the head they were seen at. An unknown fact moves nothing: what is open stays open.

use ao_slots::fact::{Checks, Mergeable, PrFacts, PrState, Review};

use super::{Decider, incident::Cause, reaction::remarks_wait};
use crate::{
    config::trigger::Trigger,
    event::Subject,
    state::{Incident, Session, State, Want},
};

/// How much an answer of the scm may be behind, in awake milliseconds.
const LATE_MS: u64 = 120_000;

/// Of a trouble with the base: there is no conflict, but the rules demand that the branch holds it.
pub(crate) const BEHIND: &str = "behind";

/// Of `ci-failed`: nothing has failed, but the checks do not end.
pub(crate) const PENDING: &str = "pending";

/// Heads of a pull request that are remembered.
pub(crate) const KEEP_HEADS: usize = 32;

impl Decider<'_> {
    /// Causes that the pull request gives.
    pub(super) fn pr_causes<'s>(&self, session: &'s Session) -> Vec<Cause<'s>> {
        let Some(fact) = &session.pr else { return vec![] };
        let pr = &fact.value;
        let subject = Subject::Session(session.id.clone());
        let open = |trigger| self.state.open_incident(&subject, trigger, None);
        let holds = |trigger| open(trigger).is_some_and(Incident::is_open);
        let mut causes = vec![];
        let mut cause = |trigger, detail, rule| {
            causes.push(Cause {
                trigger,
                request: None,
                detail,
                sessions: vec![session.id.clone()],
                because: vec![fact.since.seq],
                rule,
            });
        };
        match pr.state {
            PrState::Closed => cause(Trigger::PrClosed, None, "pr-closed"),
            PrState::Open | PrState::Draft => {
                let known = open(Trigger::CiFailed);
                let hung = known.is_some_and(|known| known.detail.as_deref() == Some(PENDING));
                match pr.checks {
                    Checks::Pending | Checks::Unknown if self.hangs(session, known) => {
                        cause(Trigger::CiFailed, Some(PENDING), "checks-pending");
                    }
                    // Until they are known to pass, checks that failed are not mended.
                    Checks::Pending | Checks::Unknown if holds(Trigger::CiFailed) && !hung => {
                        cause(Trigger::CiFailed, None, "checks-failing");
                    }
                    // What ended after all and fails is an incident of its own: whoever heard of the other hears of it.
                    Checks::Failing if !hung => cause(Trigger::CiFailed, None, "checks-failing"),
                    _ => {}
                }
                let said = pr.human_threads > 0 || session.open_remarks() > 0;
                if pr.review == Review::ChangesRequested || said {
                    cause(Trigger::ChangesRequested, None, "changes-requested");
                }
                if pr.bot_threads > 0 {
                    cause(Trigger::BugbotComments, None, "bot-comments");
                }
                let required = required_approvals(self.state, session);
                let conflicts = open(Trigger::MergeConflicts).filter(|open| open.is_open());
                let moved = match pr.mergeable {
                    Mergeable::Conflicting => Some((None, "merge-conflicts")),
                    Mergeable::Behind if lacks_the_base(pr, required) => {
                        Some((Some(BEHIND), "behind-its-base"))
                    }
                    // Not known again yet: it is what it was.
                    Mergeable::Unknown => conflicts
                        .map(|open| (open.detail.as_ref().map(|_| BEHIND), "merge-conflicts")),
                    Mergeable::Yes | Mergeable::Blocked | Mergeable::Behind => None,
                };
                if let Some((detail, rule)) = moved {
                    cause(Trigger::MergeConflicts, detail, rule);
                }
                // Offered for one head: what is not known again yet of that very head still holds.
                let offered = open(Trigger::ApprovedAndGreen).filter(|offered| offered.is_open());
                let offered = offered.is_some_and(|o| o.detail.as_deref() == Some(&pr.head));
                if is_ready(pr, required, offered) && !remarks_wait(self.state, session) {
                    cause(Trigger::ApprovedAndGreen, Some(&pr.head), "approved-and-green");
                }
            }
            PrState::None | PrState::Merged => {}
        }
        causes
    }

    /// Its checks have not ended for so long that nobody waits for them any more; `known` is what is open of them.
    fn hangs(&self, session: &Session, known: Option<&Incident>) -> bool {
        match self.judges() {
            true => hangs_at(self.state, session).is_some_and(|at| at <= self.now.awake),
            // While nothing may be judged by time, what is open stays open.
            false => known.is_some_and(is_of_pending),
        }
    }
}

/// It tells of checks that do not end.
fn is_of_pending(incident: &Incident) -> bool {
    incident.is_open() && incident.detail.as_deref() == Some(PENDING)
}

/// When checks that do not end are an incident, in awake milliseconds.
pub(super) fn hangs_at(state: &State, session: &Session) -> Option<u64> {
    let pr = session.pr().filter(|pr| matches!(pr.state, PrState::Open | PrState::Draft))?;
    let (_, since) = session.follow.pending.as_ref().filter(|(head, _)| *head == pr.head)?;
    let limit = state.policy.reaction(Some(&session.project), Trigger::CiFailed).threshold_ms?;
    (session.intent == Want::Run).then(|| since.awake.saturating_add(limit))
}

/// The same, where nothing of it is open yet.
pub(super) fn will_hang_at(state: &State, session: &Session) -> Option<u64> {
    let subject = Subject::Session(session.id.clone());
    let known = state.open_incident(&subject, Trigger::CiFailed, None);
    hangs_at(state, session).filter(|_| !known.is_some_and(is_of_pending))
}

/// Approvals that the configuration asks for.
pub(super) fn required_approvals(state: &State, session: &Session) -> u32 {
    let project = state.policy.projects.get(&session.project);
    project.map_or(0, |project| project.required_approvals)
}

/// Approved as far as that is asked for, green, without conflict or open comment; a bot's comment does not outweigh an
/// approval. What is not known again yet is as it was where it was `known`.
pub(crate) fn is_ready(pr: &PrFacts, required: u32, known: bool) -> bool {
    let green = match pr.checks {
        Checks::Passing | Checks::None => true,
        Checks::Unknown => known,
        Checks::Pending | Checks::Failing => false,
    };
    let clean = match pr.mergeable {
        Mergeable::Yes => true,
        Mergeable::Unknown => known,
        Mergeable::Conflicting | Mergeable::Blocked | Mergeable::Behind => false,
    };
    green && clean && is_approved(pr, required)
}

/// Open, approved as far as that is asked for, without open comment.
fn is_approved(pr: &PrFacts, required: u32) -> bool {
    let approved = match pr.review {
        Review::Approved => true,
        Review::None => required == 0,
        Review::Pending | Review::ChangesRequested => false,
    };
    let quiet = pr.human_threads == 0 && (pr.bot_threads == 0 || pr.review == Review::Approved);
    pr.state == PrState::Open && approved && quiet
}

/// Nothing but its base keeps it from a merge, which has moved and has to be in it. Its agent is not asked before: each
/// merge of another one leaves it behind once more.
pub(crate) fn lacks_the_base(pr: &PrFacts, required: u32) -> bool {
    let green = matches!(pr.checks, Checks::Passing | Checks::None);
    pr.mergeable == Mergeable::Behind && green && is_approved(pr, required)
}

/// Whether facts are of a head that another has followed: they arrived late. A branch that was set back is known by
/// what lies in the workspace, or by answers that go on to say so; the end of a pull request is final whatever its head
/// was.
pub(super) fn is_overtaken(session: &Session, pr: &PrFacts, awake: u64) -> bool {
    let ended = matches!(pr.state, PrState::Merged | PrState::Closed);
    let earlier = session.heads.split_last().is_some_and(|(last, earlier)| {
        let late = awake < last.since.awake.saturating_add(LATE_MS);
        late && last.head != pr.head && earlier.iter().any(|seen| seen.head == pr.head)
    });
    earlier && !ended && session.work().is_none_or(|work| work.head != pr.head)
}
