//! Places for requests: so many at once, so many that wait, the rest is refused at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A limit of requests at once with a bounded queue.
#[derive(Debug)]
pub struct Limit {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    queue: usize,
}

/// A place; it is free again when this is dropped.
pub type Place = OwnedSemaphorePermit;

impl Limit {
    /// A limit of `limit` requests, beside which `queue` may wait.
    pub fn new(limit: usize, queue: usize) -> Self {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        Self { places: Arc::new(Semaphore::new(limit)), waiting: AtomicUsize::new(0), queue }
    }

    /// Takes a place if one is free.
    pub fn try_enter(&self) -> Option<Place> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// Takes a place, and waits for one if there is room in the queue; None if there is not.
    pub async fn enter(&self) -> Option<Place> {
        if let Some(place) = self.try_enter() {
            return Some(place);
        }
        let _waiting = Waiting::join(self)?;
        Arc::clone(&self.places).acquire_owned().await.ok()
    }
}

/// A place in the queue.
struct Waiting<'a>(&'a Limit);

impl<'a> Waiting<'a> {
    fn join(limit: &'a Limit) -> Option<Self> {
        let more = |waiting| (waiting < limit.queue).then_some(waiting + 1);
        limit.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok().map(|_| Self(limit))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn takes_so_many_lets_so_many_wait_and_refuses_the_rest() {
        let limit = Limit::new(1, 1);
        let first = limit.enter().await.expect("free");
        let mut second = Box::pin(limit.enter());
        assert!(second.as_mut().now_or_never().is_none(), "it waits");
        assert!(limit.enter().await.is_none(), "the queue is full");
        drop(first);
        assert!(second.await.is_some());
        assert!(limit.enter().await.is_some(), "all is free again");
    }

    #[tokio::test]
    async fn who_stops_waiting_leaves_the_queue() {
        let limit = Limit::new(1, 1);
        let _first = limit.enter().await;
        let mut second = Box::pin(limit.enter());
        assert!(second.as_mut().now_or_never().is_none());
        drop(second);
        assert!(limit.enter().now_or_never().is_none(), "there is room to wait");
    }
}
