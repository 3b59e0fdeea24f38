//! How good scores are, measured against what is known.

pub mod annotations;
pub mod compare;
pub mod f_score;
pub mod methods;
pub mod people;
pub mod precision_at;
pub mod protocol;
pub mod rank_correlation;
pub mod rating;
pub mod results;
pub mod scores;
pub mod segmentation;
pub mod watched;

use serde::Serialize;

/// A mean and the spread around it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    pub mean: f64,
    /// Standard deviation of a sample (n - 1); 0 of one value.
    pub std: f64,
}

impl Spread {
    /// Of some values; not a number of none.
    pub fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Self { mean, std: (squares / (n - 1.0).max(1.0)).sqrt() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_is_mean_and_sample_deviation() {
        assert_eq!(Spread::of(&[1.0, 2.0, 3.0]), Spread { mean: 2.0, std: 1.0 });
        assert_eq!(Spread::of(&[0.5]), Spread { mean: 0.5, std: 0.0 });
        assert!(Spread::of(&[]).mean.is_nan());
    }
}
