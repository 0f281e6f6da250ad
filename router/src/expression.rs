//! CEL: compiled once, given only what it refers to, and bounded before it runs.
//!
//! The engine is the one that the operator's Python binding wraps, at the same version, and so are the rules: numbers of
//! JSON are doubles, a text has at most 2 KiB, comprehensions nest two deep. The table in `tests/expressions.json` is run by both sides.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue};
use cel::objects::{Key, Map};
use cel::{Context, Program};
use http::HeaderMap;
use serde_json::{Number, Value};

use crate::words::quoted;

/// Bytes of an expression.
pub const TEXT_LIMIT: usize = 2048;

/// Comprehensions inside one another.
pub const DEPTH_LIMIT: usize = 2;

/// Turns of loops times length of the text: some milliseconds. More is refused before it runs, since it would hold
/// everything else that runs on the same thread.
pub const COST_LIMIT: usize = 2_000_000;

/// Names that the language itself has.
const TYPES: [&str; 9] = ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "uint"];

/// Members of a body in the Open Inference Protocol that each request has of its own.
pub const PER_REQUEST: [&str; 2] = ["id", "inputs"];

/// Why an expression has no value, in one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ExpressionError(pub String);

/// A message as expressions see it.
#[derive(Clone, Copy, Default)]
pub struct Seen<'a> {
    pub status: Option<u16>,
    pub method: Option<&'a str>,
    pub path: Option<&'a str>,
    pub headers: Option<&'a HeaderMap>,
    /// The JSON, or why it cannot be read.
    pub body: Option<Result<&'a Value, &'a str>>,
}

/// The top-level names of an expression.
pub trait Scope {
    /// Gives `request`, `response`, `primary` or `shadow`.
    fn message(&self, name: &str) -> Option<Seen<'_>>;
    /// Gives `nodes.NAME`, with `_` for hyphens.
    fn node(&self, name: &str) -> Option<Seen<'_>>;
}

/// An expression, ready to run.
pub struct Expression {
    text: String,
    program: Program,
    used: Used,
    depth: usize,
}

impl fmt::Debug for Expression {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Expression({:?})", self.text)
    }
}

/// What is used of a value: all of it, or members by name.
#[derive(Debug, Clone, Default, PartialEq)]
struct Used {
    whole: bool,
    members: BTreeMap<String, Used>,
}

impl Used {
    fn add(&mut self, path: &[String]) {
        let mut at = self;
        for name in path {
            at = at.members.entry(name.clone()).or_default();
        }
        at.whole = true;
    }
}

impl Expression {
    /// Compiles an expression.
    ///
    /// # Errors
    /// It is not CEL, is too long, nests comprehensions too deeply, or uses names that its place does not have.
    pub fn compile(text: &str, names: &[&str]) -> Result<Self, ExpressionError> {
        if text.len() > TEXT_LIMIT {
            return Err(ExpressionError(format!("it has more than {TEXT_LIMIT} bytes")));
        }
        let program = Program::compile(text).map_err(|error| ExpressionError(first_line(&error.to_string())))?;
        let mut walk = Walk::default();
        walk.visit(program.expression(), 0);
        if walk.depth > DEPTH_LIMIT {
            let words = format!("it nests {} comprehensions; {DEPTH_LIMIT} are allowed", walk.depth);
            return Err(ExpressionError(words));
        }
        if let Some(unknown) = walk.used.members.keys().find(|name| !names.contains(&name.as_str())) {
            let words = format!("there is no {unknown:?} here, only {}", names.join(", "));
            return Err(ExpressionError(words));
        }
        Ok(Self { text: text.to_owned(), program, used: walk.used, depth: walk.depth })
    }

    /// The names of nodes whose answers it reads; None if it takes `nodes` as a whole.
    pub fn nodes(&self) -> Option<Vec<&str>> {
        match self.used.members.get("nodes") {
            None => Some(Vec::new()),
            Some(nodes) if nodes.whole => None,
            Some(nodes) => Some(nodes.members.keys().map(String::as_str).collect()),
        }
    }

    /// Whether it reads a member of a message, such as the `body` of `response`.
    pub fn reads(&self, message: &str, member: &str) -> bool {
        let Some(message) = self.used.members.get(message) else { return false };
        message.whole || message.members.contains_key(member)
    }

    /// Whether it reads of the request's body what requests of one batch do not have in common.
    pub fn reads_rows(&self) -> bool {
        let Some(request) = self.used.members.get("request") else { return false };
        let rows = |body: &Used| body.whole || PER_REQUEST.iter().any(|name| body.members.contains_key(*name));
        request.whole || request.members.get("body").is_some_and(rows)
    }

    /// The names of the headers of the request that it reads; None if it takes them as a whole.
    pub fn headers(&self) -> Option<Vec<&str>> {
        let Some(request) = self.used.members.get("request") else { return Some(Vec::new()) };
        match request.members.get("headers") {
            _ if request.whole => None,
            None => Some(Vec::new()),
            Some(headers) if headers.whole => None,
            Some(headers) => Some(headers.members.keys().map(String::as_str).collect()),
        }
    }

    /// Whether the request is all that it reads.
    pub fn is_of_request(&self) -> bool {
        self.used.members.keys().all(|name| name == "request")
    }

    /// Gives its value.
    ///
    /// # Errors
    /// It refers to what is not there, mixes types, or would take too long.
    pub fn evaluate(&self, scope: &dyn Scope) -> Result<Value, ExpressionError> {
        let value = self.run(scope)?;
        to_json(&value)
    }

    /// Gives its value, which has to be a bool.
    ///
    /// # Errors
    /// As `evaluate`, or the value is of another type.
    pub fn evaluate_bool(&self, scope: &dyn Scope) -> Result<bool, ExpressionError> {
        match self.run(scope)? {
            cel::Value::Bool(value) => Ok(value),
            other => Err(ExpressionError(format!("its value is {}, and not true or false", shown(&other)))),
        }
    }

    fn run(&self, scope: &dyn Scope) -> Result<cel::Value, ExpressionError> {
        let mut context = Context::default();
        let mut longest = 1;
        for (name, used) in &self.used.members {
            let value = if name == "nodes" {
                nodes_of(used, scope, &mut longest)?
            } else {
                let seen = scope.message(name).ok_or_else(|| missing(name))?;
                message_of(used, seen, &mut longest)?
            };
            context.add_variable_from_value(name.as_str(), value);
        }
        let turns = longest.saturating_pow(u32::try_from(self.depth).unwrap_or(u32::MAX));
        if turns.saturating_mul(self.text.len()) > COST_LIMIT {
            let words = format!("it would loop over up to {longest} values {} deep, which takes too long", self.depth);
            return Err(ExpressionError(words));
        }
        self.program.execute(&context).map_err(|error| ExpressionError(explain(&error)))
    }
}

fn missing(name: &str) -> ExpressionError {
    ExpressionError(format!("there is no {name:?} here"))
}

fn nodes_of(used: &Used, scope: &dyn Scope, longest: &mut usize) -> Result<cel::Value, ExpressionError> {
    let mut found = HashMap::new();
    for (name, used) in &used.members {
        // A node that has not answered is not there: `has(nodes.x)` tells.
        if let Some(seen) = scope.node(name) {
            found.insert(key(name), message_of(used, seen, longest)?);
        }
    }
    Ok(map(found))
}

fn message_of(used: &Used, seen: Seen<'_>, longest: &mut usize) -> Result<cel::Value, ExpressionError> {
    let mut found = HashMap::new();
    let wanted = |name: &str| used.whole || used.members.contains_key(name);
    if let Some(status) = seen.status.filter(|_| wanted("status")) {
        found.insert(key("status"), cel::Value::Float(f64::from(status)));
    }
    for (name, value) in [("method", seen.method), ("path", seen.path)] {
        if let Some(value) = value.filter(|_| wanted(name)) {
            found.insert(key(name), text(value));
        }
    }
    if let Some(headers) = seen.headers.filter(|_| wanted("headers")) {
        let pairs =
            headers.iter().map(|(name, value)| (key(name.as_str()), text(&String::from_utf8_lossy(value.as_bytes()))));
        found.insert(key("headers"), map(pairs.collect()));
    }
    if wanted("body") {
        let unread = |words| ExpressionError(format!("the body is not JSON: {words}"));
        let body = seen.body.unwrap_or(Err("it passes unread")).map_err(unread)?;
        let part = used.members.get("body").filter(|_| !used.whole);
        found.insert(key("body"), part_of(part, body, longest));
    }
    Ok(map(found))
}

/// Takes out of a JSON value what is used of it, so that a large body costs only what is looked at.
fn part_of(used: Option<&Used>, value: &Value, longest: &mut usize) -> cel::Value {
    match (used, value) {
        (Some(used), Value::Object(members)) if !used.whole => {
            let found = used.members.iter().filter_map(|(name, used)| {
                members.get(name).map(|member| (key(name), part_of(Some(used), member, longest)))
            });
            map(found.collect())
        }
        _ => from_json(value, longest),
    }
}

fn from_json(value: &Value, longest: &mut usize) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(value) => cel::Value::Bool(*value),
        Value::Number(number) => cel::Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(value) => text(value),
        Value::Array(items) => {
            *longest = (*longest).max(items.len());
            cel::Value::List(Arc::new(items.iter().map(|item| from_json(item, longest)).collect()))
        }
        Value::Object(members) => {
            *longest = (*longest).max(members.len());
            map(members.iter().map(|(name, member)| (key(name), from_json(member, longest))).collect())
        }
    }
}

/// Turns a value into JSON; a double without a fraction becomes an integer, as it was before CEL.
fn to_json(value: &cel::Value) -> Result<Value, ExpressionError> {
    Ok(match value {
        cel::Value::Null => Value::Null,
        cel::Value::Bool(value) => Value::Bool(*value),
        cel::Value::Int(value) => Value::from(*value),
        cel::Value::UInt(value) => Value::from(*value),
        cel::Value::Float(value) => number(*value)?,
        cel::Value::String(value) => Value::String(value.to_string()),
        cel::Value::List(items) => Value::Array(items.iter().map(to_json).collect::<Result<_, _>>()?),
        cel::Value::Map(members) => object(members)?,
        other => return Err(ExpressionError(format!("its value is {}, which is not JSON", shown(other)))),
    })
}

/// Gives a map as JSON. Its members are sorted: the engine has them in another order each time, and keys of caches are texts.
fn object(members: &Map) -> Result<Value, ExpressionError> {
    let mut sorted = BTreeMap::new();
    for (name, member) in members.map.iter() {
        let name = name.to_string();
        if sorted.contains_key(&name) {
            return Err(ExpressionError(format!("its value has two members {}", quoted(&name))));
        }
        sorted.insert(name, to_json(member)?);
    }
    Ok(Value::Object(sorted.into_iter().collect()))
}

/// Gives a double as JSON.
fn number(value: f64) -> Result<Value, ExpressionError> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() <= EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "within what a double holds exactly")]
        return Ok(Value::from(value as i64));
    }
    let number =
        Number::from_f64(value).ok_or_else(|| ExpressionError(format!("its value is {value}, which is not JSON")))?;
    Ok(Value::Number(number))
}

fn key(name: &str) -> Key {
    Key::String(Arc::new(name.to_owned()))
}

fn text(value: &str) -> cel::Value {
    cel::Value::String(Arc::new(value.to_owned()))
}

fn map(members: HashMap<Key, cel::Value>) -> cel::Value {
    cel::Value::Map(Map { map: Arc::new(members) })
}

fn shown(value: &cel::Value) -> String {
    let mut shown = format!("{value:?}");
    if shown.len() > 80 {
        let end = (0..=77).rev().find(|&end| shown.is_char_boundary(end)).unwrap_or(0);
        shown.truncate(end);
        shown.push_str("...");
    }
    shown
}

fn explain(error: &cel::ExecutionError) -> String {
    match error {
        cel::ExecutionError::NoSuchKey(name) => format!("there is no {}", quoted(name)),
        cel::ExecutionError::UnsupportedBinaryOperator(operator, left, right) => format!(
            "{operator} does not work on {} and {} (numbers are doubles here: write 1.0, not 1)",
            left.type_of(),
            right.type_of()
        ),
        other => first_line(&other.to_string()),
    }
}

fn first_line(text: &str) -> String {
    text.trim().lines().next().unwrap_or("unknown error").to_owned()
}

/// Finds what an expression uses and how deeply its comprehensions nest.
#[derive(Default)]
struct Walk {
    used: Used,
    depth: usize,
    bound: Vec<String>,
}

impl Walk {
    fn visit(&mut self, at: &IdedExpr, depth: usize) {
        if let Some(path) = self.path_of(at) {
            self.used.add(&path);
            return;
        }
        match &at.expr {
            Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
            Expr::Select(select) => self.visit(&select.operand, depth),
            Expr::Call(call) => {
                call.target.iter().for_each(|target| self.visit(target, depth));
                call.args.iter().for_each(|argument| self.visit(argument, depth));
            }
            Expr::List(list) => list.elements.iter().for_each(|element| self.visit(element, depth)),
            Expr::Map(map) => map.entries.iter().for_each(|entry| self.visit_entry(&entry.expr, depth)),
            Expr::Struct(of) => of.entries.iter().for_each(|entry| self.visit_entry(&entry.expr, depth)),
            Expr::Comprehension(loop_) => {
                self.depth = self.depth.max(depth + 1);
                self.visit(&loop_.iter_range, depth);
                self.visit(&loop_.accu_init, depth);
                let before = self.bound.len();
                self.bound.extend([loop_.iter_var.clone(), loop_.accu_var.clone()]);
                self.bound.extend(loop_.iter_var2.clone());
                self.visit(&loop_.loop_cond, depth + 1);
                self.visit(&loop_.loop_step, depth + 1);
                self.visit(&loop_.result, depth + 1);
                self.bound.truncate(before);
            }
        }
    }

    fn visit_entry(&mut self, entry: &EntryExpr, depth: usize) {
        match entry {
            EntryExpr::StructField(field) => self.visit(&field.value, depth),
            EntryExpr::MapEntry(entry) => {
                self.visit(&entry.key, depth);
                self.visit(&entry.value, depth);
            }
        }
    }

    /// Gives the members from a top-level name on, if it is nothing but that: `request.body.x` or `request.headers['x-user']`.
    fn path_of(&self, at: &IdedExpr) -> Option<Vec<String>> {
        match &at.expr {
            Expr::Ident(name) if !self.bound.contains(name) && !TYPES.contains(&name.as_str()) => {
                Some(vec![name.clone()])
            }
            Expr::Select(select) => {
                let mut path = self.path_of(&select.operand)?;
                path.push(select.field.clone());
                Some(path)
            }
            Expr::Call(call) if call.func_name == cel::common::ast::operators::INDEX => {
                let [object, index] = call.args.as_slice() else { return None };
                let Expr::Literal(LiteralValue::String(name)) = &index.expr else { return None };
                let mut path = self.path_of(object)?;
                path.push(name.inner().to_owned());
                Some(path)
            }
            _ => None,
        }
    }
}
