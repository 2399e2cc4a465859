//! The clocks, injected so that a test can sleep for a year.

use std::fmt;

use jiff::Timestamp;

/// Tells the time by both clocks.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Wall time.
    fn wall(&self) -> Timestamp;

    /// Milliseconds that stand still while the machine sleeps, counted from some moment of this boot.
    fn monotonic_ms(&self) -> u64;
}

/// The machine's own clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic_ms(&self) -> u64 {
        // On Linux CLOCK_MONOTONIC stands still in sleep; macOS counts it as UPTIME_RAW does (clock_gettime(2)).
        #[cfg(not(target_os = "macos"))]
        let clock = nix::time::ClockId::CLOCK_MONOTONIC;
        #[cfg(target_os = "macos")]
        let clock = nix::time::ClockId::from_raw(8);
        // The call cannot fail for a clock that every supported kernel has; 0 only makes limits later.
        clock.now().map_or(0, |time| {
            let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
            seconds * 1_000 + u64::try_from(time.tv_nsec()).unwrap_or(0) / 1_000_000
        })
    }
}
