//! `ao send`.

use std::{io::Read, time::Duration};

use ao_core::{
    event::{Effect, EffectIntended, EffectSucceeded, MessageWithdrawn},
    slots::{Seq, SessionId, notifier::Mark},
};
use ao_web::view::Taken;

use super::{answer::no_ellipsis, confirmed, data, parse_session, usage, wait_for};
use crate::{
    cx::Cx,
    fail::{Exit, Fail},
    out,
};

/// Most bytes of standard input that are read: far beyond what can be sent, so that one can be told its size.
const MOST: u64 = 64 << 20;

/// Send text to an agent; it is handed over when the agent can take it
///
/// Examples:
///   ao send app-3 "Use the helper in src/theme.ts"
///   git diff | ao send app-3 -
///
/// Exit code 10: queued, and not yet confirmed by the agent.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Cmd {
    /// The session
    #[arg(value_parser = parse_session)]
    session: SessionId,
    /// The text; `-` reads it from standard input
    #[arg(required = true)]
    text: Vec<String>,
    /// Seconds to wait until the agent confirms it; 0 = do not wait
    #[arg(long, default_value_t = 10)]
    wait: u64,
}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        let text = match self.text.as_slice() {
            [dash] if dash == "-" => {
                let mut text = String::new();
                std::io::stdin().lock().take(MOST).read_to_string(&mut text)?;
                text
            }
            words => words.join(" "),
        };
        no_ellipsis(&text)?;
        if text.trim().is_empty() {
            return Err(usage("the message is empty"));
        }
        let session = &self.session;
        let client = cx.client();
        let taken: Taken = client
            .act(&format!("/api/sessions/{session}/send"), &serde_json::json!({ "text": text }))
            .await?;
        let begun = std::time::Instant::now();
        let came = match taken.message {
            Some(message) if self.wait > 0 => {
                let mut typing: Option<Seq> = None;
                wait_for(client, session, taken.after, Duration::from_secs(self.wait), |event| {
                    if confirmed(event) == Some(message) {
                        return Some(Ok("confirmed"));
                    }
                    match event.kind.as_str() {
                        "effect.intended" => {
                            let effect = data::<EffectIntended>(event)?.effect;
                            if effect == (Effect::TypeMessage { message }) {
                                typing = Some(event.seq);
                            }
                            None
                        }
                        // All there is to know of an agent that tells nothing of what it reads.
                        "effect.succeeded" => data::<EffectSucceeded>(event)
                            .filter(|e| Some(e.intent) == typing)
                            .map(|_| Ok("typed")),
                        "message.withdrawn" => data::<MessageWithdrawn>(event)
                            .filter(|e| e.message == message)
                            .map(|e| Err(e.reason)),
                        _ => None,
                    }
                })
                .await?
            }
            _ => None,
        };
        if cx.global.json {
            out::json(&taken);
        }
        match came {
            Some(Ok(how)) => {
                if !cx.global.json {
                    let took = format!("{:.1} s", begun.elapsed().as_secs_f64());
                    out::say(&format!(
                        "{} {session} got it ({how} {took})",
                        cx.style.painted_mark(Mark::Settled)
                    ));
                }
                Ok(0)
            }
            Some(Err(reason)) => {
                Err(Fail::new(Exit::Failed, format!("the message to {session} was withdrawn"))
                    .because(reason))
            }
            None if self.wait == 0 => {
                if !cx.global.json {
                    out::say(&format!("queued for {session}"));
                }
                Ok(0)
            }
            None => {
                let why =
                    taken.note.unwrap_or_else(|| format!("{session} gets it when its turn ends"));
                if !cx.global.json {
                    out::say(&cx.style.text(&format!("queued: {why}")));
                }
                Ok(Exit::InDoubt as u8)
            }
        }
    }
}
