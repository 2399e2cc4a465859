//! `ao snooze`.

use jiff::{SignedDuration, Timestamp, Zoned, civil::Time};

use super::{incident::Named, usage};
use crate::{cx::Cx, fail::Fail};

/// Hear of an incident later
///
/// Examples:
///   ao snooze i-142                   for 1 hour
///   ao snooze i-142 --for 30m
///   ao snooze i-142 --until 09:00     the next time it is 9 o'clock
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Cmd {
    #[command(flatten)]
    of: Named,
    /// For how long, e.g. 30m, 2h
    #[arg(long = "for", value_name = "TIME", default_value = "1h", conflicts_with = "until")]
    how_long: String,
    /// Until this time of day, e.g. 09:00
    #[arg(long, value_name = "HH:MM")]
    until: Option<String>,
}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        let until = until(&Zoned::now(), &self.how_long, self.until.as_deref())?;
        let body = serde_json::json!({ "until": until });
        let time = until.to_zoned(jiff::tz::TimeZone::system()).strftime("%a %H:%M");
        let said = |incident, _: &str| format!("{incident} is quiet until {time}");
        self.of.act(cx, "snooze", &body, said).await
    }
}

/// When `how_long` has passed, or the next time that a clock shows `until`.
pub(super) fn until(now: &Zoned, how_long: &str, until: Option<&str>) -> Result<Timestamp, Fail> {
    let Some(clock) = until else {
        let span = super::notify::span(how_long)
            .ok_or_else(|| usage(format!("`{how_long}` is no time, e.g. 30m, 2h")))?;
        if span <= SignedDuration::ZERO {
            return Err(usage("a time that has passed"));
        }
        return now.timestamp().checked_add(span).map_err(|_| usage("that is too far away"));
    };
    let bad = || usage(format!("`{clock}` is no time of day, e.g. 09:00"));
    let time = Time::strptime("%H:%M", clock).map_err(|_| bad())?;
    let today = now.with().time(time).build().map_err(|_| bad())?;
    let next = if today > *now { today } else { today.tomorrow().map_err(|_| bad())? };
    Ok(next.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_means_its_next_coming() {
        let now: Zoned = "2026-11-21T14:32:00+01:00[Europe/Berlin]".parse().unwrap();
        let at = |how_long: &str, clock: Option<&str>| {
            until(&now, how_long, clock).map(|t| t.to_string()).map_err(|e| e.what)
        };
        assert_eq!(at("1h", None).unwrap(), "2026-11-21T14:32:00Z");
        assert_eq!(at("1h", Some("18:00")).unwrap(), "2026-11-21T17:00:00Z");
        assert_eq!(at("1h", Some("09:00")).unwrap(), "2026-11-22T08:00:00Z");
        assert_eq!(at("soon", None).unwrap_err(), "`soon` is no time, e.g. 30m, 2h");
        assert_eq!(at("1h", Some("25:00")).unwrap_err(), "`25:00` is no time of day, e.g. 09:00");
        assert!(at("-1h", None).is_err());
    }
}
