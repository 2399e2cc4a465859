//! Effects on channels, and what comes back from them.

use std::{collections::BTreeMap, time::Duration};

use ao_slots::{
    Call, ChannelName, NotificationId, PluginError,
    agent::Decision,
    call::Answer,
    fact::Priority,
    notifier::{Block, IncomingAction, Mark, Message, NotifierCapabilities, Receipt},
};
use tokio::sync::watch;

use super::{Shell, no_channel, no_such};
use crate::{
    decide::Input,
    event::{Actor, Effect, Failure, Outcome},
    server::handle::Handle,
    words,
};

/// How often it is looked whether all channels are listened to.
const LISTEN_AGAIN: Duration = Duration::from_secs(30);

impl Shell {
    pub(super) async fn notify(
        &self,
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
        let (message, handle, key) = self.message(id, channel, &can, again)?;
        // Each edit is an act of its own: a receiver that drops what it has seen must not drop it.
        let key = match effect {
            Effect::SendNotification { .. } => key,
            _ => format!("{key}-r{}", message.revision),
        };
        let call = self.call(key, effect);
        match (effect, handle) {
            (Effect::SendNotification { .. }, _) => Ok(sent(notifier.send(&call, &message).await?)),
            (Effect::UpdateNotification { .. }, Some(handle)) => {
                Ok(sent(notifier.update(&call, &handle, &message).await?))
            }
            (_, Some(handle)) => {
                notifier.resolve(&call, &handle, &message).await?;
                Ok(Outcome::Done)
            }
            (_, None) => Ok(Outcome::Done),
        }
    }

    /// Looks on the channel for what a send in doubt may have made.
    pub(super) async fn find_notification(
        &self,
        channel: &ChannelName,
        effect: &Effect,
    ) -> Result<Outcome, Failure> {
        let plugins = self.plugins();
        let notifier = plugins.channels.get(channel).ok_or_else(|| no_channel(channel))?;
        let Effect::SendNotification { notification, .. } = effect else {
            return Err(no_such("only a send can be looked for"));
        };
        let can = notifier.capabilities();
        let (_, _, key) = self.message(*notification, channel, &can, false)?;
        let asked = notifier.find(&self.call(key.clone(), effect), &key).await;
        let found = asked.unwrap_or_else(|error| Answer::Unknown(error.to_string()));
        match found {
            Answer::Yes(handle) => {
                let reached = ao_slots::notifier::Reached::Accepted;
                Ok(Outcome::Sent { handle: Some(handle), reached })
            }
            Answer::No => Err(PluginError::transient("it was not sent", "").into()),
            // The receiver knows the key: sending again shows it once.
            Answer::Unknown(_) if can.idempotent => self.notify(channel, effect).await,
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
        again: bool,
    ) -> Result<(Message, Option<ao_slots::notifier::ChannelHandle>, String), Failure> {
        let now = self.now();
        let state = self.state();
        let notification =
            state.notifications.get(&id).ok_or_else(|| no_such("the message is no longer kept"))?;
        let text = |blob: &crate::blob::BlobRef| self.served.blobs.read(&blob.sha256).ok();
        let mut message = words::message(&state, notification, channel, now, can, &text);
        message.may_repeat = again;
        let handle =
            notification.deliveries.get(channel).and_then(|delivery| delivery.handle.clone());
        // One message on one channel has one key, however often sending it is tried.
        Ok((message, handle, format!("{}-{id}-{channel}", self.context().instance)))
    }

    pub(in crate::server) async fn test_channel(
        &self,
        channel: &ChannelName,
        text: &str,
    ) -> Result<Receipt, PluginError> {
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
            priority: Priority::Action,
            mark: Mark::Settled,
            title: "ao reaches you here".into(),
            short: text.to_owned(),
            body: vec![Block::Text(text.to_owned())],
            buttons: vec![],
            command: Some("ao notify log".into()),
            meta: vec![],
            session: None,
            project: None,
            link: None,
            since: now.wall,
            quiet: false,
            may_repeat: false,
        };
        let call = Call::new(key, limit);
        super::within(limit, notifier.send(&call, &message)).await
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

fn sent(receipt: Receipt) -> Outcome {
    Outcome::Sent { handle: receipt.handle, reached: receipt.reached }
}

/// Listens to what humans do on each channel, and does it.
pub(in crate::server) async fn receive(handle: Handle, mut stopped: watch::Receiver<bool>) {
    let mut listeners: BTreeMap<ChannelName, tokio::task::JoinHandle<()>> = BTreeMap::new();
    let mut events = handle.subscribe();
    loop {
        let plugins = handle.plugins();
        listeners.retain(|name, task| {
            let keep = plugins.channels.contains_key(name) && !task.is_finished();
            if !keep {
                task.abort();
            }
            keep
        });
        for (name, notifier) in &plugins.channels {
            if !listeners.contains_key(name) {
                let (handle, notifier, name) = (handle.clone(), notifier.clone(), name.clone());
                listeners.insert(name.clone(), tokio::spawn(listen(handle, notifier, name)));
            }
        }
        // Another policy brings other channels; a listener that a plugin broke is begun anew.
        let again = tokio::time::Instant::now() + LISTEN_AGAIN;
        loop {
            tokio::select! {
                // Cancel safe, both.
                event = events.recv() => match event {
                    Ok(event) if matches!(event.kind, crate::event::Kind::ConfigApplied(_)) => {
                        for (_, task) in std::mem::take(&mut listeners) {
                            task.abort();
                        }
                        break;
                    }
                    Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
                    _ => {}
                },
                () = tokio::time::sleep_until(again) => break,
                _ = stopped.changed() => {
                    for (_, task) in listeners {
                        task.abort();
                    }
                    return;
                }
            }
        }
    }
}

async fn listen(
    handle: Handle,
    notifier: std::sync::Arc<dyn ao_slots::notifier::Notifier>,
    channel: ChannelName,
) {
    loop {
        match notifier.receive().await {
            Ok(action) => {
                if let Err(why) = act(&handle, &channel, &action).await {
                    tracing::info!(%channel, why, "an action from a channel was refused");
                }
            }
            Err(error) => {
                tracing::warn!(%channel, %error, "listening to a channel failed; trying again");
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
        }
    }
}

/// Does what a button says: the same inputs that the CLI sends, bound to the message's incident and request.
async fn act(
    handle: &Handle,
    channel: &ChannelName,
    action: &IncomingAction,
) -> Result<(), String> {
    let by = Actor { name: action.who.clone(), via: channel.to_string() };
    let (incident, session, request) = {
        let state = handle.state();
        let notification = state
            .notifications
            .get(&action.notification)
            .ok_or("that message is no longer kept")?;
        let covered = notification.covers_on(channel);
        let covered: Vec<_> =
            covered.iter().filter_map(|id| state.incidents.get(id)).cloned().collect();
        let incident = match words::needs(&covered).collect::<Vec<_>>()[..] {
            [] => return Err("it is about no incident".into()),
            [one] => one.clone(),
            // It has no buttons; a reply would answer one of them alone.
            [..] => return Err("it is about several: ao status shows each".into()),
        };
        let session = match &incident.subject {
            crate::event::Subject::Session(id) => Some(id.clone()),
            _ => None,
        };
        (incident.id, session, incident.request)
    };
    let button = action.button.as_deref().unwrap_or("answer");
    let (verb, argument) = button.split_once(':').unwrap_or((button, ""));
    let text = action.text.clone().unwrap_or_default();
    let whose = || session.clone().ok_or_else(|| "it is about no session".to_owned());
    let refused = |refusal: crate::decide::Refusal| refusal.to_string();
    let decide = |decision: Decision| {
        let by = by.clone();
        async move { handle.decide(whose()?, request, decision, by).await.map_err(refused).map(|_| ()) }
    };
    match verb {
        "ack" => submit(handle, Input::Acknowledge { incident, by }).await,
        "snooze" | "snooze-30m" | "snooze-1h" => {
            let hours = if verb == "snooze-30m" {
                jiff::SignedDuration::from_mins(30)
            } else {
                jiff::SignedDuration::from_hours(1)
            };
            let until = handle.now().wall.saturating_add(hours).unwrap_or(handle.now().wall);
            submit(handle, Input::Snooze { incident, until, by }).await
        }
        "approve" => decide(Decision::Approve).await,
        "deny" | "deny-reason" => {
            decide(Decision::Deny { reason: (!text.is_empty()).then_some(text) }).await
        }
        "answer" => {
            let answer = match argument.parse::<usize>() {
                Ok(number) => option_text(handle, &whose()?, request, number)
                    .ok_or("that choice is no longer open")?,
                Err(_) if text.is_empty() => return Err("an answer needs text".into()),
                Err(_) => text,
            };
            decide(Decision::Answer { text: answer }).await
        }
        // The same decision once more: the agent has not confirmed it.
        "again" => {
            decide(last_decision(handle, &whose()?, request).ok_or("nothing was decided")?).await
        }
        "send" => handle.send(whose()?, &text, by).await.map_err(refused).map(|_| ()),
        "restore" => {
            let sessions = match &session {
                Some(id) => vec![id.clone()],
                None => handle
                    .state()
                    .incidents
                    .get(&incident)
                    .map(|i| i.sessions.clone())
                    .unwrap_or_default(),
            };
            for session in sessions {
                submit(handle, Input::Restore { session, fresh: false, by: by.clone() }).await?;
            }
            Ok(())
        }
        "done" => submit(handle, Input::Done { session: whose()?, by }).await,
        "kill" => submit(handle, Input::Kill { session: whose()?, force: false, by }).await,
        "open" => handle.open_session(&whose()?).await,
        other => Err(format!("`{other}` is no action")),
    }
}

async fn submit(handle: &Handle, input: Input) -> Result<(), String> {
    handle.submit(input).await.map(|_| ()).map_err(|refusal| refusal.to_string())
}

/// What was decided last on a request, whole.
fn last_decision(
    handle: &Handle,
    session: &ao_slots::SessionId,
    request: Option<ao_slots::RequestId>,
) -> Option<Decision> {
    let state = handle.state();
    let decided = state.sessions.get(session)?.requests.get(&request?)?.decided.as_ref()?;
    Some(match (&decided.decision, &decided.full) {
        (Decision::Answer { text }, Some(full)) => {
            Decision::Answer { text: handle.text(full).unwrap_or_else(|| text.clone()) }
        }
        (decision, _) => decision.clone(),
    })
}

fn option_text(
    handle: &Handle,
    session: &ao_slots::SessionId,
    request: Option<ao_slots::RequestId>,
    number: usize,
) -> Option<String> {
    let state = handle.state();
    let request = state.sessions.get(session)?.requests.get(&request?)?;
    match &request.ask {
        ao_slots::agent::Ask::Question { options, .. } => {
            options.get(number.checked_sub(1)?).cloned()
        }
        ao_slots::agent::Ask::Permission { .. } => None,
    }
}
