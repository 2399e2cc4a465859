//! The words that the command line understands. The doc of each is its help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::{commands, out::ColorChoice};

/// Runs coding agents side by side and calls you only when you are needed.
#[derive(Debug, Parser)]
#[command(
    name = "ao",
    version,
    disable_help_subcommand = true,
    propagate_version = true,
    max_term_width = 100,
    override_help = crate::help::FRONT,
    infer_long_args = false
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Print one JSON document instead of text
    #[arg(long, global = true, help_heading = "Output")]
    pub(crate) json: bool,
    /// When to use colours
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        help_heading = "Output"
    )]
    pub(crate) color: ColorChoice,
    /// Print only ASCII
    #[arg(long, global = true, help_heading = "Output")]
    pub(crate) ascii: bool,
    /// Print no hints
    #[arg(long, short, global = true, help_heading = "Output")]
    pub(crate) quiet: bool,
    /// Where all state lies [default: ~/.agent-orchestrator]
    #[arg(
        long,
        global = true,
        env = "AO_DATA_DIR",
        hide_env_values = true,
        value_name = "DIR",
        help_heading = "Where"
    )]
    pub(crate) data_dir: Option<PathBuf>,
    /// Use this configuration file, also for what counts in the user's file only
    #[arg(long, global = true, value_name = "FILE", help_heading = "Where")]
    pub(crate) config: Option<PathBuf>,
    /// Say yes where a command asks whether it may, else take the default; destructive ones excepted
    #[arg(long, global = true, help_heading = "Safety")]
    pub(crate) yes: bool,
    /// Ask nothing; fail where a question would be asked
    #[arg(long, global = true, help_heading = "Safety")]
    pub(crate) no_input: bool,
}

/// The commands, in the order of the help.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    // Run
    Init(commands::init::Cmd),
    Start(commands::start::Cmd),
    Stop(commands::stop::Cmd),
    Restart(commands::restart::Cmd),
    Spawn(commands::spawn::Cmd),
    BatchSpawn(commands::batch_spawn::Cmd),
    Send(commands::send::Cmd),
    Session(commands::session::Cmd),
    Open(commands::open::Cmd),
    Dashboard(commands::dashboard::Cmd),
    // Understand
    Status(commands::status::Cmd),
    Why(commands::why::Cmd),
    Logs(commands::logs::Cmd),
    Events(commands::events::Cmd),
    Doctor(commands::doctor::Cmd),
    // Review
    Pr(commands::pr::Cmd),
    ReviewCheck(commands::review_check::Cmd),
    Release(commands::release::Cmd),
    Retry(commands::retry::Cmd),
    Quota(commands::quota::Cmd),
    // Push
    Notify(commands::notify::Cmd),
    Ack(commands::ack::Cmd),
    Snooze(commands::snooze::Cmd),
    Silence(commands::silence::Cmd),
    Digest(commands::digest::Cmd),
    Answer(commands::answer::Cmd),
    Approve(commands::approve::Cmd),
    Deny(commands::deny::Cmd),
    // Configure
    Config(commands::config::Cmd),
    Plugin(commands::plugin::Cmd),
    Token(commands::token::Cmd),
    Completions(commands::completions::Cmd),
    Man(commands::man::Cmd),
    Help(commands::help::Cmd),
    // For agents
    Hook(commands::hook::Cmd),
    Report(commands::report::Cmd),
    Launch(commands::launch::Cmd),
    DemoAgent(commands::demo_agent::Cmd),
}
