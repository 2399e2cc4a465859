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
            .patiently("it is restored", async || {
                let is_own = fs::symlink_metadata(&settings).ok()?.is_file();
                (is_own && fs::read(&settings).ok()? == own).then_some(())
            })
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

    // By putting something else in its place, which is kept too.
    let beside = folder.join("beside");
    fs::write(&beside, &own).unwrap();
    let places: [&dyn Fn(); 2] =
        [&|| std::os::unix::fs::symlink(&beside, &settings).unwrap(), &|| {
            fs::create_dir_all(settings.join("work")).unwrap()
        }];
    for (told, place) in (3..).zip(places) {
        house.stop().await;
        fs::remove_file(&settings).unwrap();
        place();
        house.start().await.unwrap();
        let kept = nth_told(&house, told).await.unwrap();
        restored(&house).await;
        assert!(!fs::symlink_metadata(kept).unwrap().is_file(), "it was moved aside");
        house.swept().await;
        assert_eq!(house.count("file.tampered").await, told);
    }
    // By making it unreadable: here a file stands where its folder was.
    fs::rename(&folder, house.data_dir().join("away")).unwrap();
    fs::write(&folder, "").unwrap();
    nth_told(&house, 5).await;
    house.swept().await;
    assert_eq!(house.count("file.tampered").await, 5);
    assert_eq!(open(&house.handle().state(), Trigger::Tampered).len(), 1);
    assert_eq!(house.fakes.channel.messages().len(), 1, "one incident while it is not taken");
    house.stop().await;
}

/// What was kept of the n-th change that a human was told of.
async fn nth_told(house: &House, n: usize) -> Option<String> {
    house
        .patiently("it is told", async || {
            let mut kept = house.events().await.into_iter().filter_map(|event| match event.kind {
                Kind::FileTampered(e) => Some(e.kept),
                _ => None,
            });
            kept.nth(n - 1)
        })
        .await
}
