//! One protocol as another: OpenAI and v1 meet in the Open Inference Protocol.

use serde_json::Value;

use super::{Operation, openai, tensor};
use crate::message::Body;
use crate::plan::Protocol;

/// Whether questions of one protocol can be put in another.
pub fn exists(from: Protocol, to: Protocol) -> bool {
    from == to || (from != Protocol::Json && to != Protocol::Json)
}

/// Puts a question into another protocol.
///
/// # Arguments
/// * `model` - the model's name at whom is asked.
///
/// # Errors
/// It lacks what the other protocol needs.
pub fn question(from: Protocol, to: Protocol, operation: Operation, body: &Body, model: &str) -> Result<Body, String> {
    if from == to {
        return Ok(body.clone());
    }
    let asked = body.json()?;
    let tensors;
    let middle = match from {
        Protocol::OpenInference | Protocol::Json => asked,
        Protocol::KServeV1 => {
            tensors = tensor::question_to_v2(asked)?;
            &tensors
        }
        Protocol::OpenAI => {
            tensors = openai::question_to_v2(operation, asked)?;
            &tensors
        }
    };
    let made = match to {
        Protocol::OpenInference | Protocol::Json => middle.clone(),
        Protocol::KServeV1 => tensor::question_to_v1(middle)?,
        Protocol::OpenAI => openai::question_from_v2(operation, middle, model)?,
    };
    Ok(Body::of(made))
}

/// Puts an answer into the protocol in which was asked.
///
/// # Arguments
/// * `from` - the protocol of the answer.
/// * `asked` - the question, in the protocol `to`.
///
/// # Errors
/// It lacks what the other protocol needs.
pub fn answer(
    from: Protocol,
    to: Protocol,
    operation: Operation,
    body: &Body,
    model: &str,
    asked: &Value,
) -> Result<Body, String> {
    if from == to {
        return Ok(body.clone());
    }
    let given = body.json()?;
    let tensors;
    let middle = match from {
        Protocol::OpenInference | Protocol::Json => given,
        Protocol::KServeV1 => {
            tensors = tensor::answer_to_v2(given, model, asked)?;
            &tensors
        }
        Protocol::OpenAI => {
            tensors = openai::answer_to_v2(given, model, asked)?;
            &tensors
        }
    };
    let made = match to {
        Protocol::OpenInference | Protocol::Json => middle.clone(),
        Protocol::KServeV1 => tensor::answer_to_v1(middle)?,
        Protocol::OpenAI => openai::answer_from_v2(operation, middle, model)?,
    };
    Ok(Body::of(made))
}
