//! What clients ask a graph by gRPC: from the path of a call to what is sent back.

use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Version};
use http_body_util::{BodyExt, Full};
use prost::Message;
use tonic::{Code, Status};

use super::proto::{
    ModelMetadataResponse, ModelReadyResponse, ServerLiveResponse, ServerMetadataResponse, ServerReadyResponse,
};
use super::{MESSAGE, SERVICE, STATUS, code_of, frame};
use crate::message::{Answer, Body, Stream};
use crate::plan::Protocol;
use crate::words::quoted;

/// Bytes of an error's words at most: clients take headers of a few KiB.
const MAX_WORDS: usize = 1024;

const ACCEPTED: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// What a call is about.
#[derive(Debug)]
pub enum Route {
    /// The graph has to answer.
    Infer,
    /// The router answers itself.
    Tell(Vec<u8>),
    /// There is no such call.
    Refuse(Status),
}

/// Whether a request is a call of gRPC.
pub fn is_call<B>(request: &Request<B>) -> bool {
    let kind = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    request.version() == Version::HTTP_2
        && request.method() == Method::POST
        && kind.and_then(|kind| kind.strip_prefix(b"application/grpc")).is_some_and(|rest| {
            rest.is_empty() || rest.starts_with(b";") || rest == b"+proto" || rest.starts_with(b"+proto;")
        })
}

/// Finds out what a call is about.
pub fn route(protocol: Protocol, graph: &str, path: &str) -> Route {
    if protocol != Protocol::OpenInference {
        let words = format!("graph {graph} speaks {protocol:?}, and only graphs of OpenInference answer gRPC");
        return Route::Refuse(Status::new(Code::Unimplemented, words));
    }
    match path.strip_prefix(SERVICE) {
        Some("ModelInfer") => Route::Infer,
        Some("ServerLive") => Route::Tell(ServerLiveResponse { live: true }.encode_to_vec()),
        Some("ServerReady") => Route::Tell(ServerReadyResponse { ready: true }.encode_to_vec()),
        Some("ModelReady") => Route::Tell(ModelReadyResponse { ready: true }.encode_to_vec()),
        Some("ServerMetadata") => {
            Route::Tell(ServerMetadataResponse { name: graph.to_owned(), ..Default::default() }.encode_to_vec())
        }
        Some("ModelMetadata") => {
            let told = ModelMetadataResponse {
                name: graph.to_owned(),
                platform: "rondo_graph".to_owned(),
                ..ModelMetadataResponse::default()
            };
            Route::Tell(told.encode_to_vec())
        }
        _ => Route::Refuse(Status::new(Code::Unimplemented, format!("there is no call {} here", quoted(path)))),
    }
}

/// The path of the same question in JSON, as expressions see it.
pub fn path(model: &str, version: &str) -> String {
    let version = if version.is_empty() { String::new() } else { format!("/versions/{version}") };
    format!("/v2/models/{model}{version}/infer")
}

/// Sends a message.
pub fn send(message: &Body) -> Response<Stream> {
    let ended = HeaderMap::from_iter([(STATUS, HeaderValue::from_static("0"))]);
    let body = Full::new(frame(message.received())).with_trailers(std::future::ready(Some(Ok(ended))));
    let mut response = Response::new(Stream::new(body));
    response.headers_mut().insert(CONTENT_TYPE, super::CONTENT_TYPE);
    response
}

/// Sends that there is no answer.
pub fn refuse(status: Status) -> Response<Stream> {
    let mut response: Response<Stream> = status.into_http();
    response.headers_mut().insert(ACCEPTED, HeaderValue::from_static("identity"));
    response
}

/// Sends an answer: a success, whose body is a message, or what its status stands for with the words of its body.
pub fn answer(answer: Answer) -> Response<Stream> {
    let mut response = match answer.kept() {
        Some(body) if answer.is_success() => send(body),
        body => refuse(Status::new(code_of(answer.status), body.map(words_of).unwrap_or_default())),
    };
    for (name, value) in answer.headers {
        let own = |name: &HeaderName| {
            [CONTENT_TYPE, CONTENT_ENCODING, CACHE_CONTROL, STATUS, MESSAGE, ACCEPTED].contains(name)
        };
        if let Some(name) = name.filter(|name| !own(name)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// The words of an error, wherever servers put them.
fn words_of(body: &Body) -> String {
    const PLACES: [&str; 4] = ["/error", "/error/message", "/message", "/detail"];
    let told = body.json().ok().and_then(|json| PLACES.iter().find_map(|place| json.pointer(place)?.as_str()));
    let mut words = told.map_or_else(|| String::from_utf8_lossy(body.received()).into_owned(), str::to_owned);
    let end = (0..=words.len().min(MAX_WORDS)).rev().find(|&end| words.is_char_boundary(end));
    words.truncate(end.unwrap_or_default());
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;
    use serde_json::json;

    #[test]
    fn calls_are_known_by_version_method_and_type() {
        let of = |kind: &str, version, method| {
            let request = Request::builder().version(version).method(method).header(CONTENT_TYPE, kind);
            is_call(&request.body(()).expect("a request"))
        };
        for (kind, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc; charset=utf-8", true),
            ("application/grpc+json", false),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            assert_eq!(of(kind, Version::HTTP_2, Method::POST), expected, "{kind}");
        }
        assert!(!of("application/grpc", Version::HTTP_11, Method::POST));
        assert!(!of("application/grpc", Version::HTTP_2, Method::GET));
    }

    #[test]
    fn only_the_calls_of_the_protocol_are_there() {
        let of = |protocol, path: &str| route(protocol, "g", path);
        assert!(matches!(of(Protocol::OpenInference, "/inference.GRPCInferenceService/ModelInfer"), Route::Infer));
        for path in ["ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata"] {
            let path = format!("{SERVICE}{path}");
            assert!(
                matches!(of(Protocol::OpenInference, &path), Route::Tell(message) if !message.is_empty()),
                "{path}"
            );
        }
        for (protocol, path) in [
            (Protocol::OpenInference, "/inference.GRPCInferenceService/ModelStreamInfer"),
            (Protocol::OpenInference, "/v2/models/g/infer"),
            (Protocol::Json, "/inference.GRPCInferenceService/ModelInfer"),
        ] {
            let Route::Refuse(status) = of(protocol, path) else { panic!("{path}") };
            assert_eq!(status.code(), Code::Unimplemented);
        }
    }

    #[test]
    fn the_words_of_an_error_are_found_and_cut() {
        for (body, words) in [
            (json!({"error": "bad shape"}).to_string(), "bad shape"),
            (json!({"error": {"message": "too long", "code": "x"}}).to_string(), "too long"),
            (json!({"detail": "busy"}).to_string(), "busy"),
            (json!({"detail": [1]}).to_string(), r#"{"detail":[1]}"#),
            ("plain".to_owned(), "plain"),
        ] {
            assert_eq!(words_of(&Body::new(body.into())), words);
        }
        let long = json!({"error": "ü".repeat(3000)});
        assert_eq!(words_of(&Body::of(long)).len(), MAX_WORDS);
    }

    #[test]
    fn an_error_is_sent_as_its_code_with_what_it_says_of_itself() {
        let mut refusal = Answer::json(StatusCode::TOO_MANY_REQUESTS, json!({"error": "später, 100%\n"}));
        refusal.headers.insert(http::header::RETRY_AFTER, HeaderValue::from_static("3"));
        let sent = answer(refusal);
        let of = |name: &str| sent.headers().get(name).and_then(|value| value.to_str().ok());
        assert_eq!((sent.status(), of("grpc-status"), of("retry-after")), (StatusCode::OK, Some("8"), Some("3")));
        assert_eq!(of("content-type"), Some("application/grpc"));
        assert_eq!(
            super::super::code_and_message(sent.headers()),
            Some((Code::ResourceExhausted, "später, 100%\n".to_owned()))
        );
    }
}
