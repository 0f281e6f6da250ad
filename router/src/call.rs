//! One request on its way through a graph, and the policies around every node that it passes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, StatusCode};
use tokio::time::{Instant, sleep, timeout_at};
use tower::retry::backoff::{Backoff, ExponentialBackoffMaker, MakeBackoff};
use tower::retry::budget::Budget;
use tower::util::rng::HasherRng;

use crate::expression::{Scope, Seen};
use crate::graph::{Graph, Kind, Node, NodeId, Served};
use crate::mapping;
use crate::message::{Answer, AnswerBody, Body, Failure, FailureKind, Question, Usage};
use crate::metrics::{Metrics, OfAttempt};
use crate::nodes;
use crate::policy::{is_bad, is_good, is_poor};
use crate::protocol::Operation;
use crate::telemetry::Telemetry;
use crate::trail::{Step, StepId, Trail};
use crate::upstream::Upstream;

/// How asking a node ended.
pub type Outcome = Result<Answer, Failure>;

/// So long before a deadline an answer is made of what is there.
pub const CLOSING: Duration = Duration::from_millis(50);

/// So much spread has the pause before another attempt, as a part of it.
const JITTER: f64 = 0.5;

/// A request to a graph.
pub struct Call {
    pub served: Arc<Served>,
    pub graph: usize,
    pub asked: Asked,
    pub deadline: Instant,
    pub tools: Arc<Tools>,
    pub trail: Option<Arc<Trail>>,
    answers: Mutex<HashMap<NodeId, Kept>>,
    late: Mutex<Vec<Arc<str>>>,
}

/// What the client asked.
#[derive(Clone)]
pub struct Asked {
    pub method: Method,
    pub path: Arc<str>,
    pub headers: Arc<HeaderMap>,
    pub body: Body,
    pub wire: Wire,
    pub operation: Operation,
    /// Graphs that it has passed through before this one.
    pub hops: u32,
}

/// In what form a client asks and is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    Http,
    /// gRPC; contents of tensors are raw bytes or typed lists, as in the question.
    Grpc {
        raw: bool,
    },
}

/// What every request needs.
pub struct Tools {
    pub upstream: Arc<Upstream>,
    pub metrics: Metrics,
    pub telemetry: Option<Telemetry>,
}

/// An answer that expressions read later.
#[derive(Debug, Clone)]
pub struct Kept {
    status: u16,
    headers: HeaderMap,
    body: Body,
}

impl Kept {
    /// Keeps an answer if its body is in memory.
    pub fn of(answer: &Answer) -> Option<Self> {
        let body = answer.kept()?.clone();
        Some(Self { status: answer.status.as_u16(), headers: answer.headers.clone(), body })
    }

    /// It as expressions see it.
    pub fn seen(&self) -> Seen<'_> {
        Seen {
            status: Some(self.status),
            headers: Some(&self.headers),
            body: Some(self.body.json()),
            ..Seen::default()
        }
    }
}

impl Call {
    /// A request to a graph.
    pub fn new(
        served: Arc<Served>,
        graph: usize,
        asked: Asked,
        deadline: Instant,
        tools: Arc<Tools>,
        trail: Option<Arc<Trail>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            served,
            graph,
            asked,
            deadline,
            tools,
            trail,
            answers: Mutex::default(),
            late: Mutex::default(),
        })
    }

    /// The graph that is asked.
    pub fn graph(&self) -> &Graph {
        &self.served.graphs[self.graph]
    }

    /// The same request once more, for what goes on whatever becomes of its client: it knows what was answered so far.
    pub fn beside(&self, trail: Option<Arc<Trail>>) -> Arc<Self> {
        let deadline = Instant::now() + self.graph().timeout;
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Arc::new(Self {
            served: Arc::clone(&self.served),
            graph: self.graph,
            asked: self.asked.clone(),
            deadline,
            tools: Arc::clone(&self.tools),
            trail,
            answers: Mutex::new(answers),
            late: Mutex::default(),
        })
    }

    /// From when on it speaks against a node if it has not answered: close to the deadline, if it had at least half of the
    /// time that the graph has. What came too late for others is not its fault, nor is a client that left.
    pub fn overdue(&self, begun: Instant) -> Instant {
        (self.deadline.checked_sub(CLOSING).unwrap_or(self.deadline)).max(begun + self.graph().timeout / 2)
    }

    /// Takes the names of the nodes that had not answered when the deadline was over.
    pub fn take_late(&self) -> Vec<Arc<str>> {
        std::mem::take(&mut *self.late.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes something of a step, if steps are noted.
    pub fn note(&self, step: Option<StepId>, change: impl FnOnce(&mut Step)) {
        if let (Some(trail), Some(step)) = (&self.trail, step) {
            trail.change(step, change);
        }
    }

    /// Notes that who asked goes on without what a node answered, and why, if steps are noted.
    pub fn leave_out(&self, asker: Option<StepId>, node: NodeId, why: &str) {
        if let Some(trail) = &self.trail {
            trail.leave_out(asker, &self.served.node(node).name, why);
        }
    }

    /// What is left until the deadline.
    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Answers by name that expressions may read, as of now.
    pub fn answers(&self) -> HashMap<String, Kept> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.iter().map(|(&id, kept)| (self.served.node(id).cel_name.clone(), kept.clone())).collect()
    }

    fn keep(&self, id: NodeId, answer: &Answer) {
        if let Some(kept) = Kept::of(answer) {
            self.answers.lock().unwrap_or_else(PoisonError::into_inner).insert(id, kept);
        }
    }
}

/// The names that an expression has: `request`, `nodes`, and whatever its place adds.
pub struct Names<'a> {
    call: &'a Call,
    answers: HashMap<String, Kept>,
    more: Vec<(&'static str, Seen<'a>)>,
}

impl<'a> Names<'a> {
    /// The names of a request.
    pub fn of(call: &'a Call) -> Self {
        let answers = if call.graph().recorded { call.answers() } else { HashMap::new() };
        Self { call, answers, more: Vec::new() }
    }

    /// Adds a message.
    #[must_use]
    pub fn with(mut self, name: &'static str, seen: Seen<'a>) -> Self {
        self.more.push((name, seen));
        self
    }

    /// The names of the nodes that have answered.
    pub fn answered(&self) -> Vec<&str> {
        self.answers.keys().map(String::as_str).collect()
    }

    /// An answer by the node's name.
    pub fn answer(&self, name: &str) -> Option<&Body> {
        self.answers.get(name).map(|kept| &kept.body)
    }

    /// What was asked.
    pub fn asked(&self) -> &Body {
        &self.call.asked.body
    }
}

impl Scope for Names<'_> {
    fn message(&self, name: &str) -> Option<Seen<'_>> {
        if name == "request" {
            let asked = &self.call.asked;
            return Some(Seen {
                status: None,
                method: Some(asked.method.as_str()),
                path: Some(&asked.path),
                headers: Some(&asked.headers),
                body: Some(asked.body.json()),
            });
        }
        self.more.iter().find(|(known, _)| *known == name).map(|(_, seen)| *seen)
    }

    fn node(&self, name: &str) -> Option<Seen<'_>> {
        self.answers.get(name).map(Kept::seen)
    }
}

/// An answer as expressions see it.
pub fn seen(answer: &Answer) -> Seen<'_> {
    Seen {
        status: Some(answer.status.as_u16()),
        headers: Some(&answer.headers),
        body: answer.kept().map(Body::json),
        ..Seen::default()
    }
}

/// Asks a node.
///
/// # Arguments
/// * `usage` - what becomes of its answer, as far as whoever asks knows.
pub fn ask(call: &Arc<Call>, id: NodeId, question: Question, usage: Usage) -> BoxFuture<'_, Outcome> {
    Box::pin(ask_node(call, id, question, usage))
}

async fn ask_node(call: &Arc<Call>, id: NodeId, mut question: Question, usage: Usage) -> Outcome {
    let node = call.served.node(id);
    let begun = Instant::now();
    let span = match (&call.tools.telemetry, &question.span) {
        (Some(telemetry), Some(below)) => Some(telemetry.node(node.name.to_string(), below)),
        _ => None,
    };
    question.span.clone_from(&span);
    let step = call.trail.as_ref().map(|trail| trail.begin(question.step, &call.graph().name, &node.name));
    question.step = step;
    let outcome = limited(call, node, question, usage.read_if(node.response.is_some() || node.recorded)).await;
    let took = begun.elapsed();
    node.state.seconds.observe(took.as_secs_f64());
    match (span, &outcome) {
        (None, _) => {}
        (Some(span), Ok(answer)) => span.answered(answer.status.as_u16()),
        (Some(span), Err(failure)) => span.failed(failure.kind.word(), &failure.message),
    }
    if let (true, Ok(answer)) = (node.recorded, &outcome) {
        call.keep(id, answer);
    }
    if let (Some(trail), Some(step)) = (&call.trail, step) {
        trail.end(step, took, &outcome);
    }
    outcome
}

/// Asks a node when there is a place for it, with its mappings around.
async fn limited(call: &Arc<Call>, node: &Node, mut question: Question, usage: Usage) -> Outcome {
    let counted = |failure: Failure| {
        count(call, node, failure.kind.word());
        failure
    };
    let unmapped = |of: &str, wrong: mapping::Wrong| {
        let kind = if wrong.asked { FailureKind::BadRequest } else { FailureKind::Mapping };
        counted(Failure::new(kind, &node.name, format!("{of}: {}", wrong.words)))
    };
    if let Some(mapping) = &node.request {
        question.body = mapping::apply(mapping, &Names::of(call), None, &question.body)
            .map_err(|wrong| unmapped("request", wrong))?;
    }
    let place = match &node.state.limit {
        Some(limit) => Some(limit.enter().await.ok_or_else(|| counted(overloaded(node)))?),
        None => None,
    };
    let mut answer = retried(call, node, &question, usage).await?;
    if let Some(mapping) = node.response.as_ref().filter(|_| answer.is_success()) {
        let body = answer.kept().cloned().unwrap_or_default();
        let names = Names::of(call).with("response", seen(&answer));
        let made = mapping::apply(mapping, &names, Some(&body), &body).map_err(|wrong| unmapped("response", wrong))?;
        answer.body = AnswerBody::Full(made);
    }
    Ok(match (place, answer.body) {
        (Some(place), AnswerBody::Stream(stream)) => {
            Answer { body: AnswerBody::Stream(stream.holding(place)), ..answer }
        }
        (_, body) => Answer { body, ..answer },
    })
}

fn overloaded(node: &Node) -> Failure {
    let mut failure =
        Failure::new(FailureKind::Overloaded, &node.name, "too many requests at once, and too many that wait");
    failure.retry_after = Some(Duration::from_secs(1));
    failure
}

/// Asks a node as often as its policy allows.
async fn retried(call: &Arc<Call>, node: &Node, question: &Question, usage: Usage) -> Outcome {
    let (Some(retry), Some(budget)) = (&node.policies.retry, &node.state.retries) else {
        return admitted(call, node, question, usage).await;
    };
    budget.deposit();
    let mut pauses = None;
    let mut tried = 0;
    loop {
        let outcome = admitted(call, node, question, usage).await;
        if tried == retry.limit || !retry.wants(&outcome) {
            return outcome;
        }
        let asked_for = pause_of(&outcome).unwrap_or_default();
        if asked_for > call.left() || !budget.withdraw() {
            return outcome;
        }
        let pauses = pauses.get_or_insert_with(|| backoff(retry.backoff, retry.max_backoff));
        tokio::join!(sleep(asked_for), next_pause(pauses.as_mut()));
        tried += 1;
        call.note(question.step, |step| step.retried.push(ended(&outcome)));
        call.tools.metrics.retries.get_or_create(&node.state.labels).inc();
    }
}

/// How an attempt ended, in words.
fn ended(outcome: &Outcome) -> String {
    match outcome {
        Ok(answer) => format!("status {}", answer.status.as_u16()),
        Err(failure) => failure.message.clone(),
    }
}

fn backoff(min: Duration, max: Duration) -> Option<tower::retry::backoff::ExponentialBackoff> {
    ExponentialBackoffMaker::new(min, max, JITTER, HasherRng::new()).ok().map(|mut maker| maker.make_backoff())
}

async fn next_pause(backoff: Option<&mut tower::retry::backoff::ExponentialBackoff>) {
    if let Some(backoff) = backoff {
        backoff.next_backoff().await;
    }
}

/// For how long whoever answered, or refused, wants to be left alone.
pub fn pause_of(outcome: &Outcome) -> Option<Duration> {
    match outcome {
        Ok(answer) => answer.retry_after(),
        Err(failure) => failure.retry_after,
    }
}

/// Asks a node if its circuit breaker lets it.
async fn admitted(call: &Arc<Call>, node: &Node, question: &Question, usage: Usage) -> Outcome {
    let now = Instant::now();
    let pass = match &node.state.breaker {
        None => None,
        Some(breaker) => match breaker.admit(now.into_std(), call.overdue(now).into_std()) {
            Ok(pass) => Some(pass),
            Err(left) => {
                let mut failure = Failure::new(FailureKind::Open, &node.name, "its circuit breaker is open");
                failure.retry_after = Some(left);
                count(call, node, failure.kind.word());
                return Err(failure);
            }
        },
    };
    call.note(question.step, |step| step.attempts += 1);
    let attempt = Attempt { call, node, ended: false };
    let outcome = timed(call, node, question, usage, now).await;
    match pass {
        Some(pass) if is_bad(&outcome) => pass.failed(std::time::Instant::now()),
        Some(pass) if is_good(&outcome) => pass.succeeded(),
        _ => {} // It was not asked, or not for long enough.
    }
    attempt.end(&outcome);
    outcome
}

/// An attempt under way; one that nobody waits for any more, as when the deadline of the graph is over, counts too.
struct Attempt<'a> {
    call: &'a Call,
    node: &'a Node,
    ended: bool,
}

impl Attempt<'_> {
    fn end(mut self, outcome: &Outcome) {
        self.ended = true;
        match outcome {
            Ok(answer) if answer.is_success() => {
                self.node.state.succeeded.inc();
            }
            Ok(answer) => count(self.call, self.node, class_of(answer.status)),
            Err(failure) => count(self.call, self.node, failure.kind.word()),
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.ended {
            count(self.call, self.node, "given_up");
            let is_leaf = matches!(self.node.kind, Kind::Target(_) | Kind::Graph { .. });
            if is_leaf && self.call.left().is_zero() {
                self.call.late.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&self.node.name));
            }
        }
    }
}

fn class_of(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}

fn count(call: &Call, node: &Node, outcome: &'static str) {
    let labels = &node.state.labels;
    let of = OfAttempt { graph: Arc::clone(&labels.graph), node: Arc::clone(&labels.node), outcome };
    call.tools.metrics.attempts.get_or_create(&of).inc();
}

/// Asks a node within its own limit of time.
async fn timed(call: &Arc<Call>, node: &Node, question: &Question, usage: Usage, now: Instant) -> Outcome {
    // Without a limit the graph's deadline ends it, together with all else of the request.
    let limit = node.policies.timeout;
    let until = limit.map(|limit| (now + limit).min(call.deadline));
    hedged(call, node, question, usage, now, until).await.unwrap_or_else(|| {
        let (kind, words) = match limit {
            Some(limit) if until < Some(call.deadline) => (FailureKind::Timeout, format!("no answer within {limit:?}")),
            _ => (FailureKind::Deadline, "no answer before the deadline".to_owned()),
        };
        Err(Failure::new(kind, &node.name, words))
    })
}

/// Asks a node, and once more if it takes longer than usual; the first good answer counts. None if there is none in time.
async fn hedged(
    call: &Arc<Call>,
    node: &Node,
    question: &Question,
    usage: Usage,
    begun: Instant,
    until: Option<Instant>,
) -> Option<Outcome> {
    let Some(hedge) = &node.policies.hedge else { return within(until, perform(call, node, question, usage)).await };
    let after = hedge.after.or_else(|| node.state.latency.as_ref()?.p95(begun.into_std()));
    let outcome = match after.map(|after| begun + after).filter(|&then| until.is_none_or(|until| then < until)) {
        None => within(until, perform(call, node, question, usage)).await,
        Some(then) => race(call, node, question, usage, then, until).await,
    };
    if let (Some(latency), Some(Ok(_))) = (&node.state.latency, &outcome) {
        let now = Instant::now();
        latency.record(now - begun, now.into_std());
    }
    outcome
}

/// Asks a node, and then once more. There is only ever one alarm at a time, since most are set for nothing.
async fn race(
    call: &Arc<Call>,
    node: &Node,
    question: &Question,
    usage: Usage,
    then: Instant,
    until: Option<Instant>,
) -> Option<Outcome> {
    let mut first = perform(call, node, question, usage);
    let Some(budget) = &node.state.hedges else { return within(until, first).await };
    budget.deposit();
    if let Ok(outcome) = timeout_at(then, &mut first).await {
        return Some(outcome);
    }
    if !budget.withdraw() {
        return within(until, first).await;
    }
    call.tools.metrics.hedges.get_or_create(&node.state.labels).inc();
    call.note(question.step, |step| step.hedged = true);
    let second = perform(call, node, question, usage);
    within(until, better(first, second)).await
}

/// Gives the first good outcome of two.
async fn better(first: BoxFuture<'_, Outcome>, second: BoxFuture<'_, Outcome>) -> Outcome {
    let (outcome, other) = futures_util::future::select(first, second).await.factor_first();
    if is_poor(&outcome) {
        let later = other.await;
        return if is_poor(&later) { outcome } else { later };
    }
    outcome
}

/// Gives what comes until a point in time, if there is one.
async fn within<T>(until: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match until {
        Some(until) => timeout_at(until, work).await.ok(),
        None => Some(work.await),
    }
}

/// Does what the node is for.
fn perform<'a>(call: &'a Arc<Call>, node: &'a Node, question: &Question, usage: Usage) -> BoxFuture<'a, Outcome> {
    let question = question.clone();
    match &node.kind {
        Kind::Target(target) => Box::pin(nodes::target::ask(call, node, target, question, usage)),
        Kind::Graph { entry, graph } => Box::pin(nodes::nested::ask(call, node, *graph, *entry, question, usage)),
        Kind::Sequence(steps) => Box::pin(nodes::sequence::ask(call, node, steps, question, usage)),
        Kind::Parallel(parallel) => Box::pin(nodes::parallel::ask(call, node, parallel, question, usage)),
        Kind::Switch(cases) => Box::pin(nodes::switch::ask(call, node, cases, question, usage)),
        Kind::Split(split) => Box::pin(nodes::split::ask(call, node, split, question, usage)),
        Kind::Fallback(choices) => Box::pin(nodes::fallback::ask(call, node, choices, question, usage)),
        Kind::Mirror(mirror) => Box::pin(nodes::mirror::ask(call, node, mirror, question, usage)),
        Kind::Cache(cache) => Box::pin(nodes::cache::ask(call, node, cache, question, usage)),
        Kind::Batch(batch) => Box::pin(nodes::batch::ask(call, node, batch, question, usage)),
    }
}
