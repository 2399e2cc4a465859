//! `ao dashboard`.

use std::{process::Stdio, time::Duration};

use ao_web::{DashboardBody, view::TicketDoc};

use crate::{cx::Cx, fail::Fail, out};

/// Open the dashboard in your browser, signed in
///
/// The address works once, within a minute. Its browser stays signed in for 30 days, or until you
/// sign out.
///
/// Examples:
///   ao dashboard
///   ao dashboard i-142              at an incident, at a session (app-3), at a PR (my-app#57)
///   ao dashboard --print            the address alone
///   ao dashboard --away             for a phone, at `publicUrl`
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Cmd {
    /// The page: an incident, a session or a pull request
    page: Option<String>,
    /// Print the address instead of opening it
    #[arg(long)]
    print: bool,
    /// Print an address for another device, which finds ao at `publicUrl`
    #[arg(long)]
    away: bool,
}

/// How long the program that opens an address may take to say that it could not.
const PATIENCE: Duration = Duration::from_secs(10);

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        let body = DashboardBody { page: self.page.clone(), away: self.away };
        let ticket: TicketDoc = cx.client().post("/api/dashboard", &body).await?;
        if cx.global.json {
            out::json(&ticket);
            return Ok(0);
        }
        if self.print || self.away {
            out::say(&ticket.url);
            return Ok(0);
        }
        if let Some(program) = opener(cx)
            && opens(program, &ticket.url).await
        {
            out::say("The dashboard opens in your browser");
            return Ok(0);
        }
        out::say(&ticket.url);
        let port = ticket.base.rsplit(':').next().unwrap_or_default();
        out::note("Open it within a minute in a browser on this machine.");
        if let Some(host) = host(cx) {
            out::note(&format!("Or on yours, with: ssh -L {port}:127.0.0.1:{port} {host}"));
        }
        Ok(0)
    }
}

fn set<'e>(cx: &'e Cx, name: &str) -> Option<&'e str> {
    cx.env.get(name).map(String::as_str).filter(|value| !value.is_empty())
}

/// The address of this machine as the terminal in front reached it; none = it is this machine's own.
fn host(cx: &Cx) -> Option<&str> {
    // Client's address and port, then ours (ssh(1), ENVIRONMENT).
    set(cx, "SSH_CONNECTION")?.split(' ').nth(2)
}

/// What opens an address before the human's eyes; none = nothing can from here.
fn opener(cx: &Cx) -> Option<&'static str> {
    let screen = ["WAYLAND_DISPLAY", "DISPLAY"].iter().any(|name| set(cx, name).is_some());
    match () {
        () if host(cx).is_some() => None,
        () if cfg!(target_os = "macos") => Some("open"),
        () if set(cx, "WSL_DISTRO_NAME").is_some() => Some("wslview"),
        () => screen.then_some("xdg-open"),
    }
}

async fn opens(program: &str, url: &str) -> bool {
    let mut command = tokio::process::Command::new(program);
    command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else { return false };
    match tokio::time::timeout(PATIENCE, child.wait()).await {
        Ok(ended) => ended.is_ok_and(|status| status.success()),
        // It goes on as the browser itself.
        Err(_) => true,
    }
}
