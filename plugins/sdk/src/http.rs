//! Requests to services: one client with one TLS, a guard against private addresses, and how a failed exchange is
//! told: what surely was not taken apart from what is in doubt, without the address, which may hold a secret.
//!
//! Proxies are not used and redirects are not followed: either would lead past the guard, and a redirect would carry
//! what is secret to somebody else.

mod guard;

use std::{future::Future, net::IpAddr, sync::Arc, time::Duration};

use ao_slots::{
    Call, ErrorKind, PluginError,
    text::{cut, one_line},
};
use jiff::Timestamp;
use reqwest::{
    Client, Response, StatusCode, Url,
    header::{HeaderMap, RETRY_AFTER},
    redirect::Policy,
};

pub use self::guard::{Blocked, PublicOnly, REMEDY, blocked, is_public};

/// How long a connection may take, so that a machine that is away is told from one that is slow.
const CONNECT: Duration = Duration::from_secs(3);
/// The longest answer that a service gives to what it took; it may repeat all of a message, escaped.
const WHOLE_LIMIT: usize = 256 * 1024;
/// How much of a refusal's text is read.
const ANSWER_LIMIT: usize = 16 * 1024;
/// How long the rest of a refusal's text is waited for.
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);

/// A client whose names lead to public machines alone, or to any where that is allowed; what is written as a number is
/// not looked up, so the address comes through [`check`] first. Each request has a connection of its
/// own: on one that has lain idle for long the other side may be gone, which leaves a message in doubt.
pub fn client(allow_private: bool) -> Result<Client, PluginError> {
    provide();
    let mut builder = Client::builder()
        .user_agent(concat!("ao/", env!("CARGO_PKG_VERSION")))
        .no_proxy()
        .redirect(Policy::none())
        .pool_max_idle_per_host(0)
        .connect_timeout(CONNECT);
    if !allow_private {
        builder = builder.dns_resolver(Arc::new(PublicOnly));
    }
    builder.build().map_err(|error| {
        PluginError::new(ErrorKind::Missing, "cannot make an HTTPS client", chain(&error))
            .with_remedy("install the system's root certificates, e.g. the package ca-certificates")
    })
}

/// Makes sure that there is a provider of cryptography, which a client of any kind takes. A program has one; whoever comes
/// first installs it.
pub fn provide() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

/// Refuses an address that is written as a number and not public, unless that is allowed. The parser of [`Url`] has made
/// numbers of all the ways to write an IPv4 address.
pub fn check(url: &Url, allow_private: bool) -> Result<(), Blocked> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    match host.parse::<IpAddr>() {
        Ok(address) if !allow_private && !is_public(address) => Err(Blocked(address)),
        _ => Ok(()),
    }
}

/// An exchange within the call's limit; past it what `whom` made of it is in doubt.
pub async fn within<T>(
    call: &Call,
    whom: &str,
    exchange: impl Future<Output = Result<T, PluginError>>,
) -> Result<T, PluginError> {
    let late = |_| PluginError::in_doubt(whom, format!("no answer in {} ms", call.limit_ms));
    tokio::time::timeout(call.limit(), exchange).await.map_err(late)?
}

/// Why there is no answer of `whom`, e.g. `the webhook at example.org`; `settings` says what to correct where the
/// request could not even be made.
pub fn unanswered(whom: &str, error: &reqwest::Error, settings: &str) -> PluginError {
    if let Some(blocked) = blocked(error) {
        return PluginError::permanent(format!("cannot reach {whom}"), blocked).with_remedy(REMEDY);
    }
    let cause = chain(error);
    if error.is_connect() {
        PluginError::transient(format!("cannot reach {whom}"), cause)
    } else if error.is_builder() {
        PluginError::permanent(format!("cannot reach {whom}"), cause).with_remedy(settings)
    } else {
        PluginError::in_doubt(format!("{whom} gave no answer"), cause)
    }
}

/// Whether a status that is no success may be one later.
pub fn passes(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429 | 500..)
}

/// How long a service wants to be left alone: seconds or a date, RFC 9110 §10.2.3.
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Some(Duration::try_from(at.duration_since(now)).unwrap_or_default())
}

/// The answer of `whom` to what it says it took. As long as there is no whole one, nobody knows what took it: something
/// in between may have cut it off. The call's limit ends the wait.
pub async fn whole(response: &mut Response, whom: &str) -> Result<Vec<u8>, PluginError> {
    let in_doubt =
        |cause: String| PluginError::in_doubt(format!("{whom} gave no whole answer"), cause);
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| in_doubt(chain(&error)))? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > WHOLE_LIMIT {
            return Err(in_doubt(format!("it is longer than {WHOLE_LIMIT} bytes")));
        }
    }
    Ok(bytes)
}

/// The first bytes of a refusal: what there is of it within a second of each other.
pub async fn beginning(response: &mut Response) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < ANSWER_LIMIT {
        match tokio::time::timeout(ANSWER_PATIENCE, response.chunk()).await {
            Ok(Ok(Some(chunk))) => bytes.extend_from_slice(&chunk),
            _ => break,
        }
    }
    bytes.truncate(ANSWER_LIMIT);
    bytes
}

/// The first line's worth of an answer, harmless.
pub fn excerpt(answer: &[u8]) -> String {
    cut(&one_line(&String::from_utf8_lossy(answer)), 200)
}

/// An error and its causes, without the address.
pub fn chain(error: &reqwest::Error) -> String {
    let mut causes = Vec::new();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    causes.dedup();
    if causes.is_empty() { "the request failed".to_owned() } else { causes.join(": ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s16_an_address_in_numbers_is_checked_however_it_is_written() {
        for (url, passes) in [
            ("https://example.org/x", true),
            ("https://93.184.216.34", true),
            ("https://127.0.0.1:8080/x", false),
            ("http://2852039166", false),
            ("http://0x7f.1", false),
            ("https://[::1]", false),
            ("https://[::ffff:10.0.0.1]", false),
        ] {
            let url: Url = url.parse().unwrap();
            assert_eq!(check(&url, false).is_ok(), passes, "{url}");
            assert!(check(&url, true).is_ok(), "{url}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "2026-11-21T11:00:00Z".parse().unwrap();
        let read = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            retry_after(&headers, now)
        };
        assert_eq!(read("120"), Some(Duration::from_secs(120)));
        assert_eq!(read("Sat, 21 Nov 2026 11:00:45 GMT"), Some(Duration::from_secs(45)));
        assert_eq!(read("Sat, 21 Nov 2026 10:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(read("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
