//! The network and the importance against a float64 reference that shares nothing with them, and against finite
//! differences; and that nothing piles up over many segments.

use desumnet_engine::{
    importance::{Aggregation, Form, Forward},
    network::{Array, CONVS, Network},
};
use desumnet_frames::clip::{CROP, FRAMES};
use test_support::waves as clip;

fn network() -> Network {
    Network::new(test_support::tiny_network(1)).unwrap()
}

fn scores(network: &Network, clips: &[&[u8]], categories: &[usize], form: Form) -> Vec<Vec<f32>> {
    Forward::new(network, clips).unwrap().frame_scores(categories, form).unwrap()
}

fn relative(got: &[f32], expected: &[f64]) -> f64 {
    let largest = expected.iter().fold(0.0f64, |m, e| m.max(e.abs()));
    got.iter().zip(expected).map(|(&g, e)| (f64::from(g) - e).abs() / largest).fold(0.0, f64::max)
}

/// Plain loops in float64, from the digest's formulas: from the weights as they are.
mod reference {
    use super::*;

    /// `[channels][frames][rows][columns]`
    struct Volume {
        shape: [usize; 4],
        data: Vec<f64>,
    }

    impl Volume {
        fn zeros(shape: [usize; 4]) -> Self {
            Self { shape, data: vec![0.0; shape.iter().product()] }
        }
        fn at(&self, [c, t, y, x]: [usize; 4]) -> usize {
            ((c * self.shape[1] + t) * self.shape[2] + y) * self.shape[3] + x
        }
    }

    fn values(array: &Array) -> Vec<f64> {
        array.values.iter().copied().map(f64::from).collect()
    }

    /// Calls `each(input index, output index, weight index)` for every product of a 3x3x3 convolution with padding 1.
    fn convolve(input: &Volume, output: &Volume, mut each: impl FnMut(usize, usize, usize)) {
        let [channels, frames, rows, columns] = input.shape;
        let near = |i: usize, k: usize, n: usize| (i + k).checked_sub(1).filter(|&j| j < n);
        for o in 0..output.shape[0] {
            for c in 0..channels {
                for k in 0..27 {
                    let (kt, ky, kx) = (k / 9, k / 3 % 3, k % 3);
                    for t in 0..frames {
                        let Some(ti) = near(t, kt, frames) else { continue };
                        for y in 0..rows {
                            let Some(yi) = near(y, ky, rows) else { continue };
                            for x in 0..columns {
                                let Some(xi) = near(x, kx, columns) else { continue };
                                each(input.at([c, ti, yi, xi]), output.at([o, t, y, x]), (o * channels + c) * 27 + k);
                            }
                        }
                    }
                }
            }
        }
    }

    /// Max pooling, sizes rounded up, and where each maximum came from.
    fn pool(input: &Volume, time: usize) -> (Volume, Vec<usize>) {
        let [channels, frames, rows, columns] = input.shape;
        let mut output = Volume::zeros([channels, frames / time, rows.div_ceil(2), columns.div_ceil(2)]);
        let mut from = vec![usize::MAX; output.data.len()];
        for c in 0..channels {
            for t in 0..frames {
                for y in 0..rows {
                    for x in 0..columns {
                        let (i, o) = (input.at([c, t, y, x]), output.at([c, t / time, y / 2, x / 2]));
                        if from[o] == usize::MAX || input.data[i] > output.data[o] {
                            output.data[o] = input.data[i];
                            from[o] = i;
                        }
                    }
                }
            }
        }
        (output, from)
    }

    /// Probability of the category, and the 16 frame scores, of a clip.
    pub fn score(clip: &[u8], category: usize, form: Form) -> (f64, Vec<f64>) {
        let model = test_support::tiny_network(1);
        let (mean, std) = (model.header.mean, model.header.std);
        let mut x = Volume::zeros([3, FRAMES, CROP, CROP]);
        for (i, &byte) in clip.iter().enumerate() {
            let c = i % 3;
            x.data[c * FRAMES * CROP * CROP + i / 3] = (f64::from(byte) - mean[c]) / std[c];
        }
        // Forward; what backward needs is kept.
        let mut tape = Vec::new();
        for (i, layer) in model.layers[..CONVS].iter().enumerate() {
            let (weight, bias) = (values(&layer.weight), values(&layer.bias));
            let mut y = Volume::zeros([bias.len(), x.shape[1], x.shape[2], x.shape[3]]);
            let plane: usize = y.shape[1..].iter().product();
            for (j, value) in y.data.iter_mut().enumerate() {
                *value = bias[j / plane];
            }
            let mut sums = std::mem::take(&mut y.data);
            convolve(&x, &y, |i, o, w| sums[o] += x.data[i] * weight[w]);
            y.data = sums.into_iter().map(|v| v.max(0.0)).collect();
            let (pooled, from) = pool(&y, if i == 0 { 1 } else { 2 });
            tape.push((x.shape, y, from, weight));
            x = pooled;
        }
        let mut activations = vec![x.data.clone()];
        for (i, layer) in model.layers[CONVS..].iter().enumerate() {
            let (weight, bias) = (values(&layer.weight), values(&layer.bias));
            let input = &activations[i];
            let output = bias.iter().enumerate().map(|(o, b)| {
                let sum: f64 = b + input.iter().zip(&weight[o * input.len()..]).map(|(x, w)| x * w).sum::<f64>();
                if i < 2 { sum.max(0.0) } else { sum }
            });
            let output = output.collect();
            activations.push(output);
        }
        let logits = &activations[3];
        let total: f64 = logits.iter().map(|z| z.exp()).sum();
        let p: Vec<f64> = logits.iter().map(|z| z.exp() / total).collect();
        // Backward, from the one-hot vector (Equation 2).
        let hot = |c: usize| f64::from(u8::from(c == category));
        let mut gradient: Vec<f64> = (0..p.len())
            .map(|c| match form {
                Form::Logit => hot(c),
                Form::Weighted => p[category] * hot(c),
                Form::Probability => p[category] * (hot(c) - p[c]),
                Form::Unusual | Form::Auto => unreachable!("not of a category alone"),
            })
            .collect();
        for (i, layer) in model.layers[CONVS..].iter().enumerate().rev() {
            let (weight, n) = (values(&layer.weight), activations[i].len());
            gradient = (0..n)
                .map(|j| {
                    let sum = gradient.iter().enumerate().map(|(o, g)| g * weight[o * n + j]).sum();
                    if i == 0 || activations[i][j] > 0.0 { sum } else { 0.0 }
                })
                .collect();
        }
        for (shape, y, from, weight) in tape.into_iter().rev() {
            let mut behind = vec![0.0; y.data.len()];
            for (g, &i) in gradient.iter().zip(&from) {
                if y.data[i] > 0.0 {
                    behind[i] += g;
                }
            }
            let x = Volume::zeros(shape);
            gradient = x.data.clone();
            convolve(&x, &y, |i, o, w| gradient[i] += behind[o] * weight[w]);
        }
        let plane = CROP * CROP;
        let largest =
            |t: usize, i: usize| (0..3).map(|c| gradient[(c * FRAMES + t) * plane + i].abs()).fold(0.0, f64::max);
        let frames = (0..FRAMES).map(|t| (0..plane).map(|i| largest(t, i)).sum::<f64>() / plane as f64);
        (p[category], frames.collect())
    }
}

#[test]
fn all_three_forms_equal_the_float64_reference() {
    let clip = clip(0);
    let network = network();
    for form in [Form::Logit, Form::Probability, Form::Weighted] {
        let (p, expected) = reference::score(&clip, 2, form);
        let forward = Forward::new(&network, &[&clip]).unwrap();
        assert!((f64::from(forward.probabilities[0][2]) - p).abs() < 1e-5);
        let got = forward.frame_scores(&[2], form).unwrap().remove(0);
        let apart = relative(&got, &expected);
        assert!(apart < 1e-4, "{form:?}: {apart}\n{got:?}\n{expected:?}");
    }
}

#[test]
fn every_form_at_once_is_each_form_by_itself() {
    let (clips, network) = ([clip(0), clip(1)], network());
    let clips: Vec<&[u8]> = clips.iter().map(Vec::as_slice).collect();
    let together = Forward::new(&network, &clips).unwrap().frame_scores_in_every_form(&[2, 0]).unwrap();
    for (form, got) in [Form::Weighted, Form::Logit, Form::Probability].into_iter().zip(together) {
        for (got, alone) in got.iter().zip(scores(&network, &clips, &[2, 0], form)) {
            let apart = relative(got, &alone.iter().map(|&score| f64::from(score)).collect::<Vec<_>>());
            assert!(apart < 1e-5, "{form:?}: {apart}\n{got:?}\n{alone:?}");
        }
    }
}

#[test]
fn clips_of_a_batch_do_not_touch_each_other() {
    let network = network();
    let (a, b) = (clip(1), clip(2));
    let together = scores(&network, &[&a, &b], &[0, 2], Form::Weighted);
    for (clip, category, got) in [(&a, 0, &together[0]), (&b, 2, &together[1])] {
        let alone = scores(&network, &[clip], &[category], Form::Weighted).remove(0);
        let alone: Vec<f64> = alone.into_iter().map(f64::from).collect();
        assert!(relative(got, &alone) < 1e-5);
    }
}

#[test]
fn aggregations_are_the_mean_and_the_maximum() {
    let scores = [1.0, 4.0, 2.0, 5.0];
    assert_eq!((Aggregation::Mean.of(&scores), Aggregation::Max.of(&scores)), (3.0, 5.0));
}

#[test]
fn memory_stays_flat_over_a_thousand_segments() {
    let model = test_support::network([1, 1, 1, 1, 1, 1, 1], 1);
    let network = Network::new(model).unwrap();
    let clip = clip(0);
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let score = |n| (0..n).for_each(|_| drop(scores(&network, &[&clip], &[0], Form::Weighted)));
    score(50);
    let before = resident();
    score(1_000);
    let grown = resident().saturating_sub(before);
    // One segment's input alone is 2,400 kB.
    assert!(grown < 100_000, "{grown} kB more after 1,000 segments");
}
