//! How far a segment departs from what its stream usually shows: what matters where no category fits, and on cameras.
//!
//! It is Equation 1 of the paper with another h: in place of a category, the direction in which the network's features of this segment
//! depart from the stream's usual ones ([`spread`]). Times a second departure, of how much moves in each part of the picture ([`motion`]):
//! a thing that stands in the picture for the first time is new, but nothing happens. The score is the product of both, about 1 for what is
//! usual; how rare such a score is in this stream ([`rarity`]) tells whether it matters.
//!
//! All is of the past alone. [`hindsight`] is for files, of which everything is known.

pub mod motion;
pub mod rarity;
pub mod spread;

use serde::{Deserialize, Serialize};

use motion::{Motion, Moves};
use rarity::Rarity;
use spread::{Projection, Spread};

/// Of the past, that which is so long ago counts half, seconds: a scene that has changed becomes usual within it.
const HALF_LIFE: f64 = 1800.0;
/// What a segment counts that departs by more than [`COMMON`] of the latest ones: it teaches little.
const UNUSUAL_WEIGHT: f64 = 0.1;
const COMMON: f64 = 0.9;
/// Rounds in which hindsight finds out what is usual.
const ROUNDS: usize = 4;

/// What a segment shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// The network's features of it, projected.
    pub features: Vec<f64>,
    pub motion: Motion,
}

/// A segment beside the usual.
#[derive(Clone, Debug, PartialEq)]
pub struct Departure {
    /// About 1 for the usual, at least 0.
    pub score: f64,
    /// About how many hours pass between segments that depart as far.
    pub hours: f64,
    /// The direction, of the projected features: by how much the score rises with each.
    pub direction: Vec<f64>,
}

/// Importance, [0, 1), of what comes once in so many hours: h / (1 + h).
pub fn importance_of(hours: f64) -> f32 {
    if hours.is_finite() { (hours / (1.0 + hours)) as f32 } else { 1.0 }
}

/// What a stream usually shows. It can be kept over a restart.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Usual {
    looks: Spread,
    moves: Moves,
    rarity: Rarity,
}

impl Usual {
    /// Whether it was taught anything.
    pub fn has_seen_anything(&self) -> bool {
        self.looks.is_taught()
    }

    /// Judges a segment by those before it, and learns from it. `seconds`: since the last one.
    pub fn judge(&mut self, look: &Look, seconds: f64) -> Departure {
        let (distance, mut direction) = self.looks.departure(&look.features);
        let moves = self.moves.departure(&look.motion);
        let score = distance * moves;
        direction.iter_mut().for_each(|d| *d *= moves);
        let weight = if self.rarity.is_common(score, COMMON) { 1.0 } else { UNUSUAL_WEIGHT };
        let hours = self.rarity.add(score, seconds);
        let keep = 0.5f64.powf(seconds / HALF_LIFE);
        self.looks.add(&look.features, weight, keep);
        self.moves.add(&look.motion, weight, keep);
        Departure { score, hours, direction }
    }
}

/// The scores of all segments of a video: by what is usual in all of it.
pub fn hindsight(looks: &[Look]) -> Vec<f64> {
    let mut scores = vec![0.0; looks.len()];
    let mut weights = vec![1.0; looks.len()];
    for _ in 0..ROUNDS {
        let (mut usual, mut moves) = (Spread::default(), Moves::default());
        for (look, weight) in looks.iter().zip(&weights) {
            usual.add(&look.features, *weight, 1.0);
            moves.add(&look.motion, *weight, 1.0);
        }
        let usual = usual.solved();
        for (score, look) in scores.iter_mut().zip(looks) {
            *score = usual.distance(&look.features) * moves.departure(&look.motion);
        }
        let mut sorted = scores.clone();
        sorted.sort_by(f64::total_cmp);
        let common = sorted.get((COMMON * sorted.len() as f64) as usize).copied().unwrap_or(f64::INFINITY);
        for (weight, score) in weights.iter_mut().zip(&scores) {
            *weight = if *score < common { 1.0 } else { UNUSUAL_WEIGHT };
        }
    }
    scores
}

/// Makes looks of clips.
pub struct Eye {
    projection: Projection,
}

impl Eye {
    /// Of a network that gives so many features.
    pub fn new(features: usize) -> Self {
        Self { projection: Projection::new(features) }
    }

    /// `clip`: RGB bytes of `frames` pictures of `width` pixels.
    pub fn look(&self, features: &[f32], clip: &[u8], frames: usize, width: usize) -> Look {
        Look { features: self.projection.of(features), motion: motion::motion(clip, frames, width) }
    }

    /// A direction of the projected features as one of the network's.
    pub fn direction(&self, direction: &[f64]) -> Vec<f32> {
        self.projection.back(direction)
    }
}

#[cfg(test)]
mod tests;
