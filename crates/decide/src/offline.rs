//! The skim of a whole video that is scored already (paper, section 4.1).

use super::{
    choose::Choice,
    plan::{Part, Plan, PlanError},
    shot_scores::{Scored, merged},
};

/// The shots that `choice` takes within `length`, ns, in the order of time; those that touch become one part.
///
/// A length of the video's own or more takes the whole video. Where no shot is short enough, the best one is cut to its best
/// stretch of that length by its `segments`: a short skim is more use than none.
///
/// Make shots long enough to watch by [`super::shot_scores::at_least`] first.
///
/// # Errors
/// [`PlanError`]: the length is 0, or the shots are none, out of order or overlap.
pub fn skim(shots: &[Scored], segments: &[Scored], length: u64, choice: Choice) -> Result<Plan, PlanError> {
    let whole: u64 = shots.iter().map(|shot| shot.duration_ns).sum();
    let taken: Vec<Scored> = if length >= whole {
        shots.to_vec()
    } else {
        choice.of(shots, length).into_iter().map(|shot| shots[shot]).collect()
    };
    let taken = if taken.is_empty() && length > 0 { best_stretch(shots, segments, length) } else { merged(taken) };
    Plan::new(taken.iter().map(part).collect())
}

fn part(stretch: &Scored) -> Part {
    Part { start_ns: stretch.start_ns, duration_ns: stretch.duration_ns, score: stretch.score, speed: 1.0 }
}

/// The `length`, ns, of the best shot in which the segments score most; the earliest of equals.
fn best_stretch(shots: &[Scored], segments: &[Scored], length: u64) -> Vec<Scored> {
    let best = shots.iter().reduce(|a, b| if b.score > a.score { b } else { a });
    let stretches = best.into_iter().flat_map(|shot| {
        // What a stretch holds is most where it begins or ends with a segment, or with the shot.
        let starts =
            segments.iter().flat_map(|s| [s.start_ns, s.end_ns().saturating_sub(length)]).chain([shot.start_ns]);
        let fits = move |&start: &u64| start >= shot.start_ns && start + length <= shot.end_ns();
        starts.filter(fits).map(|start_ns| Scored {
            start_ns,
            duration_ns: length,
            score: segments.iter().map(|s| s.score * s.shared_ns(start_ns, start_ns + length) as f64).sum::<f64>()
                / length as f64,
        })
    });
    let better = |a: &Scored, b: &Scored| b.score > a.score || (b.score == a.score && b.start_ns < a.start_ns);
    stretches.reduce(|a, b| if better(&a, &b) { b } else { a }).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shot_scores::score_shots;
    use proptest::prelude::*;

    fn scored(start_ns: u64, duration_ns: u64, score: f64) -> Scored {
        Scored { start_ns, duration_ns, score }
    }

    fn parts(shots: &[Scored], segments: &[Scored], length: u64) -> Vec<(u64, u64, f64)> {
        let plan = skim(shots, segments, length, Choice::Greedy).unwrap();
        plan.parts().iter().map(|part| (part.start_ns, part.duration_ns, part.score)).collect()
    }

    #[test]
    fn shots_play_in_the_order_of_time_and_neighbours_as_one() {
        let shots = [scored(0, 4, 0.5), scored(4, 4, 0.9), scored(8, 4, 0.1), scored(12, 2, 0.8)];
        assert_eq!(parts(&shots, &[], 11), [(0, 8, 0.7), (12, 2, 0.8)]);
    }

    #[test]
    fn a_length_of_the_video_or_more_takes_all_of_it() {
        let shots = [scored(0, 4, 1.0), scored(4, 4, 0.0)];
        for length in [8, 9, u64::MAX] {
            assert_eq!(parts(&shots, &[], length), [(0, 8, 0.5)]);
        }
    }

    #[test]
    fn a_shot_that_is_too_long_is_cut_to_its_best_stretch() {
        let segments =
            [scored(0, 5, 0.875), scored(5, 5, 0.0), scored(10, 5, 0.5), scored(15, 5, 0.75), scored(20, 5, 0.125)];
        let shots = score_shots(&[(0, 8), (8, 17)], &segments);
        // The first shot is the better one.
        assert_eq!(parts(&shots, &segments, 4), [(0, 4, 0.875)]);
        assert_eq!(parts(&shots[1..], &segments, 10), [(10, 10, 0.625)]);
        assert_eq!(parts(&shots[1..], &segments, 3), [(15, 3, 0.75)]);
    }

    #[test]
    fn what_makes_no_plan_is_said() {
        assert!(matches!(skim(&[scored(0, 4, 1.0)], &[], 0, Choice::Greedy), Err(PlanError::Empty)));
        assert!(matches!(skim(&[], &[], 5, Choice::Knapsack), Err(PlanError::Empty)));
        let crossed = [scored(0, 4, 1.0), scored(3, 4, 1.0)];
        assert!(matches!(skim(&crossed, &[], 9, Choice::Greedy), Err(PlanError::Overlap(1))));
    }

    proptest! {
        #[test]
        fn a_skim_keeps_to_its_length_and_to_the_shots(
            shots in prop::collection::vec((1u64..5_000, 0u64..3, 0.0f64..1.0), 1..40), length in 1u64..60_000,
        ) {
            let mut end = 0;
            let shots: Vec<Scored> = shots.into_iter().map(|(duration, gap, score)| {
                end += gap + duration;
                scored(end - duration, duration, score)
            }).collect();
            for choice in [Choice::Greedy, Choice::Knapsack] {
                let plan = skim(&shots, &shots, length, choice).unwrap();
                prop_assert!(plan.played_ns() <= length);
                // Two parts never touch, and what plays is in a shot.
                prop_assert!(plan.parts().windows(2).all(|w| w[0].end_ns() < w[1].start_ns));
                for part in plan.parts() {
                    let shown: u64 = shots.iter().map(|s| s.shared_ns(part.start_ns, part.end_ns())).sum();
                    prop_assert_eq!(shown, part.duration_ns);
                }
            }
        }
    }
}
