//! Paths and names as a configuration writes them, checked by what text can tell.

use std::path::{Component, Path, PathBuf};

/// An absolute path: from `~/` the home folder, else from `folder`. `.` and `..` are taken out by text alone.
pub(super) fn absolute(text: &str, folder: &Path, home: &Path) -> Result<PathBuf, &'static str> {
    if text.is_empty() {
        return Err("a path is not empty");
    }
    let joined = match text.strip_prefix('~') {
        Some("") => home.to_owned(),
        Some(rest) => match rest.strip_prefix('/') {
            Some(rest) => home.join(rest.trim_start_matches('/')),
            None => return Err("only `~/` is read; write another user's folder out"),
        },
        None => folder.join(text),
    };
    let mut path = PathBuf::new();
    for part in joined.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                path.pop();
            }
            part => path.push(part),
        }
    }
    Ok(path)
}

/// A path within a repository, relative to its root.
pub(super) fn within(text: &str) -> Result<PathBuf, &'static str> {
    let mut path = PathBuf::new();
    for part in Path::new(text).components() {
        match part {
            Component::CurDir => {}
            Component::Normal(part) => path.push(part),
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err("it must lie within the repository");
            }
        }
    }
    if path.as_os_str().is_empty() {
        return Err("it must lie within the repository");
    }
    if path.starts_with(".git") {
        return Err("git's own folder is not shared");
    }
    if text.starts_with(['~', '-']) {
        return Err("a path within the repository begins with neither `~` nor `-`");
    }
    Ok(path)
}

/// Whether git takes this as a branch's name (git-check-ref-format), and no option or range hides in it.
pub(super) fn is_branch(name: &str) -> bool {
    let bad = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c);
    !name.is_empty()
        && name.len() <= 200
        && name != "@"
        && name != "HEAD"
        && !name.starts_with(['-', '/'])
        && !name.ends_with(['/', '.'])
        && !name.contains("..")
        && !name.contains("@{")
        && !name.contains(bad)
        && name
            .split('/')
            .all(|part| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock"))
}

/// Whether an address carries a password or a token: `https://token@host`, `ssh://ana:pass@host`.
pub(super) fn has_credentials(address: &str) -> bool {
    let Some((scheme, rest)) = address.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let Some((user, _)) = authority.rsplit_once('@') else { return false };
    user.contains(':') || scheme.to_ascii_lowercase().starts_with("http")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_start_from_home_or_the_files_folder() {
        for (text, wanted) in [
            ("~", Ok("/home/ana")),
            ("~/x/./y", Ok("/home/ana/x/y")),
            (".", Ok("/repo")),
            ("../other", Ok("/other")),
            ("../../../..", Ok("/")),
            ("/abs/a/../b", Ok("/abs/b")),
            ("~ben/x", Err("only `~/` is read; write another user's folder out")),
            ("", Err("a path is not empty")),
        ] {
            let path = absolute(text, Path::new("/repo"), Path::new("/home/ana"));
            assert_eq!(path, wanted.map(PathBuf::from), "{text:?}");
        }
    }

    #[test]
    fn s29_paths_out_of_the_repository_are_refused() {
        for bad in
            ["../x", "a/../../x", "/etc/passwd", "~/x", "", ".", ".git", ".git/hooks", "-x", "a/.."]
        {
            assert!(within(bad).is_err(), "{bad:?} was accepted");
        }
        for (good, wanted) in [(".env", ".env"), ("./a//b/", "a/b"), (".github/x", ".github/x")] {
            assert_eq!(within(good), Ok(PathBuf::from(wanted)));
        }
    }

    #[test]
    fn s13_a_branch_that_could_be_an_option_or_a_range_is_refused() {
        for bad in [
            "",
            "-x",
            "--upload-pack=x",
            "a..b",
            "a@{1}",
            "a b",
            "a\nb",
            "a.lock",
            "/a",
            "a/",
            "a//b",
            ".a",
            "@",
            "a:b",
            "HEAD",
        ] {
            assert!(!is_branch(bad), "{bad:?} was accepted");
        }
        for good in ["main", "release/1.2", "größe", "feature_x"] {
            assert!(is_branch(good), "{good:?} was refused");
        }
    }

    #[test]
    fn s32_credentials_in_an_address_are_seen() {
        for (address, wanted) in [
            ("https://github.com/acme/x", false),
            ("https://tok@github.com/acme/x", true),
            ("https://a:b@github.com/x", true),
            ("ssh://git@host/x", false),
            ("ssh://git:pass@host/x", true),
            ("git@github.com:acme/x", false),
            ("acme/x", false),
            ("https://host/x@y", false),
        ] {
            assert_eq!(has_credentials(address), wanted, "{address}");
        }
    }
}
