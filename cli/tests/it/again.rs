//! What is done once however often it is asked for: a server that goes away before it answers is asked again.

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    thread,
};

use crate::house::House;

/// The head and the body of a request.
fn read(stream: &mut UnixStream) -> String {
    let (mut request, mut piece) = (Vec::new(), [0; 1024]);
    let end = |request: &[u8]| if request.starts_with(b"GET") { &b"\r\n\r\n"[..] } else { b"}" };
    while !request.ends_with(end(&request)) {
        match stream.read(&mut piece).unwrap() {
            0 => break,
            n => request.extend_from_slice(&piece[..n]),
        }
    }
    String::from_utf8(request).unwrap()
}

#[test]
fn a_message_whose_server_went_away_is_sent_again_with_the_same_key() {
    let house = House::new();
    fs::create_dir_all(house.path("data/run")).unwrap();
    let listener = UnixListener::bind(house.path("data/run/ao.sock")).unwrap();
    let server = thread::spawn(move || {
        let (mut first, _) = listener.accept().unwrap();
        let asked = read(&mut first);
        // It goes away without a word; perhaps it has taken the message.
        drop(first);
        let (mut second, _) = listener.accept().unwrap();
        let again = read(&mut second);
        let body = r#"{"schema":"ao.taken/1","session":"app-1","message":"m-2","request":null,"note":null,"after":"e7"}"#;
        let length = body.len();
        write!(second, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
        (asked, again)
    });
    let sent = house.ao(&["send", "app-1", "--wait", "0", "hello"]).success();
    assert_eq!(sent.stdout(), "queued for app-1\n");
    let (asked, again) = server.join().unwrap();
    let key = |request: &str| {
        let line = request.lines().find(|line| line.to_lowercase().starts_with("x-ao-act: "));
        line.map(str::to_owned)
    };
    assert!(
        asked.starts_with("POST /api/sessions/app-1/send ") && key(&asked).is_some(),
        "{asked}"
    );
    assert_eq!(key(&asked), key(&again));
    assert_eq!(asked.lines().last(), again.lines().last());
}

#[test]
fn a_server_that_dies_while_it_is_asked_is_replaced() {
    let house = House::new();
    fs::create_dir_all(house.path("data/run")).unwrap();
    let listener = UnixListener::bind(house.path("data/run/ao.sock")).unwrap();
    // Its socket takes two more calls, and answers neither.
    let dying = thread::spawn(move || (0..2).for_each(|_| drop(listener.accept().unwrap())));
    let started = house.ao(&["start"]).success().stdout();
    assert!(started.contains(" serves (process ") && !started.contains("already"), "{started}");
    dying.join().unwrap();
}

#[test]
fn what_a_batch_came_to_is_told_also_when_the_server_takes_no_more() {
    let house = House::new();
    fs::create_dir_all(house.path("data/run")).unwrap();
    let listener = UnixListener::bind(house.path("data/run/ao.sock")).unwrap();
    thread::spawn(move || {
        let mut spawned = 0;
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let asked = read(&mut stream);
            let (status, body) = match asked.split(' ').nth(1).unwrap_or_default() {
                "/api/projects" => (200, r#"{"schema":"ao.projects/1","projects":[]}"#.to_owned()),
                issue if issue.starts_with("/api/projects/my-app/issues/") => {
                    let problem = r#"{"type":"urn:ao:problem:not-found","title":"it has no tracker","status":404,"code":"not-found"}"#;
                    (404, problem.to_owned())
                }
                "/api/sessions" if spawned < 2 => {
                    spawned += 1;
                    let taken = r#""message":null,"request":null,"note":null,"after":"e7"}"#;
                    (200, format!(r#"{{"schema":"ao.taken/1","session":"app-{spawned}",{taken}"#))
                }
                "/api/sessions" => {
                    let problem = r#"{"type":"urn:ao:problem:unavailable","title":"the disk is full","status":507,"code":"unavailable"}"#;
                    (507, problem.to_owned())
                }
                _ => {
                    let ready = |n| {
                        let rest = r#""project":"my-app","because":[],"rule":null,"told":{"mark":null,"label":"","text":""},"data":{}"#;
                        format!(
                            "data: {{\"schema\":\"ao.event/1\",\"seq\":\"e1{n}\",\"at\":\"2026-11-21T14:28:03Z\",\"class\":\"dec\",\"kind\":\"session.ready\",\"session\":\"app-{n}\",{rest}}}\n\n"
                        )
                    };
                    (200, format!("{}{}", ready(1), ready(2)))
                }
            };
            let length = body.len();
            let _ = write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n{body}");
        }
    });
    let args = ["batch-spawn", "my-app", "1", "2", "3", "4"];
    let mut command = house.command(&args);
    command.current_dir(house.path("home"));
    let told = house.run(command, &args).exits(9).stdout();
    assert!(told.contains("2 started, 2 failed in"), "{told}");
    assert_eq!(told.matches("the disk is full").count(), 2, "{told}");
}

#[test]
fn a_failed_set_up_says_what_failed_what_was_undone_where_it_is_written_and_what_to_do() {
    let house = House::new();
    house.configure();
    let text = fs::read_to_string(house.path("repo/agent-orchestrator.yaml")).unwrap();
    let set_up = "agent: custom\n    postCreate: [\"true\", \"echo 1; echo gone: $PWD; exit 3\"]";
    house.configure_as(&text.replace("agent: custom", set_up));
    let failed = house.ao(&["spawn", "my-app", "--prompt", "wait"]).exits(1).stderr();
    let lines: Vec<&str> = failed.lines().map(str::trim_end).collect();
    let at = |begins: &str| {
        let found = lines.iter().position(|line| line.starts_with(begins));
        found.unwrap_or_else(|| panic!("{begins}: {failed}"))
    };
    let step = at("  ✗ postCreate echo 1; echo gone: $PWD; exit 3");
    assert!(lines[step + 1].starts_with("      gone: /"), "{failed}");
    assert!(lines[step + 1].ends_with("(last 1 of 2 lines)"), "{failed}");
    assert_eq!(
        lines[step + 2..],
        [
            "error: app-1 was not started: postCreate `echo 1; echo gone: $PWD; exit 3` exited with 3",
            "  undone: workspace and empty branch removed; the number app-1 is not used again",
            "  log:    ao logs app-1 --step postCreate",
            "  try:    correct what it names, then: ao spawn my-app --prompt \"…\"",
        ]
    );
    let log = house.ao(&["logs", "app-1", "--step", "postCreate"]).success().stdout();
    assert!(log.contains("gone: /"), "{log}");
    let args = ["spawn", "my-app", "--prompt", "wait", "--json"];
    let told = house.ao(&args).exits(1).stderr();
    let document: serde_json::Value = serde_json::from_str(told.trim()).unwrap();
    assert_eq!(document["log"], "ao logs app-2 --step postCreate", "{told}");
}
