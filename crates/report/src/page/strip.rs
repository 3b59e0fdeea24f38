//! The film strip's geometry. A shot is as wide as it is long, within limits: short ones must still be seen and touched,
//! and a long one is seen as well in a small picture. The curve above is stretched along.

use std::{fmt::Write, ops::Range};

use crate::Shot;

/// Pixels for a second of a shot.
const SECOND: f64 = 24.0;
/// Pixels of a shot, least and most.
const LIMITS: (f64, f64) = (76.0, 220.0);
/// Pixels of a video whose shots are unknown.
const UNCUT: f64 = 960.0;

/// Where each time of the video is on the strip.
pub struct Strip {
    /// Times (ns) and places (pixels from the left), both rising; between two of them time runs evenly.
    stops: Vec<(u64, f64)>,
}

impl Strip {
    /// The shots side by side, or an even strip where there are none.
    pub fn new(shots: &[Shot], duration_ns: u64) -> Self {
        if shots.is_empty() {
            return Self { stops: vec![(0, 0.0), (duration_ns, UNCUT)] };
        }
        let mut left = 0.0;
        let stops = shots.iter().flat_map(|shot| {
            let begin = (shot.span().start, left);
            left += (shot.duration_ns as f64 / 1e9 * SECOND).clamp(LIMITS.0, LIMITS.1);
            [begin, (shot.span().end, left)]
        });
        Self { stops: stops.collect() }
    }

    /// The place of a time (ns), in pixels; the nearest end of the strip for one outside.
    pub fn x(&self, ns: u64) -> f64 {
        let after = self.stops.partition_point(|(time, _)| *time <= ns);
        let (Some(&(from, left)), Some(&(to, right))) = (self.stops[..after].last(), self.stops.get(after)) else {
            return if after == 0 { 0.0 } else { self.width() };
        };
        left + (right - left) * (ns - from) as f64 / (to - from) as f64
    }

    /// Pixels of each shot.
    pub fn widths(&self) -> impl Iterator<Item = f64> {
        self.stops.chunks_exact(2).map(|ends| ends[1].1 - ends[0].1)
    }

    /// Pixels of the whole.
    pub fn width(&self) -> f64 {
        self.stops.last().map_or(0.0, |(_, right)| *right)
    }
}

/// Importance, of span after span (ns), as an SVG path of steps with the area below it. `x` places a time; importance 1
/// is at the top, 0, and 0 at the bottom, 100.
pub fn curve(steps: impl IntoIterator<Item = (Range<u64>, f64)>, x: impl Fn(u64) -> f64) -> String {
    let mut path = String::new();
    for (span, importance) in steps {
        let (left, y, right) = (x(span.start), 100.0 * (1.0 - importance), x(span.end));
        if path.is_empty() {
            let _ = write!(path, "M{left:.1} 100");
        }
        let _ = write!(path, "H{left:.1}V{y:.1}H{right:.1}");
    }
    if !path.is_empty() {
        path += "V100Z";
    }
    path
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::summary::tests::{SECOND as S, sample};

    #[test]
    fn the_curve_is_stretched_with_the_shots() {
        let summary = sample();
        // 2 s are 48 pixels, but at least 76; 4 s are 96.
        let strip = Strip::new(&summary.shots, summary.duration_ns);
        assert_eq!(strip.widths().collect::<Vec<_>>(), [76.0, 96.0, 96.0]);
        assert_eq!([0, 1, 2, 3, 6, 10, 11].map(|s| strip.x(s * S)), [0.0, 38.0, 76.0, 100.0, 172.0, 268.0, 268.0]);
        assert_eq!(
            curve([(0..2 * S, 0.125), (2 * S..4 * S, 0.75), (4 * S..6 * S, 1.0)], |ns| strip.x(ns)),
            "M0.0 100H0.0V87.5H76.0H76.0V25.0H124.0H124.0V0.0H172.0V100Z"
        );
    }

    #[test]
    fn a_video_without_shots_is_even() {
        let strip = Strip::new(&[], 10 * S);
        assert_eq!((strip.x(S), strip.x(99 * S), strip.width()), (96.0, 960.0, 960.0));
        assert_eq!(Strip::new(&[], 0).x(0), 960.0);
        assert_eq!(curve([], |_| 0.0), "");
    }

    proptest! {
        /// Whatever the shots, with gaps between them or of no length, places rise with time and stay on the strip.
        #[test]
        fn places_rise_with_time(
            shots in prop::collection::vec((0..S, 0..20 * S), 0..10), mut times in prop::collection::vec(0..200 * S, 2..20)
        ) {
            let mut time = 0;
            let shots: Vec<Shot> = shots.into_iter().map(|(gap, duration_ns)| {
                let shot = Shot { start_ns: time + gap, duration_ns, score: 0.0, chosen: false, thumbnail: None };
                time = shot.span().end;
                shot
            }).collect();
            let strip = Strip::new(&shots, time);
            times.sort_unstable();
            let places: Vec<f64> = times.iter().map(|time| strip.x(*time)).collect();
            prop_assert!(places.is_sorted() && places.iter().all(|x| (0.0..=strip.width()).contains(x)), "{places:?}");
        }
    }
}
