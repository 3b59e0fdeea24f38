//! Scores clips: bytes in, numbers out. It knows neither pads nor files of video, and runs where no GStreamer is.
//!
//! [`Engine`] is a worker that owns a [`network`] and serves many streams; [`importance`] is what it computes, [`maps`] say where in the frames it
//! lies. What a stream usually shows is [`unusual`]'s, what a person marked [`taught`]'s. A model is DeSumNet's file, or TorchScript of the
//! user's own with a JSON file beside it; only [`network`] knows which. [`models`] finds the one that comes with the plugin.

mod average_precision;
mod engine;
pub mod importance;
pub mod maps;
pub mod models;
pub mod named;
pub mod network;
pub mod taught;
pub mod unusual;

pub use average_precision::average_precision;
pub use engine::*;
