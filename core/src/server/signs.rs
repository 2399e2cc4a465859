//! What sessions show without being asked: transcripts, status files, and the screen where nothing else speaks.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    time::Duration,
};

use ao_slots::{
    Call, Seq,
    agent::Dialog,
    fact::{Activity, RuntimeState, Source},
    process::ProcessId,
    runtime::{FileAnswer, FileRequest, FileStamp, RuntimeHandle, Screen},
};
use jiff::Timestamp;

use super::{
    handle::Handle,
    hooks::told,
    lane::{Work, lock, within},
    run::words_of,
};
use crate::{
    decide::{Input, RefusalKind, Told},
    event::{Text, digest},
    state::{Session, Step},
};

/// Files of that many sessions are read by one call; each may bring [`STRETCH`] bytes.
const AT_ONCE: usize = 32;
/// What a runtime reads of a file at most in one go.
const STRETCH: usize = 1 << 20;
const READ: Duration = Duration::from_secs(4);
const CAPTURE: Duration = Duration::from_secs(2);
/// An agent that should signal and has not for that long after its launch is looked at on its screen …
const QUIET_LAUNCH_MS: u64 = 15_000;
/// … for that long cannot be observed …
const NO_SIGNAL_MS: u64 = 60_000;
/// … and from then on is looked at that seldom. An agent that writes without a pause, too.
const SELDOM_MS: u64 = 30_000;
/// An output that is that old has come to rest.
const REST: jiff::SignedDuration = jiff::SignedDuration::from_secs(2);

/// A session that runs, as the last probe saw it.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) work: Work,
    pub(super) at: RuntimeHandle,
    /// When it last wrote to its terminal.
    pub(super) output: Option<Timestamp>,
}

/// What was read of a session so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    transcript: Transcript,
    status: Status,
    /// The output at the last look at the screen, and when that was.
    screen: Option<(Option<Timestamp>, u64)>,
}

impl Known {
    /// Whether its transcript was read to its end at least once.
    pub(super) fn is_caught_up(&self) -> bool {
        self.transcript.caught_up
    }
}

#[derive(Debug, Clone, Default)]
struct Transcript {
    path: PathBuf,
    offset: u64,
    /// What was read of it before it was cut or replaced; what is told counts on from there.
    before: u64,
    /// What the agent's plugin wants to know of the last stretch.
    carry: String,
    /// How it was when it had been read to its end.
    stamp: Option<FileStamp>,
    caught_up: bool,
}

#[derive(Debug, Clone, Default)]
struct Status {
    /// Where a process's status file lies, if it has one.
    of: Option<(ProcessId, Option<PathBuf>)>,
    stamp: Option<FileStamp>,
    /// Its content's hash, and what that says.
    said: Option<(u32, Told)>,
    /// The activity, as it was when the file was last told of.
    told: Option<Seq>,
}

/// One session's part of a sweep.
struct Reading<'a> {
    running: &'a Running,
    known: Known,
    found: Vec<Told>,
    /// Which files to ask for in this round.
    wants: Vec<File>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum File {
    Transcript,
    Status,
}

/// Reads all signs of the sessions of one runtime.
pub(super) async fn read(handle: &Handle, all: &[Running]) {
    for some in all.chunks(AT_ONCE) {
        let mut readings = Vec::with_capacity(some.len());
        for running in some {
            readings.push(Reading::begin(handle, running).await);
        }
        read_files(handle, &mut readings).await;
        for mut reading in readings {
            reading.look_at_screen(handle).await;
            reading.submit(handle).await;
        }
    }
}

/// One call for all files, and more of them for those that are longer than a stretch.
async fn read_files(handle: &Handle, readings: &mut [Reading<'_>]) {
    loop {
        let mut asked = vec![];
        let mut files = vec![];
        for (n, reading) in readings.iter_mut().enumerate() {
            for file in std::mem::take(&mut reading.wants) {
                files.extend(reading.request(file));
                asked.push((n, file));
            }
        }
        let Some(first) = asked.first().map(|(n, _)| readings[*n].running) else { return };
        let call = Call::new("signs", READ);
        let answers = within(READ, first.work.plugins.runtime.read(&call, &files)).await;
        let answers = match answers {
            Ok(answers) if answers.len() == files.len() => answers,
            Ok(_) => return tracing::warn!("a runtime answered for other files"),
            Err(error) => return tracing::debug!(%error, "no file could be read"),
        };
        for ((n, file), answer) in asked.into_iter().zip(answers) {
            let reading = &mut readings[n];
            let took = catch_unwind(AssertUnwindSafe(|| match file {
                File::Transcript => reading.take_transcript(handle, answer),
                File::Status => reading.take_status(handle, answer),
            }));
            if let Err(panic) = took {
                let (session, words) = (&reading.running.work.session.id, words_of(&*panic));
                tracing::error!(%session, words, "an agent plugin broke over a file");
            }
        }
    }
}

impl<'a> Reading<'a> {
    async fn begin(handle: &Handle, running: &'a Running) -> Self {
        let session = &running.work.session;
        let known = lock(&handle.shell.signs).get(&session.id).cloned().unwrap_or_default();
        let mut reading = Self { running, known, found: vec![], wants: vec![] };
        let transcript = &mut reading.known.transcript;
        if let Some(path) = &session.transcript {
            if transcript.path.as_os_str() != path.as_str() {
                // An earlier server got that far; what came since is the past by now.
                let (path, offset) = (path.into(), session.transcript_offset);
                *transcript = Transcript { path, offset, ..Transcript::default() };
            }
            reading.wants.push(File::Transcript);
        }
        let alive = session.runtime_state.value == RuntimeState::Alive;
        if let Some(process) = running.at.process.filter(|_| alive)
            && reading.find_status(handle, process).await
        {
            reading.wants.push(File::Status);
        }
        reading
    }

    /// Whether this process has a status file.
    async fn find_status(&mut self, handle: &Handle, process: ProcessId) -> bool {
        let work = &self.running.work;
        if self.known.status.of.as_ref().is_none_or(|(asked, _)| *asked != process) {
            let request = handle.shell.launch_request(work, work.session.launch, false).await;
            let Ok(request) = request else { return false };
            let path = work.plugins.agent.status_file(&request, process);
            self.known.status = Status { of: Some((process, path)), ..Status::default() };
        }
        matches!(self.known.status.of, Some((_, Some(_))))
    }

    fn request(&self, file: File) -> Option<FileRequest> {
        let (transcript, status) = (&self.known.transcript, &self.known.status);
        let (path, from, seen) = match file {
            File::Transcript => (&transcript.path, transcript.offset, transcript.stamp),
            File::Status => (status.of.as_ref()?.1.as_ref()?, 0, status.stamp),
        };
        let path = path.to_string_lossy().into_owned();
        Some(FileRequest { handle: self.running.at.clone(), path, from, seen })
    }

    fn take_transcript(&mut self, handle: &Handle, answer: FileAnswer) {
        let known = &mut self.known.transcript;
        let (bytes, stamp) = match answer {
            FileAnswer::Read { bytes, stamp } => (bytes, stamp),
            // What is written when it appears is news.
            FileAnswer::Absent | FileAnswer::Unchanged => return known.caught_up = true,
            FileAnswer::Failed(why) => {
                let session = &self.running.work.session.id;
                return tracing::debug!(%session, why, "its transcript cannot be read");
            }
        };
        if stamp.is_some_and(|stamp| stamp.size < known.offset) {
            // It was cut, or another is in its place. What that holds may have been counted.
            let (path, before) = (known.path.clone(), known.before + known.offset);
            *known = Transcript { path, before, ..Transcript::default() };
            return self.wants.push(File::Transcript);
        }
        let more = bytes.len() >= STRETCH;
        let read = self.running.work.plugins.agent.introspect(&bytes, &known.carry);
        let first = !known.caught_up;
        known.stamp = stamp.filter(|_| !more);
        known.caught_up |= !more;
        // A line that is longer than all that can be read at once is left out.
        let endless = more && read.consumed == 0;
        known.offset += if endless { bytes.len() as u64 } else { read.consumed };
        if more {
            self.wants.push(File::Transcript);
        }
        if read.consumed == 0 {
            return;
        }
        known.carry = read.carry;
        let (offset, counts) = (known.before + known.offset, !first || known.before == 0);
        self.found
            .extend(read.user_texts.iter().map(|text| Told::TextSeen { digest: digest(text) }));
        for signal in read.signals {
            match told(handle, signal) {
                Told::Usage { usage, .. } if counts => {
                    self.found.push(Told::Usage { usage, offset })
                }
                Told::Usage { .. } => {}
                // The past of a conversation says nothing about what the agent does now.
                other if !first => self.found.push(other),
                _ => {}
            }
        }
        self.found.push(Told::Alive);
    }

    /// Two equal looks one sweep apart: hooks race with the file, and it must not win by being early. Told again
    /// when another source changed the fact since.
    fn take_status(&mut self, handle: &Handle, answer: FileAnswer) {
        let known = &mut self.known.status;
        let activity = self.running.work.session.activity.since.seq;
        match answer {
            FileAnswer::Unchanged => {}
            FileAnswer::Read { bytes, stamp } => {
                known.stamp = stamp;
                let hash = crc32c::crc32c(&bytes);
                if known.said.as_ref().is_none_or(|(before, _)| *before != hash) {
                    let signal = self.running.work.plugins.agent.read_status(&bytes);
                    known.said = signal.map(|signal| (hash, told(handle, signal)));
                    known.told = None;
                    return;
                }
            }
            FileAnswer::Absent | FileAnswer::Failed(_) => {
                (known.said, known.stamp, known.told) = (None, None, None);
            }
        }
        if let Some((_, said)) = &known.said
            && known.told != Some(activity)
        {
            known.told = Some(activity);
            self.found.push(said.clone());
        }
    }

    async fn submit(self, handle: &Handle) {
        let session = &self.running.work.session;
        if !self.found.is_empty() {
            let (id, launch) = (session.id.clone(), session.launch);
            let (source, told) = (Source::Transcript, self.found);
            let input = Input::Signals { session: id, launch, source, started: None, told };
            let taken = handle.submit(input).await;
            // What the journal could not take is read again.
            if taken.is_err_and(|refusal| refusal.kind == RefusalKind::Unavailable) {
                return;
            }
        }
        if !handle.state().sessions.get(&session.id).is_none_or(Session::is_over) {
            lock(&handle.shell.signs).insert(session.id.clone(), self.known);
        }
    }

    /// The screen costs a process: it is looked at where nothing else speaks.
    async fn look_at_screen(&mut self, handle: &Handle) {
        let now = handle.now();
        let Running { work, output, .. } = self.running;
        let session = &work.session;
        let looked = self.known.screen;
        let since = looked.map_or(u64::MAX, |(_, when)| now.awake.saturating_sub(when));
        let silent = silent_launch(session, now.awake);
        if let Some(silent) = silent.filter(|silent| *silent >= QUIET_LAUNCH_MS) {
            if silent < 2 * NO_SIGNAL_MS || since >= SELDOM_MS {
                self.known.screen = Some((*output, now.awake));
                self.look_at_silence(handle, silent).await;
            }
            return;
        }
        let asks = session.suspected.is_some() || session.open_requests().next().is_some();
        let watched = !work.project.agent_config.suspect.is_empty()
            && session.step == Step::Ready
            && session.runtime_state.value == RuntimeState::Alive;
        let rests = output.is_none_or(|at| now.wall.duration_since(at) >= REST);
        let news = output.is_none() || looked.is_none_or(|(before, _)| before != *output);
        if watched && !asks && news && (rests || since >= SELDOM_MS) {
            self.known.screen = Some((*output, now.awake));
            self.look_for_questions().await;
        }
    }

    /// An agent that should have signalled and did not: a dialog, or nobody knows.
    async fn look_at_silence(&mut self, handle: &Handle, silent: u64) {
        let work = &self.running.work;
        if !work.plugins.runtime.capabilities().screen {
            return;
        }
        let Some(screen) = self.capture().await else { return };
        match work.plugins.agent.match_dialog(&screen) {
            Dialog::Setup { text } => self.found.push(Told::Setup { text: handle.put_text(&text) }),
            _ if silent >= NO_SIGNAL_MS && work.session.activity.value != Activity::NoSignal => {
                self.found.push(Told::NoSignal);
            }
            _ => {}
        }
    }

    /// The project's own expressions for what looks like a question, which can only raise a suspicion.
    async fn look_for_questions(&mut self) {
        let Some(screen) = self.capture().await else { return };
        let work = &self.running.work;
        let line = work.plugins.agent.suspect(&work.project.agent_config, &screen);
        self.found.extend(line.map(|line| Told::Suspected { text: Text::short(&line) }));
    }

    async fn capture(&self) -> Option<Screen> {
        let call = Call::new("screen", CAPTURE);
        let runtime = &self.running.work.plugins.runtime;
        within(CAPTURE, runtime.capture(&call, &self.running.at, 60)).await.ok()
    }
}

/// How long an agent that should signal has not since its launch, in milliseconds.
fn silent_launch(session: &Session, awake: u64) -> Option<u64> {
    let waits = session.signals && !session.signalled && session.step == Step::Launching;
    session.launched.filter(|_| waits).map(|launched| awake.saturating_sub(launched.awake))
}
