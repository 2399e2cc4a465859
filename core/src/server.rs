//! The server: one loop that commits what `decide` concludes, lanes that perform it, a sweep that looks.

mod access;
mod alive;
mod clock;
mod guard;
mod handle;
mod hooks;
mod lane;
mod look;
mod projection;
mod run;
mod scm;
mod signs;
mod spool;
mod start;
mod sweep;
#[cfg(test)]
mod tests;

pub use clock::{Clock, SystemClock};
pub use handle::{Handle, HookAnswer, HookCall, Pressable, ReportCall, Served, SpawnCall};
pub use lane::{random_token, token_hash};
pub use start::{Options, Server, StartError};

/// The link below the run folder through which agents reach their human's SSH agent. Clients renew it.
pub const SSH_AGENT: &str = "ssh-agent.sock";
