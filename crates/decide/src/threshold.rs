//! What matters enough is kept, however much or little that is: each segment whose score is high, with what comes before and after it, and
//! each that nobody could score.
//!
//! Times are ns.

use std::collections::VecDeque;

use super::online::{Decision, Segment};

/// What is kept.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Lowest score that matters.
    pub score: f64,
    /// Shortest clip, with its rolls, but for one that the end of the stream cuts.
    pub min_clip: u64,
    /// Kept of what comes before a moment that matters, and after it, in whole segments.
    pub pre_roll: u64,
    pub post_roll: u64,
}

/// Decides segment by segment, in their order.
#[derive(Debug)]
pub struct Threshold {
    settings: Settings,
    /// Seen, and within the pre-roll of what may come.
    waiting: VecDeque<Decision>,
    /// What begins before this is kept; `None` before the first moment that matters.
    kept_until: Option<u64>,
}

impl Threshold {
    /// Nothing is seen yet.
    pub fn new(settings: Settings) -> Self {
        Self { settings, waiting: VecDeque::new(), kept_until: None }
    }

    /// A segment comes; the decisions that are due.
    pub fn push(&mut self, segment: Segment) -> Vec<Decision> {
        let Settings { score, min_clip, pre_roll, post_roll } = self.settings;
        let end = |segment: &Segment| segment.start + segment.duration;
        if segment.score >= Some(score) {
            let from = segment.start.saturating_sub(pre_roll);
            // One that goes on is long enough when its beginning was.
            let least = if self.kept_until.is_none_or(|until| from > until) { from + min_clip } else { 0 };
            self.kept_until = self.kept_until.max(Some(least.max(end(&segment) + post_roll)));
            for before in self.waiting.iter_mut().filter(|before| end(&before.segment) > from) {
                before.keep = true;
            }
        }
        let keep = segment.score.is_none() || Some(segment.start) < self.kept_until;
        self.waiting.push_back(Decision { segment, keep });
        // What begins next may matter, and reach back to what is not kept yet.
        let settled = end(&segment).saturating_sub(pre_roll);
        let is_due = |decision: &&Decision| decision.keep || end(&decision.segment) <= settled;
        let due = self.waiting.iter().take_while(is_due).count();
        self.waiting.drain(..due).collect()
    }

    /// Nothing comes after what is seen; the decisions that are left.
    pub fn finish(&mut self) -> Vec<Decision> {
        self.waiting.drain(..).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;
    const SETTINGS: Settings = Settings { score: 0.5, min_clip: 4 * SECOND, pre_roll: 2 * SECOND, post_roll: SECOND };

    /// Segments of a second; `!` is one that matters, `?` one that is not scored. What is kept, as `#`.
    fn kept(settings: Settings, stream: &str) -> String {
        let mut threshold = Threshold::new(settings);
        let mut decisions = Vec::new();
        for (i, what) in stream.chars().enumerate() {
            let score = match what {
                '!' => Some(0.5),
                '?' => None,
                _ => Some(0.25),
            };
            decisions.extend(threshold.push(Segment {
                start: i as u64 * SECOND,
                duration: SECOND,
                score,
                of_category: true,
            }));
        }
        decisions.extend(threshold.finish());
        assert!(decisions.windows(2).all(|w| w[0].segment.start < w[1].segment.start));
        decisions.iter().map(|decision| if decision.keep { '#' } else { '.' }).collect()
    }

    #[test]
    fn moments_are_kept_with_their_rolls() {
        assert_eq!(kept(SETTINGS, ".....!....."), "...####....");
        assert_eq!(kept(SETTINGS, "!.........."), "####.......");
        assert_eq!(kept(SETTINGS, "....!...!.."), "..########.");
        assert_eq!(kept(SETTINGS, "..........."), "...........");
        assert_eq!(kept(SETTINGS, "..??...!?.."), "..##.####..");
        assert_eq!(kept(Settings { min_clip: 6 * SECOND, ..SETTINGS }, ".....!......"), "...######...");
        assert_eq!(kept(Settings { min_clip: 6 * SECOND, ..SETTINGS }, ".....!...!.."), "...########.");
        let bare = Settings { min_clip: 0, pre_roll: 0, post_roll: 0, score: 0.5 };
        assert_eq!(kept(bare, "..!.!!."), "..#.##.");
    }

    #[test]
    fn what_is_kept_is_decided_at_once_and_the_rest_when_it_can_no_longer_be_reached() {
        let mut threshold = Threshold::new(SETTINGS);
        let mut due = |i: u64, score| {
            threshold.push(Segment { start: i * SECOND, duration: SECOND, score: Some(score), of_category: true }).len()
        };
        assert_eq!([due(0, 0.0), due(1, 0.0), due(2, 0.0), due(3, 0.0), due(4, 1.0)], [0, 0, 1, 1, 3]);
        assert_eq!([due(5, 0.0), due(6, 0.0), due(7, 0.0), due(8, 0.0)], [1, 0, 0, 1]);
    }

    proptest! {
        #[test]
        fn all_that_matters_is_kept_and_nothing_far_from_it(
            segments in prop::collection::vec((1u64..4_000, prop::bool::weighted(0.1)), 1..80),
            pre_roll in 0u64..5_000, post_roll in 0u64..5_000,
        ) {
            let mut threshold = Threshold::new(Settings { score: 1.0, min_clip: 0, pre_roll, post_roll });
            let (mut decisions, mut start, mut all) = (Vec::new(), 0, Vec::new());
            for (duration, matters) in segments {
                let segment = Segment { start, duration, score: Some(f64::from(matters)), of_category: true };
                start += duration;
                all.push(segment);
                decisions.extend(threshold.push(segment));
            }
            decisions.extend(threshold.finish());
            prop_assert_eq!(decisions.iter().map(|decision| decision.segment).collect::<Vec<_>>(), all.clone());
            for decision in decisions {
                let Segment { start, duration, .. } = decision.segment;
                let near = all.iter().filter(|other| other.score >= Some(1.0)).any(|other| {
                    start < other.start + other.duration + post_roll && start + duration + pre_roll > other.start
                });
                prop_assert_eq!(decision.keep, near, "{:?}", decision);
            }
        }
    }
}
