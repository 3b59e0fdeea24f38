//! Deciding what to keep, from scores and times alone: no pads, no pixels.

pub mod live;
pub mod quantile;
pub mod retime;
pub mod skim;
pub mod timelapse;
