//! The category as GstAnalytics classification, beside our own meta: `cargo test --features v1_24 --test elements analytics`, with GStreamer 1.24 or
//! newer.

use gst::prelude::*;
use gst_analytics::{AnalyticsClassificationMtd, AnalyticsRelationMeta, prelude::*};
use test_support::scoring::*;

#[test]
fn every_buffer_tells_its_category_in_both_metas() {
    let pipeline = pipeline(
        "videotestsrc num-buffers=40 pattern=ball ! video/x-raw,width=64,height=48,framerate=25/1 \
         ! desumnet ! videoconvert ! video/x-raw,format=RGB ! appsink name=sink sync=false",
    );
    let sink: gst_app::AppSink = pipeline.by_name("sink").unwrap().downcast().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let buffers: Vec<_> = std::iter::from_fn(|| sink.pull_sample().ok()?.buffer_owned()).collect();
    pipeline.set_state(gst::State::Null).unwrap();
    assert_eq!(buffers.len(), 40);
    for (buffer, meta) in buffers.iter().zip(metas(&buffers)) {
        let analytics = buffer.meta::<AnalyticsRelationMeta>().expect("GstAnalytics' meta");
        let told: Vec<_> = analytics
            .iter::<AnalyticsClassificationMtd>()
            .map(|class| (class.quark(0).as_str().to_string(), class.level(0)))
            .collect();
        assert_eq!(told, [(meta.category.clone(), meta.confidence as f32)]);
    }
}
