//! The pads of the streams that go along: what comes in waits, and a task on each source pad sends on what is decided.

use std::sync::PoisonError;

use gst::{prelude::*, subclass::prelude::*};

use super::{
    imp::{CAT, Skim, State, keep_sticky},
    lane::{Lane, Next},
    room::{self, Entry},
    settings::Mode,
};
use desumnet_decide::key_frames::KeyFrames;

/// Upstream of encoded video is asked for a key frame when none has come for so long, ns, and again when it does not give one.
const ASK: u64 = 10_000_000_000;
/// How often it is asked before that is said.
const ASKED_IN_VAIN: u32 = 6;
/// How long encoded video may wait for the end of its group of pictures while nothing of that is wanted, ns.
const LONGEST_GROUP: u64 = 600_000_000_000;

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
        let late = state.timeline().is_some_and(|timeline| timeline.decided() > 0);
        state.lanes.insert(number, Lane::new(sinkpad.clone(), srcpad.clone(), piece, late));
        drop(state);
        gst::debug!(
            CAT,
            imp = self,
            "sink_{number} is added, from piece {piece} on{}",
            if late { ", late" } else { "" }
        );
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
        let (weak, own) = (self.downgrade(), pad.downgrade());
        pad.start_task(move || {
            let (Some(this), Some(pad)) = (weak.upgrade(), own.upgrade()) else { return };
            this.guarded(&pad, |this| this.send_next(number));
        })
    }

    /// A turn of the task of a pad. A panic in it is an error of the element, and ends the task; out of it, it would end the process.
    fn guarded(&self, pad: &gst::Pad, turn: impl FnOnce(&Self)) {
        let element = self.obj().clone().upcast::<gst::Object>();
        let stop = || {
            let _ = pad.pause_task();
        };
        Self::catch_panic_pad_function(Some(&element), stop, turn);
    }

    fn lane_chain(&self, number: u32, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        let mut state = self.state();
        let mut waited = false;
        loop {
            let State { failed, lanes, .. } = &*state;
            let lane = lanes.get(&number).filter(|lane| !lane.flushing).ok_or(gst::FlowError::Flushing);
            let entry = match (failed, lane) {
                (Some(error), _) => return Err(*error),
                (None, Ok(lane)) if lane.flow.is_ok() => {
                    state.video().map_or(Entry::Enters, |video| room::entry(lane.load(), video))
                }
                (None, Ok(lane)) => return lane.flow,
                (None, Err(flushing)) => return Err(flushing),
            };
            match entry {
                Entry::Enters => break,
                Entry::Lost => return Ok(self.lose(number, state)),
                // Upstream waits here while the stream is far ahead of the video.
                Entry::Waits(patience) => {
                    if !std::mem::replace(&mut waited, true) {
                        let (load, video) = (state.lanes.get(&number).map(Lane::load), state.video());
                        gst::debug!(CAT, imp = self, "sink_{number} waits for the video: {load:?}, {video:?}");
                    }
                    state = match patience {
                        Some(patience) => {
                            self.changed.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner).0
                        }
                        None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                    };
                }
            }
        }
        let lane = state.lanes.get_mut(&number).filter(|lane| !lane.flushing).ok_or(gst::FlowError::Flushing)?;
        gst::trace!(CAT, obj = lane.sinkpad, "{:?}", buffer);
        let key_frame = lane.add_buffer(buffer);
        let (load, sinkpad) = (lane.load(), lane.sinkpad.clone());
        if let Some((time, key_frames)) = key_frame.zip(state.leads(number)) {
            key_frames.add(time);
            state.asked = None;
        }
        let asks = self.wants_key_frame(number, &mut state);
        let kept_whole = Self::give_in(load, &mut state);
        drop(state);
        self.changed.notify_all();
        if let Some(times) = asks {
            gst::debug!(
                CAT,
                obj = sinkpad,
                "No key frame has come for {} s: asks for one",
                u64::from(times) * ASK / 1_000_000_000
            );
            sinkpad.push_event(gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(true).build());
            if times == ASKED_IN_VAIN {
                gst::element_imp_warning!(
                    self,
                    gst::StreamError::Encode,
                    [
                        "sink_{number}: no key frame has come for {} s, though upstream was asked for one. Encoded video can be cut only there, \
                         and waits in memory: let the encoder make one every few seconds (x264enc: key-int-max)",
                        u64::from(times) * ASK / 1_000_000_000
                    ]
                );
            }
        }
        if let Some(leader) = kept_whole {
            gst::element_imp_warning!(
                self,
                gst::StreamError::Encode,
                ["sink_{leader}: too much waits for the next key frame: all of the video is kept until that comes"]
            );
        }
        Ok(gst::FlowSuccess::Ok)
    }

    /// A buffer that nothing makes room for is lost.
    fn lose(&self, number: u32, mut state: std::sync::MutexGuard<'_, State>) -> gst::FlowSuccess {
        let Some(lane) = state.lanes.get_mut(&number) else { return gst::FlowSuccess::Ok };
        lane.lose();
        let first = !std::mem::replace(&mut lane.told, true);
        drop(state);
        if first {
            gst::element_imp_warning!(
                self,
                gst::StreamError::Failed,
                [
                    "sink_{number}: {} MiB wait, and no video comes: what comes now is lost until it does",
                    room::MOST >> 20
                ]
            );
        }
        gst::FlowSuccess::Ok
    }

    /// Whether the stream of this number is encoded video whose upstream is to be asked for a key frame: how often it was.
    fn wants_key_frame(&self, number: u32, state: &mut State) -> Option<u32> {
        let arrived = state.lanes.get(&number)?.load().arrived;
        let newest = state.leads(number)?.newest()?;
        let (last, times) = state.asked.unwrap_or((newest, 0));
        if arrived.saturating_sub(last) < ASK {
            return None;
        }
        state.asked = Some((last + ASK, times + 1));
        Some(times + 1)
    }

    /// If too much waits for the next key frame: whose.
    fn give_in(load: room::Stream, state: &mut State) -> Option<u32> {
        let State { run, key_frames, .. } = state;
        let (timeline, (leader, key_frames)) = (&run.as_ref()?.timeline, key_frames.as_mut()?);
        key_frames.follow(timeline);
        let behind = key_frames.timeline.decided() < timeline.decided();
        let full = load.bytes >= room::MOST && !load.sending && behind;
        if !full && key_frames.waiting(timeline) < LONGEST_GROUP {
            return None;
        }
        key_frames.give_in(timeline);
        Some(*leader)
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
        gst::debug!(CAT, obj = lane.sinkpad, "{:?}", event);
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
                lane.sending = true;
                break (next, lane.srcpad.clone());
            }
            guard = self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner);
        };
        drop(guard);
        // There is room for more.
        self.changed.notify_all();
        let flow = match next {
            Next::Buffer(buffer) => {
                gst::log!(CAT, obj = pad, "{:?}", buffer);
                pad.push(buffer)
            }
            Next::Event(event) => {
                gst::log!(CAT, obj = pad, "{:?}", event);
                pad.push_event(event);
                Ok(gst::FlowSuccess::Ok)
            }
            Next::Wait => Ok(gst::FlowSuccess::Ok),
        };
        if let Some(lane) = self.state().lanes.get_mut(&number) {
            lane.sending = false;
        }
        self.changed.notify_all();
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

#[cfg(test)]
mod tests {
    use super::*;
    use glib::subclass::types::ObjectSubclassIsExt;

    #[test]
    fn a_panic_in_a_pads_task_is_an_error_of_the_element() {
        gst::init().unwrap();
        let element: super::super::Skim = glib::Object::new();
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        let pad = gst::Pad::new(gst::PadDirection::Src);
        element.imp().guarded(&pad, |_| panic!("a bug"));
        let message = bus.pop_filtered(&[gst::MessageType::Error]).unwrap();
        let gst::MessageView::Error(error) = message.view() else { unreachable!() };
        let said = format!("{} {:?}", error.error(), error.debug());
        assert!(said.contains("Panicked: a bug"), "{said}");
    }
}
