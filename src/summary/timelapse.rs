//! Live time-lapses: of each segment, some frames are kept, the more the more it matters.

/// Least share of the even allotment that a segment gets, however little it matters.
pub const FLOOR: f64 = 0.25;
/// Segments over which a total that strayed is brought back.
const REPAY: f64 = 8.0;

/// Importance of a segment that gets an even share: importance is a rank, so its mean is one half.
const MEAN: f64 = 0.5;

/// Shares out 1 / `speed` of the frames in proportion to importance (digest, Time-lapse, the practical form): never more
/// than a segment has, nor less than a quarter of an even share.
#[derive(Debug)]
pub struct TimeLapse {
    speed: f64,
    /// Frames that an even share of all segments so far comes to, less what was allotted.
    owed: f64,
    /// Allotted, not yet a whole frame.
    credit: f64,
}

impl TimeLapse {
    /// `speed` at least 1: one frame in `speed` is kept.
    pub fn new(speed: f64) -> Self {
        Self { speed, owed: 0.0, credit: 0.0 }
    }

    /// How many of a segment's `frames` to keep, by its importance in [0, 1].
    pub fn frames(&mut self, importance: f64, frames: u32) -> u32 {
        let even = f64::from(frames) / self.speed;
        let share = (even * importance / MEAN + self.owed / REPAY).clamp(FLOOR * even, f64::from(frames));
        self.owed += even - share;
        self.credit += share;
        let kept = self.credit.floor().min(f64::from(frames));
        self.credit -= kept;
        kept as u32
    }
}

/// Whether the frame at `index` is among `kept` of `frames`, spread evenly; the first is if any is.
pub fn keeps(index: u32, kept: u32, frames: u32) -> bool {
    let (index, kept, frames) = (u64::from(index), u64::from(kept.min(frames)), u64::from(frames.max(1)));
    let before = |i: u64| (i * kept).div_ceil(frames);
    before(index + 1) > before(index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kept_of(kept: u32, frames: u32) -> Vec<u32> {
        (0..frames).filter(|&i| keeps(i, kept, frames)).collect()
    }

    #[test]
    fn kept_frames_are_spread_evenly() {
        assert_eq!(kept_of(2, 16), [0, 8]);
        assert_eq!(kept_of(5, 16), [0, 3, 6, 9, 12]);
        assert_eq!(kept_of(16, 16).len(), 16);
        assert!(kept_of(0, 16).is_empty());
    }

    #[test]
    fn equal_segments_get_equal_shares() {
        let mut lapse = TimeLapse::new(8.0);
        assert!((0..100).all(|_| lapse.frames(0.5, 16) == 2));
    }

    #[test]
    fn a_segment_twice_as_important_gets_twice_the_frames() {
        let mut lapse = TimeLapse::new(8.0);
        let kept: Vec<u32> =
            (0..4_000).map(|i| lapse.frames(if i % 2 == 0 { 1.0 / 3.0 } else { 2.0 / 3.0 }, 160)).collect();
        let of = |odd: usize| kept.iter().skip(odd).step_by(2).sum::<u32>() as f64;
        let ratio = of(1) / of(0);
        assert!((ratio - 2.0).abs() < 0.15, "{ratio}");
    }

    proptest! {
        #[test]
        fn total_stays_near_one_in_speed(
            importance in prop::collection::vec(0.0f64..=1.0, 20..200),
            speed in 1.0f64..40.0,
        ) {
            let mut lapse = TimeLapse::new(speed);
            let kept: u32 = importance.iter().map(|&i| {
                let kept = lapse.frames(i, 16);
                assert!(kept <= 16);
                kept
            }).sum();
            let even = 16.0 * importance.len() as f64 / speed;
            // At worst, the segments of one repayment stray by their whole share.
            let slack = 2.0 * REPAY * 16.0 / speed + 1.0;
            prop_assert!((f64::from(kept) - even).abs() <= slack, "{kept} of {even}");
        }

        #[test]
        fn exactly_as_many_as_allotted_are_kept(kept in 0u32..70, frames in 1u32..70) {
            prop_assert_eq!(kept_of(kept, frames).len() as u32, kept.min(frames));
        }
    }
}
