//! What the loop costs: run by `scripts/bench`, or `cargo bench -p ao-core --bench server`.
//!
//! Plugins live in memory, the disk is the real one where nothing else is said. Resident memory and CPU time
//! hold the fakes too.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints, or breaks")]
#![allow(dead_code, reason = "the tests use all of the harness")]

#[path = "../tests/it/fakes.rs"]
mod fakes;
#[path = "../tests/it/harness.rs"]
mod harness;
#[path = "../tests/it/slow.rs"]
mod slow;

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use ao_core::state::Step;
use ao_slots::{Call, SessionId, agent::Signal, runtime::Runtime};
use harness::{House, answered, channels, question};
use slow::SlowDisk;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let number = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        args.get(at + 1)?.parse::<usize>().ok()
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if let Some(sessions) = number("memory") {
        return runtime.block_on(memory(sessions));
    }
    // Other tools run benches to list what is in them.
    if !args.iter().any(|arg| arg == "--bench") {
        return;
    }
    println!("inputs/s, each durable before it is answered, with syncs of 4 ms:");
    for senders in [1, 16, 64, 256] {
        runtime.block_on(inputs(senders));
    }
    runtime.block_on(latency(100));
    println!("resident memory of the process, each session after 20 hooks:");
    for sessions in [0, 100, 1_000] {
        // A process of its own: an allocator gives nothing back.
        let own = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["memory", &sessions.to_string()])
            .status();
        assert!(own.unwrap().success());
    }
    runtime.block_on(sweep(1_000));
    runtime.block_on(recovery(1_000_000));
}

fn tool(command: String) -> Signal {
    Signal::ToolStarted { id: None, tool: "Bash".into(), command: Some(command) }
}

async fn inputs(senders: usize) {
    let disk = SlowDisk::new(Duration::from_millis(4));
    let mut house = House::with(|house| {
        house.disk = Arc::new(disk.clone());
        house.policy.lifecycle.sweep_interval_ms = 3_600_000;
    })
    .await;
    let sessions = spawn(&house, senders.min(64), None).await;
    let syncs = disk.syncs.load(Ordering::Relaxed);
    let each = 40_000 / (senders + 60);
    let began = Instant::now();
    let senders: Vec<_> = (0..senders)
        .map(|sender| {
            let (handle, call) =
                (house.handle(), house.call(&sessions[sender % sessions.len()], &[]));
            tokio::spawn(async move {
                for n in 0..each {
                    let mut call = call.clone();
                    call.payload =
                        serde_json::to_vec(&[tool(format!("step {sender} {n}"))]).unwrap();
                    handle.hook(call).await.unwrap();
                }
            })
        })
        .collect();
    let count = senders.len();
    for sender in senders {
        sender.await.unwrap();
    }
    let (took, inputs) = (began.elapsed(), count * each);
    let syncs = disk.syncs.load(Ordering::Relaxed) - syncs;
    println!(
        "  {count:>3} senders: {:>6.0} inputs/s, {:.1} inputs a sync",
        inputs as f64 / took.as_secs_f64(),
        inputs as f64 / syncs as f64
    );
    house.stop().await;
}

/// Spawns sessions whose agents work, each with a transcript where `transcripts` is given.
async fn spawn(
    house: &House,
    count: usize,
    transcripts: Option<&std::path::Path>,
) -> Vec<SessionId> {
    let mut sessions = vec![];
    for n in 0..count {
        sessions.push(house.spawn(&format!("Task {n}")).await.unwrap());
    }
    for (n, id) in sessions.iter().enumerate() {
        let prompt = format!("Task {n}");
        if let Some(folder) = transcripts {
            house.until("the agent runs", |state| state.sessions[id].handle.is_some()).await;
            let path = folder.join(format!("{id}.jsonl"));
            std::fs::write(&path, "{\"type\":\"assistant\"}\n".repeat(200)).unwrap();
            let transcript = Some(path);
            let started = Signal::Started { native_id: None, transcript, version: None };
            house.tell(id, &[started]).await.unwrap();
        }
        house.begins(id, &prompt).await;
    }
    house.until("all work", |state| state.sessions.values().all(|s| s.step == Step::Ready)).await;
    sessions
}

/// From a hook that asks to the send that tells, without settle time.
async fn latency(count: usize) {
    let mut house = House::with(|house| {
        channels(&mut house.policy, &["letters"]);
        house.policy.lifecycle.sweep_interval_ms = 5_000;
        house.policy.lifecycle.settle.urgent_ms = 0;
    })
    .await;
    let sessions = spawn(&house, count, None).await;
    let floor = floor(house.data_dir());
    let (mut durable, mut sent) = (vec![], vec![]);
    for round in 0..5 {
        for session in &sessions {
            let text = format!("Which {round}?");
            house.fakes.letters.begun.lock().unwrap().clear();
            let began = Instant::now();
            house.tell(session, &[question(&text)]).await.unwrap();
            durable.push(began.elapsed());
            let at = house
                .patiently("a letter", async || {
                    let begun = house.fakes.letters.begun.lock().unwrap();
                    begun.iter().find(|(of, _)| of.as_ref() == Some(session)).map(|(_, at)| *at)
                })
                .await;
            sent.push(at - began);
            house.tell(session, &[answered(&text)]).await.unwrap();
        }
    }
    println!("{count} sessions, one sync of this disk {:.2} ms:", millis(floor));
    for (what, mut times) in [("hook answered, durable", durable), ("hook to send begun", sent)] {
        times.sort();
        let at = |part: f64| millis(times[((times.len() - 1) as f64 * part) as usize]);
        println!("  {what}: p50 {:.2} ms, p99 {:.2} ms", at(0.5), at(0.99));
    }
    house.stop().await;
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// A plain write of a line and its fdatasync, the median of 100.
fn floor(folder: &std::path::Path) -> Duration {
    use std::io::Write;
    let mut file = std::fs::File::create(folder.join("floor")).unwrap();
    let mut times: Vec<Duration> = (0..100)
        .map(|_| {
            let began = Instant::now();
            file.write_all(&[b'x'; 900]).unwrap();
            file.sync_data().unwrap();
            began.elapsed()
        })
        .collect();
    times.sort();
    times[50]
}

async fn memory(count: usize) {
    let mut house = House::with(|house| house.policy.lifecycle.sweep_interval_ms = 1_000).await;
    let sessions = spawn(&house, count, None).await;
    for round in 0..10 {
        for session in &sessions {
            let told = [tool(format!("step {round}")), answered("nothing")];
            house.tell(session, &told).await.unwrap();
        }
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<f64>().ok()
    };
    let mib = |name: &str| field(name).map_or(f64::NAN, |kib| kib / 1024.0);
    println!("  {count:>5} sessions: {:.1} MiB, at most {:.1}", mib("VmRSS:"), mib("VmHWM:"));
    house.stop().await;
}

fn cpu() -> Duration {
    let time = nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID.now().unwrap();
    Duration::new(time.tv_sec().try_into().unwrap(), time.tv_nsec().try_into().unwrap())
}

/// CPU time of one sweep over sessions that do nothing, without what the fake runtime itself takes.
async fn sweep(count: usize) {
    const SWEEPS: u32 = 20;
    let transcripts = tempfile::tempdir().unwrap();
    let mut house = House::with(|house| house.policy.lifecycle.sweep_interval_ms = 500).await;
    let sessions = spawn(&house, count, Some(transcripts.path())).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let probes = || house.fakes.rig.calls("runtime.probe", "");
    let (before, began) = (probes(), cpu());
    while probes() < before + SWEEPS {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let all = (cpu() - began) / SWEEPS;
    let handles: Vec<_> = sessions.iter().map(|id| house.session(id).handle.unwrap()).collect();
    let began = cpu();
    for _ in 0..SWEEPS {
        let call = Call::new("bench", Duration::from_secs(4));
        assert_eq!(house.fakes.runtime.probe(&call, &handles).await.unwrap().len(), count);
    }
    let fake = (cpu() - began) / SWEEPS;
    println!(
        "a sweep of {count} sessions with transcripts: {:.1} ms CPU, beside {:.1} ms of the fake runtime",
        millis(all.saturating_sub(fake)),
        millis(fake)
    );
    house.stop().await;
}

/// A server's whole start over that many events: with the snapshot that it wrote itself, and without any.
async fn recovery(events: u64) {
    let mut house = House::with(|house| house.policy.lifecycle.sweep_interval_ms = 3_600_000).await;
    let sessions = spawn(&house, 100, None).await;
    let tellers = (0..256).map(|teller| {
        let handle = house.handle();
        let call = house.call(&sessions[teller % sessions.len()], &[]);
        tokio::spawn(async move {
            for n in 0_u64.. {
                if handle.state().last_seq.0 >= events {
                    return;
                }
                let mut call = call.clone();
                let told = [tool(format!("step {teller} {n}"))];
                call.payload = serde_json::to_vec(&told).unwrap();
                handle.hook(call).await.unwrap();
            }
        })
    });
    for teller in tellers.collect::<Vec<_>>() {
        teller.await.unwrap();
    }
    house.kill().await;
    println!("a server's start over {events} events:");
    for what in ["with the last snapshot", "without a snapshot"] {
        let began = Instant::now();
        house.start().await.unwrap();
        println!("  {what}: {:.0} ms", millis(began.elapsed()));
        house.kill().await;
        let _ = std::fs::remove_file(house.data_dir().join("snapshot.json"));
    }
}
