//! The scripted agent that `ao init` offers where no other is installed: it really edits and commits, asks one
//! question and says what it did, so that the first push comes even then.

use std::{
    fs,
    io::{self, BufRead},
    path::Path,
    process::{Command, Stdio},
};

use ao_core::slots::text::{cut, one_line};

use crate::{
    fail::{Exit, Fail},
    out,
};

/// What it writes to.
const FILE: &str = "ao-demo.md";

/// Play an agent: edits, asks, commits; for a first look at ao
#[derive(Debug, clap::Args)]
#[command(hide = true)]
pub(crate) struct Cmd {
    /// What it is told
    prompt: String,
}

/// How it stands in a configuration: by the link in the data directory, which an update of ao renews.
pub(crate) fn command() -> Vec<String> {
    let script = "exec \"$AO_DATA_DIR/run/ao\" demo-agent \"$1\"";
    ["sh", "-c", script, "demo", "{prompt}"].map(str::to_owned).to_vec()
}

impl Cmd {
    pub(crate) fn run(&self) -> Result<u8, Fail> {
        let task = cut(&one_line(&self.prompt), 80);
        out::say(&format!("A scripted demo agent. It was told: {task}"));
        report(&["working"])?;
        write(&format!("- told: {task}\n"))?;
        commit("Write down what the demo agent was told")?;
        let question = "A coupon was found. Should it also apply to shipping?";
        out::say(&format!("It asks: {question}"));
        let options = ["--option", "Items only", "--option", "Items and shipping", "--wait"];
        let answer = report(&[&["question", question], &options[..]].concat())?;
        out::say(&format!("It was answered: {answer}"));
        write(&format!("- answered: {}\n", cut(&one_line(&answer), 200)))?;
        commit("Write down the answer")?;
        report(&["completed", "Wrote down the task and the answer"])?;
        report(&["ready"])?;
        for line in io::stdin().lock().lines() {
            let line = line.map(|line| cut(&one_line(&line), 200))?;
            report(&["working"])?;
            write(&format!("- heard: {line}\n"))?;
            commit("Write down what the demo agent heard")?;
            report(&["ready"])?;
        }
        Ok(0)
    }
}

/// Says it as any agent does, and returns what is printed.
fn report(args: &[&str]) -> Result<String, Fail> {
    let mut command = Command::new(std::env::current_exe()?);
    run(command.arg("report").args(args))
}

fn write(line: &str) -> Result<(), Fail> {
    let before = match fs::read_to_string(FILE) {
        Ok(text) => text,
        Err(_) if !Path::new(FILE).exists() => "# What the demo agent did\n\n".to_owned(),
        Err(error) => return Err(error.into()),
    };
    fs::write(FILE, before + line)?;
    Ok(())
}

fn commit(subject: &str) -> Result<(), Fail> {
    run(Command::new("git").args(["add", "--", FILE]))?;
    run(Command::new("git").args(["commit", "-qm", subject, "--", FILE]))?;
    Ok(())
}

fn run(command: &mut Command) -> Result<String, Fail> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        let program = command.get_program().to_string_lossy().into_owned();
        return Err(Fail::new(Exit::Failed, format!("{program} ended with {}", output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}
