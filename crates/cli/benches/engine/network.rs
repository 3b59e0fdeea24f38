//! One segment, forward and backward: the engine beside what libtorch does with the same network, and beside the dense limit.

use std::{
    hint::black_box,
    path::{Path, PathBuf},
    time::Instant,
};

use desumnet_engine::{
    Batching, Category, Engine, Request, Stream,
    importance::Form,
    network::{CLIP_BYTES, Device, Model, POOLED, Precision, WIDTHS, pool_kernel},
};
use desumnet_frames::clip::{FRAMES, Geometry};
use desumnet_media::scaler::Scaler;
use desumnet_torch::{TorchNetwork, input_gradient};
use tch::{Kind, Tensor};

use crate::{Report, entry, markdown, number, peak_memory_of};

/// Each way's turns.
const ROUNDS: usize = 12;
/// Rows and columns of the matrices whose product tells the machine's rate.
const SIDE: i64 = 2048;
/// Sizes of pictures that preparing is measured for.
const PICTURES: [(&str, u32, u32); 3] = [("480p", 854, 480), ("1080p", 1920, 1080), ("4k", 3840, 2160)];

/// Multiplications and additions of a segment, forward and the gradient of the pixels, if every product is made.
pub fn flop_of_a_segment() -> f64 {
    let [mut frames, mut side, mut channels] = [FRAMES as i64, Geometry::PAPER.crop_height as i64, 3];
    let mut products = 0;
    for (index, &filters) in WIDTHS[..5].iter().enumerate() {
        products += frames * side * side * channels * filters * 27;
        let [time, space, _] = pool_kernel(index);
        (frames, side, channels) = (frames / time, side / space, filters);
    }
    products += channels * POOLED as i64 * WIDTHS[5] + WIDTHS[5] * WIDTHS[6];
    (2 * 2 * products) as f64
}

pub fn clips(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|seed| (0..CLIP_BYTES).map(|i| ((i + seed) * 31 % 251) as u8).collect()).collect()
}

/// What is measured, and what it is called.
pub type Way<'a> = (&'static str, Box<dyn FnMut() + 'a>);

/// What libtorch does by itself: its graph, forward and back.
pub fn autograd(network: &TorchNetwork, clips: &[Vec<u8>]) {
    let clips: Vec<&[u8]> = clips.iter().map(Vec::as_slice).collect();
    let input = network.input(&clips).expect("clips").set_requires_grad(true);
    let logits = network.logits(&input).expect("memory for a pass");
    let score = logits.softmax(-1, logits.kind()).select(1, 0).sum(logits.kind());
    let map = input_gradient(&score, &input).expect("memory for a pass").abs().amax([1], false);
    // A GPU is done when the result is here.
    black_box(f64::try_from(map.sum(Kind::Float)).expect("a number"));
}

pub fn engine(stream: &Stream, clips: &[Vec<u8>]) {
    ask(stream, clips, &Request { category: Category::Fixed(0), ..Request::default() });
}

fn ask(stream: &Stream, clips: &[Vec<u8>], request: &Request) {
    let (sender, answers) = std::sync::mpsc::channel();
    for clip in clips {
        let sender = sender.clone();
        stream.submit(clip.clone(), request.clone(), None, Box::new(move |answer| sender.send(answer).expect("heard")));
    }
    drop(sender);
    answers.iter().for_each(|answer| drop(black_box(answer.expect("a score"))));
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Every way's median time, ms, over [`ROUNDS`] in turns.
pub fn medians(mut ways: Vec<Way>) -> Vec<(&'static str, f64)> {
    let mut times = vec![Vec::new(); ways.len()];
    for round in 0..=ROUNDS {
        for ((_, way), times) in ways.iter_mut().zip(&mut times) {
            let began = Instant::now();
            way();
            // The first time, memory and threads are got.
            if round > 0 {
                times.push(began.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    ways.iter().map(|way| way.0).zip(times.into_iter().map(median)).collect()
}

/// A product of two matrices.
pub fn product(kind: Kind, device: tch::Device, side: i64) -> impl FnMut() {
    let matrix = || Tensor::rand([side, side], (Kind::Float, device)).to_kind(kind);
    let (a, b) = (matrix(), matrix());
    move || {
        black_box(f64::try_from(a.matmul(&b).get(0).get(0)).expect("a number"));
    }
}

/// GFLOP/s of a product that takes so many ms.
pub fn rate_of(side: i64, ms: f64) -> f64 {
    2.0 * (side as f64).powi(3) / ms / 1e6
}

/// The model of the tree.
fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/desumnet.safetensors")
}

pub fn network(device: tch::Device, kind: Kind) -> TorchNetwork {
    TorchNetwork::new(&Model::load(&path()).expect("the model of the tree"), device, kind)
        .expect("memory for the model")
}

pub fn stream(device: Device, precision: Precision, size: usize) -> Stream {
    let engine = Engine::shared(&path(), device, precision).expect("the model of the tree");
    engine.stream(Batching { size, ..Batching::default() })
}

/// Time of one frame's preparing, ms: scaled, as the element does it.
fn preparing(width: u32, height: u32) -> f64 {
    let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, width, height).build().expect("a format");
    let mut scaler = Scaler::to(Geometry::PAPER, &info).expect("a format that is scaled");
    let buffer = gst::Buffer::from_mut_slice(vec![90u8; info.size()]);
    let times = (0..40).map(|_| {
        let began = Instant::now();
        black_box(scaler.scale(&buffer).expect("a picture"));
        began.elapsed().as_secs_f64() * 1e3
    });
    median(times.collect())
}

pub fn measure() -> Report {
    gst::init().expect("GStreamer");
    let cpu = tch::Device::Cpu;
    let (f32_network, bf16_network) = (network(cpu, Kind::Float), network(cpu, Kind::BFloat16));
    let (one, four) = (clips(1), clips(4));
    let [f32_one, bf16_one] = [Precision::F32, Precision::Bf16].map(|precision| stream(Device::Cpu, precision, 1));
    let f32_four = stream(Device::Cpu, Precision::F32, 4);
    let unusual = Request { form: Form::Unusual, seconds: 0.64, ..Request::default() };
    let [bf16_product, f32_product] = [Kind::BFloat16, Kind::Float].map(|kind| product(kind, cpu, SIDE));
    let ways: Vec<Way> = vec![
        ("matmul_bf16", Box::new(bf16_product)),
        ("matmul_f32", Box::new(f32_product)),
        ("autograd_f32_ms", Box::new(|| autograd(&f32_network, &one))),
        ("autograd_bf16_ms", Box::new(|| autograd(&bf16_network, &one))),
        ("engine_f32_ms", Box::new(|| engine(&f32_one, &one))),
        ("engine_bf16_ms", Box::new(|| engine(&bf16_one, &one))),
        ("engine_f32_4_clips_ms", Box::new(|| engine(&f32_four, &four))),
        ("engine_unusual_ms", Box::new(|| ask(&f32_one, &one, &unusual))),
    ];
    let mut report = Report::new();
    for (name, ms) in medians(ways) {
        report.extend([match name {
            "matmul_bf16" => entry("matmul_bf16_gflops", rate_of(SIDE, ms)),
            "matmul_f32" => entry("matmul_f32_gflops", rate_of(SIDE, ms)),
            _ => entry(name, ms),
        }]);
    }
    let gflop = flop_of_a_segment() / 1e9;
    let limit = gflop / number(&report, "matmul_bf16_gflops") * 1e3;
    let engine = number(&report, "engine_f32_ms");
    report.extend([
        entry("gflop_per_segment", gflop),
        entry("dense_limit_ms", limit),
        entry("dense_limit_f32_ms", gflop / number(&report, "matmul_f32_gflops") * 1e3),
        entry("engine_over_limit", engine / limit),
        entry("autograd_f32_over_engine", number(&report, "autograd_f32_ms") / engine),
        entry("autograd_bf16_over_engine", number(&report, "autograd_bf16_ms") / engine),
    ]);
    for (name, width, height) in PICTURES {
        let ms = preparing(width, height) * FRAMES as f64;
        report.extend([
            entry(&format!("preparing_{name}_ms"), ms),
            entry(&format!("preparing_{name}_over_engine"), ms / engine),
        ]);
    }
    report.insert("network_peak_mb".into(), peak_memory_of("self").into());
    report
}

pub fn table(report: &Report) -> String {
    let engine = number(report, "engine_f32_ms");
    let row = |what: &str, ms: f64| [what.into(), format!("{ms:.0}"), format!("{:.2}", ms / engine)];
    let rate = |kind: &str| format!("{:.0} GFLOP/s", number(report, &format!("matmul_{kind}_gflops")));
    let gflop = number(report, "gflop_per_segment");
    let rows = [
        row("DeSumNet's engine, one clip", engine),
        row("the same at precision=bf16, which a CPU computes in f32", number(report, "engine_bf16_ms")),
        row("a clip of four together", number(report, "engine_f32_4_clips_ms") / 4.0),
        row("what is unusual: forward alone", number(report, "engine_unusual_ms")),
        row("libtorch's autograd, float32", number(report, "autograd_f32_ms")),
        row("libtorch's autograd, bf16 channels-last", number(report, "autograd_bf16_ms")),
        row(&format!("dense limit: {gflop:.1} GFLOP at bf16's {}", rate("bf16")), number(report, "dense_limit_ms")),
        row(&format!("the same at float32's {}", rate("f32")), number(report, "dense_limit_f32_ms")),
    ];
    let prepared = PICTURES.map(|(name, width, height)| {
        row(&format!("preparing its 16 frames of {width}x{height}"), number(report, &format!("preparing_{name}_ms")))
    });
    markdown(["a segment, forward and backward", "ms", "of the engine's"], rows.into_iter().chain(prepared))
}
