//! Notifications on a phone, by a server of [ntfy](https://ntfy.sh): the public one or one's own.
//!
//! A message is published to one topic. Its buttons post their one-shot token to a second one, the reply topic, which
//! `ao` reads: so they work without a public address of `ao`. What is on the phone of `ao` is the tokens of the messages
//! that are there, each worth one act, and the reply token where one is set; never the token with which `ao` signs in.
//!
//! On a server that is open to everybody a topic's name is its password and its operator reads what passes. Messages
//! there hold no code, and no button with which the operator could do harm, with an account there or without; see
//! [`Settings::allow_public`].
//!
//! Servers from 2.16 on replace a message by a later one with the same sequence id, which is made of the call's key:
//! so edits work, and a repeated send is one message. An edit is sent at a priority without sound. That a server is
//! older is found out before the first message, or by its answer to it.

mod listen;
mod server;
mod settings;
pub mod setup;
mod text;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use ao_slots::{
    Call, ErrorKind, PluginError,
    call::Answer,
    notifier::{
        ChannelHandle, ChannelKind, IncomingAction, Message, Notifier, NotifierCapabilities, Press,
        Reached, Receipt,
    },
    plugin::{self, Registration},
};
use async_trait::async_trait;
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinHandle,
};

pub use crate::settings::Settings;
use crate::{listen::Trouble, server::Server};

/// The plugin's name in the config.
pub const NAME: &str = "ntfy";

/// A server allows a visitor 60 requests at once and one more each 5 s (`visitor-request-limit-burst`, `-replenish`).
/// The gap is that of a burst: one of 5 s would make an urgent message late, and what is too much is refused.
const PACE_MS: u32 = 1000;
/// How many presses wait for whoever asks for them.
const WAITING: usize = 64;

/// This plugin, for the list of plugins.
pub fn registration() -> Registration<dyn Notifier> {
    Registration {
        name: NAME,
        about: "notifications on a phone by ntfy, with buttons and no public address",
        schema: || schemars::schema_for!(Settings),
        check: |value| plugin::settings::<Settings>(NAME, value)?.target().map(drop),
        build: |value, _| {
            let target = plugin::settings::<Settings>(NAME, value)?.target()?;
            Ok(Arc::new(Ntfy::new(Server::new(target)?)))
        },
    }
}

/// One topic, and the one its buttons report to.
#[derive(Debug)]
pub struct Ntfy {
    server: Arc<Server>,
    trouble: Arc<Trouble>,
    listening: Mutex<Option<Listening>>,
}

/// The task that reads the reply topic. It ends with this.
#[derive(Debug)]
struct Listening {
    presses: mpsc::Receiver<String>,
    task: JoinHandle<()>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Ntfy {
    fn new(server: Server) -> Self {
        Self { server: Arc::new(server), trouble: Arc::default(), listening: Mutex::default() }
    }

    fn listening(&self, reply: &str) -> Listening {
        let (send, presses) = mpsc::channel(WAITING);
        let listen =
            listen::listen(self.server.clone(), reply.to_owned(), send, self.trouble.clone());
        Listening { presses, task: tokio::spawn(listen) }
    }

    /// Fails where the server cannot do it.
    fn can_edit(&self) -> Result<(), PluginError> {
        if self.server.updates() {
            return Ok(());
        }
        let what = format!("{} cannot change what it has sent", self.server.whom());
        Err(PluginError::new(ErrorKind::Unsupported, what, setup::TOO_OLD)
            .with_remedy("install ntfy 2.16 or newer there"))
    }

    async fn edit(
        &self,
        call: &Call,
        handle: &ChannelHandle,
        message: &Message,
    ) -> Result<Receipt, PluginError> {
        self.can_edit()?;
        let mut publication = text::publish(message, &self.server.target);
        publication.priority = text::QUIET;
        let sequence = self.server.publish(call, &handle.0, publication).await?;
        Ok(accepted(sequence))
    }
}

fn accepted(sequence: Option<String>) -> Receipt {
    Receipt { handle: sequence.map(ChannelHandle), reached: Reached::Accepted }
}

#[async_trait]
impl Notifier for Ntfy {
    /// What is found out of the server is told from then on.
    fn capabilities(&self) -> NotifierCapabilities {
        let target = &self.server.target;
        let sure = self.server.surely_updates();
        NotifierCapabilities {
            buttons: target.reply.is_some(),
            edits: self.server.updates(),
            idempotent: sure,
            finds: sure,
            public: target.public,
            pace_ms: PACE_MS,
            account: target.account.clone(),
            title_limit: text::TITLE as u32,
            body_limit: text::BODY as u32,
            ..NotifierCapabilities::plain(ChannelKind::Phone)
        }
    }

    async fn send(&self, call: &Call, message: &Message) -> Result<Receipt, PluginError> {
        let publication = text::publish(message, &self.server.target);
        self.server.publish(call, &sequence(&call.key), publication).await.map(accepted)
    }

    async fn update(
        &self,
        call: &Call,
        handle: &ChannelHandle,
        message: &Message,
    ) -> Result<Receipt, PluginError> {
        self.edit(call, handle, message).await
    }

    /// Writes what came of it, without buttons, into the app's list, and takes it from the drawer.
    async fn resolve(
        &self,
        call: &Call,
        handle: &ChannelHandle,
        message: &Message,
    ) -> Result<(), PluginError> {
        let began = tokio::time::Instant::now();
        self.edit(call, handle, message).await?;
        let rest = Call::new(&call.key, call.limit().saturating_sub(began.elapsed()));
        self.server.clear(&rest, &handle.0).await
    }

    async fn post(&self, call: &Call, text: &str) -> Result<Receipt, PluginError> {
        let publication = text::line(text, &self.server.target);
        self.server.publish(call, &sequence(&call.key), publication).await.map(accepted)
    }

    /// Looks at the server, and tells why no press comes from it.
    async fn check(&self, call: &Call) -> Result<(), PluginError> {
        self.server.look(call).await?;
        self.trouble.worst().map_or(Ok(()), Err)
    }

    /// Yes where the server still has it. It keeps messages for some hours or not at all, so that it has none means
    /// nothing.
    async fn find(&self, call: &Call, key: &str) -> Result<Answer<ChannelHandle>, PluginError> {
        let began = tokio::time::Instant::now();
        if self.server.updates() && !self.server.surely_updates() {
            // One that cannot be looked at says so by the question that follows.
            let _ = self.server.look(call).await;
        }
        let call = &Call::new(&call.key, call.limit().saturating_sub(began.elapsed()));
        if !self.server.updates() {
            return Ok(Answer::Unknown("a message has no name on this server".to_owned()));
        }
        let sequence = sequence(key);
        let look = listen::read(&self.server, &self.server.target.topic, "24h");
        let found = match ao_sdk::http::within(call, &self.server.whom(), look).await {
            Ok(events) => events,
            Err(error) => return Ok(Answer::Unknown(error.to_string())),
        };
        let is_it = |event: &server::Event| event.sequence_id.as_ref() == Some(&sequence);
        Ok(match found.iter().any(is_it) {
            true => Answer::Yes(ChannelHandle(sequence)),
            false => Answer::Unknown("it is not among what the server keeps".to_owned()),
        })
    }

    async fn receive(&self) -> Result<IncomingAction, PluginError> {
        let Some(reply) = &self.server.target.reply else { return std::future::pending().await };
        let mut listening = self.listening.lock().await;
        let presses = &mut listening.get_or_insert_with(|| self.listening(reply)).presses;
        // Cancel safe: a press is taken and returned without a wait in between.
        match presses.recv().await {
            Some(token) => Ok(IncomingAction {
                press: Press::Button(token),
                text: None,
                who: self.server.target.person.clone(),
                identity: None,
                reply_to: None,
            }),
            None => {
                *listening = None;
                let what = format!("listening to {} has ended", self.server.whom());
                Err(PluginError::transient(what, "its task broke"))
            }
        }
    }
}

/// A call's key as a sequence id: at most 64 letters, digits, `-` and `_` (`sequenceIDRegex`).
fn sequence(key: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if (1..=64).contains(&key.len()) && key.chars().all(fits) {
        return key.to_owned();
    }
    ao_sdk::digest(key, 16)
}
