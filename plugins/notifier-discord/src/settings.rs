//! What can be set, and what of it text alone can tell.

use std::fmt;

use ao_sdk::{
    Secret, digest,
    http::{self, REMEDY},
};
use ao_slots::PluginError;
use reqwest::Url;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::NAME;

/// What can be set under `notifiers.<name>` beside `plugin: discord`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// The webhook's address: channel settings, Integrations, Webhooks, Copy Webhook URL. Who has it may write there.
    /// With `?thread_id=…` at its end it writes to that thread of the channel.
    pub url: Secret,
    /// Lets the address be this machine or one in a private network.
    #[serde(default)]
    pub allow_private: bool,
}

/// A webhook. Checked.
#[derive(Clone)]
pub(crate) struct Target {
    /// `…/api/v10/webhooks/<id>/<token>`.
    pub(crate) url: Url,
    /// The thread of its channel that is written to, in place of the channel itself.
    pub(crate) thread: Option<String>,
    pub(crate) allow_private: bool,
    /// Names the webhook and tells nothing.
    pub(crate) account: String,
}

impl Settings {
    /// Checks what text can tell, addresses written as numbers included.
    pub(crate) fn target(&self) -> Result<Target, PluginError> {
        let mut url = Url::parse(self.url.reveal().trim()).map_err(|error| invalid(&error))?;
        let secure = url.scheme() == "https" || url.scheme() == "http" && self.allow_private;
        if !secure {
            return Err(invalid(&"it does not begin with https://"));
        }
        http::check(&url, self.allow_private)
            .map_err(|blocked| invalid(&blocked).with_remedy(REMEDY))?;
        let path: Vec<&str> = url.path().split('/').collect();
        let (id, token) = match path[..] {
            ["", "api", "webhooks", id, token] | ["", "api", _, "webhooks", id, token] => {
                (id, token)
            }
            [.., "slack" | "github"] => {
                return Err(invalid(&"it is the address for another service's format"));
            }
            _ => return Err(invalid(&"it is not that of a webhook")),
        };
        let is_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let is_id = |id: &str| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
        if !is_id(id) || token.is_empty() || !token.chars().all(is_token) {
            return Err(invalid(&"it is not that of a webhook"));
        }
        let asked = url.query_pairs().find(|(key, _)| key == "thread_id");
        let thread = asked.map(|(_, id)| id.into_owned());
        if thread.as_deref().is_some_and(|id| !is_id(id)) {
            return Err(invalid(&"its `thread_id` is not the id of a thread")
                .with_remedy("copy the thread's id: developer mode, Copy Thread ID"));
        }
        let account = format!("discord-{}", digest(id, 8));
        // Without a version the oldest one answers, which is to go.
        let path = format!("/api/v10/webhooks/{id}/{token}");
        url.set_path(&path);
        url.set_query(None);
        url.set_fragment(None);
        Ok(Target { url, thread, allow_private: self.allow_private, account })
    }
}

fn invalid(cause: &dyn fmt::Display) -> PluginError {
    PluginError::permanent(format!("`url` of the `{NAME}` notifier is not valid"), cause)
        .with_remedy("copy it anew: the channel's settings, Integrations, Webhooks")
}
