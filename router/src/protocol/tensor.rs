//! Tensors in JSON, as the Open Inference Protocol (v2) and KServe's v1 write them.
//!
//! v2 has named tensors `{name, shape, datatype, data}` with data flat or nested; v1 has rows: `instances` and
//! `predictions`, each a value, a nested list, or an object by name.

use std::fmt::Formatter;

use bytes::Bytes;
use serde::Deserializer;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::words::{cut, quoted};

/// The name of a tensor that had none.
pub const UNNAMED_INPUT: &str = "input-0";
pub const UNNAMED_OUTPUT: &str = "output-0";

/// Dimensions of a tensor at most.
pub const MAX_DIMENSIONS: usize = 32;

/// A tensor without values may have so many empty rows, or lists within them: they cost nothing on the wire.
const MAX_EMPTY: usize = 1024;

/// Lists around a value at most: each costs as much as the value.
const MAX_NESTED: usize = 8;

/// A tensor with its data in one flat list.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    pub name: String,
    pub datatype: String,
    pub shape: Vec<usize>,
    /// What else is said of it, such as its `content_type`.
    pub parameters: Option<Value>,
    pub data: Vec<Value>,
}

impl Tensor {
    /// Reads a tensor of v2.
    ///
    /// # Errors
    /// It is not one, or its data has not as many values as its shape says.
    pub fn read(value: &Value) -> Result<Self, String> {
        let name = value.get("name").and_then(Value::as_str).ok_or("a tensor has no name")?.to_owned();
        let wrong = |what: &str| format!("tensor {} has {what}", quoted(&name));
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let datatype = text("datatype").ok_or_else(|| wrong("no datatype"))?;
        let sizes = value.get("shape").and_then(Value::as_array).ok_or_else(|| wrong("no shape"))?;
        if sizes.len() > MAX_DIMENSIONS {
            return Err(wrong(&format!("{} dimensions, and {MAX_DIMENSIONS} are the most", sizes.len())));
        }
        let shape: Option<Vec<usize>> = sizes.iter().map(size).collect();
        let shape = shape.ok_or_else(|| wrong("no shape"))?;
        let mut data = Vec::new();
        flatten(value.get("data").ok_or_else(|| wrong("no data in JSON"))?, &mut data);
        if count_of(&shape) != Some(data.len()) {
            return Err(wrong(&format!("{} values and the shape {}", data.len(), cut(format!("{shape:?}")))));
        }
        Ok(Self { name, datatype, shape, parameters: value.get("parameters").cloned(), data })
    }

    /// Writes it as v2 does.
    pub fn write(self) -> Value {
        let mut made = Map::new();
        made.insert("name".to_owned(), self.name.into());
        made.insert("datatype".to_owned(), self.datatype.into());
        made.insert("shape".to_owned(), self.shape.into());
        if let Some(parameters) = self.parameters {
            made.insert("parameters".to_owned(), parameters);
        }
        made.insert("data".to_owned(), Value::Array(self.data));
        Value::Object(made)
    }

    /// The number of rows: the first dimension.
    pub fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// How many lists are in its rows.
    fn lists(&self) -> usize {
        let lists = self.shape.iter().scan(1_usize, |product, &size| {
            *product = product.saturating_mul(size);
            Some(*product)
        });
        // The last dimension is of values.
        lists.take(self.shape.len().saturating_sub(1)).fold(0, usize::saturating_add)
    }

    /// Splits it into rows, each nested as the shape says.
    fn into_rows(self) -> Vec<Value> {
        match nest(&self.shape, &mut self.data.into_iter()) {
            Value::Array(rows) => rows,
            scalar => vec![scalar],
        }
    }

    /// Makes a tensor of rows that all look alike.
    ///
    /// # Errors
    /// They do not.
    pub fn of_rows(name: &str, rows: &[Value]) -> Result<Self, String> {
        let mut shape = vec![rows.len()];
        let mut at = rows.first();
        while let Some(Value::Array(items)) = at {
            shape.push(items.len());
            at = items.first();
        }
        let mut data = Vec::new();
        let alike = shape.len() <= MAX_DIMENSIONS && rows.iter().all(|row| unnest(row, &shape[1..], &mut data));
        if !alike || count_of(&shape) != Some(data.len()) {
            return Err(format!("the rows of {} are not all of one shape", quoted(name)));
        }
        let all = || format!("the values of {} are not all of one type", quoted(name));
        let datatype = datatype_of(&data).ok_or_else(all)?;
        Ok(Self { name: name.to_owned(), datatype: datatype.to_owned(), shape, parameters: None, data })
    }
}

/// How many values a shape is for; None if they are too many to count, or none in too many lists.
pub fn count_of(shape: &[usize]) -> Option<usize> {
    let product = |sizes: &[usize]| sizes.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
    match shape.iter().position(|&size| size == 0) {
        None => product(shape),
        Some(zero) => product(&shape[..zero]).filter(|&lists| lists <= MAX_EMPTY).map(|_| 0),
    }
}

fn size(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|size| usize::try_from(size).ok())
}

/// Puts all values of nested lists into one.
pub fn flatten(value: &Value, into: &mut Vec<Value>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| flatten(item, into)),
        other => into.push(other.clone()),
    }
}

fn nest(shape: &[usize], data: &mut impl Iterator<Item = Value>) -> Value {
    match shape.split_first() {
        None => data.next().unwrap_or(Value::Null),
        Some((&count, rest)) => Value::Array((0..count).map(|_| nest(rest, data)).collect()),
    }
}

/// Puts the values of lists into one, and tells whether they are nested as a shape says.
fn unnest(value: &Value, shape: &[usize], into: &mut Vec<Value>) -> bool {
    match (value, shape.split_first()) {
        (Value::Array(items), Some((&size, rest))) => {
            items.len() == size && items.iter().all(|item| unnest(item, rest, into))
        }
        (Value::Array(_), None) | (_, Some(_)) => false,
        (other, None) => {
            into.push(other.clone());
            true
        }
    }
}

fn datatype_of(data: &[Value]) -> Option<&'static str> {
    let all = |is: fn(&Value) -> bool| data.iter().all(is);
    if all(Value::is_i64) {
        Some("INT64")
    } else if all(Value::is_u64) {
        Some("UINT64")
    } else if all(Value::is_number) {
        Some("FP64")
    } else if all(Value::is_string) {
        Some("BYTES")
    } else if all(Value::is_boolean) {
        Some("BOOL")
    } else {
        None
    }
}

/// Reads the tensors of a list such as `inputs`.
///
/// # Errors
/// There is no such list, or one of them is no tensor.
pub fn tensors(message: &Value, list: &str) -> Result<Vec<Tensor>, String> {
    let found = message.get(list).and_then(Value::as_array).ok_or_else(|| format!("there is no list {list:?}"))?;
    found.iter().map(Tensor::read).collect()
}

/// Makes the next question of a sequence in v2: outputs become inputs, `id` and `parameters` are kept.
///
/// # Errors
/// The answer has no outputs, or one of them is no JSON.
pub fn next_v2(first: &[u8], answer: &[u8]) -> Result<Bytes, String> {
    let outputs = member(answer, "outputs")?.filter(|raw| raw.get().starts_with('['));
    let outputs = outputs.ok_or("the answer has no outputs to go on with")?;
    spliced(first, |name| matches!(name, "id" | "parameters"), "inputs", outputs)
}

/// Makes the next question of a sequence in v1: predictions become instances, all else is kept.
///
/// # Errors
/// The answer has no predictions, or one of them is no JSON.
pub fn next_v1(first: &[u8], answer: &[u8]) -> Result<Bytes, String> {
    let predictions = member(answer, "predictions")?.ok_or("the answer has no predictions to go on with")?;
    spliced(first, |name| name != "instances", "instances", predictions)
}

/// Finds a member of an object; the last of a name counts.
fn member<'a>(text: &'a [u8], wanted: &str) -> Result<Option<&'a RawValue>, String> {
    let mut found = None;
    members(text, |name, value| found = if name == wanted { Some(value) } else { found })?;
    Ok(found)
}

/// Makes an object of some members of another and one more.
fn spliced(text: &[u8], kept: impl Fn(&str) -> bool, name: &str, value: &RawValue) -> Result<Bytes, String> {
    let mut made = Vec::with_capacity(text.len() + value.get().len());
    let mut push = |name: &str, value: &RawValue| {
        made.push(if made.is_empty() { b'{' } else { b',' });
        made.extend_from_slice(Value::from(name).to_string().as_bytes());
        made.push(b':');
        made.extend_from_slice(value.get().as_bytes());
    };
    members(text, |name, value| {
        if kept(&name) {
            push(&name, value);
        }
    })?;
    push(name, value);
    made.push(b'}');
    Ok(made.into())
}

/// Goes through the members of an object without making values of them; what is no object has none.
fn members<'a>(text: &'a [u8], each: impl FnMut(String, &'a RawValue)) -> Result<(), String> {
    struct Each<F>(F);

    impl<'a, F: FnMut(String, &'a RawValue)> Visitor<'a> for Each<F> {
        type Value = ();

        fn expecting(&self, out: &mut Formatter<'_>) -> std::fmt::Result {
            out.write_str("an object")
        }

        fn visit_map<M: MapAccess<'a>>(mut self, mut map: M) -> Result<(), M::Error> {
            while let Some((name, value)) = map.next_entry()? {
                self.0(name, value);
            }
            Ok(())
        }
    }

    let mut reader = serde_json::Deserializer::from_slice(text);
    match reader.deserialize_map(Each(each)).and_then(|()| reader.end()) {
        Err(error) if !error.is_data() => Err(error.to_string()),
        _ => Ok(()),
    }
}

/// Makes a question of v1 one of v2.
///
/// # Errors
/// There are no instances, or they differ in shape or type.
pub fn question_to_v2(question: &Value) -> Result<Value, String> {
    let rows = question.get("instances").and_then(Value::as_array).ok_or("there is no list \"instances\"")?;
    let inputs = columns(rows, UNNAMED_INPUT)?.into_iter().map(Tensor::write).collect::<Vec<_>>();
    let mut made = Map::new();
    if let Some(parameters) = question.get("parameters") {
        made.insert("parameters".to_owned(), parameters.clone());
    }
    made.insert("inputs".to_owned(), Value::Array(inputs));
    Ok(Value::Object(made))
}

/// Makes a question of v2 one of v1.
///
/// # Errors
/// The inputs are no tensors, or have different numbers of rows.
pub fn question_to_v1(question: &Value) -> Result<Value, String> {
    let mut made = Map::new();
    if let Some(parameters) = question.get("parameters") {
        made.insert("parameters".to_owned(), parameters.clone());
    }
    made.insert("instances".to_owned(), Value::Array(rows(tensors(question, "inputs")?)?));
    Ok(Value::Object(made))
}

/// Makes an answer of v2 one of v1.
///
/// # Errors
/// As above, for outputs.
pub fn answer_to_v1(answer: &Value) -> Result<Value, String> {
    Ok(json!({"predictions": rows(tensors(answer, "outputs")?)?}))
}

/// Makes an answer of v1 one of v2.
///
/// # Errors
/// As above, for predictions.
pub fn answer_to_v2(answer: &Value, model: &str, question: &Value) -> Result<Value, String> {
    let rows = answer.get("predictions").and_then(Value::as_array).ok_or("the answer has no list \"predictions\"")?;
    let outputs = columns(rows, UNNAMED_OUTPUT)?.into_iter().map(Tensor::write).collect::<Vec<_>>();
    let mut made = Map::new();
    made.insert("model_name".to_owned(), model.into());
    if let Some(id) = question.get("id") {
        made.insert("id".to_owned(), id.clone());
    }
    made.insert("outputs".to_owned(), Value::Array(outputs));
    Ok(Value::Object(made))
}

/// Rows as tensors: one for each name if rows are objects, else one.
fn columns(rows: &[Value], unnamed: &str) -> Result<Vec<Tensor>, String> {
    let Some(Value::Object(first)) = rows.first() else { return Ok(vec![Tensor::of_rows(unnamed, rows)?]) };
    let not_all = |name: &String| format!("not every row has {}", quoted(name));
    let mut others = rows.iter().filter_map(Value::as_object).flat_map(Map::keys);
    if let Some(name) = others.find(|&name| !first.contains_key(name)) {
        return Err(not_all(name));
    }
    if first.is_empty() {
        return Err("the rows have no members".to_owned());
    }
    let column = |name: &String| {
        let values = rows.iter().map(|row| row.get(name).cloned()).collect::<Option<Vec<_>>>();
        Tensor::of_rows(name, &values.ok_or_else(|| not_all(name))?)
    };
    first.keys().map(column).collect()
}

/// Tensors as rows: values if there is one tensor, else objects by name.
fn rows(tensors: Vec<Tensor>) -> Result<Vec<Value>, String> {
    let count = tensors.first().map_or(0, Tensor::rows);
    if let Some(other) = tensors.iter().find(|tensor| tensor.rows() != count) {
        return Err(format!("tensor {} has {} rows and another {count}", quoted(&other.name), other.rows()));
    }
    if let Some(flat) = tensors.iter().find(|tensor| tensor.lists() > tensor.data.len().max(MAX_EMPTY) * MAX_NESTED) {
        return Err(format!("the rows of tensor {} nest too deeply", quoted(&flat.name)));
    }
    let values: usize = tensors.iter().map(|tensor| tensor.data.len()).sum();
    if count.saturating_mul(tensors.len()) > values.saturating_add(MAX_EMPTY) {
        return Err(format!("{} tensors have {count} rows, most of them empty", tensors.len()));
    }
    if tensors.len() == 1 {
        return Ok(tensors.into_iter().flat_map(Tensor::into_rows).collect());
    }
    let mut made = vec![Map::new(); count];
    for tensor in tensors {
        let name = tensor.name.clone();
        for (row, value) in made.iter_mut().zip(tensor.into_rows()) {
            if row.insert(name.clone(), value).is_some() {
                return Err(format!("two tensors have the name {}", quoted(&name)));
            }
        }
    }
    Ok(made.into_iter().map(Value::Object).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tensor_is_read_flat_or_nested() {
        let flat = json!({"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4]});
        let nested = json!({"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [[1, 2], [3, 4]]});
        assert_eq!(Tensor::read(&flat), Tensor::read(&nested));
        let wrong = json!({"name": "x", "datatype": "FP32", "shape": [3], "data": [1, 2]});
        assert_eq!(Tensor::read(&wrong), Err("tensor \"x\" has 2 values and the shape [3]".to_owned()));
        let told = json!({"name": "x", "datatype": "BYTES", "shape": [1], "parameters": {"content_type": "str"}, "data": ["a"]});
        assert_eq!(Tensor::read(&told).map(Tensor::write), Ok(told));
    }

    #[test]
    fn shapes_that_cost_nothing_on_the_wire_are_refused() {
        let of = |shape: Value| json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": shape, "data": []}]});
        for shape in
            [json!([1_000_000_000_000_u64, 0]), json!([1025, 0]), json!([40, 40, 0, 5]), json!([u64::MAX, 2, 0])]
        {
            let words = format!("tensor \"x\" has 0 values and the shape {}", shape.to_string().replace(',', ", "));
            assert_eq!(question_to_v1(&of(shape.clone())), Err(words), "{shape}");
            assert!(answer_to_v1(&json!({"outputs": of(shape)["inputs"]})).is_err());
        }
        assert_eq!(question_to_v1(&of(json!([2, 0]))), Ok(json!({"instances": [[], []]})));
        assert_eq!(question_to_v1(&of(json!([0, u64::MAX]))), Ok(json!({"instances": []})));

        let deep = json!({"name": "x", "datatype": "FP32", "shape": vec![1; 100_000], "data": [1]});
        let words = "tensor \"x\" has 100000 dimensions, and 32 are the most";
        assert_eq!(Tensor::read(&deep), Err(words.to_owned()));
        let mut shape = vec![2000];
        shape.resize(MAX_DIMENSIONS, 1);
        let nested = json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": shape, "data": vec![1; 2000]}]});
        assert_eq!(question_to_v1(&nested), Err("the rows of tensor \"x\" nest too deeply".to_owned()));
        let empty = |name: usize| json!({"name": name.to_string(), "datatype": "FP32", "shape": [1000, 0], "data": []});
        let many = json!({"inputs": (0..3).map(empty).collect::<Vec<_>>()});
        assert_eq!(question_to_v1(&many), Err("3 tensors have 1000 rows, most of them empty".to_owned()));
    }

    #[test]
    fn v1_and_v2_become_each_other_and_back() {
        for instances in
            [json!([[1, 2], [3, 4]]), json!(["a", "b"]), json!([{"x": 1.5, "y": [true]}, {"x": 2.5, "y": [false]}])]
        {
            let v1 = json!({"instances": instances, "parameters": {"p": 1}});
            let v2 = question_to_v2(&v1).expect("v2");
            assert_eq!(question_to_v1(&v2).expect("v1"), v1);
        }
        let answer = json!({"model_name": "m", "id": "7", "outputs": [{"name": "output-0", "datatype": "INT64", "shape": [2], "data": [3, 4]}]});
        let v1 = answer_to_v1(&answer).expect("v1");
        assert_eq!(v1, json!({"predictions": [3, 4]}));
        assert_eq!(answer_to_v2(&v1, "m", &json!({"id": "7"})).expect("v2"), answer);
    }

    #[test]
    fn what_has_no_shape_is_refused_by_name() {
        let cases = [
            (json!({}), "there is no list \"instances\""),
            (json!({"instances": [[1], [1, 2]]}), "the rows of \"input-0\" are not all of one shape"),
            (json!({"instances": [[1, 2], [3], [4, 5, 6]]}), "the rows of \"input-0\" are not all of one shape"),
            (json!({"instances": [[[1], [2]], [3, 4]]}), "the rows of \"input-0\" are not all of one shape"),
            (json!({"instances": [1, "a"]}), "the values of \"input-0\" are not all of one type"),
            (json!({"instances": [{"x": 1}, {"y": 1}]}), "not every row has \"y\""),
            (json!({"instances": [{"x": 1}, {"x": 2, "y": 3}]}), "not every row has \"y\""),
            (json!({"instances": [{"x": 2, "y": 3}, {"x": 1}]}), "not every row has \"y\""),
            (json!({"instances": [{"x": 1}, 2]}), "not every row has \"x\""),
            (json!({"instances": [{}, {}]}), "the rows have no members"),
        ];
        for (question, words) in cases {
            assert_eq!(question_to_v2(&question), Err(words.to_owned()), "{question}");
        }
    }

    #[test]
    fn tensors_of_one_name_cannot_be_members_of_rows() {
        let of = |name: &str| json!({"name": name, "datatype": "INT64", "shape": [1], "data": [1]});
        let twice = json!({"inputs": [of("x"), of("y"), of("x")]});
        assert_eq!(question_to_v1(&twice), Err("two tensors have the name \"x\"".to_owned()));
    }

    #[test]
    fn whole_numbers_have_the_type_that_holds_them() {
        let of = |instances: Value| {
            question_to_v2(&json!({"instances": instances})).map(|made| made["inputs"][0]["datatype"].clone())
        };
        assert_eq!(of(json!([i64::MIN, 1])), Ok(json!("INT64")));
        assert_eq!(of(json!([u64::MAX, 1])), Ok(json!("UINT64")));
        assert_eq!(of(json!([u64::MAX, -1])), Ok(json!("FP64")));
    }

    #[test]
    fn an_answer_becomes_the_next_question() {
        type Next = fn(&[u8], &[u8]) -> Result<Bytes, String>;
        let v2 = r#"{"id": "7", "inputs": [1], "parameters": {"p": 1}, "outputs": []}"#;
        let v1 = r#"{"instances": [1], "parameters": {"p": 1}, "a\"b": null}"#;
        let cases: [(Next, &str, &str, &str); 7] = [
            (
                next_v2,
                v2,
                r#"{"outputs": [{"name": "y"}]}"#,
                r#"{"id":"7","parameters":{"p": 1},"inputs":[{"name": "y"}]}"#,
            ),
            (next_v2, "[]", r#"{"outputs": []}"#, r#"{"inputs":[]}"#),
            (next_v1, v1, r#"{"predictions": [2]}"#, r#"{"parameters":{"p": 1},"a\"b":null,"instances":[2]}"#),
            (next_v1, "{}", r#"{"predictions": 1, "predictions": 0.10}"#, r#"{"instances":0.10}"#),
            (next_v1, "3", r#" {"predictions": "x"} "#, r#"{"instances":"x"}"#),
            (next_v1, r#"{"instances": 1, "instances": 2}"#, r#"{"predictions": 3}"#, r#"{"instances":3}"#),
            (next_v1, "{}", r#"{"pred\u0069ctions": 1}"#, r#"{"instances":1}"#),
        ];
        for (next, first, answer, expected) in cases {
            let made = next(first.as_bytes(), answer.as_bytes()).expect(answer);
            assert_eq!(str::from_utf8(&made), Ok(expected));
        }
        let wrong: [(Next, &str, &str, &str); 7] = [
            (next_v2, v2, "{}", "the answer has no outputs to go on with"),
            (next_v2, v2, r#"{"outputs": {}}"#, "the answer has no outputs to go on with"),
            (next_v1, v1, "[]", "the answer has no predictions to go on with"),
            (next_v1, v1, "", "EOF while parsing a value"),
            (next_v1, v1, r#"{"predictions": 1} 2"#, "trailing characters"),
            (next_v1, v1, r#"{"predictions": [1}"#, "expected `,` or `]`"),
            (next_v1, r#"{"a": 1"#, r#"{"predictions": 1}"#, "EOF while parsing an object"),
        ];
        for (next, first, answer, words) in wrong {
            let told = next(first.as_bytes(), answer.as_bytes()).expect_err(answer);
            assert!(told.starts_with(words), "{told}");
        }
    }
}
