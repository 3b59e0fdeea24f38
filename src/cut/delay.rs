//! Makes up for the delay of a sound encoder: what it encodes begins with silence that its file does not tell of, and what it
//! still holds at the end is lost. So it gets as much less of the beginning, and silence at the end up to a whole frame.

use std::sync::{Mutex, PoisonError};

use gst::prelude::*;
use gst_audio::AudioInfo;

/// What was sent of a stream.
#[derive(Default)]
struct Sent {
    samples: u64,
    /// Time of the next sample.
    end: Option<gst::ClockTime>,
}

/// Has a player hear what `from` sends to the encoder behind `to` when it should. The encoder's frame and its delay are both
/// `frame` samples; the sound is interleaved, and silence is 0.
pub fn make_up(from: &gst::Pad, to: &gst::Pad, frame: u64) {
    let sent = Mutex::new(Sent::default());
    let target = to.downgrade();
    from.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM, move |pad, info| {
        let mut sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
        let sound = pad.current_caps().and_then(|caps| AudioInfo::from_caps(&caps).ok());
        let (Some(sound), Some(target)) = (sound, target.upgrade()) else { return gst::PadProbeReturn::Ok };
        let time_of =
            |samples: u64| gst::ClockTime::from_nseconds((samples * 1_000_000_000).div_ceil(sound.rate().into()));
        if let Some(buffer) = info.buffer() {
            if sent.samples == 0 {
                target.set_offset(-(time_of(frame).nseconds() as i64));
            }
            let samples = buffer.size() as u64 / u64::from(sound.bpf());
            sent.samples += samples;
            sent.end = buffer.pts().map(|pts| pts + time_of(samples));
        } else if info.event().is_some_and(|event| event.type_() == gst::EventType::Eos) && sent.samples > frame {
            let whole = (sent.samples + frame / 2) / frame * frame;
            let mut silence = gst::Buffer::from_mut_slice(vec![
                0;
                ((whole + frame - sent.samples) * u64::from(sound.bpf()))
                    as usize
            ]);
            silence.make_mut().set_pts(sent.end);
            // Past this probe.
            let _ = target.chain(silence);
        }
        gst::PadProbeReturn::Ok
    });
}
