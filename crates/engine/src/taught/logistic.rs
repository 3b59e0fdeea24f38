//! Logistic regression of few examples in many dimensions: class-balanced, with a quadratic penalty (ridge).

use nalgebra::{Cholesky, DMatrix, DVector};

/// Rounds of Newton's method; it needs about ten.
const ROUNDS: usize = 100;
/// A change of the outputs that is none.
const SETTLED: f64 = 1e-9;
/// Least curvature of an example: one that is told apart for sure still counts in the equations.
const FLAT: f64 = 1e-9;

/// A hyperplane: `weights . x + bias` is the log of the odds that x is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Plane {
    pub weights: Vec<f64>,
    pub bias: f64,
}

impl Plane {
    /// The log of the odds.
    pub fn of(&self, x: &[f64]) -> f64 {
        self.bias + self.weights.iter().zip(x).map(|(weight, x)| weight * x).sum::<f64>()
    }
}

/// Products of all examples with all: all that fitting asks of them.
pub fn products(rows: &[Vec<f64>]) -> DMatrix<f64> {
    let matrix = DMatrix::from_fn(rows.first().map_or(0, Vec::len), rows.len(), |i, j| rows[j][i]);
    matrix.tr_mul(&matrix)
}

/// The plane that tells the wanted examples from the others: of all, the one with the least mean loss plus half the `penalty` times the
/// squared length of its weights. Both classes count alike, however many examples they have. `products`: as above, of the rows; there have
/// to be some of either class.
pub fn fit(rows: &[Vec<f64>], products: &DMatrix<f64>, wanted: &[bool], penalty: f64) -> Plane {
    let shares = shares(wanted);
    let (mut dual, mut bias) = (DVector::zeros(rows.len()), 0.0);
    let mut outputs = DVector::zeros(rows.len());
    let loss = |outputs: &DVector<f64>, dual: &DVector<f64>| {
        let each = outputs.iter().zip(wanted).zip(&shares);
        let mean: f64 = each.map(|((f, &wanted), share)| share * softplus(if wanted { -f } else { *f })).sum();
        mean + 0.5 * penalty * dual.dot(&(products * dual))
    };
    for _ in 0..ROUNDS {
        let Some((dual_next, bias_next)) = newton(products, &outputs, wanted, &shares, penalty) else { break };
        // A whole step may go too far.
        let before = loss(&outputs, &dual);
        let (dual_step, bias_step) = (dual_next - &dual, bias_next - bias);
        let output_step = (products * &dual_step).add_scalar(bias_step);
        let shorter = (0..30).map(|n| 0.5f64.powi(n));
        let step =
            { shorter }.find(|&step| loss(&(&outputs + &output_step * step), &(&dual + &dual_step * step)) <= before);
        let Some(step) = step else { break };
        dual += dual_step * step;
        bias += bias_step * step;
        outputs += &output_step * step;
        if output_step.amax() * step < SETTLED {
            break;
        }
    }
    let mut weights = vec![0.0; rows.first().map_or(0, Vec::len)];
    for (row, by) in rows.iter().zip(dual.iter()) {
        weights.iter_mut().zip(row).for_each(|(weight, x)| *weight += by * x);
    }
    Plane { weights, bias }
}

/// How much each example counts: half of all for either class.
fn shares(wanted: &[bool]) -> Vec<f64> {
    let of_class = |class: bool| wanted.iter().filter(|&&wanted| wanted == class).count().max(1) as f64;
    wanted.iter().map(|&wanted| 0.5 / of_class(wanted)).collect()
}

/// The least squares that the loss looks like here: weights as a sum of the examples, each by its entry, and the bias.
fn newton(
    products: &DMatrix<f64>,
    outputs: &DVector<f64>,
    wanted: &[bool],
    shares: &[f64],
    penalty: f64,
) -> Option<(DVector<f64>, f64)> {
    let mut system = products.clone();
    let mut target = outputs.clone();
    for (i, (&wanted, share)) in wanted.iter().zip(shares).enumerate() {
        let p = 1.0 / (1.0 + (-outputs[i]).exp());
        let curvature = (p * (1.0 - p)).max(FLAT);
        system[(i, i)] += penalty / (share * curvature);
        target[i] += (f64::from(u8::from(wanted)) - p) / curvature;
    }
    let solved = Cholesky::new(system)?;
    let ones = DVector::from_element(outputs.len(), 1.0);
    let (of_target, of_ones) = (solved.solve(&target), solved.solve(&ones));
    let bias = of_target.sum() / of_ones.sum();
    Some((of_target - of_ones * bias, bias))
}

/// ln(1 + e^x).
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    fn fitted(rows: &[Vec<f64>], wanted: &[bool], penalty: f64) -> Plane {
        fit(rows, &products(rows), wanted, penalty)
    }

    #[test]
    fn it_is_where_the_gradient_vanishes() {
        let rows = vec![vec![1.0, 0.2], vec![0.3, -1.0], vec![-0.4, 0.1], vec![-1.2, 0.7], vec![0.2, 0.6]];
        let wanted = [true, false, false, false, true];
        let plane = fitted(&rows, &wanted, 0.05);
        let mut gradient = [0.05 * plane.weights[0], 0.05 * plane.weights[1], 0.0];
        for (row, wanted) in rows.iter().zip(wanted) {
            let (share, sign) = if wanted { (0.25, -1.0) } else { (0.5 / 3.0, 1.0) };
            let slope = sign * share / (1.0 + (-sign * plane.of(row)).exp());
            gradient[0] += slope * row[0];
            gradient[1] += slope * row[1];
            gradient[2] += slope;
        }
        assert!(gradient.iter().all(|g| g.abs() < 1e-9), "{gradient:?}");
    }

    #[test]
    fn classes_count_alike() {
        // The same places; one class has four times as many examples.
        let rows: Vec<Vec<f64>> = [1.0, -1.0, -1.0, -1.0, -1.0].iter().map(|&x| vec![x]).collect();
        let plane = fitted(&rows, &[true, false, false, false, false], 0.1);
        assert!(plane.bias.abs() < 1e-9 && plane.weights[0] > 1.0, "{plane:?}");
    }

    #[test]
    fn examples_in_more_dimensions_than_there_are_of_them_are_told_apart() {
        let mut rng = StdRng::seed_from_u64(1);
        let rows: Vec<Vec<f64>> = (0..12).map(|_| (0..400).map(|_| rng.random::<f64>() - 0.5).collect()).collect();
        let wanted: Vec<bool> = (0..12).map(|n| n % 3 == 0).collect();
        let plane = fitted(&rows, &wanted, 1e-3);
        assert!(rows.iter().zip(&wanted).all(|(row, &wanted)| (plane.of(row) > 0.0) == wanted));
    }

    #[test]
    fn the_same_example_in_both_classes_is_as_likely_as_not() {
        let plane = fitted(&[vec![3.0], vec![3.0]], &[true, false], 1e-6);
        assert!(plane.of(&[3.0]).abs() < 1e-9, "{plane:?}");
    }
}
