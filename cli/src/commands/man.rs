//! `ao man`.

use std::path::{Path, PathBuf};

use crate::{fail::Fail, out};

/// Write the man pages into a folder, or print the one of `ao` itself
///
/// Examples:
///   ao man ~/.local/share/man/man1
///   ao man | man -l -
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
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
        let count = write(&command, "ao", folder)?;
        out::say(&format!(
            "Wrote {} to {}",
            ao_core::slots::text::count(count, "page", "pages"),
            folder.display()
        ));
        Ok(0)
    }
}

/// Writes the page of a command and those of its verbs: `ao-session-kill.1`. Returns how many.
fn write(command: &clap::Command, name: &str, folder: &Path) -> Result<u64, Fail> {
    std::fs::write(folder.join(format!("{name}.1")), page(command.clone(), name)?)?;
    let mut count = 1;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        count += write(sub, &format!("{name}-{}", sub.get_name()), folder)?;
    }
    Ok(count)
}

fn page(command: clap::Command, name: &str) -> Result<String, Fail> {
    let mut text = Vec::new();
    let source = format!("ao {}", crate::VERSION);
    clap_mangen::Man::new(command).title(name.to_owned()).source(source).render(&mut text)?;
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
        for (name, words) in [("ao-session-kill", "ao session kill app"), ("ao-config-trust", "")] {
            let page = std::fs::read_to_string(dir.path().join(format!("{name}.1"))).unwrap();
            assert!(page.contains(&format!(".TH {name} 1  \"ao ")), "{page}");
            assert!(page.replace('\\', "").contains(words), "{page}");
        }
        assert!(!dir.path().join("ao-launch.1").exists(), "what only programs call has none");
    }
}
