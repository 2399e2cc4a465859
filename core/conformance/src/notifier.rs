//! The contract of the notifier slot as cases. A plugin's tests stand up its far end (the desktop's daemon,
//! a receiver, a fake of the vendor), describe it as a [`FarEnd`], and call [`all`].

use std::{future::Future, sync::Arc, time::Duration};

use ao_slots::{
    Call, ErrorKind, IncidentId, NotificationId, PluginError,
    call::Answer,
    fact::Priority,
    notifier::{
        Action, Block, Button, ButtonStyle, ChannelHandle, ChannelKind, Form, Mark, Message,
        Notifier, NotifierCapabilities, Press, Receipt,
    },
};
use async_trait::async_trait;
use jiff::Timestamp;

/// How the far end behaves from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// As it should.
    Well,
    /// Takes what comes and never answers.
    Silent,
    /// Cannot be reached.
    Away,
    /// Asks to be left alone for a while.
    Busy,
    /// Takes nothing from this sender, ever.
    Refusing,
}

/// A message as a human sees it at the far end, markup already drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The title.
    pub title: String,
    /// All the rest of the text.
    pub body: String,
}

/// The other side of a channel, with eyes and a finger.
#[async_trait]
pub trait FarEnd: Send + Sync {
    /// The plugin under test, always the same one.
    fn notifier(&self) -> Arc<dyn Notifier>;

    /// Changes how the far end behaves; false when it has no such mood.
    async fn set(&self, mood: Mood) -> bool;

    /// The messages that are open now, oldest first. What the far end knows for a repetition counts once.
    async fn shown(&self) -> Vec<Shown>;

    /// How many deliveries were tried so far, whatever came of them.
    async fn tries(&self) -> usize;

    /// How often it called for attention so far.
    async fn buzzes(&self) -> usize;

    /// Presses the button with this label on the newest message; never called where there are no buttons.
    async fn press(&self, label: &str);

    /// Waits for what whoever pressed sees of it, and says whether that is no error; a far end that shows nothing says yes.
    async fn acknowledged(&self) -> bool {
        true
    }
}

/// Runs every case, each against a fresh far end.
pub async fn all<F: FarEnd>(fresh: impl AsyncFn() -> F) {
    sending_twice_with_one_key_is_one_message(&fresh().await).await;
    an_update_changes_in_place_without_a_buzz(&fresh().await).await;
    update_and_resolve_may_be_repeated(&fresh().await).await;
    a_quiet_message_does_not_buzz(&fresh().await).await;
    a_plain_line_arrives(&fresh().await).await;
    text_arrives_verbatim_and_within_the_limits(&fresh().await).await;
    a_dropped_send_breaks_nothing(&fresh().await).await;
    a_dropped_receive_loses_nothing(&fresh().await).await;
    every_call_ends_within_its_limit(&fresh().await).await;
    what_passes_is_transient_and_is_tried_once(&fresh().await).await;
    what_never_will_be_is_permanent_with_a_remedy(&fresh().await).await;
    find_never_lies(&fresh().await).await;
}

/// A message with all that a channel may have to show: `agent-needs-input` of `app-3`.
pub fn message(number: u64) -> Message {
    #[expect(clippy::unwrap_used, reason = "the ids are literals")]
    let (session, project) = ("app-3".parse().unwrap(), "my-app".parse().unwrap());
    Message {
        id: NotificationId(number),
        incident: Some(IncidentId(number)),
        revision: 1,
        kind: "agent-needs-input".to_owned(),
        priority: Priority::Urgent,
        mark: Mark::Need,
        title: format!("app-3 asks question {number}: Coupon on shipping?"),
        short: "1 Items only · 2 Items and shipping. Waits since 14:28.".to_owned(),
        body: vec![
            Block::Quote("Should a coupon also apply to shipping?".to_owned()),
            Block::Text("Tried: nothing, only you can answer.".to_owned()),
        ],
        buttons: vec![plain_button("one", "Items only"), plain_button("two", "Items and shipping")],
        command: Some("ao answer app-3 \"…\"".to_owned()),
        meta: vec!["my-app".to_owned(), "app-3".to_owned(), IncidentId(number).to_string()],
        session: Some(session),
        project: Some(project),
        link: None,
        since: Timestamp::UNIX_EPOCH,
        details: vec![],
        quiet: false,
        emergency: false,
        mention: None,
        may_repeat: false,
    }
}

/// A button that acts at once.
pub fn plain_button(id: &str, label: &str) -> Button {
    Button {
        id: id.to_owned(),
        action: Action::Answer,
        label: label.to_owned(),
        style: ButtonStyle::Plain,
        confirm: None,
        form: None,
        more: false,
        link: None,
    }
}

/// A button that asks for words first.
pub fn text_button(id: &str, label: &str) -> Button {
    let form = Form {
        title: "Answer app-3".to_owned(),
        prompt: "Should a coupon also apply to shipping?".to_owned(),
        options: vec!["Items only".to_owned(), "Items and shipping".to_owned()],
        submit: "Send answer".to_owned(),
        required: true,
    };
    Button { form: Some(form), ..plain_button(id, label) }
}

/// Idempotency: two sends with one key are one message, where the channel says so.
pub async fn sending_twice_with_one_key_is_one_message(far: &dyn FarEnd) {
    let (notifier, call) = (far.notifier(), call("once"));
    let first = sent(&*notifier, &call, &message(1)).await;
    if !notifier.capabilities().idempotent {
        return;
    }
    let second = sent(&*notifier, &call, &message(1)).await;
    assert_eq!(first.handle, second.handle, "Idempotency: a repeated send names another message");
    assert_eq!(count(far).await, 1, "Idempotency: a send with a used key made a second message");
}

/// Edits: an update changes the message in place, and nobody is called by it.
pub async fn an_update_changes_in_place_without_a_buzz(far: &dyn FarEnd) {
    let notifier = far.notifier();
    if !notifier.capabilities().edits {
        return;
    }
    let handle = handle(&sent(&*notifier, &call("send"), &message(1)).await);
    let before = far.buzzes().await;
    let edited = Message { revision: 2, title: "app-3 still asks".to_owned(), ..message(1) };
    answered("update", notifier.update(&call("edit"), &handle, &edited)).await;
    let shown = far.shown().await;
    assert_eq!(shown.len(), 1, "capabilities: an edit left {} messages", shown.len());
    assert!(
        shown[0].title.contains("app-3 still asks"),
        "capabilities: an edit is not shown: {shown:?}"
    );
    assert_eq!(far.buzzes().await, before, "capabilities: an edit called for attention");
}

/// Idempotency: `update` and `resolve` may be repeated freely, also after the message is settled.
pub async fn update_and_resolve_may_be_repeated(far: &dyn FarEnd) {
    let notifier = far.notifier();
    let first = sent(&*notifier, &call("send"), &message(1)).await;
    let (Some(mut handle), true) = (first.handle, notifier.capabilities().edits) else { return };
    let edited = Message { revision: 2, ..message(1) };
    for _ in 0..2 {
        let receipt = answered("update", notifier.update(&call("edit"), &handle, &edited)).await;
        handle = receipt.handle.unwrap_or(handle);
    }
    assert_eq!(count(far).await, 1, "Idempotency: a repeated update made a second message");
    let settled = Message { revision: 3, buttons: Vec::new(), mark: Mark::Settled, ..message(1) };
    for _ in 0..2 {
        answered("resolve", notifier.resolve(&call("settle"), &handle, &settled)).await;
    }
    assert_eq!(count(far).await, 0, "Idempotency: a settled message is still open");
}

/// Capabilities: a quiet message is shown and calls nobody.
pub async fn a_quiet_message_does_not_buzz(far: &dyn FarEnd) {
    let notifier = far.notifier();
    sent(&*notifier, &call("quiet"), &Message { quiet: true, ..message(1) }).await;
    assert_eq!(count(far).await, 1, "capabilities: a quiet message is not shown");
    assert_eq!(far.buzzes().await, 0, "capabilities: a quiet message called for attention");
}

/// `post` shows its line.
pub async fn a_plain_line_arrives(far: &dyn FarEnd) {
    let notifier = far.notifier();
    answered("post", notifier.post(&call("post"), "This is a test of ao.")).await;
    let shown = far.shown().await;
    assert!(
        shown.iter().any(|s| format!("{} {}", s.title, s.body).contains("This is a test of ao.")),
        "post: its line is not shown: {shown:?}"
    );
}

/// Text is data (never markup, never an address to call), and what is too long is cut by the plugin.
pub async fn text_arrives_verbatim_and_within_the_limits(far: &dyn FarEnd) {
    let notifier = far.notifier();
    let hostile = "<b>5 & 6</b> <!channel> @everyone -- <http://x|merge>";
    // A channel shows the short text or the long one.
    let text = Message {
        title: "app-3 asks: <i>a & b</i>?".into(),
        short: hostile.into(),
        body: vec![Block::Text(hostile.into())],
        ..message(1)
    };
    sent(&*notifier, &call("hostile"), &text).await;
    let shown = far.shown().await;
    assert!(
        shown.iter().any(|s| s.title.contains("<i>a & b</i>?") && s.body.contains(hostile)),
        "text is not shown verbatim: {shown:?}"
    );
    let NotifierCapabilities { title_limit, body_limit, .. } = notifier.capabilities();
    assert!(title_limit > 0 && body_limit > 0, "capabilities: a limit of 0");
    let long = Message {
        title: format!("app-3 asks: {}?", "why ".repeat(200)),
        short: "because ".repeat(2000),
        body: vec![Block::Text("because ".repeat(2000))],
        ..message(2)
    };
    sent(&*notifier, &call("long"), &long).await;
    for Shown { title, body } in far.shown().await {
        let (title, body) = (title.chars().count(), body.chars().count());
        assert!(title <= title_limit as usize, "capabilities: a title of {title} > {title_limit}");
        assert!(body <= body_limit as usize, "capabilities: a body of {body} > {body_limit}");
    }
}

/// Cancel safety: a dropped `send` may or may not have arrived; the channel works on, and a repetition
/// is one message where the channel is idempotent.
pub async fn a_dropped_send_breaks_nothing(far: &dyn FarEnd) {
    let (notifier, dropped) = (far.notifier(), call("dropped"));
    let text = message(1);
    // Before anything is written, and somewhere on the way.
    for patience in [Duration::ZERO, Duration::from_millis(5)] {
        let _ = tokio::time::timeout(patience, notifier.send(&dropped, &text)).await;
    }
    sent(&*notifier, &dropped, &text).await;
    sent(&*notifier, &call("next"), &message(2)).await;
    let count = count(far).await;
    let most = if notifier.capabilities().idempotent { 2 } else { 4 };
    assert!((2..=most).contains(&count), "Cancel safety: {count} messages after a dropped send");
}

/// Cancel safety: an act between two calls of `receive` is not lost, and comes once. A channel without
/// buttons and replies never returns from it.
pub async fn a_dropped_receive_loses_nothing(far: &dyn FarEnd) {
    let notifier = far.notifier();
    sent(&*notifier, &call("asks"), &message(7)).await;
    assert!(is_pending(notifier.receive()).await, "receive: returned before anybody acted");
    let capabilities = notifier.capabilities();
    if !capabilities.buttons {
        return;
    }
    far.press("Items and shipping").await;
    // Every call but the last is dropped: what one of them took with it would be missing.
    let next = async {
        loop {
            if let Some(action) = now(notifier.receive()).await {
                return action;
            }
        }
    };
    let action = match tokio::time::timeout(PATIENCE, next).await {
        Ok(action) => answered("receive", async { action }).await,
        Err(_) => panic!("Cancel safety: a press is lost between two calls of `receive`"),
    };
    assert_eq!(action.press, Press::Button("two".to_owned()), "receive: names another button");
    notifier.taken(&action, true);
    assert!(far.acknowledged().await, "taken: whoever pressed sees an error for what is recorded");
    assert!(is_pending(notifier.receive()).await, "Cancel safety: one press came twice");
}

/// Deadline: no call outlives its limit, whatever the far end does.
pub async fn every_call_ends_within_its_limit(far: &dyn FarEnd) {
    let notifier = far.notifier();
    let handle = sent(&*notifier, &call("before"), &message(1)).await.handle;
    if !far.set(Mood::Silent).await {
        return;
    }
    let short = |key: &str| Call::new(key, Duration::from_millis(200));
    let text = message(2);
    fails_in_time("send", notifier.send(&short("late-1"), &text)).await;
    fails_in_time("post", notifier.post(&short("late-2"), "a line")).await;
    if let Some(handle) = handle.filter(|_| notifier.capabilities().edits) {
        fails_in_time("update", notifier.update(&short("late-3"), &handle, &text)).await;
        fails_in_time("resolve", notifier.resolve(&short("late-4"), &handle, &text)).await;
    }
    if let Ok(Answer::Yes(handle)) = in_time("find", notifier.find(&short("late-5"), "never")).await
    {
        panic!("Deadline: a silent far end was found to hold {handle:?}");
    }
}

/// Errors: what may work later is `Transient` (or `Missing`), with the time that was asked for; the plugin
/// itself tries once.
pub async fn what_passes_is_transient_and_is_tried_once(far: &dyn FarEnd) {
    let notifier = far.notifier();
    if far.set(Mood::Busy).await {
        let before = far.tries().await;
        let error = refused("send", notifier.send(&call("busy"), &message(1))).await;
        assert_eq!(error.kind, ErrorKind::Transient, "Errors: a busy far end is {error:?}");
        let tries = far.tries().await - before;
        assert_eq!(tries, 1, "Errors: the plugin tried {tries} times by itself");
    }
    if far.set(Mood::Away).await {
        let error = refused("send", notifier.send(&call("away"), &message(2))).await;
        assert!(
            matches!(error.kind, ErrorKind::Transient | ErrorKind::Missing),
            "Errors: a far end that cannot be reached is {error:?}"
        );
    }
    far.set(Mood::Well).await;
    sent(&*notifier, &call("well"), &message(3)).await;
    assert_eq!(count(far).await, 1, "Errors: what was reported as not sent is shown");
}

/// Errors: what never will be taken is `Permanent`, and says what to do.
pub async fn what_never_will_be_is_permanent_with_a_remedy(far: &dyn FarEnd) {
    if !far.set(Mood::Refusing).await {
        return;
    }
    let notifier = far.notifier();
    let error = refused("send", notifier.send(&call("refused"), &message(1))).await;
    assert_eq!(error.kind, ErrorKind::Permanent, "Errors: a refusal is {error:?}");
    assert!(error.remedy.is_some(), "Errors: a permanent failure without remedy: {error:?}");
}

/// `find`: what was never sent is never found, what was sent is never denied.
pub async fn find_never_lies(far: &dyn FarEnd) {
    let notifier = far.notifier();
    let receipt = sent(&*notifier, &call("known"), &message(1)).await;
    let known = answered("find", notifier.find(&call("look-1"), "known")).await;
    let other = answered("find", notifier.find(&call("look-2"), "never-sent")).await;
    assert!(!matches!(other, Answer::Yes(_)), "find: found what was never sent: {other:?}");
    assert_ne!(known, Answer::No, "find: denied what was sent");
    if notifier.capabilities().finds {
        let expected = receipt.handle.map(Answer::Yes);
        assert_eq!(Some(known), expected, "find: another message than the one sent");
    }
}

/// The messages that the core writes: by kind, each with what led to it, made for a channel of this kind. What they are
/// rendered to is what a channel's own golden test keeps.
pub fn book(channel: ChannelKind) -> Vec<(&'static str, Vec<(String, Message)>)> {
    let kind = serde_json::to_value(channel).unwrap_or_default();
    pages(kind.as_str().unwrap_or_default())
}

/// The same for a phone that is reached through a machine that others can read.
pub fn public_book() -> Vec<(&'static str, Vec<(String, Message)>)> {
    pages("public")
}

fn pages(on: &str) -> Vec<(&'static str, Vec<(String, Message)>)> {
    const BOOK: [(&str, &str); 17] = [
        ("agent-errored", include_str!("../book/agent-errored.snap")),
        ("agent-exited", include_str!("../book/agent-exited.snap")),
        ("agent-finished", include_str!("../book/agent-finished.snap")),
        ("agent-idle", include_str!("../book/agent-idle.snap")),
        ("agent-idle-no-pr", include_str!("../book/agent-idle-no-pr.snap")),
        ("agent-stuck", include_str!("../book/agent-stuck.snap")),
        ("all-complete", include_str!("../book/all-complete.snap")),
        ("outside", include_str!("../book/outside.snap")),
        ("permission", include_str!("../book/permission.snap")),
        ("prompt-undelivered", include_str!("../book/prompt-undelivered.snap")),
        ("pull-requests", include_str!("../book/pull-requests.snap")),
        ("question", include_str!("../book/question.snap")),
        ("rate-limited", include_str!("../book/rate-limited.snap")),
        ("runtime-lost", include_str!("../book/runtime-lost.snap")),
        ("server", include_str!("../book/server.snap")),
        ("several", include_str!("../book/several.snap")),
        ("storm", include_str!("../book/storm.snap")),
    ];
    let page = |line: &str| -> (String, String, Message) {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("the book: {error} in {line}"))
    };
    let of_kind = |snapshot: &str| {
        // The lines of a snapshot's header begin with other characters.
        let pages = snapshot.lines().filter(|line| line.starts_with('[')).map(page);
        pages.filter(|page| page.0 == on).map(|(_, what, message)| (what, message)).collect()
    };
    BOOK.iter().map(|(kind, snapshot)| (*kind, of_kind(snapshot))).collect()
}

/// Long enough for a loaded machine; a call that needs it is at fault.
const PATIENCE: Duration = Duration::from_secs(30);

/// A call with this key, and time enough.
pub fn call(key: &str) -> Call {
    Call::new(key, PATIENCE)
}

async fn in_time<T>(what: &str, call: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(answer) => answer,
        Err(_) => panic!("Deadline: `{what}` did not end by itself"),
    }
}

async fn answered<T>(what: &str, call: impl Future<Output = Result<T, PluginError>>) -> T {
    match in_time(what, call).await {
        Ok(answer) => answer,
        Err(error) => panic!("Errors: `{what}` failed on a far end that is well: {error:?}"),
    }
}

async fn refused<T>(what: &str, call: impl Future<Output = Result<T, PluginError>>) -> PluginError {
    match in_time(what, call).await {
        Ok(_) => panic!("Errors: `{what}` reports a success that was none"),
        Err(error) => error,
    }
}

async fn fails_in_time<T>(what: &str, call: impl Future<Output = Result<T, PluginError>>) {
    let error = refused(what, call).await;
    assert!(
        matches!(error.kind, ErrorKind::InDoubt | ErrorKind::Transient),
        "Deadline: `{what}` without an answer is {error:?}"
    );
}

async fn sent(notifier: &dyn Notifier, call: &Call, message: &Message) -> Receipt {
    answered("send", notifier.send(call, message)).await
}

fn handle(receipt: &Receipt) -> ChannelHandle {
    match &receipt.handle {
        Some(handle) => handle.clone(),
        None => panic!("capabilities: a channel with edits gave no handle"),
    }
}

async fn count(far: &dyn FarEnd) -> usize {
    far.shown().await.len()
}

/// The answer if there is one soon; else the future is dropped.
async fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(Duration::from_millis(20), future).await.ok()
}

async fn is_pending<T>(future: impl Future<Output = T>) -> bool {
    now(future).await.is_none()
}

/// A channel in memory that keeps the contract, for the tests of whoever drives one.
pub mod fake {
    use std::{
        collections::VecDeque,
        sync::{Mutex, MutexGuard, PoisonError},
    };

    use ao_slots::notifier::{ChannelKind, IncomingAction, Reached};

    use super::*;

    /// The channel and its far end in one.
    #[derive(Debug)]
    pub struct Channel {
        capabilities: NotifierCapabilities,
        far: Mutex<Far>,
        pressed: tokio::sync::Notify,
    }

    #[derive(Debug)]
    struct Far {
        mood: Mood,
        entries: Vec<Entry>,
        actions: VecDeque<IncomingAction>,
        tries: usize,
        buzzes: usize,
    }

    #[derive(Debug)]
    struct Entry {
        key: String,
        message: Option<Message>,
        shown: Shown,
        open: bool,
    }

    impl Default for Channel {
        fn default() -> Self {
            Self::new(NotifierCapabilities {
                buttons: true,
                edits: true,
                idempotent: true,
                finds: true,
                title_limit: 90,
                body_limit: 1200,
                ..NotifierCapabilities::plain(ChannelKind::Chat)
            })
        }
    }

    impl Channel {
        /// A channel with these capabilities. Idempotent and finding it is in any case.
        pub fn new(capabilities: NotifierCapabilities) -> Self {
            let far = Far {
                mood: Mood::Well,
                entries: Vec::new(),
                actions: VecDeque::new(),
                tries: 0,
                buzzes: 0,
            };
            Self { capabilities, far: Mutex::new(far), pressed: tokio::sync::Notify::new() }
        }

        /// Every message that ever arrived, as it was last seen, settled ones included.
        pub fn messages(&self) -> Vec<Message> {
            self.far().entries.iter().filter_map(|entry| entry.message.clone()).collect()
        }

        /// Behaves like this from now on.
        pub fn behave(&self, mood: Mood) {
            self.far().mood = mood;
        }

        /// A human does this.
        pub fn act(&self, action: IncomingAction) {
            self.far().actions.push_back(action);
            self.pressed.notify_one();
        }

        fn far(&self) -> MutexGuard<'_, Far> {
            self.far.lock().unwrap_or_else(PoisonError::into_inner)
        }

        fn draw(&self, message: &Message) -> Shown {
            let cut = |text: &str, limit: u32| ao_slots::text::cut(text, limit as usize);
            Shown {
                title: cut(&message.title, self.capabilities.title_limit),
                body: cut(&message.short, self.capabilities.body_limit),
            }
        }

        /// What the far end's mood makes of a delivery: `Ok` means that it takes it.
        async fn deliver<T>(
            &self,
            call: &Call,
            take: impl FnOnce(&mut Far) -> T,
        ) -> Result<T, PluginError> {
            let mood = {
                let mut far = self.far();
                far.tries += 1;
                match far.mood {
                    Mood::Well => return Ok(take(&mut far)),
                    Mood::Silent => drop(take(&mut far)),
                    Mood::Away | Mood::Busy | Mood::Refusing => {}
                }
                far.mood
            };
            let failed = "the fake channel took no message";
            Err(match mood {
                Mood::Busy => {
                    PluginError::transient(failed, "busy").with_retry_after(Duration::from_secs(30))
                }
                Mood::Refusing => {
                    PluginError::permanent(failed, "refused").with_remedy("let it in")
                }
                Mood::Away | Mood::Well => PluginError::transient(failed, "away"),
                Mood::Silent => {
                    tokio::time::sleep(call.limit()).await;
                    PluginError::in_doubt(failed, "no answer")
                }
            })
        }
    }

    impl Far {
        fn entry(&mut self, handle: &ChannelHandle) -> Option<&mut Entry> {
            self.entries.iter_mut().find(|entry| entry.key == handle.0)
        }

        fn add(&mut self, key: &str, message: Option<&Message>, shown: Shown) -> Receipt {
            if self.entries.iter().all(|entry| entry.key != key) {
                self.buzzes += usize::from(message.is_none_or(|message| !message.quiet));
                let (key, message) = (key.to_owned(), message.cloned());
                self.entries.push(Entry { key, message, shown, open: true });
            }
            Receipt { handle: Some(ChannelHandle(key.to_owned())), reached: Reached::Delivered }
        }
    }

    #[async_trait]
    impl Notifier for Channel {
        fn capabilities(&self) -> NotifierCapabilities {
            self.capabilities.clone()
        }

        async fn send(&self, call: &Call, message: &Message) -> Result<Receipt, PluginError> {
            let shown = self.draw(message);
            self.deliver(call, |far| far.add(&call.key, Some(message), shown)).await
        }

        async fn update(
            &self,
            call: &Call,
            handle: &ChannelHandle,
            message: &Message,
        ) -> Result<Receipt, PluginError> {
            let shown = self.draw(message);
            self.deliver(call, |far| {
                if let Some(entry) = far.entry(handle) {
                    (entry.message, entry.shown) = (Some(message.clone()), shown);
                }
                Receipt { handle: Some(handle.clone()), reached: Reached::Delivered }
            })
            .await
        }

        async fn resolve(
            &self,
            call: &Call,
            handle: &ChannelHandle,
            message: &Message,
        ) -> Result<(), PluginError> {
            self.deliver(call, |far| {
                if let Some(entry) = far.entry(handle) {
                    (entry.message, entry.open) = (Some(message.clone()), false);
                }
            })
            .await
        }

        async fn post(&self, call: &Call, text: &str) -> Result<Receipt, PluginError> {
            let shown = Shown { title: "ao".to_owned(), body: text.to_owned() };
            self.deliver(call, |far| far.add(&call.key, None, shown)).await
        }

        async fn find(&self, _: &Call, key: &str) -> Result<Answer<ChannelHandle>, PluginError> {
            let far = self.far();
            if far.mood != Mood::Well {
                return Ok(Answer::Unknown("the fake channel does not answer".to_owned()));
            }
            let known = far.entries.iter().any(|entry| entry.key == key);
            Ok(if known { Answer::Yes(ChannelHandle(key.to_owned())) } else { Answer::No })
        }

        async fn receive(&self) -> Result<IncomingAction, PluginError> {
            loop {
                // Taken and returned without a wait in between: a dropped call has taken nothing.
                let action = self.far().actions.pop_front();
                if let Some(action) = action {
                    return Ok(action);
                }
                self.pressed.notified().await;
            }
        }
    }

    #[async_trait]
    impl FarEnd for Arc<Channel> {
        fn notifier(&self) -> Arc<dyn Notifier> {
            self.clone()
        }

        async fn set(&self, mood: Mood) -> bool {
            self.behave(mood);
            true
        }

        async fn shown(&self) -> Vec<Shown> {
            let far = self.far();
            far.entries.iter().filter(|entry| entry.open).map(|entry| entry.shown.clone()).collect()
        }

        async fn tries(&self) -> usize {
            self.far().tries
        }

        async fn buzzes(&self) -> usize {
            self.far().buzzes
        }

        async fn press(&self, label: &str) {
            let newest = self.messages().pop();
            let buttons = newest.map(|message| message.buttons).unwrap_or_default();
            let button = buttons.iter().find(|button| button.label == label);
            let Some(button) = button else { panic!("no button {label:?} there") };
            self.act(IncomingAction {
                press: Press::Button(button.id.clone()),
                text: None,
                who: "ana".to_owned(),
                identity: None,
                reply_to: None,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    };

    use ao_slots::notifier::IncomingAction;

    use super::{fake::Channel, *};

    #[tokio::test(start_paused = true)]
    async fn the_correct_fake_passes() {
        all(async || Arc::new(Channel::default())).await;
    }

    /// One breach of the contract each.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Breach {
        SendsTwice,
        EditsByANewMessage,
        ResolvesOnce,
        BuzzesWhenQuiet,
        PostsNothing,
        DrawsMarkup,
        ForgetsTheLimits,
        BreaksWhenDropped,
        LosesAPress,
        NeverEnds,
        Retries,
        CallsBusyPermanent,
        KnowsNoRemedy,
        FindsAnything,
        DeniesWhatWasSent,
    }

    #[derive(Debug)]
    struct Wrong {
        breach: Breach,
        right: Arc<Channel>,
        calls: AtomicUsize,
        taken: Mutex<Option<IncomingAction>>,
    }

    impl Wrong {
        fn is(&self, breach: Breach) -> bool {
            self.breach == breach
        }

        fn fresh_call(&self, call: &Call) -> Call {
            let n = self.calls.fetch_add(1, Ordering::Relaxed);
            Call::new(format!("{}-{n}", call.key), call.limit())
        }
    }

    #[async_trait]
    impl Notifier for Wrong {
        fn capabilities(&self) -> NotifierCapabilities {
            let right = self.right.capabilities();
            let limit = if self.is(Breach::ForgetsTheLimits) { 20 } else { right.title_limit };
            NotifierCapabilities { title_limit: limit, ..right }
        }

        async fn send(&self, call: &Call, message: &Message) -> Result<Receipt, PluginError> {
            let mut message = message.clone();
            let mut call = call.clone();
            if self.is(Breach::SendsTwice) {
                call = self.fresh_call(&call);
            }
            if self.is(Breach::BuzzesWhenQuiet) {
                message.quiet = false;
            }
            if self.is(Breach::DrawsMarkup) {
                message.short = message.short.replace("<b>", "").replace("</b>", "");
            }
            if self.is(Breach::BreaksWhenDropped) {
                if self.calls.fetch_add(1, Ordering::Relaxed) > 0 {
                    return Err(PluginError::transient("cannot send", "a call was dropped"));
                }
                tokio::task::yield_now().await;
                tokio::time::sleep(Duration::from_millis(1)).await;
                self.calls.store(0, Ordering::Relaxed);
            }
            let answer = self.right.send(&call, &message).await;
            match answer {
                Err(error) if error.kind == ErrorKind::InDoubt && self.is(Breach::NeverEnds) => {
                    std::future::pending().await
                }
                Err(error) if error.is_transient() && self.is(Breach::Retries) => {
                    self.right.send(&call, &message).await.map_err(|_| error)
                }
                Err(error) if error.is_transient() && self.is(Breach::CallsBusyPermanent) => {
                    Err(PluginError { kind: ErrorKind::Permanent, ..error })
                }
                Err(error) if self.is(Breach::KnowsNoRemedy) => {
                    Err(PluginError { remedy: None, ..error })
                }
                answer => answer,
            }
        }

        async fn update(
            &self,
            call: &Call,
            handle: &ChannelHandle,
            message: &Message,
        ) -> Result<Receipt, PluginError> {
            if self.is(Breach::EditsByANewMessage) {
                return self.right.send(call, message).await;
            }
            self.right.update(call, handle, message).await
        }

        async fn resolve(
            &self,
            call: &Call,
            handle: &ChannelHandle,
            message: &Message,
        ) -> Result<(), PluginError> {
            if self.is(Breach::ResolvesOnce) && self.calls.fetch_add(1, Ordering::Relaxed) > 0 {
                return Err(PluginError::new(ErrorKind::NotFound, "no such message", ""));
            }
            self.right.resolve(call, handle, message).await
        }

        async fn post(&self, call: &Call, text: &str) -> Result<Receipt, PluginError> {
            let text = if self.is(Breach::PostsNothing) { "" } else { text };
            self.right.post(call, text).await
        }

        async fn find(&self, call: &Call, key: &str) -> Result<Answer<ChannelHandle>, PluginError> {
            match self.breach {
                Breach::FindsAnything => Ok(Answer::Yes(ChannelHandle(key.to_owned()))),
                Breach::DeniesWhatWasSent => Ok(Answer::No),
                _ => self.right.find(call, key).await,
            }
        }

        async fn receive(&self) -> Result<IncomingAction, PluginError> {
            let action = self.right.receive().await?;
            if self.is(Breach::LosesAPress)
                && self.taken.lock().unwrap().replace(action.clone()).is_none()
            {
                std::future::pending::<()>().await;
            }
            Ok(action)
        }
    }

    struct WrongEnd(Arc<Wrong>);

    #[async_trait]
    impl FarEnd for WrongEnd {
        fn notifier(&self) -> Arc<dyn Notifier> {
            self.0.clone()
        }
        async fn set(&self, mood: Mood) -> bool {
            self.0.right.set(mood).await
        }
        async fn shown(&self) -> Vec<Shown> {
            self.0.right.shown().await
        }
        async fn tries(&self) -> usize {
            self.0.right.tries().await
        }
        async fn buzzes(&self) -> usize {
            self.0.right.buzzes().await
        }
        async fn press(&self, label: &str) {
            self.0.right.press(label).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_breach_is_caught_and_named() {
        for (breach, said) in [
            (Breach::SendsTwice, "Idempotency: a repeated send names another message"),
            (Breach::EditsByANewMessage, "capabilities: an edit left 2 messages"),
            (Breach::ResolvesOnce, "Errors: `resolve` failed"),
            (Breach::BuzzesWhenQuiet, "capabilities: a quiet message called for attention"),
            (Breach::PostsNothing, "post: its line is not shown"),
            (Breach::DrawsMarkup, "text is not shown verbatim"),
            (Breach::ForgetsTheLimits, "capabilities: a title of"),
            (Breach::BreaksWhenDropped, "Errors: `send` failed"),
            (Breach::LosesAPress, "Cancel safety: a press is lost"),
            (Breach::NeverEnds, "Deadline: `send` did not end"),
            (Breach::Retries, "Errors: the plugin tried 2 times"),
            (Breach::CallsBusyPermanent, "Errors: a busy far end"),
            (Breach::KnowsNoRemedy, "Errors: a permanent failure without remedy"),
            (Breach::FindsAnything, "a silent far end was found to hold"),
            (Breach::DeniesWhatWasSent, "find: denied what was sent"),
        ] {
            let suite = tokio::spawn(all(async move || {
                WrongEnd(Arc::new(Wrong {
                    breach,
                    right: Arc::default(),
                    calls: AtomicUsize::new(0),
                    taken: Mutex::new(None),
                }))
            }));
            let panic = suite.await.expect_err(&format!("{breach:?} was not caught")).into_panic();
            let text = panic.downcast_ref::<String>().map_or_else(
                || panic.downcast_ref::<&str>().copied().unwrap_or_default().to_owned(),
                Clone::clone,
            );
            assert!(text.contains(said), "{breach:?} was caught as: {text}");
        }
    }
}
