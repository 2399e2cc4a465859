//! What outlives the files that configured it: a session that is not over needs its project, whatever became of
//! the file.

use std::collections::{BTreeMap, BTreeSet};

use ao_slots::{ChannelName, ProjectId};
use serde_json::Value;

use super::{
    Live,
    policy::{Closed, PluginChoice, Policy, Rules},
    vars,
};

impl Policy {
    /// What `now` lacks of this policy and the sessions of `needed` projects go on with: the projects, closed for
    /// new sessions, and the channels that their messages go to. What a human never trusted in `now` does not
    /// replace what worked until now.
    #[must_use]
    pub fn outlives(&self, now: &Self, needed: &BTreeSet<ProjectId>) -> Self {
        let mut past =
            Self { projects: BTreeMap::new(), channels: BTreeMap::new(), ..self.clone() };
        for (id, project) in self.projects.iter().filter(|(id, _)| needed.contains(*id)) {
            let closed = match now.projects.get(id) {
                None => Closed::Gone,
                Some(new) => match &new.closed {
                    Some(closed @ Closed::Untrusted { .. }) => closed.clone(),
                    _ => continue,
                },
            };
            let named = |name: &&ChannelName| !now.channels.contains_key(*name);
            for name in channels_of(&project.rules).into_iter().filter(named) {
                let channel = self.channels.get_key_value(name);
                past.channels.extend(channel.map(|(name, choice)| (name.clone(), choice.clone())));
            }
            let mut project = project.clone();
            project.closed = Some(closed);
            past.projects.insert(id.clone(), project);
        }
        past
    }

    /// Adds the projects and channels of another.
    pub fn take(&mut self, other: Self) {
        self.projects.extend(other.projects);
        self.channels.extend(other.channels);
    }

    /// The recorded form with the values of variables again. One that is not set any more takes with it what
    /// cannot be without: a variable for the agent, a channel, the heartbeat, a tracker, the settings of another plugin.
    pub fn revived(&self, env: &BTreeMap<String, String>) -> Live {
        let mut live = self.clone();
        for project in live.projects.values_mut() {
            for choice in [
                &mut project.runtime,
                &mut project.agent,
                &mut project.workspace,
                &mut project.terminal,
            ] {
                if !expand(&mut choice.settings, env) {
                    *choice = PluginChoice::of(&choice.plugin);
                }
            }
            for choice in [&mut project.tracker, &mut project.scm] {
                choice.take_if(|choice| !expand(&mut choice.settings, env));
            }
            project.env.retain(|_, text| fill(text, env));
            for command in &mut project.post_create {
                fill(command, env);
            }
            // What `permissions` and `input` say are words, in which nothing is expanded.
            let mut config = serde_json::to_value(&project.agent_config).unwrap_or_default();
            expand(&mut config, env);
            if let Ok(config) = serde_json::from_value(config) {
                project.agent_config = config;
            }
        }
        live.push.heartbeat.take_if(|heartbeat| !fill(&mut heartbeat.url, env));
        live.channels.retain(|_, choice| expand(&mut choice.settings, env));
        Live(live)
    }
}

impl Live {
    /// Adds the projects and channels of another.
    pub fn take(&mut self, other: Self) {
        self.0.take(other.0);
    }
}

/// Every channel that a project's messages may go to.
fn channels_of(rules: &Rules) -> BTreeSet<&ChannelName> {
    let routed = rules.routing.iter().flat_map(|routing| routing.values().flatten());
    routed.chain(&rules.channels).chain(&rules.fallback).collect()
}

/// Expands every text of a value; says whether all of them could be.
fn expand(value: &mut Value, env: &BTreeMap<String, String>) -> bool {
    match value {
        Value::String(text) => fill(text, env),
        Value::Array(items) => expand_all(items.iter_mut(), env),
        Value::Object(map) => expand_all(map.values_mut(), env),
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    }
}

/// Also those after one that cannot be.
fn expand_all<'v>(
    values: impl Iterator<Item = &'v mut Value>,
    env: &BTreeMap<String, String>,
) -> bool {
    let mut all = true;
    for value in values {
        all &= expand(value, env);
    }
    all
}

fn fill(text: &mut String, env: &BTreeMap<String, String>) -> bool {
    match vars::expanded(text, env) {
        Some(value) => {
            *text = value;
            true
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::{Catalog, Role, SourceFile, World, load};

    fn env() -> BTreeMap<String, String> {
        [("TOKEN", "hunter22"), ("HOME", "/home/ana")].map(|(k, v)| (k.into(), v.into())).into()
    }

    const FULL: &str = "defaults: {notifiers: [hook]}\n\
        notifiers:\n  hook: {plugin: webhook, url: \"https://x/${TOKEN}\"}\n  other: {plugin: webhook, url: y$$}\n\
        projects:\n  a:\n    path: .\n    agent: custom\n    postCreate: [\"echo $${HOME} ${TOKEN}\"]\n    \
        env: {KEY: \"${TOKEN}\"}\n    agentConfig: {command: [x, \"${TOKEN}\"], permissions: ask}\n    \
        tracker: {plugin: plain, token: \"${TOKEN}\"}\n  b: {path: b}\n";

    fn loaded(text: &str) -> crate::config::Loaded {
        let file = SourceFile {
            path: "/code/agent-orchestrator.yaml".into(),
            text: text.to_owned(),
            role: Role::Registered,
            in_repository: false,
            trusted: None,
        };
        let world = World { env: env(), catalog: Catalog::anything(), ..World::default() };
        load(&[file], &world).unwrap()
    }

    #[test]
    fn what_was_recorded_comes_to_the_same_again() {
        let loaded = loaded(FULL);
        assert_eq!(loaded.policy.revived(&env()), loaded.live);
    }

    #[test]
    fn a_variable_that_is_gone_takes_only_what_cannot_be_without_it() {
        let project = |live: &Live| live.projects.values().next().unwrap().clone();
        let (policy, full) = (loaded(FULL).policy, project(&loaded(FULL).live));
        let live = policy.revived(&BTreeMap::new());
        let names: Vec<_> = live.channels.keys().map(ToString::to_string).collect();
        assert_eq!(names, ["other"]);
        assert_eq!(live.channels.values().next().unwrap().settings, json!({"url": "y$"}));
        let a = project(&live);
        assert_eq!((a.env.len(), a.tracker), (0, None));
        assert_eq!(a.agent_config.permissions, full.agent_config.permissions);
        assert_eq!(a.rules, full.rules);
    }

    #[test]
    fn a_session_keeps_its_project_and_the_channels_of_it() {
        let before = loaded(FULL).policy;
        let now = loaded("projects: {c: {path: c}}\n").policy;
        let a: ProjectId = "a".parse().unwrap();
        let past = before.outlives(&now, &[a.clone()].into());
        assert_eq!(past.projects.keys().collect::<Vec<_>>(), [&a]);
        assert_eq!(past.projects[&a].closed, Some(Closed::Gone));
        assert_eq!(past.channels, before.channels);
        // Again, from what was kept: nothing is added, nothing is lost.
        let mut kept = now.clone();
        kept.take(past.clone());
        let again = kept.outlives(&now, &[a.clone()].into());
        assert!(again.projects == past.projects && again.channels == past.channels);
        // A file that says it again opens it again; without sessions nothing is kept.
        assert!(kept.outlives(&before, &[a].into()).projects.is_empty());
        let none = before.outlives(&now, &BTreeSet::new());
        assert!(none.projects.is_empty() && none.channels.is_empty());
    }
}
