//! gst-plugin-desumnet: importance of video while it plays, by DeSumNet (ICCV 2017).
//!
//! Data flows one way. In a pipeline: frames -> [`desumnet_frames`] (clips and segments) -> [`desumnet_engine`] (scores) -> [`pending`] -> [`meta`]
//! -> [`desumnet_decide`] -> the next element. For files: [`decode`] -> the same clips -> [`offline`], kept by [`score_cache`] -> JSON, or
//! [`desumnet_decide`] -> a plan -> [`cut`] -> a file, and [`report`] with its [`stills`]. [`overlay`] draws the importance on the picture. For training:
//! [`decode`] -> the same clips -> [`training`] -> a model file. [`evaluation`] measures scores; people judge time-lapses that [`film`] encodes.
//! [`marks`] are moments that people chose in a [`report`], which [`gather`] looks at. [`video_files`] finds the videos of a folder, and [`missing`] tells
//! which package brings a plugin that is not there.
//!
//! [`elements`] are thin shells and hold no algorithm; no algorithm holds a GObject.

#[cfg(feature = "v1_24")]
pub mod analytics;
pub mod elements;
pub mod evaluation;
pub mod foreign;
pub mod gather;
pub mod manual;
pub mod marks;
pub mod meta;
pub mod offline;
pub mod overlay;
pub mod pending;
pub mod report;
pub mod score_cache;
pub mod training;
#[cfg(feature = "watch")]
pub mod watch;

fn plugin_init(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    meta::register();
    elements::score::register(plugin)?;
    elements::skim::register(plugin)?;
    elements::overlay::register(plugin)
}

gst::plugin_define!(
    desumnet,
    env!("CARGO_PKG_DESCRIPTION"),
    plugin_init,
    concat!(env!("CARGO_PKG_VERSION"), "-", env!("COMMIT_ID")),
    "MPL-2.0",
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    env!("BUILD_REL_DATE")
);
