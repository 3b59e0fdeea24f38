//! A camera watched for half an hour, by `desumnet watch` as a user runs it:
//! `VIDEO=archery.mp4 CATEGORY=Archery cargo test -p desumnet-cli watch_half_hour -- --ignored --nocapture` (`MINUTES=30`).
//!
//! The camera shows a rendered scene, and every minute some seconds of the video, which the model must take for that category. Its server is
//! killed three times.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant, SystemTime},
};

use gst::prelude::*;
use test_support::{
    camera::Camera,
    watching::{clips, decode, probe, units, video, wait_for},
};

/// Above what the committed model gives the rendered scene.
const THRESHOLD: &str = "0.0001";
const PRE_ROLL: Duration = Duration::from_secs(3);
/// Two segments, of which one is scored, and what it takes from the camera's encoder to the clock.
const SLACK: Duration = Duration::from_millis(1_800);
const EVENT: Duration = Duration::from_secs(8);
const SECOND: Duration = Duration::from_secs(1);

/// Turns to the event and back; when that was.
fn show_event(camera: &Camera) -> [SystemTime; 2] {
    let scene = camera.element("scene").unwrap();
    let show = |alpha: f64| {
        scene.static_pad("sink_1").unwrap().set_property("alpha", alpha);
        SystemTime::now()
    };
    let began = show(1.0);
    std::thread::sleep(EVENT);
    [began, show(0.0)]
}

/// Resident memory, MiB.
fn memory(process: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1_024
}

fn mean(values: &[u64]) -> f64 {
    values.iter().sum::<u64>() as f64 / values.len() as f64
}

/// The pictures of a video, as the camera's scene takes them, over and over.
fn pictures(video: &str, to: &Path) {
    let args = ["-vf", "scale=640:360,fps=25", "-t", "8", "-pix_fmt", "yuv420p", "-f", "rawvideo"];
    let out = Command::new("ffmpeg").args(["-v", "error", "-i", video]).args(args).arg(to).output().unwrap();
    assert!(out.status.success(), "{out:?}");
}

#[test]
#[ignore = "half an hour; VIDEO names a video, CATEGORY what the model takes it for"]
fn every_event_is_in_a_clip_that_plays() {
    let minutes: u32 = std::env::var("MINUTES").map_or(30, |minutes| minutes.parse().unwrap());
    let category = std::env::var("CATEGORY").expect("CATEGORY names one of the model's");
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().join("event.yuv");
    pictures(&std::env::var("VIDEO").expect("VIDEO names the video of the event"), &raw);
    let launch = format!(
        "compositor name=scene sink_1::alpha=0 ! video/x-raw,format=I420,framerate=25/1 ! queue ! x264enc speed-preset=ultrafast tune=zerolatency threads=1 key-int-max=50 \
         ! video/x-h264,stream-format=byte-stream ! h264parse name=sent ! rtph264pay name=pay0 pt=96 \
         videotestsrc is-live=true pattern=pinwheel ! video/x-raw,format=I420,width=640,height=360,framerate=25/1 ! scene.sink_0 \
         multifilesrc location={} loop=true blocksize=345600 ! rawvideoparse format=i420 width=640 height=360 framerate=25/1 \
         ! identity sync=true ! scene.sink_1 \
         audiotestsrc is-live=true wave=ticks samplesperbuffer=1024 ! audio/x-raw,rate=48000,channels=1 ! avenc_aac \
         ! rtpmp4gpay name=pay1 pt=97",
        raw.display()
    );
    let mut camera = Camera::start(&launch, None);
    let (uri, port) = (camera.uri(), camera.port);
    let mut sent = vec![camera.sent.clone()];
    let kept = folder.path().join("clips");
    let mut watching = Command::new(env!("CARGO_BIN_EXE_desumnet"))
        .args([
            "watch",
            &format!("yard={uri}"),
            "--category",
            &category,
            "--importance",
            "weighted",
            "--threshold",
            THRESHOLD,
            "--pre-roll",
            "3s",
            "--interval",
            "2",
            "--clips",
        ])
        .arg(&kept)
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let began = Instant::now();
    let (mut events, mut resident) = (Vec::new(), Vec::new());
    for minute in 0..minutes {
        wait_for("the camera's viewer", || camera.element("scene"));
        if minute % 8 == 7 {
            // Nothing happens in this one.
            drop(camera);
            std::thread::sleep(10 * SECOND);
            camera = Camera::start(&launch, Some(port));
            sent.push(camera.sent.clone());
        } else {
            std::thread::sleep(20 * SECOND);
            events.push(show_event(&camera));
        }
        while began.elapsed() < 60 * SECOND * (minute + 1) {
            resident.push(memory(&watching));
            std::thread::sleep(SECOND);
        }
        println!("minute {minute}: {} MiB, {} clips", resident.last().unwrap(), clips(&kept).len());
    }
    // SAFETY: the process is this one's child, and has not been waited for.
    assert_eq!(unsafe { libc::kill(watching.id() as i32, libc::SIGTERM) }, 0);
    assert!(watching.wait().unwrap().success());
    let lines = clips(&kept);
    let utc = |line: &serde_json::Value, name: &str| humantime::parse_rfc3339(line[name].as_str().unwrap()).unwrap();
    let mut packets = 0;
    for line in &lines {
        let path = video(&kept, line);
        let video = probe(&path, "v");
        assert!(video[0].key, "{line}");
        assert_eq!(decode(&path), video.len(), "{line}");
        assert!(!probe(&path, "a").is_empty(), "{line}");
        let was_sent = |unit: &Vec<u8>| sent.iter().any(|sent| sent.lock().unwrap().contains(&blake3::hash(unit)));
        assert!(units(&path).iter().flatten().all(was_sent), "{line}");
        packets += video.len();
    }
    for [from, until] in &events {
        let holds =
            |line: &&serde_json::Value| utc(line, "start") <= *from + SLACK - PRE_ROLL && utc(line, "end") >= *until;
        assert!(lines.iter().any(|line| holds(&line)), "no clip holds {from:?} to {until:?}:\n{lines:#?}");
    }
    let third = resident.len() / 3;
    let (early, late) = (mean(&resident[third..2 * third]), mean(&resident[2 * third..]));
    println!(
        "{} events, {} clips, {packets} packets as they were sent; memory, MiB: {early:.0} in the second third, {late:.0} in the last",
        events.len(),
        lines.len()
    );
    assert_eq!(lines.len(), events.len(), "{lines:#?}");
    assert!(late < early * 1.05);
}
