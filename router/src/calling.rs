//! Connections of HTTP/2 for gRPC: some to each target, opened by nobody's request and shared by all.
//!
//! A Service gives all requests of a connection to one pod, so there are some of them, and each is left after a while. No
//! PINGs are sent: a server of gRPC closes connections on which they come more often than every five minutes. Whether the
//! other side is still there is for TCP to find out.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::time::timeout;

use crate::credentials::Credentials;
use crate::dialer::{Dialer, Server, Socket, Version};
use crate::upstream::{AGE, SendError, lifetime};

/// Connections to one target.
const CONNECTIONS: usize = 8;

/// After so long without a word TCP asks whether the other side is there, and how often until it is given up.
const SILENCE: Duration = Duration::from_secs(20);
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;

/// What was sent has to arrive in so long.
#[cfg(target_os = "linux")]
const UNHEARD: Duration = Duration::from_secs(60);

type Sender = SendRequest<Full<Bytes>>;

/// Connections to all targets.
pub struct Pool {
    dialer: Arc<Dialer>,
    targets: Arc<Targets>,
    age: Duration,
    opened: AtomicUsize,
}

#[derive(Default)]
struct Targets(Mutex<HashMap<Server, Target>>);

/// Connections to a target, which take turns.
#[derive(Default)]
struct Target {
    turn: usize,
    lines: [Option<Line>; CONNECTIONS],
}

/// A connection, from when it begins to be opened until it takes no more requests.
struct Line {
    number: usize,
    sender: Shared<BoxFuture<'static, Result<Sender, SendError>>>,
}

impl Line {
    fn is_usable(&self) -> bool {
        match self.sender.peek() {
            None => true,
            Some(opened) => opened.as_ref().is_ok_and(|sender| !sender.is_closed()),
        }
    }
}

impl Targets {
    fn lock(&self) -> MutexGuard<'_, HashMap<Server, Target>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a connection out; requests on it are answered, and with the last of them it ends.
    fn leave(&self, server: &Server, number: usize) {
        let mut targets = self.lock();
        let Some(target) = targets.get_mut(server) else { return };
        for line in &mut target.lines {
            line.take_if(|line| line.number == number);
        }
        if target.lines.iter().all(Option::is_none) {
            targets.remove(server);
        }
    }
}

impl Pool {
    /// No connections yet.
    pub fn new(credentials: Arc<Credentials>) -> Self {
        Self::aging(credentials, AGE)
    }

    fn aging(credentials: Arc<Credentials>, age: Duration) -> Self {
        let mut http = HttpConnector::new();
        http.set_keepalive(Some(SILENCE));
        http.set_keepalive_interval(Some(PROBE_INTERVAL));
        http.set_keepalive_retries(Some(PROBES));
        #[cfg(target_os = "linux")]
        http.set_tcp_user_timeout(Some(UNHEARD));
        let dialer = Arc::new(Dialer::new(Version::Http2, http, credentials));
        Self { dialer, targets: Arc::default(), age, opened: AtomicUsize::new(0) }
    }

    /// Sends a request; one that a connection did not take before it ended is given to another.
    ///
    /// # Errors
    /// There is no connection, or it broke before the head of an answer came.
    pub async fn call(
        &self,
        server: &Server,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, SendError> {
        let mut left = CONNECTIONS;
        loop {
            let mut sender = self.next(server).await?;
            let mut error = match sender.try_send_request(request).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            match error.take_message().filter(|_| left > 0) {
                Some(unsent) => request = unsent,
                None => return Err(SendError::broken(error.into_error())),
            }
            left -= 1;
        }
    }

    /// Gives the connection whose turn it is, or opens it.
    fn next(&self, server: &Server) -> Shared<BoxFuture<'static, Result<Sender, SendError>>> {
        let mut targets = self.targets.lock();
        let target = targets.entry(server.clone()).or_default();
        target.turn = (target.turn + 1) % CONNECTIONS;
        let place = &mut target.lines[target.turn];
        if let Some(line) = place.as_ref().filter(|line| line.is_usable()) {
            return line.sender.clone();
        }
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        let sender = self.open(server.clone(), number);
        *place = Some(Line { number, sender: sender.clone() });
        sender
    }

    /// Opens a connection in a task of its own: who waits for it may leave, and others still get it.
    fn open(&self, server: Server, number: usize) -> Shared<BoxFuture<'static, Result<Sender, SendError>>> {
        let (dialer, targets) = (Arc::clone(&self.dialer), Arc::clone(&self.targets));
        let age = lifetime(self.age);
        let opening = tokio::spawn(async move {
            let begin = |socket| http2::Builder::new(TokioExecutor::new()).handshake(socket);
            match dialer.dial(&server, begin).await {
                Ok((sender, connection)) => {
                    tokio::spawn(keep(connection, targets, server, number, age));
                    Ok(sender)
                }
                Err(error) => {
                    targets.leave(&server, number);
                    Err(error)
                }
            }
        });
        opening.map(|ended| ended.unwrap_or_else(|error| Err(SendError::connect(error)))).boxed().shared()
    }
}

type Connection = http2::Connection<Socket, Full<Bytes>, TokioExecutor>;

/// Drives a connection to its end, and has it left when its time is over.
async fn keep(connection: Connection, targets: Arc<Targets>, server: Server, number: usize, age: Duration) {
    let mut connection = pin!(connection);
    let ended = timeout(age, connection.as_mut()).await;
    targets.leave(&server, number);
    let ended = match ended {
        Ok(ended) => ended,
        Err(_) => connection.await,
    };
    if let Err(error) = ended {
        tracing::debug!(target = %server.authority, "a connection ended: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use std::net::{Ipv4Addr, SocketAddr};
    use std::path::PathBuf;
    use tokio::net::TcpListener;

    /// A server that answers everything, and counts its connections.
    async fn server() -> (SocketAddr, Arc<AtomicUsize>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let (address, count) = (listener.local_addr().expect("bound"), Arc::<AtomicUsize>::default());
        let counted = Arc::clone(&count);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                let answers = service_fn(|_| async { Ok::<_, hyper::Error>(Response::new(Full::<Bytes>::default())) });
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(builder.serve_connection(TokioIo::new(stream), answers));
            }
        });
        (address, count)
    }

    fn pool(age: Duration) -> Pool {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Pool::aging(Arc::new(Credentials::new(PathBuf::new())), age)
    }

    async fn call(pool: &Pool, address: SocketAddr) -> Result<Response<Incoming>, SendError> {
        let request = Request::post(format!("http://{address}/")).body(Full::default()).expect("a request");
        pool.call(&Server::of(request.uri())?, request).await
    }

    #[tokio::test]
    async fn who_leaves_while_it_is_opened_takes_the_connection_from_nobody() {
        let ((address, count), pool) = (server().await, pool(AGE));
        let mut calls: Vec<_> = (0..=CONNECTIONS).map(|_| Box::pin(call(&pool, address))).collect();
        for call in &mut calls {
            assert!(futures_util::poll!(call.as_mut()).is_pending());
        }
        // The first and the last share a connection.
        let last = calls.pop().expect("the last");
        drop(calls);
        assert!(last.await.is_ok());
        assert_eq!(count.load(Ordering::Relaxed), CONNECTIONS);
    }

    #[tokio::test]
    async fn every_target_has_as_many_connections() {
        let ((one, ones), (two, twos), pool) = (server().await, server().await, pool(AGE));
        for _ in 0..2 * CONNECTIONS {
            call(&pool, one).await.expect("answered");
            call(&pool, two).await.expect("answered");
        }
        let counts = [ones, twos].map(|count| count.load(Ordering::Relaxed));
        assert_eq!(counts, [CONNECTIONS, CONNECTIONS]);
    }

    #[tokio::test]
    async fn what_is_old_is_left_and_nothing_of_it_stays() {
        let ((address, count), pool) = (server().await, pool(Duration::from_millis(400)));
        for opened in 1..=2 {
            call(&pool, address).await.expect("answered");
            assert_eq!((count.load(Ordering::Relaxed), pool.targets.lock().len()), (opened, 1));
            let left = async {
                while !pool.targets.lock().is_empty() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            timeout(Duration::from_secs(10), left).await.expect("it is left");
        }
    }

    #[tokio::test]
    async fn a_target_that_is_not_there_is_forgotten() {
        let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port").local_addr().expect("bound");
        let pool = pool(AGE);
        let error = call(&pool, nobody).await.expect_err("nobody listens");
        assert!(matches!(error, SendError::Connect(_)));
        assert!(pool.targets.lock().is_empty());
    }
}
