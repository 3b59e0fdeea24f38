//! PyTorch weights become a model file: what fits is taken, the rest is named with its reason.

use std::{path::Path, process::Command};

use desumnet_engine::network::{Model, Network, Storage};
use desumnet_torch::{array, tensor};
use desumnet_train::training::import::{Import, ImportError, Input, import};
use tch::{Device, Kind, Tensor};

/// Of the networks in these tests.
const WIDTHS: [i64; 7] = [1, 2, 1, 2, 1, 2, 1];

fn input() -> Input {
    Input { categories: None, mean: [101.0, 97.0, 90.0], std: [1.0; 3], bgr: false }
}

fn named(names: &[&str]) -> Input {
    Input { categories: Some(names.iter().map(ToString::to_string).collect()), ..input() }
}

/// 0, 1/8, 2/8 ...
fn counting(shape: &[i64]) -> Tensor {
    Tensor::arange(shape.iter().product::<i64>(), (Kind::Float, Device::Cpu)).reshape(shape) / 8.0
}

fn write(path: &Path, tensors: &[(&str, Tensor)]) {
    Tensor::write_safetensors(tensors, path).unwrap();
}

fn error(path: &Path, input: Input) -> String {
    import(path, &WIDTHS, input).err().unwrap().to_string()
}

/// `tests/data/state_dict.pt` is what PyTorch 2.11 writes by `torch.save({"epoch": 3, "state_dict":
/// torch.nn.DataParallel(network).state_dict()})`, for a network of [`WIDTHS`] and three categories, each tensor `torch.arange(..) / 8`.
#[test]
fn a_checkpoint_of_torch_save_is_taken_whole() {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../test-support/data/state_dict.pt"));
    let Import { model, taken, left_out, random } = import(path, &WIDTHS, input()).unwrap();
    assert_eq!((taken.len(), left_out.len(), random.len()), (16, 0, 0));
    assert_eq!(taken[0], ("state_dict.module.conv1.weight".into(), "conv1.weight".into()));
    for layer in &model.layers {
        for own in [&layer.weight, &layer.bias] {
            let shape: Vec<i64> = own.shape.iter().map(|&size| size as i64).collect();
            assert_eq!(own, &array(&counting(&shape)).unwrap());
        }
    }
    assert_eq!(model.layers[5].weight.shape, [2, 16]);
    assert_eq!(model.header.categories, ["category 1", "category 2", "category 3"]);
    assert_eq!(model.header.mean, [101.0, 97.0, 90.0]);
    assert_eq!(model.header.provenance["file"], "state_dict.pt");
    assert_eq!(model.header.provenance["random_layers"], serde_json::json!([]));

    let turned = import(path, &WIDTHS, Input { bgr: true, ..named(&["a", "b", "c"]) }).unwrap().model;
    let weight = counting(&[1, 3, 3, 3, 3]);
    let red = tensor(&turned.layers[0].weight).unwrap().select(1, 0);
    assert_eq!(red, weight.select(1, 2));
    assert_eq!(turned.layers[1].weight, model.layers[1].weight);
    assert_eq!(turned.header.categories, ["a", "b", "c"]);
}

#[test]
fn what_does_not_fit_is_named_and_stays_random() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c3d.safetensors");
    let nan = counting(&[2, 1, 3, 3, 3]) * f64::NAN;
    write(
        &path,
        &[
            ("conv1.weight", counting(&[1, 3, 3, 3, 3]).to_kind(Kind::Half)),
            ("conv2.weight", nan),
            ("conv2.bias", counting(&[2])),
            ("conv3a.weight", counting(&[1, 2, 3, 3, 3])),
            ("conv3a.bias", counting(&[4])),
            ("conv3b.weight", counting(&[1, 1, 3, 3, 3])),
            ("conv4a.weight", counting(&[4, 1, 3, 3, 3])),
            ("fc6.weight", counting(&[2, 16]).to_kind(Kind::Int64)),
            ("fc8.weight", counting(&[5, 9])),
            ("bn1.num_batches_tracked", counting(&[1])),
        ],
    );
    let imported = import(&path, &WIDTHS, input()).unwrap();
    let taken: Vec<_> = imported.taken.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    assert_eq!(taken, [("conv1.weight", "conv1.weight"), ("conv3a.weight", "conv3.weight")]);
    let left_out: Vec<_> = imported.left_out.iter().map(|(name, reason)| (name.as_str(), reason.as_str())).collect();
    let expected = [
        ("bn1.num_batches_tracked", "this network has no such layer"),
        ("conv2.bias", "conv2.weight was not taken"),
        ("conv2.weight", "it holds values that are not finite numbers"),
        ("conv3a.bias", "its shape is [4] where [1] is needed"),
        ("conv3b.weight", "this network has no such layer"),
        ("conv4a.weight", "its shape is [4, 1, 3, 3, 3] where [2, 1, 3, 3, 3] is needed"),
        ("fc6.weight", "its values are not floating-point numbers"),
        ("fc8.weight", "its shape is [5, 9] where [5, 1] is needed"),
    ];
    assert_eq!(left_out, expected);
    let random = ["conv2", "conv4", "conv5", "fc6", "fc7", "fc8"];
    assert_eq!(imported.random, random);
    assert_eq!(imported.model.header.provenance["random_layers"], serde_json::json!(random));
    assert_eq!(imported.model.layers[0].weight, array(&counting(&[1, 3, 3, 3, 3])).unwrap());
    assert_eq!(imported.model.layers[0].bias.values, [0.0]);

    // The same at every import, and a model that runs.
    let again = import(&path, &WIDTHS, input()).unwrap().model;
    assert_eq!(again.layers[4].weight, imported.model.layers[4].weight);
    assert!(again.layers[4].weight.values.iter().any(|&value| value != again.layers[4].weight.values[0]));
    let file = folder.path().join("model.safetensors");
    again.save(&file, Storage::F32).unwrap();
    let network = Network::new(Model::load(&file).unwrap()).unwrap();
    let clip = vec![128; desumnet_engine::network::CLIP_BYTES];
    assert_eq!(network.forward(&[&clip], None).unwrap().logits[0].len(), 5);
}

#[test]
fn what_is_no_state_dict_says_how_to_make_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("random.pt"), (0..5000u32).map(|i| (i * i % 251) as u8).collect::<Vec<_>>()).unwrap();
    std::fs::write(path("random.safetensors"), [7; 100]).unwrap();
    // As a TorchScript module.
    Tensor::save_multi(&[("conv1|weight", counting(&[1, 3, 3, 3, 3]))], path("script.pt")).unwrap();
    let whole = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../test-support/data/state_dict.pt")).unwrap();
    std::fs::write(path("cut.pt"), &whole[..whole.len() / 2]).unwrap();
    for name in ["random.pt", "random.safetensors", "script.pt", "cut.pt", "none.pt"] {
        let error = error(&path(name), input());
        assert!(error.starts_with(path(name).to_str().unwrap()), "{error}");
        assert!(
            error.contains("can't be read as a state dict") && error.contains("torch.save(model.state_dict()"),
            "{error}"
        );
    }
}

#[test]
fn what_can_be_no_model_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let conv1 = || counting(&[1, 3, 3, 3, 3]);

    write(&path, &[("layer1.weight", conv1()), ("encoder", conv1())]);
    let message = error(&path, named(&["a"]));
    assert!(
        message.contains("layer1.weight: this network has no such layer") && message.contains("conv1.weight ..."),
        "{message}"
    );
    write(&path, &[("conv1.weight", counting(&[9, 3, 3, 3, 3]))]);
    let message = error(&path, named(&["a"]));
    assert!(message.contains("its shape is [9, 3, 3, 3, 3] where [1, 3, 3, 3, 3] is needed"), "{message}");

    write(&path, &[("ema.conv1.weight", conv1()), ("model.conv1.weight", conv1())]);
    let twice = import(&path, &WIDTHS, named(&["a"])).err().unwrap();
    assert!(matches!(twice, ImportError::Twice { .. }));
    assert!(twice.to_string().contains("conv1.weight twice, as ema.conv1.weight and as model.conv1.weight"), "{twice}");

    write(&path, &[("conv1.weight", conv1())]);
    let message = error(&path, input());
    assert!(message.contains("no fc8") && message.contains("--categories"), "{message}");
    write(&path, &[("fc8.weight", counting(&[3, 1]))]);
    let message = error(&path, named(&["a", "b"]));
    assert!(message.contains("2 categories are named") && message.contains("3 outputs"), "{message}");
}

#[test]
fn the_program_writes_a_model_and_warns_of_random_layers() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_desumnet-train")).arg("import").args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    // Of the paper's widths: 64 filters in conv1.
    write(path("weights.safetensors").as_ref(), &[("conv1.weight", counting(&[64, 3, 3, 3, 3]))]);
    std::fs::write(path("names.txt"), "1 ApplyEyeMakeup\n2 YoYo\n").unwrap();
    let (weights, names, model) = (path("weights.safetensors"), path("names.txt"), path("model.safetensors"));
    let (code, said) = run(&[&weights, "--output", &model, "--categories", &names, "--mean", "1,2,3", "--bgr"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("taken     conv1.weight as conv1.weight"), "{said}");
    assert!(said.contains("conv2, conv3, conv4, conv5, fc6, fc7, fc8 have random weights"), "{said}");
    let read = Model::load(model.as_ref()).unwrap();
    assert_eq!(
        (&read.header.categories[..], read.header.mean),
        (&["ApplyEyeMakeup".into(), "YoYo".into()][..], [1.0, 2.0, 3.0])
    );
    assert_eq!(read.layers[0].weight, array(&counting(&[64, 3, 3, 3, 3]).flip([1])).unwrap());

    let none = path("none.safetensors");
    let (code, said) = run(&[&weights, "--output", &none]);
    assert_eq!((code, Path::new(&none).exists()), (Some(1), false));
    assert!(said.starts_with("desumnet-train: ") && said.contains("--categories"), "{said}");
    assert_eq!(run(&[&weights, "--output", &none, "--std", "1,0,1"]).0, Some(2));
}
