//! Real servers and clients of gRPC and JSON around a router, all over sockets.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::uri::PathAndQuery;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rondo_router::grpc::proto::{InferTensor, InferTensorContents, ModelInferRequest, ModelInferResponse};
use rondo_router::router::Router;
use rondo_router::upstream::Upstream;
use rondo_router::workers::Workers;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;
use tower::service_fn;

pub const PATIENCE: Duration = Duration::from_secs(10);

/// How a model answers.
pub type Does = fn(usize, ModelInferRequest) -> BoxFuture<'static, Result<ModelInferResponse, Status>>;

/// A model server that speaks gRPC.
pub struct Model {
    pub address: SocketAddr,
    pub seen: Arc<Mutex<Vec<(HeaderMap, ModelInferRequest)>>>,
    pub connections: Arc<AtomicUsize>,
}

impl Model {
    /// A server that answers by a function of the number of requests before, and the request.
    pub async fn start(does: Does) -> Self {
        let (listener, address) = listen().await;
        let (seen, connections) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<AtomicUsize>::default());
        let (noted, counted) = (Arc::clone(&seen), Arc::clone(&connections));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                let noted = Arc::clone(&noted);
                let service = service_fn(move |request| answer_call(does, Arc::clone(&noted), request));
                let service = TowerToHyperService::new(service);
                tokio::spawn(async move {
                    let served = auto::Builder::new(TokioExecutor::new()).http2_only();
                    drop(served.serve_connection(TokioIo::new(stream), service).await);
                });
            }
        });
        Self { address, seen, connections }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn count(&self) -> usize {
        self.seen.lock().expect("whole").len()
    }

    /// The last request, with its metadata.
    pub fn last(&self) -> (HeaderMap, ModelInferRequest) {
        self.seen.lock().expect("whole").last().expect("asked").clone()
    }
}

async fn answer_call(
    does: Does,
    seen: Arc<Mutex<Vec<(HeaderMap, ModelInferRequest)>>>,
    request: Request<hyper::body::Incoming>,
) -> Result<Response<tonic::body::Body>, Infallible> {
    assert_eq!(request.uri().path(), "/inference.GRPCInferenceService/ModelInfer");
    let headers = request.headers().clone();
    let answer = move |request: tonic::Request<ModelInferRequest>| {
        let (seen, headers) = (Arc::clone(&seen), headers.clone());
        async move {
            let message = request.into_inner();
            let number = {
                let mut seen = seen.lock().expect("whole");
                seen.push((headers, message.clone()));
                seen.len() - 1
            };
            does(number, message).await.map(tonic::Response::new)
        }
    };
    let mut server = tonic::server::Grpc::new(ProstCodec::<ModelInferResponse, ModelInferRequest>::default());
    Ok(server.unary(service_fn(answer), request).await)
}

/// A server that gives one answer of HTTP, over HTTP/1 or HTTP/2, and counts requests. One of gRPC says that all is well.
pub async fn http_server(status: u16, kind: &'static str, body: &Value) -> (String, Arc<AtomicUsize>) {
    let (listener, address) = listen().await;
    let (count, mut body) = (Arc::<AtomicUsize>::default(), Bytes::from(body.to_string()));
    let called = kind == "application/grpc";
    if called {
        body = rondo_router::grpc::frame(&body);
    }
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (counted, body) = (Arc::clone(&counted), body.clone());
            let service = service_fn(move |_: Request<hyper::body::Incoming>| {
                counted.fetch_add(1, Ordering::Relaxed);
                let mut answer = Response::builder().status(status).header("content-type", kind);
                if called {
                    answer = answer.header("grpc-status", "0").header("content-encoding", "gzip");
                }
                std::future::ready(answer.body(Full::new(body.clone())))
            });
            let service = TowerToHyperService::new(service);
            tokio::spawn(async move {
                drop(auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await);
            });
        }
    });
    (format!("http://{address}"), count)
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

pub async fn free_port() -> u16 {
    listen().await.1.port()
}

/// A router that serves graphs, of which the first has the port.
pub struct Running {
    pub router: Arc<Router>,
    pub port: u16,
    pub channel: Channel,
}

impl Running {
    /// Serves one graph of the Open Inference Protocol; its first node answers.
    pub async fn start(nodes: Value) -> Self {
        Self::of(json!({"nodes": nodes}), &[]).await
    }

    /// Serves a graph, with fields of its own, and others.
    pub async fn of(fields: Value, others: &[Value]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let port = free_port().await;
        let mut graph =
            json!({"name": "g", "revision": "1", "port": port, "protocol": "OpenInference", "timeoutMillis": 10_000});
        let members = graph.as_object_mut().expect("an object");
        members.insert("entry".to_owned(), fields["nodes"][0]["name"].clone());
        members.extend(fields.as_object().expect("an object").clone());
        let graphs: Vec<Value> = std::iter::once(graph).chain(others.iter().cloned()).collect();
        let router = Router::new(Arc::new(Upstream::new(PathBuf::new())), None, Workers::here());
        router.take(json!({"revision": "1", "graphs": graphs}).to_string().as_bytes());
        assert_eq!(router.reports().borrow().refused, None);
        let channel = Channel::from_shared(format!("http://127.0.0.1:{port}")).expect("an address").connect_lazy();
        Self { router, port, channel }
    }

    /// Asks by gRPC.
    pub async fn infer(
        &self,
        request: impl tonic::IntoRequest<ModelInferRequest>,
    ) -> Result<ModelInferResponse, Status> {
        Ok(self.call("ModelInfer", request.into_request()).await?.into_inner())
    }

    /// Calls any method.
    pub async fn call<M1, M2>(&self, method: &str, request: tonic::Request<M1>) -> Result<tonic::Response<M2>, Status>
    where
        M1: prost::Message + Send + Sync + 'static,
        M2: prost::Message + Default + Send + Sync + 'static,
    {
        let mut client = tonic::client::Grpc::new(self.channel.clone());
        client.ready().await.map_err(|error| Status::new(Code::Unknown, error.to_string()))?;
        let path = PathAndQuery::try_from(format!("/inference.GRPCInferenceService/{method}")).expect("a path");
        let called = client.unary(request, path, ProstCodec::<M1, M2>::default());
        tokio::time::timeout(PATIENCE, called).await.expect("in time")
    }

    /// Asks by JSON.
    pub async fn ask(&self, question: &Value) -> (StatusCode, Value) {
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let uri = format!("http://127.0.0.1:{}/v2/models/g/infer", self.port);
        let request = Request::post(uri).body(Full::new(Bytes::from(question.to_string()))).expect("a request");
        let answer = tokio::time::timeout(PATIENCE, client.request(request)).await.expect("in time").expect("answered");
        let status = answer.status();
        let body = answer.into_body().collect().await.expect("whole").to_bytes();
        (status, serde_json::from_slice(&body).expect("JSON"))
    }

    /// Sends bytes as a call of gRPC, and gives the headers of the answer.
    pub async fn send_raw(&self, body: Bytes, more: HeaderMap) -> HeaderMap {
        let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Full<Bytes>>();
        let uri = format!("http://127.0.0.1:{}/inference.GRPCInferenceService/ModelInfer", self.port);
        let request = Request::post(uri).header("content-type", "application/grpc").header("te", "trailers");
        let mut request = request.body(Full::new(body)).expect("a request");
        request.headers_mut().extend(more);
        let answer = tokio::time::timeout(PATIENCE, client.request(request)).await.expect("in time").expect("answered");
        answer.headers().clone()
    }
}

/// A target that is asked by gRPC.
pub fn called(name: &str, url: &str) -> Value {
    json!({"name": name, "target": {"url": url, "protocol": "OpenInference", "transport": "GRPC", "model": format!("model-{name}")}})
}

/// A target that is asked by HTTP.
pub fn asked(name: &str, url: &str) -> Value {
    json!({"name": name, "target": {"url": url, "protocol": "OpenInference", "model": format!("model-{name}")}})
}

/// A node with more fields.
pub fn with(mut node: Value, fields: &Value) -> Value {
    if let (Some(node), Some(fields)) = (node.as_object_mut(), fields.as_object()) {
        node.extend(fields.clone());
    }
    node
}

/// A tensor of whole numbers.
pub fn numbers(name: &str, data: &[i64]) -> InferTensor {
    InferTensor {
        name: name.to_owned(),
        datatype: "INT64".to_owned(),
        shape: vec![i64::try_from(data.len()).expect("few")],
        contents: Some(InferTensorContents { int64_contents: data.to_vec(), ..InferTensorContents::default() }),
        ..InferTensor::default()
    }
}

/// A question of whole numbers.
pub fn question(data: &[i64]) -> ModelInferRequest {
    ModelInferRequest {
        model_name: "g".to_owned(),
        id: "7".to_owned(),
        inputs: vec![numbers("x", data)],
        ..ModelInferRequest::default()
    }
}

/// An answer of whole numbers.
pub fn told(request: &ModelInferRequest, data: &[i64]) -> ModelInferResponse {
    ModelInferResponse {
        model_name: request.model_name.clone(),
        id: request.id.clone(),
        outputs: vec![numbers("y", data)],
        ..ModelInferResponse::default()
    }
}

/// The whole numbers of the first output.
pub fn data(answer: &ModelInferResponse) -> Vec<i64> {
    answer.outputs[0].contents.as_ref().expect("typed").int64_contents.clone()
}

/// Answers each number and one.
pub fn adds(_: usize, request: ModelInferRequest) -> BoxFuture<'static, Result<ModelInferResponse, Status>> {
    Box::pin(async move {
        let input = request.inputs.first().and_then(|input| input.contents.clone()).unwrap_or_default();
        let data: Vec<i64> = input.int64_contents.iter().map(|number| number.wrapping_add(1)).collect();
        Ok(told(&request, &data))
    })
}

/// Refuses as one that is busy.
pub fn busy(_: usize, _: ModelInferRequest) -> BoxFuture<'static, Result<ModelInferResponse, Status>> {
    Box::pin(std::future::ready(Err(Status::new(Code::Unavailable, "busy"))))
}

/// Never answers.
pub fn silent(_: usize, _: ModelInferRequest) -> BoxFuture<'static, Result<ModelInferResponse, Status>> {
    Box::pin(std::future::pending())
}
