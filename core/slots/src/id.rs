//! Ids are types, checked once: whoever holds one need not check it again.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a text is not an id of the wanted type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind}: {rule}")]
pub struct IdError {
    /// What was wanted, in the words of the product, e.g. `session`.
    pub kind: &'static str,
    /// The refused text, at most 60 characters of it, control characters removed.
    pub text: String,
    /// The rule it breaks.
    pub rule: &'static str,
}

impl IdError {
    fn new(kind: &'static str, text: &str, rule: &'static str) -> Self {
        let text = text.chars().filter(|c| !c.is_control()).take(60).collect();
        Self { kind, text, rule }
    }
}

/// An id that is a checked text.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(with = "String")]
        pub struct $name(String);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                let valid: fn(&str) -> bool = $valid;
                if valid(&text) { Ok(Self(text)) } else { Err(IdError::new($kind, &text, $rule)) }
            }
        }
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::try_from(text.to_owned())
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// An id that is a number with a prefix, e.g. `i-142`. Numbers are given once and never reused.
macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(with = "String")]
        pub struct $name(pub u64);

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                parse_number(text, $prefix)
                    .map(Self)
                    .ok_or_else(|| IdError::new($kind, text, concat!("it is written ", $prefix, "<number>")))
            }
        }
        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&format!("{}{}", $prefix, self.0))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }
    };
}

/// Digits without sign, space or leading zero, behind `prefix`.
fn parse_number(text: &str, prefix: &str) -> Option<u64> {
    let digits = text.strip_prefix(prefix)?;
    let plain =
        digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    if plain { digits.parse().ok() } else { None }
}

fn is_name(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        && !text.contains("..")
}

fn is_prefix(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        && text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
}

fn is_session(text: &str) -> bool {
    text.rsplit_once('-')
        .is_some_and(|(prefix, n)| is_prefix(prefix) && parse_number(n, "").is_some_and(|n| n > 0))
}

text_id!(
    /// A configured repository, e.g. `my-app`.
    ProjectId, "project", "1 to 64 letters, digits, `-`, `_` or `.`, first a letter or digit", |t| is_name(t, 64)
);
text_id!(
    /// One agent instance at work on one thing, e.g. `app-3`. Never reused within a data directory.
    SessionId, "session", "it is written <prefix>-<number>, e.g. app-3", is_session
);
text_id!(
    /// The first part of a session's id, e.g. `app`.
    SessionPrefix, "session prefix", "1 to 64 letters, digits, `-` or `_`, first a letter", is_prefix
);
text_id!(
    /// One configured notifier, e.g. `team-slack`.
    ChannelName, "channel", "1 to 64 letters, digits, `-`, `_` or `.`, first a letter or digit", |t| is_name(t, 64)
);
text_id!(
    /// The identity of one data directory: a ULID of 26 characters, made once.
    InstanceId, "instance", "26 characters of Crockford's base 32", |t| {
        t.len() == 26 && t.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
    }
);

number_id!(
    /// Something that may need a human, e.g. `i-142`.
    IncidentId, "incident", "i-"
);
number_id!(
    /// The projection of an incident onto channels, e.g. `n-12`.
    NotificationId, "notification", "n-"
);
number_id!(
    /// A permission or a question that an agent waits for, e.g. `r-7`.
    RequestId, "request", "r-"
);
number_id!(
    /// A message queued for an agent, e.g. `m-3`.
    MessageId, "message", "m-"
);
number_id!(
    /// What a human does not want to hear of for a while, e.g. `s-2`.
    SilenceId, "silence", "s-"
);
number_id!(
    /// A browser or a program that may come in by the web, e.g. `k-3`.
    AccessId, "access", "k-"
);
number_id!(
    /// An event's place in the journal, e.g. `e4821`. The first is `e1`.
    Seq, "event", "e"
);

impl SessionId {
    /// Composes the id of the `number`th session with this prefix. `number` starts at 1.
    pub fn compose(prefix: &SessionPrefix, number: u32) -> Self {
        Self(format!("{prefix}-{}", number.max(1)))
    }

    /// The part before the number.
    pub fn prefix(&self) -> &str {
        self.0.rsplit_once('-').map_or("", |(prefix, _)| prefix)
    }

    /// The number, at least 1; 0 for a number beyond 32 bits.
    pub fn number(&self) -> u32 {
        self.0.rsplit_once('-').and_then(|(_, n)| n.parse().ok()).unwrap_or(0)
    }
}

/// Which start of the agent within its session: 1 for the first, one more at each restore. A signal that
/// carries another number than the session's present one is stale and dropped.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    Default,
)]
#[serde(transparent)]
pub struct Launch(pub u32);

impl fmt::Display for Launch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A pull request's number within its repository.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct PrNumber(pub u64);

impl fmt::Display for PrNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s12_session_ids_that_could_reach_a_path_or_an_argument_are_refused() {
        let long = format!("{}-1", "a".repeat(4096));
        for bad in [
            "",
            "app",
            "app-",
            "-1",
            "app-0",
            "app-01",
            "app--",
            "app-1x",
            "../../x-1",
            "a/b-1",
            "a;rm-1",
            "app-1\0",
            "app-1\n",
            "аpp-1",
            "app-１",
            "--force-1",
            "a b-1",
            "app-99999999999999999999999",
            long.as_str(),
        ] {
            assert!(bad.parse::<SessionId>().is_err(), "{bad:?} was accepted");
        }
        for good in ["app-3", "my_app-12", "my-app-1", "A-1"] {
            assert_eq!(good.parse::<SessionId>().unwrap().as_str(), good);
        }
    }

    #[test]
    fn numbered_ids_read_back_what_they_print() {
        assert_eq!("i-142".parse::<IncidentId>().unwrap(), IncidentId(142));
        assert_eq!("e4821".parse::<Seq>().unwrap().to_string(), "e4821");
        for bad in ["i-", "i142", "i--1", "i-+1", "i-01", "n-1", " i-1"] {
            assert!(bad.parse::<IncidentId>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn an_id_in_json_passes_the_same_door() {
        assert!(serde_json::from_str::<SessionId>("\"../x-1\"").is_err());
        assert_eq!(serde_json::to_string(&IncidentId(3)).unwrap(), "\"i-3\"");
    }

    #[test]
    fn an_error_names_the_text_and_the_rule_without_control_characters() {
        let error = "a\x1b[31m".parse::<SessionId>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "`a[31m` is not a session: it is written <prefix>-<number>, e.g. app-3"
        );
    }
}
