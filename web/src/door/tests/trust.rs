//! Who is let in, by raw sockets: what does not let in, and what a browser that is let in may be made to do.

use super::*;

fn header<'r>(reply: &'r str, name: &str) -> Option<&'r str> {
    let head = reply.split("\r\n\r\n").next().unwrap_or_default();
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

impl Port {
    fn ticket(&self, wanted: Wanted) -> String {
        let ticket = Ticket { visitor: Visitor::local(), wanted, away: false };
        self.house.api.tickets.issue(ticket).unwrap()
    }

    /// Adds a silence.
    async fn acts(&self, headers: &str) -> u16 {
        let headers = format!("{headers}content-type: application/json\r\n");
        self.post("/api/silences", &headers, &silence()).await
    }

    fn silences(&self) -> usize {
        self.house.api.handle.state().silences.len()
    }
}

fn silence() -> String {
    let until = Timestamp::now() + jiff::SignedDuration::from_hours(1);
    format!(r#"{{"matchers":{{"session":"app-*"}},"until":"{until}"}}"#)
}
const PAGE: &str = "accept: text/html\r\n";

#[tokio::test]
async fn s2_a_rebound_name_is_refused_with_its_own_origin_too() {
    let port = Port::open().await;
    let (n, cookie) = (port.port, port.sign_in().await);
    for method in ["GET", "POST", "OPTIONS"] {
        let request = format!(
            "{method} /api/digest HTTP/1.1\r\nhost: evil.com:{n}\r\norigin: http://evil.com:{n}\r\n\
             {cookie}connection: close\r\ncontent-length: 0\r\n\r\n"
        );
        assert_eq!(port.status(&request).await, 403, "{method}");
    }
}

#[tokio::test]
async fn s3_a_cookie_alone_is_never_enough() {
    let port = Port::open().await;
    let (n, cookie) = (port.port, port.sign_in().await);
    for origin in [
        String::new(),
        "origin: null\r\n".into(),
        format!("origin: http://localhost:{}\r\n", n.wrapping_add(1)),
        format!("origin: https://localhost:{n}\r\n"),
        format!("origin: http://evil.localhost:{n}\r\n"),
        format!("origin: http://localhost:{n}.evil.com\r\n"),
        "sec-fetch-site: same-origin\r\n".into(),
        format!("origin: http://localhost:{n}\r\nsec-fetch-site: same-site\r\n"),
    ] {
        assert_eq!(port.acts(&format!("{cookie}{origin}")).await, 403, "{origin}");
        assert_eq!(port.silences(), 0, "{origin}");
    }
    assert_eq!(port.acts(&format!("{cookie}{}", port.own())).await, 200);
    assert_eq!(port.silences(), 1);
    // A program with a token is no browser that somebody else steers; but what says it is one is believed.
    let (_, token) = port.token(Role::Member).await;
    assert_eq!(port.acts(&token).await, 200);
    assert_eq!(port.acts(&format!("{token}origin: http://evil.com\r\n")).await, 403);
    assert_eq!(port.silences(), 2);
}

#[tokio::test]
async fn s4_forms_and_plain_text_are_no_json() {
    let port = Port::open().await;
    let (cookie, own) = (port.sign_in().await, port.own());
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        let headers = format!("{cookie}{own}content-type: {kind}\r\n");
        assert_eq!(port.post("/api/silences", &headers, &silence()).await, 415, "{kind}");
    }
    // What acts has no GET.
    for path in ["/api/digest", "/api/sessions/app-1/kill", "/api/server/stop", "/sign-out"] {
        assert_eq!(port.as_known(&cookie, "GET", path, "").await, 405, "{path}");
    }
}

#[tokio::test]
async fn s5_a_stream_for_a_foreign_page_is_refused_with_a_valid_cookie_too() {
    let port = Port::open().await;
    let cookie = port.sign_in().await;
    let stream = "accept: text/event-stream\r\n";
    for from in [
        "origin: http://evil.com\r\n",
        "origin: null\r\n",
        "sec-fetch-site: cross-site\r\n",
        "sec-fetch-site: same-site\r\nsec-fetch-mode: cors\r\n",
        "sec-fetch-site: same-site\r\nsec-fetch-mode: navigate\r\n",
    ] {
        let headers = format!("{stream}{from}");
        assert_eq!(port.as_known(&cookie, "GET", "/api/events", &headers).await, 403, "{from}");
    }
    assert_eq!(port.as_known("", "GET", "/api/events", stream).await, 401);
}

#[tokio::test]
async fn s6_no_wrong_or_misplaced_credential_lets_anybody_in() {
    let port = Port::open().await;
    let (cookie, (id, token)) = (port.sign_in().await, port.token(Role::Admin).await);
    let get = async |headers: &str| status_of(&port.send("GET", "/api/sessions", headers).await);
    assert_eq!((get(&cookie).await, get(&token).await), (200, 200));
    let secret = token.trim_end().rsplit(' ').next().unwrap();
    let (name, value) = cookie.trim_end().trim_start_matches("cookie: ").split_once('=').unwrap();
    for wrong in [
        String::new(),
        "authorization: Bearer \r\n".into(),
        "authorization: Bearer aok_00000000000000000000000000000000\r\n".into(),
        format!("authorization: Bearer {}\r\n", secret.to_uppercase()),
        format!("authorization: Bearer {secret}0\r\n"),
        format!("authorization: Basic {secret}\r\n"),
        // Each kind by its own way alone, and a wrong token is not helped by a cookie.
        format!("authorization: Bearer {value}\r\n"),
        format!("cookie: {name}={secret}\r\n"),
        format!("{cookie}authorization: Bearer x\r\n"),
        format!("cookie: x{name}={value}\r\n"),
    ] {
        assert_eq!(get(&wrong).await, 401, "{wrong}");
    }
    for query in ["token", "access_token", "key"] {
        let path = format!("/api/sessions?{query}={secret}");
        assert_eq!(port.as_known("", "GET", &path, "").await, 401, "{path}");
        assert_eq!(port.as_known(&token, "GET", &path, "").await, 401, "{path}");
    }
    let reply = port.send("GET", "/api/sessions", "").await;
    assert_eq!(header(&reply, "www-authenticate"), Some("Bearer"));
    assert_eq!(header(&reply, "content-type"), Some("application/problem+json"));
    // What is taken back is over at once.
    port.house.api.handle.revoke(id, Visitor::local().actor).await.unwrap();
    assert_eq!(get(&token).await, 401);
    assert_eq!(get(&cookie).await, 200);
    let out = port.send("POST", "/sign-out", &format!("{cookie}{}", port.own())).await;
    assert_eq!((status_of(&out), header(&out, "location")), (303, Some("signed-out")));
    assert!(header(&out, "set-cookie").unwrap().contains("Max-Age=0"), "{out}");
    assert_eq!(get(&cookie).await, 401, "the cookie is worth nothing, whoever kept it");
}

#[tokio::test]
async fn s9_nothing_is_shared_with_other_origins() {
    let port = Port::open().await;
    let (n, cookie) = (port.port, port.sign_in().await);
    let preflight = "origin: http://evil.com\r\naccess-control-request-method: POST\r\n\
                     access-control-request-private-network: true\r\n";
    let own = format!("origin: http://localhost:{n}\r\naccess-control-request-method: POST\r\n");
    for (headers, path) in [(preflight, "/api/digest"), (preflight, "/"), (&own, "/api/digest")] {
        let reply = port.send("OPTIONS", path, &format!("{cookie}{headers}")).await;
        assert!(status_of(&reply) >= 400, "{reply}");
        assert!(!reply.to_ascii_lowercase().contains("access-control-allow"), "{reply}");
    }
    // `<script src>` and `<img>` of another site, and of a page at another port of this host.
    for site in ["cross-site", "same-site"] {
        for (mode, dest) in [("no-cors", "script"), ("no-cors", "image"), ("cors", "empty")] {
            let from = format!(
                "sec-fetch-site: {site}\r\nsec-fetch-mode: {mode}\r\nsec-fetch-dest: {dest}\r\n"
            );
            let status = port.as_known(&cookie, "GET", "/api/sessions", &from).await;
            assert_eq!(status, 403, "{from}");
        }
    }
    let reply = port.send("GET", "/api/sessions", &cookie).await;
    assert_eq!(header(&reply, "x-content-type-options"), Some("nosniff"));
    assert_eq!(header(&reply, "cross-origin-resource-policy"), Some("same-origin"));
    assert_eq!(header(&reply, "cache-control"), Some("no-store"));
}

#[tokio::test]
async fn s10_what_a_relay_says_and_dotted_paths_change_nothing() {
    let port = Port::open().await;
    let n = port.port;
    for said in [
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-host: localhost",
        "x-forwarded-user: admin",
        "x-real-ip: 127.0.0.1",
        "forwarded: for=127.0.0.1;host=localhost;proto=https",
        "x-original-url: /api/health",
        "x-rewrite-url: /api/health",
        "x-http-method-override: GET",
    ] {
        let headers = format!("{said}\r\n");
        assert_eq!(port.as_known("", "GET", "/api/sessions", &headers).await, 401, "{said}");
        let evil = format!(
            "GET /api/health HTTP/1.1\r\nhost: evil.com\r\n{said}\r\nconnection: close\r\n\r\n"
        );
        assert_eq!(port.status(&evil).await, 403, "{said}");
    }
    let cookie = port.sign_in().await;
    for path in [
        "/api/health/../sessions",
        "/ui/..%2f..%2fsecrets",
        "/ui/../../etc/passwd",
        "/api/..%2fsessions",
        "//api/sessions",
        "/api//sessions",
        "/api/sessions/..%2f..%2fx-1",
        "/API/sessions",
    ] {
        for credential in ["", cookie.as_str()] {
            let status = port.as_known(credential, "GET", path, "").await;
            assert!((400..500).contains(&status), "{path}: {status}");
        }
        assert!(port.get(path, &format!("localhost:{n}")).await != 200, "{path}");
    }
}

#[tokio::test]
async fn s12_no_id_that_is_none_passes_the_port() {
    let port = Port::open().await;
    let cookie = port.sign_in().await;
    let long = "a".repeat(4096);
    for id in ["..%2f..%2fx-1", "a%3brm", "%00", "app", "app%E2%80%8B-1", "%D0%B0pp-1", &long] {
        for path in [format!("/api/sessions/{id}"), format!("/api/sessions/{id}/screen")] {
            assert_eq!(port.as_known(&cookie, "GET", &path, "").await, 400, "{path}");
        }
    }
}

#[tokio::test]
async fn s17_no_credential_is_taken_from_a_link_and_none_leads_away() {
    let port = Port::open().await;
    let n = port.port;
    let word = port.ticket(Wanted::at("/i/142").unwrap());
    for path in [
        "/sign-in?next=//evil.com",
        "/sign-in?next=javascript:alert(1)",
        "/sign-in?next=https://evil.com",
        "/sign-in//evil.com",
        &format!("/sign-in?ticket={word}"),
        &format!("/sign-in/{word}?next=//evil.com"),
        &format!("/sign-in/{word}"),
    ] {
        let reply = port.send("GET", path, PAGE).await;
        assert!(header(&reply, "set-cookie").is_none(), "{path}: {reply}");
        assert!(header(&reply, "location").is_none(), "{path}: {reply}");
        assert!(!reply.contains("evil.com") && !reply.contains("javascript:"), "{path}: {reply}");
    }
    assert!(port.house.api.handle.state().access.is_empty(), "a look changes nothing");
    // Only a press of our own page takes it, and leads where the ticket says.
    let path = format!("/sign-in/{word}?next=//evil.com");
    for from in [String::new(), "origin: http://evil.com\r\n".into(), "origin: null\r\n".into()] {
        assert_eq!(port.as_known("", "POST", &path, &from).await, 403, "{from}");
    }
    let reply = port.send("POST", &path, &port.own()).await;
    assert_eq!((status_of(&reply), header(&reply, "location")), (303, Some("../i/142")));
    let cookie = header(&reply, "set-cookie").unwrap();
    assert!(cookie.contains("; HttpOnly; SameSite=Strict; Max-Age=2592000"), "{cookie}");
    assert!(cookie.starts_with("ao-") && !cookie.contains("Domain"), "{cookie}");
    assert!(!cookie.contains("Secure"), "plain http on this machine: {cookie}");
    // A cookie that somebody else set first is no access, and is not made one.
    let planted =
        format!("cookie: {}=aok_{}\r\n", cookie.split('=').next().unwrap(), "0".repeat(32));
    let word = port.ticket(Wanted::Attention);
    let reply =
        port.send("POST", &format!("/sign-in/{word}"), &format!("{planted}{}", port.own())).await;
    assert!(!header(&reply, "set-cookie").unwrap().contains(&"0".repeat(32)));
    assert_eq!(port.get("/sign-in", &format!("localhost:{n}")).await, 200);
}

#[tokio::test]
async fn s19_a_fetched_ticket_stays_good_and_works_once() {
    let port = Port::open().await;
    let word = port.ticket(Wanted::Attention);
    let path = format!("/sign-in/{word}");
    // What looks at links before a human does.
    for agent in ["Slackbot-LinkExpanding 1.0", "curl/8", "Mozilla/5.0"] {
        for method in ["GET", "HEAD"] {
            let reply = port.send(method, &path, &format!("user-agent: {agent}\r\n{PAGE}")).await;
            assert_eq!(status_of(&reply), 200, "{agent}");
            assert!(!reply.contains("data-press"), "nothing presses by itself: {reply}");
        }
    }
    let opened = port.send("GET", &path, &format!("sec-fetch-site: none\r\n{PAGE}")).await;
    assert!(opened.contains("data-press"), "the human's own program opened it: {opened}");
    let ticket = Ticket { visitor: Visitor::local(), wanted: Wanted::Attention, away: true };
    let away = format!("/sign-in/{}", port.house.api.tickets.issue(ticket).unwrap());
    let opened = port.send("GET", &away, &format!("sec-fetch-site: none\r\n{PAGE}")).await;
    assert!(!opened.contains("data-press"), "somebody's phone asks: {opened}");
    assert_eq!(port.as_known("", "POST", &path, &port.own()).await, 303);
    assert_eq!(port.as_known("", "POST", &path, &port.own()).await, 410, "once");
    assert_eq!(port.as_known("", "GET", &path, PAGE).await, 410);
    let granted = port.house.api.handle.state().access.len();
    assert_eq!(granted, 1);
}

#[tokio::test]
async fn s36_each_role_may_what_it_may_and_no_more() {
    let port = Port::open().await;
    let own = port.own();
    let mut roles = vec![];
    for role in [Role::Viewer, Role::Member, Role::Admin] {
        roles.push((role, port.sign_in_as(Visitor { role, ..Visitor::local() }).await));
    }
    // Allowed is whatever is not forbidden: most of them name a session that there is not.
    for (method, path, least) in [
        ("GET", "/api/status", Role::Viewer),
        ("GET", "/api/sessions", Role::Viewer),
        ("GET", "/api/incidents", Role::Viewer),
        ("GET", "/api/notifications", Role::Viewer),
        ("GET", "/api/silences", Role::Viewer),
        ("GET", "/api/channels", Role::Viewer),
        ("GET", "/api/projects", Role::Viewer),
        ("GET", "/api/prs", Role::Viewer),
        ("GET", "/api/quota", Role::Viewer),
        ("GET", "/api/plugins", Role::Viewer),
        ("GET", "/api/config", Role::Viewer),
        ("GET", "/api/events", Role::Viewer),
        ("GET", "/api/why/app-1", Role::Viewer),
        ("GET", "/api/sessions/app-1/screen", Role::Viewer),
        ("GET", "/api/incidents/i-1/release", Role::Viewer),
        ("POST", "/api/sessions", Role::Member),
        ("POST", "/api/sessions/app-1/send", Role::Member),
        ("POST", "/api/sessions/app-1/answer", Role::Member),
        ("POST", "/api/sessions/app-1/approve", Role::Member),
        ("POST", "/api/sessions/app-1/deny", Role::Member),
        ("POST", "/api/sessions/app-1/kill", Role::Member),
        ("POST", "/api/sessions/app-1/look", Role::Member),
        ("POST", "/api/sessions/app-1/done", Role::Member),
        ("POST", "/api/sessions/app-1/restore", Role::Member),
        ("POST", "/api/sessions/app-1/cleanup", Role::Member),
        ("POST", "/api/sessions/app-1/pr", Role::Member),
        ("POST", "/api/sessions/app-1/claim-pr", Role::Member),
        ("POST", "/api/prs/app-1/merge", Role::Member),
        ("POST", "/api/prs/app-1/review", Role::Member),
        ("POST", "/api/prs/app-1/close", Role::Member),
        ("POST", "/api/incidents/i-1/ack", Role::Member),
        ("POST", "/api/incidents/i-1/snooze", Role::Member),
        ("POST", "/api/incidents/i-1/release", Role::Member),
        ("POST", "/api/incidents/i-1/retry", Role::Member),
        ("POST", "/api/silences", Role::Member),
        ("POST", "/api/silences/s-1/end", Role::Member),
        ("POST", "/api/notifications/test", Role::Member),
        ("POST", "/api/digest", Role::Member),
        ("POST", "/api/config/check", Role::Admin),
        ("POST", "/api/config/register", Role::Admin),
        ("POST", "/api/config/trust", Role::Admin),
        ("POST", "/api/config/forget", Role::Admin),
        ("POST", "/api/config/reload", Role::Admin),
        ("GET", "/api/access", Role::Admin),
        ("POST", "/api/access", Role::Admin),
        ("POST", "/api/access/k-99/revoke", Role::Admin),
        ("GET", "/", Role::Viewer),
        ("GET", "/i/1", Role::Viewer),
        ("GET", "/s/app-1", Role::Viewer),
        ("GET", "/pr/my-app/1", Role::Viewer),
        ("POST", "/i/1/act", Role::Member),
        ("POST", "/s/app-1/act", Role::Member),
        ("POST", "/sign-out", Role::Viewer),
    ] {
        let json = "content-type: application/json\r\n";
        let body = match path.rsplit('/').next() {
            Some("claim-pr") => "{\"number\":1}",
            Some("pr") => "{}",
            Some("access") => "{\"name\":\"x\"}",
            _ => "{\"text\":\"x\"}",
        };
        for (role, cookie) in &roles {
            let request = format!(
                "{method} {path} HTTP/1.1\r\nhost: localhost:{}\r\nconnection: close\r\n{cookie}{own}{json}\
                 content-length: {}\r\n\r\n{body}",
                port.port,
                body.len()
            );
            let reply = port.reply(&request).await;
            let forbidden = status_of(&reply) == 403;
            assert_eq!(forbidden, *role < least, "{role:?} {method} {path}: {reply}");
        }
    }
    let (_, admin) = port.token(Role::Member).await;
    let stop = port.as_known(&admin, "POST", "/api/server/stop", "").await;
    assert_eq!(stop, 403, "a member stops nothing");
}

#[tokio::test]
async fn s39_who_tries_tokens_is_refused_and_others_are_served() {
    let port = Port::open().await;
    let cookie = port.sign_in().await;
    let (mut refused, guess) = (0, "authorization: Bearer aok_guess\r\n");
    for _ in 0..2 * BURST {
        refused += u32::from(port.as_known("", "GET", "/api/sessions", guess).await == 429);
    }
    assert!(refused > 0, "nothing was refused");
    assert_eq!(port.as_known(&cookie, "GET", "/api/sessions", "").await, 200);
    // And he who is let in has a bucket of his own.
    let (mut refused, other) = (0, port.token(Role::Viewer).await.1);
    for _ in 0..4 * often::OWN_BURST {
        refused += u32::from(port.as_known(&cookie, "GET", "/api/quota", "").await == 429);
        if refused > 0 {
            break;
        }
    }
    assert!(refused > 0, "nothing was refused");
    assert_eq!(port.as_known(&other, "GET", "/api/quota", "").await, 200);
}

/// A link from a mail comes without the cookie: our own page asks again, and then it is there.
#[tokio::test]
async fn a_link_from_elsewhere_leads_to_its_page_with_the_cookie_and_to_the_way_in_without() {
    let port = Port::open().await;
    let cookie = port.sign_in().await;
    let from = |site: &str| format!("{PAGE}sec-fetch-site: {site}\r\nsec-fetch-mode: navigate\r\n");
    let bounce = port.send("GET", "/", &from("cross-site")).await;
    assert_eq!(status_of(&bounce), 200);
    assert!(bounce.contains("content=\"0;url=?again\""), "{bounce}");
    assert!(!bounce.contains("ao dashboard"), "{bounce}");
    let again = from("same-origin");
    let there = port.send("GET", "/?again", &format!("{cookie}{again}")).await;
    assert_eq!((status_of(&there), header(&there, "location")), (303, Some("./")));
    let there = port.send("GET", "/", &format!("{cookie}{again}")).await;
    assert_eq!(status_of(&there), 200);
    for (path, from) in
        [("/?again", &again), ("/", &from("none")), ("/?again", &from("cross-site"))]
    {
        let out = port.send("GET", path, from).await;
        assert_eq!(status_of(&out), 401, "{out}");
        assert!(out.contains("<code>ao dashboard</code>"), "{out}");
        assert!(out.contains("content=\"5;url=?again\""), "it looks again: {out}");
    }
    // Each page is named where it was wanted, and nothing else that stands in the address.
    for (path, command, then) in [
        ("/i/142?again", "ao dashboard i-142", "Then you go to i-142."),
        ("/s/app-3?again", "ao dashboard app-3", "Then you go to app-3."),
        ("/sessions/app-3?again", "ao dashboard app-3", "Then you go to app-3."),
    ] {
        let out = port.send("GET", path, &again).await;
        assert_eq!(status_of(&out), 401, "{out}");
        assert!(out.contains(&format!("<code>{command}</code>")) && out.contains(then), "{out}");
        let there = port.send("GET", path, &format!("{cookie}{again}")).await;
        let last = path.rsplit('/').next().unwrap().trim_end_matches("?again");
        assert_eq!(header(&there, "location"), Some(format!("./{last}").as_str()), "{path}");
    }
    for path in ["/i/142;x?again", "/s/--flag?again", "/s/app-3%22onload=x?again"] {
        let out = port.send("GET", path, &again).await;
        assert!(!out.contains("Then you go") && !out.contains("onload"), "{path}: {out}");
    }
    // A program is told in its own way.
    let out = port.send("GET", "/", "").await;
    assert_eq!(status_of(&out), 401);
}

/// A stream that is open ends with what let it in, and others go on.
#[tokio::test]
async fn s37_what_is_taken_back_loses_its_stream() {
    let port = Port::open().await;
    let follow = async |credential: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", port.port)).await.unwrap();
        let request = format!(
            "GET /api/events HTTP/1.1\r\nhost: localhost:{}\r\nconnection: close\r\naccept: text/event-stream\r\n{credential}\r\n",
            port.port
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = String::new();
        while !head.contains("\r\n\r\n") {
            head.push(char::from(stream.read_u8().await.unwrap()));
        }
        assert_eq!(status_of(&head), 200, "{head}");
        stream
    };
    let ((gone, token), cookie) = (port.token(Role::Viewer).await, port.sign_in().await);
    let (mut cut, mut stays) = (follow(&token).await, follow(&cookie).await);
    let handle = &port.house.api.handle;
    handle.revoke(gone, Visitor::local().actor).await.unwrap();
    // It ends by itself, and tells nothing of what came since.
    let mut told = String::new();
    cut.read_to_string(&mut told).await.unwrap();
    assert!(told.ends_with("0\r\n\r\n") && !told.contains("access.revoked"), "{told}");
    let mut told = String::new();
    while !told.contains("access.revoked") {
        let mut more = [0; 1024];
        let n = stays.read(&mut more).await.unwrap();
        assert!(n > 0, "cut too: {told}");
        told.push_str(&String::from_utf8_lossy(&more[..n]));
    }
}

/// A phone comes by `publicUrl`: its ticket is for there, its cookie for an encrypted connection alone.
#[tokio::test]
async fn a_phone_signs_in_at_public_url() {
    let port = Port::named(|_| "https://ao.example.org/phone".into()).await;
    let send = async |method: &str, path: &str, headers: &str| {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: ao.example.org\r\nconnection: close\r\n\
             content-length: 0\r\n{headers}\r\n"
        );
        port.reply(&request).await
    };
    let out = send("GET", "/?again", PAGE).await;
    assert!(out.contains("<code>ao dashboard --away</code>"), "{out}");
    let ticket = Ticket { visitor: Visitor::local(), wanted: Wanted::Attention, away: true };
    let word = port.house.api.tickets.issue(ticket).unwrap();
    let own = "origin: https://ao.example.org\r\n";
    let plain = "origin: http://ao.example.org\r\n";
    let path = format!("/sign-in/{word}");
    assert_eq!(status_of(&send("POST", &path, plain).await), 403);
    let reply = send("POST", &path, own).await;
    assert_eq!((status_of(&reply), header(&reply, "location")), (303, Some("../")));
    let cookie = header(&reply, "set-cookie").unwrap();
    assert!(cookie.ends_with("; Secure") && cookie.contains("; Path=/phone; "), "{cookie}");
    let cookie = format!("cookie: {}\r\n", cookie.split(';').next().unwrap());
    assert_eq!(status_of(&send("GET", "/", &format!("{cookie}{PAGE}")).await), 200);
}
