//! What people do in Slack: presses, dialogs, replies. The same whether it came by Socket Mode or by a request.
//!
//! Slack has its answer once the server has recorded what was done: what a crash takes with it comes again, or is shown
//! as an error to who did it. Looking up a name or opening a dialog goes on behind it. What came twice is taken once.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use ao_slots::{
    PluginError,
    notifier::{ChannelHandle, Form, IncomingAction, Press},
    text::one_line,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use slack_morphism::blocks::{
    SlackBlock, SlackBlockChoiceItem, SlackBlockPlainText, SlackBlockPlainTextInputElement,
    SlackBlockRadioButtonsElement, SlackBlockText, SlackInputBlock, SlackModalView,
    SlackSectionBlock, SlackView,
};
use tokio::{
    sync::{OnceCell, mpsc, watch},
    time::Instant as Deadline,
};

use crate::{
    App,
    api::{Act, Me},
    card::{Ask, FORM, LABEL, SURE, escape, fit, or, unsure, words},
};

/// When Slack has its answer: it waits for 3 s.
pub(crate) const ANSWER: Duration = Duration::from_millis(2_500);
/// How long a look at a name or at a message may take: a dialog can be opened for 3 s.
const LOOK: Duration = Duration::from_millis(1_200);
/// How long opening a dialog, or a word to one person, may take.
const OPEN: Duration = Duration::from_secs(2);
/// How long somebody who could not be looked up is not looked up again.
const IN_VAIN: Duration = Duration::from_secs(600);
/// How many things that came are remembered, so that they are taken once.
const REMEMBERED: usize = 4_096;
/// Names the dialogs that are `ao`'s.
const DIALOG: &str = "ao";

/// It could not be taken: Slack is not told that it was, shows its own error, and may send it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotTaken;

/// Somebody, as Slack knows him.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    name: Option<String>,
    team: Option<String>,
}

/// Who somebody is, or when that was asked in vain.
pub(crate) type Known = Result<Person, Instant>;

/// Becomes true once the server has recorded something; its end before is that it has not.
#[derive(Debug, Clone)]
pub(crate) struct Taken(watch::Receiver<bool>);

impl Taken {
    fn is_lost(&self) -> bool {
        !*self.0.borrow() && self.0.has_changed().is_err()
    }
}

/// What Slack gets for something, and what has to be recorded before.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    body: Option<Value>,
    taken: Vec<Taken>,
}

impl Reply {
    fn with(body: Value) -> Self {
        Self { body: Some(body), taken: vec![] }
    }

    /// Waits until it is recorded.
    pub(crate) async fn answer(self, by: Deadline) -> Result<Option<Value>, NotTaken> {
        for Taken(mut recorded) in self.taken {
            let recorded = recorded.wait_for(|recorded| *recorded);
            match tokio::time::timeout_at(by, recorded).await {
                Ok(Ok(_)) => {}
                Ok(Err(_)) | Err(_) => return Err(NotTaken),
            }
        }
        Ok(self.body)
    }
}

/// What came already, and what of it.
#[derive(Debug)]
pub(crate) struct Seen<T> {
    order: VecDeque<String>,
    known: HashMap<String, T>,
}

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self { order: VecDeque::new(), known: HashMap::new() }
    }
}

impl<T> Seen<T> {
    fn get(&self, key: &str) -> Option<&T> {
        self.known.get(key)
    }

    /// Remembers it, and tells what it was before.
    pub(crate) fn put(&mut self, key: String, what: T) -> Option<T> {
        let before = self.known.insert(key.clone(), what);
        if before.is_none() {
            self.order.push_back(key);
            if self.order.len() > REMEMBERED
                && let Some(oldest) = self.order.pop_front()
            {
                self.known.remove(&oldest);
            }
        }
        before
    }
}

/// The fields that are needed of
/// <https://docs.slack.dev/reference/interaction-payloads/block_actions-payload> and of `view_submission`.
#[derive(Debug, Deserialize)]
struct Interaction {
    #[serde(rename = "type")]
    kind: String,
    user: User,
    #[serde(default)]
    trigger_id: String,
    #[serde(default)]
    channel: Option<Named>,
    #[serde(default)]
    container: Option<Container>,
    #[serde(default)]
    message: Option<Value>,
    #[serde(default)]
    actions: Vec<Action>,
    #[serde(default)]
    response_url: Option<String>,
    #[serde(default)]
    view: Option<View>,
}

#[derive(Debug, Clone, Deserialize)]
struct User {
    id: String,
    #[serde(default)]
    team_id: Option<String>,
    #[serde(default)]
    name: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Named {
    id: String,
}

#[derive(Debug, Deserialize)]
struct Container {
    #[serde(default)]
    message_ts: String,
    #[serde(default)]
    thread_ts: Option<String>,
    #[serde(default)]
    is_ephemeral: bool,
}

#[derive(Debug, Deserialize)]
struct Action {
    #[serde(default)]
    action_id: String,
    #[serde(default)]
    action_ts: String,
    #[serde(default)]
    value: Option<String>,
    #[serde(default)]
    text: Option<Text>,
    #[serde(default)]
    selected_option: Option<Choice>,
}

#[derive(Debug, Clone, Deserialize)]
struct Text {
    text: String,
}

#[derive(Debug, Deserialize)]
struct Choice {
    #[serde(default)]
    text: Option<Text>,
    value: String,
}

#[derive(Debug, Deserialize)]
struct View {
    id: String,
    #[serde(default)]
    callback_id: String,
    #[serde(default)]
    private_metadata: String,
    #[serde(default)]
    state: State,
}

#[derive(Debug, Default, Deserialize)]
struct State {
    #[serde(default)]
    values: BTreeMap<String, BTreeMap<String, Input>>,
}

#[derive(Debug, Deserialize)]
struct Input {
    #[serde(default)]
    value: Option<String>,
    #[serde(default)]
    selected_option: Option<Choice>,
}

/// Where an answer reaches one person alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReplyTo {
    pub(crate) channel: String,
    pub(crate) user: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) thread: Option<String>,
}

/// What a dialog has to remember; at most 3,000 characters of JSON.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    token: String,
    to: ReplyTo,
    options: Vec<String>,
    required: bool,
}

/// Something that was pressed, on its way to the server.
struct Pressed {
    token: String,
    label: String,
    user: User,
    to: ReplyTo,
    message_ts: String,
    trigger: String,
    /// The title of the message.
    title: String,
}

/// A place in the queue to the server. Dropped before it was used, nothing was taken.
pub(crate) struct Place {
    queue: mpsc::OwnedPermit<Result<IncomingAction, PluginError>>,
    recorded: watch::Sender<bool>,
}

impl Place {
    /// It is no matter of the server's.
    fn give_up(self) {
        self.recorded.send_replace(true);
    }
}

/// What the server has, and has not told yet whether it recorded it.
pub(crate) type Waiting = Vec<(IncomingAction, watch::Sender<bool>)>;

impl App {
    /// Takes a payload of interactivity, and says what goes back with its acknowledgement.
    pub(crate) fn interaction(
        self: &Arc<Self>,
        me: &Me,
        payload: Value,
    ) -> Result<Reply, NotTaken> {
        // What cannot be read is no press of ours, and reads no better the next time.
        let it = match serde_json::from_value::<Interaction>(payload) {
            Ok(it) => it,
            Err(error) => {
                tracing::warn!(%error, "Slack sent an interaction that cannot be read");
                return Ok(Reply::default());
            }
        };
        match it.kind.as_str() {
            "block_actions" => self.pressed(me, it),
            "view_submission" => self.submitted(me, it),
            _ => Ok(Reply::default()),
        }
    }

    fn pressed(self: &Arc<Self>, me: &Me, it: Interaction) -> Result<Reply, NotTaken> {
        let mut reply = Reply::default();
        let (Some(channel), Some(container)) = (it.channel, it.container) else { return Ok(reply) };
        let message_thread = it
            .message
            .as_ref()
            .and_then(|message| message["thread_ts"].as_str())
            .map(str::to_owned);
        let thread =
            container.thread_ts.or(message_thread).filter(|ts| *ts != container.message_ts);
        let to = ReplyTo { channel: channel.id, user: it.user.id.clone(), thread };
        let title = it.message.as_ref().and_then(|m| m.pointer("/blocks/0/text/text"));
        let title = title.and_then(Value::as_str).unwrap_or_default().to_owned();
        for action in it.actions {
            let (token, label) = match (action.selected_option, action.value) {
                (Some(choice), _) => (choice.value, choice.text),
                (None, Some(value)) => (value, action.text),
                // A link: the browser has opened it.
                (None, None) => continue,
            };
            let key = format!("press {} {} {token}", action.action_ts, it.user.id);
            let (place, taken) = self.place(key)?;
            reply.taken.push(taken);
            let Some(place) = place else { continue };
            let (form, sure) = (token.strip_prefix(FORM), token.strip_prefix(SURE));
            let words = form.is_some() || action.action_id.starts_with("form");
            let yes = sure.is_some();
            let pressed = Pressed {
                token: form.or(sure).unwrap_or(&token).to_owned(),
                label: label.map(|text| text.text).unwrap_or_default(),
                user: it.user.clone(),
                to: to.clone(),
                message_ts: container.message_ts.clone(),
                trigger: it.trigger_id.clone(),
                title: title.clone(),
            };
            let used = it.response_url.clone().filter(|_| container.is_ephemeral);
            let (app, me) = (self.clone(), me.clone());
            tokio::spawn(async move {
                // A dialog that does not open is seen.
                if words || yes {
                    place.recorded.send_replace(true);
                }
                if !app.belongs(&me, &pressed.user, &pressed.to).await {
                    return place.give_up();
                }
                match (words, yes) {
                    (true, _) => app.open(app.form_of(&pressed).await, pressed).await,
                    (_, true) => app.open(app.confirm_of(&pressed).await, pressed).await,
                    _ => {
                        let press = Press::Button(pressed.token);
                        app.pass(place, pressed.user, pressed.to, press, None).await;
                    }
                }
                if let Some(url) = used {
                    app.api.take_away(&url, OPEN).await;
                }
            });
        }
        Ok(reply)
    }

    fn submitted(self: &Arc<Self>, me: &Me, it: Interaction) -> Result<Reply, NotTaken> {
        let mut reply = Reply::default();
        let Some(view) = it.view.filter(|view| view.callback_id == DIALOG) else {
            return Ok(reply);
        };
        let Ok(kept) = serde_json::from_str::<Remembered>(&view.private_metadata) else {
            return Ok(reply);
        };
        let input = |block: &str| view.state.values.get(block)?.values().next();
        let typed = input("words").and_then(|input| input.value.as_deref()).map(str::trim);
        let typed = typed.filter(|text| !text.is_empty()).map(str::to_owned);
        let chosen = input("choice").and_then(|input| input.selected_option.as_ref());
        let chosen =
            chosen.and_then(|choice| kept.options.get(choice.value.parse::<usize>().ok()?));
        let text = typed.or_else(|| chosen.cloned());
        if text.is_none() && kept.required {
            let words = if kept.options.is_empty() {
                "Write something."
            } else {
                "Choose one, or write something."
            };
            let errors = json!({"response_action": "errors", "errors": {"words": words}});
            return Ok(Reply::with(errors));
        }
        let (place, taken) = self.place(format!("dialog {}", view.id))?;
        reply.taken.push(taken);
        let Some(place) = place else { return Ok(reply) };
        let (app, me) = (self.clone(), me.clone());
        tokio::spawn(async move {
            if !app.belongs(&me, &it.user, &kept.to).await {
                return place.give_up();
            }
            app.pass(place, it.user, kept.to, Press::Button(kept.token), text).await;
        });
        Ok(reply)
    }

    /// Takes an event (<https://docs.slack.dev/reference/events/message.channels>): a reply under one of our messages.
    pub(crate) fn event(self: &Arc<Self>, me: &Me, payload: Value) -> Result<Reply, NotTaken> {
        #[derive(Deserialize)]
        struct Event {
            #[serde(rename = "type")]
            kind: String,
            #[serde(default)]
            subtype: Option<String>,
            #[serde(default)]
            bot_id: Option<String>,
            #[serde(default)]
            user: String,
            #[serde(default)]
            user_team: Option<String>,
            #[serde(default)]
            team: Option<String>,
            #[serde(default)]
            text: String,
            #[serde(default)]
            ts: String,
            #[serde(default)]
            thread_ts: String,
            #[serde(default)]
            channel: String,
            #[serde(default)]
            parent_user_id: String,
        }
        let event = match serde_json::from_value::<Event>(payload["event"].clone()) {
            Ok(event) => event,
            Err(error) => {
                tracing::warn!(%error, "Slack sent an event that cannot be read");
                return Ok(Reply::default());
            }
        };
        let mut reply = Reply::default();
        let by_a_person = event.kind == "message"
            && matches!(event.subtype.as_deref(), None | Some("thread_broadcast" | "file_share"))
            && event.bot_id.is_none()
            && !event.user.is_empty()
            && event.user != me.user_id;
        let under_ours = !event.thread_ts.is_empty()
            && event.thread_ts != event.ts
            && event.parent_user_id == me.user_id;
        let text = legible(&event.text);
        if !by_a_person || !under_ours || text.is_empty() {
            return Ok(reply);
        }
        let (place, taken) = self.place(format!("reply {} {}", event.channel, event.ts))?;
        reply.taken.push(taken);
        let Some(place) = place else { return Ok(reply) };
        let thread = Some(event.thread_ts.clone());
        let to = ReplyTo { channel: event.channel.clone(), user: event.user.clone(), thread };
        let handle = ChannelHandle(format!("{}:{}", event.channel, event.thread_ts));
        let user = User { id: event.user, team_id: event.user_team.or(event.team), name: None };
        let (app, me) = (self.clone(), me.clone());
        tokio::spawn(async move {
            if !app.belongs(&me, &user, &to).await {
                return place.give_up();
            }
            app.pass(place, user, to, Press::Reply(handle), Some(text)).await;
        });
        Ok(reply)
    }

    /// A place in the queue for what is new, none for what came already; and whether it is recorded.
    fn place(&self, key: String) -> Result<(Option<Place>, Taken), NotTaken> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // What came to nothing is taken anew.
        if let Some(before) = seen.get(&key).filter(|taken| !taken.is_lost()) {
            return Ok((None, before.clone()));
        }
        let queue = self.out.clone().try_reserve_owned().map_err(|_| NotTaken)?;
        let (recorded, taken) = watch::channel(false);
        let taken = Taken(taken);
        seen.put(key, taken.clone());
        Ok((Some(Place { queue, recorded }), taken))
    }

    /// The server tells what became of an action.
    pub(crate) fn told(&self, action: &IncomingAction, recorded: bool) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // One of two that are the same is as good as the other.
        let Some(at) = waiting.iter().position(|(waits, _)| waits == action) else { return };
        let (_, told) = waiting.remove(at);
        drop(waiting);
        if recorded {
            told.send_replace(true);
        }
    }

    /// Hands it to the server, with the name of who did it: nobody waits for a nicer one than Slack sent along.
    async fn pass(
        self: &Arc<Self>,
        place: Place,
        user: User,
        to: ReplyTo,
        press: Press,
        text: Option<String>,
    ) {
        let called = user.name.as_deref().map(one_line).filter(|name| !name.is_empty());
        let known = match called {
            Some(_) if !self.person(&user.id).initialized() => {
                let (app, id) = (self.clone(), user.id.clone());
                tokio::spawn(async move { app.look_up(&id).await });
                None
            }
            _ => self.look_up(&user.id).await,
        };
        let name = known.and_then(|person| person.name).or(called);
        let action = IncomingAction {
            press,
            text,
            who: name.unwrap_or_else(|| user.id.clone()),
            identity: Some(user.id),
            reply_to: serde_json::to_string(&to).ok(),
        };
        let Place { queue, recorded } = place;
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push((action.clone(), recorded));
        drop(waiting);
        queue.send(Ok(action));
    }

    /// What is known of somebody, or will be once.
    fn person(&self, id: &str) -> Arc<OnceCell<Known>> {
        let mut people = self.people.lock().unwrap_or_else(PoisonError::into_inner);
        // A workspace may be large; who presses is few.
        if people.len() >= REMEMBERED {
            people.clear();
        }
        let in_vain = |known: &Known| known.as_ref().is_err_and(|at| at.elapsed() > IN_VAIN);
        if people.get(id).and_then(|known| known.get()).is_some_and(in_vain) {
            people.remove(id);
        }
        people.entry(id.to_owned()).or_default().clone()
    }

    /// Who somebody is, asked once: the display name, else the real one, and the workspace.
    async fn look_up(&self, id: &str) -> Option<Person> {
        #[derive(Deserialize)]
        struct Answer {
            user: User,
        }
        #[derive(Deserialize)]
        struct User {
            #[serde(default)]
            team_id: Option<String>,
            #[serde(default)]
            profile: Profile,
        }
        #[derive(Deserialize, Default)]
        struct Profile {
            #[serde(default)]
            display_name: String,
            #[serde(default)]
            real_name: String,
        }
        let person = self.person(id);
        let asked = async || {
            let answer = self.api.get::<Answer>("users.info", &[("user", id)], LOOK).await;
            let Answer { user: User { team_id, profile } } = answer.map_err(|_| Instant::now())?;
            let names = [profile.display_name, profile.real_name].map(|name| one_line(&name));
            let name = names.into_iter().find(|name| !name.is_empty());
            Ok(Person { name, team: team_id })
        };
        person.get_or_init(asked).await.clone().ok()
    }

    /// Whether somebody is of our workspace: in a shared channel anybody's people can press. Who is not, or of whom it
    /// cannot be known, is told so.
    async fn belongs(&self, me: &Me, user: &User, to: &ReplyTo) -> bool {
        let team = match &user.team_id {
            Some(team) => Some(team.clone()),
            None => self.look_up(&user.id).await.and_then(|person| person.team),
        };
        let belongs = team.is_some_and(|team| team == me.team_id);
        if !belongs {
            let text = format!("Only people of the workspace {} can do this.", me.team);
            self.tell(to, &text).await;
        }
        belongs
    }

    /// What a button that needs words asks for.
    async fn form_of(&self, pressed: &Pressed) -> Ask {
        let known = self.asks_of(pressed).await.and_then(|mut asks| asks.remove(&pressed.label));
        known.unwrap_or_else(|| {
            let title = pressed.label.trim_end_matches('…').to_owned();
            let prompt = pressed.title.clone();
            let submit = "Send".to_owned();
            Ask::Form(Form { title, prompt, options: Vec::new(), submit, required: true })
        })
    }

    /// What is asked before an entry of the menu acts.
    async fn confirm_of(&self, pressed: &Pressed) -> Ask {
        let known = self.asks_of(pressed).await.and_then(|mut asks| asks.remove(&pressed.label));
        known.unwrap_or_else(|| Ask::Confirm(unsure(&pressed.label)))
    }

    /// What the buttons of a message ask for. It stands in the message itself, so that it is known after a restart
    /// too; the payload of a press leaves it out.
    async fn asks_of(&self, pressed: &Pressed) -> Option<BTreeMap<String, Ask>> {
        let ts = pressed.message_ts.as_str();
        let history =
            self.api.history(&pressed.to.channel, ts, Some(ts), 1, None, LOOK).await.ok()?;
        let message = history.messages.into_iter().find(|message| message.ts == ts)?;
        match message.metadata?.event_payload.asks {
            Some(asks) => serde_json::from_str(&asks).ok(),
            None => Some(BTreeMap::new()),
        }
    }

    /// Opens a dialog; where that fails, says so to the one who pressed.
    async fn open(&self, ask: Ask, pressed: Pressed) {
        let view = dialog(&ask, &pressed);
        let body = json!({"trigger_id": pressed.trigger, "view": view});
        if let Err(error) = self.api.post::<Value>("views.open", &body, OPEN, Act::Repeatable).await
        {
            tracing::warn!(%error, "a dialog in Slack did not open");
            let text = format!("The dialog did not open ({}). Press again.", error.cause);
            self.tell(&pressed.to, &text).await;
        }
    }

    async fn tell(&self, to: &ReplyTo, text: &str) {
        let body = json!({
            "channel": to.channel, "user": to.user, "thread_ts": to.thread, "text": escape(text),
        });
        self.api.aside("chat.postEphemeral", &body, OPEN).await;
    }
}

/// The dialog for what a button asks for.
fn dialog(ask: &Ask, pressed: &Pressed) -> SlackView {
    let short = |text: &str, other| words(or(&fit(&one_line(text), LABEL, LABEL), other));
    let (title, prompt, submit, close) = match ask {
        Ask::Form(form) => (&form.title, &form.prompt, &form.submit, "Not now"),
        Ask::Confirm(confirm) => {
            (&pressed.label, &confirm.question, &confirm.yes, confirm.no.as_str())
        }
    };
    let mut blocks: Vec<SlackBlock> = Vec::new();
    let prompt = fit(ao_slots::text::plain(prompt).trim(), 2_900, 3_000);
    let prompt = or(&prompt, &pressed.title);
    if !prompt.is_empty() {
        let text = SlackBlockPlainText::new(prompt.to_owned()).with_emoji(false);
        blocks.push(SlackSectionBlock::new().with_text(SlackBlockText::Plain(text)).into());
    }
    let mut kept = Remembered {
        token: pressed.token.clone(),
        to: pressed.to.clone(),
        options: Vec::new(),
        required: false,
    };
    if let Ask::Form(form) = ask {
        kept.required = form.required;
        kept.options = form.options.iter().take(10).cloned().collect();
        // Too much to remember: one writes what one wants.
        if serde_json::to_string(&kept).map_or(0, |text| text.encode_utf16().count()) > 3_000 {
            kept.options.clear();
        }
        let choice = |(at, option): (usize, &String)| {
            let text = fit(&one_line(option), 75, 75);
            let text = SlackBlockPlainText::new(or(&text, "…").to_owned()).with_emoji(false);
            SlackBlockChoiceItem::new(SlackBlockText::Plain(text), at.to_string())
        };
        let choices: Vec<_> = kept.options.iter().enumerate().map(choice).collect();
        let mut label = "Your words";
        if !choices.is_empty() {
            label = "Or in your words";
            let radios = SlackBlockRadioButtonsElement::new(choices)
                .with_action_id("choice".to_owned().into());
            let input =
                SlackInputBlock::new(words("Choose one"), radios.into()).with_optional(true);
            blocks.push(input.with_block_id("choice".to_owned().into()).into());
        }
        let field = SlackBlockPlainTextInputElement::new()
            .with_action_id("words".to_owned().into())
            .with_multiline(true)
            .with_max_length(3_000);
        let input = SlackInputBlock::new(words(label), field.into());
        let optional = !form.required || !kept.options.is_empty();
        blocks.push(input.with_optional(optional).with_block_id("words".to_owned().into()).into());
    }
    SlackView::Modal(
        SlackModalView::new(short(title, "ao"), blocks)
            .with_submit(short(submit, "Send"))
            .with_close(short(close, "Not now"))
            .with_callback_id(DIALOG.to_owned().into())
            .with_private_metadata(serde_json::to_string(&kept).unwrap_or_default()),
    )
}

/// A message's text without Slack's markup: `<@U1>` is what it names, `&lt;` is `<`.
pub(crate) fn legible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        let Some(end) = rest[at..].find('>') else { break };
        out.push_str(&rest[..at]);
        let inner = &rest[at + 1..at + end];
        let (target, label) = inner.split_once('|').unwrap_or((inner, ""));
        match (target.chars().next(), label.is_empty()) {
            (Some('@' | '#' | '!'), true) => out.push_str(target),
            (Some('@' | '#' | '!'), false) | (_, false) if !target.contains("://") => {
                out.push_str(label)
            }
            // A link is what it leads to, whatever it calls itself.
            _ => out.push_str(target.strip_prefix("mailto:").unwrap_or(target)),
        }
        rest = &rest[at + end + 1..];
    }
    out.push_str(rest);
    out.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").trim().to_owned()
}
