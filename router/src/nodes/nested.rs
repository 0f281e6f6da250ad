//! A graph as a node: it runs within this router, with its own deadline, protocol and names.

use std::sync::Arc;

use serde_json::Value;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use crate::call::{Asked, Call, Outcome, ask as ask_node};
use crate::graph::{Node, NodeId};
use crate::message::{Answer, AnswerBody, Failure, FailureKind, Question, Usage};
use crate::protocol::adapt;

/// Whether a graph did what it could: a client's own mistake does not speak against it.
fn is_good(outcome: &Result<Outcome, Elapsed>) -> bool {
    let status = match outcome {
        Err(_) => return false,
        Ok(Ok(answer)) => answer.status,
        Ok(Err(failure)) => failure.kind.status(),
    };
    !status.is_server_error()
}

/// Asks another graph.
///
/// # Errors
/// It failed, did not answer in its time, or its protocol cannot say what was asked.
pub async fn ask(
    call: &Arc<Call>,
    node: &Node,
    graph: usize,
    entry: NodeId,
    question: Question,
    usage: Usage,
) -> Outcome {
    let (outer, inner) = (call.graph().protocol, &call.served.graphs[graph]);
    let operation = call.asked.operation;
    let bad = |kind, words: String| Failure::new(kind, &node.name, words);
    let body = adapt::question(outer, inner.protocol, operation, &question.body, &inner.name)
        .map_err(|words| bad(FailureKind::BadRequest, words))?;
    let size = body.received().len();
    if size > inner.limits.body {
        let words = format!("graph {} takes {} bytes at most, and this has {size}", inner.name, inner.limits.body);
        return Err(bad(FailureKind::BadRequest, words));
    }
    let Some(place) = inner.state.limit.try_enter() else {
        let words = format!("graph {} works on {} requests already", inner.name, inner.limits.in_flight);
        return Err(bad(FailureKind::Overloaded, words));
    };
    let asked = Asked { body: body.clone(), ..call.asked.clone() };
    let deadline = call.deadline.min(Instant::now() + inner.timeout);
    let trail = call.trail.clone();
    let within = Call::new(Arc::clone(&call.served), graph, asked, deadline, Arc::clone(&call.tools), trail);
    let direct = outer == inner.protocol;
    let next = Question { body, stream: question.stream && direct, ..question.clone() };
    let counting = inner.tally.as_ref().map(|tally| tally.begin(deadline));
    let outcome = timeout_at(deadline, ask_node(&within, entry, next, usage.read_if(!direct))).await;
    if let Some(counting) = counting {
        counting.end(is_good(&outcome));
    }
    let mut answer = outcome
        .map_err(|_| bad(FailureKind::Timeout, format!("graph {} did not answer in its time", inner.name)))??;
    if !direct && answer.is_success() {
        let given = answer.kept().cloned().unwrap_or_default();
        let asked = question.body.json().unwrap_or(&Value::Null);
        let made = adapt::answer(inner.protocol, outer, operation, &given, &inner.name, asked)
            .map_err(|words| bad(FailureKind::BadAnswer, words))?;
        answer.body = AnswerBody::Full(made);
    }
    Ok(match answer.body {
        AnswerBody::Stream(stream) => Answer { body: AnswerBody::Stream(stream.holding(place)), ..answer },
        AnswerBody::Full(_) => answer,
    })
}
