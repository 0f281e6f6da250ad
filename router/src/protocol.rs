//! The dialects in which models are asked: their paths, errors, streams, and how one becomes another.

pub mod adapt;
pub mod openai;
pub mod tensor;

use http::Method;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Value, json};

use crate::message::{Body, Failure};
use crate::plan::Protocol;

/// What a client wants of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// An answer in the graph's own way: infer, predict, or any JSON.
    Infer,
    Chat,
    Completions,
    Embeddings,
    Responses,
    Rerank,
    Score,
    Classify,
    Moderations,
}

impl Operation {
    /// The path of an operation of the OpenAI API, below its base.
    pub fn openai_path(self) -> &'static str {
        match self {
            Self::Infer | Self::Chat => "/chat/completions",
            Self::Completions => "/completions",
            Self::Embeddings => "/embeddings",
            Self::Responses => "/responses",
            Self::Rerank => "/rerank",
            Self::Score => "/score",
            Self::Classify => "/classify",
            Self::Moderations => "/moderations",
        }
    }

    /// Whether the client may ask for events.
    pub fn streams(self) -> bool {
        matches!(self, Self::Chat | Self::Completions | Self::Responses)
    }

    fn of_openai(path: &str) -> Option<Self> {
        const ALL: [Operation; 8] = [
            Operation::Chat,
            Operation::Completions,
            Operation::Embeddings,
            Operation::Responses,
            Operation::Rerank,
            Operation::Score,
            Operation::Classify,
            Operation::Moderations,
        ];
        ALL.into_iter().find(|operation| operation.openai_path() == path)
    }
}

/// What a request on a graph's port is about.
#[derive(Debug, Clone, PartialEq)]
pub enum Route {
    /// The graph has to answer.
    Ask(Operation),
    /// The router answers itself.
    Tell(Value),
    /// Nothing is there; the text says what is.
    Nothing(&'static str),
    /// It is there, but not with this method.
    WrongMethod(&'static str),
}

/// Finds out what a request is about.
pub fn route(protocol: Protocol, graph: &str, method: &Method, path: &str) -> Route {
    match protocol {
        Protocol::OpenInference => route_v2(graph, method, path),
        Protocol::KServeV1 => route_v1(graph, method, path),
        Protocol::OpenAI => route_openai(graph, method, path),
        Protocol::Json => asked(method, Operation::Infer),
    }
}

fn asked(method: &Method, operation: Operation) -> Route {
    if method == Method::POST { Route::Ask(operation) } else { Route::WrongMethod("POST") }
}

fn told(method: &Method, value: Value) -> Route {
    if matches!(*method, Method::GET | Method::HEAD) { Route::Tell(value) } else { Route::WrongMethod("GET") }
}

fn route_v2(graph: &str, method: &Method, path: &str) -> Route {
    const HINT: &str = "ask POST /v2/models/NAME/infer";
    match path {
        "/v2" => return told(method, json!({"name": graph, "version": "", "extensions": []})),
        "/v2/health/live" | "/v2/health/ready" => return told(method, json!({})),
        _ => {}
    }
    let Some(rest) = path.strip_prefix("/v2/models/") else { return Route::Nothing(HINT) };
    let parts: Vec<&str> = rest.split('/').collect();
    match parts.as_slice() {
        [_, "infer"] | [_, "versions", _, "infer"] => asked(method, Operation::Infer),
        [name, "ready"] | [name, "versions", _, "ready"] => told(method, json!({"name": name, "ready": true})),
        [_] | [_, "versions", _] => {
            told(method, json!({"name": graph, "platform": "rondo_graph", "inputs": [], "outputs": []}))
        }
        _ => Route::Nothing(HINT),
    }
}

fn route_v1(graph: &str, method: &Method, path: &str) -> Route {
    const HINT: &str = "ask POST /v1/models/NAME:predict";
    if path == "/v1/models" {
        return told(method, json!({"models": [graph]}));
    }
    match path.strip_prefix("/v1/models/") {
        Some(name) if name.ends_with(":predict") && !name.contains('/') => asked(method, Operation::Infer),
        Some(name) if !name.contains(['/', ':']) => told(method, json!({"name": name, "ready": true})),
        _ => Route::Nothing(HINT),
    }
}

fn route_openai(graph: &str, method: &Method, path: &str) -> Route {
    const HINT: &str = "ask POST /v1/chat/completions, /v1/completions, /v1/embeddings, /v1/responses, /v1/rerank, \
                        /v1/score, /v1/classify or /v1/moderations";
    let Some(rest) = path.strip_prefix("/v1") else { return Route::Nothing(HINT) };
    if rest == "/models" {
        let model = json!({"id": graph, "object": "model", "created": 0, "owned_by": "rondo"});
        return told(method, json!({"object": "list", "data": [model]}));
    }
    Operation::of_openai(rest).map_or(Route::Nothing(HINT), |operation| asked(method, operation))
}

/// What a segment of a path has to have encoded (RFC 3986, 3.3).
const IN_SEGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'/')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The path of a request to a target, if its plan names none.
pub fn target_path(protocol: Protocol, base: &str, model: &str, operation: Operation) -> String {
    let model = utf8_percent_encode(model, IN_SEGMENT);
    match protocol {
        Protocol::OpenInference => format!("{base}/v2/models/{model}/infer"),
        Protocol::KServeV1 => format!("{base}/v1/models/{model}:predict"),
        // An address like `https://api.example.com/v1` has the version in it, that of a Service has not.
        Protocol::OpenAI if base.is_empty() => format!("/v1{}", operation.openai_path()),
        Protocol::OpenAI => format!("{base}{}", operation.openai_path()),
        Protocol::Json if base.is_empty() => "/".to_owned(),
        Protocol::Json => base.to_owned(),
    }
}

/// The body of an error, as clients of a protocol expect it.
pub fn error_body(protocol: Protocol, word: &str, message: &str) -> Value {
    match protocol {
        Protocol::OpenAI => json!({"error": {"message": message, "type": word, "param": null, "code": word}}),
        Protocol::OpenInference | Protocol::KServeV1 | Protocol::Json => json!({"error": message, "code": word}),
    }
}

/// The body of a failure.
pub fn failure_body(protocol: Protocol, failure: &Failure) -> Value {
    error_body(protocol, failure.kind.word(), &failure.to_string())
}

/// Makes the next question of a sequence from an answer.
///
/// # Arguments
/// * `first` - what the sequence was asked: what an answer does not have, such as parameters, is taken from it.
///
/// # Errors
/// The answer does not have what the protocol says, or the first question cannot be read.
pub fn next_question(protocol: Protocol, operation: Operation, first: &Body, answer: &Body) -> Result<Body, String> {
    let asked = |words: &str| format!("what the sequence was asked: {words}");
    match protocol {
        // Any JSON is a question as it is; it need not even be looked at.
        Protocol::Json => Ok(answer.clone()),
        Protocol::OpenInference => tensor::next_v2(first.bytes().map_err(asked)?, answer.bytes()?).map(Body::new),
        Protocol::KServeV1 => tensor::next_v1(first.bytes().map_err(asked)?, answer.bytes()?).map(Body::new),
        Protocol::OpenAI => openai::next(operation, first.json().map_err(asked)?, answer.json()?).map(Body::of),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(protocol: Protocol, method: &Method, path: &str) -> Route {
        route(protocol, "g", method, path)
    }

    #[test]
    fn paths_of_each_protocol_are_known_and_others_are_not() {
        use Protocol::{Json, KServeV1, OpenAI, OpenInference};
        let cases = [
            (OpenInference, "/v2/models/any/infer", Some(Operation::Infer)),
            (OpenInference, "/v2/models/any/versions/1/infer", Some(Operation::Infer)),
            (OpenInference, "/v2/models/any/infer/more", None),
            (OpenInference, "/v2/models/any/versions/infer", None),
            (OpenInference, "/v1/models/any:predict", None),
            (KServeV1, "/v1/models/any:predict", Some(Operation::Infer)),
            (KServeV1, "/v1/models/a/b:predict", None),
            (KServeV1, "/v1/models/any:explain", None),
            (OpenAI, "/v1/chat/completions", Some(Operation::Chat)),
            (OpenAI, "/v1/embeddings", Some(Operation::Embeddings)),
            (OpenAI, "/v1/../admin", None),
            (OpenAI, "/v1/load_lora_adapter", None),
            (Json, "/whatever", Some(Operation::Infer)),
        ];
        for (protocol, path, expected) in cases {
            let found = match of(protocol, &Method::POST, path) {
                Route::Ask(operation) => Some(operation),
                _ => None,
            };
            assert_eq!(found, expected, "{protocol:?} {path}");
        }
    }

    #[test]
    fn health_and_metadata_are_told_by_the_router() {
        for (protocol, path) in [
            (Protocol::OpenInference, "/v2/health/ready"),
            (Protocol::OpenInference, "/v2/models/g"),
            (Protocol::OpenInference, "/v2/models/g/ready"),
            (Protocol::OpenInference, "/v2/models/g/versions/1"),
            (Protocol::OpenInference, "/v2/models/g/versions/1/ready"),
            (Protocol::KServeV1, "/v1/models"),
            (Protocol::KServeV1, "/v1/models/g"),
            (Protocol::OpenAI, "/v1/models"),
        ] {
            assert!(matches!(of(protocol, &Method::GET, path), Route::Tell(_)), "{path}");
            assert_eq!(of(protocol, &Method::POST, path), Route::WrongMethod("GET"), "{path}");
        }
        assert_eq!(of(Protocol::OpenAI, &Method::GET, "/v1/embeddings"), Route::WrongMethod("POST"));
    }

    #[test]
    fn targets_are_asked_where_their_protocol_says() {
        let path = |protocol, base| target_path(protocol, base, "m", Operation::Completions);
        assert_eq!(path(Protocol::OpenInference, ""), "/v2/models/m/infer");
        assert_eq!(path(Protocol::KServeV1, "/x"), "/x/v1/models/m:predict");
        assert_eq!(path(Protocol::OpenAI, ""), "/v1/completions");
        assert_eq!(path(Protocol::OpenAI, "/openai/v1"), "/openai/v1/completions");
        assert_eq!(path(Protocol::Json, ""), "/");
    }

    #[test]
    fn the_name_of_a_model_is_one_segment_of_a_path() {
        for (name, segment) in [
            ("m-1.0_x~", "m-1.0_x~"),
            ("llama3:8b@q4", "llama3:8b@q4"),
            ("a b", "a%20b"),
            ("a#b?c", "a%23b%3Fc"),
            ("org/m", "org%2Fm"),
            ("100%", "100%25"),
            ("\u{fc}", "%C3%BC"),
        ] {
            let path = target_path(Protocol::OpenInference, "/x", name, Operation::Infer);
            assert_eq!(path, format!("/x/v2/models/{segment}/infer"));
            assert!(http::uri::PathAndQuery::try_from(&path).is_ok_and(|parsed| parsed == *path), "{path}");
        }
    }
}
