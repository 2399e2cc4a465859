//! What clients hold: asks the loop, reads the state, follows the events.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Arc, RwLock, RwLockReadGuard},
    time::Duration,
};

use ao_slots::{
    ChannelName, IncidentId, Launch, PluginError, ProjectId, RequestId, Seq, SessionId,
    agent::Decision,
    fact::Priority,
    notifier::{Button, Message, Receipt},
};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::{
    blob::{BlobRef, Blobs},
    config::policy::{Closed, Heartbeat},
    decide::{Answered, Input, Refusal, RefusalKind, Spawn},
    event::{Actor, Event, Text, digest},
    state::{Now, State, Token},
    words,
};

/// An input on its way, and who waits for what became of it.
#[derive(Debug)]
pub(super) struct Submission {
    pub(super) input: Input,
    pub(super) reply: Option<oneshot::Sender<Result<Answered, Refusal>>>,
}

/// A spawn as a client asks for it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SpawnCall {
    /// In which project.
    pub project: ProjectId,
    /// On which issue.
    #[serde(default)]
    pub issue: Option<String>,
    /// The digest of the issue's text as a human read it: a stranger's goes to an agent so, or not at all.
    #[serde(default)]
    pub read: Option<String>,
    /// Or on which prompt.
    #[serde(default)]
    pub prompt: Option<String>,
    /// Another agent than the project's.
    #[serde(default)]
    pub agent: Option<String>,
    /// A branch that already holds the work.
    #[serde(default)]
    pub branch: Option<String>,
    /// Also when a session works on that issue.
    #[serde(default)]
    pub force: bool,
    /// The client's environment; only what the allow-list names is kept, privately.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

/// One event of an agent's own hook system.
#[derive(Debug, Clone)]
pub struct HookCall {
    /// The agent plugin.
    pub agent: String,
    /// The event's name.
    pub event: String,
    /// Whose.
    pub session: SessionId,
    /// Which start of it.
    pub launch: Launch,
    /// The session's private token.
    pub token: String,
    /// What the hook got on its standard input.
    pub payload: Vec<u8>,
    /// When the hook was started, in microseconds of its machine's monotonic clock: tells the hooks of one
    /// launch apart and orders them, whatever the wall clock does. None = it does not say.
    pub started: Option<u64>,
    /// Its process waits for the answer.
    pub waits: bool,
}

/// What the hook's process is told.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HookAnswer {
    /// To be printed at once; none = nothing.
    pub stdout: Option<String>,
    /// A human decides: come back with the same payload and wait for this request.
    pub wait: Option<RequestId>,
}

/// What an agent says through `ao report`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "kebab-case")]
pub enum ReportCall {
    /// A turn runs.
    Working,
    /// The turn ended; the prompt is empty.
    Ready,
    /// A question.
    Question {
        /// The question.
        text: String,
        /// Choices.
        #[serde(default)]
        options: Vec<String>,
        /// The agent waits for the answer; else it reads it from its input.
        #[serde(default)]
        wait: bool,
    },
    /// It cannot go on without a human, in words.
    Blocked {
        /// Why.
        text: String,
    },
    /// It failed.
    Error {
        /// Why.
        text: String,
    },
    /// It claims to be done.
    Completed {
        /// Its words.
        #[serde(default)]
        text: Option<String>,
    },
}

/// A button as a page shows it.
#[derive(Debug)]
pub enum Pressable {
    /// A press counts.
    Ready {
        /// The message, as its channel shows it now.
        message: Box<Message>,
        /// The button.
        button: Box<Button>,
    },
    /// A press does nothing any more.
    Over {
        /// The message, where it is still kept.
        message: Option<Box<Message>>,
        /// Why.
        why: String,
    },
    /// It is none of ours.
    Unknown,
}

/// What the loop and its clients share.
#[derive(Debug)]
pub struct Served {
    pub(super) state: RwLock<State>,
    pub(super) inputs: mpsc::Sender<Submission>,
    pub(super) bus: broadcast::Sender<Arc<Event>>,
    /// The data directory.
    pub data_dir: PathBuf,
    /// The reader's zone.
    pub zone: TimeZone,
    /// Long texts.
    pub blobs: Blobs,
}

/// A cheap way to talk to the server. Clones share it.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(super) served: Arc<Served>,
    pub(super) shell: Arc<super::lane::Shell>,
    /// The key under which what is submitted is done once.
    pub(super) act: Option<Arc<str>>,
}

impl Handle {
    /// The same, for one act of a human's that its client may repeat with this key: it is done once.
    pub fn once(&self, key: &str) -> Self {
        Self { act: Some(key.into()), ..self.clone() }
    }

    /// Hands an input to the loop and waits until what follows from it is durable, or it is refused.
    pub async fn submit(&self, input: Input) -> Result<Answered, Refusal> {
        let input = match &self.act {
            Some(key) => Input::Once { key: key.to_string(), act: Box::new(input) },
            None => input,
        };
        let (reply, answer) = oneshot::channel();
        let gone = || Refusal::new(RefusalKind::Unavailable, "the server is stopping");
        self.served
            .inputs
            .send(Submission { input, reply: Some(reply) })
            .await
            .map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Reads the state. The guard must not live across an await.
    pub fn state(&self) -> RwLockReadGuard<'_, State> {
        self.served.state.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Follows the events from now on. A reader that lags is told how many it missed.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.served.bus.subscribe()
    }

    /// Both clocks.
    pub fn now(&self) -> Now {
        self.shell.now()
    }

    /// A page that shows all sessions is open before a human now: he sees there what the desktop would tell. It is
    /// taken to be so for 30 s.
    pub fn page_is_open(&self) {
        let now = self.now().wall;
        super::lane::lock(&self.shell.seen_typing).1 = Some(now);
    }

    /// Who is to be pinged as long as this server works.
    pub fn heartbeat(&self) -> Option<Heartbeat> {
        super::lane::lock(&self.shell.heartbeat).clone()
    }

    /// The zone in which humans read times.
    pub fn zone(&self) -> &TimeZone {
        &self.served.zone
    }

    /// The data directory.
    pub fn data_dir(&self) -> &std::path::Path {
        &self.served.data_dir
    }

    /// Stored events from `after` on (exclusive), at most `limit`.
    pub async fn events(&self, after: Seq, limit: usize) -> Result<Vec<Event>, Refusal> {
        self.shell.events(after, limit).await
    }

    /// The oldest event that the journal still holds; the next one to come where it holds none.
    pub fn first_kept(&self) -> Seq {
        self.shell.first_kept()
    }

    /// The text of a blob; none when it is gone.
    pub fn text(&self, blob: &BlobRef) -> Option<String> {
        self.served.blobs.read(&blob.sha256).ok()
    }

    /// Text from outside, cleaned and redacted; put away whole when it is long.
    pub fn put_text(&self, text: &str) -> Text {
        put_text(&self.served.blobs, text)
    }

    /// Text by which a human decides, cleaned; only what has the shape of a secret is taken out.
    pub fn put_verbatim(&self, text: &str) -> Text {
        let clean = ao_slots::text::redact_tokens(&ao_slots::text::plain(text));
        put_clean(&self.served.blobs, &clean)
    }

    /// Text that an agent is to get exactly as it is; what in it looks like a secret stands in the blob alone.
    pub(super) async fn put_exact(&self, text: &str) -> Result<Text, Refusal> {
        let (blobs, text) = (self.served.blobs.clone(), text.to_owned());
        blocking(move || put_exact(&blobs, &text)).await?.map_err(|error| {
            let (kind, why) = match error.kind() {
                io::ErrorKind::FileTooLarge => {
                    (RefusalKind::Invalid, "it is longer than 1 MiB".into())
                }
                _ => (RefusalKind::Unavailable, error.to_string()),
            };
            Refusal::new(kind, format!("the text could not be put away: {why}"))
        })
    }

    /// Starts a session.
    pub async fn spawn(&self, call: SpawnCall, by: Actor) -> Result<Answered, Refusal> {
        let prompt = call.prompt.as_deref().unwrap_or_default();
        let title = prompt.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let env = self.shell.allowed_env(&call.project, call.agent.as_deref(), &call.env);
        let spawn = Spawn {
            project: call.project.clone(),
            issue: call.issue.clone(),
            title: Text::short(title),
            prompt: self.put_exact(prompt).await?,
            digest: match call.issue {
                Some(_) => call.read.clone().unwrap_or_default(),
                None => digest(prompt),
            },
            env_names: env.keys().cloned().collect(),
            agent: call.agent.clone(),
            branch: call.branch.clone(),
            force: call.force,
            by,
        };
        let answered = self.submit(Input::Spawn(Box::new(spawn))).await?;
        if let Some(session) = &answered.session {
            self.shell.keep_env(session, &env, &call.env);
        }
        Ok(answered)
    }

    /// Brings an ended session back. Where its environment is not kept any more it gets `env`, its client's.
    pub async fn restore(
        &self,
        session: SessionId,
        fresh: bool,
        env: &BTreeMap<String, String>,
        by: Actor,
    ) -> Result<Answered, Refusal> {
        let lacks = {
            let state = self.state();
            let known = state.sessions.get(&session).filter(|_| !env.is_empty());
            known.map(|s| (s.is_over(), s.project.clone(), s.agent.clone()))
        };
        let lacks = lacks.filter(|(over, ..)| *over || !self.shell.has_env(&session));
        let given =
            lacks.map(|(_, project, agent)| self.shell.allowed_env(&project, Some(&agent), env));
        let env_names = given.as_ref().map(|given| given.keys().cloned().collect());
        let input = Input::Restore { session: session.clone(), fresh, env_names, by };
        let answered = self.submit(input).await?;
        if let Some(given) = given {
            self.shell.keep_env(&session, &given, env);
        }
        Ok(answered)
    }

    /// Sends text to an agent; it is handed over when the agent can take it.
    pub async fn send(
        &self,
        session: SessionId,
        text: &str,
        by: Actor,
    ) -> Result<Answered, Refusal> {
        self.submit(self.message(session, text, by).await?).await
    }

    pub(super) async fn message(
        &self,
        session: SessionId,
        text: &str,
        by: Actor,
    ) -> Result<Input, Refusal> {
        Ok(Input::Send { session, text: self.put_exact(text).await?, digest: digest(text), by })
    }

    /// Looks into a session's workspace before a human decides by what lies there: since the last look somebody may
    /// have committed by hand. What cannot be seen in time stays as it was known.
    pub async fn look(&self, session: &SessionId) {
        // What is seen is no act of the human's.
        let looking = Self { act: None, ..self.clone() };
        super::look::look(&looking, session, Duration::from_secs(5)).await;
    }

    /// Decides a request of a session; `request` none means the one that is open.
    pub async fn decide(
        &self,
        session: SessionId,
        request: Option<RequestId>,
        decision: Decision,
        by: Actor,
    ) -> Result<Answered, Refusal> {
        self.submit(self.decision(session, request, decision, by).await?).await
    }

    pub(super) async fn decision(
        &self,
        session: SessionId,
        request: Option<RequestId>,
        decision: Decision,
        by: Actor,
    ) -> Result<Input, Refusal> {
        let (decision, full) = match decision {
            Decision::Answer { text } => {
                let text = self.put_exact(&text).await?;
                (Decision::Answer { text: text.excerpt }, text.blob)
            }
            other => (other, None),
        };
        Ok(Input::Decide { session, request, decision, full, by })
    }

    /// Takes one hook event.
    pub async fn hook(&self, call: HookCall) -> Result<HookAnswer, Refusal> {
        super::hooks::hook(self, call).await
    }

    /// Waits until a human has decided `request`; returns what the hook prints, none when nothing is to be
    /// printed because the request ended otherwise. Dropping the future takes the waiter away.
    pub async fn wait(
        &self,
        call: HookCall,
        request: RequestId,
    ) -> Result<Option<String>, Refusal> {
        super::hooks::wait(self, call, request).await
    }

    /// Takes what an agent says through `ao report`. Returns the request of a question.
    pub async fn report(
        &self,
        session: SessionId,
        launch: Launch,
        token: &str,
        report: ReportCall,
    ) -> Result<Answered, Refusal> {
        super::hooks::report(self, session, launch, token, report).await
    }

    /// Waits for the answer to a question that was reported; none when it ended otherwise.
    pub async fn wait_answer(
        &self,
        session: SessionId,
        token: &str,
        request: RequestId,
    ) -> Result<Option<String>, Refusal> {
        super::hooks::wait_answer(self, session, token, request).await
    }

    /// Whether `token` is this session's private token.
    pub fn is_session_token(&self, session: &SessionId, token: &str) -> bool {
        self.shell.is_token(session, token)
    }

    /// The last lines of a session's screen.
    pub async fn screen(
        &self,
        session: &SessionId,
        lines: u32,
    ) -> Result<Vec<String>, PluginError> {
        self.shell.screen(session, lines).await
    }

    /// Puts a human in front of a session, through the project's terminal plugin: `env` is the environment of who
    /// asks (the server's own where empty), `foreground` says that it sits at a terminal and can run a command
    /// there.
    pub async fn open(
        &self,
        session: &SessionId,
        env: BTreeMap<String, String>,
        foreground: bool,
    ) -> Result<ao_slots::terminal::Opened, PluginError> {
        self.shell.open(session, env, foreground).await
    }

    /// The plugins that are in use.
    pub fn plugins(&self) -> Arc<crate::registry::Plugins> {
        self.shell.plugins()
    }

    /// Uses another policy from now on: built wholly, then swapped. `live` is the same policy with the values
    /// of all variables.
    pub async fn apply_policy(
        &self,
        policy: crate::config::policy::Policy,
        live: crate::config::Live,
    ) -> Result<(), PluginError> {
        self.shell.apply_policy(self, policy, live).await
    }

    /// Whether a project is kept that no session needs any more: the next policy lets it go.
    pub fn keeps_too_much(&self) -> bool {
        let state = self.state();
        let kept = |closed: &Option<Closed>| *closed == Some(Closed::Gone);
        let kept: Vec<_> = state.policy.projects.iter().filter(|(_, p)| kept(&p.closed)).collect();
        if kept.is_empty() {
            return false;
        }
        let needed = state.needed_projects();
        kept.iter().any(|(id, _)| !needed.contains(*id))
    }

    /// Sends a test message through a channel's real path. Where it carries a button, what comes back with the
    /// receipt is what [`Handle::until_pressed`] waits for. Nothing is sent while its provider wants rest.
    pub async fn test_channel(
        &self,
        channel: &ChannelName,
        text: &str,
        priority: Priority,
    ) -> Result<(Receipt, Option<String>), PluginError> {
        let now = self.now();
        let rests = self.state().asked_to_rest(channel).filter(|until| *until > now.wall);
        if let Some(until) = rests {
            let until = words::local_time(until, now, self.zone(), "%H:%M:%S");
            let what = format!("no test was sent to {channel}");
            let why = format!("it asked to be left alone until {until}");
            let then = format!("after that: ao notify test {channel}");
            return Err(PluginError::transient(what, why).with_remedy(then));
        }
        let sent = self.shell.test_channel(self, channel, text, priority).await;
        let failure = sent.as_ref().err().map(|error| error.clone().into());
        let tried = Input::Tried { channel: channel.clone(), failure };
        if let Err(refusal) = self.submit(tried).await {
            tracing::warn!(%channel, %refusal, "what became of a test is not recorded");
        }
        sent
    }

    /// The button that a token stands for, and the hash by which it is known; none = it is none of ours.
    pub fn offered(&self, token: &str) -> Option<(String, Token)> {
        let hash = super::lane::token_hash(token);
        let known = self.state().tokens.get(&hash).cloned()?;
        Some((hash, known))
    }

    /// What a press of the button behind a token would do now. Changes nothing.
    pub fn pressable(&self, token: &str) -> Pressable {
        super::lane::pressable(self, token)
    }

    /// Presses a button by its token, for a page that shows it to `who`. None = it is being done; else why it is not.
    pub async fn press(
        &self,
        token: &str,
        text: Option<String>,
        who: &str,
    ) -> Result<Option<String>, Refusal> {
        super::lane::press(self, token, text, who).await
    }

    /// Presses a button of an incident's card ([`Words::card`](crate::words::Words::card)), with the words that it asks
    /// for. Refused where the card does not offer it any more.
    pub async fn press_card(
        &self,
        incident: IncidentId,
        button: &str,
        text: &str,
        by: Actor,
    ) -> Result<Answered, Refusal> {
        super::lane::press_card(self, incident, button, text, &by).await
    }

    /// Waits until a button was pressed, and says by whom; none = not within the limit.
    pub async fn until_pressed(&self, token: &str, limit: Duration) -> Option<Actor> {
        let mut events = self.subscribe();
        let by = || self.state().tokens.get(token)?.spent.as_ref().map(|(by, _)| by.clone());
        let pressed = async {
            loop {
                if let Some(by) = by() {
                    return Some(by);
                }
                if let Err(broadcast::error::RecvError::Closed) = events.recv().await {
                    return None;
                }
            }
        };
        tokio::time::timeout(limit, pressed).await.ok().flatten()
    }

    /// Looks whether a message could go out by each channel that does not rest, without sending one.
    pub async fn look_at_channels(&self) {
        self.shell.look_at_channels(self, true).await;
    }

    /// Channels by which nothing would go out, as of the last look, with the reason.
    pub fn unable_channels(&self) -> std::collections::BTreeMap<ChannelName, PluginError> {
        self.shell.unable()
    }

    /// Ends the server in good order; agents go on.
    pub async fn stop(&self, reason: &str) {
        self.shell.stop(reason).await;
    }
}

/// Lets a thread that may wait for the disk do it.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(|error| match error.try_into_panic() {
        // What broke over it would break again: nobody is told to repeat it.
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => Refusal::new(RefusalKind::Unavailable, "the server is stopping"),
    })
}

/// Cleans and redacts text from outside; puts it away whole when an excerpt does not hold it.
pub(super) fn put_text(blobs: &Blobs, text: &str) -> Text {
    put_clean(blobs, &ao_slots::text::redact(&ao_slots::text::plain(text)))
}

/// Text that an agent is to get exactly as it is: what an event shows of it is redacted, the blob is not.
pub(super) fn put_exact(blobs: &Blobs, text: &str) -> io::Result<Text> {
    let clean = ao_slots::text::plain(text);
    let shown = ao_slots::text::redact(&clean);
    if shown == clean && clean.chars().count() <= Text::EXCERPT {
        return Ok(Text { excerpt: clean, blob: None });
    }
    let blob = Some(blobs.write_exact(&clean)?);
    Ok(Text { excerpt: ao_slots::text::cut(&shown, Text::EXCERPT), blob })
}

fn put_clean(blobs: &Blobs, clean: &str) -> Text {
    if clean.chars().count() <= Text::EXCERPT {
        return Text { excerpt: clean.to_owned(), blob: None };
    }
    let excerpt = ao_slots::text::cut(clean, Text::EXCERPT);
    match blobs.write(clean) {
        Ok(blob) => Text { excerpt, blob: Some(blob) },
        Err(error) => {
            tracing::warn!(%error, "a long text could not be put away; only its beginning is kept");
            Text { excerpt, blob: None }
        }
    }
}
