//! What a channel of Discord shows of a message. Text is data: it can mention nobody, draw nothing and lead nowhere.

use ao_sdk::body::{self, Part, Rank, Room, cut_bytes, fit_parts};
use ao_slots::{
    notifier::Message,
    text::{cut, length, one_line, plain},
};
use serde::Serialize;

/// Most characters of a title.
pub(crate) const TITLE: usize = 90;
/// Most characters of a body, its footer included.
pub(crate) const BODY: usize = 1200;
/// Most lines of it.
const LINES: usize = 40;
/// Most characters of an embed's description: Discord's `RichEmbed`. All of an embed has at most 6,000.
const DESCRIPTION: usize = 4096;
/// Most bytes of its footer.
const FOOTER: usize = 300;
/// A message that calls nobody: `SUPPRESS_NOTIFICATIONS`. It can be set by a new message alone.
const SILENT: u32 = 1 << 12;
/// Most links for buttons, most bytes of them, and most characters of their labels.
const LINKS: (usize, usize, usize) = (5, 2800, 160);

/// A message of a webhook: Discord's `IncomingWebhookRequestPartial`, as far as it is used.
#[derive(Debug, Serialize)]
pub(crate) struct Post {
    /// The title: what the lock screen shows.
    pub(crate) content: String,
    pub(crate) embeds: Vec<Embed>,
    pub(crate) allowed_mentions: AllowedMentions,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) flags: Option<u32>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Embed {
    pub(crate) description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) footer: Option<Footer>,
}

/// Shown as it is: Discord reads no markup there.
#[derive(Debug, Serialize)]
pub(crate) struct Footer {
    pub(crate) text: String,
}

/// Nobody is called but who is named here, whatever the text says.
#[derive(Debug, Default, Serialize)]
pub(crate) struct AllowedMentions {
    parse: [&'static str; 0],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    users: Vec<String>,
}

/// A message; an edit calls nobody and so needs no flag.
pub(crate) fn post(message: &Message, edit: bool) -> Post {
    // A sign and a space lead it.
    let (title, parts) = body::long_parts(message, TITLE - 2);
    let title = cut_bytes(&title, 3 * TITLE);
    let person = message.mention.iter().filter(|id| is_snowflake(id));
    let users: Vec<String> = person.cloned().collect();
    let called: String = users.iter().map(|id| format!("<@{id}> ")).collect();
    let title = escape(&title);
    let title = match message.link.as_deref().and_then(address) {
        Some(link) => format!("[{title}]({link})"),
        None => title,
    };
    let footer = footer(message);
    Post {
        content: format!("{called}{} **{title}**", message.mark.sign()),
        embeds: embeds(parts, links(message), footer),
        allowed_mentions: AllowedMentions { users, ..AllowedMentions::default() },
        flags: (message.quiet && !edit).then_some(SILENT),
    }
}

/// A plain line, without sound.
pub(crate) fn line(text: &str) -> Post {
    let parts = vec![Part(Rank::Verbatim, body::lines(text))];
    let mut post = Post {
        content: String::new(),
        embeds: embeds(parts, None, None),
        allowed_mentions: AllowedMentions::default(),
        flags: Some(SILENT),
    };
    // An empty message is refused.
    if post.embeds.is_empty() {
        post.content = "ao".to_owned();
    }
    post
}

/// Project, session, task and so on, and the command that does it at the machine.
fn footer(message: &Message) -> Option<Footer> {
    let command = message.command.iter().map(|command| format!("or: {}", one_line(command)));
    let parts: Vec<String> =
        message.meta.iter().map(|part| one_line(part)).chain(command).collect();
    let text = cut_bytes(&parts.join(" · "), FOOTER);
    (!text.is_empty()).then_some(Footer { text })
}

/// The pages that do what buttons do elsewhere.
fn links(message: &Message) -> Option<String> {
    let link = |button: &ao_slots::notifier::Button| {
        let address = address(button.link.as_deref()?)?;
        Some(format!("[{}]({address})", escape(&cut_bytes(&cut(&one_line(&button.label), 24), 72))))
    };
    let links: Vec<String> = message.buttons.iter().filter_map(link).take(LINKS.0).collect();
    (!links.is_empty()).then(|| links.join(" · "))
}

/// An address as the target of a link, without a preview: whoever draws one would fetch it.
fn address(link: &str) -> Option<String> {
    let safe = |c: char| c.is_ascii_graphic() && !matches!(c, '<' | '>' | '(' | ')' | '\\');
    let fits = link.starts_with("http") && link.len() <= 512 && link.chars().all(safe);
    fits.then(|| format!("<{link}>"))
}

fn embeds(parts: Vec<Part>, links: Option<String>, footer: Option<Footer>) -> Vec<Embed> {
    let links = links.filter(|links| links.len() < LINKS.1);
    let below = footer.as_ref().map_or(0, |footer| length(&footer.text) + 1);
    let beside = links.as_ref().map_or((0, 0), |links| (LINKS.2, links.len() + 1));
    let characters = BODY - below - beside.0;
    let room = DESCRIPTION - beside.1;
    // What is escaped grows: at most to its double, mostly hardly at all.
    let drawn = [1, 2, 4, 10].map(|part| Room { characters, bytes: room / part, lines: LINES });
    let drawn = drawn.into_iter().map(|room| draw(&parts, room));
    let mut text: Vec<String> = drawn.filter(|text| units(text) <= room).take(1).collect();
    text.extend(links);
    text.retain(|text| !text.is_empty());
    let description = text.join("\n");
    match description.is_empty() && footer.is_none() {
        true => Vec::new(),
        false => vec![Embed { description, footer }],
    }
}

/// How Discord may count at most: UTF-16.
fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

fn draw(parts: &[Part], room: Room) -> String {
    let parts = fit_parts(parts.to_vec(), room);
    parts.iter().map(draw_part).collect::<Vec<_>>().join("\n")
}

fn draw_part(Part(rank, text): &Part) -> String {
    match rank {
        Rank::Log => format!("```\n{}\n```", fenced(text)),
        Rank::Verbatim => {
            text.lines().map(|l| format!("> {}", escape(l))).collect::<Vec<_>>().join("\n")
        }
        Rank::Tried | Rank::Why | Rank::Kept => {
            text.lines().map(escape).collect::<Vec<_>>().join("\n")
        }
    }
}

/// What stands in a block of code: nothing is read there but its end.
fn fenced(text: &str) -> String {
    plain(text).replace("```", "`\u{200b}`\u{200b}`")
}

/// Text as Discord shows it verbatim: a backslash before a character of punctuation shows that character and ends what
/// it would begin, such as markup, a mention (`<@…>`, `@everyone`), a time, an emoji, or an address that is fetched.
pub(crate) fn escape(text: &str) -> String {
    let text = plain(text);
    let mut out = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        if acts(c, &text[..at], &text[at + c.len_utf8()..]) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Whether a character begins or ends something there. A backslash elsewhere would be a waste of room.
fn acts(c: char, before: &str, after: &str) -> bool {
    let line = || before.rsplit('\n').next().unwrap_or_default().trim_start();
    match c {
        '\\' | '*' | '_' | '`' | '<' | '[' | ']' => true,
        // Crossed out, hidden.
        '~' | '|' => after.starts_with(c) || before.ends_with(c),
        // A quote, a heading, a list, small print.
        '>' | '#' | '-' | '+' => line().is_empty(),
        // A numbered list.
        '.' => !line().is_empty() && line().bytes().all(|byte| byte.is_ascii_digit()),
        '@' => after.starts_with("everyone") || after.starts_with("here"),
        // An address.
        ':' => after.starts_with("//"),
        _ => false,
    }
}

/// An id of Discord's: `SnowflakeType`.
fn is_snowflake(id: &str) -> bool {
    (1..=20).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_digit())
}
