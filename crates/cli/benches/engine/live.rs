//! Live cameras in one process: how many hold 30 frames a second, and what is lost when there are more.

use std::time::Duration;

use gst::prelude::*;
use gstdesumnet::meta::Flags;
use serde_json::{Value, json};

use crate::{Report, markdown, part};

/// Each run, of which the first is not counted: memory and threads are got.
const SECONDS: u64 = 20;
/// Streams, and the `interval` that they are scored at.
const RUNS: [(usize, u32); 8] = [(1, 1), (2, 1), (4, 1), (6, 1), (8, 1), (12, 1), (8, 2), (16, 4)];

/// So many live streams for some seconds; in a process of its own.
pub fn measure(streams: usize, interval: u32) -> Report {
    gst::init().expect("GStreamer");
    gstdesumnet::plugin_register_static().expect("the plugin");
    let description = format!(
        "videotestsrc is-live=true pattern=pinwheel ! video/x-raw,width=640,height=480,framerate=30/1 \
         ! desumnet name=score interval={interval} post-messages=true ! fakesink name=sink sync=true"
    );
    let pipelines: Vec<gst::Pipeline> = (0..streams)
        .map(|_| gst::parse::launch(&description).expect("known elements").downcast().expect("a pipeline"))
        .collect();
    for pipeline in &pipelines {
        pipeline.set_state(gst::State::Playing).expect("it starts");
    }
    std::thread::sleep(Duration::from_secs(SECONDS));
    let stats: Vec<gst::Structure> =
        pipelines.iter().map(|pipeline| pipeline.by_name("score").expect("named").property("stats")).collect();
    let rendered: Vec<u64> = pipelines
        .iter()
        .map(|pipeline| {
            let stats: gst::Structure = pipeline.by_name("sink").expect("named").property("stats");
            stats.get("rendered").expect("a sink's stats")
        })
        .collect();
    let in_time = |message: &gst::Message| {
        let flags = message.structure().and_then(|told| told.get::<Flags>("flags").ok());
        flags.is_some_and(|flags| !flags.intersects(Flags::LATE | Flags::CARRIED))
    };
    let scored: Vec<u64> = pipelines
        .iter()
        .map(|pipeline| {
            let bus = pipeline.bus().expect("a pipeline's");
            let told = std::iter::from_fn(|| bus.pop_filtered(&[gst::MessageType::Element]));
            told.filter(in_time).count() as u64
        })
        .collect();
    for pipeline in &pipelines {
        pipeline.set_state(gst::State::Null).expect("it stops");
    }
    let each = |name| stats.iter().map(|stats| stats.get::<u64>(name).expect("a statistic")).collect::<Vec<_>>();
    let (segments, late, shed) = (each("segments"), each("late"), each("shed"));
    let asked = stats.iter().map(|stats| stats.get::<u32>("interval").expect("a statistic")).max();
    let range = |values: &[u64]| json!([values.iter().min(), values.iter().max()]);
    Report::from_iter([
        ("streams".into(), streams.into()),
        ("interval".into(), interval.into()),
        ("interval_at_the_end".into(), asked.into()),
        ("segments".into(), segments.iter().sum::<u64>().into()),
        ("late".into(), late.iter().sum::<u64>().into()),
        ("shed".into(), shed.iter().sum::<u64>().into()),
        ("scored_in_time_by_stream".into(), range(&scored)),
        ("frames_by_stream".into(), range(&rendered)),
        ("worst_inference_ms".into(), (each("worst-inference-time").into_iter().max().unwrap_or(0) / 1_000_000).into()),
    ])
}

/// Every run, and the most streams that lost nothing.
pub fn all() -> Report {
    let runs = RUNS.map(|(streams, interval)| part(&["live", &streams.to_string(), &interval.to_string()]));
    let whole = runs.iter().filter(|run| run["late"] == 0 && run["interval"] == 1);
    let held = whole.filter_map(|run| run["streams"].as_u64()).max().unwrap_or(0);
    let runs: Vec<Value> = runs.into_iter().map(Value::Object).collect();
    Report::from_iter([("live_streams".into(), held.into()), ("live".into(), runs.into())])
}

pub fn table(report: &Report) -> String {
    let empty = Vec::new();
    let rows = report["live"].as_array().unwrap_or(&empty).iter().map(|run| {
        let range = |key: &str| {
            let [least, most] = [0, 1].map(|end| run[key][end].as_u64().unwrap_or(0));
            format!("{least}-{most}")
        };
        let [streams, interval, risen, segments, late, shed] =
            ["streams", "interval", "interval_at_the_end", "segments", "late", "shed"].map(|key| run[key].to_string());
        [streams, interval, risen, segments, late, shed, range("scored_in_time_by_stream"), range("frames_by_stream")]
    });
    let head = [
        "live streams",
        "interval",
        "at the end",
        "segments",
        "late",
        "of them shed",
        "scored in time, each stream",
        "frames, each stream",
    ];
    markdown(head, rows)
}
