//! What becomes of the video's frames: they wait for what is decided of them, and go on at their new times.

use std::collections::VecDeque;

use super::{
    clip::{self, Clip},
    settings::{Decider, Mode, Settings, SettingsError},
};
use crate::meta::{Flags, ImportanceMeta};
use desumnet_decide::{
    frames::Frames,
    live::{Place, Reason, Scored, Verdict},
    online,
    timeline::{Fate, Piece, Timeline},
};
use desumnet_frames::times::{Moment, Times, USUAL_SPACING};

/// Frames that segments are taken to have until one has come.
const USUAL_FRAMES: u64 = 16;
/// Segments that the longest is looked for among.
const LATEST: usize = 64;
/// By the scores, a pause of the video is played through if it is no longer than this, ns, or than so many frames. A plan says itself what
/// plays.
const PAUSE: u64 = 10_000_000_000;
const PAUSE_FRAMES: u64 = 8;

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

/// What the scorer says of a frame that the messages tell.
struct Told {
    score: f64,
    importance: f64,
    category: String,
}

/// What a frame's fate depends on.
enum Awaits {
    /// The verdict on its group.
    Group(u64),
    Nothing(Option<Kept>),
}

enum Item {
    Event(gst::Event),
    /// Nothing comes from a running time on until another, ns.
    Gap {
        time: u64,
        until: u64,
    },
    /// At a running time; one that has none, nor has one before it, goes on as it is.
    Frame(gst::Buffer, Option<(Moment, Awaits, Option<Told>)>),
}

/// From PAUSED on.
pub struct Run {
    pub settings: Settings,
    decider: Decider,
    pub timeline: Timeline,
    segment: gst::FormattedSegment<gst::ClockTime>,
    /// One has gone out since the last flush.
    segment_sent: bool,
    queue: VecDeque<Item>,
    /// Of what comes in, in running time.
    times: Times,
    /// Running time of the last frame, and the video's own, ns.
    own: Option<(u64, u64)>,
    /// On the latest groups, in order.
    verdicts: VecDeque<(u64, Option<Kept>)>,
    frames: Frames,
    clip: Option<Clip>,
    /// By the caps, ns; 0: they don't tell.
    spacing: u64,
    /// Of the latest segments, ns, and the longest of them, give or take a quarter.
    lengths: VecDeque<u64>,
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
            segment_sent: false,
            queue: VecDeque::new(),
            times: Times::default(),
            own: None,
            verdicts: VecDeque::new(),
            frames: Frames::default(),
            clip: None,
            spacing: 0,
            lengths: VecDeque::new(),
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
        (self.longest, self.warned) = (old.longest, old.warned);
        self.set_spacing(old.spacing);
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
        self.times.set_nominal(spacing);
    }

    /// How much waits for a decision.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Usual time between two frames, ns.
    pub fn usual_spacing(&self) -> u64 {
        self.times.usual()
    }

    /// Running time up to which the video has come in or is decided, ns.
    pub fn reached(&self) -> u64 {
        self.times.last().map_or(0, Moment::end).max(self.timeline.decided())
    }

    /// A frame comes. Whether it is the first one that nobody has scored.
    pub fn add_frame(&mut self, buffer: gst::Buffer) -> bool {
        self.timeline.resume();
        let scored_by = self.settings.plan.is_none();
        let meta = if scored_by { ImportanceMeta::of(&buffer) } else { None };
        let unscored = scored_by && meta.is_none();
        let stamp = buffer.pts().map(|pts| self.segment.to_running_time(pts).map(gst::ClockTime::nseconds));
        // What is outside of its segment has no time in it.
        let moment = match stamp {
            Some(None) => None,
            stamp => self.times.next(stamp.flatten(), buffer.duration().map(gst::ClockTime::nseconds)),
        };
        let fate = moment.map(|moment| {
            let own = self.own_time(buffer.pts(), stamp.flatten(), moment.time);
            let awaits = self.decide(own, moment, meta.as_ref());
            let told = meta.map(|meta| Told {
                score: meta.segment_score,
                importance: meta.importance,
                category: meta.category,
            });
            (moment, awaits, told)
        });
        self.queue.push_back(Item::Frame(buffer, fate));
        unscored && !std::mem::replace(&mut self.warned, true)
    }

    /// The video's own time where its running time is `time`: by the PTS, which is at the running time `stamp`, or by the frame before.
    fn own_time(&mut self, pts: Option<gst::ClockTime>, stamp: Option<u64>, time: u64) -> Option<u64> {
        let stamped = pts.and_then(|pts| self.segment.to_stream_time(pts)).map(gst::ClockTime::nseconds);
        let own = match (stamped, stamp, self.own) {
            (Some(own), Some(stamp), _) => Some((own + time).saturating_sub(stamp)),
            (_, _, Some((before, own))) => Some(own + time.saturating_sub(before)),
            _ => None,
        };
        self.own = own.map(|own| (time, own));
        own
    }

    fn decide(&mut self, own: Option<u64>, frame: Moment, meta: Option<&ImportanceMeta>) -> Awaits {
        let pause = PAUSE.max(PAUSE_FRAMES * self.times.usual());
        match &mut self.decider {
            Decider::Live(live) => {
                self.timeline.begin(frame.time, frame.time);
                self.timeline.set_longest_pause(pause);
                let place = meta.map(|meta| {
                    let (failed, unscored) = (meta.flags.contains(Flags::FAILED), meta.flags.contains(Flags::UNSCORED));
                    let score = online::counted(meta.segment_score, failed, unscored);
                    Place {
                        segment: meta.segment,
                        duration: meta.segment_duration.nseconds(),
                        scored: score.map(|score| Scored {
                            score,
                            importance: meta.importance,
                            of_category: !meta.category.is_empty(),
                        }),
                    }
                });
                let (group, verdicts) = live.frame(frame.time, frame.lasts, place.as_ref());
                if let Some(place) = place.filter(|_| meta.is_some_and(|meta| meta.frame == 0)) {
                    self.add_length(place.duration);
                }
                self.settle(verdicts);
                Awaits::Group(group)
            }
            Decider::Plan(_) => {
                let Some(own) = own else { return Awaits::Nothing(None) };
                self.follow(own, frame.time, frame.lasts);
                let Decider::Plan(follower) = &self.decider else { return Awaits::Nothing(None) };
                let part = follower.part(own);
                Awaits::Nothing(part.and_then(|part| {
                    let Fate::Kept(piece) = self.timeline.fate(frame.time) else { return None };
                    let end = frame.time + (part.end_ns() - own);
                    Some(Kept { piece, reason: None, part: Some((part.score, end)) })
                }))
            }
        }
    }

    /// A segment begins that lasts so long. The longest of the latest counts; a little less than before changes nothing, so that the
    /// latency does not change all the time.
    fn add_length(&mut self, length: u64) {
        self.lengths.push_back(length);
        if self.lengths.len() > LATEST {
            self.lengths.pop_front();
        }
        let longest = self.lengths.iter().copied().max().unwrap_or(0);
        let much_less = self.lengths.len() == LATEST && longest < self.longest / 4 * 3;
        if longest > self.longest || much_less {
            self.longest = longest;
        }
    }

    /// Decides by the plan what the video shows from its own time `own` on, which is the running time `time`.
    fn follow(&mut self, own: u64, time: u64, duration: u64) {
        let Decider::Plan(follower) = &mut self.decider else { return };
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
                        if !self.settings.retime {
                            event
                        } else if std::mem::replace(&mut self.segment_sent, true) {
                            // In the output times just go on: an encoder would end what it is at with each further one.
                            return;
                        } else {
                            super::retimed(&event, gst::ClockTime::ZERO)
                        }
                    }
                    None => event,
                }
            }
            EventView::Gap(gap) => {
                let (pts, duration) = gap.get();
                self.gap(pts, duration.unwrap_or_default());
                if self.settings.retime {
                    return;
                }
                event
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

    /// The video pauses. A short pause has the fate of what is around it; in a long one what waits is decided, and it is cut out.
    fn gap(&mut self, pts: gst::ClockTime, duration: gst::ClockTime) {
        let Some(begins) = self.segment.to_running_time(pts).map(gst::ClockTime::nseconds) else { return };
        let until = begins + duration.nseconds();
        // qtdemux tells of pauses from 0 on at the end of some files: nothing pauses where something came already.
        let time = begins.max(self.reached());
        if until <= time {
            return;
        }
        if let Decider::Plan(_) = self.decider {
            if let Some(own) = self.segment.to_stream_time(pts) {
                self.follow(own.nseconds() + (time - begins), time, until - time);
            }
        } else {
            let since = self.times.last().map_or(time, Moment::end);
            if until.saturating_sub(since) > PAUSE.max(PAUSE_FRAMES * self.times.usual()) {
                self.finish();
                self.timeline.drop_until(until);
            }
        }
        if self.settings.retime {
            self.queue.push_back(Item::Gap { time, until });
        }
    }

    /// The event that stands for a pause in the output, if it is kept.
    fn pause(&self, time: u64, until: u64) -> Option<gst::Event> {
        let Fate::Kept(piece) = self.timeline.fate(time) else { return None };
        let [start, end] = [time, until.min(piece.until)].map(|time| piece.output(time).round() as u64);
        let start = gst::ClockTime::from_nseconds(start);
        let duration = gst::ClockTime::from_nseconds(end) - start;
        Some(gst::event::Gap::builder(start).duration(duration).build())
    }

    /// All that goes out by what is decided, in order.
    pub fn release(&mut self) -> VecDeque<Out> {
        let mut out = VecDeque::new();
        while let Some(item) = self.queue.front() {
            if let Item::Gap { time, .. } = item
                && self.timeline.fate(*time) == Fate::Undecided
            {
                break;
            }
            if let Item::Frame(_, Some((_, Awaits::Group(group), _))) = item {
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
                Some(Item::Gap { time, until }) => out.extend(self.pause(time, until).map(Out::Event)),
                Some(Item::Frame(buffer, None)) => out.push_back(Out::Buffer(buffer)),
                Some(Item::Frame(buffer, Some((frame, awaits, told)))) => {
                    let kept = match awaits {
                        Awaits::Group(_) => self.verdicts.front().and_then(|(_, kept)| *kept),
                        Awaits::Nothing(kept) => kept,
                    };
                    self.place(buffer, frame, kept, told, &mut out);
                }
                None => {}
            }
        }
        out
    }

    /// A frame goes out at its new time, or a gap where it was, or nothing.
    fn place(
        &mut self,
        mut buffer: gst::Buffer,
        frame: Moment,
        kept: Option<Kept>,
        told: Option<Told>,
        out: &mut VecDeque<Out>,
    ) {
        self.frames.pass(frame);
        let slot = kept.and_then(|kept| Some((kept, self.frames.place(&kept.piece, frame)?)));
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
        let output = if self.settings.retime { slot.time } else { frame.time };
        self.extend_clip(&buffer, output, &kept, told, out);
        if self.settings.retime {
            // The picture is not to last longer than its part, or the sound would end before it.
            let left = kept.part.map(|(_, end)| (kept.piece.output(end).round() as u64).saturating_sub(slot.time));
            let fields = buffer.make_mut();
            fields.set_pts(gst::ClockTime::from_nseconds(slot.time));
            fields.set_dts(None);
            fields.set_duration(gst::ClockTime::from_nseconds(
                left.map_or(slot.duration, |left| slot.duration.min(left)),
            ));
        }
        out.push_back(Out::Buffer(buffer));
    }

    /// A frame is kept: `clip-start` if its clip begins. A time-lapse of everything has no clips.
    fn extend_clip(
        &mut self,
        buffer: &gst::BufferRef,
        output: u64,
        kept: &Kept,
        told: Option<Told>,
        out: &mut VecDeque<Out>,
    ) {
        if self.settings.plan.is_none() && self.settings.mode == Mode::Timelapse {
            return;
        }
        if self.clip.as_ref().is_some_and(|clip| clip.from != kept.piece.from) {
            self.end_clip(buffer.pts(), out);
        }
        let score = kept.part.map(|part| part.0).or(told.as_ref().map(|told| told.score));
        let importance = told.as_ref().map(|told| told.importance);
        let end = buffer.pts().map(|pts| pts + buffer.duration().unwrap_or_default());
        if let Some(clip) = &mut self.clip {
            return clip.add(score, importance, end);
        }
        let clip = Clip {
            from: kept.piece.from,
            start: buffer.pts(),
            end,
            output: gst::ClockTime::from_nseconds(output),
            score,
            reason: kept.reason,
            importance,
            category: told.map(|told| told.category),
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
