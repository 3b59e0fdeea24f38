//! What the network is to make of the clips of a minibatch, and mixup (Zhang et al., 2018): clips, and what they show, mixed in pairs.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tch::{TchError, Tensor};

/// The probability of each category for each clip, row by row, of which a share is spread over all. A label that is none of them: all alike.
pub fn targets(labels: &[usize], categories: usize, spread: f64) -> Vec<f32> {
    let even = 1.0 / categories as f64;
    let probability = |label: usize, category: usize| match label {
        _ if label == category => 1.0 - spread + spread * even,
        _ if label < categories => spread * even,
        _ => even,
    };
    labels.iter().flat_map(|&label| (0..categories).map(move |c| probability(label, c) as f32)).collect()
}

/// Of each clip, the share that stays: drawn from Beta(a, a), at least half; all where `a` is 0.
pub fn share(a: f64, seed: u64) -> f64 {
    if a == 0.0 {
        return 1.0;
    }
    let mut rng = StdRng::seed_from_u64(seed);
    // Jöhnk's way, for a up to 1.
    loop {
        let [x, y] = [0; 2].map(|_| rng.random::<f64>().powf(1.0 / a));
        if x + y <= 1.0 && x + y > 0.0 {
            return (x / (x + y)).max(y / (x + y));
        }
    }
}

/// That share of each row, and the rest of the one before it; of the first, the last.
///
/// # Errors
/// From libtorch.
pub fn mixed(rows: &Tensor, share: f64) -> Result<Tensor, TchError> {
    if share == 1.0 {
        return Ok(rows.shallow_clone());
    }
    rows.f_lerp(&rows.f_roll([1].as_slice(), [0].as_slice())?, 1.0 - share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_spread_as_asked_and_of_none_all_alike() {
        let close = |got: Vec<f32>, expected: &[f32]| {
            assert_eq!(got.len(), expected.len());
            assert!(got.iter().zip(expected).all(|(got, expected)| (got - expected).abs() < 1e-7), "{got:?}");
        };
        close(targets(&[1, 0], 2, 0.0), &[0.0, 1.0, 1.0, 0.0]);
        close(targets(&[2, 4], 4, 0.1), &[0.025, 0.025, 0.925, 0.025, 0.25, 0.25, 0.25, 0.25]);
    }

    #[test]
    fn shares_are_those_of_the_distribution() {
        assert_eq!(share(0.0, 1), 1.0);
        let shares: Vec<f64> = (0..20_000).map(|seed| share(0.4, seed)).collect();
        assert!(shares.iter().all(|share| (0.5..=1.0).contains(share)));
        // Of Beta(a, a): E (x - 1/2)^2 = 1 / (4 (2 a + 1)), either half alike.
        let mean = shares.iter().map(|share| (share - 0.5).powi(2)).sum::<f64>() / shares.len() as f64;
        assert!((mean - 1.0 / (4.0 * 1.8)).abs() < 0.002, "{mean}");
    }

    #[test]
    fn each_row_gets_of_the_one_before() {
        let rows = Tensor::from_slice(&[0.0f64, 8.0, 4.0]).view([3, 1]);
        assert_eq!(Vec::<f64>::try_from(mixed(&rows, 0.75).unwrap().view(-1)).unwrap(), [1.0, 6.0, 5.0]);
        assert!(mixed(&rows, 1.0).unwrap().equal(&rows));
    }
}
