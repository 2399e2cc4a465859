//! What events change about who may come in by the web.

use jiff::SignedDuration;

use crate::{
    event::{Event, Kind},
    state::{Access, Moment, State},
};

/// For how long an access that ended is still listed.
const KEEP: SignedDuration = SignedDuration::from_hours(30 * 24);

impl State {
    pub(super) fn fold_access(&mut self, event: &Event, when: Moment) {
        match &event.kind {
            Kind::AccessGranted(e) => {
                self.given.access = self.given.access.max(e.access.0);
                self.access.retain(|_, access| {
                    access.ended().is_none_or(|ended| when.at.duration_since(ended) <= KEEP)
                });
                let access = Access {
                    id: e.access,
                    kind: e.kind,
                    name: e.name.clone(),
                    hash: e.hash.clone(),
                    person: e.person.clone(),
                    role: e.role,
                    until: e.until,
                    since: when,
                    by: e.by.clone(),
                    revoked: None,
                };
                self.access.insert(e.access, access);
            }
            Kind::AccessRevoked(e) => {
                if let Some(access) = self.access.get_mut(&e.access) {
                    access.revoked.get_or_insert((e.by.clone(), when));
                }
            }
            _ => {}
        }
    }
}
