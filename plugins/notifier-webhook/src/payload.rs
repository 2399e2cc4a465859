//! What a receiver reads.

use ao_slots::{
    IncidentId, NotificationId, ProjectId, SessionId,
    fact::Priority,
    notifier::{Block, ButtonStyle, Mark, Message},
};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

/// The version of [`Payload`]. New fields may come within a version; a field that changes its meaning or goes
/// makes a new one.
pub const VERSION: u32 = 1;

/// The body of a request. What does not apply is left out.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Payload<'a> {
    /// 1.
    pub version: u32,
    /// `notification.sent` (new), `notification.updated` (changed, call nobody again),
    /// `notification.resolved` (settled) or `notification.posted` (a plain line).
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// When this was composed; the same as `webhook-timestamp`, more exact.
    pub at: Timestamp,
    /// Which `ao` it is: the identity of its data directory.
    pub instance: &'a str,
    /// The line of a `notification.posted`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<&'a str>,
    /// The message of the other types.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Content<'a>>,
}

/// A message. All its text is plain text, never markup.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Content<'a> {
    /// The same in all requests about one message.
    pub id: NotificationId,
    /// Counts up with each change; a lower one that comes later is out of date.
    pub revision: u32,
    /// The incident behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incident: Option<IncidentId>,
    /// What it is about, e.g. `agent-needs-input`.
    pub kind: &'a str,
    /// How urgent.
    pub priority: Priority,
    /// The zone of what it speaks about.
    pub mark: Mark,
    /// The sign of `mark`, which may lead the title.
    pub sign: &'static str,
    /// Who and what is wanted.
    pub title: &'a str,
    /// One or two sentences.
    pub short: &'a str,
    /// The whole text.
    pub body: &'a [Block],
    /// What is of use to whoever looks closer.
    #[serde(skip_serializing_if = "<[Block]>::is_empty")]
    pub details: &'a [Block],
    /// What a human can do, in the order of likelihood; pressing is not possible from here.
    pub buttons: Vec<Label<'a>>,
    /// The command that does it at the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<&'a str>,
    /// Project, session, task, agent, incident.
    pub meta: &'a [String],
    /// The session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<&'a SessionId>,
    /// The project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<&'a ProjectId>,
    /// Where to look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<&'a str>,
    /// When the need began.
    pub since: Timestamp,
    /// To be shown without sound.
    pub quiet: bool,
    /// Nobody has reacted for long.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub emergency: bool,
    /// An earlier request about this is in doubt.
    pub may_repeat: bool,
}

/// A button's face. Its token stays here, and so does its page, whose address ends with the token.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Label<'a> {
    /// One to three words.
    pub label: &'a str,
    /// How it looks.
    pub style: ButtonStyle,
}

impl<'a> Payload<'a> {
    pub(crate) fn new(kind: &'a str, instance: &'a str, at: Timestamp) -> Self {
        Self { version: VERSION, kind, at, instance, text: None, message: None }
    }

    pub(crate) fn saying(self, text: &'a str) -> Self {
        Self { text: Some(text), ..self }
    }

    pub(crate) fn about(self, message: &'a Message) -> Self {
        let buttons = message.buttons.iter();
        let content = Content {
            id: message.id,
            revision: message.revision,
            incident: message.incident,
            kind: &message.kind,
            priority: message.priority,
            mark: message.mark,
            sign: message.mark.sign(),
            title: &message.title,
            short: &message.short,
            body: &message.body,
            details: &message.details,
            buttons: buttons.map(|b| Label { label: &b.label, style: b.style }).collect(),
            command: message.command.as_deref(),
            meta: &message.meta,
            session: message.session.as_ref(),
            project: message.project.as_ref(),
            link: message.link.as_deref(),
            since: message.since,
            quiet: message.quiet,
            emergency: message.emergency,
            may_repeat: message.may_repeat,
        };
        Self { message: Some(content), ..self }
    }
}

#[cfg(test)]
mod tests {
    use ao_conformance::notifier::book;
    use ao_slots::notifier::ChannelKind;

    use super::*;

    #[test]
    fn golden_each_kind_of_message_as_a_receiver_gets_it() {
        let at: Timestamp = "2026-11-21T14:28:03Z".parse().unwrap();
        for (kind, messages) in book(ChannelKind::Webhook) {
            let mut pages = String::new();
            for (what, message) in messages {
                let payload = Payload::new("notification.sent", "INSTANCE", at).about(&message);
                let json = serde_json::to_string(&payload).unwrap();
                pages.push_str(&format!("── {what}\n{json}\n"));
            }
            insta::assert_snapshot!(kind, pages);
        }
    }
}
