//! What can be set, and what of it text alone can tell.

use std::{fmt, net::IpAddr, path::PathBuf};

use ao_sdk::Secret;
use ao_slots::PluginError;
use lettre::message::Mailbox;
use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use crate::NAME;

/// What can be set under `notifiers.<name>` beside `plugin: email`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// The mail server.
    #[serde(default)]
    pub smtp: Option<Smtp>,
    /// The same in one text: `smtps://name:password@host:465`, or `smtp://…` for STARTTLS.
    #[serde(default)]
    pub url: Option<Secret>,
    /// The address that sends, e.g. `ao@example.org`.
    pub from: String,
    /// Who receives: an address, or a list of them.
    pub to: Addresses,
    /// Where answers go; nobody reads the sender's mailbox for `ao`.
    #[serde(default)]
    pub reply_to: Option<String>,
    /// Lets `tls: none` reach another machine than this one: everybody on the way can read the mails and the password.
    #[serde(default)]
    pub allow_plain: bool,
}

/// A mail server, and who logs in there.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Smtp {
    /// Its name, as its certificate has it.
    pub host: String,
    /// 465 for `tls`, 587 for `starttls`, 25 for `none` where it is not given.
    #[serde(default)]
    pub port: Option<u16>,
    /// How the connection is encrypted; `tls` on port 465, else `starttls`.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// Who logs in; nobody where it is not given.
    #[serde(default)]
    pub username: Option<String>,
    /// An app password where the provider has such.
    #[serde(default)]
    pub password: Option<Secret>,
    /// A file with the certificate of a private authority, PEM; it is trusted beside the system's own.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

/// How a connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// From the first byte on (RFC 8314).
    Tls,
    /// After the greeting (RFC 3207); never without.
    Starttls,
    /// Not at all.
    None,
}

/// An address, or a list of them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "neither an address nor a list of addresses")]
pub enum Addresses {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

/// Where mails are handed in. Checked.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: Tls,
    pub(crate) login: Option<(String, Secret)>,
    pub(crate) ca_file: Option<PathBuf>,
}

/// Who sends what to whom, and by whom. Checked.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) endpoint: Endpoint,
    pub(crate) from: Mailbox,
    pub(crate) to: Vec<Mailbox>,
    pub(crate) reply_to: Option<Mailbox>,
}

/// Most recipients of one channel.
const RECIPIENTS: usize = 50;

impl Settings {
    /// Checks what text can tell.
    pub(crate) fn target(&self) -> Result<Target, PluginError> {
        let to = match &self.to {
            Addresses::One(address) => std::slice::from_ref(address),
            Addresses::Several(addresses) => addresses,
        };
        if to.is_empty() || to.len() > RECIPIENTS {
            return Err(invalid("to", format!("1 to {RECIPIENTS} addresses are possible")));
        }
        let endpoint = match (&self.smtp, &self.url) {
            (Some(smtp), None) => smtp.endpoint()?,
            (None, Some(url)) => from_url(url.reveal())?,
            (Some(_), Some(_)) => return Err(invalid("url", "`smtp` is there as well")),
            (None, None) => {
                return Err(invalid("smtp", "neither `smtp` nor `url` is there")
                    .with_remedy("ao notify setup email"));
            }
        };
        if endpoint.tls == Tls::None && !self.allow_plain && !is_loopback(&endpoint.host) {
            let remedy = "use `tls: starttls` or `tls: tls`; if everybody on the way may read along, `allowPlain: true`";
            let cause = format!("{} is another machine", endpoint.host);
            return Err(invalid("tls", cause).with_remedy(remedy));
        }
        Ok(Target {
            endpoint,
            from: mailbox("from", &self.from)?,
            to: to.iter().map(|address| mailbox("to", address)).collect::<Result<_, _>>()?,
            reply_to: self.reply_to.as_ref().map(|a| mailbox("replyTo", a)).transpose()?,
        })
    }
}

impl Smtp {
    fn endpoint(&self) -> Result<Endpoint, PluginError> {
        let by_port = if self.port == Some(465) { Tls::Tls } else { Tls::Starttls };
        let tls = self.tls.unwrap_or(by_port);
        let login = match (&self.username, &self.password) {
            (Some(name), Some(password)) => Some((name.clone(), password.clone())),
            (None, None) => None,
            (Some(_), None) => return Err(invalid("password", "only the `username` is there")),
            (None, Some(_)) => return Err(invalid("username", "only the `password` is there")),
        };
        Endpoint { host: self.host.clone(), port: 0, tls, login, ca_file: self.ca_file.clone() }
            .checked(self.port)
    }
}

impl Endpoint {
    fn checked(self, port: Option<u16>) -> Result<Self, PluginError> {
        let usual = match self.tls {
            Tls::Tls => 465,
            Tls::Starttls => 587,
            Tls::None => 25,
        };
        let port = port.unwrap_or(usual);
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':');
        if self.host.is_empty() || !self.host.chars().all(is_name) {
            return Err(invalid("host", "it is not the name of a machine"));
        }
        if port == 0 {
            return Err(invalid("port", "0 is no port"));
        }
        let secret = |text: &str| text.is_empty() || text.contains(['\r', '\n', '\0']);
        match &self.login {
            Some((name, _)) if secret(name) => {
                Err(invalid("username", "it is empty or has a line break"))
            }
            Some((_, password)) if secret(password.reveal()) => {
                Err(invalid("password", "it is empty or has a line break"))
            }
            _ => Ok(Self { port, ..self }),
        }
    }
}

fn from_url(text: &str) -> Result<Endpoint, PluginError> {
    // The parser's own words never quote the text.
    let url = Url::parse(text.trim()).map_err(|error| invalid("url", error.to_string()))?;
    let tls = match url.scheme() {
        "smtps" => Tls::Tls,
        "smtp" => Tls::Starttls,
        _ => return Err(invalid("url", "it begins with neither smtps:// nor smtp://")),
    };
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err(invalid("url", "something follows the host and the port"));
    }
    let decoded = |part: &str| {
        let decoded = percent_decode_str(part).decode_utf8();
        decoded.map(String::from).map_err(|_| invalid("url", "a `%` is not followed by UTF-8"))
    };
    let login = match (url.username(), url.password()) {
        ("", None) => None,
        (name, Some(password)) => Some((decoded(name)?, Secret::new(decoded(password)?))),
        (_, None) => return Err(invalid("url", "it has a name and no password")),
    };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    Endpoint { host, port: 0, tls, login, ca_file: None }.checked(url.port())
}

fn mailbox(key: &str, text: &str) -> Result<Mailbox, PluginError> {
    let shown = ao_slots::text::cut(&ao_slots::text::one_line(text), 80);
    let mailbox: Mailbox =
        text.trim().parse().map_err(|error| invalid(key, format!("{shown}: {error}")))?;
    if mailbox.email.to_string().is_ascii() {
        return Ok(mailbox);
    }
    Err(invalid(key, format!("{shown}: an address has ASCII characters only"))
        .with_remedy("write the domain in its xn-- form"))
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn invalid(key: &str, cause: impl fmt::Display) -> PluginError {
    PluginError::permanent(format!("`{key}` of the `{NAME}` notifier is not valid"), cause)
}
