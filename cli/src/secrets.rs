//! Secrets that a human pasted: `<dataDir>/secrets/channels`, readable by its owner alone, `NAME=value` a line.
//!
//! A configuration names them as it names variables, `${NAME}`. The environment goes before the file. They are never
//! in the environment of any process, and their names never begin with `AO_`: what does may be read by a repository's
//! file without a human's trust.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Where they lie.
pub(crate) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("secrets/channels")
}

/// The environment, with the secrets that it does not have.
pub(crate) fn under(data_dir: &Path, env: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    // What cannot be read is missing, and told of as that: a variable that is not set.
    let mut all = read(data_dir).unwrap_or_default();
    all.extend(env.iter().map(|(name, value)| (name.clone(), value.clone())));
    all
}

/// What is kept.
fn read(data_dir: &Path) -> io::Result<BTreeMap<String, String>> {
    let text = match std::fs::read_to_string(path(data_dir)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read?,
    };
    let pair = |line: &str| {
        let (name, value) = line.split_once('=')?;
        (!name.is_empty()).then(|| (name.to_owned(), value.to_owned()))
    };
    Ok(text.lines().filter_map(pair).collect())
}

/// Keeps these too, each in place of one of its name.
pub(crate) fn keep(data_dir: &Path, new: &BTreeMap<String, String>) -> io::Result<()> {
    if new.is_empty() {
        return Ok(());
    }
    let mut all = read(data_dir)?;
    all.extend(new.iter().map(|(name, value)| (name.clone(), value.clone())));
    let text: String = all.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    let path = path(data_dir);
    let folder = path.parent().unwrap_or(data_dir);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let beside = path.with_extension("tmp");
    let _ = std::fs::remove_file(&beside);
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&beside, &path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn s32_a_secret_is_kept_for_its_owner_alone_and_the_environment_goes_first() {
        let dir = tempfile::tempdir().unwrap();
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
        };
        assert_eq!(under(dir.path(), &map(&[("A", "1")])), map(&[("A", "1")]));
        keep(dir.path(), &map(&[("SLACK_BOT_TOKEN", "xoxb-1=2"), ("NTFY_TOPIC", "t")])).unwrap();
        keep(dir.path(), &map(&[("NTFY_TOPIC", "u")])).unwrap();
        assert_eq!(
            under(dir.path(), &map(&[("SLACK_BOT_TOKEN", "mine")])),
            map(&[("SLACK_BOT_TOKEN", "mine"), ("NTFY_TOPIC", "u")])
        );
        assert_eq!(std::fs::metadata(path(dir.path())).unwrap().mode() & 0o777, 0o600);
        assert_eq!(read(dir.path()).unwrap()["SLACK_BOT_TOKEN"], "xoxb-1=2");
    }
}
