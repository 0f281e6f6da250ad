//! Messages of inference and the JSON that says the same.
//!
//! Parameters may be of any kind that the protocol has; a name of a model and its version belong to one address and are not
//! part of a question in JSON.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use serde::Serialize;
use serde_json::{Number, Value};

use super::contents::{self, Datatype};
use super::json::{AnswerJson, QuestionJson, Tensors};
use super::proto::infer_parameter::ParameterChoice;
use super::proto::{
    InferParameter, InferRequestedOutputTensor, InferTensor, ModelInferHead, ModelInferRequest, ModelInferResponse,
};
use super::wire::{self, ANSWER, Layout, QUESTION, WireError};
use crate::message::Unread;
use crate::protocol::tensor::Tensor;
use crate::room::{Room, Writer};
use crate::words::{cut, quoted};

/// What a value in a typed list takes at most, besides its text: the longest are the `Bytes` of BYTES.
const TYPED_BYTES: usize = size_of::<Bytes>();

pub(super) type Parameters = BTreeMap<String, InferParameter>;

/// Looks at a question as far as it is always read: for whom it is, and whether its contents are raw.
///
/// # Errors
/// It is no message, or has too many parts.
pub fn head(message: &Bytes) -> Result<ModelInferHead, String> {
    wire::check(message, &QUESTION).map_err(|error| wrong(&QUESTION, &error))?;
    ModelInferHead::decode(message.clone()).map_err(|error| no_message(&QUESTION, &error))
}

/// Addresses a question to another model. Of a field that comes twice the last counts, so nothing is read.
pub fn readdress(message: &Bytes, model: &str) -> Bytes {
    let head = ModelInferHead {
        model_name: Some(model.to_owned()),
        model_version: Some(String::new()),
        ..ModelInferHead::default()
    };
    let mut made = Vec::with_capacity(message.len() + head.encoded_len());
    made.extend_from_slice(message);
    made.extend(head.encode_to_vec());
    Bytes::from(made)
}

/// Reads a question.
///
/// # Errors
/// It is no message, a tensor of it has no form in JSON, or there is no memory for it.
pub fn question_of(message: &Bytes) -> Result<(Value, Room), Unread> {
    with_question(message, |asked| value_of(message, asked.tensors.values, asked))
}

/// Writes the JSON of a question, without reading it first.
///
/// # Errors
/// As above.
pub fn question_text(message: &Bytes) -> Result<(Bytes, Room), Unread> {
    with_question(message, |asked| text_of(asked))
}

fn with_question<T>(message: &Bytes, make: impl FnOnce(&QuestionJson<'_>) -> Result<T, Unread>) -> Result<T, Unread> {
    let _room = look_into(message, &QUESTION)?;
    let asked = ModelInferRequest::decode(message.clone()).map_err(|error| no_message(&QUESTION, &error))?;
    let tensors = Tensors::of(&QUESTION, &asked.inputs, &asked.raw_input_contents)?;
    make(&QuestionJson { asked: &asked, tensors })
}

/// Writes a question to a model.
///
/// # Errors
/// It is none of the protocol.
pub fn question(value: &Value, model: &str) -> Result<Bytes, String> {
    let inputs = list(value, "inputs")?;
    let requested = |output: &Value| {
        let name = output.get("name").and_then(Value::as_str).ok_or("an output has no name")?.to_owned();
        Ok(InferRequestedOutputTensor { name, parameters: parameters(output)? })
    };
    let outputs = match value.get("outputs") {
        None | Some(Value::Null) => Vec::new(),
        Some(_) => list(value, "outputs")?.iter().map(requested).collect::<Result<_, String>>()?,
    };
    let (inputs, raw_input_contents) = tensors("input", inputs, false)?;
    let made = ModelInferRequest {
        model_name: model.to_owned(),
        model_version: String::new(),
        id: text(value, "id")?,
        parameters: parameters(value)?,
        inputs,
        outputs,
        raw_input_contents,
    };
    Ok(Bytes::from(made.encode_to_vec()))
}

/// Reads an answer.
///
/// # Errors
/// As `question_of`.
pub fn answer_of(message: &Bytes) -> Result<(Value, Room), Unread> {
    with_answer(message, |given| value_of(message, given.tensors.values, given))
}

/// Writes the JSON of an answer, without reading it first.
///
/// # Errors
/// As above.
pub fn answer_text(message: &Bytes) -> Result<(Bytes, Room), Unread> {
    with_answer(message, |given| text_of(given))
}

fn with_answer<T>(message: &Bytes, make: impl FnOnce(&AnswerJson<'_>) -> Result<T, Unread>) -> Result<T, Unread> {
    let _room = look_into(message, &ANSWER)?;
    let given = ModelInferResponse::decode(message.clone()).map_err(|error| no_message(&ANSWER, &error))?;
    let tensors = Tensors::of(&ANSWER, &given.outputs, &given.raw_output_contents)?;
    make(&AnswerJson { given: &given, tensors })
}

/// Checks that what came is an answer, as far as that costs nothing.
///
/// # Errors
/// It is none, or has too many parts.
pub fn check_answer(message: &Bytes) -> Result<(), String> {
    wire::check(message, &ANSWER).map_err(|error| wrong(&ANSWER, &error))
}

/// Writes an answer.
///
/// # Arguments
/// * `model` - who answers, if the answer does not say so.
/// * `raw` - whether contents are raw bytes, as who asked so expects.
///
/// # Errors
/// It is none of the protocol.
pub fn answer(value: &Value, model: &str, raw: bool) -> Result<Bytes, String> {
    let (outputs, raw_output_contents) = tensors("output", list(value, "outputs")?, raw)?;
    let named = text(value, "model_name")?;
    let made = ModelInferResponse {
        model_name: if named.is_empty() { model.to_owned() } else { named },
        model_version: text(value, "model_version")?,
        id: text(value, "id")?,
        parameters: parameters(value)?,
        outputs,
        raw_output_contents,
    };
    Ok(Bytes::from(made.encode_to_vec()))
}

fn no_message(layout: &Layout, error: &dyn std::error::Error) -> String {
    format!("this is no {}: {error}", layout.name)
}

fn wrong(layout: &Layout, error: &WireError) -> String {
    match error {
        WireError::Broken => no_message(layout, error),
        WireError::TooMany { .. } => error.to_string(),
    }
}

/// Takes memory for a message that is read, if it has not too many parts.
fn look_into(message: &Bytes, layout: &Layout) -> Result<Room, Unread> {
    let values = wire::values(message, layout).map_err(|error| wrong(layout, &error))?;
    Ok(Room::take(values * TYPED_BYTES)?)
}

fn value_of(message: &Bytes, values: usize, view: &impl Serialize) -> Result<(Value, Room), Unread> {
    let room = Room::take(values * size_of::<Value>() + message.len())?;
    Ok((serde_json::to_value(view).map_err(|error| error.to_string())?, room))
}

fn text_of(view: &impl Serialize) -> Result<(Bytes, Room), Unread> {
    let mut writer = Writer::new()?;
    let written = serde_json::to_writer(&mut writer, view);
    let (text, room) = writer.end()?;
    written.map_err(|error| error.to_string())?;
    Ok((text, room))
}

fn list<'a>(value: &'a Value, name: &str) -> Result<&'a [Value], String> {
    value.get(name).and_then(Value::as_array).map(Vec::as_slice).ok_or_else(|| format!("there is no list {name:?}"))
}

fn text(value: &Value, name: &str) -> Result<String, String> {
    match value.get(name) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(format!("{name} is {}, and has to be a string", cut(other.to_string()))),
    }
}

/// Tensors as a message has them, with the raw contents of all or of none.
fn tensors(kind: &str, values: &[Value], raw: bool) -> Result<(Vec<InferTensor>, Vec<Bytes>), String> {
    let mut read = Vec::with_capacity(values.len());
    for value in values {
        let tensor = Tensor::read(value)?;
        let datatype =
            Datatype::of(&tensor.datatype).map_err(|words| format!("{kind} {}: {words}", quoted(&tensor.name)))?;
        read.push((tensor, datatype, parameters(value)?));
    }
    let raw = raw || read.iter().any(|(_, datatype, _)| datatype.only_raw());
    let (mut made, mut raws) = (Vec::with_capacity(read.len()), Vec::new());
    for (tensor, datatype, parameters) in read {
        let at = |words| format!("{kind} {}: {words}", quoted(&tensor.name));
        let contents = if raw {
            raws.push(contents::raw(datatype, &tensor.data).map_err(at)?);
            None
        } else {
            Some(contents::typed(datatype, &tensor.data).map_err(at)?)
        };
        let shape = tensor.shape.iter().map(|&size| i64::try_from(size).unwrap_or(i64::MAX)).collect();
        made.push(InferTensor { name: tensor.name, datatype: tensor.datatype, shape, parameters, contents });
    }
    Ok((made, raws))
}

fn parameters(of: &Value) -> Result<Parameters, String> {
    let given = match of.get("parameters") {
        None | Some(Value::Null) => return Ok(Parameters::new()),
        Some(given) => given.as_object().ok_or("parameters are no JSON object")?,
    };
    given.iter().map(|(name, value)| Ok((name.clone(), parameter(name, value)?))).collect()
}

fn parameter(name: &str, value: &Value) -> Result<InferParameter, String> {
    let number = |number: &Number| {
        let signed = number.as_i64().map(ParameterChoice::Int64Param);
        let unsigned = || number.as_u64().map(ParameterChoice::Uint64Param);
        signed.or_else(unsigned).or_else(|| number.as_f64().map(ParameterChoice::DoubleParam))
    };
    let choice = match value {
        Value::Bool(value) => Some(ParameterChoice::BoolParam(*value)),
        Value::String(value) => Some(ParameterChoice::StringParam(value.clone())),
        Value::Number(value) => number(value),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    let choice =
        choice.ok_or_else(|| format!("parameter {} is neither a boolean, a number nor a string", quoted(name)))?;
    Ok(InferParameter { parameter_choice: Some(choice) })
}

#[cfg(test)]
mod tests;
