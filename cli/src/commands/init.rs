//! `ao init`.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use ao_core::{
    config::{self, Catalog, FILE_NAME, Role, SourceFile, Starter, World},
    registry::Registry,
    slots::{
        Call, InstanceId, ProjectId, SessionPrefix,
        agent::{AgentCheck, Permissions},
        notifier::Mark,
        plugin::BuildContext,
        text::slug,
        workspace::RepoInfo,
    },
};
use ao_web::{
    configs::ConfigReport,
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
/// Looks at what is there, asks what cannot be found out, writes agent-orchestrator.yaml and sends a test
/// message. Nothing is changed until it says "Wrote".
#[derive(Debug, clap::Args)]
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
        let repo = workspace.inspect(&call, &start).await?;
        if let Some(problem) = repo.problems.first() {
            return Err(problem.clone().into());
        }
        let file = repo.root.join(FILE_NAME);
        if file.exists() {
            out::note(&format!("{} is already there; it is used as it is.", file.display()));
            return self.use_file(cx, &file, None).await;
        }
        let found = self.look(cx, &registry, &context, &repo).await?;
        let starter = self.ask(cx, &repo, found)?;
        let text = config::starter_file(&starter);
        std::fs::write(&file, &text).map_err(|error| {
            Fail::new(Exit::Failed, format!("{} could not be written", file.display()))
                .because(error)
        })?;
        let lines = ao_core::slots::text::count(text.lines().count() as u64, "line", "lines");
        let wrote = format!("Wrote {FILE_NAME} ({lines}). Nothing else was changed.");
        let trusted = SourceFile::read(&file, Role::Registered).map(|file| file.hash()).ok();
        if !cx.global.json {
            out::say(&wrote);
        }
        self.use_file(cx, &file, Some((starter.project, trusted))).await
    }

    /// What can be found without asking; each finding is one line.
    async fn look(
        &self,
        cx: &Cx,
        registry: &Registry,
        context: &BuildContext,
        repo: &RepoInfo,
    ) -> Result<Option<String>, Fail> {
        let say = |mark: Mark, name: &str, words: String| {
            if !cx.global.json {
                out::note(&format!(
                    "  {} {} {}",
                    cx.err.painted_mark(mark),
                    out::pad(name, 15),
                    cx.err.text(&words)
                ));
            }
        };
        let branch = repo.default_branch.clone().unwrap_or_else(|| "branch unknown".into());
        let clean = if repo.clean { "clean" } else { "with uncommitted changes" };
        say(
            Mark::Settled,
            "git repository",
            format!("{}, branch {branch}, {clean}", repo.root.display()),
        );
        match &repo.origin {
            Some(origin) => say(
                Mark::Finished,
                "forge",
                format!("{origin}: issues from ./issues in this version of ao"),
            ),
            None => say(Mark::Finished, "forge", "none found: issues from ./issues".into()),
        }
        let mut usable = None;
        for (name, agent) in registry.agents(context) {
            let call = Call::new(format!("check-{name}"), Duration::from_secs(10));
            let Ok(check) = agent.check(&call, &cx.env, Some(&repo.root)).await else { continue };
            if check.program.is_none() {
                continue;
            }
            say(Mark::Settled, "agent", agent_words(name, &check));
            if self.permissions == Permissions::Skip {
                say(
                    Mark::Working,
                    "",
                    "it runs commands without asking (change it: ao help permissions)".into(),
                );
            }
            usable.get_or_insert_with(|| name.to_owned());
        }
        if usable.is_none() && self.agent.is_none() {
            say(
                Mark::Failed,
                "agent",
                "claude is not found. Install it: npm install -g @anthropic-ai/claude-code".into(),
            );
            say(Mark::Finished, "", "or use any command: ao init --agent custom".into());
        }
        match super::doctor::version_of("tmux", &["-V"], cx) {
            Some(version) => say(Mark::Settled, "terminal", version),
            None => say(
                Mark::Failed,
                "terminal",
                "tmux is missing. Install: sudo apt install tmux. Until then set `runtime: process`.".into(),
            ),
        }
        Ok(usable)
    }

    fn ask(&self, cx: &Cx, repo: &RepoInfo, found: Option<String>) -> Result<Starter, Fail> {
        let folder = repo
            .root
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
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
                    &format!("Session prefix [{default}], for {default}-1, {default}-2 …"),
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
        let agent = self.agent.clone().or(found).unwrap_or_else(|| "claude-code".to_owned());
        Ok(Starter {
            project,
            path: ".".into(),
            prefix,
            default_branch,
            agent,
            permissions: self.permissions,
        })
    }

    /// Registers and trusts the file, then tries whether a message arrives. Only what `ao init` wrote itself
    /// (`written`: the project, and the hash of the text) is trusted without a question.
    async fn use_file(
        &self,
        cx: &Cx,
        file: &Path,
        written: Option<(ProjectId, Option<String>)>,
    ) -> Result<u8, Fail> {
        let client = cx.client();
        let report: ConfigReport =
            client.post("/api/config/register", &serde_json::json!({ "file": file })).await?;
        if !report.errors.is_empty() {
            return Err(crate::render::config::failure(&cx.err, &report.errors));
        }
        if let Some((_, Some(hash))) = &written {
            let body = serde_json::json!({ "file": file, "hash": hash });
            let _: ConfigReport = client.post("/api/config/trust", &body).await?;
        } else {
            super::trust_in_place(cx, client, &report).await?;
        }
        let project = written.map(|(project, _)| project);
        self.try_push(cx).await?;
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
        let next = cx
            .style
            .paint(Tone::Accent, &format!("ao spawn {name} --prompt \"Fix the flaky login test\""));
        out::say(&format!("Next: {next}"));
        Ok(0)
    }

    /// Sends a test through each channel and asks whether it was seen.
    async fn try_push(&self, cx: &Cx) -> Result<(), Fail> {
        let client = cx.client();
        let list: ChannelList = client.get("/api/channels").await?;
        let mut reached = false;
        for channel in &list.channels {
            if self.no_test
                || !cx.ask(
                    &format!("Send a test push by {} now?", channel.name),
                    true,
                    "--no-test",
                )?
            {
                continue;
            }
            match client
                .post::<TestDoc>(
                    "/api/notifications/test",
                    &serde_json::json!({ "channel": channel.name }),
                )
                .await
            {
                Ok(doc) => {
                    out::note(&format!(
                        "  {} {} took it in {} ms",
                        cx.err.painted_mark(Mark::Settled),
                        channel.name,
                        doc.took_ms
                    ));
                    reached |= cx.ask("Did you see it?", true, "--yes")?;
                }
                Err(fail) => {
                    let cause =
                        fail.cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default();
                    out::note(&format!(
                        "  {} {}: {}{cause}",
                        cx.err.painted_mark(Mark::Failed),
                        channel.name,
                        fail.what
                    ));
                }
            }
        }
        if !reached && !self.no_test && !cx.global.json {
            out::note(
                "No channel reached you: urgent messages would reach nobody, `ao status` shows what needs you.",
            );
            out::note("A webhook is one more way: ao help push");
        }
        Ok(())
    }
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

/// The prefix that a project gets which names none: asked of the configuration itself.
fn derived_prefix(project: &ProjectId) -> Option<String> {
    let text = format!("projects: {{\"{project}\": {{path: /}}}}\n");
    let file = SourceFile {
        path: "/x.yaml".into(),
        trusted: Some(text.clone()),
        text,
        role: Role::Given,
        in_repository: false,
    };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_has_the_prefix_that_the_configuration_would_give_it() {
        assert_eq!(derived_prefix(&"my-app".parse().unwrap()).as_deref(), Some("app"));
        assert_eq!(derived_prefix(&"api".parse().unwrap()).as_deref(), Some("api"));
    }
}
