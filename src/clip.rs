//! The pixels that the network sees: analysis frames, clips of [`FRAMES`] of them, and their crops.
//!
//! Training, the command line and the element all come through here, so that a model meets the same pixels in a live
//! pipeline that it was trained on. An analysis frame is RGB, 171 x 128, 8 bits a channel; the network takes the
//! 112 x 112 square in the middle of it (paper, sections 3.2 and 4).

use std::sync::Arc;

use gst_video::prelude::*;
use thiserror::Error;

/// Frames in a clip (k in the paper).
pub const FRAMES: usize = 16;
/// Width of an analysis frame, pixels (q in the paper).
pub const WIDTH: usize = 171;
/// Height of an analysis frame, pixels (p in the paper).
pub const HEIGHT: usize = 128;
/// Side of the square that the network takes, pixels.
pub const CROP: usize = 112;
/// Left edge of the centre crop, pixels.
pub const LEFT: usize = 29;
/// Top edge of the centre crop, pixels.
pub const TOP: usize = 8;
/// Bytes of an analysis frame.
pub const FRAME_BYTES: usize = WIDTH * HEIGHT * 3;
/// Smallest width and height, pixels, of a picture that can be scored.
pub const MIN_SIDE: u32 = 2;

/// Why a picture can't become an analysis frame.
#[derive(Debug, Error)]
pub enum ClipError {
    #[error(
        "a picture of {0}x{1} pixels is too small to score: at least {min}x{min} are needed; check the source or scale it up",
        min = MIN_SIDE
    )]
    TooSmall(u32, u32),
    #[error("{0} can't be converted to RGB for scoring: put videoconvert before desumnet")]
    Format(String),
    #[error("a picture can't be read as {0}: the buffer is damaged or does not fit its caps")]
    Buffer(String),
}

/// One analysis frame: `HEIGHT` x `WIDTH` x RGB bytes, rows without padding. Clones share the pixels.
#[derive(Clone)]
pub struct Frame(Arc<[u8]>);

impl Frame {
    /// # Panics
    /// If `pixels` is not [`FRAME_BYTES`] long.
    pub fn new(pixels: impl Into<Arc<[u8]>>) -> Self {
        let pixels = pixels.into();
        assert_eq!(pixels.len(), FRAME_BYTES);
        Self(pixels)
    }

    /// Stands in for a picture that can't be read.
    pub fn black() -> Self {
        Self::new(vec![0; FRAME_BYTES])
    }

    pub fn pixels(&self) -> &[u8] {
        &self.0
    }
}

/// [`FRAMES`] analysis frames in order of time: what is scored as one.
#[derive(Clone)]
pub struct Clip(Vec<Frame>);

impl Clip {
    /// A clip of the given frames; a short one is filled up with its last frame. `None` if there is no frame at all.
    pub fn padded(mut frames: Vec<Frame>) -> Option<Self> {
        let last = frames.last()?.clone();
        frames.resize(FRAMES, last);
        Some(Self(frames))
    }

    pub fn frames(&self) -> &[Frame] {
        &self.0
    }

    /// The pixels of the network's view: `[FRAMES, CROP, CROP, 3]`, RGB bytes.
    pub fn centre_crop(&self) -> Vec<u8> {
        self.crop(LEFT, TOP, CROP)
    }

    /// A square cut from every frame: `[FRAMES, side, side, 3]`, RGB bytes.
    ///
    /// # Panics
    /// If the square reaches outside of the frame.
    pub fn crop(&self, left: usize, top: usize, side: usize) -> Vec<u8> {
        assert!(left + side <= WIDTH && top + side <= HEIGHT);
        let mut out = Vec::with_capacity(FRAMES * side * side * 3);
        for frame in &self.0 {
            for y in top..top + side {
                let from = (y * WIDTH + left) * 3;
                out.extend_from_slice(&frame.0[from..from + side * 3]);
            }
        }
        out
    }
}

/// Makes analysis frames of decoded pictures, whatever their size and format.
pub struct Scaler {
    input: gst_video::VideoInfo,
    converter: gst_video::VideoConverter,
    scratch: gst_video::VideoFrame<gst_video::video_frame::Writable>,
}

impl Scaler {
    /// # Errors
    /// [`ClipError::TooSmall`] below [`MIN_SIDE`], [`ClipError::Format`] for a format that GstVideoConverter can't read.
    pub fn new(input: &gst_video::VideoInfo) -> Result<Self, ClipError> {
        if input.width() < MIN_SIDE || input.height() < MIN_SIDE {
            return Err(ClipError::TooSmall(input.width(), input.height()));
        }
        let unreadable = |_| ClipError::Format(input.format().to_string());
        let output = gst_video::VideoInfo::builder(gst_video::VideoFormat::Rgb, WIDTH as u32, HEIGHT as u32)
            .fps(input.fps())
            .interlace_mode(input.interlace_mode())
            .build()
            .map_err(unreadable)?;
        let mut config = gst_video::VideoConverterConfig::new();
        config.set_resampler_method(gst_video::VideoResamplerMethod::Linear);
        let converter = gst_video::VideoConverter::new(input, &output, Some(config)).map_err(unreadable)?;
        let buffer = gst::Buffer::with_size(output.size()).map_err(unreadable)?;
        let scratch = gst_video::VideoFrame::from_buffer_writable(buffer, &output)
            .map_err(|_| ClipError::Format(input.format().to_string()))?;
        Ok(Self { input: input.clone(), converter, scratch })
    }

    /// Scales a picture that has the caps this scaler was made for.
    ///
    /// # Errors
    /// [`ClipError::Buffer`] if the buffer does not hold a whole picture.
    pub fn scale(&mut self, buffer: &gst::BufferRef) -> Result<Frame, ClipError> {
        let unreadable =
            || ClipError::Buffer(format!("{} {}x{}", self.input.format(), self.input.width(), self.input.height()));
        let source =
            gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &self.input).map_err(|_| unreadable())?;
        self.converter.frame_ref(&source, &mut self.scratch.as_mut_video_frame_ref());
        let stride = self.scratch.plane_stride()[0] as usize;
        let rows = self.scratch.plane_data(0).map_err(|_| unreadable())?;
        let mut pixels = Vec::with_capacity(FRAME_BYTES);
        for row in rows.chunks(stride).take(HEIGHT) {
            pixels.extend_from_slice(&row[..WIDTH * 3]);
        }
        Ok(Frame::new(pixels))
    }
}

/// Time between frames by the caps' frame rate, ns; 0 where they have none.
pub fn nominal_spacing(info: &gst_video::VideoInfo) -> u64 {
    let [n, d] = [info.fps().numer(), info.fps().denom()].map(|part| u64::from(part.unsigned_abs()));
    (1_000_000_000 * d).checked_div(n).unwrap_or(0)
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
    fn scaler_keeps_flat_colours_in_every_format_and_size() {
        gst::init().unwrap();
        // I420 is of limited range: (128 - 16) * 255 / 219 = 130.
        for (format, width, height, expected) in [
            (gst_video::VideoFormat::Rgb, 171, 128, 128u8),
            (gst_video::VideoFormat::Rgb, 2, 2, 128),
            (gst_video::VideoFormat::Bgrx, 641, 3, 128),
            (gst_video::VideoFormat::I420, 1920, 1080, 130),
        ] {
            let builder = gst_video::VideoInfo::builder(format, width, height).fps(gst::Fraction::new(30_000, 1001));
            let info = builder.build().unwrap();
            let mut buffer = gst::Buffer::with_size(info.size()).unwrap();
            buffer.get_mut().unwrap().map_writable().unwrap().fill(128);
            let frame = Scaler::new(&info).unwrap().scale(&buffer).unwrap();
            let furthest = frame.pixels().iter().map(|&p| p.abs_diff(expected)).max().unwrap();
            assert!(furthest <= 2, "{format} {width}x{height}: {furthest} away from {expected}");
        }
    }

    #[test]
    fn scaler_refuses_one_pixel_and_damaged_buffers() {
        gst::init().unwrap();
        let info = |side| gst_video::VideoInfo::builder(gst_video::VideoFormat::Rgb, side, side).build().unwrap();
        let error = Scaler::new(&info(1)).err().unwrap();
        assert!(error.to_string().contains("1x1") && error.to_string().contains("at least 2x2"), "{error}");
        let short = gst::Buffer::with_size(10).unwrap();
        assert!(matches!(Scaler::new(&info(64)).unwrap().scale(&short), Err(ClipError::Buffer(_))));
    }
}
