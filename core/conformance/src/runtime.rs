//! The conformance suite of the runtime slot.
//!
//! A plugin's tests give a [`Harness`] and call [`all`]. Each case starts commands that behave in a known way,
//! asks the runtime about them, and looks for itself at what really runs.

#![expect(clippy::expect_used, reason = "a suite fails by a panic that names the broken promise")]

pub mod fake;

use std::{path::PathBuf, sync::Arc, time::Duration};

use ao_slots::{
    Call, Launch, PluginError, SessionId,
    call::{Answer, ErrorKind},
    process::{ProcessId, Stat},
    runtime::{
        CreateRuntime, FileAnswer, FileRequest, Key, ProbeState, Runtime, RuntimeHandle, Screen,
    },
};
use tokio::time::{sleep, timeout};

/// What the suite needs beside the plugin.
pub trait Harness: Send + Sync {
    /// The plugin. Asked again, a new one over the same world, as after a restart of `ao`.
    fn runtime(&self) -> Arc<dyn Runtime>;
    /// A command that behaves like this. It first counts itself in [`Harness::started`].
    fn argv(&self, behaviour: Behaviour) -> Vec<String>;
    /// Where the commands work; absolute.
    fn cwd(&self) -> PathBuf;
    /// How many processes these commands have started.
    fn started(&self) -> usize;
    /// How many of them run.
    fn running(&self) -> usize;
    /// Makes the runtime's own server hang; false where there is nothing that could.
    fn freeze(&self) -> bool {
        false
    }
    /// Ends [`Harness::freeze`].
    fn thaw(&self) {}
    /// How much longer than its limit a call may take before the suite gives up on a loaded machine.
    fn patience(&self) -> Duration {
        Duration::from_secs(20)
    }
}

/// How a command behaves. Each prints `ready` when it can be talked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Prints what it reads, until it is ended.
    Echo,
    /// Prints `bye` and ends with this code.
    Exit(u8),
    /// Starts a child, and both ignore polite requests to end.
    Deaf,
}

/// Commands of [`Behaviour`] for runtimes that run them on this machine.
#[derive(Debug)]
pub struct Scripts {
    log: PathBuf,
}

impl Scripts {
    /// Commands that count themselves in the file `log`.
    pub fn new(log: PathBuf) -> Self {
        Self { log }
    }

    /// See [`Harness::argv`].
    pub fn argv(&self, behaviour: Behaviour) -> Vec<String> {
        let body = match behaviour {
            Behaviour::Echo => "echo ready; exec cat".to_owned(),
            Behaviour::Exit(code) => format!("echo ready; echo bye; exit {code}"),
            Behaviour::Deaf => {
                "trap '' TERM HUP; sleep 1000 & log $!; echo ready; wait; sleep 1000".to_owned()
            }
        };
        let script = format!(
            "log() {{ read -r line </proc/$1/stat; echo \"$line\" >>\"$0\"; }}; log $$; {body}"
        );
        let log = self.log.to_string_lossy().into_owned();
        ["/bin/sh", "-c", &script, &log].map(str::to_owned).to_vec()
    }

    /// Every process that was started.
    pub fn processes(&self) -> Vec<ProcessId> {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().filter_map(Stat::parse).map(|stat| stat.id).collect()
    }

    /// See [`Harness::started`].
    pub fn started(&self) -> usize {
        self.processes().len()
    }

    /// See [`Harness::running`].
    pub fn running(&self) -> usize {
        self.processes().into_iter().filter(|process| process.is_alive()).count()
    }
}

/// No process is left behind, also when an assertion fails.
impl Drop for Scripts {
    fn drop(&mut self) {
        for process in self.processes() {
            process.signal(ao_slots::process::Signal::SIGKILL);
        }
    }
}

/// Runs every case.
pub async fn all(harness: &dyn Harness) {
    idempotency(harness).await;
    cancel_safety(harness).await;
    deadline(harness).await;
    errors(harness).await;
    restart(harness).await;
    neighbours(harness).await;
    whole_tree(harness).await;
    input(harness).await;
    screen(harness).await;
    files_and_commands(harness).await;
    metrics(harness).await;
}

/// Idempotency: `create` of what exists returns that one; `destroy` of what is gone is a success.
pub async fn idempotency(harness: &dyn Harness) {
    let runtime = harness.runtime();
    let before = harness.started();
    let request = request(harness, "idem-1", 1, Behaviour::Echo);
    let first = create(&*runtime, &request).await;
    let (second, third) = tokio::join!(create(&*runtime, &request), create(&*runtime, &request));
    for again in [second, third] {
        assert_same(&first, &again, "Idempotency: a second create returned another handle");
    }
    until("Idempotency: the process counts itself", async || harness.started() > before).await;
    // A second process, if there is one, gets the time to count itself too.
    sleep(Duration::from_millis(100)).await;
    assert_eq!(harness.started() - before, 1, "Idempotency: create made a second process");

    runtime.destroy(&call(), &first).await.expect("destroy works");
    runtime.destroy(&call(), &first).await.expect("Idempotency: destroy of what is gone failed");

    // Also one that ended by itself is not started a second time.
    let request = self::request(harness, "idem-2", 1, Behaviour::Exit(0));
    let ended = create(&*runtime, &request).await;
    ended_with(&*runtime, &ended, Some(0)).await;
    let started = harness.started();
    let again = create(&*runtime, &request).await;
    assert_eq!(again.id, ended.id, "Idempotency: create after the end returned another handle");
    sleep(Duration::from_millis(100)).await;
    assert_eq!(harness.started(), started, "Idempotency: create started an ended launch again");
    runtime.destroy(&call(), &ended).await.expect("Idempotency: destroy of an ended one failed");
}

/// Cancel safety: a dropped `create` may leave a process behind; `adopt` finds it.
pub async fn cancel_safety(harness: &dyn Harness) {
    let runtime = harness.runtime();
    for (n, delay) in [0, 1, 3, 10, 30].into_iter().enumerate() {
        let before = harness.started();
        let session = format!("drop-{}", n + 1);
        let request = request(harness, &session, 1, Behaviour::Echo);
        let call = call();
        {
            let dropped = runtime.create(&call, &request);
            let _ = timeout(Duration::from_millis(delay), dropped).await;
        }
        let found = adopt(&*runtime, &request.session, 1).await;
        let handle = create(&*runtime, &request).await;
        if let Some(found) = found {
            assert_same(&found, &handle, "Cancel safety: adopt and create disagree");
        }
        until("the process counts itself", async || harness.started() > before).await;
        sleep(Duration::from_millis(50)).await;
        assert_eq!(
            harness.started() - before,
            1,
            "Cancel safety: a dropped create left a process that nobody finds"
        );
        runtime.destroy(&call, &handle).await.expect("destroy works");
    }
}

/// Deadline, and Errors: a server that hangs makes calls end in time with *unknown*, never with *gone*.
pub async fn deadline(harness: &dyn Harness) {
    let runtime = harness.runtime();
    let request = request(harness, "hang-1", 1, Behaviour::Echo);
    let handle = create(&*runtime, &request).await;
    alive(&*runtime, &handle).await;
    if !harness.freeze() {
        return runtime.destroy(&call(), &handle).await.expect("destroy works");
    }
    let limit = Duration::from_millis(1000);
    let call = Call::new("conformance-hang", limit);
    let other = self::request(harness, "hang-2", 1, Behaviour::Echo);
    let outer = limit + harness.patience();
    let in_time = "Deadline: a call on a hanging server did not end in time";
    let handles = [handle.clone(), handle.clone()];
    let probes = timeout(outer, runtime.probe(&call, &handles)).await.expect(in_time);
    let probes = probes.expect("Errors: a hanging server made the whole probe an error");
    assert_eq!(probes.len(), 2, "Errors: not one answer for each handle");
    for probe in probes {
        let unknown = matches!(probe.state, ProbeState::Unknown(_));
        assert!(unknown, "Errors: a hanging server was read as {:?}", probe.state);
    }
    let adopted = timeout(outer, runtime.adopt(&call, &other.session, Launch(1))).await;
    let adopted = adopted.expect(in_time);
    assert!(
        matches!(&adopted, Ok(Answer::Unknown(_))),
        "Errors: adopt on a hanging server said {adopted:?}"
    );
    let typed = timeout(outer, runtime.type_text(&call, &handle, "x")).await.expect(in_time);
    assert!(typed.is_err(), "Errors: text was typed into a hanging server");
    let captured = timeout(outer, runtime.capture(&call, &handle, 5)).await.expect(in_time);
    assert!(captured.is_err(), "Errors: a hanging server was captured");
    let created = timeout(outer, runtime.create(&call, &other)).await.expect(in_time);
    let kind = created.expect_err("Errors: a hanging server started something").kind;
    assert!(
        matches!(kind, ErrorKind::Transient | ErrorKind::InDoubt),
        "Errors: a hanging server made create fail for good ({kind:?})"
    );
    harness.thaw();
    alive(&*runtime, &handle).await;
    if let Some(late) = adopt(&*runtime, &other.session, 1).await {
        runtime.destroy(&self::call(), &late).await.expect("destroy works");
    }
    runtime.destroy(&self::call(), &handle).await.expect("destroy works");
}

/// Errors: a probe answers for each handle, in order; what is gone is `Missing`, never an error for all.
pub async fn errors(harness: &dyn Harness) {
    let runtime = harness.runtime();
    let lives = create(&*runtime, &request(harness, "err-1", 1, Behaviour::Echo)).await;
    let ended = create(&*runtime, &request(harness, "err-2", 1, Behaviour::Exit(3))).await;
    let gone = create(&*runtime, &request(harness, "err-3", 1, Behaviour::Echo)).await;
    alive(&*runtime, &lives).await;
    ended_with(&*runtime, &ended, Some(3)).await;
    runtime.destroy(&call(), &gone).await.expect("destroy works");
    let handles = [gone.clone(), lives.clone(), ended.clone(), gone.clone()];
    let probes = runtime.probe(&call(), &handles).await;
    let probes = probes.expect("Errors: one gone handle made the whole probe an error");
    let states: Vec<ProbeState> = probes.into_iter().map(|probe| probe.state).collect();
    assert_eq!(
        states,
        [ProbeState::Missing, ProbeState::Alive, ProbeState::Exited(Some(3)), ProbeState::Missing],
        "Errors: the probe's answers for gone, alive, exited 3, gone"
    );
    assert!(runtime.probe(&call(), &[]).await.expect("an empty probe works").is_empty());

    let session: SessionId = "err-99".parse().expect("an id");
    let never = runtime.adopt(&call(), &session, Launch(1)).await;
    assert_eq!(never, Ok(Answer::No), "Errors: adopt of what never was");
    if runtime.capabilities().input {
        for handle in [&ended, &gone] {
            let kind = runtime.type_text(&call(), handle, "x").await.map_err(|error| error.kind);
            assert_eq!(kind, Err(ErrorKind::NotFound), "Errors: typing where nobody reads");
        }
    }
    let kind = runtime.capture(&call(), &gone, 5).await.map_err(|error| error.kind);
    assert_eq!(kind, Err(ErrorKind::NotFound), "Errors: capture of what is gone");
    for handle in [lives, ended] {
        runtime.destroy(&call(), &handle).await.expect("destroy works");
    }
}

/// The capability `survives_restart`: another `ao` finds the agent and can do everything with it.
pub async fn restart(harness: &dyn Harness) {
    let first = harness.runtime();
    if !first.capabilities().survives_restart {
        return;
    }
    let request = request(harness, "again-1", 1, Behaviour::Echo);
    let handle = create(&*first, &request).await;
    drop(first);
    let second = harness.runtime();
    let found = adopt(&*second, &request.session, 1).await;
    let found = found.expect("survives_restart: adopt does not find it after a restart");
    assert_same(&handle, &found, "survives_restart: adopt found another one");
    alive(&*second, &handle).await;
    let other = second.adopt(&call(), &request.session, Launch(2)).await;
    assert_eq!(other, Ok(Answer::No), "survives_restart: another launch was adopted");
    if second.capabilities().input {
        type_line(&*second, &handle, "after the restart").await;
        shows(&*second, &handle, "after the restart").await;
    }
    second.destroy(&call(), &handle).await.expect("destroy works");
    assert_eq!(
        second.adopt(&call(), &request.session, Launch(1)).await,
        Ok(Answer::No),
        "adopt finds what was destroyed"
    );
}

/// `RuntimeHandle::id` is exact: what is done to `app-1` happens neither to `app-10` nor to another launch.
pub async fn neighbours(harness: &dyn Harness) {
    let runtime = harness.runtime();
    let mut handles = Vec::new();
    for (session, launch) in [("near-1", 1), ("near-10", 1), ("near-1", 2), ("near-1", 10)] {
        let request = request(harness, session, launch, Behaviour::Echo);
        handles.push(create(&*runtime, &request).await);
    }
    runtime.destroy(&call(), &handles[0]).await.expect("destroy works");
    assert_eq!(state(&*runtime, &handles[0]).await, ProbeState::Missing);
    for other in &handles[1..] {
        alive(&*runtime, other).await;
    }
    if runtime.capabilities().input {
        type_line(&*runtime, &handles[1], "only for ten").await;
        shows(&*runtime, &handles[1], "only for ten").await;
        for other in &handles[2..] {
            let screen = runtime.capture(&call(), other, 50).await.expect("capture works");
            assert!(!contains(&screen, "only for ten"), "text reached a neighbour");
        }
        let lost = runtime.type_text(&call(), &handles[0], "for nobody").await;
        assert!(lost.is_err(), "text for a destroyed session was typed somewhere");
    }
    for other in &handles[1..] {
        runtime.destroy(&call(), other).await.expect("destroy works");
    }
}

/// `destroy` ends the agent and everything it started, also what ignores polite requests.
pub async fn whole_tree(harness: &dyn Harness) {
    let runtime = harness.runtime();
    let before = harness.running();
    let handle = create(&*runtime, &request(harness, "tree-1", 1, Behaviour::Deaf)).await;
    shows(&*runtime, &handle, "ready").await;
    assert!(harness.running() > before);
    runtime.destroy(&call(), &handle).await.expect("destroy works");
    assert_eq!(harness.running(), before, "destroy returned while something still runs");
}

/// The capability `input`: text is literal, and no part of it is a key, a format or a command.
pub async fn input(harness: &dyn Harness) {
    let runtime = harness.runtime();
    let request = request(harness, "text-1", 1, Behaviour::Echo);
    let handle = create(&*runtime, &request).await;
    shows(&*runtime, &handle, "ready").await;
    if !runtime.capabilities().input {
        let kind = runtime.type_text(&call(), &handle, "x").await.map_err(|error| error.kind);
        assert_eq!(kind, Err(ErrorKind::Unsupported), "type_text without the capability");
        return runtime.destroy(&call(), &handle).await.expect("destroy works");
    }
    for (text, expected) in [
        ("C-c", "C-c"),
        ("Enter", "Enter"),
        (";", ";"),
        ("one ; two \\;", "one ; two \\;"),
        ("#{pane_id} #(touch canary) %1 ~", "#{pane_id} #(touch canary) %1 ~"),
        ("$(touch canary) `touch canary`", "$(touch canary) `touch canary`"),
        ("-t --help", "-t --help"),
        ("日本語 é ä", "日本語 é ä"),
        // What could act on a terminal is removed, the words around it stay.
        ("out\x1b[201~ of\x03 the\x04 paste", "out of the paste"),
    ] {
        type_line(&*runtime, &handle, text).await;
        shows(&*runtime, &handle, expected).await;
    }
    alive(&*runtime, &handle).await;
    assert!(!harness.cwd().join("canary").exists(), "text was run as a command");
    runtime.destroy(&call(), &handle).await.expect("destroy works");
}

/// The capability `screen`: attaching and keys are there exactly when there is a screen; the last words of an
/// ended agent can be read in either case.
pub async fn screen(harness: &dyn Harness) {
    let runtime = harness.runtime();
    let lives = create(&*runtime, &request(harness, "look-1", 1, Behaviour::Echo)).await;
    let ended = create(&*runtime, &request(harness, "look-2", 1, Behaviour::Exit(3))).await;
    let has_screen = runtime.capabilities().screen;
    assert_eq!(
        runtime.attach_info(&lives).argv.is_some(),
        has_screen,
        "a runtime can be attached to exactly if it has a screen"
    );
    let pressed = runtime.press(&call(), &lives, &[Key::Enter]).await.map_err(|error| error.kind);
    assert_eq!(pressed, if has_screen { Ok(()) } else { Err(ErrorKind::Unsupported) });
    for key in [Key::Digit(10), Key::Letter(';'), Key::Letter('\x03')] {
        assert!(runtime.press(&call(), &lives, &[key]).await.is_err(), "{key:?} was pressed");
    }
    ended_with(&*runtime, &ended, Some(3)).await;
    shows(&*runtime, &ended, "bye").await;
    let one = runtime.capture(&call(), &ended, 1).await.expect("capture works");
    assert!(one.lines.len() <= 1, "more lines than asked for: {:?}", one.lines);
    for handle in [lives, ended] {
        runtime.destroy(&call(), &handle).await.expect("destroy works");
    }
}

/// `read` and `exec` happen where the agent is.
pub async fn files_and_commands(harness: &dyn Harness) {
    let runtime = harness.runtime();
    let handle = create(&*runtime, &request(harness, "file-1", 1, Behaviour::Echo)).await;
    alive(&*runtime, &handle).await;
    let path = harness.cwd().join("made-by-exec");
    let path = path.to_str().expect("the working directory is UTF-8");
    let file =
        |from, seen| FileRequest { handle: handle.clone(), path: path.to_owned(), from, seen };
    let read =
        async |files: &[FileRequest]| runtime.read(&call(), files).await.expect("read works");
    assert_eq!(
        read(&[file(0, None)]).await,
        [FileAnswer::Absent],
        "Errors: read of a file that is not there"
    );
    let script = "printf 0123456789 >made-by-exec; echo out; echo err >&2; exit 4";
    let argv = ["/bin/sh", "-c", script].map(str::to_owned);
    let output = runtime.exec(&call(), &handle, &argv).await.expect("exec works");
    assert_eq!(
        (output.code, output.stdout.as_slice(), output.stderr.as_slice()),
        (Some(4), &b"out\n"[..], &b"err\n"[..])
    );
    let answers = read(&[file(7, None), file(99, None)]).await;
    let [FileAnswer::Read { bytes, .. }, FileAnswer::Read { bytes: after_end, .. }] = &answers[..]
    else {
        panic!("the command did not run in the agent's folder: {answers:?}");
    };
    assert_eq!((&bytes[..], &after_end[..]), (&b"789"[..], &b""[..]));
    // A stamp is there as soon as it can tell a change.
    let mut stamp = None;
    while stamp.is_none() {
        sleep(Duration::from_millis(100)).await;
        let answers = read(&[file(0, None)]).await;
        let [FileAnswer::Read { stamp: seen, .. }] = answers[..] else {
            panic!("it is gone: {answers:?}");
        };
        stamp = seen;
    }
    assert_eq!(read(&[file(0, stamp)]).await, [FileAnswer::Unchanged], "read: nothing changed");
    let more = ["/bin/sh", "-c", "printf 8 >>made-by-exec"].map(str::to_owned);
    runtime.exec(&call(), &handle, &more).await.expect("exec works");
    let changed = read(&[file(10, stamp)]).await;
    assert!(
        matches!(&changed[..], [FileAnswer::Read { bytes, .. }] if bytes == b"8"),
        "read: a changed file was not read again: {changed:?}"
    );
    assert!(runtime.exec(&call(), &handle, &[]).await.is_err(), "an empty command was run");
    runtime.destroy(&call(), &handle).await.expect("destroy works");
}

/// `metrics` counts what runs, and is `NotFound` for what does not.
pub async fn metrics(harness: &dyn Harness) {
    let runtime = harness.runtime();
    let handle = create(&*runtime, &request(harness, "cost-1", 1, Behaviour::Echo)).await;
    alive(&*runtime, &handle).await;
    let cost = runtime.metrics(&call(), &handle).await.expect("metrics of a living agent");
    assert!(cost.processes >= 1 && cost.rss_bytes > 0, "{cost:?}");
    runtime.destroy(&call(), &handle).await.expect("destroy works");
    let kind = runtime.metrics(&call(), &handle).await.map_err(|error| error.kind);
    assert_eq!(kind, Err(ErrorKind::NotFound), "Errors: metrics of what is gone");
}

fn call() -> Call {
    Call::new("conformance", Duration::from_secs(60))
}

fn request(
    harness: &dyn Harness,
    session: &str,
    launch: u32,
    behaviour: Behaviour,
) -> CreateRuntime {
    let screen = harness.runtime().capabilities().screen;
    CreateRuntime {
        session: session.parse().expect("a session id"),
        launch: Launch(launch),
        argv: harness.argv(behaviour),
        cwd: harness.cwd(),
        env: [].into(),
        stdin: (!screen).then(String::new),
    }
}

async fn create(runtime: &dyn Runtime, request: &CreateRuntime) -> RuntimeHandle {
    runtime.create(&call(), request).await.unwrap_or_else(|error| panic!("create: {error}"))
}

async fn adopt(runtime: &dyn Runtime, session: &SessionId, launch: u32) -> Option<RuntimeHandle> {
    let mut found = None;
    until("adopt says yes or no", async || {
        match runtime.adopt(&call(), session, Launch(launch)).await {
            Ok(Answer::Yes(handle)) => found = Some(handle),
            Ok(Answer::No) => {}
            Ok(Answer::Unknown(_)) => return false,
            Err(error) => {
                panic!("Errors: adopt failed instead of saying that it does not know: {error}")
            }
        }
        true
    })
    .await;
    found
}

async fn state(runtime: &dyn Runtime, handle: &RuntimeHandle) -> ProbeState {
    let probes = runtime.probe(&call(), std::slice::from_ref(handle)).await;
    let mut probes = probes.unwrap_or_else(|error| panic!("Errors: probe failed: {error}"));
    assert_eq!(probes.len(), 1, "not one answer for one handle");
    probes.remove(0).state
}

async fn alive(runtime: &dyn Runtime, handle: &RuntimeHandle) {
    let state = state(runtime, handle).await;
    assert_eq!(state, ProbeState::Alive, "{} launch {}", handle.session, handle.launch);
}

async fn ended_with(runtime: &dyn Runtime, handle: &RuntimeHandle, code: Option<i32>) {
    until(&format!("{} ends", handle.session), async || {
        let state = state(runtime, handle).await;
        assert_ne!(state, ProbeState::Missing, "an ended agent is not missing");
        matches!(state, ProbeState::Exited(_))
    })
    .await;
    assert_eq!(state(runtime, handle).await, ProbeState::Exited(code), "the exit code");
}

/// Types a line and submits it where the runtime does not do that by itself.
async fn type_line(runtime: &dyn Runtime, handle: &RuntimeHandle, text: &str) {
    let fine = |result: Result<(), PluginError>| {
        result.unwrap_or_else(|error| panic!("typing {text:?}: {error}"));
    };
    fine(runtime.type_text(&call(), handle, text).await);
    if runtime.capabilities().screen {
        fine(runtime.press(&call(), handle, &[Key::Enter]).await);
    }
}

async fn shows(runtime: &dyn Runtime, handle: &RuntimeHandle, text: &str) {
    until(&format!("{} shows {text:?}", handle.session), async || {
        let screen = runtime.capture(&call(), handle, 200).await;
        contains(&screen.unwrap_or_else(|error| panic!("capture: {error}")), text)
    })
    .await;
}

fn contains(screen: &Screen, text: &str) -> bool {
    screen.lines.iter().any(|line| line.contains(text))
}

fn assert_same(one: &RuntimeHandle, other: &RuntimeHandle, message: &str) {
    assert_eq!((&one.id, one.server), (&other.id, other.server), "{message}");
    if let (Some(one), Some(other)) = (one.process, other.process) {
        assert_eq!(one, other, "{message}");
    }
}

/// Waits for something to become true, long enough for a machine that is busy with other things.
async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    for _ in 0..1_500 {
        if done().await {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("this did not happen within 30 s: {what}");
}

#[cfg(test)]
mod tests {
    use super::{
        fake::{FakeHarness, Fault},
        *,
    };

    /// Runs a case against the fake with this fault; on a thread of its own, so that a panic is an answer.
    fn passes(
        fault: Option<Fault>,
        case: impl AsyncFnOnce(&dyn Harness) + Send + 'static,
    ) -> Result<(), String> {
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .start_paused(true)
                .build()
                .unwrap();
            runtime.block_on(case(&FakeHarness::new(fault)));
        });
        thread.join().map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap()
        })
    }

    #[test]
    fn a_runtime_that_keeps_its_contract_passes() {
        passes(None, async |harness| all(harness).await).unwrap();
    }

    #[test]
    fn each_case_catches_the_runtime_that_breaks_it() {
        macro_rules! caught {
            ($($fault:ident => $case:ident: $message:literal,)*) => {$(
                let message = passes(Some(Fault::$fault), async |harness| $case(harness).await)
                    .expect_err(concat!(stringify!($fault), " was not caught"));
                assert!(message.contains($message), "{}: {message}", stringify!($fault));
            )*};
        }
        caught! {
            SecondProcess => idempotency: "Idempotency: create made a second process",
            DestroyOfGoneFails => idempotency: "Idempotency: destroy of what is gone failed",
            LosesDroppedCreate => cancel_safety: "Cancel safety: a dropped create left a process",
            NeverGivesUp => deadline: "Deadline: a call on a hanging server did not end in time",
            HangIsMissing => deadline: "Errors: a hanging server was read as Missing",
            HangIsNo => deadline: "Errors: adopt on a hanging server said Ok(No)",
            OneGoneFailsAll => errors: "Errors: one gone handle made the whole probe an error",
            GoneIsAlive => errors: "Errors: the probe's answers",
            ForgetsOnRestart => restart: "survives_restart",
            PrefixMatch => neighbours: "near-1",
            LeavesChildren => whole_tree: "destroy returned while something still runs",
            TextIsKeys => input: "Enter",
            KeepsControlCharacters => input: "out of the paste",
            AttachWithoutScreen => screen: "exactly if it has a screen",
            EmptyForAbsent => files_and_commands: "Errors: read of a file that is not there",
            StampsLie => files_and_commands: "a changed file was not read again",
            CostOfGone => metrics: "Errors: metrics of what is gone",
        }
    }
}
