//! Whole configurations: what they come to, and what is said about those that cannot be.

use std::path::Path;

use ao_slots::{
    PluginError,
    fact::Priority,
    plugin::{Plugin, Registration},
};
use proptest::prelude::*;
use schemars::{JsonSchema, json_schema};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    policy::{PluginChoice, ProjectPolicy, ReactionAction},
    trigger::Trigger,
    *,
};

const EXAMPLE: &str = include_str!("../../../agent-orchestrator.yaml.example");

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "only its shape matters")]
struct Hook {
    /// Where to.
    url: String,
    /// Signed with.
    secret: Option<String>,
    /// How often.
    max_tries: Option<u8>,
}

#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
struct Nothing {}

fn register<T: ?Sized>(name: &'static str) -> Registration<T> {
    Registration {
        name,
        about: "",
        schema: || schemars::schema_for!(Nothing),
        check: |value| ao_slots::plugin::settings::<Nothing>("x", value).map(drop),
        build: |_, _| Err(PluginError::unsupported("only its shape matters")),
    }
}

/// What it takes is its own plugin's part.
fn anything<T: ?Sized>(name: &'static str) -> Registration<T> {
    Registration { schema: || json_schema!(true), check: |_| Ok(()), ..register(name) }
}

fn plugins() -> Vec<Plugin> {
    let webhook = Registration {
        schema: || schemars::schema_for!(Hook),
        check: |value| ao_slots::plugin::settings::<Hook>("webhook", value).map(drop),
        ..register("webhook")
    };
    vec![
        Plugin::Runtime(register("tmux")),
        Plugin::Runtime(register("process")),
        Plugin::Agent(register("claude-code")),
        Plugin::Agent(register("custom")),
        Plugin::Workspace(register("worktree")),
        Plugin::Tracker(register("plain")),
        Plugin::Terminal(register("auto")),
        Plugin::Notifier(register("desktop")),
        Plugin::Notifier(webhook),
    ]
}

fn catalog() -> Catalog {
    Catalog::new(plugins())
}

fn world() -> World {
    let env = [("SECRET", "hunter22"), ("AO_X", "x"), ("HOME", "/home/ana")];
    World {
        home: "/home/ana".into(),
        env: env.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        data_dir: None,
        catalog: catalog(),
    }
}

fn file(path: &str, role: Role, text: &str) -> SourceFile {
    SourceFile {
        path: path.into(),
        text: text.to_owned(),
        role,
        in_repository: false,
        trusted: None,
    }
}

fn user(text: &str) -> SourceFile {
    file("/home/ana/.config/ao/config.yaml", Role::User, text)
}

fn repo(name: &str, text: &str) -> SourceFile {
    file(&format!("/code/{name}/agent-orchestrator.yaml"), Role::Registered, text)
}

#[track_caller]
fn good(files: &[SourceFile]) -> Loaded {
    load(files, &world()).unwrap_or_else(|errors| {
        panic!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })
}

/// `/code/a/agent-orchestrator.yaml:1:2: message (label)` as `a:1:2: …`.
fn shown(errors: &[ConfigError]) -> Vec<String> {
    let short = |error: &ConfigError| {
        let text = error.to_string();
        text.replace("/code/", "")
            .replace("/agent-orchestrator.yaml", "")
            .replace("/home/ana/.config/ao/config.yaml", "user")
    };
    errors.iter().map(short).collect()
}

fn id(text: &str) -> ao_slots::ProjectId {
    text.parse().unwrap()
}

#[test]
fn a_project_needs_only_its_path() {
    let loaded = good(&[repo("my-app", "projects:\n  my-app: {path: .}\n")]);
    let mut wanted = Policy::default();
    let project = ProjectPolicy::new(&id("my-app"), "app".parse().unwrap(), "/code/my-app".into());
    wanted.projects.insert(id("my-app"), project);
    wanted.data_dir = "/home/ana/.agent-orchestrator".into();
    wanted.worktree_dir = "/home/ana/.worktrees".into();
    assert_eq!(loaded.policy, wanted);
    assert_eq!(*loaded.live, wanted);
    assert_eq!((loaded.warnings, loaded.pending), (vec![], vec![]));
    let with_repo =
        good(&[repo("x", "projects:\n  my-app: {repo: acme/my-app, path: ~/my-app}\n")]);
    let project = &with_repo.policy.projects[&id("my-app")];
    assert_eq!(project.repo.as_deref(), Some("acme/my-app"));
    assert_eq!(project.path, Path::new("/home/ana/my-app"));
    assert_eq!(good(&[]).policy.projects, [].into());
}

#[test]
fn the_example_shows_every_key_with_its_default() {
    let minimal = good(&[file("/code/x.yaml", Role::Given, "projects:\n  my-app: {path: .}\n")]);
    let example = good(&[file("/code/x.yaml", Role::Given, EXAMPLE)]);
    assert_eq!(example.policy, minimal.policy);
    assert_eq!(shown(&example.warnings), [""; 0]);

    // The keys that have no default are shown as comments; with those every key of the schema is there.
    let full: String = EXAMPLE
        .lines()
        .map(|line| {
            let body = line.trim_start();
            let shows =
                body.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c.is_alphabetic()));
            let indent = &line[..line.len() - body.len()];
            shows.map_or(format!("{line}\n"), |key| format!("{indent}{key}\n"))
        })
        .collect();
    let mut world = world();
    let secrets = [
        "HOOK_SECRET",
        "PING_SECRET",
        "PHONE_TOPIC",
        "PHONE_REPLY_TOPIC",
        "TEAM_URL",
        "SLACK_BOT_TOKEN",
        "SLACK_APP_TOKEN",
        "MAIL_PASSWORD",
    ];
    world.env.extend(secrets.map(|name| (name.into(), "x".into())));
    let others = ["ntfy", "discord", "slack", "email"].map(anything).map(Plugin::Notifier);
    world.catalog = Catalog::new(plugins().into_iter().chain(others));
    let loaded = load(&[file("/code/x.yaml", Role::Given, &full)], &world);
    let loaded = loaded.unwrap_or_else(|errors| panic!("{:?}", shown(&errors)));
    // Those of later versions are shown, and say that nothing comes of them yet.
    let later = |error: &ConfigError| error.message.ends_with("has no effect in this version");
    assert!(loaded.warnings.iter().all(later), "{:?}", shown(&loaded.warnings));
    let document: Value = serde_yaml::from_str(&full).unwrap();
    let mut missing = Vec::new();
    compare(&config_schema(), &config_schema(), &document, "", &mut missing);
    assert_eq!(missing, [""; 0]);
    for trigger in Trigger::ALL {
        assert!(document["reactions"][trigger.as_str()].is_object(), "{trigger} is not shown");
    }
    for key in config_schema()["$defs"]["ReactionEntry"]["properties"].as_object().unwrap().keys() {
        let reactions = document["reactions"].as_object().unwrap();
        assert!(
            reactions.values().any(|reaction| reaction.get(key).is_some()),
            "{key} is not shown"
        );
    }
}

#[test]
fn what_a_message_to_an_agent_may_name_stands_where_a_user_looks() {
    let example = include_str!("../../../agent-orchestrator.yaml.example");
    let help = include_str!("../../../cli/src/help.rs");
    for (what, text, from, to) in [
        ("the example", example, "# A template. Known in it:", "#message:"),
        ("`ao help reviews`", help, "these names are known in it:", "message:"),
    ] {
        let (_, names) = text.split_once(from).unwrap();
        let names = names.split_once(to).unwrap().0;
        let words: Vec<&str> = names.split(|c: char| !c.is_ascii_alphabetic()).collect();
        for name in crate::words::brief::NAMES {
            assert!(words.contains(&name), "{what} does not name `{name}`");
        }
    }
}

/// Collects the keys of the schema that the document does not have, reactions left out.
fn compare(root: &Value, schema: &Value, document: &Value, path: &str, missing: &mut Vec<String>) {
    let schema = match schema["$ref"].as_str() {
        Some(reference) => root.pointer(&reference[1..]).unwrap(),
        None => schema,
    };
    if schema["x-noun"].is_string() {
        return;
    }
    for (key, part) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        match document.get(key) {
            Some(value) => compare(root, part, value, &path, missing),
            None => missing.push(path),
        }
    }
    if schema["additionalProperties"].is_object() {
        let values = document.as_object().unwrap();
        if let Some(value) = values.values().next() {
            compare(root, &schema["additionalProperties"], value, path, missing);
        }
    }
}

#[test]
fn what_cannot_be_is_told_with_its_place() {
    for (files, wanted) in [
        (
            vec![repo("a", "projects:\n  a:\n    path: .\n    agent: cluade-code\n")],
            vec![
                "a:4:12: unknown agent `cluade-code` (known: claude-code, custom) (did you mean `claude-code`?)",
            ],
        ),
        (
            vec![repo("a", "notifiers:\n  destkop: {}\n  x: {plugin: nope}\n")],
            vec![
                "a:2:3: unknown notifier `destkop` (known: desktop, webhook) (did you mean `desktop`?)",
                "a:3:15: unknown notifier `nope` (known: desktop, webhook)",
            ],
        ),
        (
            vec![repo(
                "a",
                "notifiers:\n  hook:\n    plugin: webhook\n    ulr: x\n  b: {plugin: webhook, url: 1}\n  c: webhook\n",
            )],
            vec![
                "a:2:3: `hook` has no `url` (add `url: …` here)",
                "a:4:5: `ulr` is not a setting (did you mean `url`?)",
                "a:5:29: `url` takes text, not a number",
                "a:6:6: `c` has no `url` (add `url: …` here)",
            ],
        ),
        (
            vec![repo("a", "notifiers:\n  hook: {plugin: webhook, url: x, max-tries: 300}\n")],
            vec!["a:2:46: `maxTries` takes a whole number from 0 to 255 (out of range)"],
        ),
        (
            vec![repo("a", "defaults:\n  runtime: {}\n  notifiers: [slak, webhook]\n")],
            vec!["a:2:3: `runtime` has no `plugin` (add `plugin: …` here)"],
        ),
        (
            vec![repo("a", "defaults:\n  notifiers: [slak, webhook]\n")],
            vec![
                "a:2:15: `slak` is not a channel (add it under `notifiers.slak`)",
                "a:2:21: channel `webhook` needs settings: missing field `url` (configure it under `notifiers.webhook`)",
            ],
        ),
        (
            vec![repo(
                "a",
                "projects:\n  a:\n    path: ~ben/x\n    subdir: ../y\n    symlinks: [.env, ../../etc, /etc/passwd]\n    \
                 defaultBranch: --force\n    repo: https://tok@host/x\n    env: {AO_TOKEN: x, 1A: y}\n    \
                 agentRulesFile: \"\"\n    worktree: {sparse: [-x]}\n    sessionPrefix: 1a\n",
            )],
            vec![
                "a:3:11: `path` cannot be `~ben/x` (only `~/` is read; write another user's folder out)",
                "a:4:13: `subdir` cannot be `../y` (it must lie within the repository)",
                "a:5:22: `symlinks` cannot be `../../etc` (it must lie within the repository)",
                "a:5:33: `symlinks` cannot be `/etc/passwd` (it must lie within the repository)",
                "a:6:20: `defaultBranch` cannot be `--force` (git takes no such branch name)",
                "a:7:11: `repo` holds a password or token (leave credentials to git's credential helper)",
                "a:8:21: `env` cannot be `AO_TOKEN` (names that begin with `AO_` are ao's own)",
                "a:8:28: `env` cannot be `1A` (a name has letters, digits and `_`, first no digit)",
                "a:9:21: `agentRulesFile` cannot be `` (a path is not empty)",
                "a:10:25: `worktree` cannot be `-x` (a path within the repository begins with neither `~` nor `-`)",
                "a:11:20: `sessionPrefix` cannot be `1a` (1 to 64 letters, digits, `-` or `_`, first a letter)",
            ],
        ),
        (
            vec![repo("a", "projects:\n  ../x: {path: .}\n")],
            vec![
                "a:2:3: `../x` cannot be a project's id (1 to 64 letters, digits, `-`, `_` or `.`, first a letter or digit)",
            ],
        ),
        (
            vec![
                repo("a", "projects:\n  app: {path: .}\n"),
                repo(
                    "b",
                    "projects:\n  app: {path: .}\n  x: {path: ., sessionPrefix: App}\n  y: {path: ., sessionPrefix: app}\n",
                ),
            ],
            vec![
                "a:2:3: the session prefix `app` is taken (`x` in b has it)",
                "b:2:3: project `app` is configured twice (also in a)",
                "b:4:31: the session prefix `app` is taken (`x` in b has it)",
            ],
        ),
        (
            vec![
                repo("a", "notifiers:\n  hook: {plugin: webhook, url: x}\n  d: desktop\n"),
                repo("b", "notifiers:\n  hook: {plugin: webhook, url: y}\n  d: desktop\n"),
            ],
            vec!["b:2:3: channel `hook` is configured twice (otherwise in a)"],
        ),
        (
            vec![repo(
                "a",
                "reactions:\n  agent-stuck: {action: auto-merge, threshold: 1GiB}\n  disk-low: {threshold: 5m}\n  all-complete: {escalateAfter: x}\n",
            )],
            vec![
                "a:4:33: `escalate-after` takes a whole number of at least 1 or a duration such as `10m` (`x` is none)",
            ],
        ),
        (
            vec![repo(
                "a",
                "reactions:\n  ci-failed: {escalate-after: 3, retries: 3}\n  merge-conflicts: {escalate-after: 3}\n",
            )],
            vec![
                "a:2:31: `retries` and a number in `escalate-after` say the same (remove one of the two)",
                "a:3:37: `escalate-after` of `merge-conflicts` is a duration such as `10m` (its attempts are not counted)",
            ],
        ),
        (
            vec![repo(
                "a",
                "reactions:\n  agent-stuck: {action: auto-merge, threshold: 1GiB}\n  disk-low: {threshold: 5m}\n",
            )],
            vec![
                "a:2:25: `agent-stuck` cannot do `auto-merge` (it can: notify, restart, kill, none)",
                "a:2:48: the threshold of `agent-stuck` is a duration such as `10m`",
                "a:3:25: the threshold of `disk-low` is a size such as `1GiB`",
            ],
        ),
        (
            vec![repo(
                "a",
                "reactions:\n  ci-failed: {action: restart}\n  agent-needs-input: {action: none}\n  tampered: {action: none}\n",
            )],
            vec![
                "a:2:23: `ci-failed` cannot do `restart` (it can: send-to-agent, notify, none)",
                "a:3:31: `agent-needs-input` cannot do `none` (it can: notify)",
                "a:4:22: `tampered` cannot do `none` (it can: restore, notify)",
            ],
        ),
        (
            vec![user(
                "people:\n  ana: {identities: {desktop: U1}}\n  ben: {identities: {desktop: U1}}\n  \
                 cem: {identities: {desktop: U2}}\n\
                 reactions: {agent-idle: {threshold: $3}, budget-exceeded: {threshold: 10m}, disk-low: {threshold: $1}}\n",
            )],
            vec![
                "user:3:31: `U1` is the account of two people (`ana` has it too)",
                "user:5:37: the threshold of `agent-idle` is a duration such as `10m`",
                "user:5:71: the threshold of `budget-exceeded` is an amount such as `$10`",
                "user:5:99: the threshold of `disk-low` is a size such as `1GiB`",
            ],
        ),
        (
            vec![repo("a", "lifecycle: {sweepInterval: 10ms, limits: {scm: 0s}}\n")],
            vec![
                "a:1:28: `sweepInterval` is too short (at least 100ms)",
                "a:1:48: `scm` is too short (at least 1ms)",
            ],
        ),
        (
            vec![user(
                "publicUrl: \"https://ana:pw@host\"\npeople:\n  a b: {}\n  ana:\n    channels: [slak]\n    identities: {hook: U1}\n    \
                 timezone: Berlin\n    quietHours: {from: 22:00, to: 22:00, days: []}\n    \
                 escalation: [{after: 10m, to: phne}, {after: 10m, to: [desktop, x]}]\n\
                 notifications:\n  timezone: Europe/Berln\n  order: [anna, ana, ana]\n  repeat: [30m, 1s]\n  \
                 heartbeat: {url: \"ftp://x\", every: 1s}\n",
            )],
            vec![
                "user:1:12: `publicUrl` cannot be `https://ana:pw@host` (written https://host/path)",
                "user:3:3: `a b` cannot be a person's name (letters, digits, `-`, `_` or `.`, first a letter or digit)",
                "user:5:16: `slak` is not a channel (add it under `notifiers.slak`)",
                "user:6:24: `hook` is not a channel (add it under `notifiers.hook`)",
                "user:7:15: `Berlin` is not a time zone (did you mean `Europe/Berlin`?)",
                "user:8:35: `quietHours` begin when they end (another time than `from`)",
                "user:8:42: `days` names no day (leave it out for every day, or leave out `quietHours`)",
                "user:9:35: `phne` is not a channel (did you mean `phone`?)",
                "user:9:50: a step after 10m is not later than the one before (more than 10m)",
                "user:9:69: `x` is not a channel (add it under `notifiers.x`)",
                "user:11:13: `Europe/Berln` is not a time zone (did you mean `Europe/Berlin`?)",
                "user:12:11: `anna` is nobody under `people` (did you mean `ana`?)",
                "user:12:22: `ana` is called twice (leave out one)",
                "user:13:17: `repeat` is too short (at least 1m)",
                "user:14:20: `url` cannot be `ftp://x` (written https://host/path)",
                "user:14:38: `every` is too short (at least 10s)",
            ],
        ),
        (
            vec![user(
                "people: {ana: {role: owner, quietHours: {from: 8, to: \"25:00\", days: [monday]}}}\n\
                 notifications: {digest: {at: 9am, every: weekly}}\nnotifiers: {desktop: {digest: never}}\n",
            )],
            vec![
                "user:1:22: `role` does not know `owner`",
                "user:1:48: `from` takes a time of day such as `22:00`, not a number",
                "user:1:55: `to` takes a time of day such as `22:00` (`25:00` is none)",
                "user:1:71: each of `days` does not know `monday`",
                "user:2:30: `at` takes a time of day such as `22:00` (`9am` is none)",
                "user:2:42: `every` does not know `weekly`",
                "user:3:31: `digest` does not know `never`",
            ],
        ),
        (
            vec![user(
                "notifications:\n  templates:\n    phne: {default: {}}\n    default:\n      agent-stuk: {}\n      \
                 agentStuck: {title: \"{{ title\", short: \"{{ sesion }}\"}\n      ci-failed:\n        body: |\n          \
                 {{ body }}\n          {{ body | shout }}\n",
            )],
            vec![
                "user:3:5: `phne` is not a channel (did you mean `phone`?)",
                "user:5:7: `agent-stuk` is no kind of message (did you mean `agent-stuck`?)",
                "user:6:27: the template of `title` is wrong (syntax error: unexpected end of input, expected end of variable block)",
                "user:6:46: the template of `short` is wrong (`sesion` is nothing that a message has; did you mean `session`?)",
                "user:9:11: the template of `body` is wrong in its line 2 (unknown filter: filter shout is unknown)",
            ],
        ),
        // A variable's value is judged at its place too.
        (
            vec![repo(
                "a",
                "projects:\n  a: {path: ., agentConfig: {permissions: \"${SECRET}\"}}\n",
            )],
            vec![
                "a:2:43: `permissions` is not valid: unknown variant `[hidden]`, expected one of `skip`, `accept-edits`, `ask`, `plan`",
            ],
        ),
        (
            vec![repo("a", "zebras: {}\n"), user("prot: 1\n")],
            vec![
                "user:1:1: `prot` is not a setting (did you mean `port`?)",
                "a:1:1: `zebras` is not a setting (no such setting here)",
            ],
        ),
    ] {
        match load(&files, &world()) {
            Ok(_) => panic!("accepted: {files:?}"),
            Err(errors) => assert_eq!(shown(&errors), wanted),
        }
    }
}

#[test]
fn what_is_not_as_it_seems_is_a_warning() {
    for (files, wanted) in [
        (
            vec![repo("a", "dataDir: x\nport: 4000\n")],
            vec![
                "a:1:1: `dataDir`, `port` are not used from this file (counts only in the user's own file)",
            ],
        ),
        (
            vec![repo(
                "a",
                "notifications: {routing: {urgent: [desktop, slack], info: [destkop]}}\n",
            )],
            vec![
                "a:1:45: `slack` is not a channel; `urgent` goes without it (add it under `notifiers.slack`)",
                "a:1:60: `destkop` is not a channel; `info` goes without it (did you mean `desktop`?)",
            ],
        ),
        (
            vec![repo(
                "a",
                "reactions:\n  agent-exited: {threshold: 1m, retries: 2, auto: true, action: notify}\n  approved-and-green: {action: auto-merge}\n  pr-closed: {action: kill}\n  agent-stuck: {action: restart, auto: true}\n  scm-unavailable: {action: none}\n",
            )],
            vec![
                "a:2:18: `threshold` does nothing for `agent-exited` (not used)",
                "a:2:33: `retries` does nothing for `agent-exited` (not used)",
                "a:2:45: `auto` does nothing for `agent-exited` (not used)",
                "a:3:32: nothing is merged: `auto` is not `true` (a human is asked)",
                "a:4:23: nothing is killed: `auto` is not `true` (a human is asked)",
            ],
        ),
        (
            vec![
                repo("a", "lifecycle: {sweepInterval: 1s, scmInterval: 1m}\n"),
                repo("b", "lifecycle: {sweepInterval: 2s, scmInterval: 1m}\n"),
            ],
            vec!["b:1:28: `lifecycle.sweepInterval` is decided by another file (a says \"1s\")"],
        ),
        // What is said as it would be anyway has its effect.
        (
            vec![repo(
                "a",
                "reactions:\n  tampered: {auto: false, action: restore, priority: info}\n  ci-failed: {auto: true, retries: 9}\n\
                 projects:\n  p:\n    path: .\n    scm: local\n    requiredApprovals: 2\n    mergeMethod: rebase\n    reactions: {disk-low: {threshold: 2GiB}, agent-idle: {threshold: 1m}, tampered: {priority: info}, runtime-lost: {threshold: 1m}, all-complete: {priority: urgent}}\n",
            )],
            vec![
                "a:2:14: `tampered.auto` has no effect in this version (not used)",
                "a:7:5: `scm` has no effect in this version (not used)",
                "a:10:28: `disk-low.threshold` is not used in a project (not used)",
                "a:10:86: `tampered.priority` is not used in a project (not used)",
                "a:10:118: `runtime-lost.threshold` is not used in a project (not used)",
                "a:10:149: `all-complete.priority` has no effect in this version (not used)",
            ],
        ),
        (
            vec![repo(
                "a",
                "reactions: {channel-failing: {priority: urgent}, budget-exceeded: {threshold: $5, priority: urgent}}\n\
                 projects:\n  p:\n    path: .\n    reactions:\n      channel-failing: {priority: urgent}\n      \
                 budget-exceeded: {auto: true, action: pause, threshold: $2.50}\n",
            )],
            vec![
                "a:6:25: `channel-failing.priority` is not used in a project (not used)",
                "a:7:25: `budget-exceeded.auto` has no effect in this version (not used)",
                "a:7:37: `budget-exceeded.action` has no effect in this version (not used)",
            ],
        ),
        (
            vec![user(
                "publicUrl: http://ao.example.org:3000/x\n\
                 notifications: {heartbeat: {url: \"http://ping.example.org/a?b\"}}\n",
            )],
            vec![
                "user:1:12: `publicUrl` leads over http to ao.example.org (whoever carries it can read and change it: https://…)",
                "user:2:34: `url` leads over http to ping.example.org (whoever carries it can read and change it: https://…)",
            ],
        ),
        (vec![user("publicUrl: http://192.168.0.7:3000\n")], vec![]),
        // A secret belongs into the environment: what was written is recorded.
        (
            vec![repo(
                "a",
                "notifiers:\n  h: {plugin: webhook, url: x, secret: hunter22}\n  i: {plugin: webhook, url: x, secret: \"${SECRET}\"}\n\
                 projects:\n  p: {path: ., env: {API_KEY: abc, PORT: \"1\", DB_PASSWORD: \"${SECRET}\"}}\n",
            )],
            vec![
                "a:2:40: `notifiers.h.secret` is written in plain text (it stands in ao's journal too)",
                "a:5:31: `projects.p.env.API_KEY` is written in plain text (it stands in ao's journal too)",
            ],
        ),
    ] {
        assert_eq!(shown(&good(&files).warnings), wanted);
    }
}

#[test]
fn an_address_is_near_where_no_other_carries_it() {
    for (address, near) in [
        ("http://localhost:3000/x", true),
        ("http://127.0.0.1", true),
        ("http://[::1]:3000", true),
        ("http://[fd00::1]:3000/", true),
        ("http://10.1.2.3", true),
        ("http://100.101.1.1:3000", true),
        ("http://nas:3000", true),
        ("http://ao.LOCAL", true),
        ("http://100.128.1.1", false),
        ("http://8.8.8.8", false),
        ("http://[2001:db8::1]:80", false),
        ("http://ao.example.org", false),
        ("http://local.example.org", false),
    ] {
        let host = push::plain_host(address).unwrap();
        assert_eq!(push::is_near(host), near, "{address}");
    }
    assert_eq!(push::plain_host("https://ao.example.org"), None);
}

/// From what a file says to what a human is told.
#[test]
fn a_limit_of_cost_that_a_file_sets_is_told_when_it_is_spent() {
    use crate::decide::{Told, tests::World as Decided};
    let text = "reactions: {budget-exceeded: {threshold: $10}}\n\
        projects: {my-app: {path: ., sessionPrefix: app}}\n";
    let mut w = Decided::with(good(&[repo("my-app", text)]).policy);
    w.add_working("41");
    let mut told = vec![];
    for (offset, micros) in [(1, 9_999_999), (2, 10_200_000), (3, 11_000_000)] {
        let usage = ao_slots::agent::Usage { cost_micros: Some(micros), ..Default::default() };
        w.tell(1, [Told::Usage { usage, offset }]);
        w.pass(20_000);
        told.push(w.pushes().len());
    }
    assert_eq!(told, [0, 1, 1]);
    assert_eq!(w.pushes(), ["app-1 has spent $10.20 of $10.00"]);
}

#[test]
fn people_and_their_hours_are_read_with_what_they_leave_open() {
    use jiff::{civil::time, tz::TimeZone};
    use policy::{Day, DigestEvery, EscalateTo, EscalationStep, Heartbeat, Hours, Push, zone};
    let text = "publicUrl: https://ao.example.org/\n\
        people:\n  ana:\n    role: admin\n    channels: [hook, desktop, hook]\n    identities: {hook: U012AB3CD}\n    \
        timezone: europe/berlin\n    quietHours: {from: 22:00, to: \"7:30\", days: [fri, mon], urgent: false}\n    \
        escalation: [{after: 10m, to: phone}, {after: 20m, to: nextPerson}, {after: 1h, to: hook}, {after: 2h, to: [desktop]}]\n  \
        ben: {}\n\
        notifiers: {hook: {plugin: webhook, digest: hourly, url: x}, desktop: {digest: off}}\n\
        notifications: {order: [ben, ana], timezone: UTC, budget: 40, repeat: [1h], escalation: [],\n  \
        digest: {every: hourly, at: \"8:15\", empty: true}, heartbeat: {url: \"https://x/${SECRET}?a=b\"},\n  \
        templates: {chat: {agentStuck: {title: \"{{ session }}\"}}}}\n";
    let Loaded { policy, live, .. } = good(&[user(text)]);
    let channel = |name: &str| name.parse::<ao_slots::ChannelName>().unwrap();
    assert_eq!(policy.public_url.as_deref(), Some("https://ao.example.org"));
    for (typed, used) in [
        ("https://AO.example.org:443", "https://ao.example.org"),
        ("http://ao.example.org:80/Ao/", "http://ao.example.org/Ao"),
        ("https://ao.example.org:8443/a:443", "https://ao.example.org:8443/a:443"),
        ("http://ao.example.org:443", "http://ao.example.org:443"),
        ("http://[::1]:80", "http://[::1]"),
    ] {
        let policy = good(&[user(&format!("publicUrl: \"{typed}\"\n"))]).policy;
        assert_eq!(policy.public_url.as_deref(), Some(used), "{typed}");
    }
    let ana = &policy.people["ana"];
    assert_eq!(
        (ana.role, &ana.channels),
        (policy::Role::Admin, &vec![channel("hook"), channel("desktop")])
    );
    assert_eq!(ana.identities, [(channel("hook"), "U012AB3CD".to_owned())].into());
    let hours = policy.hours(Some("ana"));
    assert_eq!((hours.timezone.as_deref(), hours.budget), (Some("Europe/Berlin"), Some(40)));
    let quiet = hours.quiet.as_ref().unwrap();
    assert_eq!((quiet.from, quiet.to, quiet.urgent), (time(22, 0, 0, 0), time(7, 30, 0, 0), false));
    assert_eq!(quiet.days, [Day::Mon, Day::Fri].into());
    let step = |min: u64, to| EscalationStep { after_ms: min * 60_000, to };
    let channels = |name| EscalateTo::Channels(vec![channel(name)]);
    let steps = [
        step(10, EscalateTo::Phone),
        step(20, EscalateTo::NextPerson),
        step(60, channels("hook")),
        step(120, channels("desktop")),
    ];
    assert_eq!(*hours.steps(), steps);
    // What ben leaves open is as for all, and that as it is built in.
    let ben = policy.hours(Some("ben"));
    assert_eq!((policy.people["ben"].role, &ben), (policy::Role::Member, &policy.push.hours));
    assert_eq!((ben.timezone.as_deref(), ben.steps().len()), (Some("UTC"), 0));
    assert_eq!(*Hours::default().steps(), steps[..2]);
    let berlin = TimeZone::get("Europe/Berlin").unwrap();
    assert_eq!(zone(&hours, &TimeZone::UTC).iana_name(), berlin.iana_name());
    assert_eq!(zone(&Hours::default(), &berlin), berlin);

    let push = &policy.push;
    assert_eq!(
        (push.order.join(" ").as_str(), push.repeat_ms.as_slice()),
        ("ben ana", &[3_600_000][..])
    );
    assert_eq!(
        (push.digest.every, push.digest.at, push.digest.empty),
        (DigestEvery::Hourly, time(8, 15, 0, 0), true)
    );
    assert_eq!(push.digest_of(&channel("desktop")), DigestEvery::Off);
    assert_eq!(push.digest_of(&channel("mail")), DigestEvery::Hourly);
    assert_eq!(policy.channels[&channel("hook")].settings, json!({"url": "x"}));
    // Who knows the address of a heartbeat can send it too.
    let url =
        |policy: &Policy| policy.push.heartbeat.clone().map(|Heartbeat { url, .. }| url).unwrap();
    assert_eq!(
        (url(&policy).as_str(), url(&live).as_str()),
        ("https://x/${SECRET}?a=b", "https://x/hunter22?a=b")
    );
    assert_eq!(policy.revived(&world().env), live);
    assert_eq!(policy.revived(&[].into()).push.heartbeat, None);
    let template = &push.templates["chat"]["agent-stuck"];
    assert_eq!((template.title.as_deref(), &template.body), (Some("{{ session }}"), &None));
    let recorded = serde_json::to_string(&policy).unwrap();
    assert_eq!(serde_json::from_str::<Policy>(&recorded).unwrap(), policy);
    let older: Policy = serde_json::from_str("{}").unwrap();
    assert_eq!((older.push, older.people), (Push::default(), [].into()));
}

#[test]
fn people_count_in_the_users_file_and_messages_after_trust() {
    let text = "publicUrl: https://evil.example\npeople: {eve: {role: admin}}\nnotifications: {repeat: []}\nprojects: {a: {path: .}}\n";
    let in_repository = |trusted: Option<&str>| SourceFile {
        in_repository: true,
        trusted: trusted.map(str::to_owned),
        ..repo("a", text)
    };
    let loaded = good(&[user("people: {ana: {}}\n"), in_repository(None)]);
    assert_eq!(loaded.policy.people.keys().collect::<Vec<_>>(), ["ana"]);
    assert_eq!((&loaded.policy.public_url, loaded.policy.push.repeat_ms.len()), (&None, 3));
    assert_eq!(
        shown(&loaded.warnings),
        ["a:2:1: `people` is not used from this file (counts only in the user's own file)"]
    );
    let waits: Vec<_> = loaded.pending[0].items.iter().map(|item| item.key.as_str()).collect();
    assert_eq!(waits, ["publicUrl", "notifications"]);
    let trusted = good(&[user("publicUrl: http://mine\n"), in_repository(Some(text))]).policy;
    assert_eq!(
        (trusted.public_url.as_deref(), trusted.push.repeat_ms.len()),
        (Some("http://mine"), 0)
    );
    assert_eq!(trusted.people, [].into());

    // A channel that a person names and a human has yet to trust is no reason to refuse everything.
    let hook = "notifiers: {hook: {plugin: webhook, url: x}}\n";
    let untrusted = SourceFile { in_repository: true, ..repo("a", hook) };
    let loaded = good(&[user("people: {ana: {channels: [hook]}}\n"), untrusted]);
    assert_eq!(loaded.policy.people["ana"].channels, []);
    assert_eq!(
        shown(&loaded.warnings),
        ["user:1:27: channel `hook` waits for trust (not used until then)"]
    );
}

#[test]
fn layers_go_project_file_user_default() {
    let files = [
        user(
            "port: 4000\ndataDir: ~/data\ndefaults: {agent: custom, runtime: process}\n\
             notifiers: {mail: {plugin: webhook, url: m}}\n\
             reactions: {ci-failed: {retries: 5, priority: high}, agent-idle: {threshold: 1h}}\n\
             lifecycle: {sweepInterval: 1s}\nprojects:\n  tools: {path: ~/tools}\n",
        ),
        repo(
            "a",
            "port: 5000\ndefaults: {runtime: tmux}\nnotifiers: {hook: {plugin: webhook, url: \"x${SECRET}\", secret: $$a}}\n\
             notifications: {routing: {urgent: [hook, hook]}}\nlifecycle: {sweepInterval: 9s, scmInterval: 9s}\n\
             reactions: {ci-failed: {escalate-after: 1h}, approved-and-green: {auto: true}}\nprojects:\n  my-app:\n    path: .\n    \
             reactions: {ciFailed: {retries: 9}}\n    env: {TOKEN: \"${SECRET}\"}\n",
        ),
        repo(
            "b",
            "projects:\n  your-app: {path: ., agent: {plugin: claude-code}}\n  \
             api: {path: ., reactions: {ci-failed: {escalate-after: 4}}}\n",
        ),
    ];
    let Loaded { policy, live, .. } = good(&files);
    assert_eq!((policy.port, policy.data_dir.as_path()), (4000, Path::new("/home/ana/data")));
    assert_eq!(policy.worktree_dir, Path::new("/home/ana/data/worktrees"));
    assert_eq!(
        (policy.lifecycle.sweep_interval_ms, policy.lifecycle.scm_interval_ms),
        (1_000, 9_000)
    );
    let project = |name: &str| &policy.projects[&id(name)];
    let prefixes: Vec<&str> = policy.projects.values().map(|p| p.session_prefix.as_str()).collect();
    assert_eq!(prefixes, ["api", "app", "tools", "your-app"]);
    assert_eq!(project("my-app").runtime, PluginChoice::of("tmux"));
    assert_eq!(project("my-app").agent, PluginChoice::of("custom"));
    assert_eq!(project("your-app").agent, PluginChoice::of("claude-code"));
    assert_eq!(project("your-app").runtime, PluginChoice::of("process"));

    let ci = |name: &str| {
        let reaction = policy.reaction(Some(&id(name)), Trigger::CiFailed);
        (reaction.retries, reaction.escalate_after_ms, reaction.priority)
    };
    assert_eq!(ci("my-app"), (9, Some(3_600_000), Priority::Urgent));
    assert_eq!(ci("your-app"), (5, None, Priority::Urgent));
    // A number of attempts is the nearer word, by either name.
    assert_eq!(ci("api"), (4, None, Priority::Urgent));
    let merge = |name: &str| policy.reaction(Some(&id(name)), Trigger::ApprovedAndGreen);
    assert!(merge("my-app").merges() && merge("my-app").action == ReactionAction::AutoMerge);
    assert!(!merge("api").merges());
    assert_eq!(policy.reaction(None, Trigger::AgentIdle).threshold_ms, Some(3_600_000));

    // A repository's channels carry only its own messages; the user's carry all.
    let names = |channels: &[ao_slots::ChannelName]| {
        channels.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(&project("my-app").rules.channels), "desktop hook mail");
    assert_eq!(names(&project("your-app").rules.channels), "desktop mail");
    assert_eq!(names(&policy.rules.channels), "desktop hook mail");
    assert_eq!(names(project("my-app").rules.named(Priority::Urgent).unwrap()), "hook");
    assert_eq!(names(project("my-app").rules.named(Priority::Info).unwrap()), "desktop");
    assert_eq!(project("your-app").rules.named(Priority::Urgent), None);

    // Secrets are references in what is journalled and values in what plugins are built from.
    let hook = "hook".parse().unwrap();
    assert_eq!(policy.channels[&hook].settings, json!({"secret": "$$a", "url": "x${SECRET}"}));
    assert_eq!(live.channels[&hook].settings, json!({"secret": "$a", "url": "xhunter22"}));
    assert_eq!(live.projects[&id("my-app")].env["TOKEN"], "hunter22");
    let printed = format!("{} {live:?} {:?}", serde_json::to_string(&policy).unwrap(), world());
    assert!(!printed.contains("hunter22"), "{printed}");
}

#[test]
fn the_data_lies_where_the_command_line_or_the_user_says() {
    let given = file("/tmp/demo/x.yaml", Role::Given, "dataDir: data\nport: 1\n");
    let users = user("dataDir: ~/d\nworktreeDir: ~/w\nport: 2\n");
    let both = good(&[users.clone(), given.clone()]).policy;
    assert_eq!((both.data_dir.as_path(), both.port), (Path::new("/tmp/demo/data"), 1));
    assert_eq!(both.worktree_dir, Path::new("/home/ana/w"));
    let named = World { data_dir: Some("/named".into()), ..world() };
    let files = [users, given, repo("a", "this: [is not read\n")];
    assert_eq!(folders(&files, &named).unwrap(), ("/named".into(), "/home/ana/w".into()));
    // What else it names may lie where the data does.
    let secret = user("dataDir: ~/e\nnotifiers: {h: {plugin: webhook, url: \"${UNSET}\"}}\n");
    assert_eq!(folders(&[secret], &world()).unwrap().0, Path::new("/home/ana/e"));
    assert!(folders(&[user("dataDir: \"${UNSET}\"\n")], &world()).is_err());
    assert!(folders(&[user("dataDri: x\n")], &world()).is_err());
    assert_eq!(
        folders(&[], &world()).unwrap(),
        ("/home/ana/.agent-orchestrator".into(), "/home/ana/.worktrees".into())
    );
    let named = World { data_dir: Some("/named".into()), ..world() };
    assert_eq!(folders(&[], &named).unwrap().1, Path::new("/named/worktrees"));
}

#[test]
fn a_project_is_closed_while_what_it_runs_was_never_trusted() {
    let closed = |text: &str, trusted: Option<&str>| {
        let file = SourceFile {
            in_repository: true,
            trusted: trusted.map(str::to_owned),
            ..repo("a", text)
        };
        let policy = good(&[file]).policy;
        policy.projects[&id("a")].closed.clone()
    };
    let waits = |keys: &[&str]| {
        Some(policy::Closed::Untrusted {
            file: "/code/a/agent-orchestrator.yaml".into(),
            keys: keys.iter().map(ToString::to_string).collect(),
        })
    };
    let bold = "defaults: {agent: custom}\nprojects:\n  a: {path: ., agent: custom, postCreate: [x], env: {A: b}, \
        agentConfig: {command: [y], permissions: plan}}\n";
    let keys = [
        "defaults.agent",
        "projects.a.agent",
        "projects.a.postCreate",
        "projects.a.agentConfig.command",
    ];
    assert_eq!(closed(bold, None), waits(&keys));
    assert_eq!(closed(bold, Some(bold)), None);
    // What was trusted before goes on meanwhile; what only sends text elsewhere runs nothing.
    assert_eq!(closed(bold, Some("projects: {a: {path: .}}\n")), None);
    assert_eq!(closed("projects: {a: {path: ., symlinks: [x]}}\n", None), None);
    let other = "projects:\n  a: {path: .}\n  b: {path: b, agent: custom}\n";
    assert_eq!(closed(other, None), None);
    assert_eq!(closed(bold, Some("projects: {b: {path: b}}\n")), waits(&keys[1..]));
}

#[test]
fn a_path_in_a_plugins_settings_starts_where_all_paths_do() {
    #[derive(Deserialize, JsonSchema)]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Folder {
        #[schemars(extend("format" = "path"))]
        path: std::path::PathBuf,
    }
    let folder = Registration {
        schema: || schemars::schema_for!(Folder),
        check: |value| match value["path"].as_str() {
            Some(path) if path.starts_with('/') => Ok(()),
            _ => Err(PluginError::permanent("x", "not absolute")),
        },
        ..register("folder")
    };
    let catalog = Catalog::new([Plugin::Tracker(folder)]);
    let world = World { catalog, ..world() };
    let path = |said: &str| {
        let text = format!(
            "projects: {{a: {{path: ., tracker: {{plugin: folder, path: \"{said}\"}}}}}}\n"
        );
        let loaded = load(&[repo("m$$y", &text)], &world).map_err(|errors| shown(&errors))?;
        // What is recorded comes to the same.
        assert_eq!(loaded.policy.revived(&world.env), loaded.live);
        let tracker = loaded.live.projects[&id("a")].tracker.clone().unwrap();
        Ok::<_, Vec<String>>(tracker.settings["path"].as_str().unwrap().to_owned())
    };
    assert_eq!(path("issues").unwrap(), "/code/m$$y/issues");
    assert_eq!(path("~/issues").unwrap(), "/home/ana/issues");
    assert_eq!(path("${HOME}/x").unwrap(), "/home/ana/x");
    assert_eq!(path("/x/../y").unwrap(), "/y");
    assert_eq!(
        path("~ben/x").unwrap_err(),
        ["m$$y:1:57: `path` is not a path (only `~/` is read; write another user's folder out)"]
    );
}

#[test]
fn a_repositorys_file_waits_for_trust_and_the_old_values_stay() {
    let old = "projects:\n  my-app: {path: ., postCreate: [npm ci]}\n";
    let new = "projects:\n  my-app: {path: ., postCreate: [\"curl x | sh ${SECRET}\"], agentRules: be brief}\n";
    let source = |text: &str, trusted: Option<&str>| SourceFile {
        in_repository: true,
        trusted: trusted.map(str::to_owned),
        ..repo("my-app", text)
    };
    let post_create = |loaded: &Loaded| loaded.live.projects[&id("my-app")].post_create.clone();

    let first = good(&[source(old, None)]);
    assert_eq!(post_create(&first), [""; 0]);
    assert_eq!(first.pending[0].items[0].key, "projects.my-app.postCreate");
    assert_eq!(first.pending[0].hash, source(old, None).hash());

    assert_eq!(post_create(&good(&[source(old, Some(old))])), ["npm ci"]);
    assert_eq!(good(&[source(old, Some(old))]).pending, []);

    let changed = source(new, Some(old));
    let loaded = good(std::slice::from_ref(&changed));
    assert_eq!(post_create(&loaded), ["npm ci"]);
    assert_eq!(loaded.live.projects[&id("my-app")].agent_rules.as_deref(), Some("be brief"));
    let item = &loaded.pending[0].items[0];
    assert_eq!(needs_trust(&changed).as_ref(), loaded.pending.first());
    assert_eq!(item.old.as_deref(), Some("[\"npm ci\"]"));
    assert_eq!(item.new.as_deref(), Some("[\"curl x | sh ${SECRET}\"]"));
    assert_eq!(post_create(&good(&[source(new, Some(new))])), ["curl x | sh hunter22"]);

    // Outside a repository, and in the user's own file, nothing waits.
    assert_eq!(post_create(&good(&[repo("my-app", old)])), ["npm ci"]);
    assert_eq!(
        post_create(&good(&[SourceFile { role: Role::User, ..source(old, None) }])),
        ["npm ci"]
    );
}

#[test]
fn r26_a_load_that_fails_leaves_what_was_loaded_and_tells_all_that_is_wrong() {
    let before = good(&[user("port: 4000\n"), repo("a", "projects:\n  a: {path: .}\n")]);
    let broken = [
        user("port: 4000\n"),
        repo("a", "projects:\n  a: {path: ., agent: x}\n"),
        repo("b", "a: [\n"),
        repo("c", "prot: 1\nporjects: {}\n"),
    ];
    let errors = load(&broken, &world()).unwrap_err();
    let files: Vec<_> =
        shown(&errors).iter().map(|error| error.split(':').next().unwrap().to_owned()).collect();
    assert_eq!(files, ["a", "b", "c", "c"]);
    let again =
        good(&[user("port: 4000\n"), repo("a", "# a comment\nprojects:\n  a:\n    path: .\n")]);
    assert_eq!(again, before);
    assert_eq!(again.hash, before.hash);
    let other = good(&[user("port: 4001\n"), repo("a", "projects:\n  a: {path: .}\n")]);
    assert_ne!(other.hash, before.hash);
}

#[test]
fn equal_configurations_give_equal_policies() {
    let one = "notifiers: {h: {plugin: webhook, url: x, secret: y}}\nprojects: {b: {path: b}, a: {path: a}}\n";
    let two = "projects:\n  b: {path: b}\n  a: {path: a}\nnotifiers:\n  h:\n    secret: y\n    url: x\n    plugin: webhook\n";
    assert_eq!(good(&[repo("a", one)]).hash, good(&[repo("a", two)]).hash);
}

#[test]
fn s32_no_error_tells_the_value_of_a_variable() {
    let long = "p4ss".repeat(40);
    let mut world = world();
    world.env.insert("LONG".into(), long.clone());
    let text = "projects:\n  a:\n    path: ~${SECRET}/x\n    subdir: ../${LONG}\n    sessionPrefix: \"1${SECRET}\"\n    \
                defaultBranch: -${LONG}\nnotifications: {routing: {urgent: [\"${SECRET}\"]}}\n";
    let agent = "projects:\n  a: {path: ., agent: \"${LONG}\", agentConfig: {permissions: \"${SECRET}\"}}\n";
    let hook = "notifiers:\n  h: {plugin: \"${SECRET}\"}\n  i: {plugin: webhook, url: x, maxTries: \"${SECRET}\"}\n";
    let enums = "reactions:\n  agent-stuck: {threshold: \"${SECRET}\"}\n";
    let mut told = 0;
    for text in [text, agent, hook, enums] {
        for error in load(&[repo("a", text)], &world).unwrap_err() {
            let text = format!("{error:?}");
            assert!(!text.contains("hunter22") && !text.contains("p4ssp4ss"), "{text}");
            told += 1;
        }
    }
    assert!(told >= 8, "{told}");
}

#[test]
fn r28_a_file_of_nothing_but_mistakes_is_told_in_part() {
    let text: String = (0..9_000).map(|n| format!("prot{n}: 1\n")).collect();
    assert_eq!(load(&[repo("a", &text)], &world()).unwrap_err().len(), 50);
    let many: String = (0..20_001).map(|n| format!("p{n}: 1\n")).collect();
    let errors = load(&[repo("a", &many)], &world()).unwrap_err();
    assert_eq!(errors[0].message, "the file is too deep or too large");
}

#[test]
fn s33_a_value_from_the_environment_is_never_read_as_yaml() {
    let mut world = world();
    let trick = "x\n    postCreate: [evil]\n    agent: {plugin: custom}";
    world.env.insert("TRICK".into(), trick.into());
    let text = "projects:\n  a:\n    path: .\n    agentRules: ${TRICK}\n";
    let project = &load(&[repo("a", text)], &world).unwrap().live.projects[&id("a")];
    assert_eq!(project.agent_rules.as_deref(), Some(trick));
    assert_eq!(project.post_create, [""; 0]);
}

proptest! {
    #[test]
    fn r28_arbitrary_text_never_panics(
        text in "(projects|notifiers|reactions|defaults|a|path|plugin|agent-stuck|threshold|\\$\\{A\\}|[:\\-\\[\\]{},&*!|>'\"#%@ \n0-9~]){0,30}|\\PC{0,60}"
    ) {
        let source = SourceFile { in_repository: true, ..repo("a", &text) };
        let _ = needs_trust(&source);
        if let Err(errors) = load(&[source], &world()) {
            for error in errors {
                prop_assert!(error.offset + error.length <= text.len());
                prop_assert!(text.is_char_boundary(error.offset) && text.is_char_boundary(error.offset + error.length));
                prop_assert!(error.message.chars().count() < 600, "{}", error.message);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn r28_a_broken_example_is_refused_or_read_but_never_panics(at in 0..EXAMPLE.len(), len in 0..40_usize, put in "[:\\-\\[\\]{}&*!|>'\"#\n a]{0,3}") {
        let (start, end) = (EXAMPLE.floor_char_boundary(at), EXAMPLE.floor_char_boundary((at + len).min(EXAMPLE.len())));
        let text = format!("{}{put}{}", &EXAMPLE[..start], &EXAMPLE[end..]);
        let _ = load(&[SourceFile { in_repository: true, trusted: Some(EXAMPLE.into()), ..repo("a", &text) }], &world());
    }
}

#[test]
fn a_key_that_nothing_reads_is_never_taken_in_silence() {
    let text = "reactions: {prompt-undelivered: {retries: 9}, tampered: {auto: false}}\n";
    let warnings = good(&[repo("a", text)]).warnings;
    let text: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(text.len(), 2, "{text:?}");
    assert!(text[0].contains("`retries` does nothing for `prompt-undelivered`"), "{text:?}");
    assert!(text[1].contains("`tampered.auto` has no effect in this version"), "{text:?}");
}
