//! Decoded pictures to analysis frames, whatever their size and format.

mod shrinker;

use gst_video::prelude::*;

use thiserror::Error;

use desumnet_frames::clip::{Frame, Geometry};
use shrinker::Shrinker;

/// Smallest width and height, pixels, of a picture that can be scored.
pub const MIN_SIDE: u32 = 2;

/// Why a picture can't become an analysis frame.
#[derive(Debug, Error)]
pub enum ScaleError {
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

/// Makes analysis frames of decoded pictures, whatever their size and format.
pub struct Scaler {
    geometry: Geometry,
    input: gst_video::VideoInfo,
    /// Of large pictures, which the converter would take longer for than a segment's scoring.
    shrinker: Option<Shrinker>,
    converter: gst_video::VideoConverter,
    scratch: gst_video::VideoFrame<gst_video::video_frame::Writable>,
}

impl Scaler {
    /// To the paper's size: see [`Self::to`].
    ///
    /// # Errors
    /// [`ScaleError`]
    pub fn new(input: &gst_video::VideoInfo) -> Result<Self, ScaleError> {
        Self::to(Geometry::PAPER, input)
    }

    /// # Errors
    /// [`ScaleError::TooSmall`] below [`MIN_SIDE`], [`ScaleError::Format`] for a format that GstVideoConverter can't read.
    pub fn to(geometry: Geometry, input: &gst_video::VideoInfo) -> Result<Self, ScaleError> {
        if input.width() < MIN_SIDE || input.height() < MIN_SIDE {
            return Err(ScaleError::TooSmall(input.width(), input.height()));
        }
        let shrinker = Shrinker::of(geometry, input).map_err(|_| ScaleError::Format(input.format().to_string()))?;
        Self::through(shrinker, geometry, input)
    }

    fn through(
        shrinker: Option<Shrinker>,
        geometry: Geometry,
        input: &gst_video::VideoInfo,
    ) -> Result<Self, ScaleError> {
        let unreadable = |_| ScaleError::Format(input.format().to_string());
        let (width, height) = (geometry.width as u32, geometry.height as u32);
        let output = gst_video::VideoInfo::builder(gst_video::VideoFormat::Rgb, width, height)
            .fps(input.fps())
            .interlace_mode(input.interlace_mode())
            .build()
            .map_err(unreadable)?;
        let read = shrinker.as_ref().map_or(input, Shrinker::output);
        let mut config = gst_video::VideoConverterConfig::new();
        config.set_resampler_method(gst_video::VideoResamplerMethod::Linear);
        let converter = gst_video::VideoConverter::new(read, &output, Some(config)).map_err(unreadable)?;
        let buffer = gst::Buffer::with_size(output.size()).map_err(unreadable)?;
        let scratch = gst_video::VideoFrame::from_buffer_writable(buffer, &output)
            .map_err(|_| ScaleError::Format(input.format().to_string()))?;
        Ok(Self { geometry, input: input.clone(), shrinker, converter, scratch })
    }

    /// Scales a picture that has the caps this scaler was made for.
    ///
    /// # Errors
    /// [`ScaleError::Buffer`] if the buffer does not hold a whole picture.
    pub fn scale(&mut self, buffer: &gst::BufferRef) -> Result<Frame, ScaleError> {
        let unreadable =
            || ScaleError::Buffer(format!("{} {}x{}", self.input.format(), self.input.width(), self.input.height()));
        let source =
            gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &self.input).map_err(|_| unreadable())?;
        let picture = match &mut self.shrinker {
            Some(shrinker) => shrinker.shrink(&source).ok_or_else(unreadable)?,
            None => source,
        };
        self.converter.frame_ref(&picture, &mut self.scratch.as_mut_video_frame_ref());
        let stride = self.scratch.plane_stride()[0] as usize;
        let rows = self.scratch.plane_data(0).map_err(|_| unreadable())?;
        let mut pixels = Vec::with_capacity(self.geometry.frame_bytes());
        for row in rows.chunks(stride).take(self.geometry.height) {
            pixels.extend_from_slice(&row[..self.geometry.width * 3]);
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
        assert!(matches!(Scaler::new(&info(64)).unwrap().scale(&short), Err(ScaleError::Buffer(_))));
    }
}
