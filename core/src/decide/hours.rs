//! Local time: when a human is not to be disturbed, and when the next digest is due.
//!
//! Everything is asked of an instant, so that nothing has to be kept: two changes of the clock a year make an hour
//! that comes twice and one that is not there. A window that touches the first is the longer one; one that lies
//! within the second is none on that day, as no clock ever shows it.

use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, DateTime, Time},
    tz::{AmbiguousOffset, AmbiguousTimestamp, TimeZone},
};

use crate::config::policy::{Day, DigestEvery, QuietHours};

/// Until when it is quiet at this instant; none where it is not.
pub(crate) fn quiet_until(quiet: &QuietHours, zone: &TimeZone, at: Timestamp) -> Option<Timestamp> {
    let today = zone.to_datetime(at).date();
    // What began yesterday may reach into today.
    let days = [today.yesterday().ok(), Some(today)].into_iter().flatten();
    let windows = days.filter_map(|day| window(quiet, zone, day));
    windows.filter(|(from, to)| *from <= at && at < *to).map(|(_, to)| to).max()
}

/// The quiet hours that begin on a day.
fn window(quiet: &QuietHours, zone: &TimeZone, day: Date) -> Option<(Timestamp, Timestamp)> {
    if !quiet.days.contains(&Day::from(day.weekday())) {
        return None;
    }
    let ends = if quiet.to > quiet.from { day } else { day.tomorrow().ok()? };
    let from = instant(zone, day.to_datetime(quiet.from), AmbiguousTimestamp::earlier)?;
    let to = instant(zone, ends.to_datetime(quiet.to), AmbiguousTimestamp::later)?;
    Some((from, to))
}

/// When the clock shows this, `which` of the two where it does so twice; where it never does, the instant at which
/// it leaps over it.
fn instant(
    zone: &TimeZone,
    shown: DateTime,
    which: fn(AmbiguousTimestamp) -> Result<Timestamp, jiff::Error>,
) -> Option<Timestamp> {
    let found = zone.to_ambiguous_timestamp(shown);
    match found.offset() {
        AmbiguousOffset::Gap { after, .. } => {
            let before_the_leap = after.to_timestamp(shown).ok()?;
            Some(zone.following(before_the_leap).next()?.timestamp())
        }
        _ => which(found).ok(),
    }
}

/// The local day, as one instant within it names it.
pub(crate) fn day_of(zone: &TimeZone, at: Timestamp) -> Date {
    zone.to_datetime(at).date()
}

/// When the digest after `after` is due; none where there is none.
pub(crate) fn next_digest(
    every: DigestEvery,
    at: Time,
    zone: &TimeZone,
    after: Timestamp,
) -> Option<Timestamp> {
    let local = zone.to_datetime(after);
    let instant = |date: Date, time: Time| {
        zone.to_ambiguous_timestamp(date.to_datetime(time)).compatible().ok()
    };
    match every {
        DigestEvery::Off => None,
        DigestEvery::Daily => {
            let days = [Some(local.date()), local.date().tomorrow().ok()];
            let due = days.into_iter().flatten().filter_map(|day| instant(day, at));
            due.filter(|due| *due > after).min()
        }
        // Counted in real hours: one that comes twice has two.
        DigestEvery::Hourly => {
            let past = i64::from(local.minute()) * 60 + i64::from(local.second());
            let wanted = i64::from(at.minute()) * 60;
            let wait = (wanted - past).rem_euclid(3_600);
            let wait = if wait == 0 { 3_600 } else { wait };
            let whole = Timestamp::from_second(after.as_second()).ok()?;
            whole.checked_add(SignedDuration::from_secs(wait)).ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::time;
    use proptest::prelude::*;

    use super::*;

    fn zone(name: &str) -> TimeZone {
        let hours = crate::config::policy::Hours {
            timezone: Some(name.into()),
            ..crate::config::policy::Hours::default()
        };
        crate::config::policy::zone(&hours, &TimeZone::UTC)
    }

    fn quiet(from: Time, to: Time) -> QuietHours {
        QuietHours { from, to, days: Day::all(), urgent: true }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// Whether a clock on the wall shows a time within the window.
    fn shows(quiet: &QuietHours, local: DateTime) -> bool {
        let begins = |day: Date| quiet.days.contains(&Day::from(day.weekday()));
        let (time, today) = (local.time(), local.date());
        if quiet.to > quiet.from {
            begins(today) && quiet.from <= time && time < quiet.to
        } else {
            begins(today) && quiet.from <= time
                || begins(today.yesterday().unwrap()) && time < quiet.to
        }
    }

    #[test]
    fn a_night_is_quiet_until_its_morning() {
        let (night, berlin) = (quiet(time(22, 0, 0, 0), time(8, 0, 0, 0)), zone("Europe/Berlin"));
        for (now, until) in [
            ("2026-11-21T20:59:59Z", None),
            ("2026-11-21T21:00:00Z", Some("2026-11-22T07:00:00Z")),
            ("2026-11-22T06:59:59Z", Some("2026-11-22T07:00:00Z")),
            ("2026-11-22T07:00:00Z", None),
            // The night in which the clocks go back is an hour longer.
            ("2026-10-24T21:00:00Z", Some("2026-10-25T07:00:00Z")),
            // And the one in which they go forward shorter.
            ("2026-03-28T21:00:00Z", Some("2026-03-29T06:00:00Z")),
        ] {
            assert_eq!(quiet_until(&night, &berlin, at(now)), until.map(at), "{now}");
        }
        let weekend = QuietHours { days: [Day::Fri].into(), ..night };
        // Friday's night reaches into Saturday; Saturday's is none.
        assert!(quiet_until(&weekend, &berlin, at("2026-11-21T06:00:00Z")).is_some());
        assert!(quiet_until(&weekend, &berlin, at("2026-11-21T22:00:00Z")).is_none());
    }

    #[test]
    fn an_hour_that_is_left_out_is_quiet_only_for_what_the_clock_shows() {
        let berlin = zone("Europe/Berlin");
        // The clock leaps from 2:00 to 3:00 at 01:00 UTC.
        for (from, to, now, until) in [
            // No clock shows any of it on this day.
            ((2, 0), (2, 1), "2026-03-29T00:00:00Z", None),
            ((2, 0), (2, 1), "2026-03-29T01:00:00Z", None),
            ((2, 0), (2, 1), "2026-03-28T01:00:00Z", Some("2026-03-28T01:01:00Z")),
            ((2, 30), (4, 0), "2026-03-29T00:59:59Z", None),
            ((2, 30), (4, 0), "2026-03-29T01:00:00Z", Some("2026-03-29T02:00:00Z")),
            ((1, 0), (2, 30), "2026-03-29T00:59:59Z", Some("2026-03-29T01:00:00Z")),
            ((1, 0), (2, 30), "2026-03-29T01:00:00Z", None),
        ] {
            let clock = |(hour, minute): (i8, i8)| time(hour, minute, 0, 0);
            let hours = quiet(clock(from), clock(to));
            assert_eq!(quiet_until(&hours, &berlin, at(now)), until.map(at), "{hours:?} {now}");
        }
    }

    #[test]
    fn digests_come_at_their_local_time_once_a_day() {
        let (berlin, eight) = (zone("Europe/Berlin"), time(8, 0, 0, 0));
        let next = |every, now| next_digest(every, eight, &berlin, at(now)).unwrap();
        for (now, due) in [
            ("2026-11-21T06:59:59Z", "2026-11-21T07:00:00Z"),
            ("2026-11-21T07:00:00Z", "2026-11-22T07:00:00Z"),
            ("2026-10-24T06:00:00Z", "2026-10-25T07:00:00Z"),
            ("2026-03-28T07:00:00Z", "2026-03-29T06:00:00Z"),
        ] {
            assert_eq!(next(DigestEvery::Daily, now), at(due), "{now}");
        }
        for (now, due) in [
            ("2026-11-21T06:59:59.5Z", "2026-11-21T07:00:00Z"),
            ("2026-11-21T07:00:00Z", "2026-11-21T08:00:00Z"),
            ("2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z"),
            ("2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z"),
        ] {
            assert_eq!(next(DigestEvery::Hourly, now), at(due), "{now}");
        }
        // A time that the change of the clocks leaves out comes after it, and not twice where it comes twice.
        let half_past_two = time(2, 30, 0, 0);
        for day in ["2026-03-29", "2026-10-25"] {
            let (mut now, mut times) = (at(&format!("{day}T00:00:00Z")), 0);
            let end = now + SignedDuration::from_hours(20);
            while let Some(due) = next_digest(DigestEvery::Daily, half_past_two, &berlin, now) {
                if due > end {
                    break;
                }
                (now, times) = (due, times + 1);
            }
            assert_eq!(times, 1, "{day}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

        /// Every minute around both changes of the clock, in zones north and south, of an hour and of half an hour.
        #[test]
        fn s10_no_minute_that_the_wall_shows_as_quiet_is_loud_and_each_window_ends(
            zones in prop::sample::select(vec![
                ("Europe/Berlin", "2026-03-29", "2026-10-25"),
                ("America/New_York", "2026-03-08", "2026-11-01"),
                ("Australia/Lord_Howe", "2026-04-05", "2026-10-04"),
                ("Asia/Kolkata", "2026-03-29", "2026-10-25"),
            ]),
            from in 0..24 * 60_i32,
            long in 1..24 * 60_i32,
            weekdays in any::<bool>(),
        ) {
            let clock = |minute: i32| {
                let minute = minute.rem_euclid(24 * 60);
                time(i8::try_from(minute / 60).unwrap(), i8::try_from(minute % 60).unwrap(), 0, 0)
            };
            let mut hours = quiet(clock(from), clock(from + long));
            if weekdays {
                hours.days.remove(&Day::Sun);
            }
            let local = zone(zones.0);
            for change in [zones.1, zones.2] {
                let start = at(&format!("{change}T00:00:00Z")) - SignedDuration::from_hours(30);
                for minute in 0..72 * 60 {
                    let now = start + SignedDuration::from_mins(minute);
                    let until = quiet_until(&hours, &local, now);
                    let shown = shows(&hours, local.to_datetime(now));
                    prop_assert!(!shown || until.is_some(), "{now} is loud, {hours:?}");
                    let Some(until) = until else { continue };
                    prop_assert!(until > now);
                    prop_assert!(until.duration_since(now) <= SignedDuration::from_hours(26));
                    // Longer than the wall shows by the change of the clock alone.
                    let near = |minutes: i64| {
                        let near = now + SignedDuration::from_mins(minutes);
                        shows(&hours, local.to_datetime(near))
                    };
                    let next = || (-61..=61).any(near);
                    prop_assert!(shown || next(), "{now} is quiet, {hours:?}");
                }
            }
        }
    }
}
