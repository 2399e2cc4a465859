//! Refs, and which names a branch can have.

/// A local branch or another ref, as `for-each-ref` lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ref {
    /// The full name, e.g. `refs/heads/main`.
    pub name: String,
    /// The full object name of what it points to.
    pub oid: String,
    /// The full name of the ref that it stands for, if it is symbolic.
    pub symref: Option<String>,
}

/// Reads `<refname> <objectname> <symref>` lines; the last may be empty, and none has a space.
pub(super) fn parse_refs(listed: &[u8]) -> Vec<Ref> {
    String::from_utf8_lossy(listed)
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').map(str::to_owned);
            let (name, oid) = (fields.next()?, fields.next()?);
            Some(Ref { name, oid, symref: fields.next().filter(|name| !name.is_empty()) })
        })
        .collect()
}

/// Whether git takes it as the name of a branch (git-check-ref-format(1), for `refs/heads/<name>`): such a name
/// holds no revision syntax either.
pub fn is_branch(name: &str) -> bool {
    let bad = |c: char| c.is_ascii_control() || " ~^:?*[\\".contains(c);
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    name.len() <= 240
        && !name.contains(bad)
        && !name.contains("..")
        && !name.contains("@{")
        && !name.ends_with('.')
        && !name.starts_with('-')
        && name != "HEAD"
        && name.split('/').all(part)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    const NAMES: [&str; 22] = [
        "main",
        "ao/41-fix-login",
        "$(touch P)",
        "`x`",
        "a;b",
        "a\nb",
        "--upload-pack=x",
        "-oProxyCommand",
        "a\u{3000}b",
        "a\u{202e}b",
        "a@{1}",
        "x.lock",
        "x.lock/y",
        "a..b",
        ".a",
        "a/.b",
        "a//b",
        "a/",
        "/a",
        "a.",
        "",
        "🎉",
    ];

    #[test]
    fn s13_a_valid_name_is_one_that_git_takes() {
        for name in NAMES {
            let git = Command::new("git")
                .args(["check-ref-format", "--branch"])
                .arg(name)
                .current_dir("/")
                .stderr(Stdio::null())
                .stdout(Stdio::null())
                .status()
                .unwrap()
                .success();
            // `@{1}` means another branch there, where there is a repository.
            assert_eq!(is_branch(name), git, "{name:?}");
        }
        assert!(!is_branch(&"x".repeat(300)));
    }
}
