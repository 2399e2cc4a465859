//! `ao report`: what an agent says of itself.

use ao_core::server::ReportCall;
use ao_web::hooks::Reported;

use crate::{
    cx::Cx,
    fail::{Exit, Fail},
    out,
};

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
    Working,
    /// The turn ended; the prompt is empty
    Ready,
    /// Ask a human
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
    Blocked {
        /// Why
        text: String,
    },
    /// Failed
    Error {
        /// Why
        text: String,
    },
    /// The task is done; counts with evidence
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
        let headers = [
            ("x-ao-session", variable("AO_SESSION")?),
            ("x-ao-launch", variable("AO_LAUNCH")?),
            ("authorization", format!("Bearer {}", variable("AO_TOKEN")?)),
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
        let client = cx.client();
        let mut pause = std::time::Duration::from_millis(100);
        let until = std::time::Instant::now()
            + std::time::Duration::from_secs(if wait { 86_400 } else { 10 });
        // The server may be on its way down or up: the same report is made again, it is one question.
        let reported: Reported = loop {
            let limit = std::time::Duration::from_secs(if wait { 86_400 } else { 10 });
            match client.post_as(path, &report, &headers, limit).await {
                Ok(reported) => break reported,
                Err(fail) if fail.exit == Exit::Server && std::time::Instant::now() < until => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(std::time::Duration::from_secs(5));
                }
                Err(fail) => return Err(fail),
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
