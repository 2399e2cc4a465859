//! The scm: what scenarios tell of pull requests, or a forge where these really stand.

use std::collections::BTreeSet;

use ao_core::{
    config::trigger::Trigger,
    decide::{Input, Told},
    event::{About, Effect, Failure, Outcome, Text, digest},
    state::{Fate, Step, Want},
};
use ao_slots::{
    ErrorKind, PrNumber, SessionId,
    fact::{Checks, Mergeable, PrFacts, PrState, Review},
    scm::PrRef,
    workspace::Removal,
};

use super::sim::Sim;

/// A forge that is looked at. Each pull request stands with its agent, see [`super::sim::Agent::pr`].
#[derive(Debug)]
pub(crate) struct Forge {
    /// How the repository is called today.
    pub(crate) repo: String,
    /// It does not answer.
    pub(crate) away: Option<Failure>,
    /// It answers, and says nothing of pull requests.
    pub(crate) partial: bool,
    /// Who wrote the open comments without having a right to write.
    pub(crate) strangers: BTreeSet<&'static str>,
    /// It takes no merge.
    pub(crate) locked: bool,
}

impl Default for Forge {
    fn default() -> Self {
        let strangers = BTreeSet::new();
        Self { repo: "acme/my-app".into(), away: None, partial: false, strangers, locked: false }
    }
}

pub(crate) fn bad_gateway() -> Failure {
    Failure { kind: ErrorKind::Transient, ..Failure::permanent("HTTP 502") }
}

fn refused(message: &str) -> Failure {
    Failure { kind: ErrorKind::Refused, ..Failure::permanent(message) }
}

impl Sim {
    /// The scm has news of a pull request.
    pub(crate) fn pr(&mut self, id: &SessionId, change: impl FnOnce(&mut PrFacts)) {
        let agent = self.agents.get_mut(id).unwrap();
        change(&mut agent.pr);
        agent.pr.number = PrNumber(u64::from(id.number()));
        let pr = agent.pr.clone();
        self.give(Input::Pr { session: id.clone(), pr });
        self.tells_agent(id);
    }

    /// What the agent is to be told about its pull request is prepared, and it has it.
    fn tells_agent(&mut self, id: &SessionId) {
        self.prepares_briefs(id, &[]);
        let Some(session) = self.state.sessions.get(id) else { return };
        let waits = session.messages.values().filter(|m| m.fate == Fate::Waiting);
        let waits: Vec<_> = waits.filter(|m| m.about.is_some()).map(|m| m.digest.clone()).collect();
        for digest in waits {
            self.tell(id, [Told::TextSeen { digest }]);
        }
    }

    /// The agent pushes another commit: checks begin anew.
    pub(crate) fn pushes(&mut self, id: &SessionId) {
        self.keys += 1;
        let head = format!("{:07x}", 0x0a1_0000 + self.keys);
        self.pr(id, |pr| {
            pr.head = head;
            pr.state = PrState::Open;
            pr.checks = Checks::Pending;
            pr.failing.clear();
        });
    }

    pub(crate) fn ci(&mut self, id: &SessionId, checks: Checks) {
        self.pr(id, |pr| {
            pr.checks = checks;
            pr.failing = if checks == Checks::Failing { vec!["build".into()] } else { vec![] };
        });
    }

    pub(crate) fn review(&mut self, id: &SessionId, review: Review, human_threads: u32) {
        self.pr(id, |pr| (pr.review, pr.human_threads) = (review, human_threads));
    }

    pub(crate) fn mergeable(&mut self, id: &SessionId, mergeable: Mergeable) {
        self.pr(id, |pr| pr.mergeable = mergeable);
    }

    /// The forge of all pull requests answers, or does not.
    pub(crate) fn forge_answers(&mut self, failure: Option<Failure>) {
        let project = "my-app".parse().unwrap();
        let _ = self.give(Input::Scm { project, failure });
    }

    /// The pull request is merged, at the forge or by a button.
    pub(crate) fn merges(&mut self, id: &SessionId) {
        self.pr(id, |pr| pr.state = PrState::Merged);
        self.judge.over_all(id, self.now);
    }

    /// What the agent is to be told about its pull request is prepared, with words of these strangers in it.
    fn prepares_briefs(&mut self, id: &SessionId, strangers: &[String]) {
        for trigger in [
            Trigger::CiFailed,
            Trigger::MergeConflicts,
            Trigger::ChangesRequested,
            Trigger::BugbotComments,
        ] {
            let session = self.state.sessions.get(id);
            let Some(key) = session.and_then(|session| session.brief_key(trigger)) else {
                continue;
            };
            let comments = matches!(trigger, Trigger::ChangesRequested | Trigger::BugbotComments);
            let held = if comments { strangers.to_vec() } else { vec![] };
            let said = format!("{trigger} {key}");
            let (about, text) = (About { trigger, key }, Text::short(&said));
            let (session, digest) = (id.clone(), digest(&said));
            self.give(Input::Brief { session, about, text, digest, held });
        }
    }

    // ---- a forge that is looked at

    /// The reference of a session's pull request.
    pub(crate) fn pr_ref(&self, id: &SessionId) -> PrRef {
        let repo = self.forge.as_ref().map(|forge| forge.repo.clone()).unwrap_or_default();
        let number = self.agents[id].pr.number;
        PrRef { repo, number, node: Some(format!("PR_{number}")) }
    }

    /// Looks at a session's pull request, and prepares what the agent is to be told of it.
    pub(crate) fn looks(&mut self, id: &SessionId) {
        let (Some(forge), Some(session)) = (&self.forge, self.state.sessions.get(id)) else {
            return;
        };
        if session.is_over() || session.intent != Want::Run || session.step != Step::Ready {
            return;
        }
        if let Some(failure) = forge.away.clone() {
            return self.forge_answers(Some(failure));
        }
        let held: Vec<String> = forge.strangers.iter().map(ToString::to_string).collect();
        let pr = self.agents[id].pr.clone();
        if !forge.partial && pr.state != PrState::None {
            let at = self.pr_ref(id);
            self.give(Input::Link { session: id.clone(), pr: at, by: None });
            self.give(Input::Pr { session: id.clone(), pr });
        }
        self.forge_answers(None);
        self.prepares_briefs(id, &held);
    }

    /// Performs an effect there; none where it is no matter of the forge, or there is none.
    pub(crate) fn at_forge(
        &mut self,
        id: &SessionId,
        effect: &Effect,
    ) -> Option<Result<Outcome, Failure>> {
        let forge = self.forge.as_ref()?;
        let (away, locked) = (forge.away.clone(), forge.locked);
        let pr = &mut self.agents.get_mut(id)?.pr;
        let deed = match effect {
            Effect::MergePr { .. } | Effect::RerunChecks { .. } if away.is_some() => {
                return away.map(Err);
            }
            Effect::MergePr { head, .. } => {
                let refusal = match pr.state {
                    // Done once at that head, however often it is asked for.
                    PrState::Merged if pr.head == *head => {
                        return Some(Ok(Outcome::Merged { commit: head.clone() }));
                    }
                    _ if pr.head != *head => Some("its head is another"),
                    PrState::Open if !locked => None,
                    _ => Some("the branch is protected"),
                };
                match refusal {
                    Some(why) => format!("merge of {head} refused: {why}"),
                    None => {
                        pr.state = PrState::Merged;
                        format!("merge {head}")
                    }
                }
            }
            Effect::RerunChecks { head } => {
                // One that runs already is not run again.
                let fails = pr.head == *head && pr.checks == Checks::Failing;
                if !fails {
                    return Some(Ok(Outcome::Done));
                }
                (pr.checks, pr.failing) = (Checks::Pending, vec![]);
                format!("rerun {head}")
            }
            Effect::DestroyWorkspace { removal } => {
                let agent = self.agents.get_mut(id)?;
                let dirty = agent.dirty && *removal == Removal::IfSafe;
                // What is gone already is a success.
                let again = std::mem::replace(&mut agent.removed, !dirty);
                let deed = if dirty { "workspace kept" } else { "workspace removed" };
                if !again {
                    self.note(format!("{id}: {deed}"));
                }
                return dirty.then(|| Err(refused("2 files are not committed")));
            }
            _ => return None,
        };
        let outcome = match effect {
            _ if deed.contains("refused") => Err(refused(&deed)),
            Effect::MergePr { head, .. } => Ok(Outcome::Merged { commit: head.clone() }),
            _ => Ok(Outcome::Done),
        };
        self.note(format!("{id}: {deed}"));
        // What was done there is looked at soon.
        let id = id.clone();
        self.after(1_000, move |sim| sim.looks(&id));
        Some(outcome)
    }

    /// Remembers what somebody got or did.
    pub(crate) fn note(&mut self, deed: String) {
        self.deeds.push((self.now.awake, deed));
    }
}
