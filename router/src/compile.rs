//! From a plan to what is served: every name, expression and address is checked before anything of it answers a request.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use tokio::sync::Notify;

use crate::expression::Expression;
use crate::graph::{
    Batch, Cache, Case, Choice, Graph, Kind, Mapping, Mirror, Names, Node, NodeId, Parallel, Secret, Served, Service,
    Source, Split, Target,
};
use crate::headers::{TRACEPARENT, TRACESTATE};
use crate::metrics::Metrics;
use crate::model::{Demand, Model};
use crate::path::Path;
use crate::plan::{
    ChoicePlan, GraphPlan, HeaderPlan, MappingPlan, Method, NodePlan, ParallelPlan, Plan, Protocol, TargetPlan,
    Transport,
};
use crate::policy::Policies;
use crate::reads::Reads;
use crate::state::{GraphState, NodeState};
use crate::tally::Tally;
use crate::upstream::Address;

/// Why a plan is refused: which graph, where in it, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", if self.graph.is_empty() { String::new() } else { format!("graph {}: ", self.graph) })]
pub struct PlanError {
    pub graph: String,
    pub message: String,
}

/// Names that expressions of a request have.
const OF_REQUEST: &[&str] = &["request", "nodes"];
const OF_RESPONSE: &[&str] = &["request", "response", "nodes"];
const OF_MIRROR: &[&str] = &["request", "primary", "shadow", "nodes"];

/// Makes a plan ready to be served.
///
/// # Arguments
/// * `news` - is told when requests begin or end to wait for a first pod.
/// * `before` - what is served now: nodes that did not change keep their state, graphs too.
///
/// # Errors
/// Anything is wrong; nothing of the plan is served then.
pub fn compile(
    plan: &Plan,
    before: Option<&(Plan, Arc<Served>)>,
    metrics: &Metrics,
    news: &Arc<Notify>,
) -> Result<Served, PlanError> {
    let mut names: BTreeMap<&str, Names> = BTreeMap::new();
    let mut count = 0;
    for graph in &plan.graphs {
        let mut own = Names::new();
        for node in &graph.nodes {
            if own.insert(node.name.clone(), NodeId(count)).is_some() {
                return Err(fault(graph, format!("two nodes are named {:?}", node.name)));
            }
            count += 1;
        }
        if names.insert(&graph.name, own).is_some() {
            return Err(fault(graph, "two graphs have this name".to_owned()));
        }
    }
    let kept = States::of(before);
    let mut served = Served { revision: plan.revision.clone(), ..Served::default() };
    for (index, graph) in plan.graphs.iter().enumerate() {
        let headers = header_names(&graph.headers).map_err(|message| fault(graph, message))?;
        let scope = Scope { plan, names: &names, own: &names[graph.name.as_str()], headers: &headers, index };
        let (ready, nodes) = scope.graph(graph, &kept, metrics).map_err(|message| fault(graph, message))?;
        if let Some(port) = ready.port
            && served.by_port.insert(port, Service::Graph(index)).is_some()
        {
            return Err(fault(graph, format!("port {port} is given away twice")));
        }
        served.graphs.push(Arc::new(ready));
        served.nodes.extend(nodes);
    }
    models(plan, &mut served, before, metrics, news)?;
    check_cycles(&served)?;
    see_reads(&mut served);
    Ok(served)
}

/// Finds what answers depend on that are given to several clients.
fn see_reads(served: &mut Served) {
    let reads: Vec<_> = served
        .nodes
        .iter()
        .map(|node| match &node.kind {
            Kind::Cache(Cache { node, .. }) | Kind::Batch(Batch { node, .. }) => Some(Reads::below(served, *node)),
            _ => None,
        })
        .collect();
    for (node, found) in served.nodes.iter_mut().zip(reads) {
        if let (Kind::Cache(Cache { reads, .. }) | Kind::Batch(Batch { reads, .. }), Some(found)) =
            (&mut node.kind, found)
        {
            *reads = found;
        }
    }
}

/// Adds the models of a plan; requests that wait for one that was there before go on waiting.
fn models(
    plan: &Plan,
    served: &mut Served,
    before: Option<&(Plan, Arc<Served>)>,
    metrics: &Metrics,
    news: &Arc<Notify>,
) -> Result<(), PlanError> {
    for (index, model) in plan.models.iter().enumerate() {
        let wrong =
            |message: String| PlanError { graph: String::new(), message: format!("model {}: {message}", model.name) };
        let known = before.and_then(|(_, served)| served.models.iter().find(|known| *known.name == *model.name));
        let demand = known.map_or_else(|| Demand::new(news), |known| Arc::clone(&known.demand));
        served.models.push(Arc::new(Model::of(model, demand, metrics).map_err(wrong)?));
        if served.by_port.insert(model.port, Service::Model(index)).is_some() {
            return Err(wrong(format!("port {} is given away twice", model.port)));
        }
    }
    Ok(())
}

fn fault(graph: &GraphPlan, message: String) -> PlanError {
    PlanError { graph: graph.name.clone(), message }
}

/// States of what is served now, by graph and by node, with the plans they were made for.
struct States<'a> {
    plan: Option<&'a Plan>,
    graphs: HashMap<&'a str, (&'a GraphPlan, Arc<GraphState>)>,
    tallies: HashMap<&'a str, &'a Arc<Tally>>,
    nodes: HashMap<(&'a str, &'a str), (&'a NodePlan, Arc<NodeState>)>,
}

impl<'a> States<'a> {
    fn of(before: Option<&'a (Plan, Arc<Served>)>) -> Self {
        let mut found = Self { plan: None, graphs: HashMap::new(), tallies: HashMap::new(), nodes: HashMap::new() };
        let Some((plan, served)) = before else { return found };
        found.plan = Some(plan);
        let mut nodes = served.nodes.iter();
        for (graph, ready) in plan.graphs.iter().zip(&served.graphs) {
            found.graphs.insert(&graph.name, (graph, Arc::clone(&ready.state)));
            found.tallies.extend(ready.tally.as_ref().map(|tally| (graph.name.as_str(), tally)));
            for (node, ready) in graph.nodes.iter().zip(nodes.by_ref()) {
                found.nodes.insert((&graph.name, &node.name), (node, Arc::clone(&ready.state)));
            }
        }
        found
    }

    fn graph(&self, plan: &GraphPlan, metrics: &Metrics) -> Arc<GraphState> {
        match self.graphs.get(plan.name.as_str()) {
            Some((before, state)) if before.limits == plan.limits => Arc::clone(state),
            _ => Arc::new(GraphState::new(plan, metrics)),
        }
    }

    /// Goes on counting for the same purpose.
    fn tally(&self, graph: &str, epoch: &str, metrics: &Metrics) -> Arc<Tally> {
        match self.tallies.get(graph) {
            Some(tally) if tally.epoch == epoch => Arc::clone(tally),
            _ => Tally::new(epoch, &metrics.counted),
        }
    }

    fn node(&self, plan: &Plan, graph: &GraphPlan, node: &NodePlan, metrics: &Metrics) -> Arc<NodeState> {
        let name = graph.name.as_str();
        match self.nodes.get(&(name, node.name.as_str())) {
            Some((before, state)) if *before == node && self.answers_alike(plan, graph, node) => Arc::clone(state),
            _ => Arc::new(NodeState::new(name, node, metrics)),
        }
    }

    /// Whether what a cache remembers is what it would be answered now: nothing below it has changed.
    fn answers_alike(&self, plan: &Plan, graph: &GraphPlan, node: &NodePlan) -> bool {
        let before = self.plan.zip(self.graphs.get(graph.name.as_str()));
        node.cache.is_none()
            || before
                .is_some_and(|(before, (known, _))| before.below(known, &node.name) == plan.below(graph, &node.name))
    }
}

/// What names mean within one graph.
struct Scope<'a> {
    plan: &'a Plan,
    names: &'a BTreeMap<&'a str, Names>,
    own: &'a Names,
    headers: &'a [HeaderName],
    index: usize,
}

impl Scope<'_> {
    fn graph(&self, plan: &GraphPlan, kept: &States<'_>, metrics: &Metrics) -> Result<(Graph, Vec<Node>), String> {
        let mut nodes = Vec::with_capacity(plan.nodes.len());
        for (position, node) in plan.nodes.iter().enumerate() {
            let state = kept.node(self.plan, plan, node, metrics);
            nodes.push(
                self.node(plan, node, state).map_err(|words| format!("nodes[{position}] {}: {words}", node.name))?,
            );
        }
        let read = read_nodes(&nodes);
        let mut recorded = false;
        for node in &mut nodes {
            node.recorded = read.as_ref().is_none_or(|names| names.contains(node.cel_name.as_str()));
            recorded |= node.recorded;
        }
        let graph = Graph {
            name: plan.name.as_str().into(),
            revision: plan.revision.clone(),
            port: plan.port,
            protocol: plan.protocol,
            entry: self.find(&plan.entry).map_err(|words| format!("entry: {words}"))?,
            timeout: Duration::from_millis(plan.timeout_millis),
            limits: plan.limits.clone(),
            headers: self.headers.to_vec(),
            recorded,
            state: kept.graph(plan, metrics),
            tally: plan.counted.as_deref().map(|epoch| kept.tally(&plan.name, epoch, metrics)),
        };
        Ok((graph, nodes))
    }

    fn find(&self, name: &str) -> Result<NodeId, String> {
        self.own.get(name).copied().ok_or_else(|| format!("there is no node {name:?}"))
    }

    fn find_all(&self, names: &[String]) -> Result<Vec<NodeId>, String> {
        names.iter().map(|name| self.find(name)).collect()
    }

    fn node(&self, graph: &GraphPlan, plan: &NodePlan, state: Arc<NodeState>) -> Result<Node, String> {
        Ok(Node {
            name: plan.name.as_str().into(),
            cel_name: plan.name.replace('-', "_"),
            graph: self.index,
            kind: self.kind(graph, plan)?,
            policies: Policies::of(plan)?,
            on_error: plan.on_error,
            request: plan.request.as_ref().map(|of| mapping(of, OF_REQUEST)).transpose().map_err(at("request"))?,
            response: plan.response.as_ref().map(|of| mapping(of, OF_RESPONSE)).transpose().map_err(at("response"))?,
            recorded: false,
            state,
        })
    }

    fn kind(&self, graph: &GraphPlan, plan: &NodePlan) -> Result<Kind, String> {
        let mut kinds = Vec::new();
        if let Some(of) = &plan.target {
            kinds.push(Kind::Target(target(of, self.headers).map_err(at("target"))?));
        }
        if let Some(name) = &plan.graph {
            kinds.push(self.nested(name)?);
        }
        if let Some(steps) = &plan.sequence {
            kinds.push(Kind::Sequence(self.find_all(some(steps, "sequence")?)?));
        }
        if let Some(of) = &plan.parallel {
            kinds.push(Kind::Parallel(self.parallel(of).map_err(at("parallel"))?));
        }
        if let Some(cases) = &plan.switch {
            kinds.push(Kind::Switch(self.cases(some(cases, "switch")?)?));
        }
        if let Some(of) = &plan.split {
            let to = of.to.iter().map(|share| Ok((self.find(&share.node)?, share.weight)));
            let to = to.collect::<Result<Vec<_>, String>>()?;
            let total = to.iter().try_fold(0_u32, |sum, (_, weight)| sum.checked_add(*weight));
            let total = total.filter(|&total| total > 0).ok_or("split: the weights add up to nothing")?;
            let sticky = expression(of.sticky.as_deref(), OF_REQUEST).map_err(at("split.sticky"))?;
            kinds.push(Kind::Split(Split { to, total, sticky, lenient: of.lenient }));
        }
        if let Some(choices) = &plan.fallback {
            kinds.push(Kind::Fallback(self.choices(some(choices, "fallback")?)?));
        }
        if let Some(of) = &plan.mirror {
            let compare = expression(of.compare.as_deref(), OF_MIRROR).map_err(at("mirror.compare"))?;
            let (node, to) = (self.find(&of.node)?, self.find_all(&of.to)?);
            kinds.push(Kind::Mirror(Mirror { node, to, percent: of.percent, compare }));
        }
        if let Some(of) = &plan.cache {
            let key = expression(of.key.as_deref(), OF_REQUEST).map_err(at("cache.key"))?;
            kinds.push(Kind::Cache(Cache { node: self.find(&of.node)?, key, reads: Reads::default() }));
        }
        if let Some(of) = &plan.batch {
            if graph.protocol != Protocol::OpenInference {
                return Err("batch works on requests in the Open Inference Protocol only".to_owned());
            }
            let max_wait = Duration::from_millis(of.max_wait_millis);
            let (node, max_size) = (self.find(&of.node)?, of.max_size.max(1));
            kinds.push(Kind::Batch(Batch { node, max_size, max_wait, reads: Reads::default() }));
        }
        let count = kinds.len();
        kinds
            .pop()
            .filter(|_| count == 1)
            .ok_or_else(|| format!("a node is of exactly one kind, and this is of {count}"))
    }

    fn nested(&self, name: &str) -> Result<Kind, String> {
        let position = self.plan.graphs.iter().position(|graph| graph.name == name);
        let graph = position.ok_or_else(|| format!("there is no graph {name:?}"))?;
        let entry = &self.plan.graphs[graph].entry;
        let entry =
            self.names[name].get(entry).copied().ok_or_else(|| format!("graph {name:?} has no node {entry:?}"))?;
        Ok(Kind::Graph { entry, graph })
    }

    fn parallel(&self, plan: &ParallelPlan) -> Result<Parallel, String> {
        let nodes = self.find_all(some(&plan.nodes, "nodes")?)?;
        let quorum = plan.quorum.or((plan.combine.method == Method::First).then_some(1));
        if let Some(quorum) = quorum.filter(|&quorum| quorum == 0 || quorum > nodes.len()) {
            return Err(format!("quorum: {quorum} of {} nodes", nodes.len()));
        }
        for (name, weight) in &plan.combine.weights {
            if !plan.nodes.contains(name) || !weight.is_finite() || *weight < 0.0 {
                return Err(format!("combine.weights: {name}: {weight} is not the weight of one of its nodes"));
            }
        }
        let weights: Vec<f64> =
            plan.nodes.iter().map(|name| plan.combine.weights.get(name).copied().unwrap_or(1.0)).collect();
        Ok(Parallel {
            nodes,
            quorum,
            method: plan.combine.method,
            output: plan.combine.output.clone(),
            ties: plan.combine.ties,
            weights,
        })
    }

    fn cases(&self, plans: &[crate::plan::CasePlan]) -> Result<Vec<Case>, String> {
        let last = plans.len() - 1;
        let case = |(position, plan): (usize, &crate::plan::CasePlan)| {
            let place = format!("switch[{position}].when");
            if plan.when.is_none() && position != last {
                return Err(format!("{place}: only the last case may be without one"));
            }
            let when = expression(plan.when.as_deref(), OF_REQUEST).map_err(|words| format!("{place}: {words}"))?;
            Ok(Case { when, node: self.find(&plan.node)? })
        };
        plans.iter().enumerate().map(case).collect()
    }

    fn choices(&self, plans: &[ChoicePlan]) -> Result<Vec<Choice>, String> {
        let choice = |(position, plan): (usize, &ChoicePlan)| {
            let accept = expression(plan.accept.as_deref(), OF_RESPONSE)
                .map_err(|words| format!("fallback[{position}].accept: {words}"))?;
            let cooldown = Duration::from_millis(plan.cooldown_millis);
            Ok(Choice { node: self.find(&plan.node)?, accept, cooldown })
        };
        plans.iter().enumerate().map(choice).collect()
    }
}

fn some<'a, T>(items: &'a [T], name: &str) -> Result<&'a [T], String> {
    if items.is_empty() { Err(format!("{name} is empty")) } else { Ok(items) }
}

fn at(place: &'static str) -> impl Fn(String) -> String {
    move |words| format!("{place}: {words}")
}

fn expression(text: Option<&str>, names: &[&str]) -> Result<Option<Expression>, String> {
    text.map(|text| Expression::compile(text, names)).transpose().map_err(|error| error.to_string())
}

fn header_names(names: &[String]) -> Result<Vec<HeaderName>, String> {
    names.iter().map(|name| header_name(name)).collect()
}

fn header_name(name: &str) -> Result<HeaderName, String> {
    let name = HeaderName::try_from(name).map_err(|_| format!("{name:?} is no name of a header"))?;
    if crate::headers::is_of_connection(&name) {
        return Err(format!("the header {name} belongs to one connection and is never passed on"));
    }
    Ok(name)
}

/// Makes a target ready.
///
/// # Arguments
/// * `common` - headers of the client that every target of the graph gets.
fn target(plan: &TargetPlan, common: &[HeaderName]) -> Result<Target, String> {
    let address = Address::of(&plan.url, plan.ca.as_deref()).map_err(at("url"))?;
    if plan.transport == Transport::Grpc && plan.protocol != Protocol::OpenInference {
        return Err(format!("transport: there is no gRPC of {:?}, only of OpenInference", plan.protocol));
    }
    if plan.transport == Transport::Grpc && (plan.path.is_some() || !address.base.is_empty()) {
        return Err("transport: gRPC has paths of its own; leave out what stands in path or behind the host".to_owned());
    }
    Ok(Target {
        address,
        path: plan.path.clone(),
        protocol: plan.protocol,
        transport: plan.transport,
        model: plan.model.clone(),
        headers: plan.headers.iter().map(secret).collect::<Result<_, _>>()?,
        passed: passed(common, header_names(&plan.forward)?),
        uri: OnceLock::new(),
    })
}

/// The headers of a client that a target gets, each once wherever it is listed.
fn passed(common: &[HeaderName], own: Vec<HeaderName>) -> Vec<HeaderName> {
    let mut names = Vec::with_capacity(common.len() + own.len() + 2);
    for name in common.iter().cloned().chain(own).chain([TRACEPARENT, TRACESTATE]) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn secret(plan: &HeaderPlan) -> Result<(HeaderName, Secret), String> {
    let name = header_name(&plan.name)?;
    let secret = match (&plan.value, &plan.file) {
        (Some(value), None) => {
            let text = format!("{}{value}", plan.prefix);
            let value = HeaderValue::try_from(text).map_err(|_| format!("{name}: this is no value of a header"))?;
            Secret::Value(value)
        }
        (None, Some(path)) => Secret::File { path: path.clone(), prefix: plan.prefix.clone() },
        _ => return Err(format!("{name}: give exactly one of value and file")),
    };
    Ok((name, secret))
}

fn mapping(plan: &MappingPlan, names: &[&str]) -> Result<Mapping, String> {
    let path = |text: &str| Path::parse(text).map_err(|error| error.to_string());
    let copy = plan.copy.iter().map(|(to, from)| {
        Ok((path(to).map_err(at("copy"))?, source(from, names).map_err(|words| format!("copy.{to}: {words}"))?))
    });
    Ok(Mapping {
        body: expression(plan.body.as_deref(), names).map_err(at("body"))?,
        copy: copy.collect::<Result<_, String>>()?,
        set: plan
            .set
            .iter()
            .map(|(to, value)| Ok((path(to)?, value.clone())))
            .collect::<Result<_, String>>()
            .map_err(at("set"))?,
        remove: plan.remove.iter().map(|of| path(of)).collect::<Result<_, String>>().map_err(at("remove"))?,
    })
}

fn source(text: &str, names: &[&str]) -> Result<Source, String> {
    let wrong = || {
        format!("{text:?} is none of {}", names.iter().map(|name| format!("{name}...")).collect::<Vec<_>>().join(", "))
    };
    let (root, rest) = text.split_once('.').ok_or_else(wrong)?;
    if !names.contains(&root) {
        return Err(wrong());
    }
    let body = |rest: &str| {
        let inner = rest.strip_prefix("body").ok_or_else(|| format!("{text:?}: only a body is copied from"))?;
        let inner = inner.strip_prefix('.').unwrap_or(inner);
        if inner.is_empty() { Ok(Path::default()) } else { Path::parse(inner).map_err(|error| error.to_string()) }
    };
    match root {
        "request" => Ok(Source::Request(body(rest)?)),
        "response" => Ok(Source::Response(body(rest)?)),
        "nodes" => {
            let (name, rest) = rest.split_once('.').ok_or_else(wrong)?;
            Ok(Source::Node(name.replace('-', "_"), body(rest)?))
        }
        _ => Err(wrong()),
    }
}

/// Finds whose answers are read by name; None if some expression takes them all.
fn read_nodes(nodes: &[Node]) -> Option<HashSet<String>> {
    let mut found = HashSet::new();
    for node in nodes {
        let mappings = [&node.request, &node.response].into_iter().flatten();
        for copied in mappings.clone().flat_map(|mapping| &mapping.copy) {
            if let Source::Node(name, _) = &copied.1 {
                found.insert(name.clone());
            }
        }
        for expression in mappings.filter_map(|mapping| mapping.body.as_ref()).chain(expressions_of(&node.kind)) {
            found.extend(expression.nodes()?.into_iter().map(str::to_owned));
        }
    }
    Some(found)
}

/// The expressions of a node besides those of its mappings.
pub fn expressions_of(kind: &Kind) -> Vec<&Expression> {
    match kind {
        Kind::Switch(cases) => cases.iter().filter_map(|case| case.when.as_ref()).collect(),
        Kind::Split(split) => split.sticky.iter().collect(),
        Kind::Fallback(choices) => choices.iter().filter_map(|choice| choice.accept.as_ref()).collect(),
        Kind::Mirror(mirror) => mirror.compare.iter().collect(),
        Kind::Cache(cache) => cache.key.iter().collect(),
        Kind::Target(_) | Kind::Graph { .. } | Kind::Sequence(_) | Kind::Parallel(_) | Kind::Batch(_) => Vec::new(),
    }
}

/// Nodes that a node may ask.
pub fn children(kind: &Kind) -> Vec<NodeId> {
    match kind {
        Kind::Target(_) => Vec::new(),
        Kind::Graph { entry, .. } => vec![*entry],
        Kind::Sequence(steps) => steps.clone(),
        Kind::Parallel(parallel) => parallel.nodes.clone(),
        Kind::Switch(cases) => cases.iter().map(|case| case.node).collect(),
        Kind::Split(split) => split.to.iter().map(|(node, _)| *node).collect(),
        Kind::Fallback(choices) => choices.iter().map(|choice| choice.node).collect(),
        Kind::Mirror(mirror) => std::iter::once(mirror.node).chain(mirror.to.iter().copied()).collect(),
        Kind::Cache(cache) => vec![cache.node],
        Kind::Batch(batch) => vec![batch.node],
    }
}

/// Refuses nodes that ask themselves through others, also through other graphs.
fn check_cycles(served: &Served) -> Result<(), PlanError> {
    let mut clean = vec![false; served.nodes.len()];
    for start in 0..served.nodes.len() {
        let mut way = Vec::new();
        descend(served, NodeId(start), &mut way, &mut clean)?;
    }
    Ok(())
}

fn descend(served: &Served, at: NodeId, way: &mut Vec<NodeId>, clean: &mut [bool]) -> Result<(), PlanError> {
    if clean[at.0] {
        return Ok(());
    }
    if let Some(begin) = way.iter().position(|&step| step == at) {
        let round = way[begin..].iter().chain([&at]).map(|&step| served.node(step).name.to_string());
        let message = format!("nodes ask one another in a circle: {}", round.collect::<Vec<_>>().join(" -> "));
        return Err(PlanError { graph: served.graphs[served.node(at).graph].name.to_string(), message });
    }
    way.push(at);
    for child in children(&served.node(at).kind) {
        descend(served, child, way, clean)?;
    }
    way.pop();
    clean[at.0] = true;
    Ok(())
}
