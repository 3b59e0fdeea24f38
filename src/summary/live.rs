//! What becomes of every frame of a live stream: dropped, or kept at a new time.
//!
//! A pure function of what went by: the element asks, and does as it is told. Times are running times, ns.

use super::{
    retime::{Row, Splice},
    skim::{Reason, Skim},
    timelapse::{self, TimeLapse},
};

/// Importance that a segment without a score is taken for in a time-lapse: the middle.
const UNKNOWN_IMPORTANCE: f64 = 0.5;

/// Where a frame stands, and how much its segment matters.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Number of the segment.
    pub segment: u64,
    /// Number of the frame in it, of how many.
    pub frame: u32,
    pub frames: u32,
    /// Of the segment, ns.
    pub duration: u64,
    /// [0, 1]; `None` if nothing was scored.
    pub importance: Option<f64>,
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Drop,
    /// It goes on at this time, with its own duration unless another is given.
    Keep {
        time: u64,
        duration: Option<u64>,
        reason: Reason,
    },
}

/// Decides frame by frame.
#[derive(Debug)]
pub struct Live {
    mode: Mode,
    /// Number of the segment that the last frame belonged to.
    current: Option<u64>,
}

#[derive(Debug)]
enum Mode {
    Skim { skim: Skim, keeping: Option<Reason>, splice: Splice },
    TimeLapse { lapse: TimeLapse, kept: u32, row: Row },
}

impl Live {
    /// Keeps the most important `ratio`, in (0, 1], of the time.
    pub fn skim(ratio: f64) -> Self {
        let mode = Mode::Skim { skim: Skim::new(ratio), keeping: None, splice: Splice::default() };
        Self { mode, current: None }
    }

    /// Keeps one frame in `speed`, at least 1.
    pub fn time_lapse(speed: f64) -> Self {
        Self { mode: Mode::TimeLapse { lapse: TimeLapse::new(speed), kept: 0, row: Row::default() }, current: None }
    }

    /// The frame at `time`, which lasts `duration`; one without a place is kept: nothing is lost because nothing is known.
    /// The other value tells whether a segment begins with it.
    pub fn decide(&mut self, time: u64, duration: u64, place: Option<&Place>) -> (Fate, bool) {
        let begins = place.is_some_and(|place| self.current != Some(place.segment));
        self.current = place.map(|place| place.segment);
        let fate = match &mut self.mode {
            Mode::Skim { skim, keeping, splice } => {
                match place.and_then(|place| Some((place.duration, place.importance?))) {
                    Some((duration, importance)) if begins => *keeping = skim.keep(importance, duration),
                    Some(_) => {}
                    None => *keeping = Some(Reason::Due),
                }
                match *keeping {
                    Some(reason) => Fate::Keep { time: splice.keep(time), duration: None, reason },
                    None => {
                        splice.drop(time);
                        Fate::Drop
                    }
                }
            }
            Mode::TimeLapse { lapse, kept, row } => {
                row.pass(time);
                let (keeps, duration) = match place {
                    Some(place) => {
                        if begins {
                            *kept = lapse.frames(place.importance.unwrap_or(UNKNOWN_IMPORTANCE), place.frames);
                        }
                        let even = place.duration / u64::from(place.frames.max(1));
                        (timelapse::keeps(place.frame, *kept, place.frames), even)
                    }
                    None => (true, duration),
                };
                match row.keep(duration, keeps) {
                    Some(time) => Fate::Keep { time, duration: Some(duration), reason: Reason::Due },
                    None => Fate::Drop,
                }
            }
        };
        (fate, begins)
    }
}
