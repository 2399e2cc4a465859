//! The verbs of a history: what a forge, an agent and people do, each a step after which the server may be replaced.

use std::collections::BTreeSet;

use ao_core::{
    config::{policy::Policy, trigger::Trigger},
    decide::Input,
    event::{Text, digest},
    state::{Fate, Incident, Status},
};
use ao_slots::{
    IncidentId, PrNumber, SessionId,
    fact::{Checks, Mergeable, PrFacts, PrState, Review, WorkFacts},
};

use crate::noise::{
    forge::{Forge, bad_gateway},
    people::Habit,
    sim::{MINUTE, Sim, ana, question},
};

/// After which steps the server is replaced by another one, which knows the journal alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restarts {
    Never,
    After(usize),
    Always,
}

/// What a history came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Came {
    /// What agents were told, what buzzed, what was done at the forge: in this order.
    pub(crate) deeds: Vec<String>,
    /// Of each session.
    pub(crate) status: Vec<Status>,
    /// Incidents that still need somebody.
    pub(crate) open: Vec<Trigger>,
}

/// One run of a history.
pub(crate) struct Play {
    sim: Sim,
    /// Whose pull request the next step is about.
    who: SessionId,
    pub(crate) steps: usize,
    restarts: Restarts,
}

impl Play {
    /// An agent at its first turn, a person who does nothing by herself, a forge.
    pub(crate) fn new(seed: u64, restarts: Restarts) -> Self {
        // What the corpus leaves out: checks that do not end.
        let mut sim = Sim::begin(seed, "2026-11-17T14:00:00Z", |policy| {
            for project in policy.projects.values_mut() {
                if let Some(checks) = project.rules.reactions.get_mut(&Trigger::CiFailed) {
                    checks.threshold_ms = Trigger::CiFailed.default_reaction().threshold_ms;
                }
            }
        });
        sim.forge = Some(Forge::default());
        sim.people.ana().habit = Habit::Never;
        let who = sim.spawn();
        Self { sim, who, steps: 0, restarts }
    }

    /// Lets what began come to its end, and says what it all came to.
    pub(crate) fn end(mut self) -> Came {
        self.sim.pass(2 * MINUTE);
        let state = &self.sim.state;
        let mut deeds = self.sim.deeds.clone();
        let mut amiss = |what: String| deeds.push((u64::MAX, what));
        if self.restarts == Restarts::Always && !self.sim.journal_tells_all() {
            amiss("the journal tells another story".into());
        }
        for intent in state.intents.values() {
            amiss(format!("never ended: {:?}", intent.effect));
        }
        for told in state.notifications.values().filter(|told| !told.covers.is_empty()) {
            let over = |id: &IncidentId| state.incidents[id].resolved.is_some();
            if told.settled != told.covers.iter().all(over) {
                amiss(format!("{} is settled: {}", told.id, told.settled));
            }
        }
        let mut known = BTreeSet::new();
        for show in self.sim.judge.shows.iter().filter(|show| show.sends) {
            // A repetition of what is in doubt says so; a message is one push on however many devices.
            if !show.buzzes.is_empty() && (known.insert(show.notification)) {
                let about: Vec<&str> = show.covers.iter().map(|i| i.trigger.as_str()).collect();
                deeds.push((show.at.awake, format!("push {}: {}", about.join(" "), show.title)));
            }
        }
        deeds.sort_by_key(|(at, _)| *at);
        let open = state.incidents.values().filter(|i| i.resolved.is_none() && i.is_open());
        Came {
            deeds: deeds.into_iter().map(|(_, deed)| deed).collect(),
            status: state.sessions.values().map(|session| session.status).collect(),
            open: open.map(|incident| incident.trigger).collect(),
        }
    }

    fn step(&mut self) {
        self.steps += 1;
        let now = match self.restarts {
            Restarts::Never => false,
            Restarts::After(step) => step == self.steps,
            Restarts::Always => true,
        };
        if now {
            let under_way = self.sim.some(0..1_500);
            self.sim.pass(under_way);
            self.sim.server_is_replaced();
        }
    }

    // ---- the setting

    /// Another configuration rules.
    pub(crate) fn rules(&mut self, change: impl FnOnce(&mut Policy)) {
        change(&mut self.sim.policy);
        self.sim.configure();
    }

    pub(crate) fn minutes(&mut self, minutes: u64) {
        self.sim.pass(minutes * MINUTE);
        self.step();
    }

    pub(crate) fn seconds(&mut self, seconds: u64) {
        self.sim.pass(seconds * 1_000);
        self.step();
    }

    /// Another agent; the next steps are about it.
    pub(crate) fn another(&mut self) {
        self.who = self.sim.spawn();
    }

    /// The next steps are about this one.
    pub(crate) fn of(&mut self, number: u32) {
        self.who = SessionId::compose(&"app".parse().unwrap(), number);
    }

    // ---- the forge

    /// It changes, and is looked at.
    pub(crate) fn forge(&mut self, change: impl FnOnce(&mut PrFacts)) {
        change(&mut self.sim.agents.get_mut(&self.who).unwrap().pr);
        self.sim.looks(&self.who);
        self.step();
    }

    pub(crate) fn passes(&mut self) {
        self.forge(|pr| (pr.checks, pr.failing) = (Checks::Passing, vec![]));
    }

    pub(crate) fn fails(&mut self, checks: &str) {
        let failing = checks.split(' ').map(str::to_owned).collect();
        self.forge(|pr| (pr.checks, pr.failing) = (Checks::Failing, failing));
    }

    pub(crate) fn runs_checks(&mut self) {
        self.forge(|pr| (pr.checks, pr.failing) = (Checks::Pending, vec![]));
    }

    /// Reviewers begin threads, and ask for changes.
    pub(crate) fn asks_for_changes(&mut self, threads: u32, said: &str) {
        let said = said.to_owned();
        self.forge(|pr| {
            (pr.review, pr.human_threads, pr.discussion) =
                (Review::ChangesRequested, threads, said);
        });
    }

    /// Somebody comments.
    pub(crate) fn comments(&mut self, threads: u32, said: &str) {
        let said = said.to_owned();
        self.forge(|pr| (pr.human_threads, pr.discussion) = (threads, said));
    }

    /// What people said at no line, which nobody can resolve: all of it that stands, each by a word.
    pub(crate) fn remarks(&mut self, remarks: u32, said: &str) {
        let ids: Vec<String> = said.split(' ').map(str::to_owned).collect();
        assert_eq!(ids.len(), remarks as usize);
        let said = said.to_owned();
        self.forge(|pr| (pr.remarks, pr.remark_ids, pr.discussion) = (remarks, ids, said));
    }

    /// A bot comments.
    pub(crate) fn bot_comments(&mut self, threads: u32, said: &str) {
        let said = said.to_owned();
        self.forge(|pr| (pr.bot_threads, pr.discussion) = (threads, said));
    }

    /// All threads are resolved, and a change request is lifted.
    pub(crate) fn resolves(&mut self) {
        self.forge(|pr| {
            (pr.human_threads, pr.bot_threads, pr.review) = (0, 0, Review::None);
            pr.discussion.clear();
        });
    }

    pub(crate) fn review(&mut self, review: Review) {
        self.forge(|pr| pr.review = review);
    }

    pub(crate) fn mergeable(&mut self, mergeable: Mergeable) {
        self.forge(|pr| pr.mergeable = mergeable);
    }

    pub(crate) fn stands(&mut self, state: PrState) {
        self.forge(|pr| pr.state = state);
    }

    /// Somebody else moves the branch.
    pub(crate) fn is_forced_to(&mut self, head: &str) {
        let head = head.to_owned();
        self.forge(|pr| (pr.head, pr.checks, pr.failing) = (head, Checks::Pending, vec![]));
    }

    /// An answer that is late: of this head, on which the checks failed.
    pub(crate) fn answers_late(&mut self, head: &str) {
        let now = self.sim.agents[&self.who].pr.clone();
        let (checks, failing) = (Checks::Failing, vec!["unit".to_owned()]);
        let pr = PrFacts { head: head.into(), checks, failing, ..now };
        self.sim.give(Input::Pr { session: self.who.clone(), pr });
        self.step();
    }

    /// Something of the forge itself changes; then it is looked at.
    pub(crate) fn at_forge(&mut self, change: impl FnOnce(&mut Forge)) {
        change(self.sim.forge.as_mut().unwrap());
        for id in self.sim.agents.keys().cloned().collect::<Vec<_>>() {
            self.sim.looks(&id);
        }
        self.step();
    }

    /// From now on the open comments are of one who has no right to write.
    pub(crate) fn strangers_write(&mut self, name: &'static str) {
        self.at_forge(|forge| {
            forge.strangers.insert(name);
        });
    }

    pub(crate) fn forge_goes_away(&mut self) {
        self.at_forge(|forge| forge.away = Some(bad_gateway()));
    }

    pub(crate) fn forge_comes_back(&mut self) {
        self.at_forge(|forge| forge.away = None);
    }

    // ---- the agent

    /// What a script rests on: told with the rest where it does not hold.
    fn rests_on(&mut self, holds: bool, what: &str) {
        if !holds {
            let line = format!("step {} of the script: {what}", self.steps);
            self.sim.note(line);
        }
    }

    fn at_work(&mut self) {
        let works = self.sim.is_at_work(&self.who);
        self.rests_on(works, "the agent has nothing to do");
    }

    /// Its turn ends with this commit in its workspace.
    fn ends_turn_at(&mut self, head: &str) {
        self.sim.ends_turn(&self.who);
        let changed_files = if self.sim.agents[&self.who].dirty { 2 } else { 0 };
        let (head, fingerprint) = (head.to_owned(), format!("{head} {changed_files}"));
        let work = WorkFacts { head, commits: 1, changed_files, fingerprint, ..Default::default() };
        self.sim.look(&self.who.clone(), work);
    }

    /// It pushes a commit, which is seen at once, and its turn ends.
    fn brings(&mut self, head: &str, change: impl FnOnce(&mut PrFacts)) {
        self.at_work();
        let pr = &mut self.sim.agents.get_mut(&self.who).unwrap().pr;
        (pr.head, pr.checks, pr.failing) = (head.to_owned(), Checks::Pending, vec![]);
        change(pr);
        self.sim.looks(&self.who);
        self.ends_turn_at(head);
        self.step();
    }

    /// It opens its pull request, and its turn ends.
    pub(crate) fn opens(&mut self, head: &str) {
        self.opens_as(head, PrState::Open);
    }

    /// It opens one whose checks pass.
    pub(crate) fn opens_green(&mut self, head: &str) {
        self.opens(head);
        self.passes();
    }

    /// It opens one on which `unit` fails.
    pub(crate) fn opens_red(&mut self, head: &str) {
        self.opens(head);
        self.fails("unit");
    }

    pub(crate) fn opens_as(&mut self, head: &str, state: PrState) {
        let number = PrNumber(u64::from(self.who.number()));
        self.brings(head, |pr| (pr.number, pr.state) = (number, state));
    }

    /// It pushes another commit, and its turn ends.
    pub(crate) fn pushes(&mut self, head: &str) {
        self.brings(head, |_| {});
    }

    /// It pushes a commit whose checks pass.
    pub(crate) fn pushes_green(&mut self, head: &str) {
        self.pushes(head);
        self.passes();
    }

    /// It pushes a commit on which `unit` fails.
    pub(crate) fn pushes_red(&mut self, head: &str) {
        self.pushes(head);
        self.fails("unit");
    }

    /// It pushes another commit, its turn ends, and the forge is looked at half a minute later.
    pub(crate) fn pushes_unseen(&mut self, head: &str) {
        self.at_work();
        self.ends_turn_at(head);
        self.seconds(30);
        self.is_forced_to(head);
    }

    /// It pushes onto a base that has moved, and its turn ends.
    pub(crate) fn rebases(&mut self, head: &str) {
        self.brings(head, |pr| pr.mergeable = Mergeable::Yes);
    }

    /// It answers in the threads, and changes nothing.
    pub(crate) fn replies(&mut self, said: &str) {
        self.at_work();
        self.gives_up();
        let said = said.to_owned();
        self.forge(|pr| pr.discussion = said);
    }

    /// It commits, forgets to push, and its turn ends.
    pub(crate) fn forgets_to_push(&mut self, head: &str) {
        self.at_work();
        self.ends_turn_at(head);
        self.step();
    }

    /// Its turn ends, and nothing came of it.
    pub(crate) fn gives_up(&mut self) {
        self.at_work();
        let head = self.sim.agents[&self.who].pr.head.clone();
        self.ends_turn_at(&head);
        self.step();
    }

    /// A human at its terminal gives it something to do.
    pub(crate) fn begins_turn(&mut self) {
        self.sim.begins_turn(&self.who, None);
        self.step();
    }

    pub(crate) fn asks(&mut self) {
        self.at_work();
        self.sim.asks(&self.who, question());
        self.step();
    }

    pub(crate) fn is_answered(&mut self) {
        self.sim.goes_on(&self.who);
        self.step();
    }

    pub(crate) fn exits(&mut self, code: i32) {
        self.sim.exits(&self.who, code);
        self.step();
    }

    /// It leaves files that are not committed.
    pub(crate) fn leaves_files(&mut self) {
        self.sim.agents.get_mut(&self.who).unwrap().dirty = true;
    }

    // ---- people

    fn does(&mut self, what: &str, input: Input) {
        if self.sim.give(input).is_none() {
            self.sim.note(format!("{what} is refused"));
        }
    }

    fn human(&mut self, what: &str, input: Input) {
        self.does(what, input);
        self.step();
    }

    fn presses_merge(&mut self, head: &str) {
        let (session, method) = (self.who.clone(), None);
        let merge = Input::Merge { session, head: Some(head.into()), method, by: ana() };
        self.does(&format!("merge at {head}"), merge);
    }

    /// Presses Merge on the card about this head.
    pub(crate) fn merges(&mut self, head: &str) {
        self.presses_merge(head);
        self.step();
    }

    pub(crate) fn merges_twice(&mut self, head: &str) {
        self.presses_merge(head);
        self.merges(head);
    }

    pub(crate) fn sends(&mut self, said: &str) {
        let (text, digest) = (Text::short(said), digest(said));
        self.human("message", Input::Send { session: self.who.clone(), text, digest, by: ana() });
    }

    fn incident(&self, trigger: Trigger) -> IncidentId {
        let open = |i: &&Incident| i.trigger == trigger && i.is_open();
        self.sim.state.incidents.values().find(open).map_or(IncidentId(0), |i| i.id)
    }

    pub(crate) fn releases(&mut self, trigger: Trigger) {
        let incident = self.incident(trigger);
        let shown = ao_core::decide::held(&self.sim.state, incident);
        let digest = shown.map(|(_, _, brief)| brief.digest.clone()).unwrap_or_default();
        self.human("release", Input::Release { incident, digest, by: ana() });
    }

    pub(crate) fn acknowledges(&mut self, trigger: Trigger) {
        let incident = self.incident(trigger);
        self.human("ack", Input::Acknowledge { incident, by: ana() });
    }

    pub(crate) fn kills(&mut self) {
        self.human("kill", Input::Kill { session: self.who.clone(), force: false, by: ana() });
    }

    pub(crate) fn restores(&mut self) {
        let session = self.who.clone();
        let restore = Input::Restore { session, fresh: false, env_names: None, by: ana() };
        self.human("restore", restore);
    }

    /// Says whose a pull request that stands at the forge is.
    pub(crate) fn claims(&mut self, number: u64) {
        self.sim.agents.get_mut(&self.who).unwrap().pr.number = PrNumber(number);
        let (session, pr) = (self.who.clone(), self.sim.pr_ref(&self.who));
        self.human("claim", Input::Link { session, pr, by: Some(ana()) });
    }

    /// So many messages wait for the agent.
    pub(crate) fn waiting(&mut self, count: usize) {
        let messages = self.sim.state.sessions[&self.who].messages.values();
        let waits = messages.filter(|message| message.fate == Fate::Waiting).count();
        self.rests_on(waits == count, &format!("{waits} messages wait"));
    }
}
