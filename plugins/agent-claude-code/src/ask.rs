//! What Claude Code asks a human, and how the answer goes back through the waiting hook.

use ao_slots::{
    PluginError,
    agent::{AgentRequest, Ask, Decision},
    text,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    careful,
    hook::{self, Payload},
};

const QUESTION: &str = "AskUserQuestion";
const PLAN: &str = "ExitPlanMode";

/// The longest text of a request, in bytes.
const LONGEST: usize = 4096;

/// The choices of a finished plan.
const START: &str = "Yes, start working";
const KEEP_PLANNING: &str = "No, keep planning";

/// Tools that ask a question rather than for a permission.
pub(crate) fn is_question(tool: &str) -> bool {
    matches!(tool, QUESTION | PLAN)
}

/// The request that a `PermissionRequest`, or the `PreToolUse` of a question, tells of.
pub(crate) fn request(payload: &Payload) -> AgentRequest {
    AgentRequest {
        key: key(payload),
        turn: payload.prompt_id.clone(),
        tool: payload.tool().to_owned(),
        ask: match payload.tool() {
            QUESTION => question(&payload.tool_input),
            PLAN => plan(&payload.tool_input),
            tool => permission(payload, tool),
        },
        answerable: true,
    }
}

/// Turn, tool and digest of the input: the hook names no `tool_use_id`. Inside a subagent also which.
pub(crate) fn key(payload: &Payload) -> String {
    let turn = payload.prompt_id.as_deref().unwrap_or("-");
    let digest = input_digest(payload.tool(), &payload.tool_input);
    match &payload.agent_id {
        Some(agent) => format!("{turn}/{agent}/{}/{digest}", payload.tool()),
        None => format!("{turn}/{}/{digest}", payload.tool()),
    }
}

/// 16 hexadecimal digits over the input as canonical JSON. What answering adds to the input does not count.
fn input_digest(tool: &str, input: &Value) -> String {
    let mut canonical = String::new();
    match tool {
        QUESTION => write_canonical(&input["questions"], &mut canonical),
        PLAN => {}
        _ => write_canonical(input, &mut canonical),
    }
    Sha256::digest(canonical).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// JSON with the keys of each object in order.
fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(name, _)| name.as_str());
            out.push('{');
            for (name, value) in entries {
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                write_canonical(value, out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Array(values) => {
            out.push('[');
            for value in values {
                write_canonical(value, out);
                out.push(',');
            }
            out.push(']');
        }
        plain => out.push_str(&plain.to_string()),
    }
}

fn permission(payload: &Payload, tool: &str) -> Ask {
    let input = &payload.tool_input;
    let of = |name: &str| input[name].as_str();
    let (verb, subject) = match tool {
        "Bash" => ("run", of("command")),
        "Edit" | "Write" | "MultiEdit" => ("edit", of("file_path")),
        "NotebookEdit" => ("edit", of("notebook_path")),
        "Read" => ("open", of("file_path")),
        "Glob" | "Grep" | "LS" => ("open", of("path")),
        "WebFetch" => ("open", of("url")),
        "WebSearch" => ("open", of("query")),
        _ => ("use", None),
    };
    let verbatim = subject.map_or_else(|| described(tool, input), str::to_owned);
    let (subject, mut careful) =
        (shown(&verbatim), careful::careful(tool, input, payload.cwd.as_deref()));
    careful.extend(careful::of_text(&verbatim, &subject));
    Ask::Permission {
        verb: verb.into(),
        subject,
        place: None,
        reason: of("description").map(shown).filter(|reason| !reason.is_empty()),
        careful,
    }
}

/// A tool of which nothing is known, with all of its input.
fn described(tool: &str, input: &Value) -> String {
    if input.as_object().is_none_or(serde_json::Map::is_empty) {
        tool.to_owned()
    } else {
        format!("{tool} {input}")
    }
}

fn question(input: &Value) -> Ask {
    let questions = input["questions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let labels = |question: &Value| -> Vec<String> {
        let options = question["options"].as_array().into_iter().flatten();
        options.filter_map(|option| option["label"].as_str()).map(shown).collect()
    };
    let words = |question: &Value| question["question"].as_str().unwrap_or_default().to_owned();
    match questions {
        [one] => Ask::Question {
            text: shown(&words(one)),
            options: labels(one),
            many: one["multiSelect"].as_bool().unwrap_or(false),
        },
        // Several at once are answered in own words, a line each.
        several => {
            let lines = several.iter().enumerate().map(|(at, question)| {
                let labels = labels(question).join(", ");
                format!("{}. {} ({labels})", at + 1, words(question))
            });
            Ask::Question {
                text: shown(&lines.collect::<Vec<_>>().join("\n")),
                options: vec![],
                many: false,
            }
        }
    }
}

fn plan(input: &Value) -> Ask {
    let text = match input["plan"].as_str() {
        Some(plan) => format!("May it leave plan mode and start working?\n\n{plan}"),
        None => "May it leave plan mode and start working?".into(),
    };
    Ask::Question {
        text: shown(&text),
        options: vec![START.into(), KEEP_PLANNING.into()],
        many: false,
    }
}

/// What an MCP server asks. Its form can only be filled in on the screen.
pub(crate) fn elicitation(
    server: Option<&str>,
    id: Option<&str>,
    message: Option<&str>,
) -> AgentRequest {
    AgentRequest {
        key: elicitation_key(server, id),
        turn: None,
        tool: server.unwrap_or("MCP").to_owned(),
        ask: Ask::Question {
            text: shown(message.unwrap_or_default()),
            options: vec![],
            many: false,
        },
        answerable: false,
    }
}

pub(crate) fn elicitation_key(server: Option<&str>, id: Option<&str>) -> String {
    format!("elicitation/{}/{}", server.unwrap_or("-"), id.unwrap_or("-"))
}

/// Harmless text within the limit of a request.
fn shown(words: &str) -> String {
    at_most(&text::plain(words), LONGEST)
}

/// At most `limit` bytes, `…` included where something was cut.
pub(crate) fn at_most(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(limit - '…'.len_utf8())])
}

/// What the waiting hook prints. Each form was tried with 2.1.329; a plain `allow` is ignored for tools that
/// need a human, they want their input back.
pub(crate) fn reply(
    event: &str,
    payload: &[u8],
    decision: &Decision,
) -> Result<String, PluginError> {
    if event != hook::PERMISSION_REQUEST {
        return Err(PluginError::unsupported(format!(
            "the `{event}` hook of Claude Code takes no decision"
        )));
    }
    let payload = Payload::read(event, payload)?;
    let input = &payload.tool_input;
    let decision = match (payload.tool(), decision) {
        (_, Decision::Deny { reason }) => deny(reason.as_deref()),
        (QUESTION, Decision::Answer { text }) => allow_with(answered(input, text)),
        (PLAN, Decision::Approve) => allow_with(input.clone()),
        (PLAN, Decision::Answer { text }) => match text.trim() {
            START => allow_with(input.clone()),
            KEEP_PLANNING => deny(None),
            own_words => deny(Some(own_words)),
        },
        (QUESTION, Decision::Approve) => {
            return Err(refused(
                "a question wants an answer",
                "an approval says none of its choices",
            ));
        }
        (_, Decision::Approve) => json!({ "behavior": "allow" }),
        (tool, Decision::Answer { .. }) => {
            return Err(refused(
                "a permission is approved or denied",
                &format!("`{tool}` asks no question"),
            ));
        }
    };
    let specific = json!({ "hookEventName": hook::PERMISSION_REQUEST, "decision": decision });
    Ok(json!({ "hookSpecificOutput": specific }).to_string())
}

fn refused(what: &str, cause: &str) -> PluginError {
    PluginError::permanent(what, cause)
}

fn allow_with(input: Value) -> Value {
    let input = if input.is_null() { json!({}) } else { input };
    json!({ "behavior": "allow", "updatedInput": input })
}

fn deny(reason: Option<&str>) -> Value {
    json!({ "behavior": "deny", "message": reason.unwrap_or("A human denied this.") })
}

/// The input with its answers: for several questions a line each, or the whole text to all of them.
fn answered(input: &Value, text: &str) -> Value {
    let questions = input["questions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let a_line_each = questions.len() > 1 && lines.len() == questions.len();
    let answers: serde_json::Map<String, Value> = questions
        .iter()
        .enumerate()
        .filter_map(|(at, question)| {
            let answer = if a_line_each { lines[at] } else { text };
            Some((question["question"].as_str()?.to_owned(), answer.into()))
        })
        .collect();
    let mut input = input.clone();
    if let Some(input) = input.as_object_mut() {
        input.insert("answers".into(), Value::Object(answers));
    }
    input
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(tool: &str, input: Value) -> Vec<u8> {
        let payload = json!({ "hook_event_name": "PermissionRequest", "prompt_id": "p", "cwd": "/w", "tool_name": tool, "tool_input": input });
        payload.to_string().into_bytes()
    }

    #[track_caller]
    fn asked(tool: &str, input: Value) -> Ask {
        request(&Payload::read("PermissionRequest", &payload(tool, input)).unwrap()).ask
    }

    #[test]
    fn each_tool_has_its_verb_and_subject() {
        for (tool, input, verb, subject) in [
            (
                "Bash",
                json!({ "command": "cargo test\n", "description": "Test" }),
                "run",
                "cargo test\n",
            ),
            ("Write", json!({ "file_path": "/w/a", "content": "x" }), "edit", "/w/a"),
            ("NotebookEdit", json!({ "notebook_path": "/w/a.ipynb" }), "edit", "/w/a.ipynb"),
            ("Read", json!({ "file_path": "/etc/hosts" }), "open", "/etc/hosts"),
            ("WebFetch", json!({ "url": "https://x.org", "prompt": "p" }), "open", "https://x.org"),
            ("WebSearch", json!({ "query": "rust" }), "open", "rust"),
            ("mcp__jira__close", json!({ "id": 7 }), "use", r#"mcp__jira__close {"id":7}"#),
            ("Skill", json!({}), "use", "Skill"),
        ] {
            let Ask::Permission { verb: v, subject: s, .. } = asked(tool, input) else {
                panic!("{tool}")
            };
            assert_eq!((v.as_str(), s.as_str()), (verb, subject), "{tool}");
        }
    }

    #[test]
    fn s40_what_hides_in_a_command_is_removed_and_said() {
        let Ask::Permission { subject, careful, .. } =
            asked("Bash", json!({ "command": "echo \u{202e}hi\u{1b}[2K" }))
        else {
            panic!()
        };
        assert_eq!((subject.as_str(), careful), ("echo hi", vec![careful::HIDDEN.to_owned()]));
        let Ask::Permission { subject, careful, .. } =
            asked("Bash", json!({ "command": "é".repeat(4000) }))
        else {
            panic!()
        };
        assert!(subject.len() <= LONGEST && subject.ends_with('…'));
        assert_eq!(careful, [ao_slots::agent::LONGER]);
    }

    #[test]
    fn the_key_is_that_of_the_input_in_any_order_and_answered_or_not() {
        let key = |tool: &str, input: Value| {
            key(&Payload::read("PermissionRequest", &payload(tool, input)).unwrap())
        };
        assert_eq!(
            key("Bash", json!({ "a": 1, "b": { "c": 2, "d": 3 } })),
            key("Bash", json!({ "b": { "d": 3, "c": 2 }, "a": 1 }))
        );
        assert_ne!(key("Bash", json!({ "command": "a" })), key("Bash", json!({ "command": "b" })));
        assert_ne!(key("Bash", json!({ "a": "1" })), key("Bash", json!({ "a": 1 })));
        let questions = json!([{ "question": "Which?" }]);
        assert_eq!(
            key(QUESTION, json!({ "questions": questions })),
            key(
                QUESTION,
                json!({ "questions": questions, "answers": { "Which?": "Red" }, "annotations": {} })
            )
        );
        assert_eq!(key(PLAN, json!({})), key(PLAN, json!({ "plan": "# edited" })));
    }

    #[test]
    fn decisions_become_what_the_program_understands() {
        let colour =
            json!({ "questions": [{ "question": "Which?", "options": [{ "label": "Red" }] }] });
        let two = json!({ "questions": [{ "question": "A?" }, { "question": "B?" }] });
        let answer = |text: &str| Decision::Answer { text: text.into() };
        let because = |reason: &str| Decision::Deny { reason: Some(reason.into()) };
        for (tool, input, decision, expected) in [
            ("Bash", json!({}), Decision::Approve, json!({ "behavior": "allow" })),
            (
                "Bash",
                json!({}),
                because("use make"),
                json!({ "behavior": "deny", "message": "use make" }),
            ),
            (
                "Bash",
                json!({}),
                Decision::Deny { reason: None },
                json!({ "behavior": "deny", "message": "A human denied this." }),
            ),
            (
                QUESTION,
                colour.clone(),
                answer("own \"words\"\nhere"),
                json!({ "behavior": "allow", "updatedInput": {
                "questions": colour["questions"], "answers": { "Which?": "own \"words\"\nhere" } } }),
            ),
            (
                QUESTION,
                two.clone(),
                answer("one\n\n two "),
                json!({ "behavior": "allow", "updatedInput": {
                "questions": two["questions"], "answers": { "A?": "one", "B?": "two" } } }),
            ),
            (
                QUESTION,
                two.clone(),
                answer("you choose"),
                json!({ "behavior": "allow", "updatedInput": {
                "questions": two["questions"], "answers": { "A?": "you choose", "B?": "you choose" } } }),
            ),
            (
                PLAN,
                json!({}),
                Decision::Approve,
                json!({ "behavior": "allow", "updatedInput": {} }),
            ),
            (PLAN, json!({}), answer(START), json!({ "behavior": "allow", "updatedInput": {} })),
            (
                PLAN,
                json!({}),
                answer(KEEP_PLANNING),
                json!({ "behavior": "deny", "message": "A human denied this." }),
            ),
            (
                PLAN,
                json!({}),
                answer("cover errors"),
                json!({ "behavior": "deny", "message": "cover errors" }),
            ),
        ] {
            let printed = reply("PermissionRequest", &payload(tool, input), &decision).unwrap();
            let printed: Value = serde_json::from_str(&printed).unwrap();
            assert_eq!(printed["hookSpecificOutput"]["hookEventName"], "PermissionRequest");
            assert_eq!(printed["hookSpecificOutput"]["decision"], expected, "{tool} {decision:?}");
        }
    }

    #[test]
    fn a_decision_that_says_nothing_is_refused() {
        assert!(
            reply("PermissionRequest", &payload(QUESTION, json!({})), &Decision::Approve).is_err()
        );
        assert!(
            reply(
                "PermissionRequest",
                &payload("Bash", json!({})),
                &Decision::Answer { text: "ok".into() }
            )
            .is_err()
        );
        assert!(reply("Stop", br#"{"hook_event_name":"Stop"}"#, &Decision::Approve).is_err());
        assert!(reply("PermissionRequest", b"{", &Decision::Approve).is_err());
    }
}
