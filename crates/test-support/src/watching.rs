//! What the tests of `watch` share: rendered streams as packets, and what ffprobe sees in a file.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc,
};

use desumnet_watch::{folder::LINES, ring::Packet};
use gst::prelude::*;

use super::camera::units_after_lengths;

/// What plays before the first picture is decoded, and the times of packets count from: as a source has it.
const START: u64 = 1_000_000_000_000;

/// Encoded video and sound, in the order of decoding.
pub struct Rendered {
    pub video: Vec<Packet<gst::Sample>>,
    pub sound: Vec<Packet<gst::Sample>>,
}

/// `frames` pictures at 25 a second with a key frame every second, and AAC that begins `late` ns after them.
pub fn render(encoder: &str, frames: u32, late: u64) -> Rendered {
    let source =
        format!("videotestsrc pattern=ball num-buffers={frames} ! video/x-raw,width=320,height=240,framerate=25/1");
    render_from(&format!("{source} ! {encoder}"), frames, late)
}

/// The same with the pictures that this source, described as for `gst-launch-1.0`, has encoded.
pub fn render_from(source: &str, frames: u32, late: u64) -> Rendered {
    gst::init().unwrap();
    let line = format!(
        "{source} ! appsink name=video sync=false \
         audiotestsrc wave=ticks num-buffers={} samplesperbuffer=1024 ! audio/x-raw,rate=48000,channels=1 ! avenc_aac ! aacparse \
         ! audio/mpeg,stream-format=raw ! appsink name=sound sync=false",
        frames * 48_000 / 25 / 1_024
    );
    let pipeline = gst::parse::launch(&line).unwrap().downcast::<gst::Pipeline>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let pull = |name: &str, late: u64| {
        let sink = pipeline.by_name(name).unwrap().downcast::<gst_app::AppSink>().unwrap();
        std::iter::from_fn(|| sink.pull_sample().ok()).map(|sample| packet(&sample, late)).collect()
    };
    let rendered = Rendered { video: pull("video", 0), sound: pull("sound", late) };
    pipeline.set_state(gst::State::Null).unwrap();
    rendered
}

fn packet(sample: &gst::Sample, late: u64) -> Packet<gst::Sample> {
    let mut buffer = sample.buffer_owned().unwrap();
    let segment = sample.segment().unwrap().downcast_ref::<gst::ClockTime>().unwrap();
    let place = |time: Option<gst::ClockTime>| {
        let time = match segment.to_running_time_full(time.unwrap()).unwrap() {
            gst::Signed::Positive(time) => time.nseconds() as i64,
            gst::Signed::Negative(time) => -(time.nseconds() as i64),
        };
        time + late as i64
    };
    let (time, decode) = (place(buffer.pts()), place(buffer.dts().or(buffer.pts())));
    let shifted = |time: i64| gst::ClockTime::from_nseconds((START as i64 + time) as u64);
    let times = buffer.make_mut();
    times.set_pts(shifted(time));
    times.set_dts(shifted(decode));
    let (duration, bytes) = (buffer.duration().unwrap().nseconds(), buffer.size());
    let key = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
    let data = gst::Sample::builder().buffer(&buffer).caps(&sample.caps_owned().unwrap()).build();
    Packet { time: time as u64, decode: decode.max(0) as u64, duration, key, bytes, data }
}

/// What ffprobe tells of one stream's packets.
#[derive(Debug, PartialEq)]
pub struct Probed {
    pub pts: f64,
    pub key: bool,
    /// Of the bytes.
    pub hash: String,
}

/// Packets of a file's stream (`v` or `a`), in the order of decoding.
pub fn probe(path: &Path, stream: &str) -> Vec<Probed> {
    try_probe(path, stream).unwrap_or_else(|out| panic!("{}: {out}", path.display()))
}

/// The same, for a file that may not be there yet.
pub fn try_probe(path: &Path, stream: &str) -> Result<Vec<Probed>, String> {
    let fields = "packet=pts_time,flags,data_hash";
    let args = ["-v", "error", "-select_streams", stream, "-show_data_hash", "MD5", "-show_entries", fields];
    let out = Command::new("ffprobe").args(args).args(["-of", "json"]).arg(path).output().unwrap();
    if !out.status.success() || !out.stderr.is_empty() {
        return Err(String::from_utf8_lossy(&out.stderr).into_owned());
    }
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let packets = json["packets"].as_array().cloned().unwrap_or_default();
    let text = |packet: &serde_json::Value, name: &str| packet[name].as_str().unwrap().to_owned();
    let of = |packet: &serde_json::Value| Probed {
        pts: text(packet, "pts_time").parse().unwrap(),
        key: text(packet, "flags").starts_with('K'),
        hash: text(packet, "data_hash"),
    };
    Ok(packets.iter().map(of).collect())
}

/// The hashes that ffprobe tells of these packets.
pub fn hashes(packets: &[Packet<gst::Sample>]) -> Vec<String> {
    let hash = |packet: &Packet<gst::Sample>| {
        let map = packet.data.buffer().unwrap().map_readable().unwrap();
        format!("MD5:{}", glib::compute_checksum_for_data(glib::ChecksumType::Md5, &map).unwrap())
    };
    packets.iter().map(hash).collect()
}

/// Decodes a whole file; fails on anything that ffmpeg finds wrong with it. The number of pictures.
pub fn decode(path: &Path) -> usize {
    pictures(path).len()
}

/// Every picture of a file by what it looks like, in the order in which it plays; fails on anything that ffmpeg finds wrong with it.
pub fn pictures(path: &Path) -> Vec<String> {
    // Every picture, however close it comes to the one before.
    let args = ["-fps_mode", "passthrough", "-f", "framemd5", "-map", "0:v", "-"];
    let out = Command::new("ffmpeg").args(["-v", "error", "-i"]).arg(path).args(args).output().unwrap();
    assert!(out.status.success() && out.stderr.is_empty(), "{}: {out:?}", path.display());
    let lines = String::from_utf8(out.stdout).unwrap();
    let hash = |line: &str| line.rsplit(',').next().unwrap_or_default().trim().to_owned();
    lines.lines().filter(|line| !line.starts_with('#')).map(hash).collect()
}

/// Takes pictures, and hands on their running times.
pub fn looker() -> (gst::Element, mpsc::Receiver<u64>) {
    gst::init().unwrap();
    let (seen, times) = mpsc::channel();
    let sink = gst_app::AppSink::builder().sync(false).build();
    let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        let segment = sample.segment().unwrap().downcast_ref::<gst::ClockTime>().unwrap();
        let time = segment.to_running_time(sample.buffer().unwrap().pts().unwrap()).unwrap();
        let _ = seen.send(time.nseconds());
        Ok(gst::FlowSuccess::Ok)
    });
    sink.set_callbacks(callbacks.build());
    (sink.upcast(), times)
}

/// Calls until it gives something; only a test that fails waits to the end.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(180);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(std::time::Instant::now() < patience, "{what} did not come");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// An MP4 file with pictures in another order than they play in, and sound. Hashes of its packets.
pub fn render_file(path: &Path, frames: u32) -> (Vec<String>, Vec<String>) {
    gst::init().unwrap();
    let line = format!(
        "videotestsrc pattern=ball num-buffers={frames} ! video/x-raw,width=320,height=240,framerate=25/1 \
         ! x264enc speed-preset=ultrafast threads=1 key-int-max=25 bframes=2 b-adapt=false ! queue ! mp4mux name=m \
         ! filesink location={} audiotestsrc num-buffers={} samplesperbuffer=1024 ! audio/x-raw,rate=48000,channels=1 \
         ! avenc_aac ! queue ! m.",
        path.display(),
        frames * 48_000 / 25 / 1_024
    );
    let pipeline = gst::parse::launch(&line).unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = pipeline.bus().unwrap().timed_pop_filtered(gst::ClockTime::NONE, &ends).unwrap();
    assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
    pipeline.set_state(gst::State::Null).unwrap();
    let hashes = |stream| probe(path, stream).into_iter().map(|packet| packet.hash).collect();
    (hashes("v"), hashes("a"))
}

/// The lines of the finished clips.
pub fn clips(folder: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(folder.join(LINES)).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Where the video of a line is.
pub fn video(folder: &Path, line: &serde_json::Value) -> PathBuf {
    folder.join(line["file"].as_str().unwrap())
}

/// The units of H.264 in an MP4 file, by packet.
pub fn units(path: &Path) -> Vec<Vec<Vec<u8>>> {
    let line = format!("filesrc location={} ! qtdemux ! video/x-h264 ! appsink name=out sync=false", path.display());
    let pipeline = gst::parse::launch(&line).unwrap().downcast::<gst::Pipeline>().unwrap();
    let sink = pipeline.by_name("out").unwrap().downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let of = |sample: gst::Sample| units_after_lengths(&sample.buffer().unwrap().map_readable().unwrap());
    let units = std::iter::from_fn(|| sink.pull_sample().ok()).map(of).collect();
    pipeline.set_state(gst::State::Null).unwrap();
    units
}
