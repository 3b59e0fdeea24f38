//! The elements: thin GObject shells over the modules beside this one.

pub mod overlay;
pub mod score;
pub mod skim;

/// An always-there sink and source pad with these caps.
fn video_templates(caps: &gst::Caps) -> Vec<gst::PadTemplate> {
    [("sink", gst::PadDirection::Sink), ("src", gst::PadDirection::Src)]
        .map(|(name, direction)| {
            gst::PadTemplate::new(name, direction, gst::PadPresence::Always, caps).expect("a valid template")
        })
        .into()
}
