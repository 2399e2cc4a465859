//! `ao events`.

use ao_core::{
    disk::RealDisk,
    slots::{ProjectId, Seq, SessionId},
};
use ao_web::view::EventPage;
use jiff::{Timestamp, tz::TimeZone};

use super::parse_session;
use crate::{
    cx::Cx,
    fail::{Exit, Fail, chain},
    out, render,
};

/// Show what happened, event by event, or verify the journal
///
/// Examples:
///   ao events --follow --session app-3
///   ao events --after e4821 --utc
///   ao events verify
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Cmd {
    #[command(subcommand)]
    what: Option<What>,
    /// Go on as events come
    #[arg(long, short)]
    follow: bool,
    /// Only of this session
    #[arg(long, value_parser = parse_session)]
    session: Option<SessionId>,
    /// Only of this project
    #[arg(long)]
    project: Option<ProjectId>,
    /// Only after this event, e.g. e4821
    #[arg(long, value_name = "EVENT")]
    after: Option<Seq>,
    /// At most so many
    #[arg(long, short = 'n', default_value_t = 50)]
    lines: u32,
    /// Times as UTC
    #[arg(long, help_heading = "Output")]
    utc: bool,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Read the whole journal and tell what is wrong with it; exit code 1 for damage
    ///
    /// Examples:
    ///   ao events verify
    ///   ao events verify --json
    #[command(verbatim_doc_comment)]
    Verify,
}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        if let Some(What::Verify) = self.what {
            return verify(cx);
        }
        let client = cx.client();
        let mut filter = vec![];
        filter.extend(self.session.as_ref().map(|id| format!("session={id}")));
        filter.extend(self.project.as_ref().map(|id| format!("project={id}")));
        let filter = filter.join("&");
        let after = self.after.map(|seq| format!("&after={seq}")).unwrap_or_default();
        let page: EventPage =
            client.get(&format!("/api/events?{filter}&limit={}{after}", self.lines)).await?;
        let zone = if self.utc { TimeZone::UTC } else { TimeZone::system() };
        let show = |event: &ao_web::view::EventView| {
            if cx.global.json {
                out::json(event);
            } else {
                out::say(&render::events::line(event, &cx.style, &zone, Timestamp::now()));
            }
        };
        if !self.follow {
            if cx.global.json {
                out::json(&page);
            } else if page.events.is_empty() {
                out::say("No events.");
            } else {
                page.events.iter().for_each(show);
            }
            return Ok(0);
        }
        page.events.iter().for_each(show);
        let last = page
            .events
            .last()
            .map_or(page.last, |event| event.seq)
            .max(if self.after.is_none() { page.last } else { Seq(0) });
        let mut events = client.follow(filter, last);
        let follow = async {
            loop {
                while let Some(event) = events.next().await {
                    show(&event);
                }
                out::note("the server was stopped; this goes on when it runs again: ao start");
                while !client.is_up().await {
                    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
                }
            }
        };
        tokio::select! {
            () = follow => Ok(0),
            _ = tokio::signal::ctrl_c() => Ok(130),
        }
    }
}

/// Reads the journal's files beside a running server; changes nothing.
fn verify(cx: &Cx) -> Result<u8, Fail> {
    let report =
        ao_core::journal::verify(std::sync::Arc::new(RealDisk), &cx.data_dir).map_err(|error| {
            Fail::new(
                Exit::Failed,
                format!("the journal in {} cannot be read", cx.data_dir.display()),
            )
            .because(chain(&error))
        })?;
    let sound = report.gaps.is_empty() && report.bad.is_empty();
    if cx.global.json {
        out::json(
            &serde_json::json!({ "schema": "ao.verify/1", "sound": sound, "report": report }),
        );
    } else {
        use ao_core::slots::text::count;
        let read = format!(
            "{} in {}",
            count(report.events, "event", "events"),
            count(report.segments, "segment", "segments")
        );
        let words = if sound { "sound" } else { "damaged" };
        out::say(&format!("{read}: {words}"));
        for gap in &report.gaps {
            out::say(&format!("  missing: e{} to e{}", gap.from, gap.to));
        }
        for bad in &report.bad {
            out::say(&format!("  bad: {} bytes in {} at {}", bad.bytes, bad.segment, bad.offset));
        }
    }
    if sound {
        return Ok(0);
    }
    Err(Fail::new(Exit::Failed, "the journal is damaged")
        .because("the server puts bad bytes into quarantine/ at its start")
        .remedy("ao doctor --report"))
}
