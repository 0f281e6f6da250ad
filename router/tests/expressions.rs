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
