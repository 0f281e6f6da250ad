//! The values of a tensor: as the typed lists of a message, as raw bytes, and as a list in JSON.
//!
//! Nothing is lost between them: whole numbers keep all digits, and what JSON cannot say (NaN, infinities, BYTES that are
//! no UTF-8) is an error with words. FP16 and BF16, which have no typed list, are numbers in JSON.

use bytes::{BufMut, Bytes};
use half::{bf16, f16};
use serde::ser::{Error, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::proto::InferTensorContents;
use crate::words::{cut, quoted};

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
        found.ok_or_else(|| format!("the datatype {} is none of the protocol", quoted(name)))
    }

    /// Bytes of a raw value, if all have as many.
    fn width(self) -> Option<usize> {
        match self {
            Self::Bool | Self::Int8 | Self::Uint8 => Some(1),
            Self::Int16 | Self::Uint16 | Self::Fp16 | Self::Bf16 => Some(2),
            Self::Int32 | Self::Uint32 | Self::Fp32 => Some(4),
            Self::Int64 | Self::Uint64 | Self::Fp64 => Some(8),
            Self::Bytes => None,
        }
    }

    /// Whether there is no typed list for it.
    pub fn only_raw(self) -> bool {
        matches!(self, Self::Fp16 | Self::Bf16)
    }

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, known)| *known == self).map_or("", |(name, _)| name)
    }
}

/// The values of a tensor in a message, which are written as a list of JSON.
#[derive(Debug, Clone, Copy)]
pub struct Data<'a> {
    datatype: Datatype,
    source: Source<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Source<'a> {
    /// One after the other, lowest byte first; each of BYTES after its length in four bytes.
    Raw(&'a [u8]),
    Typed(&'a InferTensorContents),
    Nothing,
}

impl<'a> Data<'a> {
    /// The values of a tensor.
    ///
    /// # Errors
    /// It has both raw and typed contents.
    pub fn of(
        datatype: Datatype,
        raw: Option<&'a [u8]>,
        typed: Option<&'a InferTensorContents>,
    ) -> Result<Self, String> {
        let source = match (raw, typed) {
            (Some(_), Some(_)) => return Err("it has both raw and typed contents".to_owned()),
            (Some(raw), None) => Source::Raw(raw),
            (None, Some(typed)) => Source::Typed(typed),
            (None, None) => Source::Nothing,
        };
        Ok(Self { datatype, source })
    }

    /// How many there are.
    ///
    /// # Errors
    /// They are no whole number of values.
    pub fn count(&self) -> Result<usize, String> {
        match self.source {
            Source::Nothing => Ok(0),
            Source::Typed(typed) => Ok(self.count_typed(typed)),
            Source::Raw(raw) => match self.datatype.width() {
                Some(width) if raw.len() % width == 0 => Ok(raw.len() / width),
                Some(width) => Err(format!("its {} raw bytes are no whole number of values of {width}", raw.len())),
                None => Texts::count(raw),
            },
        }
    }

    fn count_typed(&self, typed: &InferTensorContents) -> usize {
        match self.datatype {
            Datatype::Bool => typed.bool_contents.len(),
            Datatype::Int8 | Datatype::Int16 | Datatype::Int32 => typed.int_contents.len(),
            Datatype::Int64 => typed.int64_contents.len(),
            Datatype::Uint8 | Datatype::Uint16 | Datatype::Uint32 => typed.uint_contents.len(),
            Datatype::Uint64 => typed.uint64_contents.len(),
            Datatype::Fp16 | Datatype::Bf16 => 0,
            Datatype::Fp32 => typed.fp32_contents.len(),
            Datatype::Fp64 => typed.fp64_contents.len(),
            Datatype::Bytes => typed.bytes_contents.len(),
        }
    }
}

impl Serialize for Data<'_> {
    /// Fails for a value that JSON cannot say, and says which.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.source {
            Source::Nothing => to.collect_seq([(); 0]),
            Source::Typed(typed) => write_typed(self.datatype, typed, to),
            Source::Raw(raw) => write_raw(self.datatype, raw, to),
        }
    }
}

fn write_typed<S: Serializer>(datatype: Datatype, typed: &InferTensorContents, to: S) -> Result<S::Ok, S::Error> {
    match datatype {
        Datatype::Bool => to.collect_seq(&typed.bool_contents),
        Datatype::Int8 | Datatype::Int16 | Datatype::Int32 => to.collect_seq(&typed.int_contents),
        Datatype::Int64 => to.collect_seq(&typed.int64_contents),
        Datatype::Uint8 | Datatype::Uint16 | Datatype::Uint32 => to.collect_seq(&typed.uint_contents),
        Datatype::Uint64 => to.collect_seq(&typed.uint64_contents),
        Datatype::Fp16 | Datatype::Bf16 => to.collect_seq([(); 0]),
        Datatype::Fp32 => floats(to, typed.fp32_contents.iter().copied().map(f64::from)),
        Datatype::Fp64 => floats(to, typed.fp64_contents.iter().copied()),
        Datatype::Bytes => texts(to, typed.bytes_contents.iter().map(Bytes::as_ref)),
    }
}

fn write_raw<S: Serializer>(datatype: Datatype, raw: &[u8], to: S) -> Result<S::Ok, S::Error> {
    match datatype {
        Datatype::Bool => to.collect_seq(raw.iter().map(|&byte| byte != 0)),
        Datatype::Int8 => to.collect_seq(chunks(raw, i8::from_le_bytes)),
        Datatype::Int16 => to.collect_seq(chunks(raw, i16::from_le_bytes)),
        Datatype::Int32 => to.collect_seq(chunks(raw, i32::from_le_bytes)),
        Datatype::Int64 => to.collect_seq(chunks(raw, i64::from_le_bytes)),
        Datatype::Uint8 => to.collect_seq(raw),
        Datatype::Uint16 => to.collect_seq(chunks(raw, u16::from_le_bytes)),
        Datatype::Uint32 => to.collect_seq(chunks(raw, u32::from_le_bytes)),
        Datatype::Uint64 => to.collect_seq(chunks(raw, u64::from_le_bytes)),
        Datatype::Fp16 => floats(to, chunks(raw, |chunk| f16::from_le_bytes(chunk).to_f64())),
        Datatype::Bf16 => floats(to, chunks(raw, |chunk| bf16::from_le_bytes(chunk).to_f64())),
        Datatype::Fp32 => floats(to, chunks(raw, |chunk| f64::from(f32::from_le_bytes(chunk)))),
        Datatype::Fp64 => floats(to, chunks(raw, f64::from_le_bytes)),
        Datatype::Bytes => texts(to, Texts(raw)),
    }
}

/// Values of one width; bytes that are no whole one are left out, and have been counted before.
fn chunks<const N: usize, T>(raw: &[u8], read: impl Fn([u8; N]) -> T) -> impl ExactSizeIterator<Item = T> {
    raw.as_chunks::<N>().0.iter().map(move |chunk| read(*chunk))
}

fn floats<S: Serializer>(to: S, items: impl ExactSizeIterator<Item = f64>) -> Result<S::Ok, S::Error> {
    let mut list = to.serialize_seq(Some(items.len()))?;
    for (at, item) in items.enumerate() {
        if !item.is_finite() {
            return Err(S::Error::custom(format!("value {at} is {item}, which JSON cannot say")));
        }
        list.serialize_element(&item)?;
    }
    list.end()
}

fn texts<'a, S: Serializer>(to: S, items: impl Iterator<Item = &'a [u8]>) -> Result<S::Ok, S::Error> {
    let mut list = to.serialize_seq(None)?;
    for (at, item) in items.enumerate() {
        let text = str::from_utf8(item)
            .map_err(|_| S::Error::custom(format!("value {at} is no UTF-8, which JSON cannot say")))?;
        list.serialize_element(text)?;
    }
    list.end()
}

/// Raw BYTES, one after the other; ends where they break off.
struct Texts<'a>(&'a [u8]);

impl Texts<'_> {
    fn count(raw: &[u8]) -> Result<usize, String> {
        let mut texts = Texts(raw);
        let count = texts.by_ref().count();
        if texts.0.is_empty() { Ok(count) } else { Err(format!("its raw bytes end within value {count}")) }
    }
}

impl<'a> Iterator for Texts<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        let (text, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        self.0 = rest;
        Some(text)
    }
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
        let shown = match value {
            Value::String(text) => quoted(text),
            other => cut(other.to_string()),
        };
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
