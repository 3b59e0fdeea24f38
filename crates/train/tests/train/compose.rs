//! Composites of clips of several sizes, shapes and frame rates, each of one colour: the colour of every frame tells
//! which clip it comes from.

use std::{
    collections::HashMap,
    path::Path,
    process::{Command, Output},
};

use clap::Parser;
use desumnet_frames::clip::{HEIGHT, WIDTH};
use desumnet_media::decode::Decoder;
use desumnet_train::training::compose::{self, Clips, Composite, Settings, Span};
use gst::prelude::*;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    settings: Settings,
}

fn settings(flags: &[&str]) -> Settings {
    Flags::parse_from([&["compose"], flags].concat()).settings
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Colours that are far apart, of number 0 to 26.
fn colour(number: usize) -> [u8; 3] {
    [number / 9, number / 3 % 3, number % 3].map(|level| [0, 128, 255][level])
}

/// Width, height, frame rate and length in frames; the third is upright.
const KINDS: [(u32, u32, &str, u32); 4] =
    [(320, 240, "25/1", 70), (640, 360, "30000/1001", 60), (180, 320, "24/1", 60), (176, 144, "15/1", 20)];

/// Twenty clips in three categories, as CATEGORY/NN.mp4: clip NN has colour NN + 1 and the kind NN % 4. And a broken one.
fn clips(folder: &Path) {
    for number in 0..20 {
        let category = folder.join(["archery", "juggling", "rowing"][number % 3]);
        std::fs::create_dir_all(&category).unwrap();
        let ([r, g, b], (width, height, rate, frames)) = (colour(number + 1), KINDS[number % 4]);
        test_support::launch(&format!(
            "videotestsrc pattern=solid-color foreground-color={} num-buffers={frames} \
             ! video/x-raw,width={width},height={height},framerate={rate} ! x264enc speed-preset=ultrafast ! mp4mux \
             ! filesink location={}",
            0xff00_0000u32 | u32::from(r) << 16 | u32::from(g) << 8 | u32::from(b),
            category.join(format!("{number:02}.mp4")).display()
        ));
    }
    std::fs::write(folder.join("rowing/broken.mp4"), "not a video at all").unwrap();
}

/// Numbers of the frames that are key frames.
fn key_frames(video: &Path) -> Vec<u32> {
    let pipeline = gst::parse::launch(&format!(
        "filesrc location={} ! qtdemux ! h264parse ! video/x-h264,alignment=au ! appsink name=sink sync=false",
        video.display()
    ));
    let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
    let sink = pipeline.by_name("sink").unwrap().downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let mut keys = Vec::new();
    for number in 0.. {
        let Ok(sample) = sink.pull_sample() else { break };
        if !sample.buffer().unwrap().flags().contains(gst::BufferFlags::DELTA_UNIT) {
            keys.push(number);
        }
    }
    pipeline.set_state(gst::State::Null).unwrap();
    keys
}

/// Every frame's PTS, and the colours of its centre, its top left corner and the middles of its upper and left edges.
fn colours(video: &Path) -> Vec<(u64, [[u8; 3]; 4])> {
    let mut decoder = Decoder::open(text(video)).unwrap();
    let mut frames = Vec::new();
    while let Some(picture) = decoder.next_picture().unwrap() {
        let frame = decoder.scale(&picture).unwrap();
        let places = [(WIDTH / 2, HEIGHT / 2), (2, 2), (WIDTH / 2, 2), (2, HEIGHT / 2)];
        let at = |(x, y)| frame.pixels()[(y * WIDTH + x) * 3..][..3].try_into().unwrap();
        frames.push((picture.pts.unwrap(), places.map(at)));
    }
    frames
}

fn near(a: [u8; 3], b: [u8; 3]) -> bool {
    a.iter().zip(b).all(|(a, b)| a.abs_diff(b) <= 12)
}

#[test]
fn every_frame_comes_from_the_clip_that_the_document_names() {
    test_support::init();
    let folder = tempfile::tempdir().unwrap();
    let (data, output) = (folder.path().join("data"), folder.path().join("out"));
    clips(&data);
    let settings = settings(&["--per-category", "1", "--length", "12-14", "--relevant", "0.4", "--seed", "3"]);
    let clips = Clips::read(&data, None, &settings, |_, _| {}).unwrap();
    assert_eq!(clips.broken.len(), 1);
    assert!(clips.broken[0].contains("rowing/broken.mp4 can't be decoded"), "{:?}", clips.broken);
    let videos = clips.plan(&settings).unwrap();
    assert_eq!(videos.len(), 3);
    compose::write(&videos, &output, &settings, |_, _| {}).unwrap();
    let mut parts_of_kind = HashMap::<usize, u32>::new();
    for (video, topic) in videos.iter().zip(["archery", "juggling", "rowing"]) {
        let path = output.join(topic).join(format!("{topic}_01.mp4"));
        let document = std::fs::read_to_string(path.with_extension("json")).unwrap();
        let composite: Composite = serde_json::from_str(&document).unwrap();
        assert_eq!(composite, video.composite);
        assert_eq!((composite.category.as_str(), composite.frame_rate), (topic, [25, 1]));
        assert_eq!(composite.video, format!("{topic}_01.mp4"));
        assert!((300..=350).contains(&composite.frames), "{}", composite.frames);
        assert_eq!(composite.duration_ns, u64::from(composite.frames) * 40_000_000);
        assert!((composite.relevant_share() - 0.4).abs() < 0.5 / 300.0, "{}", composite.relevant_share());

        let frames = colours(&path);
        assert_eq!(frames.len(), composite.frames as usize);
        let mut relevant = vec![false; frames.len()];
        let mut next = 0;
        for part in &composite.parts {
            assert_eq!(part.first_frame, next);
            next += part.frames;
            assert_eq!(part.start_ns, u64::from(part.first_frame) * 40_000_000);
            assert_eq!(part.duration_ns, u64::from(part.frames) * 40_000_000);
            assert_eq!(part.relevant, part.category == topic);
            let (category, file) = part.source.split_once('/').unwrap();
            assert_eq!(category, part.category);
            let number: usize = file.strip_suffix(".mp4").unwrap().parse().unwrap();
            *parts_of_kind.entry(number % 4).or_default() += 1;
            let (own, black) = (colour(number + 1), [0; 3]);
            // Wide pictures have borders above and below, upright ones at the sides.
            let expected = match number % 4 {
                1 => [own, black, black, own],
                2 => [own, black, own, black],
                _ => [own, if number % 4 == 3 { black } else { own }, own, own],
            };
            for frame in part.first_frame..next {
                let (pts, seen) = frames[frame as usize];
                assert_eq!(pts, u64::from(frame) * 40_000_000);
                let right = seen.iter().zip(expected).enumerate();
                // 176x144 pixels are 11:9: its borders are too narrow to look into.
                let right = right.filter(|(place, _)| number % 4 != 3 || *place == 0);
                for (place, (&seen, expected)) in right {
                    assert!(near(seen, expected), "{topic} frame {frame} place {place}: {seen:?} {part:?}");
                }
                relevant[frame as usize] = part.relevant;
            }
        }
        assert_eq!(next, composite.frames);
        // The spans, from the frames.
        let mut spans: Vec<Span> = Vec::new();
        for (frame, _) in relevant.iter().enumerate().filter(|(_, relevant)| **relevant) {
            match spans.last_mut().filter(|_| frame > 0 && relevant[frame - 1]) {
                Some(last) => last.duration_ns += 40_000_000,
                None => spans.push(Span { start_ns: frame as u64 * 40_000_000, duration_ns: 40_000_000 }),
            }
        }
        assert_eq!(composite.relevant, spans);
        let keys = key_frames(&path);
        assert!(composite.parts.iter().all(|part| keys.contains(&part.first_frame)), "{keys:?}");
    }
    assert_eq!(parts_of_kind.len(), 4, "{parts_of_kind:?}");
    // Nothing is left over, and anybody may read what was made.
    for entry in std::fs::read_dir(output.join("archery")).unwrap() {
        use std::os::unix::fs::PermissionsExt;
        let entry = entry.unwrap();
        assert!(
            ["archery_01.mp4", "archery_01.json"].map(|name| entry.file_name() == *name).contains(&true),
            "{entry:?}"
        );
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o400, 0o400);
    }
    // The same plan again; another one of another seed.
    let documents = |settings: &Settings| {
        let again = Clips::read(&data, None, settings, |_, _| {}).unwrap().plan(settings).unwrap();
        again.into_iter().map(|video| video.composite).collect::<Vec<_>>()
    };
    let made: Vec<_> = videos.into_iter().map(|video| video.composite).collect();
    assert_eq!(documents(&settings), made);
    assert_ne!(documents(&Settings { seed: 4, ..settings }), made);
}

fn compose(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_desumnet-train")).arg("compose").args(arguments).output().unwrap()
}

fn failure(arguments: &[&str]) -> String {
    let output = compose(arguments);
    assert!(matches!(output.status.code(), Some(1 | 2)), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn others_only_stand_between_and_finished_videos_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| {
        std::fs::create_dir_all(folder.path().join(name)).unwrap();
        folder.path().join(name)
    };
    test_support::render(&place("data/balls").join("a.mp4"), "ball", 60);
    for (name, pattern) in [("a.mp4", "smpte"), ("b.mp4", "snow")] {
        test_support::render(&place("others/noise").join(name), pattern, 60);
    }
    // A distractor's category of the topic's name is no distractor.
    test_support::render(&place("others/balls").join("b.mp4"), "ball", 60);
    let (data, others, output) = (place("data"), place("others"), folder.path().join("out"));
    let given = ["--data", text(&data), "--output", text(&output), "--per-category", "1", "--size", "64x48"];
    let more = |length| [&given[..], &["--others", text(&others), "--length", length]].concat();

    let error = failure(&[&given[..], &["--length", "4"]].concat());
    assert!(error.contains("balls_01 needs 3 s of categories other than balls"), "{error}");
    assert!(error.contains("their clips fill 0 s") && error.contains("give more clips with --others"), "{error}");
    assert!(!output.exists());

    let made = compose(&more("4"));
    assert!(made.status.success(), "{made:?}");
    let said = String::from_utf8(made.stderr).unwrap();
    assert_eq!(said, format!("1 videos, 0.1 min, written to {}\n", output.display()));
    let (video, document) = (output.join("balls/balls_01.mp4"), output.join("balls/balls_01.json"));
    let composite: Composite = serde_json::from_slice(&std::fs::read(&document).unwrap()).unwrap();
    assert_eq!((composite.frames, colours(&video).len()), (100, 100));
    let relevant: u32 = composite.parts.iter().filter(|part| part.relevant).map(|part| part.frames).sum();
    assert_eq!(relevant, 25);
    assert_eq!(std::fs::read_dir(&output).unwrap().count(), 1, "only the categories of --data get videos");

    std::fs::write(&video, "kept").unwrap();
    let error = failure(&more("4"));
    assert!(error.contains("balls_01.mp4 is there already: give --force"), "{error}");
    assert_eq!(std::fs::read(&video).unwrap(), b"kept");
    // More than the topic's clips can fill is said, and done without.
    let made = compose(&[&more("5")[..], &["--force", "--relevant", "0.95"]].concat());
    let said = String::from_utf8(made.stderr).unwrap();
    assert!(said.starts_with("balls_01.mp4: 48 % is of the category instead of 95 %"), "{said}");
}

#[test]
fn wrong_settings_and_clips_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (data, output) = (folder.path().join("data"), folder.path().join("out"));
    let given = ["--data", text(&data), "--output", text(&output)];
    assert!(failure(&given).contains("data can't be read"));
    std::fs::create_dir_all(data.join("balls")).unwrap();
    assert!(failure(&given).contains("`balls` has no videos"));
    for (flag, value, remedy) in [
        ("--length", "60-30", "as in 90 or 60-300"),
        ("--length", "0", "as in 90 or 60-300"),
        ("--relevant", "1", "use a share from 0.05 to 0.95"),
        ("--size", "321x240", "even numbers"),
        ("--size", "320", "use WIDTHxHEIGHT"),
        ("--rate", "0", "1..=240"),
    ] {
        let error = failure(&[&given[..], &[flag, value]].concat());
        assert!(error.contains(remedy), "{flag} {value}: {error}");
    }
    test_support::render(&data.join("balls/good.mp4"), "ball", 20);
    std::fs::write(data.join("balls/bad.mp4"), "not a video at all").unwrap();
    let error = failure(&given);
    assert!(error.contains("1 of 2 clips can't be decoded, more than 1 in 20:\n"), "{error}");
    assert!(error.contains("bad.mp4 can't be decoded") && error.contains("mend or remove them"), "{error}");
    assert!(!output.exists());
}
