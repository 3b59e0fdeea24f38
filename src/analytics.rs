//! The category in GStreamer's own words, for elements that know nothing of ours: GstAnalytics classification (GStreamer 1.24 and newer;
//! feature `v1_24`).

use gst_analytics::{AnalyticsRelationMeta, prelude::*};

/// Adds the category with its probability, to what others have added before.
///
/// # Errors
/// If the meta takes no more.
pub fn add(buffer: &mut gst::BufferRef, category: &str, confidence: f32) -> Result<(), glib::BoolError> {
    let category = glib::Quark::from_str(category);
    if let Some(mut meta) = buffer.meta_mut::<AnalyticsRelationMeta>() {
        return meta.add_one_cls_mtd(confidence, category).map(drop);
    }
    AnalyticsRelationMeta::add(buffer).add_one_cls_mtd(confidence, category).map(drop)
}
