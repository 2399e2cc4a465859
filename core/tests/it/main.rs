//! The server as a whole, on plugins that live in memory, on disks that fail and by clocks that jump.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

mod clock;
mod crash;
mod disk;
mod fakes;
mod golden;
mod guard;
mod harness;
mod histories;
mod human;
mod life;
mod load;
mod lost;
mod noise;
mod plugins;
mod presses;
mod projection;
mod pulls;
mod replay;
mod server;
mod slow;
mod snapshot;
mod typing;
