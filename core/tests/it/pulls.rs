//! Pull requests that are followed, with vendors in memory.

use std::time::Duration;

use ao_conformance::scm::{Mood, fake::REPO};
use ao_core::{
    config::{
        policy::{PluginChoice, Policy},
        trigger::Trigger,
    },
    event::Subject,
    server::SpawnCall,
    state::State,
};
use ao_slots::{
    Call, SessionId,
    scm::{CreatePr, Scm},
};

use crate::{
    fakes::vendor,
    harness::{House, ana, spawn_call},
};

/// Gives these projects an scm each, with the vendor of their name.
fn with_vendors(policy: &mut Policy, names: &[&str]) {
    let (_, first) = policy.projects.first_key_value().unwrap();
    let first = first.clone();
    policy.lifecycle.scm_interval_ms = 100;
    for name in names {
        let mut project = first.clone();
        project.session_prefix = name.parse().unwrap();
        let settings = serde_json::json!({ "name": name });
        project.scm = Some(PluginChoice { plugin: "vendor".into(), settings });
        project.repo = Some(REPO.to_owned());
        policy.projects.insert(name.parse().unwrap(), project);
    }
}

impl House {
    /// A session of this project at work, whose branch has the pull request of this number.
    async fn followed(&self, project: &str, number: u32) -> (SessionId, String) {
        let call = SpawnCall { project: project.parse().unwrap(), ..spawn_call("Do it") };
        let session = self.handle().spawn(call, ana()).await.unwrap().session.unwrap();
        self.begins(&session, "Do it").await;
        let branch = self.session(&session).works_on().unwrap().to_owned();
        let vendor = vendor(project);
        // As one repository's: no two of them have the same number.
        let earlier = (1..number).map(|n| format!("earlier/{n}"));
        for branch in earlier.chain([branch.clone()]) {
            vendor.commit(&branch);
            let request = CreatePr {
                repo: REPO.to_owned(),
                title: "Do it".to_owned(),
                body: String::new(),
                head: branch.clone(),
                base: "main".to_owned(),
                draft: true,
            };
            let call = Call::new(format!("open-{branch}"), Duration::from_secs(5));
            vendor.create(&call, &request).await.unwrap();
        }
        self.handle().look_at_prs(None).await;
        self.until("it is seen", |state| state.sessions[&session].pr().is_some()).await;
        (session, branch)
    }

    async fn sees(&self, session: &SessionId, head: &str) {
        let seen = |pr: &ao_slots::fact::PrFacts| pr.head == head;
        self.until("the head is seen", |state| state.sessions[session].pr().is_some_and(seen))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_scm_that_hangs_keeps_no_other_from_being_followed() {
    let mut house = House::with(|house| {
        with_vendors(&mut house.policy, &["deaf", "well"]);
        house.policy.lifecycle.limits.scm_ms = 120_000;
    })
    .await;
    house.followed("deaf", 1).await;
    let (session, branch) = house.followed("well", 2).await;
    vendor("deaf").behave(Mood::Silent);
    // The first of them may still be seen in the round in which the other falls silent.
    for _ in 0..5 {
        let head = vendor("well").commit(&branch);
        house.sees(&session, &head).await;
    }
    // Who asks about one waits for no other.
    let head = vendor("well").commit(&branch);
    house.handle().look_at_prs(Some(&session)).await;
    assert_eq!(house.session(&session).pr().unwrap().head, head);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_that_a_human_does_at_the_forge_has_the_others_of_its_repository_looked_at() {
    let mut house = House::with(|house| {
        with_vendors(&mut house.policy, &["forge"]);
        // Nothing but a hint makes ao look.
        house.policy.lifecycle.scm_interval_ms = 300_000;
    })
    .await;
    let (first, branch) = house.followed("forge", 1).await;
    let (second, beside) = house.followed("forge", 2).await;
    let pr = house.session(&first).follow.pr.clone().unwrap();
    let call = Call::new("merge", Duration::from_secs(5));
    let head = vendor("forge").commit(&branch);
    vendor("forge").merge(&call, &pr, &head, None).await.unwrap();
    let head = vendor("forge").commit(&beside);
    house.handle().look_at_pr(&first);
    house.sees(&second, &head).await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_scm_that_panics_is_one_that_does_not_answer() {
    let mut house = House::with(|house| with_vendors(&mut house.policy, &["frail"])).await;
    let (session, branch) = house.followed("frail", 1).await;
    let frail = "frail".parse().unwrap();
    let away = |state: &State| state.scm_away.contains_key(&frail);
    vendor("frail").break_down(true);
    house.until("what it told is unknown", away).await;
    let subject = Subject::Project("frail".parse().unwrap());
    let open =
        |state: &State| state.open_incident(&subject, Trigger::ScmUnavailable, None).is_some();
    house.until("it is told as any that does not answer", open).await;
    vendor("frail").break_down(false);
    let head = vendor("frail").commit(&branch);
    house.sees(&session, &head).await;
    house.until("it answers again", |state| !away(state)).await;
    house.stop().await;
}
