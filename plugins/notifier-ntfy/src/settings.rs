//! What can be set, and what of it text alone can tell.

use std::{fmt, net::IpAddr};

use ao_sdk::{
    Secret, digest,
    http::{self, REMEDY},
};
use ao_slots::PluginError;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::{Url, header::HeaderValue};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::NAME;

/// What can be set under `notifiers.<name>` beside `plugin: ntfy`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// The server.
    #[serde(default = "ntfy_sh")]
    pub server: String,
    /// Where messages go; on a public server its name is the password.
    pub topic: Secret,
    /// Where the phone's buttons report, read by `ao` alone; without it there are no buttons.
    #[serde(default)]
    pub reply_topic: Option<Secret>,
    /// An access token of the server, `tk_…`. It never leaves this machine but to the server.
    #[serde(default)]
    pub token: Option<Secret>,
    /// A user of the server, in place of a token.
    #[serde(default)]
    pub username: Option<String>,
    /// The user's password.
    #[serde(default)]
    pub password: Option<Secret>,
    /// A token that travels with each message, so that a button may write to a protected reply topic: of a user who
    /// may do nothing else. Whoever reads the topic has it.
    #[serde(default)]
    pub reply_token: Option<Secret>,
    /// Sends code and buttons that could do harm by a public server too, whose operator could read and press them; an
    /// account there does not hinder that.
    #[serde(default)]
    pub allow_public: bool,
    /// Lets the server's name lead into a private network. An address or name that can be nowhere else needs no leave.
    #[serde(default)]
    pub allow_private: bool,
    /// The server can change what it has sent: ntfy 2.16 and newer.
    #[serde(default = "yes")]
    pub edits: bool,
    /// Whose phone it is.
    #[serde(default = "phone")]
    pub person: String,
}

fn ntfy_sh() -> String {
    "https://ntfy.sh".to_owned()
}

fn yes() -> bool {
    true
}

fn phone() -> String {
    "phone".to_owned()
}

/// Servers that are open to everybody: ntfy's own and those that its documentation lists (`docs/integrations.md`,
/// "Alternative ntfy servers").
const PUBLIC: [&str; 8] = [
    "ntfy.sh",
    "ntfy.tedomum.net",
    "ntfy.jae.fi",
    "ntfy.adminforge.de",
    "ntfy.envs.net",
    "ntfy.mzte.de",
    "ntfy.hostux.net",
    "ntfy.fossman.de",
];

/// Topics that no server takes, ntfy's `DefaultDisallowedTopics`.
const RESERVED: [&str; 9] =
    ["docs", "static", "file", "app", "metrics", "account", "settings", "signup", "login"];

/// The least length of a name that is a password: 22 characters of 64 are 132 bits.
const UNGUESSABLE: usize = 22;

/// Where messages go and presses come from. Checked.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) server: Url,
    /// The part of the address that may be shown.
    pub(crate) host: String,
    pub(crate) topic: String,
    pub(crate) reply: Option<String>,
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) reply_authorization: Option<String>,
    pub(crate) public: bool,
    pub(crate) allow_private: bool,
    pub(crate) edits: bool,
    pub(crate) person: String,
    /// Names the visitor that the server counts requests of, and tells nothing.
    pub(crate) account: String,
}

impl Settings {
    /// Checks what text can tell.
    pub(crate) fn target(&self) -> Result<Target, PluginError> {
        let server = Url::parse(self.server.trim()).map_err(|error| invalid("server", error))?;
        if !matches!(server.scheme(), "http" | "https") {
            return Err(invalid("server", "it begins with neither https:// nor http://"));
        }
        let more = server.path() != "/" || server.query().is_some() || server.fragment().is_some();
        if more || !server.username().is_empty() || server.password().is_some() {
            return Err(invalid("server", "it is more than a scheme, a host and a port"));
        }
        let host = server.host_str().unwrap_or_default().trim_end_matches('.').to_owned();
        let near = self.allow_private || is_near(&host);
        http::check(&server, near)
            .map_err(|blocked| invalid("server", blocked).with_remedy(REMEDY))?;
        if server.scheme() == "http" && !near {
            let cause = "without https:// everybody on the way reads the topic's name";
            return Err(invalid("server", cause).with_remedy("begin it with https://"));
        }
        let authorization = self.authorization()?;
        // An account there keeps others from writing; it keeps nothing from the operator.
        let listed = PUBLIC.contains(&host.as_str());
        let open = listed && authorization.is_none();
        let topic = topic("topic", &self.topic, open)?;
        let reply = self.reply_topic.as_ref().map(|name| self::topic("replyTopic", name, open));
        let reply = reply.transpose()?;
        if reply.as_ref() == Some(&topic) {
            return Err(invalid("replyTopic", "it is the same as `topic`"));
        }
        if self.reply_token.as_ref().is_some_and(|given| Some(given) == self.token.as_ref()) {
            let cause = "it is the same as `token`, which may do more than answer";
            return Err(invalid("replyToken", cause)
                .with_remedy("make a user who may only write to the reply topic"));
        }
        let bearer = |token: &Secret| format!("Bearer {}", token.reveal());
        let secret = authorization.as_ref().map(HeaderValue::as_bytes).unwrap_or_default();
        let origin = server.origin().ascii_serialization();
        let account = digest([origin.as_bytes(), &[0], secret].concat(), 8);
        Ok(Target {
            host,
            topic,
            reply,
            reply_authorization: self.reply_token.as_ref().map(bearer),
            public: listed && !self.allow_public,
            allow_private: near,
            edits: self.edits,
            person: self.person.clone(),
            account: format!("ntfy-{account}"),
            server,
            authorization,
        })
    }

    fn authorization(&self) -> Result<Option<HeaderValue>, PluginError> {
        let (key, text) = match (&self.token, &self.username, &self.password) {
            (None, None, None) => return Ok(None),
            (Some(token), None, None) => ("token", format!("Bearer {}", token.reveal())),
            (None, Some(user), Some(password)) => {
                let pair = format!("{user}:{}", password.reveal());
                ("password", format!("Basic {}", BASE64_STANDARD.encode(pair)))
            }
            (Some(_), ..) => return Err(invalid("token", "there is a user as well")),
            _ => return Err(invalid("username", "a user has a name and a password")),
        };
        let mut value = HeaderValue::from_str(&text)
            .map_err(|_| invalid(key, "it has a line break or another control character"))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

fn invalid(key: &str, cause: impl fmt::Display) -> PluginError {
    PluginError::permanent(format!("`{key}` of the `{NAME}` notifier is not valid"), cause)
}

/// Whether a host can only be this machine or one in its own network: whoever writes it there means that. What is
/// between (the addresses of links, where clouds keep their metadata, and of carriers) needs `allowPrivate`.
fn is_near(host: &str) -> bool {
    let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() else {
        let own = [".localhost", ".local", ".lan", ".internal", ".home.arpa"];
        // The names that resolvers of clouds answer for their metadata.
        let metadata = host.starts_with("metadata.") || host.starts_with("instance-data.");
        return !metadata
            && (host == "localhost"
                || !host.contains('.')
                || own.iter().any(|own| host.ends_with(own)));
    };
    // Where a cloud keeps its metadata.
    let metadata = address == IpAddr::from([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]);
    let near = match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_private(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local(),
    };
    near && !metadata
}

/// The rule of ntfy's `topicRegex`; on a server that is open to everybody the name is the password.
fn topic(key: &str, name: &Secret, open: bool) -> Result<String, PluginError> {
    let name = name.reveal();
    let setup = "let `ao notify setup ntfy` make the topics";
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !(1..=64).contains(&name.len()) || !name.chars().all(allowed) {
        let cause = "a topic is 1 to 64 letters, digits, `-` and `_`";
        return Err(invalid(key, cause).with_remedy(setup));
    }
    if RESERVED.contains(&name) {
        return Err(invalid(key, "the server keeps this name for itself").with_remedy(setup));
    }
    if open && name.len() < UNGUESSABLE {
        let cause = format!(
            "it can be guessed: on a server that is open to everybody a topic's name is its password and needs {UNGUESSABLE} random characters"
        );
        return Err(invalid(key, cause).with_remedy(setup));
    }
    Ok(name.to_owned())
}
