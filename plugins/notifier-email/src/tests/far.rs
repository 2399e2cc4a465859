//! The mail server, and a mailbox that shows a repeated mail once.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
};

use ao_conformance::notifier::{FarEnd, Mood, Shown};
use ao_slots::notifier::Notifier;
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

/// A mail as Python's parsers read it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Parsed {
    pub(super) headers: Vec<(String, String)>,
    pub(super) text: String,
    pub(super) html: String,
    /// Of the HTML part, as far as they can be seen.
    pub(super) words: Vec<String>,
    pub(super) hidden: String,
    pub(super) links: Vec<String>,
    pub(super) tags: Vec<String>,
}

impl Parsed {
    pub(super) fn header(&self, name: &str) -> &str {
        let mut found = self.headers.iter().filter(|header| header.0.eq_ignore_ascii_case(name));
        let (Some(header), None) = (found.next(), found.next()) else {
            panic!("{name} is not there once: {:?}", self.headers)
        };
        &header.1
    }
}

#[derive(Debug, Deserialize)]
struct Has {
    mails: Vec<Parsed>,
    tries: usize,
    said: Vec<String>,
}

/// A server of its own; gone with this.
pub(super) struct MailServer {
    pub(super) notifier: Arc<dyn Notifier>,
    settings: Value,
    process: Mutex<(Child, ChildStdin, BufReader<ChildStdout>)>,
}

impl MailServer {
    /// One that encrypts so: `none`, `starttls`, `tls`. It wants a log-in unless `none`.
    pub(super) fn start(tls: &str) -> Self {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests");
        let certificate = format!("{folder}/localhost.pem");
        let mut ask = json!({
            "tls": tls, "certificate": certificate, "key": format!("{folder}/localhost.key.pem"),
        });
        if tls != "none" {
            ask["user"] = json!("ana");
            ask["password"] = json!("hush-hush");
        }
        // The system's own Python: its packages are what scripts/packages installs.
        let mut child = Command::new("/usr/bin/python3")
            .args([&format!("{folder}/server.py"), &ask.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let told: Value =
            serde_json::from_str(&line).expect("the mail server starts: scripts/packages test");
        let mut smtp = json!({"host": "localhost", "port": told["port"], "tls": tls});
        if tls != "none" {
            smtp["username"] = json!("ana");
            smtp["password"] = json!("hush-hush");
            smtp["caFile"] = json!(certificate);
        }
        let settings = json!({
            "smtp": smtp, "from": "ao@example.org",
            "to": ["ana@example.org", "Ben <ben@example.org>"], "replyTo": "team@example.org",
        });
        let notifier = super::build(&settings).unwrap();
        Self { notifier, settings, process: Mutex::new((child, stdin, stdout)) }
    }

    pub(super) fn settings(&self) -> Value {
        self.settings.clone()
    }

    fn ask(&self, ask: &Value) -> Has {
        let mut process = self.process.lock().unwrap();
        writeln!(process.1, "{ask}").unwrap();
        let mut line = String::new();
        process.2.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// Every mail, repetitions included.
    pub(super) fn mails(&self) -> Vec<Parsed> {
        self.ask(&json!({})).mails
    }

    /// Mails that were never sent, as a strict reader has them.
    pub(super) fn parse(&self, mails: &[Vec<u8>]) -> Vec<Parsed> {
        let hex =
            |mail: &Vec<u8>| mail.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        self.ask(&json!({"parse": mails.iter().map(hex).collect::<Vec<_>>()})).mails
    }

    /// The commands that name an address.
    pub(super) fn said(&self) -> Vec<String> {
        self.ask(&json!({})).said
    }

    /// Answers these commands so from now on.
    pub(super) fn answer(&self, answers: &Value) {
        self.ask(&json!({"answers": answers}));
    }

    pub(super) fn set_mood(&self, mood: Mood) {
        self.ask(&json!({"mood": format!("{mood:?}").to_lowercase()}));
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let process = self.process.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = process.0.kill();
        let _ = process.0.wait();
    }
}

#[async_trait]
impl FarEnd for MailServer {
    fn notifier(&self) -> Arc<dyn Notifier> {
        self.notifier.clone()
    }

    async fn set(&self, mood: Mood) -> bool {
        self.set_mood(mood);
        true
    }

    /// The body begins with what an inbox shows beside the subject.
    async fn shown(&self) -> Vec<Shown> {
        let shown = |mail: &Parsed| Shown {
            title: mail.header("subject").to_owned(),
            body: format!("{}\n{}", mail.hidden, mail.text),
        };
        self.mails().iter().map(shown).collect()
    }

    async fn tries(&self) -> usize {
        self.ask(&json!({})).tries
    }

    async fn buzzes(&self) -> usize {
        let is_low = |header: &(String, String)| header.0 == "Importance" && header.1 == "low";
        self.mails().iter().filter(|mail| !mail.headers.iter().any(is_low)).count()
    }

    async fn press(&self, _: &str) {
        panic!("an e-mail has no buttons that come back");
    }
}
