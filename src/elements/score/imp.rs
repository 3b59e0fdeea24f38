//! The element: pads, events, queries and states. What the upstream thread does with frames is in `input.rs`, what the source pad's task
//! does with scores in `output.rs`, what they share in `shared.rs`, and how long frames stay in `latency.rs`.
//!
//! Locks, in this order: `intake`, `setup`, `settings`, `shared`. None is held while pushing, posting or asking other elements.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use gst::{prelude::*, subclass::prelude::*};

use super::{
    input::Intake,
    output::begins_anew,
    settings::{PROPERTIES, Settings},
    setup::Setup,
    shared::{Item, Locked, Shared, State},
};

pub(super) static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("desumnet", gst::DebugColorFlags::empty(), Some("DeSumNet importance scoring"))
});

pub struct Score {
    pub(super) sinkpad: gst::Pad,
    pub(super) srcpad: gst::Pad,
    settings: Mutex<Settings>,
    /// From READY on.
    setup: Mutex<Option<Arc<Setup>>>,
    intake: Mutex<Option<Intake>>,
    pub(super) shared: Arc<Shared>,
}

#[glib::object_subclass]
impl ObjectSubclass for Score {
    const NAME: &'static str = "DeSumNetScore";
    type Type = super::Score;
    type ParentType = gst::Element;

    fn with_class(class: &Self::Class) -> Self {
        let sinkpad = gst::Pad::builder_from_template(&class.pad_template("sink").expect("template"))
            .chain_function(|pad, parent, buffer| {
                Self::catch_panic_pad_function(
                    parent,
                    || Err(gst::FlowError::Error),
                    |this| {
                        gst::trace!(CAT, obj = pad, "{buffer:?}");
                        this.chain(buffer)
                    },
                )
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
            .event_function(|pad, parent, event| {
                Self::catch_panic_pad_function(parent, || false, |this| this.src_event(pad, event))
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
            setup: Mutex::default(),
            intake: Mutex::default(),
            shared: Arc::default(),
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
        if self.obj().current_state() > gst::State::Ready && !pspec.flags().contains(gst::PARAM_FLAG_MUTABLE_PLAYING) {
            gst::warning!(
                CAT,
                imp = self,
                "{} was set while the element runs: it counts from its next start on",
                pspec.name()
            );
        }
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
                let setup = self.prepare()?;
                self.shared.lock().restart();
                *self.intake() = Some(Intake::new(setup));
            }
            _ => {}
        }
        let success = self.parent_change_state(transition)?;
        if transition == gst::StateChange::PausedToReady {
            self.discard();
            *self.intake() = None;
        }
        if transition == gst::StateChange::ReadyToNull {
            *self.setup_guard() = None;
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

    fn setup_guard(&self) -> MutexGuard<'_, Option<Arc<Setup>>> {
        self.setup.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Settings and engine that the element runs with; `None` in NULL.
    pub(super) fn setup(&self) -> Option<Arc<Setup>> {
        self.setup_guard().clone()
    }

    /// Gets the engine for the settings; posts what is wrong with them.
    fn prepare(&self) -> Result<Arc<Setup>, gst::StateChangeError> {
        let settings = self.settings().clone();
        gst::info!(CAT, imp = self, "{settings:?}");
        // The set-up before this one writes the usual as it goes, and this one reads it. Its engine is used again.
        let before = self.setup_guard().take();
        let _engine = before.map(|setup| setup.engine.clone());
        let setup = Setup::new(settings).map_err(|reason| {
            gst::element_imp_error!(self, gst::LibraryError::Settings, ("{reason}"));
            gst::StateChangeError
        })?;
        gst::info!(CAT, imp = self, "The model's clips: {:?}", setup.engine.clip);
        let setup = Arc::new(setup);
        *self.setup_guard() = Some(setup.clone());
        Ok(setup)
    }

    fn sink_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        use gst::EventView;
        gst::debug!(CAT, obj = pad, "{event:?}");
        match event.view() {
            EventView::FlushStart(_) => {
                let passed = self.srcpad.push_event(event);
                self.shared.lock().flushing = true;
                let _ = self.srcpad.pause_task();
                return passed;
            }
            EventView::FlushStop(_) => {
                self.discard();
                if let Some(input) = &mut *self.intake() {
                    input.flush();
                }
                let passed = self.srcpad.push_event(event);
                return passed && self.start_task().is_ok();
            }
            _ if !event.is_serialized() => return gst::Pad::event_default(pad, Some(&*self.obj()), event),
            _ => {}
        }
        let mut intake = self.intake();
        let Some(input) = intake.as_mut() else { return false };
        let mut latency_changes = false;
        // Nothing that begins here belongs into one clip with what was before.
        if matches!(
            event.view(),
            EventView::StreamStart(_)
                | EventView::Caps(_)
                | EventView::Segment(_)
                | EventView::Gap(_)
                | EventView::Eos(_)
        ) {
            latency_changes |= self.finish(input);
        }
        match event.view() {
            EventView::StreamStart(start) => {
                self.begin_stream(input, start.stream_id());
                self.shared.lock().live = None;
            }
            EventView::Caps(caps) => {
                self.shared.lock().live = None;
                if let Err(error) = self.take_caps(input, caps.caps()) {
                    drop(intake);
                    gst::element_imp_error!(self, gst::StreamError::Format, ("{error}"));
                    return false;
                }
                latency_changes = true;
            }
            EventView::Segment(segment) => {
                self.shared.lock().live = None;
                self.take_segment(input, segment.segment());
            }
            _ => {}
        }
        let observe = input.setup.observes();
        drop(intake);
        if latency_changes {
            self.post_latency();
        }
        if observe {
            if event.type_() == gst::EventType::Eos {
                gst::debug!(CAT, imp = self, "EOS waits for the last scores");
                drop(self.wait_while(|state| state.busy || !state.pending.is_empty()));
            }
            return gst::Pad::event_default(pad, Some(&*self.obj()), event);
        }
        let mut state = self.shared.lock();
        // After EOS from downstream, events still go on: its own EOS, or a new stream.
        if state.flow == Err(gst::FlowError::Eos) && begins_anew(event.type_()) {
            state.flow = Ok(gst::FlowSuccess::Ok);
        }
        if state.flushing {
            return false;
        }
        let eos = event.type_() == gst::EventType::Eos;
        // What stays on the pads is kept for when downstream takes something again, as in a `queue`.
        if state.is_stopped() && (eos || !event.is_sticky()) {
            let flow = state.flow;
            gst::debug!(CAT, imp = self, "Refused, as downstream takes nothing: {flow:?}");
            if eos && !std::mem::replace(&mut state.told, true) {
                drop(state);
                self.fail(flow);
            }
            return false;
        }
        state.eos = eos;
        state.pending.add_event(Item::Event(event));
        true
    }

    /// Throws away what waits, and answers that are still to come for it.
    fn discard(&self) {
        let mut state = self.shared.lock();
        gst::debug!(
            CAT,
            imp = self,
            "Throwing away {} frames and {} finished segments",
            state.pending.frames(),
            state.pending.finished_segments()
        );
        let events = state.pending.clear();
        state.generation += 1;
        state.eos = false;
        state.live = None;
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

    fn src_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        gst::debug!(CAT, obj = pad, "{event:?}");
        if event.type_() == gst::EventType::Reconfigure {
            let mut state = self.shared.lock();
            if state.flow == Err(gst::FlowError::NotLinked) {
                gst::info!(CAT, imp = self, "Linked downstream: frames go on");
                state.flow = Ok(gst::FlowSuccess::Ok);
            }
        }
        gst::Pad::event_default(pad, Some(&*self.obj()), event)
    }

    fn sink_query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        match query.view_mut() {
            gst::QueryViewMut::Allocation(query) => self.answer_allocation(query),
            gst::QueryViewMut::Drain(_) => {
                gst::debug!(CAT, imp = self, "Upstream wants its buffers back");
                let latency_changes = self.intake().as_mut().is_some_and(|input| self.finish(input));
                if latency_changes {
                    self.post_latency();
                }
                drop(self.wait_while(|state| state.busy || !state.pending.is_empty()));
                gst::Pad::query_default(pad, Some(&*self.obj()), query)
            }
            _ => gst::Pad::query_default(pad, Some(&*self.obj()), query),
        }
    }

    /// Waits until `busy` is over, or nobody is to wait any longer.
    pub(super) fn wait_while(&self, busy: impl Fn(&State) -> bool) -> Locked<'_> {
        self.shared.lock().wait_while(|state| !state.flushing && state.flow.is_ok() && busy(state))
    }

    fn src_query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        match query.view_mut() {
            gst::QueryViewMut::Latency(query) => self.answer_latency(query),
            _ => gst::Pad::query_default(pad, Some(&*self.obj()), query),
        }
    }

    fn src_activatemode(&self, pad: &gst::Pad, _mode: gst::PadMode, active: bool) -> Result<(), gst::LoggableError> {
        if active {
            return self.start_task().map_err(|_| gst::loggable_error!(CAT, "The source pad's task does not start"));
        }
        self.shared.lock().flushing = true;
        pad.stop_task().map_err(|_| gst::loggable_error!(CAT, "The source pad's task does not stop"))
    }
}
