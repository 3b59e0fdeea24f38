//! CVS: collaborative sparse selection (Panda, Roy-Chowdhury: Collaborative Summarization of Topic-Related Videos, CVPR
//! 2017).
//!
//! Few units X of the video must compose both the video itself and the units X~ of the other videos of its topic: minimise,
//! over Z and Z~, 1/2 (|X - X Z|^2 + |X~ - X Z~|^2) + lambda (|Z|_{2,1} + |Z~|_{2,1}) + beta |[Z Z~]|_{2,1}. The last term
//! makes both choose the same units. Units are ranked by the length of their row of [Z Z~].
//!
//! **Our choices**: X~ is scaled so that the topic counts alpha times as much as a video of the same length, however many
//! videos it has; lambda and beta share in equal parts the penalty that SMRS takes, as a share of the one that leaves no
//! unit. There is no further term for diversity, since a row's penalty already keeps units out that others compose.

use nalgebra::DMatrix;

use super::{
    COMPONENTS,
    principal::Principal,
    row_sparse::{Targets, Units, lengths, shorten},
};

/// Weight of the topic beside the video's own units.
const ALPHA: f64 = 0.5;
/// lambda + beta, as a share of the largest pull.
const PENALTY: f64 = 0.05;

/// Lengths of the rows of `[Z Z~]`.
pub fn score(features: &DMatrix<f64>, others: &[&DMatrix<f64>]) -> Vec<f64> {
    let principal = Principal::uncentred(features, COMPONENTS);
    let units = Units::new(features, &principal);
    let components = units.singular.len();
    if components == 0 {
        // Nothing can be composed of zeros.
        return vec![0.0; features.nrows()];
    }
    // The other videos, rotated to as many targets as there are components.
    let (mut gram, mut count) = (DMatrix::zeros(components, components), 0);
    for other in others {
        let coordinates = principal.coordinates(other);
        gram += coordinates.transpose() * &coordinates;
        count += other.nrows();
    }
    let eigen = gram.symmetric_eigen();
    let mut rotated = eigen.eigenvectors.transpose();
    rotated.row_iter_mut().zip(&eigen.eigenvalues).for_each(|(mut row, value)| row *= value.max(0.0).sqrt());
    let topic = ALPHA * features.nrows() as f64 / count as f64;
    let mut coordinates = DMatrix::from_diagonal(&units.singular).resize_vertically(2 * components, 0.0);
    coordinates.rows_mut(components, components).copy_from(&(rotated * topic.sqrt()));
    let targets = Targets { coordinates, sums: None };
    let largest = lengths(&units.pull(&targets)).into_iter().fold(0.0, f64::max);
    let half = PENALTY / 2.0 * largest;
    let coefficients = units.compose(&targets, largest, |mut row, times| {
        // The parts first, then the whole: of groups within groups this is exact (Jenatton et al., JMLR 2011).
        shorten(&mut row.rows_mut(0, components), half * times);
        shorten(&mut row.rows_mut(components, components), half * times);
        shorten(&mut row, half * times);
    });
    lengths(&coefficients)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::methods::ranking;

    /// Units that show one of eight things each, almost.
    fn video(things: &[usize]) -> DMatrix<f64> {
        DMatrix::from_fn(things.len(), 8, |i, j| if things[i] == j { 1.0 } else { 0.01 * ((i * 7 + j * 3) % 5) as f64 })
    }

    #[test]
    fn what_the_topic_shares_outranks_what_is_private() {
        let shared = score(&video(&[0, 1, 2, 3, 4]), &[&video(&[1, 5, 3, 6]), &video(&[7, 3, 1])]);
        let mut first = ranking(&shared)[..2].to_vec();
        first.sort_unstable();
        assert_eq!(first, [1, 3], "{shared:?}");
        // The other videos decide, not the video.
        let other = score(&video(&[0, 1, 2, 3, 4]), &[&video(&[0, 5, 2]), &video(&[2, 6, 0])]);
        let mut first = ranking(&other)[..2].to_vec();
        first.sort_unstable();
        assert_eq!(first, [0, 2], "{other:?}");
    }

    #[test]
    fn a_topic_that_shares_nothing_leaves_the_choice_to_the_video() {
        // The thing that two units show needs but one row's length for both.
        let scores =
            score(&DMatrix::identity(3, 8), &[&DMatrix::from_fn(2, 8, |i, j| f64::from(u8::from(j == i + 5)))]);
        assert!(scores.iter().all(|score| (score - scores[0]).abs() < 1e-4 && *score > 0.5), "{scores:?}");
    }

    #[test]
    fn the_number_of_other_videos_does_not_count() {
        let (own, other) = (video(&[0, 1, 2]), video(&[1, 5]));
        let (once, twice) = (score(&own, &[&other]), score(&own, &[&other, &other]));
        assert!(once.iter().zip(&twice).all(|(a, b)| (a - b).abs() < 1e-4), "{once:?} {twice:?}");
    }
}
