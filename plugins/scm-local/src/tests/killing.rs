//! A server that is killed anywhere in a merge, for real: another process, and SIGKILL.

use ao_slots::scm::Records;

use super::*;

/// Records that outlive their process.
#[derive(Debug)]
struct Filed {
    memory: Memory,
    path: PathBuf,
}

fn file(root: &Path) -> PathBuf {
    root.join("records.json")
}

fn save(memory: &Memory, path: &Path) {
    let aside = path.with_extension("new");
    fs::write(&aside, serde_json::to_vec(&*memory.all()).unwrap()).unwrap();
    fs::rename(aside, path).unwrap();
}

fn load(path: &Path) -> BTreeMap<String, Value> {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[async_trait]
impl Records for Filed {
    async fn read(&self, prefix: &str) -> Result<BTreeMap<String, Value>, PluginError> {
        self.memory.read(prefix).await
    }
    async fn write(&self, values: BTreeMap<String, Option<Value>>) -> Result<(), PluginError> {
        self.memory.write(values).await?;
        save(&self.memory, &self.path);
        Ok(())
    }
}

/// Set in the other process of the test below, the folder of its bench.
const ROOT: &str = "AO_TEST_ROOT";

/// What the killed process does: merges the pull request that the file `wanted` names.
async fn merge_what_is_wanted(root: &Path) {
    let wanted = fs::read_to_string(root.join("wanted")).unwrap();
    let (number, head) = wanted.split_once(' ').unwrap();
    let memory = Memory::default();
    *memory.all() = load(&file(root));
    let scm = Local(Arc::new(House::new(
        serde_json::from_value(json!({"path": root.join("a repo")})).unwrap(),
        &context(root),
    )));
    scm.keep(Arc::new(Filed { memory, path: file(root) }));
    let pr = PrRef { repo: String::new(), number: PrNumber(number.parse().unwrap()), node: None };
    scm.merge(&call("merge"), &pr, head, Some(MergeMethod::Squash)).await.unwrap();
}

#[tokio::test]
async fn r19_killed_anywhere_it_merges_once() {
    if let Some(root) = std::env::var_os(ROOT) {
        return merge_what_is_wanted(Path::new(&root)).await;
    }
    let mut bench = Bench::new();
    let mut cut_off = 0;
    for round in 0..24_u64 {
        let branch = format!("ao/{round}");
        let (pr, head) = bench.opened(&branch).await;
        fs::write(bench.root.join("wanted"), format!("{} {head}", pr.number.0)).unwrap();
        save(&bench.records, &file(&bench.root));
        let mut server = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tests::killing::r19_killed_anywhere_it_merges_once"])
            .env(ROOT, &bench.root)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        tokio::time::sleep(Duration::from_millis(10 + round * 5)).await;
        server.kill().unwrap();
        cut_off += u32::from(!server.wait().unwrap().success());
        *bench.records.all() = load(&file(&bench.root));
        bench.restart();
        let commit = bench.merge(&pr, &head, MergeMethod::Squash).await.unwrap();
        let trailer = format!("--grep=^Ao-Pull: {}@", pr.number.0);
        assert_eq!(bench.git(&bench.repo(), &["log", "--format=%H", &trailer, "main"]), commit);
        assert_eq!(bench.git(&bench.repo(), &["status", "--porcelain"]), "", "round {round}");
        assert_eq!(bench.facts(&pr).await.state, PrState::Merged);
    }
    assert!(cut_off > 0, "it was always faster");
}
