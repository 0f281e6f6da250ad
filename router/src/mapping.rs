//! How one body is made of others: by an expression, by copies, by values, by leaving out.

use serde_json::Value;

use crate::call::Names;
use crate::graph::{Mapping, Source};
use crate::message::Body;

/// Why a body cannot be made.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong {
    pub words: String,
    /// It is for what the client asked, and not for what a node answered.
    pub asked: bool,
}

/// Makes a body.
///
/// # Arguments
/// * `response` - the answer that is mapped, if it is one.
/// * `body` - what is changed, unless an expression gives another.
///
/// # Errors
/// An expression has no value, or something is not where a path says.
pub fn apply(mapping: &Mapping, names: &Names<'_>, response: Option<&Body>, body: &Body) -> Result<Body, Wrong> {
    let asked = mapping.body.is_none() && body.is_same(names.asked());
    let of_body = |words| Wrong { words, asked };
    let mut value = match &mapping.body {
        Some(expression) => expression
            .evaluate(names)
            .map_err(|error| Wrong { words: format!("body: {error}"), asked: expression.is_of_request() })?,
        None => body.json().map_err(|error| of_body(format!("what is mapped is not JSON: {error}")))?.clone(),
    };
    for (to, from) in &mapping.copy {
        let found = find(from, names, response).map_err(|words| Wrong {
            words: format!("copy.{to}: {words}"),
            asked: matches!(from, Source::Request(_)),
        })?;
        to.put(&mut value, found).map_err(|error| of_body(format!("copy.{error}")))?;
    }
    for (to, set) in &mapping.set {
        to.put(&mut value, set.clone()).map_err(|error| of_body(format!("set.{error}")))?;
    }
    for path in &mapping.remove {
        path.remove(&mut value);
    }
    Ok(Body::of(value))
}

fn find(from: &Source, names: &Names<'_>, response: Option<&Body>) -> Result<Value, String> {
    let (what, body, path) = match from {
        Source::Request(path) => ("request".to_owned(), Some(names.asked()), path),
        Source::Response(path) => ("response".to_owned(), response, path),
        Source::Node(name, path) => (format!("nodes.{name}"), names.answer(name), path),
    };
    let body = body.ok_or_else(|| format!("{what} has not answered"))?;
    let value = body.json().map_err(|error| format!("the body of {what} is not JSON: {error}"))?;
    path.get(value).cloned().ok_or_else(|| format!("{what}.body has no {path}"))
}
