//! `ao answer`, and what it shares with `ao approve` and `ao deny`.

use std::time::Duration;

use ao_core::{
    event::{Effect, EffectFailed, EffectIntended, Failure, RequestEnded},
    slots::{
        RequestId, Seq, SessionId,
        agent::{Ask, Decision},
        notifier::Mark,
        text::{cut, one_line},
    },
};
use ao_web::view::{EventView, RequestView, SessionDoc, Taken};
use serde_json::{Value, json};

use super::{data, parse_session, usage, wait_for};
use crate::{
    cx::Cx,
    fail::{Exit, Fail},
    out,
};

/// Answer the question that an agent asks
///
/// Examples:
///   ao answer app-3 2                 the second choice
///   ao answer app-3 "items only"      own words
///
/// Exit codes: 5 it asks nothing any more, 10 sent but not confirmed by the agent.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Cmd {
    /// The session
    #[arg(value_parser = parse_session)]
    session: SessionId,
    /// Which question; none = the only one that waits [e.g. r-7]
    #[arg(long, value_name = "ID")]
    request: Option<RequestId>,
    /// The number of a choice, or your own words
    #[arg(required = true)]
    text: Vec<String>,
}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        let text = self.text.join(" ");
        no_ellipsis(&text)?;
        let question = |ask: &Ask| matches!(ask, Ask::Question { .. });
        let (request, _) = meant(cx, &self.session, self.request, question).await?;
        let body = json!({ "text": text, "request": request });
        decide(cx, &self.session, "answer", body, |request| {
            match request.and_then(|request| request.decision.as_ref()) {
                Some(Decision::Answer { text }) => {
                    format!("{} got \"{}\"", self.session, cut(&one_line(text), 80))
                }
                _ => format!("{} got its answer", self.session),
            }
        })
        .await
    }
}

/// A message ends with a command to fill in, `ao answer app-3 "…"`: what was pasted as it is says nothing.
pub(crate) fn no_ellipsis(text: &str) -> Result<(), Fail> {
    match text.trim() {
        "…" | "..." => {
            Err(usage("`…` stands for your own words").remedy("write them in its place"))
        }
        _ => Ok(()),
    }
}

/// The request that a decision is meant for, as it was looked at: the one that was named, else the only one that
/// waits. What comes up meanwhile is not decided unseen.
pub(crate) async fn meant(
    cx: &Cx,
    session: &SessionId,
    named: Option<RequestId>,
    fits: fn(&Ask) -> bool,
) -> Result<(RequestId, Option<RequestView>), Fail> {
    let doc: SessionDoc = cx.client().get(&format!("/api/sessions/{session}")).await?;
    if let Some(id) = named {
        return Ok((id, doc.requests.into_iter().find(|request| request.id == id)));
    }
    let open = |r: &&RequestView| r.ended.is_none();
    let waits = |r: &&RequestView| open(r) && r.decision.is_none() && fits(&r.ask);
    let waiting: Vec<_> = doc.requests.iter().filter(waits).collect();
    if let [_, _, ..] = waiting.as_slice() {
        let ids: Vec<_> = waiting.iter().map(|request| request.id.to_string()).collect();
        let what = format!("{session} waits for {} decisions: {}", ids.len(), ids.join(", "));
        return Err(Fail::new(Exit::Refused, what).remedy(format!("ao session show {session}")));
    }
    // Of one that does not wait the server says what has become of it.
    let last = || doc.requests.iter().find(open).or(doc.requests.last());
    let one = waiting.first().copied().or_else(last).cloned();
    Ok((one.as_ref().map_or(RequestId(0), |request| request.id), one))
}

/// What is asked, whole where that is known, in one line.
pub(crate) fn wish(request: &RequestView) -> String {
    let (Ask::Permission { subject: text, .. } | Ask::Question { text, .. }) = &request.ask;
    cut(&one_line(request.full.as_ref().unwrap_or(text)), 200)
}

/// A decision on its way to the agent.
struct Delivery {
    request: Option<RequestId>,
    denied: bool,
    intent: Option<Seq>,
}

impl Delivery {
    /// What an event tells of it: whether the agent confirmed it, or why it could not be handed over.
    fn read(&mut self, event: &EventView) -> Option<Result<bool, Failure>> {
        match event.kind.as_str() {
            "request.ended" => data::<RequestEnded>(event)
                .filter(|e| Some(e.request) == self.request)
                .map(|e| Ok(self.denied || e.how == "confirmed")),
            // Nobody tells of the end of what was denied: the turn that asked ends it, or another begins.
            "turn.started" if self.denied => Some(Ok(true)),
            // Whatever was asked in it is over.
            "turn.ended" => Some(Ok(self.denied)),
            "effect.intended" => {
                let effect = data::<EffectIntended>(event)?.effect;
                if self.request.is_some_and(|request| effect == Effect::DecideRequest { request }) {
                    self.intent = Some(event.seq);
                }
                None
            }
            "effect.failed" => data::<EffectFailed>(event)
                .filter(|e| Some(e.intent) == self.intent)
                .map(|e| Err(e.failure)),
            _ => None,
        }
    }
}

/// Hands a decision over and waits until the agent confirmed it.
pub(crate) async fn decide(
    cx: &Cx,
    session: &SessionId,
    verb: &str,
    body: Value,
    words: impl Fn(Option<&RequestView>) -> String,
) -> Result<u8, Fail> {
    let client = cx.client();
    let begun = std::time::Instant::now();
    let taken: Taken = client.act(&format!("/api/sessions/{session}/{verb}"), &body).await?;
    let request = taken.request;
    let mut delivery = Delivery { request, denied: verb == "deny", intent: None };
    let limit = Duration::from_secs(15);
    let read = |event: &EventView| delivery.read(event);
    let outcome = wait_for(client, session, taken.after, limit, read).await?;
    if cx.global.json {
        out::json(&taken);
    }
    let took = begun.elapsed().as_secs_f64();
    let doc: SessionDoc = client.get(&format!("/api/sessions/{session}")).await?;
    let decided = doc.requests.iter().find(|r| Some(r.id) == request);
    match outcome {
        Some(Ok(true)) => {
            if !cx.global.json {
                let mark = cx.style.painted_mark(Mark::Settled);
                let words = cx.style.text(&words(decided));
                out::say(&format!("{mark} {words} (confirmed {took:.1} s)"));
                let taught = "That is how it works. Too much or too little? ao notify stats";
                cx.hint_once("answer", taught);
            }
            Ok(0)
        }
        Some(Err(failure)) => {
            let fail = Fail::new(
                Exit::InDoubt,
                format!("the decision could not be delivered to {session}"),
            );
            Err(fail
                .because(failure.message)
                .remedy(failure.remedy.unwrap_or_else(|| format!("ao session attach {session}"))))
        }
        None | Some(Ok(false)) => {
            // The hook took it, and the agent says nothing of it until its tool ends.
            let state = if outcome.is_some() {
                "sent; it asks no more, and has not confirmed it"
            } else if decided.is_some_and(|request| request.handed) {
                "sent; the agent has not confirmed it yet"
            } else {
                "sent, but not taken by the agent yet"
            };
            if !cx.global.json {
                out::say(&format!("{} {session}: {state}", cx.style.painted_mark(Mark::Slow)));
                cx.hint(&format!("Next: ao session show {session}"));
            }
            Ok(Exit::InDoubt as u8)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_end_confirms_a_decision_and_only_its_own_failure_fails_it() {
        let event = |seq: u64, kind: &str, data: Value| -> EventView {
            serde_json::from_value(json!({
                "schema": "ao.event/1", "seq": format!("e{seq}"), "at": "2026-11-21T14:28:03Z", "class": "obs",
                "kind": kind, "session": "app-3", "project": "my-app", "because": [], "rule": null,
                "told": {"mark": null, "label": "", "text": ""}, "data": data,
            }))
            .unwrap()
        };
        let of = |denied| Delivery { request: Some(RequestId(7)), denied, intent: None };
        let ended =
            |id: &str, how: &str| event(9, "request.ended", json!({"request": id, "how": how}));
        let started = event(9, "turn.started", json!({"launch": 1, "turn": "t", "confirms": null}));
        let over = event(
            9,
            "turn.ended",
            json!({"launch": 1, "turn": "t", "last_words": null, "background": false}),
        );
        for (event, approved, denied) in [
            (ended("r-7", "confirmed"), Some(true), Some(true)),
            (ended("r-7", "in-terminal"), Some(false), Some(true)),
            (ended("r-6", "confirmed"), None, None),
            (started, None, Some(true)),
            (over, Some(false), Some(true)),
        ] {
            assert_eq!(of(false).read(&event), approved.map(Ok), "{event:?}");
            assert_eq!(of(true).read(&event), denied.map(Ok), "{event:?}");
        }
        let mut delivery = of(false);
        let intended =
            |seq, effect: Value| event(seq, "effect.intended", json!({ "effect": effect }));
        let failed = |intent: &str| {
            let failure = json!({"kind": "permanent", "message": "no hook waits"});
            event(9, "effect.failed", json!({"intent": intent, "failure": failure}))
        };
        assert_eq!(
            delivery.read(&intended(3, json!({"do": "type-message", "message": "m-1"}))),
            None
        );
        assert_eq!(
            delivery.read(&intended(4, json!({"do": "decide-request", "request": "r-7"}))),
            None
        );
        assert_eq!(delivery.read(&failed("e3")), None, "another's");
        let why = delivery.read(&failed("e4")).unwrap().unwrap_err();
        assert_eq!(why.message, "no hook waits");
    }
}
