//! Channels that live in memory: what each can do, whose devices it buzzes, and how it is today.

use std::collections::{BTreeMap, BTreeSet};

use ao_core::{
    config::{
        policy::{PluginChoice, Policy},
        trigger::Trigger,
    },
    event::{Effect, Failure, Outcome},
    words::{Seen, Words},
};
use ao_slots::{
    ChannelName, ErrorKind, NotificationId, Seq,
    notifier::{ChannelHandle, ChannelKind, NotifierCapabilities, Reached},
};
use jiff::{SignedDuration, Timestamp};

use super::{judge::Show, sim::Sim};

/// How a channel's provider is today.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Takes everything.
    Well,
    /// Cannot be reached.
    Down,
    /// Takes everything, so many milliseconds later.
    Slow(u64),
    /// Takes nothing, and asks to be left alone for so many milliseconds.
    Busy(u64),
    /// Takes the message and never says so.
    Mute,
    /// Will never take anything: its token was withdrawn.
    Locked,
}

/// One configured channel.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) can: NotifierCapabilities,
    /// Who reads it, and what buzzes then.
    pub(crate) buzzes: Vec<(&'static str, &'static str)>,
    pub(crate) mood: Mood,
    /// When its provider was asked last to be left alone, until when.
    rests_until: Option<Timestamp>,
    /// What is on its screens.
    pub(crate) cards: BTreeMap<NotificationId, Card>,
}

/// One message as it is shown.
#[derive(Debug, Clone)]
pub(crate) struct Card {
    /// It has buttons.
    pub(crate) live: bool,
}

#[derive(Debug)]
pub(crate) struct Channels(BTreeMap<ChannelName, Channel>);

pub(crate) fn named(name: &str) -> ChannelName {
    name.parse().unwrap()
}

/// What stands in a configuration with these channels: all defaults, pull requests on a forge.
pub(crate) fn policy() -> Policy {
    let mut policy = Policy::with_projects(&["my-app"]);
    for project in policy.projects.values_mut() {
        project.scm = Some(PluginChoice::of("github"));
        // The checks of these pull requests stand still unless a scenario moves them, however long it takes. That they do
        // not end is among the tables of reviews.
        if let Some(checks) = project.rules.reactions.get_mut(&Trigger::CiFailed) {
            checks.threshold_ms = None;
        }
    }
    carried_by(&mut policy, &["desktop", "slack", "phone"]);
    policy
}

/// Everything may go to these, the first being `defaults.notifiers`.
pub(crate) fn carried_by(policy: &mut Policy, names: &[&str]) {
    policy.channels = names.iter().map(|name| (named(name), PluginChoice::of(name))).collect();
    for rules in policy.projects.values_mut().map(|p| &mut p.rules).chain([&mut policy.rules]) {
        rules.channels = names.iter().map(|name| named(name)).collect();
        rules.fallback = vec![named(names[0])];
    }
}

fn can(kind: ChannelKind) -> NotifierCapabilities {
    let chat = kind == ChannelKind::Chat;
    let phone = kind == ChannelKind::Phone;
    NotifierCapabilities {
        buttons: true,
        replies: chat,
        edits: true,
        idempotent: phone,
        finds: chat,
        volatile: kind == ChannelKind::Desktop,
        title_limit: 60,
        body_limit: 400,
        ..NotifierCapabilities::plain(kind)
    }
}

impl Channels {
    /// Ana's desktop, her team's chat and her phone.
    pub(crate) fn new() -> Self {
        let mut channels = Self(BTreeMap::new());
        channels.add("desktop", ChannelKind::Desktop, &[("ana", "laptop")]);
        channels.add("slack", ChannelKind::Chat, &[("ana", "laptop")]);
        channels.add("phone", ChannelKind::Phone, &[("ana", "phone")]);
        channels
    }

    pub(crate) fn add(
        &mut self,
        name: &str,
        kind: ChannelKind,
        buzzes: &[(&'static str, &'static str)],
    ) {
        let channel = Channel {
            can: can(kind),
            buzzes: buzzes.to_vec(),
            mood: Mood::Well,
            rests_until: None,
            cards: BTreeMap::new(),
        };
        self.0.insert(named(name), channel);
    }

    pub(crate) fn get(&self, name: &ChannelName) -> &Channel {
        &self.0[name]
    }

    pub(crate) fn is(&mut self, name: &str, mood: Mood) {
        self.0.get_mut(&named(name)).unwrap().mood = mood;
    }

    /// None of them has asked to be left alone.
    pub(crate) fn forget_rests(&mut self) {
        self.0.values_mut().for_each(|channel| channel.rests_until = None);
    }

    /// Whether all of them take what they are given.
    pub(crate) fn are_well(&self) -> bool {
        self.0.values().all(|channel| channel.mood == Mood::Well)
    }

    pub(crate) fn capabilities(&self) -> BTreeMap<ChannelName, NotifierCapabilities> {
        self.0.iter().map(|(name, channel)| (name.clone(), channel.can.clone())).collect()
    }
}

fn transient(message: &str, retry_after_ms: Option<u64>) -> Failure {
    let kind = ErrorKind::Transient;
    Failure { kind, retry_after_ms, ..Failure::permanent(message) }
}

fn parts(effect: &Effect) -> Option<(NotificationId, &ChannelName)> {
    match effect {
        Effect::SendNotification { notification, channel, .. }
        | Effect::UpdateNotification { notification, channel, .. }
        | Effect::ResolveNotification { notification, channel, .. } => {
            Some((*notification, channel))
        }
        _ => None,
    }
}

impl Sim {
    /// Makes the request that an effect on a channel is.
    pub(crate) fn deliver(&mut self, intent: Seq, effect: Effect) {
        let Some((_, name)) = parts(&effect) else {
            return self.outcome(intent, Ok(Outcome::Done));
        };
        let (name, wall, decided) = (name.clone(), self.now.wall, self.now.awake);
        let channel = self.channels.0.get_mut(&name).unwrap();
        if channel.rests_until.is_some_and(|until| wall < until) {
            self.judge.hasty += 1;
        }
        let usual = match channel.can.kind {
            ChannelKind::Desktop => 5..40,
            ChannelKind::Chat => 120..900,
            ChannelKind::Phone => 100..700,
            ChannelKind::Webhook => 20..300,
            ChannelKind::Mail => 300..2_000,
        };
        let mood = channel.mood;
        if let Mood::Busy(asked) = mood {
            channel.rests_until =
                Some(wall + SignedDuration::from_millis(i64::try_from(asked).unwrap()));
        }
        let took = self.some(usual);
        let boot = Some(self.boots);
        match mood {
            Mood::Well => self.after(took, move |sim| sim.takes(intent, &effect, decided, boot)),
            Mood::Slow(by) => {
                self.after(took + by, move |sim| sim.takes(intent, &effect, decided, boot));
            }
            Mood::Mute => {
                self.after(took, move |sim| sim.takes(intent, &effect, decided, None));
                self.meanwhile(6_000, move |sim| {
                    let failure =
                        Failure { kind: ErrorKind::InDoubt, ..Failure::permanent("no answer") };
                    sim.outcome(intent, Err(failure));
                    sim.after(100, move |sim| sim.look_again(intent));
                });
            }
            Mood::Down => self.fails_with(intent, took, transient("it cannot be reached", None)),
            Mood::Busy(asked) => {
                self.fails_with(intent, took, transient("too many requests", Some(asked)));
            }
            Mood::Locked => self.fails_with(intent, took, Failure::permanent("invalid_auth")),
        }
    }

    fn fails_with(&mut self, intent: Seq, took: u64, failure: Failure) {
        self.meanwhile(took, move |sim| sim.outcome(intent, Err(failure)));
    }

    /// The provider has it: people see it now, whether the server hears of that or not. It says so to the one that asked.
    fn takes(&mut self, intent: Seq, effect: &Effect, decided: u64, says_so_to: Option<u64>) {
        let Some((id, name)) = parts(effect) else { return };
        let Some(notification) = self.state.notifications.get(&id) else { return };
        let channel = &self.channels.0[name];
        let words = Words {
            state: &self.state,
            now: self.now,
            zone: None,
            channel: Some(&channel.can),
            text: &|_| None,
            seen: Seen::default(),
        };
        let message = words.message(notification, name);
        let sends = matches!(effect, Effect::SendNotification { .. });
        // Where the receiver knows the key, a repetition is shown once.
        let known = channel.cards.contains_key(&id) && channel.can.idempotent;
        let covers: Vec<_> = notification
            .covers_on(name)
            .iter()
            .filter_map(|id| self.state.incidents.get(id).cloned())
            .collect();
        let buzzes: BTreeSet<_> = match sends && !message.quiet && !known {
            true => channel.buzzes.iter().copied().collect(),
            false => BTreeSet::new(),
        };
        let readers = channel.buzzes.iter().map(|(person, _)| *person).collect();
        let show = Show {
            at: self.now,
            decided,
            notification: id,
            channel: name.clone(),
            title: message.title,
            kind: message.kind,
            sends: sends && !known,
            again: matches!(effect, Effect::SendNotification { again: true, .. }),
            buzzes,
            readers,
            covers,
        };
        let card = Card { live: !message.buttons.is_empty() };
        let name = name.clone();
        self.channels.0.get_mut(&name).unwrap().cards.insert(id, card);
        let people: BTreeSet<_> = show.buzzes.iter().map(|(person, _)| *person).collect();
        self.judge.shown(show);
        self.are_called(people, id, &name, message.emergency);
        if says_so_to == Some(self.boots) {
            let outcome = match sends {
                true => Outcome::Sent {
                    handle: Some(ChannelHandle(id.to_string())),
                    reached: Reached::Accepted,
                },
                false => Outcome::Done,
            };
            self.outcome(intent, Ok(outcome));
        }
    }

    /// What is in doubt is looked for, where the channel can tell; else nobody knows.
    pub(crate) fn look_for(&mut self, intent: Seq, effect: Effect) {
        let Some((id, name)) = parts(&effect) else { return };
        let channel = &self.channels.0[name];
        let there = channel.cards.contains_key(&id);
        let sends = matches!(effect, Effect::SendNotification { .. });
        if sends && channel.can.finds && there {
            let handle = Some(ChannelHandle(id.to_string()));
            self.outcome(intent, Ok(Outcome::Sent { handle, reached: Reached::Accepted }));
        } else if !sends || channel.can.idempotent || channel.can.finds {
            self.deliver(intent, effect);
        } else {
            let failure = Failure { kind: ErrorKind::InDoubt, ..Failure::permanent("who knows") };
            self.outcome(intent, Err(failure));
        }
    }

    fn look_again(&mut self, intent: Seq) {
        let open = self.state.intents.get(&intent).map(|i| i.effect.clone());
        if let Some(effect) = open {
            self.look_for(intent, effect);
        }
    }
}
