//! `desumskim` with encoded video, as gst-launch runs it: what comes out plays, and its packets are the encoder's.

use gst::prelude::*;
use test_support::{
    scoring::pipeline,
    watching::{decode, pictures, probe, render_file},
};

fn run(line: &str) {
    let pipeline = pipeline(line);
    pipeline.set_state(gst::State::Playing).unwrap();
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = pipeline.bus().unwrap().timed_pop_filtered(gst::ClockTime::NONE, &ends).unwrap();
    pipeline.set_state(gst::State::Null).unwrap();
    assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
}

#[test]
fn a_skim_of_a_file_keeps_its_packets() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    // Ten seconds with a key frame in each, and pictures in another order than they play in.
    let (video, _) = render_file(&path("in.mp4"), 250);
    let plan = r#"{ "format": "desumnet-plan", "version": 1, "parts": [
        { "start_ns": 2300000000, "duration_ns": 1200000000, "score": 1.0 },
        { "start_ns": 7000000000, "duration_ns": 1000000000, "score": 1.0 } ] }"#;
    std::fs::write(path("plan.json"), plan).unwrap();
    let [input, plan, output] = ["in.mp4", "plan.json", "out.mp4"].map(|name| path(name).display().to_string());
    run(&format!(
        "filesrc location={input} ! qtdemux name=d d.video_0 ! h264parse ! tee name=t \
         t. ! queue ! avdec_h264 ! desumskim name=s plan={plan} \
         t. ! queue ! s.sink_0 s.src_0 ! h264parse ! queue ! mp4mux name=m ! filesink location={output} \
         d.audio_0 ! queue ! aacparse ! s.sink_1 s.src_1 ! queue ! m."
    ));
    let kept = probe(&path("out.mp4"), "v");
    let hashes: Vec<&String> = kept.iter().map(|packet| &packet.hash).collect();
    // From the key frame at 2 s up to 3.5 s, with what the last pictures need; and the eighth second.
    let place = video.iter().position(|hash| hash == hashes[0]).unwrap();
    let second = hashes.iter().position(|&hash| *hash == video[175]).unwrap();
    assert_eq!(place, 50);
    assert!((38..=39).contains(&second), "{second}");
    assert!(hashes[..second].iter().zip(&video[50..]).all(|(kept, sent)| *kept == sent));
    assert!(hashes[second..].iter().zip(&video[175..200]).all(|(kept, sent)| *kept == sent));
    assert!((24..=25).contains(&(hashes.len() - second)), "{}", hashes.len());
    assert_eq!(decode(&path("out.mp4")), hashes.len());
    let starts: Vec<f64> = kept.iter().filter(|packet| packet.key).map(|packet| packet.pts).collect();
    assert!((starts[0].abs() < 0.1) && starts.len() == 3, "{starts:?}");
    assert!((starts[2] - starts[0] - 1.5).abs() < 0.001, "{starts:?}");
    // 2.5 s of sound, to the packet.
    let sound = probe(&path("out.mp4"), "a").len() as f64 * 1_024.0 / 48_000.0;
    assert!((sound - 2.5).abs() < 0.05, "{sound}");
}

#[test]
fn open_groups_are_cut_without_a_picture_that_is_broken_or_out_of_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    // A key frame every second, which pictures before it refer to.
    let encoded = std::process::Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=8", "-c:v", "libx265"])
        .args(["-x265-params", "log-level=none:open-gop=1:keyint=25:min-keyint=25:scenecut=0:bframes=3"])
        .args(["-pix_fmt", "yuv420p", "-tag:v", "hvc1"])
        .arg(path("in.mp4"))
        .status();
    assert!(encoded.unwrap().success());
    let plan = r#"{ "format": "desumnet-plan", "version": 1, "parts": [
        { "start_ns": 0, "duration_ns": 600000000, "score": 1.0 },
        { "start_ns": 2000000000, "duration_ns": 2000000000, "score": 1.0 },
        { "start_ns": 6000000000, "duration_ns": 2000000000, "score": 1.0 } ] }"#;
    std::fs::write(path("plan.json"), plan).unwrap();
    let [input, plan, output] = ["in.mp4", "plan.json", "out.mp4"].map(|name| path(name).display().to_string());
    run(&format!(
        "filesrc location={input} ! qtdemux ! h265parse ! tee name=t \
         t. ! queue ! avdec_h265 ! desumskim name=s plan={plan} \
         t. ! queue ! s.sink_0 s.src_0 ! h265parse ! queue ! mp4mux ! filesink location={output}"
    ));
    let all = pictures(&path("in.mp4"));
    assert_eq!(all.len(), 200);
    let numbers: Vec<Option<usize>> =
        pictures(&path("out.mp4")).iter().map(|kept| all.iter().position(|picture| picture == kept)).collect();
    assert!(numbers.iter().all(Option::is_some), "{numbers:?}");
    assert!(numbers.windows(2).all(|w| w[0] < w[1]), "{numbers:?}");
    // All of every part, and the key frame after the second one, which its last pictures need.
    let expected = (0..15).chain(50..101).chain(150..200).map(Some);
    assert_eq!(numbers, expected.collect::<Vec<_>>());
}
