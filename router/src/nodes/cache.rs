//! A cache: an answer that was given lately is given again, and one that is being made is waited for.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use sha2::{Digest, Sha256};

use crate::call::{Call, Names, Outcome, ask as ask_node};
use crate::graph::{Cache, Node};
use crate::message::{Answer, AnswerBody, Body, Failure, FailureKind, Question, Usage};
use crate::plan::CachePlan;

/// What an entry costs besides its body and headers, about.
const ENTRY_BYTES: usize = 256;

/// An answer in the cache: its bytes alone, whatever was made of them for one request.
#[derive(Debug, Clone)]
pub struct Kept {
    status: StatusCode,
    headers: HeaderMap,
    body: Body,
}

/// Opens an empty cache.
pub fn open(plan: &CachePlan) -> moka::future::Cache<Vec<u8>, Arc<Kept>> {
    let weigh = |_: &Vec<u8>, kept: &Arc<Kept>| {
        let headers: usize = kept.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        u32::try_from(kept.body.received().len() + headers + ENTRY_BYTES).unwrap_or(u32::MAX)
    };
    moka::future::Cache::builder()
        .weigher(weigh)
        .max_capacity(plan.max_bytes)
        .time_to_live(Duration::from_millis(plan.ttl_millis))
        .build()
}

/// Gives what is in the cache, or asks the node and keeps its answer if it is a success.
///
/// # Errors
/// Those of the node, shared by all who waited for it, or the key has no value.
pub async fn ask(call: &Arc<Call>, node: &Node, cache: &Cache, question: Question, usage: Usage) -> Outcome {
    let Some(known) = &node.state.cache else { return ask_node(call, cache.node, question, usage.held()).await };
    let key = key_of(call, node, cache, &question)?;
    let metrics = &call.tools.metrics;
    if let Some(kept) = known.get(&key).await {
        metrics.cache_hits.get_or_create(&node.state.labels).inc();
        call.note(question.step, |step| step.cached = true);
        return Ok(restore(&kept));
    }
    metrics.cache_misses.get_or_create(&node.state.labels).inc();
    let (step, mut asked) = (question.step, false);
    let make = async {
        asked = true;
        match ask_node(call, cache.node, question, usage.held()).await {
            Ok(answer) if answer.is_success() => keep(&answer).ok_or(Refused::Answer(None)),
            Ok(answer) => Err(Refused::Answer(keep(&answer))),
            Err(failure) => Err(Refused::Failure(failure)),
        }
    };
    let given = known.try_get_with(key, make).await;
    if !asked {
        call.note(step, |step| step.cached = true); // Another request was about to make it.
    }
    match given {
        Ok(kept) => {
            // It drops what is too much now and then only, and answers may be large.
            known.run_pending_tasks().await;
            Ok(restore(&kept))
        }
        Err(refused) => refused.outcome(node),
    }
}

fn key_of(call: &Call, node: &Node, cache: &Cache, question: &Question) -> Result<Vec<u8>, Failure> {
    let mut digest = Sha256::new();
    digest.update(call.asked.operation.openai_path());
    match &cache.key {
        None => digest.update(question.body.received()),
        Some(key) => {
            let value = key
                .evaluate(&Names::of(call))
                .map_err(|error| Failure::new(FailureKind::Mapping, &node.name, format!("cache.key: {error}")))?;
            digest.update(value.to_string());
        }
    }
    Ok(digest.finalize().to_vec())
}

fn keep(answer: &Answer) -> Option<Arc<Kept>> {
    let body = answer.kept()?.apart();
    Some(Arc::new(Kept { status: answer.status, headers: answer.headers.clone(), body }))
}

fn restore(kept: &Kept) -> Answer {
    Answer { status: kept.status, headers: kept.headers.clone(), body: AnswerBody::Full(kept.body.afresh()) }
}

/// An outcome that is not kept, for all who waited for it.
#[derive(Debug)]
enum Refused {
    Failure(Failure),
    /// An answer that is no success; none if it came as a stream.
    Answer(Option<Arc<Kept>>),
}

impl Refused {
    fn outcome(&self, node: &Node) -> Outcome {
        match self {
            Self::Failure(failure) => Err(failure.clone()),
            Self::Answer(Some(kept)) => Ok(restore(kept)),
            Self::Answer(None) => Err(Failure::new(
                FailureKind::BadAnswer,
                &node.name,
                "the answer came as a stream and cannot be shared",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_request_reads_of_an_answer_does_not_stay_in_the_cache() {
        let answer = Answer::json(StatusCode::OK, json!({"x": 1}));
        let kept = keep(&answer).expect("it is no stream");
        for _ in 0..2 {
            let restored = restore(&kept);
            assert!(restored.kept().is_some_and(|body| !body.is_read() && body.json() == Ok(&json!({"x": 1}))));
            assert!(!kept.body.is_read());
        }
    }
}
