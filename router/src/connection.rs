//! A client's connection. It ends when the client does not take an answer in its time or asks nothing for long, when the
//! router leaves, and, if it is one of HTTP/2, when it has grown old: the client opens another, which may lead to a router
//! that came later.
//!
//! The time for an answer cannot be left to its body: nobody asks it for more while the client takes nothing. What else is
//! asked on the connection is answered first.
//!
//! Who keeps a connection of HTTP/1 has to be told that it ends, by the answer before: a request that is sent while it is
//! closed is lost.

use std::convert::Infallible;
use std::io::{Error, IoSlice};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::message::{Stream, StreamError};
use crate::workers::InTurn;

/// For so long a client may take to send the head of a request, from its first byte on.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// For so long a client of HTTP/1 may keep a connection without asking anything: longer than most proxies do, since whoever
/// closes first may do so just when the other one sends.
const IDLE_TIMEOUT: Duration = Duration::from_secs(180);

/// Headers of a request at most, and bytes of its head.
const MAX_HEADERS: usize = 100;
const MAX_HEAD: usize = 64 << 10;

/// Requests of one HTTP/2 connection at once.
const MAX_STREAMS: u32 = 256;

/// A connection of HTTP/2 is asked after so long whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// How often is looked whether a connection has to be closed.
const TICK: Duration = Duration::from_secs(2);

/// What a client of HTTP/2 sends first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What becomes of a port, and so of its connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stage {
    /// It takes connections, and keeps them.
    #[default]
    Open,
    /// It still takes connections, and each ends with its next answer.
    Leaving,
    /// It takes no more, and those on which nothing is asked end.
    Closed,
}

/// How long a client may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// To send a head: the first one from when the connection is there.
    pub head: Duration,
    /// Between an answer and the next request of HTTP/1.
    pub idle: Duration,
    /// Without reading anything of what waits for it.
    pub unread: Duration,
    /// With one connection of HTTP/2.
    pub age: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        // Connections that were opened together do not end together.
        let age = Duration::from_secs(300).mul_f64(rand::random_range(0.9..1.1));
        Self { head: HEAD_TIMEOUT, idle: IDLE_TIMEOUT, unread: Duration::from_secs(60), age }
    }
}

/// What is known of a connection.
#[derive(Debug)]
pub struct Connection {
    patience: Patience,
    begun: Instant,
    http2: AtomicBool,
    /// Whether its answers tell the client that it ends with them.
    leaving: AtomicBool,
    progress: Progress,
    waiting: Mutex<Waiting>,
}

/// How far the one request of HTTP/1 is. Requests note no times, since a look at the clock costs more: how long nothing has
/// changed is known to whoever looks now and then.
#[derive(Debug)]
struct Progress {
    /// Something of it has come. True from the start: a new connection is there for a request.
    begun: AtomicBool,
    /// Its head is complete.
    asked: AtomicBool,
    changed: AtomicBool,
}

impl Progress {
    fn new() -> Self {
        Self { begun: AtomicBool::new(true), asked: AtomicBool::new(false), changed: AtomicBool::new(true) }
    }

    fn begin(&self) {
        if !self.begun.load(Ordering::Relaxed) {
            self.begun.store(true, Ordering::Relaxed);
            self.changed.store(true, Ordering::Relaxed);
        }
    }

    fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    fn end(&self) {
        self.begun.store(false, Ordering::Relaxed);
        self.asked.store(false, Ordering::Relaxed);
        self.changed.store(true, Ordering::Relaxed);
    }
}

/// What waits for the client to take it.
#[derive(Debug, Default)]
struct Waiting {
    /// Answers by number, and until when they have to be taken.
    answers: Vec<(u64, Instant)>,
    number: u64,
    /// Since when nothing can be written.
    stuck: Option<Instant>,
    /// Since when the request is as far as it is.
    unchanged: Option<Instant>,
}

/// Whether a connection goes on.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Open,
    /// It takes no more requests, and answers those that it has.
    Ending,
    /// It is closed, and why.
    Over(&'static str),
}

/// A request, from when its head is there until its answer is complete.
#[derive(Debug)]
pub struct Underway(pub Arc<Connection>);

impl Underway {
    /// Gives its answer the form in which it is sent.
    pub fn answered(self, mut answer: Response<Stream>) -> Response<Sending> {
        let connection = &self.0;
        if connection.leaving.load(Ordering::Relaxed) && !connection.http2.load(Ordering::Relaxed) {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer.map(|stream| Sending { stream, _underway: self })
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.progress.end();
    }
}

/// The body of an answer while it is sent.
pub struct Sending {
    stream: Stream,
    _underway: Underway,
}

impl Body for Sending {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        Pin::new(&mut self.stream).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.stream.size_hint()
    }
}

/// An answer that the client has to take in time; over when this is dropped.
#[derive(Debug)]
pub struct Answering {
    connection: Arc<Connection>,
    number: u64,
}

impl Drop for Answering {
    fn drop(&mut self) {
        let answers = &mut self.connection.waiting().answers;
        if let Some(position) = answers.iter().position(|(number, _)| *number == self.number) {
            answers.swap_remove(position);
        }
    }
}

impl Connection {
    /// A connection that begins now.
    pub fn new(patience: Patience) -> Arc<Self> {
        let begun = Instant::now();
        Arc::new(Self {
            patience,
            begun,
            http2: AtomicBool::default(),
            leaving: AtomicBool::default(),
            progress: Progress::new(),
            waiting: Mutex::default(),
        })
    }

    /// Notes that a request has come.
    pub fn ask(self: &Arc<Self>) -> Underway {
        self.progress.ask();
        Underway(Arc::clone(self))
    }

    /// Notes a request whose answer has to be taken until a point in time, or the connection ends.
    pub fn answer(self: &Arc<Self>, until: Instant) -> Answering {
        let mut waiting = self.waiting();
        waiting.number += 1;
        let number = waiting.number;
        waiting.answers.push((number, until));
        Answering { connection: Arc::clone(self), number }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self, now: Instant, stage: Stage) -> State {
        let mut waiting = self.waiting();
        let stuck = waiting.stuck.is_some_and(|since| now.duration_since(since) >= self.patience.unread);
        let overdue = waiting.answers.iter().filter(|&&(_, until)| until <= now).count();
        if stuck || (overdue > 0 && overdue == waiting.answers.len()) {
            return State::Over("its client does not take its answers");
        }
        if self.http2.load(Ordering::Relaxed) {
            let old = now.duration_since(self.begun) >= self.patience.age;
            return if old || overdue > 0 || stage != Stage::Open { State::Ending } else { State::Open };
        }
        self.look_at_progress(now, stage, &mut waiting)
    }

    /// Looks how long the client of HTTP/1 has done nothing.
    fn look_at_progress(&self, now: Instant, stage: Stage, waiting: &mut Waiting) -> State {
        if self.progress.changed.swap(false, Ordering::Relaxed) {
            waiting.unchanged = None;
        }
        let quiet = now.duration_since(*waiting.unchanged.get_or_insert(now));
        // What is left of the last answer has to be sent first.
        if self.progress.asked.load(Ordering::Relaxed) || waiting.stuck.is_some() {
            State::Open
        } else if self.progress.begun.load(Ordering::Relaxed) {
            if quiet >= self.patience.head { State::Over("the head of a request does not come") } else { State::Open }
        } else if stage == Stage::Closed || quiet >= self.patience.idle {
            State::Over("nothing is asked")
        } else {
            State::Open
        }
    }

    /// Notes whether something could be written.
    fn wrote<T>(&self, written: Poll<T>) -> Poll<T> {
        let mut waiting = self.waiting();
        match &written {
            Poll::Ready(_) => waiting.stuck = None,
            Poll::Pending => drop(waiting.stuck.get_or_insert_with(Instant::now)),
        }
        written
    }

    /// Serves it until it ends, or until what was asked is answered once its port is closed.
    pub async fn serve<S>(
        self: Arc<Self>,
        stream: TcpStream,
        service: S,
        executor: InTurn,
        mut stages: watch::Receiver<Stage>,
    ) where
        S: Service<Request<Incoming>, Response = Response<Sending>, Error = Infallible> + Send + 'static,
        S::Future: Send + 'static,
    {
        // Answers are small and wanted at once.
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let io = TokioIo::new(Watched { stream, preface: Some(PREFACE), connection: Arc::clone(&self) });
        let mut serving = pin!(builder(executor).serve_connection(io, service).into_owned());
        let tick = TICK.min(self.patience.unread).min(self.patience.head).min(self.patience.idle);
        let mut ticks = interval_at(self.begun + tick, tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ending = false;
        loop {
            let stage = *stages.borrow_and_update();
            self.leaving.store(stage != Stage::Open, Ordering::Relaxed);
            match self.look(Instant::now(), stage) {
                State::Open => {}
                State::Ending if ending => {}
                State::Ending => {
                    ending = true;
                    serving.as_mut().graceful_shutdown();
                }
                State::Over(why) => {
                    tracing::debug!("a connection is closed: {why}");
                    return;
                }
            }
            tokio::select! {
                // What has come is read before it is looked whether anything did.
                biased;
                ended = serving.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!("a connection ended: {error}");
                    }
                    return;
                }
                Ok(()) = stages.changed() => {}
                _ = ticks.tick() => {}
            }
        }
    }
}

fn builder(executor: InTurn) -> auto::Builder<InTurn> {
    let mut builder = auto::Builder::new(executor);
    builder
        .http1()
        // It would also be the time that a connection may be idle: see `Connection::look`.
        .header_read_timeout(None)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .keep_alive_interval(KEEP_ALIVE);
    builder
}

/// A socket of which is known since when nothing can be written, and what comes.
struct Watched {
    stream: TcpStream,
    /// What is still to come of the preface of HTTP/2; none once it came, or something else did.
    preface: Option<&'static [u8]>,
    connection: Arc<Connection>,
}

impl Watched {
    fn came(&mut self, bytes: &[u8]) {
        if let Some(rest) = self.preface {
            let complete = bytes.starts_with(rest);
            self.preface = if complete { None } else { rest.strip_prefix(bytes) };
            self.connection.http2.store(complete, Ordering::Relaxed);
        }
        self.connection.progress.begin();
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), Error>> {
        let before = into.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, into);
        if into.filled().len() > before {
            self.came(&into.filled()[before..]);
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, Error>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.connection.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<Result<usize, Error>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.connection.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workers::Workers;
    use http_body_util::{BodyExt, Full};
    use hyper::client::conn::{http1, http2};
    use hyper::service::service_fn;
    use hyper_util::rt::TokioExecutor;
    use std::net::Ipv4Addr;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;
    use tokio::time::timeout;

    const SOON: Duration = Duration::from_secs(10);
    const SECOND: Duration = Duration::from_secs(1);

    fn patience(millis: u64) -> Patience {
        Patience { unread: Duration::from_millis(millis), ..Patience::default() }
    }

    /// A connection whose server answers late, and so much; with the task of the server, and the stage of its port.
    async fn open(patience: Patience, bytes: usize) -> (TcpStream, JoinHandle<()>, watch::Sender<Stage>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("open");
        let (server, _) = listener.accept().await.expect("open");
        let (port, stages) = watch::channel(Stage::Open);
        let connection = Connection::new(patience);
        let of = Arc::clone(&connection);
        let service = service_fn(move |_: Request<Incoming>| {
            let underway = of.ask();
            async move {
                tokio::time::sleep(Duration::from_millis(500)).await;
                Ok(underway.answered(Response::new(Stream::whole(Bytes::from(vec![0; bytes])))))
            }
        });
        (client, tokio::spawn(connection.serve(server, service, InTurn(Workers::here()), stages)), port)
    }

    fn request() -> Request<Full<Bytes>> {
        Request::post("http://x/").header("host", "x").body(Full::default()).expect("a request")
    }

    async fn open_http1(client: TcpStream) -> http1::SendRequest<Full<Bytes>> {
        let (sender, connection) = http1::handshake(TokioIo::new(client)).await.expect("open");
        tokio::spawn(connection);
        sender
    }

    async fn ask(sender: &mut http1::SendRequest<Full<Bytes>>) -> Response<Bytes> {
        sender.ready().await.expect("still open");
        let (head, body) = sender.send_request(request()).await.expect("answered").into_parts();
        Response::from_parts(head, body.collect().await.expect("whole").to_bytes())
    }

    async fn ends(server: JoinHandle<()>) {
        timeout(SOON, server).await.expect("in time").expect("ended");
    }

    #[tokio::test]
    async fn what_is_not_taken_ends_a_connection_when_all_else_is_answered() {
        let connection = Connection::new(Patience::default());
        connection.http2.store(true, Ordering::Relaxed);
        let look = |now| connection.look(now, Stage::Open);
        let now = Instant::now();
        assert_eq!(look(now), State::Open);
        let _untaken = connection.answer(now + SECOND);
        let other = connection.answer(now + 3 * SECOND);
        assert_eq!(look(now), State::Open);
        assert_eq!(look(now + 2 * SECOND), State::Ending);
        drop(other);
        assert!(matches!(look(now + 2 * SECOND), State::Over(_)));
    }

    #[tokio::test]
    async fn a_head_has_to_come_soon_and_the_next_request_may_be_long_in_coming() {
        let connection = Connection::new(Patience { head: 10 * SECOND, idle: 180 * SECOND, ..Patience::default() });
        let now = Instant::now();
        let is_over = |seconds| matches!(connection.look(now + seconds * SECOND, Stage::Open), State::Over(_));
        assert_eq!([0, 9, 10].map(is_over), [false, false, true], "the first");
        let underway = connection.ask();
        assert_eq!([20, 900].map(is_over), [false, false], "one that is worked on");
        drop(underway);
        assert_eq!([1000, 1179, 1180].map(is_over), [false, false, true], "idle");
        connection.progress.begin();
        assert_eq!([1181, 1185].map(is_over), [false, false], "a head");
        connection.progress.begin();
        assert_eq!([1190, 1191].map(is_over), [false, true], "a head that comes byte by byte");
    }

    #[tokio::test]
    async fn a_closed_port_waits_for_what_has_begun() {
        let connection = Connection::new(Patience::default());
        let look = || connection.look(Instant::now(), Stage::Closed);
        assert_eq!(look(), State::Open, "its first request may be on its way");
        let underway = connection.ask();
        assert_eq!(look(), State::Open);
        assert_eq!(connection.wrote(Poll::<()>::Pending), Poll::Pending);
        drop(underway);
        assert_eq!(look(), State::Open, "the end of the answer is not sent");
        assert_eq!(connection.wrote(Poll::Ready(())), Poll::Ready(()));
        assert!(matches!(look(), State::Over(_)));
        connection.progress.begin();
        assert_eq!(look(), State::Open);
    }

    #[tokio::test]
    async fn a_client_that_reads_nothing_is_left() {
        let (mut client, server, _port) = open(patience(300), 64 << 20).await;
        client.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await.expect("sent");
        ends(server).await;
    }

    #[tokio::test]
    async fn a_client_that_sends_no_head_is_left() {
        for sent in ["", "P", "POST / HTTP/1.1\r\nhost: x\r\n", "PRI * HTTP/2.0\r\n"] {
            let patience = Patience { head: Duration::from_millis(100), ..Patience::default() };
            let (mut client, server, _port) = open(patience, 3).await;
            client.write_all(sent.as_bytes()).await.expect("sent");
            ends(server).await;
        }
    }

    #[tokio::test]
    async fn an_idle_client_of_http_1_is_left_later_than_one_that_sends_no_head() {
        let (head, idle) = (Duration::from_millis(100), Duration::from_millis(900));
        let (client, server, _port) = open(Patience { head, idle, ..Patience::default() }, 3).await;
        let mut sender = open_http1(client).await;
        for _ in 0..2 {
            ask(&mut sender).await;
            tokio::time::sleep(5 * head).await;
        }
        assert!(!server.is_finished());
        ends(server).await;
    }

    #[tokio::test]
    async fn an_idle_client_of_http_2_is_kept() {
        let (head, idle) = (Duration::from_millis(100), Duration::from_millis(100));
        let (client, server, _port) = open(Patience { head, idle, ..Patience::default() }, 3).await;
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(client)).await.expect("h2");
        tokio::spawn(connection);
        for _ in 0..2 {
            tokio::time::sleep(5 * head).await;
            sender.send_request(request()).await.expect("answered");
        }
        assert!(!server.is_finished());
    }

    #[tokio::test]
    async fn an_old_connection_answers_what_it_has_begun_and_ends() {
        let patience = Patience { age: Duration::from_millis(200), ..patience(100) };
        let (client, server, _port) = open(patience, 3).await;
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(client)).await.expect("h2");
        let connection = tokio::spawn(connection);
        let answer = sender.send_request(request()).await.expect("answered");
        assert_eq!(answer.into_body().collect().await.expect("whole").to_bytes().len(), 3);
        ends(server).await;
        timeout(SOON, connection).await.expect("in time").expect("ended").expect("in peace");
    }

    #[tokio::test]
    async fn an_old_connection_of_http_1_goes_on() {
        let (client, server, port) = open(Patience { age: Duration::ZERO, ..patience(100) }, 3).await;
        let mut sender = open_http1(client).await;
        for _ in 0..2 {
            let answer = ask(&mut sender).await;
            assert_eq!((answer.body().len(), answer.headers().get(CONNECTION)), (3, None));
        }
        port.send_replace(Stage::Closed);
        ends(server).await;
    }

    #[tokio::test]
    async fn who_leaves_says_so_in_its_next_answer() {
        for stage in [Stage::Leaving, Stage::Closed] {
            let (client, server, port) = open(Patience::default(), 3).await;
            port.send_replace(stage);
            let mut sender = open_http1(client).await;
            let answer = ask(&mut sender).await;
            assert_eq!((answer.body().len(), answer.headers()[CONNECTION].as_bytes()), (3, &b"close"[..]));
            ends(server).await;
        }
    }

    #[tokio::test]
    async fn who_leaves_waits_for_the_next_request() {
        let (client, server, port) = open(patience(100), 3).await;
        let mut sender = open_http1(client).await;
        ask(&mut sender).await;
        port.send_replace(Stage::Leaving);
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(ask(&mut sender).await.headers()[CONNECTION], "close");
        ends(server).await;
    }

    #[tokio::test]
    async fn who_leaves_ends_a_connection_of_http_2_without_a_word_in_its_answers() {
        let (client, server, port) = open(Patience::default(), 3).await;
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(client)).await.expect("h2");
        let connection = tokio::spawn(connection);
        let asked = tokio::spawn(async move { sender.send_request(request()).await.expect("answered") });
        port.send_replace(Stage::Leaving);
        let answer = asked.await.expect("answered");
        assert_eq!(answer.headers().get(CONNECTION), None);
        assert_eq!(answer.into_body().collect().await.expect("whole").to_bytes().len(), 3);
        ends(server).await;
        timeout(SOON, connection).await.expect("in time").expect("ended").expect("in peace");
    }
}
