//! How fast a journal is decided anew, run by `scripts/bench`, or `cargo bench -p ao-core --bench replay`: events a second, read from JSON as they lie in the journal.
//!
//! The demo's log many times over, each time with other sessions, later.

#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a benchmark prints, and ends when it is broken"
)]

use std::{collections::BTreeMap, time::Instant};

use ao_core::{
    config::policy::Policy,
    decide::replay::Replay,
    event::{Event, Kind},
};
use serde_json::Value;

const DEMO: &str = include_str!("../tests/golden/demo-1.jsonl");
/// Times that the log is told.
const ROUNDS: u64 = 2_000;
/// What a server's life holds once.
const ONCE: [&str; 4] = ["server.started", "server.stopped", "config.applied", "sweep.completed"];
/// How much later each telling is, in milliseconds.
const LATER_MS: u64 = 60_000;

fn main() {
    // Other tools run benches to list what is in them.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let lines: Vec<Value> =
        DEMO.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let count = lines.len() as u64;
    let mut journal = Vec::new();
    for round in 0..ROUNDS {
        for line in &lines {
            // What is said once a server's life, not once a round.
            if round > 0 && ONCE.iter().any(|kind| line["kind"] == *kind) {
                continue;
            }
            let mut line = line.clone();
            renumber(&mut line, round, count);
            line["seq"] = (line["seq"].as_u64().expect("seq") + round * count).into();
            line["awake"] = (line["awake"].as_u64().expect("awake") + round * LATER_MS).into();
            let at: jiff::Timestamp = line["at"].as_str().expect("at").parse().expect("a time");
            let later =
                jiff::SignedDuration::from_millis(i64::try_from(round * LATER_MS).expect("small"));
            line["at"] = (at + later).to_string().into();
            journal.push(serde_json::to_vec(&line).expect("JSON"));
        }
    }
    let policy =
        journal.iter().find_map(|line| match Event::decode(line).expect("an event").kind {
            Kind::ConfigApplied(e) => Some(*e.policy),
            _ => None,
        });
    let policy: Policy = policy.expect("a configuration");
    let begun = Instant::now();
    let mut replay = Replay::new(policy, BTreeMap::new());
    for line in &journal {
        replay.event(&Event::decode(line).expect("an event"));
    }
    let compared = replay.finish();
    let took = begun.elapsed();
    let each = compared.events as f64 / took.as_secs_f64();
    println!(
        "replay: {} events in {:.2} s: {each:.0} events/s; {} → {} messages",
        compared.events,
        took.as_secs_f64(),
        compared.old.len(),
        compared.new.len()
    );
}

/// Gives what a line names the numbers of another round.
fn renumber(value: &mut Value, round: u64, count: u64) {
    match value {
        Value::String(text) => {
            let kind = text.trim_end_matches(|c: char| c.is_ascii_digit());
            let number = &text[kind.len()..];
            let step = match kind {
                "e" => count,
                "shop-" | "i-" | "n-" | "r-" | "m-" => 1_000,
                _ => return,
            };
            if let Ok(number) = number.parse::<u64>() {
                *text = format!("{kind}{}", number + round * step);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| renumber(item, round, count)),
        Value::Object(map) => map.values_mut().for_each(|item| renumber(item, round, count)),
        _ => {}
    }
}
