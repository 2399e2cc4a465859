//! `ao config`.

use std::path::PathBuf;

use ao_core::config::{self, Catalog, ConfigError, Role, SourceFile};
use ao_web::{
    Configs,
    configs::{CheckBody, ConfigFile, ConfigReport, FileBody, TrustBody, Untrusted},
    view::StatusDoc,
};
use jiff::tz::TimeZone;

use super::usage;
use crate::{
    cx::Cx,
    desk::Desk,
    fail::{Exit, Fail},
    out::{self, Tone},
    paths, render,
};

/// Check, show and trust the configuration
///
/// Examples:
///   ao config check
///   ao config show
///   ao config trust
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Cmd {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Is the configuration valid, and what waits for your trust
    ///
    /// Examples:
    ///   ao config check
    ///   ao config check new.yaml
    ///
    /// Exit code 3: it is not valid.
    #[command(verbatim_doc_comment)]
    Check {
        /// The file; none = the one of this folder, and your own
        file: Option<PathBuf>,
    },
    /// Print the settings in use, with every default
    ///
    /// Examples:
    ///   ao config show
    ///   ao config show --json
    #[command(verbatim_doc_comment)]
    Show,
    /// Print the JSON schema of the file, for editors
    ///
    /// Examples:
    ///   ao config schema > ao.schema.json
    #[command(verbatim_doc_comment)]
    Schema,
    /// Open the file in your editor and check it
    ///
    /// Examples:
    ///   ao config edit
    ///   EDITOR=nano ao config edit
    ///
    /// Exit code 3: it is not valid now.
    #[command(verbatim_doc_comment)]
    Edit,
    /// List the files that the server was told of
    ///
    /// Examples:
    ///   ao config ls
    ///   ao config ls --json
    #[command(verbatim_doc_comment)]
    Ls,
    /// Take a file out; its sessions go on
    ///
    /// Examples:
    ///   ao config forget
    ///   ao config forget ~/old/agent-orchestrator.yaml
    #[command(verbatim_doc_comment)]
    Forget {
        /// The file; none = the one of this folder
        file: Option<PathBuf>,
    },
    /// Allow the settings that run programs or send text elsewhere
    ///
    /// Examples:
    ///   ao config trust                 shows what would count, and asks
    ///   ao config trust --yes
    ///
    /// Exit codes: 3 it is not valid, 8 not confirmed.
    #[command(verbatim_doc_comment)]
    Trust {
        /// The file; none = the one of this folder
        file: Option<PathBuf>,
    },
}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        match &self.what {
            What::Check { file } => check(cx, file.as_ref()).await,
            What::Show => show(cx),
            What::Schema => {
                let text =
                    serde_json::to_string_pretty(&config::config_schema()).unwrap_or_default();
                out::say(&text);
                Ok(0)
            }
            What::Edit => edit(cx).await,
            What::Ls => ls(cx).await,
            What::Forget { file } => {
                let file = chosen(cx, file.as_ref())?;
                let body = FileBody { file: file.clone() };
                let report: ConfigReport = cx.client().post("/api/config/forget", &body).await?;
                if cx.global.json {
                    out::json(&report)
                } else {
                    out::say(&format!("{} is forgotten; its sessions go on", file.display()))
                }
                Ok(0)
            }
            What::Trust { file } => trust(cx, file.as_ref()).await,
        }
    }
}

/// The named file, else that of this folder.
fn chosen(cx: &Cx, file: Option<&PathBuf>) -> Result<PathBuf, Fail> {
    let none = || {
        Fail::new(Exit::NotFound, format!("there is no {} here or above", config::FILE_NAME))
            .remedy("ao init   or name the file")
    };
    match file.or(cx.global.config.as_ref()) {
        Some(file) => Ok(paths::absolute(file, &cx.home)),
        None => cx.file_here().ok_or_else(none),
    }
}

async fn check(cx: &Cx, file: Option<&PathBuf>) -> Result<u8, Fail> {
    let client = cx.client();
    let file = file.or(cx.global.config.as_ref()).map(|file| paths::absolute(file, &cx.home));
    let file = file.or_else(|| cx.file_here());
    // A running server knows of other files and has the variables that count.
    let up = client.is_up().await;
    let report: ConfigReport = if up {
        client.post("/api/config/check", &CheckBody { file }).await?
    } else {
        Desk::open(cx, Catalog::new(ao_plugins_bundled::all()))?.check(file).await?
    };
    let wrong = report.wrong();
    if cx.global.json {
        out::json(&serde_json::json!({ "schema": "ao.check/1", "report": report }));
    } else {
        if !wrong.is_empty() {
            out::note(render::config::draw(&wrong, &cx.err).trim_end());
        }
        super::tell_warnings(cx, &report);
        report.untrusted.iter().for_each(|untrusted| tell_untrusted(cx, untrusted));
    }
    if wrong.is_empty() {
        if !cx.global.json {
            out::say("The configuration is valid.");
        }
        return Ok(0);
    }
    if !cx.global.json {
        let errors = ao_core::slots::text::count(wrong.len() as u64, "error", "errors");
        let kept = match up {
            true => kept(&client.get("/api/status").await?),
            false => "No server runs.".into(),
        };
        out::say(&format!("{errors}. {kept}"));
    }
    Ok(Exit::Config as u8)
}

/// What a server does whose files have errors.
fn kept(status: &StatusDoc) -> String {
    let clock = |at| render::clock(status.at, at, &TimeZone::system(), "%H:%M");
    let since = status.settings_since.map(|at| format!(" ({})", clock(at)));
    format!("The server keeps the last good config{}.", since.unwrap_or_default())
}

fn show(cx: &Cx) -> Result<u8, Fail> {
    let desk = Desk::open(cx, Catalog::new(ao_plugins_bundled::all()))?;
    let (mut files, loaded, refused) = desk.with_file(cx.file_here());
    files.retain(|path| !refused.iter().any(|error| error.file == *path));
    // Values of variables stand in it as they were written: nothing secret is shown.
    if cx.global.json {
        out::json(
            &serde_json::json!({ "schema": "ao.config/1", "files": files, "policy": loaded.policy }),
        );
    } else {
        for file in &files {
            out::note(&cx.err.paint(Tone::Muted, &format!("# from {}", file.display())));
        }
        out::say(&serde_json::to_string_pretty(&loaded.policy).unwrap_or_default());
    }
    for untrusted in loaded.pending {
        tell_untrusted(cx, &untrusted.into());
    }
    match refused.is_empty() {
        true => Ok(0),
        // Without them; a running server keeps their last good settings.
        false => Err(render::config::failure(&cx.err, &refused)),
    }
}

/// What waits for a human's word.
fn tell_untrusted(cx: &Cx, untrusted: &Untrusted) {
    let keys: Vec<&str> = untrusted.items.iter().map(|item| item.key.as_str()).collect();
    let (path, keys) = (untrusted.path.display(), keys.join(", "));
    cx.warn(&format!("{path}: waits for your trust: {keys} (ao config trust)"));
}

async fn edit(cx: &Cx) -> Result<u8, Fail> {
    let file = chosen(cx, None)?;
    let editor = cx
        .env
        .get("VISUAL")
        .or_else(|| cx.env.get("EDITOR"))
        .cloned()
        .unwrap_or_else(|| "vi".into());
    let mut words = editor.split_whitespace();
    let program = words.next().ok_or_else(|| usage("EDITOR is empty"))?;
    let status = std::process::Command::new(program).args(words).arg(&file).status();
    let status = status.map_err(|error| {
        Fail::new(Exit::Missing, format!("`{program}` could not be started"))
            .because(error)
            .remedy("export EDITOR=…")
    })?;
    if !status.success() {
        return Err(Fail::new(
            Exit::Failed,
            format!("`{program}` ended with {status}; the file was not checked"),
        ));
    }
    check(cx, Some(&file)).await
}

async fn ls(cx: &Cx) -> Result<u8, Fail> {
    let files: Vec<ConfigFile> = cx.client().get("/api/config").await?;
    if cx.global.json {
        out::json(&serde_json::json!({ "schema": "ao.configs/1", "files": files }));
        return Ok(0);
    }
    if files.is_empty() {
        out::say("No configuration file is known. Make one: ao init");
    }
    for file in &files {
        let path = file.path.display().to_string();
        let state = match (file.errors.len(), file.needs_trust) {
            _ if file.gone => "  is gone: put it back, or: ao config forget ".to_owned() + &path,
            (0, false) => String::new(),
            (0, true) => "  waits for trust: ao config trust".to_owned(),
            (n, _) => format!(
                "  {}: ao config check",
                ao_core::slots::text::count(n as u64, "error", "errors")
            ),
        };
        let projects = if file.projects.is_empty() {
            "no project".to_owned()
        } else {
            file.projects.join(", ")
        };
        out::say(&format!(
            "{}  {projects}  ({}){state}",
            cx.style.paint(Tone::Accent, &path),
            file.role
        ));
    }
    Ok(0)
}

async fn trust(cx: &Cx, file: Option<&PathBuf>) -> Result<u8, Fail> {
    let file = chosen(cx, file)?;
    let client = cx.client();
    let read = SourceFile::read(&file, Role::Registered)
        .map_err(|error| render::config::failure(&cx.err, &error))?;
    let body = CheckBody { file: Some(file.clone()) };
    let report: ConfigReport = client.post("/api/config/check", &body).await?;
    // What does not load is not trusted.
    let wrong: Vec<ConfigError> =
        report.errors.iter().filter(|error| error.file == file).cloned().collect();
    if !wrong.is_empty() {
        return Err(render::config::failure(&cx.err, &wrong));
    }
    let waits = report.untrusted.iter().find(|untrusted| untrusted.path == file);
    if let Some(untrusted) = waits {
        out::note(&render::config::asked(untrusted, &cx.err));
        if !cx.global.yes && !cx.ask("Trust this file as it is now?", false, "--yes")? {
            return Err(Fail::new(Exit::NotConfirmed, "nothing was trusted"));
        }
    }
    let hash = waits.map_or_else(|| read.hash(), |untrusted| untrusted.hash.clone());
    let body = TrustBody { file: file.clone(), hash };
    let report: ConfigReport = client.post("/api/config/trust", &body).await?;
    let wrong = report.against(&file);
    if !wrong.is_empty() {
        return Err(render::config::failure(&cx.err, &wrong));
    }
    if cx.global.json {
        out::json(&report);
    } else {
        super::tell_report(cx, &report);
        out::say(&format!("{} counts as it is now", file.display()));
    }
    Ok(0)
}
