//! What people and bots said in reviews.

use std::collections::BTreeMap;

use ao_github::{Errand, Graph};
use ao_slots::{
    PluginError,
    scm::{Comment, PrRef, Thread},
    text::plain,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    Hub, TEXT_CAP, capped,
    graph::{Actor, Page, login},
};

/// The most pages of one pull request: 2,500 threads, 5,000 reviews.
const PAGES: usize = 50;

const THREADS: &str =
    "query($id: ID!, $after: String) { rateLimit { cost } node(id: $id) { ... on PullRequest {
  reviewThreads(first: 50, after: $after) { totalCount pageInfo { hasNextPage endCursor } nodes {
    id isResolved isOutdated path line originalLine
    comments(first: 50) { pageInfo { hasNextPage endCursor } nodes {
      id body isMinimized authorAssociation author { __typename login }
      pullRequest { author { __typename login } } } }
  } } } } }";

const COMMENTS: &str = "query($id: ID!, $after: String) { rateLimit { cost } node(id: $id) { ... on PullRequestReviewThread {
  comments(first: 100, after: $after) { pageInfo { hasNextPage endCursor } nodes {
    id body isMinimized authorAssociation author { __typename login }
    pullRequest { author { __typename login } } } } } } }";

const REVIEWS: &str =
    "query($id: ID!, $after: String) { rateLimit { cost } node(id: $id) { ... on PullRequest {
  reviews(first: 100, after: $after) { pageInfo { hasNextPage endCursor } nodes {
    id state body authorAssociation author { __typename login }
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

/// A comment, or a review.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Words {
    id: String,
    body: String,
    /// Of a review.
    state: Option<String>,
    /// Somebody who may has hidden it.
    #[serde(default)]
    is_minimized: bool,
    author_association: String,
    author: Option<Actor>,
    pull_request: Opened,
}

/// Who opened the pull request.
#[derive(Debug, Deserialize)]
struct Opened {
    author: Option<Actor>,
}

impl Words {
    fn comment(self) -> Comment {
        let is_bot = self.author.as_ref().is_some_and(Actor::is_bot);
        let may_write =
            matches!(self.author_association.as_str(), "OWNER" | "MEMBER" | "COLLABORATOR");
        let author = login(self.author.as_ref());
        let opener = self.pull_request.author.as_ref().map(|author| login(Some(author)));
        Comment {
            id: self.id,
            own: opener.as_ref() == Some(&author),
            author,
            is_bot,
            trusted: is_bot || may_write,
            text: capped(&plain(&self.body), TEXT_CAP),
        }
    }
}

impl Hub {
    /// All threads with words that are not hidden, then the words that came with reviews.
    pub(crate) async fn discussion(
        &self,
        errand: Errand,
        pr: &PrRef,
    ) -> Result<Vec<Thread>, PluginError> {
        let id = self.id(errand, pr).await?;
        let mut threads = Vec::new();
        for talk in self.all::<Talk>(errand, THREADS, "reviewThreads", &id).await? {
            let more = talk.comments.next().is_some();
            let words = match more {
                true => self.all::<Words>(errand, COMMENTS, "comments", &talk.id).await?,
                false => talk.comments.nodes().ok_or_else(partial)?,
            };
            let seen = words.into_iter().filter(|words| !words.is_minimized);
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
        let reviews = self.all::<Words>(errand, REVIEWS, "reviews", &id).await?;
        // A reviewer's later yes or no settles the words of an earlier review.
        let says = |words: &Words| {
            matches!(words.state.as_deref(), Some("APPROVED" | "CHANGES_REQUESTED" | "DISMISSED"))
        };
        let mut last: BTreeMap<String, usize> = BTreeMap::new();
        for (at, review) in reviews.iter().enumerate().filter(|(_, review)| says(review)) {
            last.insert(login(review.author.as_ref()), at);
        }
        for (at, review) in reviews.into_iter().enumerate() {
            if review.body.trim().is_empty() || review.state.as_deref() == Some("PENDING") {
                continue;
            }
            let later = last.get(&login(review.author.as_ref())).is_some_and(|last| *last > at);
            let resolved =
                later || matches!(review.state.as_deref(), Some("DISMISSED" | "APPROVED"));
            threads.push(Thread {
                id: review.id.clone(),
                resolved,
                outdated: false,
                path: None,
                line: None,
                comments: vec![review.comment()],
            });
        }
        Ok(threads)
    }

    /// Every page of a connection of a node.
    async fn all<T: DeserializeOwned>(
        &self,
        errand: Errand,
        document: &str,
        name: &str,
        id: &str,
    ) -> Result<Vec<T>, PluginError> {
        let (mut all, mut after) = (Vec::new(), None);
        for _ in 0..PAGES {
            let variables = json!({"id": id, "after": after});
            let Graph { mut data, errors } =
                self.github.graphql(errand, document, &variables).await?;
            if let Some(error) = errors.first() {
                let cause = ao_slots::text::one_line(&error.message);
                return Err(PluginError::transient("a part of the discussion did not come", cause));
            }
            let page: Value = data["node"][name].take();
            let page: Page<T> = serde_json::from_value(page).map_err(|_| partial())?;
            after = page.next();
            all.extend(page.nodes().ok_or_else(partial)?);
            if after.is_none() {
                return Ok(all);
            }
        }
        Err(PluginError::transient("the discussion has more pages than are read", ""))
    }
}

fn partial() -> PluginError {
    PluginError::transient("a part of the discussion did not come", "")
}
