//! Where things lie. Client and server find each other by the data directory alone.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use nix::unistd::Uid;

/// Most bytes of a socket's path: the kernel takes 107, some systems 103 (unix(7)).
const MOST: usize = 100;

/// The folder of sockets: `<dataDir>/run`, or a short private one where that path is too long.
pub(crate) fn run_dir(data_dir: &Path, runtime_dir: Option<&Path>, temp_dir: &Path) -> PathBuf {
    let run = data_dir.join("run");
    // The longest name in it.
    if run.join("tmux.sock").as_os_str().len() < MOST {
        return run;
    }
    let name = format!("ao-{:08x}", fnv(data_dir.as_os_str().as_encoded_bytes()));
    match runtime_dir {
        Some(dir) => dir.join(name),
        None => temp_dir.join(format!("{name}-{}", Uid::current())),
    }
}

/// The file that is there while the server rests because a human stopped it: no hook starts it then.
pub(crate) fn stopped(data_dir: &Path) -> PathBuf {
    data_dir.join("run/stopped")
}

/// Makes `<dataDir>` or a folder of it, 0700. One that is there must be this user's; what others may do there is taken
/// away. It may be a link that its owner made: to a larger disk, say.
pub(crate) fn make_own(dir: &Path) -> io::Result<()> {
    make(dir)?;
    let (link, real) = (fs::symlink_metadata(dir)?, fs::metadata(dir)?);
    is_ours(&link)?;
    is_ours(&real)?;
    match real.mode() & 0o077 {
        0 => Ok(()),
        _ => fs::set_permissions(dir, fs::Permissions::from_mode(real.mode() & 0o700)),
    }
}

/// Makes the short folder of sockets, 0700. Where it lies everybody can make folders: whatever else is there under its
/// name is somebody's trap, and is not used.
pub(crate) fn make_short(dir: &Path) -> io::Result<()> {
    make(dir)?;
    let found = fs::symlink_metadata(dir)?;
    is_ours(&found)?;
    let refused = |why: String| Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    match found.mode() & 0o7777 {
        _ if !found.is_dir() => refused("it is a link or a file, not a folder".into()),
        0o700 => Ok(()),
        mode => refused(format!("others may use it: its mode is {mode:o}, not 700")),
    }
}

fn make(dir: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().recursive(true).mode(0o700).create(dir) {
        // What is there instead is looked at.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn is_ours(found: &fs::Metadata) -> io::Result<()> {
    let (owner, us) = (found.uid(), Uid::current());
    match owner == us.as_raw() {
        true => Ok(()),
        false => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("it belongs to user {owner}, and this is user {us}"),
        )),
    }
}

/// FNV-1a, 32 bits: the same in every version, which is all that is asked of it.
fn fnv(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// An absolute path without `.`, `..` and `~`.
pub(crate) fn absolute(path: &Path, home: &Path) -> PathBuf {
    let path =
        path.strip_prefix("~").map(|rest| home.join(rest)).unwrap_or_else(|_| path.to_owned());
    std::path::absolute(&path).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_whose_path_would_be_too_long_lies_in_a_short_folder_of_its_own() {
        let temp = Path::new("/tmp");
        assert_eq!(
            run_dir(Path::new("/home/ana/.agent-orchestrator"), None, temp),
            Path::new("/home/ana/.agent-orchestrator/run")
        );
        let long = PathBuf::from(format!("/{}", "x".repeat(90)));
        let runtime = run_dir(&long, Some(Path::new("/run/user/1000")), temp);
        assert!(
            runtime.starts_with("/run/user/1000") && runtime.as_os_str().len() < 40,
            "{runtime:?}"
        );
        let other = PathBuf::from(format!("/{}", "y".repeat(90)));
        assert_ne!(run_dir(&long, None, temp), run_dir(&other, None, temp));
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn s44_a_folder_of_ours_is_closed_and_one_of_another_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("a/data");
        make_own(&data).unwrap();
        assert_eq!(mode(&data), 0o700);
        fs::set_permissions(&data, fs::Permissions::from_mode(0o777)).unwrap();
        make_own(&data).unwrap();
        assert_eq!(mode(&data), 0o700);
        std::os::unix::fs::symlink(&data, dir.path().join("link")).unwrap();
        make_own(&dir.path().join("link")).unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        assert!(make_own(&dir.path().join("file/data")).is_err());
        if Uid::current().is_root() {
            std::os::unix::fs::chown(&data, Some(1), None).unwrap();
            for path in [data.clone(), dir.path().join("link")] {
                let error = make_own(&path).unwrap_err().to_string();
                assert_eq!(error, "it belongs to user 1, and this is user 0");
            }
            assert!(make_short(&data).is_err());
        }
    }

    #[test]
    fn s44_the_short_folder_is_real_and_ours_alone_or_refused() {
        let dir = tempfile::tempdir().unwrap();
        let short = dir.path().join("ao-1");
        make_short(&short).unwrap();
        make_short(&short).unwrap();
        assert_eq!(mode(&short), 0o700);
        for open in [0o777, 0o750, 0o1777] {
            fs::set_permissions(&short, fs::Permissions::from_mode(open)).unwrap();
            let error = make_short(&short).unwrap_err().to_string();
            assert!(error.contains("not 700"), "{error}");
        }
        fs::set_permissions(&short, fs::Permissions::from_mode(0o700)).unwrap();
        let trap = dir.path().join("ao-2");
        std::os::unix::fs::symlink(&short, &trap).unwrap();
        assert!(make_short(&trap).unwrap_err().to_string().contains("a link"));
        fs::write(dir.path().join("ao-3"), "").unwrap();
        assert!(make_short(&dir.path().join("ao-3")).is_err());
    }
}
