//! SMRS: sparse modelling representative selection (Elhamifar, Sapiro, Vidal: See All by Looking at a Few, CVPR 2012).
//!
//! Every unit of the video is composed of few units of the video: minimise lambda |C|_{1,2} + 1/2 |Y - Y C|^2, where the
//! coefficients of each unit come to 1 (an affine combination). Representatives are the vertices of the units' hull. As in
//! the paper, units are ranked by the length of their row of C; those whose row is zero share the last place.

use nalgebra::{DMatrix, DVector};

use super::{
    COMPONENTS,
    principal::Principal,
    row_sparse::{Targets, Units, lengths, shorten},
};

/// How far the penalty is below the one that leaves a single representative: alpha, 5 by default in the authors' program.
const ALPHA: f64 = 5.0;

/// Lengths of the rows of C.
pub fn score(features: &DMatrix<f64>) -> Vec<f64> {
    let principal = Principal::centred(features, COMPONENTS);
    let units = Units::new(features, &principal);
    let (components, singular) = (units.singular.len(), &units.singular);
    if components == 0 {
        // All units are the same.
        return vec![0.0; features.nrows()];
    }
    // The units themselves, rotated to their components and, last, the constant direction, in which only coefficients' sums
    // are asked for.
    let targets = Targets {
        coordinates: DMatrix::from_diagonal(singular).resize_vertically(components + 1, 0.0),
        sums: Some(DVector::from_fn(components + 1, |k, _| f64::from(u8::from(k == components)))),
    };
    let lambda = lengths(&units.pull(&targets)).into_iter().fold(0.0, f64::max) / ALPHA;
    lengths(&units.compose(&targets, lambda * ALPHA, |mut row, times| shorten(&mut row, lambda * times)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::methods::ranking;

    #[test]
    fn the_vertices_of_the_hull_represent_the_points_inside() {
        // Corners of a square at 1, 4, 6, 9.
        let points = [
            [0.3, 0.2],
            [2.0, 2.1],
            [-0.5, 0.4],
            [0.1, -0.3],
            [-2.1, 2.0],
            [0.6, 0.6],
            [-2.0, -2.2],
            [-0.4, -0.6],
            [0.9, -0.2],
            [2.2, -2.0],
            [-0.9, 0.1],
        ];
        let features = DMatrix::from_fn(points.len(), 2, |i, j| points[i][j] + 7.0);
        let scores = score(&features);
        let mut first = ranking(&scores)[..4].to_vec();
        first.sort_unstable();
        assert_eq!(first, [1, 4, 6, 9], "{scores:?}");
        let inside = ranking(&scores)[4];
        assert!(scores[inside] < 0.2 * scores[1], "{scores:?}");
    }

    #[test]
    fn on_a_line_the_ends_are_the_representatives() {
        let features =
            DMatrix::from_row_slice(7, 3, &[1.0, 3.0, 2.0, 6.0, 5.0, 1.5, 4.0].map(|t| [t, 2.0 * t, 1.0 - t]).concat());
        let mut first = ranking(&score(&features))[..2].to_vec();
        first.sort_unstable();
        assert_eq!(first, [0, 3]);
    }

    #[test]
    fn equal_units_are_equal() {
        assert_eq!(score(&DMatrix::from_element(4, 3, 0.1)), [0.0; 4]);
    }
}
