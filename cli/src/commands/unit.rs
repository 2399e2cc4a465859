//! The systemd user unit that `ao init` offers: the server from log-in on, and again when it ends by a fault.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use ao_core::{
    config::Catalog,
    slots::{notifier::Mark, text::slug},
};
use ao_sdk::local;
use tokio::{process::Command, time::Instant};

use crate::{
    client,
    cx::Cx,
    desk::Desk,
    fail::{Exit, Fail},
    out,
};

/// How long systemd may take to answer, and the server to serve that it starts.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the flags say of it; neither = ask.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer {
    /// `--systemd`
    pub(crate) wanted: bool,
    /// `--no-systemd`
    pub(crate) refused: bool,
}

impl Offer {
    /// Asks where a user's systemd is there and no unit yet, then writes and enables it. Never the answer of a
    /// script: without a terminal, and with `--yes`, nothing is installed that was not asked for.
    pub(crate) async fn make(self, cx: &Cx) -> Result<(), Fail> {
        if self.refused {
            return Ok(());
        }
        let file = file(cx);
        if !client::user_systemd(cx) {
            return match self.wanted {
                true => Err(Fail::new(Exit::Missing, "no systemd of this user runs here")
                    .remedy("log in with a session of your own, or: ao init --no-systemd")),
                false => Ok(()),
            };
        }
        if !self.wanted {
            let asks = out::can_ask() && !cx.global.yes && !cx.global.no_input;
            let question = "Let systemd start the server at log-in, and again after a fault?";
            if !asks || file.exists() || !cx.ask(question, false, "--systemd")? {
                return Ok(());
            }
        }
        let program = std::env::current_exe()?;
        install(cx, &file, &text(&program, &cx.data_dir, cx.global.config.as_deref())).await?;
        let unit = name(cx);
        // The server that this command started gives way; agents go on.
        super::stop::stop(cx, "systemd takes over", false).await?;
        start(cx, "start", &unit).await?;
        if !cx.global.json {
            let words = format!("systemd starts the server ({})", file.display());
            out::note(&format!("  {} {}", cx.err.painted_mark(Mark::Settled), cx.err.text(&words)));
            for file in with_variables(cx)? {
                cx.warn(&format!(
                    "{} takes values from variables, and a unit has none of a shell's: systemctl --user edit {unit}   \
                     (Environment=NAME=…)",
                    file.display()
                ));
            }
            cx.hint(&format!("Away again: systemctl --user disable --now {unit}"));
        }
        Ok(())
    }
}

/// The unit's name, for `systemctl --user`: each data directory has a server of its own.
fn name(cx: &Cx) -> String {
    match cx.data_dir == cx.home.join(".agent-orchestrator") {
        true => "ao.service".to_owned(),
        false => format!("ao-{}.service", slug(&cx.data_dir.to_string_lossy(), 100)),
    }
}

fn file(cx: &Cx) -> PathBuf {
    let base = cx.env.get("XDG_CONFIG_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute());
    base.unwrap_or_else(|| cx.home.join(".config")).join("systemd/user").join(name(cx))
}

/// The configuration files that name variables.
fn with_variables(cx: &Cx) -> Result<Vec<PathBuf>, Fail> {
    let desk = Desk::open(cx, Catalog::new(ao_plugins_bundled::all()))?;
    let (mut files, ..) = desk.with_file(cx.file_here());
    files.retain(|file| fs::read_to_string(file).is_ok_and(|text| text.contains("${")));
    Ok(files)
}

/// Writes and enables the unit. One that says something else is a human's, or of another data directory.
async fn install(cx: &Cx, file: &Path, text: &str) -> Result<(), Fail> {
    let failed = |error: io::Error| {
        Fail::new(Exit::Failed, format!("{} could not be written", file.display())).because(error)
    };
    match fs::read_to_string(file) {
        Ok(there) if there == text => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(file.parent().unwrap_or(Path::new("/"))).map_err(failed)?;
            fs::write(file, text).map_err(failed)?;
        }
        Err(error) => return Err(failed(error)),
        Ok(_) => {
            let what = format!("{} is there and says something else", file.display());
            let remedy = format!("mv {0} {0}.old   then again: ao init --systemd", file.display());
            return Err(Fail::new(Exit::Refused, what).remedy(remedy));
        }
    }
    systemctl(cx, &["daemon-reload"]).await?;
    systemctl(cx, &["enable", &name(cx)]).await
}

/// Lets systemd start the server anew where its unit is the one that runs it. False where it is not.
pub(crate) async fn restart(cx: &Cx) -> Result<bool, Fail> {
    let unit = name(cx);
    if !client::user_systemd(cx) || !file(cx).exists() || !is_active(cx, &unit).await {
        return Ok(false);
    }
    start(cx, "restart", &unit).await?;
    Ok(true)
}

async fn is_active(cx: &Cx, unit: &str) -> bool {
    systemctl(cx, &["is-active", "--quiet", unit]).await.is_ok()
}

/// Starts the unit and looks until its server serves.
async fn start(cx: &Cx, verb: &str, unit: &str) -> Result<(), Fail> {
    systemctl(cx, &[verb, unit]).await?;
    let until = Instant::now() + PATIENCE;
    while !cx.client().is_up().await {
        if Instant::now() >= until || !is_active(cx, unit).await {
            return Err(Fail::new(Exit::Server, format!("systemd did not start {unit}"))
                .remedy(format!("journalctl --user -u {unit}   or without it: ao start")));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

async fn systemctl(cx: &Cx, args: &[&str]) -> Result<(), Fail> {
    let what = || format!("`systemctl --user {}` failed", args.join(" "));
    let path = cx.env.get("PATH").map(String::as_str).unwrap_or_default();
    let mut command = Command::new(local::program("systemctl", path));
    command.arg("--user").args(args).current_dir(&cx.home);
    let ran = local::run(command, b"", Instant::now() + PATIENCE).await;
    let ran = ran.map_err(|error| Fail::new(Exit::Missing, what()).because(error))?;
    match ran.code {
        Some(0) => Ok(()),
        _ => Err(Fail::new(Exit::Failed, what())
            .because(String::from_utf8_lossy(&ran.stderr).trim())
            .remedy("ao init --no-systemd")),
    }
}

/// The unit. Only the server's own process is ended with it: agents and their terminals go on.
fn text(program: &Path, data_dir: &Path, config: Option<&Path>) -> String {
    let config = config.map(|file| format!(" --config {}", quoted(file))).unwrap_or_default();
    format!(
        "\
[Unit]
Description=ao: runs coding agents side by side and calls you only when you are needed

[Service]
ExecStart={} start --foreground --data-dir {}{config}
Environment={}={}
Restart=on-failure
KillMode=process

[Install]
WantedBy=default.target
",
        quoted(program),
        quoted(data_dir),
        client::HEAPS.0,
        client::HEAPS.1
    )
}

/// A path as one word of a unit's command line (systemd.service(5)): `%` and `$` stand for themselves doubled.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let text = text.replace('%', "%%").replace('$', "$$");
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+%$".contains(c);
    match text.chars().all(plain) {
        true => text,
        false => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_ends_the_server_alone_and_starts_it_again_after_a_fault() {
        let unit = text(Path::new("/usr/bin/ao"), Path::new("/home/ana/.agent-orchestrator"), None);
        for line in [
            "ExecStart=/usr/bin/ao start --foreground --data-dir /home/ana/.agent-orchestrator",
            "Environment=MALLOC_ARENA_MAX=1",
            "Restart=on-failure",
            "KillMode=process",
            "WantedBy=default.target",
        ] {
            assert!(unit.lines().any(|l| l == line), "{line} is not in\n{unit}");
        }
    }

    #[test]
    fn a_path_is_one_word_whatever_stands_in_it() {
        let of = |path: &str| quoted(Path::new(path));
        assert_eq!(of("/usr/bin/ao"), "/usr/bin/ao");
        assert_eq!(of("/home/a b/ao"), "\"/home/a b/ao\"");
        assert_eq!(of("/100%/$x"), "/100%%/$$x");
        assert_eq!(of("/a\"b\\c"), "\"/a\\\"b\\\\c\"");
        let unit = text(Path::new("/ao"), Path::new("/d"), Some(Path::new("/my config.yaml")));
        assert!(unit.contains("--data-dir /d --config \"/my config.yaml\"\n"), "{unit}");
    }
}
