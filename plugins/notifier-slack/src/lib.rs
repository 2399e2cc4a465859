//! Slack as a channel: one card an incident, edited in place, details in its thread, buttons that come back.
//!
//! It is an app of the workspace (bot token). Clicks come by Socket Mode, or to the server's own address where Slack
//! reaches it; an incoming webhook is the poor fallback without buttons and edits.
//!
//! Slack knows no idempotency: a send in doubt is looked up by the metadata that every message carries. Reading it
//! needs no scope beyond that of the channel's history: `include_all_metadata` of `conversations.history` gives it
//! (<https://docs.slack.dev/reference/methods/conversations.history>); `metadata.message:read` is for events that
//! tell of metadata (<https://docs.slack.dev/reference/scopes/metadata.message.read>), which are not used.

mod api;
mod card;
mod http;
mod incoming;
mod settings;
pub mod setup;
mod socket;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize},
    },
    time::{Duration, Instant},
};

use ao_sdk::Secret;
use ao_slots::{
    Call, ErrorKind, PluginError,
    call::Answer,
    fact::Priority,
    notifier::{
        Button, ChannelHandle, ChannelKind, HttpAnswer, HttpRequest, IncomingAction, Message,
        Notifier, NotifierCapabilities, Reached, Receipt,
    },
    plugin::{self, Registration},
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{
    sync::{Mutex as AsyncMutex, OnceCell, mpsc},
    task::JoinSet,
};

pub use crate::settings::Settings;
use crate::{
    api::{Act, Api, Me, Metadata, Webhook},
    card::{Ask, Card, escape},
    incoming::{Known, ReplyTo, Seen, Taken, Waiting},
    settings::{Clicks, Mode},
};

/// The plugin's name in the config.
pub const NAME: &str = "slack";

/// What Slack allows in the long run: one message a second and channel
/// (<https://docs.slack.dev/apis/web-api/rate-limits>).
const PACE_MS: u32 = 1_000;
/// Acts that may wait to be read.
const QUEUE: usize = 1_024;
/// How far back a send in doubt is looked for, in seconds, and on how many pages of how many messages.
const LOOK_BACK: i64 = 24 * 3_600;
const PAGES: (usize, u16) = (5, 200);
/// How long a channel is quiet before details follow, how often that is waited for, and how long sending them may take.
const QUIET: Duration = Duration::from_millis(PACE_MS as u64 + 100);
const ADDS: usize = 30;
const ADD: Duration = Duration::from_secs(10);
/// Most bytes of a message's metadata as JSON; the vendor takes 16 KB
/// (<https://docs.slack.dev/messaging/message-metadata>).
const METADATA: usize = 15_000;
/// How long looking for a channel's id may take, once.
const RESOLVE: Duration = Duration::from_secs(3);

/// This plugin, for the list of plugins.
pub fn registration() -> Registration<dyn Notifier> {
    Registration {
        name: NAME,
        about: "Slack: cards with buttons, edited in place, answers in the thread",
        schema: || schemars::schema_for!(Settings),
        check: |value| plugin::settings::<Settings>(NAME, value)?.mode().map(drop),
        build: |value, _| match plugin::settings::<Settings>(NAME, value)?.mode()? {
            Mode::App { api, bot, channel, clicks } => {
                let app = match &clicks {
                    Clicks::Socket(token) => Some(token),
                    Clicks::Http(_) => None,
                };
                let api = Api::new(&api, &bot, app, &channel)?;
                Ok(Arc::new(Slack::new(api, &bot, channel, clicks)))
            }
            Mode::Webhook { url, allow_private } => {
                let account = account(url.as_str());
                Ok(Arc::new(OneWay { webhook: Webhook::new(url, allow_private)?, account }))
            }
        },
    }
}

/// A name for an account that leads back to nothing.
fn account(secret: &str) -> String {
    let digest = Sha256::digest(secret.as_bytes());
    format!("slack-{}", digest[..8].iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// What both ways can show.
fn capabilities(account: &str) -> NotifierCapabilities {
    NotifierCapabilities {
        pace_ms: PACE_MS,
        account: account.to_owned(),
        title_limit: card::TITLE as u32,
        body_limit: card::BODY as u32,
        ..NotifierCapabilities::plain(ChannelKind::Chat)
    }
}

/// A channel of a workspace, by an app.
pub struct Slack {
    app: Arc<App>,
    clicks: Clicks,
    account: String,
    incoming: AsyncMutex<mpsc::Receiver<Result<IncomingAction, PluginError>>>,
    /// Opened when somebody first listens.
    sockets: OnceLock<JoinSet<()>>,
}

/// What the connections and the requests share with the channel.
pub(crate) struct App {
    api: Api,
    /// As it was set.
    channel: String,
    /// Its id, once it is known.
    id: Mutex<Option<String>>,
    me: OnceCell<Me>,
    /// Who has pressed, by user id; or when that was asked in vain.
    people: Mutex<HashMap<String, Arc<OnceCell<Known>>>>,
    /// The requests by their signature, and what they and the connections brought.
    signed: Mutex<Seen<()>>,
    seen: Mutex<Seen<Taken>>,
    waiting: Mutex<Waiting>,
    /// How many connections of Socket Mode are open, and whether it was told that none can be.
    open: AtomicUsize,
    unreachable: AtomicBool,
    /// When something was last posted.
    last: Mutex<Instant>,
    /// Held by the details that are next: of what waits they are posted one at a time.
    adding: AsyncMutex<()>,
    out: mpsc::Sender<Result<IncomingAction, PluginError>>,
}

impl fmt::Debug for Slack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slack").field("channel", &self.app.channel).finish_non_exhaustive()
    }
}

impl App {
    /// Who the bot token is; asked once.
    async fn me(&self, limit: Duration) -> Result<&Me, PluginError> {
        self.me.get_or_try_init(|| self.api.me(limit)).await
    }

    fn known_id(&self) -> Option<String> {
        self.id.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn learn(&self, id: &str) {
        *self.id.lock().unwrap_or_else(PoisonError::into_inner) = Some(id.to_owned());
    }

    /// Posts under a message, once the channel has been quiet for a while: Slack takes one a second, and a card goes
    /// first.
    async fn add(self: Arc<Self>, body: Value) {
        let _turn = self.adding.lock().await;
        for _ in 0..ADDS {
            let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
            let left = QUIET.saturating_sub(last.elapsed());
            if left.is_zero() {
                break;
            }
            tokio::time::sleep(left).await;
        }
        self.api.aside("chat.postMessage", &body, ADD).await;
        self.posted_now();
    }

    fn posted_now(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// The channel's id. Of a name it is known from the first message that was sent, or found where the app may list
    /// channels.
    async fn channel_id(&self, limit: Duration) -> Result<Option<String>, PluginError> {
        if let Some(id) = self.known_id() {
            return Ok(Some(id));
        }
        let found = setup::find_channel(&self.api, &self.channel, limit.min(RESOLVE)).await?;
        if let Some(channel) = &found {
            self.learn(&channel.id);
        }
        Ok(found.map(|channel| channel.id))
    }
}

/// What `chat.postMessage` and `chat.update` answer.
#[derive(Deserialize)]
struct Posted {
    channel: String,
    ts: String,
}

impl Slack {
    fn new(api: Api, bot: &Secret, channel: String, clicks: Clicks) -> Self {
        let (out, incoming) = mpsc::channel(QUEUE);
        let id = setup::is_id(&channel).then(|| channel.clone());
        Self {
            app: Arc::new(App {
                api,
                channel,
                id: Mutex::new(id),
                me: OnceCell::new(),
                people: Mutex::default(),
                signed: Mutex::default(),
                seen: Mutex::default(),
                waiting: Mutex::default(),
                open: AtomicUsize::new(0),
                unreachable: AtomicBool::new(false),
                last: Mutex::new(Instant::now()),
                adding: AsyncMutex::default(),
                out,
            }),
            clicks,
            account: account(bot.reveal()),
            incoming: AsyncMutex::new(incoming),
            sockets: OnceLock::new(),
        }
    }

    async fn posted(&self, call: &Call, mut body: Value) -> Result<(Receipt, Posted), PluginError> {
        body["channel"] = self.app.known_id().unwrap_or_else(|| self.app.channel.clone()).into();
        body["unfurl_links"] = false.into();
        body["unfurl_media"] = false.into();
        let posted: Posted =
            self.app.api.post("chat.postMessage", &body, call.limit(), Act::Adds).await?;
        self.app.learn(&posted.channel);
        self.app.posted_now();
        let handle = Some(ChannelHandle(format!("{}:{}", posted.channel, posted.ts)));
        Ok((Receipt { handle, reached: Reached::Accepted }, posted))
    }

    async fn edit(
        &self,
        call: &Call,
        handle: &ChannelHandle,
        message: &Message,
    ) -> Result<Receipt, PluginError> {
        let Some((channel, ts)) = handle.0.split_once(':') else {
            return Err(PluginError::new(
                ErrorKind::NotFound,
                "no message of Slack has this handle",
                "",
            ));
        };
        // An edit calls nobody.
        let drawn = card::card(message, false);
        let mut body = content(&drawn, &call.key);
        (body["channel"], body["ts"]) = (channel.into(), ts.into());
        let _: Posted =
            self.app.api.post("chat.update", &body, call.limit(), Act::Repeatable).await?;
        Ok(Receipt { handle: Some(handle.clone()), reached: Reached::Accepted })
    }
}

/// A card with its metadata.
fn content(card: &Card, key: &str) -> Value {
    json!({"text": card.text, "blocks": card.blocks, "metadata": metadata(card, key)})
}

/// The key, and of what the buttons ask for as much as Slack takes: what is left out a dialog does without.
fn metadata(card: &Card, key: &str) -> Metadata {
    let mut asks = card.asks.clone();
    for lighten in [Ask::without_options, Ask::without_prompt] {
        let made = Metadata::new(key, &asks);
        if made.weight() <= METADATA {
            return made;
        }
        asks.values_mut().for_each(lighten);
    }
    let made = Metadata::new(key, &asks);
    if made.weight() <= METADATA { made } else { Metadata::new(key, &BTreeMap::new()) }
}

/// What is left of a call's time.
fn left(call: &Call, begun: Instant) -> Duration {
    call.limit().saturating_sub(begun.elapsed())
}

#[async_trait]
impl Notifier for Slack {
    fn capabilities(&self) -> NotifierCapabilities {
        NotifierCapabilities {
            buttons: true,
            replies: true,
            edits: true,
            finds: true,
            threads: true,
            ..capabilities(&self.account)
        }
    }

    async fn send(&self, call: &Call, message: &Message) -> Result<Receipt, PluginError> {
        let (receipt, root) =
            self.posted(call, content(&card::card(message, true), &call.key)).await?;
        let details = card::details(&message.details);
        if !details.is_empty() {
            let body = json!({
                "channel": root.channel, "thread_ts": root.ts, "text": "Details", "blocks": details,
                "unfurl_links": false, "unfurl_media": false,
            });
            // The card is what counts: it is there.
            tokio::spawn(self.app.clone().add(body));
        }
        Ok(receipt)
    }

    async fn update(
        &self,
        call: &Call,
        handle: &ChannelHandle,
        message: &Message,
    ) -> Result<Receipt, PluginError> {
        self.edit(call, handle, message).await
    }

    async fn resolve(
        &self,
        call: &Call,
        handle: &ChannelHandle,
        message: &Message,
    ) -> Result<(), PluginError> {
        self.edit(call, handle, message).await.map(drop)
    }

    async fn post(&self, call: &Call, text: &str) -> Result<Receipt, PluginError> {
        let body = json!({
            "text": escape(&card::line(text)), "blocks": card::note(text, &[]),
            "metadata": Metadata::new(&call.key, &BTreeMap::new()),
        });
        self.posted(call, body).await.map(|(receipt, _)| receipt)
    }

    async fn answer(
        &self,
        call: &Call,
        action: &IncomingAction,
        text: &str,
        buttons: &[Button],
    ) -> Result<(), PluginError> {
        let to = action.reply_to.as_deref().and_then(|to| serde_json::from_str::<ReplyTo>(to).ok());
        let Some(to) = to else { return self.post(call, text).await.map(drop) };
        let mut body = json!({
            "channel": to.channel, "user": to.user, "text": escape(&card::line(text)),
            "blocks": card::note(text, buttons),
        });
        if let Some(thread) = to.thread {
            body["thread_ts"] = thread.into();
        }
        let _: Value =
            self.app.api.post("chat.postEphemeral", &body, call.limit(), Act::Adds).await?;
        Ok(())
    }

    async fn http(&self, request: HttpRequest) -> Option<HttpAnswer> {
        match &self.clicks {
            Clicks::Http(secret) => Some(self.app.request(secret, &request).await),
            Clicks::Socket(_) => None,
        }
    }

    async fn check(&self, call: &Call) -> Result<(), PluginError> {
        let begun = Instant::now();
        self.app.me(left(call, begun)).await?;
        if matches!(self.clicks, Clicks::Socket(_)) {
            self.app.api.open_socket(left(call, begun)).await?;
        }
        if let Some(id) = self.app.channel_id(left(call, begun)).await? {
            setup::is_in(&self.app.api, &id, left(call, begun)).await?;
        }
        Ok(())
    }

    async fn find(&self, call: &Call, key: &str) -> Result<Answer<ChannelHandle>, PluginError> {
        let begun = Instant::now();
        let channel = match self.app.channel_id(left(call, begun)).await {
            Ok(Some(channel)) => channel,
            Ok(None) => {
                let cause =
                    format!("the id of {} is not known; set it as `channel`", self.app.channel);
                return Ok(Answer::Unknown(cause));
            }
            Err(error) => return Ok(Answer::Unknown(error.to_string())),
        };
        // Anybody may attach the same to a message of his own.
        let me = match self.app.me(left(call, begun)).await {
            Ok(me) => &me.user_id,
            Err(error) => return Ok(Answer::Unknown(error.to_string())),
        };
        let oldest = format!("{}.000000", Timestamp::now().as_second() - LOOK_BACK);
        let (pages, most) = PAGES;
        let mut cursor = None;
        for _ in 0..pages {
            let limit = left(call, begun);
            let page =
                self.app.api.history(&channel, &oldest, None, most, cursor.as_deref(), limit).await;
            let page = match page {
                Ok(page) => page,
                Err(error) => return Ok(Answer::Unknown(error.to_string())),
            };
            let ours = |found: &&api::Found| {
                found.user == *me
                    && found.metadata.as_ref().is_some_and(|found| found.event_payload.id == key)
            };
            if let Some(found) = page.messages.iter().find(ours) {
                return Ok(Answer::Yes(ChannelHandle(format!("{channel}:{}", found.ts))));
            }
            cursor =
                page.response_metadata.map(|page| page.next_cursor).filter(|next| !next.is_empty());
            if !page.has_more || cursor.is_none() {
                return Ok(Answer::No);
            }
        }
        Ok(Answer::Unknown(
            "the channel has more messages of today than are looked through".to_owned(),
        ))
    }

    async fn receive(&self) -> Result<IncomingAction, PluginError> {
        if matches!(self.clicks, Clicks::Socket(_)) {
            self.sockets.get_or_init(|| socket::start(&self.app));
        }
        match self.incoming.lock().await.recv().await {
            Some(received) => received,
            // This holds the other end itself.
            None => std::future::pending().await,
        }
    }

    fn taken(&self, action: &IncomingAction, recorded: bool) {
        self.app.told(action, recorded);
    }
}

/// An incoming webhook.
struct OneWay {
    webhook: Webhook,
    account: String,
}

impl fmt::Debug for OneWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneWay").finish_non_exhaustive()
    }
}

impl OneWay {
    async fn tell(&self, call: &Call, mut body: Value) -> Result<Receipt, PluginError> {
        body["unfurl_links"] = false.into();
        body["unfurl_media"] = false.into();
        self.webhook.post(&body, call.limit()).await?;
        Ok(Receipt { handle: None, reached: Reached::Accepted })
    }
}

#[async_trait]
impl Notifier for OneWay {
    /// Every change would be a new message, so only what asks for an act is sent.
    fn capabilities(&self) -> NotifierCapabilities {
        NotifierCapabilities { least: Priority::Action, ..capabilities(&self.account) }
    }

    async fn send(&self, call: &Call, message: &Message) -> Result<Receipt, PluginError> {
        let drawn = card::links(message);
        self.tell(call, json!({"text": drawn.text, "blocks": drawn.blocks})).await
    }

    async fn update(
        &self,
        _: &Call,
        _: &ChannelHandle,
        _: &Message,
    ) -> Result<Receipt, PluginError> {
        Err(PluginError::unsupported("an incoming webhook of Slack changes no message"))
    }

    async fn resolve(&self, _: &Call, _: &ChannelHandle, _: &Message) -> Result<(), PluginError> {
        Err(PluginError::unsupported("an incoming webhook of Slack changes no message"))
    }

    async fn post(&self, call: &Call, text: &str) -> Result<Receipt, PluginError> {
        self.tell(call, json!({"text": escape(&card::line(text)), "blocks": card::note(text, &[])}))
            .await
    }

    async fn find(&self, _: &Call, _: &str) -> Result<Answer<ChannelHandle>, PluginError> {
        Ok(Answer::Unknown("an incoming webhook of Slack tells nothing of what it took".to_owned()))
    }

    async fn receive(&self) -> Result<IncomingAction, PluginError> {
        std::future::pending().await
    }
}
