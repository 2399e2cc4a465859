//! What can be set, and what of it text alone can tell.

use std::{fmt, net::IpAddr};

use ao_sdk::{Secret, http};
use ao_slots::PluginError;
use schemars::JsonSchema;
use serde::Deserialize;
use url::{Host, Url};

use crate::NAME;

/// Where Slack's Web API is.
pub(crate) const API: &str = "https://slack.com/api";
/// What to do about tokens that are missing or mixed up.
const REMEDY: &str = "run `ao notify setup slack`, which asks for each and checks it";

/// What can be set under `notifiers.<name>` beside `plugin: slack`.
///
/// Either an app's tokens (`botToken` with `appToken` or `signingSecret`, and `channel`), or the address of an
/// incoming `webhook`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// The app's bot token, `xoxb-…`.
    #[serde(default)]
    pub bot_token: Option<Secret>,
    /// The app-level token, `xapp-…`, with the scope `connections:write`: clicks come by Socket Mode, which needs no
    /// public address.
    #[serde(default)]
    pub app_token: Option<Secret>,
    /// The app's signing secret: clicks come to the server's own public address instead of by Socket Mode, at
    /// `<publicUrl>/api/channels/<name of the notifier>/provider`.
    #[serde(default)]
    pub signing_secret: Option<Secret>,
    /// Where to post: `#name`, or an id such as `C0123456789`; a person's, such as `U0123456789`, for direct messages.
    /// An id is found again after a crash in any case, a name
    /// only where the app may also list channels (`channels:read`, `groups:read`).
    #[serde(default)]
    pub channel: Option<String>,
    /// The address of an incoming webhook, which posts to the channel it was made for. The poor fallback: no buttons,
    /// no edits, so only what is urgent or needs an act is sent.
    #[serde(default)]
    pub webhook: Option<Secret>,
    /// Lets `webhook` lead to this machine or into a private network, by http too.
    #[serde(default)]
    pub allow_private: bool,
    /// Where the Web API is, for a gateway that speaks it: https, or http on this machine. `https://slack.com/api`
    /// by default.
    #[serde(default)]
    pub api_url: Option<String>,
}

/// How it is reached. Checked.
#[derive(Clone)]
pub(crate) enum Mode {
    /// As an app of the workspace.
    App { api: Url, bot: Secret, channel: String, clicks: Clicks },
    /// By an incoming webhook.
    Webhook { url: Url, allow_private: bool },
}

/// How clicks come back.
#[derive(Clone)]
pub(crate) enum Clicks {
    /// By Socket Mode, with the app-level token.
    Socket(Secret),
    /// By requests that are signed with this.
    Http(Secret),
}

impl Settings {
    /// Checks what text can tell.
    pub(crate) fn mode(&self) -> Result<Mode, PluginError> {
        let api = api_url(self.api_url.as_deref())?;
        if let Some(webhook) = &self.webhook {
            if self.bot_token.is_some() || self.app_token.is_some() || self.signing_secret.is_some()
            {
                return Err(invalid("webhook", "an app's tokens are set too").with_remedy(
                    "remove `webhook`: with a bot token there are buttons and edits",
                ));
            }
            let allow_private = self.allow_private;
            let text = webhook.reveal().trim();
            let url = Url::parse(text).map_err(|error| invalid("webhook", error))?;
            if url.scheme() != "https" && !(url.scheme() == "http" && allow_private) {
                return Err(invalid("webhook", "it does not begin with https://")
                    .with_remedy(
                    "copy it anew from the app's settings, Incoming Webhooks: https://hooks.slack.com/…",
                ));
            }
            http::check(&url, allow_private)
                .map_err(|blocked| invalid("webhook", blocked).with_remedy(http::REMEDY))?;
            return Ok(Mode::Webhook { url, allow_private });
        }
        let bot = match &self.bot_token {
            Some(token) => shaped("botToken", token, "xoxb-")?,
            None => return Err(invalid("botToken", "it is missing").with_remedy(REMEDY)),
        };
        let channel = self.channel.as_deref().map(str::trim).unwrap_or_default();
        if channel.trim_start_matches('#').is_empty() || channel.contains(char::is_whitespace) {
            let cause =
                if channel.is_empty() { "it is missing" } else { "it is no name of a channel" };
            return Err(invalid("channel", cause).with_remedy(
                "set `channel` to a name such as \"#agents\", in quotes, or to an id",
            ));
        }
        let clicks = match (&self.app_token, &self.signing_secret) {
            (Some(token), None) => Clicks::Socket(shaped("appToken", token, "xapp-")?),
            (None, Some(secret)) if !secret.reveal().trim().is_empty() => {
                Clicks::Http(Secret::new(secret.reveal().trim()))
            }
            (None, Some(_)) => {
                return Err(invalid("signingSecret", "it is empty").with_remedy(REMEDY));
            }
            (Some(_), Some(_)) => {
                return Err(invalid("signingSecret", "`appToken` is set too").with_remedy(
                    "keep `appToken` for Socket Mode, or `signingSecret` where Slack reaches this server",
                ));
            }
            (None, None) => {
                return Err(invalid("appToken", "it is missing, so no click could come back")
                    .with_remedy(REMEDY));
            }
        };
        Ok(Mode::App { api, bot, channel: channel.to_owned(), clicks })
    }
}

/// The Web API's address, [`API`] where none is set.
pub(crate) fn api_url(set: Option<&str>) -> Result<Url, PluginError> {
    address("apiUrl", set.unwrap_or(API).trim_end_matches('/'))
}

fn invalid(key: &str, cause: impl fmt::Display) -> PluginError {
    PluginError::permanent(format!("`{key}` of the `{NAME}` notifier is not valid"), cause)
}

/// A token of this kind. The error never holds it.
pub(crate) fn shaped(key: &str, token: &Secret, prefix: &str) -> Result<Secret, PluginError> {
    let token = token.reveal().trim();
    let sound = |rest: &str| {
        !rest.is_empty() && rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    match token.strip_prefix(prefix) {
        Some(rest) if sound(rest) => Ok(Secret::new(token)),
        _ => Err(invalid(key, format!("a token that begins with `{prefix}` belongs there"))
            .with_remedy(REMEDY)),
    }
}

/// An address that nobody on the way can read.
fn address(key: &str, text: &str) -> Result<Url, PluginError> {
    let url = Url::parse(text.trim()).map_err(|error| invalid(key, error))?;
    let safe = match url.scheme() {
        "https" => true,
        "http" => is_loopback(&url),
        _ => false,
    };
    if safe && url.has_host() {
        return Ok(url);
    }
    Err(invalid(key, "it is no https address")
        .with_remedy("begin it with https://; http:// is taken on this machine only"))
}

/// Whether it leads to this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}
