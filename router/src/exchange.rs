//! Exchanges over HTTP/1.1 on connections that are kept for the next ones.
//!
//! A connection is driven by whoever waits for its answer and has no task of its own: nobody is woken only to pass on what
//! another has read, and a request is worked on by one task from its first byte to its last.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, sleep};

use crate::dialer::{Dialer, Server, Socket};
use crate::message::Stream;
use crate::upstream::{AGE, SendError, lifetime};

/// A connection that nobody has used for so long is closed.
const IDLE: Duration = Duration::from_secs(60);

/// How often is looked which connections have ended, or are not used any more.
const TICK: Duration = Duration::from_secs(10);

/// Pools of connections to a server; if there are more threads some share one.
const POOLS: usize = 8;

thread_local! {
    /// The pool of this thread.
    static POOL: usize = {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        THREADS.fetch_add(1, Ordering::Relaxed) % POOLS
    };
}

/// hyper has a queue of requests for each connection, in blocks of so many, 10 KiB each. It keeps two once the first is full,
/// so before that the connection gets another queue.
const BLOCK: usize = 32;

type Connection = http1::Connection<Socket, Stream>;

/// A server, and the connections to it that wait for work.
#[derive(Debug)]
pub struct Origin {
    server: Server,
    host: HeaderValue,
    dialer: Arc<Dialer>,
    /// By thread, since a connection is told of what comes where it was opened.
    waiting: [Mutex<Waiting>; POOLS],
}

/// Connections that wait for work.
#[derive(Debug, Default)]
struct Waiting {
    /// Those that were used last are at the end, and are used again first.
    lines: VecDeque<Idle>,
    /// Whether a task looks after them.
    tended: bool,
}

#[derive(Debug)]
struct Idle {
    line: Box<Line>,
    since: Instant,
}

/// A connection.
#[derive(Debug)]
struct Line {
    sender: SendRequest<Stream>,
    /// None when it has ended.
    connection: Option<Connection>,
    /// Requests since it was opened or renewed.
    asked: usize,
    until: Instant,
}

impl Line {
    /// Sends a request and waits for the head of its answer.
    async fn ask(&mut self, request: Request<Stream>) -> Result<Response<Incoming>, TrySendError<Request<Stream>>> {
        self.asked += 1;
        let Self { sender, connection, .. } = self;
        let mut answer = pin!(unconstrained(sender.try_send_request(request)));
        poll_fn(|context| {
            drive(connection, context);
            // Nobody else brings the answer: it need not wake anybody, and is not held back if the task has done enough.
            answer.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        })
        .await
    }

    /// Begins a queue anew, with nothing under way; None if the connection has ended.
    async fn renew(&mut self) -> Option<()> {
        let parts = self.connection.take()?.into_parts();
        let (sender, connection) = http1::handshake(parts.io).await.ok().filter(|_| parts.read_buf.is_empty())?;
        (self.sender, self.connection, self.asked) = (sender, Some(connection), 0);
        Some(())
    }

    /// Whether it takes another request.
    fn is_ready(&mut self) -> bool {
        // Whoever waited last is not to be woken, and not to be kept, for what comes while nobody waits.
        drive(&mut self.connection, &mut Context::from_waker(Waker::noop()));
        self.connection.is_some() && self.sender.is_ready()
    }
}

/// Reads and writes what can be read and written now.
fn drive(connection: &mut Option<Connection>, context: &mut Context<'_>) {
    if let Some(open) = connection
        && let Poll::Ready(ended) = Pin::new(open).poll(context)
    {
        if let Err(error) = ended {
            tracing::debug!("a connection ended: {error}");
        }
        *connection = None;
    }
}

impl Origin {
    /// A server without connections yet.
    pub fn new(server: Server, dialer: Arc<Dialer>) -> Arc<Self> {
        let (authority, usual) = (&server.authority, if server.scheme == Scheme::HTTPS { 443 } else { 80 });
        let host = if authority.port_u16() == Some(usual) { authority.host() } else { authority.as_str() };
        // What an authority may consist of is a part of what a header may.
        let host = HeaderValue::try_from(host).unwrap_or_else(|_| HeaderValue::from_static(""));
        Arc::new(Self { server, host, dialer, waiting: Default::default() })
    }

    /// Sends a request, of whose address only the path counts; one that a connection did not take before it ended is
    /// given to another.
    ///
    /// # Errors
    /// There is no connection, or it broke before the head of an answer came.
    pub async fn send(self: &Arc<Self>, mut request: Request<Stream>) -> Result<Response<Coming>, SendError> {
        *request.uri_mut() =
            Uri::from(request.uri().path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")));
        request.headers_mut().entry(HOST).or_insert_with(|| self.host.clone());
        loop {
            // What is seldom needed, and large, is boxed.
            let (mut line, fresh) = match self.take() {
                Some(line) => (line, false),
                None => (Box::pin(self.open()).await?, true),
            };
            if line.asked == BLOCK && Box::pin(line.renew()).await.is_none() {
                continue;
            }
            let mut error = match line.ask(request).await {
                Ok(response) => return Ok(response.map(|body| Coming::new(body, line, Arc::clone(self)))),
                Err(error) => error,
            };
            match error.take_message().filter(|_| !fresh) {
                Some(unsent) => request = unsent,
                None => return Err(SendError::broken(error.into_error())),
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting[POOL.with(|pool| *pool)].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Box<Line>> {
        self.waiting().lines.pop_back().map(|idle| idle.line)
    }

    fn put(self: &Arc<Self>, line: Box<Line>) {
        let since = Instant::now();
        if since >= line.until {
            return;
        }
        let mut waiting = self.waiting();
        waiting.lines.push_back(Idle { line, since });
        if !std::mem::replace(&mut waiting.tended, true) {
            tokio::spawn(tend(Arc::clone(self)));
        }
    }

    async fn open(&self) -> Result<Box<Line>, SendError> {
        let (sender, connection) = self.dialer.dial(&self.server, http1::handshake).await?;
        let until = Instant::now() + lifetime(AGE);
        Ok(Box::new(Line { sender, connection: Some(connection), asked: 0, until }))
    }

    /// Closes connections that the other side has closed, and those that are not used; tells whether any are left.
    fn sweep(&self, now: Instant) -> bool {
        let mut kept = std::mem::take(&mut self.waiting().lines);
        kept.retain_mut(|idle| now.duration_since(idle.since) < IDLE && now < idle.line.until && idle.line.is_ready());
        let mut waiting = self.waiting();
        kept.append(&mut waiting.lines);
        waiting.lines = kept;
        waiting.tended = !waiting.lines.is_empty();
        waiting.tended
    }
}

/// Looks after the connections of this thread to a server as long as any wait.
async fn tend(origin: Arc<Origin>) {
    loop {
        sleep(TICK).await;
        if !origin.sweep(Instant::now()) {
            return;
        }
    }
}

/// The body of an answer, which drives its connection, and gives it back at its end.
#[derive(Debug)]
pub struct Coming {
    body: Incoming,
    line: Option<Box<Line>>,
    origin: Arc<Origin>,
}

impl Coming {
    fn new(body: Incoming, line: Box<Line>, origin: Arc<Origin>) -> Self {
        let mut coming = Self { body, line: Some(line), origin };
        if coming.body.is_end_stream() {
            coming.end();
        }
        coming
    }

    /// Nothing more comes on the connection: it is free for another request.
    fn end(&mut self) {
        if let Some(line) = self.line.take_if(|line| line.is_ready()) {
            self.origin.put(line);
        }
    }
}

impl Body for Coming {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        // As for the head: only `drive` brings frames.
        let mut quiet = Context::from_waker(Waker::noop());
        let mut polled = Pin::new(&mut this.body).poll_frame(&mut quiet);
        if let (true, Some(line)) = (polled.is_pending(), &mut this.line) {
            drive(&mut line.connection, context);
            polled = Pin::new(&mut this.body).poll_frame(&mut quiet);
        }
        match &polled {
            Poll::Ready(None) => this.end(),
            Poll::Ready(Some(Ok(_))) if this.body.is_end_stream() => this.end(),
            _ => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, Full};
    use hyper_util::client::legacy::connect::HttpConnector;
    use std::path::PathBuf;

    use crate::credentials::Credentials;
    use crate::dialer::Version;
    use std::net::{Ipv4Addr, SocketAddr};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    const SOON: Duration = Duration::from_secs(10);
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    const PARTS: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n";
    const LAST: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
    const NOTHING: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

    /// A server that gives the same bytes for each request without a body, on a connection so many times before it closes
    /// it; it counts connections.
    async fn server(answer: &'static [u8], times: usize) -> (Arc<Origin>, Arc<AtomicUsize>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let (address, count) = (listener.local_addr().expect("bound"), Arc::<AtomicUsize>::default());
        let counted = Arc::clone(&count);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    for _ in 0..times {
                        let mut asked = Vec::new();
                        while !asked.ends_with(b"\r\n\r\n") {
                            asked.push(stream.read_u8().await?);
                        }
                        stream.write_all(answer).await?;
                    }
                    std::io::Result::Ok(())
                });
            }
        });
        (origin(address), count)
    }

    fn origin(address: SocketAddr) -> Arc<Origin> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dialer = Dialer::new(Version::Http1, HttpConnector::new(), Arc::new(Credentials::new(PathBuf::new())));
        let authority = address.to_string().parse().expect("an authority");
        Origin::new(Server { scheme: Scheme::HTTP, authority, ca: None }, Arc::new(dialer))
    }

    async fn asked(origin: &Arc<Origin>) -> Response<Coming> {
        let request = Request::get("/").body(Stream::default()).expect("a request");
        timeout(SOON, origin.send(request)).await.expect("in time").expect("answered")
    }

    async fn ask(origin: &Arc<Origin>) -> Bytes {
        let body = asked(origin).await.into_body().collect();
        timeout(SOON, body).await.expect("in time").expect("whole").to_bytes()
    }

    /// Waits until the server has closed what waits.
    async fn closed(origin: &Arc<Origin>) {
        let seen = async {
            while origin.sweep(Instant::now()) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, seen).await.expect("in time");
    }

    #[tokio::test]
    async fn a_connection_is_used_again_when_its_answer_has_come() {
        for (answer, body) in [(OK, "ok"), (PARTS, "ok"), (NOTHING, "")] {
            let (origin, connections) = server(answer, usize::MAX).await;
            for _ in 0..2 * BLOCK + 2 {
                assert_eq!(ask(&origin).await, body);
            }
            assert_eq!(connections.load(Ordering::Relaxed), 1, "{}", String::from_utf8_lossy(answer));
            assert_eq!(origin.waiting().lines.len(), 1);
        }
    }

    #[tokio::test]
    async fn a_connection_whose_answer_is_left_is_closed() {
        for answer in [OK, PARTS] {
            let (origin, connections) = server(answer, usize::MAX).await;
            let left = asked(&origin).await;
            assert_eq!(ask(&origin).await, "ok");
            drop(left);
            assert_eq!(origin.waiting().lines.len(), 1);
            assert_eq!(connections.load(Ordering::Relaxed), 2);
        }
    }

    #[tokio::test]
    async fn a_connection_that_says_it_ends_is_not_kept() {
        let (origin, connections) = server(LAST, 1).await;
        for _ in 0..2 {
            assert_eq!(ask(&origin).await, "ok");
            assert!(origin.waiting().lines.is_empty());
        }
        assert_eq!(connections.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn what_a_closed_connection_does_not_take_another_does() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let origin = origin(listener.local_addr().expect("bound"));
        for _ in 0..3 {
            let (answer, served) = tokio::join!(ask(&origin), async {
                let (mut stream, _) = listener.accept().await?;
                stream.read_buf(&mut Vec::with_capacity(1024)).await?;
                stream.write_all(OK).await?;
                std::io::Result::Ok(stream)
            });
            assert_eq!(answer, "ok");
            assert_eq!(origin.waiting().lines.len(), 1);
            drop(served.expect("served"));
            // Its end is there already, and is told to this task as soon as it waits for anything.
            sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn what_is_closed_or_old_does_not_wait() {
        let (origin, _) = server(OK, 1).await;
        assert_eq!(ask(&origin).await, "ok");
        closed(&origin).await;
        let (origin, _) = server(OK, usize::MAX).await;
        assert_eq!(ask(&origin).await, "ok");
        assert!(origin.sweep(Instant::now()));
        assert!(!origin.sweep(Instant::now() + IDLE));
        let mut old = origin.open().await.expect("open");
        old.until = Instant::now();
        origin.put(old);
        assert!(origin.waiting().lines.is_empty());
    }

    #[tokio::test]
    async fn nobody_is_a_failure_to_connect() {
        let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port").local_addr().expect("bound");
        let request = Request::get("/").body(Stream::default()).expect("a request");
        let error = origin(nobody).send(request).await.expect_err("nobody listens");
        assert!(error.is_connect());
    }

    #[tokio::test]
    async fn what_breaks_after_it_was_taken_is_not_sent_again() {
        let (origin, connections) = server(b"HTTP/1.1 200", 1).await;
        let request = Request::get("/").body(Stream::default()).expect("a request");
        let error = origin.send(request).await.expect_err("it broke off");
        assert!(!error.is_connect());
        assert_eq!(connections.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn an_answer_larger_than_what_is_read_at_once_comes_while_it_is_asked_for() {
        const SIZE: usize = 5 << 20;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let origin = origin(listener.local_addr().expect("bound"));
        let sent = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await?;
            let mut asked = vec![0; SIZE];
            stream.read_exact(&mut asked).await?;
            stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n").as_bytes()).await?;
            stream.write_all(&asked).await?;
            std::io::Result::Ok(stream)
        });
        let body = Stream::new(Full::new(Bytes::from(vec![7; SIZE])));
        let request = Request::post("/").body(body).expect("a request");
        let answer = origin.send(request).await.expect("answered").into_body().collect().await.expect("whole");
        assert_eq!(answer.to_bytes().len(), SIZE);
        assert_eq!(origin.waiting().lines.len(), 1);
        sent.await.expect("ended").expect("sent");
    }
}
