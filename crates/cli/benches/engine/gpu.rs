//! The same on a GPU, where there is one: what batches bring, and how much of the GPU's rate is used.

use desumnet_engine::network::{Device, Precision};
use tch::Kind;

use crate::{
    Report, entry, markdown,
    network::{Way, autograd, clips, engine, flop_of_a_segment, medians, network, product, rate_of, stream},
    number,
};

/// Segments in a batch.
const BATCHES: [usize; 3] = [1, 8, 32];
/// Rows and columns of the matrices whose product tells the GPU's rate.
const SIDE: i64 = 8192;

/// Nothing where there is no GPU.
pub fn measure() -> Report {
    let Ok(device) = desumnet_torch::resolve(Device::Cuda(0)) else { return Report::new() };
    let clips = clips(BATCHES[2]);
    let engines = BATCHES.map(|batch| stream(Device::Cuda(0), Precision::Bf16, batch));
    let plain = [Kind::Float, Kind::BFloat16].map(|kind| network(device, kind));
    let clips = &clips;
    let mut ways: Vec<Way> = vec![
        ("gpu_matmul_bf16", Box::new(product(Kind::BFloat16, device, SIDE))),
        ("gpu_autograd_f32_ms", Box::new(|| autograd(&plain[0], &clips[..BATCHES[1]]))),
        ("gpu_autograd_bf16_ms", Box::new(|| autograd(&plain[1], &clips[..BATCHES[1]]))),
    ];
    let names = ["gpu_engine_1_ms", "gpu_engine_8_ms", "gpu_engine_32_ms"];
    for ((name, stream), batch) in names.into_iter().zip(&engines).zip(BATCHES) {
        ways.push((name, Box::new(move || engine(stream, &clips[..batch]))));
    }
    let mut report = Report::new();
    for (name, ms) in medians(ways) {
        let clips = match name {
            "gpu_matmul_bf16" => {
                report.extend([entry("gpu_matmul_bf16_gflops", rate_of(SIDE, ms))]);
                continue;
            }
            "gpu_engine_1_ms" => BATCHES[0],
            "gpu_engine_32_ms" => BATCHES[2],
            _ => BATCHES[1],
        };
        let each = ms / clips as f64;
        report.extend([entry(name, each), entry(&name.replace("_ms", "_gflops"), flop_of_a_segment() / each / 1e6)]);
    }
    report
}

/// Empty where there is no GPU.
pub fn table(report: &Report) -> String {
    if !report.contains_key("gpu_matmul_bf16_gflops") {
        return String::new();
    }
    let limit = number(report, "gpu_matmul_bf16_gflops");
    let row = |what: &str, name: &str| {
        let [ms, rate] = ["ms", "gflops"].map(|unit| number(report, &format!("gpu_{name}_{unit}")));
        let share = rate / limit * 100.0;
        [what.into(), format!("{ms:.2}"), format!("{:.1}", rate / 1e3), format!("{share:.0} %")]
    };
    let rows = [
        row("DeSumNet's engine, bf16, one at a time", "engine_1"),
        row("eight at a time", "engine_8"),
        row("32 at a time", "engine_32"),
        row("libtorch's autograd, float32, eight at a time", "autograd_f32"),
        row("libtorch's autograd, bf16, eight at a time", "autograd_bf16"),
    ];
    markdown(["a segment on the GPU", "ms", "TFLOP/s", "of a matrix product's"], rows)
}
