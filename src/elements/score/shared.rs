//! What the upstream thread, the source pad's task and the engine's replies share.

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::pending::Pending;
use desumnet_engine::{Score, ScoreError};

pub enum Item {
    Buffer(gst::Buffer),
    Event(gst::Event),
    /// A message's content.
    Shot(gst::Structure),
}

/// Counters behind the `stats` property.
#[derive(Default)]
pub struct Stats {
    pub segments: u64,
    pub late: u64,
    /// Given up by the engine, which had no time for them.
    pub shed: u64,
    pub failed: u64,
    /// One segment in so many is scored now.
    pub interval: u32,
    pub scored: u64,
    pub inference: Duration,
    pub worst: Duration,
}

impl Stats {
    pub fn structure(&self) -> gst::Structure {
        let mean = self.inference.as_nanos() / u128::from(self.scored.max(1));
        gst::Structure::builder("desumnet-stats")
            .field("segments", self.segments)
            .field("late", self.late)
            .field("shed", self.shed)
            .field("failed", self.failed)
            .field("interval", self.interval)
            .field("mean-inference-time", mean as u64)
            .field("worst-inference-time", self.worst.as_nanos() as u64)
            .build()
    }
}

pub struct State {
    pub pending: Pending<Item>,
    /// The source pad's task is still at what it took out of `pending`.
    pub busy: bool,
    /// Segments that the engine has not answered for, thrown away or not.
    pub under_way: usize,
    /// What downstream said last.
    pub flow: Result<gst::FlowSuccess, gst::FlowError>,
    /// Upstream has heard of the error in `flow`.
    pub told: bool,
    /// Pads are inactive or flushing: nobody is to wait.
    pub flushing: bool,
    /// EOS has come in.
    pub eos: bool,
    /// Whether upstream is live; `None`: it is to be asked.
    pub live: Option<bool>,
    /// Time between frames that the latency counts with, ns; 0: not known.
    pub spacing: u64,
    /// How long frames may stay, ns, as the latency query was answered last.
    pub promised: Option<u64>,
    /// Rises when segments are thrown away, so that answers for them are too.
    pub generation: u64,
    pub stats: Stats,
    /// The engine's newest answer was a failure.
    pub failing: bool,
    /// The first failure of a row, until it is posted.
    pub failure: Option<ScoreError>,
}

impl State {
    /// Downstream takes nothing until something changes. After its EOS, it still takes events.
    pub fn is_stopped(&self) -> bool {
        self.flow.is_err_and(|error| error != gst::FlowError::Eos)
    }

    /// Begins anew, but for what the engine still owes answers for, and what is the pads'.
    pub fn restart(&mut self) {
        *self = Self {
            busy: self.busy,
            under_way: self.under_way,
            flow: self.flow,
            flushing: self.flushing,
            generation: self.generation + 1,
            ..Self::default()
        };
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            pending: Pending::default(),
            busy: false,
            under_way: 0,
            flow: Ok(gst::FlowSuccess::Ok),
            told: false,
            flushing: true,
            eos: false,
            live: None,
            spacing: 0,
            promised: None,
            generation: 0,
            stats: Stats::default(),
            failing: false,
            failure: None,
        }
    }
}

/// Lives as long as the engine may still reply, which may be longer than the element.
///
/// Threads wait here for conditions on [`State`] of their own: upstream for room, the source pad's task for something to do, EOS and drain
/// for the end of both. Nobody has to know who waits for what: whoever has changed the state wakes all of them, see [`Locked`].
#[derive(Default)]
pub struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// The locked state. If it was changed through this, everybody who waits looks again once it is unlocked: there is no other way to change
/// it, and so no change that a waiter misses.
pub struct Locked<'a> {
    // Unlocked first, then the others are woken.
    state: MutexGuard<'a, State>,
    wake: Wake<'a>,
}

/// Wakes who waits, when it is dropped, if that is needed.
struct Wake<'a> {
    changed: &'a Condvar,
    needed: bool,
}

impl Wake<'_> {
    fn now(&mut self) {
        if std::mem::take(&mut self.needed) {
            self.changed.notify_all();
        }
    }
}

impl Drop for Wake<'_> {
    fn drop(&mut self) {
        self.now();
    }
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        self.wake.needed = true;
        &mut self.state
    }
}

impl Locked<'_> {
    /// Unlocks it until somebody changes it, or until the instant.
    pub fn wait(self, until: Option<Instant>) -> Self {
        let Self { state, mut wake } = self;
        wake.now();
        let state = match until {
            None => wake.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(until) => {
                let rest = until.saturating_duration_since(Instant::now());
                wake.changed.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0
            }
        };
        Self { state, wake }
    }

    /// Waits while `busy`.
    pub fn wait_while(mut self, busy: impl Fn(&State) -> bool) -> Self {
        while busy(&self) {
            self = self.wait(None);
        }
        self
    }
}

impl Shared {
    pub fn lock(&self) -> Locked<'_> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        Locked { state, wake: Wake { changed: &self.changed, needed: false } }
    }

    /// Takes the engine's answer for a segment of this stream to where it is waited for.
    pub fn reply(
        self: &Arc<Self>,
        generation: u64,
        stream: u64,
        index: u64,
    ) -> impl FnOnce(Result<Score, ScoreError>) + Send + use<> {
        let shared = self.clone();
        move |answer| shared.answer(generation, stream, index, answer)
    }

    fn answer(&self, generation: u64, stream: u64, index: u64, answer: Result<Score, ScoreError>) {
        let mut state = self.lock();
        state.under_way -= 1;
        if state.generation != generation {
            return;
        }
        match &answer {
            Ok(score) => {
                state.failing = false;
                state.stats.scored += 1;
                state.stats.inference += score.inference;
                state.stats.worst = state.stats.worst.max(score.inference);
            }
            Err(ScoreError::Shed) => state.stats.shed += 1,
            // The element stops.
            Err(ScoreError::Stopped) => {}
            Err(error) => {
                if !std::mem::replace(&mut state.failing, true) {
                    state.failure = Some(error.clone());
                }
            }
        }
        state.pending.answer(stream, index, answer);
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;
    use crate::pending::Step;

    /// Asserts that a thread which waits while `busy` goes on after `change`, which does nothing but change the state.
    fn assert_woken(prepare: impl Fn(&mut State), busy: fn(&State) -> bool, change: impl Fn(&mut State)) {
        let shared = Arc::new(Shared::default());
        prepare(&mut shared.lock());
        let (sender, steps) = mpsc::channel();
        let (waiter, entered) = (shared.clone(), sender.clone());
        let waiting = thread::spawn(move || {
            let state = waiter.lock();
            assert!(busy(&state));
            entered.send("waits").unwrap();
            drop(state.wait_while(busy));
            sender.send("goes on").unwrap();
        });
        assert_eq!(steps.recv(), Ok("waits"));
        // The lock is free only once it waits.
        change(&mut shared.lock());
        assert_eq!(steps.recv_timeout(Duration::from_secs(20)), Ok("goes on"));
        waiting.join().unwrap();
    }

    #[test]
    fn every_change_wakes_who_waits_for_it() {
        assert_woken(|state| state.busy = true, |state| state.busy, |state| state.busy = false);
        assert_woken(|state| state.under_way = 2, |state| state.under_way > 1, |state| state.under_way -= 1);
        assert_woken(|_| {}, |state| state.live.is_none(), |state| state.live = Some(true));
        assert_woken(|_| {}, |state| state.flow.is_ok(), |state| state.flow = Err(gst::FlowError::NotLinked));
        let events = |state: &mut State| state.pending.add_event(Item::Shot(gst::Structure::new_empty("shot")));
        assert_woken(events, |state| !state.pending.is_empty(), |state| drop(state.pending.clear()));
    }

    #[test]
    fn a_step_that_only_forgets_segments_wakes_upstream() {
        gst::init().unwrap();
        // As an observer's task does: the segment is resolved, there are no frames, and so it is forgotten.
        let prepare = |state: &mut State| {
            state.pending.carry(crate::pending::tests::span(0, 16), crate::meta::Flags::empty());
            assert!(matches!(state.pending.step(Instant::now()), Step::Resolved(_)));
        };
        let full = |state: &State| state.pending.finished_segments() >= 1;
        assert_woken(prepare, full, |state| assert!(matches!(state.pending.step(Instant::now()), Step::Wait(None))));
    }

    #[test]
    fn looking_wakes_nobody() {
        let shared = Shared::default();
        let state = shared.lock();
        assert!(!state.busy && !state.wake.needed);
    }
}
