//! Messages as they are written in JSON, as a value or as a text; no value is made of what only becomes text.

use bytes::Bytes;
use serde::ser::{Error, SerializeMap};
use serde::{Serialize, Serializer};

use super::contents::{Data, Datatype};
use super::convert::Parameters;
use super::proto::infer_parameter::ParameterChoice;
use super::proto::{InferRequestedOutputTensor, InferTensor, ModelInferRequest, ModelInferResponse};
use super::wire::{self, Layout};
use crate::protocol::tensor::count_of;
use crate::words::{cut, quoted};

/// A question as it is written in JSON.
pub struct QuestionJson<'a> {
    pub asked: &'a ModelInferRequest,
    pub tensors: Tensors<'a>,
}

impl Serialize for QuestionJson<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut made = to.serialize_map(None)?;
        put_text(&mut made, "id", &self.asked.id)?;
        put_parameters(&mut made, &self.asked.parameters)?;
        made.serialize_entry("inputs", &self.tensors)?;
        if !self.asked.outputs.is_empty() {
            made.serialize_entry("outputs", &Each(&self.asked.outputs))?;
        }
        made.end()
    }
}

/// The outputs that a question asks for.
struct Each<'a>(&'a [InferRequestedOutputTensor]);

impl Serialize for Each<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.0.iter().map(Requested))
    }
}

struct Requested<'a>(&'a InferRequestedOutputTensor);

impl Serialize for Requested<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut made = to.serialize_map(None)?;
        made.serialize_entry("name", &self.0.name)?;
        put_parameters(&mut made, &self.0.parameters)?;
        made.end()
    }
}

/// An answer as it is written in JSON.
pub struct AnswerJson<'a> {
    pub given: &'a ModelInferResponse,
    pub tensors: Tensors<'a>,
}

impl Serialize for AnswerJson<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut made = to.serialize_map(None)?;
        made.serialize_entry("model_name", &self.given.model_name)?;
        put_text(&mut made, "model_version", &self.given.model_version)?;
        put_text(&mut made, "id", &self.given.id)?;
        put_parameters(&mut made, &self.given.parameters)?;
        made.serialize_entry("outputs", &self.tensors)?;
        made.end()
    }
}

/// Tensors of a message that have as many values as their shapes say.
pub struct Tensors<'a> {
    layout: &'static Layout,
    each: Vec<(&'a InferTensor, Data<'a>)>,
    /// How many values all of them have.
    pub values: usize,
}

impl<'a> Tensors<'a> {
    /// Looks at tensors, but not at their values.
    ///
    /// # Arguments
    /// * `raw` - contents of all of them, or of none.
    ///
    /// # Errors
    /// One has more or fewer values than its shape says, or contents that are no values.
    pub fn of(layout: &'static Layout, tensors: &'a [InferTensor], raw: &'a [Bytes]) -> Result<Self, String> {
        if !raw.is_empty() && raw.len() != tensors.len() {
            return Err(format!("there are {} {} and raw contents of {}", tensors.len(), layout.tensors, raw.len()));
        }
        let mut made = Self { layout, each: Vec::with_capacity(tensors.len()), values: 0 };
        for (position, tensor) in tensors.iter().enumerate() {
            let at = |words| format!("{}: {words}", wire::place(layout, &tensor.name));
            let (data, count) = data_of(tensor, raw.get(position)).map_err(at)?;
            made.each.push((tensor, data));
            made.values += count;
        }
        Ok(made)
    }
}

fn data_of<'a>(tensor: &'a InferTensor, raw: Option<&'a Bytes>) -> Result<(Data<'a>, usize), String> {
    let data = Data::of(Datatype::of(&tensor.datatype)?, raw.map(Bytes::as_ref), tensor.contents.as_ref())?;
    let count = data.count()?;
    let shape: Option<Vec<usize>> = tensor.shape.iter().map(|&size| usize::try_from(size).ok()).collect();
    if shape.and_then(|shape| count_of(&shape)) != Some(count) {
        return Err(format!("it has {count} values and the shape {}", cut(format!("{:?}", tensor.shape))));
    }
    Ok((data, count))
}

impl Serialize for Tensors<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.each.iter().map(|&(tensor, data)| TensorJson { layout: self.layout, tensor, data }))
    }
}

struct TensorJson<'a> {
    layout: &'static Layout,
    tensor: &'a InferTensor,
    data: Data<'a>,
}

impl Serialize for TensorJson<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let at =
            |error: S::Error| S::Error::custom(format!("{}: {error}", wire::place(self.layout, &self.tensor.name)));
        let mut made = to.serialize_map(None)?;
        made.serialize_entry("name", &self.tensor.name)?;
        made.serialize_entry("shape", &self.tensor.shape)?;
        made.serialize_entry("datatype", &self.tensor.datatype)?;
        put_parameters(&mut made, &self.tensor.parameters).map_err(at)?;
        made.serialize_entry("data", &self.data).map_err(at)?;
        made.end()
    }
}

fn put_text<M: SerializeMap>(into: &mut M, name: &str, text: &str) -> Result<(), M::Error> {
    if text.is_empty() { Ok(()) } else { into.serialize_entry(name, text) }
}

fn put_parameters<M: SerializeMap>(into: &mut M, parameters: &Parameters) -> Result<(), M::Error> {
    if parameters.is_empty() { Ok(()) } else { into.serialize_entry("parameters", &ParametersJson(parameters)) }
}

struct ParametersJson<'a>(&'a Parameters);

impl Serialize for ParametersJson<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut made = to.serialize_map(Some(self.0.len()))?;
        for (name, parameter) in self.0 {
            let wrong = |words: String| S::Error::custom(format!("parameter {} {words}", quoted(name)));
            match &parameter.parameter_choice {
                None => return Err(wrong("has no value".to_owned())),
                Some(ParameterChoice::BoolParam(value)) => made.serialize_entry(name, value)?,
                Some(ParameterChoice::Int64Param(value)) => made.serialize_entry(name, value)?,
                Some(ParameterChoice::StringParam(value)) => made.serialize_entry(name, value)?,
                Some(ParameterChoice::Uint64Param(value)) => made.serialize_entry(name, value)?,
                Some(ParameterChoice::DoubleParam(value)) if value.is_finite() => made.serialize_entry(name, value)?,
                Some(ParameterChoice::DoubleParam(value)) => {
                    return Err(wrong(format!("is {value}, which JSON cannot say")));
                }
            }
        }
        made.end()
    }
}
