//! What can be set, and what of it text alone can tell.

use std::{collections::BTreeMap, fmt};

use ao_sdk::{
    Secret,
    http::{self, REMEDY},
};
use ao_slots::PluginError;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::{
    Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::NAME;

/// What can be set under `notifiers.<name>` beside `plugin: webhook`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// Where to post, http or https.
    pub url: Secret,
    /// Signs each request; `whsec_` and base64, or any text. Unsigned without it.
    #[serde(default)]
    pub secret: Option<Secret>,
    /// Lets the address be this machine or one in a private network.
    #[serde(default)]
    pub allow_private: bool,
    /// More headers for each request, e.g. `authorization`.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
}

/// The key of a signature, decoded.
#[derive(Clone)]
pub(crate) struct Key(pub(crate) Vec<u8>);

/// Where the requests go, and what they carry. Checked.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) url: Url,
    /// The part of the address that may be shown.
    pub(crate) host: String,
    pub(crate) key: Option<Key>,
    pub(crate) headers: HeaderMap,
    pub(crate) allow_private: bool,
}

impl Settings {
    /// Checks what text can tell, addresses written as numbers included.
    pub(crate) fn target(&self) -> Result<Target, PluginError> {
        let invalid = |key: &str, cause: &dyn fmt::Display| {
            PluginError::permanent(format!("`{key}` of the `{NAME}` notifier is not valid"), cause)
        };
        let url = Url::parse(self.url.reveal().trim()).map_err(|error| invalid("url", &error))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid("url", &"it begins with neither https:// nor http://"));
        }
        let host = url.host_str().unwrap_or_default().to_owned();
        http::check(&url, self.allow_private)
            .map_err(|blocked| invalid("url", &blocked).with_remedy(REMEDY))?;
        let key = match &self.secret {
            Some(secret) => Some(key(secret.reveal()).map_err(|cause| invalid("secret", &cause))?),
            None => None,
        };
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let (name, value) =
                header(name, value.reveal()).map_err(|cause| invalid("headers", &cause))?;
            headers.insert(name, value);
        }
        Ok(Target { url, host, key, headers, allow_private: self.allow_private })
    }
}

/// What is behind `whsec_` decoded, any other text as it is.
fn key(secret: &str) -> Result<Key, String> {
    let bytes = match secret.strip_prefix("whsec_") {
        Some(encoded) => BASE64_STANDARD
            .decode(encoded.trim())
            .map_err(|_| "what follows `whsec_` is not base64".to_owned())?,
        None => secret.as_bytes().to_vec(),
    };
    if bytes.is_empty() { Err("it is empty".to_owned()) } else { Ok(Key(bytes)) }
}

/// Headers that say what a request is.
const OWN: [&str; 7] = [
    "content-type",
    "content-length",
    "transfer-encoding",
    "host",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
];

fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let parsed: HeaderName =
        name.parse().map_err(|_| format!("`{name}` is not the name of a header"))?;
    if OWN.contains(&parsed.as_str()) {
        return Err(format!("`{name}` is set by ao"));
    }
    let mut value = HeaderValue::from_str(value).map_err(|_| {
        format!("the value of `{name}` has a line break or another control character")
    })?;
    value.set_sensitive(true);
    Ok((parsed, value))
}
