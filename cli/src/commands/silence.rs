//! `ao silence`.

use ao_core::{
    slots::{SilenceId, fact::Priority, notifier::Mark},
    state::Matchers,
};
use ao_web::view::{SilenceBody, SilenceList, Taken};
use jiff::{Timestamp, Zoned, tz::TimeZone};
use serde::de::{DeserializeOwned, IntoDeserializer, value::Error};

use super::{snooze::until, usage};
use crate::{cx::Cx, fail::Fail, out, render};

/// Do not hear of some things for a while
///
/// What matches is counted and told when the silence ends, if it still stands then.
///
/// Examples:
///   ao silence add session=app-3 --for 2h
///   ao silence ls
///   ao silence rm s-1
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Cmd {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Begin a silence; all that is named must match
    ///
    /// Examples:
    ///   ao silence add session=app-3 for 2h
    ///   ao silence add project=my-app 'priority<=warning' --until 09:00
    ///   ao silence add trigger=agent-idle session='app-*' --for 1d --comment "load test"
    #[command(verbatim_doc_comment)]
    Add {
        /// session=ID (with * and ?), project=ID, trigger=NAME, priority<=CLASS, incident=ID; then for TIME
        #[arg(required = true, value_name = "WHAT")]
        words: Vec<String>,
        /// For how long, e.g. 30m, 2h, 7d [default: 1h]
        #[arg(long = "for", value_name = "TIME", conflicts_with = "until")]
        how_long: Option<String>,
        /// Until this time of day, e.g. 09:00
        #[arg(long, value_name = "HH:MM")]
        until: Option<String>,
        /// Why
        #[arg(long, default_value = "", hide_default_value = true)]
        comment: String,
    },
    /// The silences, and what each has held back
    ///
    /// Examples:
    ///   ao silence ls
    #[command(verbatim_doc_comment)]
    Ls {
        /// Also those that are over
        #[arg(long)]
        all: bool,
    },
    /// End a silence: what it held back and still stands is told
    ///
    /// Examples:
    ///   ao silence rm s-1
    ///
    /// Exit codes: 4 there is no such silence.
    #[command(verbatim_doc_comment)]
    Rm {
        /// The silence
        silence: SilenceId,
    },
}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        let client = cx.client();
        match &self.what {
            What::Add { words, how_long, until: clock, comment } => {
                let body =
                    asked(&Zoned::now(), words, how_long.as_deref(), clock.as_deref(), comment)?;
                let taken: Taken = client.act("/api/silences", &body).await?;
                if cx.global.json {
                    out::json(&taken);
                } else {
                    let time = body.until.to_zoned(TimeZone::system()).strftime("%a %H:%M");
                    let id = taken.silence.map(|id| id.to_string()).unwrap_or_default();
                    out::say(&format!(
                        "{} {id}: quiet until {time}. End it: ao silence rm {id}",
                        cx.style.painted_mark(Mark::Settled)
                    ));
                }
            }
            What::Ls { all } => {
                let list: SilenceList = client.get(&format!("/api/silences?all={all}")).await?;
                if cx.global.json {
                    out::json(&list);
                } else {
                    let (zone, now) = (TimeZone::system(), Timestamp::now());
                    out::say(&render::silences::list(&list, &cx.style, &zone, now));
                }
            }
            What::Rm { silence } => {
                let path = format!("/api/silences/{silence}/end");
                let taken: Taken = client.act(&path, &serde_json::json!({})).await?;
                if cx.global.json {
                    out::json(&taken);
                } else {
                    out::say(&format!(
                        "{} {silence} is over",
                        cx.style.painted_mark(Mark::Settled)
                    ));
                }
            }
        }
        Ok(0)
    }
}

/// What the words ask for: matchers, then perhaps `for 2h` or `until 09:00`.
fn asked(
    now: &Zoned,
    words: &[String],
    how_long: Option<&str>,
    clock: Option<&str>,
    comment: &str,
) -> Result<SilenceBody, Fail> {
    let at = words.iter().position(|word| word == "for" || word == "until");
    let (matchers, rest) = words.split_at(at.unwrap_or(words.len()));
    let (how_long, clock) = match rest {
        [] => (how_long, clock),
        [word, time] if how_long.or(clock).is_none() => match word.as_str() {
            "for" => (Some(time.as_str()), None),
            _ => (None, Some(time.as_str())),
        },
        [word, ..] => {
            return Err(usage(format!("`{word}` takes one time, e.g. for 2h, until 09:00")));
        }
    };
    let until = until(now, how_long.unwrap_or("1h"), clock)?;
    let mut matched = Matchers::default();
    for word in matchers {
        matcher(&mut matched, word)?;
    }
    Ok(SilenceBody { matchers: matched, until, comment: comment.to_owned() })
}

fn matcher(matched: &mut Matchers, word: &str) -> Result<(), Fail> {
    let known =
        "session=app-3, project=my-app, trigger=agent-idle, priority<=warning or incident=i-142";
    let none = || usage(format!("`{word}` names nothing that can be silenced")).remedy(known);
    let (key, value) = word.split_once('=').ok_or_else(none)?;
    // What is less urgent is meant too, whether that is said or not.
    let key = if key == "priority<" { "priority" } else { key };
    let twice = match key {
        "session" => matched.session.replace(value.to_owned()).is_some(),
        "project" => {
            matched.project.replace(value.parse().map_err(|e| usage(format!("{e}")))?).is_some()
        }
        "incident" => {
            matched.incident.replace(value.parse().map_err(|e| usage(format!("{e}")))?).is_some()
        }
        "trigger" => matched.trigger.replace(named(value)?).is_some(),
        "priority" => matched.priority.replace(named::<Priority>(value)?).is_some(),
        _ => return Err(none()),
    };
    if twice { Err(usage(format!("`{key}` is said twice"))) } else { Ok(()) }
}

/// What a word of the configuration stands for.
pub(super) fn named<T: DeserializeOwned>(word: &str) -> Result<T, Fail> {
    T::deserialize(word.into_deserializer())
        .map_err(|error: Error| usage(format!("`{word}`: {error}")))
}

#[cfg(test)]
mod tests {
    use ao_core::config::trigger::Trigger;

    use super::*;

    #[test]
    fn a_silence_is_asked_for_in_words() {
        let now: Zoned = "2026-11-21T14:32:00+01:00[Europe/Berlin]".parse().unwrap();
        let ask = |words: &str, how_long: Option<&str>, clock: Option<&str>| {
            let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
            asked(&now, &words, how_long, clock, "")
                .map(|body| (body.matchers, body.until.to_string()))
        };
        let (matchers, until) = ask("session=app-* project=my-app for 2h", None, None).unwrap();
        assert_eq!(matchers.session.as_deref(), Some("app-*"));
        assert_eq!(matchers.project.unwrap().as_str(), "my-app");
        assert_eq!(until, "2026-11-21T15:32:00Z");
        let (matchers, until) =
            ask("priority<=warning trigger=agent-idle incident=i-4 until 09:00", None, None)
                .unwrap();
        assert_eq!(
            (matchers.priority, matchers.trigger),
            (Some(Priority::Warning), Some(Trigger::AgentIdle))
        );
        assert_eq!((matchers.incident.unwrap().0, until.as_str()), (4, "2026-11-22T08:00:00Z"));
        assert_eq!(ask("priority=action", Some("1d"), None).unwrap().1, "2026-11-22T13:32:00Z");
        for (words, how_long) in [
            ("app-3", None),
            ("zebra=1", None),
            ("trigger=agent-idel", None),
            ("session=a session=b", None),
            ("session=a for", None),
            ("session=a for 2h", Some("2h")),
            ("incident=142", None),
        ] {
            assert!(ask(words, how_long, None).is_err(), "{words}");
        }
    }
}
