//! A cache: an answer that was given lately is given again, and one that is being made is waited for.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use sha2::{Digest, Sha256};
use tokio::time::timeout_at;

use super::unvalued;
use crate::call::{Call, Names, Outcome, ask as ask_node};
use crate::graph::{Cache, Node, NodeId};
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
    let step = question.step;
    let (beside, known, id) = (call.beside(call.trail.clone()), known.clone(), cache.node);
    // Others may wait for it by then: neither that its client leaves ends it, nor that client's own deadline.
    let making = tokio::spawn(async move {
        let mut asked = false;
        let given = known.try_get_with(key, make(&beside, id, question, usage.held(), &mut asked)).await;
        if given.is_ok() {
            // It drops what is too much now and then only, and answers may be large.
            known.run_pending_tasks().await;
        }
        (given, asked)
    });
    let Ok((given, asked)) = making.await else {
        return Err(Failure::new(FailureKind::Reset, &node.name, "the answer was given up"));
    };
    if !asked {
        call.note(step, |step| step.cached = true); // Another request was about to make it.
    }
    given.map_or_else(|refused| refused.outcome(node), |kept| Ok(restore(&kept)))
}

/// Asks for an answer to be kept.
async fn make(
    call: &Arc<Call>,
    id: NodeId,
    question: Question,
    usage: Usage,
    asked: &mut bool,
) -> Result<Arc<Kept>, Refused> {
    *asked = true;
    match timeout_at(call.deadline, ask_node(call, id, question, usage)).await {
        Ok(Ok(answer)) if answer.is_success() => keep(&answer).ok_or(Refused::Answer(None)),
        Ok(Ok(answer)) => Err(Refused::Answer(keep(&answer))),
        Ok(Err(failure)) => Err(Refused::Failure(failure)),
        Err(_) => {
            let name = &call.served.node(id).name;
            Err(Refused::Failure(Failure::new(FailureKind::Deadline, name, "no answer before the deadline")))
        }
    }
}

fn key_of(call: &Call, node: &Node, cache: &Cache, question: &Question) -> Result<Vec<u8>, Failure> {
    let mut digest = Sha256::new();
    digest.update(call.asked.operation.openai_path());
    match &cache.key {
        None => {
            cache.reads.write(call, &question.body, &mut |part| digest.update(part));
            digest.update(question.body.received());
        }
        Some(key) => {
            // Whatever the key says: nobody gets what another one's credentials have opened.
            cache.reads.write_forwarded(call, &mut |part| digest.update(part));
            let value = key
                .evaluate(&Names::of(call))
                .map_err(|error| Failure::new(unvalued(key), &node.name, format!("cache.key: {error}")))?;
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
