//! What a pull request needs. What no scm told is left out, never guessed.

use ao_slots::{
    fact::{Checks, PrComment, PrFacts, Review},
    notifier::{Block, Button, ButtonStyle},
    text::{count, cut, plain, short_commit, thousands},
};

use super::{
    super::phrase::{
        asked, asked_for, button, clean_line, commits, confirmed, dollars, for_ms, form, in_title,
        kill_button, open_button, primary, text_button,
    },
    super::{Card, Words},
    text,
};
use crate::{
    config::{policy::ReactionAction, trigger::Trigger},
    decide::{
        reaction::{TALKS, can_be_told_again, is_held, is_talked_out},
        review::{BEHIND, PENDING},
    },
    state::{Brief, Incident, PrHead, Session},
};

/// Comments and files that are named one by one.
const NAMED: usize = 5;

/// Names of checks in a title: `unit`, `lint, unit`.
pub(in crate::words) fn jobs(failing: &[String]) -> String {
    let names: Vec<String> = failing.iter().map(|name| clean_line(name)).collect();
    cut(&names.join(", "), 80)
}

fn hint_button(session: &Session) -> Button {
    text_button("send", "Send a hint…", form(&session.id, "Message to", "Send it"))
}

/// The first of them is what one likely wants.
fn led_by(first: Option<Button>, others: impl IntoIterator<Item = Button>) -> Vec<Button> {
    let mut buttons: Vec<Button> = first.into_iter().chain(others).collect();
    if let Some(first) = buttons.first_mut() {
        first.style = ButtonStyle::Primary;
    }
    buttons
}

impl Words<'_> {
    pub(in crate::words) fn pr_card(&self, incident: &Incident, session: &Session) -> Card {
        let Some(pr) = session.pr() else { return Card::default() };
        match incident.trigger {
            Trigger::CiFailed if incident.detail.as_deref() == Some(PENDING) => {
                self.ci_pending(session, pr)
            }
            Trigger::CiFailed => self.ci_failed(session, pr),
            Trigger::ChangesRequested => self.comments(incident, session, pr, false),
            Trigger::BugbotComments => self.comments(incident, session, pr, true),
            Trigger::MergeConflicts if incident.detail.as_deref() == Some(BEHIND) => {
                self.behind(incident, session, pr)
            }
            Trigger::MergeConflicts => self.conflicts(incident, session, pr),
            Trigger::ApprovedAndGreen => self.ready(incident, session, pr),
            _ => self.pr_closed(session, pr),
        }
    }

    fn ci_failed(&self, session: &Session, pr: &PrFacts) -> Card {
        let (id, number) = (&session.id, pr.number);
        let tries = session.tries();
        let names = jobs(&pr.failing);
        let what = if names.is_empty() { String::new() } else { format!(": {names}") };
        let title = match tries {
            0 => format!("PR {number} fails{what}"),
            n => {
                format!(
                    "PR {number} still fails after {} by {id}{what}",
                    count(n.into(), "try", "tries")
                )
            }
        };
        let red: Vec<&PrHead> = session.heads.iter().filter(|head| head.red.is_some()).collect();
        let failing = |head: &PrHead| head.red.as_ref().map(|(failing, _)| failing.clone());
        let same = match red[..] {
            [.., before, last] if failing(before) == failing(last) => ", same as before",
            _ => "",
        };
        let fails = pr.details.failure.as_deref().map(clean_line).filter(|line| !line.is_empty());
        let fails = fails.map(|line| cut(&line, 120));
        let short_text = match (&fails, names.is_empty()) {
            (Some(line), _) => format!("{line}{same}."),
            (None, false) => format!("{names}{same}."),
            (None, true) => "Which check fails is not known.".into(),
        };
        let mut body = vec![text(match (&fails, pr.failing.first()) {
            (Some(line), Some(name)) => format!("Check {}: {line}.", cut(&clean_line(name), 80)),
            _ => format!("{} fail.", count(pr.failing.len().max(1) as u64, "check", "checks")),
        })];
        if session.follow.rerun.as_ref().is_some_and(|(head, _)| *head == pr.head) {
            body.push(text(format!("It was run again on {} before.", short_commit(&pr.head))));
        }
        if tries > 0 {
            let tried = red.iter().skip(1).map(|head| {
                let (names, since) = head.red.as_ref().map(|(f, when)| (jobs(f), *when)).unzip();
                let at = since.map(|when| self.time(when.at)).filter(|time| !time.is_empty());
                let at = at.map(|time| format!("{time} ")).unwrap_or_default();
                format!("{at}{}: {} fails", short_commit(&head.head), names.unwrap_or_default())
            });
            body.push(text("Tried:"));
            body.push(Block::List(tried.collect()));
        }
        Card {
            title,
            short: short_text,
            body,
            buttons: {
                let again = self.again_button(session, Trigger::CiFailed, "Try once more");
                let rerun = (pr.checks == Checks::Failing).then(|| {
                    let rerun = button(&format!("rerun:{}", pr.head), "Re-run check");
                    Button { more: true, ..rerun }
                });
                let rest = again.into_iter().chain([open_button()]).chain(rerun);
                led_by(Some(hint_button(session)), rest)
            },
            command: Some(format!("ao send {id} \"…\"")),
        }
    }

    fn ci_pending(&self, session: &Session, pr: &PrFacts) -> Card {
        let (id, number) = (&session.id, pr.number);
        let limit = self.state.policy.reaction(Some(&session.project), Trigger::CiFailed);
        let wait = limit.threshold_ms.map(|ms| format!(" for {}", for_ms(ms))).unwrap_or_default();
        let since = session.follow.pending.as_ref().map(|(_, when)| self.since(when.at));
        let all = u64::from(pr.details.checks);
        let some = match u64::from(pr.pending) {
            n if n > 0 && n < all => format!("{n} of {}", count(all, "check", "checks")),
            n => count(n.max(1), "check", "checks"),
        };
        let verb = if pr.pending > 1 { "run or wait" } else { "runs or waits" };
        let what =
            format!("{some} {verb} on {}{}.", short_commit(&pr.head), since.unwrap_or_default());
        Card {
            title: format!("PR {number}: checks have not ended{wait}"),
            short: what.clone(),
            body: vec![text(what), text("The agent cannot see to that.")],
            buttons: led_by(Some(open_button()), [hint_button(session)]),
            command: Some(format!("ao pr checks {id}")),
        }
    }

    /// Has the agent told of it once more.
    fn again_button(&self, session: &Session, trigger: Trigger, label: &str) -> Option<Button> {
        let can = can_be_told_again(self.state, session, trigger);
        can.then(|| button("again", label))
    }

    /// ` after 30 min`: how long it was left to the agent; nothing where a human is told at once.
    fn left_alone(&self, session: &Session, trigger: Trigger) -> String {
        let reaction = self.state.policy.reaction(Some(&session.project), trigger);
        let handled = reaction.auto && reaction.action != ReactionAction::Notify;
        let waited = reaction.escalate_after_ms.filter(|_| handled);
        waited.map(|ms| format!(" after {}", for_ms(ms))).unwrap_or_default()
    }

    fn comments(&self, incident: &Incident, session: &Session, pr: &PrFacts, bots: bool) -> Card {
        let (id, number) = (&session.id, pr.number);
        // What waits for a release is told at once.
        let held = is_held(session, incident.trigger);
        let after = match is_talked_out(session, incident.trigger) {
            _ if held => String::new(),
            true => format!(" after {TALKS} messages to {id}"),
            false => self.left_alone(session, incident.trigger),
        };
        let open = if bots { pr.bot_threads } else { pr.human_threads + session.open_remarks() };
        let (one, many) = match bots {
            true => ("bot comment", "bot comments"),
            false => ("review comment", "review comments"),
        };
        // The scm counts all threads together: with both kinds open nobody knows whose they were.
        let all = pr.details.threads.max(open);
        let alone = (pr.human_threads == 0 || pr.bot_threads == 0) && pr.remarks == 0;
        let title = match open {
            0 => format!("PR {number}: changes are requested{after}"),
            _ if all > open && alone => {
                format!("PR {number}: {open} of {} open{after}", count(all.into(), one, many))
            }
            _ => format!("PR {number}: {} open{after}", count(open.into(), one, many)),
        };
        let comment = |comment: &PrComment| {
            let place = comment.place.as_deref().map(|place| format!("{} ", clean_line(place)));
            let (by, words) = (clean_line(&comment.by), cut(&clean_line(&comment.text), 300));
            format!("{}{by}: \"{words}\"", place.unwrap_or_default())
        };
        let said: Vec<String> = pr.details.comments.iter().take(NAMED).map(comment).collect();
        let first = said
            .first()
            .cloned()
            .unwrap_or_else(|| "What they say stands in the pull request.".into());
        let idle = session.turn_ended.map(|ended| self.since(ended.at));
        let mut body = vec![];
        match said.is_empty() {
            true => body.push(text(first.clone())),
            false => body.push(Block::List(said)),
        }
        body.push(text(match idle {
            Some(since) => format!("{id} is idle{since}."),
            None => format!("{id} works."),
        }));
        if held {
            let brief = &session.follow.briefs[&incident.trigger];
            let names: Vec<String> = brief.held.iter().map(|name| clean_line(name)).collect();
            let names = cut(&names.join(", "), 120);
            let (whole, all) = self.brief_text(brief);
            let shown = all && self.shows(&title, &first, &whole);
            let then = match shown {
                true => "Release it if it is sound.".to_owned(),
                false => {
                    format!("Not all of it is shown here: `ao release {}` shows it.", incident.id)
                }
            };
            if let Some(said) = body.first_mut().filter(|_| shown) {
                *said = Block::Quote(whole);
            }
            body.push(text(format!(
                "{id} has not got it: {names} may not write to the repository. {then}"
            )));
            let question = format!("Pass what {names} wrote to {id}?");
            // For these words and no others; nobody lets go what he cannot see.
            let release = format!("release:{}", brief.digest);
            let release = confirmed(primary(&release, "Release"), question, "Release", "Not now");
            return Card {
                title: format!("{title}, held back"),
                short: first,
                body,
                buttons: led_by(shown.then_some(release), [hint_button(session), open_button()]),
                command: Some(format!("ao release {}", incident.id)),
            };
        }
        let again = self.again_button(session, incident.trigger, "Send again");
        Card {
            title,
            short: first,
            body,
            command: Some(match &again {
                Some(_) => format!("ao retry {}", incident.id),
                None => format!("ao send {id} \"…\""),
            }),
            buttons: led_by(again, [hint_button(session), open_button()]),
        }
    }

    /// What it is to be merged into.
    pub(in crate::words) fn base(&self, session: &Session, pr: &PrFacts) -> String {
        let project = self.state.policy.projects.get(&session.project);
        let default = || project.and_then(|project| project.default_branch.as_deref());
        let base = pr.details.base.as_deref().or_else(default);
        base.map_or_else(|| "its base".into(), |base| cut(&clean_line(base), 60))
    }

    /// The message that waits for a release, and whether it is the whole of it: nothing is cut, and nothing in it is hidden
    /// for what it looks like.
    fn brief_text(&self, brief: &Brief) -> (String, bool) {
        let whole = brief.text.blob.as_ref().and_then(|blob| (self.text)(blob));
        let all = whole.is_some() || brief.text.blob.is_none();
        let whole = plain(&whole.unwrap_or_else(|| brief.text.excerpt.clone()));
        let shown = asked_for(&whole);
        let all = all && shown == whole.trim();
        (shown, all)
    }

    fn conflicts(&self, incident: &Incident, session: &Session, pr: &PrFacts) -> Card {
        let (id, number, base) = (&session.id, pr.number, self.base(session, pr));
        let files: Vec<String> = pr.details.conflicts.iter().map(|file| clean_line(file)).collect();
        let n = files.len() as u64;
        let known =
            if n == 0 { String::new() } else { format!(" in {}", count(n, "file", "files")) };
        let mut named: Vec<String> = files.iter().take(NAMED).cloned().collect();
        if files.len() > NAMED {
            named.push(format!("and {} more", thousands(n - NAMED as u64)));
        }
        let list = (!named.is_empty()).then(|| Block::List(named.clone()));
        let after = self.left_alone(session, Trigger::MergeConflicts);
        let why = match after.is_empty() {
            true => format!("{base} has moved on."),
            false => format!("{base} has moved on; not resolved{after}."),
        };
        let again = self.again_button(session, Trigger::MergeConflicts, "Ask again");
        Card {
            title: format!("PR {number} conflicts with {base}{known}"),
            short: if named.is_empty() { why.clone() } else { format!("{}.", named.join(", ")) },
            body: list.into_iter().chain([text(why)]).collect(),
            command: Some(match &again {
                Some(_) => format!("ao retry {}", incident.id),
                None => format!("ao send {id} \"Rebase onto {base}.\""),
            }),
            buttons: led_by(again, [hint_button(session), open_button()]),
        }
    }

    /// The base has moved, and has to be in it.
    fn behind(&self, incident: &Incident, session: &Session, pr: &PrFacts) -> Card {
        let (id, number, base) = (&session.id, pr.number, self.base(session, pr));
        let after = self.left_alone(session, Trigger::MergeConflicts);
        let why = match after.is_empty() {
            true => format!("{base} has moved on, and its rules demand that the branch holds it."),
            false => format!(
                "{base} has moved on, and its rules demand that the branch holds it; not updated{after}."
            ),
        };
        let again = self.again_button(session, Trigger::MergeConflicts, "Ask again");
        Card {
            title: format!("PR {number} is ready but for {base}: update its branch"),
            short: why.clone(),
            body: vec![text(why)],
            command: Some(match &again {
                Some(_) => format!("ao retry {}", incident.id),
                None => format!("ao send {id} \"Merge {base} into your branch, and push.\""),
            }),
            buttons: led_by(again, [hint_button(session), open_button()]),
        }
    }

    fn ready(&self, incident: &Incident, session: &Session, pr: &PrFacts) -> Card {
        let (id, number, base) = (&session.id, pr.number, self.base(session, pr));
        let details = &pr.details;
        let head = short_commit(&pr.head);
        let diff = (details.added > 0 || details.removed > 0).then(|| {
            format!("+{} −{}", thousands(details.added.into()), thousands(details.removed.into()))
        });
        let checks = match details.checks {
            0 => "no checks".to_owned(),
            all => format!("{} of {}", details.passed, count(all.into(), "check", "checks")),
        };
        let people: Vec<String> = details.approved_by.iter().map(|name| clean_line(name)).collect();
        let approved = match (&pr.review, people.is_empty()) {
            (Review::Approved, false) => format!("approved by {}", cut(&people.join(", "), 80)),
            (Review::Approved, true) => "approved".into(),
            _ => "no review required".into(),
        };
        let files = (details.files > 0)
            .then(|| format!(" in {}", count(details.files.into(), "file", "files")));
        let passes = if details.checks > 0 { " pass" } else { "" };
        let long = diff.clone().map(|diff| format!("{diff}{}", files.unwrap_or_default()));
        let facts = [
            long,
            Some(format!("{checks}{passes}")),
            Some(approved.clone()),
            Some(match session.open_remarks() {
                0 => "no conflict, no open comment".into(),
                n => {
                    format!("no conflict, no open thread, {}", count(n.into(), "remark", "remarks"))
                }
            }),
        ];
        let facts: Vec<String> = facts.into_iter().flatten().collect();
        let worked = for_ms(self.now.awake.saturating_sub(session.created.awake));
        let cost = session.usage.cost_micros.map(|micros| format!(", {}", dollars(micros)));
        let short_text: Vec<String> = diff.into_iter().chain([checks.clone(), approved]).collect();
        let question = format!("Merge {number} into {base}? Head {head}, {checks}{passes}.");
        // The head that was found ready; another one has nobody said so of.
        let offered = incident.detail.as_deref().unwrap_or(&pr.head);
        let merge = primary(&format!("merge:{offered}"), "Merge");
        let merge = confirmed(merge, question, &format!("Merge {number}"), "Not now");
        let reaction =
            self.state.policy.reaction(Some(&session.project), Trigger::ApprovedAndGreen);
        let waits = reaction.merges() && session.follow.is_tainted(offered);
        let alone = waits.then(|| {
            text("ao does not merge it by itself: words of others went to the agent, and nobody has approved this head.")
        });
        Card {
            title: format!("PR {number} is ready to merge: {}", in_title(&pr.title)),
            short: format!("{}.", short_text.join(", ")),
            body: vec![
                text(facts.join(" · ")),
                text(format!(
                    "{id} worked {worked}{}, {}.",
                    cost.unwrap_or_default(),
                    asked(session.asked.saturating_sub(1))
                )),
                text(format!("Head {head} into {base}.")),
            ]
            .into_iter()
            .chain(alone)
            .collect(),
            buttons: Some(merge)
                .filter(|_| offered == pr.head)
                .into_iter()
                // Quiet until it changes.
                .chain([open_button(), button("ack", "Not now")])
                .collect(),
            command: Some(format!("ao pr merge {id}")),
        }
    }

    fn pr_closed(&self, session: &Session, pr: &PrFacts) -> Card {
        let id = &session.id;
        let closed = session.pr.as_ref().map(|fact| fact.since.at);
        let ago = closed.map(|at| self.age(at)).filter(|_| self.zone.is_some());
        let ago = ago.map(|age| format!(", {age} ago")).unwrap_or_default();
        let words = pr.details.closing.as_deref().map(clean_line).filter(|words| !words.is_empty());
        let words = words.map(|words| format!(": \"{}\"", cut(&words, 200))).unwrap_or_default();
        let who = match pr.details.closed_by.as_deref().map(clean_line) {
            Some(who) if !who.is_empty() => format!("By {}{ago}{words}.", cut(&who, 60)),
            _ => format!("Closed{ago}; by whom is unknown{words}."),
        };
        let does = if session.turn_ended.is_some() { "is idle" } else { "works" };
        let branch = match session.work() {
            Some(work) => {
                let pushed = if work.pushed { "pushed" } else { "not pushed" };
                format!("{id} {does}; its branch is {pushed}, {}.", commits(work.commits))
            }
            None => format!("{id} {does}; what its branch holds is not known yet."),
        };
        Card {
            title: format!("PR {} was closed without a merge", pr.number),
            short: who.clone(),
            body: vec![text(who), text(branch)],
            buttons: vec![
                primary("ack", "Keep the session"),
                button("pr-reopen", "Reopen PR"),
                open_button(),
                Button { label: "Kill and clean up…".into(), ..kill_button(session) },
            ],
            command: Some(format!("ao session show {id}")),
        }
    }

    pub(in crate::words) fn overspent(&self, session: &Session) -> Card {
        let id = &session.id;
        let reaction = self.state.policy.reaction(Some(&session.project), Trigger::BudgetExceeded);
        let spent = dollars(session.usage.cost_micros.unwrap_or(0));
        let limit = dollars(reaction.threshold_micros.unwrap_or(0));
        let safe = super::super::phrase::work_is_safe(session);
        let worked = for_ms(self.now.awake.saturating_sub(session.created.awake));
        let tokens =
            session.usage.input_tokens.unwrap_or(0) + session.usage.output_tokens.unwrap_or(0);
        let tokens = match tokens {
            0 => String::new(),
            n => format!(", {} tokens", thousands(n)),
        };
        Card {
            title: format!("{id} has spent {spent} of {limit}"),
            short: format!("It goes on. {safe}"),
            body: vec![
                text(format!("{worked}{tokens}.")),
                text(safe),
                text("ao does not stop it: it goes on until you decide."),
            ],
            buttons: vec![
                Button { style: ButtonStyle::Primary, ..open_button() },
                super::send_button(session),
                kill_button(session),
            ],
            command: Some(format!("ao session show {id}")),
        }
    }
}

/// Its page, where that is an address that a browser opens.
pub(in crate::words) fn page(pr: &PrFacts) -> Option<String> {
    let url = pr.details.url.as_deref()?;
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '<' | '>' | '"' | '|');
    let safe = url.len() <= 500 && url.chars().all(plain);
    (safe && (url.starts_with("https://") || url.starts_with("http://"))).then(|| url.to_owned())
}
