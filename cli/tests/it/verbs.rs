//! What each verb says of a name that is none.

use crate::house::House;

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
