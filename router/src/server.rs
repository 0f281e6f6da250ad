//! The ports of graphs and models: from a request to the answer that its client gets.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use serde::Serialize;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::call::{Asked, Call, Tools, Wire, ask};
use crate::connection::{Connection, HEAD_TIMEOUT, Patience, Stage};
use crate::graph::{Graph, Served, Service};
use crate::grpc::{self, service as calls};
use crate::headers::{DEBUG, HOPS, JSON_LENGTH, MAX_HOPS, TIMEOUT, wants_steps};
use crate::message::{Answer, AnswerBody, Body, Failure, FailureKind, Question, Stream, Usage};
use crate::metrics::OfGraphStatus;
use crate::model;
use crate::plan::Protocol;
use crate::protocol::{Operation, Route, error_body, failure_body, openai, route};
use crate::room::NoRoom;
use crate::router::Router;
use crate::trail::{Step, Trail};
use crate::workers::InTurn;

/// For so long, at least and at most, a client may take to read an answer after the deadline; in between as long as the graph
/// may take to give it.
const SHORTEST_READING: Duration = Duration::from_secs(1);
const LONGEST_READING: Duration = Duration::from_secs(30);

/// What is sent to clients.
pub type Sent = Response<Stream>;

/// Serves one connection until it ends, or until what was asked is answered once its port is closed.
pub async fn serve(router: Arc<Router>, port: u16, stream: TcpStream, stages: watch::Receiver<Stage>) {
    let connection = Connection::new(Patience::default());
    let (of, executor) = (Arc::clone(&connection), InTurn(Arc::clone(&router.workers)));
    let service = service_fn(move |request| {
        let (router, underway) = (Arc::clone(&router), of.ask());
        async move {
            let answer = answer(&router, port, &underway.0, request).await;
            Ok::<_, Infallible>(underway.answered(answer))
        }
    });
    connection.serve(stream, service, executor, stages).await;
}

async fn answer(router: &Router, port: u16, connection: &Arc<Connection>, request: Request<Incoming>) -> Sent {
    let served = router.served();
    match served.by_port.get(&port) {
        Some(&Service::Graph(index)) => {
            Asking { served, index, tools: &router.tools, connection }.answer(request).await
        }
        // Boxed so that requests to graphs do not take the room of those to models.
        Some(&Service::Model(model)) => Box::pin(model::answer(&served.models[model], &router.tools, request)).await,
        None => said(told(Protocol::Json, StatusCode::NOT_FOUND, "not_found", "no graph is served here any more")),
    }
}

/// Who is asked, and on which connection.
struct Asking<'a> {
    served: Arc<Served>,
    index: usize,
    tools: &'a Arc<Tools>,
    connection: &'a Arc<Connection>,
}

impl Asking<'_> {
    fn graph(&self) -> &Arc<Graph> {
        &self.served.graphs[self.index]
    }

    async fn answer(&self, request: Request<Incoming>) -> Sent {
        let graph = self.graph();
        if calls::is_call(&request) {
            return Box::pin(self.answer_call(request)).await;
        }
        let operation = match route(graph.protocol, &graph.name, request.method(), request.uri().path()) {
            Route::Ask(operation) => operation,
            Route::Tell(value) => return said(Answer::json(StatusCode::OK, value)),
            Route::Nothing(hint) => return said(told(graph.protocol, StatusCode::NOT_FOUND, "not_found", hint)),
            Route::WrongMethod(allowed) => {
                let words = format!("use {allowed}");
                let mut answer = told(graph.protocol, StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &words);
                answer.headers.insert(ALLOW, HeaderValue::from_static(allowed));
                return said(answer);
            }
        };
        self.work(operation, Wire::Http, request).await
    }

    /// Answers a call of gRPC.
    async fn answer_call(&self, request: Request<Incoming>) -> Sent {
        let graph = self.graph();
        match calls::route(graph.protocol, &graph.name, request.uri().path()) {
            calls::Route::Infer => self.work(Operation::Infer, Wire::Grpc { raw: false }, request).await,
            calls::Route::Tell(message) => calls::send(&Body::new(message.into())),
            calls::Route::Refuse(status) => calls::refuse(status),
        }
    }

    /// Works on a request, and counts it.
    async fn work(&self, operation: Operation, wire: Wire, request: Request<Incoming>) -> Sent {
        let (graph, begun) = (self.graph(), Instant::now());
        let (status, answer) = self.admit(operation, wire, request, begun).await;
        if status == StatusCode::OK {
            graph.state.succeeded.inc();
        } else {
            let of = OfGraphStatus { graph: Arc::clone(&graph.name), code: status.as_u16() };
            self.tools.metrics.graph_requests.get_or_create(&of).inc();
        }
        graph.state.seconds.observe(begun.elapsed().as_secs_f64());
        answer
    }

    /// Gives the status that a request came to, and what is sent.
    async fn admit(
        &self,
        operation: Operation,
        wire: Wire,
        request: Request<Incoming>,
        now: Instant,
    ) -> (StatusCode, Sent) {
        let graph = self.graph();
        let Some(place) = graph.state.limit.try_enter() else {
            let words = format!("the graph works on {} requests already", graph.limits.in_flight);
            let mut answer =
                told(graph.protocol, StatusCode::TOO_MANY_REQUESTS, FailureKind::Overloaded.word(), &words);
            answer.headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            return (answer.status, sent(wire, answer, now + HEAD_TIMEOUT));
        };
        let wanted = wanted(wire, request.headers());
        let deadline = now + wanted.map_or(graph.timeout, |wanted| wanted.min(graph.timeout));
        let answering = self.connection.answer(deadline + graph.timeout.clamp(SHORTEST_READING, LONGEST_READING));
        let held = (place, InFlight::begin(&graph.state.in_flight), answering);
        let debug = wire == Wire::Http && wants_steps(request.headers());
        let answer = match read(graph, operation, wire, request, deadline).await {
            Err(refusal) => refusal,
            Ok(asked) => self.run(asked, deadline, debug).await,
        };
        let status = answer.status;
        (status, sent(wire, answer, deadline).map(|body| body.holding(held)))
    }

    /// Has the graph answer.
    async fn run(&self, asked: Asked, deadline: Instant, debug: bool) -> Answer {
        let graph = self.graph();
        let (operation, wire, stream) = (asked.operation, asked.wire, wants_events(graph, &asked));
        let body = asked.body.clone();
        let trail = debug.then(Arc::<Trail>::default);
        let span = self.tools.telemetry.as_ref().map(|of| of.request(graph.name.to_string(), &asked.headers));
        let question = Question { body: asked.body.clone(), stream, span: span.clone(), step: None };
        let call =
            Call::new(Arc::clone(&self.served), self.index, asked, deadline, Arc::clone(self.tools), trail.clone());
        let outcome = timeout_at(deadline, ask(&call, graph.entry, question, Usage::Passed.read_if(debug)))
            .await
            .unwrap_or_else(|_| Err(Failure::new(FailureKind::Deadline, &graph.name, too_late(&call.take_late()))));
        let answer = outcome.unwrap_or_else(|failure| match body.no_room() {
            Some(why) => unread(graph, why),
            None => failed(graph, &failure),
        });
        let answer = fit(
            graph,
            wire,
            match trail {
                Some(trail) => traced(graph, &answer, &trail),
                None if stream => as_events(operation, answer),
                None => answer,
            },
        );
        if let Some(span) = span {
            span.answered(answer.status.as_u16());
        }
        answer
    }
}

/// Says that a graph has no answer in time, and who of its nodes had none.
fn too_late(nodes: &[Arc<str>]) -> String {
    let words = "the graph did not answer within its deadline";
    if nodes.is_empty() { words.to_owned() } else { format!("{words}: {} had not answered", nodes.join(", ")) }
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

/// Gives a success the form that its client takes.
fn fit(graph: &Graph, wire: Wire, answer: Answer) -> Answer {
    let Some(body) = answer.kept().filter(|_| answer.is_success()) else { return answer };
    let fitted = match wire {
        Wire::Http => body.bytes().map(|_| body.clone()).map_err(str::to_owned),
        Wire::Grpc { raw } => body.to_answer(&graph.name, raw).map(Body::answer),
    };
    match fitted {
        Ok(body) => Answer { body: AnswerBody::Full(body), ..answer },
        Err(words) => {
            let words = format!("the graph's answer cannot be told: {words}");
            told(graph.protocol, FailureKind::BadAnswer.status(), FailureKind::BadAnswer.word(), &words)
        }
    }
}

/// How long the client is willing to wait, if it says so.
fn wanted(wire: Wire, headers: &HeaderMap) -> Option<Duration> {
    let millis = headers.get(TIMEOUT).and_then(|value| value.to_str().ok()?.parse().ok());
    let called = if wire == Wire::Http { None } else { grpc::timeout(headers) };
    millis.map(Duration::from_millis).into_iter().chain(called).min()
}

/// Reads a request as a whole.
async fn read(
    graph: &Graph,
    operation: Operation,
    wire: Wire,
    request: Request<Incoming>,
    deadline: Instant,
) -> Result<Asked, Answer> {
    let protocol = graph.protocol;
    let unsupported = |word, words| told(protocol, StatusCode::UNSUPPORTED_MEDIA_TYPE, word, words);
    let (parts, body) = request.into_parts();
    let hops = parts.headers.get(HOPS).and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0);
    if hops >= MAX_HOPS {
        let words = format!("the request has passed through {hops} graphs: do they call one another?");
        return Err(told(protocol, StatusCode::LOOP_DETECTED, FailureKind::Loop.word(), &words));
    }
    if parts.headers.get(CONTENT_ENCODING).is_some_and(|coding| coding.as_bytes() != b"identity") {
        let words = "send the request as it is: a body with a content-encoding is not unpacked";
        return Err(unsupported("content_encoding", words));
    }
    if wire == Wire::Http && protocol == Protocol::OpenInference && parts.headers.contains_key(JSON_LENGTH) {
        let words = "send the tensors as JSON, or by gRPC: over HTTP they are not taken in binary";
        return Err(unsupported("binary_tensors", words));
    }
    let bytes = read_body(graph, wire, &parts.headers, body, deadline).await?;
    let (method, headers) = (parts.method, Arc::new(parts.headers));
    if wire == Wire::Http {
        let (path, body) = (parts.uri.path().into(), Body::new(bytes));
        return Ok(Asked { method, path, headers, body, wire, operation, hops });
    }
    let bad = |words: &str| told(protocol, StatusCode::BAD_REQUEST, FailureKind::BadRequest.word(), words);
    let message = grpc::unframe(&bytes).map_err(|error| match error {
        grpc::FrameError::Compressed => {
            told(protocol, StatusCode::NOT_IMPLEMENTED, "content_encoding", &error.to_string())
        }
        grpc::FrameError::Length { .. } => bad(&error.to_string()),
    })?;
    let head = grpc::convert::head(&message).map_err(|words| bad(&words))?;
    let path = calls::path(head.model_name(), head.model_version()).into();
    let (wire, body) = (Wire::Grpc { raw: !head.raw_input_contents.is_empty() }, Body::question(message));
    Ok(Asked { method, path, headers, body, wire, operation, hops })
}

/// Reads the body of a request as a whole.
async fn read_body(
    graph: &Graph,
    wire: Wire,
    headers: &HeaderMap,
    body: Incoming,
    deadline: Instant,
) -> Result<Bytes, Answer> {
    let (protocol, limit) = (graph.protocol, graph.limits.body);
    let most = if wire == Wire::Http { limit } else { limit.saturating_add(grpc::PREFIX) };
    let too_large = || {
        let words = format!("the request has more than the {limit} bytes that limits.body allows");
        told(protocol, StatusCode::PAYLOAD_TOO_LARGE, FailureKind::TooLarge.word(), &words)
    };
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > most as u64) {
        return Err(too_large());
    }
    match timeout_at(deadline, Limited::new(body, most).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => {
            let words = format!("the request broke off: {error}");
            Err(told(protocol, StatusCode::BAD_REQUEST, FailureKind::BadRequest.word(), &words))
        }
        Err(_) => {
            let words = "the request did not come within the deadline";
            Err(told(protocol, StatusCode::REQUEST_TIMEOUT, FailureKind::Deadline.word(), words))
        }
    }
}

/// Whether a client of the OpenAI API asks for events.
fn wants_events(graph: &Graph, asked: &Asked) -> bool {
    graph.protocol == Protocol::OpenAI
        && asked.operation.streams()
        && memchr::memmem::find(asked.body.received(), b"\"stream\"").is_some()
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

/// Answers a request that something had to read for which there was no memory.
fn unread(graph: &Graph, why: NoRoom) -> Answer {
    let (status, kind) = match why {
        NoRoom::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, FailureKind::TooLarge),
        NoRoom::Taken => (FailureKind::Overloaded.status(), FailureKind::Overloaded),
    };
    let mut answer = told(graph.protocol, status, kind.word(), &format!("the request cannot be read: {why}"));
    if why == NoRoom::Taken {
        answer.headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    answer
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

/// An answer within all that led to it.
#[derive(Serialize)]
struct Traced<'a> {
    graph: &'a str,
    revision: &'a str,
    answer: Option<&'a Value>,
    steps: Vec<Step>,
}

/// Gives the answer within all that led to it.
fn traced(graph: &Graph, answer: &Answer, trail: &Trail) -> Answer {
    let told = Traced {
        graph: &graph.name,
        revision: &graph.revision,
        answer: answer.kept().and_then(|body| body.json().ok()),
        steps: trail.steps(),
    };
    // All of it has a form in JSON.
    let text = serde_json::to_vec(&told).unwrap_or_default();
    let mut made = Answer::full(answer.status, Body::new(text.into()));
    made.headers.insert(DEBUG, HeaderValue::from_static("true"));
    made
}

fn told(protocol: Protocol, status: StatusCode, word: &str, words: &str) -> Answer {
    Answer::json(status, error_body(protocol, word, words))
}

/// Sends what the router says itself.
fn said(answer: Answer) -> Sent {
    sent(Wire::Http, answer, Instant::now() + HEAD_TIMEOUT)
}

fn sent(wire: Wire, answer: Answer, deadline: Instant) -> Sent {
    if wire != Wire::Http {
        return calls::answer(answer);
    }
    let body = match answer.body {
        // A message has been fitted before: it is JSON by now, or an error was made of it.
        AnswerBody::Full(body) => Stream::whole(body.bytes().cloned().unwrap_or_default()),
        AnswerBody::Stream(stream) => stream.until(deadline),
    };
    let mut response = Response::new(body);
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    response
}
