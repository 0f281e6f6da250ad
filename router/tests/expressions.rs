//! The table of expressions that the operator's tests run too: what each gives, or that it is an error.

use rondo_router::expression::{Expression, ExpressionError, Scope, Seen};
use serde_json::Value;

struct Only<'a>(&'a Value);

impl Scope for Only<'_> {
    fn message(&self, name: &str) -> Option<Seen<'_>> {
        (name == "request").then_some(Seen { body: Some(Ok(self.0)), ..Seen::default() })
    }

    fn node(&self, _: &str) -> Option<Seen<'_>> {
        None
    }
}

fn evaluate(text: &str, body: &Value) -> Result<Value, ExpressionError> {
    Expression::compile(text, &["request"])?.evaluate(&Only(body))
}

#[test]
fn every_expression_means_the_same_as_to_the_operator() {
    let table: Value = serde_json::from_str(include_str!("../../tests/shared/expressions.json")).expect("JSON");
    let rows = table["rows"].as_array().expect("rows");
    assert!(rows.len() > 80);
    let mut wrong = Vec::new();
    for row in rows {
        let text = row["expression"].as_str().expect("text");
        let given = evaluate(text, &table["body"]);
        let same = match (row.get("value"), &given) {
            (Some(value), Ok(given)) => value == given,
            (None, Err(_)) => true,
            _ => false,
        };
        if !same {
            wrong.push(format!("{text}: {:?} is not {given:?}", row.get("value")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn members_of_a_value_come_in_one_order() {
    let body = serde_json::json!({"m": {"d": 1, "b": {"z": [{"y": 1, "x": 2}], "a": 2}, "c": 3, "a": 4}});
    for _ in 0..20 {
        let given = evaluate("{'of': request.body.m, 'by': request.body.m.a}", &body).map(|value| value.to_string());
        assert_eq!(given.as_deref(), Ok(r#"{"by":4,"of":{"a":4,"b":{"a":2,"z":[{"x":2,"y":1}]},"c":3,"d":1}}"#));
        let twice = evaluate("{1: 'a', '1': 'b'}", &body);
        assert_eq!(twice, Err(ExpressionError("its value has two members \"1\"".to_owned())));
    }
}
