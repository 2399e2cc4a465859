//! Drives any command as an agent.
//!
//! Needs nothing but the command in `agentConfig.command`. What the agent does comes from the agent itself, by
//! `ao report working | ready | question | blocked | error | completed`; its screen is never understood, so
//! nothing is typed unless it said `ready`. Expressions in `agentConfig.suspect` may raise a suspicion; they
//! clear none and allow no typing.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use ao_slots::{
    Call, PluginError,
    agent::{
        Agent, AgentCapabilities, AgentCheck, AgentConfig, AgentRequest, Decision, Dialog,
        HookReport, InputMode, Introspection, LaunchPlan, LaunchRequest, PlannedFile,
        PromptDelivery, Signal,
    },
    plugin::{self, Registration},
    process::ProcessId,
    runtime::{Key, Screen},
    text,
};
use async_trait::async_trait;
use regex::RegexSet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The plugin's name in the config.
pub const NAME: &str = "custom";

/// What may stand in braces in `agentConfig.command` and `agentConfig.resume`.
const PLACEHOLDERS: &[&str] =
    &["prompt", "prompt_file", "rules_file", "session", "workspace", "agent_dir", "model"];

/// The longest prompt that goes in as an argument, in bytes. Linux allows 128 KiB for one argument.
const LONGEST_ARGUMENT: usize = 100 * 1024;

/// The longest part of a line that an expression looks at, in bytes.
const LONGEST_LINE: usize = 2048;

/// How the core finds this plugin.
pub fn registration() -> Registration<dyn Agent> {
    Registration {
        name: NAME,
        about: "Drives any command as an agent",
        schema: || schemars::schema_for!(Settings),
        check: |value| plugin::settings::<Settings>(NAME, value).map(|_| ()),
        build: |value, _| {
            let Settings {} = plugin::settings(NAME, value)?;
            Ok(Arc::new(Custom::default()))
        },
    }
}

/// The settings of the plugin: none. The command and all about it is a project's `agentConfig`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {}

/// The agent.
#[derive(Debug, Default)]
pub struct Custom {
    /// Expressions that were compiled already, by their texts.
    compiled: Mutex<BTreeMap<Vec<String>, RegexSet>>,
}

#[async_trait]
impl Agent for Custom {
    fn capabilities(&self, config: &AgentConfig) -> AgentCapabilities {
        AgentCapabilities {
            answerable: vec![],
            takes_messages: vec![],
            resume: config.resume.is_some(),
            input: config.input.unwrap_or(InputMode::Paste),
            screen: false,
            free_answers: true,
        }
    }

    fn env_names(&self) -> Vec<String> {
        vec![]
    }

    fn plan_launch(&self, request: &LaunchRequest) -> Result<LaunchPlan, PluginError> {
        RegexSet::new(&request.config.suspect).map_err(|error| {
            PluginError::permanent(
                "`agentConfig.suspect` holds what is no regular expression",
                error,
            )
        })?;
        plan(request)
    }

    fn reduce_hook(&self, event: &str, _payload: &[u8]) -> Result<HookReport, PluginError> {
        Err(PluginError::unsupported(format!(
            "the agent `{NAME}` has no hook `{}`",
            text::one_line(event)
        ))
        .with_remedy("report with `ao report`"))
    }

    fn hook_reply(
        &self,
        event: &str,
        _payload: &[u8],
        _decision: &Decision,
    ) -> Result<String, PluginError> {
        Err(PluginError::unsupported(format!(
            "the agent `{NAME}` has no hook `{}`",
            text::one_line(event)
        ))
        .with_remedy("ask with `ao report question --wait`"))
    }

    fn message_reply(&self, _event: &str, _payload: &[u8], _text: &str) -> Option<String> {
        None
    }

    fn introspect(&self, bytes: &[u8], _carry: &str) -> Introspection {
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        Introspection { consumed: whole as u64, ..Introspection::default() }
    }

    fn status_file(&self, _request: &LaunchRequest, _process: ProcessId) -> Option<PathBuf> {
        None
    }

    fn read_status(&self, _bytes: &[u8]) -> Option<Signal> {
        None
    }

    fn match_dialog(&self, _screen: &Screen) -> Dialog {
        Dialog::Unknown
    }

    fn suspect(&self, config: &AgentConfig, screen: &Screen) -> Option<String> {
        if config.suspect.is_empty() {
            return None;
        }
        let expressions = self.compiled(&config.suspect)?;
        // The newest line that matches is the one that a human wants to read.
        screen.lines.iter().rev().find_map(|line| {
            let line = text::one_line(&line[..line.floor_char_boundary(LONGEST_LINE)]);
            expressions.is_match(&line).then(|| text::cut(&line, 200))
        })
    }

    fn answer_keys(
        &self,
        _request: &AgentRequest,
        _decision: &Decision,
        _screen: &Screen,
    ) -> Option<Vec<Key>> {
        None
    }

    async fn check(
        &self,
        _call: &Call,
        _env: &BTreeMap<String, String>,
        _repo: Option<&Path>,
    ) -> Result<AgentCheck, PluginError> {
        // Which program it is differs by project, and a command may be a wrapper of anything.
        Err(PluginError::unsupported(format!("the agent `{NAME}` cannot be looked for"))
            .with_remedy("run the program of `agentConfig.command` once by hand"))
    }
}

impl Custom {
    /// None for what is no regular expression; such a session was refused at its launch.
    fn compiled(&self, expressions: &[String]) -> Option<RegexSet> {
        let mut known = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(set) = known.get(expressions) {
            return Some(set.clone());
        }
        let set = RegexSet::new(expressions).ok()?;
        // Configurations change: what is no longer asked for must not pile up.
        if known.len() >= 64 {
            known.clear();
        }
        known.insert(expressions.to_vec(), set.clone());
        Some(set)
    }
}

fn plan(request: &LaunchRequest) -> Result<LaunchPlan, PluginError> {
    let config = &request.config;
    let resumed = config.resume.as_deref().filter(|_| request.resume.is_some());
    let command = resumed.unwrap_or(&config.command);
    let key = if resumed.is_some() { "agentConfig.resume" } else { "agentConfig.command" };
    if command.first().is_none_or(|program| program.trim().is_empty()) {
        return Err(PluginError::permanent(format!("`{key}` names no program"), "").with_remedy(
            format!("set it to the command of the agent, e.g. `{key}: [my-agent, \"{{prompt}}\"]`"),
        ));
    }
    let prompt_file = request.agent_dir.join("prompt.md");
    let rules_file = request.agent_dir.join("rules.md");
    let prompt = request.prompt.as_deref().unwrap_or_default();
    let value = |name: &str| match name {
        "prompt" => prompt.replace('\0', ""),
        "prompt_file" => prompt_file.to_string_lossy().into_owned(),
        "rules_file" => rules_file.to_string_lossy().into_owned(),
        "session" => request.session.to_string(),
        "workspace" => request.cwd.to_string_lossy().into_owned(),
        "agent_dir" => request.agent_dir.to_string_lossy().into_owned(),
        _ => config.model.clone().unwrap_or_default(),
    };
    let mut used = Vec::new();
    let mut argv = Vec::with_capacity(command.len() + config.args.len());
    for word in command {
        argv.push(filled(word, key, &value, &mut used)?);
    }
    argv.extend(config.args.iter().cloned());
    if used.contains(&"prompt") && prompt.len() > LONGEST_ARGUMENT {
        return Err(PluginError::permanent(
            format!("the prompt of {} bytes is too long for an argument", prompt.len()),
            format!("`{key}` holds `{{prompt}}`"),
        )
        .with_remedy("use `{prompt_file}`"));
    }
    let takes_prompt = used.contains(&"prompt") || used.contains(&"prompt_file");
    let delivery = delivery(request, takes_prompt).ok_or_else(|| {
        PluginError::permanent(
            "the first prompt cannot reach the agent",
            "`agentConfig.input` is `none`",
        )
        .with_remedy(format!("put `{{prompt}}` or `{{prompt_file}}` into `{key}`"))
    })?;
    let file = |path: PathBuf, content: &str| PlannedFile {
        path,
        content: content.to_owned(),
        guarded: true,
    };
    Ok(LaunchPlan {
        argv,
        env: BTreeMap::from([
            ("AO_PROMPT_FILE".into(), prompt_file.to_string_lossy().into_owned()),
            ("AO_RULES_FILE".into(), rules_file.to_string_lossy().into_owned()),
        ]),
        files: vec![file(prompt_file, prompt), file(rules_file, &request.rules)],
        prompt: delivery,
        // Nothing but the name of the session can lead back to its conversation.
        native_id: config.resume.is_some().then(|| request.session.to_string()),
        transcript: None,
        signals: false,
        resumes: resumed.is_some(),
    })
}

/// How the first prompt goes in; none when it cannot.
fn delivery(request: &LaunchRequest, takes_prompt: bool) -> Option<PromptDelivery> {
    let by_runtime = if request.screen { InputMode::Paste } else { InputMode::Stdin };
    Some(match request.config.input.unwrap_or(by_runtime) {
        _ if takes_prompt || request.prompt.is_none() => PromptDelivery::Argument,
        InputMode::Stdin if !request.screen => PromptDelivery::Stdin,
        InputMode::Stdin | InputMode::Paste => PromptDelivery::Typed,
        InputMode::None => return None,
    })
}

/// One word of the command with its placeholders filled in. A word stays one argument, whatever it holds.
/// `{{name}}` stands for `{name}` itself; braces around anything but a name mean nothing.
fn filled(
    word: &str,
    key: &str,
    value: &impl Fn(&str) -> String,
    used: &mut Vec<&'static str>,
) -> Result<String, PluginError> {
    let mut out = String::new();
    let mut rest = word;
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        let (doubled, tail) = match rest[at + 1..].strip_prefix('{') {
            Some(tail) => (true, tail),
            None => (false, &rest[at + 1..]),
        };
        let close = if doubled { "}}" } else { "}" };
        let name = tail.split_once(close).filter(|(name, _)| is_name(name));
        let Some((name, after)) = name else {
            out.push('{');
            rest = &rest[at + 1..];
            continue;
        };
        match PLACEHOLDERS.iter().find(|known| **known == name) {
            _ if doubled => out.push_str(&format!("{{{name}}}")),
            Some(known) => {
                used.push(known);
                out.push_str(&value(name));
            }
            None => {
                return Err(PluginError::permanent(
                    format!("`{key}` holds the unknown placeholder `{{{name}}}`"),
                    format!("known: {}", PLACEHOLDERS.join(", ")),
                )
                .with_remedy(format!("write `{{{{{name}}}}}` for the text itself")));
            }
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

#[cfg(test)]
mod tests {
    use ao_conformance::agent::{self as contract, Fixture};
    use ao_slots::Launch;

    use super::*;

    fn request(command: &[&str]) -> LaunchRequest {
        LaunchRequest {
            session: "app-3".parse().unwrap(),
            launch: Launch(1),
            cwd: "/wt/app-3".into(),
            agent_dir: "/data/agents/app-3".into(),
            ao: "/data/run/ao".into(),
            home: "/home/ana".into(),
            prompt: Some("fix $(the) `login`; \"now\"\n- today".into()),
            rules: "be short".into(),
            config: AgentConfig {
                command: command.iter().map(|word| (*word).to_owned()).collect(),
                ..AgentConfig::default()
            },
            resume: None,
            ask_for_s: 60,
            screen: true,
            env: BTreeMap::new(),
        }
    }

    fn planned(request: &LaunchRequest) -> LaunchPlan {
        Custom::default().plan_launch(request).unwrap()
    }

    #[test]
    fn s13_a_word_of_the_command_stays_one_argument() {
        let mut request = request(&[
            "my-agent",
            "--do={prompt}",
            "{session}@{workspace}",
            "{prompt_file}",
            "{rules_file}",
            "{model}",
            "{agent_dir}",
        ]);
        request.config.args = vec!["{prompt}".into()];
        let plan = planned(&request);
        assert_eq!(
            plan.argv,
            [
                "my-agent",
                "--do=fix $(the) `login`; \"now\"\n- today",
                "app-3@/wt/app-3",
                "/data/agents/app-3/prompt.md",
                "/data/agents/app-3/rules.md",
                "",
                "/data/agents/app-3",
                "{prompt}",
            ]
        );
        assert_eq!(plan.prompt, PromptDelivery::Argument);
        assert_eq!(plan.files[0].content, request.prompt.unwrap());
        assert_eq!(plan.files[1].content, "be short");
        assert_eq!(plan.env["AO_RULES_FILE"], "/data/agents/app-3/rules.md");
    }

    #[test]
    fn braces_that_are_no_placeholder_are_kept() {
        for (word, expected) in [
            ("{\"a\": {}}", "{\"a\": {}}"),
            ("${HOME}", "${HOME}"),
            ("{{session}}", "{session}"),
            ("{{unknown}} {session}", "{unknown} app-3"),
            ("{", "{"),
            ("a{b", "a{b"),
            ("{session}{session}", "app-3app-3"),
            ("{{", "{{"),
        ] {
            assert_eq!(planned(&request(&["x", word])).argv[1], expected, "{word}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused_with_a_remedy() {
        let no_input = |command: &[&str]| {
            let mut request = request(command);
            request.config.input = Some(InputMode::None);
            request
        };
        let mut long = request(&["x", "{prompt}"]);
        long.prompt = Some("word ".repeat(40_000));
        for (request, says) in [
            (request(&[]), "names no program"),
            (request(&[" "]), "names no program"),
            (request(&["x", "{promt}"]), "unknown placeholder `{promt}`"),
            (no_input(&["x"]), "cannot reach the agent"),
            (long, "too long for an argument"),
        ] {
            let error = Custom::default().plan_launch(&request).unwrap_err();
            assert!(error.what.contains(says) && error.remedy.is_some(), "{error}");
        }
        let mut request = request(&["x"]);
        request.config.suspect = vec!["(".into()];
        assert!(Custom::default().plan_launch(&request).unwrap_err().what.contains("suspect"));
    }

    #[test]
    fn the_prompt_goes_in_as_the_agent_takes_text() {
        use InputMode::{None as Nothing, Paste, Stdin};
        use PromptDelivery as By;
        for (command, input, screen, delivery) in [
            ("x {prompt}", None, true, By::Argument),
            ("x {prompt_file}", Some(Nothing), true, By::Argument),
            ("x {prompt_file}", None, false, By::Argument),
            ("x", None, true, By::Typed),
            ("x", None, false, By::Stdin),
            ("x", Some(Stdin), false, By::Stdin),
            ("x", Some(Stdin), true, By::Typed),
            ("x", Some(Paste), true, By::Typed),
        ] {
            let mut request = request(&command.split(' ').collect::<Vec<_>>());
            (request.config.input, request.screen) = (input, screen);
            assert_eq!(planned(&request).prompt, delivery, "{command} {input:?} {screen}");
        }
    }

    #[test]
    fn a_resume_has_its_own_command() {
        let mut request = request(&["x", "{prompt}"]);
        assert_eq!((planned(&request).native_id, planned(&request).resumes), (None, false));
        request.config.resume = Some(vec!["x".into(), "--continue".into(), "{session}".into()]);
        assert_eq!(planned(&request).native_id.as_deref(), Some("app-3"));
        request.resume = Some("app-3".into());
        request.prompt = None;
        let plan = planned(&request);
        assert_eq!((plan.argv.join(" ").as_str(), plan.resumes), ("x --continue app-3", true));
        assert!(Custom::default().capabilities(&request.config).resume);
    }

    #[test]
    fn the_screen_only_raises_a_suspicion() {
        let agent = Custom::default();
        let config = AgentConfig {
            suspect: vec![r"\(y/n\)\s*$".into(), "(?i)password:".into()],
            ..AgentConfig::default()
        };
        let screen = |lines: &[&str]| Screen {
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
            ..Screen::default()
        };
        for (lines, found) in [
            (&["Delete it? (y/n)", "working"][..], Some("Delete it? (y/n)")),
            (&["Old? (y/n)", "New? (y/n) "], Some("New? (y/n)")),
            (&["\u{1b}[31mPassword:\u{1b}[0m"], Some("Password:")),
            (&["all is well"], None),
            (&[], None),
        ] {
            let screen = screen(lines);
            assert_eq!(agent.suspect(&config, &screen).as_deref(), found);
            assert_eq!(agent.suspect(&AgentConfig::default(), &screen), None);
            assert_eq!(agent.match_dialog(&screen), Dialog::Unknown);
        }
        let wrong = AgentConfig { suspect: vec!["(".into()], ..AgentConfig::default() };
        assert_eq!(agent.suspect(&wrong, &screen(&["("])), None);
    }

    #[test]
    fn settings_are_checked() {
        let registration = registration();
        assert!((registration.check)(&serde_json::Value::Null).is_ok());
        assert!((registration.check)(&serde_json::json!({ "command": [] })).is_err());
    }

    #[tokio::test]
    async fn it_keeps_the_contract() {
        contract::all(
            std::sync::Arc::new(Custom::default()),
            &Fixture::plain(request(&["my-agent", "{prompt}"])),
        )
        .await;
    }
}
