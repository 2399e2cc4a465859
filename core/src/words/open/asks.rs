//! What an agent asks: questions, permissions, dialogs.

use ao_slots::{
    agent::{Ask, LONGER},
    notifier::{Block, Button, ButtonStyle, ChannelKind, Form},
    text::{cut, cut_counted, length, one_line},
};

use jiff::{SignedDuration, Timestamp};

use super::{
    super::phrase::{
        LABEL, VERBATIM, asked_for, asked_in_title, button, capital, clean_line, confirmed, form,
        hides, in_title, kill_button, last_lines, open_button, primary, text_button, verbatim,
    },
    super::{Card, Words},
    text,
};
use crate::{
    event::Text,
    state::{Incident, Request, Session},
};

impl Words<'_> {
    pub(in crate::words) fn needs_input(&self, incident: &Incident, session: &Session) -> Card {
        match incident.request.and_then(|id| session.requests.get(&id)) {
            Some(request) => match &request.ask {
                Ask::Question { .. } => self.question(session, request),
                Ask::Permission { .. } => self.permission(session, request),
            },
            None => {
                match (incident.detail.as_deref(), &session.activity_text, &session.suspected) {
                    (Some("setup"), Some(dialog), _) => self.setup(session, dialog),
                    (Some("suspected"), _, Some((line, when))) => {
                        let (id, line) = (&session.id, self.whole(line));
                        let seen = self.at(when.at);
                        Card {
                            title: format!("{id} seems to ask: {}", in_title(&line)),
                            short: format!("Seen on its screen{seen}; it told nothing itself."),
                            body: vec![
                                Block::Quote(verbatim(&line)),
                                text("Only its screen looks so; it told nothing itself."),
                                text("Tried: nothing; ao types nothing while this is unclear."),
                            ],
                            ..self.in_terminal(session)
                        }
                    }
                    (detail, ..) => {
                        let (asks, what) = match detail {
                            Some("question") => ("asks something", "Its question is open"),
                            _ => ("waits for a permission", "Its dialog is open"),
                        };
                        let since = self.since(session.activity.since.at);
                        let id = &session.id;
                        Card {
                            title: format!("{id} {asks} in its terminal"),
                            short: format!("{what}{since}. Answer it there."),
                            body: vec![
                                text(format!("{what}{since}.")),
                                text("Tried: nothing, only you can answer."),
                            ],
                            ..self.in_terminal(session)
                        }
                    }
                }
            }
        }
    }

    /// What only a look into the terminal can settle.
    pub(in crate::words) fn in_terminal(&self, session: &Session) -> Card {
        Card {
            buttons: vec![
                Button { style: ButtonStyle::Primary, ..open_button() },
                kill_button(session),
            ],
            command: Some(format!("ao session attach {}", session.id)),
            ..Card::default()
        }
    }

    pub(in crate::words) fn question(&self, session: &Session, request: &Request) -> Card {
        let Ask::Question { text: question, options, many } = &request.ask else {
            return Card::default();
        };
        let id = &session.id;
        let (whole, _) = self.request_text(request, question);
        let options: Vec<String> =
            options.iter().map(|option| one_line(&asked_for(option))).collect();
        let numbered: Vec<String> =
            options.iter().zip(1..).map(|(option, n)| format!("{n} {option}")).collect();
        let asked = self.asked_at(request);
        let since = self.since(asked);
        let waits = format!("Waits{since}.");
        let mut body = vec![Block::Quote(cut_counted(&whole, VERBATIM))];
        if !numbered.is_empty() {
            body.push(Block::List(numbered.clone()));
        }
        let stopped = match session
            .usage
            .summary
            .as_deref()
            .map(clean_line)
            .filter(|line| !line.is_empty())
        {
            Some(summary) => format!("It stopped at \"{}\" and waits", cut(&summary, 80)),
            None => "It waits".into(),
        };
        let more = if *many { " Several may be chosen." } else { "" };
        let age = self.age(asked);
        body.push(text(format!(
            "{stopped}{since} ({age}).{more} Tried: nothing, only you can answer."
        )));
        let choices =
            if numbered.is_empty() { vec![] } else { vec![format!("{}.", numbered.join(" · "))] };
        let careful = hides(&whole).or_else(|| hides(&numbered.concat()));
        let careful = careful.map(|why| format!("Careful: {why}."));
        body.extend(careful.clone().map(Block::Text));
        let mut buttons = if *many { vec![] } else { choice_buttons(&options) };
        let ask = Form {
            prompt: cut_counted(&whole, VERBATIM),
            options: if *many { vec![] } else { options.clone() },
            ..form(id, "Answer", "Send answer")
        };
        buttons.push(text_button("answer", "Answer…", ask));
        buttons.push(open_button());
        Card {
            title: format!("{id} asks: {}", asked_in_title(&whole)),
            short: careful.into_iter().chain(choices).chain([waits]).collect::<Vec<_>>().join(" "),
            body,
            buttons,
            // A number would be an answer if it were pasted.
            command: Some(format!("ao answer {id} \"…\"")),
        }
    }

    /// Since when there is the need.
    pub(in crate::words) fn began(&self, incident: &Incident) -> Timestamp {
        let session =
            super::super::session_of(incident).and_then(|id| self.state.sessions.get(&id));
        let request = incident.request.and_then(|id| session?.requests.get(&id));
        request.map_or(incident.opened.at, |request| self.asked_at(request))
    }

    /// When it was asked: a hook that found no server tells it later, and when it was started.
    pub(in crate::words) fn asked_at(&self, request: &Request) -> Timestamp {
        let opened = request.opened;
        let told =
            i64::try_from(opened.awake).unwrap_or(i64::MAX).saturating_sub(self.state.offset_ms);
        let asked = request.hook.and_then(|us| i64::try_from(us / 1_000).ok());
        // Less is the way through the loop; after another boot the clocks have nothing in common.
        let late = told.saturating_sub(asked.unwrap_or(told));
        let late = if (5_000..7 * 86_400_000).contains(&late) { late } else { 0 };
        opened.at.checked_sub(SignedDuration::from_millis(late)).unwrap_or(opened.at)
    }

    /// The whole of what is asked, and whether it is the whole: its blob, where the event holds only the
    /// beginning.
    fn request_text(&self, request: &Request, beginning: &str) -> (String, bool) {
        let whole = request.full.as_ref().and_then(|blob| (self.text)(blob));
        let all = whole.is_some() || request.full.is_none();
        (asked_for(whole.as_deref().unwrap_or(beginning)), all)
    }

    pub(in crate::words) fn permission(&self, session: &Session, request: &Request) -> Card {
        let Ask::Permission { verb, subject, place, reason, careful } = &request.ask else {
            return Card::default();
        };
        let (id, verb) = (&session.id, clean_line(verb));
        let (whole, all) = self.request_text(request, subject);
        let place = place.as_deref().map(|place| format!("in {}", one_line(&asked_for(place))));
        let mut careful: Vec<String> = careful.iter().map(|why| clean_line(why)).collect();
        let hidden = hides(&whole).or_else(|| hides(place.as_deref().unwrap_or_default()));
        careful.extend(hidden.filter(|why| !careful.iter().any(|c| c == why)).map(str::to_owned));
        let all = all && !careful.iter().any(|why| why == LONGER);
        let warning = (!careful.is_empty()).then(|| format!("Careful: {}.", careful.join("; ")));
        let rule = format!("Not on the allowed list of {}.", session.project);

        let title = format!("{id} wants to {verb}: {}", asked_in_title(&whole));
        let short = |cut: Option<&str>| {
            let place = place.as_deref().map(|place| format!("{}.", capital(place)));
            let parts = [warning.clone(), cut.map(str::to_owned), place];
            let parts: Vec<String> = parts.into_iter().flatten().collect();
            if parts.is_empty() { rule.clone() } else { parts.join(" ") }
        };
        let shown = all && self.shows(&title, &short(None), &whole);
        let not_all = (!shown).then_some("Not all of it is shown here: open it and look.");

        let mut body = vec![Block::Code(cut_counted(&whole, VERBATIM))];
        body.extend(place.clone().map(Block::Text));
        if let Some(reason) = reason.as_deref().map(clean_line).filter(|reason| !reason.is_empty())
        {
            body.push(text(format!("The agent says: \"{}\"", cut(&reason, 300))));
        }
        body.extend(warning.clone().map(Block::Text));
        body.extend(not_all.map(text));
        body.push(text(rule.clone()));
        let approve = match careful.is_empty() {
            true => primary("approve", "Approve once"),
            false => {
                let question = format!("Let {id} {verb} this once?");
                confirmed(button("approve", "Approve once"), question, "Approve once", "Not now")
            }
        };
        let reason = Form { required: false, ..form(id, "Deny", "Deny") };
        let deny =
            [button("deny", "Deny"), text_button("deny-reason", "Deny with reason…", reason)];
        // Nobody approves what he cannot see.
        let open = Button { style: ButtonStyle::Primary, ..open_button() };
        let buttons = match shown {
            true => [approve].into_iter().chain(deny).chain([open_button()]).collect(),
            false => [open].into_iter().chain(deny).collect(),
        };
        let command = match shown {
            true => format!("ao approve {id} {}", request.id),
            false => format!("ao session show {id}"),
        };
        Card { title, short: short(not_all), body, buttons, command: Some(command) }
    }

    /// Whether the channel shows the whole of what a human decides on. A small one shows title and short text,
    /// each on one line; what the title does not hold goes on in the body.
    pub(super) fn shows(&self, title: &str, short: &str, whole: &str) -> bool {
        let Some(channel) = self.channel else { return length(whole) <= VERBATIM };
        let (title_limit, body_limit) = (channel.title_limit as usize, channel.body_limit as usize);
        match channel.kind {
            ChannelKind::Desktop | ChannelKind::Phone => {
                let together = length(title) + length(short);
                !whole.is_empty()
                    && title.ends_with(whole)
                    && length(short) <= body_limit
                    && (length(title) <= title_limit || together <= body_limit)
            }
            ChannelKind::Chat | ChannelKind::Mail | ChannelKind::Webhook => {
                length(whole) <= VERBATIM.min(body_limit)
            }
        }
    }

    pub(in crate::words) fn setup(&self, session: &Session, dialog: &Text) -> Card {
        let screen = self.whole(dialog);
        let asks = screen
            .lines()
            .find(|line| line.contains('?'))
            .or_else(|| screen.lines().next())
            .unwrap_or_default();
        Card {
            title: format!("{} waits for a set-up question of {}", session.id, session.agent),
            short: format!("\"{}\" Answer it in the terminal.", cut(&clean_line(asks), 120)),
            body: vec![Block::Code(last_lines(&screen, 8)), text("ao presses nothing here.")],
            ..self.in_terminal(session)
        }
    }
}

/// A button for each of the first two choices. Where a label would not tell it from another, its number leads.
fn choice_buttons(options: &[String]) -> Vec<Button> {
    let others = ["Answer…", "Open"];
    let alike = |a: &str, b: &str| a.to_lowercase() == b.to_lowercase();
    let first = &options[..options.len().min(2)];
    let unclear = |option: &String| {
        option.is_empty() || length(option) > LABEL || others.iter().any(|o| alike(o, option))
    };
    let numbered = first.iter().any(unclear) || first.len() == 2 && alike(&first[0], &first[1]);
    let label = |n: usize, option: &str| match numbered {
        true => format!("{n} {option}"),
        false => option.to_owned(),
    };
    (1..).zip(first).map(|(n, o)| button(&format!("answer:{n}"), &label(n, o))).collect()
}
