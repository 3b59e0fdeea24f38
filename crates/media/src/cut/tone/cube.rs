//! A function of a pixel's three values as a table of points in a cube, and between them what lies in the middle.

use gst_video::{VideoFrameExt, VideoFrameRef};
use rayon::prelude::*;

/// Points on each side, and how many codes of 10 bits they are apart.
const SIDE: usize = 33;
const STEP: usize = 32;
/// Parts of a code of 8 bits that values are kept in.
const PART: i32 = 128;
/// Parts that are added to luma before it is cut off to a code: in flat areas steps between codes do not show.
const DITHER: [[i32; 2]; 2] = [[16, 80], [112, 48]];

/// Of 10 bits, and 4:2:0, what is to be shown with 8.
pub struct Cube {
    /// At each point; luma varies fastest.
    points: Vec<[i32; 3]>,
}

/// Where a value is between two points: the number of the first, and how many 32nds it is past it.
fn place(code: u16) -> (usize, i32) {
    let code = usize::from(code).min((SIDE - 1) * STEP - 1);
    (code / STEP, (code % STEP) as i32)
}

fn between(from: i32, to: i32, past: i32) -> i32 {
    from + (to - from) * past / STEP as i32
}

impl Cube {
    pub fn new(convert: impl Fn([f64; 3]) -> [f64; 3]) -> Self {
        let point = |i: usize| {
            let at = [i % SIDE, i / SIDE / SIDE, i / SIDE % SIDE];
            convert(at.map(|number| (number * STEP) as f64)).map(|value| (value * f64::from(PART)).round() as i32)
        };
        Self { points: (0..SIDE * SIDE * SIDE).map(point).collect() }
    }

    /// Of one of the three values, in [`PART`]s.
    fn value(&self, luma: (usize, i32), cb: (usize, i32), cr: (usize, i32), of: usize) -> i32 {
        let at = |cb: usize, cr: usize, luma: usize| self.points[(cb * SIDE + cr) * SIDE + luma][of];
        let [from, to] = [luma.0, luma.0 + 1].map(|luma| {
            let first = between(at(cb.0, cr.0, luma), at(cb.0, cr.0 + 1, luma), cr.1);
            let second = between(at(cb.0 + 1, cr.0, luma), at(cb.0 + 1, cr.0 + 1, luma), cr.1);
            between(first, second, cb.1)
        });
        between(from, to, luma.1)
    }

    /// Fills a picture of I420 from one of the same size of I420_10LE.
    pub fn apply(&self, from: &VideoFrameRef<&gst::BufferRef>, to: &mut VideoFrameRef<&mut gst::BufferRef>) {
        let [width, height] = [from.width() as usize, from.height() as usize];
        let strides = |frame: &[i32]| [0, 1, 2].map(|plane| frame[plane].unsigned_abs() as usize);
        let (from_strides, to_strides) = (strides(from.plane_stride()), strides(to.plane_stride()));
        let planes = from.planes_data();
        let code = |plane: usize, row: usize, column: usize| {
            let at = row * from_strides[plane] + 2 * column;
            u16::from_le_bytes([planes[plane][at], planes[plane][at + 1]])
        };
        let [y, u, v, _] = to.planes_data_mut();
        // Two rows of luma go with one of chroma.
        let pairs = y
            .par_chunks_mut(2 * to_strides[0])
            .zip(u.par_chunks_mut(to_strides[1]))
            .zip(v.par_chunks_mut(to_strides[2]));
        pairs.enumerate().take(height.div_ceil(2)).for_each(|(pair, ((y, u), v))| {
            for column in 0..width.div_ceil(2) {
                let (cb, cr) = (place(code(1, pair, column)), place(code(2, pair, column)));
                let (mut sum, mut count) = (0, 0);
                for row in (0..2).filter(|row| 2 * pair + row < height) {
                    for x in (2 * column..2 * column + 2).filter(|&x| x < width) {
                        let luma = code(0, 2 * pair + row, x);
                        (sum, count) = (sum + u32::from(luma), count + 1);
                        let dither = DITHER[row][x % 2];
                        y[row * to_strides[0] + x] = code8(self.value(place(luma), cb, cr, 0) + dither);
                    }
                }
                let mean = place((sum / count) as u16);
                u[column] = code8(self.value(mean, cb, cr, 1) + PART / 2);
                v[column] = code8(self.value(mean, cb, cr, 2) + PART / 2);
            }
        });
    }
}

fn code8(parts: i32) -> u8 {
    (parts / PART).clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use gst_video::{VideoFormat, VideoInfo};

    use super::*;

    #[test]
    fn every_pixel_becomes_what_the_function_says_and_edges_too() {
        gst::init().unwrap();
        // 4 codes of 10 bits are one of 8; red and blue change places.
        let cube = Cube::new(|[luma, cb, cr]| [luma / 4.0, cr / 4.0, cb / 4.0]);
        let info = |format| VideoInfo::builder(format, 3, 3).build().unwrap();
        let (from, to) = (info(VideoFormat::I42010le), info(VideoFormat::I420));
        let mut input = gst::Buffer::with_size(from.size()).unwrap();
        {
            let mut frame = VideoFrameRef::from_buffer_ref_writable(input.get_mut().unwrap(), &from).unwrap();
            let strides: Vec<usize> = frame.plane_stride().iter().map(|stride| *stride as usize).collect();
            let [luma, cb, cr, _] = frame.planes_data_mut();
            let mut put = |row: usize, column: usize, code: u16| {
                luma[row * strides[0] + 2 * column..][..2].copy_from_slice(&code.to_le_bytes());
            };
            (0..9).for_each(|i| put(i / 3, i % 3, 40 + 100 * i as u16));
            for row in 0..2 {
                for column in 0..2 {
                    cb[row * strides[1] + 2 * column..][..2].copy_from_slice(&400u16.to_le_bytes());
                    cr[row * strides[2] + 2 * column..][..2].copy_from_slice(&800u16.to_le_bytes());
                }
            }
        }
        let mut output = gst::Buffer::with_size(to.size()).unwrap();
        let input = VideoFrameRef::from_buffer_ref_readable(&input, &from).unwrap();
        let mut shown = VideoFrameRef::from_buffer_ref_writable(output.get_mut().unwrap(), &to).unwrap();
        cube.apply(&input, &mut shown);
        let stride = shown.plane_stride()[0] as usize;
        let [luma, cb, cr, _] = shown.planes_data();
        let row = |row: usize| luma[row * stride..][..3].to_vec();
        assert_eq!([row(0), row(1), row(2)], [[10, 35, 60], [85, 110, 135], [160, 185, 210]]);
        assert_eq!((cb[0], cb[1], cr[0], cr[1]), (200, 200, 100, 100));
    }
}
