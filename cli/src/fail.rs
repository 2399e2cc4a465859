//! How a command fails: what failed, the cause, the remedy, and the exit code that scripts read.

use std::fmt;

use ao_web::{Code, Problem};
use jiff::{Timestamp, tz::TimeZone};

/// The exit codes, as `ao help exit-codes` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// The thing asked for failed.
    Failed = 1,
    /// Unknown flag, bad value.
    Usage = 2,
    /// The configuration is invalid.
    Config = 3,
    /// No such session, project, issue, incident.
    NotFound = 4,
    /// Refused to protect work or a newer state.
    Refused = 5,
    /// The server cannot be reached or started.
    Server = 6,
    /// Something is missing on this machine.
    Missing = 7,
    /// Not confirmed, or a question with `--no-input`.
    NotConfirmed = 8,
    /// Partly done.
    Partly = 9,
    /// Sent, but not confirmed in time.
    InDoubt = 10,
}

/// A failure in three parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fail {
    /// What scripts read.
    pub exit: Exit,
    /// What failed, with the name of the thing.
    pub what: String,
    /// The cause, where `what` does not say it.
    pub cause: Option<String>,
    /// What else is to be known, each with its name: what was undone, where the log lies.
    pub more: Vec<(&'static str, String)>,
    /// What to do.
    pub remedy: Option<String>,
}

impl Fail {
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), cause: None, more: vec![], remedy: None }
    }

    pub(crate) fn because(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// As `--json` prints it.
    pub(crate) fn document(&self) -> serde_json::Value {
        let mut document = serde_json::json!({
            "schema": "ao.error/1", "exit": self.exit as u8, "title": self.what, "detail": self.cause, "remedy": self.remedy,
        });
        for (name, words) in &self.more {
            document[name] = words.as_str().into();
        }
        document
    }

    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

impl From<Problem> for Fail {
    fn from(problem: Problem) -> Self {
        let exit = match problem.code {
            Code::NotFound => Exit::NotFound,
            Code::Conflict => Exit::Refused,
            Code::Invalid => Exit::Usage,
            Code::Forbidden | Code::SignedOut => Exit::Refused,
            Code::Unconfirmed => Exit::NotConfirmed,
            Code::Unavailable | Code::TooOften => Exit::Server,
            Code::Config => Exit::Config,
            Code::Missing => Exit::Missing,
            Code::InDoubt => Exit::InDoubt,
            Code::Failed => Exit::Failed,
        };
        let clock = |at| crate::render::clock(Timestamp::now(), at, &TimeZone::system(), "%H:%M");
        let what = match problem.at {
            Some(at) => format!("{} at {}", problem.title, clock(at)),
            None => problem.title,
        };
        Self { cause: problem.detail, remedy: problem.remedy, ..Self::new(exit, what) }
    }
}

impl From<ao_core::slots::PluginError> for Fail {
    fn from(error: ao_core::slots::PluginError) -> Self {
        Problem::from(error).into()
    }
}

impl From<std::io::Error> for Fail {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::Failed, "something could not be read or written").because(error)
    }
}

/// The causes of an error in one line: `a: b: c`.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
