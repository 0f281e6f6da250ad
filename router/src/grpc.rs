//! The Open Inference Protocol over gRPC: its messages, their frames, and codes of errors as statuses of HTTP.
//!
//! Inside of a graph a question is JSON, whoever asked it. A message becomes JSON when somebody reads it (`convert`,
//! `json`, `contents`), and goes on as it came if nobody does. `wire` is what is looked at before. `service` is what clients ask.

pub mod contents;
pub mod convert;
pub mod json;
pub mod service;
pub mod wire;

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tonic::{Code, Status};

/// The messages.
#[expect(clippy::pedantic, reason = "it is generated")]
pub mod proto {
    include!(concat!(env!("OUT_DIR"), "/inference.rs"));
}

pub const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");
pub const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// What stands before the name of a method in a path.
pub const SERVICE: &str = "/inference.GRPCInferenceService/";

/// Bytes before a message: whether it is compressed, and its length.
pub const PREFIX: usize = 5;

/// Why bytes are not the one message that they should be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("the message is compressed; send it as it is")]
    Compressed,
    #[error("there is no whole message: it says {said} bytes, and {there} are there")]
    Length { said: usize, there: usize },
}

/// Puts a message into its frame.
pub fn frame(message: &Bytes) -> Bytes {
    let mut framed = BytesMut::with_capacity(PREFIX + message.len());
    framed.put_u8(0);
    // What is larger is refused where it comes in: sizes of bodies are limited far below.
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.extend_from_slice(message);
    framed.freeze()
}

/// Takes the one message of a body out of its frame.
///
/// # Errors
/// It is compressed, or there is not exactly one.
pub fn unframe(body: &Bytes) -> Result<Bytes, FrameError> {
    let Some((prefix, rest)) = body.split_first_chunk::<PREFIX>() else {
        return Err(FrameError::Length { said: 0, there: body.len() });
    };
    let [compressed, length @ ..] = *prefix;
    if compressed != 0 {
        return Err(FrameError::Compressed);
    }
    let said = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if said != rest.len() {
        return Err(FrameError::Length { said, there: rest.len() });
    }
    Ok(body.slice(PREFIX..))
}

/// How long a client is willing to wait, if it says so in the form of gRPC: up to eight digits and a unit.
pub fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let count: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

/// Writes what is left in the form of gRPC.
pub fn timeout_value(left: Duration) -> HeaderValue {
    let millis = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    let text = if millis < 100_000_000 { format!("{millis}m") } else { format!("{}S", left.as_secs().min(99_999_999)) };
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("0m"))
}

/// The code of a status that is no success.
pub fn code_of(status: StatusCode) -> Code {
    match status.as_u16() {
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::NotFound,
        408 | 504 => Code::DeadlineExceeded,
        409 => Code::Aborted,
        413 | 429 => Code::ResourceExhausted,
        499 => Code::Cancelled,
        400..=498 => Code::InvalidArgument,
        501 => Code::Unimplemented,
        502 | 503 => Code::Unavailable,
        _ => Code::Internal,
    }
}

/// The status of a code, as retries, breakers and fallbacks know it. Success has none.
pub fn status_of(code: Code) -> Option<StatusCode> {
    Some(match code {
        Code::Ok => return None,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        // What nginx calls it; there is no other.
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
    })
}

/// Reads how a call ended, if the headers or trailers say so.
pub fn code_and_message(headers: &HeaderMap) -> Option<(Code, String)> {
    // Of the others one is read by `Status` in a way that panics if it is wrong.
    let told = [STATUS, MESSAGE].into_iter().filter_map(|name| Some((name.clone(), headers.get(name)?.clone())));
    let status = Status::from_header_map(&told.collect())?;
    Some((status.code(), status.message().to_owned()))
}

/// The name of a code, such as `not_found`.
pub fn word_of(code: Code) -> &'static str {
    match code {
        Code::Ok => "ok",
        Code::Cancelled => "cancelled",
        Code::Unknown => "unknown",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::PermissionDenied => "permission_denied",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out_of_range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        Code::Unauthenticated => "unauthenticated",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_holds_exactly_one_message() {
        let message = Bytes::from_static(b"abc");
        assert_eq!(frame(&message).as_ref(), b"\0\0\0\0\x03abc");
        assert_eq!(unframe(&frame(&message)), Ok(message));
        assert_eq!(unframe(&frame(&Bytes::new())), Ok(Bytes::new()));
        let cases: [(&'static [u8], FrameError); 5] = [
            (b"", FrameError::Length { said: 0, there: 0 }),
            (b"\0\0\0\0", FrameError::Length { said: 0, there: 4 }),
            (b"\0\0\0\0\x03ab", FrameError::Length { said: 3, there: 2 }),
            (b"\0\0\0\0\x01ab", FrameError::Length { said: 1, there: 2 }),
            (b"\x01\0\0\0\x01a", FrameError::Compressed),
        ];
        for (body, error) in cases {
            assert_eq!(unframe(&Bytes::from_static(body)), Err(error), "{body:?}");
        }
    }

    #[test]
    fn timeouts_are_read_and_written() {
        let of = |text: &'static str| timeout(&HeaderMap::from_iter([(TIMEOUT, HeaderValue::from_static(text))]));
        assert_eq!(of("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(of("250m"), Some(Duration::from_millis(250)));
        assert_eq!(of("99999999n"), Some(Duration::from_nanos(99_999_999)));
        for wrong in ["", "m", "1", "1x", "-1S", "123456789m", "1.5S", "\u{7f}"] {
            assert_eq!(HeaderValue::from_str(wrong).ok().and_then(|_| of(wrong)), None, "{wrong:?}");
        }
        for left in [Duration::ZERO, Duration::from_millis(1500), Duration::from_secs(360_000)] {
            let headers = HeaderMap::from_iter([(TIMEOUT, timeout_value(left))]);
            assert_eq!(timeout(&headers), Some(left));
        }
    }

    #[test]
    fn a_status_has_a_code_and_a_code_a_status() {
        for (status, code) in [
            (400, Code::InvalidArgument),
            (404, Code::NotFound),
            (413, Code::ResourceExhausted),
            (422, Code::InvalidArgument),
            (429, Code::ResourceExhausted),
            (500, Code::Internal),
            (502, Code::Unavailable),
            (503, Code::Unavailable),
            (504, Code::DeadlineExceeded),
            (508, Code::Internal),
        ] {
            assert_eq!(code_of(StatusCode::from_u16(status).expect("a status")), code, "{status}");
        }
        for number in 1..=16 {
            let code = Code::from_i32(number);
            let status = status_of(code).expect("no success");
            let same = matches!(
                code,
                Code::Unknown | Code::DataLoss | Code::FailedPrecondition | Code::OutOfRange | Code::AlreadyExists
            );
            assert_eq!(code_of(status) == code, !same, "{code:?}");
        }
        assert_eq!(status_of(Code::Ok), None);
    }
}
