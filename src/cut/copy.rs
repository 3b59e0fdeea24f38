//! Copies the encoded streams of a file from key frame to key frame: fast, and no picture loses quality.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gst::prelude::*;

use super::{CutError, Making, Running, Stop, Unlinked, caps_of, link_pads, make, pad_of, request, told};
use crate::{
    decode::{DecodeError, first_ns, uri_of},
    summary::{
        plan::{Part, Plan, PlanError},
        shot_scores::Scored,
    },
};

/// What the muxer sees as the beginning: pictures are decoded before it that play after it.
const START: gst::ClockTime = gst::ClockTime::from_seconds(3_600);
/// Encoded bytes of one stream that may wait for another.
const WAITING: u32 = 256 << 20;
/// Codecs that containers want in forms of their own, and what brings them there.
const PARSERS: [(&str, &str); 2] = [("video/x-h264", "h264parse"), ("video/x-h265", "h265parse")];

/// Times since its first picture, ns, at which a file can be cut without decoding it: those of its key frames, and its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grid(Vec<u64>);

/// What was seen of a file's streams.
#[derive(Default)]
struct Seen {
    has_video: bool,
    /// Times of key frames, ns.
    keys: Vec<u64>,
    end: u64,
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Grid {
    /// Of a file's first video stream. Reads it through.
    ///
    /// # Errors
    /// [`CutError`]
    pub fn of(video: &str) -> Result<Self, CutError> {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let pipeline = Running(gst::Pipeline::new());
        let source = encoded(&uri_of(video)?, &pipeline.0)?;
        let (seeing, weak) = (seen.clone(), pipeline.0.downgrade());
        source.connect_pad_added(move |_, pad| {
            // Streams that go nowhere would be an error, or have no end.
            let sink = gst::ElementFactory::make("fakesink").property("async", false).build();
            let (Ok(sink), Some(pipeline)) = (sink, weak.upgrade()) else { return };
            let linked = pipeline.add(&sink).is_ok() && sink.sync_state_with_parent().is_ok();
            let Some(target) = sink.static_pad("sink").filter(|_| linked) else { return };
            let _ = pad.link(&target);
            let is_video = caps_of(pad).structure(0).is_some_and(|caps| caps.name().starts_with("video/"));
            if !is_video || std::mem::replace(&mut lock(&seeing).has_video, true) {
                return;
            }
            let seeing = seeing.clone();
            each_buffer(pad, move |buffer, time| {
                if let Some(time) = time {
                    let mut seen = lock(&seeing);
                    seen.end = seen.end.max(time + buffer.duration().map_or(1, gst::ClockTime::nseconds));
                    if !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT) {
                        seen.keys.push(time);
                    }
                }
                true
            });
        });
        let stopped = pipeline.run(|_| {});
        let seen = std::mem::take(&mut *lock(&seen));
        match stopped {
            Err(Stop::Failed(reason) | Stop::Unwritable(reason)) => {
                return Err(DecodeError::Broken { video: video.into(), reason }.into());
            }
            _ if seen.keys.is_empty() => return Err(DecodeError::NoVideo { video: video.into() }.into()),
            _ => {}
        }
        // Plans count from the first picture.
        let first = first_ns(video)?;
        let mut grid: Vec<u64> =
            seen.keys.into_iter().chain([seen.end]).map(|time| time.saturating_sub(first)).collect();
        grid.sort_unstable();
        grid.dedup();
        Ok(Self(grid))
    }

    /// Start and duration, ns, of shots whose borders are moved to the nearest places of the grid; one too short to hold any goes
    /// into its neighbours.
    pub fn fit(&self, shots: &[Scored]) -> Vec<(u64, u64)> {
        let moved = shots.iter().map(|shot| (self.nearest(shot.start_ns), self.nearest(shot.end_ns())));
        moved.filter(|(start, end)| end > start).map(|(start, end)| (start, end - start)).collect()
    }

    /// Whether every part of the plan begins and ends at a place of the grid.
    pub fn holds(&self, plan: &Plan) -> bool {
        let on_grid = |time| self.0.binary_search(&time).is_ok();
        plan.parts().iter().all(|part| on_grid(part.start_ns) && on_grid(part.end_ns()))
    }

    /// The plan with its borders moved to the nearest places of the grid; parts that come to touch stay apart.
    ///
    /// # Errors
    /// [`PlanError::Empty`]: no part is long enough to hold one.
    pub fn fit_plan(&self, plan: &Plan) -> Result<Plan, PlanError> {
        let fit = |part: &Part| {
            let (start_ns, end) = (self.nearest(part.start_ns), self.nearest(part.end_ns()));
            (end > start_ns).then(|| Part { start_ns, duration_ns: end - start_ns, ..*part })
        };
        Plan::new(plan.parts().iter().filter_map(fit).collect())
    }

    fn nearest(&self, time: u64) -> u64 {
        let after = self.0.partition_point(|&place| place < time);
        let near = self.0[after.saturating_sub(1)..].iter().take(2).copied();
        near.min_by_key(|place| place.abs_diff(time)).unwrap_or(time)
    }
}

/// Puts the source before the muxer, with only the plan's parts passing.
pub(super) fn build(making: Making, uri: &str, plan: &Plan) -> Result<(), CutError> {
    let pipeline = making.pipeline.upgrade().ok_or_else(|| CutError::Element("pipeline".into()))?;
    let source = encoded(uri, &pipeline)?;
    let moves = Arc::new(Move::all(plan));
    making.begin(&source, move |making, pipeline, video, sounds| link(making, &moves, pipeline, video, sounds));
    Ok(())
}

/// Adds a source of streams that stay encoded; it gets their pads.
fn encoded(uri: &str, pipeline: &gst::Pipeline) -> Result<gst::Element, CutError> {
    let source = gst::Element::make_from_uri(gst::URIType::Src, uri, None);
    let source = source.map_err(|_| CutError::Element(format!("a source for {uri}")))?;
    let parser = make("parsebin")?;
    let linked = pipeline.add_many([&source, &parser]).and_then(|()| source.link(&parser));
    linked.map_err(|e| CutError::Element(e.to_string()))?;
    Ok(parser)
}

/// Has `passes` look at every buffer of a pad and its time in the video, ns, and drops those that it refuses.
fn each_buffer(pad: &gst::Pad, passes: impl FnMut(&mut gst::BufferRef, Option<u64>) -> bool + Send + 'static) {
    let passes = Mutex::new(passes);
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let segment = pad.sticky_event::<gst::event::Segment>(0);
        let segment = segment.and_then(|event| event.segment().downcast_ref::<gst::ClockTime>().cloned());
        let Some(buffer) = info.buffer_mut() else { return gst::PadProbeReturn::Ok };
        // Some containers, AVI for one, tell when to decode only.
        let time =
            buffer.pts().or(buffer.dts()).and_then(|pts| segment?.to_stream_time(pts)).map(gst::ClockTime::nseconds);
        let mut passes = passes.lock().unwrap_or_else(PoisonError::into_inner);
        if passes(buffer.make_mut(), time) { gst::PadProbeReturn::Ok } else { gst::PadProbeReturn::Drop }
    });
}

fn link(
    making: &Making,
    moves: &Arc<Vec<Move>>,
    pipeline: &gst::Pipeline,
    video: &gst::Pad,
    sounds: &[gst::Pad],
) -> Result<(), Unlinked> {
    if is_rotated(video) {
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
        let unfit =
            |_: Unlinked| Some(format!("{codec} can't be copied into it: give another container, or leave --copy out"));
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
        let (moves, is_video, mut part) = (moves.clone(), pad == video, None);
        each_buffer(pad, move |buffer, time| {
            let Some(time) = time else { return false };
            // A picture goes where its key frame goes; one that plays before it belongs to what is left out.
            if !(is_video && buffer.flags().contains(gst::BufferFlags::DELTA_UNIT)) {
                part = Move::at(&moves, time);
            }
            let Some(kept) = part.filter(|kept| time >= kept.start) else { return false };
            let (pts, dts) = (buffer.pts(), buffer.dts());
            let out = START + gst::ClockTime::from_nseconds(time) - kept.by;
            buffer.set_pts(out);
            buffer.set_dts(pts.zip(dts).and_then(|(pts, dts)| out.checked_sub(pts.checked_sub(dts)?)));
            true
        });
        pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, |_, info| {
            if let Some(event) = info.event_mut().filter(|event| event.type_() == gst::EventType::Segment) {
                let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
                segment.set_start(START);
                *event = gst::event::Segment::new(&segment);
            }
            gst::PadProbeReturn::Ok
        });
        link_pads(pad, &input).map_err(unfit)?;
    }
    Ok(())
}

fn is_rotated(video: &gst::Pad) -> bool {
    let mut rotated = false;
    video.sticky_events_foreach(|event| {
        if let gst::EventView::Tag(tag) = event.view() {
            let orientation = tag.tag().get::<gst::tags::ImageOrientation>();
            rotated |= orientation.is_some_and(|orientation| orientation.get() != "rotate-0");
        }
        std::ops::ControlFlow::Continue(gst::EventForeachAction::Keep)
    });
    rotated
}

/// A part, and how much earlier it plays.
#[derive(Clone, Copy)]
struct Move {
    start: u64,
    end: u64,
    by: gst::ClockTime,
}

impl Move {
    fn all(plan: &Plan) -> Vec<Self> {
        let mut kept = 0;
        let of = |part: Part| {
            let by = gst::ClockTime::from_nseconds(part.start_ns - kept);
            kept += part.duration_ns;
            Self { start: part.start_ns, end: part.end_ns(), by }
        };
        plan.in_stream_time().into_iter().map(of).collect()
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
    fn borders_go_to_the_nearest_key_frame() {
        let grid = Grid(vec![0, 100, 300, 420]);
        let shot = |start_ns, end: u64| Scored { start_ns, duration_ns: end - start_ns, score: 0.0 };
        // The second one holds no key frame of its own.
        let shots = [shot(0, 90), shot(90, 110), shot(110, 290), shot(290, 425)];
        assert_eq!(grid.fit(&shots), [(0, 100), (100, 200), (300, 120)]);
        let plan = Plan::new(vec![part(20, 60), part(90, 15), part(190, 240)]).unwrap();
        assert!(!grid.holds(&plan));
        let fitted = grid.fit_plan(&plan).unwrap();
        assert_eq!(fitted.parts(), [part(0, 100), part(100, 320)]);
        assert!(grid.holds(&fitted));
        assert!(matches!(grid.fit_plan(&Plan::new(vec![part(10, 20)]).unwrap()), Err(PlanError::Empty)));
    }

    #[test]
    fn a_part_plays_as_much_earlier_as_is_left_out_before_it() {
        let moves = Move::all(&Plan::new(vec![part(100, 50), part(200, 10)]).unwrap());
        let by = |time| Move::at(&moves, time).map(|part| part.by.nseconds());
        let expected = [(99, None), (100, Some(100)), (149, Some(100)), (150, None), (205, Some(150)), (210, None)];
        for (time, earlier) in expected {
            assert_eq!(by(time), earlier, "{time}");
        }
    }
}
