//! The pads of the streams that go along: what comes in waits, and a task on each source pad sends on what is decided.

use std::sync::PoisonError;

use gst::{prelude::*, subclass::prelude::*};

use super::{
    imp::{CAT, Skim, State, keep_sticky},
    lane::{Lane, Next},
    settings::Mode,
};
use crate::summary::key_frames::KeyFrames;

/// How far a stream may be ahead of the video before its upstream has to wait, ns.
const AHEAD: u64 = 60_000_000_000;

impl Skim {
    /// A pair of pads of this number, active if the element is.
    pub(super) fn add_lane(&self, number: u32) -> Option<gst::Pad> {
        let element = self.obj();
        let template = |name| element.pad_template(name);
        let weak = self.downgrade();
        let sinkpad = gst::Pad::builder_from_template(&template("sink_%u")?)
            .name(format!("sink_{number}"))
            .chain_function(move |_, parent, buffer| {
                Self::catch_panic_pad_function(
                    parent,
                    || Err(gst::FlowError::Error),
                    |this| this.lane_chain(number, buffer),
                )
            })
            .event_function(move |_, parent, event| {
                Self::catch_panic_pad_function(parent, || false, |this| this.lane_event(number, event))
            })
            .iterate_internal_links_function(Self::linked)
            .flags(gst::PadFlags::PROXY_CAPS)
            .build();
        let srcpad = gst::Pad::builder_from_template(&template("src_%u")?)
            .name(format!("src_{number}"))
            // While the element plays, a pad is active before it is the element's: it has no parent then.
            .activatemode_function(move |pad, _, _, active| match weak.upgrade() {
                Some(this) => this.lane_activate(number, pad, active),
                None => Ok(()),
            })
            .event_function(|pad, parent, event| {
                Self::catch_panic_pad_function(parent, || false, |this| this.src_event(pad, event))
            })
            .query_function(|pad, parent, query| {
                Self::catch_panic_pad_function(parent, || false, |this| this.src_query(pad, query))
            })
            .iterate_internal_links_function(Self::linked)
            .flags(gst::PadFlags::PROXY_CAPS)
            .build();
        let mut state = self.state();
        if state.lanes.contains_key(&number) {
            return None;
        }
        // Of what has been decided already, the open piece at most concerns it.
        let piece = state.timeline().map_or(0, |timeline| timeline.numbers().end.saturating_sub(1));
        state.lanes.insert(number, Lane::new(sinkpad.clone(), srcpad.clone(), piece));
        drop(state);
        if element.current_state().max(element.pending_state()) > gst::State::Ready {
            let active = srcpad.set_active(true).and_then(|()| sinkpad.set_active(true));
            if let Err(error) = active {
                gst::error!(CAT, imp = self, "{error}");
            }
        }
        for pad in [&srcpad, &sinkpad] {
            if let Err(error) = element.add_pad(pad) {
                gst::error!(CAT, imp = self, "{error}");
            }
        }
        Some(sinkpad)
    }

    /// Takes a pair of pads away again.
    pub(super) fn remove_lane(&self, sinkpad: &gst::Pad) {
        let mut state = self.state();
        let Some((&number, lane)) = state.lanes.iter_mut().find(|(_, lane)| lane.sinkpad == *sinkpad) else { return };
        lane.flushing = true;
        let srcpad = lane.srcpad.clone();
        drop(state);
        self.changed.notify_all();
        for pad in [sinkpad, &srcpad] {
            let _ = pad.set_active(false);
            let _ = self.obj().remove_pad(pad);
        }
        let mut state = self.state();
        state.lanes.remove(&number);
        state.key_frames.take_if(|(leader, _)| *leader == number);
    }

    fn lane_activate(&self, number: u32, pad: &gst::Pad, active: bool) -> Result<(), gst::LoggableError> {
        if active {
            if let Some(lane) = self.state().lanes.get_mut(&number) {
                lane.start();
            }
            return self.start_task(number, pad).map_err(|_| gst::loggable_error!(CAT, "A task does not start"));
        }
        if let Some(lane) = self.state().lanes.get_mut(&number) {
            lane.flushing = true;
        }
        self.changed.notify_all();
        pad.stop_task().map_err(|_| gst::loggable_error!(CAT, "A task does not stop"))
    }

    fn start_task(&self, number: u32, pad: &gst::Pad) -> Result<(), glib::BoolError> {
        let weak = self.downgrade();
        pad.start_task(move || {
            if let Some(this) = weak.upgrade() {
                this.send_next(number);
            }
        })
    }

    fn lane_chain(&self, number: u32, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        // Upstream waits here while the stream is far ahead of the video.
        let far = |state: &mut State| {
            let decided = state.run.as_ref().filter(|run| !run.timeline.ended()).map(|run| run.timeline.decided());
            let lane = state.lanes.get(&number).filter(|lane| !lane.flushing && lane.flow.is_ok());
            let waits = |(lane, decided): (&Lane, u64)| lane.arrived() > decided.saturating_add(AHEAD);
            state.failed.is_none() && lane.zip(decided).is_some_and(waits)
        };
        let mut state = self.changed.wait_while(self.state(), far).unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = state.failed {
            return Err(error);
        }
        let lane = state.lanes.get_mut(&number).filter(|lane| !lane.flushing).ok_or(gst::FlowError::Flushing)?;
        let flow = lane.flow?;
        let key_frame = lane.add_buffer(buffer);
        if let Some((time, key_frames)) = key_frame.zip(state.leads(number)) {
            key_frames.add(time);
        }
        drop(state);
        self.changed.notify_all();
        Ok(flow)
    }

    fn lane_event(&self, number: u32, event: gst::Event) -> bool {
        let mut state = self.state();
        let manner = state.run.as_ref().map(|run| run.settings.manner()).unwrap_or_default();
        let Some(lane) = state.lanes.get_mut(&number) else { return false };
        let srcpad = lane.srcpad.clone();
        match event.type_() {
            gst::EventType::FlushStart => {
                lane.flushing = true;
                drop(state);
                self.changed.notify_all();
                let passed = srcpad.push_event(event);
                let _ = srcpad.pause_task();
                return passed;
            }
            gst::EventType::FlushStop => {
                let events = lane.clear(manner);
                state.leads(number).into_iter().for_each(KeyFrames::clear);
                drop(state);
                keep_sticky(&srcpad, events.into_iter());
                let passed = srcpad.push_event(event);
                return passed && self.start_task(number, &srcpad).is_ok();
            }
            _ if !event.is_serialized() => {
                drop(state);
                return srcpad.push_event(event);
            }
            _ if lane.flushing => return false,
            _ => {}
        }
        let kind = event.type_();
        let added = lane.add_event(event, manner);
        let (encoded, arrived) = (lane.is_encoded_video(), lane.arrived());
        if encoded {
            state.key_frames.get_or_insert_with(|| (number, KeyFrames::default()));
        }
        if kind == gst::EventType::Eos {
            state.leads(number).into_iter().for_each(|key_frames| key_frames.end(arrived));
        }
        let fast =
            state.run.as_ref().is_some_and(|run| run.settings.plan.is_none() && run.settings.mode == Mode::Timelapse);
        drop(state);
        self.changed.notify_all();
        if encoded && fast && kind == gst::EventType::Caps {
            gst::element_imp_error!(
                self,
                gst::StreamError::Format,
                ("sink_{number}: encoded video plays at normal speed only: decode it, or use mode=skim")
            );
            return false;
        }
        if let Err(error) = added {
            gst::element_imp_error!(self, gst::StreamError::Format, ("sink_{number}: {error}"));
            return false;
        }
        true
    }

    /// One turn of a task: waits for what is to go on next, and sends it.
    fn send_next(&self, number: u32) {
        let mut guard = self.state();
        let (next, pad) = loop {
            let State { run, lanes, key_frames, flushing, .. } = &mut *guard;
            let Some(lane) = lanes.get_mut(&number) else { return };
            let (Some(run), false) = (run, lane.flushing) else {
                let pad = lane.srcpad.clone();
                drop(guard);
                let _ = pad.pause_task();
                return;
            };
            // While the video is flushed, the timeline is not to be trusted.
            let timeline = match key_frames {
                Some((_, key_frames)) => {
                    key_frames.follow(&run.timeline);
                    &key_frames.timeline
                }
                None => &run.timeline,
            };
            let next = if *flushing { Next::Wait } else { lane.next(timeline, run.settings.manner()) };
            if !matches!(next, Next::Wait) {
                break (next, lane.srcpad.clone());
            }
            guard = self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner);
        };
        drop(guard);
        // There is room for more.
        self.changed.notify_all();
        let flow = match next {
            Next::Buffer(buffer) => pad.push(buffer),
            Next::Event(event) => {
                pad.push_event(event);
                return;
            }
            Next::Wait => return,
        };
        if let Err(error) = flow {
            self.stop_sending(number, &pad, error);
        }
    }

    /// Downstream takes no more of a stream. That it has ended or leads nowhere is no matter of the others; an error is.
    fn stop_sending(&self, number: u32, pad: &gst::Pad, error: gst::FlowError) {
        let mut state = self.state();
        let Some(lane) = state.lanes.get_mut(&number) else { return };
        lane.flow = Err(error);
        lane.drop_buffers();
        let fatal = !matches!(error, gst::FlowError::Eos | gst::FlowError::NotLinked | gst::FlowError::Flushing);
        if fatal {
            state.failed = Some(error);
        }
        drop(state);
        self.changed.notify_all();
        if error == gst::FlowError::Flushing || fatal {
            let _ = pad.pause_task();
        }
        if fatal {
            gst::element_imp_error!(
                self,
                gst::StreamError::Failed,
                ("Downstream of src_{number} takes no more buffers ({error:?}): see its own error")
            );
        }
    }
}
