//! A mail's buttons and the page behind them: through the real server, with a real agent, a strict mail server and,
//! where one is installed, a real browser.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Mutex,
};

use serde_json::Value;

use crate::{
    browser::Browser,
    house::{House, until},
};

/// A mail server of its own; gone with this.
pub(crate) struct Post {
    pub(crate) port: u64,
    process: Mutex<(Child, ChildStdin, BufReader<ChildStdout>)>,
}

impl Post {
    pub(crate) fn start() -> Self {
        let script = "../plugins/notifier-email/src/tests/server.py";
        // The system's own Python: its packages are what scripts/packages installs.
        let mut child = Command::new("/usr/bin/python3")
            .args([script, r#"{"tls": "none"}"#])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("no mail server: scripts/packages test"));
        let port = told["port"].as_u64().unwrap();
        Self { port, process: Mutex::new((child, stdin, stdout)) }
    }

    /// Each mail as it was read.
    pub(crate) fn letters(&self) -> Vec<Value> {
        let mut process = self.process.lock().unwrap();
        writeln!(process.1, "{{}}").unwrap();
        let mut line = String::new();
        process.2.read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).unwrap();
        told["mails"].as_array().unwrap().clone()
    }

    /// The text of each mail.
    fn mails(&self) -> Vec<String> {
        let letters = self.letters();
        letters.iter().map(|mail| mail["text"].as_str().unwrap().to_owned()).collect()
    }

    /// Where a button of a mail leads, once there is one: below the port's own name.
    fn link(&self, label: &str) -> String {
        let link = until(&format!("a mail with the button {label}"), || {
            let mails = self.mails();
            let mut lines = mails.iter().flat_map(|mail| mail.lines());
            lines.find(|line| *line == label)?;
            lines.next().map(str::to_owned)
        });
        assert!(link.contains("/a/"), "{link}");
        link
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        if let Ok(process) = self.process.get_mut() {
            let _ = process.0.kill();
            let _ = process.0.wait();
        }
    }
}

struct Mail {
    house: House,
    post: Post,
    port: u16,
}

impl Mail {
    /// A house whose only channel is a mailbox, with links that lead to the loopback port.
    fn new() -> Self {
        let (house, post) = (House::new(), Post::start());
        // Free now; where another takes it before the server does, the test says so.
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let user = house.path("home/.config/ao");
        fs::create_dir_all(&user).unwrap();
        let own = format!("port: {port}\npublicUrl: http://localhost:{port}\n");
        fs::write(user.join("config.yaml"), own).unwrap();
        house.configure_as(&format!(
            "projects:\n  my-app:\n    path: .\n    defaultBranch: main\n    sessionPrefix: app\n    agent: custom\n    \
             agentConfig: {{command: [\"{}\", \"{{prompt}}\"]}}\n\
             notifiers:\n  mail: {{plugin: email, smtp: {{host: localhost, port: {}, tls: none}}, \
             from: ao@example.org, to: ana@example.org, digest: off}}\n\
             defaults: {{notifiers: [mail]}}\n\
             lifecycle: {{sweepInterval: 200ms, settle: {{urgent: 50ms}}}}\n",
            house.path("agent.sh").display(),
            post.port,
        ));
        Self { house, post, port }
    }

    /// An agent asks, and a mail says so.
    fn asked() -> Self {
        let mail = Self::new();
        mail.house.ao(&["spawn", "my-app", "--prompt", "ask me something"]).success();
        mail
    }

    fn path(&self, label: &str) -> String {
        let link = self.post.link(label);
        let path = link.strip_prefix(&format!("http://localhost:{}", self.port));
        path.unwrap_or_else(|| panic!("{link}")).to_owned()
    }

    fn answer(&self) -> Option<String> {
        let text = fs::read_to_string(self.house.path("data/worktrees/my-app/app-1/answer.txt"));
        text.ok().filter(|text| !text.is_empty())
    }

    fn decisions(&self) -> usize {
        let events = self.house.events();
        events.iter().filter(|event| event["kind"] == "request.decided").count()
    }

    /// What a browser says with the page's own form.
    fn ours(&self) -> String {
        format!(
            "content-type: application/x-www-form-urlencoded\r\norigin: http://localhost:{}\r\n\
             sec-fetch-site: same-origin\r\nsec-fetch-mode: navigate\r\n",
            self.port
        )
    }

    /// The status and the text of what the loopback port answers.
    fn http(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let (port, length) = (self.port, body.len());
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: localhost:{port}\r\nconnection: close\r\n{headers}\
             content-length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        let status = reply.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        (status, reply)
    }
}

/// The page behind a mail's button: whoever fetches it does nothing by that, and a press counts once.
#[test]
fn s19_a_page_that_is_fetched_does_nothing_and_a_press_on_it_counts_once() {
    let mail = Mail::asked();
    let path = mail.path("Items and shipping");
    for _ in 0..3 {
        let (status, page) = mail.http("GET", &path, "", "");
        assert_eq!(status, 200, "{page}");
        assert!(page.contains("app-1 asks: Items only, or shipping too?"), "{page}");
        assert!(page.contains("Items and shipping") && page.contains("method=\"post\""), "{page}");
        assert!(page.contains("content-security-policy: default-src 'none'"), "{page}");
        assert!(!page.contains("<script"), "{page}");
    }
    assert_eq!((mail.answer(), mail.decisions()), (None, 0), "a look is no press");
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    let (status, _) = mail.http("POST", &path, &format!("{form}origin: http://evil.com\r\n"), "");
    assert_eq!((status, mail.decisions()), (403, 0));
    let (status, page) = mail.http("POST", &path, &mail.ours(), "");
    assert_eq!(status, 200, "{page}");
    assert_eq!(until("the answer", || mail.answer()), "Items and shipping\n");
    let (status, page) = mail.http("POST", &path, &mail.ours(), "");
    assert_eq!(status, 410, "{page}");
    assert!(page.contains("This button was already used, by "), "{page}");
    assert_eq!(mail.decisions(), 1);
}

/// Fifty clicks at one time: one counts, and each of the others hears who it was.
#[test]
fn s20_of_fifty_racing_clicks_one_counts() {
    let mail = Mail::asked();
    let (path, ours, mail) = (mail.path("Items only"), mail.ours(), &mail);
    let clicks: Vec<(u16, String)> = std::thread::scope(|scope| {
        let click = || mail.http("POST", &path, &ours, "");
        let racing: Vec<_> = (0..50).map(|_| scope.spawn(click)).collect();
        racing.into_iter().map(|click| click.join().unwrap()).collect()
    });
    let (counted, late): (Vec<_>, Vec<_>) = clicks.iter().partition(|(status, _)| *status == 200);
    assert_eq!(counted.len(), 1, "{clicks:#?}");
    for (status, page) in late {
        assert!(matches!(status, 409 | 410), "{page}");
        assert!(page.to_lowercase().contains("this button was already used, by "), "{page}");
    }
    assert_eq!(until("the answer", || mail.answer()), "Items only\n");
    assert_eq!(mail.decisions(), 1);
}

/// The button of a test: its page says what it is for, and who sent the test hears of the press.
#[test]
fn the_press_of_a_tests_button_on_its_page_comes_back_to_who_sent_it() {
    let mail = Mail::new();
    let mut test = mail.house.command(&["notify", "test", "mail", "--wait", "60s", "--json"]);
    let test = test.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let path = mail.path("It works");
    let (status, page) = mail.http("GET", &path, "", "");
    assert_eq!(status, 200, "{page}");
    assert!(page.contains("A test of this channel: press, and your machine knows"), "{page}");
    let (status, page) = mail.http("POST", &path, &mail.ours(), "");
    assert_eq!(status, 200, "{page}");
    assert!(page.contains("It works: your machine knows."), "{page}");
    let told = test.wait_with_output().unwrap();
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    let by = told["tests"][0]["pressedBy"].as_str().unwrap_or_default();
    assert!(by.ends_with(" by mail"), "{told:#}");
    let (status, page) = mail.http("POST", &path, &mail.ours(), "");
    assert_eq!(status, 410, "{page}");
    assert!(page.contains("This button was already used, by "), "{page}");
}

/// A real browser sends with the form what our own headers let it.
#[test]
fn s2_a_real_browser_can_press_the_page() {
    let mail = Mail::asked();
    let Some(mut browser) = Browser::start(&mail.house) else { return };
    let link = mail.post.link("Items and shipping");
    browser.goes_to(&link);
    let page = browser.reads();
    assert!(page.contains("app-1 asks: Items only, or shipping too?"), "{page}");
    assert_eq!(mail.decisions(), 0);
    browser.presses("form button");
    let page = browser.reads();
    assert!(page.contains("Items and shipping: done."), "{page}");
    assert_eq!(until("the answer", || mail.answer()), "Items and shipping\n");
    assert_eq!(mail.decisions(), 1);
}
