//! The model file: what is written is read, and each way to be wrong has its own message.

use std::path::Path;

use desumnet_engine::network::{LAYERS, Model, ModelError, Storage};
use safetensors::{Dtype, SafeTensors};

#[test]
fn what_is_written_is_read_in_all_three_kinds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.safetensors");
    let model = test_support::tiny_network(7);
    for (storage, close) in [(Storage::F32, 0.0), (Storage::F16, 1e-3), (Storage::Bf16, 8e-3)] {
        model.save(&path, storage).unwrap();
        let read = Model::load(&path).unwrap();
        assert_eq!((&read.header, read.storage), (&model.header, storage));
        for (name, (a, b)) in LAYERS.iter().zip(model.layers.iter().zip(&read.layers)) {
            for (a, b) in [(&a.weight, &b.weight), (&a.bias, &b.bias)] {
                assert_eq!(a.shape, b.shape);
                let most =
                    |values: &mut dyn Iterator<Item = f32>| values.fold(0.0, |most: f32, value| most.max(value.abs()));
                let apart = most(&mut a.values.iter().zip(&b.values).map(|(a, b)| a - b));
                assert!(apart <= close * most(&mut a.values.iter().copied()), "{name} {storage:?}: {apart}");
            }
        }
    }
}

#[test]
fn others_find_the_tensors_and_the_header_by_their_documented_names() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(test_support::tiny_model(folder.path())).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let header = metadata.metadata().clone().unwrap();
    let value = |key: &str| serde_json::from_str::<serde_json::Value>(&header[key]).unwrap();
    assert_eq!((value("format"), value("version")), ("desumnet".into(), 1.into()));
    assert_eq!(value("categories"), serde_json::json!(test_support::CATEGORIES));
    assert_eq!(value("clip"), serde_json::json!({ "frames": 16, "width": 171, "height": 128, "crop": 112 }));
    assert_eq!(value("mean"), serde_json::json!([99.0, 91.5, 83.0]));
    let file = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.len(), 16);
    assert_eq!(file.tensor("conv2.weight").unwrap().shape(), [6, 4, 3, 3, 3]);
    assert_eq!(file.tensor("fc6.weight").unwrap().shape(), [16, 8 * 16]);
    assert_eq!(file.tensor("fc8.bias").unwrap().shape(), [3]);
}

/// A copy of the tiny model with its tensors and its header changed.
fn altered(
    folder: &Path,
    tensors: impl Fn(&str, Vec<usize>, Vec<u8>) -> Option<(Vec<usize>, Vec<u8>)>,
    header: impl Fn(&mut std::collections::HashMap<String, String>),
) -> std::path::PathBuf {
    let bytes = std::fs::read(test_support::tiny_model(folder)).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut metadata = SafeTensors::read_metadata(&bytes).unwrap().1.metadata().clone().unwrap();
    header(&mut metadata);
    let kept: Vec<(String, Vec<usize>, Vec<u8>)> = file
        .iter()
        .filter_map(|(name, view)| {
            let (shape, data) = tensors(name, view.shape().to_vec(), view.data().to_vec())?;
            Some((name.to_string(), shape, data))
        })
        .collect();
    let views = kept.iter().map(|(name, shape, data)| {
        (name.as_str(), safetensors::tensor::TensorView::new(Dtype::F32, shape.clone(), data).unwrap())
    });
    let path = folder.join("altered.safetensors");
    std::fs::write(&path, safetensors::serialize(views, Some(metadata)).unwrap()).unwrap();
    path
}

fn message(path: &Path) -> String {
    let error = Model::load(path).expect_err("this file must not load");
    let text = error.to_string();
    assert!(text.contains(&path.display().to_string()), "{text}");
    text
}

#[test]
fn each_wrong_file_is_named_with_reason_and_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let same = |_: &str, shape, data| Some((shape, data));
    let contains = |text: String, parts: &[&str]| {
        for part in parts {
            assert!(text.contains(part), "`{part}` is not in: {text}");
        }
    };

    contains(message(&folder.join("none.safetensors")), &["can't be read", "No such file", "set `model`"]);

    let whole = std::fs::read(test_support::tiny_model(folder)).unwrap();
    let cut = folder.join("cut.safetensors");
    for length in [0, 5, 100, whole.len() - 1] {
        std::fs::write(&cut, &whole[..length]).unwrap();
        contains(message(&cut), &["cut short", "again", &format!("{length} bytes")]);
    }

    let other = folder.join("other.safetensors");
    std::fs::write(&other, "this is a text, and a rather long one at that").unwrap();
    contains(message(&other), &["not a safetensors file", "desumnet-train"]);

    let path = altered(folder, same, |header| header.clear());
    contains(message(&path), &["not a DeSumNet model", "no `format`"]);
    let path = altered(folder, same, |header| drop(header.insert("version".into(), "2".into())));
    contains(message(&path), &["format version 2", "reads version 1"]);
    for (field, value, reason) in [
        ("std", "[1, 0, 1]", "`std` is [1.0, 0.0, 1.0], and pixels have 0.01 to 10000"),
        ("std", "[1, 1e-300, 1]", "`std` is [1.0, 1e-300, 1.0], and pixels have"),
        ("std", "[1, -1, 1]", "`std` is"),
        ("std", "[1, 1e300, 1]", "`std` is"),
        ("std", "[1, NaN, 1]", "`std` can't be read"),
        ("std", "[1, 1e999, 1]", "`std` can't be read"),
        ("std", "[1, 1]", "`std` can't be read"),
        ("mean", "[1, -1, 1]", "`mean` is [1.0, -1.0, 1.0], and pixels have 0 to 255"),
        ("mean", "[1, 1e300, 1]", "`mean` is"),
        ("categories", r#"["diving", "rowing", "diving"]"#, "`categories` has `diving` twice"),
        ("categories", r#"["diving", " ", "rowing"]"#, "`categories` has one without a name"),
        ("categories", "[]", "`categories` is empty"),
        ("clip", r#"{"frames": 16, "width": 171, "height": 0, "crop": 112}"#, "its clips are"),
    ] {
        let path = altered(folder, same, |header| drop(header.insert(field.into(), value.into())));
        contains(message(&path), &[reason, "set `model` to a file made by desumnet-train"]);
    }

    let path = altered(folder, |name, s, d| (name != "fc7.bias").then_some((s, d)), |_| {});
    contains(message(&path), &["lacks tensor fc7.bias"]);
    let path = altered(
        folder,
        |name, shape, data| Some((if name == "conv3.weight" { vec![6, 8, 3, 3, 3] } else { shape }, data)),
        |_| {},
    );
    contains(message(&path), &["conv3.weight", "[6, 8, 3, 3, 3]", "expected [any number, 6, 3, 3, 3]"]);
    let path = altered(folder, same, |header| drop(header.insert("categories".into(), r#"["one"]"#.into())));
    contains(message(&path), &["fc8.weight", "expected [1 (one a category), 16]"]);

    let nan = |name: &str, shape, mut data: Vec<u8>| {
        if name == "conv1.bias" {
            data[..4].copy_from_slice(&f32::NAN.to_le_bytes());
        }
        Some((shape, data))
    };
    contains(message(&altered(folder, nan, |_| {})), &["conv1.bias", "not finite"]);
}

/// Wherever a file is cut or changed, it loads or is named.
#[test]
fn damaged_files_are_named_and_nothing_panics() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(test_support::tiny_model(folder.path())).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let path = folder.path().join("damaged.safetensors");
    let tried = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        if let Err(error) = Model::load(&path) {
            assert!(error.to_string().contains("damaged.safetensors"), "{error}");
        }
    };
    for at in (0..header + 8).step_by(3) {
        tried(&bytes[..at]);
        for flip in [1, 0x10, 0x80] {
            let mut damaged = bytes.clone();
            damaged[at] ^= flip;
            tried(&damaged);
        }
    }
}

#[test]
fn a_model_that_cannot_be_written_leaves_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("no/such/folder/m.safetensors");
    let error = test_support::tiny_network(1).save(&missing, Storage::F32).unwrap_err();
    assert!(matches!(error, ModelError::Unwritable { .. }), "{error}");
    assert!(error.to_string().contains("free disk space"), "{error}");
}
