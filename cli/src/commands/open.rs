//! `ao open`.

use std::os::unix::process::CommandExt;

use ao_core::slots::{SessionId, terminal::Opened};
use ao_web::{OpenBody, view::SessionList};

use super::parse_session;
use crate::{
    cx::Cx,
    fail::{Exit, Fail},
    out,
};

/// Open a session, or all of them, in your terminal program
///
/// Examples:
///   ao open app-3
///   ao open all
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Cmd {
    /// The session, or `all`
    #[arg(default_value = "all")]
    session: String,
}

/// What terminal programs are found and reached by.
const NEEDED: &[&str] = &[
    "PATH",
    "HOME",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XDG_RUNTIME_DIR",
    "XDG_CURRENT_DESKTOP",
    "DBUS_SESSION_BUS_ADDRESS",
    "XAUTHORITY",
    "TERM",
    "TERM_PROGRAM",
    "TERMINAL",
    "TMUX",
    "TMUX_PANE",
    "LANG",
];

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        let client = cx.client();
        let sessions: Vec<SessionId> = if self.session == "all" {
            let list: SessionList = client.get("/api/sessions").await?;
            list.sessions.into_iter().filter(|row| row.over.is_none()).map(|row| row.id).collect()
        } else {
            vec![parse_session(&self.session).map_err(super::usage)?]
        };
        if sessions.is_empty() {
            return Err(Fail::new(Exit::NotFound, "there is no session to open")
                .remedy("ao spawn <project> <issue>"));
        }
        let env = NEEDED
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), cx.env.get(*name)?.clone())))
            .collect();
        let body = OpenBody { sessions, env, foreground: cx.style.terminal };
        let opened: Vec<Opened> = client.post("/api/open", &body).await?;
        if cx.global.json {
            out::json(&opened);
            return Ok(0);
        }
        for (session, opened) in body.sessions.iter().zip(&opened) {
            match opened {
                Opened::Window => out::say(&format!("{session} is open")),
                Opened::Hint(hint) => out::say(hint),
                Opened::RunHere(argv) => {
                    if let Some((program, args)) = argv.split_first() {
                        let error = std::process::Command::new(program)
                            .args(args)
                            .env_remove("TMUX")
                            .exec();
                        return Err(Fail::new(
                            Exit::Missing,
                            format!("`{program}` could not be started"),
                        )
                        .because(error));
                    }
                }
            }
        }
        Ok(0)
    }
}
