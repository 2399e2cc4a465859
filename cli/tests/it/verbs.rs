//! What each verb says of a name that is none.

use crate::{house::House, init::in_terminal};

#[test]
fn an_id_that_is_none_ends_with_4_whatever_the_verb() {
    let house = House::new();
    house.configure();
    for args in [
        &["session", "show", "app-99"][..],
        &["session", "attach", "app-99"],
        &["session", "kill", "app-99"],
        &["session", "restore", "app-99"],
        &["session", "done", "app-99"],
        &["session", "cleanup", "app-99"],
        &["open", "app-99"],
        &["logs", "app-99"],
        &["why", "app-99"],
        &["why", "i-99"],
        &["why", "n-99"],
        &["send", "app-99", "hello"],
        &["answer", "app-99", "1"],
        &["approve", "app-99"],
        &["deny", "app-99"],
        &["ack", "i-99"],
        &["snooze", "i-99"],
        &["notify", "test", "nowhere"],
        &["spawn", "nowhere", "--prompt", "x"],
    ] {
        let said = house.ao(args).exits(4).stderr();
        assert!(said.contains("99") || said.contains("nowhere"), "{args:?}: {said}");
        assert!(said.contains("try: "), "{args:?} names no remedy: {said}");
    }
}

/// What was to be removed and could not be is no success, and `--no-input` asks nothing of what a flag says.
#[test]
fn a_forced_end_that_keeps_the_workspace_is_told_by_its_code() {
    let house = House::new();
    house.configure();
    house.ao(&["spawn", "my-app", "--prompt", "wait"]).success();
    // Git does not know it any more: nothing of it is removed.
    std::fs::remove_dir_all(house.path("repo/.git/worktrees/app-1")).unwrap();
    let kill = in_terminal(&house, "\"$AO\" session kill app-1 --force --no-input");
    let said = String::from_utf8_lossy(&kill.stdout);
    assert_eq!(kill.status.code(), Some(5), "{said}");
    assert!(said.contains("the workspace was not removed: "), "{said}");
    assert!(house.path("data/worktrees/my-app/app-1/main.txt").exists());
    assert_eq!(house.json(&["session", "show", "app-1"])["session"]["status"], "killed");
}
