//! Any bytes as a plan: it is refused with words, or can be served, and then also in the place of itself.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use rondo_router::compile::{children, compile};
use rondo_router::metrics::Metrics;
use rondo_router::plan::Plan;

fuzz_target!(|bytes: &[u8]| {
    let Ok(plan) = serde_json::from_slice::<Plan>(bytes) else { return };
    let (metrics, news) = (Metrics::default(), Arc::default());
    let served = match compile(&plan, None, &metrics, &news) {
        Ok(served) => Arc::new(served),
        Err(error) => return assert!(!error.message.is_empty()),
    };
    for graph in &served.graphs {
        assert!(graph.entry.0 < served.nodes.len());
    }
    for node in &served.nodes {
        assert!(children(&node.kind).iter().all(|child| child.0 < served.nodes.len()));
    }
    let again = compile(&plan, Some(&(plan.clone(), Arc::clone(&served))), &metrics, &news);
    assert!(again.is_ok(), "what is served cannot be served again");
});
