//! Average precision of a ranking's first places.

use clap::ValueEnum;
use serde::Serialize;

/// What the sum of precisions in the first K places is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Depth {
    /// K, or the number of relevant items where that is smaller: the best ranking always reaches 1. Usual in retrieval.
    Relevant,
    /// K: a video with few relevant shots can't reach 1.
    K,
}

/// AP@K: the precision at each of the first `k` places that a relevant item stands at, summed, over [`Depth`]; [0, 1]. Items stand
/// by falling score. `None` where no item is relevant.
///
/// Items of equal score have no order of their own: the result is the exact mean over all their orders. With all scores
/// equal it is what a random ranking gets on average.
///
/// # Panics
/// If there are not as many scores as items, a score is not a number, or `k` is 0.
pub fn average_precision_at(k: usize, scores: &[f64], relevant: &[bool], depth: Depth) -> Option<f64> {
    assert_eq!(scores.len(), relevant.len());
    assert!(k > 0 && !scores.iter().any(|score| score.is_nan()));
    let mut ranking: Vec<(f64, bool)> = scores.iter().copied().zip(relevant.iter().copied()).collect();
    ranking.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut above, mut relevant_above, mut sum) = (0, 0.0, 0.0);
    for ties in ranking.chunk_by(|a, b| a.0 == b.0) {
        let (all, hits) = (ties.len() as f64, ties.iter().filter(|(_, relevant)| *relevant).count() as f64);
        for place in 0..ties.len().min(k - above) {
            // A relevant item stands at this place in `hits / all` of the orders. Then, each of the `place` items before it is
            // relevant in `others` of them.
            let others = if all > 1.0 { (hits - 1.0) / (all - 1.0) } else { 0.0 };
            sum += hits / all * (relevant_above + 1.0 + place as f64 * others) / (above + place + 1) as f64;
        }
        above += ties.len();
        relevant_above += hits;
        if above >= k {
            break;
        }
    }
    let all = relevant.iter().filter(|&&relevant| relevant).count();
    let most = match depth {
        Depth::Relevant => k.min(all),
        Depth::K => k,
    };
    (all > 0).then(|| sum / most as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use desumnet_engine::average_precision;
    use proptest::prelude::*;

    /// Both depths of a pattern: `1` relevant, `0` not, in order of falling score.
    fn of(k: usize, pattern: &str) -> [f64; 2] {
        let relevant: Vec<bool> = pattern.chars().map(|c| c == '1').collect();
        let scores: Vec<f64> = (0..relevant.len()).map(|i| -(i as f64)).collect();
        [Depth::Relevant, Depth::K].map(|depth| average_precision_at(k, &scores, &relevant, depth).unwrap())
    }

    fn near(got: [f64; 2], expected: [f64; 2]) {
        assert!((0..2).all(|i| (got[i] - expected[i]).abs() < 1e-12), "{got:?}, {expected:?} expected");
    }

    #[test]
    fn it_is_the_mean_precision_of_the_first_places() {
        near(of(3, "11111"), [1.0, 1.0]);
        near(of(3, "10111"), [(1.0 + 2.0 / 3.0) / 3.0; 2]);
        near(of(2, "00111"), [0.0, 0.0]);
        near(of(5, "10100"), [(1.0 + 2.0 / 3.0) / 2.0, (1.0 + 2.0 / 3.0) / 5.0]);
        // Fewer items than places.
        near(of(5, "011"), [(1.0 / 2.0 + 2.0 / 3.0) / 2.0, (1.0 / 2.0 + 2.0 / 3.0) / 5.0]);
        assert_eq!(average_precision_at(5, &[1.0, 2.0], &[false, false], Depth::K), None);
    }

    #[test]
    fn a_tie_that_reaches_past_the_last_place_counts_in_part() {
        // 1 then two of {1, 0, 0}: the second place is relevant in one order of three.
        let got = average_precision_at(2, &[9.0, 5.0, 5.0, 5.0], &[true, true, false, false], Depth::K).unwrap();
        assert!((got - (1.0 + 1.0 / 3.0) / 2.0).abs() < 1e-12, "{got}");
    }

    #[test]
    fn a_random_ranking_of_half_relevant_shots_gets_about_what_the_paper_leads_to_expect() {
        let relevant: Vec<bool> = (0..1_000).map(|i| i % 2 == 0).collect();
        let got = average_precision_at(5, &[0.0; 1_000], &relevant, Depth::K).unwrap();
        assert!((got - 0.364).abs() < 0.001, "{got}");
    }

    /// All orders of `items`.
    fn orders(items: &[(f64, bool)]) -> Vec<Vec<(f64, bool)>> {
        if items.is_empty() {
            return vec![Vec::new()];
        }
        let with = |i: usize| {
            let rest = orders(&[&items[..i], &items[i + 1..]].concat());
            rest.into_iter().map(move |rest| [&[items[i]], &rest[..]].concat())
        };
        (0..items.len()).flat_map(with).collect()
    }

    proptest! {
        #[test]
        fn ties_count_as_the_mean_over_all_orders(
            items in prop::collection::vec((0u8..3, any::<bool>()), 1..7), k in 1usize..8, by_k in any::<bool>(),
        ) {
            let depth = if by_k { Depth::K } else { Depth::Relevant };
            let items: Vec<(f64, bool)> = items.into_iter().map(|(score, relevant)| (score.into(), relevant)).collect();
            let (scores, relevant): (Vec<f64>, Vec<bool>) = items.iter().copied().unzip();
            let got = average_precision_at(k, &scores, &relevant, depth);
            // Those in which scores fall are as likely as each other.
            let falling: Vec<_> = orders(&items).into_iter().filter(|o| o.windows(2).all(|w| w[0].0 >= w[1].0)).collect();
            let place: Vec<f64> = (0..items.len()).map(|i| -(i as f64)).collect();
            let each = falling.iter().map(|order| {
                let relevant: Vec<bool> = order.iter().map(|item| item.1).collect();
                average_precision_at(k, &place, &relevant, depth)
            });
            match each.sum::<Option<f64>>() {
                Some(sum) => prop_assert!((got.unwrap() - sum / falling.len() as f64).abs() < 1e-12),
                None => prop_assert_eq!(got, None),
            }
        }

        #[test]
        fn with_as_many_places_as_items_it_is_the_average_precision(
            items in prop::collection::vec((0u8..5, any::<bool>()), 1..20),
        ) {
            let (scores, relevant): (Vec<f64>, Vec<bool>) = items.into_iter().map(|(s, r)| (f64::from(s), r)).unzip();
            let got = average_precision_at(scores.len(), &scores, &relevant, Depth::Relevant);
            match average_precision(&scores, &relevant) {
                Some(expected) => prop_assert!((got.unwrap() - expected).abs() < 1e-12),
                None => prop_assert_eq!(got, None),
            }
        }
    }
}
