//! People: they are called, they react after a while, and they act on what they see.

use std::collections::{BTreeMap, BTreeSet};

use ao_core::{
    config::trigger::Trigger,
    decide::Input,
    event::{Actor, Subject, Text, digest},
    state::Incident,
};
use ao_slots::{
    ChannelName, IncidentId, NotificationId, SessionId,
    agent::{Ask, Decision},
    fact::{Checks, Mergeable, Review},
};
use jiff::{civil::Time, tz::TimeZone};

use super::sim::{MINUTE, SECOND, Sim};

/// What somebody does when called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Habit {
    /// Acts within minutes.
    Prompt,
    /// Takes it at once, acts later.
    Takes,
    /// Acts after a quarter of an hour or two.
    Late,
    /// Snoozes it for an hour, then acts.
    Snoozes,
    /// Never reacts.
    Never,
}

#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) habit: Habit,
    pub(crate) zone: TimeZone,
    /// From when to when: hears nothing, and reacts after waking up.
    pub(crate) sleeps: Option<(Time, Time)>,
}

#[derive(Debug)]
pub(crate) struct People(pub(crate) BTreeMap<&'static str, Person>);

impl Default for People {
    fn default() -> Self {
        let ana = Person { habit: Habit::Prompt, zone: TimeZone::UTC, sleeps: None };
        Self([("ana", ana)].into())
    }
}

impl People {
    pub(crate) fn ana(&mut self) -> &mut Person {
        self.0.get_mut("ana").unwrap()
    }
}

impl Sim {
    /// Some devices buzzed.
    pub(crate) fn are_called(
        &mut self,
        people: BTreeSet<&'static str>,
        id: NotificationId,
        channel: &ChannelName,
        emergency: bool,
    ) {
        for name in people {
            let Some(person) = self.people.0.get(name) else { continue };
            let wait = match person.habit {
                Habit::Prompt => self.some(20 * SECOND..5 * MINUTE),
                Habit::Takes | Habit::Snoozes => self.some(10 * SECOND..2 * MINUTE),
                Habit::Late => self.some(12 * MINUTE..28 * MINUTE),
                Habit::Never => continue,
            };
            // An emergency wakes whoever sleeps.
            let wait = if emergency { wait } else { wait + self.asleep_for(name) };
            let channel = channel.clone();
            self.after(wait, move |sim| sim.reacts(name, id, &channel));
        }
    }

    /// How long somebody who is called now sleeps on.
    fn asleep_for(&self, name: &str) -> u64 {
        let person = &self.people.0[name];
        let Some((from, to)) = person.sleeps else { return 0 };
        let local = self.now.wall.to_zoned(person.zone.clone());
        let time = local.time();
        let asleep = match from < to {
            true => from <= time && time < to,
            false => from <= time || time < to,
        };
        if !asleep {
            return 0;
        }
        let day = if time < to { local.date() } else { local.date().tomorrow().unwrap() };
        let wakes = day.to_datetime(to).to_zoned(person.zone.clone()).unwrap();
        u64::try_from(wakes.timestamp().duration_since(self.now.wall).as_millis()).unwrap_or(0)
    }

    /// Says that he has it.
    fn takes_on(&mut self, incident: IncidentId, by: Actor) {
        if self.give(Input::Acknowledge { incident, by }).is_some() {
            self.judge.acked(incident, self.now);
        }
    }

    /// Looks at the card where it buzzed, and does what it asks for.
    fn reacts(&mut self, name: &'static str, id: NotificationId, channel: &ChannelName) {
        let Some(card) = self.channels.get(channel).cards.get(&id).cloned() else { return };
        let Some(told) = self.state.notifications.get(&id) else { return };
        let covered: Vec<Incident> = told
            .covers_on(channel)
            .iter()
            .filter_map(|id| self.state.incidents.get(id).cloned())
            .collect();
        // One who has seen it is asked by each of his devices, and acts once.
        let open: Vec<Incident> =
            covered.iter().filter(|incident| incident.is_open()).cloned().collect();
        let gone = !covered.is_empty() && open.is_empty();
        if card.live {
            self.judge.clicked(gone);
        }
        let by = Actor { name: name.into(), via: channel.to_string() };
        let habit = self.people.0[name].habit;
        for incident in open {
            let fresh = self.judge.taken.insert((name, incident.id));
            match habit {
                Habit::Takes if fresh => {
                    self.takes_on(incident.id, by.clone());
                    let wait = self.some(2 * MINUTE..30 * MINUTE);
                    let (id, by) = (incident.id, by.clone());
                    self.after(wait, move |sim| sim.acts(id, by));
                }
                Habit::Snoozes if fresh => {
                    let until = self.now.wall + jiff::SignedDuration::from_hours(1);
                    let incident = incident.id;
                    self.give(Input::Snooze { incident, until, by: by.clone() });
                }
                _ => self.acts(incident.id, by.clone()),
            }
        }
    }

    /// Does what an incident needs, if it still does.
    pub(crate) fn acts(&mut self, id: IncidentId, by: Actor) {
        let Some(incident) = self.state.incidents.get(&id).cloned() else { return };
        if !incident.is_open() {
            return;
        }
        match &incident.subject {
            Subject::Session(session) => self.acts_on(&session.clone(), &incident, by),
            _ if incident.trigger == Trigger::RuntimeLost => {
                for session in incident.sessions {
                    self.restores(&session, by.clone());
                }
            }
            _ => self.acts_on_ao(&incident, by),
        }
    }

    fn restores(&mut self, session: &SessionId, by: Actor) {
        // What stood in the way is out of it.
        if let Some(agent) = self.agents.get_mut(session) {
            agent.restores = Ok(());
        }
        let session = session.clone();
        self.give(Input::Restore { session, fresh: false, env_names: None, by });
    }

    fn acts_on(&mut self, id: &SessionId, incident: &Incident, by: Actor) {
        let session = id.clone();
        match incident.trigger {
            Trigger::AgentNeedsInput => match incident.request {
                Some(request) => {
                    let asked = self.state.sessions[id].requests.get(&request);
                    let decision = match asked.map(|request| &request.ask) {
                        Some(Ask::Question { .. }) => {
                            Decision::Answer { text: "Items only".into() }
                        }
                        _ => Decision::Approve,
                    };
                    let request = Some(request);
                    self.give(Input::Decide { session, request, decision, full: None, by });
                }
                None => self.leaves_dialog(id),
            },
            Trigger::AgentExited
            | Trigger::AgentErrored
            | Trigger::AgentStuck
            | Trigger::RuntimeLost => self.restores(id, by),
            // Looks into the terminal and hands it over there.
            Trigger::PromptUndelivered => {
                let digest = self.state.sessions[id].prompt_digest.clone();
                self.begins_turn(id, Some(digest));
                self.judge.over(id, &[Trigger::PromptUndelivered], self.now);
            }
            Trigger::AgentIdle => {
                self.judge.over(id, &[Trigger::AgentIdle], self.now);
                let text = "Open a pull request.";
                let (text, digest) = (Text::short(text), digest(text));
                self.give(Input::Send { session, text, digest, by });
                let (id, wait) = (id.clone(), self.some(MINUTE..10 * MINUTE));
                self.after(wait, move |sim| sim.pushes(&id));
            }
            Trigger::AgentIdleNoPr => {
                self.judge.over(id, &[Trigger::AgentIdleNoPr], self.now);
                self.pushes(id);
            }
            Trigger::AgentFinished => {
                self.judge.over_all(id, self.now);
                self.give(Input::Done { session, by });
            }
            Trigger::ApprovedAndGreen => {
                let (id, wait) = (id.clone(), self.some(5 * SECOND..20 * SECOND));
                self.after(wait, move |sim| sim.merges(&id));
            }
            Trigger::CiFailed
            | Trigger::ChangesRequested
            | Trigger::BugbotComments
            | Trigger::MergeConflicts => {
                let text = "I have pushed the fix: go on.";
                let (text, digest) = (Text::short(text), digest(text));
                self.give(Input::Send { session, text, digest, by });
                self.pushes(id);
                self.pr(id, |pr| {
                    (pr.review, pr.human_threads, pr.bot_threads) = (Review::Pending, 0, 0);
                    (pr.mergeable, pr.checks) = (Mergeable::Yes, Checks::Pending);
                });
                self.judge.over(id, &[incident.trigger], self.now);
            }
            Trigger::PrClosed | Trigger::BudgetExceeded => {
                self.judge.over_all(id, self.now);
                self.give(Input::Kill { session, force: false, by });
            }
            _ => {
                self.takes_on(incident.id, by);
            }
        }
    }

    fn acts_on_ao(&mut self, incident: &Incident, by: Actor) {
        match incident.trigger {
            Trigger::DiskLow => {
                self.judge.over_ao(incident.trigger, self.now);
                self.give(Input::Disk { free: 50 << 30, failing: false });
            }
            Trigger::ConfigRefused => {
                self.judge.over_ao(incident.trigger, self.now);
                self.give(Input::ConfigAccepted { file: "ao.yaml".into() });
            }
            Trigger::Tampered => {
                self.judge.over_ao(incident.trigger, self.now);
                self.takes_on(incident.id, by);
            }
            _ => {
                self.takes_on(incident.id, by);
            }
        }
    }
}
