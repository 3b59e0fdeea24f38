//! What the graph shows: the importance of the last segments, and where shots start in them.

use std::collections::VecDeque;

/// Time that the graph spans, ns.
const SPAN: u64 = 30_000_000_000;

struct Past {
    segment: u64,
    /// ns, 1 to [`SPAN`].
    duration: u64,
    importance: f64,
    /// Where shots start, as shares of the segment.
    shots: Vec<f64>,
}

/// The last segments, up to 30 s. They follow each other without gaps, whatever their timestamps are.
#[derive(Default)]
pub struct History {
    past: VecDeque<Past>,
}

/// A segment on the graph: from its left edge to its right edge, in [0, 1] from 30 s before the end of the newest to that.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    pub from: f64,
    pub to: f64,
    /// [0, 1]
    pub importance: f64,
}

impl History {
    /// Takes note of a frame's segment; whether that is a new one.
    pub fn enter(&mut self, segment: u64, duration: u64, importance: f64) -> bool {
        if self.past.back().is_some_and(|newest| newest.segment == segment) {
            return false;
        }
        // A segment that is longer than the graph fills it.
        self.past.push_back(Past { segment, duration: duration.clamp(1, SPAN), importance, shots: Vec::new() });
        let mut before: u64 = self.past.iter().map(|past| past.duration).sum();
        while let Some(oldest) = self.past.front()
            && before - oldest.duration >= SPAN
        {
            before -= oldest.duration;
            self.past.pop_front();
        }
        true
    }

    /// A shot starts in the newest segment, at this share of it.
    pub fn add_shot(&mut self, at: f64) {
        if let Some(newest) = self.past.back_mut() {
            newest.shots.push(at);
        }
    }

    pub fn clear(&mut self) {
        self.past.clear();
    }

    /// Each segment with its place, the newest first.
    fn placed(&self) -> impl Iterator<Item = (f64, f64, &Past)> {
        let mut to = 1.0;
        self.past.iter().rev().map(move |past| {
            let place = (to - past.duration as f64 / SPAN as f64, to, past);
            to = place.0;
            place
        })
    }

    /// Segments, the newest first. The oldest may begin before the graph does.
    pub fn steps(&self) -> impl Iterator<Item = Step> {
        self.placed().map(|(from, to, past)| Step { from: from.max(0.0), to, importance: past.importance })
    }

    /// Where shots start, in [0, 1].
    pub fn shots(&self) -> impl Iterator<Item = f64> {
        let within = |(from, to, past): (f64, f64, &Past)| {
            past.shots.iter().map(|at| from + (to - from) * at).collect::<Vec<_>>()
        };
        self.placed().flat_map(within).filter(|at| *at >= 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn newest_segment_ends_at_the_right_and_the_oldest_leave() {
        let mut history = History::default();
        let entered: Vec<bool> =
            [0, 0, 1, 1, 2].map(|segment| history.enter(segment, SPAN / 2, 0.1 * segment as f64)).into();
        assert_eq!(entered, [true, false, true, false, true]);
        history.add_shot(0.5);
        let steps: Vec<_> = history.steps().map(|step| (step.from, step.to, step.importance)).collect();
        assert_eq!(steps, [(0.5, 1.0, 0.2), (0.0, 0.5, 0.1)]);
        assert_eq!(history.shots().collect::<Vec<_>>(), [0.75]);
        history.enter(3, SPAN * 2, 0.7);
        let steps: Vec<_> = history.steps().collect();
        assert_eq!(steps, [Step { from: 0.0, to: 1.0, importance: 0.7 }]);
        assert_eq!(history.shots().count(), 0);
        history.clear();
        assert_eq!(history.steps().count(), 0);
    }

    proptest! {
        #[test]
        fn steps_join_and_stay_within_the_graph(durations in prop::collection::vec(0u64..=u64::MAX, 1..50)) {
            let mut history = History::default();
            for (segment, duration) in durations.into_iter().enumerate() {
                history.enter(segment as u64, duration % if segment % 5 == 0 { u64::MAX } else { SPAN / 3 }, 0.5);
                history.add_shot(0.3);
                let steps: Vec<_> = history.steps().collect();
                prop_assert_eq!(steps[0].to, 1.0);
                prop_assert!(steps.windows(2).all(|pair| pair[0].from == pair[1].to));
                prop_assert!(steps.iter().all(|step| step.from >= 0.0 && step.from <= step.to));
                prop_assert!(history.shots().all(|at| (0.0..=1.0).contains(&at)));
            }
        }
    }
}
