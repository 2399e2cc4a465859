//! What is asked of GraphQL, and how its answers read. Prices are by «Rate limits and query limits for the GraphQL
//! API»: a hundred connections are a point, so 25 pull requests of four connections each are one.

use std::collections::BTreeMap;

use ao_slots::scm::{CheckRun, CheckState};
use ao_slots::text::{cut, one_line};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;

/// How many pull requests are asked for at once: their connections then cost one point.
pub(crate) const BATCH: usize = 25;
/// How many nodes may be named in one request.
pub(crate) const NODES: usize = 100;

/// What each sweep asks of a pull request: four connections, none within another. The counts by state tell whether a check
/// may have changed; the checks themselves are asked for only then.
pub(crate) const FACTS: &str = "
fragment Facts on PullRequest {
  id number title url state isDraft mergeable mergeStateStatus headRefOid baseRefName additions deletions changedFiles
  updatedAt totalCommentsCount reviewDecision repository { nameWithOwner }
  baseRef { refUpdateRule { requiredStatusCheckContexts } }
  statusCheckRollup { state counts: contexts(first: 1) {
    checkRunCountsByState { state count } statusContextCountsByState { state count } } }
  reviewThreads(first: 100) { totalCount pageInfo { hasNextPage endCursor } nodes { id isResolved } }
  latestOpinionatedReviews(first: 100, writersOnly: true) {
    pageInfo { hasNextPage endCursor } nodes { id state commit { oid } author { __typename login } }
  }
  reviewRequests(first: 1) { totalCount }
}";

/// The words of threads (who began each, and what tells that something was said since), and those of the last reviews
/// of pull requests.
pub(crate) const SAID: &str = "query($ids: [ID!]!) { rateLimit { cost } nodes(ids: $ids) { __typename
  ... on PullRequestReviewThread {
    id path line originalLine
    first: comments(first: 1) { nodes { id body author { __typename login } } }
    last: comments(last: 30) { totalCount nodes { id updatedAt state isMinimized author { __typename login } } }
  }
  ... on PullRequest {
    id reviews(last: 20) { nodes { id state body commit { oid } submittedAt author { __typename login } } }
    comments(last: 20) { nodes { id body isMinimized createdAt viewerDidAuthor author { __typename login } } }
    commits(last: 1) { nodes { commit { committedDate } } }
  } } }";

/// What was said last below a pull request, and when its head was made.
pub(crate) const BELOW: &str = "query($id: ID!) { rateLimit { cost } node(id: $id) { ... on PullRequest { author { __typename login }
  comments(last: 50) { nodes { id body isMinimized createdAt viewerDidAuthor author { __typename login } } }
  commits(last: 1) { nodes { commit { committedDate } } }
  } } }";

/// The checks of a pull request of this number: one connection.
pub(crate) fn contexts(number: u64, after: Option<&str>) -> String {
    let after = after.map_or_else(String::new, |after| format!(", after: {}", quoted(after)));
    format!(
        "statusCheckRollup {{ contexts(first: 100{after}) {{ pageInfo {{ hasNextPage endCursor }} nodes {{ __typename
  ... on CheckRun {{ databaseId name status conclusion title url startedAt completedAt
    isRequired(pullRequestNumber: {number})
    checkSuite {{ app {{ slug }} workflowRun {{ databaseId event workflow {{ name }} }} }} }}
  ... on StatusContext {{ context state description targetUrl isRequired(pullRequestNumber: {number}) }}
}} }} }}"
    )
}

/// Who closed it, and what was said last: two connections.
pub(crate) const CLOSING: &str = "closedAt
  timelineItems(itemTypes: [CLOSED_EVENT], last: 1) { nodes { ... on ClosedEvent { actor { __typename login } } } }
  comments(last: 1) { nodes { body createdAt author { __typename login } } }";

/// More threads of one.
pub(crate) fn more_threads(after: &str) -> String {
    let after = quoted(after);
    format!(
        "reviewThreads(first: 100, after: {after}) {{ totalCount pageInfo {{ hasNextPage endCursor }} nodes {{ id isResolved }} }}"
    )
}

/// A string of a document; a JSON string is one.
pub(crate) fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

/// A page of a connection.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Page<T> {
    pub(crate) total_count: Option<u32>,
    pub(crate) page_info: Option<PageInfo>,
    nodes: Option<Vec<Option<T>>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PageInfo {
    has_next_page: bool,
    end_cursor: Option<String>,
}

impl<T> Page<T> {
    /// Its nodes, or none where one was lost, or the place of the next page.
    pub(crate) fn nodes(self) -> Option<Vec<T>> {
        let info = self.page_info.as_ref();
        let lost = info.is_some_and(|info| info.has_next_page && info.end_cursor.is_none());
        self.nodes.filter(|_| !lost)?.into_iter().collect()
    }

    /// The first of them.
    pub(crate) fn first(self) -> Option<T> {
        self.nodes()?.into_iter().next()
    }

    /// Where the next one begins.
    pub(crate) fn next(&self) -> Option<String> {
        self.page_info.as_ref().filter(|info| info.has_next_page)?.end_cursor.clone()
    }
}

/// Somebody; a deleted account is nobody.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Actor {
    #[serde(rename = "__typename")]
    kind: String,
    pub(crate) login: String,
}

impl Actor {
    /// An app, by what the vendor knows of the account and not by its name, which anybody may choose.
    pub(crate) fn is_bot(&self) -> bool {
        self.kind == "Bot"
    }
}

pub(crate) fn login(actor: Option<&Actor>) -> String {
    actor.map_or_else(|| "ghost".to_owned(), |actor| one_line(&actor.login))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Named {
    pub(crate) name_with_owner: String,
}

/// The fragment `Facts`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pull {
    pub(crate) id: String,
    pub(crate) number: u64,
    pub(crate) title: String,
    pub(crate) url: String,
    pub(crate) state: String,
    pub(crate) is_draft: bool,
    pub(crate) mergeable: String,
    pub(crate) merge_state_status: String,
    pub(crate) head_ref_oid: String,
    pub(crate) base_ref_name: String,
    pub(crate) additions: u32,
    pub(crate) deletions: u32,
    pub(crate) changed_files: u32,
    pub(crate) updated_at: String,
    pub(crate) total_comments_count: Option<u64>,
    pub(crate) review_decision: Option<String>,
    pub(crate) repository: Named,
    pub(crate) base_ref: Option<BaseRef>,
    pub(crate) status_check_rollup: Option<Rollup>,
    pub(crate) review_threads: Page<Mark>,
    pub(crate) latest_opinionated_reviews: Page<Opinion>,
    pub(crate) review_requests: Page<serde::de::IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BaseRef {
    ref_update_rule: Option<UpdateRule>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct UpdateRule {
    required_status_check_contexts: Option<Vec<Option<String>>>,
}

impl Pull {
    /// The checks that the rule of the base names, also those that nobody has begun.
    pub(crate) fn demanded(&self) -> Vec<String> {
        let rule = self.base_ref.as_ref().and_then(|base| base.ref_update_rule.as_ref());
        let names = rule.and_then(|rule| rule.required_status_check_contexts.clone());
        names.into_iter().flatten().flatten().collect()
    }
}

/// What further pages hold.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct More {
    pub(crate) head_ref_oid: String,
    pub(crate) status_check_rollup: Option<Rollup>,
    pub(crate) review_threads: Option<Page<Mark>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Rollup {
    #[serde(default)]
    state: String,
    #[serde(default)]
    counts: Value,
    pub(crate) contexts: Option<Page<Context>>,
}

impl Rollup {
    /// Changes whenever a check begins, ends or comes.
    pub(crate) fn stamp(&self) -> String {
        format!("{} {}", self.state, self.counts)
    }
}

/// A thread, without its words.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Mark {
    pub(crate) id: String,
    pub(crate) is_resolved: bool,
}

/// The last yes or no of one reviewer.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Opinion {
    pub(crate) id: String,
    pub(crate) state: String,
    pub(crate) commit: Option<Oid>,
    pub(crate) author: Option<Actor>,
}

/// A check run, or a commit status of the older kind.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "__typename")]
pub(crate) enum Context {
    #[serde(rename_all = "camelCase")]
    CheckRun {
        database_id: Option<u64>,
        name: String,
        status: String,
        conclusion: Option<String>,
        title: Option<String>,
        url: Option<String>,
        started_at: Option<Timestamp>,
        completed_at: Option<Timestamp>,
        is_required: bool,
        check_suite: Option<Suite>,
    },
    #[serde(rename_all = "camelCase")]
    StatusContext {
        context: String,
        state: String,
        description: Option<String>,
        target_url: Option<String>,
        is_required: bool,
    },
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Suite {
    app: Option<App>,
    workflow_run: Option<Run>,
}

#[derive(Debug, Clone, Deserialize)]
struct App {
    slug: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    database_id: Option<u64>,
    event: String,
    workflow: Workflow,
}

#[derive(Debug, Clone, Deserialize)]
struct Workflow {
    name: String,
}

/// The checks that count: of those of one name, app, workflow and event the ones that none has superseded. The roll-up
/// keeps what a later run has: one that was cancelled for it, or that failed before a label was set.
pub(crate) fn newest(contexts: Vec<Context>) -> Vec<Context> {
    let mut alike: BTreeMap<Kind, Vec<&Context>> = BTreeMap::new();
    for context in &contexts {
        alike.entry(context.kind()).or_default().push(context);
    }
    let counts = |one: &&Context| {
        let others = alike.get(&one.kind()).into_iter().flatten();
        !others.into_iter().any(|other| other.supersedes(one))
    };
    contexts.iter().filter(counts).cloned().collect()
}

/// What tells one check from another: whether it is a status, its name, its app, its workflow and the event.
type Kind = (bool, String, Option<String>, Option<(String, String)>);

impl Context {
    fn kind(&self) -> Kind {
        let name = self.name().to_owned();
        let Self::CheckRun { check_suite, .. } = self else { return (true, name, None, None) };
        let suite = check_suite.as_ref();
        let app = suite.and_then(|suite| suite.app.as_ref()).map(|app| app.slug.clone());
        let run = suite.and_then(|suite| suite.workflow_run.as_ref());
        (false, name, app, run.map(|run| (run.workflow.name.clone(), run.event.clone())))
    }

    /// Grows from a run to the next; one that waits for its turn is the newest, unless it was ended there.
    fn age(&self) -> (bool, Option<Timestamp>, Option<u64>) {
        match self {
            Self::CheckRun { started_at, database_id, .. } => {
                (started_at.is_none() && !self.is_over(), *started_at, *database_id)
            }
            Self::StatusContext { .. } => (false, None, None),
        }
    }

    /// It came in place of another of its kind. Jobs of one run may bear one name, as those of a matrix: of two that ran at
    /// the same time both count.
    fn supersedes(&self, other: &Self) -> bool {
        let run = |one: &Self| match one {
            Self::CheckRun { check_suite: Some(suite), .. } => {
                suite.workflow_run.as_ref().and_then(|run| run.database_id)
            }
            _ => None,
        };
        let (mine, its) = (run(self), run(other));
        let (Self::CheckRun { started_at, .. }, Self::CheckRun { completed_at, .. }) =
            (self, other)
        else {
            return false;
        };
        let begun_after = match (started_at, completed_at) {
            (Some(began), Some(ended)) => began >= ended,
            (None, Some(_)) => !self.is_over(),
            (_, None) => false,
        };
        self.age() > other.age() && (mine.is_none() || mine != its || begun_after)
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::CheckRun { name, .. } | Self::StatusContext { context: name, .. } => name,
        }
    }

    pub(crate) fn is_required(&self) -> bool {
        match self {
            Self::CheckRun { is_required, .. } | Self::StatusContext { is_required, .. } => {
                *is_required
            }
        }
    }

    /// Whether it ended, and how.
    pub(crate) fn state(&self) -> CheckState {
        match self {
            Self::CheckRun { status, conclusion, .. } => match conclusion.as_deref() {
                Some("SUCCESS") => CheckState::Passed,
                Some("NEUTRAL" | "SKIPPED") => CheckState::Skipped,
                // Also one that waits for somebody's word or went stale: it does not pass by itself any more.
                Some(_) => CheckState::Failed,
                None if status == "IN_PROGRESS" => CheckState::Running,
                None => CheckState::Queued,
            },
            Self::StatusContext { state, .. } => match state.as_str() {
                "SUCCESS" => CheckState::Passed,
                "FAILURE" | "ERROR" => CheckState::Failed,
                _ => CheckState::Queued,
            },
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        !matches!(self.state(), CheckState::Queued | CheckState::Running)
    }

    pub(crate) fn summary(&self) -> Option<String> {
        let said = match self {
            Self::CheckRun { title, .. } => title,
            Self::StatusContext { description, .. } => description,
        };
        said.as_ref().map(|said| cut(&one_line(said), 300)).filter(|said| !said.is_empty())
    }

    pub(crate) fn url(&self) -> Option<&str> {
        match self {
            Self::CheckRun { url, .. } | Self::StatusContext { target_url: url, .. } => {
                url.as_deref()
            }
        }
    }

    /// Its number among the check runs; a status has none.
    pub(crate) fn id(&self) -> Option<u64> {
        match self {
            Self::CheckRun { database_id, .. } => *database_id,
            Self::StatusContext { .. } => None,
        }
    }

    /// The run of GitHub's own CI that it is a job of. A job has the number of its check run.
    pub(crate) fn run(&self) -> Option<u64> {
        let Self::CheckRun { check_suite: Some(suite), .. } = self else { return None };
        let app = suite.app.as_ref().filter(|app| app.slug == "github-actions");
        app.and(suite.workflow_run.as_ref()).and_then(|run| run.database_id)
    }

    /// For a human.
    pub(crate) fn check_run(&self, demanded: &[String]) -> CheckRun {
        let took_ms = match self {
            Self::CheckRun { started_at: Some(from), completed_at: Some(to), .. } => {
                u64::try_from(to.duration_since(*from).as_millis()).ok()
            }
            _ => None,
        };
        CheckRun {
            name: one_line(self.name()),
            state: self.state(),
            required: self.is_required() || demanded.iter().any(|name| name == self.name()),
            summary: self.summary(),
            url: self.url().map(str::to_owned),
            took_ms,
        }
    }
}

/// What was said, in short.
#[derive(Debug, Deserialize)]
#[serde(tag = "__typename")]
pub(crate) enum Said {
    PullRequestReviewThread(Begun),
    PullRequest(Reviewed),
}

/// A thread's words in short.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Begun {
    pub(crate) id: String,
    pub(crate) path: Option<String>,
    pub(crate) line: Option<u32>,
    pub(crate) original_line: Option<u32>,
    pub(crate) first: Page<First>,
    pub(crate) last: Page<Stamp>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct First {
    pub(crate) id: String,
    pub(crate) body: String,
    pub(crate) author: Option<Actor>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Stamp {
    pub(crate) id: String,
    pub(crate) updated_at: String,
    state: String,
    is_minimized: bool,
    pub(crate) author: Option<Actor>,
}

impl Stamp {
    /// Neither half written nor hidden by somebody who may.
    pub(crate) fn is_seen(&self) -> bool {
        is_seen(Some(&self.state), self.is_minimized)
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.state == "PENDING"
    }
}

/// Whether words were said and still stand: what the token's owner has not given yet others do not see, nor what
/// somebody who may has hidden.
pub(crate) fn is_seen(state: Option<&str>, is_minimized: bool) -> bool {
    state != Some("PENDING") && !is_minimized
}

/// The last reviews of a pull request, and the last words below it.
#[derive(Debug, Deserialize)]
pub(crate) struct Reviewed {
    pub(crate) id: String,
    pub(crate) reviews: Page<Given>,
    #[serde(flatten)]
    pub(crate) below: Below,
}

/// The last words below a pull request, and when its head was made.
#[derive(Debug, Deserialize)]
pub(crate) struct Below {
    comments: Page<Remark>,
    commits: Page<Made>,
}

#[derive(Debug, Deserialize)]
struct Made {
    commit: Date,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Date {
    committed_date: Timestamp,
}

/// Words below a pull request.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Remark {
    pub(crate) id: String,
    pub(crate) body: String,
    is_minimized: bool,
    created_at: Timestamp,
    viewer_did_author: bool,
    pub(crate) author: Option<Actor>,
}

/// How much older than its head a remark may be and still be open: the agent works on for a while after somebody wrote,
/// and its clock is not the forge's. What the agent has had already is known to whoever tells it.
const LATE: SignedDuration = SignedDuration::from_hours(1);

fn is_older(said: Timestamp, made: Timestamp) -> bool {
    made.duration_since(said) > LATE
}

impl Below {
    /// When the head was made.
    pub(crate) fn made(&self) -> Option<Timestamp> {
        let made = self.commits.nodes.iter().flatten().flatten().next();
        made.map(|made| made.commit.committed_date)
    }

    /// Those that are open: no older than the head, not by the token's own account, which is the agent's too, and
    /// not by somebody who has approved since. None where a part did not come.
    pub(crate) fn open(self, reviews: &[Given]) -> Option<Vec<Remark>> {
        let made = self.made();
        let approved = |remark: &Remark| {
            reviews.iter().any(|review| {
                review.state == "APPROVED"
                    && review.submitted_at.is_some_and(|at| at >= remark.created_at)
                    && login(review.author.as_ref()) == login(remark.author.as_ref())
            })
        };
        let is_open = |remark: &Remark| {
            is_seen(None, remark.is_minimized)
                && !remark.viewer_did_author
                && !remark.body.trim().is_empty()
                && made.is_none_or(|made| !is_older(remark.created_at, made))
                && !approved(remark)
        };
        Some(self.comments.nodes()?.into_iter().filter(is_open).collect())
    }
}

/// A review with its words.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Given {
    pub(crate) id: String,
    pub(crate) state: String,
    pub(crate) body: String,
    pub(crate) commit: Option<Oid>,
    submitted_at: Option<Timestamp>,
    pub(crate) author: Option<Actor>,
    #[serde(default)]
    pub(crate) author_can_push_to_repository: bool,
    #[serde(default)]
    pub(crate) pull_request: Opened,
}

/// Who opened the pull request.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Opened {
    pub(crate) author: Option<Actor>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Oid {
    pub(crate) oid: String,
}

impl Given {
    /// Whether it has words that were said.
    pub(crate) fn speaks(&self) -> bool {
        is_seen(Some(&self.state), false) && !self.body.trim().is_empty()
    }
}

/// Which reviews' words are settled, in their order: an approval's and those of one that was dismissed, those that a later
/// yes or no of their author followed, and of mere comments those about another head that are older than this one, which
/// was `made` then.
pub(crate) fn settled(reviews: &[Given], head: &str, made: Option<Timestamp>) -> Vec<bool> {
    let decides =
        |one: &Given| matches!(&*one.state, "APPROVED" | "CHANGES_REQUESTED" | "DISMISSED");
    let mut last: BTreeMap<String, usize> = BTreeMap::new();
    for (at, review) in reviews.iter().enumerate().filter(|(_, review)| decides(review)) {
        last.insert(login(review.author.as_ref()), at);
    }
    let is_settled = |(at, review): (usize, &Given)| {
        let later = last.get(&login(review.author.as_ref())).is_some_and(|last| *last > at);
        let moved = review.commit.as_ref().is_none_or(|commit| commit.oid != head);
        let late = review.submitted_at.zip(made).is_some_and(|(said, made)| !is_older(said, made));
        match &*review.state {
            "APPROVED" | "DISMISSED" => true,
            "COMMENTED" => later || moved && !late,
            _ => later,
        }
    };
    reviews.iter().enumerate().map(is_settled).collect()
}

/// How one was closed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Closing {
    pub(crate) closed_at: Option<Timestamp>,
    pub(crate) timeline_items: Page<ClosedEvent>,
    pub(crate) comments: Page<Word>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ClosedEvent {
    pub(crate) actor: Option<Actor>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Word {
    pub(crate) body: String,
    pub(crate) created_at: Timestamp,
    pub(crate) author: Option<Actor>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A check of a workflow run: its number, when it began and ended (minutes past ten), and its conclusion.
    fn check(id: u64, run: u64, began: Option<u8>, ended: Option<u8>, conclusion: &str) -> Context {
        let at = |minute: u8| format!("2026-11-22T10:{minute:02}:00Z");
        serde_json::from_value(serde_json::json!({
            "__typename": "CheckRun", "databaseId": id, "name": "test", "title": null, "url": null,
            "status": if ended.is_some() { "COMPLETED" } else { "QUEUED" },
            "conclusion": ended.map(|_| conclusion), "isRequired": false,
            "startedAt": began.map(at), "completedAt": ended.map(at),
            "checkSuite": {
                "app": {"slug": "github-actions"},
                "workflowRun": {"databaseId": run, "event": "push", "workflow": {"name": "CI"}},
            },
        }))
        .unwrap()
    }

    #[test]
    fn what_a_later_run_superseded_does_not_count_and_jobs_of_one_name_do() {
        for (what, contexts, counted) in [
            (
                "jobs of a matrix that bear one name",
                vec![
                    check(1, 7, Some(0), Some(5), "FAILURE"),
                    check(2, 7, Some(1), Some(4), "SUCCESS"),
                ],
                &[1, 2][..],
            ),
            (
                "a job that was run again",
                vec![
                    check(1, 7, Some(0), Some(5), "FAILURE"),
                    check(2, 7, Some(6), Some(9), "SUCCESS"),
                ],
                &[2],
            ),
            (
                "a run that was cancelled for the next",
                vec![
                    check(1, 7, Some(0), Some(5), "CANCELLED"),
                    check(2, 8, Some(4), Some(9), "SUCCESS"),
                ],
                &[2],
            ),
            (
                "one that was cancelled before its turn came",
                vec![
                    check(1, 7, None, Some(5), "CANCELLED"),
                    check(2, 8, Some(4), Some(9), "SUCCESS"),
                ],
                &[2],
            ),
            (
                "one that waits for its turn",
                vec![check(1, 7, Some(0), Some(5), "FAILURE"), check(2, 8, None, None, "")],
                &[2],
            ),
        ] {
            let ids: Vec<u64> = newest(contexts)
                .iter()
                .filter_map(|context| match context {
                    Context::CheckRun { database_id, .. } => *database_id,
                    Context::StatusContext { .. } => None,
                })
                .collect();
            assert_eq!(ids, counted, "{what}");
        }
    }
}
