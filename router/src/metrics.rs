//! Counters and histograms in the Prometheus format, with handles that cost no lookup on a request's path.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tokio::sync::Notify;

/// Upper bounds of the buckets, in seconds: from a cached answer to a long generation.
const BUCKETS: [f64; 17] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0];

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// Which graph.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfGraph {
    pub graph: Arc<str>,
}

/// Which graph, and the status that its client got.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfGraphStatus {
    pub graph: Arc<str>,
    pub code: u16,
}

/// Which node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfNode {
    pub graph: Arc<str>,
    pub node: Arc<str>,
}

/// Which node, and how an attempt of it ended: `2xx` to `5xx`, or the word of a failure.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfAttempt {
    pub graph: Arc<str>,
    pub node: Arc<str>,
    pub outcome: &'static str,
}

/// Which revision of a ModelDeployment, and the status that the client got.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfRevision {
    pub model: Arc<str>,
    pub revision: Arc<str>,
    pub code: u16,
}

/// Which revision.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfRevisionOnly {
    pub model: Arc<str>,
    pub revision: Arc<str>,
}

/// All metrics of the router.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Told whenever a graph that is counted for a release has answered.
    pub counted: Arc<Notify>,
    pub graph_requests: Family<OfGraphStatus, Counter>,
    pub graph_seconds: Histograms<OfGraph>,
    pub graph_in_flight: Family<OfGraph, Gauge>,
    pub attempts: Family<OfAttempt, Counter>,
    pub node_seconds: Histograms<OfNode>,
    pub retries: Family<OfNode, Counter>,
    pub hedges: Family<OfNode, Counter>,
    pub expression_errors: Family<OfNode, Counter>,
    pub agreements: Family<OfNode, Counter>,
    pub disagreements: Family<OfNode, Counter>,
    pub shadows_dropped: Family<OfNode, Counter>,
    pub cache_hits: Family<OfNode, Counter>,
    pub cache_misses: Family<OfNode, Counter>,
    pub batches: Family<OfNode, Counter>,
    pub batched: Family<OfNode, Counter>,
    pub revision_requests: Family<OfRevision, Counter>,
    pub revision_seconds: Histograms<OfRevisionOnly>,
    pub held: Family<OfGraph, Gauge>,
    pub reloads: Counter,
    pub refused: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("rondo");
        let into = &mut registry;
        Self {
            graph_requests: counter(into, "graph_requests", "Requests to a graph by the status its client got"),
            graph_seconds: histogram(into, "graph_duration", "From a request to the head of its answer"),
            graph_in_flight: gauge(into, "graph_requests_in_flight", "Requests that a graph works on"),
            attempts: counter(into, "node_attempts", "Attempts of a node by how they ended"),
            node_seconds: histogram(into, "node_duration", "How long a node took with all its attempts"),
            retries: counter(into, "node_retries", "Attempts of a node after the first"),
            hedges: counter(into, "node_hedges", "Second requests before the first had answered"),
            expression_errors: counter(into, "expression_errors", "Conditions without a value, which count as false"),
            agreements: counter(into, "mirror_agreements", "Compared answers that agree"),
            disagreements: counter(into, "mirror_disagreements", "Compared answers that do not agree"),
            shadows_dropped: counter(into, "mirror_dropped", "Requests that were not mirrored because too many were"),
            cache_hits: counter(into, "cache_hits", "Answers from the cache"),
            cache_misses: counter(into, "cache_misses", "Answers that were not in the cache"),
            batches: counter(into, "batches", "Batches that were sent"),
            batched: counter(into, "batched_requests", "Requests that were sent in batches"),
            revision_requests: counter(into, "revision_requests", "Requests to a revision of a model by status"),
            revision_seconds: histogram(into, "revision_duration", "From a request to the head of its answer"),
            held: gauge(into, "model_requests_held", "Requests that wait for a first pod"),
            reloads: {
                let reloads = Counter::default();
                into.register("plan_reloads", "Plans that were taken into service", reloads.clone());
                reloads
            },
            refused: {
                let refused = Counter::default();
                into.register("plan_refusals", "Plans that were refused", refused.clone());
                refused
            },
            counted: Arc::default(),
            registry,
        }
    }
}

impl Metrics {
    /// Gives all metrics as OpenMetrics text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

fn counter<L>(into: &mut Registry, name: &str, help: &str) -> Family<L, Counter>
where
    Family<L, Counter>: prometheus_client::registry::Metric + Clone + Default,
{
    let family = Family::<L, Counter>::default();
    into.register(name, help, family.clone());
    family
}

fn gauge<L>(into: &mut Registry, name: &str, help: &str) -> Family<L, Gauge>
where
    Family<L, Gauge>: prometheus_client::registry::Metric + Clone + Default,
{
    let family = Family::<L, Gauge>::default();
    into.register(name, help, family.clone());
    family
}

fn histogram<L>(into: &mut Registry, name: &str, help: &str) -> Histograms<L>
where
    L: Clone + std::hash::Hash + Eq,
    Histograms<L>: prometheus_client::registry::Metric + Clone,
{
    let family: Histograms<L> = Family::new_with_constructor(|| Histogram::new(BUCKETS));
    into.register_with_unit(name, help, Unit::Seconds, family.clone());
    family
}
