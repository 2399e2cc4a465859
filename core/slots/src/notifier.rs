//! The notifier slot: the primary interface.

use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Call, IncidentId, NotificationId, PluginError, ProjectId, SessionId, call::Answer,
    fact::Priority,
};

/// What leads a title: the zone of what it speaks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// `▲` needs you.
    Need,
    /// `◆` decide.
    Decide,
    /// `■` not going well.
    Slow,
    /// `●` working.
    Working,
    /// `○` finished.
    Finished,
    /// `✓` settled.
    Settled,
    /// `✗` failed or refused.
    Failed,
}

impl Mark {
    /// The sign that is shown, with a word beside it.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Need => "▲",
            Self::Decide => "◆",
            Self::Slow => "■",
            Self::Working => "●",
            Self::Finished => "○",
            Self::Settled => "✓",
            Self::Failed => "✗",
        }
    }
}

/// A part of a body. The channel escapes and cuts each by its own rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Block {
    /// Somebody's words, verbatim.
    Quote(String),
    /// A command, an error, a log: verbatim, monospace.
    Code(String),
    /// `ao`'s own words, one paragraph.
    Text(String),
    /// Lines of their own.
    List(Vec<String>),
}

/// The id of the button `Open`, and what comes back when the message itself is clicked.
pub const OPEN: &str = "open";

/// How a button looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "kebab-case")]
pub enum ButtonStyle {
    /// One among several.
    #[default]
    Plain,
    /// The likeliest wish; at most one.
    Primary,
    /// Destroys; never first, always confirmed.
    Danger,
}

/// What is asked before a button acts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Confirm {
    /// The question.
    pub question: String,
    /// Does it.
    pub yes: String,
    /// Does not.
    pub no: String,
}

/// One thing a human can do from the message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Button {
    /// What comes back when it is pressed. Opaque to the channel.
    pub id: String,
    /// One to three words, at most 24 characters.
    pub label: String,
    /// How it looks.
    pub style: ButtonStyle,
    /// What is asked first; none = acts at once.
    pub confirm: Option<Confirm>,
    /// Asks for text before it acts; a channel without a text field leaves it out.
    pub wants_text: bool,
}

/// One message: what a human sees of an incident at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// The message's identity; edits keep it.
    pub id: NotificationId,
    /// The incident behind it; none for a test, a digest or a summary.
    pub incident: Option<IncidentId>,
    /// Counts up with each change.
    pub revision: u32,
    /// What it is about, e.g. `agent-needs-input`.
    pub kind: String,
    /// How urgent.
    pub priority: Priority,
    /// The mark that may lead the title.
    pub mark: Mark,
    /// Who and what is wanted, understood without the body. Without mark.
    pub title: String,
    /// One or two sentences for desktop, phone and SMS.
    pub short: String,
    /// What, why, tried, what now.
    pub body: Vec<Block>,
    /// In the order of likelihood. Empty once settled.
    pub buttons: Vec<Button>,
    /// The exact command that does the same at the machine.
    pub command: Option<String>,
    /// Project, session, task, agent, incident: the small last line.
    pub meta: Vec<String>,
    /// The session.
    pub session: Option<SessionId>,
    /// The project.
    pub project: Option<ProjectId>,
    /// Where a tap leads; none when no link can work from that channel.
    pub link: Option<String>,
    /// When the need began.
    pub since: Timestamp,
    /// Shown without sound: an edit, a summary, a repetition after a restart.
    pub quiet: bool,
    /// An earlier send is in doubt: say that it may be a repetition, where the channel cannot tell by itself.
    pub may_repeat: bool,
}

/// What finds a sent message again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ChannelHandle(pub String);

/// How far a message is known to have come.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Reached {
    /// The provider took it.
    Accepted,
    /// It was shown, or came to the device.
    Delivered,
    /// A human saw it.
    Seen,
}

/// The provider's answer to a send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// What edits it later; none when the channel cannot.
    pub handle: Option<ChannelHandle>,
    /// How far it came.
    pub reached: Reached,
}

/// What kind of channel it is: decides the default routing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ChannelKind {
    /// The desktop of this machine.
    Desktop,
    /// Slack, Discord, Telegram.
    Chat,
    /// ntfy, Pushover, SMS.
    Phone,
    /// E-mail.
    Mail,
    /// Gets every class.
    Webhook,
}

/// What a channel can do. The conformance suite holds it to this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NotifierCapabilities {
    /// What kind of channel it is.
    pub kind: ChannelKind,
    /// Buttons that come back.
    pub buttons: bool,
    /// Replies in words that come back.
    pub replies: bool,
    /// A sent message can be changed without a new buzz.
    pub edits: bool,
    /// Sends with one key are shown once: safe to repeat in doubt.
    pub idempotent: bool,
    /// A sent message can be found again by key after a crash.
    pub finds: bool,
    /// What was sent is dead once the connection that sent it is gone, e.g. because the server was restarted:
    /// its buttons lead nowhere until [`Notifier::update`] shows it again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub volatile: bool,
    /// Most characters of a title; what is longer goes on in the body.
    pub title_limit: u32,
    /// Most characters of a body.
    pub body_limit: u32,
}

/// What a human did on a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IncomingAction {
    /// On which message.
    pub notification: NotificationId,
    /// The button's id; none for a reply in words.
    pub button: Option<String>,
    /// The words, where the button asks for some or the message was answered.
    pub text: Option<String>,
    /// Who, in the channel's own naming.
    pub who: String,
}

/// Carries messages to a human and their acts back.
///
/// # Idempotency
/// Two sends with one `call.key` are one message where `capabilities().idempotent`; `update` and `resolve`
/// may be repeated freely.
/// # Cancel safety
/// A dropped `send` is in doubt. `receive` is cancel safe: no action is lost between two calls.
/// # Deadline
/// Within `call.limit()`.
/// # Errors
/// `Transient` when it surely was not taken and may be later, with `retry_after` where the provider said so;
/// `Permanent` when it never will be (wrong token, no such channel), with the remedy; `InDoubt` when it was
/// written and no answer came. The plugin never retries by itself.
#[async_trait]
pub trait Notifier: fmt::Debug + Send + Sync {
    /// What this channel can do.
    fn capabilities(&self) -> NotifierCapabilities;

    /// Sends a new message.
    async fn send(&self, call: &Call, message: &Message) -> Result<Receipt, PluginError>;

    /// Changes a sent message in place, without a buzz. Returns the handle that holds from now on.
    async fn update(
        &self,
        call: &Call,
        handle: &ChannelHandle,
        message: &Message,
    ) -> Result<Receipt, PluginError>;

    /// Shows a sent message as settled: `message` has no buttons any more.
    async fn resolve(
        &self,
        call: &Call,
        handle: &ChannelHandle,
        message: &Message,
    ) -> Result<(), PluginError>;

    /// Sends a plain line, without sound where the channel can: what came of a press.
    async fn post(&self, call: &Call, text: &str) -> Result<Receipt, PluginError>;

    /// Whether a message could go out now: looks, and sends nothing. For `ao doctor`; a channel that can only
    /// be known by a send says that it could.
    async fn check(&self, call: &Call) -> Result<(), PluginError> {
        let _ = call;
        Ok(())
    }

    /// Looks for the message that an earlier send with `key` made.
    async fn find(&self, call: &Call, key: &str) -> Result<Answer<ChannelHandle>, PluginError>;

    /// Waits for what a human does next. Never returns on a channel without buttons and replies.
    async fn receive(&self) -> Result<IncomingAction, PluginError>;
}
