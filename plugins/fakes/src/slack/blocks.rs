//! Block Kit as Slack documents it: which fields there are, which must be, how long they may be
//! (<https://docs.slack.dev/reference/block-kit>, and the types of the package `@slack/types`). What is not listed is
//! refused, also where the vendor would ignore it. And how a human sees it.

use serde_json::{Map, Value};

/// Most characters of the JSON of all blocks of a message; the vendor says `msg_blocks_too_long` at about this.
const ALL: usize = 13_000;

/// Problems of a message's blocks.
pub(super) fn message(blocks: &Value) -> Vec<String> {
    let mut check = Check::default();
    let Some(list) = blocks.as_array() else { return vec!["blocks is no array".to_owned()] };
    check.most("blocks", list.len(), 50);
    check.most("all blocks' characters", units(&blocks.to_string()), ALL);
    check.unique(list, "block_id");
    for (at, block) in list.iter().enumerate() {
        check.block(&format!("blocks[{at}]"), block, false);
    }
    check.problems
}

/// Problems of a modal view.
pub(super) fn modal(view: &Value) -> Vec<String> {
    let mut check = Check::default();
    let Some(view) = check.object(
        "view",
        view,
        &["type", "title", "blocks"],
        &[
            "submit",
            "close",
            "private_metadata",
            "callback_id",
            "clear_on_close",
            "notify_on_close",
            "external_id",
        ],
    ) else {
        return check.problems;
    };
    check.is("view.type", &view["type"], "modal");
    check.text("view.title", &view["title"], 24, true);
    for key in ["submit", "close"] {
        if let Some(text) = view.get(key) {
            check.text(&format!("view.{key}"), text, 24, true);
        }
    }
    check.length("view.private_metadata", view.get("private_metadata"), 3_000);
    check.length("view.callback_id", view.get("callback_id"), 255);
    let blocks = view["blocks"].as_array().cloned().unwrap_or_default();
    check.most("view.blocks", blocks.len(), 100);
    check.unique(&blocks, "block_id");
    if blocks.iter().any(|block| block["type"] == "input") && !view.contains_key("submit") {
        check.problem("view.submit is required where there is an input");
    }
    for (at, block) in blocks.iter().enumerate() {
        check.block(&format!("view.blocks[{at}]"), block, true);
    }
    check.problems
}

/// The length that the vendor counts.
pub(super) fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

#[derive(Default)]
struct Check {
    problems: Vec<String>,
}

impl Check {
    fn problem(&mut self, text: impl Into<String>) {
        self.problems.push(text.into());
    }

    fn most(&mut self, what: &str, count: usize, limit: usize) {
        if count > limit {
            self.problem(format!("{what}: {count} > {limit}"));
        }
    }

    fn is(&mut self, what: &str, value: &Value, expected: &str) {
        if value != expected {
            self.problem(format!("{what} is {value}, not {expected}"));
        }
    }

    fn length(&mut self, what: &str, value: Option<&Value>, limit: usize) {
        match value {
            None => {}
            Some(Value::String(text)) => self.most(what, units(text), limit),
            Some(_) => self.problem(format!("{what} is no string")),
        }
    }

    fn unique(&mut self, list: &[Value], key: &str) {
        let mut seen = std::collections::BTreeSet::new();
        for id in list.iter().filter_map(|one| one[key].as_str()) {
            if !seen.insert(id) {
                self.problem(format!("{key} {id} stands twice"));
            }
        }
    }

    /// An object with these fields and no others.
    fn object<'a>(
        &mut self,
        what: &str,
        value: &'a Value,
        required: &[&str],
        optional: &[&str],
    ) -> Option<&'a Map<String, Value>> {
        let Some(map) = value.as_object() else {
            self.problem(format!("{what} is no object"));
            return None;
        };
        for key in map
            .keys()
            .filter(|key| !required.contains(&key.as_str()) && !optional.contains(&key.as_str()))
        {
            self.problem(format!("{what}: {key} is no field"));
        }
        for key in required.iter().filter(|key| !map.contains_key(**key)) {
            self.problem(format!("{what}: {key} is missing"));
        }
        required.iter().all(|key| map.contains_key(*key)).then_some(map)
    }

    fn text(&mut self, what: &str, value: &Value, limit: usize, plain: bool) {
        let optional: &[&str] = if value["type"] == "mrkdwn" { &["verbatim"] } else { &["emoji"] };
        let Some(text) = self.object(what, value, &["type", "text"], optional) else { return };
        match text["type"].as_str() {
            Some("plain_text") => {}
            Some("mrkdwn") if !plain => {}
            other => self.problem(format!("{what}.type is {other:?}")),
        }
        let length = units(text["text"].as_str().unwrap_or_default());
        if length == 0 {
            self.problem(format!("{what} is empty"));
        }
        self.most(what, length, limit);
    }

    fn block(&mut self, what: &str, block: &Value, modal: bool) {
        match (block["type"].as_str().unwrap_or_default(), modal) {
            ("header", _) => {
                if let Some(map) =
                    self.object(what, block, &["type", "text"], &["block_id", "level"])
                {
                    self.text(what, &map["text"], 150, true);
                }
            }
            ("section", _) => {
                if let Some(map) =
                    self.object(what, block, &["type", "text"], &["block_id", "expand"])
                {
                    self.text(what, &map["text"], 3_000, false);
                }
            }
            ("divider", _) => {
                self.object(what, block, &["type"], &["block_id"]);
            }
            ("context", _) => {
                for element in &self.elements(what, block, 10) {
                    self.text(what, element, 3_000, false);
                }
            }
            ("rich_text", _) => {
                for element in &self.elements(what, block, usize::MAX) {
                    self.rich(what, element);
                }
            }
            ("actions", _) => {
                let elements = self.elements(what, block, 25);
                self.unique(&elements, "action_id");
                for element in &elements {
                    self.element(what, element);
                }
            }
            ("input", true) => {
                let fields = ["type", "label", "element"];
                let Some(map) = self.object(
                    what,
                    block,
                    &fields,
                    &["block_id", "hint", "optional", "dispatch_action"],
                ) else {
                    return;
                };
                self.text(what, &map["label"], 2_000, true);
                self.element(what, &map["element"]);
            }
            (other, _) => self.problem(format!("{what}: no block {other:?} here")),
        }
        self.length(what, block.get("block_id"), 255);
    }

    /// What a block is made of: something, and not too much.
    fn elements(&mut self, what: &str, block: &Value, limit: usize) -> Vec<Value> {
        let Some(map) = self.object(what, block, &["type", "elements"], &["block_id"]) else {
            return Vec::new();
        };
        let elements = map["elements"].as_array().cloned().unwrap_or_default();
        if elements.is_empty() {
            self.problem(format!("{what} is empty"));
        }
        self.most(what, elements.len(), limit);
        elements
    }

    fn rich(&mut self, what: &str, element: &Value) {
        let optional: &[&str] = match element["type"].as_str() {
            Some("rich_text_section") => &[],
            Some("rich_text_quote") => &["border"],
            Some("rich_text_preformatted") => &["border", "language"],
            other => return self.problem(format!("{what}: no rich text {other:?}")),
        };
        let only_text = element["type"] == "rich_text_preformatted";
        let Some(map) = self.object(what, element, &["type", "elements"], optional) else { return };
        let parts = map["elements"].as_array().cloned().unwrap_or_default();
        if parts.is_empty() {
            self.problem(format!("{what} is empty"));
        }
        for part in parts {
            let map = match part["type"].as_str() {
                Some("text") => self.object(what, &part, &["type", "text"], &["style"]),
                Some("link") => {
                    self.object(what, &part, &["type", "url"], &["text", "style", "unsafe"])
                }
                Some("user") if !only_text => {
                    self.object(what, &part, &["type", "user_id"], &["style"])
                }
                other => {
                    self.problem(format!("{what}: no part {other:?} here"));
                    None
                }
            };
            let Some(map) = map else { continue };
            if map.get("text").is_some_and(|text| text.as_str().is_none_or(str::is_empty)) {
                self.problem(format!("{what}: an empty text"));
            }
            if let Some(style) = map.get("style") {
                let known = ["bold", "italic", "strike", "code", "underline"];
                self.object(what, style, &[], &known);
            }
        }
    }

    fn element(&mut self, what: &str, element: &Value) {
        self.length(what, element.get("action_id"), 255);
        match element["type"].as_str() {
            Some("button") => {
                let optional =
                    ["action_id", "url", "value", "style", "confirm", "accessibility_label"];
                let Some(map) = self.object(what, element, &["type", "text"], &optional) else {
                    return;
                };
                self.text(what, &map["text"], 75, true);
                self.length(what, map.get("value"), 2_000);
                self.length(what, map.get("url"), 3_000);
                if map.get("style").is_some_and(|style| style != "primary" && style != "danger") {
                    self.problem(format!("{what}: no such style"));
                }
                self.confirm(what, map.get("confirm"));
            }
            Some("overflow") => {
                let Some(map) =
                    self.object(what, element, &["type", "options"], &["action_id", "confirm"])
                else {
                    return;
                };
                self.options(what, &map["options"], 5, &["url"]);
                self.confirm(what, map.get("confirm"));
            }
            Some("radio_buttons") => {
                let optional = ["action_id", "initial_option", "confirm", "focus_on_load"];
                let Some(map) = self.object(what, element, &["type", "options"], &optional) else {
                    return;
                };
                self.options(what, &map["options"], 10, &["description"]);
            }
            Some("plain_text_input") => {
                let optional = [
                    "action_id",
                    "initial_value",
                    "multiline",
                    "min_length",
                    "max_length",
                    "focus_on_load",
                    "placeholder",
                    "dispatch_action_config",
                ];
                let Some(map) = self.object(what, element, &["type"], &optional) else { return };
                if map
                    .get("max_length")
                    .is_some_and(|most| !most.as_u64().is_some_and(|n| (1..=3_000).contains(&n)))
                {
                    self.problem(format!("{what}: max_length is not in 1…3000"));
                }
                if let Some(text) = map.get("placeholder") {
                    self.text(what, text, 150, true);
                }
            }
            other => self.problem(format!("{what}: no element {other:?} here")),
        }
    }

    fn options(&mut self, what: &str, options: &Value, limit: usize, optional: &[&str]) {
        let options = options.as_array().cloned().unwrap_or_default();
        if options.is_empty() {
            self.problem(format!("{what}: no options"));
        }
        self.most(what, options.len(), limit);
        self.unique(&options, "value");
        for option in &options {
            let Some(map) = self.object(what, option, &["text", "value"], optional) else {
                continue;
            };
            self.text(what, &map["text"], 75, optional.contains(&"url"));
            self.length(what, map.get("value"), 75);
            self.length(what, map.get("url"), 3_000);
        }
    }

    fn confirm(&mut self, what: &str, confirm: Option<&Value>) {
        let Some(confirm) = confirm else { return };
        let what = format!("{what}.confirm");
        let Some(map) =
            self.object(&what, confirm, &["title", "text", "confirm", "deny"], &["style"])
        else {
            return;
        };
        self.text(&what, &map["title"], 100, true);
        self.text(&what, &map["text"], 300, false);
        self.text(&what, &map["confirm"], 30, true);
        self.text(&what, &map["deny"], 30, true);
    }
}

/// A message as a human sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Drawn {
    pub(super) title: String,
    pub(super) lines: Vec<String>,
    /// What calls somebody or leads somewhere.
    pub(super) active: Vec<String>,
}

pub(super) fn draw(blocks: &Value) -> Drawn {
    let mut drawn = Drawn::default();
    for block in blocks.as_array().into_iter().flatten() {
        match block["type"].as_str() {
            Some("header") => drawn.title = plain(&block["text"]),
            Some("section") => {
                let line = drawn.text(&block["text"]);
                drawn.lines.push(line);
            }
            Some("context") => {
                let elements = block["elements"].as_array().cloned().unwrap_or_default();
                let parts: Vec<_> = elements.iter().map(|element| drawn.text(element)).collect();
                drawn.lines.push(parts.join(" "));
            }
            Some("rich_text") => {
                for element in block["elements"].as_array().into_iter().flatten() {
                    let line = drawn.rich(element);
                    drawn.lines.push(line);
                }
            }
            Some("actions") => {
                let elements = block["elements"].as_array().into_iter().flatten();
                drawn.lines.push(elements.map(button).collect::<Vec<_>>().join(" "));
            }
            _ => {}
        }
    }
    drawn
}

fn plain(text: &Value) -> String {
    text["text"].as_str().unwrap_or_default().to_owned()
}

/// `[Merge]`, `[[Merge]]` where it is primary, `[!Kill…]` where it destroys, `(⋯ Snooze | Kill…)`.
fn button(element: &Value) -> String {
    if element["type"] == "overflow" {
        let options = element["options"].as_array().into_iter().flatten();
        return format!(
            "(⋯ {})",
            options.map(|option| plain(&option["text"])).collect::<Vec<_>>().join(" | ")
        );
    }
    let label = plain(&element["text"]);
    let asked = if element["confirm"].is_object() { "?" } else { "" };
    match element["style"].as_str() {
        Some("primary") => format!("[[{label}{asked}]]"),
        Some("danger") => format!("[!{label}{asked}]"),
        _ => format!("[{label}{asked}]"),
    }
}

impl Drawn {
    fn text(&mut self, text: &Value) -> String {
        match text["type"].as_str() {
            Some("mrkdwn") => self.mrkdwn(&plain(text)),
            _ => plain(text),
        }
    }

    fn rich(&mut self, element: &Value) -> String {
        let mut line = String::new();
        for part in element["elements"].as_array().into_iter().flatten() {
            match part["type"].as_str() {
                Some("user") => {
                    let id = part["user_id"].as_str().unwrap_or_default();
                    self.active.push(format!("@{id}"));
                    line.push_str(&format!("@{id}"));
                }
                Some("link") => {
                    let url = part["url"].as_str().unwrap_or_default();
                    self.active.push(url.to_owned());
                    line.push_str(&format!("{} <{url}>", plain(part)));
                }
                _ if part["style"]["strike"] == true => {
                    line.push_str(&format!("~{}~", plain(part)))
                }
                _ => line.push_str(&plain(part)),
            }
        }
        let before = match element["type"].as_str() {
            Some("rich_text_quote") => "▏",
            Some("rich_text_preformatted") => "┊",
            _ => return line,
        };
        line.lines().map(|line| format!("{before}{line}")).collect::<Vec<_>>().join("\n")
    }

    /// mrkdwn: what is between `<` and `>` calls or leads; the rest is unescaped. Other markup is left as it is.
    pub(super) fn mrkdwn(&mut self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('<') {
            let Some(end) = rest[at..].find('>') else { break };
            out.push_str(&rest[..at]);
            let inner = &rest[at + 1..at + end];
            self.active.push(inner.to_owned());
            out.push_str(&format!("«{inner}»"));
            rest = &rest[at + end + 1..];
        }
        out.push_str(rest);
        out.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    }
}
