//! Shows notifications on this machine's desktop, over D-Bus, through whatever implements the Desktop
//! Notifications Specification there: GNOME, KDE, dunst, mako and others.
//!
//! The server outlives logins, so the bus may change under it. It is looked up for each call: the setting
//! `address`, else the file [`ADDRESS_FILE`] in the run folder (the server writes there the address of the
//! last client that had one), else `DBUS_SESSION_BUS_ADDRESS`, else `$XDG_RUNTIME_DIR/bus`.
//!
//! Buttons work as long as the connection that showed them, so one connection is kept. What an earlier server
//! showed is closed and shown again, quietly, by the first [`Notifier::update`] of it.

mod bus;
mod screen;
mod text;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use ao_slots::{
    Call, PluginError,
    call::Answer,
    notifier::{
        ChannelHandle, ChannelKind, IncomingAction, Message, Notifier, NotifierCapabilities,
        Reached, Receipt,
    },
    plugin::{self, BuildContext, Registration},
};
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::{Mutex, mpsc};

use crate::screen::{Content, Job, Screen};

/// The plugin's name in the config.
pub const NAME: &str = "desktop";

/// The file in the run folder with the D-Bus address of the desktop to use, one line.
pub const ADDRESS_FILE: &str = "dbus-address";

/// This plugin, for the list of plugins.
pub fn registration() -> Registration<dyn Notifier> {
    Registration {
        name: NAME,
        about: "notifications on this machine's desktop, with buttons",
        schema: || schemars::schema_for!(Settings),
        check: |value| plugin::settings::<Settings>(NAME, value).map(drop),
        build: |value, context| {
            let settings = plugin::settings(NAME, value)?;
            Ok(Arc::new(Desktop::new(settings, context)))
        },
    }
}

/// What can be set under `notifiers.<name>` beside `plugin: desktop`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// The D-Bus address of the desktop session; found by itself where it is not given.
    #[serde(default)]
    pub address: Option<String>,
}

/// The desktop of whoever runs `ao`.
#[derive(Debug)]
pub struct Desktop {
    settings: Settings,
    address_file: PathBuf,
    env: BTreeMap<String, String>,
    screen: Arc<Mutex<Screen>>,
    acts: Mutex<mpsc::UnboundedReceiver<IncomingAction>>,
}

impl Desktop {
    /// A desktop that is not connected yet.
    fn new(settings: Settings, context: &BuildContext) -> Self {
        let (send, acts) = mpsc::unbounded_channel();
        let who = ["USER", "LOGNAME"].iter().find_map(|name| context.env.get(*name));
        Self {
            settings,
            address_file: context.run_dir.join(ADDRESS_FILE),
            env: context.env.clone(),
            screen: Screen::new(who.map_or_else(|| NAME.to_owned(), Clone::clone), send),
            acts: Mutex::new(acts),
        }
    }

    fn address(&self) -> Result<String, PluginError> {
        let env = |name: &str| self.env.get(name).cloned();
        bus::address(self.settings.address.as_deref(), &self.address_file, env)
    }

    /// Does the job in a task of its own, so that the answer to a written notification is known even when it
    /// comes after the limit or to a dropped call. Before that, running out of time means that nothing
    /// happened.
    async fn perform(&self, call: &Call, job: Job) -> Result<Option<ChannelHandle>, PluginError> {
        let address = self.address()?;
        let written = Arc::new(AtomicBool::new(false));
        let (screen, flag) = (self.screen.clone(), written.clone());
        let mut task =
            tokio::spawn(async move { screen.lock().await.perform(&address, job, &flag).await });
        let unwritten = AbortUnlessWritten(task.abort_handle(), written.clone());
        if let Ok(ended) = tokio::time::timeout(call.limit(), &mut task).await {
            return ended.unwrap_or_else(|broken| {
                Err(PluginError::in_doubt("showing a notification broke off", broken))
            });
        }
        drop(unwritten);
        if !written.load(Ordering::SeqCst)
            && let Ok(answer) = task.await
        {
            return answer; // it came with the last tick
        }
        if written.load(Ordering::SeqCst) {
            return Err(bus::no_answer());
        }
        let cause = format!("no answer in {} ms", call.limit_ms);
        Err(PluginError::transient("the notification daemon does not answer", cause))
    }

    async fn receipt(&self, call: &Call, job: Job) -> Result<Receipt, PluginError> {
        let handle = self.perform(call, job).await?;
        Ok(Receipt { handle, reached: Reached::Delivered })
    }
}

/// Ends a job that nobody waits for any more, as long as it has had no effect.
struct AbortUnlessWritten(tokio::task::AbortHandle, Arc<AtomicBool>);

impl Drop for AbortUnlessWritten {
    fn drop(&mut self) {
        if !self.1.load(Ordering::SeqCst) {
            self.0.abort();
        }
    }
}

#[async_trait]
impl Notifier for Desktop {
    /// Not idempotent and not finding: what a killed server showed without learning its id stays on the
    /// screen unknown. Within one server's life a repeated send is one message and `find` knows it.
    fn capabilities(&self) -> NotifierCapabilities {
        NotifierCapabilities {
            buttons: true,
            edits: true,
            volatile: true,
            title_limit: text::TITLE as u32,
            body_limit: text::BODY as u32,
            ..NotifierCapabilities::plain(ChannelKind::Desktop)
        }
    }

    async fn send(&self, call: &Call, message: &Message) -> Result<Receipt, PluginError> {
        let content = Content::Message(Box::new(message.clone()));
        self.receipt(call, Job::Show { key: call.key.clone(), content }).await
    }

    async fn update(
        &self,
        call: &Call,
        handle: &ChannelHandle,
        message: &Message,
    ) -> Result<Receipt, PluginError> {
        let (key, message) = (call.key.clone(), Box::new(message.clone()));
        self.receipt(call, Job::Change { key, handle: handle.clone(), message }).await
    }

    /// Closes it: some daemons call for attention when a notification is replaced.
    async fn resolve(
        &self,
        call: &Call,
        handle: &ChannelHandle,
        message: &Message,
    ) -> Result<(), PluginError> {
        self.perform(call, Job::Settle { handle: handle.clone(), id: message.id }).await.map(drop)
    }

    async fn post(&self, call: &Call, text: &str) -> Result<Receipt, PluginError> {
        let content = Content::Line(text.to_owned());
        self.receipt(call, Job::Show { key: call.key.clone(), content }).await
    }

    /// Asks who shows notifications.
    async fn check(&self, call: &Call) -> Result<(), PluginError> {
        let look = async {
            let bus = self.screen.lock().await.connect(&self.address()?).await?;
            bus.daemon().await.map(drop)
        };
        let late = |_| PluginError::transient("the desktop does not answer", "no answer in time");
        tokio::time::timeout(call.limit(), look).await.map_err(late)?
    }

    /// Yes from memory; no where no program shows notifications at all; else unknown, since a daemon tells
    /// nobody what it shows.
    async fn find(&self, call: &Call, key: &str) -> Result<Answer<ChannelHandle>, PluginError> {
        let look = async {
            let mut screen = self.screen.lock().await;
            if let Some(handle) = screen.find(key) {
                return Ok(Answer::Yes(handle));
            }
            let bus = screen.connect(&self.address()?).await?;
            match bus.has_daemon().await {
                Ok(false) => Ok(Answer::No),
                _ => Ok(Answer::Unknown("a desktop does not tell what it shows".to_owned())),
            }
        };
        match tokio::time::timeout(call.limit(), look).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Ok(Answer::Unknown(PluginError::to_string(&error))),
            Err(_) => Ok(Answer::Unknown("the desktop does not answer".to_owned())),
        }
    }

    async fn receive(&self) -> Result<IncomingAction, PluginError> {
        match self.acts.lock().await.recv().await {
            Some(action) => Ok(action),
            // The sender lives as long as the screen, which lives as long as this.
            None => std::future::pending().await,
        }
    }
}
