//! What forms ask for. Each form carries the key of its page: however often it is sent, it is done once. Who sent it comes
//! back to the page that held it, or sees why nothing was done, with his words.

use std::sync::Arc;

use ao_core::{
    decide::{Answered, Input, Refusal, RefusalKind},
    event::{Actor, Failure, Subject, digest},
    slots::SessionId,
    words,
};
use axum::{
    Form,
    extract::{Path, State, rejection::FormRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use super::{Looker, Number, incident, incident::Note, part::Back, session};
use crate::{Api, Code, Problem, caller::Human};

/// What a form says.
#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    /// Which button.
    button: String,
    /// Its words.
    #[serde(default)]
    text: String,
    /// The number of a choice.
    #[serde(default)]
    choice: String,
    /// The page's key.
    act: String,
    from: Back,
}

impl Asked {
    fn read(form: Result<Form<Self>, FormRejection>) -> Result<Self, Problem> {
        let unreadable = |error: FormRejection| {
            let mut problem = Problem::new(Code::Invalid, "the form could not be read");
            problem.status = error.status().as_u16();
            problem.because(error.body_text())
        };
        let Form(asked) = form.map_err(unreadable)?;
        if asked.act.len() > 64 || asked.button.len() > 200 {
            return Err(Problem::new(Code::Invalid, "this is no form of ao's"));
        }
        Ok(asked)
    }

    /// The button, and the words that go with it: words of one's own go before a choice.
    fn meant(&self) -> (String, &str) {
        let (text, choice) = (self.text.trim(), self.choice.trim());
        match (self.button.as_str(), text, choice) {
            ("answer", "", choice) if !choice.is_empty() => (format!("answer:{choice}"), ""),
            (button, text, _) => (button.to_owned(), text),
        }
    }

    /// Under what it is done once: the same form, sent again, is the same act, and another button of it is another.
    fn key(&self, by: &Actor, about: &str) -> String {
        let (button, text) = self.meant();
        format!("{}.{}", self.act, digest(&format!("{by} {about} {button} {text}")))
    }
}

/// Presses a button of an incident's card.
pub(crate) async fn on_incident(
    State(api): State<Arc<Api>>,
    looker: Looker,
    Human { by, handle }: Human,
    Path(Number(id)): Path<Number>,
    form: Result<Form<Asked>, FormRejection>,
) -> Result<Response, Problem> {
    let asked = Asked::read(form)?;
    let (button, text) = asked.meant();
    let handle = handle.once(&asked.key(&by, &id.to_string()));
    match handle.press_card(id, &button, text, by).await {
        Ok(Answered { note: None, .. }) => {
            let about = handle.state().incidents.get(&id).map(|it| it.subject.clone());
            let session = match about {
                Some(Subject::Session(id)) => Some(id),
                _ => None,
            };
            Ok(back(match (asked.from, session) {
                (Back::Session, Some(session)) => format!("../../s/{session}"),
                (Back::Attention, Some(session)) => format!("../../#{session}"),
                (Back::Attention, None) => format!("../../#{id}"),
                (Back::Incident | Back::Session, _) => format!("../{}", id.0),
            }))
        }
        Ok(Answered { note: Some(says), .. }) => {
            let note = Note { says, ..Note::default() };
            incident::page(&api, looker, id, "../../", StatusCode::OK, Some(note)).await
        }
        Err(refusal) if is_gone(&refusal) => Err(refusal.into()),
        Err(refusal) => {
            let session =
                handle.state().incidents.get(&id).and_then(|it| it.sessions.first().cloned());
            let note = note(&api, refusal, text, session.as_ref(), &looker);
            incident::page(&api, looker, id, "../../", StatusCode::CONFLICT, Some(note)).await
        }
    }
}

/// Does something with a session, whatever it needs.
pub(crate) async fn on_session(
    State(api): State<Arc<Api>>,
    looker: Looker,
    Human { by, handle }: Human,
    Path(id): Path<SessionId>,
    form: Result<Form<Asked>, FormRejection>,
) -> Result<Response, Problem> {
    let asked = Asked::read(form)?;
    let (button, text) = asked.meant();
    let handle = handle.once(&asked.key(&by, id.as_str()));
    let session = id.clone();
    let done = match button.as_str() {
        "send" => handle.send(session, text, by).await,
        "restore" => handle.restore(session, false, &Default::default(), by).await,
        "done" => {
            handle.look(&id).await;
            handle.submit(Input::Done { session, by }).await
        }
        "kill" => handle.submit(Input::Kill { session, force: false, by }).await,
        _ => Err(Refusal::new(RefusalKind::Invalid, "this is no form of ao's")),
    };
    match done {
        Ok(_) => Ok(back(format!("../{id}"))),
        Err(refusal) if is_gone(&refusal) => Err(refusal.into()),
        Err(refusal) => {
            let note = note(&api, refusal, text, None, &looker);
            session::page(&api, looker, id, "../../", StatusCode::CONFLICT, Some(note)).await
        }
    }
}

/// There is no page that could say it.
fn is_gone(refusal: &Refusal) -> bool {
    !matches!(refusal.kind, RefusalKind::Conflict | RefusalKind::Invalid | RefusalKind::Unconfirmed)
}

/// Why nothing was done. Words that went nowhere are kept, and can go to the session all the same where it still runs.
fn note(
    api: &Api,
    refusal: Refusal,
    text: &str,
    session: Option<&SessionId>,
    looker: &Looker,
) -> Note {
    let runs =
        |id: &&SessionId| api.handle.state().sessions.get(*id).is_some_and(|s| !s.has_ended());
    let send_to = session.filter(runs).filter(|_| !text.is_empty());
    Note {
        says: words::refusal(&Failure::refused(refusal.message, None)),
        remedy: refusal.remedy,
        draft: text.to_owned(),
        send_to: send_to.map(|id| format!("s/{id}/act")),
        key: looker.key.clone(),
    }
}

/// To the page that one came from. A GET follows, so that a reload sends nothing again.
fn back(to: String) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response()
}
