//! A channel of Discord with one webhook, and somebody who reads it.
//!
//! After Discord's published API: the schemas `IncomingWebhookRequestPartial`, `IncomingWebhookUpdateRequestPartial`,
//! `RichEmbed`, `MessageAllowedMentionsRequest`, `RatelimitedResponse` and the operations `execute_webhook`,
//! `update_webhook_message` and `get_webhook_by_token` of `discord/discord-api-spec` (version 10), with the embed
//! limits, the rules of mentions and the rate limits of its documentation. Lengths are counted in UTF-16. A field that
//! is not in a schema is refused, where Discord ignores it, and of the rest those that no channel of ours uses.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Method, Response, StatusCode},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::host::Host;

/// The webhook's id and token.
const ID: &str = "223704706495545344";
const TOKEN: &str = "3d89bb7572e0fb30d8128367b3b1b44fecd1726de135cbe28a41f8b2f777c372ba2939e72279b94526ff5d1bd4358d65cf11";

/// The one thread of the channel.
pub const THREAD: &str = "223704706495545399";

/// How it behaves to whoever asks.
#[derive(Debug, Clone, PartialEq)]
pub enum Mood {
    /// As it should.
    Well,
    /// Takes what comes and never answers.
    Silent,
    /// Takes what comes, and breaks off in the middle of its answer.
    Half,
    /// Refuses with this status and this code of Discord, e.g. 404 and 10015.
    Refusing(u16, u32),
    /// Wants to be left alone for so many seconds; the second is whether that is meant for all routes.
    Busy(f64, bool),
    /// Something before it answers with this status, a page, and perhaps a `Retry-After`.
    Page(u16, Option<String>),
}

/// A message as it is read in the channel, markup drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// The text above the embed.
    pub content: String,
    /// The embed's description.
    pub body: String,
    /// The embed's footer.
    pub footer: String,
    /// Who was called, by id; or `everyone`.
    pub called: Vec<String>,
    /// Where something leads or is fetched from.
    pub links: Vec<String>,
    /// It was sent without a sound.
    pub silent: bool,
    /// It was edited.
    pub edited: bool,
    /// The thread of the channel in which it stands.
    pub thread: Option<String>,
}

/// The service. Gone when it is dropped.
#[derive(Debug)]
pub struct Server {
    host: Host,
    far: Arc<Mutex<Far>>,
}

#[derive(Debug)]
struct Far {
    mood: Mood,
    posts: Vec<(String, Post)>,
    tries: usize,
    /// How many requests there may be in how long.
    bucket: (u32, Duration),
    /// When the bucket was last full, and what it has given since.
    given: (Instant, u32),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    #[serde(default)]
    content: String,
    #[serde(default)]
    embeds: Vec<Embed>,
    allowed_mentions: Option<Mentions>,
    flags: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Embed {
    #[serde(default)]
    description: String,
    footer: Option<Footer>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Footer {
    text: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mentions {
    parse: Vec<String>,
    #[serde(default)]
    users: Vec<String>,
}

/// A refusal: status, Discord's code, its words.
struct Refused(u16, u32, String);

impl Server {
    /// Starts one whose bucket holds so many requests in so long.
    pub fn start(bucket: (u32, Duration)) -> io::Result<Self> {
        let given = (Instant::now(), 0);
        let far = Far { mood: Mood::Well, posts: Vec::new(), tries: 0, bucket, given };
        let far = Arc::new(Mutex::new(far));
        let router = Router::new().fallback(serve).with_state(far.clone());
        Ok(Self { host: Host::start(router)?, far })
    }

    /// The webhook's address, as Discord's client copies it.
    pub fn url(&self) -> String {
        format!("http://{}/api/webhooks/{ID}/{TOKEN}", self.host.address())
    }

    /// What must be in no text that a human sees.
    pub fn token(&self) -> &'static str {
        TOKEN
    }

    /// Behaves like this from now on.
    pub fn behave(&self, mood: Mood) {
        self.far().mood = mood;
    }

    /// Cuts every connection; nobody listens there any more.
    pub fn away(&self) {
        self.host.away();
    }

    /// Is there again, with what it has kept.
    pub fn back(&self) -> io::Result<()> {
        self.host.back()
    }

    /// What stands in the channel, oldest first.
    pub fn posts(&self) -> Vec<Post> {
        self.far().posts.iter().map(|(_, post)| post.clone()).collect()
    }

    /// The ids of all messages, oldest first.
    pub fn ids(&self) -> Vec<String> {
        self.far().posts.iter().map(|(id, _)| id.clone()).collect()
    }

    /// How often it called for attention.
    pub fn buzzes(&self) -> usize {
        self.far().posts.iter().filter(|(_, post)| !post.silent).count()
    }

    /// How many messages and edits were tried, whatever came of it.
    pub fn tries(&self) -> usize {
        self.far().tries
    }

    /// Somebody deletes all messages.
    pub fn clear(&self) {
        self.far().posts.clear();
    }

    fn far(&self) -> MutexGuard<'_, Far> {
        lock(&self.far)
    }
}

fn lock(far: &Mutex<Far>) -> MutexGuard<'_, Far> {
    far.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(State(far): State<Arc<Mutex<Far>>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, 1024 * 1024).await else {
        return reply(400, &[], json!({}).to_string());
    };
    let mood = {
        let mut far = lock(&far);
        far.tries += usize::from(parts.method != Method::GET);
        far.mood.clone()
    };
    let half = mood == Mood::Half;
    match mood {
        Mood::Well | Mood::Half => {}
        Mood::Silent => std::future::pending().await,
        Mood::Refusing(status, code) => {
            return refusal(&Refused(status, code, "refused by the fake".into()));
        }
        Mood::Busy(seconds, global) => return limited(seconds, global),
        Mood::Page(status, wait) => {
            let wait = wait.map(|wait| ("retry-after", wait));
            let mut page =
                reply(status, wait.as_slice(), "<html><h1>Access denied</h1></html>".into());
            page.headers_mut().insert("content-type", HeaderValue::from_static("text/html"));
            return page;
        }
    }
    let mut far = lock(&far);
    let (limit, window) = far.bucket;
    if far.given.0.elapsed() >= window {
        far.given = (Instant::now(), 0);
    }
    let left = window.saturating_sub(far.given.0.elapsed()).as_secs_f64();
    if far.given.1 >= limit {
        return limited(left, false);
    }
    far.given.1 += 1;
    let headers = [
        ("x-ratelimit-limit", limit.to_string()),
        ("x-ratelimit-remaining", (limit - far.given.1).to_string()),
        ("x-ratelimit-reset-after", format!("{left:.3}")),
        ("x-ratelimit-bucket", "abcd1234".to_owned()),
    ];
    let query: BTreeMap<&str, &str> = parts
        .uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter_map(|p| p.split_once('='))
        .collect();
    match far.answer(&parts.method, parts.uri.path(), &query, &body) {
        Ok(Some(value)) if half => {
            let mut answer = reply(200, &headers, String::new());
            answer.headers_mut().remove("content-length");
            *answer.body_mut() = crate::ntfy::broken_off(&value.to_string());
            answer
        }
        Ok(Some(value)) => reply(200, &headers, value.to_string()),
        Ok(None) => reply(204, &headers, String::new()),
        Err(refused) => refusal(&refused),
    }
}

fn reply(status: u16, headers: &[(&'static str, String)], body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let all = response.headers_mut();
    all.insert("content-type", HeaderValue::from_static("application/json"));
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            all.insert(HeaderName::from_static(name), value);
        }
    }
    response
}

fn refusal(Refused(status, code, message): &Refused) -> Response<Body> {
    reply(*status, &[], json!({"message": message, "code": code}).to_string())
}

fn limited(seconds: f64, global: bool) -> Response<Body> {
    let scope = if global { "global" } else { "user" };
    let headers = [
        ("retry-after", format!("{:.0}", seconds.ceil())),
        ("x-ratelimit-scope", scope.to_owned()),
    ];
    let message = "You are being rate limited.";
    let body = json!({"message": message, "retry_after": seconds, "global": global});
    reply(429, &headers, body.to_string())
}

impl Far {
    fn answer(
        &mut self,
        method: &Method,
        path: &str,
        query: &BTreeMap<&str, &str>,
        body: &[u8],
    ) -> Result<Option<Value>, Refused> {
        let parts: Vec<&str> = path.split('/').collect();
        let ["", "api", "v10", "webhooks", id, token, ref rest @ ..] = parts[..] else {
            return Err(Refused(404, 0, "404: Not Found".into()));
        };
        if id != ID {
            return Err(Refused(404, 10015, "Unknown Webhook".into()));
        }
        if token != TOKEN {
            return Err(Refused(401, 50027, "Invalid Webhook Token".into()));
        }
        let thread = query.get("thread_id").map(|id| (*id).to_owned());
        if thread.as_deref().is_some_and(|id| id != THREAD) {
            return Err(Refused(404, 10003, "Unknown Channel".into()));
        }
        match (method, rest) {
            (&Method::GET, []) => Ok(Some(json!({"type": 1, "id": ID, "name": "ao"}))),
            (&Method::POST, []) => {
                let post = Post { thread, ..read(body, false)? };
                let wait = query.get("wait") == Some(&"true");
                let id = format!("{}", 900_000_000_000_000_000_u64 + self.posts.len() as u64);
                self.posts.push((id.clone(), post));
                Ok(wait.then(|| json!({"id": id, "type": 0})))
            }
            (&Method::PATCH, ["messages", id]) => {
                // A message is looked for in the channel, or in the thread that is named.
                let is_it =
                    |(known, post): &&mut (String, Post)| known == id && post.thread == thread;
                let known = self.posts.iter_mut().find(is_it);
                let (id, post) =
                    known.ok_or_else(|| Refused(404, 10008, "Unknown Message".into()))?;
                let edited = read(body, true)?;
                // Nobody is called by an edit.
                let called = std::mem::take(&mut post.called);
                *post = Post { called, thread, silent: post.silent, edited: true, ..edited };
                Ok(Some(json!({"id": id, "type": 0})))
            }
            _ => Err(Refused(405, 0, "405: Method Not Allowed".into())),
        }
    }
}

fn read(body: &[u8], edit: bool) -> Result<Post, Refused> {
    let invalid = |why: &str| Refused(400, 50035, format!("Invalid Form Body: {why}"));
    let message: Message = serde_json::from_slice(body).map_err(|e| invalid(&e.to_string()))?;
    let length = |text: &str| text.trim().encode_utf16().count();
    let mentions = message.allowed_mentions.unwrap_or_else(|| Mentions {
        // What is parsed where a webhook does not say otherwise.
        parse: vec!["users".to_owned()],
        users: Vec::new(),
    });
    if length(&message.content) > 2000 {
        return Err(invalid("content: Must be 2000 or fewer in length."));
    }
    if message.embeds.len() > 1 {
        return Err(invalid("embeds: the fake shows one"));
    }
    let (description, footer) =
        message.embeds.into_iter().next().map_or_else(Default::default, |embed| {
            (embed.description, embed.footer.map(|footer| footer.text).unwrap_or_default())
        });
    if length(&description) > 4096 || length(&footer) > 2048 {
        return Err(invalid("embeds[0]: Must be 4096 or fewer in length."));
    }
    if length(&description) + length(&footer) > 6000 {
        return Err(invalid("embeds: Embed size exceeds maximum size of 6000"));
    }
    if message.content.trim().is_empty() && description.trim().is_empty() && footer.is_empty() {
        return Err(Refused(400, 50006, "Cannot send an empty message".into()));
    }
    if mentions.parse.iter().any(|kind| !matches!(kind.as_str(), "users" | "roles" | "everyone")) {
        return Err(invalid("allowed_mentions.parse: unknown"));
    }
    if mentions.parse.contains(&"users".to_owned()) && !mentions.users.is_empty() {
        return Err(invalid(
            "allowed_mentions.parse: [\"users\"] and users are mutually exclusive",
        ));
    }
    let is_snowflake = |id: &String| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit());
    if !mentions.users.iter().all(is_snowflake) {
        return Err(invalid("allowed_mentions.users: is not a snowflake"));
    }
    // SUPPRESS_EMBEDS, and for a new message SUPPRESS_NOTIFICATIONS.
    let flags = message.flags.unwrap_or_default();
    if flags & !(1 << 2 | if edit { 0 } else { 1 << 12 }) != 0 {
        return Err(invalid("flags: cannot be set"));
    }
    let mut above = Drawn::of(&message.content);
    let below = Drawn::of(&description);
    // Only what stands above an embed calls anybody.
    let may = |id: &String| match id.as_str() {
        "everyone" => mentions.parse.iter().any(|kind| kind == "everyone"),
        _ => mentions.users.contains(id) || mentions.parse.iter().any(|kind| kind == "users"),
    };
    above.mentions.retain(may);
    above.links.extend(below.links);
    Ok(Post {
        content: above.text,
        body: below.text,
        footer,
        called: above.mentions,
        links: above.links,
        silent: flags & 1 << 12 != 0,
        edited: edit,
        thread: None,
    })
}

/// Markup as Discord's client draws it, as far as a message of ours could hold it.
#[derive(Default)]
struct Drawn {
    text: String,
    mentions: Vec<String>,
    links: Vec<String>,
}

impl Drawn {
    fn of(markup: &str) -> Self {
        let mut drawn = Self::default();
        drawn.draw(markup);
        drawn
    }

    fn draw(&mut self, mut rest: &str) {
        let mut begins = true;
        while let Some(c) = rest.chars().next() {
            let line_begins = std::mem::replace(&mut begins, c == '\n');
            if let Some(code) = rest.strip_prefix("```").and_then(|code| code.split_once("```")) {
                self.text.push_str(code.0.trim_matches('\n'));
                rest = code.1;
            } else if let Some(escaped) = rest.strip_prefix('\\').and_then(|r| r.chars().next())
                && !escaped.is_ascii_alphanumeric()
                && !escaped.is_whitespace()
            {
                self.text.push(escaped);
                rest = &rest[1 + escaped.len_utf8()..];
            } else if let Some((label, target, after)) = link(rest) {
                self.draw(label);
                self.links.push(target.to_owned());
                rest = after;
            } else if let Some((id, after)) = mention(rest) {
                self.mentions.push(id.to_owned());
                rest = after.trim_start();
            } else if let Some(after) = rest.strip_prefix("**") {
                rest = after;
            } else if line_begins && rest.starts_with("> ") {
                rest = &rest[2..];
            } else if line_begins && ["# ", "- ", "* ", "-# "].iter().any(|m| rest.starts_with(m)) {
                self.text.push_str("[markup]");
                rest = &rest[1..];
            } else if c == '_'
                || c == '*'
                || c == '`'
                || rest.starts_with("~~")
                || rest.starts_with("||")
            {
                self.text.push_str("[markup]");
                rest = &rest[c.len_utf8()..];
            } else {
                if rest.starts_with("https://") || rest.starts_with("http://") {
                    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                    self.links.push(rest[..end].to_owned());
                }
                self.text.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
}

/// `[label](<target>)`, with escaped brackets in the label.
fn link(text: &str) -> Option<(&str, &str, &str)> {
    let text = text.strip_prefix('[')?;
    let mut escaped = false;
    let end = text.char_indices().find_map(|(at, c)| {
        let ends = c == ']' && !escaped;
        escaped = c == '\\' && !escaped;
        ends.then_some(at)
    })?;
    let after = text[end + 1..].strip_prefix('(')?;
    let (target, after) = after.split_once(')')?;
    Some((&text[..end], target.trim_start_matches('<').trim_end_matches('>'), after))
}

/// `<@id>`, `@everyone`, `@here`.
fn mention(text: &str) -> Option<(&str, &str)> {
    for everyone in ["@everyone", "@here"] {
        if let Some(after) = text.strip_prefix(everyone) {
            return Some(("everyone", after));
        }
    }
    text.strip_prefix("<@")?.split_once('>')
}
