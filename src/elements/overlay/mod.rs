//! `desumoverlay`: shows on the picture what `desumnet` says of it.
//!
//! `video/x-raw` goes in and comes out with a panel at the bottom left: category, confidence and importance in words, the
//! importance as a bar, and as a graph over the last 30 s with marks where shots start. With `desumnet map=true`, a heat map
//! over the picture tells where in it the importance lies.
//!
//! ```text
//! gst-launch-1.0 filesrc location=in.mp4 ! decodebin ! videoconvert ! desumnet map=true ! desumoverlay ! videoconvert ! autovideosink
//! ```

mod imp;

use gst::prelude::*;

glib::wrapper! {
    pub struct Overlay(ObjectSubclass<imp::Overlay>) @extends gst_video::VideoFilter, gst_base::BaseTransform, gst::Element, gst::Object;
}

/// # Errors
/// If the name is taken.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "desumoverlay", gst::Rank::NONE, Overlay::static_type())
}
