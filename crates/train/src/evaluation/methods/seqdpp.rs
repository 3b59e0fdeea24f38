//! seqDPP: sequential determinantal point process (Gong, Chao, Grauman, Sha: Diverse Sequential Subset Selection for
//! Supervised Video Summarization, NIPS 2014).
//!
//! The video is cut into segments of ten consecutive units. What is selected of a segment X depends on what was selected of
//! the one before, P: P(Y | P) = det L_(P and Y) / det(L_(P and X) + I_X), where L = F W' W F' + epsilon I of the units'
//! features F, and I_X is 1 on the diagonal for units of X (the paper's linear embedding). W is learnt: it makes the oracle
//! summaries most likely. Selecting goes from segment to segment, each time the most likely subset, found among all (exact).
//!
//! **Our choices.** The ranking: what is selected stands before all else, and both parts by their probability to be selected
//! given the selection of the segment before. Features are principal components of the training units, of a mean square
//! length of 1, and W starts as the identity: a process that likes what is far from the mean, and diversity. It is learnt by
//! Adam, a step a video, and epsilon is not. A unit that is longer than 100 counts as one of 100 in its direction: beside longer ones
//! epsilon is lost in rounding, and with it every probability.

use nalgebra::{Cholesky, DMatrix};

use super::{COMPONENTS, Labelled, principal::Principal};

/// Units that are decided on together.
const SEGMENT: usize = 10;
/// What keeps units that look the same from a probability of exactly 0: epsilon.
const DIAGONAL: f64 = 1e-3;
/// Longest unit.
const LONGEST: f64 = 100.0;
/// Rounds over the training videos, and Adam's learning rate and shares of the old averages.
const ROUNDS: usize = 20;
const RATE: f64 = 0.01;
const BETAS: (f64, f64) = (0.9, 0.999);

#[derive(Debug)]
pub struct Process {
    principal: Principal,
    /// Makes the mean square length of the training units' components 1.
    scale: f64,
    /// W, `[components, components]`.
    embedding: DMatrix<f64>,
}

impl Process {
    /// From training videos that have selected units.
    pub fn learn(training: &[Labelled]) -> Self {
        let principal = Principal::of_all(training.iter().map(|video| video.features), COMPONENTS);
        let coordinates = training.iter().map(|video| principal.coordinates(video.features));
        let mut units: Vec<DMatrix<f64>> = coordinates.collect();
        let square: f64 = units.iter().map(|units| units.norm_squared()).sum();
        let count: usize = units.iter().map(|units| units.nrows()).sum();
        let scale = if square > 0.0 { (count as f64 / square).sqrt() } else { 1.0 };
        units.iter_mut().for_each(|units| scale_units(units, scale));
        let components = principal.singular.len();
        let mut embedding = DMatrix::identity(components, components);
        let (mut first, mut second) = (embedding.map(|_| 0.0), embedding.map(|_| 0.0));
        let mut step = 0;
        for _ in 0..ROUNDS {
            for (units, video) in units.iter().zip(training) {
                step += 1;
                let gradient = gradient(&embedding, units, video.selected);
                first = first * BETAS.0 + &gradient * (1.0 - BETAS.0);
                second = second * BETAS.1 + gradient.map(|g| g * g) * (1.0 - BETAS.1);
                let (near, far) = (1.0 - BETAS.0.powi(step), 1.0 - BETAS.1.powi(step));
                embedding.zip_zip_apply(&first, &second, |w, first, second| {
                    *w += RATE * first / near / ((second / far).sqrt() + 1e-8);
                });
            }
        }
        Self { principal, scale, embedding }
    }

    /// Probabilities, and 1 more for what is selected: `[0, 2]`.
    pub fn score(&self, features: &DMatrix<f64>) -> Vec<f64> {
        let mut units = self.principal.coordinates(features);
        scale_units(&mut units, self.scale);
        let kernel = kernel(&self.embedding, &units);
        let (mut scores, mut before) = (Vec::with_capacity(features.nrows()), Vec::new());
        for segment in segments(features.nrows()) {
            let given = conditional(&kernel, &before, &segment);
            scores.extend(inclusion(&given));
            before = most_likely(&given).into_iter().map(|i| segment[i]).collect();
            before.iter().for_each(|&unit| scores[unit] += 1.0);
        }
        scores
    }
}

fn scale_units(units: &mut DMatrix<f64>, scale: f64) {
    for mut unit in units.row_iter_mut() {
        unit *= scale;
        let length = unit.norm();
        if length > LONGEST {
            unit *= LONGEST / length;
        }
    }
}

/// Numbers of the units of each segment.
fn segments(units: usize) -> Vec<Vec<usize>> {
    (0..units).step_by(SEGMENT).map(|start| (start..units.min(start + SEGMENT)).collect()).collect()
}

/// L, `[units, units]`.
fn kernel(embedding: &DMatrix<f64>, units: &DMatrix<f64>) -> DMatrix<f64> {
    let embedded = units * embedding.transpose();
    let mut kernel = &embedded * embedded.transpose();
    add_to_diagonal(&mut kernel, DIAGONAL);
    kernel
}

fn add_to_diagonal(matrix: &mut DMatrix<f64>, value: f64) {
    (0..matrix.nrows()).for_each(|i| matrix[(i, i)] += value);
}

fn part(matrix: &DMatrix<f64>, rows: &[usize], columns: &[usize]) -> DMatrix<f64> {
    matrix.select_rows(rows).select_columns(columns)
}

/// The matrices are positive definite by [`DIAGONAL`] or an identity; where rounding says otherwise, the diagonal is raised, by
/// ten times as much each time. What is no number has the inverse 0: it takes no part.
fn inverse(mut matrix: DMatrix<f64>) -> DMatrix<f64> {
    let mut raise = matrix.norm() * 1e-9;
    while raise.is_finite() {
        if let Some(cholesky) = Cholesky::new(matrix.clone()) {
            return cholesky.inverse();
        }
        add_to_diagonal(&mut matrix, raise);
        raise *= 10.0;
    }
    matrix.map(|_| 0.0)
}

/// d log P(selected | before) / dL of one segment; 0 for units that take no part.
fn slopes(kernel: &DMatrix<f64>, before: &[usize], segment: &[usize], selected: &[usize]) -> DMatrix<f64> {
    let (chosen, all) = ([before, selected].concat(), [before, segment].concat());
    let mut normaliser = part(kernel, &all, &all);
    (before.len()..all.len()).for_each(|i| normaliser[(i, i)] += 1.0);
    let mut slopes = kernel.map(|_| 0.0);
    // The derivative of a determinant's logarithm is the inverse.
    for (sign, units, inverse) in
        [(1.0, &chosen, inverse(part(kernel, &chosen, &chosen))), (-1.0, &all, inverse(normaliser))]
    {
        for (column, &j) in units.iter().enumerate() {
            for (row, &i) in units.iter().enumerate() {
                slopes[(i, j)] += sign * inverse[(row, column)];
            }
        }
    }
    slopes
}

/// d log P(the video's selection) / dW.
fn gradient(embedding: &DMatrix<f64>, units: &DMatrix<f64>, selected: &[bool]) -> DMatrix<f64> {
    let mut gradient = embedding.map(|_| 0.0);
    let mut before = 0..0;
    for start in (0..units.nrows()).step_by(SEGMENT) {
        let segment = start..units.nrows().min(start + SEGMENT);
        // Only this segment and the one before take part.
        let first = before.start;
        let window = units.rows_range(first..segment.end).into_owned();
        let local = |range: &std::ops::Range<usize>| range.clone().map(|i| i - first).collect::<Vec<_>>();
        let chosen = |range: &std::ops::Range<usize>| {
            range.clone().filter(|&i| selected[i]).map(|i| i - first).collect::<Vec<_>>()
        };
        let kernel = kernel(embedding, &window);
        let slopes = slopes(&kernel, &chosen(&before), &local(&segment), &chosen(&segment));
        gradient += embedding * window.transpose() * slopes * window * 2.0;
        before = segment;
    }
    gradient
}

/// L of the segment's units, given what was selected before: P(Y | P) = det L_Y / det(L + I) of this L (its Schur
/// complement).
fn conditional(kernel: &DMatrix<f64>, before: &[usize], segment: &[usize]) -> DMatrix<f64> {
    let cross = part(kernel, before, segment);
    part(kernel, segment, segment) - cross.transpose() * inverse(part(kernel, before, before)) * cross
}

/// Each unit's probability to be selected.
fn inclusion(given: &DMatrix<f64>) -> Vec<f64> {
    let mut plus = given.clone();
    add_to_diagonal(&mut plus, 1.0);
    inverse(plus).diagonal().iter().map(|left| 1.0 - left).collect()
}

/// The subset of the greatest determinant, 1 being that of none.
fn most_likely(given: &DMatrix<f64>) -> Vec<usize> {
    let (mut best, mut subset) = ((0.0, Vec::new()), Vec::new());
    extend(given.clone(), 0, 0.0, &mut subset, &mut best);
    best.1
}

/// Tries all subsets that add units from `from` on to `subset`, whose logarithm is `log`; `left` is the kernel given the
/// subset.
fn extend(left: DMatrix<f64>, from: usize, log: f64, subset: &mut Vec<usize>, best: &mut (f64, Vec<usize>)) {
    for unit in from..left.nrows() {
        let pivot = left[(unit, unit)];
        // Nothing that has a determinant of 0 is likely.
        if pivot > 0.0 {
            let with = log + pivot.ln();
            subset.push(unit);
            if with > best.0 {
                *best = (with, subset.clone());
            }
            extend(&left - left.column(unit) * left.row(unit) / pivot, unit + 1, with, subset, best);
            subset.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn subsets(of: &[usize]) -> impl Iterator<Item = Vec<usize>> {
        (0..1u32 << of.len())
            .map(|set| of.iter().enumerate().filter(|(i, _)| set >> i & 1 == 1).map(|(_, &unit)| unit).collect())
    }

    prop_compose! {
        fn some_units(count: usize)(values in prop::collection::vec(-1.5f64..1.5, count * 3)) -> DMatrix<f64> {
            DMatrix::from_row_slice(count, 3, &values)
        }
    }

    /// By the definition.
    fn probability(kernel: &DMatrix<f64>, before: &[usize], segment: &[usize], selected: &[usize]) -> f64 {
        let (chosen, all) = ([before, selected].concat(), [before, segment].concat());
        let mut normaliser = part(kernel, &all, &all);
        (before.len()..all.len()).for_each(|i| normaliser[(i, i)] += 1.0);
        part(kernel, &chosen, &chosen).determinant() / normaliser.determinant()
    }

    fn some_embedding() -> DMatrix<f64> {
        DMatrix::from_row_slice(3, 3, &[1.0, 0.3, -0.2, 0.0, 0.8, 0.5, 0.4, -0.1, 1.2])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn all_subsets_together_have_the_probability_1(units in some_units(7)) {
            let kernel = kernel(&some_embedding(), &units);
            let (before, segment) = ([0, 2], [3, 4, 5, 6]);
            let sum: f64 = subsets(&segment).map(|y| probability(&kernel, &before, &segment, &y)).sum();
            prop_assert!((sum - 1.0).abs() < 1e-9, "{sum}");
        }

        #[test]
        fn the_most_likely_subset_and_the_probabilities_are_those_of_trying_all(units in some_units(8)) {
            let kernel = kernel(&some_embedding(), &units);
            let (before, segment) = ([1], [2, 3, 4, 5, 6, 7]);
            let mut probabilities: Vec<(f64, Vec<usize>)> = subsets(&segment)
                .map(|y| (probability(&kernel, &before, &segment, &y), y))
                .collect();
            let given = conditional(&kernel, &before, &segment);
            for (i, included) in inclusion(&given).into_iter().enumerate() {
                let with = probabilities.iter().filter(|(_, y)| y.contains(&segment[i])).map(|(p, _)| p).sum::<f64>();
                prop_assert!((included - with).abs() < 1e-9, "{included} {with}");
            }
            probabilities.sort_by(|a, b| b.0.total_cmp(&a.0));
            let found: Vec<usize> = most_likely(&given).into_iter().map(|i| segment[i]).collect();
            let of_found = probabilities.iter().find(|(_, y)| *y == found).unwrap().0;
            prop_assert!((of_found - probabilities[0].0).abs() < 1e-9);
        }

        #[test]
        fn the_gradient_is_that_of_small_steps(units in some_units(14), choice in prop::collection::vec(any::<bool>(), 14)) {
            let log = |embedding: &DMatrix<f64>| {
                let kernel = kernel(embedding, &units);
                let mut before = Vec::new();
                segments(14).into_iter().map(|segment| {
                    let selected: Vec<usize> = segment.iter().copied().filter(|&i| choice[i]).collect();
                    let log = probability(&kernel, &before, &segment, &selected).ln();
                    before = selected;
                    log
                }).sum::<f64>()
            };
            let embedding = some_embedding();
            let gradient = gradient(&embedding, &units, &choice);
            for at in [(0, 0), (1, 2), (2, 1)] {
                let step = |by: f64| { let mut moved = embedding.clone(); moved[at] += by; log(&moved) };
                let slope = (step(1e-5) - step(-1e-5)) / 2e-5;
                prop_assert!((gradient[at] - slope).abs() < 1e-4 * (1.0 + slope.abs()), "{} {slope}", gradient[at]);
            }
        }
    }

    /// Beside such units epsilon is lost in rounding, and what should be positive definite is not by far.
    #[test]
    fn a_video_a_million_times_larger_than_all_others_is_scored() {
        let video = |scale: f64| DMatrix::from_fn(40, 6, |i, j| scale * f64::from(((i * 7 + j * 11) % 13) as u8));
        let selected: Vec<bool> = (0..40).map(|i| i % 9 == 0).collect();
        let (small, large) = (video(1.0), video(1e6));
        let labelled = |features| Labelled { features, category: "", importance: &[], selected: &selected };
        for (training, given) in [([&small, &small], &large), ([&small, &large], &small), ([&large, &large], &small)] {
            let scores = Process::learn(&training.map(labelled)).score(given);
            assert!(scores.iter().all(|score| (-1e-6..=2.0).contains(score)), "{scores:?}");
        }
    }

    /// Units show one of four things. People select one unit of kind 2 in every other segment, and nothing else: not what the
    /// segment before has shown.
    #[test]
    fn it_learns_what_people_select_and_not_twice() {
        let video = |step: usize, shift: usize| {
            let things: Vec<usize> = (0..30).map(|i| (i * step + i / 4 + shift) % 4).collect();
            let features =
                DMatrix::from_fn(30, 4, |i, j| f64::from(u8::from(things[i] == j)) + 0.02 * ((i * 5 + j) % 3) as f64);
            let first = |i: usize| i / 10 != 1 && things[i] == 2 && !things[i / 10 * 10..i].contains(&2);
            let selected: Vec<bool> = (0..30).map(first).collect();
            (features, selected, things)
        };
        let training: Vec<_> = (0..4).map(|shift| video(7, shift)).collect();
        let labelled: Vec<Labelled> = training
            .iter()
            .map(|(features, selected, _)| Labelled { features, category: "", importance: &[], selected })
            .collect();
        let (features, _, things) = video(6, 1);
        let scores = Process::learn(&labelled).score(&features);
        // What is selected scores more than 1.
        let taken: Vec<usize> = (0..30).filter(|&i| scores[i] > 1.0).collect();
        assert_eq!(taken.iter().map(|i| (i / 10, things[*i])).collect::<Vec<_>>(), [(0, 2), (2, 2)], "{scores:?}");
    }
}
