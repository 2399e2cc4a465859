//! An agent of a few lines that keeps the contract, and the same one with a fault.
//!
//! Its hooks are `{"event": …, "turn": …, "tool": …, "sub": true}`, its transcript is one typed text a line, its
//! input line is a last line that begins with `> ` and holds the cursor.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicU64, Ordering},
};

use ao_slots::{
    Call, Launch, PluginError,
    agent::{
        Agent, AgentCapabilities, AgentCheck, AgentConfig, AgentRequest, Ask, Decision, Dialog,
        HookReport, InputMode, Introspection, LaunchPlan, LaunchRequest, PlannedFile,
        PromptDelivery, Signal, Usage,
    },
    process::ProcessId,
    runtime::{Key, Screen},
};
use async_trait::async_trait;
use serde_json::Value;

use super::{Fixture, Hook};

/// What is wrong with an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Fault {
    ForgetsKeys,
    WritesIntoTheWorkspace,
    LeaksTheEnvironment,
    SplitsPrompts,
    SharesTranscripts,
    ReadsGarbageAsStop,
    BelievesSubagents,
    AnswersAnything,
    LosesMessages,
    EatsHalfLines,
    SeesPromptsEverywhere,
    PressesBlindly,
    TakesAnyDraft,
    LeavesPrograms,
    ChecksInTheBackground,
}

/// The fake. Its program is called `scripted`.
#[derive(Debug, Default)]
pub struct Scripted {
    fault: Option<Fault>,
    calls: AtomicU64,
}

impl Scripted {
    /// One with a fault.
    pub fn faulty(fault: Fault) -> Self {
        Self { fault: Some(fault), ..Self::default() }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }
}

/// What [`super::all`] needs to know of the fake.
pub fn fixture() -> Fixture {
    let hook = |event: &str, subagent: bool| Hook {
        event: event.into(),
        payload: format!(r#"{{"event":"{event}","turn":"t","tool":"run","sub":{subagent}}}"#)
            .into_bytes(),
        subagent,
    };
    let screen = |lines: &[&str], y: u32| Screen {
        lines: lines.iter().map(|line| (*line).to_owned()).collect(),
        cursor_x: Some(2),
        cursor_y: Some(y),
    };
    Fixture {
        request: LaunchRequest {
            session: "app-1".parse().expect("an id"),
            launch: Launch(1),
            cwd: "/wt/app-1".into(),
            agent_dir: "/data/agents/app-1".into(),
            ao: "/data/run/ao".into(),
            home: "/home/ana".into(),
            prompt: Some("fix it".into()),
            rules: String::new(),
            config: AgentConfig::default(),
            resume: None,
            ask_for_s: 60,
            screen: true,
            env: BTreeMap::new(),
        },
        hooks: vec![hook("ask", false), hook("stop", false), hook("ask", true), hook("stop", true)],
        decisions: vec![("ask".into(), hook("ask", false).payload, Decision::Approve)],
        transcript: "first text\nsecond text\nthird text\n".repeat(50).into_bytes(),
        screens: vec![screen(&["hello", "> "], 1), screen(&["may I?", "[y/n]"], 1)],
        program: Some("scripted".into()),
    }
}

#[async_trait]
impl Agent for Scripted {
    fn capabilities(&self, _config: &AgentConfig) -> AgentCapabilities {
        AgentCapabilities {
            answerable: vec!["ask".into()],
            takes_messages: vec!["stop".into()],
            resume: true,
            input: InputMode::Paste,
            screen: true,
            free_answers: false,
        }
    }

    fn env_names(&self) -> Vec<String> {
        vec!["SCRIPTED_*".into()]
    }

    fn plan_launch(&self, request: &LaunchRequest) -> Result<LaunchPlan, PluginError> {
        let folder =
            if self.has(Fault::WritesIntoTheWorkspace) { &request.cwd } else { &request.agent_dir };
        let id = match &request.resume {
            Some(id) => id.clone(),
            None if self.has(Fault::SharesTranscripts) => request.session.to_string(),
            None => format!("{}-{}", request.session, request.launch),
        };
        let mut argv = vec!["scripted".to_owned(), "--".to_owned()];
        match request.prompt.clone() {
            Some(prompt) if self.has(Fault::SplitsPrompts) => {
                argv.extend(prompt.split(' ').map(str::to_owned))
            }
            Some(prompt) => argv.push(prompt),
            None => {}
        }
        if self.has(Fault::LeaksTheEnvironment) {
            argv.extend(request.env.values().cloned());
        }
        Ok(LaunchPlan {
            argv,
            env: BTreeMap::new(),
            files: vec![PlannedFile {
                path: folder.join("settings"),
                content: "hooks".into(),
                guarded: true,
            }],
            prompt: PromptDelivery::Argument,
            transcript: Some(request.home.join(&id)),
            native_id: Some(id),
            signals: true,
            resumes: request.resume.is_some(),
        })
    }

    fn reduce_hook(&self, event: &str, payload: &[u8]) -> Result<HookReport, PluginError> {
        let stopped = Signal::TurnEnded { turn: None, last_words: None, background: false };
        let read: Result<Value, _> = serde_json::from_slice(payload);
        let Ok(Value::Object(read)) = read else {
            if self.has(Fault::ReadsGarbageAsStop) {
                return Ok(HookReport { signals: vec![stopped] });
            }
            return Err(PluginError::permanent(
                format!("could not read `{event}`"),
                "not an object",
            ));
        };
        let text =
            |name: &str| read.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let main = read.get("sub") != Some(&Value::Bool(true));
        let salt = if self.has(Fault::ForgetsKeys) {
            self.calls.fetch_add(1, Ordering::Relaxed)
        } else {
            0
        };
        let signals = match event {
            "ask" => vec![Signal::Asked(AgentRequest {
                key: format!("{}/{}/{salt}", text("turn"), text("tool")),
                turn: Some(text("turn")),
                tool: text("tool"),
                ask: Ask::Question { text: "may I?".into(), options: vec![], many: false },
                answerable: true,
            })],
            "stop" if main || self.has(Fault::BelievesSubagents) => vec![stopped],
            _ => vec![],
        };
        Ok(HookReport { signals })
    }

    fn hook_reply(
        &self,
        event: &str,
        _payload: &[u8],
        decision: &Decision,
    ) -> Result<String, PluginError> {
        if event != "ask" && !self.has(Fault::AnswersAnything) {
            return Err(PluginError::unsupported(format!("`{event}` takes no decision")));
        }
        Ok(format!("{decision:?}"))
    }

    fn message_reply(&self, event: &str, payload: &[u8], text: &str) -> Option<String> {
        let main = self.reduce_hook(event, payload).is_ok_and(|report| !report.signals.is_empty());
        let text = if self.has(Fault::LosesMessages) { "…" } else { text };
        (event == "stop" && main).then(|| text.to_owned())
    }

    fn introspect(&self, bytes: &[u8], _carry: &str) -> Introspection {
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let whole = if self.has(Fault::EatsHalfLines) { bytes.len() } else { whole };
        let text = String::from_utf8_lossy(&bytes[..whole]);
        let usage = Usage { output_tokens: Some(text.len() as u64), ..Usage::default() };
        Introspection {
            consumed: whole as u64,
            signals: vec![Signal::Alive, Signal::Usage(usage)],
            user_texts: text.lines().map(str::to_owned).collect(),
            carry: String::new(),
        }
    }

    fn status_file(&self, _request: &LaunchRequest, _process: ProcessId) -> Option<PathBuf> {
        None
    }

    fn read_status(&self, _bytes: &[u8]) -> Option<Signal> {
        None
    }

    fn match_dialog(&self, screen: &Screen) -> Dialog {
        let last = screen.lines.len().checked_sub(1);
        let at_cursor = last.filter(|last| screen.cursor_y.map(|row| row as usize) == Some(*last));
        let draft = at_cursor.and_then(|row| screen.lines[row].strip_prefix("> "));
        match draft {
            Some(draft) => Dialog::Prompt { draft: draft.into(), busy: false },
            None if self.has(Fault::SeesPromptsEverywhere) => {
                Dialog::Prompt { draft: String::new(), busy: false }
            }
            None => Dialog::Unknown,
        }
    }

    fn is_draft_of(&self, draft: &str, text: &str) -> bool {
        self.has(Fault::TakesAnyDraft) || draft.split_whitespace().eq(text.split_whitespace())
    }

    fn answer_keys(
        &self,
        _request: &AgentRequest,
        _decision: &Decision,
        _screen: &Screen,
    ) -> Option<Vec<Key>> {
        self.has(Fault::PressesBlindly).then(|| vec![Key::Enter])
    }

    async fn check(
        &self,
        call: &Call,
        env: &BTreeMap<String, String>,
        _repo: Option<&Path>,
    ) -> Result<AgentCheck, PluginError> {
        let failed = |error| PluginError::transient("`scripted` did not answer", error);
        let folder = env.get("PATH").and_then(|path| path.split(':').next()).unwrap_or("/");
        let program = Path::new(folder).join("scripted");
        let mut command = tokio::process::Command::new(&program);
        command
            .envs(env)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .process_group(0);
        let mut child = command.spawn().map_err(failed)?;
        let group = Group(child.id().filter(|_| !self.has(Fault::LeavesPrograms)));
        let limit = call.limit();
        let run = async move {
            let _group = group;
            tokio::time::timeout(limit, child.wait()).await
        };
        let ended = match self.has(Fault::ChecksInTheBackground) {
            true => tokio::spawn(run).await.map_err(|error| failed(error.into()))?,
            false => run.await,
        };
        ended
            .map_err(|_| PluginError::transient("`scripted` did not answer", "in time"))?
            .map_err(failed)?;
        Ok(AgentCheck {
            program: Some(program),
            version: None,
            logged_in: None,
            trusts_repo: None,
            install_hint: "write it".into(),
        })
    }
}

/// Ends a process group, also when the call is dropped.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let arguments = ["-9".to_owned(), "--".to_owned(), format!("-{group}")];
            // Gone already is what is wanted.
            let _gone = std::process::Command::new("kill")
                .args(arguments)
                .current_dir("/")
                .stderr(Stdio::null())
                .status();
        }
    }
}
