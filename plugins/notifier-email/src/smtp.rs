//! One mail, one conversation with the mail server (RFC 5321), and what its failures mean.

use std::{
    error::Error as _,
    io,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use ao_slots::{
    Call, ErrorKind, PluginError,
    text::{cut, one_line},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use lettre::{
    Address,
    transport::smtp::{
        Error,
        authentication::{Credentials, Mechanism},
        client::{AsyncSmtpConnection, Certificate, TlsParameters},
        commands::{Data, Mail, Noop, Rcpt},
        extension::ClientId,
    },
};

use crate::settings::{Endpoint, Tls};

/// Longest wait for one of the server's addresses, so that a dead one leaves time for the next.
const CONNECT: Duration = Duration::from_secs(2);
/// Longest wait for the server's good-bye, which changes nothing any more.
const GOODBYE: Duration = Duration::from_secs(2);
/// How long to stay away from a server that greylists and does not say for how long: most let a second try pass after
/// 1 to 5 minutes (RFC 6647 §5).
const GREYLISTED: Duration = Duration::from_secs(5 * 60);

/// A mail as it goes over the wire.
pub(crate) struct Raw {
    pub(crate) from: Address,
    pub(crate) to: Vec<Address>,
    /// Headers and body, ASCII, CRLF, no line above 998 characters.
    pub(crate) bytes: Vec<u8>,
}

/// The mail server.
pub(crate) struct Server {
    endpoint: Endpoint,
    tls: Option<TlsParameters>,
}

/// How far a conversation had come when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage<'a> {
    Connect,
    LogIn,
    From(&'a Address),
    To(&'a Address),
    /// The mail was announced, and nothing of it sent.
    Data,
    /// The mail was sent, or a part of it.
    Written,
}

impl Server {
    /// Reads the certificates that are trusted.
    pub(crate) fn new(endpoint: Endpoint) -> Result<Self, PluginError> {
        let parameters = || {
            let mut builder = TlsParameters::builder(endpoint.host.clone());
            if let Some(file) = &endpoint.ca_file {
                let what = || format!("cannot use the certificate in {}", file.display());
                let pem = std::fs::read(file)
                    .map_err(|error| PluginError::new(ErrorKind::Missing, what(), error))?;
                let certificate = Certificate::from_pem(&pem)
                    .map_err(|error| PluginError::permanent(what(), causes(&error)))?;
                builder = builder.add_root_certificate(certificate);
            }
            builder.build_rustls().map_err(|error| {
                let what = format!("cannot encrypt for the mail server {}", endpoint.host);
                PluginError::permanent(what, causes(&error))
            })
        };
        let tls = if endpoint.tls == Tls::None { None } else { Some(parameters()?) };
        Ok(Self { endpoint, tls })
    }

    /// Its name.
    pub(crate) fn host(&self) -> &str {
        &self.endpoint.host
    }

    /// Hands a mail in. `written` is set right before the mail itself goes out: from then on a lost connection tells
    /// nothing. One recipient that is refused refuses the mail: what reached some and not others could not be told.
    pub(crate) async fn deliver(
        &self,
        mail: &Raw,
        written: &AtomicBool,
    ) -> Result<(), PluginError> {
        let mut connection = self.open().await?;
        let failed = |stage: Stage<'_>, error: &Error| self.failure(stage, error);
        let from = Mail::new(Some(mail.from.clone()), Vec::new());
        connection.command(from).await.map_err(|e| failed(Stage::From(&mail.from), &e))?;
        for to in &mail.to {
            let recipient = Rcpt::new(to.clone(), Vec::new());
            connection.command(recipient).await.map_err(|e| failed(Stage::To(to), &e))?;
        }
        connection.command(Data).await.map_err(|e| failed(Stage::Data, &e))?;
        written.store(true, Ordering::SeqCst);
        connection.message(&mail.bytes).await.map_err(|e| failed(Stage::Written, &e))?;
        leave(connection);
        Ok(())
    }

    /// Whether it lets us in: connects, logs in, says NOOP and leaves.
    pub(crate) async fn check(&self, call: &Call) -> Result<(), PluginError> {
        let look = async {
            let mut connection = self.open().await?;
            connection.command(Noop).await.map_err(|e| self.failure(Stage::Data, &e))?;
            leave(connection);
            Ok(())
        };
        tokio::time::timeout(call.limit(), look)
            .await
            .unwrap_or_else(|_| Err(self.late(call, false)))
    }

    /// Nothing came within the call's limit.
    pub(crate) fn late(&self, call: &Call, written: bool) -> PluginError {
        let cause = format!("no answer in {} ms", call.limit_ms);
        if written {
            return self
                .in_doubt(cause)
                .with_remedy("if this server is always slow, raise `lifecycle.limits.notify`");
        }
        let error = PluginError::transient(self.what(Stage::Connect), cause);
        match (self.endpoint.tls, self.endpoint.port) {
            (Tls::Starttls, 465) => error.with_remedy("port 465 wants `tls: tls`"),
            _ => error,
        }
    }

    /// Connected, encrypted and logged in.
    async fn open(&self) -> Result<AsyncSmtpConnection, PluginError> {
        let Endpoint { host, port, tls, login, .. } = &self.endpoint;
        let (implicit, explicit) = match tls {
            Tls::Tls => (self.tls.clone(), None),
            Tls::Starttls => (None, self.tls.clone()),
            Tls::None => (None, None),
        };
        let hello = ClientId::default();
        let failed = |error| self.failure(Stage::Connect, &error);
        let server = (host.as_str(), *port);
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(server, Some(CONNECT), &hello, implicit, None)
                .await
                .map_err(failed)?;
        if let Some(parameters) = explicit {
            connection.starttls(parameters, &hello).await.map_err(failed)?;
        }
        if let Some((name, password)) = login {
            let credentials = Credentials::new(name.clone(), password.reveal().to_owned());
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            let entered = connection.auth(&mechanisms, &credentials).await;
            entered.map_err(|error| self.failure(Stage::LogIn, &error))?;
        }
        Ok(connection)
    }

    fn what(&self, stage: Stage<'_>) -> String {
        let host = self.host();
        match stage {
            Stage::Connect => format!("cannot reach the mail server {host}"),
            Stage::LogIn => format!("the mail server {host} did not let ao log in"),
            Stage::From(address) => format!("the mail server {host} takes no mail from {address}"),
            Stage::To(address) => format!("the mail server {host} takes no mail to {address}"),
            Stage::Data | Stage::Written => format!("the mail server {host} took no mail"),
        }
    }

    fn in_doubt(&self, cause: String) -> PluginError {
        let what = format!("the mail server {} did not say whether it took the mail", self.host());
        PluginError::in_doubt(what, cause)
    }

    fn failure(&self, stage: Stage<'_>, error: &Error) -> PluginError {
        let (what, cause) = (self.what(stage), self.hide(&causes(error)));
        if let Some(status) = error.status() {
            let (code, text) = (u16::from(status), cause.to_lowercase());
            let cause = format!("{code} {cause}");
            if error.is_permanent() {
                return PluginError::permanent(what, cause).with_remedy(remedy(code, &text, stage));
            }
            let error = PluginError::transient(what, cause);
            return match wait(&text) {
                Some(wait) => error.with_retry_after(wait),
                None => error,
            };
        }
        if stage == Stage::Written {
            return self.in_doubt(cause);
        }
        if let Some(remedy) = self.encryption(error) {
            return PluginError::permanent(what, cause).with_remedy(remedy);
        }
        if error.is_client() {
            let remedy = match (stage, self.endpoint.tls) {
                (Stage::LogIn, Tls::None) => "use `tls: starttls`: nobody is let in before",
                (Stage::LogIn, _) => {
                    "leave out `username` and `password`, or use a port that knows AUTH"
                }
                _ => "use `tls: tls` and port 465, or another port",
            };
            return PluginError::permanent(what, cause).with_remedy(remedy);
        }
        PluginError::transient(what, cause)
    }

    /// What to do where the two ends cannot agree on encryption.
    fn encryption(&self, error: &Error) -> Option<String> {
        let mut next = error.source();
        while let Some(cause) = next {
            // What an `io::Error` wraps is not among its sources.
            let wrapped = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            let inner = wrapped.and_then(|wrapped| wrapped.downcast_ref::<rustls::Error>());
            match inner.or_else(|| cause.downcast_ref()) {
                Some(rustls::Error::InvalidCertificate(_)) => {
                    return Some(format!(
                        "set `host` to the name in the server's certificate (now {}); for a private authority set `caFile`",
                        self.host()
                    ));
                }
                Some(rustls::Error::InvalidMessage(_)) => {
                    return Some(format!(
                        "port {} does not begin with TLS: use `tls: starttls`, or port 465",
                        self.endpoint.port
                    ));
                }
                Some(rustls::Error::PeerIncompatible(_) | rustls::Error::AlertReceived(_)) => {
                    return Some("let the mail server offer TLS 1.2 or newer".to_owned());
                }
                _ => next = cause.source(),
            }
        }
        None
    }

    /// A server's words on one line, without what we told it in secret, should it repeat that.
    fn hide(&self, text: &str) -> String {
        let mut text = one_line(text);
        if let Some((name, password)) = &self.endpoint.login {
            let both = format!("\0{name}\0{}", password.reveal());
            let encoded =
                [both.as_str(), password.reveal()].map(|secret| BASE64_STANDARD.encode(secret));
            for secret in encoded.iter().map(String::as_str).chain([password.reveal()]) {
                text = text.replace(secret, "[hidden]");
            }
        }
        cut(&text, 300)
    }
}

/// Says good-bye without waiting for the answer.
fn leave(mut connection: AsyncSmtpConnection) {
    tokio::spawn(async move { tokio::time::timeout(GOODBYE, connection.quit()).await });
}

/// An error's causes; itself it only says of what kind it is.
fn causes(error: &Error) -> String {
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    causes.dedup();
    if causes.is_empty() { error.to_string() } else { causes.join(": ") }
}

/// What to do about a refusal that no repetition changes: by its code (RFC 5321 §4.2.3, RFC 4954 §6), and by the
/// enhanced one (RFC 3463) in its text, which is in lower case.
fn remedy(code: u16, text: &str, stage: Stage<'_>) -> &'static str {
    let encrypted = "use `tls: starttls`, or `tls: tls` and port 465";
    match (code, stage) {
        (530 | 538, _) if code == 538 || text.contains("starttls") => encrypted,
        (530, _) => "set `username` and `password`",
        (534, _) => "make an app password at the provider and set it as `password`",
        (535, _) => {
            "check `username` and `password`; an account with two-factor log-in needs an app password"
        }
        (500..=504, _) => {
            "check `host` and `port`: this does not look like a mail server for log-ins"
        }
        (_, Stage::LogIn) => "check `username` and `password`",
        (_, Stage::From(_)) => "set `from` to an address that this account may send from",
        (552, _) if text.contains("5.2.2") => "empty the recipient's mailbox",
        (552, Stage::Written) => "raise the server's limit for the size of a mail",
        (_, Stage::To(_)) => {
            "check `to`; if the address is right, log in as somebody who may send there"
        }
        (_, Stage::Connect) => "ask whoever runs the mail server to let this machine in",
        _ => "do what the mail server says, or ask whoever runs it",
    }
}

/// How long a server wants to be left alone: as its text, in lower case, says, or as greylisting usually lasts.
fn wait(text: &str) -> Option<Duration> {
    let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric()).collect();
    let said = words.windows(2).find_map(|pair| {
        let number: u64 = pair[0].parse().ok()?;
        let unit = match pair[1] {
            "s" | "sec" | "secs" | "second" | "seconds" => 1,
            "min" | "mins" | "minute" | "minutes" => 60,
            _ => return None,
        };
        // More than an hour is no hint to wait, it is a limit of another kind.
        let seconds = number.saturating_mul(unit);
        (1..=3600).contains(&seconds).then(|| Duration::from_secs(seconds))
    });
    said.or_else(|| (text.contains("greylist") || text.contains("graylist")).then_some(GREYLISTED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_may_say_how_long_to_wait() {
        for (text, seconds) in [
            ("4.7.1 greylisted, see https://example.org/help", Some(300)),
            ("4.7.1 please try again in 120 seconds", Some(120)),
            ("greylisted for 2 minutes", Some(120)),
            ("4.2.1 try again in 0 seconds", None),
            ("4.3.2 try again after 900000000000000000 minutes", None),
            ("4.3.2 system not accepting network messages", None),
        ] {
            assert_eq!(wait(text), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
