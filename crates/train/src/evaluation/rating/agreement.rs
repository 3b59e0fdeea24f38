//! How well raters agree: Krippendorff's alpha for ordinal data, from his "Computing Krippendorff's Alpha-Reliability"
//! (University of Pennsylvania, 2011).
//!
//! 1 is perfect agreement, 0 that of raters who draw their ratings from all that were given, below 0 they contradict each other.
//! Raters need not have rated everything. Two ratings of one thing disagree by the square of how many ratings lie between
//! them in the order of all: whether 4 and 5 are as far apart as 1 and 2, nobody need know.

/// Ratings are 1 to this.
pub const BEST: u8 = 5;

/// Alpha of units, each the ratings that one thing got, every one from 1 to [`BEST`]. `None` where it can't be told: nothing got two ratings,
/// or all that did got the same one, so that there was nothing to disagree about.
pub fn alpha(units: &[Vec<u8>]) -> Option<f64> {
    const VALUES: usize = BEST as usize;
    // Coincidences: pairs of ratings within a unit, so weighted that each rating of a unit counts once.
    let mut coincidences = [[0.0; VALUES]; VALUES];
    for unit in units.iter().filter(|unit| unit.len() > 1) {
        for (i, &one) in unit.iter().enumerate() {
            for (_, &other) in unit.iter().enumerate().filter(|(j, _)| *j != i) {
                coincidences[usize::from(one) - 1][usize::from(other) - 1] += 1.0 / (unit.len() - 1) as f64;
            }
        }
    }
    let counts: Vec<f64> = coincidences.iter().map(|row| row.iter().sum()).collect();
    let total: f64 = counts.iter().sum();
    let (mut observed, mut expected) = (0.0, 0.0);
    for low in 0..VALUES {
        for high in low + 1..VALUES {
            let between: f64 = counts[low..=high].iter().sum();
            let distance = (between - (counts[low] + counts[high]) / 2.0).powi(2);
            observed += coincidences[low][high] * distance;
            expected += counts[low] * counts[high] * distance;
        }
    }
    (expected > 0.0).then(|| 1.0 - (total - 1.0) * observed / expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The paper's example C: four observers, twelve units, missing values. It gives 0.815 for ordinal data.
    #[test]
    fn the_published_example_comes_out() {
        const OBSERVERS: [&str; 4] = ["123321412...", "1233224125.3", ".3332342251.", "12332441251."];
        let unit = |at: usize| OBSERVERS.iter().filter_map(|row| row[at..=at].parse().ok()).collect();
        let units: Vec<Vec<u8>> = (0..12).map(unit).collect();
        assert_eq!((units[0].len(), units[11].len()), (3, 1));
        assert_eq!(format!("{:.3}", alpha(&units).unwrap()), "0.815");
    }

    #[test]
    fn agreement_is_one_and_contradiction_below_zero() {
        assert_eq!(alpha(&[vec![1, 1, 1], vec![5, 5], vec![3, 3]]), Some(1.0));
        // Counts 2 and 2, distance 4: observed 4 of 4 pairs, expected 4 x 4.
        assert_eq!(alpha(&[vec![1, 5], vec![5, 1]]), Some(-0.5));
    }

    #[test]
    fn nothing_to_disagree_about_is_no_agreement() {
        assert_eq!(alpha(&[]), None);
        assert_eq!(alpha(&[vec![1], vec![5]]), None);
        assert_eq!(alpha(&[vec![4, 4], vec![4, 4]]), None);
    }
}
