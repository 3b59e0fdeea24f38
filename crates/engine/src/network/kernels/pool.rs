//! Bias, ReLU and max pooling in one step: of the sums of a pool window, the greatest and where it is.

use super::lanes::{Group, Lanes};

/// Where the greatest values of a window are, for sixteen channels: for each of its places (counted frame by frame, row by row)
/// a bit a channel, the first lowest. A channel that ReLU sets to zero has none: no gradient passes.
pub type Places = [u16; 8];

/// Where pooled values go: one group and its places for each position and 16 channels.
pub struct Pooled<'a> {
    pub values: &'a mut [Group],
    pub places: &'a mut [Places],
}

impl Pooled<'_> {
    /// Sets sixteen channels of a position from a window's sums without the bias. Sums that are not `open` lie outside the
    /// volume, where pooling rounds up; the first is always open. Of equal ones the first wins, as in libtorch.
    #[inline(always)]
    pub fn set<L: Lanes, const N: usize>(
        &mut self,
        lanes: L,
        at: usize,
        sums: &[L::V; N],
        open: &[bool; N],
        bias: &Group,
    ) {
        let mut best = sums[0];
        for (sum, open) in sums.iter().zip(open) {
            if *open {
                best = lanes.max(best, *sum);
            }
        }
        let zero = lanes.splat(0.0);
        let value = lanes.max(lanes.add(best, lanes.load(bias)), zero);
        lanes.store(value, &mut self.values[at]);
        let mut left = lanes.greater(value, zero);
        let places = &mut self.places[at];
        *places = [0; 8];
        for ((sum, open), place) in sums.iter().zip(open).zip(places) {
            if *open {
                *place = lanes.equal(*sum, best) & left;
                left &= !*place;
            }
        }
    }
}
