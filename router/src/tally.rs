//! What requests to a part of a release came to, in a form that adds up over routers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The shortest time that is told from shorter ones, in seconds.
const FIRST: f64 = 64e-6;

/// Buckets within a doubling: each is 2.2 % wider than the one before.
const PER_DOUBLING: u32 = 32;

/// Doublings: the last bucket begins at 17 minutes.
const DOUBLINGS: u32 = 24;

const BUCKETS: usize = (PER_DOUBLING * DOUBLINGS) as usize;

/// Counts for one purpose.
#[derive(Debug)]
pub struct Tally {
    /// What is counted for.
    pub epoch: String,
    requests: AtomicU64,
    errors: AtomicU64,
    agreed: AtomicU64,
    compared: AtomicU64,
    seconds: Box<[AtomicU64]>,
    news: Arc<Notify>,
}

/// What a tally has come to.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    pub epoch: String,
    /// Answered, or not answered in time.
    pub requests: u64,
    /// Of these: 5xx and no answer.
    pub errors: u64,
    /// Answers that were compared with another's, and how many of them agreed.
    pub compared: u64,
    pub agreed: u64,
    /// How many requests took so long, by the number of the bucket; empty ones are left out. Bucket `i` begins at
    /// 64 µs · 2^(i/32).
    pub seconds: BTreeMap<u32, u64>,
}

impl Tally {
    /// Counts from zero; whoever follows `news` is told of each request.
    pub fn new(epoch: &str, news: &Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            epoch: epoch.to_owned(),
            requests: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            agreed: AtomicU64::new(0),
            compared: AtomicU64::new(0),
            seconds: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            news: Arc::clone(news),
        })
    }

    /// Begins to count a request.
    pub fn begin(self: &Arc<Self>, deadline: Instant) -> Counting {
        Counting { tally: Arc::clone(self), begun: Instant::now(), deadline, over: false }
    }

    /// Counts an answer that was compared with another's.
    pub fn compared(&self, agree: bool) {
        self.compared.fetch_add(1, Ordering::Relaxed);
        self.agreed.fetch_add(u64::from(agree), Ordering::Relaxed);
        self.news.notify_one();
    }

    /// What it has come to.
    pub fn counts(&self) -> Counts {
        let read = |of: &AtomicU64| of.load(Ordering::Relaxed);
        let seconds = (0..).zip(&self.seconds).map(|(index, of)| (index, read(of))).filter(|&(_, count)| count > 0);
        Counts {
            epoch: self.epoch.clone(),
            requests: read(&self.requests),
            errors: read(&self.errors),
            compared: read(&self.compared),
            agreed: read(&self.agreed),
            seconds: seconds.collect(),
        }
    }

    fn count(&self, took: Duration, good: bool) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.errors.fetch_add(u64::from(!good), Ordering::Relaxed);
        self.seconds[bucket_of(took)].fetch_add(1, Ordering::Relaxed);
        self.news.notify_one();
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between 0 and the last bucket")]
fn bucket_of(took: Duration) -> usize {
    let place = (took.as_secs_f64() / FIRST).max(1.0).log2() * f64::from(PER_DOUBLING);
    (place as usize).min(BUCKETS - 1)
}

/// A client that leaves when so much of the time is over has waited for it to the end: its clock runs ahead of this one.
const PATIENT: f64 = 0.9;

/// A request that is counted when it has ended. One whose client left is an error if that was at the end of its time, and
/// is not counted if it was earlier.
pub struct Counting {
    tally: Arc<Tally>,
    begun: Instant,
    deadline: Instant,
    over: bool,
}

impl Counting {
    /// It has ended.
    pub fn end(mut self, good: bool) {
        self.over = true;
        self.tally.count(self.begun.elapsed(), good);
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        let given = self.deadline.saturating_duration_since(self.begun);
        if !self.over && self.begun.elapsed() >= given.mul_f64(PATIENT) {
            self.tally.count(self.begun.elapsed(), false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally() -> Arc<Tally> {
        Tally::new("1", &Arc::default())
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn buckets_are_narrow_and_never_left() {
        assert_eq!(bucket_of(Duration::ZERO), 0);
        assert_eq!(bucket_of(Duration::from_micros(64)), 0);
        assert_eq!(bucket_of(Duration::from_micros(128)), 32);
        assert_eq!(bucket_of(Duration::from_secs(86_400)), BUCKETS - 1);
        assert!(bucket_of(Duration::from_millis(100)) < bucket_of(Duration::from_millis(103)));
    }

    #[test]
    fn what_ended_is_counted_and_what_was_left_is_not() {
        let tally = tally();
        tally.begin(later()).end(true);
        tally.begin(later()).end(false);
        drop(tally.begin(later()));
        drop(tally.begin(Instant::now()));
        let (begun, tenth) =
            (Instant::now().checked_sub(Duration::from_secs(9)).expect("later"), Duration::from_secs(1));
        for (deadline, over) in [(begun + 10 * tenth, false), (begun + 11 * tenth, false)] {
            drop(Counting { tally: Arc::clone(&tally), begun, deadline, over });
        }
        tally.compared(true);
        tally.compared(false);
        let counts = tally.counts();
        assert_eq!((counts.requests, counts.errors, counts.compared, counts.agreed), (4, 3, 2, 1));
        assert_eq!(counts.seconds.values().sum::<u64>(), 4);
    }
}
