//! The main job, shown and checked on real input: a real git repository, real tmux, real agent processes, and
//! messages that arrive over HTTP. Run it by `./scripts/demo`; with `--check` it asserts exactly the pushes
//! expected, none twice, all in time, and exits non-zero otherwise. Without it that is only said.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use stage::{Stage, say};

mod receiver;
mod stage;

/// From what happens to its push on a busy machine: the agent's own seconds, a sweep, the settle time.
const SOON: Duration = Duration::from_secs(15);
/// The same where the limit of 8 s for a silence comes first.
const AFTER_SILENCE: Duration = Duration::from_secs(25);

fn main() -> ExitCode {
    let check = std::env::args().any(|argument| argument == "--check");
    let began = Instant::now();
    let mut stage = Stage::begin(check);
    match show(&mut stage) {
        Ok(()) => {
            println!(
                "\nThat was it, in {} s. Now in your own repository: ao init",
                began.elapsed().as_secs()
            );
            if check {
                println!("demo: every push came once, in time, and nothing else buzzed");
            }
            ExitCode::SUCCESS
        }
        Err(problem) => {
            println!("\ndemo: FAILED: {problem}");
            stage.show_log();
            ExitCode::FAILURE
        }
    }
}

fn show(stage: &mut Stage) -> Result<(), String> {
    stage.make_repository()?;
    say("A small shop: its rules, a test, and nine issues as Markdown files.");
    stage.ao(&["init", "--yes", "--no-input", "--agent", "custom"])?;
    stage.configure()?;
    agents(stage)?;
    pull_requests(stage)?;
    stage.ao(&["notify", "log"])?;
    stage.nothing_else_buzzed().or_else(|problem| stage.wrong(problem))
}

/// Agents that ask, crash, hang and are lost.
fn agents(stage: &mut Stage) -> Result<(), String> {
    say("Five agents, each in its own worktree and terminal. Then nobody watches.");
    stage.ao(&["batch-spawn", "shop", "1", "2", "3", "4", "5"])?;
    let spawned = Instant::now();

    say("Two finish by themselves: no push. One asks, one crashes, one hangs: three pushes.");
    stage.expect("agent-needs-input", "shop-3", spawned + SOON)?;
    stage.expect("agent-exited", "shop-4", spawned + SOON)?;
    stage.expect("agent-stuck", "shop-5", spawned + AFTER_SILENCE)?;
    stage.until("shop-1 and shop-2 are done", |stage| {
        Ok(stage.status_of("shop-1")? == "done" && stage.status_of("shop-2")? == "done")
    })?;
    stage.ao(&["status"])?;

    say(
        "The server is killed, hard; the agents go on. Meanwhile you tap an answer on the phone.\n\
         The next command starts the server again. It finds the tap, and the agent goes on.",
    );
    stage.kill_server()?;
    stage.tap("Items and shipping")?;
    stage.ao(&["status"])?;
    stage.until("shop-3 is done", |stage| Ok(stage.status_of("shop-3")? == "done"))?;
    stage.committed("Apply coupons: Items and shipping")?;

    say("Another tap restores the crashed one; its half-done change is still there.");
    stage.tap("Restore")?;
    stage.until("shop-4 works", |stage| Ok(stage.status_of("shop-4")? == "working"))?;

    say("The one that hangs is restored from the chat, which asks first: its command is stopped.");
    stage.press("Restore", "shop-5 is stuck")?;
    stage.until("shop-5 works", |stage| Ok(stage.status_of("shop-5")? == "working"))?;

    say("The tmux server dies and takes the two agents that still run with it.\n\
         They come back by themselves: no push.");
    let before = stage.buzzing().len();
    stage.kill_tmux()?;
    stage.until("shop-4 is done and shop-5 works", |stage| {
        Ok(stage.status_of("shop-4")? == "done" && stage.status_of("shop-5")? == "working")
    })?;
    if stage.buzzing().len() != before {
        stage.wrong("bringing sessions back by itself pushed something".into())?;
    }

    say(
        "It dies again at once. What cannot be brought back a second time is named, in one push;\n\
         a press in the chat brings it back.",
    );
    stage.kill_tmux()?;
    stage.expect("runtime-lost", "shop-5", Instant::now() + SOON)?;
    stage.ao(&["why", "shop-5"])?;
    stage.press("Restore", "shop-5 did not come back")?;
    stage.until("shop-5 is done", |stage| Ok(stage.status_of("shop-5")? == "done"))?;

    say("Everything is over: one quiet summary.");
    stage.summary()?;
    stage.ao(&["status"])
}

/// Pull requests that fail, are criticised, conflict, and are merged.
fn pull_requests(stage: &mut Stage) -> Result<(), String> {
    say("Four more agents open pull requests. ao keeps those itself: no forge is needed.\n\
         ./test.sh is their check, and one approval is asked for.");
    stage.ao(&["batch-spawn", "shop", "6", "7", "8", "9"])?;
    let spawned = Instant::now();

    say(
        "shop-6 did not run the test. ao types what failed into its terminal, and it mends that: no push.",
    );
    stage.until_pr("shop-6", "passes", |pr| pr["facts"]["checks"] == "passing")?;
    stage.ao(&["logs", "shop-6"])?;

    say("shop-9 only guesses: its second try fails too. Now one push, and you help.");
    stage.expect("ci-failed", "shop-9", spawned + SOON)?;
    stage.ao(&["send", "shop-9", "rules/taxes.txt:2 takes one number. Write: vat 19"])?;
    stage.until_pr("shop-9", "passes", |pr| pr["facts"]["checks"] == "passing")?;

    say("You review shop-7, and want something else. It is told, and changes that: no push.");
    let words = "In cents, please. Write: express 400";
    let place = "rules/shipping.txt:2";
    stage.ao(&["pr", "review", "shop-7", "--request-changes", "--at", place, "-m", words])?;
    stage.until("shop-7 has changed it", |stage| {
        let diff = stage.read(&["pr", "diff", "shop-7"])?;
        Ok(diff.contains("+express 400") && stage.pr("shop-7")?["facts"]["checks"] == "passing")
    })?;
    stage.ao(&["logs", "shop-7"])?;
    stage.ao(&["pr", "ls"])?;

    say("Approved and green: one push with a button. One tap, and ao merges that very commit,\n\
         ends the agent and clears its workspace away.");
    merge(stage, "shop-6")?;

    say("So main has moved, and shop-8 conflicts. It is told, rebases and keeps both: no push.");
    stage.until_pr("shop-8", "merges cleanly", |pr| {
        pr["facts"]["mergeable"] == "yes" && pr["facts"]["checks"] == "passing"
    })?;
    stage.ao(&["logs", "shop-8"])?;
    stage.ao(&["why", "shop-8"])?;

    say("The other three, one tap each.");
    for session in ["shop-7", "shop-8", "shop-9"] {
        merge(stage, session)?;
    }
    stage.merged()?;
    stage.summary()?;
    stage.ao(&["pr", "ls", "--all"])
}

/// Approves a session's pull request; then its Merge comes to the phone, and is tapped.
fn merge(stage: &mut Stage, session: &'static str) -> Result<(), String> {
    stage.ao(&["pr", "review", session, "--approve"])?;
    stage.expect("approved-and-green", session, Instant::now() + SOON)?;
    stage.tap("Merge")?;
    stage.until(&format!("{session} is merged"), |stage| {
        Ok(stage.status_of(session)? == "merged")
    })?;
    stage.cleared_away(session)
}
