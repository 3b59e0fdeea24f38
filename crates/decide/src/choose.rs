//! Which shots to take when all are known.

use super::shot_scores::Scored;

/// Cells of the knapsack's time grid.
const CELLS: usize = 1 << 15;

/// How shots are chosen.
#[derive(Clone, Copy, Debug)]
pub enum Choice<'a> {
    /// The paper's (section 4.1): by falling score, ties to the shorter shot, each taken if it fits what is left of the length.
    Greedy,
    /// The shots whose scores times durations come to the most.
    Knapsack,
    /// The best shot of each cluster first, then the second best of each, and so on: shots that are alike wait for each other. A
    /// cluster's number for each shot, from [`super::cluster::clusters`], for one.
    Diverse(&'a [usize]),
}

impl Choice<'_> {
    /// Numbers of the shots that are taken, rising; together they last at most `length`, ns.
    ///
    /// # Panics
    /// If [`Choice::Diverse`] names no cluster for one of the shots.
    pub fn of(self, shots: &[Scored], length: u64) -> Vec<usize> {
        match self {
            Self::Greedy => take_while_they_fit(&by_score(shots), shots, length),
            Self::Knapsack => knapsack(shots, length),
            Self::Diverse(clusters) => {
                let mut order: Vec<(usize, usize)> = Vec::with_capacity(shots.len());
                let mut taken = vec![0; clusters.iter().max().map_or(0, |last| last + 1)];
                for shot in by_score(shots) {
                    order.push((taken[clusters[shot]], shot));
                    taken[clusters[shot]] += 1;
                }
                // Stable: within a round by falling score.
                order.sort_by_key(|&(round, _)| round);
                let order: Vec<usize> = order.into_iter().map(|(_, shot)| shot).collect();
                take_while_they_fit(&order, shots, length)
            }
        }
    }
}

/// Numbers of the shots by falling score, ties to the shorter one, then to the earlier.
fn by_score(shots: &[Scored]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..shots.len()).collect();
    order.sort_by(|&a, &b| {
        let (a, b) = (&shots[a], &shots[b]);
        b.score.total_cmp(&a.score).then(a.duration_ns.cmp(&b.duration_ns))
    });
    order
}

/// **Our choice**: one that does not fit is passed over, and a shorter one may still fit.
fn take_while_they_fit(order: &[usize], shots: &[Scored], length: u64) -> Vec<usize> {
    let mut left = length;
    let mut taken: Vec<usize> = order
        .iter()
        .copied()
        .filter(|&shot| {
            let rest = left.checked_sub(shots[shot].duration_ns);
            left = rest.unwrap_or(left);
            rest.is_some()
        })
        .collect();
    taken.sort_unstable();
    taken
}

/// Importance that these shots show: score times duration.
pub fn value(shots: &[Scored], taken: &[usize]) -> f64 {
    taken.iter().map(|&shot| shots[shot].score * shots[shot].duration_ns as f64).sum()
}

/// The 0/1 knapsack by dynamic programming, exact on a grid of time: the length is cut into 32,768 cells (of 1 ns at least; 2 ms in
/// a minute), and a shot takes up as many as it touches, so that the length always holds. Where that rounding costs more than
/// greedy loses, greedy's choice it is.
fn knapsack(shots: &[Scored], length: u64) -> Vec<usize> {
    let cell = length.div_ceil(CELLS as u64).max(1);
    let room = (length / cell) as usize;
    let cells = |shot: &Scored| usize::try_from(shot.duration_ns.div_ceil(cell)).unwrap_or(usize::MAX);
    // The best value within each room, and for each shot whether the best takes it.
    let mut best = vec![0.0; room + 1];
    let mut takes = vec![vec![0u64; room / 64 + 1]; shots.len()];
    for (shot, takes) in shots.iter().zip(&mut takes) {
        let value = shot.score * shot.duration_ns as f64;
        for within in (cells(shot)..=room).rev() {
            let with = best[within - cells(shot)] + value;
            if with > best[within] {
                best[within] = with;
                takes[within / 64] |= 1 << (within % 64);
            }
        }
    }
    let mut within = room;
    let mut taken: Vec<usize> = (0..shots.len())
        .rev()
        .filter(|&shot| {
            let takes = takes[shot][within / 64] >> (within % 64) & 1 == 1;
            if takes {
                within -= cells(&shots[shot]);
            }
            takes
        })
        .collect();
    taken.reverse();
    let greedy = take_while_they_fit(&by_score(shots), shots, length);
    if value(shots, &greedy) > value(shots, &taken) { greedy } else { taken }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Shots one after the other, of these durations and scores.
    fn row(shots: &[(u64, f64)]) -> Vec<Scored> {
        let mut end = 0;
        let shot = |&(duration_ns, score): &(u64, f64)| {
            end += duration_ns;
            Scored { start_ns: end - duration_ns, duration_ns, score }
        };
        shots.iter().map(shot).collect()
    }

    fn time(shots: &[Scored], taken: &[usize]) -> u64 {
        taken.iter().map(|&shot| shots[shot].duration_ns).sum()
    }

    #[test]
    fn greedy_takes_the_best_that_fit_and_of_equals_the_shorter() {
        let shots = row(&[(4, 0.5), (9, 0.9), (5, 0.7), (3, 0.5), (2, 0.1)]);
        assert_eq!(Choice::Greedy.of(&shots, 8), [2, 3]);
        assert_eq!(Choice::Greedy.of(&shots, 10), [1]);
        assert_eq!(Choice::Greedy.of(&shots, 16), [1, 2, 4]);
        assert!(Choice::Greedy.of(&shots, 1).is_empty());
    }

    #[test]
    fn the_knapsack_gives_up_the_best_shot_for_two_that_are_worth_more() {
        let shots = row(&[(6, 0.9), (5, 0.8), (5, 0.8)]);
        assert_eq!(Choice::Greedy.of(&shots, 10), [0]);
        assert_eq!(Choice::Knapsack.of(&shots, 10), [1, 2]);
    }

    #[test]
    fn clusters_take_turns() {
        let shots = row(&[(2, 0.9), (2, 0.8), (2, 0.2), (2, 0.7), (2, 0.1)]);
        let clusters = [0, 0, 1, 0, 1];
        assert_eq!(Choice::Greedy.of(&shots, 6), [0, 1, 3]);
        assert_eq!(Choice::Diverse(&clusters).of(&shots, 4), [0, 2]);
        assert_eq!(Choice::Diverse(&clusters).of(&shots, 8), [0, 1, 2, 4]);
        assert_eq!(Choice::Diverse(&[0; 5]).of(&shots, 6), [0, 1, 3]);
    }

    prop_compose! {
        /// Few scores, so that ties are common.
        fn some_shots(most: usize, longest: u64)
            (shots in prop::collection::vec((1..longest, 0u8..12), 1..most)) -> Vec<Scored> {
            row(&shots.iter().map(|&(duration, score)| (duration, f64::from(score) / 11.0)).collect::<Vec<_>>())
        }
    }

    proptest! {
        #[test]
        fn every_choice_keeps_to_the_length_and_the_order(
            shots in some_shots(40, 5_000_000_000), length in 0u64..60_000_000_000, seed in 0usize..7,
        ) {
            let clusters: Vec<usize> = (0..shots.len()).map(|i| (i * 31 + seed) % 7).collect();
            for choice in [Choice::Greedy, Choice::Knapsack, Choice::Diverse(&clusters)] {
                let taken = choice.of(&shots, length);
                prop_assert!(time(&shots, &taken) <= length);
                prop_assert!(taken.windows(2).all(|w| w[0] < w[1]));
            }
        }

        #[test]
        fn greedy_prefers_higher_scores_and_of_equals_shorter_shots(shots in some_shots(30, 20), length in 0u64..200) {
            let taken = Choice::Greedy.of(&shots, length);
            for (i, shot) in shots.iter().enumerate().filter(|(i, _)| !taken.contains(i)) {
                for other in taken.iter().map(|&i| &shots[i]) {
                    prop_assert!(shot.score <= other.score || shot.duration_ns > other.duration_ns, "{i}");
                    prop_assert!(shot.score != other.score || shot.duration_ns >= other.duration_ns, "{i}");
                }
                prop_assert!(time(&shots, &taken) + shot.duration_ns > length, "{i} would fit");
            }
        }

        #[test]
        fn a_shot_that_is_taken_is_still_taken_when_its_score_rises(
            shots in some_shots(20, 20), length in 1u64..100, rise in 0.0f64..0.5,
        ) {
            for shot in Choice::Greedy.of(&shots, length) {
                let mut better = shots.clone();
                better[shot].score += rise;
                prop_assert!(Choice::Greedy.of(&better, length).contains(&shot));
            }
        }

        #[test]
        fn the_knapsack_is_never_worse_than_greedy(
            shots in some_shots(40, 5_000_000_000), length in 0u64..60_000_000_000,
        ) {
            let of = |choice: Choice| value(&shots, &choice.of(&shots, length));
            prop_assert!(of(Choice::Knapsack) >= of(Choice::Greedy));
        }

        #[test]
        fn the_knapsack_finds_what_trying_all_finds(shots in some_shots(12, 200), length in 0u64..1_000) {
            let all = (0..1u32 << shots.len()).map(|set| {
                let taken: Vec<usize> = (0..shots.len()).filter(|i| set >> i & 1 == 1).collect();
                if time(&shots, &taken) <= length { value(&shots, &taken) } else { 0.0 }
            });
            let most = all.fold(0.0, f64::max);
            let found = value(&shots, &Choice::Knapsack.of(&shots, length));
            prop_assert!((found - most).abs() < 1e-9, "{found} of {most}");
        }
    }
}
