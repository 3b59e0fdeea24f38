//! Stands for `desumnet mode=observe ! fakesink`: messages as that element posts them, with scores by a rule of the test.

use gst::prelude::*;
use gstdesumnet::meta::{Flags, MESSAGE_NAME};

/// Frames of a segment.
const FRAMES: u64 = 16;

/// Scores each segment by the running time of its first picture after the very first one, ns.
pub fn scorer(score: impl Fn(u64) -> f64 + Send + 'static) -> gst::Element {
    gst::init().unwrap();
    let sink = gst_app::AppSink::builder().sync(false).build();
    let (mut first, mut segment, mut start, mut frames) = (None, 0u64, 0, 0);
    let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        let times = sample.segment().unwrap().downcast_ref::<gst::ClockTime>().unwrap();
        let buffer = sample.buffer().unwrap();
        let time = times.to_running_time(buffer.pts().unwrap()).unwrap().nseconds();
        let first = *first.get_or_insert(time);
        if frames == 0 {
            start = time;
        }
        frames += 1;
        if frames < FRAMES {
            return Ok(gst::FlowSuccess::Ok);
        }
        frames = 0;
        let end = time + buffer.duration().map_or(40_000_000, gst::ClockTime::nseconds);
        let structure = gst::Structure::builder(MESSAGE_NAME)
            .field("segment", segment)
            .field("start", buffer.pts())
            .field("running-time", Some(gst::ClockTime::from_nseconds(start)))
            .field("duration", gst::ClockTime::from_nseconds(end - start))
            .field("frames", FRAMES as u32)
            .field("score", score(start - first))
            .field("importance", 0.5)
            .field("category", "fall")
            .field("confidence", 0.75)
            .field(
                "flags",
                match segment {
                    1 => Flags::LATE | Flags::CARRIED,
                    2 => Flags::CARRIED,
                    _ => Flags::empty(),
                },
            )
            .field("frame-scores", gst::Array::default())
            .build();
        segment += 1;
        let _ = sink.post_message(gst::message::Element::builder(structure).src(sink).build());
        Ok(gst::FlowSuccess::Ok)
    });
    sink.set_callbacks(callbacks.build());
    sink.upcast()
}
