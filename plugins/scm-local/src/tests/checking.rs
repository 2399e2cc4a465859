//! Checks run on what was committed, end when they must, and leave nothing behind.

use ao_slots::process::ProcessId;

use super::*;

/// A pipe that a check writes to when it has come that far.
fn pipe(bench: &Bench) -> PathBuf {
    let path = bench.root.join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    path
}

async fn told(pipe: &Path) -> String {
    let pipe = pipe.to_owned();
    let told = tokio::task::spawn_blocking(move || fs::read_to_string(pipe).unwrap());
    told.await.unwrap().trim().to_owned()
}

fn process(pid: &str) -> ProcessId {
    ProcessId::of(pid.parse().unwrap()).expect("it runs")
}

/// Git knows no worktree of a check, and there is no folder of one.
fn is_tidy(bench: &Bench) -> bool {
    let listed = bench.git(&bench.repo(), &["worktree", "list"]);
    let folders = fs::read_dir(bench.house().places()).into_iter().flatten().count();
    !listed.contains("/data/checks/") && folders == 0
}

/// What this check does, with a pipe to tell of it.
fn telling(run: &str, timeout: &str) -> (Bench, PathBuf) {
    let mut bench = Bench::new();
    let pipe = pipe(&bench);
    bench.settings["checks"] =
        json!([{"name": "unit", "run": run, "timeout": timeout, "env": {"PIPE": pipe}}]);
    bench.restart();
    (bench, pipe)
}

const HANG: &str = "setsid sleep 1000 & echo $$ $! > \"$PIPE\"; sleep 1000";

#[tokio::test]
async fn a_check_sees_the_commit_alone_and_its_own_environment() {
    let run = "env | sort > \"$OUT/env\"; git status --porcelain --ignored > \"$OUT/status\"; \
        git rev-parse HEAD > \"$OUT/head\"; pwd > \"$OUT/pwd\"; git symbolic-ref -q HEAD > \"$OUT/branch\"; true";
    let mut bench = Bench::new();
    let out = bench.root.join("out put");
    fs::create_dir(&out).unwrap();
    bench.settings["checks"] =
        json!([{"name": "unit", "run": run, "env": {"OUT": out, "LANG": "x"}}]);
    bench.restart();
    let head = bench.more("ao/one");
    fs::write(bench.work("ao/one").join("uncommitted"), "").unwrap();
    let pr = bench.create("ao/one").await.unwrap();
    let facts = bench.checked(&pr).await;
    assert_eq!((facts.checks, facts.details.passed, facts.details.checks), (Checks::Passing, 1, 1));
    let read = |name: &str| fs::read_to_string(out.join(name)).unwrap();
    assert_eq!(
        (read("head").trim(), read("status").as_str(), read("branch").as_str()),
        (head.as_str(), "", "")
    );
    assert!(read("pwd").starts_with(bench.root.join("data/checks").to_str().unwrap()));
    let env = read("env");
    for line in [
        "AO_CHECK=unit",
        "AO_PR=1",
        "AO_BASE=main",
        "CI=true",
        "LANG=x",
        &format!("AO_HEAD={head}"),
    ] {
        assert!(env.lines().any(|has| has == line), "{line} is not in {env}");
    }
    assert!(!env.contains("SOME_TOKEN") && !env.contains("GIT_DIR"), "{env}");
    assert!(is_tidy(&bench));
}

#[tokio::test]
async fn a_failure_has_its_first_error_its_log_and_can_run_again() {
    let run = "echo one; echo 'error: no such thing' >&2; echo two; test -f ok";
    let bench =
        Bench::with(json!([{"name": "unit tests", "run": run}, {"name": "lint", "run": "exit 0"}]));
    let (pr, _) = bench.opened("ao/one").await;
    let facts = bench.checked(&pr).await;
    assert_eq!(
        (facts.checks, facts.failing.as_slice()),
        (Checks::Failing, &["unit tests".to_owned()][..])
    );
    assert_eq!(facts.details.failure.as_deref(), Some("error: no such thing"));
    assert_eq!((facts.details.passed, facts.details.checks), (1, 2));
    let log = bench.scm.failing_check_log(&call("l"), &pr, "unit tests").await.unwrap();
    assert_eq!(log, format!("$ {run}\none\nerror: no such thing\ntwo\n"));
    let view = bench.scm.show(&call("s"), &pr).await.unwrap();
    assert!(view.checks[0].url.as_ref().is_some_and(|path| Path::new(path).exists()));
    // Only what failed runs once more.
    let attempts = |name: &str| {
        let records = bench.records.all();
        let found = records.iter().find(|(key, _)| key.ends_with(name)).unwrap().1;
        found["attempt"].as_u64().unwrap()
    };
    bench.scm.rerun(&call("r"), &pr, None).await.unwrap();
    assert_eq!(bench.checked(&pr).await.checks, Checks::Failing);
    assert_eq!((attempts("/unit tests"), attempts("/lint")), (2, 1));
    let error = bench.scm.rerun(&call("r"), &pr, Some("none")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
    bench.write("ao/one", "ok", "");
    assert_eq!(bench.checked(&pr).await.checks, Checks::Passing);
    assert!(is_tidy(&bench));
}

#[tokio::test]
async fn what_takes_too_long_is_ended_with_all_that_it_started() {
    let (bench, pipe) = telling(HANG, "1s");
    let (pr, _) = bench.opened("ao/one").await;
    let pids = told(&pipe).await;
    let pids: Vec<&str> = pids.split(' ').collect();
    let (leader, stray) = (process(pids[0]), process(pids[1]));
    let facts = bench.checked(&pr).await;
    assert_eq!(facts.checks, Checks::Failing);
    assert_eq!(facts.details.failure.as_deref(), Some("it took longer than 1 s"));
    assert!(!leader.is_alive() && !stray.is_alive(), "a process is left");
    let log = bench.scm.failing_check_log(&call("l"), &pr, "unit").await.unwrap();
    assert!(log.ends_with("… ended: it took longer than 1 s\n"), "{log}");
    assert!(is_tidy(&bench));
}

#[tokio::test]
async fn a_flood_is_cut_and_one_without_end_is_ended() {
    let bench = Bench::with(json!([
        {"name": "long", "run": "yes 0123456789abcdef | head -n 1000000; echo 'error: at the end'; exit 1"},
        {"name": "wild", "run": "yes"},
    ]));
    let (pr, _) = bench.opened("ao/one").await;
    let facts = bench.checked(&pr).await;
    assert_eq!(facts.failing, ["long", "wild"]);
    let view = bench.scm.show(&call("s"), &pr).await.unwrap();
    assert_eq!(view.checks[0].summary.as_deref(), Some("error: at the end"));
    assert!(
        view.checks[1].summary.as_ref().unwrap().contains("wrote more than 256"),
        "{:?}",
        view.checks[1]
    );
    for check in &view.checks {
        assert!(fs::metadata(check.url.as_ref().unwrap()).unwrap().len() < 4 << 20);
    }
}

#[tokio::test]
async fn a_head_that_moves_ends_the_checks_of_the_old_one() {
    let (bench, pipe) = telling(&format!("test -f ok || {{ {HANG}; }}"), "1h");
    let (pr, old) = bench.opened("ao/one").await;
    let pids = told(&pipe).await;
    let pids: Vec<ProcessId> = pids.split(' ').map(process).collect();
    let new = bench.write("ao/one", "ok", "");
    let facts = bench.checked(&pr).await;
    assert_eq!((facts.head, facts.checks), (new, Checks::Passing));
    assert_eq!(bench.records.all()[&format!("check/1/{old}/unit")]["stage"], json!("cancelled"));
    until(|| pids.iter().all(|pid| !pid.is_alive()) && is_tidy(&bench)).await;
}

#[tokio::test]
async fn closing_ends_checks_and_opening_again_runs_them() {
    let (bench, pipe) = telling(HANG, "1h");
    let (pr, _) = bench.opened("ao/one").await;
    let first: Vec<ProcessId> = told(&pipe).await.split(' ').map(process).collect();
    bench.scm.close(&call("c"), &pr).await.unwrap();
    until(|| first.iter().all(|pid| !pid.is_alive()) && is_tidy(&bench)).await;
    bench.scm.reopen(&call("r"), &pr).await.unwrap();
    let second: Vec<ProcessId> = told(&pipe).await.split(' ').map(process).collect();
    assert_eq!(bench.facts(&pr).await.checks, Checks::Pending);
    bench.scm.close(&call("c"), &pr).await.unwrap();
    until(|| second.iter().all(|pid| !pid.is_alive())).await;
}

#[tokio::test]
async fn r20_what_a_dead_server_left_is_ended_and_runs_again() {
    let (mut bench, pipe) = telling(&format!("test -f \"$PIPE.2\" || {{ {HANG}; }}"), "1h");
    let (pr, head) = bench.opened("ao/one").await;
    let pids: Vec<ProcessId> = told(&pipe).await.split(' ').map(process).collect();
    let key = format!("check/1/{head}/unit");
    until(|| bench.records.all()[&key]["process"]["pid"] == json!(pids[0].pid)).await;
    // A server that is killed ends nothing: its runs are kept from being dropped.
    let dead = std::mem::replace(
        &mut bench.scm,
        Arc::new(start(&bench.root, &bench.settings, &bench.records)),
    );
    let left = bench.records.all().clone();
    fs::write(format!("{}.2", pipe.display()), "").unwrap();
    assert_eq!(bench.checked(&pr).await.checks, Checks::Passing);
    assert!(pids.iter().all(|pid| !pid.is_alive()), "a process is left");
    assert_eq!(left[&key]["stage"], json!("running"));
    assert_eq!(bench.records.all()[&key]["attempt"], json!(2));
    until(|| is_tidy(&bench)).await;
    drop(dead);
}

#[tokio::test]
async fn a_plugin_that_is_dropped_leaves_nothing_running() {
    let (mut bench, pipe) = telling(HANG, "1h");
    bench.opened("ao/one").await;
    let pids: Vec<ProcessId> = told(&pipe).await.split(' ').map(process).collect();
    bench.settings["checks"] = json!([]);
    bench.restart();
    until(|| pids.iter().all(|pid| !pid.is_alive()) && is_tidy(&bench)).await;
}

#[tokio::test]
async fn what_cannot_be_started_has_failed_and_says_why() {
    let bench = Bench::of(json!({"subdir": "absent", "checks": [{"name": "unit", "run": "true"}]}));
    let (pr, _) = bench.opened("ao/one").await;
    let facts = bench.checked(&pr).await;
    assert_eq!(facts.checks, Checks::Failing);
    assert!(facts.details.failure.unwrap().contains("could not be started"));
    let log = bench.scm.failing_check_log(&call("l"), &pr, "unit").await.unwrap();
    assert!(log.contains("true"), "{log}");
    assert!(is_tidy(&bench));
}

#[tokio::test]
async fn only_as_many_run_as_may() {
    let count = "n=$(ls \"$DIR\" | wc -l); echo $n >> \"$DIR.most\"; mkdir \"$DIR/$AO_CHECK\"; \
        ls \"$DIR\" | wc -l >> \"$DIR.most\"; rmdir \"$DIR/$AO_CHECK\"";
    let mut bench = Bench::new();
    let dir = bench.root.join("dir");
    fs::create_dir(&dir).unwrap();
    let check =
        |number: u32| json!({"name": format!("c{number}"), "run": count, "env": {"DIR": dir}});
    bench.settings["checks"] = (0..4).map(check).collect();
    bench.settings["parallel"] = json!(1);
    bench.restart();
    let (pr, _) = bench.opened("ao/one").await;
    let view = bench.scm.show(&call("s"), &pr).await.unwrap();
    assert!(view.checks.iter().any(|check| check.state == CheckState::Queued));
    assert_eq!(bench.checked(&pr).await.checks, Checks::Passing);
    let seen = fs::read_to_string(bench.root.join("dir.most")).unwrap();
    assert_eq!(seen.split_whitespace().collect::<Vec<_>>(), ["0", "1"].repeat(4));
}

#[tokio::test]
async fn a_worktree_that_no_record_knows_is_removed() {
    let mut bench = Bench::new();
    let place = bench.house().places().join("7-left");
    let path = place.to_str().unwrap();
    bench.git(&bench.repo(), &["worktree", "add", "--quiet", "--detach", "--lock", path]);
    fs::create_dir(bench.house().places().join("8-left")).unwrap();
    bench.restart();
    bench.opened("ao/one").await;
    until(|| is_tidy(&bench)).await;
}

#[tokio::test]
async fn a_check_that_passes_leaves_nothing_running() {
    // It passes once it has been seen what it leaves.
    let run = "setsid sleep 1000 > /dev/null 2>&1 < /dev/null & echo $! > \"$PIPE\" && read -r go < \"$PIPE\"";
    let (bench, pipe) = telling(run, "1h");
    let (pr, _) = bench.opened("ao/one").await;
    let daemon = process(&told(&pipe).await);
    let seen = pipe.clone();
    tokio::task::spawn_blocking(move || fs::write(seen, "go\n")).await.unwrap().unwrap();
    assert_eq!(bench.checked(&pr).await.checks, Checks::Passing);
    assert!(!daemon.is_alive(), "a process is left");
    assert!(is_tidy(&bench));
}

#[tokio::test]
async fn the_first_call_after_a_restart_ends_in_time_whatever_was_left() {
    let (mut bench, pipe) = telling(HANG, "1h");
    let (pr, head) = bench.opened("ao/one").await;
    let pids: Vec<ProcessId> = told(&pipe).await.split(' ').map(process).collect();
    let key = format!("check/1/{head}/unit");
    until(|| bench.records.all()[&key]["process"]["pid"] == json!(pids[0].pid)).await;
    let unreadable = format!("check/1/{}/unit", "0".repeat(40));
    bench.records.all().insert(unreadable.clone(), json!({"stage": "of another time"}));
    let dead = std::mem::replace(
        &mut bench.scm,
        Arc::new(start(&bench.root, &bench.settings, &bench.records)),
    );
    // Git never answers, and the worktree of the check is still there.
    bench.wrap("sleep 1000");
    let short = Call::new("s", Duration::from_millis(500));
    let look = bench.scm.show(&short, &pr);
    let error = tokio::time::timeout(Duration::from_secs(60), look).await.unwrap().unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    // What needs no git is done, and one record that cannot be read harms no other.
    assert!(pids.iter().all(|pid| !pid.is_alive()), "a process is left");
    assert_eq!(bench.records.all()[&key]["stage"], json!("cancelled"));
    fs::remove_dir_all(bench.root.join("bin")).unwrap();
    bench.records.all().remove(&unreadable);
    bench.scm.close(&call("c"), &pr).await.unwrap();
    drop(dead);
}

#[tokio::test]
async fn a_check_sees_all_of_the_commit_in_a_sparse_checkout() {
    for extension in ["false", "true"] {
        let bench =
            Bench::with(json!([{"name": "unit", "run": "test -f deep/within && test -f file-0"}]));
        let work = bench.work("ao/one");
        fs::create_dir(work.join("deep")).unwrap();
        fs::write(work.join("deep/within"), "").unwrap();
        bench.git(&bench.repo(), &["config", "extensions.worktreeConfig", extension]);
        for (name, value) in [("core.sparseCheckout", "true"), ("core.sparseCheckoutCone", "true")]
        {
            bench.git(&bench.repo(), &["config", name, value]);
        }
        fs::create_dir_all(bench.repo().join(".git/info")).unwrap();
        fs::write(bench.repo().join(".git/info/sparse-checkout"), "/*\n!/*/\n").unwrap();
        let (pr, _) = bench.opened("ao/one").await;
        assert_eq!(bench.checked(&pr).await.checks, Checks::Passing, "{extension}");
    }
}

#[tokio::test]
async fn of_an_ended_one_the_checks_of_its_last_head_are_remembered() {
    for merge in [true, false] {
        let bench = Bench::with(json!([{"name": "unit", "run": "true"}]));
        let (pr, old) = bench.opened("ao/one").await;
        bench.checked(&pr).await;
        let head = bench.more("ao/one");
        bench.checked(&pr).await;
        let heads = || {
            let all = bench.records.all();
            let of =
                |key: &String| Some(key.strip_prefix("check/1/")?.split_once('/')?.0.to_owned());
            all.keys().filter_map(of).collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(heads(), [old, head.clone()].into());
        match merge {
            true => drop(bench.merge(&pr, &head, MergeMethod::Squash).await.unwrap()),
            false => bench.scm.close(&call("c"), &pr).await.unwrap(),
        }
        assert_eq!(heads(), [head].into());
        assert_eq!(bench.facts(&pr).await.checks, Checks::Passing);
    }
}
