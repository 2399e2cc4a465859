//! What the plugins for GitHub share: one client for a token, whatever projects use it, with what is left of the
//! vendor's limits and the answers that a conditional request spares.
//!
//! Requests go through octocrab over the client of all plugins. Three of its habits are not used: it follows redirects
//! with no look at where, its cache keeps half a body under a whole one's tag, and its GraphQL call drops the data of an
//! answer that has errors besides.

mod app;
mod limits;
#[cfg(test)]
mod tests;
mod token;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use ao_sdk::{Secret, http};
use ao_slots::{
    Call, ErrorKind, PluginError,
    plugin::BuildContext,
    scm::Quota,
    text::{cut, one_line},
};
use http_body_util::BodyExt as _;
use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};
use octocrab::Octocrab;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{
    ACCEPT, DATE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, LINK, LOCATION, USER_AGENT,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;
use url::Url;

pub use reqwest::Method;

pub use crate::{app::App, token::RIGHTS};
use crate::{limits::Limits, token::Source};

/// What every request says it comes from.
const AGENT: &str = concat!("ao/", env!("CARGO_PKG_VERSION"));
/// Where github.com answers.
const PUBLIC: &str = "https://api.github.com";
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(3);
/// The most of an answer that is read.
const MOST: usize = 16 << 20;
/// The most of a log that is kept: its end, where what failed is told.
const MOST_OF_LOG: usize = 8 << 20;
/// How many answers are kept for conditional requests, each of at most so many bytes.
const KEPT: (usize, usize) = (500, 64 << 10);
/// How often a redirect is followed.
const HOPS: usize = 3;
/// A token that somebody else keeps is asked for again after a refusal, but not more often.
const AGAIN: Duration = Duration::from_secs(300);

/// How a plugin gets in: three keys of its settings.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Access {
    /// The token. Without one, that of the environment, else that of `gh auth token`.
    pub token: Option<Secret>,
    /// Where the service answers: of an Enterprise server `https://<host>/api/v3`.
    pub url: Option<String>,
    /// An App to ask as, instead of a token.
    pub app: Option<App>,
}

impl Access {
    /// Says what is wrong in the settings of a plugin.
    pub fn check(&self, plugin: &str) -> Result<(), PluginError> {
        self.place().map(drop).and_then(|()| self.token_is_one()).map_err(|why| {
            PluginError::permanent(format!("the settings of `{plugin}` are not valid"), why)
        })
    }

    fn token_is_one(&self) -> Result<(), String> {
        match (self.token.as_ref().map(Secret::reveal), &self.app) {
            (Some(_), Some(_)) => Err("`token` and `app` exclude each other".to_owned()),
            (Some(token), _) if !token::is_one(token) => Err("`token` is no token".to_owned()),
            (None, Some(app)) => app.check(),
            _ => Ok(()),
        }
    }

    fn place(&self) -> Result<Place, String> {
        let given = self.url.as_deref().unwrap_or(PUBLIC);
        let url: Url = given.parse().map_err(|error| format!("`url`: {error}"))?;
        let host = url.host_str().unwrap_or_default().to_owned();
        let is_here = matches!(host.as_str(), "localhost" | "127.0.0.1" | "[::1]");
        if !(url.scheme() == "https" || url.scheme() == "http" && is_here) || host.is_empty() {
            return Err("`url` must begin with https://".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return Err("`url` is an address alone, without a password or a query".to_owned());
        }
        let rest = url.path().trim_end_matches('/').to_owned();
        let graphql = match rest.strip_suffix("/v3") {
            Some(api) if rest.ends_with("/api/v3") => format!("{api}/graphql"),
            _ => format!("{rest}/graphql"),
        };
        let origin = url.origin().ascii_serialization();
        // Where people and `gh` see it.
        let host = host.strip_prefix("api.").unwrap_or(&host).to_owned();
        Ok(Place { origin, rest, graphql, host })
    }
}

/// Where the service answers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    /// `https://api.github.com`.
    origin: String,
    /// In front of each path of REST: nothing, or `/api/v3`.
    rest: String,
    /// The path of GraphQL.
    graphql: String,
    /// `github.com`.
    host: String,
}

/// For whom something is asked, and until when.
#[derive(Debug, Clone, Copy)]
pub struct Errand {
    until: Instant,
    background: bool,
}

impl Errand {
    /// For somebody who waits: may spend all there is.
    pub fn urgent(call: &Call) -> Self {
        Self { until: ao_sdk::local::deadline(call), background: false }
    }

    /// For nobody in particular: leaves a fifth of what the vendor allows to those who wait.
    pub fn background(call: &Call) -> Self {
        Self { background: true, ..Self::urgent(call) }
    }
}

/// An answer of REST.
#[derive(Debug, Clone)]
pub struct Answer {
    /// 200 to 299; 304 reads as the answer that it stands for.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its JSON; null where there is none.
    pub body: Value,
}

impl Answer {
    /// The path of the next page, RFC 8288.
    pub fn next(&self) -> Option<String> {
        let links = self.headers.get(LINK)?.to_str().ok()?;
        let next = links.split(',').find(|link| link.contains("rel=\"next\""))?;
        let url: Url = next.split_once('<')?.1.split_once('>')?.0.parse().ok()?;
        let path = url.path();
        let path = path.strip_prefix("/api/v3").unwrap_or(path);
        Some(format!("{path}?{}", url.query()?))
    }
}

/// An answer of GraphQL: what came, and what is wrong with the rest.
#[derive(Debug, Clone)]
pub struct Graph {
    /// By the aliases of the document.
    pub data: Value,
    /// What is wrong, each with the path of what is missing for it.
    pub errors: Vec<GraphError>,
    /// When it was answered, by the vendor's clock.
    pub at: Option<Timestamp>,
}

/// One error beside data.
#[derive(Debug, Clone, Deserialize)]
pub struct GraphError {
    /// The vendor's word: `NOT_FOUND`; empty where it has none.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// The same in other words: `graphql_rate_limit`; mostly empty.
    #[serde(default)]
    code: String,
    /// The vendor's words.
    #[serde(default)]
    pub message: String,
    /// Where the value would be.
    #[serde(default)]
    pub path: Vec<Value>,
}

impl Graph {
    /// The error about this field of the root.
    pub fn error(&self, alias: &str) -> Option<&GraphError> {
        self.errors.iter().find(|error| error.path.first().is_none_or(|first| first == alias))
    }

    /// Of a mutation: that it was done.
    pub fn done(&self, what: &str) -> Result<(), PluginError> {
        match self.errors.first() {
            None => Ok(()),
            Some(error) => Err(PluginError::new(ErrorKind::Refused, what, excerpt(&error.message))),
        }
    }
}

/// The client of one token.
pub struct Github {
    place: Place,
    source: Source,
    signed: tokio::sync::Mutex<Option<Arc<Signed>>>,
    limits: Mutex<Limits>,
    account: Mutex<Option<String>>,
    kept: Mutex<Kept>,
}

impl fmt::Debug for Github {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Github").field("host", &self.place.host).finish_non_exhaustive()
    }
}

/// Octocrab with a token.
struct Signed {
    crab: Octocrab,
    bare: reqwest::Client,
    since: Instant,
    /// When it must be made anew.
    until: Option<Timestamp>,
}

/// Answers by path and media type, the oldest first.
#[derive(Default)]
struct Kept {
    answers: BTreeMap<String, (u64, HeaderValue, Answer)>,
    count: u64,
}

/// Those that are in use, by place and a digest of the token: what is spent and known is the token's, not a project's.
static SHARED: LazyLock<Mutex<BTreeMap<String, Weak<Github>>>> = LazyLock::new(Mutex::default);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Github {
    /// The client for these settings: one with others of the same token and place. Looks for no token yet.
    pub fn build(access: &Access, context: &BuildContext) -> Result<Arc<Self>, PluginError> {
        access.check("github")?;
        let invalid = |why| PluginError::permanent("cannot use GitHub", why);
        let place = access.place().map_err(invalid)?;
        let source = Source::new(access, &place.host, context);
        let key = format!("{}{} {}", place.origin, place.rest, source.name());
        let mut shared = lock(&SHARED);
        shared.retain(|_, one| one.strong_count() > 0);
        if let Some(one) = shared.get(&key).and_then(Weak::upgrade) {
            return Ok(one);
        }
        let one = Arc::new(Self {
            place,
            source,
            signed: tokio::sync::Mutex::default(),
            limits: Mutex::default(),
            account: Mutex::default(),
            kept: Mutex::default(),
        });
        shared.insert(key, Arc::downgrade(&one));
        Ok(one)
    }

    /// `github.com`, or an Enterprise server's name.
    pub fn host(&self) -> &str {
        &self.place.host
    }

    /// Says whose token it is, once somebody knows.
    pub fn belongs_to(&self, login: &str) {
        *lock(&self.account) = Some(one_line(login));
    }

    /// What is left, as the last answers told.
    pub fn quota(&self) -> Vec<Quota> {
        let login = lock(&self.account).clone();
        let account = match login {
            Some(login) => format!("{login} @ {}", self.place.host),
            None => self.place.host.clone(),
        };
        lock(&self.limits).quota(&account, now())
    }

    /// Asks REST: a path from `/repos` on with its query. A read is conditional; what has not changed costs nothing.
    pub async fn rest(
        &self,
        errand: Errand,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, PluginError> {
        let read = method == Method::GET;
        let key = read.then(|| path.to_owned());
        let known = key.as_ref().and_then(|key| self.known(key));
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/vnd.github+json"));
        if let Some((tag, _)) = &known {
            headers.insert(IF_NONE_MATCH, tag.clone());
        }
        let full = format!("{}{path}", self.place.rest);
        let ask = Ask { headers, ..Ask::rest(&method, &full, body) };
        let got = self.exchange(errand, ask).await?;
        if let (304, Some((_, answer))) = (got.status, known) {
            lock(&self.limits).passed("core", 0);
            return Ok(answer);
        }
        let whom = self.whom();
        let json = match got.bytes.is_empty() {
            true => Value::Null,
            false => {
                serde_json::from_slice(&got.bytes).map_err(|error| unread(&whom, read, error))?
            }
        };
        lock(&self.limits).passed("core", 1);
        let answer = Answer { status: got.status, headers: got.headers, body: json };
        // Only what has been read to its end is kept, so no tag stands for a part.
        let tag = answer.headers.get(ETAG).filter(|_| got.bytes.len() <= KEPT.1);
        if let (Some(key), Some(tag)) = (key, tag) {
            lock(&self.kept).keep(key, tag.clone(), answer.clone());
        }
        Ok(answer)
    }

    /// Asks REST for a text of this media type, of which at most 16 MiB are read.
    pub async fn text(
        &self,
        errand: Errand,
        path: &str,
        media: &'static str,
    ) -> Result<String, PluginError> {
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(media))]);
        let full = format!("{}{path}", self.place.rest);
        let ask = Ask { headers, ..Ask::rest(&Method::GET, &full, None) };
        let got = self.exchange(errand, ask).await?;
        lock(&self.limits).passed("core", 1);
        Ok(String::from_utf8_lossy(&got.bytes).into_owned())
    }

    /// The end of a log, at most 8 MiB. It lies in a store of its own, which the vendor names and which is shown no
    /// token.
    pub async fn log(&self, errand: Errand, path: &str) -> Result<String, PluginError> {
        let full = format!("{}{path}", self.place.rest);
        let ask = Ask { follow: false, ..Ask::rest(&Method::GET, &full, None) };
        let got = self.exchange(errand, ask).await?;
        lock(&self.limits).passed("core", 1);
        let Some(to) = got.elsewhere else {
            return Ok(String::from_utf8_lossy(&got.bytes).into_owned());
        };
        let signed = self.signed(errand).await?;
        let whom = "the store of logs";
        let fetch = async {
            let asked = signed.bare.get(to).send().await;
            let mut response =
                asked.map_err(|error| http::unanswered(whom, &error, "report this"))?;
            match response.status().as_u16() {
                200..=299 => {}
                404 | 410 => {
                    return Err(PluginError::new(ErrorKind::NotFound, "the log is gone", ""));
                }
                status => {
                    return Err(PluginError::transient(
                        "cannot read the log",
                        format!("{whom} says {status}"),
                    ));
                }
            }
            let mut end = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(|error| {
                PluginError::transient("cannot read the log", http::chain(&error))
            })? {
                end.extend_from_slice(&chunk);
                if end.len() > 2 * MOST_OF_LOG {
                    end.drain(..end.len() - MOST_OF_LOG);
                }
            }
            end.drain(..end.len().saturating_sub(MOST_OF_LOG));
            Ok(String::from_utf8_lossy(&end).into_owned())
        };
        self.in_time(errand, true, fetch).await
    }

    /// Asks GraphQL. An answer without any data is an error; one with a part of it is not.
    pub async fn graphql(
        &self,
        errand: Errand,
        document: &str,
        variables: &Value,
    ) -> Result<Graph, PluginError> {
        let read = !document.trim_start().starts_with("mutation");
        let body = json!({"query": document, "variables": variables});
        let path = &self.place.graphql;
        let ask = Ask { resource: "graphql", read, ..Ask::rest(&Method::POST, path, Some(&body)) };
        let got = self.exchange(errand, ask).await?;
        let whom = self.whom();
        let mut json: Value =
            serde_json::from_slice(&got.bytes).map_err(|error| unread(&whom, read, error))?;
        let errors: Vec<GraphError> = match json["errors"].take() {
            Value::Null => Vec::new(),
            errors => serde_json::from_value(errors).map_err(|error| unread(&whom, read, error))?,
        };
        let data = json["data"].take();
        // A limit comes with 200 too: as an error, or as a message without data.
        let message = json["message"].as_str().filter(|_| !data.is_object());
        if limits::is_told(&errors, message, &got.headers) {
            return Err(lock(&self.limits).exhausted("graphql", &whom, &got.headers, now()));
        }
        if let Some(error) = errors.first().filter(|_| !data.is_object()) {
            let what = format!("{whom} answered no question");
            let cause = excerpt(&error.message);
            return Err(match error.kind.as_str() {
                // It says so when it ran out of time.
                "" | "SERVICE_UNAVAILABLE" | "INTERNAL" if read => {
                    PluginError::transient(what, cause)
                }
                "" | "SERVICE_UNAVAILABLE" | "INTERNAL" => PluginError::in_doubt(what, cause),
                "FORBIDDEN" | "INSUFFICIENT_SCOPES" => {
                    PluginError::permanent(what, cause).with_remedy(token::RIGHTS)
                }
                _ => PluginError::permanent(what, cause),
            });
        }
        if !data.is_object() {
            return Err(unread(&whom, read, "neither data nor errors"));
        }
        let cost = data["rateLimit"]["cost"].as_u64().unwrap_or(1);
        lock(&self.limits).passed("graphql", cost);
        let at = got.headers.get(DATE).and_then(|at| at.to_str().ok());
        let at = at.and_then(|at| DateTimeParser::new().parse_timestamp(at).ok());
        Ok(Graph { data, errors, at })
    }

    fn whom(&self) -> String {
        match self.place.host.as_str() {
            "github.com" => "GitHub".to_owned(),
            host => format!("GitHub at {host}"),
        }
    }

    fn known(&self, key: &str) -> Option<(HeaderValue, Answer)> {
        lock(&self.kept).answers.get(key).map(|(_, tag, answer)| (tag.clone(), answer.clone()))
    }

    /// A client with a token, made at the first need.
    async fn signed(&self, errand: Errand) -> Result<Arc<Signed>, PluginError> {
        let find = async {
            let mut signed = self.signed.lock().await;
            let soon = Timestamp::now() + AGAIN;
            let good = |signed: &&Arc<Signed>| signed.until.is_none_or(|until| until > soon);
            if let Some(signed) = signed.as_ref().filter(good) {
                return Ok(signed.clone());
            }
            let bare = client(&self.source.env)?;
            let (token, until) = match &self.source.app {
                Some(app) => {
                    let (token, until) = app.token(&bare, &self.place).await?;
                    (token, Some(until))
                }
                None => (self.source.token(&self.place.host, errand.until).await?, None),
            };
            let failed = |error: octocrab::Error| {
                PluginError::permanent("cannot make a client for GitHub", chain(&error))
            };
            let crab = Octocrab::builder()
                .base_uri(self.place.origin.as_str())
                .map_err(failed)?
                .add_header(USER_AGENT, AGENT.to_owned())
                .user_access_token(token.reveal().to_owned())
                .build_with_reqwest(bare.clone())
                .map_err(failed)?;
            let new = Arc::new(Signed { crab, bare, since: Instant::now(), until });
            *signed = Some(new.clone());
            Ok(new)
        };
        self.in_time(errand, true, find).await
    }

    /// One exchange, redirects within the service included; what is no success but a 304 is an error.
    async fn exchange(&self, errand: Errand, ask: Ask<'_>) -> Result<Got, PluginError> {
        let whom = self.whom();
        lock(&self.limits).admit(ask.resource, errand.background, &whom, now())?;
        if errand.until <= Instant::now() {
            return Err(self.late());
        }
        let signed = self.signed(errand).await?;
        let mut path = ask.path.to_owned();
        for _ in 0..=HOPS {
            let asked = self.once(&signed, &ask, &path);
            let got = self.in_time(errand, ask.read, asked).await?;
            lock(&self.limits).heard(ask.resource, &got.headers, now());
            match got.status {
                301 | 302 | 303 | 307 | 308 => {
                    let to = got.headers.get(LOCATION).and_then(|to| to.to_str().ok());
                    let to = to.unwrap_or_default().to_owned();
                    // A name that merely begins like ours is another's, who is shown no token.
                    match to.strip_prefix(&self.place.origin).filter(|rest| rest.starts_with('/')) {
                        // The store that a log lies in is named by a 302; another name of the repository is followed.
                        _ if !ask.follow && got.status == 302 => {
                            return Ok(Got { elsewhere: Some(to), ..got });
                        }
                        Some(rest) => path = rest.to_owned(),
                        None => break,
                    }
                }
                200..=299 | 304 => return Ok(got),
                401 => {
                    self.forget(&signed).await;
                    return Err(self.failure(&got, &ask));
                }
                _ => return Err(self.failure(&got, &ask)),
            }
        }
        Err(PluginError::permanent(format!("{whom} leads nowhere"), "it redirects to elsewhere"))
    }

    async fn once(&self, signed: &Signed, ask: &Ask<'_>, path: &str) -> Result<Got, PluginError> {
        let crab = &signed.crab;
        let asked = match ask.method.as_str() {
            "GET" => crab._get_with_headers(path, Some(ask.headers.clone())).await,
            "POST" => crab._post(path, ask.body).await,
            "PUT" => crab._put(path, ask.body).await,
            "PATCH" => crab._patch(path, ask.body).await,
            _ => crab._delete(path, ask.body).await,
        };
        let whom = self.whom();
        let response = asked.map_err(|error| unanswered(&whom, &error))?;
        let (parts, mut body) = response.into_parts();
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                PluginError::in_doubt(format!("{whom} gave no whole answer"), chain(&error))
            })?;
            if let Some(data) = frame.data_ref() {
                bytes.extend_from_slice(data);
            }
            if bytes.len() > MOST {
                let cause = format!("it is longer than {MOST} bytes");
                return Err(PluginError::in_doubt(format!("{whom} gave no whole answer"), cause));
            }
        }
        let status = parts.status.as_u16();
        Ok(Got { status, headers: parts.headers, bytes, elsewhere: None })
    }

    /// Within the errand's time; what only reads surely changed nothing.
    async fn in_time<T>(
        &self,
        errand: Errand,
        read: bool,
        exchange: impl Future<Output = Result<T, PluginError>>,
    ) -> Result<T, PluginError> {
        let done = tokio::time::timeout_at(errand.until, exchange).await;
        let late = |_| PluginError { kind: ErrorKind::InDoubt, ..self.late() };
        let done = done.map_err(late).and_then(|done| done);
        done.map_err(|error| if read { surely_not(error) } else { error })
    }

    /// There was no time to ask.
    fn late(&self) -> PluginError {
        PluginError::transient(format!("{} gave no answer in time", self.whom()), "")
    }

    /// A token that is kept elsewhere may be another one by now.
    async fn forget(&self, refused: &Arc<Signed>) {
        let mut signed = self.signed.lock().await;
        let same = signed.as_ref().is_some_and(|known| Arc::ptr_eq(known, refused));
        if same && refused.since.elapsed() >= AGAIN {
            *signed = None;
        }
    }

    /// What an answer that is no success means.
    fn failure(&self, got: &Got, ask: &Ask<'_>) -> PluginError {
        let whom = self.whom();
        let json: Value = serde_json::from_slice(&got.bytes).unwrap_or_default();
        let message = match json["message"].as_str() {
            Some(message) => {
                let details = json["errors"].as_array().into_iter().flatten();
                let details = details.filter_map(|one| {
                    one.as_str().or(one["message"].as_str()).or(one["code"].as_str())
                });
                std::iter::once(message).chain(details).collect::<Vec<_>>().join(": ")
            }
            None => format!("status {} without a word", got.status),
        };
        let cause = excerpt(&message);
        let what = || format!("{whom} refuses this");
        let mut limits = lock(&self.limits);
        match got.status {
            403 | 429 if limits::is_limit(got.status, &got.headers, &message) => {
                limits.exhausted(ask.resource, &whom, &got.headers, now())
            }
            401 => PluginError::permanent(format!("{whom} does not take the token"), cause)
                .with_remedy(token::REMEDY),
            403 => PluginError::permanent(what(), cause).with_remedy(token::RIGHTS),
            404 | 410 => {
                PluginError::new(ErrorKind::NotFound, format!("{whom} has no such thing"), cause)
            }
            405 | 409 => PluginError::new(ErrorKind::Refused, what(), cause),
            408 | 425 | 500.. => {
                let error = PluginError::in_doubt(format!("{whom} is not well"), cause);
                if ask.read { surely_not(error) } else { error }
            }
            _ => PluginError::permanent(what(), cause),
        }
    }
}

/// What is asked.
struct Ask<'a> {
    /// Which of the limits it is counted by.
    resource: &'static str,
    method: &'a Method,
    path: &'a str,
    headers: HeaderMap,
    body: Option<&'a Value>,
    /// It changes nothing.
    read: bool,
    /// A redirect to a thing's place is followed, as one to another name of it always is.
    follow: bool,
}

impl<'a> Ask<'a> {
    fn rest(method: &'a Method, path: &'a str, body: Option<&'a Value>) -> Self {
        let read = *method == Method::GET;
        Self { resource: "core", method, path, headers: HeaderMap::new(), body, read, follow: true }
    }
}

/// An exchange that came to its end.
struct Got {
    status: u16,
    headers: HeaderMap,
    bytes: Vec<u8>,
    /// Where it leads, where nobody follows.
    elsewhere: Option<String>,
}

impl Kept {
    fn keep(&mut self, key: String, tag: HeaderValue, answer: Answer) {
        self.count += 1;
        self.answers.insert(key, (self.count, tag, answer));
        if self.answers.len() > KEPT.0 {
            let oldest =
                self.answers.iter().min_by_key(|(_, kept)| kept.0).map(|(key, _)| key.clone());
            oldest.map(|key| self.answers.remove(&key));
        }
    }
}

/// One client for all requests: connections are kept, since a sweep comes every half a minute. Redirects are looked at
/// before they are followed.
fn client(env: &BTreeMap<String, String>) -> Result<reqwest::Client, PluginError> {
    http::provide();
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT)
        .no_proxy();
    let variable = |name: &str| env.get(name).or_else(|| env.get(&name.to_uppercase()));
    if let Some(proxy) = variable("https_proxy").and_then(|url| reqwest::Proxy::https(url).ok()) {
        let except = variable("no_proxy").and_then(|names| reqwest::NoProxy::from_string(names));
        builder = builder.proxy(proxy.no_proxy(except));
    }
    builder.build().map_err(|error| {
        PluginError::new(ErrorKind::Missing, "cannot make an HTTPS client", http::chain(&error))
            .with_remedy("install the system's root certificates, e.g. the package ca-certificates")
    })
}

fn now() -> u64 {
    u64::try_from(Timestamp::now().as_second()).unwrap_or_default()
}

fn excerpt(text: &str) -> String {
    cut(&one_line(text), 300)
}

/// A doubt about what changes nothing is none.
fn surely_not(error: PluginError) -> PluginError {
    match error.kind {
        ErrorKind::InDoubt => PluginError { kind: ErrorKind::Transient, ..error },
        _ => error,
    }
}

fn unread(whom: &str, read: bool, why: impl fmt::Display) -> PluginError {
    let error = PluginError::in_doubt(format!("{whom} gave no answer that can be read"), why);
    if read { surely_not(error) } else { error }
}

fn unanswered(whom: &str, error: &octocrab::Error) -> PluginError {
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        if let Some(cause) = cause.downcast_ref::<reqwest::Error>() {
            return http::unanswered(whom, cause, "correct `url`");
        }
        next = cause.source();
    }
    PluginError::in_doubt(format!("{whom} gave no answer"), chain(error))
}

/// An error's causes on a line, without octocrab's own words, which hold a trace.
fn chain(error: &dyn std::error::Error) -> String {
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(excerpt(&cause.to_string()));
        next = cause.source();
    }
    causes.dedup();
    if causes.is_empty() { "the request failed".to_owned() } else { causes.join(": ") }
}

/// A part of a path, escaped: a branch may hold a slash.
pub fn segment(text: &str) -> String {
    const KEEP: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    utf8_percent_encode(text, KEEP).to_string()
}

/// The path of a repository of REST: `acme/app` as `/repos/acme/app`.
pub fn repo_path(repo: &str) -> Result<String, PluginError> {
    let (owner, name) = owner_and_name(repo)?;
    Ok(format!("/repos/{}/{}", segment(&owner), segment(&name)))
}

/// `acme` and `app`, of any spelling that [`repo_of`] reads.
pub fn owner_and_name(repo: &str) -> Result<(String, String), PluginError> {
    let wrong = || {
        let what = format!("`{}` is no repository of GitHub", one_line(repo));
        PluginError::permanent(what, "it is spelled `owner/name`")
            .with_remedy("correct `repo:` of the project")
    };
    let known = repo_of(repo).ok_or_else(wrong)?;
    let (owner, name) = known.name.split_once('/').ok_or_else(wrong)?;
    Ok((owner.to_owned(), name.to_owned()))
}

/// A repository, and the host of its address where it was one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoName {
    /// `github.com`; none where it was spelled without one.
    pub host: Option<String>,
    /// `acme/app`.
    pub name: String,
}

/// The repository of `acme/app`, `https://host/acme/app.git`, `ssh://git@host/acme/app` or `git@host:acme/app.git`.
pub fn repo_of(text: &str) -> Option<RepoName> {
    let text = text.trim();
    let (host, path) = match text.parse::<Url>() {
        Ok(url) if url.has_host() => (url.host_str().map(str::to_owned), url.path().to_owned()),
        _ => match text.split_once(':') {
            Some((host, path)) => {
                let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
                (Some(host.to_owned()), path.to_owned())
            }
            None => (None, text.to_owned()),
        },
    };
    // A path of this machine is none.
    let name = if host.is_some() { path.trim_start_matches('/') } else { path.as_str() };
    let name = name.trim_end_matches('/');
    let name = name.strip_suffix(".git").unwrap_or(name);
    let is_part = |part: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        !part.is_empty() && part != "." && part != ".." && part.chars().all(fits)
    };
    let (owner, repo) = name.split_once('/')?;
    (is_part(owner) && is_part(repo)).then(|| RepoName { host, name: name.to_owned() })
}
