//! `ao pr`, `ao review-check`, `ao quota`.

use ao_core::slots::{
    fact::{Checks, Mergeable, PrFacts, PrState, Review},
    notifier::Mark,
    scm::{CheckRun, CheckState, Thread},
    text::{count, cut, duration_short, one_line, plain, short_commit},
};
use ao_web::prs::{Goes, Looked, PrItem, PrList, QuotaDoc, ReviewCheckDoc};
use jiff::{Timestamp, tz::TimeZone};

use super::clock;
use crate::out::{Style, Tone, fold, pad, width};

/// Most lines of a pull request's own text that are shown.
const BODY: usize = 40;

fn listed(names: &[String]) -> String {
    names.iter().map(|name| one_line(name)).collect::<Vec<_>>().join(", ")
}

fn name(pr: &PrItem) -> String {
    format!("{}{}", pr.project, pr.view.pr.number)
}

/// Where it stands, in a few words.
pub(crate) fn state(pr: &PrFacts) -> (Mark, String) {
    match pr.state {
        PrState::Merged => return (Mark::Finished, "merged".to_owned()),
        PrState::Closed | PrState::None => return (Mark::Finished, "closed".to_owned()),
        PrState::Draft | PrState::Open => {}
    }
    let draft = pr.state == PrState::Draft;
    let (mark, words) = match (pr.checks, pr.mergeable, pr.review) {
        (_, Mergeable::Conflicting, _) => (Mark::Slow, "conflicts".to_owned()),
        (Checks::Failing, ..) if pr.failing.is_empty() => (Mark::Slow, "checks fail".to_owned()),
        (Checks::Failing, ..) => {
            let verb = if pr.failing.len() == 1 { "fails" } else { "fail" };
            (Mark::Slow, format!("{} {verb}", listed(&pr.failing)))
        }
        (_, _, Review::ChangesRequested) => (Mark::Slow, "changes requested".to_owned()),
        _ if pr.human_threads > 0 => {
            let open = count(pr.human_threads.into(), "open comment", "open comments");
            (Mark::Slow, open)
        }
        (Checks::Pending, ..) => (Mark::Working, "checks run".to_owned()),
        (Checks::Unknown, ..) => (Mark::Working, "checks not known".to_owned()),
        (_, _, Review::Pending) => (Mark::Working, "waits for a review".to_owned()),
        (_, Mergeable::Unknown, _) => {
            (Mark::Working, "open; whether it merges is not known".to_owned())
        }
        _ if draft => (Mark::Working, String::new()),
        (_, Mergeable::Behind, _) => {
            (Mark::Decide, "the base has moved: update the branch".to_owned())
        }
        (_, Mergeable::Blocked, _) => {
            (Mark::Working, "the rules do not let it be merged yet".to_owned())
        }
        (_, _, Review::Approved) => (Mark::Decide, "ready to merge".to_owned()),
        _ => (Mark::Decide, "can be merged".to_owned()),
    };
    match (draft, words.is_empty()) {
        (false, _) => (mark, words),
        (true, true) => (Mark::Working, "draft".to_owned()),
        (true, false) => (mark, format!("draft, {words}")),
    }
}

/// `ao pr ls`.
pub(crate) fn list(list: &PrList, style: &Style) -> String {
    let mut out = String::new();
    if list.prs.is_empty() && list.unknown.is_empty() {
        return "No open pull request.\n".to_owned();
    }
    let rows: Vec<_> = list.prs.iter().map(|pr| (name(pr), state(&pr.view.facts), pr)).collect();
    let owner = |pr: &PrItem| pr.session.as_ref().map(ToString::to_string).unwrap_or_default();
    let names = rows.iter().map(|(name, ..)| width(name)).max().unwrap_or(0);
    let words = rows.iter().map(|(_, (_, words), _)| width(words)).max().unwrap_or(0).min(30);
    let owners = list.prs.iter().map(|pr| width(&owner(pr))).max().unwrap_or(0);
    let room = style.width.saturating_sub(2 + 2 + names + 2 + 2 + words + 2 + owners).clamp(12, 60);
    for (name, (mark, said), pr) in &rows {
        let line = format!(
            "  {} {}  {}  {}  {}",
            style.painted_mark(*mark),
            style.paint(Tone::Accent, &pad(name, names)),
            pad(&style.cut(&one_line(&pr.view.facts.title), room), room),
            pad(&style.cut(said, words), words),
            owner(pr),
        );
        out.push_str(line.trim_end());
        out.push('\n');
    }
    for unknown in &list.unknown {
        let line = format!("{}: not known: {}", unknown.project, one_line(&unknown.why));
        out.push_str(&format!("  {}\n", style.cut(&line, style.width.saturating_sub(2))));
    }
    out
}

/// `ao pr show`.
pub(crate) fn show(pr: &PrItem, style: &Style) -> String {
    let (facts, details) = (&pr.view.facts, &pr.view.facts.details);
    let (mark, said) = state(facts);
    let mut head = vec![
        format!(
            "{}  {} {}",
            style.paint(Tone::Accent, &name(pr)),
            style.painted_mark(mark),
            style.text(&said)
        ),
        style.text(&one_line(&facts.title)),
    ];
    head.extend(pr.session.as_ref().map(ToString::to_string));
    let mut out = vec![head.join(style.dot())];
    let mut line = |name: &str, words: String| {
        if !words.is_empty() {
            let words = style.cut(&words, style.width.saturating_sub(13));
            out.push(format!("  {} {words}", style.paint(Tone::Muted, &pad(name, 10))));
        }
    };
    let base = details.base.as_deref().map(|base| format!(" into {}", one_line(base)));
    let files = count(details.files.into(), "file", "files");
    line(
        "branch",
        format!(
            "{}{}, +{} −{} in {files}",
            one_line(&pr.view.branch),
            base.unwrap_or_default(),
            details.added,
            details.removed
        ),
    );
    line("head", short_commit(&facts.head));
    line("checks", rollup(facts));
    line(
        "review",
        match facts.review {
            Review::None => "nobody is asked".to_owned(),
            Review::Pending => "asked for, not given".to_owned(),
            Review::Approved if details.approved_by.is_empty() => "approved".to_owned(),
            Review::Approved => format!("approved by {}", listed(&details.approved_by)),
            Review::ChangesRequested => "changes requested".to_owned(),
        },
    );
    let open = matches!(facts.state, PrState::Open | PrState::Draft);
    line(
        "merges",
        match facts.mergeable {
            _ if !open => String::new(),
            Mergeable::Yes => "without a conflict".to_owned(),
            Mergeable::Blocked => "without a conflict; the rules do not let it yet".to_owned(),
            Mergeable::Behind => "the base has moved: update the branch".to_owned(),
            Mergeable::Conflicting if details.conflicts.is_empty() => "with conflicts".to_owned(),
            Mergeable::Conflicting => format!("with conflicts in {}", listed(&details.conflicts)),
            Mergeable::Unknown => "not known yet".to_owned(),
        },
    );
    line("author", pr.view.author.as_deref().map(one_line).unwrap_or_default());
    line("page", details.url.as_deref().map(one_line).unwrap_or_default());
    let body = plain(&pr.view.body);
    let lines: Vec<&str> = body.trim().lines().collect();
    if !lines.is_empty() {
        out.push(String::new());
        for line in lines.iter().take(BODY) {
            out.extend(
                fold(line, style.width.saturating_sub(2))
                    .iter()
                    .map(|part| style.text(&format!("  {part}")).trim_end().to_owned()),
            );
        }
        let more = lines.len().saturating_sub(BODY);
        if more > 0 {
            out.push(format!("  and {}", count(more as u64, "more line", "more lines")));
        }
    }
    let open: Vec<&Thread> = pr.view.threads.iter().filter(|thread| !thread.resolved).collect();
    for thread in open {
        out.push(String::new());
        out.extend(talk(thread, style));
    }
    format!("{}\n", out.join("\n"))
}

/// A thread with its place.
fn talk(thread: &Thread, style: &Style) -> Vec<String> {
    let place = match (&thread.path, thread.line) {
        (Some(path), Some(line)) => format!("{}:{line}", one_line(path)),
        (Some(path), None) => one_line(path),
        (None, _) => "about the whole".to_owned(),
    };
    let outdated = if thread.outdated { ", the code has changed since" } else { "" };
    let mut out = vec![style.paint(Tone::Muted, &style.text(&format!("  {place}{outdated}")))];
    for comment in &thread.comments {
        let text = format!("{}: {}", one_line(&comment.author), plain(&comment.text).trim());
        for line in text.lines() {
            let parts = fold(line, style.width.saturating_sub(4));
            out.extend(
                parts.iter().map(|part| style.text(&format!("    {part}")).trim_end().to_owned()),
            );
        }
    }
    out
}

fn rollup(pr: &PrFacts) -> String {
    let of = match pr.details.checks {
        0 => String::new(),
        all => format!("{} of {all} pass", pr.details.passed),
    };
    let failure = pr.details.failure.as_deref().map(|why| format!(": {}", one_line(why)));
    match pr.checks {
        Checks::None => "none".to_owned(),
        Checks::Failing => {
            let what = match pr.failing.is_empty() {
                true => "failing".to_owned(),
                false => format!("failing: {}", listed(&pr.failing)),
            };
            format!("{what}{}", failure.unwrap_or_default())
        }
        Checks::Passing if of.is_empty() => "all pass".to_owned(),
        Checks::Pending if of.is_empty() => "not ended".to_owned(),
        Checks::Pending => format!("{of}, not ended"),
        Checks::Passing => of,
        Checks::Unknown => "not known".to_owned(),
    }
}

/// `ao pr checks`.
pub(crate) fn checks(pr: &PrItem, style: &Style) -> String {
    let checks = &pr.view.checks;
    if checks.is_empty() {
        let facts = &pr.view.facts;
        return format!(
            "{} at {}: checks: {}\n",
            name(pr),
            short_commit(&facts.head),
            rollup(facts)
        );
    }
    let names: Vec<String> = checks.iter().map(|check| cut(&one_line(&check.name), 40)).collect();
    let widest = names.iter().map(|name| width(name)).max().unwrap_or(0);
    let mut out = String::new();
    for (check, name) in checks.iter().zip(&names) {
        let line = format!("  {} {}  {}", mark(check, style), pad(name, widest), verdict(check));
        out.push_str(style.cut(line.trim_end(), style.width).trim_end());
        out.push('\n');
    }
    out
}

fn mark(check: &CheckRun, style: &Style) -> String {
    match check.state {
        CheckState::Passed => style.painted_mark(Mark::Settled),
        CheckState::Failed => style.painted_mark(Mark::Failed),
        CheckState::Queued | CheckState::Running => style.painted_mark(Mark::Working),
        CheckState::Skipped => style.paint(Tone::Muted, &style.text("–")),
    }
}

fn verdict(check: &CheckRun) -> String {
    let state = match check.state {
        CheckState::Queued => "waits for its turn",
        CheckState::Running => "runs",
        CheckState::Passed => "passed",
        CheckState::Failed => "failed",
        CheckState::Skipped => "skipped",
    };
    let mut parts = vec![state.to_owned()];
    parts.extend(check.took_ms.map(|took| duration_short(took / 1000)));
    parts.extend((!check.required).then(|| "not required".to_owned()));
    parts.extend(check.summary.as_deref().map(one_line).filter(|text| !text.is_empty()));
    parts.join(", ")
}

/// `ao review-check`.
pub(crate) fn review_check(doc: &ReviewCheckDoc, style: &Style) -> String {
    if doc.sessions.is_empty() {
        return "No session whose pull request could be looked at.\n".to_owned();
    }
    let ids = doc.sessions.iter().map(|looked| width(looked.session.as_str()));
    let widest = ids.max().unwrap_or(0);
    let mut out = String::new();
    for looked in &doc.sessions {
        let id = style.paint(Tone::Accent, &pad(looked.session.as_str(), widest));
        let room = style.width.saturating_sub(4 + widest);
        out.push_str(&format!("  {id}  {}\n", style.cut(&seen(looked), room)));
        for trouble in &looked.troubles {
            let held = || match trouble.incident {
                Some(incident) => format!("waits for you: ao release {incident}"),
                None => "waits for your release".to_owned(),
            };
            let goes = match (trouble.goes, doc.dry_run) {
                (Goes::Told, _) => "the agent was told".to_owned(),
                (Goes::ToAgent, true) => "would be sent to the agent".to_owned(),
                (Goes::ToAgent, false) => "goes to the agent when it can take it".to_owned(),
                (Goes::Held, _) => held(),
                (Goes::ToHuman, _) => "is yours".to_owned(),
                (Goes::ToNobody, _) => "is left alone, as the configuration says".to_owned(),
            };
            let line = format!("{}{}{goes}", trouble.words, style.dot());
            out.push_str(&format!(
                "  {}    {}\n",
                pad("", widest),
                style.cut(&line, room.saturating_sub(2))
            ));
        }
        for done in &looked.done {
            let line = format!("→ {}", one_line(done));
            out.push_str(&format!(
                "  {}    {}\n",
                pad("", widest),
                style.cut(&line, room.saturating_sub(2))
            ));
        }
    }
    out
}

fn seen(looked: &Looked) -> String {
    match (&looked.facts, &looked.unknown) {
        (_, Some(why)) => format!("its pull request is not known: {}", one_line(why)),
        (None, None) => "no pull request is known".to_owned(),
        (Some(pr), None) => {
            let (_, words) = state(pr);
            format!("{} at {}: {words}", pr.number, short_commit(&pr.head))
        }
    }
}

/// `ao quota`.
pub(crate) fn quota(doc: &QuotaDoc, style: &Style, zone: &TimeZone, now: Timestamp) -> String {
    if doc.quotas.is_empty() {
        return "Nothing is counted: no scm in use has a quota, or none has been asked yet.\n"
            .to_owned();
    }
    let mut out = String::new();
    for view in &doc.quotas {
        let quota = &view.quota;
        let resets =
            i64::try_from(quota.resets_at).ok().and_then(|s| Timestamp::from_second(s).ok());
        let resets = resets.filter(|at| *at > now).map(|at| clock(now, at, zone, "%H:%M"));
        let resets = resets.map(|at| format!(", whole again at {at}")).unwrap_or_default();
        let projects: Vec<_> = view.projects.iter().map(ToString::to_string).collect();
        let low = quota.remaining < quota.limit / 5;
        let left = format!("{} of {} left", quota.remaining, quota.limit);
        let left = if low { style.paint(Tone::Slow, &left) } else { left };
        let line = format!(
            "  {}  {}  {left}{resets}; ao spent {} ({})",
            one_line(&quota.account),
            one_line(&quota.name),
            quota.spent,
            projects.join(", ")
        );
        out.push_str(&style.text(&line));
        out.push('\n');
    }
    out
}

#[cfg(test)]
pub(crate) mod tests {
    use ao_web::prs::Trouble;
    use serde_json::json;

    use super::*;

    fn pr() -> PrItem {
        serde_json::from_value(json!({
            "project": "my-app", "session": "app-1",
            "pr": {"repo": "acme/my-app", "number": 57},
            "facts": {
                "number": 57, "title": "Dark mode", "head": "3f9c2d1aaaa", "state": "open", "checks": "passing",
                "failing": [], "review": "approved", "humanThreads": 0, "botThreads": 0, "mergeable": "yes",
                "details": {"base": "main", "added": 48, "removed": 12, "files": 5, "passed": 6, "checks": 6,
                            "approvedBy": ["ben"], "url": "https://example.com/57"},
            },
            "body": "Follows the system.\u{1b}[2J\n", "branch": "ao/44-dark-mode", "author": "ana",
            "checks": [
                {"name": "unit", "state": "failed", "required": true, "summary": "2 of 418 tests", "url": null, "tookMs": 12000},
                {"name": "docs", "state": "skipped", "required": false, "summary": null, "url": null, "tookMs": null},
            ],
            "threads": [{"id": "t", "resolved": false, "outdated": true, "path": "src/theme.ts", "line": 88,
                         "comments": [{"id": "c", "author": "ben", "isBot": false, "trusted": true,
                                       "text": "Use the theme helper here"}]}],
        }))
        .unwrap()
    }

    pub(crate) fn facts() -> PrFacts {
        pr().view.facts
    }

    #[test]
    fn one_pull_request_says_what_a_human_decides_by() {
        let style = Style::plain(80);
        insta::assert_snapshot!("show", show(&pr(), &style));
        insta::assert_snapshot!("checks", checks(&pr(), &style));
        let mut none = pr();
        none.view.checks.clear();
        assert_eq!(checks(&none, &style), "my-app#57 at 3f9c2d1: checks: 6 of 6 pass\n");
    }

    #[test]
    fn a_list_names_each_with_its_state_and_its_session() {
        let mut other = pr();
        (other.session, other.view.pr.number) = (None, ao_core::slots::PrNumber(8));
        other.view.facts.state = PrState::Draft;
        other.view.facts.checks = Checks::Failing;
        other.view.facts.failing = vec!["unit".into(), "lint".into()];
        let prs = PrList {
            schema: "ao.prs/1".into(),
            prs: vec![pr(), other],
            unknown: vec![ao_web::prs::Unknown {
                project: "api".parse().unwrap(),
                why: "cannot reach\nthe vendor".into(),
            }],
        };
        insta::assert_snapshot!("list", list(&prs, &Style::plain(80)));
        let none = PrList { prs: vec![], unknown: vec![], ..prs };
        assert_eq!(list(&none, &Style::plain(80)), "No open pull request.\n");
    }

    #[test]
    fn the_worst_comes_first_and_unknown_is_said_as_unknown() {
        let said = |change: &dyn Fn(&mut PrFacts)| {
            let mut facts = facts();
            change(&mut facts);
            state(&facts).1
        };
        assert_eq!(said(&|_| {}), "ready to merge");
        assert_eq!(said(&|pr| pr.state = PrState::Draft), "draft");
        assert_eq!(said(&|pr| pr.review = Review::None), "can be merged");
        assert_eq!(said(&|pr| pr.checks = Checks::Unknown), "checks not known");
        assert_eq!(
            said(&|pr| pr.mergeable = Mergeable::Unknown),
            "open; whether it merges is not known"
        );
        assert_eq!(said(&|pr| pr.human_threads = 1), "1 open comment");
        let both = |pr: &mut PrFacts| {
            (pr.checks, pr.mergeable) = (Checks::Pending, Mergeable::Conflicting);
        };
        assert_eq!(said(&both), "conflicts");
        assert_eq!(said(&|pr| pr.state = PrState::Merged), "merged");
    }

    #[test]
    fn a_round_says_what_was_seen_and_what_becomes_of_it() {
        let trouble = |goes| Trouble {
            trigger: ao_core::config::trigger::Trigger::CiFailed,
            words: "unit fails".into(),
            goes,
            incident: Some(ao_core::slots::IncidentId(7)),
        };
        let looked = |session: &str, goes| Looked {
            session: session.parse().unwrap(),
            project: "my-app".parse().unwrap(),
            facts: Some(facts()),
            unknown: None,
            troubles: vec![trouble(goes)],
            done: vec![],
        };
        let mut doc = ReviewCheckDoc {
            schema: "ao.review-check/1".into(),
            dry_run: true,
            sessions: vec![
                looked("app-1", Goes::ToAgent),
                looked("app-12", Goes::Held),
                Looked { facts: None, troubles: vec![], ..looked("app-13", Goes::Told) },
            ],
        };
        insta::assert_snapshot!("dry", review_check(&doc, &Style::plain(80)));
        doc.dry_run = false;
        doc.sessions.truncate(1);
        doc.sessions[0].done = vec!["queued for the agent".into()];
        insta::assert_snapshot!("round", review_check(&doc, &Style::plain(80)));
    }

    #[test]
    fn a_quota_says_what_is_left_whose_it_is_and_until_when() {
        let doc: QuotaDoc = serde_json::from_value(json!({
            "schema": "ao.quota/1",
            "quotas": [{"projects": ["my-app", "api"], "name": "graphql", "account": "ana", "limit": 5000,
                        "remaining": 4812, "resetsAt": 1_795_273_200_u64, "spent": 120}],
        }))
        .unwrap();
        let now: Timestamp = "2026-11-21T14:32:00Z".parse().unwrap();
        assert_eq!(
            quota(&doc, &Style::plain(80), &TimeZone::UTC, now),
            "  ana  graphql  4812 of 5000 left, whole again at 15:00; ao spent 120 (my-app, api)\n"
        );
        let none = QuotaDoc { quotas: vec![], ..doc };
        assert!(quota(&none, &Style::plain(80), &TimeZone::UTC, now).starts_with("Nothing"));
    }
}
