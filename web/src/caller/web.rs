//! The port's callers: a program by its token, a browser by its cookie. Nothing in an address lets anybody in.

use std::sync::Arc;

use ao_core::{config::policy::Role, event::AccessKind, slots::InstanceId, state::Access};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{Caller, Right, Visitor};
use crate::{
    Api, Code, Problem,
    door::{Strangers, Via},
    pages::sign_in,
};

/// What admission needs.
#[derive(Clone)]
pub(crate) struct Entrance {
    pub(crate) api: Arc<Api>,
    /// How often strangers may knock.
    pub(crate) strangers: Strangers,
}

/// Lets in who is known, and tells the handlers who that is. Everyone else is shown the way in.
pub(crate) async fn admit_web(
    State(door): State<Entrance>,
    mut request: Request,
    next: Next,
) -> Response {
    match known(&door.api, &request) {
        Ok(Some(access)) => {
            if let Some(elsewhere) = sign_in::came_again(&request) {
                return elsewhere;
            }
            // Whoever may only look changes nothing but that he is in, whatever a route asks for.
            let reads = matches!(*request.method(), Method::GET | Method::HEAD);
            if access.role == Role::Viewer && !reads && request.uri().path() != "/sign-out" {
                let caller = Caller::Human(Visitor::from(access));
                let refused = caller.may(Right::Act, "do that").map(|_| ());
                return refused.into_response();
            }
            request.extensions_mut().insert(access.id);
            request.extensions_mut().insert(Caller::Human(Visitor::from(access)));
            next.run(request).await
        }
        Ok(None) if !door.strangers.may_knock() => {
            Problem::new(Code::TooOften, "too many requests").into_response()
        }
        Ok(None) if request.uri().path().starts_with("/api/") => {
            Problem::new(Code::SignedOut, "this needs a token").into_response()
        }
        Ok(None) => sign_in::stranger(&request),
        Err(problem) => problem.into_response(),
    }
}

/// By what the request may come in; none = by nothing. An error says that its cookie was sent by a page of another's.
fn known(api: &Api, request: &Request) -> Result<Option<Access>, Problem> {
    let headers = request.headers();
    if has_credential(request.uri().query().unwrap_or_default()) {
        return Ok(None);
    }
    let of = |kind, secret: &str| api.handle.access(secret).filter(|access| access.kind == kind);
    // A token that is none is not helped by a cookie beside it.
    if let Some(given) = headers.get(header::AUTHORIZATION) {
        let token = given.to_str().ok().and_then(|given| given.strip_prefix("Bearer "));
        return Ok(token.and_then(|token| of(AccessKind::Token, token)));
    }
    let instance = api.handle.state().instance.clone();
    let Some(name) = instance.map(|instance| cookie_name(&instance)) else { return Ok(None) };
    let found = cookies(headers, &name).find_map(|secret| of(AccessKind::Browser, secret));
    if found.is_some() && !sent_by_us(request) {
        return Err(Problem::new(Code::Forbidden, "this page is none of ao's"));
    }
    Ok(found)
}

/// Whether a page of ours sent a request, where its cookie alone would let it in. That an `Origin` is ours is known by
/// now; a browser sends one with whatever changes something (Fetch, "append a request `Origin` header"). It sends the
/// cookie with what a page at another port of this host asks for too: that is the same site, not the same origin.
fn sent_by_us(request: &Request) -> bool {
    let text = |name: &str| {
        let name = HeaderName::try_from(name).ok()?;
        Some(request.headers().get(name)?.to_str().unwrap_or("?"))
    };
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let api = request.uri().path().starts_with("/api/");
    let follows_a_link = reads && !api && text("sec-fetch-mode") == Some("navigate");
    match text("sec-fetch-site") {
        _ if !reads && !request.headers().contains_key(header::ORIGIN) => false,
        None | Some("same-origin" | "none") => true,
        Some(_) => follows_a_link,
    }
}

/// Whether somebody tries to come in by an address: it would stand in histories and logs.
fn has_credential(query: &str) -> bool {
    let names = query.split('&').map(|pair| pair.split('=').next().unwrap_or_default());
    names.into_iter().any(|name| {
        ["token", "access_token", "api_key", "key", "ticket"]
            .iter()
            .any(|secret| name.eq_ignore_ascii_case(secret))
    })
}

/// Of several servers on this machine each has a cookie of its own.
pub(crate) fn cookie_name(instance: &InstanceId) -> String {
    let id = instance.as_str();
    format!("ao-{}", &id[id.len().saturating_sub(8)..])
}

/// The values of a cookie: a browser may send several of one name (RFC 6265, 5.4).
fn cookies<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = &'h str> {
    let lines = headers.get_all(header::COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
    let values = pairs.filter(|(key, _)| key.trim() == name).map(|(_, value)| value.trim());
    values.collect::<Vec<_>>().into_iter()
}

/// The cookie that lets a browser in by `secret`, for so many seconds, at the place where it asked.
pub(crate) fn given_by(instance: &InstanceId, secret: &str, seconds: u64, via: &Via) -> String {
    let secure = if via.https { "; Secure" } else { "" };
    let (name, path) = (cookie_name(instance), &via.path);
    format!("{name}={secret}; Path={path}; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s6_a_credential_in_an_address_is_seen_whatever_its_case_and_place() {
        for query in ["token=x", "a=1&access_token=x", "TOKEN", "key=", "x&ticket=1"] {
            assert!(has_credential(query), "{query}");
        }
        for query in ["", "after=e1&brief=1", "tokens=1", "a=token"] {
            assert!(!has_credential(query), "{query}");
        }
    }

    #[test]
    fn a_cookie_is_found_among_others_and_by_its_whole_name() {
        let mut headers = HeaderMap::new();
        headers.append("cookie", "a=1; ao-X=one;ao-X = two; ao-XY=no; =; x".parse().unwrap());
        headers.append("cookie", "ao-X=three=".parse().unwrap());
        assert_eq!(cookies(&headers, "ao-X").collect::<Vec<_>>(), ["one", "two", "three="]);
        let instance: InstanceId = "01JD0000000000000000ABCDEF".parse().unwrap();
        assert_eq!(cookie_name(&instance), "ao-00ABCDEF");
        let via = Via { away: true, path: "/phone".into(), https: true };
        let given = given_by(&instance, "s", 60, &via);
        let flags = "Path=/phone; HttpOnly; SameSite=Strict; Max-Age=60; Secure";
        assert_eq!(given, format!("ao-00ABCDEF=s; {flags}"));
    }
}
