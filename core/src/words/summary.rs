//! What a round of sessions came to.

use ao_slots::{
    SessionId,
    fact::PrState,
    text::{count, duration, short_commit, thousands},
};

use super::phrase::{asked, capital, clean_line, dollars};
use crate::{
    config::trigger::Trigger,
    event::{Over, Summary},
    state::{Session, State},
};

/// The title and text of a round's summary.
pub fn all_complete(state: &State, sessions: &[SessionId]) -> (String, Summary) {
    let sessions: Vec<&Session> = sessions.iter().filter_map(|id| state.sessions.get(id)).collect();
    let ended = |how: Over| {
        sessions.iter().filter(|s| s.over.is_some_and(|(over, _)| over == how)).count() as u64
    };
    let waiting = sessions.iter().filter(|s| s.over.is_none()).count() as u64;
    let merged = ended(Over::Merged);
    let counts = [
        (merged, "merged", "merged"),
        (ended(Over::Done), "done", "done"),
        (waiting, "waits", "wait"),
        (ended(Over::Killed), "killed", "killed"),
        (ended(Over::Failed), "failed", "failed"),
    ];
    let counts: Vec<String> =
        counts.iter().filter(|(n, ..)| *n > 0).map(|(n, one, many)| count(*n, one, many)).collect();
    let project = sessions.first().map(|session| &session.project);
    let lines = match state.policy.reaction(project, Trigger::AllComplete).include_summary {
        true => {
            sessions.iter().map(|session| line(session)).chain([sum(&sessions, merged)]).collect()
        }
        false => vec![sum(&sessions, merged)],
    };
    let short = lines.first().cloned().unwrap_or_default();
    (
        format!("All done: {}", counts.join(", ")),
        Summary { kind: Trigger::AllComplete.to_string(), short, lines, parts: vec![] },
    )
}

/// Awake time from being asked for to the end.
fn took(session: &Session) -> u64 {
    let end = session.over.map_or(session.status_since, |(_, when)| when);
    end.awake.saturating_sub(session.created.awake) / 1_000
}

/// `#41 merged · 1 h 12 min · $1.84 · asked you once`
pub(super) fn line(session: &Session) -> String {
    let who = session
        .issue
        .as_ref()
        .map_or_else(|| session.id.to_string(), |issue| format!("#{}", clean_line(issue)));
    let what = match session.over {
        Some((Over::Merged, _)) => match session.pr() {
            Some(pr) => {
                let ours = session.follow.merge.as_ref().filter(|merge| merge.head == pr.head);
                let commit = ours.and_then(|merge| merge.commit.as_ref()).unwrap_or(&pr.head);
                format!("merged as {}", short_commit(commit))
            }
            None => "merged".into(),
        },
        Some((Over::Done, _)) => "done".into(),
        Some((Over::Killed, _)) => "killed".into(),
        Some((Over::Failed, _)) => match &session.failure {
            Some((step, _)) => format!("failed at {step}"),
            None => "failed".into(),
        },
        None => match session.pr().filter(|pr| pr.state != PrState::None) {
            Some(pr) => format!("PR {} waits for you", pr.number),
            None => "waits for you".into(),
        },
    };
    let open = if session.issue_unclosed.is_some() { ", its issue is still open" } else { "" };
    let mut parts = vec![format!("{who} {what}{open}"), duration(took(session))];
    parts.extend(session.usage.cost_micros.map(dollars));
    // One that waits has asked, or is about to.
    parts.extend((session.is_over() || session.asked > 0).then(|| asked(session.asked)));
    parts.join(" · ")
}

/// How long all of it took by the clock: from the first that was asked for to the last end.
fn elapsed(sessions: &[&Session]) -> u64 {
    let end = |session: &&&Session| session.over.map_or(session.status_since, |(_, when)| when).at;
    let first = sessions.iter().map(|session| session.created.at).min();
    let all = first.zip(sessions.iter().map(|session| end(&session)).max());
    let seconds = all.map_or(0, |(first, last)| last.duration_since(first).as_secs());
    u64::try_from(seconds).unwrap_or(0)
}

/// `Sum 5 h 40 min in 1 h 50 min, $9.12, 0.5 interruptions per merged PR`
fn sum(sessions: &[&Session], merged: u64) -> String {
    let all = duration(sessions.iter().map(|session| took(session)).sum());
    let elapsed = duration(elapsed(sessions));
    let mut parts = match elapsed == all {
        true => vec![all],
        false => vec![format!("{all} in {elapsed}")],
    };
    let costs: Vec<u64> = sessions.iter().filter_map(|session| session.usage.cost_micros).collect();
    if !costs.is_empty() {
        parts.push(dollars(costs.iter().fold(0, |sum, cost| sum.saturating_add(*cost))));
    }
    let asked: u64 = sessions.iter().map(|session| u64::from(session.asked)).sum();
    let waits = sessions.iter().any(|session| !session.is_over());
    parts.extend(match (merged, asked) {
        (_, 0) if waits => None,
        (_, n) if waits => Some(format!("{} so far", count(n, "interruption", "interruptions"))),
        (0, 0) => Some("no interruptions".into()),
        (0, n) => Some(count(n, "interruption", "interruptions")),
        (merged, asked) => {
            let tenths = (asked * 10 + merged / 2) / merged;
            Some(format!("{}.{} interruptions per merged PR", thousands(tenths / 10), tenths % 10))
        }
    });
    capital(&format!("sum {}", parts.join(", ")))
}
