//! Quasi: quasi-real-time summarisation (Zhao, Xing: Quasi Real-Time Summarization for Consumer Videos, CVPR 2014).
//!
//! A dictionary is learnt while the video is seen. A unit that the dictionary composes sparsely with little error shows
//! nothing new; one with a large error belongs in the summary, and the dictionary learns it. Units are ranked by the error at
//! their arrival, the square of what remains, as a share of the unit's own: [0, 1].
//!
//! The paper codes the many local features of a segment together (group sparsity over a segment). **Our choices**: a unit is
//! one feature vector here, a group of one, for which the group's norm is the absolute value (the lasso); the dictionary
//! starts empty, so that the first unit is new in full, in place of a start on the first segments, all of which the paper
//! takes into the summary.

use nalgebra::{DMatrix, DVector, DVectorView};

use super::{COMPONENTS, principal::Principal};

/// Atoms of the dictionary at the most. **Our choice**: more than a video of minutes has things to show.
const ATOMS: usize = 200;
/// Weight of the code's absolute values beside half the square of what remains. **Our choice**: a repeated unit keeps (5
/// %)^2.
const SPARSITY: f64 = 0.05;
/// Error from which the dictionary learns a unit. **Our choice**: an angle of 18 degrees to what was seen.
const NEW: f64 = 0.1;
/// Rounds over a code's values at the most, and the change at which it is done.
const ROUNDS: usize = 100;
const SETTLED: f64 = 1e-5;

/// Errors at arrival.
pub fn score(features: &DMatrix<f64>) -> Vec<f64> {
    // Composing needs no more than the space that the units span.
    let units = Principal::uncentred(features, COMPONENTS).coordinates(features).transpose();
    let mut dictionary = Dictionary::empty(units.nrows());
    units.column_iter().map(|unit| dictionary.arrive(unit)).collect()
}

/// Atoms, and what is known of the units so far: all that learning needs (Mairal et al., Online Dictionary Learning, ICML
/// 2009).
struct Dictionary {
    /// `[features, atoms]`, of length 1.
    atoms: DMatrix<f64>,
    /// Products of the atoms.
    gram: DMatrix<f64>,
    /// Sum of code code'.
    codes: DMatrix<f64>,
    /// Sum of unit code'.
    units: DMatrix<f64>,
}

impl Dictionary {
    fn empty(features: usize) -> Self {
        let (square, wide) = (DMatrix::zeros(0, 0), DMatrix::zeros(features, 0));
        Self { atoms: wide.clone(), gram: square.clone(), codes: square, units: wide }
    }

    /// The error of a unit, [0, 1]; then it is learnt, if it is new.
    fn arrive(&mut self, unit: DVectorView<f64>) -> f64 {
        let norm = unit.norm();
        if norm == 0.0 {
            return 0.0;
        }
        let unit = unit / norm;
        let mut code = self.code(&unit);
        let error = (&unit - &self.atoms * &code).norm_squared().min(1.0);
        let new = error > NEW;
        let count = self.atoms.ncols();
        if new && count < ATOMS {
            self.atoms = std::mem::take(&mut self.atoms).insert_column(count, 0.0);
            self.atoms.set_column(count, &unit);
            self.codes = std::mem::take(&mut self.codes).resize(count + 1, count + 1, 0.0);
            self.units = std::mem::take(&mut self.units).insert_column(count, 0.0);
            self.gram = self.atoms.transpose() * &self.atoms;
            code = self.code(&unit);
        }
        self.codes.ger(1.0, &code, &code, 1.0);
        self.units.ger(1.0, &unit, &code, 1.0);
        if new {
            self.learn();
        }
        error
    }

    /// The sparse code of a unit, by coordinate descent.
    fn code(&self, unit: &DVector<f64>) -> DVector<f64> {
        let products = self.atoms.tr_mul(unit);
        let mut code = DVector::zeros(products.len());
        // Products of the atoms with what is composed so far.
        let mut composed = DVector::zeros(products.len());
        for _ in 0..ROUNDS {
            let mut largest: f64 = 0.0;
            for k in 0..code.len() {
                let pull: f64 = products[k] - composed[k] + code[k];
                let change = pull.signum() * (pull.abs() - SPARSITY).max(0.0) - code[k];
                if change != 0.0 {
                    code[k] += change;
                    composed.axpy(change, &self.gram.column(k), 1.0);
                    largest = largest.max(change.abs());
                }
            }
            if largest < SETTLED {
                break;
            }
        }
        code
    }

    /// One round of block coordinate descent: each atom to where it composes the units so far best.
    fn learn(&mut self) {
        for k in 0..self.atoms.ncols() {
            let used = self.codes[(k, k)];
            if used > 0.0 {
                let pull = self.units.column(k) - &self.atoms * self.codes.column(k);
                let atom = self.atoms.column(k) + pull / used;
                let norm = atom.norm();
                if norm > 0.0 {
                    self.atoms.set_column(k, &(atom / norm));
                }
            }
        }
        self.gram = self.atoms.transpose() * &self.atoms;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_before_has_no_error_and_a_new_direction_a_large_one() {
        let (a, b, c) = ([2.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.1, 0.0]);
        let rows = [a, a, b, a, b, c, c, b];
        let scores = score(&DMatrix::from_row_slice(8, 4, &rows.concat()));
        for (i, new) in [true, false, true, false, false, true, false, false].into_iter().enumerate() {
            assert!(if new { scores[i] > 0.999 } else { scores[i] < 0.003 }, "{i}: {scores:?}");
        }
    }

    #[test]
    fn what_is_composed_of_the_seen_has_little_error() {
        let rows = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.6, 0.8, 0.0], [0.5, 0.5, 0.5]];
        let scores = score(&DMatrix::from_row_slice(4, 3, &rows.concat()));
        assert!(scores[2] < 0.01, "{scores:?}");
        // The third direction is a third of the square.
        assert!((scores[3] - 1.0 / 3.0).abs() < 0.02, "{scores:?}");
    }

    #[test]
    fn atoms_move_to_where_they_compose_all_that_was_seen() {
        let mut dictionary = Dictionary::empty(3);
        let often = DVector::from_vec(vec![1.0, -0.15, 0.0]);
        dictionary.arrive(DVector::from_vec(vec![1.0, 0.15, 0.0]).as_view());
        let errors: Vec<f64> = (0..5).map(|_| dictionary.arrive(often.as_view())).collect();
        // Near enough to the atom not to be new: nothing is learnt.
        assert!(errors.iter().all(|error| *error == errors[0] && *error > 0.08), "{errors:?}");
        dictionary.arrive(DVector::from_vec(vec![0.0, 0.0, 1.0]).as_view());
        let after = dictionary.arrive(often.as_view());
        assert!(after < 0.02, "{after}");
    }

    #[test]
    fn zeros_have_no_error() {
        assert_eq!(score(&DMatrix::zeros(2, 3)), [0.0; 2]);
    }
}
