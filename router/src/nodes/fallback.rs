//! A fallback: the first answer that comes and is accepted, also as a cascade from cheap to dear.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use http::StatusCode;

use crate::call::{Call, Names, Outcome, ask as ask_node, pause_of, seen};
use crate::graph::{Choice, Node};
use crate::message::{Answer, Failure, FailureKind, Question, Usage};

/// Asks one choice after the other until an answer is good enough.
///
/// A choice that asked to be left alone, or whose cooldown runs, is passed over as long as there is another.
///
/// # Errors
/// None gave an answer that was accepted; the failure says of each why.
pub async fn ask(call: &Arc<Call>, node: &Node, choices: &[Choice], question: Question, usage: Usage) -> Outcome {
    let mut reasons = Vec::new();
    let mut last: Option<Outcome> = None;
    for (position, choice) in order(node, choices) {
        let waiting = Waiting::of(call, node, position, choice);
        let outcome = ask_node(call, choice.node, question.clone(), usage.read_if(choice.accept.is_some())).await;
        let why = match &outcome {
            Ok(answer) if !is_final(answer) => format!("status {}", answer.status.as_u16()),
            Ok(answer) => match accepted(call, node, choice, answer) {
                Ok(()) => {
                    waiting.end();
                    return outcome;
                }
                Err(why) => why,
            },
            Err(failure) if next_may_do_better(failure.kind) => failure.message.clone(),
            Err(_) => return outcome,
        };
        waiting.end();
        rest(node, position, choice, &outcome);
        call.leave_out(question.step, choice.node, &why);
        reasons.push(format!("{}: {why}", call.served.node(choice.node).name));
        // A switch without a case for the request had nothing to say; what came before it had.
        if last.is_none() || !matches!(&outcome, Err(failure) if failure.kind == FailureKind::NoCase) {
            last = Some(outcome);
        }
    }
    conclude(node, last, &reasons)
}

/// Choices in the order written, those that rest at the end.
fn order<'a>(node: &Node, choices: &'a [Choice]) -> Vec<(usize, &'a Choice)> {
    let (now, cooldowns) = (Instant::now(), node.state.cooldowns.lock().unwrap_or_else(PoisonError::into_inner));
    let rests = |position: &usize| cooldowns.get(position).is_some_and(|&until| until > now);
    let (resting, ready): (Vec<_>, Vec<_>) = choices.iter().enumerate().partition(|(position, _)| rests(position));
    ready.into_iter().chain(resting).collect()
}

/// Whether an answer is the target's last word: a success, or the client's own mistake.
fn is_final(answer: &Answer) -> bool {
    !answer.status.is_server_error() && answer.status != StatusCode::TOO_MANY_REQUESTS
}

/// Whether another node could answer what this one could not.
fn next_may_do_better(kind: FailureKind) -> bool {
    !matches!(kind, FailureKind::BadRequest | FailureKind::Deadline | FailureKind::Loop)
}

fn accepted(call: &Call, node: &Node, choice: &Choice, answer: &Answer) -> Result<(), String> {
    let Some(accept) = choice.accept.as_ref().filter(|_| answer.is_success()) else { return Ok(()) };
    match accept.evaluate_bool(&Names::of(call).with("response", seen(answer))) {
        Ok(true) => Ok(()),
        Ok(false) => Err("its answer was not accepted".to_owned()),
        Err(error) => {
            call.tools.metrics.expression_errors.get_or_create(&node.state.labels).inc();
            Err(format!("whether to accept its answer cannot be told: {error}"))
        }
    }
}

/// Remembers that a choice failed, if it is to be passed over for a while.
fn rest(node: &Node, position: usize, choice: &Choice, outcome: &Outcome) {
    let failed = !matches!(outcome, Ok(answer) if is_final(answer));
    let asked_for = pause_of(outcome).unwrap_or_default();
    let pause = asked_for.max(if failed { choice.cooldown } else { Duration::ZERO });
    if failed {
        pass_over(node, position, pause);
    }
}

fn pass_over(node: &Node, position: usize, pause: Duration) {
    if !pause.is_zero() {
        let mut cooldowns = node.state.cooldowns.lock().unwrap_or_else(PoisonError::into_inner);
        cooldowns.insert(position, Instant::now() + pause);
    }
}

/// A choice that is waited for: one that has not answered when the deadline ends that has failed like any other.
struct Waiting<'a> {
    node: &'a Node,
    position: usize,
    cooldown: Duration,
    overdue: Option<Instant>,
}

impl<'a> Waiting<'a> {
    fn of(call: &Call, node: &'a Node, position: usize, choice: &Choice) -> Self {
        let cooldown = choice.cooldown;
        let overdue = (!cooldown.is_zero()).then(|| call.overdue(tokio::time::Instant::now()).into_std());
        Self { node, position, cooldown, overdue }
    }

    fn end(mut self) {
        self.overdue = None;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.overdue.is_some_and(|overdue| Instant::now() >= overdue) {
            pass_over(self.node, self.position, self.cooldown);
        }
    }
}

/// The end when none was good enough: the last bad status as it is, or a failure that says all.
fn conclude(node: &Node, last: Option<Outcome>, reasons: &[String]) -> Outcome {
    let kind = match last {
        Some(Ok(answer)) if !is_final(&answer) => return Ok(answer),
        Some(Err(failure)) => failure.kind,
        _ => FailureKind::NotAccepted,
    };
    Err(Failure::new(kind, &node.name, format!("no node gave an answer: {}", reasons.join("; "))))
}
