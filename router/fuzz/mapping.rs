//! Any mapping over any bodies: a new body, or words why there is none.

#![no_main]

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use http::{HeaderMap, Method};
use libfuzzer_sys::fuzz_target;
use rondo_router::call::{Asked, Call, Names, Tools, Wire};
use rondo_router::compile::compile;
use rondo_router::mapping;
use rondo_router::message::Body;
use rondo_router::metrics::Metrics;
use rondo_router::plan::Plan;
use rondo_router::protocol::Operation;
use rondo_router::upstream::Upstream;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

static TOOLS: LazyLock<Arc<Tools>> = LazyLock::new(|| {
    let upstream = Arc::new(Upstream::new(PathBuf::new()));
    Arc::new(Tools { upstream, metrics: Metrics::default(), telemetry: None })
});

#[derive(Deserialize)]
struct Given {
    mapping: Value,
    asked: Value,
    response: Value,
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(Given { mapping, asked, response }) = serde_json::from_slice(bytes) else { return };
    let node = json!({"name": "a", "target": {"url": "http://a", "protocol": "JSON"}, "response": mapping});
    let graph = json!({"name": "g", "revision": "1", "protocol": "JSON", "entry": "a", "timeoutMillis": 1, "nodes": [node]});
    let Ok(plan) = serde_json::from_value::<Plan>(json!({"revision": "1", "graphs": [graph]})) else { return };
    let Ok(served) = compile(&plan, None, &TOOLS.metrics, &Arc::default()) else { return };
    let served = Arc::new(served);
    let Some(made) = served.nodes[0].response.as_ref() else { return };
    let call = call(&served, Body::of(asked));
    let response = Body::of(response);
    match mapping::apply(made, &Names::of(&call), Some(&response), &response) {
        Ok(body) => assert!(body.json().is_ok()),
        Err(words) => assert!(!words.is_empty()),
    }
});

fn call(served: &Arc<rondo_router::graph::Served>, body: Body) -> Arc<Call> {
    let asked = Asked {
        method: Method::POST,
        path: "/".into(),
        headers: Arc::new(HeaderMap::new()),
        body,
        wire: Wire::Http,
        operation: Operation::Infer,
        hops: 0,
    };
    Call::new(Arc::clone(served), 0, asked, Instant::now() + Duration::from_secs(1), Arc::clone(&TOOLS), None)
}
