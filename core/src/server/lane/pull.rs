//! Effects on a session's pull request.

use std::sync::Arc;

use ao_slots::{
    Call, PluginError,
    scm::{CreatePr, MergeMethod, PrRef, Scm},
    text::{cut, one_line},
};

use super::{Shell, Work, no_such};
use crate::{
    config::policy::ProjectPolicy,
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
        let body = body.as_ref().map(whole).unwrap_or_default();
        let request = CreatePr {
            repo: repo_of(work),
            title,
            body: closing(body, &work.project, work.session.issue.as_deref()),
            head,
            base: base.clone().or(standard).unwrap_or_else(|| "main".to_owned()),
            draft,
        };
        Ok(Outcome::PrOpened(scm.create(call, &request).await?))
    }
}

/// A forge that keeps the issues as well closes the one that the text of a merged pull request names so.
fn closing(body: String, project: &ProjectPolicy, issue: Option<&str>) -> String {
    let (Some(issue), Some(tracker), Some(scm)) = (issue, &project.tracker, &project.scm) else {
        return body;
    };
    let same = |key: &str| tracker.settings[key] == scm.settings[key];
    // Pull requests are the project's own repository's, issues may be another's.
    let said = tracker.settings["repo"].as_str().unwrap_or_default();
    let own = project.repo.as_deref().is_some_and(|repo| is_named(repo, said));
    let closes = format!("Closes #{issue}");
    let number = !issue.is_empty() && issue.bytes().all(|b| b.is_ascii_digit());
    if !number || tracker.plugin != scm.plugin || !same("url") || !own {
        return body;
    }
    if body.lines().any(|line| line.trim().eq_ignore_ascii_case(&closes)) {
        return body;
    }
    match body.trim_end() {
        "" => closes,
        body => format!("{body}\n\n{closes}"),
    }
}

/// Whether a repository, by its name or its address, is the one of this name.
fn is_named(repo: &str, name: &str) -> bool {
    let repo = repo.trim_end_matches('/').trim_end_matches(".git").to_ascii_lowercase();
    let before = repo.strip_suffix(&name.to_ascii_lowercase());
    !name.is_empty() && before.is_some_and(|rest| rest.is_empty() || rest.ends_with(['/', ':']))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::policy::PluginChoice;

    #[test]
    fn a_pull_request_names_the_issue_that_its_forge_closes_with_it() {
        let choice =
            |plugin: &str, settings| Some(PluginChoice { plugin: plugin.into(), settings });
        let mut project = crate::config::policy::Policy::with_projects(&["my-app"])
            .projects
            .into_values()
            .next()
            .unwrap();
        // As `infer` writes them.
        let own = choice("github", json!({"repo": "acme/app"}));
        (project.scm, project.tracker) = (choice("github", json!({})), own);
        project.repo = Some("https://github.com/Acme/app.git".into());
        let body = |project: &_, body: &str, issue| closing(body.into(), project, issue);
        assert_eq!(body(&project, "", Some("41")), "Closes #41");
        assert_eq!(body(&project, "Dark mode.\n", Some("41")), "Dark mode.\n\nCloses #41");
        assert_eq!(body(&project, "closes #41\n", Some("41")), "closes #41\n");
        assert_eq!(body(&project, "x", None), "x");
        for (repo, closes) in [
            ("acme/app", true),
            ("git@github.com:acme/app", true),
            ("acme/other-app", false),
            ("notacme/app", false),
        ] {
            project.repo = Some(repo.into());
            assert_eq!(body(&project, "x", Some("41")) != "x", closes, "{repo}");
        }
        project.tracker = choice("github", json!({"repo": "acme/issues"}));
        assert_eq!(body(&project, "x", Some("41")), "x");
        project.tracker = choice("plain", json!({}));
        assert_eq!(body(&project, "x", Some("41")), "x");
    }
}
