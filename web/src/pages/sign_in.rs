//! The way in for a browser, and out.
//!
//! A ticket lies in the path, and only a press takes it: no address lets anybody in by being opened, and what looks at
//! links before a human does spends none. What a stranger wanted to see is named, and shown where it was wanted as soon
//! as the browser is let in; nothing else in an address says where to go.

use std::{sync::Arc, time::Duration};

use ao_core::{
    decide::Grant,
    event::AccessKind,
    slots::text::{cut, one_line},
};
use askama::Template;
use axum::{
    Extension, Router,
    extract::{Path, Request, State},
    http::{HeaderMap, HeaderName, Method, StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};

use super::{Wanted, shell};
use crate::{
    Api, Code, Problem, assets,
    caller::{Caller, Right, Visitor, given_by},
    door::{Ends, Via},
};

/// For how long a browser is let in.
const LASTS: Duration = Duration::from_secs(30 * 24 * 3600);
/// How soon a page that somebody waits before looks whether its browser is let in by now, in seconds.
const LOOKS: u32 = 5;

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/sign-in", get(way_in))
        .route("/sign-in/{ticket}", get(show).post(take))
        .route("/signed-out", get(out))
}

#[derive(Template)]
#[template(path = "sign-in.html")]
struct Page<'a> {
    /// From here to the root, for whoever shows us below a path of his own.
    root: String,
    title: &'a str,
    say: Say<'a>,
}

/// What the page says.
enum Say<'a> {
    /// How to get in, and where that leads.
    Way { command: String, away: bool, then: Option<&'a Wanted>, looks: Option<u32> },
    /// Whoever presses gets in. `alone` = nobody but the human's own program can have opened this.
    Enter { who: &'a str, then: &'a Wanted, alone: bool },
    /// A ticket is worth nothing any more.
    Void,
    /// The browser is out.
    Out,
}

impl Page<'_> {
    fn style(&self) -> &'static str {
        &shell::STYLE
    }

    /// What presses by itself, where nobody else can have opened the page.
    fn script(&self) -> Option<&'static str> {
        matches!(self.say, Say::Enter { alone: true, .. }).then(assets::script).flatten()
    }

    fn answer(self, status: StatusCode) -> Response {
        shell::answer(status, self.render())
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let name = HeaderName::try_from(name).ok()?;
    Some(headers.get(name)?.to_str().unwrap_or("?"))
}

/// From a page to the root.
fn root_of(path: &str) -> String {
    "../".repeat(path.matches('/').count().saturating_sub(1))
}

/// What a browser sees that is not let in. A link from a mail or a chat comes without our cookie, as that is for our own
/// pages alone (`SameSite=Strict`): a page of ours asks once more, and then it is sent.
pub(crate) fn stranger(request: &Request) -> Response {
    let (headers, path) = (request.headers(), request.uri().path());
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let html = text(headers, "accept").is_some_and(|accept| accept.contains("text/html"));
    let from_elsewhere = matches!(text(headers, "sec-fetch-site"), None | Some("cross-site"));
    if reads && html && from_elsewhere && request.uri().query() != Some("again") {
        let again = "<!doctype html><title>ao</title><meta http-equiv=\"refresh\" content=\"0;url=?again\"><a href=\"?again\">Go on</a>";
        return Html(again).into_response();
    }
    if !reads {
        return Problem::new(Code::SignedOut, "you are signed out")
            .with_remedy("ao dashboard")
            .into_response();
    }
    let (wanted, via) = (Wanted::at(path), request.extensions().get::<Via>());
    let away = via.is_some_and(|via| via.away);
    way(root_of(path), wanted.as_ref(), away, true).answer(StatusCode::UNAUTHORIZED)
}

fn way(root: String, wanted: Option<&Wanted>, away: bool, looks: bool) -> Page<'_> {
    let name = wanted.and_then(Wanted::name).map(|name| format!(" {name}"));
    let flag = if away { " --away" } else { "" };
    let command = format!("ao dashboard{flag}{}", name.unwrap_or_default());
    let then = wanted.filter(|wanted| **wanted != Wanted::Attention);
    Page {
        root,
        title: "Sign in",
        say: Say::Way { command, away, then, looks: looks.then_some(LOOKS) },
    }
}

/// What let a link in that came without our cookie, without the mark by which it came again.
pub(crate) fn came_again(request: &Request) -> Option<Response> {
    let path = request.uri().path();
    let reads = *request.method() == Method::GET && request.uri().query() == Some("again");
    let last = path.rsplit('/').next().filter(|_| reads && Wanted::at(path).is_some())?;
    Some(see(&format!("./{last}")))
}

/// To another page.
fn see(place: &str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, place)]).into_response()
}

async fn way_in(Extension(via): Extension<Via>) -> Response {
    way(String::new(), None, via.away, false).answer(StatusCode::OK)
}

async fn out() -> Response {
    Page { root: String::new(), title: "You are signed out", say: Say::Out }.answer(StatusCode::OK)
}

/// Shows what a ticket does. Changes nothing.
async fn show(
    State(api): State<Arc<Api>>,
    Path(word): Path<String>,
    headers: HeaderMap,
) -> Response {
    let Some(ticket) = api.tickets.look(&word) else { return void() };
    // Only what the human's own program opened came from nowhere. What is for another device may be sent about, and be
    // looked at by what runs scripts too.
    let alone = !ticket.away && text(&headers, "sec-fetch-site") == Some("none");
    let (who, then) = (ticket.visitor.actor.name.as_str(), &ticket.wanted);
    let say = Say::Enter { who, then, alone };
    Page { root: "../".into(), title: "Open the dashboard", say }.answer(StatusCode::OK)
}

fn void() -> Response {
    Page { root: "../".into(), title: "This link is used up", say: Say::Void }
        .answer(StatusCode::GONE)
}

/// Spends a ticket: from now on the browser is let in.
async fn take(
    State(api): State<Arc<Api>>,
    Extension(ends): Extension<Ends>,
    Extension(via): Extension<Via>,
    Path(word): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // A program without a page of ours has no business here.
    if !headers.contains_key(header::ORIGIN) {
        return Err(Problem::new(Code::Forbidden, "this page is none of ao's"));
    }
    let Some(ticket) = api.tickets.look(&word) else { return Ok(void()) };
    // Whoever opened the browser had the ticket among its arguments, where other users of this machine see it.
    if !ticket.away && ends.are_anothers() {
        return Err(Problem::new(Code::Forbidden, "this link is another user's"));
    }
    // Of two at one time one gets it.
    let Some(ticket) = api.tickets.take(&word) else { return Ok(void()) };
    let Visitor { actor, role, .. } = ticket.visitor;
    let now = api.handle.now().wall;
    let grant = Grant {
        kind: AccessKind::Browser,
        name: browser(text(&headers, "user-agent").unwrap_or_default()),
        person: actor.name.clone(),
        role,
        until: now.checked_add(LASTS).ok(),
        by: actor,
    };
    let (_, secret) = api.handle.grant(grant).await?;
    let instance = api.handle.state().instance.clone();
    let gone = || Problem::new(Code::Unavailable, "the server is starting");
    let cookie = given_by(&instance.ok_or_else(gone)?, &secret, LASTS.as_secs(), &via);
    let there = see(&format!("../{}", ticket.wanted.path()));
    Ok(([(header::SET_COOKIE, cookie)], there).into_response())
}

/// Takes back what lets this browser in.
pub(crate) async fn sign_out(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    via: Option<Extension<Via>>,
) -> Result<Response, Problem> {
    let Visitor { actor, access, .. } = caller.may(Right::Look, "sign out")?.clone();
    if let Some(access) = access {
        api.handle.revoke(access, actor).await?;
    }
    // None by the private socket, which knows no cookies.
    let place = api.handle.state().instance.clone().zip(via);
    let cookie =
        place.map(|(instance, via)| [(header::SET_COOKIE, given_by(&instance, "", 0, &via))]);
    Ok((cookie, see("signed-out")).into_response())
}

/// By what its owner knows a browser, from how it names itself.
fn browser(agent: &str) -> String {
    let first = |known: &[(&str, &'static str)]| {
        known.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, name)| *name)
    };
    // Each names those before it too.
    let program = first(&[
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("FxiOS/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("CriOS/", "Chrome"),
        ("Safari/", "Safari"),
    ]);
    let system = first(&[
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Windows", "Windows"),
        ("Mac OS X", "macOS"),
        ("Linux", "Linux"),
    ]);
    match (program, system) {
        (Some(program), Some(system)) => format!("{program} on {system}"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => {
            let named = cut(one_line(agent).trim(), 40);
            if named.is_empty() { "a browser".to_owned() } else { named }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_known_by_its_name_and_its_system() {
        for (agent, name) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
                "Firefox on Linux",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 Safari/537.36 Edg/142.0",
                "Edge on Windows",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 Version/19.0 Mobile Safari/604.1",
                "Safari on iPhone",
            ),
            ("curl/8.5", "curl/8.5"),
            ("", "a browser"),
        ] {
            assert_eq!(browser(agent), name);
        }
    }

    #[test]
    fn the_root_is_found_from_any_page() {
        for (path, root) in [("/", ""), ("/settings", ""), ("/i/142", "../"), ("/pr/a/5", "../../")]
        {
            assert_eq!(root_of(path), root);
        }
    }
}
