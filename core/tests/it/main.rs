//! The server as a whole, on plugins that live in memory, on disks that fail and by clocks that jump.

mod clock;
mod crash;
mod disk;
mod fakes;
mod harness;
mod human;
mod life;
mod load;
mod lost;
mod plugins;
mod server;
mod typing;
