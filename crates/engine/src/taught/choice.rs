//! Learns a [`Head`] from examples: how strongly to hold it back is tried on moments left out.
//!
//! Three things count alike: the features as they are, in which what varies most counts most; each feature by how much it varies, for what
//! matters may vary little; and the motion, likewise. Few examples don't tell which of them a task needs: of a train that passes a camera the
//! first is enough, of fights among quiet clips the second.

use nalgebra::DMatrix;

use super::{
    Example,
    logistic::{Plane, fit, products},
};
use crate::{average_precision, network::head::Head};

/// Penalties that are tried. Of equals the first is taken: what is held back most.
const PENALTIES: [f64; 4] = [0.3, 0.03, 0.003, 0.000_3];
/// Most parts of the examples, each of which is left out once.
const FOLDS: usize = 5;
/// Least deviation of a dimension, by the median one: what hardly varied is not blown up.
const LEAST: f64 = 0.1;

/// A head, and how well it does.
#[derive(Clone, Debug)]
pub struct Lesson {
    pub head: Head,
    /// Of moments that were left out when it was learned, ranked by it; 1 is best. `None`: there are too few to leave any out.
    pub average_precision: Option<f64>,
    /// The same of a random order.
    pub chance: f64,
}

/// Learns from examples, of which some are wanted and some not; all have features and motion of the same dimensions.
pub fn teach(examples: &[Example]) -> Lesson {
    let wanted: Vec<bool> = examples.iter().map(|example| example.wanted).collect();
    let features = || examples.iter().map(|e| e.features.iter().map(|&x| x.into()).collect()).collect();
    let motion = examples.iter().map(|example| example.motion.clone()).collect();
    let views = [Scaled::whole(features()), Scaled::each(features()), Scaled::each(motion)];
    let (rows, folds) = (joined(&views), folds(examples));
    let all = products(&rows);
    let tried = PENALTIES.map(|penalty| {
        let outputs = left_out(&rows, &all, &wanted, &folds, penalty);
        (outputs.as_deref().map_or(0.0, |outputs| loss(outputs, &wanted)), outputs, penalty)
    });
    let best = tried.into_iter().reduce(|best, next| if next.0 < best.0 { next } else { best });
    let (_, outputs, penalty) = best.unwrap_or((0.0, None, PENALTIES[0]));
    Lesson {
        head: head(&fit(&rows, &all, &wanted, penalty), &views),
        average_precision: outputs.and_then(|outputs| average_precision(&outputs, &wanted)),
        chance: wanted.iter().filter(|&&wanted| wanted).count() as f64 / wanted.len().max(1) as f64,
    }
}

/// Examples on one scale: each dimension less its mean, so that the squares of a row come to about 1.
struct Scaled {
    rows: Vec<Vec<f64>>,
    means: Vec<f64>,
    scales: Vec<f64>,
}

impl Scaled {
    /// All dimensions by the same scale.
    fn whole(rows: Vec<Vec<f64>>) -> Self {
        Self::new(rows, |deviations| {
            let length = deviations.iter().map(|deviation| deviation * deviation).sum::<f64>().sqrt();
            vec![if length > 0.0 { 1.0 / length } else { 1.0 }; deviations.len()]
        })
    }

    /// Each dimension by its own deviation.
    fn each(rows: Vec<Vec<f64>>) -> Self {
        Self::new(rows, |deviations| {
            // Behind a ReLU, some never answer.
            let mut varied: Vec<f64> = deviations.iter().copied().filter(|&deviation| deviation > 0.0).collect();
            varied.sort_by(f64::total_cmp);
            let least = LEAST * varied.get(varied.len() / 2).copied().unwrap_or(1.0);
            let root = (deviations.len() as f64).sqrt();
            deviations.iter().map(|deviation| 1.0 / (deviation.max(least) * root)).collect()
        })
    }

    fn new(mut rows: Vec<Vec<f64>>, scales: impl Fn(&[f64]) -> Vec<f64>) -> Self {
        let dimensions = rows.first().map_or(0, Vec::len);
        let mean = |of: &dyn Fn(&Vec<f64>) -> f64| rows.iter().map(of).sum::<f64>() / rows.len() as f64;
        let means: Vec<f64> = (0..dimensions).map(|d| mean(&|row| row[d])).collect();
        let deviation = |d: usize| mean(&|row: &Vec<f64>| (row[d] - means[d]).powi(2)).sqrt();
        let scales = scales(&(0..dimensions).map(deviation).collect::<Vec<f64>>());
        for row in &mut rows {
            row.iter_mut().zip(&means).zip(&scales).for_each(|((x, mean), scale)| *x = (*x - mean) * scale);
        }
        Self { rows, means, scales }
    }

    /// The weights of what was scaled, as those of what was not, and what that takes off the bias.
    fn unscaled(&self, weights: &[f64], gain: f64) -> (Vec<f64>, f64) {
        let weights: Vec<f64> = weights.iter().zip(&self.scales).map(|(weight, scale)| weight * scale * gain).collect();
        let off = weights.iter().zip(&self.means).map(|(weight, mean)| weight * mean).sum();
        (weights, off)
    }
}

/// The views of each example in one row, each with the same share of the squared length.
fn joined(views: &[Scaled; 3]) -> Vec<Vec<f64>> {
    let row = |i: usize| views.iter().flat_map(|view| &view.rows[i]).map(|x| x * gain()).collect();
    (0..views[0].rows.len()).map(row).collect()
}

fn gain() -> f64 {
    (1.0 / 3.0f64).sqrt()
}

fn head(plane: &Plane, views: &[Scaled; 3]) -> Head {
    let mut weights = &plane.weights[..];
    let [(whole, a), (each, b), (motion, c)] = views.each_ref().map(|view| {
        let (own, rest) = weights.split_at(view.means.len());
        weights = rest;
        view.unscaled(own, gain())
    });
    Head {
        features: whole.iter().zip(each).map(|(whole, each)| (whole + each) as f32).collect(),
        motion: motion.into_iter().map(|weight| weight as f32).collect(),
        bias: (plane.bias - a - b - c) as f32,
    }
}

/// Which examples are left out together: whole moments, where there are at least two of a class, and else parts of the one that there is.
fn folds(examples: &[Example]) -> Vec<usize> {
    let mut folds = vec![0; examples.len()];
    for class in [true, false] {
        let own: Vec<usize> = (0..examples.len()).filter(|&i| examples[i].wanted == class).collect();
        let mut moments: Vec<usize> = own.iter().map(|&i| examples[i].moment).collect();
        moments.sort_unstable();
        moments.dedup();
        for (place, &i) in own.iter().enumerate() {
            folds[i] = match moments.binary_search(&examples[i].moment) {
                Ok(number) if moments.len() > 1 => number % FOLDS,
                _ => place * FOLDS / own.len(),
            };
        }
    }
    folds
}

/// The output for each example of a plane that was fitted without its fold; `None` if in no fold there is anything to learn from.
fn left_out(rows: &[Vec<f64>], all: &DMatrix<f64>, wanted: &[bool], folds: &[usize], penalty: f64) -> Option<Vec<f64>> {
    let mut outputs = vec![0.0; rows.len()];
    for fold in 0..FOLDS {
        let (kept, out): (Vec<usize>, Vec<usize>) = (0..rows.len()).partition(|&i| folds[i] != fold);
        if out.is_empty() {
            continue;
        }
        let labels: Vec<bool> = kept.iter().map(|&i| wanted[i]).collect();
        if labels.iter().all(|&wanted| wanted) || !labels.contains(&true) {
            return None;
        }
        let own: Vec<Vec<f64>> = kept.iter().map(|&i| rows[i].clone()).collect();
        let products = all.select_rows(&kept).select_columns(&kept);
        let plane = fit(&own, &products, &labels, penalty);
        out.into_iter().for_each(|i| outputs[i] = plane.of(&rows[i]));
    }
    Some(outputs)
}

/// Mean loss, both classes alike.
fn loss(outputs: &[f64], wanted: &[bool]) -> f64 {
    let of_class = |class: bool| {
        let own = outputs.iter().zip(wanted).filter(|(_, wanted)| **wanted == class);
        let (sum, count) = own.fold((0.0, 0.0), |(sum, count), (output, _)| {
            let against = if class { -output } else { *output };
            (sum + against.max(0.0) + (-against.abs()).exp().ln_1p(), count + 1.0)
        });
        sum / f64::max(count, 1.0)
    };
    0.5 * (of_class(true) + of_class(false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    /// Ten moments of six segments a class: features that tell nothing but the moment, and motion that tells the class.
    fn examples(seed: u64, by_motion: f64, by_features: f64) -> Vec<Example> {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut noise = move || rng.random::<f64>() * 2.0 - 1.0;
        let mut all = Vec::new();
        for moment in 0..20 {
            let wanted = moment % 2 == 0;
            let sign = if wanted { 1.0 } else { -1.0 };
            let own: Vec<f64> = (0..300).map(|_| noise()).collect();
            for _ in 0..6 {
                let feature = |(d, own): (usize, &f64)| {
                    let tells = if d < 30 { sign * by_features } else { 0.0 };
                    (5.0 + own + tells + 0.3 * noise()) as f32
                };
                let features = own.iter().enumerate().map(feature).collect();
                let motion = (0..49).map(|d| 1.0 + noise() + if d < 5 { sign * by_motion } else { 0.0 }).collect();
                all.push(Example { features, motion, wanted, moment });
            }
        }
        all
    }

    #[test]
    fn what_tells_the_classes_apart_is_found_in_motion_and_in_features() {
        for (motion, features) in [(1.5, 0.0), (0.0, 1.5)] {
            let lesson = teach(&examples(1, motion, features));
            assert!(lesson.average_precision.unwrap() > 0.9, "{:?}", lesson.average_precision);
            let others = examples(2, motion, features);
            let scores: Vec<f64> =
                others.iter().map(|e| lesson.head.probability(&e.features, &e.motion).into()).collect();
            let wanted: Vec<bool> = others.iter().map(|example| example.wanted).collect();
            assert!(average_precision(&scores, &wanted).unwrap() > 0.9);
            let right = scores.iter().zip(&wanted).filter(|(score, wanted)| (**score > 0.5) == **wanted).count();
            assert!(right >= 100, "{right} of 120");
        }
    }

    #[test]
    fn where_nothing_tells_them_apart_it_says_so() {
        let lesson = teach(&examples(3, 0.0, 0.0));
        assert_eq!(lesson.chance, 0.5);
        assert!(lesson.average_precision.unwrap() < 0.7, "{:?}", lesson.average_precision);
    }

    #[test]
    fn moments_are_left_out_whole_and_a_single_one_in_parts() {
        let example = |wanted, moment| Example { features: vec![], motion: vec![], wanted, moment };
        let all: Vec<Example> =
            (0..10).map(|_| example(true, 7)).chain((0..6).map(|n| example(false, n / 2))).collect();
        assert_eq!(folds(&all), [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 0, 0, 1, 1, 2, 2]);
    }

    #[test]
    fn one_example_of_each_is_enough_to_learn_and_too_few_to_judge() {
        let of =
            |x: f32, wanted| Example { features: vec![x, 0.0], motion: vec![0.0; 49], wanted, moment: wanted.into() };
        let lesson = teach(&[of(1.0, true), of(-1.0, false)]);
        assert_eq!(lesson.average_precision, None);
        assert!(lesson.head.probability(&[1.0, 0.0], &vec![0.0; 49]) > 0.5);
        assert!(lesson.head.probability(&[-1.0, 0.0], &vec![0.0; 49]) < 0.5);
    }
}
