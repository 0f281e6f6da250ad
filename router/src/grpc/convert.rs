//! Messages of inference and the JSON that says the same.
//!
//! Parameters may be of any kind that the protocol has; a name of a model and its version belong to one address and are not
//! part of a question in JSON.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use serde_json::{Map, Number, Value};

use super::contents::{self, Datatype};
use super::proto::infer_parameter::ParameterChoice;
use super::proto::{
    InferParameter, InferRequestedOutputTensor, InferTensor, ModelInferHead, ModelInferRequest, ModelInferResponse,
};
use crate::protocol::tensor::Tensor;

/// Tensors of a question at most: each costs much more in memory than on the wire.
const MAX_TENSORS: usize = 1024;

type Parameters = BTreeMap<String, InferParameter>;

/// Looks at a question as far as it is always read: for whom it is, and whether its contents are raw.
///
/// # Errors
/// It is no message, or has too many tensors.
pub fn head(message: &Bytes) -> Result<ModelInferHead, String> {
    let head = ModelInferHead::decode(message.clone()).map_err(|error| no_message("ModelInferRequest", &error))?;
    let count = head.inputs.len().max(head.raw_input_contents.len());
    if count > MAX_TENSORS {
        return Err(format!("it has {count} inputs, and {MAX_TENSORS} are the most"));
    }
    Ok(head)
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
/// It is no message, or a tensor of it has no form in JSON.
pub fn question_of(message: &Bytes) -> Result<Value, String> {
    let asked = ModelInferRequest::decode(message.clone()).map_err(|error| no_message("ModelInferRequest", &error))?;
    let mut made = Map::new();
    put_text(&mut made, "id", asked.id);
    put_parameters(&mut made, asked.parameters)?;
    made.insert("inputs".to_owned(), tensors_of("input", asked.inputs, asked.raw_input_contents)?);
    if !asked.outputs.is_empty() {
        let outputs = asked.outputs.into_iter().map(|output| {
            let mut made = Map::from_iter([("name".to_owned(), Value::from(output.name))]);
            put_parameters(&mut made, output.parameters)?;
            Ok(Value::Object(made))
        });
        made.insert("outputs".to_owned(), outputs.collect::<Result<_, String>>()?);
    }
    Ok(Value::Object(made))
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
/// It is no message, or a tensor of it has no form in JSON.
pub fn answer_of(message: &Bytes) -> Result<Value, String> {
    let given =
        ModelInferResponse::decode(message.clone()).map_err(|error| no_message("ModelInferResponse", &error))?;
    let mut made = Map::new();
    made.insert("model_name".to_owned(), given.model_name.into());
    put_text(&mut made, "model_version", given.model_version);
    put_text(&mut made, "id", given.id);
    put_parameters(&mut made, given.parameters)?;
    made.insert("outputs".to_owned(), tensors_of("output", given.outputs, given.raw_output_contents)?);
    Ok(Value::Object(made))
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

fn no_message(name: &str, error: &prost::DecodeError) -> String {
    format!("this is no {name}: {error}")
}

fn list<'a>(value: &'a Value, name: &str) -> Result<&'a [Value], String> {
    value.get(name).and_then(Value::as_array).map(Vec::as_slice).ok_or_else(|| format!("there is no list {name:?}"))
}

fn text(value: &Value, name: &str) -> Result<String, String> {
    match value.get(name) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(format!("{name} is {other}, and has to be a string")),
    }
}

fn put_text(into: &mut Map<String, Value>, name: &str, text: String) {
    if !text.is_empty() {
        into.insert(name.to_owned(), text.into());
    }
}

/// Tensors in JSON.
///
/// # Arguments
/// * `raw` - contents of all of them, or of none.
fn tensors_of(kind: &str, tensors: Vec<InferTensor>, raw: Vec<Bytes>) -> Result<Value, String> {
    if !raw.is_empty() && raw.len() != tensors.len() {
        return Err(format!("there are {} {kind}s and raw contents of {}", tensors.len(), raw.len()));
    }
    let mut raw = raw.into_iter();
    let made = tensors.into_iter().map(|tensor| {
        let name = tensor.name.clone();
        tensor_of(tensor, raw.next()).map_err(|words| format!("{kind} {name:?}: {words}"))
    });
    made.collect()
}

fn tensor_of(tensor: InferTensor, raw: Option<Bytes>) -> Result<Value, String> {
    let datatype = Datatype::of(&tensor.datatype)?;
    let data = match (raw, tensor.contents) {
        (Some(_), Some(_)) => return Err("it has both raw and typed contents".to_owned()),
        (Some(raw), None) => contents::from_raw(datatype, &raw)?,
        (None, Some(typed)) => contents::from_typed(datatype, typed)?,
        (None, None) => Vec::new(),
    };
    let size = |&size: &i64| usize::try_from(size).ok();
    let count = tensor.shape.iter().try_fold(1_usize, |product, of| product.checked_mul(size(of)?));
    if count != Some(data.len()) {
        return Err(format!("it has {} values and the shape {:?}", data.len(), tensor.shape));
    }
    let mut made = Map::new();
    made.insert("name".to_owned(), tensor.name.into());
    made.insert("shape".to_owned(), tensor.shape.into());
    made.insert("datatype".to_owned(), tensor.datatype.into());
    put_parameters(&mut made, tensor.parameters)?;
    made.insert("data".to_owned(), Value::Array(data));
    Ok(Value::Object(made))
}

/// Tensors as a message has them, with the raw contents of all or of none.
fn tensors(kind: &str, values: &[Value], raw: bool) -> Result<(Vec<InferTensor>, Vec<Bytes>), String> {
    let mut read = Vec::with_capacity(values.len());
    for value in values {
        let tensor = Tensor::read(value)?;
        let datatype = Datatype::of(&tensor.datatype).map_err(|words| format!("{kind} {:?}: {words}", tensor.name))?;
        read.push((tensor, datatype, parameters(value)?));
    }
    let raw = raw || read.iter().any(|(_, datatype, _)| datatype.only_raw());
    let (mut made, mut raws) = (Vec::with_capacity(read.len()), Vec::new());
    for (tensor, datatype, parameters) in read {
        let at = |words| format!("{kind} {:?}: {words}", tensor.name);
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

fn put_parameters(into: &mut Map<String, Value>, parameters: Parameters) -> Result<(), String> {
    if parameters.is_empty() {
        return Ok(());
    }
    let mut made = Map::new();
    for (name, parameter) in parameters {
        let value = match parameter.parameter_choice {
            None => return Err(format!("parameter {name:?} has no value")),
            Some(ParameterChoice::BoolParam(value)) => value.into(),
            Some(ParameterChoice::Int64Param(value)) => value.into(),
            Some(ParameterChoice::StringParam(value)) => value.into(),
            Some(ParameterChoice::Uint64Param(value)) => value.into(),
            Some(ParameterChoice::DoubleParam(value)) => Number::from_f64(value)
                .map(Value::Number)
                .ok_or_else(|| format!("parameter {name:?} is {value}, which JSON cannot say"))?,
        };
        made.insert(name, value);
    }
    into.insert("parameters".to_owned(), Value::Object(made));
    Ok(())
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
    let choice = choice.ok_or_else(|| format!("parameter {name:?} is neither a boolean, a number nor a string"))?;
    Ok(InferParameter { parameter_choice: Some(choice) })
}

#[cfg(test)]
mod tests;
