//! Networks of the user's own: TorchScript beside a JSON file, scored as DeSumNet is, and what is said when they don't fit.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
};

use desumnet_engine::{
    Batching, Category, Engine, Request,
    importance::{Aggregation, Form, Forward},
    network::{Device, Network, Precision},
};
use desumnet_frames::{clip::Geometry, segmenter::Stride};
use gst::{ClockTime, prelude::*};
use gstdesumnet::meta::Flags;
use serde_json::{Value, json};
use tch::{CModule, Kind, Tensor};
use test_support::{CATEGORIES, scoring::*};

/// What the small networks are made for.
const CLIP: Geometry = Geometry { frames: 8, width: 80, height: 60, crop_width: 64, crop_height: 56 };
const FILTERS: usize = 4;

/// A convolution with stride 2, a scale and shift a filter as batch normalisation has them, ReLU, the mean over all
/// places, and a fully connected layer. Random weights.
struct Small {
    weight: Tensor,
    scale: Tensor,
    shift: Tensor,
    connected: Tensor,
    bias: Tensor,
}

impl Small {
    fn new() -> Self {
        tch::manual_seed(5);
        let random = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, tch::Device::Cpu));
        let filters = FILTERS as i64;
        Self {
            weight: random(&[filters, 3, 3, 3, 3]) * 0.2,
            scale: random(&[filters]) + 1.0,
            shift: random(&[filters]) * 0.3,
            connected: random(&[CATEGORIES.len() as i64, filters]),
            bias: random(&[CATEGORIES.len() as i64]) * 0.1,
        }
    }

    /// Of clips `[N, 3, T, H, W]`.
    fn forward(&self, clips: &Tensor) -> Tensor {
        let affine = |t: &Tensor| t.view([1, -1, 1, 1, 1]);
        let x = clips.conv3d(&self.weight, None::<&Tensor>, [2, 2, 2], [1, 1, 1], [1, 1, 1], 1);
        let x = (x * affine(&self.scale) + affine(&self.shift)).relu();
        x.mean_dim([2, 3, 4].as_slice(), false, None).linear(&self.connected, Some(&self.bias))
    }

    /// Probability of the category, and the frame scores, of a clip's bytes: plain loops in float64.
    fn reference(&self, clip: &[u8], mean: [f64; 3], std: [f64; 3], category: usize, form: Form) -> (f64, Vec<f64>) {
        let [weight, scale, shift, connected, bias] =
            [&self.weight, &self.scale, &self.shift, &self.connected, &self.bias]
                .map(|t| Vec::<f64>::try_from(t.to_kind(Kind::Double).view(-1)).unwrap());
        let (frames, height, width) = (CLIP.frames, CLIP.crop_height, CLIP.crop_width);
        // Every product of the convolution: calls `each(pixel, colour, weight)` for one of its outputs.
        let products = |k: usize, place: [usize; 3], each: &mut dyn FnMut(usize, usize, usize)| {
            for c in 0..3 {
                for (i, [dt, dy, dx]) in (0..27).map(|i| (i, [i / 9, i / 3 % 3, i % 3])) {
                    let near = |at: usize, d: usize, n: usize| (2 * at + d).checked_sub(1).filter(|&j| j < n);
                    let (t, y, x) = (near(place[0], dt, frames), near(place[1], dy, height), near(place[2], dx, width));
                    if let (Some(t), Some(y), Some(x)) = (t, y, x) {
                        each((t * height + y) * width + x, c, (k * 3 + c) * 27 + i);
                    }
                }
            }
        };
        let places =
            || (0..frames / 2).flat_map(|t| (0..height / 2).flat_map(move |y| (0..width / 2).map(move |x| [t, y, x])));
        let input = |pixel: usize, c: usize| (f64::from(clip[pixel * 3 + c]) - mean[c]) / std[c];
        let activation = |k: usize, place: [usize; 3]| {
            let mut sum = 0.0;
            products(k, place, &mut |pixel, c, w| sum += input(pixel, c) * weight[w]);
            (sum * scale[k] + shift[k]).max(0.0)
        };
        let count = places().count() as f64;
        let active: Vec<Vec<f64>> = (0..FILTERS).map(|k| places().map(|p| activation(k, p)).collect()).collect();
        let pooled: Vec<f64> = active.iter().map(|values| values.iter().sum::<f64>() / count).collect();
        let logit = |c: usize| bias[c] + (0..FILTERS).map(|k| connected[c * FILTERS + k] * pooled[k]).sum::<f64>();
        let total: f64 = (0..CATEGORIES.len()).map(|c| logit(c).exp()).sum();
        let p = |c: usize| logit(c).exp() / total;
        let hot = |c: usize| f64::from(u8::from(c == category));
        let share = |c: usize| match form {
            Form::Logit => hot(c),
            Form::Weighted => p(category) * hot(c),
            Form::Probability => p(category) * (hot(c) - p(c)),
            Form::Unusual | Form::Auto => unreachable!("not of a category alone"),
        };
        let mut gradient = vec![[0.0; 3]; frames * height * width];
        for k in 0..FILTERS {
            let of_mean: f64 = (0..CATEGORIES.len()).map(|c| share(c) * connected[c * FILTERS + k]).sum();
            for (place, _) in places().zip(&active[k]).filter(|(_, a)| **a > 0.0) {
                let behind = of_mean / count * scale[k];
                products(k, place, &mut |pixel, c, w| gradient[pixel][c] += behind * weight[w]);
            }
        }
        let largest = |pixel: &[f64; 3]| pixel.iter().fold(0.0f64, |m, g| m.max(g.abs()));
        let plane = height * width;
        let frame_scores =
            gradient.chunks(plane).map(|frame| frame.iter().map(largest).sum::<f64>() / plane as f64).collect();
        (p(category), frame_scores)
    }
}

/// Mean and standard deviation that the sidecars give, of pixel values 0..1.
const MEAN: [f64; 3] = [0.4, 0.45, 0.5];
const STD: [f64; 3] = [0.2, 0.25, 0.3];

fn sidecar() -> Value {
    json!({ "categories": CATEGORIES, "clip_length": 8, "size": [56, 64], "resize": [60, 80], "mean": MEAN, "std": STD })
}

/// A TorchScript file of a function of clips, and its sidecar.
fn export(folder: &Path, sidecar: &Value, mut function: impl FnMut(&Tensor) -> Tensor) -> PathBuf {
    // No name says what a file is.
    let path = folder.join("own.model");
    let shape: &[i64] = if sidecar["layout"] == "NTCHW" { &[1, 8, 3, 56, 64] } else { &[1, 3, 8, 56, 64] };
    let clips = Tensor::zeros(shape, (Kind::Float, tch::Device::Cpu));
    let mut forward = |clips: &[Tensor]| vec![function(&clips[0])];
    CModule::create_by_tracing("Own", "forward", &[clips], &mut forward).unwrap().save(&path).unwrap();
    std::fs::write(path.with_extension("json"), sidecar.to_string()).unwrap();
    path
}

fn small(folder: &Path) -> PathBuf {
    let network = Small::new();
    export(folder, &sidecar(), |clips| network.forward(clips))
}

fn load(path: &Path) -> Network {
    Network::load(path, Device::Cpu, Precision::Auto).unwrap()
}

fn engine_of(path: &Path) -> Arc<Engine> {
    Engine::shared(path, Device::Cpu, Precision::F32).unwrap()
}

/// A clip with waves in it.
fn clip() -> Vec<u8> {
    let wave = |i: usize| (i as f64 * 0.013).sin() + (i as f64 * 0.37).cos();
    (0..CLIP.clip_bytes()).map(|i| (128.0 + 60.0 * wave(i)) as u8).collect()
}

#[test]
fn scores_equal_a_float64_computation_in_both_layouts_and_all_forms() {
    let (folder, network, clip) = (tempfile::tempdir().unwrap(), Small::new(), clip());
    let mut turned = sidecar();
    turned["layout"] = "NTCHW".into();
    let mut layouts = Vec::new();
    layouts.push(load(&export(folder.path(), &sidecar(), |clips| network.forward(clips))));
    layouts.push(load(&export(folder.path(), &turned, |clips| network.forward(&clips.transpose(1, 2)))));
    for scorer in layouts {
        assert_eq!(scorer.clip, CLIP);
        for form in [Form::Logit, Form::Probability, Form::Weighted] {
            for category in 0..CATEGORIES.len() {
                let (p, expected) =
                    network.reference(&clip, MEAN.map(|v| v * 255.0), STD.map(|v| v * 255.0), category, form);
                let forward = Forward::new(&scorer, &[&clip]).unwrap();
                assert!((f64::from(forward.probabilities[0][category]) - p).abs() < 1e-5);
                let got = forward.frame_scores(&[category], form).unwrap().remove(0);
                assert_eq!(got.len(), 8);
                for (got, expected) in got.iter().zip(&expected) {
                    assert!((f64::from(*got) / expected - 1.0).abs() < 1e-4, "{form:?}: {got} {expected}");
                }
            }
        }
    }
}

#[test]
fn sidecar_may_leave_the_usual_out_and_count_pixels_to_255() {
    let folder = tempfile::tempdir().unwrap();
    let mut sidecar = json!({ "categories": CATEGORIES, "clip_length": 8, "size": 112, "mean": MEAN, "std": STD });
    let network = Small::new();
    let usual = load(&export(folder.path(), &sidecar, |clips| network.forward(clips)));
    assert_eq!(usual.clip, Geometry { frames: 8, ..Geometry::PAPER });
    assert_eq!((usual.clip.left(), usual.clip.top()), (29, 8));
    sidecar["pixel_range"] = 255.into();
    sidecar["mean"] = json!(usual.header.mean);
    sidecar["std"] = json!(usual.header.std);
    let of_255 = load(&export(folder.path(), &sidecar, |clips| network.forward(clips)));
    assert_eq!(of_255.header, usual.header);
    sidecar["size"] = json!([56, 64]);
    let oblong = load(&export(folder.path(), &sidecar, |clips| network.forward(clips)));
    assert_eq!(oblong.clip, Geometry { frames: 8, width: 98, height: 64, crop_width: 64, crop_height: 56 });
}

#[test]
fn element_cuts_segments_at_the_networks_clip_length() {
    let folder = tempfile::tempdir().unwrap();
    let path = small(folder.path());
    let (info, properties) = (usual_info(), [("model", path.to_str().unwrap()), ("post-messages", "true")]);
    let pictures = pictures(&info, 0..20);
    let expected =
        Reference::with(engine_of(&path).stream(Batching::default()), request(), Stride::Auto).metas(&info, &pictures);
    let mut rig = Rig::new(&info, &properties);
    rig.push(&pictures);
    let out = rig.finish_buffers();
    assert_marked(&out, &pictures, &expected);
    let places: Vec<_> = metas(&out).iter().map(|m| (m.segment, m.segment_frames, m.frame)).collect();
    let lengths = [8, 8, 4];
    assert_eq!(places, (0..20).map(|i| (i / 8, lengths[i as usize / 8], (i % 8) as u32)).collect::<Vec<_>>());
    assert_eq!(metas(&out)[16].flags, Flags::PADDED);
    assert_eq!(metas(&out)[8].segment_start, Some(ClockTime::from_mseconds(320)));
    let frame_scores = |m: &gst::Structure| m.get::<gst::Array>("frame-scores").unwrap().len();
    assert_eq!(rig.segment_messages().iter().map(frame_scores).collect::<Vec<_>>(), [8, 8, 8]);
}

#[test]
fn clips_of_one_frame_go_on_while_shots_are_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut sidecar = sidecar();
    sidecar["clip_length"] = 1.into();
    let network = Small::new();
    // An example of one frame would leave a network that takes no other.
    let path = export(folder.path(), &sidecar, |clips| network.forward(clips));
    let (info, properties) = (usual_info(), [("model", path.to_str().unwrap())]);
    let pictures = pictures(&info, 0..50);
    let expected =
        Reference::with(engine_of(&path).stream(Batching::default()), request(), Stride::Auto).metas(&info, &pictures);
    let mut rig = Rig::new(&info, &properties);
    rig.push(&pictures);
    assert_marked(&rig.finish_buffers(), &pictures, &expected);
}

#[test]
fn live_latency_of_short_clips_is_the_time_to_find_shots_and_the_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let path = small(folder.path());
    for (stride, clip) in [("0", 16 * 40), ("3", 48 * 40)] {
        let properties =
            [("model", path.to_str().unwrap()), ("processing-deadline", "250000000"), ("frame-stride", stride)];
        let rig = Rig::live(&usual_info(), &properties);
        let mut query = gst::query::Latency::new();
        assert!(rig.element.static_pad("src").unwrap().query(&mut query));
        assert_eq!(query.result(), (true, ClockTime::from_mseconds(250 + clip), None));
    }
}

#[test]
fn whole_videos_are_scored_with_frame_scores_for_every_frame_of_a_clip() {
    let folder = tempfile::tempdir().unwrap();
    let video = folder.path().join("ball.mp4");
    test_support::render(&video, "ball", 20);
    let options = desumnet_offline::Options {
        model: small(folder.path()),
        device: Device::Cpu,
        precision: Precision::Auto,
        category: "auto".into(),
        form: Form::Weighted,
        aggregation: Aggregation::Mean,
        stride: Stride::Auto,
        interval: 1,
    };
    let scores = desumnet_offline::score(video.to_str().unwrap(), &options, |_| {}).unwrap();
    let facts: Vec<_> =
        scores.segments.iter().map(|s| (s.duration_ns / 1_000_000, s.frame_scores.len(), s.padded)).collect();
    assert_eq!(facts, [(320, 8, false), (320, 8, false), (160, 8, true)]);
    assert!(CATEGORIES.contains(&scores.category.as_str()));
}

#[test]
fn batches_that_are_made_ready_ahead_have_the_scores_of_single_clips() {
    let folder = tempfile::tempdir().unwrap();
    let path = small(folder.path());
    let (network, stream) = (load(&path), engine_of(&path).stream(Batching { size: 2, ..Batching::default() }));
    let request = || Request { category: Category::Fixed(1), ..request() };
    let clips: Vec<Vec<u8>> =
        (0..7).map(|shift| clip().into_iter().map(|pixel| pixel ^ (shift << 3)).collect()).collect();
    // While the first is being answered, the others come.
    let ((release, released), (sender, answers)) = (mpsc::channel::<()>(), mpsc::channel());
    stream.submit(clip(), request(), None, Box::new(move |_| _ = released.recv()));
    for (number, clip) in clips.iter().enumerate() {
        let sender = sender.clone();
        // One is no clip.
        let clip = if number == 3 { Vec::new() } else { clip.clone() };
        stream.submit(clip, request(), None, Box::new(move |answer| sender.send((number, answer)).unwrap()));
    }
    drop(release);
    for (number, clip) in clips.iter().enumerate() {
        let (answered, answer) = answers.recv().unwrap();
        assert_eq!(answered, number);
        if number == 3 {
            assert!(answer.unwrap_err().to_string().contains("a clip has 0 bytes"));
            continue;
        }
        let expected = Forward::new(&network, &[clip]).unwrap().frame_scores(&[1], Form::Weighted).unwrap().remove(0);
        for (got, expected) in answer.unwrap().frame_scores.iter().zip(expected) {
            assert!((got / expected - 1.0).abs() < 1e-5, "clip {number}: {got} for {expected}");
        }
    }
}

#[test]
fn changed_sidecar_makes_another_engine() {
    let folder = tempfile::tempdir().unwrap();
    let path = small(folder.path());
    let (first, same) = (engine_of(&path), engine_of(&path));
    assert!(Arc::ptr_eq(&first, &same));
    let mut changed = sidecar();
    changed["resize"] = json!([56, 64]);
    let json = path.with_extension("json");
    std::fs::write(&json, changed.to_string()).unwrap();
    std::fs::File::options().append(true).open(json).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(engine_of(&path).clip, Geometry { width: 64, height: 56, ..CLIP });
}

/// The message of a model that must not load; it names the file at fault.
fn refusal(path: &Path, precision: Precision, file: &str) -> String {
    let error = Network::load(path, Device::Cpu, precision).err().expect("this model must not load").to_string();
    assert!(error.contains(path.with_file_name(file).to_str().unwrap()), "`{error}` does not name {file}");
    assert!(!error.contains('\n'), "more than a line: {error}");
    error
}

#[test]
fn each_wrong_field_is_named_with_reason_and_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let path = small(folder.path());
    let json = path.with_extension("json");
    let cases = [
        ("categories", json!(null), "`categories` is missing; give the names of the network's outputs"),
        ("categories", json!([]), "`categories` is empty; give the names"),
        ("categories", json!(["a", "b", "a"]), "`categories` has `a` twice; give each output a name of its own"),
        ("categories", json!(["a", "", "b"]), "`categories` has an empty name; give the names"),
        ("categories", json!("a"), "`categories` can't be read: invalid type: string \"a\", expected a sequence; give"),
        (
            "categories",
            json!(["a", "b"]),
            "`categories` has 2 names, the network gives 3 class scores; give one name an output",
        ),
        ("clip_length", json!(null), "`clip_length` is missing; give frames in a clip, for example 16"),
        ("clip_length", json!(0), "`clip_length` is 0; give 1 to 256 frames"),
        ("clip_length", json!(257), "`clip_length` is 257; give 1 to 256 frames"),
        ("clip_length", json!(8.5), "`clip_length` can't be read"),
        ("size", json!(null), "`size` is missing; give pixels as [height, width], or one number for both"),
        ("size", json!([56]), "`size` is [56]; give pixels as [height, width]"),
        (
            "size",
            json!([0, 64]),
            "`size` is [0,64]; give pixels as [height, width], or one number for both, each 1 to 2048",
        ),
        (
            "size",
            json!(70),
            "`resize` is 60 x 80, smaller than the crop of 70 x 70; make it at least as large as `size`",
        ),
        ("resize", json!("large"), "`resize` is \"large\"; give"),
        ("mean", json!(null), "`mean` is missing; give three numbers, for red, green and blue"),
        ("mean", json!([0.5, 0.5]), "`mean` can't be read: invalid length 2"),
        (
            "mean",
            json!([110, 115, 120]),
            "`mean` is [110.0, 115.0, 120.0], outside of the pixel values 0..1; set pixel_range to 255",
        ),
        ("mean", json!([-0.5, 0.5, 0.5]), "outside of the pixel values 0..1"),
        ("std", json!([0.2, 0.0, 0.2]), "`std` is [0.2, 0.0, 0.2]; give the divisors of the pixel values, all above 0"),
        (
            "std",
            json!([0.2, 1e-300, 0.2]),
            "`std` is [0.2, 1e-300, 0.2]; give the divisors of the pixel values, all above 0 and not below 0.00004",
        ),
        ("std", json!([0.2, 0.2, 0.2, 0.2]), "`std` can't be read"),
        (
            "std",
            json!([58, 57, 57]),
            "`std` is [58.0, 57.0, 57.0], outside of the pixel values 0..1; set pixel_range to 255",
        ),
        ("pixel_range", json!(100), "`pixel_range` is 100; give 1 (pixel values 0..1, the default) or 255 (0..255)"),
        ("layout", json!("THWC"), "`layout` is `THWC`; give NCTHW (the default) or NTCHW"),
        ("frames", json!(8), "`frames` is not known; remove it or mend its name, one of categories, clip_length, size"),
    ];
    for (field, value, expected) in cases {
        let mut sidecar = sidecar();
        if value.is_null() {
            sidecar.as_object_mut().unwrap().remove(field);
        } else {
            sidecar[field] = value;
        }
        std::fs::write(&json, sidecar.to_string()).unwrap();
        let error = refusal(&path, Precision::F32, "own.json");
        assert!(error.contains(expected), "`{expected}` is not in: {error}");
    }
    let mut large = sidecar();
    (large["clip_length"], large["resize"]) = (json!(64), json!(2048));
    std::fs::write(&json, large.to_string()).unwrap();
    let error = refusal(&path, Precision::F32, "own.json");
    assert!(error.contains("`clip_length` makes a clip of 64 frames of 2048 x 2048 pixels, 768 MB"), "{error}");
    for text in ["categories: none", "[1, 2]", ""] {
        std::fs::write(&json, text).unwrap();
        let error = refusal(&path, Precision::F32, "own.json");
        assert!(error.contains("is not a JSON object") && error.contains("README.md"), "{error}");
    }
    std::fs::remove_file(&json).unwrap();
    let error = refusal(&path, Precision::F32, "own.json");
    assert!(error.contains("can't be read: No such file") && error.contains("export_torchvision.py"), "{error}");
}

#[test]
fn each_network_that_does_not_fit_is_told_what_to_mend() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, network) = (folder.path(), Small::new());
    let assert_refused =
        |precision, change: &dyn Fn(&mut Value), function: &dyn Fn(&Tensor) -> Tensor, named: &[&str]| {
            let mut sidecar = sidecar();
            let path = export(folder, &sidecar, function);
            change(&mut sidecar);
            std::fs::write(path.with_extension("json"), sidecar.to_string()).unwrap();
            let error = refusal(&path, precision, "own.model");
            for part in named {
                assert!(error.contains(part), "`{part}` is not in: {error}");
            }
        };
    let as_is = |_: &mut Value| {};
    let right = |clips: &Tensor| network.forward(clips);
    assert_refused(
        Precision::F32,
        &|sidecar| sidecar["layout"] = "NTCHW".into(),
        &right,
        &["does not take a clip of shape [1, 8, 3, 56, 64] (Given groups=1", "set `clip_length`, `size` and `layout`"],
    );
    assert_refused(Precision::Bf16, &as_is, &right, &["BFloat16", "set precision=f32"]);
    assert_refused(
        Precision::F32,
        &as_is,
        &|x| network.forward(x).view([1, 3, 1]),
        &["gives [1, 3, 1], expected class"],
    );
    assert_refused(Precision::F32, &as_is, &|x| network.forward(x).log() * 0.0, &["not finite", "own.json"]);
    let detached = |x: &Tensor| network.forward(&x.detach());
    assert_refused(Precision::F32, &as_is, &detached, &["can't tell which pixels matter", "no gradient", "detach"]);
}

#[test]
fn archives_that_are_no_torchscript_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = small(folder.path());
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let error = refusal(&path, Precision::F32, "own.model");
    assert!(error.contains("failed finding central directory") && error.contains("download it again"), "{error}");
    // What torch.save writes has no such member.
    let (member, other) = (b"constants.pkl", b"something.pkl");
    let mut saved = whole;
    for at in 0..saved.len() - member.len() {
        if &saved[at..at + member.len()] == member {
            saved[at..at + member.len()].copy_from_slice(other);
        }
    }
    std::fs::write(&path, saved).unwrap();
    let error = refusal(&path, Precision::F32, "own.model");
    for part in ["is a state dict", "not TorchScript", "examples/export_torchvision.py", "desumnet-train import"] {
        assert!(error.contains(part), "{error}");
    }
}

/// `training_mode.pt` was saved by PyTorch in training mode: dropout with 0.5 of the colours' means, then weights
/// [[1, 2, -3], [-4, 5, 6]]. In evaluation mode, that is a linear function.
#[test]
fn what_python_saved_in_training_mode_is_scored_in_evaluation_mode() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.pt");
    std::fs::copy(Path::new(test_support::ROOT).join("crates/test-support/data/training_mode.pt"), &path).unwrap();
    let sidecar =
        json!({ "categories": ["a", "b"], "clip_length": 2, "size": 16, "mean": [0, 0, 0], "std": [1, 1, 1] });
    std::fs::write(path.with_extension("json"), sidecar.to_string()).unwrap();
    for precision in [Precision::Auto, Precision::Bf16] {
        let network = Network::load(&path, Device::Cpu, precision).unwrap();
        let clip = vec![51; network.clip.clip_bytes()];
        // Each of 20 passes would be another one with dropout.
        for _ in 0..20 {
            let forward = Forward::new(&network, &[&clip]).unwrap();
            // Every pixel is 0.2: the class scores are 0 and 1.4.
            assert!((forward.probabilities[0][1] - 0.802_184).abs() < 2e-3);
            for score in forward.frame_scores(&[1], Form::Logit).unwrap().remove(0) {
                assert!((score * 512.0 / 6.0 - 1.0).abs() < 1e-3, "{precision:?}: {score}");
            }
        }
    }
}
