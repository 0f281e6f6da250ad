//! The values of a tensor: as the typed lists of a message, as raw bytes, and as a list in JSON.
//!
//! Nothing is lost between them: whole numbers keep all digits, and what JSON cannot say (NaN, infinities, BYTES that are
//! no UTF-8) is an error with words. FP16 and BF16, which have no typed list, are numbers in JSON.

use bytes::{BufMut, Bytes};
use half::{bf16, f16};
use serde_json::{Number, Value};

use super::proto::InferTensorContents;

/// Characters of a value in an error.
const SHOWN: usize = 40;

/// The type of a tensor's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Datatype {
    Bool,
    Int8,
    Int16,
    Int32,
    Int64,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Fp16,
    Bf16,
    Fp32,
    Fp64,
    Bytes,
}

impl Datatype {
    /// All of them, by their names in the protocol.
    pub const ALL: [(&'static str, Self); 14] = [
        ("BOOL", Self::Bool),
        ("INT8", Self::Int8),
        ("INT16", Self::Int16),
        ("INT32", Self::Int32),
        ("INT64", Self::Int64),
        ("UINT8", Self::Uint8),
        ("UINT16", Self::Uint16),
        ("UINT32", Self::Uint32),
        ("UINT64", Self::Uint64),
        ("FP16", Self::Fp16),
        ("BF16", Self::Bf16),
        ("FP32", Self::Fp32),
        ("FP64", Self::Fp64),
        ("BYTES", Self::Bytes),
    ];

    /// Reads the name of one.
    ///
    /// # Errors
    /// The protocol has no such type.
    pub fn of(name: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, datatype)| *datatype);
        found.ok_or_else(|| format!("the datatype {name:?} is none of the protocol"))
    }

    /// Whether there is no typed list for it.
    pub fn only_raw(self) -> bool {
        matches!(self, Self::Fp16 | Self::Bf16)
    }

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, known)| *known == self).map_or("", |(name, _)| name)
    }
}

/// Reads typed lists.
///
/// # Errors
/// A value is none of JSON.
pub fn from_typed(datatype: Datatype, contents: InferTensorContents) -> Result<Vec<Value>, String> {
    match datatype {
        Datatype::Bool => Ok(values(contents.bool_contents)),
        Datatype::Int8 | Datatype::Int16 | Datatype::Int32 => Ok(values(contents.int_contents)),
        Datatype::Int64 => Ok(values(contents.int64_contents)),
        Datatype::Uint8 | Datatype::Uint16 | Datatype::Uint32 => Ok(values(contents.uint_contents)),
        Datatype::Uint64 => Ok(values(contents.uint64_contents)),
        Datatype::Fp16 | Datatype::Bf16 => Ok(Vec::new()),
        Datatype::Fp32 => floats(contents.fp32_contents.into_iter().map(f64::from)),
        Datatype::Fp64 => floats(contents.fp64_contents),
        Datatype::Bytes => contents.bytes_contents.iter().enumerate().map(|(at, bytes)| text(at, bytes)).collect(),
    }
}

fn values<T: Into<Value>>(items: Vec<T>) -> Vec<Value> {
    items.into_iter().map(Into::into).collect()
}

fn floats(items: impl IntoIterator<Item = f64>) -> Result<Vec<Value>, String> {
    let value = |(at, item)| {
        Number::from_f64(item).map(Value::Number).ok_or_else(|| format!("value {at} is {item}, which JSON cannot say"))
    };
    items.into_iter().enumerate().map(value).collect()
}

fn text(at: usize, bytes: &[u8]) -> Result<Value, String> {
    let text = str::from_utf8(bytes).map_err(|_| format!("value {at} is no UTF-8, which JSON cannot say"))?;
    Ok(Value::from(text))
}

/// Reads raw bytes: values one after the other, lowest byte first; each of BYTES after its length in four bytes.
///
/// # Errors
/// They are no whole number of values, or one is none of JSON.
pub fn from_raw(datatype: Datatype, raw: &[u8]) -> Result<Vec<Value>, String> {
    match datatype {
        Datatype::Bool => Ok(raw.iter().map(|&byte| Value::from(byte != 0)).collect()),
        Datatype::Int8 => chunks(raw, |chunk| Value::from(i8::from_le_bytes(chunk))),
        Datatype::Int16 => chunks(raw, |chunk| Value::from(i16::from_le_bytes(chunk))),
        Datatype::Int32 => chunks(raw, |chunk| Value::from(i32::from_le_bytes(chunk))),
        Datatype::Int64 => chunks(raw, |chunk| Value::from(i64::from_le_bytes(chunk))),
        Datatype::Uint8 => chunks(raw, |chunk| Value::from(u8::from_le_bytes(chunk))),
        Datatype::Uint16 => chunks(raw, |chunk| Value::from(u16::from_le_bytes(chunk))),
        Datatype::Uint32 => chunks(raw, |chunk| Value::from(u32::from_le_bytes(chunk))),
        Datatype::Uint64 => chunks(raw, |chunk| Value::from(u64::from_le_bytes(chunk))),
        Datatype::Fp16 => floats(chunks(raw, |chunk| f16::from_le_bytes(chunk).to_f64())?),
        Datatype::Bf16 => floats(chunks(raw, |chunk| bf16::from_le_bytes(chunk).to_f64())?),
        Datatype::Fp32 => floats(chunks(raw, |chunk| f64::from(f32::from_le_bytes(chunk)))?),
        Datatype::Fp64 => floats(chunks(raw, f64::from_le_bytes)?),
        Datatype::Bytes => texts(raw),
    }
}

fn chunks<const N: usize, T>(raw: &[u8], read: impl Fn([u8; N]) -> T) -> Result<Vec<T>, String> {
    let (chunks, rest) = raw.as_chunks::<N>();
    if rest.is_empty() {
        return Ok(chunks.iter().map(|chunk| read(*chunk)).collect());
    }
    Err(format!("its {} raw bytes are no whole number of values of {N}", raw.len()))
}

fn texts(mut raw: &[u8]) -> Result<Vec<Value>, String> {
    let mut found = Vec::new();
    while !raw.is_empty() {
        let cut = || format!("its raw bytes end within value {}", found.len());
        let (length, rest) = raw.split_first_chunk::<4>().ok_or_else(cut)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let (bytes, rest) = rest.split_at_checked(length).ok_or_else(cut)?;
        found.push(text(found.len(), bytes)?);
        raw = rest;
    }
    Ok(found)
}

/// Writes typed lists; none for a type that has no such list.
///
/// # Errors
/// A value is none of the type.
pub fn typed(datatype: Datatype, data: &[Value]) -> Result<InferTensorContents, String> {
    let mut made = InferTensorContents::default();
    let of = Of { datatype, data };
    match datatype {
        Datatype::Bool => made.bool_contents = of.all(Value::as_bool)?,
        Datatype::Int8 => made.int_contents = of.all(|value| whole::<i8>(value).map(i32::from))?,
        Datatype::Int16 => made.int_contents = of.all(|value| whole::<i16>(value).map(i32::from))?,
        Datatype::Int32 => made.int_contents = of.all(whole)?,
        Datatype::Int64 => made.int64_contents = of.all(whole)?,
        Datatype::Uint8 => made.uint_contents = of.all(|value| whole::<u8>(value).map(u32::from))?,
        Datatype::Uint16 => made.uint_contents = of.all(|value| whole::<u16>(value).map(u32::from))?,
        Datatype::Uint32 => made.uint_contents = of.all(whole)?,
        Datatype::Uint64 => made.uint64_contents = of.all(whole)?,
        Datatype::Fp16 | Datatype::Bf16 => {}
        Datatype::Fp32 => made.fp32_contents = of.all(single)?,
        Datatype::Fp64 => made.fp64_contents = of.all(Value::as_f64)?,
        Datatype::Bytes => made.bytes_contents = of.all(|value| Some(Bytes::from(value.as_str()?.to_owned())))?,
    }
    Ok(made)
}

/// Writes raw bytes.
///
/// # Errors
/// A value is none of the type.
pub fn raw(datatype: Datatype, data: &[Value]) -> Result<Bytes, String> {
    let of = Of { datatype, data };
    match datatype {
        Datatype::Bool => of.raw(Value::as_bool, |value| [u8::from(value)]),
        Datatype::Int8 => of.raw(whole, i8::to_le_bytes),
        Datatype::Int16 => of.raw(whole, i16::to_le_bytes),
        Datatype::Int32 => of.raw(whole, i32::to_le_bytes),
        Datatype::Int64 => of.raw(whole, i64::to_le_bytes),
        Datatype::Uint8 => of.raw(whole, u8::to_le_bytes),
        Datatype::Uint16 => of.raw(whole, u16::to_le_bytes),
        Datatype::Uint32 => of.raw(whole, u32::to_le_bytes),
        Datatype::Uint64 => of.raw(whole, u64::to_le_bytes),
        Datatype::Fp16 => {
            of.raw(|value| value.as_f64().map(f16::from_f64).filter(|made| made.is_finite()), f16::to_le_bytes)
        }
        Datatype::Bf16 => {
            of.raw(|value| value.as_f64().map(bf16::from_f64).filter(|made| made.is_finite()), bf16::to_le_bytes)
        }
        Datatype::Fp32 => of.raw(single, f32::to_le_bytes),
        Datatype::Fp64 => of.raw(Value::as_f64, f64::to_le_bytes),
        Datatype::Bytes => of.raw_texts(),
    }
}

/// Values that should be of a type.
struct Of<'a> {
    datatype: Datatype,
    data: &'a [Value],
}

impl Of<'_> {
    fn all<T>(&self, read: impl Fn(&Value) -> Option<T>) -> Result<Vec<T>, String> {
        self.data.iter().enumerate().map(|(at, value)| read(value).ok_or_else(|| self.wrong(at, value))).collect()
    }

    fn raw<const N: usize, T>(
        &self,
        read: impl Fn(&Value) -> Option<T>,
        write: impl Fn(T) -> [u8; N],
    ) -> Result<Bytes, String> {
        let mut made = Vec::with_capacity(self.data.len() * N);
        for (at, value) in self.data.iter().enumerate() {
            made.extend_from_slice(&write(read(value).ok_or_else(|| self.wrong(at, value))?));
        }
        Ok(Bytes::from(made))
    }

    fn raw_texts(&self) -> Result<Bytes, String> {
        let mut made = Vec::new();
        for (at, value) in self.data.iter().enumerate() {
            let text = value.as_str().ok_or_else(|| self.wrong(at, value))?;
            made.put_u32_le(u32::try_from(text.len()).map_err(|_| self.wrong(at, value))?);
            made.extend_from_slice(text.as_bytes());
        }
        Ok(Bytes::from(made))
    }

    fn wrong(&self, at: usize, value: &Value) -> String {
        let mut shown = value.to_string();
        if let Some((end, _)) = shown.char_indices().nth(SHOWN) {
            shown.truncate(end);
            shown.push_str("...");
        }
        format!("value {at} is {shown}, which is no {}", self.datatype.name())
    }
}

/// A whole number; expressions compute in doubles, so 2.0 is one too.
fn whole<T: TryFrom<i128>>(value: &Value) -> Option<T> {
    let exact = value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from));
    #[expect(
        clippy::cast_possible_truncation,
        reason = "it is whole, and what is too large for the type is found below"
    )]
    let rounded = || value.as_f64().filter(|number| number.fract() == 0.0).map(|number| number as i128);
    exact.or_else(rounded).and_then(|number| T::try_from(number).ok())
}

fn single(value: &Value) -> Option<f32> {
    #[expect(clippy::cast_possible_truncation, reason = "a single has fewer digits; what is too large is found below")]
    let made = value.as_f64()? as f32;
    made.is_finite().then_some(made)
}
