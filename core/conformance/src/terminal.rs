//! The conformance suite of the terminal slot.
//!
//! A plugin's tests give a [`Harness`] and call [`all`].

#![expect(clippy::expect_used, reason = "a suite fails by a panic that names the broken promise")]

pub mod fake;

use std::{collections::BTreeMap, sync::Arc, task::Poll, time::Duration};

use ao_slots::{
    Call, PluginError,
    call::{Answer, ErrorKind},
    runtime::AttachInfo,
    terminal::{OpenRequest, Opened, Terminal},
};
use tokio::time::timeout;

/// What the suite needs beside the plugin.
pub trait Harness: Send + Sync {
    /// The plugin.
    fn terminal(&self) -> Arc<dyn Terminal>;
    /// The environment of the client that asks.
    fn env(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }
    /// How many windows were opened so far.
    fn windows(&self) -> usize {
        0
    }
    /// A command that shows session `n` until it is killed. The suite takes a harmless one by default.
    fn attach(&self, n: usize) -> Vec<String> {
        ["sleep", &format!("100{n}")].map(str::to_owned).to_vec()
    }
}

/// Runs every case.
pub async fn all(harness: &dyn Harness) {
    answers(harness).await;
    idempotency(harness).await;
    cancel_safety(harness).await;
    errors(harness).await;
    many(harness).await;
    is_open(harness).await;
}

/// Deadline, and what an answer means: a window was opened, the client runs exactly the attach command, or a
/// human is told it.
pub async fn answers(harness: &dyn Harness) {
    for foreground in [false, true] {
        let request = request(harness, 1, foreground);
        let before = harness.windows();
        let opened = open(harness, &request).await.expect("open works");
        check(&request, &opened);
        let windows = harness.windows() - before;
        let is_window = usize::from(opened == Opened::Window);
        assert_eq!(windows, is_window, "{windows} windows were opened, the answer was {opened:?}");
    }
}

/// Idempotency: opening what is open is no error and gives the same kind of answer.
pub async fn idempotency(harness: &dyn Harness) {
    let request = request(harness, 1, false);
    let first = open(harness, &request).await.expect("open works");
    let second = open(harness, &request).await.expect("Idempotency: opening what is open failed");
    assert_eq!(first, second, "Idempotency: opening again gave another answer");
}

/// Cancel safety: a dropped call opened the window or did not, and the next one finds nothing changed.
pub async fn cancel_safety(harness: &dyn Harness) {
    let request = request(harness, 1, false);
    let (terminal, call, before) = (harness.terminal(), call(), harness.windows());
    {
        let mut dropped = terminal.open(&call, &request);
        let polled = std::future::poll_fn(|cx| Poll::Ready(dropped.as_mut().poll(cx)));
        let _ = polled.await;
    }
    let opened = open(harness, &request).await;
    let opened = opened.expect("Cancel safety: a dropped open keeps the next one from its work");
    check(&request, &opened);
    let windows = harness.windows() - before;
    assert!(windows <= 2, "Cancel safety: two calls opened {windows} windows");
}

/// Errors: a session without a screen is `Unsupported`, and nothing is opened for it.
pub async fn errors(harness: &dyn Harness) {
    let mut blind = request(harness, 2, true);
    blind.attach.argv = None;
    let before = harness.windows();
    let kind = open(harness, &blind).await.map_err(|error| error.kind);
    assert_eq!(kind, Err(ErrorKind::Unsupported), "Errors: a session without a screen");
    let requests = [request(harness, 1, false), blind];
    let all = harness.terminal().open_all(&call(), &requests).await.map_err(|error| error.kind);
    assert_eq!(all, Err(ErrorKind::Unsupported), "Errors: one of many without a screen");
    assert_eq!(harness.windows(), before, "Errors: windows were opened before the refusal");
}

/// `open_all` answers for each request, in order.
pub async fn many(harness: &dyn Harness) {
    for foreground in [false, true] {
        let requests = [1, 2, 3].map(|n| request(harness, n, foreground));
        let opened = harness.terminal().open_all(&call(), &requests).await;
        let opened = opened.expect("open_all works");
        assert_eq!(opened.len(), requests.len(), "open_all: not one answer for each request");
        for (request, opened) in requests.iter().zip(&opened) {
            check(request, opened);
        }
    }
    let none = harness.terminal().open_all(&call(), &[]).await;
    assert_eq!(none, Ok(Vec::new()), "open_all of nothing");
}

/// `is_open` says yes only for what was opened.
pub async fn is_open(harness: &dyn Harness) {
    let never = harness.terminal().is_open(&call(), &"never-1".parse().expect("an id")).await;
    let never = never.expect("Errors: is_open failed instead of saying that it does not know");
    assert_ne!(never, Answer::Yes(()), "is_open: a session that nobody opened is open");
}

fn call() -> Call {
    Call::new("conformance", Duration::from_secs(10))
}

fn request(harness: &dyn Harness, n: usize, foreground: bool) -> OpenRequest {
    OpenRequest {
        session: format!("view-{n}").parse().expect("an id"),
        attach: AttachInfo { argv: Some(harness.attach(n)), title: format!("view-{n}") },
        env: harness.env(),
        foreground,
    }
}

async fn open(harness: &dyn Harness, request: &OpenRequest) -> Result<Opened, PluginError> {
    let (terminal, call) = (harness.terminal(), call());
    timeout(call.limit() + Duration::from_secs(20), terminal.open(&call, request))
        .await
        .expect("Deadline: open did not end in time, it seems to wait for the human")
}

fn check(request: &OpenRequest, opened: &Opened) {
    match opened {
        Opened::Window => {}
        Opened::RunHere(argv) => {
            assert!(request.foreground, "a client without a terminal was told to run a command");
            assert_eq!(Some(argv), request.attach.argv.as_ref(), "the client runs another command");
        }
        Opened::Hint(hint) => {
            let command = request.attach.command_line().unwrap_or_default();
            assert!(hint.contains(&command), "the hint {hint:?} does not hold `{command}`");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        fake::{FakeTerminal, Fault},
        *,
    };

    struct Fake(FakeTerminal);

    impl Harness for Fake {
        fn terminal(&self) -> Arc<dyn Terminal> {
            Arc::new(self.0.clone())
        }
        fn windows(&self) -> usize {
            self.0.windows().len()
        }
    }

    /// Runs a case against the fake; on a thread of its own, so that a panic is an answer.
    fn passes(
        fake: FakeTerminal,
        case: impl AsyncFnOnce(&dyn Harness) + Send + 'static,
    ) -> Result<(), String> {
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .start_paused(true)
                .build()
                .unwrap();
            runtime.block_on(case(&Fake(fake)));
        });
        thread.join().map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap()
        })
    }

    #[test]
    fn terminals_that_keep_their_contract_pass() {
        passes(FakeTerminal::new(None), async |harness| all(harness).await).unwrap();
        passes(FakeTerminal::without_windows(None), async |harness| all(harness).await).unwrap();
    }

    #[test]
    fn each_case_catches_the_terminal_that_breaks_it() {
        macro_rules! caught {
            ($($make:ident($fault:ident) => $case:ident: $message:literal,)*) => {$(
                let fake = FakeTerminal::$make(Some(Fault::$fault));
                let message = passes(fake, async |harness| $case(harness).await)
                    .expect_err(concat!(stringify!($fault), " was not caught"));
                assert!(message.contains($message), "{}: {message}", stringify!($fault));
            )*};
        }
        caught! {
            new(WaitsForTheHuman) => answers: "Deadline: open did not end in time",
            new(OpensTwo) => answers: "2 windows were opened",
            without_windows(AlwaysRunsHere) => answers: "a client without a terminal",
            without_windows(OtherCommand) => answers: "the client runs another command",
            without_windows(EmptyHint) => answers: "does not hold",
            new(RefusesTheSecond) => idempotency: "Idempotency: opening what is open failed",
            new(StaysBusy) => cancel_safety: "Cancel safety: a dropped open keeps the next",
            new(OpensTheBlind) => errors: "Errors: a session without a screen",
            new(OpensSomeThenFails) => errors: "Errors: windows were opened before",
            without_windows(Reverses) => many: "the hint",
            new(ForgetsTheLast) => many: "not one answer for each request",
            new(EverythingIsOpen) => is_open: "a session that nobody opened is open",
        }
    }
}
