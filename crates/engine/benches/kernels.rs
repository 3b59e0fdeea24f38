//! The CPU's convolution kernels, on one thread: `cargo bench --bench kernels`.
//!
//! Each layer alone, by each instruction set that the processor has, and the whole pass of one clip. Weights are random, with
//! biases by which about half of the pooled values are active, as in a trained network.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use desumnet_engine::network::kernels::{
    Convolutions, POOLS, Simd, Size, Weights,
    first::{Bordered, FRAMES, First},
    lanes::Group,
    pool::Pooled,
    scatter::{Lists, Scatter},
    winograd::{Convolution, Scratch},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

const WIDTHS: [usize; 6] = [3, 64, 128, 256, 256, 256];
const BIASES: [f32; 5] = [-1.31, -1.2, -0.65, -0.46, -0.32];
const CLIP: Size = Size { frames: 16, height: 112, width: 112 };

/// Weights and biases of the five layers.
fn weights() -> Vec<(Vec<f32>, Vec<f32>)> {
    let mut rng = StdRng::seed_from_u64(1);
    let layers = WIDTHS.windows(2).zip(BIASES);
    layers
        .map(|(pair, bias)| {
            let largest = (6.0 / (27.0 * pair[0] as f32)).sqrt();
            let weight = (0..pair[0] * pair[1] * 27).map(|_| rng.random_range(-largest..largest)).collect();
            (weight, vec![bias; pair[1]])
        })
        .collect()
}

fn clip() -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(2);
    (0..CLIP.positions() * 3).map(|_| rng.random_range(-1.7..1.7)).collect()
}

/// Each layer, with what the layers before it give.
fn layers(c: &mut Criterion) {
    let weights = weights();
    for simd in Simd::available() {
        let (weight, bias) = &weights[0];
        let first = First::new(weight, bias);
        let mut input = Bordered::new(CLIP);
        input.fill(&clip());
        let pooled = CLIP.pooled(POOLS[0]);
        let row = pooled.width * first.outputs();
        let mut values = vec![Group::ZERO; pooled.positions() * first.outputs()];
        let mut places = vec![[0; 8]; values.len()];
        let mut group = c.benchmark_group(format!("{simd}, forward"));
        group.sample_size(20);
        group.bench_function("conv1", |b| {
            b.iter(|| {
                let rows = values.chunks_exact_mut(row).zip(places.chunks_exact_mut(row)).enumerate();
                rows.for_each(|(number, (values, places))| {
                    first.forward(simd, &input, number, Pooled { values, places })
                });
            });
        });
        // Values of every layer: as gradients they are as good as any.
        let mut kept = vec![(CLIP, values, places)];
        let mut size = pooled;
        for (number, (weight, bias)) in weights.iter().enumerate().skip(1) {
            let convolution = Convolution::new(weight, bias, WIDTHS[number]);
            let windows = size.pooled(POOLS[1]).positions();
            let mut values = vec![Group::ZERO; windows * convolution.outputs()];
            let mut places = vec![[0; 8]; values.len()];
            let (at_a_time, mut scratch) = (convolution.windows_at_a_time(), Scratch::default());
            let block = at_a_time * convolution.outputs();
            let input = &kept[number - 1].1;
            group.bench_function(format!("conv{}", number + 1), |b| {
                b.iter(|| {
                    let blocks = values.chunks_mut(block).zip(places.chunks_mut(block)).enumerate();
                    blocks.for_each(|(number, (values, places))| {
                        convolution.forward(
                            simd,
                            input,
                            size,
                            number * at_a_time,
                            Pooled { values, places },
                            &mut scratch,
                        );
                    });
                });
            });
            kept.push((size, values, places));
            size = size.pooled(POOLS[1]);
        }
        group.finish();

        let mut group = c.benchmark_group(format!("{simd}, backward"));
        group.sample_size(20);
        let (_, gradients, places) = &kept[0];
        let part = FRAMES * pooled.height * row;
        group.bench_function("conv1", |b| {
            let mut spread = vec![0.0; First::spread(CLIP)];
            b.iter(|| {
                let parts = gradients.chunks(part).zip(places.chunks(part));
                parts.for_each(|(gradients, places)| first.backward(simd, CLIP, gradients, places, &mut spread));
            });
        });
        for (number, (size, gradients, places)) in kept.iter().enumerate().skip(1) {
            let scatter = Scatter::new(&weights[number].0, WIDTHS[number + 1], WIDTHS[number]);
            let (mut lists, mut plane) = (Lists::default(), Vec::new());
            let frame = size.height * size.width * scatter.inputs();
            let mut to: Vec<Group> = vec![Group::ZERO; size.frames * frame];
            group.bench_function(format!("conv{}", number + 1), |b| {
                b.iter(|| {
                    lists.fill(gradients, places, gradients.len() / size.pooled(POOLS[1]).positions());
                    let frames = to.chunks_exact_mut(frame).enumerate();
                    frames.for_each(|(number, to)| scatter.backward(simd, *size, &lists, number, &mut plane, to));
                });
            });
        }
        group.finish();
    }
}

/// One clip, forward and backward.
fn whole(c: &mut Criterion) {
    let (weights, clip) = (weights(), clip());
    let weights: Vec<Weights> = weights.iter().map(|(weight, bias)| Weights { weight, bias }).collect();
    let mut group = c.benchmark_group("a clip, forward and backward");
    group.sample_size(20);
    for simd in Simd::available() {
        let mut convolutions = Convolutions::new(&weights, CLIP, 1, simd).expect("a thread");
        group.bench_function(BenchmarkId::from_parameter(simd), |b| {
            b.iter(|| {
                let features = convolutions.forward(&clip);
                convolutions.backward(&features)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, layers, whole);
criterion_main!(benches);
