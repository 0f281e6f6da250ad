//! A parallel node: several nodes at once, and one answer made of theirs.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, timeout_at};

use super::combine;
use crate::call::{CLOSING, Call, Outcome, ask as ask_node};
use crate::graph::{Node, Parallel};
use crate::message::{Answer, Failure, FailureKind, Question, Usage};
use crate::plan::{Method, OnError};
use crate::trail::StepId;

/// Asks all nodes and combines what they answer, as soon as it is certain what that is. Where a quorum is enough, what is
/// there shortly before the time is over has to do.
///
/// # Errors
/// Too few answered, or their answers cannot be combined. What still runs then is given up.
pub async fn ask(call: &Arc<Call>, node: &Node, parallel: &Parallel, question: Question, usage: Usage) -> Outcome {
    let (first, step) = (parallel.method == Method::First, question.step);
    let usage = usage.held().read_if(!first);
    let mut asked: FuturesUnordered<_> = parallel
        .nodes
        .iter()
        .enumerate()
        .map(|(position, &id)| {
            let question = question.clone();
            async move { (position, ask_node(call, id, question, usage).await) }
        })
        .collect();
    let mut tally = Tally::new(call, node, parallel, step);
    let closing = parallel.quorum.map(|_| closing(call, node));
    loop {
        let enough = tally.answers.len() >= parallel.required(call);
        if first && enough {
            break;
        }
        let next = match closing.filter(|_| enough) {
            None => asked.next().await,
            Some(closing) => match timeout_at(closing, asked.next()).await {
                Ok(next) => next,
                Err(_) => break,
            },
        };
        let Some((position, outcome)) = next else { break };
        if let Some(end) = tally.take(position, outcome) {
            return end;
        }
    }
    drop(asked);
    tally.conclude()
}

/// When an answer has to be made of what is there: in time for whoever waits for it.
fn closing(call: &Call, node: &Node) -> Instant {
    let now = Instant::now();
    let end = node.policies.timeout.map_or(call.deadline, |timeout| call.deadline.min(now + timeout));
    end.checked_sub(CLOSING.min(end.saturating_duration_since(now) / 10)).unwrap_or(end)
}

impl Parallel {
    /// How many have to answer: the quorum, or all that may not be left out, but at least one.
    fn required(&self, call: &Call) -> usize {
        let needed = |&&id: &&crate::graph::NodeId| call.served.node(id).on_error == OnError::Fail;
        self.quorum.unwrap_or_else(|| self.nodes.iter().filter(needed).count().max(1))
    }
}

/// What has been answered so far.
struct Tally<'a> {
    call: &'a Call,
    node: &'a Node,
    parallel: &'a Parallel,
    step: Option<StepId>,
    /// As they came, with the places of their nodes.
    answers: Vec<(usize, Answer)>,
    /// The places of those that have not ended.
    open: Vec<usize>,
    reasons: Vec<String>,
    /// Whether the client's own mistake is all that nodes have failed for.
    client_only: bool,
}

impl<'a> Tally<'a> {
    fn new(call: &'a Call, node: &'a Node, parallel: &'a Parallel, step: Option<StepId>) -> Self {
        let open = (0..parallel.nodes.len()).collect();
        Self { call, node, parallel, step, answers: Vec::new(), open, reasons: Vec::new(), client_only: true }
    }

    /// Takes how a node ended; gives the end of all if that is certain by it.
    fn take(&mut self, position: usize, outcome: Outcome) -> Option<Outcome> {
        let of = self.call.served.node(self.parallel.nodes[position]);
        self.open.retain(|&open| open != position);
        let (why, of_client) = match &outcome {
            Ok(answer) if answer.is_success() => {
                self.answers.extend(outcome.ok().map(|answer| (position, answer)));
                return None;
            }
            Ok(answer) => (format!("status {}", answer.status.as_u16()), answer.status.is_client_error()),
            Err(failure) => (failure.message.clone(), failure.kind == FailureKind::BadRequest),
        };
        self.reasons.push(format!("{}: {why}", of.name));
        self.client_only &= of_client;
        let fatal =
            self.parallel.quorum.is_none() && of.on_error == OnError::Fail && self.parallel.method != Method::First;
        let left = self.parallel.nodes.len() - self.reasons.len();
        if fatal || left < self.parallel.required(self.call) {
            // What a node says of the client's own mistake is more useful to it than how many nodes said so.
            let told = of_client && (fatal || self.client_only);
            return Some(if told { outcome } else { Err(self.failed()) });
        }
        let why = if of.on_error == OnError::Skip { "onError: Skip" } else { "enough others are asked" };
        self.call.leave_out(self.step, self.parallel.nodes[position], why);
        None
    }

    fn failed(&self) -> Failure {
        let answered = self.answers.len();
        let needed = self.parallel.required(self.call);
        let words = format!("{answered} of {needed} needed nodes answered: {}", self.reasons.join("; "));
        Failure::new(FailureKind::NoQuorum, &self.node.name, words)
    }

    fn conclude(mut self) -> Outcome {
        for &position in &self.open {
            self.call.leave_out(self.step, self.parallel.nodes[position], "enough have answered");
        }
        if self.parallel.method != Method::First {
            self.answers.sort_unstable_by_key(|(position, _)| *position);
        }
        let given = self.answers.into_iter().map(|(position, answer)| {
            let name = Arc::clone(&self.call.served.node(self.parallel.nodes[position]).name);
            combine::Given { name, weight: self.parallel.weights[position], answer }
        });
        let given: Vec<_> = given.collect();
        combine::combine(
            self.call.graph().protocol,
            self.call.asked.operation,
            &self.call.graph().name,
            self.parallel,
            given,
        )
        .map_err(|(kind, words)| Failure::new(kind, &self.node.name, words))
    }
}
