//! How good scores are, measured against what is known.

#[cfg(feature = "evaluation")]
pub mod annotations;
#[cfg(feature = "evaluation")]
pub mod compare;
#[cfg(feature = "evaluation")]
pub mod f_score;
#[cfg(feature = "evaluation")]
pub mod methods;
#[cfg(feature = "evaluation")]
pub mod people;
#[cfg(feature = "evaluation")]
pub mod precision_at;
#[cfg(feature = "evaluation")]
pub mod protocol;
#[cfg(feature = "evaluation")]
pub mod rank_correlation;
#[cfg(feature = "evaluation")]
pub mod rating;
#[cfg(feature = "evaluation")]
pub mod results;
#[cfg(feature = "evaluation")]
pub mod scores;
#[cfg(feature = "evaluation")]
pub mod segmentation;
#[cfg(feature = "evaluation")]
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
