//! A client's connection. It ends when the client does not take an answer in its time, and, if it is one of HTTP/2, when it
//! has grown old: the client opens another, which may lead to a router that came later.
//!
//! The time cannot be left to the body of an answer: nobody asks it for more while the client takes nothing. What else is
//! asked on the connection is answered first.

use std::convert::Infallible;
use std::io::{Error, IoSlice};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::message::Stream;
use crate::workers::InTurn;

/// For so long a client may take to send the head of a request.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Headers of a request at most, and bytes of its head.
const MAX_HEADERS: usize = 100;
const MAX_HEAD: usize = 64 << 10;

/// Requests of one HTTP/2 connection at once.
const MAX_STREAMS: u32 = 256;

/// A connection of HTTP/2 is asked after so long whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// How often is looked whether a connection has to be closed.
const TICK: Duration = Duration::from_secs(2);

/// How long a client may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Without reading anything of what waits for it.
    pub unread: Duration,
    /// With one connection of HTTP/2.
    pub age: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        // Connections that were opened together do not end together.
        let age = Duration::from_secs(300).mul_f64(rand::random_range(0.9..1.1));
        Self { unread: Duration::from_secs(60), age }
    }
}

/// What is known of a connection.
#[derive(Debug)]
pub struct Connection {
    patience: Patience,
    begun: Instant,
    http2: AtomicBool,
    waiting: Mutex<Waiting>,
}

/// What waits for the client to take it.
#[derive(Debug, Default)]
struct Waiting {
    /// Answers by number, and until when they have to be taken.
    answers: Vec<(u64, Instant)>,
    number: u64,
    /// Since when nothing can be written.
    stuck: Option<Instant>,
}

/// Whether a connection goes on.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Open,
    /// It takes no more requests, and answers those that it has.
    Ending,
    /// What is left on it is not taken.
    Over,
}

/// A request that is worked on and answered; over when this is dropped.
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
        Arc::new(Self { patience, begun, http2: AtomicBool::new(false), waiting: Mutex::default() })
    }

    /// Notes in what version of HTTP the client speaks.
    pub fn spoken(&self, version: Version) {
        if version == Version::HTTP_2 {
            self.http2.store(true, Ordering::Relaxed);
        }
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

    fn look(&self, now: Instant) -> State {
        let waiting = self.waiting();
        let stuck = waiting.stuck.is_some_and(|since| now.duration_since(since) >= self.patience.unread);
        let overdue = waiting.answers.iter().filter(|&&(_, until)| until <= now).count();
        if stuck || (overdue > 0 && overdue == waiting.answers.len()) {
            return State::Over;
        }
        let old = self.http2.load(Ordering::Relaxed) && now.duration_since(self.begun) >= self.patience.age;
        if old || overdue > 0 { State::Ending } else { State::Open }
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

    /// Serves it until it ends, or until its last request does once the server drains.
    pub async fn serve<S>(
        self: Arc<Self>,
        stream: TcpStream,
        service: S,
        executor: InTurn,
        mut draining: watch::Receiver<()>,
    ) where
        S: Service<Request<Incoming>, Response = Response<Stream>, Error = Infallible> + Send + 'static,
        S::Future: Send + 'static,
    {
        // Answers are small and wanted at once.
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let io = TokioIo::new(Watched { stream, connection: Arc::clone(&self) });
        let mut serving = pin!(builder(executor).serve_connection(io, service).into_owned());
        let mut ticks = interval(TICK.min(self.patience.unread));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ending = false;
        loop {
            let ends = tokio::select! {
                ended = serving.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!("a connection ended: {error}");
                    }
                    return;
                }
                _ = draining.changed(), if !ending => true,
                now = ticks.tick() => match self.look(now) {
                    State::Open => false,
                    State::Ending => true,
                    State::Over => {
                        tracing::debug!("a connection is closed: its client does not take its answers");
                        return;
                    }
                },
            };
            if ends && !ending {
                ending = true;
                serving.as_mut().graceful_shutdown();
            }
        }
    }
}

fn builder(executor: InTurn) -> auto::Builder<InTurn> {
    let mut builder = auto::Builder::new(executor);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
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

/// A socket of which is known since when nothing can be written.
struct Watched {
    stream: TcpStream,
    connection: Arc<Connection>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.stream).poll_read(context, into)
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
    use bytes::Bytes;
    use http_body_util::{BodyExt, Full};
    use hyper::client::conn::http2;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioExecutor;
    use std::net::Ipv4Addr;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;
    use tokio::time::timeout;

    const SOON: Duration = Duration::from_secs(10);

    /// A connection whose server answers late, and so much; with the task of the server, and the end of it.
    async fn open(patience: Patience, bytes: usize) -> (TcpStream, JoinHandle<()>, watch::Sender<()>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("open");
        let (server, _) = listener.accept().await.expect("open");
        let (drain, draining) = watch::channel(());
        let connection = Connection::new(patience);
        let noted = Arc::clone(&connection);
        let service = service_fn(move |request: Request<Incoming>| {
            noted.spoken(request.version());
            async move {
                tokio::time::sleep(Duration::from_millis(500)).await;
                Ok(Response::new(Stream::whole(Bytes::from(vec![0; bytes]))))
            }
        });
        (client, tokio::spawn(connection.serve(server, service, InTurn(Workers::here()), draining)), drain)
    }

    #[tokio::test]
    async fn what_is_not_taken_ends_a_connection_when_all_else_is_answered() {
        let connection = Connection::new(Patience::default());
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        assert_eq!(connection.look(now), State::Open);
        let _untaken = connection.answer(now + second);
        let other = connection.answer(now + 3 * second);
        assert_eq!(connection.look(now), State::Open);
        assert_eq!(connection.look(now + 2 * second), State::Ending);
        drop(other);
        assert_eq!(connection.look(now + 2 * second), State::Over);
    }

    #[tokio::test]
    async fn a_client_that_reads_nothing_is_left() {
        let patience = Patience { unread: Duration::from_millis(300), age: SOON };
        let (mut client, server, _drain) = open(patience, 64 << 20).await;
        client.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await.expect("sent");
        timeout(SOON, server).await.expect("in time").expect("ended");
    }

    #[tokio::test]
    async fn an_old_connection_answers_what_it_has_begun_and_ends() {
        let patience = Patience { unread: Duration::from_millis(100), age: Duration::from_millis(200) };
        let (client, server, _drain) = open(patience, 3).await;
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(client)).await.expect("h2");
        let connection = tokio::spawn(connection);
        let request = Request::post("http://x/").body(Full::<Bytes>::default()).expect("a request");
        let answer = sender.send_request(request).await.expect("answered");
        assert_eq!(answer.into_body().collect().await.expect("whole").to_bytes().len(), 3);
        timeout(SOON, server).await.expect("in time").expect("ended");
        timeout(SOON, connection).await.expect("in time").expect("ended").expect("in peace");
    }

    #[tokio::test]
    async fn an_old_connection_of_http_1_goes_on() {
        let patience = Patience { unread: Duration::from_millis(100), age: Duration::ZERO };
        let (client, server, drain) = open(patience, 3).await;
        let opened = hyper::client::conn::http1::handshake(TokioIo::new(client)).await;
        let (mut sender, connection) = opened.expect("open");
        tokio::spawn(connection);
        for _ in 0..2 {
            sender.ready().await.expect("still open");
            let request = Request::post("/").header("host", "x").body(Full::<Bytes>::default()).expect("a request");
            let answer = sender.send_request(request).await.expect("answered");
            assert_eq!(answer.into_body().collect().await.expect("whole").to_bytes().len(), 3);
        }
        drain.send_replace(());
        timeout(SOON, server).await.expect("in time").expect("ended");
    }
}
