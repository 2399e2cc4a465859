//! Effects on a session's pull request.

use std::sync::Arc;

use ao_slots::{
    Call, PluginError,
    scm::{CreatePr, MergeMethod, PrRef, Scm},
    text::{cut, one_line},
};

use super::{Shell, Work, no_such};
use crate::{
    event::{Failure, Outcome, Text},
    server::{handle::Handle, scm::repo_of},
};

impl Shell {
    fn pr_of(&self, handle: &Handle, work: &Work) -> Result<(Arc<dyn Scm>, PrRef), Failure> {
        let none = || no_such("it has no pull request");
        Ok((self.own_scm(handle, work)?, work.session.follow.pr.clone().ok_or_else(none)?))
    }

    fn own_scm(&self, handle: &Handle, work: &Work) -> Result<Arc<dyn Scm>, Failure> {
        let none = || {
            let what = format!("the project {} has no scm", work.session.project);
            PluginError::permanent(what, "")
                .with_remedy("set `scm: local` in agent-orchestrator.yaml")
        };
        Ok(self.scm(handle, work).ok_or_else(none)?)
    }

    /// Done once at that head, however often it is called: by the contract of the slot.
    pub(super) async fn merge_pr(
        &self,
        handle: &Handle,
        work: &Work,
        call: &Call,
        head: &str,
        method: Option<MergeMethod>,
    ) -> Result<Outcome, Failure> {
        let (scm, pr) = self.pr_of(handle, work)?;
        let commit = scm.merge(call, &pr, head, method).await?;
        Ok(Outcome::Merged { commit })
    }

    pub(super) async fn rerun_checks(
        &self,
        handle: &Handle,
        work: &Work,
        call: &Call,
        head: &str,
    ) -> Result<Outcome, Failure> {
        let (scm, pr) = self.pr_of(handle, work)?;
        if work.session.pr().is_some_and(|seen| seen.head != head) {
            return Err(Failure::refused("the head has moved since", None));
        }
        scm.rerun(call, &pr, None).await?;
        Ok(Outcome::Done)
    }

    pub(super) async fn reopen_pr(
        &self,
        handle: &Handle,
        work: &Work,
        call: &Call,
    ) -> Result<Outcome, Failure> {
        let (scm, pr) = self.pr_of(handle, work)?;
        scm.reopen(call, &pr).await?;
        Ok(Outcome::PrOpened(pr))
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one effect")]
    pub(super) async fn open_pr(
        &self,
        handle: &Handle,
        work: &Work,
        call: &Call,
        title: &Option<Text>,
        body: &Option<Text>,
        draft: bool,
        base: &Option<String>,
    ) -> Result<Outcome, Failure> {
        let scm = self.own_scm(handle, work)?;
        let branch = work.session.works_on().map(str::to_owned);
        let head = branch.ok_or_else(|| no_such("it has no branch yet"))?;
        let whole = |text: &Text| {
            let whole = text.blob.as_ref().and_then(|blob| handle.text(blob));
            whole.unwrap_or_else(|| text.excerpt.clone())
        };
        let task = one_line(&work.session.title.excerpt);
        let title = title.as_ref().map(whole).unwrap_or(task);
        let title =
            if title.trim().is_empty() { head.clone() } else { cut(&one_line(&title), 200) };
        let standard = work.project.default_branch.clone();
        let request = CreatePr {
            repo: repo_of(work),
            title,
            body: body.as_ref().map(whole).unwrap_or_default(),
            head,
            base: base.clone().or(standard).unwrap_or_else(|| "main".to_owned()),
            draft,
        };
        Ok(Outcome::PrOpened(scm.create(call, &request).await?))
    }
}
