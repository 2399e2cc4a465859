//! `ao help`.

use super::usage;
use crate::{
    fail::Fail,
    help::{FRONT, TOPICS},
    out,
};

/// Explain a topic or a command
///
/// Topics: push, config, exit-codes, permissions, server
///
/// Examples:
///   ao help push
///   ao help session kill
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Cmd {
    /// The topic or command
    #[arg(num_args = 0..)]
    words: Vec<String>,
}

impl Cmd {
    pub(crate) fn run(&self) -> Result<u8, Fail> {
        let Some(first) = self.words.first() else {
            out::say(FRONT);
            return Ok(0);
        };
        if let Some(topic) = TOPICS.iter().find(|topic| topic.name == first) {
            out::say(&format!("{}\n\n{}", topic.about, topic.text));
            return Ok(0);
        }
        let mut command = super::command_line();
        command.build();
        let mut found = Some(&mut command);
        for word in &self.words {
            found = found.and_then(|command| command.find_subcommand_mut(word));
        }
        if let Some(command) = found {
            out::say(&command.render_long_help().to_string());
            return Ok(0);
        }
        let topics: Vec<_> = TOPICS.iter().map(|topic| topic.name).collect();
        Err(usage(format!("there is no help on `{first}`"))
            .remedy(format!("ao help {}", topics.join(" | "))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_and_commands_are_explained_and_anything_else_names_the_topics() {
        for topic in TOPICS {
            assert!(!topic.about.is_empty() && topic.text.ends_with('\n'), "{}", topic.name);
            assert!(topic.text.lines().all(|line| line.chars().count() <= 110), "{}", topic.name);
        }
        let run = |word: &str| Cmd { words: vec![word.into()] }.run();
        assert_eq!(run("spawn"), Ok(0));
        assert!(run("spwan").unwrap_err().remedy.unwrap().contains("push"));
    }
}
