//! What agents tell: hooks and reports, reduced to what the rules read, and the requests that wait.

use std::path::Path;

use ao_slots::{
    Launch, RequestId, SessionId,
    agent::{AgentRequest, Ask, Decision, HIDES, Signal},
    fact::{AgentErrorKind, Source},
    text,
};
use tokio::sync::mpsc;

use super::{
    handle::{Handle, HookAnswer, HookCall, ReportCall, blocking},
    lane::HandOver,
};
use crate::{
    decide::{Answered, Input, Refusal, RefusalKind, Told},
    event::{Text, digest},
};

/// Takes one hook event of an agent.
pub(super) async fn hook(handle: &Handle, call: HookCall) -> Result<HookAnswer, Refusal> {
    authorise(handle, &call.session, &call.token)?;
    let Some(work) = handle.shell.work_of(&call.session) else { return Ok(HookAnswer::default()) };
    if work.session.agent != call.agent {
        return Err(Refusal::new(
            RefusalKind::Forbidden,
            format!("{} runs {}", call.session, work.session.agent),
        ));
    }
    let agent = &work.plugins.agent;
    let report = match agent.reduce_hook(&call.event, &call.payload) {
        Ok(report) => report,
        // Never read as anything: dropped, and said in the log.
        Err(error) => {
            tracing::warn!(session = %call.session, event = call.event, %error, "a hook could not be read");
            return Ok(HookAnswer::default());
        }
    };
    if report.signals.is_empty() {
        return Ok(HookAnswer::default());
    }
    let mut told = putting_away(handle, move |handle| {
        report.signals.into_iter().map(|signal| told(handle, signal)).collect::<Vec<Told>>()
    })
    .await?;
    let can = agent.capabilities(&work.project.agent_config);
    let reply = |text: &str| agent.message_reply(&call.event, &call.payload, text);
    if call.waits && can.takes_messages.contains(&call.event) && reply("").is_some() {
        let turn = told.iter().find_map(|told| match told {
            Told::TurnEnded { turn, .. } => turn.clone(),
            _ => None,
        });
        told.push(Told::TakesMessage { turn });
    }
    let input = Input::Signals {
        session: call.session.clone(),
        launch: call.launch,
        source: Source::Hook,
        started: call.started,
        told,
    };
    let answered = handle.submit(input).await?;
    // Recorded by now: what is handed over here is looked for, whatever becomes of this connection.
    let message = answered.message.and_then(|id| {
        let state = handle.state();
        Some(state.sessions.get(&call.session)?.messages.get(&id)?.text.clone())
    });
    let whole = message.and_then(|text| {
        let whole = handle.shell.whole(&text);
        // It is not taken, and then typed: that says what is wrong.
        whole.inspect_err(|error| tracing::error!(%error, "a hook was given no message")).ok()
    });
    let stdout = whole.and_then(|text| reply(&text));
    let waits = can.answerable.contains(&call.event);
    Ok(HookAnswer { stdout, wait: answered.request.filter(|_| waits) })
}

/// Waits until a human has decided; what is returned is printed by the waiting hook.
pub(super) async fn wait(
    handle: &Handle,
    call: HookCall,
    request: RequestId,
) -> Result<Option<String>, Refusal> {
    authorise(handle, &call.session, &call.token)?;
    let Some(work) = handle.shell.work_of(&call.session) else { return Ok(None) };
    let Some(over) = handed_over(handle, &call.session, call.launch, request).await? else {
        return Ok(None);
    };
    let reply = work.plugins.agent.hook_reply(&call.event, &call.payload, &over.decision);
    match reply {
        Ok(stdout) => {
            // Nobody listens when the effect was given up meanwhile; the decision is printed all the same.
            let _ = over.taken.send(());
            Ok(Some(stdout))
        }
        Err(error) => {
            tracing::warn!(session = %call.session, %error, "the decision cannot be put into the hook's words");
            Ok(None)
        }
    }
}

/// Waits for the answer to a question that was reported with `ao report question --wait`.
pub(super) async fn wait_answer(
    handle: &Handle,
    session: SessionId,
    token: &str,
    request: RequestId,
) -> Result<Option<String>, Refusal> {
    authorise(handle, &session, token)?;
    let launch = handle.state().sessions.get(&session).map(|s| s.launch).unwrap_or_default();
    let Some(over) = handed_over(handle, &session, launch, request).await? else { return Ok(None) };
    let _ = over.taken.send(());
    let text = match over.decision {
        Decision::Answer { text } => text,
        Decision::Approve => "approved".into(),
        Decision::Deny { reason } => {
            reason.map_or("denied".into(), |reason| format!("denied: {reason}"))
        }
    };
    // The agent has it in hand: that is the confirmation.
    let key = handle
        .state()
        .sessions
        .get(&session)
        .and_then(|s| s.requests.get(&request))
        .map(|r| r.key.clone());
    if let Some(key) = key {
        let told = vec![Told::ToolEnded { request: Some(key) }];
        handle.submit(said(session, launch, told)).await?;
    }
    Ok(Some(text))
}

/// Registers as the one who waits for `request`, until a decision comes or the request ends.
async fn handed_over(
    handle: &Handle,
    session: &SessionId,
    launch: Launch,
    request: RequestId,
) -> Result<Option<HandOver>, Refusal> {
    let (sender, mut decisions) = mpsc::channel::<HandOver>(1);
    let _guard = Waiting { handle, request, sender: sender.downgrade() };
    handle.shell.add_waiter(session, launch, request, sender);
    tokio::select! {
        // Cancel safe: a hand-over that is not received stays with its sender.
        over = decisions.recv() => Ok(over),
        // Cancel safe: only looks.
        () = handle.shell.stopping() => {
            Err(Refusal::new(RefusalKind::Unavailable, "the server is stopping"))
        }
    }
}

/// Takes the waiter away when its connection ends.
struct Waiting<'h> {
    handle: &'h Handle,
    request: RequestId,
    sender: mpsc::WeakSender<HandOver>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.handle.shell.remove_waiter(self.request, &self.sender);
    }
}

/// Takes what an agent says through `ao report`.
pub(super) async fn report(
    handle: &Handle,
    session: SessionId,
    launch: Launch,
    token: &str,
    report: ReportCall,
) -> Result<Answered, Refusal> {
    authorise(handle, &session, token)?;
    let told = putting_away(handle, |handle| match report {
        ReportCall::Working => vec![Told::TurnStarted { turn: None, digest: None }],
        ReportCall::Ready => vec![
            Told::Started { native_id: None, transcript: None, version: None },
            Told::TurnEnded { turn: None, last_words: None, background: false },
        ],
        ReportCall::Question { text, options, wait } => {
            // The same words while they are open are the same question: a waiting agent tells it again when the
            // server was away.
            let key = format!("report-{}", digest(&format!("{text}\n{}", options.join("\n"))));
            let ask = Ask::Question { text, options, many: false };
            let request =
                AgentRequest { key, turn: None, tool: "report".into(), ask, answerable: wait };
            vec![told(handle, Signal::Asked(request))]
        }
        ReportCall::Blocked { text } => vec![told(handle, Signal::Setup { text })],
        ReportCall::Error { text } => {
            vec![told(handle, Signal::Failed { kind: AgentErrorKind::Reported, message: text })]
        }
        ReportCall::Completed { text } => {
            let text = text.map(|text| handle.put_text(&text));
            vec![
                Told::Completed { text: text.clone() },
                Told::TurnEnded { turn: None, last_words: text, background: false },
            ]
        }
    })
    .await?;
    handle.submit(said(session, launch, told)).await
}

/// Lets a thread that may wait for the disk put long texts away.
async fn putting_away<T: Send + 'static>(
    handle: &Handle,
    work: impl FnOnce(&Handle) -> T + Send + 'static,
) -> Result<T, Refusal> {
    let handle = handle.clone();
    blocking(move || work(&handle)).await
}

/// What an agent says of itself, by no hook.
fn said(session: SessionId, launch: Launch, told: Vec<Told>) -> Input {
    Input::Signals { session, launch, source: Source::Hook, started: None, told }
}

/// A session's own token is the only thing that speaks for it.
fn authorise(handle: &Handle, session: &SessionId, token: &str) -> Result<(), Refusal> {
    if handle.is_session_token(session, token) {
        return Ok(());
    }
    Err(Refusal::new(RefusalKind::Forbidden, format!("this is not {session}'s token")))
}

/// A signal as the rules read it: texts cleaned, cut, and put away whole.
pub(super) fn told(handle: &Handle, signal: Signal) -> Told {
    let path = |path: &Path| path.to_string_lossy().into_owned();
    match signal {
        Signal::Started { native_id, transcript, version } => {
            Told::Started { native_id, transcript: transcript.as_deref().map(path), version }
        }
        Signal::TurnStarted { turn, prompt } => {
            Told::TurnStarted { turn, digest: prompt.as_deref().map(digest) }
        }
        Signal::ToolStarted { tool, command, .. } => {
            Told::ToolStarted { tool, command: command.as_deref().map(Text::short) }
        }
        Signal::ToolEnded { request, .. } => Told::ToolEnded { request },
        Signal::Asked(request) => asked(handle, request),
        Signal::RequestEnded { request } => Told::RequestEnded { key: request },
        Signal::TurnEnded { turn, last_words, background } => Told::TurnEnded {
            turn,
            last_words: last_words.map(|words| handle.put_text(&words)),
            background,
        },
        Signal::RateLimited { until } => Told::RateLimited { until },
        Signal::Failed { kind, message } => Told::Failed { kind, text: handle.put_text(&message) },
        Signal::Setup { text } => Told::Setup { text: handle.put_text(&text) },
        Signal::Exited { .. } => Told::Exited,
        Signal::Alive => Told::Alive,
        Signal::Suspected { text } => Told::Suspected { text: Text::short(&text) },
        Signal::Completed { text } => {
            Told::Completed { text: text.map(|text| handle.put_text(&text)) }
        }
        Signal::Observed { activity } => Told::Observed { activity },
        Signal::Usage(usage) => {
            let summary = usage.summary.as_deref().map(|text| Text::short(text).excerpt);
            // Only a transcript has figures; its reader says how far it got.
            Told::Usage { usage: ao_slots::agent::Usage { summary, ..usage }, offset: 0 }
        }
    }
}

fn asked(handle: &Handle, request: AgentRequest) -> Told {
    let short = |text: &str| Text::short(text).excerpt;
    let verbatim = |text: &str| text::cut(&text::redact_tokens(&text::plain(text)), Text::EXCERPT);
    let (ask, full) = match request.ask {
        Ask::Permission { verb, subject, place, reason, mut careful } => {
            let full = handle.put_verbatim(&subject);
            let plain = text::plain(&subject);
            if text::redact_tokens(&plain) != plain {
                careful.push(HIDES.to_owned());
            }
            let ask = Ask::Permission {
                verb,
                subject: full.excerpt,
                place: place.as_deref().map(verbatim),
                reason: reason.as_deref().map(short),
                careful,
            };
            (ask, full.blob)
        }
        Ask::Question { text, options, many } => {
            let full = handle.put_verbatim(&text);
            let options = options.iter().take(16).map(|option| verbatim(option)).collect();
            (Ask::Question { text: full.excerpt, options, many }, full.blob)
        }
    };
    let tool = text::cut(&text::one_line(&request.tool), 60);
    Told::Asked {
        key: request.key,
        turn: request.turn,
        tool,
        ask,
        full,
        answerable: request.answerable,
    }
}
