//! What the vendor allows: «Rate limits for the REST API» and «… for the GraphQL API».

use std::{collections::BTreeMap, time::Duration};

use ao_slots::{PluginError, scm::Quota, text};
use reqwest::header::{HeaderMap, RETRY_AFTER};

use crate::GraphError;

/// The wait after a refusal that names none, the first and the longest, in seconds.
const WAIT: (u64, u64) = (60, 1_800);

#[derive(Debug, Default)]
pub(crate) struct Limits {
    pools: BTreeMap<String, Pool>,
    /// Until when nothing is asked, in seconds since 1970.
    shut: u64,
    /// How many refusals there were since the last answer.
    refusals: u32,
}

/// One of the vendor's counts.
#[derive(Debug, Default)]
struct Pool {
    limit: u64,
    left: u64,
    resets_at: u64,
    /// By us, in this window.
    spent: u64,
}

impl Limits {
    /// Whether something may be asked now.
    pub(crate) fn admit(
        &self,
        resource: &str,
        background: bool,
        whom: &str,
        now: u64,
    ) -> Result<(), PluginError> {
        if self.shut > now {
            return Err(wait(whom, "it asked to be left alone", self.shut - now));
        }
        let Some(pool) = self.pools.get(resource).filter(|pool| pool.resets_at > now) else {
            return Ok(());
        };
        if pool.left == 0 {
            return Err(wait(whom, "nothing is left of the token's limit", pool.resets_at - now));
        }
        if background && pool.left * Quota::RESERVE < pool.limit {
            let why = "the rest of the token's limit is kept for what a human asks";
            return Err(wait(whom, why, pool.resets_at - now));
        }
        Ok(())
    }

    /// Takes what an answer says of what is left.
    pub(crate) fn heard(&mut self, resource: &str, headers: &HeaderMap, now: u64) {
        let number = |name: &str| headers.get(name)?.to_str().ok()?.parse::<u64>().ok();
        let (Some(limit), Some(left), Some(resets_at)) = (
            number("x-ratelimit-limit"),
            number("x-ratelimit-remaining"),
            number("x-ratelimit-reset"),
        ) else {
            return;
        };
        let named = headers.get("x-ratelimit-resource").and_then(|name| name.to_str().ok());
        let pool = self.pools.entry(named.unwrap_or(resource).to_owned()).or_default();
        if pool.resets_at != resets_at {
            // A window of its own, unless the vendor's clock moved by a second or two.
            if pool.resets_at <= now {
                pool.spent = 0;
            }
            *pool = Pool { limit, left, resets_at, spent: pool.spent };
        } else {
            // Answers overtake each other.
            (pool.limit, pool.left) = (limit, left.min(pool.left));
        }
    }

    /// Something was answered, for so much.
    pub(crate) fn passed(&mut self, resource: &str, cost: u64) {
        self.refusals = 0;
        if let Some(pool) = self.pools.get_mut(resource) {
            pool.spent += cost;
        }
    }

    /// A refusal for a limit: until when to leave it alone.
    pub(crate) fn exhausted(
        &mut self,
        resource: &str,
        whom: &str,
        headers: &HeaderMap,
        now: u64,
    ) -> PluginError {
        let number = |name: &str| headers.get(name)?.to_str().ok()?.parse::<u64>().ok();
        let asked = number(RETRY_AFTER.as_str());
        let empty = number("x-ratelimit-remaining") == Some(0);
        if let (true, Some(reset), None) = (empty, number("x-ratelimit-reset"), asked) {
            if let Some(pool) = self.pools.get_mut(resource) {
                (pool.left, pool.resets_at) = (0, reset);
            }
            let seconds = reset.saturating_sub(now).max(1);
            return wait(whom, "nothing is left of the token's limit", seconds);
        }
        let seconds = asked.unwrap_or_else(|| (WAIT.0 << self.refusals.min(5)).min(WAIT.1));
        self.refusals += 1;
        self.shut = self.shut.max(now + seconds);
        wait(whom, "it asked to be left alone", seconds)
    }

    pub(crate) fn quota(&self, account: &str, now: u64) -> Vec<Quota> {
        let one = |(name, pool): (&String, &Pool)| {
            let over = pool.resets_at <= now;
            Quota {
                name: name.clone(),
                account: account.to_owned(),
                limit: pool.limit,
                remaining: if over { pool.limit } else { pool.left },
                resets_at: pool.resets_at,
                spent: if over { 0 } else { pool.spent },
            }
        };
        self.pools.iter().map(one).collect()
    }
}

fn wait(whom: &str, why: &str, seconds: u64) -> PluginError {
    let what = format!("{whom} is not asked for {}", text::duration_short(seconds));
    PluginError::transient(what, why).with_retry_after(Duration::from_secs(seconds))
}

/// Whether an answer of GraphQL with 200 tells of a limit, by whatever word of those that it is known to use.
pub(crate) fn is_told(errors: &[GraphError], message: Option<&str>, headers: &HeaderMap) -> bool {
    let named = |word: &str| word.to_uppercase().contains("RATE_LIMIT");
    let says = |message: &str| speaks_of_one(&message.to_lowercase());
    let one = |error: &GraphError| named(&error.kind) || named(&error.code) || says(&error.message);
    errors.iter().any(one)
        || message.is_some_and(says)
        || headers.contains_key(RETRY_AFTER) && (!errors.is_empty() || message.is_some())
}

fn speaks_of_one(message: &str) -> bool {
    message.contains("rate limit") || message.contains("abuse detection")
}

/// A 403 or 429 for a limit, and not for a right that is missing.
pub(crate) fn is_limit(status: u16, headers: &HeaderMap, message: &str) -> bool {
    let message = message.to_lowercase();
    status == 429
        || headers.contains_key(RETRY_AFTER)
        || headers.get("x-ratelimit-remaining").is_some_and(|left| left == "0")
        || speaks_of_one(&message)
}
