//! `ao init`.

use std::{
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use ao_core::{
    config::{
        self, Catalog, FILE_NAME, Forge, Role, SourceFile, Starter, World, policy::PluginChoice,
    },
    registry::Registry,
    slots::{
        Call, ErrorKind, InstanceId, PluginError, ProjectId, SessionPrefix,
        agent::{AgentCheck, Permissions},
        notifier::Mark,
        plugin::BuildContext,
        text::{self, slug},
        workspace::RepoInfo,
    },
};
use ao_web::{
    configs::{ConfigReport, FileBody, TrustBody},
    view::{ChannelList, TestDoc},
};

use super::{unit, usage};
use crate::{
    cx::Cx,
    fail::{Exit, Fail},
    out::{self, Tone},
    paths,
};

/// Set up the repository you are in
///
/// Looks at what is there, asks what cannot be found out, writes agent-orchestrator.yaml and
/// sends a test message. Nothing in the repository is changed until it says "Wrote"; for the
/// test the server is started.
///
/// Examples:
///   ao init
///   ao init --agent custom --webhook https://hooks.example.com/T0
///   ao init --yes --no-test         takes what was found, asks and sends nothing
///
/// Exit codes: 4 this is no git repository, 8 the branch that work starts from is not known.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Cmd {
    /// The repository [default: this folder's]
    folder: Option<PathBuf>,
    /// What the project is called
    #[arg(long)]
    name: Option<ProjectId>,
    /// The first part of its sessions' ids
    #[arg(long)]
    prefix: Option<SessionPrefix>,
    /// What work starts from
    #[arg(long, value_name = "BRANCH")]
    default_branch: Option<String>,
    /// The agent
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// What the agent may do without asking
    #[arg(long, value_parser = permissions, default_value = "skip", value_name = "skip|accept-edits|ask|plan")]
    permissions: Permissions,
    /// A scripted agent that asks a question, to see how ao works
    #[arg(long, conflicts_with = "agent")]
    demo_agent: bool,
    /// Where to call you, where no desktop does
    #[arg(long, value_name = "URL")]
    webhook: Option<String>,
    /// What must pass on each pull request, where GitHub does not check it
    #[arg(long, value_name = "COMMAND")]
    check: Option<String>,
    /// Send no test message
    #[arg(long)]
    no_test: bool,
    /// Let systemd start the server at log-in, and again when it ends by a fault
    #[arg(long, overrides_with = "no_systemd")]
    systemd: bool,
    /// Do not
    #[arg(long)]
    no_systemd: bool,
}

fn permissions(text: &str) -> Result<Permissions, String> {
    serde_json::from_value(serde_json::Value::String(text.to_owned()))
        .map_err(|_| "skip, accept-edits, ask or plan".to_owned())
}

/// What was found, and what follows from it for the file.
#[derive(Debug, Default)]
struct Found {
    /// An agent that is installed.
    agent: Option<String>,
    tmux: bool,
    /// A channel that works here.
    channel: bool,
    /// The repository on GitHub, where it can be used.
    github: Option<String>,
    /// A git that can keep pull requests.
    prs: bool,
}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        if cx.env.contains_key("AO_SESSION") {
            return Err(Fail::new(
                Exit::Refused,
                "an agent may not set up projects: that is a human's",
            ));
        }
        let start = self
            .folder
            .as_ref()
            .map_or_else(|| cx.cwd.clone(), |folder| paths::absolute(folder, &cx.home));
        let registry = Registry::new(ao_plugins_bundled::all());
        let context = build_context(cx)?;
        let call = Call::new("init", Duration::from_secs(15));
        let workspace = registry.workspace("worktree", &context)?;
        let repo = workspace.inspect(&call, &start).await.map_err(|error| match error.kind {
            ErrorKind::NotFound => {
                let what = format!("{} is in no git repository", start.display());
                Fail::new(Exit::NotFound, what).remedy("cd into one, or make one: git init")
            }
            _ => error.into(),
        })?;
        if let Some(problem) = repo.problems.first() {
            return Err(problem.clone().into());
        }
        let file = repo.root.join(FILE_NAME);
        if file.exists() {
            out::note(&format!("{} is already there; it is used as it is.", file.display()));
            return self.use_file(cx, &file, None).await;
        }
        let found = self.look(cx, &registry, &context, &repo).await?;
        let mut starter = self.ask(cx, &repo, subdir(&repo, &start), &found)?;
        let reached = found.channel && self.try_push(cx, "desktop").await?;
        starter.webhook = self.another_way(cx, &registry, &context, reached)?;
        let text = config::starter_file(&starter);
        // A link that leads nowhere is not followed, and a file that came up meanwhile stays.
        let new = std::fs::File::create_new(&file);
        new.and_then(|mut new| new.write_all(text.as_bytes())).map_err(|error| {
            Fail::new(Exit::Failed, format!("{} could not be written", file.display()))
                .because(error)
        })?;
        let lines = text::count(text.lines().count() as u64, "line", "lines");
        let wrote = format!("Wrote {FILE_NAME} ({lines}). Nothing else was changed.");
        if !cx.global.json {
            out::say(&wrote);
        }
        self.use_file(cx, &file, Some((&starter, text))).await
    }

    /// What can be found without asking; each finding is one line.
    async fn look(
        &self,
        cx: &Cx,
        registry: &Registry,
        context: &BuildContext,
        repo: &RepoInfo,
    ) -> Result<Found, Fail> {
        // Something that is not there is no failure: ao works without it.
        let say = |mark: Option<Mark>, name: &str, words: String| {
            let mark = match mark {
                Some(mark) => cx.err.painted_mark(mark),
                None if name.is_empty() => " ".into(),
                None => cx.err.paint(Tone::Muted, &cx.err.text("–")),
            };
            if !cx.global.json {
                out::note(&format!("  {mark} {} {}", out::pad(name, 15), cx.err.text(&words)));
            }
        };
        let good = Some(Mark::Settled);
        let name = repo.root.file_name().map(|name| name.to_string_lossy().into_owned());
        let branch = match &repo.default_branch {
            Some(branch) => format!("branch {branch}"),
            None => "branch unknown".into(),
        };
        let clean = if repo.clean { "clean" } else { "with uncommitted changes" };
        say(good, "git repository", format!("{}, {branch}, {clean}", name.unwrap_or_default()));
        let mut found = Found { prs: keeps_prs(cx).await, ..Found::default() };
        let here = match found.prs {
            true => "issues from ./issues, pull requests kept by ao itself",
            false => "issues from ./issues; pull requests need git 2.40 or newer",
        };
        let origin = repo.origin.as_deref();
        match (origin, origin.and_then(ao_plugins_bundled::on_github)) {
            (None, _) => say(None, "forge", format!("none found: {here}")),
            (Some(origin), None) => say(None, "forge", format!("{origin} is not read: {here}")),
            (Some(_), Some(name)) => match reaches_github(registry, context, &name).await {
                Ok(()) => {
                    say(good, "forge", format!("github.com/{name}, issues and pull requests"));
                    found.github = Some(name);
                }
                Err(error) => {
                    let (why, remedy) = match error.kind {
                        ErrorKind::Missing => {
                            ("not signed in".to_owned(), "gh auth login".to_owned())
                        }
                        _ => {
                            let why =
                                if error.cause.is_empty() { &error.what } else { &error.cause };
                            let remedy = error.remedy.as_deref().unwrap_or("ao doctor");
                            (text::one_line(why), text::one_line(remedy))
                        }
                    };
                    say(None, "forge", format!("github.com/{name}, {why}: {here}."));
                    let then = format!("write `repo: {name}` in place of tracker and scm");
                    say(None, "", format!("To work with it: {remedy}, then {then}"));
                }
            },
        }
        let mut hints = vec![];
        for (name, agent) in registry.agents(context) {
            let call = Call::new(format!("check-{name}"), Duration::from_secs(10));
            let Ok(mut check) = agent.check(&call, &cx.env, Some(&repo.root)).await else {
                continue;
            };
            let Some(program) = check.program.clone() else {
                hints.push(check.install_hint);
                continue;
            };
            say(good, "agent", agent_words(name, &check));
            if self.permissions == Permissions::Skip {
                let words = "it runs commands without asking (permissions: skip; change it: ao help permissions)";
                say(None, "", words.into());
            }
            if wants_a_human(&check) && self.start_by_hand(cx, name, &program, &repo.root)? {
                if let Ok(again) = agent.check(&call, &cx.env, Some(&repo.root)).await {
                    check = again;
                }
                say(good, "agent", agent_words(name, &check));
            }
            found.agent.get_or_insert_with(|| name.to_owned());
        }
        if found.agent.is_none() && self.agent.is_none() {
            say(None, "agent", "none found. Install one:".into());
            hints.iter().for_each(|hint| say(None, "", hint.clone()));
            say(None, "", "or use any command: ao init --agent custom".into());
        }
        found.tmux = match super::doctor::version_of("tmux", &["-V"], cx).await {
            Some(version) => {
                say(good, "terminal", version);
                true
            }
            None => {
                let install = super::doctor::install("tmux", cx);
                say(
                    None,
                    "terminal",
                    format!("tmux is missing. Install: {install}. Until then agents run as plain"),
                );
                say(None, "", "processes: you can talk to them, not look into a terminal.".into());
                false
            }
        };
        let others = own_channels(cx).join(", ");
        let call = Call::new("check-desktop", Duration::from_secs(5));
        let looked = registry.notifier(&PluginChoice::of("desktop"), context);
        match looked.map(|desktop| async move { desktop.check(&call).await }) {
            Ok(look) => match look.await {
                Ok(()) => {
                    let words = match others.is_empty() {
                        true => {
                            "desktop     – phone, chat: none yet (ao notify setup ntfy)".to_owned()
                        }
                        false => format!("desktop, {others}"),
                    };
                    say(good, "push", words);
                    found.channel = true;
                }
                Err(error) => {
                    let why = if error.cause.is_empty() { &error.what } else { &error.cause };
                    let why = text::one_line(why);
                    say(None, "push", format!("no desktop here ({why})."));
                    let words = match others.is_empty() {
                        true => "Urgent messages would reach nobody.".to_owned(),
                        false => format!("Messages go to {others}."),
                    };
                    say(None, "", words);
                }
            },
            Err(error) => say(Some(Mark::Failed), "push", error.to_string()),
        }
        Ok(found)
    }

    /// An agent that is not logged in, or asks whether it may work here, can be started on the spot.
    fn start_by_hand(
        &self,
        cx: &Cx,
        name: &str,
        program: &Path,
        repo: &Path,
    ) -> Result<bool, Fail> {
        if !asks(cx) {
            return Ok(false);
        }
        let question =
            format!("Start {name} here now, so that you can set that? Leave it to go on.");
        if !cx.ask(&question, true, "--no-input")? {
            return Ok(false);
        }
        let ran = std::process::Command::new(program).current_dir(repo).status();
        ran.map(|_| true).map_err(|error| {
            Fail::new(Exit::Failed, format!("{} could not be started", program.display()))
                .because(error)
        })
    }

    fn ask(
        &self,
        cx: &Cx,
        repo: &RepoInfo,
        subdir: Option<String>,
        found: &Found,
    ) -> Result<Starter, Fail> {
        let folder = repo
            .root
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        // As a bare repository is called.
        let folder = folder.strip_suffix(".git").unwrap_or(&folder).to_owned();
        let folder = if folder.parse::<ProjectId>().is_ok() { folder } else { slug(&folder, 40) };
        let project = match &self.name {
            Some(name) => name.clone(),
            None => {
                let default = if folder.is_empty() { "my-app".to_owned() } else { folder };
                let answer =
                    cx.ask_text(&format!("Project name [{default}]"), &default, "--name")?;
                answer.parse().map_err(|error: ao_core::slots::IdError| {
                    usage(error.to_string()).remedy("--name")
                })?
            }
        };
        let prefix = match &self.prefix {
            Some(prefix) => prefix.clone(),
            None => {
                let default = derived_prefix(&project).unwrap_or_else(|| "s".to_owned());
                let answer = cx.ask_text(
                    &cx.err
                        .text(&format!("Session prefix [{default}]  → {default}-1, {default}-2 …")),
                    &default,
                    "--prefix",
                )?;
                answer.parse().map_err(|error: ao_core::slots::IdError| {
                    usage(error.to_string()).remedy("--prefix")
                })?
            }
        };
        let default_branch =
            match self.default_branch.clone().or_else(|| repo.default_branch.clone()) {
                Some(branch) => branch,
                // Never guessed.
                None => {
                    let branch =
                        cx.ask_text("Which branch does work start from?", "", "--default-branch")?;
                    if branch.is_empty() {
                        return Err(Fail::new(
                            Exit::NotConfirmed,
                            "which branch work starts from is not known",
                        )
                        .remedy("ao init --default-branch main"));
                    }
                    branch
                }
            };
        let forge = self.forge(cx, &repo.root.join(subdir.as_deref().unwrap_or("")), found)?;
        let mut agent = self.agent.clone().or(found.agent.clone());
        let mut command = vec![];
        if agent.as_deref() == Some("custom") {
            command = vec!["my-agent".to_owned(), "{prompt}".to_owned()];
        }
        // Never the answer of a script.
        let offered = "Go on with a scripted demo agent to see how ao works?";
        if self.demo_agent || (agent.is_none() && asks(cx) && cx.ask(offered, true, "--agent")?) {
            agent = Some("custom".into());
            command = super::demo_agent::command();
        }
        Ok(Starter {
            project,
            path: ".".into(),
            subdir,
            prefix,
            default_branch,
            agent: agent.unwrap_or_else(|| "claude-code".to_owned()),
            permissions: self.permissions,
            command,
            runtime: (!found.tmux).then(|| "process".to_owned()),
            webhook: None,
            forge,
        })
    }

    /// Where issues and pull requests are. What must pass on each is a human's to say: a guess is asked, or written as a
    /// comment.
    fn forge(&self, cx: &Cx, root: &Path, found: &Found) -> Result<Forge, Fail> {
        if let Some(name) = &found.github {
            if self.check.is_some() && !cx.global.json {
                out::note("--check is not used: what must pass is said on GitHub.");
            }
            return Ok(Forge::Github(name.clone()));
        }
        let guess = likely_check(root);
        let mut check = self.check.clone();
        if check.is_none() && found.prs && asks(cx) {
            let shown = guess.unwrap_or("none");
            let question = format!("Command that checks your code [{shown}]");
            check = Some(cx.ask_text(&question, shown, "--check")?);
        }
        let check = check.filter(|run| !run.trim().is_empty() && run != "none");
        let example = guess.unwrap_or("make test").to_owned();
        Ok(Forge::Here { prs: found.prs, check, example })
    }

    /// Registers and trusts the file, then tries whether a message arrives. Only what `ao init` wrote itself is
    /// trusted without a question.
    async fn use_file(
        &self,
        cx: &Cx,
        file: &Path,
        written: Option<(&Starter, String)>,
    ) -> Result<u8, Fail> {
        let client = cx.client();
        let body = FileBody { file: file.to_owned() };
        let report: ConfigReport = client.post("/api/config/register", &body).await?;
        let wrong = report.against(file);
        if !wrong.is_empty() {
            return Err(crate::render::config::failure(&cx.err, &wrong));
        }
        let (written, text) = written.unzip();
        if let Some(text) = text {
            // What was written, not what stands there by now.
            let hash = source(file, text).hash();
            let body = TrustBody { file: file.to_owned(), hash };
            let report: ConfigReport = client.post("/api/config/trust", &body).await?;
            let wrong = report.against(file);
            if !wrong.is_empty() {
                return Err(crate::render::config::failure(&cx.err, &wrong));
            }
            super::tell_report(cx, &report);
        } else {
            let report = super::trust_in_place(cx, client, report).await?;
            super::tell_report(cx, &report);
        }
        match written {
            Some(Starter { webhook: Some(_), .. }) => {
                self.try_push(cx, "hook").await?;
            }
            Some(_) => {}
            None => self.try_all(cx).await?,
        }
        let project = written.map(|starter| starter.project.clone());
        let offered = unit::Offer { wanted: self.systemd, refused: self.no_systemd };
        offered.make(cx).await?;
        if cx.global.json {
            out::json(
                &serde_json::json!({ "schema": "ao.init/1", "file": file, "project": project }),
            );
            return Ok(0);
        }
        let name = match project {
            Some(project) => project.to_string(),
            None => {
                let list: ao_web::view::ProjectList = client.get("/api/projects").await?;
                let here = list.projects.iter().find(|project| file.starts_with(&project.path));
                here.map_or_else(|| "<project>".to_owned(), |project| project.id.to_string())
            }
        };
        let accent = |command: String| cx.style.paint(Tone::Accent, &command);
        let next = accent(format!("ao spawn {name} --prompt \"Fix the flaky login test\""));
        let issue = written.and_then(|_| first_issue(file.parent()?));
        let next = match issue {
            Some(issue) => {
                format!("{}      or: {next}", accent(format!("ao spawn {name} {issue}")))
            }
            None => next,
        };
        let own = written.and_then(|starter| starter.command.first());
        match own.is_some_and(|program| program == "my-agent") {
            true => {
                out::say(&format!("Next: put your agent's program into {FILE_NAME}, then: {next}"))
            }
            false => out::say(&format!("Next: {next}")),
        }
        Ok(0)
    }

    /// Tries each channel that there is.
    async fn try_all(&self, cx: &Cx) -> Result<(), Fail> {
        let list: ChannelList = cx.client().get("/api/channels").await?;
        let mut reached = false;
        for channel in list.channels.iter().filter(|channel| channel.error.is_none()) {
            reached |= self.try_push(cx, channel.name.as_str()).await?;
        }
        if !reached && !self.no_test && !cx.global.json {
            out::note(
                "Until a channel works, only `ao status` tells what needs you. See: ao notify channels",
            );
        }
        Ok(())
    }

    /// Sends a test through a channel and asks whether it was seen. A test that nobody can confirm is not sent.
    async fn try_push(&self, cx: &Cx, channel: &str) -> Result<bool, Fail> {
        if self.no_test || !(cx.global.yes || out::can_ask()) {
            return Ok(true);
        }
        let question = match channel {
            "desktop" => "Send a test push now?".to_owned(),
            other => format!("Send a test push by {other} now?"),
        };
        if !cx.ask(&question, true, "--no-test")? {
            return Ok(true);
        }
        let body = serde_json::json!({ "channel": channel });
        match cx.client().post::<TestDoc>("/api/notifications/test", &body).await {
            Ok(doc) => {
                let mark = cx.err.painted_mark(Mark::Settled);
                out::note(&format!("  {mark} {channel} took it in {} ms", doc.took_ms));
                cx.ask("Did you see it?", true, "--yes")
            }
            Err(fail) => {
                let cause = fail.cause.map(|cause| format!(": {cause}")).unwrap_or_default();
                let mark = cx.err.painted_mark(Mark::Failed);
                out::note(&cx.err.text(&format!("  {mark} {channel}: {}{cause}", fail.what)));
                Ok(false)
            }
        }
    }

    /// The way that was named; else, where nothing reached the human, another, or the plain word that there is none.
    fn another_way(
        &self,
        cx: &Cx,
        registry: &Registry,
        context: &BuildContext,
        reached: bool,
    ) -> Result<Option<String>, Fail> {
        let url = match &self.webhook {
            Some(url) => url.clone(),
            None if reached => return Ok(None),
            None if asks(cx) => cx.ask_text(
                "How shall ao reach you? The address of a webhook, or [none]",
                "",
                "--webhook",
            )?,
            None => String::new(),
        };
        if !url.is_empty() && url != "none" {
            let settings = serde_json::json!({ "url": url });
            registry.notifier(&PluginChoice { plugin: "webhook".into(), settings }, context)?;
            return Ok(Some(url));
        }
        if !cx.global.json {
            out::note(
                "No channel: until there is one, only `ao status` tells what needs you. Add one: ao notify setup ntfy",
            );
        }
        Ok(None)
    }
}

/// The folder of a checkout that is to be worked in; none for all of it.
fn subdir(repo: &RepoInfo, start: &Path) -> Option<String> {
    let start = start.canonicalize().ok()?;
    let within = start.strip_prefix(repo.root.canonicalize().ok()?).ok()?;
    let of_git = start.starts_with(repo.common_dir.canonicalize().ok()?);
    within.to_str().filter(|within| !within.is_empty() && !of_git).map(str::to_owned)
}

/// The issue with the lowest number, of those that the written file's tracker reads.
fn first_issue(repo: &Path) -> Option<String> {
    let names = std::fs::read_dir(repo.join("issues")).ok()?.flatten();
    let number = |name: &str| {
        let stem = name.strip_suffix(".md")?;
        stem.split_once('-').map_or(stem, |(number, _)| number).parse::<u32>().ok()
    };
    let numbers = names.filter_map(|entry| number(entry.file_name().to_str()?));
    numbers.min().map(|number| number.to_string())
}

/// The command that most likely checks what lies in a folder, by the files that say so.
fn likely_check(root: &Path) -> Option<&'static str> {
    const MOST: u64 = 1 << 20;
    let text = |name: &str| {
        let file = root.join(name);
        let small = file.metadata().is_ok_and(|meta| meta.is_file() && meta.len() <= MOST);
        small.then(|| std::fs::read_to_string(file).ok()).flatten()
    };
    let package = || {
        let package: serde_json::Value = serde_json::from_str(&text("package.json")?).ok()?;
        let test = package["scripts"]["test"].as_str()?;
        // What `npm init` writes fails always.
        (!test.contains("no test specified")).then_some("npm test")
    };
    let rule = || {
        let rules = text("Makefile")?;
        rules.lines().any(|line| line.starts_with("test:")).then_some("make test")
    };
    let pytest = || {
        let named = root.join("pytest.ini").is_file()
            || text("pyproject.toml").is_some_and(|text| text.contains("[tool.pytest"));
        named.then_some("pytest")
    };
    let by_file = |name: &str, run| root.join(name).is_file().then_some(run);
    rule()
        .or_else(package)
        .or_else(|| by_file("Cargo.toml", "cargo test"))
        .or_else(|| by_file("go.mod", "go test ./..."))
        .or_else(pytest)
}

/// Whether this machine's git merges without a checkout.
async fn keeps_prs(cx: &Cx) -> bool {
    let version = super::doctor::version_of("git", &["--version"], cx).await.unwrap_or_default();
    super::doctor::can_merge_trees(&version)
}

/// Whether pull requests of a repository on GitHub can be read here.
async fn reaches_github(
    registry: &Registry,
    context: &BuildContext,
    name: &str,
) -> Result<(), PluginError> {
    let call = Call::new("check-github", Duration::from_secs(5));
    registry.scm("github", context)?.list(&call, name, false).await.map(drop)
}

/// Whether a person answers.
fn asks(cx: &Cx) -> bool {
    out::can_ask() && !cx.global.yes && !cx.global.no_input
}

fn wants_a_human(check: &AgentCheck) -> bool {
    check.logged_in == Some(false) || check.trusts_repo == Some(false)
}

fn agent_words(name: &str, check: &AgentCheck) -> String {
    let mut words = name.to_owned();
    words.extend(check.version.as_ref().map(|version| format!(" {version}")));
    words.push_str(match check.logged_in {
        Some(true) => ", logged in",
        Some(false) => ", not logged in: start it once by hand",
        None => "",
    });
    if check.trusts_repo == Some(false) {
        words.push_str(", does not trust this folder yet: start it here once by hand");
    }
    words
}

/// A file with this text, by nobody but us.
fn source(path: &Path, text: String) -> SourceFile {
    SourceFile {
        path: path.to_owned(),
        text,
        role: Role::Given,
        in_repository: false,
        trusted: None,
    }
}

/// The prefix that a project gets which names none: asked of the configuration itself.
fn derived_prefix(project: &ProjectId) -> Option<String> {
    let file = source(Path::new("/x.yaml"), format!("projects: {{\"{project}\": {{path: /}}}}\n"));
    let world = World { home: "/".into(), catalog: Catalog::anything(), ..World::default() };
    let loaded = config::load(&[file], &world).ok()?;
    loaded.policy.projects.get(project).map(|project| project.session_prefix.to_string())
}

/// What plugins may know that are asked before a server runs.
pub(crate) fn build_context(cx: &Cx) -> Result<BuildContext, Fail> {
    let instance: InstanceId = "00000000000000000000000000"
        .parse()
        .map_err(|error| Fail::new(Exit::Failed, "no instance").because(error))?;
    Ok(BuildContext {
        data_dir: cx.data_dir.clone(),
        run_dir: cx.run_dir.clone(),
        instance,
        ao: cx.data_dir.join("run/ao"),
        home: cx.home.clone(),
        env: cx.env.clone(),
    })
}

/// Channels of the user's own files that reach him beyond this desktop; none where those cannot be used.
fn own_channels(cx: &Cx) -> Vec<String> {
    let Ok(files) = cx.own_files() else { return vec![] };
    let Ok(loaded) = config::load(&files, &cx.world(Catalog::anything())) else { return vec![] };
    let beyond = loaded.policy.channels.iter().filter(|(_, choice)| choice.plugin != "desktop");
    beyond.map(|(name, _)| name.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_that_is_named_is_taken_though_a_desktop_works() {
        use clap::Parser;
        let dir = tempfile::tempdir().unwrap();
        let cx = crate::cx::tests::cx(dir.path());
        let url = "https://hooks.example.com/T0";
        for (args, wanted) in [(&["--webhook", url][..], Some(url)), (&[], None)] {
            let args = [&["ao", "init"], args].concat();
            let crate::args::Command::Init(init) = crate::args::Cli::parse_from(args).command
            else {
                panic!()
            };
            let registry = Registry::new(ao_plugins_bundled::all());
            let context = build_context(&cx).unwrap();
            let way = init.another_way(&cx, &registry, &context, true).unwrap();
            assert_eq!(way.as_deref(), wanted);
        }
    }

    #[test]
    fn the_issue_that_is_proposed_is_one_that_is_there() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(first_issue(dir.path()), None);
        std::fs::create_dir(dir.path().join("issues")).unwrap();
        for name in ["README.md", "notes.txt", "102.md", "41-coupon-is-applied-twice.md"] {
            std::fs::write(dir.path().join("issues").join(name), "").unwrap();
        }
        assert_eq!(first_issue(dir.path()).as_deref(), Some("41"));
    }

    #[test]
    fn a_check_is_guessed_by_what_the_repository_says_itself() {
        let dir = tempfile::tempdir().unwrap();
        let guess = |name: &str, text: &str| {
            std::fs::write(dir.path().join(name), text).unwrap();
            let found = likely_check(dir.path());
            std::fs::remove_file(dir.path().join(name)).unwrap();
            found
        };
        assert_eq!(likely_check(dir.path()), None);
        assert_eq!(guess("Cargo.toml", ""), Some("cargo test"));
        assert_eq!(guess("go.mod", ""), Some("go test ./..."));
        assert_eq!(guess("package.json", r#"{"scripts": {"test": "vitest"}}"#), Some("npm test"));
        let placeholder = r#"{"scripts": {"test": "echo \"Error: no test specified\" && exit 1"}}"#;
        assert_eq!(guess("package.json", placeholder), None);
        assert_eq!(guess("package.json", "{"), None);
        assert_eq!(guess("Makefile", "all:\n\tcc x.c\ntest: all\n\t./x\n"), Some("make test"));
        assert_eq!(guess("Makefile", "all:\n\tcc x.c\n"), None);
        assert_eq!(guess("pyproject.toml", "[tool.pytest.ini_options]\n"), Some("pytest"));
        assert_eq!(guess("pyproject.toml", "[project]\n"), None);
    }

    #[test]
    fn a_project_has_the_prefix_that_the_configuration_would_give_it() {
        assert_eq!(derived_prefix(&"my-app".parse().unwrap()).as_deref(), Some("app"));
        assert_eq!(derived_prefix(&"api".parse().unwrap()).as_deref(), Some("api"));
    }
}
