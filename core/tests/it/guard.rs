//! `ao`'s own files of a session, changed by another.

use std::fs;

use ao_core::{config::trigger::Trigger, event::Kind};

use crate::harness::{House, open};

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_is_kept_restored_and_told_once_also_after_a_restart() {
    let mut house = House::open().await;
    let session = house.working("Do it").await;
    let folder = house.data_dir().join("agents").join(session.as_str());
    let settings = folder.join("settings.json");
    let own = fs::read(&settings).unwrap();
    house.swept().await;
    assert_eq!(house.count("file.tampered").await, 0, "what ao writes is nobody's tampering");

    let restored = async |house: &House| {
        house
            .patiently("it is restored", async || (fs::read(&settings).ok()? == own).then_some(()))
            .await;
    };
    fs::write(&settings, "{}").unwrap();
    restored(&house).await;
    house.until_pushed("that it was changed", |messages| messages.len() == 1).await;
    let kept = house.events().await.into_iter().find_map(|event| match event.kind {
        Kind::FileTampered(e) => e.kept,
        _ => None,
    });
    assert_eq!(fs::read_to_string(kept.unwrap()).unwrap(), "{}");

    // While no server ran, and by removing it.
    house.stop().await;
    fs::remove_file(&settings).unwrap();
    house.start().await.unwrap();
    restored(&house).await;
    house.swept().await;
    assert_eq!(house.count("file.tampered").await, 2);
    assert_eq!(open(&house.handle().state(), Trigger::Tampered).len(), 1);
    assert_eq!(house.fakes.channel.messages().len(), 1, "one incident while it is not taken");
    house.stop().await;
}
