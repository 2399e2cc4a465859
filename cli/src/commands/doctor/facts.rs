//! What `ao doctor` looks at: the world as it is, without an opinion. Nothing is changed and nothing started.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ao_core::{
    config::{
        Catalog, Loaded,
        policy::{PluginChoice, ProjectPolicy},
    },
    disk::RealDisk,
    registry::Registry,
    slots::{
        Call, ChannelName, PluginError, ProjectId,
        agent::AgentCheck,
        fact::Priority,
        notifier::ChannelKind,
        plugin::BuildContext,
        process::ProcessId,
        workspace::{FoundWorkspace, RepoInfo},
    },
};
use ao_web::view::{ChannelList, Health, ProjectList, SessionList};

use super::version_of;
use crate::{commands::init::build_context, cx::Cx, desk::Desk, fail::chain};

/// How long one plugin may look.
const LOOK: Duration = Duration::from_secs(10);
/// The classes of events, the most urgent first.
const CLASSES: [Priority; 4] =
    [Priority::Urgent, Priority::Action, Priority::Warning, Priority::Info];

/// Everything that the checks judge.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    /// What `git --version` says.
    pub git: Option<String>,
    /// What `tmux -V` says.
    pub tmux: Option<String>,
    /// How a package is installed on this machine.
    pub installs: &'static str,
    /// A project (or the default) runs its agents in tmux.
    pub tmux_wanted: bool,
    /// Whether any project has `scm: local`.
    pub merges: bool,
    pub agents: Vec<AgentFacts>,
    /// This is the super-user.
    pub root: bool,
    pub data: DataDir,
    /// Private places that others can look into.
    pub open_to_others: Vec<PathBuf>,
    /// Free bytes where the data lies, or why they are not known.
    pub free: Result<u64, String>,
    /// Free bytes below which a human is called.
    pub low: u64,
    pub journal: Journal,
    pub config: Config,
    pub link: Link,
    /// A socket lies there that nobody serves.
    pub dead_socket: Option<PathBuf>,
    /// The running server's version, or why it does not answer; none where none runs.
    pub server: Option<Result<String, String>>,
    pub channels: Vec<ChannelFacts>,
    /// Classes of events that would reach nobody, with the projects of which that holds (none = the server's own).
    pub untold: BTreeMap<Priority, Vec<Option<ProjectId>>>,
    pub repos: Vec<RepoFacts>,
    /// Workspaces that no session knows; none where nobody can tell.
    pub orphans: Option<Vec<Orphan>>,
}

#[derive(Debug, Clone)]
pub(super) struct AgentFacts {
    pub name: String,
    /// A project that uses it.
    pub used_by: Option<ProjectId>,
    pub check: Result<AgentCheck, PluginError>,
}

/// The data directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum DataDir {
    #[default]
    None,
    Unreadable(String),
    There {
        path: PathBuf,
        mine: bool,
        mode: u32,
    },
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Journal {
    #[default]
    None,
    Sound(u64),
    Damaged(u64),
    Unreadable(String),
}

#[derive(Debug, Clone, Default)]
pub(super) struct Config {
    pub files: usize,
    pub projects: usize,
    /// Each file that is not used, with its first error.
    pub refused: Vec<String>,
    /// What is not as it seems.
    pub warnings: Vec<String>,
    /// Each file of which keys wait for trust, with their number.
    pub untrusted: Vec<(PathBuf, usize)>,
}

/// The link that hooks run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Link {
    /// No server ever ran here.
    #[default]
    NotYet,
    Missing,
    /// It leads to no program.
    Broken(PathBuf),
    Good(PathBuf),
}

#[derive(Debug, Clone)]
pub(super) struct ChannelFacts {
    pub name: ChannelName,
    pub plugin: String,
    /// Why nothing would go out by it, and the remedy.
    pub error: Option<(String, Option<String>)>,
}

#[derive(Debug, Clone)]
pub(super) struct RepoFacts {
    pub project: ProjectId,
    pub path: PathBuf,
    pub info: Result<RepoInfo, PluginError>,
    /// The disk takes `a` and `A` for one name.
    pub ignores_case: bool,
    /// The kind of a disk that lies on another machine.
    pub network: Option<&'static str>,
}

#[derive(Debug, Clone)]
pub(super) struct Orphan {
    pub project: ProjectId,
    pub repo: PathBuf,
    pub found: FoundWorkspace,
}

impl Facts {
    /// Looks at everything.
    pub(super) async fn gather(cx: &Cx) -> Self {
        let registry = Registry::new(ao_plugins_bundled::all());
        let (loaded, config) = configuration(cx);
        let mut facts = Self {
            git: version_of("git", &["--version"], cx).await,
            tmux: version_of("tmux", &["-V"], cx).await,
            installs: super::installs(cx),
            tmux_wanted: true,
            merges: false,
            agents: vec![],
            root: nix::unistd::Uid::effective().is_root(),
            data: data_dir(&cx.data_dir),
            open_to_others: open_to_others(cx),
            free: free(&cx.data_dir),
            low: 1 << 30,
            journal: journal(&cx.data_dir),
            config,
            link: link(&cx.data_dir),
            dead_socket: None,
            server: None,
            channels: vec![],
            untold: BTreeMap::new(),
            repos: vec![],
            orphans: None,
        };
        let up = cx.client().is_up().await;
        if up {
            let health = cx.client().get::<Health>("/api/health").await;
            facts.server = Some(health.map(|health| health.version).map_err(|fail| fail.what));
        } else {
            facts.dead_socket = dead_socket(cx);
        }
        let (Some(loaded), Ok(context)) = (loaded, build_context(cx)) else { return facts };
        let projects = &loaded.policy.projects;
        let low = loaded
            .policy
            .reaction(None, ao_core::config::trigger::Trigger::DiskLow)
            .threshold_bytes;
        facts.low = low.unwrap_or(facts.low);
        facts.tmux_wanted =
            projects.is_empty() || projects.values().any(|p| p.runtime.plugin == "tmux");
        let is_local = |scm: &PluginChoice| scm.plugin == "local";
        let merges = |p: &ProjectPolicy| p.expects_prs() && p.scm.as_ref().is_some_and(is_local);
        facts.merges = projects.values().any(merges);
        facts.agents = agents(cx, &registry, &context, &loaded).await;
        let kinds = facts.look_at_channels(cx, up, &registry, &context, &loaded).await;
        facts.untold = untold(&loaded, &kinds);
        facts.look_at_repositories(cx, up, &registry, &context, &loaded).await;
        facts
    }

    /// Each channel as the server found it by its last message, else by a look. Returns their kinds.
    async fn look_at_channels(
        &mut self,
        cx: &Cx,
        up: bool,
        registry: &Registry,
        context: &BuildContext,
        loaded: &Loaded,
    ) -> BTreeMap<ChannelName, ChannelKind> {
        let list = match up {
            true => cx.client().get::<ChannelList>("/api/channels").await.ok(),
            false => None,
        };
        let told = list.map(|list| list.channels).unwrap_or_default();
        let mut kinds = BTreeMap::new();
        for (name, choice) in &loaded.live.channels {
            let seen = told.iter().find(|channel| channel.name == *name);
            let mut error = seen.and_then(|seen| Some((seen.error.clone()?, seen.remedy.clone())));
            let looked = match registry.notifier(choice, context) {
                Ok(notifier) => {
                    kinds.insert(name.clone(), notifier.capabilities().kind);
                    let call = Call::new(format!("doctor-{name}"), LOOK);
                    notifier.check(&call).await
                }
                Err(wrong) => Err(wrong),
            };
            if let (None, Err(wrong)) = (&error, looked) {
                error = Some((wrong.to_string(), wrong.remedy));
            }
            self.channels.push(ChannelFacts {
                name: name.clone(),
                plugin: choice.plugin.clone(),
                error,
            });
        }
        kinds
    }

    async fn look_at_repositories(
        &mut self,
        cx: &Cx,
        up: bool,
        registry: &Registry,
        context: &BuildContext,
        loaded: &Loaded,
    ) {
        // An agent is told of its own session alone, and must not take the others for orphans: what a human
        // may ask is asked first.
        let all = up && cx.client().get::<ProjectList>("/api/projects").await.is_ok();
        let known = match all {
            true => cx.client().get::<SessionList>("/api/sessions?all=1").await.ok(),
            false => None,
        };
        let known = known.map(|list| list.sessions);
        let mut orphans = vec![];
        for (id, project) in &loaded.policy.projects {
            let Ok(workspace) = registry.workspace(&project.workspace.plugin, context) else {
                continue;
            };
            let call = Call::new(format!("doctor-{id}"), LOOK);
            self.repos.push(RepoFacts {
                project: id.clone(),
                path: project.path.clone(),
                info: workspace.inspect(&call, &project.path).await,
                ignores_case: ignores_case(&project.path),
                network: network_disk(&project.path),
            });
            let root = loaded.policy.worktree_dir.join(id.as_str());
            let found = workspace.list(&call, &project.path, &root).await.unwrap_or_default();
            let ours = |found: &FoundWorkspace| {
                known.iter().flatten().any(|row| match &row.workspace {
                    Some(path) => *path == found.path,
                    // It may be being made.
                    None => row.over.is_none() && found.path.ends_with(row.id.as_str()),
                })
            };
            orphans.extend(found.into_iter().filter(|found| !ours(found)).map(|found| Orphan {
                project: id.clone(),
                repo: project.path.clone(),
                found,
            }));
        }
        self.orphans = known.map(|_| orphans);
    }
}

/// The settings as the server reads them, with the file of this folder.
fn configuration(cx: &Cx) -> (Option<Loaded>, Config) {
    let desk = match Desk::open(cx, Catalog::new(ao_plugins_bundled::all())) {
        Ok(desk) => desk,
        Err(fail) => {
            let cause = fail.cause.map(|cause| format!(": {cause}")).unwrap_or_default();
            let refused = vec![format!("{}{cause}", fail.what)];
            return (None, Config { refused, ..Config::default() });
        }
    };
    let (files, loaded, errors) = desk.with_file(cx.file_here());
    let warnings = desk.judge(&desk.paths_and(None)).warnings;
    let mut seen = BTreeSet::new();
    let refused = errors.iter().filter(|error| seen.insert(error.file.clone()));
    let config = Config {
        files: files.len(),
        projects: loaded.policy.projects.len(),
        refused: refused.map(ToString::to_string).collect(),
        warnings: warnings.iter().map(ToString::to_string).collect(),
        untrusted: loaded.pending.iter().map(|p| (p.file.clone(), p.items.len())).collect(),
    };
    (Some(loaded), config)
}

async fn agents(
    cx: &Cx,
    registry: &Registry,
    context: &BuildContext,
    loaded: &Loaded,
) -> Vec<AgentFacts> {
    let mut found = vec![];
    for (name, agent) in registry.agents(context).into_iter().filter(|(name, _)| *name != "custom")
    {
        let users = loaded.policy.projects.iter().filter(|(_, p)| p.agent.plugin == name);
        let mut users: Vec<_> = users.map(|(id, p)| (Some(id.clone()), Some(&p.path))).collect();
        if users.is_empty() {
            users.push((None, None));
        }
        for (used_by, repo) in users {
            let call = Call::new(format!("doctor-{name}"), LOOK);
            let check = agent.check(&call, &cx.env, repo.map(PathBuf::as_path)).await;
            found.push(AgentFacts { name: name.to_owned(), used_by, check });
        }
    }
    found
}

/// Which classes would reach nobody, routed as the loop does it.
fn untold(
    loaded: &Loaded,
    kinds: &BTreeMap<ChannelName, ChannelKind>,
) -> BTreeMap<Priority, Vec<Option<ProjectId>>> {
    let policy = &loaded.policy;
    let own = [(None, &policy.rules)];
    let all =
        own.into_iter().chain(policy.projects.iter().map(|(id, p)| (Some(id.clone()), &p.rules)));
    let mut untold: BTreeMap<Priority, Vec<Option<ProjectId>>> = BTreeMap::new();
    for (project, rules) in all {
        for class in CLASSES {
            let (_, reaches) = rules.route(class, |name| kinds.get(name).copied());
            if !reaches {
                untold.entry(class).or_default().push(project.clone());
            }
        }
    }
    untold
}

pub(super) fn data_dir(dir: &Path) -> DataDir {
    match fs::metadata(dir) {
        Ok(meta) => DataDir::There {
            path: dir.to_owned(),
            mine: meta.uid() == nix::unistd::Uid::effective().as_raw(),
            mode: meta.mode() & 0o7777,
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => DataDir::None,
        Err(error) => DataDir::Unreadable(format!("{}: {error}", dir.display())),
    }
}

/// Folders and files of ours within the data directory that others may read.
fn open_to_others(cx: &Cx) -> Vec<PathBuf> {
    let parts = ["run", "logs", "journal", "agents", "config.json", "run/spool"];
    let ours = parts.iter().map(|part| cx.data_dir.join(part)).chain([cx.socket()]);
    let open = |path: &PathBuf| {
        fs::symlink_metadata(path).is_ok_and(|meta| !meta.is_symlink() && meta.mode() & 0o077 != 0)
    };
    ours.filter(open).collect()
}

fn free(dir: &Path) -> Result<u64, String> {
    let there = dir.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
    let stat = nix::sys::statvfs::statvfs(there).map_err(|error| error.to_string())?;
    Ok(stat.blocks_available() * stat.fragment_size())
}

pub(super) fn journal(dir: &Path) -> Journal {
    if !dir.join("journal").exists() {
        return Journal::None;
    }
    let look = || ao_core::journal::verify(Arc::new(RealDisk), dir);
    let damage = |report: &ao_core::journal::Report| (report.gaps.len() + report.bad.len()) as u64;
    let mut looked = look();
    // A server that writes meanwhile may have been caught in the middle of a line.
    if looked.as_ref().is_ok_and(|report| damage(report) > 0) {
        looked = look();
    }
    match looked {
        Ok(report) if damage(&report) == 0 => Journal::Sound(report.events),
        Ok(report) => Journal::Damaged(damage(&report)),
        Err(error) => Journal::Unreadable(chain(&error)),
    }
}

pub(super) fn link(data_dir: &Path) -> Link {
    let link = data_dir.join("run/ao");
    match (fs::read_link(&link), fs::metadata(&link)) {
        (Ok(target), Ok(meta)) if meta.is_file() && meta.mode() & 0o111 != 0 => Link::Good(target),
        (Ok(target), _) => Link::Broken(target),
        (Err(_), Ok(_)) => Link::Broken(link),
        (Err(_), Err(_)) if data_dir.join("journal").exists() => Link::Missing,
        (Err(_), Err(_)) => Link::NotYet,
    }
}

/// The socket that a dead server left. One that starts right now holds the lock.
pub(super) fn dead_socket(cx: &Cx) -> Option<PathBuf> {
    let socket = cx.socket();
    fs::symlink_metadata(&socket).ok().filter(|meta| meta.file_type().is_socket())?;
    let owner = fs::read_to_string(cx.data_dir.join("run/lock")).unwrap_or_default();
    let owner = owner.trim().parse().ok().and_then(ProcessId::of);
    (!owner.is_some_and(|owner| owner.is_alive())).then_some(socket)
}

/// Whether git's own folder is found by another spelling too.
pub(super) fn ignores_case(repo: &Path) -> bool {
    let same = |a: &fs::Metadata, b: &fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    let (git, other) = (fs::metadata(repo.join(".git")), fs::metadata(repo.join(".GIT")));
    git.is_ok_and(|git| other.is_ok_and(|other| same(&git, &other)))
}

/// The kind of a disk that lies on another machine; none for one of this machine.
pub(super) fn network_disk(path: &Path) -> Option<&'static str> {
    // Magic numbers of statfs(2).
    const KINDS: [(i64, &str); 7] = [
        (0x6969, "NFS"),
        (0x517b, "SMB"),
        (0xfe53_4d42, "SMB"),
        (0xff53_4d42, "CIFS"),
        (0x0102_1997, "9p"),
        (0x00c3_6400, "Ceph"),
        (0x7375_7245, "Coda"),
    ];
    let kind = nix::sys::statfs::statfs(path).ok()?.filesystem_type().0;
    KINDS.iter().find(|(magic, _)| *magic == kind).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_is_looked_at_as_the_loop_routes_it() {
        let loaded = |text: &str| {
            let file = ao_core::config::SourceFile {
                path: "/x.yaml".into(),
                text: text.to_owned(),
                role: ao_core::config::Role::Given,
                in_repository: false,
                trusted: None,
            };
            let world = ao_core::config::World {
                home: "/".into(),
                catalog: Catalog::anything(),
                ..ao_core::config::World::default()
            };
            ao_core::config::load(&[file], &world).unwrap()
        };
        let name = |name: &str| name.parse::<ChannelName>().unwrap();
        let kinds = BTreeMap::from([
            (name("desktop"), ChannelKind::Desktop),
            (name("hook"), ChannelKind::Webhook),
        ]);
        let classes = |text: &str, kinds: &BTreeMap<ChannelName, ChannelKind>| -> Vec<Priority> {
            untold(&loaded(text), kinds).into_keys().collect()
        };
        // The desktop is the fallback of all classes.
        assert_eq!(classes("projects: {}\n", &kinds), []);
        assert_eq!(classes("defaults: {notifiers: []}\n", &BTreeMap::new()).len(), 4);
        assert_eq!(
            classes(
                "notifiers: {desktop: {plugin: desktop}}\nnotifications: {routing: {urgent: [desktop], action: [], warning: [], info: []}}\ndefaults: {notifiers: []}\n",
                &kinds
            ),
            [Priority::Info, Priority::Warning, Priority::Action]
        );
        // A webhook that nobody chose for a class is no human.
        let hook = "notifiers: {hook: {plugin: webhook}}\ndefaults: {notifiers: []}\n";
        assert_eq!(classes(hook, &kinds).len(), 4);
        assert_eq!(classes(&hook.replace("[]", "[hook]"), &kinds), []);
    }

    #[test]
    fn a_disk_of_this_machine_that_knows_case_is_neither() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(".git")).unwrap();
        assert_eq!((ignores_case(dir.path()), network_disk(dir.path())), (false, None));
        // Two names of one folder, as such a disk shows them.
        std::os::unix::fs::symlink(".git", dir.path().join(".GIT")).unwrap();
        assert!(ignores_case(dir.path()));
    }
}
