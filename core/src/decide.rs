//! What follows from what came in: pure, total, explained.
//!
//! [`decide`] turns an input into observations, or refuses it. [`conclude`] looks at one focus and says what
//! should be true by the rules and is not yet: a status that changed, an incident to open, an effect to
//! perform. [`step`] does both until nothing more follows. Since rules compare what is with what should be,
//! asking twice changes nothing, and a restart needs no memory of what was decided but not written.

mod access;
pub(crate) mod cause;
mod deliver;
mod digest;
mod ending;
mod escalate;
mod fallback;
mod hours;
mod human;
pub(crate) mod incident;
mod input;
mod lifecycle;
mod lost;
mod observe;
pub(crate) mod outside;
mod people;
mod press;
mod quiet;
pub(crate) mod reaction;
pub mod replay;
pub(crate) mod review;
pub(crate) mod schedule;
pub(crate) mod silence;
#[cfg(test)]
pub(crate) mod tests;

/// Detail of the incident that tells of inputs which broke a rule.
pub(crate) const PUT_ASIDE: &str = "input-put-aside";

/// Detail of the incident that tells of an absence, in which something urgent came up.
pub(crate) const LATE: &str = "late";

use std::{borrow::Cow, collections::BTreeSet};

use ao_slots::{
    IncidentId, MessageId, NotificationId, ProjectId, RequestId, Seq, SessionId, SilenceId,
};

pub(crate) use human::branch_taken;
pub use human::{held, incident, session};
pub use input::{Answered, Grant, Input, Pressed, Refusal, RefusalKind, RuntimeSeen, Spawn, Told};
pub use people::called;
pub(crate) use press::{may, presser};
pub(crate) use schedule::{DAY_MS, NO_SIGNAL};

use crate::{
    event::{Effect, EffectIntended, Event, Kind, Subject},
    state::{Focus, Lane, Now, Session, State},
};

/// An event that has no place yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// The session it concerns.
    pub session: Option<SessionId>,
    /// The project it concerns.
    pub project: Option<ProjectId>,
    /// When the hook that told it was started.
    pub hook: Option<u64>,
    /// The key of the human's act that it is the first event of.
    pub act: Option<String>,
    /// Direct causes.
    pub because: Vec<Seq>,
    /// The rule that concluded it.
    pub rule: Option<&'static str>,
    /// What it says.
    pub kind: Kind,
}

/// Collects what is concluded from one state, and gives out numbers that are not given yet.
pub(crate) struct Decider<'a> {
    pub(crate) state: &'a State,
    pub(crate) now: Now,
    drafts: Vec<Draft>,
    incidents: u64,
    notifications: u64,
    requests: u64,
    messages: u64,
    silences: u64,
}

impl<'a> Decider<'a> {
    fn new(state: &'a State, now: Now) -> Self {
        Self {
            state,
            now,
            drafts: vec![],
            incidents: 0,
            notifications: 0,
            requests: 0,
            messages: 0,
            silences: 0,
        }
    }

    fn push(&mut self, kind: impl Into<Kind>) -> &mut Draft {
        self.drafts.push(Draft {
            session: None,
            project: None,
            hook: None,
            act: None,
            because: vec![],
            rule: None,
            kind: kind.into(),
        });
        let last = self.drafts.len() - 1;
        &mut self.drafts[last]
    }

    /// Something about a session.
    fn about(&mut self, id: &SessionId, kind: impl Into<Kind>) -> &mut Draft {
        let project = self.state.sessions.get(id).map(|session| session.project.clone());
        let draft = self.push(kind);
        draft.session = Some(id.clone());
        draft.project = project;
        draft
    }

    /// An effect on a session's lane.
    fn intend(&mut self, id: &SessionId, effect: Effect, rule: &'static str, because: &[Seq]) {
        self.about(id, EffectIntended { effect }).rule(rule).because(because);
    }

    fn next_incident(&mut self) -> IncidentId {
        self.incidents += 1;
        IncidentId(self.state.given.incident + self.incidents)
    }

    fn next_notification(&mut self) -> NotificationId {
        self.notifications += 1;
        NotificationId(self.state.given.notification + self.notifications)
    }

    fn next_request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.state.given.request + self.requests)
    }

    fn next_message(&mut self) -> MessageId {
        self.messages += 1;
        MessageId(self.state.given.message + self.messages)
    }

    fn next_silence(&mut self) -> SilenceId {
        self.silences += 1;
        SilenceId(self.state.given.silence + self.silences)
    }

    /// Limits may be judged: everything was looked at since the last start, sleep or clock step.
    fn judges(&self) -> bool {
        self.state.unswept_since.is_none()
    }
}

impl Draft {
    fn rule(&mut self, rule: &'static str) -> &mut Self {
        self.rule = Some(rule);
        self
    }

    fn because(&mut self, because: &[Seq]) -> &mut Self {
        self.because = because.to_vec();
        self
    }

    /// What the rules have to look at again once this is applied.
    fn touches(&self, state: &State) -> Vec<Focus> {
        let mut foci = vec![];
        if let Some(id) = &self.session {
            foci.push(Focus::Session(id.clone()));
            // What became of the session may change what its messages say.
            let subject = Subject::Session(id.clone());
            let about = state.incidents_of(&subject);
            foci.extend(about.map(|incident| Focus::Incident(incident.id)));
            // Only a loss looks at all sessions of a runtime.
            foci.extend(
                state
                    .sessions
                    .get(id)
                    .filter(|s| s.server_lost || lost::open_incident(state, &s.runtime).is_some())
                    .map(|s| Focus::Runtime(s.runtime.clone())),
            );
        }
        let subject = |subject: &Subject| match subject {
            Subject::Session(id) => Some(Focus::Session(id.clone())),
            Subject::Runtime(name) => Some(Focus::Runtime(name.clone())),
            Subject::Channel(name) => Some(Focus::Channel(name.clone())),
            Subject::Server => Some(Focus::Server),
            Subject::Project(id) => Some(Focus::Project(id.clone())),
        };
        let notification = |id: &NotificationId| -> Vec<Focus> {
            let channels =
                state.notifications.get(id).into_iter().flat_map(|n| n.deliveries.keys());
            channels.cloned().map(Focus::Channel).collect()
        };
        let covered = |id: &NotificationId| -> Vec<Focus> {
            let covers = state.notifications.get(id).into_iter().flat_map(|n| &n.covers);
            covers.copied().map(Focus::Incident).collect()
        };
        let incident = |id: &IncidentId| -> Vec<Focus> {
            let mut foci = vec![Focus::Incident(*id)];
            if let Some(incident) = state.incidents.get(id) {
                foci.extend(subject(&incident.subject));
                for told in incident.messages() {
                    foci.extend(notification(&told));
                    foci.extend(covered(&told));
                }
                foci.extend(cause::children(state, incident));
            }
            foci
        };
        match &self.kind {
            Kind::ServerStarted(_)
            | Kind::SweepCompleted(_)
            | Kind::ClockJumped(_)
            | Kind::ConfigApplied(_)
            | Kind::JournalGap(_) => foci.extend(state.all_foci()),
            Kind::IncidentOpened(e) => {
                foci.push(Focus::Incident(e.incident));
                foci.extend(subject(&e.subject));
            }
            Kind::NotificationHeld(_) => foci.push(Focus::Server),
            Kind::IncidentChanged(e) => foci.extend(incident(&e.incident)),
            Kind::IncidentCleared(e) => foci.extend(incident(&e.incident)),
            Kind::IncidentReopened(e) => foci.extend(incident(&e.incident)),
            Kind::IncidentResolved(e) => foci.extend(incident(&e.incident)),
            Kind::IncidentAcknowledged(e) => foci.extend(incident(&e.incident)),
            Kind::IncidentSnoozed(e) => foci.extend(incident(&e.incident)),
            Kind::SilenceEnded(e) => foci.extend(state.silenced_by(e.silence)),
            Kind::NotificationOpened(e) => {
                foci.extend(e.channels.iter().cloned().map(Focus::Channel));
                foci.extend(e.covers.iter().copied().map(Focus::Incident));
            }
            Kind::NotificationChanged(e) => foci.extend(notification(&e.notification)),
            Kind::NotificationJoined(e) => foci.extend(notification(&e.notification)),
            Kind::ScmObserved(_) => {
                // What waits for its answer goes on with it.
                let waits = |session: &&Session| Some(&session.project) == self.project.as_ref();
                let waits = state.sessions.values().filter(waits);
                foci.extend(waits.map(|session| Focus::Session(session.id.clone())));
                foci.extend(self.project.clone().map(Focus::Project));
            }
            Kind::ChannelTried(e) => foci.push(Focus::Channel(e.channel.clone())),
            Kind::PressRefused(e) => foci.push(Focus::Channel(e.channel.clone())),
            Kind::DeliveryDropped(e) => {
                // Whether another is asked hangs on all of them.
                foci.extend(notification(&e.notification));
                foci.push(Focus::Server);
            }
            Kind::DeliveryHeld(e) => {
                foci.extend([Focus::Channel(e.channel.clone()), Focus::Server]);
            }
            Kind::DigestRequested(_) | Kind::DigestCompleted(_) | Kind::SessionEnded(_) => {
                foci.push(Focus::Server);
            }
            Kind::NotificationEscalated(e) => foci.extend(covered(&e.notification)),
            Kind::PresenceObserved(_) => {
                foci.extend(state.channels.keys().cloned().map(Focus::Channel));
            }
            Kind::DeliveryAdded(e) => foci.extend(notification(&e.notification)),
            Kind::EffectIntended(EffectIntended {
                effect:
                    Effect::SendNotification { channel, .. }
                    | Effect::UpdateNotification { channel, .. }
                    | Effect::ResolveNotification { channel, .. },
            }) => foci.push(Focus::Channel(channel.clone())),
            // A message about `ao` itself may have gone out.
            Kind::EffectSucceeded(_) | Kind::EffectFailed(_) if self.session.is_none() => {
                foci.push(Focus::Server);
            }
            Kind::DiskObserved(_)
            | Kind::FileTampered(_)
            | Kind::ConfigRefused(_)
            | Kind::ConfigAccepted(_)
            | Kind::InputQuarantined(_) => foci.push(Focus::Server),
            _ => {}
        }
        foci
    }
}

/// Turns an input into observations, or refuses it with the reason and the remedy.
pub fn decide(state: &State, input: &Input, now: Now) -> Result<(Vec<Draft>, Answered), Refusal> {
    if let Input::Once { key, act } = input {
        if let Some(known) = state.acts.iter().find(|known| known.key == *key) {
            return Ok((vec![], known.answered()));
        }
        let (mut drafts, answered) = decide(state, act, now)?;
        // What changes nothing may well come twice.
        if let Some(first) = drafts.first_mut() {
            first.act = Some(key.clone());
        }
        return Ok((drafts, answered));
    }
    let mut decider = Decider::new(state, now);
    let answered = decider.observe(input)?;
    if let Input::Signals { started, .. } = input {
        decider.drafts.iter_mut().for_each(|draft| draft.hook = *started);
    }
    Ok((decider.drafts, answered))
}

/// Says what should follow at `focus` by the rules and does not stand yet.
pub fn conclude(state: &State, focus: &Focus, now: Now) -> Vec<Draft> {
    let mut decider = Decider::new(state, now);
    match focus {
        Focus::Session(id) => decider.session(id),
        Focus::Incident(id) => decider.incident(*id),
        Focus::Project(id) => decider.project(id),
        Focus::Channel(name) => {
            decider.health(name);
            decider.channel(name);
        }
        Focus::Runtime(name) => decider.runtime_lost(name),
        Focus::Server => {
            decider.server();
            if decider.drafts.is_empty() {
                decider.digests();
            }
        }
    }
    decider.drafts
}

/// Applies an input and everything that follows from it. The events are numbered on from `state.last_seq`.
pub fn step(state: &mut State, input: &Input, now: Now) -> Result<(Vec<Event>, Answered), Refusal> {
    // Awake time never goes back, whatever a clock says.
    let now = Now { awake: now.awake.max(state.awake), ..now };
    let mut events = vec![];
    let mut foci: BTreeSet<Focus> = match input {
        Input::Tick => state.due(now).into_iter().collect(),
        _ => BTreeSet::new(),
    };
    let mut heard = Answered::default();
    let mut cause = None;
    for part in parts(input) {
        let (drafts, answered) = decide(state, &part, now)?;
        let request = answered.request.or(heard.request);
        heard = Answered { request, ..answered };
        let first = add(state, drafts, now, &mut events, &mut foci);
        cause = cause.or(first);
    }
    settle(state, foci, cause, now, &mut events);
    Ok((events, heard))
}

/// Applies everything that follows at one focus, as [`step`] does for an input.
pub(crate) fn look(state: &mut State, focus: Focus, now: Now) -> Vec<Event> {
    let now = Now { awake: now.awake.max(state.awake), ..now };
    let mut events = vec![];
    settle(state, BTreeSet::from([focus]), None, now, &mut events);
    events
}

fn settle(
    state: &mut State,
    mut foci: BTreeSet<Focus>,
    cause: Option<Seq>,
    now: Now,
    events: &mut Vec<Event>,
) {
    // Each rule is quiet once its conclusion stands, so a chain is short. The bound, far above any real one,
    // keeps a wrong rule from hanging the loop; what it leaves is looked at with the next event about it.
    let subjects = state.sessions.len() + state.incidents.len() + state.channels.len();
    let most = events.len() + 4_096 + 64 * subjects;
    while let Some(focus) = foci.pop_first() {
        if events.len() > most {
            debug_assert!(false, "the rules do not come to an end at {focus:?}");
            break;
        }
        let mut drafts = conclude(state, &focus, now);
        // What an input led to rests on it, where the rule names nothing nearer.
        for draft in drafts.iter_mut().filter(|draft| draft.because.is_empty()) {
            draft.because.extend(cause);
        }
        add(state, drafts, now, events, &mut foci);
    }
}

/// Several signals that came at once are decided one after the other, each on what the one before it left.
fn parts(input: &Input) -> Vec<Cow<'_, Input>> {
    match input {
        Input::Signals { session, launch, source, started, told } if told.len() > 1 => {
            let alone = |told: &Told| {
                let (session, launch, source) = (session.clone(), *launch, *source);
                Input::Signals {
                    session,
                    launch,
                    source,
                    started: *started,
                    told: vec![told.clone()],
                }
            };
            told.iter().map(|told| Cow::Owned(alone(told))).collect()
        }
        _ => vec![Cow::Borrowed(input)],
    }
}

/// Numbers and applies drafts; returns the place of the first.
fn add(
    state: &mut State,
    drafts: Vec<Draft>,
    now: Now,
    events: &mut Vec<Event>,
    foci: &mut BTreeSet<Focus>,
) -> Option<Seq> {
    let mut first = None;
    for draft in drafts {
        let seq = Seq(state.last_seq.0 + 1);
        first.get_or_insert(seq);
        let mut because = draft.because.clone();
        because.retain(|cause| *cause < seq && cause.0 > 0);
        because.truncate(16);
        let event = Event {
            seq,
            at: now.wall,
            awake: now.awake.max(state.awake),
            session: draft.session.clone(),
            project: draft.project.clone(),
            hook: draft.hook,
            act: draft.act.clone(),
            because,
            rule: draft.rule.map(Cow::Borrowed),
            kind: draft.kind.clone(),
        };
        let lane = match &event.kind {
            Kind::EffectSucceeded(e) => {
                state.intents.get(&e.intent).map(|intent| intent.lane.clone())
            }
            Kind::EffectFailed(e) => state.intents.get(&e.intent).map(|intent| intent.lane.clone()),
            Kind::EffectDoubted(e) => {
                state.intents.get(&e.intent).map(|intent| intent.lane.clone())
            }
            _ => None,
        };
        state.apply(&event);
        foci.extend(draft.touches(state));
        match lane {
            Some(Lane::Session(id)) => foci.extend([Focus::Session(id)]),
            // What rests with it may go on with it.
            Some(Lane::Channel(name)) => {
                let same = state.same_account(&name);
                foci.extend(same.map(|(name, _)| Focus::Channel(name.clone())));
            }
            None => {}
        }
        events.push(event);
    }
    first
}
