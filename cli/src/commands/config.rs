//! `ao config`.

use std::path::PathBuf;

use ao_core::config::{self, Catalog, ConfigError, Loaded, Role, SourceFile};
use ao_web::configs::{ConfigFile, ConfigReport};

use super::usage;
use crate::{
    cx::Cx,
    fail::{Exit, Fail},
    out::{self, Tone},
    paths, render,
};

/// Check, show and trust the configuration
#[derive(Debug, clap::Args)]
pub(crate) struct Cmd {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Is the configuration valid, and what waits for your trust
    Check {
        /// The file; none = the one of this folder, and your own
        file: Option<PathBuf>,
    },
    /// Print the settings in use, with every default
    Show,
    /// Print the JSON schema of the file, for editors
    Schema,
    /// Open the file in your editor and check it
    Edit,
    /// List the files that the server was told of
    Ls,
    /// Take a file out; its sessions go on
    Forget {
        /// The file; none = the one of this folder
        file: Option<PathBuf>,
    },
    /// Let keys that run programs or send text elsewhere count
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
                let report: ConfigReport = cx
                    .client()
                    .post("/api/config/forget", &serde_json::json!({ "file": file }))
                    .await?;
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

/// The files that this folder sees, read without a server.
fn local_files(cx: &Cx, file: Option<&PathBuf>) -> Result<Vec<SourceFile>, Vec<ConfigError>> {
    let mut files = cx.own_files().map_err(|_| vec![])?;
    let here = file.map(|file| paths::absolute(file, &cx.home)).or_else(|| cx.file_here());
    if let Some(path) = here.filter(|path| !files.iter().any(|file| file.path == *path)) {
        files.push(SourceFile::read(&path, Role::Registered)?);
    }
    Ok(files)
}

fn load(cx: &Cx, file: Option<&PathBuf>) -> Result<(Vec<SourceFile>, Loaded), Vec<ConfigError>> {
    let files = local_files(cx, file)?;
    let loaded = config::load(&files, &cx.world(Catalog::new(ao_plugins_bundled::all())))?;
    Ok((files, loaded))
}

async fn check(cx: &Cx, file: Option<&PathBuf>) -> Result<u8, Fail> {
    let client = cx.client();
    let report = match load(cx, file) {
        Err(errors) => ConfigReport { errors, ..ConfigReport::default() },
        // Valid by itself; a running server knows of other files and of what was trusted.
        Ok((files, loaded)) if client.is_up().await => {
            let here = files
                .iter()
                .find(|file| file.role == Role::Registered)
                .map(|file| file.path.clone());
            let report: ConfigReport =
                client.post("/api/config/check", &serde_json::json!({ "file": here })).await?;
            if report.errors.is_empty() && report.warnings.is_empty() {
                ConfigReport { warnings: loaded.warnings, ..report }
            } else {
                report
            }
        }
        Ok((_, loaded)) => ConfigReport { warnings: loaded.warnings, ..ConfigReport::default() },
    };
    if cx.global.json {
        out::json(&serde_json::json!({ "schema": "ao.check/1", "report": report }));
    } else {
        out::note(render::config::draw(&report.errors, &cx.err).trim_end());
        for warning in &report.warnings {
            cx.warn(&warning.to_string());
        }
        for untrusted in &report.untrusted {
            cx.warn(&format!(
                "{}: waits for your trust: {} (ao config trust)",
                untrusted.path.display(),
                untrusted.keys.join(", ")
            ));
        }
    }
    if report.errors.is_empty() {
        if !cx.global.json {
            out::say("The configuration is valid.");
        }
        return Ok(0);
    }
    if !cx.global.json {
        let errors = ao_core::slots::text::count(report.errors.len() as u64, "error", "errors");
        out::say(&format!("{errors}. A running server keeps the last good settings."));
    }
    Ok(Exit::Config as u8)
}

fn show(cx: &Cx) -> Result<u8, Fail> {
    let (files, loaded) =
        load(cx, None).map_err(|errors| render::config::failure(&cx.err, &errors))?;
    if cx.global.json {
        out::json(
            &serde_json::json!({ "schema": "ao.config/1", "files": files.iter().map(|f| &f.path).collect::<Vec<_>>(), "policy": loaded.policy }),
        );
        return Ok(0);
    }
    for file in &files {
        out::note(&cx.err.paint(Tone::Muted, &format!("# from {}", file.path.display())));
    }
    // Values of variables stand in it as they were written: nothing secret is shown.
    out::say(&serde_json::to_string_pretty(&loaded.policy).unwrap_or_default());
    Ok(0)
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
        let state = match (file.errors.len(), file.needs_trust) {
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
            cx.style.paint(Tone::Accent, &file.path.display().to_string()),
            file.role
        ));
    }
    Ok(0)
}

async fn trust(cx: &Cx, file: Option<&PathBuf>) -> Result<u8, Fail> {
    let file = chosen(cx, file)?;
    let client = cx.client();
    let report: ConfigReport =
        client.post("/api/config/register", &serde_json::json!({ "file": file })).await?;
    if !report.errors.is_empty() {
        return Err(render::config::failure(&cx.err, &report.errors));
    }
    let read = SourceFile::read(&file, Role::Registered)
        .map_err(|error| render::config::failure(&cx.err, &error))?;
    let items = report.untrusted.iter().find(|untrusted| untrusted.path == file);
    if let Some(untrusted) = items {
        out::note(&format!("{} would let these count:", file.display()));
        // What was trusted before is the server's to know; the keys and their new values are in the file.
        for item in
            config::needs_trust(&read).iter().filter(|item| untrusted.keys.contains(&item.key))
        {
            out::note(&format!(
                "  {:>4}  {}: {}",
                item.line,
                item.key,
                item.new.as_deref().unwrap_or("(removed)")
            ));
        }
        if !cx.global.yes && !cx.ask("Trust this file as it is now?", false, "--yes")? {
            return Err(Fail::new(Exit::NotConfirmed, "nothing was trusted"));
        }
    }
    let body = serde_json::json!({ "file": file, "hash": read.hash() });
    let report: ConfigReport = client.post("/api/config/trust", &body).await?;
    if cx.global.json {
        out::json(&report)
    } else {
        out::say(&format!("{} counts as it is now", file.display()))
    }
    Ok(0)
}
