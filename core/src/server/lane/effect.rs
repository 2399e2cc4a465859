//! One effect at a time a lane: begun when it is durable, ended by its deadline, told to the loop whatever comes.

use std::{sync::Arc, time::Duration};

use ao_slots::{
    Call, ErrorKind, PluginError, Seq, SessionId,
    workspace::{Removal, WorkspaceHandle},
};
use tokio::task::AbortHandle;

use super::{Shell, lock, no_such, within};
use crate::{
    decide::{Input, RefusalKind},
    event::{Effect, Failure, Outcome},
    server::handle::Handle,
    state::Lane,
};

/// Before each look at what became of an effect: a minute in all.
const LOOKS_S: [u64; 7] = [0, 1, 2, 4, 8, 15, 30];

/// What a lane does.
pub(in crate::server) struct Running {
    seq: Seq,
    task: AbortHandle,
    /// Held by the one that runs. What is aborted gives it back when it has really ended.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Shell {
    /// Ends what a session's lane is doing, since a kill must not wait for it; but not what itself ends
    /// something.
    pub(super) fn interrupt(&self, session: &SessionId) {
        let lanes = lock(&self.lanes);
        let Some(running) = lanes.get(&Lane::Session(session.clone())) else { return };
        let state = self.state();
        let effect = state.intents.get(&running.seq).map(|intent| &intent.effect);
        let ends =
            matches!(effect, Some(Effect::DestroyRuntime { .. } | Effect::DestroyWorkspace { .. }));
        if !ends {
            running.task.abort();
        }
    }

    /// Ends what all lanes are doing.
    pub(in crate::server) fn halt(&self) {
        self.stop.send_replace(true);
        for running in lock(&self.lanes).values() {
            running.task.abort();
        }
    }

    pub(super) fn perform(self: &Arc<Self>, handle: &Handle, seq: Seq, effect: &Effect) {
        let intent = self.state().intents.get(&seq).map(|intent| intent.lane.clone());
        let Some(lane) = intent else { return };
        let (shell, effect, owner) = (self.clone(), effect.clone(), lane.clone());
        let told = handle.clone();
        self.start(
            handle,
            seq,
            lane,
            async move { shell.attempt(&told, seq, &owner, &effect).await },
        );
    }

    /// Finds out what became of an effect in doubt.
    pub(in crate::server) fn settle(self: &Arc<Self>, handle: &Handle, seq: Seq) {
        let intent = self.state().intents.get(&seq).map(|i| (i.lane.clone(), i.effect.clone()));
        let Some((lane, effect)) = intent else { return };
        let (shell, owner, told) = (self.clone(), lane.clone(), handle.clone());
        self.start(handle, seq, lane, async move { shell.look(&told, seq, &owner, &effect).await });
    }

    /// Runs an effect's future on its lane, and tells the loop what became of it, whatever that is.
    fn start(
        self: &Arc<Self>,
        handle: &Handle,
        seq: Seq,
        lane: Lane,
        work: impl Future<Output = Result<Outcome, Failure>> + Send + 'static,
    ) {
        let (shell, handle, key) = (self.clone(), handle.clone(), lane.clone());
        let task = {
            let mut lanes = lock(&self.lanes);
            let turn = lanes.get(&lane).map(|running| running.turn.clone()).unwrap_or_default();
            let held = turn.clone();
            let task = tokio::spawn(async move {
                let _turn = held.lock().await;
                work.await
            });
            lanes.insert(lane, Running { seq, task: task.abort_handle(), turn });
            task
        };
        tokio::spawn(async move {
            let result = match task.await {
                Ok(result) => result,
                Err(error) if error.is_cancelled() => {
                    Err(PluginError::in_doubt("interrupted", "").into())
                }
                Err(error) => Err(PluginError::in_doubt("the plugin panicked", error).into()),
            };
            {
                let mut lanes = lock(&shell.lanes);
                if lanes.get(&key).is_some_and(|running| running.seq == seq) {
                    lanes.remove(&key);
                }
            }
            shell.report(&handle, seq, result).await;
        });
    }

    /// An outcome is told until it is recorded: nothing may be done twice because a disk was full.
    async fn report(&self, handle: &Handle, seq: Seq, result: Result<Outcome, Failure>) {
        loop {
            let input = Input::Effect { intent: seq, result: result.clone() };
            match handle.submit(input).await {
                Err(refusal)
                    if refusal.kind == RefusalKind::Unavailable && !*self.stop.borrow() =>
                {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                _ => return,
            }
        }
    }

    fn limit(&self, effect: &Effect) -> Duration {
        let limits = self.state().policy.lifecycle.limits;
        let ms = match effect {
            Effect::MergePr { .. } => limits.merge_ms,
            Effect::FetchIssue
            | Effect::RerunChecks { .. }
            | Effect::OpenPr { .. }
            | Effect::ReopenPr
            | Effect::CloseIssue => limits.scm_ms,
            Effect::CreateWorkspace { .. } | Effect::RestoreWorkspace => {
                limits.worktree_ms.saturating_add(limits.fetch_ms)
            }
            Effect::DestroyWorkspace { .. } => limits.worktree_ms,
            Effect::PostCreate => limits.post_create_ms,
            Effect::CreateRuntime { .. } | Effect::DestroyRuntime { .. } => {
                limits.runtime_create_ms
            }
            Effect::TypeMessage { .. }
            | Effect::HandOverMessage { .. }
            | Effect::DecideRequest { .. } => limits.prompt_confirm_ms,
            Effect::SendNotification { .. }
            | Effect::UpdateNotification { .. }
            | Effect::ResolveNotification { .. } => limits.notify_ms,
        };
        Duration::from_millis(ms)
    }

    pub(super) fn call(&self, key: String, effect: &Effect) -> Call {
        Call::new(key, self.limit(effect))
    }

    fn key(&self, seq: Seq) -> String {
        format!("{}-{}", self.context.instance, seq.0)
    }

    /// Performs an effect once. Its time counts from when it has the lane and its place among the spawns.
    async fn attempt(
        &self,
        handle: &Handle,
        seq: Seq,
        lane: &Lane,
        effect: &Effect,
    ) -> Result<Outcome, Failure> {
        let _place = match effect {
            Effect::CreateWorkspace { .. } => self.spawns.acquire().await.ok(),
            _ => None,
        };
        within(self.limit(effect), self.effect(handle, seq, lane, effect)).await
    }

    async fn effect(
        &self,
        handle: &Handle,
        seq: Seq,
        lane: &Lane,
        effect: &Effect,
    ) -> Result<Outcome, Failure> {
        let id = match lane {
            Lane::Channel(channel) => return self.notify(handle, channel, effect).await,
            Lane::Session(id) => id,
        };
        let work = self.work(id)?;
        let call = self.call(self.key(seq), effect);
        match effect {
            Effect::FetchIssue => self.fetch_issue(&work, &call).await,
            Effect::CreateWorkspace { branch, path, base, existing } => {
                self.create_workspace(&work, &call, branch, path, base, *existing).await
            }
            Effect::RestoreWorkspace => self.restore_workspace(&work, &call).await,
            Effect::PostCreate => self.post_create(&work, &call).await,
            Effect::DestroyWorkspace { removal } => {
                self.destroy_workspace(&work, &call, *removal).await
            }
            Effect::CreateRuntime { launch, resume } => {
                self.create_runtime(&work, &call, *launch, *resume).await
            }
            Effect::DestroyRuntime { launch } => self.destroy_runtime(&work, &call, *launch).await,
            Effect::TypeMessage { message } => self.type_message(&work, &call, *message).await,
            Effect::HandOverMessage { message, .. } => self.see_taken(&work, *message).await,
            Effect::MergePr { head, method } => {
                self.merge_pr(handle, &work, &call, head, *method).await
            }
            Effect::RerunChecks { head } => self.rerun_checks(handle, &work, &call, head).await,
            Effect::ReopenPr => self.reopen_pr(handle, &work, &call).await,
            Effect::CloseIssue => self.close_issue(&work, &call).await,
            Effect::OpenPr { title, body, draft, base } => {
                self.open_pr(handle, &work, &call, title, body, *draft, base).await
            }
            Effect::DecideRequest { request } => self.decide_request(&work, &call, *request).await,
            Effect::SendNotification { .. }
            | Effect::UpdateNotification { .. }
            | Effect::ResolveNotification { .. } => {
                Err(no_such("channel effects have a channel's lane"))
            }
        }
    }

    /// The table of effects in doubt: what is looked for, and what follows. Effects whose plugin call adopts
    /// what an earlier one made are simply called again.
    async fn look(
        &self,
        handle: &Handle,
        seq: Seq,
        lane: &Lane,
        effect: &Effect,
    ) -> Result<Outcome, Failure> {
        let limit = self.limit(effect);
        match (lane, effect) {
            (Lane::Channel(channel), Effect::SendNotification { .. }) => {
                within(2 * limit, self.find_notification(handle, channel, effect)).await
            }
            // Nobody waits for it any more; a claim that it happened would be worth nothing.
            (
                Lane::Session(id),
                Effect::FetchIssue
                | Effect::PostCreate
                | Effect::TypeMessage { .. }
                | Effect::HandOverMessage { .. }
                | Effect::DecideRequest { .. },
            ) if self.is_over(id) => Err(no_such("the session was ended meanwhile")),
            (Lane::Session(id), Effect::TypeMessage { message }) => {
                let work = self.work(id)?;
                let patience = limit + super::agent::EVIDENCE;
                within(patience, self.look_for_message(&work, *message)).await
            }
            (Lane::Session(id), Effect::HandOverMessage { message, .. }) => {
                let work = self.work(id)?;
                within(super::agent::EVIDENCE, self.look_for_handed_over(&work, *message)).await
            }
            (Lane::Session(id), Effect::PostCreate) => {
                // Half-run set-up commands leave a workspace that nobody knows: it is made anew.
                let (work, call) = (self.work(id)?, self.call(self.key(seq), effect));
                within(limit, self.remake_workspace(&work, &call)).await?;
                self.attempt(handle, seq, lane, effect).await
            }
            (_, Effect::CreateRuntime { .. }) => {
                // Whether an agent runs must be known before anything else is done: there is never a second.
                loop {
                    match self.again(handle, seq, lane, effect).await {
                        Err(failure) if failure.kind == ErrorKind::InDoubt => {}
                        known => return known,
                    }
                }
            }
            _ => self.again(handle, seq, lane, effect).await,
        }
    }

    /// Does it again until it is known what became of it, for a minute.
    async fn again(
        &self,
        handle: &Handle,
        seq: Seq,
        lane: &Lane,
        effect: &Effect,
    ) -> Result<Outcome, Failure> {
        for wait in LOOKS_S {
            tokio::time::sleep(Duration::from_secs(wait)).await;
            let known = match (lane, effect) {
                (Lane::Session(id), Effect::CreateWorkspace { branch, path, base, .. })
                    if self.is_over(id) =>
                {
                    self.take_back(seq, id, effect, branch, path, base).await
                }
                _ => self.attempt(handle, seq, lane, effect).await,
            };
            match known {
                Err(failure) if failure.kind == ErrorKind::InDoubt => {}
                known => return known,
            }
        }
        Err(PluginError::in_doubt("it cannot be told what became of it", "").into())
    }

    fn is_over(&self, id: &SessionId) -> bool {
        self.state().sessions.get(id).is_some_and(crate::state::Session::is_over)
    }

    /// A session was ended while its workspace was being made: whatever is there of it goes.
    async fn take_back(
        &self,
        seq: Seq,
        id: &SessionId,
        effect: &Effect,
        branch: &str,
        path: &str,
        base: &str,
    ) -> Result<Outcome, Failure> {
        let work = self.work(id)?;
        let handle = WorkspaceHandle {
            session: id.clone(),
            repo: work.project.path.clone(),
            path: path.into(),
            branch: branch.to_owned(),
            base: base.to_owned(),
            merged_head: None,
        };
        let call = self.call(self.key(seq), effect);
        let removed = work.plugins.workspace.destroy(&call, &handle, Removal::Undo);
        within(call.limit(), removed).await?;
        Err(no_such("the session was ended meanwhile"))
    }
}
