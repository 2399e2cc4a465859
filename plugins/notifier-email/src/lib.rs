//! Sends each notification as an e-mail by SMTP.
//!
//! A mail cannot be changed once it is sent, so a matter that is settled sends none; what can be done is done on the
//! pages that its buttons lead to. The `Message-ID` is made from the call's key: whoever sends again sends the same
//! mail. Few mailboxes show a repeated id once, so nobody may count on it: most show both, in one thread, since all
//! mails about one incident refer to one id.

mod compose;
mod page;
mod settings;
pub mod setup;
mod smtp;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use ao_sdk::digest;
use ao_slots::{
    Call, PluginError,
    call::Answer,
    notifier::{
        ChannelHandle, ChannelKind, Message, Notifier, NotifierCapabilities, Reached, Receipt,
    },
    plugin::{self, BuildContext, Registration},
};
use async_trait::async_trait;
use jiff::Timestamp;

pub use crate::settings::{Addresses, Settings, Smtp, Tls};
use crate::{compose::Letterhead, page::Page, settings::Target, smtp::Server};

/// The plugin's name in the config.
pub const NAME: &str = "email";

/// Least time between two mails, in milliseconds. Providers publish limits a day, which the core's digests keep.
const PACE: u32 = 1000;

/// This plugin, for the list of plugins.
pub fn registration() -> Registration<dyn Notifier> {
    Registration {
        name: NAME,
        about: "e-mail by SMTP, one at a time or as a digest",
        schema: || schemars::schema_for!(Settings),
        check: |value| plugin::settings::<Settings>(NAME, value)?.target().map(drop),
        build: |value, context| {
            let target = plugin::settings::<Settings>(NAME, value)?.target()?;
            Ok(Arc::new(Email::new(target, context)?))
        },
    }
}

/// One sender, one list of recipients, one mail server.
pub struct Email {
    server: Server,
    letterhead: Letterhead,
    account: String,
}

/// Neither who sends nor who receives is shown, and nothing that logs in.
impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Email").field("host", &self.server.host()).finish_non_exhaustive()
    }
}

impl Email {
    fn new(target: Target, context: &BuildContext) -> Result<Self, PluginError> {
        let Target { endpoint, from, to, reply_to } = target;
        let who = endpoint.login.as_ref().map_or(from.email.to_string(), |login| login.0.clone());
        Ok(Self {
            account: digest(format!("{}:{}:{who}", endpoint.host, endpoint.port), 8),
            letterhead: Letterhead {
                from: from.email,
                to,
                reply_to,
                instance: context.instance.to_string().to_lowercase(),
            },
            server: Server::new(endpoint)?,
        })
    }

    /// Within the call's limit. Once the mail itself is on its way, running out of time leaves it in doubt.
    async fn mail(&self, call: &Call, page: Page) -> Result<Receipt, PluginError> {
        let mail = self.letterhead.compose(&call.key, Timestamp::now(), &page)?;
        let written = AtomicBool::new(false);
        match tokio::time::timeout(call.limit(), self.server.deliver(&mail, &written)).await {
            Ok(answer) => answer?,
            Err(_) => return Err(self.server.late(call, written.load(Ordering::SeqCst))),
        }
        Ok(Receipt { handle: None, reached: Reached::Accepted })
    }
}

#[async_trait]
impl Notifier for Email {
    /// Buttons are links to pages, so nothing comes back by mail itself. Not idempotent: a mailbox shows what a slow mail
    /// server has taken twice, whatever its `Message-ID`.
    fn capabilities(&self) -> NotifierCapabilities {
        NotifierCapabilities {
            pace_ms: PACE,
            account: self.account.clone(),
            title_limit: page::SUBJECT as u32,
            body_limit: page::DIGEST as u32,
            ..NotifierCapabilities::plain(ChannelKind::Mail)
        }
    }

    async fn send(&self, call: &Call, message: &Message) -> Result<Receipt, PluginError> {
        self.mail(call, Page::of(message)).await
    }

    async fn post(&self, call: &Call, text: &str) -> Result<Receipt, PluginError> {
        self.mail(call, Page::line(text)).await
    }

    async fn check(&self, call: &Call) -> Result<(), PluginError> {
        self.server.check(call).await
    }

    async fn find(&self, _: &Call, _: &str) -> Result<Answer<ChannelHandle>, PluginError> {
        let why = "SMTP does not tell what was sent; a mail sent again carries the same Message-ID";
        Ok(Answer::Unknown(why.to_owned()))
    }
}
