//! `desumnet score` as a user runs it, and the demo's handling of bad input.

mod common;

use std::{
    path::Path,
    process::{Command, Output},
};

use common::{failure, text};

fn desumnet(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_desumnet")).args(arguments).output().unwrap()
}

#[test]
fn score_prints_one_json_document() {
    let folder = tempfile::tempdir().unwrap();
    let (video, model) = (folder.path().join("ball.mp4"), common::tiny_model(folder.path()));
    common::render(&video, "ball", 40);
    let score = |more: &[&str]| {
        let output = desumnet(&[&["score", text(&video), "--json", "-", "--model", text(&model)], more].concat());
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let auto = score(&["--precision", "f32"]);
    assert_eq!((&auto["video"], &auto["model"]), (&text(&video).into(), &text(&model).into()));
    let segments = auto["segments"].as_array().unwrap();
    let facts: Vec<_> = segments
        .iter()
        .map(|s| (s["index"].as_u64().unwrap(), s["duration_ns"].as_u64().unwrap(), s["padded"].as_bool().unwrap()))
        .collect();
    assert_eq!(facts, [(0, 640_000_000, false), (1, 640_000_000, false), (2, 320_000_000, true)]);
    let starts: Vec<_> =
        segments.iter().map(|s| s["start_ns"].as_u64().unwrap() - segments[0]["start_ns"].as_u64().unwrap()).collect();
    assert_eq!(starts, [0, 640_000_000, 1_280_000_000]);
    let mut importance: Vec<_> = segments.iter().map(|s| s["importance"].as_f64().unwrap()).collect();
    importance.sort_by(f64::total_cmp);
    for (got, expected) in importance.iter().zip([1.0 / 6.0, 0.5, 5.0 / 6.0]) {
        assert!((got - expected).abs() < 1e-6);
    }
    for segment in segments {
        let frames: Vec<f64> =
            segment["frame_scores"].as_array().unwrap().iter().map(|f| f.as_f64().unwrap()).collect();
        assert_eq!(frames.len(), 16);
        let mean = frames.iter().sum::<f64>() / 16.0;
        assert!((mean / segment["score"].as_f64().unwrap() - 1.0).abs() < 1e-5);
        assert_eq!(segment["category"], auto["category"]);
    }
    // A named category, and the forms: `weighted` is the probability times `logit`.
    let logit = score(&["--category", "sailing", "--importance", "logit"]);
    let weighted = score(&["--category", "sailing", "--importance", "weighted"]);
    assert_eq!(logit["category"], "sailing");
    for (l, w) in logit["segments"].as_array().unwrap().iter().zip(weighted["segments"].as_array().unwrap()) {
        let expected = l["score"].as_f64().unwrap() * l["confidence"].as_f64().unwrap();
        assert!((w["score"].as_f64().unwrap() / expected - 1.0).abs() < 1e-5);
    }
    // The same at every run, and into a file as to standard output.
    let file = folder.path().join("scores.json");
    let output =
        desumnet(&["score", text(&video), "--json", text(&file), "--model", text(&model), "--precision", "f32"]);
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&std::fs::read_to_string(file).unwrap()).unwrap(), auto);
}

#[test]
fn score_names_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let model = common::tiny_model(folder.path());
    let score =
        |video: &str, more: &[&str]| failure(&desumnet(&[&["score", video, "--model", text(&model)], more].concat()));
    let error = score("no/such/video.mp4", &[]);
    assert!(error.contains("no/such/video.mp4: no such file"), "{error}");

    let sound = folder.path().join("sound.ogg");
    common::launch(&format!(
        "audiotestsrc num-buffers=20 ! vorbisenc ! oggmux ! filesink location={}",
        sound.display()
    ));
    let error = score(text(&sound), &[]);
    assert!(error.contains("has no video stream; give a file with a picture"), "{error}");

    let noise = folder.path().join("noise.mp4");
    std::fs::write(&noise, "not a video at all").unwrap();
    let error = score(text(&noise), &[]);
    assert!(error.contains("can't be decoded"), "{error}");

    let video = folder.path().join("ball.mp4");
    common::render(&video, "ball", 20);
    let error = score(text(&video), &["--category", "juggling"]);
    assert!(error.contains("category `juggling` is none of the model's: use auto or one of jumping"), "{error}");
    let error = score(text(&video), &["--precision", "f16", "--device", "cpu"]);
    assert!(error.contains("precision f16 needs a CUDA device"), "{error}");
    let error = score(text(&video), &["--json", "no/such/folder/scores.json"]);
    assert!(error.contains("can't be written"), "{error}");
    let output = desumnet(&["score", text(&video), "--precision", "f64"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("use one of auto, f32, bf16, f16"));
}

#[test]
fn demo_names_what_is_wrong_with_the_video_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--example", "demo"])
        .args((!cfg!(debug_assertions)).then_some("--release"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(built.success());
    let program = Path::new(env!("CARGO_BIN_EXE_desumnet")).with_file_name("examples").join("demo");
    let sound = folder.path().join("sound.ogg");
    common::launch(&format!(
        "audiotestsrc num-buffers=20 ! vorbisenc ! oggmux ! filesink location={}",
        sound.display()
    ));
    for (video, reason) in [
        ("sound.ogg", "sound.ogg has no video stream; give a file with a picture"),
        ("none.mp4", "none.mp4: no such file"),
    ] {
        let output = Command::new(&program).arg(video).current_dir(folder.path()).output().unwrap();
        let said = failure(&output);
        assert!(said.contains(reason), "{said}");
        assert_eq!(std::fs::read_dir(folder.path().join("out")).unwrap().count(), 0);
    }
}
