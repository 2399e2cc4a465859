//! The configuration: files in, one [`policy::Policy`] out.

mod check;
mod error;
mod file;
pub mod policy;
mod prefix;
mod source;
mod tree;
pub mod trigger;
mod units;
mod vars;

pub use error::ConfigError;
pub use file::config_schema;
pub use source::{FILE_NAME, Registered, Role, SourceFile, find, in_repository};
