//! What `desumnet` says when it can't work: the thing that is wrong, and what to do about it.

use std::path::{Path, PathBuf};

use desumnet_engine::network::{Array, Model, Storage, backend};
use gst::prelude::*;
use gstdesumnet::meta::Flags;
use test_support::{scoring::*, tiny_network};

/// Asserts that the element does not start with these properties, and that its error names all of this.
fn assert_refused(properties: &[(&str, &str)], named: &[&str]) {
    let element = desumnet(properties);
    let bus = gst::Bus::new();
    element.set_bus(Some(&bus));
    assert!(element.set_state(gst::State::Ready).is_err());
    let message = bus.pop_filtered(&[gst::MessageType::Error]).expect("an error message");
    let gst::MessageView::Error(error) = message.view() else { unreachable!() };
    let text = error.error().to_string();
    for part in named {
        assert!(text.contains(part), "`{text}` lacks `{part}`");
    }
    assert!(bus.pop_filtered(&[gst::MessageType::Error]).is_none(), "one error is enough");
    element.set_state(gst::State::Null).unwrap();
}

/// Asserts that a model file of this content is refused.
fn assert_model_refused(content: &[u8], named: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.safetensors");
    std::fs::write(&path, content).unwrap();
    assert_refused(&[("model", path.to_str().unwrap())], &[named, &[path.to_str().unwrap()]].concat());
}

/// A model file made by changing the tiny network.
fn changed_model(folder: &Path, change: impl FnOnce(&mut Model)) -> PathBuf {
    let mut network = tiny_network(1);
    change(&mut network);
    let path = folder.join("changed.safetensors");
    network.save(&path, Storage::F32).unwrap();
    path
}

#[test]
fn missing_model() {
    let path = "/nowhere/desumnet.safetensors";
    assert_refused(&[("model", path)], &[path, "can't be read", "No such file", "set `model`", "desumnet-train"]);
}

#[test]
fn truncated_model() {
    let whole = std::fs::read(model()).unwrap();
    assert_model_refused(&whole[..whole.len() / 2], &["cut short", "copy or download it again"]);
}

#[test]
fn file_that_is_no_safetensors() {
    let text = "This is a shopping list, not a model. ".repeat(100);
    assert_model_refused(
        text.as_bytes(),
        &["is not a safetensors file", "set `model` to a file made by desumnet-train"],
    );
}

#[test]
fn model_of_another_shape() {
    let folder = tempfile::tempdir().unwrap();
    let path = changed_model(folder.path(), |network| {
        network.layers[0].weight = Array { shape: vec![4, 1, 3, 3, 3], values: vec![0.0; 108] };
    });
    let named = ["conv1.weight", "[4, 1, 3, 3, 3]", "belongs to another network", "desumnet-train"];
    assert_refused(&[("model", path.to_str().unwrap())], &named);
}

#[test]
fn unknown_category() {
    let named = ["category `diving`", "use auto or one of jumping, cooking, sailing"];
    assert_refused(&[("category", "diving")], &named);
}

#[test]
fn cuda_that_is_not_there() {
    if backend::gpus().is_ok() {
        assert_refused(&[("device", "cuda:999")], &["GPU 999", "device=auto"]);
    } else {
        assert_refused(&[("device", "cuda")], &["no CUDA on this machine", "device=cpu", "make setup CUDA=1"]);
    }
}

#[test]
fn device_that_is_none() {
    assert_refused(&[("device", "gpu")], &["device `gpu`", "use auto, cpu, cuda or cuda:N"]);
}

#[test]
fn half_precision_on_a_processor() {
    assert_refused(&[("precision", "f16")], &["precision f16", "CUDA", "precision=f32 or bf16"]);
}

#[test]
fn picture_of_one_pixel() {
    let pipeline = pipeline("videotestsrc ! video/x-raw,format=RGB,width=1,height=1 ! desumnet ! fakesink");
    // The error may come before or after the state change returns.
    let _ = pipeline.set_state(gst::State::Playing);
    let patience = gst::ClockTime::try_from(PATIENCE).unwrap();
    let message = pipeline.bus().unwrap().timed_pop_filtered(patience, &[gst::MessageType::Error]).unwrap();
    let gst::MessageView::Error(error) = message.view() else { unreachable!() };
    let text = error.error().to_string();
    assert_eq!(message.src().unwrap().name(), "desumnet");
    assert!(text.contains("1x1") && text.contains("at least 2x2") && text.contains("scale it up"), "{text}");
    pipeline.set_state(gst::State::Null).unwrap();
}

#[test]
fn mended_settings_work_after_an_error() {
    let element = desumnet(&[("category", "diving")]);
    assert!(element.set_state(gst::State::Playing).is_err());
    element.set_state(gst::State::Null).unwrap();
    element.set_property("category", "sailing");
    let info = usual_info();
    let mut rig = Rig::around(element, &info, false);
    rig.push(&pictures(&info, 0..16));
    assert_eq!(metas(&rig.finish_buffers())[0].category, "sailing");
}

#[test]
fn segments_that_fail_pass_flagged_with_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    // Every weight is finite, and the scores are not.
    let path = changed_model(folder.path(), |network| {
        for layer in &mut network.layers {
            layer.weight.values.iter_mut().for_each(|weight| *weight *= 1e30);
        }
    });
    let info = usual_info();
    let pictures = pictures(&info, 0..20);
    let mut rig = Rig::new(&info, &[("model", path.to_str().unwrap())]);
    rig.push(&pictures);
    let out = rig.finish_buffers();
    let failed = Flags::FAILED | Flags::UNSCORED;
    let flags: Vec<Flags> = metas(&out).iter().map(|meta| meta.flags).collect();
    assert_eq!(flags, [vec![failed; 16], vec![failed | Flags::PADDED; 4]].concat());
    assert_eq!((rig.stat("segments"), rig.stat("failed")), (2, 2));
    let message = rig.bus.pop_filtered(&[gst::MessageType::Warning]).expect("a warning");
    let gst::MessageView::Warning(warning) = message.view() else { unreachable!() };
    let text = warning.error().to_string();
    assert!(text.contains("could not be scored") && text.contains("use precision=f32 or another model"), "{text}");
}
