//! Files of video, by GStreamer: outside of the elements, which need none of this but the [`scaler`].
//!
//! [`decode`] reads a file as the clips that are scored, by way of the [`scaler`]; [`cut`] writes what a plan keeps of it, [`stills`] pictures of it, and
//! [`film`] encodes a film of pictures. [`timecode`] reads what an editor calls each frame. [`stall`] tells when a pipeline stands still, [`missing`] which package
//! brings a plugin that is not there. [`video_files`] finds the videos of a folder; [`secrets`] keeps passwords out of what is shown.

pub mod cut;
pub mod decode;
mod edit_list;
pub mod film;
mod iso_boxes;
pub mod missing;
pub mod scaler;
pub mod secrets;
pub mod stall;
pub mod stills;
pub mod timecode;
pub mod video_files;

use std::sync::LazyLock;

/// What is logged of files: `GST_DEBUG=desumnet-media:5`.
static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("desumnet-media", gst::DebugColorFlags::empty(), Some("Files that desumnet reads and cuts"))
});
