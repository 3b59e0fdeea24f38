//! Times of decoding for pictures that are told only when they play.

use std::{cmp::Reverse, collections::BinaryHeap};

/// Gives pictures, in the order of decoding, the times at which they are to be decoded: those at which they play, in their order,
/// so much earlier that no picture is decoded too late.
pub struct Order {
    reorder: usize,
    spacing: u64,
    count: usize,
    first: Option<u64>,
    /// Times at which pictures play and none is decoded yet.
    free: BinaryHeap<Reverse<u64>>,
}

impl Order {
    /// `reorder`: how many pictures at most are decoded before one and play after it; `spacing`: from one to the next, ns.
    pub fn new(reorder: usize, spacing: u64) -> Self {
        Self { reorder, spacing, count: 0, first: None, free: BinaryHeap::new() }
    }

    /// When the next picture, which plays at this time, ns, is decoded.
    pub fn decoded(&mut self, plays: u64) -> u64 {
        let first = *self.first.get_or_insert(plays);
        self.free.push(Reverse(plays));
        let early = self.reorder.saturating_sub(self.count) as u64;
        self.count += 1;
        if early > 0 {
            return first.saturating_sub(early * self.spacing).min(plays);
        }
        self.free.pop().map_or(plays, |Reverse(time)| time.min(plays))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(reorder: usize, plays: &[u64]) -> Vec<u64> {
        let mut order = Order::new(reorder, 10);
        plays.iter().map(|&time| order.decoded(time)).collect()
    }

    #[test]
    fn pictures_are_decoded_at_even_times_and_before_they_play() {
        assert_eq!(decoded(0, &[100, 110, 120]), [100, 110, 120]);
        assert_eq!(decoded(1, &[100, 130, 110, 120, 160, 140, 150]), [90, 100, 110, 120, 130, 140, 150]);
        assert_eq!(decoded(2, &[100, 140, 120, 110, 130, 180, 160, 150]), [80, 90, 100, 110, 120, 130, 140, 150]);
        // A cut: the second group begins after a picture more or less.
        assert_eq!(decoded(1, &[100, 120, 110, 130, 150, 140]), [90, 100, 110, 120, 130, 140]);
    }
}
