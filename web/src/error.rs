//! What a caller hears when it does not get what it asked for: RFC 9457 problem details, made in one place.

use ao_core::{
    decide::{Refusal, RefusalKind},
    event::Failure,
    slots::{ErrorKind, PluginError},
};
use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The media type of a problem document.
pub(crate) const PROBLEM: &str = "application/problem+json";

/// What kind of problem it is, for programs; decides the exit code of the CLI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// No such session, project, issue or incident.
    NotFound,
    /// Refused to protect work or a newer state.
    Conflict,
    /// The request makes no sense.
    Invalid,
    /// Nobody knows who calls.
    SignedOut,
    /// Not by this caller.
    Forbidden,
    /// Not before a human said yes.
    Unconfirmed,
    /// Too many requests in a short time.
    TooOften,
    /// The server cannot take it now; repeat it.
    Unavailable,
    /// The configuration is not valid.
    Config,
    /// Something is missing on this machine.
    Missing,
    /// Sent, and not confirmed.
    InDoubt,
    /// It failed.
    Failed,
}

/// A problem, as JSON of the type `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A URI that names the kind.
    #[serde(rename = "type")]
    pub kind: Box<str>,
    /// What failed: a sentence without full stop.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// When what the title ends with happened; who prints it adds the time in the reader's zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// The cause, where the title does not say it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What to do: a command or a place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// The kind, for programs.
    pub code: Code,
}

impl Problem {
    /// A problem of this kind.
    pub fn new(code: Code, title: impl Into<String>) -> Self {
        let status = match code {
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::Conflict => StatusCode::CONFLICT,
            Code::Invalid => StatusCode::BAD_REQUEST,
            Code::SignedOut => StatusCode::UNAUTHORIZED,
            Code::TooOften => StatusCode::TOO_MANY_REQUESTS,
            Code::Forbidden => StatusCode::FORBIDDEN,
            Code::Unconfirmed => StatusCode::PRECONDITION_REQUIRED,
            // The journal cannot be written: hooks keep what they have and come again.
            Code::Unavailable => StatusCode::INSUFFICIENT_STORAGE,
            Code::Config => StatusCode::UNPROCESSABLE_ENTITY,
            Code::Missing => StatusCode::FAILED_DEPENDENCY,
            Code::InDoubt => StatusCode::GATEWAY_TIMEOUT,
            Code::Failed => StatusCode::BAD_GATEWAY,
        };
        let word =
            serde_json::to_value(code).ok().and_then(|word| word.as_str().map(str::to_owned));
        Self {
            kind: format!("urn:ao:problem:{}", word.unwrap_or_default()).into(),
            title: title.into(),
            status: status.as_u16(),
            at: None,
            detail: None,
            remedy: None,
            code,
        }
    }

    /// The same with its cause; an empty one says nothing.
    #[must_use]
    pub fn because(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into()).filter(|detail| !detail.is_empty());
        self
    }

    /// The same with a remedy.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal.kind {
            RefusalKind::NotFound => Code::NotFound,
            RefusalKind::Conflict => Code::Conflict,
            RefusalKind::Invalid => Code::Invalid,
            RefusalKind::Forbidden => Code::Forbidden,
            RefusalKind::Unconfirmed => Code::Unconfirmed,
            RefusalKind::Unavailable => Code::Unavailable,
        };
        Self { at: refusal.at, remedy: refusal.remedy, ..Self::new(code, refusal.message) }
    }
}

impl From<PluginError> for Problem {
    fn from(error: PluginError) -> Self {
        let code = match error.kind {
            ErrorKind::NotFound => Code::NotFound,
            ErrorKind::Refused => Code::Conflict,
            ErrorKind::Missing => Code::Missing,
            ErrorKind::InDoubt => Code::InDoubt,
            ErrorKind::Unsupported => Code::Invalid,
            ErrorKind::Transient | ErrorKind::Permanent => Code::Failed,
        };
        Self { remedy: error.remedy, ..Self::new(code, error.what).because(error.cause) }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let remedy = failure.remedy;
        Self { remedy, ..PluginError::new(failure.kind, failure.message, "").into() }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let json = serde_json::to_vec(&self).unwrap_or_default();
        let kind = [(header::CONTENT_TYPE, PROBLEM)];
        let more = match self.code {
            // The loop tries an unwritable journal again every 5 s.
            Code::Unavailable => Some([(header::RETRY_AFTER, "5")]),
            Code::TooOften => Some([(header::RETRY_AFTER, "1")]),
            Code::SignedOut => Some([(header::WWW_AUTHENTICATE, "Bearer")]),
            _ => None,
        };
        (status, kind, more, json).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_and_a_plugins_failure_keep_their_three_parts() {
        let refusal = Refusal::new(RefusalKind::Conflict, "app-1 works on #44")
            .with_remedy("ao session attach app-1");
        let json = serde_json::to_value(Problem::from(refusal)).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "type": "urn:ao:problem:conflict", "title": "app-1 works on #44", "status": 409,
                "remedy": "ao session attach app-1", "code": "conflict",
            })
        );
        let error = PluginError::new(ErrorKind::Missing, "tmux could not be run", "not found")
            .with_remedy("install tmux");
        let problem = Problem::from(error);
        assert_eq!(
            (problem.status, problem.code, problem.detail.as_deref()),
            (424, Code::Missing, Some("not found"))
        );
        assert_eq!(
            serde_json::from_value::<Problem>(serde_json::to_value(&problem).unwrap()).unwrap(),
            problem
        );
    }

    #[test]
    fn r6_only_what_cannot_be_recorded_now_says_when_to_come_again() {
        let answer = |kind| Problem::from(Refusal::new(kind, "no")).into_response();
        let full = answer(RefusalKind::Unavailable);
        assert_eq!(full.status(), StatusCode::INSUFFICIENT_STORAGE);
        assert_eq!(full.headers()[header::RETRY_AFTER], "5");
        assert!(!answer(RefusalKind::Conflict).headers().contains_key(header::RETRY_AFTER));
    }
}
