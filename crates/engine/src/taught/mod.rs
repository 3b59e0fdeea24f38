//! Learns from what a person marked: a new last layer on the features that the network gives, and on how much moves where.
//!
//! A segment's score is the probability that it is wanted: logistic regression, class-balanced, with the penalty
//! that does best on moments left out. What was learned is a [`Head`](crate::network::head::Head).

mod choice;
mod logistic;

pub use choice::{Lesson, teach};

use crate::unusual::motion::Motion;

/// A segment that a person marked, or that stands for the rest.
#[derive(Clone, Debug)]
pub struct Example {
    /// The network's.
    pub features: Vec<f32>,
    pub motion: Motion,
    pub wanted: bool,
    /// Number of the marked moment that it is of: segments of one moment look alike, and are left out together.
    pub moment: usize,
}
