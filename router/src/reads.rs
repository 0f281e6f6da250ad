//! What an answer depends on besides the body that is asked: whoever gives an answer to several clients has to know.

use std::collections::BTreeSet;

use http::HeaderName;

use crate::call::{Call, Names};
use crate::compile::{children, expressions_of};
use crate::expression::{Expression, PER_REQUEST, Scope};
use crate::graph::{Kind, Mapping, NodeId, Served, Source};
use crate::message::Body;
use crate::path::Step;

/// Headers that name one request among others, and say nothing of what is asked or by whom.
const OF_TRACES: [&str; 7] =
    ["b3", "baggage", "traceparent", "tracestate", "x-correlation-id", "x-request-id", "x-rondo-timeout-ms"];

/// What the nodes below one read of a client's request, and of what other nodes have answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reads {
    /// Headers of the client that targets are given because they ask for them: they may tell who the client is.
    pub forwarded: Vec<HeaderName>,
    /// Other headers that reach targets, or that expressions read; None if one reads all.
    pub headers: Option<Vec<HeaderName>>,
    pub path: bool,
    /// The body of the request, which may be another than that of the question.
    pub body: bool,
    /// Of that, what requests of one batch do not have in common.
    pub rows: bool,
    /// Names of nodes in expressions; None if one reads all answers.
    pub nodes: Option<BTreeSet<String>>,
}

impl Reads {
    /// What a node and all nodes below it read.
    pub fn below(served: &Served, id: NodeId) -> Self {
        let (mut reads, mut seen, mut open) = (
            Self { headers: Some(Vec::new()), nodes: Some(BTreeSet::new()), ..Self::default() },
            BTreeSet::new(),
            vec![id],
        );
        while let Some(at) = open.pop() {
            if seen.insert(at.0) {
                reads.add(served, at);
                open.extend(children(&served.node(at).kind));
            }
        }
        reads
    }

    fn add(&mut self, served: &Served, id: NodeId) {
        let node = served.node(id);
        if let Kind::Target(target) = &node.kind {
            let telling = target.passed.iter().filter(|name| !OF_TRACES.contains(&name.as_str())).cloned();
            let common = &served.graphs[node.graph].headers;
            let (of_graph, forwarded): (Vec<_>, Vec<_>) = telling.partition(|name| common.contains(name));
            self.add_headers(of_graph.into_iter());
            add(&mut self.forwarded, forwarded.into_iter());
        }
        for expression in expressions_of(&node.kind) {
            self.add_expression(expression);
        }
        for mapping in [&node.request, &node.response].into_iter().flatten() {
            self.add_mapping(mapping);
        }
    }

    fn add_headers(&mut self, names: impl Iterator<Item = HeaderName>) {
        if let Some(known) = &mut self.headers {
            add(known, names);
        }
    }

    fn add_mapping(&mut self, mapping: &Mapping) {
        mapping.body.iter().for_each(|expression| self.add_expression(expression));
        for (_, source) in &mapping.copy {
            match source {
                Source::Request(path) => {
                    self.body = true;
                    self.rows |= match path.0.first() {
                        Some(Step::Member(name)) => PER_REQUEST.contains(&name.as_str()),
                        _ => true,
                    };
                }
                Source::Response(_) => {}
                Source::Node(name, _) => {
                    if let Some(nodes) = &mut self.nodes {
                        nodes.insert(name.clone());
                    }
                }
            }
        }
    }

    fn add_expression(&mut self, expression: &Expression) {
        self.body |= expression.reads("request", "body");
        self.rows |= expression.reads_rows();
        self.path |= expression.reads("request", "path");
        match expression.headers() {
            // A name that is none of HTTP is never there.
            Some(names) => self.add_headers(names.into_iter().filter_map(|name| HeaderName::try_from(name).ok())),
            None => self.headers = None,
        }
        self.nodes = self.nodes.take().zip(expression.nodes()).map(|(mut known, names)| {
            known.extend(names.into_iter().map(str::to_owned));
            known
        });
    }

    /// Writes all that an answer depends on besides the question, if there is anything.
    pub fn write(&self, call: &Call, question: &Body, into: &mut impl FnMut(&[u8])) {
        self.write_forwarded(call, into);
        let asked = &call.asked;
        match &self.headers {
            None => asked.headers.iter().for_each(|(name, value)| part(into, name.as_str(), value.as_bytes())),
            Some(names) => write_headers(names, call, into),
        }
        if self.path {
            part(into, "path", asked.path.as_bytes());
        }
        if self.body && asked.body.received() != question.received() {
            part(into, "body", asked.body.received());
        }
        if self.nodes.as_ref().is_none_or(|nodes| !nodes.is_empty()) {
            self.write_answers(&Names::of(call), into);
        }
    }

    /// Writes what may tell who the client is.
    pub fn write_forwarded(&self, call: &Call, into: &mut impl FnMut(&[u8])) {
        write_headers(&self.forwarded, call, into);
    }

    fn write_answers(&self, names: &Names<'_>, into: &mut impl FnMut(&[u8])) {
        let mut answered = names.answered();
        answered.sort_unstable();
        for name in answered.into_iter().filter(|&name| self.nodes.as_ref().is_none_or(|read| read.contains(name))) {
            let (status, body) = (names.node(name).and_then(|seen| seen.status), names.answer(name));
            part(into, name, &status.unwrap_or_default().to_be_bytes());
            part(into, name, body.map(Body::received).map(AsRef::as_ref).unwrap_or_default());
        }
    }
}

fn add(known: &mut Vec<HeaderName>, names: impl Iterator<Item = HeaderName>) {
    for name in names {
        if !known.contains(&name) {
            known.push(name);
        }
    }
}

fn write_headers(names: &[HeaderName], call: &Call, into: &mut impl FnMut(&[u8])) {
    for name in names {
        call.asked.headers.get_all(name).iter().for_each(|value| part(into, name.as_str(), value.as_bytes()));
    }
}

/// Writes a part so that no other parts look the same.
fn part(into: &mut impl FnMut(&[u8]), name: &str, value: &[u8]) {
    for text in [name.as_bytes(), value] {
        into(&text.len().to_be_bytes());
        into(text);
    }
}
