//! Configuration, journal, state, decisions and the server loop of `ao`.
//!
//! Names no plugin, opens no socket, reads no environment. In reading order: what is configured, what is
//! recorded, what is known, what follows from it, what is said to a human, and the loop that drives it all.

pub mod blob;
pub mod config;
pub mod decide;
pub mod disk;
pub mod event;
pub mod journal;
pub mod registry;
pub mod server;
pub mod state;
pub mod stats;
pub mod why;
pub mod words;

pub use ao_slots as slots;
