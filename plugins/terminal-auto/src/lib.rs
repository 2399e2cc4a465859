//! Opens the terminal that fits the client that asks: a window of the tmux in which it sits, else a window of
//! the desktop, else its own terminal. Where there is none of these it says what a human can type.

mod programs;

use std::{
    collections::{BTreeMap, HashMap},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ao_slots::{
    Call, PluginError, SessionId,
    call::{Answer, ErrorKind},
    plugin::{self, BuildContext, Registration},
    process,
    terminal::{OpenRequest, Opened, Terminal},
    text,
};
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::{process::Command, time::timeout};

/// The plugin's name in the config.
pub const NAME: &str = "auto";

/// How soon a terminal program that cannot open its window ends.
const FAILS_WITHIN: Duration = Duration::from_millis(500);

/// How the core finds this plugin.
pub fn registration() -> Registration<dyn Terminal> {
    Registration {
        name: NAME,
        about: "Opens the terminal that fits the desktop at hand",
        schema: || schemars::schema_for!(Settings),
        check: |value| plugin::settings::<Settings>(NAME, value).map(drop),
        build: |value, context| Ok(Arc::new(Auto::new(plugin::settings(NAME, value)?, context))),
    }
}

/// The settings of the automatic terminal.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    /// The terminal program and what stands before the command that it is to run, e.g. `[xterm, -e]`. Empty to
    /// find one by itself.
    pub command: Vec<String>,
}

/// The terminal.
#[derive(Debug)]
pub struct Auto {
    settings: Settings,
    env: BTreeMap<String, String>,
    /// With which command each session was last shown.
    shown: Mutex<HashMap<SessionId, Vec<String>>>,
}

impl Auto {
    /// Looks at nothing and starts nothing.
    pub fn new(settings: Settings, context: &BuildContext) -> Self {
        let mut env = context.env.clone();
        let home = context.home.to_string_lossy().into_owned();
        env.entry("HOME".to_owned()).or_insert(home);
        Self { settings, env, shown: Mutex::default() }
    }

    /// The client's environment, and ours where it is silent. What ties a program to a session of `ao` is left
    /// out: the window belongs to the human.
    fn env(&self, request: &OpenRequest) -> BTreeMap<String, String> {
        let mut env = self.env.clone();
        env.extend(request.env.clone());
        env.retain(|name, _| !name.starts_with("AO_"));
        env
    }

    async fn show(
        &self,
        call: &Call,
        request: &OpenRequest,
        argv: &[String],
    ) -> Result<Opened, PluginError> {
        let mut env = self.env(request);
        let here = || match request.attach.command_line() {
            _ if request.foreground => Opened::RunHere(argv.to_vec()),
            line => Opened::Hint(line.unwrap_or_default()),
        };
        let patience = call.limit() / 4;
        if let Some(command) = programs::tmux_window(&request.env, request.session.as_str(), argv)
            && run(&command, &env, patience).await.is_ok_and(|status| status.success())
        {
            return Ok(Opened::Window);
        }
        // A window of the desktop is in no tmux.
        env.retain(|name, _| name != "TMUX" && name != "TMUX_PANE");
        if !self.settings.command.is_empty() {
            let command = [&self.settings.command, argv].concat();
            return window(&command, &env, patience).await.map(|()| Opened::Window);
        }
        let path = env.get("PATH").map_or("", String::as_str);
        let windows = programs::windows(&env, argv, |program| is_on_path(program, path));
        if windows.is_empty() && programs::has_desktop(&env) && !request.foreground {
            let what = format!("could not open a window for {}", request.session);
            return Err(PluginError::new(
                ErrorKind::Missing,
                what,
                "no terminal program is installed",
            )
            .with_remedy("sudo apt install xterm"));
        }
        // A second one is tried where the first cannot reach the desktop; more would only take time.
        for command in windows.iter().take(2) {
            if window(command, &env, patience).await.is_ok() {
                return Ok(Opened::Window);
            }
        }
        Ok(here())
    }
}

#[async_trait]
impl Terminal for Auto {
    async fn open(&self, call: &Call, request: &OpenRequest) -> Result<Opened, PluginError> {
        let argv = attach(request)?;
        let opened = self.show(call, request, argv).await?;
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.insert(request.session.clone(), argv.to_vec());
        Ok(opened)
    }

    async fn open_all(
        &self,
        call: &Call,
        requests: &[OpenRequest],
    ) -> Result<Vec<Opened>, PluginError> {
        // No window opens where one cannot.
        for request in requests {
            attach(request)?;
        }
        let share = u32::try_from(requests.len()).unwrap_or(u32::MAX).max(1);
        let each = Call { limit_ms: call.limit_ms / u64::from(share), ..call.clone() };
        let mut opened = Vec::with_capacity(requests.len());
        for request in requests {
            opened.push(self.open(&each, request).await?);
        }
        Ok(opened)
    }

    /// A view is open while the attach command runs; known of what was opened since this server started.
    async fn is_open(&self, _call: &Call, session: &SessionId) -> Result<Answer<()>, PluginError> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner).get(session).cloned();
        Ok(match shown {
            Some(argv) if process::runs(&argv) => Answer::Yes(()),
            Some(_) if cfg!(target_os = "linux") => Answer::No,
            _ => Answer::Unknown(format!("{session} was not opened from here")),
        })
    }
}

/// The attach command; an error where there is no screen.
fn attach(request: &OpenRequest) -> Result<&[String], PluginError> {
    request.attach.argv.as_deref().filter(|argv| !argv.is_empty()).ok_or_else(|| {
        PluginError::unsupported(format!("{} has no screen to look at", request.session))
    })
}

fn is_on_path(program: &str, path: &str) -> bool {
    std::env::split_paths(path).any(|folder| {
        let about = std::fs::metadata(folder.join(program));
        about.is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
    })
}

/// Starts a terminal program that lives on by itself. One that ends at once with an error opened nothing.
async fn window(
    words: &[String],
    env: &BTreeMap<String, String>,
    patience: Duration,
) -> Result<(), PluginError> {
    let program = words.first().map(|word| text::one_line(word)).unwrap_or_default();
    let what = || format!("could not open a window with `{program}`");
    let mut child = command(words, env).spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => PluginError::new(ErrorKind::Missing, what(), error)
            .with_remedy(format!("install `{program}`, or change `command` of the terminal")),
        _ => PluginError::transient(what(), error),
    })?;
    match timeout(FAILS_WITHIN.min(patience), child.wait()).await {
        Ok(Ok(status)) if !status.success() => Err(PluginError::transient(what(), status)),
        // It runs, or it told a running one to open the window.
        _ => Ok(()),
    }
}

/// Runs a program that ends by itself.
async fn run(
    words: &[String],
    env: &BTreeMap<String, String>,
    patience: Duration,
) -> std::io::Result<ExitStatus> {
    let mut child = command(words, env).kill_on_drop(true).spawn()?;
    timeout(patience, child.wait()).await?
}

/// A program in its own process group, away from our folder and output.
fn command(words: &[String], env: &BTreeMap<String, String>) -> Command {
    let mut command = Command::new(words.first().map_or("", String::as_str));
    command.args(words.get(1..).unwrap_or_default()).env_clear().envs(env).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let home = env.get("HOME").map(Path::new).filter(|home| home.is_dir());
    command.current_dir(home.unwrap_or(Path::new("/")));
    command
}

#[cfg(test)]
mod tests;
