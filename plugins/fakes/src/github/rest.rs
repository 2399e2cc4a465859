//! REST: what each operation of the excerpt does and answers. What an answer lacks of what the description requires is
//! filled in by [`super::openapi`].

use serde_json::{Value, json};

use super::{
    graph::{actor_id, check_url, issue_id},
    openapi::Operation,
    world::{By, Check, Comment, Issue, Refused, Repo, Review, World, found, verdict},
};

/// An answer: status, body, and for a list how many there are beside this page.
#[derive(Debug)]
pub(super) enum Reply {
    /// JSON.
    Json(u16, Value),
    /// A page of a list, and the number of the last page.
    Page(Value, u64),
    /// Text.
    Text(String),
    /// Somewhere else.
    Elsewhere(u16, String),
    /// Nothing.
    Empty,
}

/// A request that has been found to be one of the description.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) operation: &'a Operation,
    pub(super) query: &'a [(String, String)],
    pub(super) body: &'a Value,
    /// It asks for a diff.
    pub(super) diff: bool,
    /// Where the service is.
    pub(super) url: &'a str,
    /// The answer of `GET /rate_limit`.
    pub(super) limits: Value,
}

/// A validation that failed, with what is wrong.
fn invalid(resource: &str, message: &str) -> Value {
    let error = match message.split_once(": ") {
        Some((field, code)) => json!({"resource": resource, "field": field, "code": code}),
        None => json!({"resource": resource, "code": "custom", "message": message}),
    };
    refusal("Validation Failed", Some(json!([error])))
}

/// The body of a refusal.
pub(super) fn refusal(message: &str, errors: Option<Value>) -> Value {
    let mut body = json!({"message": message, "documentation_url": "https://docs.github.com/rest"});
    if let Some(errors) = errors {
        body["errors"] = errors;
    }
    body
}

fn missing() -> Reply {
    Reply::Json(404, refusal("Not Found", None))
}

impl Asked<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn number(&self, at: usize) -> u64 {
        self.operation.path.get(at).and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    /// Cuts a list to the page that is asked for.
    fn page(&self, all: Vec<Value>, wrap: impl FnOnce(Vec<Value>, u64) -> Value) -> Reply {
        let whole = |name| self.get(name).and_then(|text| text.parse::<u64>().ok());
        let size = whole("per_page").unwrap_or(30).clamp(1, 100);
        let page = whole("page").unwrap_or(1).max(1);
        let total = all.len() as u64;
        let skip = usize::try_from((page - 1) * size).unwrap_or(usize::MAX);
        let take = usize::try_from(size).unwrap_or(usize::MAX);
        let items = all.into_iter().skip(skip).take(take).collect();
        Reply::Page(wrap(items, total), total.div_ceil(size))
    }

    fn list(&self, all: Vec<Value>) -> Reply {
        self.page(all, |items, _| Value::Array(items))
    }

    /// Does it.
    pub(super) fn answer(&self, world: &mut World) -> Reply {
        match self.operation.name.as_str() {
            "GET /rate_limit" => return Reply::Json(200, self.limits.clone()),
            "GET /user" if matches!(world.viewer, By::Bot(_)) => {
                let words = "Resource not accessible by integration";
                return Reply::Json(403, refusal(words, None));
            }
            "GET /user" => return Reply::Json(200, user(&world.viewer, self.url)),
            _ => {}
        }
        let [owner, name, ..] = self.operation.path.as_slice() else { return missing() };
        let Some(repo) = world.repo(&format!("{owner}/{name}")).map(|repo| repo.id) else {
            return missing();
        };
        let answer = if self.operation.name.contains("/issues") {
            self.issues(world, repo)
        } else if self.operation.name.contains("/pulls") {
            self.pulls(world, repo)
        } else {
            self.others(world, repo)
        };
        world.settle();
        answer
    }

    fn pulls(&self, world: &mut World, repo: u64) -> Reply {
        let number = self.number(2);
        let at = (repo, number);
        let viewer = world.viewer.clone();
        let collection = self.operation.name.ends_with("/pulls");
        if !collection && world.pull(repo, number).is_none() {
            return missing();
        }
        let text = |name: &str| self.body[name].as_str();
        let method = self.operation.name.split(' ').next().unwrap_or_default();
        let last = self.operation.name.rsplit('/').next().unwrap_or_default();
        match (method, last) {
            ("GET", "pulls") => {
                let state = self.get("state").unwrap_or("open");
                let mut found: Vec<&Issue> = world
                    .issues
                    .values()
                    .filter(|issue| {
                        let Some(pull) = &issue.pull else { return false };
                        let head = pull.head_repo.map(|head| world.repo_at(head));
                        let head = head.map(|head| format!("{}:{}", head.owner, pull.head));
                        issue.repo == repo
                            && (state == "all" || issue.open == (state == "open"))
                            && self.get("head").is_none_or(|wanted| head.as_deref() == Some(wanted))
                            && self.get("base").is_none_or(|wanted| pull.base == wanted)
                    })
                    .collect();
                sort(&mut found, self.get("sort"), self.get("direction").unwrap_or("desc"));
                let all =
                    found.iter().map(|issue| pull_json(world, issue, self.url, false)).collect();
                self.list(all)
            }
            ("POST", "pulls") => {
                let head = text("head").unwrap_or_default();
                let (home, head) = match head.split_once(':') {
                    Some((owner, branch)) => {
                        let of = |known: &&Repo| {
                            known.owner == owner && (known.id == repo || known.parent == Some(repo))
                        };
                        let home = world.repos.iter().find(of).map(|known| known.id);
                        (home.unwrap_or(repo), branch)
                    }
                    None => (repo, head),
                };
                let words = (
                    text("title").unwrap_or_default(),
                    text("body").unwrap_or_default(),
                    self.body["draft"] == true,
                );
                let base = text("base").unwrap_or_default();
                match world.add_pull(repo, (home, head), base, words, viewer) {
                    Ok(number) => self.pull(world, repo, number, 201),
                    Err(Refused(status, words)) => {
                        Reply::Json(status, invalid("PullRequest", &words))
                    }
                }
            }
            ("GET", "{pull_number}") if self.diff => {
                let diff = world.pull(repo, number).map(|(_, pull)| pull.diff.clone());
                Reply::Text(diff.unwrap_or_default())
            }
            ("GET", "{pull_number}") => self.pull(world, repo, number, 200),
            ("PATCH", "{pull_number}") => {
                if let Some(state) = text("state") {
                    let merged = world.pull_mut(repo, number).merged.is_some();
                    if merged && state == "open" {
                        let words =
                            "state: cannot be changed. The pull request cannot be reopened.";
                        return Reply::Json(422, invalid("PullRequest", words));
                    }
                    world.set_open(repo, number, state == "open", viewer);
                }
                if let Some(base) = text("base") {
                    world.pull_mut(repo, number).base = base.to_owned();
                }
                self.words(world, at);
                self.pull(world, repo, number, 200)
            }
            ("PUT", "merge") => {
                let method = match text("merge_method") {
                    Some("squash") => "SQUASH",
                    Some("rebase") => "REBASE",
                    _ => "MERGE",
                };
                match world.merge(repo, number, text("sha"), method, viewer) {
                    Ok(sha) => {
                        let words = "Pull Request successfully merged";
                        Reply::Json(200, json!({"sha": sha, "merged": true, "message": words}))
                    }
                    Err(Refused(status, words)) => Reply::Json(status, refusal(&words, None)),
                }
            }
            ("GET", "files") => {
                let pull = world.pull_mut(repo, number);
                let sha = pull.sha.clone();
                let file = |path: &String| json!({"sha": sha, "filename": path, "status": "modified", "additions": 1, "deletions": 1, "changes": 2});
                self.list(pull.files.iter().map(file).collect())
            }
            ("GET", "reviews") => {
                let of = world.reviews.iter().filter(|r| r.pr == at && world.sees_review(r));
                self.list(of.map(|review| review_json(world, review, self.url)).collect())
            }
            ("POST", "reviews") => self.review(world, at),
            _ => Reply::Json(
                501,
                refusal(&format!("the fake does not {}", self.operation.name), None),
            ),
        }
    }

    fn review(&self, world: &mut World, at: (u64, u64)) -> Reply {
        let viewer = world.viewer.clone();
        let text = |name: &str| self.body[name].as_str();
        let no =
            |words: &str| Reply::Json(422, refusal("Unprocessable Entity", Some(json!([words]))));
        let state = match text("event") {
            Some("APPROVE") => "APPROVED",
            Some("REQUEST_CHANGES") => "CHANGES_REQUESTED",
            Some("COMMENT") => "COMMENTED",
            _ => return no("the fake gives no pending review"),
        };
        let comments = self.body["comments"].as_array().cloned().unwrap_or_default();
        let body = text("body").unwrap_or_default();
        let own = world.issue(at.0, at.1).is_some_and(|issue| issue.by == viewer);
        match state {
            "APPROVED" if own => return no("Can not approve your own pull request"),
            "CHANGES_REQUESTED" if own => {
                return no("Can not request changes on your own pull request");
            }
            "APPROVED" => {}
            // A comment that stands at a line is enough.
            _ if body.is_empty() && comments.is_empty() => return no("Body is too short"),
            _ => {}
        }
        if text("commit_id").is_some_and(|sha| !world.commits.contains_key(sha)) {
            return no("The provided commit SHA is not part of the pull request");
        }
        let id = world.add_review(at, viewer.clone(), state, body);
        for comment in &comments {
            let path = comment["path"].as_str().unwrap_or_default();
            let line = comment["line"].as_u64().unwrap_or(1);
            world.add_thread(
                at,
                viewer.clone(),
                (path, line),
                Some(id),
                comment["body"].as_str().unwrap_or_default(),
            );
        }
        if let (Some(sha), Some(review)) =
            (text("commit_id"), world.reviews.iter_mut().find(|review| review.id == id))
        {
            review.sha = sha.to_owned();
        }
        match found(&world.reviews, id) {
            Some(review) => Reply::Json(200, review_json(world, review, self.url)),
            None => missing(),
        }
    }

    /// Looking at one is what makes the vendor compute whether it merges.
    fn pull(&self, world: &mut World, repo: u64, number: u64, status: u16) -> Reply {
        let Some((issue, _)) = world.pull(repo, number) else { return missing() };
        let answer = pull_json(world, issue, self.url, true);
        if status == 200 && self.operation.name.starts_with("GET") {
            let pull = world.pull_mut(repo, number);
            pull.unknown = pull.unknown.saturating_sub(1);
        }
        Reply::Json(status, answer)
    }

    /// Who is to be assigned and may be; who may not is passed over in silence.
    fn assignable(&self, world: &World) -> Vec<String> {
        let mut all = labels(&self.body["assignees"]);
        all.retain(|login| world.may_push(&By::person(login)));
        all
    }

    /// Title, text, labels and people as a change names them.
    fn words(&self, world: &mut World, (repo, number): (u64, u64)) {
        let before = world.issue_mut(repo, number).clone();
        let assignable = self.assignable(world);
        let may_label = world.may_label();
        let issue = world.issue_mut(repo, number);
        if let Some(title) = self.body["title"].as_str() {
            issue.title = title.to_owned();
        }
        if let Some(body) = self.body["body"].as_str() {
            issue.body = body.to_owned();
        }
        // Without a word to whoever may not.
        if self.body["labels"].is_array() && may_label {
            issue.labels = labels(&self.body["labels"]);
        }
        if self.body["assignees"].is_array() && may_label {
            issue.assignees = assignable;
        }
        let same = before.title == issue.title
            && before.body == issue.body
            && before.labels == issue.labels
            && before.assignees == issue.assignees;
        if !same {
            world.touch(repo, number);
        }
    }

    fn issues(&self, world: &mut World, repo: u64) -> Reply {
        let number = self.number(2);
        let at = (repo, number);
        let viewer = world.viewer.clone();
        if !self.operation.name.ends_with("/issues") && world.issue(repo, number).is_none() {
            return missing();
        }
        let text = |name: &str| self.body[name].as_str();
        let (method, path) = self.operation.name.split_once(' ').unwrap_or_default();
        let last = path.rsplit_once("/issues").map_or("", |(_, last)| last);
        let reply = |world: &World, status: u16| match world.issue(repo, number) {
            Some(issue) => Reply::Json(status, issue_json(world, issue, self.url)),
            None => missing(),
        };
        match (method, last) {
            ("GET", "") => {
                let state = self.get("state").unwrap_or("open");
                let wanted: Vec<&str> =
                    self.get("labels").into_iter().flat_map(|l| l.split(',')).collect();
                let since =
                    self.get("since").and_then(|since| since.parse::<jiff::Timestamp>().ok());
                let mut found: Vec<&Issue> = world
                    .issues
                    .values()
                    .filter(|issue| {
                        issue.repo == repo
                            && (state == "all" || issue.open == (state == "open"))
                            && wanted.iter().all(|label| {
                                issue.labels.iter().any(|known| known.eq_ignore_ascii_case(label))
                            })
                            && since.is_none_or(|since| issue.updated >= since)
                            && self.get("creator").is_none_or(|by| by == issue.by.rest_login())
                            && self.get("assignee").is_none_or(|login| match login {
                                "*" => !issue.assignees.is_empty(),
                                "none" => issue.assignees.is_empty(),
                                login => issue.assignees.iter().any(|known| known == login),
                            })
                    })
                    .collect();
                sort(&mut found, self.get("sort"), self.get("direction").unwrap_or("desc"));
                self.list(found.iter().map(|issue| issue_json(world, issue, self.url)).collect())
            }
            ("POST", "") => {
                let title = match &self.body["title"] {
                    Value::String(title) if !title.trim().is_empty() => title.clone(),
                    _ => return Reply::Json(422, invalid("Issue", "title: missing_field")),
                };
                let body = text("body").unwrap_or_default();
                if let Some(refused) = too_long("Issue", &title, body) {
                    return refused;
                }
                let number = world.add_issue(repo, &title, body, viewer);
                let assignees = self.assignable(world);
                if world.may_label() {
                    let issue = world.issue_mut(repo, number);
                    (issue.labels, issue.assignees) = (labels(&self.body["labels"]), assignees);
                }
                match world.issue(repo, number) {
                    Some(issue) => Reply::Json(201, issue_json(world, issue, self.url)),
                    None => missing(),
                }
            }
            ("GET", "/{issue_number}") => reply(world, 200),
            ("PATCH", "/{issue_number}") => {
                let (title, body) = (text("title"), text("body").unwrap_or_default());
                if title.is_some_and(|title| title.trim().is_empty()) {
                    return Reply::Json(422, invalid("Issue", "title: missing_field"));
                }
                if let Some(refused) = too_long("Issue", title.unwrap_or_default(), body) {
                    return refused;
                }
                self.words(world, at);
                if let Some(state) = text("state") {
                    world.set_open(repo, number, state == "open", viewer);
                    if text("state_reason") == Some("not_planned") {
                        world.issue_mut(repo, number).reason = Some("NOT_PLANNED");
                    }
                }
                reply(world, 200)
            }
            ("GET", "/{issue_number}/comments") => {
                let of = world.comments.iter().filter(|c| c.on == at && c.thread.is_none());
                self.list(of.map(|comment| comment_json(world, comment, self.url)).collect())
            }
            ("POST", "/{issue_number}/comments") => {
                let body = text("body").unwrap_or_default();
                if let Some(refused) = too_long("IssueComment", "", body) {
                    return refused;
                }
                if body.trim().is_empty() {
                    return Reply::Json(422, invalid("IssueComment", "body: missing_field"));
                }
                let id = world.add_comment(at, viewer, body);
                match found(&world.comments, id) {
                    Some(comment) => Reply::Json(201, comment_json(world, comment, self.url)),
                    None => missing(),
                }
            }
            ("POST", "/{issue_number}/labels") => {
                let given = if self.body.is_array() { self.body } else { &self.body["labels"] };
                for label in labels(given) {
                    let issue = world.issue_mut(repo, number);
                    if !issue.labels.contains(&label) {
                        issue.labels.push(label);
                        world.touch(repo, number);
                    }
                }
                let known = &world.issue_mut(repo, number).labels;
                Reply::Json(200, known.iter().map(|label| label_json(label)).collect())
            }
            ("DELETE", "/{issue_number}/labels/{name}") => {
                let name = self.operation.path.get(3).cloned().unwrap_or_default();
                let issue = world.issue_mut(repo, number);
                let before = issue.labels.len();
                issue.labels.retain(|label| *label != name);
                if issue.labels.len() == before {
                    return Reply::Json(404, refusal("Label does not exist", None));
                }
                let rest = issue.labels.iter().map(|label| label_json(label)).collect();
                world.touch(repo, number);
                Reply::Json(200, rest)
            }
            ("POST" | "DELETE", "/{issue_number}/assignees") => {
                let add = method == "POST";
                let given = labels(&self.body["assignees"]);
                let more = if add { self.assignable(world) } else { Vec::new() };
                let issue = world.issue_mut(repo, number);
                issue.assignees.retain(|login| !given.contains(login));
                issue.assignees.extend(more);
                world.touch(repo, number);
                reply(world, if add { 201 } else { 200 })
            }
            ("GET", "/{issue_number}/sub_issues" | "/{issue_number}/dependencies/blocked_by") => {
                let issue = world.issue_mut(repo, number);
                let of =
                    if last.ends_with("sub_issues") { &issue.parts } else { &issue.blocked_by };
                let of = of.clone();
                let of = of.iter().filter_map(|number| world.issue(repo, *number));
                self.list(of.map(|issue| issue_json(world, issue, self.url)).collect())
            }
            _ => Reply::Json(
                501,
                refusal(&format!("the fake does not {}", self.operation.name), None),
            ),
        }
    }

    fn others(&self, world: &mut World, repo: u64) -> Reply {
        let path = &self.operation.path;
        let third = path.get(2).cloned().unwrap_or_default();
        let id = self.number(2);
        let sha_of = |world: &World, name: &str| {
            let name = name.strip_prefix("heads/").unwrap_or(name);
            let known = world.repo_at(repo).branches.get(name).cloned();
            known.or_else(|| world.commits.contains_key(name).then(|| name.to_owned()))
        };
        let url = self.url;
        let (method, rest) = self.operation.name.split_once(' ').unwrap_or_default();
        match (method, rest.strip_prefix("/repos/{owner}/{repo}").unwrap_or_default()) {
            ("GET", "") => Reply::Json(200, repo_json(world, world.repo_at(repo), url)),
            ("GET", "/assignees/{assignee}") => match world.may_push(&By::person(&third)) {
                true => Reply::Empty,
                false => missing(),
            },
            ("GET", "/collaborators/{username}/permission") => {
                let known = world.permissions.get(&third).copied();
                let permission = match known {
                    Some("ADMIN") => "admin",
                    Some("MAINTAIN" | "WRITE") => "write",
                    _ => "read",
                };
                let role = known.unwrap_or("READ").to_lowercase();
                let user = user(&By::person(&third), url);
                let answer = json!({"permission": permission, "role_name": role, "user": user});
                match world.may_push(&world.viewer) {
                    true => Reply::Json(200, answer),
                    false => {
                        let words = "Must have push access to view collaborator permission.";
                        Reply::Json(403, refusal(words, None))
                    }
                }
            }
            ("GET", "/branches/{branch}") => match world.repo_at(repo).branches.get(&third) {
                Some(sha) => {
                    let protected = world.repo_at(repo).rules.contains_key(&third);
                    Reply::Json(
                        200,
                        json!({"name": third, "commit": {"sha": sha}, "protected": protected}),
                    )
                }
                None => Reply::Json(404, refusal("Branch not found", None)),
            },
            ("GET", "/rules/branches/{branch}") => self.list(rules_json(world, repo, &third)),
            ("GET", "/git/ref/{ref}") => {
                let branch = third.strip_prefix("heads/").unwrap_or(&third);
                match world.repo_at(repo).branches.get(branch) {
                    Some(sha) => Reply::Json(
                        200,
                        json!({"ref": format!("refs/heads/{branch}"), "object": {"type": "commit", "sha": sha}}),
                    ),
                    None => missing(),
                }
            }
            ("DELETE", "/git/refs/{ref}") => {
                let branch = third.strip_prefix("heads/").unwrap_or(&third).to_owned();
                match world.repo_mut(repo).branches.remove(&branch) {
                    Some(_) => Reply::Empty,
                    None => Reply::Json(422, refusal("Reference does not exist", None)),
                }
            }
            ("GET", "/commits/{ref}/check-runs") => {
                let Some(sha) = sha_of(world, &third) else {
                    let words = format!("No commit found for SHA: {third}");
                    return Reply::Json(422, refusal(&words, None));
                };
                let all = self.get("filter") == Some("all");
                let name = self.get("check_name");
                let checks = world.checks.iter().filter(|check| {
                    check.repo == repo
                        && check.sha == sha
                        && (all || check.latest)
                        && name.is_none_or(|name| check.name == name)
                });
                let checks = checks.map(|check| check_json(world, check, url)).collect();
                self.page(checks, |items, total| json!({"total_count": total, "check_runs": items}))
            }
            ("GET", "/commits/{ref}/status") => {
                let Some(sha) = sha_of(world, &third) else { return missing() };
                let all = world.statuses_of(repo, &sha);
                let state = match () {
                    () if all.iter().any(|s| matches!(s.state, "FAILURE" | "ERROR")) => "failure",
                    () if all.is_empty() || all.iter().any(|s| s.state == "PENDING") => "pending",
                    () => "success",
                };
                let one = |status: &&super::world::Status| {
                    json!({
                        "id": status.id, "context": status.context, "state": status.state.to_lowercase(),
                        "description": status.description, "created_at": status.at.to_string(),
                        "updated_at": status.at.to_string(),
                    })
                };
                let statuses = all.iter().map(one).collect();
                self.page(statuses, |items, total| {
                    json!({"state": state, "sha": sha, "total_count": total, "statuses": items})
                })
            }
            ("GET", "/actions/runs/{run_id}/jobs") => {
                let all = self.get("filter") == Some("all");
                let of = world.checks.iter().filter(|check| {
                    check.is_actions()
                        && check.repo == repo
                        && check.suite == id
                        && (all || check.latest)
                });
                let jobs = of.map(|check| job_json(world, check, url)).collect();
                self.page(jobs, |items, total| json!({"total_count": total, "jobs": items}))
            }
            ("POST", "/actions/runs/{run_id}/rerun-failed-jobs") => {
                let failed: Vec<Check> = world
                    .checks
                    .iter()
                    .filter(|check| {
                        check.is_actions()
                            && check.repo == repo
                            && check.suite == id
                            && check.latest
                            && verdict(check) == "FAILURE"
                    })
                    .cloned()
                    .collect();
                for check in &failed {
                    world.add_check(check.suite, &check.name, None);
                }
                if failed.is_empty() {
                    let words = "This workflow run cannot be retried";
                    return Reply::Json(403, refusal(words, None));
                }
                Reply::Json(201, json!({}))
            }
            (_, rest) => {
                let found = found(&world.checks, id).filter(|check| check.repo == repo);
                let Some(check) = found.cloned() else { return missing() };
                self.check(world, &check, (method, rest))
            }
        }
    }

    /// What is asked of one check or its job.
    fn check(&self, world: &mut World, check: &Check, at: (&str, &str)) -> Reply {
        let is_job = at.1.starts_with("/actions/");
        if is_job && !check.is_actions() {
            return missing();
        }
        match at {
            ("GET", "/check-runs/{check_run_id}") => {
                Reply::Json(200, check_json(world, check, self.url))
            }
            ("GET", "/check-runs/{check_run_id}/annotations") => {
                let one = |(path, line, level, words): &(String, u64, &str, String)| {
                    json!({
                        "path": path, "start_line": line, "end_line": line, "annotation_level": level.to_lowercase(),
                        "message": words, "title": null, "raw_details": null, "start_column": null, "end_column": null,
                        "blob_href": "https://github.invalid/",
                    })
                };
                self.list(check.annotations.iter().map(one).collect())
            }
            ("GET", "/actions/jobs/{job_id}") => Reply::Json(200, job_json(world, check, self.url)),
            ("GET", "/actions/jobs/{job_id}/logs") => match check.conclusion {
                // The address is good for a minute and carries its own signature.
                Some(_) => {
                    Reply::Elsewhere(302, format!("{}/_logs/{}?sig=hush", self.url, check.id))
                }
                None => missing(),
            },
            ("POST", "/actions/jobs/{job_id}/rerun" | "/check-runs/{check_run_id}/rerequest") => {
                if check.conclusion.is_none() {
                    let words = "The workflow run containing this job is already running";
                    return Reply::Json(403, refusal(words, None));
                }
                world.add_check(check.suite, &check.name, None);
                Reply::Json(201, json!({}))
            }
            _ => Reply::Json(
                501,
                refusal(&format!("the fake does not {}", self.operation.name), None),
            ),
        }
    }
}

fn too_long(resource: &str, title: &str, body: &str) -> Option<Reply> {
    if title.chars().count() > 256 {
        let words = "title is too long (maximum is 256 characters)";
        return Some(Reply::Json(422, invalid(resource, words)));
    }
    (body.chars().count() > 65_536).then(|| {
        Reply::Json(422, invalid(resource, "body is too long (maximum is 65536 characters)"))
    })
}

fn sort(found: &mut [&Issue], by: Option<&str>, direction: &str) {
    match by {
        Some("updated") => found.sort_by_key(|issue| (issue.updated, issue.id)),
        _ => found.sort_by_key(|issue| issue.id),
    }
    if direction == "desc" {
        found.reverse();
    }
}

fn labels(list: &Value) -> Vec<String> {
    let name = |one: &Value| one.as_str().or(one["name"].as_str()).map(str::to_owned);
    let mut all: Vec<String> = Vec::new();
    for label in list.as_array().into_iter().flatten().filter_map(name) {
        if !all.contains(&label) {
            all.push(label);
        }
    }
    all
}

fn user(by: &By, url: &str) -> Value {
    let kind = if matches!(by, By::Bot(_)) { "Bot" } else { "User" };
    json!({
        "login": by.rest_login(), "id": by.id(), "node_id": actor_id(by), "type": kind, "site_admin": false,
        "html_url": format!("{url}/{}", by.login()), "url": format!("{url}/users/{}", by.login()),
    })
}

fn label_json(name: &str) -> Value {
    json!({"name": name, "color": "ededed", "default": false, "description": null})
}

fn repo_json(world: &World, repo: &Repo, url: &str) -> Value {
    let home = format!("{url}/repos/{}", repo.full_name());
    let (push, admin) = (!matches!(repo.permission, "READ" | "TRIAGE"), repo.permission == "ADMIN");
    let maintain = admin || repo.permission == "MAINTAIN";
    let triage = repo.permission != "READ";
    let mut out = json!({
        "id": repo.id, "node_id": format!("R_{}", repo.id), "name": repo.name, "full_name": repo.full_name(),
        "owner": user(&By::person(&repo.owner), url), "private": false, "fork": repo.parent.is_some(),
        "html_url": format!("{url}/{}", repo.full_name()), "url": home, "default_branch": "main",
        "allow_auto_merge": repo.auto_merge, "allow_merge_commit": repo.methods.contains(&"MERGE"),
        "allow_squash_merge": repo.methods.contains(&"SQUASH"), "allow_rebase_merge": repo.methods.contains(&"REBASE"),
        "permissions": {"admin": admin, "maintain": maintain, "push": push, "triage": triage, "pull": true},
    });
    if let Some(parent) = repo.parent {
        let parent = world.repo_at(parent);
        let full = json!({
            "id": parent.id, "name": parent.name, "full_name": parent.full_name(), "node_id": format!("R_{}", parent.id),
            "owner": user(&By::person(&parent.owner), url), "default_branch": "main",
        });
        out["parent"] = full.clone();
        out["source"] = full;
    }
    out
}

fn ends(world: &World, repo: Option<u64>, branch: &str, sha: &str, url: &str) -> Value {
    let home = repo.map(|repo| world.repo_at(repo));
    let owner = home.map_or("unknown", |home| home.owner.as_str());
    json!({
        "label": format!("{owner}:{branch}"), "ref": branch, "sha": sha, "user": user(&By::person(owner), url),
        "repo": home.map(|home| json!({
            "id": home.id, "node_id": format!("R_{}", home.id), "name": home.name, "full_name": home.full_name(),
            "owner": user(&By::person(&home.owner), url), "private": false, "fork": home.parent.is_some(),
            "default_branch": "main", "html_url": format!("{url}/{}", home.full_name()),
        })),
    })
}

/// A pull request, `whole` as when it is asked for alone.
pub(super) fn pull_json(world: &World, issue: &Issue, url: &str, whole: bool) -> Value {
    let Some(pull) = &issue.pull else { return Value::Null };
    let base = world.repo_at(issue.repo).branches.get(&pull.base).cloned().unwrap_or_default();
    let mut out = common(world, issue, url);
    let more = json!({
        "draft": pull.draft, "merged_at": pull.merged.as_ref().and(issue.closed).map(|at| at.to_string()),
        "merge_commit_sha": pull.merged.as_ref().map(|(sha, _)| sha),
        "head": ends(world, pull.head_repo, &pull.head, &pull.sha, url),
        "base": ends(world, Some(issue.repo), &pull.base, &base, url),
        "auto_merge": pull.auto_merge.map(|method| json!({
            "merge_method": method.to_lowercase(), "enabled_by": user(&world.viewer, url), "commit_title": "", "commit_message": "",
        })),
        "requested_reviewers": pull.requested.iter().map(|login| user(&By::person(login), url)).collect::<Vec<_>>(),
        "diff_url": format!("{url}/{}/pull/{}.diff", world.repo_at(issue.repo).full_name(), issue.number),
    });
    merge(&mut out, more);
    if whole {
        let comments = |in_thread: bool| {
            let of = |c: &&Comment| {
                c.on == (issue.repo, issue.number) && c.thread.is_some() == in_thread
            };
            world.comments.iter().filter(of).count()
        };
        let more = json!({
            "merged": pull.merged.is_some(), "merged_by": pull.merged.as_ref().map(|(_, by)| user(by, url)),
            "mergeable": (pull.unknown == 0 && issue.open).then_some(!pull.conflicting),
            "mergeable_state": world.merge_state(issue, pull).to_lowercase(),
            "additions": pull.lines.0, "deletions": pull.lines.1, "changed_files": pull.files.len(), "commits": 1,
            "comments": comments(false), "review_comments": comments(true), "maintainer_can_modify": false,
        });
        merge(&mut out, more);
    }
    out
}

fn merge(out: &mut Value, more: Value) {
    if let (Some(out), Value::Object(more)) = (out.as_object_mut(), more) {
        out.extend(more);
    }
}

/// What issues and pull requests have in common.
fn common(world: &World, issue: &Issue, url: &str) -> Value {
    let home = world.repo_at(issue.repo).full_name();
    let (rest, word) = if issue.pull.is_some() { ("pulls", "pull") } else { ("issues", "issues") };
    let person = |login: &String| user(&By::person(login), url);
    json!({
        "id": issue.id, "node_id": issue_id(issue), "number": issue.number, "title": issue.title, "body": issue.body,
        "state": if issue.open { "open" } else { "closed" }, "user": user(&issue.by, url), "locked": false,
        "labels": issue.labels.iter().map(|label| label_json(label)).collect::<Vec<_>>(),
        "assignees": issue.assignees.iter().map(person).collect::<Vec<_>>(),
        "assignee": issue.assignees.first().map(person), "milestone": null,
        "created_at": issue.created.to_string(), "updated_at": issue.updated.to_string(),
        "closed_at": issue.closed.map(|at| at.to_string()), "author_association": world.association(&issue.by),
        "html_url": format!("{url}/{home}/{word}/{}", issue.number),
        "url": format!("{url}/repos/{home}/{rest}/{}", issue.number),
    })
}

fn issue_json(world: &World, issue: &Issue, url: &str) -> Value {
    let mut out = common(world, issue, url);
    let comments =
        world.comments.iter().filter(|c| c.on == (issue.repo, issue.number) && c.thread.is_none());
    let (parts, blocked) = (issue.parts.len(), issue.blocked_by.len());
    let is_open = |number: &&u64| world.issue(issue.repo, **number).is_some_and(|issue| issue.open);
    let home = world.repo_at(issue.repo).full_name();
    let more = json!({
        "repository_url": format!("{url}/repos/{home}"), "comments": comments.count(), "state_reason": issue.reason.map(str::to_lowercase),
        "sub_issues_summary": {
            "total": parts, "completed": parts - issue.parts.iter().filter(is_open).count(), "percent_completed": 0,
        },
        "issue_dependencies_summary": {
            "blocked_by": issue.blocked_by.iter().filter(is_open).count(), "total_blocked_by": blocked,
            "blocking": 0, "total_blocking": 0,
        },
    });
    merge(&mut out, more);
    if issue.pull.is_some() {
        let at = |word: &str| {
            format!("{url}/{}/{word}/{}", world.repo_at(issue.repo).full_name(), issue.number)
        };
        let links = json!({
            "url": at("pulls"), "html_url": at("pull"), "diff_url": at("diff"), "patch_url": at("patch"),
        });
        merge(&mut out, json!({ "pull_request": links }));
    }
    out
}

fn comment_json(world: &World, comment: &Comment, url: &str) -> Value {
    let home = world.repo_at(comment.on.0).full_name();
    json!({
        "id": comment.id, "node_id": format!("IC_{}", comment.id), "body": comment.body, "user": user(&comment.by, url),
        "author_association": world.association(&comment.by), "created_at": comment.at.to_string(),
        "updated_at": comment.at.to_string(),
        "html_url": format!("{url}/{home}/issues/{}#issuecomment-{}", comment.on.1, comment.id),
    })
}

fn review_json(world: &World, review: &Review, url: &str) -> Value {
    json!({
        "id": review.id, "node_id": format!("PRR_{}", review.id), "user": user(&review.by, url), "body": review.body,
        "state": review.state, "commit_id": review.sha, "submitted_at": review.at.to_string(),
        "author_association": world.association(&review.by),
    })
}

fn check_json(world: &World, check: &Check, url: &str) -> Value {
    let app = By::bot(&check.app);
    json!({
        "id": check.id, "node_id": format!("CR_{}", check.id), "name": check.name, "head_sha": check.sha,
        "status": check.status.to_lowercase(), "conclusion": check.conclusion.map(str::to_lowercase),
        "started_at": check.started.to_string(), "completed_at": check.completed.map(|at| at.to_string()),
        "html_url": check_url(world, check, url), "details_url": check_url(world, check, url),
        "output": {
            "title": check.title, "summary": check.summary, "text": null, "annotations_count": check.annotations.len(),
        },
        "check_suite": {"id": check.suite}, "pull_requests": [],
        "app": {"id": app.id(), "node_id": actor_id(&app), "slug": check.app, "name": check.app},
    })
}

fn job_json(world: &World, check: &Check, url: &str) -> Value {
    let steps: Vec<Value> = check
        .steps
        .iter()
        .zip(1..)
        .map(|((name, end), number)| {
            json!({
                "name": name, "number": number, "status": "completed", "conclusion": end.to_lowercase(),
                "started_at": check.started.to_string(), "completed_at": check.completed.map(|at| at.to_string()),
            })
        })
        .collect();
    json!({
        "id": check.id, "run_id": check.suite, "run_attempt": check.attempt, "head_sha": check.sha,
        "node_id": format!("CR_{}", check.id), "name": check.name, "status": check.status.to_lowercase(),
        "conclusion": check.conclusion.map(str::to_lowercase), "started_at": check.started.to_string(),
        "created_at": check.started.to_string(), "completed_at": check.completed.map(|at| at.to_string()),
        "html_url": check_url(world, check, url), "steps": steps, "workflow_name": "ci",
    })
}

/// The rules of a branch as rulesets say them.
fn rules_json(world: &World, repo: u64, branch: &str) -> Vec<Value> {
    let rule = world.rule(repo, branch);
    let source = json!({
        "ruleset_source_type": "Repository", "ruleset_source": world.repo_at(repo).full_name(), "ruleset_id": 1,
    });
    let mut all = Vec::new();
    if !rule.checks.is_empty() {
        let checks: Vec<Value> = rule.checks.iter().map(|name| json!({"context": name})).collect();
        all.push(json!({
            "type": "required_status_checks",
            "parameters": {"required_status_checks": checks, "strict_required_status_checks_policy": rule.strict},
        }));
    }
    if rule.approvals > 0 || rule.conversations {
        all.push(json!({
            "type": "pull_request",
            "parameters": {
                "required_approving_review_count": rule.approvals, "dismiss_stale_reviews_on_push": false,
                "require_code_owner_review": false, "require_last_push_approval": false,
                "required_review_thread_resolution": rule.conversations,
            },
        }));
    }
    for one in &mut all {
        merge(one, source.clone());
    }
    all
}

/// The job's log at the address that a redirect gave.
pub(super) fn log(world: &World, id: u64) -> Option<String> {
    found(&world.checks, id).map(|check| check.log.clone())
}
