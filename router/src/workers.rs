//! The threads that answer requests. Each has clients and connections to targets of its own, and what began on it ends on it:
//! to hand a request from one thread to another costs more than most of what is done for it.

use std::future::pending;
use std::io::Result;
use std::net::TcpStream as Socket;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use hyper::rt::Executor;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};

/// All threads that answer requests.
#[derive(Debug)]
pub struct Workers {
    workers: Vec<Worker>,
    turn: AtomicUsize,
}

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    clients: Arc<AtomicUsize>,
}

/// A client that a worker has.
struct Client(Arc<AtomicUsize>);

impl Drop for Client {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Workers {
    /// Starts so many threads, which end with the process.
    ///
    /// # Errors
    /// The system gives no more threads or files.
    pub fn start(threads: usize) -> Result<Arc<Self>> {
        let start = |number| {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let handle = runtime.handle().clone();
            thread::Builder::new().name(format!("worker-{number}")).spawn(move || runtime.block_on(pending::<()>()))?;
            Ok(handle)
        };
        (0..threads.max(1)).map(start).collect::<Result<Vec<_>>>().map(Self::of)
    }

    /// The runtime of whoever calls does all the work.
    pub fn here() -> Arc<Self> {
        Self::of(vec![Handle::current()])
    }

    fn of(runtimes: Vec<Handle>) -> Arc<Self> {
        let workers = runtimes.into_iter().map(|runtime| Worker { runtime, clients: Arc::default() }).collect();
        Arc::new(Self { workers, turn: AtomicUsize::new(0) })
    }

    /// Has a client served by the worker that has the fewest.
    pub fn take<F>(&self, client: Socket, serve: impl FnOnce(TcpStream) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Some(worker) = self.workers.iter().min_by_key(|worker| worker.clients.load(Ordering::Relaxed)) else {
            return;
        };
        worker.clients.fetch_add(1, Ordering::Relaxed);
        let counted = Client(Arc::clone(&worker.clients));
        worker.runtime.spawn(async move {
            let _counted = counted;
            match TcpStream::from_std(client) {
                Ok(stream) => serve(stream).await,
                Err(error) => tracing::warn!("a connection could not be taken: {error}"),
            }
        });
    }
}

/// Has the requests of one connection of HTTP/2 answered by all workers in turn: a client of gRPC has no other.
#[derive(Debug, Clone)]
pub struct InTurn(pub Arc<Workers>);

impl<F> Executor<F> for InTurn
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, work: F) {
        let turn = self.0.turn.fetch_add(1, Ordering::Relaxed);
        self.0.workers[turn % self.0.workers.len()].runtime.spawn(work);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};
    use std::sync::mpsc;
    use std::time::Duration;

    const SOON: Duration = Duration::from_secs(10);

    fn name() -> String {
        thread::current().name().unwrap_or_default().to_owned()
    }

    #[test]
    fn clients_go_to_the_worker_that_has_the_fewest() {
        let workers = Workers::start(2).expect("started");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let (told, by) = mpsc::channel();
        let open = || {
            let client = Socket::connect(listener.local_addr().expect("bound")).expect("open");
            client.set_nonblocking(true).expect("set");
            let (told, (leave, left)) = (told.clone(), tokio::sync::oneshot::channel::<()>());
            workers.take(client, move |_| async move {
                told.send(name()).expect("heard");
                drop(left.await);
            });
            (by.recv_timeout(SOON).expect("served"), leave)
        };
        let ((first, leave), (second, _stays)) = (open(), open());
        assert_ne!(first, second);
        drop(leave);
        while workers.workers.iter().map(|worker| worker.clients.load(Ordering::Relaxed)).sum::<usize>() > 1 {
            thread::yield_now();
        }
        assert_eq!(open().0, first);
    }

    #[test]
    fn requests_of_a_connection_go_to_all_workers() {
        let (told, by) = mpsc::channel();
        let executor = InTurn(Workers::start(3).expect("started"));
        for _ in 0..6 {
            let told = told.clone();
            executor.execute(async move { told.send(name()).expect("heard") });
        }
        let mut names: Vec<_> = (0..6).map(|_| by.recv_timeout(SOON).expect("done")).collect();
        names.sort();
        assert_eq!(names, ["worker-0", "worker-0", "worker-1", "worker-1", "worker-2", "worker-2"]);
    }
}
