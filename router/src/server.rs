//! The ports of graphs and models: connections, and from a request to the answer that its client gets.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::Watcher;
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tower::service_fn;

use crate::call::{Asked, Call, Tools, Trail, ask};
use crate::graph::{Graph, Served, Service};
use crate::headers::{DEBUG, HOPS, MAX_HOPS, TIMEOUT};
use crate::message::{Answer, AnswerBody, Body, Failure, FailureKind, Question, Stream};
use crate::metrics::OfGraphStatus;
use crate::model;
use crate::plan::Protocol;
use crate::protocol::{Operation, Route, error_body, failure_body, openai, route};
use crate::router::Router;

/// For so long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Headers of a request at most, and bytes of its head.
const MAX_HEADERS: usize = 100;
const MAX_HEAD: usize = 64 << 10;

/// Requests of one HTTP/2 connection at once.
const MAX_STREAMS: u32 = 256;

/// What is sent to clients.
pub type Sent = Response<Stream>;

/// Serves one connection until it ends, or until its last request does once the server drains.
pub async fn serve(router: Arc<Router>, port: u16, stream: TcpStream, watcher: Watcher) {
    // Answers are small and wanted at once.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let service = service_fn(move |request| {
        let router = Arc::clone(&router);
        async move { Ok::<_, Infallible>(answer(&router, port, request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .keep_alive_interval(Duration::from_secs(30));
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).into_owned();
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!("a connection ended: {error}");
    }
}

async fn answer(router: &Router, port: u16, request: Request<Incoming>) -> Sent {
    let served = router.served();
    match served.by_port.get(&port) {
        Some(&Service::Graph(graph)) => answer_graph(&served, graph, &router.tools, request).await,
        Some(&Service::Model(model)) => model::answer(&served.models[model], &router.tools, request).await,
        None => told(Protocol::Json, StatusCode::NOT_FOUND, "not_found", "no graph is served here any more"),
    }
}

async fn answer_graph(served: &Arc<Served>, index: usize, tools: &Arc<Tools>, request: Request<Incoming>) -> Sent {
    let graph = &served.graphs[index];
    let operation = match route(graph.protocol, &graph.name, request.method(), request.uri().path()) {
        Route::Ask(operation) => operation,
        Route::Tell(value) => return sent(Answer::json(StatusCode::OK, value), Instant::now() + graph.timeout),
        Route::Nothing(hint) => return told(graph.protocol, StatusCode::NOT_FOUND, "not_found", hint),
        Route::WrongMethod(allowed) => {
            let mut answer =
                told(graph.protocol, StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &format!("use {allowed}"));
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
            return answer;
        }
    };
    let begun = Instant::now();
    let answer = work(served, index, tools, operation, request).await;
    let code = answer.status().as_u16();
    tools.metrics.graph_requests.get_or_create(&OfGraphStatus { graph: Arc::clone(&graph.name), code }).inc();
    graph.state.seconds.observe(begun.elapsed().as_secs_f64());
    answer
}

/// Counts a request as under way until it is answered to the last byte.
struct InFlight(prometheus_client::metrics::gauge::Gauge);

impl InFlight {
    fn begin(gauge: &prometheus_client::metrics::gauge::Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

async fn work(
    served: &Arc<Served>,
    index: usize,
    tools: &Arc<Tools>,
    operation: Operation,
    request: Request<Incoming>,
) -> Sent {
    let graph = &served.graphs[index];
    let Some(place) = graph.state.limit.enter().await else {
        let words = format!("the graph works on {} requests already", graph.limits.in_flight);
        let mut answer = told(graph.protocol, StatusCode::TOO_MANY_REQUESTS, FailureKind::Overloaded.word(), &words);
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        return answer;
    };
    let held = (place, InFlight::begin(&graph.state.in_flight));
    let deadline = Instant::now() + wanted(request.headers()).map_or(graph.timeout, |wanted| wanted.min(graph.timeout));
    let debug = request.headers().contains_key(DEBUG);
    let answer = match read(graph, operation, request, deadline).await {
        Err(refusal) => return refusal,
        Ok(asked) => run(served, index, tools, asked, deadline, debug).await,
    };
    let mut answer = sent(answer, deadline);
    let body = std::mem::take(answer.body_mut());
    *answer.body_mut() = body.holding(held);
    answer
}

/// How long the client is willing to wait, if it says so.
fn wanted(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(TIMEOUT)?.to_str().ok()?;
    text.parse().ok().map(Duration::from_millis)
}

/// Reads a request as a whole.
async fn read(
    graph: &Graph,
    operation: Operation,
    request: Request<Incoming>,
    deadline: Instant,
) -> Result<Asked, Sent> {
    let (protocol, limit) = (graph.protocol, graph.limits.body);
    let (parts, body) = request.into_parts();
    let hops = parts.headers.get(HOPS).and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0);
    if hops >= MAX_HOPS {
        let words = format!("the request has passed through {hops} graphs: do they call one another?");
        return Err(told(protocol, StatusCode::LOOP_DETECTED, FailureKind::Loop.word(), &words));
    }
    if parts.headers.get(CONTENT_ENCODING).is_some_and(|coding| coding.as_bytes() != b"identity") {
        let words = "send the request as it is: a body with a content-encoding is not unpacked";
        return Err(told(protocol, StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_encoding", words));
    }
    let too_large = || {
        let words = format!("the request has more than the {limit} bytes that limits.body allows");
        told(protocol, StatusCode::PAYLOAD_TOO_LARGE, FailureKind::TooLarge.word(), &words)
    };
    let length = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let bytes = match timeout_at(deadline, Limited::new(body, limit).collect()).await {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => return Err(too_large()),
        Ok(Err(error)) => {
            let words = format!("the request broke off: {error}");
            return Err(told(protocol, StatusCode::BAD_REQUEST, FailureKind::BadRequest.word(), &words));
        }
        Err(_) => {
            let words = "the request did not come within the deadline";
            return Err(told(protocol, StatusCode::REQUEST_TIMEOUT, FailureKind::Deadline.word(), words));
        }
    };
    Ok(Asked {
        method: parts.method,
        path: parts.uri.path().into(),
        headers: Arc::new(parts.headers),
        body: Body::new(bytes),
        operation,
        hops,
    })
}

/// Has a graph answer.
async fn run(
    served: &Arc<Served>,
    index: usize,
    tools: &Arc<Tools>,
    asked: Asked,
    deadline: Instant,
    debug: bool,
) -> Answer {
    let graph = &served.graphs[index];
    let (operation, stream) = (asked.operation, wants_events(graph, &asked));
    let trail = debug.then(Arc::<Trail>::default);
    let span = tools.telemetry.as_ref().map(|of| of.request(graph.name.to_string(), &asked.headers));
    let question = Question { body: asked.body.clone(), stream, span: span.clone() };
    let call = Call::new(Arc::clone(served), index, asked, deadline, Arc::clone(tools), trail.clone());
    let outcome = timeout_at(deadline, ask(&call, graph.entry, question, trail.is_none())).await.unwrap_or_else(|_| {
        Err(Failure::new(FailureKind::Deadline, &graph.name, "the graph did not answer within its deadline"))
    });
    let answer = outcome.unwrap_or_else(|failure| failed(graph, &failure));
    if let Some(span) = span {
        span.answered(answer.status.as_u16());
    }
    match trail {
        Some(trail) => traced(&answer, &trail),
        None if stream => as_events(operation, answer),
        None => answer,
    }
}

/// Whether a client of the OpenAI API asks for events.
fn wants_events(graph: &Graph, asked: &Asked) -> bool {
    graph.protocol == Protocol::OpenAI
        && asked.operation.streams()
        && memchr::memmem::find(asked.body.bytes(), b"\"stream\"").is_some()
        && asked.body.json().is_ok_and(|body| body.get("stream") == Some(&true.into()))
}

/// Gives a success that was kept as a whole as events to a client that wants them.
fn as_events(operation: Operation, answer: Answer) -> Answer {
    let Some(body) = answer.kept().filter(|_| answer.is_success()) else { return answer };
    let Ok(value) = body.json() else { return answer };
    let body = AnswerBody::Full(Body::new(Bytes::from(openai::as_events(operation, value))));
    let mut headers = answer.headers;
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    Answer { status: answer.status, headers, body }
}

fn failed(graph: &Graph, failure: &Failure) -> Answer {
    tracing::debug!(graph = %graph.name, node = %failure.node, "{}", failure.message);
    let mut answer = Answer::json(failure.kind.status(), failure_body(graph.protocol, failure));
    if let Some(after) = failure.retry_after {
        answer.headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(after)));
    }
    answer
}

/// Seconds as `Retry-After` gives them: whole, and never none.
fn whole_seconds(pause: Duration) -> u64 {
    (pause.as_secs() + u64::from(pause.subsec_nanos() > 0)).max(1)
}

/// The answer within all that led to it.
fn traced(answer: &Answer, trail: &Trail) -> Answer {
    let body = answer.kept().and_then(|body| body.json().ok()).cloned();
    let mut made = Answer::json(answer.status, json!({"answer": body, "steps": trail.steps()}));
    made.headers.insert(DEBUG, HeaderValue::from_static("true"));
    made
}

fn told(protocol: Protocol, status: StatusCode, word: &str, words: &str) -> Sent {
    sent(Answer::json(status, error_body(protocol, word, words)), Instant::now() + HEAD_TIMEOUT)
}

fn sent(answer: Answer, deadline: Instant) -> Sent {
    let body = match answer.body {
        AnswerBody::Full(body) => Stream::new(http_body_util::Full::new(body.bytes().clone())),
        AnswerBody::Stream(stream) => stream.until(deadline),
    };
    let mut response = Response::new(body);
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    response
}
