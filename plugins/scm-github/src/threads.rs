//! What people and bots said in reviews.

use std::collections::HashMap;

use ao_github::{Errand, Method, repo_path, segment};
use ao_slots::{
    PluginError,
    scm::{Comment, PrRef, Thread},
    text::plain,
};
use jiff::Timestamp;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    Hub, TEXT_CAP, capped,
    graph::{Actor, BELOW, Below, Given, Opened, Page, is_seen, login, settled},
};

/// The most pages of one pull request: 2,500 threads, 5,000 reviews.
const PAGES: usize = 50;

const THREADS: &str =
    "query($id: ID!, $after: String) { rateLimit { cost } node(id: $id) { ... on PullRequest {
  reviewThreads(first: 50, after: $after) { totalCount pageInfo { hasNextPage endCursor } nodes {
    id isResolved isOutdated path line originalLine
    comments(first: 50) { pageInfo { hasNextPage endCursor } nodes {
      id body state isMinimized author { __typename login } pullRequestReview { authorCanPushToRepository }
      pullRequest { author { __typename login } } } }
  } } } } }";

const COMMENTS: &str = "query($id: ID!, $after: String) { rateLimit { cost } node(id: $id) { ... on PullRequestReviewThread {
  comments(first: 100, after: $after) { pageInfo { hasNextPage endCursor } nodes {
    id body state isMinimized author { __typename login } pullRequestReview { authorCanPushToRepository }
    pullRequest { author { __typename login } } } } } } }";

const REVIEWS: &str =
    "query($id: ID!, $after: String) { rateLimit { cost } node(id: $id) { ... on PullRequest { headRefOid
  reviews(first: 100, after: $after) { pageInfo { hasNextPage endCursor } nodes {
    id state body commit { oid } submittedAt authorCanPushToRepository author { __typename login }
    pullRequest { author { __typename login } } } } } } }";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Talk {
    id: String,
    is_resolved: bool,
    is_outdated: bool,
    path: Option<String>,
    line: Option<u32>,
    original_line: Option<u32>,
    comments: Page<Words>,
}

/// A comment of a review.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Words {
    id: String,
    body: String,
    state: String,
    is_minimized: bool,
    author: Option<Actor>,
    pull_request: Opened,
    pull_request_review: Option<Writer>,
}

/// May who wrote it push? Whether they are a member or a collaborator does not tell.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Writer {
    author_can_push_to_repository: bool,
}

impl Words {
    fn comment(self) -> Comment {
        let review = self.pull_request_review;
        let may_write = review.is_some_and(|review| review.author_can_push_to_repository);
        comment(self.id, self.author.as_ref(), &self.pull_request, may_write, &self.body)
    }
}

fn comment(
    id: String,
    author: Option<&Actor>,
    of: &Opened,
    may_write: bool,
    body: &str,
) -> Comment {
    let is_bot = author.is_some_and(Actor::is_bot);
    let author = login(author);
    Comment {
        id,
        own: of.author.as_ref().is_some_and(|opener| login(Some(opener)) == author),
        author,
        is_bot,
        trusted: is_bot || may_write,
        text: capped(&plain(body), TEXT_CAP),
    }
}

/// All pages of a connection of a node.
struct Whole<T> {
    nodes: Vec<T>,
    /// The head of a pull request, where it was asked for.
    head: Option<String>,
}

impl Hub {
    /// All threads with words that are not hidden, then the words that came with reviews, then what is open below it.
    pub(crate) async fn discussion(
        &self,
        errand: Errand,
        pr: &PrRef,
    ) -> Result<Vec<Thread>, PluginError> {
        let id = self.id(errand, pr).await?;
        let mut threads = Vec::new();
        for talk in self.all::<Talk>(errand, THREADS, "reviewThreads", &id).await?.nodes {
            let more = talk.comments.next().is_some();
            let words = match more {
                true => self.all::<Words>(errand, COMMENTS, "comments", &talk.id).await?.nodes,
                false => talk.comments.nodes().ok_or_else(partial)?,
            };
            let seen = words.into_iter().filter(|one| is_seen(Some(&one.state), one.is_minimized));
            let comments: Vec<Comment> = seen.map(Words::comment).collect();
            if comments.is_empty() {
                continue;
            }
            threads.push(Thread {
                id: talk.id,
                resolved: talk.is_resolved,
                outdated: talk.is_outdated,
                path: talk.path,
                line: talk.line.or(talk.original_line),
                comments,
            });
        }
        let Whole { nodes: reviews, head } =
            self.all::<Given>(errand, REVIEWS, "reviews", &id).await?;
        let (below, made) = self.below(errand, pr, &id, &reviews).await?;
        let settled = settled(&reviews, &head.ok_or_else(partial)?, made);
        for (review, resolved) in reviews.into_iter().zip(settled).filter(|(one, _)| one.speaks()) {
            let may_write = review.author_can_push_to_repository;
            let (id, by) = (review.id.clone(), review.author.as_ref());
            let words = comment(id, by, &review.pull_request, may_write, &review.body);
            threads.push(Thread {
                id: review.id,
                resolved,
                outdated: false,
                path: None,
                line: None,
                comments: vec![words],
            });
        }
        threads.extend(below);
        Ok(threads)
    }

    /// What is open below it, and when its head was made.
    async fn below(
        &self,
        errand: Errand,
        pr: &PrRef,
        id: &str,
        reviews: &[Given],
    ) -> Result<(Vec<Thread>, Option<Timestamp>), PluginError> {
        let mut graph = self.github.graphql(errand, BELOW, &json!({"id": id})).await?;
        let node = graph.data["node"].take();
        let opener = Opened::deserialize(&node).map_err(|_| partial())?;
        let below = Below::deserialize(&node).ok();
        let made = below.as_ref().and_then(Below::made);
        let mut threads = Vec::new();
        let mut writers: HashMap<String, bool> = HashMap::new();
        for one in below.and_then(|below| below.open(reviews)).ok_or_else(partial)? {
            let author = login(one.author.as_ref());
            let may_write = match writers.get(&author) {
                Some(may) => *may,
                None => self.may_write(errand, pr, one.author.as_ref()).await?,
            };
            writers.insert(author, may_write);
            let words = comment(one.id.clone(), one.author.as_ref(), &opener, may_write, &one.body);
            threads.push(Thread {
                id: one.id,
                resolved: false,
                outdated: false,
                path: None,
                line: None,
                comments: vec![words],
            });
        }
        Ok((threads, made))
    }

    /// What GraphQL tells of who reviews only. A token that may not ask knows nobody.
    async fn may_write(
        &self,
        errand: Errand,
        pr: &PrRef,
        author: Option<&Actor>,
    ) -> Result<bool, PluginError> {
        let Some(author) = author.filter(|author| !author.is_bot()) else { return Ok(false) };
        let login = segment(&author.login);
        let path = format!("{}/collaborators/{login}/permission", repo_path(&pr.repo)?);
        match self.github.rest(errand, Method::GET, &path, None).await {
            Ok(answer) => Ok(matches!(answer.body["permission"].as_str(), Some("admin" | "write"))),
            Err(error) if error.is_transient() => Err(error),
            Err(_) => Ok(false),
        }
    }

    /// Every page of a connection of a node.
    async fn all<T: DeserializeOwned>(
        &self,
        errand: Errand,
        document: &str,
        name: &str,
        id: &str,
    ) -> Result<Whole<T>, PluginError> {
        let (mut nodes, mut after) = (Vec::new(), None);
        for _ in 0..PAGES {
            let variables = json!({"id": id, "after": after});
            let mut graph = self.github.graphql(errand, document, &variables).await?;
            if let Some(error) = graph.errors.first() {
                let cause = ao_slots::text::one_line(&error.message);
                return Err(PluginError::transient("a part of the discussion did not come", cause));
            }
            let page: Value = graph.data["node"][name].take();
            let page: Page<T> = serde_json::from_value(page).map_err(|_| partial())?;
            after = page.next();
            nodes.extend(page.nodes().ok_or_else(partial)?);
            if after.is_none() {
                let head = graph.data["node"]["headRefOid"].as_str().map(str::to_owned);
                return Ok(Whole { nodes, head });
            }
        }
        Err(PluginError::transient("the discussion has more pages than are read", ""))
    }
}

fn partial() -> PluginError {
    PluginError::transient("a part of the discussion did not come", "")
}
