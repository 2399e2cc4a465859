//! The dashboard, through the real server and, where one is installed, a real browser.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
};

use serde_json::json;

use crate::{
    browser::Browser,
    house::{House, until},
};

/// A house with a port of its own: free now; where another takes it before the server does, the test says so.
fn house() -> (House, u16) {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    (house_at(port), port)
}

fn house_at(port: u16) -> House {
    let house = House::new();
    let user = house.path("home/.config/ao");
    fs::create_dir_all(&user).unwrap();
    fs::write(user.join("config.yaml"), format!("port: {port}\n")).unwrap();
    house.configure();
    house
}

#[test]
fn ao_dashboard_signs_a_browser_in_until_it_signs_out() {
    let (house, port) = house();
    let Some(mut browser) = Browser::start(&house) else { return };
    let url = house.ao(&["dashboard", "--print"]).success().stdout();
    let base = format!("http://ao.localhost:{port}");
    let url = url.trim();
    assert!(url.starts_with(&format!("{base}/sign-in/")), "{url}");

    browser.goes_to(&format!("{base}/"));
    let out = browser.reads();
    assert!(out.contains("Sign in") && out.contains("ao dashboard"), "{out}");
    browser.signs_in(url);
    let at = browser.evaluates("location.href");
    assert_eq!(at, json!(format!("{base}/")));
    let signed_in = |browser: &mut Browser| {
        browser.evaluates("fetch('/api/sessions').then(answer => answer.status)")
    };
    assert_eq!(signed_in(&mut browser), json!(200));
    assert_eq!(browser.evaluates("document.cookie"), json!(""), "no script sees the cookie");

    // Neither a restart of the server nor the ticket again changes anything.
    house.ao(&["restart"]).success();
    assert_eq!(signed_in(&mut browser), json!(200));
    let again = house.ao(&["dashboard", "--print"]).success().stdout();
    browser.goes_to(url);
    assert!(browser.reads().contains("once, within a minute"), "{}", browser.reads());
    assert_ne!(again.trim(), url);

    let left = "fetch('/sign-out', {method: 'POST'}).then(answer => answer.url)";
    assert_eq!(browser.evaluates(left), json!(format!("{base}/signed-out")));
    assert_eq!(signed_in(&mut browser), json!(401));
}

/// A link in a mail leads, over the sign-in, to the question; its answer on the page goes to the agent.
#[test]
fn a_link_from_a_mail_reaches_the_incident_and_the_answer_the_agent() {
    let (house, port) = house();
    let Some(mut browser) = Browser::start(&house) else { return };
    house.ao(&["spawn", "my-app", "--prompt", "ask me something"]).success();
    house.eventually(&["session", "show", "app-1"], |doc| doc["session"]["incident"] == "i-1");
    let page = format!("http://ao.localhost:{port}/i/1");
    let mail = format!("data:text/html,<a href='{page}'>app-1 asks</a>");
    browser.goes_to(&mail);
    browser.presses("a");
    let out = browser.until_reads("ao dashboard i-1");
    assert!(out.contains("Then you go to i-1."), "{out}");
    let url = house.ao(&["dashboard", "i-1", "--print"]).success().stdout();
    browser.signs_in(url.trim());
    assert_eq!(browser.evaluates("location.href"), json!(page));

    // The mail is another site: the cookie comes with the second try, which our own page makes.
    browser.goes_to(&mail);
    browser.presses("a");
    browser.until_reads("Items only, or shipping too?");
    assert_eq!(browser.evaluates("location.href"), json!(page));
    browser.presses("button[value='answer:2']");
    let answer = house.path("data/worktrees/my-app/app-1/answer.txt");
    let said = until("the answer", || fs::read_to_string(&answer).ok().filter(|t| !t.is_empty()));
    assert_eq!(said, "Items and shipping\n");
    let decided = house.events().into_iter().find(|event| event["kind"] == "request.decided");
    assert_eq!(decided.unwrap()["data"]["by"]["via"], "web");
}

/// What would open the browser gets the address as its one argument; where there is no screen, it is printed.
#[test]
fn ao_dashboard_opens_the_address_where_there_is_a_screen_and_prints_it_elsewhere() {
    let (house, port) = house();
    house.script("bin/xdg-open", "#!/bin/sh\nprintf '%s\\n' \"$#\" \"$1\" > \"$HOME/opened\"");
    let mut here = house.command_with_bin(&["dashboard", "i-142"]);
    here.env("DISPLAY", ":9").env_remove("SSH_CONNECTION").env_remove("WSL_DISTRO_NAME");
    let ran = house.run(here, &["dashboard"]).success();
    assert_eq!(ran.stdout(), "The dashboard opens in your browser\n");
    let opened = fs::read_to_string(house.path("home/opened")).unwrap();
    let url = opened.strip_prefix("1\n").unwrap();
    assert!(url.starts_with(&format!("http://ao.localhost:{port}/sign-in/")), "{opened}");

    let mut far = house.command_with_bin(&["dashboard"]);
    far.env("DISPLAY", ":9").env("SSH_CONNECTION", "10.0.0.2 5022 10.0.0.1 22");
    let ran = house.run(far, &["dashboard"]).success();
    assert!(ran.stdout().starts_with("http://ao.localhost:"), "{}", ran.stdout());
    let hint = format!("ssh -L {port}:127.0.0.1:{port} 10.0.0.1");
    assert!(ran.stderr().contains(&hint), "{}", ran.stderr());

    let wrong = house.ao(&["dashboard", "//evil.com"]).exits(2);
    assert!(wrong.stderr().contains("has no page of its own"), "{}", wrong.stderr());
    // An agent gets no way in.
    let mut agent = house.command(&["dashboard", "--print"]);
    agent.env("AO_SESSION", "app-1");
    let agent = house.run(agent, &["dashboard"]).exits(5);
    assert!(agent.stderr().contains("an agent may not open the dashboard"), "{}", agent.stderr());
}

/// Without its port there is no dashboard, and the command says how to get one.
#[test]
fn ao_dashboard_says_that_another_has_the_port() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    let house = house_at(port);
    let ran = house.ao(&["dashboard", "--print"]).exits(7);
    assert!(ran.stderr().contains(&format!("port {port}")), "{}", ran.stderr());
    assert!(ran.stderr().contains("another `port:`"), "{}", ran.stderr());
}

/// A token stands for its maker as far as its role goes, until it is taken back.
#[test]
fn a_program_comes_in_by_its_token_until_it_is_taken_back() {
    let (house, port) = house();
    let token = house.ao(&["token", "create", "ci-bot", "--role", "viewer"]).success().stdout();
    let asks = |line: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        write!(
            stream,
            "{line} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\ncontent-length: 0\r\n\
             authorization: Bearer {}\r\n\r\n",
            token.trim()
        )
        .unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!((asks("GET /api/sessions"), asks("POST /api/digest")), ("200".into(), "403".into()));
    let list = house.ao(&["token", "ls"]).success().stdout();
    assert!(list.contains("k-1  token  ci-bot  viewer as "), "{list}");
    assert!(!list.contains(token.trim()), "{list}");
    house.ao(&["token", "revoke", "k-1"]).success();
    assert_eq!(asks("GET /api/sessions"), "401");
    let list = house.ao(&["token", "ls"]).success().stdout();
    assert!(list.starts_with("No browser and no program may come in"), "{list}");
    assert!(house.ao(&["token", "ls", "--all"]).success().stdout().contains("taken back by "));
    house.ao(&["token", "revoke", "k-9"]).exits(4);
    house.ao(&["token", "create", "x", "--role", "root"]).exits(2);
}
