//! Who comes in by the web: let in, and taken back.

use ao_slots::{
    AccessId,
    text::{cut, one_line},
};

use super::{Answered, Decider, Grant, Refusal, RefusalKind};
use crate::event::{AccessGranted, AccessRevoked, Actor};

/// Most characters of the name of an access.
const NAME: usize = 60;

impl Decider<'_> {
    pub(super) fn grant_access(&mut self, grant: &Grant, hash: &str) -> Result<Answered, Refusal> {
        let name = cut(one_line(&grant.name).trim(), NAME);
        if name.is_empty() {
            return Err(Refusal::new(RefusalKind::Invalid, "an access needs a name"));
        }
        if grant.until.is_some_and(|until| until <= self.now.wall) {
            return Err(Refusal::new(RefusalKind::Invalid, "the access would be over already"));
        }
        self.push(AccessGranted {
            // Each comes alone.
            access: AccessId(self.state.given.access + 1),
            kind: grant.kind,
            name,
            hash: hash.to_owned(),
            person: grant.person.clone(),
            role: grant.role,
            until: grant.until,
            by: grant.by.clone(),
        });
        Ok(Answered::default())
    }

    pub(super) fn revoke_access(&mut self, id: AccessId, by: &Actor) -> Result<Answered, Refusal> {
        let none = || {
            Refusal::new(RefusalKind::NotFound, format!("there is no access {id}"))
                .with_remedy("ao token ls")
        };
        let access = self.state.access.get(&id).ok_or_else(none)?;
        // Taking back what is over is a success: the wish holds.
        if access.holds(self.now.wall) {
            let because = [access.since.seq];
            self.push(AccessRevoked { access: id, by: by.clone() }).because(&because);
        }
        Ok(Answered::default())
    }
}
