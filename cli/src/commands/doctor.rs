//! `ao doctor`: a list of checks, each with an id, a severity and a remedy.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use ao_core::{
    config::{self, Catalog},
    disk::RealDisk,
    registry::Registry,
    slots::{
        Call,
        notifier::Mark,
        text::{count, one_line, size},
    },
};
use ao_web::view::{ChannelList, Health};
use serde::Serialize;

use crate::{
    cx::Cx,
    fail::{Exit, Fail},
    out,
};

/// Look for problems, and say how to correct them
#[derive(Debug, clap::Args)]
pub(crate) struct Cmd {
    /// Correct what can be corrected without asking
    #[arg(long)]
    fix: bool,
    /// Write a report to send along, without secrets
    #[arg(long)]
    report: bool,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    /// As it should be.
    Good,
    /// Works without it.
    Note,
    /// Something does not work.
    Problem,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    /// The check.
    id: &'static str,
    severity: Severity,
    words: String,
    /// What to do.
    fix: Option<String>,
    /// `--fix` can do it.
    fixable: bool,
}

impl Finding {
    fn good(id: &'static str, words: impl Into<String>) -> Self {
        Self { id, severity: Severity::Good, words: words.into(), fix: None, fixable: false }
    }
    fn note(id: &'static str, words: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            id,
            severity: Severity::Note,
            words: words.into(),
            fix: Some(fix.into()),
            fixable: false,
        }
    }
    fn problem(id: &'static str, words: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            id,
            severity: Severity::Problem,
            words: words.into(),
            fix: Some(fix.into()),
            fixable: false,
        }
    }
    fn fixable(mut self) -> Self {
        self.fixable = true;
        self
    }
}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        let mut findings = look(cx).await;
        if self.fix {
            let fixed =
                findings.iter().filter(|finding| finding.fixable && fix(cx, finding.id)).count();
            out::note(&format!("{} corrected", count(fixed as u64, "problem is", "problems are")));
            findings = look(cx).await;
        }
        if self.report {
            return report(cx, &findings);
        }
        let problems =
            findings.iter().filter(|finding| finding.severity == Severity::Problem).count() as u64;
        if cx.global.json {
            out::json(&serde_json::json!({ "schema": "ao.doctor/1", "findings": findings }));
        } else {
            show(cx, &findings, problems);
        }
        Ok(if problems > 0 { Exit::Failed as u8 } else { 0 })
    }
}

fn show(cx: &Cx, findings: &[Finding], problems: u64) {
    let style = &cx.style;
    for finding in findings {
        let mark = match finding.severity {
            Severity::Good => style.painted_mark(Mark::Settled),
            Severity::Note => {
                if style.ascii {
                    "-".into()
                } else {
                    "–".to_owned()
                }
            }
            Severity::Problem => style.painted_mark(Mark::Failed),
        };
        out::say(&style.text(&format!("  {mark} {} {}", out::pad(finding.id, 12), finding.words)));
        if let Some(fix) = &finding.fix {
            out::say(&style.text(&format!("    {} fix: {fix}", " ".repeat(12))));
        }
    }
    if problems == 0 {
        out::say("No problems.");
        return;
    }
    let fixable = findings.iter().filter(|finding| finding.fixable).count();
    out::say(&format!(
        "{}. `ao doctor --fix` can repair {fixable} of it.",
        count(problems, "problem", "problems")
    ));
}

/// All checks, in the order in which one rests on the other.
async fn look(cx: &Cx) -> Vec<Finding> {
    let mut findings = vec![git(cx), tmux(cx)];
    findings.extend(agents(cx).await);
    findings.push(data_dir(&cx.data_dir));
    findings.push(disk(&cx.data_dir));
    findings.push(journal(&cx.data_dir));
    findings.push(configuration(cx));
    findings.extend(server(cx).await);
    findings
}

/// The first line that a program says of its version; none where it cannot be run.
pub(crate) fn version_of(program: &str, args: &[&str], cx: &Cx) -> Option<String> {
    let mut command = Command::new(program);
    command
        .args(args)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .env("LC_ALL", "C")
        .current_dir(&cx.home);
    if let Some(path) = cx.env.get("PATH") {
        command.env("PATH", path);
    }
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8_lossy(&output.stdout).lines().next().map(one_line)
}

fn git(cx: &Cx) -> Finding {
    match version_of("git", &["--version"], cx) {
        None => Finding::problem("git", "is not installed", "sudo apt install git"),
        Some(version) => {
            let name = version_of("git", &["config", "--global", "user.email"], cx);
            match name {
                Some(_) => Finding::good("git", version),
                None => Finding::note(
                    "git",
                    format!("{version}; no identity is set"),
                    "git config --global user.email you@example.com",
                ),
            }
        }
    }
}

fn tmux(cx: &Cx) -> Finding {
    match version_of("tmux", &["-V"], cx) {
        Some(version) => Finding::good("tmux", version),
        None => Finding::problem(
            "tmux",
            "is not installed",
            "sudo apt install tmux   or set `runtime: process`",
        ),
    }
}

async fn agents(cx: &Cx) -> Vec<Finding> {
    let Ok(context) = super::init::build_context(cx) else { return vec![] };
    let registry = Registry::new(ao_plugins_bundled::all());
    let mut findings = vec![];
    for (name, agent) in registry.agents(&context).into_iter().filter(|(name, _)| *name != "custom")
    {
        let call = Call::new(format!("doctor-{name}"), Duration::from_secs(10));
        findings.push(match agent.check(&call, &cx.env, None).await {
            Ok(check) => match (check.program, check.version, check.logged_in) {
                (None, ..) => {
                    Finding::note("agent", format!("{name} is not installed"), check.install_hint)
                }
                (Some(_), version, Some(false)) => Finding::problem(
                    "agent",
                    format!("{name} {} is not logged in", version.unwrap_or_default()),
                    "start it once by hand and log in",
                ),
                (Some(_), version, _) => {
                    Finding::good("agent", format!("{name} {}", version.unwrap_or_default()))
                }
            },
            Err(error) => Finding::problem(
                "agent",
                format!("{name}: {error}"),
                error.remedy.unwrap_or_else(|| "start it by hand".into()),
            ),
        });
    }
    findings
}

/// Private, and ours.
fn data_dir(dir: &Path) -> Finding {
    match fs::metadata(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Finding::good("data", format!("{} is made when it is needed", dir.display()))
        }
        Err(error) => Finding::problem(
            "data",
            format!("{}: {error}", dir.display()),
            "choose another with --data-dir",
        ),
        Ok(meta) if meta.permissions().mode() & 0o077 != 0 => Finding::problem(
            "data",
            format!("others can look into {}", dir.display()),
            format!("chmod 700 {}", dir.display()),
        )
        .fixable(),
        Ok(_) => Finding::good("data", dir.display().to_string()),
    }
}

fn disk(dir: &Path) -> Finding {
    let there = dir.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
    match nix::sys::statvfs::statvfs(there) {
        Ok(stat) => {
            let free = stat.blocks_available() * stat.fragment_size();
            match free < 1 << 30 {
                true => {
                    Finding::problem("disk", format!("{} free", size(free)), "ao session cleanup")
                }
                false => Finding::good("disk", format!("{} free", size(free))),
            }
        }
        Err(error) => {
            Finding::problem("disk", format!("free space is not known: {error}"), "df -h")
        }
    }
}

fn journal(dir: &Path) -> Finding {
    if !dir.join("journal").exists() {
        return Finding::good("journal", "none yet");
    }
    match ao_core::journal::verify(std::sync::Arc::new(RealDisk), dir) {
        Ok(report) if report.gaps.is_empty() && report.bad.is_empty() => {
            Finding::good("journal", format!("{}, sound", count(report.events, "event", "events")))
        }
        Ok(report) => {
            let places = report.gaps.len() + report.bad.len();
            Finding::problem(
                "journal",
                format!("damaged in {}", count(places as u64, "place", "places")),
                "ao events verify",
            )
        }
        Err(error) => Finding::problem("journal", crate::fail::chain(&error), "ao events verify"),
    }
}

fn configuration(cx: &Cx) -> Finding {
    let Ok(mut files) = cx.own_files() else {
        return Finding::problem("config", "your own file is not valid", "ao config check");
    };
    if let Some(path) = cx.file_here() {
        match config::SourceFile::read(&path, config::Role::Registered) {
            Ok(file) => files.push(file),
            Err(errors) => {
                let first = errors.first().map(ToString::to_string);
                return Finding::problem("config", first.unwrap_or_default(), "ao config check");
            }
        }
    }
    match config::load(&files, &cx.world(Catalog::new(ao_plugins_bundled::all()))) {
        Ok(_) if files.is_empty() => Finding::note("config", "no file here", "ao init"),
        Ok(loaded) => Finding::good(
            "config",
            count(loaded.policy.projects.len() as u64, "project", "projects"),
        ),
        Err(errors) => Finding::problem(
            "config",
            count(errors.len() as u64, "error", "errors"),
            "ao config check",
        ),
    }
}

async fn server(cx: &Cx) -> Vec<Finding> {
    let client = cx.client();
    if !client.is_up().await {
        return vec![Finding::note("server", "does not run", "ao start")];
    }
    let mut findings = vec![];
    match client.get::<Health>("/api/health").await {
        Ok(health) if health.version == crate::VERSION => {
            findings.push(Finding::good("server", format!("ao {}", health.version)))
        }
        Ok(health) => findings.push(Finding::note(
            "server",
            format!("is ao {}, this is {}", health.version, crate::VERSION),
            "ao restart",
        )),
        Err(fail) => findings.push(Finding::problem("server", fail.what, "ao restart")),
    }
    match client.get::<ChannelList>("/api/channels").await {
        Ok(list) if list.channels.is_empty() => {
            findings.push(Finding::problem(
                "push",
                "no channel: nobody would be called",
                "ao help push",
            ));
        }
        Ok(list) => findings.extend(list.channels.into_iter().map(|channel| match channel.error {
            Some(error) => Finding::problem(
                "push",
                format!("{}: {}", channel.name, one_line(&error)),
                channel.remedy.unwrap_or_else(|| format!("ao notify test {}", channel.name)),
            ),
            None => Finding::good("push", format!("{} ({})", channel.name, channel.plugin)),
        })),
        Err(fail) => findings.push(Finding::problem("push", fail.what, "ao notify channels")),
    }
    findings
}

/// Corrects what a check found; only what loses nothing.
fn fix(cx: &Cx, id: &str) -> bool {
    match id {
        "data" => fs::set_permissions(&cx.data_dir, fs::Permissions::from_mode(0o700)).is_ok(),
        _ => false,
    }
}

/// Everything that helps another to understand a problem, without secrets.
fn report(cx: &Cx, findings: &[Finding]) -> Result<u8, Fail> {
    let mut text = format!("ao {}\n", crate::VERSION);
    text.push_str(&version_of("uname", &["-srm"], cx).unwrap_or_default());
    text.push_str("\n\n");
    for finding in findings {
        let severity = match finding.severity {
            Severity::Good => "good",
            Severity::Note => "note",
            Severity::Problem => "PROBLEM",
        };
        text.push_str(&format!("{severity:8} {:12} {}\n", finding.id, finding.words));
    }
    text.push_str("\nserver.log, last 200 lines\n");
    for line in crate::client::last_lines(&cx.data_dir.join("logs/server.log"), 200) {
        text.push_str(&line);
        text.push('\n');
    }
    let home = cx.home.to_string_lossy();
    out::say(&ao_core::slots::text::redact(&text).replace(home.as_ref(), "~"));
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_that_others_can_read_is_a_problem_that_can_be_corrected() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let finding = data_dir(dir.path());
        assert_eq!((finding.severity, finding.fixable), (Severity::Problem, true));
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(data_dir(dir.path()).severity, Severity::Good);
        assert_eq!(data_dir(&dir.path().join("none")).severity, Severity::Good);
    }

    #[test]
    fn a_damaged_journal_is_a_problem() {
        use ao_core::journal::{Durability, Identity, Limits, Line, Recovery};
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(journal(dir.path()).severity, Severity::Good);
        let recovery =
            Recovery::start(std::sync::Arc::new(RealDisk), dir.path(), Limits::default()).unwrap();
        let instance = "01JD0000000000000000000000".parse().unwrap();
        let (mut written, _) = recovery.finish(Identity { instance, boot: "b".into() }).unwrap();
        for seq in 1..=3 {
            let json = format!("{{\"seq\":{seq},\"text\":\"event {seq}\"}}").into_bytes();
            written.append(&[Line { seq, json }], Durability::Commit).unwrap();
        }
        drop(written);
        assert_eq!(journal(dir.path()).words, "3 events, sound");
        let segment = dir.path().join("journal/00000000000000000001.jsonl");
        let text = fs::read_to_string(&segment).unwrap().replace("event 2", "event 9");
        fs::write(&segment, text).unwrap();
        assert_eq!(journal(dir.path()).severity, Severity::Problem);
    }

    #[test]
    fn free_space_is_told() {
        assert!(disk(Path::new("/no/such/folder")).words.ends_with("free"));
    }
}
