//! What sessions are looked up by, so that no rule goes through all of them.

use std::collections::{BTreeMap, BTreeSet};

use ao_slots::SessionId;
use jiff::Timestamp;

use super::{Session, State};

/// What some sessions have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    /// Over since then.
    Over(Timestamp),
    /// Its runtime of this name died under it, and it has not come back.
    Lost(String),
    /// Came back to its runtime of this name, at this awake time.
    Back(String, u64),
}

/// The sessions of each mark. Derived, never stored.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Lookup {
    of: BTreeMap<Mark, BTreeSet<SessionId>>,
}

/// The marks of one session at one moment; most have none.
#[derive(Debug, PartialEq)]
pub(crate) struct Marks(Vec<Mark>);

impl Session {
    fn marks(&self) -> Marks {
        let over = self.over.map(|(_, when)| Mark::Over(when.at));
        let lost = self.server_lost && !self.is_over();
        let lost = lost.then(|| Mark::Lost(self.runtime.clone()));
        let back = self.restored.filter(|_| self.restore.is_none() && !self.server_lost);
        let back = back.map(|when| Mark::Back(self.runtime.clone(), when.awake));
        Marks(over.into_iter().chain(lost).chain(back).collect())
    }
}

impl State {
    /// What a session is looked up by, before an event changes it.
    pub(crate) fn marks(&self, id: Option<&SessionId>) -> Marks {
        let session = id.and_then(|id| self.sessions.get(id));
        session.map_or(Marks(vec![]), Session::marks)
    }

    /// Keeps the look-up true once a session was changed, or is gone.
    pub(crate) fn mark(&mut self, id: &SessionId, before: &Marks) {
        let after = self.marks(Some(id));
        if *before == after {
            return;
        }
        for mark in &before.0 {
            if let Some(sessions) = self.lookup.of.get_mut(mark) {
                sessions.remove(id);
                if sessions.is_empty() {
                    self.lookup.of.remove(mark);
                }
            }
        }
        for mark in after.0 {
            self.lookup.of.entry(mark).or_default().insert(id.clone());
        }
    }

    /// Derives the look-up anew.
    pub(super) fn mark_all(&mut self) {
        self.lookup = Lookup::default();
        for session in self.sessions.values() {
            for mark in session.marks().0 {
                self.lookup.of.entry(mark).or_default().insert(session.id.clone());
            }
        }
    }

    /// The sessions that a runtime's death took and that have not come back.
    pub(crate) fn lost(&self, runtime: &str) -> impl Iterator<Item = &Session> {
        let lost = self.lookup.of.get(&Mark::Lost(runtime.to_owned()));
        lost.into_iter().flatten().filter_map(|id| self.sessions.get(id))
    }

    /// The runtimes that have died under sessions.
    pub(crate) fn lost_runtimes(&self) -> impl Iterator<Item = &str> {
        let marks = self.lookup.of.range(Mark::Lost(String::new())..);
        marks.map_while(
            |(mark, _)| if let Mark::Lost(name) = mark { Some(name.as_str()) } else { None },
        )
    }

    /// The awake time at which the last session came back to a runtime.
    pub(crate) fn last_back(&self, runtime: &str) -> Option<u64> {
        let mark = |at| Mark::Back(runtime.to_owned(), at);
        let (last, _) = self.lookup.of.range(mark(0)..=mark(u64::MAX)).next_back()?;
        if let Mark::Back(_, at) = last { Some(*at) } else { None }
    }

    /// The sessions that were over before `then`.
    pub(crate) fn over_before(&self, then: Timestamp) -> impl Iterator<Item = &Session> {
        let over = self.lookup.of.range(Mark::Over(Timestamp::MIN)..Mark::Over(then));
        over.flat_map(|(_, ids)| ids).filter_map(|id| self.sessions.get(id))
    }
}
