//! From what people marked, and from frame scores, to what is compared.

use std::ops::Range;

use super::{
    annotations::Marks,
    f_score,
    protocol::{Options, Order, ShareOf, Ties},
    rank_correlation::Ranked,
};
use desumnet_decide::{choose::Choice, shot_scores::Scored};

/// What ranks a video's shots and frames: a person or a method.
#[derive(Clone, Debug)]
pub struct Contestant {
    /// Numbers by which the shots rank.
    pub ranking: Vec<f64>,
    /// The frames of the summary for the F-score.
    pub frames: Vec<bool>,
    pub ranked: Ranked,
}

/// A person: a contestant, and a summary that others are measured against.
#[derive(Clone, Debug)]
pub struct Person {
    pub contestant: Contestant,
    /// The shots of the summary.
    pub relevant: Vec<bool>,
}

impl Contestant {
    /// Of frame scores, one for each frame of the video.
    pub fn of(scores: &[f64], shots: &[Range<usize>], options: &Options) -> Self {
        let means = shot_means(scores, shots);
        Self {
            frames: f_score::summary(shots, &means, scores.len(), options.length),
            ranking: options.ties.ranking(&means, shots),
            ranked: Ranked::of(scores),
        }
    }
}

impl Person {
    /// Of what someone marked. The summary of chosen frames has the shots of which at least half is chosen.
    pub fn of(marks: &Marks, shots: &[Range<usize>], options: &Options) -> Self {
        let scores: Vec<f64> = match marks {
            Marks::Importance(scores) => scores.iter().copied().map(f64::from).collect(),
            Marks::Chosen(chosen) => chosen.iter().copied().map(f64::from).collect(),
        };
        let mut contestant = Contestant::of(&scores, shots, options);
        let means = shot_means(&scores, shots);
        let relevant = match marks {
            Marks::Importance(_) => best(&means, shots, options),
            Marks::Chosen(chosen) => {
                contestant.frames.clone_from(chosen);
                means.iter().map(|&share| share >= 0.5).collect()
            }
        };
        if options.order == Order::Summary {
            let chosen: Vec<f64> = relevant.iter().copied().map(f64::from).collect();
            contestant.ranking = options.ties.ranking(&chosen, shots);
        }
        Self { contestant, relevant }
    }
}

/// Mean score of each shot's frames.
pub fn shot_means(scores: &[f64], shots: &[Range<usize>]) -> Vec<f64> {
    shots.iter().map(|shot| scores[shot.clone()].iter().sum::<f64>() / shot.len() as f64).collect()
}

/// `None` of none.
pub fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

/// The shots of the best-scored share of a video, ties to the shorter.
fn best(scores: &[f64], shots: &[Range<usize>], options: &Options) -> Vec<bool> {
    match options.share_of {
        ShareOf::Time => {
            let scored = shots.iter().zip(scores).map(|(shot, &score)| Scored {
                start_ns: shot.start as u64,
                duration_ns: shot.len() as u64,
                score,
            });
            let frames: usize = shots.iter().map(Range::len).sum();
            let taken = Choice::Greedy.of(&scored.collect::<Vec<_>>(), (frames as f64 * options.share) as u64);
            (0..shots.len()).map(|shot| taken.binary_search(&shot).is_ok()).collect()
        }
        ShareOf::Shots => {
            let count = (shots.len() as f64 * options.share).round();
            Ties::Shorter.ranking(scores, shots).into_iter().map(|place| -place < count).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::annotations::Kind;

    const SHOTS: [Range<usize>; 4] = [0..4, 4..6, 6..7, 7..10];

    fn scores() -> Marks {
        Marks::Importance(vec![5.0, 5.0, 1.0, 1.0, 4.0, 4.0, 3.0, 2.0, 2.0, 2.0])
    }

    #[test]
    fn a_persons_summary_has_the_best_half_of_the_time() {
        // Means 3, 4, 3, 2; of 5 frames, the shot of 2 and, ties to the shorter, that of 1. The last two frames fit no shot.
        let options = Options::usual(Kind::Tvsum);
        let person = Person::of(&scores(), &SHOTS, &options);
        assert_eq!(person.relevant, [false, true, true, false]);
        assert_eq!(person.contestant.ranking, [0.0, 1.0, 1.0, 0.0]);
        let own = Person::of(&scores(), &SHOTS, &Options { order: Order::Scores, ..options });
        assert_eq!((own.contestant.ranking, own.relevant), (vec![3.0, 4.0, 3.0, 2.0], person.relevant));
    }

    #[test]
    fn or_of_the_number_of_shots() {
        let of = |share, shots: &[Range<usize>]| {
            let options = Options { share, share_of: ShareOf::Shots, ..Options::usual(Kind::Tvsum) };
            Person::of(&scores(), shots, &options).relevant
        };
        assert_eq!(of(0.5, &SHOTS), [false, true, true, false]);
        assert_eq!(of(0.75, &SHOTS), [true, true, true, false]);
        // Half of three, rounded.
        assert_eq!(of(0.5, &SHOTS[..3]), [false, true, true]);
    }

    #[test]
    fn chosen_frames_make_a_summary_of_the_shots_that_they_fill_half() {
        let chosen: Vec<bool> = "1100100111".chars().map(|c| c == '1').collect();
        let options = Options { order: Order::Scores, ..Options::usual(Kind::Summe) };
        let person = Person::of(&Marks::Chosen(chosen.clone()), &SHOTS, &options);
        assert_eq!(person.relevant, [true, true, false, true]);
        assert_eq!(person.contestant.ranking, [0.5, 0.5, 0.0, 1.0]);
        assert_eq!(person.contestant.frames, chosen);
    }

    #[test]
    fn ties_fall_as_they_are_told() {
        let ranking = |ties: Ties| ties.ranking(&[3.0, 4.0, 3.0, 3.0], &SHOTS);
        assert_eq!(ranking(Ties::Exact), [3.0, 4.0, 3.0, 3.0]);
        assert_eq!(ranking(Ties::Shorter), [-3.0, 0.0, -1.0, -2.0]);
        assert_eq!(ranking(Ties::Earlier), [-1.0, 0.0, -2.0, -3.0]);
    }
}
