//! `ao report`: what an agent says of itself.

use std::time::{Duration, Instant};

use ao_core::server::ReportCall;
use ao_web::hooks::Reported;
use serde::Serialize;

use crate::{
    cx::Cx,
    fail::{Exit, Fail},
    hook, out, paths,
};

/// How long a report may take before it is put into the spool; while the server rests it goes there at once.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long an answer is waited for.
const ANSWER: Duration = Duration::from_secs(86_400);

/// A report that waits for the server.
#[derive(Serialize)]
struct Spooled<'a> {
    session: &'a str,
    launch: u32,
    token: &'a str,
    report: &'a ReportCall,
}

/// Say what this agent does; for agents, within a session
///
/// Examples:
///   ao report working                        a turn runs
///   ao report ready                          the turn ended, the prompt is empty
///   ao report question "Which one?" --option A --option B --wait
///   ao report completed "All tests pass"
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Cmd {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// A turn runs
    ///
    /// Example:
    ///   ao report working
    #[command(verbatim_doc_comment)]
    Working,
    /// The turn ended; the prompt is empty
    ///
    /// Example:
    ///   ao report ready
    #[command(verbatim_doc_comment)]
    Ready,
    /// Ask a human
    ///
    /// Examples:
    ///   ao report question "Which one?" --option A --option B
    ///   ao report question "Go on?" --wait
    #[command(verbatim_doc_comment)]
    Question {
        /// The question
        text: String,
        /// A choice; may be given several times
        #[arg(long = "option", value_name = "TEXT")]
        options: Vec<String>,
        /// Wait for the answer and print it
        #[arg(long)]
        wait: bool,
    },
    /// Cannot go on without a human
    ///
    /// Example:
    ///   ao report blocked "The registry wants a login"
    #[command(verbatim_doc_comment)]
    Blocked {
        /// Why
        text: String,
    },
    /// Failed
    ///
    /// Example:
    ///   ao report error "No space is left on the disk"
    #[command(verbatim_doc_comment)]
    Error {
        /// Why
        text: String,
    },
    /// The task is done; counts with evidence
    ///
    /// Example:
    ///   ao report completed "All tests pass"
    #[command(verbatim_doc_comment)]
    Completed {
        /// What was done
        text: Option<String>,
    },
}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        let outside = || {
            Fail::new(Exit::Usage, "`ao report` is for agents, within a session that ao started")
                .because("AO_SESSION, AO_LAUNCH or AO_TOKEN is missing")
        };
        let variable = |name: &str| cx.env.get(name).cloned().ok_or_else(outside);
        let (session, launch) = (variable("AO_SESSION")?, variable("AO_LAUNCH")?);
        let token = variable("AO_TOKEN")?;
        let headers = [
            ("x-ao-session", session.clone()),
            ("x-ao-launch", launch.clone()),
            ("authorization", format!("Bearer {token}")),
        ];
        let (report, wait) = match &self.what {
            What::Working => (ReportCall::Working, false),
            What::Ready => (ReportCall::Ready, false),
            What::Question { text, options, wait } => {
                let (text, options) = (text.clone(), options.clone());
                (ReportCall::Question { text, options, wait: *wait }, *wait)
            }
            What::Blocked { text } => (ReportCall::Blocked { text: text.clone() }, false),
            What::Error { text } => (ReportCall::Error { text: text.clone() }, false),
            What::Completed { text } => (ReportCall::Completed { text: text.clone() }, false),
        };
        let path = if wait { "/api/report?wait=true" } else { "/api/report" };
        let limit = if wait { ANSWER } else { PATIENCE };
        let until = Instant::now() + limit;
        let stopped = paths::stopped(&cx.data_dir);
        let mut pause = Duration::from_millis(100);
        let reported: Reported = loop {
            match cx.client().post_as(path, &report, &headers, limit).await {
                Ok(reported) => break reported,
                Err(fail) if fail.exit != Exit::Server => return Err(fail),
                // It may be on its way down or up: the same report is made again, and is the same question.
                Err(_) if Instant::now() < until && (wait || !stopped.exists()) => {
                    if pause >= hook::RESTART {
                        hook::wake(&cx.data_dir, &cx.socket());
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(5));
                }
                Err(fail) if wait => return Err(fail),
                // The agent goes on, and the next server hears of it before it serves.
                Err(fail) => {
                    let launch = launch.parse().map_err(|_| outside())?;
                    let told =
                        Spooled { session: &session, launch, token: &token, report: &report };
                    hook::keep(&cx.data_dir.join("run/spool"), &told).ok_or(fail)?;
                    break Reported { request: None, answer: None };
                }
            }
        };
        if cx.global.json {
            out::json(&reported);
        } else if let Some(answer) = &reported.answer {
            out::say(answer);
        }
        if wait && reported.answer.is_none() {
            return Err(Fail::new(Exit::Failed, "the question ended without an answer"));
        }
        Ok(0)
    }
}
