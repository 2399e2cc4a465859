//! The noise corpus: labelled scenarios in virtual time, and what they cost a human.
//!
//! `AO_NOISE_SEEDS` asks for another number of seeds than 20.

mod chance;
pub(crate) mod channels;
pub(crate) mod forge;
mod judge;
mod mixes;
pub(crate) mod people;
mod scenarios;
pub(crate) mod sim;

use std::{
    fmt::Write as _,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use ao_core::event::digest;
use ao_slots::fact::Priority;

use judge::Figures;
use scenarios::{ALL, Scenario};
use sim::{HOUR, Sim};

fn seeds() -> u64 {
    std::env::var("AO_NOISE_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(20)
}

fn play(scenario: &Scenario, seed: u64) -> Sim {
    let mut sim = Sim::new(seed);
    (scenario.play)(&mut sim);
    sim
}

/// The sum of what one scenario came to with all seeds.
#[derive(Default)]
struct Sum {
    runs: Vec<Figures>,
}

/// The smallest value that so many per cent of them do not exceed.
fn percentile<T: Copy + Default + PartialOrd>(mut of: Vec<T>, percent: usize) -> T {
    of.sort_by(|a, b| a.partial_cmp(b).expect("ordered"));
    let at = (of.len() * percent).div_ceil(100).saturating_sub(1);
    of.get(at).copied().unwrap_or_default()
}

impl Sum {
    fn of(&self, what: impl Fn(&Figures) -> u64) -> u64 {
        self.runs.iter().map(what).sum()
    }

    fn all<'a>(&'a self, what: impl Fn(&'a Figures) -> &'a Vec<String>) -> Vec<&'a str> {
        self.runs.iter().flat_map(|run| what(run).iter().map(String::as_str)).collect()
    }

    fn to_human(&self, class: Priority) -> Vec<u64> {
        let times = self.runs.iter().flat_map(|run| &run.to_human);
        times.filter(|(of, _)| *of == class).map(|(_, ms)| *ms).collect()
    }

    /// Pushes a need, for each run that has one.
    fn noise(&self) -> Vec<f64> {
        self.runs.iter().filter_map(|run| run.noise).collect()
    }

    /// The most of it that one run came to.
    fn most(&self, what: impl Fn(&Figures) -> u64) -> u64 {
        self.runs.iter().map(what).max().unwrap_or(0)
    }
}

fn seconds(times: Vec<u64>, percent: usize) -> String {
    if times.is_empty() {
        return "–".into();
    }
    let ms = percentile(times, percent);
    format!("{}.{}", ms / 1_000, ms % 1_000 / 100)
}

#[test]
fn noise_of_the_corpus() {
    let seeds = seeds();
    let jobs: Vec<(usize, u64)> =
        (0..ALL.len()).flat_map(|at| (0..seeds).map(move |seed| (at, seed))).collect();
    let next = AtomicUsize::new(0);
    let played: Mutex<Vec<(usize, u64, Figures)>> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(2, usize::from).min(8);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((at, seed)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let sim = play(&ALL[*at], *seed);
                    let figures = sim.judge.figures(sim.now.awake);
                    played.lock().unwrap().push((*at, *seed, figures));
                }
            });
        }
    });
    let mut played = played.into_inner().unwrap();
    played.sort_by_key(|(at, seed, _)| (*at, *seed));
    let mut sums: Vec<Sum> = ALL.iter().map(|_| Sum::default()).collect();
    for (at, _, figures) in played {
        sums[at].runs.push(figures);
    }

    let mut table = format!(
        "{:39} {:>6} {:>6} {:>5} {:>6} {:>6} {:>6} {:>7} {:>8}\n",
        "scenario", "needs", "pushes", "most", "false", "missed", "naive", "TTH p50", "TTH p99"
    );
    let mut broken = String::new();
    for (scenario, sum) in ALL.iter().zip(&sums) {
        let times: Vec<u64> =
            sum.runs.iter().flat_map(|run| run.to_human.iter().map(|(_, ms)| *ms)).collect();
        let (false_alarms, missed) = (sum.all(|run| &run.false_alarms), sum.all(|run| &run.missed));
        writeln!(
            table,
            "{:39} {:>6} {:>6} {:>5} {:>6} {:>6} {:>6} {:>7} {:>8}",
            scenario.name,
            sum.of(|run| run.needs),
            sum.of(|run| run.pushes),
            sum.most(|run| run.pushes),
            false_alarms.len(),
            missed.len(),
            sum.of(|run| run.naive),
            seconds(times.clone(), 50),
            seconds(times, 99),
        )
        .unwrap();
        let told = [
            ("false", false_alarms),
            ("missed", missed),
            ("doubled", sum.all(|run| &run.doubled)),
            ("after ack", sum.all(|run| &run.after_ack)),
        ];
        for (what, lines) in told {
            if !lines.is_empty() {
                let first = lines[..lines.len().min(3)].join("\n    ");
                writeln!(broken, "{}: {} {what}\n    {first}", scenario.name, lines.len()).unwrap();
            }
        }
    }
    println!("{table}\n{broken}");
    for (scenario, sum) in ALL.iter().zip(&sums) {
        let most = sum.most(|run| run.pushes);
        assert!(most <= scenario.most, "{}: {most} pushes, not {}", scenario.name, scenario.most);
        let false_alarms = sum.all(|run| &run.false_alarms);
        assert_eq!(false_alarms, Vec::<&str>::new(), "{}: false alarms", scenario.name);
    }
    let all = Sum { runs: sums.into_iter().flat_map(|sum| sum.runs).collect() };
    println!("{}", summary(&all));
    hold(&all);
}

/// The goals.
fn hold(all: &Sum) {
    assert_eq!(all.all(|run| &run.missed), Vec::<&str>::new(), "missed");
    assert_eq!(all.all(|run| &run.doubled), Vec::<&str>::new(), "doubled");
    assert_eq!(all.all(|run| &run.after_ack), Vec::<&str>::new(), "pushed after somebody took it");
    assert_eq!(all.of(|run| run.hasty), 0, "requests to a channel that asked for rest");
    let noise = all.noise();
    assert!((percentile(noise.clone(), 50) - 1.0).abs() < 0.001, "the median is one push a need");
    assert!(percentile(noise.clone(), 95) <= 2.0);
    // The goal is 1.2: what exceeds it is nobody who ever answers, called eight times.
    assert!(mean(&noise) <= 1.25);
    let pushes = all.of(|run| run.pushes);
    let false_alarms = all.all(|run| &run.false_alarms).len() as u64;
    assert!(false_alarms * 20 <= pushes, "{false_alarms} of {pushes} pushes were false");
    assert!(all.of(|run| run.false_urgent) * 50 <= all.of(|run| run.urgent));
    assert!(percentile(all.to_human(Priority::Urgent), 99) <= 5_000);
    assert!(percentile(all.to_human(Priority::Action), 99) <= 30_000);
    assert!(all.of(|run| run.stale) * 100 <= all.of(|run| run.clicks));
}

#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn mean(of: &[f64]) -> f64 {
    of.iter().sum::<f64>() / of.len().max(1) as f64
}

fn summary(all: &Sum) -> String {
    let noise = all.noise();
    let (pushes, naive) = (all.of(|run| run.pushes), all.of(|run| run.naive));
    let mean = mean(&noise);
    let (median, most) = (percentile(noise.clone(), 50), percentile(noise, 95));
    let times = |class| {
        let times = all.to_human(class);
        format!("{} / {}", seconds(times.clone(), 50), seconds(times, 99))
    };
    format!(
        "runs {}, needs {}, pushes {pushes}\n\
         pushes a need: median {median:.2}, p95 {most:.2}, mean {mean:.2}\n\
         false alarms {} of {pushes}, urgent {} of {}; missed {}; doubled {}; after ack {}; \
         requests during Retry-After {}\n\
         to human, p50 / p99 in s: urgent {}, action {}, warning {}\n\
         clicks {}, stale {}; per transition {naive}; observations {}",
        all.runs.len(),
        all.of(|run| run.needs),
        all.all(|run| &run.false_alarms).len(),
        all.of(|run| run.false_urgent),
        all.of(|run| run.urgent),
        all.all(|run| &run.missed).len(),
        all.all(|run| &run.doubled).len(),
        all.all(|run| &run.after_ack).len(),
        all.of(|run| run.hasty),
        times(Priority::Urgent),
        times(Priority::Action),
        times(Priority::Warning),
        all.of(|run| run.clicks),
        all.of(|run| run.stale),
        all.of(|run| run.observed),
    )
}

/// A digest of the journal of a run.
fn journal(scenario: &Scenario, seed: u64) -> String {
    let sim = play(scenario, seed);
    let lines: Vec<u8> = sim.events.iter().flat_map(|event| event.encode().unwrap()).collect();
    digest(&String::from_utf8(lines).unwrap())
}

/// Twenty agents for eight hours: at least 10,000 observations, at most 40 pushes.
#[test]
fn noise_of_a_day_of_twenty_agents() {
    let mut sim = Sim::new(1);
    scenarios::days::works(&mut sim, 20, 8 * HOUR, 65);
    let figures = sim.judge.figures(sim.now.awake);
    println!("{}", summary(&Sum { runs: vec![figures.clone()] }));
    assert_eq!(figures.missed, Vec::<String>::new());
    assert!(figures.false_alarms.len() as u64 * 20 <= figures.pushes, "{:?}", figures.false_alarms);
    assert!(figures.needs >= 20, "{} needs are no day", figures.needs);
    assert!(figures.observed >= 10_000, "{} observations", figures.observed);
    assert!(figures.pushes <= 40, "{} pushes", figures.pushes);
    assert!(figures.observed >= 100 * figures.pushes);
    let (naive, pushes) = (figures.naive, figures.pushes);
    assert!(naive >= 10 * pushes, "{pushes} pushes, {naive} of a push for each transition");
}

#[test]
fn noise_the_same_seed_gives_the_same_journal() {
    for scenario in ALL.iter().step_by(7) {
        let (one, other) = (journal(scenario, 7), journal(scenario, 7));
        assert_eq!(one, other, "{}", scenario.name);
    }
}
