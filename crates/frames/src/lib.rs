//! From frames to what is scored as one: pixels and timestamps in, clips out. No pads, no network.
//!
//! [`clip`] is what the network sees; [`segmenter`] cuts a stream into the stretches that clips stand for; [`shots`] finds where shots start,
//! in the same frames. [`times`] tells when frames are, whatever their timestamps, and [`frame_rate`] how many come a second.

pub mod clip;
pub mod frame_rate;
pub mod segmenter;
pub mod shots;
pub mod times;
