//! `desumskim`: live skims and time-lapses of video that `desumnet` has scored.
//!
//! `mode=skim` keeps the segments that matter most, at normal speed; `mode=timelapse` keeps some frames of every segment,
//! the more the more it matters. Output times run on without holes.
//!
//! ```text
//! gst-launch-1.0 filesrc location=in.mp4 ! decodebin ! videoconvert ! desumnet ! desumskim mode=skim ratio=0.2 ! \
//!     videoconvert ! x264enc ! mp4mux ! filesink location=skim.mp4
//! ```

mod imp;

use gst::prelude::*;

glib::wrapper! {
    pub struct Skim(ObjectSubclass<imp::Skim>) @extends gst::Element, gst::Object;
}

/// What is made of the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "DeSumNetSkimMode")]
pub enum Mode {
    /// The best moments, at normal speed.
    #[default]
    #[enum_value(name = "The most important segments, at normal speed", nick = "skim")]
    Skim,
    /// All of it, fast where little happens.
    #[enum_value(name = "Some frames of every segment, more where it matters", nick = "timelapse")]
    Timelapse,
}

/// # Errors
/// If the name is taken.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "desumskim", gst::Rank::NONE, Skim::static_type())
}
