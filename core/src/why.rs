//! Why something is as it is: told from stored events alone.
//!
//! Every event names its direct causes. What explains a session, an incident or a message is what its present
//! facts rest on ([`roots`]), and what that rests on ([`Event::because`]); [`explain`] words it. Nothing here
//! judges anew: a rule that changed since does not change the explanation of what it once concluded.

use std::{collections::BTreeMap, fmt, str::FromStr};

use ao_slots::{
    IncidentId, NotificationId, Seq, SessionId,
    agent::{Ask, Decision},
    fact::{Activity, Checks, Mergeable, PrFacts, PrState, Priority, Review, RuntimeState, Source},
    notifier::{Mark, Reached},
    text::{count, cut, duration, one_line, short_commit},
};
use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};

use crate::{
    config::{policy::ReactionAction, trigger::Trigger},
    decide,
    event::{Effect, Event, Held, Kind, Outcome, Over, Subject},
    state::{Incident, Notification, Now, Progress, State, Status},
    words,
};

/// What is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// A session.
    Session(SessionId),
    /// An incident.
    Incident(IncidentId),
    /// A message to a human.
    Notification(NotificationId),
}

impl FromStr for About {
    type Err = ao_slots::IdError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // `i-1` and `n-1` would be sessions too, of the prefixes `i` and `n`; the shorter meaning wins.
        if let Ok(id) = text.parse() {
            return Ok(Self::Incident(id));
        }
        if let Ok(id) = text.parse() {
            return Ok(Self::Notification(id));
        }
        text.parse().map(Self::Session)
    }
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(id) => id.fmt(f),
            Self::Incident(id) => id.fmt(f),
            Self::Notification(id) => id.fmt(f),
        }
    }
}

/// The explanation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Why {
    /// What was asked about.
    pub subject: String,
    /// The answer in one or two sentences.
    pub headline: String,
    /// What it rests on, newest first.
    pub lines: Vec<Line>,
    /// What one might think and is not so, in a sentence; may be empty.
    pub not_the_case: String,
    /// How many events that it rests on are not kept any more.
    pub forgotten: u32,
}

/// One piece of evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// When.
    pub at: Timestamp,
    /// The event.
    pub seq: Seq,
    /// What it says.
    pub text: String,
    /// Who saw it or which rule concluded it, in words; empty when the text says it.
    pub by: String,
}

/// What an event says, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Described {
    /// The mark before it, where it matters to a human.
    pub mark: Option<Mark>,
    /// What happened, two to four words.
    pub label: String,
    /// The thing itself; may be empty.
    pub text: String,
}

impl Described {
    /// Both parts in one line.
    pub fn line(&self) -> String {
        if self.text.is_empty() {
            self.label.clone()
        } else {
            format!("{}: {}", self.label, self.text)
        }
    }
}

/// Most lines of an explanation.
const MOST: usize = 24;

/// The events that the present facts of a subject rest on; none when there is no such subject.
pub fn roots(state: &State, about: &About) -> Option<Vec<Seq>> {
    let mut seqs = vec![];
    match about {
        About::Session(id) => {
            let session = state.sessions.get(id)?;
            seqs.extend([
                session.status_since.seq,
                session.activity.since.seq,
                session.runtime_state.since.seq,
            ]);
            seqs.extend(session.over.iter().map(|(_, when)| when.seq));
            seqs.extend(session.work.iter().map(|fact| fact.since.seq));
            seqs.extend(
                session
                    .requests
                    .values()
                    .flat_map(|request| {
                        let decided = request.decided.as_ref().map(|d| d.when.seq);
                        [
                            Some(request.opened.seq),
                            decided,
                            request.ended.as_ref().map(|(_, when)| when.seq),
                        ]
                    })
                    .flatten(),
            );
            seqs.extend(session.messages.values().map(|message| match &message.fate {
                crate::state::Fate::Confirmed { when, .. } => when.seq,
                _ => message.queued.seq,
            }));
            seqs.extend(session.pr.iter().map(|fact| fact.since.seq));
            seqs.extend(session.follow.merge.iter().map(|merge| merge.when.seq));
            for attempt in &session.follow.attempts {
                seqs.extend(
                    [attempt.confirmed, attempt.failed].into_iter().flatten().map(|w| w.seq),
                );
            }
            seqs.push(session.created.seq);
            for incident in incidents_of(state, id) {
                incident_roots(state, incident, &mut seqs);
            }
        }
        About::Incident(id) => incident_roots(state, state.incidents.get(id)?, &mut seqs),
        About::Notification(id) => {
            let notification = state.notifications.get(id)?;
            notification_roots(notification, &mut seqs);
            for incident in notification.covers.iter().filter_map(|id| state.incidents.get(id)) {
                incident_roots(state, incident, &mut seqs);
            }
        }
    }
    seqs.retain(|seq| seq.0 > 0);
    seqs.sort_unstable();
    seqs.dedup();
    Some(seqs)
}

fn incident_roots(state: &State, incident: &Incident, seqs: &mut Vec<Seq>) {
    seqs.push(incident.opened.seq);
    seqs.extend(&incident.because);
    seqs.extend(incident.cleared.iter().map(|(_, when)| when.seq));
    seqs.extend(incident.resolved.iter().map(|(_, when)| when.seq));
    seqs.extend(incident.acknowledged.iter().map(|(_, when)| when.seq));
    seqs.extend(incident.held.iter().map(|(_, when)| when.seq));
    for notification in incident.messages().filter_map(|id| state.notifications.get(&id)) {
        notification_roots(notification, seqs);
    }
}

fn notification_roots(notification: &Notification, seqs: &mut Vec<Seq>) {
    seqs.push(notification.opened.seq);
    seqs.extend(
        notification.deliveries.values().filter_map(|delivery| delivery.sent).map(|when| when.seq),
    );
    let held = notification.deliveries.values().filter_map(|delivery| delivery.held.as_ref());
    seqs.extend(held.map(|hold| hold.since.seq));
    let added = notification.deliveries.values().filter_map(|delivery| delivery.instead.as_ref());
    seqs.extend(added.map(|(_, when)| when.seq));
}

/// Open incidents of a session first, then the ones that are over, newest first.
fn incidents_of<'s>(state: &'s State, id: &SessionId) -> Vec<&'s Incident> {
    let mine = |incident: &&Incident| {
        incident.subject == Subject::Session(id.clone()) || incident.sessions.contains(id)
    };
    let mut found: Vec<_> = state.incidents.values().filter(mine).collect();
    found.sort_by_key(|incident| (incident.resolved.is_some(), std::cmp::Reverse(incident.id)));
    found.truncate(8);
    found
}

/// Words the explanation. `events` holds the [`roots`] and their causes, as far as they are kept; `wanted` is
/// how many were looked for.
pub fn explain(
    state: &State,
    about: &About,
    events: &BTreeMap<Seq, Event>,
    wanted: usize,
    now: Now,
    zone: &TimeZone,
) -> Option<Why> {
    let teller = Teller { state, now, zone };
    let (headline, not_the_case) = match about {
        About::Session(id) => {
            let session = state.sessions.get(id)?;
            let reason = words::status_reason(state, session, now, zone);
            (reason.sentence, reason.not_the_case)
        }
        About::Incident(id) => (teller.incident(state.incidents.get(id)?), String::new()),
        About::Notification(id) => {
            (teller.notification(state.notifications.get(id)?), String::new())
        }
    };
    let mut lines: Vec<Line> = events.values().filter_map(|event| teller.line(event)).collect();
    lines.sort_by_key(|line| std::cmp::Reverse(line.seq));
    lines.truncate(MOST);
    let forgotten = u32::try_from(wanted.saturating_sub(events.len())).unwrap_or(u32::MAX);
    Some(Why { subject: about.to_string(), headline, lines, not_the_case, forgotten })
}

struct Teller<'a> {
    state: &'a State,
    now: Now,
    zone: &'a TimeZone,
}

impl Teller<'_> {
    fn clock(&self, at: Timestamp) -> String {
        words::local_time(at, self.now, self.zone, "%H:%M")
    }

    fn incident(&self, incident: &Incident) -> String {
        let title = words::known_as(self.state, incident);
        // A question, and what was cut, end as they end.
        let title = match title.trim_end_matches('.') {
            title if title.ends_with(['?', '!', '…']) => title.to_owned(),
            title => format!("{title}."),
        };
        let opened = self.clock(incident.opened.at);
        if let Some((how, when)) = &incident.resolved {
            return format!(
                "{title} It began at {opened} and ended at {}: {}.",
                self.clock(when.at),
                words::how(how)
            );
        }
        if let Some((how, when)) = &incident.cleared {
            return format!(
                "{title} Its cause is gone since {}: {}.",
                self.clock(when.at),
                words::how(how)
            );
        }
        let others = |id: &NotificationId| {
            let told = self.state.notifications.get(id);
            told.map_or(0, |told| told.covers.len().saturating_sub(1)) as u64
        };
        let told = match incident.notification {
            Some(id) if others(&id) > 0 => {
                let others = count(others(&id), "other", "others");
                let cause = incident.cause().is_some() && self.is_of_one_cause(&id);
                let cause = if cause { " of one cause; nothing of its own is sent" } else { "" };
                format!("You were told by {id}, in one message with {others}{cause}")
            }
            Some(id) => format!("You were told by {id}"),
            None if let Some((held, when)) = &incident.held => {
                format!("Nobody was told at {}: {}", self.clock(when.at), held_back(held))
            }
            None if incident.snoozed.is_some_and(|until| until > self.now.wall) => {
                "It is snoozed".into()
            }
            None => self.untold(incident),
        };
        format!("{title} It stands since {opened}. {told}.")
    }

    /// Why nobody was told of what stands.
    fn untold(&self, incident: &Incident) -> String {
        if let Some(parent) = decide::cause::muted_by(self.state, incident) {
            let (id, trigger) = (parent.id, parent.trigger);
            return format!("Nobody is told while {id} ({trigger}) stands, which explains it");
        }
        let reaction = self.state.policy.reaction(incident.project.as_ref(), incident.trigger);
        if reaction.action == ReactionAction::Nothing {
            let key = format!("reactions.{}.action", incident.trigger);
            return format!("Nobody is told: the configuration says so ({key}: none)");
        }
        match decide::schedule::wanted_at(self.state, incident) {
            None if incident.trigger == Trigger::ChannelFailing => {
                "Nobody was told: there is no other channel to tell it by".into()
            }
            None => "Nobody is told: it is left to what ao and the agent do about it".into(),
            Some(at) if at > self.now.awake => {
                let left = duration((at - self.now.awake) / 1_000);
                format!("Nobody was told yet: it is left to ao and the agent for another {left}")
            }
            Some(_) => "Nobody was told yet: it has not lasted long enough".into(),
        }
    }

    fn is_of_one_cause(&self, id: &NotificationId) -> bool {
        let covers = self.state.notifications.get(id).map(|told| &told.covers[..]);
        let covered: Vec<Incident> = covers
            .unwrap_or_default()
            .iter()
            .filter_map(|id| self.state.incidents.get(id))
            .cloned()
            .collect();
        words::one_cause(&covered)
    }

    fn notification(&self, notification: &Notification) -> String {
        let sent = self.clock(notification.opened.at);
        let covered = notification.covers.iter().filter_map(|id| self.state.incidents.get(id));
        let named: Vec<String> = covered
            .map(|i| format!("{} ({}, {})", i.id, i.trigger, priority(i.priority)))
            .collect();
        let why = match named.is_empty() {
            false => format!("because of {}", named.join(", ")),
            true => "as a summary".to_owned(),
        };
        format!(
            "\"{}\" was sent at {sent} {why}. {}.",
            notification.title,
            words::capital(&told(notification))
        )
    }

    fn line(&self, event: &Event) -> Option<Line> {
        let text = match &event.kind {
            Kind::NotificationOpened(e) => match self.state.notifications.get(&e.notification) {
                Some(notification) => format!("{}: {}", told(notification), e.title),
                None => format!("told: {}", e.title),
            },
            Kind::IncidentCleared(e) => {
                let reopened =
                    self.state.incidents.get(&e.incident).is_some_and(|i| i.cleared.is_none());
                match reopened {
                    true => "the cause was gone for a moment and came back: no second message"
                        .to_owned(),
                    false => describe(event).line(),
                }
            }
            // Told by the lines that they rest on or lead to.
            Kind::StatusChanged(_)
            | Kind::EffectIntended(_)
            | Kind::NotificationChanged(_)
            | Kind::ProgressObserved(_)
            | Kind::UsageObserved(_)
            | Kind::IncidentReopened(_)
            | Kind::ConfigApplied(_)
            | Kind::SweepCompleted(_) => return None,
            Kind::EffectSucceeded(e) if says_nothing(&e.outcome) => return None,
            _ => describe(event).line(),
        };
        Some(Line { at: event.at, seq: event.seq, text, by: by(event) })
    }
}

/// What brought nothing that a human would ask about.
fn says_nothing(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Sent { .. } | Outcome::Done | Outcome::PostCreate { failed: None, lines: 0, .. }
    )
}

/// Who saw it or which rule concluded it.
fn by(event: &Event) -> String {
    if let Kind::ActivityObserved(e) = &event.kind {
        return source(e.source).to_owned();
    }
    match &event.kind {
        Kind::RequestOpened(_)
        | Kind::TurnStarted(_)
        | Kind::TurnEnded(_)
        | Kind::AgentStarted(_) => "agent".into(),
        Kind::RuntimeObserved(_) => "runtime".into(),
        Kind::WorkObserved(_) => "workspace".into(),
        Kind::PrObserved(_) => "scm".into(),
        _ => event.rule.as_deref().unwrap_or_default().replace('-', " "),
    }
}

/// What a look at a pull request told, e.g. `#57 at 3f9c2d1: unit fails, approved`.
fn seen(pr: &PrFacts) -> String {
    let names: Vec<_> = pr.failing.iter().map(|name| one_line(name)).collect();
    let verb = if names.len() == 1 { "fails" } else { "fail" };
    let checks = match pr.checks {
        Checks::None => String::new(),
        Checks::Pending => "checks run".into(),
        Checks::Passing => "checks pass".into(),
        Checks::Failing if names.is_empty() => "checks fail".into(),
        Checks::Failing => format!("{} {verb}", cut(&names.join(", "), 60)),
        Checks::Unknown => "checks not known".into(),
    };
    let review = match pr.review {
        Review::None => "",
        Review::Pending => "waits for a review",
        Review::Approved => "approved",
        Review::ChangesRequested => "changes requested",
    };
    let open = |n: u32, one, many| match n {
        0 => String::new(),
        n => format!("{} open", count(n.into(), one, many)),
    };
    let told = match pr.state {
        PrState::Merged => vec!["merged".into()],
        PrState::Closed | PrState::None => vec!["closed".into()],
        PrState::Open | PrState::Draft => vec![
            if pr.state == PrState::Draft { "draft".into() } else { String::new() },
            checks,
            review.into(),
            open(pr.human_threads, "comment", "comments"),
            match pr.remarks {
                0 => String::new(),
                n => count(n.into(), "remark", "remarks"),
            },
            open(pr.bot_threads, "bot comment", "bot comments"),
            match pr.mergeable {
                Mergeable::Conflicting => "conflicts".into(),
                Mergeable::Behind => "the base has moved: update the branch".into(),
                Mergeable::Blocked => "the rules do not let it be merged yet".into(),
                Mergeable::Yes | Mergeable::Unknown => String::new(),
            },
        ],
    };
    let told: Vec<String> = told.into_iter().filter(|part| !part.is_empty()).collect();
    let told = if told.is_empty() { "open".into() } else { told.join(", ") };
    format!("{} at {}: {told}", pr.number, short_commit(&pr.head))
}

/// Who says so, in words.
pub fn source(source: Source) -> &'static str {
    match source {
        Source::Hook => "agent hook",
        Source::Transcript => "transcript",
        Source::Screen => "screen",
        Source::Runtime => "runtime",
        Source::Workspace => "workspace",
        Source::Scm => "scm",
        Source::Tracker => "tracker",
        Source::Human => "a human",
        Source::Server => "ao",
    }
}

fn priority(priority: Priority) -> &'static str {
    match priority {
        Priority::Info => "info",
        Priority::Warning => "warning",
        Priority::Action => "action",
        Priority::Urgent => "urgent",
    }
}

/// What kept a human from being called.
fn held_back(why: &Held) -> String {
    match why {
        Held::Silence { silence } => format!("held back by silence {silence}"),
        Held::Quiet => "held back by quiet hours".into(),
        Held::Present => "held back: it is seen where somebody types".into(),
        Held::Budget => "kept for the digest: the day's messages are used up".into(),
        Held::Digest => "kept for the digest".into(),
    }
}

/// Where a message went, e.g. `told: desktop showed it, hook took it`.
pub fn told(notification: &Notification) -> String {
    if notification.deliveries.is_empty() {
        return "told nobody: no channel is configured for it".to_owned();
    }
    let parts: Vec<_> = notification
        .deliveries
        .iter()
        .map(|(channel, delivery)| match (delivery.progress, delivery.reached, &delivery.error) {
            (Progress::Sent, Some(Reached::Seen), _) => format!("{channel} was read"),
            (Progress::Sent, Some(Reached::Delivered), _) => format!("{channel} showed it"),
            (_, Some(_), _) => format!("{channel} took it"),
            (_, None, _) if let Some(newer) = delivery.superseded => {
                format!("{channel} has it by {newer}")
            }
            (_, None, _) if let Some(hold) = &delivery.held => {
                format!("{channel} {}", held_back(&hold.why))
            }
            (Progress::Dropped, None, Some(error)) => {
                format!("{channel} refused it ({})", cut(&one_line(&error.message), 80))
            }
            (Progress::Dropped, None, None) => format!("not by {channel}"),
            (_, None, Some(error)) => {
                format!("{channel} failed so far ({})", cut(&one_line(&error.message), 80))
            }
            (_, None, None) => format!("{channel} waits"),
        })
        .collect();
    format!("told: {}", parts.join(", "))
}

/// What one event says. Exhaustive, so that a new kind gets its words.
pub fn describe(event: &Event) -> Described {
    let say = |mark: Option<Mark>, label: &str, text: String| Described {
        mark,
        label: label.to_owned(),
        text: cut(&one_line(&text), 200),
    };
    let none = String::new;
    match &event.kind {
        Kind::ServerStarted(e) => say(
            None,
            "ao started",
            match e.away_ms {
                Some(away) if away >= 1_000 => {
                    format!("version {}, after {}", e.version, duration(away / 1_000))
                }
                _ => format!("version {}", e.version),
            },
        ),
        Kind::ServerStopped(e) => say(None, "ao stopped", e.reason.clone()),
        Kind::ClockJumped(e) => {
            say(None, "the clock jumped", format!("by {} s", e.ahead_ms / 1_000))
        }
        Kind::SweepCompleted(e) => {
            say(None, "looked at everything", count(e.sessions.into(), "session", "sessions"))
        }
        Kind::ConfigApplied(e) => say(None, "settings applied", cut(&e.hash, 12)),
        Kind::ConfigRefused(e) => {
            say(Some(Mark::Slow), "settings not used", format!("{}: {}", e.file, e.reason.excerpt))
        }
        Kind::ConfigAccepted(e) => {
            say(Some(Mark::Settled), "settings are good again", e.file.clone())
        }
        Kind::SessionRequested(e) => {
            let what = match &e.issue {
                Some(issue) => format!("#{issue} {}", e.title.excerpt),
                None => e.title.excerpt.clone(),
            };
            say(None, &format!("spawned by {}", e.by), what)
        }
        Kind::RuntimeObserved(e) => match e.state {
            RuntimeState::Starting => say(None, "agent starts", none()),
            RuntimeState::Alive => say(None, "agent runs", none()),
            RuntimeState::Exited { code: Some(0) } => {
                say(Some(Mark::Finished), "agent ended", "exited with code 0".into())
            }
            RuntimeState::Exited { code: Some(code) } => {
                say(Some(Mark::Need), "agent ended", format!("exited with code {code}"))
            }
            RuntimeState::Exited { code: None } => {
                say(Some(Mark::Need), "agent ended", "by a signal".into())
            }
            RuntimeState::Missing => say(Some(Mark::Need), "agent is gone", none()),
            RuntimeState::Unknown => {
                say(Some(Mark::Slow), "agent not seen", "its runtime does not answer".into())
            }
        },
        Kind::ActivityObserved(e) => {
            let text = e.text.as_ref().map(|text| text.excerpt.clone()).unwrap_or_default();
            match &e.activity {
                Activity::Starting => say(None, "agent starts", text),
                Activity::Active => say(Some(Mark::Working), "agent works", text),
                Activity::Idle => say(None, "agent is idle", text),
                Activity::WaitingInput => say(Some(Mark::Need), "agent waits for an answer", text),
                Activity::Blocked => say(Some(Mark::Need), "a dialog is open", text),
                Activity::RateLimited { until: Some(until) } => {
                    say(Some(Mark::Slow), "no quota", format!("until {until:.0}"))
                }
                Activity::RateLimited { until: None } => say(Some(Mark::Slow), "no quota", text),
                Activity::Errored { .. } => say(Some(Mark::Need), "agent cannot go on", text),
                Activity::Exited => say(None, "agent said good-bye", text),
                Activity::NoSignal => {
                    say(Some(Mark::Need), "agent is silent", "its hooks do not report".into())
                }
            }
        }
        Kind::AgentStarted(e) => say(None, "agent can be talked to", e.agent_version()),
        Kind::TurnStarted(e) => match e.confirms {
            Some(message) => say(None, "turn began", format!("with {message}")),
            None => say(None, "turn began", none()),
        },
        Kind::TurnEnded(e) => say(
            None,
            "turn ended",
            e.last_words.as_ref().map(|text| text.excerpt.clone()).unwrap_or_default(),
        ),
        Kind::ToolStarted(e) => say(
            None,
            "runs",
            e.command.as_ref().map_or_else(|| e.tool.clone(), |command| command.excerpt.clone()),
        ),
        Kind::ToolEnded(_) => say(None, "tool ended", none()),
        Kind::ProgressObserved(e) => {
            let words = if e.output.is_some() { "it writes to its terminal" } else { "" };
            say(None, "moves", words.into())
        }
        Kind::QuestionSuspected(e) => {
            say(Some(Mark::Need), "looks like a question", e.text.excerpt.clone())
        }
        Kind::CompletionClaimed(e) => say(
            None,
            "agent says it is done",
            e.text.as_ref().map(|text| text.excerpt.clone()).unwrap_or_default(),
        ),
        Kind::WorkObserved(e) => say(
            None,
            "work seen",
            format!(
                "{}, {}{}",
                count(e.work.commits.into(), "commit", "commits"),
                count(e.work.changed_files.into(), "changed file", "changed files"),
                if e.work.pushed { ", pushed" } else { "" }
            ),
        ),
        Kind::PrObserved(e) => say(None, "pull request seen", seen(&e.pr)),
        Kind::PrLinked(e) => {
            let by = e.by.as_ref().map(|by| format!(", says {by}")).unwrap_or_default();
            say(None, "pull request found", format!("{}{by}", e.pr.number))
        }
        Kind::BriefPrepared(e) => match e.held.is_empty() {
            true => say(None, "facts for the agent", e.trigger.to_string()),
            false => say(
                Some(Mark::Decide),
                "held back from the agent",
                format!("{}: words of {}", e.trigger, e.held.join(", ")),
            ),
        },
        Kind::BriefReleased(e) => {
            say(Some(Mark::Settled), &format!("released by {}", e.by), e.trigger.to_string())
        }
        Kind::RetryRequested(e) => {
            say(None, &format!("sent once more, asked by {}", e.by), e.trigger.to_string())
        }
        Kind::PrActRequested(e) => {
            let what = effect(&e.act.effect());
            say(None, &format!("asked for by {}", e.by), what)
        }
        Kind::AttemptFailed(e) => say(
            Some(Mark::Slow),
            "nothing came of it",
            format!("the turn after {} brought no new commit", e.message),
        ),
        Kind::MergeRequested(e) => {
            say(Some(Mark::Settled), &format!("merge wanted by {}", e.by), short_commit(&e.head))
        }
        Kind::MergeDecided(e) => say(None, "merges by itself", short_commit(&e.head)),
        Kind::RecordWritten(e) => say(
            None,
            "kept",
            format!("{} of {}", count(e.values.len() as u64, "value", "values"), e.plugin),
        ),
        Kind::ScmObserved(e) => match &e.failure {
            Some(failure) => {
                say(Some(Mark::Slow), "the scm does not answer", failure.message.clone())
            }
            None => say(Some(Mark::Settled), "the scm answers again", none()),
        },
        Kind::UsageObserved(_) => say(None, "usage seen", none()),
        Kind::IssueObserved(e) => {
            say(None, if e.completed { "issue is closed" } else { "issue is open" }, none())
        }
        Kind::RequestOpened(e) => match &e.ask {
            Ask::Question { text, .. } => say(Some(Mark::Need), "question", format!("\"{text}\"")),
            Ask::Permission { verb, subject, .. } => {
                say(Some(Mark::Need), &format!("wants to {verb}"), subject.clone())
            }
        },
        Kind::RequestEnded(e) => say(
            None,
            match e.how.as_str() {
                "confirmed" => "the agent went on with the decision",
                "in-terminal" => "answered in its terminal",
                "turn-ended" | "new-turn" => "asks no more: it went on",
                "restarted" => "asks no more: it was restarted",
                "over" => "asks no more: it is over",
                _ => "asks no more",
            },
            none(),
        ),
        Kind::RequestDecided(e) => match &e.decision {
            Decision::Approve => say(Some(Mark::Settled), &format!("approved by {}", e.by), none()),
            Decision::Deny { reason } => say(
                Some(Mark::Failed),
                &format!("denied by {}", e.by),
                reason.clone().unwrap_or_default(),
            ),
            Decision::Answer { text } => {
                say(Some(Mark::Settled), &format!("answered by {}", e.by), text.clone())
            }
        },
        Kind::MessageRequested(e) => {
            say(None, &format!("message from {}", e.by), e.text.excerpt.clone())
        }
        Kind::MessageConfirmed(e) => say(
            Some(Mark::Settled),
            "message confirmed by the agent",
            format!("{} ({})", e.message, e.evidence),
        ),
        Kind::KillRequested(e) => say(None, &format!("kill asked for by {}", e.by), none()),
        Kind::DoneMarked(e) => {
            say(Some(Mark::Settled), &format!("marked done by {}", e.by), none())
        }
        Kind::RestoreRequested(e) => say(None, &format!("restore asked for by {}", e.by), none()),
        Kind::CleanupRequested(e) => say(None, &format!("cleanup asked for by {}", e.by), none()),
        Kind::IncidentAcknowledged(e) => {
            say(None, &format!("taken by {}", e.by), e.incident.to_string())
        }
        Kind::IncidentSnoozed(e) => say(
            None,
            &format!("snoozed by {}", e.by),
            format!("{} until {:.0}", e.incident, e.until),
        ),
        Kind::ChannelTried(e) => match &e.failure {
            None => say(Some(Mark::Settled), &format!("a test was sent by {}", e.channel), none()),
            Some(failure) => say(
                Some(Mark::Failed),
                &format!("a test was not sent by {}", e.channel),
                failure.message.clone(),
            ),
        },
        Kind::ButtonsOffered(e) => {
            let buttons = ao_slots::text::count(e.offers.len() as u64, "button", "buttons");
            say(None, "offered", format!("{buttons}, by {}", e.channel))
        }
        Kind::TokenSpent(e) => say(None, &format!("a button was used by {}", e.by), none()),
        Kind::PressRefused(e) => say(
            Some(Mark::Failed),
            &format!("nothing came of \"{}\", pressed by {}", e.button, e.by),
            e.failure.message.clone(),
        ),
        Kind::DiskObserved(e) => {
            let mark = if e.failing { Some(Mark::Need) } else { e.low.then_some(Mark::Decide) };
            say(mark, "disk", format!("{} free", ao_slots::text::size(e.free)))
        }
        Kind::FileTampered(e) => {
            say(Some(Mark::Need), "changed by another, restored", e.path.clone())
        }
        Kind::JournalGap(e) => {
            say(Some(Mark::Need), "events cannot be read", format!("e{} to e{}", e.from, e.to))
        }
        Kind::InputQuarantined(e) => {
            say(Some(Mark::Failed), "an input was put aside", e.message.excerpt.clone())
        }
        Kind::StatusChanged(e) => {
            let (from, to) = (e.from.as_str().replace('_', " "), e.to.as_str().replace('_', " "));
            say(zone_mark(e.to), &to, format!("was {from}"))
        }
        Kind::SessionEnded(e) => {
            let by = e.by.as_ref().map(|by| format!("by {by}")).unwrap_or_default();
            match e.how {
                Over::Merged => say(Some(Mark::Finished), "over: merged", by),
                Over::Done => say(Some(Mark::Finished), "over: done", by),
                Over::Killed => say(Some(Mark::Finished), "over: killed", by),
                Over::Failed => say(Some(Mark::Failed), "over: not started", by),
            }
        }
        Kind::SpawnFailed(e) => {
            say(Some(Mark::Failed), &format!("{} failed", e.step), e.failure.message.clone())
        }
        Kind::SessionReady(_) => {
            say(Some(Mark::Working), "set up", "the agent runs and has its task".into())
        }
        Kind::KillDecided(e) => say(None, "ao ends it", e.cause.to_string()),
        Kind::RestoreDecided(e) => say(None, "ao brings it back", e.cause.to_string()),
        Kind::RestoreSettled(e) => match &e.failure {
            None if e.ok => say(Some(Mark::Settled), "works again", none()),
            failure => {
                let why =
                    failure.as_ref().map(|failure| failure.message.clone()).unwrap_or_default();
                say(Some(Mark::Failed), "could not be brought back", why)
            }
        },
        Kind::MessageQueued(e) => say(
            None,
            if e.first { "task queued" } else { "message queued" },
            e.text.excerpt.clone(),
        ),
        Kind::MessageWithdrawn(e) => say(None, "message withdrawn", e.reason.clone()),
        Kind::IncidentOpened(e) => {
            let detail = match (&e.detail, e.trigger) {
                (Some(head), Trigger::ApprovedAndGreen) => format!(" at {}", short_commit(head)),
                (Some(detail), _) => format!(" ({detail})"),
                (None, _) => String::new(),
            };
            say(
                priority_mark(e.priority),
                "counts as",
                format!("{}{detail}, {}", e.trigger, e.incident),
            )
        }
        Kind::IncidentChanged(e) => {
            say(priority_mark(e.priority), "changed", e.incident.to_string())
        }
        Kind::IncidentCleared(e) => {
            say(None, "its cause is gone", format!("{}, {}", e.incident, words::how(&e.how)))
        }
        Kind::IncidentReopened(e) => say(None, "its cause is back", e.incident.to_string()),
        Kind::IncidentResolved(e) => {
            say(Some(Mark::Settled), "settled", format!("{}, {}", e.incident, words::how(&e.how)))
        }
        Kind::NotificationOpened(e) => {
            let channels: Vec<_> = e.channels.iter().map(ToString::to_string).collect();
            let whom = if channels.is_empty() { "nobody".to_owned() } else { channels.join(", ") };
            say(None, &format!("tells {whom}"), e.title.clone())
        }
        Kind::NotificationChanged(e) => say(None, "message edited", e.notification.to_string()),
        Kind::NotificationJoined(e) => {
            say(None, "named in the same message", format!("{} in {}", e.incident, e.notification))
        }
        Kind::DeliveryDropped(e) => {
            say(Some(Mark::Failed), &format!("not sent by {}", e.channel), e.reason.clone())
        }
        Kind::NotificationHeld(e) => say(Some(Mark::Slow), &held_back(&e.why), e.title.clone()),
        Kind::DigestRequested(e) => say(None, "digest wanted", format!("by {}", e.by)),
        Kind::DigestCompleted(_) => say(None, "digest", none()),
        Kind::DeliveryHeld(e) => {
            let until = e.until.map(|until| format!(", until {until:.0}")).unwrap_or_default();
            say(
                Some(Mark::Slow),
                &format!("not now by {}", e.channel),
                format!("{}{until}", held_back(&e.why)),
            )
        }
        Kind::NotificationEscalated(e) => {
            let channels: Vec<_> = e.channels.iter().map(ToString::to_string).collect();
            let whom = if e.people.is_empty() { channels.clone() } else { e.people.clone() };
            say(
                Some(Mark::Need),
                &format!("nobody reacted; calls {}", whom.join(", ")),
                format!("step {}, by {}", e.step, channels.join(", ")),
            )
        }
        Kind::PresenceObserved(e) => {
            let who = match &event.session {
                Some(id) => format!("somebody types in {id}"),
                None => "a page is open before somebody".into(),
            };
            say(None, if e.here { "present" } else { "no longer present" }, who)
        }
        Kind::SilenceAdded(e) => say(
            None,
            &format!("silenced by {}", e.by),
            format!("{}, until {:.0}", e.silence, e.until),
        ),
        Kind::SilenceEnded(e) => say(None, "silence ended", format!("{} by {}", e.silence, e.by)),
        Kind::AccessGranted(e) => say(
            None,
            &format!("let in by {}", e.by),
            format!("{}, {}, as {}", e.access, e.name, e.person),
        ),
        Kind::AccessRevoked(e) => {
            say(None, "access taken back", format!("{} by {}", e.access, e.by))
        }
        Kind::DeliveryAdded(e) => say(
            Some(Mark::Slow),
            &format!("goes by {} too", e.channel),
            format!("{} has not taken it", e.instead_of),
        ),
        Kind::RoundCompleted(e) => say(
            Some(Mark::Finished),
            "all done",
            count(e.sessions.len() as u64, "session", "sessions"),
        ),
        Kind::EffectIntended(e) => say(None, "begins", effect(&e.effect)),
        Kind::EffectSucceeded(e) => outcome(&e.outcome, &say),
        Kind::EffectFailed(e) => say(Some(Mark::Failed), "failed", e.failure.message.clone()),
        Kind::EffectDoubted(e) => say(Some(Mark::Slow), "in doubt", e.reason.clone()),
        Kind::Unknown(unknown) => {
            say(None, &unknown.kind, "written by a newer version of ao".into())
        }
    }
}

fn outcome(outcome: &Outcome, say: &dyn Fn(Option<Mark>, &str, String) -> Described) -> Described {
    match outcome {
        Outcome::Done => say(None, "done", String::new()),
        Outcome::Issue { title, .. } => say(None, "task read", title.excerpt.clone()),
        Outcome::Workspace(info) => {
            say(None, "workspace made", format!("on branch {}", info.branch))
        }
        Outcome::PostCreate { failed: None, .. } => say(None, "set-up commands ran", String::new()),
        Outcome::PostCreate { failed: Some((command, code)), .. } => {
            let how = code.map_or_else(
                || "was ended by a signal".to_owned(),
                |code| format!("exited with {code}"),
            );
            say(Some(Mark::Failed), "set-up command failed", format!("{command} {how}"))
        }
        Outcome::Runtime { handle, .. } => say(None, "agent started", format!("as {}", handle.id)),
        Outcome::Removed(removed) => say(
            None,
            "workspace removed",
            removed
                .kept
                .as_ref()
                .map(|kept| format!("unsaved work is kept in {kept}"))
                .unwrap_or_default(),
        ),
        Outcome::Merged { commit } => say(Some(Mark::Finished), "merged", cut(commit, 7)),
        Outcome::PrOpened(pr) => say(None, "pull request opened", pr.number.to_string()),
        Outcome::Sent { .. } => say(None, "channel took it", String::new()),
    }
}

/// What an effect does.
fn effect(effect: &Effect) -> String {
    match effect {
        Effect::FetchIssue => "reading the issue".into(),
        Effect::CreateWorkspace { branch, .. } => format!("making the workspace on {branch}"),
        Effect::RestoreWorkspace => "making the workspace again".into(),
        Effect::MergePr { head, .. } => format!("merging at {}", short_commit(head)),
        Effect::RerunChecks { head } => {
            format!("running the checks of {} again", short_commit(head))
        }
        Effect::OpenPr { .. } => "opening a pull request".into(),
        Effect::ReopenPr => "opening the pull request again".into(),
        Effect::CloseIssue => "closing the issue".into(),
        Effect::PostCreate => "running the set-up commands".into(),
        Effect::CreateRuntime { resume: true, .. } => {
            "starting the agent, same conversation".into()
        }
        Effect::CreateRuntime { resume: false, .. } => "starting the agent".into(),
        Effect::TypeMessage { message } => format!("handing over {message}"),
        Effect::HandOverMessage { message, .. } => {
            format!("handing over {message} at the turn's end")
        }
        Effect::DecideRequest { request } => format!("handing over the decision on {request}"),
        Effect::DestroyRuntime { .. } => "ending the agent".into(),
        Effect::DestroyWorkspace { .. } => "removing the workspace".into(),
        Effect::SendNotification { notification, channel, .. } => {
            format!("sending {notification} by {channel}")
        }
        Effect::UpdateNotification { notification, channel, .. } => {
            format!("editing {notification} on {channel}")
        }
        Effect::ResolveNotification { notification, channel, .. } => {
            format!("settling {notification} on {channel}")
        }
    }
}

fn zone_mark(status: Status) -> Option<Mark> {
    Some(mark_of(status.zone()))
}

/// The mark of a zone.
pub fn mark_of(zone: crate::state::Zone) -> Mark {
    use crate::state::Zone;
    match zone {
        Zone::Red => Mark::Need,
        Zone::Orange => Mark::Decide,
        Zone::Yellow => Mark::Slow,
        Zone::Green => Mark::Working,
        Zone::Grey => Mark::Finished,
    }
}

fn priority_mark(priority: Priority) -> Option<Mark> {
    match priority {
        Priority::Urgent => Some(Mark::Need),
        Priority::Action => Some(Mark::Decide),
        Priority::Warning => Some(Mark::Slow),
        Priority::Info => None,
    }
}

impl crate::event::AgentStarted {
    fn agent_version(&self) -> String {
        self.version.as_ref().map(|version| format!("version {version}")).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use ao_slots::{
        ChannelName, Launch,
        fact::AgentErrorKind,
        notifier::{ChannelKind, NotifierCapabilities},
        runtime::RuntimeHandle,
        workspace::WorkspaceInfo,
    };

    use super::*;
    use crate::{
        config::policy::Policy,
        decide::{self, Input, RuntimeSeen, Spawn, Told},
        event::{Actor, Text, digest},
    };

    /// A loop without I/O whose effects all succeed, and the events that it wrote.
    struct Tape {
        state: State,
        now: Now,
        events: BTreeMap<Seq, Event>,
    }

    impl Tape {
        fn new() -> Self {
            let wall = "2026-11-21T14:28:00Z".parse().unwrap();
            let mut tape = Self {
                state: State::default(),
                now: Now { wall, awake: 1_000_000 },
                events: BTreeMap::new(),
            };
            tape.give(Input::Started {
                alive: None,
                zone: None,
                instance: "01JD0000000000000000000000".parse().unwrap(),
                boot: "b".into(),
                monotonic_ms: 5_000,
                version: "0.1.0".into(),
                pid: 7,
            });
            let desktop: ChannelName = "desktop".parse().unwrap();
            let can = NotifierCapabilities {
                buttons: true,
                edits: true,
                title_limit: 60,
                body_limit: 200,
                ..NotifierCapabilities::plain(ChannelKind::Desktop)
            };
            let policy = Box::new(Policy::with_projects(&["my-app"]));
            tape.give(Input::Config {
                hash: "h".into(),
                policy,
                channels: [(desktop, can)].into(),
            });
            tape.give(Input::Swept { sessions: 0 });
            tape.give(Input::Spawn(Box::new(Spawn {
                project: "my-app".parse().unwrap(),
                issue: None,
                title: Text::short("Fix the coupon"),
                prompt: Text::short("Fix the coupon"),
                digest: digest("Fix the coupon"),
                env_names: vec![],
                agent: None,
                branch: None,
                force: false,
                by: ana(),
            })));
            tape.tell(Told::Started { native_id: None, transcript: None, version: None });
            tape.tell(Told::TurnStarted {
                turn: Some("t1".into()),
                digest: Some(digest("Fix the coupon")),
            });
            tape
        }

        fn tell(&mut self, told: Told) {
            self.give(Input::Signals {
                session: app(),
                launch: Launch(1),
                source: Source::Hook,
                started: None,
                told: vec![told],
            });
        }

        fn wait(&mut self, seconds: i64) {
            self.now.wall += jiff::SignedDuration::from_secs(seconds);
            self.now.awake += u64::try_from(seconds).unwrap() * 1_000;
            self.give(Input::Tick);
        }

        fn give(&mut self, input: Input) {
            let mut inputs = vec![input];
            while let Some(input) = inputs.pop() {
                let (events, _) = decide::step(&mut self.state, &input, self.now).unwrap();
                for event in events {
                    if let Kind::EffectIntended(e) = &event.kind {
                        inputs.push(Input::Effect {
                            intent: event.seq,
                            result: Ok(outcome_of(&e.effect)),
                        });
                    }
                    self.events.insert(event.seq, event);
                }
            }
        }

        /// The explanation, as `ao why` gathers it: the roots, and what they rest on.
        fn why(&self, subject: &str) -> String {
            let about: About = subject.parse().unwrap();
            let mut wanted = roots(&self.state, &about).unwrap();
            let mut found = BTreeMap::new();
            while let Some(seq) = wanted.pop() {
                let event = self.events[&seq].clone();
                wanted.extend(event.because.iter().filter(|cause| !found.contains_key(*cause)));
                found.insert(seq, event);
            }
            let looked = found.len();
            let why =
                explain(&self.state, &about, &found, looked, self.now, &TimeZone::UTC).unwrap();
            let lines =
                why.lines.iter().filter(|line| line.at >= "2026-11-21T14:28:00Z".parse().unwrap());
            let lines = lines.map(|line| format!("{} | {}", line.text, line.by));
            lines.collect::<Vec<_>>().join("\n")
        }
    }

    fn ana() -> Actor {
        Actor { name: "ana".into(), via: "cli".into() }
    }

    fn app() -> SessionId {
        "app-1".parse().unwrap()
    }

    fn outcome_of(effect: &Effect) -> Outcome {
        match effect {
            Effect::CreateWorkspace { branch, path, .. } => Outcome::Workspace(WorkspaceInfo {
                path: path.into(),
                branch: branch.clone(),
                base_commit: "3f9c2d1".into(),
                branch_created: true,
                notes: vec![],
            }),
            Effect::PostCreate => Outcome::PostCreate {
                failed: None,
                last_line: Text::default(),
                lines: 0,
                commands: vec![],
            },
            Effect::CreateRuntime { launch, .. } => Outcome::Runtime {
                handle: RuntimeHandle {
                    session: app(),
                    launch: *launch,
                    id: "%1".into(),
                    server: None,
                    process: None,
                },
                native_id: None,
                transcript: None,
                signals: true,
                prompted: true,
                resumed: false,
                resumable: true,
                program: None,
            },
            Effect::SendNotification { .. } => {
                Outcome::Sent { handle: None, reached: Reached::Delivered }
            }
            _ => Outcome::Done,
        }
    }

    #[test]
    fn a_question_is_explained_by_what_was_asked_and_who_was_told() {
        let mut tape = Tape::new();
        tape.tell(Told::Asked {
            key: "k".into(),
            turn: Some("t1".into()),
            tool: "AskUserQuestion".into(),
            ask: Ask::Question { text: "Also shipping?".into(), options: vec![], many: false },
            full: None,
            answerable: true,
        });
        tape.wait(3);
        let story = tape.why("app-1");
        for line in [
            "told: desktop showed it: app-1 asks: Also shipping? | route urgent",
            "counts as: agent-needs-input (question), i-1 | request open",
            "question: \"Also shipping?\" | agent",
            "spawned by ana: Fix the coupon | ",
        ] {
            assert!(story.lines().any(|known| known == line), "no `{line}` in\n{story}");
        }
        // Newest first: who was told stands before what was asked.
        assert!(story.find("told: ").unwrap() < story.find("question: ").unwrap(), "{story}");
        assert_eq!(tape.why("i-1").lines().next(), tape.why("n-1").lines().next());
    }

    #[test]
    fn an_agent_that_ended_is_explained_by_its_exit_code() {
        let mut tape = Tape::new();
        let exited = RuntimeSeen {
            session: app(),
            launch: Launch(1),
            state: RuntimeState::Exited { code: Some(3) },
            process: None,
            tail: None,
            server_lost: false,
            output: None,
        };
        tape.give(Input::Runtime { seen: vec![exited] });
        tape.wait(3);
        let story = tape.why("app-1");
        assert!(story.contains("agent ended: exited with code 3 | runtime"), "{story}");
        assert!(story.contains("counts as: agent-exited, i-1 | runtime ended"), "{story}");
    }

    #[test]
    fn a_time_of_another_year_names_it() {
        let mut tape = Tape::new();
        tape.tell(Told::Failed { kind: AgentErrorKind::Reported, text: Text::short("no") });
        tape.wait(60);
        let (about, none) = ("i-1".parse().unwrap(), BTreeMap::new());
        for (later, began) in
            [(0, "since 14:"), (24, "since Sat 21 Nov 14:"), (1_440, "since 21 Nov 2026 14:")]
        {
            let now =
                Now { wall: tape.now.wall + jiff::SignedDuration::from_hours(later), ..tape.now };
            let why = explain(&tape.state, &about, &none, 0, now, &TimeZone::UTC).unwrap();
            assert!(why.headline.contains(began), "{}", why.headline);
        }
    }

    #[test]
    fn what_does_not_exist_has_no_reason() {
        let tape = Tape::new();
        for none in ["app-9", "i-9", "n-9"] {
            assert_eq!(roots(&tape.state, &none.parse().unwrap()), None);
        }
        assert!("../x".parse::<About>().is_err());
        assert_eq!("i-3".parse::<About>(), Ok(About::Incident(IncidentId(3))));
    }

    #[test]
    fn an_event_of_a_newer_version_is_named() {
        let line = br#"{"seq":7,"at":"2026-11-21T14:28:03Z","awake":1,"class":"obs","kind":"moon.risen","v":3,"data":{}}"#;
        let told = describe(&Event::decode(line).unwrap());
        assert_eq!(told.line(), "moon.risen: written by a newer version of ao");
    }
}
