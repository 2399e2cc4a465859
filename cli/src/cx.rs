//! What every command works with: the flags, the places, the styles of its two streams.

use std::{
    collections::BTreeMap,
    io::IsTerminal,
    path::{Path, PathBuf},
};

use ao_core::config::{self, Catalog, Role, SourceFile, World};

use crate::{
    args::Global,
    client::Client,
    fail::{Exit, Fail},
    out::{self, Style, Surroundings, Tone},
    paths, secrets,
};

/// The surroundings of one command.
#[derive(Debug)]
pub(crate) struct Cx {
    pub(crate) global: Global,
    /// How to print to standard output.
    pub(crate) style: Style,
    /// How to print to standard error.
    pub(crate) err: Style,
    pub(crate) home: PathBuf,
    pub(crate) cwd: PathBuf,
    /// The program's environment, read here and nowhere else.
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) data_dir: PathBuf,
    pub(crate) worktree_dir: PathBuf,
    pub(crate) run_dir: PathBuf,
    /// The server rested when the command began.
    pub(crate) rested: bool,
}

impl Cx {
    /// Looks around.
    pub(crate) fn new(mut global: Global) -> Result<Self, Fail> {
        let env: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let around = Surroundings::look();
        let (stdout, stderr) = (std::io::stdout().is_terminal(), std::io::stderr().is_terminal());
        let style = Style::of(stdout, &around, global.color, global.ascii);
        let err = Style::of(stderr, &around, global.color, global.ascii);
        let home = env.get("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        let home = home.ok_or_else(|| {
            Fail::new(Exit::Missing, "the environment has no HOME").remedy("export HOME=…")
        })?;
        let cwd = std::env::current_dir().unwrap_or_else(|_| home.clone());
        global.data_dir = global.data_dir.map(|dir| paths::absolute(&dir, &home));
        global.config = global.config.map(|file| paths::absolute(&file, &home));
        let mut cx = Self {
            global,
            style,
            err,
            home,
            cwd,
            env,
            data_dir: PathBuf::new(),
            worktree_dir: PathBuf::new(),
            run_dir: PathBuf::new(),
            rested: false,
        };
        let files = cx.own_files()?;
        let world = cx.world(Catalog::anything());
        let (data_dir, worktree_dir) = match files.is_empty() {
            // The common case needs no reading of anything.
            true => config::folders(&[], &world),
            false => config::folders(&files, &world),
        }
        .map_err(|errors| crate::render::config::failure(&cx.err, &errors))?;
        cx.run_dir = paths::run_dir(
            &data_dir,
            cx.env.get("XDG_RUNTIME_DIR").map(Path::new),
            &std::env::temp_dir(),
        );
        cx.rested = paths::stopped(&data_dir).exists();
        cx.data_dir = data_dir;
        cx.worktree_dir = worktree_dir;
        Ok(cx)
    }

    /// What a configuration is read against.
    pub(crate) fn world(&self, catalog: Catalog) -> World {
        World {
            home: self.home.clone(),
            // Before it is known where the data lies nothing is looked for there.
            env: match self.data_dir.as_os_str().is_empty() {
                true => self.env.clone(),
                false => secrets::under(&self.data_dir, &self.env),
            },
            data_dir: self.global.data_dir.clone(),
            catalog,
        }
    }

    /// The user's own file.
    pub(crate) fn user_file(&self) -> PathBuf {
        let base =
            self.env.get("XDG_CONFIG_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute());
        base.unwrap_or_else(|| self.home.join(".config")).join("ao/config.yaml")
    }

    /// The files that count beside registered ones: `--config`, and the user's.
    pub(crate) fn own_files(&self) -> Result<Vec<SourceFile>, Fail> {
        let mut files = vec![];
        let given = self.global.config.clone().map(|path| (path, Role::Given));
        let user =
            Some(self.user_file()).filter(|path| path.exists()).map(|path| (path, Role::User));
        for (path, role) in given.into_iter().chain(user) {
            files.push(
                SourceFile::read(&path, role)
                    .map_err(|e| crate::render::config::failure(&self.err, &e))?,
            );
        }
        Ok(files)
    }

    /// The file that this folder belongs to; none where an agent asks.
    pub(crate) fn file_here(&self) -> Option<PathBuf> {
        if self.env.contains_key("AO_SESSION") {
            return None;
        }
        config::find(&self.cwd, &self.worktree_dir)
    }

    /// A human stopped the server while this command ran.
    pub(crate) fn was_stopped(&self) -> bool {
        !self.rested && paths::stopped(&self.data_dir).exists()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.run_dir.join("ao.sock")
    }

    /// The server, started if it does not run.
    pub(crate) fn client(&self) -> Client<'_> {
        Client::new(self)
    }

    /// Prints a hint to standard error, where a person reads it.
    pub(crate) fn hint(&self, text: &str) {
        if self.err.terminal && !self.global.quiet && !self.global.json {
            out::note(&self.err.paint(Tone::Muted, &self.err.text(text)));
        }
    }

    /// Prints a hint the first time for each data directory; `what` is its name among those that were given.
    pub(crate) fn hint_once(&self, what: &str, text: &str) {
        let shown = self.err.terminal && !self.global.quiet && !self.global.json;
        if shown && self.first_time(what) {
            self.hint(text);
        }
    }

    /// Whether something that is said once for each data directory was not said yet. From now on it was.
    pub(crate) fn first_time(&self, what: &str) -> bool {
        let file = self.data_dir.join("hints");
        let told = std::fs::read_to_string(&file).unwrap_or_default();
        if told.lines().any(|line| line == what) {
            return false;
        }
        // What comes twice does no harm.
        let _ = std::fs::write(&file, format!("{told}{what}\n"));
        true
    }

    /// Prints a warning to standard error.
    pub(crate) fn warn(&self, text: &str) {
        out::note(&format!("{} {}", self.err.paint(Tone::Slow, "warning:"), self.err.text(text)));
    }

    /// Asks a question that yes or no answers. With `--yes` or without a terminal the default is taken, with
    /// `--no-input` the command fails and names the flag that would have said it.
    pub(crate) fn ask(&self, question: &str, default: bool, flag: &str) -> Result<bool, Fail> {
        let choice = if default { "[Y/n]" } else { "[y/N]" };
        let answer =
            self.ask_text(&format!("{question} {choice}"), if default { "y" } else { "n" }, flag)?;
        Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }

    /// Asks for a line; an empty one is the default.
    pub(crate) fn ask_text(
        &self,
        question: &str,
        default: &str,
        flag: &str,
    ) -> Result<String, Fail> {
        if self.global.yes {
            return Ok(default.to_owned());
        }
        if self.global.no_input {
            return Err(Fail::new(
                Exit::NotConfirmed,
                format!("a question was not asked: {question}"),
            )
            .remedy(format!("say it with {flag}")));
        }
        if !out::can_ask() {
            return Ok(default.to_owned());
        }
        use std::io::Write;
        let mut stderr = std::io::stderr().lock();
        let _ = write!(stderr, "{} {question} ", self.err.paint(Tone::Accent, "?"));
        let _ = stderr.flush();
        let mut line = String::new();
        if std::io::stdin().read_line(&mut line)? == 0 {
            return Err(Fail::new(Exit::NotConfirmed, "the question was not answered")
                .remedy(format!("say it with {flag}")));
        }
        let line = line.trim();
        Ok(if line.is_empty() { default.to_owned() } else { line.to_owned() })
    }

    /// Asks for a secret without showing it; nobody is asked where nobody can type it unseen.
    pub(crate) fn ask_secret(&self, question: &str, instead: &str) -> Result<String, Fail> {
        if !self.asks() || self.global.yes {
            return Err(Fail::new(
                Exit::NotConfirmed,
                format!("a question was not asked: {question}"),
            )
            .remedy(instead));
        }
        use std::io::Write;
        let mut stderr = std::io::stderr().lock();
        let _ = write!(stderr, "{} {question} ", self.err.paint(Tone::Accent, "?"));
        let _ = stderr.flush();
        let unseen = Unseen::begin()?;
        let typed = unseen_line(std::io::stdin().lock());
        drop(unseen);
        let _ = writeln!(stderr);
        let Some(line) = typed? else { std::process::exit(130) };
        match line.trim() {
            "" => {
                Err(Fail::new(Exit::NotConfirmed, "the question was not answered").remedy(instead))
            }
            said => Ok(said.to_owned()),
        }
    }

    /// Whether a person answers questions here, and did not say that none is to be asked.
    pub(crate) fn asks(&self) -> bool {
        out::can_ask() && !self.global.no_input
    }

    /// Destroying wants the name, not a yes; `what` is to be done to it: `kill it`. Asked only where
    /// [`Self::asks`].
    pub(crate) fn confirm_by_name(
        &self,
        question: &str,
        name: &str,
        what: &str,
    ) -> Result<(), Fail> {
        use std::io::Write;
        let mut stderr = std::io::stderr().lock();
        let painted = self.err.paint(Tone::Accent, name);
        let _ = write!(stderr, "{question}\nType {painted} to {what}: ");
        let _ = stderr.flush();
        let mut line = String::new();
        std::io::stdin().read_line(&mut line)?;
        match line.trim() == name {
            true => Ok(()),
            false => {
                let what = format!("{name} was not confirmed; nothing was done");
                Err(Fail::new(Exit::NotConfirmed, what))
            }
        }
    }
}

/// A line of what is typed while [`Unseen`], with the keys that the terminal would act on. None = Ctrl-C.
fn unseen_line(typed: impl std::io::BufRead) -> std::io::Result<Option<String>> {
    let mut line = vec![];
    for byte in typed.bytes() {
        match byte? {
            b'\r' | b'\n' | 0x04 => break,
            0x03 => return Ok(None),
            0x15 => line.clear(),
            // A whole letter, however many bytes it has.
            0x08 | 0x7f => while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
            byte => line.push(byte),
        }
    }
    String::from_utf8(line).map(Some).map_err(std::io::Error::other)
}

/// While this is there, what is typed is not shown, and no key ends the program: it would leave a terminal behind that
/// shows nothing.
struct Unseen(nix::sys::termios::Termios);

impl Unseen {
    fn begin() -> Result<Self, Fail> {
        use nix::sys::termios::{
            LocalFlags, SetArg, SpecialCharacterIndices, tcgetattr, tcsetattr,
        };
        let failed = |error: nix::Error| {
            Fail::new(Exit::Failed, "the terminal cannot hide what is typed").because(error)
        };
        let before = tcgetattr(std::io::stdin()).map_err(failed)?;
        let mut hidden = before.clone();
        let acts = LocalFlags::ICANON | LocalFlags::ISIG | LocalFlags::IEXTEN;
        hidden.local_flags.remove(LocalFlags::ECHO | acts);
        hidden.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
        hidden.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
        tcsetattr(std::io::stdin(), SetArg::TCSAFLUSH, &hidden).map_err(failed)?;
        Ok(Self(before))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        use nix::sys::termios::{SetArg, tcsetattr};
        let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, &self.0);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use clap::Parser;

    use super::*;

    /// A command's surroundings, with this data directory.
    pub(crate) fn cx(data_dir: &Path) -> Cx {
        let dir = data_dir.to_string_lossy();
        let cli = crate::args::Cli::parse_from(["ao", "--data-dir", &dir, "doctor"]);
        Cx::new(cli.global).unwrap()
    }

    #[test]
    fn keys_edit_what_is_typed_unseen_and_ctrl_c_ends_it() {
        let line = |typed: &str| unseen_line(typed.as_bytes()).unwrap();
        for (typed, wanted) in [
            ("xoxb-1\nrest", "xoxb-1"),
            ("xoxb-1\r", "xoxb-1"),
            ("no end", "no end"),
            ("ab\u{7f}\u{8}\u{7f}c\n", "c"),
            ("aé\u{7f}b\n", "ab"),
            ("wrong\u{15}right\n", "right"),
            ("\u{4}", ""),
        ] {
            assert_eq!(line(typed).as_deref(), Some(wanted), "{typed:?}");
        }
        assert_eq!(line("half\u{3}more\n"), None);
        assert!(unseen_line(&b"\xff\n"[..]).is_err());
    }
}
