//! When what comes is to play: times that run on over jumps and connections, and sound in step with its pictures.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, atomic::Ordering},
};

use gst::prelude::*;

use super::{ENDED, Kind, OVER, Pace, Streams, locked};
use crate::{ring::Packet, source::Arrival};

/// What buffers count their times from, so that pictures can be decoded before the first one plays. `h264timestamper` would move what is
/// earlier than 1000 h.
const START: i64 = 3_600_000 * 1_000_000_000;
/// Sound that waits for the first picture, which may come later: at most so much of it, ns, and so many bytes.
const SOUND_WAITS: i64 = 20_000_000_000;
const SOUND_WAITS_BYTES: usize = 8 << 20;
/// A camera that sends no key frame for as long is asked for one, and again after as long, ns.
const KEY_FRAMES: u64 = 10_000_000_000;

impl Streams {
    /// Lets the buffers of a pad count from [`START`] in running time, as in one segment. `shown` is where they come from.
    pub(super) fn count_from_start(self: &Arc<Self>, pad: &gst::Pad, shown: &gst::Pad) {
        let (streams, shown) = (self.clone(), shown.downgrade());
        let told = Mutex::new((gst::FormattedSegment::<gst::ClockTime>::new(), false));
        let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
        pad.add_probe(kinds, move |_, info| {
            let mut told = locked(&told);
            let (segment, passed) = &mut *told;
            match &mut info.data {
                Some(gst::PadProbeData::Event(event)) => {
                    if let gst::EventView::Segment(new) = event.view() {
                        let mut from_start = gst::FormattedSegment::<gst::ClockTime>::new();
                        from_start.set_start(gst::ClockTime::from_nseconds(START as u64));
                        // It passes again, as it is now, where the pad is linked anew.
                        if let Some(new) = new.segment().downcast_ref::<gst::ClockTime>()
                            && *new != from_start
                        {
                            *segment = new.clone();
                        }
                        *event = gst::event::Segment::new(&from_start);
                        // Each further one would make `h264timestamper` begin anew.
                        if std::mem::replace(passed, true) {
                            return gst::PadProbeReturn::Handled;
                        }
                    } else if event.type_() == gst::EventType::Eos {
                        streams.post(ENDED);
                    }
                    gst::PadProbeReturn::Ok
                }
                Some(gst::PadProbeData::Buffer(buffer)) => {
                    let at = |time| running(segment, time).and_then(|time| u64::try_from(START + time).ok());
                    let at = |time| at(time).map(gst::ClockTime::from_nseconds);
                    let (time, decode) = (buffer.pts().or(buffer.dts()).and_then(at), buffer.dts().and_then(at));
                    if time.is_none() || streams.kind(&shown) == Kind::Over {
                        return gst::PadProbeReturn::Handled;
                    }
                    let times = buffer.make_mut();
                    times.set_pts(time);
                    times.set_dts(decode);
                    gst::PadProbeReturn::Ok
                }
                _ => gst::PadProbeReturn::Ok,
            }
        });
    }

    /// Whether it ends of its own: known when the first picture comes.
    fn kind(&self, shown: &glib::WeakRef<gst::Pad>) -> Kind {
        *self.kind.get_or_init(|| {
            let has_length = || {
                let Some(pad) = shown.upgrade() else { return false };
                let time = pad.query_duration::<gst::ClockTime>();
                time.is_some() || pad.query_duration::<gst::format::Bytes>().is_some()
            };
            let was_live = &self.shared.was_live;
            match self.shared.pace {
                Pace::Asked => Kind::Recording,
                Pace::Pieces if has_length() && was_live.load(Ordering::Relaxed) => {
                    self.post(OVER);
                    Kind::Over
                }
                Pace::Pieces if has_length() => Kind::Recording,
                Pace::Live | Pace::Pieces => {
                    was_live.store(true, Ordering::Relaxed);
                    Kind::Live
                }
            }
        })
    }

    /// Brings the pictures to times that run on over jumps and connections.
    pub(super) fn keep_time(self: &Arc<Self>, pad: &gst::Pad) {
        let streams = self.clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data else { return gst::PadProbeReturn::Ok };
            match streams.place(buffer) {
                Some(()) => gst::PadProbeReturn::Ok,
                None => gst::PadProbeReturn::Handled,
            }
        });
    }

    /// Gives a picture its new times; `None` for one that has none.
    fn place(&self, buffer: &mut gst::Buffer) -> Option<()> {
        let came = buffer.pts()?.nseconds() as i64 - START;
        let ahead = buffer.dts().map_or(0, |dts| (came + START - dts.nseconds() as i64).max(0));
        let duration = buffer.duration().map_or(0, gst::ClockTime::nseconds);
        let (time, breaks) = self.shared.clock().picture(came, duration, self.shared.now());
        if breaks {
            // Nobody listens only when it is all over.
            self.shared.hand_on(Arrival::Break);
        }
        let times = buffer.make_mut();
        times.set_pts(at(time));
        times.set_dts(at(time - ahead));
        // What was heard before the first picture can be placed now.
        let _ = self.hand_sound_on(&mut locked(&self.waiting));
        (time >= 0).then_some(())
    }

    /// Some sound comes.
    pub(super) fn hear(&self, sample: gst::Sample) -> Result<gst::FlowSuccess, gst::FlowError> {
        let segment = sample.segment().and_then(|segment| segment.downcast_ref::<gst::ClockTime>());
        let time = sample.buffer().and_then(|buffer| buffer.pts().or(buffer.dts()));
        let Some(came) = segment.zip(time).and_then(|(segment, time)| running(segment, time)) else {
            return Ok(gst::FlowSuccess::Ok);
        };
        let mut waiting = locked(&self.waiting);
        waiting.push_back((came, sample));
        self.hand_sound_on(&mut waiting)
    }

    /// Hands on the sound that waits, once there are pictures: their times are what it is placed by.
    fn hand_sound_on(&self, waiting: &mut VecDeque<(i64, gst::Sample)>) -> Result<gst::FlowSuccess, gst::FlowError> {
        if !self.shared.clock().has_pictures() {
            let size = |waiting: &VecDeque<(i64, gst::Sample)>| {
                waiting.iter().filter_map(|(_, sample)| sample.buffer()).map(gst::BufferRef::size).sum::<usize>()
            };
            let length = |waiting: &VecDeque<(i64, gst::Sample)>| match (waiting.front(), waiting.back()) {
                (Some((first, _)), Some((last, _))) => last - first,
                _ => 0,
            };
            while length(waiting) > SOUND_WAITS || size(waiting) > SOUND_WAITS_BYTES {
                waiting.pop_front();
            }
            return Ok(gst::FlowSuccess::Ok);
        }
        while let Some((came, sample)) = waiting.pop_front() {
            let time = self.shared.clock().sound(came + locked(&self.lips).shift());
            let Some(time) = time.filter(|time| *time >= 0) else { continue };
            let Some(mut buffer) = sample.buffer_owned() else { continue };
            let times = buffer.make_mut();
            times.set_pts(at(time));
            times.set_dts(at(time));
            let placed = gst::Sample::builder().buffer(&buffer);
            let placed = match sample.caps_owned() {
                Some(caps) => placed.caps(&caps).build(),
                None => placed.build(),
            };
            self.send(placed, false)?;
        }
        Ok(gst::FlowSuccess::Ok)
    }

    pub(super) fn send(&self, sample: gst::Sample, is_video: bool) -> Result<gst::FlowSuccess, gst::FlowError> {
        let buffer = sample.buffer().ok_or(gst::FlowError::Error)?;
        let since_start =
            |time: Option<gst::ClockTime>| time.map_or(0, |time| time.nseconds().saturating_sub(START as u64));
        let packet = Packet {
            time: since_start(buffer.pts()),
            decode: since_start(buffer.dts()),
            duration: buffer.duration().map_or(0, gst::ClockTime::nseconds),
            key: !is_video || !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT),
            bytes: buffer.size(),
            data: sample,
        };
        if is_video {
            self.ask_for_key_frames(&packet);
        }
        let arrival = if is_video { Arrival::Video(packet) } else { Arrival::Sound(packet) };
        // Nobody takes it only when it is all over.
        if !self.shared.hand_on(arrival) {
            return Err(gst::FlowError::Eos);
        }
        if is_video {
            self.shared.counts.frames.fetch_add(1, Ordering::Relaxed);
        }
        Ok(gst::FlowSuccess::Ok)
    }

    /// Asks for a key frame where none came for long: a clip can begin only there. Not every camera hears it.
    fn ask_for_key_frames(&self, packet: &Packet<gst::Sample>) {
        let since = self.key_frame.load(Ordering::Relaxed);
        if !packet.key && packet.time < since + KEY_FRAMES {
            return;
        }
        self.key_frame.store(packet.time, Ordering::Relaxed);
        if let Some(pad) = locked(&self.encoded).upgrade().filter(|_| !packet.key) {
            pad.send_event(gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(true).build());
        }
    }
}

/// A time that counts from [`START`].
fn at(time: i64) -> Option<gst::ClockTime> {
    u64::try_from(START + time).ok().map(gst::ClockTime::from_nseconds)
}

/// The running time of a time in a segment, ns.
fn running(segment: &gst::FormattedSegment<gst::ClockTime>, time: gst::ClockTime) -> Option<i64> {
    let time = segment.to_running_time_full(time)?;
    let ns = i64::try_from(time.abs().nseconds()).ok()?;
    Some(if time.is_negative() { -ns } else { ns })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::{super::Shared, *};

    #[test]
    fn sound_that_comes_before_the_first_picture_waits_for_it() {
        gst::init().unwrap();
        let (pipeline, (sender, arrivals)) = (gst::Pipeline::new(), sync_channel(1_000));
        let shared = Arc::new(Shared::new(Pace::Live, sender, Arc::default(), &pipeline));
        let streams = Streams::new(&shared, &gst::Bin::new(), None);
        let ms = gst::ClockTime::from_mseconds;
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        let hear = |time: u64| {
            let mut buffer = gst::Buffer::from_slice([0; 10]);
            buffer.get_mut().unwrap().set_pts(ms(time));
            streams.hear(gst::Sample::builder().buffer(&buffer).segment(&segment).build()).unwrap();
        };
        // A camera whose pictures wait for two seconds on the way, and then come at once.
        (400..2_400).step_by(20).for_each(hear);
        assert!(arrivals.try_iter().next().is_none());
        let mut picture = gst::Buffer::from_slice([0; 10]);
        picture.get_mut().unwrap().set_pts(at(1_000 * 1_000_000));
        assert_eq!(streams.place(&mut picture), Some(()));
        hear(2_400);
        let times: Vec<u64> = arrivals
            .try_iter()
            .map(|arrival| match arrival {
                Arrival::Sound(packet) => packet.time / 1_000_000,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(times, (400..2_420).step_by(20).collect::<Vec<_>>());
        // So much waits and no more.
        shared.clock().connect();
        (5_000..45_000).step_by(20).for_each(hear);
        assert_eq!(locked(&streams.waiting).len(), 1_001);
        shared.close();
        assert!(!shared.hand_on(Arrival::Break));
    }
}
