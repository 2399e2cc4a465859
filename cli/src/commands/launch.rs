//! The face of `ao launch`; what it does stands in `crate::launch`.

use std::path::PathBuf;

use crate::fail::Fail;

/// Become the agent that a private file describes; run by runtimes
#[derive(Debug, clap::Args)]
#[command(hide = true)]
pub(crate) struct Cmd {
    /// The file
    file: PathBuf,
}

impl Cmd {
    pub(crate) fn run(&self) -> Result<u8, Fail> {
        Ok(crate::launch::run(&[self.file.clone().into_os_string()]))
    }
}
