//! Rank correlation of frame scores, the field's measure since Otani et al. (Rethinking the Evaluation of Video Summaries, CVPR 2019).

/// A series of scores and its order, to be compared with others.
#[derive(Clone, Debug)]
pub struct Ranked {
    /// Places of the scores by rising score.
    order: Vec<usize>,
    /// Number of each score among the different ones, from 0.
    level: Vec<usize>,
    /// Of scores in each level.
    counts: Vec<u64>,
    /// Ranks, equal scores sharing their mean, less the mean rank; their squares sum to 1, or 0 where there is one score only.
    ranks: Vec<f64>,
}

impl Ranked {
    /// # Panics
    /// If a score is not a number.
    pub fn of(scores: &[f64]) -> Self {
        assert!(!scores.iter().any(|score| score.is_nan()));
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
        let (mut level, mut ranks) = (vec![0; scores.len()], vec![0.0; scores.len()]);
        let (mut counts, mut below) = (Vec::new(), 0);
        for ties in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
            // Ranks from 0: their mean is half the last one.
            let rank = below as f64 + (ties.len() - 1) as f64 / 2.0 - (scores.len() - 1) as f64 / 2.0;
            for &place in ties {
                (level[place], ranks[place]) = (counts.len(), rank);
            }
            counts.push(ties.len() as u64);
            below += ties.len();
        }
        let length = ranks.iter().map(|rank| rank * rank).sum::<f64>().sqrt();
        if length > 0.0 {
            ranks.iter_mut().for_each(|rank| *rank /= length);
        }
        Self { order, level, counts, ranks }
    }

    /// Kendall's tau-b: concordant less discordant pairs, over the geometric mean of the pairs that either series does not tie; [-1, 1].
    /// `None` where one of them has only one score.
    ///
    /// # Panics
    /// If the two are not of one length.
    pub fn kendall(&self, other: &Self) -> Option<f64> {
        assert_eq!(self.level.len(), other.level.len());
        let mut seen = Sums::new(other.counts.len());
        let (mut concordant, mut discordant, mut before) = (0u64, 0u64, 0u64);
        // All places of lower scores are seen: pairs with them are concordant where the other's score is lower there too.
        for ties in self.order.chunk_by(|&a, &b| self.level[a] == self.level[b]) {
            let mut levels: Vec<usize> = ties.iter().map(|&place| other.level[place]).collect();
            levels.sort_unstable();
            let same = || levels.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as u64));
            for (level, count) in same() {
                concordant += count * seen.below(level);
                discordant += count * (before - seen.below(level + 1));
            }
            same().for_each(|(level, count)| seen.add(level, count));
            before += ties.len() as u64;
        }
        let untied = self.untied() * other.untied();
        (untied > 0.0).then(|| (concordant as f64 - discordant as f64) / untied.sqrt())
    }

    /// Spearman's rho: the correlation of the ranks, [-1, 1]. `None` where one of the series has only one score.
    ///
    /// # Panics
    /// If the two are not of one length.
    pub fn spearman(&self, other: &Self) -> Option<f64> {
        assert_eq!(self.ranks.len(), other.ranks.len());
        let product = || self.ranks.iter().zip(&other.ranks).map(|(a, b)| a * b).sum();
        (self.counts.len() > 1 && other.counts.len() > 1).then(product)
    }

    /// Pairs of different scores.
    fn untied(&self) -> f64 {
        let pairs = |n: u64| n * n.saturating_sub(1) / 2;
        (pairs(self.level.len() as u64) - self.counts.iter().copied().map(pairs).sum::<u64>()) as f64
    }
}

/// How many of each level there are, and below each, in logarithmic time (a Fenwick tree).
struct Sums(Vec<u64>);

impl Sums {
    fn new(levels: usize) -> Self {
        Self(vec![0; levels + 1])
    }

    fn add(&mut self, level: usize, count: u64) {
        let mut node = level + 1;
        while node < self.0.len() {
            self.0[node] += count;
            node += node & node.wrapping_neg();
        }
    }

    fn below(&self, level: usize) -> u64 {
        let (mut node, mut sum) = (level, 0);
        while node > 0 {
            sum += self.0[node];
            node &= node - 1;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn both(a: &[f64], b: &[f64]) -> [Option<f64>; 2] {
        let (a, b) = (Ranked::of(a), Ranked::of(b));
        [a.kendall(&b), a.spearman(&b)]
    }

    fn near(got: [Option<f64>; 2], expected: [f64; 2]) {
        assert!((0..2).all(|i| (got[i].unwrap() - expected[i]).abs() < 1e-12), "{got:?}, {expected:?} expected");
    }

    #[test]
    fn orders_that_agree_are_one_and_opposite_ones_minus_one() {
        near(both(&[1.0, 2.0, 3.0, 9.0], &[0.1, 0.2, 0.3, 0.4]), [1.0, 1.0]);
        near(both(&[1.0, 2.0, 3.0, 9.0], &[4.0, 3.0, 2.0, 1.0]), [-1.0, -1.0]);
        // One of three pairs is turned; the ranks differ by 0, 1, 1.
        near(both(&[1.0, 2.0, 3.0], &[1.0, 3.0, 2.0]), [1.0 / 3.0, 1.0 - 6.0 * 2.0 / 24.0]);
    }

    #[test]
    fn ties_are_neither_concordant_nor_discordant() {
        // Pairs: 5 untied in the first, 4 in the second; concordant 3, discordant 1 (the second place and the fourth).
        // Ranks less 1.5: -1.5, 0, 0, 1.5 and -1, 1, -1, 1.
        near(both(&[1.0, 2.0, 2.0, 3.0], &[0.0, 5.0, 0.0, 5.0]), [3.0 / 20f64.sqrt(), 3.0 / 18f64.sqrt()]);
    }

    #[test]
    fn a_series_of_one_score_has_no_order() {
        assert_eq!(both(&[1.0, 1.0], &[1.0, 2.0]), [None, None]);
        assert_eq!(both(&[1.0], &[1.0]), [None, None]);
        assert_eq!(both(&[], &[]), [None, None]);
        // 0.0 and -0.0 are equal.
        assert_eq!(both(&[0.0, -0.0], &[1.0, 2.0]), [None, None]);
    }

    /// Tau-b by its definition.
    fn all_pairs(a: &[f64], b: &[f64]) -> f64 {
        let sign = |x: f64| if x == 0.0 { 0.0 } else { x.signum() };
        let pairs = (0..a.len()).flat_map(|i| (0..i).map(move |j| (i, j)));
        let (mut sum, mut in_a, mut in_b) = (0.0, 0.0, 0.0);
        for (i, j) in pairs {
            let (da, db) = (sign(a[i] - a[j]), sign(b[i] - b[j]));
            sum += da * db;
            in_a += da * da;
            in_b += db * db;
        }
        sum / f64::sqrt(in_a * in_b)
    }

    proptest! {
        #[test]
        fn kendall_counts_all_pairs(pairs in prop::collection::vec((0u8..6, 0u8..9), 2..40)) {
            let (a, b): (Vec<f64>, Vec<f64>) = pairs.into_iter().map(|(a, b)| (f64::from(a), f64::from(b))).unzip();
            let [kendall, spearman] = both(&a, &b);
            let expected = all_pairs(&a, &b);
            match kendall {
                Some(tau) => prop_assert!((tau - expected).abs() < 1e-12),
                None => prop_assert!(expected.is_nan() && spearman.is_none()),
            }
            prop_assert_eq!(both(&b, &a)[0].map(|tau| (tau * 1e9).round()), kendall.map(|tau| (tau * 1e9).round()));
            // Only the order counts.
            let stretched: Vec<f64> = a.iter().map(|a| a.exp()).collect();
            prop_assert_eq!(both(&stretched, &b), [kendall, spearman]);
        }
    }
}
