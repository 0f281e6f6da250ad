//! The OpenAI API: what of it becomes another protocol, the next question of a sequence, or one event of a stream.

use serde_json::{Map, Value, json};

use super::Operation;
use super::tensor::{Tensor, UNNAMED_OUTPUT, tensors};

/// Names of the tensors that stand for texts; those of Triton's vLLM backend.
pub const TEXT_INPUT: &str = "text_input";
pub const TEXT_OUTPUT: &str = "text_output";

/// Makes a question for a model that speaks v2: texts as BYTES, everything that tunes the answer as parameters.
///
/// # Errors
/// There is no text in it, or the operation has no counterpart.
pub fn question_to_v2(operation: Operation, question: &Value) -> Result<Value, String> {
    let (key, texts) = match operation {
        Operation::Chat => ("messages", vec![transcript(question)?]),
        Operation::Completions => ("prompt", texts_of(question, "prompt")?),
        Operation::Embeddings => ("input", texts_of(question, "input")?),
        other => return Err(format!("{} has no counterpart in the Open Inference Protocol", other.openai_path())),
    };
    let mut parameters = question.as_object().cloned().unwrap_or_default();
    for gone in [key, "model", "stream", "stream_options"] {
        parameters.shift_remove(gone);
    }
    let input = json!({"name": TEXT_INPUT, "datatype": "BYTES", "shape": [texts.len()], "data": texts});
    let mut made = Map::new();
    if !parameters.is_empty() {
        made.insert("parameters".to_owned(), Value::Object(parameters));
    }
    made.insert("inputs".to_owned(), json!([input]));
    Ok(Value::Object(made))
}

/// Makes an answer of v2 one of the OpenAI API.
///
/// # Errors
/// It has no texts, or no embeddings.
pub fn answer_from_v2(operation: Operation, answer: &Value, model: &str) -> Result<Value, String> {
    let outputs = tensors(answer, "outputs")?;
    if operation == Operation::Embeddings {
        let vectors = outputs
            .into_iter()
            .find(|tensor| tensor.shape.len() == 2 && tensor.datatype != "BYTES")
            .ok_or("no output has the shape of embeddings")?;
        let width = vectors.shape[1].max(1);
        let rows = vectors.data.chunks(width).enumerate();
        let data: Vec<Value> =
            rows.map(|(index, row)| json!({"object": "embedding", "index": index, "embedding": row})).collect();
        return Ok(
            json!({"object": "list", "model": model, "data": data, "usage": {"prompt_tokens": 0, "total_tokens": 0}}),
        );
    }
    let texts = outputs.into_iter().find(|tensor| tensor.datatype == "BYTES").ok_or("no output is text")?;
    let choice = |(index, text): (usize, Value)| match operation {
        Operation::Chat => {
            json!({"index": index, "finish_reason": "stop", "message": {"role": "assistant", "content": text}})
        }
        _ => json!({"index": index, "finish_reason": "stop", "logprobs": null, "text": text}),
    };
    let choices: Vec<Value> = texts.data.into_iter().enumerate().map(choice).collect();
    let object = if operation == Operation::Chat { "chat.completion" } else { "text_completion" };
    Ok(json!({"id": "", "object": object, "created": 0, "model": model, "choices": choices}))
}

/// Makes a question of v2 one of the OpenAI API: its first text input becomes prompts, or inputs of embeddings.
///
/// # Errors
/// There is no text input.
pub fn question_from_v2(operation: Operation, question: &Value, model: &str) -> Result<Value, String> {
    let inputs = tensors(question, "inputs")?;
    let texts = inputs.into_iter().find(|tensor| tensor.datatype == "BYTES").ok_or("no input is text")?;
    let mut made = question.get("parameters").and_then(Value::as_object).cloned().unwrap_or_default();
    made.insert("model".to_owned(), model.into());
    match operation {
        Operation::Embeddings => made.insert("input".to_owned(), Value::Array(texts.data)),
        Operation::Chat => {
            let [text] = texts.data.as_slice() else { return Err("a chat takes one text at a time".to_owned()) };
            made.insert("messages".to_owned(), json!([{"role": "user", "content": text}]))
        }
        _ => made.insert("prompt".to_owned(), Value::Array(texts.data)),
    };
    Ok(Value::Object(made))
}

/// Makes an answer of the OpenAI API one of v2.
///
/// # Errors
/// It has neither choices nor embeddings.
pub fn answer_to_v2(answer: &Value, model: &str, question: &Value) -> Result<Value, String> {
    let output = if let Some(data) = answer.get("data").and_then(Value::as_array) {
        let rows: Option<Vec<Value>> = data.iter().map(|each| each.get("embedding").cloned()).collect();
        embeddings(&rows.ok_or("an embedding is missing")?)?
    } else {
        let texts = texts_of_choices(answer)?;
        json!({"name": TEXT_OUTPUT, "datatype": "BYTES", "shape": [texts.len()], "data": texts})
    };
    let mut made = Map::new();
    made.insert("model_name".to_owned(), model.into());
    if let Some(id) = question.get("id") {
        made.insert("id".to_owned(), id.clone());
    }
    made.insert("outputs".to_owned(), json!([output]));
    Ok(Value::Object(made))
}

fn embeddings(rows: &[Value]) -> Result<Value, String> {
    let made = Tensor::of_rows(UNNAMED_OUTPUT, rows)?;
    if made.shape.len() != 2 || !made.data.iter().all(Value::is_number) {
        return Err("an embedding is no list of numbers".to_owned());
    }
    Ok(Tensor { datatype: "FP32".to_owned(), ..made }.write())
}

/// Makes the next question of a sequence: the text that was answered is what the user says next.
///
/// # Errors
/// The answer has no text.
pub fn next(operation: Operation, first: &Value, answer: &Value) -> Result<Value, String> {
    let text = texts_of_choices(answer)?.into_iter().next().ok_or("the answer has no choice to go on with")?;
    let mut next = first.as_object().cloned().unwrap_or_default();
    match operation {
        Operation::Chat => next.insert("messages".to_owned(), json!([{"role": "user", "content": text}])),
        Operation::Completions => next.insert("prompt".to_owned(), text),
        Operation::Embeddings | Operation::Moderations => next.insert("input".to_owned(), text),
        other => return Err(format!("an answer to {} is no question; give request.body", other.openai_path())),
    };
    Ok(Value::Object(next))
}

/// Writes an answer that was kept as a whole as the one event of a stream, and its end.
pub fn as_events(operation: Operation, answer: &Value) -> String {
    let event = match operation {
        Operation::Chat => chunk(answer),
        _ => answer.clone(),
    };
    format!("data: {event}\n\ndata: [DONE]\n\n")
}

fn chunk(answer: &Value) -> Value {
    let mut chunk = answer.clone();
    if let Some(members) = chunk.as_object_mut() {
        members.insert("object".to_owned(), "chat.completion.chunk".into());
    }
    let choices = chunk.get_mut("choices").and_then(Value::as_array_mut).into_iter().flatten();
    for choice in choices.filter_map(Value::as_object_mut) {
        if let Some(mut message) = choice.shift_remove("message") {
            number_calls(&mut message);
            choice.insert("delta".to_owned(), message);
        }
    }
    chunk
}

/// Gives the calls of tools their `index`, by which clients put the parts of a stream together.
fn number_calls(delta: &mut Value) {
    let calls = delta.get_mut("tool_calls").and_then(Value::as_array_mut).into_iter().flatten();
    for (index, call) in calls.filter_map(Value::as_object_mut).enumerate() {
        call.entry("index").or_insert(index.into());
    }
}

/// Texts of the choices of a completion, chat or not.
///
/// # Errors
/// There are no choices, or one has no text.
pub fn texts_of_choices(answer: &Value) -> Result<Vec<Value>, String> {
    let choices = answer.get("choices").and_then(Value::as_array).ok_or("the answer has no choices")?;
    // A call of a tool has no text, but says so: `"content": null`.
    let text = |choice: &Value| {
        choice.pointer("/message/content").or_else(|| choice.get("text")).filter(|text| !text.is_null()).cloned()
    };
    choices.iter().map(text).collect::<Option<_>>().ok_or_else(|| "a choice has no text".to_owned())
}

fn texts_of(question: &Value, key: &str) -> Result<Vec<Value>, String> {
    match question.get(key) {
        Some(text @ Value::String(_)) => Ok(vec![text.clone()]),
        Some(Value::Array(texts)) if !texts.is_empty() && texts.iter().all(Value::is_string) => Ok(texts.clone()),
        _ => Err(format!("{key:?} is neither a text nor a list of texts")),
    }
}

/// The messages of a chat as one text, a line each with its role; a single message is its text alone.
fn transcript(question: &Value) -> Result<Value, String> {
    let messages = question.get("messages").and_then(Value::as_array).ok_or("there are no messages")?;
    let content = |message: &Value| message.get("content").and_then(Value::as_str).map(str::to_owned);
    let texts: Option<Vec<String>> = messages.iter().map(content).collect();
    let texts = texts.ok_or("a message has a content that is not text")?;
    if let [only] = texts.as_slice() {
        return Ok(only.as_str().into());
    }
    let role = |message: &Value| message.get("role").and_then(Value::as_str).unwrap_or("user").to_owned();
    let lines: Vec<String> =
        messages.iter().zip(texts).map(|(message, text)| format!("{}: {text}", role(message))).collect();
    Ok(lines.join("\n").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chat_becomes_a_text_tensor_and_its_answer_a_chat() {
        let question =
            json!({"model": "x", "temperature": 0.5, "stream": true, "messages": [{"role": "user", "content": "hi"}]});
        let input = json!({"name": "text_input", "datatype": "BYTES", "shape": [1], "data": ["hi"]});
        let expected = json!({"parameters": {"temperature": 0.5}, "inputs": [input]});
        assert_eq!(question_to_v2(Operation::Chat, &question), Ok(expected));
        let answer = json!({"outputs": [{"name": "text_output", "datatype": "BYTES", "shape": [1], "data": ["ho"]}]});
        let chat = answer_from_v2(Operation::Chat, &answer, "m").expect("chat");
        assert_eq!(chat.pointer("/choices/0/message/content"), Some(&json!("ho")));
        assert_eq!(texts_of_choices(&chat), Ok(vec![json!("ho")]));
    }

    #[test]
    fn embeddings_become_rows_and_back() {
        let answer =
            json!({"outputs": [{"name": "e", "datatype": "FP32", "shape": [2, 2], "data": [1.0, 2.0, 3.0, 4.0]}]});
        let list = answer_from_v2(Operation::Embeddings, &answer, "m").expect("list");
        assert_eq!(list.pointer("/data/1/embedding"), Some(&json!([3.0, 4.0])));
        let back = answer_to_v2(&list, "m", &json!({})).expect("v2");
        assert_eq!(back.pointer("/outputs/0/shape"), Some(&json!([2, 2])));
        assert_eq!(back.pointer("/outputs/0/data"), answer.pointer("/outputs/0/data"));
    }

    #[test]
    fn embeddings_that_are_no_tensor_are_an_error() {
        let of = |one: Value, other: Value| {
            answer_to_v2(&json!({"data": [{"embedding": one}, {"embedding": other}]}), "m", &json!({}))
        };
        let no_list = Err("an embedding is no list of numbers".to_owned());
        assert_eq!(of(json!("zczMPQ=="), json!("zczMPQ==")), no_list, "base64");
        assert_eq!(of(json!(["a"]), json!(["b"])), no_list);
        let ragged = Err("the rows of \"output-0\" are not all of one shape".to_owned());
        assert_eq!(of(json!([1.0, 2.0]), json!([1.0])), ragged);
    }

    #[test]
    fn a_kept_answer_is_one_event() {
        let answer = json!({"object": "chat.completion", "choices": [{"index": 0, "message": {"content": "ho"}}]});
        let expected = "data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"ho\"}}]}\n\ndata: [DONE]\n\n";
        assert_eq!(as_events(Operation::Chat, &answer), expected);
    }

    #[test]
    fn what_is_no_chat_is_an_event_as_it_is() {
        for answer in [json!([1]), json!("x"), json!({"choices": ["x"], "object": "chat.completion.chunk"})] {
            assert_eq!(chunk(&answer), answer);
        }
    }

    #[test]
    fn calls_of_tools_in_an_event_are_numbered() {
        let calls = json!([{"id": "c1", "type": "function"}, {"id": "c2", "type": "function"}]);
        let message = json!({"role": "assistant", "content": null, "tool_calls": calls});
        let event = chunk(&json!({"choices": [{"index": 0, "message": message}]}));
        let calls = json!([{"id": "c1", "type": "function", "index": 0}, {"id": "c2", "type": "function", "index": 1}]);
        assert_eq!(event.pointer("/choices/0/delta/tool_calls"), Some(&calls));
    }

    #[test]
    fn a_choice_that_is_a_call_of_a_tool_has_no_text() {
        let answer = json!({"choices": [{"message": {"role": "assistant", "content": null, "tool_calls": []}}]});
        assert_eq!(texts_of_choices(&answer), Err("a choice has no text".to_owned()));
    }

    #[test]
    fn what_was_answered_is_said_next() {
        let first = json!({"model": "x", "temperature": 0, "messages": [{"role": "user", "content": "hi"}]});
        let answer = json!({"choices": [{"message": {"role": "assistant", "content": "ho"}}]});
        let expected = json!({"model": "x", "temperature": 0, "messages": [{"role": "user", "content": "ho"}]});
        assert_eq!(next(Operation::Chat, &first, &answer), Ok(expected));
        assert!(next(Operation::Rerank, &first, &answer).is_err());
    }
}
