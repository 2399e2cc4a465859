//! What a phone shows of a message: pure text, cut to what the server takes.

use std::collections::BTreeMap;

use ao_sdk::body::{self, Part, Rank, Room, cut_bytes, fit};
use ao_slots::{
    fact::Priority,
    notifier::{Action, Button, ButtonStyle, Mark, Message},
    text::{cut, length, one_line},
};
use serde::Serialize;

use crate::settings::Target;

/// Most characters of a title.
pub(crate) const TITLE: usize = 60;
/// Most bytes of a title, `message-title-size-limit` of newer servers.
const TITLE_BYTES: usize = 1024;
/// Most characters of a body.
pub(crate) const BODY: usize = 350;
/// A server makes an attachment of a text of more than 4,096 bytes, and refuses a publication of more than 8,192 as a
/// whole (`message-size-limit` and twice that): this leaves room for the buttons.
const ROOM: Room = Room { characters: BODY, bytes: 3072, lines: 8 };
/// Most buttons, `actionsMax`.
const BUTTONS: usize = 3;
/// Most characters of a button, and bytes of one with unusual ones.
const LABEL: (usize, usize) = (24, 128);
/// Most bytes of an address to open.
const CLICK: usize = 512;
/// Most bytes of a command that is shown.
const COMMAND: usize = 120;

/// No sound and no vibration, so that an edit calls nobody: ntfy's "low".
pub(crate) const QUIET: u8 = 2;

/// A publication, ntfy's "publish as JSON". No tags (some turn into emoji), no Markdown, no attachment.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Publish<'a> {
    pub(crate) topic: &'a str,
    pub(crate) title: String,
    pub(crate) message: String,
    pub(crate) priority: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) click: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) actions: Vec<HttpAction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sequence_id: Option<&'a str>,
}

/// A button: the phone sends this request when it is pressed, and takes the notification away if that worked.
#[derive(Debug, Serialize)]
pub(crate) struct HttpAction {
    action: &'static str,
    pub(crate) label: String,
    url: String,
    method: &'static str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<&'static str, String>,
    body: String,
    clear: bool,
}

/// A message for the phone.
pub(crate) fn publish<'a>(message: &'a Message, target: &'a Target) -> Publish<'a> {
    // What is over leads with its sign; what one has to do with needs none.
    let over = matches!(message.mark, Mark::Settled | Mark::Failed);
    let sign = if over { format!("{} ", message.mark.sign()) } else { String::new() };
    let (title, mut parts) = body::parts(message, TITLE - length(&sign));
    let title = format!("{sign}{title}");
    let link = message.link.as_deref();
    let click = link.filter(|link| link.starts_with("http") && link.len() <= CLICK);
    if click.is_none() {
        let command = message.command.iter().map(|command| one_line(command));
        let lines = command.filter(|command| command.len() <= COMMAND);
        parts.extend(lines.map(|line| Part(Rank::Kept, format!("At your machine: {line}"))));
    }
    Publish {
        topic: &target.topic,
        title: cut_bytes(&title, TITLE_BYTES),
        message: fit(parts, ROOM),
        priority: priority(message),
        click,
        actions: buttons(message, target),
        sequence_id: None,
    }
}

/// A plain line.
pub(crate) fn line<'a>(text: &str, target: &'a Target) -> Publish<'a> {
    Publish {
        topic: &target.topic,
        title: "ao".to_owned(),
        message: fit(vec![Part(Rank::Verbatim, body::lines(text))], ROOM),
        priority: QUIET,
        ..Publish::default()
    }
}

/// 4 rings, 5 rings on; 3 buzzes; 2 lies in the drawer.
fn priority(message: &Message) -> u8 {
    match message.priority {
        _ if message.quiet => QUIET,
        _ if message.emergency => 5,
        Priority::Urgent => 4,
        Priority::Action => 3,
        Priority::Warning | Priority::Info => QUIET,
    }
}

/// The first buttons that act by one tap. There is no dialog on a phone's lock screen, so what asks first is left out,
/// but for a merge, whose token is bound to the head that the message names. Through a public server nothing goes
/// with which its operator could do harm.
fn buttons(message: &Message, target: &Target) -> Vec<HttpAction> {
    let Some(reply) = &target.reply else { return Vec::new() };
    let acts_at_once = |button: &&Button| {
        let asks = button.confirm.is_some() || button.style == ButtonStyle::Danger;
        button.action != Action::Open
            && button.form.is_none()
            && (!asks || button.action == Action::Merge)
            && !(target.public && button.action.is_powerful())
    };
    let mut usable: Vec<&Button> = message.buttons.iter().filter(acts_at_once).collect();
    usable.sort_by_key(|button| button.more);
    let authorization = target.reply_authorization.iter();
    let headers: BTreeMap<_, _> = authorization.map(|a| ("Authorization", a.clone())).collect();
    let action = |button: &Button| HttpAction {
        action: "http",
        label: cut_bytes(&cut(&one_line(&button.label), LABEL.0), LABEL.1),
        url: format!("{}{reply}", target.server),
        method: "POST",
        headers: headers.clone(),
        body: button.id.clone(),
        clear: true,
    };
    let usable = usable.into_iter().filter(|button| !one_line(&button.label).is_empty());
    usable.take(BUTTONS).map(action).collect()
}
