//! What outlives a reload: breakers, limits, budgets and counters of nodes that did not change.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use tower::retry::budget::TpsBudget;

use crate::metrics::{Metrics, OfAttempt, OfGraph, OfGraphStatus, OfNode};
use crate::nodes::batch::Gathering;
use crate::nodes::cache::Kept;
use crate::plan::{GraphPlan, NodePlan};
use crate::policy::breaker::Breaker;
use crate::policy::latency::Latency;
use crate::policy::limit::Limit;

/// How long first tries count for the budget of further ones.
const BUDGET_TTL: Duration = Duration::from_secs(10);

/// So many further tries a second are allowed however little traffic there is, or the first failure of a quiet node would
/// be final; none if none at all are wanted.
const BUDGET_FLOOR: u32 = 5;

/// The state of a graph.
#[derive(Debug)]
pub struct GraphState {
    pub labels: OfGraph,
    pub limit: Limit,
    pub in_flight: Gauge,
    pub succeeded: Counter,
    pub seconds: Histogram,
}

/// The state of a node.
pub struct NodeState {
    pub labels: OfNode,
    pub breaker: Option<Arc<Breaker>>,
    pub limit: Option<Limit>,
    pub retries: Option<Arc<TpsBudget>>,
    pub hedges: Option<Arc<TpsBudget>>,
    pub latency: Option<Latency>,
    /// Until when the choices of a fallback are passed over.
    pub cooldowns: Mutex<HashMap<usize, Instant>>,
    pub cache: Option<moka::future::Cache<Vec<u8>, Arc<Kept>>>,
    pub gathering: Option<Gathering>,
    /// Requests of a mirror that are under way.
    pub shadows: Arc<AtomicU64>,
    pub succeeded: Counter,
    pub seconds: Histogram,
}

impl fmt::Debug for NodeState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "NodeState({}/{})", self.labels.graph, self.labels.node)
    }
}

impl GraphState {
    /// The state of a graph that is new.
    pub fn new(plan: &GraphPlan, metrics: &Metrics) -> Self {
        let labels = OfGraph { graph: plan.name.as_str().into() };
        let succeeded = OfGraphStatus { graph: Arc::clone(&labels.graph), code: 200 };
        Self {
            limit: Limit::new(plan.limits.in_flight, 0),
            in_flight: metrics.graph_in_flight.get_or_create_owned(&labels),
            succeeded: metrics.graph_requests.get_or_create_owned(&succeeded),
            seconds: metrics.graph_seconds.get_or_create_owned(&labels),
            labels,
        }
    }
}

impl NodeState {
    /// The state of a node that is new.
    pub fn new(graph: &str, plan: &NodePlan, metrics: &Metrics) -> Self {
        let labels = OfNode { graph: graph.into(), node: plan.name.as_str().into() };
        let succeeded = OfAttempt { graph: Arc::clone(&labels.graph), node: Arc::clone(&labels.node), outcome: "2xx" };
        Self {
            breaker: plan.circuit_breaker.as_ref().map(Breaker::new),
            limit: plan.concurrency.as_ref().map(|of| Limit::new(of.limit, of.queue)),
            retries: plan.retry.as_ref().map(|retry| budget(retry.budget_percent)),
            hedges: plan.hedge.as_ref().map(|hedge| budget(hedge.budget_percent)),
            latency: plan.hedge.as_ref().filter(|hedge| hedge.after_millis.is_none()).map(|_| Latency::default()),
            cooldowns: Mutex::default(),
            cache: plan.cache.as_ref().map(crate::nodes::cache::open),
            gathering: plan.batch.as_ref().map(|_| Gathering::default()),
            shadows: Arc::default(),
            succeeded: metrics.attempts.get_or_create_owned(&succeeded),
            seconds: metrics.node_seconds.get_or_create_owned(&labels),
            labels,
        }
    }
}

fn budget(percent: f64) -> Arc<TpsBudget> {
    #[expect(clippy::cast_possible_truncation, reason = "a percentage needs no double")]
    let part = (percent / 100.0) as f32;
    let floor = if part > 0.0 { BUDGET_FLOOR } else { 0 };
    Arc::new(TpsBudget::new(BUDGET_TTL, floor, part.clamp(0.0, 10.0)))
}
