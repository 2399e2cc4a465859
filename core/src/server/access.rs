//! Who comes in by the web. A secret is told once; what is kept is its hash.

use ao_slots::{AccessId, text::ACCESS};

use super::{
    Handle,
    lane::{random_token, token_hash},
};
use crate::{
    decide::{Answered, Grant, Input, Refusal, RefusalKind},
    event::Actor,
    state::Access,
};

impl Handle {
    /// Lets a browser or a program in. The text is its secret: whoever has it comes in.
    pub async fn grant(&self, grant: Grant) -> Result<(AccessId, String), Refusal> {
        let unavailable =
            |error: std::io::Error| Refusal::new(RefusalKind::Unavailable, error.to_string());
        let secret = format!("{ACCESS}{}", random_token().map_err(unavailable)?);
        let hash = token_hash(&secret);
        // Done once, it could not tell its secret twice.
        let alone = Self { act: None, ..self.clone() };
        alone.submit(Input::GrantAccess { grant: Box::new(grant), hash: hash.clone() }).await?;
        let state = self.state();
        let granted = state.access.values().find(|access| access.hash == hash);
        let gone = || Refusal::new(RefusalKind::Unavailable, "the access is not there");
        Ok((granted.ok_or_else(gone)?.id, secret))
    }

    /// Takes an access back. What it has open ends with it.
    pub async fn revoke(&self, access: AccessId, by: Actor) -> Result<Answered, Refusal> {
        self.submit(Input::RevokeAccess { access, by }).await
    }

    /// The access whose secret this is, while it holds. It is found by the hash, so that the time which that takes says
    /// nothing of a secret.
    pub fn access(&self, secret: &str) -> Option<Access> {
        let (hash, now) = (token_hash(secret), self.now().wall);
        let state = self.state();
        state.access.values().find(|access| access.hash == hash && access.holds(now)).cloned()
    }

    /// Whether an access still lets anybody in.
    pub fn access_holds(&self, id: AccessId) -> bool {
        let now = self.now().wall;
        self.state().access.get(&id).is_some_and(|access| access.holds(now))
    }
}
