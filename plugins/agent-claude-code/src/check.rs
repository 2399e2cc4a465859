//! Whether Claude Code can work here: the program, its login and its trust, by what its files tell.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use ao_slots::{Call, PluginError, agent::AgentCheck, text};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use serde_json::Value;
use tokio::{io::AsyncReadExt, process::Command};

use crate::launch;

const INSTALL: &str = "npm install -g @anthropic-ai/claude-code";

/// Variables that are a login of their own.
const LOGINS: &[&str] = &[
    "ANTHROPIC_AUTH_TOKEN",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_VERTEX",
    "CLAUDE_CODE_USE_FOUNDRY",
];

/// The most that is read of `--version`.
const LONGEST_ANSWER: u64 = 4096;

pub(crate) async fn check(
    call: &Call,
    env: &BTreeMap<String, String>,
    home: &Path,
    repo: Option<&Path>,
) -> Result<AgentCheck, PluginError> {
    let program = find("claude", env.get("PATH").map_or("", String::as_str));
    let version = match &program {
        Some(program) => version(program, env, home, call.limit()).await?,
        None => None,
    };
    let files = Files::read(env, home);
    Ok(AgentCheck {
        program,
        version,
        logged_in: files.logged_in(env),
        trusts_repo: repo.and_then(|repo| files.trusts(repo)),
        install_hint: INSTALL.into(),
    })
}

/// The first executable file of this name on `path`.
fn find(name: &str, path: &str) -> Option<PathBuf> {
    let folders = path.split(':').filter(|folder| folder.starts_with('/'));
    folders.map(|folder| Path::new(folder).join(name)).find(|file| {
        fs::metadata(file)
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    })
}

/// Ends the whole group of a program, also when the call is dropped.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Already gone is what is wanted.
            let _gone = killpg(group, Signal::SIGKILL);
        }
    }
}

/// What `claude --version` says, e.g. `2.1.329 (Claude Code)`; none when it says nothing of the kind.
async fn version(
    program: &Path,
    env: &BTreeMap<String, String>,
    home: &Path,
    limit: Duration,
) -> Result<Option<String>, PluginError> {
    let what = || format!("`{} --version` did not answer", program.display());
    let mut child = Command::new(program)
        .arg("--version")
        .env_clear()
        .envs(env)
        .env("HOME", home)
        .current_dir(home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| PluginError::transient(what(), error))?;
    let group = Group(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw));
    let answer = async {
        let mut said = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            stdout.take(LONGEST_ANSWER).read_to_end(&mut said).await?;
        }
        std::io::Result::Ok(said)
    };
    let said = tokio::time::timeout(limit, answer)
        .await
        .map_err(|_| PluginError::transient(what(), format!("not within {} s", limit.as_secs())))?
        .map_err(|error| PluginError::transient(what(), error))?;
    drop(group);
    let said = text::one_line(&String::from_utf8_lossy(&said));
    let number = said.split_whitespace().next().unwrap_or_default();
    let is_version =
        number.split('.').count() >= 2 && number.starts_with(|c: char| c.is_ascii_digit());
    Ok(is_version.then(|| number.to_owned()))
}

/// What Claude Code keeps about itself.
struct Files {
    /// `.claude.json`; none when it is not there.
    state: Option<Value>,
    settings: Value,
    credentials: bool,
}

impl Files {
    fn read(env: &BTreeMap<String, String>, home: &Path) -> Self {
        let folder = launch::config_dir(env, home);
        let state = if env.get("CLAUDE_CONFIG_DIR").is_some_and(|folder| !folder.is_empty()) {
            folder.join(".claude.json")
        } else {
            home.join(".claude.json")
        };
        let json =
            |path: &Path| fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self {
            state: json(&state),
            settings: json(&folder.join("settings.json")).unwrap_or_default(),
            credentials: folder.join(".credentials.json").is_file(),
        }
    }

    fn logged_in(&self, env: &BTreeMap<String, String>) -> Option<bool> {
        let set =
            |name: &&str| env.get(*name).is_some_and(|value| !value.is_empty() && value != "0");
        let none = Value::Null;
        let state = self.state.as_ref().unwrap_or(&none);
        let holds = |name: &str| !state[name].is_null();
        if LOGINS.iter().any(set)
            || self.credentials
            || holds("oauthAccount")
            || holds("primaryApiKey")
            || !self.settings["apiKeyHelper"].is_null()
        {
            return Some(true);
        }
        match env.get("ANTHROPIC_API_KEY").filter(|key| !key.is_empty()) {
            // A key that it has not been told of yet: it asks at the next start.
            Some(key) => self.approved(key),
            // Elsewhere the login may lie in the system's key chain.
            None if cfg!(target_os = "linux") => Some(false),
            None => None,
        }
    }

    /// Whether a human approved this key: it is remembered by its last 20 characters.
    fn approved(&self, key: &str) -> Option<bool> {
        let start = key.char_indices().rev().nth(19).map_or(0, |(at, _)| at);
        let lists = |name: &str| {
            let known = self.state.as_ref()?["customApiKeyResponses"][name].as_array()?;
            Some(known.iter().any(|known| known.as_str() == Some(&key[start..])))
        };
        if lists("approved") == Some(true) {
            Some(true)
        } else if lists("rejected") == Some(true) {
            Some(false)
        } else {
            None
        }
    }

    /// Whether it works in `repo` without asking first. A folder is trusted by itself, by one above it, or as a
    /// worktree of a trusted repository.
    fn trusts(&self, repo: &Path) -> Option<bool> {
        let real = repo.canonicalize().ok()?;
        let Some(state) = &self.state else { return Some(false) };
        let main = main_repository(&real);
        let folders = real.ancestors().chain(main.as_deref().into_iter().flat_map(Path::ancestors));
        let trusted = |folder: &Path| {
            let folder = folder.to_str()?;
            state["projects"][folder]["hasTrustDialogAccepted"].as_bool()
        };
        Some(folders.into_iter().any(|folder| trusted(folder) == Some(true)))
    }
}

/// The main repository of a worktree, by its `.git` file: `gitdir: <main>/.git/worktrees/<name>`.
fn main_repository(worktree: &Path) -> Option<PathBuf> {
    let link = fs::read_to_string(worktree.join(".git")).ok()?;
    let folder = worktree.join(link.strip_prefix("gitdir:")?.trim());
    let common = folder.parent().filter(|parent| parent.ends_with(".git/worktrees"))?.parent()?;
    common.parent()?.canonicalize().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn script(folder: &Path, text: &str) {
        fs::write(folder.join("claude"), format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(folder.join("claude"), fs::Permissions::from_mode(0o755)).unwrap();
    }

    async fn looked(home: &Path, limit: Duration) -> Result<AgentCheck, PluginError> {
        let path = format!("{}:/usr/bin:/bin", home.display());
        check(&Call::new("k", limit), &env(&[("PATH", &path)]), home, None).await
    }

    #[tokio::test]
    async fn it_finds_the_program_and_its_version() {
        let home = tempfile::tempdir().unwrap();
        script(
            home.path(),
            "[ \"$HOME\" = \"$PWD\" ] && [ \"$*\" = --version ] && echo '2.1.329 (Claude Code)'",
        );
        let found = looked(home.path(), Duration::from_secs(20)).await.unwrap();
        assert_eq!(found.program, Some(home.path().join("claude")));
        assert_eq!(found.version.as_deref(), Some("2.1.329"));
        script(home.path(), "echo usage: claude; exit 2");
        assert_eq!(looked(home.path(), Duration::from_secs(20)).await.unwrap().version, None);
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_no_error() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("claude"), "not executable").unwrap();
        let call = Call::new("k", Duration::from_secs(5));
        let found =
            check(&call, &env(&[("PATH", &home.path().to_string_lossy())]), home.path(), None)
                .await
                .unwrap();
        assert_eq!(
            (found.program, found.version, found.install_hint.as_str()),
            (None, None, INSTALL)
        );
        assert_eq!(check(&call, &env(&[]), home.path(), None).await.unwrap().program, None);
    }

    #[tokio::test]
    async fn one_that_hangs_is_ended_with_all_it_started() {
        let home = tempfile::tempdir().unwrap();
        script(home.path(), "sleep 600 & echo $! > child; wait");
        let error = looked(home.path(), Duration::from_millis(1500)).await.unwrap_err();
        assert!(error.is_transient() && error.what.contains("--version"), "{error}");
        let child: i32 =
            fs::read_to_string(home.path().join("child")).unwrap().trim().parse().unwrap();
        for _ in 0..200 {
            if ao_slots::process::ProcessId::of(child).is_none() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let _gone = nix::sys::signal::kill(Pid::from_raw(child), Signal::SIGKILL);
        panic!("the child of the program was left behind");
    }

    #[test]
    fn logins_are_told_by_files_and_variables() {
        let key = "sk-ant-0123456789abcdefghij-tail";
        let remembered = json!({ "customApiKeyResponses": { "approved": [&key[key.len() - 20..]], "rejected": ["no"] } });
        for (state, given, expected) in [
            (None, &[][..], Some(false)),
            (Some(json!({})), &[], Some(false)),
            (
                Some(json!({ "oauthAccount": { "emailAddress": "ana@example.org" } })),
                &[],
                Some(true),
            ),
            (Some(json!({ "primaryApiKey": "x" })), &[], Some(true)),
            (Some(remembered.clone()), &[("ANTHROPIC_API_KEY", key)], Some(true)),
            (Some(remembered.clone()), &[("ANTHROPIC_API_KEY", "no")], Some(false)),
            (Some(remembered), &[("ANTHROPIC_API_KEY", "new")], None),
            (None, &[("ANTHROPIC_AUTH_TOKEN", "x")], Some(true)),
            (None, &[("CLAUDE_CODE_USE_BEDROCK", "1")], Some(true)),
            (None, &[("CLAUDE_CODE_USE_BEDROCK", "0")], Some(false)),
        ] {
            let home = tempfile::tempdir().unwrap();
            if let Some(state) = &state {
                fs::write(home.path().join(".claude.json"), state.to_string()).unwrap();
            }
            let env = env(given);
            let found = Files::read(&env, home.path()).logged_in(&env);
            let expected =
                if cfg!(target_os = "linux") { expected } else { expected.filter(|yes| *yes) };
            assert_eq!(found, expected, "{state:?} {given:?}");
        }
    }

    #[test]
    fn the_folder_that_the_client_names_is_read() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("cc");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join(".credentials.json"), "{}").unwrap();
        let env = env(&[("CLAUDE_CONFIG_DIR", &folder.to_string_lossy())]);
        assert_eq!(Files::read(&env, home.path()).logged_in(&env), Some(true));
    }

    #[test]
    fn trust_reaches_down_and_to_worktrees() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().canonicalize().unwrap();
        for folder in ["repo/.git/worktrees/app-1", "wt/app-1", "other", "repo/sub"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        let link = format!("gitdir: {}\n", root.join("repo/.git/worktrees/app-1").display());
        fs::write(root.join("wt/app-1/.git"), link).unwrap();
        let repo = root.join("repo");
        let state =
            json!({ "projects": { repo.to_str().unwrap(): { "hasTrustDialogAccepted": true } } });
        fs::write(root.join(".claude.json"), state.to_string()).unwrap();
        let files = Files::read(&env(&[]), &root);
        for (folder, trusted) in [
            ("repo", Some(true)),
            ("repo/sub", Some(true)),
            ("wt/app-1", Some(true)),
            ("other", Some(false)),
            ("gone", None),
        ] {
            assert_eq!(files.trusts(&root.join(folder)), trusted, "{folder}");
        }
    }
}
