//! `ao answer`, and what it shares with `ao approve` and `ao deny`.

use std::time::Duration;

use ao_core::{
    event::{EffectFailed, RequestEnded},
    slots::{SessionId, notifier::Mark},
};
use ao_web::view::{SessionDoc, Taken};
use serde_json::{Value, json};

use super::{data, parse_session, usage, wait_for};
use crate::{
    cx::Cx,
    fail::{Exit, Fail},
    out,
};

/// Answer the question that an agent asks
///
/// Examples:
///   ao answer app-3 2                 the second choice
///   ao answer app-3 "items only"      own words
///
/// Exit codes: 5 it asks nothing any more, 10 sent but not confirmed by the agent.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Cmd {
    /// The session
    #[arg(value_parser = parse_session)]
    session: SessionId,
    /// The number of a choice, or your own words
    #[arg(required = true, trailing_var_arg = true)]
    text: Vec<String>,
}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        let text = self.text.join(" ");
        no_ellipsis(&text)?;
        decide(cx, &self.session, "answer", json!({ "text": text }), |id| {
            format!("{id} got its answer")
        })
        .await
    }
}

/// A message ends with a command to fill in, `ao answer app-3 "…"`: what was pasted as it is says nothing.
pub(crate) fn no_ellipsis(text: &str) -> Result<(), Fail> {
    match text.trim() {
        "…" | "..." => {
            Err(usage("`…` stands for your own words").remedy("write them in its place"))
        }
        _ => Ok(()),
    }
}

/// Hands a decision over and waits until the agent confirmed it.
pub(crate) async fn decide(
    cx: &Cx,
    session: &SessionId,
    verb: &str,
    body: Value,
    words: impl Fn(&SessionId) -> String,
) -> Result<u8, Fail> {
    let client = cx.client();
    let begun = std::time::Instant::now();
    let taken: Taken = client.act(&format!("/api/sessions/{session}/{verb}"), &body).await?;
    let request = taken.request;
    let outcome = wait_for(client, session, taken.after, Duration::from_secs(15), |event| {
        match event.kind.as_str() {
            "request.ended" => {
                data::<RequestEnded>(event).filter(|e| Some(e.request) == request).map(|_| Ok(()))
            }
            // Nobody tells of the end of what was denied; the turn that asked ends it.
            "turn.started" | "turn.ended" => Some(Ok(())),
            "effect.failed" => data::<EffectFailed>(event).map(|e| Err(e.failure)),
            _ => None,
        }
    })
    .await?;
    if cx.global.json {
        out::json(&taken);
    }
    match outcome {
        Some(Ok(())) => {
            if !cx.global.json {
                let mark = cx.style.painted_mark(Mark::Settled);
                out::say(&format!(
                    "{mark} {} (confirmed {:.1} s)",
                    words(session),
                    begun.elapsed().as_secs_f64()
                ));
            }
            Ok(0)
        }
        Some(Err(failure)) => {
            let fail = Fail::new(
                Exit::InDoubt,
                format!("the decision could not be delivered to {session}"),
            );
            Err(fail
                .because(failure.message)
                .remedy(failure.remedy.unwrap_or_else(|| format!("ao session attach {session}"))))
        }
        None => {
            // The hook took it, and the agent says nothing of it until its tool ends.
            let doc: SessionDoc = client.get(&format!("/api/sessions/{session}")).await?;
            let handed = doc.requests.iter().any(|r| Some(r.id) == request && r.handed);
            let state = if handed {
                "sent; the agent has not confirmed it yet"
            } else {
                "sent, but not taken by the agent yet"
            };
            if !cx.global.json {
                out::say(&format!("{} {session}: {state}", cx.style.painted_mark(Mark::Slow)));
                cx.hint(&format!("Next: ao session show {session}"));
            }
            Ok(Exit::InDoubt as u8)
        }
    }
}
