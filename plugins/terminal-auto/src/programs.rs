//! Which terminal programs are known, and which of them fits the client that asks. Pure.

use std::collections::BTreeMap;

/// A terminal program that can run a command in a new window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Program {
    name: &'static str,
    /// What stands between the program and the command.
    before: &'static [&'static str],
    /// It needs `DISPLAY`; others make do with `WAYLAND_DISPLAY`.
    x11: bool,
    /// A variable that it sets in what it runs: the client sits in one of its windows.
    mark: &'static str,
}

const fn program(name: &'static str, before: &'static [&'static str]) -> Program {
    Program { name, before, x11: false, mark: "" }
}

/// The first is the choice of the machine's owner (update-alternatives), then what desktops bring along.
const PROGRAMS: &[Program] = &[
    program("x-terminal-emulator", &["-e"]),
    Program { mark: "GNOME_TERMINAL_SCREEN", ..program("gnome-terminal", &["--"]) },
    program("ptyxis", &["--"]),
    program("kgx", &["--"]),
    Program { mark: "KONSOLE_VERSION", ..program("konsole", &["-e"]) },
    program("xfce4-terminal", &["-x"]),
    program("mate-terminal", &["-x"]),
    Program { mark: "GHOSTTY_RESOURCES_DIR", ..program("ghostty", &["-e"]) },
    Program { mark: "KITTY_WINDOW_ID", ..program("kitty", &[]) },
    Program { mark: "ALACRITTY_WINDOW_ID", ..program("alacritty", &["-e"]) },
    Program { mark: "WEZTERM_PANE", ..program("wezterm", &["start", "--"]) },
    program("foot", &[]),
    Program { mark: "TERMINATOR_UUID", ..program("terminator", &["-x"]) },
    Program { x11: true, ..program("urxvt", &["-e"]) },
    Program { x11: true, mark: "XTERM_VERSION", ..program("xterm", &["-e"]) },
    Program { x11: true, ..program("st", &["-e"]) },
];

/// Whether the client sits at a desktop.
pub(crate) fn has_desktop(env: &BTreeMap<String, String>) -> bool {
    is_set(env, "DISPLAY") || is_set(env, "WAYLAND_DISPLAY")
}

/// The commands that could show `argv` in a window, the best first: the program in which the client sits, then
/// the known ones in order; of all, those that are there.
pub(crate) fn windows(
    env: &BTreeMap<String, String>,
    argv: &[String],
    is_there: impl Fn(&str) -> bool,
) -> Vec<Vec<String>> {
    if !has_desktop(env) {
        return Vec::new();
    }
    let (mine, others): (Vec<Program>, Vec<Program>) =
        PROGRAMS.iter().partition(|program| is_set(env, program.mark));
    let fits =
        |program: &Program| (!program.x11 || is_set(env, "DISPLAY")) && is_there(program.name);
    let command = |program: Program| {
        let words = [program.name].into_iter().chain(program.before.iter().copied());
        words.map(str::to_owned).chain(argv.iter().cloned()).collect()
    };
    mine.into_iter().chain(others).filter(fits).map(command).collect()
}

/// The command that opens a window in the tmux that the client sits in, beside its own if it inherits `TMUX` and
/// `TMUX_PANE`. None outside tmux, and none in the very tmux that the session runs in: it must not show itself.
pub(crate) fn tmux_window(
    env: &BTreeMap<String, String>,
    name: &str,
    argv: &[String],
) -> Option<Vec<String>> {
    // `<socket>,<pid of the server>,<number of the session>`, see tmux(1).
    let mut parts = env.get("TMUX")?.rsplitn(3, ',');
    let socket = parts.nth(2).filter(|socket| !socket.is_empty())?;
    if argv.iter().any(|word| word == socket) {
        return None;
    }
    let mut command: Vec<String> =
        ["tmux", "-S", socket, "new-window", "-a", "-n", name, "--"].map(str::to_owned).into();
    // tmux gives a single word to a shell, several words to the kernel.
    if argv.len() == 1 {
        command.extend(["/bin/sh", "-c", "exec \"$0\""].map(str::to_owned));
    }
    command.extend(argv.iter().cloned().map(|mut word| {
        // A `;` at the end of a word would end the command.
        if word.ends_with(';') {
            word.insert(word.len() - 1, '\\');
        }
        word
    }));
    Some(command)
}

fn is_set(env: &BTreeMap<String, String>, name: &str) -> bool {
    env.get(name).is_some_and(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn argv() -> Vec<String> {
        ["attach", "it"].map(str::to_owned).to_vec()
    }

    #[test]
    fn the_program_fits_the_desktop_and_the_client() {
        #[track_caller]
        fn check(pairs: &[(&str, &str)], there: &[&str], expected: &[&str]) {
            let found = windows(&env(pairs), &argv(), |name| there.contains(&name));
            let found: Vec<String> = found.iter().map(|words| words.join(" ")).collect();
            assert_eq!(found, expected, "{pairs:?} {there:?}");
        }
        let x = ("DISPLAY", ":0");
        let wayland = ("WAYLAND_DISPLAY", "wayland-0");
        check(&[], &["xterm"], &[]);
        check(&[("DISPLAY", "")], &["xterm"], &[]);
        check(&[x], &[], &[]);
        check(&[x], &["xterm"], &["xterm -e attach it"]);
        check(&[wayland], &["xterm", "foot"], &["foot attach it"]);
        check(
            &[x, wayland],
            &["xterm", "x-terminal-emulator", "gnome-terminal"],
            &[
                "x-terminal-emulator -e attach it",
                "gnome-terminal -- attach it",
                "xterm -e attach it",
            ],
        );
        check(
            &[wayland, ("KITTY_WINDOW_ID", "1")],
            &["x-terminal-emulator", "kitty", "wezterm"],
            &["kitty attach it", "x-terminal-emulator -e attach it", "wezterm start -- attach it"],
        );
    }

    #[test]
    fn s14_a_window_in_the_users_tmux_is_opened_by_exact_words() {
        #[track_caller]
        fn check(pairs: &[(&str, &str)], argv: &[&str], expected: Option<&str>) {
            let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
            let found = tmux_window(&env(pairs), "app-1", &argv).map(|words| words.join(" "));
            assert_eq!(found.as_deref(), expected, "{pairs:?}");
        }
        let inside = ("TMUX", "/tmp/t,mux/default,123,0");
        check(&[], &["a", "b"], None);
        check(&[("TMUX", "")], &["a", "b"], None);
        check(&[("TMUX", "nonsense")], &["a", "b"], None);
        check(
            &[inside],
            &["a", r"b\;"],
            Some(r"tmux -S /tmp/t,mux/default new-window -a -n app-1 -- a b\\;"),
        );
        check(
            &[inside],
            &["a"],
            Some("tmux -S /tmp/t,mux/default new-window -a -n app-1 -- /bin/sh -c exec \"$0\" a"),
        );
        // Within the agents' own tmux.
        check(&[inside], &["tmux", "-S", "/tmp/t,mux/default", "attach"], None);
    }
}
