//! Live time-lapses: how fast each segment plays, the slower the more it matters.

/// Least share of the even allotment that a segment gets, however little it matters.
pub const FLOOR: f64 = 0.25;
/// Segments over which a total that strayed is brought back.
const REPAY: f64 = 8.0;

/// Importance of a segment that gets an even share: importance is a rank, so its mean is one half.
const MEAN: f64 = 0.5;

/// Shares out 1 / `speed` of the time in proportion to importance (digest, Time-lapse, the practical form): never more
/// than a segment has, nor less than a quarter of an even share.
#[derive(Debug)]
pub struct TimeLapse {
    speed: f64,
    slowest: f64,
    fastest: f64,
    /// Time that an even share of all segments so far comes to, less what was allotted, ns.
    owed: f64,
}

impl TimeLapse {
    /// `speed` over all, at least 1; no segment is slower than `slowest` (at least 1, at most `speed`) or faster than
    /// `fastest` (at least `speed`).
    pub fn new(speed: f64, slowest: f64, fastest: f64) -> Self {
        Self { speed, slowest, fastest, owed: 0.0 }
    }

    /// How fast a segment plays, by its importance in [0, 1] and its duration, ns.
    pub fn speed(&mut self, importance: f64, duration: u64) -> f64 {
        let whole = duration.max(1) as f64;
        let even = whole / self.speed;
        let least = (FLOOR * even).max(whole / self.fastest);
        let share = (even * importance / MEAN + self.owed / REPAY).clamp(least, whole / self.slowest);
        self.owed += even - share;
        whole / share
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn equal_segments_get_equal_speeds() {
        let mut lapse = TimeLapse::new(8.0, 1.0, 1000.0);
        assert!((0..100).all(|_| lapse.speed(0.5, 640) == 8.0));
    }

    #[test]
    fn a_segment_twice_as_important_gets_twice_the_time() {
        let mut lapse = TimeLapse::new(8.0, 1.0, 1000.0);
        let shares: Vec<f64> =
            (0..4_000).map(|i| 1.0 / lapse.speed(if i % 2 == 0 { 1.0 / 3.0 } else { 2.0 / 3.0 }, 640)).collect();
        let of = |odd: usize| shares.iter().skip(odd).step_by(2).sum::<f64>();
        let ratio = of(1) / of(0);
        assert!((ratio - 2.0).abs() < 0.15, "{ratio}");
    }

    proptest! {
        #[test]
        fn total_stays_near_the_speed_and_speeds_within_their_bounds(
            importance in prop::collection::vec(0.0f64..=1.0, 20..200),
            speed in 1.0f64..40.0, slower in 1.0f64..4.0, faster in 1.0f64..8.0,
        ) {
            let (slowest, fastest) = ((speed / slower).max(1.0), speed * faster);
            let (mut free, mut bound) = (TimeLapse::new(speed, 1.0, 1e9), TimeLapse::new(speed, slowest, fastest));
            let played: f64 = importance.iter().map(|&i| 16.0 / free.speed(i, 16)).sum();
            let even = 16.0 * importance.len() as f64 / speed;
            // At worst, the segments of one repayment stray by their whole share.
            let slack = 2.0 * REPAY * 16.0 / speed + 1.0;
            prop_assert!((played - even).abs() <= slack, "{played} of {even}");
            for i in importance {
                let speed = bound.speed(i, 16);
                prop_assert!(speed >= slowest - 1e-9 && speed <= fastest + 1e-6);
            }
        }
    }
}
