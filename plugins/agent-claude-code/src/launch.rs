//! How Claude Code is started: arguments, settings file, and where it will keep its transcript.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use ao_slots::{
    PluginError,
    agent::{LaunchPlan, LaunchRequest, Permissions, PlannedFile, PromptDelivery},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{NAME, hook};

/// Variables that say which account, provider and folder Claude Code uses.
pub(crate) const ENV_NAMES: &[&str] = &[
    "CLAUDE_CONFIG_DIR",
    "ANTHROPIC_*",
    "CLAUDE_CODE_*",
    "IS_SANDBOX",
    "DISABLE_AUTOUPDATER",
    "DISABLE_TELEMETRY",
    "DISABLE_ERROR_REPORTING",
    "NODE_EXTRA_CA_CERTS",
    "AWS_*",
    "GOOGLE_*",
    "CLOUD_ML_REGION",
    "VERTEX_*",
    "AZURE_*",
];

/// How long a hook may take that only reports, in seconds.
const REPORT_S: u64 = 10;

/// The longest prompt that goes in as an argument, in bytes. Linux allows 128 KiB for one argument.
const LONGEST_ARGUMENT: usize = 100 * 1024;

/// Arguments that would take away what `ao` relies on.
const OURS: &[&str] = &[
    "--settings",
    "--session-id",
    "--resume",
    "-r",
    "--continue",
    "-c",
    "--fork-session",
    "--print",
    "-p",
    "--bare",
    "--permission-mode",
    "--dangerously-skip-permissions",
    "--",
];

/// Put before a message that would else be read as a command.
const LEAD_IN: &str = "Message: ";

pub(crate) fn plan(request: &LaunchRequest) -> Result<LaunchPlan, PluginError> {
    if !request.screen {
        return Err(PluginError::permanent(
            format!("{NAME} cannot run without a screen"),
            "the runtime of this project has none",
        )
        .with_remedy("set `runtime: tmux`"));
    }
    let taken =
        |arg: &&String| OURS.contains(&arg.split_once('=').map_or(arg.as_str(), |(name, _)| name));
    if let Some(arg) = request.config.args.iter().find(taken) {
        return Err(PluginError::permanent(
            format!("`{arg}` cannot stand in `agentConfig.args`"),
            "ao sets it itself",
        )
        .with_remedy("remove it; `agentConfig.permissions` chooses the permission mode"));
    }

    let settings = request.agent_dir.join("settings.json");
    let mut argv = Vec::from(words(["claude", "--settings", &settings.to_string_lossy()]));
    argv.extend(words(["--permission-mode", mode(request.config.permissions)]));
    let mut files = vec![PlannedFile {
        path: settings,
        content: hook_settings(&request.ao, request.ask_for_s),
        guarded: true,
    }];
    if let Some(model) = &request.config.model {
        argv.extend(words(["--model", model]));
    }
    if !request.rules.trim().is_empty() {
        let rules = request.agent_dir.join("rules.md");
        argv.extend(words(["--append-system-prompt-file", &rules.to_string_lossy()]));
        files.push(PlannedFile { path: rules, content: request.rules.clone(), guarded: true });
    }
    let native_id = request.resume.clone().unwrap_or_else(|| conversation_id(request));
    let option = if request.resume.is_some() { "--resume" } else { "--session-id" };
    argv.extend(words([option, &native_id]));
    argv.extend(request.config.args.iter().cloned());

    // As an argument the prompt cannot fall into a dialog of the first start. It shows in the process list,
    // where the files that it names do too.
    let prompt = request.prompt.as_deref().map(as_message);
    let delivery = match prompt {
        Some(prompt) if prompt.len() <= LONGEST_ARGUMENT => {
            argv.extend(["--".to_owned(), prompt]);
            PromptDelivery::Argument
        }
        Some(_) => PromptDelivery::Typed,
        None => PromptDelivery::Argument,
    };
    let transcript = project_folder(&request.cwd).map(|folder| {
        config_dir(&request.env, &request.home)
            .join("projects")
            .join(folder)
            .join(format!("{native_id}.jsonl"))
    });
    Ok(LaunchPlan {
        argv,
        // Greyed-out suggestions in an empty input line cannot be told from a human's draft.
        env: BTreeMap::from([("CLAUDE_CODE_ENABLE_PROMPT_SUGGESTION".into(), "false".into())]),
        files,
        prompt: delivery,
        native_id: Some(native_id),
        transcript,
        signals: true,
        resumes: request.resume.is_some(),
    })
}

fn words<const N: usize>(words: [&str; N]) -> [String; N] {
    words.map(str::to_owned)
}

/// Always passed: without it an interactive session starts in a mode of the program's own choice.
fn mode(permissions: Permissions) -> &'static str {
    match permissions {
        Permissions::Skip => "bypassPermissions",
        Permissions::AcceptEdits => "acceptEdits",
        Permissions::Ask => "default",
        Permissions::Plan => "plan",
    }
}

/// The settings file: one hook an event, as program and arguments, so that no shell reads a path.
fn hook_settings(ao: &Path, ask_for_s: u64) -> String {
    let hook = |event: &str| {
        let timeout = if event == hook::PERMISSION_REQUEST { ask_for_s } else { REPORT_S };
        json!([{ "hooks": [{
            "type": "command",
            "command": ao.to_string_lossy(),
            "args": ["hook", NAME, event],
            "timeout": timeout,
        }] }])
    };
    let hooks: serde_json::Map<String, Value> =
        hook::EVENTS.iter().map(|event| ((*event).to_owned(), hook(event))).collect();
    format!("{:#}\n", json!({ "hooks": hooks }))
}

/// A UUID of version 8 (RFC 9562): the same launch gives the same id, another launch another one. Claude Code
/// refuses an id that it has already used.
fn conversation_id(request: &LaunchRequest) -> String {
    let mut hash = Sha256::new();
    let folder = request.agent_dir.to_string_lossy();
    for part in [request.session.as_str(), &request.launch.to_string(), &folder] {
        hash.update(part);
        hash.update([0]);
    }
    let mut bytes: [u8; 16] = std::array::from_fn({
        let digest = hash.finalize();
        move |at| digest[at]
    });
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// Where Claude Code keeps its files.
pub(crate) fn config_dir(env: &BTreeMap<String, String>, home: &Path) -> PathBuf {
    match env.get("CLAUDE_CONFIG_DIR").filter(|folder| !folder.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => home.join(".claude"),
    }
}

/// The name of a working directory's folder under `projects`: each UTF-16 unit outside `[A-Za-z0-9]` becomes
/// `-`. None for a name of more than 200, which gets a hash at its end.
fn project_folder(cwd: &Path) -> Option<String> {
    let keep = |unit: u16| {
        char::from_u32(u32::from(unit)).filter(char::is_ascii_alphanumeric).unwrap_or('-')
    };
    let name: String = cwd.to_str()?.encode_utf16().map(keep).collect();
    (name.len() <= 200).then_some(name)
}

/// A message that begins with `/` would run a command of Claude Code, one with `!` a shell command without any
/// permission, also when it is pasted. A few words before it make it a message.
pub(crate) fn as_message(text: &str) -> String {
    let text = text.replace('\0', "");
    if text.trim_start().starts_with(['/', '!']) {
        format!("{LEAD_IN}{}", text.trim_start())
    } else {
        text
    }
}

/// The text that was handed over, from what Claude Code says was submitted: without the lead-in, and without
/// the tags that it puts around a long text that was pasted.
pub(crate) fn submitted(text: &str) -> String {
    let text = unpasted(text).unwrap_or(text);
    match text.strip_prefix(LEAD_IN) {
        Some(rest) if rest.starts_with(['/', '!']) => rest.to_owned(),
        _ => text.to_owned(),
    }
}

/// What stands between `<pasted_content id="…">` and its end tag, when that is all there is.
fn unpasted(text: &str) -> Option<&str> {
    let rest = text.trim().strip_prefix("<pasted_content id=\"")?;
    let (id, rest) = rest.split_once("\">\n")?;
    rest.strip_suffix(&format!("\n</pasted_content id=\"{id}\">"))
}

#[cfg(test)]
mod tests {
    use ao_slots::agent::AgentConfig;

    use super::*;
    use crate::replay::launch_request as request;

    fn argv(request: &LaunchRequest) -> String {
        plan(request).unwrap().argv.join(" ")
    }

    #[test]
    fn the_permission_mode_is_always_explicit() {
        for (permissions, flag) in [
            (Permissions::Skip, "--permission-mode bypassPermissions"),
            (Permissions::AcceptEdits, "--permission-mode acceptEdits"),
            (Permissions::Ask, "--permission-mode default"),
            (Permissions::Plan, "--permission-mode plan"),
        ] {
            let mut request = request();
            request.config.permissions = permissions;
            assert!(argv(&request).contains(flag), "{permissions:?}");
        }
    }

    #[test]
    fn a_new_launch_fixes_its_conversation_and_a_restart_goes_on_with_it() {
        let first = plan(&request()).unwrap();
        assert_eq!(
            first.argv.join(" "),
            format!(
                "claude --settings /home/ana/.agent-orchestrator/agents/app-3/settings.json \
                 --permission-mode bypassPermissions --session-id {} -- fix the login",
                first.native_id.as_deref().unwrap()
            )
        );
        assert_eq!(
            first.transcript.unwrap(),
            Path::new("/home/ana/.claude/projects/-home-ana--worktrees-app-app-3")
                .join(format!("{}.jsonl", first.native_id.as_deref().unwrap()))
        );
        assert!(!first.resumes);
        let mut again = request();
        again.launch = ao_slots::Launch(2);
        assert_ne!(plan(&again).unwrap().native_id, first.native_id, "an id is used once");

        again.resume = first.native_id.clone();
        again.prompt = None;
        let again = plan(&again).unwrap();
        assert!(again.argv.ends_with(&["--resume".into(), first.native_id.clone().unwrap()]));
        assert_eq!((again.native_id, again.resumes), (first.native_id, true));
    }

    #[test]
    fn s13_a_prompt_is_never_an_option_or_a_command() {
        for (prompt, given) in [
            ("-v is broken", "-v is broken"),
            ("--help me", "--help me"),
            ("/exit now", "Message: /exit now"),
            ("\n /exit", "Message: /exit"),
            ("!touch canary", "Message: !touch canary"),
            ("#42 is `$(open)`\n\nsecond", "#42 is `$(open)`\n\nsecond"),
            ("see /etc/hosts", "see /etc/hosts"),
        ] {
            let mut request = request();
            request.prompt = Some(prompt.into());
            let plan = plan(&request).unwrap();
            assert_eq!(plan.argv[plan.argv.len() - 2..], ["--".to_owned(), given.to_owned()]);
            assert_eq!(submitted(given).trim(), prompt.trim(), "it is told as it was");
        }
    }

    #[test]
    fn a_prompt_too_long_for_an_argument_is_typed() {
        let mut request = request();
        request.prompt = Some("word ".repeat(30_000));
        let plan = plan(&request).unwrap();
        assert_eq!(plan.prompt, PromptDelivery::Typed);
        assert!(plan.argv.iter().all(|arg| arg.len() < 1_000));
    }

    #[test]
    fn a_long_paste_is_told_without_its_tags() {
        for (told, text) in [
            ("\n\n<pasted_content id=\"2868\">\na\nb\n</pasted_content id=\"2868\">\n", "a\nb"),
            ("<pasted_content id=\"1\">\na\n</pasted_content id=\"2\">", ""),
            ("see <pasted_content id=\"1\">\na\n</pasted_content id=\"1\">", ""),
            ("plain", "plain"),
        ] {
            assert_eq!(submitted(told), if text.is_empty() { told } else { text });
        }
    }

    #[test]
    fn model_rules_and_further_arguments_have_their_place() {
        let mut request = request();
        request.config = AgentConfig {
            model: Some("sonnet".into()),
            args: vec!["--add-dir".into(), "/repo/docs".into()],
            ..AgentConfig::default()
        };
        request.rules = "- be short\n".into();
        let plan = plan(&request).unwrap();
        let argv = plan.argv.join(" ");
        assert!(argv.contains("--model sonnet --append-system-prompt-file /home/ana/.agent-orchestrator/agents/app-3/rules.md --session-id"));
        assert!(argv.ends_with("--add-dir /repo/docs -- fix the login"));
        assert_eq!(plan.files[1].content, "- be short\n");
        assert!(
            plan.files.iter().all(|file| file.guarded && file.path.starts_with(&request.agent_dir))
        );
    }

    #[test]
    fn s24_arguments_that_would_take_the_hooks_away_are_refused() {
        for arg in ["--settings", "--settings=/x.json", "--bare", "-p", "--resume", "--"] {
            let mut request = request();
            request.config.args = vec!["--verbose".into(), arg.into()];
            let error = plan(&request).unwrap_err();
            assert!(error.what.contains(arg) && error.remedy.is_some(), "{arg}");
        }
    }

    #[test]
    fn without_a_screen_it_says_so() {
        let mut request = request();
        request.screen = false;
        assert_eq!(plan(&request).unwrap_err().remedy.as_deref(), Some("set `runtime: tmux`"));
    }

    #[test]
    fn every_hook_runs_the_link_without_a_shell() {
        let plan = plan(&request()).unwrap();
        let settings: Value = serde_json::from_str(&plan.files[0].content).unwrap();
        for event in hook::EVENTS {
            let hook = &settings["hooks"][event][0]["hooks"][0];
            assert_eq!(hook["command"], "/home/ana/.agent-orchestrator/run/ao");
            assert_eq!(hook["args"], json!(["hook", "claude-code", event]));
            let waits = *event == "PermissionRequest";
            assert_eq!(hook["timeout"], if waits { 86_400 } else { 10 }, "{event}");
        }
    }

    #[test]
    fn folder_names_follow_what_was_observed() {
        let long = format!("/home/ana/{}", "long-folder/".repeat(20));
        for (cwd, name) in [
            ("/home/ana/.worktrees/app/app-1", Some("-home-ana--worktrees-app-app-1")),
            ("/home/ana/wt/é x_y.z", Some("-home-ana-wt---x-y-z")),
            (long.as_str(), None),
        ] {
            assert_eq!(project_folder(Path::new(cwd)).as_deref(), name);
        }
    }

    #[test]
    fn the_folder_of_the_client_counts() {
        let mut request = request();
        request.env = BTreeMap::from([("CLAUDE_CONFIG_DIR".into(), "/home/ana/cc".into())]);
        assert!(plan(&request).unwrap().transcript.unwrap().starts_with("/home/ana/cc/projects"));
    }
}
