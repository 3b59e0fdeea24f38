//! Large pictures to the size of an analysis frame, plane by plane, in the colours that they come in.
//!
//! GstVideoConverter reads every format, but unpacks each line of the picture before it scales: 16 pictures of 1080p take it nearly as long
//! as the network takes to score them. The filter is the same here, a triangle over the pixels that become one; of very many rows, the mean
//! of two, and of very many columns that of all.

use fast_image_resize::{
    FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer,
    images::{CroppedImage, Image, ImageRef},
};
use gst_video::{VideoFormat, VideoInfo, prelude::*};

use desumnet_frames::clip::Geometry;

/// How many times as many pixels as the result a picture must have.
const LARGE: usize = 4;
/// Rows or columns to one of the result from which on their mean stands for them.
const MANY: u32 = 4;

/// Planes of 8-bit samples, from the size of the input to that of the geometry.
pub struct Shrinker {
    resizer: Resizer,
    planes: Vec<Plane>,
    /// The rows of a plane that are left to be scaled, where those are not all.
    packed: Vec<u8>,
    /// Y444, RGB or grey.
    output: gst_video::VideoFrame<gst_video::video_frame::Writable>,
}

/// A plane of the input.
struct Plane {
    width: u32,
    height: u32,
    /// Rows that are left to be scaled: all, or as many as the result has.
    rows: u32,
    /// What is a pixel to the resizer: the shortest run of bytes after which components come again. In YUY2 it holds luma twice.
    pixel: PixelType,
    shrunk: Image<'static>,
}

impl Shrinker {
    /// `None` for a picture that is not [`LARGE`], or a format that is not 8 bits a component.
    pub fn of(geometry: Geometry, input: &VideoInfo) -> Result<Option<Self>, glib::BoolError> {
        let (width, height) = (geometry.width as u32, geometry.height as u32);
        let large =
            u64::from(input.width()) * u64::from(input.height()) >= (LARGE * geometry.width * geometry.height) as u64;
        let fields = input.interlace_mode() == gst_video::VideoInterlaceMode::Alternate;
        if !large || input.width() < width || input.height() < height || fields {
            return Ok(None);
        }
        let Some(planes) = planes(geometry, input) else { return Ok(None) };
        let info = input.format_info();
        let format = match () {
            () if info.is_yuv() => VideoFormat::Y444,
            () if info.is_gray() => VideoFormat::Gray8,
            () => VideoFormat::Rgb,
        };
        let output = VideoInfo::builder(format, width, height)
            .fps(input.fps())
            .interlace_mode(input.interlace_mode())
            .colorimetry(&input.colorimetry())
            .build()?;
        let buffer = gst::Buffer::with_size(output.size())?;
        let output = gst_video::VideoFrame::from_buffer_writable(buffer, &output)
            .map_err(|_| glib::bool_error!("a buffer of that size can't be mapped"))?;
        Ok(Some(Self { resizer: Resizer::new(), planes, packed: Vec::new(), output }))
    }

    /// What comes out.
    pub fn output(&self) -> &VideoInfo {
        self.output.info()
    }

    /// `None` if the buffer does not hold the whole picture.
    pub fn shrink(
        &mut self,
        source: &gst_video::VideoFrameRef<&gst::BufferRef>,
    ) -> Option<gst_video::VideoFrameRef<&gst::BufferRef>> {
        let Self { resizer, planes, packed, output } = self;
        for (number, plane) in planes.iter_mut().enumerate() {
            let data = source.plane_data(number as u32).ok()?;
            let stride = *source.plane_stride().get(number)? as usize;
            let (rows, across) = plane.rows(data, stride, packed)?;
            let picture = ImageRef::new(across, plane.rows, rows, plane.pixel).ok()?;
            let picture = CroppedImage::new(&picture, 0, 0, plane.width, plane.rows).ok()?;
            let is_mean = plane.rows < plane.height && plane.width >= MANY * plane.shrunk.width();
            let filter = if is_mean { FilterType::Box } else { FilterType::Bilinear };
            let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter)).use_alpha(false);
            resizer.resize(&picture, &mut plane.shrunk, &options).ok()?;
        }
        let from = source.info().format_info();
        let (to, width) = (output.info().format_info(), output.width() as usize);
        for component in 0..to.n_components() as usize {
            let plane = &planes[from.plane()[component] as usize];
            let (bytes, apart) = (plane.pixel.size(), from.pixel_stride()[component] as usize);
            let (first, times) = (from.poffset()[component] as usize, (bytes / apart) as u32);
            let number = to.plane()[component];
            let stride = output.plane_stride()[number as usize] as usize;
            let (to_first, to_apart) = (to.poffset()[component] as usize, to.pixel_stride()[component] as usize);
            let rows = output.plane_data_mut(number).ok()?.chunks_mut(stride);
            for (row, shrunk) in rows.zip(plane.shrunk.buffer().chunks_exact(width * bytes)) {
                if (bytes, to_apart) == (1, 1) {
                    row[..width].copy_from_slice(shrunk);
                    continue;
                }
                for (place, pixel) in row[to_first..].iter_mut().step_by(to_apart).zip(shrunk.chunks_exact(bytes)) {
                    let sum: u32 =
                        pixel[first..].iter().step_by(apart).take(times as usize).copied().map(u32::from).sum();
                    *place = ((sum + times / 2) / times) as u8;
                }
            }
        }
        Some(output.as_video_frame_ref())
    }
}

impl Plane {
    /// The rows that are left to be scaled, in whole pixels, and how many pixels it is from one to the next.
    fn rows<'a>(&self, data: &'a [u8], stride: usize, packed: &'a mut Vec<u8>) -> Option<(&'a [u8], u32)> {
        let (bytes, height, rows) = (self.pixel.size(), self.height as usize, self.rows as usize);
        if rows == height && stride.is_multiple_of(bytes) && data.len() >= stride * height {
            return Some((data, (stride / bytes) as u32));
        }
        packed.clear();
        for number in 0..rows {
            // A quarter and three quarters of the way through those that it stands for.
            let [first, second] = [4 * number + 1, 4 * number + 3].map(|place| {
                let start = place * height / (4 * rows) * stride;
                data.get(start..start + self.width as usize * bytes)
            });
            packed.extend(first?.iter().zip(second?).map(|(a, b)| a.midpoint(*b)));
        }
        Some((packed, self.width))
    }
}

/// The planes of a format whose samples are all of 8 bits and lie in one order throughout.
fn planes(geometry: Geometry, input: &VideoInfo) -> Option<Vec<Plane>> {
    let info = input.format_info();
    let plain = !(info.is_complex() || info.is_tiled() || info.has_palette());
    let components = 0..info.n_components() as usize;
    if !plain || components.clone().any(|component| info.depth()[component] != 8) {
        return None;
    }
    let plane = |number| {
        let own = || components.clone().filter(|&component| info.plane()[component] == number);
        let bytes = own().map(|component| info.pixel_stride()[component]).max()?;
        let pixel = match bytes {
            1 => PixelType::U8,
            2 => PixelType::U8x2,
            3 => PixelType::U8x3,
            4 => PixelType::U8x4,
            _ => return None,
        };
        // Whole pixels only: of an odd number of columns, YUY2 leaves its last half empty.
        let times = |component: usize| (bytes / info.pixel_stride()[component]) as u32;
        let width = own().map(|component| input.comp_width(component as u8) / times(component)).min()?;
        let height = own().map(|component| input.comp_height(component as u8)).min()?;
        let rows = if height >= MANY * geometry.height as u32 { geometry.height as u32 } else { height };
        let shrunk = Image::new(geometry.width as u32, geometry.height as u32, pixel);
        Some(Plane { width, height, rows, pixel, shrunk })
    };
    (0..info.n_planes()).map(plane).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::Scaler, *};

    /// A picture of this format, of soft stripes in every colour.
    fn picture(info: &VideoInfo) -> gst::Buffer {
        let rgb = VideoInfo::builder(VideoFormat::Rgb, info.width(), info.height()).build().unwrap();
        let wave = |at: f64| (128.0 + 100.0 * at.sin()) as u8;
        let pixel = |x: f64, y: f64| [wave(x / 40.0), wave(y / 30.0), wave((x + y) / 50.0)];
        let mut pixels = vec![0; rgb.size()];
        for (y, row) in pixels.chunks_mut(rgb.stride()[0] as usize).enumerate() {
            for (x, to) in row.as_chunks_mut().0.iter_mut().take(rgb.width() as usize).enumerate() {
                *to = pixel(x as f64, y as f64);
            }
        }
        let source = gst_video::VideoFrame::from_buffer_readable(gst::Buffer::from_slice(pixels), &rgb).unwrap();
        let empty = gst::Buffer::with_size(info.size()).unwrap();
        let mut made = gst_video::VideoFrame::from_buffer_writable(empty, info).unwrap();
        gst_video::VideoConverter::new(&rgb, info, None).unwrap().frame(&source, &mut made);
        made.into_buffer()
    }

    #[test]
    fn every_format_comes_out_as_the_converter_makes_it() {
        gst::init().unwrap();
        let formats =
            "I420 YV12 NV12 NV21 Y42B Y41B Y444 YUY2 UYVY AYUV A420 GRAY8 RGB BGR RGBx xBGR ARGB GBR I420_10LE v210";
        for (width, height) in [(1920, 1081), (1280, 720), (641, 363)] {
            for format in formats.split(' ') {
                let info = VideoInfo::builder(VideoFormat::from_string(format), width, height).build().unwrap();
                let buffer = picture(&info);
                let mut scaler = Scaler::new(&info).unwrap();
                assert_eq!(scaler.shrinker.is_some(), !["I420_10LE", "v210"].contains(&format), "{format}");
                let got = scaler.scale(&buffer).unwrap();
                let expected = Scaler::through(None, Geometry::PAPER, &info).unwrap().scale(&buffer).unwrap();
                let away = |(a, b): (&u8, &u8)| a.abs_diff(*b);
                let pairs = || got.pixels().iter().zip(expected.pixels()).map(away);
                let mean = pairs().map(f64::from).sum::<f64>() / got.pixels().len() as f64;
                let furthest = pairs().max().unwrap();
                // The converter knows that colours lie a quarter of their samples' distance to the left of the middle.
                let (usual, most) = if info.is_yuv() { (1.7, 12) } else { (0.5, 8) };
                assert!(mean <= usual && furthest <= most, "{format} {width}x{height}: {mean}, {furthest} at most");
            }
        }
    }

    #[test]
    fn small_pictures_are_left_to_the_converter() {
        gst::init().unwrap();
        for (width, height) in [(320, 240), (4000, 100), (100, 4000)] {
            let info = VideoInfo::builder(VideoFormat::I420, width, height).build().unwrap();
            assert!(Shrinker::of(Geometry::PAPER, &info).unwrap().is_none(), "{width}x{height}");
        }
    }
}
