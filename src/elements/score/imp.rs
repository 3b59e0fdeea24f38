//! The element: pads, events and states around the segmenter, the engine and the queue of what waits.
//!
//! The upstream thread scales frames, cuts segments and hands them to the engine; the source pad's task pushes what is
//! released. Locks, in this order: `settings`, `input`, `shared.state`. None is held while pushing, posting or querying.

use std::{
    sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use gst::{prelude::*, subclass::prelude::*};

use super::settings::{Mode, PROPERTIES, Settings};
use crate::{
    clip::{ClipError, FRAMES, Frame, Scaler},
    decode::nominal_spacing,
    engine::{Category, Engine, Request, Score as SegmentScore, ScoreError},
    meta::{self, Flags, ImportanceMeta},
    pending::{Outcome, Pending, Span, Step},
    segmenter::{Input, Segment, Segmenter, Stride},
};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("desumnet", gst::DebugColorFlags::empty(), Some("DeSumNet importance scoring"))
});

/// Segments that the engine may have of one element: one under way and one next.
const UNDER_WAY: usize = 2;
/// Finished segments whose frames may wait to be pushed before upstream has to.
const FINISHED: usize = 3;
/// Time between frames that the latency counts with where the caps tell none, ns.
const USUAL_SPACING: u64 = 40_000_000;

/// What a model and the settings come to, from READY on.
struct Ready {
    engine: Arc<Engine>,
    request: Request,
}

/// The upstream thread's own.
struct Intake {
    settings: Settings,
    ready: Ready,
    segmenter: Segmenter,
    scaler: Option<Scaler>,
    segment: gst::FormattedSegment<gst::ClockTime>,
    /// Whether upstream is live; asked at the first frame.
    live: Option<bool>,
    /// A damaged buffer was already warned of.
    warned: bool,
}

enum Item {
    Buffer(gst::Buffer),
    Event(gst::Event),
}

/// Counters behind the `stats` property.
#[derive(Default)]
struct Stats {
    segments: u64,
    late: u64,
    failed: u64,
    scored: u64,
    inference: Duration,
    worst: Duration,
}

struct State {
    pending: Pending<Item>,
    /// The source pad's task is still at what it took out of `pending`.
    busy: bool,
    /// Segments that the engine has not answered for, thrown away or not.
    under_way: usize,
    /// What downstream said last.
    flow: Result<gst::FlowSuccess, gst::FlowError>,
    /// Pads are inactive or flushing: nobody is to wait.
    flushing: bool,
    /// EOS has come in.
    eos: bool,
    /// Time between frames by the newest caps that came in, ns; 0 where they tell none.
    spacing: u64,
    /// Rises when segments are thrown away, so that answers for them are too.
    generation: u64,
    stats: Stats,
    /// The newest failure, until it is posted.
    failure: Option<ScoreError>,
}

/// What the engine's replies reach, however long the element lives.
struct Shared {
    state: Mutex<State>,
    /// Anything in `state` that somebody may wait for.
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, generation: u64, index: u64, answer: Result<SegmentScore, ScoreError>) {
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
            Err(error) => state.failure = Some(error.clone()),
        }
        state.pending.answer(index, answer);
    }
}

pub struct Score {
    sinkpad: gst::Pad,
    srcpad: gst::Pad,
    settings: Mutex<Settings>,
    intake: Mutex<Option<Intake>>,
    shared: Arc<Shared>,
    /// Names for the numbers in outcomes; set with the model.
    categories: Mutex<Arc<Vec<String>>>,
    /// Keeps the model loaded from READY on.
    engine: Mutex<Option<Arc<Engine>>>,
}

#[glib::object_subclass]
impl ObjectSubclass for Score {
    const NAME: &'static str = "DeSumNetScore";
    type Type = super::Score;
    type ParentType = gst::Element;

    fn with_class(class: &Self::Class) -> Self {
        let sinkpad = gst::Pad::builder_from_template(&class.pad_template("sink").expect("template"))
            .chain_function(|pad, parent, buffer| {
                Self::catch_panic_pad_function(parent, || Err(gst::FlowError::Error), |this| this.chain(pad, buffer))
            })
            .event_function(|pad, parent, event| {
                Self::catch_panic_pad_function(parent, || false, |this| this.sink_event(pad, event))
            })
            .query_function(|pad, parent, query| {
                Self::catch_panic_pad_function(parent, || false, |this| this.sink_query(pad, query))
            })
            .flags(gst::PadFlags::PROXY_CAPS)
            .build();
        let srcpad = gst::Pad::builder_from_template(&class.pad_template("src").expect("template"))
            .activatemode_function(|pad, parent, mode, active| {
                Self::catch_panic_pad_function(
                    parent,
                    || Err(gst::loggable_error!(CAT, "Panic activating the source pad")),
                    |this| this.src_activatemode(pad, mode, active),
                )
            })
            .query_function(|pad, parent, query| {
                Self::catch_panic_pad_function(parent, || false, |this| this.src_query(pad, query))
            })
            .flags(gst::PadFlags::PROXY_CAPS)
            .build();
        let state = State {
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
        };
        Self {
            sinkpad,
            srcpad,
            settings: Mutex::default(),
            intake: Mutex::default(),
            shared: Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() }),
            categories: Mutex::default(),
            engine: Mutex::default(),
        }
    }
}

impl ObjectImpl for Score {
    fn constructed(&self) {
        self.parent_constructed();
        let element = self.obj();
        element.add_pad(&self.sinkpad).expect("a new element has no pads");
        element.add_pad(&self.srcpad).expect("a new element has no pads");
    }

    fn properties() -> &'static [glib::ParamSpec] {
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        self.settings().set(pspec.name(), value);
        if pspec.name() == "processing-deadline" {
            self.post_latency();
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match pspec.name() {
            "stats" => self.stats().to_value(),
            name => self.settings().get(name),
        }
    }
}

impl GstObjectImpl for Score {}

impl ElementImpl for Score {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "DeSumNet importance scorer",
                "Filter/Analyzer/Video",
                "Scores how much every moment of a video matters and puts the importance on its buffers",
                "The gst-plugin-desumnet developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> =
            LazyLock::new(|| crate::elements::video_templates(&gst_video::VideoCapsBuilder::new().build()));
        &TEMPLATES
    }

    fn change_state(&self, transition: gst::StateChange) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        match transition {
            // A model that can't be used is found out before anything is recorded.
            gst::StateChange::NullToReady => drop(self.prepare()?),
            gst::StateChange::ReadyToPaused => {
                let (settings, ready) = self.prepare()?;
                let mut state = self.shared.lock();
                state.pending = Pending::default();
                state.stats = Stats::default();
                state.generation += 1;
                state.eos = false;
                state.spacing = 0;
                drop(state);
                *self.intake() = Some(Intake {
                    segmenter: Segmenter::new(Stride::from_setting(settings.frame_stride)),
                    settings,
                    ready,
                    scaler: None,
                    segment: gst::FormattedSegment::new(),
                    live: None,
                    warned: false,
                });
            }
            _ => {}
        }
        let success = self.parent_change_state(transition)?;
        if transition == gst::StateChange::PausedToReady {
            self.discard();
            *self.intake() = None;
        }
        if transition == gst::StateChange::ReadyToNull {
            self.keep(None);
        }
        Ok(success)
    }
}

impl Score {
    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn intake(&self) -> MutexGuard<'_, Option<Intake>> {
        self.intake.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn categories(&self) -> Arc<Vec<String>> {
        self.categories.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Gets the engine for the settings; posts what is wrong with them.
    fn prepare(&self) -> Result<(Settings, Ready), gst::StateChangeError> {
        let settings = self.settings().clone();
        let ready = self.ready(&settings).map_err(|reason| {
            gst::element_imp_error!(self, gst::LibraryError::Settings, ("{reason}"));
            gst::StateChangeError
        })?;
        *self.categories.lock().unwrap_or_else(PoisonError::into_inner) =
            Arc::new(ready.engine.header.categories.clone());
        self.keep(Some(ready.engine.clone()));
        Ok((settings, ready))
    }

    fn keep(&self, engine: Option<Arc<Engine>>) {
        *self.engine.lock().unwrap_or_else(PoisonError::into_inner) = engine;
    }

    fn ready(&self, settings: &Settings) -> Result<Ready, String> {
        let model = settings.model_path().ok_or(
            "no model: models/desumnet.safetensors is neither in the source tree nor installed; set `model` to a file made by desumnet-train",
        )?;
        let device = settings.device().map_err(|e| e.to_string())?;
        let engine = Engine::shared(&model, device, settings.precision).map_err(|e| e.to_string())?;
        let category = Category::named(&settings.category, &engine.header.categories).map_err(|e| e.to_string())?;
        gst::info!(CAT, imp = self, "Model {}, category {}", model.display(), settings.category);
        Ok(Ready { engine, request: Request { category, form: settings.form, aggregation: settings.aggregation } })
    }

    fn stats(&self) -> gst::Structure {
        let stats = &self.shared.lock().stats;
        let mean = stats.inference.as_nanos() / u128::from(stats.scored.max(1));
        gst::Structure::builder("desumnet-stats")
            .field("segments", stats.segments)
            .field("late", stats.late)
            .field("failed", stats.failed)
            .field("mean-inference-time", mean as u64)
            .field("worst-inference-time", stats.worst.as_nanos() as u64)
            .build()
    }

    fn chain(&self, _pad: &gst::Pad, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
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
                Frame::black()
            })
        });
        let (place, segment) = input.segmenter.push(Input { pts, duration, frame });
        let pass_on = if observe {
            Some(buffer)
        } else {
            self.shared.lock().pending.add_frame(Item::Buffer(buffer), place);
            None
        };
        if let Some(segment) = segment {
            self.submit(input, &segment);
        }
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
            (!live && state.under_way >= UNDER_WAY) || (!observe && state.pending.finished_segments() >= FINISHED)
        };
        let state = self.wait_while(|state| full(state));
        self.check_flow(&state)
    }

    /// Waits until `busy` is over, or nobody is to wait any longer.
    fn wait_while(&self, busy: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let ends = |state: &State| state.flushing || state.flow.is_err() || !busy(state);
        self.shared.changed.wait_while(self.shared.lock(), |state| !ends(state)).unwrap_or_else(PoisonError::into_inner)
    }

    fn check_flow(&self, state: &State) -> Result<gst::FlowSuccess, gst::FlowError> {
        if state.flushing { Err(gst::FlowError::Flushing) } else { state.flow }
    }

    /// Ends the open segment, however short.
    fn finish(&self, input: &mut Intake) {
        if let Some(segment) = input.segmenter.finish() {
            self.submit(input, &segment);
        }
    }

    /// A finished segment goes to the engine, if its turn and the load allow.
    fn submit(&self, input: &Intake, segment: &Segment) {
        let running_time = segment.start.and_then(|t| input.segment.to_running_time(gst::ClockTime::from_nseconds(t)));
        let span = Span::new(segment, running_time.map(|t| t.nseconds()));
        let live = input.live == Some(true);
        let processing_deadline = self.settings().processing_deadline;
        let mut state = self.shared.lock();
        if !segment.index.is_multiple_of(input.settings.interval.into()) {
            state.pending.carry(span, Flags::empty());
        } else if live && state.under_way >= UNDER_WAY {
            state.pending.carry(span, Flags::LATE);
        } else {
            let deadline =
                (live && input.settings.mode == Mode::Annotate).then(|| Instant::now() + processing_deadline);
            state.pending.await_score(span, deadline);
            state.under_way += 1;
            let (generation, index) = (state.generation, segment.index);
            drop(state);
            let shared = self.shared.clone();
            let reply = Box::new(move |answer| shared.answer(generation, index, answer));
            input.ready.engine.submit(segment.clip.centre_crop(), input.ready.request.clone(), reply);
        }
        self.shared.changed.notify_all();
    }

    fn upstream_is_live(&self) -> bool {
        let mut query = gst::query::Latency::new();
        self.sinkpad.peer_query(&mut query) && query.result().0
    }

    fn post_latency(&self) {
        let element = self.obj();
        let _ = element.post_message(gst::message::Latency::builder().src(&*element).build());
    }

    fn sink_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        use gst::EventView;
        match event.view() {
            EventView::FlushStart(_) => {
                let passed = self.srcpad.push_event(event);
                self.shared.lock().flushing = true;
                self.shared.changed.notify_all();
                let _ = self.srcpad.pause_task();
                return passed;
            }
            EventView::FlushStop(_) => {
                self.discard();
                if let Some(input) = &mut *self.intake() {
                    input.segmenter.reset();
                    input.segment = gst::FormattedSegment::new();
                }
                let passed = self.srcpad.push_event(event);
                return passed && self.start_task().is_ok();
            }
            _ if !event.is_serialized() => return gst::Pad::event_default(pad, Some(&*self.obj()), event),
            _ => {}
        }
        let mut intake = self.intake();
        let Some(input) = intake.as_mut() else { return false };
        // Nothing that begins here belongs into one clip with what was before.
        if matches!(
            event.view(),
            EventView::StreamStart(_)
                | EventView::Caps(_)
                | EventView::Segment(_)
                | EventView::Gap(_)
                | EventView::Eos(_)
        ) {
            self.finish(input);
        }
        match event.view() {
            EventView::Caps(caps) => {
                if let Err(error) = self.take_caps(input, caps.caps()) {
                    drop(intake);
                    gst::element_imp_error!(self, gst::StreamError::Format, ("{error}"));
                    return false;
                }
            }
            EventView::Segment(segment) => {
                if let Some(segment) = segment.segment().downcast_ref::<gst::ClockTime>() {
                    input.segment = segment.clone();
                }
            }
            _ => {}
        }
        let observe = input.settings.mode == Mode::Observe;
        drop(intake);
        if event.type_() == gst::EventType::Caps {
            self.post_latency();
        }
        if observe {
            if event.type_() == gst::EventType::Eos {
                drop(self.wait_while(|state| state.busy || !state.pending.is_empty()));
            }
            return gst::Pad::event_default(pad, Some(&*self.obj()), event);
        }
        let mut state = self.shared.lock();
        // After EOS from downstream, events still go on: its own EOS, or a new stream.
        if state.flow == Err(gst::FlowError::Eos)
            && matches!(event.type_(), gst::EventType::StreamStart | gst::EventType::Segment)
        {
            state.flow = Ok(gst::FlowSuccess::Ok);
        }
        if state.flushing || state.flow.is_err_and(|error| error != gst::FlowError::Eos) {
            return false;
        }
        state.eos = event.type_() == gst::EventType::Eos;
        state.pending.add_event(Item::Event(event));
        self.shared.changed.notify_all();
        true
    }

    fn take_caps(&self, input: &mut Intake, caps: &gst::CapsRef) -> Result<(), ClipError> {
        let info = gst_video::VideoInfo::from_caps(caps).map_err(|_| ClipError::Format(caps.to_string()))?;
        input.scaler = Some(Scaler::new(&info)?);
        let spacing = nominal_spacing(&info);
        input.segmenter.set_nominal_spacing(spacing);
        self.shared.lock().spacing = spacing;
        Ok(())
    }

    /// Throws away what waits, and answers that are still to come for it.
    fn discard(&self) {
        let mut state = self.shared.lock();
        let events = state.pending.clear();
        state.generation += 1;
        state.eos = false;
        self.shared.changed.notify_all();
        drop(state);
        // Upstream sends caps, tags and the like only once: they stay on the pad and go on with the next buffer.
        for item in events {
            if let Item::Event(event) = item
                && event.is_sticky()
                && !matches!(event.type_(), gst::EventType::Segment | gst::EventType::Eos)
            {
                // Refused only by a pad that is not active, which starts anew.
                let _ = self.srcpad.store_sticky_event(&event);
            }
        }
    }

    fn sink_query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        if !matches!(query.view(), gst::QueryView::Allocation(_)) {
            return gst::Pad::query_default(pad, Some(&*self.obj()), query);
        }
        let answered = self.srcpad.peer_query(query);
        if self.settings().mode == Mode::Observe {
            return answered;
        }
        // Upstream's pool must not run dry while a segment fills and another is scored.
        let gst::QueryViewMut::Allocation(query) = query.view_mut() else { return answered };
        let Some(info) = query.get().0.and_then(|caps| gst_video::VideoInfo::from_caps(caps).ok()) else {
            return answered;
        };
        let held = 2 * self.frames_per_segment(nominal_spacing(&info));
        let pools: Vec<_> = query.allocation_pools().collect();
        for (i, (pool, size, min, max)) in pools.iter().enumerate() {
            let (min, max) = (min + held, if *max == 0 { 0 } else { max + held });
            query.set_nth_allocation_pool(i as u32, pool.as_ref(), *size, min, max);
        }
        if pools.is_empty() {
            query.add_allocation_pool(None::<&gst::BufferPool>, info.size() as u32, held, 0);
        }
        true
    }

    fn frames_per_segment(&self, spacing: u64) -> u32 {
        FRAMES as u32 * Stride::from_setting(self.settings().frame_stride).at_spacing(spacing)
    }

    /// How long frames may stay in a live pipeline: until their segment is whole, and until its score must be there.
    fn latency(&self) -> gst::ClockTime {
        let spacing = self.shared.lock().spacing;
        let spacing = if spacing == 0 { USUAL_SPACING } else { spacing };
        let clip = u64::from(self.frames_per_segment(spacing)) * spacing;
        let deadline = self.settings().processing_deadline.as_nanos() as u64;
        gst::ClockTime::from_nseconds(clip.saturating_add(deadline).min(gst::ClockTime::MAX.nseconds()))
    }

    fn src_query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        let gst::QueryViewMut::Latency(query) = query.view_mut() else {
            return gst::Pad::query_default(pad, Some(&*self.obj()), query);
        };
        if !self.sinkpad.peer_query(query.query_mut()) {
            return false;
        }
        let (live, mut min, mut max) = query.result();
        if live && self.settings().mode == Mode::Annotate {
            let ours = self.latency();
            min = min.saturating_add(ours);
            // Beyond that, a few finished segments may wait for downstream.
            max = max.map(|max| max.saturating_add(ours));
        }
        query.set(live, min, max);
        true
    }

    fn src_activatemode(&self, pad: &gst::Pad, _mode: gst::PadMode, active: bool) -> Result<(), gst::LoggableError> {
        if active {
            return self.start_task().map_err(|_| gst::loggable_error!(CAT, "The source pad's task does not start"));
        }
        self.shared.lock().flushing = true;
        self.shared.changed.notify_all();
        pad.stop_task().map_err(|_| gst::loggable_error!(CAT, "The source pad's task does not stop"))
    }

    fn start_task(&self) -> Result<(), glib::BoolError> {
        let mut state = self.shared.lock();
        state.flushing = false;
        state.flow = Ok(gst::FlowSuccess::Ok);
        drop(state);
        let weak = self.downgrade();
        self.srcpad.start_task(move || {
            if let Some(this) = weak.upgrade() {
                this.push_next();
            }
        })
    }

    /// One turn of the source pad's task: waits for the next thing that is ready, and does it.
    fn push_next(&self) {
        let mut state = self.shared.lock();
        let step = loop {
            if state.flushing {
                let _ = self.srcpad.pause_task();
                return;
            }
            match state.pending.step(Instant::now()) {
                Step::Wait(None) => {
                    state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                Step::Wait(Some(deadline)) => {
                    let rest = deadline.saturating_duration_since(Instant::now());
                    let waited = self.shared.changed.wait_timeout(state, rest);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                step => break step,
            }
        };
        if let Step::Resolved(outcome) = &step {
            state.stats.segments += 1;
            state.stats.late += u64::from(outcome.flags.contains(Flags::LATE));
            state.stats.failed += u64::from(outcome.flags.contains(Flags::FAILED));
        }
        let failure = state.failure.take();
        state.busy = true;
        self.shared.changed.notify_all();
        drop(state);
        if let Some(error) = failure {
            gst::element_imp_warning!(self, gst::LibraryError::Failed, ("Frames go on without a new score: {error}"));
        }
        let flow = match step {
            Step::Resolved(outcome) => {
                self.post_segment(&outcome);
                Ok(gst::FlowSuccess::Ok)
            }
            Step::Frame(Item::Buffer(buffer), outcome, frame) => self.push_frame(buffer, &outcome, frame),
            Step::Other(Item::Event(event)) => {
                self.srcpad.push_event(event);
                Ok(gst::FlowSuccess::Ok)
            }
            _ => Ok(gst::FlowSuccess::Ok),
        };
        if let Err(error) = flow {
            self.stop_pushing(error);
        }
        self.shared.lock().busy = false;
        self.shared.changed.notify_all();
    }

    fn post_segment(&self, outcome: &Outcome) {
        gst::debug!(CAT, imp = self, "{outcome:?}");
        let settings = self.settings();
        if !settings.post_messages && settings.mode == Mode::Annotate {
            return;
        }
        drop(settings);
        let element = self.obj();
        let structure = meta::segment_message(outcome, &self.categories());
        let _ = element.post_message(gst::message::Element::builder(structure).src(&*element).build());
    }

    fn push_frame(
        &self,
        mut buffer: gst::Buffer,
        outcome: &Outcome,
        frame: u32,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let meta = ImportanceMeta::new(outcome, frame, &self.categories());
        // Writable means the buffer's own fields: the picture is shared, not copied.
        if let Err(error) = meta.add(buffer.make_mut()) {
            gst::error!(CAT, imp = self, "{error}");
        }
        self.srcpad.push(buffer)
    }

    /// Downstream takes no more: upstream hears of it at its next buffer, or here if there will be none.
    fn stop_pushing(&self, error: gst::FlowError) {
        let mut state = self.shared.lock();
        state.flow = Err(error);
        if error == gst::FlowError::Eos {
            state.pending.drop_frames();
            self.shared.changed.notify_all();
            return;
        }
        let after_eos = state.eos && !state.flushing;
        self.shared.changed.notify_all();
        drop(state);
        let _ = self.srcpad.pause_task();
        if after_eos && error != gst::FlowError::Flushing {
            gst::element_imp_error!(
                self,
                gst::StreamError::Failed,
                ("Downstream takes no more buffers ({error:?}): see its own error")
            );
        }
    }
}
