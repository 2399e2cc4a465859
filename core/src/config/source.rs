//! Configuration files: where they are found, how they are read, what is remembered of them.

use std::{
    fs::{File, OpenOptions},
    io::Read,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    error::{ConfigError, Report},
    tree::MAX_BYTES,
};
use crate::blob::sha256;

/// The name of a configuration file in a repository.
pub const FILE_NAME: &str = "agent-orchestrator.yaml";

/// How a file came to be read: decides what counts in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Named by `--config`. Within a repository it needs trust all the same: others may have written it.
    Given,
    /// The user's own, `~/.config/ao/config.yaml`.
    User,
    /// Found in or above a working directory, and registered since.
    Registered,
}

/// One file, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Where it lies, absolute.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// How it came to be read.
    pub role: Role,
    /// Whether it lies in a repository, and so may hold what others wrote.
    pub in_repository: bool,
    /// The text that a human trusted last; none = never. Only asked for where a file needs trust.
    pub trusted: Option<String>,
}

impl SourceFile {
    /// Reads a file: a regular one of at most 1 MiB of UTF-8. `trusted` is none.
    ///
    /// # Errors
    /// One, when it cannot be read; it marks nothing.
    pub fn read(path: &Path, role: Role) -> Result<Self, Vec<ConfigError>> {
        let text = read_text(path).map_err(|(message, help)| {
            let mut report = Report::new(path, "");
            report.add(&(0..0), message, "", help);
            report.into_errors()
        })?;
        let in_repository = in_repository(path);
        Ok(Self { path: path.to_owned(), text, role, in_repository, trusted: None })
    }

    /// What identifies the content that a human trusts: its SHA-256 in lower hex.
    pub fn hash(&self) -> String {
        sha256(self.text.as_bytes())
    }

    /// Whether some of its keys count only when a human trusts them.
    pub fn needs_trust(&self) -> bool {
        self.in_repository
            && self.role != Role::User
            && self.trusted.as_deref() != Some(self.text.as_str())
    }

    /// The folder that relative paths in it start from.
    pub(super) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }
}

fn read_text(path: &Path) -> Result<String, (String, Option<String>)> {
    let failed = |error: std::io::Error| (format!("the file cannot be read: {error}"), None);
    // Without O_NONBLOCK the opening of a pipe would wait for a writer.
    let flags = nix::fcntl::OFlag::O_NONBLOCK.bits();
    let file: File =
        OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(("this is not a regular file".into(), None));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > MAX_BYTES {
        return Err(("the file is larger than 1 MiB".into(), None));
    }
    String::from_utf8(bytes)
        .map_err(|_| ("the file is not UTF-8".into(), Some("save it as UTF-8".into())))
}

/// The configuration file in `start` or the nearest folder above it that has one.
///
/// None below `worktree_dir`: a workspace is an agent's, and its file is not a human's word. A caller with a
/// session in its environment does not look at all.
pub fn find(start: &Path, worktree_dir: &Path) -> Option<PathBuf> {
    if start.starts_with(worktree_dir) {
        return None;
    }
    start.ancestors().map(|folder| folder.join(FILE_NAME)).find(|path| path.is_file())
}

/// Whether a file lies in a repository: a folder above it has a `.git`.
pub fn in_repository(path: &Path) -> bool {
    path.ancestors().skip(1).any(|folder| folder.join(".git").symlink_metadata().is_ok())
}

/// The files that the server was told of, in the order of their registration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Registered(Vec<PathBuf>);

impl Registered {
    /// Adds a file, absolute; false when it is known already.
    pub fn add(&mut self, path: &Path) -> bool {
        let new = !self.0.iter().any(|known| known == path);
        if new {
            self.0.push(path.to_owned());
        }
        new
    }

    /// Forgets a file; false when it was not known.
    pub fn forget(&mut self, path: &Path) -> bool {
        let before = self.0.len();
        self.0.retain(|known| known != path);
        self.0.len() < before
    }

    /// The files.
    pub fn paths(&self) -> &[PathBuf] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_found_upwards_but_never_from_a_workspace() {
        let dir = tempfile::tempdir().unwrap();
        let repo = dir.path().join("repo");
        let deep = repo.join("a/b");
        let workspace = dir.path().join("worktrees/my-app/app-1");
        fs::create_dir_all(&deep).unwrap();
        fs::create_dir_all(&workspace).unwrap();
        fs::create_dir_all(repo.join(".git")).unwrap();
        fs::write(repo.join(FILE_NAME), "port: 1\n").unwrap();
        fs::write(workspace.join(FILE_NAME), "port: 1\n").unwrap();
        let worktrees = dir.path().join("worktrees");
        assert_eq!(find(&deep, &worktrees), Some(repo.join(FILE_NAME)));
        assert_eq!(find(&workspace, &worktrees), None);
        assert_eq!(find(dir.path(), &worktrees), None);

        let file = SourceFile::read(&repo.join(FILE_NAME), Role::Registered).unwrap();
        assert!(file.in_repository && file.needs_trust());
        let trusted = SourceFile { trusted: Some(file.text.clone()), ..file.clone() };
        assert!(!trusted.needs_trust());
        assert!(!SourceFile { role: Role::User, ..file.clone() }.needs_trust());
        assert!(!SourceFile { in_repository: false, ..file }.needs_trust());
    }

    #[test]
    fn s28_what_is_no_plain_small_text_is_refused_without_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let big = dir.path().join("big");
        fs::write(&big, vec![b'#'; MAX_BYTES + 1]).unwrap();
        let latin = dir.path().join("latin");
        fs::write(&latin, b"a: \xe9\n").unwrap();
        for (path, wanted) in [
            (pipe.as_path(), "this is not a regular file"),
            (Path::new("/dev/zero"), "this is not a regular file"),
            (dir.path(), "this is not a regular file"),
            (big.as_path(), "the file is larger than 1 MiB"),
            (latin.as_path(), "the file is not UTF-8"),
            (
                Path::new("/no/such/file"),
                "the file cannot be read: No such file or directory (os error 2)",
            ),
        ] {
            let error = SourceFile::read(path, Role::Given).unwrap_err().remove(0);
            assert_eq!((error.message.as_str(), error.line), (wanted, 1), "{path:?}");
        }
    }

    #[test]
    fn the_list_of_files_keeps_order_and_holds_each_once() {
        let mut files = Registered::default();
        assert!(files.add(Path::new("/b/x")) && files.add(Path::new("/a/x")));
        assert!(!files.add(Path::new("/b/x")));
        assert!(files.forget(Path::new("/b/x")) && !files.forget(Path::new("/b/x")));
        assert_eq!(files.paths(), [PathBuf::from("/a/x")]);
        assert_eq!(serde_json::to_string(&files).unwrap(), "[\"/a/x\"]");
    }
}
