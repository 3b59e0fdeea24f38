//! What becomes of the video's frames: they wait for what is decided of them, and go on at their new times.

use std::collections::VecDeque;

use super::{
    clip::{self, Clip},
    settings::{Decider, Mode, Settings, SettingsError},
};
use crate::{
    meta::{Flags, ImportanceMeta},
    summary::{
        frames::Frames,
        live::{Place, Reason, Scored, Verdict},
        timeline::{Fate, Piece, Timeline},
    },
};

/// Duration that a frame without one is taken for where the caps tell none either, ns.
pub const USUAL_SPACING: u64 = 40_000_000;
/// Frames that segments are taken to have until one has come.
const USUAL_FRAMES: u64 = 16;

/// What goes out of the video's source pad, and what is posted meanwhile.
pub enum Out {
    Buffer(gst::Buffer),
    Event(gst::Event),
    Message(gst::Structure),
}

/// Why, and how much, a frame is kept.
#[derive(Clone, Copy, Debug)]
struct Kept {
    piece: Piece,
    reason: Option<Reason>,
    /// By the plan: the score of its part, and where that ends in running time, ns.
    part: Option<(f64, u64)>,
}

/// What a frame's fate depends on.
enum Awaits {
    /// The verdict on its group.
    Group(u64),
    Nothing(Option<Kept>),
}

enum Item {
    Event(gst::Event),
    /// At this running time, ns; one without a time can't get another: it goes on as it is.
    Frame(gst::Buffer, Option<(u64, Awaits)>),
}

/// From PAUSED on.
pub struct Run {
    pub settings: Settings,
    decider: Decider,
    pub timeline: Timeline,
    segment: gst::FormattedSegment<gst::ClockTime>,
    queue: VecDeque<Item>,
    /// On the latest groups, in order.
    verdicts: VecDeque<(u64, Option<Kept>)>,
    frames: Frames,
    clip: Option<Clip>,
    /// By the caps, ns; 0: they don't tell.
    spacing: u64,
    /// Of all segments so far, ns.
    longest: u64,
    /// Frames without importance were already warned of.
    warned: bool,
}

impl Run {
    /// # Errors
    /// [`SettingsError`]
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        Ok(Self {
            decider: settings.decider()?,
            settings,
            timeline: Timeline::default(),
            segment: gst::FormattedSegment::new(),
            queue: VecDeque::new(),
            verdicts: VecDeque::new(),
            frames: Frames::default(),
            clip: None,
            spacing: 0,
            longest: 0,
            warned: false,
        })
    }

    /// After a flush: everything begins anew. The events that waited, in order.
    ///
    /// # Errors
    /// [`SettingsError`]: the plan is gone.
    pub fn begin_anew(&mut self) -> Result<Vec<gst::Event>, SettingsError> {
        let new = Self::new(self.settings.clone())?;
        let old = std::mem::replace(self, new);
        (self.spacing, self.longest, self.warned) = (old.spacing, old.longest, old.warned);
        let event = |item| if let Item::Event(event) = item { Some(event) } else { None };
        Ok(old.queue.into_iter().filter_map(event).collect())
    }

    /// How long the frames of a segment may wait in all, ns; 0 where all are decided as they come.
    pub fn latency(&self) -> u64 {
        let spacing = if self.spacing == 0 { USUAL_SPACING } else { self.spacing };
        self.settings.waits().map_or(0, |look_ahead| look_ahead + self.longest.max(USUAL_FRAMES * spacing))
    }

    /// Frames a second by the caps, as the time between two, ns.
    pub fn set_spacing(&mut self, spacing: u64) {
        self.spacing = spacing;
    }

    /// A frame comes. Whether it is the first one that nobody has scored.
    pub fn add_frame(&mut self, buffer: gst::Buffer) -> bool {
        self.timeline.resume();
        let meta = ImportanceMeta::of(&buffer);
        let fate = buffer.pts().and_then(|pts| {
            let time = self.segment.to_running_time(pts)?.nseconds();
            let nominal = if self.spacing == 0 { USUAL_SPACING } else { self.spacing };
            let duration = buffer.duration().map_or(nominal, gst::ClockTime::nseconds);
            Some((time, self.decide(pts, time, duration, meta.as_ref())))
        });
        self.queue.push_back(Item::Frame(buffer, fate));
        let unscored = meta.is_none() && self.settings.plan.is_none();
        unscored && !std::mem::replace(&mut self.warned, true)
    }

    fn decide(&mut self, pts: gst::ClockTime, time: u64, duration: u64, meta: Option<&ImportanceMeta>) -> Awaits {
        match &mut self.decider {
            Decider::Live(live) => {
                self.timeline.begin(time, time);
                let scored = |meta: &ImportanceMeta| Scored { score: meta.segment_score, importance: meta.importance };
                let place = meta.map(|meta| Place {
                    segment: meta.segment,
                    duration: meta.segment_duration.nseconds(),
                    scored: (!meta.flags.contains(Flags::UNSCORED)).then(|| scored(meta)),
                });
                self.longest = self.longest.max(place.map_or(0, |place| place.duration));
                let (group, verdicts) = live.frame(time, duration, place.as_ref());
                self.settle(verdicts);
                Awaits::Group(group)
            }
            Decider::Plan(_) => {
                self.follow(pts, time, duration);
                let (Decider::Plan(follower), Some(own)) = (&self.decider, self.segment.to_stream_time(pts)) else {
                    return Awaits::Nothing(None);
                };
                let part = follower.part(own.nseconds());
                Awaits::Nothing(part.and_then(|part| {
                    let Fate::Kept(piece) = self.timeline.fate(time) else { return None };
                    let end = time + (part.end_ns() - own.nseconds());
                    Some(Kept { piece, reason: None, part: Some((part.score, end)) })
                }))
            }
        }
    }

    /// Decides by the plan what the video shows from this PTS and running time on.
    fn follow(&mut self, pts: gst::ClockTime, time: u64, duration: u64) {
        let Decider::Plan(follower) = &mut self.decider else { return };
        let Some(own) = self.segment.to_stream_time(pts).map(gst::ClockTime::nseconds) else { return };
        // A plan plays from the beginning of the stream, whether or not a frame stands there.
        let start = self.segment.start().and_then(|start| self.segment.to_running_time(start));
        self.timeline.begin(time, start.map_or(time, gst::ClockTime::nseconds));
        // A stretch that begins between two frames may begin before this one.
        let running = |at: u64| (time + at).saturating_sub(own);
        follower.advance(own, own + duration, running, &mut self.timeline);
    }

    fn settle(&mut self, verdicts: Vec<Verdict>) {
        for Verdict { group, from, until, keep } in verdicts {
            let kept = keep.map(|(speed, reason)| Kept {
                piece: self.timeline.keep(from, until, speed),
                reason: Some(reason),
                part: None,
            });
            if kept.is_none() {
                self.timeline.drop_until(until);
            }
            self.verdicts.push_back((group, kept));
        }
    }

    /// Nothing comes for a while, if ever: what waits is decided.
    pub fn finish(&mut self) {
        if let Decider::Live(live) = &mut self.decider {
            let verdicts = live.finish();
            self.settle(verdicts);
        }
    }

    /// A serialized event comes in.
    pub fn add_event(&mut self, event: gst::Event) {
        use gst::EventView;
        let event = match event.view() {
            EventView::Segment(segment) => {
                self.timeline.resume();
                if let Decider::Plan(follower) = &mut self.decider {
                    follower.jump();
                }
                match segment.segment().downcast_ref::<gst::ClockTime>() {
                    Some(own) => {
                        self.segment = own.clone();
                        if self.settings.retime { super::retimed(&event, gst::ClockTime::ZERO) } else { event }
                    }
                    None => event,
                }
            }
            EventView::Gap(gap) => {
                let (pts, duration) = gap.get();
                match self.gap(pts, duration.unwrap_or_default()) {
                    Some(event) => event,
                    None if self.settings.retime => return,
                    None => event,
                }
            }
            EventView::Eos(_) => {
                self.finish();
                self.timeline.end();
                event
            }
            _ => event,
        };
        self.queue.push_back(Item::Event(event));
    }

    /// The video pauses: its time goes on as it did before. The event that says so in the output.
    fn gap(&mut self, pts: gst::ClockTime, duration: gst::ClockTime) -> Option<gst::Event> {
        self.finish();
        let time = self.segment.to_running_time(pts)?.nseconds();
        let until = time + duration.nseconds();
        if let Decider::Plan(_) = self.decider {
            self.follow(pts, time, duration.nseconds());
        } else if self.verdicts.back().is_some_and(|(_, kept)| kept.is_some_and(|kept| kept.piece.speed == 1.0)) {
            self.timeline.keep(time, until, 1.0);
        } else {
            self.timeline.drop_until(until);
        }
        let Fate::Kept(piece) = self.timeline.fate(time) else { return None };
        if !self.settings.retime {
            return None;
        }
        let [start, end] = [time, until.min(piece.until)].map(|time| piece.output(time).round() as u64);
        let start = gst::ClockTime::from_nseconds(start);
        let duration = gst::ClockTime::from_nseconds(end) - start;
        Some(gst::event::Gap::builder(start).duration(duration).build())
    }

    /// All that goes out by what is decided, in order.
    pub fn release(&mut self) -> VecDeque<Out> {
        let mut out = VecDeque::new();
        while let Some(item) = self.queue.front() {
            if let Item::Frame(_, Some((_, Awaits::Group(group)))) = item {
                while self.verdicts.front().is_some_and(|(decided, _)| decided < group) {
                    self.verdicts.pop_front();
                }
                if self.verdicts.is_empty() {
                    break;
                }
            }
            match self.queue.pop_front() {
                Some(Item::Event(event)) => {
                    if event.type_() == gst::EventType::Eos {
                        self.end_clip(None, &mut out);
                    }
                    out.push_back(Out::Event(event));
                }
                Some(Item::Frame(buffer, None)) => out.push_back(Out::Buffer(buffer)),
                Some(Item::Frame(buffer, Some((time, awaits)))) => {
                    let kept = match awaits {
                        Awaits::Group(_) => self.verdicts.front().and_then(|(_, kept)| *kept),
                        Awaits::Nothing(kept) => kept,
                    };
                    self.place(buffer, time, kept, &mut out);
                }
                None => {}
            }
        }
        out
    }

    /// A frame goes out at its new time, or a gap where it was, or nothing.
    fn place(&mut self, mut buffer: gst::Buffer, time: u64, kept: Option<Kept>, out: &mut VecDeque<Out>) {
        self.frames.pass(time, buffer.duration().map(gst::ClockTime::nseconds));
        let slot = kept.and_then(|kept| Some((kept, self.frames.place(&kept.piece, time)?)));
        if kept.is_none() {
            self.end_clip(buffer.pts(), out);
        }
        let Some((kept, slot)) = slot else {
            if let Some(pts) = buffer.pts().filter(|_| !self.settings.retime) {
                let gap = gst::event::Gap::builder(pts).duration(buffer.duration());
                out.push_back(Out::Event(gap.build()));
            }
            return;
        };
        let output = if self.settings.retime { slot.time } else { time };
        self.extend_clip(&buffer, output, &kept, out);
        if self.settings.retime {
            let fields = buffer.make_mut();
            fields.set_pts(gst::ClockTime::from_nseconds(slot.time));
            fields.set_dts(None);
            if let Some(duration) = slot.duration {
                fields.set_duration(gst::ClockTime::from_nseconds(duration));
            } else if let Some((duration, (_, end))) = fields.duration().zip(kept.part) {
                // The picture is not to last longer than its part, or the sound would end before it.
                fields.set_duration(duration.min(gst::ClockTime::from_nseconds(end - time)));
            }
        }
        out.push_back(Out::Buffer(buffer));
    }

    /// A frame is kept: `clip-start` if its clip begins. A time-lapse of everything has no clips.
    fn extend_clip(&mut self, buffer: &gst::BufferRef, output: u64, kept: &Kept, out: &mut VecDeque<Out>) {
        if self.settings.plan.is_none() && self.settings.mode == Mode::Timelapse {
            return;
        }
        if self.clip.as_ref().is_some_and(|clip| clip.from != kept.piece.from) {
            self.end_clip(buffer.pts(), out);
        }
        let meta = ImportanceMeta::of(buffer).filter(|_| kept.part.is_none());
        let score = kept.part.map(|part| part.0).or(meta.as_ref().map(|meta| meta.segment_score));
        let end = buffer.pts().map(|pts| pts + buffer.duration().unwrap_or_default());
        if let Some(clip) = &mut self.clip {
            return clip.add(score, meta.as_ref(), end);
        }
        let clip = Clip {
            from: kept.piece.from,
            start: buffer.pts(),
            end,
            output: gst::ClockTime::from_nseconds(output),
            score,
            reason: kept.reason,
            importance: meta.as_ref().map(|meta| meta.importance),
            category: meta.map(|meta| meta.category),
        };
        out.push_back(Out::Message(clip.message(clip::START)));
        self.clip = Some(clip);
    }

    /// The clip that played, if one did, has ended at this PTS, or where its last frame ended: `clip-end`.
    fn end_clip(&mut self, end: Option<gst::ClockTime>, out: &mut VecDeque<Out>) {
        if let Some(mut clip) = self.clip.take() {
            clip.end = end.or(clip.end);
            out.push_back(Out::Message(clip.message(clip::END)));
        }
    }
}
