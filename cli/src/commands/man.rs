//! `ao man`.

use std::path::PathBuf;

use crate::{fail::Fail, out};

/// Write the man pages into a folder, or print the one of `ao` itself
///
/// Example: ao man ~/.local/share/man/man1
#[derive(Debug, clap::Args)]
pub(crate) struct Cmd {
    /// The folder
    folder: Option<PathBuf>,
}

impl Cmd {
    pub(crate) fn run(&self) -> Result<u8, Fail> {
        let mut command = super::command_line();
        command.build();
        let Some(folder) = &self.folder else {
            out::say(&page(command, "ao")?);
            return Ok(0);
        };
        std::fs::create_dir_all(folder)?;
        let mut count = 1_u64;
        std::fs::write(folder.join("ao.1"), page(command.clone(), "ao")?)?;
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
            let name = format!("ao-{}", sub.get_name());
            std::fs::write(folder.join(format!("{name}.1")), page(sub.clone(), &name)?)?;
            count += 1;
        }
        out::say(&format!(
            "Wrote {} to {}",
            ao_core::slots::text::count(count, "page", "pages"),
            folder.display()
        ));
        Ok(0)
    }
}

fn page(command: clap::Command, name: &str) -> Result<String, Fail> {
    let mut text = Vec::new();
    clap_mangen::Man::new(command).title(name.to_owned()).render(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let dir = tempfile::tempdir().unwrap();
        Cmd { folder: Some(dir.path().to_owned()) }.run().unwrap();
        let page = std::fs::read_to_string(dir.path().join("ao-spawn.1")).unwrap();
        assert!(page.contains(".TH ao-spawn") && page.contains("issue"), "{page}");
    }
}
