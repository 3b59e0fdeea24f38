//! KVS: category-specific summaries (Potapov, Douze, Harchaoui, Schmid: Category-Specific Video Summarization, ECCV 2014).
//!
//! For each category a linear SVM learns the segments of its training videos from those of all others. A segment's score is
//! the decision value of its video's category. The paper's own segmentation (kernel temporal segmentation) is not part of
//! this: the units are given.
//!
//! The paper's descriptors have length 1, and so do units here. **Our choices**: C = 1, the usual default;
//! an error on a segment of the category costs as much more as there are fewer of them, so that a rare one is learnt as well.

use std::collections::{BTreeMap, BTreeSet};

use nalgebra::{DMatrix, DVector, RowDVector};
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};

use super::{Labelled, MethodError, normalised};

const COST: f64 = 1.0;
/// Rounds over the segments at the most, and the violation of the optimum at which it is learnt (LIBLINEAR's default).
const ROUNDS: usize = 50;
const SETTLED: f64 = 0.1;

/// A machine a category.
#[derive(Debug)]
pub struct Machines(BTreeMap<String, Machine>);

impl Machines {
    /// Of the training videos' categories, two at least.
    pub fn learn(training: &[Labelled], categories: &BTreeSet<&str>) -> Self {
        // A column a segment: solving goes through them one by one.
        let segments: Vec<DMatrix<f64>> = training.iter().map(|video| normalised(video.features).transpose()).collect();
        let of = |category: &&str| {
            let columns = segments.iter().zip(training).flat_map(|(segments, video)| {
                let label = if video.category == *category { 1.0 } else { -1.0 };
                segments.column_iter().map(move |column| (column, label))
            });
            (category.to_string(), Machine::learn(&columns.collect::<Vec<_>>()))
        };
        Self(categories.iter().map(of).collect())
    }

    /// Decision values of `[units, features]`.
    ///
    /// # Errors
    /// [`MethodError::Category`]
    pub fn score(&self, features: &DMatrix<f64>, category: &str) -> Result<Vec<f64>, MethodError> {
        let known = || self.0.keys().cloned().collect();
        let machine =
            self.0.get(category).ok_or_else(|| MethodError::Category { category: category.into(), known: known() })?;
        Ok(normalised(features).row_iter().map(|unit| machine.decide(unit.into_owned())).collect())
    }
}

/// A linear SVM with a bias.
#[derive(Debug)]
struct Machine {
    weights: DVector<f64>,
    bias: f64,
}

impl Machine {
    /// Dual coordinate descent for the hinge loss (Hsieh et al., ICML 2008); the bias is the weight of one more feature that
    /// is 1.
    fn learn(segments: &[(nalgebra::DVectorView<f64>, f64)]) -> Self {
        let positive = segments.iter().filter(|(_, label)| *label > 0.0).count() as f64;
        let cost = |label: f64| if label > 0.0 { COST * (segments.len() as f64 - positive) / positive } else { COST };
        let mut machine = Self { weights: DVector::zeros(segments[0].0.len()), bias: 0.0 };
        let squares: Vec<f64> = segments.iter().map(|(segment, _)| segment.norm_squared() + 1.0).collect();
        let (mut multipliers, mut order) = (vec![0.0; segments.len()], (0..segments.len()).collect::<Vec<_>>());
        // The order changes the speed, not the optimum.
        let mut rng = StdRng::seed_from_u64(0);
        for _ in 0..ROUNDS {
            order.shuffle(&mut rng);
            let mut violation: f64 = 0.0;
            for &i in &order {
                let (segment, label) = &segments[i];
                let slope = label * (machine.weights.dot(segment) + machine.bias) - 1.0;
                let multiplier = (multipliers[i] - slope / squares[i]).clamp(0.0, cost(*label));
                let step = multiplier - multipliers[i];
                if step != 0.0 {
                    violation = violation.max(step.abs() * squares[i]);
                    machine.weights.axpy(step * label, segment, 1.0);
                    machine.bias += step * label;
                    multipliers[i] = multiplier;
                }
            }
            if violation < SETTLED {
                break;
            }
        }
        machine
    }

    fn decide(&self, unit: RowDVector<f64>) -> f64 {
        unit.iter().zip(&self.weights).map(|(feature, weight)| feature * weight).sum::<f64>() + self.bias
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn video(rows: &[[f64; 2]]) -> DMatrix<f64> {
        DMatrix::from_fn(rows.len(), 2, |i, j| rows[i][j])
    }

    #[test]
    fn separable_categories_are_separated() {
        let (a, b) =
            (video(&[[3.0, 0.2], [1.0, 0.0], [2.0, -0.1]]), video(&[[0.1, 1.0], [0.0, 4.0], [-0.3, 2.0], [0.0, 1.0]]));
        let label = |features, category| Labelled { features, category, importance: &[], selected: &[] };
        let machines = Machines::learn(&[label(&a, "surfing"), label(&b, "cooking")], &["cooking", "surfing"].into());
        let both = video(&[[2.0, 0.1], [0.1, 2.0], [1.0, 1.0]]);
        for (category, sign) in [("surfing", 1.0), ("cooking", -1.0)] {
            let scores = machines.score(&both, category).unwrap();
            assert!(scores[0] * sign > 0.5 && scores[1] * sign < -0.5, "{category} {scores:?}");
            assert!(scores[2].abs() < scores[0].abs().min(scores[1].abs()), "{scores:?}");
        }
        assert_eq!(
            machines.score(&both, "sailing").unwrap_err().to_string(),
            "no training video is of the category `sailing`: give some, or a video of a category that was learnt (cooking, surfing)"
        );
    }

    /// At the optimum of two points x and -x of the two classes, both at the margin: w = x / (|x|^2), no bias. Here |x| = 1.
    #[test]
    fn the_widest_margin_is_found() {
        let segments = DMatrix::from_row_slice(2, 2, &[0.6, -0.6, 0.8, -0.8]);
        let machine = Machine::learn(&[(segments.column(0), 1.0), (segments.column(1), -1.0)]);
        assert!((&machine.weights - segments.column(0)).norm() < 0.01, "{machine:?}");
        assert!(machine.bias.abs() < 0.01, "{machine:?}");
    }
}
