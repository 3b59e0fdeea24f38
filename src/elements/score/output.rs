//! What goes out: segments are resolved, posted, and their frames pushed with their metas.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

use gst::{prelude::*, subclass::prelude::*};

use super::{
    imp::{CAT, Score},
    setup::Setup,
    shared::{Item, Locked},
};
use crate::{
    meta::{self, Flags, ImportanceMap, ImportanceMeta},
    pending::{Outcome, Shot, Step},
};
use desumnet_engine::message_of;

/// Whether downstream takes buffers after this event though it took none before: it had enough of something else.
pub(super) fn begins_anew(event: gst::EventType) -> bool {
    matches!(event, gst::EventType::StreamStart | gst::EventType::Segment)
}

impl Score {
    /// Starts the source pad's task, or starts it again.
    pub(super) fn start_task(&self) -> Result<(), glib::BoolError> {
        let mut state = self.shared.lock();
        state.flushing = false;
        state.flow = Ok(gst::FlowSuccess::Ok);
        drop(state);
        gst::debug!(CAT, imp = self, "The source pad's task starts");
        let weak = self.downgrade();
        self.srcpad.start_task(move || {
            if let Some(this) = weak.upgrade() {
                this.turn(Self::push_next);
            }
        })
    }

    /// One turn of the source pad's task. A panic would end the process here: it becomes an error like any other.
    fn turn(&self, next: impl FnOnce(&Self)) {
        let Err(panic) = catch_unwind(AssertUnwindSafe(|| next(self))) else { return };
        let reason = message_of(&panic);
        let mut state = self.shared.lock();
        state.busy = false;
        state.flow = Err(gst::FlowError::Error);
        state.told = false;
        drop(state);
        gst::element_imp_error!(
            self,
            gst::LibraryError::Failed,
            ("desumnet panicked: {reason}. This is a bug: please report it")
        );
    }

    /// Waits for the next thing that is ready, and does it.
    fn push_next(&self) {
        let Some(setup) = self.setup() else { return drop(self.srcpad.pause_task()) };
        let Some((mut state, step)) = self.next_step() else { return };
        if let Step::Resolved(outcome) = &step {
            state.stats.segments += 1;
            state.stats.late += u64::from(outcome.flags.contains(Flags::LATE));
            state.stats.failed += u64::from(outcome.flags.contains(Flags::FAILED));
        }
        let failure = state.failure.take();
        state.busy = true;
        drop(state);
        if let Some(error) = failure {
            gst::element_imp_warning!(self, gst::LibraryError::Failed, ("Frames go on without a new score: {error}"));
        }
        let flow = match step {
            Step::Resolved(outcome) => {
                gst::debug!(
                    CAT,
                    imp = self,
                    "Segment {}: score {}, importance {}, {:?}",
                    outcome.span.index,
                    outcome.score,
                    outcome.importance,
                    outcome.flags
                );
                self.post(&setup, || meta::segment_message(&outcome, &setup.engine.header.categories));
                Ok(gst::FlowSuccess::Ok)
            }
            Step::Frame(Item::Buffer(buffer), outcome, frame, shot) => {
                self.push_frame(&setup, buffer, &outcome, frame, shot)
            }
            Step::Passing(Item::Buffer(buffer)) => self.srcpad.push(buffer),
            Step::Other(Item::Event(event)) => {
                gst::log!(CAT, imp = self, "Passing on {event:?}");
                self.srcpad.push_event(event);
                Ok(gst::FlowSuccess::Ok)
            }
            Step::Other(Item::Shot(structure)) => {
                self.post(&setup, || structure);
                Ok(gst::FlowSuccess::Ok)
            }
            _ => Ok(gst::FlowSuccess::Ok),
        };
        if let Err(error) = flow {
            self.stop_pushing(error);
        }
        self.shared.lock().busy = false;
    }

    /// Waits for something to do, for as long as downstream takes anything. `None`: the task is to pause.
    fn next_step(&self) -> Option<(Locked<'_>, Step<Item>)> {
        let mut state = self.shared.lock();
        loop {
            if state.flushing {
                // Still locked, so that it can't have been started again meanwhile.
                let _ = self.srcpad.pause_task();
                return None;
            }
            if state.is_stopped() {
                state = state.wait(None);
                continue;
            }
            match state.pending.step(Instant::now()) {
                Step::Wait(until) => state = state.wait(until),
                Step::Close(segment) => {
                    drop(state);
                    self.close(segment);
                    state = self.shared.lock();
                }
                step => return Some((state, step)),
            }
        }
    }

    /// Posts an element message, if anybody wants them.
    fn post(&self, setup: &Setup, structure: impl FnOnce() -> gst::Structure) {
        if !setup.observes() && !self.settings().post_messages {
            return;
        }
        let element = self.obj();
        let _ = element.post_message(gst::message::Element::builder(structure()).src(&*element).build());
    }

    fn push_frame(
        &self,
        setup: &Setup,
        mut buffer: gst::Buffer,
        outcome: &Outcome,
        frame: u32,
        shot: Shot,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let engine = &setup.engine;
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
        gst::trace!(CAT, imp = self, "Frame {frame} of segment {} goes on: {buffer:?}", outcome.span.index);
        self.srcpad.push(buffer)
    }

    /// Downstream takes no more: upstream hears of it at its next buffer, or here if there will be none. The task waits until it is to try
    /// again, or until it is stopped.
    fn stop_pushing(&self, error: gst::FlowError) {
        let mut state = self.shared.lock();
        gst::debug!(CAT, imp = self, "Downstream answers {error:?}, {} frames wait", state.pending.frames());
        state.flow = Err(error);
        state.told = false;
        if error == gst::FlowError::Eos {
            let begins = |item: &Item| matches!(item, Item::Event(event) if begins_anew(event.type_()));
            if state.pending.drop_frames_until(begins) {
                state.flow = Ok(gst::FlowSuccess::Ok);
            }
            return;
        }
        let after_eos = state.eos && !state.flushing;
        drop(state);
        if after_eos {
            self.fail(Err(error));
        }
    }

    /// Tells that the stream ends with this error of downstream's, where upstream pushes nothing more that would be answered with it.
    pub(super) fn fail(&self, flow: Result<gst::FlowSuccess, gst::FlowError>) {
        let Err(error) = flow else { return };
        if error != gst::FlowError::Flushing {
            gst::element_imp_error!(
                self,
                gst::StreamError::Failed,
                ("Downstream takes no more buffers ({error:?}): see its own error")
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use gst::prelude::*;

    use super::*;

    #[test]
    fn a_panic_of_the_task_is_an_error_and_upstream_hears_of_it() {
        gst::init().unwrap();
        let element: super::super::Score = glib::Object::new();
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        let this = element.imp();
        this.shared.lock().flushing = false;
        this.shared.lock().busy = true;
        this.turn(|_| panic!("of the test"));
        let message = bus.pop_filtered(&[gst::MessageType::Error]).unwrap();
        let gst::MessageView::Error(error) = message.view() else { unreachable!() };
        assert_eq!(error.error().to_string(), "desumnet panicked: of the test. This is a bug: please report it");
        assert!(!this.shared.lock().busy);
        assert_eq!(this.shared.lock().flow, Err(gst::FlowError::Error));
    }
}
