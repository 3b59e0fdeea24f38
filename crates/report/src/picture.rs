//! A picture of a video and its skim: importance over a strip of frames, with what the skim takes shaded. An SVG document that
//! needs nothing else.

use std::ops::Range;

use minijinja::{Value, context};
use thiserror::Error;

use super::{Shot, Summary, page::strip::curve, template};

/// Width and height of the strip. `picture.svg` has it and the curve above it at the same place.
const STRIP: (f64, u64) = (1_120.0, 72);
/// Frames that fit into the strip side by side. Twice as many are still seen, each in part.
const FRAMES: u64 = 10;
/// Most steps of the curve: those of an hour's segments would be a solid block.
const STEPS: u64 = 560;
/// Most marks on the time axis, and the seconds that may lie between two.
const TICKS: u64 = 12;
const SPACINGS: [u64; 13] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600];

/// The picture could not be made.
#[derive(Debug, Error)]
#[error("the picture of {video} can't be made: {source}; please report this as a bug")]
pub struct PictureError {
    video: String,
    source: minijinja::Error,
}

/// The times (ns) that the strip's frames stand for: shots or equal parts of them; equal parts of the video where it has too many shots.
pub fn tiles(duration_ns: u64, shots: &[Range<u64>]) -> Vec<Range<u64>> {
    let whole = 0..duration_ns;
    let unfit = shots.is_empty() || shots.len() as u64 > 2 * FRAMES;
    let spans = if unfit { std::slice::from_ref(&whole) } else { shots };
    let split = |span: &Range<u64>| {
        let (start, length) = (span.start, span.end.saturating_sub(span.start));
        let share = length as f64 / duration_ns.max(1) as f64;
        let count = (share * FRAMES as f64).round().clamp(1.0, FRAMES as f64) as u64;
        (0..count).map(move |i| start + length * i / count..start + length * (i + 1) / count)
    };
    spans.iter().flat_map(split).collect()
}

/// The time of a tile's frame, ns.
pub fn frame_time(tile: &Range<u64>) -> u64 {
    tile.start + (tile.end - tile.start) / 2
}

/// The picture. `frame` gives the small JPEG picture of a time (ns), [`frame_time`] of a tile; the place of one that is missing stays
/// dark.
///
/// # Errors
/// [`PictureError`]
pub fn svg(summary: &Summary, frame: impl Fn(u64) -> Option<Vec<u8>>) -> Result<String, PictureError> {
    // By this ending it escapes what goes into attributes and text.
    let picture = template::render("picture.xml", include_str!("picture.svg"), values(summary, frame));
    picture.map_err(|source| PictureError { video: summary.name.clone(), source })
}

/// The values of the template's names.
fn values(summary: &Summary, frame: impl Fn(u64) -> Option<Vec<u8>>) -> Value {
    let (width, height) = STRIP;
    let whole = summary.duration_ns.max(1) as f64;
    let x = |ns: u64| (ns as f64 / whole * width).min(width);
    let parts = summary.parts.iter().map(|part| {
        let (left, right) = (x(part.span().start), x(part.span().end));
        context! { x => tenths(left), width => tenths(right - left) }
    });
    let shots: Vec<Range<u64>> = summary.shots.iter().map(Shot::span).collect();
    let frames = tiles(summary.duration_ns, &shots).into_iter().filter_map(|tile| {
        let jpeg = format!("data:image/jpeg;base64,{}", glib::base64_encode(&frame(frame_time(&tile))?));
        let (left, right) = (x(tile.start), x(tile.end));
        Some(context! { x => tenths(left), width => tenths(right - left), jpeg => Value::from_safe_string(jpeg) })
    });
    let seconds = summary.duration_ns / 1_000_000_000;
    let spacing = SPACINGS.into_iter().find(|spacing| seconds / spacing < TICKS);
    let spacing = spacing.unwrap_or_else(|| seconds.div_ceil(TICKS * 3_600) * 3_600);
    let ticks = (0..=seconds / spacing).map(|i| {
        let at = i * spacing;
        let time = match at / 3_600 {
            0 => format!("{}:{:02}", at / 60, at % 60),
            hours => format!("{hours}:{:02}:{:02}", at / 60 % 60, at % 60),
        };
        context! { x => tenths(x(at * 1_000_000_000)), time => time }
    });
    let curve = if summary.segments.len() as u64 > STEPS {
        curve(summary.steps(STEPS), x)
    } else {
        curve(summary.segments.iter().map(|segment| (segment.span(), f64::from(segment.importance))), x)
    };
    context! {
        name => summary.line(), height => height, curve => curve,
        parts => parts.collect::<Vec<_>>(), frames => frames.collect::<Vec<_>>(), ticks => ticks.collect::<Vec<_>>(),
    }
}

fn tenths(x: f64) -> f64 {
    (x * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::tests::{SECOND, sample};

    /// The text between `before` and `after`, each time.
    fn between<'a>(text: &'a str, before: &str, after: &str) -> Vec<&'a str> {
        text.split(before).skip(1).map(|rest| rest.split(after).next().unwrap()).collect()
    }

    #[test]
    fn parts_frames_and_times_are_where_they_belong() {
        let mut summary = sample();
        summary.name = "a & <b>\n.mp4".into();
        // The frames of the first shot are there.
        let frame = |time| (time < 2 * SECOND).then(|| b"\xff\xd8jpeg\xff\xd9".to_vec());
        let picture = svg(&summary, frame).unwrap();
        // 112 pixels a second: the skim has 2 to 6 s and 8 to 9 s.
        let shaded = between(&picture, "<rect x=\"", "\" fill=\"#f2a93b\"");
        assert_eq!(shaded[..2], ["224.0\" width=\"448.0\" height=\"100", "896.0\" width=\"112.0\" height=\"100"]);
        let framed = between(&picture, "<rect x=\"", "\" y=\"258\"");
        assert_eq!((framed[2], framed[3]), ("284.0", "956.0"));
        assert_eq!(between(&picture, "<image x=\"", "\""), ["0.0", "112.0"]);
        assert_eq!(between(&picture, "href=\"", "\""), ["data:image/jpeg;base64,/9hqcGVn/9k="; 2]);
        let times = between(&picture, "y=\"354\">", "<");
        assert_eq!((times.len(), times[0], times[10]), (11, "0:00", "0:10"));
        assert_eq!(
            between(&picture, "<path d=\"M0.0", "\""),
            [" 100H0.0V87.5H224.0H224.0V25.0H448.0H448.0V0.0H672.0H672.0V75.0H896.0H896.0V50.0H1120.0V100Z"]
        );
        assert!(picture.contains("<title>a &amp; &lt;b&gt; .mp4: importance, and what the skim keeps<"), "{picture}");
    }

    #[test]
    fn a_video_of_hours_and_one_of_nothing_have_a_picture_too() {
        let mut summary = sample();
        let segment = summary.segments[0].clone();
        summary.duration_ns = 20 * 3_600 * SECOND;
        summary.segments =
            (0..36_000).map(|i| crate::Segment { start_ns: 2 * i * SECOND, ..segment.clone() }).collect();
        let picture = svg(&summary, |_| None).unwrap();
        assert_eq!(between(&picture, "<path d=\"M0.0", "\"")[0].matches('V').count() as u64, STEPS + 1);
        let times = between(&picture, "y=\"354\">", "<");
        assert_eq!(
            times,
            [
                "0:00", "2:00:00", "4:00:00", "6:00:00", "8:00:00", "10:00:00", "12:00:00", "14:00:00", "16:00:00",
                "18:00:00", "20:00:00"
            ]
        );
        summary.segments.clear();
        summary.parts.clear();
        summary.duration_ns = 0;
        let picture = svg(&summary, |_| None).unwrap();
        assert!(!picture.contains("NaN") && !picture.contains("inf") && picture.contains("d=\"\""), "{picture}");
        assert!(picture.contains("clip.mp4: importance<"), "{picture}");
    }

    #[test]
    fn tiles_are_shots_where_these_are_not_too_many() {
        let tiles = |shots: &[Range<u64>]| {
            let tiles = tiles(30 * SECOND, &shots.iter().map(|s| s.start * SECOND..s.end * SECOND).collect::<Vec<_>>());
            tiles.iter().map(|tile| (tile.start as f64 / 1e9, tile.end as f64 / 1e9)).collect::<Vec<_>>()
        };
        assert_eq!(tiles(&[0..1, 1..8, 8..13]), [(0.0, 1.0), (1.0, 4.5), (4.5, 8.0), (8.0, 10.5), (10.5, 13.0)]);
        let even: Vec<(f64, f64)> = (0..10).map(|i| (3.0 * f64::from(i), 3.0 * f64::from(i + 1))).collect();
        assert_eq!((tiles(&[]), tiles(&(0..30).map(|i| i..i + 1).collect::<Vec<_>>())), (even.clone(), even));
        assert_eq!(frame_time(&(SECOND..4 * SECOND)), 5 * SECOND / 2);
    }

    /// The first picture of the README is one of these: `make picture` makes it.
    #[test]
    fn the_readme_shows_a_picture_of_this_kind() {
        let picture = include_str!("../../../docs/at-work.svg");
        let head = include_str!("picture.svg").lines().next().unwrap();
        assert!(picture.starts_with(head), "docs/at-work.svg is of another version: make it again by `make picture`");
        assert!(picture.contains("sample.mp4: importance, and what the skim keeps") && picture.contains("<image"));
    }
}
