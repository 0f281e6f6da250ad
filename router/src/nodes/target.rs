//! A target: one request to a server, its answer as it comes or as a whole.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE};
use http::response::Parts;
use http::uri::{InvalidUri, PathAndQuery};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body::Body as HttpBody;
use http_body_util::{BodyExt, Collected, Limited};
use serde_json::Value;

use crate::call::{Call, Outcome, Wire};
use crate::exchange::{Coming, Origin};
use crate::graph::{Node, Secret, Target};
use crate::headers::{self, ANSWERED, HOPS, TIMEOUT};
use crate::linger::Lingering;
use crate::message::{Answer, AnswerBody, Body, Failure, FailureKind, Question, Stream, Taken, Usage, take};
use crate::nodes::rpc;
use crate::plan::{Protocol, Transport};
use crate::protocol::{Operation, adapt, target_path};

/// An answer of at most so many bytes is read as a whole even if it could be passed on as it comes: what breaks half way
/// can be asked again then.
const WHOLE: usize = 256 << 10;

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
        Taken::Coming(stream) => AnswerBody::Stream(stream),
        Taken::Whole(bytes) if status.is_success() => {
            AnswerBody::Full(adapted(call, node, target, &question, Body::new(bytes))?)
        }
        Taken::Whole(bytes) => AnswerBody::Full(Body::new(bytes)),
    };
    Ok(Answer { status, headers, body })
}

/// Sends a request and takes its answer: the head, and the body as a whole unless it is better passed on and may be.
///
/// # Arguments
/// * `limit` - bytes of an answer that is kept.
async fn exchange(
    origin: Arc<Origin>,
    request: Request<Stream>,
    name: Arc<str>,
    stream: bool,
    limit: usize,
) -> Result<(Parts, Taken), Failure> {
    let response = origin.send(request).await.map_err(|error| refused(&name, error.is_connect(), &error))?;
    let (head, body) = response.into_parts();
    if !stream {
        return Ok((head, Taken::Whole(collect(&name, body, limit).await?.to_bytes())));
    }
    let whole = WHOLE.min(limit);
    let taken = if is_stream(&head, body.size_hint().exact(), whole as u64) {
        Taken::Coming(begin(&name, body).await?)
    } else {
        take(body, whole).await.map_err(|error| broken(&name, &error))?
    };
    Ok((head, taken))
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

/// Whether an answer is better passed on from its first byte on: events, more than is worth keeping, and whatever has no
/// length since it is still being made. JSON is an exception, since it is of no use before its end, and so are errors, since
/// another is asked after them.
fn is_stream(head: &Parts, length: Option<u64>, whole: u64) -> bool {
    let kind = head.headers.get(CONTENT_TYPE).map_or(Kind::Json, |value| Kind::of(value.as_bytes()));
    match (kind, length) {
        (Kind::Events, _) => true,
        (_, Some(length)) => length > whole,
        (Kind::Other, None) => head.status.is_success(),
        (Kind::Json, None) => false,
    }
}

/// What an answer is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Events,
    Json,
    Other,
}

impl Kind {
    /// The kind of a media type, in which capital letters are as good as small ones.
    fn of(media_type: &[u8]) -> Self {
        let end = memchr::memchr(b';', media_type).unwrap_or(media_type.len());
        let name = media_type[..end].trim_ascii();
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        let ends = name.len().checked_sub("+json".len()).is_some_and(|at| name[at..].eq_ignore_ascii_case(b"+json"));
        if is("application/json") || ends {
            Self::Json
        } else if is("text/event-stream") || is("application/x-ndjson") {
            Self::Events
        } else {
            Self::Other
        }
    }
}

/// Waits for the first bytes of a stream: until then another node can still answer.
async fn begin(node: &Arc<str>, mut body: Coming) -> Result<Stream, Failure> {
    match body.frame().await {
        None => Ok(Stream::default()),
        Some(first) => Ok(Stream::after(first.map_err(|error| broken(node, &error))?, body)),
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
        broken(node, error.as_ref())
    })
}

fn broken(node: &Arc<str>, error: &dyn std::error::Error) -> Failure {
    Failure::new(FailureKind::Reset, node, format!("its answer broke off: {}", with_causes(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_answer_is_made_of_is_known_by_its_media_type() {
        for (media_type, kind) in [
            ("application/json", Kind::Json),
            ("Application/JSON; charset=utf-8", Kind::Json),
            ("application/problem+Json", Kind::Json),
            ("text/event-stream", Kind::Events),
            ("Text/Event-Stream ;charset=utf-8", Kind::Events),
            ("application/x-ndjson", Kind::Events),
            ("audio/mpeg", Kind::Other),
            ("application/jsonlines", Kind::Other),
            ("json", Kind::Other),
            ("", Kind::Other),
        ] {
            assert_eq!(Kind::of(media_type.as_bytes()), kind, "{media_type}");
        }
    }

    #[test]
    fn what_is_large_or_still_being_made_is_passed_on() {
        for (status, media_type, length, passed) in [
            (200, "application/json", Some(100), false),
            (200, "application/json", Some(101), true),
            (200, "application/json", None, false),
            (200, "", None, false),
            (200, "audio/mpeg", Some(100), false),
            (200, "audio/mpeg", None, true),
            (500, "text/html", None, false),
            (500, "text/html", Some(101), true),
            (200, "text/event-stream", Some(1), true),
            (200, "text/event-stream", None, true),
        ] {
            let mut response = http::Response::builder().status(status);
            if !media_type.is_empty() {
                response = response.header(CONTENT_TYPE, media_type);
            }
            let (head, ()) = response.body(()).expect("a head").into_parts();
            assert_eq!(is_stream(&head, length, 100), passed, "{status} {media_type} {length:?}");
        }
    }
}
