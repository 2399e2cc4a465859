//! The scripts of the pages, which `scripts/web` builds and the program carries. Their names tell their content, so a
//! browser keeps them for good.

use axum::{
    extract::Path,
    http::header,
    response::{IntoResponse, Response},
};

use crate::{Code, Problem};

/// Name and content of each; none where they were not built.
static SCRIPTS: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/scripts.rs"));

/// For what another content would have another name.
pub(crate) const FOR_GOOD: &str = "public, max-age=31536000, immutable";

/// The one that each page loads; none where they were not built.
pub(crate) fn script() -> Option<&'static str> {
    SCRIPTS.iter().map(|(name, _)| *name).find(|name| name.starts_with("main-"))
}

/// Serves what is listed, and nothing else: no name leads to a file.
pub(crate) async fn serve(Path(name): Path<String>) -> Response {
    let Some((_, content)) = SCRIPTS.iter().find(|(listed, _)| *listed == name) else {
        return Problem::new(Code::NotFound, "there is nothing here").into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (header::CACHE_CONTROL, FOR_GOOD),
    ];
    (headers, *content).into_response()
}

#[cfg(test)]
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    SCRIPTS.iter().map(|(name, _)| *name)
}
