//! `desumnet teach`: a head of one marked moment finds the others, and is a model like any other.

use std::{
    path::Path,
    process::{Command, Output},
};

use gst::prelude::*;
use gstdesumnet::meta::MESSAGE_NAME;
use test_support::{failure, scenes, scoring, text, tiny_model};

fn desumnet(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_desumnet")).args(args).output().unwrap()
}

fn said(args: &[&str]) -> String {
    let output = desumnet(args);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A black picture, with snow from 6 to 10 s and from 18 to 22 s.
fn snow(path: &Path) {
    scenes(path, &[("black", 150), ("snow", 100), ("black", 200), ("snow", 100), ("black", 150)]);
}

/// Start of each segment, s, its score and its category.
fn scores(video: &str, head: &str) -> Vec<(f64, f64, String)> {
    let document = said(&["score", video, "--model", head, "--json", "-", "--no-cache"]);
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    let segments = document["segments"].as_array().unwrap().iter();
    let number = |value: &serde_json::Value| value.as_f64().unwrap();
    segments
        .map(|s| (number(&s["start_ns"]) / 1e9, number(&s["score"]), s["category"].as_str().unwrap().into()))
        .collect()
}

#[test]
fn one_marked_moment_finds_the_others_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let [video, head, marks] = ["snow.mp4", "snow.head", "marks.jsonl"].map(|name| folder.path().join(name));
    snow(&video);
    let model = tiny_model(folder.path());
    let [part, none] = ["6-10", "11-17"].map(|span| format!("{}@{span}", text(&video)));
    let told = said(&["teach", "--like", &part, "--unlike", &none, "-o", text(&head), "--model", text(&model)]);
    assert!(told.contains("learned from 6 segments that are wanted and 9 that are not"), "{told}");
    assert!(told.contains("an average precision of 1.00"), "{told}");
    assert!(std::fs::metadata(&head).unwrap().len() < 64 << 10);
    let scores = scores(text(&video), text(&head));
    for &(start, score, ref category) in &scores {
        // A segment is 0.64 s long; some are of both.
        let within = |from: f64, until: f64| start >= from && start + 0.64 <= until;
        if within(6.0, 10.0) || within(18.0, 22.0) {
            assert!(score > 0.5, "{start}: {score}");
        } else if within(0.0, 6.0) || within(10.0, 18.0) || within(22.0, 28.0) {
            assert!(score < 0.5, "{start}: {score}");
        }
        assert_eq!(category, "snow");
    }
    // The element scores the same.
    let pipeline = scoring::pipeline(&format!(
        "filesrc location={} ! decodebin ! videoconvert ! desumnet model={} post-messages=true map=true ! fakesink",
        text(&video),
        text(&head)
    ));
    let (sender, messages) = std::sync::mpsc::channel();
    pipeline.bus().unwrap().set_sync_handler(move |_, message| {
        if let Some(told) = message.structure().filter(|told| told.name() == MESSAGE_NAME) {
            let of = |name: &str| told.get::<f64>(name).unwrap();
            sender.send((of("score"), of("confidence"), told.get::<String>("category").unwrap())).unwrap();
        }
        gst::BusSyncReply::Pass
    });
    pipeline.set_state(gst::State::Playing).unwrap();
    scoring::wait_for_eos(&pipeline);
    pipeline.set_state(gst::State::Null).unwrap();
    let messages: Vec<(f64, f64, String)> = messages.try_iter().collect();
    assert_eq!(messages.len(), scores.len());
    for ((score, confidence, category), (start, expected, _)) in messages.iter().zip(&scores) {
        assert!((score - expected).abs() < 1e-4, "{start}: {score} {expected}");
        assert_eq!((score, category.as_str()), (confidence, "snow"));
    }
    // Marks of the report page, of both kinds, and a page of what it would pick.
    let line = |start: u32, end: u32, like: bool| {
        serde_json::json!({"video": text(&video), "start": start, "end": end, "like": like}).to_string()
    };
    std::fs::write(&marks, [line(18, 22, true), line(12, 17, false)].join("\n")).unwrap();
    let pages = folder.path().join("pages");
    let told = said(&[
        "teach",
        "--like",
        text(&marks),
        "-o",
        text(&head),
        "--model",
        text(&model),
        "--name",
        "some snow",
        "--report",
        text(&pages),
    ]);
    assert!(told.contains("learned from 6 segments that are wanted and 8 that are not"), "{told}");
    let best: Vec<&str> = told.lines().filter(|line| line.starts_with("  0:")).take(2).collect();
    assert!(["0:06.0 to", "0:18.0 to"].iter().all(|shot| best.iter().any(|line| line.contains(shot))), "{told}");
    assert!(std::fs::read_to_string(pages.join("snow.html")).unwrap().contains("some snow"));
}

#[test]
fn what_teaches_nothing_is_said_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let [video, head] = ["snow.mp4", "x.head"].map(|name| folder.path().join(name));
    scenes(&video, &[("black", 50), ("snow", 50)]);
    let model = tiny_model(folder.path());
    let teach = |like: &str, model: &Path| {
        failure(&desumnet(&["teach", "--like", like, "-o", text(&head), "--model", text(model)]))
    };
    let whole = teach(text(&video), &model);
    assert!(
        whole.contains("snow.mp4 nothing is left beside what is wanted")
            && whole.contains("give --unlike, or mark a part"),
        "{whole}"
    );
    let late = teach(&format!("{}@60-70", text(&video)), &model);
    assert!(late.contains("no picture between 60.0 s and 70.0 s: mark a part of the video"), "{late}");
    assert!(!head.exists());
    let part = format!("{}@2-4", text(&video));
    // Of marks that overlap, the shorter one has the word.
    let told = said(&["teach", "--like", &part, "--unlike", text(&video), "-o", text(&head), "--model", text(&model)]);
    assert!(told.contains("learned from 3 segments that are wanted and 3 that are not"), "{told}");
    let both = ["teach", "--like", &part, "--unlike", &part, "-o", text(&head), "--model", text(&model)];
    let both = failure(&desumnet(&both));
    assert!(
        both.contains("marked as wanted and as unwanted from 2.0 s to 4.0 s: leave one of the marks out"),
        "{both}"
    );
    let twice = teach(&part, &head);
    assert!(twice.contains("x.head is a head: a head is taught on a model"), "{twice}");
    // A model that has changed since is not its own.
    std::fs::write(&model, "other").unwrap();
    let lost = failure(&desumnet(&["score", text(&video), "--model", text(&head)]));
    assert!(lost.contains("belongs to model") && lost.contains("put it beside the head, or teach anew"), "{lost}");
}
