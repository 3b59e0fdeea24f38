//! Row-sparse self-representation: units that all of the video, and more, can be composed of.
//!
//! A video's units are the columns of Y, `[features, units]`. Targets T are composed of them with coefficients C, few of
//! whose rows are not zero: minimise, over C, 1/2 |T - Y C|^2 + sum over units i of penalty(row i of C).
//!
//! Two facts make it cheap, and change nothing about the rows' lengths that units are ranked by. With Y = U S V' only the
//! part of a target in the space of U can be composed, so that S V' stands for Y and U' t for t. And a penalty on rows'
//! lengths doesn't see a rotation of the columns, so that N targets of rank r may be rotated to r targets and N - r zeros,
//! whose coefficients are zero.

use nalgebra::{DMatrix, DVector, DVectorViewMut};

use super::principal::Principal;

/// Steps at the most; it takes some hundreds.
const STEPS: usize = 2_000;
/// Change and disagreement, beside the coefficients, at which it is solved.
const TOLERANCE: f64 = 1e-5;

/// The units of a video, as their singular value decomposition.
pub struct Units {
    /// `[units, components]`: V.
    vectors: DMatrix<f64>,
    /// S.
    pub singular: DVector<f64>,
}

/// What is to be composed.
pub struct Targets {
    /// `[targets, components]`, coordinates in the components of the units.
    pub coordinates: DMatrix<f64>,
    /// What the coefficients of each target must come to, divided by the root of the number of units. The units must be
    /// centred.
    pub sums: Option<DVector<f64>>,
}

impl Units {
    pub fn new(features: &DMatrix<f64>, principal: &Principal) -> Self {
        let mut vectors = principal.coordinates(features);
        vectors.column_iter_mut().zip(&principal.singular).for_each(|(mut column, singular)| column /= *singular);
        Self { vectors, singular: principal.singular.clone() }
    }

    /// Y' T, transposed: `[targets, units]`. What pulls coefficients away from zero.
    pub fn pull(&self, targets: &Targets) -> DMatrix<f64> {
        let mut scaled = targets.coordinates.clone();
        scaled.column_iter_mut().zip(&self.singular).for_each(|(mut column, singular)| column *= *singular);
        scaled * self.vectors.transpose()
    }

    /// C, transposed: `[targets, units]`, by the alternating direction method of multipliers. `shrink` is the penalty's
    /// proximal operator: it changes a unit's coefficients for the penalty times the number it gets. `stiffness` is the
    /// method's step, of the size of the largest pull.
    pub fn compose(
        &self,
        targets: &Targets,
        mut stiffness: f64,
        shrink: impl Fn(DVectorViewMut<f64>, f64),
    ) -> DMatrix<f64> {
        let transposed = self.vectors.transpose();
        let (units, count) = (self.vectors.nrows(), targets.coordinates.nrows());
        let root = (units as f64).sqrt();
        // C, its copy that the penalty shapes, and the sum of their differences.
        let mut shaped = DMatrix::zeros(count, units);
        let mut differences: DMatrix<f64> = DMatrix::zeros(count, units);
        for step in 1..=STEPS {
            // The quadratic part's minimum near `near`, in closed form: its matrix is diagonal in the basis V.
            let near = &shaped - &differences;
            let mut along = &near * &self.vectors;
            for (j, singular) in self.singular.iter().enumerate() {
                let square = singular * singular;
                for k in 0..count {
                    along[(k, j)] =
                        (singular * targets.coordinates[(k, j)] - square * along[(k, j)]) / (square + stiffness);
                }
            }
            let mut free = along * &transposed;
            if let Some(sums) = &targets.sums {
                // V is orthogonal to the constant vector, so that the constraint is met by a shift.
                let shift = (sums - near.column_sum() / root) / root;
                free.column_iter_mut().for_each(|mut column| column += &shift);
            }
            free += &near;
            let before = std::mem::replace(&mut shaped, &free + &differences);
            shaped.column_iter_mut().for_each(|column| shrink(column, 1.0 / stiffness));
            let gap = &free - &shaped;
            differences += &gap;
            let (gap, change) = (gap.norm(), (&shaped - before).norm());
            if gap.max(change) <= TOLERANCE * shaped.norm().max(free.norm()) {
                break;
            }
            // A stiff problem changes little at a step, a soft one disagrees much: a factor that evens them out saves many
            // steps (Boyd et al., 2011, section 3.4.1).
            if step % 10 == 0 {
                let factor = if gap > 5.0 * change {
                    2.0
                } else if change > 5.0 * gap {
                    0.5
                } else {
                    1.0
                };
                stiffness *= factor;
                differences /= factor;
            }
        }
        shaped
    }
}

/// The proximal operator of `amount` times the length: shortens a vector by `amount`, to zero at the most.
pub fn shorten<R: nalgebra::Dim, S: nalgebra::StorageMut<f64, R>>(
    vector: &mut nalgebra::Matrix<f64, R, nalgebra::U1, S>,
    amount: f64,
) {
    let norm = vector.norm();
    let factor = if norm > amount { 1.0 - amount / norm } else { 0.0 };
    *vector *= factor;
}

/// Length of each unit's coefficients.
pub fn lengths(coefficients: &DMatrix<f64>) -> Vec<f64> {
    coefficients.column_iter().map(|column| column.norm()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The conditions of a minimum: where a unit's coefficients are not zero the pull of what is left to compose equals
        /// the penalty's slope along them; where they are zero it is not above it.
        #[test]
        fn it_finds_the_minimum(
            values in prop::collection::vec(-1.0f64..1.0, 40), targets in prop::collection::vec(-1.0f64..1.0, 12),
            share in 0.05f64..0.9,
        ) {
            let features = DMatrix::from_row_slice(10, 4, &values);
            let principal = Principal::uncentred(&features, 100);
            let units = Units::new(&features, &principal);
            let wanted = DMatrix::from_row_slice(3, 4, &targets);
            let targets = Targets { coordinates: principal.coordinates(&wanted), sums: None };
            let largest = lengths(&units.pull(&targets)).into_iter().fold(0.0, f64::max);
            let penalty = share * largest;
            let c = units.compose(&targets, largest, |mut row, times| shorten(&mut row, penalty * times));
            // On the features themselves.
            let pull = (&wanted - &c * &features) * features.transpose();
            for (c, pull) in c.column_iter().zip(pull.column_iter()) {
                if c.norm() == 0.0 {
                    prop_assert!(pull.norm() <= penalty + 1e-3 * largest);
                } else {
                    prop_assert!((pull - c * (penalty / c.norm())).norm() < 1e-3 * largest);
                }
            }
        }
    }

    proptest! {
        /// Composing the centred units themselves, as they are and rotated to their components and the constant direction.
        #[test]
        fn rotated_targets_give_the_same_rows_and_the_sums_asked_for(values in prop::collection::vec(-1.0f64..1.0, 24)) {
            let features = DMatrix::from_row_slice(8, 3, &values);
            let principal = Principal::centred(&features, 100);
            let units = Units::new(&features, &principal);
            let components = units.singular.len();
            let root = 8f64.sqrt();
            let plain = Targets {
                coordinates: principal.coordinates(&features),
                sums: Some(DVector::from_element(8, 1.0 / root)),
            };
            let mut last = DVector::zeros(components + 1);
            last[components] = 1.0;
            let rotated = Targets {
                coordinates: DMatrix::from_diagonal(&units.singular).resize_vertically(components + 1, 0.0),
                sums: Some(last.clone()),
            };
            let largest = lengths(&units.pull(&plain)).into_iter().fold(0.0, f64::max);
            let solve = |targets| units.compose(targets, largest, |mut row, times| shorten(&mut row, 0.2 * largest * times));
            let (plain, rotated) = (solve(&plain), solve(&rotated));
            prop_assert!(plain.column_sum().iter().all(|sum| (sum - 1.0).abs() < 1e-3));
            prop_assert!((rotated.column_sum() - last * root).norm() < 1e-3);
            for (plain, rotated) in lengths(&plain).into_iter().zip(lengths(&rotated)) {
                prop_assert!((plain - rotated).abs() < 1e-3, "{plain} {rotated}");
            }
        }
    }

    #[test]
    fn shortening_stops_at_zero() {
        let mut vector = DVector::from_vec(vec![3.0, 4.0]);
        shorten(&mut vector, 1.0);
        assert!((vector - DVector::from_vec(vec![2.4, 3.2])).norm() < 1e-12);
        let mut vector = DVector::from_vec(vec![3.0, 4.0]);
        shorten(&mut vector, 5.0);
        assert_eq!(vector.norm(), 0.0);
    }
}
