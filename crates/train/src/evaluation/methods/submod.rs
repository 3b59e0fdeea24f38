//! SubMod: a learnt mixture of submodular objectives (Gygli, Grabner, Van Gool: Video Summarization by Learning Submodular
//! Mixtures of Objectives, CVPR 2015).
//!
//! A summary is good as far as it is interesting, represents the video and is spread evenly: a mixture of three objectives of
//! sets of units, each monotone and submodular, so that greedy selection reaches (1 - 1/e) of the best. The weights of the
//! mixture are learnt from people's summaries by structured learning (Lin, Bilmes: Learning Mixtures of Submodular Shells,
//! UAI 2012, algorithm 1). Units are ranked in the order of greedy selection.
//!
//! **Our choices.** Interest, for which the paper has a predictor of its own (of frames' faces, landmarks, motion), is
//! people's importance, predicted by ridge regression on principal components of the features; a training video's is
//! predicted from the others, so that the weights are learnt on predictions as good as a new video's. Distances are squared,
//! as a mean over the units.

use std::{cmp::Ordering, collections::BinaryHeap};

use nalgebra::{DMatrix, DVector};

use super::{COMPONENTS, Labelled, by_order, principal::Principal};

/// Passes over the training videos when the weights are learnt.
const ROUNDS: usize = 10;
/// Ridge penalty, as a share of the components' mean square.
const RIDGE: f64 = 0.1;

/// Interest, representativeness and uniformity.
const OBJECTIVES: usize = 3;

#[derive(Debug)]
pub struct Mixture {
    principal: Principal,
    interest: DVector<f64>,
    /// Of the objectives, 0 or more, together 1.
    weights: [f64; OBJECTIVES],
    /// Share of a video's units that people select.
    share: f64,
}

impl Mixture {
    /// From training videos that have selected units.
    pub fn learn(training: &[Labelled]) -> Self {
        let principal = Principal::of_all(training.iter().map(|video| video.features), COMPONENTS);
        // The constant component learns the mean importance.
        let units: Vec<DMatrix<f64>> =
            training.iter().map(|video| with_constant(principal.coordinates(video.features))).collect();
        let sums: Vec<Regression> =
            units.iter().zip(training).map(|(units, video)| Regression::of(units, video.importance)).collect();
        let mut all = Regression::none(principal.singular.len() + 1);
        sums.iter().for_each(|sums| all.add(sums, 1.0));
        let examples: Vec<(Objectives, Vec<usize>)> = units
            .iter()
            .zip(&sums)
            .zip(training)
            .map(|((units, own), video)| {
                let mut others = all.clone();
                if training.len() > 1 {
                    others.add(own, -1.0);
                }
                let selected: Vec<usize> = (0..units.nrows()).filter(|&i| video.selected[i]).collect();
                (Objectives::new(video.features, &(units * others.solve()), selected.len()), selected)
            })
            .filter(|(_, selected)| !selected.is_empty())
            .collect();
        let selected: usize = examples.iter().map(|(_, selected)| selected.len()).sum();
        let count: usize = training.iter().map(|video| video.features.nrows()).sum();
        let share = selected as f64 / count as f64;
        Self { principal, interest: all.solve(), weights: weights(&examples), share }
    }

    /// Scores by the order of selection, (0, 1].
    pub fn score(&self, features: &DMatrix<f64>) -> Vec<f64> {
        let interest = with_constant(self.principal.coordinates(features)) * &self.interest;
        let usual = (self.share * features.nrows() as f64).round().max(1.0) as usize;
        by_order(&greedy(&Objectives::new(features, &interest, usual), &self.weights, features.nrows(), |_| 0.0))
    }
}

fn with_constant(units: DMatrix<f64>) -> DMatrix<f64> {
    let last = units.ncols();
    units.insert_column(last, 1.0)
}

/// Sums over units from which a ridge regression is solved; a part can be taken out again.
#[derive(Clone)]
struct Regression {
    gram: DMatrix<f64>,
    products: DVector<f64>,
}

impl Regression {
    fn none(components: usize) -> Self {
        Self { gram: DMatrix::zeros(components, components), products: DVector::zeros(components) }
    }

    fn of(units: &DMatrix<f64>, importance: &[f64]) -> Self {
        let transposed = units.transpose();
        Self { gram: &transposed * units, products: transposed * DVector::from_column_slice(importance) }
    }

    fn add(&mut self, other: &Self, times: f64) {
        self.gram += &other.gram * times;
        self.products.axpy(times, &other.products, 1.0);
    }

    /// Weights of the components. The last one, the constant, has no penalty.
    fn solve(&self) -> DVector<f64> {
        let mut gram = self.gram.clone();
        let last = gram.nrows() - 1;
        let penalty = RIDGE * (gram.trace() - gram[(last, last)]) / last.max(1) as f64;
        (0..last).for_each(|i| gram[(i, i)] += penalty);
        // Without a solution, which takes units that are all the same, nothing is of interest.
        gram.cholesky().map_or_else(|| DVector::zeros(last + 1), |cholesky| cholesky.solve(&self.products))
    }
}

/// The objectives of a video, each 0 of no units, rising with each unit, about 1 at the most.
#[derive(Debug)]
struct Objectives {
    /// Of each unit: sums up to the objective.
    interest: Vec<f64>,
    /// Distances between units as shares of their mean, 1 at the most, `[units, units]`: by features and by time.
    distances: [DMatrix<f64>; 2],
}

/// A set of units and what its objectives need.
#[derive(Clone)]
struct Selection {
    /// Of each unit to the set: by features and by time.
    nearest: [DVector<f64>; 2],
    values: [f64; OBJECTIVES],
}

impl Objectives {
    /// `usual`: units of a summary, whose interest comes to 1 at the most.
    fn new(features: &DMatrix<f64>, interest: &DVector<f64>, usual: usize) -> Self {
        let interest = interest.iter().map(|value| value.clamp(0.0, 1.0) / usual as f64).collect();
        let units = features.nrows();
        let products = features * features.transpose();
        let by_features = DMatrix::from_fn(units, units, |i, j| {
            (products[(i, i)] + products[(j, j)] - 2.0 * products[(i, j)]).max(0.0)
        });
        let by_time = DMatrix::from_fn(units, units, |i, j| (i as f64 - j as f64).powi(2));
        let shares = |distances: DMatrix<f64>| {
            // A phantom unit at the mean distance stands for the empty set (paper, equation 8).
            let mean = distances.mean();
            if mean > 0.0 { distances.map(|distance| (distance / mean).min(1.0)) } else { distances }
        };
        Self { interest, distances: [by_features, by_time].map(shares) }
    }

    fn none(&self) -> Selection {
        let units = self.interest.len();
        Selection { nearest: [(); 2].map(|()| DVector::from_element(units, 1.0)), values: [0.0; OBJECTIVES] }
    }

    /// What a unit would add to each objective: its interest, and the fall of the mean distance to the set (k-medoids).
    fn gains(&self, selection: &Selection, unit: usize) -> [f64; OBJECTIVES] {
        let fall = |nearest: &DVector<f64>, distances: &DMatrix<f64>| {
            let falls =
                nearest.iter().zip(distances.column(unit)).map(|(nearest, distance)| (nearest - distance).max(0.0));
            falls.sum::<f64>() / nearest.len() as f64
        };
        let [by_features, by_time] = [0, 1].map(|i| fall(&selection.nearest[i], &self.distances[i]));
        [self.interest[unit], by_features, by_time]
    }

    fn add(&self, selection: &mut Selection, unit: usize) {
        let gains = self.gains(selection, unit);
        selection.values.iter_mut().zip(gains).for_each(|(value, gain)| *value += gain);
        for (nearest, distances) in selection.nearest.iter_mut().zip(&self.distances) {
            nearest.zip_apply(&distances.column(unit), |nearest, distance| *nearest = nearest.min(distance));
        }
    }

    fn of(&self, units: &[usize]) -> [f64; OBJECTIVES] {
        let mut selection = self.none();
        units.iter().for_each(|&unit| self.add(&mut selection, unit));
        selection.values
    }
}

/// A unit and what it would have added at `round`.
struct Candidate {
    gain: f64,
    unit: usize,
    round: usize,
}

impl Ord for Candidate {
    /// By gain; of equals the earlier unit is the greater.
    fn cmp(&self, other: &Self) -> Ordering {
        self.gain.total_cmp(&other.gain).then(other.unit.cmp(&self.unit))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Candidate {}

/// The `count` units in order, each the one that adds most to the mixture and the `bonus` of the unit itself. Gains only
/// fall as a set grows, so that only those at the head need be found anew (Minoux, 1978).
fn greedy(
    objectives: &Objectives,
    weights: &[f64; OBJECTIVES],
    count: usize,
    bonus: impl Fn(usize) -> f64,
) -> Vec<usize> {
    let mut selection = objectives.none();
    let gain = |selection: &Selection, unit: usize| dot(weights, &objectives.gains(selection, unit)) + bonus(unit);
    let all = 0..objectives.interest.len();
    let mut heap: BinaryHeap<Candidate> =
        all.map(|unit| Candidate { gain: gain(&selection, unit), unit, round: 0 }).collect();
    let mut order = Vec::with_capacity(count);
    while order.len() < count
        && let Some(Candidate { unit, round, .. }) = heap.pop()
    {
        if round == order.len() {
            objectives.add(&mut selection, unit);
            order.push(unit);
        } else {
            heap.push(Candidate { gain: gain(&selection, unit), unit, round: order.len() });
        }
    }
    order
}

fn dot(a: &[f64; OBJECTIVES], b: &[f64; OBJECTIVES]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The weights for which people's summaries come before all others by a margin: the share of the selection that people did
/// not select. Projected subgradient descent; the mean over the steps.
fn weights(examples: &[(Objectives, Vec<usize>)]) -> [f64; OBJECTIVES] {
    let steps = (ROUNDS * examples.len()) as f64;
    // Lin and Bilmes, theorem 1, with values and losses of at most 1.
    let lambda = (2.0 * (1.0 + steps.ln()) / steps).sqrt();
    let (mut weights, mut sums) = ([0.0; OBJECTIVES], [0.0; OBJECTIVES]);
    for step in 0..ROUNDS * examples.len() {
        let (objectives, selected) = &examples[step % examples.len()];
        let wrong = 1.0 / selected.len() as f64;
        let found = greedy(objectives, &weights, selected.len(), |unit| {
            // Sorted: numbers rise.
            if selected.binary_search(&unit).is_ok() { 0.0 } else { wrong }
        });
        let (of_found, of_selected) = (objectives.of(&found), objectives.of(selected));
        let rate = 2.0 / (lambda * (step + 1) as f64);
        for i in 0..OBJECTIVES {
            weights[i] = (weights[i] - rate * (lambda * weights[i] + of_found[i] - of_selected[i])).max(0.0);
        }
        weights = to_sum_1(weights);
        (0..OBJECTIVES).for_each(|i| sums[i] += weights[i]);
    }
    let weights = to_sum_1(sums);
    // Where people's choices speak for no objective, all count the same.
    if weights == [0.0; OBJECTIVES] { [1.0 / OBJECTIVES as f64; OBJECTIVES] } else { weights }
}

fn to_sum_1(weights: [f64; OBJECTIVES]) -> [f64; OBJECTIVES] {
    let sum: f64 = weights.iter().sum();
    if sum > 0.0 { weights.map(|weight| weight / sum) } else { weights }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    prop_compose! {
        fn some_objectives(units: usize)(
            values in prop::collection::vec(-1.0f64..1.0, units * 3), interest in prop::collection::vec(0.0f64..1.0, units),
        ) -> Objectives {
            Objectives::new(&DMatrix::from_row_slice(units, 3, &values), &DVector::from_vec(interest), 3)
        }
    }

    fn subsets(units: usize, count: u32) -> impl Iterator<Item = Vec<usize>> {
        (0..1u32 << units)
            .filter(move |set| set.count_ones() == count)
            .map(move |set| (0..units).filter(|i| set >> i & 1 == 1).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn objectives_are_monotone_and_submodular(objectives in some_objectives(8), sets in any::<(u8, u8)>(), unit in 0usize..8) {
            let units = |set: u8| (0..8).filter(|i| set >> i & 1 == 1 && *i != unit).collect::<Vec<_>>();
            let (small, large) = (units(sets.0 & sets.1), units(sets.0));
            let gains = |set: &[usize]| {
                let (before, after) = (objectives.of(set), objectives.of(&[set, &[unit]].concat()));
                std::array::from_fn::<f64, OBJECTIVES, _>(|i| after[i] - before[i])
            };
            for (of_small, of_large) in gains(&small).into_iter().zip(gains(&large)) {
                prop_assert!(of_large >= -1e-12);
                prop_assert!(of_small >= of_large - 1e-12);
            }
        }

        #[test]
        fn values_are_those_of_the_definition(objectives in some_objectives(6), set in 1u8..64) {
            let units: Vec<usize> = (0..6).filter(|i| set >> i & 1 == 1).collect();
            let [interest, features, time] = objectives.of(&units);
            prop_assert!((interest - units.iter().map(|&i| objectives.interest[i]).sum::<f64>()).abs() < 1e-12);
            for (value, distances) in [features, time].into_iter().zip(&objectives.distances) {
                let loss = (0..6).map(|i| units.iter().map(|&j| distances[(i, j)]).fold(1.0, f64::min)).sum::<f64>() / 6.0;
                prop_assert!((value - (1.0 - loss)).abs() < 1e-12);
            }
        }

        #[test]
        fn greedy_selection_keeps_its_promise(
            objectives in some_objectives(9), raw in prop::array::uniform3(0.01f64..1.0), count in 1usize..6,
        ) {
            let weights = to_sum_1(raw);
            let order = greedy(&objectives, &weights, count, |_| 0.0);
            prop_assert_eq!(order.len(), count);
            let found = dot(&weights, &objectives.of(&order));
            let best = subsets(9, count as u32).map(|set| dot(&weights, &objectives.of(&set))).fold(0.0, f64::max);
            prop_assert!(found >= (1.0 - (-1f64).exp()) * best && found <= best + 1e-12);
            // The same as without the queue: each unit adds most.
            for place in 0..count {
                let with = |unit: usize| dot(&weights, &objectives.of(&[&order[..place], &[unit]].concat()));
                prop_assert!((0..9).filter(|unit| !order[..place].contains(unit)).all(|unit| with(unit) <= with(order[place]) + 1e-12));
            }
        }
    }

    #[test]
    fn learning_finds_the_objective_that_people_follow() {
        // Features, interest and time have nothing to do with one another.
        let objectives = |seed: u64| {
            let value =
                |i: usize, j: u64| ((i as u64 * 2_654_435_761 + j * 40_503 + seed * 69_069) % 1_009) as f64 / 1_009.0;
            let features = DMatrix::from_fn(24, 3, |i, j| value(i, j as u64 + 1).powi(3));
            Objectives::new(&features, &DVector::from_fn(24, |i, _| value(i, 9)), 5)
        };
        for followed in 0..OBJECTIVES {
            let mut only = [0.0; OBJECTIVES];
            only[followed] = 1.0;
            let examples: Vec<_> = (0..8)
                .map(|seed| {
                    let objectives = objectives(seed);
                    let mut selected = greedy(&objectives, &only, 5, |_| 0.0);
                    selected.sort_unstable();
                    (objectives, selected)
                })
                .collect();
            let weights = weights(&examples);
            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            assert!(weights[followed] > 0.6, "{followed}: {weights:?}");
        }
    }

    /// More features than units, so that a regression could fit any importance of the video that it has seen.
    #[test]
    fn interest_that_can_not_be_predicted_has_little_weight() {
        let value =
            |i: usize, j: usize, k: usize| ((i * 7_919 + j * 104_729 + k * 1_299_709) % 10_007) as f64 / 10_007.0;
        let videos: Vec<_> = (0..6)
            .map(|k| {
                let features = DMatrix::from_fn(8, 60, |i, j| value(i * i, j * j * j, k + 1));
                let importance: Vec<f64> = (0..8).map(|i| f64::from(u8::from((i * 3 + k) % 4 == 0))).collect();
                let selected: Vec<bool> = importance.iter().map(|value| *value == 1.0).collect();
                (features, importance, selected)
            })
            .collect();
        let labelled = videos.iter().map(|(features, importance, selected)| Labelled {
            features,
            category: "",
            importance,
            selected,
        });
        let weights = Mixture::learn(&labelled.collect::<Vec<_>>()).weights;
        assert!(weights[0] < 0.3, "{weights:?}");
    }

    #[test]
    fn regression_predicts_what_is_linear() {
        let features = DMatrix::from_fn(20, 2, |i, j| ((i * (3 + j) + i / 3) % 10) as f64 / 10.0);
        let importance: Vec<f64> = features.row_iter().map(|row| 0.2 + 0.5 * row[0]).collect();
        let selected: Vec<bool> = importance.iter().map(|value| *value > 0.5).collect();
        let video = Labelled { features: &features, category: "", importance: &importance, selected: &selected };
        let mixture = Mixture::learn(&[video, video]);
        let predicted = with_constant(mixture.principal.coordinates(&features)) * &mixture.interest;
        let mean = importance.iter().sum::<f64>() / 20.0;
        for (predicted, true_value) in predicted.iter().zip(&importance) {
            // The ridge takes a tenth or so of what differs from the mean.
            assert!(
                (predicted - true_value).abs() < 0.25 * (true_value - mean).abs() + 0.02,
                "{predicted} {true_value}"
            );
        }
        assert!((mixture.share - selected.iter().filter(|s| **s).count() as f64 / 20.0).abs() < 1e-12);
    }
}
