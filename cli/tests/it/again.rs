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
    while !request.ends_with(b"}") {
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
