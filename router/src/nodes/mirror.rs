//! A mirror: one node answers, others see some of the requests as well and never slow it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::oneshot;

use crate::call::{Call, Kept, Names, Outcome, ask as ask_node};
use crate::graph::{Kind, Mirror, Node, NodeId};
use crate::message::{Answer, Question, Usage};

/// Mirrored requests of a node that may be under way; beyond them requests are not mirrored.
const MAX_SHADOWS: u64 = 64;

/// Asks the node that answers, and shows the request to the others.
///
/// # Errors
/// Those of the node that answers; the others have none.
pub async fn ask(call: &Arc<Call>, node: &Node, mirror: &Mirror, question: Question, usage: Usage) -> Outcome {
    if rand::random_range(0.0..100.0) >= mirror.percent {
        return ask_node(call, mirror.node, question, usage).await;
    }
    let compared = mirror.compare.is_some();
    let mut waiting = Vec::new();
    for &shadow in &mirror.to {
        match Place::take(&node.state.shadows) {
            Some(place) => waiting.push(cast(call, node, shadow, question.clone(), place)),
            None => {
                call.tools.metrics.shadows_dropped.get_or_create(&node.state.labels).inc();
            }
        }
    }
    let outcome = ask_node(call, mirror.node, question, usage.read_if(compared)).await;
    if let Ok(answer) = &outcome {
        tell(waiting, answer);
    }
    outcome
}

fn tell(waiting: Vec<oneshot::Sender<Kept>>, answer: &Answer) {
    for sender in waiting {
        if let Some(kept) = Kept::of(answer) {
            let _ = sender.send(kept); // Whoever has ended before does not compare.
        }
    }
}

/// Asks a shadow beside everything else; gives where to put the answer that it is compared with.
fn cast(call: &Arc<Call>, node: &Node, shadow: NodeId, question: Question, place: Place) -> oneshot::Sender<Kept> {
    let (sender, primary) = oneshot::channel();
    let (beside, id) = (call.beside(None), position_of(call, node));
    let usage = Usage::Held.read_if(matches!(&node.kind, Kind::Mirror(mirror) if mirror.compare.is_some()));
    tokio::spawn(async move {
        let _place = place;
        let until = beside.deadline;
        let outcome = tokio::time::timeout_at(until, ask_node(&beside, shadow, question, usage)).await;
        let (Some(id), Ok(Ok(answer)), Ok(primary)) = (id, outcome, primary.await) else { return };
        compare(&beside, id, shadow, &primary, &answer);
    });
    sender
}

fn position_of(call: &Call, node: &Node) -> Option<NodeId> {
    call.served.nodes.iter().position(|each| std::ptr::eq(each, node)).map(NodeId)
}

fn compare(call: &Call, id: NodeId, asked: NodeId, primary: &Kept, answer: &Answer) {
    let node = call.served.node(id);
    let (Kind::Mirror(mirror), Some(shadow)) = (&node.kind, Kept::of(answer)) else { return };
    let Some(compare) = &mirror.compare else { return };
    let names = Names::of(call).with("primary", primary.seen()).with("shadow", shadow.seen());
    let agree = compare.evaluate_bool(&names).unwrap_or_else(|error| {
        tracing::debug!(node = %node.name, "mirror.compare: {error}");
        call.tools.metrics.expression_errors.get_or_create(&node.state.labels).inc();
        false
    });
    let metrics = &call.tools.metrics;
    let counter = if agree { &metrics.agreements } else { &metrics.disagreements };
    counter.get_or_create(&node.state.labels).inc();
    if let Kind::Graph { graph, .. } = call.served.node(asked).kind
        && let Some(tally) = &call.served.graphs[graph].tally
    {
        tally.compared(agree);
    }
}

/// A place among the mirrored requests that are under way.
struct Place(Arc<AtomicU64>);

impl Place {
    fn take(count: &Arc<AtomicU64>) -> Option<Self> {
        let more = |under_way| (under_way < MAX_SHADOWS).then_some(under_way + 1);
        count.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok().map(|_| Self(Arc::clone(count)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
