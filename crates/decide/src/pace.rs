//! The time-lapse of a whole video that is scored already: how fast each segment plays.
//!
//! The pace of a segment is one over its speed: the share of its time that is left. Of the practical form (digest, Time-lapse) it is
//! proportional to the segment's score, within bounds, and as high next to a slow segment as a smooth change asks; the factor
//! of proportion is the one at which the whole lasts as long as was asked for.

use thiserror::Error;

use super::{
    plan::{Part, Plan, PlanError},
    shot_scores::{Scored, seamless},
    timelapse::FLOOR,
};

/// How many times faster than its neighbour a segment may play.
pub const STEP: f64 = 1.5;

/// Lowest score that counts, of the highest one: with it, any length within the speeds can be reached.
const LEAST: f64 = 1e-6;

/// How long the time-lapse is.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// This long, ns; the video's own length if that is shorter.
    Length(u64),
    /// How many times faster than the video, over all.
    Speed(f64),
}

/// Why there is no time-lapse.
#[derive(Debug, Error)]
pub enum PaceError {
    #[error("a speed of {0} is no time-lapse: give one of at least 1, or a length over 0")]
    Speed(f64),
    #[error(
        "speeds from {min} to {max} leave no choice: give a min-speed of at least 1 and a max-speed that is no lower"
    )]
    Bounds { min: f64, max: f64 },
    #[error(
        "a speed of {speed:.3} over all is not between min-speed {min} and max-speed {max}: give another length or speed, or move the bound"
    )]
    OutOfBounds { speed: f64, min: f64, max: f64 },
    #[error(transparent)]
    Plan(#[from] PlanError),
}

/// Every segment at a speed by its score, from `min` (at least 1) to `max` (may be infinite); together they last as long as
/// `target` says.
///
/// No segment gets less than a quarter of an even share ([`FLOOR`]), and none plays over [`STEP`] times faster than its
/// neighbour: what comes next to an important segment slows down for it.
///
/// # Errors
/// [`PaceError`]: the target does not lie within the speeds, or the segments are none, out of order or overlap.
pub fn by_score(segments: &[Scored], target: Target, min: f64, max: f64) -> Result<Plan, PaceError> {
    if !(min >= 1.0 && min <= max) {
        return Err(PaceError::Bounds { min, max });
    }
    let segments = seamless(segments.to_vec());
    let whole: f64 = segments.iter().map(|s| s.duration_ns as f64).sum();
    let speed = match target {
        Target::Speed(speed) => speed,
        Target::Length(length) => (whole / length as f64).max(1.0),
    };
    if segments.is_empty() {
        return Err(PlanError::Empty.into());
    }
    if !(speed >= 1.0 && speed.is_finite()) {
        return Err(PaceError::Speed(speed));
    }
    if !(min..=max).contains(&speed) {
        return Err(PaceError::OutOfBounds { speed, min, max });
    }
    let least = (1.0 / max).max(FLOOR / speed);
    let paces = paces(&segments, 1.0 / speed, least, 1.0 / min);
    Ok(Plan::new(segments.iter().zip(paces).map(|(segment, pace)| part(segment, pace)).collect())?)
}

/// The paper's own (section 4.2): of segment i, the share r_i = 1 - I_i / sum(I) is removed. What is left of all segments
/// together is one segment long. A segment that scores 0 is left out; where all do, they share evenly.
///
/// # Errors
/// [`PlanError`]: the segments are none, out of order or overlap.
pub fn by_paper(segments: &[Scored]) -> Result<Plan, PlanError> {
    let sum: f64 = segments.iter().map(|s| s.score).sum();
    let pace = |s: &Scored| if sum > 0.0 { s.score / sum } else { 1.0 / segments.len() as f64 };
    let segments = seamless(segments.to_vec());
    Plan::new(segments.iter().filter(|s| pace(s) > 0.0).map(|s| part(s, pace(s))).collect())
}

fn part(segment: &Scored, pace: f64) -> Part {
    let speed = (1.0 / pace).max(1.0);
    Part { start_ns: segment.start_ns, duration_ns: segment.duration_ns, score: segment.score, speed }
}

/// Paces from `least` to `most`, of which the mean over time is `mean`.
fn paces(segments: &[Scored], mean: f64, least: f64, most: f64) -> Vec<f64> {
    let highest = segments.iter().map(|s| s.score).fold(0.0, f64::max);
    let weight = |s: &Scored| if highest > 0.0 { (s.score / highest).max(LEAST) } else { 1.0 };
    let at = |factor: f64| {
        let mut paces: Vec<f64> = segments.iter().map(|s| (factor * weight(s)).clamp(least, most)).collect();
        smooth(&mut paces);
        paces
    };
    let whole: f64 = segments.iter().map(|s| s.duration_ns as f64).sum();
    let played = |paces: &[f64]| segments.iter().zip(paces).map(|(s, pace)| pace * s.duration_ns as f64).sum::<f64>();
    // The time played rises with the factor without jumps: from `least` everywhere to `most` everywhere.
    let (mut low, mut high) = (0.0, most / LEAST);
    loop {
        let middle = (low + high) / 2.0;
        let done = middle <= low || middle >= high;
        let paces = at(if done { high } else { middle });
        if done {
            return paces;
        }
        *(if played(&paces) < mean * whole { &mut low } else { &mut high }) = middle;
    }
}

/// Raises what is over [`STEP`] times below its neighbour.
fn smooth(paces: &mut [f64]) {
    for i in 1..paces.len() {
        paces[i] = paces[i].max(paces[i - 1] / STEP);
    }
    for i in (1..paces.len()).rev() {
        paces[i - 1] = paces[i - 1].max(paces[i] / STEP);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;
    /// At 25 frames a second, ns.
    const FRAME: u64 = 40_000_000;

    /// Segments one after the other, of a second each.
    fn row(scores: &[f64]) -> Vec<Scored> {
        let segment = |(i, &score): (usize, &f64)| Scored { start_ns: i as u64 * SECOND, duration_ns: SECOND, score };
        scores.iter().enumerate().map(segment).collect()
    }

    fn speeds(plan: &Plan) -> Vec<f64> {
        plan.parts().iter().map(|part| part.speed).collect()
    }

    fn error(target: Target, min: f64, max: f64) -> String {
        by_score(&row(&[0.5; 8]), target, min, max).unwrap_err().to_string()
    }

    #[test]
    fn a_segment_that_matters_more_plays_slower_by_as_much() {
        let plan = by_score(&row(&[0.4, 0.5, 0.6, 0.5]), Target::Speed(4.0), 1.0, f64::INFINITY).unwrap();
        for (speed, expected) in speeds(&plan).into_iter().zip([5.0, 4.0, 10.0 / 3.0, 4.0]) {
            assert!((speed / expected - 1.0).abs() < 1e-9, "{speed}");
        }
        assert_eq!(plan.played_ns(), SECOND);
    }

    #[test]
    fn speed_changes_step_by_step_around_a_great_moment() {
        let plan = by_score(&row(&[0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]), Target::Speed(1.75), 1.0, 64.0).unwrap();
        let speeds = speeds(&plan);
        assert!((speeds[3] - 1.0).abs() < 1e-9, "{speeds:?}");
        assert!(speeds.windows(2).all(|w| (w[0] / w[1]).max(w[1] / w[0]) < STEP + 1e-9), "{speeds:?}");
        assert_eq!(plan.played_ns(), 4 * SECOND);
    }

    #[test]
    fn scores_that_are_all_the_same_share_evenly() {
        for score in [0.0, 0.7] {
            let plan = by_score(&row(&[score; 9]), Target::Length(3 * SECOND), 1.0, 100.0).unwrap();
            assert!(speeds(&plan).iter().all(|speed| (speed - 3.0).abs() < 1e-9));
        }
    }

    #[test]
    fn a_length_over_the_videos_plays_it_as_it_is() {
        let plan = by_score(&row(&[0.1, 0.9]), Target::Length(5 * SECOND), 1.0, 10.0).unwrap();
        assert!(speeds(&plan).iter().all(|speed| (speed - 1.0).abs() < 1e-9));
        assert_eq!(plan.played_ns(), 2 * SECOND);
    }

    #[test]
    fn what_cannot_be_met_is_said() {
        assert_eq!(
            error(Target::Speed(30.0), 2.0, 20.0),
            "a speed of 30.000 over all is not between min-speed 2 and max-speed 20: give another length or speed, or move the bound"
        );
        assert!(error(Target::Length(8 * SECOND), 2.0, 20.0).starts_with("a speed of 1.000 over all"));
        assert_eq!(
            error(Target::Speed(4.0), 5.0, 2.0),
            "speeds from 5 to 2 leave no choice: give a min-speed of at least 1 and a max-speed that is no lower"
        );
        let none = "is no time-lapse: give one of at least 1, or a length over 0";
        assert_eq!(error(Target::Length(0), 1.0, 20.0), format!("a speed of inf {none}"));
        assert_eq!(error(Target::Speed(0.5), 1.0, 20.0), format!("a speed of 0.5 {none}"));
        assert!(matches!(by_score(&[], Target::Speed(4.0), 1.0, 20.0), Err(PaceError::Plan(PlanError::Empty))));
    }

    #[test]
    fn the_papers_formula_leaves_one_segment_in_all() {
        let plan = by_paper(&row(&[0.1, 0.0, 0.3, 0.6])).unwrap();
        let got: Vec<_> = plan.parts().iter().map(|part| (part.start_ns / SECOND, part.speed.round())).collect();
        // r = 0.9, 1, 0.7 and 0.4.
        assert_eq!(got, [(0, 10.0), (2, 3.0), (3, 2.0)]);
        assert_eq!(plan.played_ns(), SECOND);
        assert_eq!(speeds(&by_paper(&row(&[0.0, 0.0])).unwrap()), [2.0, 2.0]);
    }

    proptest! {
        #[test]
        fn it_lasts_as_long_as_asked_within_the_speeds(
            segments in prop::collection::vec((1u64..3 * SECOND, 0.0f64..1.0, 0u64..3), 1..60),
            share in 0.0f64..=1.0, min in 1.0f64..4.0, range in 1.0f64..50.0, by_length: bool,
        ) {
            let mut end = 0;
            // With the rounding that times of frames have, and some that score nothing.
            let segments: Vec<Scored> = segments.into_iter().map(|(duration, score, rounding)| {
                let start_ns = end + rounding;
                end = start_ns + duration;
                Scored { start_ns, duration_ns: duration, score: (score - 0.2).max(0.0) }
            }).collect();
            let max = min * range;
            let speed = min + share * (max - min);
            let whole: u64 = seamless(segments.clone()).iter().map(|s| s.duration_ns).sum();
            let length = (whole as f64 / speed).ceil() as u64;
            let target = if by_length { Target::Length(length) } else { Target::Speed(speed) };
            // A length in whole ns may ask for a little less speed than the least.
            let min = if by_length { 1.0 } else { min };
            let plan = by_score(&segments, target, min, max + 1e-6).unwrap();
            prop_assert!((plan.played_ns() as f64 - whole as f64 / speed).abs() <= FRAME as f64 / 1e6);
            let speeds = speeds(&plan);
            prop_assert!(speeds.iter().all(|&s| s <= max + 1e-5 && s >= min - 1e-9));
            prop_assert!(speeds.iter().all(|&s| s <= speed / FLOOR * (1.0 + 1e-6)));
            prop_assert!(speeds.windows(2).all(|w| (w[0] / w[1]).max(w[1] / w[0]) <= STEP * (1.0 + 1e-9)));
            prop_assert_eq!(plan.parts().len(), segments.len());
        }

        #[test]
        fn the_most_important_segment_is_never_faster_than_another(
            scores in prop::collection::vec(0.0f64..1.0, 1..40), speed in 1.0f64..30.0,
        ) {
            let plan = by_score(&row(&scores), Target::Speed(speed), 1.0, f64::INFINITY).unwrap();
            let speeds = speeds(&plan);
            let best = (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap();
            prop_assert!(speeds.iter().all(|&speed| speed >= speeds[best] - 1e-9));
        }
    }
}
