//! Effects on channels: what is sent, edited and settled, and the tokens of its buttons.

use std::{collections::BTreeMap, time::Duration};

use ao_slots::{
    Call, ChannelName, NotificationId, PluginError,
    call::Answer,
    fact::Priority,
    notifier::{Action, Block, ChannelKind, Mark, Message, NotifierCapabilities, Receipt},
};
use jiff::SignedDuration;

use super::{Shell, no_channel, no_such};
use crate::{
    decide::Input,
    event::{Effect, Failure, Offer, Outcome},
    server::handle::Handle,
    words::{self, Seen, Words},
};

/// How long a button is good for.
const LIFE: SignedDuration = SignedDuration::from_hours(24);
/// How long one that merges is.
const MERGE_LIFE: SignedDuration = SignedDuration::from_hours(1);

impl Shell {
    pub(super) async fn notify(
        &self,
        handle: &Handle,
        channel: &ChannelName,
        effect: &Effect,
    ) -> Result<Outcome, Failure> {
        let plugins = self.plugins();
        let notifier = plugins.channels.get(channel).ok_or_else(|| no_channel(channel))?;
        let (id, again) = match effect {
            Effect::SendNotification { notification, again, .. } => (*notification, *again),
            Effect::UpdateNotification { notification, .. }
            | Effect::ResolveNotification { notification, .. } => (*notification, false),
            _ => return Err(no_such("only messages go to a channel")),
        };
        let can = notifier.capabilities();
        let seen = self.seen_for(id).await;
        let (message, shown, key) = self.message(id, channel, &can, seen, again)?;
        let message = self.offer(handle, Some(id), channel, &can, message).await;
        // Each edit is an act of its own: a receiver that drops what it has seen must not drop it.
        let key = match effect {
            Effect::SendNotification { .. } => key,
            _ => format!("{key}-r{}", message.revision),
        };
        let call = self.call(key, effect);
        match (effect, shown) {
            (Effect::SendNotification { .. }, _) => Ok(sent(notifier.send(&call, &message).await?)),
            (Effect::UpdateNotification { .. }, Some(shown)) => {
                Ok(sent(notifier.update(&call, &shown, &message).await?))
            }
            (_, Some(shown)) => {
                notifier.resolve(&call, &shown, &message).await?;
                Ok(Outcome::Done)
            }
            (_, None) => Ok(Outcome::Done),
        }
    }

    /// Looks on the channel for what a send in doubt may have made.
    pub(super) async fn find_notification(
        &self,
        handle: &Handle,
        channel: &ChannelName,
        effect: &Effect,
    ) -> Result<Outcome, Failure> {
        let plugins = self.plugins();
        let notifier = plugins.channels.get(channel).ok_or_else(|| no_channel(channel))?;
        let Effect::SendNotification { notification, .. } = effect else {
            return Err(no_such("only a send can be looked for"));
        };
        let can = notifier.capabilities();
        let (_, _, key) = self.message(*notification, channel, &can, Seen::default(), false)?;
        let asked = notifier.find(&self.call(key.clone(), effect), &key).await;
        let found = asked.unwrap_or_else(|error| Answer::Unknown(error.to_string()));
        match found {
            Answer::Yes(found) => {
                let reached = ao_slots::notifier::Reached::Accepted;
                Ok(Outcome::Sent { handle: Some(found), reached })
            }
            Answer::No => Err(PluginError::transient("it was not sent", "").into()),
            // The receiver knows the key: sending again shows it once.
            Answer::Unknown(_) if can.idempotent => self.notify(handle, channel, effect).await,
            Answer::Unknown(why) => {
                Err(PluginError::in_doubt("whether it was sent is unknown", why).into())
            }
        }
    }

    /// The message as it is to be shown now, what edits the earlier one, and the key of its send.
    fn message(
        &self,
        id: NotificationId,
        channel: &ChannelName,
        can: &NotifierCapabilities,
        seen: Seen,
        again: bool,
    ) -> Result<(Message, Option<ao_slots::notifier::ChannelHandle>, String), Failure> {
        let now = self.now();
        let state = self.state();
        let notification =
            state.notifications.get(&id).ok_or_else(|| no_such("the message is no longer kept"))?;
        let text = |blob: &crate::blob::BlobRef| self.served.blobs.read(&blob.sha256).ok();
        let zone = Some(self.served.zone.clone());
        let words = Words { state: &state, now, zone, channel: Some(can), text: &text, seen };
        let mut message = words.message(notification, channel);
        message.may_repeat = again;
        let delivery = notification.deliveries.get(channel);
        let handle = delivery.and_then(|delivery| delivery.handle.clone());
        if let Some((failure, _)) = delivery.and_then(|delivery| delivery.refused.as_ref()) {
            message = words::refused(message, failure);
        }
        // One message on one channel has one key, however often sending it is tried.
        Ok((message, handle, format!("{}-{id}-{channel}", self.context().instance)))
    }

    /// Gives each button that leaves this machine a token, and has that recorded before: a press finds it also in
    /// the next server. `Open` changes nothing and needs none. What cannot be recorded is not offered.
    async fn offer(
        &self,
        handle: &Handle,
        notification: Option<NotificationId>,
        channel: &ChannelName,
        can: &NotifierCapabilities,
        mut message: Message,
    ) -> Message {
        let reads = !matches!(can.kind, ChannelKind::Webhook | ChannelKind::Desktop);
        let page = self.state().policy.public_url.clone().filter(|_| reads && !can.buttons);
        if !can.buttons && page.is_none() {
            return message;
        }
        let now = self.now().wall;
        let mut offers = vec![];
        for button in message.buttons.iter_mut().filter(|button| button.action != Action::Open) {
            let token = match super::random_token() {
                Ok(token) => token,
                Err(error) => {
                    tracing::warn!(%channel, %error, "a message goes out without its buttons");
                    message.buttons.retain(|button| button.action == Action::Open);
                    return message;
                }
            };
            let life = if button.action == Action::Merge { MERGE_LIFE } else { LIFE };
            offers.push(Offer {
                token: token_hash(&token),
                button: std::mem::replace(&mut button.id, token),
                text: None,
                until: now.saturating_add(life).unwrap_or(now),
            });
            button.link = page.as_ref().map(|page| format!("{page}/a/{}", button.id));
        }
        let (channel, revision) = (channel.clone(), message.revision);
        if offers.is_empty() {
            return message;
        }
        let offer = Input::Offer { notification, channel: channel.clone(), revision, offers };
        if let Err(refusal) = handle.submit(offer).await {
            tracing::warn!(%channel, %refusal, "a message goes out without its buttons");
            message.buttons.retain(|button| button.action == Action::Open);
        }
        message
    }

    /// Sends a test message, with a button where the channel has some. What comes back with it is the hash of the
    /// button's token.
    pub(in crate::server) async fn test_channel(
        &self,
        handle: &Handle,
        channel: &ChannelName,
        text: &str,
        priority: Priority,
    ) -> Result<(Receipt, Option<String>), PluginError> {
        let plugins = self.plugins();
        let notifier = plugins.channels.get(channel).ok_or_else(|| no_channel(channel))?;
        let now = self.now();
        let limit = Duration::from_millis(self.state().policy.lifecycle.limits.notify_ms);
        let key = format!("{}-test-{}", self.context().instance, now.wall.as_nanosecond());
        let message = Message {
            id: NotificationId(0),
            incident: None,
            revision: 1,
            kind: "test".into(),
            priority,
            mark: Mark::Settled,
            title: "ao reaches you here".into(),
            short: text.to_owned(),
            body: vec![Block::Text(text.to_owned())],
            details: vec![],
            buttons: vec![words::test_button()],
            command: Some("ao notify log".into()),
            meta: vec![],
            session: None,
            project: None,
            link: None,
            since: now.wall,
            quiet: false,
            emergency: false,
            mention: None,
            may_repeat: false,
        };
        let message = self.offer(handle, None, channel, &notifier.capabilities(), message).await;
        let token = message.buttons.first().map(|button| token_hash(&button.id));
        let token = token.filter(|hash| self.state().tokens.contains_key(hash));
        let call = Call::new(key, limit);
        let receipt = super::within(limit, notifier.send(&call, &message)).await?;
        Ok((receipt, token))
    }

    /// Looks whether a message could go out by each channel; nothing is sent.
    pub(in crate::server) async fn look_at_channels(&self) {
        let plugins = self.plugins();
        let limit = Duration::from_millis(self.state().policy.lifecycle.limits.notify_ms);
        let mut unable = BTreeMap::new();
        for (name, notifier) in &plugins.channels {
            let call = Call::new(format!("look-{name}"), limit);
            if let Err(error) = super::within(limit, notifier.check(&call)).await {
                unable.insert(name.clone(), error);
            }
        }
        *super::lock(&self.unable) = unable;
    }

    /// Channels by which nothing would go out now, with the reason.
    pub(in crate::server) fn unable(&self) -> BTreeMap<ChannelName, PluginError> {
        super::lock(&self.unable).clone()
    }

    /// Where desktop messages go: the last client that had a session bus tells (architecture, decision on desktops).
    pub(super) fn keep_desktop_address(&self, client: &BTreeMap<String, String>) {
        if let Some(address) =
            client.get("DBUS_SESSION_BUS_ADDRESS").filter(|address| !address.is_empty())
        {
            let path = self.context().run_dir.join("dbus-address");
            if let Err(error) = self.write_private(&path, address.as_bytes()) {
                tracing::warn!(%error, "desktop messages go where they went before");
            }
        }
    }
}

/// By what a token is known: a stolen journal presses no button.
pub(in crate::server) fn token_hash(token: &str) -> String {
    crate::blob::sha256(token.as_bytes())
}

fn sent(receipt: Receipt) -> Outcome {
    Outcome::Sent { handle: receipt.handle, reached: receipt.reached }
}
