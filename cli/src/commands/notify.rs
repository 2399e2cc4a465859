//! `ao notify`.

use ao_core::slots::{
    ChannelName,
    notifier::{Mark, Reached},
};
use ao_web::view::{ChannelList, NotificationList, TestDoc};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::json;

use super::usage;
use crate::{
    cx::Cx,
    fail::{Exit, Fail},
    out, render,
};

/// Look at channels and messages, and test them
///
/// Examples:
///   ao notify channels
///   ao notify test desktop
///   ao notify log --since 1h
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Cmd {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Send a test by one channel, or by all
    ///
    /// Examples:
    ///   ao notify test
    ///   ao notify test desktop
    ///
    /// Exit codes: 1 a channel did not take it, 4 there is no such channel.
    #[command(verbatim_doc_comment)]
    Test {
        /// The channel
        channel: Option<ChannelName>,
    },
    /// What was sent, and what became of it
    ///
    /// Examples:
    ///   ao notify log
    ///   ao notify log --since 7d
    #[command(verbatim_doc_comment)]
    Log {
        /// Only the last, e.g. 1h, 7d
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
    },
    /// The channels and whether they work
    ///
    /// Examples:
    ///   ao notify channels
    #[command(verbatim_doc_comment)]
    Channels,
}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        let client = cx.client();
        super::register(cx, client, None).await?;
        match &self.what {
            What::Test { channel } => {
                let channels = match channel {
                    Some(channel) if cx.global.json => {
                        out::json(&try_one(cx, channel).await?);
                        return Ok(0);
                    }
                    Some(channel) => vec![channel.clone()],
                    None => {
                        let list: ChannelList = client.get("/api/channels").await?;
                        list.channels.into_iter().map(|channel| channel.name).collect()
                    }
                };
                test(cx, &channels).await
            }
            What::Log { since } => {
                let query = match since {
                    None => String::new(),
                    Some(text) => {
                        let bad = || usage(format!("`{text}` is no time, e.g. 1h, 7d"));
                        let span = span(text).ok_or_else(bad)?;
                        let since = Timestamp::now().checked_sub(span).map_err(|_| bad())?;
                        format!("?since={since}")
                    }
                };
                let list: NotificationList =
                    client.get(&format!("/api/notifications{query}")).await?;
                if cx.global.json {
                    out::json(&list);
                } else {
                    out::say(&render::notifications::log(
                        &list,
                        &cx.style,
                        &TimeZone::system(),
                        Timestamp::now(),
                    ));
                }
                Ok(0)
            }
            What::Channels => {
                let list: ChannelList = client.get("/api/channels").await?;
                if cx.global.json {
                    out::json(&list);
                } else {
                    out::say(&render::notifications::channels(
                        &list,
                        &cx.style,
                        &TimeZone::system(),
                        Timestamp::now(),
                    ));
                }
                Ok(0)
            }
        }
    }
}

/// `90m`, `2h`, `7d`.
pub(super) fn span(text: &str) -> Option<SignedDuration> {
    match text.strip_suffix('d') {
        Some(days) => days
            .parse::<i64>()
            .ok()
            .and_then(|days| days.checked_mul(24))
            .map(SignedDuration::from_hours),
        None => text.parse().ok(),
    }
}

async fn try_one(cx: &Cx, channel: &ChannelName) -> Result<TestDoc, Fail> {
    let body = serde_json::json!({ "channel": channel });
    cx.client().post("/api/notifications/test", &body).await
}

/// Sends a test by each channel; one that fails does not keep the others from it.
async fn test(cx: &Cx, channels: &[ChannelName]) -> Result<u8, Fail> {
    if channels.is_empty() {
        return Err(Fail::new(Exit::NotFound, "no channel is configured").remedy("ao help push"));
    }
    let (mut tests, mut failed) = (vec![], vec![]);
    for channel in channels {
        match try_one(cx, channel).await {
            Ok(doc) => {
                let how = match doc.reached {
                    Reached::Accepted => "took it",
                    Reached::Delivered => "showed it",
                    Reached::Seen => "showed it, and it was read",
                };
                if !cx.global.json {
                    out::say(&format!(
                        "{} {channel} {how} in {} ms",
                        cx.style.painted_mark(Mark::Settled),
                        doc.took_ms
                    ));
                }
                tests.push(json!(doc));
            }
            Err(fail) => {
                if !cx.global.json {
                    let cause =
                        fail.cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default();
                    out::note(&format!(
                        "{} {channel}: {}{cause}",
                        cx.err.painted_mark(Mark::Failed),
                        fail.what
                    ));
                    if let Some(remedy) = &fail.remedy {
                        out::note(&format!("  try: {remedy}"));
                    }
                }
                tests.push(json!({ "channel": channel, "error": fail.document() }));
                failed.push(fail.exit);
            }
        }
    }
    if cx.global.json {
        out::json(&json!({ "schema": "ao.tests/1", "tests": tests }));
    }
    match failed.first() {
        None => Ok(0),
        Some(exit) if failed.len() == channels.len() => Ok(*exit as u8),
        Some(_) => Ok(Exit::Partly as u8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_may_be_days() {
        assert_eq!(span("7d"), Some(SignedDuration::from_hours(168)));
        assert_eq!(span("90m"), Some(SignedDuration::from_mins(90)));
        assert_eq!(span("soon"), None);
    }
}
