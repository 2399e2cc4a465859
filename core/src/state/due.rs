//! Deadlines are derived from facts and policy, never stored: what is due is looked up in an ordered index
//! that is kept as the state changes. Nothing is armed, so nothing can be lost or stale after a restart.

use std::collections::{BTreeMap, BTreeSet};

use ao_slots::{ChannelName, IncidentId, ProjectId, SessionId};
use jiff::Timestamp;

use super::{Now, State};
use crate::{decide, event::Subject};

/// What rules look at together. In this order, so that what is the case is concluded before anybody is told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Focus {
    /// One session.
    Session(SessionId),
    /// All sessions of one runtime.
    Runtime(String),
    /// One project.
    Project(ProjectId),
    /// `ao` itself.
    Server,
    /// One incident.
    Incident(IncidentId),
    /// One channel and its deliveries.
    Channel(ChannelName),
}

/// When a focus is to be looked at again, by either clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// At this awake time in milliseconds.
    Awake(u64),
    /// At this wall time.
    Wall(Timestamp),
}

/// The ordered index.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Dues {
    awake: BTreeSet<(u64, Focus)>,
    wall: BTreeSet<(Timestamp, Focus)>,
    of: BTreeMap<Focus, Vec<Due>>,
}

impl Dues {
    fn set(&mut self, focus: &Focus, dues: Vec<Due>) {
        for due in self.of.remove(focus).unwrap_or_default() {
            match due {
                Due::Awake(at) => self.awake.remove(&(at, focus.clone())),
                Due::Wall(at) => self.wall.remove(&(at, focus.clone())),
            };
        }
        for due in &dues {
            match due {
                Due::Awake(at) => self.awake.insert((*at, focus.clone())),
                Due::Wall(at) => self.wall.insert((*at, focus.clone())),
            };
        }
        if !dues.is_empty() {
            self.of.insert(focus.clone(), dues);
        }
    }

    /// Makes the deadlines of a focus those that it has in `other`.
    pub(super) fn take_over(&mut self, focus: &Focus, other: &Self) {
        self.set(focus, other.of.get(focus).cloned().unwrap_or_default());
    }
}

impl State {
    /// The earliest deadline of each clock.
    pub fn next_due(&self) -> (Option<u64>, Option<Timestamp>) {
        (self.dues.awake.first().map(|(at, _)| *at), self.dues.wall.first().map(|(at, _)| *at))
    }

    /// What is due at `now`, at most 256 of it; the rest follows with the next look.
    pub fn due(&self, now: Now) -> Vec<Focus> {
        let awake =
            self.dues.awake.iter().take_while(|(at, _)| *at <= now.awake).map(|(_, focus)| focus);
        let wall =
            self.dues.wall.iter().take_while(|(at, _)| *at <= now.wall).map(|(_, focus)| focus);
        awake.chain(wall).take(256).cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Derives a focus's deadlines anew.
    pub(crate) fn refresh_due(&mut self, focus: &Focus) {
        let dues = decide::schedule::dues(self, focus);
        self.dues.set(focus, dues);
    }

    /// Leaves a focus without a deadline until something happens to it: looking at it breaks a rule.
    pub(crate) fn pass_over(&mut self, focus: &Focus) {
        self.dues.set(focus, vec![]);
    }

    /// Every focus there is.
    pub(crate) fn all_foci(&self) -> Vec<Focus> {
        let sessions = self
            .sessions
            .values()
            .filter(|s| !s.is_over() || s.cleanup.is_some() || s.closes_issue)
            .map(|s| Focus::Session(s.id.clone()));
        let open = || self.incidents.values().filter(|incident| incident.resolved.is_none());
        let incidents = open().map(|incident| Focus::Incident(incident.id));
        let channels = self.channels.keys().map(|name| Focus::Channel(name.clone()));
        let told = open().filter_map(|incident| match &incident.subject {
            Subject::Runtime(name) => Some(name.as_str()),
            _ => None,
        });
        let runtimes: BTreeSet<_> = self.lost_runtimes().chain(told).collect();
        let runtimes = runtimes.into_iter().map(|name| Focus::Runtime(name.to_owned()));
        let projects = self.scm_away.keys().map(|id| Focus::Project(id.clone()));
        let foci = sessions.chain(incidents).chain(channels).chain(runtimes).chain(projects);
        foci.chain([Focus::Server]).collect()
    }
}
