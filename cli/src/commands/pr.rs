//! `ao pr`.

use std::io::Read;

use ao_core::slots::{
    ProjectId, SessionId,
    fact::{Mergeable, PrFacts, PrState},
    notifier::Mark,
    scm::{MergeMethod, Verdict},
    text::{one_line, plain, short_commit},
};
use ao_web::{
    prs::{ChangedDoc, CreateBody, DiffDoc, MergeBody, PrDoc, PrList, PrName, ReviewBody},
    view::Lines,
};

use super::{parse_session, usage};
use crate::{
    client::Client,
    cx::Cx,
    fail::{Exit, Fail},
    out, render,
};

/// Most bytes of standard input that are read.
const MOST: u64 = 1 << 20;

/// Open, look at, review and merge pull requests
///
/// One is named by its project and number, my-app#57, by the number alone where that is clear, or by
/// the session that owns it. Within a session it is that session's own.
///
/// Examples:
///   ao pr ls
///   ao pr show my-app#57
///   ao pr merge app-3
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Cmd {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Open a pull request for a session's branch
    ///
    /// Examples:
    ///   ao pr create                       within a session: its own
    ///   ao pr create app-3 --draft
    ///   ao pr create --title "Count a coupon once" --body -   the text from standard input
    ///
    /// Exit codes: 5 there is one already, 10 not done within 45 s.
    #[command(verbatim_doc_comment)]
    Create(Create),
    /// List pull requests
    ///
    /// Examples:
    ///   ao pr ls
    ///   ao pr ls my-app --all
    #[command(verbatim_doc_comment)]
    Ls {
        /// Only of this project
        project: Option<ProjectId>,
        /// Also merged and closed ones
        #[arg(long, short)]
        all: bool,
    },
    /// Show a pull request: its checks, reviews and comments
    ///
    /// Examples:
    ///   ao pr show my-app#57
    ///   ao pr show app-3 --json
    #[command(verbatim_doc_comment)]
    Show(One),
    /// Print what a pull request changes
    ///
    /// Examples:
    ///   ao pr diff app-3
    ///   ao pr diff my-app#57 | git apply --check
    #[command(verbatim_doc_comment)]
    Diff(One),
    /// Show the checks of a pull request, or run them again
    ///
    /// Examples:
    ///   ao pr checks app-3
    ///   ao pr checks app-3 --log unit     the failing part of its log
    ///   ao pr checks app-3 --rerun        all that failed; one: --rerun=unit
    #[command(verbatim_doc_comment)]
    Checks(Checked),
    /// Review a pull request at its latest commit
    ///
    /// Examples:
    ///   ao pr review app-3 --approve
    ///   ao pr review my-app#57 --request-changes -m "Use the theme helper" --at src/theme.ts:88
    ///   ao pr review 57 --comment -m "Nice"
    ///
    /// Exit codes: 2 words are missing, 5 its head moved meanwhile.
    #[command(verbatim_doc_comment)]
    Review(Reviewed),
    /// Merge a pull request at its latest commit
    ///
    /// One whose checks have not passed, or with changes requested, is asked for first; --yes says it.
    /// Without --squash, --merge or --rebase it goes by the project's mergeMethod, else by the first of
    /// these three that the repository allows.
    ///
    /// Examples:
    ///   ao pr merge app-3
    ///   ao pr merge my-app#57 --rebase
    ///
    /// Exit codes: 5 refused (its head moved, it conflicts), 8 not confirmed, 10 not done within 45 s.
    #[command(verbatim_doc_comment)]
    Merge(Merged),
    /// Close a pull request without a merge
    ///
    /// Examples:
    ///   ao pr close my-app#57
    #[command(verbatim_doc_comment)]
    Close(One),
    /// Open a closed pull request again
    ///
    /// Examples:
    ///   ao pr reopen my-app#57
    #[command(verbatim_doc_comment)]
    Reopen(One),
}

#[derive(Debug, clap::Args)]
struct One {
    /// The pull request: my-app#57, 57, or the session that owns it
    #[arg(value_name = "PR", value_parser = |text: &str| text.parse::<PrName>())]
    pr: Option<PrName>,
}

impl One {
    /// The one that was named; within a session its own.
    fn path(&self, cx: &Cx) -> Result<String, Fail> {
        let name = match &self.pr {
            Some(name) => name.clone(),
            None => PrName::Session(own_session(cx, "name a pull request, e.g. my-app#57")?),
        };
        Ok(format!("/api/prs/{}", name.segment()))
    }
}

fn own_session(cx: &Cx, otherwise: &str) -> Result<SessionId, Fail> {
    let own = cx.env.get("AO_SESSION").and_then(|id| id.parse().ok());
    own.ok_or_else(|| usage(otherwise))
}

#[derive(Debug, clap::Args)]
struct Create {
    /// The session; within one: its own
    #[arg(value_parser = parse_session)]
    session: Option<SessionId>,
    /// One line [default: what the session is about]
    #[arg(long)]
    title: Option<String>,
    /// Its text; `-` reads it from standard input
    #[arg(long)]
    body: Option<String>,
    /// Not ready for review
    #[arg(long)]
    draft: bool,
    /// The branch that it goes into [default: the project's]
    #[arg(long, value_name = "BRANCH")]
    base: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Checked {
    #[command(flatten)]
    one: One,
    /// Run failed checks again, or this one
    #[arg(long, value_name = "CHECK", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    rerun: Option<String>,
    /// Print the log of this failing check
    #[arg(long, value_name = "CHECK", conflicts_with = "rerun")]
    log: Option<String>,
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("verdict").required(true))]
struct Reviewed {
    #[command(flatten)]
    one: One,
    /// It may be merged
    #[arg(long, group = "verdict")]
    approve: bool,
    /// It may not, before something changed
    #[arg(long, group = "verdict")]
    request_changes: bool,
    /// Only words
    #[arg(long, group = "verdict")]
    comment: bool,
    /// The words; `-` reads them from standard input
    #[arg(long, short, value_name = "TEXT")]
    message: Option<String>,
    /// Where they stand: file and line
    #[arg(long, value_name = "PATH:LINE", value_parser = place)]
    at: Option<(String, u32)>,
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("method"))]
struct Merged {
    #[command(flatten)]
    one: One,
    /// With a merge commit
    #[arg(long, group = "method")]
    merge: bool,
    /// As one new commit
    #[arg(long, group = "method")]
    squash: bool,
    /// Each commit on top of the base
    #[arg(long, group = "method")]
    rebase: bool,
}

fn place(text: &str) -> Result<(String, u32), String> {
    let bad = || "a file and a line, e.g. src/theme.ts:88".to_owned();
    let (path, line) = text.rsplit_once(':').ok_or_else(bad)?;
    match line.parse::<u32>() {
        Ok(line) if line > 0 && !path.is_empty() => Ok((path.to_owned(), line)),
        _ => Err(bad()),
    }
}

/// Words as they were given, or from standard input.
fn words(given: Option<&String>) -> Result<Option<String>, Fail> {
    match given.map(String::as_str) {
        Some("-") => {
            let mut text = String::new();
            std::io::stdin().lock().take(MOST).read_to_string(&mut text)?;
            Ok(Some(text))
        }
        other => Ok(other.map(str::to_owned)),
    }
}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        let client = cx.client();
        match &self.what {
            What::Create(create) => create.run(cx, client).await,
            What::Ls { project, all } => ls(cx, client, project.as_ref(), *all).await,
            What::Show(one) => {
                let doc: PrDoc = client.get(&one.path(cx)?).await?;
                match cx.global.json {
                    true => out::json(&doc),
                    false => out::say(&render::pr::show(&doc.pr, &cx.style)),
                }
                Ok(0)
            }
            What::Diff(one) => {
                let doc: DiffDoc = client.get(&format!("{}/diff", one.path(cx)?)).await?;
                match cx.global.json {
                    true => out::json(&doc),
                    // A pipe gets it as it is: it may be applied.
                    false if cx.style.terminal => out::say(&plain(&doc.diff)),
                    false => out::say(&doc.diff),
                }
                Ok(0)
            }
            What::Checks(checked) => checked.run(cx, client).await,
            What::Review(reviewed) => reviewed.run(cx, client).await,
            What::Merge(merged) => merged.run(cx, client).await,
            What::Close(one) => changed(cx, client, one, "close", "is closed").await,
            What::Reopen(one) => changed(cx, client, one, "reopen", "is open again").await,
        }
    }
}

fn settled(cx: &Cx, doc: &ChangedDoc, words: &str) {
    match cx.global.json {
        true => out::json(doc),
        false => out::say(&cx.style.text(&format!(
            "{} {}{} {words}",
            cx.style.mark(Mark::Settled),
            doc.project,
            doc.pr.number
        ))),
    }
}

async fn changed(
    cx: &Cx,
    client: Client<'_>,
    one: &One,
    verb: &str,
    words: &str,
) -> Result<u8, Fail> {
    let path = format!("{}/{verb}", one.path(cx)?);
    let doc: ChangedDoc = client.post(&path, &serde_json::json!({})).await?;
    settled(cx, &doc, words);
    Ok(0)
}

async fn ls(
    cx: &Cx,
    client: Client<'_>,
    project: Option<&ProjectId>,
    all: bool,
) -> Result<u8, Fail> {
    let only = project.map(|project| format!("&project={project}")).unwrap_or_default();
    let list: PrList = client.get(&format!("/api/prs?all={}{only}", u8::from(all))).await?;
    if cx.global.json {
        out::json(&list);
    } else {
        out::say(&render::pr::list(&list, &cx.style));
    }
    Ok(if list.unknown.is_empty() { 0 } else { Exit::Partly as u8 })
}

impl Create {
    async fn run(&self, cx: &Cx, client: Client<'_>) -> Result<u8, Fail> {
        let session = match &self.session {
            Some(session) => session.clone(),
            None => own_session(cx, "name the session, e.g. ao pr create app-3")?,
        };
        let body = CreateBody {
            title: self.title.clone(),
            body: words(self.body.as_ref())?,
            draft: self.draft,
            base: self.base.clone(),
        };
        let doc: ChangedDoc = client.act(&format!("/api/sessions/{session}/pr"), &body).await?;
        let draft = if self.draft { " as a draft" } else { "" };
        let page = doc.url.as_deref().map(|url| format!(": {}", one_line(url)));
        settled(cx, &doc, &format!("is open{draft}{}", page.unwrap_or_default()));
        cx.hint(&format!("Next: ao pr checks {}{}", doc.project, doc.pr.number));
        Ok(0)
    }
}

impl Checked {
    async fn run(&self, cx: &Cx, client: Client<'_>) -> Result<u8, Fail> {
        let path = self.one.path(cx)?;
        if let Some(check) = &self.rerun {
            let check = Some(check).filter(|check| !check.is_empty());
            let body = serde_json::json!({ "check": check });
            let doc: ChangedDoc = client.post(&format!("{path}/rerun"), &body).await?;
            let what = check.map_or("what failed".to_owned(), |check| one_line(check));
            settled(cx, &doc, &format!("runs {what} again"));
            return Ok(0);
        }
        if let Some(check) = &self.log {
            let query = segment(check);
            let doc: Lines = client.get(&format!("{path}/log?check={query}")).await?;
            match cx.global.json {
                true => out::json(&doc),
                false => out::say(&doc.lines.join("\n")),
            }
            return Ok(0);
        }
        let doc: PrDoc = client.get(&path).await?;
        match cx.global.json {
            true => out::json(&doc),
            false => out::say(&render::pr::checks(&doc.pr, &cx.style)),
        }
        Ok(0)
    }
}

/// Text within a query (RFC 3986, percent-encoding).
pub(super) fn segment(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

impl Reviewed {
    async fn run(&self, cx: &Cx, client: Client<'_>) -> Result<u8, Fail> {
        let path = self.one.path(cx)?;
        let text = words(self.message.as_ref())?.unwrap_or_default();
        let (verdict, told) = match (self.approve, self.request_changes) {
            (true, _) => (Verdict::Approve, "is approved"),
            (_, true) => (Verdict::RequestChanges, "needs changes, you said"),
            _ => (Verdict::Comment, "has your comment"),
        };
        let shown: PrDoc = client.get(&path).await?;
        let head = shown.pr.view.facts.head;
        let body = ReviewBody { head: head.clone(), verdict, text, at: self.at.clone() };
        let doc: ChangedDoc = client.post(&format!("{path}/review"), &body).await?;
        settled(cx, &doc, &format!("{told} at {}", short_commit(&head)));
        Ok(0)
    }
}

impl Merged {
    async fn run(&self, cx: &Cx, client: Client<'_>) -> Result<u8, Fail> {
        let path = self.one.path(cx)?;
        let method = match (self.merge, self.squash, self.rebase) {
            (true, ..) => Some(MergeMethod::Merge),
            (_, true, _) => Some(MergeMethod::Squash),
            (.., true) => Some(MergeMethod::Rebase),
            _ => None,
        };
        let shown: PrDoc = client.get(&path).await?;
        let name = format!("{}{}", shown.pr.project, shown.pr.view.facts.number);
        let facts = &shown.pr.view.facts;
        confirm(cx, &name, method, facts)?;
        let body = MergeBody { head: facts.head.clone(), method };
        let doc: ChangedDoc = client.act(&format!("{path}/merge"), &body).await?;
        let base = facts.details.base.as_deref().map(|base| format!(" into {}", one_line(base)));
        let commit = doc.commit.as_deref().map(|commit| format!(" as {}", short_commit(commit)));
        let (base, commit) = (base.unwrap_or_default(), commit.unwrap_or_default());
        settled(cx, &doc, &format!("is merged{base}{commit}"));
        Ok(0)
    }
}

/// What is not ready is merged by a human who knows that.
fn confirm(cx: &Cx, name: &str, method: Option<MergeMethod>, facts: &PrFacts) -> Result<(), Fail> {
    let Some(why) = not_ready(facts).filter(|_| !cx.global.yes) else { return Ok(()) };
    if !cx.asks() {
        let how = match method {
            None => "",
            Some(MergeMethod::Squash) => " --squash",
            Some(MergeMethod::Merge) => " --merge",
            Some(MergeMethod::Rebase) => " --rebase",
        };
        return Err(Fail::new(Exit::NotConfirmed, format!("{name} is not ready: {why}"))
            .remedy(format!("ao pr merge {name}{how} --yes")));
    }
    match cx.ask(&format!("{name} is not ready: {why}. Merge it?"), false, "--yes")? {
        true => Ok(()),
        false => Err(Fail::new(Exit::NotConfirmed, format!("{name} was not merged"))),
    }
}

/// What stands against merging it, in the words of `ao pr ls`. What cannot be merged at all the scm refuses with its
/// remedy, and whether it can it finds out.
fn not_ready(facts: &PrFacts) -> Option<String> {
    if facts.state != PrState::Open || facts.mergeable == Mergeable::Conflicting {
        return None;
    }
    let (mark, words) = render::pr::state(&PrFacts { mergeable: Mergeable::Yes, ..facts.clone() });
    (mark != Mark::Decide).then_some(words)
}

#[cfg(test)]
mod tests {
    use ao_core::slots::fact::{Checks, Review};

    use super::*;

    #[test]
    fn a_place_is_a_file_and_a_line() {
        assert_eq!(place("src/a.rs:7"), Ok(("src/a.rs".to_owned(), 7)));
        assert_eq!(place("c:/a:12"), Ok(("c:/a".to_owned(), 12)));
        for bad in ["src/a.rs", "src/a.rs:", ":7", "a:0", "a:-1"] {
            assert!(place(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_checks_name_cannot_leave_its_query() {
        assert_eq!(segment("unit tests/3.9&x=#"), "unit%20tests%2F3.9%26x%3D%23");
    }

    #[test]
    fn what_is_not_ready_is_asked_for() {
        let ready = render::pr::tests::facts();
        assert_eq!(not_ready(&ready), None);
        let why = |change: &dyn Fn(&mut PrFacts)| {
            let mut facts = ready.clone();
            change(&mut facts);
            not_ready(&facts).unwrap_or_default()
        };
        let failing = |facts: &mut PrFacts| {
            (facts.checks, facts.failing) = (Checks::Failing, vec!["unit".into(), "lint".into()]);
        };
        assert_eq!(why(&failing), "unit, lint fail");
        assert_eq!(why(&|facts| facts.checks = Checks::Pending), "checks run");
        assert_eq!(why(&|facts| facts.checks = Checks::Unknown), "checks not known");
        assert_eq!(why(&|facts| facts.review = Review::ChangesRequested), "changes requested");
        assert_eq!(why(&|facts| facts.review = Review::Pending), "waits for a review");
        assert_eq!(why(&|facts| facts.human_threads = 2), "2 open comments");
        // Those the scm refuses, with what to do.
        assert_eq!(why(&|facts| facts.state = PrState::Draft), "");
        assert_eq!(why(&|facts| facts.mergeable = Mergeable::Conflicting), "");
        assert_eq!(why(&|facts| facts.mergeable = Mergeable::Unknown), "");
    }
}
