//! Ids, facts and the seven plugin slots of `ao`.
//!
//! Everything here is data and contracts: no runtime, no socket, no environment. The same messages cross
//! to third-party plugins, so each is plain serde. Read in this order: ids, facts, what every call
//! carries, then one module a slot.

pub mod call;
pub mod fact;
pub mod id;
pub mod plugin;
pub mod process;
pub mod text;

pub mod agent;
pub mod notifier;
pub mod runtime;
pub mod scm;
pub mod terminal;
pub mod tracker;
pub mod workspace;

pub use call::{Call, ErrorKind, PluginError};
pub use id::*;
