//! A channel from its set-up to what is counted of it: through the real program and server, with the vendor's server
//! played strictly.

use std::{
    fs,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ao_fakes::{
    discord,
    ntfy::{Options, Server},
    slack::{ANA, APP_TOKEN, BOT_TOKEN, CHANNEL, Outcome, Slack},
};
use serde_json::Value;

use crate::{
    house::{House, text, until},
    mail::Post,
    receiver::Receiver,
};

const SETUP: &[&str] = &["notify", "setup", "ntfy"];

/// A secret that is kept.
fn kept(house: &House, name: &str) -> Option<String> {
    let all = fs::read_to_string(house.path("data/secrets/channels")).ok()?;
    let line = all.lines().find_map(|line| line.strip_prefix(&format!("{name}=")))?;
    Some(line.to_owned())
}

fn user_file(house: &House) -> String {
    fs::read_to_string(house.path("home/.config/ao/config.yaml")).unwrap_or_default()
}

/// A command with the server's address, and what else it is told.
fn at(house: &House, server: &Server, args: &[&str], more: &[&str]) -> Command {
    let url = server.url();
    house.command(&[args, &["--server", &url], more].concat())
}

#[test]
fn ntfy_is_set_up_tested_and_used_and_what_it_did_is_counted_and_replayed() {
    let (house, server) = (House::new(), Server::start(Options::default()).unwrap());
    let ran = std::thread::scope(|scope| {
        let setup = scope.spawn(|| house.run(at(&house, &server, SETUP, &["--yes"]), SETUP));
        let topic = until("the topic", || kept(&house, "NTFY_TOPIC"));
        until("the test on the phone", || server.press(&topic, "It works"));
        setup.join().unwrap().success()
    });
    assert!(ran.stderr().contains("answers"), "{}", ran.stderr());
    let told = ran.stdout();
    assert!(told.contains("the press of ") && told.contains("Buttons work."), "{told}");
    let topic = kept(&house, "NTFY_TOPIC").unwrap();
    let file = user_file(&house);
    assert!(file.contains("${NTFY_TOPIC}") && !file.contains(&topic), "{file}");

    // Again: what is there is taken up as it is, its server too, and the phone stays subscribed.
    let again = ["notify", "setup", "ntfy", "--no-test", "--yes"];
    let ran = house.ao(&again).success();
    assert!(ran.stderr().contains("its lines stay as they are"), "{}", ran.stderr());
    assert_eq!((kept(&house, "NTFY_TOPIC").unwrap(), user_file(&house)), (topic.clone(), file));

    // It is what agents reach their human by.
    house.configure_as(&format!(
        "projects:\n  my-app:\n    path: .\n    defaultBranch: main\n    sessionPrefix: app\n    agent: custom\n    \
         agentConfig: {{command: [\"{}\", \"{{prompt}}\"]}}\ndefaults: {{notifiers: [ntfy]}}\n\
         lifecycle: {{sweepInterval: 200ms, settle: {{urgent: 50ms}}}}\n",
        house.path("agent.sh").display()
    ));
    house.ao(&["spawn", "my-app", "--prompt", "ask me something"]).success();
    until("the question on the phone", || server.press(&topic, "Items only"));
    let answer = house.path("data/worktrees/my-app/app-1/answer.txt");
    until("the answer", || fs::read_to_string(&answer).ok().filter(|text| !text.is_empty()));

    let log = house.ao(&["notify", "log"]).success().stdout();
    assert!(log.contains("by ntfy") && !log.contains("by ntfy by ntfy"), "{log}");
    assert!(!log.contains("by by"), "{log}");
    let stats = house.json(&["notify", "stats"]);
    assert_eq!((&stats["schema"], &stats["needs"]), (&"ao.stats/1".into(), &1.into()), "{stats:#}");
    assert_eq!((&stats["pushes"], &stats["misses"]), (&1.into(), &0.into()), "{stats:#}");
    assert!(stats["channels"]["ntfy"].is_object(), "{stats:#}");

    // The same past, where nobody is called for that.
    let other = house.path("other.yaml");
    fs::write(&other, "reactions: {agent-needs-input: {priority: info}}\n").unwrap();
    let replayed = house.json(&["notify", "replay", "--config", other.to_str().unwrap()]);
    assert_eq!(replayed["schema"], "ao.replay/1", "{replayed:#}");
    assert_eq!(replayed["old"].as_array().map(Vec::len), Some(1), "{replayed:#}");
    assert_ne!(replayed["new"], replayed["old"], "{replayed:#}");

    let digest = house.ao(&["digest", "now"]).success().stdout();
    assert!(digest.contains("digest"), "{digest}");
}

/// A token that the server refuses is told with what to do, and nothing is kept.
#[test]
fn a_wrong_token_is_told_precisely_and_nothing_is_kept() {
    let options = Options { token: Some("tk_right".into()), ..Options::default() };
    let (house, server) = (House::new(), Server::start(options).unwrap());
    let mut command = at(&house, &server, SETUP, &["--no-test", "--yes"]);
    command.env("NTFY_TOKEN", "tk_wrong");
    let ran = house.run(command, SETUP);
    assert_ne!(ran.code(), 0);
    let told = ran.stderr();
    assert!(told.contains("refused the request") && told.contains("40101"), "{told}");
    assert!(told.contains("check `token`") && !told.contains("tk_wrong"), "{told}");
    assert_eq!((kept(&house, "NTFY_TOKEN"), user_file(&house)), (None, String::new()));
    // One that no header can hold is refused before anybody is asked.
    let mut command = at(&house, &server, SETUP, &["--no-test", "--yes"]);
    command.env("NTFY_TOKEN", "tk\nwrong");
    let ran = house.run(command, SETUP).exits(2);
    assert!(ran.stderr().contains("NTFY_TOKEN has a line break"), "{}", ran.stderr());
}

/// Lines that a human wrote are not what set-up would write: it says so, and replaces no secret.
#[test]
fn a_channel_with_lines_of_its_own_is_not_set_up_past_them() {
    let (house, server) = (House::new(), Server::start(Options::default()).unwrap());
    let folder = house.path("home/.config/ao");
    fs::create_dir_all(&folder).unwrap();
    let mine = format!(
        "notifiers:\n  ntfy: {{plugin: ntfy, server: \"{}\", topic: my-own-topic-of-old}}\n",
        server.url()
    );
    fs::write(folder.join("config.yaml"), &mine).unwrap();
    let args = ["notify", "setup", "ntfy", "--no-test", "--yes"];
    let told = house.ao(&args).exits(5).stderr();
    assert!(told.contains("they do not take NTFY_TOPIC") && told.contains("--name"), "{told}");
    assert_eq!((kept(&house, "NTFY_TOPIC"), user_file(&house)), (None, mine.clone()));
    // Two whose secrets would be one.
    let ours = mine.replace("  ntfy: {", "  team-ntfy: {");
    fs::write(folder.join("config.yaml"), &ours).unwrap();
    let args = [&args[..], &["--name", "team.ntfy"]].concat();
    let told = house.ao(&args).exits(5).stderr();
    assert!(told.contains("those of team-ntfy: both are called TEAM_NTFY_"), "{told}");
}

/// Lines of the user's own file.
fn own(house: &House, text: &str) {
    let folder = house.path("home/.config/ao");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("config.yaml"), text).unwrap();
}

/// Slack is asked at each step whether it is right, by the gateway that the channel's lines name, and the set-up ends
/// when the press of its test came back.
#[test]
fn slack_is_set_up_once_the_press_of_its_test_came_back() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (house, slack) = (House::new(), runtime.block_on(Slack::start()));
    own(
        &house,
        &format!(
            "notifiers:\n  slack: {{plugin: slack, channel: {CHANNEL}, appToken: \"${{SLACK_APP_TOKEN}}\", \
             botToken: \"${{SLACK_BOT_TOKEN}}\", apiUrl: \"{}\"}}\n",
            slack.api_url()
        ),
    );
    let args = ["notify", "setup", "slack", "--channel", CHANNEL, "--yes"];
    let mut command = house.command(&args);
    command.env("SLACK_APP_TOKEN", APP_TOKEN).env("SLACK_BOT_TOKEN", BOT_TOKEN);
    let ran = std::thread::scope(|scope| {
        let setup = scope.spawn(|| house.run(command, &args));
        let card = until("the test in the channel", || slack.messages().pop());
        runtime.block_on(async {
            slack.connected(2).await;
            assert_eq!(slack.press(ANA, &card.ts, "It works").await, Outcome::Taken);
        });
        setup.join().unwrap().success()
    });
    let told = ran.stderr();
    for step in ["socket open", "token of workspace acme", "ao is in #", "SLACK_APP_TOKEN"] {
        assert!(told.contains(step), "{step}: {told}");
    }
    assert!(ran.stdout().contains("the press of ana"), "{}", ran.stdout());
    assert_eq!(kept(&house, "SLACK_BOT_TOKEN").as_deref(), Some(BOT_TOKEN));

    // Where none comes back, it says what to look at.
    let test = ["notify", "test", "slack", "--wait", "1s"];
    let told = house.ao(&test).exits(10).stderr();
    assert!(told.contains("slack: no press came back in 1 s; was it pressed? Then"), "{told}");
}

#[test]
fn discord_is_set_up_and_its_test_arrives() {
    let house = House::new();
    let discord = discord::Server::start((5, Duration::from_secs(2))).unwrap();
    own(
        &house,
        "notifiers:\n  discord: {plugin: discord, url: \"${DISCORD_URL}\", allowPrivate: true}\n",
    );
    let args = ["notify", "setup", "discord", "--yes"];
    let mut command = house.command(&args);
    command.env("DISCORD_URL", discord.url());
    let ran = house.run(command, &args).success();
    assert!(ran.stderr().contains("Discord knows the webhook"), "{}", ran.stderr());
    assert!(ran.stdout().contains("discord took it"), "{}", ran.stdout());
    assert_eq!(discord.posts().len(), 1);
    assert_eq!(kept(&house, "DISCORD_URL"), Some(discord.url()));
}

#[test]
fn email_is_set_up_and_its_test_arrives() {
    let (house, post) = (House::new(), Post::start());
    let port = post.port.to_string();
    let args = [
        &["notify", "setup", "email", "--to", "ana@example.org", "--host", "localhost"][..],
        &["--port", &port, "--tls", "none", "--no-login", "--yes"],
    ]
    .concat();
    let ran = house.ao(&args).success();
    assert!(ran.stderr().contains("localhost lets ao in"), "{}", ran.stderr());
    assert!(ran.stderr().contains("Mails carry no links"), "{}", ran.stderr());
    assert_eq!(post.letters().len(), 1);
    assert!(user_file(&house).contains("to: \"ana@example.org\""), "{}", user_file(&house));
}

#[test]
fn a_webhook_is_set_up_and_its_test_arrives() {
    let (house, hook) = (House::new(), Receiver::start());
    let url = format!("http://127.0.0.1:{}/", hook.port);
    let args = ["notify", "setup", "webhook", "--url", &url, "--yes"];
    let refused = house.ao(&args);
    assert_ne!(refused.code(), 0);
    assert!(refused.stderr().contains("`allowPrivate: true`"), "{}", refused.stderr());
    assert_eq!(user_file(&house), "");
    let args = [&args[..], &["--allow-private", "--sign"]].concat();
    let mut command = house.command(&args);
    command.env("WEBHOOK_SECRET", "a-secret-that-is-long-enough");
    let ran = house.run(command, &args).success();
    assert!(ran.stdout().contains("webhook took it"), "{}", ran.stdout());
    assert_eq!(hook.count(), 1);
    assert!(user_file(&house).contains("${WEBHOOK_SECRET}"), "{}", user_file(&house));
}

/// The journal has an event of this kind about a session.
fn happened(house: &House, kind: &str, session: &str) -> Option<()> {
    let about = |event: &Value| event["kind"] == kind && event["session"] == session;
    house.events().iter().any(about).then_some(())
}

/// A tmux server with a client of another one in it; gone with this.
struct Terminal<'h>(&'h House);

impl Terminal<'_> {
    fn tmux(&self, args: &[&str]) {
        let socket = self.0.path("outer.sock");
        let mut command = Command::new("tmux");
        command.args(["-f", "/dev/null", "-S"]).arg(socket).args(args);
        let out = command.env_remove("TMUX").output().unwrap();
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        let socket = self.0.path("outer.sock");
        let _ = Command::new("tmux").arg("-S").arg(socket).arg("kill-server").output();
    }
}

/// Who types in a session's terminal sees what it asks: nothing pops up over it. Every other channel has it, and what
/// another session asks is on the desktop as well.
#[test]
fn f34_whoever_types_in_a_session_has_no_desktop_message_about_it() {
    let (house, hook) = (House::new(), Receiver::start());
    house.configure_as(&format!(
        "projects:\n  my-app:\n    path: .\n    defaultBranch: main\n    sessionPrefix: app\n    agent: custom\n    \
         agentConfig: {{command: [\"{}\", \"{{prompt}}\"]}}\n\
         notifiers:\n  desktop: {{plugin: desktop}}\n  hook: {{plugin: webhook, url: \"http://127.0.0.1:{}/\", allowPrivate: true}}\n\
         defaults: {{notifiers: [desktop, hook]}}\nlifecycle: {{sweepInterval: 200ms, settle: {{urgent: 50ms}}}}\n",
        house.path("agent.sh").display(),
        hook.port,
    ));
    for session in ["app-1", "app-2"] {
        house.ao(&["spawn", "my-app", "--prompt", "wait"]).success();
        until("the agent", || happened(&house, "turn.ended", session));
    }
    let named = house.tmux(&["list-sessions", "-F", "#{session_name}"]);
    let named = String::from_utf8(named.stdout).unwrap();
    let first = named.lines().find(|name| name.contains("app-1")).unwrap();
    let socket = house.path("data/run/tmux.sock");
    let attach = format!("env -u TMUX tmux -S '{}' attach -t '{first}'", socket.display());
    let terminal = Terminal(&house);
    terminal.tmux(&["new-session", "-d", "-x", "120", "-y", "30", &attach]);
    terminal.tmux(&["send-keys", "-l", "hello"]);
    until("he is seen", || happened(&house, "presence.observed", "app-1"));
    for session in ["app-1", "app-2"] {
        let args = ["report", "question", "Which?", "--option", "this"];
        house.run(house.within(session, &args), &args).success();
    }
    // Where no desktop is, that may be told as well.
    let log = house.eventually(&["notify", "log"], |log| {
        let all = log["notifications"].as_array().unwrap().iter();
        let asks = all.filter(|told| text(&told["title"]).contains("asks"));
        let hooked = |told: &&Value| told["deliveries"][1]["progress"] == "sent";
        asks.filter(hooked).count() == 2
    });
    let desktop = |session: &str| {
        let all = log["notifications"].as_array().unwrap();
        let told = all.iter().find(|told| text(&told["title"]).contains(session)).unwrap();
        assert_eq!(told["deliveries"][0]["channel"], "desktop");
        told["deliveries"][0].clone()
    };
    assert_eq!(desktop("app-1")["held"]["why"]["by"], "present", "{log:#}");
    assert_eq!(desktop("app-1")["tries"], 0, "{log:#}");
    assert_eq!(desktop("app-2")["held"], Value::Null, "{log:#}");
    let shown = house.ao(&["notify", "log"]).success().stdout();
    assert!(shown.contains("desktop – waits: you are there"), "{shown}");
}

/// The dead man's switch is asked as soon as a server serves, and by nobody once it is dead.
#[test]
fn f38_each_server_tells_that_it_lives_and_a_dead_one_tells_nothing() {
    let (house, hook) = (House::new(), Receiver::start());
    let pings = Arc::new(AtomicUsize::new(0));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let at = listener.local_addr().unwrap();
    let counted = pings.clone();
    let ping = move || async move {
        counted.fetch_add(1, Ordering::SeqCst);
    };
    hook.also(async move {
        let router = axum::Router::new().route("/ping/x", axum::routing::get(ping));
        axum::serve(tokio::net::TcpListener::from_std(listener)?, router).await
    });
    own(&house, &format!("notifications: {{heartbeat: {{url: \"http://{at}/ping/x\"}}}}\n"));
    house.configure();
    let count = || pings.load(Ordering::SeqCst);
    for server in 1..=2 {
        house.ao(&["status"]);
        until("it lives", || (count() >= server).then_some(()));
        house.kill_server();
        assert_eq!(count(), server, "one a server at once, the next one a minute later");
    }
}
