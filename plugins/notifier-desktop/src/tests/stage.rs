//! What the tests stand on: a session bus of their own, a daemon that is stricter than real ones, and a real
//! one under a display of its own. Needs the packages dbus, dunst, xvfb and xdotool.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use ao_conformance::notifier::{FarEnd, Mood, Shown};
use ao_slots::{notifier::Notifier, plugin::BuildContext};
use async_trait::async_trait;
use tempfile::TempDir;
use tokio_stream::StreamExt as _;
use zbus::{Connection, Message, MessageStream, OwnedVariant, message::Type};

use crate::registration;

const SERVICE: &str = "org.freedesktop.Notifications";
const PATH: &str = "/org/freedesktop/Notifications";

/// Polls until `ready` gives something; panics after a time that no machine needs.
pub(super) async fn until<T>(what: &str, mut ready: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = ready().await {
            return found;
        }
        assert!(Instant::now() < end, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A program that ends with the test, also with one that fails.
#[derive(Debug)]
struct Program(Child);

impl Program {
    fn start(command: &mut Command) -> Self {
        let name = command.get_program().to_owned();
        match command.stdin(Stdio::null()).stderr(Stdio::null()).spawn() {
            Ok(child) => Self(child),
            Err(error) => panic!("{name:?}: {error} (packages: dbus dunst xvfb xdotool)"),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A private session bus that starts no services by itself.
#[derive(Debug)]
pub(super) struct Bus {
    _daemon: Program,
    folder: TempDir,
}

impl Bus {
    pub(super) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (socket, config) = (folder.path().join("bus"), folder.path().join("bus.conf"));
        let text = format!(
            r#"<busconfig><type>session</type><listen>unix:path={}</listen>
            <policy context="default"><allow send_destination="*" eavesdrop="true"/>
            <allow eavesdrop="true"/><allow own="*"/></policy></busconfig>"#,
            socket.display()
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new("dbus-daemon");
        command
            .arg(format!("--config-file={}", config.display()))
            .args(["--nofork", "--nopidfile"]);
        let daemon = Program::start(command.stdout(Stdio::null()));
        let bus = Self { _daemon: daemon, folder };
        until("the bus listens", async || socket.exists().then_some(())).await;
        drop(until("the bus answers", async || bus.connection().await.ok()).await);
        bus
    }

    pub(super) fn address(&self) -> String {
        format!("unix:path={}", self.folder.path().join("bus").display())
    }

    async fn connection(&self) -> zbus::Result<Connection> {
        zbus::connection::Builder::address(self.address().as_str()).build().await
    }
}

/// The plugin, as a server with this run folder would build it.
pub(super) fn desktop(run_dir: PathBuf, env: &[(&str, &str)]) -> Arc<dyn Notifier> {
    let context = BuildContext {
        data_dir: run_dir.clone(),
        ao: run_dir.join("ao"),
        home: run_dir.clone(),
        run_dir,
        env: env.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        ..ao_conformance::context::nowhere()
    };
    (registration().build)(&serde_json::Value::Null, &context).unwrap()
}

/// The plugin, in an environment with this bus.
pub(super) fn desktop_at(address: &str) -> Arc<dyn Notifier> {
    let env = [("DBUS_SESSION_BUS_ADDRESS", address), ("USER", "ana")];
    desktop(PathBuf::from("/nonexistent"), &env)
}

/// One notification, as it came.
#[derive(Debug, Clone)]
pub(super) struct Raw {
    pub(super) id: u32,
    pub(super) sender: String,
    pub(super) title: String,
    pub(super) body: String,
    /// Key and label.
    pub(super) actions: Vec<(String, String)>,
    pub(super) urgency: u8,
    pub(super) silent: bool,
    pub(super) timeout: i32,
}

/// How the strict daemon behaves.
#[derive(Debug)]
pub(super) struct Far {
    pub(super) mood: Mood,
    pub(super) capabilities: Vec<&'static str>,
    /// Answers all but `Notify`, which is shown; its answers are held back.
    pub(super) mute: bool,
    held: Vec<(Message, u32)>,
    pub(super) shown: Vec<Raw>,
    pub(super) tries: usize,
    pub(super) buzzes: usize,
    next: u32,
    /// Breaches of the specification.
    faults: Vec<String>,
}

/// A notification daemon in this process, on a bus of its own.
#[derive(Debug)]
pub(super) struct Strict {
    pub(super) bus: Arc<Bus>,
    connection: Connection,
    far: Arc<Mutex<Far>>,
    notifier: Arc<dyn Notifier>,
}

impl Strict {
    pub(super) async fn start() -> Self {
        Self::on(Arc::new(Bus::start().await)).await
    }

    pub(super) async fn on(bus: Arc<Bus>) -> Self {
        let connection = bus.connection().await.unwrap();
        let far = Arc::new(Mutex::new(Far {
            mood: Mood::Well,
            capabilities: vec!["actions", "body", "body-markup", "persistence"],
            mute: false,
            held: Vec::new(),
            shown: Vec::new(),
            tries: 0,
            buzzes: 0,
            next: 1,
            faults: Vec::new(),
        }));
        let calls = MessageStream::from(&connection);
        tokio::spawn(serve(calls, connection.clone(), far.clone()));
        connection.request_name(SERVICE).await.unwrap();
        let notifier = desktop_at(&bus.address());
        Self { bus, connection, far, notifier }
    }

    pub(super) fn far(&self) -> MutexGuard<'_, Far> {
        self.far.lock().unwrap()
    }

    pub(super) fn newest(&self) -> Raw {
        self.far().shown.last().cloned().expect("nothing is shown")
    }

    pub(super) async fn signal(
        &self,
        to: &str,
        name: &str,
        body: &(impl serde::Serialize + zbus::zvariant::DynamicType),
    ) {
        self.connection.emit_signal(Some(to), PATH, SERVICE, name, body).await.unwrap();
    }

    /// Presses an action and closes the notification, as most daemons do.
    pub(super) async fn press_key(&self, raw: &Raw, key: &str) {
        self.signal(&raw.sender, "ActionInvoked", &(raw.id, key)).await;
        self.dismiss(raw).await;
    }

    /// Gives the answers that were held back.
    pub(super) async fn answer_late(&self) {
        let held = std::mem::take(&mut self.far().held);
        for (call, id) in held {
            self.connection.reply(&call.header(), &id).await.unwrap();
        }
    }

    /// A human closes it.
    pub(super) async fn dismiss(&self, raw: &Raw) {
        self.far().shown.retain(|other| other.id != raw.id);
        self.signal(&raw.sender, "NotificationClosed", &(raw.id, 2_u32)).await;
    }

    /// The daemon ends, and all that it showed with it.
    pub(super) async fn end(&self) {
        self.connection.release_name(SERVICE).await.unwrap();
        self.connection.clone().close().await.unwrap();
    }
}

async fn serve(mut calls: MessageStream, connection: Connection, far: Arc<Mutex<Far>>) {
    while let Some(Ok(call)) = calls.next().await {
        if call.message_type() != Type::MethodCall {
            continue;
        }
        let header = call.header();
        let member = header.member().map(ToString::to_string).unwrap_or_default();
        let mood = far.lock().unwrap().mood;
        let answer = match member.as_str() {
            "GetCapabilities" if mood == Mood::Silent => continue,
            "GetCapabilities" => {
                let capabilities = far.lock().unwrap().capabilities.clone();
                connection.reply(&header, &capabilities).await
            }
            "Notify" => {
                far.lock().unwrap().tries += 1;
                match mood {
                    Mood::Silent => continue,
                    Mood::Busy => refuse(&connection, &call, "LimitsExceeded").await,
                    Mood::Refusing => refuse(&connection, &call, "InvalidArgs").await,
                    Mood::Well | Mood::Away => {
                        let id = far.lock().unwrap().take(&call);
                        if far.lock().unwrap().mute {
                            far.lock().unwrap().held.push((call.clone(), id));
                            continue;
                        }
                        connection.reply(&header, &id).await
                    }
                }
            }
            "CloseNotification" if mood == Mood::Silent => continue,
            "CloseNotification" => {
                let id: u32 = call.body().deserialize().unwrap();
                let known = far.lock().unwrap().close(id);
                if known {
                    connection.reply(&header, &()).await
                } else {
                    refuse(&connection, &call, "Failed").await
                }
            }
            _ => continue,
        };
        if answer.is_err() {
            return;
        }
    }
}

async fn refuse(connection: &Connection, call: &Message, name: &str) -> zbus::Result<()> {
    let name = format!("org.freedesktop.DBus.Error.{name}");
    connection.reply_error(&call.header(), name.as_str(), &"the strict daemon says no").await
}

type Notify =
    (String, u32, String, String, String, Vec<String>, HashMap<String, OwnedVariant>, i32);

impl Far {
    fn take(&mut self, call: &Message) -> u32 {
        let (app, replaces, _, title, body, actions, hints, timeout): Notify =
            call.body().deserialize().expect("a Notify of another signature");
        if app != "ao" {
            self.faults.push(format!("app {app}"));
        }
        if replaces != 0 && self.shown.iter().all(|raw| raw.id != replaces) {
            self.faults.push(format!("replaces {replaces}, which is not shown"));
        }
        if self.capabilities.contains(&"body-markup") && body.contains(['<', '>']) {
            self.faults.push(format!("raw markup in {body:?}"));
        }
        if !self.capabilities.contains(&"actions") && !actions.is_empty() {
            self.faults.push(format!("actions {actions:?} without the capability"));
        }
        let hint = |name: &str| hints.get(name).map(|value| value.try_clone().unwrap());
        let urgency = hint("urgency").and_then(|value| u8::try_from(value).ok());
        let silent = hint("suppress-sound").is_some_and(|value| bool::try_from(value).unwrap());
        let id = if replaces == 0 { self.next } else { replaces };
        self.next = self.next.max(id) + 1;
        self.buzzes += usize::from(!silent);
        let raw = Raw {
            id,
            sender: call.header().sender().unwrap().to_string(),
            title,
            body,
            actions: actions.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect(),
            urgency: urgency.expect("no urgency of type byte"),
            silent,
            timeout,
        };
        match self.shown.iter_mut().find(|other| other.id == id) {
            Some(earlier) => *earlier = raw,
            None => self.shown.push(raw),
        }
        id
    }

    /// What was done against the specification so far.
    pub(super) fn faults(&mut self) -> &mut Vec<String> {
        &mut self.faults
    }

    fn close(&mut self, id: u32) -> bool {
        let before = self.shown.len();
        self.shown.retain(|raw| raw.id != id);
        self.shown.len() < before
    }
}

#[async_trait]
impl FarEnd for Strict {
    fn notifier(&self) -> Arc<dyn Notifier> {
        self.notifier.clone()
    }

    async fn set(&self, mood: Mood) -> bool {
        let before = std::mem::replace(&mut self.far().mood, mood);
        if mood == Mood::Away {
            self.connection.release_name(SERVICE).await.unwrap();
        } else if before == Mood::Away {
            self.connection.request_name(SERVICE).await.unwrap();
        }
        true
    }

    async fn shown(&self) -> Vec<Shown> {
        let far = self.far();
        assert!(far.faults.is_empty(), "{:?}", far.faults);
        let drawn =
            |text: &str| text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
        let shown = |raw: &Raw| Shown { title: raw.title.clone(), body: drawn(&raw.body) };
        far.shown.iter().map(shown).collect()
    }

    async fn tries(&self) -> usize {
        self.far().tries
    }

    async fn buzzes(&self) -> usize {
        self.far().buzzes
    }

    async fn press(&self, label: &str) {
        let raw = self.newest();
        let key = raw.actions.iter().find(|action| action.1 == label).expect("no such button");
        self.press_key(&raw, &key.0).await;
    }
}

/// A real daemon, dunst, on a display and a bus of its own.
#[derive(Debug)]
pub(super) struct Dunst {
    pub(super) bus: Bus,
    control: Connection,
    display: String,
    // Ended in this order.
    _dunst: Program,
    _screen: Program,
}

impl Dunst {
    pub(super) async fn start() -> Self {
        let bus = Bus::start().await;
        let folder = bus.folder.path();
        // Xvfb takes a free display by itself and says which.
        let mut command = Command::new("Xvfb");
        command.args(["-displayfd", "1", "-screen", "0", "800x500x24", "-nolisten", "tcp"]);
        let mut screen = Program::start(command.stdout(Stdio::piped()));
        let mut number = String::new();
        BufReader::new(screen.0.stdout.take().unwrap()).read_line(&mut number).unwrap();
        let display = format!(":{}", number.trim());
        // Stands for the person who chooses from dunst's menu.
        let person = folder.join("person");
        let script = format!("#!/bin/sh\ngrep -m1 -F -f {}\n", folder.join("choice").display());
        fs::write(&person, script).unwrap();
        fs::set_permissions(&person, fs::Permissions::from_mode(0o700)).unwrap();
        let config = format!(
            "[global]\nmonitor = 0\nfollow = none\nfont = DejaVu Sans 11\nwidth = 420\norigin = top-left\n\
             offset = 0x0\nmouse_left_click = do_action, close_current\nidle_threshold = 0\n\
             show_indicators = yes\nmarkup = full\ndmenu = {}\n[urgency_critical]\ntimeout = 0\n",
            person.display()
        );
        fs::write(folder.join("dunstrc"), config).unwrap();
        let mut command = Command::new("dunst");
        command.arg("-config").arg(folder.join("dunstrc")).env("HOME", folder);
        command.env("DISPLAY", &display).env("DBUS_SESSION_BUS_ADDRESS", bus.address());
        let dunst = Program::start(command.stdout(Stdio::null()));
        let control = bus.connection().await.unwrap();
        let dunst = Self { bus, control, display, _dunst: dunst, _screen: screen };
        until("dunst shows notifications", async || {
            let call = dunst.control.call_method(
                Some(SERVICE),
                PATH,
                Some(SERVICE),
                "GetCapabilities",
                &(),
            );
            call.await.ok()
        })
        .await;
        dunst
    }

    /// How many notifications are on the screen.
    pub(super) async fn count(&self) -> u32 {
        let (interface, property) = ("org.dunstproject.cmd0", "displayedLength");
        let reply = self
            .control
            .call_method(
                Some(SERVICE),
                PATH,
                Some("org.freedesktop.DBus.Properties"),
                "Get",
                &(interface, property),
            )
            .await
            .unwrap();
        let value: OwnedVariant = reply.body().deserialize().unwrap();
        value.try_into().unwrap()
    }

    /// The person opens the menu and chooses the first button with one of these labels, if there is one.
    pub(super) async fn choose(&self, labels: &[&str]) {
        // An entry reads `#Merge (PR #57 is ready to merge: Dark mode) [3,ao]`.
        let entries: Vec<String> = labels.iter().map(|label| format!("#{label} (")).collect();
        fs::write(self.bus.folder.path().join("choice"), entries.join("\n")).unwrap();
        let interface = Some("org.dunstproject.cmd0");
        self.control
            .call_method(Some(SERVICE), PATH, interface, "ContextMenuCall", &())
            .await
            .unwrap();
    }

    /// A true click on the topmost notification.
    pub(super) fn click(&self) {
        let mut command = Command::new("xdotool");
        command.args(["mousemove", "200", "20", "click", "1"]).env("DISPLAY", &self.display);
        assert!(command.status().unwrap().success());
    }

    /// Where a human wants pictures (`AO_PICTURES=<folder>`; needs `import` of ImageMagick): what the screen shows.
    pub(super) async fn picture(&self, name: &str) {
        let Some(folder) = std::env::var_os("AO_PICTURES").map(PathBuf::from) else { return };
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut command = Command::new("import");
        command.args(["-window", "root", "-crop", "430x250+0+0", "+repage"]);
        command.arg(folder.join(format!("{name}.png"))).env("DISPLAY", &self.display);
        assert!(command.status().unwrap().success());
    }
}
