use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    motion::{CELLS, motion},
    rarity::Rarity,
    spread::{Projection, Spread},
    *,
};

const SECONDS: f64 = 0.64;

/// Numbers about as a bell has them, of mean 0 and deviation 1.
fn bell(rng: &mut StdRng) -> f64 {
    (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0
}

/// A look at a scene whose features lie about `at`, with little motion in all cells but those given.
fn look(rng: &mut StdRng, at: f64, moving: &[usize]) -> Look {
    let features = (0..64).map(|_| at + bell(rng)).collect();
    let mut motion: Vec<f64> = (0..CELLS).map(|_| 0.2 + 0.02 * bell(rng)).collect();
    moving.iter().for_each(|&cell| motion[cell] = 2.0 + 0.8 * bell(rng));
    Look { features, motion }
}

/// A grey clip of 16 pictures of 28 x 28 pixels, to which something is done.
fn clip(change: impl Fn(usize, usize, usize) -> u8) -> Vec<u8> {
    let pixels = (0..16 * 28 * 28).map(|i| change(i / 784, i % 784 / 28, i % 28));
    pixels.flat_map(|grey| [grey; 3]).collect()
}

#[test]
fn motion_is_where_something_moves_and_light_is_none() {
    let still = motion(&clip(|_, y, x| (7 * y + 3 * x) as u8), 16, 28);
    assert_eq!(still, vec![0.0; CELLS]);
    // A lamp that flickers.
    let lamp = motion(&clip(|t, y, x| (100 + y + x + 40 * (t % 2)) as u8), 16, 28);
    assert!(lamp.iter().all(|m| m.abs() < 1e-4), "{lamp:?}");
    // A part of 4 x 4 pixels, the third from the left in the second row, goes up and down by 10.
    let block = motion(&clip(|t, y, x| if y / 4 == 1 && x / 4 == 2 { 50 + 10 * (t % 2) as u8 } else { 50 }), 16, 28);
    for (cell, m) in block.iter().enumerate() {
        let expected = if cell == 9 { 11.0f64.ln() } else { 0.0 };
        assert!((m - expected).abs() < 1e-5, "{cell}: {m}");
    }
    // One cut between two scenes is no motion.
    let cut = motion(&clip(|t, y, x| if t < 9 { (y * 9) as u8 } else { (x * 9) as u8 }), 16, 28);
    assert!(cut.iter().all(|&m| m < 1e-6), "{cut:?}");
}

#[test]
fn distance_is_mahalanobis_with_shrinkage_and_its_gradient_is_right() {
    let mut spread = Spread::default();
    assert_eq!(spread.departure(&[1.0, 2.0]), (0.0, vec![0.0, 0.0]));
    // Mean (0, 0); covariance diag(4, 1), of 400 points: shrinkage 0.1 of its mean variance, 2.5.
    for _ in 0..100 {
        for point in [[8f64.sqrt(), 0.0], [-8f64.sqrt(), 0.0], [0.0, 2f64.sqrt()], [0.0, -2f64.sqrt()]] {
            spread.add(&point, 1.0, 1.0);
        }
    }
    let (variances, at) = ([0.9 * 4.0 + 0.25, 0.9 + 0.25], [3.0, 1.0]);
    let expected = ((at[0] * at[0] / variances[0] + at[1] * at[1] / variances[1]) / 2.0f64).sqrt();
    let (distance, gradient) = spread.departure(&at);
    assert!((distance - expected).abs() < 1e-9, "{distance} {expected}");
    assert!((spread.solved().distance(&at) - expected).abs() < 1e-9);
    for (i, rises) in gradient.iter().enumerate() {
        let step = 1e-6;
        let moved: Vec<f64> = (0..2).map(|j| at[j] + if i == j { step } else { 0.0 }).collect();
        let slope = (spread.departure(&moved).0 - distance) / step;
        assert!((rises - slope).abs() < 1e-5, "{i}: {rises} {slope}");
    }
}

#[test]
fn a_projection_is_the_same_everywhere_and_goes_back() {
    let (one, other) = (Projection::new(100), Projection::new(100));
    let mut rng = StdRng::seed_from_u64(1);
    let features: Vec<f32> = (0..100).map(|_| bell(&mut rng) as f32).collect();
    assert_eq!(one.of(&features), other.of(&features));
    let gradient: Vec<f64> = (0..64).map(|_| bell(&mut rng)).collect();
    // <P f, g> = <f, P' g>
    let there: f64 = one.of(&features).iter().zip(&gradient).map(|(a, b)| a * b).sum();
    let back: f64 = one.back(&gradient).iter().zip(&features).map(|(a, b)| f64::from(a * b)).sum();
    assert!((there - back).abs() < 1e-4, "{there} {back}");
}

#[test]
fn what_departs_stands_out_and_what_always_moves_does_not() {
    let (mut rng, mut usual) = (StdRng::seed_from_u64(2), Usual::default());
    let trees: Vec<usize> = (0..14).collect();
    let mut scores = Vec::new();
    for i in 0..400 {
        let walker = i >= 100 && i % 50 < 3;
        let moving = if walker { [trees.clone(), vec![30, 31]].concat() } else { trees.clone() };
        scores.push((walker, usual.judge(&look(&mut rng, if walker { 1.0 } else { 0.0 }, &moving), SECONDS).score));
    }
    let (walkers, others): (Vec<_>, Vec<_>) = scores[100..].iter().partition(|(walker, _)| *walker);
    let least = walkers.iter().map(|(_, score)| *score).fold(f64::INFINITY, f64::min);
    let most = others.iter().map(|(_, score)| *score).fold(0.0, f64::max);
    assert_eq!((walkers.len(), others.len()), (18, 282));
    assert!(least > most, "{least} {most}");
}

#[test]
fn a_changed_scene_becomes_usual_and_a_slow_change_always_is() {
    let (mut rng, mut usual) = (StdRng::seed_from_u64(3), Usual::default());
    let mut mean = |usual: &mut Usual, at: &dyn Fn(usize) -> f64, count: usize| {
        let scores = (0..count).map(|i| usual.judge(&look(&mut rng, at(i), &[]), SECONDS).score);
        scores.sum::<f64>() / count as f64
    };
    mean(&mut usual, &|_| 0.0, 900);
    let before = mean(&mut usual, &|_| 0.0, 100);
    let moved = mean(&mut usual, &|_| 20.0, 20);
    mean(&mut usual, &|_| 20.0, 900);
    let after = mean(&mut usual, &|_| 20.0, 100);
    assert!(moved > 3.0 * before && after < 1.3 * before, "{before} {moved} {after}");
    // Dusk, over an hour.
    let dusk = mean(&mut usual, &|i| 20.0 - i as f64 / 562.5, 5625);
    assert!(dusk < 1.5 * before, "{before} {dusk}");
}

#[test]
fn the_usual_can_be_kept_over_a_restart() {
    let (mut rng, mut usual) = (StdRng::seed_from_u64(4), Usual::default());
    (0..60).for_each(|_| drop(usual.judge(&look(&mut rng, 0.0, &[]), SECONDS)));
    let json = serde_json::to_string(&usual).unwrap();
    let mut again: Usual = serde_json::from_str(&json).unwrap();
    let new = look(&mut rng, 3.0, &[5]);
    assert_eq!(again.judge(&new, SECONDS), usual.judge(&new, SECONDS));
}

#[test]
fn hours_between_scores_as_high_are_counted_and_then_follow_the_tail() {
    let (mut rng, mut rarity) = (StdRng::seed_from_u64(5), Rarity::default());
    // Pareto: ln of the score is exponential with mean 0.5.
    let scores: Vec<f64> = (0..20_000).map(|_| (1.0 - rng.random::<f64>()).powf(-0.5)).collect();
    assert_eq!((rarity.add(scores[0], 0.64), rarity.add(1e9, 0.64)), (0.0, 0.0));
    let mut rarity = Rarity::default();
    for score in &scores {
        rarity.add(*score, 0.64);
    }
    for share in [0.5, 0.1, 0.01, 1e-4, 1e-7] {
        let score = f64::powf(share, -0.5);
        let hours = rarity.clone().add(score, 0.64);
        let expected = 0.64 / 3600.0 / share;
        assert!((hours / expected).ln().abs() < 0.12 + 0.05 * -share.ln(), "{share}: {hours} {expected}");
    }
}

#[test]
fn hindsight_finds_what_happens_at_the_beginning_too() {
    let mut rng = StdRng::seed_from_u64(6);
    let looks: Vec<Look> = (0..200)
        .map(|i| if i % 40 == 3 { look(&mut rng, 2.0, &[20, 21, 22]) } else { look(&mut rng, 0.0, &[]) })
        .collect();
    let scores = hindsight(&looks);
    let mut order: Vec<usize> = (0..200).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    order.truncate(5);
    order.sort();
    assert_eq!(order, [3, 43, 83, 123, 163]);
    assert!(hindsight(&[]).is_empty());
    assert!(hindsight(&looks[..1]).iter().all(|score| score.is_finite()));
}
