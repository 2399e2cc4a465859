//! The loop.
//!
//! It commits in batches: what waits is decided and applied in order to a working copy, written at once,
//! synced once, and only then shown and performed. A slow disk makes batches larger, not the loop slower.
//!
//! When an append is refused nothing of its batch has happened. Senders are told to repeat; what `ao` itself
//! must not keep from a human goes into the space that the journal keeps for it, until a probe succeeds.

use std::{
    any::Any,
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError},
    time::Duration,
};

use ao_slots::Seq;
use jiff::{SignedDuration, Timestamp};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::Instant,
};

use super::{
    clock::Clock,
    handle::{Handle, Submission},
};
use crate::{
    blob::sha256,
    decide::{self, Answered, Input, Refusal, RefusalKind},
    disk::{DirLock, Disk},
    event::{Event, Kind, Text},
    journal::{Durability, Journal, JournalError, Line, Reader, Retention, Snapshot, Tampered},
    state::{Focus, Lane, Now, State},
};

/// Inputs that one batch takes.
const MOST_INPUTS: usize = 256;
/// A snapshot is written after that many events.
const SNAPSHOT_EVERY: u64 = 20_000;
/// The clocks may drift apart by that much between two looks before it counts as a jump.
const JUMP: SignedDuration = SignedDuration::from_secs(5);
/// A due rule is looked at again no sooner than that: a rule that stays due must not spin.
const LEAST_WAIT: Duration = Duration::from_millis(20);
/// A batch waits that long for as many senders as the one before it had: far less than a sync takes.
const STRAGGLERS: Duration = Duration::from_micros(300);
/// How often a journal that refused an append is tried again.
const PROBE_EVERY: Duration = Duration::from_secs(2);
/// How long a batch without an effect may stay unsynced with [`Durability::Batch`].
const SYNC_WITHIN: Duration = Duration::from_millis(50);
/// The journal takes no longer events.
const LONGEST: usize = (1 << 20) - 64;
/// The same failure of a rule is put aside no more often than that.
const ASIDE_EVERY: Duration = Duration::from_secs(60);

/// Takes inputs one batch after another until the server ends.
pub(super) struct Loop {
    /// Away only while a thread of its own writes.
    journal: Option<Journal>,
    durability: Durability,
    /// What will be shown once it is durable.
    working: State,
    waiting: mpsc::Receiver<Submission>,
    /// What the loop has to tell itself: jumps of the clock, a failing disk, inputs that were put aside.
    own: VecDeque<Input>,
    handle: Handle,
    clock: Arc<dyn Clock>,
    reader: Reader,
    disk: Arc<dyn Disk>,
    failing: Option<Failing>,
    /// Senders that the last batch answered.
    answered: usize,
    last_look: Option<(Timestamp, u64)>,
    /// Since when something is written and not synced.
    unsynced: Option<Instant>,
    snapshot_at: u64,
    snapshot: Option<JoinHandle<()>>,
    /// The rule that broke last, by its words, and when.
    broken: Option<(String, Instant)>,
    boot: String,
    stopped: watch::Receiver<bool>,
    // Given back when the loop ends.
    _lock: DirLock,
}

/// The last append was refused.
#[derive(Debug)]
struct Failing {
    probed: Instant,
    /// The kept space took no more either.
    silent: bool,
}

/// What a batch came to, before it is durable.
#[derive(Default)]
struct Stepped {
    events: Vec<Event>,
    lines: Vec<Line>,
    /// One for each input.
    answers: Vec<Result<Answered, Refusal>>,
}

impl Loop {
    #[expect(clippy::too_many_arguments, reason = "called once, by the start")]
    pub(super) fn new(
        journal: Journal,
        durability: Durability,
        state: State,
        waiting: mpsc::Receiver<Submission>,
        handle: Handle,
        clock: Arc<dyn Clock>,
        reader: Reader,
        disk: Arc<dyn Disk>,
        boot: String,
        stopped: watch::Receiver<bool>,
        lock: DirLock,
    ) -> Self {
        Self {
            journal: Some(journal),
            durability,
            snapshot_at: state.last_seq.0,
            working: state,
            waiting,
            own: VecDeque::new(),
            handle,
            clock,
            reader,
            disk,
            failing: None,
            answered: 0,
            last_look: None,
            unsynced: None,
            snapshot: None,
            broken: None,
            boot,
            stopped,
            _lock: lock,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            let batch = self.next_batch().await;
            if self.failing.is_none() || self.probe().await {
                self.commit(batch).await;
            } else {
                self.commit_vital(batch).await;
            }
            if *self.stopped.borrow() && self.waiting.is_empty() {
                return self.close().await;
            }
            self.write_snapshot();
        }
    }

    async fn commit(&mut self, batch: Vec<Submission>) {
        let mut stepped = self.step(&batch);
        match self.append(&mut stepped).await {
            Ok(()) => self.release(batch, stepped),
            Err(error) => self.fall_back(batch, &error).await,
        }
    }

    fn now(&self) -> Now {
        // Until the start is recorded the offset is that of another boot.
        if self.working.boot != self.boot {
            return Now { wall: self.clock.wall(), awake: self.working.awake };
        }
        let monotonic = i64::try_from(self.clock.monotonic_ms()).unwrap_or(i64::MAX);
        let awake = u64::try_from(monotonic.saturating_add(self.working.offset_ms)).unwrap_or(0);
        Now { wall: self.clock.wall(), awake: awake.max(self.working.awake) }
    }

    /// Waits for something to do: an input, a deadline, or the end.
    async fn next_batch(&mut self) -> Vec<Submission> {
        let wait = self.wait();
        let first = tokio::select! {
            // Cancel safe: a receive that is dropped has taken nothing.
            first = self.waiting.recv() => first,
            () = tokio::time::sleep(wait) => None,
            // Cancel safe: only looks.
            _ = self.stopped.changed() => None,
        };
        self.sync_if_due().await;
        let own = self.own.drain(..).map(|input| Submission { input, reply: None });
        let mut batch: Vec<_> = own.chain(first).collect();
        let began = Instant::now();
        loop {
            while batch.len() < MOST_INPUTS {
                let Ok(more) = self.waiting.try_recv() else { break };
                batch.push(more);
            }
            // Those who were answered just now are about to send again: one sync is enough for all.
            if batch.len() >= self.answered.min(MOST_INPUTS) || began.elapsed() > STRAGGLERS {
                break;
            }
            tokio::task::yield_now().await;
        }
        self.notice_jump(&mut batch);
        batch.push(Submission { input: Input::Tick, reply: None });
        batch
    }

    fn wait(&self) -> Duration {
        let probe = self
            .failing
            .as_ref()
            .map(|failing| (PROBE_EVERY.saturating_sub(failing.probed.elapsed())).max(LEAST_WAIT));
        if let (Some(probe), true) = (probe, self.is_silent()) {
            return probe;
        }
        if !self.own.is_empty() {
            return Duration::ZERO;
        }
        let now = self.now();
        let (awake, wall) = self.working.next_due();
        let by_awake = awake.map(|at| Duration::from_millis(at.saturating_sub(now.awake)));
        let by_wall = wall
            .map(|at| Duration::try_from(at.duration_since(now.wall)).unwrap_or(Duration::ZERO));
        let sync = self.unsynced.map(|since| SYNC_WITHIN.saturating_sub(since.elapsed()));
        // A set wall clock moves deadlines by wall, so it is looked at now and then.
        let longest = Some(Duration::from_secs(60));
        let waits = [by_awake, by_wall, sync, probe, longest];
        waits.into_iter().flatten().min().unwrap_or_default().max(LEAST_WAIT)
    }

    /// After a sleep or a set clock everything is looked at before any limit is judged.
    fn notice_jump(&mut self, batch: &mut Vec<Submission>) {
        let (wall, monotonic) = (self.clock.wall(), self.clock.monotonic_ms());
        if let Some((wall_before, monotonic_before)) = self.last_look.replace((wall, monotonic)) {
            let passed = monotonic.saturating_sub(monotonic_before);
            let passed = SignedDuration::from_millis(i64::try_from(passed).unwrap_or(i64::MAX));
            let ahead = wall.duration_since(wall_before).saturating_sub(passed);
            if ahead.abs() > JUMP {
                let ahead_ms = i64::try_from(ahead.as_millis()).unwrap_or(i64::MAX);
                batch.insert(0, Submission { input: Input::ClockJumped { ahead_ms }, reply: None });
            }
        }
    }

    /// Decides and applies a batch, in order, to the working copy.
    fn step(&mut self, batch: &[Submission]) -> Stepped {
        let mut stepped = Stepped::default();
        for Submission { input, .. } in batch {
            let now = self.now();
            let answer = match self.attempt(&mut stepped, |working| take(working, input, now)) {
                Ok(answer) => answer,
                Err(broke) => {
                    if matches!(input, Input::Tick) {
                        self.look_at_each(&mut stepped, now);
                    }
                    Err(self.put_aside(input, broke))
                }
            };
            stepped.answers.push(answer);
        }
        stepped
    }

    /// Lets rules work on the working copy, and keeps what follows. Where one breaks it is as if they never had;
    /// the error is why.
    fn attempt<T>(
        &mut self,
        stepped: &mut Stepped,
        rules: impl FnOnce(&mut State) -> Result<(Vec<Event>, T), Refusal>,
    ) -> Result<Result<T, Refusal>, String> {
        let working = &mut self.working;
        let taken = catch_unwind(AssertUnwindSafe(|| {
            let (events, answer) = rules(working)?;
            Ok((lines(&events), events, answer))
        }));
        let broke = match taken {
            Ok(Ok((Ok(lines), events, answer))) => {
                stepped.lines.extend(lines);
                stepped.events.extend(events);
                return Ok(Ok(answer));
            }
            Ok(Err(refusal)) => return Ok(Err(refusal)),
            Ok(Ok((Err(why), ..))) => why,
            Err(panic) => words_of(&*panic),
        };
        self.working = self.handle.state().clone();
        for event in &stepped.events {
            self.working.apply(event);
        }
        Err(broke)
    }

    /// A rule broke over something that is due: each is looked at alone, with all that follows from it, and that
    /// over which one breaks is passed over. It must not keep the others from being looked at.
    fn look_at_each(&mut self, stepped: &mut Stepped, now: Now) {
        for focus in self.working.due(now) {
            let rules = |working: &mut State| Ok((look(working, focus.clone(), now), ()));
            if let Err(why) = self.attempt(stepped, rules) {
                tracing::error!(?focus, why, "a rule breaks over it; it is passed over");
                self.working.pass_over(&focus);
                let served = &self.handle.served;
                let mut shown = served.state.write().unwrap_or_else(PoisonError::into_inner);
                shown.pass_over(&focus);
            }
        }
    }

    /// Puts an input aside that no rule can take; it is never tried again by this version.
    fn put_aside(&mut self, input: &Input, why: String) -> Refusal {
        tracing::error!(why, "an input broke a rule and was put aside");
        let again = |(known, at): &(String, Instant)| *known == why && at.elapsed() < ASIDE_EVERY;
        let refusal = |file: &str| {
            let what = format!("ao cannot take this and has put it aside{file}");
            Refusal::new(RefusalKind::Invalid, what).with_remedy("ao doctor --report")
        };
        if self.broken.as_ref().is_some_and(again) {
            return refusal("");
        }
        let folder = self.handle.data_dir().join("quarantine");
        let name = format!("{}.json", ulid::Ulid::generate());
        let json = serde_json::to_vec(input).unwrap_or_default();
        let made = self.disk.create_dir(&folder);
        let kept =
            made.and_then(|()| crate::disk::replace(&*self.disk, &folder.join(&name), &json));
        if let Err(error) = kept {
            tracing::error!(%error, "it could not be kept");
        }
        if !matches!(input, Input::Quarantined { .. }) {
            let message = Text::short(&why);
            self.own.push_back(Input::Quarantined { file: name.clone(), message });
        }
        self.broken = Some((why, Instant::now()));
        refusal(&format!(" as quarantine/{name}"))
    }

    async fn append(&mut self, stepped: &mut Stepped) -> Result<(), JournalError> {
        let lines = std::mem::take(&mut stepped.lines);
        if lines.is_empty() {
            return Ok(());
        }
        // A batch that holds an intent must be durable before the effect.
        let acts = stepped.events.iter().any(|e| matches!(e.kind, Kind::EffectIntended(_)));
        let durability = if acts { Durability::Commit } else { self.durability };
        let tampered = self.write(move |journal| journal.append(&lines, durability)).await?;
        if let Some(Tampered { path, what }) = tampered {
            let path = path.to_string_lossy().into_owned();
            tracing::error!(path, what, "the journal was changed by another");
            self.own.push_back(Input::Tampered { path, kept: None });
        }
        match durability {
            Durability::Commit => self.unsynced = None,
            Durability::Batch => _ = self.unsynced.get_or_insert_with(Instant::now),
        }
        Ok(())
    }

    /// Lets a thread that may block work with the journal.
    async fn write<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Journal) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let gone = JournalError::EmergencySpent { from: self.working.last_seq.0 };
        let Some(mut journal) = self.journal.take() else { return Err(gone) };
        let written = tokio::task::spawn_blocking(move || {
            let result = work(&mut journal);
            (journal, result)
        });
        let Ok((journal, result)) = written.await else {
            // It panicked and took the journal with it: nothing can be recorded any more.
            tracing::error!("the journal is lost to this process; start ao anew");
            return Err(gone);
        };
        self.journal = Some(journal);
        result
    }

    async fn sync_if_due(&mut self) {
        if self.unsynced.is_none_or(|since| since.elapsed() < SYNC_WITHIN) {
            return;
        }
        self.unsynced = None;
        if let Err(error) = self.write(Journal::sync).await {
            self.fall_back(vec![], &error).await;
        }
    }

    /// Everything is durable: show it, answer, act. Waits for nobody.
    fn release(&mut self, batch: Vec<Submission>, stepped: Stepped) {
        {
            let served = &self.handle.served;
            let mut shown = served.state.write().unwrap_or_else(PoisonError::into_inner);
            for event in &stepped.events {
                shown.follow(event, &self.working);
            }
        }
        self.answered = batch.iter().filter(|submission| submission.reply.is_some()).count();
        for (submission, answer) in batch.into_iter().zip(stepped.answers) {
            reply(submission.reply, answer);
        }
        for event in stepped.events {
            let event = Arc::new(event);
            self.handle.shell.released(&self.handle, &event);
            // No reader is no error.
            let _ = self.handle.served.bus.send(event);
        }
    }

    /// The append left nothing: neither does the working copy.
    async fn fall_back(&mut self, batch: Vec<Submission>, error: &JournalError) {
        tracing::error!(error = %chain(error), "events could not be recorded; agents go on, ao waits for the disk");
        self.failing = Some(Failing { probed: Instant::now(), silent: false });
        self.forget().await;
        // A single failed sync is over with the next segment: then nobody need hear of it.
        if !error.is_disk_full() && self.write(Journal::probe).await.is_ok() {
            self.failing = None;
            return self.refuse(batch);
        }
        let failing = Input::Disk { free: self.free().await, failing: true };
        let own = self.own.drain(..).chain([failing]);
        let own = own.map(|input| Submission { input, reply: None });
        let batch = batch.into_iter().chain(own).collect();
        self.commit_vital(batch).await;
    }

    /// Makes the working copy what is durable.
    async fn forget(&mut self) {
        let durable = self.journal.as_ref().map(Journal::last);
        let shown = self.handle.state().clone();
        self.working = shown;
        self.unsynced = None;
        if durable.is_none_or(|last| last >= self.working.last_seq.0) {
            return;
        }
        // What was shown before it was durable is lost too.
        let reader = self.reader.clone();
        let read = tokio::task::spawn_blocking(move || rebuild(&reader)).await;
        match read {
            Ok(Ok(state)) => {
                let served = &self.handle.served;
                self.working = state.clone();
                *served.state.write().unwrap_or_else(PoisonError::into_inner) = state;
            }
            Ok(Err(error)) => {
                tracing::error!(error = %chain(&error), "the journal cannot be read back");
            }
            Err(error) => tracing::error!(%error, "the journal cannot be read back"),
        }
    }

    /// Records, in the space that is kept for it, what a failing disk must not silence.
    async fn commit_vital(&mut self, batch: Vec<Submission>) {
        let (vital, other) = batch.into_iter().partition(|submission| self.is_vital(submission));
        self.refuse(other);
        if self.is_silent() {
            return self.refuse(vital);
        }
        let mut stepped = self.step(&vital);
        let lines = std::mem::take(&mut stepped.lines);
        if lines.is_empty() {
            return self.release(vital, stepped);
        }
        match self.write(move |journal| journal.append_emergency(&lines)).await {
            Ok(()) => self.release(vital, stepped),
            Err(error) => {
                tracing::error!(error = %chain(&error), "nothing can be recorded");
                if let Some(failing) = &mut self.failing {
                    failing.silent = true;
                }
                self.forget().await;
                self.refuse(vital);
            }
        }
    }

    /// What the loop tells itself, what a start and an end need, and what became of messages to humans.
    fn is_vital(&self, submission: &Submission) -> bool {
        match &submission.input {
            _ if submission.reply.is_none() => true,
            Input::Started { .. }
            | Input::Stopping { .. }
            | Input::Config { .. }
            | Input::Gap { .. } => true,
            Input::Effect { intent, .. } => {
                let lane = self.working.intents.get(intent).map(|intent| &intent.lane);
                matches!(lane, Some(Lane::Channel(_)))
            }
            _ => false,
        }
    }

    fn is_silent(&self) -> bool {
        self.failing.as_ref().is_some_and(|failing| failing.silent)
    }

    /// Nothing was recorded: who asked is told so at once, and repeats it.
    fn refuse(&mut self, batch: Vec<Submission>) {
        for Submission { input, reply: sender } in batch {
            match sender {
                Some(_) => reply(sender, Err(unavailable())),
                None if matches!(input, Input::Tick) => {}
                None => self.own.push_back(input),
            }
        }
    }

    /// Whether the journal takes appends again: looked at now and then.
    async fn probe(&mut self) -> bool {
        match &mut self.failing {
            Some(failing) if failing.probed.elapsed() < PROBE_EVERY => return false,
            Some(failing) => failing.probed = Instant::now(),
            None => return true,
        }
        if self.write(Journal::probe).await.is_err() {
            return false;
        }
        tracing::info!("events can be recorded again");
        self.failing = None;
        self.forget().await;
        let free = self.free().await;
        self.own.push_back(Input::Disk { free, failing: false });
        true
    }

    async fn free(&self) -> u64 {
        let (disk, root) = (self.disk.clone(), self.handle.data_dir().to_owned());
        let free = tokio::task::spawn_blocking(move || disk.free(&root)).await;
        free.ok().and_then(Result::ok).unwrap_or(0)
    }

    /// Writes a snapshot beside the loop when enough has happened since the last one, and tidies the journal.
    fn write_snapshot(&mut self) {
        let seq = self.working.last_seq.0;
        let busy = self.snapshot.as_ref().is_some_and(|task| !task.is_finished());
        let wanted = seq.saturating_sub(self.snapshot_at) >= SNAPSHOT_EVERY;
        if !wanted || busy || self.failing.is_some() || self.unsynced.is_some() {
            return;
        }
        self.snapshot_at = seq;
        let (state, reader) = (self.working.clone(), self.reader.clone());
        self.snapshot = Some(tokio::task::spawn_blocking(move || {
            let retention = Retention {
                age: Duration::from_millis(state.policy.retention.age_ms),
                bytes: state.policy.retention.size_bytes,
            };
            let written = pack(&state).and_then(|snapshot| {
                reader.write_snapshot(&snapshot)?;
                reader.compact()?;
                reader.retain(retention, std::time::SystemTime::now())
            });
            if let Err(error) = written {
                tracing::warn!(error = %chain(&error), "no snapshot: the next start reads more");
            }
        }));
    }

    /// The last snapshot.
    async fn close(mut self) {
        if let Some(task) = self.snapshot.take() {
            // Two at once would write the same file; how the first ended is in the log.
            let _ = task.await;
        }
        let unsynced = self.unsynced.is_some() && self.write(Journal::sync).await.is_err();
        if unsynced || self.failing.is_some() || self.working.last_seq.0 == self.snapshot_at {
            return;
        }
        let (state, reader) = (self.working, self.reader);
        let written = tokio::task::spawn_blocking(move || reader.write_snapshot(&pack(&state)?));
        match written.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = %chain(&error), "no snapshot: the next start reads more");
            }
            Err(error) => tracing::warn!(%error, "no snapshot: the next start reads more"),
        }
    }
}

fn take(state: &mut State, input: &Input, now: Now) -> Result<(Vec<Event>, Answered), Refusal> {
    #[cfg(test)]
    super::tests::break_on(input);
    let taken = decide::step(state, input, now);
    #[cfg(test)]
    taken.iter().for_each(|(events, _)| super::tests::break_at(state, events));
    taken
}

fn look(state: &mut State, focus: Focus, now: Now) -> Vec<Event> {
    let events = decide::look(state, focus, now);
    #[cfg(test)]
    super::tests::break_at(state, &events);
    events
}

/// Events as the journal takes them, or why it cannot.
fn lines(events: &[Event]) -> Result<Vec<Line>, String> {
    let line = |event: &Event| match event.encode() {
        Ok(json) if json.len() <= LONGEST => Ok(Line { seq: event.seq.0, json }),
        Ok(json) => Err(format!("{} has {} bytes", event.kind.name(), json.len())),
        Err(error) => Err(format!("{} cannot be written: {error}", event.kind.name())),
    };
    events.iter().map(line).collect()
}

pub(super) fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref().copied()).unwrap_or("no message").to_owned()
}

/// Applies one stored event. One that cannot be understood keeps its place.
pub(super) fn fold(state: &mut State, seq: u64, json: &[u8]) {
    match Event::decode(json) {
        Ok(event) => state.replay(&event),
        Err(error) => {
            tracing::error!(%error, seq, "an event cannot be understood; it is kept and passed over");
            state.last_seq = Seq(seq);
        }
    }
}

fn pack(state: &State) -> Result<Snapshot, JournalError> {
    let unwritable = |error: serde_json::Error| JournalError::File {
        path: "the state".into(),
        source: error.into(),
    };
    let json = serde_json::to_vec(state).map_err(unwritable)?;
    Ok(Snapshot { seq: state.last_seq.0, state_hash: sha256(&json), state: json })
}

/// The state in a snapshot, and whether this version would write it so; or why it cannot be used.
pub(super) fn unpack(snapshot: &Snapshot) -> Result<(State, bool), String> {
    if sha256(&snapshot.state) != snapshot.state_hash {
        return Err("its content is not what was written".to_owned());
    }
    let mut state: State = serde_json::from_slice(&snapshot.state)
        .map_err(|error| format!("this version does not understand it: {error}"))?;
    state.reindex();
    let same = state.hash() == snapshot.state_hash;
    Ok((state, same))
}

/// The state as the journal has it.
fn rebuild(reader: &Reader) -> Result<State, JournalError> {
    let mut state =
        reader.snapshot().and_then(|read| Some(unpack(&read).ok()?.0)).unwrap_or_default();
    let mut events = reader.read(state.last_seq.0 + 1..=u64::MAX)?;
    while let Some((seq, json)) = events.next()? {
        fold(&mut state, seq, json);
    }
    state.reindex();
    Ok(state)
}

type Reply = oneshot::Sender<Result<Answered, Refusal>>;

fn reply(sender: Option<Reply>, answer: Result<Answered, Refusal>) {
    if let Some(sender) = sender {
        // Who no longer waits needs no answer.
        let _ = sender.send(answer);
    }
}

fn unavailable() -> Refusal {
    Refusal::new(RefusalKind::Unavailable, "the journal cannot be written now; nothing was changed")
        .with_remedy("free space on the disk of the data directory; ao tries again by itself")
}

/// An error with its causes: `a: b: c`.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
