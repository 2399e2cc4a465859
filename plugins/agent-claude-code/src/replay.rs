//! Replays everything that was captured from the real program, and holds the plugin to its slot's contract.

use std::{fmt::Write, fs, path::PathBuf, sync::Arc};

use ao_slots::{
    Launch,
    agent::{AgentConfig, Decision, Dialog, LaunchRequest},
    runtime::Screen,
};
use serde_json::Value;

use crate::{ClaudeCode, hook, read_status, screen, transcript};

fn corpus(folder: &str) -> Vec<(String, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus/2.1.329").join(folder);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            (
                path.file_stem().unwrap().to_string_lossy().into_owned(),
                fs::read_to_string(&path).unwrap(),
            )
        })
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// A captured screen: `cursor <column> <row>`, then its lines.
pub(crate) fn screen(name: &str) -> Screen {
    screens().into_iter().find(|(known, _)| known == name).unwrap().1
}

pub(crate) fn screens() -> Vec<(String, Screen)> {
    let read = |text: &str| {
        let (cursor, lines) = text.split_once('\n').unwrap();
        let (x, y) = cursor.strip_prefix("cursor ").unwrap().split_once(' ').unwrap();
        Screen {
            lines: lines.lines().map(|line| line.trim_end().to_owned()).collect(),
            cursor_x: Some(x.parse().unwrap()),
            cursor_y: Some(y.parse().unwrap()),
        }
    };
    corpus("screens").into_iter().map(|(name, text)| (name, read(&text))).collect()
}

pub(crate) fn launch_request() -> LaunchRequest {
    LaunchRequest {
        session: "app-3".parse().unwrap(),
        launch: Launch(1),
        cwd: "/home/ana/.worktrees/app/app-3".into(),
        agent_dir: "/home/ana/.agent-orchestrator/agents/app-3".into(),
        ao: "/home/ana/.agent-orchestrator/run/ao".into(),
        home: "/home/ana".into(),
        prompt: Some("fix the login".into()),
        rules: String::new(),
        config: AgentConfig::default(),
        resume: None,
        ask_for_s: 86_400,
        screen: true,
        env: std::collections::BTreeMap::new(),
    }
}

#[test]
fn every_captured_hook_says_what_it_said() {
    let mut out = String::new();
    for (name, lines) in corpus("hooks") {
        writeln!(out, "# {name}").unwrap();
        for line in lines.lines() {
            let captured: Value = serde_json::from_str(line).unwrap();
            let event = captured["event"].as_str().unwrap();
            let signals = hook::reduce(event, captured["payload"].to_string().as_bytes()).unwrap();
            writeln!(out, "{event}").unwrap();
            for signal in signals {
                writeln!(out, "    {}", serde_json::to_string(&signal).unwrap()).unwrap();
            }
        }
    }
    insta::assert_snapshot!("hooks", out);
}

#[test]
fn every_captured_transcript_says_what_it_said() {
    let mut out = String::new();
    for (name, text) in corpus("transcript") {
        let read = transcript::introspect(text.as_bytes(), "");
        writeln!(out, "# {name}: {} of {} bytes", read.consumed, text.len()).unwrap();
        for text in &read.user_texts {
            let shown: String = text.chars().take(80).collect();
            writeln!(out, "    text {shown:?}").unwrap();
        }
        for signal in &read.signals {
            writeln!(out, "    {}", serde_json::to_string(signal).unwrap()).unwrap();
        }
    }
    insta::assert_snapshot!("transcripts", out);
}

/// What the first `Stop` of the captured talk was answered with is found in its transcript, word for word; the
/// second, of the prolonged turn, takes none.
#[test]
fn what_a_stop_hook_was_answered_with_is_found_in_the_transcript() {
    let of =
        |folder| corpus(folder).into_iter().find(|(name, _)| name == "stop-handover").unwrap().1;
    let lines = of("hooks");
    let stops = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let stops = stops.filter(|captured| captured["event"] == hook::STOP);
    let text = "please also do\nand a second line \"q\"";
    let replies: Vec<_> = stops
        .map(|stop| hook::message_reply(hook::STOP, stop["payload"].to_string().as_bytes(), text))
        .collect();
    let [Some(reply), None] = replies.as_slice() else { panic!("{replies:?}") };
    let reply: Value = serde_json::from_str(reply).unwrap();
    assert_eq!(reply, serde_json::json!({ "decision": "block", "reason": text }));
    let read = transcript::introspect(of("transcript").as_bytes(), "");
    assert!(read.user_texts.iter().any(|seen| seen == text), "{:?}", read.user_texts);
}

#[test]
fn a_transcript_read_in_pieces_tells_the_same_texts() {
    for (name, text) in corpus("transcript") {
        let whole = transcript::introspect(text.as_bytes(), "");
        let (mut at, mut end, mut texts) = (0_usize, 0_usize, Vec::new());
        while at < text.len() {
            end = (end + 997).min(text.len());
            let piece = transcript::introspect(&text.as_bytes()[at..end], "");
            at += piece.consumed as usize;
            texts.extend(piece.user_texts);
        }
        assert_eq!(texts, whole.user_texts, "{name}");
    }
}

#[test]
fn every_captured_status_says_what_it_said() {
    let mut out = String::new();
    for (name, text) in corpus("status") {
        writeln!(out, "{name}: {}", serde_json::to_string(&read_status(text.as_bytes())).unwrap())
            .unwrap();
    }
    assert_eq!(read_status(b"{"), None);
    assert_eq!(read_status(br#"{"status":"something new"}"#), None);
    insta::assert_snapshot!("status", out);
}

#[test]
fn every_captured_screen_shows_what_it_showed() {
    let mut out = String::new();
    for (name, screen) in screens() {
        writeln!(out, "{name}: {}", serde_json::to_string(&screen::match_dialog(&screen)).unwrap())
            .unwrap();
    }
    insta::assert_snapshot!("screens", out);
}

/// The names say what each screen is: no snapshot may drift from it.
#[test]
fn s14_no_captured_screen_invites_typing_that_should_not() {
    for (name, screen) in screens() {
        let dialog = screen::match_dialog(&screen);
        let may_type = matches!(&dialog, Dialog::Prompt { draft, busy: false } if draft.is_empty());
        let kind = name.split('-').next().unwrap();
        let fits = match kind {
            "prompt" | "idle" | "after" => may_type,
            "busy" => matches!(&dialog, Dialog::Prompt { busy: true, .. }),
            "draft" => !may_type,
            "permission" | "question" | "setup" | "dialog" | "ended" => {
                !matches!(dialog, Dialog::Prompt { .. })
            }
            "narrow" | "wide" => {
                name.ends_with("permission") == matches!(dialog, Dialog::Permission { .. })
            }
            _ => false,
        };
        assert!(fits, "{name}: {dialog:?}");
        // A cursor that stands elsewhere proves nothing.
        let lost = Screen { cursor_y: None, ..screen };
        assert_eq!(screen::match_dialog(&lost), Dialog::Unknown, "{name}");
    }
}

#[tokio::test]
async fn it_keeps_the_contract() {
    use ao_conformance::agent::{Fixture, Hook, all};
    let captured: Vec<Value> = corpus("hooks")
        .iter()
        .flat_map(|(_, lines)| {
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<_>>()
        })
        .collect();
    let hook = |captured: &Value| Hook {
        event: captured["event"].as_str().unwrap().into(),
        payload: captured["payload"].to_string().into_bytes(),
        subagent: !captured["payload"]["agent_id"].is_null(),
    };
    let asked = captured.iter().filter(|captured| captured["event"] == hook::PERMISSION_REQUEST);
    let decisions = asked.map(|captured| {
        let question = captured["payload"]["tool_name"] == "AskUserQuestion";
        let decision = if question {
            Decision::Answer { text: "own words".into() }
        } else {
            Decision::Approve
        };
        (
            hook::PERMISSION_REQUEST.to_owned(),
            captured["payload"].to_string().into_bytes(),
            decision,
        )
    });
    let home = tempfile::tempdir().unwrap();
    let fixture = Fixture {
        request: launch_request(),
        hooks: captured.iter().map(hook).collect(),
        decisions: decisions.collect(),
        transcript: corpus("transcript")
            .into_iter()
            .map(|(_, text)| text)
            .collect::<String>()
            .into_bytes(),
        screens: screens().into_iter().map(|(_, screen)| screen).collect(),
        program: Some("claude".into()),
    };
    all(Arc::new(ClaudeCode { home: home.path().to_owned() }), &fixture).await;
}
