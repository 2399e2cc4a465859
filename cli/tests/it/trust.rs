//! Who may speak, for whom, and what becomes of `ao`'s own files when another writes them.

use std::{
    fs,
    io::Write,
    os::unix::{
        fs::{PermissionsExt, symlink},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    house::{House, until},
    receiver::{Push, Receiver},
};

/// A program named `claude` that says by its hooks that it is there and idle.
const IDLE: &str = r#"#!/bin/sh
tell() { printf '{"hook_event_name":"%s"%s}' "$1" "$2" | "$AO_DATA_DIR/run/ao" hook claude-code "$1"; }
tell SessionStart ',"session_id":"s","source":"startup"'
tell UserPromptSubmit ',"prompt_id":"first","prompt":"begin"'
tell Stop ',"prompt_id":"first"'
exec sleep 100000
"#;

struct Idle {
    house: House,
    receiver: Receiver,
}

impl Idle {
    fn new(sessions: usize) -> Self {
        let (house, receiver) = (House::new(), Receiver::start());
        house.script("bin/claude", IDLE);
        house.configure_as(&format!(
            r#"defaults: {{notifiers: [hook]}}
notifiers:
  hook: {{plugin: webhook, url: "http://127.0.0.1:{port}/", allowPrivate: true, secret: trust-secret-trust-secret}}
lifecycle: {{sweepInterval: 200ms, settle: {{urgent: 100ms}}}}
projects:
  my-app: {{path: ., defaultBranch: main, sessionPrefix: app}}
"#,
            port = receiver.port,
        ));
        for number in 1..=sessions {
            house.spawn_claude();
            let id = format!("app-{number}");
            house.eventually(&["session", "show", &id], |doc| doc["session"]["status"] == "idle");
        }
        Self { house, receiver }
    }

    fn token(&self, session: &str) -> String {
        fs::read_to_string(self.house.path("data/secrets/token").join(session)).unwrap()
    }

    fn settings(&self) -> PathBuf {
        self.house.path("data/agents/app-1/settings.json")
    }

    fn tampered(&self) -> Vec<Push> {
        self.receiver.of_kind("tampered")
    }

    /// The copy that was kept of a changed file.
    fn kept(&self, beside: &Path, words: &str) {
        let folder = beside.parent().unwrap();
        until("a kept copy", || {
            let files = fs::read_dir(folder).ok()?.flatten();
            let holds = |path: PathBuf| {
                path != beside && fs::read_to_string(path).is_ok_and(|text| text.contains(words))
            };
            files.map(|file| file.path()).any(holds).then_some(())
        });
    }
}

/// The socket lies in a folder that no other user enters. Were it open, the server would still refuse.
#[test]
fn s8_another_user_is_refused_by_the_folder_and_by_the_server() {
    if !nix::unistd::Uid::current().is_root() {
        println!("s8: needs root to become another user; `ao-web` tests the refusal itself");
        return;
    }
    let house = House::new();
    house.configure();
    let other = |socket: &str| {
        let mut command = Command::new("perl");
        let connect = "use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or exit 9; \
             print $s \"GET /api/status HTTP/1.1\\r\\nhost: ao\\r\\nconnection: close\\r\\n\\r\\n\"; print <$s>;";
        command.args(["-e", connect, &house.path(socket).to_string_lossy()]);
        command.uid(65_534).gid(65_534).current_dir("/").output().unwrap()
    };
    let open = |part: &str, mode| {
        fs::set_permissions(house.path(part), fs::Permissions::from_mode(mode)).unwrap();
    };
    open("", 0o755);
    assert_eq!(other("data/run/ao.sock").status.code(), Some(9), "the folder is closed");
    for (part, mode) in [("data", 0o755), ("data/run", 0o755), ("data/run/ao.sock", 0o666)] {
        open(part, mode);
    }
    let reply = String::from_utf8(other("data/run/ao.sock").stdout).unwrap();
    assert!(reply.starts_with("HTTP/1.1 403 ") && reply.contains("its own user only"), "{reply}");
    assert!(!reply.contains("my-app"), "{reply}");
}

#[test]
fn s23_the_token_of_one_session_does_not_speak_for_another() {
    let idle = Idle::new(2);
    let house = &idle.house;
    let report = |session: &str, token: &str| {
        let mut command = house.command(&["report", "error", "all is lost"]);
        command.env("AO_SESSION", session).env("AO_LAUNCH", "1").env("AO_TOKEN", token);
        house.run(command, &["report", "error"])
    };
    let (own, other) = (idle.token("app-1"), idle.token("app-2"));
    assert_ne!(own, other);
    let refused = report("app-2", &own).exits(5);
    assert!(refused.stderr().contains("this is not app-2's token"), "{}", refused.stderr());
    // Neither by the agent's own hook, which never says so.
    let payload = r#"{"hook_event_name":"UserPromptSubmit","prompt_id":"forged","prompt":"x"}"#;
    let mut command = house.command(&["hook", "claude-code", "UserPromptSubmit"]);
    command.env("AO_SESSION", "app-2").env("AO_LAUNCH", "1").env("AO_TOKEN", &own);
    command.env("AO_SOCKET", house.path("data/run/ao.sock"));
    let hooked = house.ao_with(command, payload);
    assert!(hooked.status.success() && hooked.stdout.is_empty() && hooked.stderr.is_empty());
    assert_eq!(house.json(&["session", "show", "app-2"])["session"]["status"], "idle");
    report("app-1", &own).success();
    house.eventually(&["session", "show", "app-1"], |doc| doc["session"]["status"] == "errored");
    assert_eq!(house.json(&["session", "show", "app-2"])["session"]["status"], "idle");
    assert!(!house.events().iter().any(|event| event.to_string().contains("forged")));
    // The token is its owner's file.
    let mode = |part: &str| fs::metadata(house.path(part)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("data/secrets/token/app-1"), 0o600);
    assert_eq!((mode("data/run/ao.sock"), mode("data/secrets")), (0o600, 0o700));
}

#[test]
fn s24_an_agent_that_edits_its_hooks_finds_them_restored_and_a_human_is_called() {
    let idle = Idle::new(1);
    let ours = fs::read_to_string(idle.settings()).unwrap();
    assert!(ours.contains("PermissionRequest"));

    fs::write(idle.settings(), "{\"hooks\":{},\"mine\":1}").unwrap();
    let push = until("the push", || idle.tampered().into_iter().next());
    assert!(push.body["message"].to_string().contains("settings.json"), "{push:?}");
    assert_eq!(push.message("priority"), "urgent");
    assert_eq!(fs::read_to_string(idle.settings()).unwrap(), ours);
    idle.kept(&idle.settings(), "\"mine\":1");

    // Removed is changed too.
    fs::remove_file(idle.settings()).unwrap();
    until("the file", || (fs::read_to_string(idle.settings()).ok()? == ours).then_some(()));
    idle.house.ao(&["events", "verify"]).success();
}

#[test]
fn s24_what_was_edited_while_no_server_looked_is_found_by_the_next() {
    let idle = Idle::new(1);
    let ours = fs::read_to_string(idle.settings()).unwrap();
    idle.house.ao(&["stop"]).success();
    fs::write(idle.settings(), "{\"later\":1}").unwrap();
    idle.house.ao(&["start"]).success();
    until("the push", || idle.tampered().into_iter().next());
    assert_eq!(fs::read_to_string(idle.settings()).unwrap(), ours);
    idle.kept(&idle.settings(), "\"later\":1");
}

#[test]
fn s24_the_link_that_hooks_run_is_guarded() {
    let idle = Idle::new(1);
    let link = idle.house.path("data/run/ao");
    let program = fs::read_link(&link).unwrap();
    fs::remove_file(&link).unwrap();
    symlink("/bin/true", &link).unwrap();
    until("the push", || idle.tampered().into_iter().next());
    assert_eq!(fs::read_link(&link).unwrap(), program);
}

#[test]
fn s24_an_edited_journal_is_told_of() {
    let idle = Idle::new(1);
    let segments = fs::read_dir(idle.house.path("data/journal")).unwrap().flatten();
    let numbered = |path: &PathBuf| path.file_stem().is_some_and(|name| name.len() == 20);
    let last = segments.map(|file| file.path()).filter(numbered).max().unwrap();
    let mut forged = fs::OpenOptions::new().append(true).open(last).unwrap();
    forged.write_all(b"{\"seq\":1,\"kind\":\"session.ended\"}\n").unwrap();
    // What comes next is written after a look at what stands there.
    idle.house.ao(&["send", "app-1", "--wait", "0", "hello"]).success();
    let push = until("the push", || idle.tampered().into_iter().next());
    assert!(push.body["message"].to_string().contains("journal"), "{push:?}");
    // What was forged is no part of it.
    idle.house.ao(&["events", "verify"]).success();
    idle.house.kill_server();
    assert_eq!(idle.house.json(&["session", "show", "app-1"])["over"], serde_json::Value::Null);
}
