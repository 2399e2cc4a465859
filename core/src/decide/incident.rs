//! Incidents: opened when a cause stands, cleared when it is gone, pushed when it has lasted.

use std::collections::{BTreeMap, BTreeSet};

use ao_slots::{
    ChannelName, IncidentId, NotificationId, ProjectId, Seq, SessionId,
    agent::Ask,
    fact::{Activity, PrState, Priority, RuntimeState},
};

use super::{
    Decider, LATE, PUT_ASIDE,
    cause::{Fold, common, muted_by},
    outside::most_urgent,
    schedule::{
        NO_SIGNAL, doubted_at, is_due, limits, resolves_at, set_up, waited_for_the_look, wanted_at,
    },
    silence::silence_of,
};
use crate::{
    config::trigger::Trigger,
    event::{
        Actor, Call, Held, IncidentChanged, IncidentCleared, IncidentOpened, IncidentReopened,
        IncidentResolved, NotificationChanged, NotificationJoined, NotificationOpened, Settled,
        Subject,
    },
    state::{Delivery, Fate, Incident, Progress, QueuedMessage, Session, Want},
    words,
};

/// A cause that stands now.
pub(super) struct Cause<'a> {
    pub(super) trigger: Trigger,
    pub(super) request: Option<ao_slots::RequestId>,
    pub(super) detail: Option<&'a str>,
    pub(super) sessions: Vec<SessionId>,
    pub(super) because: Vec<Seq>,
    pub(super) rule: &'static str,
}

/// It tells that `ao` was away, and of nothing worse.
fn is_absence(incident: &Incident) -> bool {
    incident.trigger == Trigger::ServerWasAway
        && incident.detail.as_deref().is_none_or(|detail| detail == LATE)
}

impl Decider<'_> {
    pub(super) fn session_incidents(&mut self, session: &Session) {
        let subject = Subject::Session(session.id.clone());
        let lives = !session.is_over() && session.intent == Want::Run;
        let mut causes = if lives { causes(session) } else { vec![] };
        if lives {
            causes.extend(self.pr_causes(session));
            causes.extend(self.overspent(session));
        }
        let cause = |trigger, detail, because, rule| Cause {
            trigger,
            request: None,
            detail,
            sessions: vec![session.id.clone()],
            because,
            rule,
        };
        for limit in limits(self.state, session) {
            // While nothing may be judged by time, what is open stays open.
            let open = self.state.open_incident(&subject, limit.trigger, None);
            let stands = match self.judges() {
                true => limit.at <= self.now.awake,
                false => open.is_some_and(Incident::is_open),
            };
            if stands {
                causes.push(cause(limit.trigger, limit.detail, limit.because, "limit-passed"));
            }
        }
        // What a restore is to end stands until it has succeeded.
        if let Some(restore) = session.restore.as_ref().filter(|_| lives) {
            let repairs = [Trigger::AgentExited, Trigger::AgentErrored, Trigger::AgentStuck];
            let open = self.state.incidents_of(&subject).filter(|open| open.is_open());
            for open in open.filter(|open| repairs.contains(&open.trigger)) {
                let detail = open.detail.as_ref().map(|_| NO_SIGNAL);
                causes.push(cause(open.trigger, detail, vec![restore.since.seq], "restoring"));
            }
        }
        let how = |incident: &Incident| settled_how(session, incident);
        self.compare(&subject, Some(&session.project), causes, how);
    }

    /// It has spent what it may.
    fn overspent(&self, session: &Session) -> Option<Cause<'static>> {
        let reaction = self.state.policy.reaction(Some(&session.project), Trigger::BudgetExceeded);
        let (limit, spent) = (reaction.threshold_micros?, session.usage.cost_micros?);
        (spent >= limit).then(|| Cause {
            trigger: Trigger::BudgetExceeded,
            request: None,
            detail: None,
            sessions: vec![session.id.clone()],
            because: vec![session.progress.seq],
            rule: "limit-spent",
        })
    }

    /// Opens what stands and is not open, clears what is open and stands no more.
    pub(super) fn compare(
        &mut self,
        subject: &Subject,
        project: Option<&ProjectId>,
        causes: Vec<Cause<'_>>,
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
        // One incident a key: of two causes for it, the nearer is named first.
        let mut named: Vec<&Cause<'_>> = vec![];
        for cause in &causes {
            if named.iter().any(|n| n.trigger == cause.trigger && n.request == cause.request) {
                continue;
            }
            named.push(cause);
            match self.state.open_incident(subject, cause.trigger, cause.request) {
                None => {
                    let incident = self.next_incident();
                    let priority = self.priority(subject, project, cause);
                    let event = IncidentOpened {
                        incident,
                        common: common(self.state, subject, cause),
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
                    let priority = self.priority(subject, project, cause).max(open.priority);
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

    fn priority(
        &self,
        subject: &Subject,
        project: Option<&ProjectId>,
        cause: &Cause<'_>,
    ) -> Priority {
        let configured = self.state.policy.reaction(project, cause.trigger).priority;
        match cause.trigger {
            // As urgent as what it keeps from a human.
            Trigger::ChannelFailing => match subject {
                Subject::Channel(name) => most_urgent(self.state, name).max(Some(configured)),
                _ => None,
            }
            .unwrap_or(configured),
            Trigger::DiskLow if self.state.server.disk_failing => Priority::Urgent,
            Trigger::ServerWasAway if self.state.server.gaps_new > 0 => Priority::Urgent,
            Trigger::ServerWasAway if cause.detail.is_some() => configured.max(Priority::Action),
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
        if self.act_alone(incident) {
            return;
        }
        let shown = incident.notification.and_then(|id| self.state.notifications.get(&id));
        let doubted = doubted_at(self.state, incident).filter(|_| self.judges());
        if !self.is_silenced(incident) && is_due(self.state, incident, self.now) {
            if let Some((message, revision)) = self.joins(incident) {
                self.join(message, revision, incident);
                return;
            }
            let together = self.told_with(incident);
            let info = together.iter().all(|incident| incident.priority == Priority::Info);
            if !info || self.leave_to_digest(incident) {
                self.tell(&together, Call::default());
            }
        } else if let Some(shown) = shown
            && (incident.changed.is_some_and(|changed| changed.seq > shown.revised.seq)
                || doubted.is_some_and(|at| self.now.awake >= at))
        {
            self.revise(incident, false);
        } else {
            self.follow_up(incident);
        }
    }

    /// The message about others of its cause that names it too, and at which revision that is: as long as they keep
    /// coming, or for good where there is but one thing to know.
    fn joins(&self, incident: &Incident) -> Option<(NotificationId, u32)> {
        if incident.notification.is_some() || incident.snoozed.is_some() {
            return None;
        }
        let fold = Fold::of(incident.trigger);
        let others = self.state.alike(incident).filter(|other| other.id != incident.id);
        let mut told: Vec<NotificationId> = others.filter_map(|other| other.notification).collect();
        told.dedup();
        let mut told = told.iter().rev().filter_map(|id| self.state.notifications.get(id));
        let message = told.find(|told| {
            let covered = || told.covers.iter().filter_map(|id| self.state.incidents.get(id));
            let last = covered().map(|other| other.stands.awake).max().unwrap_or(0);
            let (enough, in_time) = match fold.window_ms {
                Some(window) => (fold.least, incident.stands.awake <= last.saturating_add(window)),
                None => (fold.least - 1, true),
            };
            let fits = covered().all(|other| other.cause() == incident.cause());
            // One that no channel carries any more tells nobody.
            let lost = |d: &Delivery| d.progress == Progress::Dropped || d.superseded.is_some();
            let carried = told.deliveries.is_empty() || !told.deliveries.values().all(lost);
            fits && in_time
                && carried
                && told.covers.len() >= enough
                && !told.settled
                && incident.priority <= told.priority
        })?;
        Some((message.id, message.revision + 1))
    }

    fn join(&mut self, notification: NotificationId, revision: u32, incident: &Incident) {
        let (channels, _) = self.told_by(incident);
        let event = NotificationJoined { notification, incident: incident.id, channels, revision };
        self.tag(incident, event).rule("one-cause").because(&[incident.stands.seq]);
    }

    /// Those that came with it of one cause, as many as make one message, whether they have settled or not.
    fn folds_with(&self, incident: &Incident) -> Vec<Incident> {
        let stands = |other: &&Incident| {
            other.snoozed.is_none()
                && wanted_at(self.state, other).is_some_and(|at| at <= self.now.awake)
                && muted_by(self.state, other).is_none()
                && silence_of(self.state, other, self.now).is_none()
        };
        let alike =
            self.state.alike(incident).filter(|other| other.id == incident.id || stands(other));
        Fold::of(incident.trigger).around(incident, alike.collect()).into_iter().cloned().collect()
    }

    /// What a human hears of in one message: an incident alone, those that came with it of one cause, or all that had
    /// to wait for a look at everything and is due now, the most urgent first. With it goes that `ao` was away.
    fn told_with(&self, incident: &Incident) -> Vec<Incident> {
        let mut together = self.folds_with(incident);
        if together.is_empty() {
            together.push(incident.clone());
        }
        if waited_for_the_look(self.state, incident) {
            self.add_reminders(&mut together);
            self.add_waited(&mut together);
        }
        let late = together.iter().any(|i| i.priority == Priority::Urgent && !is_absence(i));
        for absence in together.iter_mut().filter(|i| late && is_absence(i)) {
            absence.priority = absence.priority.max(Priority::Action);
            absence.detail = Some(LATE.to_owned());
        }
        let last = |i: &Incident| i.trigger == Trigger::ServerWasAway;
        together.sort_by_key(|i| (std::cmp::Reverse(i.priority), last(i), i.stands.seq, i.id));
        together
    }

    /// Adds all that had to wait for the look at everything and is due now, and that `ao` was away.
    pub(super) fn add_waited(&self, together: &mut Vec<Incident>) {
        let known: BTreeSet<IncidentId> = together.iter().map(|other| other.id).collect();
        let others = self.state.open.values().filter_map(|id| self.state.incidents.get(id));
        let others = others.filter(|other| !known.contains(&other.id)).filter(|other| {
            let untold = other.notification.is_none() && other.snoozed.is_none();
            let news = other.trigger == Trigger::ServerWasAway && untold && other.is_open();
            waited_for_the_look(self.state, other)
                && silence_of(self.state, other, self.now).is_none()
                && (news || is_due(self.state, other, self.now))
        });
        together.extend(others.cloned());
    }

    /// Calls a human. Earlier messages about it are closed, so that one is on each screen.
    pub(super) fn tell(&mut self, together: &[Incident], call: Call) {
        let Some(first) = together.first() else { return };
        let covers: Vec<IncidentId> = together.iter().map(|incident| incident.id).collect();
        let earlier: BTreeSet<_> = together.iter().flat_map(Incident::messages).collect();
        for earlier in earlier {
            self.change(first, earlier, &covers, true);
        }
        let news = |i: &&Incident| {
            let known = self.state.incidents.get(&i.id);
            known.is_some_and(|known| (&known.detail, known.priority) != (&i.detail, i.priority))
        };
        let late: Vec<&Incident> = together.iter().filter(news).collect();
        for absence in late {
            let event = IncidentChanged {
                incident: absence.id,
                priority: absence.priority,
                sessions: absence.sessions.clone(),
                detail: absence.detail.clone(),
            };
            self.push(event).rule("urgent-was-late").because(&[first.stands.seq]);
        }
        let mut routes: BTreeMap<ChannelName, Vec<IncidentId>> = BTreeMap::new();
        let (mut channels, mut people) = (vec![], call.people.clone());
        for i in together {
            let (routed, person) = self.told_by(i);
            people.extend(person.filter(|person| !people.contains(person)));
            for channel in routed {
                routes.entry(channel.clone()).or_default().push(i.id);
                if !channels.contains(&channel) {
                    channels.push(channel);
                }
            }
        }
        routes.retain(|_, part| *part != covers);
        let notification = self.next_notification();
        let rule = match first.priority {
            _ if call.reminder > 0 => "reminder",
            _ if words::one_cause(together) => "one-cause",
            _ if together.len() > 1 => "told-together",
            Priority::Urgent => "route-urgent",
            Priority::Action => "route-action",
            Priority::Warning => "route-warning",
            Priority::Info => "route-info",
        };
        let because: Vec<Seq> = together.iter().map(|i| i.stands.seq).take(16).collect();
        let event = NotificationOpened {
            notification,
            incident: Some(first.id),
            covers,
            channels,
            parts: routes,
            title: words::title_of_all(self.state, together),
            summary: None,
            call: Call { people, ..call },
        };
        let shared = together.iter().all(|i| i.project == first.project);
        let draft = self.tag(first, event).rule(rule).because(&because);
        draft.project.take_if(|_| !shared);
    }

    /// Changes in place what a human sees of an incident.
    fn revise(&mut self, incident: &Incident, settled: bool) {
        for shown in incident.messages() {
            self.change(incident, shown, &[incident.id], settled);
        }
    }

    /// Changes a message for the sake of an incident. It is settled when these incidents are done with, and so
    /// is all else that it covers.
    fn change(
        &mut self,
        incident: &Incident,
        shown: NotificationId,
        done: &[IncidentId],
        settled: bool,
    ) {
        let shown = self.state.notifications.get(&shown).filter(|shown| !shown.settled);
        let Some(shown) = shown else { return };
        let is_done = |id: &IncidentId| {
            let known = self.state.incidents.get(id);
            done.contains(id)
                || known
                    .is_none_or(|i| i.resolved.is_some() || i.messages().all(|id| id != shown.id))
        };
        let settled = settled && shown.covers.iter().all(is_done);
        let event =
            NotificationChanged { notification: shown.id, revision: shown.revision + 1, settled };
        let because: Vec<_> = incident.changed.iter().map(|when| when.seq).collect();
        self.tag(incident, event).rule("edit-in-place").because(&because);
    }

    pub(super) fn tag(
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

    /// Every channel has taken the message, or never will.
    fn has_gone_out(&self, incident: &Incident) -> bool {
        let message = incident.notification.and_then(|id| self.state.notifications.get(&id));
        let waits = |progress| matches!(progress, Progress::Queued | Progress::Again);
        message.is_some_and(|message| !message.deliveries.values().any(|d| waits(d.progress)))
    }

    /// What concerns `ao` itself.
    pub(super) fn server(&mut self) {
        let server = &self.state.server;
        let mut causes = vec![];
        let mut cause = |trigger, detail, because: Vec<Seq>, rule| {
            causes.push(Cause { trigger, request: None, detail, sessions: vec![], because, rule });
        };
        if let Some(since) = server.disk_low {
            cause(Trigger::DiskLow, None, vec![since.seq], "disk-low");
        }
        if !server.refused.is_empty() {
            let because = server.refused.values().map(|(_, when)| when.seq).collect();
            cause(Trigger::ConfigRefused, None, because, "config-refused");
        }
        if let Some((_, _, when)) = &server.tampered {
            cause(Trigger::Tampered, None, vec![when.seq], "tampered");
        }
        let reaction = self.state.policy.reaction(None, Trigger::ServerWasAway);
        let threshold = reaction.threshold_ms.unwrap_or(60_000);
        let missed = server.away_ms.is_some_and(|away| away > threshold);
        let because = || server.started.iter().map(|when| when.seq).collect();
        if server.quarantined_new > 0 {
            let last = Seq(self.state.last_seq.0);
            cause(Trigger::ServerWasAway, Some(PUT_ASIDE), vec![last], "input-put-aside");
        } else if server.gaps_new > 0 || missed && !self.state.sessions.is_empty() {
            // What was late when it was told stays so.
            let told = self.state.open_incident(&Subject::Server, Trigger::ServerWasAway, None);
            let late = told.is_some_and(|told| told.detail.as_deref() == Some(LATE));
            cause(Trigger::ServerWasAway, late.then_some(LATE), because(), "server-was-away");
        }
        self.compare(&Subject::Server, None, causes, |_| Settled::ByItself);
        if !self.drafts.is_empty() {
            return;
        }
        // Told is enough: these have no state that could end.
        let by = |incident: &Incident| match incident.trigger {
            Trigger::ServerWasAway => {
                // A channel that is still tried for an earlier absence does not silence this one.
                let earlier = server.started.is_some_and(|when| when.seq > incident.opened.seq);
                let again = earlier && missed && incident.notification.is_some();
                let kept = matches!(incident.held, Some((Held::Digest, _)));
                let known = incident.acknowledged.is_some();
                (again || kept || known || self.has_gone_out(incident)).then_some(Settled::ByItself)
            }
            Trigger::Tampered => incident.acknowledged.clone().map(|(by, _)| Settled::By(by)),
            _ => None,
        };
        let told: Vec<(Incident, Settled)> = self
            .state
            .incidents_of(&Subject::Server)
            .filter_map(|incident| Some((incident.clone(), by(incident)?)))
            .collect();
        for (incident, how) in told {
            let because = [incident.opened.seq];
            let event = IncidentResolved { incident: incident.id, how };
            self.push(event).rule("told").because(&because);
            if incident.trigger == Trigger::Tampered {
                self.revise(&incident, true);
            }
        }
    }
}

/// Causes that stand by themselves, without a limit of time.
fn causes(session: &Session) -> Vec<Cause<'_>> {
    let mut causes = vec![];
    let me = || vec![session.id.clone()];
    let mut cause = |trigger, request, detail, because: Vec<Seq>, rule| {
        causes.push(Cause { trigger, request, detail, sessions: me(), because, rule });
    };
    if session.has_ended() {
        // One that ended in good order is first looked at: its work may be done (see `limits`).
        let in_order = session.runtime_state.value == RuntimeState::Exited { code: Some(0) };
        let lost = session.failure.as_ref().is_some_and(|(step, _)| step == "restore");
        let ended = session.handle.is_some() && !in_order || lost;
        if ended && set_up(session) && session.restore.is_none() && !session.server_lost {
            let because = vec![session.runtime_state.since.seq];
            cause(Trigger::AgentExited, None, None, because, "runtime-ended");
        }
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
        Activity::NoSignal => cause(Trigger::AgentStuck, None, Some(NO_SIGNAL), since, "no-signal"),
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
    let undelivered = |m: &&QueuedMessage| matches!(m.fate, Fate::Undelivered { .. });
    if let Some(message) = session.messages.values().find(undelivered) {
        let because = message.failed.iter().map(|when| when.seq).collect();
        cause(Trigger::PromptUndelivered, None, None, because, "not-delivered");
    }
    causes
}

/// How an incident of a session came to its end.
fn settled_how(session: &Session, incident: &Incident) -> Settled {
    if session.is_over() || session.intent != Want::Run {
        return match &session.intent {
            Want::Kill(by) if *by == Actor::ao() => Settled::Handled,
            Want::Kill(by) | Want::Done(by) => Settled::By(by.clone()),
            Want::Run => Settled::Over,
        };
    }
    // A merge is final, whatever its pull request still needed.
    if incident.trigger.is_of_a_pr() && session.pr().is_some_and(|pr| pr.state == PrState::Merged) {
        return Settled::Over;
    }
    if let Some(request) = incident.request.and_then(|id| session.requests.get(&id)) {
        return match &request.decided {
            Some(decided) => Settled::By(decided.by.clone()),
            None => Settled::ByItself,
        };
    }
    // The agent was told of it, and saw to it.
    let told = session.messages.values().any(|message| {
        let about = message.about.as_ref().is_some_and(|about| about.trigger == incident.trigger);
        let has = matches!(message.fate, Fate::Confirmed { .. });
        about && has && message.queued.seq > incident.opened.seq
    });
    if told {
        return Settled::Handled;
    }
    let repaired = matches!(
        incident.trigger,
        Trigger::AgentExited | Trigger::AgentErrored | Trigger::AgentStuck
    );
    match session.restored.filter(|when| repaired && when.seq > incident.opened.seq) {
        Some(_) => session.restored_by.clone().map_or(Settled::Handled, Settled::By),
        None => Settled::ByItself,
    }
}
