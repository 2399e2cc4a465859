//! One file a command: its flags, whose doc is its help, and what it does.

pub(crate) mod ack;
pub(crate) mod answer;
pub(crate) mod approve;
pub(crate) mod batch_spawn;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod dashboard;
pub(crate) mod demo_agent;
pub(crate) mod deny;
pub(crate) mod digest;
pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod help;
pub(crate) mod hook;
mod incident;
pub(crate) mod init;
pub(crate) mod launch;
pub(crate) mod logs;
pub(crate) mod man;
pub(crate) mod notify;
pub(crate) mod notify_setup;
pub(crate) mod open;
pub(crate) mod plugin;
pub(crate) mod pr;
pub(crate) mod quota;
pub(crate) mod release;
pub(crate) mod report;
pub(crate) mod restart;
pub(crate) mod retry;
pub(crate) mod review_check;
pub(crate) mod send;
pub(crate) mod session;
pub(crate) mod silence;
pub(crate) mod snooze;
pub(crate) mod spawn;
pub(crate) mod start;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod token;
pub(crate) mod unit;
pub(crate) mod why;

use std::{fmt::Display, time::Duration};

use ao_core::{
    config::ConfigError,
    event::{MessageConfirmed, TurnStarted},
    slots::{MessageId, ProjectId, Seq, SessionId},
};
use ao_web::{
    configs::{ConfigFile, ConfigReport, TrustBody},
    view::EventView,
};
use clap::{CommandFactory, Parser};

use crate::{
    args::{Cli, Command},
    client::Client,
    cx::Cx,
    fail::{Exit, Fail},
    out::{self, Style, Surroundings, Tone},
};

/// Parses the command line, runs the command and returns its exit code.
pub(crate) fn main() -> u8 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            if error.use_stderr() && std::env::args().any(|word| word == "--json") {
                out::note(&wrong_words(&error.to_string()).document().to_string());
            } else {
                // Help goes to standard output, errors to standard error; a closed pipe is no failure.
                let _ = error.print();
            }
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    let json = cli.global.json;
    let style = Style::of(
        std::io::IsTerminal::is_terminal(&std::io::stderr()),
        &Surroundings::look(),
        cli.global.color,
        cli.global.ascii,
    );
    match run(cli) {
        Ok(code) => code,
        Err(fail) => {
            show(&fail, &style, json);
            fail.exit as u8
        }
    }
}

/// Words a failure in its three parts.
fn show(fail: &Fail, style: &Style, json: bool) {
    if json {
        return out::note(&fail.document().to_string());
    }
    let cause = fail.cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default();
    out::note(&format!(
        "{} {}",
        style.paint(Tone::Need, "error:"),
        style.text(&format!("{}{cause}", fail.what))
    ));
    let remedy = fail.remedy.as_ref().map(|remedy| ("try", remedy));
    let more = fail.more.iter().map(|(name, words)| (*name, words));
    let lines: Vec<(&str, &String)> = more.chain(remedy).collect();
    let widest = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, words) in lines {
        let name = style.paint(Tone::Muted, &out::pad(&format!("{name}:"), widest + 1));
        out::note(&format!("  {name} {}", style.text(words)));
    }
}

/// A usage error as the parser words it, in its three parts: `error: …`, hints, `Usage: …`.
fn wrong_words(text: &str) -> Fail {
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut parts = text.split("\n\n").map(one_line);
    let what = parts.next().unwrap_or_default();
    let mut fail = usage(what.strip_prefix("error: ").unwrap_or(&what));
    for part in parts {
        match part.strip_prefix("Usage: ") {
            Some(usage) => fail.remedy = Some(usage.to_owned()),
            None if fail.cause.is_none() && !part.starts_with("For more") => {
                fail.cause = Some(part)
            }
            None => {}
        }
    }
    fail
}

fn run(cli: Cli) -> Result<u8, Fail> {
    let Cli { global, command } = cli;
    // These need no place and no server.
    match command {
        Command::Completions(cmd) => cmd.run(),
        Command::Man(cmd) => cmd.run(),
        Command::Help(cmd) => cmd.run(),
        Command::Hook(cmd) => cmd.run(),
        Command::Launch(cmd) => cmd.run(),
        Command::DemoAgent(cmd) => cmd.run(),
        command => {
            let cx = Cx::new(global)?;
            if let Command::Start(cmd) = &command
                && cmd.foreground
            {
                return cmd.serve(&cx);
            }
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(dispatch(command, &cx))
        }
    }
}

async fn dispatch(command: Command, cx: &Cx) -> Result<u8, Fail> {
    match command {
        Command::Init(cmd) => cmd.run(cx).await,
        Command::Start(cmd) => cmd.run(cx).await,
        Command::Stop(cmd) => cmd.run(cx).await,
        Command::Restart(cmd) => cmd.run(cx).await,
        Command::Spawn(cmd) => cmd.run(cx).await,
        Command::BatchSpawn(cmd) => cmd.run(cx).await,
        Command::Send(cmd) => cmd.run(cx).await,
        Command::Session(cmd) => cmd.run(cx).await,
        Command::Open(cmd) => cmd.run(cx).await,
        Command::Dashboard(cmd) => cmd.run(cx).await,
        Command::Status(cmd) => cmd.run(cx).await,
        Command::Why(cmd) => cmd.run(cx).await,
        Command::Logs(cmd) => cmd.run(cx).await,
        Command::Events(cmd) => cmd.run(cx).await,
        Command::Doctor(cmd) => cmd.run(cx).await,
        Command::Pr(cmd) => cmd.run(cx).await,
        Command::ReviewCheck(cmd) => cmd.run(cx).await,
        Command::Release(cmd) => cmd.run(cx).await,
        Command::Retry(cmd) => cmd.run(cx).await,
        Command::Quota(cmd) => cmd.run(cx).await,
        Command::Notify(cmd) => cmd.run(cx).await,
        Command::Ack(cmd) => cmd.run(cx).await,
        Command::Snooze(cmd) => cmd.run(cx).await,
        Command::Silence(cmd) => cmd.run(cx).await,
        Command::Digest(cmd) => cmd.run(cx).await,
        Command::Answer(cmd) => cmd.run(cx).await,
        Command::Approve(cmd) => cmd.run(cx).await,
        Command::Deny(cmd) => cmd.run(cx).await,
        Command::Config(cmd) => cmd.run(cx).await,
        Command::Plugin(cmd) => cmd.run(cx).await,
        Command::Token(cmd) => cmd.run(cx).await,
        Command::Report(cmd) => cmd.run(cx).await,
        Command::Completions(_)
        | Command::Man(_)
        | Command::Help(_)
        | Command::Hook(_)
        | Command::Launch(_)
        | Command::DemoAgent(_) => Ok(0),
    }
}

/// The whole command line, for help, completions and man pages.
pub(crate) fn command_line() -> clap::Command {
    Cli::command()
}

/// Follows a session's events after `after` until `done` says what came of it; none when `limit` passed first.
pub(crate) async fn wait_for<T>(
    client: Client<'_>,
    session: &SessionId,
    after: Seq,
    limit: Duration,
    mut done: impl FnMut(&EventView) -> Option<T>,
) -> Result<Option<T>, Fail> {
    let mut events = client.follow(format!("session={session}"), after);
    let search = async {
        while let Some(event) = events.next().await {
            if let Some(found) = done(&event) {
                return Ok(found);
            }
        }
        Err(stopped(format!("what was asked of {session} is recorded")))
    };
    tokio::time::timeout(limit, search).await.ok().transpose()
}

/// Somebody stopped the server while a command waited: nothing is started against that.
pub(crate) fn stopped(so_far: impl Display) -> Fail {
    Fail::new(Exit::InDoubt, "the server was stopped meanwhile")
        .because(format!("{so_far}, and goes on when the server runs again"))
        .remedy("ao start")
}

/// The message that an event confirms: by the turn that began with it, or by what else shows it.
pub(crate) fn confirmed(event: &EventView) -> Option<MessageId> {
    match event.kind.as_str() {
        "message.confirmed" => data::<MessageConfirmed>(event).map(|e| e.message),
        "turn.started" => data::<TurnStarted>(event)?.confirms,
        _ => None,
    }
}

/// An event's own data, as its type.
pub(crate) fn data<T: serde::de::DeserializeOwned>(event: &EventView) -> Option<T> {
    serde_json::from_value(event.data.clone()).ok()
}

/// Registers the file of this folder and says what a person should know of it. Where something is to be done in a
/// `project`, what is wrong with its file stops the command.
pub(crate) async fn register(
    cx: &Cx,
    client: Client<'_>,
    project: Option<&ProjectId>,
) -> Result<(), Fail> {
    let mut report = match client.register_here().await {
        Ok(Some(report)) => report,
        Ok(None) => return Ok(()),
        // A file that the server cannot be told of stops only what needs it.
        Err(fail) if project.is_none() && fail.exit == Exit::Failed => {
            cx.warn(&format!("{}: {}", fail.what, fail.cause.unwrap_or_default()));
            return Ok(());
        }
        Err(fail) => return Err(fail),
    };
    if project.is_some() {
        report = trust_in_place(cx, client, report).await?;
    }
    if let (Some(project), false) = (project, report.wrong().is_empty()) {
        let files: Vec<ConfigFile> = client.get("/api/config").await?;
        let wrong = concerning(project, &files, report.wrong());
        if !wrong.is_empty() {
            return Err(crate::render::config::failure(&cx.err, &wrong));
        }
    }
    tell_report(cx, &report);
    Ok(())
}

/// What is wrong with the file that names a project. Where none does that can be read it may be any of them.
fn concerning(
    project: &ProjectId,
    files: &[ConfigFile],
    mut wrong: Vec<ConfigError>,
) -> Vec<ConfigError> {
    let names = |file: &&ConfigFile| file.projects.iter().any(|name| name == project.as_str());
    if let Some(own) = files.iter().find(names) {
        wrong.retain(|error| error.file == own.path);
    }
    wrong
}

/// Warnings, and one line for errors that do not stop the command.
fn tell_report(cx: &Cx, report: &ConfigReport) {
    tell_warnings(cx, report);
    if let Some(error) = report.wrong().first() {
        cx.warn(&format!("{error}; the settings before it stay in use (ao config check)"));
    }
}

/// What is not as it seems, with what to do about it.
pub(crate) fn tell_warnings(cx: &Cx, report: &ConfigReport) {
    for warning in &report.warnings {
        let help = warning.help.as_ref().map(|help| format!(": {help}")).unwrap_or_default();
        cx.warn(&format!("{warning}{help}"));
    }
}

/// Keys that wait for a human's word: shown and asked in place on a terminal, else one line says so. Returns what is
/// to be said afterwards.
async fn trust_in_place(
    cx: &Cx,
    client: Client<'_>,
    mut report: ConfigReport,
) -> Result<ConfigReport, Fail> {
    for untrusted in std::mem::take(&mut report.untrusted) {
        if cx.global.no_input || cx.global.yes || !out::can_ask() {
            let keys: Vec<&str> = untrusted.items.iter().map(|item| item.key.as_str()).collect();
            cx.warn(&format!(
                "{}: not in use until you trust it: {} (ao config trust)",
                untrusted.path.display(),
                keys.join(", ")
            ));
            continue;
        }
        out::note(&crate::render::config::asked(&untrusted, &cx.err));
        if cx.ask("Trust this file as it is now?", false, "ao config trust")? {
            let body = TrustBody { file: untrusted.path, hash: untrusted.hash };
            report = client.post("/api/config/trust", &body).await?;
        }
    }
    Ok(report)
}

/// A session named on the command line; what is none is a usage error with the rule.
pub(crate) fn parse_session(text: &str) -> Result<SessionId, String> {
    text.parse::<SessionId>().map_err(|error| error.to_string())
}

/// Waits for Ctrl-C while `work` runs; interrupted, it says what goes on and ends with 130.
pub(crate) async fn until_interrupted<T>(
    work: impl Future<Output = Result<T, Fail>>,
    goes_on: impl FnOnce() -> String,
) -> Result<T, Fail> {
    tokio::select! {
        done = work => done,
        _ = tokio::signal::ctrl_c() => {
            out::note(&format!("\n{}", goes_on()));
            std::process::exit(130)
        }
    }
}

/// The environment of this client, for a session that it spawns; the server keeps what its allow-list names.
pub(crate) fn client_env(cx: &Cx) -> std::collections::BTreeMap<String, String> {
    cx.env
        .iter()
        .filter(|(name, _)| !name.starts_with("AO_"))
        .map(|(n, v)| (n.clone(), v.clone()))
        .collect()
}

/// A usage error.
pub(crate) fn usage(what: impl Into<String>) -> Fail {
    Fail::new(Exit::Usage, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_every_command_explains_itself() {
        let mut command = command_line();
        command.clone().debug_assert();
        command.build();
        for sub in command.get_subcommands() {
            let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(!about.is_empty(), "{} has no help", sub.get_name());
            assert!(!about.ends_with('.'), "{}: {about}", sub.get_name());
        }
    }

    #[test]
    fn the_help_of_every_command_has_examples() {
        fn look(command: &clap::Command, path: &str) {
            let help = command.get_long_about().map(ToString::to_string).unwrap_or_default();
            let examples = help.lines().any(|line| line.starts_with("Example"));
            let first = format!("  {path}");
            let pasted = help
                .lines()
                .any(|line| line.starts_with(&first) || line.contains(&format!("| {path}")));
            assert!(examples && pasted, "`{path} --help` has no example: {help}");
            // A terminal of that width breaks no line in the middle.
            assert!(help.lines().all(|line| line.chars().count() <= 100), "{path}: {help}");
            for sub in command.get_subcommands() {
                look(sub, &format!("{path} {}", sub.get_name()));
            }
        }
        let mut command = command_line();
        command.build();
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
            look(sub, &format!("ao {}", sub.get_name()));
        }
    }

    #[test]
    fn the_help_of_every_command_is_as_it_was_agreed() {
        fn page(command: &mut clap::Command, path: &str, out: &mut String) {
            let help = command.render_help().to_string();
            // What every command says of flags that all have is looked at once.
            let own = if path == "init" {
                help.as_str()
            } else {
                help.split("\nOptions:").next().unwrap_or_default()
            };
            out.push_str(&format!("==== ao {path}\n{}\n", own.trim_end()));
            for sub in command.get_subcommands_mut() {
                let path = format!("{path} {}", sub.get_name());
                page(sub, &path, out);
            }
        }
        let mut command = command_line().term_width(100);
        command.build();
        let mut out = String::new();
        for sub in command.get_subcommands_mut() {
            let name = sub.get_name().to_owned();
            page(sub, &name, &mut out);
        }
        insta::assert_snapshot!("help", out);
    }

    #[test]
    fn the_front_page_names_every_command_within_forty_lines() {
        assert!(crate::help::FRONT.lines().count() <= 40);
        for sub in command_line().get_subcommands().filter(|sub| !sub.is_hide_set()) {
            let name = sub.get_name();
            assert!(crate::help::FRONT.contains(name), "`{name}` is not on the front page");
        }
    }
}
