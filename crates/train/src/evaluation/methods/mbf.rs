//! MBF: maximal biclique finding (Chu, Song, Jaimes: Video Co-summarization: Video Summarization by Visual Co-occurrence,
//! CVPR 2015).
//!
//! The units of two videos of a topic are the two sides of a graph, with an edge where two units look alike: where their
//! similarity C_ij reaches a threshold. What the videos share is a biclique, units U and V all joined to each other, of the
//! greatest sum of C over U and V.
//!
//! **Our choices**: similarity is the cosine. The threshold is the similarity that one pair in ten reaches, over all pairs
//! with the other videos, so that there are edges whatever the features, and more to videos that are more alike. Since a
//! ranking needs a value for every unit, the heaviest biclique is looked for with each unit in it: from the unit and all its
//! neighbours on, the unit that raises the sum most joins (its strangers leave the other side), as long as one does. A unit's
//! score is the sum of its own similarities within its bicliques, over the other videos. A unit without an edge scores 0.

use nalgebra::DMatrix;

use super::normalised;

/// Share of all pairs of units that are joined.
const EDGES: f64 = 0.1;

/// Sums of similarities.
pub fn score(features: &DMatrix<f64>, others: &[&DMatrix<f64>]) -> Vec<f64> {
    let own = normalised(features);
    // `[other units, units]`
    let pairs: Vec<DMatrix<f64>> = others.iter().map(|other| normalised(other) * own.transpose()).collect();
    let mut all: Vec<f64> = pairs.iter().flat_map(|similarities| similarities.iter().copied()).collect();
    let edges = ((all.len() as f64 * EDGES) as usize).clamp(1, all.len());
    let threshold = *all.select_nth_unstable_by(edges - 1, |a, b| b.total_cmp(a)).1;
    // Unlike units are not joined, even if no pair is more alike.
    let joined = |similarity: f64| similarity >= threshold && similarity > 0.0;
    let mut scores = vec![0.0; features.nrows()];
    for similarities in &pairs {
        let graph = similarities.map(|similarity| if joined(similarity) { similarity } else { 0.0 });
        for (score, of_pair) in scores.iter_mut().zip(memberships(&graph)) {
            *score += of_pair;
        }
    }
    scores
}

/// Each unit's part in the heaviest biclique that was found with it. `graph`: `[other units, units]`, similarities, 0 for no
/// edge.
fn memberships(graph: &DMatrix<f64>) -> Vec<f64> {
    let neighbours = neighbours(graph);
    let (mut parts, mut heaviest) = (vec![0.0; graph.ncols()], vec![0.0; graph.ncols()]);
    for unit in 0..graph.ncols() {
        let (own, other) = biclique(graph, &neighbours, unit);
        let part = |unit: usize| other.iter().map(|&j| graph[(j, unit)]).sum::<f64>();
        let weight = own.iter().map(|&unit| part(unit)).sum();
        for &member in &own {
            if weight > heaviest[member] {
                (heaviest[member], parts[member]) = (weight, part(member));
            }
        }
    }
    parts
}

/// Of each unit of the other side, the units that it is joined to, and how alike they are.
fn neighbours(graph: &DMatrix<f64>) -> Vec<Vec<(usize, f64)>> {
    graph.row_iter().map(|row| row.iter().copied().enumerate().filter(|(_, edge)| *edge > 0.0).collect()).collect()
}

/// Units of both sides of a heavy biclique that has this unit.
fn biclique(graph: &DMatrix<f64>, neighbours: &[Vec<(usize, f64)>], unit: usize) -> (Vec<usize>, Vec<usize>) {
    let edges = graph.column(unit);
    // Of each unit of the other side, its similarities to this side's.
    let mut other: Vec<(usize, f64)> = edges.iter().copied().enumerate().filter(|(_, edge)| *edge > 0.0).collect();
    let (mut own, mut weight) = (vec![unit], edges.sum());
    loop {
        // The sum with each unit in turn.
        let mut sums = vec![0.0; graph.ncols()];
        for &(j, sum) in &other {
            neighbours[j].iter().for_each(|&(candidate, edge)| sums[candidate] += sum + edge);
        }
        own.iter().for_each(|&member| sums[member] = 0.0);
        let best = (0..sums.len()).max_by(|&a, &b| sums[a].total_cmp(&sums[b]));
        match best {
            Some(candidate) if sums[candidate] > weight => {
                weight = sums[candidate];
                own.push(candidate);
                let edges = graph.column(candidate);
                other.retain_mut(|(j, sum)| {
                    *sum += edges[*j];
                    edges[*j] > 0.0
                });
            }
            _ => return (own, other.into_iter().map(|(j, _)| j).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::methods::ranking;
    use proptest::prelude::*;

    #[test]
    fn a_planted_biclique_is_found() {
        // Units 2, 5, 6 are joined to the other video's 0, 3, 4; some stray edges beside.
        let mut graph = DMatrix::zeros(6, 8);
        for (j, i) in [0, 3, 4].into_iter().flat_map(|j| [2, 5, 6].map(|i| (j, i))) {
            graph[(j, i)] = 0.9;
        }
        for (j, i) in [(1, 0), (2, 2), (5, 7), (0, 1), (3, 1)] {
            graph[(j, i)] = 0.95;
        }
        let (mut own, mut other) = biclique(&graph, &neighbours(&graph), 5);
        own.sort_unstable();
        other.sort_unstable();
        assert_eq!((own, other), (vec![2, 5, 6], vec![0, 3, 4]));
        let parts = memberships(&graph);
        for (unit, part) in [(2, 2.7), (5, 2.7), (6, 2.7), (0, 0.95), (7, 0.95), (3, 0.0), (4, 0.0)] {
            assert!((parts[unit] - part).abs() < 1e-9, "{unit} {parts:?}");
        }
    }

    #[test]
    fn what_two_videos_share_comes_first() {
        // Each unit shows one thing; 1 and 2 are in both videos, several times.
        let video = |things: &[usize]| DMatrix::from_fn(things.len(), 9, |i, j| f64::from(u8::from(things[i] == j)));
        let scores = score(&video(&[0, 1, 2, 3, 1]), &[&video(&[4, 1, 5, 1, 6, 2, 7, 8])]);
        assert_eq!(scores, [0.0, 2.0, 1.0, 0.0, 2.0]);
        assert_eq!(ranking(&scores), [1, 4, 2, 0, 3]);
    }

    proptest! {
        #[test]
        fn it_is_a_biclique_that_no_unit_makes_heavier(edges in prop::collection::vec(0u8..4, 42)) {
            let graph = DMatrix::from_fn(6, 7, |j, i| f64::from(edges[j * 7 + i].saturating_sub(1)));
            for unit in 0..7 {
                let (own, other) = biclique(&graph, &neighbours(&graph), unit);
                prop_assert!(own.contains(&unit));
                let sum = |own: &[usize], other: &[usize]| {
                    own.iter().flat_map(|&i| other.iter().map(move |&j| (j, i))).map(|at| graph[at]).sum::<f64>()
                };
                prop_assert!(own.iter().all(|&i| other.iter().all(|&j| graph[(j, i)] > 0.0)));
                for more in (0..7).filter(|i| !own.contains(i)) {
                    let joined: Vec<usize> = other.iter().copied().filter(|&j| graph[(j, more)] > 0.0).collect();
                    prop_assert!(sum(&[&own[..], &[more]].concat(), &joined) <= sum(&own, &other));
                }
            }
        }
    }
}
