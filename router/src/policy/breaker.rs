//! The circuit breaker: what keeps failing is left alone for a while, and then tried with one request.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::plan::BreakerPlan;

/// A circuit breaker. Closed it lets everything through, open nothing, half open one request at a time.
#[derive(Debug)]
pub struct Breaker {
    failures: usize,
    window: Duration,
    cooldown: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Closed {
        failed_at: VecDeque<Instant>,
    },
    Open {
        until: Instant,
    },
    /// A probe is under way.
    HalfOpen,
}

impl Breaker {
    /// A closed breaker.
    pub fn new(plan: &BreakerPlan) -> Arc<Self> {
        Arc::new(Self {
            failures: plan.failures.max(1) as usize,
            window: Duration::from_millis(plan.window_millis),
            cooldown: Duration::from_millis(plan.cooldown_millis),
            state: Mutex::new(State::Closed { failed_at: VecDeque::new() }),
        })
    }

    /// Lets a request through, or tells how long it takes until one may try.
    ///
    /// # Arguments
    /// * `overdue` - if nothing is told of it until then, that speaks against the target.
    ///
    /// # Errors
    /// The circuit is open; zero if a probe is under way.
    pub fn admit(self: &Arc<Self>, now: Instant, overdue: Instant) -> Result<Pass, Duration> {
        let pass = |probe| Pass { breaker: Arc::clone(self), probe, overdue, told: false };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match *state {
            State::Closed { .. } => Ok(pass(false)),
            State::Open { until } if until > now => Err(until - now),
            State::Open { .. } => {
                *state = State::HalfOpen;
                Ok(pass(true))
            }
            State::HalfOpen => Err(Duration::ZERO),
        }
    }

    /// Whether requests are let through at present.
    pub fn is_open(&self, now: Instant) -> bool {
        match *self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Closed { .. } => false,
            State::Open { until } => until > now,
            State::HalfOpen => true,
        }
    }

    fn succeeded(&self, probe: bool) {
        if probe {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            *state = State::Closed { failed_at: VecDeque::new() };
        }
    }

    fn failed(&self, probe: bool, now: Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if probe {
            *state = State::Open { until: now + self.cooldown };
            return;
        }
        // What was sent before the circuit opened says nothing new.
        let State::Closed { failed_at } = &mut *state else { return };
        while failed_at.front().is_some_and(|&at| now.duration_since(at) > self.window) {
            failed_at.pop_front();
        }
        failed_at.push_back(now);
        if failed_at.len() >= self.failures {
            *state = State::Open { until: now + self.cooldown };
        }
    }
}

/// The right to one request; how it went is to be told, unless it says nothing of the target.
#[derive(Debug)]
pub struct Pass {
    breaker: Arc<Breaker>,
    probe: bool,
    overdue: Instant,
    told: bool,
}

impl Pass {
    /// It was answered.
    pub fn succeeded(mut self) {
        self.told = true;
        self.breaker.succeeded(self.probe);
    }

    /// It failed in a way that speaks against the target.
    pub fn failed(mut self, now: Instant) {
        self.told = true;
        self.breaker.failed(self.probe, now);
    }
}

impl Drop for Pass {
    /// What was given up at the deadline has failed. A probe that was given up before, as by a client that left, tells
    /// nothing: the next request probes.
    fn drop(&mut self) {
        if self.told {
            return;
        }
        let now = Instant::now();
        if now >= self.overdue {
            self.breaker.failed(self.probe, now);
        } else if self.probe {
            let mut state = self.breaker.state.lock().unwrap_or_else(PoisonError::into_inner);
            *state = State::Open { until: now };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn breaker() -> Arc<Breaker> {
        Breaker::new(&BreakerPlan { failures: 2, window_millis: 1000, cooldown_millis: 5000 })
    }

    fn admit(breaker: &Arc<Breaker>, now: Instant) -> Result<Pass, Duration> {
        breaker.admit(now, now + 60 * SECOND)
    }

    fn fail(breaker: &Arc<Breaker>, now: Instant) {
        admit(breaker, now).expect("closed").failed(now);
    }

    #[test]
    fn opens_after_failures_within_the_window_only() {
        let (breaker, now) = (breaker(), Instant::now());
        fail(&breaker, now);
        fail(&breaker, now + 2 * SECOND);
        assert!(!breaker.is_open(now + 2 * SECOND));
        fail(&breaker, now + 2 * SECOND);
        assert_eq!(admit(&breaker, now + 3 * SECOND).expect_err("open"), 4 * SECOND);
    }

    #[test]
    fn half_open_lets_one_probe_through_and_closes_with_its_success() {
        let (breaker, now) = (breaker(), Instant::now());
        fail(&breaker, now);
        fail(&breaker, now);
        let probe = admit(&breaker, now + 6 * SECOND).expect("half open");
        assert_eq!(admit(&breaker, now + 6 * SECOND).expect_err("one at a time"), Duration::ZERO);
        probe.succeeded();
        fail(&breaker, now + 7 * SECOND);
        assert!(!breaker.is_open(now + 7 * SECOND), "earlier failures are forgotten");
    }

    #[test]
    fn a_failed_probe_opens_it_again() {
        let (breaker, now) = (breaker(), Instant::now());
        fail(&breaker, now);
        fail(&breaker, now);
        admit(&breaker, now + 6 * SECOND).expect("half open").failed(now + 6 * SECOND);
        assert_eq!(admit(&breaker, now + 7 * SECOND).expect_err("open"), 4 * SECOND);
    }

    #[test]
    fn a_probe_that_is_given_up_lets_the_next_one_try() {
        let (breaker, now) = (breaker(), Instant::now().checked_sub(10 * SECOND).unwrap());
        fail(&breaker, now);
        fail(&breaker, now);
        drop(admit(&breaker, now + 6 * SECOND).expect("half open"));
        admit(&breaker, Instant::now()).expect("the next probes").succeeded();
        assert!(!breaker.is_open(Instant::now()));
    }

    #[test]
    fn what_was_under_way_when_it_opened_counts_no_more() {
        let (breaker, now) = (breaker(), Instant::now());
        let late = admit(&breaker, now).expect("closed");
        fail(&breaker, now);
        fail(&breaker, now);
        late.failed(now + 4 * SECOND);
        assert_eq!(admit(&breaker, now + 4 * SECOND).expect_err("open"), SECOND);
    }

    #[test]
    fn what_is_given_up_at_its_deadline_has_failed() {
        let (breaker, now) = (breaker(), Instant::now());
        for _ in 0..2 {
            drop(breaker.admit(now, now + 60 * SECOND));
        }
        assert!(!breaker.is_open(Instant::now()), "who left before says nothing");
        for _ in 0..2 {
            drop(breaker.admit(now, now));
        }
        assert!(breaker.is_open(Instant::now()));
        let later = now + 6 * SECOND;
        drop(breaker.admit(later, now).expect("half open"));
        assert!(breaker.is_open(Instant::now()), "the probe has failed");
    }
}
