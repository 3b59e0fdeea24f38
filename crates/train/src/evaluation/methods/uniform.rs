//! Evenly spaced units. So that the first few are spread evenly whatever their number, units come in the order of van der
//! Corput's sequence: the middle one, those at a quarter and three quarters, and so on into the gaps.

use super::by_order;

/// Scores of so many units, (0, 1].
pub fn score(units: usize) -> Vec<f64> {
    let (mut order, mut seen) = (Vec::with_capacity(units), vec![false; units]);
    for place in 1u32.. {
        if order.len() == units {
            break;
        }
        // The bits mirrored at the point.
        let at = f64::from(place.reverse_bits()) / 2f64.powi(32);
        let unit = (at * units as f64) as usize;
        if !std::mem::replace(&mut seen[unit], true) {
            order.push(unit);
        }
    }
    by_order(&order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::methods::ranking;

    #[test]
    fn the_first_few_are_evenly_spaced() {
        assert_eq!(ranking(&score(8)), [4, 2, 6, 1, 5, 3, 7, 0]);
        assert_eq!(ranking(&score(5)), [2, 1, 3, 0, 4]);
        assert_eq!(score(1), [1.0]);
    }

    #[test]
    fn every_unit_has_a_score_of_its_own() {
        for units in 1..200 {
            let mut scores = score(units);
            scores.sort_by(f64::total_cmp);
            assert!(scores.windows(2).all(|pair| pair[0] < pair[1]), "{units}");
        }
    }
}
