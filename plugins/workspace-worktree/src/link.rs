//! Links from a workspace to files of the main checkout: inside the repository only, nothing overwritten.

use std::{
    ffi::OsStr,
    fs::OpenOptions,
    io::{self, Write},
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt, fs::OpenOptionsExt},
    },
    path::{Component, Path, PathBuf},
};

use ao_sdk::git::read_small;
use ao_slots::{ErrorKind, PluginError};
use nix::{
    errno::Errno,
    fcntl::{OFlag, open, openat, readlinkat},
    sys::stat::{Mode, mkdirat},
    unistd::symlinkat,
};

use crate::checkout::Checkout;

/// One link to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    /// Its place in the workspace, and of its target in the main checkout.
    place: PathBuf,
    /// Where it points.
    target: PathBuf,
}

/// What became of a link.
#[derive(Debug, PartialEq, Eq)]
enum Placed {
    Made,
    /// Something else is at its place.
    Taken,
}

/// Checks the list by its text: relative, plain, and nothing of git's own.
pub(crate) fn check(places: &[String]) -> Result<(), PluginError> {
    for place in places {
        let plain = |part: Component<'_>| match part {
            Component::Normal(name) => !name.eq_ignore_ascii_case(".git"),
            _ => false,
        };
        let path = Path::new(place);
        if place.is_empty() || place.contains(char::is_control) || !path.components().all(plain) {
            return Err(outside(place, "it is not a plain path inside the repository"));
        }
    }
    Ok(())
}

/// Looks up the targets below the main checkout. Those that are missing become notes; one that leads out of the
/// repository is an error before anything is made.
pub(crate) fn find(
    root: &Path,
    places: &[String],
    notes: &mut Vec<String>,
) -> Result<Vec<Link>, PluginError> {
    let root = root.canonicalize().map_err(|cause| {
        PluginError::new(ErrorKind::NotFound, format!("no folder at {}", root.display()), cause)
    })?;
    let mut links = Vec::new();
    for place in places {
        let target = root.join(place);
        match target.canonicalize() {
            Ok(real) if real.starts_with(&root) && real != root => {
                links.push(Link { place: place.into(), target });
            }
            Ok(_) => return Err(outside(place, "it leads out of the repository")),
            Err(cause) => notes.push(format!("`{place}` was not linked: {cause}")),
        }
    }
    Ok(links)
}

fn outside(place: &str, cause: &str) -> PluginError {
    let place = ao_slots::text::one_line(place);
    PluginError::new(ErrorKind::Refused, format!("`{place}` in `symlinks` cannot be linked"), cause)
        .with_remedy("name files below the repository's root, e.g. `node_modules`")
}

/// Makes the links, and keeps git from seeing those that no ignore rule covers: a rule like `node_modules/` matches
/// folders only, and an agent that adds everything would commit the link.
pub(crate) async fn make(
    checkout: &Checkout,
    common: &Path,
    links: &[Link],
    notes: &mut Vec<String>,
) -> Result<(), PluginError> {
    for link in links {
        let shown = link.place.display();
        match place(&checkout.path, link) {
            Ok(Placed::Made) => {}
            Ok(Placed::Taken) => {
                notes.push(format!("`{shown}` was not linked: the workspace has one"));
                continue;
            }
            Err(cause) => {
                notes.push(format!("`{shown}` was not linked: {cause}"));
                continue;
            }
        }
        let ignored = checkout.git.cmd("check-ignore").args(["--quiet", "--no-index", "--"]);
        if ignored.arg(&link.place).holds().await? {
            continue;
        }
        notes.push(match exclude(common, &link.place) {
            Ok(()) => {
                format!("`{shown}` was added to info/exclude, so that the link is not committed")
            }
            Err(cause) => format!("`{shown}` is not ignored, git sees the link: {cause}"),
        });
    }
    Ok(())
}

/// Makes one link, going down from the root of the file system by folders alone: a link on the way, also one put
/// there this very moment, is not followed.
fn place(workspace: &Path, link: &Link) -> io::Result<Placed> {
    let name = link.place.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut folder = open("/", FOLDER, Mode::empty())?;
    for part in workspace.components().skip(1) {
        folder = enter(&folder, part.as_os_str())?;
    }
    for part in link.place.parent().into_iter().flat_map(Path::components) {
        match mkdirat(&folder, part.as_os_str(), Mode::S_IRWXU | Mode::S_IRWXG | Mode::S_IRWXO) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(error.into()),
        }
        folder = enter(&folder, part.as_os_str())?;
    }
    match symlinkat(&link.target, &folder, name) {
        Ok(()) => Ok(Placed::Made),
        Err(Errno::EEXIST) if readlinkat(&folder, name).is_ok_and(|to| *to == *link.target) => {
            Ok(Placed::Made)
        }
        Err(Errno::EEXIST) => Ok(Placed::Taken),
        Err(error) => Err(error.into()),
    }
}

/// A folder that is only passed through needs no right to list it.
#[cfg(target_os = "linux")]
const FOLDER: OFlag =
    OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
#[cfg(not(target_os = "linux"))]
const FOLDER: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

fn enter(folder: &OwnedFd, name: &OsStr) -> nix::Result<OwnedFd> {
    openat(folder, name, FOLDER, Mode::empty())
}

/// Adds one path to the repository's own list of ignored files.
fn exclude(common: &Path, place: &Path) -> io::Result<()> {
    let info = common.join("info");
    match std::fs::create_dir(&info) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let path = info.join("exclude");
    let line = pattern(place);
    let known = read_small(&path).unwrap_or_default();
    if known.split(|byte| *byte == b'\n').any(|known| known == line) {
        return Ok(());
    }
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let mut file = OpenOptions::new().append(true).create(true).custom_flags(flags).open(path)?;
    let start: &[u8] = if known.is_empty() || known.ends_with(b"\n") { b"" } else { b"\n" };
    file.write_all(&[start, &line, b"\n"].concat())
}

/// The gitignore(5) pattern for exactly this path.
fn pattern(place: &Path) -> Vec<u8> {
    let mut pattern = vec![b'/'];
    for byte in place.as_os_str().as_bytes() {
        if b"*?[\\ !#".contains(byte) {
            pattern.push(b'\\');
        }
        pattern.push(*byte);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::symlink,
        sync::atomic::{AtomicBool, Ordering},
    };

    use super::*;

    fn list(places: &[&str]) -> Vec<String> {
        places.iter().map(|place| (*place).to_owned()).collect()
    }

    #[test]
    fn s29_only_plain_paths_inside_the_repository_may_be_linked() {
        for bad in ["../x", "/etc/passwd", "a/../../x", "", ".", ".git/config", "a/.GIT", "a\nb"] {
            assert_eq!(check(&list(&[bad])).unwrap_err().kind, ErrorKind::Refused, "{bad:?}");
        }
        check(&list(&[".env", "web/node_modules", ".github/x"])).unwrap();
    }

    #[test]
    fn s29_a_target_that_leads_out_is_refused_and_a_missing_one_noted() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("repo");
        fs::create_dir_all(root.join("real")).unwrap();
        symlink("/etc", root.join("out")).unwrap();
        symlink("real", root.join("in")).unwrap();
        let mut notes = Vec::new();
        let found = find(&root, &list(&["real", "in", "none"]), &mut notes).unwrap();
        assert_eq!((found.len(), notes.len()), (2, 1));
        for bad in ["out", "out/passwd"] {
            assert_eq!(
                find(&root, &list(&[bad]), &mut notes).unwrap_err().kind,
                ErrorKind::Refused
            );
        }
    }

    #[test]
    fn s28_no_link_on_the_way_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let (workspace, secret) = (root.join("w"), root.join("secret"));
        fs::create_dir_all(workspace.join("sub")).unwrap();
        fs::create_dir(&secret).unwrap();
        symlink(&secret, workspace.join("trap")).unwrap();
        let link = |place: &str| Link { place: place.into(), target: root.join("target") };
        assert!(place(&workspace, &link("trap/key")).is_err());
        assert_eq!(place(&workspace, &link("sub/deep/key")).unwrap(), Placed::Made);
        assert_eq!(place(&workspace, &link("sub/deep/key")).unwrap(), Placed::Made);
        fs::write(workspace.join("tracked"), "mine").unwrap();
        assert_eq!(place(&workspace, &link("tracked")).unwrap(), Placed::Taken);
        assert_eq!(fs::read_to_string(workspace.join("tracked")).unwrap(), "mine");
        assert_eq!(fs::read_dir(secret).unwrap().count(), 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn s28_a_folder_that_is_swapped_for_a_link_leads_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let (workspace, secret) = (root.join("w"), root.join("secret"));
        fs::create_dir_all(workspace.join("sub")).unwrap();
        fs::create_dir(&secret).unwrap();
        let (sub, trap) = (workspace.join("sub"), root.join("trap"));
        symlink(&secret, &trap).unwrap();
        use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    renameat2(AT_FDCWD, &sub, AT_FDCWD, &trap, RenameFlags::RENAME_EXCHANGE)
                        .unwrap();
                }
            });
            for number in 0..500 {
                let place_at = PathBuf::from(format!("sub/{number}"));
                let link = Link { place: place_at, target: root.join("target") };
                let _either = place(&workspace, &link);
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert_eq!(fs::read_dir(secret).unwrap().count(), 0);
    }

    #[test]
    fn an_ignore_pattern_means_one_path() {
        assert_eq!(pattern(Path::new("a b/[x]*")), b"/a\\ b/\\[x]\\*");
    }
}
