//! How long frames stay: what live pipelines are promised, and how many buffers upstream's pools need meanwhile.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use gst::{prelude::*, subclass::prelude::*};

use super::{
    imp::{CAT, Score},
    input::Intake,
    setup::Setup,
};
use crate::pending::{MOST_BYTES, MOST_OVERDUE};
use desumnet_media::scaler::nominal_spacing;

/// Time between frames that the latency counts with where neither caps nor frames tell, ns.
const USUAL_SPACING: u64 = 40_000_000;
/// Segments whose slowest tells the time between frames.
const SEGMENTS: usize = 16;

/// The time between frames that is told to the pipeline: of the slowest of the latest segments, so that it rises at once and falls late.
#[derive(Default)]
pub struct Slowest {
    latest: VecDeque<u64>,
}

impl Slowest {
    /// A segment's frames came `spacing` ns apart. What to tell instead of `told`, ns, if that is a tenth off or more.
    pub fn add(&mut self, spacing: u64, told: u64) -> Option<u64> {
        if spacing == 0 {
            return None;
        }
        if self.latest.len() == SEGMENTS {
            self.latest.pop_front();
        }
        self.latest.push_back(spacing);
        self.latest.iter().max().copied().filter(|slowest| slowest.abs_diff(told) >= told.div_ceil(10))
    }
}

/// When a live frame goes on.
#[derive(Clone, Copy)]
pub struct Deadlines {
    /// Whatever it lacks.
    pub due: Instant,
    /// Its segment, if it is the first of one, is finished by then as it is: the engine has the rest of the time.
    pub close: Instant,
}

impl Score {
    pub(super) fn post_latency(&self) {
        let element = self.obj();
        let _ = element.post_message(gst::message::Latency::builder().src(&*element).build());
    }

    /// How long frames may stay in a live pipeline, ns: [`Setup::frames_held`], and until their score must be there.
    fn latency(&self, setup: &Setup) -> u64 {
        let spacing = match self.shared.lock().spacing {
            0 => USUAL_SPACING,
            spacing => spacing,
        };
        let held = u64::from(setup.frames_held(spacing)).saturating_mul(spacing);
        let deadline = self.settings().processing_deadline.as_nanos() as u64;
        held.saturating_add(deadline).min(gst::ClockTime::MAX.nseconds())
    }

    /// The latency that the pipeline counts with, ns: the one told last.
    pub(super) fn promised(&self, setup: &Setup) -> u64 {
        let promised = self.shared.lock().promised;
        promised.unwrap_or_else(|| self.latency(setup))
    }

    /// New caps: frames are `spacing` ns apart by them, 0 if they don't say. What the pipeline was told before them, it was told of others.
    pub(super) fn announce(&self, setup: &Setup, spacing: u64) {
        self.shared.lock().spacing = spacing;
        let latency = self.latency(setup);
        let mut state = self.shared.lock();
        state.promised = state.promised.map(|_| latency);
        gst::debug!(
            CAT,
            imp = self,
            "By the caps, frames come {spacing} ns apart: they stay for {latency} ns at most if live"
        );
    }

    /// For a live frame that comes in now; `None` if it may stay for ever.
    pub(super) fn deadlines(&self, setup: &Setup) -> Option<Deadlines> {
        let stay = Duration::from_nanos(self.promised(setup));
        let scoring = self.settings().processing_deadline.min(stay) / 2;
        let now = Instant::now();
        Some(Deadlines { due: now.checked_add(stay)?, close: now.checked_add(stay - scoring)? })
    }

    pub(super) fn answer_latency(&self, query: &mut gst::query::Latency) -> bool {
        if !self.sinkpad.peer_query(query.query_mut()) {
            return false;
        }
        let (live, mut min, mut max) = query.result();
        self.set_live(live);
        if live && let Some(setup) = self.setup().filter(|setup| !setup.observes()) {
            let ours = self.latency(&setup);
            self.shared.lock().promised = Some(ours);
            let ours = gst::ClockTime::from_nseconds(ours);
            min = min.saturating_add(ours);
            // Beyond that, frames may be overdue for a while.
            let overdue = gst::ClockTime::from_nseconds(MOST_OVERDUE.as_nanos() as u64);
            max = max.map(|max| max.saturating_add(ours).saturating_add(overdue));
            gst::debug!(CAT, imp = self, "Latency: {ours} of our own, {min} to {max:?} in all");
        }
        query.set(live, min, max);
        true
    }

    fn set_live(&self, live: bool) {
        let mut state = self.shared.lock();
        if state.live != Some(live) {
            state.live = Some(live);
            gst::info!(CAT, imp = self, "Upstream is {}", if live { "live" } else { "not live: it can wait" });
        }
    }

    /// Whether upstream is live. It is asked again after every start of a stream, new caps, a new segment, and whenever the pipeline asks for
    /// the latency. Not while anything is locked.
    pub(super) fn is_live(&self) -> bool {
        if let Some(live) = self.shared.lock().live {
            return live;
        }
        let mut query = gst::query::Latency::new();
        let live = self.sinkpad.peer_query(&mut query) && query.result().0;
        self.set_live(live);
        live
    }

    /// After a segment of a live stream: whether the latency changes with the time between its frames. To be posted.
    pub(super) fn follow_pace(&self, input: &mut Intake) -> bool {
        let mut state = self.shared.lock();
        if input.setup.observes() || state.live != Some(true) {
            return false;
        }
        let told = if state.spacing == 0 { USUAL_SPACING } else { state.spacing };
        let Some(spacing) = input.slowest.add(input.segmenter.spacing(), told) else { return false };
        state.spacing = spacing;
        drop(state);
        gst::info!(CAT, imp = self, "Frames come {spacing} ns apart, not {told} ns: the latency changes");
        true
    }

    /// Upstream's pool must not run dry while a segment fills, and a batch is scored or its shots are looked for.
    pub(super) fn answer_allocation(&self, query: &mut gst::query::Allocation) -> bool {
        let answered = self.srcpad.peer_query(query.query_mut());
        let Some(setup) = self.setup().filter(|setup| !setup.observes()) else { return answered };
        let Some(info) = query.get().0.and_then(|caps| gst_video::VideoInfo::from_caps(caps).ok()) else {
            return answered;
        };
        let spacing = nominal_spacing(&info);
        let in_bytes = u32::try_from(MOST_BYTES / (info.size() as u64).max(1)).unwrap_or(u32::MAX);
        let of_segment = setup.frames_held(spacing);
        let batch = setup.engine.batch_size(setup.settings.batching) as u32;
        let held = of_segment.saturating_mul(1 + batch).min(in_bytes.max(of_segment.saturating_mul(2)));
        // A pool that grows has them when they are needed; one that does not, has to have them from the start.
        let in_latency = if self.is_live() { self.promised(&setup).checked_div(spacing).unwrap_or(0) } else { 0 };
        let most = held.max(u32::try_from(in_latency).unwrap_or(u32::MAX));
        gst::debug!(
            CAT,
            imp = self,
            "Pools are asked for {held} more buffers, and for {most} more where they are limited"
        );
        let pools: Vec<_> = query.allocation_pools().collect();
        for (i, (pool, size, min, max)) in pools.iter().enumerate() {
            let (min, max) = (min.saturating_add(held), if *max == 0 { 0 } else { max.saturating_add(most) });
            query.set_nth_allocation_pool(i as u32, pool.as_ref(), *size, min, max);
        }
        if pools.is_empty() {
            query.add_allocation_pool(None::<&gst::BufferPool>, info.size() as u32, held, 0);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_between_frames_rises_at_once_and_falls_late() {
        let (mut slowest, mut told) = (Slowest::default(), 40);
        let mut follow = |spacing| {
            told = slowest.add(spacing, told).unwrap_or(told);
            told
        };
        // What is less than a tenth off is not told.
        assert_eq!([40, 43, 37, 0].map(&mut follow), [40; 4]);
        assert_eq!([44, 100, 100, 40].map(&mut follow), [44, 100, 100, 100]);
        let rest: Vec<u64> = (0..16).map(|_| follow(40)).collect();
        assert_eq!(rest, [vec![100; 14], vec![40; 2]].concat());
    }
}
