//! A target of the Open Inference Protocol that is asked by gRPC: one call, and its answer as a whole.
//!
//! What it refuses is an answer with the status that its code stands for, so policies treat it as any other.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::Full;

use super::target::{adapted, answered, collect, fill, refused};
use crate::call::{Call, Outcome, Wire};
use crate::graph::{Node, Target};
use crate::grpc::{self, SERVICE, code_and_message, convert, frame, status_of, unframe, word_of};
use crate::message::{Answer, AnswerBody, Body, Failure, FailureKind, Question, Usage};
use crate::protocol::{adapt, error_body};

/// Asks a server.
///
/// # Arguments
/// * `usage` - what becomes of the answer; what has no form that it needs is a failure of this node, not of a later one.
///
/// # Errors
/// There is no connection, it broke, or the answer is none of the protocol.
pub async fn ask(call: &Arc<Call>, node: &Node, target: &Target, question: Question, usage: Usage) -> Outcome {
    let request = prepare(call, node, target, &question)?;
    let server = &target.address.server;
    let response = call
        .tools
        .upstream
        .call(server, request)
        .await
        .map_err(|error| refused(&node.name, error.is_connect(), &error))?;
    let (status, head) = (response.status(), response.headers().clone());
    let mut headers = answered(call, &head);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.remove(CONTENT_ENCODING); // The router makes the JSON, and does not pack it.
    let bad = |words: String| Failure::new(FailureKind::BadAnswer, &node.name, words);
    if !status.is_success() {
        return Ok(error(call, headers, status, "http", &format!("{status} instead of an answer of gRPC")));
    }
    let collected = collect(&node.name, response.into_body(), call.graph().limits.body).await?;
    let ended = collected.trailers().and_then(code_and_message).or_else(|| code_and_message(&head));
    let Some((code, message)) = ended else {
        let words = "its answer has no grpc-status: it broke off, or does not speak gRPC";
        return Err(Failure::new(FailureKind::Reset, &node.name, words));
    };
    if let Some(status) = status_of(code) {
        return Ok(error(call, headers, status, word_of(code), &message));
    }
    let message = unframe(&collected.to_bytes()).map_err(|error| bad(error.to_string()))?;
    convert::check_answer(&message).map_err(bad)?;
    let body = Body::answer(message);
    if usage == Usage::Read {
        body.json().map_err(|words| bad(words.to_owned()))?;
    } else if call.asked.wire == Wire::Http {
        body.bytes().map_err(|words| bad(words.to_owned()))?;
    }
    let body = adapted(call, node, target, &question, body)?;
    Ok(Answer { status: StatusCode::OK, headers, body: AnswerBody::Full(body) })
}

fn error(call: &Call, headers: HeaderMap, status: StatusCode, word: &str, message: &str) -> Answer {
    let body = Body::of(error_body(call.graph().protocol, word, message));
    Answer { status, headers, body: AnswerBody::Full(body) }
}

fn prepare(call: &Call, node: &Node, target: &Target, question: &Question) -> Result<Request<Full<Bytes>>, Failure> {
    let bad = |words: String| Failure::new(FailureKind::BadRequest, &node.name, words);
    let model = target.model.as_deref().unwrap_or(&node.name);
    let (from, operation) = (call.graph().protocol, call.asked.operation);
    let body = adapt::question(from, target.protocol, operation, &question.body, model).map_err(bad)?;
    let message = body.to_question(model).map_err(bad)?;
    let uri = Uri::builder()
        .scheme(target.address.server.scheme.clone())
        .authority(target.address.server.authority.clone())
        .path_and_query(format!("{SERVICE}ModelInfer"))
        .build();
    let mut request = Request::new(Full::new(frame(&message)));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri.map_err(|error| bad(error.to_string()))?;
    fill(call, node, target, question, request.headers_mut())?;
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, grpc::CONTENT_TYPE);
    headers.insert(TE, HeaderValue::from_static("trailers"));
    headers.insert(grpc::TIMEOUT, grpc::timeout_value(call.left()));
    Ok(request)
}
