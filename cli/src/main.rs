//! `ao`: the command. A client of the server like any other, and the place where the server is put together.
//!
//! `ao hook` and `ao launch` run often and beside agents, `ao --version` runs in prompts: they are served
//! before anything else of the program is touched.
#![allow(
    rustdoc::bare_urls,
    reason = "the docs of commands are their help, as a terminal shows it"
)]

mod args;
mod client;
mod commands;
mod cx;
mod desk;
mod fail;
mod heartbeat;
mod help;
mod hook;
mod launch;
mod out;
mod paths;
mod progress;
mod render;
mod secrets;
mod ssh;
mod userfile;
mod watch;

use std::{ffi::OsString, io::Write, process::ExitCode};

/// The version, as `ao --version` prints it.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let is_flag = |word: &OsString| word.to_str().is_none_or(|word| word.starts_with('-'));
    let asks_help = |words: &[OsString]| matches!(words, [one] if one == "--help" || one == "-h");
    match words.split_first() {
        Some((first, [])) if first == "--version" || first == "-V" => {
            let _ = writeln!(std::io::stdout(), "ao {VERSION}");
            ExitCode::SUCCESS
        }
        // Whatever else it is given: an agent reads another exit code as a verdict.
        Some((first, rest)) if first == "hook" && !asks_help(rest) => {
            hook::run(rest);
            ExitCode::SUCCESS
        }
        Some((first, rest)) if first == "launch" && !rest.first().is_some_and(is_flag) => {
            launch::run(rest).into()
        }
        _ => commands::main().into(),
    }
}
