//! A terminal in memory. It keeps the contract, unless it is told which part of it to break.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use ao_slots::{
    Call, PluginError, SessionId,
    call::Answer,
    terminal::{OpenRequest, Opened, Terminal},
};
use async_trait::async_trait;

/// A part of the contract that the fake breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say what is wrong")]
pub enum Fault {
    WaitsForTheHuman,
    OpensTwo,
    AlwaysRunsHere,
    OtherCommand,
    EmptyHint,
    RefusesTheSecond,
    OpensTheBlind,
    OpensSomeThenFails,
    Reverses,
    ForgetsTheLast,
    EverythingIsOpen,
    StaysBusy,
}

/// The terminal. Clones share their windows.
#[derive(Debug, Clone)]
pub struct FakeTerminal {
    windows: Arc<Mutex<Vec<SessionId>>>,
    busy: Arc<AtomicBool>,
    has_windows: bool,
    fault: Option<Fault>,
}

impl FakeTerminal {
    /// One that opens windows.
    pub fn new(fault: Option<Fault>) -> Self {
        Self { windows: Arc::default(), busy: Arc::default(), has_windows: true, fault }
    }

    /// One that only runs in the asking client's terminal, or hints.
    pub fn without_windows(fault: Option<Fault>) -> Self {
        Self { has_windows: false, ..Self::new(fault) }
    }

    /// Which sessions were opened in windows, the oldest first.
    pub fn windows(&self) -> Vec<SessionId> {
        self.list().clone()
    }

    fn list(&self) -> MutexGuard<'_, Vec<SessionId>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }
}

#[async_trait]
impl Terminal for FakeTerminal {
    async fn open(&self, _call: &Call, request: &OpenRequest) -> Result<Opened, PluginError> {
        if self.has(Fault::WaitsForTheHuman) {
            std::future::pending::<()>().await;
        }
        if self.busy.swap(self.has(Fault::StaysBusy), Ordering::Relaxed) {
            return Err(PluginError::transient("could not open", "another window is being opened"));
        }
        // As one that starts a program does.
        tokio::task::yield_now().await;
        self.busy.store(false, Ordering::Relaxed);
        let Some(mut argv) = request.attach.argv.clone() else {
            if self.has(Fault::OpensTheBlind) {
                return Ok(Opened::Window);
            }
            return Err(PluginError::unsupported("opening a session without a screen"));
        };
        if self.has(Fault::RefusesTheSecond) && self.list().contains(&request.session) {
            return Err(PluginError::permanent("could not open", "it is open"));
        }
        if self.has_windows {
            let count = if self.has(Fault::OpensTwo) { 2 } else { 1 };
            self.list().extend(std::iter::repeat_n(request.session.clone(), count));
            return Ok(Opened::Window);
        }
        if request.foreground || self.has(Fault::AlwaysRunsHere) {
            if self.has(Fault::OtherCommand) {
                argv.push("--read-only".to_owned());
            }
            return Ok(Opened::RunHere(argv));
        }
        let empty = self.has(Fault::EmptyHint);
        let command = request.attach.command_line().filter(|_| !empty);
        Ok(Opened::Hint(command.unwrap_or_default()))
    }

    async fn open_all(
        &self,
        call: &Call,
        requests: &[OpenRequest],
    ) -> Result<Vec<Opened>, PluginError> {
        let blind = requests.iter().any(|request| request.attach.argv.is_none());
        if blind && !self.has(Fault::OpensSomeThenFails) {
            return Err(PluginError::unsupported("opening a session without a screen"));
        }
        let mut opened = Vec::new();
        for request in requests {
            opened.push(self.open(call, request).await?);
        }
        if self.has(Fault::Reverses) {
            opened.reverse();
        }
        if self.has(Fault::ForgetsTheLast) {
            opened.pop();
        }
        Ok(opened)
    }

    async fn is_open(&self, _call: &Call, session: &SessionId) -> Result<Answer<()>, PluginError> {
        let open = self.has(Fault::EverythingIsOpen) || self.list().contains(session);
        Ok(if open { Answer::Yes(()) } else { Answer::No })
    }
}
