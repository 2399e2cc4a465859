//! The conformance suite of the agent slot.
//!
//! A plugin's tests describe what their agent really says in a [`Fixture`] and call [`all`]. Most of the slot is
//! pure, so most cases ask twice, ask with something broken, or ask with much, and compare.

#![expect(clippy::expect_used, reason = "a suite fails by a panic that names the broken promise")]

pub mod fake;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Arc, mpsc},
    time::Duration,
};

use ao_slots::{
    Call, ErrorKind, Launch,
    agent::{
        Agent, AgentConfig, AgentRequest, Ask, Decision, Dialog, Introspection, LaunchPlan,
        LaunchRequest, PromptDelivery, Signal,
    },
    process::ProcessId,
    runtime::Screen,
};

/// How long a pure method may take for a megabyte on a loaded machine before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(30);

/// Prompts that are options, commands or shell text when they are not kept apart.
const PROMPTS: &[&str] = &[
    "--help",
    "-v is broken",
    "/exit",
    "!touch canary",
    "$(touch canary) `touch canary` ; touch canary",
    "two\nlines \"quoted\" 'both'",
    "{prompt} {session} %s #{pane_id}",
];

/// What a plugin's tests know of their agent.
#[derive(Debug, Clone)]
pub struct Fixture {
    /// A first launch that can be planned, with a prompt.
    pub request: LaunchRequest,
    /// Hooks as the agent sends them.
    pub hooks: Vec<Hook>,
    /// Decisions that can be handed over: event, payload, decision.
    pub decisions: Vec<(String, Vec<u8>, Decision)>,
    /// A transcript, its last line whole.
    pub transcript: Vec<u8>,
    /// Screens that it shows.
    pub screens: Vec<Screen>,
    /// The program that `check` looks for on `PATH`; none when it looks for nothing.
    pub program: Option<String>,
}

/// One hook event.
#[derive(Debug, Clone)]
pub struct Hook {
    /// Its name.
    pub event: String,
    /// Its payload.
    pub payload: Vec<u8>,
    /// A subagent sent it.
    pub subagent: bool,
}

impl Fixture {
    /// An agent without hooks, transcript and known screens.
    pub fn plain(request: LaunchRequest) -> Self {
        Self {
            request,
            hooks: vec![],
            decisions: vec![],
            transcript: vec![],
            screens: vec![],
            program: None,
        }
    }
}

/// Runs every case.
pub async fn all(agent: Arc<dyn Agent>, fixture: &Fixture) {
    equal_arguments_give_equal_answers(&agent, fixture).await;
    plans_keep_to_the_agents_folder(&agent, fixture).await;
    plans_hold_no_value_of_the_environment(&agent, fixture).await;
    a_prompt_is_text_and_nothing_else(&agent, fixture).await;
    a_conversation_belongs_to_one_launch(&agent, fixture).await;
    what_cannot_be_read_is_an_error(&agent, fixture).await;
    subagents_say_nothing_about_the_turn(&agent, fixture).await;
    only_what_is_declared_takes_decisions(&agent, fixture).await;
    only_what_is_declared_takes_messages(&agent, fixture).await;
    transcripts_are_read_in_whole_lines(&agent, fixture).await;
    nothing_is_typed_on_a_guess(&agent, fixture).await;
    keys_need_proof(&agent, fixture).await;
    a_draft_is_known_again(&agent, fixture).await;
    a_megabyte_is_no_burden(&agent, fixture).await;
    check_ends_within_its_limit(&agent, fixture).await;
    a_dropped_check_leaves_nothing(&agent, fixture).await;
}

fn plan(agent: &Arc<dyn Agent>, request: &LaunchRequest) -> LaunchPlan {
    agent.plan_launch(request).expect("the fixture's launch can be planned")
}

/// *Idempotency*: equal arguments give equal answers, also after other calls.
pub async fn equal_arguments_give_equal_answers(agent: &Arc<dyn Agent>, fixture: &Fixture) {
    let first = plan(agent, &fixture.request);
    let hooks: Vec<_> =
        fixture.hooks.iter().map(|hook| agent.reduce_hook(&hook.event, &hook.payload)).collect();
    for _ in 0..3 {
        assert_eq!(
            plan(agent, &fixture.request),
            first,
            "Idempotency: a plan differs from the one before"
        );
        for (hook, before) in fixture.hooks.iter().zip(&hooks) {
            let again = agent.reduce_hook(&hook.event, &hook.payload);
            assert_eq!(
                &again, before,
                "Idempotency: `{}` is reduced to something else",
                hook.event
            );
        }
        for screen in &fixture.screens {
            assert_eq!(
                agent.match_dialog(screen),
                agent.match_dialog(screen),
                "Idempotency: a screen shows something else"
            );
        }
        let read = agent.introspect(&fixture.transcript, "");
        assert_eq!(
            agent.introspect(&fixture.transcript, ""),
            read,
            "Idempotency: a transcript says something else"
        );
    }
    let requests = hooks.into_iter().flatten().flat_map(|report| report.signals);
    for signal in requests {
        if let Signal::Asked(request) = signal {
            assert!(!request.key.is_empty(), "Idempotency: a request has no key");
        }
    }
}

/// Planned files lie in the agent's private folder, absolute, each once.
pub async fn plans_keep_to_the_agents_folder(agent: &Arc<dyn Agent>, fixture: &Fixture) {
    let plan = plan(agent, &fixture.request);
    assert!(
        plan.argv.first().is_some_and(|program| !program.is_empty()),
        "a plan names no program"
    );
    let mut paths: Vec<&Path> = plan.files.iter().map(|file| file.path.as_path()).collect();
    for path in &paths {
        let inside = path.starts_with(&fixture.request.agent_dir)
            && !path.components().any(|part| part.as_os_str() == "..");
        assert!(inside, "a planned file lies outside the agent's folder: {}", path.display());
    }
    paths.sort_unstable();
    paths.dedup();
    assert_eq!(paths.len(), plan.files.len(), "two planned files have one path");
}

/// Values of the environment are secrets: they go neither into arguments nor into files.
pub async fn plans_hold_no_value_of_the_environment(agent: &Arc<dyn Agent>, fixture: &Fixture) {
    const CANARY: &str = "canary-7f3a";
    let mut request = fixture.request.clone();
    // A `NAME_*` stands for all that begin so. Names of folders are no secrets.
    let secret = |name: &String| !name.ends_with("_DIR");
    for name in agent.env_names().into_iter().filter(secret) {
        request.env.insert(name.replace('*', "KEY"), CANARY.into());
    }
    let plan = plan(agent, &request);
    assert!(
        plan.argv.iter().all(|word| !word.contains(CANARY)),
        "a value of the environment is an argument"
    );
    assert!(
        plan.files.iter().all(|file| !file.content.contains(CANARY)),
        "a value of the environment is in a file"
    );
}

/// Whatever a prompt holds, it changes the words that carry it and no other.
pub async fn a_prompt_is_text_and_nothing_else(agent: &Arc<dyn Agent>, fixture: &Fixture) {
    let planned = |prompt: &str| {
        let request = LaunchRequest { prompt: Some(prompt.into()), ..fixture.request.clone() };
        plan(agent, &request)
    };
    let harmless = planned("a harmless prompt");
    let carries = |word: &String| word.contains("a harmless prompt");
    for prompt in PROMPTS {
        let plan = planned(prompt);
        let message = agent.as_message(prompt);
        assert!(message.contains(prompt), "as_message loses text of {prompt:?}");
        assert_eq!(
            plan.argv.len(),
            harmless.argv.len(),
            "the prompt {prompt:?} changes the number of arguments"
        );
        for (word, before) in plan.argv.iter().zip(&harmless.argv) {
            if carries(before) {
                assert!(
                    word.contains(&message) || word.contains(prompt),
                    "the prompt {prompt:?} arrives as {word:?}"
                );
            } else {
                assert_eq!(word, before, "the prompt {prompt:?} changes another argument");
            }
        }
        if plan.prompt == PromptDelivery::Typed {
            assert!(
                !plan.argv.iter().any(|word| word.contains(prompt)),
                "the prompt {prompt:?} goes in twice"
            );
        }
    }
}

/// A restart goes on with its conversation; another launch begins another one.
pub async fn a_conversation_belongs_to_one_launch(agent: &Arc<dyn Agent>, fixture: &Fixture) {
    let first = plan(agent, &fixture.request);
    assert!(!first.resumes, "a first launch claims to go on with an earlier conversation");
    let can_resume = agent.capabilities(&fixture.request.config).resume;
    let again =
        LaunchRequest { launch: Launch(fixture.request.launch.0 + 1), ..fixture.request.clone() };
    let resumed = LaunchRequest {
        resume: Some("earlier-conversation".into()),
        prompt: None,
        ..again.clone()
    };
    let resumed = plan(agent, &resumed);
    assert_eq!(resumed.resumes, can_resume, "`resume` is declared otherwise than it is planned");
    if resumed.resumes && first.transcript.is_some() {
        assert_eq!(
            resumed.native_id.as_deref(),
            Some("earlier-conversation"),
            "a resumed conversation gets another id"
        );
    }
    if let (Some(id), Some(other)) = (&first.transcript, &plan(agent, &again).transcript) {
        assert_ne!(id, other, "two launches write one transcript");
    }
}

/// *Errors*: what cannot be read is an error, above all never a turn's end.
pub async fn what_cannot_be_read_is_an_error(agent: &Arc<dyn Agent>, fixture: &Fixture) {
    let deep = "[".repeat(100_000);
    for hook in &fixture.hooks {
        let half = &hook.payload[..hook.payload.len() / 2];
        let tail = &hook.payload[..hook.payload.len().saturating_sub(1)];
        let broken: [&[u8]; 7] = [b"", b"null", b"\xff\xfe", b"[]", deep.as_bytes(), half, tail];
        for payload in broken {
            let reduced = agent.reduce_hook(&hook.event, payload);
            assert!(reduced.is_err(), "Errors: a broken `{}` is read as {reduced:?}", hook.event);
        }
    }
    let unknown = agent.reduce_hook("NoSuchEvent", b"{}");
    let says = unknown.map(|report| report.signals).unwrap_or_default();
    assert!(says.is_empty(), "Errors: an unknown event is read as {says:?}");
    for bytes in [&b"\xff\xfe\n"[..], b"{\n", b"null\n", deep.as_bytes()] {
        let signals = agent.introspect(bytes, "").signals;
        assert!(!signals.iter().any(ends), "Errors: a broken transcript is read as {signals:?}");
        let status = agent.read_status(bytes);
        assert_eq!(status, None, "Errors: a broken status file is read as {status:?}");
    }
}

fn ends(signal: &Signal) -> bool {
    matches!(signal, Signal::TurnEnded { .. } | Signal::Exited { .. } | Signal::Completed { .. })
}

/// *Errors*: a subagent asks the same human, and says nothing else.
pub async fn subagents_say_nothing_about_the_turn(agent: &Arc<dyn Agent>, fixture: &Fixture) {
    for hook in fixture.hooks.iter().filter(|hook| hook.subagent) {
        let signals = agent.reduce_hook(&hook.event, &hook.payload).map(|report| report.signals);
        for signal in signals.unwrap_or_default() {
            let asks = matches!(signal, Signal::Asked(_) | Signal::RequestEnded { .. });
            assert!(asks, "Errors: a subagent's `{}` says {signal:?} of the main turn", hook.event);
        }
    }
}

/// *Capabilities*: decisions are taken by the events that are declared answerable, and by no other.
pub async fn only_what_is_declared_takes_decisions(agent: &Arc<dyn Agent>, fixture: &Fixture) {
    let answerable = agent.capabilities(&fixture.request.config).answerable;
    for (event, payload, decision) in &fixture.decisions {
        assert!(
            answerable.contains(event),
            "`{event}` takes decisions and is not declared answerable"
        );
        let reply = agent.hook_reply(event, payload, decision);
        assert!(
            reply.as_ref().is_ok_and(|reply| !reply.trim().is_empty()),
            "`{event}` does not take {decision:?}: {reply:?}"
        );
        assert_eq!(
            agent.hook_reply(event, payload, decision),
            reply,
            "Idempotency: `{event}` replies something else"
        );
    }
    let covered = |event: &&String| fixture.decisions.iter().any(|(known, ..)| known == *event);
    assert!(
        answerable.iter().all(|event| covered(&event)),
        "an answerable event has no decision in the fixture"
    );
    for hook in fixture.hooks.iter().filter(|hook| !answerable.contains(&hook.event)) {
        let reply = agent.hook_reply(&hook.event, &hook.payload, &Decision::Approve);
        let unsupported = reply.as_ref().is_err_and(|error| error.kind == ErrorKind::Unsupported);
        assert!(unsupported, "`{}` is not declared answerable and replies {reply:?}", hook.event);
    }
}

/// *Capabilities*: messages are handed over by the events that are declared to take them, whole, and by no other.
pub async fn only_what_is_declared_takes_messages(agent: &Arc<dyn Agent>, fixture: &Fixture) {
    let takes = agent.capabilities(&fixture.request.config).takes_messages;
    let mut taken = Vec::new();
    for hook in &fixture.hooks {
        let Some(reply) = agent.message_reply(&hook.event, &hook.payload, "canary message") else {
            continue;
        };
        assert!(
            takes.contains(&hook.event) && !hook.subagent,
            "`{}` takes a message and is not declared to",
            hook.event
        );
        assert!(reply.contains("canary message"), "`{}` loses the message: {reply}", hook.event);
        taken.push(&hook.event);
    }
    assert!(
        takes.iter().all(|event| taken.contains(&event)),
        "an event that takes messages took none"
    );
}

/// Whole lines only: any cut of a transcript tells the same texts and the same sums, and figures come last.
pub async fn transcripts_are_read_in_whole_lines(agent: &Arc<dyn Agent>, fixture: &Fixture) {
    let text = &fixture.transcript;
    let whole = agent.introspect(text, "");
    assert_eq!(whole.consumed as usize, text.len(), "a whole transcript is not consumed whole");
    for step in [7, 501, 4096] {
        let (mut from, mut to, mut texts, mut sum) = (0, 0, Vec::new(), (0, 0));
        let mut carry = String::new();
        while from < text.len() {
            to = (to + step).min(text.len());
            let read = agent.introspect(&text[from..to], &carry);
            let end = from + read.consumed as usize;
            assert!(
                end <= to && (end == from || text[end - 1] == b'\n'),
                "a part of a line was consumed"
            );
            let last = read.signals.len().saturating_sub(1);
            let early =
                read.signals[..last].iter().any(|signal| matches!(signal, Signal::Usage(_)));
            assert!(!early, "figures are not the last signal");
            let (input, output) = figures(&read);
            sum = (sum.0 + input, sum.1 + output);
            texts.extend(read.user_texts);
            (from, carry) = (end, read.carry);
            assert!(to < text.len() || from == text.len(), "the last line was not consumed");
        }
        assert_eq!(texts, whole.user_texts, "a transcript read in pieces tells other texts");
        assert_eq!(sum, figures(&whole), "a transcript read in pieces has other sums");
    }
}

/// Tokens that were read and written.
fn figures(read: &Introspection) -> (u64, u64) {
    let usage = read.signals.iter().find_map(|signal| match signal {
        Signal::Usage(usage) => Some((usage.input_tokens, usage.output_tokens)),
        _ => None,
    });
    let (input, output) = usage.unwrap_or_default();
    (input.unwrap_or(0), output.unwrap_or(0))
}

/// *Capabilities*: an agent that does not know its screen knows nothing of it, and no screen is taken for an
/// input line when the cursor's place is not known or there is nothing on it.
pub async fn nothing_is_typed_on_a_guess(agent: &Arc<dyn Agent>, fixture: &Fixture) {
    let knows = agent.capabilities(&fixture.request.config).screen;
    let without_cursor =
        |screen: &Screen| Screen { cursor_x: None, cursor_y: None, ..screen.clone() };
    let quoted = Screen {
        lines: ["> ", "❯ ", "$ ", "Do you want to proceed? (y/n)", "? for shortcuts"]
            .map(str::to_owned)
            .to_vec(),
        cursor_x: Some(0),
        cursor_y: Some(3),
    };
    let blank = [Screen::default(), quoted];
    for screen in blank.into_iter().chain(fixture.screens.iter().map(without_cursor)) {
        let dialog = agent.match_dialog(&screen);
        assert!(
            !matches!(dialog, Dialog::Prompt { .. }),
            "an input line is seen where none is proved: {dialog:?}"
        );
    }
    for screen in &fixture.screens {
        let dialog = agent.match_dialog(screen);
        assert!(
            knows || dialog == Dialog::Unknown,
            "`screen` is not declared, and {dialog:?} is seen"
        );
        let suspicion = agent.suspect(&AgentConfig::default(), screen);
        assert_eq!(suspicion, None, "a suspicion is raised that no expression asked for");
    }
}

/// No screen proves a request that it does not show.
pub async fn keys_need_proof(agent: &Arc<dyn Agent>, fixture: &Fixture) {
    let asks = [
        Ask::Permission {
            verb: "run".into(),
            subject: "a command that no fixture shows".into(),
            place: None,
            reason: None,
            careful: vec![],
        },
        Ask::Question {
            text: "a question that no fixture shows?".into(),
            options: vec!["Yes".into(), "No".into()],
            many: false,
        },
    ];
    for ask in asks {
        let request = AgentRequest {
            key: "k".into(),
            turn: None,
            tool: "Bash".into(),
            ask,
            answerable: true,
        };
        for decision in [
            Decision::Approve,
            Decision::Deny { reason: None },
            Decision::Answer { text: "Yes".into() },
        ] {
            for screen in fixture.screens.iter().chain([&Screen::default()]) {
                let keys = agent.answer_keys(&request, &decision, screen);
                assert_eq!(keys, None, "keys are pressed for a request that is not shown");
            }
        }
    }
}

/// A draft is ours as it was typed and as a narrow screen wraps it; nothing else is.
pub async fn a_draft_is_known_again(agent: &Arc<dyn Agent>, _fixture: &Fixture) {
    let text = "fix the login\nand the tests";
    for (draft, ours) in [
        (text, true),
        ("fix the\nlogin\nand the tests", true),
        ("fix the login", false),
        ("", false),
        ("somebody's draft", false),
    ] {
        assert_eq!(agent.is_draft_of(draft, text), ours, "the draft {draft:?} is not told apart");
    }
}

/// *Deadline*: a megabyte is read in a moment. What hangs is left behind in its thread.
pub async fn a_megabyte_is_no_burden(agent: &Arc<dyn Agent>, fixture: &Fixture) {
    const MUCH: usize = 1 << 20;
    let word = "word { [ \\\" ❯ ";
    let text = word.repeat(MUCH / word.len());
    let events: Vec<String> = fixture.hooks.iter().map(|hook| hook.event.clone()).collect();
    let lines = fixture.transcript.repeat((MUCH / fixture.transcript.len().max(1)).clamp(1, 4096));
    let screen = Screen { lines: vec![text.clone(); 2], cursor_x: Some(2), cursor_y: Some(1) };
    let mut request = fixture.request.clone();
    request.rules = text.clone();
    let config = AgentConfig { suspect: vec!["(a*)*b".into()], ..AgentConfig::default() };
    let agent = agent.clone();
    let (done, finished) = mpsc::channel();
    std::thread::spawn(move || {
        let payload = text.as_bytes();
        for event in &events {
            // An error is an answer too; only that it comes counts here.
            let _answer = agent.reduce_hook(event, payload);
        }
        let _plan = agent.plan_launch(&request);
        agent.introspect(&lines, "");
        agent.introspect(payload, "");
        agent.read_status(payload);
        agent.match_dialog(&screen);
        agent.suspect(&config, &screen);
        agent.is_draft_of(&text, &text);
        agent.as_message(&text);
        // Nobody listens any more when this took too long.
        let _late = done.send(());
    });
    // Waited for beside the runtime's own threads, so that a plugin's tasks go on.
    let waited = tokio::task::spawn_blocking(move || finished.recv_timeout(PATIENCE)).await;
    assert!(
        matches!(waited, Ok(Ok(()))),
        "Deadline: a megabyte took more than {} s",
        PATIENCE.as_secs()
    );
}

/// A program that starts another, tells both, and never ends.
struct Hanging {
    folder: tempfile::TempDir,
}

impl Hanging {
    fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let program = folder.path().join(name);
        let script = "#!/bin/sh\nsleep 1000 &\necho $$ $! > \"${0%/*}/pids.new\"\nmv \"${0%/*}/pids.new\" \"${0%/*}/pids\"\nwait\n";
        fs::write(&program, script).expect("a script");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
            .expect("a script that runs");
        Self { folder }
    }

    fn env(&self) -> BTreeMap<String, String> {
        let path = format!("{}:/usr/bin:/bin", self.folder.path().display());
        BTreeMap::from([("PATH".into(), path)])
    }

    fn pids(&self) -> Vec<i32> {
        let text = fs::read_to_string(self.folder.path().join("pids")).unwrap_or_default();
        text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }

    async fn started(&self) -> bool {
        for _ in 0..600 {
            if self.pids().len() == 2 {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    }

    /// Whether all of it ended by itself.
    async fn gone(&self) -> bool {
        for _ in 0..200 {
            if self.pids().iter().all(|pid| ProcessId::of(*pid).is_none()) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        for pid in self.pids() {
            let kill = ["-9".to_owned(), pid.to_string()];
            // Gone already is what is hoped for.
            let _gone = std::process::Command::new("kill")
                .args(kill)
                .current_dir("/")
                .stderr(std::process::Stdio::null())
                .status();
        }
    }
}

/// *Deadline*: a program that hangs is ended within the limit, with all that it started.
pub async fn check_ends_within_its_limit(agent: &Arc<dyn Agent>, fixture: &Fixture) {
    let Some(name) = &fixture.program else { return };
    let hanging = Hanging::new(name);
    let call = Call::new("check", Duration::from_secs(3));
    let checked = tokio::time::timeout(PATIENCE, agent.check(&call, &hanging.env(), None)).await;
    assert!(checked.is_ok(), "Deadline: check goes on after its limit");
    assert!(hanging.gone().await, "Deadline: check leaves what it started");
}

/// *Cancel safety*: a check that is dropped leaves no process.
pub async fn a_dropped_check_leaves_nothing(agent: &Arc<dyn Agent>, fixture: &Fixture) {
    let Some(name) = &fixture.program else { return };
    let hanging = Hanging::new(name);
    let env = hanging.env();
    let call = Call::new("check", Duration::from_secs(300));
    tokio::select! {
        _ = agent.check(&call, &env, None) => {}
        started = hanging.started() => assert!(started, "check did not start the program"),
    }
    assert!(hanging.gone().await, "Cancel safety: a dropped check leaves what it started");
}

#[cfg(test)]
mod tests {
    use super::{
        fake::{Fault, Scripted},
        *,
    };

    #[tokio::test]
    async fn a_correct_agent_passes() {
        all(Arc::new(Scripted::default()), &fake::fixture()).await;
    }

    /// Runs every case on an agent with this fault and returns what the one that fails says.
    async fn caught(fault: Fault) -> String {
        let agent: Arc<dyn Agent> = Arc::new(Scripted::faulty(fault));
        let run = tokio::spawn(async move { all(agent, &fake::fixture()).await });
        let panic = run.await.expect_err("the fault is not noticed").into_panic();
        panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_default()
    }

    #[tokio::test]
    async fn each_case_catches_its_fault() {
        for (fault, says) in [
            (Fault::ForgetsKeys, "is reduced to something else"),
            (Fault::WritesIntoTheWorkspace, "outside the agent's folder"),
            (Fault::LeaksTheEnvironment, "a value of the environment is an argument"),
            (Fault::SplitsPrompts, "changes the number of arguments"),
            (Fault::SharesTranscripts, "two launches write one transcript"),
            (Fault::ReadsGarbageAsStop, "Errors: a broken"),
            (Fault::BelievesSubagents, "of the main turn"),
            (Fault::AnswersAnything, "is not declared answerable and replies"),
            (Fault::LosesMessages, "loses the message"),
            (Fault::EatsHalfLines, "a part of a line was consumed"),
            (Fault::SeesPromptsEverywhere, "where none is proved"),
            (Fault::PressesBlindly, "for a request that is not shown"),
            (Fault::TakesAnyDraft, "is not told apart"),
            (Fault::LeavesPrograms, "Deadline: check leaves what it started"),
            (Fault::ChecksInTheBackground, "Cancel safety: a dropped check leaves what it started"),
        ] {
            let message = caught(fault).await;
            assert!(message.contains(says), "{fault:?}: {message}");
        }
    }
}
