//! `ao completions`.

use crate::fail::Fail;

/// Print completions for a shell
///
/// Examples:
///   ao completions bash > ~/.local/share/bash-completion/completions/ao
///   ao completions fish > ~/.config/fish/completions/ao.fish
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Cmd {
    /// The shell
    shell: clap_complete::Shell,
}

impl Cmd {
    pub(crate) fn run(&self) -> Result<u8, Fail> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::command_line(), "ao", &mut script);
        crate::out::say(&String::from_utf8_lossy(&script));
        Ok(0)
    }
}
