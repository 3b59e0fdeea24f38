//! Where features usually lie: their mean and covariance, on a fixed random projection, and the distance from it (Mahalanobis).

use nalgebra::{Cholesky, DMatrix, DVector, Dyn};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};

/// Dimensions of the projection: few enough to learn a covariance of within a minute.
const DIMENSIONS: usize = 64;
/// Share of the mean variance that every direction has besides its own: the least, and the number of segments below which it is more.
const SHRINKAGE: f64 = 0.1;
const PRIOR: f64 = 20.0;

/// A fixed random projection, the same for all networks of as many features and in every process.
pub struct Projection {
    /// A row a feature.
    rows: Vec<[f32; DIMENSIONS]>,
}

impl Projection {
    pub fn new(features: usize) -> Self {
        let mut rng = StdRng::seed_from_u64(features as u64);
        let scale = (features as f32).sqrt().recip();
        // Signs do as well as normal numbers (Achlioptas, 2003).
        let sign = |_| if rng.random::<bool>() { scale } else { -scale };
        let mut sign = sign;
        Self { rows: (0..features).map(|_| std::array::from_fn(&mut sign)).collect() }
    }

    pub fn of(&self, features: &[f32]) -> Vec<f64> {
        let mut sum = vec![0.0; DIMENSIONS];
        for (row, &feature) in self.rows.iter().zip(features) {
            // Behind a ReLU, many are 0.
            if feature != 0.0 {
                sum.iter_mut().zip(row).for_each(|(sum, weight)| *sum += f64::from(weight * feature));
            }
        }
        sum
    }

    /// The gradient with respect to the features, from that with respect to what the projection gives.
    pub fn back(&self, gradient: &[f64]) -> Vec<f32> {
        self.rows.iter().map(|row| row.iter().zip(gradient).map(|(w, g)| w * *g as f32).sum()).collect()
    }
}

/// Weighted mean and covariance of what was added.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Spread {
    weight: f64,
    /// Number of what was added, for the shrinkage.
    count: f64,
    mean: Vec<f64>,
    /// Weighted sum of the products of deviations, a row after the other.
    products: Vec<f64>,
}

impl Spread {
    pub fn is_taught(&self) -> bool {
        self.weight > 0.0
    }

    /// `keep`: what is left of the weight of all before.
    pub fn add(&mut self, x: &[f64], weight: f64, keep: f64) {
        if self.mean.len() != x.len() {
            *self = Self { weight: 0.0, count: 0.0, mean: x.to_vec(), products: vec![0.0; x.len() * x.len()] };
        }
        self.weight = self.weight * keep + weight;
        self.count = self.count * keep + 1.0;
        let share = weight / self.weight;
        let off: Vec<f64> = x.iter().zip(&self.mean).map(|(x, mean)| x - mean).collect();
        for (i, row) in self.products.chunks_exact_mut(x.len()).enumerate() {
            let by = weight * (1.0 - share) * off[i];
            row.iter_mut().zip(&off).for_each(|(product, off)| *product = *product * keep + by * off);
        }
        self.mean.iter_mut().zip(&off).for_each(|(mean, off)| *mean += share * off);
    }

    /// The root mean square distance, in deviations, over the dimensions: about 1 for what is usual; and its gradient.
    pub fn departure(&self, x: &[f64]) -> (f64, Vec<f64>) {
        let solved = self.solved();
        let off = solved.off(x);
        let Some((off, whitened)) = off else { return (0.0, vec![0.0; x.len()]) };
        let distance = (off.dot(&whitened) / x.len() as f64).max(0.0).sqrt();
        let scale = if distance > 0.0 { 1.0 / (distance * x.len() as f64) } else { 0.0 };
        (distance, whitened.iter().map(|w| w * scale).collect())
    }

    /// Ready to tell many distances.
    pub fn solved(&self) -> Solved {
        let dimensions = self.mean.len();
        let mut covariance = DMatrix::from_row_slice(dimensions, dimensions, &self.products);
        covariance /= self.weight.max(f64::MIN_POSITIVE);
        let variance = covariance.trace() / dimensions.max(1) as f64;
        let shrinkage = (PRIOR / (PRIOR + self.count)).max(SHRINKAGE);
        covariance *= 1.0 - shrinkage;
        for i in 0..dimensions {
            covariance[(i, i)] += shrinkage * variance;
        }
        // Nothing has varied yet: nothing can be told.
        let cholesky = if variance > 0.0 { Cholesky::new(covariance) } else { None };
        Solved { mean: DVector::from_column_slice(&self.mean), cholesky }
    }
}

/// A [`Spread`] and the inverse of its covariance.
pub struct Solved {
    mean: DVector<f64>,
    cholesky: Option<Cholesky<f64, Dyn>>,
}

impl Solved {
    /// As in [`Spread::departure`].
    pub fn distance(&self, x: &[f64]) -> f64 {
        self.off(x).map_or(0.0, |(off, whitened)| (off.dot(&whitened) / x.len() as f64).max(0.0).sqrt())
    }

    /// The deviation from the mean, and that by the inverse of the covariance.
    fn off(&self, x: &[f64]) -> Option<(DVector<f64>, DVector<f64>)> {
        let cholesky = self.cholesky.as_ref().filter(|_| x.len() == self.mean.len())?;
        let off = DVector::from_column_slice(x) - &self.mean;
        let whitened = cholesky.solve(&off);
        Some((off, whitened))
    }
}
