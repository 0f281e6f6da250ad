//! Graphs answer HTTP/2 without TLS (h2c) on the same port, many requests on one connection.

#![expect(clippy::expect_used, reason = "a test ends where it fails")]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rondo_router::router::Router;
use rondo_router::upstream::Upstream;
use rondo_router::workers::Workers;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

async fn backend() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let answer = || async { axum::Json(json!({"x": 1})) };
    tokio::spawn(axum::serve(listener, axum::Router::new().fallback(answer)).into_future());
    address
}

async fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port").local_addr().expect("bound").port()
}

#[tokio::test]
async fn a_model_is_asked_by_what_it_speaks() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (target, port) = (backend().await, free_port().await);
    for hold in [json!(null), json!({"max": 8, "timeoutMillis": 1000})] {
        let revision = json!({"name": "r", "url": format!("http://{target}"), "weight": 1});
        let model = json!({"name": "m", "port": port, "revisions": [revision], "hold": hold});
        let router = Router::new(Arc::new(Upstream::new(PathBuf::new())), None, Workers::here());
        router.take(json!({"revision": "1", "models": [model]}).to_string().as_bytes());
        assert_eq!(router.reports().borrow().refused, None);
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("open");
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("h2c");
        tokio::spawn(connection);
        let request = Request::post(format!("http://127.0.0.1:{port}/")).body(Full::new(Bytes::from_static(b"{}")));
        let answer = sender.send_request(request.expect("a request")).await.expect("answered");
        assert_eq!((answer.status(), answer.version()), (StatusCode::OK, Version::HTTP_2));
        assert_eq!(answer.into_body().collect().await.expect("whole").to_bytes(), r#"{"x":1}"#);
        drop(sender);
        router.drain(Duration::from_secs(5)).await;
    }
}

#[tokio::test]
async fn who_takes_no_answers_holds_no_places() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (target, port) = (backend().await, free_port().await);
    let node = json!({"name": "n", "target": {"url": format!("http://{target}"), "protocol": "JSON"}});
    let graph = json!({
        "name": "g", "revision": "1", "port": port, "protocol": "JSON", "entry": "n", "timeoutMillis": 500,
        "limits": {"body": 1000, "inFlight": 4}, "nodes": [node],
    });
    let router = Router::new(Arc::new(Upstream::new(PathBuf::new())), None, Workers::here());
    router.take(json!({"revision": "1", "graphs": [graph]}).to_string().as_bytes());
    let open = async |window| {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("open");
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(window).handshake(TokioIo::new(stream)).await.expect("h2c")
    };
    let request = || Request::post(format!("http://127.0.0.1:{port}/")).body(Full::new(Bytes::from_static(b"{}")));
    let (mut greedy, connection) = open(Some(0)).await;
    let greedy_connection = tokio::spawn(connection);
    let mut untaken = Vec::new();
    for _ in 0..4 {
        untaken.push(greedy.send_request(request().expect("a request")).await.expect("answered"));
    }
    let (mut other, connection) = open(None).await;
    tokio::spawn(connection);
    let mut ask = async || other.send_request(request().expect("a request")).await.expect("answered").status();
    assert_eq!(ask().await, StatusCode::TOO_MANY_REQUESTS);
    let freed = async {
        while ask().await != StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), freed).await.expect("places are free again");
    let closed = tokio::time::timeout(Duration::from_secs(10), greedy_connection).await;
    assert!(closed.expect("it is closed").is_ok());
    drop(untaken);
}

#[tokio::test]
async fn many_requests_on_one_connection_are_answered() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (target, port) = (backend().await, free_port().await);
    let node = json!({"name": "n", "target": {"url": format!("http://{target}"), "protocol": "JSON"}});
    let graph = json!({"name": "g", "revision": "1", "port": port, "protocol": "JSON", "entry": "n", "timeoutMillis": 5000, "nodes": [node]});
    let router = Router::new(Arc::new(Upstream::new(PathBuf::new())), None, Workers::here());
    router.take(json!({"revision": "1", "graphs": [graph]}).to_string().as_bytes());
    assert_eq!(router.reports().borrow().revision, "1");

    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("open");
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("h2c");
    tokio::spawn(connection);
    let ask = |number: u64| {
        let mut sender = sender.clone();
        let body = Full::new(Bytes::from(json!({"n": number}).to_string()));
        let request = Request::post(format!("http://127.0.0.1:{port}/")).body(body).expect("a request");
        async move { sender.send_request(request).await.expect("answered") }
    };
    let answers = futures_util::future::join_all((0..50).map(ask));
    for answer in tokio::time::timeout(Duration::from_secs(10), answers).await.expect("in time") {
        assert_eq!((answer.status(), answer.version()), (StatusCode::OK, Version::HTTP_2));
        let body = answer.into_body().collect().await.expect("whole").to_bytes();
        assert_eq!(serde_json::from_slice::<Value>(&body).expect("JSON"), json!({"x": 1}));
    }
    router.drain(Duration::from_secs(5)).await;
}
