//! What a repository's own configuration may not do.
//!
//! An agent can write `.git/config` and `config.worktree`, so nothing that these files name is executed by us:
//! such a key is overridden with the user's own value (global or system configuration), or switched off.
//! `.gitattributes` only chooses among drivers, it defines none.

use std::{collections::BTreeMap, ffi::OsString, os::unix::ffi::OsStringExt};

/// The configuration of one repository, by who wrote it.
#[derive(Debug, Default)]
pub struct Config {
    /// False before it is read.
    is_known: bool,
    user: BTreeMap<Vec<u8>, Vec<u8>>,
    own: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Config {
    /// Reads `git config --list --show-scope -z`: `<scope> NUL <key> LF <value> NUL`; the last one of a key counts.
    pub(super) fn parse(listed: &[u8]) -> Self {
        let mut config = Self { is_known: true, ..Self::default() };
        let mut fields = listed.split(|byte| *byte == 0);
        while let (Some(scope), Some(entry)) = (fields.next(), fields.next()) {
            let end = entry.iter().position(|byte| *byte == b'\n');
            let key = entry[..end.unwrap_or(entry.len())].to_vec();
            // A key without `=` is a boolean that is true.
            let value = end.map_or(b"true".to_vec(), |end| entry[end + 1..].to_vec());
            match scope {
                b"local" | b"worktree" => config.own.insert(key, value),
                b"command" => None,
                _ => config.user.insert(key, value),
            };
        }
        config
    }

    /// The value that counts, as text.
    pub fn get(&self, key: &str) -> Option<String> {
        let value = self.own.get(key.as_bytes()).or_else(|| self.user.get(key.as_bytes()))?;
        Some(String::from_utf8_lossy(value).into_owned())
    }

    /// Whether a boolean is set and true.
    pub fn is_true(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| {
            matches!(value.to_ascii_lowercase().as_str(), "true" | "yes" | "on" | "1")
        })
    }

    /// Names of the repository's remotes.
    pub fn remotes(&self) -> Vec<String> {
        let mut names: Vec<String> = [&self.own, &self.user]
            .into_iter()
            .flat_map(BTreeMap::keys)
            .filter_map(|key| {
                let key = std::str::from_utf8(key).ok()?;
                Some(key.strip_prefix("remote.")?.strip_suffix(".url")?.to_owned())
            })
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// Filters of the repository's own configuration that were switched off.
    pub fn switched_off(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .own
            .keys()
            .filter(|key| key.starts_with(b"filter.") && !self.user.contains_key(*key))
            .filter_map(|key| {
                let (section, _) = std::str::from_utf8(key).ok()?.rsplit_once('.')?;
                Some(section.strip_prefix("filter.")?.to_owned())
            })
            .collect();
        names.dedup();
        names
    }

    /// The repository's own key that would run a program when git talks to a remote.
    pub fn runs_on_network(&self) -> Option<String> {
        let runs = |key: &&Vec<u8>| {
            let (section, name) = parts(key);
            let names: &[&[u8]] = match section {
                b"core" => &[b"sshcommand", b"gitproxy", b"askpass", b"alternaterefscommand"],
                b"credential" => &[b"helper"],
                b"remote" => &[b"uploadpack", b"receivepack", b"vcs"],
                _ => &[],
            };
            names.contains(&name)
        };
        self.own.keys().find(runs).map(|key| String::from_utf8_lossy(key).into_owned())
    }

    /// Whether a partial clone may fetch an object that it lacks: git does so in any call that needs one.
    pub(super) fn may_fetch(&self) -> bool {
        self.is_known && self.runs_on_network().is_none()
    }

    /// The environment that overrides every key which would execute something.
    pub(super) fn overrides(&self) -> Vec<(OsString, OsString)> {
        let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        for key in self.own.keys() {
            if let Some(neutral) = neutral(key) {
                let value = self.user.get(key).cloned().unwrap_or_else(|| neutral.to_vec());
                pairs.push((key.clone(), value));
            }
        }
        // Hooks named in configuration files (git 2.54) have no folder to point elsewhere: the user's too.
        for key in self.own.keys().chain(self.user.keys()) {
            if let (b"hook", b"command" | b"event") = parts(key) {
                let section = &key[..key.iter().rposition(|byte| *byte == b'.').unwrap_or(0)];
                pairs.push(([section, b".enabled"].concat(), b"false".to_vec()));
            }
        }
        let mut env = vec![("GIT_CONFIG_COUNT".into(), pairs.len().to_string().into())];
        if !self.may_fetch() {
            env.push(("GIT_NO_LAZY_FETCH".into(), "1".into()));
        }
        for (at, (key, value)) in pairs.into_iter().enumerate() {
            env.push((format!("GIT_CONFIG_KEY_{at}").into(), OsString::from_vec(key)));
            env.push((format!("GIT_CONFIG_VALUE_{at}").into(), OsString::from_vec(value)));
        }
        env
    }
}

/// The section and the last part of a key: `filter.a.b.smudge` is `filter`, `smudge`. Git lists both in lower case.
fn parts(key: &[u8]) -> (&[u8], &[u8]) {
    let dot = |byte: &u8| *byte == b'.';
    let section = key.iter().position(dot).unwrap_or(key.len());
    let name = key.iter().rposition(dot).map_or(key.len(), |at| at + 1);
    (&key[..section], &key[name..])
}

/// The value that makes a key harmless; none for keys that execute nothing when we call git.
fn neutral(key: &[u8]) -> Option<&'static [u8]> {
    Some(match parts(key) {
        (b"filter", b"clean" | b"smudge" | b"process") => b"",
        // Without its program a required filter would fail every checkout.
        (b"filter", b"required") => b"false",
        (b"diff", b"command" | b"textconv" | b"external") => b"",
        (b"merge", b"driver") => b"false",
        // `-s <name>` runs `git-merge-<name>`.
        (b"branch", b"mergeoptions") => b"",
        (b"submodule", b"update") => b"checkout",
        // A git before 2.45 fetches all the same what a partial clone lacks.
        (b"remote", b"uploadpack") => b"git-upload-pack",
        (b"core", b"sshcommand") => b"ssh",
        (b"core", b"editor" | b"pager" | b"alternaterefscommand") => b"false",
        (b"gpg", b"program") if key.starts_with(b"gpg.ssh.") => b"ssh-keygen",
        (b"gpg", b"program") if key.starts_with(b"gpg.x509.") => b"gpgsm",
        (b"gpg", b"program") => b"gpg",
        (b"gpg", b"defaultkeycommand") => b"",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(entries: &[(&str, &str, &str)]) -> Config {
        let mut listed = Vec::new();
        for (scope, key, value) in entries {
            listed.extend_from_slice(format!("{scope}\0{key}\n{value}\0").as_bytes());
        }
        Config::parse(&listed)
    }

    fn overridden(config: &Config) -> Vec<(String, String)> {
        let env = config.overrides();
        let text = |value: &OsString| value.to_string_lossy().into_owned();
        let pairs = env.iter().filter(|(name, _)| {
            ["GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_"]
                .iter()
                .any(|prefix| name.to_string_lossy().starts_with(prefix))
        });
        let pairs: Vec<_> = pairs.collect();
        pairs.chunks(2).map(|pair| (text(&pair[0].1), text(&pair[1].1))).collect()
    }

    #[test]
    fn s31_what_the_repository_names_is_overridden_by_the_user_or_by_nothing() {
        for (entries, expected) in [
            (vec![("local", "filter.x.smudge", "evil")], vec![("filter.x.smudge", "")]),
            (vec![("worktree", "filter.a.b.process", "evil")], vec![("filter.a.b.process", "")]),
            (
                vec![("global", "filter.lfs.clean", "mine"), ("local", "filter.lfs.clean", "evil")],
                vec![("filter.lfs.clean", "mine")],
            ),
            (vec![("global", "filter.lfs.clean", "mine")], vec![]),
            (
                vec![("local", "branch.main.mergeoptions", "-s evil")],
                vec![("branch.main.mergeoptions", "")],
            ),
            (vec![("local", "filter.x.required", "true")], vec![("filter.x.required", "false")]),
            (vec![("local", "diff.x.textconv", "evil")], vec![("diff.x.textconv", "")]),
            (vec![("local", "gpg.ssh.program", "evil")], vec![("gpg.ssh.program", "ssh-keygen")]),
            (vec![("system", "hook.lint.command", "lint")], vec![("hook.lint.enabled", "false")]),
            (
                vec![("local", "remote.x.uploadpack", "evil")],
                vec![("remote.x.uploadpack", "git-upload-pack")],
            ),
            (vec![("local", "user.name", "Ana"), ("local", "core.bare", "false")], vec![]),
        ] {
            let expected: Vec<(String, String)> =
                expected.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
            assert_eq!(overridden(&config(&entries)), expected, "{entries:?}");
        }
    }

    #[test]
    fn s31_a_program_for_the_network_is_named() {
        for key in ["core.sshcommand", "credential.https://x.y.helper", "remote.origin.uploadpack"]
        {
            let found = config(&[("local", key, "evil")]).runs_on_network();
            assert_eq!(found.as_deref(), Some(key));
            assert_eq!(config(&[("global", key, "mine")]).runs_on_network(), None);
            assert!(!config(&[("local", key, "evil")]).may_fetch());
        }
        assert!(config(&[]).may_fetch() && !Config::default().may_fetch());
    }

    #[test]
    fn values_are_read_by_scope_and_last_one_counts() {
        let config = Config::parse(
            b"global\0core.x\na\0local\0core.x\nb\nc\0local\0core.flag\0local\0remote.up.url\nu\0",
        );
        assert_eq!(config.get("core.x").as_deref(), Some("b\nc"));
        assert!(config.is_true("core.flag"));
        assert_eq!(config.remotes(), ["up"]);
    }
}
