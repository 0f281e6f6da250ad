//! The plan: what the operator tells the router to serve, as JSON in a ConfigMap.
//!
//! Its form is this module's types and nothing else; the operator writes the same form from `rondo.core.render.plan`. A
//! field that is not known here makes the whole plan refused, so an older router never serves half of what is meant.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// All that one router serves.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan {
    /// A name for exactly this content; replicas report which one they serve.
    pub revision: String,
    #[serde(default)]
    pub graphs: Vec<GraphPlan>,
    #[serde(default)]
    pub models: Vec<ModelPlan>,
}

/// A ModelGraph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GraphPlan {
    /// Unique among graphs; other graphs of the plan name it as a node.
    pub name: String,
    /// A name for this graph's content, reported per replica.
    pub revision: String,
    /// The port where it answers; none if it only answers inside other graphs.
    #[serde(default)]
    pub port: Option<u16>,
    /// What clients speak.
    pub protocol: Protocol,
    /// The node that answers.
    pub entry: String,
    /// Deadline of a whole request, in milliseconds.
    pub timeout_millis: u64,
    #[serde(default)]
    pub limits: Limits,
    /// Headers of the client that go to every target, lower case.
    #[serde(default)]
    pub headers: Vec<String>,
    /// What requests that come through other graphs are counted for, such as a step of a release, and told with the
    /// report; another value counts from zero. Without it they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<String>,
    pub nodes: Vec<NodePlan>,
}

/// A dialect of HTTP in which models are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Protocol {
    OpenAI,
    OpenInference,
    KServeV1,
    #[serde(rename = "JSON")]
    Json,
}

/// What a graph takes at most.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of a request, and of an answer that has to be read as a whole.
    pub body: usize,
    /// Requests at once; more are refused with 429.
    pub in_flight: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body: 4 << 20, in_flight: 256 }
    }
}

/// A node: exactly one of the kinds, and what holds for any.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodePlan {
    /// Unique within the graph; in CEL a hyphen is written `_`.
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetPlan>,
    /// A graph of the same plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graph: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel: Option<ParallelPlan>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switch: Option<Vec<CasePlan>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<SplitPlan>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Vec<ChoicePlan>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<MirrorPlan>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CachePlan>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchPlan>,

    /// Limit of one attempt of this node, in milliseconds, within what is left of the graph's deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_millis: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPlan>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hedge: Option<HedgePlan>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit_breaker: Option<BreakerPlan>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<ConcurrencyPlan>,
    #[serde(default)]
    pub on_error: OnError,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<MappingPlan>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<MappingPlan>,
}

impl NodePlan {
    /// Names of the nodes of its graph that it may ask.
    pub fn asks(&self) -> Vec<&str> {
        let mut names: Vec<&String> = Vec::new();
        names.extend(self.sequence.iter().flatten());
        names.extend(self.parallel.iter().flat_map(|of| &of.nodes));
        names.extend(self.switch.iter().flatten().map(|case| &case.node));
        names.extend(self.split.iter().flat_map(|of| &of.to).map(|share| &share.node));
        names.extend(self.fallback.iter().flatten().map(|choice| &choice.node));
        names.extend(self.mirror.iter().flat_map(|of| std::iter::once(&of.node).chain(&of.to)));
        names.extend(self.cache.iter().map(|of| &of.node));
        names.extend(self.batch.iter().map(|of| &of.node));
        names.into_iter().map(String::as_str).collect()
    }
}

impl Plan {
    /// A node with all that it may ask, also in other graphs, and what of their graphs has a say in answers.
    pub fn below<'a>(&'a self, graph: &'a GraphPlan, node: &str) -> Vec<(Protocol, &'a [String], &'a NodePlan)> {
        let mut found: Vec<(Protocol, &'a [String], &'a NodePlan)> = Vec::new();
        let mut left = vec![(graph, node)];
        while let Some((graph, name)) = left.pop() {
            let Some(node) = graph.nodes.iter().find(|node| node.name == name) else { continue };
            if found.iter().any(|(.., known)| std::ptr::eq(*known, node)) {
                continue;
            }
            found.push((graph.protocol, &graph.headers, node));
            left.extend(node.asks().into_iter().map(|name| (graph, name)));
            let inner = node.graph.as_ref().and_then(|name| self.graphs.iter().find(|graph| graph.name == *name));
            left.extend(inner.map(|graph| (graph, graph.entry.as_str())));
        }
        found
    }
}

/// What happens when a node fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnError {
    #[default]
    Fail,
    /// A sequence goes on with the last answer, a parallel node leaves it out.
    Skip,
}

/// A server that is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetPlan {
    /// Scheme, host, port and a path before that of the protocol, such as `http://small.team.svc` or
    /// `https://api.example.com/v1`.
    pub url: String,
    pub protocol: Protocol,
    /// Over what it is asked.
    #[serde(default)]
    pub transport: Transport,
    /// The path of every request, instead of the protocol's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The model's name at the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// A file with the certificates, in PEM, of the only ones that may vouch for a server of https, below the router's folder
    /// of credentials; without it the public authorities may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// Headers that are set on every request.
    #[serde(default)]
    pub headers: Vec<HeaderPlan>,
    /// Headers of the client that this target gets besides the graph's, `authorization` and `cookie` included.
    #[serde(default)]
    pub forward: Vec<String>,
}

/// Over what a protocol is spoken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transport {
    /// HTTP/1.1 and JSON.
    #[default]
    #[serde(rename = "HTTP")]
    Http,
    /// gRPC over HTTP/2, without TLS where the address begins with `http`. There is one for the Open Inference Protocol.
    #[serde(rename = "GRPC")]
    Grpc,
}

/// A header and where its value comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderPlan {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// A file that holds it, below the router's folder of credentials; read anew when it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Stands before the file's content, such as `Bearer `.
    #[serde(default)]
    pub prefix: String,
}

/// Several nodes at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParallelPlan {
    pub nodes: Vec<String>,
    #[serde(default)]
    pub combine: CombinePlan,
    /// How many have to answer; all if it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum: Option<usize>,
}

/// How several answers become one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CombinePlan {
    #[serde(default)]
    pub method: Method,
    /// The output that is combined, by its name in the protocol; the first, or all, if it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    #[serde(default)]
    pub ties: Ties,
    /// Of `Weighted`, by node.
    #[serde(default)]
    pub weights: BTreeMap<String, f64>,
}

/// Ways to combine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Method {
    /// An object of each answer by the node's name.
    #[default]
    Map,
    /// For each element, the value that most nodes gave.
    Vote,
    /// The mean of each element.
    Mean,
    /// The mean of each element, by weight.
    Weighted,
    /// The answer that comes first.
    First,
    /// The outputs of all nodes, one after the other.
    Concat,
}

/// What a vote without a winner gives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ties {
    /// The value of the node that is written first among those that tie.
    #[default]
    First,
    /// The lowest value.
    Lowest,
    /// No answer: the node fails.
    Fail,
}

/// A way that a switch can take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CasePlan {
    /// CEL over `request`; always if it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    pub node: String,
}

/// Divides the traffic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SplitPlan {
    pub to: Vec<SharePlan>,
    /// CEL over `request`: the same value goes the same way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<String>,
    /// A request for which `sticky` has no value goes any way instead of failing.
    #[serde(default)]
    pub lenient: bool,
}

/// A part of the traffic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SharePlan {
    pub node: String,
    pub weight: u32,
}

/// A node that a fallback tries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChoicePlan {
    pub node: String,
    /// CEL over `request` and `response`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept: Option<String>,
    /// For so long a node that asked for it by Retry-After, or failed, is passed over; 0 means never.
    #[serde(default)]
    pub cooldown_millis: u64,
}

/// Answers by one node, and shows some requests to others as well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MirrorPlan {
    pub node: String,
    pub to: Vec<String>,
    #[serde(default = "hundred")]
    pub percent: f64,
    /// CEL over `request`, `primary` and `shadow`: whether they agree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compare: Option<String>,
}

fn hundred() -> f64 {
    100.0
}

/// Remembers answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CachePlan {
    pub node: String,
    /// CEL over `request`; the whole body if it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    pub ttl_millis: u64,
    /// Bytes of all answers that are kept.
    pub max_bytes: u64,
}

/// Gathers requests in the Open Inference Protocol into one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BatchPlan {
    pub node: String,
    /// Rows of a batch.
    pub max_size: usize,
    /// For so long the first request of a batch waits for others.
    pub max_wait_millis: u64,
}

/// How often a node is tried again, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RetryPlan {
    /// Tries after the first.
    pub limit: u32,
    /// Statuses that are tried again.
    #[serde(default = "retried_statuses")]
    pub statuses: Vec<u16>,
    /// Failures without a status that are tried again.
    #[serde(default = "retried_failures")]
    pub failures: Vec<RetryOn>,
    #[serde(default = "backoff")]
    pub backoff_millis: u64,
    #[serde(default = "max_backoff")]
    pub max_backoff_millis: u64,
    /// Tries beyond the first, as a part of all first tries of the last ten seconds.
    #[serde(default = "budget")]
    pub budget_percent: f64,
}

/// Failures without a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RetryOn {
    Connect,
    Timeout,
    /// The connection broke before the answer was complete.
    Reset,
}

fn retried_statuses() -> Vec<u16> {
    vec![429, 502, 503, 504]
}

fn retried_failures() -> Vec<RetryOn> {
    vec![RetryOn::Connect, RetryOn::Reset]
}

fn backoff() -> u64 {
    25
}

fn max_backoff() -> u64 {
    1000
}

fn budget() -> f64 {
    20.0
}

/// A second request before the first has answered; the first answer counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HedgePlan {
    /// After so long; the 95th percentile of the last answers if it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_millis: Option<u64>,
    /// Hedges, as a part of all requests.
    #[serde(default = "hedged")]
    pub budget_percent: f64,
}

fn hedged() -> f64 {
    10.0
}

/// When a node is left alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BreakerPlan {
    /// Failures within the window that open the circuit.
    pub failures: u32,
    pub window_millis: u64,
    /// For so long nothing is sent; then one request probes.
    pub cooldown_millis: u64,
}

/// How many requests a node has at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConcurrencyPlan {
    pub limit: usize,
    /// Requests that wait for a place; more are refused with 429.
    #[serde(default)]
    pub queue: usize,
}

/// How one body is made of others; applied in the order of the fields.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MappingPlan {
    /// CEL that gives the whole body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Paths in the new body and where their values are found, such as `inputs: nodes.clean.body.outputs`.
    #[serde(default)]
    pub copy: BTreeMap<String, String>,
    /// Paths in the new body and their values.
    #[serde(default)]
    pub set: BTreeMap<String, Value>,
    /// Paths that are taken out.
    #[serde(default)]
    pub remove: Vec<String>,
}

/// A ModelDeployment whose requests go through the router.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelPlan {
    pub name: String,
    pub port: u16,
    pub revisions: Vec<RevisionPlan>,
    /// Holds requests while no revision has a pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldPlan>,
}

/// A revision of a ModelDeployment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RevisionPlan {
    pub name: String,
    pub url: String,
    /// A part of the sum of all weights.
    pub weight: u32,
}

/// How requests wait for a first pod.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HoldPlan {
    /// Requests that wait at most; more are refused with 503.
    pub max: usize,
    /// How long a request waits at most.
    pub timeout_millis: u64,
}
