//! A switch: the first case that holds answers.

use std::sync::Arc;

use crate::call::{Call, Names, Outcome, ask as ask_node};
use crate::graph::{Case, Node};
use crate::message::{Failure, FailureKind, Question, Usage};

/// Asks the node of the first case that holds.
///
/// # Errors
/// No case holds. One whose expression has no value, such as for a field that the request has not, does not hold.
pub async fn ask(call: &Arc<Call>, node: &Node, cases: &[Case], question: Question, usage: Usage) -> Outcome {
    let names = Names::of(call);
    let mut errors = Vec::new();
    for (position, case) in cases.iter().enumerate() {
        match case.when.as_ref().map_or(Ok(true), |when| when.evaluate_bool(&names)) {
            Ok(true) => return ask_node(call, case.node, question, usage).await,
            Ok(false) => {}
            Err(error) => {
                call.tools.metrics.expression_errors.get_or_create(&node.state.labels).inc();
                errors.push(format!("; switch[{position}].when: {error}"));
            }
        }
    }
    let words = format!("no case of the switch holds for this request{}", errors.concat());
    Err(Failure::new(FailureKind::NoCase, &node.name, words))
}
