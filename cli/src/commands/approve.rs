//! `ao approve`.

use ao_core::slots::{
    RequestId, SessionId,
    agent::Ask,
    text::{one_line, plain},
};
use ao_web::view::RequestView;

use super::{
    answer::{decide, meant, wish},
    parse_session,
};
use crate::{
    cx::Cx,
    fail::{Exit, Fail},
    out,
};

/// Approve, this once, what an agent asked for
///
/// Examples:
///   ao approve app-3 r-7      exactly that request, as its message named it
///   ao approve app-3          the only one that waits
///
/// One that needs care is shown first and asked for; `--yes` skips that.
///
/// Exit codes: 5 it asks nothing any more, 8 not confirmed, 10 sent but not confirmed by the agent.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Cmd {
    /// The session
    #[arg(value_parser = parse_session)]
    session: SessionId,
    /// Which request
    request: Option<RequestId>,
}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        let session = &self.session;
        let permission = |ask: &Ask| matches!(ask, Ask::Permission { .. });
        let (request, shown) = meant(cx, session, self.request, permission).await?;
        if let Some(shown) = &shown {
            self.confirm(cx, shown)?;
        }
        let body = serde_json::json!({ "request": request });
        decide(cx, session, "approve", body, |request| {
            let what = request.or(shown.as_ref()).map(wish).unwrap_or_default();
            format!("Approved once for {session}: {what}")
        })
        .await
    }

    /// What sends, deletes or publishes is approved by a human who saw it, or by its id.
    fn confirm(&self, cx: &Cx, shown: &RequestView) -> Result<(), Fail> {
        let (session, request) = (&self.session, shown.id);
        let Ask::Permission { verb, subject, place, careful, .. } = &shown.ask else {
            return Ok(());
        };
        if careful.is_empty() || shown.ended.is_some() || cx.global.yes {
            return Ok(());
        }
        let verb = one_line(verb);
        if cx.global.no_input || !out::can_ask() {
            if self.request.is_some() {
                return Ok(());
            }
            let what = format!("{session} wants to {verb}: {}", wish(shown));
            return Err(Fail::new(Exit::NotConfirmed, what)
                .because(format!("it needs care: {}", one_line(&careful.join("; "))))
                .remedy(format!(
                    "ao approve {session} {request}   or: ao deny {session} {request}"
                )));
        }
        out::note(&cx.err.text(&format!("{session} wants to {verb}:")));
        for line in plain(shown.full.as_ref().unwrap_or(subject)).lines() {
            out::note(&cx.err.text(&format!("  {line}")));
        }
        if let Some(place) = place {
            out::note(&cx.err.text(&format!("in {}", one_line(place))));
        }
        out::note(&cx.err.text(&format!("Careful: {}.", one_line(&careful.join("; ")))));
        match cx.ask(&format!("Let {session} {verb} this once?"), false, "--yes")? {
            true => Ok(()),
            false => Err(Fail::new(Exit::NotConfirmed, format!("{session}: nothing was approved"))
                .remedy(format!("ao deny {session} {request}"))),
        }
    }
}
