//! The port from outside, by raw sockets: what is refused, and that nothing happens by it.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
};

use ao_conformance::scm::fake::Vendor;
use ao_core::{config::policy::Role, decide::Grant, event::AccessKind, slots::AccessId};

use super::{often::BURST, *};
use crate::{assets, caller::Visitor, pages::Wanted, tests::House, ticket::Ticket};

mod trust;

struct Port {
    port: u16,
    house: House,
    _stop: oneshot::Sender<()>,
}

impl Port {
    async fn open() -> Self {
        Self::named(|port| format!("http://localhost:{port}")).await
    }

    /// A port at which a forge that is the vendor's fake may be heard.
    async fn heard() -> (Self, Arc<Vendor>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (house, vendor) = House::with_vendor("webhooks", &["my-app"]).await;
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(serve_tcp(listener, house.api.clone(), async { drop(stopped.await) }));
        (Self { port, house, _stop: stop }, vendor)
    }

    /// A port that is reached at an address of its own too.
    async fn named(address: impl FnOnce(u16) -> String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let house = House::reachable(&address(port)).await;
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(serve_tcp(listener, house.api.clone(), async { drop(stopped.await) }));
        Self { port, house, _stop: stop }
    }

    /// The status of the answer to these bytes; 0 where the connection was closed without one.
    async fn status(&self, request: &str) -> u16 {
        status_of(&self.reply(request).await)
    }

    async fn reply(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let _ = stream.write_all(request.as_bytes()).await;
        let mut reply = Vec::new();
        let _ = stream.read_to_end(&mut reply).await;
        String::from_utf8_lossy(&reply).into_owned()
    }

    async fn get(&self, path: &str, host: &str) -> u16 {
        self.status(&format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"))
            .await
    }

    /// What a page of ours says of itself.
    fn own(&self) -> String {
        format!("origin: http://localhost:{}\r\nsec-fetch-site: same-origin\r\n", self.port)
    }

    /// A browser is let in by a ticket; what it sends from then on.
    async fn sign_in(&self) -> String {
        self.sign_in_as(Visitor::local()).await
    }

    async fn sign_in_as(&self, visitor: Visitor) -> String {
        let ticket = Ticket { visitor, wanted: Wanted::Attention, away: false };
        let word = self.house.api.tickets.issue(ticket).unwrap();
        let reply = self.send("POST", &format!("/sign-in/{word}"), &self.own()).await;
        let cookie = reply.split("set-cookie: ").nth(1).and_then(|rest| rest.split(';').next());
        format!("cookie: {}\r\n", cookie.unwrap_or_else(|| panic!("{reply}")))
    }

    /// A program is let in.
    async fn token(&self, role: Role) -> (AccessId, String) {
        let by = Visitor::local().actor;
        let (kind, name, person) = (AccessKind::Token, "script".into(), "ana".into());
        let grant = Grant { kind, name, person, role, until: None, by };
        let (id, secret) = self.house.api.handle.grant(grant).await.unwrap();
        (id, format!("authorization: Bearer {secret}\r\n"))
    }

    async fn send(&self, method: &str, path: &str, headers: &str) -> String {
        let port = self.port;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost:{port}\r\nconnection: close\r\n\
             content-length: 0\r\n{headers}\r\n"
        );
        self.reply(&request).await
    }

    async fn as_known(&self, credential: &str, method: &str, path: &str, more: &str) -> u16 {
        status_of(&self.send(method, path, &format!("{credential}{more}")).await)
    }

    async fn post(&self, path: &str, headers: &str, body: &str) -> u16 {
        let (port, length) = (self.port, body.len());
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost:{port}\r\nconnection: close\r\n\
             content-length: {length}\r\n{headers}\r\n{body}"
        );
        self.status(&request).await
    }
}

fn status_of(reply: &str) -> u16 {
    reply.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

const FORM: &str = "content-type: application/x-www-form-urlencoded\r\n";

#[tokio::test]
async fn s1_only_our_own_names_are_served() {
    let port = Port::open().await;
    let n = port.port;
    for ours in [
        format!("localhost:{n}"),
        format!("127.0.0.1:{n}"),
        format!("[::1]:{n}"),
        format!("ao.localhost:{n}"),
        "localhost".into(),
    ] {
        assert_eq!(port.get("/api/health", &ours).await, 200, "{ours}");
    }
    let nobody = |host: &str| host.to_owned();
    for other in [
        nobody("evil.com"),
        format!("evil.com:{n}"),
        format!("localhost.evil.com:{n}"),
        format!("evil.localhost:{n}"),
        format!("x.ao.localhost:{n}"),
        format!("127.0.0.1.nip.io:{n}"),
        format!("[::ffff:127.0.0.1]:{n}"),
        nobody(""),
        format!("localhost:{n}\r\nhost: evil.com"),
        nobody("localhost:1"),
    ] {
        let status = port.get("/api/health", &other).await;
        assert!(matches!(status, 403 | 400), "{other}: {status}");
    }
    let absolute = format!(
        "GET http://evil.com/api/health HTTP/1.1\r\nhost: localhost:{n}\r\nconnection: close\r\n\r\n"
    );
    assert_eq!(port.status(&absolute).await, 403);
    // The rest of the API is for who is let in; what the private socket alone serves is not there.
    let cookie = port.sign_in().await;
    for (path, known) in [("/api/status", 200), ("/api/sessions", 200), ("/api/config", 200)] {
        assert_eq!(port.get(path, &format!("localhost:{n}")).await, 401, "{path}");
        assert_eq!(port.as_known(&cookie, "GET", path, "").await, known, "{path}");
    }
    for path in ["/api/report", "/api/open", "/api/dashboard", "/api/hooks/claude/Stop", "/x"] {
        assert_eq!(port.as_known(&cookie, "POST", path, &port.own()).await, 404, "{path}");
    }
    // Nor does a good cookie help a host that is none of ours.
    let rebound = format!(
        "GET /api/status HTTP/1.1\r\nhost: evil.com:{n}\r\n{cookie}connection: close\r\n\r\n"
    );
    assert_eq!(port.status(&rebound).await, 403);
}

#[tokio::test]
async fn s2_s3_what_another_sites_page_sends_is_refused_before_anything_is_done() {
    let port = Port::open().await;
    let n = port.port;
    let (link, hash) = port.house.link().await;
    let path = link.strip_prefix(&format!("http://localhost:{n}")).unwrap();
    for origin in
        ["http://evil.com", "null", "http://localhost:1", &format!("https://localhost:{n}")]
    {
        let headers = format!("{FORM}origin: {origin}\r\n");
        assert_eq!(port.post(path, &headers, "text=x").await, 403, "{origin}");
    }
    let cross = format!("{FORM}sec-fetch-site: cross-site\r\n");
    assert_eq!(port.post(path, &cross, "text=x").await, 403);
    assert_eq!(port.post(path, FORM, "text=x").await, 403, "no page of ours");
    let own = format!("{FORM}origin: http://localhost:{n}\r\nsec-fetch-site: same-origin\r\n");
    let plain = own.replace("application/x-www-form-urlencoded", "text/plain");
    assert_eq!(port.post(path, &plain, "{}").await, 415, "S4");
    assert_eq!(port.get(path, &format!("localhost:{n}")).await, 200, "a look is no press");
    let pressed = async || port.house.api.handle.until_pressed(&hash, Duration::ZERO).await;
    assert_eq!(pressed().await, None);
    assert_eq!(port.post("/a/abc", &own, "text=x").await, 404, "ours, and no such button");
    assert_eq!(port.post(path, &own, "").await, 200, "ours");
    assert_eq!(pressed().await.unwrap().via, "mail");
    assert_eq!(port.post(path, &own, "").await, 410, "once");
    assert_eq!(port.get(path, &format!("localhost:{n}")).await, 410);
}

#[tokio::test]
async fn the_page_is_pressed_where_public_url_leads_also_below_a_path() {
    let port = Port::named(|_| "https://ao.example.org/phone".into()).await;
    let (link, hash) = port.house.link().await;
    // The proxy takes its own path off.
    let path = link.strip_prefix("https://ao.example.org/phone").unwrap();
    for host in ["ao.example.org", "AO.example.org", "ao.example.org:443"] {
        assert_eq!(port.get(path, host).await, 200, "{host}");
    }
    for host in ["ao.example.org:80", "example.org", "ao.example.org:443:443"] {
        assert!(matches!(port.get(path, host).await, 403 | 400), "{host}");
    }
    let page = port
        .reply(&format!("GET {path} HTTP/1.1\r\nhost: ao.example.org\r\nconnection: close\r\n\r\n"))
        .await;
    let style = page.split("rel=\"stylesheet\" href=\"").nth(1).and_then(|s| s.split('"').next());
    let style = style.unwrap().strip_prefix("..").expect("it is found below any path");
    assert_eq!(port.get(style, "ao.example.org").await, 200);
    // A browser sends `Origin: null` with the form of a page that forbids all referrers.
    assert!(page.contains("\r\nreferrer-policy: same-origin\r\n"), "{page}");
    let press = async |origin: &str| {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: ao.example.org\r\nconnection: close\r\n\
             content-length: 0\r\n{FORM}origin: {origin}\r\n\r\n"
        );
        port.status(&request).await
    };
    assert_eq!(press("http://ao.example.org").await, 403);
    assert_eq!(press("https://ao.example.org").await, 200);
    assert!(port.house.api.handle.until_pressed(&hash, Duration::ZERO).await.is_some());
}

#[tokio::test]
async fn s39_too_much_is_refused_and_too_slow_is_closed() {
    let port = Port::open().await;
    let n = port.port;
    let own = format!("{FORM}origin: http://localhost:{n}\r\n");
    assert_eq!(port.post("/a/abc", &own, &"x".repeat(MOST_BODY + 1)).await, 413);
    let long = format!("localhost:{n}\r\nx: {}", "y".repeat(2 * MOST_HEADERS));
    assert_eq!(port.get("/api/health", &long).await, 431);
    // One bucket for all pages: far above what a human does.
    let (mut refused, host) = (0, format!("localhost:{n}"));
    for _ in 0..2 * BURST {
        refused += u32::from(port.get("/api/health", &host).await == 429);
    }
    assert!(refused > 0, "nothing was refused");
    // And one for providers.
    let provider = "/api/channels/none/provider";
    assert_eq!(port.post(provider, "", "{}").await, 404, "a provider waits for no page");
    refused = 0;
    for _ in 0..2 * BURST {
        refused += u32::from(port.post(provider, "", "{}").await == 429);
    }
    assert!(refused > 0, "nothing was refused");
}

/// Thousands come and send nothing: each beyond the places is closed at once, and one that is given back serves again.
#[tokio::test]
async fn s39_connections_beyond_the_places_are_closed_at_once() {
    let port = Port::open().await;
    let host = format!("localhost:{}", port.port);
    let connect = || TcpStream::connect(("127.0.0.1", port.port));
    let mut idle = vec![];
    for _ in 0..CONNECTIONS {
        idle.push(connect().await.unwrap());
    }
    for n in 0..2_000 {
        let mut more = connect().await.unwrap();
        let ended = more.read(&mut [0; 1]).await;
        assert!(matches!(ended, Ok(0) | Err(_)), "{n} was let in");
    }
    drop(idle);
    let mut status = 0;
    while status == 0 {
        status = port.get("/api/health", &host).await;
    }
    assert_eq!(status, 200);
}

/// What is packed is not unpacked here: a bomb stays the few bytes that it is, and is nobody's form.
#[tokio::test]
async fn s39_nothing_is_unpacked_and_nothing_deep_is_followed() {
    let port = Port::open().await;
    let (link, hash) = port.house.link().await;
    let path = link.strip_prefix(&format!("http://localhost:{}", port.port)).unwrap();
    let own = format!("{FORM}origin: http://localhost:{}\r\n", port.port);
    for packed in ["gzip", "deflate", "br", "gzip, gzip"] {
        let headers = format!("{own}content-encoding: {packed}\r\n");
        assert_eq!(port.post(path, &headers, "text=x").await, 415, "{packed}");
    }
    let deep = "[".repeat(MOST_BODY);
    let headers = "content-type: application/json\r\n";
    // It is the provider's plugin that reads it; none is harmed by handing it on.
    assert_eq!(port.post("/api/channels/hook/provider", headers, &deep).await, 202);
    let own = own.replace("application/x-www-form-urlencoded", "application/json");
    assert_eq!(port.post(path, &own, &deep).await, 415);
    assert_eq!(port.house.api.handle.until_pressed(&hash, Duration::ZERO).await, None);
}

#[tokio::test]
async fn s39_a_client_that_never_sends_its_headers_is_closed() {
    let port = Port::open().await;
    let mut slow = TcpStream::connect(("127.0.0.1", port.port)).await.unwrap();
    slow.write_all(b"GET /api/health HTTP/1.1\r\nhost: loc").await.unwrap();
    let mut reply = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(60), slow.read_to_end(&mut reply)).await;
    assert!(closed.is_ok(), "still open after a minute");
}

#[tokio::test]
async fn s21_a_channel_that_takes_no_requests_has_no_address() {
    let port = Port::open().await;
    let to = |channel: &str| format!("/api/channels/{channel}/provider");
    assert_eq!(port.post(&to("hook"), "", "{}").await, 202);
    for channel in ["mail", "none", "..%2f", "hook%2f"] {
        assert_eq!(port.post(&to(channel), "", "{}").await, 404, "{channel}");
    }
}

#[tokio::test]
async fn s22_a_webhook_is_taken_once_by_its_signature_alone() {
    use ao_conformance::scm::Forge;
    let (port, vendor) = Port::heard().await;
    let n = port.port;
    let (headers, body) = vendor.webhook(Some(ao_core::slots::PrNumber(1))).await;
    let lines = |headers: &[(String, String)]| {
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect::<String>()
    };
    let body = String::from_utf8(body).unwrap();
    let signed = lines(&headers);
    let path = "/api/webhooks/vendor";
    assert_eq!(port.post(path, "", &body).await, 401, "unsigned");
    assert_eq!(port.post(path, &signed, "pr 2").await, 401, "of another body");
    assert_eq!(port.post("/api/webhooks/other", &signed, &body).await, 404, "nobody's");
    assert_eq!(port.post(path, &signed, &body).await, 202);
    assert_eq!(port.post(path, &signed, &body).await, 202, "the same again does nothing more");
    let (headers, nothing) = vendor.webhook(None).await;
    let nothing = String::from_utf8(nothing).unwrap();
    assert_eq!(port.post(path, &lines(&headers), &nothing).await, 202, "it concerns nobody");
    // What other doors are held to holds here too.
    let page = format!("{signed}origin: http://evil.com\r\n");
    assert_eq!(port.post(path, &page, &body).await, 403);
    let host = format!(
        "POST {path} HTTP/1.1\r\nhost: evil.com\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    );
    assert_eq!(port.status(&host).await, 403);
    assert_eq!(port.get(path, &format!("localhost:{n}")).await, 405);
}

#[tokio::test]
async fn s22_a_webhook_may_be_large_and_no_larger() {
    let (port, _vendor) = Port::heard().await;
    let n = port.port;
    // 401 = its whole body was read, and nobody has signed it.
    let large = "x".repeat(1 << 20);
    assert_eq!(port.post("/api/webhooks/vendor", "", &large).await, 401);
    // What nobody waits for is not read, however large it says it is.
    assert_eq!(port.post("/api/webhooks/other", "", &large).await, 404);
    let head = format!(
        "POST /api/webhooks/vendor HTTP/1.1\r\nhost: localhost:{n}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        (25 << 20) + 1
    );
    assert_eq!(port.status(&head).await, 413);
    let port = Port::open().await;
    assert_eq!(port.post("/api/channels/hook/provider", "", &large).await, 413);
}

#[tokio::test]
async fn s10_scripts_are_served_by_their_listed_names_alone() {
    let port = Port::open().await;
    let host = format!("localhost:{}", port.port);
    for none in [
        "main.js",
        ".keep",
        "..%2fbuild.mjs",
        "%2e%2e%2f%2e%2e%2fCargo.toml",
        "..",
        "dist/main.js",
        "%00",
        "",
    ] {
        assert_eq!(port.get(&format!("/ui/{none}"), &host).await, 404, "{none}");
    }
    // Where they were built.
    for name in assets::names() {
        let request =
            format!("GET /ui/{name} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let reply = port.reply(&request).await.to_ascii_lowercase();
        for wanted in ["http/1.1 200", "content-type: text/javascript", "immutable", "nosniff"] {
            assert!(reply.contains(wanted), "{wanted} of {name}");
        }
    }
}
