//! Processes that a run left, found by a variable that all of them inherit: also those that left its process group.

use std::time::{Duration, Instant};

use ao_slots::process::{ProcessId, Signal};

/// The variable.
pub(crate) const MARK: &str = "AO_CHECK_RUN";

/// How long a killed process may take to be gone.
const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(10);

/// Kills every process of a run and sees it go. Known on Linux only; elsewhere the run's leader alone is ended.
pub(crate) async fn end(mark: &str, leader: Option<ProcessId>) {
    let entry = format!("{MARK}={mark}").into_bytes();
    let ended = tokio::task::spawn_blocking(move || {
        if let Some(leader) = leader.filter(|leader| leader.is_alive()) {
            let _gone =
                nix::sys::signal::killpg(nix::unistd::Pid::from_raw(leader.pid), Signal::SIGKILL);
        }
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            let strays = marked(&entry);
            if strays.is_empty() {
                return;
            }
            for stray in strays {
                stray.signal(Signal::SIGKILL);
            }
            std::thread::sleep(POLL);
        }
    });
    let _done = ended.await;
}

fn marked(entry: &[u8]) -> Vec<ProcessId> {
    let numbers = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_marked = |pid: &i32| {
        // Others' processes cannot be read.
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|variable| variable == entry)
    };
    let me = i32::try_from(std::process::id()).unwrap_or(0);
    numbers.filter(|pid| *pid != me).filter(is_marked).filter_map(ProcessId::of).collect()
}
