//! Graphs of the Open Inference Protocol are asked by gRPC, and ask by gRPC: tonic on both sides.

#![expect(clippy::expect_used, reason = "a test ends where it fails")]

mod support;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, StatusCode};
use rondo_router::grpc::proto::{
    InferTensor, InferTensorContents, ModelInferRequest, ModelInferResponse, ModelMetadataRequest,
    ModelMetadataResponse, ModelReadyRequest, ModelReadyResponse, ServerLiveRequest, ServerLiveResponse,
    ServerMetadataRequest, ServerMetadataResponse, ServerReadyRequest, ServerReadyResponse,
};
use rondo_router::grpc::{TIMEOUT, code_and_message, frame};
use rondo_router::router::Router;
use rondo_router::upstream::Upstream;
use rondo_router::workers::Workers;
use serde_json::{Value, json};
use tonic::{Code, Status};

use support::{Model, Running, adds, asked, busy, called, data, free_port, http_server, question, silent, told, with};

type Told = BoxFuture<'static, Result<ModelInferResponse, Status>>;

fn ready(answer: Result<ModelInferResponse, Status>) -> Told {
    Box::pin(std::future::ready(answer))
}

fn raw(datatype: &str, count: i64) -> InferTensor {
    let (name, datatype) = ("t".to_owned(), datatype.to_owned());
    InferTensor { name, datatype, shape: vec![count], ..InferTensor::default() }
}

fn json_question(data: &[i64]) -> Value {
    json!({"id": "7", "inputs": [{"name": "x", "shape": [data.len()], "datatype": "INT64", "data": data}]})
}

fn json_output(data: &Value) -> Value {
    let count = data.as_array().map_or(0, Vec::len);
    json!({"model_name": "m", "outputs": [{"name": "y", "shape": [count], "datatype": "INT64", "data": data}]})
}

#[tokio::test]
async fn a_message_that_nobody_reads_passes_as_it_is() {
    fn mirrors(_: usize, request: ModelInferRequest) -> Told {
        ready(Ok(ModelInferResponse {
            model_name: request.model_name,
            model_version: "9".to_owned(),
            id: request.id,
            parameters: request.parameters,
            outputs: request.inputs,
            raw_output_contents: request.raw_input_contents,
        }))
    }
    let model = Model::start(mirrors).await;
    let choices = json!({"name": "f", "fallback": [{"node": "a"}]});
    let running = Running::start(json!([choices, called("a", &model.url())])).await;
    // JSON can say neither NaN, nor an unknown datatype, nor bytes that are no text.
    let asked = ModelInferRequest {
        model_version: "3".to_owned(),
        inputs: vec![raw("FP32", 1), raw("FUTURE", 2), raw("BYTES", 1)],
        raw_input_contents: vec![
            Bytes::from_static(b"\x00\x00\xc0\x7f"),
            Bytes::from_static(b"\x01"),
            Bytes::from_static(b"\x01\0\0\0\xff"),
        ],
        ..question(&[])
    };
    let answer = running.infer(asked.clone()).await.expect("answered");
    assert_eq!((answer.model_name.as_str(), answer.model_version.as_str(), answer.id.as_str()), ("model-a", "9", "7"));
    assert_eq!((answer.outputs, answer.raw_output_contents), (asked.inputs.clone(), asked.raw_input_contents.clone()));
    let (headers, seen) = model.last();
    assert_eq!(seen, ModelInferRequest { model_name: "model-a".to_owned(), model_version: String::new(), ..asked });
    assert_eq!(
        (headers["x-rondo-hops"].as_bytes(), headers["te"].as_bytes()),
        (b"1".as_slice(), b"trailers".as_slice())
    );
}

#[tokio::test]
async fn what_is_only_held_is_not_read() {
    fn nan(_: usize, request: ModelInferRequest) -> Told {
        ready(Ok(ModelInferResponse {
            id: request.id,
            outputs: vec![raw("FP32", 1)],
            raw_output_contents: vec![Bytes::from_static(b"\x00\x00\xc0\x7f")],
            ..ModelInferResponse::default()
        }))
    }
    let (model, shadow) = (Model::start(nan).await, Model::start(nan).await);
    let targets = [called("a", &model.url()), called("b", &shadow.url())];
    for node in [
        json!({"cache": {"node": "a", "ttlMillis": 60_000, "maxBytes": 1_000_000}}),
        json!({"parallel": {"nodes": ["a", "b"], "combine": {"method": "First"}}}),
        json!({"mirror": {"node": "a", "to": ["b"]}}),
    ] {
        let entry = with(json!({"name": "n"}), &node);
        let running = Running::start(json!([entry, targets[0], targets[1]])).await;
        for _ in 0..2 {
            let answer = running.infer(question(&[1])).await.expect("it passes as it is");
            assert_eq!(answer.raw_output_contents, [Bytes::from_static(b"\x00\x00\xc0\x7f")]);
        }
        let (status, body) = running.ask(&json_question(&[1])).await;
        assert_eq!(status, StatusCode::BAD_GATEWAY, "{node}: {body}");
        assert!(body.to_string().contains("value 0 is NaN, which JSON cannot say"), "{node}: {body}");
    }
}

#[tokio::test]
async fn what_reads_a_message_says_what_it_cannot_read() {
    let model = Model::start(|_, request| {
        ready(Ok(ModelInferResponse {
            outputs: vec![raw("FP32", 1)],
            raw_output_contents: vec![Bytes::from_static(b"\x00\x00\xc0\x7f")],
            ..told(&request, &[])
        }))
    })
    .await;
    let (other, asked_other) = http_server(200, "application/json", &json_output(&json!([1]))).await;
    let choices =
        json!({"name": "f", "fallback": [{"node": "a", "accept": "response.status == 200.0"}, {"node": "b"}]});
    let running = Running::start(json!([choices, called("a", &model.url()), asked("b", &other)])).await;
    assert_eq!(data(&running.infer(question(&[1])).await.expect("the other answers")), [1]);

    let alone = Running::start(json!([called("a", &model.url())])).await;
    let (status, body) = alone.ask(&json_question(&[1])).await;
    let words = "a: output \"t\": value 0 is NaN, which JSON cannot say";
    assert_eq!((status, body), (StatusCode::BAD_GATEWAY, json!({"error": words, "code": "bad_answer"})));

    let bytes = ModelInferRequest {
        inputs: vec![raw("BYTES", 1)],
        raw_input_contents: vec![Bytes::from_static(b"\x01\0\0\0\xff")],
        ..question(&[])
    };
    let (url, count) = http_server(200, "application/json", &json_output(&json!([1]))).await;
    let to_json = Running::start(json!([asked("b", &url)])).await;
    let status = to_json.infer(bytes).await.expect_err("no JSON");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.message(), "b: input \"t\": value 0 is no UTF-8, which JSON cannot say");
    assert_eq!((count.load(Ordering::Relaxed), asked_other.load(Ordering::Relaxed)), (0, 1));
}

#[tokio::test]
async fn what_is_too_large_to_be_read_passes_where_nobody_reads_it() {
    let zeros = Bytes::from(vec![0; 2 << 20]);
    let large = || ModelInferRequest {
        inputs: vec![raw("BOOL", 2 << 20)],
        raw_input_contents: vec![zeros.clone()],
        ..question(&[])
    };
    let (model, (url, count)) =
        (Model::start(adds).await, http_server(200, "application/json", &json_output(&json!([1]))).await);
    let reads = json!({"name": "s", "switch": [{"when": "request.body.id == '7'", "node": "a"}, {"node": "a"}]});
    let running = Running::start(json!([reads, called("a", &model.url())])).await;
    assert!(running.infer(large()).await.is_ok(), "a condition without a value is false");
    let running = Running::start(json!([asked("b", &url)])).await;
    assert!(running.infer(large()).await.is_ok(), "its text is written without reading it");
    assert_eq!((model.count(), count.load(Ordering::Relaxed)), (1, 1));

    let mapped = with(called("a", &model.url()), &json!({"request": {"set": {"id": "8"}}}));
    let refusal = Running::start(json!([mapped])).await.infer(large()).await.expect_err("it has to be read");
    assert_eq!(refusal.code(), Code::ResourceExhausted, "{refusal}");
    assert!(refusal.message().starts_with("the request cannot be read: it is too large"), "{refusal}");
    let text = json!({"inputs": [{"name": "x", "shape": [1], "datatype": "BYTES", "data": ["{".repeat(1 << 20)]}]});
    let mapped = with(asked("a", &url), &json!({"request": {"set": {"id": "8"}}}));
    let (status, body) = Running::start(json!([mapped])).await.ask(&text).await;
    assert_eq!((status, body["code"].as_str()), (StatusCode::PAYLOAD_TOO_LARGE, Some("too_large")));
}

#[tokio::test]
async fn shapes_that_cost_nothing_on_the_wire_break_nothing() {
    let model = Model::start(adds).await;
    let running = Running::start(json!([called("a", &model.url())])).await;
    let shape = |shape: Value| json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": shape, "data": []}]});
    let (status, body) = running.ask(&shape(json!([1_000_000_000_000_u64, 0]))).await;
    let words = "a: tensor \"x\" has 0 values and the shape [1000000000000, 0]";
    assert_eq!((status, body["error"].as_str()), (StatusCode::BAD_REQUEST, Some(words)));

    let given = json!({"outputs": shape(json!([1_000_000_000_000_u64, 0]))["inputs"]});
    let (url, _) = http_server(200, "application/json", &given).await;
    let running = Running::of(json!({"protocol": "KServeV1", "nodes": [asked("a", &url)]}), &[]).await;
    let body = post(running.port, "/v1/models/g:predict", &json!({"instances": [1]})).await;
    assert_eq!((body["code"].as_str(), body["error"].as_str()), (Some("bad_answer"), Some(words)));
}

#[tokio::test]
async fn a_client_of_json_is_answered_by_a_server_of_grpc() {
    let model = Model::start(adds).await;
    let running = Running::start(json!([called("a", &model.url())])).await;
    let (status, body) = running.ask(&json_question(&[i64::MAX - 1, i64::MIN])).await;
    assert_eq!(status, StatusCode::OK);
    let output = json!({"name": "y", "shape": [2], "datatype": "INT64", "data": [i64::MAX, i64::MIN + 1]});
    assert_eq!(body, json!({"model_name": "model-a", "id": "7", "outputs": [output]}));
    assert_eq!(
        model.last().1,
        ModelInferRequest { model_name: "model-a".to_owned(), ..question(&[i64::MAX - 1, i64::MIN]) }
    );
    let (status, body) =
        running.ask(&json!({"inputs": [{"name": "x", "shape": [1], "datatype": "INT8", "data": [300]}]})).await;
    let words = "a: input \"x\": value 0 is 300, which is no INT8";
    assert_eq!((status, body), (StatusCode::BAD_REQUEST, json!({"error": words, "code": "bad_request"})));
    assert_eq!(model.count(), 1);
}

#[tokio::test]
async fn a_client_of_grpc_is_answered_by_a_server_of_json() {
    let given = json_output(&json!([i64::MAX, i64::MIN]));
    let (url, _) = http_server(200, "application/json", &given).await;
    let running = Running::start(json!([asked("a", &url)])).await;
    let typed = running.infer(question(&[1])).await.expect("answered");
    assert_eq!((data(&typed), typed.model_name.as_str()), (vec![i64::MAX, i64::MIN], "m"));
    // Who asks with raw contents reads raw contents.
    let asked = ModelInferRequest {
        inputs: vec![raw("INT8", 1)],
        raw_input_contents: vec![Bytes::from_static(b"\x01")],
        ..question(&[])
    };
    let answer = running.infer(asked).await.expect("answered");
    let bytes: Vec<u8> = [i64::MAX, i64::MIN].iter().flat_map(|number| number.to_le_bytes()).collect();
    assert_eq!((answer.raw_output_contents, answer.outputs[0].contents.clone()), (vec![Bytes::from(bytes)], None));
}

#[tokio::test]
async fn a_sequence_keeps_what_was_asked_or_says_why_it_cannot() {
    let model = Model::start(adds).await;
    let steps = json!({"name": "s", "sequence": ["a", "b"]});
    let running = Running::start(json!([steps, called("a", &model.url()), called("b", &model.url())])).await;
    assert_eq!(data(&running.infer(question(&[1])).await.expect("answered")), [3]);
    assert_eq!(model.last().1.id, "7");
    let bytes = ModelInferRequest {
        inputs: vec![raw("BYTES", 1)],
        raw_input_contents: vec![Bytes::from_static(b"\x01\0\0\0\xff")],
        ..question(&[])
    };
    let refusal = running.infer(bytes).await.expect_err("the id would be lost");
    let words = "s: the answer is no question for b: what the sequence was asked: input \"t\": value 0 is no UTF-8, \
                 which JSON cannot say";
    assert_eq!(refusal.message(), words);
    assert_eq!(model.count(), 3);
}

#[tokio::test]
async fn what_is_no_message_is_no_answer() {
    let (garbage, _) = http_server(200, "application/grpc", &json!("no message at all")).await;
    let model = Model::start(adds).await;
    let choices = json!({"name": "f", "fallback": [{"node": "a"}, {"node": "b"}]});
    let running = Running::start(json!([choices, called("a", &garbage), called("b", &model.url())])).await;
    assert_eq!(data(&running.infer(question(&[1])).await.expect("the other answers")), [2]);
    let (packed, _) = http_server(503, "application/grpc", &json!("")).await;
    let running = Running::start(json!([called("a", &packed)])).await;
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    let request = http::Request::post(format!("http://127.0.0.1:{}/v2/models/g/infer", running.port));
    let request = request.body(http_body_util::Full::new(Bytes::from(json_question(&[1]).to_string())));
    let answer = client.request(request.expect("a request")).await.expect("answered");
    let encoding = answer.headers().get("content-encoding");
    assert_eq!((answer.status(), encoding), (StatusCode::SERVICE_UNAVAILABLE, None), "the router made the JSON");
    let alone = Running::start(json!([called("a", &garbage)])).await;
    let refusal = alone.infer(question(&[1])).await.expect_err("it is none");
    assert!(refusal.message().starts_with("a: this is no ModelInferResponse: "), "{refusal}");
}

#[tokio::test]
async fn servers_of_both_kinds_answer_together() {
    let (one, two) = (Model::start(adds).await, Model::start(adds).await);
    let (three, _) = http_server(200, "application/json", &json_output(&json!([1, 1]))).await;
    let vote = json!({"name": "v", "parallel": {"nodes": ["a", "b", "c"], "combine": {"method": "Vote"}}});
    let steps = json!({"name": "s", "sequence": ["first", "v"]});
    let running = Running::start(json!([
        steps,
        called("first", &one.url()),
        vote,
        called("a", &one.url()),
        called("b", &two.url()),
        asked("c", &three),
    ]))
    .await;
    assert_eq!(data(&running.infer(question(&[1, 2])).await.expect("answered")), [3, 4]);
    let (status, body) = running.ask(&json_question(&[1, 2])).await;
    assert_eq!((status, body["outputs"][0]["data"].clone()), (StatusCode::OK, json!([3, 4])));
    assert_eq!((one.count(), two.count()), (4, 2));
}

#[tokio::test]
async fn expressions_and_mappings_read_what_was_asked_by_grpc() {
    let (one, two) = (Model::start(adds).await, Model::start(adds).await);
    let switch = json!({"name": "s", "switch": [
        {"when": "request.body.parameters.big == true && request.path == '/v2/models/g/versions/2/infer'", "node": "b"},
        {"node": "a"},
    ]});
    let mapped = with(
        called("b", &two.url()),
        &json!({"request": {"set": {"inputs[0].data[0]": 41}}, "response": {"body": "{'model_name': 'made', 'outputs': response.body.outputs}"}}),
    );
    let running = Running::start(json!([switch, called("a", &one.url()), mapped])).await;
    assert_eq!(data(&running.infer(question(&[1])).await.expect("answered")), [2]);
    let big = json!({"parameters": {"big": true}, "inputs": []});
    let message = rondo_router::grpc::convert::question(&big, "g").expect("a message");
    let parameters = <ModelInferRequest as prost::Message>::decode(message).expect("a message").parameters;
    let asked = ModelInferRequest { model_version: "2".to_owned(), parameters, ..question(&[1]) };
    let answer = running.infer(asked).await.expect("answered");
    assert_eq!((data(&answer), answer.model_name.as_str()), (vec![42], "made"));
    assert_eq!((one.count(), two.count()), (1, 1));
}

#[tokio::test]
async fn answers_are_remembered_and_questions_gathered() {
    let model = Model::start(adds).await;
    let cache = json!({"name": "k", "cache": {"node": "a", "ttlMillis": 60_000, "maxBytes": 1_000_000}});
    let running = Running::start(json!([cache, called("a", &model.url())])).await;
    for _ in 0..3 {
        assert_eq!(data(&running.infer(question(&[1])).await.expect("answered")), [2]);
    }
    assert_eq!(model.count(), 1);

    let model = Model::start(adds).await;
    let batch = json!({"name": "k", "batch": {"node": "a", "maxSize": 2, "maxWaitMillis": 9000}});
    let running = Running::start(json!([batch, called("a", &model.url())])).await;
    let (one, two) = tokio::join!(running.infer(question(&[1])), running.infer(question(&[5])));
    assert_eq!((data(&one.expect("answered")), data(&two.expect("answered"))), (vec![2], vec![6]));
    assert_eq!(model.count(), 1);
}

#[tokio::test]
async fn a_graph_within_a_graph_passes_messages_too() {
    let model = Model::start(adds).await;
    let inner = json!({"name": "inner", "revision": "1", "protocol": "OpenInference", "entry": "a", "timeoutMillis": 5000, "nodes": [called("a", &model.url())]});
    let running = Running::of(json!({"nodes": [{"name": "n", "graph": "inner"}]}), &[inner]).await;
    assert_eq!(data(&running.infer(question(&[1])).await.expect("answered")), [2]);
    assert_eq!(model.last().1.model_name, "model-a");
}

#[tokio::test]
async fn clients_of_another_protocol_reach_servers_of_grpc() {
    let model = Model::start(adds).await;
    let running = Running::of(json!({"protocol": "KServeV1", "nodes": [called("a", &model.url())]}), &[]).await;
    let status = running.infer(question(&[1])).await.expect_err("v1 has no gRPC");
    assert_eq!(status.code(), Code::Unimplemented);
    let client = post(running.port, "/v1/models/g:predict", &json!({"instances": [1, 2]})).await;
    assert_eq!(client, json!({"predictions": [2, 3]}));
}

async fn post(port: u16, path: &str, body: &Value) -> Value {
    use http_body_util::{BodyExt, Full};
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    let request = http::Request::post(format!("http://127.0.0.1:{port}{path}"));
    let request = request.body(Full::new(Bytes::from(body.to_string()))).expect("a request");
    let answer = client.request(request).await.expect("answered").into_body().collect().await.expect("whole");
    serde_json::from_slice(&answer.to_bytes()).expect("JSON")
}

#[tokio::test]
async fn refusals_of_a_server_are_those_that_policies_know() {
    let model = Model::start(|number, request| match number {
        0 | 1 => ready(Err(Status::new(Code::Unavailable, "starting"))),
        _ => adds(number, request),
    })
    .await;
    let retried =
        with(called("a", &model.url()), &json!({"retry": {"limit": 2, "backoffMillis": 1, "budgetPercent": 1000.0}}));
    let running = Running::start(json!([retried])).await;
    assert_eq!(data(&running.infer(question(&[1])).await.expect("the third answers")), [2]);
    assert_eq!(model.count(), 3);

    let (bad, good) = (Model::start(busy).await, Model::start(adds).await);
    let breaker = json!({"circuitBreaker": {"failures": 2, "windowMillis": 60_000, "cooldownMillis": 60_000}});
    let choices = json!({"name": "f", "fallback": [{"node": "a"}, {"node": "b"}]});
    let running =
        Running::start(json!([choices, with(called("a", &bad.url()), &breaker), called("b", &good.url())])).await;
    for _ in 0..5 {
        assert_eq!(data(&running.infer(question(&[1])).await.expect("the other answers")), [2]);
    }
    assert_eq!((bad.count(), good.count()), (2, 5));
}

#[tokio::test]
async fn codes_and_statuses_stand_for_one_another() {
    let cases = [
        (Code::InvalidArgument, 400, Code::InvalidArgument),
        (Code::NotFound, 404, Code::NotFound),
        (Code::ResourceExhausted, 429, Code::ResourceExhausted),
        (Code::Unimplemented, 501, Code::Unimplemented),
        (Code::Unavailable, 503, Code::Unavailable),
        (Code::DeadlineExceeded, 504, Code::DeadlineExceeded),
        (Code::Unknown, 500, Code::Internal),
        (Code::FailedPrecondition, 400, Code::InvalidArgument),
    ];
    // The server refuses by the code that the first number of the question is.
    let model = Model::start(|_, request| {
        let number = request.inputs[0].contents.as_ref().expect("typed").int64_contents[0];
        ready(Err(Status::new(Code::from_i32(i32::try_from(number).expect("a code")), "warum, 100%?\n")))
    })
    .await;
    let running = Running::start(json!([called("a", &model.url())])).await;
    for (code, status, back) in cases {
        let number = code as i64;
        let refusal = running.infer(question(&[number])).await.expect_err("refused");
        assert_eq!((refusal.code(), refusal.message()), (back, "warum, 100%?\n"), "{code:?}");
        let (told, body) = running.ask(&json_question(&[number])).await;
        assert_eq!((told.as_u16(), body["error"].as_str()), (status, Some("warum, 100%?\n")), "{code:?}");
    }
}

#[tokio::test]
async fn refusals_of_servers_of_json_reach_clients_of_grpc() {
    let cases = [
        (422, json!({"error": "bad shape"}), Code::InvalidArgument, "bad shape"),
        (404, json!({"detail": "no model"}), Code::NotFound, "no model"),
        (500, json!([1]), Code::Internal, "[1]"),
        (503, json!({"error": {"message": "busy"}}), Code::Unavailable, "busy"),
    ];
    for (status, body, code, words) in cases {
        let (url, _) = http_server(status, "application/json", &body).await;
        let running = Running::start(json!([asked("a", &url)])).await;
        let refusal = running.infer(question(&[1])).await.expect_err("refused");
        assert_eq!((refusal.code(), refusal.message()), (code, words));
    }
    let (url, _) = http_server(200, "application/json", &json!({"x": 1})).await;
    let running = Running::start(json!([asked("a", &url)])).await;
    let refusal = running.infer(question(&[1])).await.expect_err("no answer of the protocol");
    let words = "the graph's answer cannot be told: there is no list \"outputs\"";
    assert_eq!((refusal.code(), refusal.message()), (Code::Unavailable, words));
}

#[tokio::test]
async fn servers_that_are_not_there_or_speak_something_else_fail_in_words() {
    let nobody = format!("http://127.0.0.1:{}", free_port().await);
    let (html, _) = http_server(503, "text/html", &json!("<p>no</p>")).await;
    let (other, _) = http_server(200, "application/json", &json!({})).await;
    for (url, words) in [
        (&nobody, "Connection refused"),
        (&html, "503 Service Unavailable instead of an answer of gRPC"),
        (&other, "its answer has no grpc-status"),
    ] {
        let running = Running::start(json!([called("a", url)])).await;
        let refusal = running.infer(question(&[1])).await.expect_err("no answer");
        assert_eq!(refusal.code(), Code::Unavailable, "{refusal}");
        assert!(refusal.message().contains(words), "{refusal}");
    }
}

#[tokio::test]
async fn a_deadline_of_the_client_holds_on_the_way() {
    let model = Model::start(silent).await;
    let running = Running::start(json!([called("a", &model.url())])).await;
    // tonic's own client would give up by itself.
    let message = frame(&prost::Message::encode_to_vec(&question(&[1])).into());
    let wanted = HeaderMap::from_iter([(TIMEOUT, HeaderValue::from_static("300m"))]);
    let begun = Instant::now();
    let ended = code_and_message(&running.send_raw(message, wanted).await).expect("an end");
    assert_eq!(
        ended,
        (Code::DeadlineExceeded, "g: the graph did not answer within its deadline: a had not answered".to_owned())
    );
    assert!((Duration::from_millis(300)..Duration::from_secs(3)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    let left = model.last().0["grpc-timeout"].to_str().expect("text").to_owned();
    let millis: u64 = left.strip_suffix('m').and_then(|text| text.parse().ok()).expect("milliseconds");
    assert!((1..=300).contains(&millis), "{left}");

    let limited = with(called("a", &model.url()), &json!({"timeoutMillis": 100}));
    let running = Running::start(json!([limited])).await;
    assert_eq!(running.infer(question(&[1])).await.expect_err("nobody answers").code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn what_is_no_question_is_refused_by_its_code() {
    let model = Model::start(adds).await;
    let fields = json!({"nodes": [called("a", &model.url())], "limits": {"body": 1000, "inFlight": 8}});
    let running = Running::of(fields, &[]).await;
    let refusal = running.infer(question(&[i64::MAX; 200])).await.expect_err("too large");
    let words = "the request has more than the 1000 bytes that limits.body allows";
    assert_eq!((refusal.code(), refusal.message()), (Code::ResourceExhausted, words));
    let cases: [(&'static [u8], &str, &str); 4] = [
        (b"\x01\0\0\0\0", "12", "the%20message%20is%20compressed"),
        (b"", "3", "there%20is%20no%20whole%20message"),
        (b"\0\0\0\0\x05abc", "3", "it%20says%205%20bytes,%20and%203%20are%20there"),
        (b"\0\0\0\0\x02\x0a\xff", "3", "this%20is%20no%20ModelInferRequest"),
    ];
    for (body, code, words) in cases {
        let headers = running.send_raw(Bytes::from_static(body), HeaderMap::new()).await;
        assert_eq!(
            (headers["grpc-status"].as_bytes(), headers["grpc-accept-encoding"].as_bytes()),
            (code.as_bytes(), b"identity".as_slice())
        );
        assert!(headers["grpc-message"].to_str().expect("text").contains(words), "{headers:?}");
    }
    assert_eq!(model.count(), 0);
    let answer = running.infer(question(&[1])).await.expect("it goes on");
    assert_eq!(data(&answer), [2]);
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_refused() {
    let model = Model::start(|_, request| ready(Ok(told(&request, &[i64::MAX; 200])))).await;
    let fields = json!({"nodes": [called("a", &model.url())], "limits": {"body": 1000, "inFlight": 8}});
    let running = Running::of(fields, &[]).await;
    let refusal = running.infer(question(&[1])).await.expect_err("too large");
    assert_eq!(refusal.message(), "a: its answer has more than the 1000 bytes that limits.body allows");
}

#[tokio::test]
async fn a_graph_that_is_full_says_when_to_come_again() {
    let model = Model::start(silent).await;
    let fields = json!({"nodes": [called("a", &model.url())], "limits": {"body": 1000, "inFlight": 1}});
    let running = Running::of(fields, &[]).await;
    let waiting = running.infer(question(&[1]));
    tokio::pin!(waiting);
    let refused = async {
        while model.count() == 0 {
            tokio::task::yield_now().await;
        }
        running.infer(question(&[1])).await
    };
    let refusal = tokio::select! {
        _ = &mut waiting => panic!("nobody answers"),
        refusal = refused => refusal.expect_err("full"),
    };
    assert_eq!(refusal.code(), Code::ResourceExhausted);
    assert_eq!(
        refusal.metadata().get("retry-after").map(tonic::metadata::MetadataValue::as_bytes),
        Some(b"1".as_slice())
    );
}

#[tokio::test]
async fn health_and_metadata_are_told_as_in_json() {
    let running = Running::start(json!([called("a", "http://127.0.0.1:1")])).await;
    let name = || "g".to_owned();
    let live: ServerLiveResponse = get(&running, "ServerLive", ServerLiveRequest {}).await;
    let ready: ServerReadyResponse = get(&running, "ServerReady", ServerReadyRequest {}).await;
    let asked = ModelReadyRequest { name: name(), version: String::new() };
    let model: ModelReadyResponse = get(&running, "ModelReady", asked).await;
    assert!(live.live && ready.ready && model.ready);
    let server: ServerMetadataResponse = get(&running, "ServerMetadata", ServerMetadataRequest {}).await;
    assert_eq!(server.name, "g");
    let asked = ModelMetadataRequest { name: name(), version: String::new() };
    let model: ModelMetadataResponse = get(&running, "ModelMetadata", asked).await;
    assert_eq!((model.name.as_str(), model.platform.as_str()), ("g", "rondo_graph"));
    let refusal = running.call::<_, ServerLiveResponse>("ModelStreamInfer", tonic::Request::new(ServerLiveRequest {}));
    assert_eq!(refusal.await.expect_err("there is none").code(), Code::Unimplemented);
}

async fn get<M1, M2>(running: &Running, method: &str, request: M1) -> M2
where
    M1: prost::Message + Send + Sync + 'static,
    M2: prost::Message + Default + Send + Sync + 'static,
{
    running.call(method, tonic::Request::new(request)).await.expect(method).into_inner()
}

#[tokio::test]
async fn many_calls_share_some_connections() {
    let model = Model::start(adds).await;
    let running = Running::start(json!([called("a", &model.url())])).await;
    let calls = (0..100).map(|number| {
        let running = &running;
        async move { data(&running.infer(question(&[number])).await.expect("answered")) == [number + 1] }
    });
    assert!(futures_util::future::join_all(calls).await.into_iter().all(|right| right));
    // They take turns, so that a Service with several pods gives work to more than one.
    assert_eq!(model.connections.load(Ordering::Relaxed), 8);
    running.router.drain(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn typed_contents_of_every_list_reach_the_server() {
    let model = Model::start(adds).await;
    let running = Running::start(json!([called("a", &model.url())])).await;
    let input = |name: &str, datatype: &str, data: Value| json!({"name": name, "shape": [1], "datatype": datatype, "data": data});
    let asked = json!({"inputs": [
        input("b", "BOOL", json!([true])), input("i", "INT16", json!([-3])), input("u", "UINT8", json!([3])),
        input("l", "UINT64", json!([u64::MAX])), input("f", "FP32", json!([0.1_f32])), input("d", "FP64", json!([0.1])),
        input("s", "BYTES", json!(["ü"])),
    ]});
    assert_eq!(running.ask(&asked).await.0, StatusCode::OK);
    let empty = InferTensorContents::default;
    let expected = [
        InferTensorContents { bool_contents: vec![true], ..empty() },
        InferTensorContents { int_contents: vec![-3], ..empty() },
        InferTensorContents { uint_contents: vec![3], ..empty() },
        InferTensorContents { uint64_contents: vec![u64::MAX], ..empty() },
        InferTensorContents { fp32_contents: vec![0.1], ..empty() },
        InferTensorContents { fp64_contents: vec![0.1], ..empty() },
        InferTensorContents { bytes_contents: vec![Bytes::from("ü")], ..empty() },
    ];
    let seen: Vec<InferTensorContents> = model.last().1.inputs.into_iter().filter_map(|input| input.contents).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_plan_is_refused_where_there_is_no_grpc() {
    for (target, words) in [
        (json!({"protocol": "OpenAI"}), "there is no gRPC of OpenAI, only of OpenInference"),
        (json!({"path": "/x"}), "gRPC has paths of its own; leave out what stands in path or behind the host"),
        (json!({"url": "http://h/x"}), "gRPC has paths of its own; leave out what stands in path or behind the host"),
        (json!({"url": "grpc://h"}), "grpc is neither http nor https"),
    ] {
        let target = with(called("a", "http://h")["target"].clone(), &target);
        let graph = json!({"name": "g", "revision": "1", "protocol": "OpenAI", "entry": "a", "timeoutMillis": 1, "nodes": [{"name": "a", "target": target}]});
        let router = Router::new(Arc::new(Upstream::new(PathBuf::new())), None, Workers::here());
        router.take(json!({"revision": "1", "graphs": [graph]}).to_string().as_bytes());
        let refused = router.reports().borrow().refused.clone().expect("refused");
        assert!(refused.message.contains(words), "{}", refused.message);
    }
}
