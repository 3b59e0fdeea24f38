//! Makes up for the delay of a sound encoder, which its packets do not tell of: all that is heard comes a frame late. So the
//! encoder gets the sound a frame early, without its first frame, and with silence at the end in its place.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gst::prelude::*;
use gst_audio::{AudioInfo, audio_buffer_truncate};

/// What went through so far.
#[derive(Default)]
struct Passed {
    samples: u64,
    /// Time of the next sample.
    end: Option<gst::ClockTime>,
    packets: u64,
    /// How many packets are to come out, known at the end.
    wanted: Option<u64>,
}

fn lock(passed: &Mutex<Passed>) -> MutexGuard<'_, Passed> {
    passed.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Changes what `from` sends to `to`, and drops what comes out of `encoder` after the frame that the sound ends in. A frame is `frame`
/// samples; the sound is interleaved, and silence is 0.
pub fn make_up(from: &gst::Pad, to: &gst::Pad, encoder: &gst::Pad, frame: u64) {
    let passed = Arc::new(Mutex::new(Passed::default()));
    let (sending, target) = (passed.clone(), to.downgrade());
    from.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM, move |pad, info| {
        let sound = pad.current_caps().and_then(|caps| AudioInfo::from_caps(&caps).ok());
        let Some(sound) = sound else { return gst::PadProbeReturn::Ok };
        let time = |samples: u64| gst::ClockTime::from_nseconds(samples * 1_000_000_000 / u64::from(sound.rate()));
        let mut passed = lock(&sending);
        match &mut info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => {
                let samples = buffer.size() as u64 / u64::from(sound.bpf());
                let early = frame.saturating_sub(passed.samples);
                passed.samples += samples;
                if samples <= early {
                    return gst::PadProbeReturn::Drop;
                }
                let pts = buffer.pts();
                if early > 0 {
                    *buffer = audio_buffer_truncate(buffer.clone(), sound.bpf(), early as usize, None);
                }
                let pts = pts.and_then(|pts| (pts + time(early)).checked_sub(time(frame)));
                let buffer = buffer.make_mut();
                buffer.set_pts(pts);
                buffer.set_duration(time(samples - early));
                passed.end = pts.map(|pts| pts + time(samples - early));
            }
            Some(gst::PadProbeData::Event(event)) if event.type_() == gst::EventType::Eos && passed.samples > frame => {
                let wanted = passed.samples.div_ceil(frame);
                passed.wanted = Some(wanted);
                let missing = (wanted + 1) * frame - passed.samples;
                let mut silence = gst::Buffer::from_mut_slice(vec![0u8; (missing * u64::from(sound.bpf())) as usize]);
                silence.make_mut().set_pts(passed.end);
                drop(passed);
                // Past this probe. Where it is refused, an error or the end has come from there.
                let _ = target.upgrade().map(|target| target.chain(silence));
            }
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
    encoder.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        let mut passed = lock(&passed);
        passed.packets += 1;
        let beyond = passed.wanted.is_some_and(|wanted| passed.packets > wanted);
        if beyond { gst::PadProbeReturn::Drop } else { gst::PadProbeReturn::Ok }
    });
}
