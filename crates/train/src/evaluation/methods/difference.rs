//! Difference between consecutive units: a change of colour if the features are colour histograms, of motion if they tell of
//! motion, of content if they are a network's.

use nalgebra::DMatrix;

/// The mean distance to the units before and after, those that there are; 0 of a single unit.
pub fn score(features: &DMatrix<f64>) -> Vec<f64> {
    let units = features.nrows();
    let steps: Vec<f64> = (1..units).map(|i| (features.row(i) - features.row(i - 1)).norm()).collect();
    (0..units)
        .map(|unit| {
            let around = &steps[unit.saturating_sub(1)..(unit + 1).min(steps.len())];
            around.iter().sum::<f64>() / around.len().max(1) as f64
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_differs_by_the_mean_of_the_steps_to_and_from_it() {
        let features = DMatrix::from_row_slice(4, 2, &[0.0, 0.0, 3.0, 4.0, 3.0, 4.0, 3.0, 5.0]);
        assert_eq!(score(&features), [5.0, 2.5, 0.5, 1.0]);
        assert_eq!(score(&features.rows(0, 1).into_owned()), [0.0]);
    }
}
