//! A vendor in memory with an scm that keeps the contract, for the tests of whoever drives one.

use std::{
    collections::{BTreeMap, hash_map::DefaultHasher},
    hash::Hasher as _,
    sync::{Mutex, MutexGuard, PoisonError},
};

use ao_slots::{
    fact::{Mergeable, Review},
    scm::{CheckRun, CheckState, Comment, PrView, Quota, ScmHint, Thread},
};

use super::*;

/// The repository that [`Vendor`] has.
pub const REPO: &str = "acme/my-app";

/// The longest log that a plugin hands on.
const LOG: usize = 64 * 1024;

/// The vendor and the plugin in one. The signature of its webhooks is a checksum: it protects nothing.
#[derive(Debug, Default)]
pub struct Vendor {
    far: Mutex<Far>,
}

#[derive(Debug, Default)]
struct Far {
    mood: Option<Mood>,
    /// The plugin panics when it asks.
    broken: bool,
    /// How often each branch was pushed.
    branches: BTreeMap<String, u32>,
    prs: Vec<Pr>,
}

/// One pull request. What a test changes here is what the plugin observes.
#[derive(Debug, Clone)]
pub struct Pr {
    /// The key of the call that made it.
    pub key: String,
    /// The branch with the work.
    pub branch: String,
    /// Its facts.
    pub facts: PrFacts,
    /// The resulting commit, once merged.
    pub merged: Option<String>,
    /// Its threads.
    pub threads: Vec<Thread>,
    /// The logs of its failing checks.
    pub logs: BTreeMap<String, String>,
}

impl Vendor {
    /// Behaves like this from now on.
    pub fn behave(&self, mood: Mood) {
        self.far().mood = Some(mood);
    }

    /// Lets the plugin panic whenever it asks, or no longer.
    pub fn break_down(&self, broken: bool) {
        self.far().broken = broken;
    }

    /// Pushes a commit to a branch and returns its object name.
    pub fn commit(&self, branch: &str) -> String {
        let far = &mut *self.far();
        let pushes = far.branches.entry(branch.to_owned()).or_default();
        *pushes += 1;
        let head = object(&(branch, *pushes));
        for pr in far.prs.iter_mut().filter(|pr| pr.branch == branch && is_open(pr)) {
            pr.facts.head = head.clone();
        }
        head
    }

    /// Changes a pull request by hand; nothing happens when there is none with this number.
    pub fn change(&self, number: PrNumber, change: impl FnOnce(&mut Pr)) {
        if let Some(pr) = self.far().prs.iter_mut().find(|pr| pr.facts.number == number) {
            change(pr);
        }
    }

    fn far(&self) -> MutexGuard<'_, Far> {
        self.far.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the vendor: what it answers, or the failure that its mood makes of it.
    async fn ask<T>(&self, call: &Call, act: impl FnOnce(&mut Far) -> T) -> Result<T, PluginError> {
        // A request takes a while, so that a dropped one may not have been sent.
        tokio::task::yield_now().await;
        {
            let mut far = self.far();
            assert!(!far.broken, "the plugin panics, as the test wants");
            match far.mood.unwrap_or(Mood::Well) {
                Mood::Well | Mood::Partial => return Ok(act(&mut far)),
                Mood::Silent => drop(act(&mut far)),
                Mood::Away => {
                    return Err(PluginError::transient("cannot reach the vendor", "away"));
                }
            }
        }
        tokio::time::sleep(call.limit()).await;
        Err(PluginError::in_doubt("the vendor did not answer", "no answer in time"))
    }

    /// What is only asked is not in doubt: it changed nothing.
    async fn look<T>(&self, call: &Call, look: impl FnOnce(&Far) -> T) -> Result<T, PluginError> {
        self.ask(call, |far| look(far))
            .await
            .map_err(|error| PluginError { kind: ErrorKind::Transient, ..error })
    }

    fn is_partial(&self) -> bool {
        self.far().mood == Some(Mood::Partial)
    }
}

impl Far {
    fn pr(&mut self, pr: &PrRef) -> Result<&mut Pr, PluginError> {
        let found = self.prs.iter_mut().find(|known| known.facts.number == pr.number);
        found.filter(|_| pr.repo == REPO).ok_or_else(|| no_such(&format!("PR #{}", pr.number.0)))
    }
}

fn no_such(what: &str) -> PluginError {
    PluginError::new(ErrorKind::NotFound, format!("there is no {what}"), "")
}

fn is_open(pr: &Pr) -> bool {
    matches!(pr.facts.state, PrState::Open | PrState::Draft)
}

fn reference(pr: &Pr) -> PrRef {
    PrRef { repo: REPO.to_owned(), number: pr.facts.number, node: None }
}

fn view(pr: &Pr) -> PrView {
    let failing = |name: &String| CheckRun {
        name: name.clone(),
        state: CheckState::Failed,
        required: true,
        summary: None,
        url: None,
        took_ms: None,
    };
    PrView {
        pr: reference(pr),
        facts: pr.facts.clone(),
        body: String::new(),
        branch: pr.branch.clone(),
        author: None,
        checks: pr.facts.failing.iter().map(failing).collect(),
        threads: pr.threads.clone(),
    }
}

/// Something that looks like the name of an object.
fn object(of: &impl std::hash::Hash) -> String {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    format!("{:016x}{:024x}", hasher.finish(), 0)
}

#[async_trait]
impl Scm for Vendor {
    async fn detect(
        &self,
        call: &Call,
        branches: &[BranchRef],
    ) -> Result<Vec<Answer<PrRef>>, PluginError> {
        let partial = self.is_partial();
        self.look(call, |far| {
            let open = |wanted: &BranchRef| {
                let mut prs = far.prs.iter().filter(|_| wanted.repo == REPO);
                prs.find(|pr| pr.branch == wanted.branch && is_open(pr)).map(reference)
            };
            let answer = |wanted| match open(wanted) {
                _ if partial => Answer::Unknown("only a part was answered".to_owned()),
                Some(pr) => Answer::Yes(pr),
                None => Answer::No,
            };
            branches.iter().map(answer).collect()
        })
        .await
    }

    async fn observe(
        &self,
        call: &Call,
        prs: &[PrRef],
    ) -> Result<Vec<Answer<PrFacts>>, PluginError> {
        let partial = self.is_partial();
        self.look(call, |far| {
            let known = |pr: &PrRef| far.prs.iter().find(|known| reference(known) == *pr);
            let answer = |(at, pr)| match known(pr) {
                _ if partial && at % 2 == 1 => Answer::Unknown("not in the answer".to_owned()),
                Some(pr) => Answer::Yes(pr.facts.clone()),
                None => Answer::No,
            };
            prs.iter().enumerate().map(answer).collect()
        })
        .await
    }

    async fn list(&self, call: &Call, _: &str, all: bool) -> Result<Vec<PrView>, PluginError> {
        self.look(call, |far| {
            let wanted = |pr: &&Pr| all || is_open(pr);
            far.prs.iter().rev().filter(wanted).map(view).collect()
        })
        .await
    }

    async fn show(&self, call: &Call, pr: &PrRef) -> Result<PrView, PluginError> {
        let found = |far: &Far| far.prs.iter().find(|known| reference(known) == *pr).map(view);
        self.look(call, found).await?.ok_or_else(|| no_such(&format!("PR #{}", pr.number.0)))
    }

    async fn diff(&self, call: &Call, pr: &PrRef) -> Result<String, PluginError> {
        Ok(format!("diff of {}\n", self.show(call, pr).await?.facts.head))
    }

    async fn create(&self, call: &Call, request: &CreatePr) -> Result<PrRef, PluginError> {
        self.ask(call, |far| {
            let same = |pr: &&Pr| pr.key == call.key || (pr.branch == request.head && is_open(pr));
            if let Some(pr) = far.prs.iter_mut().find(|pr| same(&&**pr)) {
                if pr.facts.state == PrState::Draft && !request.draft {
                    pr.facts.state = PrState::Open;
                }
                return Ok(reference(pr));
            }
            let Some(pushes) = far.branches.get(&request.head) else {
                return Err(no_such(&format!("branch {}", request.head)));
            };
            let pr = Pr {
                key: call.key.clone(),
                branch: request.head.clone(),
                facts: PrFacts {
                    number: PrNumber(far.prs.len() as u64 + 1),
                    title: request.title.clone(),
                    head: object(&(request.head.as_str(), *pushes)),
                    state: if request.draft { PrState::Draft } else { PrState::Open },
                    checks: Checks::None,
                    failing: Vec::new(),
                    pending: 0,
                    review: Review::None,
                    human_threads: 0,
                    remarks: 0,
                    remark_ids: vec![],
                    bot_threads: 0,
                    mergeable: Mergeable::Yes,
                    discussion: String::new(),
                    details: Default::default(),
                },
                merged: None,
                threads: Vec::new(),
                logs: BTreeMap::new(),
            };
            let made = reference(&pr);
            far.prs.push(pr);
            Ok(made)
        })
        .await?
    }

    async fn merge(
        &self,
        call: &Call,
        pr: &PrRef,
        expected_head: &str,
        _: Option<MergeMethod>,
    ) -> Result<String, PluginError> {
        self.ask(call, |far| {
            let pr = far.pr(pr)?;
            let refused = |cause: &str| {
                let what = format!("PR #{} was not merged", pr.facts.number.0);
                Err(PluginError::new(ErrorKind::Refused, what, cause))
            };
            if pr.facts.head != expected_head {
                return refused("its head has moved");
            }
            if pr.facts.state == PrState::Closed {
                return refused("it is closed");
            }
            pr.facts.state = PrState::Merged;
            Ok(pr.merged.get_or_insert_with(|| object(&(expected_head, "merged"))).clone())
        })
        .await?
    }

    async fn close(&self, call: &Call, pr: &PrRef) -> Result<(), PluginError> {
        self.ask(call, |far| {
            let pr = far.pr(pr)?;
            if is_open(pr) {
                pr.facts.state = PrState::Closed;
            }
            Ok(())
        })
        .await?
    }

    async fn reopen(&self, call: &Call, pr: &PrRef) -> Result<(), PluginError> {
        self.ask(call, |far| {
            let pr = far.pr(pr)?;
            if pr.facts.state == PrState::Closed {
                pr.facts.state = PrState::Open;
            }
            Ok(())
        })
        .await?
    }

    async fn rerun(&self, call: &Call, pr: &PrRef, check: Option<&str>) -> Result<(), PluginError> {
        self.ask(call, |far| {
            let facts = &mut far.pr(pr)?.facts;
            facts.failing.retain(|name| check.is_some_and(|check| check != name));
            if facts.failing.is_empty() && facts.checks == Checks::Failing {
                facts.checks = Checks::Pending;
            }
            Ok(())
        })
        .await?
    }

    async fn failing_check_log(
        &self,
        call: &Call,
        pr: &PrRef,
        check: &str,
    ) -> Result<String, PluginError> {
        let log = |far: &Far| {
            let pr = far.prs.iter().find(|known| reference(known) == *pr)?;
            pr.logs.get(check).cloned()
        };
        let log = self.look(call, log).await?.ok_or_else(|| no_such(&format!("check {check}")))?;
        // The test's logs are ASCII.
        let from = log.find("error").unwrap_or(0).saturating_sub(LOG / 2);
        Ok(log[from..].chars().take(LOG).collect())
    }

    async fn threads(&self, call: &Call, pr: &PrRef) -> Result<Vec<Thread>, PluginError> {
        if self.is_partial() {
            return Err(PluginError::transient("the threads were not read to their end", ""));
        }
        let threads = |far: &Far| {
            let found = far.prs.iter().find(|known| reference(known) == *pr);
            found.map(|pr| pr.threads.clone())
        };
        self.look(call, threads).await?.ok_or_else(|| no_such(&format!("PR #{}", pr.number.0)))
    }

    fn quota(&self) -> Vec<Quota> {
        assert!(!self.far().broken, "the plugin panics, as the test wants");
        vec![]
    }

    fn verify_webhook(&self, headers: &[(String, String)], body: &[u8]) -> Result<(), PluginError> {
        match header(headers, "x-signature") {
            Some(signature) if signature == object(&body) => Ok(()),
            _ => Err(PluginError::new(
                ErrorKind::Refused,
                "a webhook is not the vendor's",
                "wrong signature",
            )),
        }
    }

    fn parse_webhook(
        &self,
        headers: &[(String, String)],
        body: &[u8],
    ) -> Result<Option<ScmHint>, PluginError> {
        let delivery = header(headers, "x-delivery")
            .ok_or_else(|| PluginError::permanent("a webhook has no delivery id", ""))?;
        let text = String::from_utf8_lossy(body);
        let number = text.strip_prefix("pr ").and_then(|number| number.parse().ok());
        Ok(number.map(|number| ScmHint {
            repo: REPO.to_owned(),
            pr: Some(PrNumber(number)),
            delivery: delivery.to_owned(),
        }))
    }
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|header| header.0.eq_ignore_ascii_case(name))
        .map(|header| header.1.as_str())
}

#[async_trait]
impl Forge for Arc<Vendor> {
    fn scm(&self) -> Arc<dyn Scm> {
        self.clone()
    }

    fn repo(&self) -> String {
        REPO.to_owned()
    }

    async fn set(&self, mood: Mood) -> bool {
        self.behave(mood);
        true
    }

    async fn push(&self, branch: &str) -> String {
        self.commit(branch)
    }

    async fn prs(&self) -> Vec<(PrRef, PrState)> {
        self.far().prs.iter().map(|pr| (reference(pr), pr.facts.state)).collect()
    }

    async fn discuss(&self, pr: &PrRef, threads: usize) {
        self.change(pr.number, |pr| {
            for number in 0..threads {
                pr.threads.push(Thread {
                    id: format!("t{number}"),
                    resolved: false,
                    outdated: false,
                    path: None,
                    line: None,
                    comments: vec![Comment {
                        id: format!("c{number}"),
                        author: "ben".to_owned(),
                        is_bot: false,
                        trusted: true,
                        own: false,
                        text: format!("comment {number}"),
                    }],
                });
            }
            pr.facts.human_threads = u32::try_from(pr.threads.len()).unwrap_or(u32::MAX);
        });
    }

    async fn fail_check(&self, pr: &PrRef, check: &str, log: &str) {
        self.change(pr.number, |pr| {
            pr.facts.checks = Checks::Failing;
            pr.facts.failing = vec![check.to_owned()];
            pr.logs.insert(check.to_owned(), log.to_owned());
        });
    }

    async fn webhook(&self, pr: Option<PrNumber>) -> (Headers, Vec<u8>) {
        let body = pr.map_or("star".to_owned(), |pr| format!("pr {}", pr.0)).into_bytes();
        let headers = [("x-signature", object(&body.as_slice())), ("x-delivery", "d-1".to_owned())];
        (headers.map(|(name, value)| (name.to_owned(), value)).to_vec(), body)
    }
}
