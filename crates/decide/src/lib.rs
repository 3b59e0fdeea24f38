//! Deciding what to keep, from scores and times alone: no pads, no pixels.
//!
//! Of a whole video: [`shot_scores`] -> [`choose`] (with [`cluster`]) -> [`offline`], or [`pace`] for a time-lapse -> [`plan`]. Of a
//! stream: [`live`], by [`online`] with a look-ahead or as a [`timelapse`]; or [`follow`], by a plan. Both lay what is kept on a
//! [`timeline`], which tells where [`frames`] and the [`samples`] of the sound play, which [`stretch`] speeds up. [`key_frames`] moves it to where
//! encoded video can be cut.

pub mod choose;
pub mod cluster;
pub mod follow;
pub mod frames;
pub mod key_frames;
pub mod live;
pub mod offline;
pub mod online;
pub mod pace;
pub mod plan;
pub mod quantile;
pub mod samples;
pub mod shot_scores;
pub mod stretch;
pub mod threshold;
pub mod timelapse;
pub mod timeline;
