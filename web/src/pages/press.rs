//! The page behind a link in a message: what a button would do, and the button. A GET changes nothing, so that whoever
//! looks at links before a human does (a mail filter, a preview) presses none.

use std::sync::Arc;

use ao_core::{
    server::Pressable,
    slots::notifier::{Block, Button, ButtonStyle, Mark, Message},
};
use askama::Template;
use axum::{
    Form,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use super::{part::Sign, shell};
use crate::{Api, caller::actor};

/// The words of an answer.
#[derive(Debug, Deserialize)]
pub(crate) struct Words {
    #[serde(default)]
    choice: String,
    #[serde(default)]
    text: String,
}

/// A page with a question, or with what came of it.
#[derive(Template)]
#[template(path = "press.html")]
struct Page<'a> {
    sign: Sign,
    title: &'a str,
    body: &'a [Block],
    button: Option<&'a Button>,
    note: &'a str,
    meta: String,
}

impl Page<'_> {
    fn style(&self) -> &'static str {
        &shell::STYLE
    }

    fn answer(&self, status: StatusCode) -> Response {
        shell::answer(status, self.render())
    }
}

/// Shows what the button would do.
pub(crate) async fn show(State(api): State<Arc<Api>>, Path(token): Path<String>) -> Response {
    match api.handle.pressable(&token) {
        Pressable::Ready { message, button } => ready(&message, &button),
        Pressable::Over { message, why } => over(StatusCode::GONE, message.as_deref(), &why),
        Pressable::Unknown => unknown(),
    }
}

/// Presses it.
pub(crate) async fn press(
    State(api): State<Arc<Api>>,
    Path(token): Path<String>,
    headers: HeaderMap,
    form: Result<Form<Words>, axum::extract::rejection::FormRejection>,
) -> Response {
    let Ok(Form(words)) = form else { return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response() };
    // A program without a page of ours has no business here.
    if !headers.contains_key(header::ORIGIN) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let (message, button) = match api.handle.pressable(&token) {
        Pressable::Ready { message, button } => (message, button),
        Pressable::Over { message, why } => {
            return over(StatusCode::GONE, message.as_deref(), &why);
        }
        Pressable::Unknown => return unknown(),
    };
    let said = [words.text.trim(), words.choice.trim()].into_iter().find(|text| !text.is_empty());
    if button.form.as_ref().is_some_and(|form| form.required) && said.is_none() {
        return ready(&message, &button);
    }
    match api.handle.press(&token, said.map(str::to_owned), &actor().name).await {
        Ok(None) => done(&message, &button),
        Ok(Some(note)) => over(StatusCode::CONFLICT, Some(&message), &note),
        Err(refusal) => over(StatusCode::CONFLICT, Some(&message), &refusal.to_string()),
    }
}

fn ready(message: &Message, button: &Button) -> Response {
    let page = Page {
        sign: message.mark.into(),
        title: &message.title,
        body: &message.body,
        button: Some(button),
        note: "",
        meta: message.meta.join(" · "),
    };
    page.answer(StatusCode::OK)
}

fn done(message: &Message, button: &Button) -> Response {
    let label = button.label.trim_end_matches('…');
    let note = match message.kind.as_str() {
        "test" => format!("{label}: your machine knows."),
        _ => format!("{label}: done. The message says what came of it."),
    };
    let page = Page {
        sign: Mark::Settled.into(),
        title: &message.title,
        body: &[],
        button: None,
        note: &note,
        meta: message.meta.join(" · "),
    };
    page.answer(StatusCode::OK)
}

fn over(status: StatusCode, message: Option<&Message>, why: &str) -> Response {
    let page = Page {
        sign: Mark::Failed.into(),
        title: message.map_or("Nothing was done", |message| &message.title),
        body: &[],
        button: None,
        note: why,
        meta: message.map(|message| message.meta.join(" · ")).unwrap_or_default(),
    };
    page.answer(status)
}

fn unknown() -> Response {
    over(StatusCode::NOT_FOUND, None, "This button is not known here. At your machine: ao status")
}
