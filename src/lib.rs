//! gst-plugin-desumnet: importance of video while it plays, by DeSumNet (ICCV 2017).
//!
//! The plugin is the front room of a house; each other one is a crate under `crates/`, and data flows through them one way:
//!
//! | crate | from | to |
//! |---|---|---|
//! | [`desumnet_frames`] | frames and their times | clips, segments, shots |
//! | [`desumnet_engine`] | clips | scores, maps |
//! | [`desumnet_decide`] | scores and times | what plays, and when |
//! | [`desumnet_media`] | files of video | frames, and cut files |
//!
//! In a pipeline: frames -> clips -> the engine -> [`pending`] -> [`meta`] -> `decide` -> the next element; [`overlay`] draws the importance on the
//! picture. For files, `desumnet-offline` scores whole videos and `desumnet-report` tells of them; `desumnet-cli` is the program, with `desumnet-watch` for cameras;
//! `desumnet-train` makes models.
//!
//! [`elements`] are thin shells and hold no algorithm; no algorithm holds a GObject.

#[cfg(feature = "v1_24")]
pub mod analytics;
pub mod elements;
pub mod meta;
pub mod overlay;
pub mod pending;

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
