//! A page as a mail: headers, a text part and an HTML part (RFC 5322, RFC 2046).

use std::fmt;

use ao_sdk::digest;
use ao_slots::PluginError;
use jiff::Timestamp;
use lettre::{
    Address, Message,
    address::Envelope,
    message::{
        Body, Mailbox, MultiPart, SinglePart,
        header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue},
    },
};

use crate::{
    page::{Loudness, Page},
    smtp::Raw,
};

/// What is the same on every mail of a channel.
pub(crate) struct Letterhead {
    pub(crate) from: Address,
    pub(crate) to: Vec<Mailbox>,
    pub(crate) reply_to: Option<Mailbox>,
    /// The data directory's identity, in lower case.
    pub(crate) instance: String,
}

impl Letterhead {
    /// The mail for the act with this key. Made again, only its date differs.
    pub(crate) fn compose(
        &self,
        key: &str,
        at: Timestamp,
        page: &Page,
    ) -> Result<Raw, PluginError> {
        let broken =
            |cause: &dyn fmt::Display| PluginError::permanent("cannot write the mail", cause);
        let html = page.html().map_err(|error| broken(&error))?;
        let body = MultiPart::alternative()
            .boundary(boundary(key))
            .singlepart(part(ContentType::TEXT_PLAIN, page.text()))
            .singlepart(part(ContentType::TEXT_HTML, html));
        let to: Vec<Address> = self.to.iter().map(|mailbox| mailbox.email.clone()).collect();
        let envelope = Envelope::new(Some(self.from.clone()), to.clone());
        let envelope = envelope.map_err(|error| broken(&error))?;
        let project = page.project.as_deref();
        let sender = project.map_or("ao".to_owned(), |project| format!("ao ({project})"));

        let mut mail = Message::builder()
            .envelope(envelope)
            .from(Mailbox::new(Some(sender), self.from.clone()))
            .subject(undecodable(&page.subject))
            .date(at.into())
            .message_id(Some(format!("<{}>", self.id(&atom(key)))));
        for mailbox in &self.to {
            mail = mail.to(mailbox.clone());
        }
        if let Some(mailbox) = &self.reply_to {
            mail = mail.reply_to(mailbox.clone());
        }
        if let Some(incident) = page.incident {
            let id = format!("<{}>", self.id(&format!("{incident}.{}", self.instance)));
            mail = mail.in_reply_to(id.clone()).references(id);
        }
        let list = project.map_or("ao".to_owned(), |project| format!("{project}.ao"));
        mail = mail
            .raw_header(header("List-Id", format!("<{list}.{}>", self.from.domain())))
            // RFC 3834: nobody's absence is answered to it; the second is how Exchange is told.
            .raw_header(header("Auto-Submitted", "auto-generated".to_owned()))
            .raw_header(header("X-Auto-Response-Suppress", "All".to_owned()));
        let importance = match page.loudness {
            Loudness::High => Some("high"),
            Loudness::Normal => None,
            Loudness::Low => Some("low"),
        };
        if let Some(importance) = importance {
            mail = mail.raw_header(header("Importance", importance.to_owned()));
        }
        let mail = mail.multipart(body).map_err(|error| broken(&error))?;
        Ok(Raw { from: self.from.clone(), to, bytes: mail.formatted() })
    }

    /// An id without its angle brackets. The sender's domain stands for us all over the world.
    fn id(&self, left: &str) -> String {
        format!("{left}.ao@{}", self.from.domain())
    }
}

fn part(kind: ContentType, text: String) -> SinglePart {
    let encoding = ContentTransferEncoding::QuotedPrintable;
    let body = Body::new_with_encoding(text, encoding).unwrap_or_else(Body::new);
    SinglePart::builder().header(kind).body(body)
}

fn header(name: &'static str, value: String) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value)
}

/// A line that no line of quoted-printable text can be (RFC 2045 §6.7).
fn boundary(key: &str) -> String {
    format!("=_{}", hash(key))
}

/// A key as the left half of an id: another one for each key.
fn atom(key: &str) -> String {
    let is_atom = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if (1..=64).contains(&key.len()) && key.chars().all(is_atom) {
        key.to_owned()
    } else {
        hash(key)
    }
}

fn hash(key: &str) -> String {
    digest(key, 16)
}

/// A text that reads the same, and in which a mailbox finds no encoded word (RFC 2047) that we did not make: words with
/// a character beyond ASCII are encoded as a whole, and nothing is decoded twice.
fn undecodable(text: &str) -> String {
    text.replace("=?", "=\u{2060}?")
}
