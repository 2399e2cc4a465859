//! What is done about a session's pull request: what the agent was told, what came of it, and a merge.

use std::collections::BTreeMap;

use ao_slots::{
    ErrorKind, MessageId,
    call::back_off,
    fact::{Checks, PrFacts},
    scm::{MergeMethod, PrRef},
};
use serde::{Deserialize, Serialize};

use super::{Fate, Moment, Session, apply::trim_front};
use crate::{
    config::trigger::Trigger,
    decide::review::{BEHIND, lacks_the_base},
    event::{Actor, BriefPrepared, Failure, MessageQueued, PrAct, Text},
};

/// Attempts and heads that are remembered.
const KEEP: usize = 32;

/// What is done about a pull request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Follow {
    /// Which one it is at the scm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pr: Option<PrRef>,
    /// Why none could be opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unopened: Option<Unopened>,
    /// What the agent is to be told, as it stands.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub briefs: BTreeMap<Trigger, Brief>,
    /// What it was told, oldest first. Failed ones are counted until the checks have passed for the settle time, or a
    /// human steps in: checks that pass and fail by turns forget none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// The last head whose checks were seen to pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub green: Option<String>,
    /// The last head whose failed checks were run again, since they had passed on it before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rerun: Option<(String, Moment)>,
    /// They were seen to run since, or to pass.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub reran: bool,
    /// The head whose checks have not ended, and since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<(String, Moment)>,
    /// Somebody wants it merged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merge: Option<Merge>,
    /// A human wants something else done about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
    /// Words of others were passed on to the agent: what it makes of them does not merge by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tainted: Option<Moment>,
    /// But for this head, which a human has approved, or wanted to be merged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub looked: Option<String>,
}

/// What an agent is to be told about one trouble.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brief {
    /// What it is about, see [`Session::brief_key`]. Of another it says nothing.
    pub key: String,
    /// The message.
    pub text: Text,
    /// Its digest.
    pub digest: String,
    /// Whose words are in it who may not write to the repository: a human releases it first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<String>,
    /// Who released it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<Actor>,
    /// Prepared when.
    pub since: Moment,
}

/// A message about a trouble, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Which trouble.
    pub trigger: Trigger,
    /// What it was about, see [`Session::brief_key`].
    pub key: String,
    /// The checks that failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failing: Vec<String>,
    /// The remarks that were in it, see [`PrFacts::remark_ids`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
    /// The head it was about.
    pub head: String,
    /// The message.
    pub message: MessageId,
    /// When the agent surely had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<Moment>,
    /// When it was known to have failed: another head that fails too, or a turn without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Moment>,
    /// Its trouble is over, or a human has stepped in: nothing more comes of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub passed: bool,
    /// It failed since no other head came of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub idle: bool,
    /// A human had the agent told once more: it counts no longer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
    /// The turn that had it has ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub answered: bool,
}

impl Attempt {
    /// A message about the pull request as it is, of which nothing has come yet.
    fn new(trigger: Trigger, key: String, pr: &PrFacts, message: MessageId) -> Self {
        let of = |about, list: Vec<String>| if about == trigger { list } else { vec![] };
        Self {
            trigger,
            key,
            failing: of(Trigger::CiFailed, pr.failing.clone()),
            remarks: of(Trigger::ChangesRequested, remarks(pr)),
            head: pr.head.clone(),
            message,
            confirmed: None,
            failed: None,
            passed: false,
            idle: false,
            again: false,
            answered: false,
        }
    }
}

/// What a human wants done about a pull request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// What.
    pub act: PrAct,
    /// Who.
    pub by: Actor,
    /// Wanted when.
    pub when: Moment,
    /// Why it was not done; it is not tried again then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// A pull request that could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unopened {
    /// At this head of the work: what the other side refuses is not tried again before there is another commit.
    pub head: String,
    /// How often, and why not.
    #[serde(flatten)]
    pub tried: Tried,
}

/// What was tried and failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// How often.
    pub tries: u32,
    /// The last time.
    pub when: Moment,
    /// Why.
    pub failure: Failure,
}

impl Tried {
    /// It failed once more.
    pub(super) fn once_more(before: Option<Self>, failure: &Failure, when: Moment) -> Self {
        let tries = before.map_or(0, |before| before.tries).saturating_add(1);
        Self { tries, when, failure: failure.clone() }
    }

    /// When it is tried again, in awake milliseconds: what passes after 10 s, doubled each time, six times at most.
    pub fn again_at(&self) -> Option<u64> {
        let passes = matches!(self.failure.kind, ErrorKind::Transient | ErrorKind::InDoubt);
        let wait = back_off(10_000, self.tries, u64::MAX);
        let wait = wait.max(self.failure.retry_after_ms.unwrap_or(0));
        (passes && self.tries <= 6).then(|| self.when.awake.saturating_add(wait))
    }
}

/// A merge that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merge {
    /// At this head, and at no other.
    pub head: String,
    /// How; none = as the project says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<MergeMethod>,
    /// Who; none when the configuration does.
    pub by: Option<Actor>,
    /// Wanted when.
    pub when: Moment,
    /// Why it was not merged; it is not tried again then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// The resulting commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

impl Merge {
    /// It has still to be done.
    pub fn waits(&self) -> bool {
        self.failure.is_none() && self.commit.is_none()
    }
}

impl Follow {
    /// Nothing was done yet.
    pub(super) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// This is its pull request.
    pub(crate) fn is_of(&self, pr: &PrRef) -> bool {
        self.pr.as_ref().is_some_and(|known| match (&known.node, &pr.node) {
            (Some(one), Some(other)) => one == other,
            _ => known.repo == pr.repo && known.number == pr.number,
        })
    }

    /// Takes this pull request; says whether it had another before.
    pub(super) fn link(&mut self, pr: &PrRef) -> bool {
        let same = self.is_of(pr);
        let other = self.pr.is_some() && !same;
        if !same {
            // What the agent tried, and whose words it has, is so whatever its pull request.
            let attempts = std::mem::take(&mut self.attempts);
            *self = Self { attempts, tainted: self.tainted, ..Self::default() };
        }
        self.pr = Some(pr.clone());
        other
    }

    /// None could be opened at this head of the work.
    pub(super) fn not_opened(&mut self, head: &str, failure: &Failure, when: Moment) {
        let before = self.unopened.take().filter(|before| before.head == head);
        let tried = Tried::once_more(before.map(|before| before.tried), failure, when);
        self.unopened = Some(Unopened { head: head.to_owned(), tried });
    }

    /// The merge that is wanted at this head; what came of another says nothing of it.
    pub(super) fn merge_at(&mut self, head: &str) -> Option<&mut Merge> {
        self.merge.as_mut().filter(|merge| merge.head == head)
    }

    /// What its checks say of a head, and of what was tried before it.
    pub(super) fn see(&mut self, pr: &PrFacts, known: bool, when: Moment) {
        if pr.checks == Checks::Passing {
            self.green = Some(pr.head.clone());
            // What brought another head that passes has not failed.
            self.attempts.retain(|attempt| {
                let ci = attempt.trigger == Trigger::CiFailed;
                !ci || attempt.failed.is_some() || attempt.head == pr.head
            });
        }
        match (&self.pending, pr.checks) {
            (Some((head, _)), Checks::Pending | Checks::Unknown) if *head == pr.head => {}
            (_, Checks::Pending) => self.pending = Some((pr.head.clone(), when)),
            _ => self.pending = None,
        }
        self.reran |= pr.checks != Checks::Failing
            && self.rerun.as_ref().is_some_and(|(head, _)| *head == pr.head);
        if pr.checks != Checks::Failing || known {
            return;
        }
        for attempt in &mut self.attempts {
            let earlier = attempt.trigger == Trigger::CiFailed && attempt.head != pr.head;
            if earlier && !attempt.passed && attempt.confirmed.is_some() && attempt.failed.is_none()
            {
                attempt.failed = Some(when);
            }
        }
    }

    pub(super) fn runs_again(&mut self, head: &str, when: Moment) {
        (self.rerun, self.reran) = (Some((head.to_owned(), when)), false);
    }

    pub(super) fn prepare(&mut self, e: &BriefPrepared, when: Moment) {
        let brief = Brief {
            key: e.key.clone(),
            text: e.text.clone(),
            digest: e.digest.clone(),
            held: e.held.clone(),
            released: None,
            since: when,
        };
        self.briefs.insert(e.trigger, brief);
    }

    pub(super) fn told(&mut self, e: &MessageQueued, pr: Option<&PrFacts>, when: Moment) {
        let (Some(about), Some(pr)) = (&e.about, pr) else { return };
        self.attempts.push(Attempt::new(about.trigger, about.key.clone(), pr, e.message));
        trim_front(&mut self.attempts, KEEP);
        // A conflict is told in words of `ao`'s own.
        if about.trigger != Trigger::MergeConflicts {
            self.tainted = Some(when);
        }
    }

    /// Checks have passed for so long that their failure is over: what was tried before says nothing of the next one. A
    /// head that the agent was told of is not told again.
    pub(super) fn checks_are_over(&mut self) {
        let green = self.green.as_ref();
        self.attempts.retain_mut(|attempt| {
            let ci = attempt.trigger == Trigger::CiFailed;
            attempt.passed |= ci;
            !ci || attempt.failed.is_none() && green == Some(&attempt.head)
        });
    }

    /// Whether a head may hold what came of words of others, and no human has looked at it.
    pub fn is_tainted(&self, head: &str) -> bool {
        self.tainted.is_some() && self.looked.as_deref() != Some(head)
    }

    /// A human has stepped in: what failed before says nothing of what he tries.
    pub(super) fn stepped_in(&mut self) {
        self.attempts.retain(|attempt| attempt.failed.is_none());
        let talks = self.attempts.iter_mut().filter(|a| a.trigger != Trigger::CiFailed);
        talks.for_each(|attempt| attempt.passed = true);
    }
}

/// What tells the remarks apart. Where the scm does not, all are one, which changes with the discussion.
fn remarks(pr: &PrFacts) -> Vec<String> {
    match pr.remark_ids.is_empty() && pr.remarks > 0 {
        true => vec![pr.discussion.clone()],
        false => pr.remark_ids.clone(),
    }
}

impl Session {
    /// What a brief about this trouble has to be about now; none = there is no such trouble. A head that fails in the
    /// same way however often it is looked at is one trouble.
    pub fn brief_key(&self, trigger: Trigger) -> Option<String> {
        let pr = self.pr()?;
        let open =
            matches!(pr.state, ao_slots::fact::PrState::Open | ao_slots::fact::PrState::Draft);
        let key = match trigger {
            Trigger::CiFailed if pr.checks == Checks::Failing => {
                format!("{} {}", pr.head, pr.failing.join(","))
            }
            Trigger::ChangesRequested
                if pr.human_threads > 0
                    || self.open_remarks() > 0
                    || pr.review == ao_slots::fact::Review::ChangesRequested =>
            {
                format!("{} {}", pr.human_threads + pr.remarks, pr.discussion)
            }
            Trigger::BugbotComments if pr.bot_threads > 0 => {
                format!("{} {}", pr.bot_threads, pr.discussion)
            }
            Trigger::MergeConflicts if pr.mergeable == ao_slots::fact::Mergeable::Conflicting => {
                pr.head.clone()
            }
            // Whether more approvals are wanted is not known here: nobody is told before.
            Trigger::MergeConflicts if lacks_the_base(pr, 0) => format!("{} {BEHIND}", pr.head),
            _ => return None,
        };
        open.then_some(key)
    }

    /// What people said of its pull request at no line that its agent has still to see to: a turn that had it and has ended
    /// has.
    pub fn open_remarks(&self) -> u32 {
        let trigger = Trigger::ChangesRequested;
        let Some(pr) = self.pr() else { return 0 };
        let answered: Vec<&Attempt> = self
            .follow
            .attempts
            .iter()
            .filter(|attempt| attempt.trigger == trigger && attempt.answered && !attempt.again)
            .collect();
        let had = |id: &&String| answered.iter().any(|attempt| attempt.remarks.contains(id));
        let open = remarks(pr).iter().filter(|id| !had(id)).count();
        match pr.remark_ids.is_empty() {
            true if open > 0 => pr.remarks,
            _ => u32::try_from(open).unwrap_or(u32::MAX),
        }
    }

    /// Takes over what became of the messages about its pull request, before they are forgotten.
    pub(super) fn settle_attempts(&mut self) {
        let Self { follow, messages, turn_ended, .. } = self;
        follow.attempts.retain_mut(|attempt| {
            let stays = match messages.get(&attempt.message).map(|message| &message.fate) {
                Some(Fate::Confirmed { when, .. }) => {
                    attempt.confirmed.get_or_insert(*when);
                    true
                }
                // The agent has never had it.
                Some(Fate::Withdrawn { .. }) => false,
                _ => true,
            };
            let had = attempt.confirmed.zip(*turn_ended);
            attempt.answered |= had.is_some_and(|(had, ended)| had.seq < ended.seq);
            stays
        });
    }

    /// A human has the agent told of a trouble as it stands once more: what was sent about it counts no longer. Where all
    /// of that has failed, it is the last try that does not count.
    pub(super) fn tell_again(&mut self, trigger: Trigger) {
        let key = self.brief_key(trigger);
        let failing = self.pr().map(|pr| pr.failing.clone()).unwrap_or_default();
        let mine = |attempt: &&mut Attempt| attempt.trigger == trigger && !attempt.again;
        let mut waits = false;
        for attempt in self.follow.attempts.iter_mut().filter(mine) {
            attempt.again = attempt.failed.is_none() && Some(&attempt.key) == key.as_ref();
            waits |= attempt.again;
        }
        let failed =
            |attempt: &&mut Attempt| attempt.failed.is_some() && attempt.failing == failing;
        let mut attempts = self.follow.attempts.iter_mut().rev().filter(mine);
        if let Some(last) = attempts.find(failed).filter(|_| !waits) {
            last.again = true;
        }
    }

    /// A human says something to the agent. After tries that failed it is what the agent is told of its checks as they
    /// fail now; the log goes to it again when nothing comes of that.
    pub(super) fn human_told(&mut self, message: MessageId) {
        let stepped_in = self.failed_attempts() > 0;
        self.follow.stepped_in();
        let trigger = Trigger::CiFailed;
        let (Some(key), Some(pr)) = (self.brief_key(trigger), self.pr()) else { return };
        let told = |attempt: &Attempt| attempt.trigger == trigger && attempt.key == key;
        if stepped_in && !self.follow.attempts.iter().any(told) {
            let attempt = Attempt::new(trigger, key, pr, message);
            self.follow.attempts.push(attempt);
        }
    }

    /// Attempts of the agent at the present failure of its checks that have failed, but for those that a human had it
    /// told of once more.
    pub fn failed_attempts(&self) -> u32 {
        self.failed_tries(|attempt| !attempt.again)
    }

    /// All of them.
    pub fn tries(&self) -> u32 {
        self.failed_tries(|_| true)
    }

    fn failed_tries(&self, counts: impl Fn(&Attempt) -> bool) -> u32 {
        let known = self.pr().map(|pr| &pr.failing[..]).unwrap_or_default();
        // While checks run, what failed last is what was tried.
        let last = || self.heads.iter().rev().find_map(|head| head.red.as_ref());
        let failing = match known {
            [] => last().map(|(failing, _)| &failing[..]).unwrap_or_default(),
            known => known,
        };
        let same = |attempt: &&Attempt| attempt.failing == failing || failing.is_empty();
        let failed = self
            .follow
            .attempts
            .iter()
            .filter(|attempt| attempt.trigger == Trigger::CiFailed && attempt.failed.is_some());
        let failed = failed.filter(same).filter(|attempt| counts(attempt));
        u32::try_from(failed.count()).unwrap_or(u32::MAX)
    }
}
