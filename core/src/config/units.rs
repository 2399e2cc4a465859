//! Durations and sizes as people write them.

use std::{borrow::Cow, fmt, str::FromStr};

use jiff::civil::Time;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

/// A duration in milliseconds, written `10m`, `1h30m`, `30 s`, `90d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Millis(pub(super) u64);

/// A size in bytes, written `1GiB`, `500 MB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Bytes(pub(super) u64);

/// An amount of money in millionths of a dollar, written `$10`, `$2.50`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Dollars(pub(super) u64);

/// A time of day, written `22:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Clock(pub(super) Time);

/// The text is no duration, size, amount or time of day.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind}")]
pub(super) struct UnitError {
    text: String,
    kind: &'static str,
}

/// Longest duration that is read: 100 years of 366 days.
const LONGEST: u64 = 100 * 366 * 86_400_000;

impl FromStr for Millis {
    type Err = UnitError;

    /// One or more numbers with a unit each: `ms s m h d w`, also `sec`, `min`. Spaces between are allowed.
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let unit = |unit: &str| match unit {
            "ms" => Some(1),
            "s" | "sec" => Some(1_000),
            "m" | "min" => Some(60_000),
            "h" => Some(3_600_000),
            "d" => Some(86_400_000),
            "w" => Some(7 * 86_400_000),
            _ => None,
        };
        let sum = sum(text, unit).filter(|sum| *sum <= LONGEST);
        sum.map(Self).ok_or_else(|| UnitError { text: text.to_owned(), kind: "duration" })
    }
}

impl FromStr for Bytes {
    type Err = UnitError;

    /// A number with a unit: `B KiB MiB GiB TiB` by 1024, `KB MB GB TB` by 1000.
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let unit = |unit: &str| match unit {
            "B" => Some(1),
            "KiB" => Some(1 << 10),
            "MiB" => Some(1 << 20),
            "GiB" => Some(1 << 30),
            "TiB" => Some(1 << 40),
            "KB" | "kB" => Some(1_000),
            "MB" => Some(1_000_000),
            "GB" => Some(1_000_000_000),
            "TB" => Some(1_000_000_000_000),
            _ => None,
        };
        sum(text, unit).map(Self).ok_or_else(|| UnitError { text: text.to_owned(), kind: "size" })
    }
}

impl FromStr for Dollars {
    type Err = UnitError;

    /// A dollar sign, dollars, and at most two digits of cents.
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let amount = || {
            let number = text.trim().strip_prefix('$')?;
            let (dollars, cents) = number.split_once('.').unwrap_or((number, "00"));
            let cents = format!("{cents:0<2}");
            if !digits(dollars) || !digits(&cents) || cents.len() > 2 || number.ends_with('.') {
                return None;
            }
            let dollars = dollars.parse::<u64>().ok()?.checked_mul(1_000_000)?;
            dollars.checked_add(cents.parse::<u64>().ok()? * 10_000)
        };
        amount().map(Self).ok_or_else(|| UnitError { text: text.to_owned(), kind: "amount" })
    }
}

impl FromStr for Clock {
    type Err = UnitError;

    /// Hours from 0 to 23 and two digits of minutes.
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let number = |digits: &str, lengths: std::ops::RangeInclusive<usize>| {
            let plain =
                lengths.contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
            if plain { digits.parse::<i8>().ok() } else { None }
        };
        let time = || {
            let (hour, minute) = text.trim().split_once(':')?;
            Time::new(number(hour, 1..=2)?, number(minute, 2..=2)?, 0, 0).ok()
        };
        time().map(Self).ok_or_else(|| UnitError { text: text.to_owned(), kind: "time of day" })
    }
}

/// The sum of numbers with units; none when anything else stands there or the sum is too large.
fn sum(text: &str, unit: impl Fn(&str) -> Option<u64>) -> Option<u64> {
    let mut rest = text.trim();
    let mut sum = 0_u64;
    loop {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let tail = tail.trim_start();
        let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (name, tail) = tail.split_at(end);
        sum = sum.checked_add(number.parse::<u64>().ok()?.checked_mul(unit(name)?)?)?;
        rest = tail.trim_start();
        if rest.is_empty() {
            return Some(sum);
        }
    }
}

macro_rules! unit_text {
    ($name:ident, $schema:literal, $format:literal, $pattern:literal, $about:literal) => {
        impl TryFrom<String> for $name {
            type Error = UnitError;
            fn try_from(text: String) -> Result<Self, UnitError> {
                text.parse()
            }
        }
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                $schema.into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "format": $format, "pattern": $pattern, "description": $about})
            }
        }
    };
}

unit_text!(
    Millis,
    "Duration",
    "ao-duration",
    r"^(\s*[0-9]+\s*(ms|s|sec|m|min|h|d|w))+\s*$",
    "A duration, e.g. `30s`, `10m`, `1h30m`, `90d`."
);
unit_text!(
    Bytes,
    "Size",
    "ao-size",
    r"^\s*[0-9]+\s*(B|[KMGT]iB|[KkMGT]B)\s*$",
    "A size, e.g. `500MiB`, `2GiB`."
);

unit_text!(
    Dollars,
    "Dollars",
    "ao-dollars",
    r"^\s*\$[0-9]+(\.[0-9]{1,2})?\s*$",
    "An amount in dollars, e.g. `$10`, `$2.50`."
);

unit_text!(
    Clock,
    "TimeOfDay",
    "ao-time",
    r"^\s*([01]?[0-9]|2[0-3]):[0-5][0-9]\s*$",
    "A time of day, e.g. `22:00`."
);

impl fmt::Display for Millis {
    /// The shortest spelling that reads back as the same: `1h30m`, `500ms`, `0s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        if rest == 0 {
            return f.write_str("0s");
        }
        for (name, unit) in
            [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)]
        {
            if rest >= unit {
                write!(f, "{}{name}", rest / unit)?;
                rest %= unit;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units() {
        for (text, wanted) in [
            ("10m", Some(600_000)),
            ("1h30m", Some(5_400_000)),
            ("30 s", Some(30_000)),
            ("1 h 30 min", Some(5_400_000)),
            (" 90d ", Some(90 * 86_400_000)),
            ("2w", Some(14 * 86_400_000)),
            ("250ms", Some(250)),
            ("0s", Some(0)),
            ("", None),
            ("10", None),
            ("m", None),
            ("10x", None),
            ("10 m 5", None),
            ("-10m", None),
            ("1.5h", None),
            ("１０m", None),
            ("999999999999999999999s", None),
            ("36601d", None),
        ] {
            assert_eq!(text.parse::<Millis>().ok().map(|d| d.0), wanted, "{text:?}");
        }
        assert_eq!("10x".parse::<Millis>().unwrap_err().to_string(), "`10x` is not a duration");
    }

    #[test]
    fn sizes_are_numbers_with_units() {
        for (text, wanted) in [
            ("1GiB", Some(1 << 30)),
            ("500 MB", Some(500_000_000)),
            ("0B", Some(0)),
            ("1G", None),
            ("1 gib", None),
            ("99999999999TiB", None),
        ] {
            assert_eq!(text.parse::<Bytes>().ok().map(|s| s.0), wanted, "{text:?}");
        }
    }

    #[test]
    fn an_amount_is_in_dollars() {
        for (text, wanted) in [
            ("$10", Some(10_000_000)),
            (" $2.50 ", Some(2_500_000)),
            ("$0.5", Some(500_000)),
            ("$0", Some(0)),
            ("10", None),
            ("$", None),
            ("$.5", None),
            ("$1.", None),
            ("$1.234", None),
            ("$-1", None),
            ("$1,000", None),
            ("$99999999999999999999", None),
        ] {
            assert_eq!(text.parse::<Dollars>().ok().map(|amount| amount.0), wanted, "{text:?}");
        }
    }

    #[test]
    fn a_time_of_day_has_hours_and_minutes() {
        for (text, wanted) in [
            ("22:00", Some((22, 0))),
            ("7:05", Some((7, 5))),
            ("00:59", Some((0, 59))),
            ("24:00", None),
            ("7:5", None),
            ("7", None),
            ("-1:00", None),
            ("+1:00", None),
            ("07:00:00", None),
            ("12:60", None),
            ("", None),
        ] {
            let wanted = wanted.map(|(hour, minute)| jiff::civil::time(hour, minute, 0, 0));
            assert_eq!(text.parse::<Clock>().ok().map(|clock| clock.0), wanted, "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_duration_reads_back_what_it_prints(ms in 0..LONGEST) {
            proptest::prop_assert_eq!(Millis(ms).to_string().parse::<Millis>(), Ok(Millis(ms)));
        }
    }
}
