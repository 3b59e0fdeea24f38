//! What comes in: frames are scaled, cut into segments and handed to the engine, and shots are looked for.

use std::{
    sync::{MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use gst::{prelude::*, subclass::prelude::*};

use super::{
    imp::Score,
    settings::{Mode, Settings},
    shared::{Item, State},
};
use crate::{
    clip::{ClipError, Frame, Scaler, nominal_spacing},
    engine::{Request, Stream},
    meta::{self, Flags},
    pending::{Decision, Span},
    segmenter::{Input, Segment, Segmenter, Stride},
    shots::{Detector, LOOK_BACK, Limits, Start},
};

/// What a model and the settings come to, from READY on.
pub struct Ready {
    pub stream: Stream,
    pub request: Request,
}

/// The upstream thread's own.
pub struct Intake {
    pub settings: Settings,
    pub ready: Ready,
    pub segmenter: Segmenter,
    pub shots: Detector,
    /// Number of the next shot.
    next_shot: u64,
    pub scaler: Option<Scaler>,
    pub segment: gst::FormattedSegment<gst::ClockTime>,
    /// Whether upstream is live; asked at the first frame.
    pub live: Option<bool>,
    /// A damaged buffer was already warned of.
    pub warned: bool,
}

impl Intake {
    pub fn new(settings: Settings, ready: Ready) -> Self {
        Self {
            segmenter: Segmenter::new(Stride::from_setting(settings.frame_stride), ready.stream.engine.clip),
            shots: Detector::new(ready.stream.engine.clip, Limits::default(), 0),
            next_shot: 0,
            settings,
            ready,
            scaler: None,
            segment: gst::FormattedSegment::new(),
            live: None,
            warned: false,
        }
    }
}

impl Score {
    pub(super) fn chain(&self, _pad: &gst::Pad, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        let mut intake = self.intake();
        let input = intake.as_mut().ok_or(gst::FlowError::Flushing)?;
        self.check_flow(&self.shared.lock())?;
        let observe = input.settings.mode == Mode::Observe;
        let live = *input.live.get_or_insert_with(|| self.upstream_is_live());
        let (pts, duration) = (buffer.pts().map(|t| t.nseconds()), buffer.duration().map(|t| t.nseconds()));
        if input.segmenter.breaks_before(pts) {
            self.finish(input);
        }
        let scaler = input.scaler.as_mut().ok_or(gst::FlowError::NotNegotiated)?;
        let mut warning = None;
        let frame = input.segmenter.samples_next().then(|| {
            scaler.scale(&buffer).unwrap_or_else(|error| {
                warning = Some(error);
                Frame::black(&input.ready.stream.engine.clip)
            })
        });
        let start = frame.as_ref().and_then(|frame| input.shots.push(frame, pts));
        let (place, segment) = input.segmenter.push(Input { pts, duration, frame });
        let pass_on = if observe {
            Some(buffer)
        } else {
            // What a live pipeline was promised holds, however long upstream pauses.
            let due =
                live.then(|| Instant::now().checked_add(Duration::from_nanos(self.latency().nseconds()))).flatten();
            let decision = Decision { sample: input.shots.frames() - 1, due };
            self.shared.lock().pending.add_frame(Item::Buffer(buffer), place, decision);
            None
        };
        self.tell_shots(input, start);
        if let Some(segment) = segment {
            self.submit(input, &segment);
        }
        let ahead = input.ready.stream.ahead();
        let finished = ahead + LOOK_BACK.div_ceil(input.ready.stream.engine.clip.frames);
        let warning = warning.filter(|_| !std::mem::replace(&mut input.warned, true));
        drop(intake);
        if let Some(error) = warning {
            gst::element_imp_warning!(self, gst::StreamError::Decode, ("A frame was scored as black: {error}"));
        }
        if let Some(buffer) = pass_on {
            self.srcpad.push(buffer)?;
        }
        // Upstream waits here: for the engine (files only), and for downstream to take what is ready.
        let full = |state: &State| {
            if live {
                // What waits for its score goes on at its deadline, whatever happens.
                state.pending.resolved_segments() >= finished
            } else {
                state.under_way >= ahead || state.pending.finished_segments() >= finished
            }
        };
        let state = self.wait_while(|state| full(state));
        self.check_flow(&state)
    }

    /// Waits until `busy` is over, or nobody is to wait any longer.
    pub(super) fn wait_while(&self, busy: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let ends = |state: &State| state.flushing || state.flow.is_err() || !busy(state);
        self.shared.changed.wait_while(self.shared.lock(), |state| !ends(state)).unwrap_or_else(PoisonError::into_inner)
    }

    fn check_flow(&self, state: &State) -> Result<gst::FlowSuccess, gst::FlowError> {
        if state.flushing { Err(gst::FlowError::Flushing) } else { state.flow }
    }

    /// Ends the open segment, however short, and the open shot.
    pub(super) fn finish(&self, input: &mut Intake) {
        if let Some(segment) = input.segmenter.finish() {
            self.submit(input, &segment);
        }
        let starts = input.shots.finish();
        self.tell_shots(input, starts);
    }

    /// Shots that have started go to who waits for them: frames, and who listens to messages.
    fn tell_shots(&self, input: &mut Intake, starts: impl IntoIterator<Item = Start>) {
        let mut state = self.shared.lock();
        for start in starts {
            let pts = start.pts.map(gst::ClockTime::from_nseconds);
            let running_time = pts.and_then(|pts| input.segment.to_running_time(pts));
            if input.settings.mode == Mode::Annotate {
                state.pending.add_shot(start.frame, input.next_shot);
            }
            state.pending.add_event(Item::Shot(meta::shot_message(input.next_shot, pts, running_time)));
            input.next_shot += 1;
        }
        state.pending.settle(input.shots.settled());
        self.shared.changed.notify_all();
    }

    /// A finished segment goes to the engine, if its turn and the load allow.
    fn submit(&self, input: &Intake, segment: &Segment) {
        let running_time = segment.start.and_then(|t| input.segment.to_running_time(gst::ClockTime::from_nseconds(t)));
        let span = Span::new(segment, running_time.map(|t| t.nseconds()));
        let live = input.live == Some(true);
        let processing_deadline = self.settings().processing_deadline;
        // Cameras that were switched on together are not to be scored all at the same time.
        let phase = if live && segment.index > 0 { input.ready.stream.number() } else { 0 };
        let interval = input.settings.interval * if live { input.ready.stream.interval() } else { 1 };
        let mut state = self.shared.lock();
        state.stats.interval = interval;
        if !(segment.index + phase).is_multiple_of(interval.into()) {
            state.pending.carry(span, Flags::empty());
        } else {
            let due = live.then(|| Instant::now().checked_add(processing_deadline)).flatten();
            // Nobody waits for what only messages tell.
            state.pending.await_score(span, due.filter(|_| input.settings.mode == Mode::Annotate));
            state.under_way += 1;
            let (generation, index) = (state.generation, segment.index);
            drop(state);
            let shared = self.shared.clone();
            let reply = Box::new(move |answer| shared.answer(generation, index, answer));
            input.ready.stream.submit(segment.clip.centre_crop(), input.ready.request.clone(), due, reply);
        }
        self.shared.changed.notify_all();
    }

    fn upstream_is_live(&self) -> bool {
        let mut query = gst::query::Latency::new();
        self.sinkpad.peer_query(&mut query) && query.result().0
    }

    pub(super) fn take_caps(&self, input: &mut Intake, caps: &gst::CapsRef) -> Result<(), ClipError> {
        let info = gst_video::VideoInfo::from_caps(caps).map_err(|_| ClipError::Format(caps.to_string()))?;
        input.scaler = Some(Scaler::to(input.ready.stream.engine.clip, &info)?);
        let spacing = nominal_spacing(&info);
        input.segmenter.set_nominal_spacing(spacing);
        input.shots.set_spacing(spacing);
        self.shared.lock().spacing = spacing;
        Ok(())
    }
}
