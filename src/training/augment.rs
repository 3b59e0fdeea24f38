//! Augmentation (paper, section 3.2): random and corner crops, multi-scale jitter, horizontal flips, on raw clips; and,
//! our choice, changes of colour.

use rand::{Rng, RngExt};
use tch::{TchError, Tensor};

use crate::clip::{CROP, HEIGHT, LEFT, TOP, WIDTH};

/// Sides of the squares that multi-scale jitter draws from, pixels.
pub const SIDES: [usize; 4] = [128, 112, 96, 84];

/// How a clip is cut for training: the same for all of its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    pub left: usize,
    pub top: usize,
    /// Width and height of the square; resized to the network's afterwards.
    pub side: usize,
    /// Mirrored left to right.
    pub flip: bool,
}

impl View {
    /// The view that scoring takes.
    pub const CENTRE: Self = Self { left: LEFT, top: TOP, side: CROP, flip: false };

    /// A random one: a side of [`SIDES`]; half of the time anywhere, else a corner or the centre; mirrored or not.
    pub fn random(rng: &mut impl Rng) -> Self {
        let side = SIDES[rng.random_range(0..SIDES.len())];
        let (right, bottom) = (WIDTH - side, HEIGHT - side);
        let (left, top) = if rng.random() {
            (rng.random_range(0..=right), rng.random_range(0..=bottom))
        } else {
            [(0, 0), (right, 0), (0, bottom), (right, bottom), (right / 2, bottom / 2)][rng.random_range(0..5)]
        };
        Self { left, top, side, flip: rng.random() }
    }
}

/// How the colours of a clip are changed, the same in all of its frames; shifts in standard deviations of the pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Colour {
    contrast: f64,
    /// Red, green, blue.
    shift: [f64; 3],
    grey: bool,
}

impl Colour {
    /// No change.
    pub const SAME: Self = Self { contrast: 1.0, shift: [0.0; 3], grey: false };

    /// Contrast by a fifth, brightness by 0.2, each colour by 0.1 more; one clip in ten is grey.
    pub fn random(rng: &mut impl Rng) -> Self {
        let brightness = rng.random_range(-0.2..=0.2);
        Self {
            contrast: rng.random_range(0.8..=1.2),
            shift: std::array::from_fn(|_| brightness + rng.random_range(-0.1..=0.1)),
            grey: rng.random_bool(0.1),
        }
    }

    /// Of a normalised clip `[3, T, H, W]`.
    ///
    /// # Errors
    /// From libtorch.
    pub fn apply(&self, clip: &Tensor) -> Result<Tensor, TchError> {
        if *self == Self::SAME {
            return Ok(clip.shallow_clone());
        }
        let shift = Tensor::f_from_slice(&self.shift)?.f_to_device(clip.device())?.f_to_kind(clip.kind())?;
        let clip = if self.grey { clip.f_mean_dim(0, true, None)?.f_expand_as(clip)? } else { clip.shallow_clone() };
        clip.f_mul_scalar(self.contrast)?.f_add(&shift.f_view([3, 1, 1, 1])?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    #[test]
    fn random_views_stay_inside_and_reach_every_corner_side_and_mirror() {
        let mut rng = StdRng::seed_from_u64(1);
        let views: Vec<View> = (0..2_000).map(|_| View::random(&mut rng)).collect();
        assert!(views.iter().all(|v| v.left + v.side <= WIDTH && v.top + v.side <= HEIGHT));
        for side in SIDES {
            let (right, bottom) = (WIDTH - side, HEIGHT - side);
            for (left, top) in [(0, 0), (right, 0), (0, bottom), (right, bottom), (right / 2, bottom / 2)] {
                for flip in [false, true] {
                    assert!(views.contains(&View { left, top, side, flip }), "{side} {left} {top} {flip}");
                }
            }
        }
    }

    #[test]
    fn colour_changes_each_pixel_by_the_formula() {
        let clip = Tensor::from_slice(&[1.0f64, 2.0, 6.0]).view([3, 1, 1, 1]);
        let values = |colour: Colour| Vec::<f64>::try_from(colour.apply(&clip).unwrap().view(-1)).unwrap();
        let shift = [0.1, 0.2, -0.3];
        assert_eq!(values(Colour::SAME), [1.0, 2.0, 6.0]);
        assert_eq!(values(Colour { contrast: 0.5, shift, grey: false }), [0.6, 1.2, 2.7]);
        assert_eq!(values(Colour { contrast: 0.5, shift, grey: true }), [1.6, 1.7, 1.2]);
    }
}
