//! What every page has around it: the style sheet, the ways to other pages, who looks.

use std::sync::LazyLock;

use ao_core::slots::Seq;
use askama::Template;
use axum::{
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
};

use crate::assets;

/// The style sheet: one request, whatever it is made of.
pub(crate) const SHEET: &str = concat!(
    include_str!("../../ui/style/tokens.css"),
    include_str!("../../ui/style/parts.css"),
    include_str!("../../ui/style/pages.css"),
    include_str!("../../ui/style/live.css"),
);

/// Where the style sheet lies, seen from the root; another content is another address.
pub(crate) static STYLE: LazyLock<String> = LazyLock::new(|| {
    // FNV-1a: tells versions apart, no more is asked of it.
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    let hash = SHEET.bytes().fold(0xcbf2_9ce4_8422_2325, step);
    format!("ui/style-{hash:016x}.css")
});

/// Serves the style sheet.
pub(crate) async fn style() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "text/css; charset=utf-8"),
        (header::CACHE_CONTROL, assets::FOR_GOOD),
    ];
    (headers, SHEET)
}

/// Which of the pages that the navigation names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// What wants a human.
    Attention,
    /// None of them.
    Elsewhere,
}

/// A line of the navigation.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) href: String,
    pub(crate) label: &'static str,
    pub(crate) here: bool,
    pub(crate) count: Option<u32>,
}

/// The frame of a page.
#[derive(Debug)]
pub(crate) struct Shell {
    /// The way from this page to the root: a proxy may show us below a path of its own.
    pub(crate) root: &'static str,
    /// What the page is called.
    pub(crate) title: String,
    /// Where it is in the navigation.
    pub(crate) place: Place,
    /// How many things want a human.
    pub(crate) wanted: u32,
    /// Who looks.
    pub(crate) who: String,
    /// He came with a cookie, which he can give up.
    pub(crate) can_leave: bool,
    /// The script of the pages; none where it was not built.
    pub(crate) script: Option<&'static str>,
    /// The last event that the page knows of.
    pub(crate) seq: Option<Seq>,
}

impl Shell {
    pub(crate) fn style(&self) -> &'static str {
        &STYLE
    }

    pub(crate) fn home(&self) -> &'static str {
        if self.root.is_empty() { "./" } else { self.root }
    }

    pub(crate) fn places(&self) -> [Way; 1] {
        [Way {
            href: self.home().to_owned(),
            label: "Attention",
            here: self.place == Place::Attention,
            count: (self.wanted > 0).then_some(self.wanted),
        }]
    }
}

/// A page, or a part of it, as an answer.
pub(crate) fn answer(status: StatusCode, html: askama::Result<String>) -> Response {
    match html {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// What went wrong, in its three parts.
#[derive(Debug, Template)]
#[template(path = "problem.html")]
pub(crate) struct ProblemPage {
    pub(crate) shell: Shell,
    pub(crate) title: String,
    pub(crate) cause: Option<String>,
    pub(crate) remedy: Option<String>,
    /// The same may work later.
    pub(crate) again: bool,
}
