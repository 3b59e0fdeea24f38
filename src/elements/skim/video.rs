//! The video's pads: frames and events come in, and go out when they are decided.

use std::{collections::VecDeque, time::Instant};

use gst::{prelude::*, subclass::prelude::*};

use super::{
    imp::{CAT, Skim, keep_sticky},
    run::Out,
};
use desumnet_media::scaler::nominal_spacing;

impl Skim {
    pub(super) fn chain(&self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        let mut state = self.state();
        if let Some(error) = state.failed {
            return Err(error);
        }
        state.idle = None;
        let settled = state.settled();
        state.key_frames.iter_mut().for_each(|(_, key_frames)| key_frames.timeline.forget(settled));
        let run = state.run.as_mut().ok_or(gst::FlowError::Flushing)?;
        let latency = run.latency();
        let warn = run.add_frame(buffer);
        run.timeline.forget(settled);
        let changed = run.latency() != latency;
        let out = run.release();
        gst::trace!(
            CAT,
            imp = self,
            "{} go out, {} wait, decided up to {} ms",
            out.len(),
            run.waiting(),
            run.timeline.decided() / 1_000_000
        );
        drop(state);
        self.changed.notify_all();
        if warn {
            gst::element_imp_warning!(
                self,
                gst::StreamError::Failed,
                ["Frames without importance are kept: put desumnet before desumskim, with mode=annotate"]
            );
        }
        if changed {
            self.post_latency();
        }
        let flow = self.send(out);
        self.rest();
        flow
    }

    /// Nothing of the video is on its way any more.
    fn rest(&self) {
        self.state().idle = Some(Instant::now());
        self.changed.notify_all();
    }

    /// Pushes and posts; of what can't be pushed, the events that come only once stay on the pad.
    fn send(&self, mut out: VecDeque<Out>) -> Result<gst::FlowSuccess, gst::FlowError> {
        while let Some(next) = out.pop_front() {
            match next {
                Out::Buffer(buffer) => {
                    gst::log!(CAT, obj = self.srcpad, "{:?}", buffer);
                    if let Err(error) = self.srcpad.push(buffer).or_else(|error| self.if_only_scored(error)) {
                        let event = |out| if let Out::Event(event) = out { Some(event) } else { None };
                        keep_sticky(&self.srcpad, out.into_iter().filter_map(event));
                        return Err(error);
                    }
                }
                Out::Event(event) => {
                    gst::log!(CAT, obj = self.srcpad, "{:?}", event);
                    self.srcpad.push_event(event);
                }
                Out::Message(structure) => {
                    gst::debug!(CAT, imp = self, "{structure}");
                    let element = self.obj();
                    let _ = element.post_message(gst::message::Element::builder(structure).src(&*element).build());
                }
            }
        }
        Ok(gst::FlowSuccess::Ok)
    }

    /// A video that leads nowhere may be there for the sake of the other streams.
    fn if_only_scored(&self, error: gst::FlowError) -> Result<gst::FlowSuccess, gst::FlowError> {
        let wanted = || self.state().lanes.values().any(|lane| lane.srcpad.is_linked());
        if error == gst::FlowError::NotLinked && wanted() { Ok(gst::FlowSuccess::Ok) } else { Err(error) }
    }

    pub(super) fn sink_event(&self, event: gst::Event) -> bool {
        match event.type_() {
            gst::EventType::FlushStart => {
                self.state().flushing = true;
                self.changed.notify_all();
                return self.srcpad.push_event(event);
            }
            gst::EventType::FlushStop => {
                self.begin_anew();
                return self.srcpad.push_event(event);
            }
            _ if !event.is_serialized() => return self.srcpad.push_event(event),
            _ => {}
        }
        let mut state = self.state();
        let Some(run) = &mut state.run else { return false };
        let caps = if let gst::EventView::Caps(caps) = event.view() { Some(caps.caps()) } else { None };
        if let Some(caps) = caps {
            run.set_spacing(gst_video::VideoInfo::from_caps(caps).map_or(0, |info| nominal_spacing(&info)));
        }
        let caps = caps.is_some();
        gst::debug!(CAT, obj = self.sinkpad, "{:?}", event);
        run.add_event(event);
        let out = run.release();
        state.idle = None;
        drop(state);
        self.changed.notify_all();
        if caps {
            self.post_latency();
        }
        // What downstream thinks of the frames, upstream hears at its next one.
        let _ = self.send(out);
        self.rest();
        true
    }

    /// After a flush nothing of what was is known, and times begin anew for all streams.
    fn begin_anew(&self) {
        let mut state = self.state();
        state.flushing = false;
        state.lanes.values_mut().for_each(super::lane::Lane::begin_anew);
        state.key_frames.iter_mut().for_each(|(_, key_frames)| key_frames.begin_anew());
        let begun = state.run.as_mut().map(super::run::Run::begin_anew);
        drop(state);
        self.changed.notify_all();
        match begun {
            Some(Ok(events)) => keep_sticky(&self.srcpad, events.into_iter()),
            Some(Err(error)) => gst::element_imp_error!(self, gst::LibraryError::Settings, ("{error}")),
            None => {}
        }
    }

    /// Upstream wants its buffers back: what waits goes out.
    pub(super) fn drain(&self) {
        let out = self.state().run.as_mut().map(|run| {
            run.finish();
            run.release()
        });
        self.changed.notify_all();
        let _ = out.map(|out| self.send(out));
    }
}
