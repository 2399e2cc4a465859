//! What is on the screen, and the one place that changes it.
//!
//! Everything here runs under one lock: a signal of the daemon is only read once the notification it may be
//! about is known, and no two notifications are in doubt at a time.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ao_slots::{
    NotificationId, PluginError,
    fact::Priority,
    notifier::{ChannelHandle, IncomingAction, Message, OPEN, Press},
};
use notify_rust::{Hint, Notification, Timeout, Urgency};
use tokio::{
    sync::{Mutex, mpsc::UnboundedSender},
    task::AbortHandle,
};
use tokio_stream::StreamExt as _;
use zbus::MessageStream;

use crate::{
    bus::{Bus, Daemon, Place, Signal, read_signal},
    text::{Words, YES, confirmation, line, question, words},
};

/// How long the daemon may take over what is done on its signal.
const REACTION: Duration = Duration::from_secs(5);
/// How many notifications are remembered.
const MEMORY: usize = 512;
/// The action of a click on the notification itself, as the specification names it.
const CLICK: &str = "default";
/// Before a button's id in its action key: some daemons give a meaning to keys of their own.
const BUTTON: &str = "ao:";

/// One thing to do to the screen.
#[derive(Debug)]
pub(crate) enum Job {
    /// Show something new.
    Show { key: String, content: Content },
    /// Show what a message has become.
    Change { key: String, handle: ChannelHandle, message: Box<Message> },
    /// Take a message away.
    Settle { handle: ChannelHandle, id: NotificationId },
}

#[derive(Debug, Clone)]
pub(crate) enum Content {
    Message(Box<Message>),
    Line(String),
}

impl Content {
    fn id(&self) -> Option<NotificationId> {
        match self {
            Self::Message(message) => Some(message.id),
            Self::Line(_) => None,
        }
    }
}

/// A notification that was shown.
#[derive(Debug)]
struct Card {
    /// The key of the send that made it.
    key: String,
    content: Content,
    /// Where it stands; the last one counts, the earlier ones find it too.
    places: Vec<Place>,
    /// A human has not taken it away.
    on_screen: bool,
    /// A human pressed one of its buttons: what comes of it deserves to be seen.
    pressed: bool,
    /// The button whose question stands in its place.
    asking: Option<String>,
}

impl Card {
    fn place(&self) -> Option<&Place> {
        self.places.last()
    }

    fn handle(&self) -> Option<ChannelHandle> {
        self.place().map(|place| ChannelHandle(place.to_string()))
    }
}

/// The desktop as far as this process has filled it.
#[derive(Debug)]
pub(crate) struct Screen {
    me: Weak<Mutex<Self>>,
    link: Option<(Bus, Listener)>,
    /// Oldest first.
    cards: VecDeque<Card>,
    acts: UnboundedSender<IncomingAction>,
    /// Who sits before it.
    who: String,
}

/// The task that hears the daemon; it ends with its connection.
#[derive(Debug)]
struct Listener(AbortHandle);

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Screen {
    /// An empty screen; what a human does on it goes to `acts`.
    pub(crate) fn new(who: String, acts: UnboundedSender<IncomingAction>) -> Arc<Mutex<Self>> {
        Arc::new_cyclic(|me| {
            let (link, cards) = (None, VecDeque::new());
            Mutex::new(Self { me: me.clone(), link, cards, acts, who })
        })
    }

    /// Does one job on the desktop at `address` and returns the handle that holds from now on. `written` is
    /// set once a notification is on its way: from then on a missing answer is a doubt.
    pub(crate) async fn perform(
        &mut self,
        address: &str,
        job: Job,
        written: &AtomicBool,
    ) -> Result<Option<ChannelHandle>, PluginError> {
        if let Job::Show { key, .. } = &job
            && let Some(card) = self.cards.iter().find(|card| card.key == *key)
        {
            return Ok(card.handle());
        }
        let bus = self.connect(address).await?;
        if let Job::Settle { handle, id } = &job {
            return self.settle(&bus, handle, *id).await.map(|()| None);
        }
        let daemon = bus.daemon().await?;
        written.store(true, Ordering::SeqCst);
        match job {
            Job::Show { key, content } => self.show(&bus, &daemon, key, content).await,
            Job::Change { key, handle, message } => {
                self.change(&bus, &daemon, key, &handle, *message).await
            }
            Job::Settle { .. } => Ok(None),
        }
    }

    /// The handle of what was sent with this key.
    pub(crate) fn find(&self, key: &str) -> Option<ChannelHandle> {
        self.cards.iter().find(|card| card.key == key).and_then(Card::handle)
    }

    /// The connection to this address: the one there is, or a new one.
    pub(crate) async fn connect(&mut self, address: &str) -> Result<Bus, PluginError> {
        if let Some((bus, _)) = &self.link
            && bus.address == address
            && !bus.is_closed()
        {
            return Ok(bus.clone());
        }
        let (bus, signals) = Bus::connect(address).await?;
        let hears = tokio::spawn(listen(bus.clone(), signals, self.me.clone()));
        self.link = Some((bus.clone(), Listener(hears.abort_handle())));
        Ok(bus)
    }

    async fn show(
        &mut self,
        bus: &Bus,
        daemon: &Daemon,
        key: String,
        content: Content,
    ) -> Result<Option<ChannelHandle>, PluginError> {
        // A message that is sent anew takes the place of its earlier self.
        let earlier = content.id().and_then(|id| self.take(id));
        let replaces = earlier.as_ref().and_then(|card| standing(card, daemon)).unwrap_or(0);
        let drawn = draw(&content, daemon, false);
        let place = bus.notify(daemon, replaces, &drawn).await;
        let place = match (place, earlier) {
            (Ok(place), _) => place,
            (Err(error), earlier) => {
                self.cards.extend(earlier);
                return Err(error);
            }
        };
        Ok(self.remember(key, content, vec![place]))
    }

    async fn change(
        &mut self,
        bus: &Bus,
        daemon: &Daemon,
        key: String,
        handle: &ChannelHandle,
        message: Message,
    ) -> Result<Option<ChannelHandle>, PluginError> {
        let content = Content::Message(Box::new(message));
        let drawn = draw(&content, daemon, true);
        let Some(at) = self.position(content.id(), handle) else {
            // Shown by an earlier server: its buttons lead nowhere, so it goes and comes back.
            if let Ok(place) = handle.0.parse() {
                bus.close(&place).await?;
            }
            let place = bus.notify(daemon, 0, &drawn).await?;
            return Ok(self.remember(key, content, vec![place]));
        };
        let card = &mut self.cards[at];
        let has_buttons =
            matches!(&content, Content::Message(message) if !message.buttons.is_empty());
        card.content = content;
        card.asking = None;
        // What a human has taken away stays away, unless it answers a button that was pressed.
        let answers = card.pressed && has_buttons;
        if !card.on_screen && !answers {
            return Ok(card.handle());
        }
        let replaces = match card.place().filter(|_| card.pressed) {
            // Most daemons close what was pressed, at a moment of their own: what comes back must not be taken
            // for it.
            Some(place) => {
                bus.close(place).await?;
                0
            }
            None => standing(card, daemon).unwrap_or(0),
        };
        let place = bus.notify(daemon, replaces, &drawn).await?;
        card.stands(place);
        Ok(card.handle())
    }

    async fn settle(
        &mut self,
        bus: &Bus,
        handle: &ChannelHandle,
        id: NotificationId,
    ) -> Result<(), PluginError> {
        let known = self.position(Some(id), handle).and_then(|at| self.cards[at].place().cloned());
        if let Some(place) = known.or_else(|| handle.0.parse().ok()) {
            bus.close(&place).await?;
        }
        self.take(id);
        Ok(())
    }

    /// What a human did to a notification that stands at `place`.
    async fn react(&mut self, place: &Place, signal: Signal) {
        let Some((bus, _)) = &self.link else { return };
        let bus = bus.clone();
        let Some(card) = self.cards.iter_mut().find(|card| card.place() == Some(place)) else {
            return;
        };
        let Signal::Pressed(action) = signal else {
            card.on_screen = false;
            return;
        };
        let Content::Message(message) = &card.content else { return };
        let asked = card.asking.take();
        let press = match (&asked, action.as_str()) {
            (Some(button), YES) => Press::Button(button.clone()),
            (Some(_), _) => {
                put(&bus, card, |daemon, card| draw(&card.content, daemon, true)).await;
                return;
            }
            (None, CLICK) => {
                card.pressed = true;
                Press::Open(message.id)
            }
            (None, action) => {
                // An action that is not offered now belongs to an earlier state of the message.
                let pressed = action.strip_prefix(BUTTON);
                let offered = message.buttons.iter().find(|button| pressed == Some(&button.id));
                let Some(button) = offered else { return };
                if let Some(confirm) = confirmation(button) {
                    card.asking = Some(button.id.clone());
                    let message = message.clone();
                    put(&bus, card, |daemon, _| {
                        let words = question(&message, &confirm, daemon.abilities);
                        // Whoever pressed looks at it: shown at once, without sound, until answered.
                        let mut drawn = notification(&words, Urgency::Normal);
                        drawn.hint(Hint::SuppressSound(true)).timeout(Timeout::Never).finalize()
                    })
                    .await;
                    return;
                }
                card.pressed = true;
                match button.id.as_str() {
                    OPEN => Press::Open(message.id),
                    id => Press::Button(id.to_owned()),
                }
            }
        };
        card.pressed |= asked.is_some();
        let action = IncomingAction {
            press,
            text: None,
            who: self.who.clone(),
            // Whoever sits before the screen.
            identity: None,
            reply_to: None,
        };
        // Nobody listens only while the plugin is being dropped.
        let _ = self.acts.send(action);
    }

    fn remember(
        &mut self,
        key: String,
        content: Content,
        places: Vec<Place>,
    ) -> Option<ChannelHandle> {
        if self.cards.len() >= MEMORY {
            let gone = self.cards.iter().position(|card| !card.on_screen).unwrap_or(0);
            self.cards.remove(gone);
        }
        let card = Card { key, content, places, on_screen: true, pressed: false, asking: None };
        let handle = card.handle();
        self.cards.push_back(card);
        handle
    }

    fn position(&self, id: Option<NotificationId>, handle: &ChannelHandle) -> Option<usize> {
        let by_id = |card: &Card| id.is_some() && card.content.id() == id;
        let by_handle = |card: &Card| card.places.iter().any(|place| place.to_string() == handle.0);
        self.cards.iter().position(|card| by_id(card) || by_handle(card))
    }

    fn take(&mut self, id: NotificationId) -> Option<Card> {
        let at = self.cards.iter().position(|card| card.content.id() == Some(id))?;
        self.cards.remove(at)
    }
}

impl Card {
    fn stands(&mut self, place: Place) {
        self.places.retain(|earlier| *earlier != place);
        self.places.push(place);
        self.on_screen = true;
        self.pressed = false;
    }
}

/// The id under which a card can be replaced at this daemon.
fn standing(card: &Card, daemon: &Daemon) -> Option<u32> {
    card.place().filter(|place| card.on_screen && place.daemon == daemon.name).map(|place| place.id)
}

/// Puts something else where a card stood. Most daemons close what was pressed, at a moment of their own, so
/// the old one is closed and the new one gets an id of its own.
async fn put(bus: &Bus, card: &mut Card, draw: impl FnOnce(&Daemon, &Card) -> Notification) {
    let replaced = async {
        if let Some(place) = card.place() {
            bus.close(place).await?;
        }
        let daemon = bus.daemon().await?;
        bus.notify(&daemon, 0, &draw(&daemon, card)).await
    };
    match tokio::time::timeout(REACTION, replaced).await {
        Ok(Ok(place)) => return card.stands(place),
        Ok(Err(error)) => tracing::warn!(%error, "could not answer a press on the desktop"),
        Err(_) => tracing::warn!("the notification daemon did not answer after a press"),
    }
    // The next change of the message brings it back.
    (card.on_screen, card.pressed, card.asking) = (false, true, None);
}

async fn listen(bus: Bus, mut signals: MessageStream, screen: Weak<Mutex<Screen>>) {
    while let Some(Ok(message)) = signals.next().await {
        let Some((place, signal)) = read_signal(&bus.id, &message) else { continue };
        let Some(screen) = screen.upgrade() else { return };
        screen.lock().await.react(&place, signal).await;
    }
}

/// The notification that shows this content.
fn draw(content: &Content, daemon: &Daemon, edit: bool) -> Notification {
    let message = match content {
        Content::Line(text) => {
            let mut drawn = notification(&line(text, daemon.abilities), Urgency::Normal);
            return drawn.hint(Hint::SuppressSound(true)).finalize();
        }
        Content::Message(message) => message,
    };
    let mut words = words(message, daemon.abilities);
    for (key, _) in &mut words.buttons {
        key.insert_str(0, BUTTON);
    }
    let quiet = edit || message.quiet;
    let mut drawn = notification(&words, urgency(message.priority, quiet));
    if quiet {
        drawn.hint(Hint::SuppressSound(true));
    }
    // Urgent ones stay, also those that are shown quietly.
    if message.priority == Priority::Urgent {
        drawn.timeout(Timeout::Never);
    }
    drawn
}

fn notification(words: &Words, urgency: Urgency) -> Notification {
    let mut drawn = Notification::new();
    drawn.appname("ao").summary(&words.title).body(&words.body).urgency(urgency);
    if words.click {
        drawn.action(CLICK, "Open");
    }
    for (key, label) in &words.buttons {
        drawn.action(key, label);
    }
    drawn
}

fn urgency(priority: Priority, quiet: bool) -> Urgency {
    match priority {
        _ if quiet => Urgency::Low,
        Priority::Urgent => Urgency::Critical,
        Priority::Action | Priority::Warning => Urgency::Normal,
        Priority::Info => Urgency::Low,
    }
}

#[cfg(test)]
mod tests {
    use ao_conformance::notifier::message;

    use super::*;
    use crate::text::Abilities;

    #[test]
    fn urgency_follows_priority_and_quiet_is_low_and_soundless() {
        let daemon =
            Daemon { name: ":1.1".into(), abilities: Abilities { actions: true, markup: true } };
        for (priority, quiet, expected, stays) in [
            (Priority::Urgent, false, Urgency::Critical, true),
            (Priority::Urgent, true, Urgency::Low, true),
            (Priority::Action, false, Urgency::Normal, false),
            (Priority::Warning, false, Urgency::Normal, false),
            (Priority::Info, false, Urgency::Low, false),
        ] {
            let text = Message { priority, quiet, ..message(1) };
            let drawn = draw(&Content::Message(Box::new(text)), &daemon, false);
            assert!(drawn.hints.contains(&Hint::Urgency(expected)), "{priority:?} {quiet}");
            assert_eq!(drawn.hints.contains(&Hint::SuppressSound(true)), quiet);
            assert_eq!(drawn.timeout == Timeout::Never, stays, "{priority:?}");
            assert_eq!(
                drawn.actions,
                ["default", "Open", "ao:one", "Items only", "ao:two", "Items and shipping"]
            );
        }
    }
}
