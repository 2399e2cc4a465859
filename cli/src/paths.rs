//! Where things lie. Client and server find each other by the data directory alone.

use std::path::{Path, PathBuf};

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
        None => temp_dir.join(format!("{name}-{}", nix::unistd::Uid::current())),
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
}
