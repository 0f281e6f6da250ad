//! A plan, checked and made ready to run: names are indices, expressions programs, addresses parsed.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};
use serde_json::Value;

use crate::credentials::Wanted;
use crate::expression::Expression;
use crate::model::Model;
use crate::path::Path;
use crate::plan::{Limits, Method, OnError, Protocol, Ties, Transport};
use crate::policy::Policies;
use crate::reads::Reads;
use crate::state::{GraphState, NodeState};
use crate::tally::Tally;
use crate::upstream::Address;

/// The place of a node among all of a plan's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeId(pub usize);

/// Everything that is served, of one revision of the plan. It never changes; another revision is another one.
#[derive(Debug, Default)]
pub struct Served {
    pub revision: String,
    pub graphs: Vec<Arc<Graph>>,
    pub nodes: Vec<Node>,
    pub models: Vec<Arc<Model>>,
    pub by_port: HashMap<u16, Service>,
}

/// What answers on a port, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    Graph(usize),
    Model(usize),
}

impl Served {
    /// The files that its targets want.
    pub fn credentials(&self) -> impl Iterator<Item = Wanted<'_>> {
        let targets = self.nodes.iter().filter_map(|node| match &node.kind {
            Kind::Target(target) => Some(target),
            _ => None,
        });
        targets.flat_map(|target| {
            let headers = target.headers.iter().filter_map(|(_, secret)| match secret {
                Secret::File { path, prefix } => Some(Wanted::Header { path, prefix }),
                Secret::Value(_) => None,
            });
            headers.chain(target.address.server.ca.as_deref().map(|path| Wanted::Authorities { path }))
        })
    }

    /// The node of an id of this plan.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }
}

/// A graph.
#[derive(Debug)]
pub struct Graph {
    pub name: Arc<str>,
    pub revision: String,
    pub port: Option<u16>,
    pub protocol: Protocol,
    pub entry: NodeId,
    pub timeout: Duration,
    pub limits: Limits,
    pub headers: Vec<HeaderName>,
    /// Whether any expression reads the answers of nodes by name.
    pub recorded: bool,
    pub state: Arc<GraphState>,
    /// Counts what comes through other graphs, if the plan says so.
    pub tally: Option<Arc<Tally>>,
}

/// A node.
#[derive(Debug)]
pub struct Node {
    pub name: Arc<str>,
    /// Its name in expressions.
    pub cel_name: String,
    pub graph: usize,
    pub kind: Kind,
    pub policies: Policies,
    pub on_error: OnError,
    pub request: Option<Mapping>,
    pub response: Option<Mapping>,
    /// Whether an expression reads its answer later on.
    pub recorded: bool,
    pub state: Arc<NodeState>,
}

/// What a node does.
#[derive(Debug)]
pub enum Kind {
    Target(Target),
    Graph { entry: NodeId, graph: usize },
    Sequence(Vec<NodeId>),
    Parallel(Parallel),
    Switch(Vec<Case>),
    Split(Split),
    Fallback(Vec<Choice>),
    Mirror(Mirror),
    Cache(Cache),
    Batch(Batch),
}

/// A server.
#[derive(Debug)]
pub struct Target {
    pub address: Address,
    pub path: Option<String>,
    pub protocol: Protocol,
    pub transport: Transport,
    pub model: Option<String>,
    pub headers: Vec<(HeaderName, Secret)>,
    /// Headers of the client that it gets, each once.
    pub passed: Vec<HeaderName>,
    /// The path of all requests, if there is one, once it was asked.
    pub uri: OnceLock<Uri>,
}

/// The value of a header.
#[derive(Debug)]
pub enum Secret {
    Value(HeaderValue),
    File { path: PathBuf, prefix: String },
}

/// Several nodes at once.
#[derive(Debug)]
pub struct Parallel {
    pub nodes: Vec<NodeId>,
    /// How many have to answer; all that may not be left out if it is not given.
    pub quorum: Option<usize>,
    pub method: Method,
    pub output: Option<String>,
    pub ties: Ties,
    pub weights: Vec<f64>,
}

/// A way that a switch can take.
#[derive(Debug)]
pub struct Case {
    pub when: Option<Expression>,
    pub node: NodeId,
}

/// Shares of the traffic.
#[derive(Debug)]
pub struct Split {
    pub to: Vec<(NodeId, u32)>,
    pub total: u32,
    pub sticky: Option<Expression>,
    /// Whether a request without a value of `sticky` goes any way instead of failing.
    pub lenient: bool,
}

/// A node that a fallback tries.
#[derive(Debug)]
pub struct Choice {
    pub node: NodeId,
    pub accept: Option<Expression>,
    pub cooldown: Duration,
}

/// Shows requests to others as well.
#[derive(Debug)]
pub struct Mirror {
    pub node: NodeId,
    pub to: Vec<NodeId>,
    pub percent: f64,
    pub compare: Option<Expression>,
}

/// Remembers answers.
#[derive(Debug)]
pub struct Cache {
    pub node: NodeId,
    pub key: Option<Expression>,
    /// What its answers depend on.
    pub reads: Reads,
}

/// Gathers requests.
#[derive(Debug)]
pub struct Batch {
    pub node: NodeId,
    pub max_size: usize,
    pub max_wait: Duration,
    /// What its answers depend on, so what requests of one batch have in common.
    pub reads: Reads,
}

/// How a body is made of others.
#[derive(Debug, Default)]
pub struct Mapping {
    pub body: Option<Expression>,
    pub copy: Vec<(Path, Source)>,
    pub set: Vec<(Path, Value)>,
    pub remove: Vec<Path>,
}

/// Where a value is copied from.
#[derive(Debug)]
pub enum Source {
    Request(Path),
    Response(Path),
    Node(String, Path),
}

/// Indices of the nodes of a graph by name.
pub type Names = BTreeMap<String, NodeId>;
