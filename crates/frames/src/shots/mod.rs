//! Shot boundaries of a stream, found while it comes in.
//!
//! Analysis frames go in one by one; the first frame of each shot comes out at most [`LOOK_BACK`] frames later. A shot starts
//!
//! - at a hard cut ([`Change::Cut`]), with the first picture of the new shot;
//! - after a dissolve ([`Change::Gradual`]), with the first frame that is all but free of the old shot;
//! - after black or white, with the first picture (`Cut`): the blank frames, and a fade into them, belong to the shot before;
//! - where the shot before would become longer than [`Limits::longest`] ([`Change::Length`]).
//!
//! The last makes an over-segmentation like that of CoSum (Chu, Song and Jaimes, "Video Co-summarization: Video Summarization
//! by Visual Co-occurrence", CVPR 2015): the 2,750 shots published with it are 11 to 160 frames long, and a third of them have
//! exactly 150, so long shots were cut evenly and no remainder was left shorter than 11. [`Limits::default`] is near that. As a
//! cut may follow just after the limit, a long shot is cut [`Limits::shortest`] before it, as far as [`LOOK_BACK`] allows.
//!
//! Two shots of the same place that look alike are one, a picture with little on black counts as black, and wipes are not
//! looked for. Pure: pixels and times (ns).

mod change;
mod look;
mod track;

use std::collections::VecDeque;

use crate::clip::{Frame, Geometry};
use change::Seen;
use look::Look;
pub use track::Track;

/// Frames that may follow a shot's first frame until it is reported: after so many, a frame is known to start none.
/// As many as a clip of the paper's has, so that who waits for its score anyway waits no longer.
pub const LOOK_BACK: usize = 16;

/// What a shot starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The stream, or what follows [`Detector::finish`].
    First,
    /// A cut, or the end of black or white.
    Cut,
    /// The end of a dissolve.
    Gradual,
    /// Nothing to see: the shot before was long enough.
    Length,
}

/// The first frame of a shot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Number of the frame, from 0 for the first one pushed.
    pub frame: u64,
    /// As it was pushed.
    pub pts: Option<u64>,
    pub change: Change,
}

/// How long shots are, ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A change that comes sooner after the shot's start is passed over; only the last shot may be shorter.
    pub shortest: u64,
    /// At least twice `shortest`, or it is taken as that. Only a shot without frames to cut it at may be longer.
    pub longest: u64,
}

impl Default for Limits {
    /// 0.4 to 5 s.
    fn default() -> Self {
        Self { shortest: 400_000_000, longest: 5_000_000_000 }
    }
}

/// The detector: frames in by [`Detector::push`], starts of shots out.
pub struct Detector {
    geometry: Geometry,
    limits: Limits,
    spacing: u64,
    /// The frames that decisions look at, oldest first.
    seen: VecDeque<Seen>,
    /// How many of them, the youngest, are not decided yet.
    undecided: usize,
    next_frame: u64,
    /// Number and time of the open shot's first frame.
    open: Option<(u64, u64)>,
}

impl Detector {
    /// For frames of this geometry's width and height. A frame without PTS is taken to come `spacing` ns after the one before.
    pub fn new(geometry: Geometry, limits: Limits, spacing: u64) -> Self {
        let longest = limits.longest.max(limits.shortest.saturating_mul(2));
        Self {
            geometry,
            limits: Limits { longest, ..limits },
            spacing,
            seen: VecDeque::new(),
            undecided: 0,
            next_frame: 0,
            open: None,
        }
    }

    /// Takes the next frame; a shot that starts with it or with one of the [`LOOK_BACK`] before it. A PTS that runs back counts
    /// as the one before: where time jumps or runs back for good, the caller calls [`Self::finish`] or [`Self::reset`] first.
    ///
    /// # Panics
    /// If the frame is of another size than the geometry's.
    pub fn push(&mut self, frame: &Frame, pts: Option<u64>) -> Option<Start> {
        assert_eq!(frame.pixels().len(), self.geometry.frame_bytes());
        let number = self.next_frame;
        self.next_frame += 1;
        let time = match self.seen.back() {
            Some(last) => pts.unwrap_or(last.time.saturating_add(self.spacing)).max(last.time),
            None => pts.unwrap_or(0),
        };
        let look = Look::of(frame.pixels(), self.geometry.width, self.geometry.height);
        let step = change::step(&self.seen, &look);
        self.seen.push_back(Seen { number, pts, time, look, step });
        if self.seen.len() > change::PAST + 1 + change::AHEAD {
            self.seen.pop_front();
        }
        if self.open.is_none() {
            return Some(self.start(self.seen.len() - 1, Change::First));
        }
        self.undecided += 1;
        if self.undecided > change::AHEAD { self.decide() } else { None }
    }

    /// New caps: frames without PTS are `spacing` ns apart. Call [`Self::finish`] first.
    pub fn set_spacing(&mut self, spacing: u64) {
        self.spacing = spacing;
    }

    /// Frames so far: the number of the next one.
    pub fn frames(&self) -> u64 {
        self.next_frame
    }

    /// Frames below this number are decided: a start that is still to be told is not among them. It never falls.
    pub fn settled(&self) -> u64 {
        let reachable = self.next_frame.saturating_sub(LOOK_BACK as u64);
        self.open.map_or(self.next_frame, |(first, _)| reachable.max(first + 1))
    }

    /// Ends the stream, or its part before a jump: the starts that are still to be told. The next frame starts a shot; numbers
    /// go on.
    pub fn finish(&mut self) -> Vec<Start> {
        let mut starts = Vec::new();
        while self.undecided > 0 {
            starts.extend(self.decide());
        }
        self.reset();
        starts
    }

    /// Forgets the frames so far after a flush. The next one starts a shot; numbers go on.
    pub fn reset(&mut self) {
        self.seen.clear();
        self.undecided = 0;
        self.open = None;
    }

    /// Decides on the oldest undecided frame.
    fn decide(&mut self) -> Option<Start> {
        let here = self.seen.len() - self.undecided;
        self.undecided -= 1;
        let (first, since) = self.open?;
        let length = self.seen[here].time - since;
        if length > self.limits.longest {
            return Some(self.start(here, Change::Length));
        }
        let change = if length < self.limits.shortest { None } else { change::at(&self.seen, here, first) };
        match change {
            Some(change) => Some(self.start(here, change)),
            None => self.too_long_after(here).map(|place| self.start(place, Change::Length)),
        }
    }

    /// Where to cut the open shot if the frame after `here` would make it too long: the latest place that leaves room for a
    /// change at that frame, or else the earliest. Never so early that the rest would be too long again.
    fn too_long_after(&self, here: usize) -> Option<usize> {
        let ((first, since), Limits { shortest, longest }) = (self.open?, self.limits);
        let next = self.seen.get(here + 1)?.time;
        if next - since <= longest {
            return None;
        }
        let oldest = (here + change::AHEAD).saturating_sub(LOOK_BACK);
        let possible = |&place: &usize| {
            let seen = &self.seen[place];
            let late_enough = place == here || next - seen.time <= longest;
            seen.number > first && seen.time - since >= shortest && late_enough
        };
        let roomy = |&place: &usize| self.seen[here].time - self.seen[place].time >= shortest;
        let mut places = (oldest..=here).filter(possible);
        places.clone().rfind(roomy).or_else(|| places.next())
    }

    fn start(&mut self, place: usize, change: Change) -> Start {
        let Seen { number: frame, pts, time, .. } = self.seen[place];
        self.open = Some((frame, time));
        Start { frame, pts, change }
    }
}

#[cfg(test)]
mod tests;
