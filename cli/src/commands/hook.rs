//! The face of `ao hook`; what it does stands in `crate::hook`, which runs before the command line is parsed.

use crate::fail::Fail;

/// Report an event of an agent's own hook system; called by agents
///
/// Reads the event from standard input. Outside a session it does nothing. It never fails and
/// prints only what the agent is to read.
///
/// Example:
///   ao hook claude-code Stop < event.json
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Cmd {
    /// The agent plugin, e.g. claude-code
    agent: String,
    /// The event's name
    event: String,
}

impl Cmd {
    pub(crate) fn run(&self) -> Result<u8, Fail> {
        crate::hook::run(&[self.agent.clone().into(), self.event.clone().into()]);
        Ok(0)
    }
}
