//! When the frames of a stream play, and how long the last one lasts: one rule for the picture, the sound that ends with it, and plans.
//!
//! Timestamps are not always good. Some decoders give a frame none, or the one of the frame before it (of a GIF, all have the first one's);
//! some frames' durations come from a frame rate that is nonsense. Times are ns.

use std::collections::VecDeque;

/// Time between frames that is assumed where nothing tells it, ns.
pub const USUAL_SPACING: u64 = 40_000_000;
/// Steps that the usual one is the median of.
const STEPS: usize = 9;

/// How long a frame lasts that none has come after, if frames are usually `usual` ns apart: as long as it says itself, but where that is
/// nothing, or less than half of the usual time.
pub fn lasts(own: Option<u64>, usual: u64) -> u64 {
    own.filter(|&own| own > 0 && own >= usual / 2).unwrap_or(usual)
}

/// How far apart the frames of a stream usually are. A hole in it, or two frames that all but coincide, makes no difference.
#[derive(Debug, Default)]
pub struct Spacing {
    steps: VecDeque<u64>,
}

impl Spacing {
    /// Two frames were this far apart.
    pub fn add(&mut self, step: u64) {
        self.steps.push_back(step);
        if self.steps.len() > STEPS {
            self.steps.pop_front();
        }
    }

    /// The lower median; `None`: nothing is known.
    pub fn usual(&self) -> Option<u64> {
        let mut steps: Vec<u64> = self.steps.iter().copied().collect();
        steps.sort_unstable();
        steps.get(steps.len().saturating_sub(1) / 2).copied()
    }
}

/// When a frame plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    pub time: u64,
    /// By [`lasts`].
    pub lasts: u64,
}

impl Moment {
    pub fn end(self) -> u64 {
        self.time + self.lasts
    }
}

/// Gives each frame of a stream a time after that of the one before it.
#[derive(Debug, Default)]
pub struct Times {
    spacing: Spacing,
    /// By the caps; 0: they tell none.
    nominal: u64,
    /// Of the last frame, and its timestamp.
    last: Option<(Moment, Option<u64>)>,
}

impl Times {
    /// Frames are this far apart by new caps; 0: those tell nothing.
    pub fn set_nominal(&mut self, spacing: u64) {
        self.nominal = spacing;
    }

    /// How far apart frames usually are.
    pub fn usual(&self) -> u64 {
        let nominal = Some(self.nominal).filter(|&nominal| nominal > 0);
        self.spacing.usual().or(nominal).unwrap_or(USUAL_SPACING)
    }

    /// Of the last frame.
    pub fn last(&self) -> Option<Moment> {
        self.last.map(|(last, _)| last)
    }

    /// A frame comes with this timestamp and duration. Without a timestamp, or with the last one's once more, it follows where the last one
    /// ends; with one that is not after the last one's time it comes half a step after that. `None`: no frame before it had a time.
    pub fn next(&mut self, stamp: Option<u64>, duration: Option<u64>) -> Option<Moment> {
        let time = match (self.last, stamp) {
            (Some((last, _)), None) => last.end(),
            (Some((last, before)), Some(_)) if stamp == before => last.end(),
            (Some((last, _)), Some(stamp)) if stamp <= last.time => last.time + (self.usual() / 2).max(1),
            (_, stamp) => stamp?,
        };
        // What comes after the first one may be a hole.
        let step = match self.last {
            Some((last, _)) => Some(time - last.time),
            None => duration.filter(|&duration| duration > 0 && duration >= self.nominal / 2),
        };
        if let Some(step) = step {
            self.spacing.add(step);
        }
        let moment = Moment { time, lasts: lasts(duration, self.usual()) };
        self.last = Some((moment, stamp.or(self.last.and_then(|(_, before)| before))));
        Some(moment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Times and durations in ms of frames with these timestamps and durations.
    fn moments(frames: &[(Option<u64>, Option<u64>)]) -> Vec<Option<(u64, u64)>> {
        let mut times = Times::default();
        let next = |&(stamp, duration): &(Option<u64>, Option<u64>)| {
            let moment = times.next(stamp.map(|t| t * MS), duration.map(|t| t * MS))?;
            Some((moment.time / MS, moment.lasts / MS))
        };
        frames.iter().map(next).collect()
    }

    fn starts(frames: &[(Option<u64>, Option<u64>)]) -> Vec<u64> {
        moments(frames).into_iter().map(|moment| moment.unwrap().0).collect()
    }

    #[test]
    fn good_times_stay_as_they_are() {
        let uneven = [0, 33, 66, 166, 10_166, 10_199, 10_232].map(|time| (Some(time), Some(33)));
        assert_eq!(moments(&uneven), uneven.map(|(time, duration)| Some((time.unwrap(), duration.unwrap()))));
    }

    #[test]
    fn a_frame_without_a_time_of_its_own_follows_the_one_before() {
        // A GIF's, as libav decodes it: all with the time of the first one.
        let gif = [(Some(0), Some(100)), (Some(0), Some(200)), (Some(0), Some(100)), (Some(0), Some(100))];
        assert_eq!(moments(&gif), [Some((0, 100)), Some((100, 200)), Some((300, 100)), Some((400, 100))]);
        let none = [(None, Some(40)), (Some(80), Some(40)), (None, None), (Some(160), None), (None, Some(0))];
        assert_eq!(moments(&none), [None, Some((80, 40)), Some((120, 40)), Some((160, 40)), Some((200, 40))]);
    }

    #[test]
    fn times_that_run_back_go_on_and_come_into_step_again() {
        let frames = [0, 40, 120, 80, 160, 200].map(|time| (Some(time), Some(40)));
        assert_eq!(starts(&frames), [0, 40, 120, 140, 160, 200]);
        // One time for three frames.
        let frames = [0, 40, 40, 40, 160, 200].map(|time| (Some(time), Some(40)));
        assert_eq!(starts(&frames), [0, 40, 80, 120, 160, 200]);
    }

    #[test]
    fn a_duration_that_is_nonsense_counts_for_nothing() {
        // 30 frames a second whose header tells 1000.
        let frames: Vec<_> = (0..12).map(|i| (Some(i * 33), Some(1))).collect();
        assert_eq!(moments(&frames)[11], Some((363, 33)));
        // A picture that stays.
        assert_eq!(
            [lasts(Some(4_000), 40), lasts(Some(19), 40), lasts(Some(20), 40), lasts(None, 40)],
            [4_000, 40, 20, 40]
        );
    }

    #[test]
    fn a_hole_does_not_change_what_is_usual() {
        let mut spacing = Spacing::default();
        assert_eq!(spacing.usual(), None);
        [40, 10_000].into_iter().for_each(|step| spacing.add(step));
        assert_eq!(spacing.usual(), Some(40));
        [40, 1, 4_000, 40].into_iter().for_each(|step| spacing.add(step));
        assert_eq!(spacing.usual(), Some(40));
        // Slides every 10 s.
        (0..9).for_each(|_| spacing.add(10_000));
        assert_eq!(spacing.usual(), Some(10_000));
    }
}
