//! What an agent asks: questions, permissions, dialogs.

use ao_slots::{
    agent::Ask,
    notifier::{Block, Button, ButtonStyle},
    text::cut,
};

use super::{
    super::phrase::{
        button, clean_line, confirmed, in_title, kill_button, last_lines, open_button, primary,
        text_button, verbatim,
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
        let whole = self.request_text(request, question);
        let options: Vec<String> = options.iter().map(|option| clean_line(option)).collect();
        let numbered: Vec<String> =
            options.iter().zip(1..).map(|(option, n)| format!("{n} {option}")).collect();
        let since = self.since(request.opened.at);
        let waits = format!("Waits{since}.");
        let mut body = vec![Block::Quote(verbatim(&whole))];
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
        let age = self.age(request.opened.at);
        body.push(text(format!(
            "{stopped}{since} ({age}).{more} Tried: nothing, only you can answer."
        )));
        let mut buttons: Vec<Button> = match many {
            true => vec![],
            false => (1..)
                .zip(&options)
                .take(2)
                .map(|(n, o)| button(&format!("answer:{n}"), o))
                .collect(),
        };
        buttons.push(text_button("answer", "Answer…"));
        buttons.push(open_button());
        Card {
            title: format!("{id} asks: {}", in_title(&whole)),
            short: if numbered.is_empty() {
                waits
            } else {
                format!("{}. {waits}", numbered.join(" · "))
            },
            body,
            buttons,
            command: Some(format!("ao answer {id} \"…\"")),
        }
    }

    /// The whole of what is asked: its blob, where the event holds only the beginning.
    pub(in crate::words) fn request_text(&self, request: &Request, beginning: &str) -> String {
        self.whole(&Text { excerpt: beginning.to_owned(), blob: request.full.clone() })
    }

    pub(in crate::words) fn permission(&self, session: &Session, request: &Request) -> Card {
        let Ask::Permission { verb, subject, place, reason, careful } = &request.ask else {
            return Card::default();
        };
        let id = &session.id;
        let whole = self.request_text(request, subject);
        let place = place.as_deref().map(|place| format!("in {}", clean_line(place)));
        let mut body = vec![Block::Code(verbatim(&whole))];
        body.extend(place.clone().map(Block::Text));
        if let Some(reason) = reason.as_deref().map(clean_line).filter(|reason| !reason.is_empty())
        {
            body.push(text(format!("The agent says: \"{}\"", cut(&reason, 300))));
        }
        if !careful.is_empty() {
            let why: Vec<String> = careful.iter().map(|why| clean_line(why)).collect();
            body.push(text(format!("Careful: {}.", why.join("; "))));
        }
        body.push(text(format!("Not on the allowed list of {}.", session.project)));
        let approve = match careful.is_empty() {
            true => primary("approve", "Approve once"),
            false => {
                let question = format!("Let {id} {} this once?", clean_line(verb));
                confirmed(button("approve", "Approve once"), question, "Approve once", "Not now")
            }
        };
        let short = [Some(cut(&clean_line(&whole), 120)), place]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" ");
        Card {
            title: format!("{id} wants to {}: {}", clean_line(verb), in_title(&whole)),
            short,
            body,
            buttons: vec![
                approve,
                button("deny", "Deny"),
                text_button("deny-reason", "Deny with reason…"),
                open_button(),
            ],
            command: Some(format!("ao approve {id} {}", request.id)),
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
