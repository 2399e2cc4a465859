//! What followers cost: run by `scripts/bench`, or `cargo bench -p ao-web --bench sse [-- CLIENTS]`.
//!
//! The server, its journal on the real disk, and what makes the events are this process; the clients are another one.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints, or breaks")]

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use ao_core::{
    config::policy::{Policy, Role},
    decide::{Grant, Input},
    disk::RealDisk,
    event::{AccessKind, Actor, Text},
    journal::{Durability, Limits},
    registry::Registry,
    server::{Handle, Options, Server, SystemClock},
    slots::plugin::BuildContext,
};
use ao_web::{
    Api, Configs, Problem,
    configs::{ConfigFile, ConfigReport},
};
use jiff::Timestamp;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// How long each figure is taken.
const LONG: Duration = Duration::from_secs(20);
/// Events a second.
const RATE: u64 = 100;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "clients") {
        let number = |n: usize| args[n].parse::<usize>().unwrap();
        return runtime(1).block_on(clients(number(1), number(2), &args[3], args[4] == "reads"));
    }
    // Other tools run benches to list what is in them.
    if !args.iter().any(|arg| arg == "--bench") {
        return;
    }
    let clients = args.iter().find_map(|arg| arg.parse().ok()).unwrap_or(1_000);
    runtime(2).block_on(bench(clients));
}

fn runtime(threads: usize) -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(threads).enable_all().build().unwrap()
}

async fn bench(count: usize) {
    let dir = tempfile::tempdir().unwrap();
    let handle = start(dir.path().to_owned()).await;
    let api = Api::new(handle.clone(), Arc::new(NoConfigs), vec![], "bench");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(ao_web::serve_tcp(listener, api, std::future::pending()));
    let mut secrets = vec![];
    for n in 0..20 {
        let grant = Grant {
            kind: AccessKind::Token,
            name: format!("bench {n}"),
            person: "ana".into(),
            role: Role::Admin,
            until: None,
            by: Actor::ao(),
        };
        secrets.push(handle.grant(grant).await.unwrap().1);
    }
    let secrets = secrets.join(",");

    let alone = spent(&handle, RATE).await;
    println!("no client, {RATE} events/s: {:.2} cores", alone.cores);

    let before = Memory::now();
    let mut reading = Clients::start(count, port, &secrets, "reads");
    let idle = Memory::now();
    let each = |memory: Memory, of: Memory| memory.less(of).each(count);
    println!("{count} clients, idle: {} a client", each(idle, before));
    let busy = spent(&handle, RATE).await;
    let told = reading.end();
    println!("{count} clients, {:.0} events/s: {:.2} cores; {told}", busy.rate, busy.cores);
    let frames = busy.rate * LONG.as_secs_f64() * count as f64;
    println!(
        "  {:.2} core seconds a million frames, the journal's own share taken off",
        (busy.cores - alone.cores) * LONG.as_secs_f64() / frames * 1e6
    );

    let before = Memory::now();
    let mut stalled = Clients::start(200, port, &secrets, "never");
    spent(&handle, 10 * RATE).await;
    println!("200 clients that never read: {} a client", Memory::now().less(before).each(200));
    stalled.end();
}

/// What it costs to let so many events a second happen.
struct Spent {
    cores: f64,
    rate: f64,
}

async fn spent(handle: &Handle, rate: u64) -> Spent {
    let last = || handle.state().last_seq.0;
    let (first, cpu, began) = (last(), cpu(), Instant::now());
    let mut n = 0_u64;
    while began.elapsed() < LONG {
        if (last() - first) as f64 > began.elapsed().as_secs_f64() * rate as f64 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        n += 1;
        let reason = Text::short(&format!("Line {n} of {first}: `notifer` is not a setting"));
        let input = Input::ConfigRefused { file: "/x.yaml".into(), reason, untrusted: false };
        handle.submit(input).await.unwrap();
    }
    let took = began.elapsed().as_secs_f64();
    Spent { cores: (self::cpu() - cpu) / took, rate: (last() - first) as f64 / took }
}

/// CPU time of this process, in seconds (proc(5), `stat`: fields 14 and 15, in hundredths).
fn cpu() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |n: usize| fields[n].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

/// What the process holds, and what the kernel holds for all TCP sockets of the machine.
#[derive(Clone, Copy)]
struct Memory {
    process: i64,
    sockets: i64,
}

impl Memory {
    fn now() -> Self {
        let kib = fs::read_to_string("/proc/self/status").unwrap();
        let kib = kib.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let pages = fs::read_to_string("/proc/net/sockstat").unwrap();
        let pages = pages.lines().find(|line| line.starts_with("TCP:")).unwrap();
        let number = |text: &str| text.split_whitespace().next().unwrap().parse::<i64>().unwrap();
        Self {
            process: number(kib) * 1024,
            sockets: number(pages.split("mem ").nth(1).unwrap()) * 4096,
        }
    }

    fn less(self, of: Self) -> Self {
        Self { process: self.process - of.process, sockets: self.sockets - of.sockets }
    }

    fn each(self, count: usize) -> String {
        let kib = |bytes: i64| bytes as f64 / 1024.0 / count as f64;
        format!("{:.1} KiB, and {:.1} KiB in sockets", kib(self.process), kib(self.sockets))
    }
}

/// The process of the clients; it is told by the end of its input that it is over.
struct Clients(Child);

impl Clients {
    /// Returns once all follow.
    fn start(count: usize, port: u16, secrets: &str, how: &str) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["clients", &count.to_string(), &port.to_string(), secrets, how])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut clients = Self(child.unwrap());
        let mut ready = String::new();
        BufReader::new(clients.0.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
        assert_eq!(ready, "ready\n");
        clients
    }

    /// What they tell in the end.
    fn end(&mut self) -> String {
        drop(self.0.stdin.take());
        let mut told = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut told).unwrap();
        assert!(self.0.wait().unwrap().success());
        told.trim().to_owned()
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// When each event happened, and how many milliseconds later clients had it.
#[derive(Default)]
struct Heard {
    at: HashMap<u64, Timestamp>,
    late: Vec<f32>,
}

async fn clients(count: usize, port: usize, secrets: &str, reads: bool) {
    let secrets: Vec<&str> = secrets.split(',').collect();
    let heard = Arc::new(Mutex::new(Heard::default()));
    let mut streams = vec![];
    for n in 0..count {
        let mut stream = TcpStream::connect(("127.0.0.1", port as u16)).await.unwrap();
        let secret = secrets[n % secrets.len()];
        let request = format!(
            "GET /api/events?brief=1 HTTP/1.1\r\nhost: localhost:{port}\r\n\
             accept: text/event-stream\r\nauthorization: Bearer {secret}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = [0; 1024];
        let read = stream.read(&mut head).await.unwrap();
        let head = String::from_utf8_lossy(&head[..read]);
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        streams.push(stream);
    }
    println!("ready");
    std::io::stdout().flush().unwrap();
    if reads {
        for stream in streams.drain(..) {
            tokio::spawn(read(stream, heard.clone()));
        }
    }
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut vec![]))
        .await
        .unwrap()
        .unwrap();
    let mut late = std::mem::take(&mut heard.lock().unwrap().late);
    late.sort_by(f32::total_cmp);
    let at = |part: f64| late.get((late.len() as f64 * part) as usize).copied().unwrap_or_default();
    println!(
        "{} frames, heard after p50 {:.0}, p99 {:.0}, most {:.0} ms",
        late.len(),
        at(0.5),
        at(0.99),
        late.last().copied().unwrap_or_default()
    );
}

async fn read(mut stream: TcpStream, heard: Arc<Mutex<Heard>>) {
    let (mut text, mut buffer) = (String::new(), vec![0; 64 * 1024]);
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        let now = Timestamp::now();
        text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        let mut heard = heard.lock().unwrap();
        while let Some((message, rest)) = text.split_once("\n\n") {
            if let Some((_, event)) = message.split_once("id: e")
                && let Some((seq, data)) = event.split_once("\ndata: {")
            {
                let seq = seq.parse().unwrap();
                let at = *heard.at.entry(seq).or_insert_with(|| {
                    let at = data.split_once("\"at\":\"").unwrap().1;
                    at.split('"').next().unwrap().parse().unwrap()
                });
                heard.late.push(now.duration_since(at).as_millis_f32());
            }
            text = rest.to_owned();
        }
    }
}

async fn start(data_dir: PathBuf) -> Handle {
    let mut policy = Policy { data_dir: data_dir.clone(), ..Policy::default() };
    policy.channels.clear();
    let options = Options {
        disk: Arc::new(RealDisk),
        limits: Limits::default(),
        durability: Durability::Commit,
        clock: Arc::new(SystemClock),
        boot: "boot".into(),
        version: "bench".into(),
        zone: jiff::tz::TimeZone::UTC,
        registry: Registry::new([]),
        context: BuildContext {
            run_dir: data_dir.join("run"),
            ao: data_dir.join("run/ao"),
            home: data_dir.clone(),
            data_dir,
            instance: "01JD0000000000000000000000".parse().unwrap(),
            env: Default::default(),
        },
        live: policy.clone().into(),
        policy,
        refused: false,
    };
    let server = Server::start(options).await.unwrap();
    let handle = server.handle();
    tokio::spawn(server.wait());
    handle
}

/// No configuration at all.
#[derive(Debug)]
struct NoConfigs;

#[async_trait::async_trait]
impl Configs for NoConfigs {
    async fn list(&self) -> Result<Vec<ConfigFile>, Problem> {
        Ok(vec![])
    }
    async fn register(&self, _: PathBuf) -> Result<ConfigReport, Problem> {
        Ok(ConfigReport::default())
    }
    async fn trust(&self, _: PathBuf, _: String) -> Result<ConfigReport, Problem> {
        Ok(ConfigReport::default())
    }
    async fn forget(&self, _: PathBuf) -> Result<ConfigReport, Problem> {
        Ok(ConfigReport::default())
    }
    async fn reload(&self) -> Result<ConfigReport, Problem> {
        Ok(ConfigReport::default())
    }
    async fn check(&self, _: Option<PathBuf>) -> Result<ConfigReport, Problem> {
        Ok(ConfigReport::default())
    }
}
