//! Average precision of a ranking.

/// Mean over the relevant items of the precision at their rank, [0, 1]: items stand by falling score, and the precision at a
/// rank is the share of relevant ones among the items down to it. `None` where no item is relevant.
///
/// Items of equal score have no order of their own: the result is the exact mean over all their orders. With all scores
/// equal it is what a random ranking gets on average.
///
/// # Panics
/// If there are not as many scores as items, or a score is not a number.
pub fn average_precision(scores: &[f64], relevant: &[bool]) -> Option<f64> {
    assert_eq!(scores.len(), relevant.len());
    assert!(!scores.iter().any(|score| score.is_nan()));
    let mut ranking: Vec<(f64, bool)> = scores.iter().copied().zip(relevant.iter().copied()).collect();
    ranking.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut above, mut relevant_above, mut sum) = (0.0, 0.0, 0.0);
    for ties in ranking.chunk_by(|a, b| a.0 == b.0) {
        let (all, hits) = (ties.len() as f64, ties.iter().filter(|(_, relevant)| *relevant).count() as f64);
        for place in 0..ties.len() {
            // A relevant item stands at this place in `hits / all` of the orders. Then, each of the `place` items before it is
            // relevant in `others` of them.
            let place = place as f64;
            let others = if all > 1.0 { (hits - 1.0) / (all - 1.0) } else { 0.0 };
            sum += hits / all * (relevant_above + 1.0 + place * others) / (above + place + 1.0);
        }
        above += all;
        relevant_above += hits;
    }
    (relevant_above > 0.0).then(|| sum / relevant_above)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn near(got: Option<f64>, expected: f64) {
        assert!((got.unwrap() - expected).abs() < 1e-12, "{got:?}, {expected} expected");
    }

    /// `1` relevant, `0` not, in order of falling score.
    fn of(pattern: &str) -> Option<f64> {
        let relevant: Vec<bool> = pattern.chars().map(|c| c == '1').collect();
        let scores: Vec<f64> = (0..relevant.len()).map(|i| -(i as f64)).collect();
        average_precision(&scores, &relevant)
    }

    #[test]
    fn it_is_the_mean_precision_at_the_relevant_ranks() {
        near(of("1"), 1.0);
        near(of("1100"), 1.0);
        near(of("01"), 0.5);
        near(of("0011"), (1.0 / 3.0 + 2.0 / 4.0) / 2.0);
        near(of("10101"), (1.0 + 2.0 / 3.0 + 3.0 / 5.0) / 3.0);
        assert_eq!(of("000"), None);
        assert_eq!(of(""), None);
    }

    #[test]
    fn order_of_the_items_does_not_count() {
        near(
            average_precision(&[0.1, 3.0, -2.0, 0.5], &[true, false, true, true]),
            (0.5 + 2.0 / 3.0 + 3.0 / 4.0) / 3.0,
        );
    }

    #[test]
    fn ties_count_as_the_mean_over_their_orders() {
        // 01 and 10.
        near(average_precision(&[0.0, 0.0], &[true, false]), (1.0 + 0.5) / 2.0);
        // The tie stands behind a relevant item: 1 01 1 and 1 10 1.
        let (first, second) = (of("1011").unwrap(), of("1101").unwrap());
        near(average_precision(&[9.0, 5.0, 5.0, 1.0], &[true, false, true, true]), (first + second) / 2.0);
        // 0.0 and -0.0 are equal.
        near(average_precision(&[0.0, -0.0], &[true, false]), 0.75);
        near(average_precision(&[-0.0, 0.0], &[true, false]), 0.75);
    }

    /// All orders of `items`.
    fn orders(items: &[bool]) -> Vec<Vec<bool>> {
        if items.is_empty() {
            return vec![Vec::new()];
        }
        let mut all = Vec::new();
        for (i, &item) in items.iter().enumerate() {
            let rest = [&items[..i], &items[i + 1..]].concat();
            all.extend(orders(&rest).into_iter().map(|mut order| {
                order.insert(0, item);
                order
            }));
        }
        all
    }

    proptest! {
        #[test]
        fn equal_scores_get_the_mean_over_all_orders(relevant in prop::collection::vec(any::<bool>(), 1..7)) {
            let got = average_precision(&vec![0.3; relevant.len()], &relevant);
            let falling: Vec<f64> = (0..relevant.len()).map(|i| -(i as f64)).collect();
            let orders = orders(&relevant);
            let all: Option<f64> = orders.iter().map(|order| average_precision(&falling, order)).sum();
            match all {
                Some(sum) => near(got, sum / orders.len() as f64),
                None => prop_assert_eq!(got, None),
            }
        }
    }
}
