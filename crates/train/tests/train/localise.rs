//! `desumnet-train localise` on composites of still and of noisy clips, with a small model.

use std::{
    path::Path,
    process::{Command, Output},
};

use desumnet_train::training::compose::Composite;
use test_support::{failure, text};

const METHODS: [&str; 8] =
    ["weighted", "logit", "probability", "confidence", "unusual", "hindsight", "motion", "random"];

fn train(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_desumnet-train")).args(arguments).output().unwrap()
}

/// A composite of 100 frames of each of these categories, 48 of them its own; the clips are noise but for jumping's still one.
fn compose(folder: &Path, categories: [&str; 2]) {
    let data = folder.join("data");
    for category in categories {
        let clips = data.join(category);
        std::fs::create_dir_all(&clips).unwrap();
        let pattern = if category == "jumping" { "solid-color" } else { "snow" };
        test_support::render(&clips.join("clip.mp4"), pattern, 60);
    }
    let made = train(
        &[
            &["compose", "--data", text(&data), "--output", text(&folder.join("made")), "--per-category", "1"][..],
            &["--length", "4", "--relevant", "0.48", "--size", "64x48"],
        ]
        .concat(),
    );
    assert!(made.status.success(), "{made:?}");
}

fn near(got: &serde_json::Value, expected: f64) {
    assert!((got.as_f64().unwrap() - expected).abs() < 1e-9, "{got}, {expected} expected");
}

#[test]
fn segments_are_ranked_by_every_method() {
    let folder = tempfile::tempdir().unwrap();
    let (model, composites) = (test_support::tiny_model(folder.path()), folder.path().join("made"));
    compose(folder.path(), ["jumping", "sailing"]);
    let given = ["localise", "--model", text(&model), "--composites", text(&composites), "--precision", "f32"];
    let localise = |more: &[&str]| {
        let output = train(&[&given[..], more].concat());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let document = localise(&["--json", "-"]);
    let result: serde_json::Value = serde_json::from_str(&document).unwrap();
    assert_eq!((&result["model"], &result["composites"]), (&text(&model).into(), &text(&composites).into()));
    // 100 frames are six segments of 16 and one of 4.
    assert_eq!((&result["videos"], &result["segments"]), (&2.into(), &14.into()));
    let videos = result["per_video"].as_array().unwrap();
    let (mut relevant_in_all, mut motion) = (0.0, Vec::new());
    for (video, category) in videos.iter().zip(["jumping", "sailing"]) {
        let name = format!("{category}/{category}_01");
        assert_eq!((&video["video"], &video["category"]), (&format!("{name}.mp4").into(), &category.into()));
        assert_eq!(video["segments"], 7);
        let document = std::fs::read(composites.join(name + ".json")).unwrap();
        let composite: Composite = serde_json::from_slice(&document).unwrap();
        // By the frames: the parts are two, of 48 and 52 frames.
        let own = composite.parts.iter().find(|part| part.relevant).unwrap();
        let frames: Vec<u32> = (own.first_frame..own.first_frame + own.frames).collect();
        let relevant = (0..7).filter(|segment| {
            let segment: Vec<u32> = (segment * 16..(segment * 16 + 16).min(100)).collect();
            2 * segment.iter().filter(|frame| frames.contains(frame)).count() >= segment.len()
        });
        let relevant = relevant.count() as f64;
        assert!([3.0, 4.0].contains(&relevant));
        relevant_in_all += relevant;
        near(&video["relevant_share"], relevant / 7.0);
        for method in METHODS {
            assert!((0.0..=1.0).contains(&video["ap"][method].as_f64().unwrap()), "{video}");
        }
        // All noisy segments move more than all still ones: relevant ones come first for sailing, last for jumping.
        let ap = match category {
            "sailing" => 1.0,
            _ => (1..=relevant as u32).map(|k| f64::from(k) / (7.0 - relevant + f64::from(k))).sum::<f64>() / relevant,
        };
        near(&video["ap"]["motion"], ap);
        motion.push(ap);
        let harmonic: f64 = (1..=7).map(|k| 1.0 / f64::from(k)).sum();
        near(&video["ap"]["random"], (harmonic + (relevant - 1.0) / 6.0 * (7.0 - harmonic)) / 7.0);
    }
    near(&result["relevant_share"], relevant_in_all / 14.0);
    near(&result["ap"]["motion"]["mean"], (motion[0] + motion[1]) / 2.0);
    near(&result["ap"]["motion"]["std"], (motion[0] - motion[1]).abs() / 2.0f64.sqrt());
    assert_eq!(result["ap"].as_object().unwrap().len(), METHODS.len());

    // The same at every run, and in a file.
    let file = folder.path().join("result.json");
    assert_eq!(localise(&["--json", text(&file)]), "");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), document);
    // One video of no category, whose spans a person wrote down; its first second is not ranked.
    let written = composites.join("camera.json");
    let document = r#"{"video": "sailing/sailing_01.mp4", "relevant": [{"start_s": 1.2, "end_s": 3}]}"#;
    std::fs::write(&written, document).unwrap();
    let one = ["localise", "--model", text(&model), "--composites", text(&written), "--from", "1"];
    let output = train(&[&one[..], &["--json", "-"]].concat());
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let video = &result["per_video"][0];
    assert_eq!((&video["category"], video["segments"].as_u64()), (&serde_json::Value::Null, Some(5)));
    near(&video["relevant_share"], 0.6);
    std::fs::write(&written, "{}").unwrap();
    let refused = String::from_utf8(train(&one).stderr).unwrap();
    assert!(refused.contains("camera.json can't be read: missing field `video`"), "{refused}");
    std::fs::remove_file(&written).unwrap();
    // Segments 0, 2, 4 and 6 of each video.
    let sparse: serde_json::Value = serde_json::from_str(&localise(&["--json", "-", "--interval", "2"])).unwrap();
    assert_eq!((&sparse["segments"], &sparse["per_video"][0]["segments"]), (&8.into(), &4.into()));
    let table = localise(&[]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 5, "{table}");
    let heading: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(heading[3..], METHODS);
    assert!(lines[2].starts_with("sailing/sailing_01.mp4        7"), "{table}");
    assert!(lines[3].starts_with("mean") && lines[4].starts_with("std"), "{table}");
}

#[test]
fn equal_segments_rank_as_by_chance() {
    let folder = tempfile::tempdir().unwrap();
    let model = test_support::tiny_model(folder.path());
    let videos = folder.path().join("made/cooking");
    std::fs::create_dir_all(&videos).unwrap();
    test_support::render(&videos.join("still.mp4"), "solid-color", 40);
    let document = |relevant: &str| {
        format!(
            r#"{{"video": "still.mp4", "category": "cooking", "frame_rate": [25, 1], "frames": 40,
                "duration_ns": 1600000000, "parts": [{{"source": "cooking/a.mp4", "category": "cooking", "first_frame": 0,
                "frames": 40, "start_ns": 0, "duration_ns": 1600000000, "relevant": true}}], "relevant": [{relevant}]}}"#
        )
    };
    let localise = |relevant: &str| {
        std::fs::write(videos.join("still.json"), document(relevant)).unwrap();
        let composites = folder.path().join("made");
        train(&["localise", "--model", text(&model), "--composites", text(&composites), "--json", "-"])
    };
    let result: serde_json::Value =
        serde_json::from_slice(&localise(r#"{"start_ns": 0, "duration_ns": 320000000}"#).stdout).unwrap();
    near(&result["relevant_share"], 1.0 / 3.0);
    for method in METHODS {
        near(&result["ap"][method]["mean"], (1.0 + 1.0 / 2.0 + 1.0 / 3.0) / 3.0);
        near(&result["ap"][method]["std"], 0.0);
    }
    // Nobody reads.
    let closed = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        writer
    };
    let left = Command::new(env!("CARGO_BIN_EXE_desumnet-train"))
        .args(["localise", "--model", text(&model), "--composites", text(&folder.path().join("made"))])
        .stdout(closed())
        .stderr(closed())
        .status();
    assert_eq!(left.unwrap().code(), Some(128 + 13));
    // A frame less than half of the first segment.
    let error = failure(&localise(r#"{"start_ns": 0, "duration_ns": 280000000}"#));
    assert!(error.contains("none of the scored segments is relevant"), "{error}");
}

#[test]
fn wrong_composites_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (model, made) = (test_support::tiny_model(folder.path()), folder.path().join("made"));
    let localise = || failure(&train(&["localise", "--model", text(&model), "--composites", text(&made)]));
    assert!(localise().contains("made can't be read"));
    compose(folder.path(), ["jumping", "juggling"]);
    let error = localise();
    assert!(error.contains("juggling_01.json is of the category `juggling`, which the model does not know"), "{error}");
    assert!(error.contains("knows jumping, cooking, sailing"), "{error}");
    std::fs::remove_dir_all(made.join("juggling")).unwrap();
    std::fs::remove_file(made.join("jumping/jumping_01.mp4")).unwrap();
    let error = localise();
    assert!(error.contains("jumping_01.mp4: no such file; check the path"), "{error}");
    std::fs::write(made.join("jumping/jumping_01.json"), "{}").unwrap();
    let error = localise();
    assert!(error.contains("jumping_01.json does not describe a composite: missing field `video`"), "{error}");
    std::fs::remove_file(made.join("jumping/jumping_01.json")).unwrap();
    assert!(localise().contains("made holds no composites; make some with `desumnet-train compose`"));
}
