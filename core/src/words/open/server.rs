//! What concerns `ao` itself.

use ao_slots::{
    notifier::Block,
    text::{count, shell_word, size},
};

use super::{
    super::phrase::{capital, clean_line, for_ms, primary, sentence, verbatim},
    super::{Card, Words},
    file_name, text,
};
use crate::{
    config::trigger::Trigger,
    state::{Incident, Session},
};

impl Words<'_> {
    pub(in crate::words) fn disk_low(&self) -> Card {
        let server = &self.state.server;
        let free = size(server.disk_free.unwrap_or(0));
        let short = match server.disk_failing {
            true => "Nothing can be recorded until there is space; agents go on.",
            false => "New sessions are refused; agents go on.",
        };
        let full = if server.disk_failing { "full" } else { "nearly full" };
        let rows = |(name, bytes): &(String, u64)| format!("{} {}", size(*bytes), clean_line(name));
        let uses: Vec<String> = self.seen.disk.iter().take(5).map(rows).collect();
        let uses = (!uses.is_empty()).then_some(Block::List(uses));
        Card {
            title: format!("The disk is {full}: {free} free"),
            short: short.into(),
            body: [text(short)]
                .into_iter()
                .chain(uses)
                .chain([text("Workspaces of sessions that are over can go: ao session cleanup")])
                .collect(),
            buttons: vec![],
            command: Some("ao session cleanup".into()),
        }
    }

    pub(in crate::words) fn config_refused(&self) -> Card {
        let refused = &self.state.server.refused;
        let Some((file, (reason, _))) = refused.first_key_value() else { return Card::default() };
        let name = file_name(file);
        let title = match refused.len() {
            1 => format!("{name} was changed and is not used"),
            n => format!(
                "{} were changed and are not used",
                count(n as u64, "configuration file", "configuration files")
            ),
        };
        let reasons: Vec<Block> = refused
            .iter()
            .flat_map(|(file, (reason, _))| {
                [text(clean_line(file)), Block::Code(verbatim(&self.whole(reason)))]
            })
            .collect();
        let whole = self.whole(reason);
        let first = sentence(whole.lines().next().unwrap_or_default());
        let since = self.state.policy_since.map(|when| self.time(when.at));
        let go_on = match since.filter(|time| !time.is_empty()) {
            Some(time) => format!("The settings of {time} go on."),
            None => "The earlier settings go on.".into(),
        };
        let mut body = reasons;
        body.push(text(go_on.clone()));
        Card {
            title,
            short: format!("{}. {go_on}", capital(&first)),
            body,
            buttons: vec![],
            command: Some(match refused.len() == 1 && self.state.server.untrusted.contains(file) {
                true => format!("ao config trust {}", shell_word(&clean_line(file))),
                false => "ao config check".into(),
            }),
        }
    }

    pub(in crate::words) fn tampered(&self, incident: &Incident) -> Card {
        let Some((path, kept, when)) = &self.state.server.tampered else { return Card::default() };
        let name = file_name(path);
        let (short, tried) = match kept {
            Some(kept) => (
                "ao restored its own version and kept the changed one.",
                format!(
                    "Tried: ao restored its own version; the changed one is kept as {}.",
                    clean_line(kept)
                ),
            ),
            None => (
                "ao goes on with what it knows.",
                "Tried: nothing; ao goes on with what it knows.".to_owned(),
            ),
        };
        let when = self.seconds(when.at);
        let at = if when.is_empty() { when } else { format!(" at {when}") };
        Card {
            title: format!("ao's own file {name} was changed by another program"),
            short: short.into(),
            body: vec![
                Block::Code(clean_line(path)),
                text(format!("Changed{at}; by whom is unknown.")),
                text(tried),
            ],
            buttons: vec![primary("ack", "Acknowledge")],
            command: Some(format!("ao ack {}", incident.id)),
        }
    }

    pub(in crate::words) fn was_away(&self, incident: &Incident) -> Card {
        let server = &self.state.server;
        if incident.detail.as_deref() == Some(crate::decide::PUT_ASIDE) {
            let n = server.untold_quarantined().len().max(1) as u64;
            let what = match n {
                1 => "an input that it could not take".to_owned(),
                n => format!("{} that it could not take", count(n, "input", "inputs")),
            };
            let mut body =
                vec![text("What came in is kept in the folder quarantine; agents go on.")];
            body.push(Block::List(
                server.untold_quarantined().iter().map(|file| clean_line(file)).collect(),
            ));
            return Card {
                title: format!("ao put aside {what}"),
                body,
                command: Some("ao doctor --report".into()),
                ..Card::default()
            };
        }
        let away = server.away_ms.unwrap_or(0);
        let lost: u64 = server
            .untold_gaps()
            .iter()
            .map(|(from, to)| to.saturating_sub(*from).saturating_add(1))
            .sum();
        let unread = format!("{} could not be read", count(lost, "event", "events"));
        let reaction = self.state.policy.reaction(None, Trigger::ServerWasAway);
        let missed = away > reaction.threshold_ms.unwrap_or(60_000);
        let title = match (missed, lost) {
            (true, 0) => {
                let late = self.late_words(incident);
                let well = late.unwrap_or_else(|| "nothing was lost".into());
                format!("ao was away for {} and is back; {well}", for_ms(away))
            }
            (true, _) => format!("ao was away for {} and is back; {unread}", for_ms(away)),
            (false, _) => format!("ao goes on; {unread}"),
        };
        let back = server.started.map_or(incident.opened.at, |when| when.at);
        let gone = back.checked_sub(jiff::SignedDuration::from_millis(
            i64::try_from(away).unwrap_or(i64::MAX),
        ));
        // `stop by ana`, `restart by ana`, `signal`.
        let cause = match (server.clean, server.rebooted, self.state.boot.is_empty()) {
            (true, ..) => match server.stopped.split_once(" by ") {
                Some((_, by)) => format!("stopped by {}", clean_line(by)),
                None if server.stopped == "signal" => "stopped by a signal".into(),
                None => "stopped; by whom is unknown".into(),
            },
            (false, true, _) => "the machine was restarted".into(),
            (false, false, false) => "killed".into(),
            (false, false, true) => "unknown".into(),
        };
        let span = match (gone, self.zone.is_some()) {
            (Ok(gone), true) => format!("{}–{}, cause: {cause}.", self.time(gone), self.time(back)),
            _ => format!("Cause: {cause}."),
        };
        let mut body = vec![text("Agents went on.")];
        if missed {
            body.insert(0, text(span));
        }
        let late = self.asked_meanwhile();
        if !late.is_empty() {
            body.push(Block::List(late));
        }
        if lost > 0 {
            let parts: Vec<String> =
                server.untold_gaps().iter().map(|(from, to)| format!("e{from} to e{to}")).collect();
            body.push(text(format!(
                "Unreadable: {}. A copy is kept in the folder quarantine.",
                parts.join(", ")
            )));
        }
        Card {
            title,
            body,
            command: Some(if lost > 0 { "ao events verify" } else { "ao status" }.into()),
            ..Card::default()
        }
    }

    /// What agents asked while nothing served, and could be told only now: `Late: app-3 asked at 14:05`.
    fn asked_meanwhile(&self) -> Vec<String> {
        let Some(started) = self.state.server.started else { return vec![] };
        let late = |session: &Session| {
            let told = session.requests.values().filter(|request| request.opened.seq > started.seq);
            let first = told.map(|request| self.asked_at(request)).min()?;
            (first < started.at).then(|| format!("Late: {} asked{}.", session.id, self.at(first)))
        };
        self.state.sessions.values().filter_map(late).collect()
    }
}
