//! A switch: the first case that holds answers.

use std::sync::Arc;

use crate::call::{Call, Names, Outcome, ask as ask_node};
use crate::graph::{Case, Node};
use crate::message::{Failure, FailureKind, Question};

/// Asks the node of the first case that holds.
///
/// # Errors
/// No case holds, or an expression has no value.
pub async fn ask(call: &Arc<Call>, node: &Node, cases: &[Case], question: Question, stream: bool) -> Outcome {
    let names = Names::of(call);
    for (position, case) in cases.iter().enumerate() {
        let holds = case.when.as_ref().map_or(Ok(true), |when| when.evaluate_bool(&names)).map_err(|error| {
            Failure::new(FailureKind::Mapping, &node.name, format!("switch[{position}].when: {error}"))
        })?;
        if holds {
            return ask_node(call, case.node, question, stream).await;
        }
    }
    Err(Failure::new(FailureKind::NoCase, &node.name, "no case of the switch holds for this request"))
}
