//! A sweep: the facts of many pull requests in few requests, what has not changed since the last one left out.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    time::Duration,
};

use ao_github::{Errand, Graph, RIGHTS, owner_and_name};
use ao_sdk::digest;
use ao_slots::{
    PluginError, PrNumber,
    call::Answer,
    fact::{Checks, Mergeable, PrComment, PrDetails, PrFacts, PrState, Review},
    scm::{BranchRef, CheckState, PrRef},
    text::{cut, cut_counted, one_line},
};
use futures_util::future::join_all;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::{
    Hub,
    graph::{
        Actor, BATCH, Begun, CLOSING, Closing, Context, FACTS, Given, Mark, More, NODES, Page,
        Pull, Remark, SAID, Said, contexts, login, more_threads, newest, settled,
    },
};

/// What is not asked for in each sweep is asked for again after so long, whatever the rest says.
const FRESH: Duration = Duration::from_secs(300);
/// How long a head without a check, where an earlier one had some, is taken for one whose checks have not begun.
const BEGINNING: Duration = Duration::from_secs(600);
/// How long a new head is not taken for green, unless the rules name what must pass: a check is made some seconds after
/// the push, and the slow ones after the quick ones have passed.
const SETTLING: Duration = Duration::from_secs(90);
/// How long what was seen of a pull request that nobody asks for any more is kept.
const FORGET: Duration = Duration::from_secs(3_600);
/// How many requests are under way at once.
const AT_ONCE: usize = 4;
/// How many pull requests are looked at to their end before the next are: where time runs out, what was seen is kept.
const GROUP: usize = 8 * BATCH;
/// The most rounds of further pages.
const ROUNDS: usize = 20;

/// What was seen of a pull request.
#[derive(Debug)]
pub(crate) struct Sight {
    asked: Instant,
    head: String,
    /// When this head was first seen, and how long it had been there at least.
    head_since: (Instant, Duration),
    had_checks: bool,
    /// See [`Rollup::stamp`](crate::graph::Rollup::stamp).
    rollup: Option<String>,
    contexts: Vec<Context>,
    contexts_at: Instant,
    talk: Option<Talk>,
    closing: Option<Closed>,
}

/// What was seen of its threads.
#[derive(Debug)]
struct Talk {
    mark: TalkMark,
    at: Instant,
    threads: BTreeMap<String, Option<Brief>>,
    reviews: Spoken,
}

/// The last words beside the threads of a pull request: its reviews, what is open below it, and when its head was made.
#[derive(Debug, Clone)]
struct Spoken {
    given: Vec<Given>,
    below: Vec<Remark>,
    made: Option<Timestamp>,
}

impl Spoken {
    /// People said something that may count as a remark.
    fn remarks(&self) -> bool {
        let person = |author: Option<&Actor>| !author.is_some_and(Actor::is_bot);
        let says = |one: &Given| one.state == "COMMENTED" && one.speaks();
        self.below.iter().any(|one| person(one.author.as_ref()))
            || self.given.iter().any(|one| says(one) && person(one.author.as_ref()))
    }
}

/// What a sweep reads of what was said: threads by id, none where nothing in one is to be seen, and what was said beside
/// them by pull request.
#[derive(Debug, Default)]
struct Told {
    threads: BTreeMap<String, Option<Brief>>,
    reviews: BTreeMap<String, Spoken>,
}

/// Words that stand at no line: their id, who said them, what they are.
type Words<'w> = (&'w str, Option<&'w Actor>, &'w str);

/// Changes whenever the words may have.
type TalkMark = (String, Option<u64>, BTreeSet<String>);

/// A thread in short.
#[derive(Debug, Clone)]
struct Brief {
    is_bot: bool,
    /// What it begins with, unless that is hidden.
    comment: Option<PrComment>,
    /// Changes with what is said in it.
    stamp: String,
}

/// A pull request on its way through a sweep.
struct Seen {
    key: String,
    id: String,
    number: u64,
    facts: PrFacts,
    updated: (String, Option<u64>),
    /// How long nothing of it has changed, by the vendor's clock.
    quiet: Duration,
    repo: String,
    rollup: Option<String>,
    demanded: Vec<String>,
    /// None where they were not asked for.
    contexts: Option<Vec<Context>>,
    threads: Vec<Mark>,
    /// Reviews that ask for changes: their words are a part of the discussion.
    objections: Vec<String>,
    closing: Option<Closed>,
    /// Further pages.
    next: Vec<Next>,
    /// Why nothing can be said of it.
    lost: Option<String>,
}

/// Who closed it, and the words to that.
type Closed = (Option<String>, Option<String>);

/// A further page of what.
enum Next {
    Contexts(Option<String>),
    Threads(String),
    Closing,
}

/// Facts, and what only a human is told.
pub(crate) struct View {
    pub(crate) pr: PrRef,
    pub(crate) facts: PrFacts,
    pub(crate) checks: Vec<ao_slots::scm::CheckRun>,
}

impl Hub {
    /// The facts of these, in their order.
    pub(crate) async fn look(
        &self,
        errand: Errand,
        prs: &[PrRef],
    ) -> Result<Vec<Answer<View>>, PluginError> {
        let (order, prs) = self.stalest_first(prs);
        let mut views: Vec<Answer<View>> = Vec::with_capacity(prs.len());
        let (mut first, mut any) = (None, prs.is_empty());
        for group in prs.chunks(GROUP) {
            let mut found: Vec<Answer<Seen>> = Vec::with_capacity(group.len());
            let batches: Vec<&[PrRef]> = group.chunks(BATCH).collect();
            for some in batches.chunks(AT_ONCE) {
                let answers =
                    join_all(some.iter().map(|batch| self.batch_or_halves(errand, batch)));
                for (answer, batch) in answers.await.into_iter().zip(some) {
                    match answer {
                        Ok(seen) => (any, _) = (true, found.extend(seen)),
                        Err(error) => {
                            found.extend(batch.iter().map(|_| Answer::Unknown(error.to_string())));
                            first.get_or_insert(error);
                        }
                    }
                }
            }
            self.complete(errand, &mut found).await;
            let said = self.words(errand, &mut found).await;
            let now = Instant::now();
            let mut sights = self.sights();
            sights.retain(|_, sight| now - sight.asked < FORGET);
            views.extend(found.into_iter().map(|seen| match seen {
                Answer::Yes(Seen { lost: Some(why), .. }) | Answer::Unknown(why) => {
                    Answer::Unknown(why)
                }
                Answer::No => Answer::No,
                Answer::Yes(seen) => seen.told(&mut sights, &said, now),
            }));
        }
        // One error for all says when to come again.
        if let Some(error) = first.filter(|_| !any) {
            return Err(error);
        }
        let mut answers: Vec<(usize, Answer<View>)> = order.into_iter().zip(views).collect();
        answers.sort_by_key(|(at, _)| *at);
        Ok(answers.into_iter().map(|(_, answer)| answer).collect())
    }

    /// Those that were not seen for longest first, with their places: where time runs out it is not always for the same.
    fn stalest_first(&self, prs: &[PrRef]) -> (Vec<usize>, Vec<PrRef>) {
        let mut order: Vec<usize> = (0..prs.len()).collect();
        let sights = self.sights();
        order.sort_by_key(|at| sights.get(&key(&prs[*at])).map(|sight| sight.asked));
        let prs = order.iter().map(|at| prs[*at].clone()).collect();
        (order, prs)
    }

    /// One request for at most [`BATCH`]; where that fails, as one that is too heavy does, one for each half.
    async fn batch_or_halves(
        &self,
        errand: Errand,
        prs: &[PrRef],
    ) -> Result<Vec<Answer<Seen>>, PluginError> {
        let error = match self.batch(errand, prs).await {
            Err(error) if may_be_heavy(&error) && prs.len() > 1 => error,
            answer => return answer,
        };
        let halves = prs.split_at(prs.len() / 2);
        let halves: [&[PrRef]; 2] = halves.into();
        let answers = join_all(halves.map(|half| self.batch(errand, half))).await;
        if answers.iter().all(Result::is_err) {
            return Err(error);
        }
        let unknown = |error: &PluginError| Answer::Unknown(error.to_string());
        let of = |(answer, half): (Result<Vec<_>, _>, &[PrRef])| match answer {
            Ok(seen) => seen,
            Err(error) => half.iter().map(|_| unknown(&error)).collect(),
        };
        Ok(answers.into_iter().zip(halves).flat_map(of).collect())
    }

    /// One request for at most [`BATCH`].
    async fn batch(&self, errand: Errand, prs: &[PrRef]) -> Result<Vec<Answer<Seen>>, PluginError> {
        let (document, variables) = self.document(prs)?;
        let mut graph = self.github.graphql(errand, &document, &variables).await?;
        if let Some(login) = graph.data["viewer"]["login"].as_str() {
            self.github.belongs_to(login);
        }
        let answers: Vec<Answer<Seen>> = prs
            .iter()
            .enumerate()
            .map(|(at, pr)| seen(&mut graph, at, pr, self.required))
            .collect();
        // A right that is missing does not come by asking again.
        let refused = graph.errors.iter().find(|error| error.kind == "FORBIDDEN");
        match refused {
            Some(error) if answers.iter().all(|one| matches!(one, Answer::Unknown(_))) => {
                let what = "the token may not see all of these pull requests";
                let cause = cut(&one_line(&error.message), 300);
                Err(PluginError::permanent(what, cause).with_remedy(RIGHTS))
            }
            _ => Ok(answers),
        }
    }

    fn document(&self, prs: &[PrRef]) -> Result<(String, Value), PluginError> {
        let (mut head, mut body, mut variables) = (String::new(), String::new(), Map::new());
        let now = Instant::now();
        let sights = self.sights();
        let mut wrong = None;
        for (at, pr) in prs.iter().enumerate() {
            let checks = match sights.get(&key(pr)).is_some_and(|sight| sight.checks_hold(now)) {
                true => String::new(),
                false => contexts(pr.number.0, None),
            };
            // Writing to a string does not fail.
            let _ = match &pr.node {
                Some(node) => {
                    variables.insert(format!("n{at}"), json!(node));
                    let _ = write!(head, "$n{at}: ID! ");
                    writeln!(
                        body,
                        "p{at}: node(id: $n{at}) {{ ... on PullRequest {{ ...Facts {checks} }} }}"
                    )
                }
                None => {
                    let (owner, name) = match owner_and_name(&pr.repo) {
                        Ok(parts) => parts,
                        // The others are no worse for it.
                        Err(error) => {
                            wrong.get_or_insert(error);
                            continue;
                        }
                    };
                    variables.insert(format!("o{at}"), json!(owner));
                    variables.insert(format!("r{at}"), json!(name));
                    let _ = write!(head, "$o{at}: String! $r{at}: String! ");
                    let number = pr.number.0;
                    writeln!(
                        body,
                        "p{at}: repository(owner: $o{at}, name: $r{at}) {{ pullRequest(number: {number}) {{ ...Facts {checks} }} }}"
                    )
                }
            };
        }
        if let Some(error) = wrong.filter(|_| head.is_empty()) {
            return Err(error);
        }
        let document =
            format!("query({head}) {{ rateLimit {{ cost }} viewer {{ login }}\n{body}}}{FACTS}");
        Ok((document, Value::Object(variables)))
    }

    /// Asks for what the first look left open: checks that turned out to have changed, further pages, who closed it.
    async fn complete(&self, errand: Errand, found: &mut [Answer<Seen>]) {
        let now = Instant::now();
        for seen in there(found) {
            seen.want(self.sights().get(&seen.key), now);
        }
        for _ in 0..ROUNDS {
            let mut open: Vec<(&mut Seen, Next)> = Vec::new();
            for seen in there(found).filter(|seen| seen.lost.is_none()) {
                if let Some(next) = seen.next.pop() {
                    open.push((seen, next));
                }
            }
            if open.is_empty() {
                return;
            }
            for some in open.chunks_mut(BATCH) {
                let Err(error) = self.complete_some(errand, some).await else { continue };
                if some.len() == 1 || !may_be_heavy(&error) {
                    lack(some, &error);
                    continue;
                }
                let (one, other) = some.split_at_mut(some.len() / 2);
                for half in [one, other] {
                    if let Err(error) = self.complete_some(errand, half).await {
                        lack(half, &error);
                    }
                }
            }
        }
        for seen in there(found).filter(|seen| !seen.next.is_empty()) {
            seen.lose("it has more pages than are read");
        }
    }

    async fn complete_some(
        &self,
        errand: Errand,
        some: &mut [(&mut Seen, Next)],
    ) -> Result<(), PluginError> {
        let (mut head, mut body, mut variables) = (String::new(), String::new(), Map::new());
        for (at, (seen, next)) in some.iter().enumerate() {
            let fields = match next {
                Next::Contexts(after) => contexts(seen.number, after.as_deref()),
                Next::Threads(after) => more_threads(after),
                Next::Closing => CLOSING.to_owned(),
            };
            variables.insert(format!("n{at}"), json!(seen.id));
            // Writing to a string does not fail.
            let _ = write!(head, "$n{at}: ID! ");
            let _ = writeln!(
                body,
                "p{at}: node(id: $n{at}) {{ ... on PullRequest {{ headRefOid {fields} }} }}"
            );
        }
        let document = format!("query({head}) {{ rateLimit {{ cost }}\n{body}}}");
        let mut graph = self.github.graphql(errand, &document, &Value::Object(variables)).await?;
        for (at, (seen, next)) in some.iter_mut().enumerate() {
            let name = format!("p{at}");
            let came = graph.error(&name).is_none().then(|| graph.data[&name].take());
            if came.and_then(|value| seen.take_more(next, &value)).is_none() {
                seen.lack(next, "a part of it did not come");
            }
        }
        Ok(())
    }

    /// What was said where it may have changed: the last reviews, the unresolved threads.
    async fn words(&self, errand: Errand, found: &mut [Answer<Seen>]) -> Told {
        let now = Instant::now();
        let mut wanted = Vec::new();
        for seen in there(found).filter(|seen| seen.lost.is_none()) {
            let sights = self.sights();
            let talk = sights.get(&seen.key).and_then(|sight| sight.talk.as_ref());
            let same = talk.filter(|talk| talk.mark == seen.mark());
            // A review is given with a change of the mark; what was said may be edited or hidden without one.
            let old = same.is_none_or(|talk| now - talk.at >= FRESH);
            if same.is_none_or(|talk| old && talk.reviews.remarks()) {
                wanted.push(seen.id.clone());
            }
            if old {
                wanted.extend(seen.unresolved().map(str::to_owned));
            }
        }
        let mut told = Told::default();
        let parts: Vec<&[String]> = wanted.chunks(NODES).collect();
        for some in parts.chunks(AT_ONCE) {
            let said = join_all(some.iter().map(|ids| self.said_or_halves(errand, ids))).await;
            said.into_iter().flatten().for_each(|said| told.take(said));
        }
        // What did not come is not nothing.
        let wanted: BTreeSet<&str> = wanted.iter().map(String::as_str).collect();
        for seen in there(found) {
            let no_reviews = wanted.contains(&*seen.id) && !told.reviews.contains_key(&seen.id);
            let no_words = |id: &str| wanted.contains(id) && !told.threads.contains_key(id);
            if no_reviews || seen.unresolved().any(no_words) {
                seen.lose("the words of its reviews did not come");
            }
        }
        told
    }

    /// What came of one request for at most [`NODES`]; where that fails, of one for each half.
    async fn said_or_halves(&self, errand: Errand, ids: &[String]) -> Vec<Said> {
        match self.said(errand, ids).await {
            Err(error) if may_be_heavy(&error) && ids.len() > 1 => {
                let halves: [&[String]; 2] = ids.split_at(ids.len() / 2).into();
                let said = join_all(halves.map(|half| self.said(errand, half))).await;
                said.into_iter().flatten().flatten().collect()
            }
            said => said.unwrap_or_default(),
        }
    }

    async fn said(&self, errand: Errand, ids: &[String]) -> Result<Vec<Said>, PluginError> {
        let mut graph = self.github.graphql(errand, SAID, &json!({"ids": ids})).await?;
        let nodes = graph.data["nodes"].take();
        let nodes = nodes.as_array().into_iter().flatten();
        Ok(nodes.filter_map(|node| Said::deserialize(node).ok()).collect())
    }

    /// The open pull requests of these branches, in their order.
    pub(crate) async fn find(
        &self,
        errand: Errand,
        branches: &[BranchRef],
    ) -> Result<Vec<Answer<PrRef>>, PluginError> {
        let mut answers = Vec::with_capacity(branches.len());
        // A project without a repository of GitHub is no hindrance to others.
        if let Some(Err(error)) =
            branches.iter().map(|one| owner_and_name(&one.repo)).min_by_key(Result::is_err)
        {
            return Err(error);
        }
        for some in branches.chunks(BATCH) {
            let (mut head, mut body, mut variables) = (String::new(), String::new(), Map::new());
            for (at, branch) in some.iter().enumerate() {
                let Ok((owner, name)) = owner_and_name(&branch.repo) else { continue };
                variables.insert(format!("o{at}"), json!(owner));
                variables.insert(format!("r{at}"), json!(name));
                variables.insert(format!("h{at}"), json!(branch.branch));
                // Writing to a string does not fail.
                let _ = write!(head, "$o{at}: String! $r{at}: String! $h{at}: String! ");
                let _ = writeln!(
                    body,
                    "b{at}: repository(owner: $o{at}, name: $r{at}) {{ nameWithOwner pullRequests(headRefName: $h{at}, states: [OPEN], first: 20, orderBy: {{field: CREATED_AT, direction: DESC}}) {{
  pageInfo {{ hasNextPage endCursor }} nodes {{ id number headRefName isCrossRepository viewerDidAuthor }} }} }}"
                );
            }
            let head = if head.is_empty() { head } else { format!("({head})") };
            let document = format!("query{head} {{ rateLimit {{ cost }}\n{body}}}");
            match self.github.graphql(errand, &document, &Value::Object(variables)).await {
                Ok(mut graph) => {
                    answers.extend(
                        some.iter().enumerate().map(|(at, b)| branch_of(&mut graph, at, b)),
                    );
                }
                Err(error) if answers.is_empty() => return Err(error),
                Err(error) => {
                    answers.extend(some.iter().map(|_| Answer::Unknown(error.to_string())));
                }
            }
        }
        Ok(answers)
    }
}

/// What tells a pull request from others, whatever its repository is called.
fn key(pr: &PrRef) -> String {
    pr.node.clone().unwrap_or_else(|| format!("{}#{}", pr.repo, pr.number.0))
}

/// Whether less may be answered: neither a limit, which says when to come again, nor a right that is missing.
fn may_be_heavy(error: &PluginError) -> bool {
    error.is_transient() && error.retry_after_ms.is_none()
}

/// Says of all that their further pages did not come.
fn lack(some: &mut [(&mut Seen, Next)], error: &PluginError) {
    let why = error.to_string();
    some.iter_mut().for_each(|(seen, next)| seen.lack(next, &why));
}

/// Those that came.
fn there(found: &mut [Answer<Seen>]) -> impl Iterator<Item = &mut Seen> {
    found.iter_mut().filter_map(|answer| match answer {
        Answer::Yes(seen) => Some(seen),
        _ => None,
    })
}

/// What came for one.
fn seen(graph: &mut Graph, at: usize, pr: &PrRef, required: usize) -> Answer<Seen> {
    let alias = format!("p{at}");
    let unknown = |why: &str| Answer::Unknown(cut(&one_line(why), 300));
    if let Some(error) = graph.error(&alias) {
        // A repository or an id that is not there may be one that the token must not see any more.
        let is_gone = error.kind == "NOT_FOUND" && error.path.len() == 2 && pr.node.is_none();
        return if is_gone { Answer::No } else { unknown(&error.message) };
    }
    let mut value = graph.data[&alias].take();
    if pr.node.is_none() {
        if let Err(error) = owner_and_name(&pr.repo) {
            return unknown(&error.to_string());
        }
        value = value["pullRequest"].take();
    }
    let pull = match Pull::deserialize(&value) {
        Ok(pull) => pull,
        Err(error) => return unknown(&format!("the answer does not read: {error}")),
    };
    // The id is of another one.
    if pull.number != pr.number.0 {
        return Answer::No;
    }
    let quiet = |at: Timestamp| at.duration_since(pull.updated_at.parse().ok()?).try_into().ok();
    let quiet = graph.at.and_then(quiet).unwrap_or_default();
    match Seen::new(key(pr), pull, quiet, required) {
        Some(seen) => Answer::Yes(seen),
        None => unknown("a part of it did not come"),
    }
}

impl Seen {
    /// None where a part of a list is missing.
    fn new(key: String, pull: Pull, quiet: Duration, required: usize) -> Option<Self> {
        let demanded = pull.demanded();
        let mut next = Vec::new();
        let (rollup, page) = match pull.status_check_rollup {
            Some(rollup) => (Some(rollup.stamp()), rollup.contexts),
            None => (None, None),
        };
        next.extend(page.as_ref().and_then(Page::next).map(|after| Next::Contexts(Some(after))));
        let contexts = match page {
            Some(page) => Some(page.nodes()?),
            None if rollup.is_none() => Some(Vec::new()),
            None => None,
        };
        next.extend(pull.review_threads.next().map(Next::Threads));
        let threads_in_all = pull.review_threads.total_count.unwrap_or_default();
        let threads = pull.review_threads.nodes()?;
        // More reviewers than a page holds: whether one objects is not known.
        let lost =
            pull.latest_opinionated_reviews.next().map(|_| "it has too many reviews".to_owned());
        let opinions = pull.latest_opinionated_reviews.nodes()?;
        let of = |state: &'static str| opinions.iter().filter(move |one| one.state == state);
        let objections: Vec<String> = of("CHANGES_REQUESTED").map(|one| one.id.clone()).collect();
        let asked = pull.review_requests.total_count.unwrap_or_default() > 0;
        let approvals = of("APPROVED").count();
        // The rules may ask for fewer than the settings.
        let lacks = approvals < required;
        let review = match pull.review_decision.as_deref() {
            Some("APPROVED") if !lacks => Review::Approved,
            Some("CHANGES_REQUESTED") => Review::ChangesRequested,
            Some(_) => Review::Pending,
            // No rule demands a review, so the reviews speak for themselves.
            None if !objections.is_empty() => Review::ChangesRequested,
            None if approvals > 0 && !lacks => Review::Approved,
            None if asked || lacks => Review::Pending,
            None => Review::None,
        };
        let approved_by = of("APPROVED").map(|one| login(one.author.as_ref())).collect();
        let head_approved = of("APPROVED").any(|one| {
            one.commit.as_ref().is_some_and(|commit| commit.oid == pull.head_ref_oid)
                && one.author.as_ref().is_some_and(|author| !author.is_bot())
        });
        let details = PrDetails {
            url: Some(pull.url),
            base: Some(pull.base_ref_name),
            added: pull.additions,
            removed: pull.deletions,
            files: pull.changed_files,
            approved_by,
            head_approved,
            threads: threads_in_all,
            ..PrDetails::default()
        };
        let facts = PrFacts {
            number: PrNumber(pull.number),
            title: cut(&one_line(&pull.title), 256),
            head: pull.head_ref_oid,
            state: match pull.state.as_str() {
                "MERGED" => PrState::Merged,
                "CLOSED" => PrState::Closed,
                _ if pull.is_draft => PrState::Draft,
                _ => PrState::Open,
            },
            checks: Checks::Unknown,
            failing: Vec::new(),
            pending: 0,
            review,
            human_threads: 0,
            remarks: 0,
            remark_ids: Vec::new(),
            bot_threads: 0,
            mergeable: match (&*pull.mergeable, &*pull.merge_state_status) {
                ("CONFLICTING", _) | (_, "DIRTY") => Mergeable::Conflicting,
                ("MERGEABLE", "BLOCKED") => Mergeable::Blocked,
                ("MERGEABLE", "BEHIND") => Mergeable::Behind,
                ("MERGEABLE", "CLEAN" | "UNSTABLE" | "HAS_HOOKS" | "DRAFT") => Mergeable::Yes,
                _ => Mergeable::Unknown,
            },
            discussion: String::new(),
            details: Box::new(details),
        };
        Some(Self {
            key,
            id: pull.id,
            number: pull.number,
            facts,
            updated: (pull.updated_at, pull.total_comments_count),
            quiet,
            repo: pull.repository.name_with_owner,
            rollup,
            demanded,
            contexts,
            threads,
            objections,
            closing: None,
            next,
            lost,
        })
    }

    fn lose(&mut self, why: &str) {
        self.lost.get_or_insert_with(|| cut(&one_line(why), 300));
    }

    /// A further page did not come. Who closed it is only told: the rest is not withheld for it.
    fn lack(&mut self, next: &Next, why: &str) {
        if !matches!(next, Next::Closing) {
            self.lose(why);
        }
    }

    /// Notes what the first look left open, by what was seen before.
    fn want(&mut self, sight: Option<&Sight>, now: Instant) {
        let is_same = |sight: &Sight| sight.head == self.facts.head && sight.rollup == self.rollup;
        if self.contexts.is_none() {
            match sight.filter(|sight| sight.checks_hold(now) && is_same(sight)) {
                Some(sight) => self.contexts = Some(sight.contexts.clone()),
                None => self.next.push(Next::Contexts(None)),
            }
        }
        if self.facts.state == PrState::Closed {
            match sight.and_then(|sight| sight.closing.clone()) {
                Some(closing) => self.closing = Some(closing),
                None => self.next.push(Next::Closing),
            }
        }
    }

    /// Takes a further page; none where it does not read, or is of another head.
    fn take_more(&mut self, next: &Next, value: &Value) -> Option<()> {
        if let Next::Closing = next {
            self.closing = Some(closed(Closing::deserialize(value).ok()?));
            return Some(());
        }
        let more = More::deserialize(value).ok()?;
        if let Next::Threads(_) = next {
            let page = more.review_threads?;
            self.next.extend(page.next().map(Next::Threads));
            self.threads.extend(page.nodes()?);
            return Some(());
        }
        if more.head_ref_oid != self.facts.head {
            return None;
        }
        let page = more.status_check_rollup?.contexts?;
        self.next.extend(page.next().map(|after| Next::Contexts(Some(after))));
        self.contexts.get_or_insert_default().extend(page.nodes()?);
        Some(())
    }

    fn unresolved(&self) -> impl Iterator<Item = &str> {
        self.threads.iter().filter(|mark| !mark.is_resolved).map(|mark| mark.id.as_str())
    }

    fn mark(&self) -> TalkMark {
        let (at, count) = self.updated.clone();
        (at, count, self.unresolved().map(str::to_owned).collect())
    }

    /// The facts; what was seen is kept for the next sweep.
    fn told(
        mut self,
        sights: &mut BTreeMap<String, Sight>,
        said: &Told,
        now: Instant,
    ) -> Answer<View> {
        let mark = self.mark();
        let before = sights.remove(&self.key);
        let known = before.as_ref().and_then(|sight| sight.talk.as_ref());
        let brief = |id: &str| said.threads.get(id).or_else(|| known?.threads.get(id)).cloned();
        let ids: Vec<String> = self.unresolved().map(str::to_owned).collect();
        let threads: Option<BTreeMap<String, Option<Brief>>> =
            ids.iter().map(|id| Some((id.clone(), brief(id)?))).collect();
        let reviews = said.reviews.get(&self.id).or_else(|| Some(&known?.reviews)).cloned();
        let (Some(threads), Some(reviews)) = (threads, reviews) else {
            return Answer::Unknown("the words of its reviews did not come".to_owned());
        };
        let read_again = known.is_none_or(|talk| talk.mark != mark || now - talk.at >= FRESH);
        let talk_at = known.filter(|_| !read_again).map_or(now, |talk| talk.at);
        let briefs: Vec<(&str, &Brief)> =
            ids.iter().filter_map(|id| Some((&**id, threads.get(id)?.as_ref()?))).collect();
        let Spoken { given, below, made } = &reviews;
        let open = given.iter().zip(settled(given, &self.facts.head, *made));
        let open = open.filter(|(one, settled)| one.state == "COMMENTED" && !settled);
        let open = open.map(|(one, _)| one).filter(|one| one.speaks());
        let words = open.map(|one| (&*one.id, one.author.as_ref(), &*one.body));
        let words =
            words.chain(below.iter().map(|one| (&*one.id, one.author.as_ref(), &*one.body)));
        // What a bot says beside its threads is a summary, and no trouble of its own.
        let words: Vec<Words<'_>> =
            words.filter(|(_, author, _)| !author.is_some_and(Actor::is_bot)).collect();
        let bots = briefs.iter().filter(|(_, brief)| brief.is_bot).count();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        self.facts.bot_threads = count(bots);
        self.facts.human_threads = count(briefs.len() - bots);
        self.facts.remarks = count(words.len());
        // By what it says as well: an edited one is another.
        let id = |(id, _, body): &Words<'_>| digest(format!("{id}\n{body}"), 8);
        self.facts.remark_ids = words.iter().map(id).collect();
        let comments = briefs.iter().filter_map(|(_, brief)| brief.comment.clone());
        let comments = comments.chain(words.iter().map(|(_, by, body)| comment(*by, body)));
        self.facts.details.comments = comments.take(5).collect();
        self.facts.discussion = self.discussion(&briefs);

        let is_same_head = before.as_ref().filter(|sight| sight.head == self.facts.head);
        let head_since = match &before {
            Some(sight) if sight.head == self.facts.head => sight.head_since,
            Some(_) => (now, Duration::ZERO),
            // A push is a change: one that was never looked at has its head for as long as nothing changed.
            None => (now, self.quiet),
        };
        let age = now - head_since.0 + head_since.1;
        let contexts = newest(self.contexts.take().unwrap_or_default());
        let had_checks = before.as_ref().is_some_and(|sight| sight.had_checks);
        let begins = age < SETTLING || contexts.is_empty() && had_checks && age < BEGINNING;
        verdict(&mut self.facts, &contexts, &self.demanded, begins);
        if let Some((by, words)) = &self.closing {
            self.facts.details.closed_by.clone_from(by);
            self.facts.details.closing.clone_from(words);
        }
        let kept = before.as_ref().filter(|sight| {
            sight.checks_hold(now) && is_same_head.is_some() && sight.rollup == self.rollup
        });
        let contexts_at = kept.map_or(now, |sight| sight.contexts_at);
        let checks = contexts.iter().map(|context| context.check_run(&self.demanded)).collect();
        let sight = Sight {
            asked: now,
            head: self.facts.head.clone(),
            head_since,
            had_checks: had_checks || !contexts.is_empty(),
            rollup: self.rollup,
            contexts,
            contexts_at,
            talk: Some(Talk { mark, at: talk_at, threads, reviews }),
            closing: self.closing,
        };
        sights.insert(self.key, sight);
        let pr = PrRef { repo: self.repo, number: self.facts.number, node: Some(self.id) };
        Answer::Yes(View { pr, facts: self.facts, checks })
    }

    /// Changes whenever a thread is begun, resolved or gone on with, and with the words of a review.
    fn discussion(&self, briefs: &[(&str, &Brief)]) -> String {
        let threads = briefs.iter().map(|(id, brief)| format!("{id} {}", brief.stamp));
        let words = self.facts.remark_ids.iter().cloned();
        let mut all: Vec<String> = threads.chain(self.objections.clone()).chain(words).collect();
        all.sort();
        if all.is_empty() { String::new() } else { digest(all.join("\n"), 8) }
    }
}

impl Sight {
    /// Whether the checks need not be asked for: all have ended, and not long ago they were these.
    fn checks_hold(&self, now: Instant) -> bool {
        let over = !self.contexts.is_empty() && self.contexts.iter().all(Context::is_over);
        over && now - self.contexts_at < FRESH
    }
}

/// The roll-up of the checks: of those that the rules demand, of all where the rules demand none.
fn verdict(facts: &mut PrFacts, contexts: &[Context], demanded: &[String], begins: bool) {
    let is_demanded =
        |one: &&Context| one.is_required() || demanded.iter().any(|name| name == one.name());
    let any = !demanded.is_empty() || contexts.iter().any(|one| is_demanded(&one));
    let counts: Vec<&Context> = contexts.iter().filter(|one| !any || is_demanded(one)).collect();
    // One that nobody has begun yet is as good as begun.
    let missing = demanded.iter().any(|name| counts.iter().all(|one| one.name() != name));
    let failed = |one: &&&Context| one.state() == CheckState::Failed;
    let failing: BTreeSet<String> =
        counts.iter().filter(failed).map(|one| one_line(one.name())).collect();
    facts.checks = match () {
        () if !failing.is_empty() => Checks::Failing,
        () if missing || counts.iter().any(|one| !one.is_over()) => Checks::Pending,
        // What the rules name is there.
        () if begins && demanded.is_empty() => Checks::Pending,
        () if counts.is_empty() => Checks::None,
        () => Checks::Passing,
    };
    facts.failing = failing.into_iter().collect();
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let unborn = demanded.iter().filter(|name| counts.iter().all(|one| one.name() != *name));
    facts.pending = count(unborn.count() + counts.iter().filter(|one| !one.is_over()).count());
    let passed = contexts.iter().filter(|one| one.state() == CheckState::Passed).count();
    facts.details.passed = count(passed);
    facts.details.checks = count(contexts.len());
    facts.details.failure = counts.iter().find(failed).and_then(|one| one.summary());
}

fn closed(closing: Closing) -> Closed {
    let actor = closing.timeline_items.first().and_then(|event| event.actor);
    let by = actor.as_ref().map(|actor| login(Some(actor)));
    let word = closing.comments.first().filter(|word| {
        let together = closing
            .closed_at
            .is_some_and(|at| word.created_at.duration_since(at).as_secs().unsigned_abs() <= 60);
        together && word.author.as_ref().map(|author| login(Some(author))) == by
    });
    (by, word.map(|word| cut_counted(&one_line(&word.body), 300)))
}

impl Told {
    /// What does not read has not come.
    fn take(&mut self, said: Said) {
        match said {
            Said::PullRequest(reviewed) => {
                let Some(given) = reviewed.reviews.nodes() else { return };
                let made = reviewed.below.made();
                let Some(below) = reviewed.below.open(&given) else { return };
                self.reviews.insert(reviewed.id, Spoken { given, below, made });
            }
            Said::PullRequestReviewThread(begun) => self.threads.extend(brief(begun)),
        }
    }
}

/// A thread in short; none of one in which nothing is to be seen.
fn brief(said: Begun) -> Option<(String, Option<Brief>)> {
    let count = said.last.total_count?;
    let last = said.last.nodes()?;
    let pending = last.iter().filter(|one| one.is_pending()).count();
    let mut stamp = (count as usize).saturating_sub(pending).to_string();
    let first = said.first.first()?;
    // Of a long one the beginning is not among the last: it is not hidden, as far as is known.
    let mut begins = !last.iter().any(|one| one.id == first.id);
    let mut author = begins.then_some(&first.author);
    for one in last.iter().filter(|one| one.is_seen()) {
        // Writing to a string does not fail.
        let _ = write!(stamp, " {} {}", one.id, one.updated_at);
        begins |= one.id == first.id;
        author.get_or_insert(&one.author);
    }
    let Some(author) = author else { return Some((said.id, None)) };
    let line = said.line.or(said.original_line);
    let place = said.path.map(|path| match line {
        Some(line) => format!("{}:{line}", one_line(&path)),
        None => one_line(&path),
    });
    let comment =
        begins.then(|| PrComment { place, ..comment(first.author.as_ref(), &first.body) });
    let is_bot = author.as_ref().is_some_and(Actor::is_bot);
    Some((said.id, Some(Brief { is_bot, comment, stamp })))
}

fn comment(author: Option<&Actor>, body: &str) -> PrComment {
    PrComment { by: login(author), place: None, text: cut_counted(&one_line(body), 500) }
}

/// The open pull request of a branch. One from a fork counts where the token's own account opened it: anybody may name a
/// branch of a fork like ours.
fn branch_of(graph: &mut Graph, at: usize, branch: &BranchRef) -> Answer<PrRef> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Home {
        name_with_owner: String,
        pull_requests: Page<Open>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Open {
        id: String,
        number: u64,
        head_ref_name: String,
        is_cross_repository: bool,
        viewer_did_author: bool,
    }
    if let Err(error) = owner_and_name(&branch.repo) {
        return Answer::Unknown(error.to_string());
    }
    let alias = format!("b{at}");
    if let Some(error) = graph.error(&alias) {
        return Answer::Unknown(cut(&one_line(&error.message), 300));
    }
    let Ok(home) = serde_json::from_value::<Home>(graph.data[&alias].take()) else {
        return Answer::Unknown("the answer does not read".to_owned());
    };
    let more = home.pull_requests.next().is_some();
    let Some(open) = home.pull_requests.nodes() else {
        return Answer::Unknown("a part of the list did not come".to_owned());
    };
    let ours = open.into_iter().filter(|one| {
        one.head_ref_name == branch.branch && (!one.is_cross_repository || one.viewer_did_author)
    });
    match ours.min_by_key(|one| one.is_cross_repository) {
        Some(one) => Answer::Yes(PrRef {
            repo: home.name_with_owner,
            number: PrNumber(one.number),
            node: Some(one.id),
        }),
        None if more => Answer::Unknown("there are more than were read".to_owned()),
        None => Answer::No,
    }
}
