//! Repositories and agents that want our git calls to run something, or to look elsewhere.

use std::{fs, path::PathBuf};

use ao_slots::{
    call::Answer,
    workspace::{Removal, Workspace},
};

use super::{House, call, make_executable};

/// Everything that we do with git in the life of a session.
async fn live(house: &House, number: u32) -> PathBuf {
    house.plugin.inspect(&call(), &house.repo()).await.unwrap();
    let mut request = house.request(number);
    request.fetch_ms = Some(30_000);
    let path = house.plugin.create(&call(), &request).await.unwrap().path;
    fs::write(path.join("x.trap"), "new\n").unwrap();
    fs::write(path.join("README.md"), "changed\n").unwrap();
    house.facts(number).await;
    house.plugin.find(&call(), &house.handle(number)).await.unwrap();
    let kept = house.destroy(number, Removal::Forced).await.unwrap().kept;
    assert!(kept.is_some());
    let removed = house.destroy(number, Removal::IfSafe).await.unwrap();
    assert!(removed.kept.is_none());
    path
}

#[tokio::test]
async fn s31_hooks_and_the_file_system_monitor_never_run() {
    let house = House::new();
    let (program, trace) = house.canary("canary");
    let hooks = house.repo().join(".git/hooks");
    fs::create_dir_all(&hooks).unwrap();
    for hook in
        ["post-checkout", "post-index-change", "reference-transaction", "pre-commit", "post-commit"]
    {
        fs::copy(&program, hooks.join(hook)).unwrap();
        make_executable(&hooks.join(hook));
    }
    for key in ["core.fsmonitor", "hook.x.command"] {
        house.git(&house.repo(), &["config", key, &program]);
    }
    house.git(&house.repo(), &["config", "--add", "hook.x.event", "post-checkout"]);
    fs::remove_file(&trace).ok();
    live(&house, 1).await;
    // The user's own hooks folder neither.
    let config = house.root.join("gitconfig");
    let args =
        ["config", "--file", config.to_str().unwrap(), "core.hooksPath", hooks.to_str().unwrap()];
    house.git(&house.root, &args);
    fs::remove_file(&trace).ok();
    live(&house, 2).await;
    assert!(!trace.exists(), "a hook ran");
    // The canary sings where it is let.
    house.try_git(&house.repo(), &["switch", "--create", "x"]);
    assert!(trace.exists());
}

#[tokio::test]
async fn s31_programs_of_the_repositorys_own_configuration_never_run() {
    let house = House::new();
    let attributes = "*.trap filter=trap diff=trap merge=trap\n*.md filter=trap diff=trap\n";
    fs::write(house.repo().join(".gitattributes"), attributes).unwrap();
    fs::write(house.repo().join("x.trap"), "old\n").unwrap();
    for name in [".env", ".envrc"] {
        fs::write(house.repo().join(name), "touch evil.ran\n").unwrap();
    }
    house.commit_all(&house.repo());
    let (program, trace) = house.canary("canary");
    for key in [
        "filter.trap.clean",
        "filter.trap.smudge",
        "filter.trap.process",
        "diff.trap.command",
        "diff.trap.textconv",
        "diff.external",
        "merge.trap.driver",
        "core.sshCommand",
        "core.gitProxy",
        "core.askPass",
        "core.editor",
        "core.pager",
        "core.alternateRefsCommand",
        "credential.helper",
        "remote.origin.uploadpack",
        "gpg.program",
        "sequence.editor",
    ] {
        house.git(&house.repo(), &["config", key, &program]);
    }
    house.git(&house.repo(), &["config", "filter.trap.required", "true"]);
    house.git(&house.repo(), &["config", "commit.gpgSign", "true"]);
    fs::remove_file(&trace).ok();
    live(&house, 1).await;
    assert!(!trace.exists(), "a program of the repository ran");
    let mut request = house.request(2);
    request.fetch_ms = Some(30_000);
    let notes = house.plugin.create(&call(), &request).await.unwrap().notes;
    assert!(notes.iter().any(|note| note.contains("filter `trap`")), "{notes:?}");
    assert!(notes.iter().any(|note| note.starts_with("not fetched")), "{notes:?}");
    assert_eq!(fs::read_to_string(house.place(2).join("x.trap")).unwrap(), "old\n");
    // The same through a file that the configuration includes, and through the worktree's own.
    let (program, trace) = house.canary("worktree");
    house.git(&house.repo(), &["config", "extensions.worktreeConfig", "true"]);
    house.git(&house.place(2), &["config", "--worktree", "filter.trap.clean", &program]);
    fs::write(house.root.join("more"), format!("[filter \"trap\"]\nprocess = {program}\n"))
        .unwrap();
    house
        .git(&house.repo(), &["config", "include.path", house.root.join("more").to_str().unwrap()]);
    fs::write(house.place(2).join("x.trap"), "changed\n").unwrap();
    assert_eq!(house.facts(2).await.changed_files, 1);
    house.destroy(2, Removal::Forced).await.unwrap();
    assert!(!trace.exists(), "a program of the worktree ran");
}

#[tokio::test]
async fn s31_addresses_that_are_commands_never_run() {
    let house = House::new();
    let (program, trace) = house.canary("canary");
    let address = format!("ext::{program} %S");
    house.git(&house.repo(), &["config", "protocol.ext.allow", "always"]);
    house.git(&house.repo(), &["config", "remote.origin.url", &address]);
    let mut request = house.request(1);
    request.fetch_ms = Some(30_000);
    let info = house.plugin.create(&call(), &request).await.unwrap();
    assert!(info.notes[0].contains("fetch failed"), "{:?}", info.notes);
    assert!(!trace.exists());

    let modules = format!("[submodule \"evil\"]\npath = evil\nurl = {address}\n");
    fs::write(house.repo().join(".gitmodules"), modules).unwrap();
    house.git(&house.repo(), &["add", ".gitmodules"]);
    let head = house.git(&house.repo(), &["rev-parse", "HEAD"]);
    let entry = format!("160000,{head},evil");
    house.git(&house.repo(), &["update-index", "--add", "--cacheinfo", &entry]);
    house.git(&house.repo(), &["commit", "--quiet", "--message", "Add a submodule"]);
    let update = format!("!touch {}", trace.display());
    house.git(&house.repo(), &["config", "submodule.evil.update", &update]);
    let mut request = house.request(2);
    request.submodules = true;
    assert!(house.plugin.create(&call(), &request).await.is_err());
    assert!(!trace.exists(), "the address ran");
}

#[tokio::test]
async fn s31_a_git_file_that_points_away_is_not_followed() {
    let house = House::new();
    let path = house.made(1).await;
    let (program, trace) = house.canary("canary");
    house.git(&house.root, &["init", "--quiet", "evil"]);
    let evil = house.root.join("evil/.git");
    house.git(&house.root.join("evil"), &["config", "core.fsmonitor", &program]);
    house.git(&house.root.join("evil"), &["config", "core.worktree", path.to_str().unwrap()]);
    let link = path.join(".git");
    let original = fs::read(&link).unwrap();
    let plant: [&dyn Fn(); 3] = [
        &|| fs::write(&link, format!("gitdir: {}\n", evil.display())).unwrap(),
        &|| std::os::unix::fs::symlink(&evil, &link).unwrap(),
        &|| nix::unistd::mkfifo(&link, nix::sys::stat::Mode::S_IRWXU).unwrap(),
    ];
    for plant in plant {
        fs::remove_file(&link).unwrap();
        plant();
        let probe = house.plugin.probe(&call(), &house.handle(1)).await.unwrap();
        assert!(matches!(probe, Answer::Unknown(_)), "{probe:?}");
        for removal in [Removal::IfSafe, Removal::Undo, Removal::Forced] {
            assert!(house.destroy(1, removal).await.is_err());
        }
        assert!(path.join("README.md").exists() && !trace.exists());
    }
    fs::remove_file(&link).unwrap();
    fs::write(&link, original).unwrap();
    house.destroy(1, Removal::IfSafe).await.unwrap();
}

#[tokio::test]
async fn s31_a_submodules_own_configuration_runs_nothing() {
    let house = House::new();
    house.git(&house.root, &["config", "--file", "gitconfig", "protocol.file.allow", "always"]);
    house.git(&house.root, &["init", "--quiet", "lib"]);
    fs::write(house.root.join("lib/.gitattributes"), "* filter=trap\n").unwrap();
    fs::write(house.root.join("lib/x"), "x").unwrap();
    house.commit_all(&house.root.join("lib"));
    let lib = house.root.join("lib");
    house.git(&house.repo(), &["submodule", "add", "--quiet", lib.to_str().unwrap(), "lib"]);
    house.commit_all(&house.repo());
    let mut request = house.request(1);
    request.submodules = true;
    let path = house.plugin.create(&call(), &request).await.unwrap().path;
    let (program, trace) = house.canary("canary");
    for key in ["filter.trap.clean", "filter.trap.process", "core.fsmonitor"] {
        house.git(&path.join("lib"), &["config", key, &program]);
    }
    fs::write(path.join("lib/x"), "y").unwrap();
    assert_eq!(house.facts(1).await.changed_files, 1);
    assert!(house.destroy(1, Removal::IfSafe).await.is_err());
    assert!(!trace.exists(), "a program of the submodule ran");
}

#[tokio::test]
async fn s28_a_folder_on_the_way_that_is_a_link_is_refused() {
    let house = House::new();
    fs::create_dir(house.root.join("wt")).unwrap();
    std::os::unix::fs::symlink(house.root.join("home"), house.root.join("wt/app")).unwrap();
    assert!(house.create(1).await.is_err());
    assert_eq!(fs::read_dir(house.root.join("home")).unwrap().count(), 0);
    assert!(!house.has("refs/heads/ao/app-1"));
}
