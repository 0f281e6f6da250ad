//! Paths within JSON: `inputs[0].data`, with `['a.b']` for names that are no words.

use std::fmt;

use serde_json::Value;

/// The longest list that a path may make by itself; a larger index is a mistake.
const MAX_INDEX: usize = 10_000;

/// A step within a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Member(String),
    Index(usize),
}

/// A place within a JSON value; empty for the value itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Path(pub Vec<Step>);

/// Why a path cannot be read or followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PathError(pub String);

impl Path {
    /// Reads a path.
    ///
    /// # Errors
    /// It is empty or malformed; the text says where.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (step, after) = next_step(rest, steps.is_empty())
                .ok_or_else(|| PathError(format!("{text:?} is no path: wrong from {rest:?} on")))?;
            steps.push(step);
            rest = after;
        }
        if steps.is_empty() {
            return Err(PathError("a path is not empty".to_owned()));
        }
        Ok(Self(steps))
    }

    /// Gives the value at this place.
    pub fn get<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(value, |at, step| match step {
            Step::Member(name) => at.get(name),
            Step::Index(index) => at.get(index),
        })
    }

    /// Puts a value at this place; objects and lists on the way are made, a list grows by one at most.
    ///
    /// # Errors
    /// Something on the way is neither an object nor a list, or the index is beyond the end.
    pub fn put(&self, into: &mut Value, value: Value) -> Result<(), PathError> {
        let mut at = into;
        for step in &self.0 {
            at = match step {
                Step::Member(name) => {
                    if at.is_null() {
                        *at = Value::Object(serde_json::Map::new());
                    }
                    let members = at.as_object_mut().ok_or_else(|| self.wrong("an object", name))?;
                    members.entry(name.clone()).or_insert(Value::Null)
                }
                Step::Index(index) => {
                    if at.is_null() {
                        *at = Value::Array(Vec::new());
                    }
                    let items = at.as_array_mut().ok_or_else(|| self.wrong("a list", &index.to_string()))?;
                    if *index == items.len() {
                        items.push(Value::Null);
                    }
                    let length = items.len();
                    items.get_mut(*index).ok_or_else(|| PathError(format!("{self}: the list has {length} items")))?
                }
            };
        }
        *at = value;
        Ok(())
    }

    /// Takes out what is at this place, if there is something.
    pub fn remove(&self, from: &mut Value) {
        let Some((last, way)) = self.0.split_last() else { return };
        let parent = way.iter().try_fold(from, |at, step| match step {
            Step::Member(name) => at.get_mut(name),
            Step::Index(index) => at.get_mut(index),
        });
        match (parent, last) {
            (Some(Value::Object(members)), Step::Member(name)) => {
                members.shift_remove(name);
            }
            (Some(Value::Array(items)), Step::Index(index)) if *index < items.len() => {
                items.remove(*index);
            }
            _ => {}
        }
    }

    fn wrong(&self, wanted: &str, step: &str) -> PathError {
        PathError(format!("{self}: what holds {step} is not {wanted}"))
    }
}

fn next_step(rest: &str, first: bool) -> Option<(Step, &str)> {
    if let Some(inner) = rest.strip_prefix("['") {
        let end = inner.find("']")?;
        return Some((Step::Member(inner[..end].to_owned()), &inner[end + 2..]));
    }
    if let Some(inner) = rest.strip_prefix('[') {
        let end = inner.find(']')?;
        let index = inner[..end].parse().ok().filter(|&index| index <= MAX_INDEX)?;
        return Some((Step::Index(index), &inner[end + 1..]));
    }
    let word = if first { rest } else { rest.strip_prefix('.')? };
    let end = word.find(['.', '[']).unwrap_or(word.len());
    let name = &word[..end];
    let allowed = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    (!name.is_empty() && name.chars().all(allowed)).then(|| (Step::Member(name.to_owned()), &word[end..]))
}

impl fmt::Display for Path {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(out, "[{index}]")?,
                Step::Member(name) if name.contains(['.', '[']) => write!(out, "['{name}']")?,
                Step::Member(name) if position == 0 => out.write_str(name)?,
                Step::Member(name) => write!(out, ".{name}")?,
            }
        }
        Ok(())
    }
}
