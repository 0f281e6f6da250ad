//! A target: one request to a server, its answer as it comes or as a whole.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::response::Parts;
use http::uri::{InvalidUri, PathAndQuery};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use http_body::Body as HttpBody;
use http_body_util::{BodyExt, Collected, Limited};
use serde_json::Value;

use crate::call::{Call, Outcome, Wire};
use crate::exchange::{Coming, Origin};
use crate::graph::{Node, Secret, Target};
use crate::headers::{self, ANSWERED, HOPS, TIMEOUT};
use crate::linger::Lingering;
use crate::message::{Answer, AnswerBody, Body, Failure, FailureKind, Question, Stream, Usage};
use crate::nodes::rpc;
use crate::plan::{Protocol, Transport};
use crate::protocol::{Operation, adapt, target_path};

/// An answer of at most so many bytes is read as a whole even if it could be passed on as it comes: what breaks half way
/// can be asked again then.
const WHOLE: u64 = 256 << 10;

/// Asks a server.
///
/// # Errors
/// There is no connection, it broke, or the answer is not what the protocol says.
pub async fn ask(call: &Arc<Call>, node: &Node, target: &Target, question: Question, usage: Usage) -> Outcome {
    if target.transport == Transport::Grpc {
        return Box::pin(rpc::ask(call, node, target, question, usage)).await;
    }
    let direct = target.protocol == call.graph().protocol;
    let stream = usage == Usage::Passed && direct && call.asked.wire == Wire::Http;
    let request = prepare(call, node, target, &question, stream)?;
    let origin = Arc::clone(target.address.origin(&call.tools.upstream));
    let (name, limit) = (Arc::clone(&node.name), call.graph().limits.body);
    let (head, given) = Lingering::new(exchange(origin, request, name, stream, limit)).await?;
    let (status, headers) = (head.status, answered(call, &head.headers));
    let body = match given {
        Given::Coming(stream) => AnswerBody::Stream(stream),
        Given::Whole(bytes) if status.is_success() => {
            AnswerBody::Full(adapted(call, node, target, &question, Body::new(bytes))?)
        }
        Given::Whole(bytes) => AnswerBody::Full(Body::new(bytes)),
    };
    Ok(Answer { status, headers, body })
}

/// The body of what a server answers.
enum Given {
    Whole(Bytes),
    /// Begun, and passed on as it comes.
    Coming(Stream),
}

/// Sends a request and takes its answer: the head, and the body as a whole unless it is better passed on and may be.
async fn exchange(
    origin: Arc<Origin>,
    request: Request<Stream>,
    name: Arc<str>,
    stream: bool,
    limit: usize,
) -> Result<(Parts, Given), Failure> {
    let response = origin.send(request).await.map_err(|error| refused(&name, error.is_connect(), &error))?;
    let passed = stream && is_stream(&response);
    let (head, body) = response.into_parts();
    let given = if passed {
        Given::Coming(begin(&name, body).await?)
    } else {
        Given::Whole(collect(&name, body, limit).await?.to_bytes())
    };
    Ok((head, given))
}

/// Puts an answer into what the graph speaks.
pub(super) fn adapted(
    call: &Call,
    node: &Node,
    target: &Target,
    question: &Question,
    body: Body,
) -> Result<Body, Failure> {
    let (from, to) = (target.protocol, call.graph().protocol);
    if from == to {
        return Ok(body);
    }
    let asked = question.body.json().unwrap_or(&Value::Null);
    adapt::answer(from, to, call.asked.operation, &body, &call.graph().name, asked)
        .map_err(|words| Failure::new(FailureKind::BadAnswer, &node.name, words))
}

fn prepare(
    call: &Call,
    node: &Node,
    target: &Target,
    question: &Question,
    stream: bool,
) -> Result<Request<Stream>, Failure> {
    let bad = |words: String| Failure::new(FailureKind::BadRequest, &node.name, words);
    let model = target.model.as_deref().unwrap_or(&node.name);
    let (from, operation) = (call.graph().protocol, call.asked.operation);
    let mut body = adapt::question(from, target.protocol, operation, &question.body, model).map_err(bad)?;
    if target.protocol == Protocol::OpenAI {
        body = for_openai(&body, target, question.stream, stream).map_err(bad)?;
    }
    let bytes = body.bytes().map_err(|words| bad(words.to_owned()))?.clone();
    let mut request = Request::new(Stream::whole(bytes));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri(target, model, operation).map_err(|error| bad(error.to_string()))?;
    fill(call, node, target, question, request.headers_mut())?;
    Ok(request)
}

/// The path of a request; only that of the OpenAI API depends on what is asked.
fn uri(target: &Target, model: &str, operation: Operation) -> Result<Uri, InvalidUri> {
    if let Some(known) = target.uri.get() {
        return Ok(known.clone());
    }
    let path = match &target.path {
        Some(path) => format!("{}{path}", target.address.base),
        None => target_path(target.protocol, &target.address.base, model, operation),
    };
    let uri = Uri::from(PathAndQuery::try_from(path)?);
    if target.path.is_some() || target.protocol != Protocol::OpenAI {
        return Ok(target.uri.get_or_init(|| uri).clone());
    }
    Ok(uri)
}

/// Names the model as the target does, and asks for events only if they can be passed on.
fn for_openai(body: &Body, target: &Target, wanted: bool, stream: bool) -> Result<Body, String> {
    if target.model.is_none() && (!wanted || stream) {
        return Ok(body.clone());
    }
    let mut value = body.json()?.clone();
    let members = value.as_object_mut().ok_or("the request is no JSON object")?;
    if let Some(model) = &target.model {
        members.insert("model".to_owned(), model.as_str().into());
    }
    if wanted && !stream {
        members.shift_remove("stream");
        members.shift_remove("stream_options");
    }
    Ok(Body::of(value))
}

/// Writes the headers of a request: few, and each by name.
pub(super) fn fill(
    call: &Call,
    node: &Node,
    target: &Target,
    question: &Question,
    into: &mut HeaderMap,
) -> Result<(), Failure> {
    let asked = &call.asked.headers;
    for name in &target.passed {
        for value in asked.get_all(name) {
            into.append(name.clone(), value.clone());
        }
    }
    if let Some(span) = &question.span {
        span.write(into);
    }
    // Whatever the client sends of these: the router has made the body, and has to read the answer.
    into.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    into.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    into.insert(TIMEOUT, HeaderValue::from(u64::try_from(call.left().as_millis()).unwrap_or(u64::MAX)));
    into.insert(HOPS, HeaderValue::from(call.asked.hops + 1));
    for (name, secret) in &target.headers {
        let value = match secret {
            Secret::Value(value) => value.clone(),
            Secret::File { path, prefix } => call
                .tools
                .upstream
                .credentials
                .value(path, prefix)
                .map_err(|words| Failure::new(FailureKind::Connect, &node.name, words))?,
        };
        into.insert(name.clone(), value);
    }
    Ok(())
}

/// Takes of the headers of an answer what the client may have.
pub(super) fn answered(call: &Call, given: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::with_capacity(4);
    for name in ANSWERED.iter().chain(&call.graph().headers).filter(|name| !headers::is_of_connection(name)) {
        if let Some(value) = given.get(name) {
            kept.insert(name.clone(), value.clone());
        }
    }
    kept
}

pub(super) fn refused(node: &Arc<str>, connecting: bool, error: &dyn std::error::Error) -> Failure {
    let kind = if connecting { FailureKind::Connect } else { FailureKind::Reset };
    Failure::new(kind, node, with_causes(error))
}

/// An error with all that led to it, without what is said twice.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !words.contains(&said) {
            words = format!("{words}: {said}");
        }
        cause = inner.source();
    }
    words
}

/// Whether an answer is better passed on than read: events, or more than is worth keeping.
fn is_stream(response: &Response<Coming>) -> bool {
    let events = response.headers().get(CONTENT_TYPE).is_some_and(|value| {
        let kind = value.as_bytes();
        kind.starts_with(b"text/event-stream") || kind.starts_with(b"application/x-ndjson")
    });
    let length = response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    events || length.is_some_and(|length| length > WHOLE)
}

/// Waits for the first bytes of a stream: until then another node can still answer.
async fn begin(node: &Arc<str>, mut body: Coming) -> Result<Stream, Failure> {
    let reset = |error: hyper::Error| {
        Failure::new(FailureKind::Reset, node, format!("its stream broke: {}", with_causes(&error)))
    };
    match body.frame().await {
        None => Ok(Stream::default()),
        Some(first) => Ok(Stream::after(first.map_err(reset)?, body)),
    }
}

/// Reads an answer as a whole, with its trailers.
pub(super) async fn collect<B>(node: &Arc<str>, body: B, limit: usize) -> Result<Collected<Bytes>, Failure>
where
    B: HttpBody<Data = Bytes, Error = hyper::Error>,
{
    let collected = Limited::new(body, limit).collect().await;
    collected.map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() {
            let words = format!("its answer has more than the {limit} bytes that limits.body allows");
            return Failure::new(FailureKind::TooLarge, node, words);
        }
        Failure::new(FailureKind::Reset, node, format!("its answer broke off: {}", with_causes(error.as_ref())))
    })
}
