//! Lets the picture that plays last end when it should.
//!
//! An MP4 file tells how long until the next picture is *decoded*, and players take that for how long a picture plays. Where pictures are
//! decoded in another order than they play in, others are decoded after the last one: it would play as long as they are apart, and the file
//! would end that much after its sound or before it.

use std::sync::{Arc, Mutex, PoisonError};

use gst::prelude::*;

use super::Shown;

#[derive(Default)]
struct Passed {
    /// How long before it plays the first picture is decoded.
    lead: Option<gst::ClockTime>,
    /// The picture that plays last so far, and those that are decoded after it.
    held: Vec<gst::Buffer>,
    /// Held pictures go on: they are not to be held again.
    releasing: bool,
}

/// Sets the times of the last pictures that get to a muxer's pad. Their own durations are no guide: parsers make them all alike.
pub(super) fn end_in_time(pad: &gst::Pad, shown: &Shown) {
    let shown = shown.clone();
    let passed = Arc::new(Mutex::new(Passed::default()));
    pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM, move |pad, info| {
        let lock = || passed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = lock();
        let mut held = match &mut info.data {
            _ if state.releasing => return gst::PadProbeReturn::Ok,
            Some(gst::PadProbeData::Buffer(buffer)) => {
                let ahead = buffer.pts().zip(buffer.dts()).map(|(pts, dts)| pts.saturating_sub(dts));
                state.lead = state.lead.or(ahead);
                let plays_last = state.held.first().is_none_or(|last| last.pts() < buffer.pts());
                let before = if plays_last { std::mem::take(&mut state.held) } else { Vec::new() };
                state.held.push(buffer.clone());
                before
            }
            Some(gst::PadProbeData::Event(event)) if event.type_() == gst::EventType::Eos => {
                let mut last = std::mem::take(&mut state.held);
                let lead = state.lead.unwrap_or_default();
                end(&mut last, lead, shown.last());
                last
            }
            _ => return gst::PadProbeReturn::Ok,
        };
        state.releasing = true;
        drop(state);
        let flow = held.drain(..).try_fold(gst::FlowSuccess::Ok, |_, buffer| pad.chain(buffer));
        lock().releasing = false;
        if info.buffer().is_none() {
            return gst::PadProbeReturn::Ok;
        }
        info.flow_res = flow;
        gst::PadProbeReturn::Handled
    });
}

/// The first of these pictures plays last, for `duration`; the others are decoded after it. The first of all is decoded `lead` before it
/// plays.
fn end(pictures: &mut [gst::Buffer], lead: gst::ClockTime, duration: gst::ClockTime) {
    let [last, others @ ..] = pictures else { return };
    let (Some(pts), Some(dts)) = (last.pts(), last.dts()) else { return };
    last.make_mut().set_duration(duration);
    let next = dts + duration;
    let room = |first: &gst::Buffer, second: Option<&gst::Buffer>| {
        first.pts().is_none_or(|pts| next <= pts) && second.and_then(|second| second.dts()).is_none_or(|dts| next < dts)
    };
    let second = others.get(1).cloned();
    if let Some(first) = others.first_mut().filter(|first| room(first, second.as_ref())) {
        first.make_mut().set_dts(next);
    }
    // The whole is as long as all pictures play.
    if let Some(decoded_last) = others.last_mut()
        && let Some(rest) = decoded_last.dts().and_then(|dts| (pts + duration).checked_sub(dts + lead))
    {
        decoded_last.make_mut().set_duration(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pictures by when they play and are decoded; when they are decoded then, and for how long each lasts.
    fn ended(pictures: &[(u64, u64)], duration: u64) -> Vec<(u64, u64)> {
        gst::init().unwrap();
        let time = gst::ClockTime::from_mseconds;
        let buffer = |&(pts, dts): &(u64, u64)| {
            let mut buffer = gst::Buffer::new();
            let fields = buffer.make_mut();
            fields.set_pts(time(pts));
            fields.set_dts(time(dts));
            fields.set_duration(time(40));
            buffer
        };
        let mut buffers: Vec<_> = pictures.iter().map(buffer).collect();
        end(&mut buffers, time(80), time(duration));
        let told = |buffer: &gst::Buffer| (buffer.dts().unwrap().mseconds(), buffer.duration().unwrap().mseconds());
        buffers.iter().map(told).collect()
    }

    #[test]
    fn the_last_picture_ends_in_time_and_so_does_the_file() {
        // 5 ms long, and decoded before two others: the next one is decoded when it is over.
        assert_eq!(ended(&[(360, 200), (280, 240), (320, 280)], 5), [(200, 5), (205, 40), (280, 5)]);
        assert_eq!(ended(&[(360, 280)], 5), [(280, 5)]);
        // So long that the others would be decoded too late.
        assert_eq!(ended(&[(320, 200), (280, 240)], 500), [(200, 500), (240, 500)]);
    }
}
