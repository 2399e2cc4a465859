//! GraphQL: each document is checked against the excerpt of the vendor's published schema, priced by its published
//! rules, and executed over the [`World`].

use std::{cell::RefCell, rc::Rc, sync::LazyLock};

use apollo_compiler::{
    ExecutableDocument, Schema,
    executable::{Operation, Selection, SelectionSet},
    request::coerce_variable_values,
    resolvers::{Execution, FieldError, ObjectValue, ResolveInfo, ResolvedValue},
    response::JsonMap,
    validation::Valid,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::world::{By, Check, Comment, Issue, Refused, Review, Suite, Thread, World, found};

/// The excerpt.
static SCHEMA: LazyLock<Valid<Schema>> = LazyLock::new(|| {
    let text = include_str!("../../vendor/github/schema.graphql");
    Schema::parse_and_validate(text, "schema.graphql")
        .unwrap_or_else(|error| panic!("the excerpt of the schema: {error}"))
});

/// The most nodes that a call may ask for.
const NODES: u64 = 500_000;

/// A request that may be executed.
pub(super) struct Query {
    document: Valid<ExecutableDocument>,
    variables: Valid<JsonMap>,
    operation: Option<String>,
    /// Its price in points.
    pub(super) cost: u64,
    /// How many nodes it asks for.
    pub(super) nodes: u64,
    /// The same, of each of a list of ids: what it takes the vendor, who does not price that.
    pub(super) weight: u64,
    /// It changes something.
    pub(super) mutation: bool,
}

/// What the answer says of the limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left {
    pub(super) limit: u64,
    pub(super) remaining: u64,
    pub(super) reset: u64,
}

impl Query {
    /// Reads and checks a request; what is wrong is an answer with `errors`.
    pub(super) fn read(body: &Value) -> Result<Self, Value> {
        let wrong = |kind: &str, message: String| errors(&[(kind, message)]);
        let Some(text) = body["query"].as_str() else {
            return Err(
                json!({"message": "A query attribute must be specified and must be a string."}),
            );
        };
        if let Some(name) = body
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name)
            .find(|name| !matches!(name.as_str(), "query" | "variables" | "operationName"))
        {
            return Err(wrong("FAKE", format!("a request has no {name}")));
        }
        let document = ExecutableDocument::parse_and_validate(&SCHEMA, text, "query")
            .map_err(|invalid| wrong("undefinedField", invalid.errors.to_string()))?;
        let operation = body["operationName"].as_str().map(str::to_owned);
        let chosen = document
            .operations
            .get(operation.as_deref())
            .map_err(|error| wrong("INVALID", error.message().to_string()))?;
        let given = match serde_json_map(&body["variables"]) {
            Some(given) => given,
            None => return Err(wrong("INVALID", "variables are no object".into())),
        };
        let variables = coerce_variable_values(&SCHEMA, chosen, &given)
            .map_err(|error| wrong("INVALID", error.message().to_string()))?;
        let mut price = Price { document: &document, variables: &variables, calls: 0, nodes: 0 };
        price.of(&chosen.selection_set, 1).map_err(|(kind, message)| wrong(kind, message))?;
        let (calls, nodes) = (price.calls, price.nodes);
        if nodes > NODES {
            let message = format!(
                "This query requests up to {nodes} possible nodes which exceeds the maximum limit of 500,000."
            );
            return Err(wrong("MAX_NODE_LIMIT_EXCEEDED", message));
        }
        let mutation = is_mutation(chosen);
        // «Divide the number by 100 and round the result to get the final aggregate cost»; the least is 1.
        let cost = ((calls + 50) / 100).max(1);
        let ids = body["variables"]["ids"].as_array().map_or(1, |ids| ids.len() as u64);
        let weight = nodes * ids;
        Ok(Self { variables, operation, cost, nodes, weight, mutation, document })
    }

    /// Executes it.
    pub(super) fn run(&self, world: &mut World, url: &str, left: Left) -> Value {
        let graph = Graph {
            world: RefCell::new(world),
            url,
            left,
            cost: self.cost,
            nodes: self.nodes,
            lost: RefCell::default(),
        };
        let root = Node::new(&graph, if self.mutation { At::Mutation } else { At::Query });
        let execution = Execution::new(&SCHEMA, &self.document)
            .coerced_variable_values(&self.variables)
            .operation_name(self.operation.as_deref());
        let done = execution.and_then(|execution| execution.execute_sync(&root));
        let done = done.map_err(|error| ("INVALID", error.message().to_string()));
        let answer = done.and_then(|answer| {
            serde_json::to_value(answer).map_err(|error| ("FAKE", error.to_string()))
        });
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(error) => return errors(&[error]),
        };
        let mut all = graph.lost.take();
        for mut error in answer["errors"].take().as_array().into_iter().flatten().cloned() {
            let message = error["message"].as_str().unwrap_or_default();
            let message = message.strip_prefix("resolver error: ").unwrap_or(message);
            let (kind, words) = message.split_once('\u{1}').unwrap_or(("FAKE", message));
            (error["type"], error["message"]) = (json!(kind), json!(words));
            all.push(error);
        }
        match answer.as_object_mut() {
            Some(answer) if all.is_empty() => answer.remove("errors"),
            Some(answer) => answer.insert("errors".to_owned(), Value::Array(all)),
            None => None,
        };
        answer
    }
}

fn is_mutation(operation: &Operation) -> bool {
    operation.operation_type == apollo_compiler::ast::OperationType::Mutation
}

fn serde_json_map(value: &Value) -> Option<JsonMap> {
    match value {
        Value::Null => Some(JsonMap::new()),
        Value::Object(_) => serde_json::from_value(value.clone()).ok(),
        _ => None,
    }
}

/// An answer without data.
pub(super) fn errors(of: &[(&str, String)]) -> Value {
    let list: Vec<Value> =
        of.iter().map(|(kind, message)| json!({"type": kind, "message": message})).collect();
    json!({ "errors": list })
}

/// Adds up what a call would need, by «Rate limits and query limits for the GraphQL API».
struct Price<'a> {
    document: &'a ExecutableDocument,
    variables: &'a JsonMap,
    calls: u64,
    nodes: u64,
}

impl Price<'_> {
    fn of(&mut self, set: &SelectionSet, times: u64) -> Result<(), (&'static str, String)> {
        for selection in &set.selections {
            match selection {
                Selection::FragmentSpread(spread) => {
                    let fragment = self.document.fragments.get(&spread.fragment_name);
                    if let Some(fragment) = fragment {
                        self.of(&fragment.selection_set, times)?;
                    }
                }
                Selection::InlineFragment(inline) => self.of(&inline.selection_set, times)?,
                Selection::Field(field) => {
                    let mut below = times;
                    if field.definition.ty.inner_named_type().ends_with("Connection") {
                        let name = &field.name;
                        let size = |argument: &str| {
                            let given = field.specified_argument_by_name(argument)?;
                            match given.as_variable() {
                                Some(variable) => self.variables.get(variable.as_str())?.as_i64(),
                                None => given.to_i32().map(i64::from),
                            }
                        };
                        let Some(size) = size("first").or_else(|| size("last")) else {
                            return Err((
                                "MISSING_PAGINATION_BOUNDARIES",
                                format!(
                                    "You must provide a `first` or `last` value to properly paginate the `{name}` connection."
                                ),
                            ));
                        };
                        let size = u64::try_from(size).ok().filter(|size| (1..=100).contains(size));
                        let Some(size) = size else {
                            return Err((
                                "EXCESSIVE_PAGINATION",
                                format!(
                                    "`first` on the `{name}` connection must be between 1 and 100 records."
                                ),
                            ));
                        };
                        self.calls += times;
                        below = times * size;
                        self.nodes += below;
                    }
                    self.of(&field.selection_set, below)?;
                }
            }
        }
        Ok(())
    }
}

struct Graph<'g> {
    world: RefCell<&'g mut World>,
    url: &'g str,
    left: Left,
    cost: u64,
    nodes: u64,
    /// Errors about items of a list of the root, which leave the others alone.
    lost: RefCell<Vec<Value>>,
}

/// Something that has fields.
#[derive(Debug, Clone)]
enum At {
    Query,
    Mutation,
    Repo(u64),
    Ref(u64, String),
    Commit(u64, String),
    Rollup(u64, String),
    Issue(u64, u64),
    Review(u64),
    Thread(u64),
    Comment(u64),
    Check(u64),
    Status(u64),
    Suite(u64),
    Page(Rc<Page>),
    /// A small thing with everything it has.
    Plain(&'static str, Rc<Vec<(&'static str, Out)>>),
}

/// What a field is.
#[derive(Debug, Clone)]
enum Out {
    Leaf(Value),
    Node(At),
    List(Vec<Out>),
    /// One of a list of the root that is not there.
    Lost(Fault),
    /// A connection before it is cut to a page, and what it has beside its nodes.
    All(Vec<At>, Vec<(&'static str, Out)>),
}

#[derive(Debug)]
struct Page {
    nodes: Vec<At>,
    /// Where the page begins in all, and how many there are in all.
    from: usize,
    total: usize,
    more: Vec<(&'static str, Out)>,
}

/// Why there is no value: the vendor's kind, its words.
type Fault = (&'static str, String);
type Answer = Result<Out, Fault>;

impl From<Option<At>> for Out {
    fn from(at: Option<At>) -> Self {
        at.map_or(Self::Leaf(Value::Null), Self::Node)
    }
}

fn leaf(value: impl Into<Value>) -> Out {
    Out::Leaf(value.into())
}

fn text(value: Option<impl ToString>) -> Out {
    Out::Leaf(value.map_or(Value::Null, |value| Value::String(value.to_string())))
}

fn plain(name: &'static str, fields: Vec<(&'static str, Out)>) -> At {
    At::Plain(name, Rc::new(fields))
}

fn connection(nodes: impl IntoIterator<Item = At>) -> Out {
    Out::All(nodes.into_iter().collect(), Vec::new())
}

struct Node<'g> {
    graph: &'g Graph<'g>,
    at: At,
    /// The name of its type.
    kind: String,
}

impl ObjectValue for Node<'_> {
    fn type_name(&self) -> &str {
        &self.kind
    }

    fn resolve_field<'a>(
        &'a self,
        info: &'a ResolveInfo<'a>,
    ) -> Result<ResolvedValue<'a>, FieldError> {
        let arguments = serde_json::to_value(info.arguments())
            .map_err(|error| FieldError { message: error.to_string() })?;
        let kind = info.field_definition().ty.inner_named_type().to_string();
        let key = info.field_selections()[0].response_key();
        match self.graph.field(&self.at, info.field_name(), &arguments) {
            Ok(out) => Ok(self.resolved(out, &kind, key, &arguments)),
            Err(fault) => Err(field_error(fault)),
        }
    }
}

/// The kind travels in front of the words.
fn field_error((kind, message): Fault) -> FieldError {
    FieldError { message: format!("{kind}\u{1}{message}") }
}

impl<'g> Node<'g> {
    fn new(graph: &'g Graph<'g>, at: At) -> Self {
        let kind = graph.kind(&at).to_owned();
        Self { graph, at, kind }
    }

    fn resolved<'a>(&self, out: Out, kind: &str, key: &str, arguments: &Value) -> ResolvedValue<'a>
    where
        'g: 'a,
    {
        match out {
            Out::Leaf(value) => ResolvedValue::leaf(value),
            Out::Node(at) => {
                let mut node = Node::new(self.graph, at);
                if node.kind.is_empty() {
                    node.kind = kind.to_owned();
                }
                ResolvedValue::object(node)
            }
            Out::List(list) => {
                let one = |(at, out)| match out {
                    Out::Lost((kind, message)) => {
                        let path = json!([key, at]);
                        let error = json!({"type": kind, "message": message, "path": path});
                        self.graph.lost.borrow_mut().push(error);
                        ResolvedValue::null()
                    }
                    out => self.resolved(out, kind, key, arguments),
                };
                ResolvedValue::list(list.into_iter().enumerate().map(one).collect::<Vec<_>>())
            }
            // Lists alone have them.
            Out::Lost(_) => ResolvedValue::null(),
            Out::All(nodes, more) => {
                let at = At::Page(Rc::new(Page::cut(nodes, more, arguments)));
                ResolvedValue::object(Node { graph: self.graph, at, kind: kind.to_owned() })
            }
        }
    }
}

impl Page {
    fn cut(all: Vec<At>, more: Vec<(&'static str, Out)>, arguments: &Value) -> Self {
        let place = |name: &str| -> Option<usize> {
            arguments[name].as_str()?.strip_prefix("at:")?.parse().ok()
        };
        let total = all.len();
        let (mut from, mut to) = (0, total);
        if let Some(after) = place("after") {
            from = (after + 1).min(total);
        }
        if let Some(before) = place("before") {
            to = before.clamp(from, total);
        }
        let size = |name: &str| arguments[name].as_u64().and_then(|n| usize::try_from(n).ok());
        if let Some(first) = size("first") {
            to = to.min(from + first);
        } else if let Some(last) = size("last") {
            from = from.max(to.saturating_sub(last));
        }
        let nodes = all.into_iter().skip(from).take(to - from).collect();
        Self { nodes, from, total, more }
    }

    fn field(self: &Rc<Self>, name: &str) -> Option<Out> {
        let cursor = |at: usize| format!("at:{at}");
        let end = self.from + self.nodes.len();
        Some(match name {
            "nodes" => Out::List(self.nodes.iter().cloned().map(Out::Node).collect()),
            "totalCount" => leaf(self.total as u64),
            "edges" => {
                let edge = |(at, node): (usize, &At)| {
                    let fields = vec![
                        ("node", Out::Node(node.clone())),
                        ("cursor", leaf(cursor(self.from + at))),
                    ];
                    // Its type is that of the field.
                    Out::Node(plain("", fields))
                };
                Out::List(self.nodes.iter().enumerate().map(edge).collect())
            }
            "pageInfo" => Out::Node(plain(
                "PageInfo",
                vec![
                    ("hasNextPage", leaf(end < self.total)),
                    ("hasPreviousPage", leaf(self.from > 0)),
                    ("startCursor", text((end > self.from).then(|| cursor(self.from)))),
                    ("endCursor", text((end > self.from).then(|| cursor(end - 1)))),
                ],
            )),
            _ => self.more.iter().find(|(known, _)| *known == name)?.1.clone(),
        })
    }
}

impl Graph<'_> {
    fn kind(&self, at: &At) -> &'static str {
        match at {
            At::Query => "Query",
            At::Mutation => "Mutation",
            At::Repo(_) => "Repository",
            At::Ref(..) => "Ref",
            At::Commit(..) => "Commit",
            At::Rollup(..) => "StatusCheckRollup",
            At::Issue(repo, number) => {
                let world = self.world.borrow();
                let is_pull = world.pull(*repo, *number).is_some();
                if is_pull { "PullRequest" } else { "Issue" }
            }
            At::Review(_) => "PullRequestReview",
            At::Thread(_) => "PullRequestReviewThread",
            At::Comment(id) => {
                let world = self.world.borrow();
                let in_thread = found(&world.comments, *id).is_some_and(|c| c.thread.is_some());
                if in_thread { "PullRequestReviewComment" } else { "IssueComment" }
            }
            At::Check(_) => "CheckRun",
            At::Status(_) => "StatusContext",
            At::Suite(_) => "CheckSuite",
            At::Page(_) => "",
            At::Plain(kind, _) => kind,
        }
    }

    fn field(&self, at: &At, name: &str, arguments: &Value) -> Answer {
        let found = match at {
            At::Query => return self.query(name, arguments),
            At::Mutation => return self.mutate(name, &arguments["input"]),
            At::Plain(_, fields) => {
                fields.iter().find(|(known, _)| *known == name).map(|(_, out)| out.clone())
            }
            At::Page(page) => page.field(name),
            At::Repo(id) => self.repo_field(*id, name, arguments)?,
            At::Ref(repo, branch) => self.ref_field(*repo, branch, name, arguments),
            At::Commit(repo, sha) => self.commit_field(*repo, sha, name, arguments),
            At::Rollup(repo, sha) => self.rollup_field(*repo, sha, name),
            At::Issue(repo, number) => self.issue_field(*repo, *number, name, arguments)?,
            At::Review(id) => self.review_field(*id, name),
            At::Thread(id) => self.thread_field(*id, name),
            At::Comment(id) => self.comment_field(*id, name),
            At::Check(id) => self.check_field(*id, name, arguments),
            At::Status(id) => self.status_field(*id, name, arguments),
            At::Suite(id) => self.suite_field(*id, name),
        };
        found.ok_or_else(|| ("FAKE", format!("the fake has no answer to {}.{name}", self.kind(at))))
    }

    fn query(&self, name: &str, arguments: &Value) -> Answer {
        Ok(match name {
            "viewer" => Out::Node(self.actor(&self.world.borrow().viewer.clone())),
            "rateLimit" => Out::Node(self.rate_limit()),
            "repository" => {
                let (owner, name) = (&arguments["owner"], &arguments["name"]);
                let full =
                    format!("{}/{}", owner.as_str().unwrap_or(""), name.as_str().unwrap_or(""));
                let world = self.world.borrow();
                let renamed = |repo: &&super::world::Repo| {
                    arguments["followRenames"] != false || repo.full_name() == full
                };
                match world.repo(&full).filter(renamed) {
                    Some(repo) => Out::Node(At::Repo(repo.id)),
                    None => {
                        let words =
                            format!("Could not resolve to a Repository with the name '{full}'.");
                        return Err(("NOT_FOUND", words));
                    }
                }
            }
            "node" => Out::Node(self.node(arguments["id"].as_str().unwrap_or_default())?),
            "nodes" => {
                let ids = arguments["ids"].as_array().cloned().unwrap_or_default();
                if ids.len() > 100 {
                    let words =
                        "You may not provide more than 100 node ids; you provided too many.";
                    return Err(("ARGUMENT_LIMIT", words.into()));
                }
                let one = |id: &Value| {
                    self.node(id.as_str().unwrap_or_default()).map_or_else(Out::Lost, Out::Node)
                };
                Out::List(ids.iter().map(one).collect())
            }
            _ => return Err(("FAKE", format!("the fake has no answer to Query.{name}"))),
        })
    }

    fn rate_limit(&self) -> At {
        let Left { limit, remaining, reset } = self.left;
        let reset =
            Timestamp::from_second(i64::try_from(reset).unwrap_or_default()).unwrap_or_default();
        let fields = vec![
            ("cost", leaf(self.cost)),
            ("limit", leaf(limit)),
            ("nodeCount", leaf(self.nodes)),
            ("remaining", leaf(remaining)),
            ("resetAt", leaf(reset.to_string())),
            ("used", leaf(limit - remaining)),
        ];
        plain("RateLimit", fields)
    }

    /// What a node id stands for.
    fn node(&self, id: &str) -> Result<At, Fault> {
        let world = self.world.borrow();
        let found = id.rsplit_once('_').and_then(|(kind, rest)| {
            let number = rest.parse::<u64>().unwrap_or_default();
            match kind {
                "R" => {
                    world.repos.iter().find(|repo| repo.id == number).map(|repo| At::Repo(repo.id))
                }
                "PR" | "I" => world
                    .issues
                    .values()
                    .find(|issue| issue.id == number && issue.pull.is_some() == (kind == "PR"))
                    .map(|issue| At::Issue(issue.repo, issue.number)),
                "PRR" => found(&world.reviews, number).map(|r| At::Review(r.id)),
                "PRRT" => found(&world.threads, number).map(|t| At::Thread(t.id)),
                "PRRC" | "IC" => found(&world.comments, number).map(|c| At::Comment(c.id)),
                "CR" => found(&world.checks, number).map(|c| At::Check(c.id)),
                "SC" => found(&world.statuses, number).map(|s| At::Status(s.id)),
                _ => {
                    let repo = kind.strip_prefix("C_")?.parse().ok()?;
                    world.commits.contains_key(rest).then(|| At::Commit(repo, rest.to_owned()))
                }
            }
        });
        found.ok_or_else(|| {
            ("NOT_FOUND", format!("Could not resolve to a node with the global id of '{id}'"))
        })
    }

    fn actor(&self, by: &By) -> At {
        let path = match by {
            By::Person(login) => login.clone(),
            By::Bot(slug) => format!("apps/{slug}"),
        };
        let kind = match by {
            By::Person(_) => "User",
            By::Bot(_) => "Bot",
        };
        let fields = vec![
            ("id", leaf(actor_id(by))),
            ("login", leaf(by.login())),
            ("name", text(None::<String>)),
            ("databaseId", leaf(by.id())),
            ("url", leaf(format!("{}/{path}", self.url))),
        ];
        plain(kind, fields)
    }

    fn repo_field(&self, id: u64, name: &str, arguments: &Value) -> Result<Option<Out>, Fault> {
        let world = self.world.borrow();
        let repo = world.repo_at(id);
        let number = || arguments["number"].as_u64().unwrap_or_default();
        Ok(Some(match name {
            "id" => leaf(format!("R_{id}")),
            "databaseId" => leaf(id),
            "name" => leaf(repo.name.as_str()),
            "nameWithOwner" => leaf(repo.full_name()),
            "url" => leaf(format!("{}/{}", self.url, repo.full_name())),
            "owner" => Out::Node(self.actor(&By::person(&repo.owner))),
            "isArchived" | "isPrivate" | "deleteBranchOnMerge" => leaf(false),
            "isFork" => leaf(repo.parent.is_some()),
            "parent" => repo.parent.map(At::Repo).into(),
            "autoMergeAllowed" => leaf(repo.auto_merge),
            "mergeCommitAllowed" => leaf(repo.methods.contains(&"MERGE")),
            "squashMergeAllowed" => leaf(repo.methods.contains(&"SQUASH")),
            "rebaseMergeAllowed" => leaf(repo.methods.contains(&"REBASE")),
            "viewerPermission" => leaf(repo.permission),
            "defaultBranchRef" => Out::Node(At::Ref(id, "main".to_owned())),
            "ref" => {
                let name = arguments["qualifiedName"].as_str().unwrap_or_default();
                let name = name.strip_prefix("refs/heads/").unwrap_or(name);
                repo.branches.contains_key(name).then(|| At::Ref(id, name.to_owned())).into()
            }
            "refs" => connection(repo.branches.keys().map(|name| At::Ref(id, name.clone()))),
            "object" => {
                let given = arguments["oid"]
                    .as_str()
                    .or(arguments["expression"].as_str())
                    .unwrap_or_default();
                let given = given.strip_prefix("refs/heads/").unwrap_or(given);
                let sha = repo.branches.get(given).cloned().unwrap_or_else(|| given.to_owned());
                world.commits.contains_key(&sha).then_some(At::Commit(id, sha)).into()
            }
            "pullRequest" => match world.pull(id, number()) {
                Some(_) => Out::Node(At::Issue(id, number())),
                None => return Err(unresolved("PullRequest", number())),
            },
            "issue" => match world.issue(id, number()).filter(|issue| issue.pull.is_none()) {
                Some(_) => Out::Node(At::Issue(id, number())),
                None => return Err(unresolved("Issue", number())),
            },
            "issueOrPullRequest" => match world.issue(id, number()) {
                Some(_) => Out::Node(At::Issue(id, number())),
                None => return Err(unresolved("issue or pull request", number())),
            },
            "pullRequests" => pulls(&world, Some(id), None, arguments)?,
            "issues" => {
                let states = &arguments["states"];
                let labels = names(&arguments["labels"]);
                let wanted = |issue: &&Issue| {
                    issue.repo == id
                        && issue.pull.is_none()
                        && listed(states, if issue.open { "OPEN" } else { "CLOSED" })
                        && (labels.is_empty() || labels.iter().any(|l| issue.labels.contains(l)))
                };
                let found: Vec<&Issue> = world.issues.values().filter(wanted).collect();
                ordered(found, &arguments["orderBy"])?
            }
            _ => return Ok(None),
        }))
    }

    fn ref_field(&self, repo: u64, branch: &str, name: &str, arguments: &Value) -> Option<Out> {
        let world = self.world.borrow();
        let rule = world.repo_at(repo).rules.get(branch).filter(|rule| !rule.ruleset);
        Some(match name {
            "id" => leaf(format!("REF_{repo}_{branch}")),
            "name" => leaf(branch),
            "prefix" => leaf("refs/heads/"),
            "repository" => Out::Node(At::Repo(repo)),
            "target" => {
                let sha = world.repo_at(repo).branches.get(branch);
                sha.map(|sha| At::Commit(repo, sha.clone())).into()
            }
            "associatedPullRequests" => {
                pulls(&world, None, Some((repo, branch)), arguments).ok()?
            }
            "branchProtectionRule" | "refUpdateRule" => rule
                .map(|rule| {
                    let checks = rule.checks.iter().map(|name| leaf(name.as_str())).collect();
                    let kind = if name == "refUpdateRule" {
                        "RefUpdateRule"
                    } else {
                        "BranchProtectionRule"
                    };
                    plain(
                        kind,
                        vec![
                            ("id", leaf(format!("BPR_{repo}_{branch}"))),
                            ("pattern", leaf(branch)),
                            ("requiredApprovingReviewCount", leaf(rule.approvals)),
                            ("requiresApprovingReviews", leaf(rule.approvals > 0)),
                            ("requiredStatusCheckContexts", Out::List(checks)),
                            ("requiresStatusChecks", leaf(!rule.checks.is_empty())),
                            ("requiresStrictStatusChecks", leaf(rule.strict)),
                            ("requiresConversationResolution", leaf(rule.conversations)),
                        ],
                    )
                })
                .into(),
            _ => return None,
        })
    }

    fn commit_field(&self, repo: u64, sha: &str, name: &str, arguments: &Value) -> Option<Out> {
        let world = self.world.borrow();
        let commit = world.commits.get(sha)?;
        Some(match name {
            "id" => leaf(format!("C_{repo}_{sha}")),
            "oid" => leaf(sha),
            "abbreviatedOid" => leaf(&sha[..7]),
            "message" => leaf(commit.message.as_str()),
            "messageHeadline" => leaf(commit.message.lines().next().unwrap_or_default()),
            "committedDate" => leaf(commit.at.to_string()),
            "repository" => Out::Node(At::Repo(repo)),
            "url" => leaf(format!("{}/{}/commit/{sha}", self.url, world.repo_at(repo).full_name())),
            "statusCheckRollup" => {
                world.rollup(repo, sha).map(|_| At::Rollup(repo, sha.to_owned())).into()
            }
            "status" => {
                let all = world.statuses_of(repo, sha);
                let state = ["ERROR", "FAILURE", "PENDING"]
                    .into_iter()
                    .find(|state| all.iter().any(|status| status.state == *state))
                    .unwrap_or("SUCCESS");
                let contexts = all.iter().map(|status| Out::Node(At::Status(status.id))).collect();
                let fields = vec![
                    ("id", leaf(format!("S_{repo}_{sha}"))),
                    ("state", leaf(state)),
                    ("contexts", Out::List(contexts)),
                ];
                (!all.is_empty()).then(|| plain("Status", fields)).into()
            }
            "checkSuites" => {
                let of = |suite: &&Suite| suite.repo == repo && suite.sha == sha;
                connection(world.suites.iter().filter(of).map(|suite| At::Suite(suite.id)))
            }
            "associatedPullRequests" => {
                let of = |issue: &&Issue| issue.pull.as_ref().is_some_and(|pull| pull.sha == sha);
                let found: Vec<&Issue> = world.issues.values().filter(of).collect();
                ordered(found, &arguments["orderBy"]).ok()?
            }
            _ => return None,
        })
    }

    fn rollup_field(&self, repo: u64, sha: &str, name: &str) -> Option<Out> {
        let world = self.world.borrow();
        let (checks, statuses) = (world.checks_of(repo, sha), world.statuses_of(repo, sha));
        Some(match name {
            "id" => leaf(format!("SCR_{repo}_{sha}")),
            "state" => text(world.rollup(repo, sha)),
            "commit" => Out::Node(At::Commit(repo, sha.to_owned())),
            "contexts" => {
                let of_checks =
                    checks.iter().map(|check| check.conclusion.unwrap_or(check.status).to_owned());
                let of_statuses = statuses.iter().map(|status| status.state.to_owned());
                let more = vec![
                    ("checkRunCount", leaf(checks.len() as u64)),
                    ("statusContextCount", leaf(statuses.len() as u64)),
                    ("checkRunCountsByState", counts("CheckRunStateCount", of_checks.collect())),
                    (
                        "statusContextCountsByState",
                        counts("StatusContextStateCount", of_statuses.collect()),
                    ),
                ];
                let nodes = checks.iter().map(|check| At::Check(check.id));
                let nodes = nodes.chain(statuses.iter().map(|status| At::Status(status.id)));
                Out::All(nodes.collect(), more)
            }
            _ => return None,
        })
    }

    fn issue_field(
        &self,
        repo: u64,
        number: u64,
        name: &str,
        arguments: &Value,
    ) -> Result<Option<Out>, Fault> {
        if matches!(name, "mergeable" | "mergeStateStatus") {
            return Ok(self.mergeability(repo, number, name));
        }
        let world = self.world.borrow();
        let Some(issue) = world.issue(repo, number) else { return Ok(None) };
        let home = world.repo_at(repo);
        let word = if issue.pull.is_some() { "pull" } else { "issues" };
        let url = || format!("{}/{}/{word}/{number}", self.url, home.full_name());
        let at = (repo, number);
        Ok(Some(match name {
            "id" => leaf(issue_id(issue)),
            "databaseId" => leaf(issue.id),
            "fullDatabaseId" => leaf(issue.id.to_string()),
            "number" => leaf(number),
            "title" => leaf(issue.title.as_str()),
            "body" => leaf(issue.body.as_str()),
            "url" | "permalink" => leaf(url()),
            "author" => Out::Node(self.actor(&issue.by)),
            "authorAssociation" => leaf(world.association(&issue.by)),
            "viewerDidAuthor" => leaf(issue.by == world.viewer),
            "createdAt" => leaf(issue.created.to_string()),
            "publishedAt" => leaf(issue.created.to_string()),
            "updatedAt" => leaf(issue.updated.to_string()),
            "lastEditedAt" => leaf(Value::Null),
            "closed" => leaf(!issue.open),
            "closedAt" => text(issue.closed),
            "locked" => leaf(false),
            "repository" => Out::Node(At::Repo(repo)),
            "labels" => connection(issue.labels.iter().map(|label| self.label(label, &url()))),
            "assignees" => {
                connection(issue.assignees.iter().map(|login| self.actor(&By::person(login))))
            }
            "comments" => {
                let on = |c: &&Comment| c.on == at && c.thread.is_none();
                connection(world.comments.iter().filter(on).map(|c| At::Comment(c.id)))
            }
            "state" => leaf(match &issue.pull {
                Some(pull) if pull.merged.is_some() => "MERGED",
                _ if issue.open => "OPEN",
                _ => "CLOSED",
            }),
            "stateReason" => text(issue.reason),
            _ => return self.pull_field(&world, issue, name, arguments),
        }))
    }

    fn pull_field(
        &self,
        world: &World,
        issue: &Issue,
        name: &str,
        arguments: &Value,
    ) -> Result<Option<Out>, Fault> {
        let Some(pull) = &issue.pull else { return Ok(None) };
        let (repo, at) = (issue.repo, (issue.repo, issue.number));
        let base = world.repo_at(repo).branches.get(&pull.base);
        let reviews = |reviews: Vec<&Review>| connection(reviews.iter().map(|r| At::Review(r.id)));
        let has_branch = |repo: &u64| world.repo_at(*repo).branches.contains_key(&pull.head);
        Ok(Some(match name {
            "additions" => leaf(pull.lines.0),
            "deletions" => leaf(pull.lines.1),
            "changedFiles" => leaf(pull.files.len() as u64),
            "files" => connection(pull.files.iter().map(|path| {
                plain(
                    "PullRequestChangedFile",
                    vec![
                        ("path", leaf(path.as_str())),
                        ("additions", leaf(1)),
                        ("deletions", leaf(1)),
                        ("changeType", leaf("MODIFIED")),
                    ],
                )
            })),
            "isDraft" => leaf(pull.draft),
            "isCrossRepository" => leaf(pull.head_repo != Some(repo)),
            "isInMergeQueue" => leaf(false),
            "baseRefName" => leaf(pull.base.as_str()),
            "baseRefOid" => text(base),
            "baseRef" => base.map(|_| At::Ref(repo, pull.base.clone())).into(),
            "baseRepository" => Out::Node(At::Repo(repo)),
            "headRefName" => leaf(pull.head.as_str()),
            "headRefOid" => leaf(pull.sha.as_str()),
            "headRef" => {
                pull.head_repo.filter(has_branch).map(|r| At::Ref(r, pull.head.clone())).into()
            }
            "headRepository" => pull.head_repo.map(At::Repo).into(),
            "headRepositoryOwner" => {
                let owner = |repo| self.actor(&By::person(&world.repo_at(repo).owner));
                pull.head_repo.map(owner).into()
            }
            "merged" => leaf(pull.merged.is_some()),
            "mergedAt" => text(pull.merged.as_ref().and(issue.closed)),
            "mergedBy" => pull.merged.as_ref().map(|(_, by)| self.actor(by)).into(),
            "mergeCommit" => {
                pull.merged.as_ref().map(|(sha, _)| At::Commit(repo, sha.clone())).into()
            }
            "autoMergeRequest" => pull
                .auto_merge
                .map(|method| {
                    let fields = vec![
                        ("enabledAt", leaf(issue.updated.to_string())),
                        ("enabledBy", Out::Node(self.actor(&world.viewer))),
                        ("mergeMethod", leaf(method)),
                    ];
                    plain("AutoMergeRequest", fields)
                })
                .into(),
            "reviewDecision" => text(world.decision(issue, pull)),
            "reviewRequests" => connection(pull.requested.iter().map(|login| {
                let fields = vec![
                    ("id", leaf(format!("RR_{}_{login}", issue.id))),
                    ("databaseId", leaf(issue.id)),
                    ("asCodeOwner", leaf(false)),
                    ("requestedReviewer", Out::Node(self.actor(&By::person(login)))),
                ];
                plain("ReviewRequest", fields)
            })),
            "reviews" => {
                let (states, author) = (&arguments["states"], arguments["author"].as_str());
                let wanted = |review: &&Review| {
                    review.pr == at
                        && world.sees_review(review)
                        && listed(states, review.state)
                        && author.is_none_or(|author| author == review.by.login())
                };
                reviews(world.reviews.iter().filter(wanted).collect())
            }
            "latestOpinionatedReviews" => {
                reviews(world.opinions(at, arguments["writersOnly"] == true))
            }
            "latestReviews" => {
                let mut last: Vec<&Review> = Vec::new();
                let seen = |review: &&Review| review.pr == at && world.sees_review(review);
                for review in world.reviews.iter().filter(seen) {
                    last.retain(|known| known.by != review.by);
                    last.push(review);
                }
                reviews(last)
            }
            "reviewThreads" => {
                let of = |thread: &&Thread| thread.pr == at && world.sees_thread(thread);
                connection(world.threads.iter().filter(of).map(|t| At::Thread(t.id)))
            }
            "totalCommentsCount" => {
                let of = |c: &&Comment| c.on == at && !world.is_pending(c.review);
                leaf(world.comments.iter().filter(of).count() as u64)
            }
            "statusCheckRollup" => {
                let sha = &pull.sha;
                world.rollup(repo, sha).map(|_| At::Rollup(repo, sha.clone())).into()
            }
            "commits" => {
                let mut shas = Vec::new();
                let mut next = Some(&pull.sha);
                while let Some(commit) = next.and_then(|sha| world.commits.get(sha)) {
                    if world
                        .repo_at(repo)
                        .branches
                        .values()
                        .any(|head| *head == commit.sha && commit.sha != pull.sha)
                        || (commit.parent.is_none() && commit.sha != pull.sha)
                    {
                        break;
                    }
                    shas.push(commit.sha.clone());
                    next = commit.parent.as_ref();
                }
                let commit = |sha: String| {
                    let fields = vec![
                        ("id", leaf(format!("PRC_{}_{sha}", issue.id))),
                        ("url", leaf(format!("{}/commit/{sha}", self.url))),
                        ("commit", Out::Node(At::Commit(repo, sha))),
                    ];
                    plain("PullRequestCommit", fields)
                };
                connection(shas.into_iter().rev().map(commit))
            }
            "closingIssuesReferences" => {
                let issues = world.issues.values().filter(|other| {
                    other.repo == repo && other.pull.is_none() && closes(&issue.body, other.number)
                });
                connection(issues.map(|other| At::Issue(repo, other.number)))
            }
            "timelineItems" => {
                if names(&arguments["itemTypes"]) != ["CLOSED_EVENT"] {
                    return Err((
                        "FAKE",
                        "the fake knows the timeline's CLOSED_EVENT alone".into(),
                    ));
                }
                connection(issue.closed_by.as_ref().map(|by| {
                    let fields = vec![
                        ("id", leaf(format!("CE_{}", issue.id))),
                        ("actor", Out::Node(self.actor(by))),
                        ("createdAt", text(issue.closed)),
                    ];
                    plain("ClosedEvent", fields)
                }))
            }
            _ => return Ok(None),
        }))
    }

    /// Looking at it is what makes the vendor compute it.
    fn mergeability(&self, repo: u64, number: u64, name: &str) -> Option<Out> {
        let mut world = self.world.borrow_mut();
        let (issue, pull) = world.pull(repo, number)?;
        if name == "mergeStateStatus" {
            return Some(leaf(world.merge_state(issue, pull)));
        }
        let answer = match () {
            () if pull.unknown > 0 => "UNKNOWN",
            () if pull.conflicting => "CONFLICTING",
            () => "MERGEABLE",
        };
        let pull = world.pull_mut(repo, number);
        pull.unknown = pull.unknown.saturating_sub(1);
        Some(leaf(answer))
    }

    fn label(&self, name: &str, url: &str) -> At {
        let fields = vec![
            ("id", leaf(format!("LA_{name}"))),
            ("name", leaf(name)),
            ("color", leaf("ededed")),
            ("description", leaf(Value::Null)),
            ("url", leaf(url)),
        ];
        plain("Label", fields)
    }

    fn review_field(&self, id: u64, name: &str) -> Option<Out> {
        let world = self.world.borrow();
        let review = found(&world.reviews, id)?;
        Some(match name {
            "id" => leaf(format!("PRR_{id}")),
            "fullDatabaseId" => leaf(id.to_string()),
            "author" => Out::Node(self.actor(&review.by)),
            "authorAssociation" => leaf(world.association(&review.by)),
            "authorCanPushToRepository" => leaf(world.may_push(&review.by)),
            "state" => leaf(review.state),
            "body" => leaf(review.body.as_str()),
            "commit" => Out::Node(At::Commit(review.pr.0, review.sha.clone())),
            "pullRequest" => Out::Node(At::Issue(review.pr.0, review.pr.1)),
            "createdAt" | "submittedAt" | "updatedAt" => leaf(review.at.to_string()),
            "url" => leaf(format!("{}/review/{id}", self.url)),
            "comments" => {
                let of = |comment: &&Comment| comment.review == Some(id);
                connection(world.comments.iter().filter(of).map(|comment| At::Comment(comment.id)))
            }
            _ => return None,
        })
    }

    fn thread_field(&self, id: u64, name: &str) -> Option<Out> {
        let world = self.world.borrow();
        let thread = found(&world.threads, id)?;
        Some(match name {
            "id" => leaf(format!("PRRT_{id}")),
            "isResolved" => leaf(thread.resolved.is_some()),
            "isOutdated" => leaf(thread.outdated),
            "isCollapsed" => leaf(thread.resolved.is_some()),
            "path" => leaf(thread.path.as_str()),
            "line" => leaf(thread.line),
            "originalLine" => leaf(thread.original),
            "startLine" => leaf(Value::Null),
            "subjectType" => leaf("LINE"),
            "resolvedBy" => thread.resolved.as_ref().map(|by| self.actor(by)).into(),
            "pullRequest" => Out::Node(At::Issue(thread.pr.0, thread.pr.1)),
            "comments" => {
                let of =
                    |comment: &&Comment| comment.thread == Some(id) && world.sees_comment(comment);
                connection(world.comments.iter().filter(of).map(|comment| At::Comment(comment.id)))
            }
            _ => return None,
        })
    }

    fn comment_field(&self, id: u64, name: &str) -> Option<Out> {
        let world = self.world.borrow();
        let comment = found(&world.comments, id)?;
        let thread = comment.thread.and_then(|id| found(&world.threads, id));
        let prefix = if thread.is_some() { "PRRC" } else { "IC" };
        let (repo, number) = comment.on;
        Some(match name {
            "id" => leaf(format!("{prefix}_{id}")),
            "fullDatabaseId" => leaf(id.to_string()),
            "author" => Out::Node(self.actor(&comment.by)),
            "authorAssociation" => leaf(world.association(&comment.by)),
            "body" => leaf(comment.body.as_str()),
            "createdAt" | "updatedAt" => leaf(comment.at.to_string()),
            "isMinimized" => leaf(comment.minimized),
            "viewerDidAuthor" => leaf(comment.by == world.viewer),
            "minimizedReason" => text(comment.minimized.then_some("off-topic")),
            "url" => {
                let home = world.repo_at(repo).full_name();
                let mark = if thread.is_some() { "discussion_r" } else { "issuecomment-" };
                leaf(format!("{}/{home}/pull/{number}#{mark}{id}", self.url))
            }
            "issue" => Out::Node(At::Issue(repo, number)),
            "pullRequest" => world.pull(repo, number).map(|_| At::Issue(repo, number)).into(),
            "path" => leaf(thread?.path.as_str()),
            "line" => leaf(thread?.line),
            "originalLine" => leaf(thread?.original),
            "outdated" => leaf(thread?.outdated),
            "state" => leaf(if world.is_pending(comment.review) { "PENDING" } else { "SUBMITTED" }),
            "pullRequestReview" => comment.review.map(At::Review).into(),
            "replyTo" => {
                let first = world.comments.iter().find(|c| c.thread == comment.thread)?;
                (first.id != id).then_some(At::Comment(first.id)).into()
            }
            _ => return None,
        })
    }

    /// Whether a rule of a pull request's base demands the check.
    fn is_required(&self, world: &World, repo: u64, name: &str, arguments: &Value) -> bool {
        let by_number = arguments["pullRequestNumber"].as_u64();
        let by_id = arguments["pullRequestId"].as_str();
        let of = |issue: &&Issue| issue.repo == repo && by_id == Some(issue_id(issue).as_str());
        let issue = match by_number {
            Some(number) => world.issue(repo, number),
            None => world.issues.values().find(of),
        };
        let pull = issue.and_then(|issue| issue.pull.as_ref());
        pull.is_some_and(|pull| world.rule(repo, &pull.base).checks.iter().any(|c| c == name))
    }

    fn check_field(&self, id: u64, name: &str, arguments: &Value) -> Option<Out> {
        let world = self.world.borrow();
        let check = found(&world.checks, id)?;
        Some(match name {
            "id" => leaf(format!("CR_{id}")),
            "databaseId" => leaf(id),
            "name" => leaf(check.name.as_str()),
            "status" => leaf(check.status),
            "conclusion" => text(check.conclusion),
            "title" => text(check.title.as_ref()),
            "summary" => text(check.summary.as_ref()),
            "text" | "externalId" => leaf(Value::Null),
            "startedAt" => leaf(check.started.to_string()),
            "completedAt" => text(check.completed),
            "detailsUrl" | "url" | "permalink" => leaf(check_url(&world, check, self.url)),
            "isRequired" => leaf(self.is_required(&world, check.repo, &check.name, arguments)),
            "repository" => Out::Node(At::Repo(check.repo)),
            "checkSuite" => Out::Node(At::Suite(check.suite)),
            "annotations" => {
                connection(check.annotations.iter().map(|(path, line, level, words)| {
                    let place = || {
                        let fields = vec![("line", leaf(*line)), ("column", leaf(Value::Null))];
                        Out::Node(plain("CheckAnnotationPosition", fields))
                    };
                    let span =
                        plain("CheckAnnotationSpan", vec![("start", place()), ("end", place())]);
                    plain(
                        "CheckAnnotation",
                        vec![
                            ("path", leaf(path.as_str())),
                            ("message", leaf(words.as_str())),
                            ("annotationLevel", leaf(*level)),
                            ("title", leaf(Value::Null)),
                            ("rawDetails", leaf(Value::Null)),
                            ("databaseId", leaf(Value::Null)),
                            ("location", Out::Node(span)),
                        ],
                    )
                }))
            }
            "steps" => connection(check.steps.iter().zip(1_u64..).map(|((name, end), number)| {
                plain(
                    "CheckStep",
                    vec![
                        ("name", leaf(name.as_str())),
                        ("number", leaf(number)),
                        ("status", leaf("COMPLETED")),
                        ("conclusion", leaf(*end)),
                        ("startedAt", leaf(check.started.to_string())),
                        ("completedAt", text(check.completed)),
                        ("secondsToCompletion", leaf(Value::Null)),
                        ("externalId", leaf(Value::Null)),
                    ],
                )
            })),
            _ => return None,
        })
    }

    fn status_field(&self, id: u64, name: &str, arguments: &Value) -> Option<Out> {
        let world = self.world.borrow();
        let status = found(&world.statuses, id)?;
        Some(match name {
            "id" => leaf(format!("SC_{id}")),
            "context" => leaf(status.context.as_str()),
            "state" => leaf(status.state),
            "description" => leaf(status.description.as_str()),
            "targetUrl" => leaf(format!("https://ci.example/{id}")),
            "createdAt" => leaf(status.at.to_string()),
            "creator" => Out::Node(self.actor(&By::bot("legacy-ci"))),
            "isRequired" => leaf(self.is_required(&world, status.repo, &status.context, arguments)),
            _ => return None,
        })
    }

    fn suite_field(&self, id: u64, name: &str) -> Option<Out> {
        let world = self.world.borrow();
        let suite = found(&world.suites, id)?;
        let (repo, sha, app) = (suite.repo, &suite.sha, suite.app.as_str());
        let checks = world.checks_of(repo, sha);
        let of: Vec<&&Check> = checks.iter().filter(|check| check.suite == id).collect();
        let running = of.iter().any(|check| check.conclusion.is_none());
        let failed = of.iter().any(|check| super::world::verdict(check) == "FAILURE");
        let begun = of.first().map(|check| check.started.to_string());
        let home = world.repo_at(repo).full_name();
        Some(match name {
            "id" => leaf(format!("CS_{id}")),
            "databaseId" => leaf(id),
            "status" => leaf(if running { "IN_PROGRESS" } else { "COMPLETED" }),
            "conclusion" if running => leaf(Value::Null),
            "conclusion" => leaf(if failed { "FAILURE" } else { "SUCCESS" }),
            "commit" => Out::Node(At::Commit(repo, sha.clone())),
            "createdAt" | "updatedAt" => text(begun),
            "url" => leaf(format!("{}/{home}/commit/{sha}/checks", self.url)),
            "checkRuns" => connection(of.iter().map(|check| At::Check(check.id))),
            "app" => Out::Node(plain(
                "App",
                vec![
                    ("id", leaf(format!("A_{app}"))),
                    ("databaseId", leaf(By::bot(app).id())),
                    ("slug", leaf(app)),
                    ("name", leaf(app)),
                    ("url", leaf(format!("{}/apps/{app}", self.url))),
                ],
            )),
            "workflowRun" => (app == "github-actions")
                .then(|| {
                    let workflow = plain(
                        "Workflow",
                        vec![
                            ("id", leaf(format!("W_{repo}_{}", suite.workflow))),
                            ("databaseId", leaf(repo)),
                            ("name", leaf(suite.workflow.as_str())),
                            ("state", leaf("ACTIVE")),
                        ],
                    );
                    let fields = vec![
                        ("id", leaf(format!("WFR_{id}"))),
                        ("databaseId", leaf(id)),
                        ("event", leaf(suite.event.as_str())),
                        ("runNumber", leaf(1)),
                        ("createdAt", text(begun.clone())),
                        ("updatedAt", text(begun)),
                        ("url", leaf(format!("{}/{home}/actions/runs/{id}", self.url))),
                        ("workflow", Out::Node(workflow)),
                        ("checkSuite", Out::Node(At::Suite(id))),
                    ];
                    plain("WorkflowRun", fields)
                })
                .into(),
            _ => return None,
        })
    }

    fn mutate(&self, name: &str, input: &Value) -> Answer {
        let id = |key: &str| self.node(input[key].as_str().unwrap_or_default());
        let (kind, key, at) = match name {
            "addComment" => ("AddCommentPayload", "subject", id("subjectId")?),
            "closePullRequest" => ("ClosePullRequestPayload", "pullRequest", id("pullRequestId")?),
            "convertPullRequestToDraft" => {
                ("ConvertPullRequestToDraftPayload", "pullRequest", id("pullRequestId")?)
            }
            "markPullRequestReadyForReview" => {
                ("MarkPullRequestReadyForReviewPayload", "pullRequest", id("pullRequestId")?)
            }
            "reopenPullRequest" => {
                ("ReopenPullRequestPayload", "pullRequest", id("pullRequestId")?)
            }
            "resolveReviewThread" => ("ResolveReviewThreadPayload", "thread", id("threadId")?),
            "unresolveReviewThread" => ("UnresolveReviewThreadPayload", "thread", id("threadId")?),
            _ => return Err(("FAKE", format!("the fake does not {name}"))),
        };
        let mut world = self.world.borrow_mut();
        let viewer = world.viewer.clone();
        match (&at, name) {
            (At::Thread(thread), _) => {
                let resolved = (name == "resolveReviewThread").then_some(viewer);
                let found = world.threads.iter_mut().find(|known| known.id == *thread);
                if let Some(found) = found {
                    found.resolved = resolved;
                    let (repo, number) = found.pr;
                    world.touch(repo, number);
                }
            }
            (At::Issue(repo, number), "addComment") => {
                let body = input["body"].as_str().unwrap_or_default();
                world.add_comment((*repo, *number), viewer, body);
            }
            (At::Issue(repo, number), _) => {
                let wrong = |Refused(_, words): Refused| ("UNPROCESSABLE", words);
                self.pull_mutation(&mut world, (*repo, *number), name).map_err(wrong)?;
            }
            _ => return Err(("NOT_FOUND", "Could not resolve to a node of that type".into())),
        }
        world.settle();
        let fields = vec![
            (key, Out::Node(at)),
            ("clientMutationId", leaf(input["clientMutationId"].clone())),
        ];
        Ok(Out::Node(plain(kind, fields)))
    }

    fn pull_mutation(
        &self,
        world: &mut World,
        (repo, number): (u64, u64),
        name: &str,
    ) -> Result<(), Refused> {
        let no = |words: &str| Err(Refused(422, words.to_owned()));
        let Some((_, pull)) = world.pull(repo, number) else {
            return no("Could not resolve to a PullRequest");
        };
        let is_merged = pull.merged.is_some();
        match name {
            "closePullRequest" if is_merged => return no("Could not close the pull request."),
            "reopenPullRequest" if is_merged => return no("Could not open the pull request."),
            "closePullRequest" | "reopenPullRequest" => {
                let by = world.viewer.clone();
                world.set_open(repo, number, name == "reopenPullRequest", by);
            }
            "convertPullRequestToDraft" => world.pull_mut(repo, number).draft = true,
            "markPullRequestReadyForReview" => world.pull_mut(repo, number).draft = false,
            _ => return no("Could not do that"),
        }
        world.touch(repo, number);
        Ok(())
    }
}

/// Whether a text closes an issue, by the vendor's keywords.
fn closes(text: &str, number: u64) -> bool {
    let text = text.to_lowercase();
    let words: Vec<&str> = text.split_whitespace().collect();
    words.windows(2).any(|pair| {
        let word = pair[0].trim_end_matches(':');
        let of = pair[1].trim_end_matches(|c: char| !c.is_ascii_digit());
        matches!(
            word,
            "close"
                | "closes"
                | "closed"
                | "fix"
                | "fixes"
                | "fixed"
                | "resolve"
                | "resolves"
                | "resolved"
        ) && of.strip_prefix('#') == Some(number.to_string().as_str())
    })
}

pub(super) fn issue_id(issue: &Issue) -> String {
    format!("{}_{}", if issue.pull.is_some() { "PR" } else { "I" }, issue.id)
}

pub(super) fn actor_id(by: &By) -> String {
    match by {
        By::Person(_) => format!("U_{}", by.id()),
        By::Bot(_) => format!("BOT_{}", by.id()),
    }
}

/// Where a check's log is read.
pub(super) fn check_url(world: &World, check: &Check, url: &str) -> String {
    let home = world.repo_at(check.repo).full_name();
    match check.is_actions() {
        true => format!("{url}/{home}/actions/runs/{}/job/{}", check.suite, check.id),
        false => format!("https://{}.example/runs/{}", check.app, check.id),
    }
}

fn names(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

/// Whether a filter lets something through: one that is not there lets all.
fn listed(filter: &Value, value: &str) -> bool {
    filter.as_array().is_none_or(|of| of.iter().any(|one| one == value))
}

fn unresolved(kind: &str, number: u64) -> Fault {
    ("NOT_FOUND", format!("Could not resolve to a {kind} with the number of {number}."))
}

fn counts(kind: &'static str, mut states: Vec<String>) -> Out {
    states.sort();
    let mut all: Vec<(String, u64)> = Vec::new();
    for state in states {
        match all.last_mut().filter(|(known, _)| *known == state) {
            Some((_, count)) => *count += 1,
            None => all.push((state, 1)),
        }
    }
    let one = |(state, count)| {
        Out::Node(plain(kind, vec![("state", leaf(state)), ("count", leaf(count))]))
    };
    Out::List(all.into_iter().map(one).collect::<Vec<_>>())
}

/// The pull requests into a repository, or from a branch.
fn pulls(world: &World, into: Option<u64>, from: Option<(u64, &str)>, arguments: &Value) -> Answer {
    let (head, base) = (arguments["headRefName"].as_str(), arguments["baseRefName"].as_str());
    let labels = names(&arguments["labels"]);
    let wanted = |issue: &&Issue| {
        let Some(pull) = &issue.pull else { return false };
        let state = match () {
            () if pull.merged.is_some() => "MERGED",
            () if issue.open => "OPEN",
            () => "CLOSED",
        };
        into.is_none_or(|repo| issue.repo == repo)
            && from.is_none_or(|(repo, branch)| pull.head_repo == Some(repo) && pull.head == branch)
            && listed(&arguments["states"], state)
            && head.is_none_or(|head| pull.head == head)
            && base.is_none_or(|base| pull.base == base)
            && (labels.is_empty() || labels.iter().any(|label| issue.labels.contains(label)))
    };
    ordered(world.issues.values().filter(wanted).collect(), &arguments["orderBy"])
}

fn ordered(mut found: Vec<&Issue>, order: &Value) -> Answer {
    match order["field"].as_str() {
        None | Some("CREATED_AT") => found.sort_by_key(|issue| issue.id),
        Some("UPDATED_AT") => found.sort_by_key(|issue| (issue.updated, issue.id)),
        Some(other) => return Err(("FAKE", format!("the fake does not order by {other}"))),
    }
    if order["direction"] == "DESC" {
        found.reverse();
    }
    Ok(connection(found.into_iter().map(|issue| At::Issue(issue.repo, issue.number))))
}

/// Loses one field of the root, as the vendor does when it runs out of time.
pub(super) fn lose(answer: &mut Value, name: &str) {
    if let Some(lost) = answer["data"].get_mut(name) {
        *lost = Value::Null;
        let message = "Something went wrong while executing your query. This may be the result of a timeout, or it could be a GitHub bug.";
        answer["errors"] = json!([{"message": message, "path": [name]}]);
    }
}
