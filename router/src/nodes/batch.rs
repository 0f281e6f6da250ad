//! A batch: requests in the Open Inference Protocol that look alike become one, and its answer is divided again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};
use tokio::sync::oneshot;

use crate::call::{Call, Outcome, ask as ask_node};
use crate::graph::{Batch, Node, NodeId};
use crate::message::{Answer, Body, Failure, FailureKind, Question, Usage};
use crate::protocol::tensor::{Tensor, tensors};
use crate::words::{cut, quoted};

/// Requests that wait for others like them.
#[derive(Debug, Default)]
pub struct Gathering {
    open: Mutex<HashMap<Vec<u8>, Vec<Member>>>,
}

/// A request that waits.
#[derive(Debug)]
struct Member {
    inputs: Vec<Tensor>,
    asked: Arc<Value>,
    answer: oneshot::Sender<Outcome>,
}

/// Asks together with others.
///
/// # Errors
/// The request has no tensors, the node failed, or its answer cannot be divided.
pub async fn ask(call: &Arc<Call>, node: &Node, batch: &Batch, question: Question, usage: Usage) -> Outcome {
    let bad = |words: String| Failure::new(FailureKind::BadRequest, &node.name, words);
    let Some(gathering) = &node.state.gathering else {
        return ask_node(call, batch.node, question, usage.held()).await;
    };
    let asked = Arc::new(question.body.json().map_err(|words| bad(words.to_owned()))?.clone());
    let inputs = tensors(&asked, "inputs").map_err(bad)?;
    let rows = inputs.first().map(Tensor::rows).unwrap_or_default();
    let even = inputs.iter().all(|input| !input.shape.is_empty() && input.rows() == rows);
    if !even || rows == 0 || rows >= batch.max_size {
        return ask_node(call, batch.node, question, usage.held()).await; // It cannot be divided, or is a batch itself.
    }
    let mut key = likeness(&asked, &inputs).into_bytes();
    batch.reads.write(call, &question.body, &mut |part| key.extend_from_slice(part));
    if batch.reads.rows {
        key.extend_from_slice(call.asked.body.received());
    }
    let (answer, receiver) = oneshot::channel();
    let joined = gathering.join(&key, Member { inputs, asked, answer }, batch.max_size);
    match joined {
        Joined::First => wait_and_send(call, node, batch, key),
        Joined::Full(members) => send(call, node, batch.node, members),
        Joined::Later => {}
    }
    receiver.await.unwrap_or_else(|_| Err(Failure::new(FailureKind::Reset, &node.name, "its batch was given up")))
}

/// What requests of one batch have in common: all of the inputs but their rows, and everything that is no input.
fn likeness(asked: &Value, inputs: &[Tensor]) -> String {
    let mut common = asked.as_object().cloned().unwrap_or_default();
    common.shift_remove("id");
    let rows: Vec<Value> =
        inputs.iter().map(|of| serde_json::json!([of.name, of.datatype, of.shape.get(1..), of.parameters])).collect();
    common.insert("inputs".to_owned(), Value::Array(rows));
    Value::Object(common).to_string()
}

/// How a request came into a batch.
enum Joined {
    /// It opened one, which has to be sent after a while.
    First,
    Later,
    /// It filled one, which has to be sent now.
    Full(Vec<Member>),
}

impl Gathering {
    fn join(&self, key: &[u8], member: Member, max_size: usize) -> Joined {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let members = open.entry(key.to_owned()).or_default();
        let rows = |members: &[Member]| members.iter().map(Member::rows).sum::<usize>();
        let overflow = rows(members) + member.rows() > max_size;
        let before = if overflow { std::mem::take(members) } else { Vec::new() };
        members.push(member);
        let (first, full) = (members.len() == 1, rows(members) >= max_size);
        if !before.is_empty() {
            // The one that overflows opens the next batch; the timer of the last one sends it.
            return Joined::Full(before);
        }
        if full {
            return Joined::Full(open.remove(key).unwrap_or_default());
        }
        if first { Joined::First } else { Joined::Later }
    }

    fn take(&self, key: &[u8]) -> Vec<Member> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(key).unwrap_or_default()
    }
}

impl Member {
    fn rows(&self) -> usize {
        self.inputs.first().map(Tensor::rows).unwrap_or_default()
    }
}

/// Sends a batch once its first request has waited long enough; nobody's leaving stops it.
fn wait_and_send(call: &Arc<Call>, node: &Node, batch: &Batch, key: Vec<u8>) {
    let (beside, state, name) = (call.beside(None), Arc::clone(&node.state), Arc::clone(&node.name));
    let (id, wait) = (batch.node, batch.max_wait);
    tokio::spawn(async move {
        tokio::time::sleep(wait).await;
        let members = state.gathering.as_ref().map(|gathering| gathering.take(&key)).unwrap_or_default();
        carry(&beside, &name, id, members).await;
    });
}

fn send(call: &Arc<Call>, node: &Node, id: NodeId, members: Vec<Member>) {
    let (beside, name) = (call.beside(None), Arc::clone(&node.name));
    tokio::spawn(async move { carry(&beside, &name, id, members).await });
}

/// Asks for all members at once and gives each its part.
async fn carry(call: &Arc<Call>, name: &Arc<str>, id: NodeId, members: Vec<Member>) {
    let members: Vec<Member> = members.into_iter().filter(|member| !member.answer.is_closed()).collect();
    let Some(first) = members.first() else { return };
    let metrics = &call.tools.metrics;
    let labels = &call.served.node(id).state.labels;
    metrics.batches.get_or_create(labels).inc();
    metrics.batched.get_or_create(labels).inc_by(members.len() as u64);
    let body = if members.len() == 1 { first.asked.as_ref().clone() } else { gathered(&members) };
    let question = Question { body: Body::of(body), stream: false, span: None, step: None };
    let outcome = match tokio::time::timeout_at(call.deadline, ask_node(call, id, question, Usage::Read)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Failure::new(FailureKind::Timeout, name, "its batch was not answered in time")),
    };
    distribute(name, members, &outcome);
}

/// One request of all members: their inputs one below the other.
fn gathered(members: &[Member]) -> Value {
    let mut made = members.first().and_then(|first| first.asked.as_object().cloned()).unwrap_or_default();
    made.shift_remove("id");
    let mut inputs: Vec<Tensor> = members.first().map(|first| first.inputs.clone()).unwrap_or_default();
    for member in members.iter().skip(1) {
        for (into, input) in inputs.iter_mut().zip(&member.inputs) {
            into.data.extend(input.data.iter().cloned());
            into.shape[0] += input.rows();
        }
    }
    made.insert("inputs".to_owned(), Value::Array(inputs.into_iter().map(Tensor::write).collect()));
    Value::Object(made)
}

fn distribute(name: &Arc<str>, members: Vec<Member>, outcome: &Outcome) {
    let parts = match outcome {
        Ok(answer) if answer.is_success() && members.len() > 1 => {
            let sizes: Vec<usize> = members.iter().map(Member::rows).collect();
            answer.kept().map_or(Err("it came as a stream".to_owned()), |body| divide(body, &sizes))
        }
        _ => Ok(Vec::new()),
    };
    match parts {
        Err(words) => {
            let failure =
                Failure::new(FailureKind::BadAnswer, name, format!("the answer to a batch cannot be divided: {words}"));
            for member in members {
                drop(member.answer.send(Err(failure.clone())));
            }
        }
        Ok(parts) if parts.is_empty() => {
            for member in members {
                drop(member.answer.send(copy(name, outcome)));
            }
        }
        Ok(parts) => {
            for (member, mut part) in members.into_iter().zip(parts) {
                if let Some(id) = member.asked.get("id") {
                    part.insert("id".to_owned(), id.clone());
                }
                let answer = Answer::full(http::StatusCode::OK, Body::of(Value::Object(part)));
                drop(member.answer.send(Ok(answer)));
            }
        }
    }
}

fn copy(name: &Arc<str>, outcome: &Outcome) -> Outcome {
    match outcome {
        Err(failure) => Err(failure.clone()),
        Ok(answer) => {
            answer.copy().ok_or_else(|| Failure::new(FailureKind::BadAnswer, name, "its answer came as a stream"))
        }
    }
}

/// Divides the outputs of an answer by rows.
fn divide(body: &Body, sizes: &[usize]) -> Result<Vec<Map<String, Value>>, String> {
    let answer = body.json()?;
    let outputs = tensors(answer, "outputs")?;
    let total: usize = sizes.iter().sum();
    let mut parts = vec![Vec::new(); sizes.len()];
    for mut output in outputs {
        if output.shape.first() != Some(&total) {
            return Err(format!(
                "output {} has the shape {} for {total} rows",
                quoted(&output.name),
                cut(format!("{:?}", output.shape))
            ));
        }
        let width = output.data.len() / total.max(1);
        let mut data = std::mem::take(&mut output.data).into_iter();
        for (part, &size) in parts.iter_mut().zip(sizes) {
            let mut tensor = output.clone();
            tensor.shape[0] = size;
            tensor.data = data.by_ref().take(size * width).collect();
            part.push(tensor.write());
        }
    }
    let whole = |outputs: Vec<Value>| {
        let mut made = answer.as_object().cloned().unwrap_or_default();
        made.shift_remove("id");
        made.insert("outputs".to_owned(), Value::Array(outputs));
        made
    };
    Ok(parts.into_iter().map(whole).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn member(id: &str, rows: &Value) -> (Member, oneshot::Receiver<Outcome>) {
        let count = rows.as_array().map_or(0, Vec::len);
        let input = json!({"name": "x", "datatype": "INT64", "shape": [count, 1], "data": rows});
        let asked = json!({"id": id, "inputs": [input]});
        let (answer, receiver) = oneshot::channel();
        let inputs = tensors(&asked, "inputs").expect("tensors");
        (Member { inputs, asked: Arc::new(asked), answer }, receiver)
    }

    #[test]
    fn requests_become_one_and_its_answer_is_divided_again() {
        let ((one, mut first), (two, mut second)) = (member("1", &json!([1])), member("2", &json!([2, 3])));
        let members = vec![one, two];
        let whole = gathered(&members);
        assert_eq!(whole.pointer("/inputs/0/shape"), Some(&json!([3, 1])));
        assert_eq!(whole.pointer("/inputs/0/data"), Some(&json!([1, 2, 3])));
        let answer = json!({"model_name": "m", "outputs": [{"name": "y", "datatype": "INT64", "shape": [3], "data": [10, 20, 30]}]});
        distribute(&"b".into(), members, &Ok(Answer::json(http::StatusCode::OK, answer)));
        let part = |outcome: Outcome| outcome.expect("answered").kept().expect("kept").json().expect("JSON").clone();
        let first = part(first.try_recv().expect("told"));
        assert_eq!((first["id"].clone(), first["outputs"][0]["data"].clone()), (json!("1"), json!([10])));
        let second = part(second.try_recv().expect("told"));
        assert_eq!((second["id"].clone(), second["outputs"][0]["data"].clone()), (json!("2"), json!([20, 30])));
    }

    #[test]
    fn parameters_of_tensors_come_through_and_only_equal_ones_come_together() {
        let of = |name: &str, parameters: Value| json!([{"name": name, "datatype": "BYTES", "shape": [1], "parameters": parameters, "data": ["a"]}]);
        let member = |parameters: Value| {
            let asked = json!({"inputs": of("x", parameters)});
            let inputs = tensors(&asked, "inputs").expect("tensors");
            Member { inputs, asked: Arc::new(asked), answer: oneshot::channel().0 }
        };
        let (one, same, other) =
            (member(json!({"p": 1})), member(json!({"p": 1})), member(json!({"content_type": "str"})));
        assert_eq!(likeness(&one.asked, &one.inputs), likeness(&same.asked, &same.inputs));
        assert_ne!(likeness(&one.asked, &one.inputs), likeness(&other.asked, &other.inputs));
        assert_eq!(gathered(&[one, same]).pointer("/inputs/0/parameters"), Some(&json!({"p": 1})));
        let answer = Answer::json(http::StatusCode::OK, json!({"outputs": of("y", json!({"content_type": "str"}))}));
        let parts = divide(answer.kept().expect("kept"), &[1]).expect("divided");
        assert_eq!(parts[0]["outputs"], of("y", json!({"content_type": "str"})));
    }

    #[test]
    fn an_answer_of_other_shape_fails_all_with_words() {
        let ((one, mut first), (two, _second)) = (member("1", &json!([1])), member("2", &json!([2])));
        let answer = json!({"outputs": [{"name": "y", "datatype": "INT64", "shape": [1], "data": [10]}]});
        distribute(&"b".into(), vec![one, two], &Ok(Answer::json(http::StatusCode::OK, answer)));
        let failure = first.try_recv().expect("told").expect_err("failed");
        assert_eq!(
            failure.message,
            "the answer to a batch cannot be divided: output \"y\" has the shape [1] for 2 rows"
        );
    }

    #[test]
    fn a_batch_is_sent_when_it_is_full_and_what_does_not_fit_opens_the_next() {
        let gathering = Gathering::default();
        assert!(matches!(gathering.join(b"k", member("1", &json!([1, 2])).0, 4), Joined::First));
        assert!(matches!(gathering.join(b"other", member("2", &json!([1])).0, 4), Joined::First));
        let Joined::Full(full) = gathering.join(b"k", member("3", &json!([1, 2])).0, 4) else { panic!("it is full") };
        assert_eq!(full.len(), 2);
        assert!(matches!(gathering.join(b"k", member("4", &json!([1, 2, 3])).0, 4), Joined::First));
        let Joined::Full(before) = gathering.join(b"k", member("5", &json!([1, 2])).0, 4) else {
            panic!("it overflows")
        };
        assert_eq!(before.len(), 1);
        assert_eq!(gathering.take(b"k").len(), 1, "the one that did not fit waits");
    }
}
