//! Deciding what to keep, from scores and times alone: no pads, no pixels.
//!
//! Of a whole video: [`shot_scores`] -> [`choose`] (with [`cluster`]) -> [`offline`], or [`pace`] for a time-lapse -> [`plan`]. Of a
//! stream: [`online`] with a look-ahead; [`live`] without one, which the element asks.

pub mod choose;
pub mod cluster;
pub mod live;
pub mod offline;
pub mod online;
pub mod pace;
pub mod plan;
pub mod quantile;
pub mod retime;
pub mod shot_scores;
pub mod skim;
pub mod timelapse;
