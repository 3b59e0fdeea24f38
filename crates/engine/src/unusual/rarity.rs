//! How rare a score is in its stream: about how many hours pass between segments that reach it.
//!
//! Up to the 95th percentile that is counted. Beyond, where a stream has shown too little to count, the tail goes on as it began: exponentially in
//! the logarithm of the score, whose mean excess is what is learned (peaks over a threshold; Coles, 2001, chapter 4).

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Scores that are looked back on: some ten hours of a camera's, every segment of it.
const WINDOW: usize = 60_000;
/// Share of the scores that are no tail.
const COMMON: f64 = 0.95;
/// Mean excess that is assumed before there is any, and the number of scores that it counts for.
const EXCESS: f64 = 0.25;
const PRIOR: f64 = 5.0;
/// Buckets of a histogram for a factor of e in the score.
const STEPS: f64 = 32.0;

/// The scores of a stream so far.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Rarity {
    /// Buckets of the latest scores, in order.
    latest: VecDeque<i16>,
    /// Seconds that a segment stands for, a running mean.
    seconds: f64,
}

fn bucket(score: f64) -> i16 {
    (score.max(1e-6).ln() * STEPS).floor() as i16
}

impl Rarity {
    /// Whether more than the share `common` of the latest scores, a thousand of them, are below this one: `false`. While there are few, all is common.
    pub fn is_common(&self, score: f64, common: f64) -> bool {
        let latest = self.latest.len().min(1000);
        let below = self.latest.iter().rev().take(latest).filter(|&&other| other < bucket(score)).count();
        latest < 20 || below as f64 <= common * latest as f64
    }

    /// Adds a score that stands for so many seconds; the hours between scores as high. 0 while there are too few to tell.
    pub fn add(&mut self, score: f64, seconds: f64) -> f64 {
        let count = self.latest.len() as f64;
        let hours = if count >= 20.0 { self.hours(score) } else { 0.0 };
        self.seconds += (seconds - self.seconds) / (count + 1.0);
        self.latest.push_back(bucket(score));
        if self.latest.len() > WINDOW {
            self.latest.pop_front();
        }
        hours
    }

    fn hours(&self, score: f64) -> f64 {
        let count = self.latest.len();
        let mut sorted: Vec<i16> = self.latest.iter().copied().collect();
        let (_, &mut threshold, _) = sorted.select_nth_unstable((COMMON * count as f64) as usize);
        let score = bucket(score);
        let share = if score <= threshold {
            (self.latest.iter().filter(|&&other| other >= score).count() as f64 + 1.0) / (count as f64 + 1.0)
        } else {
            let beyond: Vec<f64> = self
                .latest
                .iter()
                .filter(|&&other| other > threshold)
                .map(|&other| f64::from(other - threshold) / STEPS)
                .collect();
            let excess = (beyond.iter().sum::<f64>() + EXCESS * PRIOR) / (beyond.len() as f64 + PRIOR);
            (1.0 - COMMON) * (-f64::from(score - threshold) / STEPS / excess).exp()
        };
        self.seconds / 3600.0 / share
    }
}
