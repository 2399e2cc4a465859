//! `ao status --watch` in a real terminal.

use std::{
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use crate::house::House;

/// A terminal with a shell in it, and what stands on its screen.
struct Terminal<'a> {
    house: &'a House,
    socket: PathBuf,
}

impl<'a> Terminal<'a> {
    /// Runs the watch, and writes down how the terminal was before and after it, and its exit code.
    fn watching(house: &'a House) -> Self {
        // A server that was ended may still stand at its socket.
        let numbers = (0..).map(|n| house.path(&format!("screen{n}.sock")));
        let socket = numbers.into_iter().find(|path| !path.exists()).unwrap();
        let terminal = Self { house, socket };
        let script = "stty -g > before; sh -c 'echo $$ > pid; exec \"$AO\" status --watch'; \
                      echo $? > code; stty -g > after; read -r _";
        let mut command = house.command(&[]);
        let program = command.get_program().to_owned();
        command = {
            let mut tmux = Command::new("tmux");
            tmux.env_clear().envs(command.get_envs().filter_map(|(k, v)| Some((k, v?))));
            tmux
        };
        command.env("AO", program).env("TERM", "xterm-256color").current_dir(house.path("home"));
        command.arg("-S").arg(&terminal.socket).args(["-f", "/dev/null"]);
        command.args(["new-session", "-d", "-x", "80", "-y", "24", "sh", "-c", script]);
        assert!(command.status().unwrap().success());
        terminal
    }

    fn tmux(&self, args: &[&str]) -> String {
        let out = Command::new("tmux").arg("-S").arg(&self.socket).args(args).output().unwrap();
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    #[track_caller]
    fn shows(&self, what: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let screen = self.tmux(&["capture-pane", "-p"]);
            if what(&screen) {
                return screen;
            }
            assert!(Instant::now() < until, "never came:\n{screen}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.house.path("home").join(name)).unwrap_or_default()
    }

    /// The watch has ended with this code, and the terminal is as it was.
    #[track_caller]
    fn left(&self, code: &str) {
        let until = Instant::now() + Duration::from_secs(60);
        while self.file("after").is_empty() {
            assert!(Instant::now() < until, "never left");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(self.file("code").trim(), code);
        assert_eq!(self.file("after"), self.file("before"));
        let modes = self.tmux(&["display", "-p", "#{alternate_on} #{cursor_flag}"]);
        assert_eq!(modes.trim(), "0 1", "the screen and the cursor are back");
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
        for name in ["before", "after", "code", "pid"] {
            let _ = std::fs::remove_file(self.house.path("home").join(name));
        }
    }
}

#[test]
fn the_watch_follows_what_happens_acts_by_keys_and_leaves_the_terminal_as_it_was() {
    let house = House::new();
    house.configure();
    house.ao(&["spawn", "my-app", "--prompt", "ask me something"]).success();
    let terminal = Terminal::watching(&house);
    let screen = terminal.shows(|screen| screen.contains("▸ app-1") && screen.contains("r answer"));
    assert!(screen.contains("2 Items and shipping") && screen.contains("t terminal"), "{screen}");
    assert_eq!(screen.lines().next().unwrap().chars().count(), 80);

    // Another size is drawn anew, whole.
    terminal.tmux(&["resize-window", "-x", "60", "-y", "20"]);
    let screen = terminal.shows(|screen| {
        screen.lines().all(|line| line.chars().count() == 60) && screen.lines().count() == 20
    });
    assert!(screen.starts_with("┌ ao") && screen.contains("├──"), "{screen}");

    // Another session appears by itself.
    house.ao(&["spawn", "my-app", "--prompt", "crash please", "--no-wait"]).success();
    terminal.shows(|screen| screen.contains("app-2  "));

    // An answer is written in place.
    terminal.tmux(&["send-keys", "r"]);
    terminal.shows(|screen| screen.contains("Answer app-1: "));
    terminal.tmux(&["send-keys", "2"]);
    terminal.shows(|screen| screen.contains("Answer app-1: 2"));
    terminal.tmux(&["send-keys", "Enter"]);
    house.eventually(&["session", "show", "app-1"], |doc| doc["session"]["status"] == "idle");
    terminal.shows(|screen| screen.contains("▸ app-2") && !screen.contains("r answer"));

    // A server that is stopped is not started again by those who only look.
    house.ao(&["stop"]).success();
    terminal.shows(|screen| screen.contains("no connection to ao since"));
    assert!(!house.path("data/run/ao.sock").exists());
    house.ao(&["start"]).success();
    terminal.shows(|screen| !screen.contains("no connection") && screen.contains("▸ app-2"));
    terminal.tmux(&["send-keys", "q"]);
    terminal.left("0");
}

#[test]
fn the_terminal_is_given_back_whatever_ends_the_watch() {
    let house = House::new();
    house.configure();
    house.ao(&["spawn", "my-app", "--prompt", "ask me something"]).success();
    for (end, code) in [("C-c", "130"), ("TERM", "143"), ("HUP", "129")] {
        let terminal = Terminal::watching(&house);
        terminal.shows(|screen| screen.contains("r answer"));
        if end == "C-c" {
            terminal.tmux(&["send-keys", end]);
        } else {
            let pid = terminal.file("pid");
            let kill = Command::new("kill").args([&format!("-{end}"), pid.trim()]).status();
            assert!(kill.unwrap().success());
        }
        terminal.left(code);
    }
    // Where there is none, it says so.
    let ran = house.ao(&["status", "--watch"]).exits(2);
    assert!(ran.stderr().contains("--watch needs a terminal"), "{}", ran.stderr());
}

/// Architecture §7: nobody approves what he cannot see.
#[test]
fn a_permission_longer_than_the_screen_is_read_to_its_end_before_it_is_approved() {
    let command: String = (1..=40).map(|n| format!("echo line-{n}\\n")).collect();
    let house = House::with_claude(&format!(
        r#"#!/bin/sh
tell() {{
  printf '{{"hook_event_name":"%s","session_id":"s","source":"startup"%s}}' "$1" "$2" |
    "$AO_DATA_DIR/run/ao" hook claude-code "$1"
}}
tell SessionStart
tell UserPromptSubmit ',"prompt_id":"t1","prompt":"begin"'
asked=',"prompt_id":"t1","tool_name":"Bash","tool_input":{{"command":"{command}npm publish"}}'
tell PermissionRequest "$asked" > /dev/null
tell PostToolUse "$asked"
exec sleep 100000
"#
    ));
    house.spawn_claude();
    let decided =
        || house.json(&["session", "show", "app-1"])["requests"][0]["decision"].is_object();
    let terminal = Terminal::watching(&house);
    let screen = terminal.shows(|screen| screen.contains("y approve…"));
    assert!(!screen.contains("npm publish"), "{screen}");
    terminal.tmux(&["send-keys", "y"]);
    let screen = terminal.shows(|screen| screen.contains("Approve once? app-1  y goes on"));
    assert!(screen.contains("line-1 ") && !screen.contains("npm publish"), "{screen}");
    terminal.tmux(&["send-keys", "y"]);
    terminal.shows(|screen| screen.contains("line-21 ") && screen.contains("y goes on"));
    terminal.tmux(&["send-keys", "y"]);
    let screen = terminal.shows(|screen| screen.contains("careful: "));
    assert!(screen.contains("npm publish") && screen.contains("y approve  esc leave"), "{screen}");
    assert!(!decided());
    terminal.tmux(&["send-keys", "y"]);
    terminal.shows(|screen| screen.contains("✓ sent to app-1: approve once"));
    house.eventually(&["session", "show", "app-1"], |doc| doc["requests"][0]["ended"].is_string());
    assert!(decided());
}
