//! Augmentation (paper, section 3.2): random and corner crops, multi-scale jitter, horizontal flips, on raw clips; and,
//! our choice, changes of colour.

use rand::{Rng, RngExt};
use tch::{Device, Kind, TchError, Tensor};

use desumnet_frames::clip::{CROP, Clip, FRAMES, HEIGHT, LEFT, TOP, WIDTH};

/// Sides that multi-scale jitter draws a width and a height from, pixels.
pub const SIDES: [usize; 4] = [128, 112, 96, 84];

/// A way of changing clips.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Augmentation {
    /// Parts from anywhere in the frame; else its middle.
    Crop,
    /// Half of the clips mirrored.
    Flip,
    /// A width and a height of 128, 112, 96 or 84 pixels, drawn one without the other; else 112 both.
    Scale,
    /// Parts from a corner or the middle; where `crop` is on too, half of them.
    Corner,
    /// Contrast, brightness and colour of whole clips (not in the paper).
    Colour,
    /// A grey rectangle in half of the clips (Zhong et al., 2020: random erasing; not in the paper).
    Erase,
}

/// Shares of a clip's area that are erased, and of its sides, one by the other.
const ERASED: std::ops::RangeInclusive<f64> = 0.02..=0.33;
const ASPECTS: std::ops::RangeInclusive<f64> = 0.4..=2.5;

/// A rectangle that is erased in all frames of a clip, as shares of its sides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hole {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

impl Hole {
    /// One in half of the clips.
    pub fn random(rng: &mut impl Rng) -> Option<Self> {
        let (area, aspect) = (rng.random_range(ERASED), rng.random_range(ASPECTS.start().ln()..=ASPECTS.end().ln()));
        let [width, height] = [aspect, -aspect].map(|aspect| (area * aspect.exp()).sqrt().min(1.0));
        let [left, top] = [width, height].map(|side| rng.random_range(0.0..=1.0 - side));
        rng.random_bool(0.5).then_some(Self { left, top, width, height })
    }

    /// Cuts it out of a normalised clip `[3, T, H, W]`, whose mean is 0, in place.
    ///
    /// # Errors
    /// From libtorch.
    pub fn cut(&self, clip: &Tensor) -> Result<(), TchError> {
        let size = clip.size();
        let span = |start: f64, share: f64, side: i64| {
            let [from, to] = [start, start + share].map(|at| (at * side as f64).round() as i64);
            (from, to - from)
        };
        let (left, width) = span(self.left, self.width, size[3]);
        let (top, height) = span(self.top, self.height, size[2]);
        let _ = clip.f_narrow(3, left, width)?.f_narrow(2, top, height)?.f_zero_()?;
        Ok(())
    }
}

/// How a clip is cut for training: the same for all of its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    pub left: usize,
    pub top: usize,
    /// Of the part of the frame; resized to the network's square afterwards, so that its aspect varies.
    pub width: usize,
    pub height: usize,
    /// Mirrored left to right.
    pub flip: bool,
}

impl View {
    /// The view that scoring takes.
    pub const CENTRE: Self = Self { left: LEFT, top: TOP, width: CROP, height: CROP, flip: false };

    /// A random one, by what is switched on.
    pub fn random(rng: &mut impl Rng, on: &[Augmentation]) -> Self {
        let on = |augmentation| on.contains(&augmentation);
        let mut side = || if on(Augmentation::Scale) { SIDES[rng.random_range(0..SIDES.len())] } else { CROP };
        let (width, height) = (side(), side());
        let (right, bottom) = (WIDTH - width, HEIGHT - height);
        let anywhere = on(Augmentation::Crop) && (!on(Augmentation::Corner) || rng.random());
        let (left, top) = if anywhere {
            (rng.random_range(0..=right), rng.random_range(0..=bottom))
        } else if on(Augmentation::Corner) {
            [(0, 0), (right, 0), (0, bottom), (right, bottom), (right / 2, bottom / 2)][rng.random_range(0..5)]
        } else {
            (right / 2, bottom / 2)
        };
        Self { left, top, width, height, flip: on(Augmentation::Flip) && rng.random() }
    }

    /// Every `step`-th frame of a clip in this view: `[FRAMES / step, height, width, 3]`, RGB bytes.
    pub fn cut(&self, clip: &Clip, step: usize) -> Vec<u8> {
        let row = self.width * 3;
        let cut = clip.crop(self.left, self.top, self.width, self.height);
        let mut pixels: Vec<u8> = cut.chunks_exact(row * self.height).step_by(step).flatten().copied().collect();
        if self.flip {
            for row in pixels.chunks_exact_mut(row) {
                row.reverse();
                row.chunks_exact_mut(3).for_each(<[u8]>::reverse);
            }
        }
        pixels
    }
}

/// Float32 `[3, frames, size, size]` on a device, of a cut clip (`[frames, height, width, 3]`, bytes) of this width and height:
/// bilinear, and averaged where it gets smaller.
///
/// # Errors
/// If the bytes are not as many; from libtorch.
pub fn resized(cut: &[u8], (width, height): (usize, usize), size: usize, device: Device) -> Result<Tensor, TchError> {
    let frame = width * height * 3;
    if frame == 0 || !cut.len().is_multiple_of(frame) || cut.len() > frame * FRAMES {
        return Err(TchError::Shape(format!("{} bytes are no frames of {width}x{height} pixels", cut.len())));
    }
    let [frames, width, height, size] = [cut.len() / frame, width, height, size].map(|n| n as i64);
    Tensor::f_from_data_size(cut, &[frames, height, width, 3], Kind::Uint8)?
        .f_to_device(device)?
        .f_to_kind(Kind::Float)?
        .f_permute([0, 3, 1, 2])?
        .f_internal_upsample_bilinear2d_aa([size, size], false, None, None)?
        .f_permute([1, 0, 2, 3])
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
    use desumnet_frames::clip::Frame;
    use rand::{SeedableRng, rngs::StdRng};

    use Augmentation::{Corner, Crop, Flip, Scale};

    fn views(on: &[Augmentation]) -> Vec<View> {
        let mut rng = StdRng::seed_from_u64(1);
        (0..8_000).map(|_| View::random(&mut rng, on)).collect()
    }

    fn corners(width: usize, height: usize) -> [(usize, usize); 5] {
        let (right, bottom) = (WIDTH - width, HEIGHT - height);
        [(0, 0), (right, 0), (0, bottom), (right, bottom), (right / 2, bottom / 2)]
    }

    #[test]
    fn all_together_reach_every_corner_size_and_mirror_and_stay_inside() {
        let views = views(&[Crop, Flip, Scale, Corner]);
        assert!(views.iter().all(|v| v.left + v.width <= WIDTH && v.top + v.height <= HEIGHT));
        // The two sides are drawn one without the other.
        for (width, height) in SIDES.into_iter().flat_map(|width| SIDES.map(|height| (width, height))) {
            for (left, top) in corners(width, height) {
                for flip in [false, true] {
                    let view = View { left, top, width, height, flip };
                    assert!(views.contains(&view), "{view:?}");
                }
            }
        }
        assert!(views.iter().any(|v| !corners(v.width, v.height).contains(&(v.left, v.top))));
    }

    #[test]
    fn each_does_its_own_and_nothing_else() {
        assert!(views(&[]).iter().all(|v| *v == View::CENTRE));
        let only = |on: Augmentation, expected: &dyn Fn(&View) -> View| {
            let views = views(&[on]);
            assert!(views.iter().all(|v| *v == expected(v)), "{on:?}");
            assert!(views.iter().any(|v| *v != View::CENTRE), "{on:?}");
        };
        only(Flip, &|v| View { flip: v.flip, ..View::CENTRE });
        only(Crop, &|v| View { left: v.left, top: v.top, ..View::CENTRE });
        only(Scale, &|v| {
            let (left, top) = corners(v.width, v.height)[4];
            View { left, top, flip: false, ..*v }
        });
        let whole = |v: &View| (v.width, v.height, v.flip) == (CROP, CROP, false);
        assert!(views(&[Corner]).iter().all(|v| corners(CROP, CROP).contains(&(v.left, v.top)) && whole(v)));
    }

    /// Red holds the column, green the row, blue the frame.
    fn numbered() -> Clip {
        let frame = |t: usize| {
            let pixel = |i: usize| [(i % WIDTH) as u8, (i / WIDTH) as u8, t as u8];
            Frame::new((0..WIDTH * HEIGHT).flat_map(pixel).collect::<Vec<u8>>())
        };
        Clip::padded((0..FRAMES).map(frame).collect()).unwrap()
    }

    #[test]
    fn every_pixel_of_a_cut_comes_from_its_place() {
        for (left, top, width, height, flip, step) in
            [(0, 0, 128, 128, false, 1), (59, 3, 112, 84, true, 1), (87, 0, 84, 128, true, 2)]
        {
            let cut = View { left, top, width, height, flip }.cut(&numbered(), step);
            assert_eq!(cut.len(), FRAMES / step * width * height * 3);
            for (i, pixel) in cut.chunks_exact(3).enumerate() {
                let (t, y, x) = (i / width / height, i / width % height, i % width);
                let x = if flip { width - 1 - x } else { x };
                assert_eq!(pixel, [(left + x) as u8, (top + y) as u8, (t * step) as u8]);
            }
        }
        assert_eq!(View::CENTRE.cut(&numbered(), 1), numbered().centre_crop());
    }

    /// Bilinear resizing by its definition: a triangle as wide as an output pixel covers of the input, at least 1.
    fn weights(side: usize, size: usize, at: usize) -> Vec<f64> {
        let scale = side as f64 / size as f64;
        let (centre, reach) = ((at as f64 + 0.5) * scale, scale.max(1.0));
        let raw: Vec<f64> = (0..side).map(|i| (1.0 - ((i as f64 + 0.5 - centre) / reach).abs()).max(0.0)).collect();
        let sum: f64 = raw.iter().sum();
        raw.into_iter().map(|w| w / sum).collect()
    }

    #[test]
    fn every_pixel_of_a_resized_clip_follows_the_definition() {
        for (width, height, size) in [(84, 128, 112), (128, 84, 112), (112, 112, 40), (112, 112, 112)] {
            // Neighbouring pixels differ wildly.
            let cut: Vec<u8> = (0..2 * width * height * 3).map(|i| (i * i / 7 % 256) as u8).collect();
            let got = resized(&cut, (width, height), size, Device::Cpu).unwrap();
            assert_eq!(got.size(), [3, 2, size as i64, size as i64]);
            let got = Vec::<f32>::try_from(got.contiguous().view(-1)).unwrap();
            let weights = |side: usize| -> Vec<Vec<f64>> { (0..size).map(|at| weights(side, size, at)).collect() };
            let (across, down) = (weights(width), weights(height));
            for (c, t) in [(0, 0), (1, 1), (2, 0)] {
                let pixel = |y: usize, x: usize| f64::from(cut[((t * height + y) * width + x) * 3 + c]);
                let rows: Vec<Vec<f64>> = (0..height)
                    .map(|y| across.iter().map(|w| w.iter().enumerate().map(|(x, w)| w * pixel(y, x)).sum()).collect())
                    .collect();
                for y in 0..size {
                    for x in 0..size {
                        let expected: f64 = down[y].iter().zip(&rows).map(|(w, row)| w * row[x]).sum();
                        let got = f64::from(got[((c * 2 + t) * size + y) * size + x]);
                        assert!(
                            (got - expected).abs() < 0.01,
                            "{width}x{height}->{size} {c} {t} {y} {x}: {got} {expected}"
                        );
                    }
                }
            }
        }
        assert!(resized(&[0; 100], (84, 84), 112, Device::Cpu).is_err());
    }

    #[test]
    fn a_hole_is_cut_out_of_every_frame_alike_and_nothing_else() {
        let clip = Tensor::ones([3, 2, 10, 20], (Kind::Double, Device::Cpu));
        Hole { left: 0.1, top: 0.4, width: 0.25, height: 0.2 }.cut(&clip).unwrap();
        let left = Tensor::ones([3, 2, 10, 20], (Kind::Double, Device::Cpu));
        let _ = left.narrow(3, 2, 5).narrow(2, 4, 2).zero_();
        assert!(clip.equal(&left));
        let mut rng = StdRng::seed_from_u64(1);
        let holes: Vec<Option<Hole>> = (0..2_000).map(|_| Hole::random(&mut rng)).collect();
        let cut: Vec<Hole> = holes.iter().copied().flatten().collect();
        assert!((900..1_100).contains(&cut.len()), "{}", cut.len());
        assert!(
            cut.iter().all(|h| h.left >= 0.0 && h.left + h.width <= 1.0 && h.top >= 0.0 && h.top + h.height <= 1.0)
        );
        assert!(cut.iter().all(|h| (0.019..=0.331).contains(&(h.width * h.height))));
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
