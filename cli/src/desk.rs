//! The configuration files that the server was told of: read, trusted, watched, applied.
//!
//! What is remembered of them lies in `<dataDir>/config.json`, private. A file that cannot be used leaves the
//! settings before it in use; one incident says so until it can be used again.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use ao_core::{
    config::{
        self, Catalog, ConfigError, Loaded, Pending, Registered, Role, SourceFile, TrustItem, World,
    },
    decide::Input,
    disk::RealDisk,
    server::Handle,
    slots::PluginError,
};
use ao_web::{
    Code, Configs, Problem,
    configs::{ConfigFile, ConfigReport},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::{
    cx::Cx,
    fail::{Exit, Fail},
    secrets,
};

/// How often the files are looked at. A look is one `stat` a file.
const EVERY: Duration = Duration::from_secs(2);

/// What is remembered of files.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Memory {
    registered: Registered,
    /// What `--config` named last: a server that a hook or another command wakes has it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    given: Option<PathBuf>,
    /// The text that a human trusted last, by file.
    trusted: BTreeMap<PathBuf, String>,
}

/// What is known of a file on the disk without reading it.
type Stamp = Option<(SystemTime, u64)>;

/// Holds the files.
#[derive(Debug)]
pub(crate) struct Desk {
    world: World,
    user: PathBuf,
    store: PathBuf,
    memory: Mutex<Memory>,
    /// Files as they were when they were applied or refused last.
    seen: Mutex<BTreeMap<PathBuf, Stamp>>,
    /// Files as they were loaded last: one that cannot be used any more rules on so, and keeps no other from ruling.
    good: Mutex<BTreeMap<PathBuf, SourceFile>>,
    applied: Mutex<String>,
    /// Files that are not used at present, as was told.
    refused: Mutex<BTreeMap<PathBuf, Refused>>,
    handle: Mutex<Option<Handle>>,
    /// One change at a time.
    turn: tokio::sync::Mutex<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a file is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refused {
    /// First a line that says it, then what a human judges by.
    reason: String,
    /// Only trust is missing.
    untrusted: bool,
}

impl Refused {
    fn broken(error: &ConfigError) -> Self {
        let ConfigError { line, length, message, excerpt, .. } = error;
        let reason = match length {
            // Of the file as a whole.
            0 => message.clone(),
            _ => format!("Line {line}: {message}\n{line} │ {}", excerpt.trim_end()),
        };
        Self { reason, untrusted: false }
    }

    fn untrusted(pending: &Pending) -> Self {
        let keys: Vec<&str> = pending.items.iter().map(|item| item.key.as_str()).collect();
        let said = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".into());
        let difference =
            |item: &TrustItem| format!("\n{}: {} → {}", item.key, said(&item.old), said(&item.new));
        let differences: String = pending.items.iter().map(difference).collect();
        let reason = format!("It waits for your trust: {}{differences}", keys.join(", "));
        Self { reason, untrusted: true }
    }
}

impl Desk {
    /// Reads what is remembered.
    pub(crate) fn open(cx: &Cx, catalog: Catalog) -> Result<Arc<Self>, Fail> {
        let store = cx.data_dir.join("config.json");
        let mut memory: Memory = match std::fs::read(&store) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                Fail::new(Exit::Server, format!("{} cannot be read", store.display()))
                    .because(error)
                    .remedy(format!(
                        "rm {}   (files register again, trust is asked for again)",
                        store.display()
                    ))
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Memory::default(),
            // Whatever else keeps it from being read: to go on without it would write an empty one over it.
            Err(error) => {
                return Err(Fail::new(Exit::Server, format!("{} cannot be read", store.display()))
                    .because(error)
                    .remedy(format!(
                        "ls -l {}   it must be this user's to read",
                        store.display()
                    )));
            }
        };
        memory.given = cx.global.config.clone().or(memory.given);
        // Only the data directory decides where a server is; what it was found by holds for it from here on.
        let world =
            World { data_dir: Some(cx.data_dir.clone()), env: cx.env.clone(), ..cx.world(catalog) };
        Ok(Arc::new(Self {
            world,
            user: cx.user_file(),
            store,
            memory: Mutex::new(memory),
            seen: Mutex::default(),
            good: Mutex::default(),
            applied: Mutex::default(),
            refused: Mutex::default(),
            handle: Mutex::default(),
            turn: tokio::sync::Mutex::new(()),
        }))
    }

    /// With the secrets as they are now.
    fn world(&self) -> World {
        World { env: secrets::under(self.data_dir(), &self.world.env), ..self.world.clone() }
    }

    fn data_dir(&self) -> &Path {
        self.world.data_dir.as_deref().unwrap_or(Path::new(""))
    }

    fn paths(&self) -> Vec<(PathBuf, Role)> {
        let memory = lock(&self.memory);
        let given = memory.given.iter().map(|path| (path.clone(), Role::Given));
        let user = [(self.user.clone(), Role::User)];
        let registered = memory.registered.paths().iter().cloned();
        given.chain(user).chain(registered.map(|path| (path, Role::Registered))).collect()
    }

    /// Reads all files that are there; a registered one that is gone is passed over, an unreadable one is an error.
    fn read_all(&self, paths: &[(PathBuf, Role)]) -> Result<Vec<SourceFile>, Vec<ConfigError>> {
        let mut files: Vec<SourceFile> = vec![];
        let mut errors = vec![];
        for (path, role) in paths {
            let known = files.iter().any(|file| file.path == *path);
            if known || (*role != Role::Given && !path.exists()) {
                continue;
            }
            match SourceFile::read(path, *role) {
                Ok(mut file) => {
                    file.trusted = lock(&self.memory).trusted.get(path).cloned();
                    files.push(file);
                }
                Err(wrong) => errors.extend(wrong),
            }
        }
        if errors.is_empty() { Ok(files) } else { Err(errors) }
    }

    fn load(&self, paths: &[(PathBuf, Role)]) -> Result<Loaded, Vec<ConfigError>> {
        let files = self.read_all(paths)?;
        let loaded = self.load_files(&files)?;
        *lock(&self.good) = files.into_iter().map(|file| (file.path.clone(), file)).collect();
        Ok(loaded)
    }

    /// The same; files that cannot be used are taken as they were when they could, and what is wrong with them is
    /// told too.
    fn load_over(
        &self,
        paths: &[(PathBuf, Role)],
    ) -> Result<(Loaded, Vec<ConfigError>), Vec<ConfigError>> {
        let errors = match self.load(paths) {
            Ok(loaded) => return Ok((loaded, vec![])),
            Err(errors) => errors,
        };
        let bad: BTreeSet<&Path> = errors.iter().map(|error| error.file.as_path()).collect();
        let files = paths.iter().map(|path| match bad.contains(path.0.as_path()) {
            true => lock(&self.good).get(&path.0).cloned().map(|file| vec![file]),
            false => self.read_all(std::slice::from_ref(path)).ok(),
        });
        let Some(files) = files.collect::<Option<Vec<_>>>() else { return Err(errors) };
        match self.load_files(&files.concat()) {
            Ok(loaded) => Ok((loaded, errors)),
            Err(_) => Err(errors),
        }
    }

    /// The same with these files as they stand, as if a human had trusted them.
    fn load_trusted(
        &self,
        paths: &[(PathBuf, Role)],
        trusted: impl Fn(&Path) -> bool,
    ) -> Result<Loaded, Vec<ConfigError>> {
        let mut files = self.read_all(paths)?;
        for file in files.iter_mut().filter(|file| trusted(&file.path)) {
            file.trusted = Some(file.text.clone());
        }
        self.load_files(&files)
    }

    fn load_files(&self, files: &[SourceFile]) -> Result<Loaded, Vec<ConfigError>> {
        let mut loaded = config::load(files, &self.world())?;
        loaded.adjust(ao_plugins_bundled::infer);
        Ok(loaded)
    }

    /// What is to be said of these files, as they count now and as they stand; applies nothing.
    pub(crate) fn judge(&self, paths: &[(PathBuf, Role)]) -> ConfigReport {
        let (mut errors, mut warnings, mut stale, mut changed) = (vec![], vec![], vec![], false);
        let counts = self.load(paths);
        let stands = self.load_trusted(paths, |_| true);
        let (now, then) = (counts.as_ref().err(), stands.as_ref().err());
        for error in then.into_iter().flatten() {
            let waits = now.is_none_or(|now| !now.contains(error));
            errors.push(match waits {
                true => {
                    noted(error, "it waits for your trust; `ao config trust` refuses it as it is")
                }
                false => error.clone(),
            });
        }
        for error in now.into_iter().flatten().filter(|e| then.is_none_or(|t| !t.contains(e))) {
            let note = "the value that was trusted before stands in here; `ao config trust` lets the new one count";
            stale.push(noted(error, note));
        }
        let pending = match counts {
            Ok(loaded) => {
                changed = *lock(&self.applied) != loaded.hash;
                warnings = loaded.warnings;
                loaded.pending
            }
            Err(_) => {
                let files = self.read_all(paths).unwrap_or_default();
                files.iter().filter_map(config::needs_trust).collect()
            }
        };
        if let Ok(loaded) = stands {
            warnings = loaded.warnings;
        }
        let untrusted = pending.into_iter().map(Into::into).collect();
        ConfigReport { errors, warnings, stale, untrusted, changed, held: false }
    }

    /// The files that count, and this one.
    pub(crate) fn paths_and(&self, file: Option<PathBuf>) -> Vec<(PathBuf, Role)> {
        let mut paths = self.paths();
        if let Some(file) = file.filter(|file| !paths.iter().any(|(path, _)| path == file)) {
            paths.push((file, Role::Registered));
        }
        paths
    }

    /// For a start: files with errors are left out and named.
    pub(crate) fn load_what_can_be_used(&self) -> (Loaded, Vec<ConfigError>) {
        let paths = self.paths();
        lock(&self.seen).extend(stamps(&paths, secrets::path(self.data_dir())));
        self.load_usable(paths)
    }

    fn load_usable(&self, mut paths: Vec<(PathBuf, Role)>) -> (Loaded, Vec<ConfigError>) {
        let mut refused: Vec<ConfigError> = vec![];
        loop {
            match self.load(&paths) {
                Ok(loaded) => return (loaded, refused),
                Err(errors) => {
                    let bad: BTreeSet<&Path> =
                        errors.iter().map(|error| error.file.as_path()).collect();
                    let before = paths.len();
                    paths.retain(|(path, _)| !bad.contains(path.as_path()));
                    let stays = paths.len() == before;
                    refused.extend(errors);
                    if stays {
                        paths.clear();
                    }
                }
            }
        }
    }

    /// What would be in use, with this file beside those that are known: the files that count, what they come to,
    /// and what is wrong with those that cannot be used.
    pub(crate) fn with_file(
        &self,
        file: Option<PathBuf>,
    ) -> (Vec<PathBuf>, Loaded, Vec<ConfigError>) {
        let paths = self.paths_and(file);
        let (loaded, refused) = self.load_usable(paths.clone());
        let files = paths.into_iter().map(|(path, _)| path).filter(|path| path.exists()).collect();
        (files, loaded, refused)
    }

    /// The server serves with `loaded`, or where files were refused with what was applied before. That is told.
    pub(crate) async fn serve(&self, handle: Handle, loaded: &Loaded, refused: &[ConfigError]) {
        *lock(&self.handle) = Some(handle);
        if refused.is_empty() {
            loaded.hash.clone_into(&mut lock(&self.applied));
        }
        if let Err(problem) = self.remember(|_| ()) {
            tracing::warn!(
                problem = problem.title,
                "the next server may not have the file of --config"
            );
        }
        self.tell(refused, &loaded.pending).await;
    }

    /// Files that changed since they were applied or refused.
    fn changed<'p>(&self, paths: &'p [(PathBuf, Role)]) -> Option<&'p Path> {
        let seen = lock(&self.seen);
        let new = |path: &Path| seen.get(path).is_none_or(|seen| *seen != stamp(path));
        let changed = paths.iter().map(|(path, _)| path.as_path()).find(|path| new(path));
        // Another secret is another configuration of the file that names it.
        changed.or_else(|| new(&secrets::path(self.data_dir())).then_some(&*paths.first()?.0))
    }

    /// Applies the files again whenever one of them changed.
    pub(crate) async fn watch(self: Arc<Self>, mut ended: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                _ = ended.wait_for(|ended| *ended) => return,
            }
            let kept = lock(&self.handle).as_ref().is_some_and(Handle::keeps_too_much);
            if kept || self.changed(&self.paths()).is_some() {
                let _turn = self.turn.lock().await;
                if self.apply().await.changed {
                    tracing::info!("the changed configuration is in use");
                }
            }
        }
    }

    /// Loads all files and, where that works and something changed, lets the result rule.
    async fn apply(&self) -> ConfigReport {
        let paths = self.paths();
        // As the files are before they are read: what changes from here on is applied later.
        let secrets = secrets::path(self.data_dir());
        let another = lock(&self.seen).get(&secrets).is_some_and(|seen| *seen != stamp(&secrets));
        let stamps = stamps(&paths, secrets);
        let (loaded, errors) = match self.load_over(&paths) {
            Ok(loaded) => loaded,
            Err(errors) => {
                lock(&self.seen).extend(stamps);
                self.tell(&errors, &[]).await;
                return ConfigReport { held: true, ..self.judge(&paths) };
            }
        };
        let changed = another || *lock(&self.applied) != loaded.hash;
        let handle = lock(&self.handle).clone();
        if let Some(handle) = handle.filter(|handle| changed || handle.keeps_too_much()) {
            let applied = handle.apply_policy(loaded.policy.clone(), loaded.live.clone()).await;
            if let Err(error) = applied {
                // Not seen: it is tried again at the next look.
                let last = paths.last().map(|(path, _)| path.as_path());
                let file = self.changed(&paths).or(last).unwrap_or(&self.store);
                let errors = vec![unusable(file, &error)];
                self.tell(&errors, &[]).await;
                return ConfigReport { errors, held: true, ..ConfigReport::default() };
            }
            loaded.hash.clone_into(&mut lock(&self.applied));
        }
        lock(&self.seen).extend(stamps);
        self.tell(&errors, &loaded.pending).await;
        ConfigReport {
            errors,
            warnings: loaded.warnings,
            untrusted: loaded.pending.into_iter().map(Into::into).collect(),
            changed,
            ..ConfigReport::default()
        }
    }

    /// Tells the server which files are not used, and which are again. What a new file asks for the first time is
    /// no news: who registers it is asked in place.
    async fn tell(&self, errors: &[ConfigError], pending: &[Pending]) {
        let Some(handle) = lock(&self.handle).clone() else { return };
        let mut now: BTreeMap<PathBuf, Refused> = BTreeMap::new();
        for error in errors {
            now.entry(error.file.clone()).or_insert_with(|| Refused::broken(error));
        }
        let changed = pending.iter().filter(|file| file.items.iter().any(|item| !item.first));
        for pending in changed {
            now.entry(pending.file.clone()).or_insert_with(|| Refused::untrusted(pending));
        }
        let before = std::mem::replace(&mut *lock(&self.refused), now.clone());
        let name = |path: &Path| path.to_string_lossy().into_owned();
        let gone = before
            .keys()
            .filter(|path| !now.contains_key(*path))
            .map(|p| Input::ConfigAccepted { file: name(p) });
        // What the state of an earlier server still holds against files that are good.
        let stale: Vec<_> = handle
            .state()
            .server
            .refused
            .keys()
            .filter(|f| !now.contains_key(Path::new(f)))
            .cloned()
            .collect();
        let stale = stale.into_iter().map(|file| Input::ConfigAccepted { file });
        let new = now.iter().filter(|(path, refused)| before.get(*path) != Some(refused));
        let new = new.map(|(path, refused)| Input::ConfigRefused {
            file: name(path),
            reason: handle.put_text(&refused.reason),
            untrusted: refused.untrusted,
        });
        let inputs: BTreeMap<String, Input> =
            gone.chain(stale).chain(new).map(|input| (format!("{input:?}"), input)).collect();
        for input in inputs.into_values() {
            if let Err(refusal) = handle.submit(input).await {
                tracing::warn!(%refusal, "what became of a configuration file could not be recorded");
            }
        }
    }

    fn remember(&self, change: impl FnOnce(&mut Memory)) -> Result<(), Problem> {
        let mut memory = lock(&self.memory);
        let mut new = memory.clone();
        change(&mut new);
        let failed = |cause: String| {
            Problem::new(Code::Failed, format!("{} could not be written", self.store.display()))
                .because(cause)
                .with_remedy("ao doctor")
        };
        // A path that is no UTF-8 cannot be.
        let json = serde_json::to_vec(&new).map_err(|error| failed(error.to_string()))?;
        ao_core::disk::replace(&RealDisk, &self.store, &json)
            .map_err(|error| failed(error.to_string()))?;
        *memory = new;
        Ok(())
    }
}

/// An error with one more word of help.
fn noted(error: &ConfigError, note: &str) -> ConfigError {
    let help = error.help.as_ref().map(|help| format!("{help}; "));
    ConfigError { help: Some(format!("{}{note}", help.unwrap_or_default())), ..error.clone() }
}

/// A file that is valid and cannot be used all the same.
fn unusable(file: &Path, error: &PluginError) -> ConfigError {
    ConfigError {
        file: file.to_owned(),
        line: 1,
        column: 1,
        offset: 0,
        length: 0,
        excerpt: String::new(),
        message: format!("it could not be applied: {error}"),
        label: String::new(),
        help: error.remedy.clone(),
    }
}

fn stamps(paths: &[(PathBuf, Role)], secrets: PathBuf) -> BTreeMap<PathBuf, Stamp> {
    let files = paths.iter().map(|(path, _)| path.clone()).chain([secrets]);
    files.map(|path| (path.clone(), stamp(&path))).collect()
}

fn stamp(path: &Path) -> Stamp {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

#[async_trait]
impl Configs for Desk {
    async fn list(&self) -> Result<Vec<ConfigFile>, Problem> {
        let paths = self.paths();
        // A file may name channels that the user's own configure.
        let own: Vec<_> =
            paths.iter().filter(|(_, role)| *role != Role::Registered).cloned().collect();
        let load = |paths: &[(PathBuf, Role)]| config::load(&self.read_all(paths)?, &self.world());
        let named = |loaded: &Loaded| -> Vec<String> {
            loaded.policy.projects.keys().map(ToString::to_string).collect()
        };
        let theirs = load(&own).as_ref().map(named).unwrap_or_default();
        let mut files = vec![];
        for (path, role) in paths {
            if role == Role::User && !path.exists() {
                continue;
            }
            let gone = role == Role::Registered && !path.exists();
            let (around, known) = match role {
                Role::Registered => (own.as_slice(), theirs.as_slice()),
                Role::Given | Role::User => (&[][..], &[][..]),
            };
            let (mut projects, mut needs_trust, mut errors) = (vec![], false, vec![]);
            match load(&[around, &[(path.clone(), role)]].concat()) {
                Ok(loaded) => {
                    projects = named(&loaded);
                    projects.retain(|project| !known.contains(project));
                    needs_trust = loaded.pending.iter().any(|pending| pending.file == path);
                }
                Err(wrong) => errors.extend(wrong.into_iter().filter(|e| e.file == path)),
            }
            let role = match role {
                Role::Given => "given",
                Role::User => "user",
                Role::Registered => "registered",
            };
            let role = role.to_owned();
            files.push(ConfigFile { path, role, gone, projects, needs_trust, errors });
        }
        Ok(files)
    }

    async fn register(&self, file: PathBuf) -> Result<ConfigReport, Problem> {
        let _turn = self.turn.lock().await;
        let known = self.paths().iter().any(|(path, _)| *path == file);
        let unchanged = || lock(&self.seen).get(&file).is_some_and(|seen| *seen == stamp(&file));
        let waits = || lock(&self.memory).trusted.contains_key(&file);
        if known && unchanged() && waits() && lock(&self.refused).is_empty() {
            // The common case, at each command: nothing to read.
            return Ok(ConfigReport::default());
        }
        if !known {
            // One that is not valid is not remembered: its errors are the caller's to see, not everyone's.
            let paths = self.paths_and(Some(file.clone()));
            let wrong = |errors: &[ConfigError]| errors.iter().any(|error| error.file == file);
            if self.load_over(&paths).map_or(true, |(_, errors)| wrong(&errors)) {
                return Ok(ConfigReport { held: true, ..self.judge(&paths) });
            }
            self.remember(|memory| {
                memory.registered.add(&file);
            })?;
        }
        Ok(self.apply().await)
    }

    async fn trust(&self, file: PathBuf, hash: String) -> Result<ConfigReport, Problem> {
        let _turn = self.turn.lock().await;
        let paths = self.paths_and(Some(file.clone()));
        let source = SourceFile::read(&file, Role::Registered).map_err(|errors| {
            Problem::new(Code::Config, errors.first().map(ToString::to_string).unwrap_or_default())
        })?;
        if source.hash() != hash {
            return Err(Problem::new(
                Code::Conflict,
                format!("{} changed since it was shown; nothing was trusted", file.display()),
            )
            .with_remedy("ao config trust"));
        }
        // What does not load is not trusted. What else does not is no reason against this file.
        let stands = self.load_trusted(&paths, |path| *path == file);
        let mut errors = stands.err().unwrap_or_default();
        errors.retain(|error| error.file == file);
        if !errors.is_empty() {
            return Ok(ConfigReport { errors, ..ConfigReport::default() });
        }
        let user = self.user == file;
        self.remember(|memory| {
            if !user && memory.given.as_ref() != Some(&file) {
                memory.registered.add(&file);
            }
            memory.trusted.insert(file, source.text);
        })?;
        Ok(self.apply().await)
    }

    async fn forget(&self, file: PathBuf) -> Result<ConfigReport, Problem> {
        let _turn = self.turn.lock().await;
        let known = |memory: &Memory| {
            memory.given.as_ref() == Some(&file) || memory.registered.paths().contains(&file)
        };
        if !known(&lock(&self.memory)) {
            return Err(Problem::new(
                Code::NotFound,
                format!("{} is no registered file", file.display()),
            )
            .with_remedy("ao config ls"));
        }
        self.remember(|memory| {
            memory.given.take_if(|given| *given == file);
            memory.registered.forget(&file);
            memory.trusted.remove(&file);
        })?;
        Ok(self.apply().await)
    }

    async fn reload(&self) -> Result<ConfigReport, Problem> {
        let _turn = self.turn.lock().await;
        Ok(self.apply().await)
    }

    async fn check(&self, file: Option<PathBuf>) -> Result<ConfigReport, Problem> {
        if let Some(file) = file.as_ref().filter(|file| !file.exists()) {
            let errors = SourceFile::read(file, Role::Registered).err().unwrap_or_default();
            return Ok(ConfigReport { errors, ..ConfigReport::default() });
        }
        Ok(self.judge(&self.paths_and(file)))
    }
}

#[cfg(test)]
mod tests {
    use ao_core::{
        journal::{Durability, Limits},
        registry::Registry,
        server::{Options, Server, SystemClock},
    };

    use super::*;

    /// The surroundings of a user who has no files.
    fn cx(dir: &Path) -> Cx {
        let home = dir.join("home");
        Cx { home, env: BTreeMap::new(), ..crate::cx::tests::cx(&dir.join("data")) }
    }

    /// A server beside this desk.
    async fn serve(cx: &Cx, desk: &Desk) -> Server {
        crate::client::make_folders(cx).unwrap();
        let (loaded, refused) = desk.load_what_can_be_used();
        let options = Options {
            disk: Arc::new(RealDisk),
            limits: Limits::default(),
            durability: Durability::Commit,
            clock: Arc::new(SystemClock),
            boot: "boot".into(),
            version: crate::VERSION.to_owned(),
            zone: jiff::tz::TimeZone::UTC,
            registry: Registry::new(ao_plugins_bundled::all()),
            context: crate::commands::init::build_context(cx).unwrap(),
            policy: loaded.policy.clone(),
            live: loaded.live.clone(),
            refused: !refused.is_empty(),
        };
        let server = Server::start(options).await.unwrap();
        desk.serve(server.handle(), &loaded, &refused).await;
        server
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_valid_and_cannot_be_applied_is_told_and_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let cx = cx(dir.path());
        // What may be named here and what can be built are two things.
        let desk = Desk::open(&cx, Catalog::anything()).unwrap();
        let server = serve(&cx, &desk).await;
        let handle = server.handle();
        let refused = || handle.state().server.refused.clone();
        let file = dir.path().join("x.yaml");
        let text = "notifiers: {desktop: {plugin: desktop}, pager: {plugin: carrier-pigeon}}\n";
        std::fs::write(&file, text).unwrap();
        for _ in 0..2 {
            let report = desk.register(file.clone()).await.unwrap();
            let error = report.errors[0].to_string();
            assert!(error.contains("x.yaml") && error.contains("carrier-pigeon"), "{error}");
            let told =
                refused().into_values().map(|(reason, _)| reason.excerpt).collect::<String>();
            assert!(told.starts_with("it could not be applied: "), "{told}");
            assert!(desk.changed(&desk.paths()).is_some(), "nothing tries it again");
        }
        std::fs::write(&file, "notifiers: {desktop: {plugin: desktop}}\n").unwrap();
        assert_eq!(desk.register(file.clone()).await.unwrap().errors, []);
        assert!(refused().is_empty() && desk.changed(&desk.paths()).is_none());
        handle.stop("the test is over").await;
        server.wait().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_that_was_given_counts_for_the_next_server_until_it_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let mut cx = cx(dir.path());
        let file = dir.path().join("x.yaml");
        std::fs::write(&file, "notifiers: {}\n").unwrap();
        let given = |desk: &Desk| desk.paths().contains(&(file.clone(), Role::Given));
        let end = async |server: Server| {
            server.handle().stop("the test goes on").await;
            server.wait().await;
        };
        cx.global.config = Some(file.clone());
        let desk = Desk::open(&cx, Catalog::anything()).unwrap();
        end(serve(&cx, &desk).await).await;
        // Woken by a hook, which knows of no flag.
        cx.global.config = None;
        let desk = Desk::open(&cx, Catalog::anything()).unwrap();
        assert!(given(&desk));
        let server = serve(&cx, &desk).await;
        desk.forget(file.clone()).await.unwrap();
        end(server).await;
        assert!(!given(&desk) && !given(&Desk::open(&cx, Catalog::anything()).unwrap()));
    }

    #[tokio::test]
    async fn a_file_is_listed_as_it_counts_beside_the_users_own() {
        let dir = tempfile::tempdir().unwrap();
        let cx = cx(dir.path());
        let (user, file) = (cx.user_file(), dir.path().join("x.yaml"));
        std::fs::create_dir_all(user.parent().unwrap()).unwrap();
        let channel = "notifiers: {team: {plugin: webhook, url: \"https://example.org/\"}}\n";
        std::fs::write(&user, format!("{channel}projects: {{own: {{path: /own}}}}\n")).unwrap();
        let text = "notifications: {routing: {urgent: [team]}}\nprojects: {app: {path: /app}}\n";
        std::fs::write(&file, text).unwrap();
        let desk = Desk::open(&cx, Catalog::new(ao_plugins_bundled::all())).unwrap();
        lock(&desk.memory).registered.add(&file);
        let files = desk.list().await.unwrap();
        let projects: Vec<_> = files.iter().map(|file| file.projects.join(" ")).collect();
        assert_eq!(projects, ["own", "app"], "{files:?}");
    }

    #[test]
    fn what_is_remembered_is_never_taken_for_empty() {
        let dir = tempfile::tempdir().unwrap();
        let cx = cx(dir.path());
        std::fs::create_dir_all(cx.data_dir.join("config.json")).unwrap();
        let fail = Desk::open(&cx, Catalog::anything()).unwrap_err();
        assert!(fail.what.ends_with("config.json cannot be read"), "{fail:?}");
        assert!(fail.cause.is_some() && fail.remedy.is_some(), "{fail:?}");
    }
}
