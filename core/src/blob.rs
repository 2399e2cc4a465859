//! Large texts beside the journal: a prompt, a log, a diff. An event names its blob by hash, so the blob is
//! written and synced first.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use ao_slots::text;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::disk::{self, Disk};

/// Bytes of the longest stored text. What is longer is cut, and says so at its end.
pub const LONGEST: usize = 1 << 20;

/// Characters of an excerpt.
const EXCERPT: usize = 200;

/// What an event keeps of a text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct BlobRef {
    /// SHA-256 of the stored text, in lower hex; the blob's name.
    pub sha256: String,
    /// Bytes of the stored text.
    pub size: u64,
    /// Its beginning on one line, at most 200 characters, made harmless.
    pub excerpt: String,
}

/// The folder `blobs`, with one compressed file a text.
#[derive(Debug, Clone)]
pub struct Blobs {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// Two writers of one text would write one temporary file.
    writing: Arc<Mutex<()>>,
}

impl Blobs {
    /// The blobs of the data directory `root`, making their folder if there is none.
    pub fn open(disk: Arc<dyn Disk>, root: &Path) -> io::Result<Self> {
        let dir = root.join("blobs");
        disk.create_dir(&dir)?;
        disk.sync_dir(root)?;
        Ok(Self { disk, dir, writing: Arc::default() })
    }

    /// Stores `text` without its tokens, cut to [`LONGEST`]. Durable when this returns, so that an event may
    /// name it. The same text twice is one blob.
    pub fn write(&self, text: &str) -> io::Result<BlobRef> {
        self.put(cut(text::redact_tokens(text)))
    }

    /// Stores `text` with all that is in it: somebody is to get it exactly so. Longer than [`LONGEST`] is an
    /// error of kind `FileTooLarge`.
    pub fn write_exact(&self, text: &str) -> io::Result<BlobRef> {
        if text.len() > LONGEST {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let named = self.put(text.to_owned())?;
        Ok(BlobRef { excerpt: excerpt(&text::redact(text)), ..named })
    }

    fn put(&self, kept: String) -> io::Result<BlobRef> {
        let name = sha256(kept.as_bytes());
        let packed = zstd::bulk::compress(kept.as_bytes(), 3)?;
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        // Also when it is there already: that it can be read does not say that it was ever synced.
        disk::replace(&*self.disk, &self.dir.join(&name), &packed)?;
        Ok(BlobRef { sha256: name, size: kept.len() as u64, excerpt: excerpt(&kept) })
    }

    /// Reads the text with this hash. A damaged one is an error of kind `InvalidData`, a missing one
    /// `NotFound`; so is what is no hash.
    pub fn read(&self, sha256: &str) -> io::Result<String> {
        if !is_hash(sha256) {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "a blob is named by 64 hex digits",
            ));
        }
        let packed = disk::read(&*self.disk, &self.dir.join(sha256))?;
        let damaged =
            || io::Error::new(io::ErrorKind::InvalidData, format!("blob {sha256} is damaged"));
        let mut plain = Vec::new();
        let unpack = zstd::stream::read::Decoder::new(&packed[..])?;
        unpack.take(LONGEST as u64 + 1).read_to_end(&mut plain).map_err(|_| damaged())?;
        if self::sha256(&plain) != sha256 {
            return Err(damaged());
        }
        String::from_utf8(plain).map_err(|_| damaged())
    }

    /// Removes the blobs last written before `time` that nothing needs any more, and returns how many.
    pub fn sweep(&self, time: SystemTime, needed: impl Fn(&str) -> bool) -> io::Result<usize> {
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.disk.list(&self.dir)?.into_iter().filter(|entry| entry.modified < time);
        let mut removed = 0;
        for entry in old.filter(|entry| !needed(&entry.name)) {
            self.disk.remove(&self.dir.join(&entry.name))?;
            removed += 1;
        }
        Ok(removed)
    }
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// SHA-256 in lower hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn cut(mut text: String) -> String {
    if text.len() > LONGEST {
        // Room for the longest marker.
        let end = text.floor_char_boundary(LONGEST - 64);
        let missing = text.len() - end;
        text.truncate(end);
        text.push_str(&format!("\n… cut: {missing} more bytes\n"));
    }
    text
}

fn excerpt(text: &str) -> String {
    // Enough for any 200 characters behind what is made harmless; a whole log is not.
    let head = &text[..text.floor_char_boundary(4096)];
    let line = text::cut(&text::one_line(head), EXCERPT);
    // A grapheme can have many characters.
    line.chars().take(EXCERPT).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::disk::testing::{CrashDisk, Op};

    const ROOT: &str = "/data";

    fn blobs(disk: &CrashDisk) -> Blobs {
        Blobs::open(Arc::new(disk.clone()), Path::new(ROOT)).unwrap()
    }

    #[test]
    fn a_blob_reads_back_without_its_secrets() {
        let disk = CrashDisk::new(1);
        let store = blobs(&disk);
        let token = "ghp_abcdefghijklmnopqrstuvwxyz0123";
        let named = store.write(&format!("line one\n\x1b[31mtoken {token} end")).unwrap();
        assert_eq!(store.read(&named.sha256).unwrap(), "line one\n\x1b[31mtoken [hidden] end");
        assert_eq!(named.excerpt, "line one token [hidden] end");
        assert_eq!(named.size, store.read(&named.sha256).unwrap().len() as u64);
        assert_eq!(store.write(&format!("line one\n\x1b[31mtoken {token} end")).unwrap(), named);
        assert!(!format!("{disk:?}").contains(token));
    }

    #[test]
    fn what_write_returned_survives_the_loss_of_power() {
        for seed in 0..100 {
            let disk = CrashDisk::new(seed);
            let named = blobs(&disk).write("text").unwrap();
            let after = disk.lose_power();
            assert_eq!(blobs(&after).read(&named.sha256).unwrap(), "text", "seed {seed}");
        }
    }

    #[test]
    fn a_long_text_is_cut_visibly_at_a_character() {
        let disk = CrashDisk::new(1);
        let store = blobs(&disk);
        let named = store.write(&"日本 ".repeat(1 << 20)).unwrap();
        let text = store.read(&named.sha256).unwrap();
        assert!(text.len() <= LONGEST, "{}", text.len());
        assert!(text.len() > LONGEST - 100);
        assert!(text.ends_with("more bytes\n"), "{}", &text[text.len() - 40..].escape_debug());
        assert!(named.excerpt.chars().count() <= 200);
        assert!(named.excerpt.ends_with('…'));
        let many = store.write(&"e\u{301}\u{301}\u{301}".repeat(300)).unwrap();
        assert!(many.excerpt.chars().count() <= 200);
    }

    #[test]
    fn damage_absence_and_names_that_are_no_hash_are_told_apart_from_text() {
        let disk = CrashDisk::new(1);
        let store = blobs(&disk);
        let named = store.write(&"text ".repeat(100)).unwrap();
        disk.damage(&Path::new(ROOT).join("blobs").join(&named.sha256), 12, b'X');
        assert_eq!(store.read(&named.sha256).unwrap_err().kind(), io::ErrorKind::InvalidData);
        for name in [&"0".repeat(64), "../snapshot.json", "", &named.sha256.to_uppercase()] {
            assert_eq!(store.read(name).unwrap_err().kind(), io::ErrorKind::NotFound, "{name}");
        }
    }

    #[test]
    fn r6_a_full_disk_is_an_error_and_leaves_no_half_blob() {
        let disk = CrashDisk::new(1);
        let store = blobs(&disk);
        disk.faults.fail(Op::Grow, 2, nix::errno::Errno::ENOSPC);
        assert!(disk::is_full(&store.write("text").unwrap_err()));
        assert_eq!(disk.list(&Path::new(ROOT).join("blobs")).unwrap(), []);
        store.write("text").unwrap();
    }

    #[test]
    fn sweeping_keeps_what_is_needed_or_young() {
        let disk = CrashDisk::new(1);
        let store = blobs(&disk);
        let (old, needed) = (store.write("old").unwrap(), store.write("needed").unwrap());
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 20);
        assert_eq!(store.sweep(SystemTime::UNIX_EPOCH, |_| false).unwrap(), 0);
        assert_eq!(store.sweep(now, |name| name == needed.sha256).unwrap(), 1);
        store.read(&old.sha256).unwrap_err();
        store.read(&needed.sha256).unwrap();
    }
}
