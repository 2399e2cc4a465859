//! Tickets: `ao dashboard` gets one for a browser, which becomes that browser's cookie. In memory alone, for a minute and
//! for one use: a restart voids them, as it should.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use ao_core::server::{random_token, token_hash};

use crate::{caller::Visitor, pages::Wanted};

/// For how long a ticket is good.
pub(crate) const GOOD: Duration = Duration::from_secs(60);
/// Most tickets at one time; the oldest goes first.
const MOST: usize = 32;

/// What a ticket is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// Who asked for it.
    pub(crate) visitor: Visitor,
    /// The page to go to with it.
    pub(crate) wanted: Wanted,
    /// It is for another device, by `publicUrl`: whose the connection is says nothing.
    pub(crate) away: bool,
}

/// The tickets that are out, by the hashes of their words.
#[derive(Debug, Default)]
pub(crate) struct Tickets(Mutex<HashMap<String, (Ticket, Instant)>>);

impl Tickets {
    /// A new one: 128 random bits in hex.
    pub(crate) fn issue(&self, ticket: Ticket) -> std::io::Result<String> {
        let word = random_token()?;
        let (now, mut out) = (Instant::now(), self.lock());
        out.retain(|_, (_, since)| now.duration_since(*since) < GOOD);
        while out.len() >= MOST {
            let oldest = out.iter().min_by_key(|(_, (_, since))| *since);
            let Some(oldest) = oldest.map(|(hash, _)| hash.clone()) else { break };
            out.remove(&oldest);
        }
        out.insert(token_hash(&word), (ticket, now));
        Ok(word)
    }

    /// What a ticket is good for; a look spends nothing.
    pub(crate) fn look(&self, word: &str) -> Option<Ticket> {
        let out = self.lock();
        let (ticket, since) = out.get(&token_hash(word))?;
        (since.elapsed() < GOOD).then(|| ticket.clone())
    }

    /// Spends a ticket.
    pub(crate) fn take(&self, word: &str) -> Option<Ticket> {
        let (ticket, since) = self.lock().remove(&token_hash(word))?;
        (since.elapsed() < GOOD).then_some(ticket)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Ticket, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s17_a_ticket_is_spent_once_and_the_oldest_of_too_many_is_void() {
        let tickets = Tickets::default();
        let ticket =
            || Ticket { visitor: Visitor::local(), wanted: Wanted::Attention, away: false };
        let words: Vec<_> = (0..=MOST).map(|_| tickets.issue(ticket()).unwrap()).collect();
        let (first, last) = (&words[0], &words[MOST]);
        assert!(tickets.look(first).is_none() && tickets.take(first).is_none());
        assert_eq!(tickets.look(last), Some(ticket()));
        assert_eq!(tickets.look(last), Some(ticket()), "a look spends nothing");
        assert_eq!(tickets.take(last), Some(ticket()));
        assert!(tickets.take(last).is_none() && tickets.look(last).is_none());
        assert!(tickets.take("").is_none());
    }
}
