//! F-score of a summary of limited length, as SumMe and TVSum are measured since Zhang et al. (ECCV 2016).

use std::ops::Range;

use clap::ValueEnum;
use serde::Serialize;

use desumnet_decide::{choose::Choice, shot_scores::Scored};

/// Which people's F-scores make a video's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Over {
    /// The person who agrees most: SumMe, as its people chose very different parts.
    Max,
    /// All alike: TVSum, CoSum.
    Mean,
}

impl Over {
    /// `None` of none.
    pub fn of(self, values: &[f64]) -> Option<f64> {
        match self {
            Self::Max => values.iter().copied().reduce(f64::max),
            Self::Mean => super::people::mean(values.iter().copied()),
        }
    }
}

/// Harmonic mean of precision and recall of frames, [0, 1]; 0 where no frame is in both.
///
/// # Panics
/// If the two are not of one length.
pub fn f_score(summary: &[bool], reference: &[bool]) -> f64 {
    assert_eq!(summary.len(), reference.len());
    let count = |frames: &[bool]| frames.iter().filter(|&&chosen| chosen).count() as f64;
    let both = summary.iter().zip(reference).filter(|(summary, reference)| **summary && **reference).count() as f64;
    // 2 p r / (p + r) with p = both / summary and r = both / reference.
    if both > 0.0 { 2.0 * both / (count(summary) + count(reference)) } else { 0.0 }
}

/// The frames of the shots that a knapsack takes: at most `share` of the video's `frames`, rounded down, and the largest sum of
/// shot scores. The field's rule: a shot is worth its mean frame score, however long it is.
pub fn summary(shots: &[Range<usize>], scores: &[f64], frames: usize, share: f64) -> Vec<bool> {
    // The knapsack values score times duration, and counts time in steps of any size.
    let scored = shots.iter().zip(scores).map(|(shot, score)| Scored {
        start_ns: shot.start as u64,
        duration_ns: shot.len() as u64,
        score: score / shot.len() as f64,
    });
    let taken = Choice::Knapsack.of(&scored.collect::<Vec<_>>(), (frames as f64 * share) as u64);
    let mut chosen = vec![false; frames];
    for shot in taken {
        chosen[shots[shot].clone()].fill(true);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(pattern: &str) -> Vec<bool> {
        pattern.chars().map(|c| c == '1').collect()
    }

    #[test]
    fn it_is_the_harmonic_mean_of_precision_and_recall() {
        // Precision 1/2, recall 1/3.
        let got = f_score(&frames("110000"), &frames("011100"));
        assert!((got - 2.0 * (1.0 / 2.0) * (1.0 / 3.0) / (1.0 / 2.0 + 1.0 / 3.0)).abs() < 1e-12, "{got}");
        assert_eq!(f_score(&frames("1100"), &frames("1100")), 1.0);
        assert_eq!(f_score(&frames("1100"), &frames("0011")), 0.0);
        assert_eq!(f_score(&frames("0000"), &frames("0000")), 0.0);
    }

    #[test]
    fn the_summary_holds_the_shots_worth_most_together() {
        let shots = [0..6, 6..11, 11..16, 16..20];
        // The best shot alone is worth less than two others that fit as well.
        assert_eq!(summary(&shots, &[0.9, 0.8, 0.8, 0.1], 20, 0.5), frames("00000011111111110000"));
        // A long shot is worth no more than a short one of the same score.
        assert_eq!(summary(&shots, &[0.5, 0.4, 0.1, 0.5], 20, 0.2), frames("00000000000000001111"));
        assert_eq!(summary(&shots, &[0.5, 0.4, 0.1, 0.5], 20, 0.15), frames("00000000000000000000"));
    }

    #[test]
    fn people_count_by_the_best_or_all_alike() {
        assert_eq!(Over::Max.of(&[0.25, 0.75, 0.5]), Some(0.75));
        assert_eq!(Over::Mean.of(&[0.25, 0.75, 0.5]), Some(0.5));
        assert_eq!((Over::Max.of(&[]), Over::Mean.of(&[])), (None, None));
    }
}
