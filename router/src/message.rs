//! What travels through a graph: bodies that are parsed at most once, answers, and failures that say why.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use serde_json::Value;

use crate::grpc::convert;
use crate::room::{NoRoom, Room};
use crate::telemetry::Opened;
use crate::trail::StepId;

/// For longer nobody is left alone, whatever he asks for.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// A body in memory: JSON, or a message of gRPC that becomes JSON when it is read. Clones share the bytes and what was
/// parsed of them.
#[derive(Debug, Clone, Default)]
pub struct Body {
    bytes: Bytes,
    form: Form,
    read: Arc<Read>,
}

/// What the bytes of a body are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Form {
    #[default]
    Json,
    /// A `ModelInferRequest`.
    Question,
    /// A `ModelInferResponse`.
    Answer,
}

/// What was made of a body's bytes so far, with the memory that it takes.
#[derive(Debug, Default)]
struct Read {
    parsed: OnceLock<Result<(Value, Room), Unread>>,
    /// The JSON of a message.
    written: OnceLock<Result<(Bytes, Room), Unread>>,
}

/// Why a body is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    #[error("{words}")]
    Wrong { words: String },
    #[error("{words}")]
    NoRoom { words: String, why: NoRoom },
}

impl From<String> for Unread {
    fn from(words: String) -> Self {
        Self::Wrong { words }
    }
}

impl From<NoRoom> for Unread {
    fn from(why: NoRoom) -> Self {
        Self::NoRoom { words: why.to_string(), why }
    }
}

impl Unread {
    fn words(&self) -> &str {
        match self {
            Self::Wrong { words } | Self::NoRoom { words, .. } => words,
        }
    }
}

impl Body {
    /// A body of bytes that nobody has looked at.
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes, ..Self::default() }
    }

    /// A body of a JSON value.
    pub fn of(value: Value) -> Self {
        let bytes = Bytes::from(value.to_string());
        // Where there is no memory to keep the value, it is read again by who needs it.
        let parsed = Room::take(cost_of(&bytes)).map(|room| OnceLock::from(Ok((value, room)))).unwrap_or_default();
        Self { bytes, form: Form::Json, read: Arc::new(Read { parsed, written: OnceLock::new() }) }
    }

    /// A body of a `ModelInferRequest`.
    pub fn question(message: Bytes) -> Self {
        Self { bytes: message, form: Form::Question, read: Arc::default() }
    }

    /// A body of a `ModelInferResponse`.
    pub fn answer(message: Bytes) -> Self {
        Self { bytes: message, form: Form::Answer, read: Arc::default() }
    }

    /// Whether it is the same body, and not one that looks like it.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.read, &other.read)
    }

    /// The bytes as they came, whatever they are.
    pub fn received(&self) -> &Bytes {
        &self.bytes
    }

    /// The bytes of the JSON.
    ///
    /// # Errors
    /// It is a message that has no form in JSON.
    pub fn bytes(&self) -> Result<&Bytes, &str> {
        if self.form == Form::Json {
            return Ok(&self.bytes);
        }
        let write = || match self.form {
            Form::Json | Form::Question => convert::question_text(&self.bytes),
            Form::Answer => convert::answer_text(&self.bytes),
        };
        self.read.written.get_or_init(write).as_ref().map(|(text, _)| text).map_err(Unread::words)
    }

    /// The JSON value, parsed at the first call.
    ///
    /// # Errors
    /// It is not JSON, nests too deeply, or is a message that has no form in JSON; the text says where.
    pub fn json(&self) -> Result<&Value, &str> {
        let parse = || match self.form {
            Form::Json => parse(&self.bytes),
            Form::Question => convert::question_of(&self.bytes),
            Form::Answer => convert::answer_of(&self.bytes),
        };
        self.read.parsed.get_or_init(parse).as_ref().map(|(value, _)| value).map_err(Unread::words)
    }

    /// Why somebody who wanted to read it could not for want of memory, if that was so.
    pub fn no_room(&self) -> Option<NoRoom> {
        let of = |unread: &Unread| match unread {
            Unread::NoRoom { why, .. } => Some(*why),
            Unread::Wrong { .. } => None,
        };
        let parsed = self.read.parsed.get().and_then(|parsed| parsed.as_ref().err().and_then(of));
        parsed.or_else(|| self.read.written.get().and_then(|written| written.as_ref().err().and_then(of)))
    }

    /// Whether a value was made of it.
    #[cfg(test)]
    pub fn is_read(&self) -> bool {
        self.read.parsed.get().is_some()
    }

    /// A copy of the bytes alone, to be kept for long: nothing that was made of them, and no larger buffer that they are in.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self { bytes: Bytes::copy_from_slice(&self.bytes), form: self.form, read: Arc::default() }
    }

    /// The same bytes as if nobody had looked at them.
    #[must_use]
    pub fn afresh(&self) -> Self {
        Self { bytes: self.bytes.clone(), form: self.form, read: Arc::default() }
    }

    /// The question to a model as a message; of one that came as such only the address is changed.
    ///
    /// # Errors
    /// It is no question of the Open Inference Protocol.
    pub fn to_question(&self, model: &str) -> Result<Bytes, String> {
        match self.form {
            Form::Question => Ok(convert::readdress(&self.bytes, model)),
            Form::Json | Form::Answer => convert::question(self.json()?, model),
        }
    }

    /// The answer as a message; one that came as such is given as it came.
    ///
    /// # Errors
    /// It is no answer of the Open Inference Protocol.
    pub fn to_answer(&self, model: &str, raw: bool) -> Result<Bytes, String> {
        match self.form {
            Form::Answer => Ok(self.bytes.clone()),
            Form::Json | Form::Question => convert::answer(self.json()?, model, raw),
        }
    }
}

fn parse(bytes: &Bytes) -> Result<(Value, Room), Unread> {
    let room = Room::take(cost_of(bytes))?;
    Ok((serde_json::from_slice(bytes).map_err(|error| error.to_string())?, room))
}

/// About how much memory the value of a JSON text takes, from above: what is in lists and objects stands before or after
/// a comma, and lists grow by doubling.
fn cost_of(text: &[u8]) -> usize {
    const OBJECT: usize = 400;
    let (mut values, mut objects) = (1_usize, 0_usize);
    for &byte in text {
        values += usize::from(matches!(byte, b',' | b'['));
        objects += usize::from(byte == b'{');
    }
    text.len() + values * size_of::<Value>() * 3 / 2 + objects * OBJECT
}

/// What a node is asked.
#[derive(Debug, Clone)]
pub struct Question {
    pub body: Body,
    /// Whether the client wants the answer as a stream of events.
    pub stream: bool,
    /// The span of whoever asks, if requests are traced.
    pub span: Option<Opened>,
    /// The step of whoever asks, if the steps of this request are noted.
    pub step: Option<StepId>,
}

/// What becomes of an answer on its way, from the least to the most that has to be made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Usage {
    /// It goes to the client as it comes.
    Passed,
    /// It is held as a whole, and nobody looks into it.
    Held,
    /// It is read as JSON.
    Read,
}

impl Usage {
    /// At least this, and read if something reads it.
    #[must_use]
    pub fn read_if(self, read: bool) -> Self {
        if read { Self::Read } else { self }
    }

    /// At least this, and held as a whole.
    #[must_use]
    pub fn held(self) -> Self {
        self.max(Self::Held)
    }
}

/// What a node answers, whatever its status.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: AnswerBody,
}

/// The body of an answer.
#[derive(Debug)]
pub enum AnswerBody {
    Full(Body),
    /// Goes to the client as it comes; nobody has read it.
    Stream(Stream),
}

impl Answer {
    /// An answer of a JSON value.
    pub fn json(status: StatusCode, value: Value) -> Self {
        Self::full(status, Body::of(value))
    }

    /// An answer of a body that is JSON.
    pub fn full(status: StatusCode, body: Body) -> Self {
        let headers =
            HeaderMap::from_iter([(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"))]);
        Self { status, headers, body: AnswerBody::Full(body) }
    }

    /// Whether the status is one of success.
    pub fn is_success(&self) -> bool {
        self.status.is_success()
    }

    /// The body, if it is in memory.
    pub fn kept(&self) -> Option<&Body> {
        match &self.body {
            AnswerBody::Full(body) => Some(body),
            AnswerBody::Stream(_) => None,
        }
    }

    /// A copy, if the body is in memory.
    pub fn copy(&self) -> Option<Self> {
        let body = AnswerBody::Full(self.kept()?.clone());
        Some(Self { status: self.status, headers: self.headers.clone(), body })
    }

    /// How long the target asks to be left alone, as far as that is believed.
    pub fn retry_after(&self) -> Option<Duration> {
        let text = self.headers.get(http::header::RETRY_AFTER)?.to_str().ok()?;
        Some(pause_of(text.trim(), SystemTime::now)?.min(LONGEST_PAUSE))
    }
}

/// The pause that a `Retry-After` asks for, by a number of seconds or by a date; none if the date is over.
fn pause_of(text: &str, now: impl FnOnce() -> SystemTime) -> Option<Duration> {
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    Some(until.duration_since(now()).unwrap_or_default())
}

/// A body that is sent, as a whole or as it comes, with what has to be kept until its end.
pub struct Stream {
    inner: Inner,
    held: Option<Box<dyn Send>>,
}

enum Inner {
    Whole(Full<Bytes>),
    Coming(Pin<Box<dyn HttpBody<Data = Bytes, Error = StreamError> + Send>>),
    Broken(Option<StreamError>),
}

/// A body, as far as it was worth waiting for.
#[derive(Debug)]
pub enum Taken {
    /// All of it.
    Whole(Bytes),
    /// It goes on, and is passed on as it comes.
    Coming(Stream),
}

/// Reads a body to its end, or until there is more of it than some bytes.
///
/// # Errors
/// It broke before.
pub async fn take<B>(mut body: B, most: usize) -> Result<Taken, B::Error>
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<StreamError>,
{
    let mut read = Bytes::new();
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame?.into_data() else { continue };
        read = if read.is_empty() { piece } else { joined(read, &piece) };
        if read.len() > most {
            return Ok(Taken::Coming(Stream::after(Frame::data(read), body)));
        }
    }
    Ok(Taken::Whole(read))
}

/// What was read and the next piece of it; the buffer grows by doubling, so many small pieces take no more than one large.
fn joined(read: Bytes, piece: &[u8]) -> Bytes {
    let mut buffer = BytesMut::from(read);
    buffer.extend_from_slice(piece);
    buffer.freeze()
}

/// Why a stream broke.
pub type StreamError = Box<dyn std::error::Error + Send + Sync>;

impl Stream {
    /// Makes a stream of any body.
    pub fn new<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<StreamError>,
    {
        Self { inner: Inner::Coming(Box::pin(body.map_err(Into::into))), held: None }
    }

    /// A stream of bytes that are there.
    pub fn whole(bytes: Bytes) -> Self {
        Self { inner: Inner::Whole(Full::new(bytes)), held: None }
    }

    /// A stream of a frame that has come already and all that follows it.
    pub fn after<B>(first: Frame<Bytes>, rest: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<StreamError>,
    {
        Self::new(After { first: Some(first), rest: Self::new(rest) })
    }

    /// The stream until a point in time, at which it breaks.
    #[must_use]
    pub fn until(self, deadline: tokio::time::Instant) -> Self {
        Self::new(Until { inner: self, end: Box::pin(tokio::time::sleep_until(deadline)) })
    }

    /// Keeps something until the stream ends or is dropped, such as a place in a limit.
    #[must_use]
    pub fn holding<T: Send + 'static>(mut self, held: T) -> Self {
        self.held = Some(match self.held.take() {
            None => Box::new(held),
            Some(before) => Box::new((before, held)),
        });
        self
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Stream")
    }
}

impl Default for Stream {
    /// A stream of nothing.
    fn default() -> Self {
        Self::whole(Bytes::new())
    }
}

impl HttpBody for Stream {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        match &mut self.inner {
            Inner::Whole(whole) => Pin::new(whole).poll_frame(context).map_err(|never| match never {}),
            Inner::Coming(coming) => {
                let polled = coming.as_mut().poll_frame(context);
                let Poll::Ready(Some(Err(error))) = polled else { return polled };
                // Whoever sends this throws away what it has not sent yet: it has to get to that before it hears of the end.
                self.inner = Inner::Broken(Some(error));
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Inner::Broken(error) => Poll::Ready(error.take().map(Err)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Whole(whole) => whole.is_end_stream(),
            Inner::Coming(coming) => coming.is_end_stream(),
            Inner::Broken(error) => error.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Whole(whole) => whole.size_hint(),
            Inner::Coming(coming) => coming.size_hint(),
            Inner::Broken(_) => SizeHint::default(),
        }
    }
}

struct After {
    first: Option<Frame<Bytes>>,
    rest: Stream,
}

impl HttpBody for After {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(Ok(first))),
            None => Pin::new(&mut self.rest).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_end_stream()
    }
}

struct Until {
    inner: Stream,
    end: Pin<Box<tokio::time::Sleep>>,
}

impl HttpBody for Until {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        if self.end.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err("the deadline of the graph is over".into())));
        }
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
}

/// Why a node has no answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    pub kind: FailureKind,
    /// The node where it began.
    pub node: Arc<str>,
    pub message: String,
    pub retry_after: Option<Duration>,
}

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// No connection to the target.
    Connect,
    /// The connection broke before the answer was there.
    Reset,
    /// The node's own limit.
    Timeout,
    /// The graph's, or the client's.
    Deadline,
    /// The circuit breaker lets nothing through.
    Open,
    /// No place, and none in the queue.
    Overloaded,
    /// The target answered, but not with what can be worked with.
    BadAnswer,
    /// The client asked for what makes no sense here.
    BadRequest,
    /// An expression or mapping has no value.
    Mapping,
    /// An answer is larger than what may be kept.
    TooLarge,
    /// Fewer nodes answered than the quorum asks for.
    NoQuorum,
    /// A vote without a winner.
    Tie,
    /// No case of a switch holds.
    NoCase,
    /// No node of a fallback gave an answer that was accepted.
    NotAccepted,
    /// Graphs call one another in a circle.
    Loop,
}

impl FailureKind {
    /// The status that the client gets.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Connect | Self::Reset | Self::BadAnswer | Self::TooLarge | Self::NoQuorum | Self::NotAccepted => {
                StatusCode::BAD_GATEWAY
            }
            Self::Timeout | Self::Deadline => StatusCode::GATEWAY_TIMEOUT,
            Self::Open => StatusCode::SERVICE_UNAVAILABLE,
            Self::Overloaded => StatusCode::TOO_MANY_REQUESTS,
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Mapping | Self::Tie => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NoCase => StatusCode::NOT_FOUND,
            Self::Loop => StatusCode::LOOP_DETECTED,
        }
    }

    /// A word for metrics and error bodies.
    pub fn word(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Deadline => "deadline",
            Self::Open => "circuit_open",
            Self::Overloaded => "overloaded",
            Self::BadAnswer => "bad_answer",
            Self::BadRequest => "bad_request",
            Self::Mapping => "mapping",
            Self::TooLarge => "too_large",
            Self::NoQuorum => "no_quorum",
            Self::Tie => "tie",
            Self::NoCase => "no_case",
            Self::NotAccepted => "not_accepted",
            Self::Loop => "loop",
        }
    }
}

impl Failure {
    /// A failure of a node.
    pub fn new(kind: FailureKind, node: &Arc<str>, message: impl Into<String>) -> Self {
        Self { kind, node: Arc::clone(node), message: message.into(), retry_after: None }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}: {}", self.node, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use http::header::RETRY_AFTER;

    #[test]
    fn what_is_too_large_to_be_a_value_says_so_and_passes_all_the_same() {
        let text = Bytes::from(format!("[{}1]", "1,".repeat(2 << 20)));
        let body = Body::new(text.clone());
        assert!(body.json().is_err_and(|words| words.starts_with("it is too large to be read")));
        assert!(matches!(body.no_room(), Some(NoRoom::TooLarge { .. })));
        assert_eq!(body.bytes(), Ok(&text));
        let small = Body::new(Bytes::from_static(b"[1,"));
        assert!(small.json().is_err());
        assert_eq!(small.no_room(), None);
    }

    /// Pieces, and whether the body breaks after them.
    fn body(pieces: &'static [&'static str], breaks: bool) -> impl HttpBody<Data = Bytes, Error = StreamError> + Unpin {
        let frames = pieces.iter().map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes()))));
        let end = breaks.then(|| Err("it broke".into()));
        http_body_util::StreamBody::new(futures_util::stream::iter(frames.chain(end)))
    }

    #[tokio::test]
    async fn a_body_is_taken_as_a_whole_if_it_is_small_and_else_as_it_comes() {
        let cases: [(&[&str], _, _); 6] = [
            (&[], 5, true),
            (&["abcde"], 5, true),
            (&["", "ab", "", "cd", "e"], 5, true),
            (&["ab", "cde", "f", "gh"], 5, false),
            (&["abcdef"], 5, false),
            (&["a", "b"], 0, false),
        ];
        for (pieces, most, whole) in cases {
            let (bytes, was_whole) = match take(body(pieces, false), most).await.expect("taken") {
                Taken::Whole(bytes) => (bytes, true),
                Taken::Coming(stream) => (stream.collect().await.expect("all of it").to_bytes(), false),
            };
            assert_eq!((bytes.as_ref(), was_whole), (pieces.concat().as_bytes(), whole), "{pieces:?}");
        }
        assert!(take(body(&["a"], true), 1).await.is_err(), "what breaks before can be asked again");
        let Ok(Taken::Coming(stream)) = take(body(&["a", "b"], true), 1).await else { panic!("it was small") };
        assert!(stream.collect().await.is_err());
    }

    #[test]
    fn a_copy_apart_has_the_bytes_only() {
        let body = Body::of(serde_json::json!({"x": 1}));
        for copy in [body.apart(), body.afresh()] {
            assert_eq!((copy.received(), copy.is_read()), (body.received(), false));
            assert_eq!(copy.json(), body.json());
        }
    }

    #[test]
    fn a_pause_is_never_longer_than_an_hour() {
        for (asked, pause) in [
            ("7", Some(Duration::from_secs(7))),
            ("9223372036854775807", Some(LONGEST_PAUSE)),
            ("18446744073709551616", None),
            ("Wed, 21 Oct 1998 07:28:00 GMT", Some(Duration::ZERO)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(LONGEST_PAUSE)),
            ("soon", None),
        ] {
            let mut answer = Answer::json(StatusCode::SERVICE_UNAVAILABLE, Value::Null);
            answer.headers.insert(RETRY_AFTER, HeaderValue::from_static(asked));
            assert_eq!(answer.retry_after(), pause, "{asked}");
        }
    }

    #[test]
    fn a_pause_may_end_at_a_date() {
        let now = || httpdate::parse_http_date("Wed, 21 Oct 2026 07:28:00 GMT").expect("a date");
        for (asked, seconds) in [
            ("Wed, 21 Oct 2026 07:28:09 GMT", Some(9)),
            ("Wednesday, 21-Oct-26 07:29:00 GMT", Some(60)),
            ("Wed Oct 21 08:28:00 2026", Some(3600)),
            ("Wed, 21 Oct 2026 07:27:59 GMT", Some(0)),
            ("Wed, 21 Oct 2026 07:28:09", None),
            ("-1", None),
        ] {
            assert_eq!(pause_of(asked, now), seconds.map(Duration::from_secs), "{asked}");
        }
    }
}
