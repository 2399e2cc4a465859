//! The suite accepts the correct fake and names each breach.

use ao_slots::scm::{PrView, ScmHint, Thread};

use super::{fake::Vendor, *};

#[tokio::test(start_paused = true)]
async fn the_correct_fake_passes() {
    all(async || Arc::new(Vendor::default())).await;
}

/// One breach of the contract each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Breach {
    CreatesForEachKey,
    MergesOnce,
    MergesAnyHead,
    TakesMergedForMerged,
    ForgetsADroppedCreate,
    NeverEnds,
    DoubtsForever,
    SaysNoWhenAway,
    CallsAwayPermanent,
    LeavesOut,
    DeniesWhatWasNotAnswered,
    TakesAPageForAll,
    DetectsClosedOnes,
    SwapsAnswers,
    HandsOnTheWholeLog,
    BelievesAnything,
    ReadsHeadersByCase,
    ForgetsThePr,
}

#[derive(Debug)]
struct Wrong {
    breach: Breach,
    right: Arc<Vendor>,
}

impl Wrong {
    fn is(&self, breach: Breach) -> bool {
        self.breach == breach
    }

    /// The breach on a call that only asks; none where this one is kept.
    fn asked_away<T>(&self, error: PluginError, none: T) -> Result<T, PluginError> {
        match self.breach {
            Breach::SaysNoWhenAway => Ok(none),
            Breach::CallsAwayPermanent => Err(PluginError { kind: ErrorKind::Permanent, ..error }),
            _ => Err(error),
        }
    }
}

#[async_trait]
impl Scm for Wrong {
    async fn detect(
        &self,
        call: &Call,
        branches: &[BranchRef],
    ) -> Result<Vec<Answer<PrRef>>, PluginError> {
        let mut answers = match self.right.detect(call, branches).await {
            Err(error) => {
                return self.asked_away(error, branches.iter().map(|_| Answer::No).collect());
            }
            Ok(answers) => answers,
        };
        for (answer, wanted) in answers.iter_mut().zip(branches) {
            if *answer == Answer::No && self.is(Breach::DetectsClosedOnes) {
                let last = self.right.prs().await.pop().filter(|_| wanted.branch == "ao/one");
                *answer = last.map_or(Answer::No, |pr| Answer::Yes(pr.0));
            }
        }
        Ok(answers)
    }

    async fn list(&self, call: &Call, repo: &str, all: bool) -> Result<Vec<PrView>, PluginError> {
        self.right.list(call, repo, all).await
    }

    async fn show(&self, call: &Call, pr: &PrRef) -> Result<PrView, PluginError> {
        self.right.show(call, pr).await
    }

    async fn diff(&self, call: &Call, pr: &PrRef) -> Result<String, PluginError> {
        self.right.diff(call, pr).await
    }

    async fn reopen(&self, call: &Call, pr: &PrRef) -> Result<(), PluginError> {
        self.right.reopen(call, pr).await
    }

    async fn rerun(&self, call: &Call, pr: &PrRef, check: Option<&str>) -> Result<(), PluginError> {
        self.right.rerun(call, pr, check).await
    }

    async fn observe(
        &self,
        call: &Call,
        prs: &[PrRef],
    ) -> Result<Vec<Answer<PrFacts>>, PluginError> {
        let mut answers = self.right.observe(call, prs).await?;
        match self.breach {
            Breach::LeavesOut => answers.retain(|answer| !matches!(answer, Answer::Unknown(_))),
            Breach::DeniesWhatWasNotAnswered => {
                for answer in answers.iter_mut().filter(|a| matches!(a, Answer::Unknown(_))) {
                    *answer = Answer::No;
                }
            }
            Breach::SwapsAnswers if prs.len() == 4 => {
                answers.sort_by_key(|answer| match answer {
                    Answer::Yes(facts) => facts.number,
                    _ => PrNumber(u64::MAX),
                });
            }
            _ => {}
        }
        Ok(answers)
    }

    async fn create(&self, call: &Call, request: &CreatePr) -> Result<PrRef, PluginError> {
        let mut request = request.clone();
        let mut call = call.clone();
        if self.is(Breach::CreatesForEachKey) && call.key == "k2" {
            self.right.commit("ao/other");
            request.head = "ao/other".to_owned();
        }
        if self.is(Breach::ForgetsADroppedCreate) && call.key == "k" {
            let n = self.right.prs().await.len();
            request.head = format!("ao/{n}");
            call.key = format!("k-{n}");
            self.right.commit(&request.head);
            let made = self.right.create(&call, &request).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
            return made;
        }
        match self.right.create(&call, &request).await {
            Err(error) if error.kind == ErrorKind::InDoubt && self.is(Breach::NeverEnds) => {
                std::future::pending().await
            }
            Err(error) if error.kind == ErrorKind::InDoubt && self.is(Breach::DoubtsForever) => {
                Err(PluginError { kind: ErrorKind::Permanent, ..error })
            }
            answer => answer,
        }
    }

    async fn merge(
        &self,
        call: &Call,
        pr: &PrRef,
        expected_head: &str,
        method: Option<MergeMethod>,
    ) -> Result<String, PluginError> {
        let state = self.right.prs().await.into_iter().find(|known| known.0 == *pr).map(|p| p.1);
        if state == Some(PrState::Merged) {
            match self.breach {
                Breach::MergesOnce => {
                    return Err(PluginError::permanent("cannot merge", "it is merged"));
                }
                Breach::TakesMergedForMerged => return Ok("c01dbee".to_owned()),
                _ => {}
            }
        }
        let mut head = expected_head.to_owned();
        if self.is(Breach::MergesAnyHead) {
            head = facts(&*self.right, pr).await.head;
        }
        self.right.merge(call, pr, &head, method).await
    }

    async fn close(&self, call: &Call, pr: &PrRef) -> Result<(), PluginError> {
        self.right.close(call, pr).await
    }

    async fn failing_check_log(
        &self,
        call: &Call,
        pr: &PrRef,
        check: &str,
    ) -> Result<String, PluginError> {
        let log = self.right.failing_check_log(call, pr, check).await?;
        Ok(if self.is(Breach::HandsOnTheWholeLog) { log.repeat(2) } else { log })
    }

    async fn threads(&self, call: &Call, pr: &PrRef) -> Result<Vec<Thread>, PluginError> {
        let mut threads = self.right.threads(call, pr).await?;
        if self.is(Breach::TakesAPageForAll) {
            threads.truncate(100);
        }
        Ok(threads)
    }

    fn verify_webhook(&self, headers: &[(String, String)], body: &[u8]) -> Result<(), PluginError> {
        match self.breach {
            Breach::BelievesAnything => Ok(()),
            Breach::ReadsHeadersByCase if headers.iter().all(|h| h.0 != "x-signature") => {
                Err(PluginError::permanent("no signature", ""))
            }
            _ => self.right.verify_webhook(headers, body),
        }
    }

    fn parse_webhook(
        &self,
        headers: &[(String, String)],
        body: &[u8],
    ) -> Result<Option<ScmHint>, PluginError> {
        let hint = self.right.parse_webhook(headers, body)?;
        let forgets = self.is(Breach::ForgetsThePr);
        Ok(hint.map(|hint| if forgets { ScmHint { pr: None, ..hint } } else { hint }))
    }
}

struct WrongForge(Arc<Wrong>);

#[async_trait]
impl Forge for WrongForge {
    fn scm(&self) -> Arc<dyn Scm> {
        self.0.clone()
    }
    fn repo(&self) -> String {
        self.0.right.repo()
    }
    async fn set(&self, mood: Mood) -> bool {
        self.0.right.set(mood).await
    }
    async fn push(&self, branch: &str) -> String {
        self.0.right.push(branch).await
    }
    async fn prs(&self) -> Vec<(PrRef, PrState)> {
        self.0.right.prs().await
    }
    async fn discuss(&self, pr: &PrRef, threads: usize) {
        self.0.right.discuss(pr, threads).await;
    }
    async fn fail_check(&self, pr: &PrRef, check: &str, log: &str) {
        self.0.right.fail_check(pr, check, log).await;
    }
    async fn webhook(&self, pr: Option<PrNumber>) -> (Headers, Vec<u8>) {
        self.0.right.webhook(pr).await
    }
}

#[tokio::test(start_paused = true)]
async fn each_breach_is_caught_and_named() {
    for (breach, said) in [
        (Breach::CreatesForEachKey, "Idempotency: `create` for an open head branch"),
        (Breach::MergesOnce, "Errors: `merge` failed"),
        (Breach::MergesAnyHead, "Errors: `merge` reports a success that was none"),
        (Breach::TakesMergedForMerged, "Idempotency: a repeated `merge` names another commit"),
        (Breach::ForgetsADroppedCreate, "Cancel safety: 2 pull requests after a dropped"),
        (Breach::NeverEnds, "Deadline: `create` did not end"),
        (Breach::DoubtsForever, "Deadline: `create` without an answer"),
        (Breach::SaysNoWhenAway, "Errors: `detect` without an answer says No"),
        (Breach::CallsAwayPermanent, "Errors: `detect` is"),
        (Breach::LeavesOut, "Errors: `observe` left some out"),
        (Breach::DeniesWhatWasNotAnswered, "Errors: a part of an answer says that"),
        (Breach::TakesAPageForAll, "Errors: 100 of 130 threads"),
        (Breach::DetectsClosedOnes, "`detect`: found a closed one"),
        (Breach::SwapsAnswers, "`observe`: "),
        (Breach::HandsOnTheWholeLog, "`failing_check_log`: "),
        (Breach::BelievesAnything, "`verify_webhook`: believed another body"),
        (Breach::ReadsHeadersByCase, "`verify_webhook`: headers in upper case"),
        (Breach::ForgetsThePr, "`parse_webhook`: names another one"),
    ] {
        let suite = tokio::spawn(all(async move || {
            WrongForge(Arc::new(Wrong { breach, right: Arc::default() }))
        }));
        let panic = suite.await.expect_err(&format!("{breach:?} was not caught")).into_panic();
        let text = panic.downcast_ref::<String>().map_or_else(
            || panic.downcast_ref::<&str>().copied().unwrap_or_default().to_owned(),
            Clone::clone,
        );
        assert!(text.contains(said), "{breach:?} was caught as: {text}");
    }
}
