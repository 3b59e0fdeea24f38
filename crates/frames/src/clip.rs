//! The pixels that the network sees: analysis frames, clips of some of them, and their crops.
//!
//! Training, the command line and the element all come through here, so that a model meets the same pixels in a live
//! pipeline that it was trained on. An analysis frame is RGB, 8 bits a channel; the network takes the middle of it. How many
//! frames and how large is the model's [`Geometry`]. In the paper, and for every model that is trained here, it is 16 frames
//! of 171 x 128, of which the network takes 112 x 112 (sections 3.2 and 4).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Frames in a clip of the paper's (k there).
pub const FRAMES: usize = 16;
/// Width of an analysis frame, pixels (q in the paper).
pub const WIDTH: usize = 171;
/// Height of an analysis frame, pixels (p in the paper).
pub const HEIGHT: usize = 128;
/// Side of the square that the network takes, pixels.
pub const CROP: usize = 112;
/// Left edge of the centre crop, pixels.
pub const LEFT: usize = Geometry::PAPER.left();
/// Top edge of the centre crop, pixels.
pub const TOP: usize = Geometry::PAPER.top();
/// Bytes of an analysis frame.
pub const FRAME_BYTES: usize = Geometry::PAPER.frame_bytes();
/// What a clip is to a model; sizes in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Geometry {
    /// Frames in a clip.
    pub frames: usize,
    /// Of an analysis frame.
    pub width: usize,
    /// Of an analysis frame.
    pub height: usize,
    /// Of the crop that the network takes; at most `width`.
    pub crop_width: usize,
    /// Of the crop that the network takes; at most `height`.
    pub crop_height: usize,
}

impl Geometry {
    /// The paper's, and that of every model file made by desumnet-train.
    pub const PAPER: Self = Self { frames: FRAMES, width: WIDTH, height: HEIGHT, crop_width: CROP, crop_height: CROP };

    /// Left edge of the centre crop.
    pub const fn left(&self) -> usize {
        (self.width - self.crop_width) / 2
    }

    /// Top edge of the centre crop.
    pub const fn top(&self) -> usize {
        (self.height - self.crop_height) / 2
    }

    /// Bytes of an analysis frame, `[height, width, 3]`.
    pub const fn frame_bytes(&self) -> usize {
        self.width * self.height * 3
    }

    /// Bytes of a clip as the network takes it, `[frames, crop_height, crop_width, 3]`.
    pub const fn clip_bytes(&self) -> usize {
        self.frames * self.crop_height * self.crop_width * 3
    }
}

/// One analysis frame: `[height, width, 3]` RGB bytes, rows without padding. Clones share the pixels.
#[derive(Clone)]
pub struct Frame(Arc<[u8]>);

impl Frame {
    pub fn new(pixels: impl Into<Arc<[u8]>>) -> Self {
        Self(pixels.into())
    }

    /// Stands in for a picture that can't be read.
    pub fn black(geometry: &Geometry) -> Self {
        Self::new(vec![0; geometry.frame_bytes()])
    }

    pub fn pixels(&self) -> &[u8] {
        &self.0
    }
}

/// Analysis frames in order of time: what is scored as one.
#[derive(Clone)]
pub struct Clip {
    frames: Vec<Frame>,
    geometry: Geometry,
}

impl Clip {
    /// A clip of the paper's geometry: see [`Self::of`].
    pub fn padded(frames: Vec<Frame>) -> Option<Self> {
        Self::of(frames, Geometry::PAPER)
    }

    /// A clip of the given frames; a short one is filled up with its last frame. `None` if there is no frame at all.
    ///
    /// # Panics
    /// If a frame is of another size than the geometry's.
    pub fn of(mut frames: Vec<Frame>, geometry: Geometry) -> Option<Self> {
        assert!(frames.iter().all(|frame| frame.0.len() == geometry.frame_bytes()));
        let last = frames.last()?.clone();
        frames.resize(geometry.frames, last);
        Some(Self { frames, geometry })
    }

    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// The pixels of the network's view: `[frames, crop_height, crop_width, 3]`, RGB bytes.
    pub fn centre_crop(&self) -> Vec<u8> {
        let g = &self.geometry;
        self.crop(g.left(), g.top(), g.crop_width, g.crop_height)
    }

    /// Mean absolute difference between consecutive frames, in pixel values 0..255; 0 of a single frame.
    pub fn motion(&self) -> f64 {
        let pairs = self.frames.windows(2);
        let differences = pairs.map(|pair| {
            let pixels = pair[0].pixels().iter().zip(pair[1].pixels());
            pixels.map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>()
        });
        let pixels: usize = self.frames.iter().skip(1).map(|frame| frame.pixels().len()).sum();
        differences.sum::<u64>() as f64 / pixels.max(1) as f64
    }

    /// A part cut from every frame: `[frames, height, width, 3]`, RGB bytes.
    ///
    /// # Panics
    /// If it reaches outside of the frame.
    pub fn crop(&self, left: usize, top: usize, width: usize, height: usize) -> Vec<u8> {
        assert!(left + width <= self.geometry.width && top + height <= self.geometry.height);
        let mut out = Vec::with_capacity(self.frames.len() * width * height * 3);
        for frame in &self.frames {
            for y in top..top + height {
                let from = (y * self.geometry.width + left) * 3;
                out.extend_from_slice(&frame.0[from..from + width * 3]);
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame whose every channel is `value`.
    fn flat(value: u8) -> Frame {
        Frame::new(vec![value; FRAME_BYTES])
    }

    #[test]
    fn short_clip_is_filled_with_its_last_frame() {
        assert!(Clip::padded(Vec::new()).is_none());
        let clip = Clip::padded(vec![flat(1), flat(2), flat(3)]).unwrap();
        let values: Vec<u8> = clip.frames().iter().map(|f| f.pixels()[0]).collect();
        assert_eq!(values, [1, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3]);
    }

    #[test]
    fn centre_crop_takes_rows_8_to_119_and_columns_29_to_140() {
        // Red holds the column, green the row, blue the frame.
        let frames = (0..FRAMES)
            .map(|t| {
                let pixel = |i: usize| [(i % WIDTH) as u8, (i / WIDTH) as u8, t as u8];
                Frame::new((0..WIDTH * HEIGHT).flat_map(pixel).collect::<Vec<u8>>())
            })
            .collect();
        let crop = Clip::padded(frames).unwrap().centre_crop();
        assert_eq!(crop.len(), FRAMES * CROP * CROP * 3);
        let at = |t: usize, y: usize, x: usize| &crop[((t * CROP + y) * CROP + x) * 3..][..3];
        assert_eq!(at(0, 0, 0), [29, 8, 0]);
        assert_eq!(at(15, 111, 111), [140, 119, 15]);
        assert_eq!(at(7, 50, 3), [32, 58, 7]);
    }

    #[test]
    fn oblong_crop_of_another_geometry_is_its_middle() {
        let geometry = Geometry { frames: 2, width: 9, height: 7, crop_width: 4, crop_height: 3 };
        let frame = Frame::new((0..63).flat_map(|i| [i % 9, i / 9, 0]).collect::<Vec<u8>>());
        let crop = Clip::of(vec![frame], geometry).unwrap().centre_crop();
        let row = |y| (2..6).flat_map(move |x| [x, y, 0]);
        let once: Vec<u8> = (2..5).flat_map(row).collect();
        assert_eq!(crop, [once.clone(), once].concat());
        assert_eq!(crop.len(), geometry.clip_bytes());
    }

    #[test]
    fn motion_is_the_mean_difference_of_pixels() {
        let flat = |value| Frame::new(vec![value; FRAME_BYTES]);
        assert_eq!(Clip::padded(vec![flat(7)]).unwrap().motion(), 0.0);
        let steps = [0, 30, 0].map(flat).to_vec();
        // 30 up, 30 down, and 13 repetitions of the last frame.
        assert_eq!(Clip::padded(steps).unwrap().motion(), 60.0 / 15.0);
    }
}
