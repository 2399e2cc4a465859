//! `ao status --watch`: the status on the whole screen, redrawn as things change.

use std::{
    io::{self, IsTerminal, Write},
    os::fd::AsFd,
    time::Duration,
};

use ao_core::slots::SessionId;
use ao_web::view::{SessionDoc, StatusDoc};
use jiff::{Timestamp, tz::TimeZone};
use nix::sys::termios::{self, LocalFlags, SetArg, Termios};
use tokio::io::AsyncReadExt;

use crate::{
    client::Client,
    cx::Cx,
    fail::{Exit, Fail},
    out::{Style, Tone},
    render,
};

/// The alternate screen with keys that come one by one; leaves the terminal as it was.
struct Screen {
    before: Termios,
}

impl Screen {
    fn enter() -> Result<Self, Fail> {
        let failed = |error: nix::Error| {
            Fail::new(Exit::Failed, "the terminal cannot be used for --watch").because(error)
        };
        let before = termios::tcgetattr(io::stdin().as_fd()).map_err(failed)?;
        let mut raw = before.clone();
        raw.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        termios::tcsetattr(io::stdin().as_fd(), SetArg::TCSANOW, &raw).map_err(failed)?;
        write("\x1b[?1049h\x1b[?25l");
        Ok(Self { before })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        write("\x1b[?25h\x1b[?1049l");
        let _ = termios::tcsetattr(io::stdin().as_fd(), SetArg::TCSANOW, &self.before);
    }
}

fn write(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// What a key means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Down,
    Up,
    Quit,
    /// Runs the command of the selected session in its place.
    Answer,
    Approve,
    Deny,
    Terminal,
    Ack,
}

fn key(byte: u8) -> Option<Key> {
    Some(match byte {
        b'j' => Key::Down,
        b'k' => Key::Up,
        b'q' | 3 => Key::Quit,
        b'r' => Key::Answer,
        b'y' => Key::Approve,
        b'n' => Key::Deny,
        b't' | b'\n' => Key::Terminal,
        b'a' => Key::Ack,
        _ => return None,
    })
}

/// Shows the status until `q`.
pub(crate) async fn run(cx: &Cx, client: Client<'_>) -> Result<u8, Fail> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(Fail::new(Exit::Usage, "--watch needs a terminal")
            .remedy("ao status   or, for programs: ao events --follow --json"));
    }
    let screen = Screen::enter()?;
    let mut keys = tokio::io::stdin();
    let mut events = client.follow("").await.ok();
    let mut selected: Option<SessionId> = None;
    let mut shown = String::new();
    let mut said = String::new();
    loop {
        let status = client.get::<StatusDoc>("/api/status").await;
        let frame = match &status {
            Ok(doc) => {
                let order = order(doc);
                selected =
                    selected.filter(|id| order.contains(id)).or_else(|| order.first().cloned());
                let detail = match &selected {
                    Some(id) => client.get::<SessionDoc>(&format!("/api/sessions/{id}")).await.ok(),
                    None => None,
                };
                frame(doc, detail.as_ref(), &said, &cx.style)
            }
            Err(fail) => format!("No connection to ao: {}\n", fail.what),
        };
        if frame != shown {
            // Lines are cleared as they are written: nothing blinks.
            write(&format!("\x1b[H{}\x1b[J", frame.replace('\n', "\x1b[K\r\n")));
            shown = frame;
        }
        let mut byte = [0_u8; 1];
        tokio::select! {
            // Cancel safe: a read that is dropped has taken nothing, or the next one gets it.
            read = keys.read(&mut byte) => {
                let Ok(1) = read else { break };
                let Some(key) = key(byte[0]) else { continue };
                let order = status.as_ref().map(order).unwrap_or_default();
                match (key, &selected) {
                    (Key::Quit, _) => break,
                    (Key::Down, Some(id)) => selected = step(&order, id, 1),
                    (Key::Up, Some(id)) => selected = step(&order, id, -1),
                    (Key::Terminal, Some(id)) => {
                        drop(screen);
                        return become_command(&["session", "attach", id.as_str()]);
                    }
                    (Key::Answer, Some(id)) => {
                        drop(screen);
                        let answer = cx.ask_text(&format!("Answer for {id}, a number or your own words:"), "", "ao answer")?;
                        return match answer.is_empty() {
                            true => Ok(0),
                            false => become_command(&["answer", id.as_str(), "--", &answer]),
                        };
                    }
                    (Key::Approve, Some(id)) => said = act(client, &format!("/api/sessions/{id}/approve"), "approved").await,
                    (Key::Deny, Some(id)) => said = act(client, &format!("/api/sessions/{id}/deny"), "denied").await,
                    (Key::Ack, Some(id)) => {
                        let row = status.as_ref().ok().and_then(|doc| doc.sessions.iter().find(|row| row.id == *id));
                        said = match row.and_then(|row| row.incident) {
                            Some(incident) => act(client, &format!("/api/incidents/{incident}/ack"), "yours").await,
                            None => format!("{id} has nothing to take"),
                        };
                    }
                    (_, None) => {}
                }
            }
            event = next(&mut events) => {
                if event.is_none() {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    events = client.follow("").await.ok();
                }
            }
            // Times change without events.
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
    Ok(0)
}

async fn next(events: &mut Option<crate::client::Follow>) -> Option<()> {
    match events {
        Some(events) => events.next().await.map(|_| ()),
        None => None,
    }
}

async fn act(client: Client<'_>, path: &str, done: &str) -> String {
    match client.post::<ao_web::view::Taken>(path, &serde_json::json!({})).await {
        Ok(_) => done.to_owned(),
        Err(fail) => fail.what,
    }
}

fn become_command(words: &[&str]) -> Result<u8, Fail> {
    use std::os::unix::process::CommandExt;
    let program = std::env::current_exe()?;
    Err(std::process::Command::new(program).args(words).exec().into())
}

/// Sessions from the most urgent on.
fn order(doc: &StatusDoc) -> Vec<SessionId> {
    let mut rows: Vec<_> = doc.sessions.iter().filter(|row| row.over.is_none()).collect();
    rows.sort_by_key(|row| (std::cmp::Reverse(row.zone), row.since));
    rows.into_iter().map(|row| row.id.clone()).collect()
}

fn step(order: &[SessionId], id: &SessionId, by: isize) -> Option<SessionId> {
    let at = order.iter().position(|known| known == id).unwrap_or(0);
    let next = at.saturating_add_signed(by).min(order.len().saturating_sub(1));
    order.get(next).cloned()
}

/// The list, the selected session below it, and the keys.
fn frame(doc: &StatusDoc, detail: Option<&SessionDoc>, said: &str, style: &Style) -> String {
    let mut text = render::status::screen(doc, style, &TimeZone::system());
    if let Some(detail) = detail {
        text.push('\n');
        text.push_str(&render::session::show(detail, style, &TimeZone::system(), Timestamp::now()));
    }
    if !said.is_empty() {
        text.push_str(&format!("\n{}\n", style.cut(said, style.width)));
    }
    let keys = "j k move  r answer  y approve  n deny  a take  t terminal  q leave";
    text.push_str(&format!("\n{}\n", style.paint(Tone::Muted, keys)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_selection_stays_within_the_list() {
        let ids: Vec<SessionId> = ["app-1", "app-2"].iter().map(|id| id.parse().unwrap()).collect();
        assert_eq!(step(&ids, &ids[0], -1), Some(ids[0].clone()));
        assert_eq!(step(&ids, &ids[0], 1), Some(ids[1].clone()));
        assert_eq!(step(&ids, &ids[1], 1), Some(ids[1].clone()));
        assert_eq!(step(&[], &ids[1], 1), None);
        assert_eq!((key(b'j'), key(b'q'), key(b'z')), (Some(Key::Down), Some(Key::Quit), None));
    }
}
