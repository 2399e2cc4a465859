//! What the facts mean: one function a check, pure, in the order in which one rests on the other.

use ao_core::slots::text::{count, one_line, shell_word, size};

use super::{
    Finding,
    facts::{DataDir, Facts, Journal, Link},
};

/// `git worktree list -z` appeared in it.
const OLDEST_GIT: (u32, u32) = (2, 36);
/// `git merge-tree --merge-base` appeared in it.
const OLDEST_GIT_TO_MERGE: (u32, u32) = (2, 40);

/// The ids that findings carry; a test breaks each.
const IDS: [&str; 20] = [
    "git",
    "tmux",
    "agent",
    "agent-login",
    "agent-trust",
    "data",
    "modes",
    "disk",
    "journal",
    "config",
    "trust",
    "link",
    "socket",
    "server",
    "push",
    "routing",
    "repository",
    "repository-disk",
    "worktrees",
    "root",
];

/// What is no check, and always said.
const NOTE: &str = "isolation";

/// All checks.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let checks: [fn(&Facts) -> Vec<Finding>; 17] = [
        git,
        tmux,
        agents,
        data,
        modes,
        disk,
        journal,
        config,
        trust,
        link,
        socket,
        server,
        push,
        routing,
        repositories,
        worktrees,
        isolation,
    ];
    let findings: Vec<Finding> = checks.iter().flat_map(|check| check(facts)).collect();
    debug_assert!(findings.iter().all(|f| f.id == NOTE || IDS.contains(&f.id)), "{findings:?}");
    findings
}

fn git(facts: &Facts) -> Vec<Finding> {
    let is_older = |version: &str, than| version_in(version).is_some_and(|version| version < than);
    let too_old = |version: &str, needs: &str| {
        Finding::problem("git", format!("{version} is too old: {needs}"), "install a newer git")
    };
    vec![match &facts.git {
        None => Finding::problem("git", "is not installed", format!("{} git", facts.installs)),
        Some(version) if is_older(version, OLDEST_GIT) => too_old(version, "worktrees need 2.36"),
        Some(version) if facts.merges && is_older(version, OLDEST_GIT_TO_MERGE) => {
            too_old(version, "`scm: local` needs 2.40")
        }
        Some(version) => Finding::good("git", version.trim_start_matches("git version ")),
    }]
}

/// The first two numbers of `git version 2.47.3`.
fn version_in(line: &str) -> Option<(u32, u32)> {
    let mut numbers = line
        .split_ascii_whitespace()
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?
        .split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Whether this version of git merges without a checkout.
pub(in crate::commands) fn can_merge_trees(version: &str) -> bool {
    version_in(version).is_some_and(|version| version >= OLDEST_GIT_TO_MERGE)
}

fn tmux(facts: &Facts) -> Vec<Finding> {
    let install = format!("{} tmux   or set `runtime: process`", facts.installs);
    vec![match &facts.tmux {
        Some(version) => Finding::good("tmux", version.trim_start_matches("tmux ")),
        None if facts.tmux_wanted => Finding::problem("tmux", "is not installed", install),
        None => Finding::note("tmux", "is not installed; no project uses it", install),
    }]
}

fn agents(facts: &Facts) -> Vec<Finding> {
    let judged = facts.agents.iter().map(|agent| {
        let name = &agent.name;
        let of = agent.used_by.as_ref().map(|id| format!(" (project {id})")).unwrap_or_default();
        // One that no project uses may be missing.
        let bad = if agent.used_by.is_some() { Finding::problem } else { Finding::note };
        match &agent.check {
            Err(error) => {
                let fix = error.remedy.clone().unwrap_or_else(|| "start it by hand".into());
                bad("agent", format!("{name}{of}: {error}"), fix)
            }
            Ok(check) if check.program.is_none() => {
                bad("agent", format!("{name} is not installed{of}"), check.install_hint.clone())
            }
            Ok(check) => {
                let version =
                    check.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
                if check.logged_in == Some(false) {
                    bad(
                        "agent-login",
                        format!("{name}{version} is not logged in{of}"),
                        "start it once by hand and log in".into(),
                    )
                } else if check.trusts_repo == Some(false) {
                    let fix = "start it there once by hand and say that you trust the folder";
                    bad(
                        "agent-trust",
                        format!("{name}{version} does not trust the repository{of}"),
                        fix.into(),
                    )
                } else {
                    let login = if check.logged_in == Some(true) { ", logged in" } else { "" };
                    Finding::good("agent", format!("{name}{version}{login}{of}"))
                }
            }
        }
    });
    judged.collect()
}

fn data(facts: &Facts) -> Vec<Finding> {
    vec![match &facts.data {
        DataDir::None => Finding::good("data", "the data directory is made when it is needed"),
        DataDir::Unreadable(why) => Finding::problem("data", why, "choose another with --data-dir"),
        DataDir::There { path, mine: false, .. } => {
            let fix = format!(
                "sudo chown -R \"$USER\" {}   or choose another with --data-dir",
                path.display()
            );
            Finding::problem("data", format!("{} belongs to another user", path.display()), fix)
        }
        DataDir::There { path, mode, .. } if mode & 0o077 != 0 => {
            let words = format!("others can look into {} (mode {mode:o})", path.display());
            Finding::problem("data", words, format!("chmod 700 {}", path.display())).fixable()
        }
        DataDir::There { path, .. } => Finding::good("data", path.display().to_string()),
    }]
}

fn modes(facts: &Facts) -> Vec<Finding> {
    let open = facts.open_to_others.iter().map(|path| {
        let fix = format!("chmod go= {}", path.display());
        Finding::problem("modes", format!("others can look into {}", path.display()), fix).fixable()
    });
    open.collect()
}

fn disk(facts: &Facts) -> Vec<Finding> {
    vec![match facts.free {
        Err(ref error) => {
            Finding::problem("disk", format!("free space is not known: {error}"), "df -h")
        }
        Ok(free) if free < facts.low => {
            Finding::problem("disk", format!("only {} free", size(free)), "ao session cleanup")
        }
        Ok(free) => Finding::good("disk", format!("{} free", size(free))),
    }]
}

fn journal(facts: &Facts) -> Vec<Finding> {
    vec![match &facts.journal {
        Journal::None => Finding::good("journal", "none yet"),
        Journal::Sound(events) => {
            Finding::good("journal", format!("{}, sound", count(*events, "event", "events")))
        }
        Journal::Damaged(places) => {
            let places = count(*places, "place", "places");
            Finding::problem("journal", format!("damaged in {places}"), "ao events verify")
        }
        Journal::Unreadable(why) => Finding::problem("journal", why, "ao events verify"),
    }]
}

fn config(facts: &Facts) -> Vec<Finding> {
    let config = &facts.config;
    if !config.refused.is_empty() {
        let wrong = config.refused.iter();
        return wrong.map(|error| Finding::problem("config", error, "ao config check")).collect();
    }
    if !config.warnings.is_empty() {
        let doubtful = config.warnings.iter();
        return doubtful.map(|said| Finding::note("config", said, "ao config check")).collect();
    }
    vec![match config.files {
        0 => Finding::note("config", "no file here", "ao init"),
        files => {
            let projects = count(config.projects as u64, "project", "projects");
            Finding::good(
                "config",
                format!("{projects} in {}", count(files as u64, "file", "files")),
            )
        }
    }]
}

fn trust(facts: &Facts) -> Vec<Finding> {
    let waiting = facts.config.untrusted.iter().map(|(path, keys)| {
        let keys = count(*keys as u64, "key waits", "keys wait");
        Finding::note(
            "trust",
            format!("{}: {keys} for your trust", path.display()),
            format!("ao config trust {}", path.display()),
        )
    });
    waiting.collect()
}

fn link(facts: &Facts) -> Vec<Finding> {
    let fix = "ao restart";
    vec![match &facts.link {
        Link::NotYet => Finding::good("link", "made when the server starts"),
        Link::Good(target) => Finding::good("link", format!("hooks run {}", target.display())),
        Link::Missing => {
            Finding::problem("link", "run/ao is gone: hooks of agents reach nobody", fix).fixable()
        }
        Link::Broken(target) => {
            let words = format!(
                "run/ao leads to {}, which is no program: hooks of agents reach nobody",
                target.display()
            );
            Finding::problem("link", words, fix).fixable()
        }
    }]
}

fn socket(facts: &Facts) -> Vec<Finding> {
    let dead = facts.dead_socket.iter().map(|path| {
        let words = format!("{} is left of a server that ended", path.display());
        Finding::note("socket", words, "ao start").fixable()
    });
    dead.collect()
}

fn server(facts: &Facts) -> Vec<Finding> {
    let ours = crate::VERSION;
    vec![match &facts.server {
        None => Finding::note("server", "does not run", "ao start"),
        Some(Err(why)) => Finding::problem("server", why, "ao restart"),
        Some(Ok(version)) if version == ours => Finding::good("server", format!("ao {version}")),
        Some(Ok(version)) if numbers(version) < numbers(ours) => Finding::note(
            "server",
            format!("is ao {version}, older than this {ours}; agents stay"),
            "ao restart",
        ),
        Some(Ok(version)) => Finding::note(
            "server",
            format!("is ao {version}, this is {ours}"),
            "use the newer program",
        ),
    }]
}

/// `0.1.0` in an order.
fn numbers(version: &str) -> Vec<u32> {
    version.split(['.', '-', '+']).map_while(|part| part.parse().ok()).collect()
}

fn push(facts: &Facts) -> Vec<Finding> {
    if facts.channels.is_empty() {
        return vec![Finding::problem(
            "push",
            "no channel: nobody would be called",
            "ao help push",
        )];
    }
    let works = facts.channels.iter().any(|channel| channel.error.is_none());
    let judged = facts.channels.iter().map(|channel| {
        let Some((error, remedy)) = &channel.error else {
            return Finding::good("push", format!("{} ({})", channel.name, channel.plugin));
        };
        let words = format!("{}: {}", channel.name, one_line(error));
        let fix = remedy.clone().unwrap_or_else(|| format!("ao notify test {}", channel.name));
        // A desktop may be away, as long as another channel reaches somebody.
        match works && channel.plugin == "desktop" {
            true => Finding::note("push", words, fix),
            false => Finding::problem("push", words, fix),
        }
    });
    judged.collect()
}

fn routing(facts: &Facts) -> Vec<Finding> {
    if facts.channels.is_empty() {
        // Said already.
        return vec![];
    }
    let judged = facts.untold.iter().rev().map(|(class, projects)| {
        let class = format!("{class:?}").to_lowercase();
        let of: Vec<_> = projects.iter().flatten().map(ToString::to_string).collect();
        let of =
            if of.is_empty() { String::new() } else { format!(" (projects {})", of.join(", ")) };
        let fix = format!("name a channel in notifications.routing.{class} or defaults.notifiers");
        Finding::problem("routing", format!("events of class {class} would reach nobody{of}"), fix)
    });
    judged.collect()
}

fn repositories(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![];
    for repo in &facts.repos {
        let (project, before) = (&repo.project, findings.len());
        match &repo.info {
            Err(error) => {
                let fix =
                    error.remedy.clone().unwrap_or_else(|| format!("set projects.{project}.path"));
                findings.push(Finding::problem("repository", format!("{project}: {error}"), fix));
            }
            Ok(info) => findings.extend(info.problems.iter().map(|problem| {
                let fix = problem
                    .remedy
                    .clone()
                    .unwrap_or_else(|| format!("look into {}", repo.path.display()));
                Finding::problem(
                    "repository",
                    format!("{project}: {}", one_line(&problem.to_string())),
                    fix,
                )
            })),
        }
        findings.extend(disk_of(repo.ignores_case, repo.network).into_iter().map(
            |(words, fix)| Finding::note("repository-disk", format!("{project}: {words}"), fix),
        ));
        if findings.len() == before {
            findings
                .push(Finding::good("repository", format!("{project}: {}", repo.path.display())));
        }
    }
    findings
}

/// What is wrong with the disk that a repository lies on, each with its remedy.
pub(super) fn disk_of(ignores_case: bool, network: Option<&str>) -> Vec<(String, &'static str)> {
    let mut found = vec![];
    if ignores_case {
        let words =
            "its disk takes upper and lower case for one, so branches and files may collide";
        found.push((words.to_owned(), "move it to a disk that tells them apart"));
    }
    if let Some(kind) = network {
        let words =
            format!("lies on a network disk ({kind}), where locks and changes may be missed");
        found.push((words, "move it to a disk of this machine"));
    }
    found
}

fn worktrees(facts: &Facts) -> Vec<Finding> {
    let Some(orphans) = &facts.orphans else {
        let words = "not compared with the sessions: no server told of all of them";
        return if facts.repos.is_empty() {
            vec![]
        } else {
            vec![Finding::note("worktrees", words, "ao start")]
        };
    };
    let judged = orphans.iter().map(|orphan| {
        let found = &orphan.found;
        let path = shell_word(&found.path.to_string_lossy());
        let adopt = |branch: &str| format!("ao spawn {} --branch {branch} --prompt \"…\"", orphan.project);
        let (branch, fix) = match &found.branch {
            Some(branch) => {
                let git = format!("git -C {} worktree", shell_word(&orphan.repo.to_string_lossy()));
                let unlock =
                    if found.locked { format!("{git} unlock {path} && ") } else { String::new() };
                let fix = format!(
                    "{}   or: {unlock}{git} remove {path}   (refuses uncommitted work, keeps the branch)",
                    adopt(&shell_word(branch))
                );
                (format!(" on {}", one_line(branch)), fix)
            }
            // Its commits may be on no branch: they would go with it.
            None => {
                let fix = format!("git -C {path} switch -c NAME && {}", adopt("NAME"));
                (", on no branch,".into(), fix)
            }
        };
        let words = format!("{}{branch} belongs to no session", found.path.display());
        Finding::note("worktrees", words, fix)
    });
    judged.collect()
}

fn isolation(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![];
    if facts.root {
        let words =
            "this is the super-user: so are all agents, and some refuse to work without asking";
        findings.push(Finding::note("root", words, "run ao as a user of its own"));
    }
    let words =
        "agents run as you: they are kept from ao's verbs, not from your files or from each other";
    findings.push(Finding::note(NOTE, words, "ao help permissions"));
    findings
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::PathBuf};

    use ao_core::slots::{
        PluginError,
        agent::AgentCheck,
        fact::Priority,
        workspace::{FoundWorkspace, RepoInfo},
    };

    use super::{
        super::{
            Severity,
            facts::{AgentFacts, ChannelFacts, Config, Orphan, RepoFacts},
        },
        *,
    };

    /// A machine on which everything is as it should be.
    fn good() -> Facts {
        let check = AgentCheck {
            program: Some("/usr/bin/claude".into()),
            version: Some("2.1.329".into()),
            logged_in: Some(true),
            trusts_repo: Some(true),
            install_hint: "npm install -g @anthropic-ai/claude-code".into(),
        };
        let info = RepoInfo {
            root: "/src/shop".into(),
            common_dir: "/src/shop/.git".into(),
            origin: None,
            default_branch: Some("main".into()),
            clean: true,
            has_commit: true,
            problems: vec![],
        };
        Facts {
            git: Some("git version 2.47.3".into()),
            tmux: Some("tmux 3.5a".into()),
            installs: "sudo dnf install",
            tmux_wanted: true,
            merges: false,
            agents: vec![AgentFacts {
                name: "claude-code".into(),
                used_by: Some("shop".parse().unwrap()),
                check: Ok(check),
            }],
            root: false,
            data: DataDir::There {
                path: "/home/ana/.agent-orchestrator".into(),
                mine: true,
                mode: 0o700,
            },
            open_to_others: vec![],
            free: Ok(41 << 30),
            low: 1 << 30,
            journal: Journal::Sound(3),
            config: Config { files: 1, projects: 1, ..Config::default() },
            link: Link::Good("/usr/bin/ao".into()),
            dead_socket: None,
            server: Some(Ok(crate::VERSION.into())),
            channels: vec![ChannelFacts {
                name: "desktop".parse().unwrap(),
                plugin: "desktop".into(),
                error: None,
            }],
            untold: BTreeMap::new(),
            repos: vec![RepoFacts {
                project: "shop".parse().unwrap(),
                path: "/src/shop".into(),
                info: Ok(info),
                ignores_case: false,
                network: None,
            }],
            orphans: Some(vec![]),
        }
    }

    /// What is not good after `break_it`, beside what always stands there.
    fn found(break_it: impl FnOnce(&mut Facts)) -> Vec<(&'static str, Severity, String)> {
        let mut facts = good();
        break_it(&mut facts);
        let found = judge(&facts)
            .into_iter()
            .filter(|f| f.severity != Severity::Good && f.id != "isolation");
        found
            .map(|f| {
                assert!(f.fix.is_some(), "{f:?}");
                (f.id, f.severity, f.words)
            })
            .collect()
    }

    /// Exactly one finding, of this check.
    #[track_caller]
    fn only(id: &str, severity: Severity, words: &str, break_it: impl FnOnce(&mut Facts)) {
        let found = found(break_it);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].0, found[0].1), (id, severity), "{found:?}");
        assert!(found[0].2.contains(words), "{found:?}");
    }

    #[test]
    fn a_good_machine_has_no_finding_but_that_agents_are_not_walled_in() {
        assert_eq!(found(|_| {}), []);
        let notes = judge(&good()).into_iter().filter(|f| f.severity == Severity::Note);
        assert_eq!(notes.map(|f| f.id).collect::<Vec<_>>(), ["isolation"]);
    }

    #[test]
    fn each_program_that_is_missing_or_too_old_is_found() {
        use Severity::{Note, Problem};
        only("git", Problem, "not installed", |f| f.git = None);
        only("git", Problem, "too old", |f| f.git = Some("git version 2.34.1".into()));
        let old = || Some("git version 2.39.5".to_owned());
        only("git", Problem, "`scm: local` needs 2.40", |f| (f.git, f.merges) = (old(), true));
        assert_eq!(found(|f| f.git = old()), []);
        only("tmux", Problem, "not installed", |f| f.tmux = None);
        only("tmux", Note, "no project uses it", |f| {
            f.tmux = None;
            f.tmux_wanted = false
        });
        fn check(f: &mut Facts) -> &mut AgentCheck {
            f.agents[0].check.as_mut().unwrap()
        }
        only("agent", Problem, "not installed", |f| check(f).program = None);
        only("agent", Note, "not installed", |f| {
            check(f).program = None;
            f.agents[0].used_by = None
        });
        only("agent", Problem, "no answer", |f| {
            f.agents[0].check =
                Err(PluginError::transient("it does not say its version", "no answer"))
        });
        only("agent-login", Problem, "not logged in", |f| check(f).logged_in = Some(false));
        only("agent-trust", Problem, "does not trust", |f| check(f).trusts_repo = Some(false));
    }

    #[test]
    fn each_fault_of_the_data_directory_is_found() {
        use Severity::{Note, Problem};
        let there = |mine, mode| DataDir::There { path: "/d".into(), mine, mode };
        only("data", Problem, "another user", |f| f.data = there(false, 0o700));
        only("data", Problem, "mode 755", |f| f.data = there(true, 0o755));
        only("data", Problem, "no way", |f| f.data = DataDir::Unreadable("no way".into()));
        only("modes", Problem, "/d/run", |f| f.open_to_others = vec!["/d/run".into()]);
        only("disk", Problem, "only 1", |f| f.free = Ok(1 << 20));
        only("disk", Problem, "not known", |f| f.free = Err("EIO".into()));
        only("journal", Problem, "damaged in 2 places", |f| f.journal = Journal::Damaged(2));
        only("journal", Problem, "EACCES", |f| f.journal = Journal::Unreadable("EACCES".into()));
        only("link", Problem, "gone", |f| f.link = Link::Missing);
        only("link", Problem, "/old/ao", |f| f.link = Link::Broken("/old/ao".into()));
        only("socket", Note, "/d/run/ao.sock", |f| {
            f.dead_socket = Some(PathBuf::from("/d/run/ao.sock"))
        });
        let facts = Facts { data: there(true, 0o755), link: Link::Missing, ..good() };
        let fixable = judge(&facts).into_iter().filter(|f| f.fixable).map(|f| f.id);
        assert_eq!(fixable.collect::<Vec<_>>(), ["data", "link"]);
    }

    #[test]
    fn each_fault_of_the_settings_and_the_server_is_found() {
        use Severity::{Note, Problem};
        only("config", Problem, "x.yaml:3", |f| {
            f.config.refused = vec!["x.yaml:3: no setting".into()]
        });
        only("config", Note, "plain text", |f| {
            f.config.warnings = vec!["x.yaml:4:9: `secret` is written in plain text".into()]
        });
        only("config", Note, "no file", |f| f.config.files = 0);
        only("trust", Note, "2 keys wait", |f| f.config.untrusted = vec![("x.yaml".into(), 2)]);
        only("server", Note, "does not run", |f| f.server = None);
        only("server", Note, "older", |f| f.server = Some(Ok("0.0.9".into())));
        only("server", Note, "this is", |f| f.server = Some(Ok("99.0.0".into())));
        only("server", Problem, "no answer", |f| f.server = Some(Err("no answer".into())));
        only("root", Note, "super-user", |f| f.root = true);
    }

    #[test]
    fn a_channel_that_reaches_nobody_is_found_before_it_is_needed() {
        use Severity::{Note, Problem};
        let away = || Some(("cannot reach the desktop".to_owned(), None));
        only("push", Problem, "nobody would be called", |f| f.channels.clear());
        only("push", Problem, "cannot reach the desktop", |f| f.channels[0].error = away());
        // With another channel a desktop may be away; another channel may not.
        let second = |f: &mut Facts, plugin: &str| {
            f.channels[0].error = away();
            f.channels[0].plugin = plugin.into();
            f.channels.push(ChannelFacts {
                name: "hook".parse().unwrap(),
                plugin: "webhook".into(),
                error: None,
            });
        };
        only("push", Note, "cannot reach", |f| second(f, "desktop"));
        only("push", Problem, "cannot reach", |f| second(f, "webhook"));
        only("routing", Problem, "class urgent would reach nobody (projects shop)", |f| {
            f.untold.insert(Priority::Urgent, vec![Some("shop".parse().unwrap())]);
        });
    }

    #[test]
    fn each_fault_of_a_repository_is_found() {
        use Severity::{Note, Problem};
        only("repository", Problem, "shop: no commit", |f| {
            f.repos[0].info.as_mut().unwrap().problems =
                vec![PluginError::permanent("no commit", "")];
        });
        only("repository", Problem, "no folder", |f| {
            f.repos[0].info = Err(PluginError::permanent("no folder", ""))
        });
        only("repository-disk", Note, "upper and lower case", |f| f.repos[0].ignores_case = true);
        only("repository-disk", Note, "NFS", |f| f.repos[0].network = Some("NFS"));
        only("worktrees", Note, "no server told of all of them", |f| f.orphans = None);
        only("worktrees", Note, "/w/shop/shop-9 on ao/x belongs to no session", |f| {
            f.orphans = Some(vec![orphan("/w/shop/shop-9", Some("ao/x"), true)]);
        });
    }

    fn orphan(path: &str, branch: Option<&str>, locked: bool) -> Orphan {
        let (path, branch, head) = (path.into(), branch.map(str::to_owned), "0".into());
        Orphan {
            project: "shop".parse().unwrap(),
            repo: "/src/shop".into(),
            found: FoundWorkspace { path, branch, head, locked },
        }
    }

    #[test]
    fn what_belongs_to_no_session_is_gone_on_with_or_removed_by_a_line_to_paste() {
        let go_on = "ao spawn shop --branch";
        for (orphan, fix) in [
            (
                orphan("/w/shop/shop-9", Some("ao/x"), true),
                format!(
                    "{go_on} ao/x --prompt \"…\"   or: git -C /src/shop worktree unlock /w/shop/shop-9 && \
                     git -C /src/shop worktree remove /w/shop/shop-9   (refuses uncommitted work, keeps the branch)"
                ),
            ),
            (
                orphan("/w/a b", Some("$(x)"), false),
                format!(
                    "{go_on} '$(x)' --prompt \"…\"   or: git -C /src/shop worktree remove '/w/a b'   \
                     (refuses uncommitted work, keeps the branch)"
                ),
            ),
            (
                orphan("/w/shop/shop-9", None, true),
                format!("git -C /w/shop/shop-9 switch -c NAME && {go_on} NAME --prompt \"…\""),
            ),
        ] {
            let found = worktrees(&Facts { orphans: Some(vec![orphan]), ..good() });
            assert_eq!(found[0].fix.as_deref(), Some(fix.as_str()));
        }
    }

    #[test]
    fn an_old_git_keeps_no_pull_requests() {
        for (version, can) in [
            ("git version 2.47.3", true),
            ("git version 2.40.0", true),
            ("git version 3.0", true),
            ("git version 2.39.5 (Apple Git-154)", false),
            ("", false),
        ] {
            assert_eq!(can_merge_trees(version), can, "{version}");
        }
    }

    #[test]
    fn each_check_has_a_test_that_breaks_it() {
        let tests = include_str!("judge.rs").split_once("mod tests").unwrap().1;
        for id in IDS {
            assert!(tests.contains(&format!("only(\"{id}\", ")), "nothing breaks `{id}`");
        }
    }
}
