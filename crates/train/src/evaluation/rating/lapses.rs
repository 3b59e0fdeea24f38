//! Small videos for the page: of the original all frames, of each time-lapse as many as of any other, at one frame rate.
//!
//! `desumnet timelapse` keeps the frames' own times, so that lengths may differ by a frame. Here nothing but what a version shows may tell it from
//! another: its frames are counted first, and then each is looked up in the plan.

use std::path::Path;

use thiserror::Error;

use desumnet_decide::plan::{Part, Plan};
use desumnet_media::{
    decode::{DecodeError, Decoder},
    film::{self, FilmError, Frame, Look},
};

/// Pixels: large enough to see what happens, small enough for a page of many.
const SIZE: (u32, u32) = (640, 360);
/// x264's constant quality.
const QUALITY: u32 = 25;
/// Frames a second of a video that tells none, and most of one that does.
const USUAL_RATE: u32 = 25;
const HIGHEST_RATE: u32 = 30;

/// Why there is no small video.
#[derive(Debug, Error)]
pub enum LapseError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("a small video can't be encoded: {0}; check the free disk space, and `make setup` for GStreamer's plugins")]
    Film(#[from] FilmError),
}

/// What the small videos of a video are like: about as many frames a second as it has.
///
/// # Errors
/// [`LapseError::Decode`]
pub fn look(video: &Path) -> Result<Look, LapseError> {
    let rate = Decoder::open(&video.to_string_lossy())?.next_picture()?.and_then(|picture| picture.frame_rate());
    let told =
        rate.filter(|rate| rate.numerator > 0).map(|rate| f64::from(rate.numerator) / f64::from(rate.denominator));
    let mut rate = told.map_or(USUAL_RATE, |rate| rate.round().clamp(1.0, 1_000.0) as u32);
    while rate > HIGHEST_RATE {
        rate = rate.div_ceil(2);
    }
    Ok(Look { size: SIZE, rate, quality: QUALITY })
}

/// How many frames a time-lapse of a video has that plays so many times faster; at least one.
pub fn count(duration_ns: u64, speed: f64, look: &Look) -> u32 {
    (duration_ns as f64 / 1e9 / speed * f64::from(look.rate)).round().max(1.0) as u32
}

/// Numbers of the original's frames that `count` frames of a time-lapse are, by its plan.
pub fn picks(plan: &Plan, count: u32, look: &Look) -> Vec<u32> {
    let mut whole = 0.0;
    // Where each part begins in the output, ns.
    let begins = plan.parts().iter().map(|part| {
        let begin = whole;
        whole += part.played_ns();
        (begin, part)
    });
    let begins: Vec<(f64, &Part)> = begins.collect();
    let pick = |frame: u32| {
        // The middle of the time that the frame stands for.
        let at = (f64::from(frame) + 0.5) / f64::from(count) * whole;
        let (begin, part) = begins[begins.partition_point(|(begin, _)| *begin <= at) - 1];
        let time = part.start_ns as f64 + (at - begin) * part.speed;
        (time / 1e9 * f64::from(look.rate)) as u32
    };
    (0..count).map(pick).collect()
}

/// Writes the small original.
///
/// # Errors
/// [`LapseError`]
pub fn write_original(video: &Path, look: &Look, file: &Path) -> Result<(), LapseError> {
    let mut decoder = Decoder::through(&video.to_string_lossy(), Some(look.filter()?))?;
    let next = move || {
        let picture = decoder.next_picture()?.and_then(|picture| picture.into_buffer());
        Ok::<_, LapseError>(picture.map(|buffer| Frame { buffer, key: false }))
    };
    film::encode(file, look, next, || {})
}

/// Writes these frames of the original, whose numbers rise; in place of those that it does not have, its last.
///
/// # Errors
/// [`LapseError`]
pub fn write_lapse(video: &Path, look: &Look, picks: Vec<u32>, file: &Path) -> Result<(), LapseError> {
    let mut decoder = Decoder::through(&video.to_string_lossy(), Some(look.filter()?))?;
    let (mut picks, mut decoded, mut latest) = (picks.into_iter(), 0, None);
    let next = move || {
        let Some(pick) = picks.next() else { return Ok::<_, LapseError>(None) };
        while decoded <= pick {
            let Some(picture) = decoder.next_picture()? else { break };
            latest = picture.into_buffer();
            decoded += 1;
        }
        Ok(latest.clone().map(|buffer| Frame { buffer, key: false }))
    };
    film::encode(file, look, next, || {})
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Look = Look { size: SIZE, rate: 10, quality: QUALITY };

    fn plan(parts: &[(u64, u64, f64)]) -> Plan {
        let part = |&(start, length, speed): &(u64, u64, f64)| Part {
            start_ns: start * 1_000_000_000,
            duration_ns: length * 1_000_000_000,
            score: 0.5,
            speed,
        };
        Plan::new(parts.iter().map(part).collect()).unwrap()
    }

    #[test]
    fn frames_are_the_middles_of_what_they_stand_for() {
        // 4 s at four times the speed and 1 s as it is: 2 s, 20 frames.
        let fast_then_slow = plan(&[(0, 4, 4.0), (4, 1, 1.0)]);
        let mut expected: Vec<u32> = (0..10).map(|i| 4 * i + 2).collect();
        expected.extend(40..50);
        assert_eq!(picks(&fast_then_slow, 20, &LOOK), expected);
        // As many frames of another plan of about that length.
        assert_eq!(picks(&plan(&[(0, 5, 2.6)]), 20, &LOOK).len(), 20);
        assert_eq!(picks(&plan(&[(0, 5, 2.5)]), 20, &LOOK)[..4], [1, 3, 6, 8]);
    }

    #[test]
    fn every_video_has_at_least_a_frame() {
        assert_eq!([0, 7_990_000_000, 80_000_000_000].map(|ns| count(ns, 8.0, &LOOK)), [1, 10, 100]);
        assert_eq!(picks(&plan(&[(0, 1, 8.0)]), 1, &LOOK), [5]);
    }
}
