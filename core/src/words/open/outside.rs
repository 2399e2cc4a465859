//! What does not answer: an scm, a channel.

use ao_slots::{
    fact::Priority,
    notifier::Block,
    text::{count, cut},
};

use super::{
    super::phrase::{capital, clean_line, for_ms, sentence, verbatim},
    super::{Card, Words},
    text,
};
use crate::{
    config::trigger::Trigger,
    event::Subject,
    state::{Incident, Progress},
};

/// A forge as people write it.
pub(in crate::words) fn forge(plugin: &str) -> String {
    match plugin {
        "github" => "GitHub".into(),
        "gitlab" => "GitLab".into(),
        "bitbucket" => "Bitbucket".into(),
        other => capital(&clean_line(other)),
    }
}

impl Words<'_> {
    pub(in crate::words) fn scm_away(&self, incident: &Incident) -> Card {
        let Subject::Project(project) = &incident.subject else { return Card::default() };
        let reaction = self.state.policy.reaction(Some(project), Trigger::ScmUnavailable);
        let away = self.state.scm_away.get(project);
        let began = away.map_or(incident.opened, |(_, since)| *since);
        let name = forge(incident.common.as_deref().unwrap_or("scm"));
        // As long as it took to be told: a title that grows would be another at each edit.
        let waits = reaction.escalate_after_ms.filter(|_| reaction.auto).unwrap_or(0);
        // It would answer: what it allows is spent.
        let rests = away.and_then(|(failure, _)| failure.retry_after_ms);
        let lasted = match (rests, waits) {
            (None, 0) => " does not answer".to_owned(),
            (None, ms) => format!(" has not answered for {}", for_ms(ms)),
            (Some(_), 0) => "'s limit keeps ao from asking".to_owned(),
            (Some(_), ms) => format!("'s limit has kept ao from asking for {}", for_ms(ms)),
        };
        let prs = self.state.sessions.values().filter(|session| {
            session.project == *project && !session.is_over() && session.pr.is_some()
        });
        let old = match (prs.count() as u64, self.time(began.at)) {
            (0, _) => "No session waits for it.".to_owned(),
            (n, time) if time.is_empty() => {
                format!("What is known of {} is old.", count(n, "pull request", "pull requests"))
            }
            (n, time) => format!(
                "What is known of {} is from {time}.",
                count(n, "pull request", "pull requests")
            ),
        };
        let mut body = vec![];
        if let Some((failure, _)) = away {
            body.push(Block::Code(verbatim(&failure.message)));
        }
        body.push(text(old.clone()));
        body.push(text(match rests {
            None => "Tried: ao asks again and again; agents go on.".to_owned(),
            Some(_) => "ao asks again as soon as it may; agents go on. What you ask for yourself is asked while \
                        anything is left: ao quota"
                .to_owned(),
        }));
        if let Some(remedy) = away.and_then(|(failure, _)| failure.remedy.as_deref()) {
            body.push(text(format!("Remedy: {}", clean_line(remedy))));
        }
        Card {
            title: format!("{name}{lasted}"),
            short: format!("{old} Agents go on."),
            body,
            command: Some(format!("ao why {}", incident.id)),
            ..Card::default()
        }
    }

    pub(in crate::words) fn channel_failing(&self, incident: &Incident) -> Card {
        let Subject::Channel(name) = &incident.subject else { return Card::default() };
        let channel = self.state.channels.get(name);
        let error = channel.and_then(|channel| channel.error.as_ref());
        let since = channel.and_then(|channel| channel.since).unwrap_or(incident.opened);
        let cause =
            error.map_or_else(|| "why is unknown".into(), |e| cut(&sentence(&e.message), 120));
        let missed = |told: &&crate::state::Notification| {
            told.deliveries.get(name).is_some_and(|delivery| {
                // An earlier outage is another need.
                delivery.progress != Progress::Sent
                    && delivery.error.is_some()
                    && delivery.failed.is_none_or(|failed| failed.seq >= since.seq)
            })
        };
        let missed: Vec<_> = self.state.notifications.values().filter(missed).collect();
        let elsewhere = missed.iter().filter(|told| {
            let taken = |(other, delivery): (&ao_slots::ChannelName, &crate::state::Delivery)| {
                other != name && delivery.progress == Progress::Sent
            };
            told.deliveries.iter().any(taken)
        });
        let urgent = missed.iter().filter(|told| told.priority == Priority::Urgent).count() as u64;
        let (all, other) = (missed.len() as u64, elsewhere.count() as u64);
        let urgent = match urgent {
            0 => String::new(),
            n => format!(" {} waited.", count(n, "urgent one", "urgent ones")),
        };
        let counts = format!(
            "{} not taken, {other} of them by another channel.",
            count(all, "message", "messages")
        );
        let remedy = error.and_then(|error| error.remedy.as_deref()).map(clean_line);
        let test = format!("ao notify test {name}");
        let mut body = vec![];
        if let Some(error) = error {
            body.push(Block::Code(verbatim(&error.message)));
        }
        if all > 0 {
            body.push(text(counts));
        }
        body.push(text(match remedy {
            Some(remedy) if !remedy.is_empty() => format!("Remedy: {remedy}"),
            _ => format!("Remedy: {test}"),
        }));
        Card {
            title: format!(
                "{} takes no messages{}",
                clean_line(name.as_str()),
                self.since(since.at)
            ),
            short: format!("{cause}.{urgent}"),
            body,
            command: Some(test),
            ..Card::default()
        }
    }
}
