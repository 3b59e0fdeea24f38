//! Importance in [0, 1] while a stream plays: a score's rank among the latest ones.

use std::collections::VecDeque;

/// Scores that the running rank looks back on: about five minutes at 30 frames a second.
pub const WINDOW: usize = 600;

/// The empirical quantile over a sliding window.
pub struct RunningQuantile {
    window: VecDeque<f32>,
    capacity: usize,
}

impl Default for RunningQuantile {
    fn default() -> Self {
        Self::new(WINDOW)
    }
}

impl RunningQuantile {
    /// Looks back on `capacity` scores, at least one.
    pub fn new(capacity: usize) -> Self {
        Self { window: VecDeque::new(), capacity: capacity.max(1) }
    }

    /// Adds a score; its rank in (0, 1) among the scores in the window, itself included.
    pub fn add(&mut self, score: f32) -> f32 {
        if self.window.len() == self.capacity {
            self.window.pop_front();
        }
        self.window.push_back(score);
        rank(score, self.window.iter().copied())
    }
}

/// Importance of every score among all of them, in (0, 1).
pub fn ranks(scores: &[f32]) -> Vec<f32> {
    scores.iter().map(|&s| rank(s, scores.iter().copied())).collect()
}

/// Share of `all` below `score`, equals counted half.
fn rank(score: f32, all: impl Iterator<Item = f32>) -> f32 {
    let (mut twice, mut count) = (0u32, 0u32);
    for other in all {
        twice += if other < score { 2 } else { u32::from(other == score) };
        count += 1;
    }
    twice as f32 / (2 * count) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rank_is_the_share_below_with_equals_counted_half() {
        assert_eq!(ranks(&[3.0, 1.0, 2.0, 2.0]), [0.875, 0.125, 0.5, 0.5]);
        assert_eq!(ranks(&[7.0]), [0.5]);
        assert!(ranks(&[]).is_empty());
    }

    #[test]
    fn running_rank_forgets_what_left_the_window() {
        let mut quantile = RunningQuantile::new(2);
        let got: Vec<f32> = [5.0, 1.0, 2.0, 3.0].into_iter().map(|s| quantile.add(s)).collect();
        assert_eq!(got, [0.5, 0.25, 0.75, 0.75]);
    }
}
