//! `ao notify`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Once},
    time::{Duration, Instant},
};

use ao_core::{
    config::{self, Catalog, trigger::Trigger},
    decide::replay::Replay,
    disk::RealDisk,
    event::{Event, Kind},
    registry::Registry,
    slots::{
        ChannelName,
        fact::Priority,
        notifier::{Mark, Reached},
    },
    stats::Counter,
};
use ao_web::view::{ChannelList, NotificationList, PressDoc, TestDoc};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::{Value, json};

use super::usage;
use crate::{
    cx::Cx,
    fail::{Exit, Fail, chain},
    out, render,
};

/// Look at channels and messages, and test them
///
/// Examples:
///   ao notify setup ntfy
///   ao notify channels
///   ao notify test desktop
///   ao notify log --since 1h
///   ao notify stats
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Cmd {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Send a test by one channel, or by all, and wait until its button is pressed
    ///
    /// Examples:
    ///   ao notify test
    ///   ao notify test desktop
    ///   ao notify test phone --priority urgent
    ///
    /// Exit codes: 1 a channel did not take it, 4 there is no such channel, 10 no press came back.
    #[command(verbatim_doc_comment)]
    Test {
        /// The channel
        channel: Option<ChannelName>,
        /// How urgent it is to look: urgent, action, warning or info
        #[arg(long, value_parser = priority, default_value = "action", value_name = "CLASS")]
        priority: Priority,
        /// How long to wait for the press [default: 60s on a terminal, else 0s]
        #[arg(long, value_name = "TIME")]
        wait: Option<String>,
    },
    Setup(super::notify_setup::Cmd),
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
    /// The channels: whether they work, what they can do, whose they are
    ///
    /// Examples:
    ///   ao notify channels
    ///   ao notify channels --json
    #[command(verbatim_doc_comment)]
    Channels,
    /// How often you were called, for what, and how fast that went
    ///
    /// A false alarm went away by itself, with nobody having seen it. A miss is a message about what
    /// you decide that no channel took.
    ///
    /// Examples:
    ///   ao notify stats
    ///   ao notify stats --since 30d
    #[command(verbatim_doc_comment)]
    Stats {
        /// Only the last, e.g. 24h, 30d
        #[arg(long, value_name = "TIME", default_value = "7d")]
        since: String,
    },
    /// What would have been sent under another configuration: the past, decided anew
    ///
    /// Nothing is sent. What people did is taken as it was, and channels are taken to work. The file
    /// stands for all registered ones; a project that it does not name goes by what it says for all.
    ///
    /// Examples:
    ///   ao notify replay --config new.yaml
    ///   ao notify replay ~/other/data --config new.yaml
    #[command(verbatim_doc_comment)]
    Replay {
        /// A data directory, or a file with an event a line [default: the journal of this one]
        events: Option<PathBuf>,
    },
}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        // These two read the journal alone.
        match &self.what {
            What::Stats { since } => return stats(cx, since),
            What::Replay { events } => return replay(cx, events.as_deref()),
            What::Setup(cmd) => return cmd.run(cx).await,
            What::Test { .. } | What::Log { .. } | What::Channels => {}
        }
        let client = cx.client();
        super::register(cx, client, None).await?;
        match &self.what {
            What::Stats { .. } | What::Replay { .. } | What::Setup(_) => Ok(0),
            What::Test { channel, priority, wait } => {
                let wait = match wait {
                    Some(text) => {
                        let bad = || usage(format!("`{text}` is no time, e.g. 30s, 2m"));
                        let span = span(text).ok_or_else(bad)?;
                        Duration::try_from(span).map_err(|_| bad())?
                    }
                    None if cx.asks() && !cx.global.json => WAIT,
                    None => Duration::ZERO,
                };
                let channels = match channel {
                    Some(channel) if cx.global.json && wait.is_zero() => {
                        out::json(&try_one(cx, channel, Some(*priority)).await?);
                        return Ok(0);
                    }
                    Some(channel) => vec![channel.clone()],
                    None => {
                        let list: ChannelList = client.get("/api/channels").await?;
                        list.channels.into_iter().map(|channel| channel.name).collect()
                    }
                };
                test(cx, &channels, Some(*priority), wait).await
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

/// Calls `each` with every event of a data directory's journal, or of a file with an event a line; both are read as
/// they are now, beside a running server.
fn each_event(path: &Path, mut each: impl FnMut(&Event)) -> Result<(), Fail> {
    let failed = |cause: String| {
        Fail::new(Exit::Failed, format!("the events in {} cannot be read", path.display()))
            .because(cause)
    };
    let mut read = |json: &[u8]| {
        let event = Event::decode(json).map_err(|error| failed(error.to_string()))?;
        each(&event);
        Ok::<_, Fail>(())
    };
    if path.is_file() {
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        return text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .try_for_each(|line| read(line.as_bytes()));
    }
    let broken = |error: ao_core::journal::JournalError| failed(chain(&error));
    let mut events = ao_core::journal::read(Arc::new(RealDisk), path).map_err(broken)?;
    while let Some((_, json)) = events.next().map_err(broken)? {
        read(json)?;
    }
    Ok(())
}

fn stats(cx: &Cx, since: &str) -> Result<u8, Fail> {
    let bad = || usage(format!("`{since}` is no time, e.g. 24h, 30d"));
    let now = Timestamp::now();
    let since = now.checked_sub(span(since).ok_or_else(bad)?).map_err(|_| bad())?;
    let (mut counter, mut policy) = (Counter::default(), None);
    each_event(&cx.data_dir, |event| {
        counter.event(event);
        if let Kind::ConfigApplied(e) = &event.kind {
            policy = Some(e.policy.clone());
        }
    })?;
    let stats = counter.finish(since, now, &TimeZone::system());
    if cx.global.json {
        out::json(&documented("ao.stats/1", json!(stats)));
    } else {
        let policy = policy.unwrap_or_default();
        // What fails is told whatever the threshold, which is for checks that do not end.
        let lasts = |trigger: &Trigger| *trigger != Trigger::CiFailed;
        let threshold =
            |trigger: &str| policy.reaction(None, trigger.parse().ok().filter(lasts)?).threshold_ms;
        out::say(&render::stats::stats(&stats, &threshold, &cx.style));
    }
    Ok(0)
}

fn replay(cx: &Cx, events: Option<&Path>) -> Result<u8, Fail> {
    let Some(given) = &cx.global.config else {
        return Err(usage("which configuration is to be tried is not said")
            .remedy("ao notify replay --config new.yaml"));
    };
    let registry = Registry::new(ao_plugins_bundled::all());
    let context = super::init::build_context(cx)?;
    let mut loaded =
        config::load(&cx.own_files()?, &cx.world(Catalog::new(ao_plugins_bundled::all())))
            .map_err(|errors| render::config::failure(&cx.err, &errors))?;
    loaded.adjust(ao_plugins_bundled::infer);
    let mut channels = BTreeMap::new();
    for (name, choice) in &loaded.live.channels {
        match registry.notifier(choice, &context) {
            Ok(channel) => {
                channels.insert(name.clone(), channel.capabilities());
            }
            Err(error) => cx.warn(&format!("channel {name} of {}: {error}", given.display())),
        }
    }
    let mut replay = Replay::new(loaded.policy, channels);
    each_event(events.unwrap_or(&cx.data_dir), |event| replay.event(event))?;
    let compared = replay.finish();
    if cx.global.json {
        out::json(&documented("ao.replay/1", json!(compared)));
    } else {
        let (zone, now) = (TimeZone::system(), Timestamp::now());
        out::say(&render::stats::replay(&compared, &cx.style, &zone, now));
    }
    Ok(0)
}

/// A document with its schema before all else.
fn documented(schema: &str, fields: Value) -> Value {
    let mut document = json!({ "schema": schema });
    if let (Value::Object(document), Value::Object(fields)) = (&mut document, fields) {
        document.extend(fields);
    }
    document
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

fn priority(text: &str) -> Result<Priority, String> {
    serde_json::from_value(Value::String(text.to_owned()))
        .map_err(|_| "urgent, action, warning or info".to_owned())
}

async fn try_one(
    cx: &Cx,
    channel: &ChannelName,
    priority: Option<Priority>,
) -> Result<TestDoc, Fail> {
    let mut body = json!({ "channel": channel });
    if let Some(priority) = priority {
        body["priority"] = json!(priority);
    }
    cx.client().post("/api/notifications/test", &body).await
}

/// How long a press is waited for.
pub(super) const WAIT: Duration = Duration::from_secs(60);

/// Sends a test by each channel, all at once, and waits for the presses of those that have a button: one that fails or
/// is slow keeps no other from it.
pub(super) async fn test(
    cx: &Cx,
    channels: &[ChannelName],
    priority: Option<Priority>,
    wait: Duration,
) -> Result<u8, Fail> {
    if channels.is_empty() {
        return Err(Fail::new(Exit::NotFound, "no channel is configured").remedy("ao help push"));
    }
    let hint = Once::new();
    let tests = channels.iter().map(|channel| one(cx, channel, priority, wait, &hint));
    let tests = futures_util::future::join_all(tests).await;
    let (documents, ends): (Vec<_>, Vec<_>) = tests.into_iter().unzip();
    if cx.global.json {
        out::json(&json!({ "schema": "ao.tests/1", "tests": documents }));
    }
    let failed: Vec<Exit> = ends.into_iter().flatten().collect();
    match failed.first() {
        None => Ok(0),
        Some(exit) if failed.len() == channels.len() => Ok(*exit as u8),
        Some(_) => Ok(Exit::Partly as u8),
    }
}

/// A test by one channel to its end: its document, and how it failed.
async fn one(
    cx: &Cx,
    channel: &ChannelName,
    priority: Option<Priority>,
    wait: Duration,
    hint: &Once,
) -> (Value, Option<Exit>) {
    let doc = match try_one(cx, channel, priority).await {
        Ok(doc) => doc,
        Err(fail) => {
            tell(cx, channel, &fail);
            return (json!({ "channel": channel, "error": fail.document() }), Some(fail.exit));
        }
    };
    let sent = Instant::now();
    if !cx.global.json {
        let how = match doc.reached {
            Reached::Accepted => "took it",
            Reached::Delivered => "showed it",
            Reached::Seen => "showed it, and it was read",
        };
        let mark = cx.style.painted_mark(Mark::Settled);
        out::say(&format!("{mark} {channel} {how} in {} ms", doc.took_ms));
    }
    let mut document = json!(doc);
    let Some(token) = doc.token.filter(|_| !wait.is_zero()) else { return (document, None) };
    if !cx.global.json {
        hint.call_once(|| cx.hint("Press [It works] there; Ctrl-C to leave it."));
    }
    match pressed(cx, &token, sent, wait).await {
        Ok(Some(by)) => {
            let took = sent.elapsed();
            if !cx.global.json {
                out::say(&format!(
                    "{} {channel}: the press of {by} came back after {:.1} s. Buttons work.",
                    cx.style.painted_mark(Mark::Settled),
                    took.as_secs_f64()
                ));
            }
            document["pressedBy"] = json!(by);
            document["pressedAfterMs"] = json!(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
            (document, None)
        }
        Ok(None) => {
            if !cx.global.json {
                // What cannot be looked up is no reason to keep the outcome.
                let fault = fault(cx, channel).await.unwrap_or_default();
                let waited = ao_core::slots::text::duration(wait.as_secs());
                out::note(&format!(
                    "{} {channel}: no press came back in {waited}{fault}",
                    cx.err.painted_mark(Mark::Failed)
                ));
            }
            document["pressedBy"] = Value::Null;
            (document, Some(Exit::InDoubt))
        }
        // It was sent; whether it was pressed is not known.
        Err(fail) => {
            tell(cx, channel, &fail);
            document["pressedBy"] = Value::Null;
            document["error"] = fail.document();
            (document, Some(fail.exit))
        }
    }
}

/// Says why a channel's test failed.
fn tell(cx: &Cx, channel: &ChannelName, fail: &Fail) {
    if cx.global.json {
        return;
    }
    let cause = fail.cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default();
    let mark = cx.err.painted_mark(Mark::Failed);
    out::note(&format!("{mark} {channel}: {}{cause}", fail.what));
    if let Some(remedy) = &fail.remedy {
        out::note(&format!("  try: {remedy}"));
    }
}

/// Waits for the press of a test's button; none = it did not come.
async fn pressed(
    cx: &Cx,
    token: &str,
    sent: Instant,
    wait: Duration,
) -> Result<Option<String>, Fail> {
    let path = format!("/api/notifications/test/{token}");
    let asked = async {
        loop {
            let press: PressDoc = cx.client().get(&path).await?;
            if press.by.is_some() {
                return Ok(press.by);
            }
        }
    };
    let left = wait.saturating_sub(sent.elapsed());
    tokio::time::timeout(left, asked).await.unwrap_or(Ok(None))
}

/// What is known of why no press came back: what a look at the channel finds, else what its provider asks for.
async fn fault(cx: &Cx, channel: &ChannelName) -> Result<String, Fail> {
    let list: ChannelList = cx.client().get("/api/channels").await?;
    let Some(view) = list.channels.into_iter().find(|view| view.name == *channel) else {
        return Ok(String::new());
    };
    if let Some(error) = view.error {
        return Ok(format!(": {error}"));
    }
    let look = match view.plugin.as_str() {
        "slack" => {
            "was it pressed? Then Interactivity or Socket Mode of the app is off; compare it with the manifest of: ao notify setup slack"
        }
        "ntfy" => {
            "was it pressed? Then the phone cannot write to the reply topic; look at its log in the ntfy app"
        }
        "email" => "was the link opened? It works where publicUrl leads to this server",
        _ => "was it pressed? Then what shows the messages does not tell of it",
    };
    Ok(format!("; {look}"))
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
