//! What humans do on channels, and what they hear of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ao_slots::{
    Call, ChannelName, IncidentId, NotificationId, SessionId,
    agent::Decision,
    fact::Priority,
    notifier::{Button, IncomingAction, Notifier, OPEN, Press},
    terminal::Opened,
};
use jiff::SignedDuration;
use tokio::sync::{oneshot, watch};

use super::notify::token_hash;
use crate::{
    decide::{Answered, Input, Pressed, Refusal, RefusalKind, may, presser, reaction::TOLD},
    event::{Actor, Failure, Offer, PrAct, Subject},
    server::handle::{Handle, Pressable},
    state::{Decided, Incident, Matchers, Notification, QueuedMessage, Token},
    words::{self, Seen, Words},
};

/// How long somebody is asked whether his words are to be sent.
const ASK_FOR: SignedDuration = SignedDuration::from_hours(1);
/// What the page of a test's button says.
const TEST: &str =
    "A test of this channel: press, and your machine knows that its messages reach you.";
/// How often it is looked whether all channels are listened to.
const LISTEN_AGAIN: Duration = Duration::from_secs(30);
/// How long a channel rests that could not be listened to.
const LISTEN_FAILED: Duration = Duration::from_secs(5);

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
        tokio::spawn(async move { looking.shell.look_at_channels(&looking, false).await });
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

/// Tells a channel, whatever comes between, whether a press is recorded: it waits for that.
struct Taking<'a> {
    notifier: &'a dyn Notifier,
    action: &'a IncomingAction,
    recorded: bool,
}

impl Drop for Taking<'_> {
    fn drop(&mut self) {
        self.notifier.taken(self.action, self.recorded);
    }
}

/// Does what a press asks for, and tells whoever pressed what of it could not be done.
async fn pressed(
    handle: &Handle,
    notifier: &dyn Notifier,
    channel: &ChannelName,
    action: &IncomingAction,
) {
    let mut taken = Taking { notifier, action, recorded: false };
    if matches!(action.press, Press::Reply(_)) {
        until_told(handle, channel).await;
    }
    let channel = &shown_on(handle, channel, &action.press);
    let came = came_of(handle, notifier, channel, action).await;
    // What could not be written down may come again; any other refusal stands.
    let again = |refusal: &Refusal| refusal.kind == RefusalKind::Unavailable;
    taken.recorded = !came.as_ref().is_err_and(again);
    drop(taken);
    let (line, buttons) = match came {
        Ok(None) => return,
        Ok(Some(said)) => said,
        Err(refusal) => (words::refusal(&refusal.into()), vec![]),
    };
    tell(handle, notifier, channel, action, &line, &buttons).await;
}

/// Does what a press asks for: what whoever pressed is told of it, and asked; it is recorded by then.
async fn came_of(
    handle: &Handle,
    notifier: &dyn Notifier,
    channel: &ChannelName,
    action: &IncomingAction,
) -> Result<Option<(String, Vec<Button>)>, Refusal> {
    let touched = touched(handle, channel, action)?;
    let (late, pressed) = match &touched {
        Touched::Test(_) => (None, None),
        Touched::Message(pressed, _) => (too_late(handle, pressed), Some(pressed)),
        Touched::Words(id, text) => return ask(handle, channel, action, *id, text).await,
    };
    let note = match act(handle, &touched, actor(handle, channel, action)).await {
        Ok(Answered { note: None, .. }) => return Ok(None),
        Ok(Answered { note: Some(note), .. }) => {
            if pressed.is_some_and(|pressed| comes_back(handle, notifier, pressed, &note)) {
                tracing::info!(%channel, note, "a press is answered on its message");
                return Ok(None);
            }
            note
        }
        Err(refusal) if late.is_none() => return Err(refusal),
        Err(_) => String::new(),
    };
    let line = late.map_or(note, |late| words::refusal(&Failure::refused(late, None)));
    Ok(Some((line, vec![])))
}

/// Waits for the effects that an account's channels are busy with: by what a message is found again is known only once
/// its send is recorded, and somebody may answer sooner.
async fn until_told(handle: &Handle, channel: &ChannelName) {
    let mut events = handle.subscribe();
    let busy = || handle.state().same_account(channel).any(|(_, known)| known.intent.is_some());
    let told = async {
        while busy() {
            if let Err(tokio::sync::broadcast::error::RecvError::Closed) = events.recv().await {
                return;
            }
        }
    };
    let limit = Duration::from_millis(handle.state().policy.lifecycle.limits.notify_ms);
    let _ = tokio::time::timeout(limit, told).await;
}

/// The channel on which it was shown: a service may hand what somebody does to any that listens with the same account.
fn shown_on(handle: &Handle, listening: &ChannelName, press: &Press) -> ChannelName {
    let state = handle.state();
    let token = match press {
        Press::Button(token) => state.tokens.get(&token_hash(token)),
        Press::Reply(_) | Press::Open(_) => None,
    };
    let shown = |channel: &ChannelName| match press {
        Press::Button(_) => token.is_some_and(|token| token.channel == *channel),
        Press::Reply(handle) => state.notifications.values().any(|told| {
            told.deliveries.get(channel).is_some_and(|it| it.handle.as_ref() == Some(handle))
        }),
        Press::Open(_) => channel == listening,
    };
    let others = state.same_account(listening).map(|(name, _)| name);
    std::iter::once(listening).chain(others).find(|name| shown(name)).unwrap_or(listening).clone()
}

/// The button whose link led to a page. What a channel brings back itself counts there alone: it tells who pressed, and
/// a page cannot.
fn linked(handle: &Handle, token: &str) -> Option<(String, Token)> {
    handle.offered(token).filter(|(_, known)| known.linked)
}

/// Presses a button by its token alone: a page does it for whoever opened it.
pub(in crate::server) async fn press(
    handle: &Handle,
    token: &str,
    text: Option<String>,
    who: &str,
) -> Result<Option<String>, Refusal> {
    let channel = linked(handle, token).map(|(_, known)| known.channel).ok_or_else(unknown)?;
    let action = IncomingAction {
        press: Press::Button(token.to_owned()),
        text,
        who: who.to_owned(),
        identity: None,
        reply_to: None,
    };
    let touched = touched(handle, &channel, &action)?;
    act(handle, &touched, actor(handle, &channel, &action)).await.map(|answered| answered.note)
}

/// Presses a button of an incident's card.
pub(in crate::server) async fn press_card(
    handle: &Handle,
    incident: IncidentId,
    button: &str,
    text: &str,
    by: &Actor,
) -> Result<Answered, Refusal> {
    let about = crate::decide::incident(&handle.state(), incident)?.clone();
    let (now, session) = (handle.now().wall, whose(&about));
    let acts = acts_of(handle, about, session, button, text, now, by).await;
    let pressed = match acts {
        Ok(acts) => {
            handle.submit(Input::PressCard { incident, button: button.to_owned(), acts }).await
        }
        Err(failure) => Err(Refusal {
            remedy: failure.remedy,
            ..Refusal::new(RefusalKind::Conflict, failure.message)
        }),
    };
    pressed.map_err(|refusal| {
        // The rules know no reader's time.
        let (now, zone) = (handle.now(), Some(handle.zone().clone()));
        let state = handle.state();
        let about =
            state.incidents.get(&incident).filter(|_| refusal.kind == RefusalKind::Conflict);
        let late = about.and_then(|it| words::card_too_late(&state, it, now, zone, button));
        late.map_or(refusal, |late| Refusal::new(RefusalKind::Conflict, late))
    })
}

/// What a press of the button behind a token would do now.
pub(in crate::server) fn pressable(handle: &Handle, token: &str) -> Pressable {
    let Some((hash, known)) = linked(handle, token) else { return Pressable::Unknown };
    let (now, zone) = (handle.now(), Some(handle.zone().clone()));
    let state = handle.state();
    let over = |message, why: &str| Pressable::Over {
        message,
        why: words::refusal(&Failure::refused(why, None)),
    };
    let Some(id) = known.notification else {
        let message = Box::new(words::test(TEST, Priority::Info, now.wall));
        if let Some((by, when)) = &known.spent {
            return over(None, &words::used(&state, by, *when, now, zone));
        }
        return match &message.buttons[..] {
            [button] if now.wall < known.until => {
                let button = Box::new(button.clone());
                Pressable::Ready { message, button }
            }
            _ => over(None, "this button is too old; nothing was done"),
        };
    };
    let Some(told) = state.notifications.get(&id) else {
        return over(None, "the message of this button is no longer kept");
    };
    let can = state.channels.get(&known.channel).and_then(|known| known.capabilities.as_ref());
    let text = |blob: &crate::blob::BlobRef| handle.text(blob);
    let words =
        Words { state: &state, now, zone, channel: can, text: &text, seen: Seen::default() };
    let message = Box::new(words.message(told, &known.channel));
    let pressed = Pressed {
        notification: told.id,
        channel: known.channel.clone(),
        button: known.button.clone(),
        token: Some(hash),
        identity: None,
    };
    let late = late(&words, told, &pressed, &known);
    let offered = message.buttons.iter().find(|button| button.id == known.button).cloned();
    match (late, offered) {
        (Some(why), _) => over(Some(message), &why),
        (None, Some(button)) => Pressable::Ready { message, button: Box::new(button) },
        (None, None) => over(Some(message), "this is no longer offered"),
    }
}

/// Who acted: the person, where the configuration knows them, and by which channel.
fn actor(handle: &Handle, channel: &ChannelName, action: &IncomingAction) -> Actor {
    let state = handle.state();
    let (known, _) = presser(&state, channel, action.identity.as_deref());
    Actor { name: known.unwrap_or(&action.who).to_owned(), via: channel.to_string() }
}

fn unknown() -> Refusal {
    let why = "this button is not known here; nothing was done";
    Refusal::new(RefusalKind::Forbidden, why).with_remedy("ao status")
}

/// What a human touched, as the server knows it.
enum Touched {
    /// A button, a message to look closer, or words that answer a question; with the words.
    Message(Pressed, String),
    /// The button of a test.
    Test(String),
    /// Words on a message that asks nothing.
    Words(NotificationId, String),
}

fn touched(
    handle: &Handle,
    channel: &ChannelName,
    action: &IncomingAction,
) -> Result<Touched, Refusal> {
    let text = action.text.clone().unwrap_or_default();
    let pressed = |notification, button: &str, token| Pressed {
        notification,
        channel: channel.clone(),
        button: button.to_owned(),
        token,
        identity: action.identity.clone(),
    };
    let state = handle.state();
    match &action.press {
        Press::Open(id) => Ok(Touched::Message(pressed(*id, OPEN, None), text)),
        Press::Button(token) => {
            let hash = token_hash(token);
            // A token counts where it was shown, nowhere else.
            let known = state.tokens.get(&hash).filter(|token| token.channel == *channel);
            let known = known.ok_or_else(unknown)?;
            let bound = known.text.clone();
            let (button, notification) = (known.button.clone(), known.notification);
            drop(state);
            let text = match bound {
                Some(bound) => handle.shell.whole(&bound).map_err(|failure| {
                    Refusal::new(RefusalKind::Unavailable, failure.to_string())
                })?,
                None => text,
            };
            Ok(match notification {
                Some(id) => Touched::Message(pressed(id, &button, Some(hash)), text),
                None => Touched::Test(hash),
            })
        }
        Press::Reply(shown) => {
            let here = |n: &&Notification| {
                n.deliveries.get(channel).is_some_and(|d| d.handle.as_ref() == Some(shown))
            };
            let Some(told) = state.notifications.values().rev().find(here) else {
                let why = "the message that you answered is no longer kept; nothing was sent";
                return Err(Refusal::new(RefusalKind::NotFound, why).with_remedy("ao status"));
            };
            let id = told.id;
            Ok(match words::asks(&state, told, channel) {
                true => Touched::Message(pressed(id, "answer", None), text),
                false => Touched::Words(id, text),
            })
        }
    }
}

/// Words that answer no question may be meant for somebody else: whoever wrote them is asked, once.
async fn ask(
    handle: &Handle,
    channel: &ChannelName,
    action: &IncomingAction,
    id: NotificationId,
    text: &str,
) -> Result<Option<(String, Vec<Button>)>, Refusal> {
    may(&handle.state(), channel, action.identity.as_deref())?;
    let conflict = |failure: Failure| Refusal::new(RefusalKind::Conflict, failure.message);
    let Some(session) = meant(handle, channel, id).map_err(conflict)?.1 else { return Ok(None) };
    let bound = handle.put_exact(text).await?;
    let now = handle.now().wall;
    let until = now.saturating_add(ASK_FOR).unwrap_or(now);
    let (mut offers, mut buttons) = (vec![], vec![]);
    for mut button in words::send_or_not() {
        let unavailable =
            |error: std::io::Error| Refusal::new(RefusalKind::Unavailable, error.to_string());
        let token = super::random_token().map_err(unavailable)?;
        let (button_id, token) =
            (std::mem::replace(&mut button.id, token.clone()), token_hash(&token));
        offers.push(Offer {
            token,
            button: button_id,
            text: Some(bound.clone()),
            linked: false,
            until,
        });
        buttons.push(button);
    }
    let revision = handle.state().notifications.get(&id).map_or(0, |told| told.revision);
    let notification = Some(id);
    let offer = Input::Offer { notification, channel: channel.clone(), revision, offers };
    handle.submit(offer).await?;
    Ok(Some((format!("Send this to {session}?"), buttons)))
}

/// Says something to whoever pressed.
async fn tell(
    handle: &Handle,
    notifier: &dyn Notifier,
    channel: &ChannelName,
    action: &IncomingAction,
    line: &str,
    buttons: &[Button],
) {
    tracing::info!(%channel, line, "a press on a channel is answered");
    let limit = Duration::from_millis(handle.state().policy.lifecycle.limits.notify_ms);
    let key = format!("press-{}", handle.now().wall.as_nanosecond());
    let call = Call::new(key, limit);
    let told = super::within(limit, notifier.answer(&call, action, line, buttons)).await;
    if let Err(error) = told {
        tracing::warn!(%channel, %error, "a press could not be answered");
    }
}

/// Why nothing is done, with the reader's times.
fn too_late(handle: &Handle, pressed: &Pressed) -> Option<String> {
    // The clock reads the state too, and a lock that is held twice waits for a writer between.
    let (now, zone) = (handle.now(), Some(handle.zone().clone()));
    let state = handle.state();
    let words =
        Words { state: &state, now, zone, channel: None, text: &|_| None, seen: Seen::default() };
    let token = pressed.token.as_ref().and_then(|hash| state.tokens.get(hash));
    let told = state.notifications.get(&pressed.notification)?;
    match token {
        Some(token) => late(&words, told, pressed, token),
        None if pressed.button == OPEN => None,
        None => words::too_late(
            &state,
            told,
            now,
            words.zone.clone(),
            &pressed.channel,
            &pressed.button,
        ),
    }
}

/// Why a token is worth nothing any more.
fn late(
    words: &Words<'_>,
    told: &Notification,
    pressed: &Pressed,
    token: &Token,
) -> Option<String> {
    let (state, now, zone) = (words.state, words.now, words.zone.clone());
    if let Some((by, when)) = &token.spent {
        return Some(words::used(state, by, *when, now, zone));
    }
    if token.until <= now.wall {
        return Some(words::EXPIRED.into());
    }
    if token.text.is_some() {
        return None;
    }
    words::too_late(state, told, now, zone, &pressed.channel, &pressed.button)
}

/// Whether the message that was pressed is shown again with this note. One that an earlier press left on it says nothing
/// of this one.
fn comes_back(handle: &Handle, notifier: &dyn Notifier, pressed: &Pressed, note: &str) -> bool {
    let (now, can, channel) = (handle.now(), notifier.capabilities(), &pressed.channel);
    let state = handle.state();
    let told = state.notifications.get(&pressed.notification);
    let refused = |told: &&Notification| {
        let refused = told.deliveries.get(channel).and_then(|delivery| delivery.refused.as_ref());
        refused.is_some_and(|(failure, _)| words::refusal(failure) == note)
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

/// What a button says is asked of the rules: the same inputs that the CLI sends, bound to the message's
/// incident and request. A terminal is opened in any case: that changes nothing.
async fn act(handle: &Handle, touched: &Touched, by: Actor) -> Result<Answered, Refusal> {
    let (pressed, text) = match touched {
        Touched::Test(token) => {
            return handle.submit(Input::TestPressed { token: token.clone(), by }).await;
        }
        Touched::Message(pressed, text) => (pressed.clone(), text),
        Touched::Words(..) => return Ok(Answered::default()),
    };
    let tried = match pressed.button == OPEN {
        true => open(handle, &pressed.channel, pressed.notification).await.map(|()| None),
        false => acts(handle, &pressed, text, &by).await.map(Some),
    };
    let input = match tried {
        Ok(None) => return Ok(Answered::default()),
        Ok(Some(acts)) => Input::Press { pressed, acts, by },
        Err(failure) => Input::PressFailed { pressed, failure, by },
    };
    handle.submit(input).await
}

/// What a press on a message about several of one cause does: the same for each that still needs it.
fn for_each(
    handle: &Handle,
    pressed: &Pressed,
    now: jiff::Timestamp,
    by: &Actor,
) -> Result<Vec<Input>, Failure> {
    let state = handle.state();
    let Some(told) = state.notifications.get(&pressed.notification) else { return Ok(vec![]) };
    let parts = words::acted_on(&state, told, &pressed.channel);
    let (verb, argument) = pressed.button.split_once(':').unwrap_or((&pressed.button, ""));
    let about: Vec<SessionId> = parts.iter().flat_map(|part| part.sessions.clone()).collect();
    let waiting = words::to_restore(&state, &about);
    let act = |part: Incident| {
        let by = by.clone();
        match (verb, part.subject) {
            ("ack", _) => Some(Ok(Input::Acknowledge { incident: part.id, by })),
            ("snooze" | "snooze-1h", _) => {
                let snooze = |until| Input::Snooze { incident: part.id, until, by };
                Some(snoozed_until(argument, 60, now).map(snooze))
            }
            ("restore", Subject::Session(session)) if waiting.contains(&session) => {
                Some(Ok(Input::Restore { session, fresh: false, env_names: None, by }))
            }
            _ => None,
        }
    };
    match parts.len() {
        0 | 1 => Ok(vec![]),
        _ => parts.into_iter().filter_map(act).collect(),
    }
}

/// Until when a button lets something sleep: until the time that it names, else for so many minutes.
fn snoozed_until(
    argument: &str,
    minutes: i64,
    now: jiff::Timestamp,
) -> Result<jiff::Timestamp, Failure> {
    if argument.is_empty() {
        return Ok(now.saturating_add(SignedDuration::from_mins(minutes)).unwrap_or(now));
    }
    let none = |_| Failure::refused(format!("`{argument}` is no time; nothing was done"), None);
    argument.parse().map_err(none)
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
    let about = told.map(|told| words::acted_on(&state, told, channel)).unwrap_or_default();
    let [incident] = <[Incident; 1]>::try_from(about).map_err(|_| none())?;
    let session = whose(&incident);
    Ok((incident, session))
}

/// The one session that an incident is about.
fn whose(incident: &Incident) -> Option<SessionId> {
    match (&incident.subject, &incident.sessions[..]) {
        (Subject::Session(id), _) => Some(id.clone()),
        (_, [one]) => Some(one.clone()),
        _ => None,
    }
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
    pressed: &Pressed,
    text: &str,
    by: &Actor,
) -> Result<Vec<Input>, Failure> {
    // The clock reads the state too, and a lock that is held twice waits for a writer between.
    let now = handle.now().wall;
    let acts = for_each(handle, pressed, now, by)?;
    if !acts.is_empty() {
        return Ok(acts);
    }
    let (about, session) = meant(handle, &pressed.channel, pressed.notification)?;
    acts_of(handle, about, session, &pressed.button, text, now, by).await
}

/// What a button of one incident's message or card asks for, with the words that came with it.
async fn acts_of(
    handle: &Handle,
    about: Incident,
    session: Option<SessionId>,
    button: &str,
    text: &str,
    now: jiff::Timestamp,
    by: &Actor,
) -> Result<Vec<Input>, Failure> {
    let (incident, request, by) = (about.id, about.request, by.clone());
    let (verb, argument) = button.split_once(':').unwrap_or((button, ""));
    let text = text.trim().to_owned();
    let whose =
        || session.clone().ok_or_else(|| Failure::refused("it is about no one session", None));
    let snooze = |by, minutes| {
        snoozed_until(argument, minutes, now).map(|until| Input::Snooze { incident, until, by })
    };
    let refused = |refusal: Refusal| Failure::refused(refusal.message, refusal.remedy);
    Ok(vec![match verb {
        "no" => return Ok(vec![]),
        "ack" => Input::Acknowledge { incident, by },
        "snooze-30m" => snooze(by, 30)?,
        "snooze-morning" => {
            Input::Snooze { incident, until: words::morning(now, handle.zone()), by }
        }
        "snooze" | "snooze-1h" => snooze(by, 60)?,
        // All of it for that session, until tomorrow at this time.
        "silence" => Input::SilenceAdd {
            matchers: Matchers {
                session: Some(whose()?.to_string()),
                trigger: Some(about.trigger),
                ..Matchers::default()
            },
            until: now.saturating_add(SignedDuration::from_hours(24)).unwrap_or(now),
            comment: String::new(),
            by,
        },
        // At the head that the button names, whatever the pull request's is by now.
        "merge" => {
            Input::Merge { session: whose()?, head: Some(argument.to_owned()), method: None, by }
        }
        "release" => Input::Release { incident, digest: argument.to_owned(), by },
        "ask-pr" => handle.message(whose()?, words::ASK_FOR_PR, by).await.map_err(refused)?,
        "pr-open" => Input::ActOnPr { session: whose()?, act: PrAct::Open, by },
        "pr-reopen" => Input::ActOnPr { session: whose()?, act: PrAct::Reopen, by },
        // As with a merge.
        "rerun" => {
            let act = PrAct::Rerun { head: argument.to_owned() };
            Input::ActOnPr { session: whose()?, act, by }
        }
        "again" if TOLD.contains(&about.trigger) => Input::Retry { incident, by },
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
            let sessions = words::to_restore(&handle.state(), &sessions);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_is_none_lets_nothing_sleep() {
        let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
        let now = at("2026-11-21T14:00:00Z");
        assert_eq!(snoozed_until("", 30, now), Ok(at("2026-11-21T14:30:00Z")));
        assert_eq!(snoozed_until("2026-11-22T08:00:00Z", 60, now), Ok(at("2026-11-22T08:00:00Z")));
        let refused = snoozed_until("tomorrow", 60, now).unwrap_err();
        assert_eq!(refused.message, "`tomorrow` is no time; nothing was done");
    }
}
