//! Copies the encoded streams of a file from key frame to key frame: fast, and no picture loses quality.
//!
//! [`Grid::of`] reads the file through first. It tells where there are key frames, and what copying needs to know besides: how far
//! pictures are decoded before they play, which groups of pictures are open, and how much of a trimmed file is hidden.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gst::prelude::*;

pub use super::grid::Grid;
use super::{
    CutError, Making, Running, Stop, Unlinked, caps_of, grid::Encoded, link_pads, make, order::Order, orientation,
    pad_of, request, splice::Splice, told,
};
use crate::{
    decode::{DecodeError, First, uri_of},
    edit_list,
};
use desumnet_decide::plan::{Part, Plan};

/// What the muxer sees as the beginning of what is seen: pictures are decoded before it that play after it.
const START: gst::ClockTime = gst::ClockTime::from_seconds(3_600);
/// Encoded bytes of one stream that may wait for another.
const WAITING: u32 = 256 << 20;
/// Codecs that containers want in forms of their own, and what brings them there.
const PARSERS: [(&str, &str); 2] = [("video/x-h264", "h264parse"), ("video/x-h265", "h265parse")];

/// Facts about a file's first video stream, gathered as its packets pass.
#[derive(Default)]
struct Seen {
    has_video: bool,
    pictures: Vec<Encoded>,
    /// Where the stretch of it that plays begins, ns, and how many there were up to it.
    begins: i64,
    stretches: usize,
    /// A stretch that is not the first begins with hidden pictures.
    is_split: bool,
    /// Width and height, and whether they change.
    size: Option<(i32, i32)>,
    is_resized: bool,
    /// Some pictures play later than in the order of decoding, and it is not told when.
    is_unplaced: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Grid {
    /// Of a file's first video stream, with times since its first picture. Reads it through.
    ///
    /// # Errors
    /// [`CutError`]
    pub fn of(video: &str) -> Result<Self, CutError> {
        let first = i64::try_from(First::of(video)?.ns).unwrap_or_default();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let mut pipeline = Running::new();
        let source = encoded(&uri_of(video)?, &pipeline.pipeline)?;
        let (seeing, weak) = (seen.clone(), pipeline.pipeline.downgrade());
        source.connect_pad_added(move |_, pad| {
            // Streams that go nowhere would be an error, or have no end.
            let sink = gst::ElementFactory::make("fakesink").property("async", false).build();
            let (Ok(sink), Some(pipeline)) = (sink, weak.upgrade()) else { return };
            let linked = pipeline.add(&sink).is_ok() && sink.sync_state_with_parent().is_ok();
            let Some(target) = sink.static_pad("sink").filter(|_| linked) else { return };
            let _ = pad.link(&target);
            let is_video = caps_of(pad).structure(0).is_some_and(|caps| caps.name().starts_with("video/"));
            if is_video && !std::mem::replace(&mut lock(&seeing).has_video, true) {
                see(pad, &seeing);
            }
        });
        let stopped = pipeline.run(|_| {});
        let seen = std::mem::take(&mut *lock(&seen));
        let broken = |reason: String| DecodeError::Broken { video: video.into(), reason };
        let error = match stopped {
            Err(Stop::Failed(reason) | Stop::Unreadable(reason) | Stop::Unwritable(reason)) => broken(reason),
            Err(Stop::Stalled) => DecodeError::Stalled { video: video.into() },
            _ if !seen.has_video => DecodeError::NoVideo { video: video.into() },
            _ => match Self::of_pictures(seen.pictures.clone(), first) {
                _ if seen.is_unplaced => return Err(uncopied(video, "it does not tell when its pictures play")),
                _ if seen.is_resized => return Err(uncopied(video, "the size of its pictures changes")),
                _ if seen.is_split => {
                    return Err(uncopied(video, "its edit list plays stretches from between key frames"));
                }
                Some(grid) => return Ok(grid),
                None => DecodeError::Empty { video: video.into() },
            },
        };
        Err(DecodeError::for_want_of(&pipeline.missing, error).into())
    }
}

fn uncopied(video: &str, reason: &str) -> CutError {
    CutError::Uncopied { video: video.into(), reason: reason.into() }
}

/// Takes down all pictures that pass a pad.
fn see(pad: &gst::Pad, seen: &Arc<Mutex<Seen>>) {
    let seeing = seen.clone();
    let codec = caps_of(pad);
    each_buffer(pad, move |buffer, time| {
        let mut seen = lock(&seeing);
        if let Some(time) = time {
            let is_key = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
            let duration = buffer.duration().map_or(0, gst::ClockTime::nseconds);
            seen.pictures.push(Encoded { time, duration, is_key });
            seen.is_split |= seen.stretches > 1 && time < seen.begins;
            seen.is_unplaced |= buffer.pts().is_none() && !is_key && may_be_late(&codec, buffer);
        }
        true
    });
    let seeing = seen.clone();
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        let mut seen = lock(&seeing);
        match info.event().map(|event| event.view()) {
            Some(gst::EventView::Segment(segment)) => {
                let segment = segment.segment().downcast_ref::<gst::ClockTime>();
                let time = segment.and_then(gst::FormattedSegment::time);
                seen.begins = time.map_or(0, |time| time.nseconds() as i64);
                seen.stretches += 1;
            }
            Some(gst::EventView::Caps(caps)) => {
                let side = |name| caps.caps().structure(0).and_then(|caps| caps.get::<i32>(name).ok());
                if let Some(size) = side("width").zip(side("height")) {
                    seen.is_resized |= seen.size.replace(size).is_some_and(|before| before != size);
                }
            }
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
}

/// Whether a picture may play after one that is decoded later, as far as its bytes tell.
fn may_be_late(codec: &gst::Caps, buffer: &gst::BufferRef) -> bool {
    let Some(caps) = codec.structure(0) else { return false };
    // Start code of a picture, and where in the two bytes after it stands which kind it is: bit, mask, and number of the late kind.
    let (code, shift, mask, late) = match (caps.name().as_str(), caps.get::<i32>("mpegversion")) {
        ("video/mpeg", Ok(4)) => (0xb6, 14, 3, 2),
        ("video/mpeg", _) => (0x00, 3, 7, 3),
        ("video/x-h264" | "video/x-h265", _) => return true,
        _ => return false,
    };
    let Ok(map) = buffer.map_readable() else { return false };
    let kind = |bytes: &[u8]| u16::from_be_bytes([bytes[4], bytes[5]]) >> shift & mask;
    map.windows(6).any(|bytes| bytes[..4] == [0, 0, 1, code] && kind(bytes) == late)
}

/// Puts the source before the muxer, with only the plan's parts passing.
pub(super) fn build(making: Making, uri: &str, plan: &Plan, grid: &Grid) -> Result<(), CutError> {
    let pipeline = making.pipeline.upgrade().ok_or_else(|| CutError::Element("pipeline".into()))?;
    let source = encoded(uri, &pipeline)?;
    let copy = Arc::new(Copy {
        moves: Move::all(plan),
        start: START - gst::ClockTime::from_nseconds(hidden(grid, plan)),
        grid: grid.clone(),
    });
    making.begin(&source, move |making, pipeline, video, sounds| copy.link(making, pipeline, video, sounds));
    Ok(())
}

/// How long the pictures are that the first part of a plan begins with and nobody is to see, ns.
pub(super) fn hidden(grid: &Grid, plan: &Plan) -> u64 {
    let begins = plan.parts().first().is_some_and(|part| grid.begins_at(part.start_ns));
    if begins { grid.hidden } else { 0 }
}

/// Adds a source of streams that stay encoded; it gets their pads.
fn encoded(uri: &str, pipeline: &gst::Pipeline) -> Result<gst::Element, CutError> {
    let source = gst::Element::make_from_uri(gst::URIType::Src, uri, None);
    let source = source.map_err(|_| CutError::Element(format!("a source for {uri}")))?;
    let parser = make("parsebin")?;
    let store = edit_list::store(uri).transpose().map_err(|_| CutError::Element("queue2".into()))?;
    let chain: Vec<&gst::Element> = [Some(&source), store.as_ref(), Some(&parser)].into_iter().flatten().collect();
    let linked = pipeline.add_many(&chain).and_then(|()| gst::Element::link_many(&chain));
    linked.map_err(|e| CutError::Element(e.to_string()))?;
    Ok(parser)
}

/// Has `passes` look at every buffer of a pad and its time in the video, ns (below 0: hidden), and drops those that it refuses.
fn each_buffer(pad: &gst::Pad, passes: impl FnMut(&mut gst::BufferRef, Option<i64>) -> bool + Send + 'static) {
    let passes = Mutex::new(passes);
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let segment = pad.sticky_event::<gst::event::Segment>(0);
        let segment = segment.and_then(|event| event.segment().downcast_ref::<gst::ClockTime>().cloned());
        let Some(buffer) = info.buffer_mut() else { return gst::PadProbeReturn::Ok };
        // Some containers, AVI for one, tell when to decode only.
        let stamp = buffer.pts().or(buffer.dts());
        let time = stamp.zip(segment).and_then(|(stamp, segment)| time_in(&segment, stamp));
        if lock(&passes)(buffer.make_mut(), time) { gst::PadProbeReturn::Ok } else { gst::PadProbeReturn::Drop }
    });
}

/// Where a timestamp is in the video, ns, whether or not it is in its segment.
fn time_in(segment: &gst::FormattedSegment<gst::ClockTime>, stamp: gst::ClockTime) -> Option<i64> {
    let [stamp, start, time] =
        [Some(stamp), segment.start(), segment.time()].map(|time| time.map(gst::ClockTime::nseconds));
    let [stamp, start, time] = [stamp?, start?, time?].map(i64::try_from);
    time.ok()?.checked_add(stamp.ok()?)?.checked_sub(start.ok()?)
}

/// Which packets are copied, and to which times.
struct Copy {
    moves: Vec<Move>,
    /// What the muxer sees as the beginning.
    start: gst::ClockTime,
    grid: Grid,
}

impl Copy {
    fn link(
        self: &Arc<Self>,
        making: &Making,
        pipeline: &gst::Pipeline,
        video: &gst::Pad,
        sounds: &[gst::Pad],
    ) -> Result<(), Unlinked> {
        if orientation(video).is_some() {
            return Err(Some(
                "the picture is turned by its container, which no muxer here can write: leave --copy out".into(),
            ));
        }
        // A thread for each stream: the muxer waits for the one that is behind, in fragmented files by many seconds.
        let queue = gst::ElementFactory::make("multiqueue")
            .property("max-size-bytes", WAITING)
            .property("max-size-buffers", 0u32)
            .property("max-size-time", 0u64)
            .build()
            .map_err(told)?;
        pipeline.add(&queue).map_err(told)?;
        queue.sync_state_with_parent().map_err(told)?;
        for pad in std::iter::once(video).chain(sounds) {
            let codec = caps_of(pad).structure(0).map(|caps| caps.name().to_string()).unwrap_or_default();
            let unfit = |_: Unlinked| {
                Some(format!("{codec} can't be copied into it: give another container, or leave --copy out"))
            };
            let input = request(&queue, "sink_%u")?;
            let mut output = pad_of(&queue, &input.name().replace("sink", "src"))?;
            if let Some((_, parser)) = PARSERS.iter().find(|(name, _)| *name == codec) {
                let parser = gst::ElementFactory::make(parser).build().map_err(told)?;
                pipeline.add(&parser).map_err(told)?;
                parser.sync_state_with_parent().map_err(told)?;
                link_pads(&output, &pad_of(&parser, "sink")?)?;
                output = pad_of(&parser, "src")?;
            }
            let target = request(&making.encoder, if pad == video { "video_%u" } else { "audio_%u" })?;
            link_pads(&output, &target).map_err(unfit)?;
            self.select(pad, pad == video);
            if pad == video {
                self.join(&output);
                making.shown.follow(&output, START);
            }
            link_pads(pad, &input).map_err(unfit)?;
        }
        Ok(())
    }

    /// Lets only the parts pass a pad, at their new times.
    fn select(self: &Arc<Self>, pad: &gst::Pad, is_video: bool) {
        let (copy, mut part, mut key) = (self.clone(), None, 0);
        each_buffer(pad, move |buffer, time| {
            let Some(time) = time.and_then(|time| time.checked_sub(copy.grid.starts)) else { return false };
            // A picture goes where its key frame goes.
            if !is_video {
                part = copy.moves_at(time);
            } else if !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT) {
                key = time;
                part = copy.moves_at(time).or(copy.hides(time));
            }
            let Some(kept) = part else { return false };
            // One that plays before it belongs to what is left out, unless that is kept, too.
            if time >= kept.end as i64 || time < key.min(kept.start as i64) {
                return false;
            }
            let Some(out) = (START.nseconds() as i64 + time).checked_sub_unsigned(kept.by) else { return false };
            buffer.set_pts(gst::ClockTime::from_nseconds(out.max(0) as u64));
            // Those of the pictures are found anew behind the cut.
            buffer.set_dts(None);
            true
        });
        let start = self.start;
        pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
            if let Some(event) = info.event_mut().filter(|event| event.type_() == gst::EventType::Segment) {
                let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
                segment.set_start(start);
                *event = gst::event::Segment::new(&segment);
            }
            gst::PadProbeReturn::Ok
        });
    }

    fn moves_at(&self, time: i64) -> Option<Move> {
        Move::at(&self.moves, u64::try_from(time).ok()?)
    }

    /// The first part, if it needs what is decoded from this hidden key frame on.
    fn hides(&self, time: i64) -> Option<Move> {
        let first = self.moves.first().filter(|first| self.grid.begins_at(first.start))?;
        (self.grid.hidden > 0 && time == first.start as i64 - self.grid.hidden as i64).then_some(*first)
    }

    /// Gives the pictures behind a cut times of decoding, and has them follow those before it.
    fn join(self: &Arc<Self>, pad: &gst::Pad) {
        let copy = self.clone();
        let joints: Vec<_> = self.moves.iter().skip(1).map(|part| START.nseconds() + part.start - part.by).collect();
        let order = Mutex::new((Order::new(self.grid.reorder, self.grid.spacing), Splice::Plain));
        pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
            let mut order = lock(&order);
            let (order, splice) = &mut *order;
            if let Some(event) = info.event_mut()
                && let Some(whole) = with_chroma_site(event)
            {
                *event = whole;
            }
            if let Some(event) = info.event()
                && let gst::EventView::Caps(caps) = event.view()
                && let Some(caps) = caps.caps().structure(0)
            {
                let data = caps.get::<gst::Buffer>("codec_data").ok();
                let data = data.and_then(|data| data.map_readable().ok().map(|map| map.to_vec()));
                *splice = data.map_or(Splice::Plain, |data| Splice::of(caps.name(), &data));
            }
            let Some(buffer) = info.buffer_mut() else { return gst::PadProbeReturn::Ok };
            let Some(pts) = buffer.pts() else { return gst::PadProbeReturn::Ok };
            let is_key = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
            let joins = is_key && copy.moves.len() > 1 && joints.contains(&pts.nseconds());
            let new = buffer.map_readable().ok().and_then(|map| splice.next(&map, joins));
            if let Some(new) = new {
                let mut other = gst::Buffer::from_mut_slice(new);
                let about = gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS | gst::BufferCopyFlags::META;
                if buffer.copy_into(other.make_mut(), about, ..).is_ok() {
                    *buffer = other;
                }
            }
            buffer.make_mut().set_dts(gst::ClockTime::from_nseconds(order.decoded(pts.nseconds())));
            gst::PadProbeReturn::Ok
        });
    }
}

/// Caps of VP9 that tell where colour is sampled: mp4mux (1.22) crashes where they do not.
fn with_chroma_site(event: &gst::EventRef) -> Option<gst::Event> {
    let gst::EventView::Caps(caps) = event.view() else { return None };
    let structure =
        caps.caps().structure(0).filter(|caps| caps.name() == "video/x-vp9" && !caps.has_field("chroma-site"))?;
    let mut structure = structure.to_owned();
    structure.set("chroma-site", "mpeg2");
    Some(gst::event::Caps::new(&gst::Caps::builder_full().structure(structure).build()))
}

/// A part, and how much earlier it plays, ns. Parts that touch are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Move {
    start: u64,
    end: u64,
    by: u64,
}

impl Move {
    fn all(plan: &Plan) -> Vec<Self> {
        let mut kept = 0;
        let mut moves: Vec<Self> = Vec::new();
        for part in plan.parts() {
            let Part { start_ns: start, duration_ns, .. } = *part;
            match moves.last_mut() {
                Some(last) if last.end == start => last.end = part.end_ns(),
                _ => moves.push(Self { start, end: part.end_ns(), by: start - kept }),
            }
            kept += duration_ns;
        }
        moves
    }

    fn at(moves: &[Self], time: u64) -> Option<Self> {
        let after = moves.partition_point(|part| part.start <= time);
        after.checked_sub(1).map(|i| moves[i]).filter(|part| time < part.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(start_ns: u64, duration_ns: u64) -> Part {
        Part { start_ns, duration_ns, score: 0.5, speed: 1.0 }
    }

    #[test]
    fn a_part_plays_as_much_earlier_as_is_left_out_before_it() {
        let moves = Move::all(&Plan::new(vec![part(100, 30), part(130, 20), part(200, 10)]).unwrap());
        assert_eq!(moves.len(), 2);
        let by = |time| Move::at(&moves, time).map(|part| part.by);
        let expected = [(99, None), (100, Some(100)), (149, Some(100)), (150, None), (205, Some(150)), (210, None)];
        for (time, earlier) in expected {
            assert_eq!(by(time), earlier, "{time}");
        }
    }

    #[test]
    fn pictures_that_play_late_are_told_by_their_start_codes() {
        gst::init().unwrap();
        let mpeg = |version: i32| gst::Caps::builder("video/mpeg").field("mpegversion", version).build();
        let h264 = gst::Caps::new_empty_simple("video/x-h264");
        let jpeg = gst::Caps::new_empty_simple("image/jpeg");
        for (caps, bytes, late) in [
            (mpeg(4), [0, 0, 1, 0xb6, 0x80, 0], true),
            (mpeg(4), [0, 0, 1, 0xb6, 0x40, 0], false),
            (mpeg(2), [0, 0, 1, 0, 0, 0x18], true),
            (mpeg(2), [0, 0, 1, 0, 0, 0x10], false),
            (h264, [0; 6], true),
            (jpeg, [0, 0, 1, 0xb6, 0x80, 0], false),
        ] {
            assert_eq!(may_be_late(&caps, &gst::Buffer::from_slice(bytes)), late, "{caps} {bytes:?}");
        }
    }
}
