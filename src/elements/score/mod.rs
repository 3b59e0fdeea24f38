//! `desumnet`: scores how much every moment of a video matters.
//!
//! `video/x-raw` goes in, and the same buffers come out with a [`crate::meta::ImportanceMeta`]. Frames are cut into segments of
//! 16 sampled frames, or as many as the model's clips have; small copies of them go to the engine, and the buffers wait for
//! their segment's score (`mode=annotate`) or go straight on while scores are posted as messages (`mode=observe`). The first
//! frame of each shot is flagged, and with `map=true` every frame says where in it the importance lies.
//!
//! ```text
//! gst-launch-1.0 -m filesrc location=in.mp4 ! decodebin ! videoconvert ! desumnet post-messages=true ! fakesink
//! ```

mod enums;
mod imp;
mod input;
mod latency;
mod memory;
mod output;
mod settings;
mod setup;
mod shared;

use gst::prelude::*;

glib::wrapper! {
    pub struct Score(ObjectSubclass<imp::Score>) @extends gst::Element, gst::Object;
}

/// # Errors
/// If the name is taken.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "desumnet", gst::Rank::NONE, Score::static_type())
}
