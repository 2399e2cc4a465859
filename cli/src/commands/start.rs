//! `ao start`, and the composition root of the server.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ao_core::{
    config::Catalog,
    decide::Input,
    disk::{LockError, RealDisk},
    journal::{Durability, Limits},
    registry::Registry,
    server::{Handle, Options, Server, StartError, SystemClock},
    slots::{InstanceId, plugin::BuildContext},
};
use ao_web::Api;
use tokio::{
    net::{TcpListener, UnixListener},
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::{
    client,
    cx::Cx,
    desk::Desk,
    fail::{Exit, Fail, chain},
    out, paths,
};

/// Files that may be open at once: all connections that the port takes, and as many again.
const OPEN_FILES: nix::sys::resource::rlim_t = 4_096;

/// Start the server; most commands do that by themselves
///
/// It outlives the terminal. Agents go on when it stops, and are found again when it starts.
///
/// Examples:
///   ao start
///   ao start --foreground           until Ctrl-C, with its log
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Cmd {
    /// Serve in this process until it is interrupted
    #[arg(long)]
    pub(crate) foreground: bool,
    /// With --foreground: leave the terminal's session first
    #[arg(long, requires = "foreground", hide = true)]
    detached: bool,
}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        let client = cx.client();
        // One that answers, not merely a socket: the process behind it may be ending.
        let runs = client.that_runs().get("/api/health").await.ok();
        let ran = runs.is_some();
        let started = if ran { Ok(()) } else { client::start(cx).await };
        // A server that was told to rest may be woken by hooks again; not before it is there, with this environment.
        let _ = fs::remove_file(paths::stopped(&cx.data_dir));
        started?;
        let health: ao_web::view::Health = match runs {
            Some(health) => health,
            None => client.get("/api/health").await?,
        };
        if cx.global.json {
            out::json(&health);
        } else if ran {
            out::say(&format!("ao {} already serves (process {})", health.version, health.pid));
        } else {
            out::say(&format!("ao {} serves (process {})", health.version, health.pid));
        }
        super::register(cx, client, None).await?;
        Ok(0)
    }

    /// Serves until a signal or `ao stop`.
    pub(crate) fn serve(&self, cx: &Cx) -> Result<u8, Fail> {
        if self.detached {
            // Fails only for a leader of a session, which has no terminal to lose.
            let _ = nix::unistd::setsid();
        }
        client::make_folders(cx)?;
        log(&cx.data_dir, !self.detached)?;
        // A few threads are enough: the loop is one task, plugins mostly wait.
        let workers = std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 4));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(workers)
            .enable_all()
            .build()?;
        let served = runtime.block_on(serve(cx));
        runtime.shutdown_timeout(Duration::from_secs(1));
        served
    }
}

async fn serve(cx: &Cx) -> Result<u8, Fail> {
    allow_open_files();
    let plugins = ao_plugins_bundled::all();
    let registry = Registry::new(plugins.clone());
    let infos = registry.list();
    let desk = Desk::open(cx, Catalog::new(plugins))?;
    let (loaded, refused) = desk.load_what_can_be_used();
    let port = loaded.policy.port;
    let link = cx.data_dir.join("run/ao");
    // Beside a server that serves this one ends at once: the link is not its.
    if std::os::unix::net::UnixStream::connect(cx.socket()).is_err() {
        link_program(&link);
    }
    let context = BuildContext {
        data_dir: cx.data_dir.clone(),
        run_dir: cx.run_dir.clone(),
        instance: unknown_instance()?,
        ao: link.clone(),
        home: cx.home.clone(),
        env: cx.env.clone(),
    };
    let options = Options {
        disk: Arc::new(RealDisk),
        limits: Limits::default(),
        durability: Durability::Commit,
        clock: Arc::new(SystemClock),
        boot: boot_id(),
        version: crate::VERSION.to_owned(),
        zone: jiff::tz::TimeZone::system(),
        registry,
        context,
        policy: loaded.policy.clone(),
        live: loaded.live.clone(),
        refused: !refused.is_empty(),
    };
    let server = Server::start(options).await.map_err(start_failed)?;
    let handle = server.handle();
    desk.serve(handle.clone(), &loaded, &refused).await;

    let socket = cx.socket();
    let listener = bind(&socket).map_err(|error| {
        Fail::new(Exit::Server, format!("the socket {} cannot be made", socket.display()))
            .because(error)
    })?;
    let _ = fs::remove_file(paths::stopped(&cx.data_dir));
    let (ending, ended) = watch::channel(false);
    let api = Api::new(handle.clone(), desk.clone(), infos, crate::VERSION);
    let serving = tokio::spawn(ao_web::serve_unix(listener, api.clone(), over(ended.clone())));
    let health = tokio::spawn(serve_port(port, api, ended.clone()));
    let guarding = tokio::spawn(guard_link(handle.clone(), link, ended.clone()));
    let beating = tokio::spawn(crate::heartbeat::run(handle.clone(), ended.clone()));
    let watching = tokio::spawn(desk.clone().watch(ended));
    tracing::info!(version = crate::VERSION, socket = %socket.display(), "serving");

    let stopper = handle.clone();
    let signals = tokio::spawn(async move {
        if wait_for_signal().await.is_ok() {
            stopper.stop("signal").await;
        }
    });
    server.wait().await;
    ending.send_replace(true);
    // The socket goes first, so that a client that comes now starts a server of its own.
    let _ = fs::remove_file(&socket);
    let drained = tokio::time::timeout(Duration::from_secs(3), serving).await;
    for task in [health, watching, guarding, beating, signals] {
        task.abort();
    }
    if let Ok(Ok(Err(error))) = drained {
        tracing::warn!(%error, "the socket did not end in good order");
    }
    tracing::info!("stopped; agents go on");
    Ok(0)
}

async fn over(mut ended: watch::Receiver<bool>) {
    // A sender that is gone means the same.
    let _ = ended.wait_for(|ended| *ended).await;
}

async fn wait_for_signal() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // The terminal that a foreground server was started in went away: it goes on.
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hangup.recv() => {}
        }
    }
}

/// Each connection is an open file, and most systems allow a program 1,024 of them before it asks for more.
fn allow_open_files() {
    use nix::sys::resource::{Resource::RLIMIT_NOFILE, getrlimit, setrlimit};
    let raised = getrlimit(RLIMIT_NOFILE).and_then(|(soft, hard)| match OPEN_FILES.min(hard) {
        wanted if wanted > soft => setrlimit(RLIMIT_NOFILE, wanted, hard),
        _ => Ok(()),
    });
    if let Err(error) = raised {
        tracing::warn!(%error, "few files may be open at once, so few may follow the events");
    }
}

/// Serves the loopback port. One that is taken costs one warning, nothing else.
async fn serve_port(port: u16, api: Arc<ao_web::Api>, ended: watch::Receiver<bool>) {
    match TcpListener::bind(("127.0.0.1", port)).await {
        Ok(listener) => {
            if let Err(error) = ao_web::serve_tcp(listener, api, over(ended)).await {
                tracing::warn!(%error, port, "the loopback port is not served any more");
            }
        }
        Err(error) => {
            tracing::warn!(%error, port, "the loopback port is taken; ao serves its own socket only");
            api.bind(Err(format!("port {port}: {error}")));
        }
    }
}

/// The socket, in place of one that a dead server left. The caller holds the data directory's lock.
fn bind(socket: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    fs::set_permissions(socket, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// The link that hooks and panes run: never a path of a build, so that it outlives an update.
pub(crate) fn link_program(link: &Path) {
    let linked = std::env::current_exe().and_then(|program| {
        if fs::read_link(link).is_ok_and(|target| target == program) {
            return Ok(());
        }
        // Made beside and moved over: at no moment is there none.
        let new = link.with_extension("new");
        let _ = fs::remove_file(&new);
        symlink(&program, &new)?;
        fs::rename(&new, link)
    });
    if let Err(error) = linked {
        tracing::error!(%error, link = %link.display(), "the link that hooks run could not be made");
    }
}

/// Whoever else sets the link decides what hooks run: it is put right, and a human is told (S24).
async fn guard_link(handle: Handle, link: PathBuf, ended: watch::Receiver<bool>) {
    let Ok(ours) = fs::read_link(&link) else { return };
    let ended = over(ended);
    tokio::pin!(ended);
    loop {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(2)) => {}
            () = &mut ended => return,
        }
        if fs::read_link(&link).is_ok_and(|now| now == ours) {
            continue;
        }
        let kept = link.with_extension("changed");
        let kept = fs::rename(&link, &kept).is_ok().then(|| kept.to_string_lossy().into_owned());
        if let Err(error) = symlink(&ours, &link) {
            tracing::error!(%error, link = %link.display(), "the link that hooks run could not be made");
        }
        let path = link.to_string_lossy().into_owned();
        // Refused only when the journal is; the log tells it then.
        if let Err(refusal) = handle.submit(Input::Tampered { path, kept }).await {
            tracing::error!(%refusal, "the link that hooks run was changed by another");
        }
    }
}

fn boot_id() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

/// Stands in until the journal tells the data directory's own.
fn unknown_instance() -> Result<InstanceId, Fail> {
    "00000000000000000000000000"
        .parse()
        .map_err(|error| Fail::new(Exit::Server, "no instance").because(error))
}

fn start_failed(error: StartError) -> Fail {
    match error {
        StartError::Lock(error @ LockError::Held { .. }) => Fail::new(Exit::Failed, chain(&error))
            .remedy("ao status   or, to replace it: ao restart"),
        StartError::Plugin(error) => {
            let remedy = error.remedy.clone().unwrap_or_else(|| "ao config check".into());
            Fail::new(Exit::Config, format!("the configuration cannot be used: {error}"))
                .remedy(remedy)
        }
        error => Fail::new(Exit::Server, "the server could not be started")
            .because(chain(&error))
            .remedy("ao doctor"),
    }
}

/// Logs to `<dataDir>/logs/server.log`; one that has grown large is put aside first.
fn log(data_dir: &Path, stderr_too: bool) -> Result<(), Fail> {
    use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};
    let path = data_dir.join("logs/server.log");
    if fs::metadata(&path).is_ok_and(|meta| meta.len() > 16 << 20) {
        let _ = fs::rename(&path, path.with_extension("log.1"));
    }
    let file = fs::OpenOptions::new().create(true).append(true).open(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    let filter = EnvFilter::try_from_env("AO_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,zbus=warn,hyper=warn"));
    let to_file = fmt::layer().with_ansi(false).with_target(false).with_writer(Arc::new(file));
    let to_stderr = stderr_too.then(|| fmt::layer().with_target(false).with_writer(io::stderr));
    // A second subscriber in one process happens only in tests.
    let _ = tracing_subscriber::registry().with(filter).with(to_file).with(to_stderr).try_init();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn r20_a_socket_that_a_dead_server_left_is_replaced_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("ao.sock");
        drop(bind(&socket).unwrap());
        assert!(socket.exists());
        let listener = bind(&socket).unwrap();
        assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(tokio::net::UnixStream::connect(&socket).await.is_ok());
        drop(listener);
    }

    #[test]
    fn the_link_to_the_program_is_renewed() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("ao");
        symlink("/no/such/build", &link).unwrap();
        link_program(&link);
        assert_eq!(fs::read_link(&link).unwrap(), std::env::current_exe().unwrap());
    }
}
