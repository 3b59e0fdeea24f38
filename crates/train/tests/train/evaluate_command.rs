//! `desumnet-train evaluate` as people use it: scores of their own, features of their own, and the network on videos.

use std::{fs, path::Path, process::Command};

use desumnet_train::training::compose::Composite;
use serde_json::Value;
use test_support::{failure, text};

fn train(arguments: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_desumnet-train")).args(arguments).output().unwrap()
}

/// Composites `jumping/jumping_01` and `sailing/sailing_01` of 100 frames, two shots each, one of them of the category.
fn compose(folder: &Path) -> [Composite; 2] {
    for (category, pattern) in [("jumping", "solid-color"), ("sailing", "ball")] {
        let clips = folder.join("data").join(category);
        fs::create_dir_all(&clips).unwrap();
        test_support::render(&clips.join("clip.mp4"), pattern, 60);
    }
    let (data, made) = (folder.join("data"), folder.join("made"));
    let size = ["--length", "4", "--relevant", "0.48", "--size", "64x48", "--per-category", "1"];
    let made_them = train(&[&["compose", "--data", text(&data), "--output", text(&made)][..], &size].concat());
    assert!(made_them.status.success(), "{made_them:?}");
    ["jumping", "sailing"].map(|category| {
        let document = made.join(category).join(format!("{category}_01.json"));
        serde_json::from_slice(&fs::read(document).unwrap()).unwrap()
    })
}

/// A number for each frame: 1 where it is relevant.
fn truth(composite: &Composite) -> Vec<f64> {
    let parts = composite.parts.iter();
    parts.flat_map(|part| vec![f64::from(part.relevant); part.frames as usize]).collect()
}

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn evaluate(&self, more: &[&str]) -> std::process::Output {
        let made = self.folder.path().join("made");
        let mut command = Command::new(env!("CARGO_BIN_EXE_desumnet-train"));
        command.args(["evaluate", "--dataset", "composites", "--annotations", text(&made)]).args(more);
        command.current_dir(self.folder.path()).output().unwrap()
    }

    fn document(&self, more: &[&str]) -> Value {
        let output = self.evaluate(&[&["--json", "-"], more].concat());
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

#[test]
fn scores_features_and_videos_are_measured() {
    let place = Place { folder: tempfile::tempdir().unwrap() };
    let composites = compose(place.folder.path());

    // The truth itself; and its opposite, a few frames short.
    place.write("truth/jumping_01.json", &format!("{:?}", truth(&composites[0])));
    let opposite: Vec<f64> = truth(&composites[1])[..90].iter().map(|score| 1.0 - score).collect();
    place.write("truth/sailing_01.json", &format!("{opposite:?}"));
    let result = place.document(&["--scores", "truth"]);
    assert_eq!((&result["dataset"], &result["videos"]), (&"composites".into(), &2.into()));
    // One of two shots is relevant: its place is 1 or 2. Nobody but the truth judges.
    assert_eq!(result["random"]["ap5"], 0.75);
    assert!(result["humans"]["mean"]["ap5"].is_null());
    let row = &result["methods"]["scores"];
    assert_eq!((&row["ap5"], &row["ap15"], &row["videos"]), (&0.75.into(), &0.75.into(), &2.into()));
    assert_eq!(
        result["warnings"],
        serde_json::json!([
            "sailing/sailing_01: 90 frames are scored and 100 annotated; the last score holds for the rest"
        ])
    );

    // Methods on features of one's own: sailing's video has none.
    place.write("features/jumping_01.csv", "1,0\n0,1\n");
    let result = place.document(&["--features", "features", "--method", "uniform", "--method", "mbf"]);
    assert_eq!(result["methods"].as_object().unwrap().keys().collect::<Vec<_>>(), ["uniform"]);
    assert_eq!(result["methods"]["uniform"]["videos"], 1);
    let warnings = result["warnings"].to_string();
    assert!(warnings.contains("sailing/sailing_01, left out") && warnings.contains("mbf looks for"), "{warnings}");

    // The network, and a method that learns from the same videos as if they were others.
    let model = test_support::tiny_model(place.folder.path());
    let made = place.folder.path().join("made");
    let videos = ["--videos", text(&made), "--model", text(&model), "--precision", "f32"];
    let training = ["--training", text(&made), "--method", "kvs"];
    let result = place.document(&[&videos[..], &training].concat());
    let rows = result["methods"].as_object().unwrap();
    assert_eq!(
        rows.keys().collect::<Vec<_>>(),
        ["confidence", "confidence-topic", "desumnet", "desumnet-topic", "kvs", "motion", "typical", "unusual"]
    );
    assert!(rows.values().all(|row| row["videos"] == 2 && [0.5, 0.75, 1.0].contains(&row["ap5"].as_f64().unwrap())));
    assert_eq!(rows["kvs"]["ap5"], 1.0);
    // A segment's score may be its largest frame's; the network's own rows follow.
    let largest = place
        .document(&[&videos[..], &["--method", "uniform", "--aggregation", "max", "--importance", "logit"]].concat());
    assert!(largest["methods"]["desumnet"]["tau"].is_f64() && largest["methods"]["desumnet"] != rows["desumnet"]);
    let table = String::from_utf8(place.evaluate(&[&videos[..], &training].concat()).stdout).unwrap();
    assert!(table.contains("| kvs | 1.000 | 1.000 |"), "{table}");

    for (arguments, reason) in [
        (&["--scores", "features"][..], "has scores of none of the annotated videos"),
        (&["--videos", "data"], "data holds no video that is called jumping/jumping_01"),
        (&["--features", "truth"], "jumping_01.csv"),
    ] {
        let said = failure(&place.evaluate(arguments));
        assert!(said.contains(reason), "{said}");
    }
    let many: Vec<f64> = vec![0.5; 200];
    place.write("truth/sailing_01.json", &format!("{many:?}"));
    let said = failure(&place.evaluate(&["--scores", "truth"]));
    assert!(said.contains("scores 200 frames and 100 are annotated"), "{said}");
}
