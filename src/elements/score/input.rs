//! What comes in: frames are scaled, cut into segments and handed to the engine, and shots are looked for.

use std::{sync::Arc, time::Instant};

use gst::{prelude::*, subclass::prelude::*};

use super::{
    imp::{CAT, Score},
    latency::Slowest,
    setup::Setup,
    shared::Item,
};
use crate::{
    meta::{self, Flags},
    pending::{MOST_BYTES, Span, Stay},
};
use desumnet_engine::{Request, Stream};
use desumnet_frames::{
    clip::Frame,
    segmenter::{Input, Segment, Segmenter, Stride},
    shots::{Detector, LOOK_BACK, Limits, Start},
};
use desumnet_media::scaler::{ScaleError, Scaler, nominal_spacing};

/// Segments whose frames show only some of the pictures, or run backwards: no clip for the network.
const NOT_SCORED: gst::SegmentFlags =
    gst::SegmentFlags::TRICKMODE_KEY_UNITS.union(gst::SegmentFlags::TRICKMODE_FORWARD_PREDICTED);

/// The upstream thread's own. The source pad's task comes here only to finish a live segment in time.
pub struct Intake {
    pub setup: Arc<Setup>,
    pub segmenter: Segmenter,
    pub slowest: Slowest,
    engine: Stream,
    request: Request,
    shots: Detector,
    /// Number of the next shot.
    next_shot: u64,
    scaler: Option<Scaler>,
    segment: gst::FormattedSegment<gst::ClockTime>,
    /// Frames pass as they are: see [`NOT_SCORED`].
    bypassed: bool,
    stream_id: Option<String>,
    /// Number of the stream, from 0.
    stream: u64,
    /// Number of the first segment since the stream began or was flushed. `interval` counts from it.
    first: u64,
    /// When the first frame of the open segment goes on.
    due: Option<Instant>,
    /// A damaged buffer was already warned of.
    warned: bool,
}

impl Intake {
    pub fn new(setup: Arc<Setup>) -> Self {
        let clip = setup.engine.clip;
        Self {
            segmenter: Segmenter::new(Stride::from_setting(setup.settings.frame_stride), clip),
            slowest: Slowest::default(),
            engine: setup.engine.stream(setup.settings.batching),
            request: setup.request(),
            shots: Detector::new(clip, Limits::default(), 0),
            next_shot: 0,
            setup,
            scaler: None,
            segment: gst::FormattedSegment::new(),
            bypassed: false,
            stream_id: None,
            stream: 0,
            first: 0,
            due: None,
            warned: false,
        }
    }

    /// Forgets the open segment and shot. Scores so far go on to count: it is the same stream.
    pub fn flush(&mut self) {
        self.segmenter.reset();
        self.shots.reset();
        self.segment = gst::FormattedSegment::new();
        self.bypassed = false;
        self.first = self.segmenter.next_segment().0;
    }
}

impl Score {
    pub(super) fn chain(&self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.check_flow()?;
        let live = self.is_live();
        let mut intake = self.intake();
        let input = intake.as_mut().ok_or(gst::FlowError::Flushing)?;
        if input.bypassed {
            let observe = input.setup.observes();
            drop(intake);
            return self.bypass(buffer, observe);
        }
        let (setup, engine_ahead) = (input.setup.clone(), input.engine.ahead());
        let (pts, duration) = (buffer.pts().map(|t| t.nseconds()), buffer.duration().map(|t| t.nseconds()));
        let mut latency_changes = false;
        if input.segmenter.breaks_before(pts) {
            gst::debug!(CAT, imp = self, "The timestamps jump to {:?}: the segment ends", buffer.pts());
            latency_changes |= self.finish(input);
        }
        let scaler = input.scaler.as_mut().ok_or(gst::FlowError::NotNegotiated)?;
        let mut warning = None;
        let frame = input.segmenter.samples_next().then(|| {
            scaler.scale(&buffer).unwrap_or_else(|error| {
                warning = Some(error);
                Frame::black(&setup.engine.clip)
            })
        });
        let start = frame.as_ref().and_then(|frame| input.shots.push(frame, pts));
        // Before the segment may be finished by this very frame.
        let first_of_segment = !input.segmenter.next_segment().1;
        let deadlines = if live && !setup.observes() { self.deadlines(&setup) } else { None };
        if first_of_segment {
            input.due = deadlines.map(|deadlines| deadlines.due);
        }
        let (place, segment) = input.segmenter.push(Input { pts, duration, frame });
        let pass_on = if setup.observes() {
            Some(buffer)
        } else {
            let bytes = buffer.size() as u64;
            // What a live pipeline was promised holds, however long upstream pauses.
            let due = deadlines.map(|deadlines| deadlines.due);
            let stay = Stay { sample: input.shots.frames() - 1, due, pts, bytes };
            let mut state = self.shared.lock();
            if state.flow != Err(gst::FlowError::Eos) {
                state.pending.add_frame(Item::Buffer(buffer), place, stay);
            }
            if first_of_segment {
                state.pending.open(place.segment, deadlines.map(|deadlines| deadlines.close));
            }
            None
        };
        self.tell_shots(input, start);
        if let Some(segment) = segment {
            latency_changes |= self.submit(input, &segment);
        }
        let warning = warning.filter(|_| !std::mem::replace(&mut input.warned, true));
        drop(intake);
        if latency_changes {
            self.post_latency();
        }
        if let Some(error) = warning {
            gst::element_imp_warning!(self, gst::StreamError::Decode, ("A frame was scored as black: {error}"));
        }
        if let Some(buffer) = pass_on {
            self.srcpad.push(buffer)?;
        }
        let state = if live && setup.observes() {
            // Nothing is held, and a camera waits for nobody's score.
            self.shared.lock()
        } else if deadlines.is_some() {
            // Every frame goes on when it is due. Only downstream can hold them up.
            let latency = self.promised(&setup);
            self.wait_while(|state| state.pending.is_overdue(Instant::now(), latency))
        } else {
            // Upstream waits for the engine, and for downstream to take what is ready.
            let finished = engine_ahead + LOOK_BACK.div_ceil(setup.engine.clip.frames);
            self.wait_while(|state| {
                state.under_way >= engine_ahead
                    || state.pending.finished_segments() >= finished
                    || state.pending.is_heavy(MOST_BYTES)
            })
        };
        // The frame is taken: what downstream answers since then is for the next one.
        if state.flushing { Err(gst::FlowError::Flushing) } else { Ok(gst::FlowSuccess::Ok) }
    }

    /// Lets a frame that is not scored go on.
    fn bypass(&self, buffer: gst::Buffer, observe: bool) -> Result<gst::FlowSuccess, gst::FlowError> {
        if observe {
            return self.srcpad.push(buffer);
        }
        self.shared.lock().pending.add_passing(Item::Buffer(buffer));
        let state = self.wait_while(|state| state.pending.frames() > 1);
        if state.flushing { Err(gst::FlowError::Flushing) } else { Ok(gst::FlowSuccess::Ok) }
    }

    /// What upstream is answered for a frame that is not taken. Where it pushes on although it was told of an error, downstream is tried again.
    /// Whether something is linked by now, the reconfigure event tells.
    fn check_flow(&self) -> Result<gst::FlowSuccess, gst::FlowError> {
        let mut state = self.shared.lock();
        if state.flushing {
            return Err(gst::FlowError::Flushing);
        }
        if state.flow.is_ok() {
            return state.flow;
        }
        let waits = matches!(state.flow, Err(gst::FlowError::NotLinked | gst::FlowError::Eos));
        if state.told && !waits {
            gst::debug!(CAT, imp = self, "Upstream goes on after {:?}: trying again", state.flow);
            state.flow = Ok(gst::FlowSuccess::Ok);
        } else {
            state.told = true;
        }
        state.flow
    }

    /// Ends the open segment, however short, and the open shot. Whether the latency changes.
    pub(super) fn finish(&self, input: &mut Intake) -> bool {
        let segment = input.segmenter.finish();
        let latency_changes = segment.is_some_and(|segment| self.submit(input, &segment));
        let starts = input.shots.finish();
        self.tell_shots(input, starts);
        latency_changes
    }

    /// Ends the live segment of this number, if it is still open, so that its frames are not late. The shot goes on.
    pub(super) fn close(&self, segment: u64) {
        let mut intake = self.intake();
        let Some(input) = intake.as_mut().filter(|input| input.segmenter.next_segment() == (segment, true)) else {
            return;
        };
        let Some(segment) = input.segmenter.finish() else { return };
        gst::debug!(
            CAT,
            imp = self,
            "Segment {} is finished with {} frames: more would come too late",
            segment.index,
            segment.frames
        );
        let latency_changes = self.submit(input, &segment);
        drop(intake);
        if latency_changes {
            self.post_latency();
        }
    }

    /// Shots that have started go to who waits for them: frames, and who listens to messages.
    fn tell_shots(&self, input: &mut Intake, starts: impl IntoIterator<Item = Start>) {
        let mut state = self.shared.lock();
        for start in starts {
            let pts = start.pts.map(gst::ClockTime::from_nseconds);
            let running_time = pts.and_then(|pts| input.segment.to_running_time(pts));
            gst::debug!(CAT, imp = self, "Shot {} starts at {pts:?}: {:?}", input.next_shot, start.change);
            if !input.setup.observes() {
                state.pending.add_shot(start.frame, input.next_shot);
            }
            state.pending.add_event(Item::Shot(meta::shot_message(input.next_shot, pts, running_time)));
            input.next_shot += 1;
        }
        state.pending.settle(input.shots.settled());
    }

    /// A finished segment goes to the engine, if its turn and the load allow. Whether the latency changes with its frames' pace.
    fn submit(&self, input: &mut Intake, segment: &Segment) -> bool {
        let running_time = segment.start.and_then(|t| input.segment.to_running_time(gst::ClockTime::from_nseconds(t)));
        let (index, stream) = (segment.index, input.stream);
        let span = Span::new(segment, stream, running_time.map(|t| t.nseconds()));
        let processing_deadline = self.settings().processing_deadline;
        let mut state = self.shared.lock();
        let live = state.live == Some(true);
        // Cameras that were switched on together are not to be scored all at the same time.
        let phase = if live && index > input.first { input.engine.number() } else { 0 };
        let in_turn = if live { u64::from(input.engine.interval()) } else { 1 };
        let interval = u64::from(input.setup.settings.interval) * in_turn;
        state.stats.interval = interval.try_into().unwrap_or(u32::MAX);
        if (index - input.first + phase).is_multiple_of(interval) {
            let due = live.then(|| Instant::now().checked_add(processing_deadline)).flatten();
            let due = [due, input.due.filter(|_| live)].into_iter().flatten().min();
            gst::debug!(CAT, imp = self, "Segment {index} goes to the engine: {span:?}, {} under way", state.under_way);
            // Nobody waits for what only messages tell.
            state.pending.await_score(span, due.filter(|_| !input.setup.observes()));
            state.under_way += 1;
            let reply = self.shared.reply(state.generation, stream, index);
            drop(state);
            let seconds = segment.duration as f64 * interval as f64 / 1e9;
            let request = Request { seconds, ..input.request.clone() };
            input.engine.submit(segment.clip.centre_crop(), request, due, Box::new(reply));
            if let Some(memory) = &input.setup.memory {
                memory.save_now_and_then();
            }
        } else {
            gst::debug!(CAT, imp = self, "Segment {index} is not scored: one in {interval} is");
            state.pending.carry(span, Flags::empty());
            drop(state);
        }
        self.follow_pace(input)
    }

    /// A stream starts: one with another id is nothing that scores so far say anything of.
    pub(super) fn begin_stream(&self, input: &mut Intake, id: &str) {
        if input.stream_id.as_deref() == Some(id) {
            gst::debug!(CAT, imp = self, "Stream {id} starts again: its scores go on to count");
            return;
        }
        if input.stream_id.replace(id.into()).is_some() {
            gst::info!(CAT, imp = self, "Stream {id} is another: mean prediction and ranks begin anew");
            input.request = input.setup.request();
            input.stream += 1;
            input.first = input.segmenter.next_segment().0;
        }
    }

    pub(super) fn take_segment(&self, input: &mut Intake, segment: &gst::Segment) {
        if let Some(segment) = segment.downcast_ref::<gst::ClockTime>() {
            input.segment = segment.clone();
        }
        let bypassed = segment.rate() < 0.0 || segment.flags().intersects(NOT_SCORED);
        if bypassed {
            gst::info!(
                CAT,
                imp = self,
                "Rate {}, {:?}: frames that come backwards, or key frames only, make no clips and pass without scores",
                segment.rate(),
                segment.flags()
            );
        }
        input.bypassed = bypassed;
    }

    /// # Errors
    /// Why pictures of these caps can't be scored. Buffers are not taken then.
    pub(super) fn take_caps(&self, input: &mut Intake, caps: &gst::CapsRef) -> Result<(), ScaleError> {
        input.scaler = None;
        let info = gst_video::VideoInfo::from_caps(caps).map_err(|_| ScaleError::Format(caps.to_string()))?;
        input.scaler = Some(Scaler::to(input.setup.engine.clip, &info)?);
        let spacing = nominal_spacing(&info);
        input.segmenter.set_nominal_spacing(spacing);
        input.slowest = Slowest::default();
        input.shots.set_spacing(spacing);
        self.announce(&input.setup, spacing);
        Ok(())
    }
}
