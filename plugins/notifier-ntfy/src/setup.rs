//! What `ao notify setup ntfy` needs: topics, how a phone gets to them, and what a server can do.

use std::{io, io::Read as _};

use ao_sdk::hex;
use ao_slots::{Call, PluginError, plugin};
use qrcode::{QrCode, render::unicode::Dense1x2};
use reqwest::Url;
use serde_json::Value;

use crate::{NAME, server::Server, settings::Settings};

/// What is said of a server that cannot change what it has sent.
pub const TOO_OLD: &str = "Settled messages stay on the phone (server < 2.16).";

/// Two topics whose names nobody guesses: 128 bits each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// For `topic`: the phone subscribes to it.
    pub send: String,
    /// For `replyTopic`: nobody but `ao` reads it.
    pub reply: String,
}

/// Makes two topics of the system's random numbers.
pub fn topics() -> io::Result<Topics> {
    let mut random = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
    let name = |bits: &[u8]| format!("ao-{}", hex(bits));
    Ok(Topics { send: name(&random[..16]), reply: name(&random[16..]) })
}

/// Where a browser shows the topic, and what one types into the app.
pub fn address(server: &str, topic: &str) -> String {
    format!("{}/{topic}", server.trim_end_matches('/'))
}

/// What the app opens by itself: ntfy's documentation, "ntfy:// links". None where the server's address is none.
pub fn link(server: &str, topic: &str) -> Option<String> {
    let url = Url::parse(server).ok()?;
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let plain = if url.scheme() == "http" { "?secure=false" } else { "" };
    Some(format!("ntfy://{}{port}/{topic}{plain}", url.host_str()?))
}

/// A text as a QR code for a dark terminal, two modules a character. None where it is too long for one.
pub fn qr(text: &str) -> Option<String> {
    let code = QrCode::new(text).ok()?;
    let mut picture = code.render::<Dense1x2>();
    // A phone looks for dark on light; the letters of a dark terminal are the light.
    Some(picture.dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}

/// What was found at a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// It can change what it has sent; if not, `edits: false` belongs into the settings, and [`TOO_OLD`] is to be said.
    pub edits: bool,
    /// It is open to everybody: no code goes through it, and no button that could do harm.
    pub public: bool,
}

/// Looks at the server of these settings, with their rights. Nothing is published.
pub async fn probe(settings: &Value, call: &Call) -> Result<Found, PluginError> {
    let server = Server::new(plugin::settings::<Settings>(NAME, settings)?.target()?)?;
    server.look(call).await?;
    Ok(Found { edits: server.updates(), public: server.target.public })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s20_topics_are_passwords_of_128_bits_and_never_the_same() {
        let topics: Vec<Topics> = (0..50).map(|_| super::topics().unwrap()).collect();
        let mut names: Vec<&String> =
            topics.iter().flat_map(|topics| [&topics.send, &topics.reply]).collect();
        assert!(names.iter().all(|name| name.len() == 35 && name.starts_with("ao-")));
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 100);
    }

    #[test]
    fn a_phone_is_led_to_the_topic() {
        assert_eq!(address("https://ntfy.sh/", "t"), "https://ntfy.sh/t");
        assert_eq!(link("https://ntfy.sh", "t").unwrap(), "ntfy://ntfy.sh/t");
        assert_eq!(
            link("http://10.0.0.2:2586", "t").unwrap(),
            "ntfy://10.0.0.2:2586/t?secure=false"
        );
        assert_eq!(link("ntfy", "t"), None);
        let code = qr("ntfy://ntfy.sh/ao-0123456789abcdef0123456789abcdef").unwrap();
        let widths: std::collections::BTreeSet<_> =
            code.lines().map(|line| line.chars().count()).collect();
        assert_eq!(widths.len(), 1, "{code}");
        assert!(widths.iter().all(|width| *width <= 60));
    }
}
