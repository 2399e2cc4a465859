//! The log of a failing check: of its failing step, around the first line that speaks of an error.

use std::fmt::Write as _;

use ao_github::{Answer, Errand, Method, repo_path};
use ao_sdk::log::around_error;
use ao_slots::{
    ErrorKind, PluginError,
    scm::{CheckState, PrRef},
    text::{cut, one_line},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::{Hub, act::Located, graph::Context};

/// The most of a log that is told, in bytes.
const MOST: usize = 48 << 10;
/// How many logs are kept, the oldest jobs' not.
const LOGS: usize = 50;
/// How many annotations are told.
const ANNOTATIONS: usize = 20;

impl Hub {
    pub(crate) async fn log(
        &self,
        errand: Errand,
        pr: &PrRef,
        check: &str,
    ) -> Result<String, PluginError> {
        let (located, contexts) = self.checks(errand, pr).await?;
        let named: Vec<&Context> =
            contexts.iter().filter(|one| one_line(one.name()) == check).collect();
        let failed = named.iter().find(|one| one.state() == CheckState::Failed);
        let Some(context) = failed.or(named.first()) else {
            let what = format!("#{} has no check `{}`", pr.number.0, one_line(check));
            return Err(PluginError::new(ErrorKind::NotFound, what, ""));
        };
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = match context.url() {
            Some(url) => writeln!(out, "{check} ({})", one_line(url)),
            None => writeln!(out, "{check}"),
        };
        if let Some(summary) = context.summary() {
            let _ = writeln!(out, "{summary}");
        }
        let Some(id) = context.id() else { return Ok(out) };
        out.push_str(&self.annotations(errand, &located, id).await?);
        match context.run() {
            Some(_) => out.push_str(&self.job(errand, &located, id).await?),
            None => out.push_str(&self.output(errand, &located, id).await?),
        }
        Ok(out)
    }

    async fn annotations(
        &self,
        errand: Errand,
        located: &Located,
        id: u64,
    ) -> Result<String, PluginError> {
        let repo = repo_path(&located.repo)?;
        let path = format!("{repo}/check-runs/{id}/annotations?per_page=50");
        let answer = match self.github.rest(errand, Method::GET, &path, None).await {
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(String::new()),
            answer => answer?,
        };
        let mut out = String::new();
        let all = answer.body.as_array().into_iter().flatten();
        for one in all.filter(|one| one["annotation_level"] != "notice").take(ANNOTATIONS) {
            let path = one_line(one["path"].as_str().unwrap_or_default());
            let words = cut(&one_line(one["message"].as_str().unwrap_or_default()), 500);
            let level = one["annotation_level"].as_str().unwrap_or("failure");
            // Writing to a string does not fail.
            let _ = writeln!(out, "{path}:{} {level}: {words}", one["start_line"]);
        }
        Ok(out)
    }

    /// A job of GitHub's own CI. Its log is there once it has ended, and for some weeks.
    async fn job(&self, errand: Errand, located: &Located, id: u64) -> Result<String, PluginError> {
        let path = format!("{}/actions/jobs/{id}", repo_path(&located.repo)?);
        let job = match self.github.rest(errand, Method::GET, &path, None).await {
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(String::new()),
            job => job?,
        };
        // What has ended is not written on.
        let is_over = job.body["status"] == "completed";
        if let Some(known) = self.logs().get(&id).filter(|_| is_over) {
            return Ok(known.clone());
        }
        let step = failing_step(&job);
        let log = match self.github.log(errand, &format!("{path}/logs")).await {
            Err(error) if error.kind == ErrorKind::NotFound => {
                return Ok("Its log is not there, or not any more.\n".to_owned());
            }
            log => log?,
        };
        let name = step.map(|step| one_line(step["name"].as_str().unwrap_or_default()));
        let title = name.map_or_else(String::new, |name| format!("Step: {name}\n"));
        let told = title + &around_error(&of_step(&log, step), MOST);
        let mut logs = self.logs();
        if is_over {
            logs.insert(id, told.clone());
        }
        if logs.len() > LOGS {
            logs.pop_first();
        }
        Ok(told)
    }

    /// What another app says of its check.
    async fn output(
        &self,
        errand: Errand,
        located: &Located,
        id: u64,
    ) -> Result<String, PluginError> {
        let path = format!("{}/check-runs/{id}", repo_path(&located.repo)?);
        let answer = self.github.rest(errand, Method::GET, &path, None).await?;
        let output = &answer.body["output"];
        let words = ["summary", "text"].map(|name| output[name].as_str().unwrap_or_default());
        Ok(around_error(&words.join("\n"), MOST))
    }
}

fn failing_step(job: &Answer) -> Option<&Value> {
    let steps = job.body["steps"].as_array()?;
    let failed = |step: &&Value| {
        matches!(step["conclusion"].as_str(), Some("failure" | "timed_out" | "cancelled"))
    };
    steps.iter().find(failed)
}

/// The lines of a step, by the time at the beginning of each; all where that does not tell. The times are cut off.
fn of_step(log: &str, step: Option<&Value>) -> String {
    let time = |name: &str| step?[name].as_str()?.parse::<Timestamp>().ok();
    // A step's times are in whole seconds.
    let until =
        time("completed_at").and_then(|to| to.checked_add(SignedDuration::from_secs(1)).ok());
    let span = time("started_at").zip(until);
    let mut lines = Vec::new();
    let mut of_it = Vec::new();
    let mut within = false;
    for line in log.lines() {
        let line = line.trim_start_matches('\u{feff}');
        let split = line.split_once(' ').unwrap_or((line, ""));
        let text = match split.0.parse::<Timestamp>() {
            Ok(at) => {
                within = span.is_some_and(|(from, to)| from <= at && at <= to);
                split.1
            }
            // A line without a time goes on with the one before.
            Err(_) => line,
        };
        lines.push(text);
        if within {
            of_it.push(text);
        }
    }
    if of_it.is_empty() { lines.join("\n") } else { of_it.join("\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_told_by_its_times() {
        let log = "2026-11-22T01:00:00.1000000Z ##[group]Run make\n\
                   2026-11-22T01:00:01.2000000Z error: not this one\n\
                   2026-11-22T01:00:05.0000001Z error: this one\n\
                   without a time\n\
                   2026-11-22T01:00:09.9000000Z Post job cleanup.";
        let step = serde_json::json!({
            "name": "test", "started_at": "2026-11-22T01:00:05Z", "completed_at": "2026-11-22T01:00:06Z",
        });
        assert_eq!(of_step(log, Some(&step)), "error: this one\nwithout a time");
        let other = serde_json::json!({
            "name": "test", "started_at": "2026-11-23T01:00:05Z", "completed_at": "2026-11-23T01:00:06Z",
        });
        assert_eq!(of_step(log, Some(&other)).lines().count(), 5);
        assert!(of_step(log, None).starts_with("##[group]Run make\nerror: not"));
    }
}
