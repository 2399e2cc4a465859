//! `ao launch <file>`: what a pane runs. Sets the environment from a private file and becomes the agent, so
//! that no secret is ever an argument.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    io::{self, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;

/// How the agent is started, as the server wrote it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Launch {
    /// Program and arguments; the program is looked up in the session's own `PATH`.
    argv: Vec<String>,
    /// The working directory.
    cwd: PathBuf,
    /// The whole environment.
    env: BTreeMap<String, String>,
}

/// Becomes the agent; returns the exit code only when that failed.
pub(crate) fn run(args: &[OsString]) -> u8 {
    let Some(file) = args.first() else { return 2 };
    let (code, message) = match prepare(Path::new(file)) {
        Ok(mut command) => {
            let error = command.exec();
            let program = command.get_program().to_string_lossy().into_owned();
            let missing = error.kind() == io::ErrorKind::NotFound;
            (if missing { 127 } else { 126 }, format!("`{program}` could not be started: {error}"))
        }
        Err(message) => (126, message),
    };
    let _ = writeln!(io::stderr(), "ao: {message}");
    code
}

fn prepare(file: &Path) -> Result<Command, String> {
    let failed =
        |what: &str, error: &dyn std::fmt::Display| format!("{} {what}: {error}", file.display());
    let text = fs::read(file).map_err(|error| failed("cannot be read", &error))?;
    let launch: Launch =
        serde_json::from_slice(&text).map_err(|error| failed("is not valid", &error))?;
    // It has been read; nobody else shall.
    let _ = fs::remove_file(file);
    let (program, args) = launch.argv.split_first().ok_or("the launch file names no program")?;
    let mut env = launch.env;
    // What the terminal knows best about itself. Not `TMUX`: with it an agent would act on the house of all agents.
    for name in ["TERM", "COLORTERM"] {
        if let Ok(value) = std::env::var(name) {
            env.insert(name.to_owned(), value);
        }
    }
    let mut command = Command::new(program);
    command.args(args).current_dir(&launch.cwd).env_clear().envs(env);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_gets_the_private_environment_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("launch");
        let json = serde_json::json!({
            "argv": ["sh", "-c", "echo $SECRET ${CARGO_MANIFEST_DIR:-none}; pwd"],
            "cwd": dir.path(), "env": {"PATH": "/usr/bin:/bin", "SECRET": "s"},
        });
        fs::write(&file, json.to_string()).unwrap();
        let output = prepare(&file).unwrap().output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!file.exists(), "it holds secrets, and has been read");
        let here = dir.path().canonicalize().unwrap();
        assert_eq!(text, format!("s none\n{}\n", here.display()));
    }

    #[test]
    fn a_launch_that_cannot_be_read_says_what_is_wrong() {
        assert!(prepare(Path::new("/no/such")).unwrap_err().starts_with("/no/such cannot be read"));
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("launch");
        fs::write(&file, r#"{"argv":[],"cwd":"/","env":{}}"#).unwrap();
        assert_eq!(prepare(&file).unwrap_err(), "the launch file names no program");
    }
}
