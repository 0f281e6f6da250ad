//! Which headers are passed on: few, by name. What is not listed here or in a plan stays where it came from.

use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, RETRY_AFTER, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName};

/// Milliseconds that are left for an answer, as the router tells its targets and takes from its clients.
pub const TIMEOUT: HeaderName = HeaderName::from_static("x-rondo-timeout-ms");

/// How many graphs a request has passed through, so that circles over Services end.
pub const HOPS: HeaderName = HeaderName::from_static("x-rondo-hops");

/// Asks for, and marks, an answer with every step's time and answer.
pub const DEBUG: HeaderName = HeaderName::from_static("x-rondo-debug");

/// Length of the JSON before tensors in binary (an extension of the Open Inference Protocol).
pub const JSON_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// W3C trace context.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Graphs that a request may pass through.
pub const MAX_HOPS: u32 = 16;

/// Headers of an answer that a client gets, besides those that the graph lists.
pub const ANSWERED: [HeaderName; 4] = [CONTENT_TYPE, CONTENT_ENCODING, CACHE_CONTROL, RETRY_AFTER];

/// Whether a client asks for every step.
pub fn wants_steps(headers: &HeaderMap) -> bool {
    headers.get(DEBUG).is_some_and(|value| value == "1" || value.as_bytes().eq_ignore_ascii_case(b"true"))
}

/// Whether a header speaks of one connection or one message on it (RFC 9110, 7.6.1), or is written by the router itself.
pub fn is_of_connection(name: &HeaderName) -> bool {
    const NAMES: [HeaderName; 11] = [
        CONNECTION,
        CONTENT_LENGTH,
        EXPECT,
        HOST,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
        HOPS,
    ];
    NAMES.contains(name) || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn steps_are_given_only_to_who_wants_them() {
        for (value, wanted) in [
            (None, false),
            (Some("true"), true),
            (Some("True"), true),
            (Some("1"), true),
            (Some("false"), false),
            (Some("0"), false),
            (Some(""), false),
        ] {
            let headers = value.map(|value| (DEBUG, HeaderValue::from_static(value))).into_iter().collect();
            assert_eq!(wants_steps(&headers), wanted, "{value:?}");
        }
    }
}
