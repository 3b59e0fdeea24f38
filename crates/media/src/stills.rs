//! Single pictures out of a video: thumbnails for people, and their layout of colours for telling shots apart.

use gst::prelude::*;

use crate::decode::{DecodeError, Decoder, Picture};

/// Width of a thumbnail, pixels; its height keeps the picture's shape.
const WIDTH: i32 = 240;
/// Rows and columns that a layout has.
const GRID: usize = 8;

/// A picture.
#[derive(Clone, Debug, Default)]
pub struct Still {
    /// The thumbnail, upright and with square pixels; `None` if it could not be made.
    pub jpeg: Option<Vec<u8>>,
    /// Mean red, green and blue, [0, 1], of each field of an 8x8 grid. None for a time after the end.
    pub layout: Vec<f32>,
}

/// The pictures at these times, ns, which rise. Decodes the video up to the last of them.
///
/// # Errors
/// [`DecodeError`]
pub fn stills(video: &str, times: &[u64]) -> Result<Vec<Still>, DecodeError> {
    // It does not turn pictures of every format.
    let upright = gst::parse::bin_from_description("videoconvert ! videoflip video-direction=auto", true);
    let upright = upright.map_err(|_| DecodeError::Element("videoflip"))?;
    let mut decoder = Decoder::through(video, Some(upright.upcast()))?;
    let mut stills = Vec::with_capacity(times.len());
    while stills.len() < times.len() {
        let Some(picture) = decoder.next_picture()? else { break };
        let end = picture.pts.unwrap_or(0).saturating_add(picture.duration.unwrap_or(1).max(1));
        if end > times[stills.len()] {
            let still = Still { jpeg: jpeg(&picture), layout: layout(&mut decoder, &picture)? };
            while times.get(stills.len()).is_some_and(|&time| time < end) {
                stills.push(still.clone());
            }
        }
    }
    stills.resize(times.len(), Still::default());
    Ok(stills)
}

fn jpeg(picture: &Picture) -> Option<Vec<u8>> {
    let caps = gst::Caps::builder("image/jpeg")
        .field("width", WIDTH)
        .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
        .build();
    let sample = gst_video::convert_sample(picture.sample(), &caps, Some(gst::ClockTime::from_seconds(10))).ok()?;
    Some(sample.buffer()?.map_readable().ok()?.to_vec())
}

fn layout(decoder: &mut Decoder, picture: &Picture) -> Result<Vec<f32>, DecodeError> {
    let frame = decoder.scale(picture)?;
    let (width, height) = (desumnet_frames::clip::WIDTH, desumnet_frames::clip::HEIGHT);
    let mut fields = vec![(0.0f32, 0.0f32); GRID * GRID * 3];
    for (i, &value) in frame.pixels().iter().enumerate() {
        let (row, column, colour) = (i / 3 / width * GRID / height, i / 3 % width * GRID / width, i % 3);
        let (sum, count) = &mut fields[(row * GRID + column) * 3 + colour];
        *sum += f32::from(value) / 255.0;
        *count += 1.0;
    }
    Ok(fields.into_iter().map(|(sum, count)| sum / count).collect())
}
