//! The element: pads, events, queries and states. What the upstream thread does with frames is in `input.rs`, what the
//! source pad's task does with scores in `output.rs`, and what they share in `shared.rs`.
//!
//! Locks, in this order: `intake`, `settings`, `shared.state`. None is held while pushing or posting.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use gst::{prelude::*, subclass::prelude::*};

use super::{
    input::{Intake, Ready},
    settings::{Mode, PROPERTIES, Settings},
    shared::{Item, Shared},
};
use crate::{
    clip::{FRAMES, nominal_spacing},
    engine::{Category, Engine, Request},
    pending::Pending,
    segmenter::Stride,
    shots::LOOK_BACK,
};

pub(super) static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("desumnet", gst::DebugColorFlags::empty(), Some("DeSumNet importance scoring"))
});

/// Time between frames that the latency counts with where the caps tell none, ns.
const USUAL_SPACING: u64 = 40_000_000;

pub struct Score {
    pub(super) sinkpad: gst::Pad,
    pub(super) srcpad: gst::Pad,
    settings: Mutex<Settings>,
    intake: Mutex<Option<Intake>>,
    pub(super) shared: Arc<Shared>,
    /// Loaded from READY on.
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
        Self {
            sinkpad,
            srcpad,
            settings: Mutex::default(),
            intake: Mutex::default(),
            shared: Arc::default(),
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
            "stats" => self.shared.lock().stats.structure().to_value(),
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
                state.stats = Default::default();
                state.generation += 1;
                state.eos = false;
                state.spacing = 0;
                drop(state);
                *self.intake() = Some(Intake::new(settings, ready));
            }
            _ => {}
        }
        let success = self.parent_change_state(transition)?;
        if transition == gst::StateChange::PausedToReady {
            self.discard();
            *self.intake() = None;
        }
        if transition == gst::StateChange::ReadyToNull {
            *self.engine() = None;
        }
        Ok(success)
    }
}

impl Score {
    pub(super) fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn intake(&self) -> MutexGuard<'_, Option<Intake>> {
        self.intake.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gets the engine for the settings; posts what is wrong with them.
    fn prepare(&self) -> Result<(Settings, Ready), gst::StateChangeError> {
        let settings = self.settings().clone();
        let ready = self.ready(&settings).map_err(|reason| {
            gst::element_imp_error!(self, gst::LibraryError::Settings, ("{reason}"));
            gst::StateChangeError
        })?;
        *self.engine() = Some(ready.stream.engine.clone());
        Ok((settings, ready))
    }

    pub(super) fn engine(&self) -> MutexGuard<'_, Option<Arc<Engine>>> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ready(&self, settings: &Settings) -> Result<Ready, String> {
        let model = settings.model_path().ok_or(
            "no model: models/desumnet.safetensors is neither in the source tree nor installed; set `model` to a file made by desumnet-train",
        )?;
        let device = settings.device().map_err(|e| e.to_string())?;
        let engine = Engine::shared(&model, device, settings.precision).map_err(|e| e.to_string())?;
        let category = Category::named(&settings.category, &engine.header.categories).map_err(|e| e.to_string())?;
        gst::info!(CAT, imp = self, "Model {}, category {}", model.display(), settings.category);
        // Observers have no meta to put maps into.
        let maps = settings.map && settings.mode == Mode::Annotate;
        let request = Request { category, form: settings.form, aggregation: settings.aggregation, maps };
        Ok(Ready { stream: engine.stream(settings.batching), request })
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
                    input.shots.reset();
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
        match query.view() {
            gst::QueryView::Allocation(_) => {}
            gst::QueryView::Drain(_) => {
                // Upstream wants its buffers back.
                if let Some(input) = &mut *self.intake() {
                    self.finish(input);
                }
                drop(self.wait_while(|state| state.busy || !state.pending.is_empty()));
                return gst::Pad::query_default(pad, Some(&*self.obj()), query);
            }
            _ => return gst::Pad::query_default(pad, Some(&*self.obj()), query),
        }
        let answered = self.srcpad.peer_query(query);
        if self.settings().mode == Mode::Observe {
            return answered;
        }
        // Upstream's pool must not run dry while a segment fills, and a batch is scored or its shots are looked for.
        let gst::QueryViewMut::Allocation(query) = query.view_mut() else { return answered };
        let Some(info) = query.get().0.and_then(|caps| gst_video::VideoInfo::from_caps(caps).ok()) else {
            return answered;
        };
        let batch = self.intake().as_ref().map_or(1, |input| input.ready.stream.batch_size() as u32);
        let held = (1 + batch) * self.frames_held(nominal_spacing(&info));
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

    /// Frames of the stream that come in while one waits: until its segment is whole, and until its shot is known.
    fn frames_held(&self, spacing: u64) -> u32 {
        let in_clip = self.engine().as_ref().map_or(FRAMES, |engine| engine.clip.frames);
        let stride = Stride::from_setting(self.settings().frame_stride).at_spacing(spacing);
        in_clip.max(LOOK_BACK) as u32 * stride
    }

    /// How long frames may stay in a live pipeline: [`Self::frames_held`], and until their score must be there.
    pub(super) fn latency(&self) -> gst::ClockTime {
        let spacing = self.shared.lock().spacing;
        let spacing = if spacing == 0 { USUAL_SPACING } else { spacing };
        let held = u64::from(self.frames_held(spacing)) * spacing;
        let deadline = self.settings().processing_deadline.as_nanos() as u64;
        gst::ClockTime::from_nseconds(held.saturating_add(deadline).min(gst::ClockTime::MAX.nseconds()))
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
}
