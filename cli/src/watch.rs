//! `ao status --watch`: the status on the whole screen, redrawn as things change.
//!
//! The keys act as the commands of the same verbs do. A server that ends is waited for, never started: it may
//! have been stopped on purpose.

mod screen;

use std::{
    future::pending,
    io::{self, IsTerminal},
    pin::Pin,
    time::Duration,
};

use ao_core::slots::{RequestId, SessionId, agent::Ask};
use ao_web::view::{
    AttachDoc, IncidentView, NotificationList, SessionDoc, StatusDoc, Taken, WhyDoc,
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use self::screen::{Key, Keys, Screen};
use crate::{
    client::{Client, Follow},
    cx::Cx,
    fail::{Exit, Fail},
    out::Style,
    render::watch::{self, Board, Detail, Item, Page, Prompt},
};

/// How long a burst of events is gathered before it is looked at.
const GATHER: Duration = Duration::from_millis(100);
/// How long after an escape the rest of a longer key may come.
const ESCAPE: Duration = Duration::from_millis(50);
/// How long between two tries to reach a server that went away.
const AGAIN: Duration = Duration::from_millis(500);
/// How long leaving waits for an act that is under way.
const LAST: Duration = Duration::from_secs(5);
/// How long a snooze is.
const SNOOZE: SignedDuration = SignedDuration::from_hours(1);

/// Something that goes on while keys are read.
type Work<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Shows the status until it is left.
pub(crate) async fn run(cx: &Cx, client: Client<'_>) -> Result<u8, Fail> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(Fail::new(Exit::Usage, "--watch needs a terminal")
            .remedy("ao status   or, for programs: ao events --follow --json"));
    }
    // The first look may start the server, and fails like any other command.
    let doc: StatusDoc = client.get("/api/status").await?;
    let mut watch = Watch::new(client.that_runs(), cx.style, doc);
    let mut screen = Screen::enter()?;
    watch.run(&mut screen).await
}

/// What one look found.
struct Seen {
    doc: Result<StatusDoc, Fail>,
    chosen: Option<Item>,
    detail: Option<Detail>,
}

/// What a key leads to.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Stay,
    Look,
    Leave(u8),
    Stop,
    /// An act of a human.
    Act {
        path: String,
        body: Value,
        done: String,
    },
    /// The terminal of a session.
    Terminal(String),
}

struct Watch<'a> {
    client: Client<'a>,
    style: Style,
    zone: TimeZone,
    doc: StatusDoc,
    detail: Option<Detail>,
    chosen: Option<Item>,
    opened: bool,
    page: Page,
    prompt: Option<Prompt>,
    said: String,
    /// What the last key led to is still being done.
    busy: bool,
    away: Option<Timestamp>,
    size: (usize, usize),
}

impl<'a> Watch<'a> {
    fn new(client: Client<'a>, style: Style, doc: StatusDoc) -> Self {
        let zone = TimeZone::system();
        let chosen = watch::items(&doc, false, &zone).into_iter().next();
        Self {
            client,
            style,
            zone,
            doc,
            detail: None,
            chosen,
            opened: false,
            page: Page::List,
            prompt: None,
            said: String::new(),
            busy: false,
            away: None,
            size: (80, 24),
        }
    }

    fn board(&self) -> Board<'_> {
        Board {
            doc: &self.doc,
            detail: self.detail.as_ref(),
            chosen: self.chosen.as_ref(),
            opened: self.opened,
            page: self.page,
            prompt: self.prompt.as_ref(),
            said: &self.said,
            busy: self.busy,
            away: self.away,
            now: Timestamp::now(),
        }
    }

    fn style(&self) -> Style {
        Style { width: self.size.0, ..self.style }
    }

    async fn run(&mut self, screen: &mut Screen) -> Result<u8, Fail> {
        let mut resized = signal(SignalKind::window_change())?;
        let mut interrupted = signal(SignalKind::interrupt())?;
        let mut ended = signal(SignalKind::terminate())?;
        let mut hung_up = signal(SignalKind::hangup())?;
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let mut keys = Keys::default();
        let mut buffer = [0_u8; 4096];
        let mut events: Option<Follow> = None;
        let mut connect: Option<Work<'a, Option<Follow>>> =
            Some(follow(self.client, Duration::ZERO));
        let mut look: Option<Work<'a, Seen>> = Some(self.look(Duration::ZERO));
        let mut act: Option<Work<'a, String>> = None;
        // Something happened while a look was under way.
        let mut again = false;
        loop {
            self.size = screen.size();
            let (board, style) = (self.board(), self.style());
            screen.draw(|frame| watch::draw(frame, &board, &style, &self.zone))?;
            let mut pressed = vec![];
            tokio::select! {
                read = screen.read(&mut buffer) => match read {
                    Some(read) => pressed = keys.push(buffer.get(..read).unwrap_or_default()),
                    None => return Ok(Exit::Failed as u8),
                },
                () = tokio::time::sleep(ESCAPE), if keys.waits() => pressed.extend(keys.flush()),
                seen = going(&mut look) => {
                    look = None;
                    if !self.take(seen) || std::mem::take(&mut again) {
                        look = Some(self.look(GATHER));
                    }
                }
                said = going(&mut act) => {
                    (act, self.said, self.busy) = (None, said, false);
                    again = look.is_some();
                    look.get_or_insert_with(|| self.look(Duration::ZERO));
                }
                followed = going(&mut connect) => {
                    (connect, events) = (None, followed);
                    match events {
                        Some(_) if self.away.is_some() => look = Some(self.look(Duration::ZERO)),
                        Some(_) => {}
                        None => {
                            self.away.get_or_insert_with(Timestamp::now);
                            connect = Some(follow(self.client, AGAIN));
                        }
                    }
                }
                event = next(&mut events) => match event {
                    Some(()) if look.is_some() => again = true,
                    Some(()) => look = Some(self.look(GATHER)),
                    None => {
                        events = None;
                        connect = Some(follow(self.client, Duration::ZERO));
                    }
                },
                _ = resized.recv() => {}
                _ = interrupted.recv() => return Ok(130),
                _ = ended.recv() => return Ok(143),
                _ = hung_up.recv() => return Ok(129),
                // The clock and the ages change without events.
                _ = tick.tick() => {}
            }
            for key in pressed {
                match self.press(key) {
                    Next::Stay => {}
                    Next::Look => look = Some(self.look(Duration::ZERO)),
                    Next::Leave(code) => {
                        // What was asked for is not taken back by leaving.
                        if let Some(act) = act.take() {
                            let _ = tokio::time::timeout(LAST, act).await;
                        }
                        return Ok(code);
                    }
                    Next::Stop => screen.stop()?,
                    Next::Act { path, body, done } => {
                        (self.said, self.busy) = ("…".into(), true);
                        act = Some(post(self.client, path, body, done));
                    }
                    Next::Terminal(session) => {
                        self.said = terminal(self.client, screen, &session).await?;
                        // What was pressed there is not meant for this screen.
                        (interrupted, keys) = (signal(SignalKind::interrupt())?, Keys::default());
                        look = Some(self.look(Duration::ZERO));
                        break;
                    }
                }
            }
        }
    }

    /// Takes what was seen. False when something else is chosen by now.
    fn take(&mut self, seen: Seen) -> bool {
        match seen.doc {
            Ok(doc) => {
                let before = watch::items(&self.doc, self.opened, &self.zone);
                (self.doc, self.away) = (doc, None);
                let items = watch::items(&self.doc, self.opened, &self.zone);
                let gone = self.chosen.as_ref().is_none_or(|chosen| !items.contains(chosen));
                if gone && self.page == Page::List {
                    // What takes its place in the list.
                    let at = before.iter().position(|item| Some(item) == self.chosen.as_ref());
                    let at = at.unwrap_or(0).min(items.len().saturating_sub(1));
                    self.chosen = items.get(at).cloned();
                }
                if seen.chosen == self.chosen {
                    self.detail = seen.detail;
                }
                seen.chosen == self.chosen
            }
            Err(_) => {
                self.away.get_or_insert_with(Timestamp::now);
                true
            }
        }
    }

    fn look(&self, after: Duration) -> Work<'a, Seen> {
        let (client, chosen) = (self.client, self.chosen.clone());
        Box::pin(async move {
            tokio::time::sleep(after).await;
            let doc = client.get("/api/status").await;
            let detail = match (&doc, &chosen) {
                (Ok(_), Some(chosen)) => detail(client, chosen).await,
                _ => None,
            };
            Seen { doc, chosen, detail }
        })
    }

    fn press(&mut self, key: Key) -> Next {
        if key == Key::Ctrl('c') {
            return Next::Leave(130);
        }
        if key == Key::Ctrl('z') {
            return Next::Stop;
        }
        if let Some(prompt) = self.prompt.take() {
            return self.press_in(prompt, key);
        }
        if !self.busy {
            self.said.clear();
        }
        match (self.page, &key) {
            (Page::Help, _) => {
                self.page = Page::List;
                return Next::Stay;
            }
            (Page::Story(_), Key::Esc | Key::Enter | Key::Backspace) => {
                self.page = Page::List;
                return Next::Look;
            }
            (Page::Story(from), Key::Char('j') | Key::Down) => {
                let end = watch::story_end(&self.board(), &self.style(), self.size, &self.zone);
                self.page = Page::Story((from + 1).min(end));
                return Next::Stay;
            }
            (Page::Story(from), Key::Char('k') | Key::Up) => {
                self.page = Page::Story(from.saturating_sub(1));
                return Next::Stay;
            }
            (Page::List, Key::Char('j') | Key::Down) => return self.step(1),
            (Page::List, Key::Char('k') | Key::Up) => return self.step(-1),
            (Page::List, Key::Tab) => {
                self.opened = !self.opened;
                return self.step(0);
            }
            (Page::List, Key::Char('?')) => self.page = Page::Help,
            (Page::List, Key::Enter) if self.chosen.is_some() => self.page = Page::Story(0),
            (_, Key::Char('q')) => return Next::Leave(0),
            _ => {}
        }
        let Key::Char(letter) = key else { return Next::Stay };
        // A key that does not stand there does nothing.
        let shown = watch::keys(&self.board()).iter().any(|(key, _)| key.chars().eq([letter]));
        if shown { self.act(letter) } else { Next::Stay }
    }

    /// The verbs of the chosen one.
    fn act(&mut self, letter: char) -> Next {
        let Some(detail) = &self.detail else { return Next::Stay };
        let session = detail.session.as_ref().map(|doc| doc.session.id.clone());
        match (letter, &session, detail.ask(), &detail.incident) {
            ('r', Some(id), Some((request, Ask::Question { .. })), _) => {
                let (session, draft) = (id.clone(), String::new());
                self.prompt = Some(Prompt::Answer { session, request, draft });
            }
            ('y', Some(id), Some((request, _)), _) => {
                let prompt = |text| Prompt::Approve { session: id.clone(), request, text, from: 0 };
                self.prompt = detail.permission().map(prompt);
            }
            ('n', Some(id), Some((request, Ask::Permission { verb, subject, .. })), _) => {
                let (session, wish) = (id.clone(), format!("wants to {verb}: {subject}"));
                self.prompt = Some(Prompt::Deny { session, request, wish });
            }
            ('a', _, _, Some(incident)) => {
                return Next::Act {
                    path: format!("/api/incidents/{}/ack", incident.id),
                    body: json!({}),
                    done: format!("✓ {} is yours", incident.id),
                };
            }
            ('s', _, _, Some(incident)) => {
                let until = Timestamp::now().saturating_add(SNOOZE).unwrap_or(Timestamp::MAX);
                let time = until.to_zoned(self.zone.clone()).strftime("%H:%M").to_string();
                return Next::Act {
                    path: format!("/api/incidents/{}/snooze", incident.id),
                    body: json!({ "until": until }),
                    done: format!("✓ {} is quiet until {time}", incident.id),
                };
            }
            ('t', Some(id), ..) => return Next::Terminal(id.to_string()),
            _ => {}
        }
        Next::Stay
    }

    /// A key while something is asked of the human.
    fn press_in(&mut self, prompt: Prompt, key: Key) -> Next {
        match prompt {
            Prompt::Answer { session, request, mut draft } => {
                match key {
                    Key::Esc => return Next::Stay,
                    Key::Enter if !draft.trim().is_empty() => {
                        return Next::Act {
                            path: format!("/api/sessions/{session}/answer"),
                            body: json!({ "text": draft.trim(), "request": request }),
                            done: format!("✓ sent to {session}: \"{}\"", draft.trim()),
                        };
                    }
                    Key::Char(c) => draft.push(c),
                    Key::Pasted(text) => draft.push_str(&ao_core::slots::text::one_line(&text)),
                    Key::Backspace => drop(draft.pop()),
                    Key::Ctrl('u') => draft.clear(),
                    _ => {}
                }
                self.prompt = Some(Prompt::Answer { session, request, draft });
                Next::Stay
            }
            Prompt::Approve { session, request, text, from } => {
                let (room, end) = watch::approve_end(&text, &self.style(), self.size);
                let from = match key {
                    Key::Char('y') if from >= end && room > 0 => {
                        return decision(&session, request, "approve", "approve once");
                    }
                    Key::Char('y') => from.saturating_add(room).min(end),
                    Key::Char('j') | Key::Down => from.saturating_add(1).min(end),
                    Key::Char('k') | Key::Up => from.saturating_sub(1),
                    _ => return Next::Stay,
                };
                self.prompt = Some(Prompt::Approve { session, request, text, from });
                Next::Stay
            }
            Prompt::Deny { session, request, .. } => match key {
                Key::Char('n') => decision(&session, request, "deny", "deny"),
                _ => Next::Stay,
            },
        }
    }

    fn step(&mut self, by: isize) -> Next {
        let items = watch::items(&self.doc, self.opened, &self.zone);
        let at = items.iter().position(|item| Some(item) == self.chosen.as_ref()).unwrap_or(0);
        let at = at.saturating_add_signed(by).min(items.len().saturating_sub(1));
        let next = items.get(at).cloned();
        if next == self.chosen {
            return Next::Stay;
        }
        self.chosen = next;
        Next::Look
    }
}

/// A permission is decided. Whether the agent took it is told by its session.
fn decision(session: &SessionId, request: RequestId, verb: &str, words: &str) -> Next {
    Next::Act {
        path: format!("/api/sessions/{session}/{verb}"),
        body: json!({ "request": request }),
        done: format!("✓ sent to {session}: {words}"),
    }
}

/// What goes on, or nothing for ever.
async fn going<T>(work: &mut Option<Work<'_, T>>) -> T {
    match work {
        Some(work) => work.await,
        None => pending().await,
    }
}

async fn next(events: &mut Option<Follow>) -> Option<()> {
    match events {
        Some(events) => events.next().await.map(|_| ()),
        None => pending().await,
    }
}

fn follow(client: Client<'_>, after: Duration) -> Work<'_, Option<Follow>> {
    Box::pin(async move {
        tokio::time::sleep(after).await;
        client.stream("").await.ok()
    })
}

fn post(client: Client<'_>, path: String, body: Value, done: String) -> Work<'_, String> {
    Box::pin(async move {
        match client.act::<Taken>(&path, &body).await {
            Ok(taken) => taken.note.map_or(done.clone(), |note| format!("{done}; {note}")),
            Err(fail) => {
                let cause = fail.cause.map(|cause| format!(": {cause}")).unwrap_or_default();
                format!("✗ {}{cause}", fail.what)
            }
        }
    })
}

/// All about one.
async fn detail(client: Client<'_>, item: &Item) -> Option<Detail> {
    let (session, incident, about) = match item {
        Item::Session(id) => {
            let doc: SessionDoc = client.get(&format!("/api/sessions/{id}")).await.ok()?;
            let first = doc.session.incident;
            let incident = doc.incidents.iter().find(|incident| Some(incident.id) == first);
            let (incident, about) = (incident.cloned(), id.to_string());
            (Some(doc), incident, about)
        }
        Item::Notice(id) => {
            let incident: IncidentView = client.get(&format!("/api/incidents/{id}")).await.ok()?;
            (None, Some(incident), id.to_string())
        }
    };
    let why = client.get::<WhyDoc>(&format!("/api/why/{about}")).await.ok();
    let told = match incident.as_ref().and_then(|i| Some((i.notification?, i.opened))) {
        Some((id, since)) => {
            let list: Option<NotificationList> =
                client.get(&format!("/api/notifications?since={since}")).await.ok();
            list.and_then(|list| list.notifications.into_iter().find(|told| told.id == id))
        }
        None => None,
    };
    let terminal = match &session {
        Some(_) => {
            let attach = client.get::<AttachDoc>(&format!("/api/sessions/{about}/attach")).await;
            attach.is_ok_and(|doc| doc.argv.is_some())
        }
        None => false,
    };
    Some(Detail { item: item.clone(), session, incident, why, told, terminal })
}

/// Looks into a session's terminal and comes back. Returns what there is to say of it.
async fn terminal(client: Client<'_>, screen: &mut Screen, session: &str) -> Result<String, Fail> {
    let doc: AttachDoc = match client.get(&format!("/api/sessions/{session}/attach")).await {
        Ok(doc) => doc,
        Err(fail) => return Ok(format!("✗ {}", fail.what)),
    };
    let Some((program, args)) = doc.argv.as_ref().and_then(|argv| argv.split_first()) else {
        return Ok(format!("✗ {session} has no terminal now"));
    };
    screen.pause();
    let mut command = tokio::process::Command::new(program);
    // An inner terminal refuses to nest while these are set.
    command.args(args).env_remove("TMUX").env_remove("TMUX_PANE");
    let ended = command.status().await;
    screen.resume()?;
    Ok(match ended {
        Ok(status) if status.success() => String::new(),
        Ok(status) => format!("✗ the terminal of {session} could not be shown: {status}"),
        Err(error) => format!("✗ `{program}` could not be started: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::status::tests::example;

    fn typed(watch: &mut Watch<'_>, text: &str) -> Vec<Next> {
        text.chars().map(|c| watch.press(Key::Char(c))).collect()
    }

    fn chosen(watch: &Watch<'_>) -> String {
        match &watch.chosen {
            Some(Item::Session(id)) => id.to_string(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn the_choice_stays_within_the_list_and_with_its_session() {
        let cx = crate::cx::tests::cx(std::path::Path::new("/nonexistent"));
        let mut watch = Watch::new(cx.client(), Style::plain(80), example());
        assert_eq!(chosen(&watch), "app-3");
        assert_eq!(watch.press(Key::Up), Next::Stay);
        assert_eq!(typed(&mut watch, "jjj"), [Next::Look, Next::Look, Next::Look]);
        assert_eq!((chosen(&watch), typed(&mut watch, "j")), ("api-5".into(), vec![Next::Stay]));
        assert_eq!(watch.press(Key::Tab), Next::Stay);
        assert_eq!((typed(&mut watch, "j"), chosen(&watch)), (vec![Next::Look], "app-5".into()));
        // What was listed before it goes away: the choice stays.
        let mut doc = example();
        doc.sessions.retain(|row| row.id.as_str() != "app-3");
        let chosen_now = watch.chosen.clone();
        let seen = |doc, chosen| Seen { doc: Ok(doc), chosen, detail: None };
        assert!(watch.take(seen(doc.clone(), chosen_now.clone())));
        assert_eq!(chosen(&watch), "app-5");
        // It goes away itself: what takes its place, which has to be looked at.
        doc.sessions.retain(|row| row.id.as_str() != "app-5");
        assert!(!watch.take(seen(doc, chosen_now)));
        assert_eq!(chosen(&watch), "app-6");
        assert_eq!(
            (watch.press(Key::Ctrl('c')), watch.press(Key::Char('q'))),
            (Next::Leave(130), Next::Leave(0))
        );
    }

    fn with(ask: Value) -> Detail {
        let mut detail = crate::render::watch::tests::detail();
        let session = detail.session.as_mut().unwrap();
        session.requests[0].ask = serde_json::from_value(ask).unwrap();
        detail
    }

    #[test]
    fn an_answer_goes_to_the_question_that_was_on_the_screen() {
        let cx = crate::cx::tests::cx(std::path::Path::new("/nonexistent"));
        let mut watch = Watch::new(cx.client(), Style::plain(80), example());
        assert_eq!(
            typed(&mut watch, "rynast"),
            vec![Next::Stay, Next::Stay, Next::Stay, Next::Stay, Next::Stay, Next::Stay]
        );
        assert_eq!(watch.prompt, None, "nothing is known of the session yet");
        watch.detail = Some(crate::render::watch::tests::detail());
        typed(&mut watch, "rq");
        watch.press(Key::Backspace);
        assert_eq!(watch.press(Key::Enter), Next::Stay, "an empty answer is none");
        watch.press(Key::Pasted(" items\nonly ".into()));
        // Another session is looked at meanwhile; the answer stays where it belongs.
        watch.detail = None;
        let Next::Act { path, body, .. } = watch.press(Key::Enter) else { panic!() };
        assert_eq!(path, "/api/sessions/app-3/answer");
        assert_eq!(body, json!({"text": "items only", "request": "r-7"}));
    }

    #[test]
    fn a_permission_is_decided_by_two_keys_that_say_the_same() {
        let cx = crate::cx::tests::cx(std::path::Path::new("/nonexistent"));
        let mut watch = Watch::new(cx.client(), Style::plain(80), example());
        watch.detail = Some(with(
            json!({"kind": "permission", "verb": "run", "subject": "npm publish", "place": null, "reason": null, "careful": []}),
        ));
        assert_eq!(typed(&mut watch, "yn"), [Next::Stay, Next::Stay]);
        assert_eq!(watch.prompt, None);
        assert_eq!(watch.press(Key::Pasted("yy".into())), Next::Stay);
        for (keys, verb) in [("yy", "approve"), ("nn", "deny")] {
            let Some(Next::Act { path, body, .. }) = typed(&mut watch, keys).pop() else {
                panic!()
            };
            assert_eq!(path, format!("/api/sessions/app-3/{verb}"));
            assert_eq!(body, json!({"request": "r-7"}));
        }
        // What is longer than the screen is read to its end first.
        let request = &mut watch.detail.as_mut().unwrap().session.as_mut().unwrap().requests[0];
        request.full = Some("npm publish\n".repeat(30));
        assert_eq!(typed(&mut watch, "yy"), [Next::Stay, Next::Stay]);
        assert!(matches!(typed(&mut watch, "y")[0], Next::Act { .. }));
        let request = &mut watch.detail.as_mut().unwrap().session.as_mut().unwrap().requests[0];
        request.whole = false;
        assert_eq!((typed(&mut watch, "y"), &watch.prompt), (vec![Next::Stay], &None));
        let acts = typed(&mut watch, "as");
        let paths: Vec<_> = acts
            .iter()
            .map(|next| match next {
                Next::Act { path, .. } => path.as_str(),
                _ => "",
            })
            .collect();
        assert_eq!(paths, ["/api/incidents/i-142/ack", "/api/incidents/i-142/snooze"]);
        // One act after the other: none is dropped by the next key.
        watch.busy = true;
        assert_eq!(typed(&mut watch, "ast"), [Next::Stay, Next::Stay, Next::Stay]);
        watch.busy = false;
        assert_eq!(typed(&mut watch, "t"), [Next::Terminal("app-3".into())]);
    }
}
