//! What comes with the programs: `make demo`, and the service's limits.

mod common;

use std::{path::Path, process::Command};

use gst_pbutils::Discoverer;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn the_service_may_do_little_more_than_it_needs() {
    let unit = Path::new(ROOT).join("dist/desumnet-watch.service");
    // Tenths: a rating of 3.
    let rate = ["security", "--no-pager", "--offline=true", "--threshold=30"];
    let Ok(output) = Command::new("systemd-analyze").args(rate).arg(unit).output() else {
        println!("skipped: apt-get install systemd");
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    // systemd goes on without a line that it does not know, and says so here.
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn the_demo_makes_a_skim_with_sound_its_page_its_picture_and_a_time_lapse() {
    common::init();
    let folder = tempfile::tempdir().unwrap();
    let video = folder.path().join("balls.mp4");
    common::launch(&format!(
        "videotestsrc num-buffers=60 pattern=ball ! video/x-raw,width=64,height=64,framerate=5/1 ! x264enc ! queue ! mp4mux name=m \
         ! filesink location={} audiotestsrc num-buffers=120 samplesperbuffer=4800 ! audio/x-raw,rate=48000 ! avenc_aac ! queue ! m.",
        video.display()
    ));
    let output = Command::new(Path::new(ROOT).join("tools/demo"))
        .args([env!("CARGO_BIN_EXE_desumnet"), "balls.mp4"])
        .current_dir(folder.path())
        .env("XDG_CACHE_HOME", folder.path().join("cache"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let out = folder.path().join("out");
    let mut names: Vec<_> =
        std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["skim.html", "skim.mp4", "skim.svg", "timelapse.mp4"]);
    let discoverer = Discoverer::new(gst::ClockTime::from_seconds(10)).unwrap();
    for (name, most) in [("skim.mp4", 3_000), ("timelapse.mp4", 1_500)] {
        let uri = glib::filename_to_uri(out.join(name), None).unwrap();
        let found = discoverer.discover_uri(&uri).unwrap();
        assert_eq!((found.video_streams().len(), found.audio_streams().len()), (1, 1), "{name}");
        let length = found.duration().unwrap().mseconds();
        assert!((most / 2..=most + 200).contains(&length), "{name}: {length} ms");
    }
    // The commands, as anyone would give them.
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("skim balls.mp4 -o out/skim.mp4 --ratio 25% --report html,svg"), "{told}");
}
