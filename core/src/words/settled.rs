//! What a message says once its need is over: two lines, no buttons.

use ao_slots::{
    agent::Decision,
    fact::{Checks, Mergeable, PrFacts, PrState, Review, RuntimeState},
    notifier::{Block, Mark},
    text::{count, cut, duration, short_commit, size, thousands},
};

use super::{
    Card, Words,
    open::{file_name, forge, jobs},
    phrase::{asked_in_title, clean_line, commits, ranges},
    session_of,
};
use crate::{
    config::trigger::Trigger,
    decide::review::{BEHIND, PENDING},
    event::{Over, Settled, Subject},
    state::{Fate, Incident, Moment, QueuedMessage, Request, Session, Want},
};

/// Title and line.
type Lines = (Mark, String, String);

impl Words<'_> {
    /// What has become of an incident that is over.
    pub(super) fn settled(&self, incident: &Incident) -> (Mark, Card) {
        let (how, when) = match (&incident.resolved, &incident.cleared) {
            (Some((how, when)), _) | (None, Some((how, when))) => (how.clone(), *when),
            // Settled though it is open: a newer message has taken its place.
            (None, None) => {
                let card = self.open(incident);
                let body = vec![Block::Text("A newer message tells of it.".into())];
                return (Mark::Settled, Card { title: card.title, body, ..Card::default() });
            }
        };
        let session = session_of(incident).and_then(|id| self.state.sessions.get(&id));
        let (mark, title, line) = match session {
            Some(session) => self
                .merged(incident, session)
                .or_else(|| self.ended(session, &how))
                .or_else(|| self.cut_short(incident, session, when))
                .unwrap_or_else(|| self.session_settled(incident, session, &how, when)),
            None => self.other_settled(incident, &how, when),
        };
        let body = if line.is_empty() { vec![] } else { vec![Block::Text(line)] };
        (mark, Card { title, body, ..Card::default() })
    }

    /// A merge settles what asked for it.
    fn merged(&self, incident: &Incident, session: &Session) -> Option<Lines> {
        let pr = session.pr().filter(|pr| pr.state == PrState::Merged)?;
        if incident.trigger != Trigger::ApprovedAndGreen {
            return None;
        }
        let merged = session.pr.as_ref().map(|fact| self.at(fact.since.at)).unwrap_or_default();
        let title = format!("Merged {} into {}", pr.number, self.base(session, pr));
        let ours = session.follow.merge.as_ref().filter(|merge| merge.head == pr.head);
        let commit = ours.and_then(|merge| merge.commit.as_deref());
        let text = match (commit, ours.and_then(|merge| merge.by.as_ref())) {
            (Some(commit), Some(by)) => format!("by {by}{merged} as {}", short_commit(commit)),
            (Some(commit), None) => format!("by itself{merged} as {}", short_commit(commit)),
            (None, _) => format!("{}{merged}", short_commit(&pr.head)),
        };
        Some((Mark::Settled, title, text))
    }

    /// The session's own end settles everything about it.
    fn ended(&self, session: &Session, how: &Settled) -> Option<Lines> {
        let id = &session.id;
        let by = match (how, &session.intent) {
            (Settled::By(actor), _) | (Settled::Handled, Want::Kill(actor)) => {
                format!("by {actor}")
            }
            _ => String::new(),
        };
        let Some((over, when)) = &session.over else {
            let doing = match session.intent {
                Want::Run => return None,
                Want::Kill(_) => "is being killed",
                Want::Done(_) => "is being ended",
            };
            return Some((
                Mark::Settled,
                format!("{id} {doing}"),
                format!("asked {by}").trim().to_owned(),
            ));
        };
        let at = self.at(when.at);
        let branch = session.workspace.as_ref().map(|made| clean_line(&made.branch));
        Some(match over {
            Over::Killed => {
                let kept = branch
                    .map(|branch| format!("; the branch {branch} is kept"))
                    .unwrap_or_default();
                (
                    Mark::Settled,
                    format!("{id} was killed"),
                    format!("{by}{at}{kept}").trim().to_owned(),
                )
            }
            Over::Done if matches!(session.intent, Want::Done(_)) => {
                (Mark::Settled, format!("{id} is done"), format!("marked {by}{at}"))
            }
            Over::Done => {
                let made =
                    session.work().map(|work| format!(": {}, tree clean", commits(work.commits)));
                (
                    Mark::Settled,
                    format!("{id} is done"),
                    format!("by evidence{at}{}", made.unwrap_or_default()),
                )
            }
            Over::Merged => (Mark::Settled, format!("{id} is merged"), at.trim().to_owned()),
            Over::Failed => (Mark::Failed, format!("{id} was not started"), at.trim().to_owned()),
        })
    }

    /// What its agent was told of ended with it: it did not move, or go on, by itself.
    fn cut_short(&self, incident: &Incident, session: &Session, when: Moment) -> Option<Lines> {
        let cut_short = session.has_ended()
            && matches!(
                incident.trigger,
                Trigger::AgentStuck | Trigger::AgentIdle | Trigger::AgentIdleNoPr
            );
        cut_short.then(|| {
            let title = format!("the agent of {} has ended", session.id);
            (Mark::Settled, title, self.at(when.at).trim().to_owned())
        })
    }

    fn session_settled(
        &self,
        incident: &Incident,
        session: &Session,
        how: &Settled,
        when: Moment,
    ) -> Lines {
        let id = &session.id;
        let at = self.at(when.at);
        let works = |line: String| (Mark::Settled, format!("{id} works again"), line);
        match incident.trigger {
            Trigger::AgentNeedsInput => match incident
                .request
                .and_then(|id| session.requests.get(&id))
            {
                Some(request) => self.request_settled(session, request, when),
                None => {
                    (Mark::Settled, format!("{id} was answered in its terminal{at}"), String::new())
                }
            },
            Trigger::AgentExited | Trigger::AgentErrored => works(match how {
                Settled::By(actor) => {
                    let same =
                        if session.resumable { ", same conversation" } else { ", started anew" };
                    format!("restored by {actor}{at}{same}")
                }
                Settled::Handled => format!("restored by ao{at}"),
                Settled::ByItself | Settled::Over => format!("by itself{at}"),
            }),
            Trigger::AgentStuck => {
                let title = match incident.detail.is_some() {
                    true => format!("{id} can be observed again"),
                    false => format!("{id} moves again"),
                };
                let line = match (how, self.finished_meanwhile(incident, session)) {
                    (Settled::By(actor), _) => format!("restored by {actor}{at}"),
                    (_, Some(command)) => format!("by itself{at}: {command} finished"),
                    (_, None) => format!("by itself{at}"),
                };
                (Mark::Settled, title, line)
            }
            Trigger::AgentIdleNoPr => {
                let title = match session.pr().filter(|pr| pr.state != PrState::None) {
                    Some(pr) => format!("{id} opened PR {}", pr.number),
                    None if session.work().is_some_and(|work| work.commits > 0)
                        && !self.has_scm(session) =>
                    {
                        format!(
                            "{id} has made {}",
                            commits(session.work().map_or(0, |work| work.commits))
                        )
                    }
                    None => format!("{id} ended its turn"),
                };
                (Mark::Settled, title, at.trim().to_owned())
            }
            Trigger::AgentIdle | Trigger::AgentFinished => works(at.trim().to_owned()),
            Trigger::RateLimited => {
                (Mark::Settled, format!("Quota is back: {id} resumed{at}"), String::new())
            }
            Trigger::PromptUndelivered => {
                let ended = matches!(
                    session.runtime_state.value,
                    RuntimeState::Exited { .. } | RuntimeState::Missing
                );
                let failed = |m: &&QueuedMessage| {
                    m.failed.is_some_and(|when| when.seq < incident.opened.seq)
                };
                let message = session.messages.values().rfind(failed);
                let what =
                    if message.is_none_or(|m| m.first) { "its task" } else { "your message" };
                match (ended, message.map(|m| &m.fate)) {
                    (true, _) => (
                        Mark::Failed,
                        format!("{id} stopped before it got {what}"),
                        at.trim().to_owned(),
                    ),
                    (false, Some(Fate::Withdrawn { reason })) => {
                        (Mark::Settled, format!("{id} waits no more for {what}"), reason.clone())
                    }
                    (false, _) => (Mark::Settled, format!("{id} got {what}"), at.trim().to_owned()),
                }
            }
            Trigger::BudgetExceeded => {
                (Mark::Settled, format!("{id} is within its limit again"), at.trim().to_owned())
            }
            trigger => match session.pr() {
                Some(pr) if trigger.is_of_a_pr() => self.pr_settled(incident, session, pr, &at),
                _ => (Mark::Settled, format!("{id}: {trigger} is settled"), at.trim().to_owned()),
            },
        }
    }

    /// What became of what a pull request needed.
    fn pr_settled(&self, incident: &Incident, session: &Session, pr: &PrFacts, at: &str) -> Lines {
        let (trigger, number) = (incident.trigger, pr.number);
        let settled = |title: String, line: String| (Mark::Settled, title, line);
        let when = at.trim().to_owned();
        match (trigger, pr.state) {
            (Trigger::PrClosed, PrState::Open | PrState::Draft) => {
                settled(format!("PR {number} is open again"), when)
            }
            (Trigger::PrClosed, _) => settled(format!("PR {number} is no longer waited for"), when),
            (_, PrState::Closed) => {
                settled(format!("PR {number} was closed without a merge"), when)
            }
            (_, PrState::Merged) => settled(format!("PR {number} was merged"), when),
            (Trigger::CiFailed, _) if incident.detail.as_deref() == Some(PENDING) => {
                let title = match pr.checks {
                    Checks::Pending | Checks::Unknown => "checks run anew",
                    Checks::Passing | Checks::None => "checks pass",
                    Checks::Failing => "checks have ended, and fail",
                };
                let line = format!("on {}{at}", short_commit(&pr.head));
                settled(format!("PR {number}: {title}"), line)
            }
            (Trigger::CiFailed, _) => {
                settled(format!("PR {number} passes"), format!("on {}{at}", short_commit(&pr.head)))
            }
            (Trigger::ChangesRequested | Trigger::BugbotComments, _) => {
                let all = u64::from(pr.details.threads);
                let kind = if trigger == Trigger::BugbotComments { "bot " } else { "" };
                let alone = pr.human_threads == 0 && pr.bot_threads == 0 && pr.remarks == 0;
                let title = match all {
                    1.. if alone => format!(
                        "PR {number}: all {} resolved",
                        count(all, &format!("{kind}comment"), &format!("{kind}comments"))
                    ),
                    _ => format!("PR {number}: no {kind}comment is open"),
                };
                settled(title, when)
            }
            (Trigger::MergeConflicts, _) if incident.detail.as_deref() == Some(BEHIND) => {
                let base = self.base(session, pr);
                settled(
                    match pr.mergeable {
                        Mergeable::Behind => format!("PR {number} is not ready any more"),
                        _ => format!("PR {number} is up to date with {base}"),
                    },
                    when,
                )
            }
            (Trigger::MergeConflicts, _) => {
                settled(format!("PR {number} merges cleanly again"), when)
            }
            _ => {
                let why = match pr.state {
                    PrState::Draft => "it is a draft again".to_owned(),
                    _ => match (pr.checks, pr.mergeable, pr.review) {
                        (Checks::Failing, ..) => {
                            format!("{} fails", jobs(&pr.failing)).trim().to_owned()
                        }
                        (Checks::Pending, ..) => {
                            format!("its checks run anew on {}", short_commit(&pr.head))
                        }
                        (_, Mergeable::Conflicting, _) => {
                            format!("it conflicts with {}", self.base(session, pr))
                        }
                        (_, Mergeable::Behind, _) => {
                            format!("{} has moved: update the branch", self.base(session, pr))
                        }
                        (_, _, Review::ChangesRequested) => "changes are requested".into(),
                        (_, _, Review::Pending) => "it waits for a review".into(),
                        (_, Mergeable::Blocked, _) => {
                            format!(
                                "the rules of {} do not let it be merged",
                                self.base(session, pr)
                            )
                        }
                        _ if pr.human_threads > 0 || session.open_remarks() > 0 => {
                            "a comment is open".into()
                        }
                        _ => format!("its head is now {}", short_commit(&pr.head)),
                    },
                };
                settled(format!("PR {number} waits for no merge now"), format!("{why}{at}"))
            }
        }
    }

    /// The command that ran when the incident was opened, and has ended since.
    fn finished_meanwhile(&self, incident: &Incident, session: &Session) -> Option<String> {
        let (tool, ended) = session.ended_tool.as_ref()?;
        let (_, cleared) = incident.cleared.as_ref()?;
        let ran = tool.since.seq < incident.opened.seq && incident.opened.seq < ended.seq;
        let what = tool.command.as_ref().map_or(tool.tool.as_str(), |text| &text.excerpt);
        (ran && ended.seq <= cleared.seq).then(|| cut(&clean_line(what), 80))
    }

    fn request_settled(&self, session: &Session, request: &Request, when: Moment) -> Lines {
        let id = &session.id;
        let ended = request.ended.as_ref().map_or("", |(how, _)| how.as_str());
        let at =
            request.ended.as_ref().map_or_else(|| self.at(when.at), |(_, when)| self.at(when.at));
        let asks = match &request.ask {
            ao_slots::agent::Ask::Permission { subject, .. } => asked_in_title(subject),
            ao_slots::agent::Ask::Question { text, .. } => asked_in_title(text),
        };
        let Some(decided) = &request.decided else {
            return match ended {
                "in-terminal" | "confirmed" => {
                    (Mark::Settled, format!("{id} was answered in its terminal{at}"), asks)
                }
                "restarted" => (
                    Mark::Settled,
                    format!("{id} asks no more: it was ended or restarted{at}"),
                    asks,
                ),
                "over" => (Mark::Settled, format!("{id} asks no more: it is over"), asks),
                _ => (Mark::Settled, format!("{id} went on without an answer{at}"), asks),
            };
        };
        let seconds = decided.when.at.duration_since(request.opened.at).as_secs();
        let after = duration(u64::try_from(seconds).unwrap_or(0));
        let confirmed = matches!(ended, "confirmed");
        let seen = if confirmed {
            "the agent confirmed it"
        } else {
            "whether the agent took it is not confirmed"
        };
        let by = &decided.by;
        match &decided.decision {
            Decision::Approve => (
                Mark::Settled,
                format!("Approved once: {asks}"),
                format!("by {by}, {after} after it asked"),
            ),
            Decision::Deny { reason } => {
                let reason = reason.as_deref().map(clean_line).filter(|reason| !reason.is_empty());
                let why =
                    reason.map(|reason| format!(": \"{}\"", cut(&reason, 200))).unwrap_or_default();
                (
                    Mark::Failed,
                    format!("Denied: {asks}"),
                    format!("by {by}, {after} after it asked{why}"),
                )
            }
            Decision::Answer { text } => {
                let answer = cut(&clean_line(text), 200);
                let at = self.at(decided.when.at);
                (
                    Mark::Settled,
                    format!("{id} got its answer"),
                    format!("{} answered \"{answer}\"{at}; {seen}.", by.name),
                )
            }
        }
    }

    fn other_settled(&self, incident: &Incident, how: &Settled, when: Moment) -> Lines {
        let at = self.at(when.at);
        let by = match how {
            Settled::By(actor) => format!("by {actor}{at}"),
            Settled::ByItself | Settled::Handled | Settled::Over => at.trim().to_owned(),
        };
        match (incident.trigger, &incident.subject) {
            (Trigger::RuntimeLost, Subject::Runtime(_)) => {
                let all = self.lost_in(incident);
                let running = |id: &&ao_slots::SessionId| {
                    // What came to a good end since has worked again.
                    self.state.sessions.get(*id).is_some_and(|s| {
                        let ended = s.over.as_ref().map(|(over, _)| *over);
                        matches!(ended, None | Some(Over::Done | Over::Merged))
                            && s.restored.is_some_and(|r| r.seq > incident.stands.seq)
                    })
                };
                let back = all.iter().filter(running).count();
                let missing: Vec<_> = all.iter().filter(|id| !running(id)).cloned().collect();
                match (missing.is_empty(), all.as_slice()) {
                    (true, [one]) => (Mark::Settled, format!("{one} works again"), by),
                    (true, _) => (
                        Mark::Settled,
                        format!("{} work again", count(back as u64, "agent", "agents")),
                        by,
                    ),
                    (false, _) => {
                        let title = format!(
                            "{} of {} restored; {} not",
                            thousands(back as u64),
                            thousands(all.len() as u64),
                            ranges(&missing)
                        );
                        (Mark::Failed, title, by)
                    }
                }
            }
            (Trigger::DiskLow, _) => {
                let free = size(self.state.server.disk_free.unwrap_or(0));
                (Mark::Settled, format!("{free} are free again"), by)
            }
            (Trigger::ConfigRefused, _) => {
                let time = self.time(when.at);
                let of = if time.is_empty() { String::new() } else { format!(" of {time}") };
                (Mark::Settled, format!("The settings{of} are in use"), String::new())
            }
            (Trigger::Tampered, _) => {
                let name = self.state.server.tampered.as_ref().map(|(path, ..)| file_name(path));
                let title = match name {
                    Some(name) => format!("The change of {name} was seen"),
                    None => "The change of ao's own file was seen".into(),
                };
                (Mark::Settled, title, by)
            }
            (Trigger::ServerWasAway, _) => (Mark::Settled, "ao is back".into(), by),
            (Trigger::ScmUnavailable, _) => {
                let name = forge(incident.common.as_deref().unwrap_or("scm"));
                (Mark::Settled, format!("{name} answers again"), by)
            }
            (Trigger::ChannelFailing, Subject::Channel(name)) => {
                let since = self.since(when.at).trim().to_owned();
                (Mark::Settled, format!("{} works again", clean_line(name.as_str())), since)
            }
            (trigger, subject) => (Mark::Settled, format!("{subject}: {trigger} is settled"), by),
        }
    }
}
