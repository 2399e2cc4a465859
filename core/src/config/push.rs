//! Who is told, when, and how often: people, quiet hours, escalation, reminders, digests.
//!
//! The settings as a file writes them, and what they come to in the policy.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    str::FromStr,
    sync::LazyLock,
};

use ao_slots::ChannelName;
use jiff::{
    civil::{Time, Weekday},
    tz::{TimeZone, TimeZoneDatabase},
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{
    check,
    file::Notifications,
    trigger::Trigger,
    units::{Clock, Millis},
};
use crate::words::template;

/// How often the steps of an escalation are gone through before it is given up.
pub const ESCALATION_LOOPS: u32 = 5;

/// A human who is told, and may answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Person {
    /// What their presses and replies may do.
    pub role: Role,
    /// Their channels, in the order of the file; empty = all.
    pub channels: Vec<ChannelName>,
    /// The account's id at the provider of each channel, e.g. `U012AB3CD`: who pressed there is this person.
    pub identities: BTreeMap<ChannelName, String>,
    /// When and how they are told; what it leaves open is that of [`Push::hours`].
    pub hours: Hours,
}

/// What a human may do; each includes those before it.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    Default,
)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Look.
    Viewer,
    /// Answer, approve, restore, merge, snooze.
    #[default]
    Member,
    /// Everything.
    Admin,
}

impl Role {
    /// Its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Member => "member",
            Self::Admin => "admin",
        }
    }
}

/// When a human is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Hours {
    /// The IANA name of the time zone, in its canonical spelling; none = the machine's.
    pub timezone: Option<String>,
    /// When they are not told; none = never.
    pub quiet: Option<QuietHours>,
    /// What follows when nobody reacts, `after_ms` rising; none = [`EscalationStep::built_in`], empty = nothing.
    pub escalation: Option<Vec<EscalationStep>>,
    /// Messages a day before the rest waits for the digest; none = any number. Urgent ones always go out.
    pub budget: Option<u32>,
}

impl Hours {
    /// These, and what they leave open as `below` says.
    #[must_use]
    pub fn over(&self, below: &Self) -> Self {
        Self {
            timezone: self.timezone.clone().or_else(|| below.timezone.clone()),
            quiet: self.quiet.clone().or_else(|| below.quiet.clone()),
            escalation: self.escalation.clone().or_else(|| below.escalation.clone()),
            budget: self.budget.or(below.budget),
        }
    }

    /// What follows when nobody reacts.
    pub fn steps(&self) -> Cow<'_, [EscalationStep]> {
        match &self.escalation {
            Some(steps) => Cow::Borrowed(steps),
            None => Cow::Owned(EscalationStep::built_in()),
        }
    }
}

/// The time zone of these hours, by the rules that come with `ao`: the same on every machine. `machine` where none is
/// named.
pub fn zone(hours: &Hours, machine: &TimeZone) -> TimeZone {
    hours.timezone.as_deref().and_then(find_zone).unwrap_or_else(|| machine.clone())
}

/// The time zones that come with `ao`.
fn zones() -> &'static TimeZoneDatabase {
    static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);
    &ZONES
}

pub(super) fn find_zone(name: &str) -> Option<TimeZone> {
    zones().get(name).ok()
}

/// The known zone that was most likely meant.
pub(super) fn nearest_zone(name: &str) -> Option<String> {
    let known: Vec<_> = zones().available().collect();
    let whole = check::nearest(name, known.iter().map(|zone| zone.as_str()));
    // A city alone says enough.
    let city = |zone: &str| zone.rsplit('/').next().unwrap_or(zone).to_owned();
    let cities: Vec<_> = known.iter().map(|zone| (city(zone.as_str()), zone.as_str())).collect();
    whole.map(str::to_owned).or_else(|| {
        let wanted = city(name);
        let near = check::nearest(&wanted, cities.iter().map(|(city, _)| city.as_str()))?;
        cities.iter().find(|(city, _)| city == near).map(|(_, zone)| (*zone).to_owned())
    })
}

/// When a human is not told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QuietHours {
    /// The local time at which they begin.
    pub from: Time,
    /// The local time at which they end: on the next day where it is before `from`, never equal to it.
    pub to: Time,
    /// The days on which they begin.
    #[serde(default = "Day::all")]
    pub days: BTreeSet<Day>,
    /// Urgent messages come through.
    #[serde(default = "yes")]
    pub urgent: bool,
}

fn yes() -> bool {
    true
}

/// A day of the week.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl Day {
    /// All seven.
    pub fn all() -> BTreeSet<Self> {
        [Self::Mon, Self::Tue, Self::Wed, Self::Thu, Self::Fri, Self::Sat, Self::Sun].into()
    }
}

impl From<Weekday> for Day {
    fn from(day: Weekday) -> Self {
        match day {
            Weekday::Monday => Self::Mon,
            Weekday::Tuesday => Self::Tue,
            Weekday::Wednesday => Self::Wed,
            Weekday::Thursday => Self::Thu,
            Weekday::Friday => Self::Fri,
            Weekday::Saturday => Self::Sat,
            Weekday::Sunday => Self::Sun,
        }
    }
}

/// One step of what follows when nobody reacts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EscalationStep {
    /// How long after the first message.
    pub after_ms: u64,
    /// Who is told then.
    pub to: EscalateTo,
}

impl EscalationStep {
    /// The phone as an emergency after 10 min, the next person after 20.
    pub fn built_in() -> Vec<Self> {
        [(10, EscalateTo::Phone), (20, EscalateTo::NextPerson)]
            .map(|(min, to)| Self { after_ms: min * 60_000, to })
            .into()
    }
}

/// Who is told when nobody reacted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EscalateTo {
    /// The channels of kind phone, as an emergency.
    Phone,
    /// Whoever comes next in [`Push::order`].
    NextPerson,
    /// These channels.
    Channels(Vec<ChannelName>),
}

/// When and how often the channels are used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Push {
    /// Of a single user, and of people who say nothing else.
    pub hours: Hours,
    /// Who is told first, and who next; empty = who spawned the session, then by name.
    pub order: Vec<String>,
    /// Reminders of what nobody reacted to: how long each comes after the message before it. Then silence.
    pub repeat_ms: Vec<u64>,
    /// The roll-up of what is not urgent.
    pub digest: Digest,
    /// Where a channel has another rhythm than `digest.every`.
    pub channel_digests: BTreeMap<ChannelName, DigestEvery>,
    /// Pinged as long as `ao` works; none = nobody is.
    pub heartbeat: Option<Heartbeat>,
    /// A human's own words for messages.
    #[serde(skip_serializing_if = "Templates::is_empty")]
    pub templates: Templates,
}

/// By channel, kind of channel or `default`, and by what a message is about or `default`: the first that says a part
/// counts for it.
pub type Templates = BTreeMap<String, BTreeMap<String, Template>>;

/// A human's own words for the parts of a message, as templates; none = `ao`'s.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Template {
    /// One line.
    pub title: Option<String>,
    /// One line, for desktop and phone.
    pub short: Option<String>,
    /// The rest.
    pub body: Option<String>,
}

impl Default for Push {
    fn default() -> Self {
        Self {
            hours: Hours::default(),
            order: Vec::new(),
            repeat_ms: [30, 2 * 60, 8 * 60].map(|min| min * 60_000).into(),
            digest: Digest::default(),
            channel_digests: BTreeMap::new(),
            heartbeat: None,
            templates: Templates::new(),
        }
    }
}

impl Push {
    /// Whether nothing was configured: then it is left out of what is recorded, as older versions did.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The rhythm of a channel's digest.
    pub fn digest_of(&self, channel: &ChannelName) -> DigestEvery {
        self.channel_digests.get(channel).copied().unwrap_or(self.digest.every)
    }
}

/// The roll-up of what is not urgent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Digest {
    /// How often.
    pub every: DigestEvery,
    /// The local time of a daily one; an hourly one comes at its minute.
    pub at: Time,
    /// Also when there is nothing to tell.
    pub empty: bool,
}

impl Default for Digest {
    fn default() -> Self {
        Self { every: DigestEvery::Daily, at: jiff::civil::time(8, 0, 0, 0), empty: false }
    }
}

/// How often what is not urgent is rolled up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "kebab-case")]
pub enum DigestEvery {
    /// Not at all: each message goes out at once, without a buzz.
    Off,
    /// Every hour.
    Hourly,
    /// Every day.
    #[default]
    Daily,
}

/// A dead man's switch: who is pinged misses the pings when `ao` is dead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    /// Where to, as the file writes it: `${NAME}` stands for what may be a secret.
    pub url: String,
    /// How often.
    pub every_ms: u64,
}

// What a file says.

/// A human who is told, and may answer.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct PersonEntry {
    /// What their presses and replies may do. Default: member.
    pub(super) role: Role,
    /// Their channels. Default: all.
    pub(super) channels: Vec<String>,
    /// The account's id in each channel, e.g. `{team-slack: U012AB3CD}`: who presses there is this person.
    pub(super) identities: BTreeMap<String, String>,
    /// An IANA time zone, e.g. `Europe/Berlin`. Default: `notifications.timezone`.
    pub(super) timezone: Option<String>,
    /// When they are not told. Default: `notifications.quietHours`.
    pub(super) quiet_hours: Option<QuietHoursEntry>,
    /// What follows when nobody reacts. Default: `notifications.escalation`.
    pub(super) escalation: Option<Vec<EscalationEntry>>,
    /// Messages a day before the rest waits for the digest; urgent ones always go out. Default: `notifications.budget`.
    pub(super) budget: Option<u32>,
}

/// When nobody is told.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct QuietHoursEntry {
    /// When they begin.
    pub(super) from: Clock,
    /// When they end; before `from` is on the next day.
    pub(super) to: Clock,
    /// The days on which they begin. Default: all.
    pub(super) days: Option<Vec<Day>>,
    /// Urgent messages come through. Default: true.
    pub(super) urgent: Option<bool>,
}

/// One step of what follows when nobody reacts.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct EscalationEntry {
    /// How long after the first message.
    pub(super) after: Millis,
    /// Who is told then: `phone` (as an emergency), `next-person`, or channels.
    #[schemars(schema_with = "to_schema")]
    pub(super) to: ToEntry,
}

/// A word or a channel, or several channels.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum ToEntry {
    One(String),
    Channels(Vec<String>),
}

fn to_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})
}

/// The words that `to` knows beside channels.
pub(super) const TO_WORDS: [&str; 2] = ["phone", "next-person"];

impl ToEntry {
    /// The channels that it names.
    pub(super) fn channels(&self) -> &[String] {
        match self {
            Self::One(word) if TO_WORDS.iter().any(|known| check::same(known, word)) => &[],
            Self::One(channel) => std::slice::from_ref(channel),
            Self::Channels(channels) => channels,
        }
    }
}

/// The roll-up of what is not urgent.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct DigestEntry {
    /// How often; off = each message at once, without a buzz. Default: daily.
    pub(super) every: Option<DigestEvery>,
    /// The local time of a daily one; an hourly one comes at its minute. Default: 08:00.
    pub(super) at: Option<Clock>,
    /// Also when there is nothing to tell. Default: false.
    pub(super) empty: Option<bool>,
}

/// A dead man's switch.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct HeartbeatEntry {
    /// What is fetched as long as ao works.
    pub(super) url: String,
    /// How often. Default: 1m.
    pub(super) every: Option<Millis>,
}

/// A human's own words for a message: templates over title, short, body, session, project, issue, agent, priority,
/// kind, since, command and incident.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct TemplateEntry {
    /// Who and what is wanted, one line, e.g. `{{ session }}: {{ title }}`. Default: ao's own.
    pub(super) title: Option<String>,
    /// One or two sentences for desktop and phone. Default: ao's own.
    pub(super) short: Option<String>,
    /// The rest: quotes behind `> `, code between fences, lists behind `- `. Default: ao's own.
    pub(super) body: Option<String>,
}

impl TemplateEntry {
    /// Its parts, by key.
    pub(super) fn parts(&self) -> [(&'static str, &Option<String>); 3] {
        [("title", &self.title), ("short", &self.short), ("body", &self.body)]
    }
}

/// What a template may be for: a kind of message, or all.
pub(super) fn abouts() -> impl Iterator<Item = &'static str> {
    Trigger::ALL.iter().map(|trigger| trigger.as_str()).chain([DIGEST, template::DEFAULT])
}

/// The kind of message that a digest is.
const DIGEST: &str = "digest";

fn templates(said: &BTreeMap<String, BTreeMap<String, TemplateEntry>>) -> Templates {
    let about = |name: &String| abouts().find(|about| check::same(about, name)).map(str::to_owned);
    let template = |said: &TemplateEntry| Template {
        title: said.title.clone(),
        short: said.short.clone(),
        body: said.body.clone(),
    };
    let of_channel = |said: &BTreeMap<String, TemplateEntry>| {
        said.iter().filter_map(|(name, said)| Some((about(name)?, template(said)))).collect()
    };
    said.iter().map(|(channel, said)| (channel.clone(), of_channel(said))).collect()
}

/// How often a heartbeat is sent that says nothing else.
const HEARTBEAT_MS: u64 = 60_000;

/// The shortest time between two heartbeats.
pub(super) const HEARTBEAT_LEAST: Millis = Millis(10_000);

// From the file to the policy. The files were judged: what is not valid is not there.

/// A parsed name, if it is one of a configured channel.
type Known<'k> = &'k dyn Fn(&str) -> Option<ChannelName>;

pub(super) fn person(said: &PersonEntry, known: Known<'_>) -> Person {
    let identity = |(name, id): (&String, &String)| Some((known(name)?, id.clone()));
    Person {
        role: said.role,
        channels: named(&said.channels, known),
        identities: said.identities.iter().filter_map(identity).collect(),
        hours: hours(
            said.timezone.as_deref(),
            said.quiet_hours.as_ref(),
            said.escalation.as_deref(),
            said.budget,
            known,
        ),
    }
}

pub(super) fn push(
    said: &Notifications,
    channel_digests: BTreeMap<ChannelName, DigestEvery>,
    known: Known<'_>,
) -> Push {
    let built_in = Push::default();
    let digest = built_in.digest;
    let heartbeat = |said: &HeartbeatEntry| Heartbeat {
        url: said.url.clone(),
        every_ms: said.every.map_or(HEARTBEAT_MS, |Millis(every)| every),
    };
    Push {
        hours: hours(
            said.timezone.as_deref(),
            said.quiet_hours.as_ref(),
            said.escalation.as_deref(),
            said.budget,
            known,
        ),
        order: said.order.clone(),
        repeat_ms: match &said.repeat {
            Some(waits) => waits.iter().map(|Millis(wait)| *wait).collect(),
            None => built_in.repeat_ms,
        },
        digest: Digest {
            every: said.digest.every.unwrap_or(digest.every),
            at: said.digest.at.map_or(digest.at, |Clock(at)| at),
            empty: said.digest.empty.unwrap_or(digest.empty),
        },
        channel_digests,
        heartbeat: said.heartbeat.as_ref().map(heartbeat),
        templates: templates(&said.templates),
    }
}

fn hours(
    timezone: Option<&str>,
    quiet: Option<&QuietHoursEntry>,
    escalation: Option<&[EscalationEntry]>,
    budget: Option<u32>,
    known: Known<'_>,
) -> Hours {
    let zone = |name: &str| find_zone(name)?.iana_name().map(str::to_owned);
    let quiet_hours = |said: &QuietHoursEntry| QuietHours {
        from: said.from.0,
        to: said.to.0,
        days: said.days.as_ref().map_or_else(Day::all, |days| days.iter().copied().collect()),
        urgent: said.urgent.unwrap_or(true),
    };
    let step = |said: &EscalationEntry| EscalationStep {
        after_ms: said.after.0,
        to: match &said.to {
            ToEntry::One(word) if check::same(word, TO_WORDS[0]) => EscalateTo::Phone,
            ToEntry::One(word) if check::same(word, TO_WORDS[1]) => EscalateTo::NextPerson,
            to => EscalateTo::Channels(named(to.channels(), known)),
        },
    };
    Hours {
        timezone: timezone.and_then(zone),
        quiet: quiet.map(quiet_hours),
        escalation: escalation.map(|steps| steps.iter().map(step).collect()),
        budget,
    }
}

/// The configured ones of these channels, each once.
fn named(names: &[String], known: Known<'_>) -> Vec<ChannelName> {
    let mut channels: Vec<ChannelName> = Vec::new();
    for channel in names.iter().filter_map(|name| known(name)) {
        if !channels.contains(&channel) {
            channels.push(channel);
        }
    }
    channels
}

/// Whether this is the name of a person: it stands in messages and on command lines.
pub(super) fn is_person(name: &str) -> bool {
    ChannelName::from_str(name).is_ok()
}

/// The address at which a browser finds us, as browsers write it: in `Host` and `Origin` no scheme names its own port, and
/// host names are lower case.
pub(super) fn public_address(text: &str) -> Option<String> {
    let (scheme, rest) = web_address(text)?.split_once("://")?;
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = host.to_ascii_lowercase();
    let own = if scheme == "https" { ":443" } else { ":80" };
    Some(format!("{scheme}://{}{path}", host.strip_suffix(own).unwrap_or(&host)))
}

/// An address that a browser opens, without credentials, without a `/` at its end; none = it is no such address.
pub(super) fn web_address(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
    let host = rest.split('/').next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_graphic() && !"\"'<>\\^`{|}@?#".contains(c);
    let good = !host.is_empty() && !host.starts_with(':') && rest.chars().all(plain);
    good.then(|| text.trim_end_matches('/'))
}

/// The host of an address that is not encrypted, without its port.
pub(super) fn plain_host(text: &str) -> Option<&str> {
    let host = text.strip_prefix("http://")?.split(['/', '?', '#']).next()?;
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => Some(address),
        None => host.split(':').next(),
    }
}

/// Whether a host is this machine, or surely in a network of one's own.
pub(super) fn is_near(host: &str) -> bool {
    match host.parse() {
        Ok(IpAddr::V4(ip)) => {
            // 100.64.0.0/10 is shared within a provider (RFC 6598), and what tunnels give out.
            let [first, second, ..] = ip.octets();
            let shared = first == 100 && (64..128).contains(&second);
            ip.is_loopback() || ip.is_private() || ip.is_link_local() || shared
        }
        Ok(IpAddr::V6(ip)) => {
            ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()
        }
        Err(_) => {
            let name = host.trim_end_matches('.').to_lowercase();
            let own = [".localhost", ".local", ".lan", ".internal", ".home.arpa"];
            !name.contains('.') || own.iter().any(|end| name.ends_with(end))
        }
    }
}
