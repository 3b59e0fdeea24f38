//! Scores drawn at random: what a ranking that knows nothing gets.

use rand::{RngExt, SeedableRng, rngs::StdRng};

/// Scores of so many units, [0, 1).
pub fn score(units: usize, seed: u64) -> Vec<f64> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..units).map(|_| rng.random()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_decides() {
        assert_eq!(score(20, 7), score(20, 7));
        assert_ne!(score(20, 7), score(20, 8));
        assert!(score(20, 7).iter().all(|score| (0.0..1.0).contains(score)));
    }
}
