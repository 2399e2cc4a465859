//! With the real git, in folders of their own: no configuration of this machine counts.

mod checking;
mod killing;
mod looking;
mod merging;
mod moving;
mod settling;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use ao_conformance::{
    context::with_git,
    scm::{self as conformance, Forge, Headers, Mood, records::Memory},
};
use ao_slots::{
    Call, ErrorKind, PluginError, PrNumber,
    call::Answer,
    fact::{Checks, PrFacts, PrState},
    plugin::BuildContext,
    scm::{CheckState, CreatePr, GiveReview, MergeMethod, PrRef, Scm, Verdict},
};
use async_trait::async_trait;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{House, Local, Settings};

const METHODS: [MergeMethod; 3] = [MergeMethod::Merge, MergeMethod::Squash, MergeMethod::Rebase];

/// A repository whose path has a space, worktrees of its branches, and a plugin.
struct Bench {
    _folder: TempDir,
    /// Canonical.
    root: PathBuf,
    records: Memory,
    scm: Arc<Local>,
    settings: Value,
    count: AtomicU32,
}

fn context(root: &Path) -> BuildContext {
    let mut context = with_git(root);
    let path = format!("{}:{}", root.join("bin").display(), context.env["PATH"]);
    let more = [("SOME_TOKEN", "secret"), ("LANG", "C.UTF-8"), ("PATH", &path)];
    context.env.extend(more.map(|(name, value)| (name.to_owned(), value.to_owned())));
    context
}

impl Bench {
    /// With these checks.
    fn with(checks: Value) -> Self {
        Self::of(json!({ "checks": checks }))
    }

    fn of(mut settings: Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir(root.join("home")).unwrap();
        let config = "[user]\nname = Ana\nemail = ana@example.org\n[init]\ndefaultBranch = main\n\
            [advice]\ndetachedHead = false\n";
        fs::write(root.join("gitconfig"), config).unwrap();
        settings["path"] = json!(root.join("a repo"));
        let records = Memory::default();
        let scm = Arc::new(start(&root, &settings, &records));
        let bench =
            Self { _folder: folder, root, records, scm, settings, count: AtomicU32::new(0) };
        bench.git(&bench.root, &["init", "--quiet", "a repo"]);
        fs::write(bench.repo().join("README.md"), "one\n").unwrap();
        bench.commit(&bench.repo(), "Start");
        bench
    }

    fn new() -> Self {
        Self::of(json!({}))
    }

    /// Another plugin over the same records, as after a restart.
    fn restart(&mut self) {
        self.scm = Arc::new(start(&self.root, &self.settings, &self.records));
    }

    fn repo(&self) -> PathBuf {
        self.root.join("a repo")
    }

    fn house(&self) -> &Arc<House> {
        &self.scm.0
    }

    /// Lets these lines of shell run first whenever the plugin calls git, for the subcommand `$SUB`. `$GIT` is the real
    /// one, and `once` holds the first time.
    fn wrap(&self, lines: &str) {
        use std::os::unix::fs::PermissionsExt;
        let git = ao_sdk::local::program("git", &std::env::var("PATH").unwrap());
        let script = format!(
            "#!/bin/sh\nGIT='{}' REPO='{}' SUB= VALUE=\n\
             once() {{ [ ! -e \"$0.done\" ] && : > \"$0.done\"; }}\n\
             for arg; do\n\
             if [ \"$VALUE\" ]; then VALUE=; continue; fi\n\
             case $arg in -c) VALUE=1;; -*) ;; *) SUB=$arg; break;; esac\n\
             done\n{lines}\nexec \"$GIT\" \"$@\"\n",
            git.display(),
            self.repo().display()
        );
        let path = self.root.join("bin/git");
        fs::create_dir_all(self.root.join("bin")).unwrap();
        let _none_before = fs::remove_file(self.root.join("bin/git.done"));
        fs::write(&path, script).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn try_git(&self, dir: &Path, args: &[&str]) -> Output {
        let mut command = Command::new("git");
        command.args(args).current_dir(dir).env_clear().env("LC_ALL", "C");
        for (name, value) in context(&self.root).env.iter().filter(|(name, _)| *name != "GIT_DIR") {
            command.env(name, value);
        }
        command.env("PATH", std::env::var("PATH").unwrap());
        command.env("HOME", self.root.join("home")).output().unwrap()
    }

    /// What a human or an agent does with git.
    fn git(&self, dir: &Path, args: &[&str]) -> String {
        let output = self.try_git(dir, args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {args:?} in {}: {error}", dir.display());
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    fn tip(&self, name: &str) -> String {
        self.git(&self.repo(), &["rev-parse", "--verify", &format!("{name}^{{commit}}")])
    }

    fn commit(&self, dir: &Path, message: &str) -> String {
        self.git(dir, &["add", "--all"]);
        self.git(dir, &["commit", "--quiet", "--message", message]);
        self.git(dir, &["rev-parse", "HEAD"])
    }

    /// The worktree of a branch, made where it is not there.
    fn work(&self, branch: &str) -> PathBuf {
        let place = self.root.join("work").join(branch.replace('/', "__"));
        if !place.exists() {
            let known = self.try_git(
                &self.repo(),
                &["rev-parse", "--verify", "--quiet", &format!("refs/heads/{branch}")],
            );
            let path = place.to_str().unwrap();
            match known.status.success() {
                true => self.git(&self.repo(), &["worktree", "add", "--quiet", path, branch]),
                false => self
                    .git(&self.repo(), &["worktree", "add", "--quiet", "-b", branch, path, "main"]),
            };
        }
        place
    }

    /// A commit on a branch that writes one file.
    fn write(&self, branch: &str, file: &str, text: &str) -> String {
        let place = match branch {
            "main" => self.repo(),
            branch => self.work(branch),
        };
        fs::write(place.join(file), text).unwrap();
        self.commit(&place, &format!("Write {file}"))
    }

    /// A commit on a branch that collides with no other.
    fn more(&self, branch: &str) -> String {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        self.write(branch, &format!("file-{number}"), &format!("{number}\n"))
    }

    async fn create(&self, branch: &str) -> Result<PrRef, PluginError> {
        let request = CreatePr {
            repo: String::new(),
            title: format!("Work of {branch}"),
            body: "What was done.".to_owned(),
            head: branch.to_owned(),
            base: "main".to_owned(),
            draft: false,
        };
        self.scm.create(&call(&format!("create {branch}")), &request).await
    }

    /// An open one with one commit, and its head.
    async fn opened(&self, branch: &str) -> (PrRef, String) {
        let head = self.more(branch);
        (self.create(branch).await.unwrap(), head)
    }

    async fn facts(&self, pr: &PrRef) -> PrFacts {
        match &self.scm.observe(&call("o"), std::slice::from_ref(pr)).await.unwrap()[..] {
            [Answer::Yes(facts)] => facts.clone(),
            answers => panic!("{answers:?}"),
        }
    }

    async fn merge(
        &self,
        pr: &PrRef,
        head: &str,
        method: MergeMethod,
    ) -> Result<String, PluginError> {
        self.scm.merge(&call("merge"), pr, head, Some(method)).await
    }

    /// Waits until the checks of the head are no longer under way.
    async fn checked(&self, pr: &PrRef) -> PrFacts {
        loop {
            let view = self.scm.show(&call("s"), pr).await.unwrap();
            let ended = [CheckState::Passed, CheckState::Failed];
            if view.checks.iter().all(|check| ended.contains(&check.state)) {
                return self.facts(pr).await;
            }
            self.scm.changed().await;
        }
    }

    async fn review(
        &self,
        pr: &PrRef,
        by: &str,
        verdict: Verdict,
        text: &str,
    ) -> Result<(), PluginError> {
        let given =
            GiveReview { head: None, verdict, text: text.to_owned(), at: None, by: by.to_owned() };
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        self.scm.review(&call(&format!("review {number}")), pr, &given).await
    }
}

/// Waits until something holds; what never does ends with the test's own limit.
async fn until(holds: impl Fn() -> bool) {
    while !holds() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn start(root: &Path, settings: &Value, records: &Memory) -> Local {
    let settings: Settings = serde_json::from_value(settings.clone()).unwrap();
    let scm = Local(Arc::new(House::new(settings.validated().unwrap(), &context(root))));
    scm.keep(Arc::new(records.clone()));
    scm
}

fn call(key: &str) -> Call {
    Call::new(key, Duration::from_secs(60))
}

/// The file `fail/<head>` makes the check of that head fail with what is in it.
fn for_the_suite() -> Bench {
    let run = "log=\"$AO_FAILS/$AO_HEAD\"; [ ! -f \"$log\" ] || { cat \"$log\"; exit 1; }";
    let mut bench = Bench::with(json!([{"name": "unit", "run": run}]));
    fs::create_dir(bench.root.join("fails")).unwrap();
    bench.settings["checks"][0]["env"] = json!({"AO_FAILS": bench.root.join("fails")});
    bench.restart();
    bench
}

#[async_trait]
impl Forge for Bench {
    fn scm(&self) -> Arc<dyn Scm> {
        self.scm.clone()
    }
    fn repo(&self) -> String {
        self.house().repo()
    }
    /// The vendor is git, and the folder of the repository. It has no pages to leave out.
    async fn set(&self, mood: Mood) -> bool {
        let (here, away) = (Forge::repo(self), self.root.join("away"));
        match mood {
            Mood::Silent => self.wrap("\"$GIT\" \"$@\"; exec sleep 1000"),
            Mood::Away => fs::rename(here, away).unwrap(),
            Mood::Well if away.exists() => fs::rename(away, here).unwrap(),
            Mood::Well => drop(fs::remove_file(self.root.join("bin/git"))),
            Mood::Partial => return false,
        }
        true
    }
    async fn push(&self, branch: &str) -> String {
        self.more(branch)
    }
    async fn prs(&self) -> Vec<(PrRef, PrState)> {
        let all = self.scm.list(&call("l"), "", true).await.unwrap();
        all.into_iter().rev().map(|view| (view.pr, view.facts.state)).collect()
    }
    async fn discuss(&self, pr: &PrRef, threads: usize) {
        for number in 0..threads {
            self.review(pr, "ana", Verdict::Comment, &format!("words {number}")).await.unwrap();
        }
    }
    async fn fail_check(&self, pr: &PrRef, check: &str, log: &str) {
        let head = self.facts(pr).await.head;
        fs::write(self.root.join("fails").join(head), log).unwrap();
        self.scm.rerun(&call("r"), pr, Some(check)).await.unwrap();
        assert_eq!(self.checked(pr).await.checks, Checks::Failing);
    }
    async fn webhook(&self, _: Option<PrNumber>) -> (Headers, Vec<u8>) {
        unreachable!("there is no case of webhooks here")
    }
}

/// All but webhooks, of which there are none.
#[tokio::test]
async fn it_keeps_the_contract_of_its_slot() {
    conformance::creating_twice_is_one_pull_request(&for_the_suite()).await;
    conformance::merging_twice_is_one_merge(&for_the_suite()).await;
    conformance::another_head_than_expected_is_refused(&for_the_suite()).await;
    conformance::a_dropped_call_is_settled_by_calling_again(&for_the_suite()).await;
    conformance::every_call_ends_within_its_limit(&for_the_suite()).await;
    conformance::no_answer_is_never_none(&for_the_suite()).await;
    conformance::a_partial_answer_is_never_less(&for_the_suite()).await;
    conformance::only_the_open_one_of_a_branch_is_detected(&for_the_suite()).await;
    conformance::facts_come_in_the_order_asked_and_follow_the_vendor(&for_the_suite()).await;
    conformance::a_log_is_trimmed_around_its_error(&for_the_suite()).await;
    conformance::all_threads_are_read(&for_the_suite()).await;
}

#[test]
fn webhooks_are_unsupported() {
    let bench = Bench::new();
    let error = bench.scm.verify_webhook(&[], b"").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert_eq!(bench.scm.parse_webhook(&[], b"").unwrap_err().kind, ErrorKind::Unsupported);
}

#[test]
fn settings_are_strict() {
    let check = crate::registration().check;
    check(&Value::Null).unwrap();
    check(&json!({
        "path": "/x", "parallel": 4, "requiredApprovals": 1, "autoOpen": true, "subdir": "app",
        "checks": [{"name": "unit", "run": "cargo test", "timeout": "1h 30m", "env": {"A": "b"}}, {"name": "lint", "run": "x"}],
    }))
    .unwrap();
    for wrong in [
        json!({"path": "x"}),
        json!({"subdir": "../x"}),
        json!({"parallel": 0}),
        json!({"check": []}),
        json!({"checks": [{"name": "a"}]}),
        json!({"checks": [{"name": "a", "run": " "}]}),
        json!({"checks": [{"name": "a\n", "run": "x"}]}),
        json!({"checks": [{"name": "a", "run": "x"}, {"name": "a", "run": "y"}]}),
        json!({"checks": [{"name": "a", "run": "x", "timeout": "soon"}]}),
        json!({"checks": [{"name": "a", "run": "x", "timeout": "25h"}]}),
        json!({"checks": [{"name": "a", "run": "x", "env": {"a=b": "c"}}]}),
    ] {
        assert!(check(&wrong).unwrap_err().to_string().contains("`local`"), "{wrong}");
    }
}
