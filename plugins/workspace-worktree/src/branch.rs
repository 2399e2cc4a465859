//! Branch names: which are safe, which are free, and which are ours.

use ao_slots::{SessionId, text};

/// A local branch or another ref, as `for-each-ref` lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ref {
    /// The full name, e.g. `refs/heads/main`.
    pub(crate) name: String,
    /// The full object name of what it points to.
    pub(crate) oid: String,
}

/// Reads `<refname> <objectname>` lines.
pub(crate) fn parse_refs(listed: &[u8]) -> Vec<Ref> {
    String::from_utf8_lossy(listed)
        .lines()
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(name, oid)| Ref { name: name.to_owned(), oid: oid.to_owned() })
        .collect()
}

/// Whether git takes it as the name of a branch (git-check-ref-format(1), for `refs/heads/<name>`): such a name
/// holds no revision syntax either.
pub(crate) fn is_valid(name: &str) -> bool {
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

/// The wanted name when every tool can take it, else its words: letters, digits and hyphens.
pub(crate) fn sanitise(wanted: &str, session: &SessionId) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./+".contains(c);
    if is_valid(wanted) && wanted.len() <= 120 && wanted.chars().all(plain) {
        return wanted.to_owned();
    }
    let parts: Vec<String> = wanted
        .split('/')
        .map(|part| text::slug(part, 60))
        .filter(|part| !part.is_empty())
        .collect();
    let mut name = parts.join("/");
    name.truncate(120);
    name.truncate(name.trim_end_matches(['-', '/']).len());
    if name.is_empty() { format!("ao/{session}") } else { name }
}

/// The first of `wanted`, `wanted-2`, `wanted-3` … that git can make beside `existing` branches. Names that differ
/// only in case are one file on some disks.
pub(crate) fn free<'a>(wanted: &str, existing: impl Iterator<Item = &'a str>) -> String {
    let existing: Vec<String> = existing.map(str::to_lowercase).collect();
    let inside = |name: &str, folder: &str| {
        name.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
    };
    let taken = |name: &str| {
        let name = name.to_lowercase();
        existing.iter().any(|other| *other == name || inside(other, &name) || inside(&name, other))
    };
    // With a branch `ao` no `ao/…` can exist, whatever its number.
    let below = existing.iter().any(|other| inside(&wanted.to_lowercase(), other));
    let wanted = if below { wanted.replace('/', "-") } else { wanted.to_owned() };
    let mut name = wanted.clone();
    let mut number = 2_u32;
    while taken(&name) {
        name = format!("{wanted}-{number}");
        number += 1;
    }
    name
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
            assert_eq!(is_valid(name), git, "{name:?}");
        }
        assert!(!is_valid(&"x".repeat(300)));
    }

    #[test]
    fn s13_names_from_outside_become_words() {
        let session: SessionId = "app-3".parse().unwrap();
        for (from, to) in [
            ("ao/41-fix-login", "ao/41-fix-login"),
            ("feature/A_b.c+d", "feature/A_b.c+d"),
            ("$(touch P)", "touch-p"),
            ("fix/`x`;\n--upload-pack=x", "fix/x-upload-pack-x"),
            ("-oProxyCommand", "oproxycommand"),
            ("a\u{3000}b@{1}.lock", "a-b-1-lock"),
            ("../../etc", "etc"),
            ("🎉/🎉", "ao/app-3"),
            ("", "ao/app-3"),
        ] {
            assert_eq!(sanitise(from, &session), to, "{from:?}");
        }
        assert!(sanitise(&"ab/".repeat(100), &session).len() <= 120);
    }

    #[test]
    fn a_taken_name_gets_a_number() {
        for (wanted, existing, expected) in [
            ("x", vec![], "x"),
            ("x", vec!["x"], "x-2"),
            ("x", vec!["X", "x-2"], "x-3"),
            ("ao/1", vec!["ao/1/deep"], "ao/1-2"),
            ("ao/1", vec!["ao"], "ao-1"),
            ("ao/1", vec!["ao", "ao-1"], "ao-1-2"),
        ] {
            assert_eq!(free(wanted, existing.into_iter()), expected);
        }
    }

    proptest::proptest! {
        #[test]
        fn s13_whatever_is_wanted_the_name_is_valid(wanted in "\\PC{0,300}") {
            let session: SessionId = "app-3".parse().unwrap();
            let name = sanitise(&wanted, &session);
            proptest::prop_assert!(is_valid(&name) && is_valid(&format!("{name}-99")), "{:?}", name);
        }
    }
}
