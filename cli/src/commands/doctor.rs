//! `ao doctor`: a list of checks, each with an id, a severity and a remedy.
//!
//! [`mod@facts`] looks, [`mod@judge`] says what it means, and what can be corrected without losing anything is
//! corrected here.

mod facts;
mod judge;

use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::Path,
    time::Duration,
};

use ao_core::{
    disk::DirLock,
    slots::{
        ProjectId,
        notifier::Mark,
        text::{count, one_line},
    },
};
use ao_sdk::local;
use ao_web::view::ProjectList;
use serde::Serialize;
use tokio::{process::Command, time::Instant};

pub(super) use self::judge::can_merge_trees;
use self::{
    facts::{Facts, Link},
    judge::judge,
};
use crate::{
    client::Client,
    cx::Cx,
    fail::{Exit, Fail},
    out::{self, Tone},
};

/// How long a program may take to say its version.
const ANSWER: Duration = Duration::from_secs(10);

/// Look for problems, and say how to correct them
///
/// Examples:
///   ao doctor
///   ao doctor --fix
///   ao doctor --report > report.txt
///
/// Exit code 1: there are problems.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
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
        let mut facts = Facts::gather(cx).await;
        let mut corrected = vec![];
        if self.fix {
            corrected = fix(cx, &facts);
            for words in &corrected {
                out::note(
                    &cx.err.text(&format!("  {} {words}", cx.err.painted_mark(Mark::Settled))),
                );
            }
            facts = Facts::gather(cx).await;
        }
        let findings = judge(&facts);
        if self.report {
            return report(cx, &findings).await;
        }
        let problems =
            findings.iter().filter(|finding| finding.severity == Severity::Problem).count() as u64;
        if cx.global.json {
            out::json(
                &serde_json::json!({ "schema": "ao.doctor/1", "findings": findings, "corrected": corrected }),
            );
        } else {
            show(cx, &findings, problems);
        }
        Ok(if problems > 0 { Exit::Failed as u8 } else { 0 })
    }
}

fn show(cx: &Cx, findings: &[Finding], problems: u64) {
    let style = &cx.style;
    // What is good stands side by side, as much as fits; the rest has lines of its own.
    let (good, rest): (Vec<_>, Vec<_>) =
        findings.iter().partition(|finding| finding.severity == Severity::Good);
    let mut line = String::new();
    for finding in good {
        let words = style.text(&format!("{} {}", finding.id, finding.words));
        let next = format!("{} {words}", style.painted_mark(Mark::Settled));
        if !line.is_empty() && out::width(&line) + 3 + out::width(&next) > style.width {
            out::say(&line);
            line.clear();
        }
        line.push_str(if line.is_empty() { "  " } else { "   " });
        line.push_str(&next);
    }
    out::say(&line);
    let names = rest.iter().map(|finding| finding.id.len()).max().unwrap_or(0);
    let margin = 2 + 2 + names + 2;
    for finding in rest {
        let mark = match finding.severity {
            Severity::Problem => style.painted_mark(Mark::Failed),
            _ => style.paint(Tone::Muted, &style.text("–")),
        };
        let lines = out::fold(&style.text(&finding.words), style.width.saturating_sub(margin));
        for (at, line) in lines.iter().enumerate() {
            match at {
                0 => out::say(&format!("  {mark} {}  {line}", out::pad(finding.id, names))),
                _ => out::say(&format!("{}{line}", " ".repeat(margin))),
            }
        }
        if let Some(fix) = &finding.fix {
            // Never cut or folded: it is there to be pasted.
            let (fix, label) = (style.text(fix), style.paint(Tone::Muted, "fix:"));
            out::say(&format!("{}{label} {}", " ".repeat(margin), style.paint(Tone::Accent, &fix)));
        }
    }
    if problems == 0 {
        out::say("No problems.");
        return;
    }
    let problem = |finding: &&Finding| finding.severity == Severity::Problem;
    let fixable = findings.iter().filter(problem).filter(|finding| finding.fixable).count() as u64;
    let rest = match (fixable, problems) {
        (0, _) => "`ao doctor --fix` can repair none of it; the fixes above need you.".to_owned(),
        (some, all) if some == all => "`ao doctor --fix` can repair it.".to_owned(),
        (some, _) => format!("`ao doctor --fix` can repair {some} of it; the rest needs you."),
    };
    out::say(&format!("{}. {rest}", count(problems, "problem", "problems")));
}

/// The first line that a program says of its version; none where it cannot be run.
pub(crate) async fn version_of(program: &str, args: &[&str], cx: &Cx) -> Option<String> {
    let path = cx.env.get("PATH").map(String::as_str).unwrap_or_default();
    let mut command = Command::new(local::program(program, path));
    command.args(args).env("LC_ALL", "C").env("PATH", path).current_dir(&cx.home);
    let output = local::run(command, b"", Instant::now() + ANSWER).await.ok()?;
    if output.code != Some(0) {
        return None;
    }
    String::from_utf8_lossy(&output.stdout).lines().next().map(one_line)
}

/// Says what is wrong with the disk of a project's repository, before its first session.
pub(crate) async fn tell_of_disk(
    cx: &Cx,
    client: Client<'_>,
    project: &ProjectId,
) -> Result<(), Fail> {
    let list: ProjectList = client.get("/api/projects").await?;
    let Some(path) = list.projects.into_iter().find(|p| p.id == *project).map(|p| p.path) else {
        return Ok(());
    };
    let found = judge::disk_of(facts::ignores_case(&path), facts::network_disk(&path));
    let hint = format!("disk {project}");
    if !found.is_empty() && cx.first_time(&hint) {
        for (words, fix) in found {
            cx.warn(&format!("{project}: {words}; {fix}"));
        }
    }
    Ok(())
}

/// The command that installs a package on this machine.
pub(crate) fn install(package: &str, cx: &Cx) -> String {
    format!("{} {package}", installs(cx))
}

/// The same without the package.
fn installs(cx: &Cx) -> &'static str {
    let managers = [
        ("apt", "sudo apt install"),
        ("dnf", "sudo dnf install"),
        ("pacman", "sudo pacman -S"),
        ("apk", "sudo apk add"),
        ("brew", "brew install"),
    ];
    let path = cx.env.get("PATH").map(String::as_str).unwrap_or_default();
    let there = |name: &str| std::env::split_paths(path).any(|dir| dir.join(name).is_file());
    let found = managers.iter().find(|(name, _)| there(name));
    found.map_or("sudo apt install", |(_, command)| command)
}

/// Corrects what loses nothing, and says what was done.
fn fix(cx: &Cx, facts: &Facts) -> Vec<String> {
    let mut done = vec![];
    let mut private = |path: &Path| {
        let Ok(meta) = fs::symlink_metadata(path) else { return };
        let mode = meta.permissions().mode() & 0o700;
        if fs::set_permissions(path, fs::Permissions::from_mode(mode)).is_ok() {
            done.push(format!("{} is private now", path.display()));
        }
    };
    if matches!(facts.data, facts::DataDir::There { mine: true, mode, .. } if mode & 0o077 != 0) {
        private(&cx.data_dir);
    }
    facts.open_to_others.iter().for_each(|path| private(path));
    if let Some(socket) = facts.dead_socket.as_ref().filter(|socket| remove_dead(cx, socket)) {
        done.push(format!("{} is removed", socket.display()));
    }
    if matches!(facts.link, Link::Missing | Link::Broken(_)) {
        let link = cx.data_dir.join("run/ao");
        super::start::link_program(&link);
        if let Link::Good(target) = facts::link(&cx.data_dir) {
            done.push(format!("{} leads to {} again", link.display(), target.display()));
        }
    }
    done
}

/// Removes a socket that nobody serves now, whatever was seen before: while the lock is held here no server can
/// come up, and one that serves answers.
fn remove_dead(cx: &Cx, socket: &Path) -> bool {
    let Ok(_held) = DirLock::take(&cx.data_dir.join("run")) else { return false };
    UnixStream::connect(socket).is_err() && fs::remove_file(socket).is_ok()
}

/// Everything that helps another to understand a problem, without secrets.
async fn report(cx: &Cx, findings: &[Finding]) -> Result<u8, Fail> {
    let mut text = format!("ao {}\n", crate::VERSION);
    text.push_str(&version_of("uname", &["-srm"], cx).await.unwrap_or_default());
    text.push_str("\n\n");
    for finding in findings {
        let severity = match finding.severity {
            Severity::Good => "good",
            Severity::Note => "note",
            Severity::Problem => "PROBLEM",
        };
        text.push_str(&format!("{severity:8} {:16} {}\n", finding.id, finding.words));
        if let Some(fix) = finding.fix.as_ref().filter(|_| finding.severity != Severity::Good) {
            text.push_str(&format!("{:25} fix: {fix}\n", ""));
        }
    }
    let logs = cx.data_dir.join("logs");
    for (log, most) in [("server.log", 200), ("start.log", 20)] {
        text.push_str(&format!("\n{log}, last {most} lines\n"));
        for line in crate::client::last_lines(&logs.join(log), most) {
            text.push_str(&line);
            text.push('\n');
        }
    }
    let text = redacted(&text, &cx.home);
    if cx.global.json {
        out::json(&serde_json::json!({ "schema": "ao.report/1", "text": text }));
    } else {
        out::say(&text);
    }
    Ok(0)
}

/// Without secrets, and without the name of the home folder.
fn redacted(text: &str, home: &Path) -> String {
    ao_core::slots::text::redact(text).replace(home.to_string_lossy().as_ref(), "~")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cx::tests::cx;

    #[test]
    fn what_can_be_corrected_is_corrected_and_told() {
        let dir = tempfile::tempdir().unwrap();
        let cx = cx(dir.path());
        let open =
            |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        for folder in ["run", "journal", "logs"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
            fs::set_permissions(dir.path().join(folder), fs::Permissions::from_mode(0o700))
                .unwrap();
        }
        open(dir.path());
        open(&dir.path().join("logs"));
        drop(std::os::unix::net::UnixListener::bind(cx.socket()).unwrap());
        fs::set_permissions(cx.socket(), fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink("/no/such/program", dir.path().join("run/ao")).unwrap();

        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let facts = runtime.block_on(Facts::gather(&cx));
        let ids = |facts: &Facts| -> Vec<_> {
            judge(facts).into_iter().filter(|f| f.fixable).map(|f| f.id).collect()
        };
        assert_eq!(ids(&facts), ["data", "modes", "link", "socket"]);
        // A server that came up since they were gathered keeps its socket.
        fs::remove_file(cx.socket()).unwrap();
        let serves = std::os::unix::net::UnixListener::bind(cx.socket()).unwrap();
        assert!(!remove_dead(&cx, &cx.socket()));
        drop(serves);
        let starts = DirLock::take(&dir.path().join("run")).unwrap();
        assert!(!remove_dead(&cx, &cx.socket()));
        drop(starts);
        assert_eq!(fix(&cx, &facts).len(), 4);
        let facts = runtime.block_on(Facts::gather(&cx));
        assert_eq!(ids(&facts), Vec::<&str>::new());
        assert_eq!(fix(&cx, &facts), Vec::<String>::new());
    }

    #[test]
    fn a_damaged_journal_is_told_from_a_sound_one() {
        use ao_core::{
            disk::RealDisk,
            journal::{Durability, Identity, Limits, Line, Recovery},
        };
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(facts::journal(dir.path()), facts::Journal::None);
        let recovery =
            Recovery::start(std::sync::Arc::new(RealDisk), dir.path(), Limits::default()).unwrap();
        let instance = "01JD0000000000000000000000".parse().unwrap();
        let (mut written, _) = recovery.finish(Identity { instance, boot: "b".into() }).unwrap();
        for seq in 1..=3 {
            let json = format!("{{\"seq\":{seq},\"text\":\"event {seq}\"}}").into_bytes();
            written.append(&[Line { seq, json }], Durability::Commit).unwrap();
        }
        drop(written);
        assert_eq!(facts::journal(dir.path()), facts::Journal::Sound(3));
        let segment = dir.path().join("journal/00000000000000000001.jsonl");
        let text = fs::read_to_string(&segment).unwrap().replace("event 2", "event 9");
        fs::write(&segment, text).unwrap();
        assert!(matches!(facts::journal(dir.path()), facts::Journal::Damaged(1..)));
    }

    #[test]
    fn a_report_tells_neither_secrets_nor_who_it_is_from() {
        let text = "push hook at https://x.test/h?token=ghp_0123456789abcdefghijklmnopqrstuvwxyzAB in /home/ana/src";
        let text = redacted(text, Path::new("/home/ana"));
        assert!(text.ends_with("in ~/src") && !text.contains("ghp_0123"), "{text}");
    }
}
