//! Every kind of channel with its far end played on this machine, and what the journal and the far ends together say
//! of each. The desktop is left out: its far end is a daemon on a session bus, which only the plugin's own tests have.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    time::Duration,
};

use ao_fakes::{discord, ntfy, slack};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::{
    house::text,
    mail::Post,
    phone::{REPLY, TOPIC},
    receiver::{Push, Receiver},
};

/// The channels by name.
pub(crate) const NAMES: [&str; 5] = ["hook", "chat", "phone", "team", "mail"];

/// How long each answer of a far end is under way: long enough for a kill to come in between, with the message there.
const WAY: Duration = Duration::from_millis(80);

/// The far ends.
pub(crate) struct Channels {
    pub(crate) hook: Receiver,
    chat: slack::Slack,
    phone: ntfy::Server,
    team: discord::Server,
    mail: Post,
    /// What `chat` and the lines run on.
    runtime: tokio::runtime::Runtime,
}

impl Channels {
    pub(crate) fn start() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        Self {
            hook: Receiver::start(),
            chat: runtime.block_on(slack::Slack::start()),
            phone: ntfy::Server::start(ntfy::Options::default()).unwrap(),
            // As many requests in as long as Discord's are known to take.
            team: discord::Server::start((5, Duration::from_secs(2))).unwrap(),
            mail: Post::start(),
            runtime,
        }
    }

    /// A port on which a far end is reached over a slow line.
    fn line(&self, port: u16) -> u16 {
        let listener = self.runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let line = listener.local_addr().unwrap().port();
        self.runtime.spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, port));
            }
        });
        line
    }

    /// An address with a slow line in its place.
    fn lined(&self, url: &str) -> String {
        let (before, rest) = url.split_once("127.0.0.1:").unwrap();
        let end = rest.find('/').unwrap_or(rest.len());
        let line = self.line(rest[..end].parse().unwrap());
        format!("{before}127.0.0.1:{line}{}", &rest[end..])
    }

    /// All of them carry what calls a human, and the webhook the rest too, without a line: when a request comes tells
    /// which server sent it.
    pub(crate) fn config(&self) -> String {
        let all = NAMES.join(", ");
        format!(
            r#"defaults: {{notifiers: [{all}]}}
notifications: {{routing: {{urgent: [{all}], action: [{all}], warning: [hook], info: [hook]}}}}
notifiers:
  hook: {{plugin: webhook, url: "http://127.0.0.1:{hook}/", allowPrivate: true, secret: r1-secret-r1-secret-r1}}
  chat: {{plugin: slack, botToken: {bot}, appToken: {app}, channel: {channel}, apiUrl: "{chat}"}}
  phone: {{plugin: ntfy, server: "{phone}", topic: {TOPIC}, replyTopic: {REPLY}}}
  team: {{plugin: discord, url: "{team}", allowPrivate: true}}
  mail: {{plugin: email, smtp: {{host: localhost, port: {mail}, tls: none}}, from: ao@example.org,
    to: ana@example.org, digest: off}}
"#,
            hook = self.hook.port,
            bot = slack::BOT_TOKEN,
            app = slack::APP_TOKEN,
            channel = slack::CHANNEL,
            chat = self.lined(&self.chat.api_url()),
            phone = self.lined(&self.phone.url()),
            team = self.lined(&self.team.url()),
            mail = self.line(self.mail.port.try_into().unwrap()),
        )
    }

    /// The names under which new messages came to a channel, in order: what its receiver tells one from another by.
    /// Edits are left out where they can be told from a message.
    pub(crate) fn arrived(&self, name: &str) -> Vec<String> {
        let owned = |value: &Value| text(value).to_owned();
        match name {
            "hook" => {
                let sent = |push: &Push| push.body["type"] == "notification.sent";
                self.hook.pushes().into_iter().filter(sent).map(|push| push.id).collect()
            }
            "chat" => {
                let roots = self.chat.messages().into_iter().filter(|one| one.thread.is_none());
                roots.map(|one| owned(&one.metadata["event_payload"]["id"])).collect()
            }
            // What makes no sound is an edit.
            "phone" => {
                let loud = |event: &Value| {
                    event["event"] == "message" && event["priority"].as_u64().unwrap_or(3) >= 3
                };
                let events = self.phone.events(TOPIC).into_iter().filter(loud);
                events.map(|event| owned(&event["sequence_id"])).collect()
            }
            "team" => self.team.ids(),
            "mail" => {
                let id = |mail: &Value| {
                    let headers = mail["headers"].as_array().into_iter().flatten();
                    let id = headers.into_iter().find(|header| header[0] == "Message-ID");
                    id.map(|header| owned(&header[1])).unwrap_or_default()
                };
                self.mail.letters().iter().map(id).collect()
            }
            other => panic!("no channel {other}"),
        }
    }
}

/// Carries one connection: at once there, slowly back.
async fn carry(near: TcpStream, port: u16) -> io::Result<()> {
    let far = TcpStream::connect(("127.0.0.1", port)).await?;
    let (mut ask, mut tell) = near.into_split();
    let (mut told, mut asked) = far.into_split();
    let there = async { tokio::io::copy(&mut ask, &mut asked).await.map(drop) };
    let back = async {
        let mut bytes = vec![0; 1 << 16];
        loop {
            let read = told.read(&mut bytes).await?;
            tokio::time::sleep(WAY).await;
            if read == 0 {
                return Ok(());
            }
            tell.write_all(&bytes[..read]).await?;
        }
    };
    // Whoever ends first ends both: a far end sees that a killed server is gone.
    tokio::select! {
        end = there => end,
        end = back => end,
    }
}

/// What became of the messages of one channel.
pub(crate) struct Account {
    /// That the journal says were sent.
    sent: usize,
    /// How often it was unknown whether one was: a kill came in between.
    doubts: usize,
    /// Given up for that, on a channel that cannot tell.
    given_up: usize,
    /// New messages at the far end.
    arrived: usize,
    /// Of those, such as came already, or came under a name that nobody learned.
    doubled: usize,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, doubts, given_up, arrived, doubled } = self;
        write!(
            f,
            "{sent} sent, {doubts} times in doubt, {given_up} given up, {arrived} arrived, {doubled} doubled"
        )
    }
}

/// An attempt to send a message or to change it.
struct Attempt<'e> {
    notification: &'e str,
    /// How the id of its request ends.
    id: String,
    is_edit: bool,
    /// How often it was unknown what became of it.
    doubts: usize,
    /// What it brought, where the journal learned that.
    outcome: Option<&'e Value>,
}

fn attempts<'e>(name: &str, events: &'e [Value]) -> Vec<Attempt<'e>> {
    let (mut attempts, mut open) = (Vec::<Attempt<'e>>::new(), BTreeMap::<&str, usize>::new());
    for event in events {
        let (data, seq) = (&event["data"], text(&event["seq"]));
        let (effect, intent) = (&data["effect"], text(&data["intent"]));
        let here = effect["channel"] == name;
        match text(&event["kind"]) {
            "effect.intended" if here => {
                let notification = text(&effect["notification"]);
                let (edit, end) = match text(&effect["do"]) {
                    "send-notification" => (None, ""),
                    "update-notification" => (Some(&effect["revision"]), ""),
                    "resolve-notification" => (Some(&effect["revision"]), "-end"),
                    _ => continue,
                };
                let edit = edit.map(|revision| format!("-r{revision}{end}"));
                open.insert(seq, attempts.len());
                attempts.push(Attempt {
                    notification,
                    id: format!("-{notification}-{name}{}", edit.as_deref().unwrap_or_default()),
                    is_edit: edit.is_some(),
                    doubts: 0,
                    outcome: None,
                });
            }
            "server.started" => {
                assert!(open.len() < 2, "{name}: two messages in doubt at a time, {open:?}");
                open.values().for_each(|at| attempts[*at].doubts += 1);
            }
            // No answer in time.
            "effect.doubted" if open.contains_key(intent) => attempts[open[intent]].doubts += 1,
            "effect.succeeded" => {
                if let Some(at) = open.remove(intent) {
                    attempts[at].outcome = Some(&data["outcome"]);
                }
            }
            "effect.failed" => drop(open.remove(intent)),
            _ => {}
        }
    }
    attempts
}

/// An incident is told anew only when it has become more urgent than it was when it was told: anything else about it is
/// an edit of the message that is there.
pub(crate) fn check_news(events: &[Value]) {
    let rank = |priority: &Value| {
        let ranks = ["info", "warning", "action", "urgent"];
        ranks.iter().position(|rank| priority == rank).unwrap()
    };
    // How urgent each is, and was when it was told.
    let mut incidents: BTreeMap<&str, (usize, Option<usize>)> = BTreeMap::new();
    for event in events {
        let data = &event["data"];
        let incident = text(&data["incident"]);
        match text(&event["kind"]) {
            "incident.opened" => {
                incidents.insert(incident, (rank(&data["priority"]), None));
            }
            "incident.changed" => incidents.get_mut(incident).unwrap().0 = rank(&data["priority"]),
            "notification.opened" => {
                for covered in data["covers"].as_array().into_iter().flatten() {
                    let (now, told) = incidents.get_mut(text(covered)).unwrap();
                    assert!(
                        told.is_none_or(|told| told < *now),
                        "{covered} is told twice, as if it were another: {event}"
                    );
                    *told = Some(*now);
                }
            }
            _ => {}
        }
    }
}

/// The requests that came to the webhook again: each under the id of the first, and no more of them than times at which
/// nobody knew what had become of one.
pub(crate) fn check_requests(pushes: &[Push], events: &[Value]) -> usize {
    let mut ids: BTreeMap<&str, usize> = BTreeMap::new();
    for push in pushes {
        *ids.entry(&push.id).or_default() += 1;
    }
    let attempts = attempts("hook", events);
    for (id, times) in &ids {
        let of_it = || attempts.iter().filter(|attempt| id.ends_with(&attempt.id));
        assert!(of_it().next().is_some(), "nobody decided to send {id}");
        let doubts: usize = of_it().map(|attempt| attempt.doubts).sum();
        assert!(*times <= 1 + doubts, "{id} came {times} times, {doubts} times in doubt");
    }
    pushes.len() - ids.len()
}

/// The messages that were given up on a channel because nobody knows whether it has them.
fn given_up<'e>(name: &str, events: &'e [Value]) -> Vec<&'e str> {
    let unknown = |event: &&Value| {
        let (data, reason) = (&event["data"], text(&event["data"]["reason"]));
        event["kind"] == "delivery.dropped" && data["channel"] == name && reason.contains("unknown")
    };
    events.iter().filter(unknown).map(|event| text(&event["data"]["notification"])).collect()
}

/// The message that a name at a far end belongs to: `n-12` is in it, wherever it is made of a call's key.
pub(crate) fn told_by(name: &str) -> Option<String> {
    let (_, rest) = name.split_once("-n-").or_else(|| name.split_once("n-"))?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    (!digits.is_empty()).then(|| format!("n-{digits}"))
}

/// The messages that tell of each incident on a channel.
pub(crate) fn tellers<'e>(name: &str, events: &'e [Value]) -> BTreeMap<&'e str, BTreeSet<&'e str>> {
    let mut tellers: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for event in events {
        let data = &event["data"];
        let here = data["channels"].as_array().into_iter().flatten().any(|channel| channel == name);
        let told = match text(&event["kind"]) {
            "notification.opened" if here => data["parts"].get(name).unwrap_or(&data["covers"]),
            "notification.joined" if here => &data["incident"],
            _ => continue,
        };
        let each = told.as_array().map_or(std::slice::from_ref(told), Vec::as_slice);
        for incident in each {
            tellers.entry(text(incident)).or_default().insert(text(&data["notification"]));
        }
    }
    tellers
}

/// Agents that ask or are gone, and that nobody has seen to.
fn open(events: &[Value]) -> BTreeSet<&str> {
    let mut open = BTreeSet::new();
    for event in events {
        let incident = text(&event["data"]["incident"]);
        match (text(&event["kind"]), text(&event["data"]["trigger"])) {
            ("incident.opened", "agent-needs-input" | "agent-errored" | "agent-exited") => {
                open.insert(incident);
            }
            ("incident.resolved", _) => drop(open.remove(incident)),
            _ => {}
        }
    }
    open
}

/// Holds a channel to its word, with every effect at its end: what was sent is there, what is open was told, a message
/// has one name, and it came twice only where the channel can neither find it nor knows a key, once for a kill at most.
pub(crate) fn judge(name: &str, arrived: &[String], events: &[Value], kills: u64) -> Account {
    let attempts: Vec<_> =
        attempts(name, events).into_iter().filter(|attempt| !attempt.is_edit).collect();
    // A webhook of Discord knows no key: the name that it gave is in the journal, or was lost with the server.
    let handles: BTreeMap<&str, &str> = attempts
        .iter()
        .filter_map(|attempt| Some((attempt.outcome?["handle"].as_str()?, attempt.notification)))
        .collect();
    let message = |id: &str| match name {
        "team" => handles.get(id).map(|notification| (*notification).to_owned()),
        _ => Some(told_by(id).unwrap_or_else(|| panic!("{name}: nobody sent {id:?}"))),
    };
    let (mut names, mut orphans) = (BTreeMap::<String, Vec<&str>>::new(), 0);
    for id in arrived {
        match message(id) {
            Some(notification) => names.entry(notification).or_default().push(id),
            None => orphans += 1,
        }
    }
    let tried: BTreeSet<&str> = attempts.iter().map(|attempt| attempt.notification).collect();
    let invented: Vec<_> = names.keys().filter(|id| !tried.contains(id.as_str())).collect();
    assert!(invented.is_empty(), "{name}: nobody decided to send {invented:?}");

    // Nothing is missed.
    let sent: BTreeSet<&str> =
        attempts.iter().filter(|a| a.outcome.is_some()).map(|a| a.notification).collect();
    let missed: Vec<_> = sent.iter().filter(|id| !names.contains_key(**id)).collect();
    assert!(missed.is_empty(), "{name}: said to be sent, and not there: {missed:?}");
    let given_up = given_up(name, events);
    let lost: Vec<_> = given_up.iter().filter(|id| !names.contains_key(**id)).collect();
    assert!(lost.len() <= orphans, "{name}: given up in doubt, and not there: {lost:?}");
    let tellers = tellers(name, events);
    let is_told = |incident: &&&str| {
        let told = tellers.get(**incident).into_iter().flatten();
        told.into_iter().any(|id| sent.contains(id))
    };
    let open = open(events);
    let untold: Vec<_> = open.iter().filter(|incident| !is_told(incident)).collect();
    assert!(untold.is_empty(), "{name}: open, and nobody was told: {untold:?}");

    // No two names.
    let split: Vec<_> =
        names.iter().filter(|(_, ids)| ids.iter().collect::<BTreeSet<_>>().len() > 1).collect();
    assert!(split.is_empty(), "{name}: one message under several names: {split:?}");

    // Hardly anything twice.
    let doubts_of = |id: &str| -> usize {
        attempts.iter().filter(|a| a.notification == id).map(|attempt| attempt.doubts).sum()
    };
    let doubts: usize = attempts.iter().map(|attempt| attempt.doubts).sum();
    let mut doubled = orphans;
    for (id, ids) in &names {
        let (again, could) = (ids.len() - 1, doubts_of(id));
        assert!(again <= could, "{name}: {id} came {} times, {could} times in doubt", ids.len());
        doubled += again;
    }
    assert!(
        doubled <= doubts && doubled as u64 <= kills,
        "{name}: {doubled} doubled, {doubts} times in doubt"
    );
    // The receiver of a webhook drops what it has by its id; these can be found again.
    if matches!(name, "chat" | "phone") {
        assert_eq!(doubled, 0, "{name}: came twice: {names:?}");
    }
    let (sent, arrived, given_up) = (sent.len(), arrived.len(), given_up.len());
    Account { sent, doubts, given_up, arrived, doubled }
}
