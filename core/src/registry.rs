//! Which plugins there are, and those that a policy chose, built.

use std::{collections::BTreeMap, sync::Arc};

use ao_slots::{
    ChannelName, PluginError, ProjectId,
    agent::Agent,
    notifier::{Notifier, NotifierCapabilities},
    plugin::{BuildContext, Plugin, Registration},
    runtime::Runtime,
    scm::Scm,
    terminal::Terminal,
    tracker::Tracker,
    workspace::Workspace,
};

use crate::config::{
    Live,
    policy::{PluginChoice, ProjectPolicy},
};

/// The plugins that can be chosen, by slot and name.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    runtimes: Vec<Registration<dyn Runtime>>,
    agents: Vec<Registration<dyn Agent>>,
    workspaces: Vec<Registration<dyn Workspace>>,
    trackers: Vec<Registration<dyn Tracker>>,
    scms: Vec<Registration<dyn Scm>>,
    notifiers: Vec<Registration<dyn Notifier>>,
    terminals: Vec<Registration<dyn Terminal>>,
}

/// One line of `ao plugin ls`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PluginInfo {
    /// The slot.
    pub slot: &'static str,
    /// The name in the config.
    pub name: &'static str,
    /// One line.
    pub about: &'static str,
}

impl Registry {
    /// A registry of these plugins. A later one of the same slot and name replaces an earlier one.
    pub fn new(plugins: impl IntoIterator<Item = Plugin>) -> Self {
        let mut registry = Self::default();
        for plugin in plugins {
            match plugin {
                Plugin::Runtime(r) => replace(&mut registry.runtimes, r),
                Plugin::Agent(r) => replace(&mut registry.agents, r),
                Plugin::Workspace(r) => replace(&mut registry.workspaces, r),
                Plugin::Tracker(r) => replace(&mut registry.trackers, r),
                Plugin::Scm(r) => replace(&mut registry.scms, r),
                Plugin::Notifier(r) => replace(&mut registry.notifiers, r),
                Plugin::Terminal(r) => replace(&mut registry.terminals, r),
            }
        }
        registry
    }

    /// All of them, by slot.
    pub fn list(&self) -> Vec<PluginInfo> {
        let mut all = infos("runtime", &self.runtimes);
        all.extend(infos("agent", &self.agents));
        all.extend(infos("workspace", &self.workspaces));
        all.extend(infos("tracker", &self.trackers));
        all.extend(infos("scm", &self.scms));
        all.extend(infos("notifier", &self.notifiers));
        all.extend(infos("terminal", &self.terminals));
        all
    }

    /// Builds what `policy` chose. Starts nothing; the first failure names the plugin and its cause. What is
    /// chosen as it was `before` stays: it may hold a connection, and what a human does there.
    pub fn build(
        &self,
        policy: &Live,
        before: &Plugins,
        context: &BuildContext,
    ) -> Result<Plugins, PluginError> {
        let mut plugins = Plugins { chosen: policy.clone(), ..Plugins::default() };
        for (id, project) in &policy.projects {
            let was = before.chosen.projects.get(id).zip(before.projects.get(id));
            plugins.projects.insert(id.clone(), self.build_project(project, was, context)?);
        }
        for (name, choice) in &policy.channels {
            let was = before.chosen.channels.get(name).zip(before.channels.get(name));
            let notifier = keep("notifier", &self.notifiers, choice, was, context)?;
            plugins.channels.insert(name.clone(), notifier);
        }
        Ok(plugins)
    }

    /// Builds what it can of what `policy` chose; the rest is left out, with the reasons.
    pub fn build_what_can_be(
        &self,
        policy: &Live,
        before: &Plugins,
        context: &BuildContext,
    ) -> (Plugins, Vec<PluginError>) {
        let (mut plugins, mut errors) =
            (Plugins { chosen: policy.clone(), ..Plugins::default() }, vec![]);
        for (id, project) in &policy.projects {
            let was = before.chosen.projects.get(id).zip(before.projects.get(id));
            match self.build_project(project, was, context) {
                Ok(built) => drop(plugins.projects.insert(id.clone(), built)),
                Err(error) => errors.push(error),
            }
        }
        for (name, choice) in &policy.channels {
            let was = before.chosen.channels.get(name).zip(before.channels.get(name));
            match keep("notifier", &self.notifiers, choice, was, context) {
                Ok(notifier) => drop(plugins.channels.insert(name.clone(), notifier)),
                Err(error) => errors.push(error),
            }
        }
        (plugins, errors)
    }

    fn build_project(
        &self,
        project: &ProjectPolicy,
        before: Option<(&ProjectPolicy, &ProjectPlugins)>,
        context: &BuildContext,
    ) -> Result<ProjectPlugins, PluginError> {
        let was = before.map(|(chosen, built)| (&chosen.runtime, &built.runtime));
        let runtime = keep("runtime", &self.runtimes, &project.runtime, was, context)?;
        let was = before.map(|(chosen, built)| (&chosen.agent, &built.agent));
        let agent = keep("agent", &self.agents, &project.agent, was, context)?;
        let was = before.map(|(chosen, built)| (&chosen.workspace, &built.workspace));
        let workspace = keep("workspace", &self.workspaces, &project.workspace, was, context)?;
        let was = before.map(|(chosen, built)| (&chosen.terminal, &built.terminal));
        let terminal = keep("terminal", &self.terminals, &project.terminal, was, context)?;
        let was =
            before.and_then(|(chosen, built)| chosen.tracker.as_ref().zip(built.tracker.as_ref()));
        let tracker = project.tracker.as_ref();
        let tracker = tracker.map(|c| keep("tracker", &self.trackers, c, was, context));
        let was = before.and_then(|(chosen, built)| chosen.scm.as_ref().zip(built.scm.as_ref()));
        let scm = project.scm.as_ref().map(|c| keep("scm", &self.scms, c, was, context));
        let (tracker, scm) = (tracker.transpose()?, scm.transpose()?);
        Ok(ProjectPlugins { runtime, agent, workspace, terminal, tracker, scm })
    }

    /// Builds one agent by name with its default settings, e.g. for a session that wants another than its project.
    pub fn agent(&self, name: &str, context: &BuildContext) -> Result<Arc<dyn Agent>, PluginError> {
        build("agent", &self.agents, &PluginChoice::of(name), context)
    }

    /// Builds one runtime by name with its default settings, e.g. for a session that was started in another than
    /// its project has by now.
    pub fn runtime(
        &self,
        name: &str,
        context: &BuildContext,
    ) -> Result<Arc<dyn Runtime>, PluginError> {
        build("runtime", &self.runtimes, &PluginChoice::of(name), context)
    }

    /// All agents with their default settings, for `ao init` and `ao doctor`.
    pub fn agents(&self, context: &BuildContext) -> Vec<(&'static str, Arc<dyn Agent>)> {
        self.agents
            .iter()
            .filter_map(|r| Some((r.name, self.agent(r.name, context).ok()?)))
            .collect()
    }

    /// Builds one workspace plugin by name, for looking at a repository before it is configured.
    pub fn workspace(
        &self,
        name: &str,
        context: &BuildContext,
    ) -> Result<Arc<dyn Workspace>, PluginError> {
        build("workspace", &self.workspaces, &PluginChoice::of(name), context)
    }

    /// Builds one scm by name with its default settings, for `ao init`.
    pub fn scm(&self, name: &str, context: &BuildContext) -> Result<Arc<dyn Scm>, PluginError> {
        build("scm", &self.scms, &PluginChoice::of(name), context)
    }

    /// Builds one notifier with these settings, for `ao init` and `ao doctor`.
    pub fn notifier(
        &self,
        choice: &PluginChoice,
        context: &BuildContext,
    ) -> Result<Arc<dyn Notifier>, PluginError> {
        build("notifier", &self.notifiers, choice, context)
    }
}

/// The plugins of one project.
#[derive(Debug, Clone)]
pub struct ProjectPlugins {
    /// Where its sessions execute.
    pub runtime: Arc<dyn Runtime>,
    /// The coding tool.
    pub agent: Arc<dyn Agent>,
    /// How its code is copied.
    pub workspace: Arc<dyn Workspace>,
    /// How a human looks in.
    pub terminal: Arc<dyn Terminal>,
    /// Its issues.
    pub tracker: Option<Arc<dyn Tracker>>,
    /// Its pull requests.
    pub scm: Option<Arc<dyn Scm>>,
}

/// Everything that a policy chose, built.
#[derive(Debug, Clone, Default)]
pub struct Plugins {
    /// By project.
    pub projects: BTreeMap<ProjectId, ProjectPlugins>,
    /// By channel.
    pub channels: BTreeMap<ChannelName, Arc<dyn Notifier>>,
    /// What they were built from.
    chosen: Live,
}

impl Plugins {
    /// Adds those of another policy.
    pub(crate) fn take(&mut self, other: Self) {
        self.projects.extend(other.projects);
        self.channels.extend(other.channels);
        self.chosen.take(other.chosen);
    }

    /// What each channel can do.
    pub fn channel_capabilities(&self) -> BTreeMap<ChannelName, NotifierCapabilities> {
        self.channels
            .iter()
            .map(|(name, notifier)| (name.clone(), notifier.capabilities()))
            .collect()
    }
}

fn replace<T: ?Sized>(list: &mut Vec<Registration<T>>, new: Registration<T>) {
    list.retain(|known| known.name != new.name);
    list.push(new);
}

fn infos<T: ?Sized>(slot: &'static str, list: &[Registration<T>]) -> Vec<PluginInfo> {
    list.iter().map(|r| PluginInfo { slot, name: r.name, about: r.about }).collect()
}

/// The one there is, where it was chosen with the same settings; else a new one.
fn keep<T: ?Sized>(
    slot: &str,
    list: &[Registration<T>],
    choice: &PluginChoice,
    before: Option<(&PluginChoice, &Arc<T>)>,
    context: &BuildContext,
) -> Result<Arc<T>, PluginError> {
    match before {
        Some((same, built)) if same == choice => Ok(built.clone()),
        _ => build(slot, list, choice, context),
    }
}

fn build<T: ?Sized>(
    slot: &str,
    list: &[Registration<T>],
    choice: &PluginChoice,
    context: &BuildContext,
) -> Result<Arc<T>, PluginError> {
    let Some(registration) = list.iter().find(|r| r.name == choice.plugin) else {
        let known: Vec<_> = list.iter().map(|r| r.name).collect();
        let what = format!("unknown {slot} `{}` (known: {})", choice.plugin, known.join(", "));
        return Err(PluginError::permanent(what, ""));
    };
    (registration.build)(&choice.settings, context)
}
