//! Principal components: few coordinates in place of many features.

use nalgebra::{DMatrix, DVector, RowDVector};

/// Components whose singular value is below this share of the features' norm are rounding errors.
const NOISE: f64 = 1e-7;
/// Units that components are computed of at the most. **Our choice**: more, taken from all videos, change the leading
/// components little, and the time rises with the third power.
const SAMPLE: usize = 800;

/// A basis of features, and where it has its origin.
#[derive(Debug)]
pub struct Principal {
    origin: RowDVector<f64>,
    /// `[features, components]`, orthonormal columns, the strongest first.
    basis: DMatrix<f64>,
    /// Of the features about the origin, falling.
    pub singular: DVector<f64>,
}

impl Principal {
    /// Of units' features about their mean.
    pub fn centred(features: &DMatrix<f64>, most: usize) -> Self {
        Self::about(features.row_mean(), features, most)
    }

    /// About zero.
    pub fn uncentred(features: &DMatrix<f64>, most: usize) -> Self {
        Self::about(RowDVector::zeros(features.ncols()), features, most)
    }

    /// Centred, of units taken evenly from several videos.
    pub fn of_all<'a>(videos: impl Iterator<Item = &'a DMatrix<f64>> + Clone, most: usize) -> Self {
        let units: usize = videos.clone().map(|features| features.nrows()).sum();
        let rows = videos.flat_map(|features| features.row_iter());
        let sample: Vec<_> = rows.step_by(units.div_ceil(SAMPLE)).collect();
        Self::centred(&DMatrix::from_rows(&sample), most)
    }

    fn about(origin: RowDVector<f64>, features: &DMatrix<f64>, most: usize) -> Self {
        let centred = from_origin(features, &origin);
        let transposed = centred.transpose();
        // The smaller of the two Gram matrices has the same eigenvalues, and tells the other's eigenvectors.
        let wide = centred.nrows() < centred.ncols();
        let gram = if wide { &centred * &transposed } else { &transposed * &centred };
        let eigen = gram.symmetric_eigen();
        let mut order: Vec<usize> = (0..eigen.eigenvalues.len()).collect();
        order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
        let singular = |i: usize| eigen.eigenvalues[i].max(0.0).sqrt();
        let least = features.norm() * NOISE;
        order.retain(|&i| singular(i) > least);
        order.truncate(most);
        let vectors = eigen.eigenvectors.select_columns(&order);
        let singular = DVector::from_iterator(order.len(), order.iter().map(|&i| singular(i)));
        let basis = if wide {
            let mut basis = transposed * vectors;
            basis.column_iter_mut().zip(&singular).for_each(|(mut column, singular)| column /= *singular);
            basis
        } else {
            vectors
        };
        Self { origin, basis, singular }
    }

    /// `[units, components]` of `[units, features]`.
    pub fn coordinates(&self, features: &DMatrix<f64>) -> DMatrix<f64> {
        from_origin(features, &self.origin) * &self.basis
    }
}

fn from_origin(features: &DMatrix<f64>, origin: &RowDVector<f64>) -> DMatrix<f64> {
    let mut centred = features.clone();
    centred.column_iter_mut().zip(origin.iter()).for_each(|(mut column, origin)| column.add_scalar_mut(-origin));
    centred
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Wide and tall.
        #[test]
        fn coordinates_keep_all_distances_and_come_by_strength(
            units in 1usize..12, features in 1usize..12, values in prop::collection::vec(-1.0f64..1.0, 144),
        ) {
            let matrix = DMatrix::from_fn(units, features, |i, j| values[i * 12 + j]);
            for principal in [Principal::centred(&matrix, 100), Principal::uncentred(&matrix, 100)] {
                let coordinates = principal.coordinates(&matrix);
                prop_assert!(coordinates.ncols() <= units.min(features));
                for i in 0..units {
                    for j in 0..units {
                        let before = (matrix.row(i) - matrix.row(j)).norm();
                        let after = (coordinates.row(i) - coordinates.row(j)).norm();
                        prop_assert!((before - after).abs() < 1e-5);
                    }
                }
                for (column, singular) in coordinates.column_iter().zip(&principal.singular) {
                    prop_assert!((column.norm() - singular).abs() < 1e-6);
                }
                prop_assert!(principal.singular.as_slice().is_sorted_by(|a, b| a >= b));
            }
        }
    }

    #[test]
    fn the_strongest_direction_is_kept() {
        let matrix = DMatrix::from_row_slice(4, 2, &[5.0, 0.1, -5.0, 0.1, 4.0, -0.1, -4.0, -0.1]);
        let kept = Principal::centred(&matrix, 1).coordinates(&matrix);
        assert_eq!(kept.ncols(), 1);
        assert!((kept[0].abs() - 5.0).abs() < 0.01);
    }

    #[test]
    fn units_that_are_all_the_same_have_no_components() {
        let matrix = DMatrix::from_element(5, 3, 0.1);
        assert_eq!(Principal::centred(&matrix, 9).coordinates(&matrix).ncols(), 0);
    }
}
