//! Repositories as they really are: one test a row of the product's table.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    time::{Duration, Instant},
};

use ao_slots::{
    ErrorKind,
    call::Answer,
    workspace::{PostCreate, Removal, RepoInfo, Workspace},
};

use super::{House, call};

async fn inspect(house: &House, folder: &std::path::Path) -> RepoInfo {
    house.plugin.inspect(&call(), folder).await.unwrap()
}

#[tokio::test]
async fn a_plain_checkout_is_described() {
    let house = House::new();
    house.git(&house.repo(), &["config", "remote.origin.url", "https://ana:pw@example.org/o/r"]);
    let info = inspect(&house, &house.repo()).await;
    let expected = RepoInfo {
        root: house.repo(),
        common_dir: house.repo().join(".git"),
        origin: Some("https://example.org/o/r".into()),
        default_branch: Some("main".into()),
        clean: true,
        has_commit: true,
        problems: Vec::new(),
    };
    assert_eq!(info, expected);
    fs::write(house.repo().join("new"), "").unwrap();
    assert!(!inspect(&house, &house.repo()).await.clean);
}

#[tokio::test]
async fn without_a_commit_a_spawn_is_refused_with_the_remedy() {
    let house = House::empty();
    house.git(&house.root, &["init", "--quiet", "repo"]);
    let info = inspect(&house, &house.repo()).await;
    assert!(!info.has_commit);
    assert_eq!(info.default_branch, None);
    let remedies = |error: &ao_slots::PluginError| error.remedy.clone().unwrap_or_default();
    assert!(info.problems.iter().any(|problem| remedies(problem).starts_with("git commit")));
    let error = house.create(1).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Permanent);
    assert!(
        error.what.contains("no commit") && remedies(&error).starts_with("git commit"),
        "{error}"
    );
    assert!(!house.root.join("wt").exists());
}

#[tokio::test]
async fn what_is_no_repository_says_so() {
    let house = House::empty();
    for folder in [house.root.join("home"), house.root.join("nothing")] {
        let error = house.plugin.inspect(&call(), &folder).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
    }
}

#[tokio::test]
async fn without_a_remote_committed_is_safe_and_the_branch_stays() {
    let house = House::alone();
    let path = house.made(1).await;
    fs::write(path.join("new.txt"), "1\n").unwrap();
    assert!(house.destroy(1, Removal::IfSafe).await.is_err());
    let head = house.commit_all(&path);
    let facts = house.facts(1).await;
    assert!(facts.pushed && facts.commits == 1, "{facts:?}");
    let removed = house.destroy(1, Removal::IfSafe).await.unwrap();
    assert!(!removed.branch_removed && !path.exists());
    assert_eq!(house.git(&house.repo(), &["rev-parse", "ao/app-1"]), head);
}

#[tokio::test]
async fn without_a_remote_a_commit_on_no_branch_is_work() {
    let house = House::alone();
    let path = house.made(1).await;
    house.git(&path, &["switch", "--quiet", "--detach"]);
    let head = house.commit_all(&path);
    let facts = house.facts(1).await;
    assert_eq!((facts.branch, facts.pushed), (None, false));
    assert_eq!(house.destroy(1, Removal::IfSafe).await.unwrap_err().kind, ErrorKind::Refused);
    let kept = house.destroy(1, Removal::Forced).await.unwrap().kept.unwrap();
    assert_eq!(house.git(&house.repo(), &["rev-parse", &kept]), head);
}

#[tokio::test]
async fn the_default_branch_is_never_guessed() {
    let house = House::new();
    let default = async || inspect(&house, &house.repo()).await.default_branch;
    house.git(&house.repo(), &["switch", "--quiet", "--create", "topic"]);
    assert_eq!(default().await.as_deref(), Some("main"), "origin/HEAD");
    house.git(&house.repo(), &["remote", "set-head", "origin", "--delete"]);
    assert_eq!(default().await.as_deref(), Some("main"), "init.defaultBranch where it exists");
    house.git(&house.root, &["config", "--file", "gitconfig", "init.defaultBranch", "trunk"]);
    assert_eq!(default().await.as_deref(), Some("topic"), "the current branch");
    house.git(&house.repo(), &["switch", "--quiet", "--detach"]);
    assert_eq!(default().await, None, "ask");
    let mut request = house.request(1);
    request.base = "trunk".into();
    let error = house.plugin.create(&call(), &request).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
    assert!(error.remedy.unwrap().contains("defaultBranch"));
    request.base = "--upload-pack=x".into();
    assert!(house.plugin.create(&call(), &request).await.is_err());
}

#[tokio::test]
async fn a_worktree_a_subfolder_and_a_bare_repository_lead_to_the_common_folder() {
    let house = House::new();
    fs::create_dir_all(house.repo().join("packages/web")).unwrap();
    house.git(&house.repo(), &["worktree", "add", "--quiet", "-b", "mine", "../mine"]);
    house.git(&house.root, &["clone", "--quiet", "--bare", "repo", "bare.git"]);
    for (number, from, common) in [
        (1, "repo/packages/web", "repo/.git"),
        (2, "mine", "repo/.git"),
        (3, "repo/.git", "repo/.git"),
        (4, "bare.git", "bare.git"),
    ] {
        let info = inspect(&house, &house.root.join(from)).await;
        assert_eq!(info.common_dir, house.root.join(common), "{from}");
        let root = if number == 4 { house.root.join("bare.git") } else { house.repo() };
        assert_eq!((info.root, info.clean), (root, true), "{from}");
        let mut request = house.request(number);
        request.repo = house.root.join(from);
        let made = house.plugin.create(&call(), &request).await.unwrap();
        assert!(made.path.join("README.md").exists(), "{from}");
        let mut handle = house.handle(number);
        handle.repo = request.repo;
        let answer = house.plugin.probe(&call(), &handle).await.unwrap();
        assert!(matches!(answer, Answer::Yes(facts) if facts.is_clean()), "{from}");
        let listed =
            house.plugin.list(&call(), &handle.repo, &house.root.join("wt")).await.unwrap();
        assert!(listed.iter().any(|found| found.path == made.path), "{from}: {listed:?}");
        house.plugin.destroy(&call(), &handle, Removal::IfSafe).await.unwrap();
        assert!(!made.path.exists() && house.root.join("mine/README.md").exists());
    }
}

#[tokio::test]
async fn a_worktree_of_a_bare_repository_is_one_too() {
    let house = House::new();
    house.git(&house.root, &["clone", "--quiet", "--bare", "repo", "bare.git"]);
    house.git(&house.root.join("bare.git"), &["worktree", "add", "--quiet", "-b", "w", "../w"]);
    let info = inspect(&house, &house.root.join("w")).await;
    assert_eq!(info.root, house.root.join("bare.git"));
    let mut request = house.request(1);
    request.repo = house.root.join("w");
    request.symlinks = vec!["ignored".into()];
    let made = house.plugin.create(&call(), &request).await.unwrap();
    assert!(made.notes.iter().any(|note| note.contains("no main checkout")), "{:?}", made.notes);
}

#[tokio::test]
async fn a_submodule_as_a_project_has_its_own_root() {
    let house = House::new();
    house.git(&house.root, &["init", "--quiet", "super"]);
    let allow =
        ["-c", "protocol.file.allow=always", "submodule", "add", "--quiet", "../repo", "sub"];
    house.git(&house.root.join("super"), &allow);
    let info = inspect(&house, &house.root.join("super/sub")).await;
    assert_eq!(info.root, house.root.join("super/sub"));
    assert_eq!(info.common_dir, house.root.join("super/.git/modules/sub"));
    let mut request = house.request(1);
    request.repo = info.root;
    assert!(house.plugin.create(&call(), &request).await.unwrap().path.join("README.md").exists());
}

#[tokio::test]
async fn filters_of_the_users_own_configuration_run() {
    let house = House::new();
    let config = house.root.join("gitconfig");
    let set = |key: &str, value: &str| {
        house.git(&house.root, &["config", "--file", config.to_str().unwrap(), key, value]);
    };
    set("filter.shout.smudge", "tr a-z A-Z");
    set("filter.shout.clean", "tr A-Z a-z");
    fs::write(house.repo().join(".gitattributes"), "*.loud filter=shout\n").unwrap();
    fs::write(house.repo().join("x.loud"), "hello\n").unwrap();
    house.commit_all(&house.repo());
    let path = house.made(1).await;
    assert_eq!(fs::read_to_string(path.join("x.loud")).unwrap(), "HELLO\n");
    assert!(house.facts(1).await.is_clean());
}

#[tokio::test]
async fn submodules_are_initialised_only_when_asked() {
    let house = House::new();
    house.git(&house.root, &["config", "--file", "gitconfig", "protocol.file.allow", "always"]);
    house.git(&house.root, &["init", "--quiet", "lib"]);
    fs::write(house.root.join("lib/lib.txt"), "lib").unwrap();
    house.commit_all(&house.root.join("lib"));
    let lib = house.root.join("lib");
    house.git(&house.repo(), &["submodule", "add", "--quiet", lib.to_str().unwrap(), "lib"]);
    house.commit_all(&house.repo());
    assert!(!house.made(1).await.join("lib/lib.txt").exists());
    let mut request = house.request(2);
    request.submodules = true;
    let path = house.plugin.create(&call(), &request).await.unwrap().path;
    assert!(path.join("lib/lib.txt").exists());

    // Work inside a submodule is work: its commits live in git's folder of this worktree alone.
    assert!(house.facts(2).await.is_clean());
    fs::write(path.join("lib/lib.txt"), "changed").unwrap();
    assert_eq!(house.facts(2).await.changed_files, 1);
    assert_eq!(house.destroy(2, Removal::IfSafe).await.unwrap_err().kind, ErrorKind::Refused);
    house.commit_all(&path.join("lib"));
    house.git(&path, &["checkout", "--quiet", "HEAD", "--", "."]);
    for removal in [Removal::IfSafe, Removal::Forced] {
        let error = house.destroy(2, removal).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Refused, "{error}");
    }
    house.git(&path.join("lib"), &["reset", "--quiet", "--hard", "origin/HEAD"]);
    house.destroy(2, Removal::IfSafe).await.unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn a_sparse_workspace_holds_what_was_asked_for() {
    let house = House::new();
    for folder in ["web/src", "api/src"] {
        fs::create_dir_all(house.repo().join(folder)).unwrap();
        fs::write(house.repo().join(folder).join("x"), "x").unwrap();
    }
    house.commit_all(&house.repo());
    let mut request = house.request(1);
    request.sparse = vec!["web".into()];
    let path = house.plugin.create(&call(), &request).await.unwrap().path;
    assert!(path.join("web/src/x").exists() && path.join("README.md").exists());
    assert!(!path.join("api").exists());
    assert!(house.facts(1).await.is_clean());
    assert!(house.repo().join("api/src/x").exists(), "the main checkout is not sparse");
    assert_eq!(house.git(&house.repo(), &["status", "--porcelain"]), "");
    // A file outside of the asked folders is seen although its index entry says to skip it.
    fs::create_dir_all(path.join("api/src")).unwrap();
    fs::write(path.join("api/src/x"), "work").unwrap();
    assert_eq!(house.destroy(1, Removal::IfSafe).await.unwrap_err().kind, ErrorKind::Refused);
    let kept = house.destroy(1, Removal::Forced).await.unwrap().kept.unwrap();
    assert_eq!(house.git(&house.repo(), &["show", &format!("{kept}:api/src/x")]), "work");
    assert_eq!(house.git(&house.repo(), &["show", &format!("{kept}:web/src/x")]), "x");
}

#[tokio::test]
async fn too_little_space_is_refused_with_figures() {
    let mut house = House::new();
    house.plugin.reserve = u64::MAX / 2;
    let error = house.create(1).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(error.cause.contains("GiB free") || error.cause.contains("MiB free"), "{error}");
    assert!(!house.place(1).exists() && !house.has("refs/heads/ao/app-1"));
    house.plugin.reserve = 0;
    let path = house.made(1).await;
    let file = house.repo().join(".git/ao-worktree.lock");
    let last: u64 = fs::read_to_string(&file).unwrap().parse().unwrap();
    assert!(last >= fs::metadata(path.join("README.md")).unwrap().blocks() * 512);

    // What set-up commands bring counts too, whatever folder of the workspace they run in.
    fs::create_dir(path.join("web")).unwrap();
    let request = PostCreate {
        path: path.join("web"),
        commands: vec!["dd if=/dev/zero of=dependencies bs=1024 count=4096".into()],
        env: [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into(),
        log: house.repo().with_file_name("setup.log"),
    };
    house.plugin.post_create(&call(), &request).await.unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    let size = || fs::read_to_string(&file).unwrap().parse::<u64>().unwrap_or(0);
    while size() < last + (4 << 20) {
        assert!(Instant::now() < until, "{} of {last}", size());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    house.plugin.reserve = u64::MAX / 2;
    let error = house.create(2).await.unwrap_err();
    assert!(error.cause.contains("the last workspace took 4."), "{error}");
}

#[tokio::test]
async fn a_squash_merge_counts_as_pushed() {
    let house = House::new();
    let path = house.made(1).await;
    fs::write(path.join("new.txt"), "1\n2\n").unwrap();
    let head = house.commit_all(&path);
    let facts = house.facts(1).await;
    assert_eq!((facts.pushed, facts.commits, facts.files, facts.added), (false, 1, 1, 2));
    assert_eq!(house.destroy(1, Removal::IfSafe).await.unwrap_err().kind, ErrorKind::Refused);
    let mut handle = house.handle(1);
    handle.merged_head = Some(head);
    let removed = house.plugin.destroy(&call(), &handle, Removal::IfSafe).await.unwrap();
    assert!(removed.branch_removed && !house.has("refs/heads/ao/app-1"));
}

#[tokio::test]
async fn a_merged_branch_goes_with_its_workspace() {
    let house = House::new();
    let path = house.made(1).await;
    house.commit_all(&path);
    house.git(&path, &["push", "--quiet", "--set-upstream", "origin", "HEAD"]);
    house.git(&house.repo(), &["merge", "--quiet", "--ff-only", "ao/app-1"]);
    let removed = house.destroy(1, Removal::IfSafe).await.unwrap();
    assert!(removed.branch_removed && !house.has("refs/heads/ao/app-1"));
    let config = fs::read_to_string(house.repo().join(".git/config")).unwrap();
    assert!(!config.contains("ao/app-1"), "{config}");
}

#[tokio::test]
async fn another_owner_no_identity_and_a_signature_that_asks_are_problems_with_remedies() {
    let house = House::new();
    let config = house.root.join("gitconfig");
    let set = |key: &str, value: &str| {
        house.git(&house.root, &["config", "--file", config.to_str().unwrap(), key, value]);
    };
    set("commit.gpgsign", "true");
    set("gpg.program", "false");
    let before = house.git(&house.repo(), &["count-objects"]);
    let problems = inspect(&house, &house.repo()).await.problems;
    assert!(problems.len() == 1 && problems[0].what.contains("sign"), "{problems:?}");
    assert!(problems[0].remedy.as_ref().unwrap().contains("commit.gpgsign"));
    assert_eq!(house.git(&house.repo(), &["count-objects"]), before, "the try left an object");
    // A program that signs without asking: git wants this line and a signature.
    let signer = house.root.join("signer.sh");
    let script =
        "#!/bin/sh\ncat >/dev/null\nprintf '\\n[GNUPG:] SIG_CREATED D\\n' >&2\necho signature\n";
    fs::write(&signer, script).unwrap();
    super::make_executable(&signer);
    set("gpg.program", signer.to_str().unwrap());
    assert_eq!(inspect(&house, &house.repo()).await.problems, []);

    set("user.name", "");
    let problems = inspect(&house, &house.repo()).await.problems;
    assert!(problems.iter().any(|problem| problem.remedy.as_ref().unwrap().contains("user.name")));

    if nix::unistd::geteuid().is_root() {
        let (owner, git) = (nix::unistd::Uid::from_raw(12345), house.repo().join(".git"));
        for path in [house.repo(), git] {
            nix::unistd::chown(&path, Some(owner), None).unwrap();
        }
        let info = inspect(&house, &house.repo()).await;
        assert!(info.problems[0].remedy.as_ref().unwrap().contains("safe.directory"), "{info:?}");
        assert!(house.create(1).await.unwrap_err().remedy.unwrap().contains("safe.directory"));
    }
}
