//! What is looked at for one message alone, and not recorded: a screen, a load, what fills the disk.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use ao_slots::{Call, NotificationId};

use super::{Shell, Work, within};
use crate::{config::trigger::Trigger, event::Subject, words::Seen};

/// How long a message waits for it at most.
const LIMIT: Duration = Duration::from_secs(3);
/// Between the two looks that a load is measured by.
const MEASURE: Duration = Duration::from_millis(500);

impl Shell {
    /// What a message about an open incident tells beside what is known. What cannot be seen in time is left out.
    pub(super) async fn seen_for(&self, id: NotificationId) -> Seen {
        let about = {
            let state = self.state();
            let incident = state.notifications.get(&id).and_then(|n| n.incident);
            let incident = incident.and_then(|id| state.incidents.get(&id)).filter(|i| i.is_open());
            incident.map(|i| (i.trigger, i.detail.is_some(), i.subject.clone()))
        };
        match about {
            Some((Trigger::PromptUndelivered, _, Subject::Session(id))) => {
                let lines = within(LIMIT, self.screen(&id, 60)).await;
                Seen { screen: lines.ok().map(|lines| lines.join("\n")), ..Seen::default() }
            }
            // What is told of one that cannot be observed names no load.
            Some((Trigger::AgentStuck, false, Subject::Session(id))) => {
                let Some(work) = self.work_of(&id) else { return Seen::default() };
                let asked = tokio::time::timeout(LIMIT, load(&work)).await;
                Seen { cpu: asked.ok().flatten(), ..Seen::default() }
            }
            Some((Trigger::DiskLow, ..)) => {
                let (data, worktrees) = {
                    let policy = &self.state().policy;
                    (self.context().data_dir.clone(), policy.worktree_dir.clone())
                };
                let looked = tokio::task::spawn_blocking(move || uses(&data, &worktrees)).await;
                Seen { disk: looked.unwrap_or_default(), ..Seen::default() }
            }
            _ => Seen::default(),
        }
    }
}

/// Per cent of one processor.
async fn load(work: &Work) -> Option<u64> {
    let (handle, runtime) = (work.session.handle.as_ref()?, &work.plugins.runtime);
    let call = Call::new("metrics", LIMIT);
    let began = Instant::now();
    let before = runtime.metrics(&call, handle).await.ok()?.cpu_ms;
    tokio::time::sleep(MEASURE).await;
    let used = runtime.metrics(&call, handle).await.ok()?.cpu_ms.checked_sub(before)?;
    let passed = u64::try_from(began.elapsed().as_millis()).ok()?;
    (used * 100).checked_div(passed)
}

/// What fills the disk, the largest first: the parts of the data directory, and each workspace by itself. Empty
/// where counting takes too long.
fn uses(data: &Path, worktrees: &Path) -> Vec<(String, u64)> {
    let until = Instant::now() + LIMIT;
    let workspaces = children(worktrees).iter().flat_map(|project| children(project)).collect();
    let inside = |path: &PathBuf| !worktrees.starts_with(path);
    let parts: Vec<PathBuf> = children(data).into_iter().filter(inside).collect();
    let mut uses = vec![];
    for (root, paths) in [(worktrees, workspaces), (data, parts)] {
        for path in paths {
            let Some(bytes) = bytes_in(&path, until) else { return vec![] };
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy();
            let of = if root == worktrees { "workspace " } else { "" };
            uses.push((format!("{of}{name}"), bytes));
        }
    }
    uses.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    uses
}

fn children(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// Bytes on the disk; links are not followed. None when it takes too long.
fn bytes_in(path: &Path, until: Instant) -> Option<u64> {
    let mut bytes = 0;
    let mut left = vec![path.to_path_buf()];
    while let Some(path) = left.pop() {
        if Instant::now() >= until {
            return None;
        }
        let Ok(meta) = path.symlink_metadata() else { continue };
        bytes += meta.blocks() * 512;
        if meta.is_dir() {
            left.extend(children(&path));
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fills_the_disk_is_named_the_largest_first() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path();
        let worktrees = data.join("worktrees");
        let write = |path: &str, bytes: usize| {
            let path = data.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, vec![7; bytes]).unwrap();
        };
        write("worktrees/my-app/app-1/target/a", 900_000);
        write("worktrees/my-app/app-2/a", 100_000);
        write("journal/1", 500_000);
        write("blobs/1", 50_000);
        std::os::unix::fs::symlink(data.join("journal"), data.join("blobs/link")).unwrap();
        let seen = uses(data, &worktrees);
        let names: Vec<&str> = seen.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["workspace my-app/app-1", "journal", "workspace my-app/app-2", "blobs"]);
        assert!(seen[0].1 >= 900_000 && seen[1].1 < 600_000, "{seen:?}");
        assert_eq!(bytes_in(data, Instant::now()), None);
    }
}
