//! How long answers take lately, for hedging: a percentile over the last ten to twenty seconds.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

const PERIOD: Duration = Duration::from_secs(10);

/// So many answers are needed before a percentile of them means anything.
const ENOUGH: u64 = 20;

/// A percentile that was found counts for so long: to find it takes longer than most of what asks for it.
const FRESH: Duration = Duration::from_millis(100);

const LONGEST_MICROS: u64 = 600_000_000;

/// The latencies of a node.
#[derive(Debug)]
pub struct Latency {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    now: Histogram<u32>,
    before: Histogram<u32>,
    since: Instant,
    found: Option<(Instant, Duration)>,
}

impl Default for Latency {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "the bounds are constants")]
        let fresh = || Histogram::new_with_bounds(1, LONGEST_MICROS, 2).expect("valid bounds");
        Self { inner: Mutex::new(Inner { now: fresh(), before: fresh(), since: Instant::now(), found: None }) }
    }
}

impl Latency {
    /// Takes down how long an answer took.
    pub fn record(&self, took: Duration, at: Instant) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.turn(at);
        inner.now.saturating_record(u64::try_from(took.as_micros()).unwrap_or(LONGEST_MICROS));
    }

    /// Gives the 95th percentile; None until there are enough answers.
    pub fn p95(&self, at: Instant) -> Option<Duration> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.turn(at);
        if let Some((when, found)) = inner.found
            && at.saturating_duration_since(when) < FRESH
        {
            return Some(found);
        }
        let known = if inner.before.len() > inner.now.len() { &inner.before } else { &inner.now };
        let found = (known.len() >= ENOUGH).then(|| Duration::from_micros(known.value_at_quantile(0.95)));
        inner.found = found.map(|found| (at, found));
        found
    }
}

impl Inner {
    fn turn(&mut self, at: Instant) {
        if at.duration_since(self.since) < PERIOD {
            return;
        }
        std::mem::swap(&mut self.now, &mut self.before);
        self.now.reset();
        self.since = at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentile_is_that_of_the_last_answers() {
        let (latency, begun) = (Latency::default(), Instant::now());
        assert_eq!(latency.p95(begun), None);
        for millis in 1..=100 {
            latency.record(Duration::from_millis(millis), begun);
        }
        let p95 = latency.p95(begun).expect("enough");
        assert!(Duration::from_millis(94) < p95 && p95 < Duration::from_millis(97), "{p95:?}");
        let later = begun + 3 * PERIOD;
        latency.record(Duration::from_millis(1), begun + 2 * PERIOD);
        assert_eq!(latency.p95(later), None, "what was long ago counts no more");
    }
}
