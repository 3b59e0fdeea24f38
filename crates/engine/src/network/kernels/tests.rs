//! Every kernel by every instruction set of this processor, against plain loops in float64.

use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{Convolutions, POOLS, Simd, Size, Weights};

/// Values `[C, T, H, W]`.
struct Volume {
    size: Size,
    values: Vec<f64>,
}

/// A layer's weights, and for each of its pooled values where it comes from: a place of the convolution's output, if ReLU lets it
/// through.
struct Layer {
    weight: Vec<f32>,
    bias: Vec<f32>,
    input: Size,
    from: Vec<Option<usize>>,
}

impl Size {
    fn at(self, t: usize, y: usize, x: usize) -> usize {
        (t * self.height + y) * self.width + x
    }
}

/// Calls with place of the output, place of the input and tap for each that lies in the volume.
fn taps(size: Size, mut call: impl FnMut(usize, usize, usize)) {
    for t in 0..size.frames {
        for y in 0..size.height {
            for x in 0..size.width {
                for tap in 0..27 {
                    let (t_in, y_in, x_in) = (t + tap / 9, y + tap / 3 % 3, x + tap % 3);
                    let within = |at: usize, length: usize| (1..=length).contains(&at);
                    if within(t_in, size.frames) && within(y_in, size.height) && within(x_in, size.width) {
                        call(size.at(t, y, x), size.at(t_in - 1, y_in - 1, x_in - 1), tap);
                    }
                }
            }
        }
    }
}

impl Layer {
    fn forward(&mut self, input: &Volume, pool: [usize; 3]) -> Volume {
        let (places, pooled) = (input.size.positions(), input.size.pooled(pool));
        let inputs = input.values.len() / places;
        let mut values = Vec::new();
        self.input = input.size;
        self.from.clear();
        for (filter, bias) in self.bias.iter().enumerate() {
            let mut sums = vec![f64::from(*bias); places];
            taps(input.size, |to, from, tap| {
                for i in 0..inputs {
                    sums[to] +=
                        f64::from(self.weight[(filter * inputs + i) * 27 + tap]) * input.values[i * places + from];
                }
            });
            for window in 0..pooled.positions() {
                let (t, y, x) = (
                    window / pooled.width / pooled.height,
                    window / pooled.width % pooled.height,
                    window % pooled.width,
                );
                let mut best: Option<usize> = None;
                for t in (t * pool[0]..(t + 1) * pool[0]).filter(|t| *t < input.size.frames) {
                    for y in (y * pool[1]..(y + 1) * pool[1]).filter(|y| *y < input.size.height) {
                        for x in (x * pool[2]..(x + 1) * pool[2]).filter(|x| *x < input.size.width) {
                            let at = input.size.at(t, y, x);
                            best = best.filter(|best| sums[*best] >= sums[at]).or(Some(at));
                        }
                    }
                }
                self.from.push(best.filter(|best| sums[*best] > 0.0).map(|best| filter * places + best));
                values.push(best.map_or(0.0, |best| sums[best].max(0.0)));
            }
        }
        Volume { size: pooled, values }
    }

    fn backward(&self, gradient: &[f64]) -> Vec<f64> {
        let places = self.input.positions();
        let inputs = self.weight.len() / 27 / self.bias.len();
        let mut dense = vec![0.0; self.bias.len() * places];
        for (from, gradient) in self.from.iter().zip(gradient) {
            if let Some(from) = from {
                dense[*from] += gradient;
            }
        }
        let mut result = vec![0.0; inputs * places];
        taps(self.input, |to, from, tap| {
            for filter in 0..self.bias.len() {
                for i in 0..inputs {
                    result[i * places + from] +=
                        f64::from(self.weight[(filter * inputs + i) * 27 + tap]) * dense[filter * places + to];
                }
            }
        });
        result
    }
}

/// What both give for clips `[N, T, H, W, 3]`: pooled values `[N, C, T, H, W]` and, from their gradient, maps `[N, T, H, W]`.
fn reference(layers: &mut [Layer], size: Size, clips: &[f32], gradient: &[f32]) -> (Vec<f64>, Vec<f64>) {
    let (mut features, mut maps) = (Vec::new(), Vec::new());
    let places = size.positions();
    let mut gradients = gradient.iter().map(|g| f64::from(*g));
    for clip in clips.chunks_exact(places * 3) {
        let values = (0..3 * places).map(|i| clip[i % places * 3 + i / places].into()).collect();
        let mut volume = Volume { size, values };
        for (number, layer) in layers.iter_mut().enumerate() {
            volume = layer.forward(&volume, POOLS[number.min(1)]);
        }
        let mut gradient: Vec<f64> = gradients.by_ref().take(volume.values.len()).collect();
        features.extend(volume.values);
        for layer in layers.iter().rev() {
            gradient = layer.backward(&gradient);
        }
        maps.extend((0..places).map(|at| (0..3).map(|c| gradient[c * places + at].abs()).fold(0.0, f64::max)));
    }
    (features, maps)
}

fn layers(widths: &[usize], mut weight: impl FnMut(usize) -> f32, mut bias: impl FnMut() -> f32) -> Vec<Layer> {
    let pairs = widths.windows(2);
    pairs
        .map(|pair| Layer {
            weight: (0..pair[0] * pair[1] * 27).map(|_| weight(pair[0])).collect(),
            bias: (0..pair[1]).map(|_| bias()).collect(),
            input: Size { frames: 0, height: 0, width: 0 },
            from: Vec::new(),
        })
        .collect()
}

fn network(layers: &[Layer], size: Size, threads: usize, simd: Simd) -> Convolutions {
    let weights: Vec<Weights> = layers.iter().map(|l| Weights { weight: &l.weight, bias: &l.bias }).collect();
    Convolutions::new(&weights, size, threads, simd).unwrap()
}

fn last_size(size: Size, layers: usize) -> Size {
    (0..layers).fold(size, |size, number| size.pooled(POOLS[number.min(1)]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Small whole numbers are exact in float32, in Winograd's transforms too, and tie often: all must be equal, not just near.
    #[test]
    fn equal_to_the_reference_on_any_shape(
        (frames, height, width) in (1usize..6, 1usize..12, 1usize..20),
        (first, second) in (1usize..70, 1usize..70),
        clips in 1usize..3,
        threads in 1usize..4,
        seed in any::<u64>(),
    ) {
        let mut rng = StdRng::seed_from_u64(seed);
        let size = Size { frames, height, width };
        let mut rng_bias = StdRng::seed_from_u64(!seed);
        let mut layers = layers(
            &[3, first, second],
            |_| rng.random_range(-1..=1) as f32,
            || rng_bias.random_range(-6..=2) as f32,
        );
        let mut whole = |count: usize, range: i32| -> Vec<f32> {
            (0..count).map(|_| rng_bias.random_range(-range..=range) as f32).collect()
        };
        let input = whole(clips * size.positions() * 3, 2);
        let gradient = whole(clips * second * last_size(size, 2).positions(), 2);
        let (features, maps) = reference(&mut layers, size, &input, &gradient);
        for simd in Simd::available() {
            let mut network = network(&layers, size, threads, simd);
            // Twice: what a pass leaves behind must not matter.
            for _ in 0..2 {
                let ours: Vec<f64> = network.forward(&input).into_iter().map(f64::from).collect();
                prop_assert_eq!(&ours, &features, "features by {}", simd);
                let ours: Vec<f64> = network.backward(&gradient).into_iter().map(f64::from).collect();
                prop_assert_eq!(&ours, &maps, "maps by {}", simd);
            }
        }
    }
}

/// Five layers and real numbers, by the sizes that rounding up matters for: 28 -> 14 -> 7 -> 4 -> 2 -> 1.
#[test]
fn near_the_reference_through_five_layers() {
    let mut rng = StdRng::seed_from_u64(6);
    let mut bias = StdRng::seed_from_u64(7);
    let size = Size { frames: 5, height: 28, width: 26 };
    let mut layers = layers(
        &[3, 20, 33, 40, 48, 17],
        |inputs| rng.random_range(-1.0..1.0) * (6.0 / (27.0 * inputs as f32)).sqrt(),
        || bias.random_range(-0.2..0.1),
    );
    let clip: Vec<f32> = (0..size.positions() * 3).map(|_| bias.random_range(-1.7..1.7)).collect();
    let gradient: Vec<f32> = (0..17 * last_size(size, 5).positions()).map(|_| bias.random_range(-1.0..1.0)).collect();
    let (features, maps) = reference(&mut layers, size, &clip, &gradient);
    for simd in Simd::available() {
        let mut network = network(&layers, size, 2, simd);
        let error = |ours: &[f32], truth: &[f64]| {
            let largest = truth.iter().copied().fold(0.0, f64::max);
            assert!(largest > 0.0 && ours.len() == truth.len());
            ours.iter().zip(truth).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max) / largest
        };
        let off = error(&network.forward(&clip), &features);
        assert!(off < 1e-5, "features by {simd}: {off} of the largest");
        let off = error(&network.backward(&gradient), &maps);
        assert!(off < 1e-5, "maps by {simd}: {off} of the largest");
    }
}

/// However many threads share the work: the same bits.
#[test]
fn the_same_with_any_number_of_threads() {
    let mut rng = StdRng::seed_from_u64(8);
    let size = Size { frames: 8, height: 20, width: 36 };
    let layers = layers(&[3, 32, 64, 32], |_| rng.random_range(-0.1..0.1), || 0.0);
    let clip: Vec<f32> = (0..size.positions() * 3).map(|_| rng.random_range(-1.0..1.0)).collect();
    let run = |threads| {
        let mut network = network(&layers, size, threads, Simd::best());
        let features = network.forward(&clip);
        (network.backward(&features), features)
    };
    let one = run(1);
    assert!(one.0.iter().any(|value| *value > 0.0));
    assert_eq!(one, run(2));
    assert_eq!(one, run(3));
}
