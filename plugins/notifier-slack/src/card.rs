//! A message as Slack shows it: header, what is verbatim, why and tried, buttons, the small last line.
//!
//! Text goes out as `plain_text` and `rich_text`, which Slack shows as it is: mrkdwn has no way to write a `*`, a `_`
//! or a backtick that means nothing. Only the fallback, which phones show, is mrkdwn, and is escaped.
//! The vendor's limits are those of <https://docs.slack.dev/reference/block-kit>.

use std::collections::BTreeMap;

use ao_slots::{
    notifier::{Block, Button, ButtonStyle, Confirm, Form, Mark, Message, OPEN},
    text::{cut, cut_counted, length, one_line, plain},
};
use serde::{Deserialize, Serialize};
use slack_morphism::blocks::{
    SlackActionBlockElement, SlackActionsBlock, SlackBlock, SlackBlockButtonElement,
    SlackBlockButtonStyle, SlackBlockChoiceItem, SlackBlockConfirmItem, SlackBlockOverflowElement,
    SlackBlockPlainText, SlackBlockPlainTextOnly, SlackBlockText, SlackContextBlock,
    SlackContextBlockElement, SlackHeaderBlock, SlackRichTextBlock, SlackRichTextElement,
    SlackRichTextInlineElement, SlackRichTextLink, SlackRichTextPreformatted, SlackRichTextQuote,
    SlackRichTextSection, SlackRichTextText, SlackRichTextUser,
};
use url::Url;

/// Most characters of a title, its mark included.
pub(crate) const TITLE: usize = 90;
/// What is verbatim is shown whole up to here; lists make a body longer, up to [`ALL`].
pub(crate) const BODY: usize = 1_200;
/// Most characters of the fallback.
const FALLBACK: usize = 150;
/// Most characters of a paragraph of `ao`'s own, and of a line of a list.
const PARAGRAPH: usize = 600;
const LINE: usize = 200;
/// Most lines of a list.
const LINES: usize = 25;
/// Most characters of all texts together.
const ALL: usize = 4_000;
/// Most characters of a message's blocks as JSON; the vendor takes about 13,000.
const WEIGHT: usize = 12_000;
/// Most buttons in the row, the rest is in the overflow menu of at most five.
const BUTTONS: usize = 4;
const MORE: usize = 5;
/// Most characters of a button's label.
pub(crate) const LABEL: usize = 24;
/// Most blocks of details, each with at most this many characters.
const DETAILS: (usize, usize) = (8, 1_200);

/// What a button asks for in a dialog of its own before it acts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Ask {
    /// Words.
    Form(Form),
    /// A yes. A menu's entry cannot ask by itself.
    Confirm(Confirm),
}

impl Ask {
    pub(crate) fn without_options(&mut self) {
        if let Self::Form(form) = self {
            form.options.clear();
        }
    }

    /// The question is the message's own title then.
    pub(crate) fn without_prompt(&mut self) {
        match self {
            Self::Form(form) => form.prompt.clear(),
            Self::Confirm(confirm) => confirm.question.clear(),
        }
    }
}

/// What stands before the token of a menu's entry that asks for words, or for a yes: it never acts unasked.
pub(crate) const FORM: &str = "form:";
pub(crate) const SURE: &str = "sure:";

/// A message, ready to send.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Card {
    /// What stands where blocks do not: a phone's notification, a screen reader. mrkdwn.
    pub(crate) text: String,
    pub(crate) blocks: Vec<SlackBlock>,
    /// What buttons ask for, by their label.
    pub(crate) asks: BTreeMap<String, Ask>,
}

/// Draws a message. `calls` = whether it may call the one person by name.
pub(crate) fn card(message: &Message, calls: bool) -> Card {
    let (title, rest) = title(message);
    let mention = message.mention.as_deref().filter(|id| calls && !message.quiet && is_user(id));
    let (row, asks) = actions(message);
    let draw = |most| {
        let mut blocks = vec![SlackHeaderBlock::new(words(&title)).into()];
        blocks.extend(body(message, rest.as_deref(), mention, most));
        if !row.is_empty() {
            blocks.push(SlackActionsBlock::new(row.clone()).into());
        }
        blocks.extend(context(message));
        blocks
    };
    // What is escaped in JSON, and what is no letter, counts more than once.
    let lighter = std::iter::successors(Some(ALL), |most| Some(most / 2));
    let mut drawn = lighter.take(5).map(draw).skip_while(|blocks| weight(blocks) > WEIGHT);
    let blocks = drawn.next().unwrap_or_else(|| draw(0));
    Card { text: fallback(&title, message), blocks, asks }
}

fn weight(blocks: &[SlackBlock]) -> usize {
    serde_json::to_string(blocks).map_or(0, |json| json.encode_utf16().count())
}

/// Draws a message where there are no buttons: what they lead to stands as links.
pub(crate) fn links(message: &Message) -> Card {
    let without = Message { buttons: Vec::new(), ..message.clone() };
    let mut drawn = card(&without, true);
    let own = message.link.as_ref().map(|link| ("Open", link));
    let others = message.buttons.iter().filter(|button| button.id != OPEN);
    let others = others.filter_map(|button| Some((button.label.as_str(), button.link.as_ref()?)));
    let mut line: Vec<SlackRichTextInlineElement> = Vec::new();
    for (label, link) in others.chain(own) {
        let Some(url) = web(link) else { continue };
        if !line.is_empty() {
            line.push(" · ".into());
        }
        let label = fit(&one_line(label), LABEL, 75);
        line.push(SlackRichTextLink::new(url.as_str().into()).with_text(label).into());
    }
    if !line.is_empty() {
        let at = drawn.blocks.len()
            - usize::from(matches!(drawn.blocks.last(), Some(SlackBlock::Context(_))));
        drawn.blocks.insert(at, section(line));
    }
    drawn
}

/// The parts for a thread, as the text of each.
pub(crate) fn details(blocks: &[Block]) -> Vec<SlackBlock> {
    let (most, characters) = DETAILS;
    let drawn = blocks.iter().take(most).filter_map(|block| match block {
        Block::Quote(text) => quote(&cut_counted(&plain(text), characters), false),
        Block::Code(text) => code(&cut_counted(&plain(text), characters)),
        Block::Text(text) => paragraph(&cut_counted(&plain(text), characters), None),
        Block::List(lines) => paragraph(&listed(lines), None),
    });
    let mut kept: Vec<SlackBlock> = drawn.collect();
    while weight(&kept) > WEIGHT {
        kept.pop();
    }
    kept
}

/// A line of `ao`'s with buttons under it, for one person.
pub(crate) fn note(text: &str, buttons: &[Button]) -> Vec<SlackBlock> {
    let mut blocks: Vec<SlackBlock> = paragraph(&line(text), None).into_iter().collect();
    let row: Vec<_> =
        buttons.iter().take(BUTTONS).enumerate().map(|(at, one)| button(at, one)).collect();
    if !row.is_empty() {
        blocks.push(SlackActionsBlock::new(row).into());
    }
    blocks
}

/// A plain line, cut.
pub(crate) fn line(text: &str) -> String {
    fit(plain(text).trim(), BODY, 3_000)
}

/// The title, and what of it did not fit.
fn title(message: &Message) -> (String, Option<String>) {
    let full = one_line(&message.title);
    let sign = message.mark.sign();
    let shown = fit(&full, TITLE - 2, 148);
    let rest = shown
        .strip_suffix('…')
        .filter(|_| shown != full)
        .map(|kept| format!("…{}", full.strip_prefix(kept).unwrap_or(&full).trim_start()));
    (format!("{sign} {shown}").trim_end().to_owned(), rest)
}

fn fallback(title: &str, message: &Message) -> String {
    let short = one_line(&message.short);
    let text = if short.is_empty() { title.to_owned() } else { format!("{title}\n{short}") };
    escape(&fit(&text, FALLBACK, 600))
}

/// What stands between header and buttons.
fn body(
    message: &Message,
    rest: Option<&str>,
    mention: Option<&str>,
    most: usize,
) -> Vec<SlackBlock> {
    let settled = message.mark == Mark::Settled && message.buttons.is_empty();
    let mut left = most;
    let mut take = |text: String| {
        let kept = cut_counted(&text, left);
        left = left.saturating_sub(length(&kept)).max(40);
        kept
    };
    let rest = rest.map(|rest| Part::Words(take(cut(rest, PARAGRAPH / 2))));
    let mut parts: Vec<Part> = rest.into_iter().collect();
    for block in &message.body {
        match block {
            Block::Quote(text) => parts.push(Part::Quote(take(cut_counted(&plain(text), BODY)))),
            Block::Code(text) => parts.push(Part::Code(take(cut_counted(&plain(text), BODY)))),
            Block::Text(text) => say(&mut parts, &take(cut(plain(text).trim(), PARAGRAPH))),
            Block::List(lines) => match parts.last_mut() {
                // The answers belong to the question.
                Some(Part::Quote(question)) if !settled => {
                    *question = format!("{question}\n{}", take(choices(lines)));
                }
                _ => say(&mut parts, &take(listed(lines))),
            },
        }
    }
    if message.may_repeat {
        say(&mut parts, "This may be a repetition.");
    }
    if mention.is_some() && !parts.iter().any(|part| matches!(part, Part::Words(_))) {
        parts.push(Part::Words(String::new()));
    }
    let mut called = mention;
    let drawn = parts.into_iter().filter_map(|part| match part {
        Part::Quote(text) => quote(&text, settled),
        Part::Code(text) => code(&text),
        Part::Words(text) => paragraph(&text, called.take()),
    });
    drawn.collect()
}

enum Part {
    Quote(String),
    Code(String),
    Words(String),
}

/// Adds a paragraph; those that follow each other are one.
fn say(parts: &mut Vec<Part>, text: &str) {
    match parts.last_mut() {
        Some(Part::Words(before)) => *before = format!("{before}\n{text}"),
        _ => parts.push(Part::Words(text.to_owned())),
    }
}

/// Answers on one line where they are short.
fn choices(lines: &[String]) -> String {
    let together = lines.iter().map(|line| one_line(line)).collect::<Vec<_>>().join("   ");
    if length(&together) <= 72 { together } else { listed(lines) }
}

fn listed(lines: &[String]) -> String {
    let mut shown: Vec<_> =
        lines.iter().take(LINES).map(|line| cut(&one_line(line), LINE)).collect();
    if lines.len() > LINES {
        shown.push(format!("and {} more", lines.len() - LINES));
    }
    shown.join("\n")
}

fn quote(text: &str, struck: bool) -> Option<SlackBlock> {
    let text = SlackRichTextText::new(some(text)?);
    let text = if struck { text.strike() } else { text };
    Some(rich(SlackRichTextQuote::new(vec![text.into()]).into()))
}

fn code(text: &str) -> Option<SlackBlock> {
    Some(rich(SlackRichTextPreformatted::new(vec![some(text)?.into()]).into()))
}

fn paragraph(text: &str, mention: Option<&str>) -> Option<SlackBlock> {
    let mut line: Vec<SlackRichTextInlineElement> = Vec::new();
    if let Some(user) = mention {
        line.push(SlackRichTextUser::new(user.to_owned().into()).into());
    }
    if let Some(text) = some(text) {
        line.push(if line.is_empty() { text } else { format!(" {text}") }.into());
    }
    (!line.is_empty()).then(|| section(line))
}

fn section(line: Vec<SlackRichTextInlineElement>) -> SlackBlock {
    rich(SlackRichTextSection::new(line).into())
}

fn rich(element: SlackRichTextElement) -> SlackBlock {
    SlackRichTextBlock::new(vec![element]).into()
}

/// Slack takes no empty text.
fn some(text: &str) -> Option<String> {
    let text = text.trim_matches('\n').trim_end();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The row of buttons, and what they ask for.
fn actions(message: &Message) -> (Vec<SlackActionBlockElement>, BTreeMap<String, Ask>) {
    let link = message.link.as_deref();
    let shown =
        message.buttons.iter().filter(|button| button.id != OPEN || leads(button, link).is_some());
    let (more, row): (Vec<_>, Vec<_>) = shown.partition(|button| button.more);
    let (row, over) = row.split_at(row.len().min(BUTTONS));
    let more: Vec<_> = over.iter().chain(&more).copied().take(MORE).collect();
    let mut asks = BTreeMap::new();
    let mut elements = Vec::new();
    for (at, one) in row.iter().enumerate() {
        if let Some(form) = &one.form {
            asks.insert(label(one), Ask::Form(form.clone()));
        }
        elements.push(match leads(one, link).filter(|_| one.id == OPEN) {
            Some(url) => SlackBlockButtonElement::new(words(&label(one)))
                .with_action_id(format!("open-{at}").into())
                .with_url(url)
                .into(),
            None => button(at, one),
        });
    }
    let mut options = Vec::new();
    for one in more {
        let ask = one.form.clone().map(Ask::Form);
        let ask = ask.or_else(|| confirmation(one).map(Ask::Confirm));
        let before = match &ask {
            Some(Ask::Form(_)) => FORM,
            Some(Ask::Confirm(_)) => SURE,
            None => "",
        };
        let value = format!("{before}{}", one.id);
        let option = SlackBlockChoiceItem::new(words(&label(one)), value);
        options.push(match leads(one, link).filter(|_| one.id == OPEN) {
            Some(url) => option.with_url(url),
            None => option,
        });
        if let Some(ask) = ask {
            asks.insert(label(one), ask);
        }
    }
    if !options.is_empty() {
        let menu = SlackBlockOverflowElement::new(options).with_action_id("more".to_owned().into());
        elements.push(menu.into());
    }
    (elements, asks)
}

/// A button that comes back with its token.
fn button(at: usize, button: &Button) -> SlackActionBlockElement {
    let kind = if button.form.is_some() { "form" } else { "press" };
    let mut drawn = SlackBlockButtonElement::new(words(&label(button)))
        .with_action_id(format!("{kind}-{at}").into())
        .with_value(button.id.clone());
    drawn.style = match button.style {
        ButtonStyle::Plain => None,
        ButtonStyle::Primary => Some(SlackBlockButtonStyle::Primary),
        ButtonStyle::Danger => Some(SlackBlockButtonStyle::Danger),
    };
    // The dialog with the words is confirmation enough.
    if button.form.is_none() {
        drawn.confirm = confirmation(button).map(|asked| dialog(button, &asked));
    }
    drawn.into()
}

fn dialog(button: &Button, asked: &Confirm) -> SlackBlockConfirmItem {
    let label = label(button);
    let short = |text: &str, other| words(or(&fit(&one_line(text), 30, 30), other));
    let question = fit(&one_line(&asked.question), 300, 300);
    let question = SlackBlockPlainText::new(or(&question, &label).to_owned()).with_emoji(false);
    let mut item = SlackBlockConfirmItem::new(
        words(&label),
        SlackBlockText::Plain(question),
        short(&asked.yes, &label),
        short(&asked.no, "Not now"),
    );
    item.style = (button.style == ButtonStyle::Danger).then(|| "danger".to_owned());
    item
}

/// What is asked before a button acts. What destroys is asked about in any case.
fn confirmation(button: &Button) -> Option<Confirm> {
    button
        .confirm
        .clone()
        .or_else(|| (button.style == ButtonStyle::Danger).then(|| unsure(&button.label)))
}

/// The question about a button of which nothing but the label is known.
pub(crate) fn unsure(label: &str) -> Confirm {
    let label = or(label.trim_end_matches('…'), "Do it");
    Confirm { question: format!("{label}?"), yes: label.to_owned(), no: "Not now".to_owned() }
}

/// A button's label as it is shown, and as it comes back.
fn label(button: &Button) -> String {
    let label = fit(&one_line(&button.label), LABEL, 75);
    or(&label, "…").to_owned()
}

/// Slack takes no empty text.
pub(crate) fn or<'a>(text: &'a str, other: &'a str) -> &'a str {
    if text.trim().is_empty() { other } else { text }
}

/// Where `Open` leads.
fn leads(button: &Button, message: Option<&str>) -> Option<Url> {
    web(button.link.as_deref().or(message)?)
}

/// An address that a browser opens.
fn web(link: &str) -> Option<Url> {
    let url = Url::parse(link).ok()?;
    (matches!(url.scheme(), "https" | "http") && url.as_str().len() <= 3_000).then_some(url)
}

/// Project, session, task, agent, incident, and the command that does the same at the machine.
fn context(message: &Message) -> Option<SlackBlock> {
    let mut parts: Vec<_> = message.meta.iter().map(|part| cut(&one_line(part), 60)).collect();
    parts.retain(|part| !part.is_empty());
    if let Some(command) = &message.command {
        let or = if message.buttons.is_empty() { "At your machine:" } else { "or:" };
        parts.push(format!("{or} {}", cut(&one_line(command), LINE)));
    }
    let text = some(&fit(&parts.join(" · "), 600, 2_000))?;
    let text = SlackBlockPlainText::new(text).with_emoji(false);
    Some(SlackContextBlock::new(vec![SlackContextBlockElement::Plain(text)]).into())
}

pub(crate) fn words(text: &str) -> SlackBlockPlainTextOnly {
    SlackBlockPlainText::new(text.to_owned()).with_emoji(false).into()
}

/// A Slack user's id: what a mention may hold.
pub(crate) fn is_user(id: &str) -> bool {
    (3..=32).contains(&id.len())
        && id.starts_with(['U', 'W'])
        && id.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
}

/// Makes a text mean nothing in mrkdwn's control characters
/// (<https://docs.slack.dev/messaging/formatting-message-text#escaping>).
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// At most `limit` characters as a reader counts them, and `units` as the vendor does.
pub(crate) fn fit(text: &str, limit: usize, units: usize) -> String {
    let mut limit = limit;
    loop {
        let kept = cut(text, limit);
        if kept.encode_utf16().count() <= units || limit == 0 {
            return kept;
        }
        limit = limit * 3 / 4;
    }
}
