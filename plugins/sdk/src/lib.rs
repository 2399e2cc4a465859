//! What plugins share with each other, and `ao` itself does not need.

pub mod body;
pub mod git;
pub mod group;
#[cfg(feature = "http")]
pub mod http;
pub mod local;
mod secret;

pub use secret::Secret;
