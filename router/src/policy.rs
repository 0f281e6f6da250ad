//! What holds for every node: limits, breakers, retries, hedges and timeouts, around whatever the node does.

pub mod breaker;
pub mod latency;
pub mod limit;

use std::time::Duration;

use http::StatusCode;

use crate::message::{Answer, Failure, FailureKind};
use crate::plan::{NodePlan, RetryOn};

/// The policies of a node.
#[derive(Debug, Clone, Default)]
pub struct Policies {
    pub timeout: Option<Duration>,
    pub retry: Option<Retry>,
    pub hedge: Option<Hedge>,
}

/// When and how often a node is tried again.
#[derive(Debug, Clone)]
pub struct Retry {
    pub limit: u32,
    pub statuses: Vec<StatusCode>,
    pub failures: Vec<RetryOn>,
    pub backoff: Duration,
    pub max_backoff: Duration,
}

/// When a second request is sent.
#[derive(Debug, Clone)]
pub struct Hedge {
    /// After so long; the 95th percentile if there is none.
    pub after: Option<Duration>,
}

impl Policies {
    /// Reads the policies of a node.
    ///
    /// # Errors
    /// A status is not one of HTTP.
    pub fn of(plan: &NodePlan) -> Result<Self, String> {
        let retry = plan.retry.as_ref().map(|retry| {
            let statuses = retry.statuses.iter().map(|&code| {
                StatusCode::from_u16(code).map_err(|_| format!("retry.statuses: {code} is no HTTP status"))
            });
            Ok::<_, String>(Retry {
                limit: retry.limit,
                statuses: statuses.collect::<Result<_, _>>()?,
                failures: retry.failures.clone(),
                backoff: Duration::from_millis(retry.backoff_millis.max(1)),
                max_backoff: Duration::from_millis(retry.max_backoff_millis.max(retry.backoff_millis.max(1))),
            })
        });
        Ok(Self {
            timeout: plan.timeout_millis.map(Duration::from_millis),
            retry: retry.transpose()?,
            hedge: plan.hedge.as_ref().map(|hedge| Hedge { after: hedge.after_millis.map(Duration::from_millis) }),
        })
    }
}

impl Retry {
    /// Whether an outcome is worth another attempt.
    pub fn wants(&self, outcome: &Result<Answer, Failure>) -> bool {
        match outcome {
            Ok(answer) => self.statuses.contains(&answer.status),
            Err(failure) => match failure.kind {
                FailureKind::Connect => self.failures.contains(&RetryOn::Connect),
                FailureKind::Timeout => self.failures.contains(&RetryOn::Timeout),
                FailureKind::Reset => self.failures.contains(&RetryOn::Reset),
                _ => false,
            },
        }
    }
}

/// Whether an outcome says that the target works: what closes a circuit.
pub fn is_good(outcome: &Result<Answer, Failure>) -> bool {
    outcome.as_ref().is_ok_and(|answer| !answer.status.is_server_error())
}

/// Whether another try may well do better.
pub fn is_poor(outcome: &Result<Answer, Failure>) -> bool {
    is_bad(outcome) || outcome.as_ref().is_ok_and(|answer| answer.status == StatusCode::TOO_MANY_REQUESTS)
}

/// Whether an outcome speaks against the target: what a circuit breaker counts.
pub fn is_bad(outcome: &Result<Answer, Failure>) -> bool {
    match outcome {
        Ok(answer) => answer.status.is_server_error(),
        Err(failure) => matches!(
            failure.kind,
            FailureKind::Connect
                | FailureKind::Reset
                | FailureKind::Timeout
                | FailureKind::BadAnswer
                | FailureKind::NoQuorum
        ),
    }
}
