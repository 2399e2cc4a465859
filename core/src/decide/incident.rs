//! Incidents: opened when a cause stands, cleared when it is gone, pushed when it has lasted.

use ao_slots::{
    IncidentId, ProjectId, Seq, SessionId,
    agent::Ask,
    fact::{Activity, Priority, RuntimeState},
};

use super::{
    Decider,
    schedule::{limits, resolves_at, settles_at},
};
use crate::{
    config::trigger::Trigger,
    event::{
        IncidentChanged, IncidentCleared, IncidentOpened, IncidentReopened, IncidentResolved,
        NotificationChanged, NotificationOpened, Settled, Subject,
    },
    state::{Incident, Session, Step, Want},
    words,
};

/// A cause that stands now.
pub(super) struct Cause {
    pub(super) trigger: Trigger,
    pub(super) request: Option<ao_slots::RequestId>,
    pub(super) detail: Option<&'static str>,
    pub(super) sessions: Vec<SessionId>,
    pub(super) because: Vec<Seq>,
    pub(super) rule: &'static str,
}

/// Whether a human is to hear of it once it has settled. What `ao` brings back by itself is told only when
/// that did not work.
pub(crate) fn wants_human(incident: &Incident) -> bool {
    incident.is_open() && (incident.trigger != Trigger::RuntimeLost || incident.detail.is_some())
}

impl Decider<'_> {
    pub(super) fn session_incidents(&mut self, session: &Session) {
        let mut causes =
            if session.is_over() || session.intent != Want::Run { vec![] } else { causes(session) };
        let subject = Subject::Session(session.id.clone());
        if !session.is_over() && session.intent == Want::Run {
            for limit in limits(self.state, session) {
                // While nothing may be judged by time, what is open stays open.
                let open = self
                    .state
                    .open_incident(&subject, limit.trigger, None)
                    .is_some_and(Incident::is_open);
                if if self.judges() { limit.at <= self.now.awake } else { open } {
                    causes.push(Cause {
                        trigger: limit.trigger,
                        request: None,
                        detail: None,
                        sessions: vec![session.id.clone()],
                        because: limit.because,
                        rule: "limit-passed",
                    });
                }
            }
        }
        let how = |incident: &Incident| settled_how(session, incident);
        self.compare(&subject, Some(&session.project), causes, how);
    }

    /// Opens what stands and is not open, clears what is open and stands no more.
    pub(super) fn compare(
        &mut self,
        subject: &Subject,
        project: Option<&ProjectId>,
        causes: Vec<Cause>,
        how: impl Fn(&Incident) -> Settled,
    ) {
        let session = match subject {
            Subject::Session(id) => Some(id.clone()),
            _ => None,
        };
        let drafts_for = |decider: &mut Self, kind: crate::event::Kind, rule, because: &[Seq]| {
            let draft = decider.push(kind).rule(rule).because(because);
            draft.session.clone_from(&session);
            draft.project = project.cloned();
        };
        for cause in &causes {
            match self.state.open_incident(subject, cause.trigger, cause.request) {
                None => {
                    let incident = self.next_incident();
                    let priority = self.priority(project, cause);
                    let event = IncidentOpened {
                        incident,
                        subject: subject.clone(),
                        trigger: cause.trigger,
                        priority,
                        request: cause.request,
                        detail: cause.detail.map(str::to_owned),
                        sessions: cause.sessions.clone(),
                    };
                    drafts_for(self, event.into(), cause.rule, &cause.because);
                }
                Some(open) if open.cleared.is_some() => {
                    let event = IncidentReopened { incident: open.id };
                    drafts_for(self, event.into(), cause.rule, &cause.because);
                }
                Some(open) => {
                    let priority = self.priority(project, cause).max(open.priority);
                    let same = open.detail.as_deref() == cause.detail
                        && open.sessions == cause.sessions
                        && open.priority == priority;
                    if !same {
                        let event = IncidentChanged {
                            incident: open.id,
                            priority,
                            sessions: cause.sessions.clone(),
                            detail: cause.detail.map(str::to_owned),
                        };
                        drafts_for(self, event.into(), cause.rule, &cause.because);
                    }
                }
            }
        }
        let gone: Vec<(IncidentId, Settled, Seq)> = self
            .state
            .incidents_of(subject)
            .filter(|open| open.cleared.is_none())
            .filter(|open| {
                !causes.iter().any(|c| c.trigger == open.trigger && c.request == open.request)
            })
            .map(|open| (open.id, how(open), open.opened.seq))
            .collect();
        for (incident, how, opened) in gone {
            drafts_for(self, IncidentCleared { incident, how }.into(), "cause-gone", &[opened]);
        }
    }

    fn priority(&self, project: Option<&ProjectId>, cause: &Cause) -> Priority {
        let configured = self.state.policy.reaction(project, cause.trigger).priority;
        match cause.trigger {
            Trigger::DiskLow if self.state.server.disk_failing => Priority::Urgent,
            Trigger::ServerWasAway if !self.state.server.gaps.is_empty() => Priority::Urgent,
            _ => configured,
        }
    }

    /// What follows for one incident as time passes.
    pub(super) fn incident(&mut self, id: IncidentId) {
        let Some(incident) = self.state.incidents.get(&id) else { return };
        if incident.resolved.is_some() {
            return;
        }
        if let (Some(at), Some((how, when))) =
            (resolves_at(self.state, incident), &incident.cleared)
        {
            if self.now.awake >= at {
                let (event, because) =
                    (IncidentResolved { incident: id, how: how.clone() }, [when.seq]);
                self.tag(incident, event).rule("resolution-held").because(&because);
                self.revise(incident, true);
            }
            return;
        }
        match incident.notification {
            None => self.push_when_settled(incident),
            Some(notification) => {
                let shown = self.state.notifications.get(&notification).map(|n| n.revised.seq);
                if incident
                    .changed
                    .is_some_and(|changed| shown.is_some_and(|shown| changed.seq > shown))
                {
                    self.revise(incident, false);
                }
            }
        }
    }

    fn push_when_settled(&mut self, incident: &Incident) {
        let snoozed = incident.snoozed.is_some_and(|until| until > self.now.wall);
        let settled = self.now.awake >= settles_at(self.state, incident);
        if !self.judges() || snoozed || !settled || !wants_human(incident) {
            return;
        }
        let channels = self.route(incident.project.as_ref(), incident.priority, incident.trigger);
        let notification = self.next_notification();
        let event = NotificationOpened {
            notification,
            incident: Some(incident.id),
            covers: vec![incident.id],
            channels,
            title: words::title(self.state, incident),
            summary: None,
        };
        let because = [incident.opened.seq];
        let rule = match incident.priority {
            Priority::Urgent => "route-urgent",
            Priority::Action => "route-action",
            Priority::Warning => "route-warning",
            Priority::Info => "route-info",
        };
        self.tag(incident, event).rule(rule).because(&because);
    }

    /// Changes in place what a human sees of an incident.
    fn revise(&mut self, incident: &Incident, settled: bool) {
        let Some(shown) = incident.notification.and_then(|id| self.state.notifications.get(&id))
        else {
            return;
        };
        let event =
            NotificationChanged { notification: shown.id, revision: shown.revision + 1, settled };
        let because: Vec<_> = incident.changed.iter().map(|when| when.seq).collect();
        self.tag(incident, event).rule("edit-in-place").because(&because);
    }

    fn tag(
        &mut self,
        incident: &Incident,
        kind: impl Into<crate::event::Kind>,
    ) -> &mut super::Draft {
        let session = match &incident.subject {
            Subject::Session(id) => Some(id.clone()),
            _ => None,
        };
        let project = incident.project.clone();
        let draft = self.push(kind);
        draft.session = session;
        draft.project = project;
        draft
    }

    /// What concerns `ao` itself.
    pub(super) fn server(&mut self) {
        let server = &self.state.server;
        let mut causes = vec![];
        let mut cause = |trigger, because: Vec<Seq>, rule| {
            causes.push(Cause {
                trigger,
                request: None,
                detail: None,
                sessions: vec![],
                because,
                rule,
            });
        };
        if let Some(since) = server.disk_low {
            cause(Trigger::DiskLow, vec![since.seq], "disk-low");
        }
        if !server.refused.is_empty() {
            let because = server.refused.values().map(|(_, when)| when.seq).collect();
            cause(Trigger::ConfigRefused, because, "config-refused");
        }
        if let Some((_, _, when)) = &server.tampered {
            cause(Trigger::Tampered, vec![when.seq], "tampered");
        }
        let threshold =
            self.state.policy.reaction(None, Trigger::ServerWasAway).threshold_ms.unwrap_or(60_000);
        if server.away_ms.is_some_and(|away| away > threshold) && !self.state.sessions.is_empty() {
            cause(
                Trigger::ServerWasAway,
                server.started.iter().map(|when| when.seq).collect(),
                "server-was-away",
            );
        }
        self.compare(&Subject::Server, None, causes, |_| Settled::ByItself);
        // Told is enough: these have no state that could end.
        let told: Vec<_> = self
            .state
            .incidents_of(&Subject::Server)
            .filter(|i| match i.trigger {
                Trigger::ServerWasAway => i.notification.is_some(),
                Trigger::Tampered => i.acknowledged.is_some(),
                _ => false,
            })
            .map(|i| (i.id, i.opened.seq))
            .collect();
        for (incident, opened) in told {
            self.push(IncidentResolved { incident, how: Settled::ByItself })
                .rule("told")
                .because(&[opened]);
        }
    }
}

/// Causes that stand by themselves, without a limit of time.
fn causes(session: &Session) -> Vec<Cause> {
    let mut causes = vec![];
    let me = || vec![session.id.clone()];
    let mut cause = |trigger, request, detail, because: Vec<Seq>, rule| {
        causes.push(Cause { trigger, request, detail, sessions: me(), because, rule });
    };
    let ended =
        matches!(session.runtime_state.value, RuntimeState::Exited { .. } | RuntimeState::Missing);
    let set_up =
        session.step == Step::Ready || matches!(session.step, Step::Launching | Step::Prompting);
    if ended
        && set_up
        && session.restore.is_none()
        && session.handle.is_some()
        && !session.server_lost
    {
        cause(
            Trigger::AgentExited,
            None,
            None,
            vec![session.runtime_state.since.seq],
            "runtime-ended",
        );
    }
    if ended || session.restore.is_some() {
        return causes;
    }
    for request in session.open_requests() {
        let detail = match request.ask {
            Ask::Permission { .. } => "permission",
            Ask::Question { .. } => "question",
        };
        cause(
            Trigger::AgentNeedsInput,
            Some(request.id),
            Some(detail),
            vec![request.opened.seq],
            "request-open",
        );
    }
    let since = vec![session.activity.since.seq];
    let asks = session.open_requests().next().is_some();
    match &session.activity.value {
        Activity::Blocked if !asks => {
            let detail = if session.activity_text.is_some() { "setup" } else { "permission" };
            cause(Trigger::AgentNeedsInput, None, Some(detail), since, "activity-blocked");
        }
        Activity::WaitingInput if !asks => {
            cause(Trigger::AgentNeedsInput, None, Some("question"), since, "activity-waiting");
        }
        Activity::Errored { .. } => {
            cause(Trigger::AgentErrored, None, None, since, "agent-errored")
        }
        Activity::NoSignal => {
            cause(Trigger::AgentStuck, None, Some("no-signal"), since, "no-signal")
        }
        _ => {
            if let Some((_, when)) = &session.suspected {
                let because = vec![when.seq];
                cause(
                    Trigger::AgentNeedsInput,
                    None,
                    Some("suspected"),
                    because,
                    "screen-suspects",
                );
            }
        }
    }
    causes
}

/// How an incident of a session came to its end.
fn settled_how(session: &Session, incident: &Incident) -> Settled {
    if session.is_over() || session.intent != Want::Run {
        return match &session.intent {
            Want::Kill(by) | Want::Done(by) => Settled::By(by.clone()),
            Want::Run => Settled::Over,
        };
    }
    if let Some(request) = incident.request.and_then(|id| session.requests.get(&id)) {
        return match &request.decided {
            Some(decided) => Settled::By(decided.by.clone()),
            None => Settled::ByItself,
        };
    }
    match (&session.restore, incident.trigger) {
        (Some(restore), Trigger::AgentExited | Trigger::AgentErrored | Trigger::AgentStuck) => {
            restore.by.clone().map_or(Settled::Handled, Settled::By)
        }
        _ => Settled::ByItself,
    }
}
