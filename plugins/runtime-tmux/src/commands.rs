//! Command lists for tmux, and what their answers say. Pure: text in, text out.

use ao_slots::{
    InstanceId,
    runtime::{CreateRuntime, Key, RuntimeHandle, Screen},
};

use crate::{Settings, panes, server::word};

/// What a command needs of the pane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// It is there, its process may have ended.
    Pane,
    /// Its process runs.
    Process,
}

/// The command list that starts a launch. The name that tells whose it is is part of the command which starts
/// it; the options follow in the same list. Paths reach formats only as the value of an option, which tmux
/// does not expand.
pub(crate) fn new_session(
    settings: &Settings,
    instance: &InstanceId,
    request: &CreateRuntime,
) -> Vec<String> {
    let name = panes::name(&request.session, request.launch);
    let cwd = request.cwd.to_string_lossy();
    let (columns, rows) = (settings.columns.to_string(), settings.rows.to_string());
    let (history, session) = (settings.history.to_string(), request.session.to_string());
    let launch = request.launch.to_string();
    let target = format!("={name}:");
    let mut words: Vec<String> = Vec::new();
    let mut command = |parts: &[&str]| {
        if !words.is_empty() {
            words.push(";".to_owned());
        }
        words.extend(parts.iter().map(|part| word(*part)));
    };
    for option in [
        ["-g", "remain-on-exit", "on"],
        // Unknown to 3.2a, which draws its own text into the dead pane.
        ["-gq", "remain-on-exit-format", ""],
        ["-g", "history-limit", &history],
        // The human who attaches sees our names; a program in the pane changes none of them.
        ["-g", "automatic-rename", "off"],
        ["-g", "allow-rename", "off"],
        ["-g", "status-right", ""],
        ["-s", "escape-time", "10"],
        ["-s", "@ao_cwd", &cwd],
    ] {
        command(&[&["set-option"][..], &option].concat());
    }
    let mut start = vec!["new-session", "-d", "-s", &name, "-n", &session];
    start.extend(["-x", &columns, "-y", &rows, "-c", "#{@ao_cwd}", "-P", "-F", panes::FORMAT]);
    let env: Vec<String> =
        request.env.iter().map(|(key, value)| format!("{key}={value}")).collect();
    start.extend(env.iter().flat_map(|pair| ["-e", pair]));
    start.push("--");
    // tmux gives a single word to a shell, several words to the kernel.
    if request.argv.len() == 1 {
        start.extend(["/bin/sh", "-c", "exec \"$0\""]);
    }
    start.extend(request.argv.iter().map(String::as_str));
    command(&start);
    for (option, value) in [
        ("@ao_instance", instance.as_str()),
        ("@ao_session", &session),
        ("@ao_launch", &launch),
        ("@ao_cwd", &cwd),
    ] {
        command(&["set-option", "-p", "-t", &target, option, value]);
    }
    words
}

/// The handle's id, if it is one of a pane.
pub(crate) fn pane_id(handle: &RuntimeHandle) -> Option<&str> {
    let digits = handle.id.strip_prefix('%')?;
    let number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    number.then_some(handle.id.as_str())
}

/// The format that is 1 if the target is the handle's pane on the handle's server.
pub(crate) fn condition(handle: &RuntimeHandle, needs: Needs) -> String {
    let mut all = format!("#{{==:#{{pane_id}},{}}}", handle.id);
    let mut and = |variable: &str, value: i32| {
        all = format!("#{{&&:{all},#{{==:#{{{variable}}},{value}}}}}");
    };
    if let Some(server) = handle.server {
        and("pid", server.pid);
    }
    if needs == Needs::Process {
        and("pane_dead", 0);
        if let Some(process) = handle.process {
            and("pane_pid", process.pid);
        }
    }
    all
}

/// The name of a key as send-keys knows it; none for a digit or letter that is none.
pub(crate) fn key_name(key: Key) -> Option<String> {
    Some(match key {
        Key::Enter => "Enter".to_owned(),
        Key::Escape => "Escape".to_owned(),
        Key::Up => "Up".to_owned(),
        Key::Down => "Down".to_owned(),
        Key::Tab => "Tab".to_owned(),
        Key::Interrupt => "C-c".to_owned(),
        Key::ClearLine => "C-u".to_owned(),
        Key::Digit(digit @ 0..=9) => digit.to_string(),
        Key::Letter(letter) if letter.is_ascii_alphabetic() => letter.to_string(),
        Key::Digit(_) | Key::Letter(_) => return None,
    })
}

/// What `capture` printed: a line with the cursor, then `above` lines of history at most, then the screen.
pub(crate) fn screen(printed: &str, above: u32, lines: u32) -> Screen {
    let (head, body) = printed.split_once('\n').unwrap_or((printed, ""));
    let mut numbers = head.split(' ').map(|number| number.parse::<u32>().ok());
    let mut number = || numbers.next().flatten();
    let (cursor_x, cursor_y, history) = (number(), number(), number().unwrap_or(0));
    let mut all: Vec<String> = body.lines().map(|line| line.trim_end().to_owned()).collect();
    let cursor = cursor_y.map(|y| (y + history.min(above)) as usize);
    let filled = all.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
    all.truncate(filled.max(cursor.map_or(0, |row| row + 1)));
    let skip = all.len().saturating_sub(lines as usize);
    let cursor = cursor.filter(|row| (skip..all.len()).contains(row)).map(|row| row - skip);
    Screen {
        lines: all.split_off(skip),
        cursor_x: cursor.and(cursor_x),
        cursor_y: cursor.and_then(|row| u32::try_from(row).ok()),
    }
}

#[cfg(test)]
mod tests {
    use ao_slots::Launch;

    use super::*;

    #[test]
    fn s14_nothing_of_a_request_is_a_command_or_a_format() {
        let request = CreateRuntime {
            session: "app-3".parse().unwrap(),
            launch: Launch(2),
            argv: ["/bin/x", ";", "a\\;", "#(touch canary)", "-t"].map(str::to_owned).into(),
            cwd: "/w/#(touch canary);".into(),
            env: [("TERM".to_owned(), "x;".to_owned())].into(),
            stdin: None,
        };
        let instance = "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap();
        let words = new_session(&Settings::default(), &instance, &request);
        let commands: Vec<&[String]> = words.split(|word| word == ";").collect();
        for command in &commands {
            assert!(matches!(command[0].as_str(), "set-option" | "new-session"), "{command:?}");
            assert!(command.iter().all(|word| !word.ends_with(';') || word.ends_with("\\;")));
        }
        let start = commands.iter().find(|command| command[0] == "new-session").unwrap();
        let at = start.iter().position(|word| word == "--").unwrap();
        assert_eq!(start[at + 1..], ["/bin/x", r"\;", r"a\\;", "#(touch canary)", "-t"]);
        assert!(start[..at].contains(&r"TERM=x\;".to_owned()));
        // The working directory is only ever an option's value, never itself a format.
        let cwd =
            commands.iter().filter(|command| command.contains(&r"/w/#(touch canary)\;".to_owned()));
        assert!(cwd.clone().count() == 2 && cwd.clone().all(|command| command[0] == "set-option"));
    }

    #[test]
    fn a_program_without_arguments_is_not_given_to_a_shell_as_text() {
        let request = CreateRuntime {
            session: "app-3".parse().unwrap(),
            launch: Launch(1),
            argv: vec!["/opt/my agent".to_owned()],
            cwd: "/".into(),
            env: [].into(),
            stdin: None,
        };
        let instance = "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap();
        let words = new_session(&Settings::default(), &instance, &request);
        let at = words.iter().position(|word| word == "--").unwrap();
        assert_eq!(words[at + 1..at + 5], ["/bin/sh", "-c", "exec \"$0\"", "/opt/my agent"]);
    }

    #[test]
    fn keys_are_a_closed_set() {
        for (key, name) in [
            (Key::Enter, Some("Enter")),
            (Key::Interrupt, Some("C-c")),
            (Key::ClearLine, Some("C-u")),
            (Key::Digit(7), Some("7")),
            (Key::Digit(10), None),
            (Key::Letter('y'), Some("y")),
            (Key::Letter(';'), None),
            (Key::Letter('é'), None),
        ] {
            assert_eq!(key_name(key).as_deref(), name, "{key:?}");
        }
    }

    #[test]
    fn a_screen_is_cut_to_its_last_lines_and_the_cursor_moves_with_it() {
        #[track_caller]
        fn check(printed: &str, above: u32, lines: u32, expected: (&[&str], Option<(u32, u32)>)) {
            let screen = screen(printed, above, lines);
            assert_eq!(screen.lines, expected.0);
            assert_eq!(screen.cursor_x.zip(screen.cursor_y), expected.1);
        }
        // Rows below the text are left out, the row of the cursor is not.
        check("2 1 0\na\nb  \n\n\n", 10, 10, (&["a", "b"], Some((2, 1))));
        check("0 2 0\na\nb\n\n\n", 10, 10, (&["a", "b", ""], Some((0, 2))));
        // Two lines of history above a screen of two.
        check("1 1 9\nh1\nh2\na\nb\n", 2, 3, (&["h2", "a", "b"], Some((1, 2))));
        check("1 0 9\nh1\nh2\na\nb\n", 2, 1, (&["b"], None));
        check("1 0 9\na\n", 0, 0, (&[], None));
        check("", 10, 10, (&[], None));
        assert_eq!(screen("x y\na\n", 0, 5).cursor_x, None);
    }

    #[test]
    fn only_a_pane_id_reaches_a_command() {
        for (id, valid) in [
            ("%12", true),
            ("%", false),
            ("app-1", false),
            ("%1 ; kill-server", false),
            ("", false),
        ] {
            let handle = RuntimeHandle {
                session: "app-1".parse().unwrap(),
                launch: Launch(1),
                id: id.to_owned(),
                server: None,
                process: None,
            };
            assert_eq!(pane_id(&handle).is_some(), valid, "{id}");
        }
    }
}
