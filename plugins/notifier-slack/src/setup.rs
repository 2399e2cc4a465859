//! What `ao notify setup slack` needs: the app's manifest, and a look at each thing that was pasted.

use std::time::Duration;

use ao_sdk::Secret;
use ao_slots::PluginError;
use serde::Deserialize;
use serde_json::json;

use crate::{
    api::Api,
    settings::{api_url, shaped},
};

/// Where an app is made from a manifest.
pub const NEW_APP: &str = "https://api.slack.com/apps?new_app=1";
/// The scope of the app-level token.
pub const APP_SCOPE: &str = "connections:write";
/// How long one look may take.
const LIMIT: Duration = Duration::from_secs(10);
/// Pages of channels that are looked through, of 1,000 each.
const PAGES: usize = 10;

/// The workspace and the bot of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    /// The workspace's name.
    pub name: String,
    /// Its id, `T…`.
    pub id: String,
    /// What the bot is called, for `/invite @…`.
    pub bot: String,
    /// Its user id, `U…`.
    pub bot_id: String,
}

/// A channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// Its id, which stays when it is renamed.
    pub id: String,
    /// Its name without `#`; its id where only that is known.
    pub name: String,
}

/// The manifest of the app, as JSON to paste, with no more rights than are used: sending, the history of channels it
/// is in (answers in threads, a send in doubt), the name of who clicked. `direct` = it is to write to one person.
///
/// Metadata of messages needs no scope: `ao` reads that of its own, with the history.
pub fn manifest(direct: bool) -> String {
    let mut scopes = vec!["chat:write", "channels:history", "groups:history", "users:read"];
    let mut events = vec!["message.channels", "message.groups"];
    if direct {
        scopes.extend(["im:write", "im:history"]);
        events.push("message.im");
    }
    let mut features = json!({"bot_user": {"display_name": "ao", "always_online": true}});
    if direct {
        // Without it nobody can write to an app (<https://docs.slack.dev/surfaces/app-home#messages-tab>).
        features["app_home"] =
            json!({"messages_tab_enabled": true, "messages_tab_read_only_enabled": false});
    }
    let manifest = json!({
        "display_information": {
            "name": "ao",
            "description": "Tells you when a coding agent needs you, and takes your answer.",
        },
        "features": features,
        "oauth_config": {"scopes": {"bot": scopes}},
        "settings": {
            "event_subscriptions": {"bot_events": events},
            "interactivity": {"is_enabled": true},
            "org_deploy_enabled": false,
            "socket_mode_enabled": true,
            "token_rotation_enabled": false,
        },
    });
    format!("{manifest:#}")
}

/// Whether an app-level token opens Socket Mode. `api` = [`crate::Settings::api_url`].
///
/// # Errors
/// `Permanent` with what to do where it does not; `Transient` where Slack cannot be reached.
pub async fn check_app_token(api: Option<&str>, token: &Secret) -> Result<(), PluginError> {
    let token = shaped("appToken", token, "xapp-")?;
    let api = Api::new(&api_url(api)?, &token, Some(&token), "the channel")?;
    api.open_socket(LIMIT).await.map(drop)
}

/// Whose a bot token is.
///
/// # Errors
/// As [`check_app_token`].
pub async fn check_bot_token(api: Option<&str>, token: &Secret) -> Result<Workspace, PluginError> {
    let token = shaped("botToken", token, "xoxb-")?;
    let me = Api::new(&api_url(api)?, &token, None, "the channel")?.me(LIMIT).await?;
    Ok(Workspace { name: me.team, id: me.team_id, bot: me.user, bot_id: me.user_id })
}

/// Finds a channel by `#name` or id that `ao` is in. None = a name that only a first message can find,
/// since the app may not list channels.
///
/// # Errors
/// As [`check_app_token`]; a channel that does not exist, or that `ao` is not in, is `Permanent`.
pub async fn check_channel(
    api: Option<&str>,
    token: &Secret,
    channel: &str,
) -> Result<Option<Channel>, PluginError> {
    let token = shaped("botToken", token, "xoxb-")?;
    let api = Api::new(&api_url(api)?, &token, None, channel)?;
    let Some(found) = find_channel(&api, channel, LIMIT).await? else { return Ok(None) };
    is_in(&api, &found.id, LIMIT).await?;
    Ok(Some(found))
}

/// Whether it is an id and no name: names have no capitals.
pub(crate) fn is_id(channel: &str) -> bool {
    channel.len() >= 8
        && channel.starts_with(['C', 'D', 'G'])
        && channel.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
}

/// Whether `ao` can read, and so is in, a channel.
pub(crate) async fn is_in(api: &Api, id: &str, limit: Duration) -> Result<(), PluginError> {
    api.history(id, "0", None, 1, None, limit).await.map(drop)
}

/// Looks a channel up by its name; none where the app may not.
pub(crate) async fn find_channel(
    api: &Api,
    channel: &str,
    limit: Duration,
) -> Result<Option<Channel>, PluginError> {
    #[derive(Deserialize)]
    struct Listed {
        channels: Vec<One>,
        #[serde(default)]
        response_metadata: Option<crate::api::Page>,
    }
    #[derive(Deserialize)]
    struct One {
        id: String,
        #[serde(default)]
        name: String,
    }
    if is_id(channel) {
        return Ok(Some(Channel { id: channel.to_owned(), name: channel.to_owned() }));
    }
    // A person: Slack opens the conversation with the first message.
    if crate::card::is_user(channel) {
        return Ok(None);
    }
    let name = channel.trim_start_matches('#');
    let mut cursor = String::new();
    for _ in 0..PAGES {
        let mut parameters = vec![
            ("types", "public_channel,private_channel"),
            ("exclude_archived", "true"),
            ("limit", "1000"),
        ];
        if !cursor.is_empty() {
            parameters.push(("cursor", &cursor));
        }
        let page = api.get::<Listed>("conversations.list", &parameters, limit).await;
        let page = match page {
            Ok(page) => page,
            Err(error) if error.cause == "missing_scope" => return Ok(None),
            Err(error) => return Err(error),
        };
        if let Some(found) = page.channels.into_iter().find(|one| one.name == name) {
            return Ok(Some(Channel { id: found.id, name: found.name }));
        }
        cursor = page.response_metadata.map(|page| page.next_cursor).unwrap_or_default();
        if cursor.is_empty() {
            break;
        }
    }
    Err(PluginError::permanent(format!("Slack has no channel #{name}"), "channel_not_found")
        .with_remedy(format!("create it, or /invite @ao in #{name} where it is private")))
}
