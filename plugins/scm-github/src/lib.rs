//! Pull requests, checks and reviews on GitHub, or on an Enterprise server.
//!
//! One sweep asks for many pull requests, of any repositories, in one request of GraphQL for each 25: four connections
//! each, none within another, and the checks where one may have changed. Words of threads are asked for only
//! where they may have changed. What a token may spend is followed: a fifth of it is left to what a human asks.
//!
//! A pull request is told by its node id, which stays when its repository is renamed.

mod act;
mod graph;
mod log;
mod observe;
#[cfg(test)]
mod tests;
mod threads;
mod webhook;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use ao_github::{Access, App, Errand, Github};
use ao_sdk::Secret;
use ao_slots::{
    Call, PluginError,
    call::Answer,
    fact::PrFacts,
    plugin::{self, Registration},
    scm::{
        BranchRef, CreatePr, GiveReview, MergeMethod, PrRef, PrView, Quota, Scm, ScmHint, Thread,
    },
};
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::observe::{Sight, View};

/// The plugin's name in the config.
pub const NAME: &str = "github";

/// The most of a text that is told, in bytes.
const TEXT_CAP: usize = 64 << 10;

/// The settings.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Settings {
    /// The token. Without one, that of GH_TOKEN or GITHUB_TOKEN, else that of `gh auth token`.
    pub token: Option<Secret>,
    /// Where the service answers: of an Enterprise server `https://<host>/api/v3`.
    pub url: Option<String>,
    /// A GitHub App to ask as, instead of a token.
    pub app: Option<App>,
    /// The secret that webhooks are signed with. Without one, none is believed.
    pub webhook_secret: Option<Secret>,
    /// How many people who may write have to approve, where the rules ask for fewer; by default the project's
    /// `requiredApprovals`.
    pub required_approvals: u32,
}

impl Settings {
    fn access(&self) -> Access {
        Access { token: self.token.clone(), url: self.url.clone(), app: self.app.clone() }
    }

    fn check(&self) -> Result<(), PluginError> {
        self.access().check(NAME)?;
        match &self.webhook_secret {
            Some(secret) if secret.reveal().is_empty() => Err(PluginError::permanent(
                "the settings of `github` are not valid",
                "`webhookSecret` is empty",
            )),
            _ => Ok(()),
        }
    }
}

/// This plugin, for the list of plugins.
pub fn registration() -> Registration<dyn Scm> {
    Registration {
        name: NAME,
        about: "pull requests, checks and reviews on GitHub",
        schema: || schemars::schema_for!(Settings),
        check: |value| plugin::settings::<Settings>(NAME, value)?.check(),
        build: |value, context| {
            let settings = plugin::settings::<Settings>(NAME, value)?;
            settings.check()?;
            let github = Github::build(&settings.access(), context)?;
            let sights = shared(&github);
            let webhook_secret = settings.webhook_secret;
            let required = settings.required_approvals.try_into().unwrap_or(usize::MAX);
            Ok(Arc::new(Hub { github, webhook_secret, required, sights, logs: Mutex::default() }))
        },
    }
}

/// GitHub, as one project sees it.
#[derive(Debug)]
struct Hub {
    github: Arc<Github>,
    webhook_secret: Option<Secret>,
    /// Approvals without which none counts as approved.
    required: usize,
    sights: Arc<Sights>,
    /// What was read of the logs of jobs that have ended, by job.
    logs: Mutex<BTreeMap<u64, String>>,
}

/// What was seen of pull requests, by what tells one from another.
type Sights = Mutex<BTreeMap<String, Sight>>;

/// What was seen with a token: several projects' pull requests are asked for through any one of them.
fn shared(github: &Arc<Github>) -> Arc<Sights> {
    static SHARED: Mutex<Vec<(Weak<Github>, Weak<Sights>)>> = Mutex::new(Vec::new());
    let mut all = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|(_, sights)| sights.strong_count() > 0);
    let known = all.iter().find(|(of, _)| of.as_ptr() == Arc::as_ptr(github));
    if let Some(sights) = known.and_then(|(_, sights)| sights.upgrade()) {
        return sights;
    }
    let new = Arc::new(Sights::default());
    all.push((Arc::downgrade(github), Arc::downgrade(&new)));
    new
}

impl Hub {
    fn sights(&self) -> MutexGuard<'_, BTreeMap<String, Sight>> {
        self.sights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn logs(&self) -> MutexGuard<'_, BTreeMap<u64, String>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// At most so many bytes, cut where a character ends.
fn capped(text: &str, most: usize) -> String {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

#[async_trait]
impl Scm for Hub {
    async fn detect(
        &self,
        call: &Call,
        branches: &[BranchRef],
    ) -> Result<Vec<Answer<PrRef>>, PluginError> {
        self.find(Errand::background(call), branches).await
    }

    async fn observe(
        &self,
        call: &Call,
        prs: &[PrRef],
    ) -> Result<Vec<Answer<PrFacts>>, PluginError> {
        let facts = |answer: Answer<View>| match answer {
            Answer::Yes(view) => Answer::Yes(view.facts),
            Answer::No => Answer::No,
            Answer::Unknown(why) => Answer::Unknown(why),
        };
        let views = self.look(Errand::background(call), prs).await?;
        Ok(views.into_iter().map(facts).collect())
    }

    async fn list(&self, call: &Call, repo: &str, all: bool) -> Result<Vec<PrView>, PluginError> {
        self.listed(Errand::urgent(call), repo, all).await
    }

    async fn show(&self, call: &Call, pr: &PrRef) -> Result<PrView, PluginError> {
        self.shown(Errand::urgent(call), pr).await
    }

    async fn diff(&self, call: &Call, pr: &PrRef) -> Result<String, PluginError> {
        self.changes(Errand::urgent(call), pr).await
    }

    async fn create(&self, call: &Call, request: &CreatePr) -> Result<PrRef, PluginError> {
        self.open(Errand::urgent(call), &call.key, request).await
    }

    async fn merge(
        &self,
        call: &Call,
        pr: &PrRef,
        expected_head: &str,
        method: Option<MergeMethod>,
    ) -> Result<String, PluginError> {
        self.merged(Errand::urgent(call), pr, expected_head, method).await
    }

    async fn close(&self, call: &Call, pr: &PrRef) -> Result<(), PluginError> {
        self.set_open(Errand::urgent(call), pr, false).await
    }

    async fn reopen(&self, call: &Call, pr: &PrRef) -> Result<(), PluginError> {
        self.set_open(Errand::urgent(call), pr, true).await
    }

    async fn review(
        &self,
        call: &Call,
        pr: &PrRef,
        review: &GiveReview,
    ) -> Result<(), PluginError> {
        self.reviewed(Errand::urgent(call), pr, review).await
    }

    async fn rerun(&self, call: &Call, pr: &PrRef, check: Option<&str>) -> Result<(), PluginError> {
        self.run_again(Errand::urgent(call), pr, check).await
    }

    async fn failing_check_log(
        &self,
        call: &Call,
        pr: &PrRef,
        check: &str,
    ) -> Result<String, PluginError> {
        self.log(Errand::background(call), pr, check).await
    }

    async fn threads(&self, call: &Call, pr: &PrRef) -> Result<Vec<Thread>, PluginError> {
        self.discussion(Errand::background(call), pr).await
    }

    fn quota(&self) -> Vec<Quota> {
        self.github.quota()
    }

    fn verify_webhook(&self, headers: &[(String, String)], body: &[u8]) -> Result<(), PluginError> {
        webhook::verify(self.webhook_secret.as_ref().map(Secret::reveal), headers, body)
    }

    fn parse_webhook(
        &self,
        headers: &[(String, String)],
        body: &[u8],
    ) -> Result<Option<ScmHint>, PluginError> {
        webhook::parse(headers, body)
    }
}
