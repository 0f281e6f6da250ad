//! The steps of one request, for those who ask for them: which node asked which, how long it took, and what came of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Serialize, Serializer};
use tokio::time::Instant;

use crate::call::Outcome;
use crate::message::{Answer, Body};

/// Bytes of answers that the steps of one request tell; those that come later are left out.
const MAX_TOLD: usize = 4 << 20;

/// The place of a step among all of a request's, which is the order in which they began.
pub type StepId = usize;

/// The steps of one request.
#[derive(Debug)]
pub struct Trail {
    begun: Instant,
    steps: Mutex<Vec<Step>>,
    /// Bytes of all answers that are told.
    told: AtomicUsize,
}

/// A step of a request: one asking of a node.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    pub id: StepId,
    /// The step that asked; none for the entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<StepId>,
    pub graph: String,
    pub node: String,
    /// Milliseconds from the beginning of the request.
    pub start: f64,
    /// Milliseconds that it took, with all its attempts; none if nobody waited for it to the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The word of the error, as in metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// How often it was tried; never if its circuit breaker or its limit let nothing through.
    pub attempts: u32,
    /// How the attempts before the last ended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub retried: Vec<String>,
    /// Whether a second request was sent before the first had answered.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hedged: bool,
    /// Whether the answer was made for another request.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cached: bool,
    /// Why who asked went on without this answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Told>,
}

/// An answer as it is told: its JSON, or nothing if it is none.
#[derive(Debug, Clone)]
pub struct Told(Body);

impl Serialize for Told {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.json().ok().serialize(to)
    }
}

impl Default for Trail {
    fn default() -> Self {
        Self { begun: Instant::now(), steps: Mutex::default(), told: AtomicUsize::new(0) }
    }
}

impl Trail {
    /// Begins a step.
    pub fn begin(&self, parent: Option<StepId>, graph: &str, node: &str) -> StepId {
        let start = millis(self.begun.elapsed());
        self.with(|steps| {
            let id = steps.len();
            steps.push(Step { id, parent, graph: graph.into(), node: node.into(), start, ..Step::default() });
            id
        })
    }

    /// Ends a step. Its answer is told if there is room among those of the others.
    pub fn end(&self, id: StepId, took: Duration, outcome: &Outcome) {
        let size = outcome.as_ref().ok().and_then(Answer::kept).map_or(0, |body| body.received().len());
        let fits = self.told.fetch_add(size, Ordering::Relaxed) + size <= MAX_TOLD;
        self.change(id, |step| {
            step.end(took, outcome);
            step.answer.take_if(|_| !fits);
        });
    }

    /// Changes a step.
    pub fn change(&self, id: StepId, change: impl FnOnce(&mut Step)) {
        self.with(|steps| steps.get_mut(id).map(change));
    }

    /// Says of what a node answered last to a step why that goes on without it.
    pub fn leave_out(&self, asker: Option<StepId>, node: &str, why: &str) {
        self.with(|steps| {
            let answered = |step: &&mut Step| step.parent == asker && step.node == node && step.took.is_some();
            if let Some(step) = steps.iter_mut().rev().find(answered) {
                step.left_out = Some(why.to_owned());
            }
        });
    }

    /// Gives the steps in the order in which they began.
    pub fn steps(&self) -> Vec<Step> {
        self.with(|steps| steps.clone())
    }

    fn with<T>(&self, what: impl FnOnce(&mut Vec<Step>) -> T) -> T {
        what(&mut self.steps.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Step {
    /// Ends it.
    fn end(&mut self, took: Duration, outcome: &Outcome) {
        self.took = Some(millis(took));
        match outcome {
            Ok(answer) => {
                self.status = Some(answer.status.as_u16());
                self.answer = answer.kept().map(|body| Told(body.clone()));
            }
            Err(failure) => {
                self.error = Some(failure.message.clone());
                self.code = Some(failure.kind.word());
            }
        }
    }
}

fn millis(length: Duration) -> f64 {
    length.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Failure, FailureKind};

    #[test]
    fn steps_stand_in_the_order_in_which_they_began_and_know_who_asked() {
        let trail = Trail::default();
        let first = trail.begin(None, "g", "all");
        let second = trail.begin(Some(first), "g", "one");
        trail.change(second, |step| step.attempts += 1);
        let failure = Failure::new(FailureKind::Timeout, &"one".into(), "no answer within 1s");
        trail.end(second, Duration::from_millis(5), &Err(failure));
        let steps = trail.steps();
        let told: Vec<_> = steps.iter().map(|step| (step.id, step.parent, step.node.as_str())).collect();
        assert_eq!(told, [(0, None, "all"), (1, Some(0), "one")]);
        assert_eq!((steps[1].code, steps[1].took, steps[1].attempts), (Some("timeout"), Some(5.0), 1));
        assert_eq!(steps[0].took, None, "nobody has waited for it");
    }

    #[test]
    fn answers_are_told_as_long_as_there_is_room() {
        let trail = Trail::default();
        for bytes in [1 << 20, MAX_TOLD, 0] {
            let answer = Answer::json(http::StatusCode::OK, "a".repeat(bytes).into());
            trail.end(trail.begin(None, "g", "one"), Duration::ZERO, &Ok(answer));
        }
        let told: Vec<_> = trail.steps().iter().map(|step| (step.status, step.answer.is_some())).collect();
        assert_eq!(told, [(Some(200), true), (Some(200), false), (Some(200), false)]);
    }

    #[test]
    fn what_is_left_out_is_the_last_answer_that_the_asker_has_got_of_the_node() {
        let trail = Trail::default();
        let asker = trail.begin(None, "g", "all");
        for parent in [Some(asker), None, Some(asker)] {
            let id = trail.begin(parent, "g", "one");
            let failure = Failure::new(FailureKind::Connect, &"one".into(), "refused");
            trail.end(id, Duration::ZERO, &Err(failure));
        }
        trail.begin(Some(asker), "g", "one"); // It has not answered yet.
        trail.leave_out(Some(asker), "one", "onError: Skip");
        let left: Vec<_> = trail.steps().iter().map(|step| step.left_out.is_some()).collect();
        assert_eq!(left, [false, false, false, true, false]);
    }
}
