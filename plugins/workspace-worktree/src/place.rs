//! Where a workspace goes, and what is there already.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use ao_slots::{ErrorKind, PluginError, workspace::CreateWorkspace};

/// Where the path of a workspace really leads: its parent's links are resolved, its own is not.
/// `None`: its parent does not exist.
pub(crate) fn settle(path: &Path) -> Result<Option<PathBuf>, PluginError> {
    let plain = path.components().all(|c| matches!(c, Component::RootDir | Component::Normal(_)));
    let (true, true, Some(parent), Some(name)) =
        (path.is_absolute(), plain, path.parent(), path.file_name())
    else {
        return Err(PluginError::permanent(
            format!("{} is no place for a workspace", path.display()),
            "the path is not absolute and plain",
        ));
    };
    match parent.canonicalize() {
        Ok(parent) => Ok(Some(parent.join(name))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            Err(PluginError::transient(format!("cannot look at {}", path.display()), error))
        }
    }
}

/// What is at the path of a workspace.
#[derive(Debug)]
pub(crate) enum Place {
    Nothing,
    Folder { empty: bool },
}

pub(crate) fn look_at(path: &Path) -> Result<Place, PluginError> {
    let failed = |cause: io::Error| {
        PluginError::transient(format!("cannot look at {}", path.display()), cause)
    };
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => {
            let empty = fs::read_dir(path).map_err(failed)?.next().is_none();
            Ok(Place::Folder { empty })
        }
        Ok(_) => Err(occupied(path, "it is no folder")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Place::Nothing),
        Err(error) => Err(failed(error)),
    }
}

pub(crate) fn occupied(path: &Path, cause: &str) -> PluginError {
    let what = format!("{} is taken by something else", path.display());
    PluginError::new(ErrorKind::Refused, what, cause).with_remedy("move it away")
}

/// Makes `<worktreeDir>/<project>` and returns where the workspace goes. The worktree folder may be a link that its
/// owner made; below it nothing may lead out.
pub(crate) fn make_place(request: &CreateWorkspace) -> Result<PathBuf, PluginError> {
    let path = &request.path;
    let named = |at: Option<&Path>, name: &str| {
        at.and_then(Path::file_name).is_some_and(|last| last == name)
    };
    let project = path.parent();
    let root = project.and_then(Path::parent);
    let (Some(project), Some(root), true) = (
        project,
        root,
        named(Some(path), request.session.as_str()) && named(project, request.project.as_str()),
    ) else {
        let what = format!("{} is no place for {}", path.display(), request.session);
        return Err(PluginError::permanent(what, "it does not end in <project>/<session>"));
    };
    settle(path)?;
    make_folder(project)?;
    let real = |path: &Path| {
        path.canonicalize().map_err(|cause| {
            PluginError::transient(format!("cannot look at {}", path.display()), cause)
        })
    };
    let (root, project) = (real(root)?, real(project)?);
    if project == root || !project.starts_with(&root) {
        let what = format!("{} leads out of {}", path.display(), root.display());
        return Err(PluginError::new(ErrorKind::Refused, what, "a folder on the way is a link"));
    }
    Ok(project.join(request.session.as_str()))
}

pub(crate) fn make_folder(path: &Path) -> Result<(), PluginError> {
    fs::create_dir_all(path)
        .map_err(|cause| PluginError::permanent(format!("cannot make {}", path.display()), cause))
}

/// What a folder takes on disk, in bytes; links are not followed.
pub(crate) fn size(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            bytes += meta.blocks() * 512;
            if meta.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(path: PathBuf) -> CreateWorkspace {
        CreateWorkspace {
            session: "app-3".parse().unwrap(),
            project: "app".parse().unwrap(),
            repo: "/r".into(),
            path,
            branch: "x".into(),
            existing: false,
            base: "main".into(),
            fetch_ms: None,
            symlinks: Vec::new(),
            submodules: false,
            sparse: Vec::new(),
        }
    }

    #[test]
    fn s28_a_workspace_goes_nowhere_but_below_the_worktree_folder() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let place = |path: PathBuf| make_place(&request(path));
        assert_eq!(place(root.join("wt/app/app-3")).unwrap(), root.join("wt/app/app-3"));
        for bad in ["wt/app/app-4", "wt/other/app-3", "wt/app/../app/app-3"] {
            assert!(place(root.join(bad)).is_err(), "{bad}");
        }
        assert!(place("app/app-3".into()).is_err());
        fs::create_dir_all(root.join("out/app")).unwrap();
        fs::create_dir_all(root.join("trap")).unwrap();
        std::os::unix::fs::symlink(root.join("out/app"), root.join("trap/app")).unwrap();
        assert_eq!(place(root.join("trap/app/app-3")).unwrap_err().kind, ErrorKind::Refused);
        std::os::unix::fs::symlink(root.join("out"), root.join("link")).unwrap();
        assert_eq!(place(root.join("link/app/app-3")).unwrap(), root.join("out/app/app-3"));
    }

    #[test]
    fn a_workspace_has_an_absolute_plain_path() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        std::os::unix::fs::symlink(&real, real.join("link")).unwrap();
        assert_eq!(settle(&real.join("link/app-1")).unwrap(), Some(real.join("app-1")));
        assert_eq!(settle(&real.join("none/app-1")).unwrap(), None);
        for bad in ["app-1", "/tmp/../app-1", "/"] {
            assert!(settle(Path::new(bad)).is_err(), "{bad}");
        }
    }
}
