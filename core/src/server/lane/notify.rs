//! Effects on channels: what is sent, edited and settled, and the tokens of its buttons.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ao_slots::{
    Call, ChannelName, ErrorKind, NotificationId, PluginError,
    call::Answer,
    fact::Priority,
    notifier::{Action, ChannelKind, Message, Notifier, NotifierCapabilities, Receipt},
};
use jiff::SignedDuration;
use tokio::{task::JoinSet, time::Instant};

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
/// How often a channel is looked at that nobody asks about: a look may be a login, and providers count those.
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// How soon it is looked at again after a failure that may pass; the wait doubles up to [`LOOK_EVERY`].
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// What the last look at a channel found.
pub(super) struct Looked {
    /// At whom it was: other settings make another one.
    notifier: Arc<dyn Notifier>,
    at: Instant,
    error: Option<PluginError>,
    wait: Duration,
}

impl Looked {
    fn new(
        notifier: Arc<dyn Notifier>,
        before: Option<&Self>,
        found: Result<(), PluginError>,
    ) -> Self {
        let error = found.err();
        let wait = match (&error, before) {
            // What does not pass by itself is not asked again and again: that is how accounts get locked.
            (Some(error), _) if !may_pass(error) => LOOK_EVERY,
            (Some(_), Some(before)) if before.error.as_ref().is_some_and(may_pass) => {
                (before.wait * 2).min(LOOK_EVERY)
            }
            (Some(_), _) => LOOK_AGAIN,
            (None, _) => LOOK_EVERY,
        };
        let at = Instant::now();
        let looked = Self { notifier, at, error, wait };
        Self { wait: wait.max(looked.rest()), ..looked }
    }

    /// How long the provider wants to be left alone from then on.
    fn rest(&self) -> Duration {
        let told = self.error.as_ref().and_then(|error| error.retry_after_ms);
        told.map_or(Duration::ZERO, Duration::from_millis)
    }

    /// Whether it is looked at again, for somebody who asked then or because its time has come.
    fn is_due(&self, asked: Option<Instant>) -> bool {
        let since = self.at.elapsed();
        match asked {
            // A look that was begun before he asked and has ended since answers him too.
            Some(asked) => self.at < asked && since >= self.rest(),
            None => since >= self.wait,
        }
    }
}

/// The key of an effect on a message whose send has this key. Each edit is an act of its own: a receiver that drops what
/// it has seen must not drop it. The message may have moved on since the edit was decided; what it says by then is said
/// again by the edit that follows.
fn key_of(send: String, effect: &Effect) -> String {
    match effect {
        Effect::UpdateNotification { revision, .. } => format!("{send}-r{revision}"),
        Effect::ResolveNotification { revision, .. } => format!("{send}-r{revision}-end"),
        _ => send,
    }
}

fn may_pass(error: &PluginError) -> bool {
    matches!(error.kind, ErrorKind::Transient | ErrorKind::InDoubt)
}

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
        let key = key_of(key, effect);
        let call = self.call(key, effect);
        match (effect, shown) {
            (Effect::SendNotification { .. }, _) => {
                let receipt = notifier.send(&call, &message).await;
                // Some channels know what they can do by the first answer alone.
                self.tell_what_it_can(handle, channel, notifier).await;
                Ok(sent(receipt?))
            }
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
        let (_, _, key) = {
            let can = notifier.capabilities();
            self.message(*notification, channel, &can, Seen::default(), false)?
        };
        let asked = notifier.find(&self.call(key.clone(), effect), &key).await;
        // What it can do may be known only now.
        let can = notifier.capabilities();
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
                linked: page.is_some(),
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
        let message = words::test(text, priority, now.wall);
        let message = self.offer(handle, None, channel, &notifier.capabilities(), message).await;
        let token = message.buttons.first().map(|button| token_hash(&button.id));
        let token = token.filter(|hash| self.state().tokens.contains_key(hash));
        let call = Call::new(key, limit);
        let receipt = super::within(limit, notifier.send(&call, &message)).await?;
        Ok((receipt, token))
    }

    /// Looks whether a message could go out by each channel; nothing is sent. Where nobody `asked`, only those are
    /// looked at that are new, have other settings, or were last looked at long ago; and none that rests.
    pub(in crate::server) async fn look_at_channels(&self, handle: &Handle, asked: bool) {
        let asked = asked.then(Instant::now);
        // One at a time: who asks meanwhile hears what this one finds.
        let _looking = self.looking.lock().await;
        let plugins = self.plugins();
        let limit = Duration::from_millis(self.state().policy.lifecycle.limits.notify_ms);
        let now = self.now().wall;
        let mut looks = JoinSet::new();
        for (name, notifier) in &plugins.channels {
            let looked = |looked: &Looked| Arc::ptr_eq(&looked.notifier, notifier);
            let known = super::lock(&self.looked)
                .get(name)
                .is_some_and(|known| looked(known) && !known.is_due(asked));
            if known || self.state().account_rests(name).is_some_and(|until| until > now) {
                continue;
            }
            let (name, notifier) = (name.clone(), notifier.clone());
            looks.spawn(async move {
                let call = Call::new(format!("look-{name}"), limit);
                let found = super::within(limit, notifier.check(&call)).await;
                (name, notifier, found)
            });
        }
        while let Some(ended) = looks.join_next().await {
            let Ok((name, notifier, found)) = ended else { continue };
            {
                let mut all = super::lock(&self.looked);
                let before =
                    all.get(&name).filter(|before| Arc::ptr_eq(&before.notifier, &notifier));
                let looked = Looked::new(notifier.clone(), before, found);
                all.insert(name.clone(), looked);
            }
            self.tell_what_it_can(handle, &name, &notifier).await;
        }
        super::lock(&self.looked).retain(|name, _| plugins.channels.contains_key(name));
    }

    /// Records what a channel can do, where something else was found out of it since that was recorded.
    async fn tell_what_it_can(
        &self,
        handle: &Handle,
        channel: &ChannelName,
        notifier: &Arc<dyn Notifier>,
    ) {
        let can = notifier.capabilities();
        let known = {
            let state = self.state();
            let known = state.channels.get(channel).and_then(|known| known.capabilities.as_ref());
            known == Some(&can)
        };
        let rules =
            self.plugins().channels.get(channel).is_some_and(|it| Arc::ptr_eq(it, notifier));
        if known || !rules {
            return;
        }
        let input = Input::Learned { channel: channel.clone(), can: Box::new(can) };
        if let Err(refusal) = handle.submit(input).await {
            tracing::warn!(%channel, %refusal, "what a channel can do was not recorded");
        }
    }

    /// Channels by which nothing would go out now, with the reason.
    pub(in crate::server) fn unable(&self) -> BTreeMap<ChannelName, PluginError> {
        let all = super::lock(&self.looked);
        all.iter().filter_map(|(name, it)| Some((name.clone(), it.error.clone()?))).collect()
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
pub fn token_hash(token: &str) -> String {
    crate::blob::sha256(token.as_bytes())
}

fn sent(receipt: Receipt) -> Outcome {
    Outcome::Sent { handle: receipt.handle, reached: receipt.reached }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, str::FromStr as _};

    use super::*;

    #[test]
    fn no_two_acts_on_a_message_have_one_key() {
        let (notification, channel) = (NotificationId(1), ChannelName::from_str("hook").unwrap());
        let edits = [2, 3].map(|revision| {
            let channel = channel.clone();
            [
                Effect::UpdateNotification { notification, channel: channel.clone(), revision },
                Effect::ResolveNotification { notification, channel, revision },
            ]
        });
        let send = |revision, again| Effect::SendNotification {
            notification,
            channel: channel.clone(),
            revision,
            again,
        };
        let key = |effect: &Effect| key_of("k".to_owned(), effect);
        assert_eq!(key(&send(1, false)), key(&send(2, true)), "one message, sent twice");
        let acts: BTreeSet<String> =
            edits.iter().flatten().chain([&send(1, false)]).map(key).collect();
        assert_eq!(acts.len(), 5, "{acts:?}");
    }
}
