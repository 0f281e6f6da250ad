//! A parallel node: several nodes at once, and one answer made of theirs.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::combine;
use crate::call::{Call, Outcome, ask as ask_node};
use crate::graph::{Node, Parallel};
use crate::message::{Answer, Failure, FailureKind, Question, Usage};
use crate::plan::{Method, OnError};
use crate::trail::StepId;

/// Asks all nodes and combines what they answer, as soon as it is certain what that is.
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
    while let Some((position, outcome)) = asked.next().await {
        if let Err(failure) = tally.take(position, outcome) {
            // What a node says of the client's own mistake is more useful to it than how many nodes said so.
            return tally.client_error.ok_or(failure);
        }
        if first && tally.answers.iter().flatten().count() >= parallel.required(call) {
            break;
        }
    }
    drop(asked);
    tally.conclude()
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
    answers: Vec<Option<Answer>>,
    reasons: Vec<String>,
    client_error: Option<Answer>,
}

impl<'a> Tally<'a> {
    fn new(call: &'a Call, node: &'a Node, parallel: &'a Parallel, step: Option<StepId>) -> Self {
        let answers = parallel.nodes.iter().map(|_| None).collect();
        Self { call, node, parallel, step, answers, reasons: Vec::new(), client_error: None }
    }

    fn take(&mut self, position: usize, outcome: Outcome) -> Result<(), Failure> {
        let of = self.call.served.node(self.parallel.nodes[position]);
        let why = match outcome {
            Ok(answer) if answer.is_success() => {
                self.answers[position] = Some(answer);
                return Ok(());
            }
            Ok(answer) => {
                let why = format!("{}: status {}", of.name, answer.status.as_u16());
                if answer.status.is_client_error() {
                    self.client_error = Some(answer);
                }
                why
            }
            Err(failure) => format!("{}: {}", of.name, failure.message),
        };
        self.reasons.push(why);
        let fatal =
            self.parallel.quorum.is_none() && of.on_error == OnError::Fail && self.parallel.method != Method::First;
        let left = self.parallel.nodes.len() - self.reasons.len();
        if fatal || left < self.parallel.required(self.call) {
            return Err(self.failed());
        }
        let why = if of.on_error == OnError::Skip { "onError: Skip" } else { "enough others are asked" };
        self.call.leave_out(self.step, self.parallel.nodes[position], why);
        Ok(())
    }

    fn failed(&self) -> Failure {
        let answered = self.answers.iter().flatten().count();
        let needed = self.parallel.required(self.call);
        let words = format!("{answered} of {needed} needed nodes answered: {}", self.reasons.join("; "));
        Failure::new(FailureKind::NoQuorum, &self.node.name, words)
    }

    fn conclude(self) -> Outcome {
        let names = self.parallel.nodes.iter().map(|&id| Arc::clone(&self.call.served.node(id).name));
        let weights = self.parallel.weights.iter();
        let given: Vec<combine::Given> = names
            .zip(weights)
            .zip(self.answers)
            .filter_map(|((name, &weight), answer)| Some(combine::Given { name, weight, answer: answer? }))
            .collect();
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
