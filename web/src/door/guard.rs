//! Which names and origins are our own, and the headers that every answer carries.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, uri::Uri},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::{Api, Code, Problem};

/// Headers that every answer carries: nothing runs, nothing is framed, kept or told on.
pub(super) async fn harmless(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // With `no-referrer` a browser sends `Origin: null` with the page's own form (Fetch, "append a request `Origin`").
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("x-robots-tag"), "noindex"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// By which of our names a request came.
#[derive(Debug, Clone)]
pub(crate) struct Via {
    /// By that of `publicUrl`: from another device.
    pub(crate) away: bool,
    /// Below what path that shows us; others may be shown beside it.
    pub(crate) path: String,
    /// Encrypted, as far as is known: then our cookies are for such alone.
    pub(crate) https: bool,
}

/// A page of another site that resolves its name to this machine is refused, and so is what another site's page sends:
/// only our own names pass, and what changes something comes from our own pages or from no page at all. What names a
/// page that is none of ours is refused whatever it asks for: so begin streams and sockets.
pub(super) async fn ours(
    State((api, port)): State<(Arc<Api>, u16)>,
    mut request: Request,
    next: Next,
) -> Response {
    let address = api.handle.state().policy.public_url.clone();
    let public: Option<Uri> = address.as_deref().and_then(|address| address.parse().ok());
    if !host_is_ours(request.headers(), request.uri(), public.as_ref(), port) {
        return Problem::new(Code::Forbidden, "this host name is not served").into_response();
    }
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    let says = changes || request.headers().contains_key(header::ORIGIN);
    if says && !origin_is_ours(request.headers(), public.as_ref(), port) {
        return Problem::new(Code::Forbidden, "this page is none of ao's").into_response();
    }
    // Nothing is unpacked: limits and signatures are over what came.
    if request.headers().contains_key(header::CONTENT_ENCODING) {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    }
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let away = !host.is_some_and(|host| is_local(host, port));
    let https = away && public.as_ref().and_then(Uri::scheme_str) == Some("https");
    let path = public.as_ref().filter(|_| away).map_or("/", Uri::path).to_owned();
    request.extensions_mut().insert(Via { away, path, https });
    next.run(request).await
}

/// The names by which browsers find this machine.
const LOCAL: [&str; 4] = ["localhost", "ao.localhost", "127.0.0.1", "[::1]"];

fn is_local(host: &str, port: u16) -> bool {
    let bare = host.strip_suffix(&format!(":{port}")).unwrap_or(host);
    LOCAL.contains(&bare)
}

/// Our own names: those of loopback, with our port or none, and the one of `publicUrl`.
fn host_is_ours(headers: &HeaderMap, uri: &Uri, public: Option<&Uri>, port: u16) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(Ok(host)), None) = (hosts.next().map(HeaderValue::to_str), hosts.next()) else {
        return false;
    };
    // An address in the request line has to say the same.
    if uri.authority().is_some_and(|said| !said.as_str().eq_ignore_ascii_case(host)) {
        return false;
    }
    // Its scheme's own port may be named, or not.
    let own = if public.and_then(Uri::scheme_str) == Some("https") { ":443" } else { ":80" };
    let bare = host.strip_suffix(own).unwrap_or(host);
    let authority = public.and_then(Uri::authority);
    let is_public =
        authority.is_some_and(|authority| authority.as_str().eq_ignore_ascii_case(bare));
    is_local(host, port) || is_public
}

/// A browser says from where a form was sent; a provider's machine says nothing, and proves itself by its signature.
fn origin_is_ours(headers: &HeaderMap, public: Option<&Uri>, port: u16) -> bool {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let site = text(HeaderName::from_static("sec-fetch-site"));
    let Some(origin) = text(header::ORIGIN) else {
        return site.is_none_or(|site| site == "same-origin" || site == "none");
    };
    let of = |uri: &Uri| {
        Some(format!("{}://{}", uri.scheme_str()?, uri.authority()?).to_ascii_lowercase())
    };
    let local = LOCAL.map(|host| format!("http://{host}:{port}"));
    let origin = origin.to_ascii_lowercase();
    public.and_then(of).is_some_and(|public| public == origin) || local.contains(&origin)
}
