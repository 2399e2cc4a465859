//! What plugins share with each other, and `ao` itself does not need.

pub mod body;
mod digest;
pub mod git;
pub mod group;
#[cfg(feature = "http")]
pub mod http;
pub mod local;
pub mod log;
mod secret;

pub use digest::{digest, hex};
pub use secret::Secret;
