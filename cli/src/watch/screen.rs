//! The terminal as a full screen: entered, drawn, and left as it was, whatever ends the program.
//!
//! ratatui draws. What is typed is read here: the reader of its terminal library goes round for ever once the
//! terminal went away, and shares what is typed with a program that is shown meanwhile.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Stdout, Write},
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
    path::PathBuf,
    sync::{Mutex, Once, PoisonError},
};

use nix::{
    fcntl::OFlag,
    sys::termios::{self, InputFlags, LocalFlags, SetArg, Termios},
};
use ratatui::{Frame, Terminal, backend::CrosstermBackend};
use tokio::io::unix::AsyncFd;

use crate::fail::{Exit, Fail};

/// Another screen without cursor, where pasted text is marked as such.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?2004h\x1b[2J";
const LEAVE: &str = "\x1b[?2004l\x1b[?25h\x1b[?1049l";

/// How the terminal was, while it is not so: a panic restores it before it prints.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// The screen. Dropping it leaves the terminal as it was.
#[derive(Debug)]
pub(super) struct Screen {
    /// An opening of its own: what is read without blocking here blocks for everybody else as before.
    tty: AsyncFd<File>,
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    pub(super) fn enter() -> Result<Self, Fail> {
        let failed = |error: io::Error| {
            Fail::new(Exit::Failed, "the terminal cannot be used for --watch").because(error)
        };
        let path = nix::unistd::ttyname(io::stdin()).unwrap_or_else(|_| PathBuf::from("/dev/tty"));
        let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
        let tty = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(failed)?;
        #[expect(deprecated, reason = "its successor is unsafe to call; a file owns what it names")]
        let tty = AsyncFd::new(tty).map_err(failed)?;
        let terminal = Terminal::new(CrosstermBackend::new(io::stdout())).map_err(failed)?;
        let mut screen = Self { tty, terminal };
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let print = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                leave();
                print(panic);
            }));
        });
        screen.resume().map_err(failed)?;
        Ok(screen)
    }

    /// Takes the terminal, at first and after [`Screen::pause`].
    pub(super) fn resume(&mut self) -> io::Result<()> {
        let before = termios::tcgetattr(self.tty.get_ref().as_fd())?;
        let mut raw = before.clone();
        // Keys come one by one and unseen, Ctrl-C and Ctrl-Z among them.
        raw.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG);
        raw.input_flags.remove(InputFlags::IXON | InputFlags::ICRNL);
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        termios::tcsetattr(self.tty.get_ref().as_fd(), SetArg::TCSANOW, &raw)?;
        write(ENTER);
        self.terminal.clear()
    }

    /// Gives the terminal to another program for a while.
    pub(super) fn pause(&mut self) {
        leave();
    }

    /// Stops with the job, as Ctrl-Z means it, and goes on when it is continued.
    pub(super) fn stop(&mut self) -> io::Result<()> {
        self.pause();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(0), nix::sys::signal::Signal::SIGTSTP)?;
        self.resume()
    }

    /// Columns and rows.
    pub(super) fn size(&self) -> (usize, usize) {
        self.terminal.size().map_or((80, 24), |size| (size.width.into(), size.height.into()))
    }

    /// Draws what changed, in place: nothing blinks. Another size is drawn anew, whole.
    pub(super) fn draw(&mut self, board: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(board).map(drop)
    }

    /// The next bytes typed; none when the terminal went away. Cancel safe.
    pub(super) async fn read(&self, buffer: &mut [u8]) -> Option<usize> {
        loop {
            let mut ready = self.tty.readable().await.ok()?;
            match ready.try_io(|tty| tty.get_ref().read(buffer)) {
                Ok(Ok(0)) => return None,
                Ok(Ok(read)) => return Some(read),
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(_)) => return None,
                Err(_would_block) => {}
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

/// Gives the terminal back as it was; once.
fn leave() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = before {
        write(LEAVE);
        let _ = termios::tcsetattr(io::stdin().as_fd(), SetArg::TCSANOW, &before);
    }
}

fn write(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// A key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    Enter,
    Esc,
    Tab,
    Backspace,
    Up,
    Down,
    /// Ctrl with this letter.
    Ctrl(char),
    /// Text that was pasted: never taken for keys.
    Pasted(String),
}

/// Reads keys from what a terminal sends, however it is cut into pieces.
#[derive(Debug, Default)]
pub(super) struct Keys {
    rest: Vec<u8>,
}

impl Keys {
    const PASTE: &'static [u8] = b"\x1b[200~";
    const PASTED: &'static [u8] = b"\x1b[201~";

    /// The keys that are complete now.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Key> {
        self.rest.extend_from_slice(bytes);
        let mut keys = vec![];
        while let Some((key, used)) = next(&self.rest) {
            self.rest.drain(..used);
            keys.extend(key);
        }
        keys
    }

    /// Something stands there that may be the beginning of a longer key.
    pub(super) fn waits(&self) -> bool {
        self.rest.first() == Some(&0x1b) && !self.rest.starts_with(Self::PASTE)
    }

    /// Nothing followed: the beginning was all.
    pub(super) fn flush(&mut self) -> Option<Key> {
        let alone = self.rest == [0x1b];
        self.rest.clear();
        alone.then_some(Key::Esc)
    }
}

/// The first key and the bytes that it took; no key for what means nothing here. None: more must come.
fn next(bytes: &[u8]) -> Option<(Option<Key>, usize)> {
    let first = *bytes.first()?;
    Some(match first {
        0x1b => return escape(bytes),
        b'\r' | b'\n' => (Some(Key::Enter), 1),
        b'\t' => (Some(Key::Tab), 1),
        0x7f | 0x08 => (Some(Key::Backspace), 1),
        1..=26 => (Some(Key::Ctrl(char::from(first - 1 + b'a'))), 1),
        0..=0x1f => (None, 1),
        _ => {
            let long = match first {
                0xf0..0xf8 => 4,
                0xe0..0xf0 => 3,
                0xc0..0xe0 => 2,
                _ => 1,
            };
            match bytes.get(..long).map(std::str::from_utf8) {
                Some(Ok(text)) => (text.chars().next().map(Key::Char), long),
                None if bytes.iter().skip(1).all(|byte| byte & 0xc0 == 0x80) => return None,
                _ => (None, 1),
            }
        }
    })
}

fn escape(bytes: &[u8]) -> Option<(Option<Key>, usize)> {
    if bytes.starts_with(Keys::PASTE) {
        let text = bytes.get(Keys::PASTE.len()..)?;
        let end = text.windows(Keys::PASTED.len()).position(|part| part == Keys::PASTED)?;
        let pasted = String::from_utf8_lossy(text.get(..end)?).into_owned();
        return Some((Some(Key::Pasted(pasted)), Keys::PASTE.len() + end + Keys::PASTED.len()));
    }
    match bytes.get(1)? {
        b'[' | b'O' => {
            let tail = bytes.get(2..)?;
            let end = tail.iter().position(|byte| (0x40..=0x7e).contains(byte))?;
            let key = match (tail.get(end), end) {
                (Some(b'A'), 0) => Some(Key::Up),
                (Some(b'B'), 0) => Some(Key::Down),
                _ => None,
            };
            Some((key, 2 + end + 1))
        }
        0x1b => Some((Some(Key::Esc), 1)),
        // With Alt a key means nothing here.
        _ => Some((None, 2)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_however_they_are_cut() {
        let mut keys = Keys::default();
        assert_eq!(
            keys.push(b"jk\r\x03"),
            [Key::Char('j'), Key::Char('k'), Key::Enter, Key::Ctrl('c')]
        );
        assert_eq!(keys.push(b"\x1b"), []);
        assert!(keys.waits());
        assert_eq!(
            keys.push(b"[A\x1b[5~\x1bOB\t\x7f"),
            [Key::Up, Key::Down, Key::Tab, Key::Backspace]
        );
        assert_eq!(keys.push(&"ß".as_bytes()[..1]), []);
        assert!(!keys.waits());
        assert_eq!(keys.push(&"ß日".as_bytes()[1..]), [Key::Char('ß'), Key::Char('日')]);
        assert_eq!((keys.push(b"\x1b"), keys.flush()), (vec![], Some(Key::Esc)));
        assert_eq!(keys.push(b"\xffq"), [Key::Char('q')]);
    }

    #[test]
    fn pasted_text_is_never_taken_for_keys() {
        let mut keys = Keys::default();
        assert_eq!(keys.push(b"\x1b[200~yes\nn"), []);
        assert!(!keys.waits());
        assert_eq!(keys.push(b"o\x1b[201~q"), [Key::Pasted("yes\nno".into()), Key::Char('q')]);
    }
}
