//! `ao session`.

use std::{os::unix::process::CommandExt, time::Duration};

use ao_core::{
    event::{RestoreSettled, SessionEnded},
    slots::{SessionId, notifier::Mark, text::count},
};
use ao_web::{
    prs::ChangedDoc,
    summary,
    view::{AttachDoc, SessionDoc, SessionList, Taken},
};
use jiff::{Timestamp, tz::TimeZone};

use super::{client_env, data, parse_session, wait_for};
use crate::{
    client::Client,
    cx::Cx,
    fail::{Exit, Fail},
    out, render,
};

/// Look at sessions and act on them
///
/// Examples:
///   ao session ls
///   ao session show app-3
///   ao session kill app-3
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Cmd {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List sessions
    ///
    /// Examples:
    ///   ao session ls
    ///   ao session ls --all
    #[command(verbatim_doc_comment)]
    Ls {
        /// Also those that ended long ago
        #[arg(long, short)]
        all: bool,
    },
    /// Show everything about a session
    ///
    /// Examples:
    ///   ao session show app-3
    ///   ao session show app-3 --json
    #[command(verbatim_doc_comment)]
    Show(One),
    /// Look into a session's terminal
    ///
    /// Examples:
    ///   ao session attach app-3         Ctrl-b d leaves it running
    ///   ao session attach app-3 | cat   prints the command
    #[command(verbatim_doc_comment)]
    Attach(One),
    /// Mark a session done: its agent ends, its branch stays
    ///
    /// Examples:
    ///   ao session done app-3
    ///
    /// Exit code 5: files are not committed.
    #[command(verbatim_doc_comment)]
    Done(One),
    /// End a session; its workspace stays while it holds work that is nowhere else
    ///
    /// Examples:
    ///   ao session kill app-3
    ///   ao session kill app-3 --force   removes the workspace, too
    ///
    /// Exit codes: 5 the workspace could not be removed, 8 not confirmed.
    #[command(verbatim_doc_comment)]
    Kill(Ended),
    /// Bring back a session that ended
    ///
    /// Examples:
    ///   ao session restore app-3
    ///   ao session restore app-3 --fresh
    ///
    /// Exit codes: 1 it did not come back, 5 it runs or is merged, 10 not known within 90 s.
    #[command(verbatim_doc_comment)]
    Restore(Restored),
    /// Remove the workspace of a session that is over
    ///
    /// Examples:
    ///   ao session cleanup              of all that are over
    ///   ao session cleanup app-3 --force
    ///
    /// Exit codes: 5 it holds work, 8 not confirmed, 9 some were kept.
    #[command(verbatim_doc_comment)]
    Cleanup(Cleaned),
    /// Give a session a pull request that was opened elsewhere
    ///
    /// An agent may for its own session, where the pull request is open and at its own commit.
    ///
    /// Examples:
    ///   ao session claim-pr app-3 57
    ///
    /// Exit codes: 4 there is no such pull request, 5 it is another session's, or not the agent's own.
    #[command(verbatim_doc_comment)]
    ClaimPr {
        /// The session
        #[arg(value_parser = parse_session)]
        session: SessionId,
        /// The pull request's number
        #[arg(value_name = "NUMBER", value_parser = number)]
        number: u64,
    },
}

fn number(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix('#').unwrap_or(text);
    let number = digits.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "the number of a pull request, e.g. 57".to_owned())
}

#[derive(Debug, clap::Args)]
struct One {
    /// The session
    #[arg(value_parser = parse_session)]
    session: SessionId,
}

#[derive(Debug, clap::Args)]
struct Ended {
    /// The session
    #[arg(value_parser = parse_session)]
    session: SessionId,
    /// Remove its workspace too; uncommitted work is kept in a ref
    #[arg(long, help_heading = "Safety")]
    force: bool,
}

#[derive(Debug, clap::Args)]
struct Restored {
    /// The session
    #[arg(value_parser = parse_session)]
    session: SessionId,
    /// Start anew with the first prompt, in place of going on with the conversation
    #[arg(long)]
    fresh: bool,
}

#[derive(Debug, clap::Args)]
struct Cleaned {
    /// The session; none = all that are over
    #[arg(value_parser = parse_session)]
    session: Option<SessionId>,
    /// Also with uncommitted work; it is kept in a ref
    #[arg(long, requires = "session", help_heading = "Safety")]
    force: bool,
}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        let client = cx.client();
        match &self.what {
            What::Ls { all } => ls(cx, client, *all).await,
            What::Show(one) => show(cx, client, &one.session).await,
            What::Attach(one) => attach(cx, client, &one.session).await,
            What::Done(one) => done(cx, client, &one.session).await,
            What::Kill(kill) => kill_one(cx, client, kill).await,
            What::Restore(restore) => restore_one(cx, client, restore).await,
            What::Cleanup(cleanup) => cleanup_some(cx, client, cleanup).await,
            What::ClaimPr { session, number } => claim(cx, client, session, *number).await,
        }
    }
}

async fn read(client: Client<'_>, id: &SessionId) -> Result<SessionDoc, Fail> {
    client.get(&format!("/api/sessions/{id}")).await
}

/// The same, with what lies in its workspace now.
async fn look(client: Client<'_>, id: &SessionId) -> Result<SessionDoc, Fail> {
    client.post(&format!("/api/sessions/{id}/look"), &serde_json::json!({})).await
}

async fn ls(cx: &Cx, client: Client<'_>, all: bool) -> Result<u8, Fail> {
    let list: SessionList =
        client.get(if all { "/api/sessions?all=1" } else { "/api/sessions" }).await?;
    if cx.global.json {
        out::json(&list);
    } else {
        out::say(&render::session::list(&list.sessions, &cx.style, Timestamp::now()));
    }
    Ok(0)
}

async fn show(cx: &Cx, client: Client<'_>, id: &SessionId) -> Result<u8, Fail> {
    let doc = read(client, id).await?;
    if cx.global.json {
        out::json(&doc);
    } else {
        out::say(&render::session::show(&doc, &cx.style, &TimeZone::system(), Timestamp::now()));
    }
    Ok(0)
}

async fn attach(cx: &Cx, client: Client<'_>, id: &SessionId) -> Result<u8, Fail> {
    let doc: AttachDoc = client.get(&format!("/api/sessions/{id}/attach")).await?;
    if cx.global.json {
        out::json(&doc);
        return Ok(0);
    }
    let Some((program, args)) = doc.argv.as_ref().and_then(|argv| argv.split_first()) else {
        return Err(Fail::new(
            Exit::Failed,
            format!("{id} has no terminal: its runtime is a plain process"),
        )
        .remedy(format!("ao logs {id}   and to talk to it: ao send {id} \"…\"")));
    };
    if !cx.style.terminal {
        out::say(&doc.command.clone().unwrap_or_default());
        return Ok(0);
    }
    cx.hint("Leave it running with Ctrl-b d.");
    let mut command = std::process::Command::new(program);
    command.args(args);
    // An inner terminal refuses to nest while these are set.
    for name in ["TMUX", "TMUX_PANE"] {
        command.env_remove(name);
    }
    let error = command.exec();
    Err(Fail::new(Exit::Missing, format!("`{program}` could not be started")).because(error))
}

async fn done(cx: &Cx, client: Client<'_>, id: &SessionId) -> Result<u8, Fail> {
    let taken: Taken =
        client.act(&format!("/api/sessions/{id}/done"), &serde_json::json!({})).await?;
    settle(cx, client, id, &taken, "is done", false).await
}

/// Whether a workspace holds work that is nowhere else, or nobody looked yet.
fn may_hold_work(doc: &SessionDoc) -> bool {
    let there = doc.workspace.is_some() && !doc.workspace_gone;
    there && !doc.work.as_ref().is_some_and(|work| work.is_clean() && work.pushed)
}

async fn kill_one(
    cx: &Cx,
    client: Client<'_>,
    Ended { session: id, force }: &Ended,
) -> Result<u8, Fail> {
    if *force && cx.asks() {
        let doc = look(client, id).await?;
        if may_hold_work(&doc) {
            let question = format!(
                "Kill {id} and remove its workspace? {}. Uncommitted work is kept in refs/ao/kept/{id}.",
                summary::work(doc.work.as_ref())
            );
            cx.confirm_by_name(&question, id.as_str(), "kill it")?;
        }
    }
    let taken: Taken = client
        .act(&format!("/api/sessions/{id}/kill"), &serde_json::json!({ "force": force }))
        .await?;
    if let Some(note) = &taken.note {
        let doc = read(client, id).await?;
        if cx.global.json {
            out::json(&doc);
        } else {
            out::say(&cx.style.text(note));
            if doc.workspace.is_some() && !doc.workspace_gone {
                cx.hint(&format!("Its workspace stays. Try: ao session cleanup {id}"));
            }
        }
        return Ok(0);
    }
    settle(cx, client, id, &taken, "is killed", *force).await
}

/// Waits until a session is over, and says what became of its work. Where its workspace `must` go and stays, that
/// is a refusal.
async fn settle(
    cx: &Cx,
    client: Client<'_>,
    id: &SessionId,
    taken: &Taken,
    words: &str,
    must: bool,
) -> Result<u8, Fail> {
    let mut doc = read(client, id).await?;
    if doc.over.is_none() {
        let wait = Duration::from_secs(30);
        let ended = wait_for(client, id, taken.after, wait, |event| {
            (event.kind == "session.ended").then(|| data::<SessionEnded>(event)).flatten()
        });
        if ended.await?.is_none() {
            return Err(Fail::new(
                Exit::InDoubt,
                format!("{id} is still being ended; it is never said to be over before it is"),
            )
            .remedy(format!("ao session show {id}")));
        }
        doc = read(client, id).await?;
    }
    // The removal of the workspace follows the end.
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while doc.session.status == ao_core::state::Status::Cleanup && std::time::Instant::now() < until
    {
        tokio::time::sleep(Duration::from_millis(50)).await;
        doc = read(client, id).await?;
    }
    let stays = must && doc.workspace.is_some() && !doc.workspace_gone;
    let code = if stays { Exit::Refused as u8 } else { 0 };
    if cx.global.json {
        out::json(&doc);
        return Ok(code);
    }
    let work = match (&doc.workspace, doc.workspace_gone) {
        (None, _) => String::new(),
        (Some(_), true) => match &doc.branch {
            Some(branch) => format!("; its workspace is removed, its branch {branch} stays"),
            None => "; its workspace is removed".to_owned(),
        },
        (Some(path), false) => format!(
            "; its workspace stays ({}): {}",
            summary::work(doc.work.as_ref()),
            path.display()
        ),
    };
    out::say(&cx.style.text(&format!("{} {id} {words}{work}", cx.style.mark(Mark::Settled))));
    if stays {
        let why = doc.workspace_kept.map(|failure| failure.message);
        let why = why.unwrap_or_else(|| "it is still being removed".into());
        cx.warn(&format!(
            "the workspace was not removed: {}",
            ao_core::slots::text::one_line(&why)
        ));
    } else if doc.launch.0 > 0 {
        cx.hint(&format!("Undo: ao session restore {id}"));
    }
    Ok(code)
}

async fn restore_one(
    cx: &Cx,
    client: Client<'_>,
    Restored { session: id, fresh }: &Restored,
) -> Result<u8, Fail> {
    let taken: Taken = client
        .act(
            &format!("/api/sessions/{id}/restore"),
            &serde_json::json!({ "fresh": fresh, "env": client_env(cx) }),
        )
        .await?;
    let settled = wait_for(client, id, taken.after, Duration::from_secs(90), |event| {
        (event.kind == "restore.settled").then(|| data::<RestoreSettled>(event)).flatten()
    });
    let goes_on = || format!("{id} goes on coming back; `ao session show {id}` tells.");
    let settled = super::until_interrupted(settled, goes_on).await?;
    if cx.global.json {
        out::json(&read(client, id).await?);
    }
    match settled {
        Some(RestoreSettled { ok: true, .. }) => {
            if !cx.global.json {
                let how = if *fresh { "in a new conversation" } else { "" };
                out::say(
                    format!("{} {id} works again {how}", cx.style.painted_mark(Mark::Settled))
                        .trim_end(),
                );
            }
            Ok(0)
        }
        Some(RestoreSettled { failure, .. }) => {
            let why = failure.map(|failure| failure.message).unwrap_or_default();
            Err(Fail::new(Exit::Failed, format!("{id} could not be brought back"))
                .because(why)
                .remedy(format!("ao logs {id}")))
        }
        None => Err(Fail::new(Exit::InDoubt, format!("{id} has not come back within 90 s"))
            .remedy(format!("ao session show {id}"))),
    }
}

/// Has one workspace removed, and returns what became of it; none when there is none.
async fn cleanup_one(
    cx: &Cx,
    client: Client<'_>,
    id: &SessionId,
    force: bool,
) -> Result<Option<SessionDoc>, Fail> {
    let before = look(client, id).await?;
    if before.workspace.is_none() || before.workspace_gone {
        return Ok(None);
    }
    if force && cx.asks() {
        let question = format!(
            "Remove the workspace of {id}? {}. Uncommitted work is kept in refs/ao/kept/{id}.",
            summary::work(before.work.as_ref())
        );
        cx.confirm_by_name(&question, id.as_str(), "remove it")?;
    }
    let _: Taken = client
        .act(&format!("/api/sessions/{id}/cleanup"), &serde_json::json!({ "force": force }))
        .await?;
    let until = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        let doc = read(client, id).await?;
        let removing = doc.session.status == ao_core::state::Status::Cleanup;
        if !removing || std::time::Instant::now() >= until {
            return Ok(Some(doc));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn cleanup_some(
    cx: &Cx,
    client: Client<'_>,
    Cleaned { session, force }: &Cleaned,
) -> Result<u8, Fail> {
    let ids: Vec<SessionId> = match session {
        Some(id) => vec![id.clone()],
        None => {
            let list: SessionList = client.get("/api/sessions?all=1").await?;
            list.sessions.into_iter().filter(|row| row.over.is_some()).map(|row| row.id).collect()
        }
    };
    let (mut removed, mut kept) = (0_u64, vec![]);
    for id in &ids {
        match cleanup_one(cx, client, id, *force).await {
            Ok(None) => {}
            Ok(Some(after)) if after.workspace_gone => removed += 1,
            Ok(Some(after)) => {
                let why = after
                    .workspace_kept
                    .map(|failure| failure.message)
                    .unwrap_or_else(|| "it is still being removed".into());
                kept.push((id.clone(), why));
            }
            Err(fail) if session.is_some() || removed == 0 && kept.is_empty() => return Err(fail),
            // What became of the others is told all the same.
            Err(fail) => {
                kept.push((id.clone(), fail.what));
                if fail.exit == Exit::Server {
                    break;
                }
            }
        }
    }
    if cx.global.json {
        let kept: Vec<_> =
            kept.iter().map(|(id, why)| serde_json::json!({ "session": id, "why": why })).collect();
        out::json(
            &serde_json::json!({ "schema": "ao.cleanup/1", "removed": removed, "kept": kept }),
        );
    } else {
        out::say(&format!("{} removed", count(removed, "workspace", "workspaces")));
        for (id, why) in &kept {
            out::say(
                &cx.style.text(&format!("  {id} stays: {}", ao_core::slots::text::one_line(why))),
            );
        }
    }
    match (kept.is_empty(), session) {
        (true, _) => Ok(0),
        (false, Some(_)) => Ok(Exit::Refused as u8),
        (false, None) => Ok(Exit::Partly as u8),
    }
}

async fn claim(cx: &Cx, client: Client<'_>, id: &SessionId, number: u64) -> Result<u8, Fail> {
    let body = serde_json::json!({ "number": number });
    let doc: ChangedDoc = client.act(&format!("/api/sessions/{id}/claim-pr"), &body).await?;
    match cx.global.json {
        true => out::json(&doc),
        false => {
            let mark = cx.style.painted_mark(Mark::Settled);
            out::say(&format!("{mark} {}{} is {id}'s", doc.project, doc.pr.number));
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use ao_core::slots::fact::WorkFacts;

    use super::*;

    fn work() -> WorkFacts {
        let work = serde_json::json!({
            "head": "", "branch": null, "commits": 1, "changedFiles": 0, "added": 1, "removed": 0, "files": 1,
            "pushed": false, "fingerprint": "",
        });
        serde_json::from_value(work).unwrap()
    }

    #[test]
    fn what_nobody_looked_at_may_hold_work() {
        let mut doc = crate::render::watch::tests::detail().session.unwrap();
        assert!(doc.work.is_none() && may_hold_work(&doc));
        for (changed, pushed, asked) in [(0, false, true), (1, true, true), (0, true, false)] {
            doc.work = Some(WorkFacts { changed_files: changed, pushed, ..work() });
            assert_eq!(may_hold_work(&doc), asked, "{changed} {pushed}");
        }
        (doc.work, doc.workspace_gone) = (None, true);
        assert!(!may_hold_work(&doc));
    }
}
