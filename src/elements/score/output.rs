//! What goes out: segments are resolved, posted, and their frames pushed with their metas.

use std::{
    sync::{Arc, PoisonError},
    time::Instant,
};

use gst::{prelude::*, subclass::prelude::*};

use super::{
    imp::{CAT, Score},
    settings::Mode,
    shared::Item,
};
use crate::{
    engine::Engine,
    meta::{self, Flags, ImportanceMap, ImportanceMeta},
    pending::{Outcome, Shot, Step},
};

impl Score {
    /// Starts the source pad's task, or starts it again.
    pub(super) fn start_task(&self) -> Result<(), glib::BoolError> {
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
            Step::Frame(Item::Buffer(buffer), outcome, frame, shot) => self.push_frame(buffer, &outcome, frame, shot),
            Step::Other(Item::Event(event)) => {
                self.srcpad.push_event(event);
                Ok(gst::FlowSuccess::Ok)
            }
            Step::Other(Item::Shot(structure)) => {
                self.post(structure);
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

    fn loaded(&self) -> Result<Arc<Engine>, gst::FlowError> {
        self.engine().clone().ok_or(gst::FlowError::Flushing)
    }

    fn post_segment(&self, outcome: &Outcome) {
        gst::debug!(CAT, imp = self, "{outcome:?}");
        if let Ok(engine) = self.loaded() {
            self.post(meta::segment_message(outcome, &engine.header.categories));
        }
    }

    /// Posts an element message, if anybody wants them.
    fn post(&self, structure: gst::Structure) {
        let settings = self.settings();
        if !settings.post_messages && settings.mode == Mode::Annotate {
            return;
        }
        drop(settings);
        let element = self.obj();
        let _ = element.post_message(gst::message::Element::builder(structure).src(&*element).build());
    }

    fn push_frame(
        &self,
        mut buffer: gst::Buffer,
        outcome: &Outcome,
        frame: u32,
        shot: Shot,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let engine = self.loaded()?;
        // Writable means the buffer's own fields: the picture is shared, not copied.
        let fields = buffer.make_mut();
        let added = ImportanceMeta::new(outcome, frame, shot, &engine.header.categories).add(fields);
        let map = added.and_then(|()| ImportanceMap::new(outcome, frame, &engine.clip));
        if let Err(error) = map.and_then(|map| map.map_or(Ok(()), |map| map.add(fields))) {
            gst::error!(CAT, imp = self, "{error}");
        }
        #[cfg(feature = "v1_24")]
        if let Some(category) = outcome.category
            && let Err(error) = crate::analytics::add(fields, &engine.header.categories[category], outcome.confidence)
        {
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
