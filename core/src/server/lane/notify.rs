//! Effects on channels, and what comes back from them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ao_slots::{
    Call, ChannelName, NotificationId, PluginError, SessionId,
    agent::Decision,
    call::Answer,
    fact::Priority,
    notifier::{
        Block, IncomingAction, Mark, Message, Notifier, NotifierCapabilities, OPEN, Receipt,
    },
    terminal::Opened,
};
use tokio::sync::{oneshot, watch};

use super::{Shell, no_channel, no_such};
use crate::{
    decide::{Answered, Input, Refusal},
    event::{Actor, Effect, Failure, Outcome, Subject},
    server::handle::Handle,
    state::{Decided, Incident, Notification, QueuedMessage},
    words::{self, Seen, Words},
};

/// How often it is looked whether all channels are listened to.
const LISTEN_AGAIN: Duration = Duration::from_secs(30);
/// How long a channel rests that could not be listened to.
const LISTEN_FAILED: Duration = Duration::from_secs(5);

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
        let seen = self.seen_for(id).await;
        let (message, handle, key) = self.message(id, channel, &can, seen, again)?;
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
        let (_, _, key) = self.message(*notification, channel, &can, Seen::default(), false)?;
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

fn sent(receipt: Receipt) -> Outcome {
    Outcome::Sent { handle: receipt.handle, reached: receipt.reached }
}

/// Listens to what humans do on each channel, and does it.
pub(in crate::server) async fn receive(handle: Handle, mut stopped: watch::Receiver<bool>) {
    let mut listeners: BTreeMap<ChannelName, Listener> = BTreeMap::new();
    let mut events = handle.subscribe();
    loop {
        let plugins = handle.plugins();
        listeners.retain(|name, listener| {
            let present = plugins.channels.get(name);
            present.is_some_and(|present| Arc::ptr_eq(present, &listener.notifier))
                && !listener.task.is_finished()
        });
        for (name, notifier) in &plugins.channels {
            if !listeners.contains_key(name) {
                listeners.insert(name.clone(), Listener::begin(&handle, name, notifier));
            }
        }
        let looking = handle.clone();
        tokio::spawn(async move { looking.look_at_channels().await });
        // Another policy brings other channels; a listener that a plugin broke is begun anew.
        let again = tokio::time::Instant::now() + LISTEN_AGAIN;
        loop {
            tokio::select! {
                // Cancel safe, both.
                event = events.recv() => match event {
                    Ok(event) if matches!(event.kind, crate::event::Kind::ConfigApplied(_)) => break,
                    Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
                    _ => {}
                },
                () = tokio::time::sleep_until(again) => break,
                _ = stopped.changed() => return,
            }
        }
    }
}

/// The task that listens to one channel. It ends when this is dropped, after what was pressed before.
struct Listener {
    notifier: Arc<dyn Notifier>,
    task: tokio::task::JoinHandle<()>,
    _listens: oneshot::Sender<()>,
}

impl Listener {
    fn begin(handle: &Handle, channel: &ChannelName, notifier: &Arc<dyn Notifier>) -> Self {
        let (listens, gone) = oneshot::channel();
        let listening = listen(handle.clone(), notifier.clone(), channel.clone(), gone);
        Self { notifier: notifier.clone(), task: tokio::spawn(listening), _listens: listens }
    }
}

async fn listen(
    handle: Handle,
    notifier: Arc<dyn Notifier>,
    channel: ChannelName,
    mut gone: oneshot::Receiver<()>,
) {
    loop {
        let received = tokio::select! {
            biased;
            received = notifier.receive() => received,
            // An error is what tells that nobody wants to hear of it any more.
            _ = &mut gone => return,
        };
        match received {
            Ok(action) => {
                // On its own: no press waits for another, and none is lost with the listener.
                let (handle, notifier, channel) =
                    (handle.clone(), notifier.clone(), channel.clone());
                tokio::spawn(async move { pressed(&handle, &*notifier, &channel, &action).await });
            }
            Err(error) => {
                tracing::warn!(%channel, %error, "listening to a channel failed; trying again");
                tokio::time::sleep(LISTEN_FAILED).await;
            }
        }
    }
}

/// Does what a press asks for, and says where it was pressed what of it could not be done.
async fn pressed(
    handle: &Handle,
    notifier: &dyn Notifier,
    channel: &ChannelName,
    action: &IncomingAction,
) {
    let late = too_late(handle, channel, action);
    let note = match act(handle, channel, action).await {
        Ok(answered) => answered.note,
        Err(refusal) => Some(words::refusal(&refusal.into())),
    };
    let Some(note) = note else { return };
    tracing::info!(%channel, note, "a press on a channel was answered");
    if comes_back(handle, notifier, channel, action) {
        return;
    }
    let line = late.map_or(note, |late| words::refusal(&Failure::refused(late, None)));
    let limit = Duration::from_millis(handle.state().policy.lifecycle.limits.notify_ms);
    let key = format!("press-{}", handle.now().wall.as_nanosecond());
    let call = Call::new(key, limit);
    if let Err(error) = super::within(limit, notifier.post(&call, &line)).await {
        tracing::warn!(%channel, %error, "a press could not be answered");
    }
}

/// Why nothing is done, with the reader's times.
fn too_late(handle: &Handle, channel: &ChannelName, action: &IncomingAction) -> Option<String> {
    // The clock reads the state too, and a lock that is held twice waits for a writer between.
    let (now, button) = (handle.now(), button_of(action));
    let state = handle.state();
    let notification = state.notifications.get(&action.notification).filter(|_| button != OPEN)?;
    words::too_late(&state, notification, now, Some(handle.zone().clone()), channel, button)
}

/// Whether the message that was pressed is shown again, with what came of it.
fn comes_back(
    handle: &Handle,
    notifier: &dyn Notifier,
    channel: &ChannelName,
    action: &IncomingAction,
) -> bool {
    let (now, can) = (handle.now(), notifier.capabilities());
    let state = handle.state();
    let told = state.notifications.get(&action.notification);
    let refused = |told: &&Notification| {
        told.deliveries.get(channel).is_some_and(|delivery| delivery.refused.is_some())
    };
    let words = Words {
        state: &state,
        now,
        zone: Some(handle.zone().clone()),
        channel: Some(&can),
        text: &|_| None,
        seen: Seen::default(),
    };
    let shown = |told| words.message(told, channel);
    told.filter(refused).map(shown).is_some_and(|message| !message.buttons.is_empty())
}

fn button_of(action: &IncomingAction) -> &str {
    action.button.as_deref().unwrap_or("answer")
}

/// What a button says is asked of the rules: the same inputs that the CLI sends, bound to the message's
/// incident and request. A terminal is opened in any case: that changes nothing.
async fn act(
    handle: &Handle,
    channel: &ChannelName,
    action: &IncomingAction,
) -> Result<Answered, Refusal> {
    let by = Actor { name: action.who.clone(), via: channel.to_string() };
    let (notification, channel) = (action.notification, channel.clone());
    let button = button_of(action).to_owned();
    let tried = match button == OPEN {
        true => open(handle, &channel, notification).await.map(|()| None),
        false => acts(handle, &channel, action, &by).await.map(Some),
    };
    let input = match tried {
        Ok(None) => return Ok(Answered::default()),
        Ok(Some(acts)) => Input::Press { notification, channel, button, acts, by },
        Err(failure) => Input::PressFailed { notification, channel, button, failure, by },
    };
    handle.submit(input).await
}

/// The incident that a message tells of, and its session.
fn meant(
    handle: &Handle,
    channel: &ChannelName,
    notification: NotificationId,
) -> Result<(Incident, Option<SessionId>), Failure> {
    // A list has no buttons; a reply would answer one of its needs alone.
    let none = || {
        let why = "nothing was done: this message is about no one need alone";
        Failure::refused(why, Some("ao status".into()))
    };
    let state = handle.state();
    let told = state.notifications.get(&notification);
    let incident = told.and_then(|told| words::sole(&state, told, channel)).ok_or_else(none)?;
    let session = match (&incident.subject, &incident.sessions[..]) {
        (Subject::Session(id), _) => Some(id.clone()),
        (_, [one]) => Some(one.clone()),
        _ => None,
    };
    Ok((incident, session))
}

async fn open(
    handle: &Handle,
    channel: &ChannelName,
    notification: NotificationId,
) -> Result<(), Failure> {
    let (_, session) = meant(handle, channel, notification)?;
    let several = || Failure::refused("it is about no one session", Some("ao status".into()));
    let session = session.ok_or_else(several)?;
    match handle.open(&session, BTreeMap::new(), false).await {
        Ok(Opened::Window) => Ok(()),
        Err(error) => {
            let why = Failure::from(error);
            let remedy = why.remedy.clone().or_else(|| Some(format!("ao why {session}")));
            Err(Failure { remedy, ..why })
        }
        Ok(Opened::RunHere(_) | Opened::Hint(_)) => Err(Failure::refused(
            "no terminal can be opened from here",
            Some(format!("ao session attach {session}")),
        )),
    }
}

async fn acts(
    handle: &Handle,
    channel: &ChannelName,
    action: &IncomingAction,
    by: &Actor,
) -> Result<Vec<Input>, Failure> {
    let (about, session) = meant(handle, channel, action.notification)?;
    let (incident, request, by) = (about.id, about.request, by.clone());
    let (verb, argument) = button_of(action).split_once(':').unwrap_or((button_of(action), ""));
    let text = action.text.clone().unwrap_or_default();
    let whose =
        || session.clone().ok_or_else(|| Failure::refused("it is about no one session", None));
    let snooze = |by, minutes| {
        let now = handle.now().wall;
        let later = now.saturating_add(jiff::SignedDuration::from_mins(minutes)).unwrap_or(now);
        Input::Snooze { incident, until: argument.parse().unwrap_or(later), by }
    };
    let refused = |refusal: Refusal| Failure::refused(refusal.message, refusal.remedy);
    Ok(vec![match verb {
        "ack" => Input::Acknowledge { incident, by },
        "snooze-30m" => snooze(by, 30),
        "snooze" | "snooze-1h" => snooze(by, 60),
        "approve" => {
            handle.decision(whose()?, request, Decision::Approve, by).await.map_err(refused)?
        }
        "deny" | "deny-reason" => {
            let reason = (!text.is_empty()).then_some(text);
            handle
                .decision(whose()?, request, Decision::Deny { reason }, by)
                .await
                .map_err(refused)?
        }
        "answer" => {
            let text = match argument.parse::<usize>() {
                Ok(number) => option_text(handle, &whose()?, request, number)
                    .ok_or_else(|| Failure::refused("that choice is no longer open", None))?,
                Err(_) if text.is_empty() => {
                    return Err(Failure::refused("an answer needs text", None));
                }
                Err(_) => text,
            };
            handle
                .decision(whose()?, request, Decision::Answer { text }, by)
                .await
                .map_err(refused)?
        }
        "again" if request.is_none() => {
            let session = whose()?;
            match undelivered(handle, &session)? {
                Some((_, true)) => Input::Restore { session, fresh: true, env_names: None, by },
                Some((text, false)) => handle.message(session, &text, by).await.map_err(refused)?,
                None => return Err(Failure::refused("it has got it by now", None)),
            }
        }
        // The same decision once more: the agent has not confirmed it.
        "again" => {
            let decided = last_decision(handle, &whose()?, request)
                .ok_or_else(|| Failure::refused("nothing was decided", None))?;
            let decided = handle.shell.whole_decision(&decided)?;
            handle.decision(whose()?, request, decided, by).await.map_err(refused)?
        }
        "send" => handle.message(whose()?, &text, by).await.map_err(refused)?,
        "restore" => {
            let sessions = match about.subject {
                Subject::Session(id) => vec![id],
                _ => about.sessions,
            };
            let restore =
                |session| Input::Restore { session, fresh: false, env_names: None, by: by.clone() };
            return Ok(sessions.into_iter().map(restore).collect());
        }
        "done" => {
            let session = whose()?;
            handle.look(&session).await;
            Input::Done { session, by }
        }
        "kill" => Input::Kill { session: whose()?, force: false, by },
        other => return Err(Failure::refused(format!("`{other}` is no action"), None)),
    }])
}

/// The message that an agent has not got, and whether it is its task.
fn undelivered(handle: &Handle, session: &SessionId) -> Result<Option<(String, bool)>, Failure> {
    let message = handle.state().sessions.get(session).and_then(|s| s.undelivered()).cloned();
    let whole = |message: QueuedMessage| Ok((handle.shell.whole(&message.text)?, message.first));
    message.map(whole).transpose()
}

/// What was decided last on a request.
fn last_decision(
    handle: &Handle,
    session: &SessionId,
    request: Option<ao_slots::RequestId>,
) -> Option<Decided> {
    handle.state().sessions.get(session)?.requests.get(&request?)?.decided.clone()
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
