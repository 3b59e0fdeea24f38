//! Work that waits for a disk: given by a thread that never waits, taken by one that may have to.
//!
//! It is bounded by bytes and by time. Whoever gives asks before whether there is room, and decides what is left out.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// No more is taken once this much waits, bytes.
    pub bytes: usize,
    /// No more is taken once something has waited this long.
    pub time: Duration,
}

struct Waiting<T> {
    work: T,
    bytes: usize,
    since: Instant,
}

struct State<T> {
    waiting: VecDeque<Waiting<T>>,
    bytes: usize,
    /// Pieces that were taken out.
    taken: u64,
    closed: bool,
}

impl<T> State<T> {
    fn reaches(&self, bytes: usize, time: Duration) -> bool {
        self.bytes >= bytes || self.waiting.front().is_some_and(|oldest| oldest.since.elapsed() >= time)
    }
}

struct Shared<T> {
    state: Mutex<State<T>>,
    news: Condvar,
}

impl<T> Shared<T> {
    fn locked(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A step of the work, or that there is none.
#[derive(Debug, PartialEq)]
pub enum Taken<T> {
    Work(T),
    /// Nothing came in time.
    Nothing,
    /// Nothing will come any more.
    Over,
}

/// The side that gives. Dropped, it ends the work after what waits.
pub struct Giver<T> {
    shared: Arc<Shared<T>>,
    bounds: Bounds,
}

/// The side that takes.
pub struct Taker<T>(Arc<Shared<T>>);

/// Both sides of an empty backlog.
pub fn backlog<T>(bounds: Bounds) -> (Giver<T>, Taker<T>) {
    let state = State { waiting: VecDeque::new(), bytes: 0, taken: 0, closed: false };
    let shared = Arc::new(Shared { state: Mutex::new(state), news: Condvar::new() });
    (Giver { shared: shared.clone(), bounds }, Taker(shared))
}

impl<T> Giver<T> {
    /// Adds a piece of work, whatever waits already. Never waits.
    pub fn give(&self, work: T, bytes: usize) {
        let mut state = self.shared.locked();
        state.bytes += bytes;
        state.waiting.push_back(Waiting { work, bytes, since: Instant::now() });
        drop(state);
        self.shared.news.notify_one();
    }

    /// Whether no more may wait.
    pub fn is_full(&self) -> bool {
        self.shared.locked().reaches(self.bounds.bytes, self.bounds.time)
    }

    /// Whether half of what may wait does.
    pub fn is_half_full(&self) -> bool {
        self.shared.locked().reaches(self.bounds.bytes / 2, self.bounds.time / 2)
    }

    /// How long the oldest piece has waited.
    pub fn lags(&self) -> Duration {
        self.shared.locked().waiting.front().map_or(Duration::ZERO, |oldest| oldest.since.elapsed())
    }

    /// How many pieces were taken out so far.
    pub fn taken(&self) -> u64 {
        self.shared.locked().taken
    }

    /// No more is given.
    pub fn close(&self) {
        self.shared.locked().closed = true;
        self.shared.news.notify_one();
    }
}

impl<T> Drop for Giver<T> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<T> Taker<T> {
    /// The oldest piece of work; waits for one as long as `patience`.
    pub fn take(&self, patience: Duration) -> Taken<T> {
        let empty = |state: &mut State<T>| state.waiting.is_empty() && !state.closed;
        let waited = self.0.news.wait_timeout_while(self.0.locked(), patience, empty);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match state.waiting.pop_front() {
            Some(Waiting { work, bytes, .. }) => {
                state.bytes -= bytes;
                state.taken += 1;
                Taken::Work(work)
            }
            None if state.closed => Taken::Over,
            None => Taken::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_comes_out_as_it_went_in_and_then_it_is_over() {
        let (giver, taker) = backlog(Bounds { bytes: 100, time: Duration::MAX });
        giver.give("a", 60);
        assert!(giver.is_half_full() && !giver.is_full());
        giver.give("b", 40);
        assert!(giver.is_full());
        assert_eq!(taker.take(Duration::ZERO), Taken::Work("a"));
        assert!(!giver.is_half_full() && giver.lags() > Duration::ZERO);
        assert_eq!(taker.take(Duration::ZERO), Taken::Work("b"));
        assert_eq!((taker.take(Duration::ZERO), giver.lags(), giver.taken()), (Taken::Nothing, Duration::ZERO, 2));
        giver.give("c", 0);
        drop(giver);
        assert_eq!((taker.take(Duration::MAX), taker.take(Duration::MAX)), (Taken::Work("c"), Taken::Over));
    }

    #[test]
    fn what_has_waited_too_long_fills_it() {
        let (giver, taker) = backlog(Bounds { bytes: 100, time: Duration::ZERO });
        assert!(!giver.is_full());
        giver.give((), 0);
        assert!(giver.is_full());
        taker.take(Duration::ZERO);
        assert!(!giver.is_full());
    }
}
