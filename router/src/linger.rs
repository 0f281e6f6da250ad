//! An exchange with a server that nobody waits for any more gets a moment to end, so that its connection can be used again.
//!
//! Over HTTP/1 the only way to take a request back is to close its connection, and then another has to be opened. Who
//! loses a race, as a hedge or the last of a quorum does, is often answered just after it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::time::timeout;

/// So long what was given up may go on. Long work, such as the making of a text, is still ended at once for a person.
const LINGER: Duration = Duration::from_millis(50);

/// An exchange that goes on for `LINGER` if it is dropped after it has begun.
pub struct Lingering<T: Send + 'static> {
    exchange: Option<BoxFuture<'static, T>>,
    begun: bool,
}

impl<T: Send + 'static> Lingering<T> {
    /// Begins when it is polled.
    pub fn new(exchange: impl Future<Output = T> + Send + 'static) -> Self {
        Self { exchange: Some(Box::pin(exchange)), begun: false }
    }
}

impl<T: Send + 'static> Future for Lingering<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        self.begun = true;
        let Some(exchange) = &mut self.exchange else { return Poll::Pending };
        let polled = exchange.as_mut().poll(context);
        if polled.is_ready() {
            self.exchange = None;
        }
        polled
    }
}

impl<T: Send + 'static> Drop for Lingering<T> {
    fn drop(&mut self) {
        // There is no runtime any more when the process ends.
        if let (Some(exchange), true, Ok(runtime)) = (self.exchange.take(), self.begun, Handle::try_current()) {
            runtime.spawn(timeout(LINGER, exchange));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::time::sleep;

    use super::*;

    /// An exchange of some length, and whether it has ended.
    fn exchange(length: Duration) -> (Lingering<()>, Arc<AtomicBool>) {
        let ended = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ended);
        let work = async move {
            sleep(length).await;
            told.store(true, Ordering::Relaxed);
        };
        (Lingering::new(work), ended)
    }

    async fn ended_if_dropped(length: Duration, begin: bool) -> bool {
        let (mut exchange, ended) = exchange(length);
        if begin {
            assert!(futures_util::poll!(&mut exchange).is_pending());
        }
        drop(exchange);
        sleep(2 * LINGER).await;
        ended.load(Ordering::Relaxed)
    }

    #[tokio::test(start_paused = true)]
    async fn what_would_end_soon_ends() {
        assert!(ended_if_dropped(LINGER / 2, true).await);
    }

    #[tokio::test(start_paused = true)]
    async fn what_would_take_long_is_given_up() {
        assert!(!ended_if_dropped(LINGER * 3 / 2, true).await);
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_not_begun_never_begins() {
        assert!(!ended_if_dropped(Duration::ZERO, false).await);
    }
}
