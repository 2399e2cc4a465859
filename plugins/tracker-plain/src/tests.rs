//! With real files.

use std::{
    fs::{self, File},
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ao_conformance::tracker::Bench;
use ao_slots::{
    Call, ErrorKind, PluginError,
    tracker::{Issue, IssueChange, IssueFilter, Tracker},
};
use async_trait::async_trait;
use nix::{sys::stat::Mode, unistd::mkfifo};
use tempfile::TempDir;

use super::{Plain, id_of};

#[derive(Debug)]
struct House {
    folder: TempDir,
    plugin: Plain,
    held: Mutex<Option<File>>,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let plugin = Plain { path: folder.path().join("project/issues") };
        fs::create_dir_all(&plugin.path).unwrap();
        Self { folder, plugin, held: Mutex::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.plugin.path.join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    async fn get(&self, id: &str) -> Result<Issue, PluginError> {
        self.plugin.get(&call(), id).await
    }

    async fn ids(&self) -> Vec<String> {
        let filter = IssueFilter { closed: true, ..IssueFilter::default() };
        let listed = self.plugin.list(&call(), &filter).await.unwrap();
        listed.into_iter().map(|issue| issue.id).collect()
    }

    async fn close(&self, id: &str) -> Result<Issue, PluginError> {
        let change = IssueChange { open: Some(false), ..IssueChange::default() };
        self.plugin.update(&call(), id, &change).await
    }
}

fn call() -> Call {
    Call::new("test", Duration::from_secs(60))
}

#[async_trait]
impl Bench for House {
    fn plugin(&self) -> &dyn Tracker {
        &self.plugin
    }
    /// As when the disk that holds the project is not there.
    async fn break_tracker(&self, broken: bool) {
        let (here, away) = (self.folder.path().join("project"), self.folder.path().join("away"));
        if broken { fs::rename(here, away) } else { fs::rename(away, here) }.unwrap();
    }
    async fn hold(&self, held: bool) {
        let file = held.then(|| File::open(&self.plugin.path).unwrap());
        file.iter().for_each(|file| file.lock().unwrap());
        *self.held.lock().unwrap() = file;
    }
    async fn revision(&self, id: &str) -> String {
        let is_it = |name: &String| id_of(name).as_deref() == Some(id);
        let names = fs::read_dir(&self.plugin.path).unwrap();
        let mut names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let meta = fs::metadata(self.path(&names.find(is_it).unwrap())).unwrap();
        format!("{} {} {}", meta.ino(), meta.mtime(), meta.mtime_nsec())
    }
}

#[tokio::test]
async fn it_keeps_the_contract_of_its_slot() {
    ao_conformance::tracker::all(&House::new()).await;
}

#[test]
fn the_folder_is_absolute() {
    let registration = super::registration();
    let check = |value| (registration.check)(&value);
    check(serde_json::json!({"path": "/x/issues"})).unwrap();
    for wrong in [
        serde_json::json!({"path": "issues"}),
        serde_json::json!({"paht": "/x"}),
        serde_json::json!(null),
    ] {
        assert!(check(wrong).unwrap_err().to_string().contains("plain"));
    }
}

#[test]
fn a_file_name_gives_the_id() {
    for (name, id) in [
        ("41.md", Some("41")),
        ("41-fix-login.md", Some("41")),
        ("fix-login.md", Some("fix-login")),
        ("4x-b.md", Some("4x-b")),
        ("007-x.md", Some("007")),
        ("README.md", None),
        ("notes.txt", None),
        (".hidden.md", None),
        ("a b.md", None),
        ("..md", None),
        (".ao-1-2.tmp", None),
    ] {
        assert_eq!(id_of(name).as_deref(), id, "{name}");
    }
}

#[tokio::test]
async fn issues_are_listed_by_number_then_by_name() {
    let house = House::new();
    for name in ["10.md", "9-x.md", "b.md", "a.md", "1-y.md", "README.md", "x.txt"] {
        house.write(name, "# T\n");
    }
    assert_eq!(house.ids().await, ["1", "9", "10", "a", "b"]);
    assert_eq!(house.get("9").await.unwrap().title, "T");
    house.write("9-other.md", "");
    let error = house.get("9").await.unwrap_err();
    assert!(
        error.what.contains("two files") && error.cause == "9-other.md and 9-x.md",
        "{error:?}"
    );
    assert!(house.plugin.list(&call(), &IssueFilter::default()).await.is_err());
}

#[tokio::test]
async fn without_a_folder_there_are_no_issues_yet() {
    let house = House::new();
    fs::remove_dir(&house.plugin.path).unwrap();
    assert!(house.ids().await.is_empty());
    assert_eq!(house.get("1").await.unwrap_err().kind, ErrorKind::NotFound);
    let issue = house.plugin.create(&call(), "Fix it", "", &[]).await.unwrap();
    assert_eq!(
        (issue.id.as_str(), house.read("1-fix-it.md").as_str()),
        ("1", "---\ntitle: \"Fix it\"\nstatus: open\nao-key: \"test\"\n---\n\n\n")
    );
}

#[tokio::test]
async fn the_next_number_follows_the_largest() {
    let house = House::new();
    house.write("41-a.md", "");
    house.write("word.md", "");
    symlink("/etc/passwd", house.path("42-x.md")).unwrap();
    let issue = house.plugin.create(&call(), "🎉", "", &[]).await.unwrap();
    assert_eq!((issue.id.as_str(), issue.title.as_str()), ("43", "🎉"));
    assert!(house.path("43.md").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_at_once_get_twenty_numbers() {
    let house = std::sync::Arc::new(House::new());
    let mut making = tokio::task::JoinSet::new();
    for number in 0..20 {
        let house = house.clone();
        making.spawn(async move {
            let call = Call::new(format!("key-{}", number % 10), Duration::from_secs(60));
            house.plugin.create(&call, "Same title", "", &[]).await.unwrap().id
        });
    }
    let mut ids = making.join_all().await;
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), house.ids().await.len()), (10, 10), "one a key");
}

#[tokio::test]
async fn a_change_keeps_every_other_byte_and_the_mode() {
    let house = House::new();
    let text = "---\n# kept\ntitle:  A\npriority: [1,\n   2]\nstatus: open\n---\n\n\nBody \t\r\n\u{0}é\n\n";
    house.write("7-a.md", text);
    fs::set_permissions(house.path("7-a.md"), fs::Permissions::from_mode(0o640)).unwrap();
    assert!(!house.close("7").await.unwrap().open);
    assert_eq!(house.read("7-a.md"), text.replace("status: open", "status: closed"));
    assert_eq!(fs::metadata(house.path("7-a.md")).unwrap().mode() & 0o777, 0o640);
    assert_eq!(fs::read_dir(&house.plugin.path).unwrap().count(), 1, "nothing is left beside it");
}

#[tokio::test]
async fn what_cannot_be_read_names_the_file_and_the_line() {
    let house = House::new();
    house.write("1.md", "---\ntitle: x\nlabels: [a\n---\n");
    house.write("2.md", "# fine\n");
    let error = house.get("1").await.unwrap_err();
    assert!(error.what.contains("1.md") && error.cause.contains("line"), "{error:?}");
    assert!(
        house.plugin.list(&call(), &IssueFilter::default()).await.is_err(),
        "not silently fewer"
    );
    assert_eq!(house.get("2").await.unwrap().title, "fine");
}

#[tokio::test]
async fn a_large_issue_is_cut_with_a_note_and_never_written_back_cut() {
    let house = House::new();
    let text = format!("# T\n\n{}\nend\n", "é".repeat(100_000));
    house.write("1.md", &text);
    let issue = house.get("1").await.unwrap();
    assert!(
        issue.body.len() <= 64 << 10 && issue.body.ends_with("more in 1.md"),
        "{}",
        issue.body.len()
    );
    let change = IssueChange { body: Some(issue.body), ..IssueChange::default() };
    house.plugin.update(&call(), "1", &change).await.unwrap();
    assert_eq!(house.read("1.md"), text);
    house.write("2.md", &"x".repeat(5 << 20));
    assert!(house.get("2").await.unwrap().body.contains("MiB more in 2.md"));
    assert_eq!(house.close("2").await.unwrap_err().kind, ErrorKind::Permanent);
    fs::write(house.path("3.md"), b"# \xff\n").unwrap();
    assert_eq!(house.get("3").await.unwrap().title, "\u{fffd}");
    assert!(house.close("3").await.unwrap_err().cause.contains("UTF-8"));
    let body = "x".repeat(5 << 20);
    assert!(house.plugin.create(&call(), "Too large", &body, &[]).await.is_err());
}

#[tokio::test]
async fn s28_links_pipes_and_devices_are_no_issues() {
    let house = House::new();
    let outside = house.folder.path().join("secret.md");
    fs::write(&outside, "# secret\n").unwrap();
    symlink(&outside, house.path("1-link.md")).unwrap();
    symlink("/dev/zero", house.path("2.md")).unwrap();
    mkfifo(&house.path("3.md"), Mode::S_IRWXU).unwrap();
    fs::create_dir(house.path("4.md")).unwrap();
    fs::hard_link(&outside, house.path("5.md")).unwrap();
    for id in ["1", "2", "3", "4"] {
        assert_eq!(house.get(id).await.unwrap_err().kind, ErrorKind::NotFound, "{id}");
        assert_eq!(house.close(id).await.unwrap_err().kind, ErrorKind::NotFound, "{id}");
    }
    assert_eq!(house.ids().await, ["5"]);
    // Another name of a file elsewhere: the change stays here.
    house.close("5").await.unwrap();
    assert_eq!(fs::read_to_string(outside).unwrap(), "# secret\n");
}

#[tokio::test]
async fn s28_a_file_that_is_swapped_for_a_link_is_never_followed() {
    let house = House::new();
    let outside = house.folder.path().join("secret.md");
    fs::write(&outside, "# secret\n").unwrap();
    house.write("1.md", "# mine\n");
    let (file, trap, stop) = (house.path("1.md"), house.path("trap"), AtomicBool::new(false));
    symlink(&outside, &trap).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let aside = house.path("aside");
            while !stop.load(Ordering::Relaxed) {
                // A change that finds the file in between puts it back itself.
                let _moved = fs::rename(&file, &aside);
                let _moved = fs::rename(&trap, &file);
                let _moved = fs::rename(&file, &trap);
                let _moved = fs::rename(&aside, &file);
            }
        });
        for round in 0..500 {
            let open = Some(round % 2 == 0);
            let change = IssueChange { open, ..IssueChange::default() };
            let until = std::time::Instant::now() + Duration::from_secs(60);
            let _either = super::update(&house.plugin.path, "1", &change, until);
            if let Ok(found) = super::find(&house.plugin.path, "1") {
                assert_eq!(found.document.title, "mine");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(fs::read_to_string(outside).unwrap(), "# secret\n");
}

#[tokio::test]
async fn text_from_a_file_is_made_harmless() {
    let house = House::new();
    house.write("1.md", "---\ntitle: \"a\\e[31mb\\nc\"\nbranch: \"x\\ny\"\nlabels: [\"l\\x07\"]\n---\nb\x1b]0;t\x07\u{202e}ody\r\n");
    let issue = house.get("1").await.unwrap();
    assert_eq!((issue.title.as_str(), issue.body.as_str()), ("ab c", "body"));
    assert_eq!((issue.branch.as_deref(), issue.labels), (Some("x y"), vec!["l".to_owned()]));
    assert_eq!(house.plugin.url("1"), None);
}
