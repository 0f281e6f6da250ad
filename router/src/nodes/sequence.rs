//! A sequence: each node is asked with what the last one answered.

use std::sync::Arc;

use crate::call::{Call, Outcome, ask as ask_node};
use crate::graph::{Node, NodeId};
use crate::message::{Answer, Body, Failure, FailureKind, Question, Usage};
use crate::plan::OnError;
use crate::protocol::next_question;

/// Asks nodes one after the other; the last answer is the sequence's.
///
/// # Errors
/// A step failed that may not be left out. An answer that is no success ends the sequence as it is.
pub async fn ask(call: &Arc<Call>, node: &Node, steps: &[NodeId], mut question: Question, usage: Usage) -> Outcome {
    let first = question.body.clone();
    let mut kept: Option<Answer> = None;
    for (position, &step) in steps.iter().enumerate() {
        let last = position + 1 == steps.len();
        let outcome = ask_node(call, step, question.clone(), usage.read_if(!last)).await;
        match outcome {
            Ok(answer) if answer.is_success() => {
                if !last {
                    question.body = next(call, node, steps[position + 1], &first, &answer)?;
                }
                kept = Some(answer);
            }
            _ if call.served.node(step).on_error == OnError::Skip && (kept.is_some() || !last) => {
                call.leave_out(question.step, step, "onError: Skip");
            }
            failed => return failed,
        }
    }
    kept.ok_or_else(|| Failure::new(FailureKind::NoQuorum, &node.name, "every step failed and was left out"))
}

/// Makes the question of the next step.
fn next(call: &Call, node: &Node, step: NodeId, first: &Body, answer: &Answer) -> Result<Body, Failure> {
    let answered = answer.kept().cloned().unwrap_or_default();
    let mapped = call.served.node(step).request.as_ref().is_some_and(|mapping| mapping.body.is_some());
    if mapped {
        return Ok(answered); // An expression makes the whole question.
    }
    next_question(call.graph().protocol, call.asked.operation, first, &answered).map_err(|words| {
        let to = &call.served.node(step).name;
        Failure::new(FailureKind::BadAnswer, &node.name, format!("the answer is no question for {to}: {words}"))
    })
}
