//! The parts that pages are made of. All text in them is escaped by the templates; what stands in a part of its own was
//! escaped there.

use ao_core::{
    event::Subject,
    slots::{
        IncidentId,
        notifier::{Action, Block, Button, ButtonStyle, Mark, Message},
        text::{cut, duration, length, one_line},
    },
    state::{Incident, Now, Zone},
    words::local_time,
};
use askama::{Template, filters::HtmlSafe};
use jiff::{Timestamp, tz::TimeZone};

/// A mark with its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Template)]
#[template(path = "parts/sign.html")]
pub(crate) struct Sign {
    /// Names the shape and its colour.
    pub(crate) class: &'static str,
}

impl HtmlSafe for Sign {}

impl From<Mark> for Sign {
    fn from(mark: Mark) -> Self {
        let class = match mark {
            Mark::Need => "need",
            Mark::Decide => "decide",
            Mark::Slow => "slow",
            Mark::Working => "working",
            Mark::Finished => "over",
            Mark::Settled => "settled",
            Mark::Failed => "failed",
        };
        Self { class }
    }
}

impl From<Zone> for Sign {
    fn from(zone: Zone) -> Self {
        ao_core::why::mark_of(zone).into()
    }
}

impl Sign {
    /// What the shape says.
    pub(crate) fn word(&self) -> &'static str {
        match self.class {
            "need" => "Needs you",
            "decide" => "Decide",
            "slow" => "Not going well",
            "working" => "Working",
            "over" => "Finished",
            "settled" => "Settled",
            _ => "Did not work",
        }
    }
}

/// A moment, as `<time>`.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(
    source = r#"<time class="small muted" datetime="{{ iso }}" title="{{ full }}">{{ text }}</time>"#,
    ext = "html"
)]
pub(crate) struct When {
    iso: Timestamp,
    full: String,
    text: String,
}

impl HtmlSafe for When {}

impl When {
    /// How long ago it was; the day where that is longer than two days.
    pub(crate) fn ago(at: Timestamp, now: Now, zone: &TimeZone) -> Self {
        let seconds = u64::try_from(now.wall.duration_since(at).as_secs()).unwrap_or(0);
        let text = match seconds {
            0..172_800 => duration(seconds),
            _ => local_time(at, now, zone, "%H:%M"),
        };
        Self { text, ..Self::at(at, now, zone, "%H:%M:%S") }
    }

    /// By the clock, for whoever knows the day.
    pub(crate) fn clock(at: Timestamp, zone: &TimeZone) -> Self {
        let local = at.to_zoned(zone.clone());
        let full = local.strftime("%a %-d %b %Y %H:%M:%S %Z").to_string();
        Self { iso: at, full, text: local.strftime("%H:%M:%S").to_string() }
    }

    /// By the clock, with the day where it is another.
    pub(crate) fn at(at: Timestamp, now: Now, zone: &TimeZone, clock: &str) -> Self {
        let full = at.to_zoned(zone.clone()).strftime("%a %-d %b %Y %H:%M:%S %Z").to_string();
        Self { iso: at, full, text: local_time(at, now, zone, clock) }
    }
}

/// Verbatim text that a card does not show whole at once.
pub(crate) struct Long;

impl Long {
    const LINES: usize = 6;
    const CHARACTERS: usize = 480;

    /// Its beginning; none where it is short.
    pub(crate) fn of(text: &str) -> Option<String> {
        let end = text.match_indices('\n').nth(Self::LINES - 1).map(|(at, _)| at);
        match end {
            None if length(text) <= Self::CHARACTERS => None,
            end => {
                let lines = end.map_or(text, |end| &text[..end]);
                let beginning = cut(lines, Self::CHARACTERS);
                Some(if beginning.ends_with('…') {
                    beginning
                } else {
                    format!("{beginning} …")
                })
            }
        }
    }
}

/// One need, or one thing to know.
#[derive(Debug)]
pub(crate) struct Card {
    pub(crate) sign: Sign,
    /// Its id in the page.
    pub(crate) dom: String,
    /// What wants a human, so that nobody presses for another; none = nobody was called yet.
    pub(crate) incident: Option<IncidentId>,
    /// Whose events change it: `s:app-3`, `i:142`.
    pub(crate) live: String,
    /// Where its title leads, seen from the root.
    pub(crate) href: String,
    pub(crate) title: String,
    pub(crate) since: When,
    pub(crate) task: String,
    pub(crate) body: Vec<Block>,
    /// What is long is folded.
    pub(crate) folds: bool,
    pub(crate) acts: Option<Acts>,
    pub(crate) command: Option<String>,
    pub(crate) meta: String,
}

/// An address elsewhere, as others tell it: a page for a browser and nothing else that it can open.
pub(crate) fn outside(url: Option<String>) -> Option<String> {
    url.filter(|url| ["https://", "http://"].iter().any(|web| url.starts_with(web)))
}

/// A title without the words that stand verbatim below it.
pub(crate) fn heading(title: &str, body: &[Block]) -> String {
    let verbatim = body.first().and_then(|block| match block {
        Block::Quote(text) | Block::Code(text) => Some(one_line(text)),
        Block::Text(_) | Block::List(_) => None,
    });
    let repeats = |tail: &str| {
        verbatim
            .as_ref()
            .is_some_and(|text| text.starts_with(tail.trim_end_matches('…').trim_end()))
    };
    match title.split_once(": ") {
        Some((who, tail)) if repeats(tail) => who.to_owned(),
        _ => title.to_owned(),
    }
}

/// What a message says without the choices that have a button each.
pub(crate) fn body(message: &mut Message) -> Vec<Block> {
    let choices = message.buttons.iter().filter(|b| b.id.starts_with("answer:")).count();
    let said = |block: &Block| matches!(block, Block::List(lines) if lines.len() == choices);
    std::mem::take(&mut message.body).into_iter().filter(|block| !said(block)).collect()
}

/// A button of a card.
#[derive(Debug)]
pub(crate) struct Act {
    button: Button,
    /// Its place among the card's buttons: names what it opens.
    place: usize,
}

impl Act {
    fn asks(&self) -> bool {
        self.button.form.is_some() || self.button.confirm.is_some()
    }

    fn label(&self) -> &str {
        &self.button.label
    }

    fn style(&self) -> &'static str {
        match self.button.style {
            ButtonStyle::Plain => "",
            ButtonStyle::Primary => "primary",
            ButtonStyle::Danger => "danger",
        }
    }

    fn place_in_menu(&self) -> &'static str {
        if self.button.style == ButtonStyle::Danger { "end" } else { "" }
    }

    fn sure(&self) -> &'static str {
        if self.button.style == ButtonStyle::Danger { "danger" } else { "primary" }
    }

    fn no(&self) -> &str {
        self.button.confirm.as_ref().map_or("Not now", |confirm| &confirm.no)
    }
}

/// What can be done: the buttons of a message. What needs words or a second look opens a sheet.
#[derive(Debug, Template)]
#[template(path = "parts/acts.html")]
pub(crate) struct Acts {
    action: String,
    key: String,
    from: Back,
    dom: String,
    about: String,
    first: Vec<Act>,
    more: Vec<Act>,
    /// The one whose words are asked for on the page itself.
    inline: Option<Act>,
    /// Where all of what is decided on can be read first.
    read_first: Option<String>,
}

impl HtmlSafe for Acts {}

/// Buttons that stand on a card; with more than these the last place is that of the menu.
const FIRST: usize = 4;

impl Acts {
    /// For what is sent to `action`; none where there is nothing to do.
    pub(crate) fn new(
        action: String,
        dom: String,
        about: String,
        buttons: Vec<Button>,
        key: &str,
        from: Back,
    ) -> Option<Self> {
        let acts = buttons.into_iter().enumerate().map(|(place, button)| Act { button, place });
        let (mut more, mut first): (Vec<_>, Vec<_>) = acts.partition(|act| act.button.more);
        if first.is_empty() {
            // Nothing but the rare things can be done: they need no menu.
            std::mem::swap(&mut first, &mut more);
        }
        if first.is_empty() {
            return None;
        }
        if first.len() + usize::from(!more.is_empty()) > FIRST {
            more.splice(0..0, first.split_off(FIRST - 1));
        }
        Some(Self {
            action,
            key: key.to_owned(),
            from,
            dom,
            about,
            first,
            more,
            inline: None,
            read_first: None,
        })
    }

    /// The buttons of an incident's card.
    pub(crate) fn about(
        root: &str,
        incident: &Incident,
        message: &mut Message,
        key: &str,
        from: Back,
    ) -> Option<Self> {
        let about = match &incident.subject {
            Subject::Session(id) => id.to_string(),
            _ => message.title.clone(),
        };
        let number = incident.id.0;
        let buttons = std::mem::take(&mut message.buttons);
        Self::new(format!("{root}i/{number}/act"), format!("i{number}"), about, buttons, key, from)
    }

    /// With the words of this button asked for at once; what has a button of its own is no choice there.
    #[must_use]
    pub(crate) fn asking_at_once(mut self, id: &str) -> Self {
        let Some(at) = self.first.iter().position(|act| act.button.id == id) else { return self };
        let mut act = self.first.remove(at);
        let of_choice = |act: &&Act| act.button.id.starts_with("answer:");
        let choices = self.first.iter().filter(of_choice).count();
        if let Some(form) = &mut act.button.form
            && form.options.len() == choices
        {
            form.options.clear();
            form.required = true;
        }
        self.inline = Some(act);
        self
    }

    /// Without the button that lets through what is not all seen here: it is read where it stands whole.
    #[must_use]
    pub(crate) fn read_first(mut self, whole: String) -> Self {
        let lets_through =
            |act: &Act| matches!(act.button.action, Action::Approve | Action::Release);
        if self.first.iter().any(lets_through) {
            self.first.retain(|act| !lets_through(act));
            self.read_first = Some(whole);
        }
        self
    }

    fn asking(&self) -> impl Iterator<Item = &Act> {
        self.first.iter().chain(&self.more).filter(|act| act.asks())
    }
}

/// The page that holds a form: there one comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Back {
    /// `/`.
    Attention,
    /// `/s/…`.
    Session,
    /// `/i/…`.
    Incident,
}

impl std::fmt::Display for Back {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Attention => "attention",
            Self::Session => "session",
            Self::Incident => "incident",
        })
    }
}
