//! The configuration: files in, one [`policy::Policy`] out.

pub mod policy;
mod prefix;
pub mod trigger;
