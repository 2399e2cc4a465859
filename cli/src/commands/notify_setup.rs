//! `ao notify setup`: asks, checks each answer at once, writes the channel, and sends a test that has to come back.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use ao_core::{
    config::{
        self, Catalog, Role, SourceFile,
        policy::{PluginChoice, Policy},
    },
    registry::Registry,
    slots::{Call, ChannelName, notifier::Mark},
};
use ao_web::configs::ConfigReport;
use serde_json::{Map, Value, json};

use super::{init::build_context, notify, usage};
use crate::{
    cx::Cx,
    fail::{Exit, Fail},
    out, render, secrets, userfile,
};

/// How long one look at a provider may take.
const LOOK: Duration = Duration::from_secs(15);

/// Add a channel: asks, checks each answer, writes it, sends a test that has to come back
///
/// The channel goes into ~/.config/ao/config.yaml, its secrets into a file that only you can read. A
/// variable of a secret's name, e.g. SLACK_BOT_TOKEN, is taken in place of an answer, and goes before
/// that file ever after.
///
/// Examples:
///   ao notify setup ntfy
///   ao notify setup slack
///   EMAIL_PASSWORD=… ao notify setup email --to ana@example.org --no-input
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Cmd {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Args)]
struct Common {
    /// What the channel is called [default: the plugin's name]
    #[arg(long)]
    name: Option<ChannelName>,
    /// Send no test message
    #[arg(long)]
    no_test: bool,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Slack, with buttons that need no public address (Socket Mode)
    ///
    /// Examples:
    ///   ao notify setup slack
    ///   ao notify setup slack --channel '#agents'
    ///   ao notify setup slack --incoming          an incoming webhook: no buttons, no edits
    #[command(verbatim_doc_comment)]
    Slack {
        /// Where to post: #name, or an id
        #[arg(long)]
        channel: Option<String>,
        /// Post by an incoming webhook, without an app: no buttons, no edits
        #[arg(long, conflicts_with = "channel")]
        incoming: bool,
        #[command(flatten)]
        common: Common,
    },
    /// A phone, by the ntfy app: on the public server or your own
    ///
    /// Examples:
    ///   ao notify setup ntfy
    ///   ao notify setup ntfy --server https://ntfy.example.org --token
    #[command(verbatim_doc_comment)]
    Ntfy {
        /// The server [default: https://ntfy.sh, or that of the channel that is there]
        #[arg(long, value_name = "URL")]
        server: Option<String>,
        /// The server wants an access token: asks for it, or takes NTFY_TOKEN
        #[arg(long)]
        token: bool,
        /// The server is on this machine or in a private network
        #[arg(long)]
        allow_private: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Discord, by a webhook: edits, no buttons
    ///
    /// Examples:
    ///   ao notify setup discord
    #[command(verbatim_doc_comment)]
    Discord {
        #[command(flatten)]
        common: Common,
    },
    /// Mail: digests, and what is urgent where nothing else reaches you
    ///
    /// Examples:
    ///   ao notify setup email --to ana@example.org
    ///   EMAIL_PASSWORD=… ao notify setup email --to ana@example.org --host smtp.example.org --no-input
    #[command(verbatim_doc_comment)]
    Email(Email),
    /// Any service that takes a signed POST request
    ///
    /// Examples:
    ///   ao notify setup webhook --url https://hooks.example.com/T0
    #[command(verbatim_doc_comment)]
    Webhook {
        /// Where messages go
        #[arg(long)]
        url: Option<String>,
        /// Sign requests: asks for the secret, or takes WEBHOOK_SECRET
        #[arg(long)]
        sign: bool,
        /// The address is on this machine or in a private network
        #[arg(long)]
        allow_private: bool,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, clap::Args)]
struct Email {
    /// Who receives it
    #[arg(long, value_name = "ADDRESS")]
    to: Option<String>,
    /// Who sends it [default: the receiver]
    #[arg(long, value_name = "ADDRESS")]
    from: Option<String>,
    /// The mail server [default: that of the sender's provider, where it is known]
    #[arg(long)]
    host: Option<String>,
    /// Its port [default: 587; 465 is encrypted from the first byte]
    #[arg(long)]
    port: Option<u16>,
    /// How it is encrypted [default: by the port]
    #[arg(long, value_parser = ["tls", "starttls", "none"])]
    tls: Option<String>,
    /// Who logs in there [default: the sender]
    #[arg(long, value_name = "NAME", conflicts_with = "no_login")]
    username: Option<String>,
    /// The server asks nobody to log in
    #[arg(long)]
    no_login: bool,
    #[command(flatten)]
    common: Common,
}

/// What came of the questions.
struct Answers {
    plugin: &'static str,
    settings: Map<String, Value>,
    secrets: BTreeMap<String, String>,
    /// Said once it is written.
    hints: Vec<String>,
}

impl Answers {
    fn of(plugin: &'static str) -> Self {
        let settings = Map::from_iter([("plugin".to_owned(), plugin.into())]);
        Self { plugin, settings, secrets: BTreeMap::new(), hints: vec![] }
    }

    fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.settings.insert(key.to_owned(), value.into());
    }

    /// A setting that is kept apart: the configuration only names it.
    fn keep(&mut self, key: &str, secret: &Secret) {
        let reference = self.reference(secret);
        self.set(key, reference);
    }

    /// What stands for a secret that is kept.
    fn reference(&mut self, secret: &Secret) -> String {
        self.secrets.insert(secret.name.clone(), secret.value.clone());
        format!("${{{}}}", secret.name)
    }
}

/// A secret, and the variable that it is.
struct Secret {
    name: String,
    value: String,
}

/// One run of the questions.
struct Setup<'c> {
    cx: &'c Cx,
    channel: ChannelName,
    /// What the user's file says of the channel, where it is there already: it gets new secrets, its lines stay.
    there: Option<Value>,
}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        if cx.env.contains_key("AO_SESSION") {
            return Err(Fail::new(
                Exit::Refused,
                "an agent may not add channels: that is a human's",
            ));
        }
        let (plugin, common) = match &self.what {
            What::Slack { common, .. } => ("slack", common),
            What::Ntfy { common, .. } => ("ntfy", common),
            What::Discord { common } => ("discord", common),
            What::Email(Email { common, .. }) => ("email", common),
            What::Webhook { common, .. } => ("webhook", common),
        };
        let channel = match &common.name {
            Some(name) => name.clone(),
            None => plugin.parse().map_err(|error| usage(format!("{error}")))?,
        };
        let mut setup = Setup { cx, channel, there: None };
        // Nothing is asked that could not be kept.
        setup.there = setup.known(plugin)?;
        let answers = match &self.what {
            What::Slack { incoming: true, .. } => setup.slack_incoming().await?,
            What::Slack { channel, .. } => setup.slack(channel.as_deref()).await?,
            What::Ntfy { server, token, allow_private, .. } => {
                setup.ntfy(server.as_deref(), *token, *allow_private).await?
            }
            What::Discord { .. } => setup.discord().await?,
            What::Email(email) => setup.email(email).await?,
            What::Webhook { url, sign, allow_private, .. } => {
                setup.webhook(url.as_deref(), *sign, *allow_private).await?
            }
        };
        setup.write(&answers).await?;
        for hint in &answers.hints {
            setup.note(hint);
        }
        if common.no_test {
            return Ok(0);
        }
        notify::test(cx, std::slice::from_ref(&setup.channel), None, notify::WAIT).await
    }
}

impl Setup<'_> {
    fn note(&self, text: &str) {
        if !self.cx.global.json {
            out::note(&self.cx.err.text(text));
        }
    }

    fn good(&self, text: &str) {
        self.note(&format!("{} {text}", self.cx.err.painted_mark(Mark::Settled)));
    }

    /// The variable that holds a secret of this channel: `TEAM_SLACK_BOT_TOKEN`.
    fn variable(&self, what: &str) -> String {
        format!("{}_{what}", stem(self.channel.as_str()))
    }

    /// The same, where the channel's lines take it from there; else a new value would reach nobody.
    fn named(&self, what: &str) -> Result<String, Fail> {
        let name = self.variable(what);
        let reads = |there: &Value| there.to_string().contains(&format!("${{{name}}}"));
        match self.there.as_ref().is_none_or(reads) {
            true => Ok(name),
            false => Err(self.other_lines(&format!("they do not take {name}"))),
        }
    }

    /// Its lines are not what would be set up: they are a human's, and stay.
    fn other_lines(&self, why: &str) -> Fail {
        let what = format!("channel {} is there already, with other settings", self.channel);
        Fail::new(Exit::Refused, what).because(why).remedy(format!(
            "take its lines out of {}, or set up another one with --name",
            self.file().display()
        ))
    }

    /// A text that the channel's lines say, by its place in them.
    fn said(&self, place: &str) -> Option<&str> {
        self.there.as_ref()?.pointer(place)?.as_str()
    }

    /// Its lines let it lead to a private network.
    fn private(&self) -> bool {
        let said = self.there.as_ref().and_then(|there| there.get("allowPrivate"));
        said.and_then(Value::as_bool) == Some(true)
    }

    /// A secret from the environment, or typed unseen.
    fn secret(&self, what: &str, question: &str) -> Result<Secret, Fail> {
        let name = self.named(what)?;
        let value = match self.cx.env.get(&name).filter(|value| !value.is_empty()) {
            Some(value) => {
                self.note(&format!("  {name} is taken from the environment"));
                value.clone()
            }
            None => self.cx.ask_secret(question, &format!("set the variable {name}"))?,
        };
        if value.chars().any(char::is_control) {
            return Err(usage(format!("{name} has a line break or another control character")));
        }
        Ok(Secret { name, value })
    }

    /// What a flag says, else what a human answers; an empty answer is the default.
    fn text(
        &self,
        flag: Option<&str>,
        question: &str,
        default: &str,
        name: &str,
    ) -> Result<String, Fail> {
        if let Some(said) = flag {
            return Ok(said.to_owned());
        }
        let shown = if default.is_empty() {
            question.to_owned()
        } else {
            format!("{question} [{default}]")
        };
        let answer = self.cx.ask_text(&shown, default, name)?;
        if answer.is_empty() {
            return Err(Fail::new(Exit::NotConfirmed, format!("it is not said: {question}"))
                .remedy(format!("say it with {name}")));
        }
        Ok(answer)
    }

    /// The settings with the values of secrets, as the plugin gets them: lines that are there stay.
    fn expanded(&self, answers: &Answers) -> Value {
        let there = self.there.as_ref().and_then(Value::as_object);
        let mut settings = there.cloned().unwrap_or_default();
        settings.extend(answers.settings.clone());
        settings.remove("plugin");
        let mut env = secrets::under(&self.cx.data_dir, &self.cx.env);
        env.extend(answers.secrets.clone());
        let mut settings = Value::Object(settings);
        expand(&mut settings, &env);
        settings
    }

    /// Builds the channel as the server will, and looks whether a message could go out.
    async fn look(&self, answers: &Answers) -> Result<(), Fail> {
        let registry = Registry::new(ao_plugins_bundled::all());
        let settings = self.expanded(answers);
        let choice = PluginChoice { plugin: answers.plugin.into(), settings };
        let channel = registry.notifier(&choice, &build_context(self.cx)?)?;
        channel.check(&Call::new("setup", LOOK)).await?;
        Ok(())
    }

    async fn slack(&self, channel: Option<&str>) -> Result<Answers, Fail> {
        use ao_notifier_slack::setup::{
            APP_SCOPE, NEW_APP, check_app_token, check_bot_token, check_channel, manifest,
        };
        let mut answers = Answers::of("slack");
        // What the app has to be allowed depends on it.
        let before = self.said("/channel").unwrap_or("#agents");
        let channel = self.text(channel, "Channel", before, "--channel")?;
        if self.cx.asks() {
            let to_a_person = channel.starts_with('U');
            self.note(&format!(
                "1. Make an app at {NEW_APP}: \"From a manifest\", JSON, and paste this:\n{}\n\
                 2. Under Basic Information make an app-level token with the scope {APP_SCOPE}.\n\
                 3. Under Install App install it; that shows the bot token.",
                manifest(to_a_person)
            ));
        }
        let app = self.secret("APP_TOKEN", "Paste the app-level token (xapp-…)")?;
        let api = self.said("/apiUrl");
        check_app_token(api, &ao_sdk::Secret::new(&app.value)).await?;
        self.good("socket open");
        let bot = self.secret("BOT_TOKEN", "Paste the bot token (xoxb-…)")?;
        let token = ao_sdk::Secret::new(&bot.value);
        let workspace = check_bot_token(api, &token).await?;
        self.good(&format!("token of workspace {}", workspace.name));
        match check_channel(api, &token, &channel).await? {
            Some(found) => {
                self.good(&format!(
                    "{} is in #{}",
                    workspace.bot,
                    found.name.trim_start_matches('#')
                ));
                // The name may change, the id does not; but what is there stays as it is.
                let same = self.said("/channel") == Some(&*channel);
                answers.set("channel", if same { channel } else { found.id });
            }
            None => {
                let name = channel.trim_start_matches('#');
                self.note(&format!("  If nothing arrives: /invite @{} in #{name}", workspace.bot));
                answers.set("channel", channel);
            }
        }
        answers.keep("appToken", &app);
        answers.keep("botToken", &bot);
        self.look(&answers).await?;
        Ok(answers)
    }

    async fn slack_incoming(&self) -> Result<Answers, Fail> {
        let mut answers = Answers::of("slack");
        let webhook = self.secret("WEBHOOK", "Paste the address of the incoming webhook")?;
        answers.keep("webhook", &webhook);
        self.look(&answers).await?;
        answers.hints.push(
            "Works without an app, but: no buttons, no edits, every change would be a new message; so ao sends urgent \
             and action only."
                .into(),
        );
        Ok(answers)
    }

    async fn ntfy(
        &self,
        server: Option<&str>,
        token: bool,
        allow_private: bool,
    ) -> Result<Answers, Fail> {
        use ao_notifier_ntfy::setup::{TOO_OLD, address, link, probe, qr, topics};
        let mut answers = Answers::of("ntfy");
        let server = server.unwrap_or_else(|| self.said("/server").unwrap_or("https://ntfy.sh"));
        answers.set("server", server);
        if allow_private || self.private() {
            answers.set("allowPrivate", true);
        }
        let token = token || self.said("/token").is_some();
        if token || self.cx.env.contains_key(&self.variable("TOKEN")) {
            answers.keep(
                "token",
                &self.secret("TOKEN", &format!("Paste the access token of {server} (tk_…)"))?,
            );
        }
        // A phone that is subscribed stays so.
        let known = secrets::under(&self.cx.data_dir, &self.cx.env);
        let made = topics().map_err(|error| {
            Fail::new(Exit::Failed, "no random numbers could be had").because(error)
        })?;
        let topic = |what: &str, new: String| {
            let name = self.named(what)?;
            Ok::<_, Fail>(Secret { value: known.get(&name).cloned().unwrap_or(new), name })
        };
        let (send, reply) = (topic("TOPIC", made.send)?, topic("REPLY_TOPIC", made.reply)?);
        answers.keep("topic", &send);
        answers.keep("replyTopic", &reply);
        let found = probe(&self.expanded(&answers), &Call::new("setup", LOOK)).await?;
        self.good(&format!("{server} answers"));
        if !found.edits {
            answers.set("edits", false);
            answers.hints.push(TOO_OLD.into());
        }
        if found.public {
            answers.hints.push(
                "On the public server the topic name is the password, and the text passes through it: ao sends \
                 titles and choices, no code."
                    .into(),
            );
        }
        if self.cx.asks() {
            if let Some(code) = link(server, &send.value).and_then(|link| qr(&link)) {
                self.note(&code);
            }
            self.note(&format!(
                "Scan with the ntfy app, or subscribe to {}",
                address(server, &send.value)
            ));
            self.cx.ask_text("Press Enter once it is subscribed", "", "--yes")?;
        }
        Ok(answers)
    }

    async fn discord(&self) -> Result<Answers, Fail> {
        let mut answers = Answers::of("discord");
        self.note("  The webhook's address: the channel's settings, Integrations, Webhooks, Copy Webhook URL");
        let url = self.secret("URL", "Paste the address of the webhook")?;
        answers.keep("url", &url);
        self.look(&answers).await?;
        self.good("Discord knows the webhook");
        answers.hints.push(
            "By a webhook Discord has no buttons: the command stands in each message.".into(),
        );
        Ok(answers)
    }

    async fn email(&self, said: &Email) -> Result<Answers, Fail> {
        let mut answers = Answers::of("email");
        let to = self.text(
            said.to.as_deref(),
            "Your address",
            self.said("/to").or_else(|| self.said("/to/0")).unwrap_or_default(),
            "--to",
        )?;
        // A provider lets its users write to themselves: who receives can send.
        let before = self.said("/from").unwrap_or(&to);
        let from = said.from.clone().unwrap_or_else(|| before.to_owned());
        let provider = ao_notifier_email::setup::provider(&from);
        let known = provider.as_ref().filter(|_| said.host.is_none());
        let host = match known {
            Some(provider) => {
                self.note(&format!("  {} sends it: {}", provider.name, provider.password));
                provider.host.to_owned()
            }
            None => self.text(
                said.host.as_deref(),
                &format!("The mail server of {from}"),
                self.said("/smtp/host").unwrap_or_default(),
                "--host",
            )?,
        };
        let mut smtp = Map::from_iter([("host".to_owned(), host.as_str().into())]);
        // Lines that name no port mean the usual one.
        let names = |there: &Value| there.pointer("/smtp/port").is_some();
        let known = known.filter(|_| self.there.as_ref().is_none_or(names));
        if let Some(port) = said.port.or(known.map(|provider| provider.port)) {
            smtp.insert("port".into(), port.into());
        }
        if let Some(tls) = &said.tls {
            smtp.insert("tls".into(), tls.as_str().into());
        }
        if !said.no_login {
            let password = self.secret("PASSWORD", &format!("Paste the password of {host}"))?;
            let before = self.said("/smtp/username").unwrap_or(&from);
            let username = said.username.clone().unwrap_or_else(|| before.to_owned());
            smtp.insert("username".into(), username.into());
            smtp.insert("password".into(), answers.reference(&password).into());
        }
        answers.set("from", from);
        answers.set("to", to);
        answers.set("smtp", smtp);
        self.look(&answers).await?;
        self.good(&format!("{host} lets ao in"));
        if self.policy()?.is_none_or(|policy| policy.public_url.is_none()) {
            answers.hints.push("Mails carry no links: those need `publicUrl` in your file.".into());
        }
        Ok(answers)
    }

    async fn webhook(
        &self,
        url: Option<&str>,
        sign: bool,
        allow_private: bool,
    ) -> Result<Answers, Fail> {
        let mut answers = Answers::of("webhook");
        let before = self.said("/url").unwrap_or_default();
        let url = self.text(url, "The address that takes the messages", before, "--url")?;
        answers.set("url", url);
        if allow_private || self.private() {
            answers.set("allowPrivate", true);
        }
        let sign = sign || self.said("/secret").is_some();
        if sign || self.cx.env.contains_key(&self.variable("SECRET")) {
            answers.keep(
                "secret",
                &self.secret("SECRET", "Paste the secret that requests are signed with")?,
            );
        } else {
            answers.hints.push("Requests are not signed; to sign them add --sign.".into());
        }
        self.look(&answers).await?;
        self.good("the address can be used");
        Ok(answers)
    }

    fn file(&self) -> PathBuf {
        self.cx.global.config.clone().unwrap_or_else(|| self.cx.user_file())
    }

    fn read(&self, file: &Path) -> Result<String, Fail> {
        match std::fs::read_to_string(file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            read => read.map_err(|error| {
                Fail::new(Exit::Failed, format!("{} cannot be read", file.display())).because(error)
            }),
        }
    }

    /// What the user's own files say; none where they cannot be used.
    fn policy(&self) -> Result<Option<Policy>, Fail> {
        let loaded = config::load(&self.cx.own_files()?, &self.cx.world(Catalog::anything()));
        Ok(loaded.ok().map(|loaded| loaded.policy))
    }

    /// The settings of the channel, where one of that name and plugin is there; it may be set up again.
    fn known(&self, plugin: &str) -> Result<Option<Value>, Fail> {
        let Some(policy) = self.policy()? else { return Ok(None) };
        let shares = |other: &&ChannelName| {
            **other != self.channel && stem(other.as_str()) == stem(self.channel.as_str())
        };
        if let Some(other) = policy.channels.keys().find(shares) {
            let what = format!(
                "the secrets of {} would be those of {other}: both are called {}_…",
                self.channel,
                stem(other.as_str())
            );
            return Err(Fail::new(Exit::Refused, what)
                .remedy(format!("ao notify setup {plugin} --name another-name")));
        }
        match policy.channels.get(&self.channel).cloned() {
            Some(choice) if choice.plugin != plugin => Err(Fail::new(
                Exit::Refused,
                format!("channel {} is there already, of plugin {}", self.channel, choice.plugin),
            )
            .remedy(format!("ao notify setup {plugin} --name my-{plugin}"))),
            there => Ok(there.map(|choice| choice.settings)),
        }
    }

    /// Keeps the secrets, adds the channel to the user's file, and lets the server take both up.
    async fn write(&self, answers: &Answers) -> Result<(), Fail> {
        let cx = self.cx;
        let (file, name) = (self.file(), self.channel.as_str());
        let text = self.read(&file)?;
        let lines = || userfile::entry("  ", name, &answers.settings);
        let by_hand = |what: String| {
            Fail::new(Exit::Refused, what).remedy(format!(
                "put this into {} yourself:\nnotifiers:\n{}",
                file.display(),
                lines()
            ))
        };
        let new = match userfile::with_channel(&text, name, &answers.settings) {
            Ok(new) => Some(new),
            Err(userfile::Untouched::Exists) => None,
            Err(userfile::Untouched::Unclear) => {
                return Err(by_hand(format!(
                    "`notifiers` of {} is written on one line",
                    file.display()
                )));
            }
        };
        // Before anything is kept: secrets that work are not replaced for lines that cannot be used.
        match &new {
            Some(new) => {
                // It must read as what it is meant to say before it replaces what is there.
                let source = SourceFile {
                    path: file.clone(),
                    text: new.clone(),
                    role: Role::User,
                    in_repository: false,
                    trusted: None,
                };
                let mut world = cx.world(Catalog::new(ao_plugins_bundled::all()));
                world.env.extend(answers.secrets.clone());
                let loaded = config::load(&[source], &world)
                    .map_err(|errors| render::config::failure(&cx.err, &errors))?;
                if !loaded.policy.channels.contains_key(&self.channel) {
                    return Err(by_hand(format!("{} could not be changed", file.display())));
                }
            }
            None => {
                let mut wanted = answers.settings.clone();
                // That stands apart from the settings.
                wanted.remove("plugin");
                let there = self.there.as_ref().unwrap_or(&Value::Null);
                if let Some(place) = unlike(there, &Value::Object(wanted), "") {
                    return Err(self.other_lines(&format!("`{place}` is another one there")));
                }
            }
        }
        let secrets_file = secrets::path(&cx.data_dir);
        secrets::keep(&cx.data_dir, &answers.secrets).map_err(|error| {
            Fail::new(Exit::Failed, format!("{} cannot be written", secrets_file.display()))
                .because(error)
        })?;
        match new {
            Some(new) => {
                userfile::write(&file, &new).map_err(|error| {
                    Fail::new(Exit::Failed, format!("{} cannot be written", file.display()))
                        .because(error)
                })?;
                self.good(&format!("channel {name} is in {}", file.display()));
            }
            None => self.note(&format!(
                "  {} has channel {name} already; its lines stay as they are",
                file.display()
            )),
        }
        if !answers.secrets.is_empty() {
            let names: Vec<&str> = answers.secrets.keys().map(String::as_str).collect();
            self.good(&format!("{} in {} (0600)", names.join(", "), secrets_file.display()));
        }
        let report: ConfigReport = cx.client().post("/api/config/reload", &json!({})).await?;
        let wrong = report.against(&file);
        if wrong.is_empty() { Ok(()) } else { Err(render::config::failure(&cx.err, &wrong)) }
    }
}

/// What the variables of a channel's secrets begin with.
fn stem(channel: &str) -> String {
    let name = channel.to_ascii_uppercase();
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    // A name is no number, and what begins with AO_ is read by files that nobody trusts.
    let plain =
        !name.starts_with(|c: char| c.is_ascii_digit()) && !format!("{name}_").starts_with("AO_");
    if plain { name } else { format!("CHANNEL_{name}") }
}

/// What `there` does not say as `wanted` does: the place of the first.
fn unlike(there: &Value, wanted: &Value, at: &str) -> Option<String> {
    match (there, wanted) {
        (Value::Object(there), Value::Object(wanted)) => wanted.iter().find_map(|(key, wanted)| {
            unlike(there.get(key).unwrap_or(&Value::Null), wanted, &format!("{at}.{key}"))
        }),
        // One address may stand alone or in a list.
        (Value::Array(list), Value::String(_)) if list.len() == 1 => unlike(&list[0], wanted, at),
        _ => (there != wanted).then(|| at.trim_start_matches('.').to_owned()),
    }
}

/// Variables that stand for a whole text.
fn expand(value: &mut Value, env: &BTreeMap<String, String>) {
    match value {
        Value::String(text) => {
            let name = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
            if let Some(value) = name.and_then(|name| env.get(name)) {
                text.clone_from(value);
            }
        }
        Value::Object(map) => map.values_mut().for_each(|value| expand(value, env)),
        Value::Array(items) => items.iter_mut().for_each(|value| expand(value, env)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_of_a_secret_is_never_one_of_aos_own() {
        let dir = tempfile::tempdir().unwrap();
        let cx = crate::cx::tests::cx(dir.path());
        let variable = |channel: &str| {
            Setup { cx: &cx, channel: channel.parse().unwrap(), there: None }.variable("BOT_TOKEN")
        };
        assert_eq!(variable("slack"), "SLACK_BOT_TOKEN");
        assert_eq!(variable("team-slack.2"), "TEAM_SLACK_2_BOT_TOKEN");
        assert_eq!(variable("ao"), "CHANNEL_AO_BOT_TOKEN");
        assert_eq!(variable("ao-x"), "CHANNEL_AO_X_BOT_TOKEN");
        assert_eq!(variable("2x"), "CHANNEL_2X_BOT_TOKEN");
    }

    #[test]
    fn s32_a_secret_goes_into_its_own_file_and_the_settings_name_it() {
        let mut answers = Answers::of("slack");
        let secret = Secret { name: "SLACK_BOT_TOKEN".into(), value: "xoxb-1".into() };
        answers.keep("botToken", &secret);
        assert_eq!(answers.settings["botToken"], "${SLACK_BOT_TOKEN}");
        assert_eq!(answers.secrets["SLACK_BOT_TOKEN"], "xoxb-1");
        let mut settings = json!({"smtp": {"password": "${SLACK_BOT_TOKEN}"}});
        expand(&mut settings, &answers.secrets);
        assert_eq!(settings["smtp"]["password"], "xoxb-1");
    }
}
