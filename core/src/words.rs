//! What a human reads: titles, messages, summaries, rows. Pure functions of the state.
//!
//! An incident has one message, and a message is written anew for each revision: open, seen, being done,
//! settled or failed. What `decide` puts into events ([`title_of_all`], [`all_complete`]) holds no local time, so that
//! the same events say the same everywhere.

pub(crate) mod brief;
mod digest;
mod open;
mod phrase;
mod room;
mod settled;
mod several;
mod status;
mod storm;
mod summary;
pub(crate) mod template;

#[cfg(test)]
mod tests;

use ao_slots::{
    ChannelName, NotificationId, ProjectId, SessionId,
    agent::Ask,
    fact::Priority,
    notifier::{Block, Button, ChannelKind, Mark, Message, NotifierCapabilities, OPEN},
    text::short_commit,
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

pub(crate) use digest::digest;
pub(crate) use phrase::how;
pub use phrase::{capital, local_time};
pub(crate) use several::needs;
pub use status::Reason;
pub use summary::all_complete;

use crate::{
    blob::BlobRef,
    config::trigger::Trigger,
    decide::{called, reaction::is_held},
    event::{Actor, Failure, PrAct, Settled, Subject, Summary},
    state::{Asked, CONFIRM_MS, Incident, Moment, Notification, Now, Session, State, Want},
};

/// The title of an incident's message, without local time.
pub fn title(state: &State, incident: &Incident) -> String {
    title_of_all(state, std::slice::from_ref(incident))
}

/// The title of a message about these incidents, the most urgent first; without local time.
pub fn title_of_all(state: &State, incidents: &[Incident]) -> String {
    let now = Now { wall: state.last_at, awake: state.awake };
    let words =
        Words { state, now, zone: None, channel: None, text: &|_| None, seen: Seen::default() };
    let needs: Vec<&Incident> = needs(incidents).collect();
    match needs[..] {
        [] => String::new(),
        [one] => words.open(one).title,
        _ if one_cause(incidents) => words.storm_title(&needs, needs.len()),
        _ => words.several_title(&needs, needs.len()),
    }
}

/// What an incident is told as: what a human was told of it alone, whatever has become of it since.
pub fn known_as(state: &State, incident: &Incident) -> String {
    let told = incident.notification.and_then(|id| state.notifications.get(&id));
    match told {
        Some(told) if told.covers.len() == 1 => told.title.clone(),
        _ if incident.is_open() => title(state, incident),
        // Nobody was told, and what it was about is not what it was.
        _ => format!("{}: {}", incident.subject, incident.trigger),
    }
}

/// Whether all of these come of one cause.
pub(crate) fn one_cause(incidents: &[Incident]) -> bool {
    let cause = incidents.first().and_then(Incident::cause);
    incidents.len() > 1 && cause.is_some() && incidents.iter().all(|i| i.cause() == cause)
}

/// What was looked at for one message alone. What could not be seen is not spoken of.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The session's screen.
    pub screen: Option<String>,
    /// Per cent of one processor that the agent uses.
    pub cpu: Option<u64>,
    /// What uses the most space, with its bytes.
    pub disk: Vec<(String, u64)>,
}

/// Why a press on this message comes too late: its need is over, or the message that tells of it now does not
/// offer that button any more on `channel`. Without a zone no local time is said.
pub fn too_late(
    state: &State,
    notification: &Notification,
    now: Now,
    zone: Option<TimeZone>,
    channel: &ChannelName,
    button: &str,
) -> Option<String> {
    let can = state.channels.get(channel).and_then(|known| known.capabilities.as_ref());
    // What is pressed was offered with the whole text at hand; whether it still is does not hang on that.
    let text = |_: &BlobRef| Some("…".to_owned());
    Words { state, now, zone, channel: can, text: &text, seen: Seen::default() }.too_late(
        notification,
        channel,
        button,
    )
}

/// Why a press on an incident's card ([`Words::card`]) comes too late; none = it is offered now. Without a zone no local
/// time is said.
pub fn card_too_late(
    state: &State,
    incident: &Incident,
    now: Now,
    zone: Option<TimeZone>,
    button: &str,
) -> Option<String> {
    // As above: whether it is still offered does not hang on the text.
    let text = |_: &BlobRef| Some("…".to_owned());
    let words = Words { state, now, zone, channel: None, text: &text, seen: Seen::default() };
    // Two choices have a button, any can be chosen.
    let is = |offered: &Button| {
        offered.id == button || offered.id == "answer" && button.starts_with("answer:")
    };
    let offered = words.card(incident).buttons.iter().any(is);
    (!offered).then(|| words.why_late(incident, button))
}

/// The one incident that a message on a channel is about; none for a list, a summary, or what is forgotten.
pub(crate) fn sole(
    state: &State,
    notification: &Notification,
    channel: &ChannelName,
) -> Option<Incident> {
    let covered = notification.covers_on(channel).iter();
    let covered: Vec<Incident> =
        covered.filter_map(|id| state.incidents.get(id)).cloned().collect();
    match needs(&covered).collect::<Vec<_>>()[..] {
        [one] => Some(one.clone()),
        _ => None,
    }
}

/// Said of a button that was shown too long ago.
pub(crate) const EXPIRED: &str =
    "this button is too old; nothing was done. The message is fresh now: press again";

/// Who used a button before, said to whoever presses it again.
pub fn used(state: &State, by: &Actor, when: Moment, now: Now, zone: Option<TimeZone>) -> String {
    let words = Words { state, now, zone, channel: None, text: &|_| None, seen: Seen::default() };
    words.used(by, when.at)
}

/// What can be done with a session whatever it needs: for its own page.
pub fn acts_on(session: &Session) -> Vec<Button> {
    match (session.is_over(), session.intent == Want::Run, session.has_ended()) {
        // It is being ended.
        (false, false, _) => vec![],
        (true, ..) => vec![phrase::button("restore", "Restore")],
        (false, true, ended) => {
            let send = phrase::form(&session.id, "Message to", "Send it");
            let send = phrase::text_button("send", "Send a message…", send);
            let restore =
                if ended { phrase::restore_button() } else { phrase::restore_running_button() };
            let rest = [restore, phrase::done_button(session), phrase::kill_button(session)];
            let rest =
                rest.map(|button| Button { more: !ended || button.id != "restore", ..button });
            std::iter::once(send).filter(|_| !ended).chain(rest).collect()
        }
    }
}

/// Whether words in answer to a message are an answer to a question: it tells of one alone, and that is open.
pub(crate) fn asks(state: &State, notification: &Notification, channel: &ChannelName) -> bool {
    let sole = sole(state, notification, channel);
    let asked = sole.filter(Incident::is_open).and_then(|incident| {
        let session = state.sessions.get(&session_of(&incident)?)?;
        session.requests.get(&incident.request?).cloned()
    });
    asked.is_some_and(|request| matches!(request.ask, Ask::Question { .. }))
}

/// The message that tests a channel.
pub(crate) fn test(text: &str, priority: Priority, now: jiff::Timestamp) -> Message {
    Message {
        id: NotificationId(0),
        incident: None,
        revision: 1,
        kind: "test".into(),
        priority,
        mark: Mark::Settled,
        title: "ao reaches you here".into(),
        short: text.to_owned(),
        body: vec![Block::Text(text.to_owned())],
        details: vec![],
        buttons: vec![phrase::primary("test", "It works")],
        command: Some("ao notify log".into()),
        meta: vec![],
        session: None,
        project: None,
        link: None,
        since: now,
        quiet: false,
        emergency: false,
        mention: None,
        may_repeat: false,
    }
}

/// What is asked about words that answer no question.
pub(crate) fn send_or_not() -> [Button; 2] {
    [phrase::primary("send", "Send"), phrase::button("no", "No")]
}

/// The incidents that a press on this message acts on: the one that it is about, or those of one cause that still need
/// somebody. None for a list, a summary, or what is forgotten.
pub(crate) fn acted_on(
    state: &State,
    notification: &Notification,
    channel: &ChannelName,
) -> Vec<Incident> {
    let covered = notification.covers_on(channel).iter();
    let covered: Vec<Incident> =
        covered.filter_map(|id| state.incidents.get(id)).cloned().collect();
    if !one_cause(&covered) {
        return sole(state, notification, channel).into_iter().collect();
    }
    let (mut waiting, over): (Vec<_>, Vec<_>) = covered.into_iter().partition(|incident| {
        incident.resolved.is_none() && incident.notification == Some(notification.id)
    });
    // Pressed when all are settled: what became of the first says why nothing is done.
    if waiting.is_empty() {
        waiting.extend(over.into_iter().next());
    }
    waiting
}

/// Those of them that a restore is for: who is being restored already needs no other, unless all are.
pub(crate) fn to_restore(state: &State, sessions: &[SessionId]) -> Vec<SessionId> {
    let waits = |id: &&SessionId| state.sessions.get(*id).is_none_or(|s| s.restore.is_none());
    let waiting: Vec<SessionId> = sessions.iter().filter(waits).cloned().collect();
    if waiting.is_empty() { sessions.to_vec() } else { waiting }
}

/// Nine o'clock, today or tomorrow, as a reader in this zone has it.
pub(crate) fn morning(now: Timestamp, zone: &TimeZone) -> Timestamp {
    let local = now.to_zoned(zone.clone());
    let at = |date: jiff::civil::Date| date.at(9, 0, 0, 0).to_zoned(zone.clone()).ok();
    let today = at(local.date()).filter(|nine| nine.timestamp() > now);
    let nine = today.or_else(|| at(local.date().tomorrow().ok()?));
    nine.map_or_else(
        || now.saturating_add(SignedDuration::from_hours(24)).unwrap_or(now),
        |nine| nine.timestamp(),
    )
}

/// What is said where a press was refused.
pub fn refusal(failure: &Failure) -> String {
    let why = phrase::clean_line(&failure.message);
    let why = why.trim_end_matches('.');
    // A session's name stays as it is, and so does ours.
    let first = why.split([' ', ':']).next().unwrap_or_default();
    let plain = first != "ao" && first.chars().all(char::is_alphabetic);
    let why = if plain { phrase::capital(why) } else { why.to_owned() };
    match &failure.remedy {
        Some(remedy) => format!("{why}. Instead: {}", phrase::clean_line(remedy)),
        None => format!("{why}."),
    }
}

/// The message on the channel where a press was refused: its buttons are back, with the reason.
pub fn refused(mut message: Message, failure: &Failure) -> Message {
    // While what another press asked for is being done there is nothing to press.
    if !message.buttons.is_empty() {
        let words = refusal(failure);
        message.body.push(Block::Text(words.clone()));
        (message.mark, message.short) = (Mark::Failed, words);
    }
    message
}

/// What a session is at, in a row of `ao status`, and the command that helps.
pub fn one_line(state: &State, session: &Session, zone: &TimeZone) -> (String, String) {
    let now = Now { wall: state.last_at, awake: state.awake };
    let zone = Some(zone.clone());
    Words { state, now, zone, channel: None, text: &|_| None, seen: Seen::default() }
        .one_line(session)
}

/// Why a session's status is what it is: what `ao why` begins with.
pub fn status_reason(state: &State, session: &Session, now: Now, zone: &TimeZone) -> Reason {
    let zone = Some(zone.clone());
    Words { state, now, zone, channel: None, text: &|_| None, seen: Seen::default() }
        .reason(session)
}

/// A state, a moment and a zone to speak from.
pub struct Words<'a> {
    /// What is known.
    pub state: &'a State,
    /// When it is said.
    pub now: Now,
    /// The reader's zone; none = nothing that depends on one is said.
    pub zone: Option<TimeZone>,
    /// What it is said on; none = nothing is cut.
    pub channel: Option<&'a NotifierCapabilities>,
    /// Reads a long text.
    pub text: &'a dyn Fn(&BlobRef) -> Option<String>,
    /// What was looked at for this.
    pub seen: Seen,
}

impl std::fmt::Debug for Words<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Words")
            .field("now", &self.now)
            .field("zone", &self.zone)
            .finish_non_exhaustive()
    }
}

/// What of a message hangs on its subject.
#[derive(Debug, Default, PartialEq)]
struct Card {
    title: String,
    /// None = the first words of the body.
    short: String,
    body: Vec<Block>,
    buttons: Vec<Button>,
    command: Option<String>,
}

/// What has become of the need.
enum Stage {
    /// It waits for a human.
    Open,
    /// A human acted, the outcome is not known: replaces the buttons.
    Doing(String),
    /// A human acted, and it did not work.
    Failed(String),
    /// A human decided, and the agent says nothing of it.
    Doubted(String),
}

/// What a card tells of its needs.
enum Told {
    /// What has become of them.
    Settled,
    /// That they are told of elsewhere, or seem to be over.
    Passed,
    /// What they are, and what a human has done so far.
    Stage(Stage),
}

impl Words<'_> {
    /// One incident as a page shows it, whatever messages tell of it: nothing is cut, what is done rarely has room, and
    /// `Open` is left out, since the page leads to the session itself.
    pub fn card(&self, incident: &Incident) -> Message {
        let page = NotifierCapabilities {
            threads: true,
            ..NotifierCapabilities::plain(ChannelKind::Chat)
        };
        let words = Words {
            channel: Some(&page),
            zone: self.zone.clone(),
            seen: self.seen.clone(),
            ..*self
        };
        let (mark, card) = match incident.resolved {
            Some(_) => words.settled(incident),
            None => words.standing(incident, words.open(incident).title),
        };
        let Card { title, short, body, mut buttons, command } = card;
        // What only its terminal or its command can settle can be taken, and put off, all the same.
        let waits = matches!(words.stage(incident), Stage::Open) && incident.resolved.is_none();
        if waits || !buttons.is_empty() {
            words.more(&mut buttons, incident);
        }
        buttons.retain(|button| words.works(button));
        let short = if short.is_empty() {
            body.first().map(first_words).unwrap_or_default()
        } else {
            short
        };
        Message {
            id: incident.notification.unwrap_or(NotificationId(0)),
            incident: Some(incident.id),
            revision: 0,
            kind: incident.trigger.to_string(),
            priority: incident.priority,
            mark,
            title,
            short,
            body,
            details: if incident.resolved.is_none() { words.details(incident) } else { vec![] },
            buttons,
            command,
            meta: words.meta(
                incident.project.as_ref(),
                std::slice::from_ref(incident),
                Some(incident),
            ),
            session: session_of(incident),
            project: incident.project.clone(),
            link: words.page(incident),
            since: words.began(incident),
            quiet: false,
            emergency: false,
            mention: None,
            may_repeat: false,
        }
    }

    /// The message for a notification as it is to be seen now on a channel.
    pub fn message(&self, notification: &Notification, channel: &ChannelName) -> Message {
        let covered = notification.covers_on(channel).iter();
        let covered: Vec<Incident> =
            covered.filter_map(|id| self.state.incidents.get(id)).cloned().collect();
        let needs: Vec<&Incident> = needs(&covered).collect();
        // Once told, an absence is over and what it was is known no more.
        let beside = |i: &&Incident| {
            i.trigger == Trigger::ServerWasAway
                && i.resolved.is_none()
                && !needs.iter().any(|need| need.id == i.id)
        };
        let news = covered.iter().find(beside);
        let newer = notification.deliveries.get(channel).is_some_and(|d| d.superseded.is_some());
        let (incident, (mark, mut card)) = match needs[..] {
            [first, ..] if newer => (Some(first), (Mark::Settled, newer_card(notification))),
            [] => (None, (Mark::Finished, summary_card(notification))),
            [one] => (Some(one), self.single(one, notification)),
            [first, ..] if one_cause(&covered) => (Some(first), self.storm(&needs, notification)),
            [first, ..] => (Some(first), self.several(&needs, notification)),
        };
        if let Some(news) = news
            && !newer
            && needs.iter().any(|incident| incident.is_open())
        {
            self.add_absence(&mut card, news);
        }
        let told = self.told(&needs, &covered, notification, newer);
        if self.is_public() {
            match incident {
                Some(incident) => {
                    let shown = match (needs.len(), one_cause(&covered)) {
                        (..2, _) => room::Shown::One,
                        (_, true) => room::Shown::Storm,
                        (_, false) => room::Shown::List,
                    };
                    self.hide(&mut card, incident, shown, &told);
                }
                None => room::hide_summary(&mut card, notification),
            }
        }
        let Card { title, short, body, mut buttons, command } = card;
        if let [one] = needs[..]
            && !buttons.is_empty()
        {
            self.more(&mut buttons, one);
        }
        buttons.retain(|button| self.works(button));
        let short = if short.is_empty() {
            body.first().map(first_words).unwrap_or_default()
        } else {
            short
        };
        let session = incident.filter(|_| needs.len() == 1).and_then(session_of);
        let priority = covered.iter().map(|incident| incident.priority).max();
        let mut message = Message {
            id: notification.id,
            incident: incident.map(|incident| incident.id).or(notification.incident),
            revision: notification.revision,
            kind: match (incident, &notification.summary) {
                (Some(incident), _) => incident.trigger.to_string(),
                (None, Some(summary)) => summary.kind.clone(),
                (None, None) => Trigger::AllComplete.to_string(),
            },
            priority: priority.unwrap_or(notification.priority),
            mark,
            title,
            short,
            body,
            buttons,
            command,
            meta: self.meta(notification.project.as_ref(), &covered, incident),
            session,
            project: notification.project.clone(),
            link: self.leads(&needs),
            since: incident.map_or(notification.opened.at, |incident| incident.opened.at),
            details: match needs[..] {
                [one] if one.resolved.is_none() => self.details(one),
                _ => vec![],
            },
            quiet: priority.unwrap_or(notification.priority) == Priority::Info,
            emergency: notification.call.emergency,
            // By name only where it cannot wait.
            mention: called(self.state, notification, channel)
                .filter(|_| priority == Some(Priority::Urgent))
                .map(str::to_owned),
            may_repeat: false,
        };
        // What has become of a need is told in ao's own words.
        if matches!(told, Told::Stage(Stage::Open)) {
            let kind = self.channel.map(|channel| channel.kind);
            template::apply(
                &mut message,
                &self.state.policy.push.templates,
                channel,
                kind,
                |message| {
                    let session =
                        message.session.as_ref().and_then(|id| self.state.sessions.get(id));
                    let issue = session.and_then(|session| session.issue.as_deref());
                    let issue = issue.map(phrase::clean_line).unwrap_or_default();
                    let agent = session.map_or("", |session| &session.agent);
                    template::Fields::of(message, &issue, agent, self.time(message.since))
                },
            );
        }
        message
    }

    fn told(
        &self,
        needs: &[&Incident],
        covered: &[Incident],
        notification: &Notification,
        newer: bool,
    ) -> Told {
        let mine = |i: &&Incident| {
            i.resolved.is_none() && i.messages().any(|shown| shown == notification.id)
        };
        match needs {
            [_, ..] if newer => Told::Passed,
            [one] if !notification.settled && one.is_open() => Told::Stage(self.stage(one)),
            [one] if !notification.settled || one.is_open() => Told::Passed,
            _ if notification.settled => Told::Settled,
            [] => Told::Stage(Stage::Open),
            many => match many.iter().copied().filter(mine).collect::<Vec<_>>()[..] {
                [] => Told::Settled,
                ref open if one_cause(covered) => Told::Stage(self.storm_stage(open, many.len())),
                _ => Told::Stage(Stage::Open),
            },
        }
    }

    /// Where a message leads: to our own page of what it tells of, where that has an address, else to the pull request.
    fn leads(&self, needs: &[&Incident]) -> Option<String> {
        match (self.state.policy.public_url.as_deref(), needs) {
            // The number says nothing: it may stand where others read it.
            (Some(base), [one]) => Some(format!("{base}/i/{}", one.id.0)),
            (Some(base), [_, _, ..]) => Some(format!("{base}/")),
            (None, [one]) if !self.is_public() => self.page(one),
            _ => None,
        }
    }

    /// Where the pull request can be seen, for what is about one.
    fn page(&self, incident: &Incident) -> Option<String> {
        let session = session_of(incident).filter(|_| incident.trigger.is_of_a_pr())?;
        open::page(self.state.sessions.get(&session)?.pr()?)
    }

    /// Whether pressing it on this channel can lead to what it says. A terminal opens at the machine alone.
    fn works(&self, button: &Button) -> bool {
        let away =
            |kind| matches!(kind, ChannelKind::Chat | ChannelKind::Phone | ChannelKind::Mail);
        button.id != OPEN || !self.channel.is_some_and(|channel| away(channel.kind))
    }

    /// What a message says that is about one incident alone.
    fn single(&self, incident: &Incident, notification: &Notification) -> (Mark, Card) {
        let title =
            || match notification.incident == Some(incident.id) && notification.parts.is_empty() {
                true => notification.title.clone(),
                false => self.open(incident).title,
            };
        match incident {
            _ if notification.settled => self.settled(incident),
            // Told, and nothing more to say.
            _ if incident.resolved.is_some() => {
                (self.mark(incident), Card { title: title(), ..Card::default() })
            }
            _ => self.standing(incident, title()),
        }
    }

    /// What is said of an incident that is not over.
    fn standing(&self, incident: &Incident, title: String) -> (Mark, Card) {
        if incident.cleared.is_none() {
            return self.present(incident, title);
        }
        // What it spoke of may be gone already. It may come back: until that is sure a human can act.
        let Card { buttons, command, .. } = self.present(incident, title.clone()).1;
        let body = vec![Block::Text("It seems to be over.".into())];
        (self.mark(incident), Card { title, body, buttons, command, ..Card::default() })
    }

    /// An open incident's message with what a human has done about it so far.
    fn present(&self, incident: &Incident, title: String) -> (Mark, Card) {
        let card = self.open(incident);
        let mark = self.mark(incident);
        match self.stage(incident) {
            Stage::Open => (mark, card),
            Stage::Doing(words) => {
                // A request stands there until it has ended; what is repaired is not what it was.
                let mut body = if incident.request.is_some() { card.body } else { vec![] };
                let short = words.clone();
                body.push(Block::Text(words));
                (mark, Card { title, short, body, ..Card::default() })
            }
            Stage::Failed(words) => {
                let mut body = card.body;
                body.push(Block::Text(words.clone()));
                (Mark::Failed, Card { short: words, body, ..card })
            }
            Stage::Doubted(words) => {
                let mut body = card.body;
                body.push(Block::Text(words.clone()));
                let buttons = vec![phrase::button("again", "Send again"), phrase::open_button()];
                let command = session_of(incident).map(|id| format!("ao session attach {id}"));
                (Mark::Failed, Card { short: words, body, buttons, command, ..card })
            }
        }
    }

    fn mark(&self, incident: &Incident) -> Mark {
        match incident.priority {
            Priority::Urgent => Mark::Need,
            Priority::Action => Mark::Decide,
            Priority::Warning => Mark::Slow,
            Priority::Info => Mark::Finished,
        }
    }

    fn stage(&self, incident: &Incident) -> Stage {
        let Some(session) = session_of(incident).and_then(|id| self.state.sessions.get(&id)) else {
            return self.stage_of_a_loss(incident);
        };
        if let Want::Kill(by) | Want::Done(by) = &session.intent {
            let verb = if matches!(session.intent, Want::Kill(_)) { "Killing" } else { "Ending" };
            return Stage::Doing(format!("{verb} {}… asked by {by}.", session.id));
        }
        if let Some(restore) = session.restore.as_ref()
            && let Some(by) = &restore.by
        {
            return Stage::Doing(format!(
                "Restoring… asked by {by}{}.",
                self.at_seconds(restore.since.at)
            ));
        }
        if let (Trigger::AgentExited, Some(failure)) = (incident.trigger, session.failed_restore())
        {
            let why = phrase::sentence(&failure.message);
            return Stage::Failed(format!("Restoring it failed: {why}."));
        }
        if let Some(merge) = session.follow.merge.as_ref().filter(|merge| {
            incident.trigger == Trigger::ApprovedAndGreen
                && incident.detail.as_deref() == Some(&merge.head)
        }) {
            let by = merge.by.as_ref().map(|by| format!(" asked by {by}")).unwrap_or_default();
            return match &merge.failure {
                Some(failure) => {
                    Stage::Failed(format!("Not merged: {}.", phrase::sentence(&failure.message)))
                }
                None => Stage::Doing(format!("Merging…{by}{}.", self.at_seconds(merge.when.at))),
            };
        }
        if let Some(asked) = session.follow.asked.as_ref().filter(|it| asked_of(it, incident)) {
            let (doing, not) = match &asked.act {
                PrAct::Open => ("Opening a PR", "No PR was opened"),
                PrAct::Reopen => ("Reopening it", "It was not reopened"),
                PrAct::Rerun { .. } => ("Running the checks again", "They were not run again"),
            };
            return match &asked.failure {
                Some(failure) => {
                    Stage::Failed(format!("{not}: {}.", phrase::sentence(&failure.message)))
                }
                None => {
                    let at = self.at_seconds(asked.when.at);
                    Stage::Doing(format!("{doing}… asked by {}{at}.", asked.by))
                }
            };
        }
        if let Some((by, when)) = &incident.again {
            let at = self.at_seconds(when.at);
            return Stage::Doing(format!(
                "Sent to {} once more, asked by {by}{at}. You hear of it if that does not help.",
                session.id
            ));
        }
        let decided = incident.request.and_then(|id| session.requests.get(&id)?.decided.as_ref());
        match decided {
            Some(decided) => match &decided.handed {
                None => {
                    let verb = match decided.decision {
                        ao_slots::agent::Decision::Approve => "Approving",
                        ao_slots::agent::Decision::Deny { .. } => "Denying",
                        ao_slots::agent::Decision::Answer { .. } => "Answering",
                    };
                    Stage::Doing(format!(
                        "{verb}… asked by {}{}.",
                        decided.by,
                        self.at_seconds(decided.when.at)
                    ))
                }
                Some(Ok(handed)) if self.now.awake >= handed.awake + CONFIRM_MS => {
                    let what = match decided.decision {
                        ao_slots::agent::Decision::Approve => "approval",
                        ao_slots::agent::Decision::Deny { .. } => "denial",
                        ao_slots::agent::Decision::Answer { .. } => "answer",
                    };
                    Stage::Doubted(format!("The {what} is sent but not confirmed for 60 s."))
                }
                Some(Ok(_)) => Stage::Doing(format!(
                    "Decided by {}{}; the agent has not confirmed it yet.",
                    decided.by,
                    self.at(decided.when.at)
                )),
                Some(Err(failure)) => Stage::Failed(format!(
                    "It could not be handed over: {}.",
                    phrase::sentence(&failure.message)
                )),
            },
            None => Stage::Open,
        }
    }

    /// Who asked for the restore that each of these is in; none where one of them is in none.
    fn all_restored_by(&self, sessions: &[SessionId]) -> Option<Actor> {
        let restore = |id| self.state.sessions.get(id)?.restore.as_ref();
        let restores: Option<Vec<_>> = sessions.iter().map(restore).collect();
        restores?.iter().find_map(|restore| restore.by.clone())
    }

    /// Many sessions, one cause: how far a human's restore has come.
    fn stage_of_a_loss(&self, incident: &Incident) -> Stage {
        match self.all_restored_by(&incident.sessions) {
            Some(by) if incident.trigger == Trigger::RuntimeLost => {
                let all = self.lost_in(incident).len();
                let back = all - incident.sessions.len().min(all);
                Stage::Doing(format!("Restoring: {back} of {all}, asked by {by}."))
            }
            _ => Stage::Open,
        }
    }

    fn used(&self, by: &Actor, when: jiff::Timestamp) -> String {
        format!("this button was already used, by {by}{}. Nothing was done twice", self.at(when))
    }

    fn too_late(
        &self,
        notification: &Notification,
        channel: &ChannelName,
        button: &str,
    ) -> Option<String> {
        let parts = acted_on(self.state, notification, channel);
        let Some(incident) = parts.first() else {
            return Some("nothing was done: this message is about no one need alone".into());
        };
        // A newer message may tell of the same need.
        let present = match incident.messages().any(|id| id == notification.id) {
            true => None,
            false => incident.notification.and_then(|id| self.state.notifications.get(&id)),
        };
        let message = self.message(present.unwrap_or(notification), channel);
        let offered = message.buttons.iter().any(|offered| offered.id == button);
        (!offered).then(|| self.why_late(incident, button))
    }

    /// Why what an incident's message offered once is offered no more.
    fn why_late(&self, incident: &Incident, button: &str) -> String {
        let session = session_of(incident).and_then(|id| self.state.sessions.get(&id));
        let request = incident.request.and_then(|id| session?.requests.get(&id));
        if let Some(decided) = request.and_then(|request| request.decided.as_ref()) {
            return self.used(&decided.by, decided.when.at);
        }
        if let Some((_, when)) = &incident.resolved {
            let (title, at) = (self.settled(incident).1.title, self.time(when.at));
            let word = if title.ends_with("again") { "since" } else { "at" };
            let at = if title.contains(&at) { String::new() } else { self.with(word, at) };
            return format!("{title}{at}; nothing was done");
        }
        if let Some(moved) = session.and_then(|session| moved(session, incident, button)) {
            return moved;
        }
        match self.stage(incident) {
            Stage::Doing(words) => format!("{words} Nothing was done"),
            Stage::Open | Stage::Failed(_) | Stage::Doubted(_) => {
                format!("{}: this is no longer offered; nothing was done", incident.subject)
            }
        }
    }

    /// The small last line: where it belongs, who has seen it, the ids of all it is about.
    fn meta(
        &self,
        project: Option<&ProjectId>,
        covered: &[Incident],
        incident: Option<&Incident>,
    ) -> Vec<String> {
        let mut meta: Vec<String> = project.iter().map(ToString::to_string).collect();
        let Some(incident) = incident else { return meta };
        let ids = phrase::runs(covered.iter().map(|incident| ("i", incident.id.0)));
        if needs(covered).count() > 1 {
            meta.push(ids);
            return meta;
        }
        if let Some(session) = session_of(incident).and_then(|id| self.state.sessions.get(&id)) {
            meta.push(session.id.to_string());
            meta.extend(
                session.issue.as_ref().map(|issue| format!("#{}", phrase::clean_line(issue))),
            );
            meta.push(session.agent.clone());
        }
        if incident.resolved.is_none()
            && let Some((by, when)) = &incident.acknowledged
        {
            meta.push(format!("seen by {by}{}", self.at(when.at)));
        }
        meta.push(ids);
        if let Some((Settled::By(_), when)) = &incident.resolved {
            let seconds =
                u64::try_from(when.at.duration_since(incident.opened.at).as_secs()).unwrap_or(0);
            meta.push(format!("took you {}", ao_slots::text::duration(seconds)));
        }
        meta
    }
}

/// What was asked for is the answer to this incident.
fn asked_of(asked: &Asked, incident: &Incident) -> bool {
    match &asked.act {
        PrAct::Open => {
            matches!(incident.trigger, Trigger::AgentFinished | Trigger::AgentIdle)
        }
        PrAct::Reopen => incident.trigger == Trigger::PrClosed,
        PrAct::Rerun { .. } => incident.trigger == Trigger::CiFailed,
    }
}

/// What an agent is told that is to open a pull request.
pub(crate) const ASK_FOR_PR: &str = "Open a pull request for your work: commit what belongs to it, push the branch \
                                     where there is a remote, then run `ao pr create`.";

/// What a button was bound to is not what is shown now.
fn moved(session: &Session, incident: &Incident, button: &str) -> Option<String> {
    let (verb, bound) = button.split_once(':')?;
    let pr = session.pr()?;
    match verb {
        "merge" if pr.head != bound => {
            let (number, head) = (pr.number, short_commit(&pr.head));
            Some(format!(
                "PR {number} changed after this message (head is now {head}). Nothing was merged"
            ))
        }
        "release" if is_held(session, incident.trigger) => {
            let brief = session.follow.briefs.get(&incident.trigger)?;
            Some(match brief.digest == bound {
                true => format!(
                    "not all of it is shown here any more; nothing was passed on. Read it: ao release {}",
                    incident.id
                ),
                false => {
                    "more was written since this message; nothing was passed on. Read it again"
                        .into()
                }
            })
        }
        _ => None,
    }
}

/// A message that is about no incident that is still known.
fn summary_card(notification: &Notification) -> Card {
    let Summary { short, lines, parts, .. } = notification.summary.clone().unwrap_or_else(|| {
        Summary { kind: String::new(), short: String::new(), lines: vec![], parts: vec![] }
    });
    let parts =
        parts.into_iter().flat_map(|part| [Block::Text(part.title), Block::List(part.lines)]);
    let lines = (!lines.is_empty()).then_some(Block::List(lines));
    let body = parts.chain(lines).collect();
    Card {
        title: notification.title.clone(),
        short,
        body,
        buttons: vec![],
        command: Some("ao status".into()),
    }
}

/// A message whose place a newer one has taken on its channel.
fn newer_card(notification: &Notification) -> Card {
    let body = vec![Block::Text("A newer message tells of it.".into())];
    Card { title: notification.title.clone(), body, ..Card::default() }
}

fn session_of(incident: &Incident) -> Option<SessionId> {
    match &incident.subject {
        Subject::Session(id) => Some(id.clone()),
        Subject::Project(_) | Subject::Runtime(_) | Subject::Channel(_) | Subject::Server => None,
    }
}

fn first_words(block: &Block) -> String {
    let text = match block {
        Block::Quote(text) | Block::Code(text) | Block::Text(text) => text.as_str(),
        Block::List(lines) => lines.first().map_or("", String::as_str),
    };
    text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().to_owned()
}
