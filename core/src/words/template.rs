//! A human's own words for a message: templates of its title, short text and body.
//!
//! They replace words alone. Buttons, the command and the last line stay, and what comes of a need is always told in
//! `ao`'s own words. What comes out is text like any other: the channel escapes and cuts it.

use ao_slots::{
    ChannelName,
    fact::Priority,
    notifier::{Block, ChannelKind, Message},
    text,
};
use minijinja::{Environment, Error, UndefinedBehavior, value::Value};

use crate::config::{
    check::nearest,
    policy::{Template, Templates},
};

/// Steps that one rendering may take: a template is a line of text, not a program.
const FUEL: u64 = 20_000;
/// Characters that come of each part.
const TITLE: usize = 200;
const SHORT: usize = 500;
const BODY: usize = 8_000;

/// What a template knows of a message. All of them are there always; what a message lacks is empty.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields {
    /// Who and what is wanted.
    pub(super) title: String,
    /// One or two sentences.
    pub(super) short: String,
    /// What, why, tried: quotes behind `> `, code between fences, lists behind `- `.
    pub(super) body: String,
    /// The session's id.
    pub(super) session: String,
    /// The project's id.
    pub(super) project: String,
    /// The issue's number or id.
    pub(super) issue: String,
    /// The coding tool.
    pub(super) agent: String,
    /// `urgent`, `action`, `warning` or `info`.
    pub(super) priority: String,
    /// What it is about, e.g. `agent-stuck`.
    pub(super) kind: String,
    /// When the need began, e.g. `14:28`.
    pub(super) since: String,
    /// What does the same at the machine.
    pub(super) command: String,
    /// The incident's id.
    pub(super) incident: String,
}

impl Fields {
    /// Of a message; what it does not hold by itself is handed in.
    pub(super) fn of(message: &Message, issue: &str, agent: &str, since: String) -> Self {
        let priority = match message.priority {
            Priority::Urgent => "urgent",
            Priority::Action => "action",
            Priority::Warning => "warning",
            Priority::Info => "info",
        };
        let id = |id: Option<String>| id.unwrap_or_default();
        Self {
            title: message.title.clone(),
            short: message.short.clone(),
            body: as_text(&message.body),
            session: id(message.session.as_ref().map(ToString::to_string)),
            project: id(message.project.as_ref().map(ToString::to_string)),
            issue: issue.to_owned(),
            agent: agent.to_owned(),
            priority: priority.to_owned(),
            kind: message.kind.clone(),
            since,
            command: message.command.clone().unwrap_or_default(),
            incident: id(message.incident.map(|id| id.to_string())),
        }
    }

    /// All of them, by the name that a template has for each.
    fn named(&self) -> [(&'static str, &str); 12] {
        [
            ("title", &self.title),
            ("short", &self.short),
            ("body", &self.body),
            ("session", &self.session),
            ("project", &self.project),
            ("issue", &self.issue),
            ("agent", &self.agent),
            ("priority", &self.priority),
            ("kind", &self.kind),
            ("since", &self.since),
            ("command", &self.command),
            ("incident", &self.incident),
        ]
    }

    /// Of a message as there may be one: what templates are tried on before they are taken.
    fn specimen() -> Self {
        let of = str::to_owned;
        Self {
            title: of("app-3 asks: Should a coupon also apply to shipping?"),
            short: of("1 Items only · 2 Items and shipping. Waits since 14:28."),
            body: of(
                "> Should a coupon also apply to shipping?\n\nTried: nothing, only you can answer.",
            ),
            session: of("app-3"),
            project: of("my-app"),
            issue: of("41"),
            agent: of("claude-code"),
            priority: of("urgent"),
            kind: of("agent-needs-input"),
            since: of("14:28"),
            command: of("ao answer app-3 \"…\""),
            incident: of("i-142"),
        }
    }
}

/// What is wrong with a template; `at` is the line in it, from 1.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) line: usize,
    pub(crate) what: String,
}

impl From<Error> for Wrong {
    fn from(error: Error) -> Self {
        let what = match error.detail() {
            Some(detail) => format!("{}: {detail}", error.kind()),
            None => error.kind().to_string(),
        };
        Self { line: error.line().unwrap_or(1), what: text::one_line(&what) }
    }
}

pub(super) fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment
}

fn render(template: &str, fields: &Fields) -> Result<String, Error> {
    environment().template_from_str(template)?.render(Value::from_pairs(fields.named()))
}

/// Whether a template can be taken: its syntax, the names in it, and what becomes of a full and of an empty message.
pub(crate) fn check(template: &str) -> Result<(), Wrong> {
    let environment = environment();
    let parsed = environment.template_from_str(template)?;
    let specimen = Fields::specimen();
    let known = || specimen.named().into_iter().map(|(name, _)| name);
    let unknown = parsed.undeclared_variables(false).into_iter();
    let unknown = unknown.filter(|name| {
        !known().any(|field| field == name)
            && environment.globals().all(|(global, _)| global != name)
    });
    // The first in the template; one in a branch that no specimen takes is as unknown as any.
    let found: Option<String> =
        unknown.min_by_key(|name: &String| (template.find(name.as_str()), name.clone()));
    if let Some(name) = found {
        let at = template.find(&name).unwrap_or(0);
        let line = template[..at].matches('\n').count() + 1;
        let hint = match nearest(&name, known()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known: {}", known().collect::<Vec<_>>().join(", ")),
        };
        return Err(Wrong {
            line,
            what: format!("`{name}` is nothing that a message has; {hint}"),
        });
    }
    for fields in [&specimen, &Fields::default()] {
        parsed.render(Value::from_pairs(fields.named()))?;
    }
    Ok(())
}

/// Puts a human's words in place of `ao`'s, where there are some for this message on this channel.
pub(super) fn apply(
    message: &mut Message,
    templates: &Templates,
    channel: &ChannelName,
    kind: Option<ChannelKind>,
    fields: impl FnOnce(&Message) -> Fields,
) {
    let about = message.kind.clone();
    let part = |part: fn(&Template) -> &Option<String>| {
        let scopes = [channel.as_str(), kind.map_or("", kind_word), DEFAULT];
        let mut said = scopes.iter().filter_map(|scope| templates.get(*scope)).flat_map(|said| {
            [about.as_str(), DEFAULT].into_iter().filter_map(|about| said.get(about))
        });
        said.find_map(|template| part(template).as_deref())
    };
    let title = part(|template| &template.title);
    let short = part(|template| &template.short);
    let body = part(|template| &template.body);
    if title.is_none() && short.is_none() && body.is_none() {
        return;
    }
    let fields = fields(message);
    // What was tried when it was loaded fails on a message for its size alone: then ao's own words stay.
    let text = |template: &str| render(template, &fields).ok();
    let line = |template, most| {
        let line = text::cut(&text::one_line(&text(template)?), most);
        (!line.is_empty()).then_some(line)
    };
    if let Some(title) = title.and_then(|template| line(template, TITLE)) {
        message.title = title;
    }
    if let Some(short) = short.and_then(|template| line(template, SHORT)) {
        message.short = short;
    }
    if let Some(body) = body.and_then(text) {
        message.body = as_blocks(&text::cut_counted(&text::plain(&body), BODY));
    }
}

/// The key that stands for every channel, or every kind of message.
pub(crate) const DEFAULT: &str = "default";

/// The kinds of channels that a template may be for.
pub(crate) const KINDS: [ChannelKind; 5] = [
    ChannelKind::Desktop,
    ChannelKind::Chat,
    ChannelKind::Phone,
    ChannelKind::Mail,
    ChannelKind::Webhook,
];

/// A kind of channel as the configuration writes it.
pub(crate) fn kind_word(kind: ChannelKind) -> &'static str {
    match kind {
        ChannelKind::Desktop => "desktop",
        ChannelKind::Chat => "chat",
        ChannelKind::Phone => "phone",
        ChannelKind::Mail => "mail",
        ChannelKind::Webhook => "webhook",
    }
}

/// A body as text that [`as_blocks`] reads back.
fn as_text(body: &[Block]) -> String {
    let lines = |sign: &str, lines: &mut dyn Iterator<Item = &str>| {
        lines.map(|line| format!("{sign}{line}")).collect::<Vec<_>>().join("\n")
    };
    let block = |block: &Block| match block {
        Block::Quote(text) => lines("> ", &mut text.lines()),
        Block::Code(text) => {
            let fence = fence_around(text);
            format!("{fence}\n{text}\n{fence}")
        }
        Block::Text(text) => text.clone(),
        Block::List(items) => lines("- ", &mut items.iter().map(String::as_str)),
    };
    body.iter().map(block).collect::<Vec<_>>().join("\n\n")
}

/// A fence that the text does not close.
fn fence_around(text: &str) -> String {
    let runs = text.lines().map(|line| line.trim_start().chars().take_while(|c| *c == '`').count());
    "`".repeat(runs.max().unwrap_or(0).max(2) + 1)
}

/// Quotes behind `>`, code between fences of at least three backticks, lists behind `-`; else paragraphs.
fn as_blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut lines = text.lines();
    // Whether the next line goes on with the last block.
    let mut goes_on = false;
    while let Some(line) = lines.next() {
        let ticks = line.chars().take_while(|c| *c == '`').count();
        if ticks >= 3 && line.trim_end().len() == ticks {
            let code: Vec<&str> =
                lines.by_ref().take_while(|code| code.trim_end() != line.trim_end()).collect();
            blocks.push(Block::Code(code.join("\n")));
            goes_on = false;
            continue;
        }
        if line.trim().is_empty() {
            goes_on = false;
            continue;
        }
        let quoted = line.strip_prefix("> ").or_else(|| line.strip_prefix('>'));
        let item = line.strip_prefix("- ");
        match (blocks.last_mut().filter(|_| goes_on), quoted, item) {
            (Some(Block::Quote(text)), Some(more), _) => *text += &format!("\n{more}"),
            (Some(Block::List(items)), None, Some(item)) => items.push(item.to_owned()),
            (Some(Block::Text(text)), None, None) => *text += &format!("\n{line}"),
            (_, Some(quoted), _) => blocks.push(Block::Quote(quoted.to_owned())),
            (_, None, Some(item)) => blocks.push(Block::List(vec![item.to_owned()])),
            (_, None, None) => blocks.push(Block::Text(line.to_owned())),
        }
        goes_on = true;
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(template: &str) -> (usize, String) {
        let wrong = check(template).unwrap_err();
        (wrong.line, wrong.what)
    }

    #[test]
    fn a_template_is_tried_before_it_is_taken() {
        for good in [
            "",
            "{{ session }} needs you: {{ title }}",
            "{% if session %}{{ session | upper }}{% else %}{{ project }}{% endif %} since {{ since }}",
            "{% set who = session or project %}{{ who }}{% for i in range(3) %}.{% endfor %}",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        assert_eq!(
            wrong("a\n{% if false %}{{ sesion }}{% endif %}"),
            (2, "`sesion` is nothing that a message has; did you mean `session`?".into())
        );
        let (line, what) = wrong("{{ zebra }}");
        assert_eq!(line, 1);
        assert!(
            what.contains("known: agent, body, command")
                || what.contains("known: title, short, body"),
            "{what}"
        );
        assert_eq!(wrong("a\nb {{ title ").0, 2);
        assert!(wrong("{{ title.first.second }}").1.starts_with("undefined value"));
        assert!(wrong("{{ title | shout }}").1.contains("shout"));
        let (_, what) =
            wrong("{% for i in range(9000) %}{% for j in range(9000) %}{% endfor %}{% endfor %}");
        assert!(what.contains("fuel"), "{what}");
        // What other engines would read from disk or network is not there.
        assert!(check("{% include 'x' %}").is_err() && check("{% import 'x' as y %}").is_err());
    }

    #[test]
    fn a_body_comes_back_from_its_text() {
        let body = [
            Block::Quote("Should it?\n\n> really".into()),
            Block::Code("let a = 1;\n```\n\nb".into()),
            Block::Text("one\ntwo".into()),
            Block::List(vec!["a".into(), "b".into()]),
        ];
        assert_eq!(as_blocks(&as_text(&body)), body);
        assert_eq!(
            as_blocks("> a\nb\n- c\n\n\n- d\n"),
            [
                Block::Quote("a".into()),
                Block::Text("b".into()),
                Block::List(vec!["c".into()]),
                Block::List(vec!["d".into()]),
            ]
        );
        // A fence that nothing closes goes to the end.
        assert_eq!(as_blocks("```\na"), [Block::Code("a".into())]);
    }

    #[test]
    fn s32_what_a_message_says_is_never_read_as_a_template() {
        let fields = Fields { title: "{{ session }}{% raw %}".into(), ..Fields::specimen() };
        let rendered = render("{{ title }}", &fields).unwrap();
        assert_eq!(rendered, "{{ session }}{% raw %}");
    }
}
