//! Effects on a running agent: starting, ending, handing over text and decisions.

use std::{collections::BTreeMap, io, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use ao_slots::{
    Call, ErrorKind, Launch, MessageId, PluginError, RequestId,
    agent::{AgentRequest, Decision, Dialog, InputMode, LaunchRequest, PromptDelivery},
    call::Answer,
    runtime::{CreateRuntime, Key, RuntimeHandle},
};
use serde_json::json;

use super::{super::signs::Known, HandOver, Shell, Work, lock};
use crate::{
    event::{Failure, Outcome, Text},
    state::{Decided, Fate, QueuedMessage, Session, State},
};

fn file_name(path: &str) -> String {
    let name = std::path::Path::new(path).file_name().and_then(|name| name.to_str());
    ao_slots::text::cut(&ao_slots::text::one_line(name.unwrap_or(path)), 60)
}

/// Lines of a screen that are looked at.
const SCREEN: u32 = 60;
/// Between two looks at a screen that should show what was typed.
const GLANCE: Duration = Duration::from_millis(120);
/// How long a screen may still show a turn that has ended.
const REDRAW: Duration = Duration::from_secs(2);
/// Where a program is looked for when the environment has no `PATH`.
const DEFAULT_PATH: &str = "/bin:/usr/bin";
/// How long evidence for a message that a hook was given is waited for before it is looked for: some sweeps.
const TAKEN: Duration = Duration::from_secs(15);
/// How long evidence for a message that may have been typed is waited and looked for.
pub(super) const EVIDENCE: Duration = Duration::from_secs(30);

impl Shell {
    pub(super) async fn create_runtime(
        &self,
        work: &Work,
        call: &Call,
        launch: Launch,
        resume: bool,
    ) -> Result<Outcome, Failure> {
        let session = &work.session;
        let request = self.launch_request(work, launch, resume).await?;
        let agent = &work.plugins.agent;
        let plan = agent.plan_launch(&request)?;
        let can = agent.capabilities(&request.config);
        self.place_files(&session.id, launch, &plan)?;
        let token = self.token(&session.id)?;
        let mut env = self.env_of(session).await;
        // A session outlives the log-in whose SSH agent this is: it gets the link that later ones renew.
        if let Some(socket) = env.get_mut("SSH_AUTH_SOCK") {
            let link = self.context().run_dir.join(crate::server::SSH_AGENT);
            *socket = link.to_string_lossy().into_owned();
        }
        env.extend(work.project.env.clone());
        env.extend(plan.env.clone());
        env.extend(self.own_env(session, launch, &token));
        must_exist(call, work, &plan.argv, &env, &request.cwd).await?;
        let spec = json!({ "argv": plan.argv, "cwd": request.cwd, "env": env });
        let path = self.agent_dir(&session.id).join(format!("launch-{launch}.json"));
        self.write_private(&path, spec.to_string().as_bytes())?;

        let created = CreateRuntime {
            session: session.id.clone(),
            launch,
            argv: vec![
                self.context().ao.to_string_lossy().into_owned(),
                "launch".into(),
                path.to_string_lossy().into_owned(),
            ],
            cwd: request.cwd.clone(),
            env: BTreeMap::from([("TERM".into(), "xterm-256color".into())]),
            // An open input only for an agent that reads it: others would wait for its end.
            stdin: (!request.screen
                && (plan.prompt == PromptDelivery::Stdin || input_of(work) == InputMode::Stdin))
                .then(|| {
                    request
                        .prompt
                        .clone()
                        .filter(|_| plan.prompt == PromptDelivery::Stdin)
                        .unwrap_or_default()
                }),
        };
        self.clear_before(work, call, launch).await?;
        let handle = work.plugins.runtime.create(call, &created).await?;
        Ok(Outcome::Runtime {
            handle,
            native_id: plan.native_id.clone().or_else(|| request.resume.clone()),
            transcript: plan.transcript.as_ref().map(|path| path.to_string_lossy().into_owned()),
            signals: plan.signals,
            prompted: plan.prompt != PromptDelivery::Typed && request.prompt.is_some(),
            resumed: resume && plan.resumes,
            resumable: can.resume,
            program: plan.argv.first().map(|path| file_name(path)),
        })
    }

    /// Ends what is left of the launch before: its process is surely gone before another takes its place.
    async fn clear_before(
        &self,
        work: &Work,
        call: &Call,
        launch: Launch,
    ) -> Result<(), PluginError> {
        let Some(before) = launch.0.checked_sub(1).filter(|n| *n > 0).map(Launch) else {
            return Ok(());
        };
        match work.plugins.runtime.adopt(call, &work.session.id, before).await? {
            Answer::Yes(old) => work.plugins.runtime.destroy(call, &old).await,
            Answer::No => Ok(()),
            Answer::Unknown(why) => Err(PluginError::transient(
                format!("whether launch {before} still runs is unknown"),
                why,
            )),
        }
    }

    /// What a launch is planned from; also what tells where a running agent keeps its files.
    pub(in crate::server) async fn launch_request(
        &self,
        work: &Work,
        launch: Launch,
        resume: bool,
    ) -> Result<LaunchRequest, PluginError> {
        let session = &work.session;
        let can = work.plugins.agent.capabilities(&work.project.agent_config);
        let goes_on = resume && can.resume && session.native_id.is_some();
        let prompt = match session.prompt.is_empty() || goes_on {
            true => None,
            false => Some(self.whole(&session.prompt)?),
        };
        // Starting anew in a workspace that holds earlier work: say so.
        let prompt = match prompt {
            Some(prompt) if launch.0 > 1 => Some(format!(
                "{prompt}\n\nAn earlier run of this task was interrupted. Look at what is there, and continue."
            )),
            other => other,
        };
        let mut rules = work.project.agent_rules.clone().unwrap_or_default();
        if let Some(file) = &work.project.agent_rules_file {
            let read = tokio::fs::read_to_string(file).await;
            let failed = |error| {
                PluginError::permanent(format!("could not read `{}`", file.display()), error)
            };
            rules = format!("{rules}\n{}", read.map_err(failed)?).trim().to_owned();
        }
        let context = self.context();
        let ask_for_s = self.state().policy.lifecycle.ask_for_ms / 1_000;
        Ok(LaunchRequest {
            session: session.id.clone(),
            launch,
            cwd: work.cwd()?,
            agent_dir: self.agent_dir(&session.id),
            ao: context.ao.clone(),
            home: context.home.clone(),
            prompt,
            rules,
            config: work.project.agent_config.clone(),
            resume: goes_on.then(|| session.native_id.clone()).flatten(),
            ask_for_s,
            screen: work.plugins.runtime.capabilities().screen,
            env: self.env_of(session).await,
        })
    }

    /// What tells `ao hook` and `ao report` who they speak for.
    fn own_env(&self, session: &Session, launch: Launch, token: &str) -> BTreeMap<String, String> {
        let context = self.context();
        let ask_for = self.state().policy.lifecycle.ask_for_ms / 1_000;
        [
            ("AO_SESSION", session.id.to_string()),
            ("AO_PROJECT", session.project.to_string()),
            ("AO_LAUNCH", launch.to_string()),
            ("AO_TOKEN", token.to_owned()),
            ("AO_SOCKET", context.run_dir.join("ao.sock").to_string_lossy().into_owned()),
            ("AO_DATA_DIR", context.data_dir.to_string_lossy().into_owned()),
            ("AO_ASK_FOR", ask_for.to_string()),
            ("AO_ISSUE", session.issue.clone().unwrap_or_default()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }

    /// The whole of a text, of which an event holds the beginning: never that alone.
    pub(in crate::server) fn whole(&self, text: &Text) -> Result<String, PluginError> {
        let Some(blob) = &text.blob else { return Ok(text.excerpt.clone()) };
        self.served.blobs.read(&blob.sha256).map_err(|error| {
            let what = format!("could not read the whole text, `blobs/{}`", blob.sha256);
            match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::InvalidData => {
                    PluginError::permanent(what, error)
                }
                _ => PluginError::transient(what, error),
            }
        })
    }

    /// What a human decided, whole.
    pub(in crate::server) fn whole_decision(
        &self,
        decided: &Decided,
    ) -> Result<Decision, PluginError> {
        Ok(match &decided.decision {
            Decision::Answer { text } => {
                let whole = Text { excerpt: text.clone(), blob: decided.full.clone() };
                Decision::Answer { text: self.whole(&whole)? }
            }
            other => other.clone(),
        })
    }

    /// The variables that the spawning client handed over. They are written right after the session was
    /// recorded, so the first reader may have to wait a moment.
    pub(super) async fn env_of(&self, session: &Session) -> BTreeMap<String, String> {
        let path = self.secret("env", &session.id);
        for _ in 0..50 {
            if let Ok(bytes) = crate::disk::read(self.disk(), &path)
                && let Ok(env) = serde_json::from_slice(&bytes)
            {
                return env;
            }
            if session.env_names.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if !session.env_names.is_empty() {
            tracing::warn!(session = %session.id, "its environment was not kept; it gets the server's PATH and HOME");
        }
        let own = &self.context().env;
        ["PATH", "HOME", "USER", "SHELL", "LANG"]
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), own.get(*name)?.clone())))
            .collect()
    }

    pub(in crate::server) fn keep_env(
        &self,
        session: &ao_slots::SessionId,
        env: &BTreeMap<String, String>,
        client: &BTreeMap<String, String>,
    ) {
        let json = serde_json::to_vec(env).unwrap_or_default();
        if let Err(error) = self.write_private(&self.secret("env", session), &json) {
            tracing::warn!(%error, "the session gets the server's environment");
        }
        self.keep_desktop_address(client);
    }

    /// The session's private token: made once, kept 0600.
    fn token(&self, session: &ao_slots::SessionId) -> Result<String, PluginError> {
        if let Some(token) = self.known_token(session) {
            return Ok(token);
        }
        let failed = |error| PluginError::transient("could not make a session token", error);
        let token = super::random_token().map_err(failed)?;
        self.write_private(&self.secret("token", session), token.as_bytes())?;
        lock(&self.tokens).insert(session.clone(), token.clone());
        Ok(token)
    }

    fn known_token(&self, session: &ao_slots::SessionId) -> Option<String> {
        if let Some(token) = lock(&self.tokens).get(session) {
            return Some(token.clone());
        }
        let bytes = crate::disk::read(self.disk(), &self.secret("token", session)).ok()?;
        let token = String::from_utf8(bytes).ok().filter(|token| token.len() == 32)?;
        lock(&self.tokens).insert(session.clone(), token.clone());
        Some(token)
    }

    /// Whether the environment that a session is started with is kept.
    pub(in crate::server) fn has_env(&self, session: &ao_slots::SessionId) -> bool {
        crate::disk::read(self.disk(), &self.secret("env", session)).is_ok()
    }

    /// Removes what was kept for the starts of a session that is over: launch files that nobody read, its
    /// environment, its token. If it is restored, it gets the environment of who does it and a token anew.
    pub(in crate::server) fn forget_starts(&self, session: &ao_slots::SessionId) {
        if self.state().sessions.get(session).is_some_and(|known| !known.is_over()) {
            return;
        }
        lock(&self.tokens).remove(session);
        let dir = self.agent_dir(session);
        let entries = self.disk().list(&dir).unwrap_or_default();
        let launches = entries.iter().filter(|e| e.name.starts_with("launch-"));
        let mut files: Vec<_> = launches.map(|entry| dir.join(&entry.name)).collect();
        files.extend(["env", "token"].map(|what| self.secret(what, session)));
        for file in files {
            match self.disk().remove(&file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!(file = %file.display(), %error, "it holds secrets of a session that is over, and cannot be removed");
                }
                _ => {}
            }
        }
    }

    /// The same for all sessions that ended while nobody could tidy up.
    pub(in crate::server) fn forget_ended(&self) {
        let over =
            |id: &ao_slots::SessionId| self.state().sessions.get(id).is_some_and(Session::is_over);
        for what in ["token", "env"] {
            let dir = self.context().data_dir.join("secrets").join(what);
            let entries = self.disk().list(&dir).unwrap_or_default();
            let ids = entries.iter().filter_map(|entry| entry.name.parse().ok());
            ids.filter(over).for_each(|id| self.forget_starts(&id));
        }
    }

    pub(in crate::server) fn is_token(&self, session: &ao_slots::SessionId, token: &str) -> bool {
        // Equal lengths, every byte looked at: the time tells nothing.
        self.known_token(session).is_some_and(|known| {
            known.len() == token.len()
                && known.bytes().zip(token.bytes()).fold(0, |all, (a, b)| all | (a ^ b)) == 0
        })
    }

    pub(super) async fn destroy_runtime(
        &self,
        work: &Work,
        call: &Call,
        launch: Launch,
    ) -> Result<Outcome, Failure> {
        let runtime = &work.plugins.runtime;
        let handle = match &work.session.handle {
            Some(handle) => handle.clone(),
            // Killed while it was being made: it may exist without our having heard.
            None => match runtime.adopt(call, &work.session.id, launch).await? {
                Answer::Yes(handle) => handle,
                Answer::No => return Ok(Outcome::Done),
                Answer::Unknown(why) => {
                    return Err(PluginError::transient(
                        format!("whether {} runs is unknown", work.session.id),
                        why,
                    )
                    .into());
                }
            },
        };
        runtime.destroy(call, &handle).await?;
        Ok(Outcome::Done)
    }

    /// Hands a message over and sees it confirmed. Nothing is typed unless the screen shows an empty prompt
    /// and no dialog; each Enter follows a look that shows our draft.
    pub(super) async fn type_message(
        &self,
        work: &Work,
        call: &Call,
        id: MessageId,
    ) -> Result<Outcome, Failure> {
        let Some(message) = self.waiting(work, id) else { return Ok(Outcome::Done) };
        let text = work.plugins.agent.as_message(&self.whole(&message.text)?);
        let handle = work.handle()?;
        let can = work.plugins.agent.capabilities(&work.project.agent_config);
        match input_of(work) {
            InputMode::None => Err(PluginError::transient(
                "the agent takes no messages while it runs",
                "agentConfig.input is none",
            )
            .into()),
            InputMode::Stdin => {
                work.plugins.runtime.type_text(call, handle, &text).await?;
                if !work.plugins.runtime.capabilities().screen {
                    return Ok(Outcome::Done);
                }
                work.plugins.runtime.press(call, handle, &[Key::Enter]).await?;
                Ok(Outcome::Done)
            }
            InputMode::Paste if !can.screen => {
                // The agent itself said that its prompt is empty (`ao report ready`).
                work.plugins.runtime.type_text(call, handle, &text).await?;
                tokio::time::sleep(GLANCE).await;
                work.plugins.runtime.press(call, handle, &[Key::Enter]).await?;
                Ok(Outcome::Done)
            }
            InputMode::Paste => self.paste(work, call, handle, id, &text).await,
        }
    }

    async fn paste(
        &self,
        work: &Work,
        call: &Call,
        handle: &RuntimeHandle,
        id: MessageId,
        text: &str,
    ) -> Result<Outcome, Failure> {
        let runtime = &work.plugins.runtime;
        match self.settled_dialog(work, call, handle).await? {
            Dialog::Prompt { draft, busy: false } if draft.is_empty() => {}
            Dialog::Prompt { busy: true, .. } => return Err(not_now("a turn runs")),
            Dialog::Prompt { .. } => return Err(not_now("somebody's draft stands in its prompt")),
            Dialog::Permission { .. } | Dialog::Question { .. } | Dialog::Setup { .. } => {
                return Err(not_now("a dialog is open"));
            }
            Dialog::Unknown => return Err(not_now("its screen shows nothing that is known")),
        }
        // A last look at what hooks told meanwhile: a request may have come up since the decision.
        if !self.may_type(work) {
            return Err(not_now("it asks something"));
        }
        runtime.type_text(call, handle, text).await?;
        self.submit_draft(work, call, handle, id, text).await
    }

    /// What its screen shows, once it shows the end of the turn that was told of: that is told first.
    async fn settled_dialog(
        &self,
        work: &Work,
        call: &Call,
        handle: &RuntimeHandle,
    ) -> Result<Dialog, PluginError> {
        let until = tokio::time::Instant::now() + REDRAW;
        loop {
            let dialog = self.dialog(work, call, handle).await?;
            let busy = matches!(dialog, Dialog::Prompt { busy: true, .. } | Dialog::Unknown);
            if !busy || tokio::time::Instant::now() >= until {
                return Ok(dialog);
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Presses Enter while our draft stands there, until there is evidence that the agent has it.
    async fn submit_draft(
        &self,
        work: &Work,
        call: &Call,
        handle: &RuntimeHandle,
        id: MessageId,
        text: &str,
    ) -> Result<Outcome, Failure> {
        let mut pressed = 0_u32;
        let began = tokio::time::Instant::now();
        let limit = call.limit().saturating_sub(Duration::from_secs(2));
        let mut next_press = began;
        while began.elapsed() < limit {
            tokio::time::sleep(GLANCE).await;
            if self.waiting(work, id).is_none() {
                return Ok(Outcome::Done);
            }
            if tokio::time::Instant::now() < next_press {
                continue;
            }
            // From here on nothing that fails says that the text is not there.
            match self.dialog(work, call, handle).await.unwrap_or(Dialog::Unknown) {
                Dialog::Prompt { draft, .. }
                    if work.plugins.agent.is_draft_of(&draft, text)
                        && self.may_type(work)
                        && pressed < 3 =>
                {
                    let _ = work.plugins.runtime.press(call, handle, &[Key::Enter]).await;
                    pressed += 1;
                    next_press = tokio::time::Instant::now() + Duration::from_secs(2);
                }
                // Sent, or something came up over it: evidence decides.
                _ => next_press = tokio::time::Instant::now() + Duration::from_millis(500),
            }
        }
        let what = format!(
            "the text was pasted, Enter pressed {pressed} times, the agent never confirmed"
        );
        Err(PluginError::in_doubt(what, "").into())
    }

    /// Typing may have happened: waits for evidence, and looks whether the draft stands there.
    pub(super) async fn look_for_message(
        &self,
        work: &Work,
        id: MessageId,
    ) -> Result<Outcome, Failure> {
        let call = Call::new(format!("look-{id}"), Duration::from_secs(20));
        let handle = work.handle()?;
        let Some(message) = self.waiting(work, id) else { return Ok(Outcome::Done) };
        let text = work.plugins.agent.as_message(&self.whole(&message.text)?);
        let mut shows = Dialog::Unknown;
        for _ in 0..20 {
            if self.waiting(work, id).is_none() {
                return Ok(Outcome::Done);
            }
            shows = self.dialog(work, &call, handle).await.unwrap_or(Dialog::Unknown);
            if let Dialog::Prompt { draft, busy: false } = &shows
                && work.plugins.agent.is_draft_of(draft, &text)
            {
                return self.submit_draft(work, &call, handle, id, &text).await;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        match shows {
            // An empty prompt, no trace in the transcript: it never arrived.
            Dialog::Prompt { draft, busy: false }
                if draft.is_empty() && self.transcript_is_read(&work.session.id) =>
            {
                Err(not_now("it was not there after all"))
            }
            _ => {
                Err(PluginError::in_doubt("whether the message arrived cannot be told", "").into())
            }
        }
    }

    /// A hook was answered with the message: waits for evidence that the agent has it.
    pub(super) async fn see_taken(&self, work: &Work, id: MessageId) -> Result<Outcome, Failure> {
        let began = tokio::time::Instant::now();
        while began.elapsed() < TAKEN {
            if self.waiting(work, id).is_none() {
                return Ok(Outcome::Done);
            }
            tokio::time::sleep(GLANCE).await;
        }
        Err(PluginError::in_doubt("the agent's hook was given the message; no trace of it", "")
            .into())
    }

    /// A hook may have been answered with the message. It never was if the agent stands at its prompt and its
    /// transcript, read since, does not hold it.
    pub(super) async fn look_for_handed_over(
        &self,
        work: &Work,
        id: MessageId,
    ) -> Result<Outcome, Failure> {
        let call = Call::new(format!("look-{id}"), Duration::from_secs(20));
        let mut stood = 0;
        for _ in 0..20 {
            if self.waiting(work, id).is_none() {
                return Ok(Outcome::Done);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
            if work.plugins.runtime.capabilities().screen {
                let shows = self.dialog(work, &call, work.handle()?).await;
                let stands = matches!(shows, Ok(Dialog::Prompt { busy: false, .. }));
                stood = if stands { stood + 1 } else { 0 };
            }
        }
        match self.waiting(work, id) {
            None => Ok(Outcome::Done),
            Some(_) if stood >= 15 && self.transcript_is_read(&work.session.id) => {
                Err(not_now("its hook did not take it"))
            }
            Some(_) => {
                Err(PluginError::in_doubt("whether the message arrived cannot be told", "").into())
            }
        }
    }

    /// The message, while it waits.
    fn waiting(&self, work: &Work, id: MessageId) -> Option<QueuedMessage> {
        let state = self.state();
        let message = state.sessions.get(&work.session.id)?.messages.get(&id)?;
        (message.fate == Fate::Waiting).then(|| message.clone())
    }

    fn may_type(&self, work: &Work) -> bool {
        let state = self.state();
        present(&state, work).is_some_and(|session| session.open_requests().next().is_none())
    }

    async fn dialog(
        &self,
        work: &Work,
        call: &Call,
        handle: &RuntimeHandle,
    ) -> Result<Dialog, PluginError> {
        let screen = work.plugins.runtime.capture(call, handle, SCREEN).await?;
        Ok(work.plugins.agent.match_dialog(&screen))
    }

    /// Hands a human's decision to the agent: through the waiting hook, else by one key where the screen
    /// proves that exactly this request is shown.
    pub(super) async fn decide_request(
        &self,
        work: &Work,
        call: &Call,
        id: RequestId,
    ) -> Result<Outcome, Failure> {
        let Some((request, decided)) = self.decided(work, id) else { return Ok(Outcome::Done) };
        let decision = self.whole_decision(&decided)?;
        let began = tokio::time::Instant::now();
        let patience = Duration::from_secs(if request.answerable { 10 } else { 0 });
        loop {
            if let Some(waiter) = self.waiter(id) {
                let (taken, confirmed) = tokio::sync::oneshot::channel();
                let sent =
                    waiter.send(HandOver { decision: decision.clone(), taken }).await.is_ok();
                if sent && confirmed.await.is_ok() {
                    return Ok(Outcome::Done);
                }
            }
            if self.decided(work, id).is_none() {
                return Ok(Outcome::Done);
            }
            if began.elapsed() >= patience {
                break;
            }
            tokio::time::sleep(GLANCE).await;
        }
        let handle = work.handle()?;
        let can = work.plugins.agent.capabilities(&work.project.agent_config);
        if can.screen {
            let screen = work.plugins.runtime.capture(call, handle, SCREEN).await?;
            if let Some(keys) = work.plugins.agent.answer_keys(&request, &decision, &screen) {
                work.plugins.runtime.press(call, handle, &keys).await?;
                for _ in 0..80 {
                    tokio::time::sleep(GLANCE).await;
                    if self.decided(work, id).is_none() {
                        return Ok(Outcome::Done);
                    }
                }
                return Err(PluginError::in_doubt(
                    "the key was pressed; the agent has not confirmed it",
                    "",
                )
                .into());
            }
        } else if let Decision::Answer { text } = &decision
            && input_of(work) != InputMode::None
        {
            // A question that the agent reported itself: the answer is what it reads next.
            work.plugins.runtime.type_text(call, handle, text).await?;
            if work.plugins.runtime.capabilities().screen {
                work.plugins.runtime.press(call, handle, &[Key::Enter]).await?;
            }
            return Ok(Outcome::Done);
        }
        let what = format!("the answer to {id} could not be delivered");
        let remedy = format!("ao session attach {}", work.session.id);
        Err(PluginError::permanent(
            what,
            "no hook waits for it, and its screen shows something else",
        )
        .with_remedy(remedy)
        .into())
    }

    /// The open request and what a human decided on it; none when it has ended.
    fn decided(&self, work: &Work, id: RequestId) -> Option<(AgentRequest, Decided)> {
        let state = self.state();
        let request =
            present(&state, work)?.requests.get(&id).filter(|request| request.ended.is_none())?;
        let decided = request.decided.clone()?;
        let request = AgentRequest {
            key: request.key.clone(),
            turn: request.turn.clone(),
            tool: request.tool.clone(),
            ask: request.ask.clone(),
            answerable: request.answerable,
        };
        Some((request, decided))
    }

    fn transcript_is_read(&self, session: &ao_slots::SessionId) -> bool {
        lock(&self.signs).get(session).is_some_and(Known::is_caught_up)
    }
}

/// Refuses a program that is nowhere: in its pane it would be an end like any other, without a remedy.
async fn must_exist(
    call: &Call,
    work: &Work,
    argv: &[String],
    env: &BTreeMap<String, String>,
    cwd: &Path,
) -> Result<(), PluginError> {
    let program = argv.first().map_or("", String::as_str);
    if is_program(program, env.get("PATH").map_or(DEFAULT_PATH, String::as_str), cwd) {
        return Ok(());
    }
    let agent = &work.session.agent;
    let missing = |what| {
        PluginError::new(ErrorKind::Missing, what, format!("no program `{program}` on the PATH"))
    };
    // An agent that is any command cannot be looked for.
    let checked = work.plugins.agent.check(call, env, None).await.ok();
    Err(match checked.filter(|check| check.program.is_none()) {
        Some(check) => missing(format!("the agent {agent} is not installed"))
            .with_remedy(format!("{}   or use any command: agent: custom", check.install_hint)),
        None => missing(format!("the agent {agent} cannot be started"))
            .with_remedy("correct its command in agent-orchestrator.yaml, or the PATH"),
    })
}

/// Whether `program` can be executed, looked up as execvp(3) does.
fn is_program(program: &str, path: &str, cwd: &Path) -> bool {
    let runs = |file: &Path| {
        std::fs::metadata(file)
            .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    match program.contains('/') {
        true => runs(&cwd.join(program)),
        false => path.split(':').any(|dir| runs(&cwd.join(dir).join(program))),
    }
}

/// The session as it is now, in the same launch.
fn present<'s>(state: &'s State, work: &Work) -> Option<&'s Session> {
    state.sessions.get(&work.session.id).filter(|session| session.launch == work.session.launch)
}

/// How text reaches the agent in its runtime: where there is no screen to paste into, by its standard input.
fn input_of(work: &Work) -> InputMode {
    let can = work.plugins.agent.capabilities(&work.project.agent_config);
    match can.input {
        InputMode::Paste if !work.plugins.runtime.capabilities().screen => InputMode::Stdin,
        other => other,
    }
}

fn not_now(why: &str) -> Failure {
    PluginError::new(ErrorKind::Transient, "the message waits", why).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_as_the_launch_will_find_it() {
        let dir = tempfile::tempdir().unwrap();
        let tool = dir.path().join("bin/tool");
        std::fs::create_dir(dir.path().join("bin")).unwrap();
        std::fs::write(&tool, "#!/bin/sh\n").unwrap();
        let path = format!("/no/such:{}", dir.path().join("bin").display());
        assert!(!is_program("tool", &path, dir.path()), "it cannot be executed yet");
        std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o700)).unwrap();
        assert!(is_program("tool", &path, dir.path()));
        assert!(is_program("bin/tool", "", dir.path()) && is_program("./bin/tool", "", dir.path()));
        assert!(!is_program("tool", DEFAULT_PATH, Path::new("/")));
        assert!(is_program("sh", DEFAULT_PATH, Path::new("/")));
        for none in ["", "bin", "./bin", "no-such-agent"] {
            assert!(!is_program(none, &path, dir.path()), "{none:?}");
        }
    }
}
