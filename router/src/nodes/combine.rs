//! How several answers become one, in each protocol.
//!
//! Vote, Mean and Weighted work element by element on one list of values: the data of an output tensor, the predictions,
//! the texts of the choices, the embeddings, or what is at a path of a JSON answer.

use std::cmp::Ordering;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use http::StatusCode;
use serde::de::IgnoredAny;
use serde_json::{Number, Value, json};

use crate::graph::Parallel;
use crate::message::{Answer, Body, FailureKind};
use crate::path::Path;
use crate::plan::{Method, Protocol, Ties};
use crate::protocol::tensor::Tensor;
use crate::protocol::{Operation, openai};
use crate::words::cut;

/// Values that an error tells at most.
const SHOWN: usize = 8;

/// The answer of a node, in the order of the plan.
pub struct Given {
    pub name: Arc<str>,
    pub weight: f64,
    pub answer: Answer,
}

/// Why answers cannot be combined.
pub type CombineError = (FailureKind, String);

/// Makes one answer of several.
///
/// # Errors
/// There is none, they do not fit together, or a vote has no winner.
pub fn combine(
    protocol: Protocol,
    operation: Operation,
    graph: &str,
    how: &Parallel,
    mut given: Vec<Given>,
) -> Result<Answer, CombineError> {
    let bad = |words: String| (FailureKind::BadAnswer, words);
    match how.method {
        Method::First => {
            let none = || (FailureKind::NoQuorum, "no node answered".to_owned());
            given.drain(..).next().map(|first| first.answer).ok_or_else(none)
        }
        Method::Map => map(&given).map_err(bad),
        Method::Concat => concat(protocol, how.output.as_deref(), &given).map_err(bad),
        Method::Vote | Method::Mean | Method::Weighted => {
            let place = Place::of(protocol, operation, how.output.as_deref()).map_err(bad)?;
            merge(&place, graph, how, &given)
        }
    }
}

/// An object of all answers by name, put together without looking into them more than to see that they are JSON.
fn map(given: &[Given]) -> Result<Answer, String> {
    let mut made =
        BytesMut::with_capacity(given.iter().map(|each| body_of(each).received().len() + each.name.len() + 4).sum());
    for (position, each) in given.iter().enumerate() {
        let wrong = |words: &str| format!("the answer of {} is not JSON: {words}", each.name);
        let bytes = body_of(each).bytes().map_err(wrong)?;
        serde_json::from_slice::<IgnoredAny>(bytes).map_err(|error| wrong(&error.to_string()))?;
        made.put_u8(if position == 0 { b'{' } else { b',' });
        made.put_slice(Value::from(each.name.as_ref()).to_string().as_bytes());
        made.put_u8(b':');
        made.put_slice(bytes);
    }
    if given.is_empty() {
        made.put_u8(b'{');
    }
    made.put_u8(b'}');
    Ok(Answer::full(StatusCode::OK, Body::new(made.freeze())))
}

fn body_of(given: &Given) -> &Body {
    static NOTHING: std::sync::OnceLock<Body> = std::sync::OnceLock::new();
    given.answer.kept().unwrap_or_else(|| NOTHING.get_or_init(|| Body::new(Bytes::new())))
}

fn value_of(given: &Given) -> Result<&Value, String> {
    body_of(given).json().map_err(|error| format!("the answer of {} is not JSON: {error}", given.name))
}

/// Where the values are that are merged.
enum Place {
    /// The data of an output tensor; the first if it has no name.
    Output(Option<String>),
    /// Predictions, or a member of each.
    Predictions(Option<String>),
    /// The texts of choices.
    Texts,
    Embeddings,
    Json(Path),
}

impl Place {
    fn of(protocol: Protocol, operation: Operation, output: Option<&str>) -> Result<Self, String> {
        Ok(match (protocol, operation) {
            (Protocol::OpenInference, _) => Self::Output(output.map(str::to_owned)),
            (Protocol::KServeV1, _) => Self::Predictions(output.map(str::to_owned)),
            (Protocol::OpenAI, Operation::Embeddings) => Self::Embeddings,
            (Protocol::OpenAI, _) => Self::Texts,
            (Protocol::Json, _) => {
                Self::Json(output.map(Path::parse).transpose().map_err(|error| error.to_string())?.unwrap_or_default())
            }
        })
    }

    /// Gives the values of an answer.
    fn read(&self, answer: &Value) -> Result<Found, String> {
        let values = match self {
            Self::Output(name) => {
                let output = Tensor::read(find_output(answer, name.as_deref())?)?;
                return Ok(Found { values: Value::Array(output.data), shape: Some(output.shape) });
            }
            Self::Predictions(name) => {
                let rows = answer.get("predictions").and_then(Value::as_array).ok_or("there are no predictions")?;
                match name {
                    None => Value::Array(rows.clone()),
                    Some(name) => members(rows, name).ok_or_else(|| format!("a prediction has no {name:?}"))?,
                }
            }
            Self::Texts => Value::Array(openai::texts_of_choices(answer)?),
            Self::Embeddings => {
                let data = answer.get("data").and_then(Value::as_array).ok_or("there are no embeddings")?;
                members(data, "embedding").ok_or("an embedding is missing")?
            }
            Self::Json(path) => path.get(answer).cloned().ok_or_else(|| format!("there is no {path}"))?,
        };
        Ok(Found { values, shape: None })
    }

    /// Writes values into the first answer, which gives all else.
    fn write(&self, base: &Value, graph: &str, values: Value) -> Result<Value, String> {
        let mut made = base.clone();
        match self {
            Self::Output(name) => {
                let mut output = find_output(base, name.as_deref())?.clone();
                if let Some(datatype) = retyped(&output, &values) {
                    output["datatype"] = datatype.into();
                }
                output["data"] = values;
                made["outputs"] = json!([output]);
                made["model_name"] = graph.into();
            }
            Self::Predictions(None) => made["predictions"] = values,
            Self::Predictions(Some(name)) => {
                let rows = values.as_array().into_iter().flatten().map(|value| json!({name: value}));
                made["predictions"] = Value::Array(rows.collect());
            }
            Self::Texts => put_each(&mut made, "choices", &values, |choice, text| match choice.get_mut("message") {
                Some(message) if message.is_object() => message["content"] = text.clone(),
                _ => choice["text"] = text.clone(),
            }),
            Self::Embeddings => put_each(&mut made, "data", &values, |row, value| row["embedding"] = value.clone()),
            Self::Json(path) => path.put(&mut made, values).map_err(|error| error.to_string())?,
        }
        Ok(made)
    }
}

/// What answers are merged by.
struct Found {
    values: Value,
    /// Of an output, whose values are a flat list.
    shape: Option<Vec<usize>>,
}

/// A member of each row.
fn members(rows: &[Value], name: &str) -> Option<Value> {
    rows.iter().map(|row| row.get(name).cloned()).collect::<Option<_>>().map(Value::Array)
}

fn put_each(into: &mut Value, list: &str, values: &Value, put: impl Fn(&mut Value, &Value)) {
    let items = into.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
    for (item, value) in items.zip(values.as_array().into_iter().flatten()) {
        put(item, value);
    }
}

/// The type of means where the type of the values cannot hold them.
fn retyped(output: &Value, values: &Value) -> Option<&'static str> {
    let datatype = output.get("datatype").and_then(Value::as_str)?;
    let fractions = values.as_array()?.iter().any(Value::is_f64);
    (fractions && !datatype.contains("FP") && !matches!(datatype, "BF16" | "BYTES")).then_some("FP64")
}

fn find_output<'a>(answer: &'a Value, name: Option<&str>) -> Result<&'a Value, String> {
    let outputs = answer.get("outputs").and_then(Value::as_array).ok_or("there are no outputs")?;
    let found = match name {
        None => outputs.first(),
        Some(name) => outputs.iter().find(|output| output.get("name").and_then(Value::as_str) == Some(name)),
    };
    found.ok_or_else(|| format!("there is no output {:?}", name.unwrap_or_default()))
}

fn merge(place: &Place, graph: &str, how: &Parallel, given: &[Given]) -> Result<Answer, CombineError> {
    let bad = |words: String| (FailureKind::BadAnswer, words);
    let values = read_all(place, given).map_err(bad)?;
    let base = given.first().ok_or_else(|| (FailureKind::NoQuorum, "no node answered".to_owned()))?;
    let merged = match how.method {
        Method::Vote => vote(&values, how.ties)?,
        Method::Weighted => mean(&values, &given.iter().map(|each| each.weight).collect::<Vec<_>>()).map_err(bad)?,
        _ => mean(&values, &vec![1.0; given.len()]).map_err(bad)?,
    };
    let made = place.write(value_of(base).map_err(bad)?, graph, merged).map_err(bad)?;
    Ok(Answer::json(StatusCode::OK, made))
}

/// The values of all answers, of outputs only if they are of one shape.
fn read_all(place: &Place, given: &[Given]) -> Result<Vec<Value>, String> {
    let mut first = None;
    let mut values = Vec::with_capacity(given.len());
    for each in given {
        let found = place.read(value_of(each)?).map_err(|words| format!("the answer of {}: {words}", each.name))?;
        let shape = first.get_or_insert_with(|| found.shape.clone());
        if *shape != found.shape {
            let shown = |shape: &Option<Vec<usize>>| cut(format!("{:?}", shape.as_deref().unwrap_or_default()));
            return Err(format!("one answer has the shape {} and another {}", shown(shape), shown(&found.shape)));
        }
        values.push(found.values);
    }
    Ok(values)
}

/// For each element of the lists the value that most of them have; of values that are no lists the same.
fn vote(values: &[Value], ties: Ties) -> Result<Value, CombineError> {
    let lists: Option<Vec<&Vec<Value>>> = values.iter().map(Value::as_array).collect();
    let Some(lists) = lists else { return elect(&values.iter().collect::<Vec<_>>(), ties) };
    let length = same_length(&lists).map_err(|words| (FailureKind::BadAnswer, words))?;
    let elected = (0..length).map(|index| elect(&lists.iter().map(|list| &list[index]).collect::<Vec<_>>(), ties));
    elected.collect::<Result<Vec<_>, _>>().map(Value::Array)
}

fn same_length(lists: &[&Vec<Value>]) -> Result<usize, String> {
    let length = lists.first().map_or(0, |list| list.len());
    match lists.iter().find(|list| list.len() != length) {
        None => Ok(length),
        Some(other) => Err(format!("one answer has {length} values and another {}", other.len())),
    }
}

/// The value that occurs most often; values are the same if their JSON is, numbers if they are equal.
fn elect(votes: &[&Value], ties: Ties) -> Result<Value, CombineError> {
    let mut counts: Vec<(&Value, usize)> = Vec::new();
    for &vote in votes {
        match counts.iter_mut().find(|(known, _)| equal(known, vote)) {
            Some((_, count)) => *count += 1,
            None => counts.push((vote, 1)),
        }
    }
    let most = counts.iter().map(|&(_, count)| count).max().unwrap_or(0);
    let mut winners = counts.into_iter().filter(|&(_, count)| count == most).map(|(value, _)| value);
    let first = winners.next().unwrap_or(&Value::Null);
    let others: Vec<&Value> = winners.collect();
    if others.is_empty() {
        return Ok(first.clone());
    }
    match ties {
        Ties::First => Ok(first.clone()),
        Ties::Lowest => {
            let lowest = std::iter::once(first).chain(others).min_by(|one, other| compare(one, other));
            Ok(lowest.unwrap_or(first).clone())
        }
        Ties::Fail => {
            let names: Vec<String> =
                std::iter::once(first).chain(others).take(SHOWN).map(|value| cut(value.to_string())).collect();
            Err((FailureKind::Tie, format!("the vote is tied between {}", names.join(", "))))
        }
    }
}

fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => order(one, other).is_eq(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, one)| other.get(name).is_some_and(|other| equal(one, other)))
        }
        _ => one == other,
    }
}

fn compare(one: &Value, other: &Value) -> Ordering {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => order(one, other),
        (Value::String(one), Value::String(other)) => one.cmp(other),
        _ => one.to_string().cmp(&other.to_string()),
    }
}

/// Compares numbers by their values. Whole ones are no doubles, which would take 2^53 and 2^53 + 1 for the same.
fn order(one: &Number, other: &Number) -> Ordering {
    match (whole(one), whole(other)) {
        (Some(one), Some(other)) => one.cmp(&other),
        // Where one has a fraction or is beyond all integers, the double next to the other is on the same side of it.
        _ => one.as_f64().unwrap_or(f64::NAN).total_cmp(&other.as_f64().unwrap_or(f64::NAN)),
    }
}

/// A whole number, also if it is written as `1.0`; none beyond those of 64 bits.
fn whole(number: &Number) -> Option<i128> {
    const BEYOND: f64 = 18_446_744_073_709_551_616.0; // 2^64
    let double = || number.as_f64().filter(|double| double.fract() == 0.0 && double.abs() <= BEYOND);
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and of less than 128 bits")]
    number.as_i128().or_else(|| double().map(|double| double as i128))
}

/// The weighted mean, element by element, however deeply the lists are nested.
fn mean(values: &[Value], weights: &[f64]) -> Result<Value, String> {
    let lists: Option<Vec<&Vec<Value>>> = values.iter().map(Value::as_array).collect();
    if let Some(lists) = lists {
        let length = same_length(&lists)?;
        let element = |index: usize| {
            let column: Vec<Value> = lists.iter().map(|list| list[index].clone()).collect();
            mean(&column, weights)
        };
        return (0..length).map(element).collect::<Result<Vec<_>, _>>().map(Value::Array);
    }
    let total: f64 = weights.iter().sum();
    if total <= 0.0 {
        return Err("the weights of the nodes that answered add up to nothing".to_owned());
    }
    let mut sum = 0.0;
    for (value, weight) in values.iter().zip(weights) {
        sum += value.as_f64().ok_or_else(|| format!("{} is no number", cut(value.to_string())))? * weight;
    }
    let mean = sum / total;
    Number::from_f64(mean).map(Value::Number).ok_or_else(|| "the mean is no number".to_owned())
}

/// All that all nodes answered, in the order of the plan.
fn concat(protocol: Protocol, output: Option<&str>, given: &[Given]) -> Result<Answer, String> {
    let list = match protocol {
        Protocol::OpenInference => "outputs",
        Protocol::KServeV1 => "predictions",
        Protocol::OpenAI => {
            if given.first().is_some_and(has_data) {
                "data"
            } else {
                "choices"
            }
        }
        Protocol::Json => output.unwrap_or_default(),
    };
    let path = if list.is_empty() { Path::default() } else { Path::parse(list).map_err(|error| error.to_string())? };
    let mut all = Vec::new();
    for each in given {
        let found = path.get(value_of(each)?).and_then(Value::as_array);
        let items = found.ok_or_else(|| format!("the answer of {} has no list {list:?}", each.name))?;
        for item in items {
            let mut item = item.clone();
            match protocol {
                Protocol::OpenInference => rename(&mut item, &each.name, &all),
                Protocol::OpenAI => renumber(&mut item, all.len()),
                Protocol::KServeV1 | Protocol::Json => {}
            }
            all.push(item);
        }
    }
    let mut made = given.first().map(value_of).transpose()?.cloned().unwrap_or_default();
    path.put(&mut made, Value::Array(all)).map_err(|error| error.to_string())?;
    Ok(Answer::json(StatusCode::OK, made))
}

fn has_data(given: &Given) -> bool {
    value_of(given).is_ok_and(|value| value.get("data").is_some())
}

/// Gives a choice or an embedding its place among all.
fn renumber(item: &mut Value, index: usize) {
    if let Some(item) = item.as_object_mut() {
        item.insert("index".to_owned(), index.into());
    }
}

/// Names an output by its node too if another has its name.
fn rename(output: &mut Value, node: &str, others: &[Value]) {
    let Some(name) = output.get("name").and_then(Value::as_str).map(str::to_owned) else { return };
    if others.iter().any(|other| other.get("name").and_then(Value::as_str) == Some(&name)) {
        output["name"] = format!("{node}.{name}").into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn how(method: Method, output: Option<&str>, ties: Ties) -> Parallel {
        Parallel { nodes: vec![], quorum: None, method, output: output.map(str::to_owned), ties, weights: vec![] }
    }

    fn given(answers: &[Value]) -> Vec<Given> {
        let names = ["a", "b", "c", "d"];
        let each = |(answer, name): (&Value, &str)| Given {
            name: name.into(),
            weight: if name == "a" { 3.0 } else { 1.0 },
            answer: Answer::json(StatusCode::OK, answer.clone()),
        };
        answers.iter().zip(names).map(each).collect()
    }

    fn combined(protocol: Protocol, how: &Parallel, answers: &[Value]) -> Result<Value, CombineError> {
        let answer = combine(protocol, Operation::Chat, "g", how, given(answers))?;
        Ok(answer.kept().expect("kept").json().expect("JSON").clone())
    }

    fn v2(data: &Value) -> Value {
        let count = data.as_array().map_or(0, Vec::len);
        json!({"model_name": "m", "outputs": [{"name": "label", "datatype": "INT64", "shape": [count], "data": data}]})
    }

    #[test]
    fn map_gives_each_answer_by_name() {
        let made = combined(Protocol::Json, &how(Method::Map, None, Ties::First), &[json!(1), json!({"x": [2]})]);
        assert_eq!(made, Ok(json!({"a": 1, "b": {"x": [2]}})));
    }

    #[test]
    fn votes_are_counted_element_by_element() {
        let vote = how(Method::Vote, Some("label"), Ties::First);
        let made = combined(
            Protocol::OpenInference,
            &vote,
            &[v2(&json!([1, 2, 7])), v2(&json!([1, 3, 8])), v2(&json!([0, 3, 9]))],
        );
        assert_eq!(made.expect("made").pointer("/outputs/0/data"), Some(&json!([1, 3, 7])));
        let lowest = how(Method::Vote, None, Ties::Lowest);
        let made =
            combined(Protocol::KServeV1, &lowest, &[json!({"predictions": ["b"]}), json!({"predictions": ["a"]})]);
        assert_eq!(made, Ok(json!({"predictions": ["a"]})));
        let fail = how(Method::Vote, None, Ties::Fail);
        let made = combined(Protocol::KServeV1, &fail, &[json!({"predictions": [1]}), json!({"predictions": [2]})]);
        assert_eq!(made, Err((FailureKind::Tie, "the vote is tied between 1, 2".to_owned())));
    }

    #[test]
    fn whole_numbers_are_counted_and_ordered_with_all_their_digits() {
        let vote = how(Method::Vote, None, Ties::First);
        let big = |values: [u64; 3]| values.map(|value| v2(&json!([value])));
        let elected = |how: &Parallel, answers: &[Value]| {
            combined(Protocol::OpenInference, how, answers).expect("made").pointer("/outputs/0/data/0").cloned()
        };
        let answers = big([9_007_199_254_740_992, 9_007_199_254_740_993, 9_007_199_254_740_993]);
        assert_eq!(elected(&vote, &answers), Some(json!(9_007_199_254_740_993_u64)));
        let lowest = how(Method::Vote, None, Ties::Lowest);
        let answers = big([u64::MAX, u64::MAX - 1, u64::MAX]);
        assert_eq!(elected(&lowest, &answers[..2]), Some(json!(u64::MAX - 1)));
        assert_eq!(elected(&lowest, &answers), Some(json!(u64::MAX)));
    }

    #[test]
    fn numbers_are_the_same_however_they_are_written() {
        for (one, other) in [(json!(1), json!(1.0)), (json!([0, {"x": 2}]), json!([-0.0, {"x": 2.0}]))] {
            assert!(equal(&one, &other), "{one} {other}");
        }
        let ordered = [
            json!(-1e300),
            json!(i64::MIN),
            json!(-0.5),
            json!(0),
            json!(0.5),
            json!(9_007_199_254_740_992.0),
            json!(9_007_199_254_740_993_u64),
            json!(u64::MAX - 1),
            json!(u64::MAX),
            json!(18_446_744_073_709_551_616.0),
            json!(1e300),
            json!(1.1e300),
        ];
        for pair in ordered.windows(2) {
            assert_eq!(compare(&pair[0], &pair[1]), Ordering::Less, "{pair:?}");
            assert!(!equal(&pair[0], &pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn outputs_of_different_shapes_do_not_fit_together() {
        let of = |shape: Value| json!({"outputs": [{"name": "p", "datatype": "BF16", "shape": shape, "data": [1.5, 2, 3, 4, 5, 6]}]});
        for method in [Method::Mean, Method::Vote] {
            let how = how(method, None, Ties::First);
            let made = combined(Protocol::OpenInference, &how, &[of(json!([2, 3])), of(json!([3, 2]))]);
            let words = "one answer has the shape [2, 3] and another [3, 2]".to_owned();
            assert_eq!(made, Err((FailureKind::BadAnswer, words)));
            let made = combined(Protocol::OpenInference, &how, &[of(json!([2, 3])), of(json!([2, 3]))]).expect("made");
            assert_eq!(made.pointer("/outputs/0/datatype"), Some(&json!("BF16")));
            let wrong = combined(Protocol::OpenInference, &how, &[of(json!([2, 3])), of(json!([2, 4]))]);
            let words = "the answer of b: tensor \"p\" has 6 values and the shape [2, 4]".to_owned();
            assert_eq!(wrong, Err((FailureKind::BadAnswer, words)));
        }
    }

    #[test]
    fn choices_that_are_none_break_nothing() {
        let concat = how(Method::Concat, None, Ties::First);
        let made = combined(Protocol::OpenAI, &concat, &[json!({"choices": [1]}), json!({"choices": [{"text": "x"}]})]);
        assert_eq!(made, Ok(json!({"choices": [1, {"text": "x", "index": 1}]})));
        let vote = how(Method::Vote, None, Ties::First);
        let odd = json!({"choices": [{"message": "m", "text": "x"}]});
        assert_eq!(combined(Protocol::OpenAI, &vote, std::slice::from_ref(&odd)), Ok(odd));
    }

    #[test]
    fn texts_are_voted_on_as_a_whole() {
        let chat = |text: &str| json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]});
        let made =
            combined(Protocol::OpenAI, &how(Method::Vote, None, Ties::First), &[chat("no"), chat("yes"), chat("yes")]);
        assert_eq!(made.expect("made").pointer("/choices/0/message/content"), Some(&json!("yes")));
    }

    #[test]
    fn means_are_taken_however_deep_and_change_the_type() {
        let made = combined(
            Protocol::OpenInference,
            &how(Method::Mean, None, Ties::First),
            &[v2(&json!([1, 2])), v2(&json!([2, 2]))],
        );
        let made = made.expect("made");
        assert_eq!(made.pointer("/outputs/0/data"), Some(&json!([1.5, 2.0])));
        assert_eq!(made.pointer("/outputs/0/datatype"), Some(&json!("FP64")));
        assert_eq!(made.pointer("/model_name"), Some(&json!("g")));
        let rows = [json!({"predictions": [[0.0, 1.0]]}), json!({"predictions": [[1.0, 0.0]]})];
        let made = combined(Protocol::KServeV1, &how(Method::Weighted, None, Ties::First), &rows);
        assert_eq!(made, Ok(json!({"predictions": [[0.25, 0.75]]})));
    }

    #[test]
    fn what_does_not_fit_together_is_said() {
        let mean = how(Method::Mean, None, Ties::First);
        let cases = [
            (json!({"predictions": [1, 2]}), json!({"predictions": [1]}), "one answer has 2 values and another 1"),
            (json!({"predictions": ["x"]}), json!({"predictions": [1]}), "\"x\" is no number"),
            (json!({"predictions": [1]}), json!({}), "the answer of b: there are no predictions"),
        ];
        for (one, other, words) in cases {
            assert_eq!(
                combined(Protocol::KServeV1, &mean, &[one, other]),
                Err((FailureKind::BadAnswer, words.to_owned()))
            );
        }
    }

    #[test]
    fn concat_keeps_all_and_tells_names_apart() {
        let concat = how(Method::Concat, None, Ties::First);
        let made = combined(Protocol::OpenInference, &concat, &[v2(&json!([1])), v2(&json!([2]))]).expect("made");
        assert_eq!(made.pointer("/outputs/0/name"), Some(&json!("label")));
        assert_eq!(made.pointer("/outputs/1/name"), Some(&json!("b.label")));
        let lists = how(Method::Concat, Some("hits"), Ties::First);
        let made = combined(Protocol::Json, &lists, &[json!({"hits": [1], "x": 1}), json!({"hits": [2, 3]})]);
        assert_eq!(made, Ok(json!({"hits": [1, 2, 3], "x": 1})));
    }
}
