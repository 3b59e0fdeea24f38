//! From segments' scores to shots' scores, and shots that are long enough to watch.

use serde::{Deserialize, Serialize};

/// Stretches that miss each other by less, ns, are meant to touch: times of frames are rounded.
const ROUNDING: u64 = 1_000_000;

/// A stretch of a video, a segment or a shot, and how much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    /// ns
    pub start_ns: u64,
    /// ns
    pub duration_ns: u64,
    /// Finite, at least 0.
    pub score: f64,
}

impl Scored {
    /// ns
    pub fn end_ns(&self) -> u64 {
        self.start_ns + self.duration_ns
    }

    /// Time that it shares with the stretch from `start` to `end`, ns.
    pub fn shared_ns(&self, start: u64, end: u64) -> u64 {
        self.end_ns().min(end).saturating_sub(self.start_ns.max(start))
    }

    /// Whether `next` begins where it ends.
    pub fn touches(&self, next: &Self) -> bool {
        self.end_ns() == next.start_ns
    }

    /// Both as one, from the start of this to the end of `next`; its score is the mean over their times.
    #[must_use]
    pub fn joined(&self, next: &Self) -> Self {
        let (a, b) = (self.duration_ns as f64, next.duration_ns as f64);
        Self {
            start_ns: self.start_ns,
            duration_ns: next.end_ns() - self.start_ns,
            score: if a + b > 0.0 { (self.score * a + next.score * b) / (a + b) } else { 0.0 },
        }
    }
}

/// Shots, each a start and a duration in ns, with the mean of their segments' scores (paper, section 4.1).
///
/// **Our choice**: a segment counts by the time that it shares with the shot, so that one that spans a cut counts on both
/// sides; a shot without segments scores 0. Shots that miss each other by rounding touch then, as [`seamless`] has it.
pub fn score_shots(shots: &[(u64, u64)], segments: &[Scored]) -> Vec<Scored> {
    let of = |&(start_ns, duration_ns): &(u64, u64)| {
        let (mut sum, mut time) = (0.0, 0.0);
        for segment in segments {
            let shared = segment.shared_ns(start_ns, start_ns + duration_ns) as f64;
            sum += segment.score * shared;
            time += shared;
        }
        Scored { start_ns, duration_ns, score: if time > 0.0 { sum / time } else { 0.0 } }
    };
    seamless(shots.iter().map(of).collect())
}

/// Stretches, in order, each of which lasts until the next one begins where the two miss each other by less than a millisecond.
pub fn seamless(mut stretches: Vec<Scored>) -> Vec<Scored> {
    for i in 1..stretches.len() {
        let (start, next) = (stretches[i - 1].start_ns, stretches[i].start_ns);
        if stretches[i - 1].end_ns().abs_diff(next) < ROUNDING && next > start {
            stretches[i - 1].duration_ns = next - start;
        }
    }
    stretches
}

/// Shots, in order, none of which is shorter than `least`, ns: the shortest one joins the neighbour that it touches whose score
/// is nearer, until none is too short. One that touches none is left out, but for the last one of all.
pub fn at_least(mut shots: Vec<Scored>, least: u64) -> Vec<Scored> {
    let shortest = |shots: &[Scored]| {
        let short = (0..shots.len()).filter(|&i| shots[i].duration_ns < least);
        short.min_by_key(|&i| shots[i].duration_ns).filter(|_| shots.len() > 1)
    };
    while let Some(i) = shortest(&shots) {
        let distance = |other: usize| (shots[i].score - shots[other].score).abs();
        let before = i.checked_sub(1).filter(|&before| shots[before].touches(&shots[i]));
        let after = Some(i + 1).filter(|&after| after < shots.len() && shots[i].touches(&shots[after]));
        let first = match (before, after) {
            (Some(before), Some(after)) => Some(if distance(before) <= distance(after) { before } else { i }),
            (Some(before), None) => Some(before),
            (None, Some(_)) => Some(i),
            (None, None) => None,
        };
        match first {
            Some(first) => {
                shots[first] = shots[first].joined(&shots[first + 1]);
                shots.remove(first + 1);
            }
            None => drop(shots.remove(i)),
        }
    }
    shots
}

/// Stretches, in order, those that touch joined.
pub fn merged(stretches: impl IntoIterator<Item = Scored>) -> Vec<Scored> {
    let mut merged: Vec<Scored> = Vec::new();
    for next in stretches {
        match merged.last_mut() {
            Some(last) if last.touches(&next) => *last = last.joined(&next),
            _ => merged.push(next),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// ms, in ns
    const MS: u64 = 1_000_000;

    fn scored(start: u64, duration: u64, score: f64) -> Scored {
        Scored { start_ns: start * MS, duration_ns: duration * MS, score }
    }

    #[test]
    fn a_segment_that_spans_a_cut_counts_by_its_share_of_each_shot() {
        let segments = [scored(0, 10, 1.0), scored(10, 10, 4.0)];
        let shots = score_shots(&[(0, 15 * MS), (15 * MS, 5 * MS), (30 * MS, 5 * MS)], &segments);
        assert_eq!(shots, [scored(0, 15, 2.0), scored(15, 5, 4.0), scored(30, 5, 0.0)]);
    }

    #[test]
    fn a_short_shot_joins_the_neighbour_that_is_most_like_it() {
        let shots = vec![scored(0, 100, 1.0), scored(100, 20, 3.0), scored(120, 100, 4.0), scored(500, 20, 9.0)];
        // The last one touches none.
        let joined = at_least(shots, 50 * MS);
        assert_eq!(joined.len(), 2);
        assert_eq!((joined[0], joined[1].start_ns), (scored(0, 100, 1.0), 100 * MS));
        assert!((joined[1].score - (20.0 * 3.0 + 100.0 * 4.0) / 120.0).abs() < 1e-12);
    }

    #[test]
    fn stretches_that_miss_each_other_by_rounding_become_one() {
        for rounded in [10 * MS - 1, 10 * MS + 1] {
            let one = Scored { duration_ns: rounded, ..scored(0, 0, 2.0) };
            let stretches = seamless(vec![one, scored(10, 10, 2.0), scored(25, 5, 1.0)]);
            assert_eq!(merged(stretches), [scored(0, 20, 2.0), scored(25, 5, 1.0)]);
        }
    }

    proptest! {
        #[test]
        fn no_shot_stays_short_and_no_time_is_lost(
            shots in prop::collection::vec((1u64..100, 0.0f64..1.0), 1..40), least in 1u64..150,
        ) {
            let mut end = 0;
            let shots: Vec<_> = shots.into_iter().map(|(duration, score)| {
                end += duration;
                scored(end - duration, duration, score)
            }).collect();
            let weight = |shots: &[Scored]| shots.iter().map(|s| s.score * s.duration_ns as f64).sum::<f64>();
            let before = weight(&shots);
            let joined = at_least(shots, least * MS);
            if end >= least {
                prop_assert!(joined.iter().all(|s| s.duration_ns >= least * MS));
                prop_assert!(joined.windows(2).all(|w| w[0].end_ns() == w[1].start_ns));
                prop_assert_eq!((joined[0].start_ns, joined[joined.len() - 1].end_ns()), (0, end * MS));
                prop_assert!((weight(&joined) / before.max(1e-9) - 1.0).abs() < 1e-6 || before < 1e-9);
            } else {
                prop_assert_eq!(joined.len(), 1);
            }
        }
    }
}
