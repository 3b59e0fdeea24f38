//! What the upstream thread, the source pad's task and the engine's replies share.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    engine::{Score, ScoreError},
    pending::Pending,
};

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
    /// Every how manieth segment is scored now.
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
    /// Pads are inactive or flushing: nobody is to wait.
    pub flushing: bool,
    /// EOS has come in.
    pub eos: bool,
    /// Time between frames by the newest caps that came in, ns; 0 where they tell none.
    pub spacing: u64,
    /// Rises when segments are thrown away, so that answers for them are too.
    pub generation: u64,
    pub stats: Stats,
    /// The newest failure, until it is posted.
    pub failure: Option<ScoreError>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            pending: Pending::default(),
            busy: false,
            under_way: 0,
            flow: Ok(gst::FlowSuccess::Ok),
            flushing: true,
            eos: false,
            spacing: 0,
            generation: 0,
            stats: Stats::default(),
            failure: None,
        }
    }
}

/// Lives as long as the engine may still reply, which may be longer than the element.
#[derive(Default)]
pub struct Shared {
    pub state: Mutex<State>,
    /// Anything in `state` that somebody may wait for.
    pub changed: Condvar,
}

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The engine's answer for a segment.
    pub fn answer(&self, generation: u64, index: u64, answer: Result<Score, ScoreError>) {
        let mut state = self.lock();
        state.under_way -= 1;
        self.changed.notify_all();
        if state.generation != generation {
            return;
        }
        match &answer {
            Ok(score) => {
                state.stats.scored += 1;
                state.stats.inference += score.inference;
                state.stats.worst = state.stats.worst.max(score.inference);
            }
            Err(ScoreError::Shed) => state.stats.shed += 1,
            Err(error) => state.failure = Some(error.clone()),
        }
        state.pending.answer(index, answer);
    }
}
