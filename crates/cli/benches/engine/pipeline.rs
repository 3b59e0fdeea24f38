//! Whole pipelines on a file: how many frames a second, what each stage takes of the processor, and how much memory.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use gst::prelude::*;
use serde_json::{Value, json};

use crate::{Report, entry, markdown, number, part, peak_memory_of};

/// Name, width and height of the videos.
const SIZES: [(&str, u32, u32); 3] = [("480p", 854, 480), ("1080p", 1920, 1080), ("4k", 3840, 2160)];
/// Frames of a video, 30 a second.
const FRAMES: u32 = 900;
/// What is run, each with one stage more.
const STAGES: [(&str, &str); 4] = [
    ("decode", ""),
    // Prepares all, scores the first segment only.
    ("prepare", "! desumnet interval=10000"),
    ("score", "! desumnet"),
    ("whole", "! desumnet ! desumskim"),
];

/// An H.264 file with pictures that move; written once.
fn video(folder: &Path, name: &str, width: u32, height: u32) -> PathBuf {
    let path = folder.join(format!("bench-{name}.mp4"));
    if !path.exists() {
        // Shapes on noise, softened to what a camera's pictures take to decode: about 0.1 bits a pixel.
        let bitrate = width * height * 3 / 1000;
        let description = format!(
            "videotestsrc pattern=spokes num-buffers={FRAMES} ! video/x-raw,width=480,height=270,framerate=30/1 \
             ! videoscale ! video/x-raw,format=I420,width={width},height={height} \
             ! x264enc speed-preset=ultrafast bitrate={bitrate} key-int-max=60 ! mp4mux ! filesink name=to"
        );
        let half = path.with_extension("part");
        run(&description, |pipeline| {
            pipeline.by_name("to").expect("named").set_property("location", half.to_str().expect("UTF-8"));
        });
        std::fs::rename(&half, &path).expect("one folder");
    }
    path
}

/// Plays to the end: the seconds that it takes, and those of the processor, once the model is loaded.
fn run(description: &str, set: impl FnOnce(&gst::Pipeline)) -> [f64; 2] {
    let pipeline = gst::parse::launch(description).expect("known elements").downcast::<gst::Pipeline>().expect("one");
    set(&pipeline);
    pipeline.set_state(gst::State::Ready).expect("it loads");
    let (began, before) = (Instant::now(), processor_time());
    pipeline.set_state(gst::State::Playing).expect("it starts");
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = pipeline.bus().expect("a bus").timed_pop_filtered(gst::ClockTime::NONE, &ends).expect("an end");
    let took = [began.elapsed().as_secs_f64(), processor_time() - before];
    pipeline.set_state(gst::State::Null).expect("it stops");
    if let gst::MessageView::Error(error) = message.view() {
        panic!("{}: {}", description, error.error());
    }
    took
}

/// Seconds of all threads that this process has had.
fn processor_time() -> f64 {
    // SAFETY: `usage` is the struct that the call fills, and all of it are plain numbers.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// One stage of one video; in a process of its own.
pub fn measure(stage: &str, video: &Path) -> Report {
    gst::init().expect("GStreamer");
    gstdesumnet::plugin_register_static().expect("the plugin");
    let (_, elements) = STAGES.into_iter().find(|(name, _)| *name == stage).expect("a stage");
    let description = format!("filesrc name=from ! decodebin ! video/x-raw {elements} ! fakesink sync=false");
    let [seconds, processor] = run(&description, |pipeline| {
        pipeline.by_name("from").expect("named").set_property("location", video.to_str().expect("UTF-8"));
    });
    let mut report = Report::from_iter([
        entry("frames_per_second", f64::from(FRAMES) / seconds),
        entry("processor_seconds", processor),
    ]);
    report.insert("peak_mb".into(), peak_memory_of("self").into());
    report
}

/// Every stage of every size.
pub fn all(folder: &Path) -> Vec<Value> {
    gst::init().expect("GStreamer");
    let sizes = SIZES.into_iter().map(|(name, width, height)| {
        let video = video(folder, name, width, height);
        let stages = STAGES.map(|(stage, _)| part(&["pipeline", stage, video.to_str().expect("UTF-8")]));
        let [decode, prepare, score, whole] = stages.each_ref().map(|report| number(report, "processor_seconds"));
        json!({
            "video": format!("{name}, {width}x{height}, H.264"),
            "frames_per_second": stages[3]["frames_per_second"],
            "times_real_time": number(&stages[3], "frames_per_second") / 30.0,
            "share_decode": decode / whole,
            "share_prepare": (prepare - decode) / whole,
            "share_score": (score - prepare) / whole,
            "share_skim": (whole - score) / whole,
            "peak_mb": stages[3]["peak_mb"],
        })
    });
    sizes.collect()
}

pub fn table(report: &Report) -> String {
    let empty = Vec::new();
    let rows = report["pipelines"].as_array().unwrap_or(&empty).iter().map(|row| {
        let figure = |key: &str| row[key].as_f64().unwrap_or(f64::NAN);
        // Of two runs, the one with a stage more may take less.
        let share = |key: &str| format!("{:.0} %", (figure(key) * 100.0).max(0.0));
        [
            row["video"].as_str().unwrap_or_default().to_string(),
            format!("{:.0}", figure("frames_per_second")),
            format!("{:.1}", figure("times_real_time")),
            share("share_decode"),
            share("share_prepare"),
            share("share_score"),
            share("share_skim"),
            format!("{:.0}", figure("peak_mb")),
        ]
    });
    let head =
        ["decode, score, skim", "frames/s", "times real time", "decode", "scale, shots", "score", "skim", "MB at most"];
    markdown(head, rows)
}
