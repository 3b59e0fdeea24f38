//! How much moves in each part of the picture, and how that departs from what usually moves there: leaves rustle in their place, a walker
//! does not.

use serde::{Deserialize, Serialize};

/// Parts of the picture: so many a side.
const SIDE: usize = 7;
pub const CELLS: usize = SIDE * SIDE;
/// What a deviation is besides its own: below it (30 % of motion) a camera's noise is.
const FLOOR: f64 = 0.3;

/// Of each cell, ln(1 + m): m the mean change of the luma from picture to picture, 0 to 255, median over the clip.
pub type Motion = Vec<f64>;

/// Of a clip of RGB bytes, `frames` pictures of `width` pixels. A change of all of the picture at once, a lamp for one, is none.
pub fn motion(clip: &[u8], frames: usize, width: usize) -> Motion {
    let picture = clip.len() / frames.max(1);
    let height = picture / 3 / width.max(1);
    let luma: Vec<Vec<f32>> = clip
        .chunks_exact(picture.max(1))
        .map(|picture| {
            let luma = picture.as_chunks::<3>().0.iter();
            luma.map(|&[r, g, b]| 0.299 * f32::from(r) + 0.587 * f32::from(g) + 0.114 * f32::from(b)).collect()
        })
        .collect();
    let changes: Vec<[f64; CELLS]> = luma.windows(2).map(|pair| change(&pair[0], &pair[1], width, height)).collect();
    let median = |cell: usize| {
        let mut changes: Vec<f64> = changes.iter().map(|change| change[cell]).collect();
        changes.sort_by(f64::total_cmp);
        changes.get(changes.len() / 2).copied().unwrap_or(0.0)
    };
    (0..CELLS).map(|cell| median(cell).ln_1p()).collect()
}

/// Mean change of the luma in each cell, that of the whole picture taken off.
fn change(before: &[f32], after: &[f32], width: usize, height: usize) -> [f64; CELLS] {
    let mut all: Vec<f32> = after.iter().zip(before).map(|(after, before)| after - before).collect();
    let middle = all.len() / 2;
    if all.is_empty() {
        return [0.0; CELLS];
    }
    let common = *all.clone().select_nth_unstable_by(middle, f32::total_cmp).1;
    all.iter_mut().for_each(|change| *change = (*change - common).abs());
    let (mut sum, mut count) = ([0.0; CELLS], [0u32; CELLS]);
    for (y, row) in all.chunks_exact(width).enumerate() {
        for (x, change) in row.iter().enumerate() {
            let cell = y * SIDE / height * SIDE + x * SIDE / width;
            sum[cell] += f64::from(*change);
            count[cell] += 1;
        }
    }
    std::array::from_fn(|cell| sum[cell] / f64::from(count[cell].max(1)))
}

/// Where how much usually moves.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Moves {
    weight: f64,
    mean: Vec<f64>,
    /// Weighted sums of squared deviations.
    squares: Vec<f64>,
}

impl Moves {
    /// `keep`: what is left of the weight of all before.
    pub fn add(&mut self, motion: &Motion, weight: f64, keep: f64) {
        if self.mean.len() != motion.len() {
            *self = Self { weight: 0.0, mean: motion.clone(), squares: vec![0.0; motion.len()] };
        }
        self.weight = self.weight * keep + weight;
        let share = weight / self.weight;
        for (i, &x) in motion.iter().enumerate() {
            let off = x - self.mean[i];
            self.squares[i] = self.squares[i] * keep + weight * (1.0 - share) * off * off;
            self.mean[i] += share * off;
        }
    }

    /// How much more moves in the cells than usually, in deviations: the fourth root of the mean fourth power, in which two cells with a
    /// walker outweigh twenty of leaves. Where less moves, nothing does.
    pub fn departure(&self, motion: &Motion) -> f64 {
        if self.mean.len() != motion.len() {
            return 0.0;
        }
        let fourth_power = |(i, &x): (usize, &f64)| {
            let deviation = (self.squares[i] / self.weight).sqrt() + FLOOR;
            ((x - self.mean[i]) / deviation).max(0.0).powi(4)
        };
        (motion.iter().enumerate().map(fourth_power).sum::<f64>() / motion.len() as f64).powf(0.25)
    }
}
