//! A network in TorchScript: the program loads libtorch for it, and says what to install where that is not there.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use desumnet_engine::{
    importance::{Aggregation, Form},
    network::{Device, Precision},
};
use desumnet_frames::segmenter::Stride;
use serde_json::{Value, json};
use test_support::{failure, init, render, text};

/// `training_mode.pt`, which takes two frames of 16 x 16, with what it takes beside it.
fn network(folder: &Path) -> PathBuf {
    let path = folder.join("own.pt");
    fs::copy(Path::new(test_support::ROOT).join("crates/test-support/data/training_mode.pt"), &path).unwrap();
    let told = json!({ "categories": ["a", "b"], "clip_length": 2, "size": 16, "mean": [0, 0, 0], "std": [1, 1, 1] });
    fs::write(path.with_extension("json"), told.to_string()).unwrap();
    path
}

fn score(program: &Path, video: &Path, model: &Path, json: &Path) -> Output {
    let arguments =
        ["score", text(video), "--no-cache", "--model", text(model), "--device", "cpu", "--json", text(json)];
    Command::new(program).args(arguments).args(["--importance", "weighted"]).output().unwrap()
}

#[test]
fn libtorch_is_loaded_when_a_model_asks_for_it() {
    init();
    let folder = tempfile::tempdir().unwrap();
    let [video, json, program] = ["ball.mp4", "scores.json", "desumnet"].map(|name| folder.path().join(name));
    let model = network(folder.path());
    render(&video, "ball", 20);
    fs::copy(env!("CARGO_BIN_EXE_desumnet"), &program).unwrap();
    let said = failure(&score(&program, &video, &model, &json));
    for part in ["TorchScript", "no libdesumnet_torch.so beside", "gst-plugin-desumnet-torch", "make build"] {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }
    // `cargo test` builds it beside the tests.
    let library = std::env::current_exe().unwrap().with_file_name("libdesumnet_torch.so");
    fs::copy(library, folder.path().join("libdesumnet_torch.so")).unwrap();
    let output = score(&program, &video, &model, &json);
    assert!(output.status.success(), "{output:?}");
    let scores: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    let options = desumnet_offline::Options {
        model,
        device: Device::Cpu,
        precision: Precision::Auto,
        category: "auto".into(),
        form: Form::Weighted,
        aggregation: Aggregation::Mean,
        stride: Stride::Auto,
        interval: 1,
    };
    // In this process, which links it.
    let expected = desumnet_offline::score(text(&video), &options, |_| {}).unwrap();
    let segments = scores["segments"].as_array().unwrap();
    assert_eq!((segments.len(), expected.segments.len()), (10, 10));
    for (segment, expected) in segments.iter().zip(&expected.segments) {
        let (got, expected) = (segment["score"].as_f64().unwrap(), f64::from(expected.score));
        assert!(expected > 0.0 && (got / expected - 1.0).abs() < 1e-5, "{got} {expected}");
    }
    // What it says of a damaged file comes through.
    fs::write(folder.path().join("own.pt"), b"PK\x03\x04 and no more").unwrap();
    let said = failure(&score(&program, &video, &folder.path().join("own.pt"), &json));
    assert!(said.contains("can't be loaded as TorchScript") && said.contains("export it again"), "{said}");
}
