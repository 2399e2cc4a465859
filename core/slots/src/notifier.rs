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

/// What a button does: the verbs of a human, the same on every channel. A channel shows a button by its label; it
/// looks at this only to leave out what is not safe on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Puts the human in front of the session.
    Open,
    /// Says that somebody has taken it.
    Ack,
    /// Quiet until later.
    Snooze,
    /// Quiet for everything like it.
    Silence,
    /// Answers a question.
    Answer,
    /// Lets a permission request through, once.
    Approve,
    /// Refuses it.
    Deny,
    /// Sends words to the agent.
    Send,
    /// Does once more what was not confirmed.
    Again,
    /// Brings an agent back.
    Restore,
    /// Marks a session as done.
    Done,
    /// Ends a session.
    Kill,
    /// Merges a pull request at the head that the message names.
    Merge,
    /// Opens a pull request, or opens one again.
    Pr,
    /// Lets held text through to the agent.
    Release,
    /// Proves that a press comes back: of a test message.
    Test,
}

impl Action {
    /// Whether somebody who may press it without being asked for could do harm with it: it runs a command, changes
    /// the main branch, starts or ends an agent, puts words into one, or keeps a human from hearing of one.
    pub fn is_powerful(self) -> bool {
        matches!(
            self,
            Self::Silence
                | Self::Approve
                | Self::Send
                | Self::Again
                | Self::Restore
                | Self::Done
                | Self::Kill
                | Self::Merge
                | Self::Pr
                | Self::Release
        )
    }
}

/// What is asked for before a button acts that needs words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Form {
    /// What it is for, at most 24 characters: `Answer app-3`.
    pub title: String,
    /// The question, verbatim; empty where there is none.
    pub prompt: String,
    /// Answers to choose from; any other text is taken too.
    pub options: Vec<String>,
    /// Does it, at most 24 characters.
    pub submit: String,
    /// Words are needed; without them it may act too where this is false (a denial without a reason).
    pub required: bool,
}

/// One thing a human can do from the message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Button {
    /// What comes back when it is pressed: a one-shot token, at most 40 characters of `[A-Za-z0-9_-]`. Opaque to the
    /// channel; nothing else may come back for it.
    pub id: String,
    /// What it does.
    pub action: Action,
    /// One to three words, at most 24 characters.
    pub label: String,
    /// How it looks.
    pub style: ButtonStyle,
    /// What is asked first; none = acts at once.
    pub confirm: Option<Confirm>,
    /// The words it asks for before it acts; a channel without a text field leaves the button out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form: Option<Form>,
    /// Belongs into an overflow menu where the channel has one, and is left out first elsewhere.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
    /// The page that does the same, reachable from where the channel shows it: a GET changes nothing there. None
    /// where there is no address that works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
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
    /// What is of use to whoever looks closer: the whole text, the log. For a thread or the end of a mail; left out
    /// where there is no such place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<Block>,
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
    /// Nobody has reacted for long: as loud as the channel can be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub emergency: bool,
    /// The one person that is called by name, in the channel's own naming, e.g. a Slack user id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mention: Option<String>,
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
    /// Details and later facts can stand in a thread of their own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub threads: bool,
    /// What is sent passes through a machine that others can read: no code, no commands, no paths in it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub public: bool,
    /// Less urgent messages are not sent by it.
    #[serde(default = "least", skip_serializing_if = "is_least")]
    pub least: Priority,
    /// Least time between two requests, in milliseconds: what the vendor allows in the long run.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pace_ms: u32,
    /// The account behind it, not reversible: channels with the same one rest together. Empty = its own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub account: String,
    /// Most characters of a title; what is longer goes on in the body.
    pub title_limit: u32,
    /// Most characters of a body.
    pub body_limit: u32,
}

/// The default of [`NotifierCapabilities::least`].
fn least() -> Priority {
    Priority::Info
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_least(priority: &Priority) -> bool {
    *priority == Priority::Info
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(pace: &u32) -> bool {
    *pace == 0
}

/// What was touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Press {
    /// A button: its [`Button::id`], as it came back. Whether it is worth anything is for the server to say.
    Button(String),
    /// The message itself, to look closer. Changes nothing.
    Open(NotificationId),
    /// The message was answered in words, which are in [`IncomingAction::text`].
    Reply(ChannelHandle),
}

/// What a human did on a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IncomingAction {
    /// On what.
    pub press: Press,
    /// The words, where the button asks for some or the message was answered.
    pub text: Option<String>,
    /// Who, as people read it: a name.
    pub who: String,
    /// Who, as the channel knows for sure: an account's id, never a name that its owner can change. None where the
    /// channel tells nobody apart (it is one person's own).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// Where an answer reaches this person alone, for [`Notifier::answer`]. Opaque to the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
}

/// A request of the provider to the server's own address, unread: only the plugin can tell whether it is genuine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// Names in lower case, values as they came.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The raw body; signatures are over it.
    pub body: Vec<u8>,
    /// When it arrived.
    pub at: Timestamp,
}

/// What the provider gets for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAnswer {
    /// The status, e.g. 200, 401.
    pub status: u16,
    /// JSON, or nothing.
    pub body: Option<String>,
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

    /// Changes a sent message in place, without a buzz. Returns the handle that holds from now on. `Unsupported` where
    /// the channel does not edit.
    async fn update(
        &self,
        call: &Call,
        handle: &ChannelHandle,
        message: &Message,
    ) -> Result<Receipt, PluginError> {
        let _ = (call, handle, message);
        Err(PluginError::unsupported("what was sent on this channel cannot be changed"))
    }

    /// Shows a sent message as settled: `message` has no buttons any more.
    async fn resolve(
        &self,
        call: &Call,
        handle: &ChannelHandle,
        message: &Message,
    ) -> Result<(), PluginError> {
        self.update(call, handle, message).await.map(drop)
    }

    /// Sends a plain line, without sound where the channel can.
    async fn post(&self, call: &Call, text: &str) -> Result<Receipt, PluginError>;

    /// Tells the one who pressed what came of it, nobody else where the channel can; `buttons` lets him say yes or no
    /// to what he wrote. A channel that cannot reach one person alone posts the line.
    async fn answer(
        &self,
        call: &Call,
        action: &IncomingAction,
        text: &str,
        buttons: &[Button],
    ) -> Result<(), PluginError> {
        let _ = (action, buttons);
        self.post(call, text).await.map(drop)
    }

    /// Takes a request of the provider to the server's own address. What it tells comes out of
    /// [`Notifier::receive`]; the answer is due within 3 s, and says that it was taken once it is recorded
    /// ([`Notifier::taken`]). None = this channel takes none.
    async fn http(&self, request: HttpRequest) -> Option<HttpAnswer> {
        let _ = request;
        None
    }

    /// Whether a message could go out now: looks, and sends nothing. For `ao doctor`; a channel that can only
    /// be known by a send says that it could.
    async fn check(&self, call: &Call) -> Result<(), PluginError> {
        let _ = call;
        Ok(())
    }

    /// Looks for the message that an earlier send with `key` made.
    async fn find(&self, call: &Call, key: &str) -> Result<Answer<ChannelHandle>, PluginError>;

    /// Waits for what a human does next. Never returns on a channel without buttons and replies.
    async fn receive(&self) -> Result<IncomingAction, PluginError> {
        std::future::pending().await
    }

    /// Tells, once of each action that came out of [`Notifier::receive`], what became of it. `recorded`: it outlives a
    /// crash of the server, or was refused for good. Else it cannot be written down now. A provider that shows an error
    /// for what is not acknowledged, or sends it again, is given its acknowledgement for what was recorded, no sooner.
    fn taken(&self, action: &IncomingAction, recorded: bool) {
        let _ = (action, recorded);
    }
}

impl NotifierCapabilities {
    /// A channel of this kind that can do nothing but show a message, of any length.
    pub fn plain(kind: ChannelKind) -> Self {
        Self {
            kind,
            buttons: false,
            replies: false,
            edits: false,
            idempotent: false,
            finds: false,
            volatile: false,
            threads: false,
            public: false,
            least: Priority::Info,
            pace_ms: 0,
            account: String::new(),
            title_limit: u32::MAX,
            body_limit: u32::MAX,
        }
    }
}
