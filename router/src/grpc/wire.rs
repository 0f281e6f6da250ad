//! Messages as far as they are looked at before they are read: how much is in them, without making anything of it.
//!
//! Two bytes of a message can become hundreds in memory, so what there is too much of is refused here.

use crate::words::quoted;

/// Tensors, requested outputs and parameters of a message at most, each.
pub const MAX_ITEMS: usize = 1024;

/// Why a message is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("it breaks off, or has fields of another kind")]
    Broken,
    #[error("it has {count} {what}, and {most} are the most")]
    TooMany { count: usize, what: &'static str, most: usize },
}

/// Where the fields of a message are, by their numbers.
#[derive(Debug)]
pub struct Layout {
    /// What a message of this kind is called.
    pub name: &'static str,
    /// What its tensors are, for one and for some.
    pub tensor: &'static str,
    pub tensors: &'static str,
    requested: Option<u64>,
    raw: u64,
}

pub const QUESTION: Layout =
    Layout { name: "ModelInferRequest", tensor: "input", tensors: "inputs", requested: Some(6), raw: 7 };
pub const ANSWER: Layout =
    Layout { name: "ModelInferResponse", tensor: "output", tensors: "outputs", requested: None, raw: 6 };

/// What is after the number of a field.
#[derive(Debug, Clone, Copy)]
enum Content<'a> {
    /// One number.
    Number,
    /// Anything that says how long it is.
    Bytes(&'a [u8]),
}

/// Counts of what is in a message.
#[derive(Debug, Default)]
struct Counts {
    tensors: usize,
    raw: usize,
    requested: usize,
    parameters: usize,
    values: usize,
}

/// Checks that a message is one, as far as its outermost fields tell, and has not too many parts.
///
/// # Errors
/// It is none, or has.
pub fn check(message: &[u8], layout: &Layout) -> Result<(), WireError> {
    count(message, layout, false).map(drop)
}

/// As `check`, but looks into all parts; gives the number of values in typed lists.
///
/// # Errors
/// As above, or a shape has too many dimensions.
pub fn values(message: &[u8], layout: &Layout) -> Result<usize, WireError> {
    count(message, layout, true).map(|counts| counts.values)
}

fn count(message: &[u8], layout: &Layout, deep: bool) -> Result<Counts, WireError> {
    let mut counts = Counts::default();
    fields(message, |number, content| match (number, content) {
        // All that are known are texts, lists or messages; a number may be what a later version has.
        (number, Content::Number) if number <= layout.raw => Err(WireError::Broken),
        (4, _) => add(&mut counts.parameters, 1, "parameters", MAX_ITEMS),
        (5, Content::Bytes(tensor)) => {
            add(&mut counts.tensors, 1, layout.tensors, MAX_ITEMS)?;
            if deep { look_into(tensor, &mut counts) } else { Ok(()) }
        }
        (number, _) if number == layout.raw => add(&mut counts.raw, 1, layout.tensors, MAX_ITEMS),
        (number, Content::Bytes(output)) if Some(number) == layout.requested => {
            add(&mut counts.requested, 1, "outputs", MAX_ITEMS)?;
            if deep { parameters_of(output, 2, &mut counts) } else { Ok(()) }
        }
        _ => Ok(()),
    })?;
    Ok(counts)
}

/// Counts what is in a tensor.
fn look_into(tensor: &[u8], counts: &mut Counts) -> Result<(), WireError> {
    const MAX: usize = crate::protocol::tensor::MAX_DIMENSIONS;
    let mut dimensions = 0;
    fields(tensor, |number, content| match (number, content) {
        (3, Content::Number) => add(&mut dimensions, 1, "dimensions", MAX),
        (3, Content::Bytes(packed)) => add(&mut dimensions, numbers(packed), "dimensions", MAX),
        (5, Content::Bytes(contents)) => fields(contents, |number, content| {
            counts.values += match (number, content) {
                (1..=5, Content::Bytes(packed)) => numbers(packed),
                (6, Content::Bytes(packed)) => packed.len() / 4,
                (7, Content::Bytes(packed)) => packed.len() / 8,
                _ => 1,
            };
            Ok(())
        }),
        _ => Ok(()),
    })?;
    parameters_of(tensor, 4, counts)
}

fn parameters_of(message: &[u8], field: u64, counts: &mut Counts) -> Result<(), WireError> {
    fields(
        message,
        |number, _| {
            if number == field { add(&mut counts.parameters, 1, "parameters", MAX_ITEMS) } else { Ok(()) }
        },
    )
}

fn add(count: &mut usize, more: usize, what: &'static str, most: usize) -> Result<(), WireError> {
    *count += more;
    if *count > most { Err(WireError::TooMany { count: *count, what, most }) } else { Ok(()) }
}

/// How many numbers are packed one after the other: each ends with a byte below 128.
fn numbers(packed: &[u8]) -> usize {
    packed.iter().map(|&byte| usize::from(byte < 128)).sum()
}

/// Goes through the fields of a message.
fn fields<'a>(
    mut message: &'a [u8],
    mut take: impl FnMut(u64, Content<'a>) -> Result<(), WireError>,
) -> Result<(), WireError> {
    while !message.is_empty() {
        let key = number(&mut message)?;
        let content = match key & 7 {
            0 => number(&mut message).map(|_| Content::Number)?,
            1 => skip(&mut message, 8).map(|_| Content::Number)?,
            2 => {
                let length = usize::try_from(number(&mut message)?).map_err(|_| WireError::Broken)?;
                Content::Bytes(skip(&mut message, length)?)
            }
            5 => skip(&mut message, 4).map(|_| Content::Number)?,
            _ => return Err(WireError::Broken),
        };
        take(key >> 3, content)?;
    }
    Ok(())
}

/// Reads a number: seven bits a byte, the lowest first, the last byte below 128.
fn number(message: &mut &[u8]) -> Result<u64, WireError> {
    let mut read = 0;
    for shift in (0..64).step_by(7) {
        let byte = skip(message, 1)?[0];
        read |= u64::from(byte & 127) << shift;
        if byte < 128 {
            return Ok(read);
        }
    }
    Err(WireError::Broken)
}

fn skip<'a>(message: &mut &'a [u8], length: usize) -> Result<&'a [u8], WireError> {
    let (skipped, rest) = message.split_at_checked(length).ok_or(WireError::Broken)?;
    *message = rest;
    Ok(skipped)
}

/// The place of a tensor in words.
pub fn place(layout: &Layout, name: &str) -> String {
    format!("{} {}", layout.tensor, quoted(name))
}
