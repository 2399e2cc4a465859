//! Messages to humans, and channels.

use std::collections::BTreeMap;

use ao_core::{
    config::policy::{DigestEvery, PluginChoice},
    event::{Held, Settled},
    slots::{
        ChannelName, IncidentId, NotificationId, PluginError, ProjectId,
        fact::Priority,
        notifier::{ChannelKind, Mark, NotifierCapabilities, Reached},
    },
    state::{Delivery, Hold, Moment, Notification, Progress, Silence, State, Zone},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{incident::how_words, millis};

/// A message to a human.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NotificationView {
    /// Its id.
    pub id: NotificationId,
    /// The incident; none for a summary.
    pub incident: Option<IncidentId>,
    /// The mark before its title.
    pub mark: Mark,
    /// The title.
    pub title: String,
    /// How urgent.
    pub priority: Priority,
    /// Its project.
    pub project: Option<ProjectId>,
    /// When it was opened.
    pub opened: Timestamp,
    /// When what it tells of ended; none while it is open.
    pub settled: Option<Timestamp>,
    /// How it ended, in words: `by ana`, `by itself`.
    pub how: Option<String>,
    /// Who took it, of several the last who did; none = nobody yet.
    #[serde(default)]
    pub acknowledged: Option<AckView>,
    /// Each channel's part.
    pub deliveries: Vec<DeliveryView>,
}

/// Who took a need, where and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AckView {
    /// Who.
    pub by: String,
    /// By which channel, or `cli`.
    pub via: String,
    /// When.
    pub at: Timestamp,
}

/// One channel's part of a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryView {
    /// The channel.
    pub channel: ChannelName,
    /// How far it is.
    pub progress: Progress,
    /// How far it is known to have come.
    pub reached: Option<Reached>,
    /// From the message's opening until the provider took it.
    pub took_ms: Option<u64>,
    /// Failed tries.
    pub tries: u32,
    /// The last error.
    pub error: Option<String>,
    /// What keeps it back, or kept it from going out for good; none = nothing does.
    #[serde(default)]
    pub held: Option<HoldView>,
}

/// What keeps a message from a channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HoldView {
    /// What.
    pub why: Held,
    /// Until when; none = until that is over, or for good.
    pub until: Option<Timestamp>,
}

/// A list of messages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NotificationList {
    /// `ao.notifications/1`.
    pub schema: String,
    /// Newest first.
    pub notifications: Vec<NotificationView>,
}

/// One channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelView {
    /// Its name.
    pub name: ChannelName,
    /// Its plugin.
    pub plugin: String,
    /// What kind it is; none when its plugin was never built.
    pub kind: Option<ChannelKind>,
    /// Since when it takes messages, or fails; none = it was never tried.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// The last error, while it fails.
    pub error: Option<String>,
    /// The remedy.
    pub remedy: Option<String>,
    /// Nothing goes out before this.
    pub not_before: Option<Timestamp>,
    /// Messages that have something to do.
    pub waiting: u32,
    /// What it can do; none when its plugin was never built.
    #[serde(default)]
    pub capabilities: Option<NotifierCapabilities>,
    /// The people it belongs to; none named = the single user.
    #[serde(default)]
    pub people: Vec<String>,
    /// How often it carries a digest.
    #[serde(default)]
    pub digest: DigestEvery,
}

/// A list of channels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelList {
    /// `ao.channels/1`.
    pub schema: String,
    /// By name.
    pub channels: Vec<ChannelView>,
}

/// What a test message came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TestDoc {
    /// `ao.test/1`.
    pub schema: String,
    /// The channel.
    pub channel: ChannelName,
    /// How far it came.
    pub reached: Reached,
    /// How long that took.
    pub took_ms: u64,
    /// By what its button is known, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// Whether the button of a test was pressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PressDoc {
    /// `ao.press/1`.
    pub schema: String,
    /// By whom; none = not yet.
    pub by: Option<String>,
}

/// Builds a message's document.
pub fn notification(state: &State, notification: &Notification) -> NotificationView {
    let covered = notification.covers.iter().filter_map(|id| state.incidents.get(id));
    let ends: Vec<Option<&(Settled, Moment)>> = covered.map(|i| i.resolved.as_ref()).collect();
    let open = ends.iter().any(Option::is_none);
    // Of several the last.
    let ended = ends.iter().flatten().filter(|_| !open).max_by_key(|(_, when)| when.seq);
    let delivery = |(channel, delivery): (&ChannelName, &Delivery)| DeliveryView {
        channel: channel.clone(),
        progress: delivery.progress,
        reached: delivery.reached,
        took_ms: delivery.sent.map(|sent| millis(sent.at, notification.opened.at)),
        tries: delivery.tries,
        error: delivery.error.as_ref().map(|error| error.message.clone()),
        held: hold(state, notification, delivery),
    };
    let taken = notification.covers.iter().filter_map(|id| {
        state.incidents.get(id).and_then(|incident| incident.acknowledged.as_ref())
    });
    let taken = taken.max_by_key(|(_, when)| when.seq);
    NotificationView {
        id: notification.id,
        incident: notification.incident,
        mark: match (open, ended) {
            (true, _) => ao_core::why::mark_of(Zone::from(notification.priority)),
            (false, Some(_)) => Mark::Settled,
            (false, None) => Mark::Finished,
        },
        title: notification.title.clone(),
        priority: notification.priority,
        project: notification.project.clone(),
        opened: notification.opened.at,
        settled: ended.map(|(_, when)| when.at),
        how: ended.map(|(how, _)| how_words(how)),
        acknowledged: taken.map(|(by, when)| AckView {
            by: by.name.clone(),
            via: by.via.clone(),
            at: when.at,
        }),
        deliveries: notification.deliveries.iter().map(delivery).collect(),
    }
}

/// What keeps a message from a channel that it has not gone out on.
fn hold(state: &State, notification: &Notification, delivery: &Delivery) -> Option<HoldView> {
    if delivery.progress == Progress::Sent {
        return None;
    }
    let holds = |hold: &&Hold| hold.until.is_none_or(|until| until > state.last_at);
    if let Some(hold) = delivery.held.as_ref().filter(holds).filter(|_| delivery.error.is_none()) {
        return Some(HoldView { why: hold.why.clone(), until: hold.until });
    }
    let waits = delivery.progress != Progress::Dropped && delivery.superseded.is_none();
    let open = notification.covers.iter().filter_map(|id| state.incidents.get(id));
    let mut open = open.filter(|incident| waits && incident.resolved.is_none());
    open.find_map(|incident| {
        let about = |silence: &&Silence| {
            silence.is_active(state.last_at) && silence.matchers.match_incident(incident)
        };
        let silence = state.silences.values().filter(about).max_by_key(|silence| silence.until)?;
        let why = Held::Silence { silence: silence.id };
        Some(HoldView { why, until: Some(silence.until) })
    })
}

/// Builds the list of channels.
///
/// A channel that could not send is told of with its own error, else with what a look found (`unable`).
pub fn channels(state: &State, unable: &BTreeMap<ChannelName, PluginError>) -> ChannelList {
    let people = &state.policy.people;
    let view = |(name, choice): (&ChannelName, &PluginChoice)| {
        let known = state.channels.get(name);
        let failing =
            known.filter(|channel| channel.failures > 0).and_then(|channel| channel.error.as_ref());
        let looked = unable.get(name).filter(|_| failing.is_none());
        ChannelView {
            name: name.clone(),
            plugin: choice.plugin.clone(),
            kind: known.and_then(|channel| channel.capabilities.as_ref()).map(|can| can.kind),
            // What a look found says nothing of when it began.
            since: known
                .filter(|_| looked.is_none())
                .and_then(|channel| channel.since)
                .map(|since| since.at),
            error: failing
                .map(|error| error.message.clone())
                .or_else(|| looked.map(ToString::to_string)),
            remedy: failing
                .map_or_else(|| looked.and_then(|e| e.remedy.clone()), |e| e.remedy.clone()),
            not_before: known.and_then(|channel| channel.not_before),
            waiting: known
                .map_or(0, |channel| u32::try_from(channel.waiting.len()).unwrap_or(u32::MAX)),
            capabilities: known.and_then(|channel| channel.capabilities.clone()),
            people: people
                .iter()
                .filter(|(_, person)| person.channels.is_empty() || person.channels.contains(name))
                .map(|(person, _)| person.clone())
                .collect(),
            digest: state.policy.push.digest_of(name),
        }
    };
    ChannelList {
        schema: "ao.channels/1".into(),
        channels: state.policy.channels.iter().map(view).collect(),
    }
}
